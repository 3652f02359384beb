// SPDX-License-Identifier: MIT
/*
 * test_collapse.c - many small folios become a large one, or nothing changes.
 */
#include "fault_machine.h"

#define SMALL_ORDER 2u

/* Small folios in pages 0 to @nr - 1, each with its number. */
static void small_up(unsigned long nr)
{
	space_up();
	map_anon(0, 2 * LEAF_PAGES);
	for (unsigned long i = 0; i < nr; i++)
		put64(i, i + 1);
}

static void expect_contents(unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		assert_int_equal(get64(i), i + 1);
}

/* What must be as before after a failure. */
struct before {
	pte_t e[1u << OCTAVO_TABLE_BITS];
	unsigned long rss, free;
	u32 refs;
};

static void remember(struct before *b)
{
	for (unsigned long i = 0; i < LEAF_PAGES; i++)
		b->e[i] = entry(i);
	b->rss = get_mm_rss(as);
	b->refs = folio_ref_count(folio_at(1));
}

static void expect_before(const struct before *b)
{
	for (unsigned long i = 0; i < LEAF_PAGES; i++)
		assert_true(pte_same(b->e[i], entry(i)));
	assert_int_equal(b->rss, get_mm_rss(as));
	assert_int_equal(b->refs, folio_ref_count(folio_at(1)));
	assert_false(folio_test_locked(folio_at(1)));
	assert_true(octavo_validate());
}

COVERS("SX.9");
static void test_every_order(void **state)
{
	for (unsigned int order = 1; order <= LEAF_ORDER; order++) {
		unsigned long nr = 1ul << order, bytes;
		struct folio *folio;

		small_up(LEAF_PAGES);
		bytes = as->pgtables_bytes;
		assert_int_equal(collapse_range(as, at(0), order, 0), 0);
		folio = folio_at(0);
		assert_int_equal(folio_order(folio), order);
		assert_int_equal(is_leaf(0), order == LEAF_ORDER);
		assert_int_equal(folio_mapcount(folio), order == LEAF_ORDER ? 1 : nr);
		assert_int_equal(folio_ref_count(folio), folio_mapcount(folio));
		assert_true(exclusive_in(as, 0));
		assert_int_equal(as->pgtables_bytes,
				 order == LEAF_ORDER ? bytes - PAGE_SIZE : bytes);
		for (unsigned long i = 0; i < nr; i++)
			assert_ptr_equal(folio_at(i), folio);
		expect_contents(LEAF_PAGES);
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), LEAF_PAGES);
		assert_int_equal(collapse_range(as, at(0), order, 0), -EEXIST);
		put64(nr - 1, 77);
		assert_int_equal(get64(nr - 1), 77);
		space_down();
	}
}

static void test_holes(void **state)
{
	const unsigned long nr = 1ul << SMALL_ORDER;

	small_up(1);
	assert_int_equal(get64(2), 0);
	assert_true(is_zero_page(2));
	/* two are none, one is the zero page */
	assert_int_equal(collapse_range(as, at(0), SMALL_ORDER, nr - 2), -EINVAL);
	assert_true(is_zero_page(2) && pte_none(entry(1)));
	assert_int_equal(collapse_range(as, at(0), SMALL_ORDER, nr - 1), 0);
	assert_int_equal(folio_order(folio_at(3)), SMALL_ORDER);
	assert_int_equal(get64(0), 1);
	for (unsigned long i = 1; i < nr; i++)
		assert_true(all_zero(mem_in(as, i), PAGE_SIZE));
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), nr);
	/* no table at all */
	assert_int_equal(collapse_range(as, at(LEAF_PAGES), SMALL_ORDER, nr), -EINVAL);
	space_down();
}

static void test_bad_arguments(void **state)
{
	struct before b;

	small_up(LEAF_PAGES);
	remember(&b);
	assert_int_equal(collapse_range(as, at(0), 0, 0), -EINVAL);
	assert_int_equal(collapse_range(as, at(0), LEAF_ORDER + 1, 0), -EINVAL);
	assert_int_equal(collapse_range(as, at(1), 1, 0), -EINVAL);
	assert_int_equal(collapse_range(as, at(0) + 1, 1, 0), -EINVAL);
	assert_int_equal(collapse_range(as, at(4 * LEAF_PAGES), 1, 2), -EINVAL);
	assert_int_equal(collapse_range(as, ~0ul << 20, 1, 2), -EINVAL);
	/* reaches over the end of the area */
	assert_int_equal(vm_munmap(as, at(LEAF_PAGES - 1), PAGE_SIZE), 0);
	assert_int_equal(collapse_range(as, at(0), LEAF_ORDER, LEAF_PAGES), -EINVAL);
	map_anon(LEAF_PAGES - 1, 1);
	put64(LEAF_PAGES - 1, LEAF_PAGES);
	expect_contents(LEAF_PAGES);
	space_down();
}

