/* SPDX-License-Identifier: MIT */
/*
 * test_tlb.c - flushes reach the CPUs that are in an address space; a gather gives nothing back before its flush.
 *
 * The simulated machine's translation buffers are what is looked at: a translation that is not flushed is used.
 */
#include "table_machine.h"

#define BASE level_size(2)

static struct mm_struct *mm;

static void start(void)
{
	table_boot();
	sim_mmu_paranoid(true);
	mm = table_mm();
	sim_mm_use(mm);
}

static void end(void)
{
	sim_mm_use(NULL);
	table_mm_end(mm);
	shutdown_clean();
}

/* Can this CPU load from there now, by whatever translation it has? */
static bool reachable(unsigned long addr)
{
	u64 v;

	return sim_mmu_try(addr, SIM_LOAD, &v) == SIM_OK;
}

static u64 flushes(void)
{
	struct sim_mmu_stat st;

	sim_mmu_stat(&st);
	return st.flushes;
}

/* One entry cleared without a flush: still reachable if it was before. */
static void clear(unsigned long addr, unsigned int level)
{
	table_unmap(mm, addr, level);
}

/* ---- flushes ---- */

static void test_tlb_flush_reaches_exactly_what_it_must(void **state)
{
	start();
	for (unsigned int i = 0; i < 6; i++) {
		table_map(mm, BASE + PAGES(i), 0, table_leaf(i, 0, RW));
		assert_true(reachable(BASE + PAGES(i)));
		clear(BASE + PAGES(i), 0);
	}
	table_map(mm, BASE + TABLES(1), 1, table_leaf(0, 1, RW));
	assert_true(reachable(BASE + TABLES(1)));
	clear(BASE + TABLES(1), 1);
	assert_true(reachable(BASE + PAGES(2)));
	flush_tlb_range(mm, BASE + PAGES(2), BASE + PAGES(4), 0);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(reachable(BASE + PAGES(i)), i < 2 || i >= 4);
	flush_tlb_range(mm, BASE, BASE + TABLES(1), 0);
	assert_false(reachable(BASE + PAGES(1)));
	assert_true(reachable(BASE + TABLES(1)));
	flush_tlb_range(mm, BASE + TABLES(1), BASE + TABLES(2), 1);
	assert_false(reachable(BASE + TABLES(1)));
	end();
}

/* Only CPUs that are in it are disturbed; when nobody is, nobody. */
static void test_tlb_flush_follows_the_cpus(void **state)
{
	struct mm_struct *other;
	u64 before;

	start();
	other = table_mm();
	before = flushes();
	flush_tlb_range(other, BASE, BASE + PAGES(1), 0);
	assert_int_equal(flushes(), before);
	flush_tlb_range(mm, BASE, BASE + PAGES(1), 0);
	assert_int_equal(flushes(), before + 1);
	mm_activate(mm, 3);
	flush_tlb_range(mm, BASE, BASE + PAGES(1), 0);
	assert_int_equal(flushes(), before + 3);
	mm_deactivate(mm, 3);
	flush_tlb_range(mm, BASE, BASE + PAGES(1), 0);
	assert_int_equal(flushes(), before + 4);
	/* the kernel's: all CPUs of the machine, and no others */
	flush_tlb_range(NULL, BASE, BASE + PAGES(1), 0);
	assert_int_equal(flushes(), before + 4 + TABLE_CPUS);
	table_mm_end(other);
	end();
}

static void test_tlb_every_cpu_has_its_bit(void **state)
{
	struct mm_struct all = { 0 };

	table_boot();
	for (unsigned int cpu = 0; cpu < OCTAVO_NR_CPUS; cpu++) {
		mm_activate(&all, cpu);
		assert_int_equal(all.cpus[cpu / BITS_PER_LONG], 1ul << cpu % BITS_PER_LONG);
		mm_deactivate(&all, cpu);
		assert_int_equal(all.cpus[cpu / BITS_PER_LONG], 0);
	}
	assert_int_equal(sim_log_take(NULL), 0);
#if OCTAVO_DEBUG
	sim_log_quiet(true);
	mm_deactivate(&all, 1);
	assert_int_equal(sim_log_take(NULL), 1);
	mm_activate(&all, 1);
	mm_activate(&all, 1);
	assert_int_equal(sim_log_take(NULL), 1);
	sim_log_quiet(false);
#endif
	shutdown_clean();
}

