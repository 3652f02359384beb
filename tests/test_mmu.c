/* SPDX-License-Identifier: MIT */
/*
 * test_mmu.c - the simulated machine's MMU, on page tables made by hand: what hardware allows, marks and keeps.
 *
 * Everything above it trusts this: a flush that the core forgets must show. mm_fault() and mm_activate() are this
 * test's own.
 */
#include "mmu_tables.h"

/* ---- one CPU ---- */

/* The rule, said another way than the walker says it. */
static enum sim_fault expected(u64 upper, u64 leaf, enum sim_access access)
{
	const bool is_there = (upper & 1) && (leaf & 1);
	const bool user = (upper & 4) && (leaf & 4);
	const bool write = (upper & 2) && (leaf & 2);
	const bool exec = !(upper >> 63) && !(leaf >> 63);

	if (!is_there)
		return SIM_NOT_PRESENT;
	if (!user || (access == SIM_STORE && !write) || (access == SIM_FETCH && !exec))
		return SIM_PROTECTION;
	return SIM_OK;
}

static void check_permissions(unsigned int level, unsigned int upper_level, unsigned long pfn,
			      u64 upper, u64 leaf, enum sim_access access)
{
	pte_t *up = entry(&mm, ADDR, upper_level), *p = entry(&mm, ADDR, level);
	const u64 table = up->v & PTE_PFN_MASK;
	const u64 old = (u64)pfn << PAGE_SHIFT | leaf | (level ? _PAGE_LEAF : 0);
	const enum sim_fault want = expected(upper, leaf, access);
	u64 marks = _PAGE_ACCESSED | (access == SIM_STORE ? _PAGE_DIRTY : 0);

	store_entry(up, table | upper);
	store_entry(p, old);
	assert_int_equal(try(ADDR, access), want);
	/* again, with what the CPU has kept */
	assert_int_equal(try(ADDR, access), want);
	assert_int_equal(p->v, want == SIM_OK ? old | marks : old);
	assert_int_equal(up->v, table | upper | (upper & 1 ? _PAGE_ACCESSED : 0));
	assert_false(stale());
	store_entry(up, table | _PAGE_TABLE);
	flush(&mm, 0, TASK_SIZE_MAX, 0, true, 1);
	assert_int_equal(sim_mmu_nr(&mm), 0);
}

/* Every permission of a leaf under every permission of a level above, for every access. */
static void test_permissions(void **state)
{
	static const u64 bits[] = {
		_PAGE_PRESENT, _PAGE_USER, _PAGE_RW, _PAGE_NX, _PAGE_PROTNONE, /* of a leaf alone */
	};
	unsigned long pfn;

	start();
	pfn = frames(LARGE);
	for (unsigned int level = 0; level <= 1; level++) {
		store_entry(entry(&mm, ADDR, 1), 0);
		for (unsigned int up = level + 1; up <= PGTABLE_LEVEL_TOP; up++)
			for (u32 set = 0; set < 1u << 9; set++)
				for (int access = SIM_LOAD; access <= SIM_FETCH; access++) {
					u64 leaf = 0, upper = 0;

					for (u32 b = 0; b < 5; b++)
						leaf |= set >> b & 1 ? bits[b] : 0;
					for (u32 b = 0; b < 4; b++)
						upper |= set >> (b + 5) & 1 ? bits[b] : 0;
					entry(&mm, ADDR, level);
					check_permissions(level, up, pfn, upper, leaf,
							  (enum sim_access)access);
				}
	}
	frame_free(pfn, LARGE);
	stop();
}

static void test_accessed_and_dirty(void **state)
{
	unsigned long pfn;
	pte_t *p;

	start();
	pfn = frames(0);
	map(ADDR, 0, pfn, RW | _PAGE_SOFT_DIRTY);
	p = entry(&mm, ADDR, 0);
	assert_int_equal(load(ADDR), word_of(pfn));
	assert_true(pte_young(*p) && !pte_dirty(*p) && pte_soft_dirty(*p));
	/* made for a load, so that a store goes to the entry once more */
	assert_int_equal(stat().dirtied, 0);
	assert_int_equal(try(ADDR + 8, SIM_STORE), SIM_OK);
	assert_int_equal(stat().dirtied, 1);
	assert_int_equal(stat().walks, 2);
	assert_true(pte_dirty(*p));
	assert_int_equal(try(ADDR + 16, SIM_STORE), SIM_OK);
	assert_int_equal(stat().walks, 2);
	assert_int_equal(stat().hits, 1);
	/* cleaned without a flush: later stores do not show, which is why it needs one */
	store_entry(p, p->v & ~(u64)_PAGE_DIRTY);
	assert_int_equal(try(ADDR, SIM_STORE), SIM_OK);
	assert_false(pte_dirty(*p));
	assert_true(stale());
	flush_page(ADDR);
	assert_int_equal(try(ADDR, SIM_STORE), SIM_OK);
	assert_true(pte_dirty(*p));
	/* an entry that loses its age needs none */
	store_entry(p, p->v & ~(u64)_PAGE_ACCESSED);
	assert_int_equal(try(ADDR, SIM_LOAD), SIM_OK);
	assert_false(pte_young(*p));
	assert_false(stale());
	frame_free(pfn, 0);
	stop();
}

