// SPDX-License-Identifier: MIT
/*
 * test_cow.c - writes to what may not be written to yet: reuse, copies of pages, runs and leaves, unsharing; objects'
 * pages in private areas.
 */
#include "fault_machine.h"

/* ---- pages of order 0 ---- */

COVERS("S2.30 S2.32");
static void test_fork_and_write(void **state)
{
	struct folio *old;

	space_up();
	map_anon(0, 4);
	put64(1, 5);
	old = folio_at(1);
	fork_child();
	assert_int_equal(folio_mapcount(old), 2);
	assert_false(pte_write(entry(1)) || exclusive_in(as, 1));
	/* the parent gets a copy, the child keeps the old page, and then has it alone */
	put64(1, 6);
	assert_ptr_not_equal(folio_at(1), old);
	assert_true(pte_write(entry(1)) && pte_dirty(entry(1)) && exclusive_in(as, 1));
	assert_ptr_equal(folio_in(as_child, 1), old);
	assert_int_equal(folio_mapcount(old), 1);
	assert_int_equal(child_get64(1), 5);
	child_put64(1, 7);
	assert_ptr_equal(folio_in(as_child, 1), old);
	assert_true(exclusive_in(as_child, 1));
	assert_int_equal(get64(1), 6);
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 1);
	assert_int_equal(get_mm_counter(as_child, MM_ANONPAGES), 1);
	assert_true(octavo_validate());
	child_ends();
	space_down();
}

/* A page that nobody else has any more is not copied; one that somebody else holds on to is. */
COVERS("S2.30");
static void test_reuse(void **state)
{
	struct folio *folio;

	space_up();
	map_anon(0, 4);
	put64(0, 1);
	put64(1, 2);
	fork_child();
	child_ends();
	folio = folio_at(0);
	assert_false(pte_write(entry(0)) || exclusive_in(as, 0));
	put64(0, 3);
	assert_ptr_equal(folio_at(0), folio);
	assert_true(exclusive_in(as, 0) && pte_write(entry(0)));
	folio = folio_at(1);
	folio_get(folio);
	put64(1, 4);
	assert_ptr_not_equal(folio_at(1), folio);
	assert_int_equal(*(u64 *)folio_address(folio), 2);
	assert_int_equal(folio_mapcount(folio), 0);
	assert_int_equal(folio_ref_count(folio), 1);
	folio_put(folio);
	/* locked: perhaps it is being moved */
	fork_child();
	child_ends();
	folio = folio_at(0);
	folio_get(folio);
	assert_true(folio_trylock(folio));
	put64(0, 5);
	assert_ptr_not_equal(folio_at(0), folio);
	folio_unlock(folio);
	folio_put(folio);
	space_down();
}

/* Exclusive pages need no second fault's work: the right is given back, by the fast path. */
static void test_exclusive_is_allowed(void **state)
{
	struct folio *folio;
	struct pt_pos pos;

	space_up();
	map_anon(0, 4);
	put64(1, 5);
	folio = folio_at(1);
	pos = pos_in(as, 1);
	spin_lock(&pos.pt->ptl);
	ptep_set_wrprotect(pos.ptep);
	flush_tlb_range(as, at(1), at(2), PGTABLE_LEVEL_PTE);
	spin_unlock(&pos.pt->ptl);
	mmap_write_lock(as);
	assert_int_equal(fault_nowait(1, FAULT_FLAG_WRITE), 0);
	mmap_write_unlock(as);
	assert_true(pte_write(entry(1)));
	assert_ptr_equal(folio_at(1), folio);
	assert_int_equal(folio_ref_count(folio), 1);
	space_down();
}

