/* SPDX-License-Identifier: MIT */
/*
 * memcg.h - a group, for the files of reclaim.
 */
#ifndef MM_RECLAIM_MEMCG_H
#define MM_RECLAIM_MEMCG_H

#include <octavo/memcontrol.h>

#include "reclaim.h"

/* (a) atomic, relaxed: numbers. */
struct page_counter {
	u64 usage;   /* (a) */
	u64 highest; /* (a) */
};

/*
 * (c) constant, (g) groups_lock. Ends when nobody has a reference and nothing is charged; found by who makes or ends a group.
 */
struct mem_cgroup {
	struct lruvec lruvec;
	struct folio_set set;	   /* (c) */
	struct mem_cgroup *parent; /* (c) a reference */
	struct list_head all;	   /* (g) parents before children */
	u32 refs;		   /* (g) its maker, address spaces, children, walks */
	u32 nr_children;	   /* (g) */
	u32 nr_mms;		   /* (g) */
	bool ended;		   /* (g) */
	struct page_counter memory, swap;
	u64 limit[NR_MEMCG_LIMITS]; /* (a) */
	u64 failed, over_high;	    /* (a) */
};

static inline struct mem_cgroup *memcg_of_set(struct folio_set *set)
{
	return (struct mem_cgroup *)((char *)set - offsetof(struct mem_cgroup, set));
}

/* ---- memcg.c ---- */

/*
 * The groups from @top down, @top first (NULL: all), one by one; the last one's reference is dropped. Return: with a reference; NULL:
 * that was all.
 */
struct mem_cgroup *memcg_next(struct mem_cgroup *top, struct mem_cgroup *last);
void memcg_put(struct mem_cgroup *memcg);
/* By the number of a set that may be gone. NULL: it is. With a reference. */
struct mem_cgroup *memcg_get_set(u32 nr);
/* Those that nothing is left of. Context: sleeps. */
void memcg_reap(void);
bool memcg_validate(void);

/* Is it to be left alone by a reclaim of what is at or above @top? @low: low protection counts too. */
bool memcg_protected(struct mem_cgroup *memcg, const struct mem_cgroup *top, bool low);

/* ---- charge.c ---- */

int memcg_charge(struct mem_cgroup *memcg, u64 nr, gfp_t gfp);
void memcg_charge_force(struct mem_cgroup *memcg, u64 nr);
void memcg_uncharge(struct mem_cgroup *memcg, u64 nr);

/* What upcalls.h says. */
struct folio *memcg_folio_alloc(struct mm_struct *mm, gfp_t gfp, unsigned int order);
struct folio *memcg_folio_alloc_set(u32 set, gfp_t gfp, unsigned int order);
struct folio *memcg_folio_alloc_like(const struct folio *folio, gfp_t gfp, int nid);
void memcg_uncharge_set(u32 set, u64 nr);
int memcg_swap_charge(const struct folio *folio);
void memcg_swap_uncharge(u32 set, u64 nr);
int memcg_mm_fork(struct mm_struct *child, const struct mm_struct *parent);
void memcg_mm_free(struct mm_struct *mm);

/* ---- kswapd.c ---- */

/* Frames of @top and below, or of everything. Return: frames freed. */
u64 shrink_groups(struct mem_cgroup *top, int nid, u64 want);
/* The same for who cannot go on without: waits for other reclaimers too. Return: 0: there is nothing; else somebody has freed something. */
u64 reclaim_some(struct mem_cgroup *top, int nid, u64 want);

#endif /* MM_RECLAIM_MEMCG_H */
