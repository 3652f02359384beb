// SPDX-License-Identifier: MIT
/*
 * test_split_leaf.c - the pages of a leaf mapped one by one: counts, references, exclusivity, contents.
 */
#include "fault_machine.h"

static void leaf_up(void)
{
	space_up();
	as->folio_orders = 1u << LEAF_ORDER;
	map_anon(0, 2 * LEAF_PAGES);
	for (unsigned long i = 0; i < LEAF_PAGES; i++)
		put64(i, i + 1);
	assert_true(is_leaf(0));
}

static int split(unsigned long page)
{
	int err;

	mmap_read_lock(as);
	err = split_leaf(vma_lookup(as, at(page)), at(page));
	mmap_read_unlock(as);
	return err;
}

static void expect_ptes(const struct folio *folio, bool exclusive)
{
	assert_int_equal(folio_mapcount(folio), LEAF_PAGES);
	assert_int_equal(folio_entire_mapcount(folio), 0);
	for (unsigned long i = 0; i < LEAF_PAGES; i++) {
		assert_int_equal(pos_in(as, i).level, 0);
		assert_int_equal(pfn_in(as, i), folio_pfn(folio) + i);
		assert_int_equal(exclusive_in(as, i), exclusive);
		assert_int_equal(get64(i), i + 1);
	}
}

COVERS("S2.3 S2.31 S0.25");
static void test_exclusive(void **state)
{
	struct folio *folio;
	pte_t leaf;

	leaf_up();
	folio = folio_at(0);
	leaf = entry(0);
	assert_int_equal(folio_mapcount(folio), 1);
	assert_int_equal(folio_entire_mapcount(folio), 1);
	assert_int_equal(split(LEAF_PAGES - 1), 0);
	expect_ptes(folio, true);
	assert_int_equal(folio_ref_count(folio), LEAF_PAGES);
	assert_true(pte_write(entry(3)) && pte_dirty(entry(3)));
	assert_int_equal(pte_pgprot(entry(3)).v, pte_pgprot(pte_mksmaller(leaf, 0)).v);
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), LEAF_PAGES);
	/* nothing to split, here and where nothing is */
	assert_int_equal(split(0), 0);
	assert_int_equal(split(LEAF_PAGES), 0);
	expect_ptes(folio, true);
	put64(5, 6);
	space_down();
}

/* Shared ones stay shared, all of them. */
COVERS("S2.3 S2.30");
static void test_shared(void **state)
{
	struct folio *folio;
	struct pt_pos pos;

	leaf_up();
	folio = folio_at(0);
	pos = pos_in(as, 0);
	spin_lock(&pos.pt->ptl);
	ptep_set_wrprotect(pos.ptep);
	folio_clear_anon_exclusive(folio_subrange(folio, 0, 1));
	flush_tlb_range(as, at(0), at(LEAF_PAGES), MAX_LEAF_LEVEL);
	spin_unlock(&pos.pt->ptl);
	assert_int_equal(split(2), 0);
	expect_ptes(folio, false);
	assert_false(pte_write(entry(2)));
	space_down();
}

/* Somebody's references and pins are not in the way, and are still theirs. */
COVERS("S2.29");
static void test_pinned(void **state)
{
	struct folio *folio;

	leaf_up();
	folio = folio_at(0);
	assert_true(folio_try_pin(folio, 1));
	assert_int_equal(split(2), 0);
	expect_ptes(folio, true);
	assert_int_equal(folio_ref_count(folio), LEAF_PAGES + 1);
	assert_true(folio_maybe_dma_pinned(folio));
	folio_unpin(folio, 1);
	space_down();
}

#if OCTAVO_FAULTS
COVERS("SX.8");
static void test_no_memory(void **state)
{
	leaf_up();
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
	{
		int err = split(1);

		hit = octavo_fault_disarm();
		assert_int_equal(err, hit ? -ENOMEM : 0);
		assert_int_equal(is_leaf(1), hit);
		assert_true(octavo_validate());
	}
	space_down();
}
#endif

/* Splitting by one CPU while another uses the memory, and two at once. */
static void user(unsigned int cpu, void *arg)
{
	if (cpu) {
		for (unsigned long leaf = 0; leaf < 4; leaf++)
			if (split(leaf * LEAF_PAGES))
				octavo_panic("no memory");
		return;
	}
	sim_mm_use(as);
	for (unsigned long i = 0; i < 4 * LEAF_PAGES; i++)
		if (sim_add64(at(i), 1, NULL))
			octavo_panic("page %lu is not there", i);
	sim_mm_forget(as);
}

static void test_two_cpus(void **state)
{
	space_up();
	as->folio_orders = 1u << LEAF_ORDER;
	map_anon(0, 4 * LEAF_PAGES);
	for (unsigned long i = 0; i < 4 * LEAF_PAGES; i++)
		put64(i, i);
	sim_mm_forget(as);
	sim_run(2, false, user, NULL);
	sim_mm_use(as);
	for (unsigned long i = 0; i < 4 * LEAF_PAGES; i++)
		assert_int_equal(get64(i), i + 1);
	assert_false(is_leaf(0));
	space_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_exclusive),
		TEST(test_shared),
		TEST(test_pinned),
		TEST(test_two_cpus),
#if OCTAVO_FAULTS
		TEST(test_no_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
