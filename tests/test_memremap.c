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

static void refuse(struct dev_pagemap pgmap, int err)
{
	assert_int_equal(memremap_pages(&pgmap), err);
	assert_true(octavo_validate());
}

COVERS("S1.9 S1.10");
static void test_memremap_refused(void **state)
{
	const struct dev_pagemap_ops no_free = { .migrate_to_ram = device_ops.migrate_to_ram };
	const struct dev_pagemap_ops no_ram = { .folio_free = device_ops.folio_free };
	struct dev_pagemap pgmap, good, first;

	device_boot(1);
	for_each_type(t)
	{
		good = device_pagemap(types[t], SECTION_PAGES);
		/* what every kind needs */
		pgmap = good;
		pgmap.nr = 0;
		refuse(pgmap, -EINVAL);
		pgmap = good;
		pgmap.nid = OCTAVO_NR_NODES;
		refuse(pgmap, -EINVAL);
		/* callbacks that the kind needs */
		pgmap = good;
		pgmap.ops = NULL;
		if (types[t] != MEMORY_DEVICE_FS_DAX && types[t] != MEMORY_DEVICE_GENERIC) {
			refuse(pgmap, -EINVAL);
			pgmap.ops = &no_free;
			refuse(pgmap, -EINVAL);
		}
		if (types[t] == MEMORY_DEVICE_PRIVATE) {
			pgmap.ops = &no_ram;
			refuse(pgmap, -EINVAL);
			continue;
		}
		/* whole sections, in the memory map, that nobody has */
		pgmap = good;
		pgmap.nr = SECTION_PAGES - 1;
		refuse(pgmap, -EINVAL);
		pgmap = good;
		pgmap.pfn++;
		refuse(pgmap, -EINVAL);
		pgmap = good;
		pgmap.pfn = octavo_state.frame.max_pfn;
		refuse(pgmap, -EINVAL);
		pgmap.pfn = 0ul - SECTION_PAGES;
		refuse(pgmap, -EINVAL);
		pgmap = good;
		pgmap.pfn = 0;
		refuse(pgmap, -EEXIST);
		pgmap = good;
		pgmap.pfn -= SECTION_PAGES;
		pgmap.nr = 2 * SECTION_PAGES;
		refuse(pgmap, -EEXIST);
		first = good;
		assert_int_equal(memremap_pages(&first), 0);
		refuse(good, -EEXIST);
		memunmap_pages(&first);
	}
	pgmap = good;
	pgmap.type = 0;
	refuse(pgmap, -EINVAL);
	pgmap.type = MEMORY_DEVICE_PCI_P2PDMA + 1;
	refuse(pgmap, -EINVAL);
	/* private memory of more pages than there is memory for words */
	pgmap = device_pagemap(MEMORY_DEVICE_PRIVATE, FOLIO_DEVICE_PRIVATE);
	refuse(pgmap, -ENOMEM);
	shutdown_clean();
	/* before there is a machine */
	assert_int_equal(memremap_pages(&pgmap), -EINVAL);
}

/* One that is there stays as it is, with what is in use. */
COVERS("S1.6");
static void test_memremap_again(void **state)
{
	struct dev_pagemap pgmap;
	struct folio *folio;
	struct page *words;
	int err;

	for_each_type(t)
	{
		device_boot(1);
		pgmap = device_pagemap(types[t], SECTION_PAGES);
		assert_int_equal(memremap_pages(&pgmap), 0);
		words = pgmap.words;
		folio = zone_device_folio_init(words, &pgmap, 0, &err);
		assert_non_null(folio);
		assert_int_equal(memremap_pages(&pgmap), -EEXIST);
		assert_ptr_equal(pgmap.words, words);
		assert_int_equal(pgmap.ref, 1);
		assert_true(octavo_validate());
		folio_unlock(folio);
		folio_put(folio);
		memunmap_pages(&pgmap);
		shutdown_clean();
	}
}

