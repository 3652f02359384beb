/* SPDX-License-Identifier: MIT */
/*
 * test_desc.c - page tables and managed memory, and what all small descriptors have in common.
 */
#include "test.h"

#define MIB 32

static int boot(void **state)
{
	boot_small(MIB, 3);
	return 0;
}

static void swallow(enum octavo_log_level level, const char *line)
{
}

/* All words of the run are that one. */
static bool words_are(unsigned long pfn, unsigned int order, unsigned long word)
{
	for (unsigned long i = 0; i < 1ul << order; i++)
		if (page_memdesc(pfn_to_page(pfn + i)).v != word)
			return false;
	return true;
}

/* Leave junk in many frames, so that who needs zeroes has to write them. */
static void dirty_memory(void)
{
	long pfn[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(pfn); i++) {
		pfn[i] = frame_alloc(GFP_KERNEL, 1, NUMA_NO_NODE);
		assert_true(pfn[i] >= 0);
		memset(pfn_to_virt((unsigned long)pfn[i]), 0x5a, 2 * PAGE_SIZE);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(pfn); i++)
		frame_free((unsigned long)pfn[i], 1);
}

static unsigned long free_place(unsigned int order)
{
	long pfn = frame_alloc(GFP_KERNEL, order, NUMA_NO_NODE);

	assert_true(pfn >= 0);
	frame_free((unsigned long)pfn, order);
	return (unsigned long)pfn;
}

/* ---- page tables ---- */

COVERS("S3.1 S3.25 S3.27");
static void test_desc_page_table_is_zeroed_and_named_by_every_word(void **state)
{
	dirty_memory();
	for (unsigned int order = 0; order <= 4; order++) {
		struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, order);
		const unsigned char *mem;

		assert_non_null(pt);
		assert_int_equal(ptdesc_order(pt), order);
		assert_true(IS_ALIGNED(ptdesc_pfn(pt), 1ul << order));
		assert_true(
			words_are(ptdesc_pfn(pt), order, memdesc_pointer(MEMDESC_PTDESC, pt).v));
		mem = ptdesc_address(pt);
		for (size_t i = 0; i < PAGE_SIZE << order; i++)
			assert_int_equal(mem[i], 0);
		assert_null(pt->mm);
		assert_int_equal(pt->index, 0);
		assert_int_equal(pt->nr_entries, 0);
		assert_int_equal(pt->flags, 0);
		assert_true(spin_trylock(&pt->ptl));
		spin_unlock(&pt->ptl);
		pagetable_free(pt);
	}
}

COVERS("S3.27");
static void test_desc_page_table_at_a_place(void **state)
{
	struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, 0);
	unsigned long pfn, before;

	/* the descriptors' slab is there now, and stays */
	assert_non_null(pt);
	pagetable_free(pt);
	pfn = free_place(1);
	before = nr_free_pages();
	pt = pagetable_alloc_at(pfn, 1, GFP_KERNEL, 0);
	assert_non_null(pt);
	assert_int_equal(ptdesc_pfn(pt), pfn);
	assert_null(pagetable_alloc_at(pfn, 1, GFP_KERNEL, 0));
	assert_null(pagetable_alloc_at(pfn + 1, 0, GFP_KERNEL, 0));
	assert_null(pagetable_alloc_at(pfn + 1, 1, GFP_KERNEL, 0));
	assert_null(pagetable_alloc_at(octavo_state.frame.max_pfn, 0, GFP_KERNEL, 0));
	assert_null(pagetable_alloc_at(~0ul, 0, GFP_KERNEL, 0));
	assert_null(pagetable_alloc(GFP_KERNEL, MAX_FOLIO_ORDER + 1));
	pagetable_free(pt);
	assert_true(words_are(pfn, 1, 0));
	assert_int_equal(nr_free_pages(), before);
}

COVERS("S3.27");
static void test_desc_page_table_stays_for_walkers(void **state)
{
	struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, 0);
	unsigned long pfn, word, *entry;

	assert_non_null(pt);
	pfn = ptdesc_pfn(pt);
	entry = ptdesc_address(pt);
	entry[7] = 0x1234;
	word = page_memdesc(pfn_to_page(pfn)).v;

	rcu_read_lock();
	pagetable_free_rcu(pt);
	for (int i = 0; i < 8; i++)
		(void)poll_state_synchronize_rcu(get_state_synchronize_rcu());
	assert_int_equal(page_memdesc(pfn_to_page(pfn)).v, word);
	assert_int_equal(entry[7], 0x1234);
	rcu_read_unlock();
	rcu_barrier();
	assert_int_equal(page_memdesc(pfn_to_page(pfn)).v, 0);
}

