/* SPDX-License-Identifier: MIT */
/*
 * test_matrix.c - the matrix of docs/memdesc.md: what each function does to a page of each type.
 *
 * The table below is the matrix, a line a kind of page, a column an operation; every cell is executed on
 * a fresh machine, because many of them end it.
 */
#include "matrix_pages.h"

#include <octavo/string.h>

/* ---- the matrix ---- */

enum outcome {
	no,    /* refused: NULL, false, 0 or an error, and nothing has changed */
	yes,   /* does it, on the page's own allocation */
	FATAL, /* panics with a dump, in every build */
	gone,  /* does it, and the allocation is gone afterwards */
	ok = yes,
};

struct row {
	const char *name;
	struct subject (*make)(void);
	void (*end)(struct subject *s);
	enum memdesc_type type;
	/* columns */
	enum outcome get;	 /* get_page(), and put_page() of what it got */
	enum outcome put;	 /* put_page() of the allocation's own reference */
	enum outcome try_get;	 /* try_get_page() */
	unsigned int count;	 /* page_count() */
	enum outcome folio;	 /* page_folio(), and none of the other views unless of that type */
	enum outcome head;	 /* compound_head() */
	enum outcome split;	 /* split_page() */
	enum outcome free_pages; /* __free_pages() */
	enum outcome free_frozen; /* free_frozen_pages() */
	enum outcome migratable;  /* isolate_movable_page() */
	enum outcome exact;	  /* snapshot_page() vouches for more than the type */
	int failure;		  /* memory_failure() */
};

