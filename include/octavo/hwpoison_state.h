/* SPDX-License-Identifier: MIT */
/*
 * hwpoison_state.h - this layer's part of struct octavo_state.
 */
#ifndef OCTAVO_HWPOISON_STATE_H
#define OCTAVO_HWPOISON_STATE_H

#include <octavo/lock.h>

struct hwpoison_state {
	u32 placeholder;
};

#endif /* OCTAVO_HWPOISON_STATE_H */
