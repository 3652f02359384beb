/* SPDX-License-Identifier: MIT */
/*
 * test_vmalloc.c - memory that need not be contiguous: what it is made of, what ends it, and what it leaves.
 */
#include "kmap_machine.h"

static void *at_least(unsigned long size)
{
	void *p = vmalloc(size);

	assert_non_null(p);
	return p;
}

COVERS("S4.12 S4.21 S4.11");
static void test_vmalloc_pages(void **state)
{
	const unsigned long n = 2 * LEAF_PAGES + 3;
	struct desc_stat before, after;
	void *p;

	kmap_boot();
	vfree(at_least(1));
	vm_unmap_aliases();
	desc_stat(&before);
	p = at_least((n << PAGE_SHIFT) - 100);
	assert_int_equal(kmap_stat().nr_vmalloc, n);
	assert_int_equal(vmalloc_nr_pages(), n);
	for (unsigned long i = 0; i < n; i++) {
		struct page *page = vmalloc_to_page(kat(p, i));
		memdesc_t md = page_memdesc(page);

		assert_maps(kat(p, i), page);
		assert_true(memdesc_is_misc(md) && !memdesc_frozen(md));
		assert_int_equal(memdesc_order(md), 0);
		assert_int_equal(memdesc_count(md), 1);
		assert_int_equal(memdesc_subtype(md), MISC_VMALLOC);
		assert_false(memdesc_mappable(md));
	}
	desc_stat(&after);
	assert_int_equal(after.mgdescs, before.mgdescs);
	for (unsigned int o = 0; o < NR_ORDERS; o++)
		assert_int_equal(after.folios[o], before.folios[o]);
	/* the guard page, and no instructions */
	assert_no_access(kat(p, n));
	assert_int_equal(kfetch(p), SIM_PROTECTION);
	assert_int_equal(find_vm_area(p)->size, (n + 1) << PAGE_SHIFT);
	assert_ptr_equal(find_vm_area(kat(p, n - 1)), find_vm_area(p));
	assert_true(octavo_validate());
	vfree(p);
	assert_int_equal(vmalloc_nr_pages(), 0);
	assert_null(find_vm_area(p));
	assert_null(vmalloc(0));
	assert_null(vmalloc((totalram_pages() + 1) << PAGE_SHIFT));
	kmap_end();
}

COVERS("S4.13");
static void test_vmalloc_gives_runs_back(void **state)
{
	unsigned long pfns[4], n = 4 * LEAF_PAGES;
	struct page *again;
	void *p;

	kmap_boot();
	p = at_least(n << PAGE_SHIFT);
	/* one run for each larger entry, or fewer */
	assert_true(find_vm_area(p)->runs.nr <= 4);
	for (int i = 0; i < 4; i++)
		pfns[i] = vmalloc_to_pfn(kat(p, (unsigned long)i * LEAF_PAGES));
	vfree(p);
	/* frames wait for the flush, like the addresses, unless they are too many */
	vm_unmap_aliases();
	for (int i = 0; i < 4; i++) {
		assert_true(frame_is_free(pfns[i]));
		again = alloc_plain_pages_at(pfns[i], level_order(1), MISC_DRIVER, false, 0);
		assert_non_null(again);
		put_page(again);
	}
	kmap_end();
}

static bool is_free(unsigned long pfn)
{
	return memdesc_type(page_memdesc(pfn_to_page(pfn))) == MEMDESC_FREE;
}

/* A page that somebody else holds outlives the area, and does not keep its neighbours. */
COVERS("S4.10 S4.13");
static void test_vfree_of_held_pages(void **state)
{
	struct page *held;
	unsigned long pfn;
	void *p;

	kmap_boot();
	p = at_least(LEAF_PAGES << PAGE_SHIFT);
	held = vmalloc_to_page(kat(p, 3));
	pfn = page_to_pfn(held);
	get_page(held);
	*frame_word(pfn) = 77;
	vfree(p);
	vm_unmap_aliases();
	assert_int_equal(page_count(held), 1);
	assert_int_equal(*frame_word(pfn), 77);
	assert_true(is_free(pfn - 1) && is_free(pfn + 1));
	put_page(held);
	assert_true(is_free(pfn));
	kmap_end();
}