static void test_stale_until_flushed(void **state)
{
	unsigned long a, b;
	u64 v;

	start();
	a = frames(0);
	b = frames(0);
	memset(pfn_to_virt(b), 0xbb, PAGE_SIZE);
	map(ADDR, 0, a, RW);
	assert_int_equal(load(ADDR), word_of(a));
	map(ADDR, 0, b, RW);
	assert_int_equal(load(ADDR), word_of(a));
	assert_true(stale());
	flush_page(ADDR);
	assert_false(stale());
	assert_int_equal(load(ADDR), word_of(b));
	/* gone, and used all the same */
	store_entry(entry(&mm, ADDR, 0), 0);
	assert_int_equal(load(ADDR), word_of(b));
	assert_true(stale());
	flush_page(ADDR);
	assert_int_equal(sim_mmu_try(ADDR, SIM_LOAD, &v), SIM_NOT_PRESENT);
	/* an entry that was not present is never kept */
	map(ADDR, 0, a, RO);
	assert_int_equal(load(ADDR), word_of(a));
	/* allowed more: one fault, which drops what the CPU had */
	map(ADDR, 0, a, RW);
	assert_false(stale());
	assert_int_equal(try(ADDR, SIM_STORE), SIM_PROTECTION);
	assert_int_equal(stat().spurious, 1);
	assert_int_equal(try(ADDR, SIM_STORE), SIM_OK);
	/* allowed less: not before the flush */
	map(ADDR, 0, a, RO);
	assert_int_equal(try(ADDR, SIM_STORE), SIM_OK);
	assert_true(stale());
	flush_page(ADDR);
	assert_int_equal(try(ADDR, SIM_STORE), SIM_PROTECTION);
	assert_int_equal(stat().spurious, 1);
	frame_free(a, 0);
	frame_free(b, 0);
	stop();
}

/* A flush drops what it says: its address space, range, levels and CPUs. */
static void test_flush_is_exact(void **state)
{
	const unsigned long large = ADDR + level_size(1);
	unsigned long small, leaf;

	start();
	small = frames(0);
	leaf = frames(LARGE);
	for (unsigned long i = 0; i < 4; i++)
		map(ADDR + i * PAGE_SIZE, 0, small, RO);
	map(large, 1, leaf, RO);
	for (unsigned int cpu = 0; cpu < 2; cpu++) {
		sim_set_cpu(cpu);
		sim_mmu_switch(&mm);
		for (unsigned long i = 0; i < 4; i++)
			assert_int_equal(load(ADDR + i * PAGE_SIZE), word_of(small));
		assert_int_equal(load(large + 2 * PAGE_SIZE), word_of(leaf + 2));
		assert_int_equal(sim_mmu_nr(&mm), 5);
	}
	/* this is CPU 1; the flush is CPU 0's */
	flush(&mm, ADDR, ADDR + PAGE_SIZE, 0, false, 1);
	assert_int_equal(sim_mmu_nr(&mm), 5);
	flush(&other, ADDR, ADDR + PAGE_SIZE, 0, false, 2);
	flush(NULL, ADDR, ADDR + PAGE_SIZE, 0, false, 2);
	flush(&mm, ADDR, ADDR, 0, true, 2);
	assert_int_equal(sim_mmu_nr(&mm), 5);
	flush(&mm, ADDR + PAGE_SIZE, ADDR + 3 * PAGE_SIZE, 0, false, 2);
	assert_int_equal(sim_mmu_nr(&mm), 3);
	/* of leaves: small ones stay */
	flush(&mm, ADDR, large, 1, false, 2);
	assert_int_equal(sim_mmu_nr(&mm), 3);
	flush(&mm, ADDR, large + level_size(1), 1, false, 2);
	assert_int_equal(sim_mmu_nr(&mm), 2);
	assert_int_equal(load(large), word_of(leaf));
	/* the smallest stride drops large ones too, if they only touch the range */
	flush(&mm, large + 3 * PAGE_SIZE, large + 4 * PAGE_SIZE, 0, false, 2);
	assert_int_equal(sim_mmu_nr(&mm), 2);
	flush(&mm, 0, TASK_SIZE_MAX, 0, false, 2);
	assert_int_equal(sim_mmu_nr(&mm), 0);
	sim_set_cpu(0);
	assert_int_equal(sim_mmu_nr(&mm), 4);
	frame_free(small, 0);
	frame_free(leaf, LARGE);
	stop();
}

