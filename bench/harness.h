/* SPDX-License-Identifier: MIT */
/*
 * harness.h - measuring like against like: contestants take turns, A B A B, pinned, in one run.
 *
 * Each row of a table is a case with our value and one or more peers'. A value is the median of
 * at least nine rounds; a round that foreign load disturbed is thrown away and run again. Wall clock is
 * never a test's verdict.
 */
#ifndef OCTAVO_BENCH_HARNESS_H
#define OCTAVO_BENCH_HARNESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

#include <octavo/octavo.h>

#include "sim.h"

enum { BENCH_MAX_CONTESTANTS = 6 };

/* Runs once and returns one value in the case's unit. */
typedef double (*bench_fn)(void *ctx);

struct contestant {
	const char *name; /* NULL ends the list; the first one is ours */
	bench_fn run;
	void *ctx;
};

struct bench_options {
	bool json;
	bool quick; /* one round, small sizes: does it run at all */
	bool thp;   /* may change Linux's settings of large folios for a while */
	u32 rounds;
	bool cuda; /* device: on a GPU */
};
extern struct bench_options bench_opt;

/* What the rows are measured on besides this machine; NULL: nothing. */
extern const char *bench_on;

/* A new table. */
void bench_begin(const char *bench, const char *title);

/**
 * bench_row() - measure the contestants in turns and print a row
 * @name: case, such as repeat/order0/cpus1
 * @unit: of the values; "ns" values are better when smaller
 * @c: contestants, the first one ours
 *
 * Return: our median.
 */
double bench_row(const char *name, const char *unit, const struct contestant *c);

/* Medians of the last row's contestants, in their order. */
extern double bench_medians[BENCH_MAX_CONTESTANTS];

/* A row whose value is already known: exact counts, derived figures. @peer may be NULL. */
void bench_value(const char *name, const char *unit, double value, const char *peer,
		 double peer_value);

/* A line under the table. */
void bench_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Empty system call: says how fast this machine is today. */
void bench_calibrate(void);

/* CPU time that a peer's process has used so far: not foreign load. */
extern double bench_peer_seconds;

/* Rounds thrown away so far. */
unsigned long bench_rejected(void);

double bench_now(void); /* ns */

/*
 * Run op(cpu, ctx) on @cpus pinned CPUs between two barriers. Return: the mean over CPUs of ns from start to end.
 */
double bench_parallel(u32 cpus, void (*op)(u32 cpu, void *ctx), void *ctx);

/*
 * The same on two CPUs; or (@alone) on each of them while the other does nothing, which is what
 * together is to be compared with, for CPUs need not be alike. On a virtual machine one may share
 * its core with a stranger and another may not.
 */
double bench_two(bool alone, void (*op)(u32 cpu, void *ctx), void *ctx);

/*
 * What two CPUs take for the same work in turns: both at once, the first alone, the second alone, and again. What a virtual
 * machine lets two CPUs do changes from one second to the next; so it is the same for all three.
 */
struct bench_turns {
	double together[2], alone[2]; /* ns a turn, of each CPU */
};

/* One CPU's part of it; @gate is for two. A first turn is not measured. */
void bench_turns_take(struct bench_turns *t, pthread_barrier_t *gate, u32 cpu,
		      void (*op)(u32 cpu, void *ctx), void *ctx);

/* Both parts, on two of our CPUs. */
struct bench_turns bench_turns(void (*op)(u32 cpu, void *ctx), void *ctx);

/* The work of two CPUs in the time of one: 2 if neither waits for the other. */
static inline double bench_turns_scaling(const struct bench_turns *t)
{
	return t->alone[0] / t->together[0] + t->alone[1] / t->together[1];
}

/* A fixed sequence. */
static inline u64 bench_rand(u64 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Ends the benchmark if something that it needs has failed. @what: what that is */
void bench_check(bool ok, const char *what);

/* Stops the compiler from leaving out what is measured. */
#define bench_use(p) __asm__ __volatile__("" : : "r"(p) : "memory")

/*
 * A machine for a benchmark; exits with a message if it cannot be had. @large: its memory is in the host's large pages, as a
 * kernel's direct map is; not where the peer is a heap of this process, which has none.
 */
void bench_boot(u64 bytes, u32 cpus, bool large);

/* ---- instruction counts (callgrind), when valgrind is installed ---- */

/* Something to count: @n operations. */
struct bench_count {
	const char *name;
	void (*setup)(void);
	void (*run)(unsigned long n);
	const char *peer; /* NULL, or the name of what peer_run does */
	void (*peer_run)(unsigned long n);
};

/* Instructions an operation; negative if they cannot be counted. @which: "octavo" or "peer". */
double bench_count_one(const char *name, const char *which);
/* Rows of instructions an operation; a note instead if there is no valgrind. */
void bench_count_rows(const struct bench_count *counts, unsigned int nr);
/* The child's side: run one and exit. */
int bench_count_child(const char *name, const char *which, unsigned long n);

/* The benchmarks. */
void bench_frames(void);
void bench_folios(void);
void bench_slab(void);
void bench_vs_linux(void);
void bench_gup(void);
void bench_exclusive(void);
void bench_vmap(void);
void bench_device(void);
void bench_unmap(void);
extern const struct bench_count frames_counts[], folios_counts[], slab_counts[], space_counts[],
	gup_counts[], vmap_counts[], unmap_counts[];
extern const unsigned int nr_frames_counts, nr_folios_counts, nr_slab_counts, nr_space_counts,
	nr_gup_counts, nr_vmap_counts, nr_unmap_counts;

int cmd_bench(int argc, char **argv);

#endif /* OCTAVO_BENCH_HARNESS_H */
