/* SPDX-License-Identifier: MIT */
/*
 * test_plain.c - plain pages: words, counts, saturation, split, exact and bulk.
 */
#include "test.h"

#include "plain_words.h"

#define TOP_ORDER min(MAX_FOLIO_ORDER, 10)

/* ---- words ---- */

COVERS("S0.1 S0.2 S0.5 S0.6 S0.19 S0.21 S0.24 S0.26 S3.4 S3.18 S3.19 S3.20 S3.28");
static void test_plain_words_of_every_order(void **state)
{
	u64 free;

	boot_small(64, 1);
	free = nr_free_pages();
	for (unsigned int order = 0; order <= (unsigned int)TOP_ORDER; order++) {
		struct page *page = alloc_pages(GFP_KERNEL, order);

		assert_non_null(page);
		check_words(page, order, MISC_DRIVER, 1, false);
		assert_int_equal(nr_free_pages(), free - (1ul << order));
		__free_pages(page, order);
		check_free(page, 1ul << order);
		page = alloc_frozen_pages(GFP_KERNEL, order);
		assert_non_null(page);
		check_words(page, order, MISC_DRIVER, 0, true);
		free_frozen_pages(page, order);
		check_free(page, 1ul << order);
		page = __alloc_plain_pages(GFP_KERNEL, order, NUMA_NO_NODE, MISC_LARGE_KMALLOC,
					   true);
		check_words(page, order, MISC_LARGE_KMALLOC, 0, true);
		free_frozen_pages(page, order);
		assert_int_equal(nr_free_pages(), free);
	}
	assert_null(alloc_pages(GFP_KERNEL, MAX_FOLIO_ORDER + 1));
	shutdown_clean();
}

static void test_plain_zeroed_if_asked(void **state)
{
	unsigned long pfn;
	struct page *page;
	char *p;

	boot_small(64, 1);
	page = alloc_pages(GFP_KERNEL, 2);
	pfn = page_to_pfn(page);
	memset(page_address(page), 0xa5, PAGE_SIZE << 2);
	__free_pages(page, 2);
	/* the same frames, so that it is the flag and not luck */
	for (page = NULL; !page;) {
		page = alloc_pages(GFP_KERNEL | __GFP_ZERO, 2);
		assert_non_null(page);
		if (page_to_pfn(page) != pfn) {
			__free_pages(page, 2);
			assert_int_equal(frame_alloc_at(pfn, 2, 0), 0);
			frame_free(pfn, 2);
			break;
		}
	}
	if (page_to_pfn(page) == pfn) {
		p = page_address(page);
		for (unsigned long i = 0; i < PAGE_SIZE << 2; i++)
			assert_int_equal(p[i], 0);
		__free_pages(page, 2);
	}
	shutdown_clean();
}

static void test_plain_pages_at_a_place(void **state)
{
	unsigned long pfn;
	struct page *page;

	boot_small(64, 1);
	pfn = 4ul << 6;
	page = alloc_plain_pages_at(pfn, 3, MISC_KERNEL, false, 0);
	assert_ptr_equal(page, pfn_to_page(pfn));
	check_words(page, 3, MISC_KERNEL, 1, false);
	assert_null(alloc_plain_pages_at(pfn + 4, 2, MISC_KERNEL, false, 0));
	assert_null(alloc_plain_pages_at(pfn + 9, 1, MISC_KERNEL, false, 0));
	assert_null(alloc_plain_pages_at(~0ul >> 13, 0, MISC_KERNEL, false, 0));
	plain_put(page + 5);
	check_free(page, 8);
	shutdown_clean();
}

