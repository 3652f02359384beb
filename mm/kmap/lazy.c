/* SPDX-License-Identifier: MIT */
/*
 * lazy.c - one flush for many areas.
 *
 * An area that ended has no entries any more, but CPUs may have translations of it. Its addresses, and the frames that
 * were vmalloc()ed for it, are used by nobody until a flush: that is what makes it legal to flush later. What
 * waits is bounded, in addresses and in frames. References to pages that are not the area's own (VM_MAP_PUT_PAGES) do
 * not wait: whoever counts them would wonder.
 */
#include "kmap.h"

static void release_area(struct kmap *k, struct vm_struct *area)
{
	kmap_put_runs(&area->runs, area->flags);
	kmap_area_free(k, area);
}

/* Context: purge_lock. */
static void purge(struct kmap *k)
{
	unsigned long start = ~0ul, end = 0;
	struct vm_struct *area, *tmp;
	struct list_head all;

	INIT_LIST_HEAD(&all);
	for (u32 h = 0; h < k->nr_homes; h++) {
		struct kmap_home *home = &k->home[h];

		spin_lock(&home->lock);
		list_for_each_entry_safe (area, tmp, &home->lazy, list) {
			start = min(start, area->node.start);
			end = max(end, area->node.end);
			list_move(&area->list, &all);
		}
		spin_unlock(&home->lock);
	}
	kmap_ram_dirty(k, &start, &end);
	if (start >= end)
		return;
	flush_tlb_range(NULL, start, end, PGTABLE_LEVEL_PTE);
	k->purges++;
	list_for_each_entry_safe (area, tmp, &all, list) {
		list_del_init(&area->list);
		fetch_sub_relaxed(&k->lazy_pages, (u64)(area->size >> PAGE_SHIFT));
		fetch_sub_relaxed(&k->lazy_frames, (u64)area->nr_pages);
		WRITE_ONCE(area->state, (u32)VM_STATE_BUSY);
		release_area(k, area);
	}
}

void kmap_purge(struct kmap *k)
{
	down_write(&k->purge_lock);
	purge(k);
	up_write(&k->purge_lock);
}

/* Whoever purges already does it for us too, but for twice the bound we wait. */
static void purge_if_due(struct kmap *k)
{
	const u64 pages = READ_ONCE(k->lazy_pages), frames = READ_ONCE(k->lazy_frames);

	if (pages <= OCTAVO_VMALLOC_LAZY && frames <= k->max_lazy_frames)
		return;
	if (pages > 2 * OCTAVO_VMALLOC_LAZY || frames > 2 * k->max_lazy_frames) {
		kmap_purge(k);
	} else if (down_write_trylock(&k->purge_lock)) {
		purge(k);
		up_write(&k->purge_lock);
	}
}

void kmap_area_retire(struct kmap *k, struct vm_struct *area, bool now)
{
	struct kmap_home *home = kmap_home_of(k, area);

	if (now) {
		flush_tlb_range(NULL, area->node.start, area->node.end, PGTABLE_LEVEL_PTE);
		release_area(k, area);
		return;
	}
	fetch_add_relaxed(&k->lazy_pages, (u64)(area->size >> PAGE_SHIFT));
	fetch_add_relaxed(&k->lazy_frames, (u64)area->nr_pages);
	spin_lock(&home->lock);
	WRITE_ONCE(area->state, (u32)VM_STATE_LAZY);
	list_add_tail(&area->list, &home->lazy);
	spin_unlock(&home->lock);
	purge_if_due(k);
}

void vm_unmap_aliases(void)
{
	struct kmap *k = kmap_if_up();

	if (!k)
		return;
	vmalloc_run_deferred();
	kmap_purge(k);
}
