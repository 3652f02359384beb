/* SPDX-License-Identifier: MIT */
/*
 * typed.h - memory with a descriptor: frames, a descriptor and words that name it, all or nothing.
 *
 * Every type does the same four steps, in the order that docs/memdesc.md "Publication" demands:
 *
 *	typed_take()	frames and a descriptor, or neither; nothing is visible yet
 *			the type fills in its fields; count 0 or state DEAD since its last life
 *	typed_publish()	all words, release
 *			the type sets its count or state, release, last: now it lives
 *
 *			the type brings its count to 0 or its state to DEAD
 *	typed_retire()	words to FREE, frames to the allocator, descriptor to its cache
 *
 * Before it lives, typed_give_back() undoes typed_take(), and typed_retire() undoes both.
 */
#ifndef OCTAVO_MM_TYPED_H
#define OCTAVO_MM_TYPED_H

#include <octavo/desc.h>
#include <octavo/slab.h>

/* A caller's place is any number, this one too: the ..._at() functions refuse it. */
#define TYPED_ANYWHERE (~0ul)

/* One word, so that a reader gets both or neither. */
static inline u64 desc_pack(unsigned long pfn, unsigned int order)
{
	return pfn | (u64)order << DESC_PFN_BITS;
}

struct typed_want {
	struct kmem_cache **slot; /* of octavo_state.desc: the descriptor's cache */
	gfp_t gfp;		  /* for the frames; its effort for the descriptor too */
	unsigned int order;
	int nid;
	unsigned long at;      /* first pfn, or TYPED_ANYWHERE */
	unsigned int at_flags; /* FRAME_AT_..., with a place only */
};

/**
 * typed_take() - frames and a descriptor
 * @want: which
 * @pfn: set to the first frame
 * @err: NULL, or set on failure: -ENOMEM; -EINVAL; with a place -EBUSY, -ENXIO
 *
 * __GFP_ZERO clears the frames, not the descriptor. Return: the descriptor, NULL with nothing taken.
 */
void *typed_take(const struct typed_want *want, unsigned long *pfn, int *err);

/* Undoes typed_take(): nothing was published. */
void typed_give_back(struct kmem_cache *cache, void *desc, unsigned long pfn, unsigned int order);

/* Stores the words, release: pairs with the acquire in page_memdesc(). */
void typed_publish(enum memdesc_type type, void *desc, unsigned long pfn, unsigned int order);

/* Fatal, in every build, unless all words of the run name @desc as @type. */
void typed_check(enum memdesc_type type, const void *desc, u64 pfn_order, const char *who);

/* typed_check(), then the way back. @desc is unreachable: its count is 0 or its state DEAD. */
void typed_retire(struct kmem_cache *cache, enum memdesc_type type, void *desc, u64 pfn_order,
		  const char *who);

/*
 * desc_stat.c: page-table, managed and movable words name live descriptors of theirs, each of which is named.
 * Nothing else running. False if not (logged).
 */
bool typed_validate(void);

#endif /* OCTAVO_MM_TYPED_H */