/* Every table of a full machine is freed while no allocation at all can succeed. */
COVERS("S3.27");
static void test_desc_freeing_page_tables_needs_no_memory(void **state)
{
	struct ptdesc *pt, *all = NULL;
	struct desc_stat st;
	unsigned int n = 0;

	while ((pt = pagetable_alloc(GFP_NOWAIT, 0))) {
		pt->mm = all;
		all = pt;
		n++;
	}
	assert_true(n > 100);
	desc_stat(&st);
	assert_int_equal(st.ptdescs, n);
#if OCTAVO_FAULTS
	octavo_fault_arm(1, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
#endif
	for (; all; all = pt) {
		pt = all->mm;
		if (n-- % 2)
			pagetable_free_rcu(all);
		else
			pagetable_free(all);
	}
	rcu_barrier();
#if OCTAVO_FAULTS
	assert_int_equal(octavo_fault_disarm(), 0);
#endif
	desc_stat(&st);
	assert_int_equal(st.ptdescs, 0);
}

/* Frames that a test has, each with the number of the next in it. */
static bool hoard_one(long *hoard, gfp_t gfp)
{
	long pfn = frame_alloc(gfp, 0, NUMA_NO_NODE);

	if (pfn < 0)
		return false;
	*(long *)pfn_to_virt((unsigned long)pfn) = *hoard;
	*hoard = pfn;
	return true;
}

/* All memory is in tables that wait for their grace period: who may sleep gets it, and nobody else. */
COVERS("S3.27");
static void test_desc_page_tables_that_wait_are_waited_for(void **state)
{
	struct ptdesc *pt, *all = NULL;
	long hoard = -1, next;

	while ((pt = pagetable_alloc(GFP_NOWAIT, 0))) {
		pt->mm = all;
		all = pt;
	}
	/* and what CPUs have for themselves */
	while (hoard_one(&hoard, GFP_KERNEL))
		;
	/* fewer calls than RCU ends a grace period after by itself */
	for (unsigned int n = 0; n < 8; n++, all = pt) {
		pt = all->mm;
		pagetable_free_rcu(all);
	}
	assert_false(hoard_one(&hoard, GFP_NOWAIT));
	assert_false(hoard_one(&hoard, GFP_KERNEL | __GFP_NORETRY));
	for (unsigned int n = 0; n < 8; n++)
		assert_true(hoard_one(&hoard, GFP_KERNEL));
	assert_false(hoard_one(&hoard, GFP_KERNEL));
	for (; all; all = pt) {
		pt = all->mm;
		pagetable_free(all);
	}
	for (; hoard >= 0; hoard = next) {
		next = *(long *)pfn_to_virt((unsigned long)hoard);
		frame_free((unsigned long)hoard, 0);
	}
}

static void free_table(void *pt)
{
	pagetable_free(pt);
}
static void free_table_rcu(void *pt)
{
	pagetable_free_rcu(pt);
}

COVERS("S3.27");
static void test_desc_page_table_freed_twice_is_fatal(void **state)
{
	void (*const again[])(void *) = { free_table, free_table_rcu };

	for (unsigned int i = 0; i < 4; i++) {
		struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, 0);

		assert_non_null(pt);
		if (i / 2)
			pagetable_free_rcu(pt);
		else
			pagetable_free(pt);
		expect_panic(again[i % 2], pt, "pagetable_free");
		boot_small(MIB, 3);
	}
}

/* One foreign word inside the run is enough. */
COVERS("S3.27");
static void test_desc_page_table_with_a_foreign_word_is_fatal(void **state)
{
	struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, 2), *other = pagetable_alloc(GFP_KERNEL, 0);

	assert_non_null(pt);
	assert_non_null(other);
	pfn_to_page(ptdesc_pfn(pt) + 3)->memdesc = memdesc_pointer(MEMDESC_PTDESC, other);
	expect_panic(free_table, pt, "pagetable_free");
}

/* ---- managed memory ---- */

