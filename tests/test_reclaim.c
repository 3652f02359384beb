// SPDX-License-Identifier: MIT
/*
 * test_reclaim.c - taking memory back: what is old, what is not needed, what stays, and what comes back.
 */
#include <octavo/reclaim.h>

#include "fault_machine.h"
#include "swap_device.h"

static struct test_device *d;

/* One address space in @mib MiB, and a device of @slots. */
static void up(u32 mib, unsigned long slots, enum test_device_mode mode)
{
	boot_small(mib, 4);
	assert_int_equal(reclaim_init(), 0);
	as = mm_alloc();
	assert_non_null(as);
	sim_mm_use(as);
	d = slots ? test_device_on(slots, 0, mode) : NULL;
}

static void down(void)
{
	assert_true(octavo_validate());
	sim_mm_forget(as);
	mmput(as);
	if (d)
		test_device_off(d);
	shutdown_clean();
}

static unsigned long rss_pages(void)
{
	return get_mm_counter(as, MM_ANONPAGES);
}

static void fill(unsigned long page, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		put64(page + i, 1000 + page + i);
}

static void check(unsigned long page, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		assert_int_equal(get64(page + i), 1000 + page + i);
}

static int pageout(unsigned long page, unsigned long nr)
{
	return vm_madvise(as, at(page), nr << PAGE_SHIFT, MADV_PAGEOUT);
}

static bool is_out(unsigned long page)
{
	return pte_is_swap(entry(page));
}

static struct reclaim_stat stat_now(void)
{
	struct reclaim_stat st;

	reclaim_stat(&st);
	return st;
}

/* ---- MADV_PAGEOUT ---- */

COVERS("S2.18");
static void test_pageout_and_back(void **state)
{
	for (enum test_device_mode mode = TD_SYNC; mode <= TD_THREAD; mode++) {
		if (mode == TD_HELD)
			continue;
		up(TEST_MIB, 512, mode);
		map_anon(0, 100);
		fill(0, 100);
		assert_int_equal(pageout(0, 100), 0);
		assert_int_equal(rss_pages(), 0);
		assert_int_equal(get_mm_counter(as, MM_SWAPENTS), 100);
		assert_int_equal(stat_now().reclaimed, 100);
		assert_int_equal(stat_now().written, 100);
		check(0, 100);
		assert_int_equal(get_mm_counter(as, MM_SWAPENTS), 0);
		down();
	}
}

static void test_pageout_of_large_folios(void **state)
{
	for (unsigned int order = 1; order <= LEAF_ORDER; order++) {
		unsigned long nr = 1ul << order;

		up(TEST_MIB, 4 * LEAF_PAGES + 512, TD_NOW);
		WRITE_ONCE(as->folio_orders, 1u | 1u << order);
		map_anon(0, 2 * LEAF_PAGES);
		fill(0, 2 * nr);
		assert_int_equal(folio_order(folio_at(0)), order);
		/* a part of one is not enough */
		assert_int_equal(pageout(1, nr - 1), 0);
		assert_int_equal(rss_pages(), 2 * nr);
		assert_int_equal(pageout(0, 2 * nr), 0);
		assert_int_equal(rss_pages(), 0);
		check(0, 2 * nr);
		down();
	}
}

/* Neighbours go to slots that are neighbours, in whatever order they were found. */
static void test_neighbours_go_together(void **state)
{
	enum { NR = 20 };
	struct folio *folios[NR];
	unsigned long first;

	up(TEST_MIB, 512, TD_NOW);
	map_anon(0, NR);
	fill(0, NR);
	for (unsigned long i = 0; i < NR; i++) {
		folios[i] = folio_at((i * 7 + 3) % NR);
		folio_get(folios[i]);
	}
	assert_int_equal(reclaim_folios(folios, NR, RECLAIM_ANYWAY), NR);
	first = swp_offset(pte_to_swp_entry(entry(0)));
	for (unsigned long i = 0; i < NR; i++) {
		assert_true(is_out(i));
		assert_int_equal(swp_offset(pte_to_swp_entry(entry(i))), first + i);
	}
	check(0, NR);
	down();
}

