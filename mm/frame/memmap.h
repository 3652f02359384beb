/* SPDX-License-Identifier: MIT */
/*
 * memmap.h - inside the frame layer: the memory map's own checks, and the set of poisoned frames.
 */
#ifndef MM_FRAME_MEMMAP_H
#define MM_FRAME_MEMMAP_H

#include <octavo/boot.h>
#include <octavo/state.h>

/*
 * Highest pfn + 1: descriptors have 40 bits for a place, the first of which says that it is no pfn, and section
 * numbers 32 (which is less only in the tiny geometries of tests).
 */
#define MAX_PFN_LIMIT (1ul << (SECTION_ORDER + 31 < 39 ? SECTION_ORDER + 31 : 39))

/* ---- regions.c: the firmware-style list as a function of position ---- */

/* A maximal run of usable frames of one node. */
struct region_run {
	unsigned long start, end; /* pfns; end is one past the last */
	u32 node;
};

/* 0; -EINVAL or -E2BIG, and the reason is logged. Touches nothing. */
int regions_check(const struct octavo_boot *boot);

/**
 * regions_next() - the first run that ends after @pfn
 * @boot: a list that regions_check() passed
 * @pfn: where to start; a run that it is inside of is cut to begin there
 * @run: filled
 *
 * Return: false if there is none.
 */
bool regions_next(const struct octavo_boot *boot, unsigned long pfn, struct region_run *run);

#define for_each_run(boot, run) for ((run)->end = 0; regions_next(boot, (run)->end, run);)

/* ---- memmap.c, hotplug.c ---- */

/* The limits of octavo_boot as section numbers; see struct frame_state. */
enum zone_type section_kernel_zone(unsigned long section);

/* The zone of @node and @type; made if it is not there. Under hotplug_lock, or at boot. */
struct zone *zone_get(u32 node, enum zone_type type);

/*
 * Spans, under hotplug_lock or at boot. zone_span_room() says whether adding, or cutting out, sections
 * needs an entry that is not there; after it said yes the other two cannot fail.
 */
bool zone_span_room(const struct zone *z, u32 first, u32 nr, bool add);
void zone_span_add(struct zone *z, u32 first, u32 nr);
void zone_span_cut(struct zone *z, u32 first, u32 nr);

/* ---- poison.c ---- */

u64 poison_size(void);
/* @table: poison_size() bytes that read as zero */
void poison_init(void *table);
bool poison_validate(void);

#endif /* MM_FRAME_MEMMAP_H */
