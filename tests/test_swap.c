// SPDX-License-Identifier: MIT
/*
 * test_swap.c - counts of slots and the cache, without page tables: what swap.h says, one call after the other.
 */
#include "swap_machine.h"

#define COUNT_MAX ((1u << 19) - 1)

static struct test_device *d;

static void up(enum test_device_mode mode)
{
	swap_boot();
	d = test_device_on(4 * CLUSTER, 0, mode);
}

static void down(void)
{
	assert_true(octavo_validate());
	assert_int_equal(stat_of(-1).used, 0);
	test_device_off(d);
	shutdown_clean();
}

static const enum test_device_mode modes[] = { TD_SYNC, TD_NOW, TD_POLLED, TD_THREAD };

COVERS("S2.26");
static void test_out_and_in_by_every_order_and_device(void **state)
{
	for (unsigned int m = 0; m < ARRAY_SIZE(modes); m++) {
		up(modes[m]);
		for (unsigned int order = 0; order <= SWAP_MAX_ORDER; order++) {
			swp_entry_t entry = swap_out(make(order, 100 * order));
			unsigned long nr = 1ul << order;
			struct folio *folio;

			assert_true(IS_ALIGNED(swp_offset(entry), nr));
			assert_int_equal(stat_of(d->type).slots, 4 * CLUSTER - 1);
			assert_int_equal(stat_of(d->type).used, nr);
			assert_int_equal(stat_of(d->type).cached, 0);
			assert_int_equal(swap_count(entry), 1);
			assert_int_equal(swap_shadow(entry), SHADOW);
			assert_null(swap_cache_get_folio(entry));
			folio = swap_in(entry, order);
			assert_true(has_contents(folio, 100 * order));
			assert_true(folio_test_flag(folio, PG_swapbacked));
			assert_int_equal(folio_ref_count(folio), 1 + nr);
			assert_int_equal(stat_of(d->type).cached, nr);
			assert_ptr_equal(swap_cache_get_folio(entry_at(entry, nr - 1)), folio);
			folio_put(folio);
			assert_true(octavo_validate());
			/* the entries become mappings: the counts go, then the cache */
			folio_put_swap(whole(folio));
			assert_true(folio_free_swap(folio));
			assert_true(folio_test_flag(folio, PG_dirty));
			assert_int_equal(d->discards, 2 * nr - 1);
			drop(folio);
			assert_int_equal(stat_of(-1).used, 0);
			assert_true(octavo_validate());
		}
		down();
	}
}

/* ---- allocation's effect on the folio ---- */

static void test_alloc_and_its_inverse(void **state)
{
	for (unsigned int order = 0; order <= SWAP_MAX_ORDER; order++) {
		u32 nr = 1u << order;
		struct folio *folio;
		swp_entry_t entry;

		up(TD_SYNC);
		folio = make_cached(order, 0, &entry);
		assert_true(folio_test_flag(folio, PG_swapcache));
		assert_true(folio_test_flag(folio, PG_dirty));
		assert_int_equal(folio_ref_count(folio), 1 + nr);
		for (u32 i = 0; i < nr; i++) {
			assert_int_equal(swap_count(entry_at(entry, i)), 0);
			assert_true(swap_entry_valid(entry_at(entry, i)));
			assert_int_equal(swap_cache_index(folio, entry_at(entry, i)), i);
		}
		assert_int_equal(swap_cache_index(folio, entry_at(entry, nr)), -1);
		assert_int_equal(swap_cache_index(folio, entry_at(entry, -1ul)), -1);
		assert_int_equal(swap_cache_index(folio, swp_entry(5, swp_offset(entry))), -1);
		folio_clear_flag(folio, PG_dirty);
		assert_true(folio_free_swap(folio));
		assert_true(folio_test_flag(folio, PG_dirty));
		assert_false(folio_test_flag(folio, PG_swapcache));
		assert_null(folio->private);
		assert_int_equal(folio_ref_count(folio), 1);
		assert_false(swap_entry_valid(entry));
		/* once is enough */
		assert_false(folio_free_swap(folio));
		drop(folio);
		down();
	}
}

/* ---- counts ---- */

