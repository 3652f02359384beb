// SPDX-License-Identifier: MIT
/*
 * migrate_collect.c - what of a range could be migrated to a device, or back.
 *
 * 1. Tables are read under their ptls. What is one page is taken at once. A larger folio is locked (by trying), and
 *    looked at without the ptl: if it is wanted as a whole and all of it is mapped here, in order, it is one
 *    element. If not it is split, in pieces that fit, and met again.
 *
 * 2. An element is a hint about an address and a fact about a folio: locked, referenced, and selected. That
 *    its address maps it still, nobody can promise without the ptl; what the device's own tables say is
 *    validated by notifier sequences (hmm.h).
 *
 * 3. All of it is best effort. What is locked by somebody, poisoned, being written back or cannot be split is passed over.
 *
 * What it does not do: change entries, but by splitting.
 */
#include <octavo/errno.h>
#include <octavo/state.h>
#include <octavo/swap.h>

#include "../space/space.h"
#include "device_migrate.h"

struct collect {
	struct migrate_vma *args;
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	struct folio *large; /* met, locked and referenced; the ptl is to be given up */
	unsigned long idx;   /* of the page of @large that is at the address */
};

static inline unsigned long *src_at(const struct collect *c, unsigned long addr)
{
	return &c->args->src[(addr - c->args->start) >> PAGE_SHIFT];
}

/* ---- what an entry has ---- */

/* Where the page of an entry is, if it is one that can be migrated at all. */
static bool entry_place(pte_t e, unsigned long *place, bool *write)
{
	swp_entry_t entry;

	if (pte_present(e)) {
		*place = pte_pfn(e);
		*write = pte_write(e);
		return !pte_special(e);
	}
	if (!pte_is_swap(e))
		return false;
	entry = pte_to_swp_entry(e);
	*place = swp_entry_place(entry);
	*write = swp_type(entry) == SWP_DEVICE_PRIVATE_WRITE;
	return is_device_private_entry(entry);
}

/* Is it what the caller has asked for? Context: the ptl, or a reference. */
static bool selected(const struct migrate_vma *args, const struct folio *folio)
{
	struct dev_pagemap *pgmap;

	if (!folio_is_zone_device(folio))
		return args->flags & MIGRATE_VMA_SELECT_SYSTEM;
	pgmap = folio_pgmap(folio);
	if (!pgmap || pgmap->owner != args->pgmap_owner)
		return false;
	if (pgmap->type == MEMORY_DEVICE_PRIVATE)
		return args->flags & MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
	return pgmap->type == MEMORY_DEVICE_COHERENT &&
	       args->flags & MIGRATE_VMA_SELECT_DEVICE_COHERENT;
}

static bool busy(const struct folio *folio)
{
	return folio_test_flag(folio, PG_hwpoison) || folio_test_flag(folio, PG_writeback);
}

/*
 * The folio that an entry maps, locked and with a reference, if it is selected. Context: the ptl: the entry's own
 * reference keeps it. NULL: passed over.
 */
static struct folio *collect_folio(const struct collect *c, pte_t e, struct page **page,
				   bool *write)
{
	unsigned long place;
	struct folio *folio;

	if (!entry_place(e, &place, write))
		return NULL;
	*page = place_page(place);
	folio = page_folio(*page);
	if (!folio || !folio_test_anon(folio) || !selected(c->args, folio))
		return NULL;
	if (is_fault_folio(c->args->fault_page, folio))
		return folio;
	if (busy(folio) || !folio_trylock(folio))
		return NULL;
	folio_get(folio);
	return folio;
}

static void collect_drop(const struct collect *c, struct folio *folio)
{
	if (is_fault_folio(c->args->fault_page, folio))
		return;
	folio_unlock(folio);
	folio_put(folio);
}

static void add_folio(struct collect *c, unsigned long addr, struct folio *folio, bool write)
{
	*src_at(c, addr) =
		mpfn_of_folio(folio, MIGRATE_PFN_MIGRATE | (write ? MIGRATE_PFN_WRITE : 0));
	c->args->cpages++;
}

/* ---- holes: memory of the system's that is not there yet ---- */

static bool wants_holes(const struct collect *c)
{
	return c->args->flags & MIGRATE_VMA_SELECT_SYSTEM && vma_is_anonymous(c->vma);
}

static void add_holes(struct collect *c, unsigned long addr, unsigned long end)
{
	unsigned long size = level_size(MAX_LEAF_LEVEL);

	if (!wants_holes(c))
		return;
	while (addr < end) {
		bool leaf = c->args->flags & MIGRATE_VMA_SELECT_COMPOUND &&
			    IS_ALIGNED(addr, size) && end - addr >= size;

		*src_at(c, addr) = mpfn_of_hole(leaf ? level_order(MAX_LEAF_LEVEL) : 0);
		c->args->cpages++;
		addr += leaf ? size : PAGE_SIZE;
	}
}

/* ---- large folios ---- */

/* Do the entries from @addr to @end map the pages from @place on, one after the other? @write: all of them may be written to. */
static bool maps_run(const struct collect *c, unsigned long addr, unsigned long end,
		     unsigned long place, bool *write)
{
	unsigned long at, next;
	struct pt_pos pos;
	bool w;

	*write = true;
	while (addr < end) {
		bool last = pte_offset_lock(c->mm, addr, PGTABLE_LEVEL_PTE, &pos);

		if (!last &&
		    (pos.level > MAX_LEAF_LEVEL || !pte_offset_lock(c->mm, addr, pos.level, &pos)))
			return false;
		next = level_addr_end(addr, end, last ? PGTABLE_LEVEL_PMD : pos.level);
		while (addr < next) {
			unsigned long size = last ? PAGE_SIZE : next - addr;
			pte_t e = ptep_get(pos.ptep);

			/* a table that has come, or half of a leaf */
			if (!entry_place(e, &at, &w) || at != place ||
			    (!last && (pte_table(e, pos.level) || size != level_size(pos.level))))
				break;
			*write &= w;
			pos.ptep++;
			place += size >> PAGE_SHIFT;
			addr += size;
		}
		pte_unlock(&pos);
		if (addr != next)
			return false;
	}
	return true;
}

