/* SPDX-License-Identifier: MIT */
/*
 * vma.h - what the files of the memory calls tell each other: areas split, merged, removed; limits; places.
 *
 * All of it with mmap_lock held for writing unless something else is said. What can fail is called prepare and changes
 * nothing; commit cannot fail.
 */
#ifndef MM_SPACE_VMA_H
#define MM_SPACE_VMA_H

#include <octavo/errno.h>

#include "space.h"
#include "vma_lock.h"

/* Of neighbours that differ in these alone, one area can be made; it has the flags of both. */
#define VM_STICKY VM_SOFTDIRTY

/* ---- vma.c ---- */

/* Another one's range. Nobody knows @vma yet. */
void vma_init_range(struct vm_area_struct *vma, unsigned long start, unsigned long end,
		    unsigned long pgoff);
/* Flags and the protection of new entries. The area is marked. */
void vma_set_flags(struct vm_area_struct *vma, vm_flags_t flags);
/* The area that ends at @addr, or NULL. */
struct vm_area_struct *vma_ending_at(struct mm_struct *mm, unsigned long addr);

/* Areas that intersect a range, by the tree: what an area says of itself may change in the body. @at: scratch. */
#define for_each_vma_range(mm, vma, at, start, end)                                          \
	for (vma = range_tree_find_first(&(mm)->vmas, start, end, NULL, &(at)); vma != NULL; \
	     vma = range_tree_find_first(&(mm)->vmas, at, end, NULL, &(at)))

/* ---- adjust.c ---- */

/**
 * struct vma_split - a part of an area that will be an area of its own
 * @vma: the area, which keeps the rest
 * @new: gets the part; NULL: there is nothing to split
 */
struct vma_split {
	struct vm_area_struct *vma;
	struct vm_area_struct *new;
};

/**
 * vma_split_prepare() - make the new area
 * @start: of the part
 * @end: of the part; one of the two is the area's own
 *
 * No leaf reaches over them: split_leaves_at(). Does not ask may_split, does not count areas.
 *
 * Return: 0, -ENOMEM.
 */
int vma_split_prepare(struct vma_split *split, struct vm_area_struct *vma, unsigned long start,
		      unsigned long end);
/* One store of the tree's reserve. vm_ops->open is called. */
void vma_split_commit(struct vma_split *split);
void vma_split_abort(struct vma_split *split);

/* Does the area's owner allow to cut it there? Its own ends are no cuts. */
int vma_may_split(struct vm_area_struct *vma, unsigned long addr);

/* A new range for an area, whose vm_pgoff follows; marks it. The tree is the caller's to store. */
void vma_set_bounds(struct vm_area_struct *vma, unsigned long start, unsigned long end);

/**
 * struct vma_spec - an area that might be
 * @vma: NULL, or which area the range is in, so that it is one that changes
 */
struct vma_spec {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned long start, end, pgoff;
	vm_flags_t flags;
	struct vm_file *file;
	const struct vm_operations_struct *ops;
	void *private;
	struct anon_vma *anon_vma;
};

/**
 * struct vma_merge - an area grows over a range and over neighbours
 * @keep: which one
 * @start: its new range
 * @end: its new range
 * @trim: an area that loses a part to @keep, or NULL
 * @gone: areas that @keep takes over as a whole
 */
struct vma_merge {
	struct vm_area_struct *keep;
	unsigned long start, end;
	struct vm_area_struct *trim;
	struct vm_area_struct *gone[2];
	unsigned int nr_gone;
	vm_flags_t sticky;
	u64 guards;
};

/* Return: false: no neighbour can take the range of @spec. Changes nothing. */
bool vma_merge_find(const struct vma_spec *spec, struct vma_merge *merge);
/* Return: 0, -ENOMEM. Only if a part of an area is taken over can it fail. */
int vma_merge_prepare(const struct vma_merge *merge);
/* One store of the tree's reserve. */
void vma_merge_commit(const struct vma_merge *merge);

/**
 * vma_isolate() - a part of an area becomes all of it
 *
 * What is before and behind it are new areas. Return: 0; -ENOMEM, or what may_split said, and nothing has changed.
 */
int vma_isolate(struct vm_area_struct *vma, unsigned long start, unsigned long end);

/**
 * vma_modify() - a part of an area gets other flags
 * @vma: the area
 * @start: in it
 * @end: in it
 * @flags: all of them
 *
 * Splits it, merges with neighbours. Return: the area that has the range now; ERR_PTR(-ENOMEM), or what may_split said, and
 * nothing has changed.
 */
struct vm_area_struct *vma_modify(struct vm_area_struct *vma, unsigned long start,
				  unsigned long end, vm_flags_t flags);

/* The last of an area that is in no tree: close, file, memory. */
void vma_remove(struct vm_area_struct *vma);

/* ---- unmap.c ---- */

/**
 * struct vma_unmap - a range that is going to be emptied
 * @mm: of which address space
 * @start: page aligned
 * @end: page aligned
 * @any: there are areas in it
 * @tail: if the range is a hole in one area: what comes after the hole
 * @nr_pages: of areas in it
 * @nr_accounted: of these, pages that are counted in committed memory
 * @nr_data: of these, pages that are counted as data
 */
