/* SPDX-License-Identifier: MIT */
/*
 * rwsem.c - the waiting halves of rwsem.h.
 *
 * Why no wake-up is lost. Who changes the state in a way that others wait for adds to the word that they sleep on
 * afterwards, and then wakes. A sleeper reads that word first, then the state, and sleeps only while
 * the word is what it read: either it read the word before it grew, and does not sleep, or it reads
 * a state that is at least as new as the one it was woken for.
 *
 * Why one writer is enough to wake. It need not get in: another may have come between, but that one finds
 * it among the waiting writers when it leaves. A writer is among them until it is inside.
 */
#include <octavo/rwsem.h>

static inline u64 rwsem_readers(u64 state)
{
	return state & RWSEM_COUNT_MASK;
}

static inline u64 rwsem_read_waiters(u64 state)
{
	return (state / RWSEM_READ_WAITER) & RWSEM_COUNT_MASK;
}

/* Fatal before a carry out of one of the counts could make a lock of nothing. */
static void rwsem_check_room(const struct rw_semaphore *sem, u64 count)
{
	if (unlikely(count >= RWSEM_COUNT_MASK))
		octavo_panic("rwsem %p: too many readers or waiters", (const void *)sem);
}

/* Until the phase is not @phase any more: then the caller has become a reader. */
static void rwsem_await_phase(struct rw_semaphore *sem, u64 phase)
{
	for (u32 turn = 0; turn < OCTAVO_SPIN_TURNS; turn++) {
		/* acquire: pairs with the release of state in rwsem_admit_readers() */
		if ((smp_load_acquire(&sem->state) & RWSEM_PHASE) != phase)
			return;
		octavo_port_relax();
	}
	for (;;) {
		/* acquire: pairs with the release in rwsem_admit_readers(): the phase after it is seen */
		u32 wakes = smp_load_acquire(&sem->read_wakes);

		/* acquire: as above */
		if ((smp_load_acquire(&sem->state) & RWSEM_PHASE) != phase)
			return;
		octavo_port_park(&sem->read_wakes, wakes);
	}
}

void __down_read_slow(struct rw_semaphore *sem)
{
	u64 old = READ_ONCE(sem->state), new;

	do {
		rwsem_check_room(sem, rwsem_readers(old) + rwsem_read_waiters(old));
		new = old + (old & RWSEM_STOPS_READERS ? RWSEM_READ_WAITER : RWSEM_READER);
		/* acquire: pairs with the release of state in rwsem_admit_readers(), for a new reader */
	} while (!try_cmpxchg_acquire(&sem->state, &old, new));
	if (old & RWSEM_STOPS_READERS)
		rwsem_await_phase(sem, old & RWSEM_PHASE);
}

/* From one that waits to the one inside, if that can be now. */
static bool rwsem_writer_enters(struct rw_semaphore *sem)
{
	u64 old = READ_ONCE(sem->state);

	while (!(old & RWSEM_WRITER) && !rwsem_readers(old))
		/* acquire: pairs with the release of state in up_read() and rwsem_admit_readers() */
		if (try_cmpxchg_acquire(&sem->state, &old, old - RWSEM_WRITE_WAITER + RWSEM_WRITER))
			return true;
	return false;
}

void __down_write_slow(struct rw_semaphore *sem)
{
	/* Counted before anything else: from here on no new reader comes in. */
	u64 old = fetch_add_relaxed(&sem->state, RWSEM_WRITE_WAITER);

	rwsem_check_room(sem, (old / RWSEM_WRITE_WAITER) & RWSEM_COUNT_MASK);
	for (u32 turn = 0; turn < OCTAVO_SPIN_TURNS; turn++) {
		if (rwsem_writer_enters(sem))
			return;
		octavo_port_relax();
	}
	for (;;) {
		/* acquire: pairs with the release in __rwsem_wake_writer(): the state before it is seen */
		u32 wakes = smp_load_acquire(&sem->write_wakes);

		if (rwsem_writer_enters(sem))
			return;
		octavo_port_park(&sem->write_wakes, wakes);
	}
}

void __rwsem_wake_writer(struct rw_semaphore *sem)
{
	/* release: pairs with the acquire in __down_write_slow(): asleep for ever without it */
	fetch_add_release(&sem->write_wakes, 1u);
	octavo_port_unpark(&sem->write_wakes, false);
}

/* The writer goes, @stay readers stay in its place, and those that wait come in. */
static void rwsem_admit_readers(struct rw_semaphore *sem, u64 stay, const char *caller)
{
	u64 old = READ_ONCE(sem->state), new, waiters;

	do {
		if (unlikely(!(old & RWSEM_WRITER)))
			octavo_panic("%s: %p is not held for writing", caller, (void *)sem);
		waiters = rwsem_read_waiters(old);
		new = old - RWSEM_WRITER - waiters *RWSEM_READ_WAITER +
		      (waiters + stay) * RWSEM_READER;
		if (waiters)
			new ^= RWSEM_PHASE;
		/* release: pairs with each acquire of state: what the writer wrote is seen */
	} while (!try_cmpxchg_release(&sem->state, &old, new));
	if (waiters) {
		/* release: pairs with the acquire in rwsem_await_phase(): asleep for ever without it */
		fetch_add_release(&sem->read_wakes, 1u);
		octavo_port_unpark(&sem->read_wakes, true);
	} else if (!stay && (old & RWSEM_WRITE_WAITERS)) {
		__rwsem_wake_writer(sem);
	}
}

void up_write(struct rw_semaphore *sem)
{
	rwsem_admit_readers(sem, 0, "up_write");
}

void downgrade_write(struct rw_semaphore *sem)
{
	rwsem_admit_readers(sem, 1, "downgrade_write");
}
