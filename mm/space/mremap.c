// SPDX-License-Identifier: MIT
/*
 * mremap.c - memory that becomes smaller, larger, or is somewhere else.
 *
 * A move makes a copy of the area at the new place, moves the entries, and unmaps the old place, where nothing is left
 * by then. Pages keep their index, so the copy's vm_pgoff says where they were made; only an area that never had an
 * anonymous page begins anew, and can become one with its new neighbours.
 *
 * Everything is reserved before anything changes, with one exception: tables at the new place, which cannot be
 * made while something else is mapped there. Without memory for those the entries go back, and what MREMAP_FIXED has
 * unmapped is gone.
 */
#include "vma.h"

struct mremap_call {
	struct mm_struct *mm;
	unsigned long addr, old_len, new_len, flags, new_addr;
	struct vm_area_struct *vma;
	struct vma_unmap end;  /* what follows the part that moves and is to be unmapped */
	unsigned long charged; /* pages promised for this call */
	unsigned long populate, populated; /* to be brought in: from, bytes */
};

/* A place is given, as an order or as a hint. */
static bool has_place(const struct mremap_call *c)
{
	return c->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
}

static int check_arguments(const struct mremap_call *c)
{
	unsigned long max = c->mm->task_size;

	if (c->flags & ~(unsigned long)(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP) ||
	    c->addr & ~PAGE_MASK || !c->new_len || c->new_len > max)
		return -EINVAL;
	if (!has_place(c))
		return 0;
	if (!(c->flags & MREMAP_MAYMOVE) || c->new_addr & ~PAGE_MASK ||
	    c->new_addr > max - c->new_len)
		return -EINVAL;
	if (c->flags & MREMAP_DONTUNMAP && c->old_len != c->new_len)
		return -EINVAL;
	if (c->addr < c->new_addr + c->new_len && c->new_addr < c->addr + c->old_len)
		return -EINVAL;
	return 0;
}

/* Bytes that the call adds to what is mapped. */
static unsigned long growth(const struct mremap_call *c)
{
	if (c->flags & MREMAP_DONTUNMAP)
		return c->new_len;
	return c->new_len > c->old_len ? c->new_len - c->old_len : 0;
}

/* Bytes of the old range that are there afterwards. */
static unsigned long kept(const struct mremap_call *c)
{
	return min(c->old_len, c->new_len);
}

