// SPDX-License-Identifier: MIT
/*
 * mm_fork.c - a child's areas, copied from its parent's.
 *
 * The parent is locked for writing and all of its areas are marked, so that nothing is added while entries are copied
 * and write-protected. Pins that come by the lockless way see write_protect_seq odd, or changed, and take the
 * slow one, which waits. What has been copied when memory runs out is taken down like any other address space.
 */
#include "vma.h"

/* In the child's tree, so that whoever ends the child finds it. Return: NULL: no memory. */
static struct vm_area_struct *copy_area(struct mm_struct *mm, struct vm_area_struct *src)
{
	unsigned long pages = vma_pages(src);
	struct vm_area_struct *vma;

	if (src->vm_flags & VM_ACCOUNT && vm_enough_memory(mm, (long)pages))
		return NULL;
	vma = vm_area_dup(src, mm);
	if (!vma)
		goto uncharge;
	WRITE_ONCE(vma->vm_flags, vma->vm_flags & ~VM_LOCKED_MASK);
	if (!(vma->vm_flags & VM_WIPEONFORK) && anon_vma_fork(vma, src))
		goto free;
	if (range_tree_prealloc(&mm->vmas, 1))
		goto unlink;
	range_tree_store(&mm->vmas, vma->vm_start, vma->vm_end, vma);
	mm->map_count++;
	vm_stat_account(mm, vma->vm_flags, (long)pages);
	if (vma->vm_ops && vma->vm_ops->open)
		vma->vm_ops->open(vma);
	return vma;
unlink:
	unlink_anon_vmas(vma);
free:
	vm_area_free(vma);
uncharge:
	if (src->vm_flags & VM_ACCOUNT)
		vm_unacct_memory((long)pages);
	return NULL;
}

/* Context: both mmap_locks for writing. */
static int copy_areas(struct mm_struct *mm, struct mm_struct *parent, bool *protected)
{
	struct vm_area_struct *src;
	unsigned long at;

	for_each_vma_range(parent, src, at, 0, ~0ul)
	{
		struct vm_area_struct *vma;
		int err;

		if (src->vm_flags & VM_DONTCOPY)
			continue;
		vma_start_write(src);
		vma = copy_area(mm, src);
		if (!vma)
			return -ENOMEM;
		if (vma->vm_flags & VM_WIPEONFORK || !vma_needs_copy(vma, src))
			continue;
		err = copy_page_range(vma, src, protected);
		if (err)
			return err;
	}
	return 0;
}

struct mm_struct *mm_fork(struct mm_struct *parent, int *err)
{
	bool protected = false;
	struct mm_struct *mm;
	u32 seq;

	mmap_write_lock(parent);
	mm = mm_init_copy(parent);
	if (!mm) {
		mmap_write_unlock(parent);
		*err = -ENOMEM;
		return NULL;
	}
	seq = READ_ONCE(parent->write_protect_seq);
	/* seq_cst: step 0 and 8 of look-ups: a pin is seen by us, or sees this */
	smp_store_seq_cst(&parent->write_protect_seq, seq + 1);
	*err = copy_areas(mm, parent, &protected);
	/* release: who sees the new number sees entries as they are now */
	smp_store_release(&parent->write_protect_seq, seq + 2);
	/* until then the parent's other threads may write to what both have, through old translations */
	if (protected)
		flush_tlb_range(parent, 0, parent->task_size, PGTABLE_LEVEL_PTE);
	mmap_write_unlock(mm);
	mmap_write_unlock(parent);
	if (!*err)
		return mm;
	mmput(mm);
	return NULL;
}
