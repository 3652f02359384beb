// SPDX-License-Identifier: MIT
/*
 * cluster.c - which slots are free: runs of them for folios, clusters for CPUs.
 *
 * 1. A cluster has a map of its slots, and its lock is all that taking and freeing runs of it need. Runs are
 *    naturally aligned, so that finding one of any order is a few shifts of the map's words.
 *
 * 2. A CPU has a current cluster for each order, of which nobody else takes while there are others: what is swapped
 *    out one after the other lies side by side, and CPUs do not meet.
 *
 * 3. Clusters that are nobody's current one are on a list of their device, by the largest aligned run that is free
 *    in them; those with few free slots are kept apart, to be used last. So a cluster that fits is found
 *    without looking at any that does not. Who needs one takes the best fit: smaller orders leave large runs alone. A
 *    cluster's place changes at most a few times between empty and full, and only then freeing takes the list's lock.
 *
 * 4. A cluster costs nothing before its first use: device->fresh is where the never used ones begin. What is made
 *    then is made of reserves, because whoever swaps out frees more than that.
 *
 * 5. CLUSTER_OWNED is set under the list's lock, before its owner has the cluster's. Who frees meanwhile leaves the
 *    cluster where it is, off the lists; who gives it up does so with its lock held, and looks at
 *    all that is free then.
 *
 * What this file does not do: counts and contents of slots. It does not move anything, so a device of many small
 * folios has no large runs until these are gone; folio_alloc_swap() says -EAGAIN then.
 */
#include <octavo/errno.h>
#include <octavo/hooks.h>
#include <octavo/plain.h>
#include <octavo/slab.h>
#include <octavo/string.h>

#include "swap_internal.h"

/* What is allocated on the way to freeing memory. Waits for nothing. */
#define GFP_SWAP (__GFP_MEMALLOC | __GFP_HIGH | __GFP_NOWARN | __GFP_ZERO)

/* ---- the map ---- */

/* Bits 0, 2^order, 2 * 2^order, ... */
static inline unsigned long aligned_bits(unsigned int order)
{
	return order >= 6 ? 1ul : ~0ul / ((1ul << (1u << order)) - 1);
}

/* First bit, aligned and not below @from, of a run of 2^@order zeros in @w; -1: none. For orders to 6. */
static int word_find(unsigned long w, unsigned int order, unsigned int from)
{
	unsigned long free = ~w;

	for (unsigned int o = 0; o < order; o++)
		free &= free >> (1u << o);
	free &= aligned_bits(order) & (~0ul << from);
	return free ? __builtin_ctzl(free) : -1;
}

static bool words_clear(const unsigned long *map, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (map[i])
			return false;
	return true;
}

/* The first free aligned run of 2^@order slots at or after @from; -1: none. */
static int map_find(const struct swap_cluster *c, unsigned int order, unsigned int from)
{
	unsigned int w = from / BITS_PER_LONG, step = order > 6 ? 1u << (order - 6) : 1;

	from %= BITS_PER_LONG;
	for (w = ALIGN(w, step); w + step <= CLUSTER_MAP_WORDS; w += step, from = 0) {
		int bit;

		if (order >= 6) {
			if (!from && words_clear(&c->map[w], step))
				return (int)(w * BITS_PER_LONG);
			continue;
		}
		bit = word_find(c->map[w], order, from);
		if (bit >= 0)
			return (int)(w * BITS_PER_LONG) + bit;
	}
	return -1;
}

static inline unsigned long run_mask(unsigned int at, unsigned int nr)
{
	return (nr == BITS_PER_LONG ? ~0ul : (1ul << nr) - 1) << at % BITS_PER_LONG;
}

/* The aligned run of 2^@order slots that has @at: is all of it free? */
static inline bool map_clear_around(const struct swap_cluster *c, unsigned int at,
				    unsigned int order)
{
	at = ALIGN_DOWN(at, 1u << order);
	if (order >= 6)
		return words_clear(&c->map[at / BITS_PER_LONG], 1u << (order - 6));
	return !(c->map[at / BITS_PER_LONG] & run_mask(at, 1u << order));
}

/* Calls with the part of [at, at + nr) in each word. */
#define for_each_map_word(c, at, nr, word, mask)                                          \
	for (unsigned int _i = (at), _n;                                                  \
	     _i < (at) + (nr) &&                                                          \
	     (_n = min((unsigned int)BITS_PER_LONG - _i % BITS_PER_LONG, (at) + (nr)-_i), \
	     word = &(c)->map[_i / BITS_PER_LONG], mask = run_mask(_i, _n), true);        \
	     _i += _n)