COVERS("S2.26 S2.27");
static void test_counts_of_parts_of_a_folio(void **state)
{
	unsigned int order = min(SWAP_MAX_ORDER, 4);
	u32 nr = 1u << order;
	struct folio *folio;
	swp_entry_t entry;

	up(TD_SYNC);
	folio = make_cached(order, 0, &entry);
	for (u32 first = 0; first < nr; first++)
		for (u32 n = 1; first + n <= nr; n++) {
			struct folio_subrange sr = folio_subrange(folio, first, n);

			assert_int_equal(folio_dup_swap(sr), 0);
			assert_int_equal(folio_dup_swap(sr), 0);
			for (u32 i = 0; i < nr; i++)
				assert_int_equal(swap_count(entry_at(entry, i)),
						 i - first < n ? 2 : 0);
			assert_false(folio_free_swap(folio));
			folio_put_swap(sr);
			assert_false(folio_free_swap(folio));
			folio_put_swap(sr);
		}
	assert_true(folio_free_swap(folio));
	drop(folio);
	down();
}

/* One count at its highest stops a run, wherever in it. */
COVERS("S2.27 SX.8");
static void test_dup_is_all_or_nothing(void **state)
{
	unsigned int order = min(SWAP_MAX_ORDER, 3);
	u32 nr = 1u << order;
	struct folio *folio;
	swp_entry_t entry;

	up(TD_SYNC);
	folio = make_cached(order, 0, &entry);
	for (u32 full = 0; full < nr; full += nr - 1) {
		struct folio_subrange one = folio_subrange(folio, full, 1);

		for (u32 i = 0; i < COUNT_MAX; i++)
			assert_int_equal(folio_dup_swap(one), 0);
		assert_int_equal(folio_dup_swap(one), -ENOMEM);
		assert_int_equal(folio_dup_swap(whole(folio)), -ENOMEM);
		assert_int_equal(swap_dup_entries(entry_at(entry, full), 1), -ENOMEM);
		for (u32 i = 0; i < nr; i++)
			assert_int_equal(swap_count(entry_at(entry, i)), i == full ? COUNT_MAX : 0);
		for (u32 i = 0; i < COUNT_MAX; i++)
			folio_put_swap(one);
	}
	assert_true(folio_free_swap(folio));
	drop(folio);
	down();
}

/* Entries of single folios side by side, over the border between two clusters. */
COVERS("S2.27 SX.8");
static void test_dup_entries_across_clusters(void **state)
{
	const u32 nr = 2 * CLUSTER - 1;
	swp_entry_t first, mid;

	up(TD_SYNC);
	first = swap_out(make(0, 0));
	for (u32 i = 1; i < nr; i++)
		assert_int_equal(swp_offset(swap_out(make(0, i))), swp_offset(first) + i);
	assert_int_equal(swp_offset(first), 1);
	assert_int_equal(swap_dup_entries(first, nr), 0);
	for (u32 i = 0; i < nr; i++)
		assert_int_equal(swap_count(entry_at(first, i)), 2);
	/* full in the second cluster: what was done in the first is undone */
	mid = entry_at(first, CLUSTER + 1);
	for (u32 i = 2; i < COUNT_MAX; i++)
		assert_int_equal(swap_dup_entries(mid, 1), 0);
	assert_int_equal(swap_dup_entries(first, nr), -ENOMEM);
	for (u32 i = 0; i < nr; i++)
		assert_int_equal(swap_count(entry_at(first, i)), i == CLUSTER + 1 ? COUNT_MAX : 2);
	put_entries(mid, 1, COUNT_MAX - 2);
	put_entries(first, nr, 1);
	assert_int_equal(stat_of(d->type).used, nr);
	assert_int_equal(d->discards, 0);
	put_entries(first, nr, 1);
	assert_int_equal(d->discards, nr);
	down();
}

static void put_too_many(void *arg)
{
	folio_put_swap(whole(arg));
}

static void free_too_many(void *arg)
{
	swap_free_entries(*(swp_entry_t *)arg, 1);
}

static void dup_of_none(void *arg)
{
	assert_int_equal(swap_dup_entries(*(swp_entry_t *)arg, 1), 0);
}

