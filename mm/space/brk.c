// SPDX-License-Identifier: MIT
/*
 * brk.c - areas that grow: the heap of brk(), and stacks.
 */
#include "vma.h"

/* ---- the heap ---- */

/* From @old to @new, page aligned. Return: 0 or -errno, which no caller of brk() gets to see. */
static int grow_brk(struct mm_struct *mm, unsigned long old, unsigned long new)
{
	vm_flags_t flags =
		VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | mm->def_flags;
	const struct vm_area_struct *next = find_vma(mm, old);
	long addr = get_unmapped_area(mm, old, new - old, true, PAGE_SIZE);

	if (addr < 0)
		return (int)addr;
	if (!mlock_future_ok(mm, flags, new - old))
		return -EAGAIN;
	/* a page stays free, so that an overrun faults */
	if (next && new + PAGE_SIZE > vm_start_gap(next))
		return -ENOMEM;
	if (mm->map_count > mm->max_map_count)
		return -ENOMEM;
	return map_anon(mm, old, new, flags);
}

/* Back from @old to @new. Where nothing is, somebody has unmapped the heap, and does not expect less of it to be there. */
static int shrink_brk(struct mm_struct *mm, unsigned long old, unsigned long new)
{
	return find_vma_intersection(mm, new, old) ? unmap_range(mm, new, old) : -ENOMEM;
}

unsigned long vm_brk(struct mm_struct *mm, unsigned long brk)
{
	unsigned long old, new, ret;
	bool populate = false;
	int err = 0;

	mmap_write_lock(mm);
	old = ALIGN(mm->brk, PAGE_SIZE);
	new = ALIGN(brk, PAGE_SIZE);
	if (brk < mm->start_brk || brk > mm->task_size || brk - mm->start_brk > mm->limits.data)
		err = -ENOMEM;
	else if (new < old)
		err = shrink_brk(mm, old, new);
	else if (new > old)
		err = grow_brk(mm, old, new);
	if (!err) {
		populate = new > old && mm->def_flags &VM_LOCKED;
		mm->brk = brk;
	}
	ret = mm->brk;
	mmap_write_unlock(mm);
	if (populate)
		(void)mm_populate(mm, old, new - old, true);
	return ret;
}

/* ---- stacks ---- */

/* Is there room below, with a gap to whatever is there? */
static int check_gap(struct mm_struct *mm, const struct vm_area_struct *vma, unsigned long addr)
{
	unsigned long end = 0;
	const struct vm_area_struct *prev = range_tree_prev(&mm->vmas, vma->vm_start, NULL, &end);

	if (addr < mm->mmap_min_addr)
		return -EPERM;
	if (!prev)
		return 0;
	if (addr < end)
		return -ENOMEM;
	/* another stack keeps its own gap, and what cannot be accessed is one */
	if (!(prev->vm_flags & VM_GROWSDOWN) && prev->vm_flags & VM_ACCESS_FLAGS &&
	    addr - end < stack_guard_gap())
		return -ENOMEM;
	return 0;
}

static int check_growth(struct mm_struct *mm, const struct vm_area_struct *vma, unsigned long addr)
{
	unsigned long grow = vma->vm_start - addr;
	int err = check_gap(mm, vma, addr);

	if (err)
		return err;
	if (grow >> PAGE_SHIFT > vma->vm_pgoff)
		return -ENOMEM;
	if (!may_expand_vm(mm, vma->vm_flags, grow >> PAGE_SHIFT) ||
	    vma->vm_end - addr > mm->limits.stack || !mlock_future_ok(mm, vma->vm_flags, grow))
		return -ENOMEM;
	return 0;
}

/* Context: mmap_lock for writing. */
static int grow_stack(struct mm_struct *mm, struct vm_area_struct *vma, unsigned long addr)
{
	unsigned long pages = (vma->vm_start - addr) >> PAGE_SHIFT;
	int err = check_growth(mm, vma, addr);

	if (err)
		return err;
	if (range_tree_prealloc(&mm->vmas, 1))
		return -ENOMEM;
	if (vma->vm_flags & VM_ACCOUNT && vm_enough_memory(mm, (long)pages))
		return -ENOMEM;
	vma_set_bounds(vma, addr, vma->vm_end);
	range_tree_store(&mm->vmas, addr, vma->vm_end, vma);
	vm_stat_account(mm, vma->vm_flags, (long)pages);
	if (vma->vm_flags & VM_LOCKED)
		mm->locked_vm += pages;
	return 0;
}

int expand_stack(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma;
	unsigned long populate = 0;
	int err = 0;

	addr &= PAGE_MASK;
	mmap_write_lock(mm);
	vma = find_vma(mm, addr);
	if (!vma || (vma->vm_start > addr && !(vma->vm_flags & VM_GROWSDOWN))) {
		err = -EFAULT;
	} else if (vma->vm_start > addr) {
		unsigned long old = vma->vm_start;

		err = grow_stack(mm, vma, addr);
		if (!err && vma->vm_flags & VM_LOCKED)
			populate = old - addr;
	}
	mmap_write_unlock(mm);
	if (populate)
		(void)mm_populate(mm, addr, populate, true);
	return err;
}
