/* SPDX-License-Identifier: MIT */
/*
 * as_program.h - programs of random memory calls and accesses, run on the core and on the naive model (as_model.h).
 *
 * A program is a string of bytes: AS_HEADER for the machine, then AS_OP an operation. Any string is a program: addresses and
 * lengths are taken from areas that are there, boundaries of leaves, or at random; about one argument in twenty is illegal.
 * One thread is two CPUs in turn, whose translation buffers forget nothing unless they are told.
 */
#ifndef OCTAVO_TESTS_AS_PROGRAM_H
#define OCTAVO_TESTS_AS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	AS_HEADER = 4,
	AS_OP = 12,
};

struct as_stats {
	unsigned long ops;
	unsigned long refused;	/* with an error that the model expected */
	unsigned long short_of; /* memory, or a step was made to fail */
	unsigned long faults;	/* steps that were made to fail */
	unsigned long moved;	/* folios migrated, split, collapsed */
	unsigned long out;	/* folios whose contents were on the swap device alone */
	unsigned long io;	/* transfers that failed */
	unsigned long unmerged; /* areas that could have been one */
};

/**
 * as_run() - run a program on a fresh machine
 * @prog: header and operations
 * @len: bytes; a rest is left out
 * @faults: honour injected failures
 * @st: added to; may be NULL
 * @say: NULL, or gets a line for each operation
 *
 * Return: NULL, or what went wrong (static text, with the number of the operation).
 */
const char *as_run(const uint8_t *prog, size_t len, bool faults, struct as_stats *st,
		   void (*say)(const char *line));

/* Fill @prog with a random program of @steps operations. Return: its length. */
size_t as_random(uint64_t seed, unsigned int steps, uint8_t *prog);

/* Leave out what is not needed to go wrong. Return: the new length. */
size_t as_shrink(uint8_t *prog, size_t len, bool faults);

#endif /* OCTAVO_TESTS_AS_PROGRAM_H */