COVERS("S2.28");
static void test_counts_that_are_not_there_are_fatal(void **state)
{
	void (*const misuse[])(void *) = { put_too_many, free_too_many, dup_of_none };
	const char *const text[] = { "an entry too many is gone", "an entry too many is gone",
				     "an entry was copied" };
	swp_entry_t entry;

	for (unsigned int i = 0; i < ARRAY_SIZE(misuse); i++) {
		struct folio *folio;

		up(TD_SYNC);
		folio = make_cached(1, 0, &entry);
		/* the first has one, the second none */
		assert_int_equal(folio_dup_swap(folio_subrange(folio, 0, 1)), 0);
		entry = entry_at(entry, 1);
		expect_panic(misuse[i], i ? (void *)&entry : folio, text[i]);
		test_device_free(d);
	}
	up(TD_SYNC);
	/* of a cluster that was never used */
	entry = swp_entry(d->type, 2 * CLUSTER + 1);
	expect_panic(free_too_many, &entry, "is none");
	test_device_free(d);
	up(TD_SYNC);
	entry = swp_entry(7, 1);
	expect_panic(free_too_many, &entry, "is none");
	test_device_free(d);
}

/* ---- the last entry of a cached slot ---- */

static void test_free_entries_of_cached_slots(void **state)
{
	unsigned int order = min(SWAP_MAX_ORDER, 2);
	u32 nr = 1u << order;
	struct folio *folio;
	swp_entry_t entry;

	up(TD_SYNC);
	/* not the last of the folio's */
	folio = make_cached(order, 0, &entry);
	assert_int_equal(folio_dup_swap(whole(folio)), 0);
	folio_unlock(folio);
	swap_free_entries(entry, nr - 1);
	assert_true(folio_test_flag(folio, PG_swapcache));
	/* the last */
	swap_free_entries(entry_at(entry, nr - 1), 1);
	assert_false(folio_test_flag(folio, PG_swapcache));
	assert_int_equal(folio_ref_count(folio), 1);
	assert_int_equal(stat_of(-1).used, 0);
	folio_put(folio);

	/* somebody has it locked: it stays, for him to look at */
	folio = make_cached(order, 0, &entry);
	assert_int_equal(folio_dup_swap(whole(folio)), 0);
	swap_free_entries(entry, nr);
	assert_true(folio_test_flag(folio, PG_swapcache));
	assert_int_equal(swap_count(entry), 0);
	assert_true(folio_free_swap(folio));
	/* mapped: the entry's contents may be needed again, and whoever unmaps it looks */
	assert_int_equal(folio_alloc_swap(folio), 0);
	assert_int_equal(folio_dup_swap(whole(folio)), 0);
	entry = folio_swap_entry(folio, 0);
	WRITE_ONCE(folio->mapcount, 1);
	folio_unlock(folio);
	swap_free_entries(entry, nr);
	assert_true(folio_test_flag(folio, PG_swapcache));
	WRITE_ONCE(folio->mapcount, 0);
	folio_lock(folio);
	assert_true(folio_free_swap(folio));
	drop(folio);
	down();
}

/* A run of slots that are of several folios, some cached, some not. */
static void test_free_entries_of_a_mixed_run(void **state)
{
	struct folio *folio[3];
	swp_entry_t entry[3], first;

	up(TD_SYNC);
	first = swap_out(make(0, 0));
	for (unsigned int i = 0; i < 3; i++) {
		folio[i] = make_cached(0, 0, &entry[i]);
		assert_int_equal(folio_dup_swap(whole(folio[i])), 0);
		assert_int_equal(swp_offset(entry[i]), swp_offset(first) + 1 + i);
	}
	assert_int_equal(swap_dup_entries(entry[0], 1), 0);
	folio_unlock(folio[0]);
	folio_unlock(folio[1]);
	swap_free_entries(first, 4);
	assert_int_equal(d->discards, 2);
	assert_int_equal(swap_count(entry[0]), 1);
	assert_true(folio_test_flag(folio[0], PG_swapcache));
	assert_false(folio_test_flag(folio[1], PG_swapcache));
	assert_true(folio_test_flag(folio[2], PG_swapcache));
	assert_true(octavo_validate());
	swap_free_entries(entry[0], 1);
	assert_true(folio_free_swap(folio[2]));
	folio_unlock(folio[2]);
	for (unsigned int i = 0; i < 3; i++)
		folio_put(folio[i]);
	down();
}

