/* SPDX-License-Identifier: MIT */
/*
 * reclaim_wait.c - who needs memory finds nothing but a folio that somebody else has on its way to a slot: he waits for that,
 * and takes it then. The shipped code.
 */
#include <octavo/reclaim.h>
#include <octavo/state.h>

#include "../../../mm/reclaim/memcg.h"
#include "swap_device.h"

static SHARED struct {
	u64 direct;
	u32 wanted; /* somebody has begun to hold the folio */
} r;

/* The only old folio is being written. One entry names its slot. */
static void setup_writing(void)
{
	CHECK(!reclaim_init());
	setup_cached(&ops_held, 77, 1);
	CHECK(!swap_writeout(s.folio));
	CHECK(folio_under_writeback(s.folio));
	WRITE_ONCE(s.folio->gen, GEN_COLD);
	folio_put(s.folio);
	rcu_barrier();
}

static void reclaims(void)
{
	r.direct = reclaim_some(NULL, NUMA_NO_NODE, 1);
}

static void device_ends(void)
{
	CHECK(end_one());
}

/* It has been written, and its slot is all that there is. */
static void gone(void)
{
	CHECK(octavo_state.reclaim.event[RECLAIM_FREED] == 1);
	CHECK(s.store[swp_offset(s.entry)] == 77);
	CHECK(!swap_cache_get_folio(s.entry) && swap_count(s.entry) == 1);
	swap_free_entries(s.entry, 1);
	off();
}

/* Holds the folio until it is written. */
static void waiter(void)
{
	struct folio *folio;

	fetch_add_relaxed(&r.wanted, 1u);
	folio = swap_cache_get_folio(s.entry);
	if (!folio)
		return;
	folio_wait_writeback(folio);
	folio_put(folio);
}

/* Nobody else has it, or it is got. */
static void reclaims_unless_held(void)
{
	reclaims();
	/* a read-modify-write: reads the newest */
	CHECK(r.direct || fetch_add_relaxed(&r.wanted, 0u));
}

static void gone_or_held(void)
{
	struct folio *folio;

	if (r.direct) {
		gone();
		return;
	}
	folio = swap_cache_get_folio(s.entry);
	CHECK(folio && *word_of(folio) == 77);
	folio_put(folio);
	swap_free_entries(s.entry, 1);
	off();
}

SCENARIO(reclaim_wait_held) = {
	SCENARIO_NAME(reclaim_wait_held),
	SWAP,
	.about = "who needs memory finds nothing but a folio that is being written, and that "
		 "somebody else waits for too",
	.rows = "S2.26",
	.stale = 1,
	.setup = setup_writing,
	.finish = gone_or_held,
	.threads = { reclaims_unless_held, waiter, device_ends },
	.roles = { "reclaim", "waiter", "device" }
};