static void test_pageout_leaves_what_must_stay(void **state)
{
	struct mm_struct *child;
	struct page *pinned;
	int err;

	up(TEST_MIB, 512, TD_NOW);
	map_anon(0, 16);
	fill(0, 16);
	assert_int_equal(pin_user_pages_fast(as, at(3), 1, FOLL_WRITE, &pinned), 1);
	assert_int_equal(vm_mlock(as, at(5), PAGE_SIZE, 0), 0);
	/* locked memory is refused as a whole */
	assert_int_equal(pageout(0, 16), -EINVAL);
	assert_int_equal(pageout(0, 5), 0);
	assert_int_equal(pageout(6, 10), 0);
	for (unsigned long i = 0; i < 16; i++)
		assert_int_equal(is_out(i), i != 3 && i != 5);
	check(0, 16);
	unpin_user_page(pinned);
	/* what a child has too stays */
	child = mm_fork(as, &err);
	assert_non_null(child);
	assert_int_equal(pageout(8, 4), 0);
	for (unsigned long i = 8; i < 12; i++)
		assert_false(is_out(i));
	mmput(child);
	assert_int_equal(pageout(8, 4), 0);
	for (unsigned long i = 8; i < 12; i++)
		assert_true(is_out(i));
	check(0, 16);
	down();
}

static void test_pageout_without_slots(void **state)
{
	up(TEST_MIB, 0, TD_NOW);
	map_anon(0, 8);
	fill(0, 8);
	assert_int_equal(pageout(0, 8), 0);
	assert_int_equal(rss_pages(), 8);
	check(0, 8);
	down();
	/* some */
	up(TEST_MIB, 5, TD_NOW);
	map_anon(0, 8);
	fill(0, 8);
	assert_int_equal(pageout(0, 8), 0);
	assert_int_equal(rss_pages(), 4);
	assert_true(octavo_validate());
	check(0, 8);
	down();
}

/* A folio for which no run of slots is free goes in pieces. */
static void test_large_folio_goes_in_pieces(void **state)
{
	struct reclaim_stat st;

	up(TEST_MIB, 12, TD_NOW);
	WRITE_ONCE(as->folio_orders, 1u | 1u << 3);
	map_anon(0, 64);
	fill(0, 8);
	assert_int_equal(folio_order(folio_at(0)), 3);
	/* the first aligned run of eight has slot 0 in it, the second is cut off by the end */
	assert_int_equal(pageout(0, 8), 0);
	st = stat_now();
	assert_int_equal(st.reclaimed, 8);
	for (unsigned long i = 0; i < 8; i++)
		assert_true(is_out(i));
	check(0, 8);
	down();
}

static void test_lazily_freed_memory_goes_without_slots(void **state)
{
	up(TEST_MIB, 0, TD_NOW);
	map_anon(0, 16);
	fill(0, 16);
	assert_int_equal(vm_madvise(as, at(0), 16 << PAGE_SHIFT, MADV_FREE), 0);
	/* wanted after all */
	put64(3, 77);
	assert_int_equal(pageout(0, 16), 0);
	assert_int_equal(rss_pages(), 1);
	assert_int_equal(get64(3), 77);
	for (unsigned long i = 0; i < 16; i++)
		if (i != 3)
			assert_int_equal(get64(i), 0);
	assert_true(folio_test_flag(folio_at(3), PG_swapbacked));
	down();
}

/* ---- devices that fail ---- */

static void test_a_write_that_fails_loses_nothing(void **state)
{
	for (enum test_device_mode mode = TD_SYNC; mode <= TD_THREAD; mode++) {
		if (mode == TD_HELD)
			continue;
		up(TEST_MIB, 512, mode);
		map_anon(0, 32);
		fill(0, 32);
		test_device_fail(d, SWAP_WRITE, -EIO, ~0u);
		assert_int_equal(pageout(0, 32), 0);
		assert_true(octavo_validate());
		check(0, 32);
		test_device_fail(d, SWAP_WRITE, -EIO, 3);
		assert_int_equal(pageout(0, 32), 0);
		assert_true(octavo_validate());
		check(0, 32);
		test_device_fail(d, SWAP_WRITE, 0, 0);
		assert_int_equal(pageout(0, 32), 0);
		check(0, 32);
		down();
	}
}

