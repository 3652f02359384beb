// SPDX-License-Identifier: MIT
/*
 * hmm.c - what page tables say, for a device that mirrors them.
 *
 * 1. A walk reads a table under its ptl, until an entry is not what is asked for. That one is faulted in without
 *    the ptl, and the walk goes on at it. Nothing is referenced: the notifier's sequence says whether what was read
 *    is still so. What has to be waited for is waited for without mmap_lock (fault_wait.c); then the area is looked up again, and
 *    the sequence says whether it is worth going on.
 *
 * 2. A device's writes set no dirty bit in the CPU's entry. So "may write" is reported of entries that are dirty already, and to
 *    ask for it is to fault for a write.
 *
 * 3. Runs are joined at the end, over the elements: what is contiguous there can be one entry of the device's, whether it
 *    is one of the CPU's or not.
 */
#include <octavo/errno.h>
#include <octavo/hmm.h>
#include <octavo/mm.h>
#include <octavo/pgtable.h>
#include <octavo/rmap.h>
#include <octavo/state.h>

#include "../space/fault.h"

struct hmm_walk {
	struct hmm_range *range;
	struct mm_struct *mm;
	struct vm_area_struct *vma; /* NULL: nothing is mapped at the address */
	struct fault_wait wait;
};

/* ---- one entry ---- */

static unsigned long *element(const struct hmm_walk *w, unsigned long addr)
{
	return &w->range->hmm_pfns[(addr - w->range->start) >> PAGE_SHIFT];
}

static unsigned long asked_for(const struct hmm_walk *w, unsigned long in)
{
	unsigned long req = w->range->default_flags | (in & w->range->pfn_flags_mask);

	/* to write is to have it, too */
	return req & HMM_PFN_REQ_WRITE ? req | HMM_PFN_REQ_FAULT : req;
}

static unsigned long present_element(pte_t e, unsigned long addr, unsigned int level)
{
	unsigned long pfn = pte_pfn(e) + ((addr & (level_size(level) - 1)) >> PAGE_SHIFT);
	unsigned long flags = HMM_PFN_VALID;

	if (pte_protnone(e))
		return 0;
	/* frames that have no word, and device registers */
	if (pte_special(e) && !pte_is_zero_page(e))
		return HMM_PFN_ERROR;
	if (pte_write(e) && pte_dirty(e))
		flags |= HMM_PFN_WRITE;
	return pfn << HMM_PFN_SHIFT | flags;
}

static unsigned long private_element(const struct hmm_walk *w, pte_t e, unsigned long addr,
				     unsigned int level)
{
	swp_entry_t entry = pte_to_swp_entry(e);
	unsigned long idx = swp_entry_pfn(entry) + ((addr & (level_size(level) - 1)) >> PAGE_SHIFT);
	struct page *page = place_page(idx | FOLIO_DEVICE_PRIVATE);
	const struct dev_pagemap *pgmap = folio_pgmap(page_folio(page));
	unsigned long flags = HMM_PFN_VALID | HMM_PFN_PRIVATE;

	if (!pgmap || pgmap->owner != w->range->owner)
		return 0;
	/* such an entry cannot say that nobody has access: the area does */
	if (!(READ_ONCE(w->vma->vm_flags) & VM_ACCESS_FLAGS))
		return 0;
	if (swp_type(entry) == SWP_DEVICE_PRIVATE_WRITE)
		flags |= HMM_PFN_WRITE;
	return idx << HMM_PFN_SHIFT | flags;
}

/* What an entry is to a device: 0: nothing, as yet. Context: the ptl. */
static unsigned long entry_element(const struct hmm_walk *w, pte_t e, unsigned long addr,
				   unsigned int level)
{
	swp_entry_t entry;

	if (pte_present(e))
		return present_element(e, addr, level);
	if (pte_none(e))
		return 0;
	entry = pte_to_swp_entry(e);
	if (is_device_private_entry(entry))
		return private_element(w, e, addr, level);
	if (is_hwpoison_entry(entry) ||
	    (is_pte_marker(entry) && swp_offset(entry) & (PTE_MARKER_POISONED | PTE_MARKER_GUARD)))
		return HMM_PFN_ERROR;
	return 0;
}

