/* SPDX-License-Identifier: MIT */
/*
 * sched.c - one execution, from the state that setup() left to the end of finish().
 *
 * Threads are coroutines; one runs until it blocks, ends, or is preempted. It can be preempted
 * before every visible operation: an access to a location that several threads use, a fence, a park
 * or unpark. What lies between two visible operations is atomic, which hides nothing: plain
 * accesses that could tell are races, and reported as such.
 *
 * Everything that is not determined goes through choose(), and an execution is its answers.
 *
 * A thread that relaxes has seen that it must wait: it does not run again until somebody stores to
 * something that it has read since it last relaxed, unless that has changed already, and then it
 * reads that or newer. (Without that, reading the same old value for ever would be an execution.)
 * So a loop that gives up after so many turns does that only when nobody else can run. When then
 * nothing happens in many turns, or nobody can run at all and not all have ended, that is a
 * livelock or a deadlock.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

struct engine E;

u64 rng_next(void)
{
	/* splitmix64 (S. Vigna, public domain) */
	u64 z = E.rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* ---- ends ---- */

void leave_execution(enum outcome outcome)
{
	E.outcome = outcome;
	if (!E.cur) {
		fprintf(stderr, "octavo-race: %s: in setup(): %s\n", E.sc ? E.sc->name : "?",
			E.why);
		exit(2);
	}
	/* nobody comes back to this stack */
	coro_switch(&E.cur->coro, &E.sched);
	abort();
}

void violation(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(E.why, sizeof(E.why), fmt, ap);
	va_end(ap);
	leave_execution(VIOLATION);
}

void check_failed(const char *what)
{
	violation("%s", what);
}

/* ---- choices ---- */

static void record_deviation(enum choice_kind kind, u32 c)
{
	if (E.nr_dev == MAX_DEV)
		violation("more than %d choices in one execution", MAX_DEV);
	E.dev[E.nr_dev++] = (struct deviation){ E.op, (u8)kind, (u8)c };
}

static u32 replayed_loosely(enum choice_kind kind)
{
	for (u32 i = 0; i < E.nr_replay && E.replay[i].op <= E.op; i++) {
		if (E.used & 1u << i || E.replay[i].kind != kind)
			continue;
		E.used |= 1u << i;
		return E.replay[i].c;
	}
	return 0;
}

/* What the schedule that is replayed says about this choice; 0: nothing. */
static u32 replayed(enum choice_kind kind)
{
	const struct deviation *d = &E.replay[E.at_replay];

	if (E.loose)
		return replayed_loosely(kind);
	if (E.at_replay == E.nr_replay || d->op != E.op || d->kind != kind)
		return 0;
	E.at_replay++;
	return d->c;
}

static u32 choose_dfs(enum choice_kind kind, u32 n)
{
	struct choice *ch = &E.stack[E.depth];

	if (E.depth == E.nr_stack) {
		if (E.nr_stack == E.cap_stack) {
			E.cap_stack = E.cap_stack ? 2 * E.cap_stack : 1024;
			E.stack = realloc(E.stack, E.cap_stack * sizeof(*E.stack));
			if (!E.stack)
				abort();
			ch = &E.stack[E.depth];
		}
		*ch = (struct choice){ E.op, (u8)kind, (u8)n, 0 };
		E.nr_stack++;
	} else if (ch->op != E.op || ch->kind != kind || ch->n != n) {
		fprintf(stderr,
			"octavo-race: %s does not repeat itself: choice %u was %c of %u at %u, is "
			"%c of %u at %u\n",
			E.sc->name, E.depth, ch->kind, ch->n, ch->op, kind, n, E.op);
		exit(2);
	}
	E.depth++;
	return ch->c;
}

/* Chances of the random strategies, in 1/16: how often something else than the usual. */
static u32 choose_random(enum choice_kind kind, u32 n)
{
	u32 chance = kind == CH_USER || kind == CH_WAKE	  ? 16
		     : kind == CH_READ || kind == CH_POLL ? 4
							  : 2;

	return rng_next() % 16 < chance ? (u32)(rng_next() % n) : 0;
}

unsigned int choose(enum choice_kind kind, unsigned int n)
{
	u32 c;

	if (n < 2)
		return 0;
	n = min(n, 250u);
	if (E.strategy == DFS)
		c = choose_dfs(kind, n);
	else if (E.strategy == REPLAY)
		c = replayed(kind);
	else
		c = choose_random(kind, n);
	if (c >= n)
		c = n - 1;
	if (c)
		record_deviation(kind, c);
	return c;
}

