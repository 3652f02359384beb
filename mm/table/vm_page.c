/* SPDX-License-Identifier: MIT */
/*
 * vm_page.c - what an entry maps, if anybody may look at its word.
 *
 * The special bit says that nobody may: what is there has no word, or one that is its owner's alone. Areas of
 * frames (VM_PFNMAP, VM_MIXEDMAP) set it for their frames, and may have private copies beside them, without it.
 */
#include <octavo/state.h>

#include "table.h"

struct page *vm_normal_page(const struct vm_area_struct *vma, unsigned long addr, pte_t e,
			    unsigned int level)
{
	unsigned long pfn = pte_pfn(e);

	VM_BUG_ON(!pte_leaf(e, level));
	if (unlikely(pte_special(e))) {
		/* elsewhere only the zero page is special; relaxed: the flags of an area that stays what it is */
		VM_WARN_ON(vma && !(READ_ONCE(vma->vm_flags) & (VM_PFNMAP | VM_MIXEDMAP)) &&
			   pfn != READ_ONCE(octavo_state.space.zero_pfn));
		return NULL;
	}
	if (unlikely(!pfn_valid(pfn)))
		octavo_panic("entry 0x%lx of address 0x%lx at level %u: no such frame",
			     (unsigned long)e.v, addr, level);
	return pfn_to_page(pfn);
}

struct folio *vm_normal_folio(const struct vm_area_struct *vma, unsigned long addr, pte_t e,
			      unsigned int level)
{
	struct page *page = vm_normal_page(vma, addr, e, level);

	return page ? page_folio(page) : NULL;
}
