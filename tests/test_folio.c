/* SPDX-License-Identifier: MIT */
/*
 * test_folio.c - folios: allocation and publication, references, pins, the lock, freeing,
 * speculation.
 */
#include "test.h"

#define MIB 64

static const enum folio_kind kinds[] = { FOLIO_FILE, FOLIO_ANON };

/* Orders that a machine of MIB has room for several of. */
static unsigned int top_order(void)
{
	return min(MAX_FOLIO_ORDER, 11);
}

static void boot(void)
{
	boot_small(MIB, 4);
}

static void check_fresh(struct folio *folio, unsigned int order, enum folio_kind kind)
{
	unsigned long pfn = folio_pfn(folio);
	unsigned long word = memdesc_pointer((enum memdesc_type)kind, folio).v;

	assert_int_equal(folio_order(folio), order);
	assert_int_equal(folio_nr_pages(folio), 1ul << order);
	assert_int_equal(folio_size(folio), PAGE_SIZE << order);
	assert_int_equal(folio_test_large(folio), order != 0);
	assert_int_equal(pfn & ((1ul << order) - 1), 0);
	assert_int_equal(folio_ref_count(folio), 1);
	assert_int_equal(folio_mapcount(folio), 0);
	assert_int_equal(folio_entire_mapcount(folio), 0);
	assert_false(folio_mapped(folio));
	assert_false(folio_test_locked(folio));
	assert_false(folio_maybe_dma_pinned(folio));
	assert_null(folio->mapping);
	assert_null(folio->private);
	assert_int_equal(folio_test_anon(folio), kind == FOLIO_ANON);
	for (unsigned long i = 0; i < 1ul << order; i++) {
		struct page *page = folio_page(folio, i);

		/* the identical word in every page; index by subtraction */
		assert_int_equal(page_memdesc(page).v, word);
		assert_ptr_equal(page_folio(page), folio);
		assert_int_equal(folio_page_idx(folio, page), i);
		assert_false(folio_test_anon_exclusive(folio, i));
	}
	assert_true(folio_validate(folio));
}

COVERS("S0.2 S0.3 S0.4 S0.5 S0.6 S0.7 S0.8 S0.26 S1.4 S1.41 S3.25 SX.9");
/*
 * There is no conversion from anything to a folio, no head or tail to set up, and no field that
 * some orders have and others have not room for: a folio of any order, order 1 included, is
 * complete when it is allocated.
 */
static void test_folio_every_order_and_kind_is_complete(void **state)
{
	boot();
	for (unsigned int order = 0; order <= top_order(); order++)
		for (int k = 0; k < 2; k++) {
			struct folio *folio = folio_alloc(GFP_KERNEL, order, kinds[k]);
			unsigned long pfn;

			assert_non_null(folio);
			check_fresh(folio, order, kinds[k]);
			pfn = folio_pfn(folio);
			folio_put(folio);
			for (unsigned long i = 0; i < 1ul << order; i++)
				assert_int_equal(page_memdesc(pfn_to_page(pfn + i)).v, 0);
			assert_true(octavo_validate());
		}
	assert_null(folio_alloc(GFP_KERNEL, MAX_FOLIO_ORDER + 1, FOLIO_ANON));
	assert_null(folio_alloc(GFP_KERNEL, ~0u, FOLIO_ANON));
	shutdown_clean();
}

COVERS("S0.25");
static void test_folio_of_any_size_has_one_mapping_count(void **state)
{
	boot();
	for (unsigned int order = 0; order <= top_order(); order++) {
		struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
		unsigned long word;

		assert_non_null(folio);
		word = page_memdesc(folio_page(folio, 0)).v;
		/* each page is mapped once and the last twice: that is a number of the folio, and no page has one */
		fetch_add_relaxed(&folio->mapcount, (1 << order) + 1);
		assert_int_equal(folio_mapcount(folio), (1 << order) + 1);
		assert_int_equal(folio_entire_mapcount(folio), 0);
		for (unsigned long i = 0; i < 1ul << order; i++) {
			struct page_snapshot ps;

			assert_int_equal(page_memdesc(folio_page(folio, i)).v, word);
			assert_int_equal(snapshot_page(&ps, folio_pfn(folio) + i), 0);
			assert_true(ps.exact);
			assert_int_equal(ps.mapcount, (1 << order) + 1);
		}
		assert_true(octavo_validate());
		fetch_add_relaxed(&folio->mapcount, -(1 << order) - 1);
		folio_put(folio);
	}
	shutdown_clean();
}

