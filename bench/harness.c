/* SPDX-License-Identifier: MIT */
/*
 * harness.c - rounds, medians, the guard against foreign load, tables and JSON.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

struct bench_options bench_opt = { .rounds = 9 };
double bench_medians[BENCH_MAX_CONTESTANTS];
double bench_peer_seconds;
const char *bench_on;

static const char *bench_name;
static unsigned long rejected;

double bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* ---- the guard ---- */

struct load {
	unsigned long long busy; /* ticks of all CPUs that were not idle */
	double own;		 /* ticks of this process */
	double at;
};

static struct load load_now(void)
{
	struct load l = { 0, 0, bench_now() };
	unsigned long long v[8] = { 0 };
	struct rusage ru;
	FILE *f = fopen("/proc/stat", "re");
	double hz = (double)sysconf(_SC_CLK_TCK);

	/* user nice system idle iowait irq softirq steal */
	if (f) {
		if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2],
			   &v[3], &v[4], &v[5], &v[6], &v[7]) == 8)
			l.busy = v[0] + v[1] + v[2] + v[5] + v[6] + v[7];
		fclose(f);
	}
	getrusage(RUSAGE_SELF, &ru);
	l.own = ((double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		 (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6 + bench_peer_seconds) *
		hz;
	return l;
}

/* More than a tenth of one CPU, beyond what counting in ticks cannot tell. */
static bool disturbed(const struct load *a, const struct load *b)
{
	double foreign = (double)(b->busy - a->busy) - (b->own - a->own);
	double ticks = (b->at - a->at) / 1e9 * (double)sysconf(_SC_CLK_TCK);

	return foreign > 2.5 + ticks * 0.1;
}

static double guarded(const struct contestant *c)
{
	double v = 0;

	/* Quick figures are not for quoting, and what asks for them runs beside other tests. */
	if (bench_opt.quick)
		return c->run(c->ctx);
	for (int attempt = 0; attempt < 4; attempt++) {
		struct load a = load_now(), b;

		v = c->run(c->ctx);
		b = load_now();
		if (!disturbed(&a, &b))
			break;
		rejected++;
		if (attempt < 3)
			usleep(50000);
	}
	return v;
}

unsigned long bench_rejected(void)
{
	return rejected;
}

/* ---- rows ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void bench_begin(const char *bench, const char *title)
{
	bench_name = bench;
	if (!bench_opt.json)
		printf("\n%s: %s\n  %-34s %10s %21s   %s\n", bench, title, "case", "octavo",
		       "[min .. max]", "peer: value (octavo/peer)");
}

static void print_json(const char *name, const char *unit, double value, const char *peer,
		       double peer_value)
{
	printf("{\"bench\":\"%s\",\"case\":\"%s\",\"value\":%.4g,\"unit\":\"%s\",", bench_name,
	       name, value, unit);
	if (bench_on)
		printf("\"on\":\"%s\",", bench_on);
	if (peer && peer_value > 0)
		printf("\"peer\":\"%s\",\"peer_value\":%.4g,\"ratio\":%.4g}\n", peer, peer_value,
		       value / peer_value);
	else
		printf("\"peer\":null,\"peer_value\":null,\"ratio\":null}\n");
	fflush(stdout);
}

void bench_value(const char *name, const char *unit, double value, const char *peer,
		 double peer_value)
{
	if (bench_opt.json) {
		print_json(name, unit, value, peer, peer_value);
		return;
	}
	printf("  %-34s %8.4g %-2s %20s", name, value, unit, "");
	if (peer && peer_value > 0)
		printf("   %s: %.4g (%.2fx)", peer, peer_value, value / peer_value);
	putchar('\n');
	fflush(stdout);
}

double bench_row(const char *name, const char *unit, const struct contestant *c)
{
	u32 rounds = bench_opt.quick ? 1 : bench_opt.rounds;
	double *v[BENCH_MAX_CONTESTANTS];
	u32 n = 0;
	double median;
	char spread[40];

	for (; c[n].name; n++) {
		v[n] = calloc(rounds, sizeof(double));
		if (!v[n])
			abort();
		c[n].run(c[n].ctx); /* warm */
	}
	for (u32 r = 0; r < rounds; r++)
		for (u32 i = 0; i < n; i++)
			v[i][r] = guarded(&c[i]);
	for (u32 i = 0; i < n; i++)
		qsort(v[i], rounds, sizeof(double), by_value);
	for (u32 i = 0; i < n; i++)
		bench_medians[i] = v[i][rounds / 2];
	median = bench_medians[0];
	if (bench_opt.json) {
		if (n == 1)
			print_json(name, unit, median, NULL, 0);
		for (u32 i = 1; i < n; i++)
			print_json(name, unit, median, c[i].name, v[i][rounds / 2]);
	} else {
		snprintf(spread, sizeof(spread), "[%.4g .. %.4g]", v[0][0], v[0][rounds - 1]);
		printf("  %-34s %8.4g %-2s %20s  ", name, median, unit, spread);
		for (u32 i = 1; i < n; i++)
			printf(" %s: %.4g (%.2fx)", c[i].name, v[i][rounds / 2],
			       median / v[i][rounds / 2]);
		putchar('\n');
		fflush(stdout);
	}
	for (u32 i = 0; i < n; i++)
		free(v[i]);
	return median;
}

