/* SPDX-License-Identifier: MIT */
/*
 * test_vmap_runs.c - neighbours: how large the entries are that map them, whatever they are among, and what is kept of them.
 */
#include "kmap_machine.h"

/* Runs are found by frame number: single pages that were split from a run, parts of folios, and across both. */
COVERS("S4.15 S4.14");
static void test_vmap_large_entries(void **state)
{
	unsigned long n = 3 * LEAF_PAGES + 5;
	struct page **pages, *run, *run2, *odd;
	struct folio *folio;
	void *addr;

	kmap_boot();
	pages = malloc(n * sizeof(*pages));
	assert_non_null(pages);
	run = new_page(level_order(1));
	assert_int_equal(split_page(run, level_order(1)), 0);
	folio = new_folio(level_order(1));
	run2 = new_page(level_order(1));
	odd = new_page(0);
	/* two odd ones first, so that the area has to begin somewhere in a table */
	pages[0] = odd;
	pages[1] = run2 + 1;
	for (unsigned long i = 0; i < LEAF_PAGES; i++) {
		pages[2 + i] = run + i;
		pages[2 + LEAF_PAGES + i] = folio_page(folio, i);
		pages[2 + 2 * LEAF_PAGES + i] = run2 + i;
	}
	/* the last one begins one page early: it is a run, but nothing of it is aligned */
	n = 2 + 3 * LEAF_PAGES;
	pages[2 + 2 * LEAF_PAGES] = odd;
	addr = vmap(pages, (unsigned int)n, 0, PAGE_KERNEL);
	assert_non_null(addr);
	assert_int_equal(kmap_stat().huge_entries, 2);
	for (unsigned long i = 0; i < n; i++)
		assert_maps(kat(addr, i), pages[i]);
	assert_true(octavo_validate());
	vunmap(addr);
	/* the same places by single entries, where larger ones were */
	addr = vmap(pages, (unsigned int)n, VM_NO_HUGE_VMAP, PAGE_KERNEL);
	assert_non_null(addr);
	assert_int_equal(kmap_stat().huge_entries, 0);
	for (unsigned long i = 0; i < n; i++)
		assert_maps(kat(addr, i), pages[i]);
	vunmap(addr);
	vm_unmap_aliases();
	/* and larger ones where tables are */
	for (int i = 0; i < 3; i++) {
		addr = vmap(pages + 2, (unsigned int)LEAF_PAGES * 2, 0, PAGE_KERNEL);
		assert_non_null(addr);
		assert_int_equal(kmap_stat().huge_entries, 2);
		assert_maps(addr, run);
		assert_maps(kat(addr, LEAF_PAGES + 1), folio_page(folio, 1));
		vunmap(addr);
		vm_unmap_aliases();
		addr = vmap(pages + 2, (unsigned int)LEAF_PAGES * 2, VM_NO_HUGE_VMAP, PAGE_KERNEL);
		assert_maps(kat(addr, 1), run + 1);
		vunmap(addr);
		vm_unmap_aliases();
	}
	for (unsigned long i = 0; i < LEAF_PAGES; i++)
		put_page(run + i);
	folio_put(folio);
	put_page(run2);
	put_page(odd);
	free(pages);
	kmap_end();
}

/* Where the aligned parts of runs of neighbours are, said in the most naive way. */
static unsigned long leaves_of(const void *addr, struct page **pages, unsigned long n)
{
	unsigned long leaves = 0;

	for (unsigned long i = 0; i + LEAF_PAGES <= n; i++) {
		unsigned long run = 1;

		if (!IS_ALIGNED((unsigned long)kat(addr, i), LEAF_PAGES << PAGE_SHIFT) ||
		    !IS_ALIGNED(page_to_pfn(pages[i]), LEAF_PAGES))
			continue;
		while (run < LEAF_PAGES && pages[i + run] == pages[i] + run)
			run++;
		leaves += run == LEAF_PAGES;
	}
	return leaves;
}

/* Many more runs than are remembered from one look at an array to the next; on a tiny machine a few. */
enum { ANY_PARTS = OCTAVO_TABLE_BITS == 9 ? 400 : 20 };

/* Neighbours in runs of @len, and at most that, until there are @n; from a random place, or from aligned ones. */
static unsigned long add_runs(struct page **pages, unsigned long n, unsigned long len,
			      struct page *memory, unsigned long nr)
{
	unsigned long at = 0;