static void test_plain_word_validity(void **state)
{
	const memdesc_t good[] = {
		memdesc_mk(0),
		memdesc_misc(MISC_DRIVER, MAX_FOLIO_ORDER, MISC_COUNT_SATURATED),
		memdesc_misc_frozen(MISC_RESERVED, 0),
		memdesc_pointer(MEMDESC_HWPOISON, NULL),
		memdesc_pointer(MEMDESC_DEVICE, NULL),
		memdesc_pointer(MEMDESC_SLAB, (void *)0x1000),
	};
	const memdesc_t bad[] = {
		memdesc_mk(0x10),
		memdesc_misc((enum misc_subtype)MISC_NR_SUBTYPES, 0, 1),
		memdesc_misc(MISC_DRIVER, MAX_FOLIO_ORDER + 1, 1),
		memdesc_misc(MISC_DRIVER, 0, MISC_COUNT_SATURATED + 1),
		memdesc_mk(memdesc_misc_frozen(MISC_DRIVER, 0).v | MISC_COUNT_ONE),
		memdesc_pointer(MEMDESC_HWPOISON, (void *)0x1000),
		memdesc_pointer(MEMDESC_SLAB, NULL),
		memdesc_pointer(MEMDESC_ZPDESC, (void *)0x1000),
		memdesc_pointer(MEMDESC_INVALID, NULL),
	};

	for (u32 i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(memdesc_valid(good[i]));
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(memdesc_valid(bad[i]));
	for (u32 i = 0; i < MEMDESC_NR_TYPES; i++)
		assert_string_not_equal(memdesc_type_name((enum memdesc_type)i), "?");
	for (u32 i = 0; i < MISC_NR_SUBTYPES; i++)
		assert_string_not_equal(misc_subtype_name((enum misc_subtype)i), "?");
	assert_string_equal(memdesc_type_name((enum memdesc_type)16), "?");
	assert_string_equal(misc_subtype_name((enum misc_subtype)MISC_NR_SUBTYPES), "?");
}

/* ---- counts ---- */

COVERS("S3.6 S3.7 S3.13");
static void test_plain_counted_get_put_through_any_page(void **state)
{
	struct page *page;
	u64 free;

	boot_small(64, 1);
	free = nr_free_pages();
	page = alloc_pages(GFP_KERNEL, 3);
	for (unsigned int i = 0; i < 8; i++) {
		get_page(page + i);
		check_words(page, 3, MISC_DRIVER, 2 + 2 * i, false);
		assert_true(try_get_page(page + 7 - i));
		check_words(page, 3, MISC_DRIVER, 3 + 2 * i, false);
	}
	/* the allocation's own reference goes first; the others keep it */
	__free_pages(page, 3);
	for (unsigned int i = 0; i < 16; i++) {
		check_words(page, 3, MISC_DRIVER, 16 - i, false);
		assert_int_equal(nr_free_pages(), free - 8);
		put_page(page + i % 8);
	}
	check_free(page, 8);
	assert_int_equal(nr_free_pages(), free);
	shutdown_clean();
}

static void test_plain_try_get_fails_on_whatever_has_no_count(void **state)
{
	struct page *page, *frozen;
	const unsigned long other[] = {
		memdesc_misc_frozen(MISC_RESERVED, 0).v,
		memdesc_misc(MISC_DRIVER, 0, 0).v,
		memdesc_misc(MISC_DRIVER, 63, 1).v, /* an order that cannot be */
		memdesc_pointer(MEMDESC_HWPOISON, NULL).v,
		memdesc_pointer(MEMDESC_DEVICE, NULL).v,
		memdesc_pointer(MEMDESC_SLAB, (void *)0x10).v,
		memdesc_pointer(MEMDESC_FILE, (void *)0x10).v,
		memdesc_pointer(MEMDESC_PTDESC, (void *)0x10).v,
		memdesc_pointer(MEMDESC_INVALID, (void *)0x10).v,
	};
	unsigned long was;

	boot_small(64, 1);
	frozen = alloc_frozen_pages(GFP_KERNEL, 1);
	assert_false(try_get_page(frozen));
	assert_false(plain_try_get(frozen + 1));
	check_words(frozen, 1, MISC_DRIVER, 0, true);
	free_frozen_pages(frozen, 1);
	page = alloc_page(GFP_KERNEL);
	was = word(page).v;
	for (u32 i = 0; i < ARRAY_SIZE(other); i++) {
		WRITE_ONCE(page->memdesc.v, other[i]);
		assert_false(plain_try_get(page));
		assert_int_equal(plain_count(page), 0);
		assert_int_equal(word(page).v, other[i]);
	}
	WRITE_ONCE(page->memdesc.v, was);
	__free_page(page);
	shutdown_clean();
}

/*
 * A walker with a stale view of a tail: its order is not the head's any more, so the reference would not be
 * on an allocation that has the page.
 */
static void test_plain_try_get_through_a_stale_tail(void **state)
{
	struct page *page;
	unsigned long tail;

	boot_small(64, 1);
	page = alloc_pages(GFP_KERNEL, 2);
	tail = word(page + 1).v;
	__free_pages(page, 2);
	page = alloc_plain_pages_at(page_to_pfn(page), 0, MISC_DRIVER, false, 0);
	assert_non_null(page);
	WRITE_ONCE(page[1].memdesc.v, tail);
	assert_false(plain_try_get(page + 1));
	check_words(page, 0, MISC_DRIVER, 1, false);
	WRITE_ONCE(page[1].memdesc.v, 0ul);
	__free_page(page);
	shutdown_clean();
}

static void set_count(struct page *page, unsigned int count)
{
	WRITE_ONCE(page->memdesc.v,
		   (word(page).v & ~MISC_COUNT_MASK) | (unsigned long)count << MISC_COUNT_SHIFT);
}

static void ignore_log(enum octavo_log_level level, const char *line)
{
}

static void test_plain_count_saturates_and_sticks(void **state)
{
	struct page *page;
	const char *line;

	boot_small(64, 1);
	sim_log_to(ignore_log);
	sim_log_take(NULL);
	page = alloc_pages(GFP_KERNEL, 1);
	for (unsigned int n = 1; n < MISC_COUNT_SATURATED - 2; n++)
		plain_get(page);
	assert_true(plain_try_get(page + 1));
	assert_int_equal(plain_count(page), MISC_COUNT_SATURATED - 1);
	/* a walker may not be the one who saturates it */
	assert_false(plain_try_get(page));
	assert_int_equal(plain_count(page), MISC_COUNT_SATURATED - 1);
	plain_put(page);
	plain_get(page + 1);
	assert_int_equal(sim_log_take(NULL), 0);
	plain_get(page);
	assert_int_equal(sim_log_take(&line), 1);
	assert_non_null(strstr(line, "saturated"));
	for (int i = 0; i < 100; i++) {
		plain_get(page);
		assert_false(plain_try_get(page));
		plain_put(page + 1);
		plain_put(page);
		assert_int_equal(plain_count(page), MISC_COUNT_SATURATED);
	}
	assert_int_equal(split_page(page, 1), -EBUSY);
	__free_pages(page, 1);
	check_words(page, 1, MISC_DRIVER, MISC_COUNT_SATURATED, false);
	/* said once, though it was put many times */
	assert_int_equal(sim_log_take(NULL), 0);
	sim_log_to(NULL);
	assert_true(octavo_validate());
	assert_int_equal(sim_shutdown(), 2);
}

static struct page *shared;
static u32 reached; /* threads that have begun */

static void saturate(unsigned int cpu, void *arg)
{
	fetch_add_relaxed(&reached, 1u);
	while (READ_ONCE(reached) < 3)
		octavo_port_relax();
	/* each holds a reference all the time: those that set_count() left are theirs */
	for (int i = 0; i < 3000; i++) {
		plain_get(shared);
		if (plain_try_get(shared + 1))
			plain_put(shared);
		if (i % 4)
			plain_put(shared + 1);
	}
}

static void test_plain_saturation_from_many_sides(void **state)
{
	const char *line;

	boot_small(64, 3);
	sim_log_to(ignore_log);
	sim_log_take(NULL);
	reached = 0;
	shared = alloc_pages(GFP_KERNEL, 1);
	set_count(shared, MISC_COUNT_SATURATED - 1000);
	sim_run(3, false, saturate, NULL);
	/* 2250 more gets than puts: it is there, exactly there, and was announced once */
	assert_int_equal(plain_count(shared), MISC_COUNT_SATURATED);
	assert_int_equal(sim_log_take(&line), 1);
	sim_log_to(NULL);
	set_count(shared, 1);
	__free_pages(shared, 1);
	shutdown_clean();
}

static void count_or_set(unsigned int cpu, void *arg)
{
	if (cpu == 0) {
		/* nothing but this, so that the line is another CPU's whenever the word is read */
		for (unsigned long i = 0; i < 60000; i++) {
			page_set_owner_bits(shared, i);
			page_set_mappable(shared + 1, i & 1);
		}
		WRITE_ONCE(reached, 1);
		return;
	}
	for (unsigned int i = 0; i < 1000 || !READ_ONCE(reached); i++) {
		plain_get(shared + i % 4);
		if (plain_try_get(shared + 3 - i % 4))
			plain_put(shared + 1);
		plain_put(shared + i % 3);
	}
}

/* Counts and payload bits share the head's word. */
static void test_plain_counts_beside_setters(void **state)
{
	boot_small(64, 3);
	reached = 0;
	shared = alloc_pages(GFP_KERNEL, 2);
	sim_run(3, false, count_or_set, NULL);
	assert_int_equal(plain_count(shared), 1);
	assert_int_equal(memdesc_owner_bits(word(shared)), 59999);
	assert_true(memdesc_mappable(word(shared + 3)));
	__free_pages(shared, 2);
	check_free(shared, 4);
	shutdown_clean();
}

/* ---- allocation and walkers ---- */

static struct page *head_of(struct page *page, unsigned int order)
{
	return pfn_to_page(ALIGN_DOWN(page_to_pfn(page), 1ul << order));
}

#define PATIENCE 100u

static struct {
	unsigned long pfn;
	u32 stop;
	u32 pause;
	u64 got;
} walk;

/* The owner has been refused. Now and then it may be for ever, if walkers always have it: then they stand still. */
static void refused(u32 tries)
{
	if (tries == PATIENCE)
		WRITE_ONCE(walk.pause, 1);
	octavo_port_relax();
}

/* Of pages that are there, and that walkers may have: until one of them has had one. */
static void let_them_walk(void)
{
	const u64 before = READ_ONCE(walk.got);

	while (READ_ONCE(walk.got) == before)
		octavo_port_relax();
}

#define WALK_ROUNDS 400u
#define LET_THEM    16u
#define WALK_ORDER  6u /* long enough that a walker can come in between its words */

static void allocate_or_walk(unsigned int cpu, void *arg)
{
	if (cpu == 0) {
		for (u32 i = 0; i < WALK_ROUNDS; i++) {
			unsigned int order = i % 3 ? WALK_ORDER : i % (WALK_ORDER + 1);
			struct page *page;

			/* a walker that was the last one out may be on its way to give the frames back */
			while (!(page = alloc_plain_pages_at(walk.pfn, order, MISC_DRIVER, i & 8,
							     0)))
				octavo_port_relax();
			if (i % LET_THEM == 0)
				let_them_walk();
			for (u32 turn = 0; turn < i % 32; turn++)
				octavo_port_relax();
			if (i & 8)
				free_frozen_pages(page, order);
			else
				__free_pages(page, order);
		}
		WRITE_ONCE(walk.stop, 1);
		return;
	}
	for (unsigned long i = cpu; !READ_ONCE(walk.stop); i++) {
		struct page *page = pfn_to_page(walk.pfn + (i & 1 ? 0 : i % (1u << WALK_ORDER)));
		unsigned int order;

		if (READ_ONCE(walk.pause) || !plain_try_get(page)) {
			/* the owner has to be run for there to be any */
			octavo_port_relax();
			continue;
		}
		/* with the reference all words are those of one allocation, and stay so */
		order = memdesc_order(word(page));
		for (unsigned long k = 0; k < 1ul << order; k++) {
			memdesc_t md = word(head_of(page, order) + k);

			if (!memdesc_is_misc(md) || memdesc_order(md) != order ||
			    memdesc_frozen(md))
				abort();
		}
		if (!plain_count(page))
			abort();
		plain_put(page);
		fetch_add_relaxed(&walk.got, 1ul);
	}
}

static void test_plain_walkers_beside_alloc_and_free(void **state)
{
	boot_small(64, 3);
	memset(&walk, 0, sizeof(walk));
	walk.pfn = 1ul << 8;
	sim_run(3, false, allocate_or_walk, NULL);
	assert_true(walk.got >= WALK_ROUNDS / LET_THEM);
	check_free(pfn_to_page(walk.pfn), 1ul << WALK_ORDER);
	shutdown_clean();
}

/* ---- split ---- */

COVERS("S0.1 S4.12");
static void test_plain_split_makes_single_pages(void **state)
{
	struct page *page;
	u64 free;

	boot_small(64, 1);
	free = nr_free_pages();
	for (int frozen = 0; frozen < 2; frozen++) {
		for (unsigned int order = 0; order <= 5; order++) {
			page = __alloc_plain_pages(GFP_KERNEL, order, NUMA_NO_NODE, MISC_VMALLOC,
						   frozen);
			page_set_mappable(page, true);
			for (unsigned long i = 0; i < 1ul << order; i++)
				page_set_owner_bits(page + i, i + 3);
			assert_int_equal(split_page(page, order), 0);
			for (unsigned long i = 0; i < 1ul << order; i++) {
				check_words(page + i, 0, MISC_VMALLOC, frozen ? 0 : 1, frozen);
				assert_true(memdesc_mappable(word(page + i)));
				assert_int_equal(memdesc_owner_bits(word(page + i)), i + 3);
			}
			/* each is on its own */
			for (unsigned long i = 1ul << order; i--;) {
				if (frozen)
					free_frozen_pages(page + i, 0);
				else
					plain_put(page + i);
				assert_int_equal(nr_free_pages(), free - i);
			}
		}
	}
	shutdown_clean();
}

static void test_plain_split_of_a_shared_allocation_is_busy(void **state)
{
	struct page *page;

	boot_small(64, 1);
	page = alloc_pages(GFP_KERNEL, 2);
	plain_get(page + 3);
	assert_int_equal(split_page(page, 2), -EBUSY);
	check_words(page, 2, MISC_DRIVER, 2, false);
	plain_put(page);
	assert_int_equal(split_page(page, 2), 0);
	for (int i = 0; i < 4; i++)
		__free_page(page + i);
	shutdown_clean();
}

static void split_or_walk(unsigned int cpu, void *arg)
{
	if (cpu) {
		allocate_or_walk(cpu, arg);
		return;
	}
	for (u32 i = 0; i < WALK_ROUNDS; i++) {
		struct page *page;

		while (!(page = alloc_plain_pages_at(walk.pfn, WALK_ORDER, MISC_DRIVER, false, 0)))
			octavo_port_relax();
		if (i % LET_THEM == 0)
			let_them_walk();
		for (u32 turn = 0; turn < i % 32; turn++)
			octavo_port_relax();
		for (u32 tries = 0; split_page(page, WALK_ORDER); tries++)
			refused(tries);
		WRITE_ONCE(walk.pause, 0);
		for (unsigned long k = 0; k < 1ul << WALK_ORDER; k++) {
			memdesc_t md = word(page + k);

			if (memdesc_order(md) || memdesc_frozen(md) || !memdesc_count(md))
				abort();
			__free_page(page + k);
		}
	}
	WRITE_ONCE(walk.stop, 1);
}

static void test_plain_split_beside_walkers(void **state)
{
	boot_small(64, 3);
	memset(&walk, 0, sizeof(walk));
	walk.pfn = 1ul << 8;
	sim_run(3, false, split_or_walk, NULL);
	assert_true(walk.got >= WALK_ROUNDS / LET_THEM);
	check_free(pfn_to_page(walk.pfn), 1ul << WALK_ORDER);
	shutdown_clean();
}

/* ---- exact, bulk, setters ---- */

COVERS("S3.19");
static void test_plain_exact_takes_no_page_too_many(void **state)
{
	const size_t sizes[] = { 1,
				 PAGE_SIZE,
				 PAGE_SIZE + 1,
				 3 * PAGE_SIZE,
				 7 * PAGE_SIZE - 9,
				 8 * PAGE_SIZE,
				 11 * PAGE_SIZE,
				 33 * PAGE_SIZE };
	u64 free;

	boot_small(64, 1);
	free = nr_free_pages();
	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned long nr = DIV_ROUND_UP(sizes[i], PAGE_SIZE);
		char *p = alloc_pages_exact(sizes[i], GFP_KERNEL | __GFP_ZERO);

		assert_non_null(p);
		assert_int_equal(nr_free_pages(), free - nr);
		for (unsigned long k = 0; k < nr * PAGE_SIZE; k += 511)
			assert_int_equal(p[k], 0);
		memset(p, 0x5a, nr * PAGE_SIZE);
		for (unsigned long k = 0; k < nr; k++)
			check_words(virt_to_page(p) + k, 0, MISC_EXACT, 0, true);
		free_pages_exact(p, sizes[i]);
		check_free(virt_to_page(p), nr);
		assert_int_equal(nr_free_pages(), free);
	}
	assert_null(alloc_pages_exact(0, GFP_KERNEL));
	assert_null(alloc_pages_exact((PAGE_SIZE << MAX_FOLIO_ORDER) + 1, GFP_KERNEL));
	assert_null(alloc_pages_exact(~(size_t)0, GFP_KERNEL));
	shutdown_clean();
}

