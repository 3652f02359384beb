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
	/* The last reference of a folio that is charged to a group is gone. Any context. */
	void (*uncharge)(struct folio *folio);
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
};

struct upcalls_state {
	const struct reclaim_upcalls *reclaim;
	const struct device_upcalls *device;
};

#endif /* OCTAVO_UPCALLS_H */
