/* SPDX-License-Identifier: MIT */
/*
 * atomic.h - every atomic access of the core. No other file uses compiler or library atomics.
 *
 * Names are the kernel's, meanings are C11's, and the order is always in the name: there is no
 * cmpxchg() or fetch_add() without a suffix, because in Linux an operation that returns a value is
 * a full barrier and in C11 not even a seq_cst one is. Where a protocol needs a full barrier it says
 * smp_mb(), or makes both sides' accesses seq_cst. Every use that is stronger than relaxed names, at
 * the place of use, the access it pairs with and what breaks without it.
 *
 *   READ_ONCE(x)  WRITE_ONCE(x, v)                   relaxed load and store
 *   smp_load_acquire(p)  smp_load_seq_cst(p)
 *   smp_store_release(p, v)  smp_store_seq_cst(p, v)
 *   xchg_ORDER(p, v)                                 returns the old value
 *   cmpxchg_ORDER(p, old, new)                       returns what was there; strong
 *   try_cmpxchg_ORDER(p, &old, new)                  true if stored, else old = what was there;
 *                                                    weak: may fail spuriously, always in a loop
 *   fetch_add_ORDER fetch_sub_ORDER fetch_and_ORDER fetch_or_ORDER (p, v)
 *   smp_mb()                                         seq_cst fence
 *   smp_mb_light() / smp_mb_heavy()                  asymmetric pair, see below
 *   words_fill_release(p, v, n)                      n words, each with release order
 *   words_ramp_release(p, v, step, n)                the same, v, v + step, v + 2 * step, ...
 *   words_ramp_run(p, v, step, mask, n, seen)        how many of n words are so in the bits of mask, relaxed
 *   words_add(p, v, n)                               n words that nobody else stores, v more in each, relaxed
 *   words_or(p, less, n)                             bits of any of n words that nobody stores, each less so much
 *
 * ORDER is relaxed, acquire, release, acq_rel or seq_cst. A failed compare-and-swap is ordered as a
 * load of that strength (acq_rel: acquire; release: relaxed).
 *
 * Objects are plain integers and pointers of 1, 2, 4 or 8 bytes, naturally aligned; one object is
 * always accessed with one size. A field is atomic by how its struct's comment says it is accessed.
 *
 * Back ends (config.h): NATIVE, compiler builtins; CHECK, where each access is a call into the
 * deterministic scheduler of port/check with its place in the source; C11, plain <stdatomic.h>, for
 * external model checkers. All three supply the same dozen primitives _A_...; the names above are built on
 * those once.
 */
#ifndef OCTAVO_ATOMIC_H
#define OCTAVO_ATOMIC_H

#include <octavo/compiler.h>
#include <octavo/fault.h>

#define _A_RELAXED 0
#define _A_ACQUIRE 2
#define _A_RELEASE 3
#define _A_ACQ_REL 4
#define _A_SEQ_CST 5

#if OCTAVO_ATOMIC == OCTAVO_ATOMIC_CHECK
#include <octavo/atomic_check.h>
#elif OCTAVO_ATOMIC == OCTAVO_ATOMIC_C11
#include <octavo/atomic_c11.h>
#else
#include <octavo/atomic_native.h>
#endif

/*
 * What is stored once, read by who has seen it stored. Two may have been first for it; the comparison of the second one
 * failed, which is no store, but thread sanitizers take it for one. To others, a plain load.
 */
#ifdef OCTAVO_TSAN
#define READ_SETTLED(x) READ_ONCE(x)
#else
#define READ_SETTLED(x) (x)
#endif

/* clang-format off */
#define READ_ONCE(x)			_A_LOAD(&(x), _A_RELAXED)
#define WRITE_ONCE(x, v)		_A_STORE(&(x), v, _A_RELAXED)
#define smp_load_acquire(p)		_A_LOAD(p, _A_ACQUIRE)
#define smp_load_seq_cst(p)		_A_LOAD(p, _A_SEQ_CST)
#define smp_store_release(p, v)		_A_STORE(p, v, _A_RELEASE)
#define smp_store_seq_cst(p, v)		_A_STORE(p, v, _A_SEQ_CST)
#define smp_mb()			_A_FENCE(_A_SEQ_CST)

