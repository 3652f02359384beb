/* SPDX-License-Identifier: MIT */
/*
 * rcu.c - the supplied RCU: epochs, polled, no thread of its own.
 *
 * A reader announces the epoch that it read; the epoch moves on only when every announced reader has the
 * current one, so while a reader is inside it moves on at most once. After K. Fraser, "Practical
 * lock-freedom", 2004, section 5.2.3.
 *
 * Why a grace period is three epochs. Something is unlinked, then the cookie is taken in epoch e.
 * Whoever moves the epoch from e + 1 to e + 2 runs a barrier on all CPUs after the unlinking. A reader
 * that can still see the thing read it before its CPU's share of that barrier, so had announced e + 1 or
 * less before it, and is seen by whoever tries e + 2 -> e + 3. With two epochs a reader that read e + 1 and
 * then the old pointer would be missed; on x86 and ARMv8 that cannot happen, on weaker machines and in
 * C11 it can.
 *
 * Interrupts may read too, on the same slot. Announcing asks whether an announcement stands, not
 * whether this is the outermost section: the interrupt may come between the two.
 *
 * Callbacks are pushed on a stack without a lock, so call_rcu() is legal in any context. One CPU at a
 * time takes the stack, reverses it, and runs what is ready in the order of queueing; that order is
 * what rcu_barrier() counts on. A callback that queues another does not recurse.
 *
 * What it does not do: sleepable readers, expedited grace periods, priority boosting, bounded batches,
 * progress of callbacks without somebody calling in (poll_state_synchronize_rcu(),
 * synchronize_rcu(), rcu_barrier(), and now and then call_rcu()).
 */
#include <octavo/atomic.h>
#include <octavo/rcu.h>
#include <octavo/state.h>

#define GRACE_EPOCHS 3

/* One call_rcu() in so many helps the grace period along, by one epoch: that costs a barrier on all CPUs. */
#define CALLS_PER_EPOCH 32

void rcu_read_lock(void)
{
	struct rcu_cpu *c = &octavo_state.rcu.cpu[octavo_port_pin()];

	c->nest++;
	if (READ_ONCE(c->epoch) == 0) {
		/*
		 * release: pairs with the acquire in rcu_advance(), as in rcu_read_unlock(): who reads
		 * this and not the 0 before it must see the last section as over all the same.
		 */
		smp_store_release(&c->epoch, READ_ONCE(octavo_state.rcu.epoch) + 1);
		/*
		 * Pairs with smp_mb_heavy() in rcu_advance(): either it sees us announced, or we see all
		 * that was unlinked before it looked.
		 */
		smp_mb_light();
	}
}

void rcu_read_unlock(void)
{
	struct rcu_cpu *c = &octavo_state.rcu.cpu[octavo_port_cpu()];

	if (--c->nest == 0)
		/* release: pairs with the acquire in rcu_advance(): our reads are over */
		smp_store_release(&c->epoch, 0ul);
	else if (unlikely((s32)c->nest < 0))
		octavo_panic("rcu_read_unlock: not in a read-side section");
	octavo_port_unpin();
}

bool rcu_read_lock_held(void)
{
	bool held = octavo_state.rcu.cpu[octavo_port_pin()].nest != 0;

	octavo_port_unpin();
	return held;
}

/* The announced value is epoch + 1, so that 0 is "no reader" from the first epoch, 0, on. */
static void rcu_advance(u64 epoch)
{
	/* pairs with smp_mb_light() in rcu_read_lock() */
	smp_mb_heavy();
	for (u32 cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++) {
		/* acquire: pairs with the releases in rcu_read_unlock() and rcu_read_lock() */
		u64 e = smp_load_acquire(&octavo_state.rcu.cpu[cpu].epoch);

		if (e && e != epoch + 1)
			return;
	}
	/* acq_rel: whoever sees the new epoch also sees that those readers are gone */
	cmpxchg_acq_rel(&octavo_state.rcu.epoch, epoch, epoch + 1);
}

