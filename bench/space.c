/* SPDX-License-Identifier: MIT */
/*
 * space.c - octavo bench vs-linux: calls on a region of anonymous memory, beside the same system
 * calls of the Linux under us. Ours have no trap, no control-group charge, no security hooks and
 * a software TLB: a guide, not a headline. Instruction counts are ours alone.
 */
#include <stdlib.h>

#include "linux.h"
#include "space.h"

static const unsigned int orders[] = { 0, 4, 9 };
static const char *const sizes[] = { "4K", "64K", "2M" };

static __noinline void check(long err, const char *what)
{
	if (err < 0) {
		fprintf(stderr, "octavo bench: %s: error %ld\n", what, -err);
		exit(1);
	}
}

struct bench_space bench_space_make(unsigned int order, unsigned long bytes)
{
	struct bench_space s = { .mm = mm_alloc(), .bytes = bytes };
	long at;

	check(s.mm ? 0 : -ENOMEM, "mm_alloc");
	s.mm->folio_orders = 1u | 1u << order;
	at = vm_mmap(s.mm, 1ul << 40, bytes, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, NULL, 0);
	check(at, "vm_mmap");
	s.addr = (unsigned long)at;
	return s;
}

void bench_space_populate(const struct bench_space *s)
{
	check(vm_madvise(s->mm, s->addr, s->bytes, MADV_POPULATE_WRITE), "MADV_POPULATE_WRITE");
}

void bench_space_empty(const struct bench_space *s)
{
	check(vm_madvise(s->mm, s->addr, s->bytes, MADV_DONTNEED), "MADV_DONTNEED");
}

void bench_space_end(struct bench_space *s)
{
	mmput(s->mm);
	s->mm = NULL;
}

/* ---- one round of each ---- */

struct round {
	enum linux_op op;
	unsigned int order;
	unsigned long bytes;
	struct bench_space space;
	bool keep; /* leave it there: what is counted is what was done so far */
};

static double fork_round(const struct round *r, bool cow)
{
	struct mm_struct *child;
	double t = bench_now();
	int err = 0;

	child = mm_fork(r->space.mm, &err);
	t = bench_now() - t;
	check(err, "mm_fork");
	if (cow) {
		t = bench_now();
		bench_space_populate(&r->space);
		t = bench_now() - t;
	}
	if (!r->keep)
		mmput(child);
	return t;
}

static double move_round(struct round *r, unsigned long to)
{
	struct bench_space *s = &r->space;
	double t = bench_now();

	check(vm_mremap(s->mm, s->addr, s->bytes, s->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to),
	      "vm_mremap");
	t = bench_now() - t;
	s->addr = to;
	return t;
}

static double protect_round(const struct round *r)
{
	const struct bench_space *s = &r->space;
	double t = bench_now();

	check(vm_mprotect(s->mm, s->addr, s->bytes, PROT_READ), "vm_mprotect");
	check(vm_mprotect(s->mm, s->addr, s->bytes, PROT_READ | PROT_WRITE), "vm_mprotect");
	return (bench_now() - t) / 2;
}

static double ours(void *ctx)
{
	struct round *r = ctx;
	double t, ns = 0;

	r->space = bench_space_make(r->order, r->bytes);
	t = bench_now();
	bench_space_populate(&r->space);
	t = bench_now() - t;
	switch (r->op) {
	case LINUX_ZAP:
		ns = bench_now();
		bench_space_empty(&r->space);
		ns = bench_now() - ns;
		break;
	case LINUX_FORK:
	case LINUX_COW:
		ns = fork_round(r, r->op == LINUX_COW);
		break;
	case LINUX_MPROTECT:
		ns = protect_round(r);
		break;
	case LINUX_MREMAP:
		ns = move_round(r, (1ul << 40) + (1ul << 36));
		break;
	case LINUX_MREMAP_ODD:
		ns = move_round(r, (1ul << 40) + (1ul << 36) + PAGE_SIZE);
		break;
	default:
		ns = t;
		break;
	}
	if (!r->keep)
		bench_space_end(&r->space);
	return ns / (double)(r->bytes >> PAGE_SHIFT);
}

static double theirs(void *ctx)
{
	const struct round *r = ctx;

	return linux_run(r->op, r->order, r->bytes);
}

static const struct {
	const char *name;
	enum linux_op op;
} ops[] = {
	{ "populate", LINUX_POPULATE },
	{ "zap", LINUX_ZAP },
	{ "fork", LINUX_FORK },
	{ "cow", LINUX_COW },
	{ "mprotect", LINUX_MPROTECT },
	{ "mremap", LINUX_MREMAP },
	{ "mremap-odd", LINUX_MREMAP_ODD },
};

static void rows_of_order(unsigned int o, unsigned long bytes)
{
	bool peer = linux_use_order(orders[o]);
	char name[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(ops); i++) {
		struct round r = { .op = ops[i].op, .order = orders[o], .bytes = bytes };
		struct contestant c[] = { { "octavo", ours, &r }, { "linux", theirs, &r }, { 0 } };

		if (!peer)
			c[1].name = NULL;
		snprintf(name, sizeof(name), "%s/%s", ops[i].name, sizes[o]);
		bench_row(name, "ns", c);
	}
	linux_unuse_order();
	if (!peer)
		bench_note("%s: Linux does not use folios of this size here%s", sizes[o],
			   orders[o] == 4 ? " (--thp switches them on for a while)" : "");
}

/* ---- instructions ---- */

