/* SPDX-License-Identifier: MIT */
/*
 * rcu_state.h - the supplied RCU's part of struct octavo_state (lib/rcu.c).
 */
#ifndef OCTAVO_RCU_STATE_H
#define OCTAVO_RCU_STATE_H

#include <octavo/lock.h>
#include <octavo/rcu.h>

struct rcu_cpu {
	u64 epoch; /* 0: no reader; else 1 + the epoch it read; stored by the owning CPU, pinned */
	u32 nest;  /* the owning CPU's alone */
} __cacheline;

struct rcu_state {
	u64 epoch;	 /* grows by compare-and-swap when all announced readers have caught up */
	spinlock_t lock; /* the list of callbacks */
	struct rcu_head *head __guarded_by(lock);
	struct rcu_head **tail __guarded_by(lock); /* NULL: empty */
	u64 queued;				   /* callbacks ever queued, under lock */
	u64 done;				   /* callbacks ever run: fetch_add */
	struct rcu_cpu cpu[OCTAVO_NR_CPUS];
};

#endif /* OCTAVO_RCU_STATE_H */
