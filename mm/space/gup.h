/* SPDX-License-Identifier: MIT */
/*
 * gup.h - gup_fast.c and gup.c, for each other.
 */
#ifndef MM_SPACE_GUP_H
#define MM_SPACE_GUP_H

#include <octavo/gup.h>

#include "space.h"

/* Read what a CPU could read: also what may only be written to or executed. */
#define FOLL_CPU 0x100000u

/* Pages are asked for by address and answered in an array. */
struct gup {
	struct mm_struct *mm;
	unsigned long addr, end; /* page aligned; addr moves on */
	u32 flags;
	struct page **pages; /* where the page at addr goes; moves on; NULL: nobody wants them */
	struct fault_wait *wait; /* NULL: mmap_lock is the caller's, and kept */
};

/**
 * gup_fast() - take what can be taken without a lock, from the first page on
 *
 * Context: any but non-maskable interrupts; never sleeps. Return: pages taken; @g has moved on by so many.
 */
unsigned long gup_fast(struct gup *g);

/* get_user_pages_fast() with FOLL_GET, pin_user_pages_fast() with FOLL_PIN; FOLL_CPU as well. */
long gup_pages(struct mm_struct *mm, unsigned long start, unsigned long nr, u32 flags,
	       struct page **pages);

/* get_user_pages() that gives mmap_lock up for what has to be waited for, and has it again when it returns. @wait: of one call. */
long get_user_pages_wait(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
			 u32 gup_flags, struct page **pages, struct fault_wait *wait);

/* The pages of a run, into the array. */
static inline void gup_answer(struct gup *g, unsigned long pfn, unsigned long nr)
{
	struct page *page = pfn_to_page(pfn);
	struct page **pages = g->pages;

	unsigned long i = 0;

	/* four a step: all that a run in a large folio costs for each page */
	for (; i + 4 <= nr; i += 4) {
		pages[i] = page + i;
		pages[i + 1] = page + i + 1;
		pages[i + 2] = page + i + 2;
		pages[i + 3] = page + i + 3;
	}
	for (; i < nr; i++)
		pages[i] = page + i;
	g->pages = pages + nr;
	g->addr += nr << PAGE_SHIFT;
}

/* Memory that a long-term pin must not hold in place. */
static inline bool gup_longterm_ok(unsigned long pfn)
{
	return pfn_zone(pfn) < ZONE_MOVABLE;
}

/* Pages from pages[0] on that follow each other in one folio; *@folio NULL: one page of none. */
unsigned long gup_same_folio(struct page **pages, unsigned long nr, struct folio **folio);

/* What one pin or reference of each of @nr pages is given back by. */
static inline void gup_put_folio(struct folio *folio, unsigned long nr, u32 flags)
{
	if (flags & FOLL_PIN)
		folio_unpin(folio, (u32)nr);
	else
		folio_put_refs(folio, (u32)nr);
}

#endif /* MM_SPACE_GUP_H */