COVERS("S2.30");
static void test_unshare(void **state)
{
	struct folio *folio;

	space_up();
	map_anon(0, 4);
	put64(0, 1);
	assert_int_equal(get64(1), 0);
	fork_child();
	folio = folio_at(0);
	assert_int_equal(handle(0, FAULT_FLAG_UNSHARE), 0);
	assert_ptr_not_equal(folio_at(0), folio);
	assert_true(exclusive_in(as, 0));
	assert_int_equal(get64(0), 1);
	assert_int_equal(handle(1, FAULT_FLAG_UNSHARE), 0);
	assert_false(is_zero_page(1));
	assert_true(exclusive_in(as, 1));
	assert_int_equal(handle(2, FAULT_FLAG_UNSHARE), 0);
	assert_true(exclusive_in(as, 2));
	/* again: nothing to do */
	folio = folio_at(0);
	assert_int_equal(handle(0, FAULT_FLAG_UNSHARE), 0);
	assert_ptr_equal(folio_at(0), folio);
	/* read-only areas too, and they stay so */
	assert_int_equal(vm_mprotect(as, at(0), 4 << PAGE_SHIFT, PROT_READ), 0);
	child_ends();
	fork_child();
	assert_int_equal(handle(0, FAULT_FLAG_UNSHARE), 0);
	assert_true(exclusive_in(as, 0));
	assert_false(pte_write(entry(0)));
	child_ends();
	space_down();
}

/* A debugger's write into read-only memory that is shared with a child. */
static void test_forced(void **state)
{
	struct folio *folio;

	space_up();
	map_anon(0, 2);
	put64(0, 1);
	assert_int_equal(vm_mprotect(as, at(0), 2 << PAGE_SHIFT, PROT_READ), 0);
	fork_child();
	folio = folio_at(0);
	assert_int_equal(handle(0, FAULT_FLAG_WRITE | FAULT_FLAG_REMOTE), 0);
	assert_ptr_not_equal(folio_at(0), folio);
	assert_true(exclusive_in(as, 0) && pte_dirty(entry(0)) && !pte_write(entry(0)));
	assert_int_equal(child_get64(0), 1);
	child_ends();
	space_down();
}

/* ---- large folios ---- */

#define RUN_ORDER min(4u, LEAF_ORDER - 1u)
#define RUN	  (1ul << RUN_ORDER)

/* A folio of @order at page 0, with numbers, mapped page by page, shared with a child. */
static struct folio *large_up(unsigned int order)
{
	space_up();
	as->folio_orders = 1u << order;
	map_anon(0, 2 * LEAF_PAGES);
	for (unsigned long i = 0; i < 1ul << order; i++)
		put64(i, i + 1);
	if (order == LEAF_ORDER) {
		mmap_read_lock(as);
		assert_int_equal(split_leaf(vma_lookup(as, at(0)), at(0)), 0);
		mmap_read_unlock(as);
	}
	fork_child();
	return folio_at(0);
}

COVERS("SX.6");
static void test_run_is_copied(void **state)
{
	struct folio *old = large_up(LEAF_ORDER), *copy;

	as->folio_orders = 1u << RUN_ORDER;
	assert_int_equal(get64(3), 4);
	put64(RUN + 1, 99);
	copy = folio_at(RUN + 1);
	assert_ptr_not_equal(copy, old);
	assert_int_equal(folio_order(copy), RUN_ORDER);
	assert_int_equal(folio_mapcount(copy), RUN);
	assert_int_equal(folio_ref_count(copy), RUN);
	for (unsigned long i = RUN; i < 2 * RUN; i++) {
		assert_ptr_equal(folio_at(i), copy);
		assert_true(exclusive_in(as, i) && pte_write(entry(i)));
		assert_int_equal(get64(i), i == RUN + 1 ? 99 : i + 1);
		assert_int_equal(child_get64(i), i + 1);
	}
	assert_int_equal(folio_mapcount(old), 2 * LEAF_PAGES - RUN);
	assert_int_equal(folio_ref_count(old), 2 * LEAF_PAGES - RUN);
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), LEAF_PAGES);
	/* a hole in the run, and policy that has small ones only: one page */
	assert_int_equal(vm_munmap(as, at(1), PAGE_SIZE), 0);
	put64(2, 98);
	assert_int_equal(folio_order(folio_at(2)), 0);
	assert_ptr_equal(folio_at(3), old);
	child_ends();
	space_down();
}

