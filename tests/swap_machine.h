/* SPDX-License-Identifier: MIT */
/*
 * swap_machine.h - what the tests of swap share: folios with contents, out to a device and in again, by hand.
 */
#ifndef OCTAVO_SWAP_MACHINE_H
#define OCTAVO_SWAP_MACHINE_H

#include "swap_device.h"

#define CLUSTER	    (1u << SWAP_MAX_ORDER)
#define SWAP_MIB    (OCTAVO_TREE_ORDER > 6 ? 64u : 4u)
#define SHADOW_TIME 0x77u
#define SHADOW	    ((u64)SHADOW_TIME << SWAP_SHADOW_SET_BITS)

static inline void swap_boot(void)
{
	sim_reset();
	boot_small(SWAP_MIB, 4);
}

/* A locked folio that can be swapped out, with contents that tell its pages apart. */
static inline struct folio *make(unsigned int order, u64 seed)
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

static inline bool has_contents(struct folio *folio, u64 seed)
{
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		if (*(u64 *)page_address(folio_page(folio, i)) != seed + i)
			return false;
	return true;
}

static inline void drop(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

static inline swp_entry_t entry_at(swp_entry_t entry, unsigned long n)
{
	return swp_entry(swp_type(entry), swp_offset(entry) + n);
}

static inline struct folio_subrange whole(struct folio *folio)
{
	return folio_subrange(folio, 0, folio_nr_pages(folio));
}

/* A new locked folio in the cache, not written. */
static inline struct folio *make_cached(unsigned int order, u64 seed, swp_entry_t *entry)
{
	struct folio *folio = make(order, seed);

	assert_int_equal(folio_alloc_swap(folio), 0);
	*entry = folio_swap_entry(folio, 0);
	return folio;
}

/* Out of the cache, and gone: nobody else has it. */
static inline void forget(struct folio *folio)
{
	assert_true(folio_ref_freeze(folio, 1 + (u32)folio_nr_pages(folio)));
	swap_cache_del(folio, SHADOW_TIME);
	folio_ref_unfreeze(folio, 1);
	drop(folio);
}

/* What reclaim does: out to the device, counted once by each page's entry; the folio is gone. */
static inline swp_entry_t swap_out(struct folio *folio)
{
	swp_entry_t entry;

	assert_int_equal(folio_alloc_swap(folio), 0);
	assert_int_equal(folio_dup_swap(whole(folio)), 0);
	entry = folio_swap_entry(folio, 0);
	assert_int_equal(swap_writeout(folio), 0);
	folio_wait_writeback(folio);
	folio_lock(folio);
	assert_false(folio_test_flag(folio, PG_dirty));
	forget(folio);
	return entry;
}

/* What a fault does: a new folio of @order for @entry, locked and uptodate. */
static inline struct folio *swap_in(swp_entry_t entry, unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
	u64 shadows[CLUSTER];

	assert_non_null(folio);
	folio_lock(folio);
	assert_int_equal(swap_cache_add(folio, entry, shadows), 0);
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		assert_int_equal(shadows[i], SHADOW);
	swap_read_folio(folio);
	swap_lock_folio(folio);
	assert_true(folio_test_flag(folio, PG_uptodate));
	return folio;
}

static inline struct swap_stat stat_of(int type)
{
	struct swap_stat st;

	assert_true(swap_stat(type, &st));
	return st;
}

/* A copy of an entry is one more count of its slot. */
static inline void put_entries(swp_entry_t entry, u32 nr, u32 times)
{
	while (times--)
		swap_free_entries(entry, nr);
}

#endif /* OCTAVO_SWAP_MACHINE_H */
