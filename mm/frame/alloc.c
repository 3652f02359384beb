/* SPDX-License-Identifier: MIT */
/*
 * alloc.c - frame_alloc() and frame_free(): which zone, which tree.
 *
 * An allocation goes from cheap to dear: this CPU's magazine; a batch from the tree that this CPU has
 * reserved; a tree found by searching the zone; the next zone of the list; then, below the low
 * watermark, with background reclaim woken; then below the min watermark as far as its flags go; then after
 * direct reclaim; and last after taking back what CPUs hold for themselves.
 *
 * Which tree? To keep whole blocks and trees whole, holes are filled before free memory is broken, and at low
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
 * What it does not do: reclaim, compact, or keep lower zones from being used up by allocations that could
 * have come from higher ones. An allocation that may not sleep cannot get at what other CPUs' magazines hold.
 */
#include <octavo/atomic.h>
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/hwpoison.h>
#include <octavo/page.h>

#include "frame_cpu.h"
#include "frame_internal.h"

/*
 * After a wholly free tree is seen: how many more to look at for a partly used one. In proportion to how
 * long a tree will last.
 */
#define LOOKAHEAD(class) ((class) == CLASS_BLOCK ? 16 : 256)

/* Rounds of direct reclaim before an allocation that may fail does. */
#define RECLAIM_ROUNDS 16

/* ---- searching a zone ---- */

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

/* ---- zones: watermarks, order of preference ---- */

enum mark { MARK_LOW, MARK_MIN, MARK_HALF_MIN, MARK_NONE };

static bool zone_allows(const struct zone *z, u64 n, enum mark mark)
{
	const struct frame_state *f = &octavo_state.frame;
	s64 over, slack;

	if (mark == MARK_NONE)
		return true;
	over = (s64)READ_ONCE(z->watermark[mark == MARK_LOW ? WMARK_LOW : WMARK_MIN]);
	if (mark == MARK_HALF_MIN)
		over /= 2;
	over = READ_ONCE(z->free) - READ_ONCE(z->isolated) - over - (s64)n;
	slack = (s64)(READ_ONCE(z->fold) * f->nr_cpus);
	if (likely(over >= slack))
		return true;
	/* close to the mark, what CPUs have not told counts */
	if (over >= -slack)
		for (u32 i = 0; i < f->nr_cpus; i++)
			over += READ_ONCE(f->cpu[i].delta[zone_key(z) & ZONE_KEY_MASK].delta);
	return over >= 0;
}

/* Two bits for each combination of the three zone flags; the lowest zone wins. */
static enum zone_type gfp_zone(gfp_t gfp)
{
	const unsigned int types = ZONE_NORMAL << 0 | ZONE_DMA << 2 | ZONE_DMA32 << 4 |
				   ZONE_DMA << 6 | ZONE_MOVABLE << 8 | ZONE_DMA << 10 |
				   ZONE_DMA32 << 12 | ZONE_DMA << 14;
	BUILD_BUG_ON(__GFP_DMA != 1 || __GFP_DMA32 != 2 || __GFP_MOVABLE != 4);

	return (enum zone_type)(types >> (gfp & 7) * 2 & 3);
}

/* The zones of a node, from @top down; then those of the nodes at distance 1, 2, ... */
struct zone_walk {
	s32 nid, at;   /* preferred node; step: 0, -1, +1, -2, +2, ... */
	s32 top, type; /* next type to look at */
	bool thisnode;
};

static void zone_walk_start(struct zone_walk *w, gfp_t gfp, int nid)
{
	w->nid = nid == NUMA_NO_NODE ? (s32)READ_ONCE(octavo_state.frame.home_node) : nid;
	w->at = 0;
	w->top = (s32)gfp_zone(gfp);
	w->type = w->top;
	w->thisnode = gfp & __GFP_THISNODE;
}

static struct zone *zone_walk_next(struct zone_walk *w)
{
	for (;;) {
		s32 node = w->nid + (w->at % 2 ? -(w->at + 1) / 2 : w->at / 2);

		while (node >= 0 && node < OCTAVO_NR_NODES && w->type >= 0) {
			/* acquire: pairs with the release in zone_get(): node and type are set */
			struct zone *z = smp_load_acquire(&octavo_state.frame.zone[node][w->type]);

			w->type--;
			if (z && READ_ONCE(z->managed))
				return z;
		}
		if (w->thisnode || w->at >= 2 * OCTAVO_NR_NODES)
			return NULL;
		w->at++;
		w->type = w->top;
	}
}

