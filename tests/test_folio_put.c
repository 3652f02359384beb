/* SPDX-License-Identifier: MIT */
/*
 * test_folio_put.c - references of many folios dropped in one call: the same end as one by one, and the same checks.
 */
#include "test.h"

enum { N = 200, BATCH = 64 };

static struct folio *folios[N];
static u32 refs[N];

static unsigned int top_order(void)
{
	return min(MAX_FOLIO_ORDER, 9);
}

static void boot(void)
{
	boot_small(64, 4);
}

static u64 live(void)
{
	u64 counts[NR_ORDERS];

	return folio_count_live(counts);
}

static bool is_free(unsigned long pfn, unsigned int order)
{
	for (unsigned long i = 0; i < 1ul << order; i++)
		if (page_memdesc(pfn_to_page(pfn + i)).v)
			return false;
	return true;
}

/* @n folios of order 0. */
static void small_folios(unsigned long n)
{
	for (unsigned long i = 0; i < n; i++) {
		folios[i] = folio_alloc(GFP_KERNEL, 0, i & 1 ? FOLIO_ANON : FOLIO_FILE);
		assert_non_null(folios[i]);
	}
}

/* ---- what is freed, and what is not ---- */

static void test_folios_put_frees_any_number_of_all_orders(void **state)
{
	static const unsigned long numbers[] = { 0, 1, 2, 15, 16, 17, 63, 64, 65, 130, N };
	unsigned long pfns[N];
	unsigned int orders[N];

	boot();
	for (unsigned int k = 0; k < ARRAY_SIZE(numbers); k++)
		for (unsigned int large = 0; large < 2; large++) {
			unsigned long n = numbers[k];

			for (unsigned long i = 0; i < n; i++) {
				orders[i] = large && i % 7 == 3 ? 1 + i % top_order() : 0;
				folios[i] = folio_alloc(GFP_KERNEL, orders[i],
							i & 1 ? FOLIO_ANON : FOLIO_FILE);
				assert_non_null(folios[i]);
				pfns[i] = folio_pfn(folios[i]);
				refs[i] = 1 + i % 3;
				folio_ref_add(folios[i], refs[i] - 1);
			}
			assert_int_equal(live(), n);
			folios_put_refs(folios, refs, n);
			assert_int_equal(live(), 0);
			for (unsigned long i = 0; i < n; i++)
				assert_true(is_free(pfns[i], orders[i]));
			assert_true(octavo_validate());
		}
	shutdown_clean();
}

static void test_folios_put_without_numbers_drops_one_of_each(void **state)
{
	boot();
	small_folios(N);
	for (unsigned long i = 0; i < N; i++)
		if (i % 3 == 0)
			folio_get(folios[i]);
	folios_put_refs(folios, NULL, N);
	assert_int_equal(live(), (N + 2) / 3);
	for (unsigned long i = 0; i < N; i += 3) {
		assert_int_equal(folio_ref_count(folios[i]), 1);
		assert_true(folio_validate(folios[i]));
		folio_put(folios[i]);
	}
	assert_int_equal(live(), 0);
	shutdown_clean();
}

static void test_folios_put_the_same_one_several_times(void **state)
{
	struct folio *one;

	boot();
	small_folios(1);
	one = folios[0];
	for (unsigned long i = 0; i < N; i++) {
		folios[i] = one;
		refs[i] = 2;
	}
	folio_ref_add(one, 2 * N);
	folios_put_refs(folios, refs, N);
	assert_int_equal(folio_ref_count(one), 1);
	folio_ref_add(one, N - 1);
	folios_put_refs(folios, NULL, N);
	assert_int_equal(live(), 0);
	shutdown_clean();
}

/* A descriptor that was made for a large folio is of another cache, whatever the folio's order is now. */
static void test_folios_put_of_a_folio_that_was_split(void **state)
{
	unsigned long n;

	boot();
	small_folios(BATCH);
	folios[7] = (folio_put(folios[7]), folio_alloc(GFP_KERNEL, 2, FOLIO_ANON));
	folio_lock(folios[7]);
	assert_int_equal(folio_split(folios[7], 0, 0, GFP_KERNEL), 0);
	n = folio_pfn(folios[7]);
	folio_unlock(folios[7]);
	for (unsigned long i = 1; i < 4; i++) {
		folios[BATCH + i - 1] = page_folio(pfn_to_page(n + i));
		folio_unlock(folios[BATCH + i - 1]);
	}
	assert_int_equal(folio_order(folios[7]), 0);
	assert_int_not_equal(folio_class(folios[7]), FOLIO_CLASS_SMALL);
	folios_put_refs(folios, NULL, BATCH + 3);
	assert_int_equal(live(), 0);
	shutdown_clean();
}

/* ---- the embedder is told of each, while it is still one ---- */

static unsigned long released;

static void on_release(struct folio *folio)
{
	assert_int_equal(folio_ref_count(folio), 0);
	assert_ptr_equal(page_folio(pfn_to_page(folio_pfn(folio))), folio);
	assert_int_equal((unsigned long)folio->private, folio_pfn(folio));
	released++;
}

