/* SPDX-License-Identifier: MIT */
/*
 * unmap.h - what the files of try_to_unmap() tell each other; docs/unmap.md.
 *
 *	unmap.c            the walk, and what kind each batch is of
 *	unmap_neighbours.c several runs, and one flush
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

/* @begun: the entries are invalid and flushed; of what is freed lazily they are all. */
enum unmap_next unmap_to_swap(struct ttu *t, const struct unmap_run *run, bool begun);
/* For what a run is in the page tables: only a leaf's kinds need it. */
enum unmap_next unmap_leaf_to_swap(struct ttu *t, const struct unmap_run *run, struct pt_pos *pos);
enum unmap_next unmap_lazyfree(struct ttu *t, const struct unmap_run *run, bool begun);
/* After t->several: all entries or none. Context: folio locked, its anon_vma locked for reading. */
void unmap_lazyfree_all(struct ttu *t, struct folio *folio, struct anon_vma *anon_vma);
/* Of an area of locked memory: it keeps the batch. */
bool unmap_locked(const struct ttu *t, const struct folio_vma_walk *w);
/* Bad pages of a run go; others go by their kind, or stay: it is always gone on. */
enum unmap_next unmap_poisoned(struct ttu *t, const struct unmap_run *run);
/* By the folio's kind, for a run of the last level. */
enum unmap_next unmap_kind(struct ttu *t, const struct unmap_run *run);
/* The same of a run of @e, and of the folios behind it as far as they are mapped like it: they have had their turns then. */
enum unmap_next unmap_neighbours(struct ttu *t, const struct unmap_run *run, pte_t e);

/* Does the embedder want to be asked about each page that goes to swap? S2.21 */
static inline bool unmap_asks(void)
{
	return octavo_state.hooks && octavo_state.hooks->swap_out;
}

/* The area keeps its memory. Context: the ptl of the batch. */
static inline bool unmap_area_keeps(const struct ttu *t, const struct folio_vma_walk *w)
{
	return unlikely(READ_ONCE(w->vma->vm_flags) & VM_LOCKED) && unmap_locked(t, w);
}

/* Nothing else maps the folio. Under the ptl of an entry that all others come from: it can become so, and then it stays so. */
static inline bool unmap_run_is_all(const struct unmap_run *run)
{
	return (u32)folio_mapcount(run->sr.folio) == run->nr;
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