void zone_refresh_first(void)
{
	struct frame_state *f = &octavo_state.frame;
	/* a type's flags: what gfp_zone() makes of them */
	static const gfp_t flags[ZONE_MOVABLE + 1] = { __GFP_DMA, __GFP_DMA32, 0, __GFP_MOVABLE };
	struct zone_walk w;
	struct zone *z;

	zone_walk_start(&w, __GFP_MOVABLE, 0);
	z = zone_walk_next(&w);
	WRITE_ONCE(f->home_node, z ? z->node : 0);
	for (int nid = 0; nid < OCTAVO_NR_NODES; nid++)
		for (int type = 0; type <= ZONE_MOVABLE; type++) {
			zone_walk_start(&w, flags[type] | __GFP_THISNODE, nid);
			z = zone_walk_next(&w);
			WRITE_ONCE(f->first_zone[nid][type], z);
		}
}

/* ---- allocating ---- */

void zone_account(section_t key, long n)
{
	struct frame_cpu *c = frame_cpu(octavo_port_pin());

	if (local_trylock(&c->lock)) {
		zone_count(zone_delta(c, key), key, n);
		local_unlock(&c->lock);
	} else {
		fetch_add_relaxed(&key_zone(key)->free, (s64)n);
	}
	octavo_port_unpin();
}

bool run_poisoned(unsigned long pfn, unsigned long nr)
{
	/*
	 * Between taking the frames, or freeing their words, and the look-up. Pairs with the smp_mb_heavy() that
	 * memory_failure() runs between the insertion and looking at the frame: one of the two sees
	 * the other. Without it both can miss, and a bad frame is handed on.
	 */
	smp_mb_light();
	return unlikely(READ_ONCE(octavo_state.hwpoison.nr)) && pfn_poisoned_in(pfn, nr) != ~0ul;
}

static void keep_out_one(unsigned long pfn)
{
	unsigned long *word = &pfn_to_page(pfn)->memdesc.v;
	const unsigned long bad = MEMDESC_HWPOISON;

	/* release: the frame's last owner is done with it */
	smp_store_release(word, bad);
	/*
	 * Pairs with the smp_mb_heavy() that unpoison_memory() runs between removal and looking at the word: it
	 * sees HWPOISON, or we see that the frame is forgotten. Without it both can miss, and a good frame is
	 * lost. Who turns HWPOISON back into FREE owns the frame; acquire: with what was done to it.
	 */
	smp_mb();
	if (unlikely(!pfn_poisoned(pfn)) && cmpxchg_acquire(word, bad, 0ul) == bad)
		zone_give(pfn, 1);
}

void keep_out(unsigned long pfn, unsigned long nr)
{
	unsigned long end = pfn + nr;

	while (pfn < end) {
		unsigned long bad = min(pfn_poisoned_in(pfn, end - pfn), end);

		if (bad > pfn)
			zone_give(pfn, bad - pfn);
		if (bad < end)
			keep_out_one(bad);
		pfn = bad + 1;
	}
}

/* One run of one zone, without regard to watermarks. */
static long zone_alloc(struct zone *z, unsigned int order, enum migratetype mt)
{
	struct frame_cpu *c;
	unsigned long pfn;
	unsigned int cpu;
	long got;

	do {
		cpu = octavo_port_pin();
		c = frame_cpu(cpu);
		got = order < MAG_ORDERS ? magazine_fill_pop(c, z, order, mt) : -ENOMEM;
		if (got < 0 && zone_take(z, cpu, order, mt, 1, &pfn)) {
			got = (long)pfn;
			zone_account(zone_key(z), -(1l << order));
		}
		octavo_port_unpin();
		if (got < 0)
			return -ENOMEM;
		if (likely(!run_poisoned((unsigned long)got, 1ul << order)))
			return got;
		keep_out((unsigned long)got, 1ul << order);
	} while (1);
}

static long zones_alloc(gfp_t gfp, unsigned int order, int nid, enum mark mark)
{
	struct zone_walk w;
	struct zone *z;

	zone_walk_start(&w, gfp, nid);
	while ((z = zone_walk_next(&w))) {
		long pfn = -ENOMEM;

		if (zone_allows(z, 1ull << order, mark))
			pfn = zone_alloc(z, order, gfp_migratetype(gfp));
		if (pfn >= 0)
			return pfn;
	}
	return -ENOMEM;
}

static void wake_reclaim(gfp_t gfp, int nid)
{
	const struct octavo_hooks *hooks = octavo_state.hooks;
	struct zone_walk w;
	struct zone *z;

	if (!(gfp & __GFP_KSWAPD_RECLAIM) || !hooks || !hooks->wake_reclaim)
		return;
	zone_walk_start(&w, gfp, nid);
	while ((z = zone_walk_next(&w)))
		if (!zone_allows(z, 0, MARK_LOW))
			hooks->wake_reclaim(z->node, z->type);
}