/* Whoever has a reference may be writing: nothing is moved, and he goes on. */
COVERS("S2.29 SX.7");
static void test_referenced(void **state)
{
	for (unsigned int order = 1; order <= LEAF_ORDER; order++) {
		struct folio *folio;
		struct before b;
		pte_t other;

		small_up(LEAF_PAGES);
		folio = folio_at(1);
		folio_get(folio);
		remember(&b);
		assert_int_equal(collapse_range(as, at(0), order, 0), -EBUSY);
		expect_before(&b);
		folio_put(folio);
		assert_true(folio_try_pin(folio, 1));
		remember(&b);
		assert_int_equal(collapse_range(as, at(0), order, 0), -EBUSY);
		expect_before(&b);
		folio_unpin(folio, 1);
		assert_true(folio_trylock(folio));
		remember(&b);
		assert_int_equal(collapse_range(as, at(0), order, 0), -EBUSY);
		folio_unlock(folio);
		expect_before(&b);
		other = swp_entry_to_pte(swp_entry(SWP_PTE_MARKER, PTE_MARKER_GUARD));
		assert_int_equal(vm_munmap(as, at(1), PAGE_SIZE), 0);
		map_anon(1, 1);
		force_entry(1, other);
		assert_int_equal(collapse_range(as, at(0), order, 1), -EINVAL);
		force_entry(1, __pte(0));
		assert_int_equal(collapse_range(as, at(0), order, 1), 0);
		space_down();
	}
}

/* Larger ones already, of several orders, become one. */
static void test_of_large_ones(void **state)
{
	space_up();
	as->folio_orders = 1u << 1 | 1u << 2;
	map_anon(1, 2 * LEAF_PAGES - 1);
	for (unsigned long i = 1; i < LEAF_PAGES; i++)
		put64(i, i + 1);
	assert_int_equal(folio_order(folio_at(1)), 0);
	assert_int_equal(folio_order(folio_at(2)), 1);
	assert_int_equal(folio_order(folio_at(4)), 2);
	map_anon(0, 1);
	put64(0, 1);
	assert_true(area(0) == area(1));
	assert_int_equal(collapse_range(as, at(0), LEAF_ORDER, 0), 0);
	assert_true(is_leaf(0));
	expect_contents(LEAF_PAGES);
	/* part of something larger: is one already, or has mappings elsewhere */
	mmap_read_lock(as);
	assert_int_equal(split_leaf(area(0), at(0)), 0);
	mmap_read_unlock(as);
	assert_int_equal(collapse_range(as, at(0), 1, 0), -EEXIST);
	assert_int_equal(collapse_range(as, at(0), LEAF_ORDER, 0), -EEXIST);
	expect_contents(LEAF_PAGES);
	space_down();
}

#if OCTAVO_FAULTS
COVERS("SX.8");
static void test_failures(void **state)
{
	static const u32 kinds =
		OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB | OCTAVO_FAULT_CAS | OCTAVO_FAULT_TRYLOCK;

	for (unsigned int order = 1; order <= LEAF_ORDER; order += LEAF_ORDER - 1) {
		struct before b;

		small_up(LEAF_PAGES);
		remember(&b);
		for_each_fault(k, OCTAVO_FAULT_ONCE, kinds, hit)
		{
			int err = collapse_range(as, at(0), order, 0);

			hit = octavo_fault_disarm();
			assert_true(err == 0 || (hit && (err == -ENOMEM || err == -EBUSY)));
			if (!err)
				break;
			expect_before(&b);
			expect_contents(LEAF_PAGES);
		}
		expect_contents(LEAF_PAGES);
		space_down();
	}
}
#endif

/* One CPU counts in the pages, the other collapses and splits them. */
static void adder(unsigned long turns)
{
	sim_mm_use(as);
	for (unsigned long n = 0; n < turns; n++)
		for (unsigned long i = 0; i < 2 * LEAF_PAGES; i++)
			if (sim_add64(at(i), 1, NULL))
				octavo_panic("page %lu is not there", i);
	sim_mm_forget(as);
}

static void collapser(unsigned long turns)
{
	for (unsigned long n = 0; n < turns; n++)
		for (unsigned long i = 0; i < 2; i++) {
			unsigned int order = 1 + n % LEAF_ORDER;
			int err = collapse_range(as, at(i * LEAF_PAGES), order, LEAF_PAGES);

			if (err && err != -EBUSY && err != -EEXIST && err != -EINVAL)
				octavo_panic("collapse_range() is %d", err);
			if (n % 3)
				continue;
			mmap_read_lock(as);
			if (split_leaf(vma_lookup(as, at(i * LEAF_PAGES)), at(i * LEAF_PAGES)))
				octavo_panic("no memory");
			mmap_read_unlock(as);
		}
}

static void add_or_collapse(unsigned int cpu, void *arg)
{
	const unsigned long *turns = arg;

	if (cpu)
		collapser(*turns);
	else
		adder(*turns);
}

static void test_two_cpus(void **state)
{
	unsigned long turns = OCTAVO_TABLE_BITS == 9 ? 30 : 300;

	small_up(0);
	sim_mm_forget(as);
	sim_run(2, false, add_or_collapse, &turns);
	sim_mm_use(as);
	for (unsigned long i = 0; i < 2 * LEAF_PAGES; i++)
		assert_int_equal(get64(i), turns);
	space_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_order),
		TEST(test_holes),
		TEST(test_bad_arguments),
		TEST(test_referenced),
		TEST(test_of_large_ones),
		TEST(test_two_cpus),
#if OCTAVO_FAULTS
		TEST(test_failures),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
