// SPDX-License-Identifier: MIT
/*
 * test_swap.c - slots, counts and the cache, without page tables: what swap.h says, one call after the other.
 */
#include "swap_device.h"

#define CLUSTER (1u << SWAP_MAX_ORDER)
#define MIB	(OCTAVO_TREE_ORDER > 6 ? 64u : 4u)

static void boot(void)
{
	sim_reset();
	boot_small(MIB, 4);
}

/* A locked folio that can be swapped out, with contents that tell its pages apart. */
static struct folio *make(unsigned int order, u64 seed)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);

	assert_non_null(folio);
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		*(u64 *)page_address(folio_page(folio, i)) = seed + i;
	folio_lock(folio);
	folio_set_flag(folio, PG_uptodate);
	folio_set_flag(folio, PG_swapbacked);
	return folio;
}

static swp_entry_t entry_at(swp_entry_t entry, unsigned long n)
{
	return swp_entry(swp_type(entry), swp_offset(entry) + n);
}

static struct folio_subrange whole(struct folio *folio)
{
	return folio_subrange(folio, 0, folio_nr_pages(folio));
}

/* What reclaim does: out to the device, counted once by each page's entry; the folio is gone. */
static swp_entry_t swap_out(struct folio *folio)
{
	swp_entry_t entry;

	assert_int_equal(folio_alloc_swap(folio), 0);
	assert_int_equal(folio_dup_swap(whole(folio)), 0);
	entry = folio_swap_entry(folio, 0);
	assert_int_equal(swap_writeout(folio), 0);
	folio_wait_writeback(folio);
	folio_lock(folio);
	assert_false(folio_test_flag(folio, PG_dirty));
	assert_true(folio_ref_freeze(folio, 1 + (u32)folio_nr_pages(folio)));
	swap_cache_del(folio, 0x77);
	folio_ref_unfreeze(folio, 1);
	folio_unlock(folio);
	folio_put(folio);
	return entry;
}

/* What a fault does: a new folio of @order for @entry, locked and uptodate. */
static struct folio *swap_in(swp_entry_t entry, unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
	u64 shadows[CLUSTER];

	assert_non_null(folio);
	folio_lock(folio);
	assert_int_equal(swap_cache_add(folio, entry, shadows), 0);
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		assert_int_equal(shadows[i], 0x77);
	swap_read_folio(folio);
	swap_lock_folio(folio);
	assert_true(folio_test_flag(folio, PG_uptodate));
	return folio;
}

static void expect_contents(struct folio *folio, u64 seed)
{
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		assert_int_equal(*(u64 *)page_address(folio_page(folio, i)), seed + i);
}

static void drop(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

static const enum test_device_mode modes[] = { TD_SYNC, TD_NOW, TD_POLLED, TD_THREAD };

COVERS("S2.26");
static void test_out_and_in_by_every_order_and_device(void **state)
{
	for (unsigned int m = 0; m < ARRAY_SIZE(modes); m++) {
		struct test_device *d;

		boot();
		d = test_device_on(4 * CLUSTER, 0, modes[m]);
		for (unsigned int order = 0; order <= SWAP_MAX_ORDER; order++) {
			swp_entry_t entry = swap_out(make(order, 100 * order));
			struct folio *folio;
			struct swap_stat st;

			assert_true(IS_ALIGNED(swp_offset(entry), 1ul << order));
			assert_true(swap_stat(d->type, &st));
			assert_int_equal(st.slots, 4 * CLUSTER - 1);
			assert_int_equal(st.used, 1u << order);
			assert_int_equal(st.cached, 0);
			assert_int_equal(swap_count(entry), 1);
			assert_int_equal(swap_shadow(entry), 0x77);
			assert_null(swap_cache_get_folio(entry));
			folio = swap_in(entry, order);
			expect_contents(folio, 100 * order);
			assert_int_equal(folio_ref_count(folio), 1 + (1u << order));
			assert_ptr_equal(swap_cache_get_folio(entry_at(entry, (1u << order) - 1)),
					 folio);
			folio_put(folio);
			assert_true(octavo_validate());
			/* the entries become mappings: the counts go, then the cache */
			folio_put_swap(whole(folio));
			assert_true(folio_free_swap(folio));
			assert_true(folio_test_flag(folio, PG_dirty));
			assert_int_equal(d->discards, (2u << order) - 1);
			drop(folio);
			assert_true(swap_stat(-1, &st));
			assert_int_equal(st.used, 0);
			assert_true(octavo_validate());
		}
		test_device_off(d);
		shutdown_clean();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_out_and_in_by_every_order_and_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