#if OCTAVO_FAULTS
/* Every step of it that can fail fails once: all bytes are there, nothing is lost, and the next time it works. */
COVERS("SX.8");
static void test_pageout_fails_at_every_step(void **state)
{
	u32 hit;

	for (u32 k = 1, more = 1; more; k++) {
		up(OCTAVO_TABLE_BITS == 9 ? 16 : 4, 512, TD_NOW);
		WRITE_ONCE(as->folio_orders, 1u | 1u << 2);
		map_anon(0, 24);
		fill(0, 24);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
		pageout(0, 24);
		hit = octavo_fault_disarm();
		more = hit;
		assert_true(octavo_validate());
		check(0, 24);
		assert_int_equal(pageout(0, 24), 0);
		if (!hit)
			assert_int_equal(rss_pages(), 0);
		check(0, 24);
		down();
	}
}

#endif

/* ---- which ones ---- */

static void test_what_is_used_stays(void **state)
{
	const unsigned long nr = 64;

	up(TEST_MIB, 512, TD_NOW);
	map_anon(0, nr);
	fill(0, nr);
	/* the first look only says when that was */
	assert_int_equal(try_to_free_pages(__GFP_DIRECT_RECLAIM, 0, NUMA_NO_NODE) > 0, 1);
	check(0, nr);
	reclaim_age();
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned long page = 0; page < nr; page += 2) {
			sim_mm_forget(as);
			sim_mm_use(as);
			get64(page);
		}
		reclaim_age();
	}
	/* half of them are old now, and 32 are asked for */
	try_to_free_pages(__GFP_DIRECT_RECLAIM, 0, NUMA_NO_NODE);
	for (unsigned long page = 0; page < nr; page++)
		if (is_out(page))
			assert_int_equal(page % 2, 1);
	assert_true(rss_pages() <= nr - 16);
	check(0, nr);
	down();
}

static void test_cold_goes_first(void **state)
{
	const unsigned long nr = 128;

	up(TEST_MIB, 512, TD_NOW);
	map_anon(0, nr);
	fill(0, nr);
	assert_int_equal(vm_madvise(as, at(32), 32 << PAGE_SHIFT, MADV_COLD), 0);
	try_to_free_pages(__GFP_DIRECT_RECLAIM, 0, NUMA_NO_NODE);
	assert_int_equal(rss_pages(), nr - 32);
	for (unsigned long page = 0; page < nr; page++)
		assert_int_equal(is_out(page), page >= 32 && page < 64);
	check(0, nr);
	down();
}

static void test_what_comes_back_at_once_is_needed(void **state)
{
	up(TEST_MIB, 512, TD_NOW);
	map_anon(0, 4);
	fill(0, 4);
	assert_int_equal(pageout(0, 4), 0);
	check(0, 2);
	assert_int_equal(stat_now().refaults >= 2, 1);
	assert_true(folio_test_flag(folio_at(0), PG_workingset));
	assert_int_equal(READ_ONCE(folio_at(0)->gen), octavo_state.reclaim.root.gen);
	down();
}

/* ---- memory that is too small ---- */

#define SMALL_MIB (OCTAVO_TABLE_BITS == 9 ? 8u : 1u)

