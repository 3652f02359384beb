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

/* A way down: the table to look into next, the entry looked at last, and the one that led to its table. */
struct pt_way {
	pte_t *table, *ptep;
	pte_t pte;
	struct pt_above above;
	unsigned int level;
};

/* Look at level @l. Return: false: the way ends here. */
static __always_inline bool pt_way_down(struct pt_way *w, unsigned long addr, unsigned int l,
					unsigned int level)
{
	w->level = l;
	w->ptep = w->table + level_index(addr, l);
	/* seq_cst: pairs with pgtable_link() and with the marking of areas, see mm_types.h */
	w->pte = ptep_get_seq_cst(w->ptep);
	if (l == level || !pte_table(w->pte, l))
		return false;
	w->above.ptep = w->ptep;
	w->above.pte = w->pte;
	w->table = pte_to_table(w->pte);
	return true;
}

/*
 * pgtable_walk() that says by which entry it came to pos->pt. Context: as that. The levels are written out: what is on the
 * way stays in registers.
 */
static __always_inline bool pgtable_descend(struct mm_struct *mm, unsigned long addr,
					    unsigned int level, struct pt_pos *pos,
					    struct pt_above *above)
{
	struct pt_way w = { .table = mm->pgd_table };

	if (PGTABLE_LEVEL_TOP < 4 || pt_way_down(&w, addr, 4, level))
		if (PGTABLE_LEVEL_TOP < 3 || pt_way_down(&w, addr, 3, level))
			if (pt_way_down(&w, addr, 2, level) && pt_way_down(&w, addr, 1, level))
				pt_way_down(&w, addr, 0, level);
	*above = w.above;
	pos->mm = mm;
	pos->addr = addr;
	pos->level = w.level;
	pos->ptep = w.ptep;
	pos->pte = w.pte;
	pos->pt = w.above.ptep ? pte_to_ptdesc(w.above.pte) : mm->pgd;
	VM_BUG_ON(!pos->pt);
	return w.level == level;
}
BUILD_BUG_ON(PGTABLE_LEVEL_TOP<2 || PGTABLE_LEVEL_TOP> 4);

/* The same of a level that is not known, and most often the last. */
static __always_inline bool pgtable_descend_any(struct mm_struct *mm, unsigned long addr,
						unsigned int level, struct pt_pos *pos,
						struct pt_above *above)
{
	if (likely(level == PGTABLE_LEVEL_PTE))
		return pgtable_descend(mm, addr, PGTABLE_LEVEL_PTE, pos, above);
	return pgtable_descend(mm, addr, level, pos, above);
}

/* With the ptl of the table held: does the entry above still lead there? Then it goes on doing so. */
static inline bool pgtable_still_linked(const struct pt_above *above)
{
	/* relaxed: who unlinked it held the same ptl */
	return !above->ptep || pte_same(ptep_get(above->ptep), above->pte);
}

#endif /* MM_TABLE_TABLE_H */
