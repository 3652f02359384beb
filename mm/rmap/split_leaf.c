// SPDX-License-Identifier: MIT
/*
 * split_leaf.c - the pages of a leaf, mapped one by one.
 *
 * One entry, one mapping and one reference become as many as the leaf has pages; whether the leaf was
 * exclusive, its first page's bit says, and then all pages' do (S2.3). All of it happens under the ptl with the
 * entry gone, so whoever looks at counts and entries under it finds them equal. References come
 * before mappings: one that is counted too much only makes others careful. What is mapped stays mapped as it
 * was, so nobody is notified.
 */
#include <octavo/errno.h>

#include "rmap_internal.h"

/* What a leaf counts as a mapping of; NULL: of no folio. */
static struct folio *leaf_folio(const struct vm_area_struct *vma, unsigned long addr, pte_t leaf)
{
	swp_entry_t entry;

	if (pte_present(leaf))
		return vm_normal_folio(vma, addr, leaf, MAX_LEAF_LEVEL);
	entry = pte_to_swp_entry(leaf);
	/* migration entries have nothing, and so have their pieces */
	if (is_migration_entry(entry) ||
	    !(is_pfn_swap_entry(entry) || is_device_private_entry(entry)))
		return NULL;
	return page_folio(place_page(swp_entry_place(entry)));
}

static unsigned long leaf_place(pte_t leaf)
{
	return pte_present(leaf) ? pte_pfn(leaf) : swp_entry_place(pte_to_swp_entry(leaf));
}

/* Counts follow what the entries will be. Context: the ptl, the entry gone. */
static void split_counts(struct vm_area_struct *vma, unsigned long addr, pte_t leaf)
{
	struct folio *folio = leaf_folio(vma, addr, leaf);
	u32 nr = 1u << level_order(MAX_LEAF_LEVEL);
	struct folio_subrange sr;

	if (!folio)
		return;
	sr = folio_subrange_page(folio, place_page(leaf_place(leaf)), nr);
	folio_ref_add(folio, nr - 1);
	if (folio_test_anon(folio)) {
		/* entries of swap form say themselves whether they are */
		if (pte_present(leaf))
			folio_spread_anon_exclusive(sr);
		folio_add_anon_rmap(sr, vma, addr, PGTABLE_LEVEL_PTE, RMAP_NONE);
	} else {
		folio_add_file_rmap(sr, vma, PGTABLE_LEVEL_PTE);
	}
	folio_remove_rmap(sr, vma, MAX_LEAF_LEVEL);
}

int split_leaf_gfp(struct vm_area_struct *vma, unsigned long addr, gfp_t gfp)
{
	struct mm_struct *mm = vma->vm_mm;
	struct ptdesc *pt;
	struct pt_pos pos;

	addr = ALIGN_DOWN(addr, level_size(MAX_LEAF_LEVEL));
	pt = pagetable_alloc_raw(gfp);
	if (!pt)
		return -ENOMEM;
	if (pte_offset_lock_rcu(mm, addr, MAX_LEAF_LEVEL, &pos)) {
		if (pte_leaf(pos.pte, pos.level) || pte_is_swap(pos.pte)) {
			pte_t leaf = pgtable_split_begin(&pos);

			split_counts(vma, addr, leaf);
			pgtable_split_end(&pos, leaf, pt);
			pt = NULL;
		}
		pte_unlock(&pos);
	}
	if (pt)
		pagetable_free(pt);
	return 0;
}