/* Clearing and copying pages are the C library's, and not what is counted: see the baseline rows. */
static void count_op(unsigned long n, unsigned int order, enum linux_op op)
{
	struct round r = {
		.op = op, .order = order, .bytes = ALIGN(n, 512) << PAGE_SHIFT, .keep = true
	};

	ours(&r);
}

#define COUNT(o, op)                                  \
	static void count_##o##_##op(unsigned long n) \
	{                                             \
		count_op(n, o, LINUX_##op);           \
	}
#define COUNTS(o)          \
	COUNT(o, POPULATE) \
	COUNT(o, ZAP)      \
	COUNT(o, FORK)     \
	COUNT(o, COW)      \
	COUNT(o, MPROTECT) \
	COUNT(o, MREMAP)   \
	COUNT(o, MREMAP_ODD)
COUNTS(0)
COUNTS(4)
COUNTS(9)

/* A page of its own for each write, one fault each; tables are there, as they are for most faults of a program. */
static void count_faults(unsigned long n)
{
	struct bench_space s = bench_space_make(0, 512ul << PAGE_SHIFT);

	for (unsigned long i = 0; i < n; i++) {
		if (i % 512 == 0)
			bench_space_empty(&s);
		check(mm_fault(s.mm, s.addr + (i % 512 << PAGE_SHIFT),
			       FAULT_FLAG_WRITE | FAULT_FLAG_USER)
			      ? -EFAULT
			      : 0,
		      "mm_fault");
	}
}

/* What is in it and no fault: the same pages had and cleared, and given back. */
static void count_fault_pages(unsigned long n)
{
	struct bench_space s = bench_space_make(0, 512ul << PAGE_SHIFT);
	struct folio *folios[512];

	for (unsigned long i = 0; i < n; i++) {
		folios[i % 512] = folio_alloc(GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 0, FOLIO_ANON);
		check(folios[i % 512] ? 0 : -ENOMEM, "folio_alloc");
		if (i % 512 == 511)
			folios_put_refs(folios, NULL, 512);
	}
	bench_use(&s);
}

/* POPULATE is making and populating; the others do that and one thing more, or two. */
#define COUNT_ROWS(o)                                                             \
	{ "space/populate/" #o, NULL, count_##o##_POPULATE, NULL, NULL },         \
		{ "space/zap/" #o, NULL, count_##o##_ZAP, NULL, NULL },           \
		{ "space/fork/" #o, NULL, count_##o##_FORK, NULL, NULL },         \
		{ "space/cow/" #o, NULL, count_##o##_COW, NULL, NULL },           \
		{ "space/mprotect/" #o, NULL, count_##o##_MPROTECT, NULL, NULL }, \
		{ "space/mremap/" #o, NULL, count_##o##_MREMAP, NULL, NULL },     \
	{                                                                         \
		"space/mremap-odd/" #o, NULL, count_##o##_MREMAP_ODD, NULL, NULL  \
	}

const struct bench_count space_counts[] = {
	COUNT_ROWS(0),
	COUNT_ROWS(4),
	COUNT_ROWS(9),
	{ "space/fault", NULL, count_faults, "folio_alloc", count_fault_pages },
};
const unsigned int nr_space_counts = ARRAY_SIZE(space_counts);

/* What a case does before the thing itself: the index of a row of its order. */
static const unsigned int count_after[] = { 0, 0, 0, 2, 0, 0, 0 };

static void count_rows(void)
{
	char name[64];

	for (unsigned int o = 0; o < (bench_opt.quick ? 1 : ARRAY_SIZE(orders)); o++) {
		const struct bench_count *c = space_counts + o * ARRAY_SIZE(ops);
		double v[ARRAY_SIZE(ops)];

		for (unsigned int i = 0; i < ARRAY_SIZE(ops); i++) {
			double n;

			v[i] = bench_count_one(c[i].name, "octavo");
			if (v[i] < 0) {
				bench_note("no instruction counts: valgrind is not installed");
				return;
			}
			n = i ? v[i] - v[count_after[i]] : v[i];
			/* two calls are in it */
			if (ops[i].op == LINUX_MPROTECT)
				n /= 2;
			snprintf(name, sizeof(name), "%s/%s/instructions", ops[i].name, sizes[o]);
			bench_value(name, "in", n, NULL, 0);
		}
	}
	/* with MADV_DONTNEED of what was faulted in */
	bench_value("fault+zap/4K/instructions", "in", bench_count_one("space/fault", "octavo"),
		    "folio_alloc+put", bench_count_one("space/fault", "peer"));
}

void bench_vs_linux(void)
{
	unsigned long bytes = bench_opt.quick ? 16ul << 20 : 256ul << 20;
	bool peer;

	bench_begin("vs-linux", "256 MiB of anonymous memory, ns and instructions a page");
	peer = linux_start();
	bench_boot(2ull << 30, 2, true);
	/* first: memory that one CPU has used up and freed before is in that CPU's caches, and allocators' parts */
	bench_fault_rows(peer);
	for (unsigned int o = 0; o < ARRAY_SIZE(orders); o++)
		rows_of_order(o, bytes);
	linux_stop();
	sim_shutdown();
	count_rows();
	bench_note("ours has no trap, no control-group charge, no security hooks, and a software "
		   "TLB: a "
		   "guide. Instructions are ours; clearing (4096 bytes, 4.1 thousand of them as "
		   "valgrind "
		   "counts rep stosb) is in populate, copying in cow");
}