/* What a descriptor's last life left behind must not show in the next. */
static void test_folio_forgets_its_last_life(void **state)
{
	boot();
	for (unsigned int order = 0; order <= top_order(); order++)
		for (int turn = 0; turn < 8; turn++) {
			struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);

			assert_non_null(folio);
			check_fresh(folio, order, FOLIO_ANON);
			folio_set_flag(folio, PG_dirty);
			folio_set_flag(folio, PG_hwpoison);
			folio->mapping = folio;
			folio->index = 77;
			folio->private = folio;
			folio_set_anon_exclusive(folio_subrange(folio, 0, 1ul << order));
			folio_put(folio);
		}
	shutdown_clean();
}

static void test_folio_zeroes_when_asked(void **state)
{
	boot();
	for (unsigned int order = 0; order <= min(top_order(), 6u); order++) {
		struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
		unsigned char *p = folio_address(folio);
		unsigned long pfn = folio_pfn(folio);
		int err;

		memset(p, 0xa5, folio_size(folio));
		folio_put(folio);
		folio = folio_alloc_at(pfn, order, FOLIO_ANON, __GFP_ZERO, 0, &err);
		assert_non_null(folio);
		for (size_t i = 0; i < folio_size(folio); i++)
			assert_int_equal(p[i], 0);
		folio_put(folio);
	}
	shutdown_clean();
}

static void test_folio_alloc_at_says_why_not(void **state)
{
	unsigned int order = min(top_order(), 3u);
	struct folio *a, *b;
	unsigned long pfn;
	int err = 1;

	boot();
	a = folio_alloc(GFP_KERNEL, order, FOLIO_FILE);
	assert_non_null(a);
	pfn = folio_pfn(a);
	assert_null(folio_alloc_at(pfn, order, FOLIO_FILE, GFP_KERNEL, 0, &err));
	assert_int_equal(err, -EBUSY);
	assert_null(folio_alloc_at(pfn + (1ul << order) - 1, 0, FOLIO_FILE, GFP_KERNEL, 0, &err));
	assert_int_equal(err, -EBUSY);
	assert_null(folio_alloc_at(pfn + 1, order, FOLIO_FILE, GFP_KERNEL, 0, &err));
	assert_int_equal(err, -EINVAL);
	assert_null(folio_alloc_at(0, MAX_FOLIO_ORDER + 1, FOLIO_FILE, GFP_KERNEL, 0, &err));
	assert_int_equal(err, -EINVAL);
	assert_null(folio_alloc_at(1ul << 39, order, FOLIO_FILE, GFP_KERNEL, 0, &err));
	assert_int_equal(err, -ENXIO);
	folio_put(a);
	b = folio_alloc_at(pfn, order, FOLIO_ANON, GFP_KERNEL, 0, &err);
	assert_non_null(b);
	assert_int_equal(err, 0);
	assert_int_equal(folio_pfn(b), pfn);
	check_fresh(b, order, FOLIO_ANON);
	folio_put(b);
	shutdown_clean();
}

static void test_folio_alloc_bulk_gives_what_there_is(void **state)
{
	enum { N = 150 };
	struct folio *folios[N];
	u64 counts[NR_ORDERS];

	boot();
	for (unsigned long n = 0; n <= N; n += 25) {
		assert_int_equal(folio_alloc_bulk(GFP_KERNEL, FOLIO_FILE, n, folios), n);
		for (unsigned long i = 0; i < n; i++)
			check_fresh(folios[i], 0, FOLIO_FILE);
		assert_int_equal(folio_count_live(counts), n);
		assert_true(octavo_validate());
		for (unsigned long i = 0; i < n; i++)
			folio_put(folios[i]);
	}
	shutdown_clean();
}

