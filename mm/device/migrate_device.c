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

static void collect_device(struct dev_pagemap *pgmap, unsigned long first, unsigned long *src,
			   unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		struct folio *folio = device_folio(pagemap_page(pgmap, first + i));

		if (!folio)
			continue;
		if (!folio_test_anon(folio) || folio_nr_pages(folio) > nr - i) {
			folio_unlock(folio);
			folio_put(folio);
			continue;
		}
		src[i] = mpfn_of_folio(folio, MIGRATE_PFN_MIGRATE);
		i += folio_nr_pages(folio) - 1;
	}
}

int migrate_device_range(struct dev_pagemap *pgmap, unsigned long first, unsigned long *src,
			 unsigned long nr)
{
	struct migration m = { .src = src, .nr = nr, .owner = pgmap->owner };

	if ((pgmap->type != MEMORY_DEVICE_PRIVATE && pgmap->type != MEMORY_DEVICE_COHERENT) ||
	    !nr || first >= pgmap->nr || nr > pgmap->nr - first)
		return -EINVAL;
	memset(src, 0, nr * sizeof(*src));
	collect_device(pgmap, first, src, nr);
	migrate_unmap(&m);
	return 0;
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