/* When the child is gone all of it is ours again, without a copy; a reference is in the way. */
COVERS("S2.30");
static void test_large_reuse(void **state)
{
	const unsigned int order = LEAF_ORDER - 1;
	struct folio *folio = large_up(order);

	child_ends();
	put64(0, 50);
	assert_ptr_equal(folio_at(0), folio);
	assert_true(exclusive_in(as, 0) && pte_write(entry(0)));
	assert_false(exclusive_in(as, 1));
	folio_get(folio);
	as->folio_orders = 1;
	put64(1, 51);
	assert_ptr_not_equal(folio_at(1), folio);
	folio_put(folio);
	put64(2, 52);
	assert_ptr_equal(folio_at(2), folio);
	assert_int_equal(folio_mapcount(folio), (1 << order) - 1);
	space_down();
}

/*
 * The child's area lives, and maps nothing of the folio any more: all of it is ours, found out once. Before that a page of the
 * child's is in the way, and a reference.
 */
COVERS("S2.30");
static void test_large_reuse_with_a_child(void **state)
{
	const unsigned int order = LEAF_ORDER - 1;
	const unsigned long nr = 1ul << order;
	struct folio *folio = large_up(order);

	as->folio_orders = as_child->folio_orders = 1;
	/* two pages go to copies of the child's, the rest but the last is given up */
	child_put64(0, 70);
	child_put64(1, 71);
	assert_int_equal(vm_madvise(as_child, at(2), (nr - 3) * PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(folio_mapcount(folio), nr + 1);
	put64(0, 50);
	assert_ptr_not_equal(folio_at(0), folio);
	/* as many references as we have entries, but one of them is the child's */
	assert_int_equal(folio_ref_count(folio), nr);
	put64(1, 51);
	assert_ptr_not_equal(folio_at(1), folio);
	assert_int_equal(vm_madvise(as_child, at(nr - 1), PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(folio_ref_count(folio), nr - 2);
	folio_get(folio);
	put64(2, 52);
	assert_ptr_not_equal(folio_at(2), folio);
	folio_put(folio);
	assert_false(exclusive_in(as, 3));
	/* now there is nobody else */
	put64(3, 53);
	for (unsigned long i = 3; i < nr; i++) {
		assert_ptr_equal(folio_at(i), folio);
		assert_true(exclusive_in(as, i));
		assert_int_equal(pte_write(entry(i)), i == 3);
	}
	put64(nr - 1, 53);
	assert_ptr_equal(folio_at(nr - 1), folio);
	assert_int_equal(get64(3), 53);
	assert_int_equal(child_get64(0), 70);
	assert_int_equal(child_get64(3), 0);
	assert_true(octavo_validate());
	/* and is shared again by the next fork */
	child_ends();
	fork_child();
	assert_false(exclusive_in(as, 3));
	put64(3, 55);
	assert_ptr_not_equal(folio_at(3), folio);
	assert_int_equal(child_get64(3), 53);
	child_ends();
	space_down();
}

/* Its entries are in two tables: each sees only a part of them, and copies. */
static void test_large_across_tables_is_copied(void **state)
{
	const unsigned int order = LEAF_ORDER - 1;
	const unsigned long nr = 1ul << order, to = 4 * LEAF_PAGES - nr / 2;
	struct folio *folio = large_up(order);

	as->folio_orders = 1;
	assert_int_equal(vm_mremap(as, at(0), nr * PAGE_SIZE, nr * PAGE_SIZE,
				   MREMAP_MAYMOVE | MREMAP_FIXED, at(to)),
			 at(to));
	assert_int_equal(vm_madvise(as_child, at(0), nr * PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(folio_ref_count(folio), nr);
	put64(to, 60);
	assert_ptr_not_equal(folio_at(to), folio);
	assert_int_equal(get64(to + 1), 2);
	put64(to + nr - 1, 61);
	assert_ptr_not_equal(folio_at(to + nr - 1), folio);
	child_ends();
	put64(to + 1, 62);
	assert_int_equal(get64(to + 1), 62);
	space_down();
}

static void leaf_up(u32 orders)
{
	space_up();
	as->folio_orders = 1u << LEAF_ORDER;
	map_anon(0, LEAF_PAGES);
	for (unsigned long i = 0; i < LEAF_PAGES; i++)
		put64(i, i + 1);
	as->folio_orders = orders;
	fork_child();
	assert_true(is_leaf(0));
}

COVERS("S2.3");
static void test_leaf_is_copied(void **state)
{
	struct folio *old;

	leaf_up(1u << LEAF_ORDER);
	old = folio_at(0);
	put64(3, 99);
	assert_true(is_leaf(0));
	assert_ptr_not_equal(folio_at(0), old);
	assert_true(exclusive_in(as, 0));
	assert_int_equal(folio_mapcount(old), 1);
	assert_int_equal(folio_ref_count(old), 1);
	for (unsigned long i = 0; i < LEAF_PAGES; i++) {
		assert_int_equal(get64(i), i == 3 ? 99 : i + 1);
		assert_int_equal(*mem_in(as_child, i), i + 1);
	}
	/* and the child's is its own now */
	child_put64(4, 98);
	assert_ptr_equal(folio_in(as_child, 4), old);
	child_ends();
	space_down();
}

COVERS("S2.3");
static void test_leaf_is_split(void **state)
{
	struct folio *old;

	leaf_up(1);
	old = folio_at(0);
	put64(3, 99);
	assert_false(is_leaf(0));
	assert_int_equal(folio_order(folio_at(3)), 0);
	for (unsigned long i = 0; i < LEAF_PAGES; i++) {
		assert_int_equal(get64(i), i == 3 ? 99 : i + 1);
		assert_int_equal(*mem_in(as_child, i), i + 1);
		assert_int_equal(exclusive_in(as, i), i == 3);
	}
	assert_int_equal(folio_mapcount(old), LEAF_PAGES);
	assert_int_equal(folio_entire_mapcount(old), 1);
	child_ends();
	space_down();
}

static void test_leaf_is_reused(void **state)
{
	struct folio *folio;

	leaf_up(1);
	folio = folio_at(0);
	child_ends();
	put64(3, 99);
	assert_true(is_leaf(0));
	assert_ptr_equal(folio_at(0), folio);
	assert_true(exclusive_in(as, 0) && pte_write(entry(0)));
	space_down();
}

/* ---- mirrors ---- */

static struct {
	unsigned int starts, ends;
	unsigned long start, end;
} told;

static int told_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	told.starts++;
	told.start = range->start;
	told.end = range->end;
	return 0;
}

static void told_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	told.ends++;
}

COVERS("S2.36");
static void test_mirrors_are_told(void **state)
{
	static const struct mmu_notifier_ops ops = { .invalidate_range_start = told_start,
						     .invalidate_range_end = told_end };
	static struct mmu_notifier mn;

	mn = (struct mmu_notifier){ .ops = &ops };
	space_up();
	map_anon(0, 4);
	put64(1, 1);
	fork_child();
	assert_int_equal(mmu_notifier_register(&mn, as), 0);
	memset(&told, 0, sizeof(told));
	put64(1, 2);
	assert_int_equal(told.starts, 1);
	assert_int_equal(told.ends, 1);
	assert_int_equal(told.start, at(1));
	assert_int_equal(told.end, at(2));
	/* a page where there was none, and one that is ours already: nothing to tell */
	put64(2, 1);
	put64(1, 3);
	assert_int_equal(told.starts, 1);
	mmu_notifier_unregister(&mn, as);
	child_ends();
	space_down();
}

/* ---- failures ---- */

#if OCTAVO_FAULTS
COVERS("SX.8");
static void test_no_memory(void **state)
{
	static const u32 kinds = OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB;

	for (int kind = 0; kind < 4; kind++) {
		unsigned long page = RUN + 1;
		struct folio *old;

		if (kind < 2)
			old = large_up(kind ? LEAF_ORDER : 0);
		else
			leaf_up(kind == 2 ? 1 : 1u << LEAF_ORDER);
		if (kind == 0)
			page = 0;
		if (kind == 1)
			as->folio_orders = 1u << RUN_ORDER;
		old = folio_at(page);
		for_each_fault(k, OCTAVO_FAULT_AFTER, kinds, hit)
		{
			vm_fault_t ret = mm_fault(as, at(page), FAULT_FLAG_WRITE);

			hit = octavo_fault_disarm();
			assert_true(ret == 0 || (ret == VM_FAULT_OOM && hit));
			assert_true(octavo_validate());
			assert_int_equal(*mem_in(as, page), page + 1);
			assert_int_equal(*mem_in(as_child, page), page + 1);
			if (ret)
				assert_ptr_equal(folio_at(page), old);
			if (!ret)
				break;
		}
		assert_ptr_not_equal(folio_at(page), old);
		child_ends();
		space_down();
	}
}
#endif

static void test_nowait(void **state)
{
	space_up();
	map_anon(0, 4);
	put64(0, 1);
	fork_child();
	mmap_write_lock(as);
	assert_int_equal(fault_nowait(0, FAULT_FLAG_WRITE), VM_FAULT_RETRY);
	mmap_write_unlock(as);
	assert_int_equal(fault_nowait(0, FAULT_FLAG_WRITE), 0);
	assert_true(pte_write(entry(0)));
	child_ends();
	space_down();
}

/* ---- two CPUs ---- */

#define SMP_PAGES (OCTAVO_TABLE_BITS == 9 ? 1024u : 64u)

/* Both write a word of their own to every page, of the same address space or parent and child. */
static struct mm_struct *who[2];

static void writer(unsigned int cpu, void *arg)
{
	sim_mm_use(who[cpu]);
	for (unsigned long i = 0; i < SMP_PAGES; i++)
		if (sim_store64(at(i) + 8 + 8 * cpu, i + cpu + 2))
			octavo_panic("page %lu: a store fails", i);
	sim_mm_forget(who[cpu]);
}

static void expect_words(unsigned int cpu, bool mine, bool others)
{
	for (unsigned long i = 0; i < SMP_PAGES; i++) {
		const u64 *p = mem_in(who[cpu], i);

		assert_int_equal(p[0], i + 1);
		assert_int_equal(p[1 + cpu], mine ? i + cpu + 2 : 0);
		assert_int_equal(p[2 - cpu], others ? i + 3 - cpu : 0);
	}
}

static void both_write(bool same, u32 first, u32 then)
{
	space_up();
	as->folio_orders = first;
	map_anon(0, SMP_PAGES);
	for (unsigned long i = 0; i < SMP_PAGES; i++)
		put64(i, i + 1);
	as->folio_orders = then;
	fork_child();
	sim_mm_forget(as);
	who[0] = as;
	who[1] = same ? as : as_child;
	sim_run(2, false, writer, NULL);
	assert_true(octavo_validate());
	expect_words(0, true, same);
	if (!same)
		expect_words(1, true, false);
	child_ends();
	sim_mm_use(as);
	space_down();
}

COVERS("SX.7");
static void test_two_cpus(void **state)
{
	const u32 leaf = 1u << LEAF_ORDER, run = 1u << RUN_ORDER;

	for (int same = 0; same < 2; same++) {
		both_write(same, 1, 1);
		both_write(same, run, run);
		both_write(same, leaf, 1);
		both_write(same, leaf, run);
		both_write(same, leaf, leaf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_fork_and_write),
		TEST(test_reuse),
		TEST(test_exclusive_is_allowed),
		TEST(test_unshare),
		TEST(test_forced),
		TEST(test_run_is_copied),
		TEST(test_large_reuse),
		TEST(test_large_reuse_with_a_child),
		TEST(test_large_across_tables_is_copied),
		TEST(test_leaf_is_copied),
		TEST(test_leaf_is_split),
		TEST(test_leaf_is_reused),
		TEST(test_mirrors_are_told),
		TEST(test_nowait),
		TEST(test_two_cpus),
#if OCTAVO_FAULTS
		TEST(test_no_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
