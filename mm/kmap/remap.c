/* SPDX-License-Identifier: MIT */
/*
 * remap.c - memory of vmalloc_user() in user page tables: its pages are counted and mappable, so they are inserted as
 * any such page is, and neither side counts mappings.
 */
#include <octavo/mm.h>

#include "kmap.h"

#define BATCH 32ul

int remap_vmalloc_range(struct vm_area_struct *vma, void *addr, unsigned long pgoff)
{
	const unsigned long start = (unsigned long)addr;
	const unsigned long pages = vma_pages(vma);
	struct kmap *k = kmap_if_up();
	struct vm_struct *area = k ? kmap_area_at(k, start) : NULL;
	unsigned long all;

	if (!area || !(area->flags & VM_USERMAP))
		return -EINVAL;
	all = vm_area_bytes(area) >> PAGE_SHIFT;
	if (pgoff >= all || pages > all - pgoff)
		return -EINVAL;
	for (unsigned long done = 0; done < pages;) {
		struct page *batch[BATCH];
		unsigned long n = min(BATCH, pages - done), left = n;
		int err;

		for (unsigned long i = 0; i < n; i++)
			batch[i] = vmalloc_to_page(
				(void *)(start + ((pgoff + done + i) << PAGE_SHIFT)));
		err = vm_insert_pages(vma, vma->vm_start + (done << PAGE_SHIFT), batch, &left);
		if (err)
			return err;
		done += n;
	}
	return 0;
}
