/* SPDX-License-Identifier: MIT */
/*
 * mmzone.h - sections, zones, nodes: where a frame is. The answer comes from the section of its pfn,
 * whatever the frame's word says.
 */
#ifndef OCTAVO_MMZONE_H
#define OCTAVO_MMZONE_H

#include <octavo/gfp.h>

/* A section is a tree of the frame allocator: 16 MiB. */
#define SECTION_ORDER	  OCTAVO_TREE_ORDER
#define PAGES_PER_SECTION (1UL << SECTION_ORDER)
#define SECTION_SIZE	  (PAGE_SIZE << SECTION_ORDER)

enum zone_type {
	ZONE_DMA,
	ZONE_DMA32,
	ZONE_NORMAL,
	ZONE_MOVABLE,
	ZONE_DEVICE,
	NR_ZONES,
};

/*
 * One entry a section; SECTION_PRESENT clear: no memory. Written under the hot-plug lock, release, after the
 * section's allocator state; read anywhere with acquire.
 */
typedef u16 section_t;
#define SECTION_PRESENT 0x8000u
#define SECTION_REMOVED \
	0x4000u /* was present: its blocks are still isolated, to keep late-comers out */
#define SECTION_TAKEN \
	0x2000u /* absent, and its frames are taken in the allocator's books: was device memory */
#define SECTION_ZONE_SHIFT 0
#define SECTION_ZONE_MASK  0x0007u
#define SECTION_NODE_SHIFT 3
#define SECTION_NODE_MASK  0x01f8u

enum zone_watermark { WMARK_MIN, WMARK_LOW, WMARK_HIGH, NR_WMARK };

struct zone_stat {
	u64 present; /* frames with memory behind them */
	u64 managed; /* of those, the allocator's */
	u64 free;    /* of those, free now, magazines included: exact when quiet */
	u64 watermark[NR_WMARK];
	u64 free_blocks; /* wholly free 2 MiB blocks */
	u64 isolated;	 /* free frames that isolation keeps from being handed out */
};

/**
 * zone_stat() - a zone's numbers
 * @node: node
 * @zone: zone
 * @st: filled
 *
 * Scans the zone's counters (32 bytes a 16 MiB): not for hot paths. Return: 0; -EINVAL no such zone.
 */
int zone_stat(u32 node, enum zone_type zone, struct zone_stat *st);

/**
 * zone_above() - how much is free beyond a watermark?
 * @node: node
 * @zone: zone
 * @mark: which
 *
 * A look at counters, a few frames wrong while others allocate. Return: frames, negative: missing; 0 if there is no such zone.
 */
s64 zone_above(u32 node, enum zone_type zone, enum zone_watermark mark);

/* Sums over all zones. */
u64 nr_free_pages(void);
u64 totalram_pages(void);

/* "DMA", "Normal", ... */
const char *zone_name(enum zone_type zone);

#endif /* OCTAVO_MMZONE_H */
