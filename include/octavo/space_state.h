/* SPDX-License-Identifier: MIT */
/*
 * space_state.h - the part of struct octavo_state of page tables, reverse maps and address spaces.
 */
#ifndef OCTAVO_SPACE_STATE_H
#define OCTAVO_SPACE_STATE_H

#include <octavo/list.h>
#include <octavo/lock.h>
#include <octavo/rwsem.h>

struct kmem_cache;
struct mm_struct;

/* How much memory may be promised: vm_set_overcommit(). */
enum overcommit_mode {
	OVERCOMMIT_GUESS,
	OVERCOMMIT_ALWAYS,
	OVERCOMMIT_NEVER,
};

/*
 * (o) stored once with release when the first address space is made, under coming_up; loaded with acquire;
 * constant until shutdown.
 */
struct space_state {
	/* (o) */
	struct kmem_cache *mm;
	struct kmem_cache *vma;
	struct kmem_cache *range_node;
	struct kmem_cache *anon_vma;
	struct kmem_cache *anon_vma_chain;
	unsigned long zero_pfn; /* (o) plain, frozen, subtype ZeroPage */
	/* (o) mmdrop(): for the layers below that keep an address space, and may be the last to do so */
	void (*mm_drop)(struct mm_struct *mm);
	u32 ready; /* (o) 1: all of the above are there */

	struct rw_semaphore coming_up;
	spinlock_t lock;      /* of the list */
	struct list_head mms; /* every mm_struct, by mm->all */
	u64 committed;	      /* pages promised: atomic */
	u64 commit_limit;     /* for OVERCOMMIT_NEVER; relaxed */
	u32 overcommit;	      /* enum overcommit_mode; relaxed */
};

#endif /* OCTAVO_SPACE_STATE_H */
