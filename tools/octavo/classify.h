/* SPDX-License-Identifier: MIT */
/*
 * classify.h - from the flags of /proc/kpageflags to what a frame is. Pure functions of their input.
 */
#ifndef OCTAVO_TOOL_CLASSIFY_H
#define OCTAVO_TOOL_CLASSIFY_H

#include "population.h"

/* Bits of /proc/kpageflags: a documented, stable interface of the kernel, from bit 32 on less so. */
enum kpf {
	KPF_LOCKED = 0,
	KPF_ERROR = 1,
	KPF_REFERENCED = 2,
	KPF_UPTODATE = 3,
	KPF_DIRTY = 4,
	KPF_LRU = 5,
	KPF_ACTIVE = 6,
	KPF_SLAB = 7,
	KPF_WRITEBACK = 8,
	KPF_RECLAIM = 9,
	KPF_BUDDY = 10,
	KPF_MMAP = 11,
	KPF_ANON = 12,
	KPF_SWAPCACHE = 13,
	KPF_SWAPBACKED = 14,
	KPF_COMPOUND_HEAD = 15,
	KPF_COMPOUND_TAIL = 16,
	KPF_HUGE = 17,
	KPF_UNEVICTABLE = 18,
	KPF_HWPOISON = 19,
	KPF_NOPAGE = 20,
	KPF_KSM = 21,
	KPF_THP = 22,
	KPF_OFFLINE = 23,
	KPF_ZERO_PAGE = 24,
	KPF_IDLE = 25,
	KPF_PGTABLE = 26,
	KPF_RESERVED = 32,
	KPF_MLOCKED = 33,
	KPF_MAPPEDTODISK = 34,
	KPF_LAST = 47, /* bits 33 to here are hints for debugging that come and go */
};
#define KPF(name) (1ull << KPF_##name)

/* What the flags of a frame that is alone, or first of a compound page, say. */
enum pop_type classify_flags(u64 flags);

/* Can a running kernel have written this? Foreign files are full of words that it can't. */
bool flags_possible(u64 flags);

/*
 * Frames in the order of their pfns, one by one; compound pages are put together. Feed all, then finish.
 */
struct classifier {
	struct population *pop;
	/* The compound page that is being read; nr 0: none. */
	u64 first, nr, mapped;
	enum pop_type type;
	u64 impossible; /* frames whose flags no kernel writes */
	u64 flagged;	/* frames with any flag */
};

void classify_init(struct classifier *c, struct population *pop);
void classify_feed(struct classifier *c, u64 flags, u64 count);
void classify_finish(struct classifier *c);

/* One zone, as /proc/zoneinfo has it. */
struct zone_line {
	u32 node;
	char name[16];
	u64 start, spanned, present, managed, free, pcp;
};

/**
 * resolve_unflagged() - say what the frames without a flag are, as far as the zones' counters tell
 *
 * Outside all zones: holes. Inside, in long runs only: holes as far as spanned exceeds present, memory that is not
 * in use yet as far as present exceeds what is managed or reserved. The rest: other kernel.
 * Out of memory shows as pop->failed.
 */
void resolve_unflagged(struct population *pop, const struct zone_line *zones, u32 nr_zones);

#endif /* OCTAVO_TOOL_CLASSIFY_H */
