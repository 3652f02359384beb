/* SPDX-License-Identifier: MIT */
/*
 * atomic_check.h - atomic.h for the interleaving checker: every access is a call into port/check,
 * with its order and its place in the source. What the calls do is in port/check/memory.c.
 */
#ifndef OCTAVO_ATOMIC_CHECK_H
#define OCTAVO_ATOMIC_CHECK_H

#include <octavo/types.h>

#define _CHK_STR2(x) #x
#define _CHK_STR(x)  _CHK_STR2(x)
/* "file:line|expression": where and what, for traces */
#define _CHK_AT(p) __FILE__ ":" _CHK_STR(__LINE__) "|" #p
#define _CHK_SITE  __FILE__ ":" _CHK_STR(__LINE__)

enum check_rmw { CHECK_XCHG, CHECK_ADD, CHECK_SUB, CHECK_AND, CHECK_OR };

u64 check_load(const volatile void *p, unsigned int size, int order, const char *site);
void check_store(volatile void *p, unsigned int size, u64 v, int order, const char *site);
u64 check_rmw(volatile void *p, unsigned int size, enum check_rmw op, u64 v, int order,
	      const char *site);
/*
 * True if stored; *@o is what was there. Stores @n if that is @o (and, if @weak, the checker does
 * not choose to fail).
 */
bool check_cmpxchg(volatile void *p, unsigned int size, u64 *o, u64 n, bool weak, int order,
		   int fail_order, const char *site);
void check_fence(int order, const char *site);
/* Every thread executes a seq_cst fence at this moment: octavo_port_membarrier(). */
void check_fence_all(const char *site);

#define _CHK_T(p)    __typeof__((void)0, *(p))
#define _CHK_V(p, v) ((u64)(_CHK_T(p))(v))

#define _A_LOAD(p, mo)	   ((_CHK_T(p))check_load(p, sizeof(*(p)), mo, _CHK_AT(p)))
#define _A_STORE(p, v, mo) check_store(p, sizeof(*(p)), _CHK_V(p, v), mo, _CHK_AT(p))
/* a variable, because the value may go unused */
#define _CHK_RMW(p, op, v, mo)                                                                   \
	({                                                                                       \
		_CHK_T(p)                                                                        \
		_rmwv = (_CHK_T(p))check_rmw(p, sizeof(*(p)), op, _CHK_V(p, v), mo, _CHK_AT(p)); \
		_rmwv;                                                                           \
	})
#define _A_XCHG(p, v, mo)      _CHK_RMW(p, CHECK_XCHG, v, mo)
#define _A_FETCH_ADD(p, v, mo) _CHK_RMW(p, CHECK_ADD, v, mo)
#define _A_FETCH_SUB(p, v, mo) _CHK_RMW(p, CHECK_SUB, v, mo)
#define _A_FETCH_AND(p, v, mo) _CHK_RMW(p, CHECK_AND, v, mo)
#define _A_FETCH_OR(p, v, mo)  _CHK_RMW(p, CHECK_OR, v, mo)
#define _A_FENCE(mo)	       check_fence(mo, _CHK_SITE)
#define _A_FENCE_ALL()	       check_fence_all(_CHK_SITE)

#define _A_CMPXCHG(p, o, n, mo, mof)                                                             \
	({                                                                                       \
		u64 _cxo = _CHK_V(p, o);                                                         \
		check_cmpxchg(p, sizeof(*(p)), &_cxo, _CHK_V(p, n), false, mo, mof, _CHK_AT(p)); \
		_CHK_T(p) _cxr = (_CHK_T(p))_cxo;                                                \
		_cxr;                                                                            \
	})
#define _A_TRY_CMPXCHG(p, o, n, mo, mof)                                                       \
	({                                                                                     \
		u64 _tco = _CHK_V(p, *(o));                                                    \
		bool _tcr = check_cmpxchg(p, sizeof(*(p)), &_tco, _CHK_V(p, n), true, mo, mof, \
					  _CHK_AT(p));                                         \
		*(o) = (_CHK_T(p))_tco;                                                        \
		_tcr;                                                                          \
	})

static __always_inline void words_fill_release(unsigned long *p, unsigned long v, unsigned long n)
{
	for (; n; n--, p++)
		check_store(p, sizeof(*p), v, _A_RELEASE, _CHK_AT(p));
}

#endif /* OCTAVO_ATOMIC_CHECK_H */
