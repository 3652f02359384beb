/* SPDX-License-Identifier: MIT */
/*
 * fault.c - faults without mmap_lock against those who change areas, and against each other: mm/space, the shipped
 * code, from mm_fault() down.
 *
 * What a program stored must be found where the area is, and nowhere else; what lies outside of areas, mm_validate()
 * finds.
 */
#include "user_space.h"

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
	.finish = unmapped

SCENARIO(fault_munmap) = { SCENARIO_NAME(fault_munmap), UNMAP, .setup = setup,
			   .about = "a missing page is mapped, and its area unmapped" };
SCENARIO(fault_munmap_table) = {
	SCENARIO_NAME(fault_munmap_table), UNMAP, .setup = setup_no_table,
	.about = "the same where the table is missing: linked in time, or taken back"
};

/* The area is made read-only, and goes: in either order. */
static void protector_or_late(void)
{
	long err = vm_mprotect(s.mm, s.at, PAGE_SIZE, PROT_READ);

	CHECK(!err || err == -ENOMEM);
}

SCENARIO(fault_munmap_mprotect) = {
	SCENARIO_NAME(fault_munmap_mprotect),
	.threads = { faulter, unmapper, protector_or_late },
	.roles = { "faulter", "unmapper", "protector" },
	.frames = 128,
	.stale = 1,
	.finish = unmapped,
	.setup = setup,
	.about = "a missing page is mapped while its area is made read-only, and unmapped"
};

SCENARIO(fault_munmap_two) = { SCENARIO_NAME(fault_munmap_two),
			       .threads = { faulter, unmapper, reader },
			       .roles = { "writer", "unmapper", "reader" },
			       .stale = 1,
			       .frames = 128,
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
	.frames = 128, .flags = SC_SYMMETRIC, .finish = both_words

SCENARIO(fault_same_page) = {
	SCENARIO_NAME(fault_same_page), BOTH, .setup = setup,
	.about = "two CPUs write to the same missing page: one page, both words"
};
SCENARIO(fault_zero_page) = { SCENARIO_NAME(fault_zero_page), BOTH, .setup = setup_zero,
			      .about = "two CPUs write to the zero page: one page, both words" };