/* ---- who runs ---- */

static u32 ready_mask(void)
{
	u32 mask = 0;

	for (u32 i = 0; i < E.nthreads; i++) {
		const struct thread *t = &E.t[i];
		bool twin = false;

		if (t->state != T_NEW && t->state != T_READY)
			continue;
		/* of threads that are the same, the first one goes first */
		if (t->state == T_NEW && (E.sc->flags & SC_SYMMETRIC))
			for (u32 j = 0; j < i; j++)
				twin |= E.t[j].state == T_NEW &&
					E.sc->threads[j] == E.sc->threads[i];
		if (!twin)
			mask |= 1u << i;
	}
	return mask;
}

static u32 nth_bit(u32 mask, u32 n)
{
	while (n--)
		mask &= mask - 1;
	return (u32)__builtin_ctz(mask);
}

static u32 highest_prio(u32 mask)
{
	u32 best = (u32)__builtin_ctz(mask);

	for (u32 i = best + 1; i < E.nthreads; i++)
		if (mask & 1u << i && E.t[i].prio > E.t[best].prio)
			best = i;
	return best;
}

/*
 * One thread of @mask; @stay is the usual one. In the schedule string a thread is named, not
 * counted.
 */
static u32 choose_thread(enum choice_kind kind, u32 mask, u32 stay)
{
	u32 others = mask & ~(1u << stay), n = (u32)__builtin_popcount(others), tid = stay, c;

	if (!n)
		return stay;
	switch (E.strategy) {
	case DFS:
		c = choose_dfs(kind, n + 1);
		tid = c ? nth_bit(others, c - 1) : stay;
		break;
	case REPLAY:
		c = replayed(kind);
		if (c && mask & 1u << (c - 1))
			tid = c - 1;
		break;
	case PCT:
		tid = highest_prio(mask);
		break;
	case RANDOM:
		if (kind == CH_NEXT || rng_next() % 4 == 0)
			tid = nth_bit(mask, (u32)(rng_next() % (n + 1)));
		break;
	}
	if (tid != stay)
		record_deviation(kind, tid + 1);
	return tid;
}

/*
 * If what t was about to do when it was preempted commutes with everything that the others have
 * done since, this execution is the same as one in which it was preempted later, after that
 * operation, or not at all: that one is explored too. (The preemption only ever moves to a later
 * operation, so there is a last one, and it takes no more preemptions.)
 */
static bool conflicts(const struct visible *a, const struct visible *b)
{
	return a->all || b->all || (a->sc && b->sc) ||
	       (a->loc && a->loc == b->loc && (a->write || b->write));
}

static void tell_preempted(const struct visible *v)
{
	for (u32 i = 0; i < E.nthreads; i++) {
		struct thread *t = &E.t[i];

		if (t->preempted && !t->conflict && conflicts(&t->next, v))
			t->conflict = true;
	}
}

static void may_switch(struct thread *t, const struct visible *v)
{
	u32 mask, tid;

	if (E.strategy == PCT)
		for (u32 i = 0; i < E.pct_nr; i++)
			if (E.pct_points[i] == E.op)
				t->prio = E.pct_low--;
	if (t->fresh && E.strategy != REPLAY) {
		t->fresh = false;
		return;
	}
	if (!E.preempt_left)
		return;
	mask = ready_mask();
	tid = choose_thread(CH_PREEMPT, mask | 1u << t->tid, t->tid);
	if (tid == t->tid)
		return;
	E.preempt_left--;
	E.switch_to = (u8)(tid + 1);
	if (E.nr_pending)
		settle_pending();
	t->preempted = true;
	t->conflict = false;
	t->next = *v;
	coro_switch(&t->coro, &E.sched);
	t->fresh = false;
	t->preempted = false;
	if (E.reduce && !t->conflict)
		leave_execution(CUT);
}

void preempt_point(const struct visible *v)
{
	struct thread *t = E.cur;

	if (!E.one_step)
		may_switch(t, v);
	if (E.reduce)
		tell_preempted(v);
}

void block(enum thread_state state)
{
	struct thread *t = E.cur;

	if (E.nr_pending)
		settle_pending();
	t->state = state;
	coro_switch(&t->coro, &E.sched);
}

void wake_readers(struct loc *l)
{
	for (u32 i = 0; i < E.nthreads; i++) {
		struct thread *t = &E.t[i];

		if (t->state != T_RELAX)
			continue;
		for (u32 s = 0; s < t->nr_seen; s++)
			if (t->seen[s].loc == l)
				t->state = T_READY;
	}
}