/* As an element: it is wanted as a whole, and all of it is here. */
static bool fits_whole(const struct collect *c, unsigned long addr, bool *write)
{
	unsigned long size = folio_size(c->large);

	return c->args->flags & MIGRATE_VMA_SELECT_COMPOUND && !c->idx &&
	       size <= c->args->end - addr &&
	       maps_run(c, addr, addr + size, folio_place(c->large), write);
}

/*
 * Into pieces of which each is wholly in the range or outside of it, if that is the reason why it does not fit, and
 * larger ones are wanted; else into pages.
 */
static unsigned int piece_order(const struct collect *c, unsigned long addr)
{
	unsigned long nr = folio_nr_pages(c->large), left = (c->args->end - addr) >> PAGE_SHIFT;
	unsigned long cuts = 0;

	if (!(c->args->flags & MIGRATE_VMA_SELECT_COMPOUND))
		return 0;
	/* what lies before the start of the range, and what after its end */
	if (addr == c->args->start)
		cuts |= c->idx;
	if (c->idx + left < nr)
		cuts |= c->idx + left;
	return cuts ? (unsigned int)__builtin_ctzl(cuts) : 0;
}

/* Context: mmap_lock, and the folio's lock. Return: where to go on. */
static unsigned long collect_large(struct collect *c, unsigned long addr)
{
	struct folio *folio = c->large;
	unsigned long left = (folio_nr_pages(folio) - c->idx) << PAGE_SHIFT;
	struct page *fault = c->args->fault_page;
	bool write;
	int err;

	if (fits_whole(c, addr, &write)) {
		add_folio(c, addr, folio, write);
		return addr + left;
	}
	/* nobody splits what has slots */
	if (folio_test_flag(folio, PG_swapcache))
		folio_free_swap(folio);
	if (is_fault_folio(fault, folio)) {
		err = split_folio_mapped_keep(folio, piece_order(c, addr), fault);
	} else {
		err = split_folio_mapped(folio, piece_order(c, addr), NULL);
		collect_drop(c, folio);
	}
	/* met again in pieces; or passed over */
	return err ? min(addr + left, c->args->end) : addr;
}

/* ---- tables ---- */

/* One entry. Return: false: it is of a large folio, which is in c->large. Context: the ptl. */
static bool collect_entry(struct collect *c, unsigned long addr, pte_t e)
{
	struct folio *folio;
	struct page *page;
	bool write;

	if (pte_none(e) || pte_is_zero_page(e)) {
		add_holes(c, addr, addr + PAGE_SIZE);
		return true;
	}
	folio = collect_folio(c, e, &page, &write);
	if (!folio)
		return true;
	if (folio_test_large(folio)) {
		c->large = folio;
		c->idx = folio_page_idx(folio, page);
		return false;
	}
	add_folio(c, addr, folio, write);
	return true;
}

/* The rest of a last-level table. Context: the ptl, which is given up. Return: where to go on. */
static unsigned long collect_table(struct collect *c, unsigned long addr, struct pt_pos *pos)
{
	unsigned long end = level_addr_end(addr, c->args->end, PGTABLE_LEVEL_PMD);

	while (addr < end && collect_entry(c, addr, ptep_get(pos->ptep))) {
		pos->ptep++;
		addr += PAGE_SIZE;
	}
	pte_unlock(pos);
	return addr;
}

/* A leaf, or one of swap form; the walk has ended there. Return: where to go on. */
static unsigned long collect_leaf(struct collect *c, unsigned long addr, struct pt_pos *pos)
{
	unsigned long next = level_addr_end(addr, c->args->end, pos->level);
	struct folio *folio;
	struct page *page;
	bool write;

	if (!pte_offset_lock(c->mm, addr, pos->level, pos))
		return addr;
	folio = pte_table(pos->pte, pos->level) || pte_none(pos->pte)
			? NULL
			: collect_folio(c, pos->pte, &page, &write);
	if (folio) {
		c->large = folio;
		c->idx = folio_page_idx(folio, page) +
			 ((addr & (level_size(pos->level) - 1)) >> PAGE_SHIFT);
		next = addr;
	} else if (pte_table(pos->pte, pos->level)) {
		next = addr;
	}
	pte_unlock(pos);
	return next;
}

void migrate_collect(struct migrate_vma *args)
{
	struct collect c = { .args = args, .mm = args->vma->vm_mm, .vma = args->vma };
	unsigned long addr = args->start, next;
	struct pt_pos pos;

	while (addr < args->end) {
		if (pte_offset_lock(c.mm, addr, PGTABLE_LEVEL_PTE, &pos)) {
			addr = collect_table(&c, addr, &pos);
		} else if (pte_none(pos.pte)) {
			next = level_addr_end(addr, args->end, pos.level);
			add_holes(&c, addr, next);
			addr = next;
		} else {
			addr = collect_leaf(&c, addr, &pos);
		}
		if (c.large)
			addr = collect_large(&c, addr);
		c.large = NULL;
	}
}
