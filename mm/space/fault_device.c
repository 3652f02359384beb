// SPDX-License-Identifier: MIT
/*
 * fault_device.c - a CPU touched memory that a device has for itself: its driver brings it back; or a page of the
 * system's that a device has for itself for a while: its time is over.
 *
 * The entry has a reference, and under its ptl its page is its folio's; so there is one to be had, and that keeps folio
 * and device. The lock is what keeps the entry from now on: who changes it other than by unmapping has the folio locked. It
 * is only tried for under the ptl; who cannot have it waits without, and without a reference, and looks at the entry again.
 *
 * The driver may split the folio. The reference and the lock are then those of the piece that has the page.
 *
 * What a device has for itself for a while (hmm.h) is mapped and referenced all the time, and exclusive. The lock makes who
 * touches it wait while the device is just getting it; the notifier makes the device forget it; then the entry is what it was.
 */
#include <octavo/upcalls.h>

#include "fault.h"

/* Looks before the access is tried again, which costs more. */
#define WAIT_TURNS 256u

/*
 * Somebody else is at it, and can move only what nobody else has a reference of: two who touch a page and wait with one
 * would keep each other from it for ever. Context: RCU since before the ptl was given up, which is ended: the descriptor stays
 * one, of whatever folio.
 */
static vm_fault_t wait_for_other(const struct folio *folio)
{
	for (u32 turn = 0; folio_test_locked(folio) && turn < WAIT_TURNS; turn++)
		octavo_port_relax();
	rcu_read_unlock();
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
	bool locked, stays;

	if (!fault_may_sleep(f)) {
		pte_unlock(&f->pos);
		return VM_FAULT_RETRY;
	}
	vmf.page = place_page(swp_entry_place(pte_to_swp_entry(f->pos.pte)) + in);
	folio = page_folio(vmf.page);
	locked = folio_trylock(folio);
	if (locked)
		folio_get(folio);
	rcu_read_lock();
	pte_unlock(&f->pos);
	if (!locked)
		return wait_for_other(folio);
	rcu_read_unlock();
	ret = device->migrate_to_ram(&vmf);
	folio = page_folio(vmf.page);
	stays = folio_mapped(folio);
	folio_unlock(folio);
	folio_put(folio);
	/* somebody has a reference for a moment, such as who has just brought it there */
	if (!ret && stays)
		octavo_port_relax();
	return ret;
}

/* ---- exclusive access ---- */

/* Context: the folio is locked, which keeps it; no ptl. */
static void end_exclusive(struct fault *f, pte_t old)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_EXCLUSIVE, f->mm, f->addr, f->addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	if (pte_offset_lock(f->mm, f->addr, PGTABLE_LEVEL_PTE, &f->pos)) {
		if (pte_same(f->pos.pte, old))
			set_pte(f->pos.ptep, device_exclusive_pte(f->vma, old));
		pte_unlock(&f->pos);
	}
	mmu_notifier_invalidate_range_end(&range);
}

vm_fault_t fault_device_exclusive(struct fault *f)
{
	pte_t old = f->pos.pte;
	struct folio *folio;

	if (!fault_may_sleep(f)) {
		pte_unlock(&f->pos);
		return VM_FAULT_RETRY;
	}
	folio = page_folio(pfn_to_page(swp_entry_pfn(pte_to_swp_entry(old))));
	folio_get(folio);
	pte_unlock(&f->pos);
	/* a driver has it locked until its device has the page, which may take it a while */
	if (!folio_trylock(folio)) {
		if (f->wait)
			return fault_wait_folio(f, FAULT_WAIT_LOCK, folio);
		folio_lock(folio);
	}
	end_exclusive(f, old);
	folio_unlock(folio);
	folio_put(folio);
	return 0;
}
