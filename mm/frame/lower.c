/* SPDX-License-Identifier: MIT */
/*
 * lower.c - taking and giving frames of one tree, by compare-and-swap of the words in tree.h.
 *
 * Taking goes top down: a promise in ctl, a promise in blk, then the bits. Giving goes bottom up: bits, blk,
 * ctl. Hence, at every moment and for every tree,
 *
 *	ctl used >= sum of blk used,   blk used >= bits that say taken (in the block's polarity)
 *
 * with equality when nobody is on the way. So blk used == 0 means that all bits say free and stay so, and
 * one compare-and-swap takes the whole block; ctl used == 0 means the same of all blocks; and a
 * promise of n frames in a block means that n of its bits say free, or soon will.
 *
 * Orders. Counters are raised with acquire and lowered with release (or stronger), bits are taken with acquire and given
 * with release. Two things rest on that. First, what a freer wrote into a frame happens before what its next
 * owner writes: over the row's word for a frame, and for a whole block over blk, where all the
 * gives since form one release sequence (every change is a read-modify-write). Second, whoever
 * sees a low counter is ordered after the writes below it that made it low, so that its own
 * compare-and-swap there comes later in that word's history. Weaker, a claim of a whole block could be
 * ordered before a bit of it was given.
 *
 * Progress. Every loop repeats only because another CPU changed the word, so somebody always gets on.
 * A CPU that stops in the middle keeps what it was promised and nothing else. A run of several words is taken
 * word by word and given back in the reverse case: two CPUs that want overlapping runs may both
 * fail, and then both go elsewhere. Of a single frame that was promised the search is repeated a
 * few times, because frames given behind it and taken before it can make it miss.
 *
 * What it does not do: choose trees, count for zones, or know what frames are for.
 */
#include <octavo/atomic.h>
#include <octavo/page.h>

#include "lower.h"

/* How many runs of a batch to fetch the words of beforehand: two cache lines each. */
#define BATCH_AHEAD 64

/* How often to look again for frames that were promised. */
#define PROMISE_TURNS 4

struct zone *tree_zone(unsigned long t)
{
	section_t s = READ_ONCE(octavo_state.frame.section[t]);

	if (!(s & SECTION_PRESENT))
		return NULL;
	return READ_ONCE(octavo_state.frame.zone[(s & SECTION_NODE_MASK) >> SECTION_NODE_SHIFT]
						[s & SECTION_ZONE_MASK]);
}

/*
 * What isolation holds back is counted for the zone. Who gives finds the zone before: as soon as nothing of a
 * section is used it can be removed, and then it is of no zone, or of another.
 */
static void isolated_add(struct zone *z, long n)
{
	if (z)
		fetch_add_relaxed(&z->isolated, (s64)n);
}

/* ---- the summary ---- */

static bool tree_has(unsigned long t, unsigned int kind)
{
	if (kind == SUMMARY_FULL)
		/* seq_cst: see summary_note() */
		return ctl_room(smp_load_seq_cst(&tree_at(t)->ctl));
	for (unsigned int i = 0; i < TREE_BLOCKS; i++)
		/* seq_cst: see summary_note() */
		if (blk_room(blk_get(smp_load_seq_cst(blk_word(t, i)), i)) == BLOCK_FRAMES)
			return true;
	return false;
}

static u64 *summary_word(unsigned long t)
{
	return &tree_at(ALIGN_DOWN(t, (unsigned long)SUMMARY_TREES))->summary;
}

/*
 * A store-buffering pair with summary_clear(): here the bit is set, then the counters are read; there they
 * are lowered, then the bit is read. All four are seq_cst, so one of the two sees the other; were both blind, the
 * bit would hide a tree that has room until somebody gives to it again.
 */
void summary_note(unsigned long t, unsigned int kind)
{
	fetch_or_seq_cst(summary_word(t), summary_bit(t, kind));
	if (tree_has(t, kind))
		fetch_and_relaxed(summary_word(t), ~summary_bit(t, kind));
}

static void summary_clear(unsigned long t, u64 bits)
{
	/* seq_cst: see summary_note() */
	if (bits && (smp_load_seq_cst(summary_word(t)) & bits))
		fetch_and_relaxed(summary_word(t), ~bits);
}

static void rover_lower(unsigned long *rover, unsigned long t)
{
	if (READ_ONCE(*rover) > t)
		WRITE_ONCE(*rover, t);
}

