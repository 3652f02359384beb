/* SPDX-License-Identifier: MIT */
/*
 * tree.h - what the words of a tree mean: pure functions from an old value to a new one.
 *
 * Nothing here touches memory that others see, so every transition is tested alone, and what is left
 * for lower.c is to load, call one of these, compare and swap.
 *
 *	 63			     34 33 32 31	16 15	      0
 *	+-------------------------------+-----+-----------+------------+
 *	|		0		| mt  | owner + 1 | used       |   ctl, one a tree
 *	+-------------------------------+-----+-----------+------------+
 *
 *	 15  12	 11  10	 9		  0
 *	+------+---+---+------------------+
 *	|  0   | I | P | used		  |	blk, one a block, four a word
 *	+------+---+---+------------------+
 *
 * used is frames taken or promised. mt means something while used or owner is not 0. I: isolated.
 *
 * P, the polarity of the block: what a set bit in its rows says. 0: taken, 1: free. Taking a whole free
 * block, or giving a whole taken one back, flips P and sets used and is nothing more: no row is
 * touched, because rows that all say "free" in one polarity say "taken" in the other. So a 2 MiB run costs one
 * compare-and-swap either way, and a part of it can be given back at any later time as of any other
 * block: there is no "allocated as a whole" state to get out of. All-zero stays wholly free.
 *
 * When is P stable? Only a change of used between 0 and all flips it. Whoever owns a frame of the block, or
 * holds a promise (has raised used and not yet taken the frames), keeps used above 0; and nobody else can
 * then own all frames. So both may read P with a plain load.
 */
#ifndef OCTAVO_MM_FRAME_TREE_H
#define OCTAVO_MM_FRAME_TREE_H

#include <octavo/gfp.h>

#define ROW_FRAMES   (1u << OCTAVO_ROW_ORDER)
#define ROW_MASK     (~0ull >> (64 - ROW_FRAMES))
#define BLOCK_FRAMES (1u << OCTAVO_BLOCK_ORDER)
#define BLOCK_ROWS   (1u << (OCTAVO_BLOCK_ORDER - OCTAVO_ROW_ORDER))
#define TREE_FRAMES  (1u << OCTAVO_TREE_ORDER)
#define TREE_BLOCKS  (1u << (OCTAVO_TREE_ORDER - OCTAVO_BLOCK_ORDER))

#define BLK_PER_WORD  4u
#define BLK_WORDS     ((TREE_BLOCKS + BLK_PER_WORD - 1) / BLK_PER_WORD)
#define BLK_USED_MASK 0x03ffu
#define BLK_INVERTED  0x0400u
#define BLK_ISOLATED  0x0800u
#define BLK_VALID     0x0fffu

#define CTL_USED_MASK	0xffffull
#define CTL_OWNER_SHIFT 16
#define CTL_OWNER_MASK	(0xffffull << CTL_OWNER_SHIFT)
#define CTL_MT_SHIFT	32
#define CTL_MT_MASK	(3ull << CTL_MT_SHIFT)

BUILD_BUG_ON(BLOCK_FRAMES > BLK_USED_MASK || TREE_FRAMES > CTL_USED_MASK);
BUILD_BUG_ON(OCTAVO_NR_CPUS >= 0xffff || MIGRATE_TYPES > 4);

/* ---- rows ---- */

/* What a row's word is in terms of "set: taken". */
static inline u64 row_taken(u64 raw, unsigned int blk)
{
	return blk & BLK_INVERTED ? raw ^ ROW_MASK : raw;
}

/* A bit at the first frame of every naturally aligned free run of 2^@order; @order < OCTAVO_ROW_ORDER. */
static inline u64 row_starts(u64 taken, unsigned int order)
{
	/* one bit in 2, 4, 8, ... */
	static const u64 aligned[6] = { ~0ull,
					0x5555555555555555ull,
					0x1111111111111111ull,
					0x0101010101010101ull,
					0x0001000100010001ull,
					0x0000000100000001ull };
	u64 free = ~taken & ROW_MASK;

	for (unsigned int o = 0; o < order; o++)
		free &= free >> (1u << o);
	return free & aligned[order];
}

