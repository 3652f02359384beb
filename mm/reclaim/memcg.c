// SPDX-License-Identifier: MIT
/*
 * memcg.c - groups: the tree, its walks, their ends.
 *
 * All groups are in one list, parents before their children, so that a walk of a subtree is one of the list that asks each who
 * is above it. A walk has a reference of where it is; the list changes under a lock meanwhile.
 *
 * A group has caches of its own for the descriptors of its folios, and a clock of its own (docs/reclaim.md). It can be ended while it has
 * folios: they keep it, and what is left of it is looked for when groups are made and ended, because their caches cannot be
 * destroyed from where the last folio is freed.
 */
#include <octavo/errno.h>
#include <octavo/mm.h>
#include <octavo/pfnwalk.h>
#include <octavo/slab.h>

#include "memcg.h"

#define RS (&octavo_state.reclaim)

bool memcg_below(const struct mem_cgroup *memcg, const struct mem_cgroup *top)
{
	while (memcg && memcg != top)
		memcg = memcg->parent;
	return memcg == top;
}

bool memcg_any(void)
{
	bool any;

	spin_lock(&RS->groups_lock);
	any = RS->groups.next;
	spin_unlock(&RS->groups_lock);
	return any;
}

/* ---- references and walks ---- */

void memcg_put(struct mem_cgroup *memcg)
{
	spin_lock(&RS->groups_lock);
	VM_BUG_ON(!memcg->refs);
	memcg->refs--;
	spin_unlock(&RS->groups_lock);
}

struct mem_cgroup *memcg_get_set(u32 nr)
{
	struct folio_set *set;

	spin_lock(&RS->groups_lock);
	set = folio_set_find(nr);
	if (set)
		memcg_of_set(set)->refs++;
	spin_unlock(&RS->groups_lock);
	return set ? memcg_of_set(set) : NULL;
}

struct mem_cgroup *memcg_next(struct mem_cgroup *top, struct mem_cgroup *last)
{
	struct mem_cgroup *next = NULL;
	struct list_head *at;

	spin_lock(&RS->groups_lock);
	for (at = last ? last->all.next : RS->groups.next; at != &RS->groups && !next;
	     at = at->next) {
		struct mem_cgroup *memcg = list_entry(at, struct mem_cgroup, all);

		if (memcg_below(memcg, top))
			next = memcg;
	}
	if (next)
		next->refs++;
	if (last)
		last->refs--;
	spin_unlock(&RS->groups_lock);
	return next;
}

/* ---- the end ---- */

/* Nobody has it, and nothing is charged to it: nobody can come to it any more. Context: groups_lock. */
static bool memcg_is_gone(const struct mem_cgroup *memcg)
{
	/* acquire: pair with the releases of uncharges: the descriptors are in their caches */
	return !memcg->refs && !smp_load_acquire(&memcg->memory.usage) &&
	       !smp_load_acquire(&memcg->swap.usage);
}

static struct mem_cgroup *memcg_take_gone(void)
{
	struct mem_cgroup *memcg;

	spin_lock(&RS->groups_lock);
	list_for_each_entry (memcg, &RS->groups, all) {
		/* nobody has it, so nobody fills a stock of it; and one above it is there as long as it is */
		if (!memcg->refs)
			memcg_drain(memcg, true);
		if (!memcg_is_gone(memcg))
			continue;
		list_del_init(&memcg->all);
		folio_set_remove(&memcg->set);
		if (memcg->parent) {
			memcg->parent->refs--;
			memcg->parent->nr_children--;
		}
		spin_unlock(&RS->groups_lock);
		return memcg;
	}
	spin_unlock(&RS->groups_lock);
	return NULL;
}

static void memcg_free(struct mem_cgroup *memcg)
{
	kfree(memcg->stock);
	kfree(memcg);
}

void memcg_reap(void)
{
	struct mem_cgroup *memcg;

	while (memcg_any() && (memcg = memcg_take_gone())) {
		folio_set_destroy(&memcg->set);
		memcg_free(memcg);
	}
}

