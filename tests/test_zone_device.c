// SPDX-License-Identifier: MIT
/*
 * test_zone_device.c - pages of device memory: idle, in a folio, plain; and back.
 */
#include <octavo/desc.h>
#include <octavo/hwpoison.h>
#include <octavo/migrate.h>
#include <octavo/pfnwalk.h>
#include <octavo/plain.h>

#include "device_machine.h"

static const enum memory_type types[] = { MEMORY_DEVICE_PRIVATE, MEMORY_DEVICE_COHERENT,
					  MEMORY_DEVICE_FS_DAX, MEMORY_DEVICE_GENERIC,
					  MEMORY_DEVICE_PCI_P2PDMA };

static struct dev_pagemap pgmap;

/* Enough for a folio of every order that tests use. */
#define PAGES	  (2 * max(SECTION_PAGES, 1ul << min(MAX_FOLIO_ORDER, 10)))
#define TOP_ORDER ((unsigned int)min(MAX_FOLIO_ORDER, 10))

static void boot(enum memory_type type)
{
	device_boot(1);
	memset(&device_log, 0, sizeof(device_log));
	pgmap = device_pagemap(type, PAGES);
	assert_int_equal(memremap_pages(&pgmap), 0);
}

static struct folio *folio_of(const struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio)
		abort();
	return folio;
}

static void end(void)
{
	memunmap_pages(&pgmap);
	shutdown_clean();
}

COVERS("S1.1 S1.2 S1.5 S1.8 S1.9 S1.10 S1.16 S1.18");
static void test_zone_device_folio_of_every_order_and_type(void **state)
{
	for (unsigned int t = 0; t < ARRAY_SIZE(types); t++) {
		boot(types[t]);
		for (unsigned int order = 0; order <= TOP_ORDER; order++) {
			unsigned long nr = 1ul << order;
			struct page *page = pgmap.words + nr;
			bool anon = types[t] == MEMORY_DEVICE_PRIVATE ||
				    types[t] == MEMORY_DEVICE_COHERENT;
			struct folio *folio;
			int err = 1;

			folio = zone_device_folio_init(page, &pgmap, order, &err);
			assert_non_null(folio);
			assert_int_equal(err, 0);
			assert_int_equal(folio_order(folio), order);
			assert_int_equal(folio_ref_count(folio), 1);
			assert_true(folio_test_locked(folio));
			assert_true(folio_is_zone_device(folio));
			assert_int_equal(folio_test_anon(folio), anon);
			assert_int_equal(folio_is_device_private(folio),
					 types[t] == MEMORY_DEVICE_PRIVATE);
			assert_int_equal(folio_is_device_coherent(folio),
					 types[t] == MEMORY_DEVICE_COHERENT);
			assert_ptr_equal(folio_pgmap(folio), &pgmap);
			assert_ptr_equal(folio_page(folio, 0), page);
			for (unsigned long i = 0; i < nr; i++) {
				assert_ptr_equal(page_folio(page + i), folio);
				assert_int_equal(folio_page_idx(folio, page + i), i);
				assert_true(folio_contains(folio, page_place(page + i)));
			}
			assert_false(folio_contains(folio, page_place(page) - 1));
			assert_false(folio_contains(folio, page_place(page) + nr));
			assert_int_equal(pgmap.ref, nr);
			assert_true(folio_validate(folio));
			assert_true(octavo_validate());
			device_log.frees = 0;
			folio_unlock(folio);
			folio_put(folio);
			assert_int_equal(device_log.frees, 1);
			assert_int_equal(device_log.order, order);
			assert_int_equal(device_log.place, page_place(page));
			assert_int_equal(pgmap.ref, 0);
			for (unsigned long i = 0; i < nr; i++)
				assert_int_equal(page_memdesc(page + i).v, MEMDESC_DEVICE);
			assert_true(octavo_validate());
		}
		end();
	}
}

