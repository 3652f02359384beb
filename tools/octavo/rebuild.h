/* SPDX-License-Identifier: MIT */
/*
 * rebuild.h - a population made again out of Octavo's allocators, on hollow memory, and weighed.
 */
#ifndef OCTAVO_TOOL_REBUILD_H
#define OCTAVO_TOOL_REBUILD_H

#include "machine.h"

/* struct page of today's kernel: 64 bytes on all 64-bit machines. */
#define LINUX_STRUCT_PAGE 64

/* Orders that "what if every folio had it" is answered for. */
enum { WHAT_IF_ORDERS = 4 };

struct footprint {
	u64 frames; /* that exist */
	u64 linux_sections, linux_memmap;
	/* Bytes of Octavo's. */
	u64 words;			 /* of all sections that have a frame */
	u64 bitmaps;			 /* frame allocator: a bit a frame, and counters */
	u64 fixed;			 /* zones, per-CPU areas, the reserve for poisoned frames */
	u64 descriptors;		 /* frames behind all slab caches */
	u64 by_type[POP_NR];		 /* descriptors of each type */
	u64 by_order[POP_MAX_ORDER + 1]; /* descriptors of folios */
	u64 caches;			 /* of descriptors: what no type is charged for */
	u64 folio_frames;		 /* frames in folios */
	struct {
		unsigned int order;
		double bytes_a_page; /* measured: descriptors of a sample of folios of this order */
		u64 total;	     /* what the machine would need, everything together */
	} what_if[WHAT_IF_ORDERS];
	u64 resident; /* of words, bitmaps and counters: bytes that have been touched */
};

static inline u64 footprint_total(const struct footprint *fp)
{
	return fp->words + fp->bitmaps + fp->fixed + fp->descriptors;
}

/* Negative when it costs more than today. */
static inline s64 footprint_saved(const struct footprint *fp)
{
	return (s64)(fp->linux_memmap - footprint_total(fp));
}

/**
 * rebuild_measure() - build the machine and weigh it
 * @exact: every allocation at the very frames that the population has it at; else only as many of each
 *
 * Return: 0, or -errno with a message printed.
 */
int rebuild_measure(const struct population *pop, bool exact, struct footprint *fp);

#endif /* OCTAVO_TOOL_REBUILD_H */
