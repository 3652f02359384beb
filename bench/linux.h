/* SPDX-License-Identifier: MIT */
/*
 * linux.h - the running Linux as a contestant: a small process of its own, so that its page tables have the
 * memory in question and nothing else, does single system calls that loop inside the kernel.
 */
#ifndef OCTAVO_BENCH_LINUX_H
#define OCTAVO_BENCH_LINUX_H

#include "harness.h"

enum linux_op {
	LINUX_POPULATE,
	LINUX_ZAP,
	LINUX_FORK,
	LINUX_COW,
	LINUX_MPROTECT,
	LINUX_MREMAP,
	LINUX_MREMAP_ODD,
	LINUX_FAULT_THREADS, /* linux_faults() */
	LINUX_FAULT_PROCESSES,
	LINUX_PIN,
	LINUX_PAGEOUT,
	LINUX_PAGEIN,
	LINUX_QUIT,
};

/* Of linux_faults(): so small that it stays in a CPU's own cache; and from one CPU's to the other's. */
#define FAULT_WINDOW (256ul << 10)
#define FAULT_APART  (16ul << 20)

/* Before the machine is booted: the process is small then. False: no peer. */
bool linux_start(void);
void linux_stop(void);

/*
 * Will this kernel use folios of @order now? 64 KiB ones need its settings changed for a while, which
 * --thp allows; linux_unuse_order() puts them back.
 */
bool linux_use_order(unsigned int order);
void linux_unuse_order(void);

/* Is compressed memory what it swaps to first? */
bool linux_has_zram(void);

/* One round. Return: ns a page; negative if it cannot be done here. */
double linux_run(enum linux_op op, unsigned int order, u64 bytes);

/* Two CPUs, as threads or as processes, touch the pages of @windows windows each and give them back. All 0: it cannot be done here. */
struct bench_turns linux_faults(bool threads, u64 windows);

#endif /* OCTAVO_BENCH_LINUX_H */