/* Indices of several devices never meet, and are used again; as many as there are entries. */
COVERS("S1.45");
static void test_memremap_indices_of_many_devices(void **state)
{
	static struct dev_pagemap map[OCTAVO_NR_PAGEMAPS];
	struct dev_pagemap more;
	u64 seed = 1;

	device_boot(1);
	for (unsigned int i = 0; i < OCTAVO_NR_PAGEMAPS; i++) {
		map[i] = device_pagemap(MEMORY_DEVICE_PRIVATE, 1 + i % 9);
		assert_int_equal(memremap_pages(&map[i]), 0);
	}
	more = device_pagemap(MEMORY_DEVICE_PRIVATE, 1);
	refuse(more, -E2BIG);
	more = device_pagemap(MEMORY_DEVICE_COHERENT, SECTION_PAGES);
	refuse(more, -E2BIG);
	assert_false(pfn_valid(more.pfn));
	for (unsigned int round = 0; round < 200; round++) {
		unsigned int i = (unsigned int)((seed = seed * 6364136223846793005ull + 1) >> 40) %
				 OCTAVO_NR_PAGEMAPS;

		memunmap_pages(&map[i]);
		map[i].nr = 1 + (seed >> 50) % 5000 % (MAX_FOLIO_ORDER > 6 ? 5000 : 200);
		assert_int_equal(memremap_pages(&map[i]), 0);
		for (unsigned int k = 0; k < OCTAVO_NR_PAGEMAPS; k++) {
			assert_true(k == i || map[i].base.v + map[i].nr <= map[k].base.v ||
				    map[k].base.v + map[k].nr <= map[i].base.v);
			assert_ptr_equal(device_private_page(map[k].base), map[k].words);
			assert_ptr_equal(
				device_private_page((devidx_t){ map[k].base.v + map[k].nr - 1 }),
				map[k].words + map[k].nr - 1);
		}
	}
	assert_true(octavo_validate());
	for (unsigned int i = 0; i < OCTAVO_NR_PAGEMAPS; i++)
		memunmap_pages(&map[i]);
	shutdown_clean();
}

/* Neighbours in the memory map become one span of the zone, and go one by one in any order. */
static void test_memremap_neighbours_go_in_any_order(void **state)
{
	static const u8 orders[][3] = { { 0, 1, 2 }, { 1, 0, 2 }, { 2, 1, 0 }, { 1, 2, 0 } };

	for (unsigned int o = 0; o < ARRAY_SIZE(orders); o++) {
		struct dev_pagemap map[3];
		struct zone_stat st;

		device_boot(1);
		for (unsigned int i = 0; i < 3; i++) {
			map[i] = device_pagemap(types[1 + i], SECTION_PAGES);
			map[i].pfn += i * SECTION_PAGES;
			assert_int_equal(memremap_pages(&map[i]), 0);
		}
		for (unsigned int i = 0; i < 3; i++) {
			assert_int_equal(zone_stat(0, ZONE_DEVICE, &st), 0);
			assert_int_equal(st.present, (3 - i) * SECTION_PAGES);
			assert_true(octavo_validate());
			memunmap_pages(&map[orders[o][i]]);
		}
		shutdown_clean();
	}
}

/* What was never unmapped is said, and counted as leaked. */
static void test_memremap_left_behind(void **state)
{
	struct dev_pagemap pgmap;

	device_boot(1);
	pgmap = device_pagemap(MEMORY_DEVICE_PRIVATE, 100);
	assert_int_equal(memremap_pages(&pgmap), 0);
	assert_int_equal(sim_shutdown(), 1);
}

#if OCTAVO_FAULTS
static void test_memremap_fails_at_every_step(void **state)
{
	for_each_type(t)
	{
		for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL, hit)
		{
			struct dev_pagemap pgmap;
			u64 free;
			int err;

			octavo_fault_disarm();
			device_boot(1);
			pgmap = device_pagemap(types[t], SECTION_PAGES);
			frame_drain_all();
			free = nr_free_pages();
			octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
			err = memremap_pages(&pgmap);
			hit = octavo_fault_disarm();
			assert_true(!err || err == -ENOMEM);
			assert_true(octavo_validate());
			if (err) {
				assert_false(pfn_valid(pgmap.pfn));
				frame_drain_all();
				assert_int_equal(nr_free_pages(), free);
				/* again, now that there is memory */
				assert_int_equal(memremap_pages(&pgmap), 0);
			}
			octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
			memunmap_pages(&pgmap);
			hit |= octavo_fault_disarm();
			shutdown_clean();
		}
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_memremap_memory_comes_idle_and_goes),
		TEST(test_memremap_private_memory_has_no_frames),
		TEST(test_memremap_words_are_aligned_like_the_memory_map),
		TEST(test_memremap_physical_memory_is_in_zone_device),
		TEST(test_memremap_and_hotplug_at_one_place),
		TEST(test_memremap_refused),
		TEST(test_memremap_again),
		TEST(test_memremap_indices_of_many_devices),
		TEST(test_memremap_neighbours_go_in_any_order),
		TEST(test_memremap_left_behind),
#if OCTAVO_FAULTS
		TEST(test_memremap_fails_at_every_step),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