/* ---- the cache ---- */

COVERS("SX.8");
static void test_add_is_all_or_nothing(void **state)
{
	unsigned int order = min(SWAP_MAX_ORDER, 3);
	u32 nr = 1u << order;

	for (u32 hole = 0; hole < nr; hole++) {
		struct folio *folio, *other;
		swp_entry_t entry;
		u64 shadows[8] = { 0 };

		up(TD_SYNC);
		entry = swap_out(make(order, 0));
		folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
		folio_lock(folio);
		/* one of them is cached */
		other = swap_in(entry_at(entry, hole), 0);
		assert_int_equal(swap_cache_add(folio, entry, shadows), -EEXIST);
		assert_int_equal(swap_cache_add(folio, entry, NULL), -EEXIST);
		assert_int_equal(stat_of(-1).cached, 1);
		/* one of them is free */
		folio_unlock(other);
		swap_free_entries(entry_at(entry, hole), 1);
		folio_put(other);
		assert_int_equal(swap_cache_add(folio, entry, shadows), -ENOENT);
		assert_int_equal(stat_of(-1).cached, 0);
		assert_int_equal(folio_ref_count(folio), 1);
		assert_false(folio_test_flag(folio, PG_swapcache));
		assert_null(folio->private);
		drop(folio);
		for (u32 i = 0; i < nr; i++)
			if (i != hole)
				swap_free_entries(entry_at(entry, i), 1);
		down();
	}
}

static void test_add_of_what_is_not_there(void **state)
{
	struct folio *folio;

	up(TD_SYNC);
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	folio_lock(folio);
	assert_int_equal(swap_cache_add(folio, swp_entry(d->type, 1), NULL), -ENOENT);
	assert_int_equal(swap_cache_add(folio, swp_entry(d->type, 4 * CLUSTER), NULL), -ENOENT);
	assert_int_equal(swap_cache_add(folio, swp_entry(d->type, 1ul << 45), NULL), -ENOENT);
	assert_int_equal(swap_cache_add(folio, swp_entry(MAX_SWAPFILES - 1, 1), NULL), -ENOENT);
	assert_int_equal(swap_cache_add(folio, swp_entry(SWP_PTE_MARKER, 1), NULL), -ENOENT);
	assert_null(swap_cache_get_folio(swp_entry(d->type, 1)));
	assert_null(swap_cache_get_folio(swp_entry(SWP_HWPOISON, 1)));
	assert_false(swap_entry_valid(swp_entry(SWP_MIGRATION_READ, 1)));
	assert_false(swap_entry_valid(swp_entry(d->type, 0)));
	assert_int_equal(swap_uncached_run(swp_entry(SWP_MIGRATION_READ, 1), 5), 0);
	drop(folio);
	down();
}

static void test_del_with_and_without_frozen_count(void **state)
{
	unsigned int order = min(SWAP_MAX_ORDER, 2);
	u32 nr = 1u << order;
	struct folio *folio;
	swp_entry_t entry;

	up(TD_SYNC);
	folio = make_cached(order, 0, &entry);
	assert_int_equal(folio_dup_swap(folio_subrange(folio, 1, 2)), 0);
	/* the caller's reference is one beside the cache's, which go; those without a count are free */
	swap_cache_del(folio, ~0u);
	assert_int_equal(folio_ref_count(folio), 1);
	assert_false(folio_test_flag(folio, PG_swapcache));
	assert_int_equal(stat_of(-1).used, 2);
	assert_int_equal(stat_of(-1).cached, 0);
	assert_int_equal(d->discards, nr - 2);
	assert_int_equal(swap_shadow(entry_at(entry, 1)),
			 (1ul << 40) - (1ul << SWAP_SHADOW_SET_BITS));
	assert_int_equal(swap_count(entry_at(entry, 1)), 1);
	assert_int_equal(swap_shadow(entry), 0);
	assert_true(octavo_validate());
	put_entries(entry_at(entry, 1), 2, 1);
	/* of a frozen one they are the caller's to forget */
	assert_int_equal(folio_alloc_swap(folio), 0);
	entry = folio_swap_entry(folio, 0);
	assert_int_equal(folio_dup_swap(whole(folio)), 0);
	assert_true(folio_ref_freeze(folio, 1 + nr));
	swap_cache_del(folio, 0);
	assert_int_equal(folio_ref_count(folio), 0);
	folio_ref_unfreeze(folio, 1);
	assert_int_equal(swap_shadow(entry), 0);
	put_entries(entry, nr, 1);
	drop(folio);
	down();
}

