// SPDX-License-Identifier: MIT
/*
 * test_swap_calls.c - memory calls that meet entries of slots, or pages that the cache of slots has too.
 */
#include "swap_space.h"

#define ORDER 2u
#define NR    (1u << ORDER)

static void test_calls_that_drop(void **state)
{
	swap_up(0);
	map_anon(0, 40);
	fill_out(0, 40);
	assert_int_equal(vm_madvise(as, at(0), 10 << PAGE_SHIFT, MADV_WILLNEED), 0);
	assert_int_equal(vm_madvise(as, at(5), 10 << PAGE_SHIFT, MADV_DONTNEED), 0);
	assert_int_equal(dev_stat().used, 30);
	assert_int_equal(vm_madvise(as, at(0), 5 << PAGE_SHIFT, MADV_FREE), 0);
	assert_int_equal(dev_stat().used, 25);
	assert_int_equal(vm_munmap(as, at(20), 10 << PAGE_SHIFT), 0);
	assert_int_equal(dev_stat().used, 15);
	assert_int_equal(rss(MM_SWAPENTS), 15);
	assert_true(octavo_validate());
	for (unsigned long i = 15; i < 20; i++)
		assert_int_equal(get64(i), 100 + i);
	swap_down();
}

/* The cache keeps nothing for entries that are gone, present ones too. */
static void test_mapped_and_cached_is_dropped(void **state)
{
	swp_entry_t slot;

	swap_up(SWAP_FLAG_SYNC);
	map_anon(0, 8);
	fill_out(0, 8);
	for (unsigned long i = 0; i < 4; i++)
		assert_int_equal(get64(i), 100 + i);
	slot = pte_to_swp_entry(entry(4));
	assert_int_equal(dev_stat().used, 8);
	assert_int_equal(dev_stat().cached, 4);
	assert_int_equal(vm_madvise(as, at(0), PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(dev_stat().used, 7);
	/* a copy leaves it behind as well */
	fork_child();
	assert_int_equal(swap_count(slot), 2);
	put64(1, 7);
	assert_int_equal(dev_stat().used, 7);
	child_put64(1, 8);
	assert_int_equal(dev_stat().used, 6);
	child_put64(2, 8);
	assert_int_equal(dev_stat().used, 6);
	assert_int_equal(vm_munmap(as, at(2), PAGE_SIZE), 0);
	assert_int_equal(dev_stat().used, 5);
	child_ends();
	swap_down();
}

/* Clean and in the cache, or dirty and in the cache: its slot is not wanted any more. */
static void test_free_of_cached(void **state)
{
	swap_up(SWAP_FLAG_SYNC);
	map_anon(0, 4);
	fill_out(0, 2);
	assert_int_equal(get64(0), 100);
	assert_int_equal(get64(1), 101);
	put64(1, 3);
	assert_int_equal(dev_stat().used, 2);
	assert_int_equal(vm_madvise(as, at(0), 2 << PAGE_SHIFT, MADV_FREE), 0);
	assert_int_equal(dev_stat().used, 0);
	for (unsigned long i = 0; i < 2; i++) {
		assert_false(folio_test_flag(folio_at(i), PG_swapbacked));
		assert_false(folio_test_flag(folio_at(i), PG_dirty));
	}
	swap_down();
}

static void test_moved_and_protected(void **state)
{
	swap_up(0);
	map_anon(0, 8);
	fill_out(0, 4);
	assert_int_equal(vm_mprotect(as, at(0), 4 << PAGE_SHIFT, PROT_NONE), 0);
	assert_int_equal(sim_store64(at(0), 1), VM_FAULT_SIGSEGV);
	assert_int_equal(vm_mremap(as, at(0), 4 << PAGE_SHIFT, 4 << PAGE_SHIFT,
				   MREMAP_MAYMOVE | MREMAP_FIXED, at(20)),
			 at(20));
	assert_int_equal(vm_mprotect(as, at(20), 4 << PAGE_SHIFT, PROT_READ), 0);
	assert_int_equal(sim_store64(at(21), 1), VM_FAULT_SIGSEGV);
	assert_int_equal(get64(21), 101);
	assert_int_equal(vm_mprotect(as, at(20), 4 << PAGE_SHIFT, PROT_READ | PROT_WRITE), 0);
	put64(22, 4);
	assert_int_equal(get64(22), 4);
	assert_int_equal(get64(23), 103);
	swap_down();
}

static void test_pins_bring_back(void **state)
{
	struct page *pages[4];

	swap_up(0);
	map_anon(0, 8);
	fill_out(0, 4);
	assert_int_equal(pin_user_pages_fast(as, at(0), 4, FOLL_WRITE, pages), 4);
	for (unsigned long i = 0; i < 4; i++) {
		assert_int_equal(*(u64 *)page_address(pages[i]), 100 + i);
		assert_true(exclusive_in(as, i));
		/* what is pinned stays where it is */
		assert_int_equal(page_out(as, at(i), at(i + 1), at(i)), 1);
		*(u64 *)page_address(pages[i]) = i;
		assert_int_equal(get64(i), i);
		unpin_user_page(pages[i]);
	}
	fill_out(0, 4);
	fork_child();
	/* reading, but exclusively: shared pages are copied for it */
	assert_int_equal(pin_user_pages_fast(as, at(0), 4, 0, pages), 4);
	for (unsigned long i = 0; i < 4; i++) {
		assert_int_equal(*(u64 *)page_address(pages[i]), 100 + i);
		assert_true(exclusive_in(as, i));
		child_put64(i, 55);
		assert_int_equal(*(u64 *)page_address(pages[i]), 100 + i);
		unpin_user_page(pages[i]);
	}
	child_ends();
	fill_out(0, 4);
	assert_int_equal(get_user_pages_remote(as, at(0), 1, FOLL_NOFAULT, pages), -EFAULT);
	assert_int_equal(dev.broken[swp_offset(slot_in(as, 1))], false);
	dev.broken[swp_offset(slot_in(as, 1))] = true;
	assert_int_equal(get_user_pages_remote(as, at(0), 4, 0, pages), 1);
	put_user_page(pages[0]);
	assert_int_equal(get_user_pages_remote(as, at(1), 1, 0, pages), -EFAULT);
	swap_down();
}

static void test_locked_and_populated(void **state)
{
	swap_up(0);
	map_anon(0, 32);
	fill_out(0, 16);
	assert_int_equal(vm_mlock(as, at(0), 8 << PAGE_SHIFT, 0), 0);
	for (unsigned long i = 0; i < 8; i++) {
		assert_true(pte_present(entry(i)) && pte_write(entry(i)));
		assert_true(folio_test_flag(folio_at(i), PG_mlocked));
		/* what stays in memory needs no slot */
		assert_false(folio_test_flag(folio_at(i), PG_swapcache));
	}
	assert_int_equal(vm_madvise(as, at(8), 8 << PAGE_SHIFT, MADV_POPULATE_READ), 0);
	for (unsigned long i = 8; i < 16; i++)
		assert_true(pte_present(entry(i)));
	fill_out(8, 2);
	dev.broken[swp_offset(slot_in(as, 9))] = true;
	assert_int_equal(vm_mlock(as, at(8), 2 << PAGE_SHIFT, 0), -ENOMEM);
	assert_int_equal(vm_madvise(as, at(8), 2 << PAGE_SHIFT, MADV_POPULATE_READ), -EFAULT);
	for (unsigned long i = 0; i < 16; i++)
		if (i != 9)
			assert_int_equal(get64(i), 100 + i);
	swap_down();
}

static void test_collapse_brings_in(void **state)
{
	swap_up(0);
	map_anon(0, 2 * NR);
	fill_out(0, NR);
	assert_int_equal(get64(1), 101);
	assert_true(folio_test_flag(folio_at(1), PG_swapcache));
	assert_int_equal(collapse_range(as, at(0), ORDER, 0), 0);
	assert_int_equal(folio_order(folio_at(0)), ORDER);
	for (unsigned int i = 0; i < NR; i++)
		assert_int_equal(get64(i), 100 + i);
	assert_int_equal(dev_stat().used, 0);
	assert_int_equal(vm_madvise(as, at(0), NR << PAGE_SHIFT, MADV_DONTNEED), 0);
	fill_out(0, NR);
	dev.broken[swp_offset(slot_in(as, 2))] = true;
	assert_int_equal(collapse_range(as, at(0), ORDER, 0), -EINVAL);
	assert_true(is_slot(2));
	assert_int_equal(get64(3), 103);
	swap_down();
}

/* ---- they do not keep mmap_lock while they wait for the device ---- */

static void change_meanwhile(struct swap_io *io)
{
	assert_int_equal(vm_munmap(as, at(30), PAGE_SIZE), 0);
}

static void unmap_meanwhile(struct swap_io *io)
{
	assert_int_equal(vm_munmap(as, at(1), PAGE_SIZE), 0);
}

static long do_gup(void)
{
	struct page *pages[4];
	long n = get_user_pages_remote(as, at(0), 4, 0, pages);

	for (long i = 0; i < n; i++)
		put_user_page(pages[i]);
	return n == 4 ? 0 : n;
}

static long do_lock(void)
{
	return vm_mlock(as, at(0), 4 << PAGE_SHIFT, 0);
}

static long do_populate(void)
{
	return vm_madvise(as, at(0), 4 << PAGE_SHIFT, MADV_POPULATE_WRITE);
}

static long do_collapse(void)
{
	return collapse_range(as, at(0), ORDER, 0);
}

static long do_swapoff(void)
{
	return swapoff(dev.type);
}

COVERS("S2.26");
static void test_others_need_not_wait(void **state)
{
	static const struct {
		long (*call)(void);
		long gone; /* what it says if one of the pages is unmapped meanwhile */
	} cases[] = {
		{ do_gup, 1 },
		{ do_lock, 0 },
		{ do_populate, -ENOMEM },
		{ do_collapse, -EINVAL },
		{ do_swapoff, 0 },
	};

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		bool gone = i & 1;
		long ret;

		swap_up(0);
		map_anon(0, 32);
		fill_out(0, 4);
		dev.before = gone ? unmap_meanwhile : change_meanwhile;
		ret = cases[i / 2].call();
		/* what is unmapped while it is locked: as if it had been locked before */
		if (gone && cases[i / 2].call == do_lock)
			assert_true(!ret || ret == -ENOMEM);
		else
			assert_int_equal(ret, gone ? cases[i / 2].gone : 0);
		if (cases[i / 2].call == do_swapoff)
			dev_on(0);
		assert_true(octavo_validate());
		for (unsigned long p = 0; p < 4; p++)
			if (!gone || p != 1)
				assert_int_equal(get64(p), 100 + p);
		swap_down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_calls_that_drop),    TEST(test_mapped_and_cached_is_dropped),
		TEST(test_free_of_cached),     TEST(test_moved_and_protected),
		TEST(test_pins_bring_back),    TEST(test_locked_and_populated),
		TEST(test_collapse_brings_in), TEST(test_others_need_not_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
