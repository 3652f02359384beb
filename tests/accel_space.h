/* SPDX-License-Identifier: MIT */
/*
 * accel_space.h - an accelerator and the address space that it shares, for tests of what a device does.
 */
#ifndef TESTS_ACCEL_SPACE_H
#define TESTS_ACCEL_SPACE_H

#include "accel.h"
#include "fault_machine.h"

#define DEV_CPU 3u /* and on: the device's threads */

static struct accel *dev;
static struct accel_ctx *ctx;

static inline void accel_boot(const struct sim_config *sim)
{
	assert_int_equal(sim_boot(sim), 0);
	sim_set_cpu(0);
	as = mm_alloc();
	assert_non_null(as);
	sim_mm_use(as);
	sim_mmu_paranoid(true);
}

static inline int job(enum accel_op op, unsigned long dst, unsigned long src, unsigned long pages,
		      u64 value, u64 *result)
{
	struct accel_job j = {
		.op = op, .dst = at(dst), .src = at(src), .len = pages << PAGE_SHIFT, .value = value
	};
	int err = accel_run(ctx, &j);

	if (result)
		*result = j.result;
	return err;
}

static inline struct accel_stat stat(void)
{
	struct accel_stat st;

	accel_stat(dev, &st);
	return st;
}

#endif /* TESTS_ACCEL_SPACE_H */
