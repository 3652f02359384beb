/* SPDX-License-Identifier: MIT */
/*
 * sim.h - the simulation port: host threads are CPUs, RAM is a lazily backed mapping.
 *
 * For tests, benchmarks and tools. A thread is on the CPU that sim_set_cpu() gave it (0 to start with), and
 * nothing else is, so pinning costs nothing.
 */
#ifndef OCTAVO_SIM_H
#define OCTAVO_SIM_H

#include <octavo/boot.h>
#include <octavo/debug.h>

#define SIM_MAX_REGIONS 256

struct sim_config {
	/* A simple machine: @bytes of memory from physical address 0 in @nodes equal parts (0: 1). */
	u64 bytes;
	u32 nodes;
	u32 cpus; /* 0: 2 */
	u64 max_phys;
	u64 dma_limit, dma32_limit; /* 0: no such zones */
	u64 movable_bytes;
	bool carve; /* metadata from the regions, not from beside them */
	bool quiet; /* log nothing below errors */
	bool large; /* RAM and metadata in the host's large pages, as a kernel's direct map is */
	/* Or a memory map of its own, when nr_regions is not 0; bytes is then ignored. */
	const struct octavo_region *regions;
	u32 nr_regions;
};

/**
 * sim_boot() - a fresh machine
 *
 * RAM (hollow: host memory is used as it is touched) and metadata are mapped, then octavo_init().
 * Return: what octavo_init() returned, or -ENOMEM if the host refused the addresses.
 */
int sim_boot(const struct sim_config *cfg);

/* Shut down, check balance, unmap. Return: leaked frames. */
u64 sim_shutdown(void);

/* Forget the machine whatever state it is in, as after a panic. */
void sim_reset(void);

/* Grows with every machine that ends. */
u64 sim_machine_nr(void);

/* Host bytes resident behind RAM and behind metadata. */
u64 sim_resident_ram(void);
u64 sim_resident_meta(void);

void sim_set_cpu(unsigned int cpu);

/* Run fn(cpu, arg) on CPUs 0 to n - 1, one thread each, and wait for all. @pin: to host CPUs too. */
void sim_run(unsigned int n, bool pin, void (*fn)(unsigned int cpu, void *arg), void *arg);

/* Around what a thread of the caller's own does in the core, on a CPU that nobody else uses. */
void sim_thread_begin(unsigned int cpu);
void sim_thread_end(void);

/**
 * sim_expect_panic() - the call must panic
 *
 * Return: the reason; NULL if it returned normally. The machine's state is then undefined: sim_reset().
 */
const char *sim_expect_panic(void (*fn)(void *arg), void *arg);

/* Warnings and errors logged since the last call, and the last one's text. */
unsigned int sim_log_take(const char **last);
/* Errors only to stderr. */
void sim_log_quiet(bool quiet);
/* Where log lines go besides: NULL is stderr. Return: where they went so far. */
typedef void (*sim_log_fn)(enum octavo_log_level level, const char *line);
sim_log_fn sim_log_to(sim_log_fn fn);

#endif /* OCTAVO_SIM_H */