static void test_replace_for_every_order(void **state)
{
	for (unsigned int order = 0; order <= SWAP_MAX_ORDER; order++) {
		u32 nr = 1u << order;
		struct folio *old, *new, *found;
		swp_entry_t entry;

		up(TD_SYNC);
		old = make_cached(order, 0, &entry);
		new = make(order, 50);
		assert_int_equal(folio_dup_swap(whole(old)), 0);
		assert_true(folio_ref_freeze(old, 1 + nr));
		assert_null(swap_cache_get_folio(entry));
		swap_cache_replace(old, new);
		folio_ref_unfreeze(old, 1);
		assert_false(folio_test_flag(old, PG_swapcache));
		assert_true(folio_test_flag(new, PG_swapcache));
		assert_int_equal(folio_ref_count(new), 1 + nr);
		drop(old);
		for (u32 i = 0; i < nr; i++) {
			found = swap_cache_get_folio(entry_at(entry, i));
			assert_ptr_equal(found, new);
			assert_int_equal(swap_cache_index(found, entry_at(entry, i)), i);
			assert_int_equal(swap_count(entry_at(entry, i)), 1);
			folio_put(found);
		}
		assert_true(octavo_validate());
		folio_put_swap(whole(new));
		assert_true(folio_free_swap(new));
		drop(new);
		down();
	}
}

/* The cache names pages: a split changes nothing in it. */
COVERS("S2.26");
static void test_split_in_the_cache(void **state)
{
	unsigned int order = min(SWAP_MAX_ORDER, 4);
	u32 nr = 1u << order;
	struct folio *folio;
	swp_entry_t entry;
	unsigned long pfn;

	up(TD_SYNC);
	folio = make_cached(order, 7, &entry);
	pfn = folio_pfn(folio);
	assert_int_equal(folio_dup_swap(whole(folio)), 0);
	assert_int_equal(folio_split(folio, 1, nr, GFP_KERNEL), 0);
	assert_true(octavo_validate());
	for (u32 i = 0; i < nr; i++) {
		struct folio *piece = swap_cache_get_folio(entry_at(entry, i));

		assert_non_null(piece);
		assert_int_equal(folio_pfn(piece), pfn + (i & ~1u));
		assert_int_equal(swap_cache_index(piece, entry_at(entry, i)), i & 1);
		folio_put(piece);
	}
	for (u32 i = 0; i < nr; i += 2) {
		struct folio *piece = page_folio(pfn_to_page(pfn + i));

		assert_int_equal(swap_writeout(piece), 0);
		folio_lock(piece);
		forget(piece);
	}
	/* in again in one piece */
	folio = swap_in(entry, order);
	assert_true(has_contents(folio, 7));
	folio_put_swap(whole(folio));
	assert_true(folio_free_swap(folio));
	drop(folio);
	down();
}

#if OCTAVO_FAULTS
/*
 * What may be refused is: references, locks, weak compare-and-swaps. Then a look-up says NULL, and what could
 * not be freed stays in the cache, for its holder to free.
 */
