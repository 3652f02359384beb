/* SPDX-License-Identifier: MIT */
/*
 * pool.c - areas whose addresses were flushed, kept by size for the next who wants so many.
 *
 * They keep their places in the tree and in the hash table: taking one is a list operation under a lock that the home's
 * CPUs alone take. What is used last is used first, while it is in a cache still.
 *
 * All pools of a home together have a bound. When it is reached and sizes are wanted that have none, room is made where
 * areas are that nobody needs: as many of each pool as were left in it at all times since the last such moment. They go one
 * by one, the longest unused first, each for one that is put. (What a magazine's working set is to J. Bonwick and
 * J. Adams, "Magazines and Vmem", 2001.)
 */
#include "kmap.h"

/* How many of a pool are looked at: not all are of the size, and where it is wanted. */
#define POOL_LOOK 4

/* Which pool areas of so many pages are in; KMAP_POOLS: none. */
static u32 pool_of(unsigned long pages)
{
	if (pages <= KMAP_POOL_EXACT)
		return (u32)pages;
	return min((u32)(KMAP_POOL_EXACT + 1 + ilog2(pages) - ilog2(KMAP_POOL_EXACT)), KMAP_POOLS);
}

void kmap_pools_init(struct kmap_home *home)
{
	for (u32 i = 0; i < KMAP_POOLS; i++)
		INIT_LIST_HEAD(&home->pool[i].areas);
	home->victim = KMAP_POOLS;
}

/* Context: home->lock. */
static void take_out(struct kmap_home *home, struct kmap_pool *pool, struct vm_struct *area)
{
	list_del_init(&area->list);
	home->nr_pool--;
	pool->nr--;
	pool->low = min(pool->low, pool->nr);
	pool->spare = min(pool->spare, pool->nr);
	WRITE_ONCE(area->state, (u32)VM_STATE_BUSY);
}

static bool suits(const struct vm_struct *area, const struct kmap_want *want)
{
	return area->size == want->size && !((area_start(area) - want->color) & (want->align - 1));
}

struct vm_struct *kmap_pool_take(struct kmap_home *home, const struct kmap_want *want)
{
	const u32 nr = pool_of(want->size >> PAGE_SHIFT);
	struct vm_struct *area, *taken = NULL;
	u32 look = POOL_LOOK;

	if (nr == KMAP_POOLS)
		return NULL;
	spin_lock(&home->lock);
	list_for_each_entry (area, &home->pool[nr].areas, list) {
		if (suits(area, want))
			taken = area;
		if (taken || !--look)
			break;
	}
	if (taken)
		take_out(home, &home->pool[nr], taken);
	else
		home->missed++;
	spin_unlock(&home->lock);
	return taken;
}

/* What nobody needed since the last time is to spare. Context: home->lock. */
static void find_spare(struct kmap_home *home)
{
	for (u32 i = 0; i < KMAP_POOLS; i++) {
		struct kmap_pool *pool = &home->pool[i];

		pool->spare = pool->low;
		pool->low = pool->nr;
	}
	home->missed = 0;
	home->victim = 0;
}

/* Context: home->lock. Return: one that is to go, NULL. */
static struct vm_struct *take_spare(struct kmap_home *home)
{
	struct vm_struct *area;

	if (home->victim == KMAP_POOLS && home->missed >= KMAP_POOL_MISSES)
		find_spare(home);
	while (home->victim < KMAP_POOLS && !home->pool[home->victim].spare)
		home->victim++;
	if (home->victim == KMAP_POOLS)
		return NULL;
	area = list_entry(home->pool[home->victim].areas.prev, struct vm_struct, list);
	take_out(home, &home->pool[home->victim], area);
	return area;
}

struct vm_struct *kmap_pool_put(struct kmap_home *home, struct vm_struct *area)
{
	const u32 nr = pool_of(area->size >> PAGE_SHIFT);
	struct kmap_pool *pool = &home->pool[nr];
	struct vm_struct *other = NULL;

	VM_BUG_ON(READ_ONCE(area->state) == VM_STATE_LIVE || area->runs.nr);
	if (nr == KMAP_POOLS)
		return area;
	if (home->nr_pool == KMAP_POOL_MAX) {
		other = take_spare(home);
		if (!other)
			return area;
	}
	WRITE_ONCE(area->state, (u32)VM_STATE_FREE);
	list_add(&area->list, &pool->areas);
	pool->nr++;
	home->nr_pool++;
	return other;
}

void kmap_pools_empty(struct kmap_home *home, struct list_head *all)
{
	spin_lock(&home->lock);
	for (u32 i = 0; i < KMAP_POOLS; i++) {
		struct vm_struct *area, *tmp;

		list_for_each_entry_safe (area, tmp, &home->pool[i].areas, list) {
			take_out(home, &home->pool[i], area);
			list_add(&area->list, all);
		}
	}
	spin_unlock(&home->lock);
}
