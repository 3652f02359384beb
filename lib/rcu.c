/* SPDX-License-Identifier: MIT */
/*
 * rcu.c - the supplied RCU: epochs, polled, no thread of its own.
 *
 * A reader announces the epoch it read; the epoch moves on only when every announced reader has the
 * current one. So a reader that was inside when something was unlinked (in epoch e, read after the
 * unlinking) can be inside at epoch e or e + 1 at the latest, and at e + 2 is gone. After K. Fraser,
 * "Practical lock-freedom", 2004, section 5.2.3.
 *
 * What it does not do: sleepable readers, expedited grace periods, priority boosting, callbacks
 * without somebody calling in (call_rcu(), poll_... and synchronize_rcu() run them).
 */
#include <octavo/atomic.h>
#include <octavo/rcu.h>
#include <octavo/state.h>

void rcu_read_lock(void)
{
	struct rcu_cpu *c = &octavo_state.rcu.cpu[octavo_port_pin()];

	if (c->nest++ == 0) {
		WRITE_ONCE(c->epoch, READ_ONCE(octavo_state.rcu.epoch) + 1);
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

	VM_BUG_ON(c->nest == 0);
	if (--c->nest == 0)
		/* release: pairs with the acquire in rcu_advance(): our reads are over */
		smp_store_release(&c->epoch, 0ul);
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
		/* acquire: pairs with the release in rcu_read_unlock() */
		u64 e = smp_load_acquire(&octavo_state.rcu.cpu[cpu].epoch);

		if (e && e != epoch + 1)
			return;
	}
	/* acq_rel: whoever sees the new epoch also sees that those readers are gone */
	cmpxchg_acq_rel(&octavo_state.rcu.epoch, epoch, epoch + 1);
}

u64 get_state_synchronize_rcu(void)
{
	/* pairs with smp_mb_heavy() in rcu_advance(): what the caller unlinked is before this epoch */
	smp_mb();
	return READ_ONCE(octavo_state.rcu.epoch) + 2;
}

static void rcu_do_callbacks(void);

static bool rcu_poll(u64 cookie)
{
	for (int i = 0; i < 2; i++) {
		/* acquire: pairs with the acq_rel in rcu_advance() */
		u64 epoch = smp_load_acquire(&octavo_state.rcu.epoch);

		if (epoch >= cookie)
			return true;
		rcu_advance(epoch);
	}
	return smp_load_acquire(&octavo_state.rcu.epoch) >= cookie;
}

bool poll_state_synchronize_rcu(u64 cookie)
{
	bool done = rcu_poll(cookie);

	rcu_do_callbacks();
	return done;
}

void synchronize_rcu(void)
{
	u64 cookie = get_state_synchronize_rcu();

	VM_BUG_ON(rcu_read_lock_held());
	while (!poll_state_synchronize_rcu(cookie))
		octavo_port_relax();
}

/*
 * Callbacks are queued in order, so their cookies never fall: the first that is not ready ends the batch.
 * Whoever gets the lock runs what is ready, outside the lock; a callback may queue another.
 */
static void rcu_do_callbacks(void)
{
	struct rcu_state *r = &octavo_state.rcu;
	struct rcu_head *ready = NULL, **end = &ready;
	u64 epoch;

	if (!READ_ONCE(r->head) || !spin_trylock(&r->lock))
		return;
	epoch = smp_load_acquire(&r->epoch);
	while (r->head && r->head->cookie <= epoch) {
		*end = r->head;
		end = &r->head->next;
		WRITE_ONCE(r->head, r->head->next);
	}
	*end = NULL;
	if (!r->head)
		r->tail = NULL;
	spin_unlock(&r->lock);

	while (ready) {
		struct rcu_head *head = ready;

		ready = head->next;
		head->func(head);
		/* release: pairs with the acquire in rcu_barrier() */
		fetch_add_release(&r->done, 1ul);
	}
}

void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head))
{
	struct rcu_state *r = &octavo_state.rcu;

	head->func = func;
	head->next = NULL;
	spin_lock(&r->lock);
	/* under the lock: the cookies on the list never fall */
	head->cookie = get_state_synchronize_rcu();
	if (r->tail)
		*r->tail = head;
	else
		WRITE_ONCE(r->head, head);
	r->tail = &head->next;
	r->queued++;
	spin_unlock(&r->lock);
	poll_state_synchronize_rcu(head->cookie - 1);
}

void rcu_barrier(void)
{
	struct rcu_state *r = &octavo_state.rcu;
	u64 target;

	spin_lock(&r->lock);
	target = r->queued;
	spin_unlock(&r->lock);
	/* acquire: pairs with the release after each callback */
	while (smp_load_acquire(&r->done) < target) {
		synchronize_rcu();
		octavo_port_relax();
	}
}
