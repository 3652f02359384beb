/* SPDX-License-Identifier: MIT */
/*
 * test_vmap.c - pages and folios made contiguous: what may be mapped, who owns what, how large the entries are.
 */
#include "kmap_machine.h"

static int no_migrate(struct movable *dst, struct movable *src)
{
	return -EBUSY;
}

static const struct movable_operations movable_ops = { .migrate = no_migrate };

static struct page *new_page(unsigned int order)
{
	struct page *page = alloc_pages(GFP_KERNEL, order);

	assert_non_null(page);
	return page;
}

static struct folio *new_folio(unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_FILE);

	assert_non_null(folio);
	return folio;
}

static struct page **array_of(unsigned int n)
{
	struct page **a = kmalloc_array(n, sizeof(*a), GFP_KERNEL);

	assert_non_null(a);
	return a;
}

/* Single pages that are no neighbours, in any order. */
COVERS("S4.5 S4.2");
static void test_vmap_single_pages(void **state)
{
	struct page *pages[5];
	void *addr;

	kmap_boot();
	for (int i = 0; i < 5; i++)
		pages[(i * 3) % 5] = new_page(0);
	addr = vmap(pages, 5, 0, PAGE_KERNEL);
	assert_non_null(addr);
	assert_true(is_vmalloc_addr(addr));
	for (unsigned long i = 0; i < 5; i++)
		assert_maps(kat(addr, i), pages[i]);
	assert_no_access(kat(addr, 5));
	assert_int_equal(kfetch(addr), SIM_PROTECTION);
	assert_int_equal(kmap_stat().nr_mapped, 5);
	assert_int_equal(kmap_stat().nr_owned, 0);
	assert_true(octavo_validate());
	vunmap(addr);
	vm_unmap_aliases();
	assert_no_access(addr);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(page_count(pages[i]), 1);
		put_page(pages[i]);
	}
	kmap_end();
}

/* Tails of several folios and plain allocations stitched into one range, some of them twice, without owning any. */
COVERS("S4.2 S4.1");
static void test_vmap_tails_borrowed(void **state)
{
	struct folio *a, *b;
	struct page *plain, *frozen, *managed, *pages[9];
	struct mgdesc *mg;
	void *addr;

	kmap_boot();
	a = new_folio(2);
	b = folio_alloc(GFP_KERNEL, 1, FOLIO_ANON);
	assert_non_null(b);
	plain = new_page(2);
	frozen = alloc_frozen_pages(GFP_KERNEL, 1);
	mg = mgdesc_alloc(GFP_KERNEL, 1);
	assert_non_null(mg);
	managed = pfn_to_page(mgdesc_pfn(mg));
	pages[0] = folio_page(a, 3);
	pages[1] = folio_page(b, 1);
	pages[2] = folio_page(a, 1);
	pages[3] = folio_page(a, 2);
	pages[4] = folio_page(a, 3);
	pages[5] = plain + 3;
	pages[6] = frozen + 1;
	pages[7] = managed + 1;
	pages[8] = folio_page(a, 3);
	addr = vmap(pages, 9, 0, PAGE_KERNEL);
	assert_non_null(addr);
	for (unsigned long i = 0; i < 9; i++)
		assert_maps(kat(addr, i), pages[i]);
	assert_int_equal(folio_ref_count(a), 1);
	assert_int_equal(folio_mapcount(a), 0);
	assert_int_equal(page_count(plain), 1);
	/* what it does not own it does not keep */
	assert_int_equal(find_vm_area(kat(addr, 4))->runs.nr, 0);
	assert_true(octavo_validate());
	/* to vfree() it is the same */
	vfree(addr);
	assert_int_equal(folio_ref_count(a), 1);
	folio_put(a);
	folio_put(b);
	put_page(plain);
	free_frozen_pages(frozen, 1);
	mgdesc_put(mg);
	kmap_end();
}

