/* SPDX-License-Identifier: MIT */
/*
 * memory.c - atomic accesses on view-based memory: C11's orders, not the host's.
 *
 * Every location that more than one thread uses has a list of the stores made to it in this
 * execution, oldest first; its index is a store's time stamp. A thread's view says for each
 * location the oldest store that it may still read: a load chooses any store from there to the
 * newest. Reading or storing moves the view along; a release store carries the storing thread's
 * view, an acquiring load of it joins that to the reader's. A relaxed load keeps what it would have
 * learnt for a later acquire fence, a release fence keeps the view for later relaxed stores. A
 * read-modify-write reads the newest store and passes on what that carried (release sequence).
 *
 * seq_cst, after the psc axiom of RC11 (O. Lahav et al., "Repairing Sequential Consistency in
 * C/C++11", PLDI 2017), with the order S of seq_cst events being the order in which they are
 * executed:
 *	a fence joins the global view (what earlier seq_cst fences saw) and every location's last
 *	seq_cst store to the thread's, and then the thread's to the global view;
 *	a load reads nothing older than its location's last seq_cst store and the global view's
 *	entry for it;
 *	a store becomes its location's last seq_cst store.
 * So a seq_cst load after a relaxed store of the same thread is not ordered with it, as in C11 (and
 * on x86), and a seq_cst read-modify-write is no fence.
 *
 * Weaker than any machine in nothing that C11 forbids; stronger than C11 in this: a new store is
 * always the newest (no store is placed before one made earlier: 2+2W), a load reads only stores
 * already made (no load buffering), and a seq_cst load respects what other threads had read, not
 * only written, before their seq_cst fences. docs/verification.md.
 *
 * Happens-before for the race checker is the clock part of the same views. seq_cst fences do not
 * join clocks: the order of two fences is no synchronisation.
 *
 * Which locations are used by several threads is learnt while exploring (loc_share()); on all
 * others an access is plain memory and no point for a preemption, because nobody can tell when it
 * happened.
 */
#include <string.h>

#include "engine.h"

#define MAX_LOCS 8192
static struct loc locs[MAX_LOCS];
static u32 nr_locs;

static inline bool acquires(int order)
{
	return order == _A_ACQUIRE || order >= _A_ACQ_REL;
}

static inline bool releases(int order)
{
	return order >= _A_RELEASE;
}

u64 raw_load(const volatile void *p, unsigned int size)
{
	switch (size) {
	case 1:
		return *(const volatile u8 *)p;
	case 2:
		return *(const volatile u16 *)p;
	case 4:
		return *(const volatile u32 *)p;
	default:
		return *(const volatile u64 *)p;
	}
}

/*
 * The old contents come back after the execution: plain_save() first, if it may be shared memory.
 */
static void raw_store(volatile void *p, unsigned int size, u64 v)
{
	switch (size) {
	case 1:
		*(volatile u8 *)p = (u8)v;
		break;
	case 2:
		*(volatile u16 *)p = (u16)v;
		break;
	case 4:
		*(volatile u32 *)p = (u32)v;
		break;
	default:
		*(volatile u64 *)p = v;
	}
}

static inline u64 fit(u64 v, unsigned int size)
{
	return size == 8 ? v : v & ((1ull << 8 * size) - 1);
}

/* ---- views ---- */

void view_join(stamp_t *a, const stamp_t *b, u32 n)
{
	for (u32 i = 0; i < n; i++)
		a[i] = a[i] > b[i] ? a[i] : b[i];
}

const struct snap *view_snap(const stamp_t *v)
{
	u32 n = MAXT + E.nr_sid;
	struct snap *s = bump_alloc(sizeof(*s) + n * sizeof(stamp_t));

	s->n = n;
	memcpy(s->v, v, n * sizeof(stamp_t));
	return s;
}

static const struct snap *snap_join(const struct snap *a, const struct snap *b)
{
	struct snap *s;

	if (!a || !b || a == b)
		return a ? a : b;
	s = bump_alloc(sizeof(*s) + a->n * sizeof(stamp_t));
	s->n = a->n;
	memcpy(s->v, a->v, a->n * sizeof(stamp_t));
	view_join(s->v, b->v, b->n);
	return s;
}

/* ---- locations ---- */

/* In this execution's terms: no stores yet but the value that is there. */
static void loc_new_run(struct loc *l)
{
	if (l->gen == E.gen)
		return;
	l->gen = E.gen;
	l->touched = l->written = (u8)plain_writers(l->addr, l->size);
	l->nr = 0;
	if (!l->sid)
		return;
	l->cap = 8;
	l->msg = bump_alloc(l->cap * sizeof(struct msg));
	l->msg[0] = (struct msg){ .val = raw_load(l->addr, l->size), .op = ~0u };
	l->nr = 1;
}

