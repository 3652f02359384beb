/* SPDX-License-Identifier: MIT */
/*
 * test_rcu.c - the supplied RCU (lib/rcu.c), linked without the port's.
 *
 * It needs nothing of the machine but the number of CPUs, so no machine is booted. The main thread
 * plays several CPUs one after another with sim_set_cpu().
 */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "test.h"

static int setup(void **state)
{
	memset(&octavo_state, 0, sizeof(octavo_state));
	octavo_state.frame.nr_cpus = 4;
	sim_set_cpu(0);
	return 0;
}

static bool poll_often(u64 cookie)
{
	for (int i = 0; i < 10; i++)
		if (poll_state_synchronize_rcu(cookie))
			return true;
	return false;
}

static void test_rcu_grace_period_ends_without_readers(void **state)
{
	u64 cookie = get_state_synchronize_rcu();

	assert_true(poll_state_synchronize_rcu(cookie));
	assert_true(poll_state_synchronize_rcu(cookie));
	cookie = get_state_synchronize_rcu();
	assert_true(octavo_state.rcu.epoch < cookie);
	synchronize_rcu();
	assert_true(octavo_state.rcu.epoch >= cookie);
}

static void test_rcu_reader_holds_up_the_grace_period(void **state)
{
	for (u32 cpu = 0; cpu < 4; cpu++) {
		u64 cookie;

		sim_set_cpu(cpu);
		rcu_read_lock();
		assert_true(rcu_read_lock_held());
		sim_set_cpu((cpu + 1) % 4);
		assert_false(rcu_read_lock_held());
		cookie = get_state_synchronize_rcu();
		assert_false(poll_often(cookie));
		/* nested: the outer one ends it */
		sim_set_cpu(cpu);
		rcu_read_lock();
		rcu_read_unlock();
		assert_true(rcu_read_lock_held());
		assert_false(poll_often(cookie));
		rcu_read_unlock();
		assert_false(rcu_read_lock_held());
		assert_true(poll_often(cookie));
	}
}

/*
 * An interrupt between counting the section and announcing it, and one between the count's return to 0
 * and the end of the announcement: its own section must be announced.
 */
static void test_rcu_interrupt_in_the_middle_of_lock_and_unlock(void **state)
{
	struct rcu_cpu *c = &octavo_state.rcu.cpu[0];
	u64 cookie;

	c->nest = 1;
	rcu_read_lock();
	cookie = get_state_synchronize_rcu();
	assert_false(poll_often(cookie));
	rcu_read_unlock();
	/* the interrupted section may have looked before us, so ours stands until its end */
	assert_false(poll_often(cookie));
	c->nest = 0;

	rcu_read_lock();
	assert_false(poll_often(cookie));
	rcu_read_unlock();
	assert_true(poll_often(cookie));
}

/* Two readers that overlap by turns: neither is ever quiet for long, every grace period still ends. */
static void test_rcu_overlapping_readers_do_not_starve_grace_periods(void **state)
{
	u64 cookie = get_state_synchronize_rcu();
	int turns = 0;

	sim_set_cpu(0);
	rcu_read_lock();
	while (!poll_state_synchronize_rcu(cookie)) {
		sim_set_cpu(++turns % 2);
		rcu_read_lock();
		sim_set_cpu((turns + 1) % 2);
		rcu_read_unlock();
		assert_true(turns < 10);
	}
	sim_set_cpu(turns % 2);
	rcu_read_unlock();
}

struct call {
	struct rcu_head head;
	u32 ran;
	u32 again;
};
static struct call calls[1000];
static u32 order;
static u32 depth;

static void note(struct rcu_head *head)
{
	struct call *c = container_of(head, struct call, head);

	assert_int_equal(depth++, 0);
	c->ran = ++order;
	if (c->again) {
		c->again--;
		call_rcu(head, note);
	}
	depth--;
}

