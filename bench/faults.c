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
	struct bench_turns (*turns)(const struct crowd *c);
	enum { TOGETHER, ALONE, SCALING } figure;
	bool shared; /* one address space */
};

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
static struct bench_turns our_turns(const struct crowd *c)
{
	struct faults f = *c->of;
	struct bench_turns t;

	for (u32 i = 0; i < 2; i++) {
		f.space[i] = i && c->shared ? f.space[0] : bench_space_make(0, FAULT_APART * 2);
		f.at[i] = f.space[i].addr + (c->shared ? i * FAULT_APART : 0);
	}
	t = bench_turns(fault_windows, &f);
	if (!c->shared)
		bench_space_end(&f.space[1]);
	bench_space_end(&f.space[0]);
	return t;
}

static struct bench_turns linux_turns(const struct crowd *c)
{
	return linux_faults(c->shared, c->of->windows);
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

static struct bench_turns clear_turns(const struct crowd *c)
{
	struct faults f = *c->of;

	return bench_turns(clear_windows, &f);
}

static double crowd_round(void *ctx)
{
	const struct crowd *c = ctx;
	const struct bench_turns t = c->turns(c);
	const double *ns = c->figure == TOGETHER ? t.together : t.alone;
	unsigned long pages = c->of->windows * (FAULT_WINDOW >> PAGE_SHIFT);

	if (!t.together[0])
		return -1;
	return c->figure == SCALING ? bench_turns_scaling(&t) : (ns[0] + ns[1]) / 2 / (double)pages;
}

static void row_of(const struct faults *f, const char *name, int figure, bool shared, bool peer)
{
	struct crowd c[] = { { f, our_turns, figure, shared },
			     { f, clear_turns, figure, shared },
			     { f, linux_turns, figure, shared } };

	bench_row(name, figure == SCALING ? "x" : "ns",
		  (struct contestant[]){ { "octavo", crowd_round, &c[0] },
					 { "clear", crowd_round, &c[1] },
					 { peer ? "linux" : NULL, crowd_round, &c[2] },
					 { 0 } });
}

void bench_fault_rows(bool peer)
{
	struct faults f = { .windows = bench_opt.quick ? 16 : 128 };

	for (u32 i = 0; i < 2; i++) {
		f.host[i] = aligned_alloc(PAGE_SIZE, FAULT_WINDOW);
		bench_check(f.host[i] != NULL, "memory for windows");
	}
	row_of(&f, "fault/cpus1", ALONE, false, peer);
	row_of(&f, "fault/cpus2/two-mm", TOGETHER, false, peer);
	row_of(&f, "fault/cpus2/one-mm", TOGETHER, true, peer);
	row_of(&f, "fault/scaling/two-mm", SCALING, false, peer);
	row_of(&f, "fault/scaling/one-mm", SCALING, true, peer);
	for (u32 i = 0; i < 2; i++)
		free(f.host[i]);
}