/* ---- the port: CPUs and waiting ---- */

unsigned int octavo_port_pin(void)
{
	if (E.live)
		E.cur->nest++;
	return octavo_port_cpu();
}

void octavo_port_unpin(void)
{
	if (E.live && E.cur->nest-- == 0)
		violation("unpin without a pin");
}

static u64 newest(const struct loc *l)
{
	return raw_load(l->addr, l->size);
}

/*
 * If everything that this turn of the loop has read still is, or is again, as the turn first read
 * it, then the next turn would be the same: wait for a store.
 */
void octavo_port_relax(void)
{
	struct thread *t = E.cur;
	bool news;

	if (!E.live)
		return;
	if (E.nr_pending)
		settle_pending();
	news = rcu_model_pending(t->tid);
	for (u32 i = 0; i < t->nr_seen; i++)
		news |= newest(t->seen[i].loc) != t->seen[i].val;
	if (!news) {
		t->turns = 0;
		block(T_RELAX);
	} else if (++t->turns == 3) {
		/* something changes in every turn, if only by itself: the others' turn */
		t->turns = 0;
		E.yield = true;
		block(T_READY);
	}
	for (u32 i = 0; i < t->nr_seen; i++) {
		const struct loc *l = t->seen[i].loc;

		if (l->sid) {
			stamp_t *cur = &t->cur[MAXT + l->sid - 1];

			*cur = (stamp_t)max((u32)*cur, l->nr - 1);
		}
	}
	t->nr_seen = 0;
	t->turn = ++E.turn;
}

void octavo_port_park(u32 *addr, u32 val)
{
	const struct visible v = { .all = true };
	struct thread *t = E.cur;

	if (!E.live)
		return;
	settle_pending();
	E.op++;
	preempt_point(&v);
	if (*(volatile u32 *)addr != val)
		return;
	t->wait = addr;
	if (E.tracing)
		trace_note("sleeps on %s while it is %u", addr_name(addr), val);
	block(T_PARKED);
}

void octavo_port_unpark(u32 *addr, bool all)
{
	const struct visible v = { .all = true };
	u32 mask = 0, n;

	if (!E.live)
		return;
	settle_pending();
	E.op++;
	preempt_point(&v);
	for (u32 i = 0; i < E.nthreads; i++)
		if (E.t[i].state == T_PARKED && E.t[i].wait == addr)
			mask |= 1u << i;
	if (E.tracing)
		trace_note("wakes %s on %s", all ? "all" : "one", addr_name(addr));
	n = (u32)__builtin_popcount(mask);
	if (n && !all)
		mask = 1u << nth_bit(mask, choose(CH_WAKE, n));
	for (u32 i = 0; i < E.nthreads; i++)
		if (mask & 1u << i)
			E.t[i].state = T_READY;
}

void octavo_port_panic(const char *reason)
{
	violation("panic: %s", reason);
}

void octavo_port_log(enum octavo_log_level level, const char *line)
{
	if (E.tracing)
		trace_note("log: %s", line);
	else if (!E.cur && level <= OCTAVO_LOG_WARN)
		fprintf(stderr, "octavo-race: %s\n", line);
}

/* ---- what scenarios and the core ask ---- */

unsigned int check_thread(void)
{
	return E.cur ? E.cur->tid : 0;
}

int check_variant(void)
{
	return E.sc->variant;
}

unsigned int check_choose(unsigned int n)
{
	if (!E.live)
		return 0;
	E.op++;
	return choose(CH_USER, n);
}

#if OCTAVO_FAULTS
bool octavo_fault(u32 kind)
{
	if (!E.live || !(E.sc->kinds & kind) || !E.fault_left)
		return false;
	E.op++;
	if (!choose(CH_FAIL, 2))
		return false;
	E.fault_left--;
	if (E.tracing)
		trace_note("injected failure");
	return true;
}

void octavo_fault_arm(u32 k, int mode, u32 kinds)
{
	(void)k;
	(void)mode;
	(void)kinds;
}

u32 octavo_fault_disarm(void)
{
	return 0;
}
#endif

/* ---- an execution ---- */

void check_thread_exit(void)
{
	struct thread *t = E.cur;

	if (t->nest || t->rcu_nest)
		violation("thread %u ends pinned %u times, in %u read-side sections", t->tid,
			  t->nest, t->rcu_nest);
	block(T_DONE);
	abort();
}

static void thread_main(void)
{
	E.sc->threads[E.cur->tid]();
	check_thread_exit();
}

