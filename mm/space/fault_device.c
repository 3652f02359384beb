// SPDX-License-Identifier: MIT
/*
 * fault_device.c - a CPU touched memory that a device has for itself: its driver brings it back.
 *
 * The entry has a reference, and under its ptl its page is its folio's; so there is one to be had, and that keeps folio
 * and device. The lock is what keeps the entry from now on: who changes it other than by unmapping has the folio locked. It
 * is only tried for under the ptl; who cannot have it waits for it without, and looks at the entry again.
 *
 * The driver may split the folio. The reference and the lock are then those of the piece that has the page.
 */
#include <octavo/upcalls.h>

#include "fault.h"

/* Somebody else is at it. */
static vm_fault_t wait_for_other(struct folio *folio)
{
	folio_lock(folio);
	folio_unlock(folio);
	folio_put(folio);
	return 0;
}

vm_fault_t fault_device(struct fault *f)
{
	/* acquire: pairs with the release in device_up(), before there was such an entry */
	const struct device_upcalls *device = smp_load_acquire(&octavo_state.upcalls.device);
	unsigned long in = (f->addr & (level_size(f->pos.level) - 1)) >> PAGE_SHIFT;
	struct vm_fault vmf = { .vma = f->vma,
				.mm = f->mm,
				.address = f->addr,
				.pgoff = linear_page_index(f->vma, f->addr),
				.flags = f->flags };
	struct folio *folio;
	vm_fault_t ret;
	bool locked;

	if (!fault_may_sleep(f)) {
		pte_unlock(&f->pos);
		return VM_FAULT_RETRY;
	}
	vmf.page = place_page(swp_entry_place(pte_to_swp_entry(f->pos.pte)) + in);
	folio = page_folio(vmf.page);
	folio_get(folio);
	locked = folio_trylock(folio);
	pte_unlock(&f->pos);
	if (!locked)
		return wait_for_other(folio);
	ret = device->migrate_to_ram(&vmf);
	folio = page_folio(vmf.page);
	folio_unlock(folio);
	folio_put(folio);
	return ret;
}
