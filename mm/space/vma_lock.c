// SPDX-License-Identifier: MIT
/*
 * vma_lock.c - the rare half of the protocol by which faults read areas without a lock.
 */
#include "vma_lock.h"

bool vma_snapshot_valid_slow(struct mm_struct *mm, unsigned long addr, const struct vma_snapshot *s)
{
	/* Only what is in the tree now is known to be an area's memory still. */
	if (range_tree_find(&mm->vmas, addr) != s->vma)
		return false;
	/* acquire: a number of another life comes with the removal from the tree that ended this one */
	if (smp_load_acquire(&s->vma->vm_seq) != s->seq)
		return false;
	if (range_tree_find(&mm->vmas, addr) != s->vma)
		return false;
	/* Found again after a removal, it has the number of who put it back; relaxed: the tree's acquire orders it. */
	return READ_ONCE(s->vma->vm_seq) == s->seq;
}