static void test_plain_bulk_fills_the_gaps(void **state)
{
	enum { NR = 300 };
	static struct page *pages[NR];
	struct page *mine;
	u64 free;

	boot_small(64, 1);
	free = nr_free_pages();
	memset(pages, 0, sizeof(pages));
	mine = alloc_page(GFP_KERNEL);
	pages[0] = pages[77] = pages[NR - 1] = mine;
	assert_int_equal(alloc_pages_bulk(GFP_KERNEL, NR, pages), NR);
	assert_int_equal(nr_free_pages(), free - (NR - 2));
	for (int i = 0; i < NR; i++) {
		check_words(pages[i], 0, MISC_DRIVER, 1, false);
		assert_int_equal(pages[i] == mine, i == 0 || i == 77 || i == NR - 1);
	}
	assert_int_equal(alloc_pages_bulk(GFP_KERNEL, NR, pages), NR);
	pages[0] = pages[77] = NULL;
	/* somebody else holds one: it stays */
	plain_get(mine);
	free_pages_bulk(NR, pages);
	for (int i = 0; i < NR; i++)
		assert_null(pages[i]);
	assert_int_equal(nr_free_pages(), free - 1);
	check_words(mine, 0, MISC_DRIVER, 1, false);
	__free_page(mine);
	shutdown_clean();
}

