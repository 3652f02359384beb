/* SPDX-License-Identifier: MIT */
/*
 * oracle.h - a naive model of the public interface, and programs of random operations that run on both.
 *
 * The model is an array of frames and an array of handles; it shares no code with the core and knows none of its
 * structures. After every operation it is compared with what the core says of everything that the
 * operation touched, now and then with everything there is.
 *
 * A program is a string of bytes, eight an operation: { op, handle, handle, order, amount (2), fault, flags }; the
 * flags also say which of two CPUs does it.
 * Any string is a program; handles are indexes into what earlier operations left, never addresses. So the same driver
 * serves random tests, a fuzzer and its recorded corpus.
 */
#ifndef OCTAVO_TESTS_ORACLE_H
#define OCTAVO_TESTS_ORACLE_H

#include <stddef.h>
#include <stdint.h>

struct oracle_stats {
	unsigned long ops;    /* run */
	unsigned long failed; /* refused with an error, as the model expected or allowed */
	unsigned long faults; /* failed because a step was made to fail */
	unsigned long checks; /* frames compared */
};

/**
 * oracle_run() - run a program on a fresh machine
 * @prog: bytes
 * @len: how many; a rest of less than eight is left out
 * @st: added to; may be NULL
 *
 * Ends by freeing everything and checking that nothing leaked.
 *
 * Return: NULL, or what went wrong (static text with the number of the operation).
 */
const char *oracle_run(const uint8_t *prog, size_t len, struct oracle_stats *st);

#endif /* OCTAVO_TESTS_ORACLE_H */
