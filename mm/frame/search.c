/* SPDX-License-Identifier: MIT */
/*
 * search.c - which tree of a zone an allocation comes from.
 *
 * To keep whole blocks and trees whole, holes are filled before free memory is broken, and at low
 * addresses first:
 * 1. the reserved tree, while it has anything;
 * 2. the lowest tree of the same migratetype that is partly used, is nobody's, and is worth it;
 * 3. the lowest wholly free tree (found on the way, and step 2 looks only a little further than it);
 * 4. whatever of this migratetype has room, even if it is reserved by another CPU;
 * 5. other migratetypes' trees, and at last those that are reserved.
 * The tree of steps 2 and 3 becomes the CPU's reserved one. Runs of a tree and more are looked for from the
 * top down, where the others come last.
 *
 * Searching stays cheap on large machines by two kinds of hint (lower.c keeps them): rovers, below which there
 * is nothing for a class of allocation, and the summary, by which 32 full trees cost one load. Rovers may
 * be wrong for a moment, so before an allocation fails it searches once without them; the summary is right.
 *
 * Reservations are advice. They keep CPUs out of each other's cache lines; nothing breaks if two use the
 * same tree.
 *
 * What it does not do: look into blocks and rows, which is lower.c's, or at watermarks.
 */
#include <octavo/atomic.h>
#include <octavo/page.h>

#include "frame_cpu.h"

/*
 * After a wholly free tree is seen: how many more to look at for a partly used one. In proportion to how
 * long a tree will last.
 */
#define LOOKAHEAD(class) ((class) == CLASS_BLOCK ? 16 : 256)

struct request {
	struct zone *zone;
	unsigned int cpu;
	unsigned int order;
	enum migratetype mt;
	unsigned int want;
	unsigned long *pfns;
};

/* In which state a tree must be to be tried; see the top. */
enum effort { PARTLY_USED, WHOLLY_FREE, OWN_TYPE, NOT_RESERVED, ANY_TREE, NR_EFFORTS };

static struct zone_span span_at(const struct zone *z, u32 i)
{
	struct zone_span s;

	s.both = READ_ONCE(z->span[i].both);
	return s;
}

/* The first tree from @t on, before @end, that the summary does not rule out. */
static unsigned long next_open(unsigned long t, unsigned long end, unsigned int kind)
{
	while (t < end) {
		unsigned long base = ALIGN_DOWN(t, (unsigned long)SUMMARY_TREES);
		u32 none = (u32)(READ_ONCE(tree_at(base)->summary) >> kind);
		u32 open = ~none >> (t - base);

		if (open)
			return min(end, t + (unsigned long)__builtin_ctz(open));
		t = base + SUMMARY_TREES;
	}
	return end;
}

/* Frames in the block of a tree that has most. */
static unsigned int best_room(unsigned long t)
{
	unsigned int room = 0;

	for (unsigned int w = 0; w < BLK_WORDS; w++) {
		u64 word = READ_ONCE(tree_at(t)->blk[w]);

		for (unsigned int i = w * BLK_PER_WORD;
		     i < min(TREE_BLOCKS, (w + 1) * BLK_PER_WORD); i++)
			room = max(room, blk_room(blk_get(word, i)));
	}
	return room;
}

/* Is there enough in a tree to be worth a try? Tells the summary when there is nothing. */
static bool tree_fits(const struct request *r, unsigned long t, u64 ctl, unsigned int least)
{
	unsigned int n = 1u << r->order;

	if (!ctl_room(ctl)) {
		summary_note(t, SUMMARY_FULL);
		return false;
	}
	if (ctl_room(ctl) < max(n, least)) {
		if (r->order >= OCTAVO_BLOCK_ORDER && ctl_room(ctl) < BLOCK_FRAMES)
			summary_note(t, SUMMARY_BLOCK);
		return false;
	}
	if (r->order < OCTAVO_ROW_ORDER)
		return true;
	if (best_room(t) >= min(n, BLOCK_FRAMES))
		return true;
	if (r->order >= OCTAVO_BLOCK_ORDER)
		summary_note(t, SUMMARY_BLOCK);
	return false;
}

static bool effort_allows(const struct request *r, u64 ctl, enum effort effort)
{
	switch (effort) {
	case PARTLY_USED:
		return ctl_used(ctl) && ctl_mt(ctl) == r->mt && !ctl_owner(ctl);
	case WHOLLY_FREE:
		return !ctl_used(ctl) && !ctl_owner(ctl);
	case OWN_TYPE:
		return !ctl_used(ctl) || ctl_mt(ctl) == r->mt;
	case NOT_RESERVED:
		return !ctl_owner(ctl);
	default:
		return true;
	}
}

