/* SPDX-License-Identifier: MIT */
/*
 * pgtable.c - going down the page tables of an address space, and making those that are missing.
 *
 * Walks take no lock. What they read stays memory because tables are freed after a grace period, and stays
 * true for as long as the caller's lock says. The entry that leads to a table is written twice in the life
 * of the table, by pgtable_link() and pgtable_unlink(), both under the ptl of the table above.
 *
 * What it does not do: entries that map memory. Those are their writers', under the table's ptl.
 */
#include <octavo/errno.h>

#include "table.h"

bool pgtable_walk(struct mm_struct *mm, unsigned long addr, unsigned int level, struct pt_pos *pos)
{
	struct pt_above above;

	return pgtable_descend_any(mm, addr, level, pos, &above);
}

void pgtable_link(const struct pt_pos *pos, struct ptdesc *pt)
{
	u64 old;

	VM_BUG_ON(pos->level == 0 || !spin_is_locked(&pos->pt->ptl));
	pt->mm = pos->mm;
	pt->index = pos->addr >> level_shift(pos->level);
	pos->pt->nr_entries++;
	fetch_add_relaxed(&pos->mm->pgtables_bytes, PAGE_SIZE);
	/*
	 * seq_cst: a writer marks an area and then walks; who links a table then looks at the mark. One of the two
	 * sees the other (mm_types.h). Its release part pairs with every walk: the table is zeroed.
	 */
	old = xchg_seq_cst(&pos->ptep->v, pte_mktable(ptdesc_pfn(pt)).v);
	if (unlikely(!pte_none(__pte(old))))
		octavo_panic("pgtable_link: entry of 0x%lx at level %u is 0x%lx, not none",
			     pos->addr, pos->level, (unsigned long)old);
}

struct ptdesc *pgtable_unlink(const struct pt_pos *pos)
{
	pte_t old = __pte(xchg_seq_cst(&pos->ptep->v, (u64)0));
	struct ptdesc *pt;

	/* seq_cst: pairs with the walks, as pgtable_link() */
	if (unlikely(!pte_table(old, pos->level)))
		octavo_panic("pgtable_unlink: entry of 0x%lx at level %u is 0x%lx, no table",
			     pos->addr, pos->level, (unsigned long)old.v);
	pt = pte_to_ptdesc(old);
	VM_BUG_ON(!spin_is_locked(&pos->pt->ptl) || !spin_is_locked(&pt->ptl));
	pos->pt->nr_entries--;
	fetch_sub_relaxed(&pos->mm->pgtables_bytes, PAGE_SIZE);
	return pt;
}

/* Put @spare where the walk to @pos ended. Context: RCU. Return: true if it is used up. */
static bool link_missing(struct pt_pos *pos, struct ptdesc *spare, int *err)
{
	bool linked;
	int r = pte_offset_trylock(pos->mm, pos->addr, pos->level, pos);

	if (r <= 0) {
		*err = r;
		return false;
	}
	linked = pte_none(pos->pte);
	if (linked)
		pgtable_link(pos, spare);
	pte_unlock(pos);
	return linked;
}

int pgtable_alloc_to(struct mm_struct *mm, unsigned long addr, unsigned int level, gfp_t gfp,
		     struct pt_pos *pos)
{
	struct ptdesc *spare = NULL;
	int err;

	for (;;) {
		bool done;

		err = 0;
		rcu_read_lock();
		done = pgtable_walk(mm, addr, level, pos);
		if (!done && !pte_none(pos->pte)) {
			err = -EEXIST;
			done = true;
		}
		if (!done && spare && link_missing(pos, spare, &err))
			spare = NULL;
		else if (!done && !spare)
			err = -ENOMEM;
		rcu_read_unlock();
		if (done)
			break;
		if (err == -ENOMEM) {
			spare = pagetable_alloc(gfp, 0);
			if (!spare)
				return err;
		} else if (err == -EAGAIN) {
			/* the caller's own section: who holds the lock may need this CPU to go on */
			if (rcu_read_lock_held())
				break;
			octavo_port_relax();
		}
	}
	if (spare)
		pagetable_free(spare);
	return err;
}

int pgd_init(struct mm_struct *mm, gfp_t gfp)
{
	struct ptdesc *pt = pagetable_alloc(gfp, 0);

	if (!pt)
		return -ENOMEM;
	pt->mm = mm;
	mm->pgd = pt;
	mm->pgd_table = ptdesc_address(pt);
	fetch_add_relaxed(&mm->pgtables_bytes, PAGE_SIZE);
	return 0;
}

void pgd_exit(struct mm_struct *mm)
{
	struct ptdesc *pt = mm->pgd;

	if (unlikely(pt->nr_entries))
		octavo_panic("pgd_exit: %u tables below the top one of %p", pt->nr_entries,
			     (void *)mm);
	mm->pgd = NULL;
	mm->pgd_table = NULL;
	fetch_sub_relaxed(&mm->pgtables_bytes, PAGE_SIZE);
	VM_BUG_ON(READ_ONCE(mm->pgtables_bytes));
	pagetable_free_rcu(pt);
}
