// SPDX-License-Identifier: MIT
/*
 * mincore.c - which pages of a range are there.
 */
#include "vma.h"

int vm_mincore(struct mm_struct *mm, unsigned long addr, unsigned long len, unsigned char *vec)
{
	unsigned long end;
	int err = 0;

	if (addr & ~PAGE_MASK)
		return -EINVAL;
	if (addr > mm->task_size || len > mm->task_size - addr)
		return -ENOMEM;
	end = addr + ALIGN(len, PAGE_SIZE);
	mmap_read_lock(mm);
	while (addr < end) {
		struct vm_area_struct *vma = vma_lookup(mm, addr);
		unsigned long part_end;

		if (!vma) {
			err = -ENOMEM;
			break;
		}
		part_end = min(end, vma->vm_end);
		mincore_range(vma, addr, part_end, vec);
		vec += (part_end - addr) >> PAGE_SHIFT;
		addr = part_end;
	}
	mmap_read_unlock(mm);
	return err;
}
