// SPDX-License-Identifier: MIT
/*
 * device_sim.c - a backend of host memory: the threads that ask for a copy or for words make them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "device_sim.h"

struct sim_backend {
	struct accel_backend base;
	char *bytes; /* private memory; coherent memory is the machine's */
};

static char *sim_host(struct accel_backend *be, struct accel_mem mem)
{
	struct sim_backend *sim = (struct sim_backend *)be;

	return mem.kind == ACCEL_HOST ? mem.host : sim->bytes + mem.at;
}

static int sim_memory(struct accel_backend *be, size_t bytes)
{
	struct sim_backend *sim = (struct sim_backend *)be;

	sim->bytes = aligned_alloc(PAGE_SIZE, bytes);
	return sim->bytes ? 0 : -ENOMEM;
}

static void sim_copy(struct accel_backend *be, struct accel_copy *copy, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		struct accel_copy *c = &copy[i];

		if (c->failed)
			continue;
		if (c->from.kind == ACCEL_ZEROS)
			memset(sim_host(be, c->to), 0, c->len);
		else
			memcpy(sim_host(be, c->to), sim_host(be, c->from), c->len);
	}
}

/* ---- words ---- */

static u64 word_load(const u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void word_store(u64 *p, u64 v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static int sim_compute(struct accel_backend *be, const struct accel_work *work)
{
	u64 *dst = (u64 *)sim_host(be, work->dst);
	const u64 *src = (const u64 *)sim_host(be, work->src);

	for (size_t i = 0; i < work->words; i++)
		switch (work->op) {
		case ACCEL_FILL:
			word_store(dst + i, work->value);
			break;
		case ACCEL_COPY:
			word_store(dst + i, word_load(src + i));
			break;
		case ACCEL_ADD:
		case ACCEL_ATOMIC:
			word_store(dst + i, word_load(dst + i) + work->value);
			break;
		case ACCEL_REDUCE:
			*work->result += word_load(src + i);
			break;
		case ACCEL_PREFETCH:
			break;
		}
	return 0;
}

static void sim_close(struct accel_backend *be)
{
	struct sim_backend *sim = (struct sim_backend *)be;

	free(sim->bytes);
	free(sim);
}

static const struct accel_backend_ops sim_ops = {
	.memory = sim_memory,
	.copy = sim_copy,
	.compute = sim_compute,
	.close = sim_close,
};

int device_sim_create(const struct accel_config *cfg, struct accel **devp)
{
	struct sim_backend *sim = calloc(1, sizeof(*sim));
	int err;

	if (!sim)
		return -ENOMEM;
	sim->base.ops = &sim_ops;
	sim->base.can_coherent = true;
	snprintf(sim->base.name, sizeof(sim->base.name), "simulated on the host");
	err = accel_create(cfg, &sim->base, devp);
	if (err)
		sim_close(&sim->base);
	return err;
}
