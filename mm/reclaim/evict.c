// SPDX-License-Identifier: MIT
/*
 * evict.c - taking folios away.
 *
 * Some at a time, in steps that each are done for all of them:
 *
 *	1. lock; was it used after all?; slots; and then, of all that have come so far, the entries become entries of slots: neighbours at
 *	   once. What fails anywhere here stays, as it was
 *	2. what is dirty is written, all of it begun before any is waited for
 *	3. what is clean, unmapped and nobody else's is freed: its count is frozen at the references of who is known
 *
 * A folio that was written to between its unmapping and its freeing, through a reference, is dirty again, and stays. One for which no
 * run of slots of its size can be had is split. Lazily freed memory needs neither slots nor writing: it is gone if it is
 * still clean.
 *
 * Every allocation under here would be one that reclaim has to wait for: there are none that may reclaim.
 */
#include <octavo/migrate.h>
#include <octavo/rmap.h>
#include <octavo/swap.h>

#include "reclaim.h"

/* What is on its way out: locked, a reference of ours. */
struct eviction {
	struct folio *folio[RECLAIM_BATCH];
	u32 nr;
	u32 flags; /* RECLAIM_... */
	u64 freed;
};

/* It stays. */
static void keep(struct folio *folio)
{
	/* slots that no entry names are of no use if it is not going to be written */
	if (folio_test_flag(folio, PG_swapcache))
		folio_free_swap(folio);
	folio_unlock(folio);
	folio_put(folio);
}

/* ---- 1: out of the page tables ---- */

static void evict_begin(struct eviction *ev, struct folio *folio);

/*
 * Its pages one by one. Those that are got hold of are begun with in its place. Context: locked; unlocked and put when it returns.
 */
static void evict_pieces(struct eviction *ev, struct folio *folio)
{
	unsigned long pfn = folio_pfn(folio), nr = folio_nr_pages(folio);

	if (split_folio_mapped(folio, 0, NULL)) {
		keep(folio);
		return;
	}
	folio_unlock(folio);
	folio_put(folio);
	for (unsigned long i = 0; i < nr; i++) {
		struct folio *piece = page_try_get_folio(pfn_to_page(pfn + i));

		if (!piece)
			continue;
		if (ev->nr < RECLAIM_BATCH && !folio_order(piece))
			evict_begin(ev, piece);
		else
			folio_put(piece);
	}
}

/* Slots, if it needs any. Context: locked. Return: 0; -EAGAIN split it; -ENOMEM. */
static int evict_slots(struct folio *folio)
{
	if (!folio_test_flag(folio, PG_swapbacked) || folio_test_flag(folio, PG_swapcache))
		return 0;
	return folio_alloc_swap(folio);
}

/* Takes over the caller's reference. */
static void evict_begin(struct eviction *ev, struct folio *folio)
{
	int err;

	if (!folio_trylock(folio)) {
		folio_put(folio);
		return;
	}
	/* what folio_evictable() asks, but for the lock, which is ours now */
	if (folio_test_flag(folio, PG_mlocked) || folio_test_flag(folio, PG_writeback) ||
	    folio_maybe_dma_pinned(folio)) {
		folio_unlock(folio);
		folio_put(folio);
		return;
	}
	if (!(ev->flags & RECLAIM_ANYWAY) && folio_mapped(folio) && folio_referenced(folio)) {
		folio_mark_used(folio, folio_lruvec(folio));
		count_event(RECLAIM_ACTIVATED, 1);
		keep(folio);
		return;
	}
	err = evict_slots(folio);
	if (err == -EAGAIN || err == -EINVAL)
		evict_pieces(ev, folio);
	else if (err)
		keep(folio);
	else
		ev->folio[ev->nr++] = folio;
}

