// SPDX-License-Identifier: MIT
/*
 * unmap.c - try_to_unmap(): folios go out of all page tables, those that are neighbours at once.
 *
 * 1. A walk finds runs of entries; what becomes of a run is one small function's business, one for each kind of
 *    memory. Each does its work in three steps: what can fail and be taken back; the point of no return, which is the answer
 *    to "is it pinned, or in use?"; and the rest, which cannot fail.
 *
 * 2. A run that stays ends the walk: the folio is still mapped then, and going on would only make faults. What went
 *    before it is gone, and correct in itself: entries, counts, references.
 *
 * 3. Translations are flushed once a run, or once for the runs of neighbours (unmap_neighbours.c), under the ptl, before anything is
 *    decided. Nothing is put off beyond that (docs/unmap.md says why), so nobody who finds an entry of swap form has to ask whether a CPU still
 *    goes by what was there before.
 *
 * 4. Locked memory is found under the ptl: who sets VM_LOCKED goes through the tables after it, and finds what we did, or
 *    we see the flag.
 *
 * What it does not do: choose slots, write, free.
 */
#include "unmap.h"

/* What is mapped whole by the area is marked, so that nobody tries again. S2.14 */
__cold bool unmap_locked(const struct ttu *t, const struct folio_vma_walk *w)
{
	if (t->flags & TTU_IGNORE_MLOCK)
		return false;
	if (w->sr.nr == folio_nr_pages(w->folio) && !folio_test_flag(w->folio, PG_mlocked))
		folio_set_flag(w->folio, PG_mlocked);
	return true;
}

/* Something in the batch must be done page by page. */
static bool batch_poisoned(const struct ttu *t, const struct folio *folio)
{
	return unlikely(t->flags & TTU_HWPOISON) && folio_test_flag(folio, PG_hwpoison);
}

/* A leaf cannot go as it is. */
static bool leaf_splits(const struct ttu *t, const struct folio *folio)
{
	return t->flags & TTU_SPLIT_LEAVES || batch_poisoned(t, folio) ||
	       (folio_test_flag(folio, PG_swapbacked) && unmap_asks());
}

enum unmap_next unmap_kind(struct ttu *t, const struct unmap_run *run)
{
	u32 flags = READ_ONCE(run->sr.folio->flags);

	if (flags & 1u << PG_swapbacked)
		return flags & 1u << PG_swapcache ? unmap_to_swap(t, run, false) : UNMAP_STOP;
	/* lazily freed memory is never cached: its contents are not wanted */
	VM_WARN_ON(flags & 1u << PG_swapcache);
	return flags & 1u << PG_swapcache ? UNMAP_STOP : unmap_lazyfree(t, run, false);
}

static enum unmap_next leaf_kind(struct ttu *t, const struct unmap_run *run,
				 const struct folio_vma_walk *w)
{
	struct folio *folio = run->sr.folio;
	struct pt_pos pos = w->pos;

	if (leaf_splits(t, folio)) {
		t->split = true;
		return UNMAP_AGAIN;
	}
	if (!folio_test_flag(folio, PG_swapbacked) || !folio_test_flag(folio, PG_swapcache))
		return unmap_kind(t, run);
	t->split = false;
	return t->table ? unmap_leaf_to_swap(t, run, &pos) : UNMAP_AGAIN;
}

static enum unmap_next ttu_batch(struct folio_unmap *u, const struct folio_vma_walk *w)
{
	struct ttu *t = container_of(u, struct ttu, u);
	struct unmap_run run;

	/* A device has it for itself: its driver migrates it. */
	if (!pte_present(w->pos.pte) || unmap_area_keeps(t, w))
		return UNMAP_STOP;
	run = unmap_run_of(w);
	if (run.level != PGTABLE_LEVEL_PTE)
		return leaf_kind(t, &run, w);
	if (batch_poisoned(t, w->folio))
		return unmap_poisoned(t, &run);
	return u->todo & (u->todo - 1) ? unmap_neighbours(t, &run, w->pos.pte)
				       : unmap_kind(t, &run);
}

static bool ttu_refill(struct folio_unmap *u, struct vm_area_struct *vma, unsigned long addr)
{
	struct ttu *t = container_of(u, struct ttu, u);

	if (t->split)
		return !split_leaf_gfp(vma, addr, GFP_UNMAP);
	t->table = pagetable_alloc_raw(GFP_UNMAP);
	return t->table;
}

/* ---- folios ---- */

static u32 walk_flags(const struct folio *folio, u32 flags)
{
	u32 fvw = flags & TTU_SYNC ? FVW_SYNC : 0;

	if (flags & TTU_SINGLE || (folio_test_flag(folio, PG_swapbacked) && unmap_asks()))
		fvw |= FVW_SINGLE;
	return fvw;
}

/* How many of @nr, the first for one, are as one to the reverse map, and not more than a table's? */
static u32 group_size(struct folio **folios, u32 nr)
{
	const struct folio *folio = folios[0];
	unsigned long pages = folio_nr_pages(folio), next = READ_ONCE(folio->index) + pages;
	const void *mapping = READ_ONCE(folio->mapping);
	u32 n = 1;

	BUG_ON(!folio_test_locked(folio));
	/* kinds differ in how they are walked */
	if (unlikely(unmap_asks()))
		return 1;
	for (nr = min(nr, UNMAP_MAX_FOLIOS); n < nr; n++) {
		folio = folios[n];
		if (READ_ONCE(folio->mapping) != mapping || READ_ONCE(folio->index) != next)
			break;
		pages += folio_nr_pages(folio);
		if (pages > PTRS_PER_TABLE)
			break;
		next += folio_nr_pages(folio);
		BUG_ON(!folio_test_locked(folio));
	}
	return n;
}

/* The lock of what maps any of them. NULL: nothing does. */
static struct anon_vma *group_lock(struct folio **folios, u32 nr)
{
	struct anon_vma *anon_vma = NULL;

	for (u32 i = 0; i < nr && !anon_vma; i++)
		anon_vma = folio_lock_anon_vma_read(folios[i]);
	return anon_vma;
}

static void unmap_group(struct folio **folios, u32 nr, u32 flags)
{
	struct ttu t = {
		.u = {
			.walk_flags = walk_flags(folios[0], flags),
			.event = MMU_NOTIFY_CLEAR,
			.batch = ttu_batch,
			.refill = ttu_refill,
		},
		.flags = flags,
	};
	struct anon_vma *anon_vma = group_lock(folios, nr);

	if (!anon_vma)
		return;
	folio_unmap_walk(folios, nr, anon_vma, &t.u);
	for (u32 todo = t.several; todo; todo &= todo - 1)
		unmap_lazyfree_all(&t, folios[__builtin_ctz(todo)], anon_vma);
	anon_vma_unlock_read(anon_vma);
	if (t.table)
		pagetable_free(t.table);
}

void try_to_unmap_folios(struct folio **folios, u32 nr, u32 flags)
{
	for (u32 at = 0, n; at < nr; at += n) {
		n = group_size(folios + at, nr - at);
		unmap_group(folios + at, n, flags);
	}
}

bool try_to_unmap(struct folio *folio, u32 flags)
{
	BUG_ON(!folio_test_locked(folio));
	unmap_group(&folio, 1, flags);
	return !folio_mapped(folio);
}
