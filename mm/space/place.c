// SPDX-License-Identifier: MIT
/*
 * place.c - where to map.
 *
 * From mmap_base down; if there is no room, from the bottom up. Below an area that grows down a gap stays free, so
 * that a stack which overflows faults instead of meeting the next area; who asks for a fixed place may map there.
 */
#include "vma.h"

/* Is [@addr, @addr + @len) free, and no stack's gap? */
static bool place_is_free(struct mm_struct *mm, unsigned long addr, unsigned long len)
{
	const struct vm_area_struct *next = find_vma(mm, addr);

	return addr >= mm->mmap_min_addr && addr <= mm->task_size - len &&
	       (!next || addr + len <= vm_start_gap(next));
}

/* One direction. Each turn but the last meets another stack. */
static long search(struct mm_struct *mm, unsigned long lo, unsigned long hi, unsigned long len,
		   unsigned long align, bool topdown)
{
	while (lo < hi) {
		const struct vm_area_struct *next;
		unsigned long where;

		if (range_tree_find_gap(&mm->vmas, lo, hi, len, align, topdown, &where))
			break;
		next = find_vma(mm, where);
		if (!next || where + len <= vm_start_gap(next))
			return (long)where;
		if (topdown)
			hi = vm_start_gap(next);
		else
			lo = next->vm_end;
	}
	return -ENOMEM;
}

long get_unmapped_area(struct mm_struct *mm, unsigned long addr, unsigned long len, bool fixed,
		       unsigned long align)
{
	long ret = -ENOMEM;

	if (len > mm->task_size)
		return -ENOMEM;
	if (fixed) {
		if (addr > mm->task_size - len)
			return -ENOMEM;
		if (addr & ~PAGE_MASK)
			return -EINVAL;
		return addr < mm->mmap_min_addr ? -EPERM : (long)addr;
	}
	/* a hint below what may be mapped means as low as possible */
	addr &= PAGE_MASK;
	if (addr && addr < mm->mmap_min_addr)
		addr = ALIGN(mm->mmap_min_addr, PAGE_SIZE);
	if (addr && place_is_free(mm, addr, len))
		return (long)addr;
	if (align > PAGE_SIZE)
		ret = search(mm, mm->mmap_min_addr, mm->mmap_base, len, align, true);
	if (ret < 0)
		ret = search(mm, mm->mmap_min_addr, mm->mmap_base, len, PAGE_SIZE, true);
	if (ret < 0)
		ret = search(mm, mm->mmap_min_addr, mm->task_size, len, PAGE_SIZE, false);
	return ret;
}
