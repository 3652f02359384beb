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

/* What a test that panics leaves behind is the next one's. */
static struct {
	struct mm_struct mm;
	struct mm_cpu cpu[TABLE_CPUS];
} table_mms[4];

static inline void table_boot(void)
{
	memset(table_mms, 0, sizeof(table_mms));
	boot_small(OCTAVO_TREE_ORDER > 6 ? 64 : 1, TABLE_CPUS);
	sim_set_cpu(0);
}

/* Everything but the areas: users 1, its tables empty. */
static inline struct mm_struct *table_mm(void)
{
	unsigned int i = 0;
	struct mm_struct *mm;

	while (table_mms[i].mm.users)
		assert_true(++i < ARRAY_SIZE(table_mms));
	mm = &table_mms[i].mm;
	mm->cpu = table_mms[i].cpu;
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
	long untold = 0;

	assert_true(pgtable_validate(mm));
	table_mm_empty(mm);
	pgd_exit(mm);
	assert_int_equal(mm->pgtables_bytes, 0);
	for (u32 i = 0; i < TABLE_CPUS; i++)
		untold += mm->cpu[i].untold;
	assert_int_equal(untold, 0);
	memset(mm, 0, sizeof(*mm));
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
