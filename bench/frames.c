/* SPDX-License-Identifier: MIT */
/*
 * frames.c - the frame allocator: bulk, repeat, random; orders 0 and 9; 1 and 2 CPUs; fragmentation.
 *
 * The shapes are those of the LLFree evaluation (L. Wrenger et al., USENIX ATC 2023), so that figures
 * can be read side by side. The peer is a bound, not an allocator: a private stack of frame numbers a
 * thread, which no shared allocator can beat.
 */
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static const u64 ram = 8ull << 30;

struct shape {
	u32 cpus;
	unsigned int order;
	bool list;	 /* the bound */
	unsigned long n; /* a CPU */
	unsigned long *pfns[2];
	unsigned long turns;
};

/* ---- the bound ---- */

static struct list_cpu {
	unsigned long *stack, top;
} __cacheline list_cpus[2];

static __noinline long list_get(u32 cpu)
{
	struct list_cpu *l = &list_cpus[cpu];

	return l->top ? (long)l->stack[--l->top] : -ENOMEM;
}

static __noinline void list_put(u32 cpu, unsigned long pfn)
{
	struct list_cpu *l = &list_cpus[cpu];

	l->stack[l->top++] = pfn;
}

static void list_fill(const struct shape *s)
{
	for (u32 c = 0; c < 2; c++) {
		free(list_cpus[c].stack);
		list_cpus[c].stack = malloc((s->n * 2 + 1) * sizeof(long));
		if (!list_cpus[c].stack)
			abort();
		list_cpus[c].top = 0;
		for (unsigned long i = 0; i < s->n * 2; i++)
			list_put(c, i << s->order);
	}
}

static long get(const struct shape *s, u32 cpu)
{
	long pfn = s->list ? list_get(cpu) : frame_alloc(GFP_NOWAIT, s->order, NUMA_NO_NODE);

	if (pfn < 0) {
		fprintf(stderr, "octavo bench: out of frames\n");
		exit(1);
	}
	return pfn;
}

static void put(const struct shape *s, u32 cpu, unsigned long pfn)
{
	if (s->list)
		list_put(cpu, pfn);
	else
		frame_free(pfn, s->order);
}

/* ---- shapes ---- */

static void get_all(u32 cpu, void *ctx)
{
	struct shape *s = ctx;

	for (unsigned long i = 0; i < s->n; i++)
		s->pfns[cpu][i] = (unsigned long)get(s, cpu);
}

static void put_all(u32 cpu, void *ctx)
{
	struct shape *s = ctx;

	for (unsigned long i = s->n; i-- > 0;)
		put(s, cpu, s->pfns[cpu][i]);
}

static void pairs(u32 cpu, void *ctx)
{
	struct shape *s = ctx;

	for (unsigned long i = 0; i < s->turns; i++)
		put(s, cpu, (unsigned long)get(s, cpu));
}

static double bulk_get(void *ctx)
{
	struct shape *s = ctx;
	double ns = bench_parallel(s->cpus, get_all, s);

	bench_parallel(s->cpus, put_all, s);
	return ns / (double)s->n;
}

static double bulk_put(void *ctx)
{
	struct shape *s = ctx;

	bench_parallel(s->cpus, get_all, s);
	return bench_parallel(s->cpus, put_all, s) / (double)s->n;
}

/* On top of half the memory allocated, as the original has it. */
static double repeat(void *ctx)
{
	struct shape *s = ctx;
	double ns;

	bench_parallel(s->cpus, get_all, s);
	ns = bench_parallel(s->cpus, pairs, s) / (double)s->turns;
	bench_parallel(s->cpus, put_all, s);
	return ns;
}

/* Free another CPU's frames, in no order. */
static double random_put(void *ctx)
{
	struct shape *s = ctx;
	u64 seed = 0x9e3779b97f4a7c15;

	bench_parallel(s->cpus, get_all, s);
	for (unsigned long i = s->n * s->cpus; i-- > 1;) {
		unsigned long j = bench_rand(&seed) % (i + 1), t;
		unsigned long *a = &s->pfns[i / s->n][i % s->n], *b = &s->pfns[j / s->n][j % s->n];

		t = *a;
		*a = *b;
		*b = t;
	}
	return bench_parallel(s->cpus, put_all, s) / (double)s->n;
}

static double shape_row(const char *name, bench_fn run, unsigned int order, u32 cpus)
{
	unsigned long n = (ram >> PAGE_SHIFT) / 4 >> order;
	struct shape ours = { .cpus = cpus, .order = order, .turns = order ? 100000 : 1000000 },
		     list;
	char full[64];
	double v;

	if (bench_opt.quick) {
		n /= 64;
		ours.turns /= 64;
	}
	ours.n = n;
	for (u32 c = 0; c < 2; c++) {
		ours.pfns[c] = calloc(n, sizeof(long));
		if (!ours.pfns[c])
			abort();
	}
	list = ours;
	list.list = true;
	list_fill(&list);
	snprintf(full, sizeof(full), "%s/order%u/cpus%u", name, order, cpus);
	v = bench_row(full, "ns",
		      (struct contestant[]){ { "octavo", run, &ours },
					     { "private-list-bound", run, &list },
					     { 0 } });
	free(ours.pfns[0]);
	free(ours.pfns[1]);
	return v;
}