/* Entries that led to tables are remembered until a flush says that tables go. */
static void test_freed_tables(void **state)
{
	unsigned long a, b;
	u64 old, v;

	start();
	a = frames(0);
	b = frames(0);
	memset(pfn_to_virt(b), 0xbb, PAGE_SIZE);
	map(ADDR, 0, a, RO);
	map(ADDR + PAGE_SIZE, 0, a, RO);
	assert_int_equal(load(ADDR), word_of(a));
	/* another table in its place */
	old = entry(&mm, ADDR, 1)->v;
	store_entry(entry(&mm, ADDR, 1), 0);
	map(ADDR, 0, b, RO);
	map(ADDR + PAGE_SIZE, 0, b, RO);
	assert_int_not_equal(old, entry(&mm, ADDR, 1)->v);
	assert_true(stale());
	flush_page(ADDR);
	assert_int_equal(load(ADDR + PAGE_SIZE), word_of(a));
	flush(&mm, ADDR, ADDR + level_size(1), 0, false, 1);
	assert_int_equal(load(ADDR), word_of(a));
	assert_true(stale());
	flush(&mm, ADDR, ADDR + level_size(1), 0, true, 1);
	assert_int_equal(load(ADDR), word_of(b));
	assert_int_equal(load(ADDR + PAGE_SIZE), word_of(b));
	assert_false(stale());
	/* a fault forgets them too */
	store_entry(entry(&mm, ADDR, 1), old);
	assert_int_equal(sim_mmu_try(ADDR + 2 * PAGE_SIZE, SIM_LOAD, &v), SIM_NOT_PRESENT);
	assert_int_equal(load(ADDR + PAGE_SIZE), word_of(b));
	flush(&mm, ADDR, ADDR + level_size(1), 0, false, 1);
	assert_int_equal(load(ADDR + PAGE_SIZE), word_of(a));
	frame_free(a, 0);
	frame_free(b, 0);
	stop();
}

/* A leaf and what a table has instead of it: not both, not by half. */
static void test_leaf_and_table(void **state)
{
	unsigned long pfn;
	pte_t *p;

	start();
	pfn = frames(LARGE);
	map(ADDR, 1, pfn, RW);
	p = entry(&mm, ADDR, 1);
	for (unsigned long i = 0; i < 1ul << LARGE; i++)
		assert_int_equal(load(ADDR + i * PAGE_SIZE + 8), word_of(pfn + i));
	assert_int_equal(stat().walks, 1);
	assert_int_equal(try(ADDR + 3 * PAGE_SIZE, SIM_STORE), SIM_OK);
	assert_true(pte_young(*p) && pte_dirty(*p));
	/* split without a flush is seen, even to the same frames */
	store_entry(p, 0);
	for (unsigned long i = 0; i < 1ul << LARGE; i++)
		map(ADDR + i * PAGE_SIZE, 0, pfn + i, RW | _PAGE_DIRTY);
	assert_true(stale());
	flush(&mm, ADDR, ADDR + level_size(1), 1, false, 1);
	assert_false(stale());
	assert_int_equal(load(ADDR + PAGE_SIZE), word_of(pfn + 1));
	frame_free(pfn, LARGE);
	stop();
}

