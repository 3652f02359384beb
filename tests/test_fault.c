// SPDX-License-Identifier: MIT
/*
 * test_fault.c - missing anonymous memory, with mmap_lock and without; rights; entries of swap form; stacks.
 */
#include "fault_machine.h"

#include "../mm/space/vma_lock.h"

/* ---- one page ---- */

COVERS("SX.1 SX.2");
static void test_read_gets_the_zero_page(void **state)
{
	space_up();
	map_anon(0, 4);
	assert_int_equal(get64(1), 0);
	assert_true(is_zero_page(1));
	assert_true(pte_none(entry(0)) && pte_none(entry(2)));
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 0);
	/* and a write a page of its own */
	put64(1, 5);
	assert_false(is_zero_page(1));
	assert_int_equal(get64(1), 5);
	assert_true(all_zero(mem_in(as, 1) + 1, PAGE_SIZE - 8));
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 1);
	space_down();
}

COVERS("SX.1 S0.25");
static void test_write_gets_a_folio(void **state)
{
	struct folio *folio;

	space_up();
	map_anon(0, 4);
	put64(2, 7);
	folio = folio_at(2);
	assert_non_null(folio);
	assert_true(folio_test_anon(folio));
	assert_int_equal(folio_order(folio), 0);
	assert_int_equal(folio_ref_count(folio), 1);
	assert_int_equal(folio_mapcount(folio), 1);
	assert_true(exclusive_in(as, 2));
	assert_true(pte_write(entry(2)) && pte_dirty(entry(2)) && pte_young(entry(2)));
	assert_true(folio_test_flag(folio, PG_swapbacked));
	assert_true(folio_lock_anon_vma_read(folio) == area(2)->anon_vma);
	anon_vma_unlock_read(area(2)->anon_vma);
	assert_int_equal(*mem_in(as, 2), 7);
	space_down();
}

static void test_read_only_areas(void **state)
{
	space_up();
	map_flags(0, 2, PROT_READ, 0);
	assert_int_equal(get64(0), 0);
	assert_int_equal(sim_store64(at(0), 1), VM_FAULT_SIGSEGV);
	/* a debugger's write: a page of its own, and the program still may not */
	assert_int_equal(handle(0, FAULT_FLAG_WRITE | FAULT_FLAG_REMOTE), 0);
	assert_false(is_zero_page(0));
	assert_true(!pte_write(entry(0)) && pte_dirty(entry(0)) && exclusive_in(as, 0));
	assert_int_equal(handle(1, FAULT_FLAG_WRITE | FAULT_FLAG_REMOTE), 0);
	assert_true(!pte_write(entry(1)) && pte_dirty(entry(1)) && exclusive_in(as, 1));
	assert_int_equal(sim_store64(at(0), 1), VM_FAULT_SIGSEGV);
	assert_int_equal(sim_fetch(at(0)), VM_FAULT_SIGSEGV);
	space_down();
}

static void test_rights(void **state)
{
	static const unsigned long nowhere[] = { 0,
						 1,
						 BASE - 1,
						 ~0ul,
						 ~0ul - PAGE_SIZE,
						 TASK_SIZE_MAX,
						 TASK_SIZE_MAX + PAGE_SIZE,
						 1ul << 63 };

	space_up();
	map_flags(0, 1, PROT_NONE, 0);
	map_flags(1, 1, PROT_EXEC, 0);
	map_flags(2, 1, PROT_WRITE, 0);
	for (u32 flags = 0; flags < 4; flags++) {
		assert_int_equal(mm_fault(as, at(0), flags), VM_FAULT_SIGSEGV);
		for (unsigned int i = 0; i < ARRAY_SIZE(nowhere); i++)
			assert_int_equal(mm_fault(as, nowhere[i], flags),
					 VM_FAULT_SIGSEGV | VM_FAULT_MAPERR);
	}
	assert_int_equal(mm_fault(as, at(1), FAULT_FLAG_INSTRUCTION), 0);
	assert_int_equal(mm_fault(as, at(1), 0), 0);
	assert_int_equal(mm_fault(as, at(1), FAULT_FLAG_WRITE), VM_FAULT_SIGSEGV);
	assert_int_equal(mm_fault(as, at(2) + 17, FAULT_FLAG_WRITE), 0);
	assert_int_equal(mm_fault(as, at(2), FAULT_FLAG_INSTRUCTION), VM_FAULT_SIGSEGV);
	assert_true(pte_none(entry(0)));
	space_down();
}

/* ---- without mmap_lock ---- */

