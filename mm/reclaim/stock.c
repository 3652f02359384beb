// SPDX-License-Identifier: MIT
/*
 * stock.c - pages that are charged to a group already, and nobody's: some for each CPU, so that most charges touch a line of
 * their own CPU's and none that all share.
 *
 * A stock is filled from the counters, by a batch, by who charges a page and finds none; never near a limit, and never while a group above is
 * pressed: somebody has been refused there, or its limit is being lowered. It is emptied into the counters by anybody: one word,
 * which says how many, and that somebody is at it.
 *
 * Nobody fails for what lies in a stock. Who presses a group stores that, runs a heavy barrier, and empties all stocks below it; who fills one
 * marks the word, runs a light one, and looks whether a group above is pressed. So either the filler sees it, and takes no
 * batch; or the one who presses sees the mark, waits, and has the batch. Who empties one marks it too, until the counters have it:
 * what is on its way there would be missed by the next one. Both are pinned meanwhile, and do nothing that waits.
 *
 * What is freed goes to the counters, not here: reclaim wants to see it. It is batched by who puts folios together (folios_put_refs()).
 */
#include <octavo/port.h>

#include "memcg.h"

/* In the word of a stock: it is being filled, or emptied. */
#define STOCK_BUSY (1ull << 63)

/* Room for a batch of each CPU: with that nobody fails the sooner for stocks. */
static bool may_fill(const struct mem_cgroup *memcg)
{
	u64 room = (u64)octavo_state.frame.nr_cpus * STOCK_BATCH;

	for (const struct mem_cgroup *g = memcg; g; g = g->parent) {
		u64 usage = READ_ONCE(g->memory.usage);
		u64 limit = min(READ_ONCE(g->limit[MEMCG_MAX]), READ_ONCE(g->limit[MEMCG_HIGH]));

		if (READ_ONCE(g->pressed) || usage > limit || limit - usage < room)
			return false;
	}
	return true;
}

bool memcg_stock_fill(struct mem_cgroup *memcg, u64 nr)
{
	bool filled = false;
	u64 *pages, old;

	if (nr > STOCK_BATCH)
		return false;
	pages = &memcg->stock[octavo_port_pin()].pages;
	old = READ_ONCE(*pages);
	/* relaxed: the light barrier orders it */
	if (!(old & STOCK_BUSY) && cmpxchg_relaxed(pages, old, old | STOCK_BUSY) == old) {
		/* pairs with smp_mb_heavy() in memcg_press(): it waits for us, or we see that it presses */
		smp_mb_light();
		filled = may_fill(memcg) && memcg_try_charge(memcg, STOCK_BATCH);
		/* release: pairs with the acquire in stock_empty() and memcg_drain(): the counters have the batch before it is taken back */
		smp_store_release(pages, filled ? old + STOCK_BATCH - nr : old);
	}
	octavo_port_unpin();
	return filled;
}

/* Pinned from the mark on, as who fills one is: others wait, until the counters have it. */
static bool stock_empty(struct mem_cgroup *memcg, u64 *pages, u64 old)
{
	bool mine;

	octavo_port_pin();
	/* acquire: pairs with the release in memcg_stock_fill(): the counters have had the batch */
	mine = cmpxchg_acquire(pages, old, STOCK_BUSY) == old;
	if (mine) {
		memcg_uncharge(memcg, old);
		/* release: pairs with the acquire in memcg_drain(): who finds it empty finds room in the counters */
		smp_store_release(pages, (u64)0);
	}
	octavo_port_unpin();
	return mine;
}

void memcg_drain(struct mem_cgroup *memcg, bool wait)
{
	for (u32 cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++) {
		u64 *pages = &memcg->stock[cpu].pages, old;

		/* acquire: pairs with the releases of who filled it, or emptied it */
		while ((old = smp_load_acquire(pages))) {
			if (!(old & STOCK_BUSY) && stock_empty(memcg, pages, old))
				break;
			if (!wait)
				break;
			octavo_port_relax();
		}
	}
}

static void drain_below(struct mem_cgroup *top)
{
	struct mem_cgroup *memcg = NULL;

	while ((memcg = memcg_next(top, memcg)))
		memcg_drain(memcg, true);
}

bool memcg_drain_try(struct mem_cgroup *top)
{
	struct mem_cgroup *memcg;

	if (!spin_trylock(&octavo_state.reclaim.groups_lock))
		return false;
	list_for_each_entry (memcg, &octavo_state.reclaim.groups, all)
		if (memcg_below(memcg, top))
			memcg_drain(memcg, false);
	spin_unlock(&octavo_state.reclaim.groups_lock);
	return true;
}

void memcg_press(struct mem_cgroup *memcg)
{
	fetch_add_relaxed(&memcg->pressed, 1u);
	/* pairs with smp_mb_light() in memcg_stock_fill(), and with that of who charges: it sees a new limit, or we see its pages */
	smp_mb_heavy();
	drain_below(memcg);
}

void memcg_press_end(struct mem_cgroup *memcg)
{
	fetch_sub_relaxed(&memcg->pressed, 1u);
}

u64 memcg_stocked(const struct mem_cgroup *memcg)
{
	u64 pages = 0;

	for (u32 cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++)
		pages += READ_ONCE(memcg->stock[cpu].pages) & ~STOCK_BUSY;
	return pages;
}

void mem_cgroup_drain(void)
{
	if (memcg_any())
		drain_below(NULL);
}