static void test_evicts_or_does_not(void **state)
{
	const struct sim_mmu_config small = { .entries = { 2, 1 }, .tables = 1 };
	const unsigned long n = 3 * PTRS_PER_TABLE;
	unsigned long pfn;

	start();
	pfn = frames(0);
	for (unsigned long i = 0; i < n; i++)
		map(ADDR + i * PAGE_SIZE, 0, pfn, RO);
	sim_mmu_switch(NULL);
	sim_mmu_configure(&small);
	sim_mmu_switch(&mm);
	for (unsigned long i = 0; i < n; i++)
		assert_int_equal(load(ADDR + i * PAGE_SIZE), word_of(pfn));
	assert_int_equal(sim_mmu_nr(&mm), 2);
	sim_mmu_switch(NULL);
	sim_mmu_paranoid(true);
	sim_mmu_switch(&mm);
	for (int turn = 0; turn < 50; turn++) {
		for (unsigned long i = 0; i < n; i++)
			assert_int_equal(load(ADDR + i * PAGE_SIZE), word_of(pfn));
		assert_int_equal(sim_mmu_nr(&mm), n);
		flush(&mm, ADDR, ADDR + (n / 2) * PAGE_SIZE, 0, turn & 1, 1);
		assert_int_equal(sim_mmu_nr(&mm), n - n / 2);
	}
	assert_int_equal(stat().flushes, 50);
	assert_int_equal(stat().flush_hits, 50 * (n / 2));
	assert_false(stale());
	frame_free(pfn, 0);
	stop();
}

static void test_bad_tables(void **state)
{
	start();
	map(ADDR, 0, octavo_state.frame.max_pfn + (1ul << 20), RO);
	assert_int_equal(try(ADDR, SIM_LOAD), SIM_BUS);
	assert_int_equal(try(TASK_SIZE_MAX, SIM_LOAD), SIM_NOT_PRESENT);
	assert_int_equal(try(~0ul, SIM_LOAD), SIM_NOT_PRESENT);
	sim_mmu_switch(NULL);
	assert_int_equal(try(ADDR, SIM_LOAD), SIM_NOT_PRESENT);
	stop();
}

static void load_there(void *arg)
{
	load((unsigned long)arg);
}

static void test_impossible_tables(void **state)
{
	start();
	map(ADDR, 1, 1, RO);
	expect_panic(load_there, (void *)ADDR, "reserved");
	start();
	map(ADDR, 2, 0, RO);
	expect_panic(load_there, (void *)ADDR, "a level that cannot have one");
}

/* ---- accesses that fault ---- */