static void map_set(struct swap_cluster *c, unsigned int at, unsigned int nr)
{
	unsigned long *word, mask;

	WRITE_ONCE(c->taken, (u16)(c->taken + nr));
	for_each_map_word(c, at, nr, word, mask) *word |= mask;
}

static void map_clear(struct swap_cluster *c, unsigned int at, unsigned int nr)
{
	unsigned long *word, mask;

	WRITE_ONCE(c->taken, (u16)(c->taken - nr));
	for_each_map_word(c, at, nr, word, mask) *word &= ~mask;
}

int cluster_largest(const struct swap_cluster *c)
{
	int order = CLUSTER_ORDER;

	while (order >= 0 && map_find(c, (unsigned int)order, 0) < 0)
		order--;
	return order;
}

/* Slots [at, at + nr) have become free: is there a larger run now? It has one of them. */
static int largest_after(const struct swap_cluster *c, unsigned int at, unsigned int nr)
{
	int largest = c->largest;

	while (largest < CLUSTER_ORDER) {
		unsigned int order = (unsigned int)largest + 1, i = ALIGN_DOWN(at, 1u << order);

		while (i < at + nr && !map_clear_around(c, i, order))
			i += 1u << order;
		if (i >= at + nr)
			break;
		largest++;
	}
	return largest;
}

/* ---- lists ---- */

unsigned int cluster_list(const struct swap_cluster *c, int largest)
{
	if (largest < 0)
		return CLUSTER_NOWHERE;
	return (unsigned int)largest +
	       (CLUSTER_SLOTS - c->taken < CLUSTER_FEW ? CLUSTER_ORDERS : 0);
}

/* To list @to; from wherever it is. list_lock held. */
static void list_put(struct swap_device *dev, struct swap_cluster *c, unsigned int to)
{
	unsigned int from = c->list;

	list_del_init(&c->link);
	if (from < CLUSTER_LISTS && list_empty(&dev->lists[from]))
		WRITE_ONCE(dev->mask, dev->mask & ~(1u << from));
	if (to < CLUSTER_LISTS) {
		list_add_tail(&c->link, &dev->lists[to]);
		WRITE_ONCE(dev->mask, dev->mask | 1u << to);
	}
	WRITE_ONCE(c->list, (u8)to);
}

/* Its place on the lists after slots were freed. The cluster's lock held. */
static void cluster_grew(struct swap_device *dev, struct swap_cluster *c, unsigned int at,
			 unsigned int nr)
{
	unsigned int to;

	if (READ_ONCE(c->list) == CLUSTER_OWNED)
		return;
	c->largest = largest_after(c, at, nr);
	to = cluster_list(c, c->largest);
	if (READ_ONCE(c->list) == to)
		return;
	spin_lock(&dev->list_lock);
	if (c->list != CLUSTER_OWNED)
		list_put(dev, c, to);
	spin_unlock(&dev->list_lock);
}

/* ---- clusters that were never used ---- */

static void *words_alloc(size_t size, gfp_t gfp)
{
	return size < PAGE_SIZE ? kmalloc(size, gfp) : alloc_pages_exact(size, gfp);
}

void swap_words_free(void *p, size_t size)
{
	if (size < PAGE_SIZE)
		kfree(p);
	else if (p)
		free_pages_exact(p, size);
}

/* Slot 0 is no slot, and those behind the end of the device are none. */
static void cluster_trim(const struct swap_device *dev, struct swap_cluster *c)
{
	unsigned long left = dev->nr_slots - (unsigned long)c->nr * CLUSTER_SLOTS;

	if (c->nr == 0)
		map_set(c, 0, 1);
	if (left < CLUSTER_SLOTS)
		map_set(c, (unsigned int)left, CLUSTER_SLOTS - (unsigned int)left);
	if (CLUSTER_SLOTS < BITS_PER_LONG)
		c->map[0] |= ~0ul << (CLUSTER_SLOTS % BITS_PER_LONG);
}

/* The next one that was never used; NULL: there is none, or no memory. list_lock held, or nobody else has the device. */
static struct swap_cluster *cluster_fresh(struct swap_device *dev, gfp_t gfp)
{
	u32 nr = dev->fresh;
	struct swap_cluster *c;
	u64 *words;

