/* SPDX-License-Identifier: MIT */
/*
 * pgtable_split.c - a table in place of an entry that maps the same.
 *
 * Between the halves the entry is none and its ptl held, so that no CPU has translations of two sizes for one
 * address, and no fault puts anything there.
 *
 * What it does not do: reverse map, references, exclusivity, memory for the table. The caller's.
 */
#include "table.h"

pte_t pgtable_split_begin(struct pt_pos *pos)
{
	pte_t leaf = ptep_get(pos->ptep);
	unsigned long start = ALIGN_DOWN(pos->addr, level_size(pos->level));

	VM_BUG_ON(pos->level == 0 || !spin_is_locked(&pos->pt->ptl));
	VM_BUG_ON(!pte_leaf(leaf, pos->level) && !pte_is_swap(leaf));
	if (pte_is_swap(leaf)) {
		pte_clear(pos->ptep);
	} else {
		/* with what the hardware has set in it meanwhile */
		leaf = ptep_get_and_clear(pos->ptep);
		flush_tlb_range(pos->mm, start, start + level_size(pos->level), pos->level);
	}
	pos->pte = __pte(0);
	return leaf;
}

void pgtable_split_end(struct pt_pos *pos, pte_t leaf, struct ptdesc *pt)
{
	bool swap = pte_is_swap(leaf);
	unsigned long pages = 1ul << level_order(pos->level - 1);
	pte_t *table = ptdesc_address(pt);
	pte_t e = swap ? leaf : pte_mksmaller(leaf, pos->level - 1);

	for (unsigned long i = 0; i < PTRS_PER_TABLE; i++) {
		/* relaxed: pgtable_link() releases */
		WRITE_ONCE(table[i].v, e.v);
		e = swap ? pte_swp_advance(e, pages) : pte_advance_pfn(e, pages);
	}
	pgtable_link(pos, pt);
}