/* Is @out all that is asked for by @req? */
static bool satisfied(unsigned long out, unsigned long req)
{
	if (req & HMM_PFN_REQ_WRITE)
		return out & HMM_PFN_WRITE;
	return !(req & HMM_PFN_REQ_FAULT) || out & HMM_PFN_VALID;
}

/* ---- tables ---- */

/* Entries of one table, as far as they are as wanted. Return: where that ends. */
static unsigned long read_table(const struct hmm_walk *w, unsigned long addr, unsigned long end,
				struct pt_pos *pos)
{
	end = level_addr_end(addr, end, PGTABLE_LEVEL_PMD);
	for (; addr < end; addr += PAGE_SIZE, pos->ptep++) {
		unsigned long *el = element(w, addr), req = asked_for(w, *el);
		unsigned long out = entry_element(w, ptep_get(pos->ptep), addr, PGTABLE_LEVEL_PTE);

		if (!satisfied(out, req))
			break;
		*el = out;
	}
	pte_unlock(pos);
	return addr;
}

/* The same of one entry above the last level, or of none at any. */
static unsigned long read_above(const struct hmm_walk *w, unsigned long addr, unsigned long end,
				struct pt_pos *pos)
{
	end = level_addr_end(addr, end, pos->level);
	if (!pte_none(pos->pte)) {
		if (!pte_offset_lock(w->mm, addr, pos->level, pos))
			return addr;
		/* a table by now: the walk finds it */
		if (pte_table(pos->pte, pos->level)) {
			pte_unlock(pos);
			return addr;
		}
	}
	for (unsigned long at = addr; at < end; at += PAGE_SIZE) {
		unsigned long *el = element(w, at), req = asked_for(w, *el);
		unsigned long out =
			pte_none(pos->pte) ? 0 : entry_element(w, pos->pte, at, pos->level);

		if (!satisfied(out, req)) {
			end = at;
			break;
		}
		*el = out;
	}
	if (!pte_none(pos->pte))
		pte_unlock(pos);
	return end;
}

static unsigned long read_some(const struct hmm_walk *w, unsigned long addr, unsigned long end)
{
	struct pt_pos pos;

	if (pte_offset_lock(w->mm, addr, PGTABLE_LEVEL_PTE, &pos))
		return read_table(w, addr, end, &pos);
	return read_above(w, addr, end, &pos);
}

/* ---- areas ---- */

static int fault_errno(vm_fault_t ret)
{
	if (ret & VM_FAULT_OOM)
		return -ENOMEM;
	if (ret & VM_FAULT_HWPOISON)
		return -EHWPOISON;
	return ret & VM_FAULT_ERROR ? -EFAULT : 0;
}

/* Return: 1: mmap_lock was given up; -errno. */
static int wait_unlocked(struct hmm_walk *w)
{
	vm_fault_t ret;

	mmap_read_unlock(w->mm);
	ret = fault_wait(&w->wait);
	mmap_read_lock(w->mm);
	if (ret)
		return -ENOMEM;
	return mmu_interval_read_retry(w->range->notifier, w->range->notifier_seq) ? -EBUSY : 1;
}

/* What the page at @addr lacks. Return: 0; 1: mmap_lock was given up meanwhile; -errno. */
static int fault_in(struct hmm_walk *w, unsigned long addr)
{
	unsigned long req = asked_for(w, *element(w, addr));
	vm_flags_t vm_flags = READ_ONCE(w->vma->vm_flags);
	u32 flags = FAULT_FLAG_REMOTE;
	vm_fault_t ret;

	if (!(req & HMM_PFN_REQ_FAULT))
		return 0;
	if (vm_flags & (VM_IO | VM_PFNMAP))
		return -EFAULT;
	if (!(vm_flags & VM_ACCESS_FLAGS) || (req & HMM_PFN_REQ_WRITE && !(vm_flags & VM_WRITE)))
		return -EPERM;
	if (req & HMM_PFN_REQ_WRITE)
		flags |= FAULT_FLAG_WRITE;
	ret = handle_mm_fault_wait(w->vma, addr, flags, &w->wait);
	return fault_waits(&w->wait) ? wait_unlocked(w) : fault_errno(ret);
}