/* While a writer is at another area, faults go on; while it is at this one, they do not. */
static void test_fast_path_beside_a_writer(void **state)
{
	struct vm_area_struct *vma;

	space_up();
	map_anon(0, 8);
	map_anon(LEAF_PAGES * 2, 8);
	put64(0, 1);
	vma = area(0);
	mmap_write_lock(as);
	assert_int_equal(fault_nowait(1, FAULT_FLAG_WRITE), 0);
	assert_true(pte_write(entry(1)));
	assert_int_equal(fault_nowait(2, 0), 0);
	assert_true(is_zero_page(2));
	/* what makes an anon_vma waits */
	assert_int_equal(fault_nowait(LEAF_PAGES * 2, FAULT_FLAG_WRITE), VM_FAULT_RETRY);
	/* errors are decided under the lock only */
	assert_int_equal(fault_nowait(100, 0), VM_FAULT_RETRY);
	vma_start_write(vma);
	assert_int_equal(fault_nowait(3, FAULT_FLAG_WRITE), VM_FAULT_RETRY);
	assert_int_equal(fault_nowait(3, 0), VM_FAULT_RETRY);
	assert_int_equal(fault_nowait(1, FAULT_FLAG_WRITE), VM_FAULT_RETRY);
	assert_true(pte_none(entry(3)));
	mmap_write_unlock(as);
	/* the mark ended with the lock */
	mmap_write_lock(as);
	assert_int_equal(fault_nowait(3, FAULT_FLAG_WRITE), 0);
	mmap_write_unlock(as);
	space_down();
}

/* Linking a table of the last level needs no mmap_lock either; one above does. */
static void test_fast_path_links_a_table(void **state)
{
	const unsigned long far = LEAF_PAGES * 2;
	unsigned long bytes;

	space_up();
	map_anon(0, far + 1);
	put64(0, 1);
	assert_int_equal(pos_in(as, far).level, PGTABLE_LEVEL_PMD);
	bytes = as->pgtables_bytes;
	mmap_write_lock(as);
	assert_int_equal(fault_nowait(far, FAULT_FLAG_WRITE), 0);
	mmap_write_unlock(as);
	assert_true(pte_write(entry(far)));
	assert_int_equal(as->pgtables_bytes, bytes + PAGE_SIZE);
	assert_true(pgtable_validate(as));
	space_down();
}

/* A snapshot is valid until its area, and only its area, is written to. */
static void test_snapshot(void **state)
{
	struct vm_area_struct *vma, *other;
	struct vma_snapshot s, t;

	space_up();
	map_anon(0, 4);
	map_flags(8, 4, PROT_READ, 0);
	vma = area(0);
	other = area(8);
	assert_ptr_not_equal(vma, other);
	rcu_read_lock();
	assert_false(vma_snapshot_take(as, at(100), &s));
	assert_true(vma_snapshot_take(as, at(3), &s));
	rcu_read_unlock();
	assert_ptr_equal(s.vma, vma);
	assert_int_equal(s.area.vm_start, at(0));
	assert_int_equal(s.area.vm_end, at(4));
	mmap_write_lock(as);
	vma_start_write(other);
	rcu_read_lock();
	assert_true(vma_snapshot_valid(as, at(3), &s));
	vma_start_write(vma);
	assert_false(vma_snapshot_valid(as, at(3), &s));
	assert_false(vma_snapshot_take(as, at(3), &t));
	rcu_read_unlock();
	mmap_write_unlock(as);
	rcu_read_lock();
	assert_false(vma_snapshot_valid(as, at(3), &s));
	assert_true(vma_snapshot_take(as, at(3), &s));
	assert_true(vma_snapshot_valid(as, at(3), &s));
	rcu_read_unlock();
	/* the area goes, and another is there */
	map_flags(0, 4, PROT_READ | PROT_WRITE, 0);
	rcu_read_lock();
	assert_false(vma_snapshot_valid(as, at(3), &s));
	rcu_read_unlock();
	space_down();
}

/* ---- orders ---- */

/* A write of page @page gets a folio of @order, whose pages are those of the aligned run. */
static void expect_order(unsigned long page, unsigned int order)
{
	unsigned long first = page & ~((1ul << order) - 1);
	struct folio *folio;

	put64(page, page + 1);
	folio = folio_at(page);
	assert_int_equal(folio_order(folio), order);
	assert_int_equal(folio_pfn(folio), pfn_in(as, first));
	assert_int_equal(is_leaf(page), order == LEAF_ORDER);
	assert_int_equal(folio_mapcount(folio), order == LEAF_ORDER ? 1 : 1 << order);
	assert_int_equal(folio_ref_count(folio), folio_mapcount(folio));
	for (unsigned long i = 0; i < 1ul << order; i++) {
		assert_ptr_equal(folio_at(first + i), folio);
		assert_int_equal(pfn_in(as, first + i), folio_pfn(folio) + i);
		assert_true(all_zero(mem_in(as, first + i) + 1, PAGE_SIZE - 8));
		assert_int_equal(*mem_in(as, first + i), first + i == page ? page + 1 : 0);
		if (order != LEAF_ORDER)
			assert_true(exclusive_in(as, first + i));
	}
}

