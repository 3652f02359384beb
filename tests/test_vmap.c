/* SPDX-License-Identifier: MIT */
/*
 * test_vmap.c - pages and folios made contiguous: what may be mapped, and who owns what.
 */
#include "kmap_machine.h"

static int no_migrate(struct movable *dst, struct movable *src)
{
	return -EBUSY;
}

static const struct movable_operations movable_ops = { .migrate = no_migrate };

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

/* What is no page at all, among ten of them. */
static void refuse_at_any_place(struct page *none)
{
	struct page *pages[10], *good = new_page(0);

	for (int at = 0; at < 10; at++) {
		for (int i = 0; i < 10; i++)
			pages[i] = i == at ? none : good;
		assert_null(vmap(pages, 10, 0, PAGE_KERNEL));
		assert_null(vmap(pages, 10, VM_MAP_PUT_PAGES, PAGE_KERNEL));
	}
	put_page(good);
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
	refuse_at_any_place(NULL);
	refuse_at_any_place(pfn_to_page(octavo_state.frame.max_pfn));
	refuse_at_any_place(pfn_to_page(0) - 1);
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

/* Entries that the kernel could not tell from none, from tables, or from frames without words. */
COVERS("S4.6");
static void test_vmap_wrong_prot(void **state)
{
	const u64 wrong[] = { 0,
			      _PAGE_RW,
			      PAGE_NONE.v,
			      PAGE_KERNEL.v | _PAGE_LEAF,
			      PAGE_KERNEL.v | _PAGE_SPECIAL,
			      PAGE_KERNEL.v | 1ul << PAGE_SHIFT };
	const unsigned long pfn = 1ul << 35;
	struct page *run, **pages;
	void *addr;

	kmap_boot();
	run = new_page(level_order(PGTABLE_LEVEL_PMD));
	pages = array_of((unsigned int)LEAF_PAGES);
	for (unsigned int i = 0; i < LEAF_PAGES; i++)
		pages[i] = run + i;
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		const pgprot_t prot = { wrong[i] };

		assert_int_equal(vmap_pages(pages, (unsigned int)LEAF_PAGES, 0, prot, &addr),
				 -EINVAL);
		assert_null(vmap_pfn(&pfn, 1, prot));
		assert_null(__vmalloc_node_range(PAGE_SIZE, 1, GFP_KERNEL, prot, 0, NUMA_NO_NODE,
						 NULL));
	}
	addr = vmap(pages, (unsigned int)LEAF_PAGES, 0, PAGE_READONLY);
	assert_non_null(addr);
	vunmap(addr);
	kfree(pages);
	put_page(run);
	kmap_end();
}

