/* SPDX-License-Identifier: MIT */
/*
 * pgtable_free.c - tables that nothing needs any more: unlinked from the bottom up, and gathered.
 *
 * A table goes if all that it covers lies between the areas on both sides of the range, so no area is left that
 * could use it. A fault may still be about to link a table below: it has found the area marked or will, and
 * stores nothing in it. A table that got one this way is seen not to be empty under its lock, and that one goes first.
 *
 * What it does not do: entries that map memory. They are gone by now.
 */
#include "table.h"

/* What stays the same all the way down. */
struct table_reaper {
	struct mmu_gather *tlb;
	unsigned long first, last; /* tables inside these addresses may go */
};

static bool __maybe_unused entries_all_none(const struct ptdesc *pt)
{
	const pte_t *table = ptdesc_address(pt);

	for (unsigned long i = 0; i < PTRS_PER_TABLE; i++)
		if (!pte_none(ptep_get(table + i)))
			return false;
	return true;
}

/* Context: takes both ptls. Return: false: there are tables below it. */
static bool reap_table(struct mmu_gather *tlb, const struct pt_pos *pos, struct ptdesc *pt)
{
	bool empty;

	spin_lock(&pos->pt->ptl);
	spin_lock(&pt->ptl);
	empty = pt->nr_entries == 0;
	if (empty) {
		VM_BUG_ON(!entries_all_none(pt));
		pgtable_unlink(pos);
	}
	spin_unlock(&pt->ptl);
	spin_unlock(&pos->pt->ptl);
	if (!empty)
		return false;
	tlb_note_range(tlb, pos->addr, pos->addr + level_size(pos->level), pos->level);
	tlb_remove_table(tlb, pt);
	return true;
}

/* Tables below @pt, whose entries are of @level, that have a part in [@first, @last]. */
static void reap_below(const struct table_reaper *r, struct ptdesc *pt, unsigned int level,
		       unsigned long first, unsigned long last)
{
	struct pt_pos pos = { .mm = r->tlb->mm, .level = level, .pt = pt };
	unsigned long its_last;

	pos.addr = ALIGN_DOWN(first, level_size(level));
	for (;; pos.addr = its_last + 1) {
		struct ptdesc *child;

		its_last = pos.addr + level_size(level) - 1;
		pos.ptep = (pte_t *)ptdesc_address(pt) + level_index(pos.addr, level);
		/* seq_cst: pairs with pgtable_link(): the caller has marked the areas before, see mm_types.h */
		pos.pte = ptep_get_seq_cst(pos.ptep);
		if (pte_table(pos.pte, level)) {
			child = pte_to_ptdesc(pos.pte);
			if (level > 1)
				reap_below(r, child, level - 1, max(first, pos.addr),
					   min(last, its_last));
			if (pos.addr >= r->first && its_last <= r->last)
				while (!reap_table(r->tlb, &pos, child))
					reap_below(r, child, level - 1, pos.addr, its_last);
		}
		if (its_last >= last)
			break;
	}
}

void free_pgtables(struct mmu_gather *tlb, unsigned long start, unsigned long end,
		   unsigned long floor, unsigned long ceiling)
{
	const struct table_reaper r = { .tlb = tlb, .first = floor, .last = ceiling - 1 };

	VM_BUG_ON(start >= end || floor > start || r.last < end - 1);
	reap_below(&r, tlb->mm->pgd, PGTABLE_LEVEL_TOP, start, end - 1);
}
