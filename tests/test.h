/* SPDX-License-Identifier: MIT */
/*
 * test.h - what the unit tests share: cmocka, the simulated machine, fail-at-step-k loops.
 *
 * COVERS("S3.7 S3.25") above a test names the rows of the requirements that it covers; `make conformance` reads it.
 */
#ifndef OCTAVO_TEST_H
#define OCTAVO_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <octavo/octavo.h>

#include "sim.h"

#define COVERS(rows) _Static_assert(sizeof(rows) > 1, "names at least one row")

/* A machine of @mib MiB on @cpus CPUs; every test starts on a fresh one. */
static inline void boot_small(u64 mib, u32 cpus)
{
	struct sim_config cfg = { .bytes = mib << 20, .cpus = cpus };

	assert_int_equal(sim_boot(&cfg), 0);
}

/* Shut down: valid, and nothing leaked; or else why not is said, whatever of the log the test keeps to itself. */
static inline void shutdown_clean(void)
{
	sim_log_fn kept = sim_log_to(NULL);
	bool valid = octavo_validate();
	u64 leaked = valid ? sim_shutdown() : 0;

	sim_log_to(kept);
	assert_true(valid);
	assert_int_equal(leaked, 0);
}

/* After each test of those that boot a machine, but not after a panic: then there is none. */
static inline int down_clean(void **state)
{
	if (octavo_state.up)
		shutdown_clean();
	return 0;
}

/* @fn(@arg) must panic with a reason that contains @text; afterwards the machine is gone. */
static inline void expect_panic(void (*fn)(void *arg), void *arg, const char *text)
{
	const char *reason = sim_expect_panic(fn, arg);

	if (!reason)
		fail_msg("no panic, expected \"%s\"", text);
	else if (!strstr(reason, text))
		fail_msg("panic \"%s\", expected \"%s\"", reason, text);
	sim_reset();
}

/* TEST(name) in a table of tests: after one that failed its machine is in the way of the next. */
static inline int forget_machine(void **state)
{
	sim_log_to(NULL);
	sim_reset();
	return 0;
}
#define TEST(name) cmocka_unit_test_teardown(name, forget_machine)

/*
 * for_each_fault(k, mode, kinds, hit): run the body with the k-th fallible step failing, k = 1, 2, ...,
 * until it had fewer than k steps. The body ends with hit = octavo_fault_disarm().
 * Counts every case in fault_cases.
 */
static unsigned long fault_cases __maybe_unused;
#define for_each_fault(k, fmode, fkinds, hit) \
	for (u32 k = 1, hit = 1; hit && (octavo_fault_arm(k, fmode, fkinds), fault_cases++, 1); k++)

#endif /* OCTAVO_TEST_H */
