// SPDX-License-Identifier: MIT
/*
 * test_swap_ahead.c - slots that are read before they are needed.
 */
#include "swap_space.h"

static void test_neighbours_are_read(void **state)
{
	swap_up(0);
	map_anon(0, 32);
	fill_out(0, 32);
	assert_int_equal(get64(10), 110);
	assert_int_equal(dev.slots_read, 8);
	for (unsigned long i = 0; i < 32; i++)
		if (i != 10) {
			assert_true(is_slot(i));
			assert_int_equal(cached(slot_in(as, i)), i >= 8 && i < 16);
		}
	/* those do not wait for the device, and are not read twice */
	for (unsigned long i = 8; i < 16; i++)
		assert_int_equal(mm_fault(as, at(i), 0), 0);
	assert_int_equal(dev.slots_read, 8);
	assert_int_equal(vm_madvise(as, at(0), 32 << PAGE_SHIFT, MADV_RANDOM), 0);
	assert_int_equal(get64(20), 120);
	assert_int_equal(dev.slots_read, 9);
	assert_int_equal(vm_madvise(as, at(0), 32 << PAGE_SHIFT, MADV_SEQUENTIAL), 0);
	assert_int_equal(get64(23), 123);
	/* forward, to the end of the area or the table */
	assert_int_equal(dev.slots_read, 9 + (LEAF_PAGES >= 32 ? 9 : 1));
	swap_down();
}

static void test_no_readahead_of_what_is_memory(void **state)
{
	swap_up(SWAP_FLAG_SYNC);
	map_anon(0, 16);
	fill_out(0, 16);
	assert_int_equal(get64(5), 105);
	assert_int_equal(dev.slots_read, 1);
	swap_down();
}

static void test_willneed_reads_all(void **state)
{
	unsigned char vec[100];

	swap_up(SWAP_FLAG_SYNC);
	map_anon(0, 100);
	fill_out(0, 100);
	assert_int_equal(vm_mincore(as, at(0), 100 << PAGE_SHIFT, vec), 0);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(vec[i], 0);
	assert_int_equal(vm_madvise(as, at(1), 98 << PAGE_SHIFT, MADV_WILLNEED), 0);
	assert_int_equal(dev.slots_read, 98);
	assert_int_equal(vm_mincore(as, at(0), 100 << PAGE_SHIFT, vec), 0);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(vec[i], i > 0 && i < 99);
	assert_int_equal(rss(MM_SWAPENTS), 100);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(get64(i), 100 + i);
	assert_int_equal(dev.slots_read, 100);
	swap_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_neighbours_are_read),
		TEST(test_no_readahead_of_what_is_memory),
		TEST(test_willneed_reads_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
