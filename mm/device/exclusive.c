// SPDX-License-Identifier: MIT
/*
 * exclusive.c - a page that a device has for itself for a while, where it is.
 *
 * The CPU's entry is cleared, so that no CPU can take part in what the device does to the page, and says so in swap form. It counts
 * as the mapping that it was and keeps its reference: nothing of the folio changes. Who has pinned the page could
 * write to it still; then it stays the CPU's. mm/space/fault_device.c has the way back.
 *
 * What it does not do: pages of files, folios that others map too.
 */
#include <octavo/errno.h>
#include <octavo/gup.h>
#include <octavo/hmm.h>
#include <octavo/migrate.h>
#include <octavo/mm.h>
#include <octavo/pgtable.h>
#include <octavo/rmap.h>
#include <octavo/tlb.h>

#include "../space/fault.h"
#include "../space/gup.h"

/* The entry, in a table of the last level. Context: mmap_lock. Return: 0 with the ptl held; -errno. */
static int lock_entry(struct vm_area_struct *vma, unsigned long addr, struct pt_pos *pos)
{
	int err;

	while (!pte_offset_lock(vma->vm_mm, addr, PGTABLE_LEVEL_PTE, pos)) {
		if (!pte_leaf(pos->pte, pos->level))
			return -EBUSY;
		err = split_leaf(vma, addr);
		if (err)
			return err;
	}
	return 0;
}

static pte_t exclusive_entry(pte_t e)
{
	pte_t x = swp_entry_to_pte(swp_entry(SWP_DEVICE_EXCLUSIVE, pte_pfn(e)));

	if (pte_soft_dirty(e))
		x = pte_swp_mksoft_dirty(x);
	return pte_uffd_wp(e) ? pte_swp_mkuffd_wp(x) : x;
}

/* Context: the ptl. Return: 0: done; -EBUSY: as before. */
static int take_entry(const struct pt_pos *pos, struct folio *folio, struct page *page)
{
	unsigned long idx = folio_page_idx(folio, page);
	pte_t e = ptep_get(pos->ptep);

	if (!pte_present(e) || !pte_write(e) || pte_special(e) || pte_pfn(e) != page_to_pfn(page) ||
	    !folio_test_anon_exclusive(folio, idx))
		return -EBUSY;
	e = ptep_get_and_clear(pos->ptep);
	flush_tlb_range(pos->mm, pos->addr, pos->addr + PAGE_SIZE, PGTABLE_LEVEL_PTE);
	/* seq_cst, inside: pairs with the pins of folio_try_pin(), whose taker reads the entry again after */
	if (folio_maybe_dma_pinned(folio)) {
		set_pte(pos->ptep, e);
		return -EBUSY;
	}
	/* what the entry said, and will not say when it is back */
	folio_set_flag(folio, PG_dirty);
	set_pte(pos->ptep, exclusive_entry(e));
	return 0;
}

/* With the folio locked. */
static int make_exclusive(struct vm_area_struct *vma, unsigned long addr, void *owner,
			  struct folio *folio, struct page *page)
{
	struct mmu_notifier_range range;
	struct pt_pos pos;
	int err;

	mmu_notifier_range_init(&range, MMU_NOTIFY_EXCLUSIVE, vma->vm_mm, addr, addr + PAGE_SIZE);
	range.owner = owner;
	mmu_notifier_invalidate_range_start(&range);
	err = lock_entry(vma, addr, &pos);
	if (!err) {
		err = take_entry(&pos, folio, page);
		pte_unlock(&pos);
	}
	mmu_notifier_invalidate_range_end(&range);
	return err;
}

struct page *make_device_exclusive(struct mm_struct *mm, unsigned long addr, void *owner,
				   struct folio **foliop, int *err)
{
	struct fault_wait wait;
	struct vm_area_struct *vma;
	struct folio *folio;
	struct page *page;

	VM_BUG_ON(!rwsem_is_locked(&mm->mmap_lock) || !IS_ALIGNED(addr, PAGE_SIZE));
	fault_wait_init(&wait);
	*err = (int)get_user_pages_wait(mm, addr, 1, FOLL_WRITE, &page, &wait);
	if (*err != 1) {
		*err = *err ? *err : -EFAULT;
		return NULL;
	}
	/* mmap_lock is held since the page was found there */
	vma = vma_lookup(mm, addr);
	folio = page_folio(page);
	*err = -EFAULT;
	if (folio && folio_test_anon(folio)) {
		*err = -EBUSY;
		if (folio_trylock(folio)) {
			*err = make_exclusive(vma, addr, owner, folio, page);
			if (!*err) {
				*foliop = folio;
				return page;
			}
			folio_unlock(folio);
		}
	}
	put_user_page(page);
	return NULL;
}
