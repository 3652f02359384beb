// SPDX-License-Identifier: MIT
/*
 * unmap_anon.c - entries of anonymous memory become those of the folio's slots.
 *
 * A run goes in parts of equal exclusivity, because an entry of swap form says whether its page was exclusive, and because
 * pages that were not have nothing to ask the pins about. Of each part, with the entries of the whole run invalid and flushed:
 *
 *	1. its slots are counted once more, all or none		undone by folio_put_swap()
 *	2. the embedder agrees (page by page, if it asks at all)
 *	3. nobody has pinned its pages: one look, and they are not exclusive any more. From here on nothing fails
 *	4. entries of slots, counters, reverse map, references
 *
 * If a part fails, what was done for it is undone in the opposite order: slots first, then the entries of this part and of all
 * that come after it. Parts before it have gone. S2.18 to S2.20, S2.28.
 *
 * A leaf goes in one piece: its slots are consecutive, so a table of entries of swap form takes its place, which
 * is there before anything is locked. Splitting it first would come to the same with twice the entries stored, two flushes,
 * and all counts up and down once more; the table is needed either way.
 */
#include <octavo/hooks.h>
#include <octavo/swap.h>

#include "unmap.h"

/* What comes in the place of a part's first entry, which was @e. */
static __always_inline pte_t slot_entry(const struct unmap_run *part, pte_t e, bool exclusive)
{
	pte_t slot = swp_entry_to_pte(folio_swap_entry(part->sr.folio, part->sr.first));

	if (exclusive)
		slot = pte_swp_mkexclusive(slot);
	if (pte_soft_dirty(e))
		slot = pte_swp_mksoft_dirty(slot);
	return pte_uffd_wp(e) ? pte_swp_mkuffd_wp(slot) : slot;
}

/* Runs are of one entry if it asks. */
static __noinline int ask_embedder(const struct unmap_run *part)
{
	VM_BUG_ON(part->sr.nr != 1);
	return octavo_state.hooks->swap_out(part->vma->vm_mm, part->addr,
					    folio_pfn(part->sr.folio) + part->sr.first,
					    folio_swap_entry(part->sr.folio, part->sr.first));
}

/* Steps 1 to 3. Return: 0; -errno: nothing has changed. */
static __always_inline int part_prepare(const struct unmap_run *part, bool exclusive)
{
	int err = folio_dup_swap(part->sr);

	if (err)
		return err;
	if (unlikely(unmap_asks()))
		err = ask_embedder(part);
	if (!err && exclusive)
		err = unmap_run_share(part);
	if (err)
		folio_put_swap(part->sr);
	return err;
}

/* The part of step 4 that is the same for a table's entries and for a leaf: those of slots are there. */
static __always_inline void part_gone(struct ttu *t, const struct unmap_run *part, pte_t seen)
{
	struct mm_struct *mm = part->vma->vm_mm;

	unmap_note_dirty(part, seen);
	unmap_note_high(t, mm);
	move_mm_counter(mm, MM_ANONPAGES, MM_SWAPENTS, (long)part->sr.nr);
	unmap_run_end(part);
}

enum unmap_next unmap_to_swap(struct ttu *t, const struct unmap_run *run, bool begun)
{
	pte_t seen = begun ? unmap_run_seen(run) : unmap_run_begin(run);
	const struct unmap_run *part;
	struct unmap_run mem;
	bool exclusive;

	for (unsigned int at = 0; at < run->nr; at += part->nr) {
		part = unmap_run_alike(run, at, &exclusive, &mem);
		if (part_prepare(part, exclusive)) {
			mem = unmap_run_rest(run, at);
			unmap_run_cancel(&mem);
			return UNMAP_STOP;
		}
		set_swap_ptes(part->ptep, slot_entry(part, seen, exclusive), part->nr);
		part_gone(t, part, seen);
	}
	return UNMAP_GO_ON;
}

enum unmap_next unmap_leaf_to_swap(struct ttu *t, const struct unmap_run *run, struct pt_pos *pos)
{
	pte_t seen = unmap_run_begin(run), slot;
	bool exclusive;

	exclusive = folio_test_anon_exclusive(run->sr.folio, run->sr.first);
	if (part_prepare(run, exclusive)) {
		unmap_run_cancel(run);
		return UNMAP_STOP;
	}
	slot = slot_entry(run, seen, exclusive);
	set_swap_ptes(ptdesc_address(t->table), slot, PTRS_PER_TABLE);
	pte_clear(pos->ptep);
	pgtable_link(pos, t->table);
	t->table = NULL;
	part_gone(t, run, seen);
	return UNMAP_GO_ON;
}