static void test_folios_put_tells_of_each(void **state)
{
	static const struct octavo_hooks hooks = { .folio_release = on_release };

	octavo_set_hooks(&hooks);
	boot();
	small_folios(N);
	for (unsigned long i = 0; i < N; i++)
		folios[i]->private = (void *)folio_pfn(folios[i]);
	released = 0;
	folios_put_refs(folios, NULL, N);
	assert_int_equal(released, N);
	shutdown_clean();
	octavo_set_hooks(NULL);
}

/* ---- frames that may not be handed on ---- */

static void test_folios_put_keeps_poisoned_frames_out(void **state)
{
	static const unsigned long bad[] = { 0, 5, 6, 62, 63, 64, 130, N - 1 };
	unsigned long pfns[N];

	boot();
	small_folios(N);
	for (unsigned long i = 0; i < N; i++)
		pfns[i] = folio_pfn(folios[i]);
	for (unsigned int k = 0; k < ARRAY_SIZE(bad); k++)
		assert_int_equal(memory_failure(pfns[bad[k]]), MF_DELAYED);
	folios_put_refs(folios, NULL, N);
	for (unsigned long i = 0; i < N; i++) {
		bool is_bad = false;

		for (unsigned int k = 0; k < ARRAY_SIZE(bad); k++)
			is_bad |= bad[k] == i;
		assert_int_equal(memdesc_type(page_memdesc(pfn_to_page(pfns[i]))),
				 is_bad ? MEMDESC_HWPOISON : MEMDESC_FREE);
	}
	assert_true(octavo_validate());
	for (unsigned int k = 0; k < ARRAY_SIZE(bad); k++)
		assert_int_equal(unpoison_memory(pfns[bad[k]]), 0);
	shutdown_clean();
}

/* ---- misuse is fatal, wherever in the array it is ---- */

static void put_all(void *unused)
{
	folios_put_refs(folios, NULL, BATCH);
}

static void bad_at(unsigned long at, void (*spoil)(struct folio *folio), const char *text)
{
	boot();
	small_folios(BATCH);
	spoil(folios[at]);
	expect_panic(put_all, NULL, text);
}

static void spoil_mapped(struct folio *folio)
{
	fetch_add_relaxed(&folio->mapcount, 1);
}

static void spoil_locked(struct folio *folio)
{
	folio_lock(folio);
}

static void spoil_writeback(struct folio *folio)
{
	folio_set_flag(folio, PG_writeback);
}

static void spoil_word(struct folio *folio)
{
	WRITE_ONCE(folio_page(folio, 0)->memdesc.v, 0ul);
}

static void spoil_count(struct folio *folio)
{
	WRITE_ONCE(folio->refcount, 0u);
}

static void put_twice(void *unused)
{
	folios[9] = folios[8];
	put_all(NULL);
}

static void test_folios_put_misuse_is_fatal(void **state)
{
	static const unsigned long at[] = { 0, 31, BATCH - 1 };

	for (unsigned int i = 0; i < ARRAY_SIZE(at); i++) {
		bad_at(at[i], spoil_mapped, "freed while mapped");
		bad_at(at[i], spoil_locked, "freed while locked");
		bad_at(at[i], spoil_writeback, "freed while locked or under writeback");
		bad_at(at[i], spoil_word, "does not name it");
		bad_at(at[i], spoil_count, "with a count of 0");
	}
	boot();
	small_folios(BATCH);
	expect_panic(put_twice, NULL, "with a count of 0");
}

static void test_folios_put_pinned_large_is_fatal(void **state)
{
	boot();
	small_folios(BATCH);
	folio_put(folios[3]);
	folios[3] = folio_alloc(GFP_KERNEL, 1, FOLIO_ANON);
	fetch_add_relaxed(&((struct large_folio *)folios[3])->pincount, 1);
	expect_panic(put_all, NULL, "freed while pinned");
}

/* ---- two at once ---- */

static void put_one_of_each(unsigned int cpu, void *unused)
{
	folios_put_refs(folios, NULL, N);
}

static void test_folios_put_by_two_frees_once(void **state)
{
	boot();
	for (unsigned int round = 0; round < 50; round++) {
		small_folios(N);
		for (unsigned long i = 0; i < N; i++)
			folio_get(folios[i]);
		sim_run(2, false, put_one_of_each, NULL);
		assert_int_equal(live(), 0);
		assert_true(octavo_validate());
	}
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_folios_put_frees_any_number_of_all_orders),
		TEST(test_folios_put_without_numbers_drops_one_of_each),
		TEST(test_folios_put_the_same_one_several_times),
		TEST(test_folios_put_of_a_folio_that_was_split),
		TEST(test_folios_put_tells_of_each),
		TEST(test_folios_put_keeps_poisoned_frames_out),
		TEST(test_folios_put_misuse_is_fatal),
		TEST(test_folios_put_pinned_large_is_fatal),
		TEST(test_folios_put_by_two_frees_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
