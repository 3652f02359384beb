/* SPDX-License-Identifier: MIT */
/*
 * rcu.c - rcu.h on liburcu (memb flavour), so that the supplied one stays in the archive.
 *
 * Grace periods are numbered. A cookie is the number of one that starts after the call; a poll that finds
 * none under way starts one with liburcu's call_rcu(), whose worker counts it when it is over. liburcu's own
 * names clash with rcu.h's, so it is reached through urcu_shim.c.
 *
 * liburcu's worker is a thread without a CPU slot, so it may not enter the core: it only moves a callback
 * to the ready list, and a CPU that calls RCU runs it. One runner at a time, in order. Callbacks of a machine
 * that is gone are dropped without looking at them: what they were in is unmapped.
 */
#include <pthread.h>
#include <stdlib.h>

#include <octavo/atomic.h>
#include <octavo/debug.h>
#include <octavo/rcu.h>

#include "sim.h"
#include "urcu_shim.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static u64 started;   /* grace periods begun; under lock */
static u64 completed; /* of those, over; stored under lock with release, read anywhere */

void rcu_read_lock(void)
{
	octavo_port_pin();
	shim_read_lock();
}

void rcu_read_unlock(void)
{
	shim_read_unlock();
	octavo_port_unpin();
}

bool rcu_read_lock_held(void)
{
	return shim_read_ongoing();
}

static void gp_over(void *unused)
{
	pthread_mutex_lock(&lock);
	/* release: pairs with the acquire in gp_poll() */
	smp_store_release(&completed, completed + 1);
	pthread_mutex_unlock(&lock);
}

u64 get_state_synchronize_rcu(void)
{
	u64 cookie;

	smp_mb();
	pthread_mutex_lock(&lock);
	/* one under way began before now and will not do: the next one */
	cookie = started + 1;
	pthread_mutex_unlock(&lock);
	return cookie;
}

static bool gp_poll(u64 cookie)
{
	bool start;

	/* acquire: pairs with the release in gp_over() */
	if (smp_load_acquire(&completed) >= cookie)
		return true;
	pthread_mutex_lock(&lock);
	start = started == completed;
	if (start)
		started++;
	pthread_mutex_unlock(&lock);
	if (start)
		shim_call(gp_over, NULL);
	return false;
}

struct callback {
	struct callback *next;
	struct rcu_head *head;
	u64 machine; /* sim_machine_nr() when it was queued */
};

static struct callback *ready, **ready_tail = &ready; /* under lock */
static bool running;				      /* under lock: somebody runs callbacks */

/* On liburcu's worker: the grace period of this one is over. */
static void make_ready(void *p)
{
	struct callback *cb = p;

	pthread_mutex_lock(&lock);
	*ready_tail = cb;
	ready_tail = &cb->next;
	pthread_mutex_unlock(&lock);
}

/* False if another CPU is at it: what is ready now may not have run on return. */
static bool run_ready(void)
{
	struct callback *cb;

	pthread_mutex_lock(&lock);
	if (running) {
		pthread_mutex_unlock(&lock);
		return false;
	}
	running = true;
	while ((cb = ready)) {
		ready = cb->next;
		if (!ready)
			ready_tail = &ready;
		pthread_mutex_unlock(&lock);
		if (cb->machine == sim_machine_nr())
			cb->head->func(cb->head);
		free(cb);
		pthread_mutex_lock(&lock);
	}
	running = false;
	pthread_mutex_unlock(&lock);
	return true;
}

bool poll_state_synchronize_rcu(u64 cookie)
{
	bool done = gp_poll(cookie);

	run_ready();
	return done;
}

void synchronize_rcu(void)
{
	VM_BUG_ON(rcu_read_lock_held());
	shim_synchronize();
	run_ready();
}

void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head))
{
	struct callback *cb = malloc(sizeof(*cb));

	if (!cb)
		abort();
	*cb = (struct callback){ .head = head, .machine = sim_machine_nr() };
	head->func = func;
	shim_call(make_ready, cb);
	run_ready();
}

void rcu_barrier(void)
{
	shim_barrier();
	while (!run_ready())
		octavo_port_relax();
}
