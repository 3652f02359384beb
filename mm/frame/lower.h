/* SPDX-License-Identifier: MIT */
/*
 * lower.h - frames of one tree: promise, take, give back. See lower.c.
 *
 * Counters of zones are not kept here, but for the frames that isolation holds back.
 */
#ifndef OCTAVO_MM_FRAME_LOWER_H
#define OCTAVO_MM_FRAME_LOWER_H

#include <octavo/state.h>

#include "tree.h"

/*
 * Allocations that want different things of a tree: runs inside a row, runs of rows, whole blocks. Each
 * has its own reservations and rovers, so that a tree without whole blocks is still good for the first.
 */
enum tree_class { CLASS_ROW, CLASS_ROWS, CLASS_BLOCK, NR_CLASSES };

static inline enum tree_class order_class(unsigned int order)
{
	if (order >= OCTAVO_BLOCK_ORDER)
		return CLASS_BLOCK;
	return order < OCTAVO_ROW_ORDER ? CLASS_ROW : CLASS_ROWS;
}

/* Fewer free frames than this and a tree is not worth a reservation for single frames. */
#define CLASS_ROW_ROOM max(1u, TREE_FRAMES / 128)

static inline unsigned long pfn_tree(unsigned long pfn)
{
	return pfn >> OCTAVO_TREE_ORDER;
}

static inline unsigned int pfn_block(unsigned long pfn)
{
	return (unsigned int)(pfn >> OCTAVO_BLOCK_ORDER) % TREE_BLOCKS;
}

static inline struct tree *tree_at(unsigned long t)
{
	return octavo_state.frame.tree + t;
}

static inline u64 *blk_word(unsigned long t, unsigned int i)
{
	return &tree_at(t)->blk[i / BLK_PER_WORD];
}

/* A block's field now: a hint, unless the caller owns a frame of it or holds a promise. */
static inline unsigned int block_of(unsigned long pfn)
{
	return blk_get(READ_ONCE(*blk_word(pfn_tree(pfn), pfn_block(pfn))), pfn_block(pfn));
}

static inline unsigned long *row_of(unsigned long pfn)
{
	return octavo_state.frame.bits + (pfn >> OCTAVO_ROW_ORDER);
}

/* The zone of a section that has one, else NULL. */
struct zone *tree_zone(unsigned long t);

/**
 * lower_alloc() - up to @want runs of 2^@order of one tree
 * @t: the tree
 * @order: up to OCTAVO_TREE_ORDER
 * @mt: becomes the tree's migratetype if it was free
 * @pfns: filled from the start
 *
 * Return: how many. Fewer than there are room for only while others take or give frames of the tree.
 */
unsigned int lower_alloc(unsigned long t, unsigned int order, unsigned int want,
			 enum migratetype mt, unsigned long *pfns);

/**
 * lower_take() - these very frames, all or none
 * @pfn: first
 * @nr: at least 1, any number inside one tree
 * @isolated: isolated blocks too
 */
bool lower_take(unsigned long pfn, unsigned long nr, bool isolated, enum migratetype mt);

/* Give back any frames inside one tree. Fatal if one is free already. */
void lower_give(unsigned long pfn, unsigned long nr);

/* Give back @n runs of 2^@order, anywhere; neighbours in the list that share a row, block or tree share its update. */
void lower_give_batch(unsigned int order, unsigned long n, const unsigned long *pfns);

/* Frames taken in a range inside one tree. */
unsigned long lower_used(unsigned long pfn, unsigned long nr);

/* Set or clear isolation of a block. False: it was so already. */
bool lower_isolate(unsigned long pfn, bool on);

/* Take a tree that is nobody's; give it up. */
bool lower_reserve(unsigned long t, unsigned int cpu, enum migratetype mt);
void lower_release(unsigned long t);

/*
 * The summary says that a tree has nothing of a kind. Set by a searcher that found nothing; true, or about
 * to be cleared by whoever gave something back.
 */
void summary_note(unsigned long t, unsigned int kind);

#endif /* OCTAVO_MM_FRAME_LOWER_H */
