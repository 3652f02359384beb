/* SPDX-License-Identifier: MIT */
/*
 * fault.c - faults without mmap_lock against those who change areas, and against each other: mm/space, the shipped
 * code, from mm_fault() down.
 *
 * Each thread is a CPU that has activated the address space before the threads begin. What a program stored must
 * be found where the area is, and nowhere else; what lies outside of areas, mm_validate() finds.
 */
#include <octavo/mm.h>
#include <octavo/pgtable.h>
#include <octavo/rmap.h>
#include <octavo/space_state.h>
#include <octavo/state.h>
#include <octavo/tlb.h>

#include "check.h"

#define TABLE level_size(PGTABLE_LEVEL_PMD)
#define ADDR  (4 * TABLE)
#define AWAY  (ADDR + 3 * TABLE) /* no table of the last level there */

static SHARED struct {
	struct mm_struct *mm, *child;
	struct folio *folio;
	unsigned long at; /* where the faults are */
	u64 copy;
} s;

static void map(unsigned long addr, unsigned long len)
{
	CHECK(vm_mmap(s.mm, addr, len, PROT_READ | PROT_WRITE,
		      MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0) == (long)addr);
}

/* An area of two pages, the second touched, so that tables and the anon_vma are there. */
static void setup(void)
{
	s.mm = mm_alloc();
	CHECK(s.mm);
	s.at = ADDR;
	map(ADDR, 2 * PAGE_SIZE);
	CHECK(!mm_fault(s.mm, ADDR + PAGE_SIZE, FAULT_FLAG_WRITE));
	for (unsigned int cpu = 0; cpu < 3; cpu++)
		mm_activate(s.mm, cpu);
}

/* The fault is where the table is missing. */
static void setup_no_table(void)
{
	setup();
	s.at = AWAY;
	map(AWAY, PAGE_SIZE);
	/* the anon_vma of a new area is made under mmap_lock: not the subject */
	mmap_read_lock(s.mm);
	CHECK(!anon_vma_prepare(vma_lookup(s.mm, AWAY)));
	mmap_read_unlock(s.mm);
}

/* A user program's store. Return: false: the program is killed. */
static bool store(struct mm_struct *mm, unsigned long addr, u64 value)
{
	while (check_mmu_store(mm, addr, value) != CHECK_MMU_OK) {
		vm_fault_t ret = mm_fault(mm, addr, FAULT_FLAG_WRITE);

		CHECK(!(ret & ~(VM_FAULT_SIGSEGV | VM_FAULT_MAPERR)));
		if (ret)
			return false;
	}
	return true;
}

static pte_t entry_of(struct mm_struct *mm, unsigned long addr)
{
	struct pt_pos pos;

	return pgtable_walk(mm, addr, PGTABLE_LEVEL_PTE, &pos) ? pos.pte : __pte(0);
}

static u64 word_of(struct mm_struct *mm, unsigned long addr)
{
	pte_t e = entry_of(mm, addr);

	CHECK(pte_present(e));
	return *(u64 *)((char *)pfn_to_virt(pte_pfn(e)) + (addr & ~PAGE_MASK));
}

/* ---- against a writer ---- */

static void faulter(void)
{
	vm_fault_t ret = mm_fault(s.mm, s.at, FAULT_FLAG_WRITE);

	CHECK(!(ret & ~(VM_FAULT_SIGSEGV | VM_FAULT_MAPERR)));
}

static void reader(void)
{
	vm_fault_t ret = mm_fault(s.mm, s.at, 0);

	CHECK(!(ret & ~(VM_FAULT_SIGSEGV | VM_FAULT_MAPERR)));
}

static void unmapper(void)
{
	CHECK(!vm_munmap(s.mm, s.at, PAGE_SIZE));
}

static void unmapped(void)
{
	CHECK(pte_none(entry_of(s.mm, s.at)));
	CHECK(mm_validate(s.mm));
}

#define UNMAP                                                                                \
	.threads = { faulter, unmapper }, .roles = { "faulter", "unmapper" }, .frames = 128, \
	.finish = unmapped, .stale = 1

SCENARIO(fault_munmap) = { SCENARIO_NAME(fault_munmap), UNMAP, .setup = setup,
			   .about = "a missing page is mapped, and its area unmapped" };
