/* SPDX-License-Identifier: MIT */
/*
 * lazy.c - one flush for many areas.
 *
 * An area that ended has no entries any more, but CPUs may have translations of it. Its addresses, and the frames that
 * were vmalloc()ed for it, are used by nobody until a flush: that is what makes it legal to flush later. What
 * waits is bounded, in addresses and in frames. References to pages that are not the area's own (VM_MAP_PUT_PAGES) do
 * not wait: whoever counts them would wonder.
 *
 * Areas wait in their home, under its lock, and each home tells the common sums only now and then, so CPUs that end areas
 * write to nothing in common. A flush is for all homes. What it was for is freed by who flushed where that is his own
 * home's; another home's is left ready there, for its own CPUs, in whose caches the areas and frames are. Is it
 * still there at the next flush, that home is idle, and it is freed then.
 */
#include "kmap.h"

/* Areas that no translation is left of. Return: what they were. Context: no lock. */
static struct kmap_lazy release_areas(struct kmap *k, struct list_head *all)
{
	struct kmap_lazy gone = { 0 };
	struct vm_struct *area;

	list_for_each_entry (area, all, list) {
		gone.areas++;
		gone.pages += area->size >> PAGE_SHIFT;
		gone.frames += area->nr_pages;
		WRITE_ONCE(area->state, (u32)VM_STATE_BUSY);
	}
	if (!gone.areas)
		return gone;
	/* before their frames are freed, which takes long: nobody is to flush, or wait, for what waits no more */
	fetch_sub_relaxed(&k->lazy_sum.areas, gone.areas);
	fetch_sub_relaxed(&k->lazy_sum.pages, gone.pages);
	fetch_sub_relaxed(&k->lazy_sum.frames, gone.frames);
	list_for_each_entry (area, all, list)
		kmap_put_runs(&area->runs, area->flags);
	kmap_areas_free(k, all);
	return gone;
}

/* Has one of the sums come to so many times the bound? */
static bool lazy_over(const struct kmap_lazy *sum, const struct kmap_lazy *bound, u64 times)
{
	return sum->areas >= times * bound->areas || sum->pages >= times * bound->pages ||
	       sum->frames >= times * bound->frames;
}

/* What a home knows of and the sum does not, is in the sum, which is returned. Context: home->lock. */
static struct kmap_lazy tell(struct kmap *k, struct kmap_home *home)
{
	const struct kmap_lazy untold = home->untold;
	const struct kmap_lazy sum = {
		.areas = fetch_add_relaxed(&k->lazy_sum.areas, untold.areas) + untold.areas,
		.pages = fetch_add_relaxed(&k->lazy_sum.pages, untold.pages) + untold.pages,
		.frames = fetch_add_relaxed(&k->lazy_sum.frames, untold.frames) + untold.frames,
	};

	WRITE_ONCE(home->untold.areas, (u64)0);
	WRITE_ONCE(home->untold.pages, (u64)0);
	WRITE_ONCE(home->untold.frames, (u64)0);
	return sum;
}

/* What waits in a home: to be flushed for, and what was. */
static void collect(struct kmap *k, struct kmap_home *home, struct list_head *lazy,
		    struct list_head *ready, unsigned long *start, unsigned long *end)
{
	spin_lock(&home->lock);
	kmap_ram_dirty(home, start, end);
	*start = min(*start, home->lazy_start);
	*end = max(*end, home->lazy_end);
	home->lazy_start = ~0ul;
	home->lazy_end = 0;
	tell(k, home);
	list_splice_init(&home->lazy, lazy);
	list_splice_init(&home->ready, ready);
	spin_unlock(&home->lock);
}

/*
 * The flush. @ready: empty; then what is for the caller to free, without the lock. @all: nothing is left to the CPUs of other
 * homes. Context: purge_lock.
 */
static void purge(struct kmap *k, bool all, struct list_head *ready)
{
	const u32 mine = (u32)(kmap_this_home(k) - k->home);
	struct list_head lazy[KMAP_HOMES];
	unsigned long start = ~0ul, end = 0;

	for (u32 h = 0; h < k->nr_homes; h++) {
		INIT_LIST_HEAD(&lazy[h]);
		collect(k, &k->home[h], &lazy[h], ready, &start, &end);
	}
	if (start < end) {
		flush_tlb_range(NULL, start, end, PGTABLE_LEVEL_PTE);
		WRITE_ONCE(k->purges, k->purges + 1);
	}
	for (u32 h = 0; h < k->nr_homes; h++) {
		struct kmap_home *home = &k->home[h];

		if (all || h == mine) {
			list_splice_init(&lazy[h], ready);
		} else if (!list_empty(&lazy[h])) {
			spin_lock(&home->lock);
			list_splice_init(&lazy[h], &home->ready);
			spin_unlock(&home->lock);
		}
	}
}

