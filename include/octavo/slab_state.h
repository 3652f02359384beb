/* SPDX-License-Identifier: MIT */
/*
 * slab_state.h - this layer's part of struct octavo_state.
 */
#ifndef OCTAVO_SLAB_STATE_H
#define OCTAVO_SLAB_STATE_H

#include <octavo/lock.h>

struct slab_state {
	u32 placeholder;
};

#endif /* OCTAVO_SLAB_STATE_H */