/* The same memory at one order after another, and nothing of the one before is left. */
COVERS("S1.11 S1.12 S1.13");
static void test_zone_device_reuse_at_every_other_order(void **state)
{
	for (unsigned int t = 0; t < ARRAY_SIZE(types); t++) {
		boot(types[t]);
		for (unsigned int from = 0; from <= 6; from++)
			for (unsigned int to = 0; to <= 6; to++) {
				struct page *page = pgmap.words + 64;
				unsigned long nr = 1ul << from;
				struct folio *folio;
				int err;

				/* as dirty as it gets */
				folio = zone_device_folio_init(page, &pgmap, from, &err);
				assert_non_null(folio);
				if (folio_test_anon(folio))
					folio_set_anon_exclusive(folio_subrange(folio, 0, nr));
				for (unsigned int f = 0; f < PG_zone_device; f++)
					if (f != PG_locked && f != PG_writeback &&
					    f != PG_anon_exclusive)
						folio_set_flag(folio, f);
				folio->mapping = &pgmap;
				folio->index = 77;
				folio_set_zone_device_data(folio, &device_log);
				folio_unlock(folio);
				folio_put(folio);
				assert_false(device_log.anon_exclusive);
				assert_null(device_log.mapping);
				/* the driver's word is there until the end */
				assert_ptr_equal(device_log.priv, &device_log);
				/* another size, beginning elsewhere inside */
				page += to < from ? nr - (1ul << to) : 0;
				folio = zone_device_folio_init(page, &pgmap, to, &err);
				assert_non_null(folio);
				assert_int_equal(folio_order(folio), to);
				assert_int_equal(READ_ONCE(folio->flags) & 0xfffffff,
						 1u << PG_locked | 1u << PG_zone_device);
				assert_null(folio->mapping);
				assert_null(folio_zone_device_data(folio));
				assert_int_equal(folio->index, 0);
				assert_int_equal(folio_ref_count(folio), 1);
				assert_int_equal(folio_mapcount(folio), 0);
				assert_int_equal(folio_anon_exclusive_count(
							 folio_subrange(folio, 0, 1ul << to)),
						 0);
				assert_true(octavo_validate());
				folio_unlock(folio);
				folio_put(folio);
				/* plain pages of the same, and a folio again */
				assert_int_equal(zone_device_page_init(page, &pgmap, to), 0);
				put_page(page);
				assert_int_equal(pgmap.ref, 0);
			}
		end();
	}
}

COVERS("S1.2 S1.17");
static void test_zone_device_plain_pages(void **state)
{
	for (unsigned int t = 0; t < ARRAY_SIZE(types); t++) {
		boot(types[t]);
		for (unsigned int order = 0; order <= TOP_ORDER; order++) {
			unsigned long nr = 1ul << order;
			struct page *page = pgmap.words + nr;

			device_log.page_frees = 0;
			assert_int_equal(zone_device_page_init(page, &pgmap, order), 0);
			assert_int_equal(pgmap.ref, nr);
			for (unsigned long i = 0; i < nr; i++) {
				memdesc_t md = page_memdesc(page + i);

				assert_true(memdesc_is_misc(md));
				assert_int_equal(memdesc_subtype(md), MISC_DEVICE);
				assert_int_equal(memdesc_order(md), order);
				assert_ptr_equal(compound_head(page + i), page);
				assert_null(page_folio(page + i));
			}
			assert_int_equal(page_count(page), 1);
			/* through any page of it */
			get_page(page + nr - 1);
			assert_true(try_get_page(page + nr / 2));
			assert_int_equal(page_count(page), 3);
			put_page(page);
			put_page(page + nr - 1);
			assert_int_equal(device_log.page_frees, 0);
			assert_true(octavo_validate());
			put_page(page + nr / 2);
			assert_int_equal(device_log.page_frees, 1);
			assert_int_equal(device_log.order, order);
			assert_int_equal(device_log.place, page_place(page));
			assert_int_equal(pgmap.ref, 0);
		}
		end();
	}
}