/*
 * More than one thread uses it, and not only to read: everything explored so far must be explored
 * again.
 */
void loc_share(struct loc *l)
{
	if (E.nr_sid == MAX_SID)
		violation("more than %d shared locations: the scenario is too large", MAX_SID);
	E.by_sid[E.nr_sid] = l;
	l->sid = (u16)++E.nr_sid;
	leave_execution(GREW);
}

static void loc_touch(struct loc *l, bool write)
{
	u8 bit = (u8)(1u << E.cur->tid);

	l->touched |= bit;
	if (write)
		l->written |= bit;
	if (!l->sid && l->written && (l->touched & (l->touched - 1)))
		loc_share(l);
}

struct loc *loc_of(const volatile void *addr, unsigned int size, const char *site)
{
	struct loc *l = plain_find_loc(addr);

	if (!l) {
		if (!plain_tracks(addr))
			return NULL;
		if (nr_locs == MAX_LOCS)
			violation("more than %d atomic locations: the scenario is too large",
				  MAX_LOCS);
		l = &locs[nr_locs++];
		*l = (struct loc){ .addr = (volatile void *)addr, .size = (u8)size, .expr = site };
		plain_set_loc(addr, l);
	}
	/* memory that has become something else: a random program is too long, or this is a mistake */
	if (l->size != size && E.loose)
		leave_execution(CUT);
	if (l->size != size)
		violation("%s is accessed with %u bytes here and %u elsewhere", addr_name(addr),
			  size, l->size);
	loc_new_run(l);
	return l;
}

static struct msg *loc_append(struct loc *l, const struct snap *view, const char *site)
{
	if (l->nr == l->cap) {
		struct msg *m = bump_alloc(2 * l->cap * sizeof(*m));

		/* a plain store that is still pending is in the old array */
		settle_pending();
		memcpy(m, l->msg, l->nr * sizeof(*m));
		l->msg = m;
		l->cap *= 2;
	}
	l->msg[l->nr] = (struct msg){ .view = view, .site = site, .op = E.op, .tid = E.cur->tid };
	return &l->msg[l->nr++];
}

/* The compiler's instrumentation announces a store before it happens; now it has. */
void settle_pending(void)
{
	for (u32 i = 0; i < E.nr_pending; i++) {
		struct loc *l = E.pending_loc[i];

		E.pending[i]->val = raw_load(l->addr, l->size);
		E.pending[i]->pending = false;
	}
	E.nr_pending = 0;
}

/* A plain store is about to change @l. */
void loc_plain_store(struct loc *l, const char *site)
{
	struct msg *m;

	loc_new_run(l);
	loc_touch(l, true);
	if (!l->sid)
		return;
	if (E.nr_pending == ARRAY_SIZE(E.pending))
		settle_pending();
	m = loc_append(l, E.cur->rel, site);
	m->pending = true;
	E.pending[E.nr_pending] = m;
	E.pending_loc[E.nr_pending++] = l;
	E.cur->cur[MAXT + l->sid - 1] = (stamp_t)(l->nr - 1);
	wake_readers(l);
}

void memory_reset(void)
{
	nr_locs = 0;
	E.nr_sid = 0;
}

void memory_forget(void)
{
	for (u32 i = 0; i < nr_locs; i++)
		plain_set_loc(locs[i].addr, NULL);
	memory_reset();
}

void memory_new_run(void)
{
	u32 n = MAXT + E.nr_sid;

	memset(E.sc_view, 0, n * sizeof(stamp_t));
	memset(E.sc_stores, 0, n * sizeof(stamp_t));
	E.nr_pending = 0;
}

/* ---- reading and storing ---- */

/*
 * Remember what a waiting loop looks at, with the value that its turn began with:
 * octavo_port_relax().
 */
static void saw(struct thread *t, struct loc *l, u64 val)
{
	if (l->seen[t->tid] == t->turn || t->nr_seen == ARRAY_SIZE(t->seen))
		return;
	l->seen[t->tid] = t->turn;
	t->seen[t->nr_seen].loc = l;
	t->seen[t->nr_seen++].val = val;
}

static void read_from(struct thread *t, struct loc *l, u32 ts, int order)
{
	const struct snap *v = l->msg[ts].view;
	stamp_t *cur = &t->cur[MAXT + l->sid - 1];

	if (*cur < ts)
		*cur = (stamp_t)ts;
	if (v)
		view_join(acquires(order) ? t->cur : t->acq, v->v, v->n);
}

/*
 * Appends a store by @t of @v; @chain: what the store it replaces carried, for read-modify-writes.
 */