/*
 * What a CPU remembers of a table that was unlinked goes when it is told so, not before: by a flush that says so, and
 * by a gather that was given the table.
 */
static void test_tlb_unlinked_tables_are_forgotten(void **state)
{
	for (unsigned int gathered = 0; gathered < 2; gathered++) {
		struct pt_pos up, pos;
		struct mmu_gather tlb;
		struct ptdesc *pt;

		start();
		table_map(mm, BASE, 0, table_leaf(1, 0, RW));
		table_map(mm, BASE + PAGES(1), 0, table_leaf(2, 0, RW));
		assert_true(reachable(BASE));
		assert_true(pgtable_walk(mm, BASE, 0, &pos));
		assert_true(pte_offset_lock(mm, BASE, 1, &up));
		spin_lock(&pos.pt->ptl);
		pt = pgtable_unlink(&up);
		spin_unlock(&pos.pt->ptl);
		pte_unlock(&up);
		flush_tlb_range(mm, BASE, BASE + PAGES(1), 0);
		assert_true(reachable(BASE));
		if (gathered) {
			tlb_gather_mmu(&tlb, mm);
			tlb_note_range(&tlb, BASE, BASE + TABLES(1), 0);
			tlb_remove_table(&tlb, pt);
			tlb_flush_mmu_tlbonly(&tlb);
		} else {
			flush_tlb_tables(mm, BASE, BASE + TABLES(1));
		}
		assert_false(reachable(BASE + PAGES(1)));
		assert_false(reachable(BASE));
		if (gathered)
			tlb_finish_mmu(&tlb);
		else
			pagetable_free_rcu(pt);
		end();
	}
}

#if OCTAVO_DEBUG
static void flush_nothing(void *arg)
{
	flush_tlb_range(mm, BASE, BASE, 0);
}

static void flush_half_a_page(void *arg)
{
	flush_tlb_range(mm, BASE, BASE + 100, 0);
}

static void test_tlb_ranges_are_checked(void **state)
{
	start();
	expect_panic(flush_nothing, NULL, "start >= end");
	start();
	expect_panic(flush_half_a_page, NULL, "start | end");
}
#endif

/* ---- the gather ---- */

/* Folio, plain page and table: used until the flush, gone after it. */
static void test_tlb_gather_keeps_what_is_reachable(void **state)
{
	struct mmu_gather tlb;
	struct folio *folio;
	struct page *page;
	unsigned long tables;

	start();
	folio = folio_alloc(GFP_KERNEL, 2, FOLIO_ANON);
	folio_ref_add(folio, 2);
	page = alloc_page(GFP_KERNEL);
	get_page(page);
	for (unsigned int i = 0; i < 3; i++)
		table_map(mm, BASE + PAGES(i), 0, table_leaf(folio_pfn(folio) + i, 0, RW));
	table_map(mm, BASE + PAGES(3), 0, table_leaf(page_to_pfn(page), 0, RW));
	for (unsigned int i = 0; i < 4; i++)
		assert_true(reachable(BASE + PAGES(i)));
	tables = mm->pgtables_bytes;

	tlb_gather_mmu(&tlb, mm);
	for (unsigned int i = 0; i < 4; i++)
		clear(BASE + PAGES(i), 0);
	tlb_note_range(&tlb, BASE, BASE + PAGES(4), 0);
	assert_false(tlb_remove_folio(&tlb, folio, 1));
	assert_false(tlb_remove_folio(&tlb, folio, 1));
	assert_false(tlb_remove_page(&tlb, page));
	free_pgtables(&tlb, BASE, BASE + PAGES(4), 0, 0);
	assert_true(mm->pgtables_bytes < tables);
	assert_int_equal(folio_ref_count(folio), 3);
	assert_int_equal(page_count(page), 2);
	for (unsigned int i = 0; i < 4; i++)
		assert_true(reachable(BASE + PAGES(i)));

	tlb_flush_mmu_tlbonly(&tlb);
	for (unsigned int i = 0; i < 4; i++)
		assert_false(reachable(BASE + PAGES(i)));
	assert_int_equal(folio_ref_count(folio), 3);
	assert_int_equal(page_count(page), 2);
	tlb_finish_mmu(&tlb);
	assert_int_equal(folio_ref_count(folio), 1);
	assert_int_equal(page_count(page), 1);
	folio_put(folio);
	__free_page(page);
	end();
}

