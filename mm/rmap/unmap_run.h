/* SPDX-License-Identifier: MIT */
/*
 * unmap_run.h - what all ways of taking a folio out of page tables have in common: to migration entries, to swap slots, to nothing.
 *
 * A run is a batch of folio_vma_walk_next(), or a part of one. It goes or stays as a whole:
 *
 *	unmap_run_begin()	hardware cannot use the entries any more, and no translation of them is left. For several runs:
 *				unmap_run_take() each, one flush, unmap_run_seen() each
 *	...			what can fail, and can be taken back
 *	unmap_run_share()	exclusive pages: not any more, unless they are pinned
 *
 * after which nothing can fail:
 *
 *	...			other entries are stored, or none
 *	unmap_run_end()		the mappings and their references are gone
 *
 * or, instead of unmap_run_end(), unmap_run_cancel(): the entries are as they were, with what hardware had set in them. All under
 * one hold of their ptl, so who waits for it finds them in the one state or the other. Who does not wait (look-ups, walks from
 * the top) finds them protected, and comes for the ptl.
 */
#ifndef MM_RMAP_UNMAP_RUN_H
#define MM_RMAP_UNMAP_RUN_H

#include <octavo/mmu_notifier.h>
#include <octavo/rmap.h>

/*
 * For tables that take the place of leaves: out of what is kept for those who free memory, and never by reclaiming more, which may
 * want the lock of the anon_vma that is held.
 */
#define GFP_UNMAP (__GFP_HIGH | __GFP_MEMALLOC | __GFP_NOWARN)

/* Entries of one table, one area and one folio, which map consecutive pages. */
struct unmap_run {
	struct vm_area_struct *vma;
	unsigned long addr; /* of the first */
	pte_t *ptep;
	unsigned int level;
	unsigned int nr;	  /* 1 above the last level */
	struct folio_subrange sr; /* what they map */
	bool usable;		  /* by hardware, before unmap_run_begin() */
};

static inline struct unmap_run unmap_run_of(const struct folio_vma_walk *w)
{
	return (struct unmap_run){
		.vma = w->vma,
		.addr = w->addr,
		.ptep = w->pos.ptep,
		.level = w->pos.level,
		.nr = w->nr,
		.sr = w->sr,
		.usable = !pte_protnone(w->pos.pte),
	};
}

/* @nr entries of a run of the last level, from the @at-th on. */
static inline struct unmap_run unmap_run_part(const struct unmap_run *run, unsigned int at,
					      unsigned int nr)
{
	struct unmap_run part = *run;

	VM_BUG_ON(run->level != PGTABLE_LEVEL_PTE || !nr || at + nr > run->nr);
	part.addr += (unsigned long)at << PAGE_SHIFT;
	part.ptep += at;
	part.nr = nr;
	part.sr.first += at;
	part.sr.nr = nr;
	return part;
}

/* From the @at-th entry on. */
static inline struct unmap_run unmap_run_rest(const struct unmap_run *run, unsigned int at)
{
	return at ? unmap_run_part(run, at, run->nr - at) : *run;
}

/* All bits that hardware or a program may have set differently in the entries of one run. */
static inline u64 unmap_run_noise(void)
{
	return ~pte_wrprotect(pte_mkold(pte_mkclean(__pte(~(u64)0)))).v;
}

/* Does what is there look like a run that begins with @e? */
static inline bool unmap_run_is(const struct unmap_run *run, pte_t e)
{
	const u64 alike = ~unmap_run_noise();

	if (run->nr == 1)
		return !((ptep_get(run->ptep).v ^ e.v) & alike);
	return words_ramp_run(&run->ptep->v, e.v, pte_advance_pfn(__pte(0), 1).v, alike, run->nr,
			      NULL) == run->nr;
}

/* The first half of unmap_run_begin(): translations are left, for a flush that serves several runs. */
static inline void unmap_run_take(const struct unmap_run *run)
{
	if (run->usable)
		ptes_invalidate(run->ptep, run->nr);
}

