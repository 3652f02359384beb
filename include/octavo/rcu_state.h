/* SPDX-License-Identifier: MIT */
/*
 * rcu_state.h - the supplied RCU's part of struct octavo_state (lib/rcu.c).
 */
#ifndef OCTAVO_RCU_STATE_H
#define OCTAVO_RCU_STATE_H

#include <octavo/atomic.h>
#include <octavo/rcu.h>

struct rcu_cpu {
	u64 epoch; /* 0: no reader; else 1 + the epoch it read; stored by the owning CPU, pinned */
	u32 nest;  /* the owning CPU's alone, its interrupts included */
} __cacheline_pair;

struct rcu_state {
	u64 epoch; /* grows by compare-and-swap when all announced readers have caught up */
	/* Callbacks on their way in: a stack, pushed by compare-and-swap, taken whole by the runner. */
	struct rcu_head *incoming;
	u64 queued; /* callbacks ever queued: fetch_add, before the push */
	u64 done;   /* callbacks ever run: fetch_add */
	/*
	 * 1 while somebody runs callbacks: compare-and-swap to take, never waited for. Its holder owns
	 * the two below: the waiting callbacks, oldest first, cookies never falling.
	 */
	u32 running;
	struct rcu_head *head; /* others may look whether it is NULL */
	struct rcu_head *last; /* when head is not NULL */
	struct rcu_cpu cpu[OCTAVO_NR_CPUS];
};

#endif /* OCTAVO_RCU_STATE_H */