/* No range, no flush; and the range is that of what was noted, once. */
static void test_tlb_gather_flushes_what_was_noted_once(void **state)
{
	struct mmu_gather tlb;
	u64 before;

	start();
	before = flushes();
	tlb_gather_mmu(&tlb, mm);
	tlb_finish_mmu(&tlb);
	assert_int_equal(flushes(), before);
	for (unsigned int i = 0; i < 4; i++) {
		table_map(mm, BASE + PAGES(i), 0, table_leaf(i, 0, RW));
		assert_true(reachable(BASE + PAGES(i)));
		clear(BASE + PAGES(i), 0);
	}
	table_map(mm, BASE + TABLES(1), 1, table_leaf(0, 1, RW));
	assert_true(reachable(BASE + TABLES(1)));
	clear(BASE + TABLES(1), 1);
	tlb_gather_mmu(&tlb, mm);
	tlb_note_range(&tlb, BASE + PAGES(2), BASE + PAGES(3), 0);
	tlb_note_range(&tlb, BASE + PAGES(1), BASE + PAGES(2), 0);
	tlb_flush_mmu(&tlb);
	assert_int_equal(flushes(), before + 1);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(reachable(BASE + PAGES(i)), i < 1 || i >= 3);
	tlb_flush_mmu(&tlb);
	assert_int_equal(flushes(), before + 1);
	/* the stride is that of the lowest level, whichever was noted first */
	tlb_note_range(&tlb, BASE + TABLES(1), BASE + TABLES(2), 1);
	tlb_note_range(&tlb, BASE, BASE + PAGES(1), 0);
	tlb_finish_mmu(&tlb);
	assert_int_equal(flushes(), before + 2);
	assert_false(reachable(BASE));
	assert_false(reachable(BASE + TABLES(1)));
	end();
}

/* The last user is gone: nothing is flushed; but for a CPU that is still there, everything. */
static void test_tlb_gather_of_a_whole_address_space(void **state)
{
	struct mmu_gather tlb;
	struct folio *folio;
	u64 before;

	start();
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	folio_get(folio);
	table_map(mm, BASE, 0, table_leaf(folio_pfn(folio), 0, RW));
	assert_true(reachable(BASE));
	clear(BASE, 0);
	tlb_gather_mmu_fullmm(&tlb, mm);
	assert_false(tlb_remove_folio(&tlb, folio, 1));
	tlb_finish_mmu(&tlb);
	assert_int_equal(folio_ref_count(folio), 1);
	assert_false(reachable(BASE));

	sim_mm_use(NULL);
	before = flushes();
	folio_get(folio);
	tlb_gather_mmu_fullmm(&tlb, mm);
	tlb_note_range(&tlb, BASE, BASE + PAGES(1), 0);
	assert_false(tlb_remove_folio(&tlb, folio, 1));
	free_pgtables(&tlb, 0, TASK_SIZE_MAX, 0, 0);
	tlb_finish_mmu(&tlb);
	assert_int_equal(flushes(), before);
	folio_put(folio);
	end();
}

/* ---- room ---- */

