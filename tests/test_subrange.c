/* SPDX-License-Identifier: MIT */
/*
 * test_subrange.c - subranges, and exclusivity against a model that is an array of bool.
 */
#include "test.h"

/* With one of each way to keep the bits: flag, one word, eight words, pointer. */
static unsigned int top_order(void)
{
	return min(MAX_FOLIO_ORDER, 11);
}

static void boot(void)
{
	boot_small(64, 4);
}

/* ---- subranges ---- */

COVERS("S2.4 S2.6 S2.7 SX.6");
static void test_subrange_is_checked_when_it_is_made(void **state)
{
	boot();
	for (unsigned int order = 0; order <= top_order(); order++) {
		struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
		const unsigned long nr = 1ul << order;
		const unsigned long edge[] = { 0,    1,	     2,		nr / 2,	   nr - 1,
					       nr,   nr + 1, 1ul << 31, 1ul << 32, (1ul << 32) + 1,
					       ~0ul, -nr,    -nr + 1,	1ul << 63 };

		for (unsigned int i = 0; i < ARRAY_SIZE(edge); i++)
			for (unsigned int j = 0; j < ARRAY_SIZE(edge); j++) {
				struct folio_subrange sr = { NULL, 7, 7 };
				bool legal = edge[j] && edge[i] < nr && edge[j] <= nr &&
					     edge[i] + edge[j] <= nr;
				int err = folio_subrange_init(&sr, folio, edge[i], edge[j]);

				assert_int_equal(err, legal ? 0 : -EINVAL);
				assert_ptr_equal(sr.folio, legal ? folio : NULL);
				assert_int_equal(sr.first, legal ? edge[i] : 7);
				assert_int_equal(sr.nr, legal ? edge[j] : 7);
			}
		for (unsigned long i = 0; i < nr; i++) {
			struct folio_subrange sr =
				folio_subrange_page(folio, folio_page(folio, i), nr - i);

			assert_int_equal(sr.first, i);
			assert_int_equal(sr.nr, nr - i);
		}
		folio_put(folio);
	}
	shutdown_clean();
}

static struct folio *victim;

static void make_empty(void *arg)
{
	folio_subrange(victim, 0, 0);
}

static void make_too_long(void *arg)
{
	folio_subrange(victim, 1, 4);
}

static void make_before(void *arg)
{
	folio_subrange_page(victim, folio_page(victim, 0) - 1, 1);
}

static void make_after(void *arg)
{
	folio_subrange_page(victim, folio_page(victim, 4), 1);
}

static void test_beyond(void *arg)
{
	folio_test_anon_exclusive(victim, 4);
}

/* Made by hand, or older than a split of the folio. */
static const struct folio_subrange *forged(void)
{
	static struct folio_subrange sr;

	sr = (struct folio_subrange){ .folio = victim, .first = 2, .nr = 3 };
	return &sr;
}

static void set_forged(void *arg)
{
	folio_set_anon_exclusive(*forged());
}

static void clear_forged(void *arg)
{
	folio_clear_anon_exclusive(*forged());
}

static void spread_forged(void *arg)
{
	folio_spread_anon_exclusive(*forged());
}

static void run_forged(void *arg)
{
	bool exclusive;

	folio_anon_exclusive_run(*forged(), &exclusive);
}

static void count_forged(void *arg)
{
	folio_anon_exclusive_count(*forged());
}

COVERS("S2.4 S2.5");
static void test_subrange_misuse_is_fatal_in_every_helper(void **state)
{
	void (*const misuse[])(void *) = { make_empty,	make_too_long, make_before,  make_after,
					   test_beyond, set_forged,    clear_forged, spread_forged,
					   run_forged,	count_forged };

	for (unsigned int i = 0; i < ARRAY_SIZE(misuse); i++) {
		boot();
		victim = folio_alloc(GFP_KERNEL, 2, FOLIO_ANON);
		assert_non_null(victim);
		expect_panic(misuse[i], NULL, "not a subrange of 4");
	}
}

/* ---- exclusivity against the model ---- */

struct model {
	struct folio *folio;
	bool bit[1 << 11];
	unsigned long nr;
};