COVERS("S1.36 S1.37 S1.15");
static void test_zone_device_folio_split(void **state)
{
	for (unsigned int t = 0; t < ARRAY_SIZE(types); t++)
		for (unsigned int to = 0; to < 5; to++) {
			struct page *page;
			struct folio *folio;
			int err;

			boot(types[t]);
			page = pgmap.words + 32;
			folio = zone_device_folio_init(page, &pgmap, 5, &err);
			assert_non_null(folio);
			folio_set_zone_device_data(folio, page);
			folio->mapping = &pgmap;
			folio->index = 5;
			assert_int_equal(folio_split(folio, to, 0, GFP_KERNEL), 0);
			assert_int_equal(device_log.splits, (32u >> to) - 1);
			assert_int_equal(device_log.split_ends, 1);
			assert_int_equal(device_log.order, to);
			assert_int_equal(pgmap.ref, 32);
			assert_true(octavo_validate());
			for (unsigned long i = 0; i < 32; i += 1ul << to) {
				struct folio *piece = folio_of(page + i);

				assert_int_equal(folio_order(piece), to);
				assert_true(folio_is_zone_device(piece));
				assert_ptr_equal(folio_pgmap(piece), &pgmap);
				assert_ptr_equal(piece->mapping, &pgmap);
				assert_int_equal(piece->index, 5 + i);
				/* what the driver says in its callback */
				assert_ptr_equal(folio_zone_device_data(piece), (char *)page + i);
				folio_unlock(piece);
				folio_put(piece);
			}
			assert_int_equal(device_log.frees, 32u >> to);
			assert_int_equal(device_log.pages, 32);
			end();
		}
	/* pieces do not become one again: the driver makes a larger folio when it has the memory back */
	boot(MEMORY_DEVICE_PRIVATE);
	for (int i = 0; i < 2; i++) {
		int err;

		assert_non_null(zone_device_folio_init(pgmap.words + i, &pgmap, 0, &err));
	}
	for (int i = 0, err; i < 1; i++) {
		assert_null(folio_merge(folio_of(pgmap.words), 1, GFP_KERNEL, &err));
		assert_int_equal(err, -EINVAL);
	}
	for (int i = 0; i < 2; i++) {
		folio_unlock(folio_of(pgmap.words + i));
		folio_put(folio_of(pgmap.words + i));
	}
	end();
}

/* ---- the matrix of docs/memdesc.md: memory of devices that is not idle ---- */

static void call_split_page(void *page)
{
	(void)!split_page(page, 1);
}

static void call_free_pages(void *page)
{
	__free_pages(page, 1);
}

static void call_free_frozen(void *page)
{
	free_frozen_pages(page, 1);
}

static struct page *start(enum memory_type type, bool plain)
{
	int err = 0;

	boot(type);
	if (plain)
		assert_int_equal(zone_device_page_init(pgmap.words, &pgmap, 1), 0);
	else
		assert_non_null(zone_device_folio_init(pgmap.words, &pgmap, 1, &err));
	return pgmap.words;
}

COVERS("S1.17");
static void test_zone_device_matrix(void **state)
{
	for (unsigned int t = 0; t < ARRAY_SIZE(types); t++)
		for (int plain = 0; plain < 2; plain++) {
			struct page *page = start(types[t], plain);
			struct folio *folio = page_folio(page);

			assert_int_equal(page_count(page + 1), 1);
			get_page(page + 1);
			assert_true(try_get_page(page));
			assert_int_equal(page_count(page), 3);
			put_page(page);
			put_page(page + 1);
			assert_int_equal(!folio, plain);
			assert_ptr_equal(compound_head(page + 1), plain ? page : NULL);
			assert_null(isolate_movable_page(page));
			if (types[t] != MEMORY_DEVICE_PRIVATE) {
				struct page_snapshot ps;

				assert_int_equal(snapshot_page(&ps, pgmap.pfn + 1), 0);
				assert_int_equal(ps.type, plain	  ? MEMDESC_MISC
							  : t < 2 ? MEMDESC_ANON
								  : MEMDESC_FILE);
				assert_int_equal(ps.order, 1);
				assert_int_equal(ps.refcount, 1);
				assert_int_equal(ps.first_pfn, pgmap.pfn);
			}
			if (folio) {
				if (types[t] != MEMORY_DEVICE_COHERENT)
					assert_int_equal(
						migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL),
						-EINVAL);
				folio_unlock(folio);
				folio_put(folio);
			} else {
				/* each page goes back alone */
				assert_int_equal(split_page(page, 1), 0);
				put_page(page + 1);
				assert_int_equal(device_log.page_frees, 1);
				assert_int_equal(device_log.order, 0);
				assert_int_equal(pgmap.ref, 1);
				assert_true(octavo_validate());
				__free_pages(page, 0);
			}
			assert_int_equal(pgmap.ref, 0);
			end();
			/* what is fatal */
			expect_panic(call_free_frozen, start(types[t], plain), "free_frozen_pages");
			if (plain)
				continue;
			expect_panic(call_free_pages, start(types[t], plain), "__free_pages");
			expect_panic(call_split_page, start(types[t], plain), "split_page");
		}
}

