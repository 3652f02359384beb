/* SPDX-License-Identifier: MIT */
/*
 * rcu.h - read-copy-update, as the core uses it: descriptors of type-stable caches may be read, and
 * their counts tried, inside a read-side section without holding anything.
 *
 * The supplied implementation (lib/rcu.c) is epoch-based and non-blocking for everything but
 * synchronize_rcu(). A port that has RCU of its own defines all of these functions.
 */
#ifndef OCTAVO_RCU_H
#define OCTAVO_RCU_H

#include <octavo/compiler.h>

struct rcu_head {
	struct rcu_head *next;
	void (*func)(struct rcu_head *head);
	u64 cookie;
};

/**
 * rcu_read_lock() - enter a read-side section
 *
 * Pins the caller to its CPU; nests. Context: any but a non-maskable interrupt. The caller may not sleep
 * until rcu_read_unlock().
 */
void rcu_read_lock(void);
void rcu_read_unlock(void);

/* Whether this CPU is in a read-side section; for assertions. */
bool rcu_read_lock_held(void);

/**
 * get_state_synchronize_rcu() - a name for the grace period that starts now
 *
 * Return: a cookie for poll_state_synchronize_rcu().
 */
u64 get_state_synchronize_rcu(void);

/**
 * poll_state_synchronize_rcu() - has every section that was open at @cookie ended?
 * @cookie: from get_state_synchronize_rcu()
 *
 * Never waits; helps the grace period along. Return: true if a full grace period has gone by.
 */
bool poll_state_synchronize_rcu(u64 cookie);

/**
 * synchronize_rcu() - wait for a grace period
 *
 * Context: may spin or sleep; not in a read-side section.
 */
void synchronize_rcu(void);

/**
 * call_rcu() - run a function after a grace period
 * @head: the caller's until @func runs
 * @func: runs on some CPU, in or out of interrupt context, may not sleep
 */
void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head));

/**
 * rcu_barrier() - wait until every call_rcu() so far has run its function
 *
 * Context: as synchronize_rcu().
 */
void rcu_barrier(void);

#endif /* OCTAVO_RCU_H */