/* Take from one tree; if that works and there is more, it becomes the CPU's. */
static unsigned int tree_try(const struct request *r, unsigned long t, bool reserve)
{
	unsigned long *slot =
		&octavo_state.frame.cpu[r->cpu].slot[r->zone->type][r->mt][order_class(r->order)];
	unsigned int got;
	unsigned long old;

	if (tree_zone(t) != r->zone)
		return 0;
	got = lower_alloc(t, r->order, r->want, r->mt, r->pfns);
	if (got && reserve && lower_reserve(t, r->cpu, r->mt)) {
		/* relaxed: see lower_reserve() */
		old = xchg_relaxed(slot, t + 1);
		if (old)
			lower_release(old - 1);
	}
	return got;
}

/* A rover that nobody moved since @seen was read goes up to @t. */
static void rover_raise(unsigned long *rover, unsigned long seen, unsigned long t)
{
	if (t > seen && READ_ONCE(*rover) == seen)
		WRITE_ONCE(*rover, t);
}

/* Two trees share a cache line: is the other one reserved by another CPU? */
static bool neighbour_busy(unsigned long t, unsigned int cpu)
{
	unsigned int owner = ctl_owner(READ_ONCE(tree_at(t ^ 1)->ctl));

	return owner && owner != cpu + 1;
}

/* Steps 2 and 3: a tree to reserve. */
static unsigned int search_good(const struct request *r)
{
	enum tree_class class = order_class(r->order);
	unsigned long *rover = &r->zone->rover[r->mt][class], from = READ_ONCE(*rover);
	unsigned int kind = class == CLASS_BLOCK ? SUMMARY_BLOCK : SUMMARY_FULL;
	unsigned int least = class == CLASS_ROW ? CLASS_ROW_ROOM : 0;
	unsigned long none = ~0ul, whole = none, apart = none, stop = none, t = none, hint;
	/* acquire: pairs with the release in zone_span_add(): the entries are there */
	u32 nr = smp_load_acquire(&r->zone->nr_spans);
	unsigned int got = 0;

	for (u32 i = 0; !got && i < nr; i++) {
		struct zone_span s = span_at(r->zone, i);
		unsigned long end = min((unsigned long)s.first + s.nr, stop);

		t = max((unsigned long)s.first, from);
		for (; (t = next_open(t, end, kind)) < end; t++) {
			u64 ctl = READ_ONCE(tree_at(t)->ctl);

			if (effort_allows(r, ctl, WHOLLY_FREE)) {
				if (whole == none && best_room(t) == BLOCK_FRAMES) {
					whole = t;
					end = min(end, t + LOOKAHEAD(class));
					stop = end;
				}
				if (apart == none && !neighbour_busy(t, r->cpu))
					apart = t;
			} else if (effort_allows(r, ctl, PARTLY_USED) &&
				   tree_fits(r, t, ctl, least)) {
				got = tree_try(r, t, true);
				if (got)
					break;
			} else if (!ctl_room(ctl)) {
				summary_note(t, SUMMARY_FULL);
			}
		}
	}
	/* one that was skipped as reserved counts again when it is released */
	hint = min(got ? t : none, whole);
	if (!got && apart != none)
		got = tree_try(r, apart, true);
	if (!got && whole != none)
		got = tree_try(r, whole, true);
	rover_raise(rover, from, hint);
	return got;
}

/* Steps 4 and 5, from a tree on. @lowest: the first that has any room. */
static unsigned int search_any(const struct request *r, unsigned long from, enum effort effort,
			       unsigned long *lowest)
{
	unsigned int kind = r->order >= OCTAVO_BLOCK_ORDER ? SUMMARY_BLOCK : SUMMARY_FULL;
	/* acquire: pairs with the release in zone_span_add(): the entries are there */
	u32 nr = smp_load_acquire(&r->zone->nr_spans);

	for (u32 i = 0; i < nr; i++) {
		struct zone_span s = span_at(r->zone, i);
		unsigned long t = max((unsigned long)s.first, from);
		unsigned long end = (unsigned long)s.first + s.nr;

		for (; (t = next_open(t, end, kind)) < end; t++) {
			u64 ctl = READ_ONCE(tree_at(t)->ctl);
			unsigned int got;

			if (ctl_room(ctl))
				*lowest = min(*lowest, t);
			if (!tree_fits(r, t, ctl, 0) || !effort_allows(r, ctl, effort))
				continue;
			got = tree_try(r, t, false);
			if (got)
				return got;
		}
	}
	return 0;
}

