/* SPDX-License-Identifier: MIT */
/*
 * memcontrol.h - groups of address spaces whose memory is counted, limited, protected and reclaimed by itself.
 *
 * Groups are a tree. Anonymous folios are charged to the group of the address space that they are made for, and to all groups above it; when
 * they are swapped out the slots are, and when they come back the same group again. Page tables, descriptors and
 * kernel memory are not charged. docs/groups.md has the design.
 */
#ifndef OCTAVO_MEMCONTROL_H
#define OCTAVO_MEMCONTROL_H

#include <octavo/gfp.h>
#include <octavo/mm_types.h>

struct mem_cgroup;

/* Pages; MEMCG_NONE: no limit. */
enum memcg_limit {
	MEMCG_MAX,	/* more fails, after reclaim */
	MEMCG_HIGH,	/* above it who allocates has to reclaim first */
	MEMCG_LOW,	/* below it only taken if nothing else is left */
	MEMCG_MIN,	/* below it never taken */
	MEMCG_SWAP_MAX, /* slots */
	NR_MEMCG_LIMITS,
};
#define MEMCG_NONE (~(u64)0)

/**
 * mem_cgroup_create() - a group
 * @parent: NULL: below nothing but the whole machine
 * @err: -ENOMEM; -ENOSPC too many groups; -EINVAL the parent has ended, or reclaim_init() has not been called
 *
 * No limits. Context: sleeps. Return: with a reference; NULL.
 */
struct mem_cgroup *mem_cgroup_create(struct mem_cgroup *parent, int *err);
/**
 * mem_cgroup_end() - nobody may join any more, and what can be taken away is
 *
 * The caller's reference goes. The group is gone with its last folio, slot, child and address space. Context: sleeps. Return: 0; -EBUSY
 * it has children or address spaces, and nothing has changed.
 */
int mem_cgroup_end(struct mem_cgroup *memcg);

/**
 * mem_cgroup_set() - a limit
 *
 * A MEMCG_MAX below what there is: reclaims now. Return: 0; -EBUSY: that was not enough, and the limit is set all the same; -EINVAL.
 */
int mem_cgroup_set(struct mem_cgroup *memcg, enum memcg_limit which, u64 pages);

/**
 * mm_join_memcg() - what this address space will use is charged there
 * @mm: nothing is mapped yet; a child of fork is in its parent's group
 *
 * Return: 0; -EBUSY something is mapped; -EINVAL the group has ended.
 */
int mm_join_memcg(struct mm_struct *mm, struct mem_cgroup *memcg);

/**
 * mem_cgroup_reclaim() - take some of a group and those below it
 *
 * Context: sleeps. Return: frames freed.
 */
u64 mem_cgroup_reclaim(struct mem_cgroup *memcg, u64 pages);

/**
 * mem_cgroup_drain() - what CPUs have charged in advance is given back
 *
 * Nobody is ever refused for that; for an embedder who takes CPUs away. Context: sleeps.
 */
void mem_cgroup_drain(void);

struct mem_cgroup_stat {
	u64 usage, swap; /* pages, of the groups below too; exact when quiet */
	u64 highest;	 /* that usage has ever been, with what CPUs had in stock */
	u64 limit[NR_MEMCG_LIMITS];
	u64 failed;    /* charges refused */
	u64 over_high; /* charges that had to reclaim */
	u64 folios;    /* descriptors of this very group */
};
/* Context: as kmem_cache_stat(). */
void mem_cgroup_stat(struct mem_cgroup *memcg, struct mem_cgroup_stat *st);

#endif /* OCTAVO_MEMCONTROL_H */