static void store_to(struct thread *t, struct loc *l, u64 v, int order, const struct snap *chain,
		     const char *site)
{
	u32 ts = l->nr, at = MAXT + l->sid - 1;
	struct msg *m;

	if (ts > 60000)
		violation("%u stores to %s", ts, addr_name(l->addr));
	m = loc_append(l, NULL, site);
	m->val = v;
	t->cur[at] = (stamp_t)ts;
	if (releases(order)) {
		m->view = snap_join(view_snap(t->cur), chain);
		/* what follows is after what this store carries */
		t->cur[t->tid]++;
	} else {
		m->view = snap_join(t->rel, chain);
	}
	if (order == _A_SEQ_CST)
		E.sc_stores[at] = (stamp_t)ts;
	raw_store(l->addr, l->size, v);
	wake_readers(l);
}

/* The oldest store that a load may read. */
static u32 oldest(const struct thread *t, const struct loc *l, int order)
{
	u32 at = MAXT + l->sid - 1, ts = t->cur[at];

	if (order == _A_SEQ_CST)
		ts = max(ts, (u32)E.sc_view[at]);
	if (order == _A_SEQ_CST)
		ts = max(ts, (u32)E.sc_stores[at]);
	return ts;
}

/* Common start of every access: NULL if it is no business of the model's. */
static struct loc *enter(const volatile void *p, unsigned int size, bool write, int order,
			 const char *site)
{
	struct visible v;
	struct loc *l;

	if (!E.live)
		return NULL;
	if (E.nr_pending)
		settle_pending();
	E.op++;
	if (E.op > E.max_ops)
		violation("no end after %u operations: a livelock?", E.max_ops);
	E.cur->site = site;
	l = loc_of(p, size, site);
	if (!l)
		return NULL;
	loc_touch(l, write);
	if (write)
		plain_save(p);
	/* a schedule may name any operation, whatever has been learnt since */
	if (l->sid || E.strategy == REPLAY) {
		v = (struct visible){ .loc = l, .write = write, .sc = order == _A_SEQ_CST };
		preempt_point(&v);
	}
	return l;
}

static void direct_store(volatile void *p, unsigned int size, u64 v)
{
	if (E.undo)
		plain_save(p);
	raw_store(p, size, v);
}

u64 check_load(const volatile void *p, unsigned int size, int order, const char *site)
{
	struct loc *l = enter(p, size, false, order, site);
	struct thread *t = E.cur;
	u32 n, back = 0;
	u64 v;

	if (!l)
		return raw_load(p, size);
	if (!l->sid) {
		v = raw_load(p, size);
		saw(t, l, v);
		plain_note(p, size, false, true, site);
		if (E.tracing)
			trace_event(EV_LOAD, l, order, site, v, v, NULL, 0, true);
		return v;
	}
	n = l->nr - oldest(t, l, order);
	if (n > 1 && E.stale_left) {
		back = choose(CH_READ, n);
		E.stale_left -= back != 0;
	}
	v = l->msg[l->nr - 1 - back].val;
	read_from(t, l, l->nr - 1 - back, order);
	saw(t, l, v);
	plain_note(p, size, false, true, site);
	if (E.tracing)
		trace_event(EV_LOAD, l, order, site, v, v, &l->msg[l->nr - 1 - back], back, true);
	return v;
}

void check_store(volatile void *p, unsigned int size, u64 v, int order, const char *site)
{
	struct loc *l = enter(p, size, true, order, site);
	struct thread *t = E.cur;
	u64 old;

	v = fit(v, size);
	if (!l) {
		direct_store(p, size, v);
		return;
	}
	plain_note(p, size, true, true, site);
	old = raw_load(p, size);
	if (l->sid)
		store_to(t, l, v, order, NULL, site);
	else
		raw_store(p, size, v);
	if (E.tracing)
		trace_event(EV_STORE, l, order, site, old, v, NULL, 0, true);
}

static u64 rmw(enum check_rmw op, u64 old, u64 v)
{
	switch (op) {
	case CHECK_XCHG:
		return v;
	case CHECK_ADD:
		return old + v;
	case CHECK_SUB:
		return old - v;
	case CHECK_AND:
		return old & v;
	default:
		return old | v;
	}
}

/* The read-modify-write itself; it reads the newest store. */
static void modify(struct thread *t, struct loc *l, u64 new, int order, const char *site)
{
	const struct snap *chain;

	if (!l->sid) {
		plain_note(l->addr, l->size, true, true, site);
		raw_store(l->addr, l->size, new);
		return;
	}
	chain = l->msg[l->nr - 1].view;
	read_from(t, l, l->nr - 1, order);
	/* after what it reads teaches, and before the clock of what its own store teaches */
	plain_note(l->addr, l->size, true, true, site);
	if (acquires(order) && releases(order))
		chain = NULL; /* it is in the thread's view already */
	store_to(t, l, new, order, chain, site);
}