COVERS("S4.10");
static void test_vfree_atomic(void **state)
{
	void *p[3];

	kmap_boot();
	for (int i = 0; i < 3; i++)
		p[i] = at_least(PAGE_SIZE);
	sim_log_take(NULL);
	vfree_atomic(p[0]);
	vfree_atomic(p[1]);
	assert_int_equal(kmap_stat().deferred, 2);
	/* gone for everybody else, and not ended yet */
	assert_null(find_vm_area(p[0]));
	assert_non_null(vmalloc_to_page(p[0]));
	assert_int_equal(kmap_stat().nr_vmalloc, 3);
	vfree_atomic(p[0]);
	assert_warned("not the start");
	vfree(p[1]);
	assert_warned("not the start");
	assert_int_equal(kmap_stat().deferred, 0);
	assert_int_equal(kmap_stat().nr_vmalloc, 1);
	vfree_atomic(p[2]);
	assert_int_equal(vmalloc_run_deferred(), 1);
	assert_int_equal(vmalloc_run_deferred(), 0);
	kmap_end();
}

static void test_vzalloc(void **state)
{
	const unsigned long n = LEAF_PAGES + 3;
	void *p;
	u64 val;

	kmap_boot();
	for (int turn = 0; turn < 2; turn++) {
		p = turn ? vzalloc_node(n << PAGE_SHIFT, 0) : vzalloc(n << PAGE_SHIFT);
		assert_non_null(p);
		for (unsigned long i = 0; i < n; i++) {
			assert_int_equal(kread(kat(p, i), &val), SIM_OK);
			assert_int_equal(val, 0);
			memset(page_address(vmalloc_to_page(kat(p, i))), 0x5a, PAGE_SIZE);
		}
		vfree(p);
		vm_unmap_aliases();
	}
	kmap_end();
}

COVERS("S4.14");
static void test_vmalloc_huge(void **state)
{
	const unsigned long size = 2 * LEAF_PAGES << PAGE_SHIFT;
	struct page *page;
	void *p;

	kmap_boot();
	p = vmalloc_huge(size, GFP_KERNEL);
	assert_non_null(p);
	assert_int_equal(kmap_stat().huge_entries, 2);
	for (unsigned long i = 0; i < 2 * LEAF_PAGES; i++) {
		/* behind a larger entry: the first of it, and as many on */
		page = vmalloc_to_page(kat(p, ALIGN_DOWN(i, LEAF_PAGES)));
		assert_ptr_equal(vmalloc_to_page(kat(p, i)), page + i % LEAF_PAGES);
		assert_int_equal(page_count(page + i % LEAF_PAGES), 1);
	}
	assert_maps(kat(p, LEAF_PAGES + 1), vmalloc_to_page(kat(p, LEAF_PAGES + 1)));
	vfree(p);
	p = __vmalloc_node_range(size, PAGE_SIZE, GFP_KERNEL, PAGE_KERNEL_EXEC, VM_NO_HUGE_VMAP,
				 NUMA_NO_NODE, NULL);
	assert_non_null(p);
	assert_int_equal(kmap_stat().huge_entries, 0);
	assert_int_equal(kfetch(p), SIM_OK);
	vfree(p);
	kmap_end();
}

static void fill(void *p, unsigned long from, unsigned long bytes)
{
	for (unsigned long i = from; i < bytes; i += 8)
		assert_int_equal(kwrite((char *)p + i, i), SIM_OK);
}

static void assert_filled(void *p, unsigned long bytes)
{
	for (unsigned long i = 0; i < bytes; i += 8) {
		u64 val = 0;

		assert_int_equal(kread((char *)p + i, &val), SIM_OK);
		assert_int_equal(val, i);
	}
}

static void test_vrealloc(void **state)
{
	struct page *page;
	void *p, *q;
	u64 val;

	kmap_boot();
	p = vrealloc(NULL, 2 * PAGE_SIZE, GFP_KERNEL);
	assert_non_null(p);
	fill(p, 0, 2 * PAGE_SIZE);
	assert_ptr_equal(vrealloc(p, 800, GFP_KERNEL), p);
	/* what comes back is cleared */
	assert_ptr_equal(vrealloc(p, PAGE_SIZE + 80, GFP_KERNEL | __GFP_ZERO), p);
	assert_filled(p, 800);
	assert_int_equal(kread((char *)p + PAGE_SIZE + 8, &val), SIM_OK);
	assert_int_equal(val, 0);
	fill(p, 800, PAGE_SIZE + 80);
	q = vrealloc(p, 5 * PAGE_SIZE, GFP_KERNEL | __GFP_ZERO);
	assert_non_null(q);
	assert_ptr_not_equal(q, p);
	assert_filled(q, PAGE_SIZE + 80);
	assert_int_equal(kread((char *)q + PAGE_SIZE + 80, &val), SIM_OK);
	assert_int_equal(val, 0);
	assert_null(find_vm_area(p));
	assert_null(vrealloc(q, totalram_pages() * PAGE_SIZE * 2, GFP_KERNEL));
	assert_filled(q, PAGE_SIZE + 80);
	assert_null(vrealloc(q, 0, GFP_KERNEL));
	assert_int_equal(vmalloc_nr_pages(), 0);
	page = alloc_page(GFP_KERNEL);
	q = vmap(&page, 1, 0, PAGE_KERNEL);
	sim_log_take(NULL);
	assert_null(vrealloc(q, 2 * PAGE_SIZE, GFP_KERNEL));
	assert_warned("not of vmalloc");
	vunmap(q);
	put_page(page);
	kmap_end();
}

