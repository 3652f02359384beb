// SPDX-License-Identifier: MIT
/*
 * charge.c - pages of groups: counted before they are allocated, until after they are freed.
 *
 * Most charges are of what this CPU has in stock (stock.c). The rest:
 *
 * A charge goes up the tree by an atomic addition at each level, which is made only if it is within that level's limit. What a level above
 * refuses is taken back from those below; until then it may be in somebody's way, who reclaims and tries again. A limit is not passed:
 * an addition that is not taken back was within every limit when it was made.
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

/*
 * By comparison, not added and taken back: who is stopped between the two would have others refused what they may have.
 * Return: what it is now; 0: it would be more than @limit.
 */
static u64 add_within(struct page_counter *c, const u64 *limit, u64 nr)
{
	u64 old = READ_ONCE(c->usage);

	do {
		if (old + nr > READ_ONCE(*limit))
			return 0;
	} while (!try_cmpxchg_relaxed(&c->usage, &old, old + nr));
	return old + nr;
}

/* Return: NULL; or which group it is that may not have so many, and nothing has changed. */
static struct mem_cgroup *counter_add(struct mem_cgroup *memcg, enum memcg_limit limit, u64 nr,
				      bool force)
{
	for (struct mem_cgroup *g = memcg; g; g = g->parent) {
		struct page_counter *c = counter(g, limit);
		u64 now = force ? fetch_add_relaxed(&c->usage, nr) + nr
				: add_within(c, &g->limit[limit], nr);

		if (!now) {
			counter_sub(memcg, g, limit, nr);
			return g;
		}
		/* pairs with smp_mb_heavy() in memcg_press(): who lowers the limit sees these pages, or we see his limit */
		smp_mb_light();
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

bool memcg_try_charge(struct mem_cgroup *memcg, u64 nr)
{
	return !counter_add(memcg, MEMCG_MAX, nr, false);
}

/* Charged, but a group is above its high mark. Return: 0; -ENOMEM it is not charged: who may not wait comes back when it may. */
static int settle_high(struct mem_cgroup *memcg, u64 nr, bool may_wait)
{
	if (likely(!is_high(memcg)))
		return 0;
	if (!may_wait) {
		memcg_uncharge(memcg, nr);
		return -ENOMEM;
	}
	charge_high(memcg, nr);
	return 0;
}

/* One more try, of who has been refused and may not wait: stocks may be looked into. */
static int charge_now(struct mem_cgroup *memcg, struct mem_cgroup *over, u64 nr)
{
	if (!memcg_drain_try(over) || !memcg_try_charge(memcg, nr))
		return -ENOMEM;
	return settle_high(memcg, nr, false);
}

/* Reclaims until there is room. *pressed: which group's stocks are not filled meanwhile, NULL; the caller ends that. */
static int charge_hard(struct mem_cgroup *memcg, u64 nr, struct mem_cgroup **pressed)
{
	struct mem_cgroup *over;

	for (unsigned int i = 0, turns = 0; (over = counter_add(memcg, MEMCG_MAX, nr, false));
	     turns++) {
		if (i == CHARGE_TRIES || turns == CHARGE_TURNS) {
			fetch_add_relaxed(&over->failed, 1ull);
			return -ENOMEM;
		}
		/* who is pressed all below it are too: so this goes up the tree, and not for ever */
		if (!*pressed || !memcg_below(over, *pressed)) {
			/* there may be room, in stocks */
			if (*pressed)
				memcg_press_end(*pressed);
			memcg_press(over);
			*pressed = over;
			continue;
		}
		/* what others have freed, others may have taken */
		if (!reclaim_some(over, NUMA_NO_NODE, max(nr, (u64)RECLAIM_BATCH)))
			i++;
	}
	return settle_high(memcg, nr, true);
}

static __noinline int charge_slow(struct mem_cgroup *memcg, u64 nr, gfp_t gfp)
{
	bool may_wait = gfp & __GFP_DIRECT_RECLAIM;
	struct mem_cgroup *over, *pressed = NULL;
	int err;

	if (memcg_stock_fill(memcg, nr))
		return 0;
	over = counter_add(memcg, MEMCG_MAX, nr, false);
	if (!over)
		return settle_high(memcg, nr, may_wait);
	if (!may_wait)
		return charge_now(memcg, over, nr);
	err = charge_hard(memcg, nr, &pressed);
	if (pressed)
		memcg_press_end(pressed);
	return err;
}

int memcg_charge(struct mem_cgroup *memcg, u64 nr, gfp_t gfp)
{
	return likely(memcg_stock_take(memcg, nr)) ? 0 : charge_slow(memcg, nr, gfp);
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

struct folio *memcg_folio_alloc_like(const struct folio *folio, gfp_t gfp, unsigned int order,
				     int nid)
{
	struct mem_cgroup *memcg = memcg_of_set(folio_set_of(folio));

	/* for a moment both are there: it would be odd if a group that is full could not be moved */
	memcg_charge_force(memcg, 1ul << order);
	return alloc_charged(memcg, gfp, order, nid);
}

/*
 * Of a device's memory: it has a descriptor already, of no set's cache, so that no scan finds it, and only the number says whose it is. PFN
 * walkers may look meanwhile: what they read of the word stays.
 */
static void folio_is_charged(struct folio *folio, const struct mem_cgroup *memcg)
{
	WRITE_ONCE(folio->pfn_order_group,
		   READ_ONCE(folio->pfn_order_group) | (u64)memcg->set.nr << FOLIO_GROUP_SHIFT);
	folio_set_flag(folio, PG_charged);
}

void memcg_folio_charge_like(struct folio *folio, const struct folio *like)
{
	struct mem_cgroup *memcg = memcg_of_set(folio_set_of(like));

	/* as above: what it takes the place of is freed soon */
	memcg_charge_force(memcg, folio_nr_pages(folio));
	folio_is_charged(folio, memcg);
}

int memcg_folio_charge(struct folio *folio, struct mm_struct *mm, gfp_t gfp)
{
	struct mem_cgroup *memcg = READ_ONCE(mm->memcg);
	int err = memcg_charge(memcg, folio_nr_pages(folio), gfp);

	if (!err)
		folio_is_charged(folio, memcg);
	return err;
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