static void test_plain_bulk_says_what_it_got_when_memory_ends(void **state)
{
	static struct page *pages[4096];
	struct sim_config cfg = { .bytes = 4 << 20, .quiet = true };
	unsigned long n, filled = 0;

	assert_int_equal(sim_boot(&cfg), 0);
	memset(pages, 0, sizeof(pages));
	n = alloc_pages_bulk(__GFP_MEMALLOC, 4096, pages);
	for (u32 i = 0; i < 4096; i++)
		filled += pages[i] != NULL;
	assert_int_equal(n, filled);
	assert_in_range(n, 1, totalram_pages());
	assert_null(alloc_page(__GFP_MEMALLOC));
	free_pages_bulk(4096, pages);
	shutdown_clean();
}

static void test_plain_setters_change_payload_only(void **state)
{
	struct page *page;

	boot_small(64, 1);
	page = alloc_pages(GFP_KERNEL, 2);
	plain_get(page);
	page_set_subtype(page + 2, MISC_VMALLOC);
	check_words(page, 2, MISC_VMALLOC, 2, false);
	page_set_mappable(page + 1, true);
	for (int i = 0; i < 4; i++)
		assert_true(memdesc_mappable(word(page + i)));
	page_set_owner_bits(page + 3, (1ul << 21) - 1);
	assert_int_equal(memdesc_owner_bits(word(page + 3)), (1ul << 21) - 1);
	assert_int_equal(memdesc_owner_bits(word(page)), 0);
	check_words(page, 2, MISC_VMALLOC, 2, false);
	page_set_mappable(page + 1, false);
	page_set_owner_bits(page + 3, 0);
	for (int i = 0; i < 4; i++)
		assert_false(memdesc_mappable(word(page + i)));
	plain_put(page);
	plain_put(page);
	check_free(page, 4);
	shutdown_clean();
}

