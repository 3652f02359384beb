// SPDX-License-Identifier: MIT
/*
 * test_migrate_vma.c - migrating ranges to a device's memory and back, by hand, to memory of every kind and order.
 */
#include "migrate_machine.h"

#include <octavo/fault.h>
#include <octavo/swap.h>

#include "swap_device.h"

static struct mig m;

static const enum mig_to kinds[] = { TO_SYSTEM, TO_PRIVATE, TO_COHERENT };
#define for_each_kind(to) \
	for (unsigned int k_ = 0; k_ < ARRAY_SIZE(kinds) && ((to) = kinds[k_], 1); k_++)

/* Orders that one table can map, and one that has a leaf. */
static const unsigned int orders[] = { 0, 1, 2, 3, LEAF_ORDER };
#define for_each_order(o) \
	for (unsigned int i_ = 0; i_ < ARRAY_SIZE(orders) && ((o) = orders[i_], 1); i_++)

static void fill_pages(unsigned long page, unsigned long nr)
{
	for (unsigned long i = page; i < page + nr; i++)
		put64(i, 1000 + i);
}

/* By what the device or the CPU has, whoever can look. */
static void expect_contents(unsigned long page, unsigned long nr)
{
	for (unsigned long i = page; i < page + nr; i++) {
		struct pt_pos pos = pos_in(as, i);
		unsigned long off = (at(i) & (level_size(pos.level) - 1)) >> PAGE_SHIFT;
		swp_entry_t entry;

		if (pte_present(pos.pte)) {
			assert_int_equal(get64(i), 1000 + i);
			continue;
		}
		entry = pte_to_swp_entry(pos.pte);
		assert_true(is_device_private_entry(entry));
		assert_int_equal(*(u64 *)mem_of(place_page(
					 (swp_entry_pfn(entry) | FOLIO_DEVICE_PRIVATE) + off)),
				 1000 + i);
	}
}

static struct folio *folio_of(unsigned long page)
{
	struct pt_pos pos = pos_in(as, page);
	unsigned long off = (at(page) & (level_size(pos.level) - 1)) >> PAGE_SHIFT;
	unsigned long place = pte_present(pos.pte) ? pte_pfn(pos.pte)
						   : swp_entry_pfn(pte_to_swp_entry(pos.pte)) |
							     FOLIO_DEVICE_PRIVATE;

	return page_folio(place_page(place + off));
}

static bool is_kind(const struct folio *folio, enum mig_to to)
{
	if (to == TO_PRIVATE)
		return folio_is_device_private(folio);
	return to == TO_COHERENT ? folio_is_device_coherent(folio) : !folio_is_zone_device(folio);
}

/* ---- setup ---- */

COVERS("S1.20");
static void test_migrate_vma_setup_arguments(void **state)
{
	struct migrate_vma args;

	device_up(TO_PRIVATE);
	map_anon(0, 8);
	fill_pages(0, 8);
#define REFUSED(change)                                               \
	do {                                                          \
		args = (struct migrate_vma){ .vma = area(0),          \
					     .src = m.src,            \
					     .dst = m.dst,            \
					     .start = at(0),          \
					     .end = at(8),            \
					     .pgmap_owner = &dev_map, \
					     .flags = SEL_SYSTEM };   \
		change;                                               \
		mmap_read_lock(as);                                   \
		assert_int_equal(migrate_vma_setup(&args), -EINVAL);  \
		mmap_read_unlock(as);                                 \
	} while (0)
	REFUSED(args.vma = NULL);
	REFUSED(args.end = at(0));
	REFUSED(args.end = at(9));
	REFUSED(args.start = at(0) - PAGE_SIZE);
	REFUSED(args.start = at(0) + 8);
	REFUSED(args.start = at(3); args.end = at(2));
	REFUSED(args.src = NULL);
	REFUSED(args.dst = NULL);
	/* neither locked nor private */
	REFUSED(args.fault_page = folio_page(folio_at(0), 0));
	folio_lock(folio_at(0));
	REFUSED(args.fault_page = folio_page(folio_at(0), 0));
	folio_unlock(folio_at(0));
	area(0)->vm_flags |= VM_MIXEDMAP;
	REFUSED(args.cpages = 0);
	area(0)->vm_flags &= ~VM_MIXEDMAP;
	/* nothing to collect is no error */
	assert_int_equal(mig_setup(&m, 0, 8, SEL_PRIVATE), 0);
	assert_int_equal(m.args.cpages, 0);
	mig_end(&m);
	expect_contents(0, 8);
	device_down(TO_PRIVATE);
}

