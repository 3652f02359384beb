/* SPDX-License-Identifier: MIT */
/*
 * lock.h - the three locks of the core. docs/locking.md has the order in which they nest.
 *
 * spinlock_t     short critical sections shared by all CPUs. Spins, then parks. Not taken from
 *                interrupt context: paths that may run there use spin_trylock().
 * local_lock_t   a CPU's own data. Taken by its CPU with two plain stores and no atomic operation, by any
 *                other CPU through local_lock_remote(). Fails instead of waiting, so an interrupt, or a
 *                remote holder, costs its owner a detour and never a wait.
 */
#ifndef OCTAVO_LOCK_H
#define OCTAVO_LOCK_H

#include <octavo/atomic.h>
#include <octavo/debug.h>

/*
 * 0 free, 1 held, 2 held and somebody may be parked (U. Drepper, "Futexes Are Tricky", 2011, mutex2).
 */
typedef struct __capability("spinlock") spinlock
{
	u32 val;
}
spinlock_t;

/* The waiting half of spin_lock(). */
void spin_lock_slow(spinlock_t *lock);

static inline void spin_lock_init(spinlock_t *lock)
{
	lock->val = 0;
}

static inline bool spin_trylock(spinlock_t *lock) __try_acquires(true, lock) __no_thread_safety
{
	/* acquire: pairs with the release in spin_unlock() */
	return !octavo_fault(OCTAVO_FAULT_TRYLOCK) && cmpxchg_acquire(&lock->val, 0u, 1u) == 0;
}

static inline void spin_lock(spinlock_t *lock) __acquires(lock) __no_thread_safety
{
	/* acquire: pairs with the release in spin_unlock() */
	if (unlikely(cmpxchg_acquire(&lock->val, 0u, 1u) != 0))
		spin_lock_slow(lock);
}

/* Fatal if it is not held. */
static inline void spin_unlock(spinlock_t *lock) __releases(lock) __no_thread_safety
{
	/* release: pairs with the acquire of the next holder */
	u32 old = xchg_release(&lock->val, 0u);

	if (unlikely(old != 1)) {
		if (old == 0)
			octavo_panic("spin_unlock: lock %p is not held", (void *)lock);
		octavo_port_unpark(&lock->val, false);
	}
}

static inline bool spin_is_locked(const spinlock_t *lock)
{
	return READ_ONCE(lock->val) != 0;
}

/*
 * The owner's busy flag against the remote's flag is a store-buffering (Dekker) pair: each side stores
 * its own flag, then reads the other's. smp_mb_light() and smp_mb_heavy() stand between, so that at
 * least one of the two sees the other.
 */
typedef struct local_lock {
	u32 busy;   /* stored by the owning CPU only, pinned */
	u32 remote; /* compare-and-swap by other CPUs */
} local_lock_t;

/**
 * local_trylock() - enter this CPU's own data
 * @l: the lock of the CPU the caller is pinned to
 *
 * Return: false if an interrupted holder of this CPU or a remote one is inside.
 */
static inline bool local_trylock(local_lock_t *l)
{
	if (unlikely(READ_ONCE(l->busy)) || octavo_fault(OCTAVO_FAULT_TRYLOCK))
		return false;
	WRITE_ONCE(l->busy, 1u);
	/* pairs with smp_mb_heavy() in local_lock_remote(): both inside without it */
	smp_mb_light();
	/* acquire: pairs with the release in local_unlock_remote(): what it did is seen */
	if (unlikely(smp_load_acquire(&l->remote))) {
		smp_store_release(&l->busy, 0u);
		return false;
	}
	return true;
}

static inline void local_unlock(local_lock_t *l)
{
	/* release: pairs with the acquire load of busy in local_lock_remote() */
	smp_store_release(&l->busy, 0u);
}

/**
 * local_lock_remote() - keep a CPU out of its own data and wait until it is outside
 * @l: the lock of any CPU
 *
 * Context: may spin; not from interrupt context, and not while inside any local lock. Costs a
 * barrier on all CPUs.
 */
void local_lock_remote(local_lock_t *l);

/* Let the owner in again. */
void local_unlock_remote(local_lock_t *l);

#endif /* OCTAVO_LOCK_H */
