/* SPDX-License-Identifier: MIT */
/*
 * frame_cpu.h - what each CPU has for itself: magazines, reserved trees, counter deltas.
 */
#ifndef OCTAVO_MM_FRAME_CPU_H
#define OCTAVO_MM_FRAME_CPU_H

#include <octavo/lock.h>
#include <octavo/state.h>
#include <octavo/string.h>

#include "lower.h"

/* Orders that have magazines; order o has OCTAVO_MAGAZINE >> o entries, so each holds as many frames. */
#define MAG_ORDERS 5

#define MAG_SLOTS                                                              \
	((OCTAVO_MAGAZINE) + (OCTAVO_MAGAZINE >> 1) + (OCTAVO_MAGAZINE >> 2) + \
	 (OCTAVO_MAGAZINE >> 3) + (OCTAVO_MAGAZINE >> 4))

/* A zone's index: its bits of the section table, so that a frame's zone costs one load. */
#define ZONE_KEY_MASK (SECTION_NODE_MASK | SECTION_ZONE_MASK)
#define NR_ZONE_KEYS  (OCTAVO_NR_NODES << SECTION_NODE_SHIFT)

/*
 * Runs of one order and migratetype, all of the zone that key says (the section_t of its sections);
 * the last is handed out next. Their bits say taken, and zone counters say free.
 */
struct magazine {
	unsigned long *pfn;
	u16 nr, cap;
	section_t key;
};

/* Frames freed less frames taken that the zone's counter does not know of yet. */
struct zone_delta {
	s64 delta;
	s64 fold; /* more than this and it is told */
};

struct frame_cpu {
	/*
	 * Guards mag and delta against remote drains and against interrupts of this CPU. delta is stored
	 * under it and read anywhere.
	 */
	local_lock_t lock;
	struct magazine mag[MIGRATE_TYPES][MAG_ORDERS];
	struct zone_delta delta[NR_ZONE_KEYS];
	/*
	 * (a) number + 1 of the tree that is reserved for allocations of a zone type, migratetype and
	 * class; 0: none. Changed by exchange only: whoever gets a number out releases that tree.
	 */
	unsigned long slot[NR_ZONES][MIGRATE_TYPES][NR_CLASSES];
	unsigned long pfns[MIGRATE_TYPES][MAG_SLOTS + 1];
} __cacheline;

static inline section_t zone_key(const struct zone *z)
{
	return (section_t)(SECTION_PRESENT | z->node << SECTION_NODE_SHIFT |
			   (u32)z->type << SECTION_ZONE_SHIFT);
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

/* @n more frames of a zone are free, or -@n fewer. Under c->lock. */
static inline void zone_count(struct frame_cpu *c, section_t key, long n)
{
	struct zone_delta *d = &c->delta[key & ZONE_KEY_MASK];
	s64 sum = d->delta + n;

	if (unlikely(sum > d->fold || sum < -d->fold)) {
		fetch_add_relaxed(&key_zone(key)->free, sum);
		sum = 0;
	}
	WRITE_ONCE(d->delta, sum);
}

/* The same from anywhere. */
void zone_account(section_t key, long n);

/* ---- magazine.c ---- */

void magazine_init(struct frame_cpu *c, u64 frames, u32 cpus);

/*
 * One run out of a magazine of the pinned CPU @c. -ENOMEM: empty, another zone's, or c->lock is held. With @fill an
 * empty one takes a batch from @z first.
 */
long magazine_get(struct frame_cpu *c, struct zone *z, unsigned int order, enum migratetype mt,
		  bool fill);

/* False: not one for a magazine; c->lock is held; another zone's frames are in it. */
bool magazine_put(struct frame_cpu *c, section_t key, unsigned long pfn, unsigned int order);

/* Give everything in the magazines back. Under c->lock, remote or own. */
void magazine_empty(struct frame_cpu *c);

/* ---- alloc.c ---- */

/* Up to @want runs from a zone's trees; not counted yet. Pinned to @cpu. */
unsigned long zone_take(struct zone *z, unsigned int cpu, unsigned int order, enum migratetype mt,
			unsigned long want, unsigned long *pfns);

/* first_zone[] and home_node anew: a zone came, went, or is no longer empty. Under hotplug_lock, or at boot. */
void zone_refresh_first(void);

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
