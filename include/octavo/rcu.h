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
 * @head: RCU's until @func runs, which may reuse or free it
 * @func: runs on some CPU, wherever RCU is called from there, so in or out of interrupt context; may not
 *        sleep, call rcu_barrier() or synchronize_rcu(), or take a lock that is held around calls of RCU
 *
 * Functions run in the order of queueing, one at a time. The supplied RCU runs them when it is
 * called: a grace period may be over for long before anybody notices.
 *
 * Context: any but a non-maskable interrupt.
 */
void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head));

/**
 * rcu_barrier() - wait until the function of every call_rcu() that has returned so far has run
 *
 * Context: as synchronize_rcu(), and not from such a function.
 */
void rcu_barrier(void);

#endif /* OCTAVO_RCU_H */
