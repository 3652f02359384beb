// SPDX-License-Identifier: MIT
/*
 * swapoff.c - emptying a swap device, and letting go of it.
 *
 * From the beginning on no slot of it is given to anybody. So what is there only becomes less: entries that name its slots are
 * brought in, address space by address space, and then folios that are in the cache without any entry leave it.
 *
 * Both are done again until nothing is left, because entries move. A folio that is in the cache with the slots it had may be unmapped
 * once more behind our back; a process that ends frees its slots itself, when it comes to them; and a child that is
 * made meanwhile is in the list, behind its parent, before it has an entry.
 *
 * What it does not do: wait for memory, or give up contents that cannot be read: it stops, and the device goes on as before.
 */
#include <octavo/swap.h>

#include "fault.h"
#include "vma.h"

/* ---- address spaces ---- */

/* Does somebody want us to stop? */
static int interrupted(int type)
{
	return READ_ONCE(octavo_state.swap.stop) & 1u << type ? -EINTR : 0;
}

/*
 * Part of an address space from *@addr on: as much as may be done with mmap_lock held. Return: 0 with *@addr where to go on, or
 * TASK_SIZE_MAX; -EAGAIN: first fault_wait(); -errno.
 */
static int bring_in_some(struct mm_struct *mm, unsigned long *addr, int type,
			 struct fault_wait *wait)
{
	struct vm_area_struct *vma;
	int err = 0;

	mmap_read_lock(mm);
	vma = find_vma(mm, *addr);
	if (!vma) {
		*addr = TASK_SIZE_MAX;
	} else if (!READ_ONCE(vma->anon_vma)) {
		/* what was never anonymous memory has no slots */
		*addr = vma->vm_end;
	} else {
		*addr = max(*addr, vma->vm_start);
		err = swapin_range(vma, addr, level_addr_end(*addr, vma->vm_end, PGTABLE_LEVEL_PUD),
				   type, wait);
	}
	mmap_read_unlock(mm);
	return err;
}

static int bring_in(struct mm_struct *mm, int type)
{
	struct fault_wait wait;
	unsigned long addr = 0;
	int err = 0;

	/* a hint: what it misses is found in the next round */
	if (!get_mm_counter(mm, MM_SWAPENTS))
		return 0;
	fault_wait_init(&wait);
	while (!err && addr < TASK_SIZE_MAX) {
		err = bring_in_some(mm, &addr, type, &wait);
		if (err == -EAGAIN)
			err = fault_wait(&wait) ? -ENOMEM : 0;
		if (!err)
			err = interrupted(type);
	}
	return err;
}

static int bring_in_all(int type)
{
	struct mm_struct *mm = NULL;
	int err = 0;

	while ((mm = mm_next(mm))) {
		/* without users it gives its slots back itself */
		if (!mmget_not_zero(mm))
			continue;
		err = bring_in(mm, type);
		mmput(mm);
		if (err) {
			mmdrop(mm);
			break;
		}
	}
	return err;
}

/* ---- the cache ---- */

static void let_go(struct folio *folio)
{
	swap_lock_folio(folio);
	folio_wait_writeback(folio);
	/* it was read for nobody, and could not be: the slot has what there is */
	if (folio_test_flag(folio, PG_swapcache) && !folio_test_flag(folio, PG_uptodate))
		swap_cache_del(folio, 0);
	else
		folio_free_swap(folio);
	folio_unlock(folio);
}

static void empty_cache(int type)
{
	unsigned long slot = 0;

	while ((slot = swap_next_used(type, slot)) != ~0ul) {
		struct folio *folio = swap_cache_get_folio(swp_entry((enum swp_type)type, slot));

		slot++;
		if (!folio)
			continue;
		let_go(folio);
		folio_put(folio);
	}
}

/* ---- both ---- */

int swapoff(int type)
{
	int err = swap_device_close_begin(type);

	if (err)
		return err;
	fetch_and_relaxed(&octavo_state.swap.stop, ~(1u << type));
	do {
		err = bring_in_all(type);
		if (err)
			break;
		empty_cache(type);
		err = swap_device_close_end(type);
		/* a process that ends has the rest, or a fault that is not over */
		if (err == -EBUSY) {
			octavo_port_relax();
			err = interrupted(type) ? -EINTR : -EBUSY;
		}
	} while (err == -EBUSY);
	if (err)
		swap_device_close_abort(type);
	return err;
}

void swapoff_interrupt(int type)
{
	if (type >= 0 && type < MAX_SWAPFILES)
		fetch_or_relaxed(&octavo_state.swap.stop, 1u << type);
}
