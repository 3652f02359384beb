// SPDX-License-Identifier: MIT
/*
 * memremap.c - memory of devices comes into being and goes: pagemaps, their words, their live references.
 *
 * 1. Where words are. Memory with physical addresses has them in the memory map: sections that mm/frame marks present, in
 *    ZONE_DEVICE, without giving the allocator any. Private memory has an array. Its pages have an index of a space that all
 *    devices share, and a place is that with FOLIO_DEVICE_PRIVATE set; the index space is handed out in units
 *    of the largest folio, so that alignment of a page is alignment of its index. The array is aligned in the same way
 *    relative to the memory map, so that "the first page of this plain allocation" is the same arithmetic for both.
 *
 * 2. The table (struct device_state). A range is in it from before anybody can have a page of it until after nobody has,
 *    and then its entry, places and words are given to nobody else before a grace period is over: a reader that found
 *    the range may still look at all three.
 *
 * 3. Live references: one word, a count and DEAD. Taking some is a compare-and-swap that fails on DEAD and then has
 *    written nothing; memunmap_pages() sets DEAD by fetch_or. Whoever makes it DEAD with count 0 has completed it,
 *    and there is exactly one, because from there no operation changes the word. (With add-then-undo the count could
 *    reach 0 twice.) A page that is not idle has one.
 *
 *	 0 --tryget--> n --put--> 0 --kill--> DEAD|0: completed by kill
 *	               n --kill--> DEAD|n --put--> ... --put--> DEAD|0: completed by that put
 *
 * Invariants: device_validate(). What this file does not do: anything with a page that is not idle (zone_device.c).
 */
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/memremap.h>
#include <octavo/plain.h>
#include <octavo/rcu.h>

#include "../desc/device_place.h"
#include "device.h"

/* ---- live references ---- */

#define PGMAP_DEAD (1ull << 63)

bool pgmap_tryget(struct dev_pagemap *pgmap, unsigned long nr)
{
	u64 old = READ_ONCE(pgmap->ref);

	if (octavo_fault(OCTAVO_FAULT_TRYGET))
		return false;
	do {
		if (old & PGMAP_DEAD)
			return false;
		/* acquire: pairs with the release in pgmap_put(): whoever had it before is through with it */
	} while (!try_cmpxchg_acquire(&pgmap->ref, &old, old + nr));
	return true;
}

static void pgmap_complete(struct dev_pagemap *pgmap)
{
	/* release: pairs with the acquire in memunmap_pages(), which may free it from here on */
	smp_store_release(&pgmap->done, 1u);
	octavo_port_unpark(&pgmap->done, true);
}

void pgmap_put(struct dev_pagemap *pgmap, unsigned long nr)
{
	/*
	 * acq_rel: release pairs with the acquire of whoever completes it: our use of the memory is over; acquire, if
	 * that is us: all others' is.
	 */
	u64 old = fetch_sub_acq_rel(&pgmap->ref, nr);

	if (unlikely((old & ~PGMAP_DEAD) < nr))
		octavo_panic("pagemap %p: put of %lu of %lu live references", (void *)pgmap, nr,
			     (unsigned long)(old & ~PGMAP_DEAD));
	if (unlikely(old == (PGMAP_DEAD | nr)))
		pgmap_complete(pgmap);
}

static void pgmap_kill(struct dev_pagemap *pgmap)
{
	/* acquire: pairs with the release in pgmap_put(), if there is nobody left */
	u64 old = fetch_or_acquire(&pgmap->ref, PGMAP_DEAD);

	if (unlikely(old & PGMAP_DEAD))
		octavo_panic("memunmap_pages: pagemap %p is going already", (void *)pgmap);
	if (old == 0)
		pgmap_complete(pgmap);
}

/* ---- the table: under device.lock ---- */

static struct device_range *range_unused(void)
{
	struct device_state *st = &octavo_state.device;

	for (u32 i = 0; i < st->nr_ranges; i++)
		if (!st->range[i].nr)
			return &st->range[i];
	return st->nr_ranges < OCTAVO_NR_PAGEMAPS ? &st->range[st->nr_ranges] : NULL;
}

/* No reader looks at it: it was never used, or a grace period has passed since it was. */
static void range_publish(struct device_range *r, struct dev_pagemap *pgmap, unsigned long first)
{
	struct device_state *st = &octavo_state.device;

	r->first = first;
	r->words = pgmap->words;
	r->pgmap = pgmap;
	/* release: pairs with the acquire in device_range_find(): the other fields are seen */
	smp_store_release(&r->nr, pgmap->nr);
	if (r == &st->range[st->nr_ranges])
		/* release: as above */
		smp_store_release(&st->nr_ranges, st->nr_ranges + 1);
}