/* Set bits; the compiler's own builtin is a call into its run-time library on a plain x86-64. */
static inline unsigned int row_count(u64 w)
{
	w -= w >> 1 & 0x5555555555555555ull;
	w = (w & 0x3333333333333333ull) + (w >> 2 & 0x3333333333333333ull);
	w = (w + (w >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (unsigned int)(w * 0x0101010101010101ull >> 56);
}

static inline u64 row_run(unsigned int bit, unsigned int nr)
{
	return (~0ull >> (64 - nr)) << bit;
}

/* Frames of up to @max runs of 2^@order, lowest first; 0 if there is none. */
static inline u64 row_pick(u64 taken, unsigned int order, unsigned int max)
{
	u64 starts = row_starts(taken, order), pick = 0;

	if (!order && max >= ROW_FRAMES)
		return starts;
	for (; starts && max; max--, starts &= starts - 1)
		pick |= row_run((unsigned int)__builtin_ctzll(starts), 1u << order);
	return pick;
}

/* ---- blocks ---- */

static inline unsigned int blk_shift(unsigned int i)
{
	return 16 * (i % BLK_PER_WORD);
}

static inline unsigned int blk_get(u64 word, unsigned int i)
{
	return (unsigned int)(word >> blk_shift(i)) & 0xffff;
}

static inline unsigned int blk_used(unsigned int blk)
{
	return blk & BLK_USED_MASK;
}

/* Frames that an allocation may take. */
static inline unsigned int blk_room(unsigned int blk)
{
	return blk & BLK_ISOLATED ? 0 : BLOCK_FRAMES - blk_used(blk);
}

/* Promise @n frames of block @i. False: too few, or isolated and not @isolated; nothing changed. */
static inline bool blk_take(u64 *word, unsigned int i, unsigned int n, bool isolated)
{
	unsigned int blk = blk_get(*word, i);

	if (blk_used(blk) + n > BLOCK_FRAMES || ((blk & BLK_ISOLATED) && !isolated))
		return false;
	*word += (u64)n << blk_shift(i);
	return true;
}

/* @n frames of block @i are free, or a promise of them is not needed. False: so many are not taken. */
static inline bool blk_give(u64 *word, unsigned int i, unsigned int n)
{
	if (blk_used(blk_get(*word, i)) < n)
		return false;
	*word -= (u64)n << blk_shift(i);
	return true;
}

/* Used and polarity of @nr blocks from @i on, which share a word. */
static inline bool blk_flip(u64 *word, unsigned int i, unsigned int nr, unsigned int from,
			    unsigned int to, unsigned int refuse)
{
	u64 w = *word;

	for (unsigned int k = i; k < i + nr; k++) {
		unsigned int blk = blk_get(w, k);

		if (blk_used(blk) != from || (blk & refuse))
			return false;
		blk = (blk - from + to) ^ BLK_INVERTED;
		w = (w & ~(0xffffull << blk_shift(k))) | (u64)blk << blk_shift(k);
	}
	*word = w;
	return true;
}

static inline bool blk_take_whole(u64 *word, unsigned int i, unsigned int nr, bool isolated)
{
	return blk_flip(word, i, nr, 0, BLOCK_FRAMES, isolated ? 0 : BLK_ISOLATED);
}

static inline bool blk_give_whole(u64 *word, unsigned int i, unsigned int nr)
{
	return blk_flip(word, i, nr, BLOCK_FRAMES, 0, 0);
}

/* False: it is in that state already. */
static inline bool blk_set_isolated(u64 *word, unsigned int i, bool on)
{
	u64 bit = (u64)BLK_ISOLATED << blk_shift(i);

	if (!!(*word & bit) == on)
		return false;
	*word ^= bit;
	return true;
}

/* ---- trees ---- */

static inline unsigned int ctl_used(u64 ctl)
{
	return (unsigned int)(ctl & CTL_USED_MASK);
}

static inline unsigned int ctl_room(u64 ctl)
{
	return TREE_FRAMES - ctl_used(ctl);
}

/* 0: nobody's; else the CPU that has reserved it, plus 1. */
static inline unsigned int ctl_owner(u64 ctl)
{
	return (unsigned int)((ctl & CTL_OWNER_MASK) >> CTL_OWNER_SHIFT);
}

static inline enum migratetype ctl_mt(u64 ctl)
{
	return (enum migratetype)((ctl & CTL_MT_MASK) >> CTL_MT_SHIFT);
}

static inline u64 ctl_with_mt(u64 ctl, enum migratetype mt)
{
	return (ctl & ~CTL_MT_MASK) | (u64)mt << CTL_MT_SHIFT;
}

/* Promise @n frames. The first of a free tree that is nobody's decides its migratetype. */
static inline bool ctl_take(u64 *ctl, unsigned int n, enum migratetype mt)
{
	u64 c = *ctl;

	if (ctl_room(c) < n)
		return false;
	if (!(c & (CTL_USED_MASK | CTL_OWNER_MASK)))
		c = ctl_with_mt(c, mt);
	*ctl = c + n;
	return true;
}

static inline bool ctl_give(u64 *ctl, unsigned int n)
{
	if (ctl_used(*ctl) < n)
		return false;
	*ctl -= n;
	return true;
}

static inline bool ctl_reserve(u64 *ctl, unsigned int cpu, enum migratetype mt)
{
	u64 c = *ctl;

	if (ctl_owner(c))
		return false;
	if (!ctl_used(c))
		c = ctl_with_mt(c, mt);
	*ctl = c | (u64)(cpu + 1) << CTL_OWNER_SHIFT;
	return true;
}

static inline u64 ctl_release(u64 ctl)
{
	return ctl & ~CTL_OWNER_MASK;
}

/* ---- the summary: 32 trees in a word of the first of them ---- */

#define SUMMARY_TREES 32u
#define SUMMARY_FULL  0	 /* shift: trees with no frame to give */
#define SUMMARY_BLOCK 32 /* shift: trees with no whole block to give */

static inline u64 summary_bit(unsigned long tree, unsigned int kind)
{
	return 1ull << (kind + tree % SUMMARY_TREES);
}

#endif /* OCTAVO_MM_FRAME_TREE_H */