COVERS("SX.8");
static void test_refusals_at_every_step(void **state)
{
	const u32 kinds = OCTAVO_FAULT_TRYGET | OCTAVO_FAULT_TRYLOCK | OCTAVO_FAULT_CAS;
	unsigned int missed = 0, stayed = 0;

	for_each_fault(k, OCTAVO_FAULT_ONCE, kinds, hit)
	{
		struct folio *folio, *found;
		swp_entry_t entry;

		octavo_fault_disarm();
		up(TD_SYNC);
		folio = make_cached(0, 0, &entry);
		assert_int_equal(folio_dup_swap(whole(folio)), 0);
		folio_unlock(folio);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, kinds);
		found = swap_cache_get_folio(entry);
		if (found)
			folio_put(found);
		else
			missed++;
		swap_free_entries(entry, 1);
		hit = octavo_fault_disarm();
		assert_true(!found || found == folio);
		assert_true(octavo_validate());
		if (folio_test_flag(folio, PG_swapcache)) {
			stayed++;
			assert_true(hit);
			folio_lock(folio);
			assert_true(folio_free_swap(folio));
			folio_unlock(folio);
		}
		assert_int_equal(folio_ref_count(folio), 1);
		folio_put(folio);
		down();
	}
	/* a look-up tries again */
	assert_int_equal(missed, 0);
	assert_true(stayed > 0);
}

/* All are refused from some step on: nothing waits for ever. */
COVERS("SX.8");
static void test_refusals_from_every_step_on(void **state)
{
	const u32 kinds = OCTAVO_FAULT_TRYGET | OCTAVO_FAULT_TRYLOCK;
	unsigned int missed = 0;

	for_each_fault(k, OCTAVO_FAULT_AFTER, kinds, hit)
	{
		struct folio *folio, *found;
		swp_entry_t entry;

		octavo_fault_disarm();
		up(TD_SYNC);
		folio = make_cached(0, 0, &entry);
		assert_int_equal(folio_dup_swap(whole(folio)), 0);
		folio_unlock(folio);
		octavo_fault_arm(k, OCTAVO_FAULT_AFTER, kinds);
		found = swap_cache_get_folio(entry);
		missed += !found;
		if (found)
			folio_put(found);
		swap_free_entries(entry, 1);
		hit = octavo_fault_disarm();
		folio_lock(folio);
		assert_int_equal(folio_free_swap(folio), hit != 0);
		drop(folio);
		down();
	}
	assert_true(missed > 0);
}
#endif

/* ---- finding ---- */

static void test_uncached_run_and_next_used(void **state)
{
	unsigned int order = min(SWAP_MAX_ORDER, 3);
	swp_entry_t entry, far;
	struct folio *folio;
	u32 nr = 1u << order;

	up(TD_SYNC);
	assert_int_equal(swap_next_used(d->type, 0), ~0ul);
	assert_int_equal(swap_next_used(7, 0), ~0ul);
	assert_int_equal(swap_next_used(-1, 0), ~0ul);
	entry = swap_out(make(order, 0));
	assert_int_equal(swap_next_used(d->type, 0), swp_offset(entry));
	assert_int_equal(swap_uncached_run(entry, 100000), nr);
	assert_int_equal(swap_uncached_run(entry, 1), 1);
	assert_int_equal(swap_uncached_run(entry_at(entry, 1), nr), nr - 1);
	folio = swap_in(entry_at(entry, 2), 0);
	assert_int_equal(swap_uncached_run(entry, nr), 2);
	assert_int_equal(swap_uncached_run(entry_at(entry, 2), nr), 0);
	folio_unlock(folio);
	swap_free_entries(entry_at(entry, 2), 1);
	folio_put(folio);
	assert_int_equal(swap_uncached_run(entry, nr), 2);
	assert_int_equal(swap_next_used(d->type, swp_offset(entry) + 2), swp_offset(entry) + 3);
	/* never beyond the cluster */
	far = swap_out(make(SWAP_MAX_ORDER, 0));
	assert_int_equal(swap_uncached_run(far, 100000), CLUSTER);
	assert_int_equal(swap_next_used(d->type, swp_offset(entry) + nr), swp_offset(far));
	assert_int_equal(swap_next_used(d->type, swp_offset(far) + CLUSTER), ~0ul);
	assert_int_equal(swap_next_used(d->type, ~0ul), ~0ul);
	put_entries(entry, 2, 1);
	put_entries(entry_at(entry, 3), nr - 3, 1);
	put_entries(far, CLUSTER, 1);
	down();
}