COVERS("S1.21");
static void test_migrate_vma_holes(void **state)
{
	device_up(TO_SYSTEM);
	map_anon(0, 3 * LEAF_PAGES);
	put64(1, 1);
	get64(2); /* the zero page */
	assert_true(is_zero_page(2));
	assert_int_equal(mig_setup(&m, 0, 3 * LEAF_PAGES, SEL_SYSTEM | SEL_COMPOUND), 0);
	assert_int_equal(m.src[0], MIGRATE_PFN_MIGRATE);
	assert_int_equal(m.src[1] & 0xff,
			 MIGRATE_PFN_MIGRATE | MIGRATE_PFN_VALID | MIGRATE_PFN_WRITE);
	assert_int_equal(m.src[2], MIGRATE_PFN_MIGRATE);
	/* where no table is: one element as large as an entry there */
	for (unsigned long i = 1; i < 3; i++) {
		assert_int_equal(m.src[i * LEAF_PAGES] & 0xff,
				 MIGRATE_PFN_MIGRATE | MIGRATE_PFN_COMPOUND);
		assert_int_equal(migrate_pfn_order(m.src[i * LEAF_PAGES]), LEAF_ORDER);
		for (unsigned long k = 1; k < LEAF_PAGES; k++)
			assert_int_equal(m.src[i * LEAF_PAGES + k], 0);
	}
	assert_int_equal(m.args.cpages, LEAF_PAGES + 2);
	mig_end(&m);
	/* not aligned, or not asked for: page by page */
	assert_int_equal(mig_setup(&m, LEAF_PAGES + 1, LEAF_PAGES, SEL_SYSTEM | SEL_COMPOUND), 0);
	assert_int_equal(m.args.cpages, LEAF_PAGES);
	mig_end(&m);
	assert_int_equal(mig_setup(&m, LEAF_PAGES, LEAF_PAGES, SEL_SYSTEM), 0);
	assert_int_equal(m.args.cpages, LEAF_PAGES);
	mig_end(&m);
	/* not the system's memory that was asked for */
	assert_int_equal(mig_setup(&m, 0, LEAF_PAGES, SEL_PRIVATE | SEL_COHERENT), 0);
	assert_int_equal(m.args.cpages, 0);
	mig_end(&m);
	assert_int_equal(get64(1), 1);
	device_down(TO_SYSTEM);
}

/* ---- there and back ---- */

COVERS("S1.19 S1.23 S1.31 S1.41");
static void test_migrate_vma_folios_of_every_order(void **state)
{
	unsigned int order;
	enum mig_to to;

	for_each_kind(to)
	{
		for_each_order(order)
		{
			unsigned long nr = max(8ul, 1ul << order);

			device_up(to);
			as->folio_orders = 1u << order;
			map_anon(0, nr);
			fill_pages(0, nr);
			assert_int_equal(folio_order(folio_of(0)), order);
			assert_int_equal(mig_setup(&m, 0, nr, SEL_SYSTEM | SEL_COMPOUND), 0);
			assert_int_equal(m.args.cpages, nr >> order);
			for (unsigned long i = 0; i < nr; i++) {
				bool first = !(i & ((1ul << order) - 1));

				assert_int_equal(!m.src[i], !first);
				if (first)
					assert_int_equal(!!(m.src[i] & MIGRATE_PFN_COMPOUND),
							 order > 0);
			}
			mig_give_all(&m, to, order);
			migrate_vma_pages(&m.args);
			mig_end(&m);
			for (unsigned long i = 0; i < nr; i++) {
				assert_true(is_kind(folio_of(i), to));
				assert_int_equal(folio_order(folio_of(i)), order);
			}
			assert_int_equal(pos_in(as, 0).level, order == LEAF_ORDER);
			expect_contents(0, nr);
			assert_int_equal(get_mm_counter(as, MM_ANONPAGES), nr);
			assert_true(octavo_validate());
			/* and back */
			assert_int_equal(mig_run(&m, 0, nr, sel_of(to) | SEL_COMPOUND, TO_SYSTEM,
						 MAX_FOLIO_ORDER),
					 nr >> order);
			assert_true(is_kind(folio_of(0), TO_SYSTEM));
			assert_int_equal(folio_order(folio_of(0)), order);
			expect_contents(0, nr);
			/* still writable, without another fault */
			assert_true(pte_write(pos_in(as, 0).pte));
			device_down(to);
		}
	}
}

