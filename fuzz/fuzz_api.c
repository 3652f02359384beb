/* SPDX-License-Identifier: MIT */
/*
 * fuzz_api.c - libFuzzer target: the input is a program of the public interface with its fault choices, run on the
 * core and on the naive model (tests/oracle.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include "../tests/oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *error = oracle_run(data, size, NULL);

	if (error) {
		fprintf(stderr, "octavo: %s\n", error);
		abort();
	}
	return 0;
}
