/* SPDX-License-Identifier: MIT */
/*
 * rwsem.h - a lock for many readers or one writer, both of which may sleep while they hold it.
 *
 * Fair by phases: a writer that waits keeps new readers out, and when a writer leaves, all readers that
 * wait then are in, before the next writer. So neither kind can starve the other. Writers among themselves
 * have no order.
 */
#ifndef OCTAVO_RWSEM_H
#define OCTAVO_RWSEM_H

#include <octavo/atomic.h>
#include <octavo/debug.h>

/*
 * state: from bit 0 the readers inside, then the readers that wait, then the writers that wait, 20 bits each;
 * then the two bits below. A reader that waits has no place in a queue: it waits for the phase to
 * change, which makes all waiting readers into readers inside in one step. The phase cannot change twice before
 * such a reader has looked, because it is inside by then.
 *
 * The other two words only wake: they grow before each wake-up, so that a sleeper which looked at the state
 * too early does not go to sleep.
 */
#define RWSEM_READER	   1ul
#define RWSEM_READ_WAITER  (1ul << 20)
#define RWSEM_WRITE_WAITER (1ul << 40)
#define RWSEM_WRITER	   (1ul << 60)
#define RWSEM_PHASE	   (1ul << 61)
#define RWSEM_COUNT_MASK   ((1ul << 20) - 1)

#define RWSEM_WRITE_WAITERS (RWSEM_COUNT_MASK * RWSEM_WRITE_WAITER)
/* What keeps a new reader out, and what a new writer. */
#define RWSEM_STOPS_READERS (RWSEM_WRITER | RWSEM_WRITE_WAITERS)
#define RWSEM_STOPS_WRITERS (~RWSEM_PHASE)

/* All zero: free. Every field is atomic. */
struct rw_semaphore {
	u64 state;
	u32 read_wakes;
	u32 write_wakes;
};

/* Nobody inside, nobody waiting. All zero is as good. */
static inline void init_rwsem(struct rw_semaphore *sem)
{
	sem->state = 0;
	sem->read_wakes = 0;
	sem->write_wakes = 0;
}

/* The waiting halves of down_read() and down_write(), and what up_read() does for a waiting writer. */
void __down_read_slow(struct rw_semaphore *sem);
void __down_write_slow(struct rw_semaphore *sem);
void __rwsem_wake_writer(struct rw_semaphore *sem);

/**
 * down_read_trylock() - down_read() if that needs no waiting
 * @sem: the lock
 *
 * Context: any. Return: true if the caller is a reader now.
 */
static inline bool down_read_trylock(struct rw_semaphore *sem)
{
	u64 old = READ_ONCE(sem->state);

	if (octavo_fault(OCTAVO_FAULT_TRYLOCK))
		return false;
	while (likely(!(old & RWSEM_STOPS_READERS)) && likely(~old & RWSEM_COUNT_MASK))
		/* acquire: pairs with the release of state in up_write() and downgrade_write() */
		if (try_cmpxchg_acquire(&sem->state, &old, old + RWSEM_READER))
			return true;
	return false;
}

/**
 * down_read() - become one of the readers
 * @sem: the lock; the caller does not hold it: a writer that waits between two down_read() of one thread
 *       would wait for the first and hold up the second
 *
 * Context: may sleep; not pinned, no spinlock held.
 */
static inline void down_read(struct rw_semaphore *sem)
{
	u64 old = READ_ONCE(sem->state);

	/* acquire: pairs with the release of state in up_write() and downgrade_write() */
	if (unlikely(old & ~(RWSEM_PHASE | (RWSEM_COUNT_MASK >> 1))) ||
	    unlikely(!try_cmpxchg_acquire(&sem->state, &old, old + RWSEM_READER)))
		__down_read_slow(sem);
}

/**
 * up_read() - leave; fatal if there is no reader
 * @sem: the lock
 *
 * Context: any.
 */
static inline void up_read(struct rw_semaphore *sem)
{
	/* release: pairs with the acquire of state in down_write(): the reads are over */
	u64 old = fetch_sub_release(&sem->state, RWSEM_READER);

	if (unlikely(!(old & RWSEM_COUNT_MASK)))
		octavo_panic("up_read: %p is not held for reading", (void *)sem);
	if (unlikely(old & RWSEM_WRITE_WAITERS) && (old & RWSEM_COUNT_MASK) == RWSEM_READER)
		__rwsem_wake_writer(sem);
}

/**
 * up_read_unwaited() - up_read() if no writer waits
 * @sem: the lock
 *
 * The step that leaves is the last access of it, so who comes next may free it.
 *
 * Context: any. Return: false: nothing was done; up_read() is next.
 */
static inline bool up_read_unwaited(struct rw_semaphore *sem)
{
	u64 old = READ_ONCE(sem->state);

	/* release: pairs with the acquire of state in down_write(): the reads are over */
	return !(old & RWSEM_WRITE_WAITERS) && (old & RWSEM_COUNT_MASK) &&
	       try_cmpxchg_release(&sem->state, &old, old - RWSEM_READER);
}

/**
 * down_write_trylock() - down_write() if that needs no waiting
 * @sem: the lock
 *
 * Context: any. Return: true if the caller is the writer now.
 */
static inline bool down_write_trylock(struct rw_semaphore *sem)
{
	u64 old = READ_ONCE(sem->state);

	if (octavo_fault(OCTAVO_FAULT_TRYLOCK))
		return false;
	while (likely(!(old & RWSEM_STOPS_WRITERS)))
		/* acquire: pairs with the release of state in up_read() and up_write() */
		if (try_cmpxchg_acquire(&sem->state, &old, old | RWSEM_WRITER))
			return true;
	return false;
}

/**
 * down_write() - become the only holder
 * @sem: the lock; the caller does not hold it
 *
 * Context: may sleep; not pinned, no spinlock held.
 */
static inline void down_write(struct rw_semaphore *sem)
{
	u64 old = READ_ONCE(sem->state);

	/* acquire: pairs with the release of state in up_read() and up_write() */
	if (unlikely(old & RWSEM_STOPS_WRITERS) ||
	    unlikely(!try_cmpxchg_acquire(&sem->state, &old, old | RWSEM_WRITER)))
		__down_write_slow(sem);
}

/**
 * up_write() - leave; fatal if there is no writer
 * @sem: the lock
 *
 * Readers that wait are inside when this returns, if only they knew.
 *
 * Context: any.
 */
void up_write(struct rw_semaphore *sem);

/**
 * downgrade_write() - from the writer to one of the readers, without a gap; fatal if there is no writer
 * @sem: the lock
 *
 * The readers that wait come in too. A writer that waits still keeps new ones out.
 *
 * Context: any.
 */
void downgrade_write(struct rw_semaphore *sem);

/* Whether anybody is inside; for assertions: who it is cannot be told. */
static inline bool rwsem_is_locked(const struct rw_semaphore *sem)
{
	return (READ_ONCE(sem->state) & (RWSEM_WRITER | RWSEM_COUNT_MASK)) != 0;
}

/* Whether a writer is inside. */
static inline bool rwsem_is_write_locked(const struct rw_semaphore *sem)
{
	return (READ_ONCE(sem->state) & RWSEM_WRITER) != 0;
}

#endif /* OCTAVO_RWSEM_H */