#define xchg_relaxed(p, v)		_A_XCHG(p, v, _A_RELAXED)
#define xchg_acquire(p, v)		_A_XCHG(p, v, _A_ACQUIRE)
#define xchg_release(p, v)		_A_XCHG(p, v, _A_RELEASE)
#define xchg_acq_rel(p, v)		_A_XCHG(p, v, _A_ACQ_REL)
#define xchg_seq_cst(p, v)		_A_XCHG(p, v, _A_SEQ_CST)

#define cmpxchg_relaxed(p, o, n)	_A_CMPXCHG(p, o, n, _A_RELAXED, _A_RELAXED)
#define cmpxchg_acquire(p, o, n)	_A_CMPXCHG(p, o, n, _A_ACQUIRE, _A_ACQUIRE)
#define cmpxchg_release(p, o, n)	_A_CMPXCHG(p, o, n, _A_RELEASE, _A_RELAXED)
#define cmpxchg_acq_rel(p, o, n)	_A_CMPXCHG(p, o, n, _A_ACQ_REL, _A_ACQUIRE)
#define cmpxchg_seq_cst(p, o, n)	_A_CMPXCHG(p, o, n, _A_SEQ_CST, _A_SEQ_CST)

#define try_cmpxchg_relaxed(p, o, n)	_A_TRY(p, o, n, _A_RELAXED, _A_RELAXED)
#define try_cmpxchg_acquire(p, o, n)	_A_TRY(p, o, n, _A_ACQUIRE, _A_ACQUIRE)
#define try_cmpxchg_release(p, o, n)	_A_TRY(p, o, n, _A_RELEASE, _A_RELAXED)
#define try_cmpxchg_acq_rel(p, o, n)	_A_TRY(p, o, n, _A_ACQ_REL, _A_ACQUIRE)
#define try_cmpxchg_seq_cst(p, o, n)	_A_TRY(p, o, n, _A_SEQ_CST, _A_SEQ_CST)

#define fetch_add_relaxed(p, v)		_A_FETCH_ADD(p, v, _A_RELAXED)
#define fetch_add_acquire(p, v)		_A_FETCH_ADD(p, v, _A_ACQUIRE)
#define fetch_add_release(p, v)		_A_FETCH_ADD(p, v, _A_RELEASE)
#define fetch_add_acq_rel(p, v)		_A_FETCH_ADD(p, v, _A_ACQ_REL)
#define fetch_add_seq_cst(p, v)		_A_FETCH_ADD(p, v, _A_SEQ_CST)
#define fetch_sub_relaxed(p, v)		_A_FETCH_SUB(p, v, _A_RELAXED)
#define fetch_sub_acquire(p, v)		_A_FETCH_SUB(p, v, _A_ACQUIRE)
#define fetch_sub_release(p, v)		_A_FETCH_SUB(p, v, _A_RELEASE)
#define fetch_sub_acq_rel(p, v)		_A_FETCH_SUB(p, v, _A_ACQ_REL)
#define fetch_sub_seq_cst(p, v)		_A_FETCH_SUB(p, v, _A_SEQ_CST)
#define fetch_and_relaxed(p, v)		_A_FETCH_AND(p, v, _A_RELAXED)
#define fetch_and_acquire(p, v)		_A_FETCH_AND(p, v, _A_ACQUIRE)
#define fetch_and_release(p, v)		_A_FETCH_AND(p, v, _A_RELEASE)
#define fetch_and_acq_rel(p, v)		_A_FETCH_AND(p, v, _A_ACQ_REL)
#define fetch_and_seq_cst(p, v)		_A_FETCH_AND(p, v, _A_SEQ_CST)
#define fetch_or_relaxed(p, v)		_A_FETCH_OR(p, v, _A_RELAXED)
#define fetch_or_acquire(p, v)		_A_FETCH_OR(p, v, _A_ACQUIRE)
#define fetch_or_release(p, v)		_A_FETCH_OR(p, v, _A_RELEASE)
#define fetch_or_acq_rel(p, v)		_A_FETCH_OR(p, v, _A_ACQ_REL)
#define fetch_or_seq_cst(p, v)		_A_FETCH_OR(p, v, _A_SEQ_CST)
/* clang-format on */

/* Back ends that can do several words at once say from which alignment on, and how many. */
#ifndef _A_RAMP_ALIGN
#define _A_RAMP_ALIGN 8
static __always_inline unsigned long _A_ramp_run(const unsigned long *p, unsigned long v,
						 unsigned long step, unsigned long mask,
						 unsigned long n, unsigned long *seen)
{
	return 0;
}

static __always_inline unsigned long _A_ramp_store(unsigned long *p, unsigned long v,
						   unsigned long step, unsigned long n)
{
	return 0;
}