COVERS("S1.27 S1.37");
static void test_migrate_vma_large_to_smaller(void **state)
{
	unsigned int order, small;
	enum mig_to to;

	for_each_kind(to)
	{
		for_each_order(order)
		{
			for (small = 0; small < order; small += 2) {
				unsigned long nr = 1ul << order;

				device_up(to);
				as->folio_orders = 1u << order;
				map_anon(0, nr);
				fill_pages(0, nr);
				assert_int_equal(
					mig_run(&m, 0, nr, SEL_SYSTEM | SEL_COMPOUND, to, small),
					nr >> small);
				for (unsigned long i = 0; i < nr; i++) {
					assert_true(is_kind(folio_of(i), to));
					assert_int_equal(folio_order(folio_of(i)), small);
				}
				expect_contents(0, nr);
				device_down(to);
			}
		}
	}
}

COVERS("S1.27");
static void test_migrate_vma_small_to_larger(void **state)
{
	enum mig_to to;

	for_each_kind(to)
	{
		device_up(to);
		map_anon(0, 16);
		fill_pages(0, 16);
		assert_int_equal(mig_setup(&m, 0, 16, SEL_SYSTEM | SEL_COMPOUND), 0);
		for (unsigned long i = 0; i < 16; i += 8)
			assert_true(mig_give(&m, i, to, 3));
		migrate_vma_pages(&m.args);
		mig_end(&m);
		assert_int_equal(folio_order(folio_of(9)), 3);
		assert_true(is_kind(folio_of(9), to));
		assert_ptr_equal(folio_of(8), folio_of(15));
		expect_contents(0, 16);
		device_down(to);

		/* a page that is not there: nothing fills its part, and all stay */
		device_up(to);
		map_anon(0, 8);
		fill_pages(0, 7);
		assert_int_equal(mig_setup(&m, 0, 8, SEL_SYSTEM | SEL_COMPOUND), 0);
		assert_true(mig_give(&m, 0, to, 3));
		migrate_vma_pages(&m.args);
		for (unsigned long i = 0; i < 8; i++)
			assert_false(m.src[i] & MIGRATE_PFN_MIGRATE);
		mig_end(&m);
		assert_true(is_kind(folio_of(0), TO_SYSTEM));
		expect_contents(0, 7);
		assert_true(pte_none(entry(7)));
		device_down(to);
	}
}

/* A leaf needs a place in the larger folio where it can be one. */
COVERS("S1.27 S1.41");
static void test_migrate_vma_leaf_to_larger(void **state)
{
	unsigned long nr = 2 * LEAF_PAGES;
	enum mig_to to;

	for_each_kind(to) for (unsigned long first = 0; first <= LEAF_PAGES;
			       first += LEAF_PAGES / 2)
	{
		bool fits = first != LEAF_PAGES / 2;

		device_up(to);
		map_anon(0, 3 * LEAF_PAGES);
		/* which is all of one family, and in the middle there is a leaf */
		put64(0, 1);
		as->folio_orders = 1u << LEAF_ORDER;
		put64(LEAF_PAGES, 1);
		as->folio_orders = 1;
		fill_pages(0, 3 * LEAF_PAGES);
		assert_int_equal(pos_in(as, LEAF_PAGES).level, MAX_LEAF_LEVEL);
		assert_int_equal(mig_setup(&m, first, nr, SEL_SYSTEM | SEL_COMPOUND), 0);
		assert_int_equal(m.args.cpages, LEAF_PAGES + 1);
		assert_true(mig_give(&m, 0, to, LEAF_ORDER + 1));
		migrate_vma_pages(&m.args);
		mig_end(&m);
		assert_true(is_kind(folio_of(LEAF_PAGES), fits ? to : TO_SYSTEM));
		assert_int_equal(folio_order(folio_of(LEAF_PAGES)), LEAF_ORDER + fits);
		assert_int_equal(pos_in(as, LEAF_PAGES).level, MAX_LEAF_LEVEL);
		expect_contents(0, 3 * LEAF_PAGES);
		device_down(to);
	}
}

