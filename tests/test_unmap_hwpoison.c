/* SPDX-License-Identifier: MIT */
/*
 * test_unmap_hwpoison.c - entries of bad pages say so, and what is not bad goes or stays by its kind.
 */
#include <octavo/hwpoison.h>

#include "unmap_machine.h"

static void poison(struct folio *folio, unsigned long i)
{
	/* as memory_failure() leaves a folio that is in use */
	assert_int_equal(memory_failure(folio_pfn(folio) + i), MF_DELAYED);
	assert_true(folio_test_flag(folio, PG_hwpoison));
}

static void assert_bad(struct vm_area_struct *vma, unsigned long index, const struct folio *folio,
		       unsigned long i)
{
	pte_t e = entry_at(vma, index + i);

	assert_true(pte_is_swap(e) && is_hwpoison_entry(pte_to_swp_entry(e)));
	assert_int_equal(swp_offset(pte_to_swp_entry(e)), folio_pfn(folio) + i);
}

/* In the cache or not, mapped by a leaf or by its pages, pinned or not. */
COVERS("S2.10 S2.34");
static void test_bad_pages_go(void **state)
{
	for (unsigned int how = 0; how < 8; how++) {
		bool in_cache = how & 1, leaf = how & 2, pinned = how & 4;
		unsigned int order = leaf ? level_order(1) : 3;
		unsigned long nr = 1ul << order, bad[2], pfn;
		struct folio *folio;
		unsigned long index;

		um_boot();
		index = um.vma->vm_pgoff + PMD_NR;
		folio = in_cache ? cached(order) : anon(order);
		bad[0] = 2;
		bad[1] = nr - 1;
		pfn = folio_pfn(folio);
		if (!in_cache)
			folio_lock(folio);
		if (leaf)
			hand_map_leaf(folio, um.vma, index);
		else
			hand_map(folio, 0, nr, um.vma, index, hand_pte(folio, 0));
		folio_get(folio);
		for (unsigned int i = 0; i < 2; i++)
			poison(folio, bad[i]);
		if (pinned)
			assert_true(folio_try_pin(folio, 1));
		counters_note();
		assert_int_equal(try_to_unmap(folio, TTU_HWPOISON), in_cache && !pinned);
		for (unsigned long i = 0; i < nr; i++)
			if (i == bad[0] || i == bad[1])
				assert_bad(um.vma, index, folio, i);
			else if (in_cache && !pinned)
				assert_slots(um.vma, index, folio, i, 1, true, __pte(0));
			else
				assert_int_equal(pte_pfn(entry_at(um.vma, index + i)), pfn + i);
		if (in_cache && !pinned)
			assert_counters((long)nr, (long)nr - 2);
		else
			assert_counters(2, 0);
		assert_int_equal(folio_mapcount(folio), in_cache && !pinned ? 0 : nr - 2);
		assert_int_equal(refs_beside_cache(folio), 1 + (u32)folio_mapcount(folio) + pinned);
		if (pinned)
			folio_unpin(folio, 1);
		um_zap(um.vma);
		if (in_cache)
			folio_free_swap(folio);
		folio_unlock(folio);
		folio_put(folio);
		for (unsigned int i = 0; i < 2; i++)
			assert_int_equal(unpoison_memory(pfn + bad[i]), 0);
		um_shutdown();
	}
}

/* Without being asked for, bad pages are as others. */
COVERS("S2.34");
static void test_only_if_asked(void **state)
{
	struct folio *folio;
	unsigned long pfn;

	um_boot();
	folio = cached(2);
	pfn = folio_pfn(folio);
	hand_map(folio, 0, 4, um.vma, um.vma->vm_pgoff, hand_pte(folio, 0));
	folio_get(folio);
	poison(folio, 1);
	assert_true(try_to_unmap(folio, 0));
	assert_slots(um.vma, um.vma->vm_pgoff, folio, 0, 4, true, __pte(0));
	um_zap(um.vma);
	drop(folio);
	assert_int_equal(unpoison_memory(pfn + 1), 0);
	um_shutdown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bad_pages_go),
		TEST(test_only_if_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
