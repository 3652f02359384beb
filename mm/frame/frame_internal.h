/* SPDX-License-Identifier: MIT */
/*
 * frame_internal.h - between the memory map, which knows where frames are, and the frame allocator, which
 * knows which of them are free. Nothing outside mm/frame/ includes it.
 */
#ifndef OCTAVO_MM_FRAME_INTERNAL_H
#define OCTAVO_MM_FRAME_INTERNAL_H

#include <octavo/state.h>

/* Bytes of one CPU's area, a multiple of a cache line. frame_state.cpu is nr_cpus of them, zeroed. */
u64 frame_cpu_size(void);

/**
 * frame_alloc_init() - the allocator's own part of bringing the machine up
 *
 * Per-CPU areas, watermarks of every zone. After zones with their spans and managed counts, sections,
 * zeroed trees and bits; before anybody allocates.
 */
void frame_alloc_init(void);

/**
 * frame_mark_used() - frames that the allocator must not hand out: reserved, absent, carved
 * @pfn: any frame of a present section
 * @nr: any number, across sections too
 *
 * Writes bits, block and tree counters so that all sums agree; whole blocks and trees cost one word each
 * and leave the bits untouched. Zone counters are the caller's (zone_account_free()). Fatal if one of the
 * frames is taken already.
 *
 * Context: nobody else touches these frames: boot, or a section that is not in a zone's span yet.
 */
void frame_mark_used(unsigned long pfn, unsigned long nr);

/* The inverse: from here on they may be allocated by anybody, if a zone's span covers them. */
void frame_mark_free(unsigned long pfn, unsigned long nr);

/* Drain every CPU, then count frames that are managed and not free, less those kept out as poisoned. */
u64 frame_drain_exit(void);

/* zone->watermark[] from zone->managed. Under hotplug_lock, or at boot. */
void zone_calc_watermarks(struct zone *zone);

/* @delta frames more are free in a zone than were; any context. */
void zone_account_free(struct zone *zone, long delta);

#endif /* OCTAVO_MM_FRAME_INTERNAL_H */