static void test_rcu_callbacks_wait_for_readers_and_run_in_order(void **state)
{
	memset(calls, 0, sizeof(calls));
	order = 0;
	sim_set_cpu(1);
	rcu_read_lock();
	sim_set_cpu(0);
	for (u32 i = 0; i < ARRAY_SIZE(calls); i++)
		call_rcu(&calls[i].head, note);
	assert_false(poll_often(get_state_synchronize_rcu()));
	assert_int_equal(order, 0);
	sim_set_cpu(1);
	rcu_read_unlock();
	rcu_barrier();
	for (u32 i = 0; i < ARRAY_SIZE(calls); i++)
		assert_int_equal(calls[i].ran, i + 1);
	assert_int_equal(octavo_state.rcu.queued, ARRAY_SIZE(calls));
	assert_int_equal(octavo_state.rcu.done, ARRAY_SIZE(calls));
	assert_null(octavo_state.rcu.head);
}

/* note() itself checks that it does not run inside itself. */
static void test_rcu_callback_may_queue_itself(void **state)
{
	memset(calls, 0, sizeof(calls));
	order = 0;
	for (u32 i = 0; i < 100; i++) {
		calls[i].again = 40;
		call_rcu(&calls[i].head, note);
	}
	for (u32 i = 0; i <= 40; i++)
		rcu_barrier();
	assert_int_equal(order, 4100);
	assert_int_equal(octavo_state.rcu.done, octavo_state.rcu.queued);
}

static void test_rcu_callbacks_run_without_a_barrier(void **state)
{
	memset(calls, 0, sizeof(calls));
	order = 0;
	for (u32 i = 0; i < ARRAY_SIZE(calls); i++)
		call_rcu(&calls[i].head, note);
	assert_true(order > 0);
	rcu_barrier();
}

static void unlock_unlocked(void *arg)
{
	rcu_read_unlock();
}

static void test_rcu_unlock_without_lock_is_fatal(void **state)
{
	const char *reason = sim_expect_panic(unlock_unlocked, NULL);

	assert_non_null(reason);
	assert_non_null(strstr(reason, "not in a read-side section"));
}

/*
 * The stress: CPU 0 replaces the published node and lets the old one die after a grace period, by each of
 * the three ways in turn; the others, and signals that play their interrupts, read it. A node that dies
 * under a reader is poisoned there and then, and ASan and TSan see the reuse as well.
 */
#define NODES 64
struct node {
	struct rcu_head head;
	u32 alive, free;
	unsigned long payload; /* plain: written only while nobody reads */
};
static struct node nodes[NODES];
static struct node *published;
static u32 stop, seen_dead;
static unsigned long reads[4], interrupts;
static unsigned long want_interrupts; /* this many at least before the writer ends */

static void read_published(void)
{
	struct node *n;

	rcu_read_lock();
	n = smp_load_acquire(&published);
	if (n->payload == 0 || !READ_ONCE(n->alive))
		WRITE_ONCE(seen_dead, 1u);
	for (int i = 0; i < 20; i++)
		barrier();
	if (n->payload == 0 || !READ_ONCE(n->alive))
		WRITE_ONCE(seen_dead, 1u);
	rcu_read_unlock();
}

static void read_and_count(unsigned int cpu)
{
	read_published();
	WRITE_ONCE(reads[cpu], READ_ONCE(reads[cpu]) + 1);
}

static void bury(struct rcu_head *head)
{
	struct node *n = container_of(head, struct node, head);

	WRITE_ONCE(n->alive, 0u);
	n->payload = 0;
	smp_store_release(&n->free, 1u);
}

static struct node *fresh(unsigned long round)
{
	for (;; poll_state_synchronize_rcu(get_state_synchronize_rcu()))
		for (u32 i = 0; i < NODES; i++)
			if (smp_load_acquire(&nodes[i].free)) {
				nodes[i].free = 0;
				nodes[i].payload = round;
				WRITE_ONCE(nodes[i].alive, 1u);
				return &nodes[i];
			}
}