/* All that can be had, full of somebody's data, is free again. */
static void dirty_memory(void)
{
	struct page *page, *last = NULL;

	while ((page = alloc_page(GFP_NOWAIT))) {
		memset(page_address(page), 0xa5, PAGE_SIZE);
		*(struct page **)page_address(page) = last;
		last = page;
	}
	while ((page = last)) {
		last = *(struct page **)page_address(page);
		put_page(page);
	}
}

/* What a user may map shows nobody else's data, grown as well. */
COVERS("S4.20");
static void test_vrealloc_user(void **state)
{
	void *p, *q;
	u64 val;

	kmap_boot();
	dirty_memory();
	p = vmalloc_user(PAGE_SIZE);
	assert_non_null(p);
	q = vrealloc(p, 6 * PAGE_SIZE, GFP_KERNEL);
	assert_non_null(q);
	assert_true(find_vm_area(q)->flags & VM_USERMAP);
	for (unsigned long i = 0; i < 6 * PAGE_SIZE; i += sizeof(val)) {
		assert_int_equal(kread((char *)q + i, &val), SIM_OK);
		assert_int_equal(val, 0);
	}
	vfree(q);
	kmap_end();
}

/* Its frames cannot be moved, whatever the caller says. */
static void test_vmalloc_not_movable(void **state)
{
	const u64 bytes = (u64)(OCTAVO_TREE_ORDER > 6 ? 128 : 1) << 20;
	const struct sim_config cfg = { .bytes = bytes, .cpus = 2, .movable_bytes = bytes / 2 };
	void *p;

	sim_reset();
	assert_int_equal(sim_boot(&cfg), 0);
	p = __vmalloc(4 * PAGE_SIZE, GFP_KERNEL | __GFP_MOVABLE);
	assert_non_null(p);
	for (unsigned long i = 0; i < 4; i++)
		assert_int_not_equal(page_zone(vmalloc_to_page(kat(p, i))), ZONE_MOVABLE);
	vfree(p);
	kmap_end();
}

COVERS("S4.7");
static void test_kvmalloc(void **state)
{
	void *small, *large, *v;

	kmap_boot();
	small = kvmalloc(100, GFP_KERNEL);
	large = kvmalloc(3 * KMALLOC_MAX_CACHE, GFP_KERNEL);
	v = vmalloc(100);
	assert_true(small && large && v);
	assert_false(is_vmalloc_addr(small) || is_vmalloc_addr(large));
	assert_true(is_vmalloc_addr(v));
	kvfree(small);
	kvfree(large);
	kvfree(v);
	kvfree(NULL);
	assert_int_equal(vmalloc_nr_pages(), 0);
	kmap_end();
}

COVERS("S4.20 S4.21");
static void test_vmalloc_user_is_mappable(void **state)
{
	void *p;

	kmap_boot();
	p = vmalloc_user(3 * PAGE_SIZE);
	assert_non_null(p);
	for (unsigned long i = 0; i < 3; i++) {
		memdesc_t md = page_memdesc(vmalloc_to_page(kat(p, i)));

		assert_true(memdesc_mappable(md) && !memdesc_frozen(md));
		assert_int_equal(memdesc_subtype(md), MISC_VMALLOC);
		assert_int_equal(*frame_word(vmalloc_to_pfn(kat(p, i))), 0);
	}
	vfree(p);
	kmap_end();
}

/* ---- permissions ---- */

static struct {
	unsigned long ro, rw;
} perms;

static void direct_map_perms(unsigned long pfn, unsigned long nr, bool writable)
{
	if (writable)
		perms.rw += nr;
	else
		perms.ro += nr;
	/* still the area's when it is told */
	assert_true(memdesc_is_misc(page_memdesc(pfn_to_page(pfn))));
}

