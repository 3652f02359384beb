/* SPDX-License-Identifier: MIT */
/*
 * upcalls.h - what a lower layer of the core asks of an upper one that an embedder may do without: const tables, which a
 * layer registers in octavo_state.upcalls when it comes up: release; loaded with acquire. NULL: it is not there.
 */
#ifndef OCTAVO_UPCALLS_H
#define OCTAVO_UPCALLS_H

#include <octavo/gfp.h>
#include <octavo/types.h>

struct folio;
struct mm_struct;
struct page;
struct vm_area_struct;
struct vm_fault;

struct reclaim_upcalls {
	/* As the hook of this name, which is asked if there is no table. */
	u64 (*direct_reclaim)(gfp_t gfp, unsigned int order, int nid);
	void (*wake_reclaim)(u32 node, u32 zone);
	/* MADV_PAGEOUT. Context: mmap_lock for reading. Return: 0. */
	int (*pageout)(struct vm_area_struct *vma, unsigned long start, unsigned long end);
	/* A folio comes back from slots that remember (swap_shadow()) what it was. Not 0. */
	void (*refault)(struct folio *folio, u64 shadow);
	/*
	 * Groups. A folio for an address space that is in one, for a set (a slot's that is read back), or to take the place
	 * of another; charged. Anonymous. NULL: no memory, or the group may not have more (not with @like: that one goes).
	 */
	struct folio *(*folio_alloc)(struct mm_struct *mm, gfp_t gfp, unsigned int order);
	struct folio *(*folio_alloc_set)(u32 set, gfp_t gfp, unsigned int order);
	struct folio *(*folio_alloc_like)(const struct folio *folio, gfp_t gfp, unsigned int order,
					  int nid);
	/*
	 * A folio of a device's, locked and mapped nowhere, takes the place of another that is charged: goes always. Or is
	 * for an address space that is in a group. Return: 0; -ENOMEM. Until it is freed; then uncharge().
	 */
	void (*folio_charge_like)(struct folio *folio, const struct folio *like);
	int (*folio_charge)(struct folio *folio, struct mm_struct *mm, gfp_t gfp);
	/* @nr pages of a folio of a set are gone, its descriptor too. Any context. */
	void (*uncharge)(u32 set, u64 nr);
	/* A folio is about to get slots: 0, -ENOMEM. Slots of a set are free. Any context. */
	int (*swap_charge)(const struct folio *folio);
	void (*swap_uncharge)(u32 set, u64 nr);
	/* Who is in a group has children there. An address space is gone. */
	void (*mm_fork)(struct mm_struct *child, const struct mm_struct *parent);
	void (*mm_free)(struct mm_struct *mm);
};

struct device_upcalls {
	/* The last reference of a folio with PG_zone_device is gone: all of what __folio_put() would do. Any context. */
	void (*folio_free)(struct folio *folio);
	/* The same of a plain page of subtype Device. */
	void (*page_free)(struct page *page, unsigned int order);
	/* A CPU touched memory that only a device can. @vmf->page: the page, a reference and the folio's lock held. Return: VM_FAULT_... */
	u32 (*migrate_to_ram)(struct vm_fault *vmf);
	/* A folio with PG_zone_device was split: @new is a piece, NULL: the split is over. No sleep. */
	void (*folio_split)(struct folio *original, struct folio *new);
	/* A frame of a device is bad, and in the set. May sleep. Return: the device has dealt with it. */
	bool (*memory_failure)(unsigned long pfn);
};

struct upcalls_state {
	const struct reclaim_upcalls *reclaim;
	const struct device_upcalls *device;
};

#endif /* OCTAVO_UPCALLS_H */