static void writer(void)
{
	while (!READ_ONCE(reads[1]) || !READ_ONCE(reads[2]))
		octavo_port_relax();
	for (unsigned long round = 1; round <= 3000 || READ_ONCE(interrupts) < want_interrupts;
	     round++) {
		struct node *old = xchg_acq_rel(&published, fresh(round));
		u64 cookie;

		switch (round % 3) {
		case 0:
			synchronize_rcu();
			bury(&old->head);
			break;
		case 1:
			cookie = get_state_synchronize_rcu();
			while (!poll_state_synchronize_rcu(cookie))
				octavo_port_relax();
			bury(&old->head);
			break;
		default:
			call_rcu(&old->head, bury);
		}
		if (round % 500 == 0) {
			rcu_barrier();
			/* all but the published one have run their callback */
			u32 nr_free = 0;
			for (u32 i = 0; i < NODES; i++)
				nr_free += smp_load_acquire(&nodes[i].free);
			if (nr_free != NODES - 1)
				WRITE_ONCE(seen_dead, 2u);
		}
	}
	WRITE_ONCE(stop, 1u);
}

static void interrupt(int sig)
{
	read_published();
	WRITE_ONCE(interrupts, READ_ONCE(interrupts) + 1);
}

static void stress(unsigned int cpu, void *with_interrupts)
{
	if (cpu == 0) {
		writer();
		return;
	}
	if (cpu == 1 && with_interrupts) {
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGALRM);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	}
	while (!READ_ONCE(stop))
		read_and_count(cpu);
}

static void run_stress(bool with_interrupts)
{
	memset(nodes, 0, sizeof(nodes));
	memset(reads, 0, sizeof(reads));
	for (u32 i = 0; i < NODES; i++)
		nodes[i].free = 1;
	published = fresh(~0ul);
	stop = seen_dead = 0;
	interrupts = 0;
	want_interrupts = with_interrupts ? 20 : 0;
	sim_run(3, false, stress, with_interrupts ? nodes : NULL);
	assert_int_equal(seen_dead, 0);
	assert_true(reads[1] > 0 && reads[2] > 0);
	rcu_barrier();
	assert_int_equal(octavo_state.rcu.done, octavo_state.rcu.queued);
}

static void test_rcu_stress(void **state)
{
	run_stress(false);
}

static void test_rcu_stress_with_interrupts(void **state)
{
	struct sigaction act = { .sa_handler = interrupt }, old;
	struct itimerval every = { { 0, 50 }, { 0, 50 } }, never = { { 0, 0 }, { 0, 0 } };
	sigset_t set, old_set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, &old_set);
	sigaction(SIGALRM, &act, &old);
	setitimer(ITIMER_REAL, &every, NULL);
	run_stress(true);
	setitimer(ITIMER_REAL, &never, NULL);
	/* one may be pending: let it go */
	signal(SIGALRM, SIG_IGN);
	pthread_sigmask(SIG_SETMASK, &old_set, NULL);
	sigaction(SIGALRM, &old, NULL);
	assert_true(interrupts >= want_interrupts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_rcu_grace_period_ends_without_readers, setup),
		cmocka_unit_test_setup(test_rcu_reader_holds_up_the_grace_period, setup),
		cmocka_unit_test_setup(test_rcu_interrupt_in_the_middle_of_lock_and_unlock, setup),
		cmocka_unit_test_setup(test_rcu_overlapping_readers_do_not_starve_grace_periods,
				       setup),
		cmocka_unit_test_setup(test_rcu_callbacks_wait_for_readers_and_run_in_order, setup),
		cmocka_unit_test_setup(test_rcu_callback_may_queue_itself, setup),
		cmocka_unit_test_setup(test_rcu_callbacks_run_without_a_barrier, setup),
		cmocka_unit_test_setup(test_rcu_unlock_without_lock_is_fatal, setup),
		cmocka_unit_test_setup(test_rcu_stress, setup),
		cmocka_unit_test_setup(test_rcu_stress_with_interrupts, setup),
	};

	return cmocka_run_group_tests_name("rcu-" TEST_VARIANT, tests, NULL, NULL);
}
