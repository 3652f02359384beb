// SPDX-License-Identifier: MIT
/*
 * zone_device.c - pages of device memory: idle, in a folio, plain; and back.
 *
 *	        zone_device_folio_init()                        zone_device_page_init()
 *	folio <--------------------------- DEVICE (idle) ---------------------------> plain, subtype Device
 *	  |          last folio_put()         ^   ^              last put_page()           |
 *	  +-----------------------------------+   +----------------------------------------+
 *
 * 1. Nobody remembers anything of memory that is idle: its words say DEVICE, and that is all there is. So a range can be
 *    used again at any order, and there is no old head, count, lock or mapping to be scrubbed off: what such things are
 *    in is the descriptor, which goes with the folio, and the words, which one routine resets (zone_device_reset()).
 *
 * 2. Reuse at once. A driver may make a new folio of the range from inside ops->folio_free(), or on another CPU as soon as
 *    it was called. So words say DEVICE before the call, and after it nothing is done to them. The descriptor is the
 *    core's, not the driver's: the call may look at it (order, place, private), and it is freed after the call. The pagemap
 *    is looked up before, and kept by the folio's live references, dropped last of all.
 *
 * 3. Stale walkers. A word may be read at any time, the folio that it names tried, and the word read again
 *    (docs/memdesc.md "Look-ups"). That is all as for other folios: descriptor, fields, words, count; count, words, descriptor.
 *
 * 4. Poisoned frames: the set says so, words do not; a range with one cannot be had.
 *
 * What this file does not do: mappings and migration.
 */
#include <octavo/errno.h>
#include <octavo/hwpoison.h>
#include <octavo/plain.h>

#include "../desc/folio_desc.h"
#include "device.h"

/* ---- words ---- */

void zone_device_reset(struct page *first, unsigned long nr)
{
	words_fill_release(&first->memdesc.v, MEMDESC_DEVICE, nr);
}

void zone_device_check_idle(const struct page *first, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		/* acquire: pairs with the release in zone_device_reset(): its last user is through with it */
		memdesc_t md = page_memdesc(first + i);

		if (unlikely(md.v != MEMDESC_DEVICE))
			octavo_panic(
				"device memory: the word of place 0x%lx is 0x%lx, %s, not idle",
				device_page_place(first + i), md.v,
				memdesc_type_name(memdesc_type(md)));
	}
}

/* ---- making ---- */

static bool has_poison(unsigned long place, unsigned long nr)
{
	return !(place & FOLIO_DEVICE_PRIVATE) && pfn_poisoned_in(place, nr) != ~0ul;
}

/*
 * Live references and a range that is really idle: what both kinds begin with. Return: 0, -EINVAL, -ENODEV,
 * -EHWPOISON; then nothing is held.
 */
static int range_begin(struct page *page, struct dev_pagemap *pgmap, unsigned int order,
		       unsigned long *place)
{
	unsigned long nr, at;

	if (order > MAX_FOLIO_ORDER)
		return -EINVAL;
	nr = 1ul << order;
	if (!pgmap_tryget(pgmap, nr))
		return -ENODEV;
	at = (unsigned long)(page - pgmap->words);
	*place = pgmap->type == MEMORY_DEVICE_PRIVATE ? (FOLIO_DEVICE_PRIVATE | pgmap->base.v) + at
						      : pgmap->pfn + at;
	if (unlikely(at >= pgmap->nr || nr > pgmap->nr - at || !IS_ALIGNED(*place, nr)))
		octavo_panic("device memory: 0x%lx pages at 0x%lx are no range of pagemap %p", nr,
			     at, (void *)pgmap);
	zone_device_check_idle(page, nr);
	if (has_poison(*place, nr)) {
		pgmap_put(pgmap, nr);
		return -EHWPOISON;
	}
	return 0;
}

/*
 * The words do not say DEVICE any more, and nobody can get a reference yet. Return: false if a page went bad meanwhile: then
 * the range is idle again.
 */
static bool range_still_good(struct page *page, struct dev_pagemap *pgmap, unsigned int order,
			     unsigned long place)
{
	/*
	 * Pairs with smp_mb_heavy() in memory_failure(): it sees these words, and acts on what they are, or we see
	 * that the frame is in the set.
	 */
	smp_mb_light();
	if (likely(!has_poison(place, 1ul << order)))
		return true;
	zone_device_reset(page, 1ul << order);
	return false;
}

static enum memdesc_type folio_type(const struct dev_pagemap *pgmap)
{
	return pgmap->type == MEMORY_DEVICE_PRIVATE || pgmap->type == MEMORY_DEVICE_COHERENT
		       ? MEMDESC_ANON
		       : MEMDESC_FILE;
}