/* The second half, after the flush. Return: the first entry, dirty if any of them is: none of them changes any more. */
static inline pte_t unmap_run_seen(const struct unmap_run *run)
{
	pte_t e = ptep_get(run->ptep);

	if (run->nr == 1)
		return e;
	VM_BUG_ON(!unmap_run_is(run, e));
	/* one that is dirty says it for all */
	return pte_dirty(e)
		       ? e
		       : __pte(e.v | (words_or(&run->ptep->v, 0, run->nr) & unmap_run_noise()));
}

/* Return: as unmap_run_seen(). */
pte_t unmap_run_begin(const struct unmap_run *run);
void unmap_run_cancel(const struct unmap_run *run);

/*
 * The part of a run, from the @at-th entry on, whose pages are all exclusive or all not. A leaf goes by its first page. S2.19.
 *
 * Return: @run itself if it is all of it, else @part.
 */
static inline const struct unmap_run *unmap_run_alike(const struct unmap_run *run, unsigned int at,
						      bool *exclusive, struct unmap_run *part)
{
	struct folio_subrange rest = { run->sr.folio, run->sr.first + at, run->sr.nr - at };
	unsigned int nr;

	if (run->level != PGTABLE_LEVEL_PTE) {
		*exclusive = folio_test_anon_exclusive(run->sr.folio, run->sr.first);
		return run;
	}
	nr = folio_anon_exclusive_run(rest, exclusive);
	if (likely(nr == run->nr))
		return run;
	*part = unmap_run_part(run, at, nr);
	return part;
}

/* S2.29, for pages that are exclusive: one look at the pins for all of them. Return: 0; -EBUSY: nothing has changed. */
static inline int __must_check unmap_run_share(const struct unmap_run *run)
{
	struct folio_subrange bits = run->sr;

	/* S2.3: one bit stands for a leaf */
	if (run->level != PGTABLE_LEVEL_PTE)
		bits.nr = 1;
	return folio_try_share_anon_rmap(bits, run->level);
}

/* S2.20. Entries were stored that are not this folio's. */
static inline void unmap_run_end(const struct unmap_run *run)
{
	folio_remove_rmap(run->sr, run->vma, run->level);
	folio_put_refs(run->sr.folio, run->nr);
}

/* ---- all of some folios ---- */

enum unmap_next {
	UNMAP_GO_ON,
	UNMAP_AGAIN, /* the same batch, after ->refill() */
	UNMAP_STOP,  /* the folio stays mapped */
};

/*
 * Folios that go at once: they have one mapping, and the pages of each follow on those of the one before. To the reverse map they are
 * as one, up to the batches.
 */
#define UNMAP_MAX_FOLIOS 32u

struct folio_unmap {
	u32 walk_flags;		       /* FVW_... */
	enum mmu_notifier_event event; /* what mirrors are told */
	void *owner;
	/* A batch. Context: its ptl. */
	enum unmap_next (*batch)(struct folio_unmap *u, const struct folio_vma_walk *w);
	/* Gets what a batch lacks. @addr: the batch's. Context: no ptl; sleeps, without reclaim. Return: false: it cannot. */
	bool (*refill)(struct folio_unmap *u, struct vm_area_struct *vma, unsigned long addr);
	/* folio_unmap_walk()'s own */
	struct folio **folios;
	u32 left; /* a bit for each that something may still map, and nothing has stopped */
	u32 todo; /* of these, whose turn it is in this area, and all whose it will be: a batch may see to them */
};

/*
 * Every batch of every area, until of each of the @nr folios one stays or nothing maps it any more. Each area's part is one notifier range.
 * What stays is one folio's business: the others go on. S2.22, S2.36. Context: folios locked, @anon_vma, their mapping, locked for
 * reading; sleeps.
 */
void folio_unmap_walk(struct folio **folios, u32 nr, struct anon_vma *anon_vma,
		      struct folio_unmap *u);

/* ---- migrate_entry.c ---- */

/* A batch becomes migration entries, which dirty the folio if they are. @flags: TTM_... Return: UNMAP_STOP: pinned. */
enum unmap_next unmap_to_migration(const struct folio_vma_walk *w, u32 flags);
/* All migration entries of a folio map it again. Context: folio locked, @anon_vma, its mapping, locked for reading since before they were made. */
void unmap_restore(struct folio *folio, struct anon_vma *anon_vma);

#endif /* MM_RMAP_UNMAP_RUN_H */