COVERS("S3.1 S3.6 S3.10 S3.12 S3.25");
static void test_desc_managed_counts_from_every_page(void **state)
{
	for (unsigned int order = 0; order <= 3; order++) {
		struct mgdesc *mg = mgdesc_alloc(GFP_KERNEL | __GFP_ZERO, order);
		unsigned long pfn, nr = 1ul << order;

		assert_non_null(mg);
		pfn = mgdesc_pfn(mg);
		assert_int_equal(mgdesc_order(mg), order);
		assert_int_equal(mg->flags, 0);
		assert_true(list_empty(&mg->list));
		assert_ptr_equal(mgdesc_address(mg), pfn_to_virt(pfn));
		assert_int_equal(*(char *)mgdesc_address(mg), 0);
		for (unsigned long i = 0; i < nr; i++) {
			struct page *page = pfn_to_page(pfn + i);

			assert_ptr_equal(page_mgdesc(page), mg);
			get_page(page);
			assert_true(try_get_page(page));
			assert_int_equal(page_count(page), 3 + 2 * i);
		}
		for (unsigned long i = 0; i < 2 * nr; i++)
			put_page(pfn_to_page(pfn + i / 2));
		assert_int_equal(mgdesc_ref_count(mg), 1);
		mgdesc_get(mg);
		mgdesc_put(mg);
		mgdesc_put(mg);
		assert_true(words_are(pfn, order, 0));
	}
}

COVERS("S3.10 S3.11");
static void test_desc_managed_is_type_stable(void **state)
{
	struct mgdesc *mg = mgdesc_alloc(GFP_KERNEL, 0);

	assert_non_null(mg);
	rcu_read_lock();
	mgdesc_put(mg);
	/* free now, and still a descriptor at rest: count 0, and trying it writes nothing */
	assert_int_equal(mgdesc_ref_count(mg), 0);
	assert_false(mgdesc_try_get(mg));
	assert_int_equal(mgdesc_ref_count(mg), 0);
	kmem_cache_shrink(octavo_state.desc.mgdesc);
	assert_int_equal(mgdesc_ref_count(mg), 0);
	rcu_read_unlock();
}

static void test_desc_managed_at_a_place(void **state)
{
	unsigned long pfn = free_place(2);
	struct mgdesc *mg = mgdesc_alloc_at(pfn, 2, GFP_KERNEL | __GFP_ZERO, 0);

	assert_non_null(mg);
	assert_int_equal(mgdesc_pfn(mg), pfn);
	assert_null(mgdesc_alloc_at(pfn, 2, GFP_KERNEL, 0));
	assert_null(mgdesc_alloc_at(~0ul, 0, GFP_KERNEL, 0));
	mgdesc_put(mg);
}

static void test_desc_managed_count_saturates_and_is_reported_once(void **state)
{
	struct mgdesc *mg = mgdesc_alloc(GFP_KERNEL, 0);
	struct desc_stat st;

	assert_non_null(mg);
	sim_log_to(swallow);
	sim_log_take(NULL);
	WRITE_ONCE(mg->refcount, 0x7fffffffu);
	rcu_read_lock();
	assert_false(mgdesc_try_get(mg));
	assert_int_equal(mgdesc_ref_count(mg), 0x7fffffffu);
	/* what a put too many leaves, until its panic has stopped the other CPUs */
	WRITE_ONCE(mg->refcount, ~0u);
	assert_false(mgdesc_try_get(mg));
	WRITE_ONCE(mg->refcount, 0x7fffffffu);
	mgdesc_get(mg);
	assert_int_equal(mgdesc_ref_count(mg), MGDESC_REF_SATURATED);
	assert_false(mgdesc_try_get(mg));
	rcu_read_unlock();
	for (int i = 0; i < 3; i++) {
		mgdesc_put(mg);
		assert_int_equal(mgdesc_ref_count(mg), MGDESC_REF_SATURATED);
		get_page(pfn_to_page(mgdesc_pfn(mg)));
		assert_int_equal(mgdesc_ref_count(mg), MGDESC_REF_SATURATED);
	}
	assert_int_equal(sim_log_take(NULL), 1);
	/* leaked, not freed */
	desc_stat(&st);
	assert_int_equal(st.mgdescs, 1);
	WRITE_ONCE(mg->refcount, 1u);
	mgdesc_put(mg);
	sim_log_to(NULL);
}

static void put_managed(void *mg)
{
	mgdesc_put(mg);
}
static void get_managed(void *mg)
{
	mgdesc_get(mg);
}