/* clang-format off */
static const struct row matrix[] = {
/*                                                                  get    put    try  count folio head split  __free free_   isolate snap memory_
 *                                                                                                             _pages frozen          shot failure */
{ "plain counted",          counted_0,        end_plain,    MEMDESC_MISC,     ok,    gone,  ok,  1, no,  yes, yes,   gone,  FATAL, no,  yes, MF_DELAYED },
{ "plain counted, first",   counted_2,        end_plain,    MEMDESC_MISC,     ok,    gone,  ok,  1, no,  yes, yes,   gone,  FATAL, no,  yes, MF_DELAYED },
{ "plain counted, inside",  counted_2_inside, end_plain,    MEMDESC_MISC,     ok,    gone,  ok,  1, no,  yes, FATAL, FATAL, FATAL, no,  yes, MF_DELAYED },
{ "plain frozen",           frozen_0,         end_plain,    MEMDESC_MISC,     FATAL, FATAL, no,  0, no,  yes, yes,   FATAL, gone,  no,  yes, MF_DELAYED },
{ "plain frozen, first",    frozen_2,         end_plain,    MEMDESC_MISC,     FATAL, FATAL, no,  0, no,  yes, yes,   FATAL, gone,  no,  yes, MF_DELAYED },
{ "plain frozen, inside",   frozen_2_inside,  end_plain,    MEMDESC_MISC,     FATAL, FATAL, no,  0, no,  yes, FATAL, FATAL, FATAL, no,  yes, MF_DELAYED },
{ "zero page",              zero_page,        end_plain,    MEMDESC_MISC,     FATAL, FATAL, no,  0, no,  yes, yes,   FATAL, gone,  no,  yes, MF_DELAYED },
{ "reserved",               reserved_page,    end_nothing,  MEMDESC_MISC,     FATAL, FATAL, no,  0, no,  yes, FATAL, FATAL, FATAL, no,  yes, MF_IGNORED },
{ "large kmalloc",          large_kmalloc,    end_kmalloc,  MEMDESC_MISC,     FATAL, FATAL, no,  0, no,  yes, yes,   FATAL, gone,  no,  yes, MF_DELAYED },
{ "folio",                  file_0,           end_folio,    MEMDESC_FILE,     ok,    gone,  ok,  1, yes, no,  FATAL, FATAL, FATAL, no,  yes, MF_DELAYED },
{ "folio, first",           anon_2,           end_folio,    MEMDESC_ANON,     ok,    gone,  ok,  1, yes, no,  FATAL, FATAL, FATAL, no,  yes, MF_DELAYED },
{ "folio, inside",          anon_2_inside,    end_folio,    MEMDESC_ANON,     ok,    gone,  ok,  1, yes, no,  FATAL, FATAL, FATAL, no,  yes, MF_DELAYED },
{ "slab",                   slab_page,        end_slab,     MEMDESC_SLAB,     FATAL, FATAL, no,  0, no,  no,  FATAL, FATAL, FATAL, no,  no,  MF_DELAYED },
{ "page table",             table_0,          end_table,    MEMDESC_PTDESC,   FATAL, FATAL, no,  0, no,  no,  FATAL, FATAL, FATAL, no,  no,  MF_DELAYED },
{ "page table, inside",     table_1_inside,   end_table,    MEMDESC_PTDESC,   FATAL, FATAL, no,  0, no,  no,  FATAL, FATAL, FATAL, no,  no,  MF_DELAYED },
{ "managed",                managed_0,        end_managed,  MEMDESC_MANAGED,  ok,    gone,  ok,  1, no,  no,  FATAL, FATAL, FATAL, no,  yes, MF_DELAYED },
{ "managed, inside",        managed_2_inside, end_managed,  MEMDESC_MANAGED,  ok,    gone,  ok,  1, no,  no,  FATAL, FATAL, FATAL, no,  yes, MF_DELAYED },
{ "movable",                movable_0,        end_movable,  MEMDESC_MOVABLE,  FATAL, FATAL, no,  0, no,  no,  FATAL, FATAL, FATAL, yes, yes, MF_DELAYED },
{ "movable, inside",        movable_2_inside, end_movable,  MEMDESC_MOVABLE,  FATAL, FATAL, no,  0, no,  no,  FATAL, FATAL, FATAL, yes, yes, MF_DELAYED },
{ "poisoned",               poisoned_page,    end_poisoned, MEMDESC_HWPOISON, FATAL, FATAL, no,  0, no,  no,  FATAL, FATAL, FATAL, no,  yes, MF_ALREADY },
{ "free",                   free_page,        end_nothing,  MEMDESC_FREE,     FATAL, FATAL, no,  0, no,  no,  FATAL, FATAL, FATAL, no,  yes, MF_RECOVERED },
{ "device, idle",           device_idle,      end_word,     MEMDESC_DEVICE,   FATAL, FATAL, no,  0, no,  no,  FATAL, FATAL, FATAL, no,  yes, MF_IGNORED },
{ "a type to come",         future_type,      end_word,     MEMDESC_ZPDESC,   FATAL, FATAL, no,  0, no,  no,  FATAL, FATAL, FATAL, no,  no,  MF_DELAYED },
};
/* clang-format on */

/* ---- running a cell ---- */

static struct subject it; /* of the cell that runs */

static void fresh(const struct row *row)
{
	matrix_boot();
	it = row->make();
	if (memdesc_type(page_memdesc(it.page)) != row->type)
		fail_msg("%s: is a %s", row->name,
			 memdesc_type_name(memdesc_type(page_memdesc(it.page))));
}

static void finish(const struct row *row, bool gone_already)
{
	if (gone_already)
		assert_int_equal(page_memdesc(it.page).v, 0);
	else
		row->end(&it);
	it = (struct subject){ 0 };
	shutdown_clean();
}