	while (at < n) {
		unsigned long run = min(n - at, len < 4 ? len : 1 + (unsigned long)rand() % len);
		unsigned long from = (unsigned long)rand() % (nr - run + 1);

		for (unsigned long i = 0; i < run; i++)
			pages[at++] = memory + from + i;
	}
	return n;
}

/* All arrangements of runs, with large entries before, between and after them, and runs with one page that is another's. */
static void test_vmap_any_arrangement(void **state)
{
	const unsigned long nr = 2 * LEAF_PAGES, room = ANY_PARTS * 2 + 6 * LEAF_PAGES;
	struct page **pages = malloc(room * sizeof(*pages));
	unsigned long most = 0;
	struct folio *folio;
	struct page *first;

	kmap_boot();
	assert_non_null(pages);
	folio = new_folio(level_order(1) + 1);
	first = folio_page(folio, 0);
	for (unsigned int round = 0; round < 24; round++) {
		unsigned long n = 0;
		void *addr;

		srand(round);
		if (round & 1)
			n += add_runs(pages + n, (unsigned long)rand() % LEAF_PAGES, 1, first, nr);
		if (round & 2)
			n += add_runs(pages + n, LEAF_PAGES, LEAF_PAGES, first, nr);
		if (round & 4)
			n += add_runs(pages + n, ANY_PARTS, 2, first, nr);
		for (unsigned int k = 0; k < 3; k++)
			for (unsigned long i = 0; i < LEAF_PAGES; i++)
				pages[n++] = first + (k & 1) * LEAF_PAGES + i;
		if (round & 8)
			pages[n - 1 - (unsigned long)rand() % (2 * LEAF_PAGES)] =
				first + (unsigned long)rand() % nr;
		n += add_runs(pages + n, (unsigned long)rand() % LEAF_PAGES, 3, first, nr);
		addr = vmap(pages, (unsigned int)n, 0, PAGE_KERNEL);
		assert_non_null(addr);
		assert_int_equal(kmap_stat().huge_entries, leaves_of(addr, pages, n));
		most = max(most, kmap_stat().huge_entries);
		for (unsigned long i = 0; i < n; i++)
			assert_ptr_equal(vmalloc_to_page(kat(addr, i)), pages[i]);
		assert_maps(kat(addr, n - 1), pages[n - 1]);
		vunmap(addr);
	}
	assert_true(most >= 2);
	folio_put(folio);
	free(pages);
	kmap_end();
}

/* Every page of a run replaced by another one, near and far: what is mapped there is that one. */
static void test_vmap_one_wrong(void **state)
{
	const long other[] = { -2, -1, 1, 2, 3, (long)LEAF_PAGES };
	const unsigned long first = 4, n = LEAF_PAGES, room = 3 * LEAF_PAGES;
	struct page **pages = malloc(n * sizeof(*pages)), *run;

	kmap_boot();
	assert_non_null(pages);
	run = new_page(level_order(1) + 2);
	BUG_ON(first + n + LEAF_PAGES > room);
	/* from an aligned frame, and from one that is not */
	for (unsigned long from = LEAF_PAGES; from <= LEAF_PAGES + first; from += first)
		for (unsigned long i = 0; i < n; i += i == 70 && n > 200 ? n - 140 : 1)
			for (unsigned int k = 0; k < ARRAY_SIZE(other); k++) {
				void *addr;

				for (unsigned long p = 0; p < n; p++)
					pages[p] = run + from + p;
				pages[i] += other[k];
				addr = vmap(pages, (unsigned int)n, 0, PAGE_KERNEL);
				assert_non_null(addr);
				assert_int_equal(kmap_stat().huge_entries, 0);
				assert_ptr_equal(vmalloc_to_page(kat(addr, i)), pages[i]);
				assert_ptr_equal(vmalloc_to_page(kat(addr, n - 1)), pages[n - 1]);
				vunmap(addr);
			}
	put_page(run);
	free(pages);
	kmap_end();
}

/* The area begins where the run behind some single pages can be mapped by a larger entry, however many they are. */
COVERS("S4.15");
static void test_vmap_run_behind_others(void **state)
{
	struct page **pages = malloc((LEAF_PAGES + 9) * sizeof(*pages)), *run, *odd;

	kmap_boot();
	assert_non_null(pages);
	run = new_page(level_order(1));
	odd = new_page(0);
	for (unsigned long before = 0; before < 9; before++) {
		void *addr;

		for (unsigned long i = 0; i < before + LEAF_PAGES; i++)
			pages[i] = i < before ? odd : run + (i - before);
		addr = vmap(pages, (unsigned int)(before + LEAF_PAGES), 0, PAGE_KERNEL);
		assert_non_null(addr);
		assert_int_equal(kmap_stat().huge_entries, 1);
		assert_maps(kat(addr, before), run);
		vunmap(addr);
	}
	put_page(run);
	put_page(odd);
	free(pages);
	kmap_end();
}