/* ---- refusals: nothing has changed ---- */

COVERS("S1.6 S1.7");
static void test_zone_device_refused(void **state)
{
	int err;

	boot(MEMORY_DEVICE_COHERENT);
	assert_null(zone_device_folio_init(pgmap.words, &pgmap, MAX_FOLIO_ORDER + 1, &err));
	assert_int_equal(err, -EINVAL);
	assert_int_equal(zone_device_page_init(pgmap.words, &pgmap, MAX_FOLIO_ORDER + 1), -EINVAL);
	/* no number of pages at all */
	assert_int_equal(zone_device_page_init(pgmap.words, &pgmap, ~0u), -EINVAL);
	assert_int_equal(pgmap.ref, 0);
	/* a bad frame in the range, wherever it is; those beside it are good */
	assert_int_equal(memory_failure(pgmap.pfn + 3), MF_IGNORED);
	for (unsigned int order = 2; order < 4; order++) {
		assert_null(zone_device_folio_init(pgmap.words, &pgmap, order, &err));
		assert_int_equal(err, -EHWPOISON);
		assert_int_equal(zone_device_page_init(pgmap.words, &pgmap, order), -EHWPOISON);
	}
	assert_int_equal(pgmap.ref, 0);
	assert_true(octavo_validate());
	assert_int_equal(zone_device_page_init(pgmap.words, &pgmap, 1), 0);
	put_page(pgmap.words);
	assert_int_equal(unpoison_memory(pgmap.pfn + 3), 0);
	assert_int_equal(zone_device_page_init(pgmap.words, &pgmap, 2), 0);
	put_page(pgmap.words);
	memunmap_pages(&pgmap);
	/* it is over */
	assert_false(pgmap_tryget(&pgmap, 1));
	assert_null(zone_device_folio_init(pgmap.words, &pgmap, 0, &err));
	assert_int_equal(err, -ENODEV);
	assert_int_equal(zone_device_page_init(pgmap.words, &pgmap, 0), -ENODEV);
	shutdown_clean();
}

static int told;

static int driver_told(struct dev_pagemap *map, unsigned long pfn, unsigned long nr)
{
	assert_ptr_equal(map, &pgmap);
	assert_int_equal(pfn, pgmap.pfn + 5);
	assert_int_equal(nr, 1);
	told++;
	return 0;
}

static void test_zone_device_driver_hears_of_bad_frames(void **state)
{
	static const struct dev_pagemap_ops ops = { .memory_failure = driver_told };
	struct folio *folio;
	int err;

	for (int used = 0; used < 3; used++) {
		boot(MEMORY_DEVICE_GENERIC);
		memunmap_pages(&pgmap);
		pgmap.ops = &ops;
		assert_int_equal(memremap_pages(&pgmap), 0);
		folio = NULL;
		if (used == 1)
			folio = zone_device_folio_init(pgmap.words + 4, &pgmap, 1, &err);
		if (used == 2)
			assert_int_equal(zone_device_page_init(pgmap.words + 4, &pgmap, 1), 0);
		told = 0;
		assert_int_equal(memory_failure(pgmap.pfn + 5), used ? MF_DELAYED : MF_RECOVERED);
		assert_int_equal(told, 1);
		assert_int_equal(memory_failure(pgmap.pfn + 5), MF_ALREADY);
		assert_int_equal(told, 1);
		if (folio) {
			assert_true(folio_test_flag(folio, PG_hwpoison));
			folio_unlock(folio);
			folio_put(folio);
		}
		if (used == 2)
			put_page(pgmap.words + 4);
		assert_int_equal(zone_device_page_init(pgmap.words + 5, &pgmap, 0), -EHWPOISON);
		assert_true(octavo_validate());
		memunmap_pages(&pgmap);
		/* a frame that is bad stays bad, whoever's memory comes to this place */
		assert_int_equal(memremap_pages(&pgmap), 0);
		assert_int_equal(zone_device_page_init(pgmap.words + 5, &pgmap, 0), -EHWPOISON);
		end();
	}
}

