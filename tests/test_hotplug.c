/* SPDX-License-Identifier: MIT */
/*
 * test_hotplug.c - memory that comes and goes.
 */
#include "test.h"

#include "../mm/frame/memmap.h"

#define SECTIONS(n) ((u64)(n)*SECTION_SIZE)

static memdesc_t word(unsigned long pfn)
{
	return page_memdesc(pfn_to_page(pfn));
}

/* ---- memory that comes and goes ---- */

#define HOT_SECTIONS 12

static void boot_hot(void)
{
	struct sim_config cfg = { .bytes = SECTIONS(4) + (PAGES_PER_SECTION < 64 ? 4 << 20 : 0),
				  .quiet = true };

	cfg.max_phys = cfg.bytes + SECTIONS(HOT_SECTIONS);
	assert_int_equal(sim_boot(&cfg), 0);
}

static u64 hot_base(void)
{
	return ((u64)octavo_state.frame.max_pfn << PAGE_SHIFT) - SECTIONS(HOT_SECTIONS);
}

static unsigned long hot_pfn(void)
{
	return hot_base() >> PAGE_SHIFT;
}

struct numbers {
	u64 total, free;
	struct zone zone[8];
	u32 nr_zones;
	section_t section[HOT_SECTIONS];
};

/* Everything that hot-plug may change, for before and after. */
static void take_numbers(struct numbers *n)
{
	memset(n, 0, sizeof(*n));
	frame_drain_all();
	n->total = totalram_pages();
	n->free = nr_free_pages();
	n->nr_zones = octavo_state.frame.nr_zones_made;
	assert_true(n->nr_zones <= 8);
	memcpy(n->zone, octavo_state.frame.zones, n->nr_zones * sizeof(struct zone));
	memcpy(n->section, &octavo_state.frame.section[hot_pfn() >> SECTION_ORDER],
	       sizeof(n->section));
}

static void test_hotplug_memory_is_added_and_removed(void **state)
{
	struct page *page;
	u64 total;

	boot_hot();
	total = totalram_pages();
	assert_false(pfn_valid(hot_pfn()));
	assert_null(alloc_plain_pages_at(hot_pfn(), 0, MISC_DRIVER, false, 0));
	for (int round = 0; round < 3; round++) {
		bool movable = round & 1;

		assert_int_equal(octavo_add_memory(hot_base(), SECTIONS(4), 1, movable), 0);
		assert_int_equal(totalram_pages(), total + (4 << SECTION_ORDER));
		assert_int_equal(pfn_to_nid(hot_pfn()), 1);
		assert_int_equal(pfn_zone(hot_pfn()), movable ? ZONE_MOVABLE : ZONE_NORMAL);
		assert_false(pfn_valid(hot_pfn() + (4 << SECTION_ORDER)));
		assert_true(octavo_validate());

		/* each frame of it is free, none was before */
		for (unsigned long i = 0; i < 4 << SECTION_ORDER; i++)
			assert_int_equal(frame_alloc_at(hot_pfn() + i, 0, 0), 0);
		for (unsigned long i = 0; i < 4 << SECTION_ORDER; i++)
			frame_free(hot_pfn() + i, 0);
		page = alloc_pages_node(1, GFP_HIGHUSER_MOVABLE | __GFP_THISNODE, 0);
		assert_non_null(page);
		assert_int_equal(page_to_nid(page), 1);
		assert_int_equal(octavo_remove_memory(hot_base(), SECTIONS(4)), -EBUSY);
		__free_page(page);

		/* in two parts, the inner one first */
		assert_int_equal(octavo_remove_memory(hot_base() + SECTIONS(1), SECTIONS(2)), 0);
		assert_true(octavo_validate());
		assert_true(pfn_valid(hot_pfn()));
		assert_false(pfn_valid(hot_pfn() + PAGES_PER_SECTION));
		assert_int_equal(octavo_remove_memory(hot_base(), SECTIONS(1)), 0);
		assert_int_equal(octavo_remove_memory(hot_base() + SECTIONS(3), SECTIONS(1)), 0);
		assert_int_equal(totalram_pages(), total);
		for (unsigned long i = 0; i < 4 << SECTION_ORDER; i++) {
			assert_false(pfn_valid(hot_pfn() + i));
			assert_int_equal(word(hot_pfn() + i).v, 0);
		}
		assert_int_equal(frame_alloc_at(hot_pfn(), 0, 0), -ENXIO);
		assert_true(octavo_validate());
	}
	shutdown_clean();
}

