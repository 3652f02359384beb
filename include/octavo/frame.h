/* SPDX-License-Identifier: MIT */
/*
 * frame.h - the frame allocator: bare frames, whose words are FREE and stay so.
 *
 * Everything with a descriptor is built on these: take frames, write words. Orders 0 to MAX_FOLIO_ORDER, runs
 * naturally aligned. Lock-free: a CPU that stops anywhere inside stops nobody else. docs/frames.md
 * has the design, after L. Wrenger et al., "LLFree: Scalable and Optionally-Persistent Page-Frame
 * Allocation", USENIX ATC 2023.
 */
#ifndef OCTAVO_FRAME_H
#define OCTAVO_FRAME_H

#include <octavo/gfp.h>
#include <octavo/mmzone.h>

/**
 * frame_alloc() - a run of 2^@order frames
 * @gfp: zone, grouping, effort; __GFP_ZERO is the caller's business
 * @order: 0 to MAX_FOLIO_ORDER
 * @nid: preferred node, NUMA_NO_NODE for the CPU's
 *
 * Context: any; sleeps only with __GFP_DIRECT_RECLAIM and a reclaim hook.
 * Return: the first pfn, or -ENOMEM; -EINVAL for an impossible order.
 */
long frame_alloc(gfp_t gfp, unsigned int order, int nid);

/**
 * frame_free() - give a run back
 * @pfn: as returned by frame_alloc(), or any naturally aligned part of a larger run
 * @order: its order
 *
 * All its words must be FREE already. Poisoned frames are kept out and their words become HWPOISON.
 * Freeing what is free is fatal. Context: any; never sleeps, never allocates.
 */
void frame_free(unsigned long pfn, unsigned int order);

/* Fewer runs than that are worth no tree's counters of their own: this CPU's magazine is faster. */
#define FRAME_BULK (OCTAVO_MAGAZINE >= 16 ? OCTAVO_MAGAZINE / 8u : 2u)

/**
 * frame_alloc_bulk() - @n runs at once
 * @pfns: filled from the start
 *
 * Return: how many there are, 0 to @n; not a failure if fewer.
 */
unsigned long frame_alloc_bulk(gfp_t gfp, unsigned int order, int nid, unsigned long n,
			       unsigned long *pfns);
void frame_free_bulk(unsigned int order, unsigned long n, const unsigned long *pfns);

/* Flags of frame_alloc_at(). */
#define FRAME_AT_ISOLATED 1u /* may take frames that are isolated, and only the caller knows why */
#define FRAME_AT_POISONED 2u /* may take poisoned frames: for memory_failure() alone */

/**
 * frame_alloc_at() - these very frames
 * @pfn: first, naturally aligned
 * @order: 0 to MAX_FOLIO_ORDER
 * @flags: FRAME_AT_...
 *
 * Looks into every CPU's magazines before it gives up.
 *
 * Return: 0; -EBUSY some are taken; -EINVAL misaligned; -ENXIO not valid. On failure none is taken.
 */
int frame_alloc_at(unsigned long pfn, unsigned int order, unsigned int flags);

/**
 * frame_isolate() - stop handing out the free frames of a range
 * @pfn: first, block aligned (2 MiB)
 * @nr: frames, multiple of a block
 *
 * Frames freed there later stay there. Drains magazines. Nests not: -EBUSY if any block is isolated
 * already, -EINVAL, -ENXIO; then nothing has changed.
 */
int frame_isolate(unsigned long pfn, unsigned long nr);
void frame_unisolate(unsigned long pfn, unsigned long nr);

/* Frames of the range that are not free; 0: all are. Exact while isolated and drained. */
unsigned long frame_range_used(unsigned long pfn, unsigned long nr);

/**
 * alloc_contig_range() - take an arbitrary run of free frames
 * @start: first pfn
 * @end: one past the last
 *
 * What is in use is not moved (that is migration's job, above this layer). Freed with free_contig_range().
 *
 * Return: 0; -EBUSY; -EINVAL; -ENXIO. On failure none is taken.
 */
int alloc_contig_range(unsigned long start, unsigned long end);
void free_contig_range(unsigned long start, unsigned long nr);

/**
 * frame_add_device() - a range of a device's memory gets words, all DEVICE, and is in ZONE_DEVICE
 * @pfn: first, section aligned
 * @nr: a multiple of a section
 * @nid: node
 *
 * None of it is the allocator's, ever. Return: 0; -EINVAL; -EEXIST some of it has words; -E2BIG too many separate
 * ranges. On failure nothing has changed.
 */
int frame_add_device(unsigned long pfn, unsigned long nr, u32 nid);
/* All of it: exactly what was added. Words become FREE; nobody has any of it. */
void frame_remove_device(unsigned long pfn, unsigned long nr);

/* Give back what the magazines and reservations of one CPU, or of all, hold. */
void frame_drain(unsigned int cpu);
void frame_drain_all(void);

/* Is it free in the allocator's own books? A hint while anything else runs. */
bool frame_is_free(unsigned long pfn);

/**
 * frame_validate() - check every counter against what it counts, and words against bits
 *
 * Context: nothing else running in the core. Return: false if anything is wrong; each was logged.
 */
bool frame_validate(void);

/* Log zones, trees by fill, magazines. */
void frame_dump(void);

#endif /* OCTAVO_FRAME_H */