static void test_accesses(void **state)
{
	unsigned char out[3 * PAGE_SIZE], in[3 * PAGE_SIZE];
	const unsigned long from = ADDR + PAGE_SIZE - 5, len = PAGE_SIZE + 11;
	unsigned long pfn[3];
	u64 v;

	start();
	fake_core();
	assert_int_equal(sim_load(ADDR, in, 1), VM_FAULT_SIGSEGV | VM_FAULT_MAPERR);
	assert_int_equal(faults, 0);
	sim_mm_use(&mm);
	for (u32 i = 0; i < 3; i++)
		fault_pfn[i] = pfn[i] = frames(0);
	for (u32 i = 0; i < len; i++)
		out[i] = (unsigned char)(i * 7 + 3);
	/* three pages, one fault each */
	assert_int_equal(sim_store(from, out, len), 0);
	assert_int_equal(faults, 3);
	assert_int_equal(fault_flags, FAULT_FLAG_USER | FAULT_FLAG_WRITE);
	memset(in, 0, sizeof(in));
	assert_int_equal(sim_load(from, in, len), 0);
	assert_memory_equal(in, out, len);
	assert_int_equal(faults, 3);
	/* what was not written to is as it was */
	assert_int_equal(sim_load(from - 1, in, 1), 0);
	assert_int_equal(in[0], 1);
	assert_int_equal(sim_load(from + len, in, 1), 0);
	assert_int_equal(in[0], 1);
	/* the fourth page is not there: what comes before it is done */
	memset(in, 0, sizeof(in));
	assert_int_equal(sim_load(ADDR + 3 * PAGE_SIZE - 2, in, 4),
			 VM_FAULT_SIGSEGV | VM_FAULT_MAPERR);
	assert_int_equal(in[1], 1);
	assert_int_equal(in[2], 0);
	/* words */
	assert_int_equal(sim_store64(ADDR, 40), 0);
	assert_int_equal(sim_add64(ADDR, 2, &v), 0);
	assert_int_equal(v, 40);
	v = 41;
	assert_int_equal(sim_cas64(ADDR, &v, 1), 0);
	assert_int_equal(v, 42);
	assert_int_equal(sim_cas64(ADDR, &v, 1), 0);
	assert_int_equal(sim_load64(ADDR, &v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(sim_load64(ADDR + 4, &v), VM_FAULT_SIGBUS);
	assert_int_equal(sim_store64(ADDR + 1, 1), VM_FAULT_SIGBUS);
	assert_int_equal(sim_cas64(ADDR + 2, &v, 1), VM_FAULT_SIGBUS);
	assert_int_equal(sim_add64(ADDR + 7, 1, &v), VM_FAULT_SIGBUS);
	/* what kind of fault it was, and what it says */
	assert_int_equal(sim_fetch(ADDR), 0);
	fault_answer = VM_FAULT_SIGBUS | VM_FAULT_MAJOR;
	assert_int_equal(sim_fetch(ADDR + 5 * PAGE_SIZE), VM_FAULT_SIGBUS);
	assert_int_equal(fault_flags, FAULT_FLAG_USER | FAULT_FLAG_INSTRUCTION);
	fault_answer = 0;
	map(ADDR + 5 * PAGE_SIZE, 0, octavo_state.frame.max_pfn + (1ul << 20), RO);
	faults = 0;
	assert_int_equal(sim_load64(ADDR + 5 * PAGE_SIZE, &v), VM_FAULT_SIGBUS);
	assert_int_equal(faults, 0);
	sim_mm_use(NULL);
	for (u32 i = 0; i < 3; i++)
		frame_free(pfn[i], 0);
	stop();
}

static void load_forever(void *arg)
{
	u64 v;

	sim_load64(ADDR, &v);
}

static void test_faults_without_progress(void **state)
{
	start();
	fake_core();
	sim_mm_use(&mm);
	fault_answer = VM_FAULT_NOPAGE;
	expect_panic(load_forever, NULL, "nothing comes of it");
	start();
	fake_core();
	sim_mm_use(&mm);
	fault_answer = VM_FAULT_RETRY;
	expect_panic(load_forever, NULL, "RETRY");
}

static void test_address_spaces(void **state)
{
	struct sim_mmu_config cfg = { .asids = true, .paranoid = true };
	unsigned long a, b;
	u64 v;

	start();
	fake_core();
	a = frames(0);
	b = frames(0);
	memset(pfn_to_virt(b), 0xbb, PAGE_SIZE);
	map(ADDR, 0, a, RO);
	store_entry(entry(&other, ADDR, 0), (u64)b << PAGE_SHIFT | RO);
	for (int asids = 0; asids < 2; asids++) {
		activated = deactivated = 0;
		sim_mm_use(&mm);
		sim_mm_use(&mm);
		assert_int_equal(mm.cpus[0], 1);
		assert_int_equal(sim_load64(ADDR, &v), 0);
		assert_int_equal(v, word_of(a));
		sim_mm_use(&other);
		assert_int_equal(sim_load64(ADDR, &v), 0);
		assert_int_equal(v, word_of(b));
		assert_int_equal(activated, 2);
		assert_int_equal(deactivated, asids ? 0 : 1);
		assert_int_equal(mm.cpus[0], asids);
		assert_int_equal(other.cpus[0], 1);
		if (asids) {
			/* still translated, so still to be flushed */
			sim_mm_use(&mm);
			store_entry(entry(&mm, ADDR, 0), (u64)b << PAGE_SHIFT | RO);
			assert_int_equal(sim_load64(ADDR, &v), 0);
			assert_int_equal(v, word_of(a));
			assert_int_equal(activated, 2);
			sim_mm_forget(&mm);
			assert_int_equal(sim_mmu_nr(&mm), 0);
			assert_int_equal(mm.cpus[0], 0);
			assert_int_equal(sim_load64(ADDR, &v), VM_FAULT_SIGSEGV | VM_FAULT_MAPERR);
			sim_mm_use(&mm);
			assert_int_equal(sim_load64(ADDR, &v), 0);
			assert_int_equal(v, word_of(b));
		}
		sim_mm_forget(&mm);
		sim_mm_forget(&other);
		assert_int_equal(mm.cpus[0] | other.cpus[0], 0);
		assert_int_equal(activated, deactivated);
		sim_mmu_configure(&cfg);
	}
	frame_free(a, 0);
	frame_free(b, 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_permissions),
		TEST(test_accessed_and_dirty),
		TEST(test_stale_until_flushed),
		TEST(test_flush_is_exact),
		TEST(test_freed_tables),
		TEST(test_leaf_and_table),
		TEST(test_evicts_or_does_not),
		TEST(test_bad_tables),
		TEST(test_impossible_tables),
		TEST(test_accesses),
		TEST(test_faults_without_progress),
		TEST(test_address_spaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
