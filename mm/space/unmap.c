// SPDX-License-Identifier: MIT
/*
 * unmap.c - ranges emptied of areas, pages and tables.
 *
 * An area that reaches out of the range at one end only is trimmed, which needs no memory: its owner is told
 * neither of an open nor of a close. Only a hole in the middle of an area makes another one, for what comes after it.
 *
 * The order is: areas marked, so that no fault adds entries; entries cleared, while reverse maps still find them;
 * areas out of the tree and the reverse maps; tables unlinked; translations flushed; only then are
 * pages and tables free, and owners told.
 */
#include "vma.h"

/* @nr pages of an area will go. */
static inline void count_part(struct vma_unmap *u, const struct vm_area_struct *vma,
			      unsigned long nr)
{
	u->any = true;
	u->nr_pages += nr;
	if (vma->vm_flags & VM_ACCOUNT)
		u->nr_accounted += nr;
	if (is_data_mapping(vma->vm_flags))
		u->nr_data += nr;
}

void unmap_count(struct vma_unmap *u, struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma;
	unsigned long at;

	*u = (struct vma_unmap){ .mm = mm, .start = start, .end = end };
	for_each_vma_range(mm, vma, at, start, end)
		count_part(u, vma, vma_overlap(vma, start, end));
}

int unmap_prepare(struct vma_unmap *u, struct mm_struct *mm, unsigned long start, unsigned long end,
		  unsigned int stores)
{
	struct vm_area_struct *vma;
	unsigned long at;
	int err = 0;

	*u = (struct vma_unmap){ .mm = mm, .start = start, .end = end };
	for_each_vma_range(mm, vma, at, start, end)
	{
		unsigned long nr = vma_overlap(vma, start, end);

		err = vma_may_split(vma, start);
		if (!err)
			err = vma_may_split(vma, end);
		if (!err && nr < vma_pages(vma))
			err = split_leaves_at(vma, max(start, vma->vm_start),
					      min(end, vma->vm_end));
		if (err)
			return err;
		count_part(u, vma, nr);
	}
	vma = vma_lookup(mm, start);
	if (vma && start > vma->vm_start && end < vma->vm_end) {
		if (mm->map_count >= mm->max_map_count)
			return -ENOMEM;
		err = vma_split_prepare(&u->tail, vma, end, vma->vm_end);
		if (err)
			return err;
		stores++;
	}
	err = range_tree_prealloc(&mm->vmas, stores + u->any);
	if (err)
		vma_split_abort(&u->tail);
	return err;
}

void unmap_abort(struct vma_unmap *u)
{
	vma_split_abort(&u->tail);
}

/* Entries of a part of an area, and what it was counted in. Return: pages that were promised. */
static unsigned long zap_part(struct mmu_gather *tlb, struct vm_area_struct *vma,
			      unsigned long start, unsigned long end)
{
	struct mm_struct *mm = vma->vm_mm;
	unsigned long nr = (end - start) >> PAGE_SHIFT;

	if (vma->vm_flags & VM_LOCKED) {
		mlock_range(vma, start, end, false);
		mm->locked_vm -= nr;
	}
	unmap_page_range(tlb, vma, start, end, NULL);
	vm_stat_account(mm, vma->vm_flags, -(long)nr);
	return vma->vm_flags & VM_ACCOUNT ? nr : 0;
}

/*
 * Areas of the range out of the tree. Those that are gone are linked by their chains' list heads, which are empty. Reserved:
 * one store.
 */
static void detach(struct mm_struct *mm, unsigned long start, unsigned long end,
		   struct list_head *gone)
{
	struct vm_area_struct *vma;
	unsigned long at;

	INIT_LIST_HEAD(gone);
	for_each_vma_range(mm, vma, at, start, end)
	{
		if (vma->vm_start < start) {
			vma_set_bounds(vma, vma->vm_start, start);
		} else if (vma->vm_end > end) {
			vma_set_bounds(vma, end, vma->vm_end);
		} else {
			unlink_anon_vmas(vma);
			list_add_tail(&vma->anon_vma_chain, gone);
			mm->map_count--;
		}
	}
	range_tree_store(&mm->vmas, start, end, NULL);
}

