// SPDX-License-Identifier: MIT
/*
 * move.c - what is mapped in a range gets other addresses in the same address space.
 *
 * Where both sides are aligned alike a whole last-level table moves by changing the two entries that lead to
 * it, and a leaf as one entry; else entry by entry.
 *
 * What was at the old address may be changed, unmapped and freed by way of the new one as soon as that table's lock
 * is given back, and who does so flushes the new address only. So the old one is flushed before, under both locks.
 *
 * A reverse-map walk goes from area to area, and would miss an entry that moves from one that it has
 * yet to see to one that it has seen. It holds the anon_vma for reading; the move holds it for writing, a table's worth at
 * a time and never over an allocation, which may have to wait for such a walk.
 *
 * What it does not do: areas, counters (what is mapped stays mapped), exclusivity (as much).
 */
#include <octavo/errno.h>

#include "span.h"

struct move {
	struct mm_struct *mm;
	struct vm_area_struct *old;
	unsigned long start, end; /* old addresses */
	unsigned long delta;	  /* new address less old */
};

/* ---- two tables of one level, which may be the same one ---- */

static void lock_two(const struct move *m, const struct pt_pos *from, const struct pt_pos *to)
{
	bool up = to->addr > from->addr;

	if (m->old->anon_vma)
		anon_vma_lock_write(m->old->anon_vma);
	spin_lock(up ? &from->pt->ptl : &to->pt->ptl);
	if (from->pt != to->pt)
		spin_lock(up ? &to->pt->ptl : &from->pt->ptl);
}

static void unlock_two(const struct move *m, const struct pt_pos *from, const struct pt_pos *to)
{
	spin_unlock(&from->pt->ptl);
	if (from->pt != to->pt)
		spin_unlock(&to->pt->ptl);
	if (m->old->anon_vma)
		anon_vma_unlock_write(m->old->anon_vma);
}

/*
 * Both places, with @to's tables made down to @level, and both locked. Return: 0; -ENOMEM; -EAGAIN: what was at @addr
 * is not at @level any more; then nothing is held.
 */
static int lock_places(const struct move *m, unsigned long addr, unsigned int level,
		       struct pt_pos *from, struct pt_pos *to)
{
	int err = pgtable_alloc_to(m->mm, addr + m->delta, level, GFP_KERNEL, to);

	if (err == -EEXIST)
		octavo_panic("move_page_tables: a leaf is mapped at 0x%lx", addr + m->delta);
	if (err)
		return err;
	if (!pgtable_walk(m->mm, addr, level, from))
		return -EAGAIN;
	lock_two(m, from, to);
	from->pte = ptep_get(from->ptep);
	to->pte = ptep_get(to->ptep);
	return 0;
}

/* ---- the three ways ---- */

/* A whole table. Return: 0; -ENOMEM; -EEXIST: there is a table at the new place; -EAGAIN: none at the old. */
static int move_table(const struct move *m, unsigned long addr)
{
	unsigned long size = level_size(PGTABLE_LEVEL_PMD);
	struct pt_pos from, to;
	struct ptdesc *pt;
	int err = lock_places(m, addr, PGTABLE_LEVEL_PMD, &from, &to);

	if (err)
		return err;
	if (!pte_table(from.pte, from.level)) {
		err = -EAGAIN;
	} else if (!pte_none(to.pte)) {
		err = -EEXIST;
	} else {
		pt = pte_to_ptdesc(from.pte);
		/* whoever holds it relies on where it is linked */
		spin_lock(&pt->ptl);
		pgtable_unlink(&from);
		flush_tlb_tables(m->mm, addr, addr + size);
		pgtable_link(&to, pt);
		spin_unlock(&pt->ptl);
	}
	unlock_two(m, &from, &to);
	return err;
}

