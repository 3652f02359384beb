/* SPDX-License-Identifier: MIT */
/*
 * reclaim.h - taking memory back: unmapping, generations, background and direct reclaim, out of memory.
 *
 * An embedder that has swap devices calls reclaim_init() once, and runs kswapd() in a thread of its own for each node.
 * docs/unmap.md and docs/reclaim.md have the design.
 */
#ifndef OCTAVO_RECLAIM_H
#define OCTAVO_RECLAIM_H

#include <octavo/gfp.h>
#include <octavo/mm_types.h>

struct folio;

/* ---- unmap: mm/reclaim/unmap*.c ---- */

#define TTU_SPLIT_LEAVES \
	0x01u /* entries above the last level are split first; else they go as a whole */
#define TTU_IGNORE_MLOCK 0x02u
#define TTU_SYNC \
	0x04u /* counts are settled when it returns: the walk takes locks where entries look empty */
#define TTU_HWPOISON 0x08u /* leave hwpoison entries, page by page */
#define TTU_SINGLE   0x20u /* one entry at a time: to measure what batches are worth */

/**
 * try_to_unmap() - take a folio out of all page tables
 * @folio: locked; a reference is the caller's. Anonymous and swapbacked: in the swap cache (entries become those of its
 *	slots); not swapbacked: lazily freed (entries go, if it is clean and nobody else has it)
 * @flags: TTU_...
 *
 * Works on runs of entries: each is made unusable, flushed, asked once about pins, and then goes or comes back. What cannot
 * go, because it is pinned, locked in memory (then it is marked PG_mlocked), or written to meanwhile, stays mapped exactly as it
 * was, and ends the work: what had gone before is gone. Lazily freed memory that was written to is PG_swapbacked after. Memory
 * is needed for entries above the last level alone, one table for each.
 *
 * With TTU_HWPOISON bad pages go whatever else does; of the others, those that can.
 *
 * Context: sleeps; no lock of an anon_vma held. Return: true: nothing maps it any more.
 */
bool try_to_unmap(struct folio *folio, u32 flags);

/**
 * try_to_unmap_folios() - the same for several
 * @folios: each as for try_to_unmap()
 * @nr: how many
 * @flags: TTU_...
 *
 * Those in a row whose pages follow on one another in one area, up to a page table's worth (512 pages), go at once: one look for
 * areas, one notifier range for each, one hold of a table's lock, one flush. What stops one of them does not stop the others. folio_mapped()
 * says which have stayed.
 *
 * Context: sleeps; no lock of an anon_vma held.
 */
void try_to_unmap_folios(struct folio **folios, u32 nr, u32 flags);

/* ---- reclaim ---- */

/* Comes up. Context: sleeps. Return: 0; -ENOMEM. Again is harmless. */
int reclaim_init(void);
/* Body of the background thread of a node: returns after kswapd_stop(). Fatal: no number of a node. */
void kswapd(u32 nid);
void kswapd_stop(void);

/**
 * reclaim_folios() - unmap, write and free folios that the caller has
 * @folios: references are the caller's, and are dropped; those that stay are as they were (perhaps split)
 * @nr: how many
 *
 * What MADV_PAGEOUT, background and direct reclaim do with what they have chosen. Context: sleeps. Return: frames freed.
 */
u64 reclaim_folios(struct folio **folios, u32 nr, u32 flags);
#define RECLAIM_ANYWAY 1u /* young or not */

/**
 * try_to_free_pages() - direct reclaim
 *
 * Return: frames freed; 0: there is nothing.
 */
u64 try_to_free_pages(gfp_t gfp, unsigned int order, int nid);

/* One round of aging: page tables are walked, what was used since the last is of the newest generation. */
void reclaim_age(void);

struct reclaim_stat {
	u64 scanned, reclaimed, written, refaults, activated;
	u64 aged; /* rounds */
	u64 kswapd_runs, direct_runs, oom_kills;
};
/* Sums; exact when quiet. */
void reclaim_stat(struct reclaim_stat *st);

/**
 * oom_choose() - whose memory would help most
 *
 * Return: an address space, with a reference (mmgrab), or NULL. The embedder ends its threads and puts it.
 */
struct mm_struct *oom_choose(void);

#endif /* OCTAVO_RECLAIM_H */