static unsigned int lines;

static void count_lines(enum octavo_log_level level, const char *line)
{
	lines += level == OCTAVO_LOG_DUMP;
}

static void test_dump_says_something_of_every_cluster_in_use(void **state)
{
	swp_entry_t entry;

	up(TD_SYNC);
	entry = swap_out(make(SWAP_MAX_ORDER, 0));
	lines = 0;
	sim_log_to(count_lines);
	swap_dump(-1);
	/* the device, its first cluster for slot 0, and the one in use */
	assert_int_equal(lines, 3);
	swap_dump(d->type + 1);
	assert_int_equal(lines, 3);
	sim_log_to(NULL);
	put_entries(entry, CLUSTER, 1);
	down();
}

/* ---- memory is short ---- */

enum { GIVE_ORDERS = 4, GIVE_EACH = 8 };

static struct {
	unsigned long pfn[GIVE_ORDERS][GIVE_EACH];
	u32 nr[GIVE_ORDERS], asked;
} give;

/* What is asked for and not a frame more. */
static u64 gives(gfp_t gfp, unsigned int order, int nid)
{
	give.asked++;
	if (order >= GIVE_ORDERS || !give.nr[order])
		return 0;
	frame_free(give.pfn[order][--give.nr[order]], order);
	return 1ull << order;
}

static const struct octavo_hooks giving = { .direct_reclaim = gives };

/* No frame is free at all, but what is asked for can be reclaimed: each step of swapon() asks. */
static void test_on_when_nothing_is_free(void **state)
{
	const struct octavo_hooks *was;
	void *taken = NULL;
	long pfn;

	up(TD_SYNC);
	memset(&give, 0, sizeof(give));
	for (unsigned int order = 0; order < GIVE_ORDERS; order++)
		for (; give.nr[order] < GIVE_EACH; give.nr[order]++) {
			pfn = frame_alloc(GFP_KERNEL, order, NUMA_NO_NODE);
			assert_true(pfn >= 0);
			give.pfn[order][give.nr[order]] = (unsigned long)pfn;
		}
	while ((pfn = frame_alloc(GFP_KERNEL | __GFP_MEMALLOC, 0, NUMA_NO_NODE)) >= 0) {
		*(void **)pfn_to_virt((unsigned long)pfn) = taken;
		taken = pfn_to_virt((unsigned long)pfn);
	}
	was = octavo_state.hooks;
	octavo_state.hooks = &giving;
	for (unsigned int i = 0; i < 2; i++) {
		struct test_device *other = test_device_make(4 * CLUSTER, TD_SYNC);

		assert_true(test_device_swapon(other, 0) >= 0);
		test_device_off(other);
	}
	/* small ones find room in slabs that are there */
	assert_true(give.asked || CLUSTER * sizeof(u64) < PAGE_SIZE);
	octavo_state.hooks = was;
	while (taken) {
		void *next = *(void **)taken;

		frame_free(virt_to_pfn(taken), 0);
		taken = next;
	}
	for (unsigned int order = 0; order < GIVE_ORDERS; order++)
		while (give.nr[order])
			frame_free(give.pfn[order][--give.nr[order]], order);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_out_and_in_by_every_order_and_device),
		TEST(test_alloc_and_its_inverse),
		TEST(test_counts_of_parts_of_a_folio),
		TEST(test_dup_is_all_or_nothing),
		TEST(test_dup_entries_across_clusters),
		TEST(test_counts_that_are_not_there_are_fatal),
		TEST(test_free_entries_of_cached_slots),
		TEST(test_free_entries_of_a_mixed_run),
		TEST(test_add_is_all_or_nothing),
		TEST(test_add_of_what_is_not_there),
		TEST(test_del_with_and_without_frozen_count),
		TEST(test_replace_for_every_order),
		TEST(test_split_in_the_cache),
#if OCTAVO_FAULTS
		TEST(test_refusals_at_every_step),
		TEST(test_refusals_from_every_step_on),
#endif
		TEST(test_on_when_nothing_is_free),
		TEST(test_uncached_run_and_next_used),
		TEST(test_dump_says_something_of_every_cluster_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
