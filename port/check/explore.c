/* SPDX-License-Identifier: MIT */
/*
 * explore.c - strategies: which executions, in which order.
 *
 * Depth first: an execution is a list of answers of choose(); the next one has the same answers up
 * to the last that has an alternative, and that alternative. All executions with no preemption,
 * then all with at most one, and so on: so what is found first has fewest. Preemptions, stale reads
 * and injected failures each have a budget. PCT: random priorities, changed at d - 1 random places
 * (S. Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs",
 * ASPLOS 2010).
 *
 * A schedule is the list of answers that were not the usual one, each named by the number of the
 * operation where it was given: "14p2.20r1" is "at operation 14 thread 2 preempts, at 20 the load
 * reads the store before the newest". It does not depend on what the checker has learnt about the
 * scenario, and can be shortened by leaving entries out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"

#define PLENTY (1 << 30)

volatile int interrupted;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- schedules ---- */

static void schedule_print(const struct deviation *dev, u32 n, char *buf, size_t size)
{
	size_t at = 0;

	buf[0] = 0;
	if (!n)
		snprintf(buf, size, "-");
	for (u32 i = 0; i < n && at + 24 < size; i++) {
		u32 c = dev[i].c;

		if (dev[i].kind == CH_NEXT || dev[i].kind == CH_PREEMPT)
			c--; /* a thread */
		at += (size_t)snprintf(buf + at, size - at, "%s%u%c%u", i ? "." : "", dev[i].op,
				       dev[i].kind, c);
	}
}

static bool schedule_parse(const char *s, struct deviation *dev, u32 *n)
{
	*n = 0;
	if (!strcmp(s, "-"))
		return true;
	while (*s) {
		struct deviation *d = &dev[*n];
		char *end;
		unsigned long c;

		if (*n == MAX_DEV)
			return false;
		d->op = (u32)strtoul(s, &end, 10);
		if (end == s || !*end || !strchr("nprfwug", *end))
			return false;
		d->kind = (u8)*end;
		s = end + 1;
		c = strtoul(s, &end, 10);
		if (end == s || c > 249)
			return false;
		d->c = (u8)(d->kind == CH_NEXT || d->kind == CH_PREEMPT ? c + 1 : c);
		(*n)++;
		if (*end && *end != '.')
			return false;
		s = *end ? end + 1 : end;
	}
	return true;
}

/* ---- one execution of each strategy ---- */

static void budgets(int preempt, int stale, int faults)
{
	E.preempt_left = preempt;
	E.stale_left = stale;
	E.fault_left = faults;
}

/* Repeats until no location turns out to be shared that was not known to be. */
static enum outcome run_replay(const struct deviation *dev, u32 n)
{
	enum outcome o;

	E.strategy = REPLAY;
	E.reduce = false;
	E.replay = dev;
	E.nr_replay = n;
	do {
		budgets(PLENTY, PLENTY, PLENTY);
		o = run_once();
	} while (o == GREW);
	return o;
}

/* To the next execution; false: there is none. */
static bool backtrack(void)
{
	while (E.nr_stack) {
		struct choice *c = &E.stack[E.nr_stack - 1];

		if (c->c + 1 < c->n) {
			c->c++;
			return true;
		}
		E.nr_stack--;
	}
	return false;
}

struct run {
	const struct scenario *sc;
	const struct options *opt;
	struct result *res;
	double start, told;
	int faults, bound;
};

static int pick(int asked, int scenario, int usual)
{
	if (asked >= 0)
		return asked;
	return scenario < 0 ? 0 : scenario ? scenario : usual;
}

/* Stale reads of executions with at most @bound preemptions. */
static int stale_at(const struct run *r, int bound)
{
	int stale = pick(r->opt->stale, r->sc->stale, 2);
	bool below = r->opt->stale < 0 && bound < pick(-1, r->sc->bound, 2);

	return below ? max(stale, r->sc->stale_below) : stale;
}

static void progress(struct run *r, int bound, u64 n)
{
	double t = now();

	if (!r->opt->progress || t - r->told < 0.2)
		return;
	r->told = t;
	fprintf(stderr, "\r%-28s bound %d: %11lu executions, %7.0f/s, depth %u, %u locations\033[K",
		r->sc->name, bound, (unsigned long)n, (double)r->res->total / (t - r->start),
		E.nr_stack, E.nr_sid);
}

static bool out_of_time(struct run *r)
{
	struct result *res = r->res;

	if (interrupted) {
		res->interrupted = true;
		return true;
	}
	return (r->opt->max_executions && res->total >= r->opt->max_executions) ||
	       (r->opt->seconds > 0 && now() - r->start > r->opt->seconds);
}

/* All executions with at most @bound preemptions. False: ended early. */
static bool explore_bound(struct run *r, int bound)
{
	struct result *res = r->res;
	int stale = stale_at(r, bound);
	u64 n = 0;

	E.strategy = DFS;
	E.reduce = !r->opt->all;
	E.nr_stack = 0;
	res->cut = 0;
	do {
		enum outcome o;

		budgets(bound, stale, r->faults);
		o = run_once();
		res->total++;
		res->longest = max(res->longest, E.op);
		if (o == GREW) {
			n = 0;
			res->cut = 0;
			E.nr_stack = 0;
			continue;
		}
		res->executions = ++n;
		res->cut += o == CUT;
		if (o == VIOLATION) {
			res->outcome = VIOLATION;
			return false;
		}
		if (n % 1024 == 0) {
			progress(r, bound, n);
			if (out_of_time(r))
				return false;
		}
	} while (E.outcome == GREW || backtrack());
	res->bound = bound;
	return true;
}

