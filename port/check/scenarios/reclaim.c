/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - who reclaims, and groups: the background thread is woken, and what CPUs have charged in advance is in nobody's way. The
 * shipped code.
 */
#include <octavo/memcontrol.h>
#include <octavo/octavo.h>
#include <octavo/reclaim.h>
#include <octavo/state.h>

#include "../../../mm/reclaim/memcg.h"
#include "check.h"

static SHARED struct {
	struct mem_cgroup *group, *child;
	struct folio *folio[2];
} r;

static void setup_group(u64 limit)
{
	int err;

	CHECK(reclaim_init() == 0);
	r.group = mem_cgroup_create(NULL, &err);
	CHECK(r.group);
	r.child = mem_cgroup_create(r.group, &err);
	CHECK(r.child);
	CHECK(mem_cgroup_set(r.group, MEMCG_MAX, limit) == 0);
}

static u64 used(void)
{
	return r.group->memory.usage - memcg_stocked(r.child) - memcg_stocked(r.group);
}

/* Nothing was ever scanned for these charges. */
static void no_reclaim(void)
{
	CHECK(!octavo_state.reclaim.event[RECLAIM_AGED]);
	CHECK(!octavo_state.reclaim.event[RECLAIM_SCANNED]);
	CHECK(!r.group->pressed && !r.child->pressed);
	CHECK(r.group->memory.usage == r.child->memory.usage);
}

/* ---- a stock is filled, while others need all of the limit, and while it is lowered ---- */

enum { ROOM = 3 * STOCK_BATCH + 1, MOST = ROOM - 2 };

static void setup_stock(void)
{
	setup_group(ROOM);
}

static void one_page(void)
{
	CHECK(memcg_charge(r.child, 1, GFP_KERNEL) == 0);
}

/* All that the limit leaves the others. */
static void the_rest(void)
{
	CHECK(memcg_charge(r.child, MOST, GFP_KERNEL) == 0);
}

static void all_is_used(void)
{
	no_reclaim();
	CHECK(used() == ROOM && r.group->memory.usage == ROOM);
}

SCENARIO(memcg_stock_limit) = {
	SCENARIO_NAME(memcg_stock_limit),
	.frames = 128,
	.about = "stocks are filled while somebody charges all but two pages of the limit",
	.setup = setup_stock,
	.finish = all_is_used,
	.stale = 1,
	.threads = { one_page, one_page, the_rest },
	.roles = { "filler", "filler", "charger" }
};

static void few(void)
{
	CHECK(memcg_charge(r.child, 3, GFP_KERNEL) == 0);
}

/* What is used is never more than this. */
static void lower(void)
{
	CHECK(mem_cgroup_set(r.group, MEMCG_MAX, 4) == 0);
	CHECK(READ_ONCE(r.group->memory.usage) <= 4);
}

static void four_are_used(void)
{
	no_reclaim();
	CHECK(used() == 4 && r.group->memory.usage == 4);
}

SCENARIO(memcg_stock_lower) = {
	SCENARIO_NAME(memcg_stock_lower),
	.frames = 128,
	.about = "stocks are filled and emptied while a limit is lowered to what is used",
	.setup = setup_stock,
	.finish = four_are_used,
	.stale = 1,
	.threads = { one_page, few, lower },
	.roles = { "filler", "filler", "owner" }
};

/* ---- the last folios of a group are freed together, and with them goes the group ---- */

static void setup_last(void)
{
	int err;

	CHECK(reclaim_init() == 0);
	r.group = mem_cgroup_create(NULL, &err);
	CHECK(r.group);
	for (unsigned int i = 0; i < ARRAY_SIZE(r.folio); i++) {
		CHECK(memcg_charge(r.group, 1, GFP_KERNEL) == 0);
		r.folio[i] =
			folio_alloc_set(GFP_KERNEL, 0, FOLIO_ANON, NUMA_NO_NODE, &r.group->set);
		CHECK(r.folio[i]);
	}
	folio_get(r.folio[1]);
	CHECK(mem_cgroup_end(r.group) == 0);
	CHECK(!list_empty(&octavo_state.reclaim.groups));
}

static void puts_both(void)
{
	folios_put_refs(r.folio, NULL, 2);
}

static void puts_one(void)
{
	folio_put(r.folio[1]);
}

static void reaps(void)
{
	memcg_reap();
}

static void group_is_gone(void)
{
	memcg_reap();
	CHECK(list_empty(&octavo_state.reclaim.groups));
}

SCENARIO(memcg_put_last) = {
	SCENARIO_NAME(memcg_put_last),
	.frames = 128,
	.about = "the last folios of a group that has ended are put together, and one more, while "
		 "somebody looks for such groups",
	.setup = setup_last,
	.finish = group_is_gone,
	.threads = { puts_both, puts_one, reaps },
	.roles = { "puts two", "puts one", "looks" },
	.stale = 1,
};

/* ---- the background thread ---- */

static struct zone *first_zone(void)
{
	for (unsigned int zone = 0; zone < NR_ZONES; zone++)
		if (octavo_state.frame.zone[0][zone])
			return octavo_state.frame.zone[0][zone];
	return NULL;
}

/* Nothing is missing, and it has been woken for something that is over. */
static void setup_kswapd(void)
{
	CHECK(reclaim_init() == 0);
	CHECK(first_zone());
	for (unsigned int zone = 0; zone < NR_ZONES; zone++)
		if (octavo_state.frame.zone[0][zone])
			octavo_state.frame.zone[0][zone]->watermark[WMARK_HIGH] = 0;
	octavo_state.reclaim.kswapd[0].wake = 1;
}

static void background(void)
{
	kswapd(0);
}

/* Memory is short from here on: it is told, and looks. */
static void falls_below(void)
{
	WRITE_ONCE(first_zone()->watermark[WMARK_HIGH], 1ul << 30);
	octavo_state.upcalls.reclaim->wake_reclaim(0, 0);
	while (!READ_ONCE(octavo_state.reclaim.event[RECLAIM_AGED]))
		octavo_port_relax();
	kswapd_stop();
}

/* Another, who is not the one that is waited for. */
static void wakes_too(void)
{
	octavo_state.upcalls.reclaim->wake_reclaim(0, 0);
}

static void it_has_looked(void)
{
	CHECK(octavo_state.reclaim.event[RECLAIM_KSWAPD]);
	CHECK(octavo_state.reclaim.event[RECLAIM_AGED]);
}

SCENARIO(kswapd_wake) = {
	SCENARIO_NAME(kswapd_wake),
	.frames = 64,
	.about = "memory falls below a watermark while the background thread goes to sleep",
	.setup = setup_kswapd,
	.finish = it_has_looked,
	.stale = 1,
	.threads = { background, falls_below, wakes_too },
	.roles = { "kswapd", "allocator", "waker" }
};