static void test_hotplug_refuses_and_changes_nothing(void **state)
{
	static struct numbers before, after;
	struct page *page;
	u64 base;

	boot_hot();
	base = hot_base();
	assert_int_equal(octavo_add_memory(base + SECTIONS(2), SECTIONS(1), 0, false), 0);
	page = alloc_plain_pages_at(hot_pfn() + (2 << SECTION_ORDER), 0, MISC_DRIVER, true, 0);
	assert_non_null(page);
	take_numbers(&before);
#define REFUSED(err, call)                                            \
	do {                                                          \
		assert_int_equal(call, err);                          \
		take_numbers(&after);                                 \
		assert_memory_equal(&before, &after, sizeof(before)); \
		assert_true(octavo_validate());                       \
	} while (0)
	REFUSED(-EINVAL, octavo_add_memory(base + PAGE_SIZE, SECTIONS(1), 0, false));
	REFUSED(-EINVAL, octavo_add_memory(base, SECTION_SIZE - PAGE_SIZE, 0, false));
	REFUSED(-EINVAL, octavo_add_memory(base, 0, 0, false));
	REFUSED(-EINVAL, octavo_add_memory(base, SECTIONS(HOT_SECTIONS + 1), 0, false));
	REFUSED(-EINVAL, octavo_add_memory(base, SECTIONS(1), OCTAVO_NR_NODES, false));
	REFUSED(-EINVAL, octavo_add_memory(ALIGN_DOWN(~0ull, SECTION_SIZE), SECTIONS(2), 0, false));
	REFUSED(-EEXIST, octavo_add_memory(base, SECTIONS(4), 0, true));
	REFUSED(-EEXIST, octavo_add_memory(base + SECTIONS(2), SECTIONS(1), 0, false));
	REFUSED(-EINVAL, octavo_remove_memory(base, SECTIONS(1)));
	REFUSED(-EINVAL, octavo_remove_memory(base + SECTIONS(2), SECTIONS(2)));
	REFUSED(-EINVAL, octavo_remove_memory(base + SECTIONS(2) + PAGE_SIZE, SECTIONS(1)));
	REFUSED(-EINVAL, octavo_remove_memory(base + SECTIONS(2), 0));
	REFUSED(-EBUSY, octavo_remove_memory(base + SECTIONS(2), SECTIONS(1)));
#undef REFUSED
	/* what was refused because it was in use goes when it is not */
	free_frozen_pages(page, 0);
	assert_int_equal(octavo_remove_memory(base + SECTIONS(2), SECTIONS(1)), 0);
	assert_int_equal(octavo_add_memory(base, SECTIONS(1), 0, false), 0);
	shutdown_clean();
	assert_int_equal(octavo_add_memory(0, SECTIONS(1), 0, false), -EINVAL);
	assert_int_equal(octavo_remove_memory(0, SECTIONS(1)), -EINVAL);
}

static void test_hotplug_reserved_frames_stay(void **state)
{
	const struct octavo_region r[] = {
		{ .base = 0, .size = SECTIONS(4) + (4 << 20) },
		{ .base = SECTIONS(1), .size = 1, .type = OCTAVO_MEM_RESERVED },
	};
	struct sim_config cfg = { .regions = r, .nr_regions = 2 };

	assert_int_equal(sim_boot(&cfg), 0);
	assert_int_equal(octavo_remove_memory(SECTIONS(1), SECTIONS(1)), -EBUSY);
	assert_true(octavo_validate());
	shutdown_clean();
}

/* A zone whose spans are all used up: a cut in the middle needs one more. */
static void test_hotplug_spans_run_out_cleanly(void **state)
{
	struct sim_config cfg = { .bytes = 64 << 20, .quiet = true };
	u32 nr = 2 * NR_ZONE_SPANS + 4;
	u64 base;

	cfg.max_phys = cfg.bytes + SECTIONS(nr);
	assert_int_equal(sim_boot(&cfg), 0);
	base = cfg.bytes;
	for (u32 i = 0; i < NR_ZONE_SPANS - 1; i++)
		assert_int_equal(octavo_add_memory(base + SECTIONS(2 * i), SECTIONS(1), 1, true),
				 0);
	base += SECTIONS(2 * NR_ZONE_SPANS);
	assert_int_equal(octavo_add_memory(base, SECTIONS(3), 1, true), 0);
	assert_int_equal(octavo_remove_memory(base + SECTIONS(1), SECTIONS(1)), -E2BIG);
	assert_int_equal(octavo_add_memory(base + SECTIONS(3), SECTIONS(1), 1, true), 0);
	assert_int_equal(octavo_remove_memory(base, SECTIONS(1)), 0);
	assert_int_equal(octavo_add_memory(base - SECTIONS(1), SECTIONS(1), 1, true), -E2BIG);
	/* a span that is given up whole can be used again */
	assert_int_equal(octavo_remove_memory(base + SECTIONS(1), SECTIONS(3)), 0);
	assert_int_equal(octavo_add_memory(base, SECTIONS(1), 1, true), 0);
	assert_true(octavo_validate());
	shutdown_clean();
}

