/* SPDX-License-Identifier: MIT */
/*
 * frame_machine.h - for the tests of the frame allocator: their machine.
 */
#ifndef OCTAVO_FRAME_MACHINE_H
#define OCTAVO_FRAME_MACHINE_H

#include "test.h"

#define BLOCK (1ul << OCTAVO_BLOCK_ORDER)
#define TREE  (1ul << OCTAVO_TREE_ORDER)

/* Enough trees for runs of several, few enough to exhaust: 128 MiB, or 1 MiB of the tiny geometry. */
#define MIB	 (OCTAVO_TREE_ORDER > 6 ? 128u : 1u)
#define FRAMES	 ((unsigned long)MIB << (20 - PAGE_SHIFT))
#define TAKE_ALL (GFP_KERNEL | __GFP_MEMALLOC)

/* Everything is free. */
static inline void boot_frames(void)
{
	sim_reset();
	boot_small(MIB, 2);
	assert_int_equal(totalram_pages(), FRAMES);
	assert_int_equal(nr_free_pages(), FRAMES);
}

#endif /* OCTAVO_FRAME_MACHINE_H */
