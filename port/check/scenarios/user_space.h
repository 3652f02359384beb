/* SPDX-License-Identifier: MIT */
/*
 * user_space.h - an address space as the memory calls make it, with programs that run in it: for scenarios in which
 * whole calls and faults meet.
 *
 * Each thread is a CPU that has activated the address space before the threads begin.
 */
#ifndef CHECK_USER_SPACE_H
#define CHECK_USER_SPACE_H

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
	struct mm_struct *mm, *child, *second;
	u64 words[2]; /* of the second child */
	struct folio *folio;
	unsigned long at; /* where the faults are */
	u64 copy;
} s;

static inline void map(unsigned long addr, unsigned long len)
{
	CHECK(vm_mmap(s.mm, addr, len, PROT_READ | PROT_WRITE,
		      MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0) == (long)addr);
}

/* Each CPU has what a call takes from the allocators: an area made, used and unmapped. */
static inline void warm(void)
{
	for (unsigned int cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++) {
		check_set_cpu(cpu);
		map(AWAY + TABLE, 3 * PAGE_SIZE);
		CHECK(!mm_fault(s.mm, AWAY + TABLE, FAULT_FLAG_WRITE));
		CHECK(!vm_munmap(s.mm, AWAY + TABLE + PAGE_SIZE, PAGE_SIZE));
		CHECK(!vm_munmap(s.mm, AWAY + TABLE, 3 * PAGE_SIZE));
		rcu_barrier();
	}
	check_set_cpu(0);
}

/* An area of two pages, the second touched, so that tables and the anon_vma are there. */
static inline void setup(void)
{
	s.mm = mm_alloc();
	CHECK(s.mm);
	s.at = ADDR;
	map(ADDR, 2 * PAGE_SIZE);
	CHECK(!mm_fault(s.mm, ADDR + PAGE_SIZE, FAULT_FLAG_WRITE));
	warm();
	for (unsigned int cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++)
		mm_activate(s.mm, cpu);
}

/* A user program's store. Return: false: the program is killed. */
static inline bool store(struct mm_struct *mm, unsigned long addr, u64 value)
{
	while (check_mmu_store(mm, addr, value) != CHECK_MMU_OK) {
		vm_fault_t ret = mm_fault(mm, addr, FAULT_FLAG_WRITE);

		CHECK(!(ret & ~(VM_FAULT_SIGSEGV | VM_FAULT_MAPERR | VM_FAULT_MAJOR)));
		if (ret & VM_FAULT_SIGSEGV)
			return false;
	}
	return true;
}

static inline pte_t entry_of(struct mm_struct *mm, unsigned long addr)
{
	struct pt_pos pos;

	return pgtable_walk(mm, addr, PGTABLE_LEVEL_PTE, &pos) ? pos.pte : __pte(0);
}

static inline u64 word_of(struct mm_struct *mm, unsigned long addr)
{
	pte_t e = entry_of(mm, addr);

	CHECK(pte_present(e));
	return *(u64 *)((char *)pfn_to_virt(pte_pfn(e)) + (addr & ~PAGE_MASK));
}

/* A fork on this CPU has what it takes from the allocators. */
static inline void warm_fork(unsigned int cpu)
{
	struct mm_struct *mm;
	int err;

	check_set_cpu(cpu);
	mm = mm_fork(s.mm, &err);
	CHECK(mm);
	mmput(mm);
	rcu_barrier();
	check_set_cpu(0);
}

/* A child has what is mapped, too, with 77 in the first word. */
static inline void setup_fork(void)
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

#endif /* CHECK_USER_SPACE_H */
