/* SPDX-License-Identifier: MIT */
/*
 * init.h - start and end of each layer, lowest first; called by mm/init.c only.
 */
#ifndef OCTAVO_MM_INIT_H
#define OCTAVO_MM_INIT_H

#include <octavo/boot.h>

/* mm/frame/memmap.c: regions, metadata, sections, zones, then the allocator. -errno, nothing changed. */
int frame_init(const struct octavo_boot *boot);
/* Drains; returns frames still allocated. */
u64 frame_exit(void);

/* mm/desc/slab_cache.c: bootstrap caches; takes no frame, cannot fail. */
void slab_init(void);
/* Ends every cache; frames of those with live objects stay allocated. */
void slab_exit(void);

/* mm/desc/desc_init.c: ends the descriptor caches, which are made at first use. */
void desc_exit(void);
/* Every live folio, and that every folio descriptor has frames. Nothing else running. */
bool desc_validate(void);

/* Sections against spans and counts, and the poisoned set, when quiet. */
bool memmap_validate(void);

#endif /* OCTAVO_MM_INIT_H */
