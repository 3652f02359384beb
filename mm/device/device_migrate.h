/* SPDX-License-Identifier: MIT */
/*
 * device_migrate.h - what the files that migrate to and from devices tell each other.
 *
 *	migrate_collect.c    page tables of a range -> elements, folios locked
 *	migrate_vma.c        from there to unmapped folios, and back; the calls with a VMA
 *	migrate_vma_pages.c  the exchange
 *	migrate_device.c     the same for folios that a device knows by itself
 *
 * Life of an element with a page: collected (a reference, the lock) -> unmapped (MIGRATE; a reference of
 * folio->mapping, the anon_vma, which keeps it for the way back) -> exchanged, or not -> entries are back, all is
 * given up. Whatever fails on the way leaves the element 0 and the folio as it was.
 */
#ifndef MM_DEVICE_DEVICE_MIGRATE_H
#define MM_DEVICE_DEVICE_MIGRATE_H

#include <octavo/memremap.h>
#include <octavo/migrate.h>
#include <octavo/mm.h>
#include <octavo/rmap.h>

/* Arrays of elements, and whose they are. */
struct migration {
	unsigned long *src, *dst;
	unsigned long nr;
	struct page *fault_page;    /* its folio's lock and a reference are the caller's; or NULL */
	void *owner;		    /* what mirrors are told */
	struct vm_area_struct *vma; /* NULL: eviction */
	unsigned long start;	    /* address of the first element in @vma */
};

#define MIGRATE_PFN_FLAGS \
	(MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE | MIGRATE_PFN_WRITE | MIGRATE_PFN_COMPOUND)

/* Is there a page, that is to be migrated still? */
static inline bool mpfn_moves(unsigned long mpfn)
{
	return (mpfn & (MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE)) ==
	       (MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE);
}

/* The element of a folio. */
static inline unsigned long mpfn_of_folio(const struct folio *folio, unsigned long flags)
{
	if (folio_test_large(folio))
		flags |= MIGRATE_PFN_COMPOUND;
	return folio_place(folio) << MIGRATE_PFN_SHIFT | MIGRATE_PFN_VALID | flags;
}

/* A hole of 1 << @order pages. */
static inline unsigned long mpfn_of_hole(unsigned int order)
{
	return MIGRATE_PFN_MIGRATE | (order ? MIGRATE_PFN_COMPOUND : 0) |
	       (unsigned long)order << MIGRATE_PFN_SHIFT;
}

/* NULL: no page. Context: the element has a reference. */
static inline struct folio *mpfn_folio(unsigned long mpfn)
{
	struct page *page = migrate_pfn_to_page(mpfn);

	return page ? page_folio(page) : NULL;
}

static inline bool is_fault_folio(const struct page *fault_page, const struct folio *folio)
{
	return fault_page && page_folio(fault_page) == folio;
}

/* ---- migrate_collect.c ---- */

/* Fills args->src and cpages with what is selected: locked, referenced, mapped still. Context: mmap_lock; sleeps. */
void migrate_collect(struct migrate_vma *args);

/* ---- migrate_vma.c ---- */

/* Give up a folio: the lock and the reference, but for the fault page's folio. */
void migrate_drop(const struct migration *m, struct folio *folio);
/*
 * Collected folios are unmapped; those that cannot be are given up, and their elements are 0. Context: sleeps. Return:
 * elements that can be migrated.
 */
unsigned long migrate_unmap(struct migration *m);
/* Entries come back, for what was exchanged or for what was there; all is given up. Context: sleeps. */
void migrate_finish(struct migration *m);

/* ---- migrate_vma_pages.c ---- */

void migrate_exchange(struct migration *m);

#endif /* MM_DEVICE_DEVICE_MIGRATE_H */
