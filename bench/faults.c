/* SPDX-License-Identifier: MIT */
/*
 * faults.c - octavo bench vs-linux, faults on one CPU and two: do CPUs wait for each other?
 *
 * Each touches a window of pages, gives it back, and so on: the pages stay in the CPU's own cache. Over a large
 * region two CPUs wait for memory, and what is measured is the machine. How far it lets two CPUs clear such windows
 * side by side, with no memory manager at all, is the row beside which ours is to be read.
 */
#include <stdlib.h>
#include <string.h>

#include "linux.h"
#include "space.h"

/* What the CPUs of a round do. */
struct faults {
	struct bench_space space[2]; /* of each CPU; the same one, or one each */
	unsigned long at[2];
	char *host[2]; /* plain memory, for who only clears */
	unsigned long windows;
};

/* One of the contestants. */
struct crowd {
	const struct faults *of;
	enum linux_op op; /* of the peer */
	bool alone;	  /* each CPU while the other does nothing */
	bool shared;	  /* one address space */
};

static double per_page(double ns, const struct faults *f)
{
	return ns / (double)(f->windows * FAULT_WINDOW >> PAGE_SHIFT);
}

static void fault_windows(u32 cpu, void *ctx)
{
	const struct faults *f = ctx;
	struct mm_struct *mm = f->space[cpu].mm;
	const u32 flags = FAULT_FLAG_WRITE | FAULT_FLAG_USER;

	for (unsigned long n = 0; n < f->windows; n++) {
		for (unsigned long off = 0; off < FAULT_WINDOW; off += PAGE_SIZE)
			bench_check(!mm_fault(mm, f->at[cpu] + off, flags), "a fault");
		bench_check(!vm_madvise(mm, f->at[cpu], FAULT_WINDOW, MADV_DONTNEED),
			    "MADV_DONTNEED");
	}
}

/* Two windows as far from each other as those of the peer. */
static double fault_round(void *ctx)
{
	const struct crowd *c = ctx;
	struct faults f = *c->of;
	double ns;

	for (u32 i = 0; i < 2; i++) {
		f.space[i] = i && c->shared ? f.space[0] : bench_space_make(0, FAULT_APART * 2);
		f.at[i] = f.space[i].addr + (c->shared ? i * FAULT_APART : 0);
		/* the first fault of an address space is slow: it makes the anon_vma and tables */
		bench_check(!vm_madvise(f.space[i].mm, f.at[i], PAGE_SIZE, MADV_POPULATE_WRITE),
			    "MADV_POPULATE_WRITE");
	}
	ns = bench_two(c->alone, fault_windows, &f);
	if (!c->shared)
		bench_space_end(&f.space[1]);
	bench_space_end(&f.space[0]);
	return per_page(ns, &f);
}

static double linux_round(void *ctx)
{
	const struct crowd *c = ctx;

	return linux_run(c->op, 0, c->of->windows * FAULT_WINDOW);
}

static void clear_windows(u32 cpu, void *ctx)
{
	const struct faults *f = ctx;

	for (unsigned long n = 0; n < f->windows; n++)
		for (unsigned long off = 0; off < FAULT_WINDOW; off += PAGE_SIZE) {
			memset(f->host[cpu] + off, 0, PAGE_SIZE);
			bench_use(f->host[cpu] + off);
		}
}

static double clear_round(void *ctx)
{
	const struct crowd *c = ctx;
	struct faults f = *c->of;

	return per_page(bench_two(c->alone, clear_windows, &f), &f);
}

/* The work of two CPUs in the time of one: 2 if neither waits. */
static double scaling(unsigned int on_two, unsigned int on_one)
{
	return 2 * bench_medians[on_one] / bench_medians[on_two];
}

/* In one row, so that all take turns: what the machine lets two CPUs do changes from one second to the next. */
static void rows_of(const struct faults *f, bool shared, bool peer)
{
	struct crowd c[] = {
		{ .of = f, .shared = shared },
		{ .of = f, .alone = true, .shared = shared },
		{ .of = f, .op = shared ? LINUX_FAULT_THREADS : LINUX_FAULT_PROCESSES },
		{ .of = f, .op = LINUX_FAULT },
	};
	const char *what = shared ? "one-mm" : "two-mm";
	char name[64];

	snprintf(name, sizeof(name), "fault/cpus2/%s", what);
	bench_row(name, "ns",
		  (struct contestant[]){ { "octavo", fault_round, &c[0] },
					 { "cpus1", fault_round, &c[1] },
					 { "clear", clear_round, &c[0] },
					 { "clear-cpus1", clear_round, &c[1] },
					 { peer ? "linux" : NULL, linux_round, &c[2] },
					 { "linux-cpus1", linux_round, &c[3] },
					 { 0 } });
	snprintf(name, sizeof(name), "fault/scaling/%s", what);
	bench_value(name, "x", scaling(0, 1), peer ? "linux" : NULL, peer ? scaling(4, 5) : 0);
	snprintf(name, sizeof(name), "fault/scaling/%s-beside", what);
	bench_value(name, "x", scaling(0, 1), "clear", scaling(2, 3));
}

void bench_fault_rows(bool peer)
{
	struct faults f = { .windows = bench_opt.quick ? 16 : 512 };

	for (u32 i = 0; i < 2; i++) {
		f.host[i] = aligned_alloc(PAGE_SIZE, FAULT_WINDOW);
		bench_check(f.host[i] != NULL, "memory for windows");
	}
	rows_of(&f, false, peer);
	rows_of(&f, true, peer);
	for (u32 i = 0; i < 2; i++)
		free(f.host[i]);
}
