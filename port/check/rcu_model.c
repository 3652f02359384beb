/* SPDX-License-Identifier: MIT */
/*
 * rcu_model.c - rcu.h for scenarios that are not about lib/rcu.c.
 *
 * A grace period begins at the first poll for it: every thread executes a seq_cst fence, and the
 * read-side sections that are open at that moment are those it waits for. It may end when they have
 * ended; that a poll then still says no is one of the choices (a stale read's worth). Callbacks run
 * in whoever polls next. So a reader either is waited for, or sees all that was stored before the
 * first poll: what RCU guarantees and, but for the moments being points, no more.
 *
 * Alone (setup, finish) everything is over at once.
 */
#include <string.h>

#include <octavo/rcu.h>

#include "engine.h"

void real_rcu_read_lock(void);
void real_rcu_read_unlock(void);
bool real_rcu_read_lock_held(void);
u64 real_get_state_synchronize_rcu(void);
bool real_poll_state_synchronize_rcu(u64 cookie);
void real_synchronize_rcu(void);
void real_call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head));
void real_rcu_barrier(void);

#define MAX_GP	 128
#define MAX_CALL 128

static struct {
	bool used; /* somebody waits for grace periods: sections are visible operations */
	u32 nr_gp;
	struct {
		bool begun, over;
		u32 section[MAXT]; /* open when it began; 0: none, or over */
	} gp[MAX_GP];
	u32 section[MAXT]; /* sections entered by each thread */
	u32 unlocks;
	u32 polled[MAXT]; /* unlocks + 1 when a thread's poll last said no; 0: it did not */
	bool again[MAXT]; /* it said no without a reason */
	stamp_t ended[VIEW_MAX];
	u32 nr_call, called;
	struct {
		struct rcu_head *head;
		u64 cookie;
		const struct snap *view;
	} call[MAX_CALL];
} R;

static bool real(void)
{
	return E.sc->flags & SC_REAL_RCU;
}

void rcu_model_setup_done(void)
{
	R.used = false;
}

void rcu_model_new_run(void)
{
	R.nr_gp = 0;
	R.unlocks = 0;
	R.nr_call = R.called = 0;
	memset(R.section, 0, sizeof(R.section));
	memset(R.polled, 0, sizeof(R.polled));
	memset(R.again, 0, sizeof(R.again));
	memset(R.ended, 0, (MAXT + E.nr_sid) * sizeof(stamp_t));
}

static void visible(void)
{
	const struct visible v = { .all = true };

	settle_pending();
	E.op++;
	preempt_point(&v);
}

void rcu_read_lock(void)
{
	if (real()) {
		real_rcu_read_lock();
		return;
	}
	octavo_port_pin();
	if (!E.live)
		return;
	if (E.cur->rcu_nest == 0) {
		if (R.used)
			visible();
		R.section[E.cur->tid]++;
	}
	E.cur->rcu_nest++;
}

static void section_ends(void)
{
	u32 tid = E.cur->tid;

	/* release: joined by whoever finds a grace period over */
	view_join(R.ended, E.cur->cur, MAXT + E.nr_sid);
	E.cur->cur[tid]++;
	R.unlocks++;
	for (u32 i = 0; i < R.nr_gp; i++)
		R.gp[i].section[tid] = 0;
	for (u32 i = 0; i < E.nthreads; i++)
		if (E.t[i].state == T_RELAX && R.polled[i])
			E.t[i].state = T_READY;
}

void rcu_read_unlock(void)
{
	if (real()) {
		real_rcu_read_unlock();
		return;
	}
	if (E.live) {
		if (!E.cur->rcu_nest)
			violation("rcu_read_unlock() outside of a section");
		if (R.used && E.cur->rcu_nest == 1)
			visible();
		if (--E.cur->rcu_nest == 0)
			section_ends();
	}
	octavo_port_unpin();
}

bool rcu_read_lock_held(void)
{
	return real() ? real_rcu_read_lock_held() : !E.live || E.cur->rcu_nest;
}

