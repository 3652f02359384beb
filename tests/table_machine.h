/* SPDX-License-Identifier: MIT */
/*
 * table_machine.h - address spaces that are page tables and little else, for tests of what lies below mm_alloc().
 */
#ifndef OCTAVO_TABLE_MACHINE_H
#define OCTAVO_TABLE_MACHINE_H

#include <octavo/pgtable.h>
#include <octavo/state.h>
#include <octavo/tlb.h>

#include "mmu.h"
#include "test.h"

#define TABLE_CPUS 4u
#define RW	   (_PAGE_PRESENT | _PAGE_USER | _PAGE_RW)

/* Pages, tables and what is below a last-level table, in numbers that both geometries have. */
#define PAGES(n)  ((unsigned long)(n) << PAGE_SHIFT)
#define TABLES(n) ((unsigned long)(n)*level_size(PGTABLE_LEVEL_PMD))

/* Nothing here has areas, so no access may fault: the simulated MMU's way into the core. */
vm_fault_t mm_fault(struct mm_struct *mm, unsigned long addr, u32 flags)
{
	fail_msg("a fault at 0x%lx, flags 0x%x", addr, flags);
	return VM_FAULT_SIGSEGV;
}

static inline void table_boot(void)
{
	boot_small(OCTAVO_TREE_ORDER > 6 ? 64 : 1, TABLE_CPUS);
	sim_set_cpu(0);
}

/* Everything but the areas: users 1, its tables empty. */
static inline struct mm_struct *table_mm(void)
{
	struct mm_struct *mm = aligned_alloc(64, sizeof(*mm));

	assert_non_null(mm);
	memset(mm, 0, sizeof(*mm));
	mm->cpu = aligned_alloc(64, TABLE_CPUS * sizeof(*mm->cpu));
	assert_non_null(mm->cpu);
	memset(mm->cpu, 0, TABLE_CPUS * sizeof(*mm->cpu));
	mm->users = 1;
	mm->count = 1;
	INIT_LIST_HEAD(&mm->all);
	assert_int_equal(pgd_init(mm, GFP_KERNEL), 0);
	return mm;
}

/* Free every table that is left; entries are gone. */
static inline void table_mm_empty(struct mm_struct *mm)
{
	struct mmu_gather tlb;

	tlb_gather_mmu_fullmm(&tlb, mm);
	free_pgtables(&tlb, 0, TASK_SIZE_MAX, 0, 0);
	tlb_finish_mmu(&tlb);
	assert_int_equal(mm->pgtables_bytes, PAGE_SIZE);
}

static inline void table_mm_end(struct mm_struct *mm)
{
	assert_true(pgtable_validate(mm));
	table_mm_empty(mm);
	pgd_exit(mm);
	assert_int_equal(mm->pgtables_bytes, 0);
	free(mm->cpu);
	free(mm);
}

/* Put an entry where none is; tables are made. */
static inline void table_map(struct mm_struct *mm, unsigned long addr, unsigned int level, pte_t e)
{
	struct pt_pos pos;

	assert_int_equal(pgtable_alloc_to(mm, addr, level, GFP_KERNEL, &pos), 0);
	assert_true(pte_offset_lock(mm, addr, level, &pos));
	assert_true(pte_none(pos.pte));
	set_pte(pos.ptep, e);
	pte_unlock(&pos);
}

/* Take it away again. */
static inline pte_t table_unmap(struct mm_struct *mm, unsigned long addr, unsigned int level)
{
	struct pt_pos pos;
	pte_t e;

	assert_true(pte_offset_lock(mm, addr, level, &pos));
	e = ptep_get_and_clear(pos.ptep);
	pte_unlock(&pos);
	return e;
}

/* Is there a table whose entries are of @level? */
static inline bool table_there(struct mm_struct *mm, unsigned long addr, unsigned int level)
{
	struct pt_pos pos;

	return pgtable_walk(mm, addr, level, &pos);
}

/* A leaf of @level for user memory at @pfn. */
static inline pte_t table_leaf(unsigned long pfn, unsigned int level, u64 bits)
{
	return pte_mkleaf(pfn_pte(pfn, (pgprot_t){ bits }), level);
}

#endif /* OCTAVO_TABLE_MACHINE_H */
