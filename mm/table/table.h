/* SPDX-License-Identifier: MIT */
/*
 * table.h - what the files of this directory tell each other.
 */
#ifndef MM_TABLE_TABLE_H
#define MM_TABLE_TABLE_H

#include <octavo/pgtable.h>
#include <octavo/tlb.h>

/* The entry that led to a table, as it was read; @ptep NULL: the top table, which nothing leads to. */
struct pt_above {
	const pte_t *ptep;
	pte_t pte;
};

/* pgtable_walk() that says by which entry it came to pos->pt. Context: as that. */
static inline bool pgtable_descend(struct mm_struct *mm, unsigned long addr, unsigned int level,
				   struct pt_pos *pos, struct pt_above *above)
{
	unsigned int l = PGTABLE_LEVEL_TOP;
	pte_t *table = mm->pgd_table;

	*above = (struct pt_above){ 0 };
	for (;;) {
		pos->ptep = table + level_index(addr, l);
		/* seq_cst: pairs with pgtable_link() and with the marking of areas, see mm_types.h */
		pos->pte = ptep_get_seq_cst(pos->ptep);
		if (l == level || !pte_table(pos->pte, l))
			break;
		above->ptep = pos->ptep;
		above->pte = pos->pte;
		table = pte_to_table(pos->pte);
		l--;
	}
	pos->mm = mm;
	pos->addr = addr;
	pos->level = l;
	pos->pt = above->ptep ? pte_to_ptdesc(above->pte) : mm->pgd;
	VM_BUG_ON(!pos->pt);
	return l == level;
}

/* With the ptl of the table held: does the entry above still lead there? Then it goes on doing so. */
static inline bool pgtable_still_linked(const struct pt_above *above)
{
	/* relaxed: who unlinked it held the same ptl */
	return !above->ptep || pte_same(ptep_get(above->ptep), above->pte);
}

#endif /* MM_TABLE_TABLE_H */