/* A leaf, or what stands for one while it migrates. Return: as move_table(). */
static int move_leaf(const struct move *m, unsigned long addr, unsigned int level)
{
	struct pt_pos from, to;
	int err = lock_places(m, addr, level, &from, &to);

	if (err)
		return err;
	if (pte_none(from.pte) || pte_table(from.pte, level)) {
		err = -EAGAIN;
	} else if (!pte_none(to.pte)) {
		err = -EEXIST;
	} else {
		pte_t e = ptep_get_and_clear(from.ptep);

		if (pte_present(e))
			flush_tlb_range(m->mm, addr, addr + level_size(level), level);
		set_pte(to.ptep, e);
	}
	unlock_two(m, &from, &to);
	return err;
}

/* Entries of one pair of last-level tables, from @addr on. Return: where it stopped; @addr: *@err says why. */
static unsigned long move_entries(const struct move *m, unsigned long addr, unsigned long end,
				  int *err)
{
	unsigned long start = addr;
	struct pt_pos from, to;
	bool present = false;
	pte_t *src, *dst;

	*err = lock_places(m, addr, PGTABLE_LEVEL_PTE, &from, &to);
	if (*err)
		return addr;
	end = level_addr_end(addr + m->delta, end + m->delta, PGTABLE_LEVEL_PMD) - m->delta;
	src = from.ptep;
	dst = to.ptep;
	while (addr < end) {
		pte_t e = ptep_get(src);
		unsigned long n = 1;

		if (pte_none(e)) {
			n = pte_none_run(src, (end - addr) >> PAGE_SHIFT);
		} else {
			VM_BUG_ON(!pte_none(ptep_get(dst)));
			e = ptep_get_and_clear(src);
			set_pte(dst, e);
			present |= pte_present(e);
		}
		src += n;
		dst += n;
		addr += n << PAGE_SHIFT;
	}
	if (present)
		flush_tlb_range(m->mm, start, addr, PGTABLE_LEVEL_PTE);
	unlock_two(m, &from, &to);
	return addr;
}

/* ---- a range ---- */

/* May the entry of @level that covers @addr go as it is? */
static bool moves_whole(const struct move *m, unsigned long addr, unsigned int level)
{
	unsigned long size = level_size(level), start = addr & ~(size - 1);

	return IS_ALIGNED(m->delta, size) && start >= m->start && size <= m->end - start;
}

/*
 * One piece, whose ptl was held a moment ago. Return: up to where everything has moved; *@err: 0 or -ENOMEM.
 */
static unsigned long move_span(const struct move *m, const struct pt_span *span, int *err)
{
	unsigned int level = span->level ? span->level : PGTABLE_LEVEL_PMD;
	unsigned long start = span->addr & ~(level_size(level) - 1);

	*err = -EEXIST;
	if (moves_whole(m, span->addr, level))
		*err = span->level ? move_leaf(m, start, level) : move_table(m, start);
	if (!*err)
		return start + level_size(level);
	if (*err == -EEXIST) {
		if (!span->level)
			return move_entries(m, span->addr, span->end, err);
		*err = split_leaf(m->old, span->addr);
	}
	if (*err == -EAGAIN)
		*err = 0;
	return span->addr;
}

unsigned long move_page_tables(struct vm_area_struct *old, unsigned long old_addr,
			       struct vm_area_struct *new, unsigned long new_addr,
			       unsigned long len)
{
	const struct move m = {
		.mm = old->vm_mm,
		.old = old,
		.start = old_addr,
		.end = old_addr + len,
		.delta = new_addr - old_addr,
	};
	struct mmu_notifier_range range;
	unsigned long addr = old_addr;
	struct pt_span span;
	int err = 0;

	VM_BUG_ON(new->vm_mm != m.mm || old_addr < old->vm_start || m.end > old->vm_end ||
		  new_addr < new->vm_start || new_addr + len > new->vm_end);
	mmu_notifier_range_init(&range, MMU_NOTIFY_UNMAP, m.mm, m.start, m.end);
	mmu_notifier_invalidate_range_start(&range);
	while (!err && pt_span_next(m.mm, addr, m.end, &span)) {
		pt_span_unlock(&span);
		addr = move_span(&m, &span, &err);
	}
	mmu_notifier_invalidate_range_end(&range);
	return err ? addr - old_addr : len;
}