static struct page *device_freed;
static unsigned int device_order;

static void device_page_free(struct page *page, unsigned int order)
{
	device_freed = page;
	device_order = order;
}

static void test_plain_device_pages_go_back_to_their_driver(void **state)
{
	static const struct device_upcalls upcalls = { .page_free = device_page_free };
	struct page *page;
	u64 free;

	boot_small(64, 1);
	octavo_state.upcalls.device = &upcalls;
	free = nr_free_pages();
	page = __alloc_plain_pages(GFP_KERNEL, 2, NUMA_NO_NODE, MISC_DEVICE, false);
	device_freed = NULL;
	plain_get(page + 1);
	plain_put(page);
	assert_null(device_freed);
	plain_put(page + 3);
	assert_ptr_equal(device_freed, page);
	assert_int_equal(device_order, 2);
	/* not to the allocator */
	assert_int_equal(nr_free_pages(), free - 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(word(page + i).v, memdesc_pointer(MEMDESC_DEVICE, NULL).v);
		WRITE_ONCE(page[i].memdesc.v, 0ul);
	}
	frame_free(page_to_pfn(page), 2);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_plain_words_of_every_order),
		TEST(test_plain_zeroed_if_asked),
		TEST(test_plain_pages_at_a_place),
		TEST(test_plain_word_validity),
		TEST(test_plain_counted_get_put_through_any_page),
		TEST(test_plain_try_get_fails_on_whatever_has_no_count),
		TEST(test_plain_try_get_through_a_stale_tail),
		TEST(test_plain_count_saturates_and_sticks),
		TEST(test_plain_saturation_from_many_sides),
		TEST(test_plain_counts_beside_setters),
		TEST(test_plain_walkers_beside_alloc_and_free),
		TEST(test_plain_split_makes_single_pages),
		TEST(test_plain_split_of_a_shared_allocation_is_busy),
		TEST(test_plain_split_beside_walkers),
		TEST(test_plain_exact_takes_no_page_too_many),
		TEST(test_plain_bulk_fills_the_gaps),
		TEST(test_plain_bulk_says_what_it_got_when_memory_ends),
		TEST(test_plain_setters_change_payload_only),
		TEST(test_plain_device_pages_go_back_to_their_driver),
	};

	return cmocka_run_group_tests_name("plain", tests, NULL, NULL);
}
