/* SPDX-License-Identifier: MIT */
/*
 * test_migrate_cached.c - folios that have slots are moved and split, mapped or not: the cache has the copy, or the pieces, then.
 */
#include "unmap_machine.h"

static struct picture before, after;

/* Every page of what was @slot is found by its slot, in a live folio, with its number. */
static void assert_cached_pages(swp_entry_t slot, unsigned long nr, const u64 *number)
{
	for (unsigned long i = 0; i < nr; i++) {
		swp_entry_t at = swp_entry(swp_type(slot), swp_offset(slot) + i);
		struct folio *folio = swap_cache_get_folio(at);
		long idx;

		assert_non_null(folio);
		assert_true(folio_trylock(folio));
		idx = swap_cache_index(folio, at);
		assert_true(idx >= 0);
		assert_int_equal(number_of(folio_pfn(folio) + (unsigned long)idx), number[i]);
		assert_int_equal(folio_swap_entry(folio, (unsigned long)idx).v, at.v);
		folio_unlock(folio);
		folio_put(folio);
	}
	assert_true(swap_validate());
}

static void numbers(const struct folio *folio, u64 *number)
{
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		number[i] = number_of(folio_pfn(folio) + i);
}

/* How much of it is mapped by memory, and how much by slots, before it moves. */
enum { UNMAPPED, MAPPED, HALF, NR_HOW };

static struct folio *cached_as(unsigned int order, unsigned long index, unsigned int how)
{
	struct folio *folio = cached(order);
	unsigned long nr = 1ul << order;

	hand_map(folio, 0, nr, um.vma, index, pte_mkdirty(hand_pte(folio, 0)));
	folio_get(folio);
	if (how == MAPPED)
		return folio;
	/* with a pin the exclusive part stays, which is that from the middle on */
	if (how == HALF && nr > 1) {
		folio_clear_anon_exclusive(folio_subrange(folio, 0, nr / 2));
		for (unsigned long i = 0; i < nr / 2; i++) {
			struct pt_pos pos;

			assert_true(pte_offset_lock(um.mm, hand_addr(um.vma, index + i), 0, &pos));
			ptep_set_wrprotect(pos.ptep);
			pte_unlock(&pos);
		}
		assert_true(folio_try_pin(folio, 1));
	}
	assert_int_equal(try_to_unmap(folio, TTU_SINGLE), how == UNMAPPED || nr == 1);
	if (how == HALF && nr > 1)
		folio_unpin(folio, 1);
	return folio;
}

COVERS("S2.18 S2.20");
static void test_migrate(void **state)
{
	um_boot();
	for (unsigned int order = 0; order <= 3; order++)
		for (unsigned int how = 0; how < NR_HOW; how++) {
			unsigned long nr = 1ul << order, index = um.vma->vm_pgoff + PMD_NR - 2;
			struct folio *src = cached_as(order, index, how), *now;
			int mapcount = folio_mapcount(src);
			swp_entry_t slot = folio_swap_entry(src, 0);
			u64 number[8];

			numbers(src, number);
			take(&before, um.vma, index, nr);
			folio_unlock(src);
			counters_note();
			assert_int_equal(migrate_folio(src, NUMA_NO_NODE, GFP_KERNEL), 0);
			assert_counters(0, 0);
			take(&after, um.vma, index, nr);
			assert_same(&before, &after, true);
			assert_false(folio_mapped(src));
			assert_false(folio_test_flag(src, PG_swapcache));
			assert_int_equal(folio_ref_count(src), 1);
			assert_true(folio_validate(src));
			folio_put(src);
			now = swap_cache_get_folio(slot);
			assert_non_null(now);
			assert_int_equal(folio_order(now), order);
			assert_int_equal(folio_mapcount(now), mapcount);
			assert_int_equal(folio_ref_count(now), 1 + nr + (u32)mapcount);
			assert_true(folio_test_flag(now, PG_dirty));
			assert_true(folio_test_flag(now, PG_swapbacked));
			assert_true(folio_test_flag(now, PG_uptodate));
			assert_false(folio_test_locked(now));
			assert_cached_pages(slot, nr, number);
			assert_true(octavo_validate());
			um_zap(um.vma);
			folio_lock(now);
			drop(now);
		}
	um_shutdown();
}