/* From *@addr on, which becomes where it ended. Return: as fault_in(). */
static int read_area(struct hmm_walk *w, unsigned long *addr, unsigned long end)
{
	int err = 0;

	while (*addr < end && !err) {
		unsigned long next = read_some(w, *addr, end);

		if (mmu_interval_read_retry(w->range->notifier, w->range->notifier_seq))
			return -EBUSY;
		if (next == *addr)
			err = fault_in(w, *addr);
		*addr = next;
	}
	return err;
}

/* Nothing is mapped there. */
static int read_gap(const struct hmm_walk *w, unsigned long addr, unsigned long end)
{
	for (; addr < end; addr += PAGE_SIZE) {
		unsigned long *el = element(w, addr);

		if (asked_for(w, *el) & HMM_PFN_REQ_FAULT)
			return -EFAULT;
		*el = HMM_PFN_ERROR;
	}
	return 0;
}

/* ---- runs ---- */

/* Is the run of 1 << @order elements at @i one, given that both of its halves are? */
static bool halves_join(const unsigned long *el, unsigned long i, unsigned int order)
{
	unsigned long half = 1ul << (order - 1), a = el[i], b = el[i + half];

	return a & HMM_PFN_VALID && hmm_pfn_order(a) == order - 1 &&
	       hmm_pfn_order(b) == order - 1 && b == a + (half << HMM_PFN_SHIFT) &&
	       IS_ALIGNED(hmm_pfn_value(a), half * 2);
}

/* Join halves, smallest first, as long as any joins. Only first elements of runs say what they are until the end. */
static void find_runs(const struct hmm_range *range)
{
	unsigned long base = range->start >> PAGE_SHIFT, nr = (range->end >> PAGE_SHIFT) - base;
	bool any = true;

	for (unsigned int order = 1; any && order <= MAX_FOLIO_ORDER; order++) {
		unsigned long size = 1ul << order;

		any = false;
		for (unsigned long i = (size - base % size) % size; i + size <= nr; i += size) {
			if (!halves_join(range->hmm_pfns, i, order))
				continue;
			any = true;
			for (unsigned long k = i; k < i + size; k++)
				range->hmm_pfns[k] = (range->hmm_pfns[k] & ~HMM_PFN_ORDER_MASK) |
						     (unsigned long)order << HMM_PFN_ORDER_SHIFT;
		}
	}
}

/* All of it is the notifier's, or nobody would say when what is read is not so any more. */
static bool range_is_valid(const struct hmm_range *range)
{
	const struct mmu_interval_notifier *mni = range->notifier;

	return mni && range->start < range->end && range->end <= TASK_SIZE_MAX &&
	       IS_ALIGNED(range->start | range->end, PAGE_SIZE) &&
	       range->start >= mni->node.start && range->end - 1 <= mni->node.last;
}

int hmm_range_fault(struct hmm_range *range)
{
	struct hmm_walk w = { .range = range };
	unsigned long addr = range->start, end;
	int err = 0;

	fault_wait_init(&w.wait);
	if (!range_is_valid(range))
		return -EINVAL;
	w.mm = range->notifier->mm;
	VM_BUG_ON(!rwsem_is_locked(&w.mm->mmap_lock));
	while (addr < range->end && err >= 0) {
		w.vma = find_vma_intersection(w.mm, addr, range->end);
		if (w.vma && w.vma->vm_start <= addr) {
			err = read_area(&w, &addr, min(w.vma->vm_end, range->end));
		} else {
			end = w.vma ? w.vma->vm_start : range->end;
			err = read_gap(&w, addr, end);
			addr = end;
		}
	}
	if (err < 0)
		return err;
	find_runs(range);
	return 0;
}
