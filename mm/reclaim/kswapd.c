// SPDX-License-Identifier: MIT
/*
 * kswapd.c - who reclaims, and when: a thread for each node below its low watermark until it is above the high one, and
 * whoever needs memory below the min watermark.
 *
 * A set of folios is gone through in laps. What is old enough is taken; if a lap has not given enough, everything is aged by one
 * generation, and so on, until even what is used all the time has been asked whether it was used just now. After that there is nothing.
 */
#include "memcg.h"

/* Laps in which nothing was freed before it is given up. */
#define HOPELESS_LAPS (GEN_MIN_AGE + 2)

/* Tries of direct reclaim while others are at it too. */
#define DIRECT_TRIES 16u

/* Who has more reclaimers than CPUs has them wait for the same memory. Also ends a recursion, if there were one. */
static bool reclaim_enter(void)
{
	/* acquire: pairs with the release of reclaim_leave(): what others freed is seen */
	u32 old = fetch_add_acquire(&octavo_state.reclaim.running, 1u);

	if (old < 2 * octavo_state.frame.nr_cpus)
		return true;
	fetch_sub_release(&octavo_state.reclaim.running, 1u);
	return false;
}

static void reclaim_leave(void)
{
	fetch_sub_release(&octavo_state.reclaim.running, 1u);
}

/*
 * One step of a lap. The set is one scanner's at a time; the folios that he finds are his, and are taken away without it.
 * Return: frames freed. *lap: it was the last step of one.
 */
static u64 shrink_step(struct lruvec *lv, int nid, u32 max, bool *lap, struct folio **busy)
{
	struct folio *folios[RECLAIM_BATCH];
	u32 nr;

	*lap = false;
	spin_lock(&lv->lock);
	nr = scan_old_folios(lv, nid, max, folios, lap, busy);
	if (*lap)
		lruvec_age(lv);
	spin_unlock(&lv->lock);
	return reclaim_folios(folios, nr, 0);
}

/* Return: frames freed: @want, or what is there; more only as the last folio is large. */
static u64 shrink_lruvec(struct lruvec *lv, int nid, u64 want)
{
	struct folio *busy = NULL;
	u64 freed = 0, before = 0;
	u32 laps = 0;
	bool lap;

	while (freed < want && laps < HOPELESS_LAPS) {
		u32 max = (u32)min(want - freed, (u64)RECLAIM_BATCH);
		u64 n = shrink_step(lv, nid, max, &lap, &busy);

		freed += n;
		if (!lap)
			continue;
		laps = freed == before ? laps + 1 : 0;
		before = freed;
		/* what others have on its way is soon to be had */
		if (laps && busy)
			folio_wait_writeback(busy);
		if (busy)
			folio_put(busy);
		busy = NULL;
	}
	if (busy)
		folio_put(busy);
	return freed;
}

/* Each group of a subtree its turn, until there is enough, and down to what it may keep. */
static u64 shrink_subtree(struct mem_cgroup *top, int nid, u64 want, bool low)
{
	struct mem_cgroup *memcg = NULL;
	u64 freed = 0;

	memcg_protection_begin(top);
	while (freed < want && (memcg = memcg_next(top, memcg))) {
		u64 spare = memcg_spare(memcg, top, low);

		if (spare)
			freed += shrink_lruvec(&memcg->lruvec, nid, min(want - freed, spare));
	}
	if (memcg)
		memcg_put(memcg);
	return freed;
}

/* What low marks protect only if nobody has anything else. Context: sleeps. Return: frames freed. */
u64 shrink_groups(struct mem_cgroup *top, int nid, u64 want)
{
	u64 freed = 0;

	if (!top)
		freed = shrink_lruvec(&octavo_state.reclaim.root, nid, want);
	if (freed >= want || !memcg_any())
		return freed;
	freed += shrink_subtree(top, nid, want - freed, true);
	return freed ? freed : shrink_subtree(top, nid, want, false);
}

/* ---- direct ---- */

