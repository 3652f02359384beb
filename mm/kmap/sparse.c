/* SPDX-License-Identifier: MIT */
/*
 * sparse.c - addresses first, what they map later: areas whose owner fills and empties parts of them.
 */
#include "kmap.h"

struct vm_struct *get_vm_area(unsigned long size, unsigned long flags)
{
	struct kmap *k = kmap_get();
	struct kmap_want want = { .align = PAGE_SIZE };
	const struct kmap_sums none = { 0 };
	struct vm_struct *area;

	if (!k || !size || size > VMALLOC_CHUNK ||
	    flags & ~(VM_SPARSE | VM_IOREMAP | VM_MAP | VM_NO_GUARD | VM_FLUSH_RESET_PERMS))
		return NULL;
	vmalloc_run_deferred();
	want.size = ALIGN(size, PAGE_SIZE) + kmap_guard(flags);
	area = kmap_area_alloc(k, &want);
	if (!area)
		return NULL;
	kmap_area_setup(area, flags, __builtin_return_address(0));
	kmap_area_publish(k, area, &none);
	return area;
}

void free_vm_area(struct vm_struct *area)
{
	struct kmap *k = kmap_if_up();

	if (kmap_area_claim(k, (unsigned long)area->addr, false) != area)
		octavo_panic("free_vm_area: %p is no live area", (void *)area);
	kmap_end_area(k, area, true);
}

static int check_part(const struct vm_struct *area, unsigned long start, unsigned long end)
{
	if (!(area->flags & VM_SPARSE) || area->flags & (VM_FLUSH_RESET_PERMS | VM_NO_GUARD) ||
	    !IS_ALIGNED(start | end, PAGE_SIZE))
		return -EINVAL;
	if (start >= end || start < area_start(area) ||
	    end > area_start(area) + vm_area_bytes(area))
		return -ERANGE;
	return 0;
}

int vm_area_map_pages(struct vm_struct *area, unsigned long start, unsigned long end,
		      struct page **pages)
{
	struct kmap *k = kmap_if_up();
	struct kmapper m = { .k = k, .addr = start, .prot = PAGE_KERNEL };
	struct kmap_source src;
	int err = check_part(area, start, end);

	if (!err && (end - start) >> PAGE_SHIFT > min(totalram_pages(), (u64)~0u))
		err = -E2BIG;
	if (err)
		return err;
	kmap_source_pages(&src, pages, (unsigned int)((end - start) >> PAGE_SHIFT));
	if (kmap_check_source(&src, false, NULL))
		return -EINVAL;
	if (kmap_count_mapped(k, start, end, &m.huge))
		return -EBUSY;
	err = kmap_map_source(&m, &src);
	if (err) {
		if (m.addr > start) {
			kmap_unmap(k, start, m.addr, &m.huge);
			flush_tlb_range(NULL, start, m.addr, PGTABLE_LEVEL_PTE);
		}
		return err;
	}
	kmap_count_map(k, area, (long)src.count, 0);
	return 0;
}

int vm_area_unmap_pages(struct vm_struct *area, unsigned long start, unsigned long end)
{
	struct kmap *k = kmap_if_up();
	unsigned long huge = 0, mapped;
	int err = check_part(area, start, end);

	if (err)
		return err;
	mapped = kmap_count_mapped(k, start, end, &huge);
	kmap_unmap(k, start, end, &huge);
	kmap_count_map(k, area, -(long)mapped, 0);
	if (mapped)
		flush_tlb_range(NULL, start, end, PGTABLE_LEVEL_PTE);
	return 0;
}
