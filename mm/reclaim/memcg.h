/* SPDX-License-Identifier: MIT */
/*
 * memcg.h - a group, for the files of reclaim.
 */
#ifndef MM_RECLAIM_MEMCG_H
#define MM_RECLAIM_MEMCG_H

#include <octavo/memcontrol.h>
#include <octavo/port.h>

#include "reclaim.h"

/* (a) atomic, relaxed: numbers. */
struct page_counter {
	u64 usage;   /* (a) */
	u64 highest; /* (a) */
};

/* Pages that a CPU may charge without touching counters: mm/reclaim/stock.c. */
struct memcg_stock {
	u64 pages; /* (a) */
} __cacheline_pair;

/* How many at a time. */
#define STOCK_BATCH 32u

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
	u64 claims[2];		    /* (g) children's claims to protection, the sums: protect.c */
	struct memcg_stock *stock;  /* (c) [nr_cpus] */
	u32 pressed;		    /* (a) stocks are not filled while there is anybody */
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

/* Is it @top, or below? NULL: everything is. Context: a reference of it. */
bool memcg_below(const struct mem_cgroup *memcg, const struct mem_cgroup *top);
/* Was there ever one? */
bool memcg_any(void);

/* ---- protect.c ---- */

/* What is claimed is added up anew, of @top and below: before a walk. */
void memcg_protection_begin(const struct mem_cgroup *top);
/*
 * What may be taken of a group by a reclaim of @top and below, in pages, beyond what is protected. @low: low protection counts
 * too. ~0: all; that is @top itself, always.
 */
u64 memcg_spare(struct mem_cgroup *memcg, const struct mem_cgroup *top, bool low);

/* ---- charge.c ---- */

int memcg_charge(struct mem_cgroup *memcg, u64 nr, gfp_t gfp);
/* Of the counters, no further than limits go. Return: false: nothing has changed. */
bool memcg_try_charge(struct mem_cgroup *memcg, u64 nr);
void memcg_charge_force(struct mem_cgroup *memcg, u64 nr);
void memcg_uncharge(struct mem_cgroup *memcg, u64 nr);

/* ---- stock.c ---- */

/* Charged already. The CPU is a hint: a stock is anybody's. Return: false: this one has not so many. */
static inline bool memcg_stock_take(struct mem_cgroup *memcg, u64 nr)
{
	u64 *pages = &memcg->stock[octavo_port_cpu()].pages, old = READ_ONCE(*pages);

	/* signed: less than anything while it is filled. Relaxed: who charges has a reference, and publishes nothing by it */
	return (s64)old >= (s64)nr && cmpxchg_relaxed(pages, old, old - nr) == old;
}

/* Charges @nr, and fills this CPU's stock. Return: false: nothing has changed. */
bool memcg_stock_fill(struct mem_cgroup *memcg, u64 nr);
/* A group's own stocks into the counters. @wait: for who fills one; else it is left out. Context: a reference, or groups_lock. */
void memcg_drain(struct mem_cgroup *memcg, bool wait);
/* Those of @top and below, as far as it can be done at once. Context: any. Return: false: it cannot. */
bool memcg_drain_try(struct mem_cgroup *top);
/*
 * Those of a group and below are empty when it returns, and so are those that are filled now, and none is until
 * memcg_press_end(). Context: sleeps.
 */
void memcg_press(struct mem_cgroup *memcg);
void memcg_press_end(struct mem_cgroup *memcg);
/* What is in a group's own. */
u64 memcg_stocked(const struct mem_cgroup *memcg);

/* What upcalls.h says. */
struct folio *memcg_folio_alloc(struct mm_struct *mm, gfp_t gfp, unsigned int order);
struct folio *memcg_folio_alloc_set(u32 set, gfp_t gfp, unsigned int order);
struct folio *memcg_folio_alloc_like(const struct folio *folio, gfp_t gfp, unsigned int order,
				     int nid);
void memcg_folio_charge_like(struct folio *folio, const struct folio *like);
int memcg_folio_charge(struct folio *folio, struct mm_struct *mm, gfp_t gfp);
void memcg_uncharge_set(u32 set, u64 nr);
int memcg_swap_charge(const struct folio *folio);
void memcg_swap_uncharge(u32 set, u64 nr);
void memcg_mm_fork(struct mm_struct *child, const struct mm_struct *parent);
void memcg_mm_free(struct mm_struct *mm);

/* ---- kswapd.c ---- */

/* Frames of @top and below, or of everything. Return: frames freed. */
u64 shrink_groups(struct mem_cgroup *top, int nid, u64 want);
/* The same for who cannot go on without: waits for other reclaimers too. Return: 0: there is nothing; else somebody has freed something. */
u64 reclaim_some(struct mem_cgroup *top, int nid, u64 want);

#endif /* MM_RECLAIM_MEMCG_H */
