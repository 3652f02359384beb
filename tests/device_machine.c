// SPDX-License-Identifier: MIT
#include "device_machine.h"

struct device_log device_log;

static void log_free(struct folio *folio)
{
	unsigned long nr = folio_nr_pages(folio);

	device_log.frees++;
	device_log.pages += nr;
	device_log.order = folio_order(folio);
	device_log.place = folio_place(folio);
	device_log.folio = folio;
	device_log.anon_exclusive = folio_anon_exclusive_count(folio_subrange(folio, 0, nr));
	device_log.mapping = folio->mapping;
	device_log.priv = folio->private;
	/* it is idle memory by now */
	for (unsigned long i = 0; i < nr; i++)
		assert_int_equal(page_memdesc(folio_page(folio, i)).v, MEMDESC_DEVICE);
}

static void log_page_free(struct page *page, unsigned int order)
{
	device_log.page_frees++;
	device_log.pages += 1ul << order;
	device_log.order = order;
	device_log.place = page_place(page);
	for (unsigned long i = 0; i < 1ul << order; i++)
		assert_int_equal(page_memdesc(page + i).v, MEMDESC_DEVICE);
}

static void log_split(struct folio *original, struct folio *new)
{
	if (!new) {
		device_log.split_ends++;
		device_log.order = folio_order(original);
		return;
	}
	device_log.splits++;
	/* nobody can get it yet */
	assert_int_equal(folio_ref_count(new), 0);
	assert_int_equal(folio_ref_count(original), 0);
	assert_true(folio_is_zone_device(new));
	new->private = (char *)original->private + (folio_place(new) - folio_place(original));
}

static u32 log_migrate_to_ram(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

const struct dev_pagemap_ops device_ops = {
	.folio_free = log_free,
	.page_free = log_page_free,
	.folio_split = log_split,
	.migrate_to_ram = log_migrate_to_ram,
};
