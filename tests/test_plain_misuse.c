/* SPDX-License-Identifier: MIT */
/*
 * test_plain_misuse.c - plain pages: misuse and what its dump says, steps that fail.
 */
#include "test.h"

#include "plain_words.h"

/* ---- misuse ---- */

static struct page *counted, *frozen, *other;

static void misuse_put_frozen(void *arg)
{
	put_page(frozen);
}
static void misuse_get_frozen_tail(void *arg)
{
	get_page(frozen + 1);
}
static void misuse_put_free(void *arg)
{
	__free_pages(counted, 2);
	plain_put(counted + 1);
}
static void misuse_get_free(void *arg)
{
	__free_pages(counted, 2);
	plain_get(counted);
}
static void misuse_put_too_often(void *arg)
{
	plain_put(counted);
	plain_put(counted);
}
static void misuse_put_of_a_tail_without_head(void *arg)
{
	WRITE_ONCE(counted->memdesc.v, 0ul);
	plain_put(counted + 1);
}
static void misuse_get_of_a_tail_without_head(void *arg)
{
	WRITE_ONCE(counted->memdesc.v, memdesc_misc(MISC_DRIVER, 1, 1).v);
	plain_get(counted + 1);
}
static void misuse_free_wrong_order(void *arg)
{
	__free_pages(counted, 1);
}
static void misuse_free_a_tail(void *arg)
{
	__free_pages(counted + 2, 2);
}
static void misuse_free_frozen_as_counted(void *arg)
{
	__free_pages(frozen, 2);
}
static void misuse_free_counted_as_frozen(void *arg)
{
	free_frozen_pages(counted, 2);
}
static void misuse_free_frozen_wrong_order(void *arg)
{
	free_frozen_pages(frozen, 3);
}
static void misuse_free_frozen_tail(void *arg)
{
	free_frozen_pages(frozen + 1, 2);
}
static void misuse_free_frozen_twice(void *arg)
{
	free_frozen_pages(frozen, 2);
	free_frozen_pages(frozen, 2);
}
static void misuse_free_reserved(void *arg)
{
	WRITE_ONCE(frozen->memdesc.v, memdesc_misc_frozen(MISC_RESERVED, 0).v);
	free_frozen_pages(frozen, 0);
}
static void misuse_put_slab(void *arg)
{
	WRITE_ONCE(other->memdesc.v, memdesc_pointer(MEMDESC_SLAB, (void *)0x1000).v);
	plain_put(other);
}
static void misuse_get_hwpoison(void *arg)
{
	WRITE_ONCE(other->memdesc.v, memdesc_pointer(MEMDESC_HWPOISON, NULL).v);
	plain_get(other);
}
static void misuse_split_tail(void *arg)
{
	split_page(counted + 1, 2);
}
static void misuse_split_wrong_order(void *arg)
{
	split_page(counted, 3);
}
static void misuse_split_free(void *arg)
{
	__free_pages(counted, 2);
	split_page(counted, 2);
}
static void misuse_bulk_free_of_order_2(void *arg)
{
	free_pages_bulk(1, &counted);
}
static void misuse_exact_free_too_long(void *arg)
{
	char *p = alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL);

	free_pages_exact(p, 4 * PAGE_SIZE);
}
static void misuse_exact_free_inside_a_page(void *arg)
{
	char *p = alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL);

	free_pages_exact(p + 8, 3 * PAGE_SIZE);
}
static void misuse_exact_free_of_no_frame(void *arg)
{
	free_pages_exact(pfn_to_virt(1ul << 40), PAGE_SIZE);
}
static void misuse_set_subtype_of_free(void *arg)
{
	__free_pages(counted, 2);
	page_set_owner_bits(counted, 1);
}
static void misuse_set_mappable_of_slab(void *arg)
{
	misuse_put_slab(NULL);
}
static void misuse_set_subtype_reserved(void *arg)
{
	page_set_subtype(counted, MISC_RESERVED);
}
static void misuse_set_subtype_unknown(void *arg)
{
	page_set_subtype(counted, (enum misc_subtype)MISC_NR_SUBTYPES);
}
static void misuse_owner_bits_too_wide(void *arg)
{
	page_set_owner_bits(counted, 1ul << 21);
}

