// SPDX-License-Identifier: MIT
/*
 * test_swap_ahead.c - slots that are read before they are needed.
 */
#include <octavo/rwsem.h>

#include "swap_space.h"

/* Tables are large enough for windows to be seen: not in the tiny geometry. */
#define ROOMY (LEAF_PAGES >= 128)

/* Pages in the order of a test, which must be what they were. Return: how many of them waited for the device. */
static u32 touch(unsigned long page)
{
	vm_fault_t ret = mm_fault(as, at(page), 0);

	assert_int_equal(ret & ~VM_FAULT_MAJOR, 0);
	assert_int_equal(get64(page), 100 + page);
	return !!(ret & VM_FAULT_MAJOR);
}

static void check_stat(u64 ahead, u64 hits)
{
	struct swap_stat st = dev_stat();

	assert_true(st.ahead_hits <= st.ahead);
	if (!ROOMY)
		return;
	assert_int_equal(st.ahead, ahead);
	assert_int_equal(st.ahead_hits, hits);
}

static void test_in_order(void **state)
{
	u32 waited = 0;

	swap_up(0);
	map_anon(0, 64);
	fill_out(0, 64);
	for (unsigned long i = 0; i < 64; i++)
		waited += touch(i);
	/* 4, then 8, and then 16 at a time */
	if (ROOMY)
		assert_int_equal(waited, 5);
	assert_int_equal(dev.slots_read, 64);
	check_stat(59, 59);
	swap_dump(dev.type);
	swap_down();
}

static void test_in_reverse(void **state)
{
	u32 waited = 0;

	swap_up(0);
	map_anon(0, 64);
	fill_out(0, 64);
	for (unsigned long i = 64; i--;)
		waited += touch(i);
	if (ROOMY)
		assert_int_equal(waited, 5);
	assert_int_equal(dev.slots_read, 64);
	check_stat(59, 59);
	swap_down();
}

/* Nothing near is used: only what is needed is read. */
static void test_at_random(void **state)
{
	swap_up(0);
	map_anon(0, 128);
	fill_out(0, 128);
	for (unsigned long i = 0; i < 20; i++)
		assert_int_equal(touch(i * 29 % 128), 1);
	assert_int_equal(dev.slots_read, 3 + 20);
	check_stat(3, 0);
	/* from here on in order: the window grows again */
	dev.slots_read = 0;
	for (unsigned long i = 41; i < 45; i++)
		touch(i);
	if (ROOMY)
		/* 39 was the last: 41 with two more, 44 with three, because 46 is there */
		assert_int_equal(dev.slots_read, 3 + 4);
	swap_down();
}

static void test_in_strides(void **state)
{
	swap_up(0);
	map_anon(0, 128);
	fill_out(0, 128);
	for (unsigned long i = 0; i < 128; i += 4)
		touch(i);
	assert_int_equal(dev.slots_read, 3 + 32);
	check_stat(3, 0);
	swap_down();
}

static void test_holes(void **state)
{
	u32 waited = 0;

	swap_up(0);
	map_anon(0, 64);
	fill_out(0, 64);
	for (unsigned long i = 1; i < 64; i += 2)
		assert_int_equal(vm_madvise(as, at(i), PAGE_SIZE, MADV_DONTNEED), 0);
	for (unsigned long i = 0; i < 64; i += 2)
		waited += touch(i);
	assert_int_equal(dev.slots_read, 32);
	if (ROOMY)
		assert_in_range(waited, 2, 8);
	swap_down();
}

/* The window ends where the area does, or another one begins. */
static void test_ends_of_the_area(void **state)
{
	swap_up(0);
	map_anon(0, 32);
	fill_out(0, 32);
	assert_int_equal(vm_mprotect(as, at(10), 10 << PAGE_SHIFT, PROT_READ), 0);
	for (unsigned long i = 10; i < 20; i++)
		touch(i);
	assert_int_equal(dev.slots_read, 10);
	for (unsigned long i = 0; i < 32; i++)
		if (i < 10 || i >= 20)
			assert_true(is_slot(i) && !cached(slot_in(as, i)));
	swap_down();
}

static void test_advice(void **state)
{
	swap_up(0);
	map_anon(0, 32);
	fill_out(0, 32);
	assert_int_equal(vm_madvise(as, at(0), 32 << PAGE_SHIFT, MADV_RANDOM), 0);
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(touch(i), 1);
	assert_int_equal(dev.slots_read, 8);
	assert_int_equal(vm_madvise(as, at(0), 32 << PAGE_SHIFT, MADV_SEQUENTIAL), 0);
	dev.slots_read = 0;
	touch(8);
	/* forward, to the limit or the end of the table */
	assert_int_equal(dev.slots_read, LEAF_PAGES >= 32 ? 17 : 8);
	swap_down();
}