/* ---- misuse: fatal in every build ---- */

static void twice(void *arg)
{
	int err;

	zone_device_folio_init(pgmap.words + 2, &pgmap, 1, &err);
	zone_device_folio_init(pgmap.words + 3, &pgmap, 0, &err);
}

static void over_plain(void *arg)
{
	int err;

	if (!zone_device_page_init(pgmap.words + 3, &pgmap, 0))
		zone_device_folio_init(pgmap.words + 2, &pgmap, 1, &err);
}

static void unaligned(void *arg)
{
	int err;

	zone_device_folio_init(pgmap.words + 1, &pgmap, 1, &err);
}

static void beyond(void *arg)
{
	(void)!zone_device_page_init(pgmap.words + pgmap.nr, &pgmap, 0);
}

static void before(void *arg)
{
	(void)!zone_device_page_init(pgmap.words - 1, &pgmap, 0);
}

static void puts_too_many(void *arg)
{
	pgmap_put(&pgmap, 1);
}

static void unmaps_what_never_was(void *arg)
{
	struct dev_pagemap refused = { .type = pgmap.type, .pfn = pgmap.pfn + 1, .nr = ~0ul };

	assert_int_equal(memremap_pages(&refused), -EINVAL);
	memunmap_pages(&refused);
}

static void unmaps_twice(void *arg)
{
	memunmap_pages(&pgmap);
	memunmap_pages(&pgmap);
}

static void frees_mapped(void *arg)
{
	int err;
	struct folio *folio = zone_device_folio_init(pgmap.words, &pgmap, 0, &err);

	folio_unlock(folio);
	WRITE_ONCE(folio->mapcount, 1);
	folio_put(folio);
}

static void frees_locked(void *arg)
{
	int err;

	folio_put(zone_device_folio_init(pgmap.words, &pgmap, 0, &err));
}

static void shares_less_than_none(void *arg)
{
	int err;

	fsdax_share_put(zone_device_folio_init(pgmap.words, &pgmap, 0, &err));
}

static void not_a_page(void *arg)
{
	device_private_page((devidx_t){ pgmap.base.v + pgmap.nr });
}

COVERS("S1.3 S1.6 S1.12");
static void test_zone_device_misuse_is_fatal(void **state)
{
	static const struct {
		void (*fn)(void *arg);
		const char *text;
	} cases[] = {
		{ twice, "not idle" },
		{ over_plain, "not idle" },
		{ unaligned, "no range of pagemap" },
		{ beyond, "no range of pagemap" },
		{ before, "no range of pagemap" },
		{ puts_too_many, "live references" },
		{ unmaps_twice, "is going already" },
		{ unmaps_what_never_was, "never came up" },
		{ frees_mapped, "freed while mapped" },
		{ frees_locked, "freed while locked" },
		{ shares_less_than_none, "fewer files than none" },
		{ not_a_page, "no place" },
	};

	for (unsigned int t = 0; t < ARRAY_SIZE(types); t++)
		for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
			boot(types[t]);
			expect_panic(cases[i].fn, NULL, cases[i].text);
		}
}

#if OCTAVO_DEBUG
static void asks_for_pfn(void *arg)
{
	int err;

	folio_pfn(zone_device_folio_init(pgmap.words, &pgmap, 0, &err));
}

COVERS("S1.45");
static void test_zone_device_private_folio_has_no_pfn(void **state)
{
	boot(MEMORY_DEVICE_PRIVATE);
	expect_panic(asks_for_pfn, NULL, "BUG at");
}
#endif

/* ---- failures ---- */

