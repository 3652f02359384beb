/* SPDX-License-Identifier: MIT */
/*
 * span.c - going through the page tables of a range with one lock at a time.
 *
 * A leaf is stored where none was, under the ptl of its table and without a second look at anything: a fault that
 * has checked its area may be about to do so. So "none" at a level that may have leaves counts only if it was seen
 * under that lock. For what leads to tables vma_lock.h has the reason why a look without is enough.
 *
 * What it does not do: change entries.
 */
#include "span.h"
#include "vma_lock.h"

/* The first entry that is not none, up to @end or the end of the table. Context: the ptl. */
static bool skip_none(const struct pt_pos *pos, unsigned long end, struct pt_span *span)
{
	unsigned int shift = level_shift(pos->level);
	unsigned long addr = pos->addr;
	unsigned long table_end = level_addr_end(addr, end, pos->level + 1);
	unsigned long max = ((table_end - 1) >> shift) - (addr >> shift) + 1;
	unsigned long n = pte_none_run(pos->ptep, max);

	if (n)
		addr = ((addr >> shift) + n) << shift;
	span->addr = min(addr, table_end);
	span->end = table_end;
	span->level = pos->level;
	span->ptep = pos->ptep + n;
	span->pt = pos->pt;
	return n < max;
}

bool pt_span_next(struct mm_struct *mm, unsigned long addr, unsigned long end, struct pt_span *span)
{
	struct pt_pos pos;

	while (addr < end) {
		bool last = pte_offset_lock(mm, addr, PGTABLE_LEVEL_PTE, &pos);

		if (!last && pos.level > MAX_LEAF_LEVEL) {
			addr = level_addr_end(addr, end, pos.level);
			continue;
		}
		if (!last)
			spin_lock(&pos.pt->ptl);
		if (skip_none(&pos, end, span) &&
		    (last || !pte_table(ptep_get(span->ptep), pos.level))) {
			if (!last)
				span->end = level_addr_end(span->addr, end, pos.level);
			return true;
		}
		pt_span_unlock(span);
		addr = span->addr;
	}
	return false;
}

/* What reaches over @addr becomes smaller, until nothing does. */
static int split_leaf_at(struct vm_area_struct *vma, unsigned long addr)
{
	struct pt_pos pos;

	if (IS_ALIGNED(addr, level_size(PGTABLE_LEVEL_PMD)))
		return 0;
	while (!pgtable_walk(vma->vm_mm, addr, PGTABLE_LEVEL_PTE, &pos)) {
		int err;

		if (pte_none(pos.pte) || IS_ALIGNED(addr, level_size(pos.level)))
			break;
		err = split_leaf(vma, addr);
		if (err)
			return err;
	}
	return 0;
}

int split_leaves_at(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	int err;

	/* odd: held for writing; a fault that was on its way could map a leaf again */
	if (READ_ONCE(vma->vm_mm->lock_seq) & 1)
		vma_start_write(vma);
	err = split_leaf_at(vma, start);
	return err || end >= TASK_SIZE_MAX ? err : split_leaf_at(vma, end);
}

void bad_entry(const struct vm_area_struct *vma, unsigned long addr, pte_t e, const char *who)
{
	octavo_panic("%s: entry 0x%lx of 0x%lx (area 0x%lx-0x%lx) is of no kind that can be there",
		     who, (unsigned long)e.v, addr, vma->vm_start, vma->vm_end);
}