/* One reference for each entry, on whatever the entry is a page of. */
COVERS("S4.3 S4.4 S4.22 S4.8 S4.10 S4.7");
static void test_vmap_put_pages(void **state)
{
	struct folio *folio;
	struct page *plain, *single, **pages;
	struct mgdesc *mg;
	void *addr;

	kmap_boot();
	folio = new_folio(2);
	plain = new_page(2);
	single = new_page(0);
	mg = mgdesc_alloc(GFP_KERNEL, 1);
	assert_non_null(mg);
	pages = array_of(8);
	pages[0] = folio_page(folio, 1);
	pages[1] = folio_page(folio, 2);
	pages[2] = folio_page(folio, 2);
	pages[3] = folio_page(folio, 0);
	pages[4] = plain + 2;
	pages[5] = plain + 2;
	pages[6] = single;
	pages[7] = pfn_to_page(mgdesc_pfn(mg)) + 1;
	for (int i = 0; i < 8; i++)
		get_page(pages[i]);
	addr = vmap(pages, 8, VM_MAP_PUT_PAGES, PAGE_KERNEL);
	assert_non_null(addr);
	assert_int_equal(find_vm_area(addr)->nr_pages, 8);
	assert_int_equal(folio_ref_count(folio), 5);
	assert_int_equal(kmap_stat().nr_owned, 8);
	/* handed over is not allocated: S4.11 */
	assert_int_equal(kmap_stat().nr_vmalloc, 0);
	assert_true(octavo_validate());
	/* what the area holds survives its maker */
	put_page(single);
	assert_maps(kat(addr, 6), single);
	/* and what others hold survives the area */
	vfree(addr);
	assert_int_equal(folio_ref_count(folio), 1);
	assert_int_equal(page_count(plain), 1);
	assert_int_equal(mgdesc_ref_count(mg), 1);
	assert_int_equal(memdesc_type(page_memdesc(single)), MEMDESC_FREE);
	folio_put(folio);
	put_page(plain);
	mgdesc_put(mg);
	kmap_end();
}

/* The last reference is the area's: folio and plain allocation end with it, whole. */
COVERS("S4.3 S4.22 S4.11");
static void test_vmap_put_pages_last(void **state)
{
	struct folio *folio;
	struct page *plain, **pages;
	unsigned long pfn;
	void *addr;
	u64 before;

	kmap_boot();
	vunmap(vmap((struct page *[]){ plain = new_page(0) }, 1, 0, PAGE_KERNEL));
	put_page(plain);
	vm_unmap_aliases();
	before = vmalloc_nr_pages();
	folio = new_folio(2);
	plain = new_page(2);
	pfn = page_to_pfn(plain);
	pages = array_of(3);
	pages[0] = folio_page(folio, 3);
	pages[1] = plain + 1;
	pages[2] = folio_page(folio, 3);
	folio_get(folio);
	addr = vmap(pages, 3, VM_MAP_PUT_PAGES | VM_MAP, PAGE_KERNEL);
	assert_non_null(addr);
	assert_int_equal(vmalloc_nr_pages(), before);
	vfree(addr);
	assert_int_equal(vmalloc_nr_pages(), before);
	for (unsigned long i = 0; i < 4; i++)
		assert_int_equal(memdesc_type(page_memdesc(pfn_to_page(pfn + i))), MEMDESC_FREE);
	kmap_end();
}

struct refusal {
	struct page *page;
	bool borrowed; /* refused even then */
};

static void refuse(struct page *good, struct refusal r)
{
	struct page **pages = array_of(3);
	memdesc_t was = page_memdesc(r.page);
	void *addr = good;

	for (int owned = 0; owned < 2; owned++) {
		pages[0] = good;
		pages[1] = r.page;
		pages[2] = good;
		if (!owned && !r.borrowed)
			continue;
		assert_int_equal(
			vmap_pages(pages, 3, owned ? VM_MAP_PUT_PAGES : 0, PAGE_KERNEL, &addr),
			-EINVAL);
		assert_null(vmap(pages, 3, owned ? VM_MAP_PUT_PAGES : 0, PAGE_KERNEL));
		assert_ptr_equal(addr, good);
		/* nothing has changed, the array is still ours */
		assert_int_equal(page_count(good), 1);
		assert_true(memdesc_eq(page_memdesc(r.page), was));
		assert_ptr_equal(pages[1], r.page);
		assert_int_equal(kmap_stat().areas, 0);
	}
	kfree(pages);
}