static void test_folio_live_ones_are_counted_by_order(void **state)
{
	struct folio *folios[NR_ORDERS] = { NULL };
	u64 counts[NR_ORDERS];

	boot();
	assert_int_equal(folio_count_live(counts), 0);
	for (unsigned int order = 0; order <= min(top_order(), 9u); order++)
		folios[order] = folio_alloc(GFP_KERNEL, order, kinds[order & 1]);
	assert_int_equal(folio_count_live(counts), min(top_order(), 9u) + 1);
	for (unsigned int order = 0; order < NR_ORDERS; order++) {
		assert_int_equal(counts[order], folios[order] != NULL);
		if (folios[order])
			folio_put(folios[order]);
	}
	assert_int_equal(folio_count_live(counts), 0);
	shutdown_clean();
}

/* ---- failing at step k ---- */

#if OCTAVO_FAULTS
static const int modes[] = { OCTAVO_FAULT_ONCE, OCTAVO_FAULT_AFTER };

COVERS("S3.23 SX.8");
static void test_folio_alloc_fails_at_every_step_and_holds_nothing(void **state)
{
	u64 counts[NR_ORDERS];

	boot();
	for (unsigned int order = 0; order <= top_order(); order++)
		for (int m = 0; m < 2; m++) {
			/* fresh slabs each time: their frames are steps too */
			kmem_cache_shrink_all();
			for_each_fault(k, modes[m], OCTAVO_FAULT_ALL, hit)
			{
				struct folio *folio = folio_alloc(GFP_NOWAIT, order, kinds[k & 1]);

				hit = octavo_fault_disarm();
				if (folio) {
					check_fresh(folio, order, kinds[k & 1]);
					folio_put(folio);
				} else {
					assert_int_not_equal(hit, 0);
				}
				assert_int_equal(folio_count_live(counts), 0);
				assert_true(octavo_validate());
				if (k % 4 == 0)
					kmem_cache_shrink_all();
			}
		}
	shutdown_clean();
}

COVERS("SX.8");
static void test_folio_alloc_at_fails_at_every_step_and_holds_nothing(void **state)
{
	unsigned int order = min(top_order(), 10u);
	u64 counts[NR_ORDERS];

	boot();
	for (int m = 0; m < 2; m++)
		for_each_fault(k, modes[m], OCTAVO_FAULT_ALL, hit)
		{
			int err;
			struct folio *folio = folio_alloc_at(1ul << order, order, FOLIO_ANON,
							     GFP_NOWAIT, 0, &err);

			hit = octavo_fault_disarm();
			if (folio) {
				assert_int_equal(err, 0);
				folio_put(folio);
			} else {
				assert_int_not_equal(hit, 0);
				assert_true(err == -ENOMEM || err == -EBUSY);
			}
			assert_int_equal(folio_count_live(counts), 0);
			assert_true(octavo_validate());
		}
	shutdown_clean();
}

static void test_folio_alloc_bulk_fails_at_every_step_and_keeps_what_it_got(void **state)
{
	enum { N = 80 };
	struct folio *folios[N];
	u64 counts[NR_ORDERS];

	boot();
	for (int m = 0; m < 2; m++)
		for_each_fault(k, modes[m], OCTAVO_FAULT_ALL, hit)
		{
			unsigned long n = folio_alloc_bulk(GFP_NOWAIT, FOLIO_ANON, N, folios);

			hit = octavo_fault_disarm();
			assert_true(hit || n == N);
			assert_int_equal(folio_count_live(counts), n);
			for (unsigned long i = 0; i < n; i++) {
				check_fresh(folios[i], 0, FOLIO_ANON);
				folio_put(folios[i]);
			}
			assert_true(octavo_validate());
			if (k % 4 == 0)
				kmem_cache_shrink_all();
		}
	shutdown_clean();
}