/* A tree has something to give that it had not: tell those who search. Hints, but for the summary. */
static __noinline void tree_announce(unsigned long t, u64 ctl, bool any, bool block)
{
	struct zone *z = tree_zone(t);

	summary_clear(t, (any ? summary_bit(t, SUMMARY_FULL) : 0) |
				 (block ? summary_bit(t, SUMMARY_BLOCK) : 0));
	if (!z)
		return;
	if (any)
		rover_lower(&z->rover_any, t);
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		if (ctl_used(ctl) && ctl_mt(ctl) != mt)
			continue;
		if (ctl_room(ctl) >= CLASS_ROW_ROOM)
			rover_lower(&z->rover[mt][CLASS_ROW], t);
		if (ctl_room(ctl) >= BLOCK_FRAMES / 2)
			rover_lower(&z->rover[mt][CLASS_ROWS], t);
		if (block || !ctl_used(ctl))
			rover_lower(&z->rover[mt][CLASS_BLOCK], t);
	}
}

static bool crosses(u64 old, u64 new, unsigned int room)
{
	return ctl_room(old) < room && ctl_room(new) >= room;
}

/* ---- counters ---- */

static bool tree_take(unsigned long t, unsigned int n, enum migratetype mt)
{
	u64 old = READ_ONCE(tree_at(t)->ctl), new;

	do {
		new = old;
		if (!ctl_take(&new, n, mt))
			return false;
		/* acquire: pairs with the give that made room, see the top */
	} while (!try_cmpxchg_acquire(&tree_at(t)->ctl, &old, new));
	return true;
}

/*
 * @block: a block became wholly free and is the only one in its word. Most gives are no news: whoever gave the
 * first frame to a full tree, or the first block, has told, or is about to.
 */
static void tree_give(unsigned long t, unsigned int n, bool block)
{
	u64 old = READ_ONCE(tree_at(t)->ctl), new;

	do {
		new = old;
		if (!ctl_give(&new, n))
			bad_page(t << OCTAVO_TREE_ORDER,
				 "more frames freed than the tree has taken");
		/* release: pairs with tree_take(), see the top; seq_cst: with summary_note() */
	} while (!try_cmpxchg_seq_cst(&tree_at(t)->ctl, &old, new));
	if (block || !ctl_room(old) || !ctl_used(new) || crosses(old, new, CLASS_ROW_ROOM) ||
	    crosses(old, new, BLOCK_FRAMES / 2))
		tree_announce(t, new, !ctl_room(old), block);
}

/* Has a word of counters a block that can be had whole now, and had none before? */
static bool first_whole(u64 old, u64 new)
{
	bool whole = false;

	for (unsigned int i = 0; i < min(BLK_PER_WORD, TREE_BLOCKS); i++) {
		if (blk_room(blk_get(old, i)) == BLOCK_FRAMES)
			return false;
		whole |= blk_room(blk_get(new, i)) == BLOCK_FRAMES;
	}
	return whole;
}

static bool block_take(unsigned long t, unsigned int i, unsigned int n, bool isolated)
{
	u64 old = READ_ONCE(*blk_word(t, i)), new;

	do {
		new = old;
		if (!blk_take(&new, i, n, isolated))
			return false;
		/* acquire: pairs with the give that made room, see the top */
	} while (!try_cmpxchg_acquire(blk_word(t, i), &old, new));
	if (unlikely(blk_get(new, i) & BLK_ISOLATED))
		isolated_add(tree_zone(t), -(long)n);
	return true;
}

/* Return: first_whole(). */
static bool block_give(unsigned long t, unsigned int i, unsigned int n)
{
	u64 old = READ_ONCE(*blk_word(t, i)), new;
	struct zone *z = NULL;

	do {
		new = old;
		if (!blk_give(&new, i, n))
			bad_page((t << OCTAVO_TREE_ORDER) + i * BLOCK_FRAMES,
				 "more frames freed than the block has taken");
		if (unlikely(blk_get(old, i) & BLK_ISOLATED))
			z = tree_zone(t);
		/* release: pairs with the takes, see the top; seq_cst: with summary_note() */
	} while (!try_cmpxchg_seq_cst(blk_word(t, i), &old, new));
	if (unlikely(blk_get(new, i) & BLK_ISOLATED))
		isolated_add(z, (long)n);
	return !blk_used(blk_get(new, i)) && first_whole(old, new);
}

