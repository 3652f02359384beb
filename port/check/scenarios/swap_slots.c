/* SPDX-License-Identifier: MIT */
/*
 * swap_slots.c - the slots of a device, taken and freed by several CPUs, as it fills and as it goes.
 */
#include "swap_device.h"

/* ---- slots of several CPUs ---- */

static void alloc_and_free(void)
{
	unsigned int me = check_thread();
	struct folio *folio = me ? s.other : s.folio;

	if (folio_alloc_swap(folio) == 0) {
		unsigned long at = swp_offset(folio_swap_entry(folio, 0));

		/* nobody else's */
		for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
			s.store[at + i] = me;
		CHECK(folio_free_swap(folio));
	}
	folio_unlock(folio);
	folio_put(folio);
}

static void freer(void)
{
	swap_free_entries(s.entry, 1);
}

static void setup_alloc(void)
{
	setup_out(1);
	s.folio = folio_new(1, 0);
}

SCENARIO(swap_alloc_free) = {
	SCENARIO_NAME(swap_alloc_free),
	SWAP,
	.about = "two CPUs take and free slots of one cluster, a third frees one of it",
	.rows = "S2.26",
	.setup = setup_alloc,
	.threads = { alloc_and_free, alloc_and_free, freer },
	.roles = { "pair", "single", "freer" },
	.finish = off,
};

/* ---- the end of a device ---- */

static void closer(void)
{
	CHECK(swap_device_close_begin(0) == 0);
	s.done[0] = swap_device_close_end(0) == 0;
	if (!s.done[0])
		swap_device_close_abort(0);
}

static void alloc_if(void)
{
	if (folio_alloc_swap(s.other) == 0)
		CHECK(folio_free_swap(s.other));
	folio_unlock(s.other);
	folio_put(s.other);
}

static void passer_by(void)
{
	struct folio *folio = swap_cache_get_folio(s.entry);

	if (folio)
		folio_put(folio);
	(void)swap_count(s.entry);
}

static void setup_close(void)
{
	setup_out(1);
	swap_free_entries(s.entry, 1);
}

static void closed(void)
{
	if (!s.done[0])
		off();
}

SCENARIO(swap_close) = {
	SCENARIO_NAME(swap_close),
	SWAP,
	.about = "a device goes while somebody takes a slot of it, and somebody looks",
	.rows = "S2.26",
	.setup = setup_close,
	.threads = { alloc_if, closer, passer_by },
	.roles = { "reclaim", "swapoff", "look-up" },
	.finish = closed,
};

/*
 * The CPU has a current cluster of a device that is gone; the one that has come in its place has room for such a cluster,
 * and none of it was ever used.
 */
static void setup_old_current(void)
{
	struct folio *folios[CLUSTER + 1];

	CHECK(swapon(&ops_now, NULL, 2 * CLUSTER, 0, SWAP_FLAG_SYNC) == 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(folios); i++) {
		folios[i] = folio_new(0, i);
		CHECK(folio_alloc_swap(folios[i]) == 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(folios); i++) {
		CHECK(folio_free_swap(folios[i]));
		folio_unlock(folios[i]);
		folio_put(folios[i]);
	}
	off();
	CHECK(swapon(&ops_now, NULL, 2 * CLUSTER, 0, SWAP_FLAG_SYNC) == 0);
	s.other = folio_new(0, 2);
}

SCENARIO(swap_old_current) = {
	SCENARIO_NAME(swap_old_current),
	SWAP,
	.about = "a device goes while somebody takes a slot, whose current cluster is of the "
		 "device before it",
	.rows = "S2.26",
	.setup = setup_old_current,
	.threads = { alloc_if, closer },
	.roles = { "reclaim", "swapoff" },
	.finish = closed,
};

/* ---- how full a device is ---- */

/* Four clusters of five are full; the fifth is of a group of which there is none yet. */
static void setup_fill(void)
{
	CHECK(swapon(&ops_now, NULL, 5 * CLUSTER, 0, SWAP_FLAG_SYNC) == 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(s.many); i++) {
		s.many[i] = folio_new(0, i);
		CHECK(folio_alloc_swap(s.many[i]) == 0);
	}
	s.entry = folio_swap_entry(s.many[0], 0);
	s.other = folio_new(0, 2);
}

static void fills(void)
{
	CHECK(folio_alloc_swap(s.other) == 0);
	CHECK(folio_free_swap(s.other));
	folio_unlock(s.other);
	folio_put(s.other);
}

static void asks_how_full(void)
{
	(void)swap_slots_short(s.entry);
}

static void empty_again(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(s.many); i++) {
		CHECK(folio_free_swap(s.many[i]));
		folio_unlock(s.many[i]);
		folio_put(s.many[i]);
	}
	off();
}

SCENARIO(swap_slots_full) = {
	SCENARIO_NAME(swap_slots_full),
	SWAP,
	.about = "is a device short of slots, while its last cluster comes into use?",
	.rows = "S2.26",
	.setup = setup_fill,
	.threads = { fills, asks_how_full },
	.roles = { "reclaim", "fault" },
	.finish = empty_again,
};