COVERS("SX.9");
static void test_every_order(void **state)
{
	for (unsigned int order = 0; order <= LEAF_ORDER; order++) {
		space_up();
		as->folio_orders = 1u << order;
		map_anon(0, LEAF_PAGES * 2);
		expect_order(LEAF_PAGES - 1, order);
		/* again, by the fast path */
		mmap_write_lock(as);
		assert_int_equal(fault_nowait(LEAF_PAGES + 1, FAULT_FLAG_WRITE), 0);
		mmap_write_unlock(as);
		assert_int_equal(folio_order(folio_at(LEAF_PAGES + 1)), order);
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 2ul << order);
		space_down();
	}
}

static void test_orders_that_fit(void **state)
{
	const unsigned int big = LEAF_ORDER - 1;

	space_up();
	as->folio_orders = 1u << LEAF_ORDER | 1u << big | 1u << 1;
	/* the area ends in the middle of everything */
	map_anon(1, LEAF_PAGES + 2);
	expect_order(1, 0);
	expect_order(2, 1);
	expect_order(3 * LEAF_PAGES / 4, big);
	expect_order(LEAF_PAGES + 2, 0);
	expect_order(LEAF_PAGES, 1);
	/* all of a leaf fits */
	map_anon(4 * LEAF_PAGES, 2 * LEAF_PAGES);
	expect_order(4 * LEAF_PAGES + 3, LEAF_ORDER);
	/* something is in the way of the larger ones */
	assert_int_equal(get64(5 * LEAF_PAGES), 0);
	expect_order(5 * LEAF_PAGES + 1, 0);
	expect_order(5 * LEAF_PAGES + 2, 1);
	expect_order(6 * LEAF_PAGES - 1, big);
	space_down();
}

static void test_orders_by_advice(void **state)
{
	space_up();
	map_anon(0, 3 * LEAF_PAGES);
	map_anon(4 * LEAF_PAGES, LEAF_PAGES);
	assert_int_equal(vm_madvise(as, at(0), LEAF_SIZE, MADV_HUGEPAGE), 0);
	expect_order(1, LEAF_ORDER);
	expect_order(LEAF_PAGES + 1, 0);
	as->folio_orders = 1u << LEAF_ORDER;
	assert_int_equal(vm_madvise(as, at(4 * LEAF_PAGES), LEAF_SIZE, MADV_NOHUGEPAGE), 0);
	expect_order(4 * LEAF_PAGES + 1, 0);
	expect_order(2 * LEAF_PAGES + 1, LEAF_ORDER);
	space_down();
}

#if OCTAVO_FAULTS
/* Where large memory cannot be had, small is. */
static void test_orders_fall_back(void **state)
{
	space_up();
	as->folio_orders = (2u << LEAF_ORDER) - 1;
	map_anon(0, 2 * LEAF_PAGES);
	put64(0, 1);
	for_each_fault(k, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_FRAME, hit)
	{
		vm_fault_t ret = mm_fault(as, at(LEAF_PAGES), FAULT_FLAG_WRITE);

		hit = octavo_fault_disarm();
		assert_true(ret == 0 || ret == VM_FAULT_OOM);
		if (ret == 0 && hit)
			assert_true(folio_order(folio_at(LEAF_PAGES)) < LEAF_ORDER);
		assert_true(octavo_validate());
		assert_int_equal(vm_munmap(as, at(LEAF_PAGES), LEAF_SIZE), 0);
		map_anon(LEAF_PAGES, LEAF_PAGES);
	}
	space_down();
}
#endif

/* ---- entries of swap form, hints ---- */