struct vma_unmap {
	struct mm_struct *mm;
	unsigned long start, end;
	bool any;
	struct vma_split tail;
	unsigned long nr_pages, nr_accounted, nr_data;
};

/* What unmap_prepare() would count; nothing is prepared. */
void unmap_count(struct vma_unmap *u, struct mm_struct *mm, unsigned long start, unsigned long end);
/* @stores: what the caller wants to store in the tree after it. Return: 0, -ENOMEM, what may_split said. */
int unmap_prepare(struct vma_unmap *u, struct mm_struct *mm, unsigned long start, unsigned long end,
		  unsigned int stores);
void unmap_commit(struct vma_unmap *u);
void unmap_abort(struct vma_unmap *u);
/* All in one. */
int unmap_range(struct mm_struct *mm, unsigned long start, unsigned long end);
/* Everything, by the last user. */
void exit_mmap(struct mm_struct *mm);
/* What a new area that is in no tree maps, goes. */
void unmap_new_area(struct vm_area_struct *vma);

/* ---- place.c ---- */

/* Pages that stay free below an area that grows down. */
static inline unsigned long stack_guard_gap(void)
{
	return min(256ul, TASK_SIZE_MAX >> (PAGE_SHIFT + 7)) << PAGE_SHIFT;
}

/* Where an area begins, with what it keeps free. */
static inline unsigned long vm_start_gap(const struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_GROWSDOWN))
		return vma->vm_start;
	return vma->vm_start > stack_guard_gap() ? vma->vm_start - stack_guard_gap() : 0;
}

/**
 * get_unmapped_area() - where to map
 * @addr: hint, or the place if @fixed
 * @len: page aligned, not 0
 * @fixed: there or nowhere; what is there does not matter
 * @align: what large leaves would like; no promise
 *
 * Return: address; -ENOMEM, -EINVAL not page aligned, -EPERM below mmap_min_addr.
 */
long get_unmapped_area(struct mm_struct *mm, unsigned long addr, unsigned long len, bool fixed,
		       unsigned long align);

/* ---- account.c ---- */

/* Counts @pages more pages of an area with @flags. */
void vm_stat_account(struct mm_struct *mm, vm_flags_t flags, long pages);
/* Counted as data: private, and may be written to. */
static inline bool is_data_mapping(vm_flags_t flags)
{
	return (flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN)) == VM_WRITE;
}

/* Limit of data: so many pages more. */
static inline bool may_add_data(const struct mm_struct *mm, unsigned long pages)
{
	unsigned long limit = mm->limits.data >> PAGE_SHIFT;

	return pages <= limit && mm->data_vm <= limit - pages;
}

/* Limits of addresses and data. */
bool may_expand_vm(const struct mm_struct *mm, vm_flags_t flags, unsigned long pages);
/* The same for @pages in place of what @u unmaps. */
bool may_replace_vm(const struct mm_struct *mm, vm_flags_t flags, unsigned long pages,
		    const struct vma_unmap *u);
/* Limit of locked memory: so many bytes more. */
bool mlock_future_ok(const struct mm_struct *mm, vm_flags_t flags, unsigned long bytes);
/* May anything be locked? */
static inline bool can_do_mlock(const struct mm_struct *mm)
{
	return mm->limits.memlock != 0;
}

/* Private memory that may be written to is promised, unless the owner wants no promise. */
static inline bool accountable_mapping(vm_flags_t flags)
{
	return (flags & (VM_NORESERVE | VM_SHARED | VM_WRITE)) == VM_WRITE;
}

/* What of the range lies in the area. */
static inline unsigned long vma_overlap(const struct vm_area_struct *vma, unsigned long start,
					unsigned long end)
{
	return (min(end, vma->vm_end) - max(start, vma->vm_start)) >> PAGE_SHIFT;
}

/* ---- mmap.c ---- */

/* VM_... of PROT_..., and back to nothing else. */
static inline vm_flags_t prot_to_flags(unsigned long prot)
{
	return (prot & PROT_READ ? VM_READ : 0) | (prot & PROT_WRITE ? VM_WRITE : 0) |
	       (prot & PROT_EXEC ? VM_EXEC : 0);
}

/* New anonymous memory at a place where nothing is, limits looked at. Return: 0, -ENOMEM. */
int map_anon(struct mm_struct *mm, unsigned long start, unsigned long end, vm_flags_t flags);

/* ---- mlock.c ---- */

/**
 * mm_populate() - as if every page of a range had been touched
 * @best_effort: go on with the next area after an error
 *
 * Areas that are locked on fault only, holes and bare frames are left alone. Context: mmap_lock not held; sleeps.
 * Return: 0, or why it stopped: -ENOMEM, -EFAULT, -EHWPOISON.
 */
int mm_populate(struct mm_struct *mm, unsigned long start, unsigned long len, bool best_effort);
/* The same for the areas of a range that are locked, as far as it can be done. */
void populate_locked(struct mm_struct *mm, unsigned long start, unsigned long end);

/* ---- mm_debug.c ---- */

/* Pages of areas that are counted in committed memory. Quiet. */
u64 mm_committed(const struct mm_struct *mm);

#endif /* MM_SPACE_VMA_H */