COVERS("SX.8");
static void test_hotplug_fails_at_any_step(void **state)
{
#if OCTAVO_FAULTS
	static struct numbers before, after;

	boot_hot();
	for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
		take_numbers(&before);
		for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
		{
			int err = octavo_add_memory(hot_base(), SECTIONS(2), 1, true);

			hit = octavo_fault_disarm();
			if (err) {
				assert_true(hit);
				take_numbers(&after);
				assert_memory_equal(&before, &after, sizeof(before));
			} else {
				assert_int_equal(octavo_remove_memory(hot_base(), SECTIONS(2)), 0);
				take_numbers(&before);
			}
			assert_true(octavo_validate());
		}
		assert_int_equal(octavo_add_memory(hot_base(), SECTIONS(2), 1, true), 0);
		take_numbers(&before);
		for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
		{
			int err = octavo_remove_memory(hot_base(), SECTIONS(2));

			hit = octavo_fault_disarm();
			if (err) {
				assert_true(hit);
				take_numbers(&after);
				assert_memory_equal(&before, &after, sizeof(before));
			} else {
				assert_int_equal(
					octavo_add_memory(hot_base(), SECTIONS(2), 1, true), 0);
				take_numbers(&before);
			}
			assert_true(octavo_validate());
		}
		assert_int_equal(octavo_remove_memory(hot_base(), SECTIONS(2)), 0);
	}
	shutdown_clean();
#endif
}

static struct {
	u32 stop;
	u64 removed, busy, taken;
} hot;

static void plug(void)
{
	while (hot.removed < 100 || READ_ONCE(hot.taken) < 2000) {
		int err;

		assert_int_equal(octavo_add_memory(hot_base(), SECTIONS(2), 0, true), 0);
		while ((err = octavo_remove_memory(hot_base(), SECTIONS(2))) == -EBUSY)
			hot.busy++;
		assert_int_equal(err, 0);
		hot.removed++;
	}
	WRITE_ONCE(hot.stop, 1);
}

static void plug_or_use(unsigned int cpu, void *arg)
{
	if (cpu == 0) {
		plug();
		return;
	}
	while (!READ_ONCE(hot.stop)) {
		struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);

		/* whoever walks pfns may look at any word at any time */
		for (unsigned long i = 0; i < 8; i++)
			plain_count(pfn_to_page(hot_pfn() + i));
		if (!page)
			continue;
		if (!pfn_valid(page_to_pfn(page)))
			abort();
		memset(page_address(page), 1, 8);
		__free_page(page);
		fetch_add_relaxed(&hot.taken, 1ul);
	}
}

static void test_hotplug_beside_allocation(void **state)
{
	struct sim_config cfg = { .bytes = 64 << 20, .cpus = 3, .quiet = true };

	cfg.max_phys = cfg.bytes + SECTIONS(HOT_SECTIONS);
	memset(&hot, 0, sizeof(hot));
	assert_int_equal(sim_boot(&cfg), 0);
	sim_run(3, false, plug_or_use, NULL);
	shutdown_clean();
}

/* A zone that is just being made has no frames yet, and no claim to what CPUs have not told of another. */
static void test_hotplug_drain_finds_a_zone_in_the_making(void **state)
{
	const struct sim_config cfg = { .bytes = SECTIONS(2), .dma_limit = SECTIONS(2) };
	struct zone_stat before, after;
	u64 nr;
	long pfn;

	assert_int_equal(sim_boot(&cfg), 0);
	pfn = frame_alloc(GFP_DMA, 0, NUMA_NO_NODE);
	assert_true(pfn >= 0);
	nr = nr_free_pages();
	assert_int_equal(zone_stat(0, ZONE_DMA, &before), 0);
	zone_get(1, ZONE_MOVABLE);
	frame_drain_all();
	assert_int_equal(zone_stat(0, ZONE_DMA, &after), 0);
	assert_int_equal(after.free, before.free);
	assert_int_equal(nr_free_pages(), nr);
	frame_free((unsigned long)pfn, 0);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hotplug_memory_is_added_and_removed),
		TEST(test_hotplug_refuses_and_changes_nothing),
		TEST(test_hotplug_reserved_frames_stay),
		TEST(test_hotplug_spans_run_out_cleanly),
		TEST(test_hotplug_fails_at_any_step),
		TEST(test_hotplug_beside_allocation),
		TEST(test_hotplug_drain_finds_a_zone_in_the_making),
	};

	return cmocka_run_group_tests_name("hotplug", tests, NULL, NULL);
}
