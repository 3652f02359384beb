/* SPDX-License-Identifier: MIT */
/*
 * atomic_c11.h - atomic.h on <stdatomic.h> alone, for external model checkers and for compilers
 * without the builtins. Not freestanding-optimal: every word of a fill is an operation.
 */
#ifndef OCTAVO_ATOMIC_C11_H
#define OCTAVO_ATOMIC_C11_H

#include <stdatomic.h>

#define _A_PTR(p) ((_Atomic(__typeof__((void)0, *(p))) *)(p))
#define _A_MO(mo)                                    \
	((mo) == _A_RELAXED   ? memory_order_relaxed \
	 : (mo) == _A_ACQUIRE ? memory_order_acquire \
	 : (mo) == _A_RELEASE ? memory_order_release \
	 : (mo) == _A_ACQ_REL ? memory_order_acq_rel \
			      : memory_order_seq_cst)

#define _A_LOAD(p, mo)	       atomic_load_explicit(_A_PTR(p), _A_MO(mo))
#define _A_STORE(p, v, mo)     atomic_store_explicit(_A_PTR(p), v, _A_MO(mo))
#define _A_XCHG(p, v, mo)      atomic_exchange_explicit(_A_PTR(p), v, _A_MO(mo))
#define _A_FETCH_ADD(p, v, mo) atomic_fetch_add_explicit(_A_PTR(p), v, _A_MO(mo))
#define _A_FETCH_SUB(p, v, mo) atomic_fetch_sub_explicit(_A_PTR(p), v, _A_MO(mo))
#define _A_FETCH_AND(p, v, mo) atomic_fetch_and_explicit(_A_PTR(p), v, _A_MO(mo))
#define _A_FETCH_OR(p, v, mo)  atomic_fetch_or_explicit(_A_PTR(p), v, _A_MO(mo))
#define _A_FENCE(mo)	       atomic_thread_fence(_A_MO(mo))

#define _A_CMPXCHG(p, o, n, mo, mof)                                                    \
	({                                                                              \
		__typeof__((void)0, *(p)) _cxo = (o);                                   \
		atomic_compare_exchange_strong_explicit(_A_PTR(p), &_cxo, n, _A_MO(mo), \
							_A_MO(mof));                    \
		_cxo;                                                                   \
	})
#define _A_TRY_CMPXCHG(p, o, n, mo, mof) \
	atomic_compare_exchange_weak_explicit(_A_PTR(p), o, n, _A_MO(mo), _A_MO(mof))

static __always_inline void words_fill_release(unsigned long *p, unsigned long v, unsigned long n)
{
	for (; n; n--, p++)
		_A_STORE(p, v, _A_RELEASE);
}

#endif /* OCTAVO_ATOMIC_C11_H */
