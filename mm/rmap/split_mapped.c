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

#include <octavo/swap.h>

#include "rmap_internal.h"
#include "unmap_run.h"

struct leaf_search {
	u32 flags; /* FVW_...: entries of what kind */
	int err;
};

/* One leaf that maps the folio in the area, and it is locked no more. */
static bool find_leaf(struct folio *folio, struct vm_area_struct *vma, u32 flags,
		      unsigned long *addr)
{
	struct folio_vma_walk w = folio_vma_walk(folio, vma, flags);

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
	struct leaf_search *s = arg;

	while (!s->err && find_leaf(folio, vma, s->flags, &addr))
		s->err = split_leaf_gfp(vma, addr, GFP_UNMAP);
	return !s->err;
}

static int split_leaves(struct folio *folio)
{
	struct leaf_search s = { .flags = 0 };
	struct rmap_walk_control rwc = { .rmap_one = split_leaves_one, .arg = &s };

	if (folio_entire_mapcount(folio))
		rmap_walk(folio, &rwc);
	return s.err;
}

/* A child that is being forked is visited after its parent: what is copied meanwhile is copied in pieces, or met here. */
static int split_migration_leaves(struct folio *folio, struct anon_vma *anon_vma)
{
	struct leaf_search s = { .flags = FVW_MIGRATION };
	const struct rmap_walk_control rwc = { .rmap_one = split_leaves_one, .arg = &s };

	if (folio_order(folio) < level_order(MAX_LEAF_LEVEL))
		return 0;
	anon_vma_lock_read(anon_vma);
	rmap_walk_locked(anon_vma, READ_ONCE(folio->index), folio_nr_pages(folio), folio, &rwc);
	anon_vma_unlock_read(anon_vma);
	return s.err;
}

int split_folio_unmapped(struct folio *folio, unsigned int new_order, struct anon_vma *anon_vma)
{
	int err = 0;

	BUG_ON(!folio_test_locked(folio));
	if (folio_mapped(folio) || new_order >= folio_order(folio))
		return -EINVAL;
	if (new_order < level_order(MAX_LEAF_LEVEL))
		err = split_migration_leaves(folio, anon_vma);
	return err ? err : folio_split(folio, new_order, folio_cache_refs(folio), GFP_KERNEL);
}

/* The pieces but the one with page @keep: unlocked, and left to their entries. */
static void release_pieces(struct page *page, unsigned long nr, unsigned long keep)
{
	unsigned long pieces;

	for (unsigned long at = 0; at < nr; at += pieces) {
		struct folio *piece = page_folio(page + at);

		pieces = folio_nr_pages(piece);
		if (keep - at < pieces)
			continue;
		/* what was unmapped before needs its slots no more: whoever unmapped it saw the whole mapped */
		if (!folio_mapped(piece))
			folio_free_swap(piece);
		folio_unlock(piece);
		folio_put(piece);
	}
}

/* @target: NULL: uniform. */
static int split_mapped(struct folio *folio, unsigned int new_order, struct page *target,
			unsigned long keep)
{
	struct page *page = folio_page(folio, 0);
	unsigned long place = folio_place(folio), nr = folio_nr_pages(folio), index;
	struct anon_vma *anon_vma;
	int err;

	BUG_ON(!folio_test_locked(folio));
	if (!folio_test_anon(folio) || new_order >= folio_order(folio) || keep >= nr)
		return -EINVAL;
	if (folio_maybe_dma_pinned(folio))
		return -EBUSY;
	err = split_leaves(folio);
	if (err)
		return err;
	index = READ_ONCE(folio->index);
	anon_vma = folio_unmap_for_migration(folio, TTM_NO_LEAVES);
	if (folio_mapped(folio))
		err = -EBUSY;
	else if (target)
		err = folio_split_out(folio, target, new_order, folio_cache_refs(folio),
				      GFP_KERNEL);
	else
		err = folio_split(folio, new_order, folio_cache_refs(folio), GFP_KERNEL);
	if (anon_vma)
		restore_migration_entries(anon_vma, index, nr, place, place);
	if (!err)
		release_pieces(page, nr, keep);
	return err;
}

int split_folio_mapped(struct folio *folio, unsigned int new_order, struct page *page)
{
	if (page && folio_page_idx(folio, page) >= folio_nr_pages(folio))
		return -EINVAL;
	return split_mapped(folio, new_order, page, 0);
}

int split_folio_mapped_keep(struct folio *folio, unsigned int new_order, struct page *keep)
{
	return split_mapped(folio, new_order, NULL, folio_page_idx(folio, keep));
}