static unsigned int search_all(const struct request *r)
{
	unsigned long from = READ_ONCE(r->zone->rover_any), lowest;
	bool small = r->order < OCTAVO_BLOCK_ORDER;
	unsigned int got;

	for (int turn = 0; turn < 2; turn++) {
		for (enum effort e = OWN_TYPE; e < NR_EFFORTS; e++) {
			lowest = ~0ul;
			got = search_any(r, from, e, &lowest);
			/* only with SUMMARY_FULL have all trees with any room been seen */
			if (small && lowest != ~0ul)
				rover_raise(&r->zone->rover_any, from, lowest);
			if (got)
				return got;
		}
		if (!from)
			return 0;
		/* the rover is a hint: look below it before giving up */
		from = 0;
	}
	return 0;
}

/* ---- whole trees ---- */

/* @nr consecutive trees, all or none. */
static bool trees_take(const struct request *r, unsigned long t, unsigned long nr)
{
	unsigned long k;

	for (k = 0; k < nr; k++)
		if (tree_zone(t + k) != r->zone ||
		    !lower_take((t + k) << OCTAVO_TREE_ORDER, TREE_FRAMES, false, r->mt))
			break;
	if (k == nr)
		return true;
	while (k--)
		lower_give((t + k) << OCTAVO_TREE_ORDER, TREE_FRAMES);
	return false;
}

static bool trees_free(unsigned long t, unsigned long nr, bool reserved)
{
	for (unsigned long k = 0; k < nr; k++) {
		u64 ctl = READ_ONCE(tree_at(t + k)->ctl);

		if (ctl_used(ctl) || (ctl_owner(ctl) && !reserved)) {
			if (!ctl_room(ctl))
				summary_note(t + k, SUMMARY_FULL);
			return false;
		}
	}
	return true;
}

/* The lowest tree from which on, up to @t, the summary knows of nothing that has room; @t + 1: @t may have. */
static unsigned long none_down_to(unsigned long t)
{
	unsigned long base = ALIGN_DOWN(t, (unsigned long)SUMMARY_TREES);
	u64 none = READ_ONCE(tree_at(base)->summary);

	return (u32)(none >> SUMMARY_FULL | none >> SUMMARY_BLOCK) == ~0u ? base : t + 1;
}

static unsigned int search_trees(const struct request *r)
{
	unsigned long nr = 1ul << (r->order - OCTAVO_TREE_ORDER);
	/* acquire: pairs with the release in zone_span_add(): the entries are there */
	u32 spans = smp_load_acquire(&r->zone->nr_spans);

	for (int reserved = 0; reserved < 2; reserved++)
		for (u32 i = spans; i-- > 0;) {
			struct zone_span s = span_at(r->zone, i);
			unsigned long low = ALIGN((unsigned long)s.first, nr);
			unsigned long t = ALIGN_DOWN((unsigned long)s.first + s.nr, nr);

			while (t >= low + nr) {
				unsigned long none = none_down_to(t - 1);

				if (none < t) {
					t = ALIGN_DOWN(none, nr);
					continue;
				}
				t -= nr;
				if (trees_free(t, nr, reserved) && trees_take(r, t, nr)) {
					r->pfns[0] = t << OCTAVO_TREE_ORDER;
					return 1;
				}
			}
		}
	return 0;
}

unsigned long zone_take(struct zone *z, unsigned int cpu, unsigned int order, enum migratetype mt,
			unsigned long want, unsigned long *pfns)
{
	struct request r = { z, cpu, order, mt, 0, NULL };
	unsigned long *slot = octavo_state.frame.cpu[cpu].slot[z->type][mt] + order_class(order);
	unsigned long got = 0;

	while (got < want) {
		unsigned long t = READ_ONCE(*slot);
		unsigned int n = 0;

		r.want = (unsigned int)min(want - got, (unsigned long)TREE_FRAMES);
		r.pfns = pfns + got;
		if (order >= OCTAVO_TREE_ORDER) {
			n = search_trees(&r);
		} else {
			if (t && tree_zone(t - 1) == z)
				n = lower_alloc(t - 1, order, r.want, mt, r.pfns);
			if (!n)
				n = search_good(&r);
			if (!n)
				n = search_all(&r);
		}
		if (!n)
			break;
		got += n;
	}
	return got;
}
