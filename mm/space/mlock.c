// SPDX-License-Identifier: MIT
/*
 * mlock.c - memory that stays, and memory that is brought in at once.
 */
#include "vma.h"

/* ---- bringing in ---- */

/* A part of an area. Context: mmap_lock for reading. Return: how far it got; *@err why not further. */
static unsigned long populate_part(struct vm_area_struct *vma, unsigned long start,
				   unsigned long end, int *err)
{
	/* what is private is copied now, not at the first write */
	bool write = (vma->vm_flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
	long done;

	if (vma->vm_flags & (VM_IO | VM_PFNMAP) || vma->vm_flags & VM_LOCKONFAULT)
		return end;
	if (!(vma->vm_flags & VM_ACCESS_FLAGS)) {
		*err = -EFAULT;
		return start;
	}
	done = populate_vma_page_range(vma, start, end, write);
	if (done > 0)
		return start + ((unsigned long)done << PAGE_SHIFT);
	*err = done ? (int)done : -EFAULT;
	return start;
}

int mm_populate(struct mm_struct *mm, unsigned long start, unsigned long len, bool best_effort)
{
	unsigned long end = start + len;
	int err = 0;

	while (start < end && !err) {
		struct vm_area_struct *vma;
		unsigned long area_end = end;

		/* given back now and then, for who wants to write */
		mmap_read_lock(mm);
		vma = find_vma_intersection(mm, start, end);
		if (vma) {
			area_end = min(end, vma->vm_end);
			start = populate_part(vma, max(start, vma->vm_start), area_end, &err);
		}
		mmap_read_unlock(mm);
		if (!vma)
			break;
		if (err && best_effort) {
			start = area_end;
			err = 0;
		}
	}
	return err;
}