static char dumped[4096];

static void keep_dump(enum octavo_log_level level, const char *line)
{
	size_t n = strlen(dumped);

	if (level == OCTAVO_LOG_DUMP)
		snprintf(dumped + n, sizeof(dumped) - n, "%s\n", line);
}

COVERS("S0.7 S0.26 S3.7 S3.27");
static void test_plain_misuse_is_fatal_with_a_dump(void **state)
{
	static const struct {
		void (*fn)(void *arg);
		const char *text;
	} misuse[] = {
		{ misuse_put_frozen, "not counted" },
		{ misuse_get_frozen_tail, "not counted" },
		{ misuse_put_free, "not counted" },
		{ misuse_get_free, "not counted" },
		{ misuse_put_too_often, "not counted" },
		{ misuse_put_of_a_tail_without_head, "no reference" },
		{ misuse_get_of_a_tail_without_head, "no reference" },
		{ misuse_free_wrong_order, "not a counted allocation" },
		{ misuse_free_a_tail, "not a counted allocation" },
		{ misuse_free_frozen_as_counted, "not a counted allocation" },
		{ misuse_free_counted_as_frozen, "not a frozen allocation" },
		{ misuse_free_frozen_wrong_order, "not a frozen allocation" },
		{ misuse_free_frozen_tail, "not a frozen allocation" },
		{ misuse_free_frozen_twice, "not a frozen allocation" },
		{ misuse_free_reserved, "not a frozen allocation" },
		{ misuse_put_slab, "not counted" },
		{ misuse_get_hwpoison, "not counted" },
		{ misuse_split_tail, "split_page" },
		{ misuse_split_wrong_order, "split_page" },
		{ misuse_split_free, "split_page" },
		{ misuse_bulk_free_of_order_2, "not a counted allocation" },
		{ misuse_exact_free_too_long, "free_pages_exact" },
		{ misuse_exact_free_inside_a_page, "not the start of a page" },
		{ misuse_exact_free_of_no_frame, "free_pages_exact: no such frame" },
		{ misuse_set_subtype_of_free, "not plain" },
		{ misuse_set_mappable_of_slab, "not counted" },
		{ misuse_set_subtype_reserved, "subtype" },
		{ misuse_set_subtype_unknown, "subtype" },
		{ misuse_owner_bits_too_wide, "BUG" },
	};

	for (u32 i = 0; i < ARRAY_SIZE(misuse); i++) {
		boot_small(64, 1);
		counted = alloc_pages(GFP_KERNEL, 2);
		frozen = alloc_frozen_pages(GFP_KERNEL, 2);
		other = alloc_page(GFP_KERNEL);
		dumped[0] = 0;
		sim_log_to(keep_dump);
		expect_panic(misuse[i].fn, NULL, misuse[i].text);
		sim_log_to(NULL);
		if (misuse[i].fn != misuse_owner_bits_too_wide)
			assert_true(strstr(dumped, "word 0x") || strstr(dumped, "no such frame"));
	}
}

