/* SPDX-License-Identifier: MIT */
/*
 * unmap.h - what the files of try_to_unmap() tell each other; docs/unmap.md.
 *
 *	unmap.c            the walk, and what kind each batch is of
 *	unmap_anon.c       to slots of swap
 *	unmap_lazyfree.c   to nothing
 *	unmap_hwpoison.c   bad pages, one by one
 *
 * A kind is given a run (unmap_run.h), and either all of what it answers UNMAP_GO_ON for is gone, or some first part of
 * it, and the rest is mapped as it was.
 */
#ifndef MM_RECLAIM_UNMAP_H
#define MM_RECLAIM_UNMAP_H

#include <octavo/mm.h>
#include <octavo/reclaim.h>

#include "../rmap/unmap_run.h"

struct ttu {
	struct folio_unmap u;
	u32 flags;  /* TTU_... */
	bool split; /* refill: split the leaf; else bring a table */
	u32 several; /* a bit for each lazily freed folio that has entries elsewhere, too: nothing was done */
	struct ptdesc *table;	      /* for what comes in the place of a leaf */
	const struct mm_struct *high; /* whose highest number of pages is up to date */
};

/* For what a run is in the page tables: only a leaf's kinds need it. */
enum unmap_next unmap_to_swap(struct ttu *t, const struct unmap_run *run);
enum unmap_next unmap_leaf_to_swap(struct ttu *t, const struct unmap_run *run, struct pt_pos *pos);
enum unmap_next unmap_lazyfree(struct ttu *t, const struct unmap_run *run);
/* After t->several: all entries or none. Context: folio locked, its anon_vma locked for reading. */
void unmap_lazyfree_all(struct ttu *t, struct folio *folio, struct anon_vma *anon_vma);
/* The area keeps its memory. Context: the ptl of the batch. */
bool unmap_area_keeps(const struct ttu *t, const struct folio_vma_walk *w);
/* Bad pages of a run go; others go by their kind, or stay: it is always gone on. */
enum unmap_next unmap_poisoned(struct ttu *t, const struct unmap_run *run);
/* By the folio's kind, for a run of the last level. */
enum unmap_next unmap_kind(struct ttu *t, const struct unmap_run *run);

/* Does the embedder want to be asked about each page that goes to swap? S2.21 */
static inline bool unmap_asks(void)
{
	return octavo_state.hooks && octavo_state.hooks->swap_out;
}

/* There are about to be fewer pages: the most that there were is noted before. */
static inline void unmap_note_high(struct ttu *t, struct mm_struct *mm)
{
	if (t->high == mm)
		return;
	update_hiwater_rss(mm);
	t->high = mm;
}

/* @nr pages are not counted as there any more. */
static inline void unmap_count(struct ttu *t, struct mm_struct *mm, u32 nr)
{
	unmap_note_high(t, mm);
	add_mm_counter(mm, MM_ANONPAGES, -(long)nr);
}

/* What hardware said of a run's pages is the folio's to remember. */
static inline void unmap_note_dirty(const struct unmap_run *run, pte_t seen)
{
	if (pte_dirty(seen) && !folio_test_flag(run->sr.folio, PG_dirty))
		folio_set_flag(run->sr.folio, PG_dirty);
}

#endif /* MM_RECLAIM_UNMAP_H */
