/* SPDX-License-Identifier: MIT */
/*
 * race_program.h - an input of the race fuzzer: a short program for two or three threads, and the schedule that it runs
 * under on the interleaving checker (port/check).
 *
 *	byte 0		threads: 2 or 3
 *	byte 1		entries of the schedule that follow, at most RACE_ENTRIES
 *	3 bytes each	an entry: operations after the one before (10 bits), kind of choice, choice. It is the answer
 *			to the first choice of its kind from there on: a preemption, an older value for a load,
 *			an injected failure, ...
 *	3 bytes each	an operation: thread and what, handle, argument; at most RACE_OPS a thread
 *
 * Any string is an input.
 */
#ifndef OCTAVO_FUZZ_RACE_PROGRAM_H
#define OCTAVO_FUZZ_RACE_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#define RACE_ENTRIES 24
#define RACE_OPS     6
#define RACE_THREADS 3

struct race_op {
	uint8_t what, handle, arg;
};

struct race_program {
	unsigned int threads;
	unsigned int nr[RACE_THREADS];
	struct race_op op[RACE_THREADS][RACE_OPS];
};

struct scenario;

/* What the threads do: constant while they run. race_program.c */
extern struct race_program race_program;
extern const struct scenario race_fuzz;

/**
 * race_run() - run an input; fuzz_race.c
 * @data: bytes
 * @size: how many
 * @operations: of the execution, added to
 *
 * Return: NULL, or what went wrong, after the trace was printed.
 */
const char *race_run(const uint8_t *data, size_t size, unsigned long *operations);

#endif /* OCTAVO_FUZZ_RACE_PROGRAM_H */
