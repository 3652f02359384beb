/* SPDX-License-Identifier: MIT */
/*
 * frame_state.h - the frame layer's part of struct octavo_state.
 */
#ifndef OCTAVO_FRAME_STATE_H
#define OCTAVO_FRAME_STATE_H

#include <octavo/lock.h>
#include <octavo/memdesc.h>
#include <octavo/mmzone.h>

/* A page is its word. vmemmap[pfn]; there is no other per-frame array of more than a bit a frame. */
struct page {
	memdesc_t memdesc;
};
BUILD_BUG_ON(sizeof(struct page) != 8);

struct frame_state {
	/* Set by octavo_init(), then constant. */
	struct page *vmemmap;
	section_t *section;
	void *direct_map;
	unsigned long max_pfn;
	u32 nr_cpus;
};

#endif /* OCTAVO_FRAME_STATE_H */