u64 check_rmw(volatile void *p, unsigned int size, enum check_rmw op, u64 v, int order,
	      const char *site)
{
	struct loc *l = enter(p, size, true, order, site);
	u64 old = raw_load(p, size), new = fit(rmw(op, old, v), size);
	u32 from;

	if (!l) {
		direct_store(p, size, new);
		return old;
	}
	from = l->nr - 1;
	saw(E.cur, l, old);
	modify(E.cur, l, new, order, site);
	if (E.tracing)
		trace_event(EV_RMW, l, order, site, old, new, l->sid ? &l->msg[from] : NULL, 0,
			    true);
	return old;
}

/*
 * A compare-and-swap that fails is a load: it may read any store that it may see, if that has
 * another value. One that succeeds reads the newest. Returns how far behind the newest it reads.
 */
static u32 cas_reads(struct thread *t, struct loc *l, u64 expected, int fail_order)
{
	u32 n = l->nr - oldest(t, l, fail_order), back[64], nr = 0, c;

	if (n <= 1 || !E.stale_left)
		return 0;
	back[nr++] = 0;
	for (u32 i = 1; i < n && nr < ARRAY_SIZE(back); i++)
		if (l->msg[l->nr - 1 - i].val != expected)
			back[nr++] = i;
	if (nr == 1)
		return 0;
	c = choose(CH_READ, nr);
	E.stale_left -= c != 0;
	return back[c];
}

bool check_cmpxchg(volatile void *p, unsigned int size, u64 *o, u64 n, bool weak, int order,
		   int fail_order, const char *site)
{
	u64 expected = fit(*o, size), old;
	struct loc *l = enter(p, size, true, order, site);
	struct thread *t = E.cur;
	u32 back, from;

	n = fit(n, size);
	if (!l) {
		*o = old = raw_load(p, size);
		if (old == expected)
			direct_store(p, size, n);
		return old == expected;
	}
	back = l->sid ? cas_reads(t, l, expected, fail_order) : 0;
	from = l->nr - 1 - back;
	*o = old = l->sid ? l->msg[from].val : raw_load(p, size);
	saw(t, l, old);
	if (old == expected) {
		modify(t, l, n, order, site);
	} else {
		if (l->sid)
			read_from(t, l, from, fail_order);
		plain_note(p, size, false, true, site);
	}
	if (E.tracing)
		trace_event(EV_CAS, l, old == expected ? order : fail_order, site, old,
			    old == expected ? n : old, l->sid ? &l->msg[from] : NULL, back,
			    old == expected);
	return old == expected;
}

/* ---- fences ---- */

void fence_here(struct thread *t, int order)
{
	u32 n = MAXT + E.nr_sid;

	if (acquires(order))
		view_join(t->cur, t->acq, n);
	if (order == _A_SEQ_CST) {
		/* stamps only: see the head of this file */
		view_join(t->cur + MAXT, E.sc_view + MAXT, E.nr_sid);
		view_join(t->cur + MAXT, E.sc_stores + MAXT, E.nr_sid);
		view_join(E.sc_view + MAXT, t->cur + MAXT, E.nr_sid);
	}
	if (releases(order)) {
		t->rel = view_snap(t->cur);
		t->cur[t->tid]++;
	}
}

/* Up to the moment of a fence. Context: live. */
static void fence_begin(const struct visible *v, const char *site)
{
	if (E.nr_pending)
		settle_pending();
	E.op++;
	E.cur->site = site;
	preempt_point(v);
}

void check_fence(int order, const char *site)
{
	const struct visible v = { .sc = order == _A_SEQ_CST };

	if (!E.live)
		return;
	fence_begin(&v, site);
	fence_here(E.cur, order);
	if (E.tracing)
		trace_event(EV_FENCE, NULL, order, site, 0, 0, NULL, 0, true);
}

/*
 * The others are interrupted one after the other, between two fences of the caller. All at one
 * moment: the interruptions are not spread over the time of the call.
 */
void check_fence_all(const char *site)
{
	const struct visible v = { .all = true };

	if (!E.live)
		return;
	fence_begin(&v, site);
	fence_here(E.cur, _A_SEQ_CST);
	for (u32 i = 0; i < E.nthreads; i++)
		if (&E.t[i] != E.cur)
			fence_here(&E.t[i], _A_SEQ_CST);
	fence_here(E.cur, _A_SEQ_CST);
	if (E.tracing)
		trace_event(EV_FENCE, NULL, _A_SEQ_CST, site, 1, 0, NULL, 0, true);
}
