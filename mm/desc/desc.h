/* SPDX-License-Identifier: MIT */
/*
 * desc.h - what the files of this directory tell each other: one descriptor cache each, and how a
 * descriptor is allocated for frames that exist already.
 */
#ifndef MM_DESC_DESC_H
#define MM_DESC_DESC_H

#include <octavo/slab.h>
#include <octavo/state.h>

/*
 * What of an allocation's flags holds for its descriptor too: how hard to try. Where the frames
 * come from, and what they are filled with, is the frames' own business.
 */
static inline gfp_t desc_gfp(gfp_t gfp)
{
	return gfp & (__GFP_RECLAIM | __GFP_HIGH | __GFP_MEMALLOC | __GFP_NOFAIL | __GFP_NORETRY |
		      __GFP_NOWARN);
}

/* @slot: of octavo_state.desc, found empty. Return: NULL if there is no memory. */
struct kmem_cache *desc_cache_make(struct kmem_cache **slot, gfp_t gfp) __cold;

#define NR_DESC_CACHES 6u

/* Each of them by its number; NULL: not made yet. */
struct kmem_cache *desc_cache_nth(u32 i);

static inline struct kmem_cache *desc_cache(struct kmem_cache **slot, gfp_t gfp)
{
	/* acquire: pairs with the release in slab_cache_make_once() */
	struct kmem_cache *s = smp_load_acquire(slot);

	return likely(s) ? s : desc_cache_make(slot, desc_gfp(gfp));
}

/* A descriptor. @slot: of octavo_state.desc. Return: NULL if there is no memory. */
static inline void *desc_alloc(struct kmem_cache **slot, gfp_t gfp)
{
	struct kmem_cache *s = desc_cache(slot, gfp);

	return likely(s) ? kmem_cache_alloc(s, desc_gfp(gfp)) : NULL;
}

#endif /* MM_DESC_DESC_H */
