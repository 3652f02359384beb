/* SPDX-License-Identifier: MIT */
/*
 * space.h - an address space with one populated region, for the benchmarks that need one.
 */
#ifndef OCTAVO_BENCH_SPACE_H
#define OCTAVO_BENCH_SPACE_H

#include "harness.h"

struct bench_space {
	struct mm_struct *mm;
	unsigned long addr; /* aligned for the largest leaf */
	unsigned long bytes;
};

/* Folios of @order where they fit; exits with a message if there is no memory. */
struct bench_space bench_space_make(unsigned int order, unsigned long bytes);
void bench_space_populate(const struct bench_space *s);
void bench_space_empty(const struct bench_space *s);
void bench_space_end(struct bench_space *s);

/* Faults on one CPU and two. @peer: linux_start() has been called. */
void bench_fault_rows(bool peer);

#endif /* OCTAVO_BENCH_SPACE_H */
