/* SPDX-License-Identifier: MIT */
/*
 * frame_state.h - the frame layer's part of struct octavo_state.
 */
#ifndef OCTAVO_FRAME_STATE_H
#define OCTAVO_FRAME_STATE_H

#include <octavo/lock.h>
#include <octavo/memdesc.h>
#include <octavo/mmzone.h>

/* A page is its word. vmemmap[pfn]; there is no other per-frame array of more than a bit a frame. */
struct page {
	memdesc_t memdesc;
};
BUILD_BUG_ON(sizeof(struct page) != 8);

/*
 * The counters of one tree (16 MiB), all zero when all its frames are free, so that idle memory touches
 * nothing. Words are changed by compare-and-swap only; docs/frames.md has fields and protocol.
 */
struct tree {
	u64 ctl;    /* frames used, owner CPU's reservation, migratetype */
	u64 blk[2]; /* 16 bits a block: frames used, polarity, isolated; four blocks a word */
	u64 summary; /* in every 32nd tree: which of 32 have nothing to give; a hint that may be late */
};
BUILD_BUG_ON(sizeof(struct tree) != 32);

/*
 * A run of sections that belong to one zone. Stored and read as one word (both), so that a reader never sees half
 * of a change. nr 0: an entry that is not used now.
 */
struct zone_span {
	union {
		struct {
			u32 first; /* section number */
			u32 nr;
		};
		u64 both;
	};
};
BUILD_BUG_ON(sizeof(struct zone_span) != 8);
/* A zone has at most one span more than the machine has regions: see movable_bytes in mm/frame/memmap.c. */
#define NR_ZONE_SPANS (OCTAVO_NR_REGIONS + 1)

/*
 * (i) set by octavo_init(), then constant; (h) written under hotplug_lock, and read without it: a reader
 * may miss a span that is being added, or see one whose sections are just gone or belong to another zone
 * by now (it checks the section); (a) atomic.
 */
struct zone {
	u32 node;	     /* (i) */
	enum zone_type type; /* (i) */
	u32 nr_spans;	     /* (h) entries ever used; stored with release after span[] */
	struct zone_span span[NR_ZONE_SPANS]; /* (h) */
	u64 present;			      /* (h) */
	u64 managed;			      /* (h) */
	s64 free;		 /* (a) free frames, less what CPUs have not folded in yet */
	u64 watermark[NR_WMARK]; /* (h) */
	/* Private to the allocator. */
	s64 isolated;  /* (a) free frames in isolated blocks */
	section_t key; /* (i) node and type as in its sections' entries */
	s64 fast; /* (h) with at least so many free, no watermark needs to be looked at closely */
	u64 fold; /* (h) a CPU folds its delta into free when it is larger than this */
	/* (a) hints: no tree below has room for an allocation of this migratetype and class, or any */
	unsigned long rover[MIGRATE_TYPES][3] __cacheline;
	unsigned long rover_any;
};

struct frame_cpu; /* mm/frame/frame_cpu.h: magazines, reservations, counter deltas of one CPU */

struct frame_state {
	/* (i) */
	struct page *vmemmap;
	section_t *section; /* (h) entries stored with release; readers load with acquire */
	void *direct_map;
	unsigned long max_pfn;	/* one past the last pfn that has, or could be given, a word */
	u32 dma_end, dma32_end; /* first sections above ZONE_DMA and ZONE_DMA32 */
	u32 nr_cpus;
	struct tree *tree;     /* [max_pfn >> OCTAVO_TREE_ORDER] */
	unsigned long *bits;   /* a row (2^OCTAVO_ROW_ORDER frames) a word; bit set: taken */
	struct frame_cpu *cpu; /* [nr_cpus] */
	unsigned long meta_first,
		meta_frames; /* carved for metadata; 0 frames: the embedder's own */
	struct zone *zone[OCTAVO_NR_NODES][NR_ZONES]; /* NULL: no such zone; (i) but for hot-add */
	u32 nr_zones_made;  /* (h) entries used of zones; release, acquire */
	struct zone *zones; /* the array they are in, in metadata */
	spinlock_t hotplug_lock;
	/*
	 * (h) For the allocator's fast path: the first zone that an allocation from a node and at most a zone
	 * type tries, NULL: none; and the node of those that do not care.
	 */
	struct zone *first_zone[OCTAVO_NR_NODES][ZONE_MOVABLE + 1];
	u32 home_node;
};

#endif /* OCTAVO_FRAME_STATE_H */