/*
 * Half of memory allocated at random places, then rounds that free a random tenth of it and allocate as
 * much again: how many 2 MiB blocks are wholly free, in per cent of all?
 */
static void fragmentation(void)
{
	u64 frames = ram >> PAGE_SHIFT, seed = 42;
	unsigned long half = frames / 2, tenth = half / 10;
	unsigned long *pfns = calloc(frames, sizeof(long));
	struct zone_stat st;
	u64 free_blocks = 0;

	if (!pfns)
		abort();
	for (unsigned long i = 0; i < frames; i++) {
		long pfn = frame_alloc(GFP_NOWAIT | __GFP_MEMALLOC, 0, NUMA_NO_NODE);

		if (pfn < 0) {
			frames = i;
			break;
		}
		pfns[i] = (unsigned long)pfn;
	}
	for (unsigned long i = frames; i-- > 1;) {
		unsigned long j = bench_rand(&seed) % (i + 1), t = pfns[i];

		pfns[i] = pfns[j];
		pfns[j] = t;
	}
	for (unsigned long i = half; i < frames; i++)
		frame_free(pfns[i], 0);
	for (int round = 0; round < 100; round++) {
		for (unsigned long k = 0; k < tenth; k++) {
			unsigned long j = k + bench_rand(&seed) % (half - k), t = pfns[k];

			pfns[k] = pfns[j];
			pfns[j] = t;
			frame_free(pfns[k], 0);
		}
		for (unsigned long k = 0; k < tenth; k++) {
			long pfn = frame_alloc(GFP_NOWAIT, 0, NUMA_NO_NODE);

			if (pfn < 0)
				abort();
			pfns[k] = (unsigned long)pfn;
		}
	}
	frame_drain_all();
	for (enum zone_type z = 0; z < NR_ZONES; z++)
		if (!zone_stat(0, z, &st))
			free_blocks += st.free_blocks;
	bench_value("fragmentation/free-2MiB-blocks", "%",
		    100.0 * (double)free_blocks / (double)(ram >> 21), NULL, 0);
	for (unsigned long i = 0; i < half; i++)
		frame_free(pfns[i], 0);
	free(pfns);
}

void bench_frames(void)
{
	static const unsigned int orders[] = { 0, 9 };

	bench_begin("frames", "bare frames, 8 GiB, ns an operation");
	bench_boot(ram, 2, true);
	for (unsigned int o = 0; o < 2; o++) {
		double one[4], two[4];
		static const struct {
			const char *name;
			bench_fn run;
		} shapes[] = {
			{ "bulk-get", bulk_get },
			{ "bulk-put", bulk_put },
			{ "repeat", repeat },
			{ "random-put", random_put },
		};

		for (unsigned int i = 0; i < 4; i++) {
			one[i] = shape_row(shapes[i].name, shapes[i].run, orders[o], 1);
			two[i] = shape_row(shapes[i].name, shapes[i].run, orders[o], 2);
		}
		for (unsigned int i = 0; i < 4; i++) {
			char name[64];

			snprintf(name, sizeof(name), "%s/order%u/scaling", shapes[i].name,
				 orders[o]);
			bench_value(name, "x", 2 * one[i] / two[i], NULL, 0);
		}
	}
	fragmentation();
	sim_shutdown();
	bench_count_rows(frames_counts, nr_frames_counts);
	bench_note("repeat is a pair: get and put. scaling: throughput of 2 CPUs over 1");
	bench_note(
		"fragmentation: half full, 100 rounds of freeing and re-allocating a random tenth; "
		"published for the same test: buddy lists 8 %%, LLFree 49 %% of all blocks");
}

static void count_pairs(unsigned int order, unsigned long n)
{
	struct shape s = { .order = order, .turns = n };

	pairs(0, &s);
}

static void count_pairs0(unsigned long n)
{
	count_pairs(0, n);
}

static void count_pairs9(unsigned long n)
{
	count_pairs(9, n);
}

static void count_bulk(unsigned long n)
{
	struct shape s = { .n = n, .cpus = 1 };

	s.pfns[0] = calloc(60000, sizeof(long));
	get_all(0, &s);
	put_all(0, &s);
}

const struct bench_count frames_counts[] = {
	{ "repeat/order0", NULL, count_pairs0, NULL, NULL },
	{ "repeat/order9", NULL, count_pairs9, NULL, NULL },
	{ "bulk-get+put/order0", NULL, count_bulk, NULL, NULL },
};
const unsigned int nr_frames_counts = ARRAY_SIZE(frames_counts);