COVERS("S1.28");
static void test_migrate_vma_fills_holes(void **state)
{
	enum mig_to to;

	for_each_kind(to)
	{
		device_up(to);
		map_anon(0, 2 * LEAF_PAGES);
		get64(0); /* one zero page */
		assert_int_equal(mig_run(&m, 0, 2 * LEAF_PAGES, SEL_SYSTEM | SEL_COMPOUND, to,
					 MAX_FOLIO_ORDER),
				 LEAF_PAGES + 1);
		assert_int_equal(folio_order(folio_of(LEAF_PAGES)), LEAF_ORDER);
		assert_int_equal(pos_in(as, LEAF_PAGES).level, MAX_LEAF_LEVEL);
		assert_true(is_kind(folio_of(0), to));
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 2 * LEAF_PAGES);
		assert_true(octavo_validate());
		/* smaller than the hole, and as a run in a table */
		assert_int_equal(vm_munmap(as, at(0), 2 * LEAF_SIZE), 0);
		map_anon(0, LEAF_PAGES);
		assert_int_equal(mig_run(&m, 0, LEAF_PAGES, SEL_SYSTEM | SEL_COMPOUND, to, 2),
				 LEAF_PAGES / 4);
		assert_int_equal(folio_order(folio_of(5)), 2);
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), LEAF_PAGES);
		device_down(to);
	}
}

/* A table that is empty, or has only zero pages, is no reason to refuse a folio as large as it. */
COVERS("S1.21 S1.28");
static void test_migrate_vma_fills_an_empty_table(void **state)
{
	enum mig_to to;

	for_each_kind(to) for (unsigned int taken = 0; taken < 2; taken++)
	{
		device_up(to);
		map_anon(0, LEAF_PAGES);
		put64(3, 7);
		assert_int_equal(vm_madvise(as, at(0), LEAF_SIZE, MADV_DONTNEED), 0);
		get64(5);
		assert_int_equal(mig_setup(&m, 0, LEAF_PAGES, SEL_SYSTEM | SEL_COMPOUND), 0);
		assert_int_equal(m.args.cpages, LEAF_PAGES);
		assert_true(mig_give(&m, 0, to, LEAF_ORDER));
		/* a CPU was faster */
		if (taken) {
			mmap_read_unlock(as);
			put64(6, 9);
			mmap_read_lock(as);
		}
		migrate_vma_pages(&m.args);
		assert_int_equal(!(m.src[0] & MIGRATE_PFN_MIGRATE), taken);
		mig_end(&m);
		if (!taken) {
			assert_int_equal(folio_order(folio_of(0)), LEAF_ORDER);
			assert_int_equal(folio_mapcount(folio_of(0)), LEAF_PAGES);
			assert_int_equal(pos_in(as, 5).level, PGTABLE_LEVEL_PTE);
		}
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), taken ? 1 : LEAF_PAGES);
		assert_true(octavo_validate());
		device_down(to);
	}
}

static void finalizes_what_was_not_exchanged(void *arg)
{
	struct migrate_vma *args = &m.args;

	assert_int_equal(mig_setup(&m, 0, 1, SEL_SYSTEM), 0);
	assert_true(mig_give(&m, 0, *(enum mig_to *)arg, 0));
	migrate_vma_finalize(args);
}

static void gives_one_twice(void *arg)
{
	assert_int_equal(mig_setup(&m, 0, 4, SEL_SYSTEM), 0);
	assert_true(mig_give(&m, 0, *(enum mig_to *)arg, 0));
	m.dst[2] = m.dst[0];
	migrate_vma_pages(&m.args);
}

static void gives_a_source(void *arg)
{
	assert_int_equal(mig_setup(&m, 0, 4, SEL_SYSTEM), 0);
	m.dst[3] = migrate_pfn(migrate_pfn_to_page(m.src[1]));
	migrate_vma_pages(&m.args);
}

static void exchanges_twice(void *arg)
{
	assert_int_equal(mig_setup(&m, 0, 4, SEL_SYSTEM), 0);
	assert_true(mig_give(&m, 0, *(enum mig_to *)arg, 0));
	migrate_vma_pages(&m.args);
	migrate_vma_pages(&m.args);
}

