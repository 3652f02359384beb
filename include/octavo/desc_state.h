/* SPDX-License-Identifier: MIT */
/*
 * desc_state.h - this layer's part of struct octavo_state.
 */
#ifndef OCTAVO_DESC_STATE_H
#define OCTAVO_DESC_STATE_H

#include <octavo/lock.h>

struct desc_state {
	u32 placeholder;
};

#endif /* OCTAVO_DESC_STATE_H */