static void remove_all(struct list_head *gone)
{
	struct vm_area_struct *vma, *next;

	list_for_each_entry_safe (vma, next, gone, anon_vma_chain) {
		list_del_init(&vma->anon_vma_chain);
		vma_remove(vma);
	}
}

/* Tables between what is mapped before and after a range. */
static void free_tables(struct mmu_gather *tlb, struct mm_struct *mm, unsigned long start,
			unsigned long end)
{
	unsigned long floor = 0, ceiling = 0;

	range_tree_prev(&mm->vmas, start, NULL, &floor);
	range_tree_find_first(&mm->vmas, end, ~0ul, &ceiling, NULL);
	free_pgtables(tlb, start, end, floor, ceiling);
}

void unmap_commit(struct vma_unmap *u)
{
	struct mm_struct *mm = u->mm;
	struct mmu_notifier_range range;
	struct vm_area_struct *vma;
	struct mmu_gather tlb;
	struct list_head gone;
	unsigned long at;

	if (!u->any)
		return;
	for_each_vma_range(mm, vma, at, u->start, u->end) vma_start_write(vma);
	vma_split_commit(&u->tail);
	update_hiwater_rss(mm);
	mmu_notifier_range_init(&range, MMU_NOTIFY_UNMAP, mm, u->start, u->end);
	/* blockable, so it does not fail */
	(void)mmu_notifier_invalidate_range_start(&range);
	tlb_gather_mmu(&tlb, mm);
	for_each_vma_range(mm, vma, at, u->start, u->end)
		zap_part(&tlb, vma, max(u->start, vma->vm_start), min(u->end, vma->vm_end));
	detach(mm, u->start, u->end, &gone);
	free_tables(&tlb, mm, u->start, u->end);
	tlb_finish_mmu(&tlb);
	mmu_notifier_invalidate_range_end(&range);
	vm_unacct_memory((long)u->nr_accounted);
	remove_all(&gone);
}

int unmap_range(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct vma_unmap u;
	int err = unmap_prepare(&u, mm, start, end, 0);

	if (!err)
		unmap_commit(&u);
	return err;
}

void unmap_new_area(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, mm);
	unmap_page_range(&tlb, vma, vma->vm_start, vma->vm_end, NULL);
	free_tables(&tlb, mm, vma->vm_start, vma->vm_end);
	tlb_finish_mmu(&tlb);
}

static bool in_use_by_cpus(const struct mm_struct *mm)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(mm->cpus); i++)
		if (READ_ONCE(mm->cpus[i]))
			return true;
	return false;
}

void exit_mmap(struct mm_struct *mm)
{
	unsigned long accounted = 0, at;
	struct vm_area_struct *vma;
	struct mmu_gather tlb;
	struct list_head gone;

	mmu_notifier_release(mm);
	mmap_write_lock(mm);
	update_hiwater_rss(mm);
	for_each_vma_range(mm, vma, at, 0, ~0ul) vma_start_write(vma);
	/* a CPU that does not fault any more may still have translations */
	if (in_use_by_cpus(mm))
		tlb_gather_mmu(&tlb, mm);
	else
		tlb_gather_mmu_fullmm(&tlb, mm);
	for_each_vma_range(mm, vma, at, 0, ~0ul) accounted +=
		zap_part(&tlb, vma, vma->vm_start, vma->vm_end);
	INIT_LIST_HEAD(&gone);
	for_each_vma_range(mm, vma, at, 0, ~0ul)
	{
		unlink_anon_vmas(vma);
		list_add_tail(&vma->anon_vma_chain, &gone);
		mm->map_count--;
	}
	/* no user, so no reader, and none for a grace period that matters: see mm_fault() */
	range_tree_clear(&mm->vmas);
	free_pgtables(&tlb, 0, TASK_SIZE_MAX, 0, 0);
	tlb_finish_mmu(&tlb);
	vm_unacct_memory((long)accounted);
	remove_all(&gone);
	mmap_write_unlock(mm);
}