COVERS("S4.4 S4.6");
static void test_vmap_refuses_types(void **state)
{
	struct page *good, *frozen, *bad, *plain;
	struct movable *mv;
	struct ptdesc *pt;
	void *obj;

	kmap_boot();
	good = new_page(0);
	frozen = alloc_frozen_pages(GFP_KERNEL, 0);
	refuse(good, (struct refusal){ frozen, false });
	free_frozen_pages(frozen, 0);
	obj = kmalloc(32, GFP_KERNEL);
	refuse(good, (struct refusal){ virt_to_page(obj), true });
	kfree(obj);
	pt = pagetable_alloc(GFP_KERNEL, 0);
	refuse(good, (struct refusal){ pfn_to_page(ptdesc_pfn(pt)), true });
	pagetable_free(pt);
	mv = movable_alloc(GFP_KERNEL, 0, &movable_ops, NULL);
	refuse(good, (struct refusal){ pfn_to_page(movable_pfn(mv)), true });
	assert_int_equal(movable_free(mv), 0);
	plain = new_page(0);
	put_page(plain);
	refuse(good, (struct refusal){ plain, true });
	bad = new_page(0);
	put_page(bad);
	assert_int_equal(memory_failure(page_to_pfn(bad)), 0);
	assert_int_equal(memdesc_type(page_memdesc(bad)), MEMDESC_HWPOISON);
	refuse(good, (struct refusal){ bad, true });
	assert_int_equal(unpoison_memory(page_to_pfn(bad)), 0);
	put_page(good);
	/* no page at all */
	assert_null(vmap((struct page *[]){ NULL }, 1, 0, PAGE_KERNEL));
	assert_true(octavo_validate());
	kmap_end();
}

COVERS("S4.6");
static void test_vmap_errors(void **state)
{
	struct page *page, **many;
	unsigned int nr;
	void *addr;

	kmap_boot();
	page = new_page(0);
	nr = (unsigned int)totalram_pages() + 1;
	assert_null(vmap(&page, 0, 0, PAGE_KERNEL));
	sim_log_take(NULL);
	assert_null(vmap(&page, 1, VM_FLUSH_RESET_PERMS, PAGE_KERNEL));
	assert_warned("VM_FLUSH_RESET_PERMS");
	many = malloc(nr * sizeof(*many));
	assert_non_null(many);
	for (unsigned int i = 0; i < nr; i++)
		many[i] = page;
	assert_int_equal(vmap_pages(many, nr, 0, PAGE_KERNEL, &addr), -E2BIG);
	free(many);
	addr = vmap(&page, 1, VM_NO_GUARD, PAGE_KERNEL);
	assert_warned("VM_NO_GUARD");
	assert_non_null(addr);
	assert_int_equal(find_vm_area(addr)->size, 2 * PAGE_SIZE);
	vunmap(addr);
	put_page(page);
	kmap_end();
}

COVERS("S4.9");
static void test_vunmap(void **state)
{
	struct page *page, **pages;
	void *addr;

	kmap_boot();
	sim_log_take(NULL);
	vunmap(NULL);
	vfree(NULL);
	vfree_atomic(NULL);
	assert_int_equal(sim_log_take(NULL), 0);
	/* unknown while nothing was ever mapped, inside an area, and twice */
	vunmap((void *)VMALLOC_START);
	assert_warned("not the start");
	page = new_page(0);
	addr = vmap((struct page *[]){ page, page }, 2, 0, PAGE_KERNEL);
	assert_non_null(addr);
	vunmap(kat(addr, 1));
	assert_warned("not the start");
	assert_maps(kat(addr, 1), page);
	vunmap(addr);
	assert_int_equal(sim_log_take(NULL), 0);
	vunmap(addr);
	assert_warned("not the start");
	vfree(addr);
	assert_warned("not the start");
	/* references that were handed over are the caller's again, and that is said */
	pages = array_of(2);
	pages[0] = pages[1] = page;
	get_page(page);
	addr = vmap(pages, 2, VM_MAP_PUT_PAGES, PAGE_KERNEL);
	assert_non_null(addr);
	vunmap(addr);
	assert_warned("owns 2 pages");
	assert_int_equal(page_count(page), 2);
	put_page(page);
	put_page(page);
	kmap_end();
}

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