static enum mark gfp_mark(gfp_t gfp)
{
	if (gfp & __GFP_MEMALLOC)
		return MARK_NONE;
	return gfp & __GFP_HIGH ? MARK_HALF_MIN : MARK_MIN;
}

static u64 direct_reclaim(gfp_t gfp, unsigned int order, int nid)
{
	const struct octavo_hooks *hooks = octavo_state.hooks;

	if (!(gfp & __GFP_DIRECT_RECLAIM) || !hooks || !hooks->direct_reclaim)
		return 0;
	return hooks->direct_reclaim(gfp, order, nid);
}

static void drain_for(gfp_t gfp)
{
	struct frame_cpu *c;

	/* who may sleep may also wait for other CPUs */
	if (gfp & __GFP_DIRECT_RECLAIM) {
		frame_drain_all();
		return;
	}
	c = frame_cpu(octavo_port_pin());
	if (local_trylock(&c->lock)) {
		magazine_empty(c);
		local_unlock(&c->lock);
	}
	octavo_port_unpin();
}

static __noinline long alloc_slow(gfp_t gfp, unsigned int order, int nid)
{
	bool nofail = (gfp & __GFP_NOFAIL) && (gfp & __GFP_DIRECT_RECLAIM);
	long pfn = zones_alloc(gfp, order, nid, MARK_LOW);

	if (pfn >= 0)
		return pfn;
	wake_reclaim(gfp, nid);
	for (u32 round = 1;; round++) {
		u64 freed;

		pfn = zones_alloc(gfp, order, nid, gfp_mark(gfp));
		if (pfn >= 0)
			return pfn;
		freed = direct_reclaim(gfp, order, nid);
		if (freed && (nofail || !(gfp & __GFP_NORETRY) || round == 1) &&
		    (nofail || round < RECLAIM_ROUNDS))
			continue;
		drain_for(gfp);
		pfn = zones_alloc(gfp, order, nid, gfp_mark(gfp));
		if (pfn >= 0 || !nofail)
			return pfn;
		octavo_port_relax();
	}
}

/*
 * The common case: memory to spare in the first zone, and for small orders something in the magazine.
 * zone->fast has room for the largest of those in it.
 */
static __always_inline long alloc_fast(gfp_t gfp, unsigned int order, u32 nid)
{
	struct zone *z = READ_ONCE(octavo_state.frame.first_zone[nid][gfp_zone(gfp)]);
	struct frame_cpu *c;
	s64 free;
	long pfn;

	if (unlikely(!z))
		return -ENOMEM;
	free = READ_ONCE(z->free) - READ_ONCE(z->isolated);
	if (unlikely(order >= MAG_ORDERS)) {
		if (order > MAX_FOLIO_ORDER || free - (1l << order) < READ_ONCE(z->fast))
			return -ENOMEM;
		return zone_alloc(z, order, gfp_migratetype(gfp));
	}
	if (unlikely(free < READ_ONCE(z->fast)))
		return -ENOMEM;
	c = frame_cpu(octavo_port_pin());
	pfn = magazine_pop(c, zone_key(z), order, gfp_migratetype(gfp));
	octavo_port_unpin();
	if (likely(pfn < 0 || !run_poisoned((unsigned long)pfn, 1ul << order)))
		return pfn;
	keep_out((unsigned long)pfn, 1ul << order);
	return -ENOMEM;
}

long frame_alloc(gfp_t gfp, unsigned int order, int nid)
{
	long pfn;

	if (unlikely((u32)(nid + 1) > OCTAVO_NR_NODES))
		return -EINVAL;
	if (octavo_fault(OCTAVO_FAULT_FRAME) && !(gfp & __GFP_NOFAIL))
		return order > MAX_FOLIO_ORDER ? -EINVAL : -ENOMEM;
	pfn = alloc_fast(gfp, order,
			 nid == NUMA_NO_NODE ? READ_ONCE(octavo_state.frame.home_node) : (u32)nid);
	if (likely(pfn >= 0))
		return pfn;
	return order > MAX_FOLIO_ORDER ? -EINVAL : alloc_slow(gfp, order, nid);
}