	if (nr == dev->nr_clusters)
		return NULL;
	c = swap_cluster_at(dev, nr);
	if (!c) {
		c = words_alloc(CLUSTER_GROUP_BYTES, gfp);
		if (!c)
			return NULL;
		/* release: pairs with the acquire in swap_cluster_at(): it is cleared */
		smp_store_release(&dev->groups[nr / CLUSTER_GROUP], c);
	}
	words = words_alloc(CLUSTER_WORD_BYTES, gfp);
	if (!words)
		return NULL;
	c->nr = nr;
	INIT_LIST_HEAD(&c->link);
	cluster_trim(dev, c);
	c->largest = cluster_largest(c);
	WRITE_ONCE(c->list, CLUSTER_NOWHERE);
	/* release: pairs with the acquire in swap_word() and cluster_made(): words and fields are set */
	smp_store_release(&c->words, words);
	WRITE_ONCE(dev->fresh, nr + 1);
	return c;
}

int cluster_first(struct swap_device *dev)
{
	struct swap_cluster *c;

	/* nobody knows of the device yet, so this may sleep: reclaim, and what other CPUs keep, are worth trying */
	c = cluster_fresh(dev, GFP_SWAP | __GFP_RECLAIM);
	if (!c)
		return -ENOMEM;
	spin_lock(&dev->list_lock);
	list_put(dev, c, cluster_list(c, c->largest));
	spin_unlock(&dev->list_lock);
	return 0;
}

/* ---- taking ---- */

static inline u16 cluster_owner(unsigned int cpu, unsigned int order)
{
	return (u16)(cpu * 16 + order + 1);
}

static inline u64 current_of(const struct swap_device *dev, const struct swap_cluster *c)
{
	return (u64)dev->type << CURRENT_TYPE_SHIFT | (c->nr + 1ul);
}

/* A run for a folio; ~0u: there is none. */
static inline unsigned int run_find(const struct swap_cluster *c, unsigned int order)
{
	unsigned int from = ALIGN((unsigned int)c->next, 1u << order) % CLUSTER_SLOTS;
	int at;

	/* mostly the next one is free */
	if (likely(map_clear_around(c, from, order)))
		return from;
	at = map_find(c, order, from);
	return (unsigned int)(at < 0 && from ? map_find(c, order, 0) : at);
}

/* A run for @folio. The cluster's lock held. */
static bool cluster_take(struct swap_device *dev, struct swap_cluster *c, struct folio *folio)
{
	unsigned int order = folio_order(folio), nr = 1u << order, at = run_find(c, order);

	if (unlikely(at == ~0u))
		return false;
	if (likely(order < 6)) {
		c->map[at / BITS_PER_LONG] |= run_mask(at, nr);
		WRITE_ONCE(c->taken, (u16)(c->taken + nr));
	} else {
		map_set(c, at, nr);
	}
	c->next = (u16)((at + nr) % CLUSTER_SLOTS);
	WRITE_ONCE(c->used, (u16)(c->used + nr));
	WRITE_ONCE(c->cached, (u16)(c->cached + nr));
	cache_insert(folio, cluster_entry(dev, c, at), 1u << PG_dirty);
	/* release: pairs with the acquire in cache_try(): the folio names the slots */
	words_ramp_release((unsigned long *)&c->words[at], SLOT_CACHED | folio_pfn(folio), 1, nr);
	return true;
}

/* Nobody's any more. Lock held. */
static void cluster_disown(struct swap_device *dev, struct swap_cluster *c)
{
	c->owner = 0;
	c->largest = cluster_largest(c);
	spin_lock(&dev->list_lock);
	list_put(dev, c, cluster_list(c, c->largest));
	spin_unlock(&dev->list_lock);
}

/*
 * The cluster that @current names, locked; NULL: there is no such one any more. The device cannot go while the lock
 * is held: swapoff takes each that was ever used once, after a grace period, and before it frees. @current may be
 * from before another device of this number went, where this one has nothing yet.
 */
static struct swap_cluster *cluster_lock_current(u64 current, struct swap_device **devp)
{
	unsigned int type = (unsigned int)(current >> CURRENT_TYPE_SHIFT);
	u32 nr = (u32)current - 1;
	struct swap_cluster *c;
	struct swap_device *dev;
	bool locked = false;

	rcu_read_lock();
	dev = swap_device_of(type);
	c = dev ? cluster_made(dev, nr) : NULL;
	/* a section of RCU is pinned: who has to wait needs a hold on the device */
	if (c)
		locked = spin_trylock(&c->lock);
	rcu_read_unlock();
	*devp = dev;
	if (!c || locked)
		return c;
	dev = swap_device_get(type, false);
	if (!dev)
		return NULL;
	*devp = dev;
	c = cluster_made(dev, nr);
	if (c)
		spin_lock(&c->lock);
	swap_device_put(dev);
	return c;
}

