/* SPDX-License-Identifier: MIT */
/*
 * alloc.c - frame_alloc() and frame_free(): from which zone, and how hard to try. Which tree: search.c.
 *
 * An allocation goes from cheap to dear: this CPU's magazine; a batch from the tree that this CPU has
 * reserved; a tree found by searching the zone; the next zone of the list; then, below the low
 * watermark, with background reclaim woken; then below the min watermark as far as its flags go; then after
 * direct reclaim; and last after a grace period, for what waits for one, and after taking back what
 * CPUs hold for themselves.
 *
 * What it does not do: reclaim, compact, or keep lower zones from being used up by allocations that could
 * have come from higher ones. An allocation that may not sleep cannot get at what other CPUs' magazines hold.
 */
#include <octavo/atomic.h>
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/hwpoison.h>
#include <octavo/page.h>
#include <octavo/rcu.h>

#include "frame_cpu.h"
#include "frame_internal.h"

/* Rounds of direct reclaim before an allocation that may fail does. */
#define RECLAIM_ROUNDS 16

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
	/* acquire: pairs with the release of reclaim_init() */
	const struct reclaim_upcalls *up = smp_load_acquire(&octavo_state.upcalls.reclaim);
	const struct octavo_hooks *hooks = octavo_state.hooks;
	void (*wake)(u32 node, u32 zone) = up	   ? up->wake_reclaim
					   : hooks ? hooks->wake_reclaim
						   : NULL;
	struct zone_walk w;
	struct zone *z;

	if (!(gfp & __GFP_KSWAPD_RECLAIM) || !wake)
		return;
	zone_walk_start(&w, gfp, nid);
	while ((z = zone_walk_next(&w)))
		if (!zone_allows(z, 0, MARK_LOW))
			wake(z->node, z->type);
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
	/* acquire: as above */
	const struct reclaim_upcalls *up = smp_load_acquire(&octavo_state.upcalls.reclaim);

	if (!(gfp & __GFP_DIRECT_RECLAIM))
		return 0;
	if (up)
		return up->direct_reclaim(gfp, order, nid);
	if (!hooks || !hooks->direct_reclaim)
		return 0;
	return hooks->direct_reclaim(gfp, order, nid);
}

static void drain_for(gfp_t gfp)
{
	struct frame_cpu *c;

	/*
	 * Who may sleep may also wait for other CPUs: for readers of page tables that were unmapped, which are memory again then
	 * (at once if there are none), and for what each has for itself.
	 */
	if (gfp & __GFP_DIRECT_RECLAIM) {
		if (!(gfp & __GFP_NORETRY))
			rcu_barrier();
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

	if (unlikely((u32)nid + 1 > OCTAVO_NR_NODES))
		return -EINVAL;
	if (octavo_fault(OCTAVO_FAULT_FRAME) && !(gfp & __GFP_NOFAIL))
		return order > MAX_FOLIO_ORDER ? -EINVAL : -ENOMEM;
	pfn = alloc_fast(gfp, order,
			 nid == NUMA_NO_NODE ? READ_ONCE(octavo_state.frame.home_node) : (u32)nid);
	if (likely(pfn >= 0))
		return pfn;
	return order > MAX_FOLIO_ORDER ? -EINVAL : alloc_slow(gfp, order, nid);
}

/* Up to @n runs of a small order out of this CPU's magazine, which is filled once at most. */
static unsigned long alloc_few(gfp_t gfp, unsigned int order, int nid, unsigned long n,
			       unsigned long *pfns)
{
	const u32 node = nid == NUMA_NO_NODE ? READ_ONCE(octavo_state.frame.home_node) : (u32)nid;
	unsigned long got = 0;
	bool filled = false;

	while (got < n) {
		long pfn = alloc_fast(gfp, order, node);

		if (pfn < 0 && !filled) {
			filled = true;
			pfn = zones_alloc(gfp, order, nid, MARK_LOW);
		}
		if (pfn < 0)
			break;
		pfns[got++] = (unsigned long)pfn;
	}
	return got;
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
	if (n < FRAME_BULK && order < MAG_ORDERS)
		got = alloc_few(gfp, order, nid, n, pfns);
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
	unsigned long nr = 1ul << order % BITS_PER_LONG;
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

/* How many of the runs, from the first on, are to be given back: all up to one with a poisoned frame. */
static __noinline unsigned long count_good(unsigned int order, unsigned long n,
					   const unsigned long *pfns)
{
	unsigned long i = 0;

	while (i < n && !run_poisoned(pfns[i], 1ul << order))
		i++;
	return i;
}

/* Runs of one zone, whose words are FREE. */
static void free_checked(section_t key, unsigned int order, unsigned long n,
			 const unsigned long *pfns)
{
	while (n) {
		unsigned long good = n;

		/* one for all: pairs with memory_failure()'s barrier, see run_poisoned() */
		smp_mb_light();
		if (unlikely(READ_ONCE(octavo_state.hwpoison.nr)))
			good = count_good(order, n, pfns);
		if (likely(good)) {
			lower_give_batch(order, good, pfns);
			zone_account(key, (long)(good << order));
		}
		if (unlikely(good < n))
			keep_out(pfns[good++], 1ul << order);
		pfns += good;
		n -= good;
	}
}

void frame_free_bulk(unsigned int order, unsigned long n, const unsigned long *pfns)
{
	section_t key = n ? check_free(pfns[0], order) : 0;

	while (n) {
		section_t next = key;
		unsigned long i = 1;

		while (i < n && (next = check_free(pfns[i], order)) == key)
			i++;
		free_checked(key, order, i, pfns);
		key = next;
		pfns += i;
		n -= i;
	}
}
