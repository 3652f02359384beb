// SPDX-License-Identifier: MIT
/*
 * unmap_neighbours.c - one flush serves all folios whose entries follow on one another in one table.
 *
 * 1. First pass: the entries of each are made invalid. It asks only what stays as it is under the ptl and the folio's lock, and nothing of
 *    it can fail.
 *
 * 2. One flush of them all.
 *
 * 3. Second pass: each is decided about, and goes or is put back, as if it had been alone. Pins, references and dirty marks are looked at
 *    here and not before: its entries are invalid and flushed. What stops one is not the others' business. S2.29.
 *
 * All under one hold of the ptl, so who waits for it finds none of them on its way, and has no flush to ask for.
 *
 * What does not fit (mapped in part; freed lazily, but mapped elsewhere, too; marked otherwise; bad; without slots) ends the row, and is the
 * walk's again.
 *
 * What it does not do: say which folios are neighbours, or what becomes of one.
 */
#include <octavo/tlb.h>

#include "unmap.h"

/* From a run to that of the folio behind it, all of it. */
static __always_inline void run_advance(struct unmap_run *run, struct folio *folio)
{
	unsigned int nr = (unsigned int)folio_nr_pages(folio);

	run->addr += (unsigned long)run->nr << PAGE_SHIFT;
	run->ptep += run->nr;
	run->nr = nr;
	run->sr = (struct folio_subrange){ folio, 0, nr };
}

/* Is its kind known, whatever pins and references will say? */
static __always_inline bool kind_fits(const struct unmap_run *run)
{
	const u32 slots = 1u << PG_swapbacked | 1u << PG_swapcache;
	u32 flags = READ_ONCE(run->sr.folio->flags) & (slots | 1u << PG_hwpoison);

	return flags == slots || (!flags && unmap_run_is_all(run));
}

/* The first pass: of folios @at and on, which are behind @run, of @e. Return: the first that does not fit; @end: of what was taken. */
static u32 take_behind(const struct folio_unmap *u, u32 at, struct unmap_run run, pte_t e,
		       unsigned long *end)
{
	unsigned int room = pte_batch_limit(run.addr, run.vma->vm_end) - run.nr;

	for (; at < UNMAP_MAX_FOLIOS && u->todo & 1u << at; at++) {
		run_advance(&run, u->folios[at]);
		if (run.nr > room || !kind_fits(&run) ||
		    !unmap_run_is(&run, pfn_pte(folio_place(run.sr.folio), pte_pgprot(e))))
			break;
		unmap_run_take(&run);
		room -= run.nr;
		*end = run.addr + ((unsigned long)run.nr << PAGE_SHIFT);
	}
	return at;
}

/* After the flush. No kind lacks anything here. */
static __always_inline enum unmap_next decide(struct ttu *t, const struct unmap_run *run)
{
	return folio_test_flag(run->sr.folio, PG_swapbacked) ? unmap_to_swap(t, run, true)
							     : unmap_lazyfree(t, run, true);
}

/* The second pass: of folios @at to @end, which are behind @run. */
static void decide_behind(struct ttu *t, u32 at, u32 end, struct unmap_run run)
{
	struct folio_unmap *u = &t->u;
	u32 had = 0;

	for (; at < end; at++) {
		run_advance(&run, u->folios[at]);
		had |= 1u << at;
		if (decide(t, &run) == UNMAP_STOP || !folio_mapped(run.sr.folio))
			u->left &= ~(1u << at);
	}
	u->todo &= ~had;
}

enum unmap_next unmap_neighbours(struct ttu *t, const struct unmap_run *run, pte_t e)
{
	unsigned long end = run->addr + ((unsigned long)run->nr << PAGE_SHIFT);
	u32 next = (u32)__builtin_ctz(t->u.todo) + 1, behind;
	enum unmap_next ret;

	if (unlikely(t->flags & TTU_SINGLE ||
		     run->sr.first + run->nr != folio_nr_pages(run->sr.folio) || !kind_fits(run)))
		return unmap_kind(t, run);
	unmap_run_take(run);
	behind = take_behind(&t->u, next, *run, e, &end);
	flush_tlb_range(run->vma->vm_mm, run->addr, end, PGTABLE_LEVEL_PTE);
	ret = decide(t, run);
	decide_behind(t, next, behind, *run);
	return ret;
}