struct folio *zone_device_folio_init(struct page *page, struct dev_pagemap *pgmap,
				     unsigned int order, int *err)
{
	unsigned long place = 0;
	struct folio *folio;

	*err = range_begin(page, pgmap, order, &place);
	if (*err)
		return NULL;
	folio = folio_desc_alloc(GFP_KERNEL, order);
	if (!folio) {
		pgmap_put(pgmap, 1ul << order);
		*err = -ENOMEM;
		return NULL;
	}
	folio_desc_init(folio, place, order);
	/* Relaxed: published by the count. */
	WRITE_ONCE(folio->flags, READ_ONCE(folio->flags) | 1u << PG_locked | 1u << PG_zone_device);
	words_fill_release(&page->memdesc.v, memdesc_pointer(folio_type(pgmap), folio).v,
			   1ul << order);
	if (!range_still_good(page, pgmap, order, place)) {
		folio_desc_free(folio);
		pgmap_put(pgmap, 1ul << order);
		*err = -EHWPOISON;
		return NULL;
	}
	/* release: pairs with the acquire in folio_try_get(): fields and words are seen */
	smp_store_release(&folio->refcount, 1u);
	return folio;
}

int zone_device_page_init(struct page *page, struct dev_pagemap *pgmap, unsigned int order)
{
	memdesc_t md = memdesc_misc(MISC_DEVICE, order, 0);
	unsigned long place;
	int err = range_begin(page, pgmap, order, &place);

	if (err)
		return err;
	/* with count 0 nobody gets in; the head last, as for every plain allocation */
	words_fill_release(&page->memdesc.v, md.v, 1ul << order);
	if (!range_still_good(page, pgmap, order, place)) {
		pgmap_put(pgmap, 1ul << order);
		return -EHWPOISON;
	}
	/* release: pairs with the acquire of a get through the head: the tails are seen */
	smp_store_release(&page->memdesc.v, memdesc_misc(MISC_DEVICE, order, 1).v);
	return 0;
}

/* ---- giving back ---- */

static struct dev_pagemap *pgmap_of(unsigned long place)
{
	struct dev_pagemap *pgmap = place_pgmap(place);

	if (unlikely(!pgmap))
		octavo_panic("device memory: place 0x%lx is freed and no pagemap has it", place);
	return pgmap;
}

/* Count 0; see 2. above. */
void zone_device_folio_free(struct folio *folio)
{
	const struct octavo_hooks *hooks = octavo_state.hooks;
	unsigned long nr = folio_nr_pages(folio);
	struct dev_pagemap *pgmap = pgmap_of(folio_place(folio));

	if (hooks && hooks->folio_release)
		hooks->folio_release(folio);
	folio_clear_anon_exclusive(folio_subrange(folio, 0, nr));
	folio->mapping = NULL;
	zone_device_reset(folio_page(folio, 0), nr);
	if (pgmap->ops && pgmap->ops->folio_free)
		pgmap->ops->folio_free(folio);
	if (pgmap->type == MEMORY_DEVICE_FS_DAX)
		fsdax_freed(pgmap);
	folio_desc_free(folio);
	pgmap_put(pgmap, nr);
}

/* The words say DEVICE already. */
void zone_device_page_free(struct page *page, unsigned int order)
{
	struct dev_pagemap *pgmap = pgmap_of(page_place(page));

	if (pgmap->ops && pgmap->ops->page_free)
		pgmap->ops->page_free(page, order);
	pgmap_put(pgmap, 1ul << order);
}

/* ---- splitting: all frozen ---- */

/* Pagemap and mapping are by place and copied; what else a piece needs is the driver's to say. */
void zone_device_folio_split(struct folio *original, struct folio *new)
{
	const struct dev_pagemap *pgmap = pgmap_of(folio_place(original));

	if (pgmap->ops && pgmap->ops->folio_split)
		pgmap->ops->folio_split(original, new);
}

/* ---- bad frames ---- */

/* The pagemap is kept from going while its driver is asked; one that is going has nobody to ask. */
bool device_memory_failure(unsigned long pfn)
{
	struct dev_pagemap *pgmap;
	bool dealt_with = false;

	rcu_read_lock();
	pgmap = place_pgmap(pfn);
	if (pgmap && !pgmap_tryget(pgmap, 1))
		pgmap = NULL;
	rcu_read_unlock();
	if (!pgmap)
		return false;
	if (pgmap->ops && pgmap->ops->memory_failure)
		dealt_with = !pgmap->ops->memory_failure(pgmap, pfn, 1);
	pgmap_put(pgmap, 1);
	return dealt_with;
}