static void range_retire(const struct dev_pagemap *pgmap)
{
	struct device_state *st = &octavo_state.device;
	u32 i = 0;

	while (i < st->nr_ranges && !(st->range[i].nr && st->range[i].pgmap == pgmap))
		i++;
	BUG_ON(i == st->nr_ranges);
	/* relaxed: the grace period is what orders it against the next use */
	WRITE_ONCE(st->range[i].nr, 0ul);
	synchronize_rcu();
}

/* Index space is divided into units of the largest folio. */
#define UNIT (1ul << MAX_FOLIO_ORDER)

static bool index_taken(unsigned long base, unsigned long nr)
{
	const struct device_state *st = &octavo_state.device;

	for (u32 i = 0; i < st->nr_ranges; i++) {
		unsigned long first = st->range[i].first & ~FOLIO_DEVICE_PRIVATE;

		if (st->range[i].nr && (st->range[i].first & FOLIO_DEVICE_PRIVATE) &&
		    base < first + st->range[i].nr && first < base + nr)
			return true;
	}
	return false;
}

/* Right after one of the others, or at the start. -ENOMEM: the space is full. */
static int index_find(unsigned long nr, devidx_t *base)
{
	const struct device_state *st = &octavo_state.device;
	unsigned long at = 0;

	for (u32 i = 0; index_taken(at, nr) || at + nr > FOLIO_DEVICE_PRIVATE; i++) {
		if (i == st->nr_ranges)
			return -ENOMEM;
		at = ALIGN((st->range[i].first & ~FOLIO_DEVICE_PRIVATE) + st->range[i].nr, UNIT);
	}
	base->v = at;
	return 0;
}

/* ---- words ---- */

/* So that the largest folio of @nr pages at an aligned index has its words aligned as in the memory map. */
static unsigned long words_align(unsigned long nr)
{
	unsigned long bytes = sizeof(struct page) << min(ilog2(nr), MAX_FOLIO_ORDER);

	return max(bytes, (unsigned long)PAGE_SIZE);
}

static unsigned long words_size(unsigned long nr)
{
	return ALIGN(nr * sizeof(struct page), PAGE_SIZE);
}

/* Too much by the alignment less a page, and what is too much given back. */
static struct page *words_alloc(unsigned long nr)
{
	unsigned long align = words_align(nr), size = words_size(nr), slack = align - PAGE_SIZE;
	unsigned long phase = (unsigned long)octavo_state.frame.vmemmap & (align - 1), front;
	char *mem = alloc_pages_exact(size + slack, GFP_KERNEL);

	if (!mem)
		return NULL;
	front = (phase - (unsigned long)mem) & (align - 1);
	if (front)
		free_pages_exact(mem, front);
	if (slack - front)
		free_pages_exact(mem + front + size, slack - front);
	return (struct page *)(void *)(mem + front);
}

static void words_free(struct dev_pagemap *pgmap)
{
	free_pages_exact(pgmap->words, words_size(pgmap->nr));
}

static int private_add(struct dev_pagemap *pgmap, unsigned long *place)
{
	int err = index_find(pgmap->nr, &pgmap->base);

	if (err)
		return err;
	pgmap->words = words_alloc(pgmap->nr);
	if (!pgmap->words)
		return -ENOMEM;
	zone_device_reset(pgmap->words, pgmap->nr);
	*place = FOLIO_DEVICE_PRIVATE | pgmap->base.v;
	return 0;
}

static int physical_add(struct dev_pagemap *pgmap, unsigned long *place)
{
	int err = frame_add_device(pgmap->pfn, pgmap->nr, pgmap->nid);

	if (err)
		return err;
	pgmap->words = pfn_to_page(pgmap->pfn);
	*place = pgmap->pfn;
	return 0;
}

/* ---- pagemaps ---- */

static bool pgmap_ok(const struct dev_pagemap *pgmap)
{
	const struct dev_pagemap_ops *ops = pgmap->ops;

	if (!pgmap->nr || pgmap->nr > FOLIO_DEVICE_PRIVATE || pgmap->nid >= OCTAVO_NR_NODES)
		return false;
	switch (pgmap->type) {
	case MEMORY_DEVICE_PRIVATE:
		return ops && ops->folio_free && ops->migrate_to_ram;
	case MEMORY_DEVICE_COHERENT:
	case MEMORY_DEVICE_PCI_P2PDMA:
		return ops && ops->folio_free;
	case MEMORY_DEVICE_FS_DAX:
	case MEMORY_DEVICE_GENERIC:
		return true;
	}
	return false;
}

