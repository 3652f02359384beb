// SPDX-License-Identifier: MIT
/*
 * charge.c - pages of groups: counted before they are allocated, until after they are freed.
 *
 * A charge goes up the tree by an atomic addition at each level, and what is too much is taken back. So two who are refused may each have
 * been in the other's way; they reclaim and try again, and that is all that it costs. What must not be is a limit that is passed, and it is
 * not: an addition that is not taken back was within every limit when it was made.
 */
#include <octavo/errno.h>

#include "memcg.h"

/* Reclaims of a group that gave nothing, before a charge is refused. */
#define CHARGE_TRIES 5u

/* And of all, if others take each time what was freed. */
#define CHARGE_TURNS 1000u

static void note_highest(struct page_counter *c, u64 now)
{
	/* of two at once the smaller may be noted: a number for people */
	if (READ_ONCE(c->highest) < now)
		WRITE_ONCE(c->highest, now);
}

/* Which one of a group's counters. */
static struct page_counter *counter(struct mem_cgroup *memcg, enum memcg_limit limit)
{
	return limit == MEMCG_SWAP_MAX ? &memcg->swap : &memcg->memory;
}

static void counter_sub(struct mem_cgroup *memcg, struct mem_cgroup *end, enum memcg_limit limit,
			u64 nr)
{
	for (struct mem_cgroup *g = memcg, *up; g != end; g = up) {
		/* what this takes from it may be the last thing that kept it; what is above it is kept by what follows */
		up = g->parent;
		/* release: pairs with the acquire in memcg_is_gone() */
		u64 old = fetch_sub_release(&counter(g, limit)->usage, nr);

		if (unlikely(old < nr))
			octavo_panic("group %u: %lu pages less than %lu", g->set.nr,
				     (unsigned long)nr, (unsigned long)old);
	}
}

/* Return: NULL; or which group it is that may not have so many, and nothing has changed. */
static struct mem_cgroup *counter_add(struct mem_cgroup *memcg, enum memcg_limit limit, u64 nr,
				      bool force)
{
	for (struct mem_cgroup *g = memcg; g; g = g->parent) {
		struct page_counter *c = counter(g, limit);
		u64 now = fetch_add_relaxed(&c->usage, nr) + nr;

		if (!force && now > READ_ONCE(g->limit[limit])) {
			counter_sub(memcg, g->parent, limit, nr);
			return g;
		}
		note_highest(c, now);
	}
	return NULL;
}

/* Above its high mark a group grows only as fast as it is reclaimed. */
static void charge_high(struct mem_cgroup *memcg, u64 nr)
{
	for (struct mem_cgroup *g = memcg; g; g = g->parent) {
		if (READ_ONCE(g->memory.usage) <= READ_ONCE(g->limit[MEMCG_HIGH]))
			continue;
		fetch_add_relaxed(&g->over_high, 1ul);
		shrink_groups(g, NUMA_NO_NODE, max(nr, (u64)RECLAIM_BATCH));
	}
}

static bool is_high(const struct mem_cgroup *memcg)
{
	for (const struct mem_cgroup *g = memcg; g; g = g->parent)
		if (READ_ONCE(g->memory.usage) > READ_ONCE(g->limit[MEMCG_HIGH]))
			return true;
	return false;
}

int memcg_charge(struct mem_cgroup *memcg, u64 nr, gfp_t gfp)
{
	bool may_wait = gfp & __GFP_DIRECT_RECLAIM;

	for (unsigned int i = 0, turns = 0;; turns++) {
		struct mem_cgroup *over = counter_add(memcg, MEMCG_MAX, nr, false);

		if (!over) {
			if (may_wait)
				charge_high(memcg, nr);
			else if (is_high(memcg))
				break;
			return 0;
		}
		if (!may_wait || i == CHARGE_TRIES || turns == CHARGE_TURNS) {
			fetch_add_relaxed(&over->failed, (u64)may_wait);
			return -ENOMEM;
		}
		/* what others have freed, others may have taken */
		if (!reclaim_some(over, NUMA_NO_NODE, max(nr, (u64)RECLAIM_BATCH)))
			i++;
	}
	/* who may not wait comes back when it may */
	memcg_uncharge(memcg, nr);
	return -ENOMEM;
}

void memcg_charge_force(struct mem_cgroup *memcg, u64 nr)
{
	counter_add(memcg, MEMCG_MAX, nr, true);
}

void memcg_uncharge(struct mem_cgroup *memcg, u64 nr)
{
	counter_sub(memcg, NULL, MEMCG_MAX, nr);
}

/* ---- folios ---- */

static struct folio *alloc_charged(struct mem_cgroup *memcg, gfp_t gfp, unsigned int order, int nid)
{
	struct folio *folio = folio_alloc_set(gfp, order, FOLIO_ANON, nid, &memcg->set);

	if (!folio)
		memcg_uncharge(memcg, 1ul << order);
	return folio;
}

struct folio *memcg_folio_alloc(struct mm_struct *mm, gfp_t gfp, unsigned int order)
{
	struct mem_cgroup *memcg = READ_ONCE(mm->memcg);

	if (order > MAX_FOLIO_ORDER || memcg_charge(memcg, 1ul << order, gfp))
		return NULL;
	return alloc_charged(memcg, gfp, order, NUMA_NO_NODE);
}

struct folio *memcg_folio_alloc_set(u32 set, gfp_t gfp, unsigned int order)
{
	struct mem_cgroup *memcg = memcg_get_set(set);
	struct folio *folio = NULL;

	/* the slot is somebody else's by now, so this is not the folio for it, and the cache will say so */
	if (!memcg)
		return folio_alloc(gfp, order, FOLIO_ANON);
	if (!memcg_charge(memcg, 1ul << order, gfp))
		folio = alloc_charged(memcg, gfp, order, NUMA_NO_NODE);
	memcg_put(memcg);
	return folio;
}

struct folio *memcg_folio_alloc_like(const struct folio *folio, gfp_t gfp, int nid)
{
	struct mem_cgroup *memcg = memcg_of_set(folio_set_of(folio));

	/* for a moment both are there: it would be odd if a group that is full could not be moved */
	memcg_charge_force(memcg, folio_nr_pages(folio));
	return alloc_charged(memcg, gfp, folio_order(folio), nid);
}

void memcg_uncharge_set(u32 set, u64 nr)
{
	memcg_uncharge(memcg_of_set(folio_set_find(set)), nr);
}

/* ---- slots ---- */

int memcg_swap_charge(const struct folio *folio)
{
	struct folio_set *set = folio_set_of(folio);

	if (!set)
		return 0;
	return counter_add(memcg_of_set(set), MEMCG_SWAP_MAX, folio_nr_pages(folio), false)
		       ? -ENOMEM
		       : 0;
}

void memcg_swap_uncharge(u32 set, u64 nr)
{
	counter_sub(memcg_of_set(folio_set_find(set)), NULL, MEMCG_SWAP_MAX, nr);
}