SCENARIO(fault_munmap_table) = {
	SCENARIO_NAME(fault_munmap_table), UNMAP, .setup = setup_no_table,
	.about = "the same where the table is missing: linked in time, or taken back"
};

SCENARIO(fault_munmap_two) = { SCENARIO_NAME(fault_munmap_two),
			       .threads = { faulter, unmapper, reader },
			       .roles = { "writer", "unmapper", "reader" },
			       .frames = 128,
			       .bound = 1,
			       .stale = 1,
			       .finish = unmapped,
			       .setup = setup,
			       .about = "two faults on a page whose area is unmapped" };

/* ---- write is taken away: no entry that still has it ---- */

static void protector(void)
{
	CHECK(!vm_mprotect(s.mm, s.at, PAGE_SIZE, PROT_READ));
}

static void writes_then_dies(void)
{
	store(s.mm, s.at, 1);
}

static void read_only(void)
{
	CHECK(!pte_write(entry_of(s.mm, s.at)));
	CHECK(mm_validate(s.mm));
}

SCENARIO(fault_mprotect) = { SCENARIO_NAME(fault_mprotect),
			     .threads = { writes_then_dies, protector },
			     .roles = { "writer", "protector" },
			     .frames = 128,
			     .stale = 1,
			     .setup = setup,
			     .finish = read_only,
			     .about = "a missing page is mapped, and its area made read-only" };

/* ---- the area moves: what was stored moves with it, or the program is killed ---- */

static void mover(void)
{
	CHECK(vm_mremap(s.mm, s.at, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, AWAY) ==
	      (long)AWAY);
}

static void store_and_tell(void)
{
	s.copy = store(s.mm, s.at, 7);
}

static void moved(void)
{
	CHECK(pte_none(entry_of(s.mm, s.at)));
	if (s.copy)
		CHECK(word_of(s.mm, AWAY) == 7);
	CHECK(mm_validate(s.mm));
}

SCENARIO(fault_mremap) = { SCENARIO_NAME(fault_mremap),
			   .threads = { store_and_tell, mover },
			   .roles = { "writer", "mover" },
			   .frames = 128,
			   .bound = 2,
			   .stale = 1,
			   .setup = setup,
			   .finish = moved,
			   .about = "a missing page is mapped and written to, and its area moved" };

/* ---- against each other ---- */

static void store_own_word(void)
{
	CHECK(store(s.mm, s.at + 8 * check_thread(), check_thread() + 1));
}

static void both_words(void)
{
	CHECK(word_of(s.mm, s.at) == 1);
	CHECK(word_of(s.mm, s.at + 8) == 2);
	CHECK(get_mm_counter(s.mm, MM_ANONPAGES) == 2);
	CHECK(mm_validate(s.mm));
}

static void setup_zero(void)
{
	setup();
	CHECK(!mm_fault(s.mm, ADDR, 0));
}

#define BOTH                                                                            \
	.threads = { store_own_word, store_own_word }, .roles = { "writer", "writer" }, \
	.frames = 128, .stale = 1, .flags = SC_SYMMETRIC, .finish = both_words

SCENARIO(fault_same_page) = {
	SCENARIO_NAME(fault_same_page), BOTH, .setup = setup,
	.about = "two CPUs write to the same missing page: one page, both words"
};
SCENARIO(fault_zero_page) = { SCENARIO_NAME(fault_zero_page), BOTH, .setup = setup_zero,
			      .about = "two CPUs write to the zero page: one page, both words" };

/* ---- a page that a fork has shared ---- */

static void setup_fork(void)
{
	int err;

	setup();
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	*(u64 *)pfn_to_virt(pte_pfn(entry_of(s.mm, ADDR))) = 77;
	s.child = mm_fork(s.mm, &err);
	CHECK(s.child);
	mm_activate(s.child, 1);
	mm_activate(s.child, 2);
}

static void parent_stores(void)
{
	CHECK(store(s.mm, s.at + 8, 1));
}

static void child_stores(void)
{
	CHECK(store(s.child, s.at + 16, 2));
}

