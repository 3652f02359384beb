/* SPDX-License-Identifier: MIT */
/*
 * frame_cpu.h - what each CPU has for itself: magazines, reserved trees, counter deltas.
 */
#ifndef OCTAVO_MM_FRAME_CPU_H
#define OCTAVO_MM_FRAME_CPU_H

#include <octavo/errno.h>
#include <octavo/lock.h>
#include <octavo/state.h>
#include <octavo/string.h>

#include "lower.h"

/* Orders that have magazines; order o has OCTAVO_MAGAZINE >> o entries, so each holds as many frames. */
#define MAG_ORDERS 5

BUILD_BUG_ON(MAG_ORDERS > 8);

#define MAG_SLOTS                                                              \
	((OCTAVO_MAGAZINE) + (OCTAVO_MAGAZINE >> 1) + (OCTAVO_MAGAZINE >> 2) + \
	 (OCTAVO_MAGAZINE >> 3) + (OCTAVO_MAGAZINE >> 4))

/* A zone's index: its bits of the section table, so that a frame's zone costs one load. */
#define ZONE_KEY_MASK (SECTION_NODE_MASK | SECTION_ZONE_MASK)
#define NR_ZONE_KEYS  (OCTAVO_NR_NODES << SECTION_NODE_SHIFT)

/* Frames freed less frames taken that the zone's counter does not know of yet. */
struct zone_delta {
	s64 delta;
	s64 fold; /* further from 0 than this, and it is told */
};

/*
 * Runs of one order and migratetype, all of the zone that key says (the section_t of its sections); the last
 * is handed out next. Their bits say taken, and zone counters say free. pfn[0] is no pfn, so that there
 * always is a last one to compare with.
 */
struct magazine {
	unsigned long *pfn;	  /* [1] to [nr] */
	struct zone_delta *delta; /* of this CPU, for the zone of key */
	u16 nr, cap;
	section_t key;
} __aligned(32); /* and 8 a migratetype: found by shifting, on the hottest path there is */

struct frame_cpu {
	/*
	 * Guards mag and delta against remote drains and against interrupts of this CPU. delta is stored
	 * under it and read anywhere.
	 */
	local_lock_t lock;
	struct magazine mag[MIGRATE_TYPES][8];
	struct zone_delta delta[NR_ZONE_KEYS];
	/*
	 * (a) number + 1 of the tree that is reserved for allocations of a zone type, migratetype and
	 * class; 0: none. Changed by exchange only: whoever gets a number out releases that tree.
	 */
	unsigned long slot[NR_ZONES][MIGRATE_TYPES][NR_CLASSES];
	unsigned long pfns[MIGRATE_TYPES][MAG_SLOTS + MAG_ORDERS];
} __cacheline_pair;

static inline section_t zone_key(const struct zone *z)
{
	return READ_ONCE(z->key);
}

static inline struct zone *key_zone(section_t key)
{
	return octavo_state.frame
		.zone[(key & SECTION_NODE_MASK) >> SECTION_NODE_SHIFT][key & SECTION_ZONE_MASK];
}

static inline struct frame_cpu *frame_cpu(unsigned int cpu)
{
	return octavo_state.frame.cpu + cpu;
}

static inline struct zone_delta *zone_delta(struct frame_cpu *c, section_t key)
{
	return &c->delta[key & ZONE_KEY_MASK];
}

/* @n more frames of a zone are free, or -@n fewer. Under the lock of the CPU whose delta it is. */
static __always_inline void zone_count(struct zone_delta *d, section_t key, long n)
{
	/* hot-plug stores it without the lock */
	s64 sum = d->delta + n, fold = READ_ONCE(d->fold);

	if (unlikely((u64)(sum + fold) > 2 * (u64)fold)) {
		fetch_add_relaxed(&key_zone(key)->free, sum);
		sum = 0;
	}
	WRITE_ONCE(d->delta, sum);
}

/* The same from anywhere. */
void zone_account(section_t key, long n);

/*
 * One run out of a magazine of the pinned CPU @c. -ENOMEM: it is empty or another zone's, or c->lock
 * is held.
 */
static __always_inline long magazine_pop(struct frame_cpu *c, section_t key, unsigned int order,
					 enum migratetype mt)
{
	struct magazine *m = &c->mag[mt][order];
	long pfn = -ENOMEM;

	if (unlikely(!local_trylock(&c->lock)))
		return -ENOMEM;
	if (likely(m->nr && m->key == key)) {
		pfn = (long)m->pfn[m->nr--];
		zone_count(m->delta, key, -(1l << order));
	}
	local_unlock(&c->lock);
	return pfn;
}

/* ---- magazine.c ---- */

void magazine_init(struct frame_cpu *c, u64 frames, u32 cpus);

/* As magazine_pop(); an empty one takes a batch from @z first. */
long magazine_fill_pop(struct frame_cpu *c, struct zone *z, unsigned int order,
		       enum migratetype mt);

/*
 * Make room in a magazine for a frame that magazine_push() has no place for. False: it has no magazine, or that one has
 * another zone's frames. Under c->lock.
 */
bool magazine_room(struct frame_cpu *c, struct magazine *m, section_t key, unsigned int order);

/* A frame is freed that is free. */
__noreturn __cold void frame_free_twice(unsigned long pfn);

/* Give everything in the magazines back. Under c->lock, remote or own. */
void magazine_empty(struct frame_cpu *c);

/*
 * Put a run into a magazine of the pinned CPU @c. False: it is not one for a magazine, or c->lock is held.
 */
static __always_inline bool magazine_push(struct frame_cpu *c, section_t key, unsigned long pfn,
					  unsigned int order)
{
	const struct tree *t = tree_at(pfn_tree(pfn));
	struct magazine *m = &c->mag[ctl_mt(READ_ONCE(t->ctl))][order];
	unsigned int i = pfn_block(pfn), blk;
	bool done = false;

	if (unlikely(!local_trylock(&c->lock)))
		return false;
	/* inside the lock: see the top of magazine.c */
	blk = blk_get(READ_ONCE(t->blk[i / BLK_PER_WORD]), i);
	if (likely(!(blk & BLK_ISOLATED)) &&
	    (likely(m->key == key && m->nr < m->cap) || magazine_room(c, m, key, order))) {
		if (unlikely(!(row_taken(READ_ONCE(*row_of(pfn)), blk) >> pfn % ROW_FRAMES & 1) ||
			     m->pfn[m->nr] == pfn))
			frame_free_twice(pfn);
		m->pfn[++m->nr] = pfn;
		zone_count(m->delta, key, 1l << order);
		done = true;
	}
	local_unlock(&c->lock);
	return done;
}

/* ---- search.c ---- */

/* Up to @want runs from a zone's trees; not counted yet. Pinned to @cpu. */
unsigned long zone_take(struct zone *z, unsigned int cpu, unsigned int order, enum migratetype mt,
			unsigned long want, unsigned long *pfns);

/* first_zone[] and home_node anew: a zone came, went, or is no longer empty. Under hotplug_lock, or at boot. */
void zone_refresh_first(void);

/* ---- alloc.c ---- */

/* Give a run of any length back to its trees, and count it. No magazines. */
void zone_give(unsigned long pfn, unsigned long nr);

/*
 * Of frames that are taken and not counted as free: the poisoned become HWPOISON and stay taken, the others
 * are given back.
 */
void keep_out(unsigned long pfn, unsigned long nr);
/* Is one of these frames, just taken, or whose words were just freed, poisoned? Looks after a light barrier. */
bool run_poisoned(unsigned long pfn, unsigned long nr);

#endif /* OCTAVO_MM_FRAME_CPU_H */