/* Runs that do not merge: two folios in turn. Return: how many until it was full; all are dropped. */
static unsigned long fill(struct mmu_gather *tlb, struct folio *const f[2], unsigned long most)
{
	unsigned long n = 0;
	bool full = false;

	while (n < most && !full) {
		folio_get(f[n & 1]);
		full = tlb_remove_folio(tlb, f[n & 1], 1);
		n++;
	}
	if (full) {
		/* the last one once more is no new run */
		folio_get(f[(n - 1) & 1]);
		assert_true(tlb_remove_folio(tlb, f[(n - 1) & 1], 1));
	}
	return n;
}

#define BATCH_RUNS ((PAGE_SIZE - sizeof(struct tlb_batch)) / sizeof(struct tlb_run) - 1)

static void test_tlb_gather_takes_frames_up_to_a_limit(void **state)
{
	struct folio *f[2];
	struct mmu_gather tlb;
	unsigned long n;

	start();
	for (unsigned int i = 0; i < 2; i++)
		f[i] = folio_alloc(GFP_KERNEL, i, FOLIO_ANON);
	tlb_gather_mmu(&tlb, mm);
	for (unsigned int turn = 0; turn < 3; turn++) {
		n = fill(&tlb, f, ~0ul);
		assert_true(n > TLB_GATHER_STACK + BATCH_RUNS);
		assert_int_equal((n - TLB_GATHER_STACK) % BATCH_RUNS, 0);
		assert_int_equal(folio_ref_count(f[0]) + folio_ref_count(f[1]), 2 + n + 1);
		tlb_flush_mmu(&tlb);
		assert_int_equal(folio_ref_count(f[0]), 1);
		assert_int_equal(folio_ref_count(f[1]), 1);
	}
	tlb_finish_mmu(&tlb);
	folio_put(f[0]);
	folio_put(f[1]);
	end();
}

static void remove_when_full(void *arg)
{
	struct folio **f = arg;
	struct mmu_gather tlb;
	unsigned long n;

	tlb_gather_mmu(&tlb, mm);
	n = fill(&tlb, f, ~0ul);
	(void)!tlb_remove_folio(&tlb, f[n & 1], 1);
}

static void test_tlb_gather_overfilled_is_fatal(void **state)
{
	struct folio *f[2];

	start();
	for (unsigned int i = 0; i < 2; i++)
		f[i] = folio_alloc(GFP_KERNEL, i, FOLIO_ANON);
	expect_panic(remove_when_full, f, "no tlb_flush_mmu");
}

#if OCTAVO_FAULTS
/* Without any memory the stack's room is what there is, again and again; with some, what that allows. */
static void test_tlb_gather_works_without_memory(void **state)
{
	struct folio *f[2];
	struct mmu_gather tlb;

	start();
	for (unsigned int i = 0; i < 2; i++)
		f[i] = folio_alloc(GFP_KERNEL, i, FOLIO_ANON);
	for (u32 k = 1; k < 4; k++) {
		octavo_fault_arm(k, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_FRAME);
		tlb_gather_mmu(&tlb, mm);
		for (unsigned int turn = 0; turn < 3; turn++) {
			assert_int_equal(fill(&tlb, f, ~0ul),
					 TLB_GATHER_STACK + (k - 1) * BATCH_RUNS);
			tlb_flush_mmu(&tlb);
		}
		tlb_finish_mmu(&tlb);
		octavo_fault_disarm();
		assert_int_equal(folio_ref_count(f[0]), 1);
		assert_int_equal(folio_ref_count(f[1]), 1);
	}
	folio_put(f[0]);
	folio_put(f[1]);
	end();
}
#endif