static void test_more_than_there_is(void **state)
{
	const unsigned long ram = (unsigned long)SMALL_MIB << 20 >> PAGE_SHIFT, nr = 2 * ram;

	up(SMALL_MIB, 4 * ram, TD_NOW);
	map_flags(0, nr, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	fill(0, nr);
	check(0, nr);
	check(0, nr);
	assert_true(stat_now().direct_runs > 0);
	assert_true(rss_pages() < ram);
	down();
}

static void test_more_than_there_is_in_large_folios(void **state)
{
	const unsigned long ram = (unsigned long)SMALL_MIB << 20 >> PAGE_SHIFT, nr = 2 * ram;

	up(SMALL_MIB, 4 * ram, TD_NOW);
	WRITE_ONCE(as->folio_orders, 1u | 1u << 2 | 1u << 3);
	map_flags(0, nr, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	/* a device that was never used needs memory of its own, and a machine of 256 frames keeps hardly any in reserve */
	fill(0, 1);
	assert_int_equal(pageout(0, 8), 0);
	fill(0, nr);
	check(0, nr);
	down();
}

static void test_no_more_slots_is_out_of_memory(void **state)
{
	const unsigned long ram = (unsigned long)SMALL_MIB << 20 >> PAGE_SHIFT, nr = 2 * ram;
	struct mm_struct *other, *victim;
	unsigned long page = 0;
	vm_fault_t ret = 0;

	up(SMALL_MIB, 64, TD_NOW);
	other = mm_alloc();
	assert_non_null(other);
	map_flags(0, nr, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	while (page < nr && !(ret = sim_store64(at(page), 1000 + page)))
		page++;
	assert_int_equal(ret, VM_FAULT_OOM);
	assert_true(octavo_validate());
	victim = oom_choose();
	assert_ptr_equal(victim, as);
	mmdrop(victim);
	mmput(other);
	/* with some of it gone there is room to bring in what is out */
	page -= 128;
	assert_int_equal(vm_munmap(as, at(page), (nr - page) << PAGE_SHIFT), 0);
	check(0, page);
	down();
}

/* ---- in the background ---- */

struct background {
	unsigned long nr;
	u32 done;
};

static void fill_beside_kswapd(unsigned int cpu, void *arg)
{
	struct background *b = arg;

	if (cpu == 1) {
		kswapd(0);
		return;
	}
	sim_mm_use(as);
	fill(0, b->nr);
	check(0, b->nr);
	sim_mm_forget(as);
	kswapd_stop();
}

static void test_kswapd(void **state)
{
	const unsigned long ram = (unsigned long)SMALL_MIB << 20 >> PAGE_SHIFT;
	struct background b = { .nr = 2 * ram };

	up(SMALL_MIB, 4 * ram, TD_THREAD);
	map_flags(0, b.nr, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	sim_mm_forget(as);
	sim_run(2, false, fill_beside_kswapd, &b);
	/* which of the two was there first is not said */
	assert_true(stat_now().kswapd_runs + stat_now().direct_runs > 0);
	down();
}

/* Two programs that each would fill memory, and a thread in the background. */
static void two_programs(unsigned int cpu, void *arg)
{
	struct background *b = arg;
	unsigned long first = cpu * b->nr;

	if (cpu == 2) {
		kswapd(0);
		return;
	}
	sim_mm_use(as);
	for (unsigned int turn = 0; turn < 2; turn++) {
		fill(first, b->nr);
		check(first, b->nr);
	}
	sim_mm_forget(as);
	/* acq_rel: the last one stops it */
	if (fetch_add_acq_rel(&b->done, 1u) == 1)
		kswapd_stop();
}

static void test_two_programs_and_kswapd(void **state)
{
	const unsigned long ram = (unsigned long)SMALL_MIB << 20 >> PAGE_SHIFT;
	struct background b = { .nr = ram };

	up(SMALL_MIB, 4 * ram, TD_THREAD);
	map_flags(0, 2 * b.nr, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	sim_mm_forget(as);
	sim_run(3, false, two_programs, &b);
	down();
}

static void kswapd_of_no_node(void *arg)
{
	kswapd(OCTAVO_NR_NODES);
}

/* Numbers that nobody has checked. */
static void test_no_such_node_or_order(void **state)
{
	boot_small(TEST_MIB, 2);
	assert_int_equal(reclaim_init(), 0);
	assert_int_equal(try_to_free_pages(GFP_KERNEL, ~0u, 1000), 0);
	assert_int_equal(try_to_free_pages(GFP_KERNEL, 64, -1000), 0);
	shutdown_clean();
	boot_small(TEST_MIB, 2);
	assert_int_equal(reclaim_init(), 0);
	expect_panic(kswapd_of_no_node, NULL, "no node");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pageout_and_back),
		TEST(test_pageout_of_large_folios),
		TEST(test_neighbours_go_together),
		TEST(test_pageout_leaves_what_must_stay),
		TEST(test_pageout_without_slots),
		TEST(test_large_folio_goes_in_pieces),
		TEST(test_lazily_freed_memory_goes_without_slots),
		TEST(test_a_write_that_fails_loses_nothing),
#if OCTAVO_FAULTS
		TEST(test_pageout_fails_at_every_step),
#endif
		TEST(test_what_is_used_stays),
		TEST(test_cold_goes_first),
		TEST(test_what_comes_back_at_once_is_needed),
		TEST(test_more_than_there_is),
		TEST(test_more_than_there_is_in_large_folios),
		TEST(test_no_more_slots_is_out_of_memory),
		TEST(test_kswapd),
		TEST(test_two_programs_and_kswapd),
		TEST(test_no_such_node_or_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
