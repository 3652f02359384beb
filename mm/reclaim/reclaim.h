/* SPDX-License-Identifier: MIT */
/*
 * reclaim.h - what the files of reclaim tell each other; docs/reclaim.md.
 *
 *	scan.c     which folios are old: walks descriptors
 *	age.c      what was used: walks page tables
 *	evict.c    takes folios away: swap slots, unmapping, writing, freeing
 *	pageout.c  MADV_PAGEOUT
 *	kswapd.c   background and direct reclaim
 *	oom.c      when nothing helps
 *	memcg.c    groups; charge.c what they may have, stock.c in batches; protect.c what they may keep
 *	reclaim.c  coming up, numbers
 */
#ifndef MM_RECLAIM_RECLAIM_H
#define MM_RECLAIM_RECLAIM_H

#include <octavo/atomic.h>
#include <octavo/folio.h>
#include <octavo/reclaim.h>
#include <octavo/state.h>
#include <octavo/swap.h>

/* ---- generations ---- */

/* A folio that is older than so many generations may go. */
#define GEN_MIN_AGE 2u

static inline u32 lruvec_now(const struct lruvec *lv)
{
	return READ_ONCE(lv->gen);
}

/* How many generations ago was it used? Never aged: 0, and it is of now from here on. */
static inline u32 folio_age(struct folio *folio, const struct lruvec *lv)
{
	u32 gen = READ_ONCE(folio->gen), now = lruvec_now(lv);

	if (gen == GEN_NONE) {
		WRITE_ONCE(folio->gen, now);
		return 0;
	}
	return gen == GEN_COLD ? ~0u : now - gen;
}

/* It was used. Relaxed: of two who store, either is right. */
static inline void folio_mark_used(struct folio *folio, const struct lruvec *lv)
{
	u32 now = lruvec_now(lv);

	if (READ_ONCE(folio->gen) != now)
		WRITE_ONCE(folio->gen, now);
}

/* Whose clock a folio goes by. The caller has a reference. */
struct lruvec *folio_lruvec(const struct folio *folio);

/*
 * What a slot remembers of the folio whose it was beside its set: the time on that one's clock. Never 0.
 */
#define SHADOW_GEN_MASK ((1u << 22) - 1)

static inline u32 shadow_of(const struct folio *folio)
{
	u32 gen = lruvec_now(folio_lruvec(folio)) & SHADOW_GEN_MASK;

	return gen ? gen : 1;
}

/* How many generations ago, modulo 2^22. */
static inline u32 shadow_age(u64 shadow, const struct lruvec *lv)
{
	return (lruvec_now(lv) - (u32)(shadow >> SWAP_SHADOW_SET_BITS)) & SHADOW_GEN_MASK;
}

/* ---- scan.c ---- */

#define RECLAIM_BATCH 32u

/**
 * scan_old_folios() - some folios that have not been used for long
 * @lv: of which set; the caller has its lock
 * @nid: of which node
 * @max: how many, at most RECLAIM_BATCH
 * @folios: filled with references
 * @lap: set if all descriptors have been looked at since it was last
 * @busy: NULL, or gets a reference of one that is on its way to its slots: to be waited for by who finds nothing else
 *
 * Context: any that may spin. Return: how many.
 */
u32 scan_old_folios(struct lruvec *lv, int nid, u32 max, struct folio **folios, bool *lap,
		    struct folio **busy);

/* Can it be taken away, as far as a look can tell? The caller has a reference. */
bool folio_evictable(const struct folio *folio);

/* ---- age.c ---- */

/* A new generation, and everything used since the last is of it. Context: sleeps. */
void lruvec_age(struct lruvec *lv);

/* ---- kswapd.c ---- */

static inline void count_event(enum reclaim_event event, u64 n)
{
	fetch_add_relaxed(&octavo_state.reclaim.event[event], n);
}

u64 reclaim_direct(gfp_t gfp, unsigned int order, int nid);
void reclaim_wake(u32 node, u32 zone);

/* ---- pageout.c ---- */

int pageout_range(struct vm_area_struct *vma, unsigned long start, unsigned long end);

#endif /* MM_RECLAIM_RECLAIM_H */
