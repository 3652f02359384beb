// SPDX-License-Identifier: MIT
/*
 * unmap_lazyfree.c - memory that nobody wants back unless he has written to it: MADV_FREE, and droppable areas.
 *
 * What is clean goes, and there is nothing instead. Whether it is clean can be changed by who has an entry, and by who has a reference;
 * so the entries go first, and then it is asked about the references. Somebody who gets one through an entry that he has
 * read before reads the entry again after it. Both sides in one order (seq_cst), so either we see his reference, or he sees
 * the entry gone. Who had a reference and dropped it marked the folio dirty before that: it is looked at last. S2.16.
 *
 * 1. If all entries of the folio are one run, that is done under its ptl: with that and the folio's lock no entry comes, so the
 *    references are the run's, the caller's, and those of others.
 *
 * 2. If there are more, nobody can be asked while some of them are there: others map and unmap it, and no one look at the counts says
 *    how many references are entries'. So all of them become migration entries first, which have no reference and which who needs the page
 *    waits for; then the only reference is the caller's, or somebody holds it; and then all of them go, or all come back as they were.
 *    The anon_vma's lock is held all the while: no area goes, and who forks or moves entries does it in the order in which we go
 *    (migrate_entry.c relies on the same).
 *
 * So a folio goes from everybody or from nobody, and what one has written is not gone for the other.
 */
#include "unmap.h"
#include "../rmap/rmap_internal.h"

/*
 * Does anybody hold it but @nr entries and the caller? seq_cst: pairs with the references of get_user_pages_fast(), as ptep_invalidate()
 * with its second look at entries. Acquire is in it: pairs with the release of who drops his: PG_dirty comes after.
 */
static bool others_hold(const struct folio *folio, u32 nr)
{
	return smp_load_seq_cst(&folio->refcount) != 1 + nr;
}

/* ---- one run ---- */

enum unmap_next unmap_lazyfree(struct ttu *t, const struct unmap_run *run, bool begun)
{
	struct folio *folio = run->sr.folio;
	bool held, dirty;
	pte_t seen;

	if (!begun && !unmap_run_is_all(run)) {
		t->several |= t->u.todo & -t->u.todo;
		return UNMAP_STOP;
	}
	seen = begun ? unmap_run_seen(run) : unmap_run_begin(run);
	held = others_hold(folio, run->nr);
	/* after the references: it was dirtied before one of them was dropped, release, or not at all */
	dirty = (pte_dirty(seen) || folio_test_flag(folio, PG_dirty)) &&
		!(READ_ONCE(run->vma->vm_flags) & VM_DROPPABLE);
	if (dirty || held) {
		unmap_run_cancel(run);
		/* it has contents again */
		if (dirty)
			folio_set_flag(folio, PG_swapbacked);
		return UNMAP_STOP;
	}
	/* nothing else writes to entries that are invalid */
	clear_ptes(run->ptep, run->nr);
	unmap_count(t, run->vma->vm_mm, run->sr.nr);
	unmap_run_end(run);
	return UNMAP_GO_ON;
}

/* ---- several ---- */

struct lazy {
	struct folio_unmap u;
	struct ttu *t;
	bool wanted; /* by an area that is not droppable, if it was written to */
};

static enum unmap_next lazy_batch(struct folio_unmap *u, const struct folio_vma_walk *w)
{
	struct lazy *l = container_of(u, struct lazy, u);

	if (unmap_area_keeps(l->t, w))
		return UNMAP_STOP;
	if (!(READ_ONCE(w->vma->vm_flags) & VM_DROPPABLE))
		l->wanted = true;
	return unmap_to_migration(w, 0);
}

/* Past the point of no return: migration entries of an area go. They have no reference, and are counted as the pages were. */
static bool discard_one(struct folio *folio, struct vm_area_struct *vma, unsigned long addr,
			void *arg)
{
	struct folio_vma_walk w = folio_vma_walk(folio, vma, FVW_MIGRATION);
	struct ttu *t = arg;

	while (folio_vma_walk_next(&w)) {
		clear_ptes(w.pos.ptep, w.nr);
		unmap_count(t, vma->vm_mm, w.sr.nr);
	}
	return true;
}

void unmap_lazyfree_all(struct ttu *t, struct folio *folio, struct anon_vma *anon_vma)
{
	struct lazy l = {
		.u = {
			.walk_flags = FVW_SYNC,
			.event = MMU_NOTIFY_CLEAR,
			.batch = lazy_batch,
		},
		.t = t,
	};
	const struct rmap_walk_control discard = { .rmap_one = discard_one, .arg = t };
	bool held;

	folio_unmap_walk(&folio, 1, anon_vma, &l.u);
	held = folio_mapped(folio) || others_hold(folio, 0);
	/* after the references, as above; what entries said is the folio's now */
	if (l.wanted && folio_test_flag(folio, PG_dirty))
		folio_set_flag(folio, PG_swapbacked);
	else if (!held) {
		rmap_walk_locked(anon_vma, READ_ONCE(folio->index), folio_nr_pages(folio), folio,
				 &discard);
		return;
	}
	unmap_restore(folio, anon_vma);
}