/* From the caller's current cluster; if there is no run in it, it is not current any more. */
static bool alloc_current(u64 *place, u16 owner, struct folio *folio)
{
	u64 current = READ_ONCE(*place);
	struct swap_cluster *c = NULL;
	struct swap_device *dev;
	bool ok = false;

	if (current)
		c = cluster_lock_current(current, &dev);
	if (!c)
		return false;
	if (c->owner == owner) {
		ok = !READ_ONCE(dev->closing) && cluster_take(dev, c, folio);
		if (!ok)
			cluster_disown(dev, c);
	}
	spin_unlock(&c->lock);
	return ok;
}

/* The list to take from; -1: none has what is needed. */
static int list_choose(u32 mask, unsigned int order)
{
	u32 fit = mask & (~0u << order);

	return fit ? __builtin_ctz(fit) : -1;
}

/* Off the lists: a cluster with a run of @order; NULL: none. */
static struct swap_cluster *cluster_pick(struct swap_device *dev, unsigned int order)
{
	const u32 many = (1u << CLUSTER_ORDERS) - 1;
	struct swap_cluster *c = NULL;
	int list;

	spin_lock(&dev->list_lock);
	list = list_choose(dev->mask & many, order);
	while (list < 0 && (c = cluster_fresh(dev, GFP_SWAP)) && c->largest < (int)order) {
		list_put(dev, c, cluster_list(c, c->largest));
		c = NULL;
	}
	if (list < 0 && !c)
		list = list_choose(dev->mask & ~many, CLUSTER_ORDERS + order);
	if (list >= 0)
		c = list_first_entry(&dev->lists[list], struct swap_cluster, link);
	if (c)
		list_put(dev, c, CLUSTER_OWNED);
	spin_unlock(&dev->list_lock);
	return c;
}

/* Somebody on the same CPU was faster, and has put another one in its place. */
static void current_drop(u64 current, u16 owner)
{
	struct swap_device *dev;
	struct swap_cluster *c = current ? cluster_lock_current(current, &dev) : NULL;

	if (!c)
		return;
	if (c->owner == owner)
		cluster_disown(dev, c);
	spin_unlock(&c->lock);
}

/* @dev is held. */
static bool alloc_new(struct swap_device *dev, u64 *place, u16 owner, struct folio *folio)
{
	struct swap_cluster *c = cluster_pick(dev, folio_order(folio));
	bool ok;
	u64 old;

	if (!c)
		return false;
	spin_lock(&c->lock);
	c->owner = owner;
	c->next = 0;
	/* nobody else takes from it, so the run that it had is there still */
	ok = cluster_take(dev, c, folio);
	BUG_ON(!ok);
	old = xchg_relaxed(place, current_of(dev, c));
	spin_unlock(&c->lock);
	if (old != current_of(dev, c))
		current_drop(old, owner);
	return true;
}

/* The device of the highest priority that is not in @tried, of equal ones the next in turn; held. */
static struct swap_device *device_choose(u32 tried)
{
	struct swap_state *st = &octavo_state.swap;
	u32 turn = READ_ONCE(st->turn);
	struct swap_device *dev;
	int best, prio = 0;

	do {
		best = -1;
		rcu_read_lock();
		for (u32 i = 0; i < MAX_SWAPFILES; i++) {
			u32 type = (turn + i) % MAX_SWAPFILES;

			dev = tried & 1u << type ? NULL : swap_device_of(type);
			if (dev && (best < 0 || dev->prio > prio)) {
				best = (int)type;
				prio = dev->prio;
			}
		}
		rcu_read_unlock();
		if (best < 0)
			return NULL;
		tried |= 1u << best;
		dev = swap_device_get((unsigned int)best, false);
	} while (!dev);
	return dev;
}

static bool alloc_any(u64 *place, u16 owner, struct folio *folio, bool *room)
{
	struct swap_device *dev;
	bool ok = false;
	u32 tried = 0;

	while (!ok && (dev = device_choose(tried))) {
		tried |= 1u << dev->type;
		ok = alloc_new(dev, place, owner, folio);
		if (ok)
			WRITE_ONCE(octavo_state.swap.turn, dev->type + 1);
		*room |= READ_ONCE(dev->mask) != 0;
		swap_device_put(dev);
	}
	return ok;
}

/* Nothing is left but what CPUs allocate from: of @cpu's own clusters for other orders. */
static bool alloc_owned(unsigned int cpu, struct folio *folio, bool *room)
{
	struct swap_cpu *sc = &octavo_state.swap.cpu[cpu];
	bool ok = false;

	for (unsigned int order = 0; !ok && order < CLUSTER_ORDERS; order++) {
		u64 current = READ_ONCE(sc->current[order]);
		struct swap_cluster *c = NULL;
		struct swap_device *dev;

		if (current)
			c = cluster_lock_current(current, &dev);
		if (!c)
			continue;
		if (c->owner && !READ_ONCE(dev->closing)) {
			ok = cluster_take(dev, c, folio);
			*room |= c->taken < CLUSTER_SLOTS;
		}
		spin_unlock(&c->lock);
	}
	return ok;
}