static void test_migrate_vma_misuse_is_fatal(void **state)
{
	static const struct {
		void (*fn)(void *arg);
		const char *text;
	} cases[] = {
		{ finalizes_what_was_not_exchanged, "never exchanged" },
		{ gives_one_twice, "no new one" },
		{ gives_a_source, "no new one" },
		{ exchanges_twice, "no new one" },
	};
	enum mig_to to;

	for_each_kind(to) for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
	{
		device_up(to);
		map_anon(0, 4);
		fill_pages(0, 4);
		expect_panic(cases[i].fn, &to, cases[i].text);
		free(dev_mem);
		dev_mem = NULL;
	}
}

/* ---- what stays ---- */

COVERS("S1.22 S1.26");
static void test_migrate_vma_passes_over_what_is_in_use(void **state)
{
	struct page *pin, *ref;
	enum mig_to to;

	for_each_kind(to)
	{
		device_up(to);
		map_anon(0, 8);
		fill_pages(0, 8);
		folio_lock(folio_of(1));
		assert_int_equal(pin_user_pages_fast(as, at(2), 1, FOLL_WRITE, &pin), 1);
		assert_int_equal(get_user_pages_fast(as, at(3), 1, FOLL_WRITE, &ref), 1);
		folio_set_flag(folio_of(4), PG_writeback);
		assert_int_equal(mig_setup(&m, 0, 8, SEL_SYSTEM | SEL_COMPOUND), 0);
		assert_int_equal(m.args.cpages, 4);
		for (unsigned long i = 1; i < 5; i++)
			assert_int_equal(m.src[i], 0);
		mig_give_all(&m, to, 0);
		migrate_vma_pages(&m.args);
		mig_end(&m);
		for (unsigned long i = 0; i < 8; i++)
			assert_true(is_kind(folio_of(i), i >= 1 && i <= 4 ? TO_SYSTEM : to));
		folio_clear_flag(folio_of(4), PG_writeback);
		put_user_page(ref);
		unpin_user_page(pin);
		folio_unlock(folio_of(1));
		expect_contents(0, 8);
		device_down(to);
	}
}

COVERS("S1.30");
static void test_migrate_vma_of_cached_folios(void **state)
{
	struct test_device *swap;
	swp_entry_t slot;
	enum mig_to to;

	for_each_kind(to)
	{
		device_up(to);
		swap = test_device_on(64, 0, TD_SYNC);
		as->folio_orders = 1u << 2;
		map_anon(0, 12);
		fill_pages(0, 12);
		for (unsigned long i = 0; i < 12; i += 4) {
			struct folio *folio = folio_of(i);

			folio_lock(folio);
			folio_set_flag(folio, PG_uptodate);
			assert_int_equal(folio_alloc_swap(folio), 0);
			folio_unlock(folio);
		}
		/* one of them has an entry somewhere that names its slot */
		slot = folio_swap_entry(folio_of(8), 0);
		folio_lock(folio_of(8));
		assert_int_equal(folio_dup_swap(folio_subrange(folio_of(8), 0, 1)), 0);
		folio_unlock(folio_of(8));
		/* as a whole, and in pieces */
		assert_int_equal(mig_run(&m, 0, 4, SEL_SYSTEM | SEL_COMPOUND, to, 2), 1);
		assert_int_equal(mig_run(&m, 4, 4, SEL_SYSTEM, to, 0), 4);
		assert_int_equal(mig_run(&m, 8, 4, SEL_SYSTEM | SEL_COMPOUND, to, 2), 0);
		assert_true(is_kind(folio_of(0), to) && is_kind(folio_of(5), to));
		assert_true(is_kind(folio_of(8), TO_SYSTEM));
		assert_false(folio_test_flag(folio_of(0), PG_swapcache));
		assert_true(folio_test_flag(folio_of(8), PG_swapcache));
		expect_contents(0, 12);
		swap_free_entries(slot, 1);
		assert_int_equal(mig_run(&m, 8, 4, SEL_SYSTEM | SEL_COMPOUND, to, 2), 1);
		expect_contents(0, 12);
		test_device_off(swap);
		device_down(to);
	}
}

