/* SPDX-License-Identifier: MIT */
/*
 * desc_state.h - the descriptor layer's part of struct octavo_state.
 */
#ifndef OCTAVO_DESC_STATE_H
#define OCTAVO_DESC_STATE_H

#include <octavo/lock.h>

struct folio_set;
struct kmem_cache;

#define DESC_REPORTED_MGDESC_SATURATED 0x1u

/*
 * Which of the three folio structs a descriptor is. A property of the descriptor's memory: it is
 * decided when its slab is made and lives across free and reuse, while the order of the folio may
 * shrink under it.
 */
enum folio_class {
	FOLIO_CLASS_SMALL, /* struct folio */
	FOLIO_CLASS_LARGE, /* struct large_folio */
	FOLIO_CLASS_HUGE,  /* struct huge_folio */
	NR_FOLIO_CLASSES,
};

/*
 * (o) stored once, release, under the lock of the list of caches, by whoever needs the first
 * descriptor; constant until desc_exit(); loaded with acquire; (a) atomic.
 */
struct desc_state {
	/* (o) */
	struct kmem_cache *folio[NR_FOLIO_CLASSES];
	struct kmem_cache *ptdesc;
	struct kmem_cache *mgdesc;
	struct kmem_cache *movable;

	/* (a) [OCTAVO_FOLIO_SETS], made by compare-and-swap; entries too, by number */
	struct folio_set **sets;

	u32 reported;		 /* (a) DESC_REPORTED_...: what is said once only */
	spinlock_t failure_lock; /* one memory_failure() or unpoison_memory() at a time */
};

#endif /* OCTAVO_DESC_STATE_H */
