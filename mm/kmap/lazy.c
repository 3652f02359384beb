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

/* Areas that no translation is left of. Context: no lock. */
static void release_areas(struct kmap *k, struct list_head *all)
{
	struct vm_struct *area, *tmp;
	u64 pages = 0, frames = 0;

	list_for_each_entry_safe (area, tmp, all, list) {
		pages += area->size >> PAGE_SHIFT;
		frames += area->nr_pages;
		list_del_init(&area->list);
		WRITE_ONCE(area->state, (u32)VM_STATE_BUSY);
		kmap_put_runs(&area->runs, area->flags);
		kmap_area_free(k, area);
	}
	if (!pages)
		return;
	fetch_sub_relaxed(&k->lazy_pages, pages);
	fetch_sub_relaxed(&k->lazy_frames, frames);
}

/* What a home knows of and the sums do not, is in the sums. Context: home->lock. */
static void tell(struct kmap *k, struct kmap_home *home)
{
	fetch_add_relaxed(&k->lazy_pages, home->lazy_pages);
	fetch_add_relaxed(&k->lazy_frames, home->lazy_frames);
	WRITE_ONCE(home->lazy_pages, (u64)0);
	WRITE_ONCE(home->lazy_frames, (u64)0);
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

/* Context: purge_lock. @all: nothing is left to the CPUs of other homes. */
static void purge(struct kmap *k, bool all)
{
	const u32 mine = (u32)(kmap_this_home(k) - k->home);
	struct list_head lazy[KMAP_HOMES], ready;
	unsigned long start = ~0ul, end = 0;

	INIT_LIST_HEAD(&ready);
	for (u32 h = 0; h < k->nr_homes; h++) {
		INIT_LIST_HEAD(&lazy[h]);
		collect(k, &k->home[h], &lazy[h], &ready, &start, &end);
	}
	if (start < end) {
		flush_tlb_range(NULL, start, end, PGTABLE_LEVEL_PTE);
		k->purges++;
	}
	for (u32 h = 0; h < k->nr_homes; h++) {
		struct kmap_home *home = &k->home[h];

		if (all || h == mine) {
			list_splice_init(&lazy[h], &ready);
		} else if (!list_empty(&lazy[h])) {
			spin_lock(&home->lock);
			list_splice_init(&lazy[h], &home->ready);
			spin_unlock(&home->lock);
		}
	}
	release_areas(k, &ready);
}

void kmap_purge(struct kmap *k)
{
	down_write(&k->purge_lock);
	purge(k, true);
	up_write(&k->purge_lock);
}

/* Whoever purges already does it for us too, but for twice the bound we wait. */
static void purge_if_due(struct kmap *k)
{
	const u64 max_pages = OCTAVO_VMALLOC_LAZY, max_frames = k->max_lazy_frames;
	const u64 pages = READ_ONCE(k->lazy_pages), frames = READ_ONCE(k->lazy_frames);

	if (pages <= max_pages - max_pages / 8 && frames <= max_frames - max_frames / 8)
		return;
	if (pages > 2 * max_pages || frames > 2 * max_frames)
		down_write(&k->purge_lock);
	else if (!down_write_trylock(&k->purge_lock))
		return;
	purge(k, false);
	up_write(&k->purge_lock);
}

void kmap_area_retire(struct kmap *k, struct vm_struct *area, bool now)
{
	struct kmap_home *home = kmap_home_of(k, area);
	struct list_head ready;
	bool told;

	if (now) {
		flush_tlb_range(NULL, area->node.start, area->node.end, PGTABLE_LEVEL_PTE);
		kmap_put_runs(&area->runs, area->flags);
		kmap_area_free(k, area);
		return;
	}
	INIT_LIST_HEAD(&ready);
	spin_lock(&home->lock);
	WRITE_ONCE(area->state, (u32)VM_STATE_LAZY);
	list_add_tail(&area->list, &home->lazy);
	home->lazy_start = min(home->lazy_start, area->node.start);
	home->lazy_end = max(home->lazy_end, area->node.end);
	WRITE_ONCE(home->lazy_pages, home->lazy_pages + (area->size >> PAGE_SHIFT));
	WRITE_ONCE(home->lazy_frames, home->lazy_frames + area->nr_pages);
	told = home->lazy_pages >= k->tell_pages || home->lazy_frames >= k->tell_frames;
	if (told)
		tell(k, home);
	list_splice_init(&home->ready, &ready);
	spin_unlock(&home->lock);
	release_areas(k, &ready);
	if (told)
		purge_if_due(k);
}

u64 kmap_lazy_pages(struct kmap *k)
{
	u64 sum = READ_ONCE(k->lazy_pages);

	for (u32 h = 0; h < k->nr_homes; h++)
		sum += READ_ONCE(k->home[h].lazy_pages);
	return sum;
}

u64 kmap_lazy_frames(struct kmap *k)
{
	u64 sum = READ_ONCE(k->lazy_frames);

	for (u32 h = 0; h < k->nr_homes; h++)
		sum += READ_ONCE(k->home[h].lazy_frames);
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
