/* SPDX-License-Identifier: MIT */
/*
 * swapdev_priv.h - what the devices share.
 */
#ifndef OCTAVO_PORT_SWAPDEV_PRIV_H
#define OCTAVO_PORT_SWAPDEV_PRIV_H

#include <octavo/atomic.h>
#include <octavo/debug.h>

#include "swapdev.h"

/* Memory that was (or, with stat(), will be) written where memory sanitizer cannot see it: by the kernel, by a library that is not built for it. */
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#define swapdev_written(p, n) __msan_unpoison(p, n)
#endif
#endif
#ifndef swapdev_written
#define swapdev_written(p, n) ((void)0)
#endif

/* Counters that several threads add to. */
#define STAT_ADD(field, n) fetch_add_relaxed(&(field), (u64)(n))

/* Zeroed, page-aligned, of the host; backed when touched. NULL: none. */
void *swapdev_map(size_t bytes);
void swapdev_unmap(void *p, size_t bytes);

#endif /* OCTAVO_PORT_SWAPDEV_PRIV_H */