static void test_folio_free_asks_for_nothing(void **state)
{
	boot();
	for (unsigned int order = 0; order <= top_order(); order++) {
		struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);

		octavo_fault_arm(1, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
		folio_put(folio);
		assert_int_equal(octavo_fault_disarm(), 0);
	}
	shutdown_clean();
}
#endif

/* ---- look-ups by frame ---- */

COVERS("S3.16 S3.12 S3.13 S3.22");
static void test_folio_is_found_from_its_pages_only(void **state)
{
	struct folio *folio, *found;
	struct page *plain, *frozen;
	unsigned long pfn;

	boot();
	folio = folio_alloc(GFP_KERNEL, 3, FOLIO_FILE);
	pfn = folio_pfn(folio);
	for (unsigned long i = 0; i < 8; i++) {
		struct page *page = pfn_to_page(pfn + i);

		assert_ptr_equal(page_try_get_folio(page), folio);
		folio_put(folio);
		found = folio_get_nontail_page(page);
		assert_ptr_equal(found, i ? NULL : folio);
		if (found)
			folio_put(found);
	}
	assert_int_equal(folio_ref_count(folio), 1);
	folio_put(folio);

	/* free, plain counted, plain frozen, slab: no folio */
	assert_null(page_try_get_folio(pfn_to_page(pfn)));
	assert_null(folio_get_nontail_page(pfn_to_page(pfn)));
	plain = alloc_page(GFP_KERNEL);
	frozen = alloc_frozen_pages(GFP_KERNEL, 0);
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_FILE);
	assert_null(page_try_get_folio(plain));
	assert_null(page_try_get_folio(frozen));
	assert_null(page_try_get_folio(virt_to_page(folio)));
	assert_null(page_folio(plain));
	folio_put(folio);
	put_page(plain);
	free_frozen_pages(frozen, 0);
	shutdown_clean();
}

/*
 * A reader stops between the word and the count; meanwhile the folio is freed and its descriptor
 * has another life. The reader gets a reference on that, sees that the word has changed, and puts;
 * by then it is the last one.
 */
static void test_folio_put_frees_what_the_descriptor_says(void **state)
{
	struct folio *folio, *again[64];
	unsigned long pfn, other;
	unsigned int n = 0;
	int err;

	boot();
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	pfn = folio_pfn(folio);
	rcu_read_lock();
	folio_put(folio);
	/* the old frame gets another owner, so that the new life is elsewhere */
	assert_int_equal(frame_alloc_at(pfn, 0, 0), 0);
	do {
		again[n] = folio_alloc(GFP_KERNEL, 0, FOLIO_FILE);
		assert_non_null(again[n]);
	} while (again[n] != folio && ++n < 64);
	assert_true(n < 64);
	other = folio_pfn(folio);
	assert_int_not_equal(other, pfn);
	assert_true(folio_try_get(folio));
	assert_null(page_folio(pfn_to_page(pfn)));
	folio_put(folio);
	folio_put(folio);
	assert_int_equal(page_memdesc(pfn_to_page(other)).v, 0);
	assert_int_equal(folio_ref_count(folio), 0);
	rcu_read_unlock();
	while (n--)
		folio_put(again[n]);
	frame_free(pfn, 0);
	assert_non_null(again[0] = folio_alloc_at(pfn, 0, FOLIO_ANON, GFP_KERNEL, 0, &err));
	folio_put(again[0]);
	shutdown_clean();
}

/* ---- the release hook ---- */

static struct {
	struct folio *folio;
	unsigned int calls;
	bool sane;
} released;

static void on_release(struct folio *folio)
{
	released.folio = folio;
	released.calls++;
	released.sane = folio_ref_count(folio) == 0 && page_folio(folio_page(folio, 0)) == folio &&
			!folio_try_get(folio);
}

static const struct octavo_hooks release_hooks = { .folio_release = on_release };
static const struct octavo_hooks no_hooks = { .folio_release = NULL };