COVERS("S1.30");
static void test_migrate_vma_of_what_is_no_anonymous_folio(void **state)
{
	struct folio *folio;

	/* as a destination it fails */
	device_up(TO_SYSTEM);
	map_anon(0, 2);
	fill_pages(0, 2);
	assert_int_equal(mig_setup(&m, 0, 2, SEL_SYSTEM), 0);
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_FILE);
	assert_non_null(folio);
	folio_lock(folio);
	m.dst[0] = migrate_pfn(folio_page(folio, 0));
	migrate_vma_pages(&m.args);
	assert_false(m.src[0] & MIGRATE_PFN_MIGRATE);
	mig_end(&m);
	expect_contents(0, 2);
	/* nor does what somebody writes back, or what is bad, go anywhere */
	folio_set_flag(folio_of(0), PG_writeback);
	folio_set_flag(folio_of(1), PG_hwpoison);
	assert_int_equal(mig_run(&m, 0, 2, SEL_SYSTEM, TO_SYSTEM, 0), 0);
	folio_clear_flag(folio_of(0), PG_writeback);
	folio_clear_flag(folio_of(1), PG_hwpoison);
	device_down(TO_SYSTEM);

	/* memory of a device of another kind */
	device_up(TO_SYSTEM);
	dev_map.type = MEMORY_DEVICE_GENERIC;
	dev_map.pfn = ((u64)TEST_MIB << 20) >> PAGE_SHIFT;
	assert_int_equal(memremap_pages(&dev_map), 0);
	map_anon(0, 2);
	fill_pages(0, 2);
	assert_int_equal(mig_setup(&m, 0, 2, SEL_SYSTEM), 0);
	folio = dst_alloc(TO_COHERENT, 0);
	assert_non_null(folio);
	m.dst[0] = migrate_pfn(folio_page(folio, 0));
	migrate_vma_pages(&m.args);
	assert_false(m.src[0] & MIGRATE_PFN_MIGRATE);
	mig_end(&m);
	expect_contents(0, 2);
	dev_freed = dev_next;
	memunmap_pages(&dev_map);
	device_down(TO_SYSTEM);
}

COVERS("S1.24");
static void test_migrate_vma_splits_what_does_not_fit(void **state)
{
	unsigned int order;

	for_each_order(order)
	{
		unsigned long nr = 1ul << order;

		if (order < 2)
			continue;
		/* not asked for: page by page */
		device_up(TO_SYSTEM);
		as->folio_orders = 1u << order;
		map_anon(0, nr);
		fill_pages(0, nr);
		assert_int_equal(mig_run(&m, 0, nr, SEL_SYSTEM, TO_SYSTEM, 0), nr);
		assert_int_equal(folio_order(folio_of(0)), 0);
		expect_contents(0, nr);
		device_down(TO_SYSTEM);

		/* the second half only: as large as fits */
		device_up(TO_SYSTEM);
		as->folio_orders = 1u << order;
		map_anon(0, nr);
		fill_pages(0, nr);
		assert_int_equal(mig_setup(&m, nr / 2, nr / 2, SEL_SYSTEM | SEL_COMPOUND), 0);
		assert_int_equal(m.args.cpages, 1);
		assert_int_equal(migrate_pfn_order(m.src[0]), order - 1);
		mig_end(&m);
		expect_contents(0, nr);
		assert_int_equal(mig_run(&m, 1, nr - 2, SEL_SYSTEM | SEL_COMPOUND, TO_SYSTEM,
					 MAX_FOLIO_ORDER),
				 nr - 2);
		expect_contents(0, nr);
		device_down(TO_SYSTEM);

		/* pinned: it cannot be split, and is passed over */
		device_up(TO_SYSTEM);
		as->folio_orders = 1u << order;
		map_anon(0, nr + 1);
		fill_pages(0, nr + 1);
		folio_get(folio_of(0));
		assert_int_equal(mig_setup(&m, 1, nr, SEL_SYSTEM | SEL_COMPOUND), 0);
		assert_int_equal(m.args.cpages, 1);
		assert_int_not_equal(m.src[nr - 1], 0);
		mig_end(&m);
		folio_put(folio_of(0));
		expect_contents(0, nr + 1);
		device_down(TO_SYSTEM);
	}
}