static struct mem_cgroup *memcg_alloc(void)
{
	struct mem_cgroup *memcg = kzalloc(sizeof(*memcg), GFP_KERNEL);

	if (!memcg)
		return NULL;
	memcg->stock = kzalloc(octavo_state.frame.nr_cpus * sizeof(*memcg->stock), GFP_KERNEL);
	if (memcg->stock)
		return memcg;
	kfree(memcg);
	return NULL;
}

struct mem_cgroup *mem_cgroup_create(struct mem_cgroup *parent, int *err)
{
	struct mem_cgroup *memcg;

	/* acquire: pairs with the release of reclaim_init(), without which nobody would charge */
	if (!smp_load_acquire(&octavo_state.upcalls.reclaim)) {
		*err = -EINVAL;
		return NULL;
	}
	memcg = memcg_alloc();
	memcg_reap();
	*err = memcg ? folio_set_init(&memcg->set) : -ENOMEM;
	if (*err) {
		if (memcg)
			memcg_free(memcg);
		return NULL;
	}
	memcg->lruvec.gen = GEN_COLD + 1;
	memcg->lruvec.set = &memcg->set;
	memcg->limit[MEMCG_MAX] = memcg->limit[MEMCG_HIGH] = MEMCG_NONE;
	memcg->limit[MEMCG_SWAP_MAX] = MEMCG_NONE;
	memcg->parent = parent;
	memcg->refs = 1;
	spin_lock(&RS->groups_lock);
	if (!RS->groups.next)
		INIT_LIST_HEAD(&RS->groups);
	if (parent && parent->ended) {
		*err = -EINVAL;
	} else {
		list_add_tail(&memcg->all, &RS->groups);
		if (parent) {
			parent->refs++;
			parent->nr_children++;
		}
	}
	spin_unlock(&RS->groups_lock);
	if (!*err)
		return memcg;
	folio_set_remove(&memcg->set);
	folio_set_destroy(&memcg->set);
	memcg_free(memcg);
	return NULL;
}

int mem_cgroup_end(struct mem_cgroup *memcg)
{
	bool busy;

	memcg_reap();
	spin_lock(&RS->groups_lock);
	busy = memcg->nr_children || memcg->nr_mms;
	if (!busy && memcg->ended)
		octavo_panic("mem_cgroup_end: group %u has ended already", memcg->set.nr);
	memcg->ended |= !busy;
	spin_unlock(&RS->groups_lock);
	if (busy)
		return -EBUSY;
	mem_cgroup_reclaim(memcg, READ_ONCE(memcg->memory.usage));
	memcg_put(memcg);
	memcg_reap();
	return 0;
}

/* ---- address spaces ---- */

int mm_join_memcg(struct mm_struct *mm, struct mem_cgroup *memcg)
{
	int err = 0;

	mmap_write_lock(mm);
	if (mm->map_count || mm->memcg)
		err = -EBUSY;
	spin_lock(&RS->groups_lock);
	if (!err && memcg->ended)
		err = -EINVAL;
	if (!err) {
		memcg->refs++;
		memcg->nr_mms++;
	}
	spin_unlock(&RS->groups_lock);
	if (!err)
		WRITE_ONCE(mm->memcg, memcg);
	mmap_write_unlock(mm);
	return err;
}

void memcg_mm_fork(struct mm_struct *child, const struct mm_struct *parent)
{
	struct mem_cgroup *memcg = READ_ONCE(parent->memcg);

	spin_lock(&RS->groups_lock);
	memcg->refs++;
	memcg->nr_mms++;
	spin_unlock(&RS->groups_lock);
	WRITE_ONCE(child->memcg, memcg);
}

void memcg_mm_free(struct mm_struct *mm)
{
	struct mem_cgroup *memcg = READ_ONCE(mm->memcg);

	WRITE_ONCE(mm->memcg, NULL);
	spin_lock(&RS->groups_lock);
	memcg->refs--;
	memcg->nr_mms--;
	spin_unlock(&RS->groups_lock);
}

/* ---- limits ---- */