static void test_folio_release_hook_sees_it_once_still_whole(void **state)
{
	const struct octavo_hooks *tables[] = { &release_hooks, &no_hooks, NULL };

	for (int t = 0; t < 3; t++) {
		octavo_set_hooks(tables[t]);
		boot();
		released.calls = 0;
		for (unsigned int order = 0; order < 3; order++) {
			struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);

			folio_get(folio);
			folio_put(folio);
			assert_int_equal(released.calls, t ? 0 : order);
			folio_put(folio);
			if (t == 0) {
				assert_int_equal(released.calls, order + 1);
				assert_ptr_equal(released.folio, folio);
				assert_true(released.sane);
			}
		}
		shutdown_clean();
	}
}

/* ---- validate ---- */

static void expect_invalid(struct folio *folio)
{
	assert_false(folio_validate(folio));
	assert_false(octavo_validate());
	assert_int_not_equal(sim_log_take(NULL), 0);
}

static void ignore_log(enum octavo_log_level level, const char *line)
{
	(void)level;
	(void)line;
}

COVERS("S3.24");
static void test_folio_validate_finds_what_is_wrong(void **state)
{
	struct folio *folio;
	memdesc_t word;
	u64 was;

	boot();
	sim_log_to(ignore_log);
	folio = folio_alloc(GFP_KERNEL, 2, FOLIO_ANON);
	assert_true(octavo_validate());
	word = folio_page(folio, 3)->memdesc;
	folio_page(folio, 3)->memdesc = memdesc_pointer(MEMDESC_FILE, folio);
	expect_invalid(folio);
	folio_page(folio, 3)->memdesc = word;
	folio->mapcount = -1;
	expect_invalid(folio);
	folio->mapcount = 0;
	folio_large(folio)->excl = 0x10;
	expect_invalid(folio);
	folio_large(folio)->excl = 0;
	folio_large(folio)->pincount = 2;
	expect_invalid(folio);
	folio_large(folio)->pincount = 0;
	was = folio->pfn_order_group;
	folio->pfn_order_group -= 1ul << FOLIO_ORDER_SHIFT;
	assert_false(octavo_validate());
	folio->pfn_order_group = was;
	assert_true(octavo_validate());
	folio_dump(folio, "test");
	dump_page(folio_pfn(folio), "test");
	sim_log_to(NULL);
	folio_put(folio);
	shutdown_clean();
}

/* ---- all at once ---- */

static u32 churners; /* still at work: fetch_sub, release; read with acquire */

/*
 * Two CPUs allocate, share and free folios of random orders in a small range of memory; the third
 * takes references by pfn and checks that what it has is what it asked for.
 */
static void churn(unsigned int cpu, void *arg)
{
	struct folio *mine[24] = { NULL };
	unsigned int seed = cpu + 1;
	int rounds = 30000;

	while (rounds--) {
		int i = rand_r(&seed) % 24;

		if (mine[i]) {
			u32 tag = *(u32 *)folio_address(mine[i]);

			/* nobody else writes to it */
			assert_int_equal(tag, cpu << 16 | (u32)i);
			folio_put(mine[i]);
			mine[i] = NULL;
		} else {
			unsigned int order = (unsigned int)rand_r(&seed) % 4;

			mine[i] = folio_alloc(GFP_KERNEL, order, kinds[i & 1]);
			if (mine[i])
				*(u32 *)folio_address(mine[i]) = cpu << 16 | (u32)i;
		}
	}
	for (int i = 0; i < 24; i++)
		if (mine[i])
			folio_put(mine[i]);
	fetch_sub_release(&churners, 1u);
}

