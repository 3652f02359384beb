/* SPDX-License-Identifier: MIT */
/*
 * test_frame_zones.c - the frame allocator: zones, nodes, watermarks, hooks, statistics.
 */
#include "test.h"

#include "frame_machine.h"

static void test_frame_nodes_and_zones_are_tried_in_order(void **state)
{
	u64 part = (u64)TREE * 4 << PAGE_SHIFT;
	struct sim_config cfg = { .bytes = 3 * part,
				  .nodes = 3,
				  .cpus = 2,
				  .dma_limit = part / 4,
				  .dma32_limit = part / 2,
				  .movable_bytes = part / 4 };
	static const struct {
		u32 nid, zone;
		unsigned long tree, trees;
	} order[] = { { 1, ZONE_MOVABLE, 7, 1 },  { 1, ZONE_NORMAL, 4, 3 },
		      { 0, ZONE_MOVABLE, 3, 1 },  { 0, ZONE_NORMAL, 2, 1 },
		      { 0, ZONE_DMA32, 1, 1 },	  { 0, ZONE_DMA, 0, 1 },
		      { 2, ZONE_MOVABLE, 11, 1 }, { 2, ZONE_NORMAL, 8, 3 } };
	unsigned long n = 0;
	long pfn;

	sim_reset();
	assert_int_equal(sim_boot(&cfg), 0);
	/* node 1: itself, then 0 (the lower of two at one distance), then 2; each from the top zone down */
	for (unsigned int i = 0; i < ARRAY_SIZE(order); i++) {
		pfn = frame_alloc(TAKE_ALL | __GFP_MOVABLE, 0, 1);
		assert_int_equal(pfn_to_nid((unsigned long)pfn), order[i].nid);
		assert_int_equal(pfn_zone((unsigned long)pfn), order[i].zone);
		frame_free((unsigned long)pfn, 0);
		assert_int_equal(alloc_contig_range(order[i].tree * TREE,
						    (order[i].tree + order[i].trees) * TREE),
				 0);
	}
	assert_int_equal(frame_alloc(TAKE_ALL, 0, 1), -ENOMEM);
	free_contig_range(0, 12 * TREE);
	/* one node only, and no movable zone for what cannot be moved */
	while ((pfn = frame_alloc(TAKE_ALL | __GFP_THISNODE, 0, 2)) >= 0) {
		assert_int_equal(pfn_to_nid((unsigned long)pfn), 2);
		assert_int_equal(pfn_zone((unsigned long)pfn), ZONE_NORMAL);
		n++;
	}
	assert_int_equal(n, 3 * TREE);
	for (unsigned long p = 8 * TREE; p < 11 * TREE; p++)
		frame_free(p, 0);
	pfn = frame_alloc(TAKE_ALL | __GFP_DMA, 1, 2);
	assert_int_equal(pfn_zone((unsigned long)pfn), ZONE_DMA);
	frame_free((unsigned long)pfn, 1);
	pfn = frame_alloc(TAKE_ALL | __GFP_DMA32, 1, 0);
	assert_int_equal(pfn_zone((unsigned long)pfn), ZONE_DMA32);
	frame_free((unsigned long)pfn, 1);
	assert_int_equal(frame_alloc(TAKE_ALL | __GFP_DMA | __GFP_THISNODE, 0, 2), -ENOMEM);
	shutdown_clean();
}

static struct {
	unsigned int woken, reclaims;
	unsigned long *held;
	unsigned long nr_held;
	unsigned int give; /* frames at a time */
} hook;

static u64 hook_reclaim(gfp_t gfp, unsigned int order, int nid)
{
	u64 n = 0;

	hook.reclaims++;
	for (; n < hook.give && hook.nr_held; n++)
		frame_free(hook.held[--hook.nr_held], 0);
	return n;
}

static void hook_wake(u32 node, u32 zone)
{
	hook.woken++;
}

static const struct octavo_hooks hooks = { .direct_reclaim = hook_reclaim,
					   .wake_reclaim = hook_wake };

static unsigned long take_all(gfp_t gfp, unsigned long *pfns)
{
	unsigned long n = 0;
	long pfn;

	while ((pfn = frame_alloc(gfp, 0, NUMA_NO_NODE)) >= 0)
		pfns[n++] = (unsigned long)pfn;
	return n;
}

