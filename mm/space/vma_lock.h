/* SPDX-License-Identifier: MIT */
/*
 * vma_lock.h - the protocol by which faults read areas without a lock.
 *
 * Writer, with mmap_lock held for writing (lock_seq is odd, W1, stored by mmap_write_lock()):
 *
 *	W2 vma_start_write(): vm_seq = lock_seq, release, and a full barrier
 *	W3 fields of the area, relaxed; the tree
 *	W4 looks at the entries of the range under their ptl, and so at those above the last level which are none
 *	W5 mmap_write_unlock(): lock_seq even, release
 *
 * Fault, no lock:
 *
 *	F1 under RCU: lock_seq, acquire; the tree; vm_seq, acquire; fields, acquire: vma_snapshot_take()
 *	F2 memory, cleared; if that has to sleep outside RCU, and then F3 walks again
 *	F3 under RCU: walks, takes the ptl by trying; where a table of the last level is missing, its parent's
 *	F4 lock_seq again, acquire, and if it moved, or a writer was inside at F1, the tree and vm_seq:
 *	   vma_snapshot_valid()
 *	F5 links the missing table, its ptl held, stores entries, gives the ptls back
 *
 * Fields are whole: a fault that reads a field of W3 has synchronised with the barrier of W2, so at F4 it sees a
 * lock_seq and a vm_seq at least as new as those of that writer, and gives up. One that reads the lock_seq of W5 sees
 * all of the writer's fields.
 *
 * Entries are seen: if the fault has the ptl first, the writer finds what it stored, a table too. If the writer has,
 * its release of the ptl hands W1 and W2 to F4. Where there is no table of the last level that is the ptl of the
 * one above: a writer may not conclude from an entry that is none, read without it, that nothing will be there. Tables
 * further up are made under mmap_lock.
 *
 * An area may be freed and live again, in another address space too, where its vm_seq could happen to be the same. If
 * lock_seq was even and has not moved, nothing was freed. Otherwise F4 looks at the tree, at vm_seq, at the
 * tree, and at vm_seq again: a number that is another life's has synchronised with the removal from the tree, and one that is put
 * back into the tree has a new number.
 */
#ifndef MM_SPACE_VMA_LOCK_H
#define MM_SPACE_VMA_LOCK_H

#include <octavo/mm_types.h>

/**
 * vma_start_write() - keep faults out of an area until mmap_lock is given back
 * @vma: to be changed, or whose entries are; also one that is not in the tree yet
 *
 * Before the first store to a field, which are WRITE_ONCE() from here on. Again is harmless. Context: mmap_lock for writing.
 */
static inline void vma_start_write(struct vm_area_struct *vma)
{
	u64 seq = READ_ONCE(vma->vm_mm->lock_seq);

	VM_BUG_ON(!(seq & 1));
	if (READ_ONCE(vma->vm_seq) == seq)
		return;
	/* release: pairs with the acquire of F1: lock_seq is at least this */
	smp_store_release(&vma->vm_seq, seq);
	/* pairs with the acquire of fields in vma_snapshot_take(): new fields with an old number without it */
	smp_mb();
}

/**
 * struct vma_snapshot - an area as a fault saw it
 * @vma: which
 * @seq: its vm_seq
 * @lock_seq: of the address space, before the look-up
 * @area: a copy of the fields that faults need, for functions that take an area: the area itself may
 *	be changing, beginning after F4 and without a look at the page table
 */
struct vma_snapshot {
	struct vm_area_struct *vma;
	u64 seq, lock_seq;
	struct vm_area_struct area;
};

/**
 * vma_snapshot_take() - F1
 *
 * Context: RCU read-side section. Return: false: there is none that contains @addr, or a writer has it: take
 * mmap_lock. What is in @s may be garbage until vma_snapshot_valid() has said otherwise.
 */
static inline bool vma_snapshot_take(struct mm_struct *mm, unsigned long addr,
				     struct vma_snapshot *s)
{
	struct vm_area_struct *vma;

	/* acquire: the tree is at least as new; and pairs with W5: with an even number come the fields */
	s->lock_seq = smp_load_acquire(&mm->lock_seq);
	vma = range_tree_find(&mm->vmas, addr);
	if (!vma)
		return false;
	s->vma = vma;
	/* acquire: before the fields; pairs with W2: lock_seq is at least this */
	s->seq = smp_load_acquire(&vma->vm_seq);
	/* acquire: pairs with W5: a writer of this area that has left has left all of its fields */
	if (s->seq == smp_load_acquire(&mm->lock_seq))
		return false;
	s->area.vm_mm = mm;
	/* acquire, all of them: pair with the barrier of W2 */
	s->area.vm_start = smp_load_acquire(&vma->vm_start);
	s->area.vm_end = smp_load_acquire(&vma->vm_end);
	s->area.vm_flags = smp_load_acquire(&vma->vm_flags);
	s->area.vm_page_prot.v = smp_load_acquire(&vma->vm_page_prot.v);
	s->area.vm_pgoff = smp_load_acquire(&vma->vm_pgoff);
	/* and with the release of __anon_vma_prepare() */
	s->area.anon_vma = smp_load_acquire(&vma->anon_vma);
	s->area.vm_ops = smp_load_acquire(&vma->vm_ops);
	s->area.vm_file = smp_load_acquire(&vma->vm_file);
	return addr - s->area.vm_start < s->area.vm_end - s->area.vm_start;
}

/* The rare half of vma_snapshot_valid(): writers come and go, perhaps of other areas. */
bool vma_snapshot_valid_slow(struct mm_struct *mm, unsigned long addr,
			     const struct vma_snapshot *s);

/**
 * vma_snapshot_valid() - F4
 *
 * Context: the same RCU section as the walk to the entry, whose ptl is held. Return: true: until it is given
 * back no writer of the area has looked at the entries under it, and what @s says was so.
 */
static inline bool vma_snapshot_valid(struct mm_struct *mm, unsigned long addr,
				      const struct vma_snapshot *s)
{
	/* acquire: pairs with W1 and W5: the tree is at least as new. The ptl and F1 see to it that it is not older. */
	if (likely(smp_load_acquire(&mm->lock_seq) == s->lock_seq && !(s->lock_seq & 1)))
		return true;
	return vma_snapshot_valid_slow(mm, addr, s);
}

#endif /* MM_SPACE_VMA_LOCK_H */