void bench_note(const char *fmt, ...)
{
	va_list ap;

	if (bench_opt.json)
		return;
	fputs("  - ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static double empty_syscall(void *unused)
{
	enum { N = 200000 };
	double t = bench_now();

	for (int i = 0; i < N; i++)
		syscall(SYS_getppid);
	return (bench_now() - t) / N;
}

void bench_calibrate(void)
{
	const struct contestant c[] = { { "host", empty_syscall, NULL }, { 0 } };

	bench_begin("calibration", "how fast this machine is today");
	bench_row("empty-system-call", "ns", c);
}

/* ---- CPUs ---- */

struct parallel {
	pthread_barrier_t start;
	void (*op)(u32 cpu, void *ctx);
	void *ctx;
	u32 first; /* CPUs before it have nothing to do */
	double ns[OCTAVO_NR_CPUS];
};

static void parallel_cpu(unsigned int cpu, void *arg)
{
	struct parallel *p = arg;
	double t;

	if (cpu < p->first)
		return;
	pthread_barrier_wait(&p->start);
	t = bench_now();
	p->op(cpu, p->ctx);
	p->ns[cpu] = bench_now() - t;
}

/* On CPUs @first to @last at once. */
static double run_on(u32 first, u32 last, void (*op)(u32 cpu, void *ctx), void *ctx)
{
	struct parallel p = { .op = op, .ctx = ctx, .first = first };
	double sum = 0;

	pthread_barrier_init(&p.start, NULL, last - first + 1);
	sim_run(last + 1, true, parallel_cpu, &p);
	pthread_barrier_destroy(&p.start);
	for (u32 i = first; i <= last; i++)
		sum += p.ns[i];
	return sum / (last - first + 1);
}

double bench_parallel(u32 cpus, void (*op)(u32 cpu, void *ctx), void *ctx)
{
	return run_on(0, cpus - 1, op, ctx);
}

double bench_two(bool alone, void (*op)(u32 cpu, void *ctx), void *ctx)
{
	return alone ? (run_on(0, 0, op, ctx) + run_on(1, 1, op, ctx)) / 2 : run_on(0, 1, op, ctx);
}

void bench_turns_take(struct bench_turns *t, pthread_barrier_t *gate, u32 cpu,
		      void (*op)(u32 cpu, void *ctx), void *ctx)
{
	const u32 turns = bench_opt.quick ? 1 : 8;
	double sum[2] = { 0 }; /* together, alone */

	op(cpu, ctx);
	for (u32 i = 0; i < 3 * turns; i++) {
		const u32 whose = i % 3; /* 0: everybody's */
		double start;

		pthread_barrier_wait(gate);
		if (whose && whose != cpu + 1)
			continue;
		start = bench_now();
		op(cpu, ctx);
		sum[whose != 0] += bench_now() - start;
	}
	t->together[cpu] = sum[0] / turns;
	t->alone[cpu] = sum[1] / turns;
}

struct turns {
	struct bench_turns t;
	pthread_barrier_t gate;
	void (*op)(u32 cpu, void *ctx);
	void *ctx;
};

static void turns_cpu(unsigned int cpu, void *arg)
{
	struct turns *s = arg;

	bench_turns_take(&s->t, &s->gate, cpu, s->op, s->ctx);
}

struct bench_turns bench_turns(void (*op)(u32 cpu, void *ctx), void *ctx)
{
	struct turns s = { .op = op, .ctx = ctx };

	pthread_barrier_init(&s.gate, NULL, 2);
	sim_run(2, true, turns_cpu, &s);
	pthread_barrier_destroy(&s.gate);
	return s.t;
}

void bench_check(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "octavo bench: %s failed\n", what);
		exit(1);
	}
}

void bench_boot(u64 bytes, u32 cpus, bool large)
{
	struct sim_config cfg = { .bytes = bytes, .cpus = cpus, .quiet = true, .large = large };
	int err = sim_boot(&cfg);

	if (err) {
		fprintf(stderr, "octavo bench: cannot boot a machine of %llu MiB: error %d\n",
			(unsigned long long)(bytes >> 20), -err);
		exit(2);
	}
}
