/* SPDX-License-Identifier: MIT */
/*
 * sim.c - tier 0 of the port on host threads; the machine they share is in machine.c.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sim.h"
#include "urcu_shim.h"

/* Not static: sim_inline.h reads it. */
extern __thread unsigned int sim_cpu;
__thread unsigned int sim_cpu;
static __thread jmp_buf *panic_jump;

static char panic_reason[256];
static char last_line[256];
static unsigned int warnings;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static sim_log_fn log_fn;
static bool log_quiet;

/* ---- the port ---- */

void octavo_port_log(enum octavo_log_level level, const char *line)
{
	pthread_mutex_lock(&log_lock);
	if (level <= OCTAVO_LOG_WARN) {
		warnings++;
		snprintf(last_line, sizeof(last_line), "%s", line);
	}
	if (log_fn)
		log_fn(level, line);
	else if (!panic_jump && (!log_quiet || level == OCTAVO_LOG_ERR))
		fprintf(stderr, "octavo: %s\n", line);
	pthread_mutex_unlock(&log_lock);
}

void octavo_port_panic(const char *reason)
{
	if (panic_jump) {
		snprintf(panic_reason, sizeof(panic_reason), "%s", reason);
		longjmp(*panic_jump, 1);
	}
	abort();
}

#ifndef OCTAVO_PORT_INLINE
unsigned int octavo_port_pin(void)
{
	return sim_cpu;
}

void octavo_port_unpin(void)
{
}

unsigned int octavo_port_cpu(void)
{
	return sim_cpu;
}
#endif

void octavo_port_relax(void)
{
	static __thread unsigned int turns;

	if (++turns % 64 == 0)
		sched_yield();
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

void octavo_port_membarrier(void)
{
	static int registered;

	if (!__atomic_load_n(&registered, __ATOMIC_ACQUIRE)) {
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0))
			octavo_panic("the host kernel has no membarrier(PRIVATE_EXPEDITED)");
		__atomic_store_n(&registered, 1, __ATOMIC_RELEASE);
	}
	/* who calls relies on it without another look: a barrier that was none would lose what others stored */
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0))
		octavo_panic("the host kernel refuses a membarrier(PRIVATE_EXPEDITED)");
}

void octavo_port_park(u32 *addr, u32 val)
{
	syscall(SYS_futex, addr, FUTEX_WAIT_PRIVATE, val, NULL, NULL, 0);
}

void octavo_port_unpark(u32 *addr, bool all)
{
	syscall(SYS_futex, addr, FUTEX_WAKE_PRIVATE, all ? INT_MAX : 1, NULL, NULL, 0);
}

/* ---- CPUs ---- */

void sim_set_cpu(unsigned int cpu)
{
	sim_cpu = cpu;
}

struct sim_thread {
	unsigned int cpu;
	bool pin;
	void (*fn)(unsigned int, void *);
	void *arg;
};

void sim_thread_begin(unsigned int cpu)
{
	sim_cpu = cpu;
	shim_register();
}

void sim_thread_end(void)
{
	shim_unregister();
}

static void *sim_thread(void *p)
{
	struct sim_thread *t = p;

	if (t->pin) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(t->cpu % (unsigned int)sysconf(_SC_NPROCESSORS_ONLN), &set);
		pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	}
	sim_thread_begin(t->cpu);
	t->fn(t->cpu, t->arg);
	sim_thread_end();
	return NULL;
}

void sim_run(unsigned int n, bool pin, void (*fn)(unsigned int cpu, void *arg), void *arg)
{
	pthread_t *id = calloc(n, sizeof(*id));
	struct sim_thread *t = calloc(n, sizeof(*t));

	if (!id || !t)
		abort();
	for (unsigned int i = 0; i < n; i++) {
		t[i] = (struct sim_thread){ i, pin, fn, arg };
		if (pthread_create(&id[i], NULL, sim_thread, &t[i]))
			abort();
	}
	for (unsigned int i = 0; i < n; i++)
		pthread_join(id[i], NULL);
	free(id);
	free(t);
}

/* ---- what tests look at ---- */

const char *sim_expect_panic(void (*fn)(void *arg), void *arg)
{
	jmp_buf here;

	if (setjmp(here)) {
		panic_jump = NULL;
		return panic_reason;
	}
	panic_jump = &here;
	fn(arg);
	panic_jump = NULL;
	return NULL;
}

unsigned int sim_log_take(const char **last)
{
	unsigned int n;

	pthread_mutex_lock(&log_lock);
	n = warnings;
	warnings = 0;
	pthread_mutex_unlock(&log_lock);
	if (last)
		*last = last_line;
	return n;
}

void sim_log_quiet(bool quiet)
{
	log_quiet = quiet;
}

sim_log_fn sim_log_to(sim_log_fn fn)
{
	sim_log_fn old = log_fn;

	log_fn = fn;
	return old;
}