static void peek(unsigned long pfns)
{
	unsigned int seed = 99, got = 0;

	while (smp_load_acquire(&churners)) {
		unsigned long pfn = (unsigned long)rand_r(&seed) % pfns;
		struct folio *folio;

		if (!pfn_valid(pfn))
			continue;
		folio = page_try_get_folio(pfn_to_page(pfn));
		if (!folio)
			continue;
		got++;
		assert_true(folio_contains(folio, pfn));
		assert_ptr_equal(page_folio(pfn_to_page(pfn)), folio);
		assert_true(folio_ref_count(folio) >= 1);
		assert_int_equal(folio_pfn(folio) & (folio_nr_pages(folio) - 1), 0);
		/* often the last one by now: then the walker frees it */
		folio_put(folio);
	}
}

static void churn_and_peek(unsigned int cpu, void *arg)
{
	if (cpu == 2)
		peek(*(unsigned long *)arg);
	else
		churn(cpu, NULL);
}

static void test_folio_walkers_and_owners_do_not_meet(void **state)
{
	unsigned long pfns = (4ul << 20) / PAGE_SIZE;

	boot_small(4, 4);
	churners = 2;
	sim_run(3, false, churn_and_peek, &pfns);
	shutdown_clean();
}

/*
 * One descriptor lives in turn for two frames. A walker that has read one's word when the
 * descriptor goes over to the other must not take it for the first's.
 */
static unsigned long two_frames[2];

static void ping_pong(void)
{
	for (int i = 0; i < 60000; i++) {
		struct folio *folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
		long taken;

		WRITE_ONCE(two_frames[0], folio_pfn(folio));
		folio_put(folio);
		/* what was freed last is had first: the frame by us, the descriptor by the folio */
		taken = frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE);
		folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
		WRITE_ONCE(two_frames[1], folio_pfn(folio));
		folio_put(folio);
		frame_free((unsigned long)taken, 0);
	}
	fetch_sub_release(&churners, 1u);
}

static void watch(unsigned int which)
{
	while (smp_load_acquire(&churners)) {
		unsigned long pfn = READ_ONCE(two_frames[which]);
		struct folio *folio = page_try_get_folio(pfn_to_page(pfn));

		if (!folio)
			continue;
		assert_int_equal(folio_pfn(folio), pfn);
		folio_put(folio);
	}
}

static void ping_pong_and_watch(unsigned int cpu, void *arg)
{
	if (cpu == 0)
		ping_pong();
	else
		watch(cpu - 1);
}

static void test_folio_descriptor_that_moves_on_is_not_taken(void **state)
{
	boot_small(4, 4);
	churners = 1;
	two_frames[0] = two_frames[1] = 0;
	sim_run(3, false, ping_pong_and_watch, NULL);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folio_every_order_and_kind_is_complete),
		cmocka_unit_test(test_folio_of_any_size_has_one_mapping_count),
		cmocka_unit_test(test_folio_forgets_its_last_life),
		cmocka_unit_test(test_folio_zeroes_when_asked),
		cmocka_unit_test(test_folio_alloc_at_says_why_not),
		cmocka_unit_test(test_folio_alloc_bulk_gives_what_there_is),
		cmocka_unit_test(test_folio_live_ones_are_counted_by_order),
#if OCTAVO_FAULTS
		cmocka_unit_test(test_folio_alloc_fails_at_every_step_and_holds_nothing),
		cmocka_unit_test(test_folio_alloc_at_fails_at_every_step_and_holds_nothing),
		cmocka_unit_test(test_folio_alloc_bulk_fails_at_every_step_and_keeps_what_it_got),
		cmocka_unit_test(test_folio_free_asks_for_nothing),
#endif
		cmocka_unit_test(test_folio_is_found_from_its_pages_only),
		cmocka_unit_test(test_folio_put_frees_what_the_descriptor_says),
		cmocka_unit_test(test_folio_release_hook_sees_it_once_still_whole),
		cmocka_unit_test(test_folio_validate_finds_what_is_wrong),
		cmocka_unit_test(test_folio_walkers_and_owners_do_not_meet),
		cmocka_unit_test(test_folio_descriptor_that_moves_on_is_not_taken),
	};

	return cmocka_run_group_tests_name("folio", tests, NULL, NULL);
}
