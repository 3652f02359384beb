/* SPDX-License-Identifier: MIT */
/*
 * hmm.h - a device's page tables that mirror an address space.
 *
 * The device's own table says what it may access without asking. It is filled from the CPU's by hmm_range_fault(), and
 * whoever changes the CPU's tells the mirror by its interval notifier, before it does. What was read is used only if no
 * change has been told of since the read began:
 *
 *	do {
 *		range.notifier_seq = mmu_interval_read_begin(range.notifier);
 *		mmap_read_lock(mm);
 *		err = hmm_range_fault(&range);
 *		mmap_read_unlock(mm);
 *		if (err && err != -EBUSY)
 *			return err;
 *		take the mirror's lock
 *		again = err || mmu_interval_read_retry(range.notifier, range.notifier_seq);
 *		if (!again)
 *			fill the device's table from range.hmm_pfns
 *		release it
 *	} while (again);
 *
 * The notifier's invalidate callback takes the mirror's lock, calls mmu_interval_set_seq(), and empties the device's
 * table of the range, waiting for accesses that use it. No reference is held on what is mirrored: that is why
 * it can be unmapped, moved and freed without asking the device for more than that.
 */
#ifndef OCTAVO_HMM_H
#define OCTAVO_HMM_H

#include <octavo/memremap.h>
#include <octavo/mmu_notifier.h>

/* Elements, out: below the pfn or index. */
#define HMM_PFN_VALID	(1ul << 0) /* there is something the device may read */
#define HMM_PFN_WRITE	(1ul << 1) /* and write: the CPU's entry is writable and dirty */
#define HMM_PFN_ERROR	(1ul << 2) /* no device may have it, whatever is asked for */
#define HMM_PFN_PRIVATE (1ul << 3) /* of the owner's own private memory: an index, not a pfn */
/* Elements in: what the device needs. Without them only what is there is reported. */
#define HMM_PFN_REQ_FAULT (1ul << 0)
#define HMM_PFN_REQ_WRITE (1ul << 1)

#define HMM_PFN_ORDER_SHIFT 4
#define HMM_PFN_ORDER_MASK  (0x3ful << HMM_PFN_ORDER_SHIFT)
#define HMM_PFN_SHIFT	    10

/**
 * struct hmm_range - what of an address space a device wants to see
 * @notifier: of a range that has [start, end)
 * @notifier_seq: from mmu_interval_read_begin()
 * @start: page aligned
 * @end: page aligned
 * @hmm_pfns: one for each page; in (masked) and out
 * @default_flags: HMM_PFN_REQ_..., for all pages
 * @pfn_flags_mask: which of an element's own HMM_PFN_REQ_... count besides; 0: none
 * @owner: whose private memory is reported as it is; that of others is brought back to the system if it is asked for
 */
struct hmm_range {
	struct mmu_interval_notifier *notifier;
	unsigned long notifier_seq;
	unsigned long start, end;
	unsigned long *hmm_pfns;
	unsigned long default_flags;
	unsigned long pfn_flags_mask;
	void *owner;
};

/**
 * hmm_range_fault() - what an address space has in a range, for a device
 *
 * Pages that are asked for and not there are faulted in, as if a CPU had accessed them. The order in an element is that of the
 * naturally aligned run of pages around it, in address, place and range, which one entry of the device's may map.
 *
 * Context: mmap_lock held for reading; sleeps. Where a swap device or a folio has to be waited for, mmap_lock is given up meanwhile and
 * taken again: what the caller knew of areas does not count any more. Return: 0: all that was asked for is there; -EBUSY: told of a change
 * since notifier_seq: begin again; -EINVAL the range, or it is not all the notifier's; -EPERM: not permitted; -EFAULT nothing is mapped, or it cannot be had;
 * -ENOMEM; -EHWPOISON. On failure the elements mean nothing.
 */
int hmm_range_fault(struct hmm_range *range);

/* The page of an element with HMM_PFN_VALID. Context: as the element itself: valid while nothing was told of. */
static inline unsigned long hmm_pfn_value(unsigned long hmm_pfn)
{
	return hmm_pfn >> HMM_PFN_SHIFT;
}

static inline unsigned int hmm_pfn_order(unsigned long hmm_pfn)
{
	return (unsigned int)((hmm_pfn & HMM_PFN_ORDER_MASK) >> HMM_PFN_ORDER_SHIFT);
}

/**
 * make_device_exclusive() - a page for a device alone: atomic operations that CPUs take no part in
 * @mm: address space
 * @addr: page aligned
 * @owner: named to mirrors (MMU_NOTIFY_EXCLUSIVE)
 * @foliop: the folio, locked, with a reference
 *
 * The CPU's entry becomes one that says so. The device fills its own table while it has the lock, and then gives up lock and
 * reference. A CPU that accesses the page waits for the lock, tells mirrors (MMU_NOTIFY_EXCLUSIVE, no owner), and has
 * its entry back. So does whoever moves the page, splits its folio or swaps it out, who tells mirrors what he does
 * (MMU_NOTIFY_CLEAR, or MMU_NOTIFY_MIGRATE, also of @owner's): the device then has it no more.
 *
 * Context: mmap_lock held for reading; sleeps; given up and taken again as by hmm_range_fault(). Return: the page; NULL and @err: -EFAULT not such memory, or not
 * writable; -ENOMEM; -EBUSY pinned, locked, or changing: try again.
 */
struct page *make_device_exclusive(struct mm_struct *mm, unsigned long addr, void *owner,
				   struct folio **foliop, int *err);

#endif /* OCTAVO_HMM_H */