/* A run that is not aligned as long as an entry, or aligned and too short, degrades to single entries. */
COVERS("S4.15");
static void test_vmap_runs_degrade(void **state)
{
	unsigned long n = 2 * LEAF_PAGES;
	struct page **pages, *run;
	void *addr;

	kmap_boot();
	pages = malloc(n * sizeof(*pages));
	assert_non_null(pages);
	run = new_page(level_order(1) + 1);
	for (unsigned long i = 0; i < n; i++)
		pages[i] = run + i;
	addr = vmap(pages + 1, (unsigned int)LEAF_PAGES, 0, PAGE_KERNEL);
	assert_int_equal(kmap_stat().huge_entries, 0);
	assert_maps(kat(addr, LEAF_PAGES - 1), run + LEAF_PAGES);
	vunmap(addr);
	/* one page more on both sides: the aligned part in the middle */
	addr = vmap(pages + 1, (unsigned int)(n - 1), 0, PAGE_KERNEL);
	assert_int_equal(kmap_stat().huge_entries, 1);
	for (unsigned long i = 1; i < n; i++)
		assert_maps(kat(addr, i - 1), run + i);
	vunmap(addr);
	put_page(run);
	free(pages);
	kmap_end();
}

struct seen {
	unsigned long pages, runs, folios;
	struct folio_subrange first;
};

static bool see_run(unsigned long pfn, unsigned long nr, const struct folio_subrange *sr, void *arg)
{
	struct seen *seen = arg;

	seen->pages += nr;
	seen->runs++;
	if (sr) {
		assert_int_equal(folio_pfn(sr->folio) + sr->first, pfn);
		assert_int_equal(sr->nr, nr);
		if (!seen->folios++)
			seen->first = *sr;
	}
	return true;
}

/* What is kept: eight bytes a run, never more than an array of pointers. */
COVERS("S4.1 S4.23 S4.8");
static void test_vmap_keeps_runs(void **state)
{
	unsigned long n = 4 * LEAF_PAGES;
	struct page *run, **pages;
	struct seen seen = { 0 };
	struct folio *folio;
	void *addr;

	kmap_boot();
	folio = new_folio(2);
	run = new_page(level_order(1) + 1);
	pages = array_of((unsigned int)n);
	for (unsigned long i = 0; i < n; i++) {
		pages[i] = i % 8 < 3 ? folio_page(folio, 1 + i % 8) : run + i % 7;
		get_page(pages[i]);
	}
	addr = vmap(pages, (unsigned int)n, VM_MAP_PUT_PAGES, PAGE_KERNEL);
	assert_non_null(addr);
	vm_area_for_each_run(find_vm_area(addr), see_run, &seen);
	assert_int_equal(seen.pages, n);
	assert_int_equal(seen.folios, n / 8);
	assert_ptr_equal(seen.first.folio, folio);
	assert_int_equal(seen.first.first, 1);
	assert_int_equal(seen.first.nr, 3);
	if (n >= 64)
		assert_true(kmap_stat().runs_bytes < kmap_stat().array_bytes);
	vfree(addr);
	/* all of it one run: nothing beside the area itself */
	pages = array_of(2 * (unsigned int)LEAF_PAGES);
	for (unsigned long i = 0; i < 2 * LEAF_PAGES; i++) {
		pages[i] = run + i;
		get_page(run);
	}
	addr = vmap(pages, 2 * (unsigned int)LEAF_PAGES, VM_MAP_PUT_PAGES, PAGE_KERNEL);
	assert_non_null(addr);
	assert_int_equal(find_vm_area(addr)->runs.nr, 1);
	assert_int_equal(kmap_stat().runs_bytes, 0);
	assert_int_equal(kmap_stat().array_bytes, 2 * LEAF_PAGES * 8);
	vfree(addr);
	assert_int_equal(page_count(run), 1);
	put_page(run);
	folio_put(folio);
	kmap_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vmap_large_entries), TEST(test_vmap_any_arrangement),
		TEST(test_vmap_one_wrong),     TEST(test_vmap_run_behind_others),
		TEST(test_vmap_runs_degrade),  TEST(test_vmap_keeps_runs),
	};

	sim_log_quiet(true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
