/* SPDX-License-Identifier: MIT */
/*
 * lock.c - the waiting halves of lock.h.
 */
#include <octavo/lock.h>

void spin_lock_slow(spinlock_t *lock)
{
	for (u32 turn = 0; turn < OCTAVO_SPIN_TURNS; turn++) {
		octavo_port_relax();
		/* acquire: pairs with the release in spin_unlock() */
		if (READ_ONCE(lock->val) == 0 && cmpxchg_acquire(&lock->val, 0u, 1u) == 0)
			return;
	}
	/*
	 * From here on the lock is taken as 2: we cannot know whether others are parked too, and one
	 * unpark too many is harmless where one too few is a hang.
	 */
	while (xchg_acquire(&lock->val, 2u) != 0)
		octavo_port_park(&lock->val, 2);
}

void local_lock_remote(local_lock_t *l)
{
	/* acquire: pairs with the release in local_unlock_remote(); one remote holder at a time */
	while (cmpxchg_acquire(&l->remote, 0u, 1u) != 0)
		octavo_port_relax();
	/* pairs with smp_mb_light() in local_trylock() */
	smp_mb_heavy();
	/* acquire: pairs with the release in local_unlock() */
	while (smp_load_acquire(&l->busy))
		octavo_port_relax();
}

void local_unlock_remote(local_lock_t *l)
{
	/* release: pairs with the acquire load of remote in local_trylock() */
	smp_store_release(&l->remote, 0u);
}
