/* SPDX-License-Identifier: MIT */
/*
 * user.c - one of two users of Octavo in one program: compiled twice, against two builds of the core with
 * different prefixes.
 */
#include <octavo/octavo.h>

#include "user.h"

#ifndef OCTAVO_SYMBOL_PREFIX
#error "not a prefixed build"
#endif

static int up(void *memory, unsigned long bytes)
{
	const struct octavo_region map = { .base = 0, .size = bytes };
	const struct octavo_boot boot = {
		.regions = &map,
		.nr_regions = 1,
		.nr_cpus = 1,
		.direct_map = memory,
		.dma_limit = ~0ul,
		.dma32_limit = ~0ul,
	};

	return octavo_init(&boot);
}

static void *take(void)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 3, FOLIO_ANON);

	return folio ? folio : kmalloc(1, GFP_KERNEL);
}

static void give(void *folio)
{
	folio_put(folio);
}

static unsigned long free_pages(void)
{
	return nr_free_pages();
}

static unsigned long down(void)
{
	return octavo_shutdown();
}

static const char *prefix(void)
{
	return OCTAVO_SYMBOL_PREFIX;
}

const struct user USER = { up, take, give, free_pages, down, prefix };