static void own_copies(void)
{
	CHECK(word_of(s.mm, s.at) == 77 && word_of(s.child, s.at) == 77);
	CHECK(word_of(s.mm, s.at + 8) == 1 && word_of(s.child, s.at + 8) == 0);
	CHECK(word_of(s.mm, s.at + 16) == 0 && word_of(s.child, s.at + 16) == 2);
	CHECK(mm_validate(s.mm) && mm_validate(s.child));
}

SCENARIO(cow_parent_child) = { SCENARIO_NAME(cow_parent_child),
			       .threads = { parent_stores, child_stores },
			       .roles = { "parent", "child" },
			       .rows = "S2.30",
			       .frames = 128,
			       .stale = 1,
			       .setup = setup_fork,
			       .finish = own_copies,
			       .about = "parent and child write to a page that they share" };

static void parent_stores_too(void)
{
	CHECK(store(s.mm, s.at + 16, 2));
}

/* Has a translation of the old page, perhaps; once it knows of the store it must not use that. */
static void parent_loads(void)
{
	u64 known, value;

	if (check_mmu_load(s.mm, s.at + 8, &value))
		return;
	known = smp_load_acquire(&s.copy);
	if (!check_mmu_load(s.mm, s.at + 8, &value))
		CHECK(value >= known);
}

static void parent_stores_and_tells(void)
{
	CHECK(store(s.mm, s.at + 8, 1));
	/* the program's own: after its store */
	smp_store_release(&s.copy, 1);
}

static void one_copy(void)
{
	CHECK(word_of(s.mm, s.at + 8) == 1 && word_of(s.mm, s.at + 16) == 2);
	CHECK(word_of(s.child, s.at + 8) == 0 && word_of(s.child, s.at + 16) == 0);
	CHECK(word_of(s.child, s.at) == 77);
	CHECK(mm_validate(s.mm) && mm_validate(s.child));
}

SCENARIO(cow_two_cpus) = { SCENARIO_NAME(cow_two_cpus),
			   .threads = { parent_stores, parent_stores_too },
			   .roles = { "parent", "parent" },
			   .rows = "S2.30",
			   .frames = 128,
			   .stale = 1,
			   .setup = setup_fork,
			   .finish = one_copy,
			   .about = "two CPUs of one program write to a page that a fork shared" };

static void child_is_as_it_was(void)
{
	CHECK(word_of(s.mm, s.at + 8) == 1 && word_of(s.child, s.at + 8) == 0);
	CHECK(mm_validate(s.mm) && mm_validate(s.child));
}

SCENARIO(cow_reader) = {
	SCENARIO_NAME(cow_reader),
	.threads = { parent_stores_and_tells, parent_loads },
	.roles = { "writer", "reader" },
	.frames = 128,
	.stale = 1,
	.setup = setup_fork,
	.finish = child_is_as_it_was,
	.about = "a CPU that knows of a store to the copy does not read the old page"
};

/* The child is gone, but its page is held: the old page is free when that is put. */
static void setup_held(void)
{
	struct folio *folio;

	setup_fork();
	folio = page_folio(pfn_to_page(pte_pfn(entry_of(s.mm, ADDR))));
	folio_get(folio);
	s.folio = folio;
	mm_deactivate(s.child, 1);
	mm_deactivate(s.child, 2);
	mmput(s.child);
	s.child = NULL;
}

/* When nobody else has the page any more the frame is used again, by its new owner alone. */
static void holder_puts(void)
{
	unsigned long old = folio_pfn(s.folio);
	struct folio *folio;

	folio_put(s.folio);
	folio = folio_alloc(GFP_NOWAIT | __GFP_MOVABLE, 0, FOLIO_ANON);
	if (!folio)
		return;
	if (folio_pfn(folio) == old)
		*(u64 *)((char *)folio_address(folio) + 8) = 99;
	folio_put(folio);
}

static void copied_or_reused(void)
{
	CHECK(word_of(s.mm, s.at) == 77 && word_of(s.mm, s.at + 8) == 1);
	CHECK(mm_validate(s.mm));
}

SCENARIO(cow_freed) = {
	SCENARIO_NAME(cow_freed),
	.threads = { parent_stores, parent_loads, holder_puts },
	.roles = { "writer", "reader", "holder" },
	.frames = 128,
	.stale = 1,
	.bound = 2,
	.setup = setup_held,
	.finish = copied_or_reused,
	.about = "a page is copied because somebody holds it, who lets go; used again"
};