/* It is there already: what is the core's in it must not be touched. Context: device.lock. */
static bool pgmap_is_up(const struct dev_pagemap *pgmap)
{
	const struct device_state *st = &octavo_state.device;

	for (u32 i = 0; i < st->nr_ranges; i++)
		if (st->range[i].nr && st->range[i].pgmap == pgmap)
			return true;
	return false;
}

int memremap_pages(struct dev_pagemap *pgmap)
{
	struct device_state *st = &octavo_state.device;
	struct device_range *r;
	unsigned long place;
	int err;

	if (!octavo_state.up || !pgmap_ok(pgmap))
		return -EINVAL;
	down_write(&st->lock);
	if (pgmap_is_up(pgmap)) {
		up_write(&st->lock);
		return -EEXIST;
	}
	pgmap->base.v = 0;
	pgmap->words = NULL;
	WRITE_ONCE(pgmap->ref, 0ull);
	WRITE_ONCE(pgmap->done, 0u);
	WRITE_ONCE(pgmap->frees, 0u);
	device_up();
	r = range_unused();
	if (!r)
		err = -E2BIG;
	else if (pgmap->type == MEMORY_DEVICE_PRIVATE)
		err = private_add(pgmap, &place);
	else
		err = physical_add(pgmap, &place);
	if (!err)
		range_publish(r, pgmap, place);
	up_write(&st->lock);
	return err;
}

static void wait_for_last(struct dev_pagemap *pgmap)
{
	/* acquire: pairs with the release in pgmap_complete(): whatever anybody did with the memory is over */
	while (!smp_load_acquire(&pgmap->done))
		octavo_port_park(&pgmap->done, 0);
}

void memunmap_pages(struct dev_pagemap *pgmap)
{
	struct device_state *st = &octavo_state.device;

	if (unlikely(!pgmap->words))
		octavo_panic("memunmap_pages: pagemap %p never came up", (void *)pgmap);
	pgmap_kill(pgmap);
	wait_for_last(pgmap);
	zone_device_check_idle(pgmap->words, pgmap->nr);
	down_write(&st->lock);
	range_retire(pgmap);
	if (pgmap->type == MEMORY_DEVICE_PRIVATE)
		words_free(pgmap);
	else
		frame_remove_device(pgmap->pfn, pgmap->nr);
	up_write(&st->lock);
}

/* ---- looking up ---- */

struct dev_pagemap *place_pgmap(unsigned long place)
{
	const struct device_range *r;
	struct dev_pagemap *pgmap;

	rcu_read_lock();
	r = device_range_find(place);
	pgmap = r ? r->pgmap : NULL;
	rcu_read_unlock();
	return pgmap;
}

struct dev_pagemap *folio_pgmap(const struct folio *folio)
{
	return folio_is_zone_device(folio) ? place_pgmap(folio_place(folio)) : NULL;
}

struct page *device_private_page(devidx_t idx)
{
	return device_place_page(FOLIO_DEVICE_PRIVATE | idx.v);
}

devidx_t page_devidx(const struct dev_pagemap *pgmap, const struct page *page)
{
	unsigned long n = (unsigned long)(page - pgmap->words);

	if (unlikely(pgmap->type != MEMORY_DEVICE_PRIVATE || n >= pgmap->nr))
		octavo_panic("page_devidx: %p is no private page of pagemap %p", (const void *)page,
			     (const void *)pgmap);
	return (devidx_t){ pgmap->base.v + n };
}

devidx_t folio_devidx(const struct folio *folio)
{
	unsigned long place = folio_place(folio);

	if (unlikely(!(place & FOLIO_DEVICE_PRIVATE)))
		octavo_panic("folio_devidx: folio %p is not of private memory",
			     (const void *)folio);
	return (devidx_t){ place & ~FOLIO_DEVICE_PRIVATE };
}

bool folio_is_device_private(const struct folio *folio)
{
	return folio_place(folio) & FOLIO_DEVICE_PRIVATE;
}

bool folio_is_device_coherent(const struct folio *folio)
{
	const struct dev_pagemap *pgmap = folio_pgmap(folio);

	return pgmap && pgmap->type == MEMORY_DEVICE_COHERENT;
}