/* What was read ahead for nobody does not keep the device. */
static void test_device_goes(void **state)
{
	swap_up(0);
	map_anon(0, 32);
	fill_out(0, 32);
	touch(9);
	assert_true(dev_stat().cached > 1);
	assert_int_equal(swapoff(dev.type), 0);
	for (unsigned long i = 0; i < 32; i++) {
		assert_int_equal(get64(i), 100 + i);
		assert_false(folio_test_flag(folio_at(i), PG_readahead));
	}
	dev_on(0);
	swap_down();
}

#if OCTAVO_FAULTS
COVERS("SX.8");
static void test_no_memory(void **state)
{
	swap_up(0);
	map_anon(0, 16);
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
	{
		vm_fault_t ret;

		octavo_fault_disarm();
		fill_out(0, 16);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
		ret = mm_fault(as, at(5), 0);
		hit = octavo_fault_disarm();
		assert_true(!(ret & VM_FAULT_ERROR) || (ret & VM_FAULT_OOM && hit));
		assert_true(octavo_validate());
		for (unsigned long i = 0; i < 16; i++)
			assert_int_equal(get64(i), 100 + i);
		assert_int_equal(vm_madvise(as, at(0), 16 << PAGE_SHIFT, MADV_DONTNEED), 0);
		assert_int_equal(dev_stat().used, 0);
	}
	swap_down();
}
#endif

static void test_no_readahead_of_what_is_memory(void **state)
{
	swap_up(SWAP_FLAG_SYNC);
	map_anon(0, 16);
	fill_out(0, 16);
	assert_int_equal(get64(5), 105);
	assert_int_equal(dev.slots_read, 1);
	swap_down();
}

/* What is advised waits until the device has time, and is read without mmap_lock. */
static void no_lock_is_held(struct swap_io *io)
{
	assert_true(down_write_trylock(&as->mmap_lock));
	up_write(&as->mmap_lock);
	dev.before = no_lock_is_held;
}

static void test_willneed_waits_for_the_device(void **state)
{
	const unsigned long nr = 3 * OCTAVO_SWAP_XFERS;

	swap_up(0);
	map_anon(0, nr);
	fill_out(0, nr);
	dev.keep = true;
	dev.before = no_lock_is_held;
	assert_int_equal(vm_madvise(as, at(0), nr << PAGE_SHIFT, MADV_WILLNEED), 0);
	dev.before = NULL;
	assert_int_equal(dev.slots_read, nr);
	assert_int_equal(dev_stat().cached, nr);
	/* the last are on their way */
	assert_non_null(dev.kept);
	assert_int_equal(vm_madvise(as, at(0), nr << PAGE_SHIFT, MADV_WILLNEED), 0);
	for (unsigned long i = 0; i < nr; i++)
		assert_int_equal(get64(i), 100 + i);
	assert_int_equal(dev.slots_read, nr);
	swap_down();
}

/* What is read around a fault waits for nobody: what the fault itself needs is, and the device takes no more then. */
static void test_readahead_waits_for_nobody(void **state)
{
	const unsigned long busy = OCTAVO_SWAP_XFERS - 1, nr = 20 + busy;

	swap_up(0);
	map_anon(0, nr);
	fill_out(0, nr);
	dev.keep = true;
	assert_int_equal(vm_madvise(as, at(20), busy << PAGE_SHIFT, MADV_WILLNEED), 0);
	assert_int_equal(dev.slots_read, busy);
	assert_int_equal(touch(0), 1);
	/* those that there was no time for are nobody's folios */
	assert_int_equal(dev.slots_read, busy + 1);
	for (unsigned long i = 1; i < 20; i++)
		assert_false(cached(slot_in(as, i)));
	assert_true(octavo_validate());
	for (unsigned long i = 1; i < nr; i++)
		assert_int_equal(get64(i), 100 + i);
	assert_int_equal(dev.slots_read, nr);
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
		TEST(test_in_order),
		TEST(test_in_reverse),
		TEST(test_at_random),
		TEST(test_in_strides),
		TEST(test_holes),
		TEST(test_ends_of_the_area),
		TEST(test_advice),
		TEST(test_device_goes),
#if OCTAVO_FAULTS
		TEST(test_no_memory),
#endif
		TEST(test_no_readahead_of_what_is_memory),
		TEST(test_willneed_waits_for_the_device),
		TEST(test_readahead_waits_for_nobody),
		TEST(test_willneed_reads_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
