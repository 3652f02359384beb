/* SPDX-License-Identifier: MIT */
/*
 * fuzz_race.c - libFuzzer target: the input is a program for two or three threads and their schedule (race_program.h),
 * run once on the interleaving checker. race_corpus.c runs recorded inputs, without libFuzzer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "race_program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Inputs until the machine is made anew: the checker's tables grow with each. */
#define INPUTS 200

static u32 parse_schedule(const uint8_t *data, u32 n, struct deviation *dev)
{
	static const char kinds[] = "pppprrfwpnpgpprr";
	u32 op = 0;

	for (u32 i = 0; i < n; i++, data += 3) {
		u8 kind = (u8)kinds[data[1] >> 4];

		op += data[0] | (u32)(data[1] & 3) << 8;
		/* threads are named by their number + 1, everything else is counted */
		dev[i] = (struct deviation){ op, kind, (u8)(1 + data[2] % 3) };
	}
	return n;
}

/* A thread's number in the low bits of the first byte of an operation. */
static void parse_program(const uint8_t *data, size_t size)
{
	struct race_program *p = &race_program;

	for (; size >= 3; size -= 3, data += 3) {
		u32 t = (data[0] & 3) % p->threads;

		if (p->nr[t] < RACE_OPS)
			p->op[t][p->nr[t]++] = (struct race_op){ data[0] >> 2, data[1], data[2] };
	}
}

const char *race_run(const uint8_t *data, size_t size, unsigned long *operations)
{
	struct deviation dev[RACE_ENTRIES];
	static struct result res;
	static u32 inputs;
	u32 n;

	if (size < 2)
		return NULL;
	memset(&race_program, 0, sizeof(race_program));
	race_program.threads = 2 + data[0] % 2;
	n = min((u32)data[1] % (RACE_ENTRIES + 1), (u32)((size - 2) / 3));
	n = parse_schedule(data + 2, n, dev);
	parse_program(data + 2 + 3 * n, size - 2 - 3 * n);
	if (!arena.base) {
		arena_map();
		plain_init();
	}
	if (inputs++ % INPUTS == 0)
		machine_setup(&race_fuzz);
	/* what other inputs have taught about locations must not matter for this one */
	memory_forget();
	rcu_model_setup_done();
	E.max_ops = 20000;
	E.note_races = true;
	if (explore_loosely(dev, n, &res) != VIOLATION) {
		*operations += E.op;
		return NULL;
	}
	trace_text(&(struct report){ &race_fuzz, res.why, res.schedule, 1, -1 });
	return res.why;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned long operations = 0;

	if (race_run(data, size, &operations))
		abort();
	return 0;
}