static const struct octavo_hooks perm_hooks = { .direct_map_perms = direct_map_perms };

COVERS("S4.10 S4.16");
static void test_flush_reset_perms(void **state)
{
	void *p;

	octavo_set_hooks(&perm_hooks);
	kmap_boot();
	perms.ro = perms.rw = 0;
	p = at_least(5 * PAGE_SIZE);
	assert_maps(p, vmalloc_to_page(p));
	set_vm_flush_reset_perms(p);
	assert_int_equal(set_memory_ro((unsigned long)p, 5), 0);
	assert_int_equal(perms.ro, 5);
	assert_int_equal(kwrite(p, 1), SIM_PROTECTION);
	assert_int_equal(set_memory_x((unsigned long)p, 5), 0);
	assert_int_equal(kfetch(p), SIM_OK);
	assert_int_equal(perms.ro + perms.rw, 5);
	vfree(p);
	/* at once: no executable translation of memory that is somebody else's soon */
	assert_int_equal(kfetch(p), SIM_NOT_PRESENT);
	assert_int_equal(perms.rw, 5);
	assert_int_equal(kmap_stat().lazy_pages, 0);
	kmap_end();
	octavo_set_hooks(NULL);
}

/* ---- listing, leaks ---- */

struct listed {
	const void *last;
	unsigned long n, pages;
};

static bool list_one(const struct vmalloc_info *info, void *arg)
{
	struct listed *l = arg;

	assert_true(info->addr > l->last);
	assert_non_null(info->caller);
	l->last = info->addr;
	l->n++;
	l->pages += info->nr_pages;
	return l->n < 4;
}

/* Arguments that make no sense, and sizes that no sum must turn into small ones. */
static void test_wrong_arguments(void **state)
{
	const unsigned long flags[] = { VM_MAP_PUT_PAGES, VM_MAP_RAM, VM_SPARSE, VM_IOREMAP,
					1ul << 40 };
	const unsigned long aligns[] = { 3 * PAGE_SIZE, 1ul << 63, ~0ul };
	void *p, *small;

	kmap_boot();
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++)
		assert_null(__vmalloc_node_range(PAGE_SIZE, 1, GFP_KERNEL, PAGE_KERNEL, flags[i],
						 NUMA_NO_NODE, NULL));
	for (unsigned int i = 0; i < ARRAY_SIZE(aligns); i++)
		assert_null(__vmalloc_node_range(PAGE_SIZE, aligns[i], GFP_KERNEL, PAGE_KERNEL, 0,
						 NUMA_NO_NODE, NULL));
	assert_null(vmalloc(~0ul));
	assert_null(vmalloc(~0ul - PAGE_SIZE));
	assert_null(vmalloc(0));
	assert_null(vmalloc_node(PAGE_SIZE, 12345));
	assert_null(vmalloc_node(PAGE_SIZE, -7));
	assert_null(get_vm_area(~0ul, VM_SPARSE));
	assert_null(get_vm_area(PAGE_SIZE, VM_ALLOC));
	p = at_least(PAGE_SIZE);
	assert_null(vrealloc(p, ~0ul, GFP_KERNEL));
	assert_null(vrealloc((char *)p + 8, 10, GFP_KERNEL));
	small = kmalloc(8, GFP_KERNEL);
	assert_null(vrealloc(small, 10, GFP_KERNEL));
	kfree(small);
	assert_non_null(vmalloc_to_page(p));
	vfree((char *)p + PAGE_SIZE);
	vfree((char *)p + 1);
	vunmap((char *)p + 1);
	assert_int_equal(kmap_stat().areas, 1);
	vfree(p);
	vfree(p);
	/* where it may not sleep there is kmalloc() or nothing */
	assert_null(kvmalloc(totalram_pages() << PAGE_SHIFT, GFP_NOWAIT));
	kmap_end();
}

static void test_listing(void **state)
{
	struct listed l = { 0 };
	void *p[5];

	vmalloc_for_each(list_one, &l);
	kmap_boot();
	vmalloc_for_each(list_one, &l);
	assert_int_equal(l.n, 0);
	for (unsigned long i = 0; i < 5; i++)
		p[i] = at_least((i + 1) << PAGE_SHIFT);
	vmalloc_for_each(list_one, &l);
	assert_int_equal(l.n, 4);
	vmalloc_dump();
	for (int i = 0; i < 5; i++)
		vfree(p[i]);
	kmap_end();
}

