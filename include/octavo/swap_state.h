/* SPDX-License-Identifier: MIT */
/*
 * swap_state.h - the part of struct octavo_state of swap devices.
 */
#ifndef OCTAVO_SWAP_STATE_H
#define OCTAVO_SWAP_STATE_H

#include <octavo/lock.h>
#include <octavo/rwsem.h>
#include <octavo/swapops.h>

struct swap_device;

struct swap_state {
	struct rw_semaphore lock; /* swapon and swapoff, one at a time */
	/* stored with release under the lock; loaded with acquire. NULL: none; freed after a grace period */
	struct swap_device *dev[MAX_SWAPFILES];
	u32 turn; /* relaxed: of equal devices the one that is next */
};

#endif /* OCTAVO_SWAP_STATE_H */
