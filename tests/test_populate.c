// SPDX-License-Identifier: MIT
/*
 * test_populate.c - ranges filled in advance: what is there afterwards, by runs, and where it stops.
 */
#include "fault_machine.h"

static long populate(unsigned long page, unsigned long nr, bool write)
{
	struct vm_area_struct *vma;
	long ret;

	mmap_read_lock(as);
	vma = vma_lookup(as, at(page));
	ret = populate_vma_page_range(vma, at(page), at(page + nr), write);
	mmap_read_unlock(as);
	return ret;
}

static void test_write(void **state)
{
	const unsigned long nr = 2 * LEAF_PAGES + 3;

	space_up();
	map_anon(1, nr + 2);
	assert_int_equal(populate(2, nr, true), nr);
	assert_true(pte_none(entry(1)) && pte_none(entry(nr + 2)));
	for (unsigned long i = 2; i < nr + 2; i++) {
		assert_true(pte_write(entry(i)) && exclusive_in(as, i));
		assert_int_equal(folio_order(folio_at(i)), 0);
		assert_true(all_zero(mem_in(as, i), PAGE_SIZE));
	}
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), nr);
	/* nothing to do */
	assert_int_equal(populate(2, nr, true), nr);
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), nr);
	space_down();
}

static void test_read(void **state)
{
	const unsigned long nr = LEAF_PAGES + 3;

	space_up();
	map_anon(0, nr);
	put64(2, 7);
	assert_int_equal(populate(0, nr, false), nr);
	for (unsigned long i = 0; i < nr; i++)
		assert_true(i == 2 || is_zero_page(i));
	assert_int_equal(get64(2), 7);
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 1);
	/* and now to be written to */
	assert_int_equal(populate(0, nr, true), nr);
	for (unsigned long i = 0; i < nr; i++)
		assert_true(pte_write(entry(i)));
	assert_int_equal(get64(2), 7);
	space_down();
}

COVERS("SX.9");
static void test_orders(void **state)
{
	for (unsigned int order = 1; order <= LEAF_ORDER; order++) {
		const unsigned long nr = 2 * LEAF_PAGES;

		space_up();
		as->folio_orders = 1u << order;
		/* ends in the middle */
		map_anon(1, nr - 2);
		assert_int_equal(populate(1, nr - 2, true), nr - 2);
		for (unsigned long i = 1; i < nr - 1; i++) {
			unsigned long first = i & ~((1ul << order) - 1);
			bool fits = first >= 1 && first + (1ul << order) <= nr - 1;

			assert_int_equal(folio_order(folio_at(i)), fits ? order : 0);
		}
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), nr - 2);
		space_down();
	}
}

static void test_stops(void **state)
{
	pte_t guard = swp_entry_to_pte(swp_entry(SWP_PTE_MARKER, PTE_MARKER_GUARD));
	pte_t bad = swp_entry_to_pte(swp_entry(SWP_HWPOISON, 1));

	space_up();
	map_anon(0, 16);
	force_entry(5, guard);
	force_entry(9, bad);
	assert_int_equal(populate(0, 16, true), 5);
	assert_int_equal(populate(5, 11, true), -EFAULT);
	assert_int_equal(populate(6, 10, false), 3);
	assert_int_equal(populate(9, 2, false), -EHWPOISON);
	assert_int_equal(populate(10, 6, false), 6);
	force_entry(5, __pte(0));
	force_entry(9, __pte(0));
	/* rights */
	map_flags(0, 4, PROT_READ, 0);
	map_flags(4, 4, PROT_NONE, 0);
	assert_int_equal(populate(0, 4, true), -EFAULT);
	assert_int_equal(populate(0, 4, false), 4);
	assert_int_equal(populate(4, 4, false), -EFAULT);
	assert_true(pte_none(entry(4)));
	space_down();
}

#if OCTAVO_FAULTS
COVERS("SX.8");
static void test_no_memory(void **state)
{
	static const u32 kinds = OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB;
	const unsigned long nr = LEAF_PAGES + 5;

	for (int write = 0; write < 2; write++) {
		space_up();
		for_each_fault(k, k & 1 ? OCTAVO_FAULT_ONCE : OCTAVO_FAULT_AFTER, kinds, hit)
		{
			long ret;

			octavo_fault_disarm();
			map_anon(0, nr);
			octavo_fault_arm(k, k & 1 ? OCTAVO_FAULT_ONCE : OCTAVO_FAULT_AFTER, kinds);
			ret = populate(0, nr, write);
			hit = octavo_fault_disarm();
			assert_true(ret == -ENOMEM || (ret > 0 && ret <= (long)nr));
			assert_true(hit || ret == (long)nr);
			for (unsigned long i = 0; ret > 0 && i < (unsigned long)ret; i++)
				assert_true(pte_present(entry(i)));
			assert_true(octavo_validate());
			assert_int_equal(vm_munmap(as, at(0), nr << PAGE_SHIFT), 0);
		}
		space_down();
	}
}
#endif

/* Two CPUs fill the same range: every page once. */
static void fill(unsigned int cpu, void *arg)
{
	const unsigned long *nr = arg;

	if (populate(0, *nr, true) != (long)*nr)
		octavo_panic("populate: too few");
}

static void test_two_cpus(void **state)
{
	unsigned long nr = 4 * LEAF_PAGES;

	for (int i = 0; i < 8; i++) {
		space_up();
		sim_mm_forget(as);
		as->folio_orders = i & 1 ? 1u << LEAF_ORDER | 2 : 1;
		map_anon(0, nr - 1);
		nr--;
		sim_run(2, false, fill, &nr);
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), nr);
		nr++;
		sim_mm_use(as);
		space_down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_write),
		TEST(test_read),
		TEST(test_orders),
		TEST(test_stops),
		TEST(test_two_cpus),
#if OCTAVO_FAULTS
		TEST(test_no_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