#if OCTAVO_FAULTS
COVERS("S1.5");
static void test_zone_device_init_fails_at_every_step(void **state)
{
	static const unsigned int orders[] = { 0, 3, MAX_FOLIO_ORDER < 10 ? MAX_FOLIO_ORDER : 10 };

	for (unsigned int o = 0; o < ARRAY_SIZE(orders); o++) {
		for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL, hit)
		{
			struct folio *folio;
			int err = 1;

			octavo_fault_disarm();
			boot(MEMORY_DEVICE_PRIVATE);
			octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
			folio = zone_device_folio_init(pgmap.words, &pgmap, orders[o], &err);
			hit = octavo_fault_disarm();
			assert_int_equal(!!folio, !err);
			assert_true(!err || err == -ENOMEM || err == -ENODEV);
			if (folio) {
				folio_unlock(folio);
				folio_put(folio);
			}
			assert_int_equal(pgmap.ref, 0);
			for (unsigned long i = 0; i < pgmap.nr; i++)
				assert_int_equal(page_memdesc(pgmap.words + i).v, MEMDESC_DEVICE);
			assert_true(octavo_validate());
			end();
		}
	}
}
#endif

/* ---- files ---- */

COVERS("S1.9 S1.43 S1.44");
static void test_zone_device_files_share_and_wait(void **state)
{
	struct folio *folio;
	int err;

	boot(MEMORY_DEVICE_FS_DAX);
	/* idle at once */
	zone_device_wait_idle(&pgmap, 0, pgmap.nr);
	folio = zone_device_folio_init(pgmap.words + 8, &pgmap, 2, &err);
	assert_non_null(folio);
	assert_false(folio_test_anon(folio));
	/* others are not waited for */
	zone_device_wait_idle(&pgmap, 0, 8);
	zone_device_wait_idle(&pgmap, 12, 4);
	assert_int_equal(fsdax_share_count(folio), 0);
	fsdax_share_get(folio);
	fsdax_share_get(folio);
	assert_int_equal(fsdax_share_count(folio), 2);
	fsdax_share_put(folio);
	fsdax_share_put(folio);
	assert_int_equal(fsdax_share_count(folio), 0);
	/* files that have it have no reference: the last user's is the last */
	assert_int_equal(folio_ref_count(folio), 1);
	folio_unlock(folio);
	folio_put(folio);
	assert_int_equal(device_log.frees, 1);
	zone_device_wait_idle(&pgmap, 8, 4);
	end();
}

/* ---- many CPUs ---- */

#define DRIVERS 2u
#define TURNS	(OCTAVO_DEBUG ? 3000 : 20000)

static u32 drivers_done;
static unsigned long walked, made;

static void wait_idle(const struct page *page)
{
	/* a walker may have the last reference */
	while (page_memdesc(page).v != MEMDESC_DEVICE)
		octavo_port_relax();
}

/* Return: false: the memory is going. */
static bool driver_turn(struct page *page, unsigned int order, unsigned int what)
{
	struct folio *folio;
	int err;

	if (what == 0) {
		err = zone_device_page_init(page, &pgmap, order);
		if (!err)
			put_page(page);
		return !err;
	}
	folio = zone_device_folio_init(page, &pgmap, order, &err);
	if (!folio)
		return false;
	fetch_add_relaxed(&made, 1ul);
	if (what == 1 && order && !folio_split(folio, 0, 0, GFP_KERNEL))
		for (unsigned long i = 1; i < 1ul << order; i++) {
			struct folio *piece = folio_of(page + i);

			folio_unlock(piece);
			folio_put(piece);
		}
	folio_unlock(folio);
	folio_put(folio);
	return true;
}

static void driver_cpu(unsigned int cpu)
{
	u64 seed = cpu * 7919 + 1;

	for (unsigned int turn = 0; turn < TURNS; turn++) {
		/* of its own part, at any order */
		unsigned int order;
		unsigned long at;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		order = (unsigned int)(seed >> 60) % 4;
		at = (cpu - 1) * 16 + (((seed >> 33) % 16) & ~((1ul << order) - 1));
		for (unsigned long i = 0; i < 1ul << order; i++)
			wait_idle(pgmap.words + at + i);
		if (!driver_turn(pgmap.words + at, order, (unsigned int)(seed >> 50) % 4))
			break;
	}
	fetch_add_release(&drivers_done, 1u);
}