static unsigned int count_isolated(u64 word, unsigned int i, unsigned int nr)
{
	unsigned int n = 0;

	for (unsigned int k = i; k < i + nr; k++)
		n += !!(blk_get(word, k) & BLK_ISOLATED);
	return n;
}

static bool blocks_take(unsigned long t, unsigned int i, unsigned int nr, bool isolated)
{
	u64 old = READ_ONCE(*blk_word(t, i)), new;

	do {
		new = old;
		if (!blk_take_whole(&new, i, nr, isolated))
			return false;
		/* acquire: pairs with all gives since the blocks were last taken, see the top */
	} while (!try_cmpxchg_acquire(blk_word(t, i), &old, new));
	if (unlikely(isolated && count_isolated(new, i, nr)))
		isolated_add(tree_zone(t), -(long)count_isolated(new, i, nr) * (long)BLOCK_FRAMES);
	return true;
}

/* Return: first_whole(). */
static bool blocks_give(unsigned long t, unsigned int i, unsigned int nr)
{
	u64 old = READ_ONCE(*blk_word(t, i)), new;
	struct zone *z = NULL;

	do {
		new = old;
		if (!blk_give_whole(&new, i, nr))
			bad_page((t << OCTAVO_TREE_ORDER) + i * BLOCK_FRAMES,
				 "free of a block that is not wholly taken");
		if (unlikely(count_isolated(old, i, nr)))
			z = tree_zone(t);
		/* release: pairs with the takes, see the top; seq_cst: with summary_note() */
	} while (!try_cmpxchg_seq_cst(blk_word(t, i), &old, new));
	if (unlikely(count_isolated(new, i, nr)))
		isolated_add(z, (long)count_isolated(new, i, nr) * (long)BLOCK_FRAMES);
	return first_whole(old, new);
}

/* ---- rows ---- */

static unsigned int row_bit(unsigned long pfn)
{
	return (unsigned int)pfn % ROW_FRAMES;
}

static bool row_take(unsigned long *row, u64 mask, unsigned int blk)
{
	unsigned long old = READ_ONCE(*row);

	do {
		if (row_taken(old, blk) & mask)
			return false;
		/* acquire: pairs with row_give(): what the last owner wrote into the frames is over */
	} while (!try_cmpxchg_acquire(row, &old, old ^ mask));
	return true;
}

static void row_give(unsigned long *row, u64 mask, unsigned int blk)
{
	unsigned long old = READ_ONCE(*row);

	do {
		u64 free = ~row_taken(old, blk) & mask;

		if (unlikely(free))
			bad_page(((unsigned long)(row - octavo_state.frame.bits)
				  << OCTAVO_ROW_ORDER) +
					 (unsigned long)__builtin_ctzll(free),
				 "free of a frame that is free");
		/* release: pairs with row_take() and row_alloc() */
	} while (!try_cmpxchg_release(row, &old, old ^ mask));
}

static void rows_give(unsigned long pfn, unsigned long nr, unsigned int blk)
{
	while (nr) {
		unsigned int n = (unsigned int)min(nr, (unsigned long)(ROW_FRAMES - row_bit(pfn)));

		row_give(row_of(pfn), row_run(row_bit(pfn), n), blk);
		pfn += n;
		nr -= n;
	}
}

/* These frames of one block, all or none. */
static bool rows_take(unsigned long pfn, unsigned long nr, unsigned int blk)
{
	unsigned long pos = pfn, end = pfn + nr;

	while (pos < end) {
		unsigned int n =
			(unsigned int)min(end - pos, (unsigned long)(ROW_FRAMES - row_bit(pos)));

		if (octavo_fault(OCTAVO_FAULT_FRAME) ||
		    !row_take(row_of(pos), row_run(row_bit(pos), n), blk)) {
			rows_give(pfn, pos - pfn, blk);
			return false;
		}
		pos += n;
	}
	return true;
}

/* Up to @want runs of one row. */
static unsigned int row_alloc(unsigned long pfn, unsigned int order, unsigned int want,
			      unsigned int blk, unsigned long *pfns)
{
	unsigned long *row = row_of(pfn), old = READ_ONCE(*row);
	unsigned int got = 0;
	u64 pick;

	do {
		pick = row_pick(row_taken(old, blk), order, want);
		if (!pick)
			return 0;
		/* acquire: pairs with row_give(): what the last owner wrote into the frames is over */
	} while (!try_cmpxchg_acquire(row, &old, old ^ pick));
	for (; pick; got++) {
		unsigned int bit = (unsigned int)__builtin_ctzll(pick);

		pfns[got] = pfn + bit;
		pick &= ~row_run(bit, 1u << order);
	}
	return got;
}

