// SPDX-License-Identifier: MIT
/*
 * test_zone_device.c - pages of device memory: idle, in a folio, plain; and back.
 */
#include "device_machine.h"

static const enum memory_type types[] = { MEMORY_DEVICE_PRIVATE, MEMORY_DEVICE_COHERENT,
					  MEMORY_DEVICE_FS_DAX, MEMORY_DEVICE_GENERIC,
					  MEMORY_DEVICE_PCI_P2PDMA };

static struct dev_pagemap pgmap;

/* Enough for a folio of every order that tests use. */
#define PAGES	  (2 * max(SECTION_PAGES, 1ul << min(MAX_FOLIO_ORDER, 10)))
#define TOP_ORDER ((unsigned int)min(MAX_FOLIO_ORDER, 10))

static void boot(enum memory_type type)
{
	device_boot(1);
	memset(&device_log, 0, sizeof(device_log));
	pgmap = device_pagemap(type, PAGES);
	assert_int_equal(memremap_pages(&pgmap), 0);
}

static void end(void)
{
	memunmap_pages(&pgmap);
	shutdown_clean();
}

COVERS("S1.1 S1.2 S1.5 S1.8 S1.9 S1.10 S1.18");
static void test_zone_device_folio_of_every_order_and_type(void **state)
{
	for (unsigned int t = 0; t < ARRAY_SIZE(types); t++) {
		boot(types[t]);
		for (unsigned int order = 0; order <= TOP_ORDER; order++) {
			unsigned long nr = 1ul << order;
			struct page *page = pgmap.words + nr;
			bool anon = types[t] == MEMORY_DEVICE_PRIVATE ||
				    types[t] == MEMORY_DEVICE_COHERENT;
			struct folio *folio;
			int err = 1;

			folio = zone_device_folio_init(page, &pgmap, order, &err);
			assert_non_null(folio);
			assert_int_equal(err, 0);
			assert_int_equal(folio_order(folio), order);
			assert_int_equal(folio_ref_count(folio), 1);
			assert_true(folio_test_locked(folio));
			assert_true(folio_is_zone_device(folio));
			assert_int_equal(folio_test_anon(folio), anon);
			assert_int_equal(folio_is_device_private(folio),
					 types[t] == MEMORY_DEVICE_PRIVATE);
			assert_int_equal(folio_is_device_coherent(folio),
					 types[t] == MEMORY_DEVICE_COHERENT);
			assert_ptr_equal(folio_pgmap(folio), &pgmap);
			assert_ptr_equal(folio_page(folio, 0), page);
			for (unsigned long i = 0; i < nr; i++) {
				assert_ptr_equal(page_folio(page + i), folio);
				assert_int_equal(folio_page_idx(folio, page + i), i);
				assert_true(folio_contains(folio, page_place(page + i)));
			}
			assert_false(folio_contains(folio, page_place(page) - 1));
			assert_false(folio_contains(folio, page_place(page) + nr));
			assert_int_equal(pgmap.ref, nr);
			assert_true(folio_validate(folio));
			assert_true(octavo_validate());
			device_log.frees = 0;
			folio_unlock(folio);
			folio_put(folio);
			assert_int_equal(device_log.frees, 1);
			assert_int_equal(device_log.order, order);
			assert_int_equal(device_log.place, page_place(page));
			assert_int_equal(pgmap.ref, 0);
			for (unsigned long i = 0; i < nr; i++)
				assert_int_equal(page_memdesc(page + i).v, MEMDESC_DEVICE);
			assert_true(octavo_validate());
		}
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_zone_device_folio_of_every_order_and_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
