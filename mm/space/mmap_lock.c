// SPDX-License-Identifier: MIT
/*
 * mmap_lock.c - the lock of an address space, and the number that tells faults who has it for writing.
 */
#include <octavo/mm.h>

void mmap_read_lock(struct mm_struct *mm)
{
	down_read(&mm->mmap_lock);
}

bool mmap_read_trylock(struct mm_struct *mm)
{
	return down_read_trylock(&mm->mmap_lock);
}

void mmap_read_unlock(struct mm_struct *mm)
{
	up_read(&mm->mmap_lock);
}

void mmap_write_lock(struct mm_struct *mm)
{
	u64 seq;

	down_write(&mm->mmap_lock);
	seq = READ_ONCE(mm->lock_seq);
	VM_BUG_ON(seq & 1);
	/* seq_cst: W1 of vma_lock.h */
	smp_store_seq_cst(&mm->lock_seq, seq + 1);
}

/* The marks of vma_start_write() mean nothing from here on. */
static void end_marks(struct mm_struct *mm)
{
	u64 seq = READ_ONCE(mm->lock_seq);

	VM_BUG_ON(!(seq & 1));
	/* release: W5 of vma_lock.h */
	smp_store_release(&mm->lock_seq, seq + 1);
}

void mmap_write_unlock(struct mm_struct *mm)
{
	end_marks(mm);
	up_write(&mm->mmap_lock);
}

void mmap_write_downgrade(struct mm_struct *mm)
{
	end_marks(mm);
	downgrade_write(&mm->mmap_lock);
}
