/* SPDX-License-Identifier: MIT */
/*
 * fuzz_as.c - libFuzzer target: the input is a program of memory calls and accesses with its fault choices, run on the
 * core and on the naive model of address spaces (tests/as_program.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include "../tests/as_program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *error = as_run(data, size, true, NULL, NULL);

	if (error) {
		fprintf(stderr, "octavo: %s\n", error);
		abort();
	}
	return 0;
}