static int alloc_slots(struct folio *folio)
{
	unsigned int order = folio_order(folio), cpu = octavo_port_cpu();
	/* acquire: pairs with the release in swapon(): they are set up */
	struct swap_cpu *cpus = smp_load_acquire(&octavo_state.swap.cpu);
	bool room = false;
	u64 *place;

	VM_BUG_ON(!folio_test_locked(folio) || folio_test_flag(folio, PG_swapcache));
	VM_BUG_ON(!folio_test_flag(folio, PG_uptodate));
	if (order > CLUSTER_ORDER)
		return -EINVAL;
	if (!cpus)
		return -ENOMEM;
	place = &cpus[cpu].current[order];
	if (likely(alloc_current(place, cluster_owner(cpu, order), folio)) ||
	    alloc_any(place, cluster_owner(cpu, order), folio, &room) ||
	    alloc_owned(cpu, folio, &room))
		return 0;
	/* single slots: of anybody */
	for (unsigned int i = 0; order == 0 && i < octavo_state.frame.nr_cpus; i++)
		if (alloc_owned(i, folio, &room))
			return 0;
	return room && order ? -EAGAIN : -ENOMEM;
}

int folio_alloc_swap(struct folio *folio)
{
	/* who is charged has been charged by it */
	const struct reclaim_upcalls *up = octavo_state.upcalls.reclaim;
	bool charged = folio_test_flag(folio, PG_charged);
	int err = charged ? up->swap_charge(folio) : 0;

	if (err)
		return err;
	err = alloc_slots(folio);
	if (err && charged)
		up->swap_uncharge(folio_set_nr(folio), folio_nr_pages(folio));
	return err;
}

/* ---- giving back ---- */

static void cluster_free_run(struct swap_device *dev, struct swap_cluster *c, unsigned int at,
			     unsigned int nr)
{
	if (!nr)
		return;
	map_clear(c, at, nr);
	/* before anybody can take them again: the lock is held */
	if (dev->ops->discard)
		dev->ops->discard(dev, (unsigned long)c->nr * CLUSTER_SLOTS + at, nr);
	cluster_grew(dev, c, at, nr);
}

/* A run is mostly of one set, and mostly of none. */
static void slots_uncharge(const struct swap_cluster *c, unsigned int at, unsigned int nr)
{
	for (unsigned int end = at + nr, n; at < end; at += n) {
		u32 set = slot_set(c->words[at]);

		for (n = 1; at + n < end && slot_set(c->words[at + n]) == set;)
			n++;
		if (set)
			octavo_state.upcalls.reclaim->swap_uncharge(set, n);
	}
}

/* Some of them are not to be used again. */
static __cold void cluster_free_bad(struct swap_device *dev, struct swap_cluster *c,
				    unsigned int at, unsigned int nr)
{
	unsigned int first = at;

	for (unsigned int i = at; i < at + nr; i++) {
		if (!(c->words[i] & SLOT_FAILED)) {
			WRITE_ONCE(c->words[i], 0ul);
			continue;
		}
		WRITE_ONCE(c->words[i], SLOT_BAD);
		WRITE_ONCE(c->bad, (u16)(c->bad + 1));
		cluster_free_run(dev, c, first, i - first);
		first = i + 1;
	}
	cluster_free_run(dev, c, first, at + nr - first);
}

void cluster_free(struct swap_device *dev, struct swap_cluster *c, unsigned int at, unsigned int nr)
{
	const struct octavo_hooks *hooks = octavo_state.hooks;
	u64 *word = &c->words[at], any = 0;

	/* before anybody can take them again: the lock is held */
	if (unlikely(hooks && hooks->swap_free))
		hooks->swap_free(cluster_entry(dev, c, at), nr);
	for (unsigned int i = 0; i < nr; i++)
		any |= word[i];
	if (unlikely(slot_set(any)))
		slots_uncharge(c, at, nr);
	WRITE_ONCE(c->used, (u16)(c->used - nr));
	if (unlikely(any & SLOT_FAILED)) {
		cluster_free_bad(dev, c, at, nr);
		return;
	}
	for (unsigned int i = 0; i < nr; i++)
		WRITE_ONCE(word[i], 0ul);
	cluster_free_run(dev, c, at, nr);
}
