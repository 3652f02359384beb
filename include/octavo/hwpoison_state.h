/* SPDX-License-Identifier: MIT */
/*
 * hwpoison_state.h - the set of poisoned frames: the frame layer's, because freeing and refilling ask it.
 */
#ifndef OCTAVO_HWPOISON_STATE_H
#define OCTAVO_HWPOISON_STATE_H

#include <octavo/lock.h>

struct hwpoison_state {
	u64 nr; /* (a) poisoned frames; 0 makes every look-up one load */
};

#endif /* OCTAVO_HWPOISON_STATE_H */
