/* SPDX-License-Identifier: MIT */
/*
 * fake_cuda.h - what tests may do to the double of the CUDA driver library, and see of it.
 *
 * The test looks for the symbol "fake_cuda" in the library that it has loaded.
 */
#ifndef OCTAVO_FAKE_CUDA_H
#define OCTAVO_FAKE_CUDA_H

#include <stdbool.h>

struct fake_cuda {
	int devices;
	unsigned int calls; /* so far, but for names of errors */
	/* The call that fails, with what; 0: none. Sticky: so do all after it, until the context is gone. */
	unsigned int fail_at;
	int fail_with;
	bool sticky;
	int dead; /* the error of the context */
	unsigned int
		live; /* allocations, streams, modules, registrations, references of the context, threads that have it current */
	unsigned int wrong; /* calls that no driver would have liked; the last one's name */
	const char *wrong_name;
	unsigned int launches, to_device, to_host, within, sets;
};

#endif /* OCTAVO_FAKE_CUDA_H */
