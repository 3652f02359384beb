/* SPDX-License-Identifier: MIT */
/*
 * lib.c - lib/lock.c and lib/rcu.c, the shipped code.
 */
#include <octavo/errno.h>
#include <octavo/lock.h>
#include <octavo/rcu.h>
#include <octavo/state.h>

#include "check.h"

static SHARED struct {
	spinlock_t lock;
	local_lock_t local;
	u64 data, inside;
	u64 entered, refused;
	void *ptr;
	u64 obj[2];
	u32 ran;
	struct rcu_head head[2];
} s;

/* ---- spinlock_t ---- */

static void lock_user(void)
{
	spin_lock(&s.lock);
	s.data++;
	spin_unlock(&s.lock);
}

static void lock_trier(void)
{
	if (spin_trylock(&s.lock)) {
		s.data++;
		spin_unlock(&s.lock);
	} else {
		spin_lock(&s.lock);
		s.data++;
		spin_unlock(&s.lock);
	}
}

static void lock_done(void)
{
	CHECK(s.data == 3);
	CHECK(!spin_is_locked(&s.lock));
}

SCENARIO(lock_spin) = { SCENARIO_NAME(lock_spin), .about = "spinlock: three critical sections",
			.threads = { lock_user, lock_user, lock_trier }, .flags = SC_SYMMETRIC,
			.finish = lock_done };

/* Straight to the part that sleeps: more turns than a scenario has stores. */
static void lock_sleeper(void)
{
	while (xchg_acquire(&s.lock.val, 2u) != 0)
		octavo_port_park(&s.lock.val, 2);
	s.data++;
	spin_unlock(&s.lock);
}

SCENARIO(lock_park) = { SCENARIO_NAME(lock_park),
			.about = "spinlock: sleeping and waking, no wake-up lost",
			.threads = { lock_user, lock_sleeper, lock_sleeper }, .flags = SC_SYMMETRIC,
			.finish = lock_done };

/* ---- local_lock_t ---- */

static void local_owner(void)
{
	octavo_port_pin();
	for (int i = 0; i < 2; i++) {
		if (!local_trylock(&s.local))
			continue;
		s.data++;
		s.entered++;
		local_unlock(&s.local);
	}
	octavo_port_unpin();
}

static void local_remote(void)
{
	local_lock_remote(&s.local);
	s.data++;
	local_unlock_remote(&s.local);
}

static void local_done(void)
{
	CHECK(s.data == s.entered + 2);
}

SCENARIO(lock_local) = { SCENARIO_NAME(lock_local),
			 .about = "local lock: owner against two remote holders",
			 .threads = { local_owner, local_remote, local_remote },
			 .roles = { "owner", "remote", "remote" },
			 .flags = SC_SYMMETRIC,
			 .finish = local_done };

/* ---- RCU: unlink, wait, reuse ---- */

static void rcu_setup(void)
{
	s.obj[0] = 1;
	s.ptr = &s.obj[0];
}

static void rcu_reader(void)
{
	u64 *p;

	rcu_read_lock();
	p = smp_load_acquire(&s.ptr);
	if (p)
		CHECK(*p == 1);
	rcu_read_unlock();
}

static void rcu_reader_twice(void)
{
	rcu_reader();
	rcu_reader();
}

static void rcu_updater(void)
{
	WRITE_ONCE(s.ptr, NULL);
	synchronize_rcu();
	s.obj[0] = 2;
}

#define RCU(id, text, first, fl)                                        \
	SCENARIO(id) = { SCENARIO_NAME(id),                             \
			 .about = text,                                 \
			 .setup = rcu_setup,                            \
			 .threads = { first, rcu_updater, rcu_reader }, \
			 .roles = { "reader", "updater", "reader" },    \
			 .flags = fl }
RCU(rcu_sync, "lib/rcu.c: nobody reads what was unlinked a grace period ago", rcu_reader,
    SC_REAL_RCU);
RCU(rcu_sync_twice, "lib/rcu.c: a reader that leaves and enters again", rcu_reader_twice,
    SC_REAL_RCU);
RCU(rcu_model, "the checker's own RCU keeps the same promise", rcu_reader_twice, 0);

static void rcu_updater_short(void)
{
	WRITE_ONCE(s.ptr, NULL);
	s.obj[0] = 2;
}

SCENARIO(rcu_no_wait) = { SCENARIO_NAME(rcu_no_wait), .about = "reuse without a grace period",
			  .setup = rcu_setup, .threads = { rcu_reader, rcu_updater_short },
			  .expects = EXPECT_VIOLATION };

/* Polling by two updaters at once. */
static void rcu_poller(void)
{
	u64 cookie;

	WRITE_ONCE(s.ptr, NULL);
	cookie = get_state_synchronize_rcu();
	if (poll_state_synchronize_rcu(cookie))
		*(u64 *)&s.obj[0] = 2;
}

static void rcu_poller_only(void)
{
	poll_state_synchronize_rcu(get_state_synchronize_rcu());
}

SCENARIO(rcu_poll) = { SCENARIO_NAME(rcu_poll),
		       .about = "lib/rcu.c: two that help the grace period along",
		       .setup = rcu_setup,
		       .threads = { rcu_reader, rcu_poller, rcu_poller_only },
		       .roles = { "reader", "updater", "helper" },
		       .flags = SC_REAL_RCU };

/*
 * What the third epoch of a grace period is for: somebody else has run the barrier of an advance
 * before the unlinking, and makes the advance after it.
 */
SCENARIO(rcu_help) = { SCENARIO_NAME(rcu_help),
		       .about = "lib/rcu.c: the epoch advances under an updater's feet",
		       .setup = rcu_setup,
		       .threads = { rcu_reader, rcu_updater, rcu_poller_only },
		       .roles = { "reader", "updater", "helper" },
		       .bound = 3,
		       .stale = 1,
		       .flags = SC_REAL_RCU };

/* ---- call_rcu() ---- */

static void rcu_callback(struct rcu_head *head)
{
	s.obj[head - s.head] = 2;
	s.ran++;
}

static void rcu_caller(void)
{
	WRITE_ONCE(s.ptr, NULL);
	call_rcu(&s.head[0], rcu_callback);
	rcu_barrier();
	CHECK(s.obj[0] == 2);
}

static void rcu_caller_two(void)
{
	call_rcu(&s.head[1], rcu_callback);
	poll_state_synchronize_rcu(get_state_synchronize_rcu());
}

static void rcu_called(void)
{
	rcu_barrier();
	CHECK(s.ran == 2);
}

SCENARIO(rcu_call) = { SCENARIO_NAME(rcu_call),
		       .about = "lib/rcu.c: callbacks run once, after their grace period",
		       .setup = rcu_setup,
		       .threads = { rcu_reader, rcu_caller, rcu_caller_two },
		       .roles = { "reader", "updater", "other" },
		       .finish = rcu_called,
		       .flags = SC_REAL_RCU };
