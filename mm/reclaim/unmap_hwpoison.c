// SPDX-License-Identifier: MIT
/*
 * unmap_hwpoison.c - entries of pages whose memory is bad become entries that say so.
 *
 * Page by page, because which ones are bad is known of each frame, not of a folio. Who has pinned one has bad memory
 * already, and nothing is gained by leaving it in page tables: pins are not asked about. What is not bad goes by its kind
 * if it can, and stays otherwise.
 */
#include <octavo/hwpoison.h>

#include "unmap.h"

static void page_poisoned(struct ttu *t, const struct unmap_run *page)
{
	unsigned long pfn = folio_pfn(page->sr.folio) + page->sr.first;
	pte_t seen = unmap_run_begin(page);

	set_pte(page->ptep, swp_entry_to_pte(swp_entry(SWP_HWPOISON, pfn)));
	unmap_note_dirty(page, seen);
	unmap_count(t, page->vma->vm_mm, page->sr.nr);
	unmap_run_end(page);
}

enum unmap_next unmap_poisoned(struct ttu *t, const struct unmap_run *run)
{
	unsigned long first = folio_pfn(run->sr.folio) + run->sr.first;
	struct unmap_run part;

	for (unsigned int at = 0; at < run->nr; at += part.nr) {
		unsigned long bad = pfn_poisoned_in(first + at, run->nr - at);

		if (bad == first + at) {
			part = unmap_run_part(run, at, 1);
			page_poisoned(t, &part);
			continue;
		}
		part = bad == ~0ul ? unmap_run_rest(run, at)
				   : unmap_run_part(run, at, (unsigned int)(bad - first) - at);
		(void)unmap_kind(t, &part);
	}
	return UNMAP_GO_ON;
}
