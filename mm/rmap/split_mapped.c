// SPDX-License-Identifier: MIT
/*
 * split_mapped.c - smaller folios of a large one that page tables map, where it is.
 *
 * folio_split() wants a folio that nobody maps or has a reference of. So its entries become migration
 * entries, which count nothing, and come back for whatever pieces the frames are in then: by frame
 * number, in one walk for all pieces.
 *
 * An entry above the last level cannot come back if what it mapped is in pieces, and to split it needs
 * memory. So such entries are split first, when it can still fail. One that is made again meanwhile stays what it
 * is, and the folio is busy.
 */
#include <octavo/errno.h>

#include "rmap_internal.h"

struct leaf_search {
	unsigned long addr;
	int err;
};

/* One leaf that maps the folio in the area, and it is locked no more. */
static bool find_leaf(struct folio *folio, struct vm_area_struct *vma, unsigned long *addr)
{
	struct folio_vma_walk w = FOLIO_VMA_WALK(folio, vma, 0);

	while (folio_vma_walk_next(&w))
		if (w.pos.level != PGTABLE_LEVEL_PTE) {
			*addr = w.addr;
			folio_vma_walk_done(&w);
			return true;
		}
	return false;
}

static bool split_leaves_one(struct folio *folio, struct vm_area_struct *vma, unsigned long addr,
			     void *arg)
{
	int *err = arg;

	while (!*err && find_leaf(folio, vma, &addr))
		*err = split_leaf(vma, addr);
	return !*err;
}

static int split_leaves(struct folio *folio)
{
	int err = 0;
	struct rmap_walk_control rwc = { .rmap_one = split_leaves_one, .arg = &err };

	if (folio_entire_mapcount(folio))
		rmap_walk(folio, &rwc);
	return err;
}

/* The pieces after the first: unlocked, and left to their entries. */
static void release_pieces(unsigned long pfn, unsigned long end)
{
	while (pfn < end) {
		struct folio *piece = page_folio(pfn_to_page(pfn));

		pfn += folio_nr_pages(piece);
		folio_unlock(piece);
		folio_put(piece);
	}
}

int split_folio_mapped(struct folio *folio, unsigned int new_order, struct page *page)
{
	unsigned long pfn = folio_pfn(folio), nr = folio_nr_pages(folio), index;
	struct anon_vma *anon_vma;
	int err;

	BUG_ON(!folio_test_locked(folio));
	if (!folio_test_anon(folio) || new_order >= folio_order(folio) ||
	    (page && !folio_contains(folio, page_to_pfn(page))))
		return -EINVAL;
	if (folio_test_flag(folio, PG_swapcache) || folio_maybe_dma_pinned(folio))
		return -EBUSY;
	err = split_leaves(folio);
	if (err)
		return err;
	index = READ_ONCE(folio->index);
	anon_vma = folio_unmap_for_migration(folio, TTM_NO_LEAVES);
	if (folio_mapped(folio))
		err = -EBUSY;
	else if (page)
		err = folio_split_out(folio, page, new_order, 0, GFP_KERNEL);
	else
		err = folio_split(folio, new_order, 0, GFP_KERNEL);
	if (anon_vma)
		restore_migration_entries(anon_vma, index, nr, pfn, pfn);
	if (!err)
		release_pieces(pfn + folio_nr_pages(folio), pfn + nr);
	return err;
}
