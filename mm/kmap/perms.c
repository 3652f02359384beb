/* SPDX-License-Identifier: MIT */
/*
 * perms.c - what a part of an area allows: larger entries are split where only a part of them changes.
 *
 * Everything that can fail, which is memory for the tables of a split, comes before the first entry changes. More is
 * flushed than user mappings would need: the kernel cannot take a fault and try again.
 */
#include "kmap.h"

/* The frames of a range of vmalloc() memory, elsewhere. */
static void direct_map(struct kmap *k, unsigned long start, unsigned long end, bool writable)
{
	const struct octavo_hooks *hooks = octavo_state.hooks;

	if (!hooks || !hooks->direct_map_perms)
		return;
	while (start < end) {
		const unsigned long pfn = vmalloc_to_pfn((void *)start);
		unsigned long nr = 1;

		while (start + (nr << PAGE_SHIFT) < end &&
		       vmalloc_to_pfn((void *)(start + (nr << PAGE_SHIFT))) == pfn + nr)
			nr++;
		hooks->direct_map_perms(pfn, nr, writable);
		start += nr << PAGE_SHIFT;
	}
}

static int change(unsigned long addr, int numpages, u64 set, u64 clear)
{
	struct kmap *k = kmap_if_up();
	struct vm_struct *area = k ? find_vm_area((void *)addr) : NULL;
	unsigned long huge = 0, split = 0, end;
	int err;

	if (!area || numpages <= 0 || !IS_ALIGNED(addr, PAGE_SIZE))
		return -EINVAL;
	end = addr + ((unsigned long)numpages << PAGE_SHIFT);
	if (end > area_start(area) + vm_area_bytes(area) ||
	    kmap_count_mapped(k, addr, end, &huge) != (unsigned long)numpages)
		return -EINVAL;
	err = kmap_protect(k, addr, end, set, clear, &split);
	if (split)
		kmap_count_map(k, area, 0, -(long)split);
	if (!err && area->flags & VM_ALLOC && (set | clear) & _PAGE_RW)
		direct_map(k, addr, end, set & _PAGE_RW);
	return err;
}

int set_memory_ro(unsigned long addr, int numpages)
{
	return change(addr, numpages, 0, _PAGE_RW);
}

int set_memory_rw(unsigned long addr, int numpages)
{
	return change(addr, numpages, _PAGE_RW, 0);
}

int set_memory_nx(unsigned long addr, int numpages)
{
	return change(addr, numpages, _PAGE_NX, 0);
}

int set_memory_x(unsigned long addr, int numpages)
{
	return change(addr, numpages, 0, _PAGE_NX);
}

void set_vm_flush_reset_perms(void *addr)
{
	struct kmap *k = kmap_if_up();
	struct vm_struct *area = k ? kmap_area_at(k, (unsigned long)addr) : NULL;

	if (!area)
		octavo_panic("set_vm_flush_reset_perms: %p is not the start of an area", addr);
	/* the owner's alone while it is live; listings read it */
	WRITE_ONCE(area->flags, area->flags | VM_FLUSH_RESET_PERMS);
}