/* Parts of folios, some of them overlapping: one reference a part passes, and none is lost or dropped twice. */
COVERS("S4.1 S4.23 S4.22");
static void test_vmap_folios(void **state)
{
	struct folio *a, *b;
	struct folio_subrange parts[4];
	void *addr;
	int err;

	kmap_boot();
	a = new_folio(3);
	b = new_folio(0);
	parts[0] = folio_subrange(a, 2, 5);
	parts[1] = folio_subrange(b, 0, 1);
	parts[2] = folio_subrange(a, 0, 8);
	parts[3] = folio_subrange(a, 7, 1);
	assert_int_equal(vmap_folios(parts, 4, 0, PAGE_KERNEL, &addr), 0);
	assert_maps(kat(addr, 4), folio_page(a, 6));
	assert_maps(kat(addr, 5), folio_page(b, 0));
	assert_maps(kat(addr, 13), folio_page(a, 7));
	assert_maps(kat(addr, 14), folio_page(a, 7));
	vunmap(addr);
	for (int i = 0; i < 4; i++)
		folio_get(parts[i].folio);
	err = vmap_folios(parts, 4, VM_MAP_PUT_PAGES, PAGE_KERNEL, &addr);
	assert_int_equal(err, 0);
	assert_int_equal(find_vm_area(addr)->nr_pages, 15);
	assert_true(octavo_validate());
	vfree(addr);
	assert_int_equal(folio_ref_count(a), 1);
	assert_int_equal(folio_ref_count(b), 1);
	assert_int_equal(vmap_folios(parts, 0, 0, PAGE_KERNEL, &addr), -EINVAL);
	folio_put(a);
	folio_put(b);
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

/* Addresses are not used again before a flush: a translation that is left over leads nowhere new. */
static void test_vunmap_is_lazy(void **state)
{
	struct page *old, *new;
	void *first, *p;
	u64 val;

	kmap_boot();
	old = new_page(0);
	new = new_page(0);
	first = vmap(&old, 1, 0, PAGE_KERNEL);
	assert_maps(first, old);
	vunmap(first);
	/* the translation is still there */
	assert_int_equal(kread(first, &val), SIM_OK);
	p = vmap(&new, 1, 0, PAGE_KERNEL);
	assert_ptr_not_equal(p, first);
	assert_maps(p, new);
	vunmap(p);
	vm_unmap_aliases();
	assert_no_access(first);
	assert_true(sim_mmu_check(NULL));
	/* now it is used again */
	p = vmap(&new, 1, 0, PAGE_KERNEL);
	assert_maps(p, new);
	vunmap(p);
	put_page(old);
	put_page(new);
	kmap_end();
}

/* So many unmapped addresses are flushed for without being asked. */
static void test_lazy_is_bounded(void **state)
{
	struct page *page;

	kmap_boot();
	page = new_page(0);
	for (int i = 0; i < 3 * OCTAVO_VMALLOC_LAZY; i++) {
		void *p = vmap(&page, 1, 0, PAGE_KERNEL);

		assert_non_null(p);
		vunmap(p);
		assert_true(kmap_stat().lazy_pages <= OCTAVO_VMALLOC_LAZY + 2);
	}
	assert_true(kmap_stat().purges >= 2);
	put_page(page);
	kmap_end();
}

/* This CPU maps and unmaps until there has been one more flush. */
static void until_flushed(struct page *page)
{
	const u64 purges = kmap_stat().purges;

	while (kmap_stat().purges == purges) {
		void *p = vmap(&page, 1, 0, PAGE_KERNEL);

		assert_non_null(p);
		vunmap(p);
		assert_true(kmap_stat().lazy_pages <= OCTAVO_VMALLOC_LAZY + 2);
	}
	assert_true(octavo_validate());
}

/* A flush is for all, but what was another home's is left to its CPUs; unless they do nothing. */
static void test_lazy_homes(void **state)
{
	struct page *page;
	void *first, *second, *p, *q;
	u64 val;

	kmap_boot();
	page = new_page(0);
	sim_set_cpu(1);
	first = vmap(&page, 1, 0, PAGE_KERNEL);
	assert_maps(first, page);
	vunmap(first);
	sim_set_cpu(0);
	until_flushed(page);
	sim_set_cpu(1);
	/* no translation is left, the addresses are not for use yet */
	assert_int_equal(kread(first, &val), SIM_NOT_PRESENT);
	second = vmap(&page, 1, 0, PAGE_KERNEL);
	assert_ptr_not_equal(second, first);
	/* which ends what was ready */
	vunmap(second);
	p = vmap(&page, 1, 0, PAGE_KERNEL);
	assert_ptr_equal(p, first);
	vunmap(p);
	/* nothing more comes from there: after two flushes of others all of it can be used */
	sim_set_cpu(0);
	until_flushed(page);
	until_flushed(page);
	sim_set_cpu(1);
	p = vmap(&page, 1, 0, PAGE_KERNEL);
	q = vmap(&page, 1, 0, PAGE_KERNEL);
	assert_true((p == first && q == second) || (p == second && q == first));
	vunmap(p);
	vunmap(q);
	sim_set_cpu(0);
	put_page(page);
	kmap_end();
}

#if OCTAVO_FAULTS
#define ALLOCS (OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB)

/* Whatever fails, the caller owns what it owned, and nothing is left behind. */
static void fail_vmap(int mode)
{
	const unsigned int n = 2 * (unsigned int)LEAF_PAGES + 3;
	struct folio *folio;
	struct page *run;

	kmap_boot();
	folio = new_folio(2);
	run = new_page(level_order(1));
	for_each_fault(k, mode, ALLOCS, hit)
	{
		struct page **pages;
		void *addr;

		octavo_fault_disarm();
		pages = array_of(n);
		for (unsigned int i = 0; i < n; i++) {
			pages[i] = i < LEAF_PAGES ? run + i : folio_page(folio, (i * 3) % 4);
			get_page(pages[i]);
		}
		octavo_fault_arm(k, mode, ALLOCS);
		addr = vmap(pages, n, VM_MAP_PUT_PAGES, PAGE_KERNEL);
		hit = octavo_fault_disarm();
		assert_true(octavo_validate());
		assert_int_equal(folio_ref_count(folio), 1 + n - LEAF_PAGES);
		assert_int_equal(page_count(run), 1 + LEAF_PAGES);
		if (addr) {
			vfree(addr);
		} else {
			assert_true(hit);
			for (unsigned int i = 0; i < n; i++)
				put_page(pages[i]);
			kfree(pages);
		}
		assert_int_equal(folio_ref_count(folio), 1);
		assert_int_equal(page_count(run), 1);
		kmap_idle();
		assert_int_equal(kmap_stat().areas, 0);
	}
	folio_put(folio);
	put_page(run);
	kmap_end();
}

COVERS("S4.6 S4.8");
static void test_vmap_fails_at_any_step(void **state)
{
	fail_vmap(OCTAVO_FAULT_ONCE);
	fail_vmap(OCTAVO_FAULT_AFTER);
}

/* Coming up is a step too. */
static void test_kmap_comes_up_or_not(void **state)
{
	for (u32 k = 1, hit = 1; hit; k++) {
		struct page *page;
		void *addr;

		kmap_boot();
		page = new_page(0);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, ALLOCS);
		addr = vmap(&page, 1, 0, PAGE_KERNEL);
		hit = octavo_fault_disarm();
		assert_true(octavo_validate());
		if (addr)
			vunmap(addr);
		else
			assert_true(hit);
		addr = vmap(&page, 1, 0, PAGE_KERNEL);
		assert_maps(addr, page);
		vunmap(addr);
		put_page(page);
		kmap_end();
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vmap_single_pages),
		TEST(test_vmap_tails_borrowed),
		TEST(test_vmap_put_pages),
		TEST(test_vmap_put_pages_last),
		TEST(test_vmap_refuses_types),
		TEST(test_vmap_errors),
		TEST(test_vunmap),
		TEST(test_vmap_large_entries),
		TEST(test_vmap_any_arrangement),
		TEST(test_vmap_runs_degrade),
		TEST(test_vmap_folios),
		TEST(test_vmap_keeps_runs),
		TEST(test_vunmap_is_lazy),
		TEST(test_lazy_is_bounded),
		TEST(test_lazy_homes),
#if OCTAVO_FAULTS
		TEST(test_vmap_fails_at_any_step),
		TEST(test_kmap_comes_up_or_not),
#endif
	};

	sim_log_quiet(true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