/* Equal neighbours are one run: as many as one likes, without memory. */
static void test_tlb_gather_merges_runs_of_a_folio(void **state)
{
	struct mmu_gather tlb;
	struct folio *folio;
	struct page *page;

	start();
	folio = folio_alloc(GFP_KERNEL, 1, FOLIO_FILE);
	page = alloc_page(GFP_KERNEL);
	tlb_gather_mmu(&tlb, mm);
	for (unsigned int i = 1; i < 1000; i++) {
		folio_ref_add(folio, i);
		assert_false(tlb_remove_folio(&tlb, folio, i));
		assert_null(tlb.first);
	}
	/* plain pages too, each reference by itself in the end */
	for (unsigned int i = 0; i < TLB_GATHER_STACK + 5; i++) {
		get_page(page);
		assert_false(tlb_remove_page(&tlb, page));
	}
	assert_null(tlb.first);
	tlb_finish_mmu(&tlb);
	assert_int_equal(folio_ref_count(folio), 1);
	assert_int_equal(page_count(page), 1);
	folio_put(folio);
	__free_page(page);
	end();
}

/* ---- CPUs ---- */

/* CPU 0 gives pages away; the others look at them while they can, and never see one that was given back. */
static u32 stop;

static void give_or_look(unsigned int cpu, void *arg)
{
	sim_mm_use(mm);
	for (unsigned int turn = 0; cpu == 0 && turn < 100; turn++) {
		struct mmu_gather tlb;
		struct folio *folio;
		struct pt_pos pos;
		u64 *words;

		/* a small machine is soon full of tables that wait for a grace period */
		while (pgtable_alloc_to(mm, BASE, 0, GFP_NOWAIT, &pos) ||
		       !(folio = folio_alloc(GFP_NOWAIT, 0, FOLIO_ANON)))
			rcu_barrier();
		words = folio_address(folio);
		words[0] = 0x600d;
		table_map(mm, BASE, 0, table_leaf(folio_pfn(folio), 0, RW));
		for (unsigned int i = 0; i < 50; i++)
			octavo_port_relax();
		tlb_gather_mmu(&tlb, mm);
		clear(BASE, 0);
		tlb_note_range(&tlb, BASE, BASE + PAGES(1), 0);
		tlb_flush_mmu_tlbonly(&tlb);
		/* nobody reaches it: it may be anything now */
		words[0] = 0xbad;
		assert_false(tlb_remove_folio(&tlb, folio, 1));
		free_pgtables(&tlb, BASE, BASE + PAGES(1), 0, 0);
		tlb_finish_mmu(&tlb);
	}
	if (cpu == 0)
		WRITE_ONCE(stop, 1u);
	while (!READ_ONCE(stop)) {
		u64 v;

		if (sim_mmu_try(BASE, SIM_LOAD, &v) == SIM_OK)
			assert_int_equal(v, 0x600d);
		octavo_port_relax();
		/* leave and come back: the set of CPUs changes under the flushes */
		if (cpu == 2) {
			sim_mm_use(NULL);
			sim_mm_use(mm);
		}
	}
	sim_mm_use(NULL);
}

static void test_tlb_no_cpu_sees_what_was_given_back(void **state)
{
	start();
	sim_mm_use(NULL);
	stop = 0;
	sim_run(3, false, give_or_look, NULL);
	assert_true(sim_mmu_check(mm));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tlb_flush_reaches_exactly_what_it_must),
		TEST(test_tlb_flush_follows_the_cpus),
		TEST(test_tlb_every_cpu_has_its_bit),
		TEST(test_tlb_unlinked_tables_are_forgotten),
#if OCTAVO_DEBUG
		TEST(test_tlb_ranges_are_checked),
#endif
		TEST(test_tlb_gather_keeps_what_is_reachable),
		TEST(test_tlb_gather_flushes_what_was_noted_once),
		TEST(test_tlb_gather_of_a_whole_address_space),
		TEST(test_tlb_gather_takes_frames_up_to_a_limit),
		TEST(test_tlb_gather_overfilled_is_fatal),
#if OCTAVO_FAULTS
		TEST(test_tlb_gather_works_without_memory),
#endif
		TEST(test_tlb_gather_merges_runs_of_a_folio),
		TEST(test_tlb_no_cpu_sees_what_was_given_back),
	};

	return cmocka_run_group_tests_name("tlb", tests, NULL, NULL);
}
