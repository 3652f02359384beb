/* SPDX-License-Identifier: MIT */
/*
 * urcu_shim.c - the only file that includes liburcu.
 */
#include <stdlib.h>

#include <urcu/urcu-memb.h>

#include "urcu_shim.h"

struct call {
	struct rcu_head head;
	void (*fn)(void *arg);
	void *arg;
};

static __thread bool registered;

/* Readers register on their first section, so that tests may use any thread. */
void shim_register(void)
{
	if (!registered) {
		urcu_memb_register_thread();
		registered = true;
	}
}

void shim_unregister(void)
{
	if (registered) {
		urcu_memb_unregister_thread();
		registered = false;
	}
}

void shim_read_lock(void)
{
	if (__builtin_expect(!registered, 0))
		shim_register();
	urcu_memb_read_lock();
}

void shim_read_unlock(void)
{
	urcu_memb_read_unlock();
}

bool shim_read_ongoing(void)
{
	return registered && urcu_memb_read_ongoing();
}

void shim_synchronize(void)
{
	urcu_memb_synchronize_rcu();
}

static void run_call(struct rcu_head *head)
{
	struct call *c = (struct call *)head;
	void (*fn)(void *) = c->fn;
	void *arg = c->arg;

	free(c);
	fn(arg);
}

void shim_call(void (*fn)(void *arg), void *arg)
{
	struct call *c = malloc(sizeof(*c));

	if (!c)
		abort();
	c->fn = fn;
	c->arg = arg;
	urcu_memb_call_rcu(&c->head, run_call);
}

void shim_barrier(void)
{
	urcu_memb_barrier();
}