static void test_frame_watermarks_hold_back_what_flags_do_not_grant(void **state)
{
	static unsigned long pfns[FRAMES];
	u64 mark[NR_WMARK];
	struct zone_stat st;
	unsigned long n;

	memset(&hook, 0, sizeof(hook));
	boot_frames();
	octavo_set_hooks(&hooks);
	zone_stat(0, pfn_zone(0), &st);
	memcpy(mark, st.watermark, sizeof(mark));
	if (OCTAVO_TREE_ORDER > 6)
		assert_true(mark[WMARK_MIN] > 16 && mark[WMARK_MIN] < mark[WMARK_LOW] &&
			    mark[WMARK_LOW] < mark[WMARK_HIGH] && mark[WMARK_HIGH] < FRAMES / 100);
	n = take_all(__GFP_NORETRY, pfns);
	assert_int_equal(FRAMES - n, mark[WMARK_MIN]);
	assert_int_equal(hook.woken, 0);
	n += take_all(GFP_ATOMIC, pfns + n);
	assert_int_equal(FRAMES - n, mark[WMARK_MIN] / 2);
	if (mark[WMARK_MIN])
		assert_true(hook.woken > 0);
	n += take_all(__GFP_MEMALLOC, pfns + n);
	assert_int_equal(n, FRAMES);
	assert_int_equal(hook.reclaims, 0);
	assert_int_equal(frame_alloc(GFP_NOWAIT, 0, NUMA_NO_NODE), -ENOMEM);
	assert_int_equal(hook.reclaims, 0);
	/* reclaim gives nothing: the end; with __GFP_NOFAIL it asks until there is something */
	hook.held = pfns;
	hook.nr_held = n;
	assert_int_equal(frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE), -ENOMEM);
	assert_int_equal(hook.reclaims, 1);
	hook.give = 1;
	assert_true(frame_alloc(GFP_KERNEL | __GFP_NOFAIL, 0, NUMA_NO_NODE) >= 0);
	assert_int_equal(hook.nr_held, FRAMES - mark[WMARK_MIN] - 1);
	assert_int_equal(frame_alloc(GFP_KERNEL | __GFP_NORETRY, OCTAVO_TREE_ORDER, NUMA_NO_NODE),
			 -ENOMEM);
	frame_drain_all();
	for (unsigned long p = 0; p < FRAMES; p++)
		if (!frame_is_free(p))
			frame_free(p, 0);
	shutdown_clean();
	octavo_set_hooks(NULL);
}

static unsigned int lines;

static void count_line(enum octavo_log_level level, const char *line)
{
	lines += level == OCTAVO_LOG_DUMP;
}

static void test_frame_zone_stat_counts_exactly(void **state)
{
	struct zone_stat st;
	long pfn;

	boot_frames();
	assert_int_equal(zone_stat(OCTAVO_NR_NODES, ZONE_NORMAL, &st), -EINVAL);
	assert_int_equal(zone_stat(0, ZONE_DEVICE, &st), -EINVAL);
	assert_int_equal(zone_stat(0, NR_ZONES, &st), -EINVAL);
	assert_int_equal(zone_stat(0, pfn_zone(0), &st), 0);
	assert_int_equal(st.free_blocks, FRAMES / BLOCK);
	pfn = frame_alloc(GFP_KERNEL, OCTAVO_BLOCK_ORDER, NUMA_NO_NODE);
	assert_int_equal(zone_stat(0, pfn_zone(0), &st), 0);
	assert_int_equal(st.free, FRAMES - BLOCK);
	assert_int_equal(st.free_blocks, FRAMES / BLOCK - 1);
	assert_int_equal(st.present, FRAMES);
	assert_int_equal(st.managed, FRAMES);
	sim_log_to(count_line);
	frame_dump();
	sim_log_to(NULL);
	assert_int_equal(lines, 2 + 2 * MIGRATE_TYPES);
	frame_free((unsigned long)pfn, OCTAVO_BLOCK_ORDER);
	shutdown_clean();
}

static void test_frame_watermarks_grow_as_the_root_of_memory(void **state)
{
	struct zone_stat st;

	if (OCTAVO_TREE_ORDER < 12)
		return;
	boot_small(4096, 2);
	assert_int_equal(zone_stat(0, pfn_zone(0), &st), 0);
	assert_int_equal(st.watermark[WMARK_MIN], 2048);
	shutdown_clean();
	boot_small(4 * 4096, 2);
	assert_int_equal(zone_stat(0, pfn_zone(0), &st), 0);
	assert_int_equal(st.watermark[WMARK_MIN], 4096);
	assert_int_equal(st.watermark[WMARK_LOW], 5120);
	assert_int_equal(st.watermark[WMARK_HIGH], 6144);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame_nodes_and_zones_are_tried_in_order),
		cmocka_unit_test(test_frame_watermarks_hold_back_what_flags_do_not_grant),
		cmocka_unit_test(test_frame_zone_stat_counts_exactly),
		cmocka_unit_test(test_frame_watermarks_grow_as_the_root_of_memory),
	};

	return cmocka_run_group_tests_name("frame_zones", tests, NULL, NULL);
}
