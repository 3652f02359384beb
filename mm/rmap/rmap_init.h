/* SPDX-License-Identifier: MIT */
/*
 * rmap_init.h - the caches of anon_vmas and their chains, which come up with the first address space.
 */
#ifndef MM_RMAP_RMAP_INIT_H
#define MM_RMAP_RMAP_INIT_H

#include <octavo/types.h>

/**
 * rmap_caches_init() - make the caches of anon_vmas and chains
 * @gfp: of the caller; caches need GFP_KERNEL
 *
 * Fills octavo_state.space.anon_vma and .anon_vma_chain. Context: may sleep; the caller sees to it that one does
 * this, and publishes with space.ready. Return: 0; -ENOMEM and both are NULL.
 */
int rmap_caches_init(gfp_t gfp);

/* Ends them, fatal if something is still allocated; both are NULL after it. Context: nothing else runs. */
void rmap_caches_exit(void);

#endif /* MM_RMAP_RMAP_INIT_H */