static void uses_grace_periods(void)
{
	if (R.used)
		return;
	R.used = true;
	leave_execution(GREW);
}

u64 get_state_synchronize_rcu(void)
{
	if (real())
		return real_get_state_synchronize_rcu();
	if (!E.live)
		return 0;
	uses_grace_periods();
	visible();
	fence_here(E.cur, _A_SEQ_CST);
	if (R.nr_gp == MAX_GP)
		violation("more than %d grace periods in one execution", MAX_GP);
	memset(&R.gp[R.nr_gp], 0, sizeof(R.gp[0]));
	return ++R.nr_gp;
}

static void run_callbacks(u64 upto)
{
	while (R.called < R.nr_call && R.call[R.called].cookie <= upto) {
		u32 i = R.called++;

		if (E.live)
			view_join(E.cur->cur, R.call[i].view->v, R.call[i].view->n);
		check_plain(R.call[i].head, sizeof(struct rcu_head), true);
		R.call[i].head->func(R.call[i].head);
	}
}

static bool poll(u64 cookie)
{
	bool waits = false;
	u32 g = (u32)cookie - 1;

	visible();
	if (!R.gp[g].begun) {
		R.gp[g].begun = true;
		check_fence_all("port/check/rcu_model.c:1|grace period begins");
		for (u32 i = 0; i < E.nthreads; i++)
			R.gp[g].section[i] = E.t[i].rcu_nest ? R.section[i] : 0;
	}
	for (u32 i = 0; i < E.nthreads; i++)
		waits |= R.gp[g].section[i] != 0;
	if (!waits && !R.gp[g].over && E.stale_left && choose(CH_POLL, 2)) {
		E.stale_left--;
		R.again[E.cur->tid] = true;
		return false;
	}
	if (waits) {
		R.polled[E.cur->tid] = R.unlocks + 1;
		return false;
	}
	R.polled[E.cur->tid] = 0;
	R.gp[g].over = true;
	/* acquire: the readers that it waited for are done */
	view_join(E.cur->cur, R.ended, MAXT + E.nr_sid);
	return true;
}

bool poll_state_synchronize_rcu(u64 cookie)
{
	if (real())
		return real_poll_state_synchronize_rcu(cookie);
	if (!E.live || !cookie)
		return true;
	if (cookie > R.nr_gp)
		violation("poll for a grace period that nobody started (%lu)",
			  (unsigned long)cookie);
	if (!poll(cookie))
		return false;
	run_callbacks(cookie);
	return true;
}

void synchronize_rcu(void)
{
	u64 cookie;

	if (real()) {
		real_synchronize_rcu();
		return;
	}
	if (!E.live)
		return;
	if (E.cur->rcu_nest)
		violation("synchronize_rcu() inside a section");
	cookie = get_state_synchronize_rcu();
	while (!poll_state_synchronize_rcu(cookie))
		octavo_port_relax();
}

void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head))
{
	u64 cookie;

	if (real()) {
		real_call_rcu(head, func);
		return;
	}
	check_plain(head, sizeof(*head), true);
	head->func = func;
	head->next = NULL;
	if (!E.live) {
		func(head);
		return;
	}
	cookie = get_state_synchronize_rcu();
	if (R.nr_call == MAX_CALL)
		violation("more than %d callbacks in one execution", MAX_CALL);
	R.call[R.nr_call].head = head;
	R.call[R.nr_call].cookie = cookie;
	R.call[R.nr_call++].view = view_snap(E.cur->cur);
	E.cur->cur[E.cur->tid]++;
}

void rcu_barrier(void)
{
	if (real()) {
		real_rcu_barrier();
		return;
	}
	if (E.live)
		synchronize_rcu();
	else
		run_callbacks(~0ull);
}

/* Is there a reason for this thread to poll again? */
bool rcu_model_pending(u32 tid)
{
	bool again = R.again[tid];

	R.again[tid] = false;
	return again || (R.polled[tid] && R.unlocks + 1 != R.polled[tid]);
}

/* Callbacks that have not run. */
bool rcu_model_waiting(void)
{
	return real() || R.called != R.nr_call;
}
