/* SPDX-License-Identifier: MIT */
/*
 * test_rwsem.c - reader-writer semaphores.
 */
#include "test.h"

#include <octavo/rwsem.h>

static struct rw_semaphore sem;

static void test_rwsem_says_who_may_come_in(void **state)
{
	struct rw_semaphore zero = { 0 };

	init_rwsem(&sem);
	assert_memory_equal(&sem, &zero, sizeof(zero));
	assert_false(rwsem_is_locked(&sem));
	assert_false(rwsem_is_write_locked(&sem));

	down_read(&sem);
	assert_true(rwsem_is_locked(&sem));
	assert_false(rwsem_is_write_locked(&sem));
	assert_true(down_read_trylock(&sem));
	assert_false(down_write_trylock(&sem));
	up_read(&sem);
	assert_false(down_write_trylock(&sem));
	up_read(&sem);
	assert_false(rwsem_is_locked(&sem));

	down_write(&sem);
	assert_true(rwsem_is_locked(&sem));
	assert_true(rwsem_is_write_locked(&sem));
	assert_false(down_read_trylock(&sem));
	assert_false(down_write_trylock(&sem));
	up_write(&sem);

	assert_true(down_write_trylock(&sem));
	downgrade_write(&sem);
	assert_true(rwsem_is_locked(&sem));
	assert_false(rwsem_is_write_locked(&sem));
	assert_false(down_write_trylock(&sem));
	assert_true(down_read_trylock(&sem));
	up_read(&sem);
	up_read(&sem);
	assert_memory_equal(&sem, &zero, sizeof(zero));
}

static void test_rwsem_trylock_fails_when_told_to(void **state)
{
#if OCTAVO_FAULTS
	init_rwsem(&sem);
	octavo_fault_arm(1, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_TRYLOCK);
	assert_false(down_read_trylock(&sem));
	assert_false(down_write_trylock(&sem));
	assert_int_equal(octavo_fault_disarm(), 2);
	/* and a compare-and-swap that fails with the right value there is only tried again */
	for (int i = 0; i < 2; i++) {
		octavo_fault_arm(1, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_CAS);
		if (i) {
			down_read(&sem);
			up_read(&sem);
		} else {
			down_write(&sem);
			up_write(&sem);
		}
		assert_int_equal(octavo_fault_disarm(), 1);
		assert_int_equal(sem.state, 0);
	}
#endif
}

static void do_up_read(void *arg)
{
	up_read(arg);
}

static void do_up_write(void *arg)
{
	up_write(arg);
}

static void do_downgrade(void *arg)
{
	downgrade_write(arg);
}

static void test_rwsem_leaving_what_is_not_held_is_fatal(void **state)
{
	for (int held = 0; held < 3; held++) {
		for (int i = 0; i < 3; i++) {
			void (*const fn[])(void *) = { do_up_read, do_up_write, do_downgrade };
			const char *reason;

			init_rwsem(&sem);
			if (held == 1)
				down_read(&sem);
			else if (held == 2)
				down_write(&sem);
			reason = sim_expect_panic(fn[i], &sem);
			if (held == 1 ? i == 0 : held == 2 && i != 0)
				assert_null(reason);
			else
				assert_non_null(strstr(reason, "is not held for"));
		}
	}
}

static void do_down_read(void *arg)
{
	down_read(arg);
}

static void do_down_write(void *arg)
{
	down_write(arg);
}

static void test_rwsem_counts_do_not_run_into_each_other(void **state)
{
	init_rwsem(&sem);
	sem.state = RWSEM_COUNT_MASK * RWSEM_READER;
	assert_false(down_read_trylock(&sem));
	assert_non_null(strstr(sim_expect_panic(do_down_read, &sem), "too many"));
	sem.state = RWSEM_WRITER | RWSEM_COUNT_MASK * RWSEM_READ_WAITER;
	assert_non_null(strstr(sim_expect_panic(do_down_read, &sem), "too many"));
	sem.state = RWSEM_WRITER | RWSEM_COUNT_MASK * RWSEM_WRITE_WAITER;
	assert_non_null(strstr(sim_expect_panic(do_down_write, &sem), "too many"));
	/* between the fast path's bound and the count's */
	sem.state = (RWSEM_COUNT_MASK / 2 + 1) * RWSEM_READER;
	down_read(&sem);
	assert_int_equal(sem.state, RWSEM_COUNT_MASK / 2 + 2);
}

/* Plain data: thread sanitizer sees whether the lock orders it. */
static struct {
	unsigned long a, b, writes, reads;
	u32 readers_done, stop, arrived;
} shared;

static void write_both(void)
{
	shared.a++;
	barrier();
	shared.b++;
}

static void hammer(unsigned int cpu, void *arg)
{
	unsigned long reads = 0, writes = 0;

	for (int i = 0; i < 20000; i++) {
		switch ((i * 7 + (int)cpu) % 8) {
		case 0:
			down_write(&sem);
			write_both();
			writes++;
			up_write(&sem);
			break;
		case 1:
			down_write(&sem);
			write_both();
			writes++;
			downgrade_write(&sem);
			BUG_ON(shared.a != shared.b);
			reads++;
			up_read(&sem);
			break;
		case 2:
			if (!down_write_trylock(&sem))
				break;
			write_both();
			writes++;
			up_write(&sem);
			break;
		case 3:
			if (!down_read_trylock(&sem))
				break;
			BUG_ON(shared.a != shared.b);
			reads++;
			up_read(&sem);
			break;
		default:
			down_read(&sem);
			BUG_ON(shared.a != shared.b);
			reads++;
			up_read(&sem);
		}
	}
	fetch_add_relaxed(&shared.writes, writes);
	fetch_add_relaxed(&shared.reads, reads);
}