COVERS("S3.27");
static void test_desc_managed_misuse_is_fatal(void **state)
{
	struct list_head list;
	struct mgdesc *mg = mgdesc_alloc(GFP_KERNEL, 0);

	assert_non_null(mg);
	mgdesc_put(mg);
	expect_panic(put_managed, mg, "no references");

	boot_small(MIB, 3);
	mg = mgdesc_alloc(GFP_KERNEL, 0);
	assert_non_null(mg);
	mgdesc_put(mg);
	expect_panic(get_managed, mg, "no references");

	boot_small(MIB, 3);
	mg = mgdesc_alloc(GFP_KERNEL, 0);
	assert_non_null(mg);
	INIT_LIST_HEAD(&list);
	list_add(&mg->list, &list);
	expect_panic(put_managed, mg, "on its owner's list");
}

/* ---- validation notices ---- */

/* There is memory: the first of each kind is had by who may not wait, whoever looks at the caches. */
static void test_desc_first_ones_wait_for_nobody(void **state)
{
	struct folio *folio[2];
	struct mgdesc *mg;
	struct ptdesc *pt;
	void *small;

	spin_lock(&octavo_state.slab.lock);
	folio[0] = folio_alloc(GFP_NOWAIT, 0, FOLIO_ANON);
	folio[1] = folio_alloc(GFP_NOWAIT, 2, FOLIO_ANON);
	mg = mgdesc_alloc(GFP_NOWAIT, 0);
	pt = pagetable_alloc(GFP_NOWAIT, 0);
	small = kmalloc(100, GFP_NOWAIT);
	spin_unlock(&octavo_state.slab.lock);
	assert_true(folio[0] && folio[1] && mg && pt && small);
	assert_true(octavo_validate());
	folio_put(folio[0]);
	folio_put(folio[1]);
	mgdesc_put(mg);
	pagetable_free(pt);
	kfree(small);
}

static void test_desc_validate_notices_a_foreign_word(void **state)
{
	struct mgdesc *mg = mgdesc_alloc(GFP_KERNEL, 1);
	struct page *page;
	memdesc_t md;

	assert_non_null(mg);
	page = pfn_to_page(mgdesc_pfn(mg));
	md = page_memdesc(page);
	assert_true(octavo_validate());
	sim_log_to(swallow);
	mg->pfn_order++;
	assert_false(octavo_validate());
	mg->pfn_order--;
	page->memdesc = memdesc_misc_frozen(MISC_DRIVER, 0);
	assert_false(octavo_validate());
	page->memdesc = md;
	sim_log_to(NULL);
	mgdesc_put(mg);
}

/* ---- fail at step k ---- */

#if OCTAVO_FAULTS
static unsigned long place;

static void *make_table(void)
{
	return pagetable_alloc(GFP_KERNEL, 0);
}
static void *make_table_3(void)
{
	return pagetable_alloc(GFP_KERNEL, 3);
}
static void *make_table_at(void)
{
	return pagetable_alloc_at(place, 1, GFP_KERNEL, 0);
}
static void *make_managed(void)
{
	return mgdesc_alloc(GFP_KERNEL, 0);
}
static void *make_managed_3(void)
{
	return mgdesc_alloc(GFP_KERNEL, 3);
}
static void *make_managed_at(void)
{
	return mgdesc_alloc_at(place, 1, GFP_KERNEL, 0);
}

static int never_migrate(struct movable *dst, struct movable *src)
{
	return -EBUSY;
}
static void *make_movable_at(void)
{
	static const struct movable_operations ops = { .migrate = never_migrate };

	return movable_alloc_at(place, 1, GFP_KERNEL, &ops, NULL, 0);
}
static void end_movable(void *mv)
{
	assert_int_equal(movable_free(mv), 0);
}

static void fail_everywhere(void *(*make)(void), void (*end)(void *))
{
	static const int modes[] = { OCTAVO_FAULT_ONCE, OCTAVO_FAULT_AFTER };
	unsigned int failed = 0;

	for (unsigned int m = 0; m < ARRAY_SIZE(modes); m++) {
		for_each_fault(k, modes[m], OCTAVO_FAULT_ALL, hit)
		{
			struct desc_stat before, after;
			void *made;

			octavo_fault_disarm();
			/* the caches empty: then a descriptor needs a slab, and that needs frames */
			kmem_cache_shrink_all();
			desc_stat(&before);
			octavo_fault_arm(k, modes[m], OCTAVO_FAULT_ALL);
			made = make();
			hit = octavo_fault_disarm();
			if (made)
				end(made);
			else
				failed++;
			desc_stat(&after);
			assert_int_equal(after.ptdescs, before.ptdescs);
			assert_int_equal(after.mgdescs, before.mgdescs);
			assert_int_equal(after.movables, before.movables);
			assert_true(octavo_validate());
			if (!hit)
				assert_non_null(made);
		}
	}
	assert_true(failed >= 2);
}
#endif