COVERS("S1.23 S1.25 S1.38");
static void test_migrate_vma_of_shared_folios(void **state)
{
	struct mm_struct *child;
	unsigned int order;
	enum mig_to to;
	int err;

	for_each_kind(to)
	{
		for_each_order(order)
		{
			unsigned long nr = 1ul << order;

			device_up(to);
			dev_to_ram = bring_back;
			as->folio_orders = 1u << order;
			map_anon(0, nr);
			fill_pages(0, nr);
			child = mm_fork(as, &err);
			assert_non_null(child);
			assert_int_equal(mig_setup(&m, 0, nr, SEL_SYSTEM | SEL_COMPOUND), 0);
			assert_int_equal(m.args.cpages, 1);
			assert_false(m.src[0] & MIGRATE_PFN_WRITE);
			mig_give_all(&m, to, order);
			migrate_vma_pages(&m.args);
			mig_end(&m);
			assert_true(is_kind(folio_of(0), to));
			assert_int_equal(folio_mapcount(folio_of(0)),
					 order == LEAF_ORDER ? 2 : 2 * (int)nr);
			expect_contents(0, nr);
			assert_true(octavo_validate());
			/* the parent's copy is its own */
			put64(nr - 1, 5);
			sim_mm_use(child);
			assert_int_equal(get64(nr - 1), 1000 + nr - 1);
			put64(nr - 1, 6);
			sim_mm_use(as);
			assert_int_equal(get64(nr - 1), 5);
			assert_true(mm_validate(child));
			sim_mm_forget(child);
			mmput(child);
			device_down(to);
		}
	}
}

/* ---- nothing is lost when a step fails ---- */

#if OCTAVO_FAULTS
/* Step @k fails. Return: did it? */
static u32 migrate_failing(enum mig_to to, unsigned int shape, u32 k)
{
	unsigned long nr = 2 * LEAF_PAGES;
	u32 hit;

	device_up(to);
	as->folio_orders = 1u << (shape & 1 ? LEAF_ORDER : 0);
	map_anon(0, nr);
	if (shape < 3)
		fill_pages(0, LEAF_PAGES);
	octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
	mig_run(&m, 0, nr, SEL_SYSTEM | SEL_COMPOUND, to, shape & 2 ? 1 : MAX_FOLIO_ORDER);
	hit = octavo_fault_disarm();
	if (shape < 3)
		expect_contents(0, LEAF_PAGES);
	assert_true(octavo_validate());
	device_down(to);
	return hit;
}

COVERS("S1.29");
static void test_migrate_vma_fails_at_every_step(void **state)
{
	enum mig_to to;

	for_each_kind(to)
	{
		for (unsigned int shape = 0; shape < 4; shape++) {
			/* every one where there are few, else fewer the further it gets */
			for (u32 k = 1, hit = 1; hit; k += OCTAVO_TABLE_BITS == 9 ? 1 + k / 4 : 1)
				hit = migrate_failing(to, shape, k);
		}
	}
}

/* Who has a reference of an anon_vma can have another: pieces of a source that is split need one each. */
COVERS("S1.27 S1.29");
static void test_migrate_vma_splits_without_a_tryget(void **state)
{
	for (u32 k = 1, hit = 1; hit; k++) {
		device_up(TO_SYSTEM);
		as->folio_orders = 1u << 2;
		map_anon(0, 4);
		fill_pages(0, 4);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_TRYGET);
		mig_run(&m, 0, 4, SEL_SYSTEM | SEL_COMPOUND, TO_SYSTEM, 0);
		hit = octavo_fault_disarm();
		expect_contents(0, 4);
		device_down(TO_SYSTEM);
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_migrate_vma_setup_arguments),
		TEST(test_migrate_vma_holes),
		TEST(test_migrate_vma_folios_of_every_order),
		TEST(test_migrate_vma_large_to_smaller),
		TEST(test_migrate_vma_small_to_larger),
		TEST(test_migrate_vma_leaf_to_larger),
		TEST(test_migrate_vma_fills_an_empty_table),
		TEST(test_migrate_vma_misuse_is_fatal),
		TEST(test_migrate_vma_fills_holes),
		TEST(test_migrate_vma_passes_over_what_is_in_use),
		TEST(test_migrate_vma_of_cached_folios),
		TEST(test_migrate_vma_of_what_is_no_anonymous_folio),
		TEST(test_migrate_vma_splits_what_does_not_fit),
		TEST(test_migrate_vma_of_shared_folios),
#if OCTAVO_FAULTS
		TEST(test_migrate_vma_fails_at_every_step),
		TEST(test_migrate_vma_splits_without_a_tryget),
#endif
	};

	return cmocka_run_group_tests_name("migrate_vma-" TEST_VARIANT, tests, NULL, NULL);
}