/* Can the area have another size, or a copy? */
static int check_area(const struct mremap_call *c)
{
	const struct vm_area_struct *vma = c->vma;
	unsigned long pgoff;

	if (!c->old_len && !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	/* of a second mapping the original may not be where the copy goes: there it would be unmapped first */
	if (!c->old_len && has_place(c) && c->addr - c->new_addr < c->new_len)
		return -EFAULT;
	if (c->flags & MREMAP_DONTUNMAP && vma->vm_flags & (VM_DONTEXPAND | VM_PFNMAP))
		return -EINVAL;
	/* what is not to be kept need not be of this area */
	if (kept(c) > vma->vm_end - c->addr)
		return -EFAULT;
	if (!growth(c) || c->flags & MREMAP_DONTUNMAP)
		return 0;
	pgoff = linear_page_index(vma, c->addr);
	if (pgoff + (c->new_len >> PAGE_SHIFT) < pgoff)
		return -EINVAL;
	return vma->vm_flags & (VM_DONTEXPAND | VM_PFNMAP) ? -EFAULT : 0;
}

/* Limits, and the promise of what is added, less what is at the new place and goes. */
static int charge_growth(struct mremap_call *c)
{
	unsigned long pages = growth(c) >> PAGE_SHIFT, free;
	struct vma_unmap target = { .any = false };
	vm_flags_t flags = c->vma->vm_flags;

	if (!pages)
		return 0;
	/* the lock moves along: nothing more is locked */
	if (!(c->flags & MREMAP_DONTUNMAP) && !mlock_future_ok(c->mm, flags, growth(c)))
		return -EAGAIN;
	if (c->flags & MREMAP_FIXED)
		unmap_count(&target, c->mm, c->new_addr, c->new_addr + c->new_len);
	if (!may_replace_vm(c->mm, flags, pages, &target))
		return -ENOMEM;
	if (!(flags & VM_ACCOUNT))
		return 0;
	/* promised to what goes: no more than that is promised when it has gone */
	free = min(pages, target.nr_accounted);
	if (vm_enough_memory(c->mm, (long)(pages - free)))
		return -ENOMEM;
	vm_acct_memory((long)free);
	c->charged = pages;
	return 0;
}

/* ---- in place ---- */

/* No larger, where it is: its end is unmapped, whatever is there. */
static int shrink_in_place(struct mremap_call *c)
{
	unsigned long end = c->addr + c->old_len;

	c->new_addr = c->addr;
	if (c->new_len == c->old_len)
		return 0;
	if (end < c->addr || end > c->mm->task_size)
		return -EINVAL;
	return unmap_range(c->mm, c->addr + c->new_len, end);
}

/* Is there room behind the area? */
static bool can_grow_in_place(const struct mremap_call *c)
{
	unsigned long end = c->addr + c->new_len;

	return c->addr + c->old_len == c->vma->vm_end && end > c->addr && end <= c->mm->task_size &&
	       !find_vma_intersection(c->mm, c->vma->vm_end, end);
}

static int grow_in_place(struct mremap_call *c)
{
	struct vm_area_struct *vma = c->vma;
	const struct vma_spec spec = {
		.mm = c->mm,
		.start = vma->vm_end,
		.end = c->addr + c->new_len,
		.pgoff = linear_page_index(vma, vma->vm_end),
		.flags = vma->vm_flags,
		.file = vma->vm_file,
		.ops = vma->vm_ops,
		.private = vma->vm_private_data,
		.anon_vma = vma->anon_vma,
	};
	unsigned long pages = (c->new_len - c->old_len) >> PAGE_SHIFT;
	vm_flags_t flags = vma->vm_flags;
	struct vma_merge merge;

	if (range_tree_prealloc(&c->mm->vmas, 1))
		return -ENOMEM;
	if (vma_merge_find(&spec, &merge)) {
		vma_merge_commit(&merge);
	} else {
		vma_set_bounds(vma, vma->vm_start, spec.end);
		range_tree_store(&c->mm->vmas, vma->vm_start, spec.end, vma);
	}
	vm_stat_account(c->mm, flags, (long)pages);
	if (flags & VM_LOCKED) {
		c->mm->locked_vm += pages;
		c->populate = spec.start;
		c->populated = spec.end - spec.start;
	}
	return 0;
}

/* ---- a move ---- */

/* Where to. Aligned like the old place, if it is large, so that whole tables can be moved. */
static long find_place(const struct mremap_call *c)
{
	unsigned long leaf = level_size(MAX_LEAF_LEVEL);
	long place;

	if (c->flags & MREMAP_FIXED)
		return get_unmapped_area(c->mm, c->new_addr, c->new_len, true, PAGE_SIZE);
	if (c->flags & MREMAP_DONTUNMAP)
		return get_unmapped_area(c->mm, c->new_addr, c->new_len, false, PAGE_SIZE);
	if (c->new_len >= leaf && c->new_len + leaf > c->new_len) {
		place = get_unmapped_area(c->mm, 0, c->new_len + leaf - PAGE_SIZE, false,
					  PAGE_SIZE);
		if (place >= 0)
			return place + (long)((c->addr - (unsigned long)place) & (leaf - 1));
	}
	return get_unmapped_area(c->mm, 0, c->new_len, false, PAGE_SIZE);
}

/* What is behind the part that moves is unmapped, whatever is there: [@start, @end). */
static int prepare_end(struct mremap_call *c, unsigned long start, unsigned long end)
{
	c->end.any = false;
	if (!c->old_len || start >= end)
		return 0;
	return unmap_prepare(&c->end, c->mm, start, end, 1);
}

/* As it was before vma_isolate(), where areas can be merged at all. That needs a store, which is reserved. */
static void undo_isolate(struct mremap_call *c)
{
	if (c->old_len)
		vma_modify(c->vma, c->vma->vm_start, c->vma->vm_end, c->vma->vm_flags);
}

static struct vm_area_struct *new_area(const struct mremap_call *c)
{
	struct vm_area_struct *vma = c->vma, *new = vm_area_dup(vma, c->mm);
	unsigned long pgoff = linear_page_index(vma, c->addr);

	if (!new)
		return NULL;
	if (vma_is_anonymous(vma) && !vma->anon_vma)
		pgoff = c->new_addr >> PAGE_SHIFT;
	vma_init_range(new, c->new_addr, c->new_addr + c->new_len, pgoff);
	if (anon_vma_clone(new, vma)) {
		vm_area_free(new);
		return NULL;
	}
	return new;
}

static void drop_new_area(struct mm_struct *mm, struct vm_area_struct *new)
{
	range_tree_store(&mm->vmas, new->vm_start, new->vm_end, NULL);
	mm->map_count--;
	unmap_new_area(new);
	unlink_anon_vmas(new);
	vma_remove(new);
}

/* Entries to the new area, and the owner's consent. On failure all are where they were. */
static int move_entries(const struct mremap_call *c, struct vm_area_struct *new)
{
	unsigned long len = kept(c), moved;
	int err = 0;

	if (!len)
		return 0;
	moved = move_page_tables(c->vma, c->addr, new, c->new_addr, len);
	if (moved < len)
		err = -ENOMEM;
	else if (new->vm_ops &&new->vm_ops->mremap)
		err = new->vm_ops->mremap(new);
	if (err && moved && move_page_tables(new, c->new_addr, c->vma, c->addr, moved) != moved)
		octavo_panic("mremap: entries at %lx do not go back to %lx", c->new_addr, c->addr);
	return err;
}

/* What stays at the old place with MREMAP_DONTUNMAP: empty, and not locked. */
static void leave_empty(const struct mremap_call *c)
{
	struct vm_area_struct *vma = c->vma;

	if (vma->vm_flags & VM_LOCKED)
		c->mm->locked_vm -= vma_pages(vma);
	vma_set_flags(vma, vma->vm_flags & ~VM_LOCKED_MASK);
	unlink_anon_vmas(vma);
}

/* The area at @addr, with what is around it. Reserved: a store. */
static void merge_around(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = vma_lookup(mm, addr);

	vma_modify(vma, vma->vm_start, vma->vm_end, vma->vm_flags);
}

/* The last step. Reserved: three stores. */
static void finish_move(struct mremap_call *c, struct vm_area_struct *new)
{
	unsigned long pages = c->new_len >> PAGE_SHIFT;
	vm_flags_t flags = new->vm_flags;

	vm_stat_account(c->mm, flags, (long)pages);
	if (flags & VM_LOCKED) {
		c->mm->locked_vm += pages;
		if (c->new_len > c->old_len) {
			c->populate = c->new_addr + c->old_len;
			c->populated = c->new_len - c->old_len;
		}
	}
	/* the rest was promised to the old place, which gives it back now */
	if (flags & VM_ACCOUNT)
		vm_acct_memory((long)(pages - c->charged));
	if (c->flags & MREMAP_DONTUNMAP)
		leave_empty(c);
	else if (c->old_len && unmap_range(c->mm, c->addr, c->addr + kept(c)))
		octavo_panic("mremap: no memory to unmap a whole area at %lx", c->addr);
	unmap_commit(&c->end);
	merge_around(c->mm, c->new_addr);
	if (c->flags & MREMAP_DONTUNMAP)
		merge_around(c->mm, c->addr);
}

/* The old place is an area, the new one is found. Stores: of the new area in and out, the old one out or back. */
static int move_isolated(struct mremap_call *c)
{
	struct vma_unmap target = { .any = false };
	struct vm_area_struct *new;
	int err;

	err = unmap_prepare(&target, c->mm, c->new_addr, c->new_addr + c->new_len, 4);
	if (err)
		return err;
	new = new_area(c);
	if (!new) {
		unmap_abort(&target);
		return -ENOMEM;
	}
	unmap_commit(&target);
	vma_start_write(c->vma);
	range_tree_store(&c->mm->vmas, new->vm_start, new->vm_end, new);
	c->mm->map_count++;
	if (new->vm_ops &&new->vm_ops->open)
		new->vm_ops->open(new);
	err = move_entries(c, new);
	if (err)
		drop_new_area(c->mm, new);
	else
		finish_move(c, new);
	return err;
}

static int move(struct mremap_call *c)
{
	unsigned long end = c->addr + c->old_len;
	long place;
	int err;

	if (end < c->addr || end > c->mm->task_size)
		return -EINVAL;

	/* a copy, two cuts of the old place and one of the new */
	if (c->mm->map_count + 4 > c->mm->max_map_count)
		return -ENOMEM;
	place = find_place(c);
	if (place < 0)
		return (int)place;
	c->new_addr = (unsigned long)place;
	/* the part that moves becomes an area of its own, or is one; and one store to undo that */
	err = range_tree_prealloc(&c->mm->vmas, 3);
	if (!err && c->old_len)
		err = vma_isolate(c->vma, c->addr, c->addr + kept(c));
	if (err)
		return err;
	err = prepare_end(c, c->addr + kept(c), end);
	if (!err) {
		err = move_isolated(c);
		if (err)
			unmap_abort(&c->end);
	}
	if (err)
		undo_isolate(c);
	return err;
}

/* ---- the call ---- */

/* Context: mmap_lock for writing. */
static int remap(struct mremap_call *c)
{
	int err;

	c->vma = vma_lookup(c->mm, c->addr);
	if (!c->vma)
		return -EFAULT;
	if (!has_place(c) && c->new_len <= c->old_len)
		return shrink_in_place(c);
	err = check_area(c);
	if (err)
		return err;
	err = charge_growth(c);
	if (err)
		return err;
	if (!has_place(c) && can_grow_in_place(c)) {
		c->new_addr = c->addr;
		err = grow_in_place(c);
	} else {
		err = c->flags & MREMAP_MAYMOVE ? move(c) : -ENOMEM;
	}
	if (err)
		vm_unacct_memory((long)c->charged);
	return err;
}

long vm_mremap(struct mm_struct *mm, unsigned long addr, unsigned long old_len,
	       unsigned long new_len, unsigned long flags, unsigned long new_addr)
{
	struct mremap_call c = {
		.mm = mm,
		.addr = addr,
		.old_len = ALIGN(old_len, PAGE_SIZE),
		.new_len = ALIGN(new_len, PAGE_SIZE),
		.flags = flags,
		.new_addr = new_addr,
	};
	int err = check_arguments(&c);

	if (err)
		return err;
	mmap_write_lock(mm);
	err = remap(&c);
	mmap_write_unlock(mm);
	if (err)
		return err;
	if (c.populated)
		(void)mm_populate(mm, c.populate, c.populated, true);
	return (long)c.new_addr;
}
