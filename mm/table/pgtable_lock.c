/* SPDX-License-Identifier: MIT */
/*
 * pgtable_lock.c - walking to an entry and taking the lock of its table.
 *
 * Who keeps the tables where they are may wait for the lock. Who does not can only try it, inside an RCU
 * section, which keeps the table's memory but not its place: with the lock held the entry above is read again,
 * and because a table is unlinked with its own lock held, what that says stays true until the lock is given back.
 * One look above is enough: a table with tables below it is never unlinked.
 */
#include <octavo/errno.h>

#include "table.h"

bool pte_offset_lock(struct mm_struct *mm, unsigned long addr, unsigned int level,
		     struct pt_pos *pos)
{
	struct pt_above above;

	if (!pgtable_descend_any(mm, addr, level, pos, &above))
		return false;
	spin_lock(&pos->pt->ptl);
	VM_BUG_ON(!pgtable_still_linked(&above));
	pos->pte = ptep_get(pos->ptep);
	return true;
}

static __always_inline int trylock(struct mm_struct *mm, unsigned long addr, unsigned int level,
				   struct pt_pos *pos)
{
	struct pt_above above;

	VM_BUG_ON(!rcu_read_lock_held());
	if (!pgtable_descend_any(mm, addr, level, pos, &above))
		return 0;
	if (!spin_trylock(&pos->pt->ptl))
		return -EAGAIN;
	if (!pgtable_still_linked(&above)) {
		pte_unlock(pos);
		return -EAGAIN;
	}
	pos->pte = ptep_get(pos->ptep);
	return 1;
}

int pte_offset_trylock(struct mm_struct *mm, unsigned long addr, unsigned int level,
		       struct pt_pos *pos)
{
	return trylock(mm, addr, level, pos);
}

bool pte_offset_lock_rcu(struct mm_struct *mm, unsigned long addr, unsigned int level,
			 struct pt_pos *pos)
{
	int r;

	for (;;) {
		rcu_read_lock();
		r = trylock(mm, addr, level, pos);
		rcu_read_unlock();
		if (r >= 0)
			return r;
		octavo_port_relax();
	}
}