static void test_rwsem_excludes(void **state)
{
	init_rwsem(&sem);
	memset(&shared, 0, sizeof(shared));
	sim_run(4, false, hammer, NULL);
	assert_int_equal(shared.a, shared.writes);
	assert_int_equal(shared.b, shared.writes);
	assert_true(shared.reads >= 50000);
	assert_int_equal(sem.state & ~RWSEM_PHASE, 0);
}

/* A reader is always inside, by turns; a writer comes in all the same. */
static void relay(unsigned int cpu, void *arg)
{
	if (cpu == 2) {
		while (READ_ONCE(shared.arrived) < 2)
			octavo_port_relax();
		down_write(&sem);
		WRITE_ONCE(shared.stop, 1u);
		up_write(&sem);
		return;
	}
	down_read(&sem);
	fetch_add_relaxed(&shared.arrived, 1u);
	while (!READ_ONCE(shared.stop)) {
		u32 turn = READ_ONCE(shared.readers_done);

		/* leave only after the other has left and come in again, or cannot */
		for (int i = 0; i < 1000 && READ_ONCE(shared.readers_done) == turn; i++)
			octavo_port_relax();
		up_read(&sem);
		fetch_add_relaxed(&shared.readers_done, 1u);
		down_read(&sem);
	}
	up_read(&sem);
}

static void test_rwsem_readers_by_turns_do_not_starve_a_writer(void **state)
{
	init_rwsem(&sem);
	memset(&shared, 0, sizeof(shared));
	sim_run(3, false, relay, NULL);
	assert_int_equal(shared.stop, 1);
	assert_int_equal(sem.state & ~RWSEM_PHASE, 0);
}

/*
 * The lock is handed from writer to writer without a gap; a reader comes in within one turn: when a writer
 * leaves, all that wait are inside.
 */
static void writers_and_a_reader(unsigned int cpu, void *arg)
{
	if (cpu == 0) {
		while (READ_ONCE(shared.arrived) < 2)
			octavo_port_relax();
		for (int i = 0; i < 50; i++) {
			down_read(&sem);
			up_read(&sem);
		}
		WRITE_ONCE(shared.stop, 1u);
		return;
	}
	down_write(&sem);
	fetch_add_relaxed(&shared.arrived, 1u);
	for (;;) {
		/* hold it until the other writer waits, so that there is no gap */
		while (!(READ_ONCE(sem.state) & RWSEM_WRITE_WAITERS) && !READ_ONCE(shared.stop))
			octavo_port_relax();
		up_write(&sem);
		if (READ_ONCE(shared.stop))
			return;
		down_write(&sem);
	}
}

static void test_rwsem_writers_by_turns_do_not_starve_a_reader(void **state)
{
	init_rwsem(&sem);
	memset(&shared, 0, sizeof(shared));
	sim_run(3, false, writers_and_a_reader, NULL);
	assert_int_equal(shared.stop, 1);
	assert_int_equal(sem.state & ~RWSEM_PHASE, 0);
}

/* What waits behind what, step by step: cpu 1 does one call, cpu 0 looks at the state. */
static void await_state(u64 bits)
{
	while ((READ_ONCE(sem.state) & bits) == 0)
		octavo_port_relax();
}

static void phases(unsigned int cpu, void *arg)
{
	switch (cpu) {
	case 0:
		down_read(&sem);
		WRITE_ONCE(shared.arrived, 1u);
		await_state(RWSEM_WRITE_WAITERS);
		/* a writer waits: no reader comes in, not even by trying */
		BUG_ON(down_read_trylock(&sem));
		WRITE_ONCE(shared.arrived, 2u);
		await_state(RWSEM_COUNT_MASK * RWSEM_READ_WAITER);
		up_read(&sem);
		return;
	case 1:
		while (READ_ONCE(shared.arrived) < 1)
			octavo_port_relax();
		down_write(&sem);
		shared.writes = shared.reads + 1;
		up_write(&sem);
		return;
	default:
		while (READ_ONCE(shared.arrived) < 2)
			octavo_port_relax();
		down_read(&sem);
		/* the writer was first */
		BUG_ON(shared.writes != 1);
		up_read(&sem);
	}
}

static void test_rwsem_waiting_writer_goes_before_later_readers(void **state)
{
	for (int i = 0; i < 20; i++) {
		init_rwsem(&sem);
		memset(&shared, 0, sizeof(shared));
		sim_run(4, false, phases, NULL);
		assert_int_equal(shared.writes, 1);
		assert_int_equal(sem.state & ~RWSEM_PHASE, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rwsem_says_who_may_come_in),
		cmocka_unit_test(test_rwsem_trylock_fails_when_told_to),
		cmocka_unit_test(test_rwsem_leaving_what_is_not_held_is_fatal),
		cmocka_unit_test(test_rwsem_counts_do_not_run_into_each_other),
		cmocka_unit_test(test_rwsem_excludes),
		cmocka_unit_test(test_rwsem_readers_by_turns_do_not_starve_a_writer),
		cmocka_unit_test(test_rwsem_writers_by_turns_do_not_starve_a_reader),
		cmocka_unit_test(test_rwsem_waiting_writer_goes_before_later_readers),
	};

	return cmocka_run_group_tests_name("rwsem-" TEST_VARIANT, tests, NULL, NULL);
}
