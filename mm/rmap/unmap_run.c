// SPDX-License-Identifier: MIT
/*
 * unmap_run.c - runs of entries, taken away or put back as a whole.
 *
 * 1. An entry that is being taken away is not cleared but made invalid, in place: hardware cannot use it, nor set bits in it, and
 *    it still says everything. So nothing has to be remembered for the way back, and that is exact, entry by entry.
 *
 * 2. The flush comes next, once for the run, or for several that were taken one after the other, before anything is decided or stored, and before
 *    the ptl is given up: who finds other entries there may rely on what they say, and has nothing pending to ask about.
 *
 * 3. Counts and references go last, and by number. With the last mapping of a large folio the count goes from its number of
 *    entries to 0 in few steps, and nobody sees it half mapped for longer than needed. S2.37.
 *
 * What it does not do: decide which entries come instead, or what they are counted as.
 */
#include <octavo/swapops.h>

#include "unmap_run.h"
#include "rmap_internal.h"

pte_t unmap_run_begin(const struct unmap_run *run)
{
	unsigned long size = run->nr * level_size(run->level);

	unmap_run_take(run);
	flush_tlb_range(run->vma->vm_mm, run->addr, run->addr + size, run->level);
	return unmap_run_seen(run);
}

void unmap_run_cancel(const struct unmap_run *run)
{
	if (run->usable)
		for (unsigned int i = 0; i < run->nr; i++)
			ptep_revive(run->ptep + i);
}

/* ---- all of some folios ---- */

/*
 * What a device has for itself (hmm.h): it has been told, as all mirrors have, and cannot have it again while the folio is locked. So
 * it is the CPU's again, and then goes as what was that all along. S1.40.
 */
static __cold void unmap_end_exclusive(struct folio_vma_walk *w)
{
	for (unsigned int i = 0; i < w->nr; i++) {
		pte_t *ptep = w->pos.ptep + i;

		set_pte(ptep, device_exclusive_pte(w->vma, ptep_get(ptep)));
	}
	folio_vma_walk_again(w);
}

/* What an area maps of one folio. Return: may anything else map it, and is it to go? */
static __always_inline bool unmap_folio(struct folio_unmap *u, struct folio_vma_walk *w)
{
	while (folio_mapped(w->folio)) {
		enum unmap_next next;

		if (w->next >= w->end || !folio_vma_walk_next(w))
			return true;
		if (unlikely(pte_is_device_exclusive(w->pos.pte))) {
			unmap_end_exclusive(w);
			continue;
		}
		next = u->batch(u, w);
		if (next == UNMAP_STOP)
			return false;
		if (unlikely(next == UNMAP_AGAIN)) {
			folio_vma_walk_again(w);
			if (!u->refill(u, w->vma, w->addr))
				return false;
		}
	}
	return false;
}

/* @end: the first index that is none of the folios'. */
static __always_inline void unmap_area(struct folio_unmap *u, struct vm_area_struct *vma,
				       unsigned long end)
{
	struct folio_vma_walk w =
		folio_vma_walk(u->folios[__builtin_ctz(u->left)], vma, u->walk_flags);
	struct mmu_notifier_range range;

	end = vma->vm_start + ((min(end - vma->vm_pgoff, vma_pages(vma))) << PAGE_SHIFT);
	/* those before have gone, and it is they that are in the area */
	if (unlikely(w.next >= end))
		return;
	mmu_notifier_range_init(&range, u->event, vma->vm_mm, w.next, end);
	range.owner = u->owner;
	/* It may sleep, so it does not fail. */
	mmu_notifier_invalidate_range_start(&range);
	u->todo = u->left;
	for (;;) {
		/* others than this one are the batches' to take, too */
		if (!unmap_folio(u, &w))
			u->left &= ~(u->todo & -u->todo);
		u->todo &= u->todo - 1;
		if (!u->todo)
			break;
		folio_vma_walk_on(&w, u->folios[__builtin_ctz(u->todo)]);
	}
	folio_vma_walk_done(&w);
	mmu_notifier_invalidate_range_end(&range);
}

void folio_unmap_walk(struct folio **folios, u32 nr, struct anon_vma *anon_vma,
		      struct folio_unmap *u)
{
	unsigned long first = READ_ONCE(folios[0]->index), end = first;
	struct vm_area_struct *vma;
	struct interval_node *node;

	VM_BUG_ON(!nr || nr > UNMAP_MAX_FOLIOS);
	for (u32 i = 0; i < nr; i++) {
		VM_BUG_ON(!folio_test_locked(folios[i]) || READ_ONCE(folios[i]->index) != end);
		end += folio_nr_pages(folios[i]);
	}
	u->folios = folios;
	u->left = ~0u >> (UNMAP_MAX_FOLIOS - nr);
	for_each_vma_of_pages (vma, node, anon_vma, first, end - 1) {
		unmap_area(u, vma, end);
		if (!u->left)
			break;
	}
}