/* Who has it from the cache, or writes it, keeps it where it is. */
COVERS("S2.20");
static void test_refused(void **state)
{
	struct folio *src, *found;
	unsigned long index;

	um_boot();
	index = um.vma->vm_pgoff;
	for (unsigned int how = 0; how < NR_HOW; how++) {
		src = cached_as(2, index, how);
		folio_unlock(src);
		found = swap_cache_get_folio(folio_swap_entry(src, 1));
		assert_ptr_equal(found, src);
		take(&before, um.vma, index, 4);
		assert_int_equal(migrate_folio(src, NUMA_NO_NODE, GFP_KERNEL), -EAGAIN);
		folio_put(found);
		folio_set_flag(src, PG_writeback);
		assert_int_equal(migrate_folio(src, NUMA_NO_NODE, GFP_NOWAIT), -EAGAIN);
		folio_clear_flag(src, PG_writeback);
		take(&after, um.vma, index, 4);
		assert_same(&before, &after, false);
		assert_int_equal(refs_beside_cache(src), 1 + (u32)folio_mapcount(src));
		assert_true(octavo_validate());
		um_zap(um.vma);
		folio_lock(src);
		drop(src);
	}
	um_shutdown();
}

/* Writeback that is under way is waited for. */
static void test_waits_for_writeback(void **state)
{
	struct folio *src;

	um_boot();
	um.dev->mode = TD_NOW;
	src = cached_as(2, um.vma->vm_pgoff, MAPPED);
	assert_int_equal(swap_writeout(src), 0);
	assert_int_equal(migrate_folio(src, NUMA_NO_NODE, GFP_KERNEL), 0);
	assert_int_equal(um.dev->writes, 4);
	folio_put(src);
	src = mapped_at(um.vma, um.vma->vm_pgoff);
	assert_true(folio_test_flag(src, PG_swapcache));
	folio_get(src);
	um_zap(um.vma);
	folio_lock(src);
	drop(src);
	um_shutdown();
}

COVERS("S2.20 SX.5");
static void test_split(void **state)
{
	um_boot();
	for (unsigned int new_order = 0; new_order < 3; new_order++)
		for (unsigned int how = 0; how < NR_HOW; how++)
			for (unsigned int out = 0; out < 2; out++) {
				unsigned long index = um.vma->vm_pgoff + PMD_NR - 3, pfn;
				struct folio *folio = cached_as(3, index, how);
				swp_entry_t slot = folio_swap_entry(folio, 0);
				struct page *page = folio_page(folio, 5);
				u64 number[8];

				pfn = folio_pfn(folio);
				numbers(folio, number);
				take(&before, um.vma, index, 8);
				/* one reference too many, then none */
				folio_get(folio);
				assert_int_equal(
					split_folio_mapped(folio, new_order, out ? page : NULL),
					-EBUSY);
				folio_put(folio);
				take(&after, um.vma, index, 8);
				assert_same(&before, &after, false);
				assert_int_equal(
					split_folio_mapped(folio, new_order, out ? page : NULL), 0);
				take(&after, um.vma, index, 8);
				assert_same(&before, &after, false);
				folio_unlock(folio);
				folio_put(folio);
				assert_cached_pages(slot, 8, number);
				assert_int_equal(folio_order(page_folio(page)), new_order);
				assert_true(octavo_validate());
				um_zap(um.vma);
				for (unsigned long i = 0; i < 8; i++) {
					folio = page_folio(pfn_to_page(pfn + i));
					if (!folio || folio_pfn(folio) != pfn + i)
						continue;
					folio_get(folio);
					folio_lock(folio);
					drop(folio);
				}
			}
	um_shutdown();
}

#if OCTAVO_FAULTS
/* The k-th step fails: as it was, and found by its slots; or moved all the same. */
COVERS("S2.20 S2.28 SX.8");
static void test_migrate_fails_at_every_step(void **state)
{
	unsigned long failed = 0, done = 0;

	um_boot();
	for (unsigned int how = 0; how < NR_HOW; how++)
		for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL, hit)
		{
			unsigned long index = um.vma->vm_pgoff + PMD_NR - 1;
			struct folio *src, *now;
			swp_entry_t slot;
			u64 number[4];
			int err;

			octavo_fault_disarm();
			src = cached_as(2, index, how);
			slot = folio_swap_entry(src, 0);
			numbers(src, number);
			take(&before, um.vma, index, 4);
			folio_unlock(src);
			octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
			err = migrate_folio(src, NUMA_NO_NODE, GFP_KERNEL);
			hit = octavo_fault_disarm();
			take(&after, um.vma, index, 4);
			assert_same(&before, &after, !err);
			assert_cached_pages(slot, 4, number);
			assert_true(octavo_validate());
			now = swap_cache_get_folio(slot);
			assert_int_equal(now == src, err != 0);
			assert_int_equal(folio_ref_count(now),
					 1 + 4 + (u32)folio_mapcount(now) + (err != 0));
			folio_put(src);
			if (err)
				failed++;
			else
				done++;
			um_zap(um.vma);
			folio_lock(now);
			drop(now);
		}
	assert_true(failed >= 6 && done >= 3);
	um_shutdown();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_migrate),
		TEST(test_refused),
		TEST(test_waits_for_writeback),
		TEST(test_split),
#if OCTAVO_FAULTS
		TEST(test_migrate_fails_at_every_step),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