static bool rows_free(unsigned long pfn, unsigned long nr, unsigned int blk)
{
	for (unsigned long p = pfn; p < pfn + nr; p += ROW_FRAMES)
		if (row_taken(READ_ONCE(*row_of(p)), blk))
			return false;
	return true;
}

/* Up to @want runs of a block in which they are promised. */
static unsigned int rows_alloc(unsigned long pfn, unsigned int order, unsigned int want,
			       unsigned int blk, unsigned long *pfns)
{
	unsigned long step = max(1ul << order, (unsigned long)ROW_FRAMES);
	unsigned int got = 0;

	for (unsigned long p = pfn; got < want && p < pfn + BLOCK_FRAMES; p += step) {
		if (order < OCTAVO_ROW_ORDER) {
			got += row_alloc(p, order, want - got, blk, pfns + got);
		} else if (rows_free(p, step, blk) && rows_take(p, step, blk)) {
			pfns[got++] = p;
		}
	}
	return got;
}

/* ---- runs of any place in a tree ---- */

/*
 * The fullest block that has room for a run, but for those in @tried: so holes fill up before a free block is
 * broken. -1: none.
 */
static int best_block(unsigned long t, unsigned int n, unsigned int tried)
{
	unsigned int least = BLOCK_FRAMES + 1;
	int best = -1;

	for (unsigned int i = 0; i < TREE_BLOCKS; i++) {
		unsigned int room = blk_room(blk_get(READ_ONCE(*blk_word(t, i)), i));

		if (room >= n && room < least && !(tried & 1u << i)) {
			least = room;
			best = (int)i;
		}
	}
	return best;
}

/* As much of @left as a block has room for, in whole runs of @n. Return: frames promised. */
static unsigned int block_promise(unsigned long t, unsigned int i, unsigned int n,
				  unsigned int left)
{
	u64 old = READ_ONCE(*blk_word(t, i)), new;
	unsigned int take;

	do {
		new = old;
		take = min(left, ALIGN_DOWN(blk_room(blk_get(old, i)), n));
		if (!take || !blk_take(&new, i, take, false))
			return 0;
		/* acquire: pairs with the give that made room, see the top */
	} while (!try_cmpxchg_acquire(blk_word(t, i), &old, new));
	return take;
}

/* Runs smaller than a block. @freed: set if giving a promise back left a word's first whole block. */
static unsigned int alloc_rows(unsigned long t, unsigned int order, unsigned int want,
			       unsigned long *pfns, bool *freed)
{
	unsigned int n = 1u << order, got = 0, tried = 0;

	while (got < want) {
		int i = best_block(t, n, tried);
		unsigned int promise, c = 0;
		unsigned long base;

		if (i < 0)
			break;
		tried |= 1u << i;
		base = (t << OCTAVO_TREE_ORDER) + (unsigned long)i * BLOCK_FRAMES;
		promise = block_promise(t, (unsigned int)i, n, (want - got) << order);
		for (int turn = 0; turn < (order ? 1 : PROMISE_TURNS) && c << order < promise;
		     turn++)
			c += rows_alloc(base, order, (promise >> order) - c, block_of(base),
					pfns + got + c);
		if (c << order < promise)
			*freed |= block_give(t, (unsigned int)i, promise - (c << order));
		got += c;
	}
	return got;
}

static unsigned int alloc_blocks(unsigned long t, unsigned int order, unsigned int want,
				 unsigned long *pfns)
{
	unsigned int nr = 1u << (order - OCTAVO_BLOCK_ORDER), got = 0;

	for (unsigned int i = 0; got < want && i < TREE_BLOCKS; i += nr)
		if (!octavo_fault(OCTAVO_FAULT_FRAME) && blocks_take(t, i, nr, false))
			pfns[got++] = (t << OCTAVO_TREE_ORDER) + (unsigned long)i * BLOCK_FRAMES;
	return got;
}

unsigned int lower_alloc(unsigned long t, unsigned int order, unsigned int want,
			 enum migratetype mt, unsigned long *pfns)
{
	u64 old = READ_ONCE(tree_at(t)->ctl), new;
	unsigned int take, got;
	bool freed = false;