unsigned long frame_alloc_bulk(gfp_t gfp, unsigned int order, int nid, unsigned long n,
			       unsigned long *pfns)
{
	unsigned long got = 0;
	struct zone_walk w;
	struct zone *z;
	long pfn;

	if (order > MAX_FOLIO_ORDER || nid < NUMA_NO_NODE || nid >= OCTAVO_NR_NODES ||
	    octavo_fault(OCTAVO_FAULT_FRAME))
		return 0;
	zone_walk_start(&w, gfp, nid);
	while (got < n && (z = zone_walk_next(&w))) {
		u64 frames = (u64)(n - got) << order;
		unsigned long some, kept = 0;

		/* all of the rest, or as much as there is above the mark */
		while (frames >> order && !zone_allows(z, frames, MARK_LOW))
			frames /= 2;
		if (!(frames >> order))
			continue;
		some = zone_take(z, octavo_port_pin(), order, gfp_migratetype(gfp),
				 (unsigned long)(frames >> order), pfns + got);
		octavo_port_unpin();
		if (some)
			zone_account(zone_key(z), -(long)(some << order));
		for (unsigned long i = 0; i < some; i++) {
			if (unlikely(run_poisoned(pfns[got + i], 1ul << order)))
				keep_out(pfns[got + i], 1ul << order);
			else
				pfns[got + kept++] = pfns[got + i];
		}
		got += kept;
	}
	if (!got && n) {
		pfn = alloc_slow(gfp, order, nid);
		if (pfn >= 0)
			pfns[got++] = (unsigned long)pfn;
	}
	return got;
}

/* ---- freeing ---- */

void zone_give(unsigned long pfn, unsigned long nr)
{
	while (nr) {
		unsigned long n =
			min(nr, ALIGN_DOWN(pfn, (unsigned long)TREE_FRAMES) + TREE_FRAMES - pfn);
		section_t key = READ_ONCE(octavo_state.frame.section[pfn_tree(pfn)]);

		lower_give(pfn, n);
		zone_account(key, (long)n);
		pfn += n;
		nr -= n;
	}
}

static __noinline __noreturn void bad_free(unsigned long pfn, unsigned int order)
{
	octavo_panic("frame_free: pfn 0x%lx order %u is no run of frames that are there", pfn,
		     order);
}

/* What can be told cheaply of a run that is being freed: its place, and the word of its first frame. */
static __always_inline section_t check_free(unsigned long pfn, unsigned int order)
{
	const struct frame_state *f = &octavo_state.frame;
	unsigned long nr = 1ul << order;
	section_t key;

	if (unlikely(order > MAX_FOLIO_ORDER || pfn >= f->max_pfn || !IS_ALIGNED(pfn, nr)))
		bad_free(pfn, order);
	key = READ_ONCE(f->section[pfn_tree(pfn)]);
	if (unlikely(!(key & SECTION_PRESENT)))
		bad_free(pfn, order);
	if (order > OCTAVO_TREE_ORDER)
		for (unsigned long n = TREE_FRAMES; n < nr; n += TREE_FRAMES)
			if (unlikely(!pfn_valid(pfn + n)))
				bad_free(pfn, order);
	if (unlikely(READ_ONCE(pfn_to_page(pfn)->memdesc.v)))
		bad_page(pfn, "frame_free: its word is not FREE");
	if (OCTAVO_DEBUG)
		for (unsigned long i = 1; i < nr; i++)
			if (READ_ONCE(pfn_to_page(pfn + i)->memdesc.v))
				bad_page(pfn + i, "frame_free: its word is not FREE");
	return key;
}

static __noinline void free_slow(unsigned long pfn, unsigned int order)
{
	check_free(pfn, order);
	if (unlikely(run_poisoned(pfn, 1ul << order)))
		keep_out(pfn, 1ul << order);
	else
		zone_give(pfn, 1ul << order);
}

void frame_free(unsigned long pfn, unsigned int order)
{
	if (likely(order < MAG_ORDERS && order <= OCTAVO_TREE_ORDER)) {
		section_t key = check_free(pfn, order);

		if (likely(!run_poisoned(pfn, 1ul << order))) {
			struct frame_cpu *c = frame_cpu(octavo_port_pin());
			bool done = magazine_push(c, key, pfn, order);

			octavo_port_unpin();
			if (likely(done))
				return;
		}
	}
	free_slow(pfn, order);
}

void frame_free_bulk(unsigned int order, unsigned long n, const unsigned long *pfns)
{
	unsigned long i = 0;

	while (i < n) {
		section_t key = 0;
		unsigned long start = i;

		/* as many as are good and of one zone */
		for (; i < n; i++) {
			section_t k = check_free(pfns[i], order);

			if (i > start && k != key)
				break;
			key = k;
			if (unlikely(run_poisoned(pfns[i], 1ul << order)))
				break;
		}
		if (i > start) {
			lower_give_batch(order, i - start, pfns + start);
			zone_account(key, (long)((i - start) << order));
		}
		if (i < n && run_poisoned(pfns[i], 1ul << order))
			keep_out(pfns[i++], 1ul << order);
	}
}
