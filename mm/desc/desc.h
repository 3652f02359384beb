/* SPDX-License-Identifier: MIT */
/*
 * desc.h - what the files of this directory tell each other: one descriptor cache each, and how a
 * descriptor is allocated for frames that exist already.
 */
#ifndef MM_DESC_DESC_H
#define MM_DESC_DESC_H

#include <octavo/gfp.h>

/*
 * What of an allocation's flags holds for its descriptor too: how hard to try. Where the frames come from, and
 * what they are filled with, is the frames' own business.
 */
static inline gfp_t desc_gfp(gfp_t gfp)
{
	return gfp & (__GFP_RECLAIM | __GFP_HIGH | __GFP_MEMALLOC | __GFP_NOFAIL | __GFP_NORETRY |
		      __GFP_NOWARN);
}

#endif /* MM_DESC_DESC_H */