	if (order == OCTAVO_TREE_ORDER) {
		pfns[0] = t << OCTAVO_TREE_ORDER;
		return want && lower_take(pfns[0], TREE_FRAMES, false, mt);
	}
	want = min(want, TREE_FRAMES >> order);
	do {
		new = old;
		take = min(want << order, ALIGN_DOWN(ctl_room(old), 1u << order));
		if (!take || !ctl_take(&new, take, mt))
			return 0;
		/* acquire: pairs with the give that made room, see the top */
	} while (!try_cmpxchg_acquire(&tree_at(t)->ctl, &old, new));
	if (order < OCTAVO_BLOCK_ORDER)
		got = alloc_rows(t, order, take >> order, pfns, &freed);
	else
		got = alloc_blocks(t, order, take >> order, pfns);
	if (got << order < take)
		tree_give(t, take - (got << order), freed);
	return got;
}

/* The part of [pos, end) in one block, or as many whole blocks as share a counter word. */
static unsigned long piece(unsigned long pos, unsigned long end, unsigned int *blocks)
{
	unsigned long nr = (end - pos) >> OCTAVO_BLOCK_ORDER;

	*blocks = 0;
	if (nr && IS_ALIGNED(pos, (unsigned long)BLOCK_FRAMES)) {
		*blocks = (unsigned int)min(
			nr, (unsigned long)(BLK_PER_WORD - pfn_block(pos) % BLK_PER_WORD));
		return (unsigned long)*blocks << OCTAVO_BLOCK_ORDER;
	}
	return min(end, ALIGN_DOWN(pos, (unsigned long)BLOCK_FRAMES) + BLOCK_FRAMES) - pos;
}

/* Return: first_whole() of any word. */
static bool pieces_give(unsigned long pfn, unsigned long nr)
{
	unsigned long end = pfn + nr, n;
	bool freed = false;

	for (; pfn < end; pfn += n) {
		unsigned int blocks;

		n = piece(pfn, end, &blocks);
		if (blocks) {
			freed |= blocks_give(pfn_tree(pfn), pfn_block(pfn), blocks);
		} else {
			rows_give(pfn, n, block_of(pfn));
			freed |= block_give(pfn_tree(pfn), pfn_block(pfn), (unsigned int)n);
		}
	}
	return freed;
}

/* @freed: set if undoing it left a word's first whole block. */
static bool piece_take(unsigned long pfn, unsigned long n, unsigned int blocks, bool isolated,
		       bool *freed)
{
	unsigned long t = pfn_tree(pfn);
	unsigned int i = pfn_block(pfn);

	if (octavo_fault(OCTAVO_FAULT_FRAME))
		return false;
	if (blocks)
		return blocks_take(t, i, blocks, isolated);
	if (!block_take(t, i, (unsigned int)n, isolated))
		return false;
	if (rows_take(pfn, n, block_of(pfn)))
		return true;
	*freed |= block_give(t, i, (unsigned int)n);
	return false;
}

bool lower_take(unsigned long pfn, unsigned long nr, bool isolated, enum migratetype mt)
{
	unsigned long pos = pfn, end = pfn + nr, n;
	bool freed = false;

	if (!tree_take(pfn_tree(pfn), (unsigned int)nr, mt))
		return false;
	for (; pos < end; pos += n) {
		unsigned int blocks;

		n = piece(pos, end, &blocks);
		if (!piece_take(pos, n, blocks, isolated, &freed)) {
			freed |= pieces_give(pfn, pos - pfn);
			tree_give(pfn_tree(pfn), (unsigned int)nr, freed);
			return false;
		}
	}
	return true;
}

void lower_give(unsigned long pfn, unsigned long nr)
{
	bool freed = pieces_give(pfn, nr);

	tree_give(pfn_tree(pfn), (unsigned int)nr, freed);
}

/* From list[0] on, the runs that are in the block of the first. Return: how many. */
static unsigned long give_block(unsigned int order, unsigned long n, const unsigned long *pfns,
				bool *freed)
{
	unsigned long base = ALIGN_DOWN(pfns[0], (unsigned long)BLOCK_FRAMES), i = 0;
	unsigned int blk = block_of(base);

	while (i < n && pfns[i] - base < BLOCK_FRAMES) {
		unsigned long row = pfns[i] >> OCTAVO_ROW_ORDER;
		u64 mask = 0;

		for (; i < n && pfns[i] >> OCTAVO_ROW_ORDER == row; i++) {
			u64 run = row_run(row_bit(pfns[i]), 1u << order);

			if (unlikely(mask & run))
				bad_page(pfns[i], "free of a frame that is free");
			mask |= run;
		}
		row_give(octavo_state.frame.bits + row, mask, blk);
	}
	*freed |= block_give(pfn_tree(base), pfn_block(base), (unsigned int)(i << order));
	return i;
}

