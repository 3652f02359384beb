/* SPDX-License-Identifier: MIT */
/*
 * atomic_native.h - atomic.h on compiler builtins. Freestanding: all are inline instructions.
 */
#ifndef OCTAVO_ATOMIC_NATIVE_H
#define OCTAVO_ATOMIC_NATIVE_H

#include <octavo/compiler.h>

#if defined(__SANITIZE_THREAD__)
#define OCTAVO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OCTAVO_TSAN 1
#endif
#endif

#define _A_LOAD(p, mo)	       __atomic_load_n(p, mo)
#define _A_STORE(p, v, mo)     __atomic_store_n(p, v, mo)
#define _A_XCHG(p, v, mo)      __atomic_exchange_n(p, v, mo)
#define _A_FETCH_ADD(p, v, mo) __atomic_fetch_add(p, v, mo)
#define _A_FETCH_SUB(p, v, mo) __atomic_fetch_sub(p, v, mo)
#define _A_FETCH_AND(p, v, mo) __atomic_fetch_and(p, v, mo)
#define _A_FETCH_OR(p, v, mo)  __atomic_fetch_or(p, v, mo)
#define _A_FENCE(mo)	       __atomic_thread_fence(mo)

#define _A_CMPXCHG(p, o, n, mo, mof)                                  \
	({                                                            \
		__typeof__((void)0, *(p)) _cxo = (o);                 \
		__atomic_compare_exchange_n(p, &_cxo, n, 0, mo, mof); \
		_cxo;                                                 \
	})
#define _A_TRY_CMPXCHG(p, o, n, mo, mof) __atomic_compare_exchange_n(p, o, n, 1, mo, mof)

/*
 * Eight bytes of a wider aligned store are never torn on x86-64, and stores are never reordered with
 * older stores, so a release fill is a plain wide fill there. Elsewhere: a release fence, then relaxed
 * stores, which orders more than a release store each would and costs one barrier. Measured for 512 words: see
 * bench/words.c.
 */
static __always_inline void words_fill_release(unsigned long *p, unsigned long v, unsigned long n)
{
#if defined(__x86_64__) && defined(__SSE2__) && !defined(OCTAVO_TSAN)
	typedef long long v2 __attribute__((vector_size(16)));

	barrier();
	if (n && ((unsigned long)p & 15)) {
		__atomic_store_n(p++, v, __ATOMIC_RELEASE);
		n--;
	}
	v2 w = { (long long)v, (long long)v };
	for (; n >= 8; n -= 8, p += 8) {
		v2 *q = (v2 *)(void *)p;

		__asm__ __volatile__("movdqa %1, %0" : "=m"(q[0]) : "x"(w));
		__asm__ __volatile__("movdqa %1, %0" : "=m"(q[1]) : "x"(w));
		__asm__ __volatile__("movdqa %1, %0" : "=m"(q[2]) : "x"(w));
		__asm__ __volatile__("movdqa %1, %0" : "=m"(q[3]) : "x"(w));
	}
	for (; n; n--)
		__atomic_store_n(p++, v, __ATOMIC_RELEASE);
	barrier();
#else
	for (; n; n--)
		__atomic_store_n(p++, v, __ATOMIC_RELEASE);
#endif
}

#endif /* OCTAVO_ATOMIC_NATIVE_H */