COVERS("S2.34");
static void test_swap_forms(void **state)
{
	static const struct {
		enum swp_type type;
		u64 payload;
		vm_fault_t ret;
	} forms[] = {
		{ SWP_PTE_MARKER, PTE_MARKER_GUARD, VM_FAULT_SIGSEGV },
		{ SWP_PTE_MARKER, PTE_MARKER_POISONED, VM_FAULT_HWPOISON },
		{ SWP_PTE_MARKER, PTE_MARKER_POISONED | PTE_MARKER_GUARD, VM_FAULT_HWPOISON },
		{ SWP_HWPOISON, 1, VM_FAULT_HWPOISON },
	};

	space_up();
	map_anon(0, 8);
	put64(7, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(forms); i++) {
		pte_t e = swp_entry_to_pte(swp_entry(forms[i].type, forms[i].payload));

		force_entry(i, e);
		assert_int_equal(sim_store64(at(i), 1), forms[i].ret);
		assert_int_equal(mm_fault(as, at(i), 0), forms[i].ret);
		assert_true(pte_same(entry(i), e));
		force_entry(i, __pte(0));
	}
	space_down();
}

static void test_protnone_hint_is_restored(void **state)
{
	struct pt_pos pos;

	space_up();
	map_anon(0, 4);
	put64(1, 3);
	pos = pos_in(as, 1);
	spin_lock(&pos.pt->ptl);
	pos.pte = ptep_get_and_clear(pos.ptep);
	set_pte(pos.ptep, pte_modify(pos.pte, PAGE_NONE));
	flush_tlb_range(as, at(1), at(2), PGTABLE_LEVEL_PTE);
	spin_unlock(&pos.pt->ptl);
	assert_true(pte_protnone(entry(1)));
	assert_int_equal(get64(1), 3);
	assert_false(pte_protnone(entry(1)) || pte_write(entry(1)));
	put64(1, 4);
	assert_true(pte_write(entry(1)));
	space_down();
}

/* ---- stacks ---- */

static void test_stack_grows(void **state)
{
	const unsigned long top = 8 * LEAF_PAGES;

	space_up();
	map_flags(top - 2, 2, PROT_READ | PROT_WRITE, MAP_GROWSDOWN);
	put64(top - 1, 1);
	put64(top - 3, 2);
	assert_true(area(top - 3) == area(top - 1));
	assert_int_equal(fault_nowait(top - 4, FAULT_FLAG_WRITE), VM_FAULT_RETRY);
	put64(top - 6, 3);
	assert_int_equal(get64(top - 3), 2);
	as->limits.stack = 8 << PAGE_SHIFT;
	assert_int_equal(sim_store64(at(top - 64), 1), VM_FAULT_SIGSEGV | VM_FAULT_MAPERR);
	space_down();
}

/* ---- failures ---- */

#if OCTAVO_FAULTS
COVERS("SX.8");
static void test_no_memory_changes_nothing(void **state)
{
	static const u32 modes[] = { OCTAVO_FAULT_ONCE, OCTAVO_FAULT_AFTER };
	static const u32 how[] = { 0, FAULT_FLAG_WRITE };

	for (unsigned int m = 0; m < 4; m++) {
		space_up();
		for_each_fault(k, modes[m & 1], OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
		{
			vm_fault_t ret;
			unsigned long rss;

			octavo_fault_disarm();
			/* first in the area, first in the tables */
			map_anon(0, 4);
			rss = get_mm_rss(as);
			octavo_fault_arm(k, modes[m & 1], OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
			ret = mm_fault(as, at(1), how[m >> 1]);
			hit = octavo_fault_disarm();
			assert_true(ret == 0 || (ret == VM_FAULT_OOM && hit));
			if (ret) {
				assert_true(pte_none(entry(1)));
				assert_int_equal(get_mm_rss(as), rss);
			} else {
				assert_true(pte_present(entry(1)));
			}
			assert_true(octavo_validate());
			assert_int_equal(vm_munmap(as, at(0), 4 << PAGE_SHIFT), 0);
		}
		space_down();
	}
}
#endif

#if OCTAVO_FAULTS
/* Locks that cannot be had and exchanges that fail for no reason are detours, not errors. */
static void test_detours(void **state)
{
	space_up();
	map_anon(0, 2 * LEAF_PAGES);
	put64(0, 1);
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_TRYLOCK | OCTAVO_FAULT_CAS, hit)
	{
		assert_int_equal(mm_fault(as, at(LEAF_PAGES + 1), FAULT_FLAG_WRITE), 0);
		hit = octavo_fault_disarm();
		assert_true(pte_write(entry(LEAF_PAGES + 1)));
		assert_int_equal(vm_munmap(as, at(LEAF_PAGES), LEAF_SIZE), 0);
		map_anon(LEAF_PAGES, LEAF_PAGES);
	}
	space_down();
}
#endif

/* ---- two CPUs ---- */

#define SMP_PAGES (OCTAVO_TABLE_BITS == 9 ? 2048u : 128u)
#define SMP_TURNS (OCTAVO_TABLE_BITS == 9 ? 20u : 200u)

/* Every word that a CPU writes is its own, so whatever is lost shows. */
static void touch_all(unsigned int cpu, void *arg)
{
	const unsigned long *step = arg;

	sim_mm_use(as);
	for (unsigned long page = cpu % *step; page < SMP_PAGES; page += *step) {
		u64 val;

		if (page % 3 == 0 && (sim_load64(at(page) + 8 * cpu, &val) || val))
			octavo_panic("page %lu: not zero", page);
		if (sim_store64(at(page) + 8 * cpu, page + cpu + 1))
			octavo_panic("page %lu: a store fails", page);
	}
	for (unsigned long page = cpu % *step; page < SMP_PAGES; page += *step) {
		u64 val = 0;

		if (sim_load64(at(page) + 8 * cpu, &val) || val != page + cpu + 1)
			octavo_panic("page %lu has %lu", page, (unsigned long)val);
	}
	sim_mm_forget(as);
}

static void both_touch(unsigned long step, u32 orders)
{
	space_up();
	sim_mm_forget(as);
	as->folio_orders = orders;
	map_anon(0, SMP_PAGES);
	sim_run(2, false, touch_all, &step);
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), SMP_PAGES);
	assert_true(octavo_validate());
	sim_mm_use(as);
	space_down();
}