static void give_ahead(unsigned long pfn)
{
	prefetchw(tree_at(pfn_tree(pfn)));
	prefetchw(row_of(pfn));
}

void lower_give_batch(unsigned int order, unsigned long n, const unsigned long *pfns)
{
	unsigned long i = 0;

	if (order >= OCTAVO_ROW_ORDER) {
		for (; i < n; i++)
			for (unsigned long p = pfns[i]; p < pfns[i] + (1ul << order);
			     p += min(1ul << order, (unsigned long)TREE_FRAMES))
				lower_give(p, min(1ul << order, (unsigned long)TREE_FRAMES));
		return;
	}
	/* frames in no order, maybe other CPUs': let their cache lines come all at once, not one by one */
	for (unsigned long k = 1; k < min(n, (unsigned long)BATCH_AHEAD); k++)
		if (row_of(pfns[k]) != row_of(pfns[k - 1]))
			give_ahead(pfns[k]);
	while (i < n) {
		unsigned long t = pfn_tree(pfns[i]), start = i;
		bool freed = false;

		while (i < n && pfn_tree(pfns[i]) == t)
			i += give_block(order, n - i, pfns + i, &freed);
		tree_give(t, (unsigned int)((i - start) << order), freed);
	}
}

unsigned long lower_used(unsigned long pfn, unsigned long nr)
{
	unsigned long end = pfn + nr, used = 0;

	while (pfn < end) {
		/*
		 * acquire, here and of the row: pairs with the gives. Who has isolated the range and is told
		 * that nothing of it is used has it alone: what was written into it is over.
		 */
		u64 word = smp_load_acquire(blk_word(pfn_tree(pfn), pfn_block(pfn)));
		unsigned int blk = blk_get(word, pfn_block(pfn)), n;

		if (IS_ALIGNED(pfn, (unsigned long)BLOCK_FRAMES) && end - pfn >= BLOCK_FRAMES) {
			used += blk_used(blk);
			pfn += BLOCK_FRAMES;
			continue;
		}
		n = (unsigned int)min(end - pfn, (unsigned long)(ROW_FRAMES - row_bit(pfn)));
		if (blk_used(blk))
			used += row_count(row_taken(smp_load_acquire(row_of(pfn)), blk) &
					  row_run(row_bit(pfn), n));
		pfn += n;
	}
	return used;
}

/* ---- isolation, reservation ---- */

bool lower_isolate(unsigned long pfn, bool on)
{
	unsigned long t = pfn_tree(pfn);
	unsigned int i = pfn_block(pfn);
	u64 old = READ_ONCE(*blk_word(t, i)), new;
	struct zone *z = tree_zone(t);
	long room;

	do {
		new = old;
		if (!blk_set_isolated(&new, i, on))
			return false;
		room = (long)(BLOCK_FRAMES - blk_used(blk_get(new, i)));
		/*
		 * relaxed would do to set it: frame_isolate() waits for the takers of before. seq_cst to clear
		 * it: that gives room, see summary_note()
		 */
	} while (!try_cmpxchg_seq_cst(blk_word(t, i), &old, new));
	if (room)
		isolated_add(z, on ? room : -room);
	if (!on)
		tree_announce(t, READ_ONCE(tree_at(t)->ctl), room, room == (long)BLOCK_FRAMES);
	return true;
}

bool lower_reserve(unsigned long t, unsigned int cpu, enum migratetype mt)
{
	u64 old = READ_ONCE(tree_at(t)->ctl), new;

	do {
		new = old;
		if (!ctl_reserve(&new, cpu, mt))
			return false;
		/* relaxed: a reservation is advice, nothing is read or written on the strength of it */
	} while (!try_cmpxchg_relaxed(&tree_at(t)->ctl, &old, new));
	return true;
}

void lower_release(unsigned long t)
{
	u64 old = READ_ONCE(tree_at(t)->ctl);

	/* relaxed: as above */
	while (!try_cmpxchg_relaxed(&tree_at(t)->ctl, &old, ctl_release(old)))
		;
	tree_announce(t, READ_ONCE(tree_at(t)->ctl), true, true);
}