static void explore_dfs(struct run *r)
{
	u64 others = 0;

	for (int b = 0; b <= r->bound; b++) {
		if (!explore_bound(r, b))
			return;
		/* what the last bound does not have among its own */
		if (b == r->bound - 1 && stale_at(r, b) > stale_at(r, r->bound))
			others = r->res->executions;
	}
	r->res->executions += others;
	r->res->complete = true;
}

static void explore_random(struct run *r)
{
	struct result *res = r->res;
	u32 d = (u32)min(r->opt->depth - 1, (int)ARRAY_SIZE(E.pct_points));

	E.rng = r->opt->seed;
	while (!out_of_time(r)) {
		u32 len = max(res->longest, 20u);

		E.strategy = r->opt->strategy;
		E.reduce = false;
		E.pct_nr = E.strategy == PCT ? d : 0;
		E.pct_low = 0;
		for (u32 i = 0; i < E.pct_nr; i++)
			E.pct_points[i] = 1 + (u32)(rng_next() % len);
		budgets(PLENTY, stale_at(r, 0) ? PLENTY : 0, r->faults);
		switch (run_once()) {
		case VIOLATION:
			res->total++;
			res->executions = res->total;
			res->outcome = VIOLATION;
			return;
		case OK:
			res->longest = max(res->longest, E.op);
			break;
		case CUT:
		case GREW:
			break;
		}
		res->executions = ++res->total;
		if (res->total % 1024 == 0)
			progress(r, -1, res->total);
	}
}

/* ---- after a violation ---- */

/* Leave out whatever is not needed: one entry at a time, until none can go. */
static u32 shrink(struct deviation *dev, u32 n)
{
	struct deviation try[MAX_DEV];
	bool gone = true;

	while (gone) {
		gone = false;
		for (u32 i = n; i-- > 0;) {
			memcpy(try, dev, i * sizeof(*dev));
			memcpy(try + i, dev + i + 1, (n - i - 1) * sizeof(*dev));
			if (run_replay(try, n - 1) != VIOLATION)
				continue;
			/* what was really chosen: entries that no longer fit are gone too */
			n = E.nr_dev;
			memcpy(dev, E.dev, n * sizeof(*dev));
			gone = true;
			break;
		}
	}
	return n;
}

/* Replays with a trace; shortens the schedule first, if asked to. */
static void explain(struct result *res, bool shorten)
{
	struct deviation dev[MAX_DEV];
	u32 n = E.nr_dev;

	memcpy(dev, E.dev, n * sizeof(*dev));
	if (run_replay(dev, n) != VIOLATION) {
		fprintf(stderr, "octavo-race: %s: the violation does not repeat itself\n",
			E.sc->name);
		exit(2);
	}
	if (shorten)
		n = shrink(dev, n);
	E.tracing = true;
	if (run_replay(dev, n) != VIOLATION)
		abort();
	E.tracing = false;
	snprintf(res->why, sizeof(res->why), "%s", E.why);
	schedule_print(E.dev, E.nr_dev, res->schedule, sizeof(res->schedule));
}

enum outcome explore_loosely(const struct deviation *dev, u32 n, struct result *res)
{
	enum outcome o;

	E.loose = true;
	o = run_replay(dev, n);
	E.loose = false;
	if (o != VIOLATION)
		return o;
	memset(res, 0, sizeof(*res));
	explain(res, true);
	return VIOLATION;
}

static void explore_replay(struct run *r)
{
	struct deviation dev[MAX_DEV];
	struct result *res = r->res;
	u32 n;

	if (!schedule_parse(r->opt->replay, dev, &n)) {
		res->diverged = true;
		return;
	}
	E.tracing = true;
	res->outcome = run_replay(dev, n);
	E.tracing = false;
	res->total = res->executions = 1;
	res->longest = E.op;
	res->diverged = E.at_replay != n;
	snprintf(res->why, sizeof(res->why), "%s", res->outcome == VIOLATION ? E.why : "");
	schedule_print(E.dev, E.nr_dev, res->schedule, sizeof(res->schedule));
}

void explore(const struct scenario *sc, const struct options *opt, struct result *res)
{
	struct run r = { .sc = sc, .opt = opt, .res = res, .start = now() };

	memset(res, 0, sizeof(*res));
	res->bound = -1;
	r.bound = pick(opt->bound, sc->bound, 2);
	r.faults = opt->faults >= 0 ? opt->faults : sc->faults;
	E.max_ops = 20000;
	E.note_races = !(sc->flags & SC_NO_RACES);
	machine_setup(sc);
	if (opt->replay) {
		explore_replay(&r);
	} else {
		if (opt->strategy == DFS)
			explore_dfs(&r);
		else
			explore_random(&r);
		if (res->outcome == VIOLATION)
			explain(res, true);
	}
	res->locations = E.nr_sid;
	res->ends = machine_ends();
	res->seconds = now() - r.start;
	if (opt->progress)
		fprintf(stderr, "\r\033[K");
}