static void test_plain_dump_says_what_a_page_is(void **state)
{
	struct page *page;
	unsigned long pfn;

	boot_small(64, 1);
	page = alloc_pages(GFP_KERNEL, 2);
	plain_get(page);
	pfn = page_to_pfn(page);
	sim_log_to(keep_dump);
#define DUMP(p, ...)                                                           \
	do {                                                                   \
		static const char *const want[] = { __VA_ARGS__ };             \
		dumped[0] = 0;                                                 \
		dump_page(p, "because");                                       \
		for (u32 w = 0; w < ARRAY_SIZE(want); w++)                     \
			if (!strstr(dumped, want[w]))                          \
				fail_msg("no \"%s\" in: %s", want[w], dumped); \
	} while (0)
	DUMP(pfn, "because", "misc", "driver", "order 2", "count 2", "Normal", "node 0");
	DUMP(pfn + 3, "page 3 of the allocation", "count 2", "not mappable");
	DUMP(~0ul, "no such frame");
	WRITE_ONCE(page->memdesc.v, memdesc_pointer(MEMDESC_SLAB, (void *)0xabc0).v);
	DUMP(pfn, "slab", "descriptor 0xabc0");
	WRITE_ONCE(page->memdesc.v, ~0ul);
	DUMP(pfn, "invalid", "malformed");
	WRITE_ONCE(page->memdesc.v, memdesc_misc(MISC_DRIVER, 2, 1).v);
#undef DUMP
	sim_log_to(NULL);
	__free_pages(page, 2);
	shutdown_clean();
	sim_log_to(keep_dump);
	dumped[0] = 0;
	dump_page(0, "without a machine");
	assert_non_null(strstr(dumped, "no such frame"));
	sim_log_to(NULL);
}

/* ---- fail at step k ---- */

#if OCTAVO_FAULTS
static bool op_alloc(void)
{
	struct page *page = alloc_pages(GFP_KERNEL, 3);

	if (page)
		__free_pages(page, 3);
	return page;
}

static bool op_frozen(void)
{
	struct page *page = alloc_frozen_pages(GFP_KERNEL, 1);

	if (page)
		free_frozen_pages(page, 1);
	return page;
}

static bool op_at(void)
{
	struct page *page = alloc_plain_pages_at(1ul << 8, 2, MISC_DRIVER, false, 0);

	if (page)
		plain_put(page + 2);
	return page;
}

static bool op_exact(void)
{
	void *p = alloc_pages_exact(11 * PAGE_SIZE, GFP_KERNEL);

	if (p)
		free_pages_exact(p, 11 * PAGE_SIZE);
	return p;
}

static bool op_bulk(void)
{
	struct page *pages[70] = { NULL };
	unsigned long n = alloc_pages_bulk(GFP_KERNEL, 70, pages), have = 0;

	for (u32 i = 0; i < 70; i++)
		have += pages[i] != NULL;
	if (n != have)
		abort();
	free_pages_bulk(70, pages);
	return n == 70;
}

/* Counts never fail but for a refused try: compare-and-swap is tried again. */
static bool op_counts(void)
{
	struct page *page = alloc_pages(GFP_KERNEL, 2);
	bool got;

	if (!page)
		return false;
	plain_get(page + 1);
	got = plain_try_get(page + 2);
	page_set_owner_bits(page, 5);
	page_set_mappable(page, true);
	page_set_subtype(page, MISC_VMALLOC);
	if (got)
		plain_put(page);
	plain_put(page + 3);
	if (plain_count(page) != 1 || split_page(page, 2))
		abort();
	for (int i = 0; i < 4; i++)
		plain_put(page + i);
	return got;
}
#endif

COVERS("SX.8");
static void test_plain_fails_at_any_step(void **state)
{
#if OCTAVO_FAULTS
	static bool (*const ops[])(void) = { op_alloc, op_frozen, op_at,
					     op_exact, op_bulk,	  op_counts };
	const u32 kinds = OCTAVO_FAULT_ALL;
	u64 free;

	boot_small(2, 1); /* small: it is validated after each case */
	frame_drain_all();
	free = nr_free_pages();
	for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
		for (u32 i = 0; i < ARRAY_SIZE(ops); i++) {
			for_each_fault(k, mode, kinds, hit)
			{
				bool done = ops[i]();

				hit = octavo_fault_disarm();
				assert_true(done || hit);
				assert_true(octavo_validate());
				assert_int_equal(nr_free_pages(), free);
				check_free(pfn_to_page(1ul << 8), 4);
			}
		}
	}
	shutdown_clean();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_plain_misuse_is_fatal_with_a_dump),
		TEST(test_plain_dump_says_what_a_page_is),
		TEST(test_plain_fails_at_any_step),
	};

	return cmocka_run_group_tests_name("plain_misuse", tests, NULL, NULL);
}
