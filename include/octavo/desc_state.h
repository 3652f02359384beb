/* SPDX-License-Identifier: MIT */
/*
 * desc_state.h - the descriptor layer's part of struct octavo_state.
 */
#ifndef OCTAVO_DESC_STATE_H
#define OCTAVO_DESC_STATE_H

#include <octavo/lock.h>

struct kmem_cache;

/*
 * Which of the three folio structs a descriptor is. A property of the descriptor's memory: it is decided when its
 * slab is made and lives across free and reuse, while the order of the folio may shrink under it.
 */
enum folio_class {
	FOLIO_CLASS_SMALL, /* struct folio */
	FOLIO_CLASS_LARGE, /* struct large_folio */
	FOLIO_CLASS_HUGE,  /* struct huge_folio */
	NR_FOLIO_CLASSES,
};

/* All set by desc_init(), then constant until desc_exit(). */
struct desc_state {
	struct kmem_cache *folio[NR_FOLIO_CLASSES];
	struct kmem_cache *ptdesc;
	struct kmem_cache *mgdesc;
	struct kmem_cache *movable;
};

#endif /* OCTAVO_DESC_STATE_H */