COVERS("S4.8");
static void test_leaks_are_reported(void **state)
{
	const char *last = NULL;

	kmap_boot();
	at_least(3 * PAGE_SIZE);
	assert_true(octavo_validate());
	sim_log_take(NULL);
	assert_int_equal(sim_shutdown(), 3);
	assert_true(sim_log_take(&last) >= 1);
}

/* ---- many ---- */

struct smp {
	void *p[2][64];
	u64 turns;
};

static void churn(unsigned int cpu, void *arg)
{
	struct smp *s = arg;
	u64 seed = 99 + cpu;

	for (u64 t = 0; t < s->turns; t++) {
		unsigned int i;

		seed = seed * 6364136223846793005ul + 1442695040888963407ul;
		i = (unsigned int)(seed >> 40) % 64;
		/* others' too: addresses go back to the home that they are of */
		void *old = __atomic_exchange_n(&s->p[(seed >> 33) & 1][i], NULL, __ATOMIC_ACQ_REL);

		if (old) {
			assert_non_null(vmalloc_to_page(old));
			if (seed & 1 << 20)
				vfree_atomic(old);
			else
				vfree(old);
		} else {
			void *new = vmalloc(((seed >> 50) % 4 + 1) << PAGE_SHIFT);

			if (new &&find_vm_area(new)->addr != new)
				abort();
			old = __atomic_exchange_n(&s->p[cpu][i], new, __ATOMIC_ACQ_REL);
			vfree(old);
		}
	}
}

static void test_two_cpus(void **state)
{
	static struct smp s;

	kmap_boot();
	sim_mmu_paranoid(false);
	memset(&s, 0, sizeof(s));
	s.turns = OCTAVO_TREE_ORDER > 6 ? 20000 : 4000;
	sim_run(2, false, churn, &s);
	assert_true(octavo_validate());
	for (int c = 0; c < 2; c++)
		for (int i = 0; i < 64; i++)
			vfree(s.p[c][i]);
	kmap_end();
}

/* Addresses run out before memory: what waits for a flush and what is pooled is used, then an error. */
static void test_out_of_addresses(void **state)
{
	static void *p[1 << 16];
	unsigned long n = 0;
	struct page *pages[2];

	if (VMALLOC_SIZE >> PAGE_SHIFT > ARRAY_SIZE(p))
		skip();
	kmap_boot();
	pages[0] = pages[1] = alloc_page(GFP_KERNEL);
	for (int turn = 0; turn < 2; turn++) {
		unsigned long had = n;

		for (n = 0; (p[n] = vmap(pages, 1 + (unsigned int)turn, 0, PAGE_KERNEL)); n++)
			;
		assert_true(turn ? n < had : n > (VMALLOC_SIZE >> PAGE_SHIFT) / 3);
		assert_true(octavo_validate());
		for (unsigned long i = 0; i < n; i++)
			vunmap(p[i]);
	}
	put_page(pages[0]);
	kmap_end();
}

#if OCTAVO_FAULTS
#define ALLOCS (OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB)

static void fail_vmalloc(int mode)
{
	kmap_boot();
	vfree(at_least(PAGE_SIZE));
	for_each_fault(k, mode, ALLOCS, hit)
	{
		void *p = vmalloc((LEAF_PAGES + 3) << PAGE_SHIFT);

		hit = octavo_fault_disarm();
		assert_true(p || hit);
		assert_true(octavo_validate());
		vfree(p);
		kmap_idle();
		assert_int_equal(kmap_stat().areas, 0);
	}
	kmap_end();
}

COVERS("S4.6 S4.14");
static void test_vmalloc_fails_at_any_step(void **state)
{
	fail_vmalloc(OCTAVO_FAULT_ONCE);
	fail_vmalloc(OCTAVO_FAULT_AFTER);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vmalloc_pages),
		TEST(test_vmalloc_gives_runs_back),
		TEST(test_vfree_of_held_pages),
		TEST(test_vfree_atomic),
		TEST(test_vzalloc),
		TEST(test_vmalloc_huge),
		TEST(test_vrealloc),
		TEST(test_vrealloc_user),
		TEST(test_vmalloc_not_movable),
		TEST(test_kvmalloc),
		TEST(test_vmalloc_user_is_mappable),
		TEST(test_flush_reset_perms),
		TEST(test_wrong_arguments),
		TEST(test_listing),
		TEST(test_leaks_are_reported),
		TEST(test_two_cpus),
		TEST(test_out_of_addresses),
#if OCTAVO_FAULTS
		TEST(test_vmalloc_fails_at_any_step),
#endif
	};

	sim_log_quiet(true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
