/* SPDX-License-Identifier: MIT */
/*
 * slab_cache.h - for the tests of slab caches: caches and objects that must be there, and waiting until all went back.
 */
#ifndef OCTAVO_SLAB_CACHE_H
#define OCTAVO_SLAB_CACHE_H

#include <sched.h>

#include "test.h"

/* Where lines go that a test provokes. */
static inline void drop_line(enum octavo_log_level level, const char *line)
{
}

static inline struct kmem_cache *make(u32 size, u32 align, u32 flags,
				      const struct kmem_cache_args *args)
{
	struct kmem_cache *s = kmem_cache_create("test", size, align, flags, args);

	assert_non_null(s);
	return s;
}

static inline void *get(struct kmem_cache *s)
{
	void *p = kmem_cache_alloc(s, GFP_KERNEL);

	assert_non_null(p);
	return p;
}

static inline struct kmem_cache_stat stat_of(struct kmem_cache *s)
{
	struct kmem_cache_stat st;

	kmem_cache_stat(s, &st);
	return st;
}

/* Until polls of earlier cookies are true too. */
static inline void wait_grace_period(void)
{
	u64 cookie = get_state_synchronize_rcu();

	while (!poll_state_synchronize_rcu(cookie))
		sched_yield();
}

/* Free frames once everything that can go back has. */
static inline u64 free_after_shrink(void)
{
	wait_grace_period();
	kmem_cache_shrink_all();
	return nr_free_pages();
}

#endif /* OCTAVO_SLAB_CACHE_H */
