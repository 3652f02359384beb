// SPDX-License-Identifier: MIT
/*
 * move.c - what is mapped in a range gets other addresses in the same address space.
 *
 * Where both sides are aligned alike a whole last-level table moves by changing the two entries that lead to
 * it, and a leaf as one entry, many of them in one go; else entry by entry.
 *
 * What was at the old address may be changed, unmapped and freed by way of the new one as soon as that table's lock
 * is given back, and who does so flushes the new address only. So the old one is flushed before, under both locks.
 *
 * A reverse-map walk goes from area to area, and would miss an entry that moves from one that it has
 * yet to see to one that it has seen. It holds the anon_vma for reading; the move holds it for writing, a run's worth at
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

/* ---- two ways ---- */

/* So many entries above the last level go under one lock of the anon_vma, and one flush. */
#define MOVE_RUN 32ul

/* Entry @i of the run at @pos. */
static inline struct pt_pos pos_next(const struct pt_pos *pos, unsigned long i)
{
	struct pt_pos next = *pos;

	next.ptep += i;
	next.addr += i * level_size(pos->level);
	next.pte = ptep_get(next.ptep);
	return next;
}

/* Whole entries of the two tables from @addr on that are in the range. */
static unsigned long run_length(const struct move *m, unsigned long addr, unsigned int level)
{
	unsigned long nr = min(MOVE_RUN, (m->end - addr) / level_size(level));

	nr = min(nr, PTRS_PER_TABLE - level_index(addr, level));
	return min(nr, PTRS_PER_TABLE - level_index(addr + m->delta, level));
}

/* Out of its place, whatever it is; nobody who locks a table of it finds it there any more. */
static pte_t take_entry(const struct pt_pos *from)
{
	struct ptdesc *pt;

	if (!pte_table(from->pte, from->level))
		return ptep_get_and_clear(from->ptep);
	pt = pte_to_ptdesc(from->pte);
	/* whoever holds it relies on where it is linked */
	spin_lock(&pt->ptl);
	pgtable_unlink(from);
	spin_unlock(&pt->ptl);
	return from->pte;
}

static void put_entry(const struct pt_pos *to, pte_t e)
{
	struct ptdesc *pt;

	if (!pte_table(e, to->level)) {
		set_pte(to->ptep, e);
		return;
	}
	pt = pte_to_ptdesc(e);
	spin_lock(&pt->ptl);
	pgtable_link(to, pt);
	spin_unlock(&pt->ptl);
}

/*
 * Whole entries above the last level: leaves, what stands for one while it migrates, and last-level tables. They are
 * nowhere while the old addresses are flushed. Return: where it stopped; @addr: *@err says why: -ENOMEM; -EEXIST: there
 * is something at the new place; -EAGAIN: what was seen at @addr is not there any more.
 */
static unsigned long move_whole(const struct move *m, unsigned long addr, unsigned int level,
				int *err)
{
	unsigned long n = 0, nr = run_length(m, addr, level);
	pte_t taken[MOVE_RUN];
	struct pt_pos from, to;
	bool tables = false;

	*err = lock_places(m, addr, level, &from, &to);
	if (*err)
		return addr;
	for (; n < nr; n++) {
		struct pt_pos pos = pos_next(&from, n);

		taken[n] = pos.pte;
		if (pte_none(pos.pte))
			continue;
		*err = pte_none(ptep_get(to.ptep + n)) ? 0 : -EEXIST;
		if (*err || (level > PGTABLE_LEVEL_PMD && pte_table(pos.pte, level)))
			break;
		taken[n] = take_entry(&pos);
		tables |= pte_table(pos.pte, level);
	}
	if (n)
		*err = 0;
	else if (!*err)
		*err = -EAGAIN;
	if (tables)
		flush_tlb_tables(m->mm, addr, addr + n * level_size(level));
	else if (n)
		flush_tlb_range(m->mm, addr, addr + n * level_size(level), level);
	for (unsigned long i = 0; i < n; i++) {
		struct pt_pos pos = pos_next(&to, i);

		if (!pte_none(taken[i]))
			put_entry(&pos, taken[i]);
	}
	unlock_two(m, &from, &to);
	return addr + n * level_size(level);
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
	if (moves_whole(m, span->addr, level)) {
		start = move_whole(m, start, level, err);
		if (!*err)
			return start;
	}
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