/* Grows, or wraps, when somebody has freed something of a subtree, or of anything. */
static u64 progress(const struct mem_cgroup *top)
{
	return top ? -READ_ONCE(top->memory.usage)
		   : READ_ONCE(octavo_state.reclaim.event[RECLAIM_FREED]);
}

u64 reclaim_some(struct mem_cgroup *top, int nid, u64 want)
{
	u64 freed = 0, before;

	if (!reclaim_enter()) {
		octavo_port_relax();
		return 1;
	}
	before = progress(top);
	for (u32 tries = 0; !freed && tries < DIRECT_TRIES; tries++) {
		freed = shrink_groups(top, nid, want);
		/* others have what could be had, locked, and free it for all of us */
		if (!freed)
			freed = (s64)(progress(top) - before) > 0;
		if (!freed && READ_ONCE(octavo_state.reclaim.running) == 1)
			break;
	}
	reclaim_leave();
	return freed;
}

u64 try_to_free_pages(gfp_t gfp, unsigned int order, int nid)
{
	if (!(gfp & __GFP_DIRECT_RECLAIM))
		return 0;
	count_event(RECLAIM_DIRECT, 1);
	/* some more than is needed now, or the next one comes here too */
	order = min(order, (unsigned int)MAX_FOLIO_ORDER);
	return reclaim_some(NULL, nid, max(1ul << order, (unsigned long)RECLAIM_BATCH));
}

u64 reclaim_direct(gfp_t gfp, unsigned int order, int nid)
{
	return try_to_free_pages(gfp, order, NUMA_NO_NODE);
}

/* ---- background ---- */

void reclaim_wake(u32 node, u32 zone)
{
	struct kswapd *k = &octavo_state.reclaim.kswapd[node];

	/* pairs with smp_mb_heavy() in kswapd_wait(): who has been woken before sees what made us call, or we wake again */
	smp_mb_light();
	if (READ_ONCE(k->wake))
		return;
	/* release: pairs with the acquire of kswapd_wait(): what made us call is seen */
	smp_store_release(&k->wake, 1u);
	octavo_port_unpark(&k->wake, true);
}

static bool kswapd_should_stop(void)
{
	/* acquire: pairs with the release of kswapd_stop() */
	return smp_load_acquire(&octavo_state.reclaim.stop);
}

/* Return: false: it is to end. */
static bool kswapd_wait(struct kswapd *k)
{
	while (!kswapd_should_stop()) {
		/* acquire: pairs with the release of reclaim_wake() */
		if (xchg_acquire(&k->wake, 0u)) {
			/* pairs with smp_mb_light() in reclaim_wake() */
			smp_mb_heavy();
			return !kswapd_should_stop();
		}
		octavo_port_park(&k->wake, 0);
	}
	return false;
}

/* Frames that the node's zones lack to their high watermarks. */
static u64 node_missing(u32 nid)
{
	u64 missing = 0;

	for (unsigned int zone = 0; zone < NR_ZONES; zone++) {
		s64 above = zone_above(nid, (enum zone_type)zone, WMARK_HIGH);

		if (above < 0)
			missing += (u64)-above;
	}
	return missing;
}

void kswapd(u32 nid)
{
	struct kswapd *k;

	if (nid >= OCTAVO_NR_NODES)
		octavo_panic("kswapd: there is no node %u", nid);
	k = &octavo_state.reclaim.kswapd[nid];
	while (kswapd_wait(k)) {
		u64 missing;

		count_event(RECLAIM_KSWAPD, 1);
		while ((missing = node_missing(nid)) && !kswapd_should_stop())
			if (!shrink_groups(NULL, (int)nid, min(missing, (u64)RECLAIM_BATCH * 4)))
				break;
	}
}

void kswapd_stop(void)
{
	/* release: pairs with the acquire of kswapd_should_stop() */
	smp_store_release(&octavo_state.reclaim.stop, 1u);
	for (u32 nid = 0; nid < OCTAVO_NR_NODES; nid++)
		reclaim_wake(nid, 0);
}