/* Pointers that lead to no page, alone and among good ones. */
COVERS("S4.6");
static void test_vmap_no_pages(void **state)
{
	struct page *good, *pages[8];
	void *addr;

	kmap_boot();
	good = new_page(0);
	for (unsigned int at = 0; at < 8; at++)
		for (unsigned long bad = 0; bad < 2; bad++) {
			for (unsigned int i = 0; i < 8; i++)
				pages[i] = good;
			pages[at] = bad ? pfn_to_page(1ul << 39) : NULL;
			assert_int_equal(vmap_pages(pages, 8, 0, PAGE_KERNEL, &addr), -EINVAL);
			assert_int_equal(vmap_pages(pages, 8, VM_MAP_PUT_PAGES, PAGE_KERNEL, &addr),
					 -EINVAL);
			assert_null(vm_map_ram(pages, 8, NUMA_NO_NODE));
		}
	assert_int_equal(page_count(good), 1);
	put_page(good);
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

/* A part of @nr pages that begins where @folio ends, at memory that is free. */
static struct folio_subrange folio_beyond(struct folio *folio, u32 nr)
{
	struct folio_subrange sr = { folio, (u32)folio_nr_pages(folio), nr };

	while (memdesc_type(page_memdesc(folio_page(folio, 0) + sr.first)) != MEMDESC_FREE)
		sr.first++;
	return sr;
}

/* Two folios, the second of which begins where the first ends. */
static void make_neighbours(struct folio **a, struct folio **b)
{
	struct folio *f[8];

	*a = *b = NULL;
	for (int i = 0; i < 8; i++)
		f[i] = new_folio(1);
	for (int i = 0; i < 64 && !*a; i++) {
		if (folio_pfn(f[i % 8]) + 2 != folio_pfn(f[i / 8]))
			continue;
		*a = f[i % 8];
		*b = f[i / 8];
	}
	assert_non_null(*a);
	for (int i = 0; i < 8; i++)
		if (f[i] != *a && f[i] != *b)
			folio_put(f[i]);
}

/* Parts that were not made by folio_subrange(): nothing but what is the folio's is mapped, or paid for. */
COVERS("S4.1 S4.23 S4.22");
static void test_vmap_folios_wrong_parts(void **state)
{
	const unsigned long flags[] = { 0, VM_MAP_PUT_PAGES };
	struct folio_subrange parts[2];
	struct folio *a, *b;
	memdesc_t good;
	void *addr;

	kmap_boot();
	make_neighbours(&a, &b);
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
		const struct folio_subrange wrong[] = { { a, 1, 2 },	{ a, 2, 1 },
							{ a, 0, 3 },	{ a, 0, 0 },
							{ a, ~0u, 2 },	{ a, 0, ~0u },
							{ NULL, 0, 1 }, { a, 2, ~0u } };

		for (unsigned int k = 0; k < 2 * ARRAY_SIZE(wrong); k++) {
			parts[k % 2] = folio_subrange(b, 0, 1);
			parts[!(k % 2)] = wrong[k / 2];
			assert_int_equal(vmap_folios(parts, 2, flags[i], PAGE_KERNEL, &addr),
					 k / 2 == 5 || k / 2 == 7 ? -E2BIG : -EINVAL);
		}
	}
	/* of the folio, but this page is not to be used */
	good = folio_page(a, 1)->memdesc;
	parts[0] = folio_subrange(b, 0, 1);
	parts[1] = folio_subrange(a, 1, 1);
	assert_int_equal(vmap_folios(parts, 2, 0, PAGE_KERNEL, &addr), 0);
	vunmap(addr);
	folio_page(a, 1)->memdesc = memdesc_mk(MEMDESC_HWPOISON);
	assert_int_equal(vmap_folios(parts, 2, 0, PAGE_KERNEL, &addr), -EINVAL);
	folio_page(a, 1)->memdesc = good;
	assert_int_equal(folio_ref_count(a), 1);
	assert_int_equal(folio_ref_count(b), 1);
	folio_put(a);
	folio_put(b);
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
	/* what is no folio's any more */
	parts[2] = folio_beyond(a, 1);
	assert_int_equal(vmap_folios(parts, 4, 0, PAGE_KERNEL, &addr), -EINVAL);
	parts[2] = folio_beyond(a, 8);
	assert_int_equal(vmap_folios(parts, 4, 0, PAGE_KERNEL, &addr), -EINVAL);
	folio_put(a);
	folio_put(b);
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

	for_each_fault(k, mode, ALLOCS, hit)
	{
		struct page **pages;
		void *addr;

		octavo_fault_disarm();
		/* new addresses, whose tables are not there yet */
		kmap_boot();
		folio = new_folio(2);
		run = new_page(level_order(1));
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
		folio_put(folio);
		put_page(run);
		kmap_end();
	}
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
		TEST(test_vmap_wrong_prot),
		TEST(test_vmap_no_pages),
		TEST(test_vunmap),
		TEST(test_vmap_folios_wrong_parts),
		TEST(test_vmap_folios),
#if OCTAVO_FAULTS
		TEST(test_vmap_fails_at_any_step),
		TEST(test_kmap_comes_up_or_not),
#endif
	};

	sim_log_quiet(true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