static void walker_cpu(void)
{
	unsigned long hits = 0;

	for (unsigned long n = 0; smp_load_acquire(&drivers_done) < DRIVERS; n++) {
		struct page *page = pgmap.words + n % (16 * DRIVERS);
		struct folio *folio = page_try_get_folio(page);

		if (!folio) {
			if (try_get_page(page))
				put_page(page);
			continue;
		}
		if (folio_page_idx(folio, page) >= folio_nr_pages(folio) ||
		    folio_pgmap(folio) != &pgmap)
			octavo_panic("not a folio of the page, or the device");
		hits++;
		folio_put(folio);
	}
	WRITE_ONCE(walked, hits);
}

/* The others are drivers. */
static void one_cpu(unsigned int cpu, void *arg)
{
	if (cpu == 0)
		walker_cpu();
	else
		driver_cpu(cpu);
}

static u32 no_ram(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static void free_quietly(struct folio *folio)
{
}

static const struct dev_pagemap_ops quiet_ops = { .folio_free = free_quietly,
						  .migrate_to_ram = no_ram };

COVERS("S1.12 SX.4");
static void test_zone_device_many_cpus(void **state)
{
	for (unsigned int t = 0; t < 2; t++) {
		device_boot(DRIVERS + 1);
		pgmap = device_pagemap(types[t], PAGES);
		pgmap.ops = &quiet_ops;
		assert_int_equal(memremap_pages(&pgmap), 0);
		drivers_done = 0;
		made = walked = 0;
		sim_run(DRIVERS + 1, false, one_cpu, NULL);
		sim_set_cpu(0);
		assert_int_equal(pgmap.ref, 0);
		for (unsigned long i = 0; i < pgmap.nr; i++)
			assert_int_equal(page_memdesc(pgmap.words + i).v, MEMDESC_DEVICE);
		assert_true(octavo_validate());
		end();
	}
}

/* Live references come and go on some CPUs while another takes the memory away: it waits for the last one. */
static u32 holders;

static void hold_or_unmap(unsigned int cpu, void *arg)
{
	if (cpu == 0) {
		while (READ_ONCE(made) < 100)
			octavo_port_relax();
		memunmap_pages(&pgmap);
		if (READ_ONCE(holders))
			octavo_panic("gone while somebody has some");
		return;
	}
	while (pgmap_tryget(&pgmap, cpu)) {
		fetch_add_relaxed(&holders, 1u);
		fetch_add_relaxed(&made, 1ul);
		fetch_sub_relaxed(&holders, 1u);
		pgmap_put(&pgmap, cpu);
	}
}

COVERS("S1.6 S1.7");
static void test_zone_device_live_references_on_many_cpus(void **state)
{
	for (int round = 0; round < 20; round++) {
		device_boot(4);
		pgmap = device_pagemap(MEMORY_DEVICE_PRIVATE, 8);
		assert_int_equal(memremap_pages(&pgmap), 0);
		made = holders = 0;
		sim_run(4, false, hold_or_unmap, NULL);
		sim_set_cpu(0);
		shutdown_clean();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_zone_device_folio_of_every_order_and_type),
		TEST(test_zone_device_reuse_at_every_other_order),
		TEST(test_zone_device_plain_pages),
		TEST(test_zone_device_folio_split),
		TEST(test_zone_device_matrix),
		TEST(test_zone_device_refused),
		TEST(test_zone_device_driver_hears_of_bad_frames),
		TEST(test_zone_device_misuse_is_fatal),
#if OCTAVO_DEBUG
		TEST(test_zone_device_private_folio_has_no_pfn),
#endif
#if OCTAVO_FAULTS
		TEST(test_zone_device_init_fails_at_every_step),
#endif
		TEST(test_zone_device_files_share_and_wait),
		TEST(test_zone_device_many_cpus),
		TEST(test_zone_device_live_references_on_many_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
