// SPDX-License-Identifier: MIT
/*
 * test_memremap.c - memory of devices comes into being and goes.
 */
#include "device_machine.h"

static const enum memory_type types[] = { MEMORY_DEVICE_PRIVATE, MEMORY_DEVICE_COHERENT,
					  MEMORY_DEVICE_FS_DAX, MEMORY_DEVICE_GENERIC,
					  MEMORY_DEVICE_PCI_P2PDMA };
#define for_each_type(t) for (unsigned int t = 0; t < ARRAY_SIZE(types); t++)

static void all_idle(const struct dev_pagemap *pgmap)
{
	for (unsigned long n = 0; n < pgmap->nr; n++)
		assert_int_equal(page_memdesc(pgmap->words + n).v, MEMDESC_DEVICE);
}

COVERS("S0.10 S1.45");
static void test_memremap_memory_comes_idle_and_goes(void **state)
{
	for_each_type(t)
	{
		struct dev_pagemap pgmap;
		u64 free, total;

		device_boot(1);
		pgmap = device_pagemap(types[t], 2 * SECTION_PAGES);
		total = totalram_pages();
		for (int round = 0; round < 3; round++) {
			frame_drain_all();
			free = nr_free_pages();
			assert_int_equal(memremap_pages(&pgmap), 0);
			all_idle(&pgmap);
			assert_int_equal(totalram_pages(), total);
			assert_true(octavo_validate());
			memunmap_pages(&pgmap);
			assert_true(octavo_validate());
			frame_drain_all();
			assert_int_equal(nr_free_pages(), free);
		}
		shutdown_clean();
	}
}

COVERS("S1.45");
static void test_memremap_private_memory_has_no_frames(void **state)
{
	struct dev_pagemap pgmap;

	device_boot(1);
	pgmap = device_pagemap(MEMORY_DEVICE_PRIVATE, 3 * SECTION_PAGES + 5);
	assert_int_equal(memremap_pages(&pgmap), 0);
	for (unsigned long n = 0; n < pgmap.nr; n += 7) {
		struct page *page = pgmap.words + n;
		devidx_t idx = page_devidx(&pgmap, page);

		assert_int_equal(idx.v, pgmap.base.v + n);
		assert_ptr_equal(device_private_page(idx), page);
		assert_true(page_is_device_private(page));
		assert_int_equal(page_place(page), FOLIO_DEVICE_PRIVATE | idx.v);
		assert_ptr_equal(place_page(page_place(page)), page);
		assert_false(pfn_valid(page_to_pfn(page)));
		assert_false(pfn_valid(page_place(page)));
	}
	assert_false(pfn_valid(device_pfn()));
	memunmap_pages(&pgmap);
	shutdown_clean();
}

/* The first page of a plain allocation is the same arithmetic as in the memory map. */
static void test_memremap_words_are_aligned_like_the_memory_map(void **state)
{
	static const unsigned long sizes[] = { 1, 2, 511, 512, 513, 700, 4096 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned long nr = min(sizes[i], 2ul << MAX_FOLIO_ORDER);
		unsigned int order = (unsigned int)min(ilog2(nr), MAX_FOLIO_ORDER);
		struct dev_pagemap pgmap;

		device_boot(1);
		pgmap = device_pagemap(MEMORY_DEVICE_PRIVATE, nr);
		assert_int_equal(memremap_pages(&pgmap), 0);
		assert_true(IS_ALIGNED(page_to_pfn(pgmap.words), 1ul << order));
		assert_true(IS_ALIGNED(pgmap.base.v, 1ul << MAX_FOLIO_ORDER));
		memunmap_pages(&pgmap);
		shutdown_clean();
	}
}

static void test_memremap_physical_memory_is_in_zone_device(void **state)
{
	struct dev_pagemap pgmap;
	struct zone_stat st;

	device_boot(1);
	pgmap = device_pagemap(MEMORY_DEVICE_COHERENT, 2 * SECTION_PAGES);
	pgmap.nid = 1;
	assert_int_equal(zone_stat(1, ZONE_DEVICE, &st), -EINVAL);
	assert_int_equal(memremap_pages(&pgmap), 0);
	assert_int_equal(zone_stat(1, ZONE_DEVICE, &st), 0);
	assert_int_equal(st.present, pgmap.nr);
	assert_int_equal(st.managed, 0);
	assert_int_equal(st.free, 0);
	assert_int_equal(pfn_to_nid(pgmap.pfn), 1);
	assert_int_equal(pfn_zone(pgmap.pfn + pgmap.nr - 1), ZONE_DEVICE);
	assert_true(pfn_valid(pgmap.pfn));
	assert_false(pfn_valid(pgmap.pfn + pgmap.nr));
	/* nobody else's */
	assert_false(frame_is_free(pgmap.pfn));
	assert_int_equal(frame_alloc_at(pgmap.pfn, 0, 0), -EBUSY);
	assert_int_equal(alloc_contig_range(pgmap.pfn, pgmap.pfn + 8), -EBUSY);
	assert_int_equal(octavo_remove_memory((u64)pgmap.pfn << PAGE_SHIFT, SECTION_SIZE), -EBUSY);
	assert_int_equal(octavo_add_memory((u64)pgmap.pfn << PAGE_SHIFT, SECTION_SIZE, 0, false),
			 -EEXIST);
	memunmap_pages(&pgmap);
	assert_int_equal(zone_stat(1, ZONE_DEVICE, &st), 0);
	assert_int_equal(st.present, 0);
	assert_false(pfn_valid(pgmap.pfn));
	shutdown_clean();
}

/* Ordinary memory where a device's was, and the other way round; every frame of it works. */
static void test_memremap_and_hotplug_at_one_place(void **state)
{
	struct dev_pagemap pgmap;
	u64 base;

	device_boot(1);
	pgmap = device_pagemap(MEMORY_DEVICE_COHERENT, 2 * SECTION_PAGES);
	base = (u64)pgmap.pfn << PAGE_SHIFT;
	for (int round = 0; round < 3; round++) {
		assert_int_equal(memremap_pages(&pgmap), 0);
		assert_true(octavo_validate());
		memunmap_pages(&pgmap);
		assert_int_equal(octavo_add_memory(base, 2 * SECTION_SIZE, 0, round & 1), 0);
		assert_true(octavo_validate());
		for (unsigned long i = 0; i < pgmap.nr; i++) {
			assert_true(frame_is_free(pgmap.pfn + i));
			assert_int_equal(frame_alloc_at(pgmap.pfn + i, 0, 0), 0);
		}
		assert_int_equal(memremap_pages(&pgmap), -EEXIST);
		for (unsigned long i = 0; i < pgmap.nr; i++)
			frame_free(pgmap.pfn + i, 0);
		assert_int_equal(octavo_remove_memory(base, 2 * SECTION_SIZE), 0);
		assert_true(octavo_validate());
	}
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_memremap_memory_comes_idle_and_goes),
		TEST(test_memremap_private_memory_has_no_frames),
		TEST(test_memremap_words_are_aligned_like_the_memory_map),
		TEST(test_memremap_physical_memory_is_in_zone_device),
		TEST(test_memremap_and_hotplug_at_one_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