/* All at once, as far as they follow on one another. */
static void evict_unmap(struct eviction *ev)
{
	u32 nr = 0;

	try_to_unmap_folios(ev->folio, ev->nr, 0);
	for (u32 i = 0; i < ev->nr; i++) {
		if (folio_mapped(ev->folio[i]))
			keep(ev->folio[i]);
		else
			ev->folio[nr++] = ev->folio[i];
	}
	ev->nr = nr;
}

/* ---- 3: free ---- */

/*
 * Clean, unmapped, locked; the caller's reference is dropped either way. What was done through references that are gone is
 * seen by who freezes; one that is still there makes it fail.
 */
static void evict_free(struct eviction *ev, struct folio *folio)
{
	u32 expected = 1 + folio_cache_refs(folio);
	unsigned long nr = folio_nr_pages(folio);

	if (folio_mapped(folio) || !folio_ref_freeze(folio, expected)) {
		keep(folio);
		return;
	}
	if (folio_test_flag(folio, PG_dirty)) {
		folio_ref_unfreeze(folio, expected);
		keep(folio);
		return;
	}
	if (expected > 1)
		swap_cache_del(folio, shadow_of(folio));
	folio_unlock(folio);
	__folio_put(folio);
	ev->freed += nr;
}

/* ---- 2: write ---- */

/* Return: true: it is locked still, or again, and clean. False: under way, unlocked; or given up, and NULL. */
static bool evict_write(struct eviction *ev, u32 i)
{
	struct folio *folio = ev->folio[i];

	if (!folio_test_flag(folio, PG_dirty) || !folio_test_flag(folio, PG_swapbacked))
		return true;
	if (swap_writeout(folio)) {
		folio_put(folio);
		ev->folio[i] = NULL;
		return false;
	}
	count_event(RECLAIM_WRITTEN, folio_nr_pages(folio));
	if (folio_test_flag(folio, PG_writeback))
		return false;
	/* a device that is memory itself: it is over already */
	if (folio_trylock(folio))
		return true;
	folio_put(folio);
	ev->folio[i] = NULL;
	return false;
}

static void evict_write_all(struct eviction *ev)
{
	u32 waiting = 0;

	for (u32 i = 0; i < ev->nr; i++) {
		if (evict_write(ev, i))
			evict_free(ev, ev->folio[i]);
		else if (ev->folio[i])
			ev->folio[waiting++] = ev->folio[i];
	}
	for (u32 i = 0; i < waiting; i++) {
		struct folio *folio = ev->folio[i];

		folio_wait_writeback(folio);
		if (folio_trylock(folio))
			evict_free(ev, folio);
		else
			folio_put(folio);
	}
	ev->nr = 0;
}

/* Is @a to come before @b? A hint: neither is locked. */
static bool goes_before(const struct folio *a, const struct folio *b)
{
	uintptr_t of_a = (uintptr_t)READ_ONCE(a->mapping), of_b = (uintptr_t)READ_ONCE(b->mapping);

	return of_a != of_b ? of_a < of_b : READ_ONCE(a->index) < READ_ONCE(b->index);
}

/*
 * In the order of their addresses, so that those that follow on one another go at once, and to slots that do. They come nearly so: one
 * after the other is brought to its place.
 */
static void evict_order(struct folio **folios, u32 nr)
{
	for (u32 i = 1; i < nr; i++) {
		struct folio *folio = folios[i];
		u32 at = i;

		for (; at && goes_before(folio, folios[at - 1]); at--)
			folios[at] = folios[at - 1];
		folios[at] = folio;
	}
}

u64 reclaim_folios(struct folio **folios, u32 nr, u32 flags)
{
	struct eviction ev = { .flags = flags };
	u32 done = 0, end;

	while (done < nr) {
		end = min(nr, done + RECLAIM_BATCH);
		evict_order(folios + done, end - done);
		while (done < end && ev.nr < RECLAIM_BATCH)
			evict_begin(&ev, folios[done++]);
		evict_unmap(&ev);
		evict_write_all(&ev);
	}
	count_event(RECLAIM_FREED, ev.freed);
	return ev.freed;
}
