// SPDX-License-Identifier: MIT
/*
 * folio_vma_walk.c - from a folio and a VMA to the page-table entries that map it there.
 *
 * A page has one address in a VMA, but its entry need not map it: it may be gone, or be a copy's, or be in a
 * table that is not there. So the walk goes through the tables of that range of addresses, and takes
 * what names the folio's own frame at its place. It holds the ptl of a table until the range leaves the table, and
 * gives out runs of entries, so that what is done with them costs once for the run.
 *
 * Tables may go, come and be moved while no ptl is held: each is found anew from the top, under RCU, and checked
 * to be linked when it is locked. A part of the range that has no table is passed over by the size of the
 * entry that says so.
 *
 * What it does not do: change anything.
 */
#include "rmap_internal.h"

/* What kind of entry of a folio is it? 0: none. */
#define KIND_NONE    0u
#define KIND_PRESENT 1u
#define KIND_SWAP    2u /* + its type */

static inline unsigned int entry_kind(pte_t e)
{
	swp_entry_t entry;

	if (pte_present(e))
		return pte_special(e) ? KIND_NONE : KIND_PRESENT;
	if (pte_none(e))
		return KIND_NONE;
	entry = pte_to_swp_entry(e);
	return is_pfn_swap_entry(entry) || is_device_private_entry(entry)
		       ? KIND_SWAP + swp_type(entry)
		       : KIND_NONE;
}

/* The place of what maps the folio at @addr. */
static inline unsigned long walk_place(const struct folio_vma_walk *w, unsigned long addr)
{
	return w->base + (addr >> PAGE_SHIFT);
}

/* The kind of an entry at @addr if it is one that is looked for, else 0. */
static inline unsigned int walk_match(const struct folio_vma_walk *w, pte_t e, unsigned long addr)
{
	unsigned int kind = entry_kind(e);
	unsigned long place;
	bool migration;

	if (kind == KIND_NONE)
		return KIND_NONE;
	migration = kind != KIND_PRESENT && is_migration_entry(pte_to_swp_entry(e));
	if (migration != !!(w->flags & FVW_MIGRATION))
		return KIND_NONE;
	place = kind == KIND_PRESENT ? pte_pfn(e) : swp_entry_place(pte_to_swp_entry(e));
	return place == walk_place(w, addr) ? kind : KIND_NONE;
}

/* A batch: @nr entries from w->pos on, which map @pages. */
static inline bool walk_found(struct folio_vma_walk *w, unsigned long addr, unsigned int nr,
			      unsigned long pages)
{
	unsigned long first = walk_place(w, addr) - w->place;

	w->addr = addr;
	w->nr = nr;
	w->sr = (struct folio_subrange){ w->folio, (u32)first, (u32)pages };
	if (w->folio)
		__folio_subrange_check(w->sr);
	w->next = addr + (pages << PAGE_SHIFT);
	return true;
}

/* The bits in which the entries of a batch agree with @e, which is its first. */
static inline u64 walk_alike(pte_t e)
{
	const pte_t ones = __pte(~(u64)0), none = __pte(0);

	if (pte_present(e))
		return pte_wrprotect(pte_mkold(pte_mkclean(ones))).v;
	return ~(__swp_pte(0, SWP_MIG_YOUNG | SWP_MIG_DIRTY).v | pte_swp_mksoft_dirty(none).v |
		 pte_swp_mkuffd_wp(none).v);
}

/* How many of @max entries from @ptep on go on with what @e, the first, maps: that one itself, at least. */
static inline unsigned int walk_run(const pte_t *ptep, pte_t e, unsigned long max)
{
	const pte_t step =
		pte_present(e) ? pte_advance_pfn(__pte(0), 1) : pte_swp_advance(__pte(0), 1);

	return (unsigned int)words_ramp_run(&ptep->v, e.v, step.v, walk_alike(e), max, NULL);
}

/* The rest of the last-level table that is locked, from w->next and w->pos.ptep on. */
static bool walk_table(struct folio_vma_walk *w)
{
	unsigned long end = level_addr_end(w->next, w->end, PGTABLE_LEVEL_PMD), addr;
	pte_t *ptep = w->pos.ptep;
	unsigned int nr = 1;

	for (addr = w->next; addr < end; addr += PAGE_SIZE, ptep++) {
		pte_t e = ptep_get(ptep);

		if (!walk_match(w, e, addr))
			continue;
		/* a folio of one page pays nothing for those of more: S2.38 */
		if (end - addr > PAGE_SIZE && !(w->flags & FVW_SINGLE))
			nr = walk_run(ptep, e, (end - addr) >> PAGE_SHIFT);
		w->pos.addr = addr;
		w->pos.ptep = ptep;
		w->pos.pte = e;
		return walk_found(w, addr, nr, nr);
	}
	w->next = end;
	return false;
}

/* The one entry above the last level that is locked. */
static bool walk_leaf(struct folio_vma_walk *w)
{
	unsigned long addr = ALIGN_DOWN(w->next, level_size(w->pos.level));
	unsigned int kind = walk_match(w, w->pos.pte, addr);

	if (kind == KIND_NONE) {
		w->next = level_addr_end(w->next, w->end, w->pos.level);
		return false;
	}
	VM_BUG_ON(addr < w->vma->vm_start || w->vma->vm_end - addr < level_size(w->pos.level));
	w->pos.addr = addr;
	return walk_found(w, addr, 1, 1ul << level_order(w->pos.level));
}

/*
 * Lock the table of w->next, or the entry above it that is no table. Return: false: there was nothing, and w->next
 * is beyond it; or things have changed, and it is as it was.
 */
static bool walk_lock(struct folio_vma_walk *w)
{
	struct pt_pos *pos = &w->pos;
	unsigned int level;

	if (pte_offset_lock_rcu(w->vma->vm_mm, w->next, PGTABLE_LEVEL_PTE, pos))
		return true;
	level = pos->level;
	/* Who has cleared a leaf and not yet counted it holds the lock: with FVW_SYNC we wait for him. */
	if (level > MAX_LEAF_LEVEL || (pte_none(pos->pte) && !(w->flags & FVW_SYNC))) {
		w->next = level_addr_end(w->next, w->end, level);
		return false;
	}
	if (!pte_offset_lock_rcu(w->vma->vm_mm, w->next, level, pos))
		return false;
	if (!pte_table(pos->pte, level))
		return true;
	pte_unlock(pos);
	return false;
}

static void walk_unlock(struct folio_vma_walk *w)
{
	if (w->locked)
		pte_unlock(&w->pos);
	w->locked = false;
}

bool folio_vma_walk_next(struct folio_vma_walk *w)
{
	if (w->locked) {
		if (w->pos.level != PGTABLE_LEVEL_PTE || w->next >= w->end ||
		    IS_ALIGNED(w->next, level_size(PGTABLE_LEVEL_PMD)))
			walk_unlock(w);
		else
			w->pos.ptep += w->nr;
	}
	while (w->next < w->end) {
		if (!w->locked) {
			w->locked = walk_lock(w);
			if (!w->locked)
				continue;
		}
		if (w->pos.level == PGTABLE_LEVEL_PTE ? walk_table(w) : walk_leaf(w))
			return true;
		walk_unlock(w);
	}
	return false;
}

void folio_vma_walk_again(struct folio_vma_walk *w)
{
	VM_BUG_ON(!w->locked);
	w->next = w->addr;
	walk_unlock(w);
}
