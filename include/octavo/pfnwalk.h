/* SPDX-License-Identifier: MIT */
/*
 * pfnwalk.h - reading every word of the memory map while everything runs beside.
 */
#ifndef OCTAVO_PFNWALK_H
#define OCTAVO_PFNWALK_H

#include <octavo/folio.h>

/* What one frame was at one moment. Which fields say something depends on type and exact. */
struct page_snapshot {
	unsigned long pfn;
	memdesc_t word;
	enum memdesc_type type;
	u8 order; /* of the allocation: plain pages always; folios, managed and movable if exact */
	bool exact; /* order and the fields below are all of this page's allocation, at one time */
	bool poisoned;		 /* in the set */
	unsigned long first_pfn; /* of the allocation; as order */
	u32 refcount; /* plain: from the first word; folio, managed: read under the reference, less ours */
	s32 mapcount; /* folios */
	u32 flags;    /* folios */
};

/**
 * snapshot_page() - what is a frame now?
 * @ps: filled
 * @pfn: any number
 *
 * Never lies: a field that it cannot vouch for is not given (exact is false). For slab and page-table pages a live
 * snapshot gives the type alone.
 *
 * Context: any; takes and drops a reference, so may free what it looked at.
 * Return: 0; -ENXIO no such frame.
 */
int snapshot_page(struct page_snapshot *ps, unsigned long pfn);

/**
 * pfn_walk() - call @fn for frames of a range
 * @start: first pfn
 * @end: one past the last
 * @fn: gets each valid frame's word; returns how many frames to go on by, at least 1; 0 stops
 * @arg: for @fn
 *
 * Steps over absent sections. Never skips a frame because of what a word says: that is @fn's choice.
 * Return: where it stopped.
 */
unsigned long pfn_walk(unsigned long start, unsigned long end,
		       unsigned long (*fn)(unsigned long pfn, memdesc_t md, void *arg), void *arg);

/* Frames by type over a range: reads words at memory bandwidth. */
void pfn_count_types(unsigned long start, unsigned long end, u64 counts[MEMDESC_NR_TYPES]);

#endif /* OCTAVO_PFNWALK_H */
