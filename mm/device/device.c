// SPDX-License-Identifier: MIT
/*
 * device.c - the layer of device memory: up at the first memremap_pages(), down, and looking all of it over.
 */
#include <octavo/folio.h>

#include "device.h"

static struct device_state *state(void)
{
	return &octavo_state.device;
}

/* ---- validate ---- */

static bool word_ok(const struct device_range *r, unsigned long n, unsigned long *live)
{
	const struct dev_pagemap *pgmap = r->pgmap;
	memdesc_t md = page_memdesc(r->words + n);

	if (md.v == MEMDESC_DEVICE)
		return true;
	++*live;
	if (memdesc_is_misc(md))
		return memdesc_subtype(md) == MISC_DEVICE;
	/* that the folio is consistent, desc_validate() says */
	return memdesc_is_folio(md) && folio_is_zone_device(memdesc_ptr(md)) &&
	       folio_pgmap(memdesc_ptr(md)) == pgmap;
}

static bool range_validate(const struct device_range *r)
{
	unsigned long live = 0, bad = 0;

	for (unsigned long n = 0; n < r->nr; n++)
		bad += !word_ok(r, n, &live);
	if (bad)
		pr_err("device memory: pagemap %p has %lu words that are no device's",
		       (const void *)r->pgmap, bad);
	if ((READ_ONCE(r->pgmap->ref) & ~(1ull << 63)) != live) {
		pr_err("device memory: pagemap %p: %lu live references, %lu pages in use",
		       (const void *)r->pgmap, (unsigned long)READ_ONCE(r->pgmap->ref), live);
		bad++;
	}
	return !bad;
}

/* Of every page that is not idle there is one live reference. */
static bool device_validate(void)
{
	bool ok = true;

	for (u32 i = 0; i < state()->nr_ranges; i++)
		if (state()->range[i].nr)
			ok &= range_validate(&state()->range[i]);
	return ok;
}

/* ---- up and down ---- */

/* What was never unmapped is reported; words of private memory stay allocated: octavo_shutdown() counts them. */
static void device_exit(void)
{
	for (u32 i = 0; i < state()->nr_ranges; i++)
		if (state()->range[i].nr)
			pr_err("device memory: pagemap %p of %lu pages was never unmapped",
			       (const void *)state()->range[i].pgmap, state()->range[i].nr);
}

static const struct device_upcalls device_upcalls = {
	.folio_free = zone_device_folio_free,
	.page_free = zone_device_page_free,
	.migrate_to_ram = device_private_migrate_to_ram,
	.folio_split = zone_device_folio_split,
	.memory_failure = device_memory_failure,
};
static const struct octavo_layer device_layer = { .exit = device_exit,
						  .validate = device_validate };

void device_up(void)
{
	/* release: pairs with the acquires of those who call it, who have a page that was made later */
	smp_store_release(&octavo_state.upcalls.device, &device_upcalls);
	/* release: as octavo_state says */
	smp_store_release(&octavo_state.layer[OCTAVO_LAYER_DEVICE], &device_layer);
}