static void compare(const struct model *m, unsigned long first, unsigned long nr)
{
	struct folio_subrange sr = folio_subrange(m->folio, first, nr);
	u32 count = 0, run = 1;
	bool exclusive;

	for (unsigned long i = first; i < first + nr; i++) {
		assert_int_equal(folio_test_anon_exclusive(m->folio, i), m->bit[i]);
		count += m->bit[i];
	}
	while (run < nr && m->bit[first + run] == m->bit[first])
		run++;
	assert_int_equal(folio_anon_exclusive_count(sr), count);
	assert_int_equal(folio_anon_exclusive_run(sr, &exclusive), run);
	assert_int_equal(exclusive, m->bit[first]);
}

static void step(struct model *m, unsigned int *seed)
{
	unsigned long first = (unsigned long)rand_r(seed) % m->nr;
	unsigned long nr = 1 + (unsigned long)rand_r(seed) % (m->nr - first);
	struct folio_subrange sr;
	bool to = rand_r(seed) & 1;

	/* words and their edges more often than chance would have it */
	if (rand_r(seed) % 4 == 0 && m->nr >= BITS_PER_LONG) {
		first &= ~63ul;
		nr = min(m->nr - first, (nr + 63) & ~63ul);
	} else if (rand_r(seed) % 8 == 0) {
		first = 0;
		nr = m->nr;
	}
	sr = folio_subrange(m->folio, first, nr);
	if (rand_r(seed) % 4 == 0) {
		to = m->bit[first];
		folio_spread_anon_exclusive(sr);
	} else if (to) {
		folio_set_anon_exclusive(sr);
	} else {
		folio_clear_anon_exclusive(sr);
	}
	for (unsigned long i = first; i < first + nr; i++)
		m->bit[i] = to;
}

COVERS("S2.3 S2.4");
static void test_subrange_exclusivity_equals_the_model(void **state)
{
	static struct model m;
	unsigned int seed = 1;

	boot();
	for (unsigned int order = 0; order <= top_order(); order++) {
		int steps = order < 8 ? 400 : 60;

		memset(&m, 0, sizeof(m));
		m.nr = 1ul << order;
		m.folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
		assert_non_null(m.folio);
		compare(&m, 0, m.nr);
		while (steps--) {
			unsigned long first = (unsigned long)rand_r(&seed) % m.nr;

			step(&m, &seed);
			compare(&m, 0, m.nr);
			compare(&m, first, 1 + (unsigned long)rand_r(&seed) % (m.nr - first));
			assert_true(folio_validate(m.folio));
		}
		folio_put(m.folio);
	}
	shutdown_clean();
}

COVERS("S2.19");
/* Every subrange of a folio of two words: 2080 or so. */
static void test_subrange_exclusivity_of_every_run(void **state)
{
	unsigned int order = min(MAX_FOLIO_ORDER, 7);
	unsigned long nr = 1ul << order;
	struct folio *folio;
	bool exclusive;

	boot();
	folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
	for (unsigned long first = 0; first < nr; first++)
		for (unsigned long n = 1; n <= nr - first; n++) {
			struct folio_subrange sr = folio_subrange(folio, first, n);
			struct folio_subrange all = folio_subrange(folio, 0, nr);

			folio_set_anon_exclusive(sr);
			assert_int_equal(folio_anon_exclusive_count(all), n);
			assert_int_equal(folio_anon_exclusive_run(sr, &exclusive), n);
			assert_true(exclusive);
			assert_int_equal(folio_anon_exclusive_run(all, &exclusive),
					 first ? first : n);
			assert_int_equal(exclusive, first == 0);
			folio_clear_anon_exclusive(sr);
			assert_int_equal(folio_anon_exclusive_count(all), 0);
			assert_int_equal(folio_anon_exclusive_run(all, &exclusive), nr);
		}
	folio_put(folio);
	shutdown_clean();
}

