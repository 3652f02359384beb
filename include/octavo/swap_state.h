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
struct swap_cpu;

/*
 * Who waits for a transfer sleeps on seq of the queue that the address of what it waits for falls into. All atomic; see
 * swap_wait() in mm/swap/io.c.
 */
struct swap_waitq {
	u32 seq;
	u32 waiters;
};
#define SWAP_WAITQS 16

struct swap_state {
	struct rw_semaphore lock; /* swapon and swapoff, one at a time */
	/* stored with release under the lock; loaded with acquire. NULL: none; freed after a grace period */
	struct swap_device *dev[MAX_SWAPFILES];
	u32 turn; /* relaxed: of equal devices the one that is next */
	/* made by the first swapon(), one a CPU: stored once with release under the lock; acquire */
	struct swap_cpu *cpu;
	struct swap_waitq wait[SWAP_WAITQS];
	u32 stop; /* (a) relaxed: a bit a device, swapoff() of it is to give up */
};

#endif /* OCTAVO_SWAP_STATE_H */