int mem_cgroup_set(struct mem_cgroup *memcg, enum memcg_limit which, u64 pages)
{
	if ((unsigned int)which >= NR_MEMCG_LIMITS)
		return -EINVAL;
	WRITE_ONCE(memcg->limit[which], pages);
	if (which != MEMCG_MAX)
		return 0;
	/* from here on everybody who charges goes by the new limit */
	memcg_press(memcg);
	for (unsigned int i = 0; i < 16; i++) {
		u64 usage = READ_ONCE(memcg->memory.usage);

		if (usage <= pages || !mem_cgroup_reclaim(memcg, usage - pages))
			break;
	}
	memcg_press_end(memcg);
	return READ_ONCE(memcg->memory.usage) <= pages ? 0 : -EBUSY;
}

u64 mem_cgroup_reclaim(struct mem_cgroup *memcg, u64 pages)
{
	return shrink_groups(memcg, NUMA_NO_NODE, pages);
}

/* ---- inspection ---- */

/* What is in stocks of a group, and below. */
static u64 stocked_below(struct mem_cgroup *top)
{
	struct mem_cgroup *memcg;
	u64 pages = 0;

	spin_lock(&RS->groups_lock);
	list_for_each_entry (memcg, &RS->groups, all)
		if (memcg_below(memcg, top))
			pages += memcg_stocked(memcg);
	spin_unlock(&RS->groups_lock);
	return pages;
}

void mem_cgroup_stat(struct mem_cgroup *memcg, struct mem_cgroup_stat *st)
{
	/* of two numbers that change meanwhile the larger may be read too late */
	u64 usage = READ_ONCE(memcg->memory.usage), stocked = stocked_below(memcg);

	*st = (struct mem_cgroup_stat){
		.usage = usage - min(usage, stocked),
		.swap = READ_ONCE(memcg->swap.usage),
		.highest = READ_ONCE(memcg->memory.highest),
		.failed = READ_ONCE(memcg->failed),
		.over_high = READ_ONCE(memcg->over_high),
	};
	for (unsigned int i = 0; i < NR_MEMCG_LIMITS; i++)
		st->limit[i] = READ_ONCE(memcg->limit[i]);
	for (unsigned int class = 0; class < NR_FOLIO_CLASSES; class ++) {
		struct kmem_cache_stat cs;

		kmem_cache_stat(memcg->set.cache[class], &cs);
		st->folios += cs.active;
	}
}

struct sums {
	struct mem_cgroup *memcg;
	u64 pages;
};

static unsigned long add_pages(unsigned long pfn, memdesc_t md, void *arg)
{
	struct sums *s = arg;

	if (memdesc_is_folio(md) && folio_set_of(memdesc_ptr(md)) &&
	    memcg_below(memcg_of_set(folio_set_of(memdesc_ptr(md))), s->memcg))
		s->pages++;
	return 1;
}

/* Of devices, whose words are not in the memory map. */
static void add_private_pages(struct sums *s)
{
	const struct device_state *device = &octavo_state.device;

	for (u32 i = 0; i < device->nr_ranges; i++) {
		const struct device_range *r = &device->range[i];

		for (unsigned long n = 0; r->first & FOLIO_DEVICE_PRIVATE && n < r->nr; n++)
			add_pages(r->first + n, page_memdesc(r->words + n), s);
	}
}

/* What is charged against the words, and stocks. */
bool memcg_validate(void)
{
	struct mem_cgroup *memcg;
	bool ok = true;

	if (!RS->groups.next)
		return true;
	list_for_each_entry (memcg, &RS->groups, all) {
		struct sums s = { .memcg = memcg };
		u64 stocked;

		pfn_walk(0, octavo_state.frame.max_pfn, add_pages, &s);
		add_private_pages(&s);
		stocked = stocked_below(memcg);
		if (s.pages + stocked == memcg->memory.usage && !memcg->pressed)
			continue;
		pr_err("group %u: %lu pages charged, %lu are there, %lu in stocks%s", memcg->set.nr,
		       (unsigned long)memcg->memory.usage, (unsigned long)s.pages,
		       (unsigned long)stocked, memcg->pressed ? ", pressed" : "");
		ok = false;
	}
	return ok;
}
