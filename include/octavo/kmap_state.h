/* SPDX-License-Identifier: MIT */
/*
 * kmap_state.h - the part of struct octavo_state of kernel mappings. All of it is made when it is first used.
 */
#ifndef OCTAVO_KMAP_STATE_H
#define OCTAVO_KMAP_STATE_H

#include <octavo/mm_types.h>

struct kmap;

struct kmap_state {
	struct kmap
		*kmap; /* compare-and-swap once with release; loaded with acquire; until shutdown */
	/*
	 * The kernel's page tables, in the same format as users': a top-level table whose entries from
	 * VMALLOC_START to VMALLOC_END a port copies into, or shares with, those that its CPUs use. Stored with
	 * release before @kmap. No lock, no areas, no CPUs: flushes are for mm NULL.
	 */
	struct mm_struct *mm;
};

#endif /* OCTAVO_KMAP_STATE_H */
