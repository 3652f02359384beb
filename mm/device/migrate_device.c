// SPDX-License-Identifier: MIT
/*
 * migrate_device.c - a device takes folios of its memory from whoever maps them, by index or frame.
 *
 * The memory may be idle, or a folio's last reference may just be going: the folio is got as PFN walkers do, by the word, the
 * count, and the word again. Then it goes on as with an area; only that there is none, so nothing is inserted. A folio
 * for which the driver has smaller ones only is split: that needs no area here, and a device that is full cannot wait
 * until the system has memory in one piece.
 *
 * What it does not do: choose.
 */
#include <octavo/errno.h>
#include <octavo/string.h>

#include "device_migrate.h"

/* The folio whose first page it is, locked and with a reference. NULL: none, or somebody has it locked. */
static struct folio *device_folio(struct page *page)
{
	struct folio *folio = folio_get_nontail_page(page);

	if (!folio)
		return NULL;
	if (folio_trylock(folio))
		return folio;
	folio_put(folio);
	return NULL;
}

static struct page *pagemap_page(struct dev_pagemap *pgmap, unsigned long at)
{
	return pgmap->type == MEMORY_DEVICE_PRIVATE ? pgmap->words + at
						    : pfn_to_page(pgmap->pfn + at);
}

/* @src: numbers of pages, which become elements. */
static void collect_device(struct dev_pagemap *pgmap, unsigned long *src, unsigned long nr)
{
	unsigned long pages;

	for (unsigned long i = 0; i < nr; i += pages) {
		struct folio *folio = device_folio(pagemap_page(pgmap, src[i]));

		pages = 1;
		if (folio && folio_test_anon(folio) &&
		    folio_nr_pages(folio) <=
			    words_ramp_run(src + i, src[i], 1, ~0ul, nr - i, NULL)) {
			pages = folio_nr_pages(folio);
			memset(src + i, 0, pages * sizeof(*src));
			src[i] = mpfn_of_folio(folio, MIGRATE_PFN_MIGRATE);
			continue;
		}
		src[i] = 0;
		if (folio) {
			folio_unlock(folio);
			folio_put(folio);
		}
	}
}

static bool may_evict(const struct dev_pagemap *pgmap)
{
	return pgmap->type == MEMORY_DEVICE_PRIVATE || pgmap->type == MEMORY_DEVICE_COHERENT;
}

int migrate_device_pfns(struct dev_pagemap *pgmap, unsigned long *src, unsigned long nr)
{
	struct migration m = { .src = src, .nr = nr, .owner = pgmap->owner };

	if (!may_evict(pgmap) || !nr)
		return -EINVAL;
	for (unsigned long i = 0; i < nr; i++)
		if (src[i] >= pgmap->nr)
			return -EINVAL;
	collect_device(pgmap, src, nr);
	migrate_unmap(&m);
	return 0;
}

int migrate_device_range(struct dev_pagemap *pgmap, unsigned long first, unsigned long *src,
			 unsigned long nr)
{
	if (!may_evict(pgmap) || first >= pgmap->nr || nr > pgmap->nr - first)
		return -EINVAL;
	for (unsigned long i = 0; i < nr; i++)
		src[i] = first + i;
	return migrate_device_pfns(pgmap, src, nr);
}

void migrate_device_pages(unsigned long *src, unsigned long *dst, unsigned long nr)
{
	struct migration m = { .src = src, .dst = dst, .nr = nr };

	migrate_exchange(&m);
}

void migrate_device_finalize(unsigned long *src, unsigned long *dst, unsigned long nr)
{
	struct migration m = { .src = src, .dst = dst, .nr = nr };

	migrate_finish(&m);
}
