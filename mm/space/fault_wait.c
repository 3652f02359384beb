// SPDX-License-Identifier: MIT
/*
 * fault_wait.c - what a fault waits for without mmap_lock.
 *
 * A device takes its time, and others who want to change the address space meanwhile should not have to. So a fault
 * that cannot go on says what it needs (struct fault_wait) and ends. Who has mmap_lock gives it up, waits here, and begins
 * anew: the area is looked up again, the entry is read again, and what was seen before is not believed any more. While it is waited for
 * a folio is kept by a reference; it is given up before the next turn, in which it could make somebody copy a page that he has alone.
 *
 * Nothing that is done here needs the area: a slot is read for whoever comes to want it (swap_cache_add() refuses one that is
 * free by now), and a folio that was unmapped meanwhile is nobody's when the reference goes.
 *
 * What lasts: that a device was waited for; and which slot was tried. Who has read a slot himself and finds that it could not be
 * read is told so, and does not try for ever.
 *
 * There is no limit to the turns: each ends with something that had to end, and mostly the next is the last. The core knows no signals: a
 * device that never ends a transfer is waited for by those who need the page, and by nobody else.
 */
#include <octavo/swap.h>

#include "fault.h"

/* Of this slot there is no folio yet. */
static vm_fault_t wait_read(struct fault_wait *wait)
{
	if (swapin_read(wait->entry, wait->orders, GFP_HIGHUSER_MOVABLE, &wait->ahead,
			&wait->folio))
		return VM_FAULT_OOM;
	if (!wait->folio) {
		octavo_port_relax();
		return 0;
	}
	wait->major = VM_FAULT_MAJOR;
	/* of a large one the pages are tried one by one before anybody is told */
	if (!folio_test_large(wait->folio))
		wait->tried = wait->entry;
	swap_lock_folio(wait->folio);
	/* the entry may have been the last, and who removed it could not have the folio's lock */
	folio_free_swap(wait->folio);
	folio_unlock(wait->folio);
	return 0;
}

vm_fault_t fault_wait(struct fault_wait *wait)
{
	vm_fault_t ret = 0;

	switch (wait->what) {
	case FAULT_WAIT_NOTHING:
		break;
	case FAULT_WAIT_LOCK:
		if (folio_test_flag(wait->folio, PG_swapcache) &&
		    !folio_test_flag(wait->folio, PG_uptodate))
			wait->major = VM_FAULT_MAJOR;
		swap_wait_locked(wait->folio);
		break;
	case FAULT_WAIT_WRITEBACK:
		folio_wait_writeback(wait->folio);
		break;
	case FAULT_WAIT_READ:
		ret = wait_read(wait);
		break;
	}
	if (wait->folio)
		folio_put(wait->folio);
	wait->folio = NULL;
	wait->what = FAULT_WAIT_NOTHING;
	return ret;
}
