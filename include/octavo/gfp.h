/* SPDX-License-Identifier: MIT */
/*
 * gfp.h - how an allocation may be satisfied.
 */
#ifndef OCTAVO_GFP_H
#define OCTAVO_GFP_H

#include <octavo/compiler.h>

/* Where from: the highest zone that will do. None: ZONE_NORMAL. */
#define __GFP_DMA     0x0001u
#define __GFP_DMA32   0x0002u
#define __GFP_MOVABLE 0x0004u /* the owner can migrate it: ZONE_MOVABLE will do */
/* How it can be got back, for grouping. */
#define __GFP_RECLAIMABLE 0x0008u
/* How hard to try. */
#define __GFP_HIGH	     0x0010u /* may use half of what the min watermark keeps */
#define __GFP_MEMALLOC	     0x0020u /* may use all of it: frees more than it takes */
#define __GFP_DIRECT_RECLAIM 0x0040u /* may sleep and reclaim */
#define __GFP_KSWAPD_RECLAIM 0x0080u /* wakes background reclaim at the low watermark */
#define __GFP_NOFAIL	     0x0100u /* waits for ever; with __GFP_DIRECT_RECLAIM only */
#define __GFP_NORETRY	     0x0200u
#define __GFP_NOWARN	     0x0400u
/* What it is like. */
#define __GFP_ZERO     0x0800u
#define __GFP_THISNODE 0x1000u
/*
 * Accepted and without effect: plain multi-page allocations always are what Linux calls
 * compound, and their pages are split only by split_page().
 */
#define __GFP_COMP 0x0000u

#define __GFP_RECLAIM (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM)

#define GFP_ATOMIC	     (__GFP_HIGH | __GFP_KSWAPD_RECLAIM)
#define GFP_KERNEL	     (__GFP_RECLAIM)
#define GFP_NOWAIT	     (__GFP_KSWAPD_RECLAIM | __GFP_NOWARN)
#define GFP_USER	     (__GFP_RECLAIM)
#define GFP_HIGHUSER_MOVABLE (__GFP_RECLAIM | __GFP_MOVABLE)
#define GFP_DMA		     __GFP_DMA
#define GFP_DMA32	     __GFP_DMA32

#define NUMA_NO_NODE (-1)

enum migratetype {
	MIGRATE_UNMOVABLE,
	MIGRATE_MOVABLE,
	MIGRATE_RECLAIMABLE,
	MIGRATE_TYPES,
};

/* Two bits for each combination of __GFP_MOVABLE and __GFP_RECLAIMABLE: no branch on the fast path. */
static inline enum migratetype gfp_migratetype(gfp_t gfp)
{
	const unsigned int types = MIGRATE_UNMOVABLE | MIGRATE_MOVABLE << 2 |
				   MIGRATE_RECLAIMABLE << 4 | MIGRATE_MOVABLE << 6;
	_Static_assert(__GFP_MOVABLE == 4 && __GFP_RECLAIMABLE == 8, "two neighbouring bits");

	return (enum migratetype)(types >> ((gfp >> 2 & 3) * 2) & 3);
}

static inline bool gfpflags_allow_blocking(gfp_t gfp)
{
	return gfp & __GFP_DIRECT_RECLAIM;
}

#endif /* OCTAVO_GFP_H */
