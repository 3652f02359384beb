/* SPDX-License-Identifier: MIT */
/*
 * reclaim_state.h - the part of struct octavo_state of reclaim.
 */
#ifndef OCTAVO_RECLAIM_STATE_H
#define OCTAVO_RECLAIM_STATE_H

#include <octavo/config.h>
#include <octavo/desc_state.h>
#include <octavo/list.h>
#include <octavo/lock.h>
#include <octavo/slab_state.h>

struct folio_set;

/*
 * The clock of a set of folios: those of one group. folio->gen is what it said when the folio was last seen in use.
 */
struct lruvec {
	u32 gen;	       /* (a) relaxed: now; grows by aging, never GEN_NONE or GEN_COLD */
	spinlock_t lock;       /* of who ages, or scans */
	u32 class;	       /* (l) */
	struct slab_scan scan; /* (l) */
	struct folio_set *set; /* whose folios; NULL: those of no set. Constant */
};

/* The background thread of a node. */
struct kswapd {
	u32 wake; /* (a) parks here: 1: there is something to do */
};

enum reclaim_event {
	RECLAIM_SCANNED,
	RECLAIM_FREED,
	RECLAIM_WRITTEN,
	RECLAIM_ACTIVATED,
	RECLAIM_REFAULTS,
	RECLAIM_AGED,
	RECLAIM_KSWAPD,
	RECLAIM_DIRECT,
	RECLAIM_OOM,
	NR_RECLAIM_EVENTS,
};

struct reclaim_state {
	struct lruvec root; /* folios of no group */
	spinlock_t groups_lock;
	struct list_head
		groups; /* of struct mem_cgroup by its all; next NULL: there never was one */
	u32 running;	/* (a) reclaimers: see mm/reclaim/kswapd.c */
	u32 stop;	/* (a) kswapd_stop() */
	struct kswapd kswapd[OCTAVO_NR_NODES];
	u64 event[NR_RECLAIM_EVENTS]; /* (a) relaxed */
};

#endif /* OCTAVO_RECLAIM_STATE_H */