#define CHECK(row, c)                                            \
	do {                                                     \
		if (!(c))                                        \
			fail_msg("%s: not %s", (row)->name, #c); \
	} while (0)

static void call_get(void *arg)
{
	get_page(arg);
}
static void call_put(void *arg)
{
	put_page(arg);
}
static void call_free_pages(void *arg)
{
	__free_pages(arg, it.order);
}
static void call_free_frozen(void *arg)
{
	free_frozen_pages(arg, it.order);
}
static void call_split(void *arg)
{
	(void)split_page(arg, it.order);
}

static unsigned int dump_lines;
static void count_dump(enum octavo_log_level level, const char *line)
{
	dump_lines += level == OCTAVO_LOG_DUMP;
}

/* The call panics, and shows the page. */
static void must_die(const struct row *row, void (*call)(void *page), const char *name)
{
	const char *reason;

	dump_lines = 0;
	sim_log_to(count_dump);
	reason = sim_expect_panic(call, it.page);
	sim_log_to(NULL);
	if (!reason)
		fail_msg("%s: %s did not panic", row->name, name);
	if (!dump_lines)
		fail_msg("%s: %s: \"%s\" without a dump", row->name, name, reason);
	sim_reset();
}

#define for_each_row(row) \
	for (const struct row *row = matrix; row < matrix + ARRAY_SIZE(matrix); row++)

COVERS("S3.6 S3.7 S3.19 S3.20 S3.22 SX.1 SX.3");
static void test_matrix_get_page(void **state)
{
	for_each_row(row)
	{
		fresh(row);
		if (row->get == FATAL) {
			must_die(row, call_get, "get_page");
			continue;
		}
		get_page(it.page);
		CHECK(row, page_count(it.page) == 2);
		/* the same count from every page of it */
		CHECK(row, page_count(it.first) == 2);
		put_page(it.first);
		CHECK(row, page_count(it.page) == 1);
		finish(row, false);
	}
}

COVERS("S3.6 S3.7 S3.19 S3.20 S3.22 SX.1 SX.3");
static void test_matrix_put_page(void **state)
{
	for_each_row(row)
	{
		fresh(row);
		if (row->put == FATAL) {
			must_die(row, call_put, "put_page");
			continue;
		}
		put_page(it.page);
		finish(row, true);
	}
}

COVERS("S3.10 S3.14 SX.1");
static void test_matrix_try_get_page(void **state)
{
	for_each_row(row)
	{
		unsigned long word;

		fresh(row);
		word = page_memdesc(it.page).v;
		CHECK(row, try_get_page(it.page) == (row->try_get == yes));
		CHECK(row, page_count(it.page) == row->count + (row->try_get == yes));
		if (row->try_get == yes)
			put_page(it.page);
		CHECK(row, page_memdesc(it.page).v == word);
		finish(row, false);
	}
}

COVERS("S3.6 S3.24 SX.1");
static void test_matrix_page_count(void **state)
{
	for_each_row(row)
	{
		fresh(row);
		CHECK(row, page_count(it.page) == row->count);
		finish(row, false);
	}
}

COVERS("S0.1 S0.13 S0.15 S3.4 S3.28 SX.1");
static void test_matrix_typed_views(void **state)
{
	for_each_row(row)
	{
		enum memdesc_type t = row->type;

		fresh(row);
		CHECK(row, page_folio(it.page) == (row->folio == yes ? it.desc : NULL));
		CHECK(row, (page_slab(it.page) != NULL) == (t == MEMDESC_SLAB));
		CHECK(row, page_ptdesc(it.page) == (t == MEMDESC_PTDESC ? it.desc : NULL));
		CHECK(row, page_mgdesc(it.page) == (t == MEMDESC_MANAGED ? it.desc : NULL));
		CHECK(row, page_movable(it.page) == (t == MEMDESC_MOVABLE ? it.desc : NULL));
		finish(row, false);
	}
}

COVERS("S0.1 S0.2 S0.5 S0.6 S0.24 S3.1 S3.4 S3.16 S3.22");
static void test_matrix_compound_head(void **state)
{
	for_each_row(row)
	{
		fresh(row);
		if (row->make == reserved_page)
			it.first = it.page; /* each reserved page stands alone */
		CHECK(row, compound_head(it.page) == (row->head == yes ? it.first : NULL));
		/* no head and no tail: all words of a descriptor's run are identical */
		if (memdesc_is_pointer(page_memdesc(it.page)) && it.desc && !it.cache)
			for (unsigned long i = 0; i < 1ul << it.order; i++)
				CHECK(row, memdesc_eq(page_memdesc(it.first + i),
						      page_memdesc(it.page)));
		finish(row, false);
	}
}

COVERS("S0.7 S0.8 S0.20 SX.1");
static void test_matrix_split_page(void **state)
{
	for_each_row(row)
	{
		unsigned int want;

		fresh(row);
		if (row->split == FATAL) {
			must_die(row, call_split, "split_page");
			continue;
		}
		want = page_count(it.page);
		CHECK(row, split_page(it.page, it.order) == 0);
		for (unsigned long i = 0; i < 1ul << it.order; i++) {
			struct subject one = { .first = it.first + i };

			CHECK(row, compound_head(it.first + i) == it.first + i);
			CHECK(row, page_count(it.first + i) == want);
			end_plain(&one);
		}
		finish(row, true);
	}
}

COVERS("S0.7 S0.20 S3.27 SX.1");
static void test_matrix_free_functions_match_the_type(void **state)
{
	for_each_row(row)
	{
		fresh(row);
		if (row->free_pages == FATAL) {
			must_die(row, call_free_pages, "__free_pages");
		} else {
			__free_pages(it.page, it.order);
			finish(row, true);
		}
		fresh(row);
		if (row->free_frozen == FATAL) {
			must_die(row, call_free_frozen, "free_frozen_pages");
		} else {
			free_frozen_pages(it.page, it.order);
			finish(row, true);
		}
	}
}

static void call_kfree(void *arg)
{
	kfree(page_address(arg));
}

COVERS("S3.27 S3.28");
static void test_matrix_kfree_takes_kmalloc_memory_only(void **state)
{
	for_each_row(row)
	{
		if (row->make == large_kmalloc)
			continue;
		fresh(row);
		if (!sim_expect_panic(call_kfree, it.page))
			fail_msg("%s: kfree did not panic", row->name);
		sim_reset();
	}
}

COVERS("S3.15 SX.1");
static void test_matrix_isolate_movable_page(void **state)
{
	for_each_row(row)
	{
		struct movable *mv;

		fresh(row);
		mv = isolate_movable_page(it.page);
		CHECK(row, mv == (row->migratable == yes ? it.desc : NULL));
		if (mv)
			putback_movable_page(mv);
		finish(row, false);
	}
}

COVERS("S3.16 S3.24");
static void test_matrix_snapshot(void **state)
{
	for_each_row(row)
	{
		struct page_snapshot ps;

		fresh(row);
		CHECK(row, snapshot_page(&ps, page_to_pfn(it.page)) == 0);
		CHECK(row, ps.type == row->type && memdesc_eq(ps.word, page_memdesc(it.page)));
		CHECK(row, ps.exact == (row->exact == yes));
		CHECK(row, ps.refcount == row->count);
		if (ps.exact && row->make != reserved_page) {
			CHECK(row, ps.order == it.order);
			CHECK(row, ps.first_pfn == page_to_pfn(it.first));
		}
		CHECK(row, page_count(it.page) == row->count);
		finish(row, false);
	}
}

/* ---- the word itself ---- */

/* What the fields say, put together again: nothing of a plain word is in none of them. */
static unsigned long plain_word(memdesc_t md)
{
	return MEMDESC_MISC | (unsigned long)memdesc_subtype(md) << MISC_SUBTYPE_SHIFT |
	       (memdesc_mappable(md) ? MISC_MAPPABLE : 0) |
	       (unsigned long)memdesc_order(md) << MISC_ORDER_SHIFT |
	       (unsigned long)memdesc_count(md) << MISC_COUNT_SHIFT |
	       (memdesc_frozen(md) ? MISC_FROZEN : 0) |
	       (unsigned long)memdesc_owner_bits(md) << MISC_OWNER_SHIFT;
}

COVERS("S3.1 S3.2 S3.17 S3.18");
static void test_matrix_the_word_is_all_there_is(void **state)
{
	assert_int_equal(sizeof(struct page), 8);
	for_each_row(row)
	{
		fresh(row);
		for (unsigned long i = 0; i < 1ul << it.order; i++) {
			struct page *page = it.first + i;
			memdesc_t md = page_memdesc(page);
			unsigned long rest = md.v & ~15ul, raw;

			/* the eight bytes of a frame, and the next frame's right behind */
			CHECK(row, (char *)page == (char *)pfn_to_page(0) + page_to_pfn(page) * 8);
			memcpy(&raw, page, sizeof(raw));
			CHECK(row, raw == md.v);
			/* four bits tell what the others are */
			CHECK(row, (md.v & 15) == (unsigned long)row->type);
			CHECK(row, memdesc_is_pointer(md) == (it.desc != NULL));
			if (memdesc_is_pointer(md) && !it.cache)
				CHECK(row, (void *)rest == it.desc);
			else if (row->type == MEMDESC_MISC)
				CHECK(row, plain_word(md) == md.v);
			else if (memdesc_valid(md) && !it.cache)
				CHECK(row, rest == 0);
			CHECK(row, memdesc_valid(md) == (row->make != future_type));
		}
		finish(row, false);
	}
}

/* Every question about a page is answered by its own word: the others may say what they like meanwhile. */
COVERS("S3.3 S3.4");
static void test_matrix_looking_up_needs_no_other_page(void **state)
{
	for_each_row(row)
	{
		enum memdesc_type t = row->type;
		unsigned long nr, words[8];

		fresh(row);
		nr = 1ul << it.order;
		assert_true(nr <= ARRAY_SIZE(words));
		for (unsigned long i = 0; i < nr; i++)
			words[i] = page_memdesc(it.first + i).v;
		for (unsigned long i = 0; i < nr; i++) {
			struct page *page = it.first + i, *head = it.first;

			for (unsigned long k = 0; k < nr; k++)
				if (k != i)
					WRITE_ONCE(it.first[k].memdesc.v,
						   0xdead0ul | MEMDESC_INVALID);
			if (row->make == reserved_page)
				head = page; /* each stands alone */
			CHECK(row, compound_head(page) == (row->head == yes ? head : NULL));
			CHECK(row, page_folio(page) == (row->folio == yes ? it.desc : NULL));
			CHECK(row, (page_slab(page) != NULL) == (t == MEMDESC_SLAB));
			CHECK(row, page_ptdesc(page) == (t == MEMDESC_PTDESC ? it.desc : NULL));
			CHECK(row, page_mgdesc(page) == (t == MEMDESC_MANAGED ? it.desc : NULL));
			CHECK(row, page_movable(page) == (t == MEMDESC_MOVABLE ? it.desc : NULL));
			for (unsigned long k = 0; k < nr; k++)
				WRITE_ONCE(it.first[k].memdesc.v, words[k]);
		}
		finish(row, false);
	}
}

static const struct sim_config many_zones = {
	.bytes = 8 * SECTION_SIZE,
	.nodes = 2,
	.dma_limit = SECTION_SIZE,
	.dma32_limit = 2 * SECTION_SIZE,
	.movable_bytes = SECTION_SIZE,
};

/* From how that machine was described, not from the section table. */
static void check_place(const struct page *page)
{
	static const enum zone_type zone[] = {
		ZONE_DMA,    ZONE_DMA32,  ZONE_NORMAL, ZONE_MOVABLE,
		ZONE_NORMAL, ZONE_NORMAL, ZONE_NORMAL, ZONE_MOVABLE
	};
	unsigned long section = page_to_pfn(page) >> SECTION_ORDER;

	assert_int_equal(page_zone(page), zone[section]);
	assert_int_equal(page_to_nid(page), section / 4);
}

COVERS("S3.21");
static void test_matrix_zone_and_node_are_not_in_the_word(void **state)
{
	/* whatever a word can say, in each section */
	assert_int_equal(sim_boot(&many_zones), 0);
	for (unsigned long pfn = 5; pfn < 8ul << SECTION_ORDER; pfn += 1ul << SECTION_ORDER) {
		struct page *page = pfn_to_page(pfn);
		unsigned long was = page_memdesc(page).v;

		check_place(page);
		for (unsigned long t = 0; t < MEMDESC_NR_TYPES; t++)
			for (unsigned int bit = 4; bit <= 64; bit++) {
				unsigned long payload = bit == 64 ? ~15ul : 1ul << bit;

				WRITE_ONCE(page->memdesc.v, payload | t);
				check_place(page);
			}
		WRITE_ONCE(page->memdesc.v, was);
	}
	assert_int_equal(sim_shutdown(), 0);
	/* and what they do say, of pages as they are made */
	for_each_row(row)
	{
		if (row->make == reserved_page) /* of another machine */
			continue;
		assert_int_equal(sim_boot(&many_zones), 0);
		it = row->make();
		for (unsigned long i = 0; i < 1ul << it.order; i++)
			check_place(it.first + i);
		finish(row, false);
	}
}

static void test_matrix_memory_failure(void **state)
{
	for_each_row(row)
	{
		unsigned long pfn;
		bool was_known;

		fresh(row);
		pfn = page_to_pfn(it.page);
		was_known = pfn_poisoned(pfn);
		CHECK(row, memory_failure(pfn) == row->failure);
		CHECK(row, pfn_poisoned(pfn));
		CHECK(row, memory_failure(pfn) == MF_ALREADY);
		CHECK(row, page_count(it.page) == row->count);
		if (row->failure == MF_RECOVERED || was_known) {
			CHECK(row, memdesc_type(page_memdesc(it.page)) == MEMDESC_HWPOISON);
			if (was_known) {
				finish(row, false);
				continue;
			}
		} else {
			/* the word stands until whoever uses the page frees it */
			CHECK(row, memdesc_type(page_memdesc(it.page)) == row->type);
			row->end(&it);
			if (row->end != end_nothing && row->end != end_slab)
				CHECK(row, memdesc_type(page_memdesc(it.page)) == MEMDESC_HWPOISON);
		}
		CHECK(row, unpoison_memory(pfn) == 0);
		CHECK(row, unpoison_memory(pfn) == -ENOENT);
		it = (struct subject){ 0 };
		shutdown_clean();
	}
}

static struct page *returned;
static void take_back(struct page *page, unsigned int order)
{
	assert_int_equal(order, 1);
	returned = page;
}
static const struct device_upcalls device_upcalls = { .page_free = take_back };

/* The row "plain counted" for subtype Device: the last put gives the pages to their driver. */
COVERS("S3.7 SX.1");
static void test_matrix_device_pages_go_back_to_their_driver(void **state)
{
	boot_small(64, 1);
	octavo_state.upcalls.device = &device_upcalls;
	it = make_plain(MISC_DEVICE, 1, false, 1);
	assert_true(try_get_page(it.page));
	put_page(it.page);
	returned = NULL;
	put_page(it.page);
	assert_ptr_equal(returned, it.first);
	for (int i = 0; i < 2; i++)
		assert_int_equal(page_memdesc(it.first + i).v, MEMDESC_DEVICE);
	words_fill_release(&it.first->memdesc.v, 0, 2);
	frame_free(page_to_pfn(it.first), 1);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_matrix_get_page),
		TEST(test_matrix_put_page),
		TEST(test_matrix_try_get_page),
		TEST(test_matrix_page_count),
		TEST(test_matrix_typed_views),
		TEST(test_matrix_compound_head),
		TEST(test_matrix_split_page),
		TEST(test_matrix_free_functions_match_the_type),
		TEST(test_matrix_kfree_takes_kmalloc_memory_only),
		TEST(test_matrix_isolate_movable_page),
		TEST(test_matrix_snapshot),
		TEST(test_matrix_the_word_is_all_there_is),
		TEST(test_matrix_looking_up_needs_no_other_page),
		TEST(test_matrix_zone_and_node_are_not_in_the_word),
		TEST(test_matrix_memory_failure),
		TEST(test_matrix_device_pages_go_back_to_their_driver),
	};

	return cmocka_run_group_tests_name("matrix", tests, NULL, NULL);
}
