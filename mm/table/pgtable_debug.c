/* SPDX-License-Identifier: MIT */
/*
 * pgtable_debug.c - the tables of an address space checked against what they say of each other, and shown.
 */
#include "table.h"

/* What a check of one address space carries along. */
struct table_check {
	struct mm_struct *mm;
	unsigned long tables;
	bool whole; /* the upper half of the top table is the core's too */
	bool ok;
};

#define wrong(c, fmt, ...)                                                       \
	do {                                                                     \
		pr_err("page tables of %p: " fmt, (void *)(c)->mm, __VA_ARGS__); \
		(c)->ok = false;                                                 \
	} while (0)

/* An entry that leads to no table: may it be there? */
static void check_entry(struct table_check *c, pte_t e, unsigned int level, unsigned long addr)
{
	unsigned long v = (unsigned long)e.v;

	if (level > MAX_LEAF_LEVEL)
		wrong(c, "0x%lx level %u: entry 0x%lx above the level of leaves", addr, level, v);
	else if (pte_present(e) && !pte_leaf(e, level))
		wrong(c, "0x%lx level %u: entry 0x%lx is neither table nor leaf", addr, level, v);
	else if (pte_present(e) && !IS_ALIGNED(pte_pfn(e), 1ul << level_order(level)))
		wrong(c, "0x%lx level %u: leaf 0x%lx is not aligned", addr, level, v);
	else if (pte_present(e) && !pte_special(e) && !pfn_valid(pte_pfn(e)))
		wrong(c, "0x%lx level %u: entry 0x%lx of no frame", addr, level, v);
	else if (pte_is_swap(e) && swp_type(pte_to_swp_entry(e)) >= NR_SWP_TYPES)
		wrong(c, "0x%lx level %u: entry 0x%lx of no type", addr, level, v);
}

/* What a table says of itself. */
static void check_table(struct table_check *c, const struct ptdesc *pt, unsigned int level,
			unsigned long addr)
{
	unsigned long index = level == PGTABLE_LEVEL_TOP ? 0 : addr >> level_shift(level + 1);

	c->tables++;
	if (pt->mm != c->mm || pt->index != index)
		wrong(c, "0x%lx level %u: table of %p, index 0x%lx", addr, level, pt->mm,
		      pt->index);
	if (ptdesc_order(pt) != 0 || READ_ONCE(pt->flags) & (u64)1 << PT_freeing)
		wrong(c, "0x%lx level %u: table is being freed, or of order %u", addr, level,
		      ptdesc_order(pt));
	if (spin_is_locked(&pt->ptl))
		wrong(c, "0x%lx level %u: table is locked", addr, level);
}

static void check_below(struct table_check *c, const struct ptdesc *pt, unsigned int level,
			unsigned long addr)
{
	const pte_t *table = ptdesc_address(pt);
	/* what an embedder has in the upper half is no business of ours */
	unsigned long nr =
		level == PGTABLE_LEVEL_TOP && !c->whole ? PTRS_PER_TABLE / 2 : PTRS_PER_TABLE;
	u32 tables = 0;

	check_table(c, pt, level, addr);
	for (unsigned long i = 0; i < nr; i++) {
		unsigned long at = addr + i * level_size(level);
		pte_t e = ptep_get(table + i);
		const struct ptdesc *child;

		if (pte_none(e))
			continue;
		if (!pte_table(e, level)) {
			check_entry(c, e, level, at);
			continue;
		}
		tables++;
		child = pfn_valid(pte_pfn(e)) ? pte_to_ptdesc(e) : NULL;
		if (!child || ptdesc_pfn(child) != pte_pfn(e))
			wrong(c, "0x%lx level %u: entry 0x%lx leads to no table", at, level,
			      (unsigned long)e.v);
		else
			check_below(c, child, level - 1, at);
	}
	if (tables != pt->nr_entries)
		wrong(c, "0x%lx level %u: %u tables below, counted %u", addr, level, tables,
		      pt->nr_entries);
}

static bool validate(struct mm_struct *mm, bool whole)
{
	struct table_check c = { .mm = mm, .whole = whole, .ok = true };

	check_below(&c, mm->pgd, PGTABLE_LEVEL_TOP, 0);
	if (READ_ONCE(mm->pgtables_bytes) != c.tables * PAGE_SIZE)
		wrong(&c, "%lu tables, counted %lu bytes", c.tables, READ_ONCE(mm->pgtables_bytes));
	return c.ok;
}

bool pgtable_validate(struct mm_struct *mm)
{
	return validate(mm, false);
}

bool pgtable_validate_kernel(struct mm_struct *mm)
{
	return validate(mm, true);
}

static void dump_entry(pte_t e, unsigned int level, unsigned long addr)
{
	swp_entry_t swap = pte_to_swp_entry(e);

	if (pte_table(e, level))
		pr_dump("0x%012lx level %u: table at pfn 0x%lx", addr, level, pte_pfn(e));
	else if (pte_present(e))
		pr_dump("0x%012lx level %u: pfn 0x%lx %c%c%c%c%c%c%c%c", addr, level, pte_pfn(e),
			pte_user(e) ? 'u' : '-', pte_write(e) ? 'w' : '-', pte_exec(e) ? 'x' : '-',
			pte_protnone(e) ? 'n' : '-', pte_young(e) ? 'a' : '-',
			pte_dirty(e) ? 'd' : '-', pte_soft_dirty(e) ? 's' : '-',
			pte_special(e) ? '*' : '-');
	else
		pr_dump("0x%012lx level %u: swap form, type %u, 0x%lx%s", addr, level,
			(unsigned int)swp_type(swap), (unsigned long)swp_offset(swap),
			pte_swp_exclusive(e) ? ", exclusive" : "");
}

static void dump_below(pte_t *table, unsigned int level, unsigned long first, unsigned long last)
{
	unsigned long addr = ALIGN_DOWN(first, level_size(level)), its_last;

	for (;; addr = its_last + 1) {
		pte_t e = ptep_get_seq_cst(table + level_index(addr, level));

		its_last = addr + level_size(level) - 1;
		if (!pte_none(e))
			dump_entry(e, level, addr);
		if (pte_table(e, level))
			dump_below(pte_to_table(e), level - 1, max(first, addr),
				   min(last, its_last));
		if (its_last >= last)
			break;
	}
}

void pgtable_dump(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	if (start < end)
		dump_below(mm->pgd_table, PGTABLE_LEVEL_TOP, start, end - 1);
}
