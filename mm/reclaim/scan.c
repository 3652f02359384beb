// SPDX-License-Identifier: MIT
/*
 * scan.c - finding folios that have not been used for long, by walking descriptors.
 *
 * There is no list of folios, and so no lock that every fault and every free takes, and no room in a folio for links.
 * Descriptors lie close together in slabs (680 of order-0 folios in 32 KiB), and their generation is one of their words: to
 * look at all of them is to read memory in order. A set of folios that is to be reclaimed by itself has caches of its own.
 *
 * A descriptor that is found may be free, or be another folio's by the time it is looked at: it is type-stable, so its
 * count is tried first, under RCU, and what it says is read with the reference held.
 *
 * What it does not do: look at page tables, or decide how many are wanted.
 */
#include <octavo/rcu.h>
#include <octavo/slab.h>

#include "reclaim.h"

bool folio_evictable(const struct folio *folio)
{
	const u32 flags = READ_ONCE(folio->flags);
	const u32 never = 1u << PG_mlocked | 1u << PG_unevictable | 1u << PG_zone_device |
			  1u << PG_hwpoison | 1u << PG_writeback | 1u << PG_locked;

	if (flags & never || !folio_test_anon(folio))
		return false;
	/* A hint; unmapping asks again, with entries cleared. */
	return !folio_maybe_dma_pinned(folio);
}

/* A reference of a folio that may go. */
static bool take_old(struct folio *folio, struct lruvec *lv, int nid, struct folio **busy)
{
	if (!folio_try_get(folio))
		return false;
	if (!*busy && folio_test_flag(folio, PG_writeback)) {
		*busy = folio;
		return false;
	}
	if (folio_evictable(folio) && folio_age(folio, lv) >= GEN_MIN_AGE &&
	    (nid == NUMA_NO_NODE || pfn_to_nid(folio_pfn(folio)) == (u32)nid))
		return true;
	folio_put(folio);
	return false;
}

static struct kmem_cache *lruvec_cache(const struct lruvec *lv)
{
	/* acquire: pairs with the release of who made the cache */
	return lv->set ? lv->set->cache[lv->class]
		       : smp_load_acquire(&octavo_state.desc.folio[lv->class]);
}

u32 scan_old_folios(struct lruvec *lv, int nid, u32 max, struct folio **folios, bool *lap,
		    struct folio **busy)
{
	void *objs[RECLAIM_BATCH];
	u32 found = 0, nr;

	*lap = false;
	while (!found && !*lap) {
		struct kmem_cache *cache = lruvec_cache(lv);

		rcu_read_lock();
		nr = cache ? kmem_cache_scan(cache, &lv->scan, max, objs) : 0;
		for (u32 i = 0; i < nr; i++)
			if (take_old(objs[i], lv, nid, busy))
				folios[found++] = objs[i];
		rcu_read_unlock();
		count_event(RECLAIM_SCANNED, nr);
		if (nr)
			continue;
		lv->class = (lv->class + 1) % NR_FOLIO_CLASSES;
		*lap = lv->class == 0;
	}
	return found;
}