static void test_two_cpus_same_pages(void **state)
{
	both_touch(1, 1);
	both_touch(1, 1 | 1u << 2 | 1u << LEAF_ORDER);
}

static void test_two_cpus_neighbours(void **state)
{
	both_touch(2, 1);
	both_touch(2, 1 | 1u << 1);
}

/* One faults, the other maps and unmaps: what a store went to is there, or the store fails. */
static void unmapper(unsigned int cpu, void *arg)
{
	u64 s = 88172645463325252ull;

	sim_mm_use(as);
	for (unsigned int i = 0; i < SMP_TURNS * 50; i++) {
		unsigned long page, nr;

		s ^= s << 13;
		s ^= s >> 7;
		s ^= s << 17;
		page = s % SMP_PAGES;
		nr = 1 + (s >> 32) % (2 * LEAF_PAGES);
		nr = min(nr, SMP_PAGES - page);
		if (vm_munmap(as, at(page), nr << PAGE_SHIFT))
			octavo_panic("munmap fails");
		if (vm_mmap(as, at(page), nr << PAGE_SHIFT, PROT_READ | PROT_WRITE,
			    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0) != (long)at(page))
			octavo_panic("mmap fails");
	}
	sim_mm_forget(as);
}

static void faulter(unsigned int cpu, void *arg)
{
	sim_mm_use(as);
	for (unsigned int i = 0; i < SMP_TURNS; i++)
		for (unsigned long page = 0; page < SMP_PAGES; page++) {
			vm_fault_t ret = sim_store64(at(page), page);

			if (ret && ret != (VM_FAULT_SIGSEGV | VM_FAULT_MAPERR))
				octavo_panic("page %lu: 0x%x", page, ret);
		}
	sim_mm_forget(as);
}

static void fault_or_unmap(unsigned int cpu, void *arg)
{
	if (cpu)
		unmapper(cpu, arg);
	else
		faulter(cpu, arg);
}

static void test_faults_against_munmap(void **state)
{
	for (int large = 0; large < 2; large++) {
		space_up();
		sim_mm_forget(as);
		if (large)
			as->folio_orders = 1 | 1u << 2 | 1u << LEAF_ORDER;
		map_anon(0, SMP_PAGES);
		sim_run(2, false, fault_or_unmap, NULL);
		assert_true(octavo_validate());
		sim_mm_use(as);
		space_down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_read_gets_the_zero_page),
		TEST(test_write_gets_a_folio),
		TEST(test_read_only_areas),
		TEST(test_rights),
		TEST(test_fast_path_beside_a_writer),
		TEST(test_fast_path_links_a_table),
		TEST(test_snapshot),
		TEST(test_every_order),
		TEST(test_orders_that_fit),
		TEST(test_orders_by_advice),
		TEST(test_swap_forms),
		TEST(test_protnone_hint_is_restored),
		TEST(test_stack_grows),
		TEST(test_two_cpus_same_pages),
		TEST(test_two_cpus_neighbours),
		TEST(test_faults_against_munmap),
#if OCTAVO_FAULTS
		TEST(test_orders_fall_back),
		TEST(test_no_memory_changes_nothing),
		TEST(test_detours),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
