/* SPDX-License-Identifier: MIT */
/*
 * compiler.h - attributes and small macros that the whole core uses.
 *
 * The generic names yield to an embedder's own of the same meaning, if those come first.
 */
#ifndef OCTAVO_COMPILER_H
#define OCTAVO_COMPILER_H

#include <octavo/types.h>

#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#endif
#ifndef unlikely
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif
#ifndef barrier
#define barrier() __asm__ __volatile__("" : : : "memory")
#endif
#define __must_check   __attribute__((warn_unused_result))
#define __printf(a, b) __attribute__((format(printf, a, b)))
#define __noreturn     __attribute__((noreturn))
#define __cold	       __attribute__((__cold__, __noinline__))
#define __noinline     __attribute__((__noinline__))
#ifndef __always_inline
#define __always_inline inline __attribute__((__always_inline__))
#endif
#define __maybe_unused __attribute__((unused))
#define __aligned(n)   __attribute__((aligned(n)))
#define __cacheline    __aligned(64)
/* Machines fetch lines in pairs: what a CPU stores to all the time would slow who stores to the other one. */
#define __cacheline_pair __aligned(128)

/* Soon written to. The compiler's builtin fetches for reading unless it is told of a newer machine. */
#ifndef prefetchw
#if defined(__x86_64__)
#define prefetchw(p) __asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)(p)))
#else
#define prefetchw(p) __builtin_prefetch(p, 1)
#endif
#endif

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif
#define BUILD_BUG_ON(c) _Static_assert(!(c), "BUILD_BUG_ON: " #c)
#ifndef container_of
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))
#endif

#ifndef min
#define min(a, b)                              \
	({                                     \
		__typeof__(a) _mina = (a);     \
		__typeof__(b) _minb = (b);     \
		_mina < _minb ? _mina : _minb; \
	})
#endif
#ifndef max
#define max(a, b)                              \
	({                                     \
		__typeof__(a) _maxa = (a);     \
		__typeof__(b) _maxb = (b);     \
		_maxa > _maxb ? _maxa : _maxb; \
	})
#endif

/* @a must be a power of two. */
#define ALIGN(x, a)	   (((x) + ((__typeof__(x))(a)-1)) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a)   ((x) & ~((__typeof__(x))(a)-1))
#define IS_ALIGNED(x, a)   (((x) & ((__typeof__(x))(a)-1)) == 0)
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))

static inline bool is_power_of_2(u64 n)
{
	return n && !(n & (n - 1));
}

/* ilog2(0) is -1. */
static inline int ilog2(u64 n)
{
	return n ? 63 - __builtin_clzll(n) : -1;
}

/*
 * Error pointers, as the field has them: the last page of the address space is never an object.
 */
#define MAX_ERRNO 4095
static inline void *ERR_PTR(long error)
{
	return (void *)error;
}
static inline long PTR_ERR(const void *ptr)
{
	return (long)ptr;
}
static inline bool IS_ERR(const void *ptr)
{
	return unlikely((unsigned long)ptr >= (unsigned long)-MAX_ERRNO);
}

/*
 * Lock annotations, proved by clang 19's -Wthread-safety (it understands struct members; earlier
 * versions do not) and nothing elsewhere.
 */
#if defined(__clang__) && __clang_major__ >= 19
#define __capability(x)	    __attribute__((capability(x)))
#define __guarded_by(x)	    __attribute__((guarded_by(x)))
#define __acquires(...)	    __attribute__((acquire_capability(__VA_ARGS__)))
#define __releases(...)	    __attribute__((release_capability(__VA_ARGS__)))
#define __try_acquires(...) __attribute__((try_acquire_capability(__VA_ARGS__)))
#define __must_hold(...)    __attribute__((requires_capability(__VA_ARGS__)))
#define __no_thread_safety  __attribute__((no_thread_safety_analysis))
#else
#define __capability(x)
#define __guarded_by(x)
#define __acquires(...)
#define __releases(...)
#define __try_acquires(...)
#define __must_hold(...)
#define __no_thread_safety
#endif

#endif /* OCTAVO_COMPILER_H */