static __always_inline unsigned long _A_words_add(unsigned long *p, unsigned long v,
						  unsigned long n, unsigned long *any)
{
	return 0;
}

static __always_inline unsigned long _A_words_or(const unsigned long *p, unsigned long less,
						 unsigned long n, unsigned long *any)
{
	return 0;
}
#endif

/* One word of a ramp, which has to be @v. */
static __always_inline bool _A_ramp_one(const unsigned long *p, unsigned long v, unsigned long mask,
					unsigned long *seen)
{
	unsigned long w = READ_ONCE(*p);

	if ((w ^ v) & mask)
		return false;
	if (seen)
		*seen |= w;
	return true;
}

/* @seen: NULL, or or-ed with the words of the run. */
static __always_inline unsigned long words_ramp_run(const unsigned long *p, unsigned long v,
						    unsigned long step, unsigned long mask,
						    unsigned long n, unsigned long *seen)
{
	unsigned long i = 0;

	if ((unsigned long)p % _A_RAMP_ALIGN) {
		if (!n || !_A_ramp_one(p, v, mask, seen))
			return 0;
		i = 1;
	}
	i += _A_ramp_run(p + i, v + i * step, step, mask, n - i, seen);
	while (i < n && _A_ramp_one(p + i, v + i * step, mask, seen))
		i++;
	return i;
}

/* Stores: see words_fill_release(). */
static __always_inline void words_ramp_release(unsigned long *p, unsigned long v,
					       unsigned long step, unsigned long n)
{
	unsigned long i = 0;

	if (n && (unsigned long)p % _A_RAMP_ALIGN != 0)
		smp_store_release(&p[i++], v);
	i += _A_ramp_store(p + i, v + i * step, step, n - i);
	for (; i < n; i++)
		smp_store_release(&p[i], v + i * step);
}

/*
 * Who may store them does: loads are plain, and others who look see each word as it was or as it is. Return: the bits of any
 * of the sums.
 */
static __always_inline unsigned long words_add(unsigned long *p, unsigned long v, unsigned long n)
{
	unsigned long i = 0, any = 0;

	if (n && (unsigned long)p % _A_RAMP_ALIGN != 0) {
		any = *p + v;
		WRITE_ONCE(*p, any);
		i = 1;
	}
	i += _A_words_add(p + i, v, n - i, &any);
	for (; i < n; i++) {
		unsigned long sum = p[i] + v;

		WRITE_ONCE(p[i], sum);
		any |= sum;
	}
	return any;
}

/* Loads are plain. */
static __always_inline unsigned long words_or(const unsigned long *p, unsigned long less,
					      unsigned long n)
{
	unsigned long i = 0, any = 0;

	if (n && (unsigned long)p % _A_RAMP_ALIGN != 0)
		any = p[i++] - less;
	i += _A_words_or(p + i, less, n - i, &any);
	for (; i < n; i++)
		any |= p[i] - less;
	return any;
}

/*
 * A weak compare-and-swap may fail with the expected value still there; under OCTAVO_FAULTS it does so
 * when told to, which is how retry paths are tested.
 */
#define _A_TRY(p, o, n, mo, mof) \
	(!octavo_fault(OCTAVO_FAULT_CAS) && _A_TRY_CMPXCHG(p, o, n, mo, mof))

/*
 * smp_mb_light() orders this CPU's accesses against those of a CPU that runs smp_mb_heavy() as if both
 * were smp_mb(); two light ones order nothing. Light costs a compiler barrier, heavy interrupts all
 * CPUs (octavo_port_membarrier()). Used where one side runs millions of times a second and the
 * other once in a while. Thread sanitizers cannot see such a pair, so there light is a full fence.
 */
#if OCTAVO_ATOMIC == OCTAVO_ATOMIC_NATIVE && !defined(OCTAVO_TSAN)
void octavo_port_membarrier(void);
#define smp_mb_light() barrier()
#define smp_mb_heavy()                    \
	do {                              \
		smp_mb();                 \
		octavo_port_membarrier(); \
	} while (0)
#elif OCTAVO_ATOMIC == OCTAVO_ATOMIC_CHECK
#define smp_mb_light() barrier()
#define smp_mb_heavy() _A_FENCE_ALL()
#else
#define smp_mb_light() smp_mb()
#define smp_mb_heavy() smp_mb()
#endif

#endif /* OCTAVO_ATOMIC_H */