COVERS("S2.3");
/* A large entry uses the bit of the first page that it maps; mapping the pages spreads it. */
static void test_subrange_exclusivity_of_a_large_mapping_is_its_first_bit(void **state)
{
	unsigned int order = min(MAX_FOLIO_ORDER, 10);
	unsigned long half = 1ul << (order - 1);
	struct folio *folio;

	boot();
	folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
	/* the second half is mapped by one entry, exclusively */
	folio_set_anon_exclusive(folio_subrange(folio, half, 1));
	assert_int_equal(folio_anon_exclusive_count(folio_subrange(folio, 0, 2 * half)), 1);
	folio_spread_anon_exclusive(folio_subrange(folio, half, half));
	assert_int_equal(folio_anon_exclusive_count(folio_subrange(folio, half, half)), half);
	assert_int_equal(folio_anon_exclusive_count(folio_subrange(folio, 0, half)), 0);
	/* shared through the large entry, then spread: all are */
	folio_clear_anon_exclusive(folio_subrange(folio, half, 1));
	folio_spread_anon_exclusive(folio_subrange(folio, half, half));
	assert_int_equal(folio_anon_exclusive_count(folio_subrange(folio, 0, 2 * half)), 0);
	folio_put(folio);
	shutdown_clean();
}

/* ---- two page tables, one word ---- */

enum { OWNERS = 3 };

static struct {
	struct folio *folio;
	unsigned long edge[OWNERS + 1];
	u32 ready;
} split_word;

/*
 * Each thread is a page-table lock: it changes the bits of its own pages only, and must never see
 * them change. The boundaries lie inside words.
 */
static void own_range(unsigned int cpu, void *arg)
{
	unsigned long lo = split_word.edge[cpu], nr = split_word.edge[cpu + 1] - lo;
	unsigned int seed = cpu + 7;
	bool bit[1 << 9] = { false };

	fetch_add_relaxed(&split_word.ready, 1u);
	while (READ_ONCE(split_word.ready) < OWNERS)
		octavo_port_relax();

	for (int turn = 0; turn < 200000; turn++) {
		unsigned long first = (unsigned long)rand_r(&seed) % nr;
		unsigned long n = 1 + (unsigned long)rand_r(&seed) % (nr - first);
		bool to = rand_r(&seed) & 1;
		u32 count = 0;

		/* mostly at the edges, which are shared */
		if (turn % 4) {
			first = turn & 1 ? 0 : nr - min(nr, 5ul);
			n = min(nr, 5ul);
		}
		if (to)
			folio_set_anon_exclusive(folio_subrange(split_word.folio, lo + first, n));
		else
			folio_clear_anon_exclusive(folio_subrange(split_word.folio, lo + first, n));
		for (unsigned long i = first; i < first + n; i++)
			bit[i] = to;
		if (turn % 16)
			continue;
		for (unsigned long i = 0; i < nr; i++)
			count += bit[i];
		assert_int_equal(
			folio_anon_exclusive_count(folio_subrange(split_word.folio, lo, nr)),
			count);
	}
	for (unsigned long i = 0; i < nr; i++)
		assert_int_equal(folio_test_anon_exclusive(split_word.folio, lo + i), bit[i]);
}

static void test_subrange_word_with_two_owners_loses_no_bit(void **state)
{
	/* within one word; and with whole words between the shared ones */
	static const unsigned long edges[2][OWNERS + 1] = { { 0, 13, 50, 64 },
							    { 0, 100, 333, 512 } };

	boot();
	for (int i = 0; i < 2; i++) {
		unsigned int order = i ? 9 : 6;

		if (order > MAX_FOLIO_ORDER)
			break;
		memcpy(split_word.edge, edges[i], sizeof(edges[i]));
		split_word.ready = 0;
		split_word.folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
		sim_run(OWNERS, false, own_range, NULL);
		assert_true(folio_validate(split_word.folio));
		folio_put(split_word.folio);
	}
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subrange_is_checked_when_it_is_made),
		cmocka_unit_test(test_subrange_misuse_is_fatal_in_every_helper),
		cmocka_unit_test(test_subrange_exclusivity_equals_the_model),
		cmocka_unit_test(test_subrange_exclusivity_of_every_run),
		cmocka_unit_test(test_subrange_exclusivity_of_a_large_mapping_is_its_first_bit),
		cmocka_unit_test(test_subrange_word_with_two_owners_loses_no_bit),
	};

	return cmocka_run_group_tests_name("subrange", tests, NULL, NULL);
}
