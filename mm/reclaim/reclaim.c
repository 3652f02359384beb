// SPDX-License-Identifier: MIT
/*
 * reclaim.c - coming up, refaults, numbers.
 */
#include <octavo/swap.h>

#include "memcg.h"

struct lruvec *folio_lruvec(const struct folio *folio)
{
	struct folio_set *set = folio_set_of(folio);

	return set ? &memcg_of_set(set)->lruvec : &octavo_state.reclaim.root;
}

/* A folio comes back that was taken away not long ago: it is needed, and the set is larger than memory. */
static void reclaim_refault(struct folio *folio, u64 shadow)
{
	/* of the folio, which keeps its set: the slot, and with it the shadow's set, may have been somebody else's before */
	struct lruvec *lv = folio_lruvec(folio);
	u32 age = shadow_age(shadow, lv);

	/* it left without being reclaimed */
	if (!(shadow >> SWAP_SHADOW_SET_BITS))
		return;
	count_event(RECLAIM_REFAULTS, folio_nr_pages(folio));
	folio_set_flag(folio, PG_workingset);
	/* it starts as old as it is: a page that comes back at once is young, one that was away for long is like a new one */
	if (age <= GEN_MIN_AGE)
		WRITE_ONCE(folio->gen, lruvec_now(lv));
}

static const struct reclaim_upcalls upcalls = {
	.direct_reclaim = reclaim_direct,
	.wake_reclaim = reclaim_wake,
	.pageout = pageout_range,
	.refault = reclaim_refault,
	.folio_alloc = memcg_folio_alloc,
	.folio_alloc_set = memcg_folio_alloc_set,
	.folio_alloc_like = memcg_folio_alloc_like,
	.folio_charge_like = memcg_folio_charge_like,
	.folio_charge = memcg_folio_charge,
	.uncharge = memcg_uncharge_set,
	.swap_charge = memcg_swap_charge,
	.swap_uncharge = memcg_swap_uncharge,
	.mm_fork = memcg_mm_fork,
	.mm_free = memcg_mm_free,
};

static void reclaim_exit(void)
{
	memcg_reap();
	octavo_state.upcalls.reclaim = NULL;
	octavo_state.layer[OCTAVO_LAYER_RECLAIM] = NULL;
}

static bool reclaim_validate(void)
{
	if (!memcg_validate())
		return false;
	if (octavo_state.reclaim.root.gen > GEN_COLD &&
	    !spin_is_locked(&octavo_state.reclaim.root.lock))
		return true;
	pr_err("reclaim: generation %u, %s", octavo_state.reclaim.root.gen,
	       spin_is_locked(&octavo_state.reclaim.root.lock) ? "somebody scans" : "nobody scans");
	return false;
}

static const struct octavo_layer layer = { .exit = reclaim_exit, .validate = reclaim_validate };

int reclaim_init(void)
{
	/* relaxed, and the same by whoever else does it now */
	if (!READ_ONCE(octavo_state.reclaim.root.gen))
		WRITE_ONCE(octavo_state.reclaim.root.gen, GEN_COLD + 1);
	/* release: pairs with the acquire of who calls up */
	smp_store_release(&octavo_state.layer[OCTAVO_LAYER_RECLAIM], &layer);
	smp_store_release(&octavo_state.upcalls.reclaim, &upcalls);
	return 0;
}

void reclaim_stat(struct reclaim_stat *st)
{
	const u64 *event = octavo_state.reclaim.event;

	*st = (struct reclaim_stat){
		.scanned = READ_ONCE(event[RECLAIM_SCANNED]),
		.reclaimed = READ_ONCE(event[RECLAIM_FREED]),
		.written = READ_ONCE(event[RECLAIM_WRITTEN]),
		.refaults = READ_ONCE(event[RECLAIM_REFAULTS]),
		.activated = READ_ONCE(event[RECLAIM_ACTIVATED]),
		.aged = READ_ONCE(event[RECLAIM_AGED]),
		.kswapd_runs = READ_ONCE(event[RECLAIM_KSWAPD]),
		.direct_runs = READ_ONCE(event[RECLAIM_DIRECT]),
		.oom_kills = READ_ONCE(event[RECLAIM_OOM]),
	};
}
