// SPDX-License-Identifier: MIT
/*
 * unmap_run.c - runs of entries, taken away or put back as a whole.
 *
 * 1. An entry that is being taken away is not cleared but made invalid, in place: hardware cannot use it, nor set bits in it, and
 *    it still says everything. So nothing has to be remembered for the way back, and that is exact, entry by entry.
 *
 * 2. The flush comes next, once for the run, before anything is decided or stored, and before the ptl is given up: who finds
 *    other entries there may rely on what they say, and has nothing pending to ask about.
 *
 * 3. Counts and references go last, and by number. With the last mapping of a large folio the count goes from its number of
 *    entries to 0 in few steps, and nobody sees it half mapped for longer than needed. S2.37.
 *
 * What it does not do: decide which entries come instead, or what they are counted as.
 */
#include "unmap_run.h"
#include "rmap_internal.h"

/* All bits that hardware or a program may have set differently in the entries of one batch. */
static u64 noise(void)
{
	return ~pte_wrprotect(pte_mkold(pte_mkclean(__pte(~(u64)0)))).v;
}

pte_t unmap_run_begin(const struct unmap_run *run)
{
	unsigned long size = run->nr * level_size(run->level);
	pte_t e;

	if (run->usable)
		ptes_invalidate(run->ptep, run->nr);
	flush_tlb_range(run->vma->vm_mm, run->addr, run->addr + size, run->level);
	e = ptep_get(run->ptep);
	if (run->nr == 1)
		return e;
	VM_BUG_ON(words_ramp_run(&run->ptep->v, e.v, pte_advance_pfn(__pte(0), 1).v, ~noise(),
				 run->nr, NULL) != run->nr);
	return __pte(e.v | (words_or(&run->ptep->v, 0, run->nr) & noise()));
}

void unmap_run_cancel(const struct unmap_run *run)
{
	if (run->usable)
		for (unsigned int i = 0; i < run->nr; i++)
			ptep_revive(run->ptep + i);
}

/* ---- all of a folio ---- */

static bool unmap_area(struct folio *folio, struct vm_area_struct *vma, unsigned long addr,
		       void *arg)
{
	struct folio_unmap *u = arg;
	struct folio_vma_walk w = FOLIO_VMA_WALK(folio, vma, u->walk_flags);
	struct mmu_notifier_range range;
	unsigned long last = min(READ_ONCE(folio->index) + folio_nr_pages(folio),
				 vma->vm_pgoff + vma_pages(vma));

	mmu_notifier_range_init(&range, u->event, vma->vm_mm, addr,
				vma->vm_start + ((last - vma->vm_pgoff) << PAGE_SHIFT));
	range.owner = u->owner;
	/* It may sleep, so it does not fail. */
	mmu_notifier_invalidate_range_start(&range);
	while (!u->stopped && folio_mapped(folio) && folio_vma_walk_next(&w)) {
		enum unmap_next next = u->batch(u, &w);

		u->stopped = next == UNMAP_STOP;
		if (next == UNMAP_AGAIN) {
			folio_vma_walk_again(&w);
			u->stopped = !u->refill(u, vma, w.addr);
		}
	}
	folio_vma_walk_done(&w);
	mmu_notifier_invalidate_range_end(&range);
	return !u->stopped && folio_mapped(folio);
}

void folio_unmap_walk(struct folio *folio, struct anon_vma *anon_vma, struct folio_unmap *u)
{
	const struct rmap_walk_control rwc = { .rmap_one = unmap_area, .arg = u };

	VM_BUG_ON(!folio_test_locked(folio));
	rmap_walk_locked(anon_vma, READ_ONCE(folio->index), folio_nr_pages(folio), folio, &rwc);
}