static void finish_main(void)
{
	if (E.sc->finish)
		E.sc->finish();
	machine_check();
	E.cur->state = T_DONE;
	coro_switch(&E.cur->coro, &E.sched);
	abort();
}

static void threads_new(void)
{
	u32 n = MAXT + E.nr_sid;

	for (u32 i = 0; i <= E.nthreads; i++) {
		struct thread *t = &E.t[i == E.nthreads ? MAXT : i];

		t->state = T_NEW;
		t->tid = (u8)(i == E.nthreads ? MAXT : i);
		t->fresh = true;
		t->preempted = false;
		t->nest = 0;
		t->rcu_nest = 0;
		t->wait = NULL;
		t->site = NULL;
		t->nr_seen = 0;
		t->turns = 0;
		t->turn = ++E.turn;
		t->rel = NULL;
		memset(t->cur, 0, n * sizeof(stamp_t));
		memset(t->acq, 0, n * sizeof(stamp_t));
		if (i < E.nthreads) {
			t->cur[i] = 1;
			coro_init(&t->coro);
			coro_start(&t->coro, thread_main);
		}
	}
	if (E.strategy == PCT)
		for (u32 i = 0; i < E.nthreads; i++)
			E.t[i].prio = (s32)(rng_next() % 1000) + 1000;
}

static void nobody_runs(void)
{
	size_t at = 0;
	bool relax = false, stuck = false;

	for (u32 i = 0; i < E.nthreads; i++) {
		relax |= E.t[i].state == T_RELAX;
		stuck |= E.t[i].state != T_DONE;
	}
	if (!stuck)
		return;
	E.outcome = VIOLATION;
	at = (size_t)snprintf(E.why, sizeof(E.why), "%s:", relax ? "livelock" : "deadlock");
	for (u32 i = 0; i < E.nthreads && at < sizeof(E.why); i++) {
		const struct thread *t = &E.t[i];
		const char *site = t->site ? t->site : "?";
		const char *bar = strchr(site, '|');

		if (t->state != T_DONE)
			at += (size_t)snprintf(E.why + at, sizeof(E.why) - at,
					       " thread %u waits after %.*s;", i,
					       bar ? (int)(bar - site) : (int)strlen(site), site);
	}
}

/* Only loops that wait are left. Let them all turn: they may count. */
static bool wake_relaxing(void)
{
	bool any = false;

	if (E.idle_turns++ == 150)
		return false;
	for (u32 i = 0; i < E.nthreads; i++) {
		if (E.t[i].state == T_RELAX) {
			E.t[i].state = T_READY;
			any = true;
		}
	}
	return any;
}

static void run_threads(void)
{
	u32 last = 0;

	for (;;) {
		u32 mask = ready_mask(), tid;

		if (E.yield && mask & ~(1u << last))
			mask &= ~(1u << last);
		E.yield = false;
		if (!mask) {
			if (wake_relaxing())
				continue;
			nobody_runs();
			return;
		}
		if (E.switch_to) {
			tid = E.switch_to - 1u;
			E.switch_to = 0;
		} else {
			/*
			 * the one after the last, so that a thread that waits for others lets them
			 * all run
			 */
			u32 stay = mask >> last ? (u32)__builtin_ctz(mask >> last) + last
						: (u32)__builtin_ctz(mask);

			tid = choose_thread(CH_NEXT, mask, stay);
			/* that was one choice too many */
			if (E.outcome != OK)
				return;
		}
		E.op++;
		last = tid;
		E.cur = &E.t[tid];
		E.cur->state = T_READY;
		coro_switch(&E.sched, &E.cur->coro);
		if (E.outcome != OK)
			return;
		if (E.cur->state != T_READY)
			E.cur->fresh = true;
	}
}

enum outcome run_once(void)
{
	E.gen++;
	E.op = 0;
	E.outcome = OK;
	E.nr_dev = 0;
	E.depth = 0;
	E.at_replay = 0;
	E.used = 0;
	E.switch_to = 0;
	E.idle_turns = 0;
	E.yield = false;
	E.one_step = false;
	E.nr_ev = 0;
	memory_new_run();
	rcu_model_new_run();
	mmu_new_run();
	threads_new();
	E.live = E.undo = true;
	run_threads();
	E.live = false;
	settle_pending();
	if (E.outcome == OK) {
		E.cur = &E.t[MAXT];
		coro_init(&E.cur->coro);
		coro_start(&E.cur->coro, finish_main);
		coro_switch(&E.sched, &E.cur->coro);
	}
	E.cur = NULL;
	plain_undo();
	E.undo = false;
	return E.outcome;
}