u64 get_state_synchronize_rcu(void)
{
	/*
	 * Pairs with smp_mb_heavy() in rcu_advance(): an epoch that we do not see yet is advanced from
	 * after what the caller unlinked.
	 */
	smp_mb();
	return READ_ONCE(octavo_state.rcu.epoch) + GRACE_EPOCHS;
}

static bool rcu_poll(u64 cookie)
{
	for (int i = 0;; i++) {
		/* acquire: pairs with the acq_rel in rcu_advance() */
		u64 epoch = smp_load_acquire(&octavo_state.rcu.epoch);

		if (epoch >= cookie)
			return true;
		if (i == GRACE_EPOCHS)
			return false;
		rcu_advance(epoch);
	}
}

/* Take what came in, oldest first, behind what waits. Context: the runner. */
static void rcu_take_incoming(struct rcu_state *r)
{
	/* acquire: pairs with the release in call_rcu(): the heads are filled in */
	struct rcu_head *in = xchg_acquire(&r->incoming, (struct rcu_head *)NULL);
	struct rcu_head *newest = in, *list = NULL;
	u64 cookie;

	if (!in)
		return;
	/* now, not when they were queued: so that cookies on the list never fall */
	cookie = get_state_synchronize_rcu();
	while (in) {
		struct rcu_head *next = in->next;

		in->cookie = cookie;
		in->next = list;
		list = in;
		in = next;
	}
	if (r->head)
		r->last->next = list;
	else
		WRITE_ONCE(r->head, list);
	r->last = newest;
}

static void rcu_run_callbacks(void)
{
	struct rcu_state *r = &octavo_state.rcu;
	u64 epoch;

	if (!READ_ONCE(r->incoming) && !READ_ONCE(r->head))
		return;
	/* acquire: pairs with the release below: the list is as the last runner left it */
	if (READ_ONCE(r->running) || cmpxchg_acquire(&r->running, 0u, 1u) != 0)
		return;
	rcu_take_incoming(r);
	/* acquire: pairs with the acq_rel in rcu_advance(): the readers are gone */
	epoch = smp_load_acquire(&r->epoch);
	while (r->head && r->head->cookie <= epoch) {
		struct rcu_head *head = r->head;

		WRITE_ONCE(r->head, head->next);
		head->func(head);
		/* release: pairs with the acquire in rcu_barrier(): what the callback did is seen */
		fetch_add_release(&r->done, 1ul);
	}
	/* release: pairs with the acquire of the next runner */
	smp_store_release(&r->running, 0u);
}

bool poll_state_synchronize_rcu(u64 cookie)
{
	bool done = rcu_poll(cookie);

	rcu_run_callbacks();
	return done;
}

void synchronize_rcu(void)
{
	u64 cookie = get_state_synchronize_rcu();

	VM_BUG_ON(rcu_read_lock_held());
	while (!poll_state_synchronize_rcu(cookie))
		octavo_port_relax();
}

void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head))
{
	struct rcu_state *r = &octavo_state.rcu;
	struct rcu_head *top = READ_ONCE(r->incoming);
	/* before the push, so that rcu_barrier() never counts fewer than there are */
	u64 nr = fetch_add_relaxed(&r->queued, 1ul);

	head->func = func;
	do
		head->next = top;
	/* release: pairs with the acquire in rcu_take_incoming() */
	while (!try_cmpxchg_release(&r->incoming, &top, head));
	if (nr % CALLS_PER_EPOCH == CALLS_PER_EPOCH - 1) {
		/* acquire: as in rcu_poll() */
		rcu_advance(smp_load_acquire(&r->epoch));
		rcu_run_callbacks();
	}
}

void rcu_barrier(void)
{
	struct rcu_state *r = &octavo_state.rcu;
	/*
	 * At least as many as were queued before us; callbacks run in the order in which they were
	 * pushed, so when this many are done, those are.
	 */
	u64 target = READ_ONCE(r->queued);

	/* acquire: pairs with the release after each callback */
	while (smp_load_acquire(&r->done) < target) {
		synchronize_rcu();
		octavo_port_relax();
	}
}