COVERS("S3.23 S3.25 SX.8");
static void test_desc_allocation_fails_at_every_step(void **state)
{
#if OCTAVO_FAULTS
	/* far from where slabs come and go */
	place = (unsigned long)MIB << (20 - PAGE_SHIFT) >> 1;
	fail_everywhere(make_table, free_table);
	fail_everywhere(make_table_3, free_table);
	fail_everywhere(make_table_at, free_table);
	fail_everywhere(make_managed, put_managed);
	fail_everywhere(make_managed_3, put_managed);
	fail_everywhere(make_managed_at, put_managed);
	fail_everywhere(make_movable_at, end_movable);
#endif
}

/* ---- threads ---- */

#define SPAN	 64 /* frames that everybody fights for */
#define ROUNDS	 4000
#define MG_ORDER 1

struct crowd {
	unsigned long base;
	u32 seed[3];
	u64 wins;
	bool wrong;
};

static u32 next_random(u32 *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Own a run, write into it, look again later: nobody else may have it meanwhile. */
static void owner_round(struct crowd *c, unsigned int cpu, unsigned long at)
{
	struct mgdesc *mg = mgdesc_alloc_at(c->base + at, MG_ORDER, GFP_NOWAIT, 0);
	unsigned long *mem;

	if (!mg)
		return;
	mem = mgdesc_address(mg);
	WRITE_ONCE(mem[0], cpu + 1ul);
	octavo_port_relax();
	if (READ_ONCE(mem[0]) != cpu + 1 || mgdesc_pfn(mg) != c->base + at)
		c->wrong = true;
	mgdesc_put(mg);
}

static void walker_round(struct crowd *c, unsigned long at)
{
	struct page *page = pfn_to_page(c->base + at);
	struct mgdesc *mg;

	if (!try_get_page(page))
		return;
	fetch_add_relaxed(&c->wins, 1ul);
	mg = page_mgdesc(page);
	if (!mg || mgdesc_pfn(mg) != ALIGN_DOWN(c->base + at, 1ul << MG_ORDER) ||
	    mgdesc_ref_count(mg) == 0)
		c->wrong = true;
	put_page(page);
}

static void crowd(unsigned int cpu, void *arg)
{
	struct crowd *c = arg;

	for (int i = 0; i < ROUNDS; i++) {
		unsigned long at = next_random(&c->seed[cpu]) % SPAN;

		if (next_random(&c->seed[cpu]) % 2)
			owner_round(c, cpu, ALIGN_DOWN(at, 1ul << MG_ORDER));
		else
			walker_round(c, at);
	}
}

COVERS("S3.10 S3.14 S3.25");
static void test_desc_managed_beside_speculative_references(void **state)
{
	struct crowd c = { .seed = { 1, 2, 3 } };

	c.base = ((unsigned long)MIB << (20 - PAGE_SHIFT)) / 4 * 3;
	sim_run(3, false, crowd, &c);
	assert_false(c.wrong);
	/* slabs may have come to lie here, but nothing that was managed is left */
	for (unsigned long i = 0; i < SPAN; i++)
		assert_null(page_mgdesc(pfn_to_page(c.base + i)));
}

#define T(name) cmocka_unit_test_setup_teardown(name, boot, down_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_desc_page_table_is_zeroed_and_named_by_every_word),
		T(test_desc_page_table_at_a_place),
		T(test_desc_page_table_stays_for_walkers),
		T(test_desc_freeing_page_tables_needs_no_memory),
		T(test_desc_page_tables_that_wait_are_waited_for),
		T(test_desc_page_table_freed_twice_is_fatal),
		T(test_desc_page_table_with_a_foreign_word_is_fatal),
		T(test_desc_managed_counts_from_every_page),
		T(test_desc_managed_is_type_stable),
		T(test_desc_managed_at_a_place),
		T(test_desc_managed_count_saturates_and_is_reported_once),
		T(test_desc_managed_misuse_is_fatal),
		T(test_desc_first_ones_wait_for_nobody),
		T(test_desc_validate_notices_a_foreign_word),
		T(test_desc_allocation_fails_at_every_step),
		T(test_desc_managed_beside_speculative_references),
	};

	return cmocka_run_group_tests_name("desc", tests, NULL, NULL);
}