void kmap_purge(struct kmap *k)
{
	struct list_head ready;

	INIT_LIST_HEAD(&ready);
	down_write(&k->purge_lock);
	purge(k, true, &ready);
	up_write(&k->purge_lock);
	release_areas(k, &ready);
}

/* Whoever purges already does it for us too, but for twice the bound we wait. @sum: of what waits. */
static void purge_if_due(struct kmap *k, const struct kmap_lazy *sum)
{
	struct list_head ready;

	if (!lazy_over(sum, &k->lazy_due, 1))
		return;
	if (lazy_over(sum, &k->lazy_due, 2))
		down_write(&k->purge_lock);
	else if (!down_write_trylock(&k->purge_lock))
		return;
	INIT_LIST_HEAD(&ready);
	purge(k, false, &ready);
	up_write(&k->purge_lock);
	release_areas(k, &ready);
}

static void retire_now(struct kmap *k, struct vm_struct *area, const struct kmap_sums *change)
{
	struct kmap_home *home = kmap_home_of(k, area);
	struct list_head one;

	spin_lock(&home->lock);
	kmap_sum(home, change);
	spin_unlock(&home->lock);
	flush_tlb_range(NULL, area_start(area), area_end(area), PGTABLE_LEVEL_PTE);
	kmap_put_runs(&area->runs, area->flags);
	INIT_LIST_HEAD(&one);
	list_add(&area->list, &one);
	kmap_areas_free(k, &one);
}

void kmap_area_retire(struct kmap *k, struct vm_struct *area, bool now,
		      const struct kmap_sums *change)
{
	struct kmap_home *home = kmap_home_of(k, area);
	struct kmap_lazy sum, gone;
	struct list_head ready;
	bool told;

	if (now) {
		retire_now(k, area, change);
		return;
	}
	INIT_LIST_HEAD(&ready);
	spin_lock(&home->lock);
	kmap_sum(home, change);
	WRITE_ONCE(area->state, (u32)VM_STATE_LAZY);
	list_add_tail(&area->list, &home->lazy);
	home->lazy_start = min(home->lazy_start, area_start(area));
	home->lazy_end = max(home->lazy_end, area_end(area));
	WRITE_ONCE(home->untold.areas, home->untold.areas + 1);
	WRITE_ONCE(home->untold.pages, home->untold.pages + (area->size >> PAGE_SHIFT));
	WRITE_ONCE(home->untold.frames, home->untold.frames + area->nr_pages);
	told = lazy_over(&home->untold, &k->lazy_tell, 1);
	if (told)
		sum = tell(k, home);
	list_splice_init(&home->ready, &ready);
	spin_unlock(&home->lock);
	gone = release_areas(k, &ready);
	if (!told)
		return;
	sum.areas -= gone.areas;
	sum.pages -= gone.pages;
	sum.frames -= gone.frames;
	purge_if_due(k, &sum);
}

void kmap_area_give_up(struct kmap *k, struct vm_struct *area, bool now)
{
	const struct kmap_sums none = { 0 };

	kmap_area_retire(k, area, now, &none);
}

struct kmap_lazy kmap_lazy_sum(struct kmap *k)
{
	struct kmap_lazy sum = { .areas = READ_ONCE(k->lazy_sum.areas),
				 .pages = READ_ONCE(k->lazy_sum.pages),
				 .frames = READ_ONCE(k->lazy_sum.frames) };

	for (u32 h = 0; h < k->nr_homes; h++) {
		const struct kmap_lazy *untold = &k->home[h].untold;

		sum.areas += READ_ONCE(untold->areas);
		sum.pages += READ_ONCE(untold->pages);
		sum.frames += READ_ONCE(untold->frames);
	}
	return sum;
}

void vm_unmap_aliases(void)
{
	struct kmap *k = kmap_if_up();

	if (!k)
		return;
	vmalloc_run_deferred();
	kmap_purge(k);
}
