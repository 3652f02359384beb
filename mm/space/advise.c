// SPDX-License-Identifier: MIT
/*
 * advise.c - advice about what is mapped in a range, guard markers, and what of it is there.
 *
 * Advice is about folios, and a folio that somebody else maps too, or that reaches out of the range, is
 * left as it is: all that is lost is the advice. So nothing here splits a leaf but what guards need.
 *
 * What it does not do: reclaim anything, look into files for what is not mapped, check what areas are fit
 * for (madvise.c and its neighbours do).
 */
#include <octavo/errno.h>
#include <octavo/string.h>
#include <octavo/swap.h>

#include "span.h"

/* The bits by which hardware says that an entry was used. */
static inline u64 use_bits(void)
{
	return ~pte_mkold(pte_mkclean(__pte(~(u64)0))).v;
}

/* ---- MADV_FREE, MADV_COLD ---- */

struct advice {
	struct vm_area_struct *vma;
	bool free; /* else cold */
	bool changed;
	long slots;
};

/* @nr entries, all that there are of it, map a whole folio: it may be dropped until it is written to. */
static bool folio_free_lazily(struct folio *folio)
{
	if (!folio_trylock(folio))
		return false;
	/* slots that others name, or that it is being written to, are contents that somebody wants */
	if (folio_test_flag(folio, PG_swapcache) && !folio_free_swap(folio)) {
		folio_unlock(folio);
		return false;
	}
	folio_clear_flag(folio, PG_dirty);
	folio_clear_flag(folio, PG_referenced);
	folio_clear_flag(folio, PG_swapbacked);
	folio_unlock(folio);
	return true;
}

/*
 * Entries of one folio: nothing but them maps it. What a CPU still has of their dirty bits is flushed before the call
 * returns, and what it stores until then was stored during the call. Context: the ptl.
 */
static void advise_run(struct advice *a, struct folio *folio, bool anon, pte_t *ptep,
		       unsigned long nr)
{
	u64 bits = a->free ? use_bits() : ~pte_mkold(__pte(~(u64)0)).v;

	if (!a->free) {
		folio_clear_flag(folio, PG_referenced);
		WRITE_ONCE(folio->gen, GEN_COLD);
	} else if (!anon || !folio_free_lazily(folio))
		return;
	for (unsigned long i = 0; i < nr; i++)
		fetch_and_relaxed(&ptep[i].v, ~bits);
	a->changed = true;
}

/* A slot's contents are as little wanted as a page's. Return: how many entries. */
static unsigned long free_slots(struct advice *a, pte_t *ptep, pte_t e, unsigned long max)
{
	unsigned long nr;

	if (!a->free || !is_swap_slot(pte_to_swp_entry(e)))
		return 1;
	nr = clear_slots(ptep, e, max);
	a->slots += (long)nr;
	return nr;
}

static void advise_entries(struct advice *a, const struct pt_span *span)
{
	unsigned long addr = span->addr;
	pte_t *ptep = span->ptep;

	while (addr < span->end) {
		unsigned long max = (span->end - addr) >> PAGE_SHIFT, nr = 1;
		pte_t e = ptep_get(ptep);

		if (pte_none(e)) {
			nr = pte_none_run(ptep, max);
		} else if (!pte_present(e)) {
			nr = free_slots(a, ptep, e, max);
		} else {
			const struct mapped m = pte_mapped(e);

			if (m.folio)
				nr = folio_run(m.folio, ptep, e, max);
			if (m.folio && nr == folio_nr_pages(m.folio) &&
			    (u64)folio_mapcount(m.folio) == nr)
				advise_run(a, m.folio, m.anon, ptep, nr);
		}
		ptep += nr;
		addr += nr << PAGE_SHIFT;
	}
}

static void advise_leaf(struct advice *a, const struct pt_span *span)
{
	pte_t e = ptep_get(span->ptep);
	struct mapped m;

	if (!pte_present(e))
		return;
	m = pte_mapped(e);
	if (m.folio && folio_order(m.folio) == level_order(span->level) &&
	    folio_mapcount(m.folio) == 1)
		advise_run(a, m.folio, m.anon, span->ptep, 1);
}

static void advise_range(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			 bool free)
{
	struct advice a = { .vma = vma, .free = free };
	struct mm_struct *mm = vma->vm_mm;
	struct mmu_notifier_range range;
	struct mmu_gather tlb;
	struct pt_span span;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	tlb_gather_mmu(&tlb, mm);
	while (pt_span_next(mm, start, end, &span)) {
		if (!span.level)
			advise_entries(&a, &span);
		else if (pt_span_whole(&span))
			advise_leaf(&a, &span);
		if (a.changed)
			tlb_note_range(&tlb, span.addr, span.end, span.level);
		a.changed = false;
		pt_span_unlock(&span);
		start = span.end;
	}
	add_mm_counter(mm, MM_SWAPENTS, -a.slots);
	tlb_finish_mmu(&tlb);
	mmu_notifier_invalidate_range_end(&range);
}

int madvise_free_range(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	advise_range(vma, start, end, true);
	return 0;
}

int madvise_cold_range(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	advise_range(vma, start, end, false);
	return 0;
}

/* ---- guard markers ---- */

#define GUARD_TRIES 8u

/* Where an entry is none, or a marker already. Return: how many of @nr, from the first on. */
static unsigned long install_guards(pte_t *ptep, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		pte_t e = ptep_get(ptep + i);
		u64 set = PTE_MARKER_GUARD;

		if (!pte_none(e)) {
			if (pte_present(e) || !is_pte_marker(pte_to_swp_entry(e)))
				return i;
			set |= swp_offset(pte_to_swp_entry(e));
		}
		set_pte(ptep + i, swp_entry_to_pte(swp_entry(SWP_PTE_MARKER, set)));
	}
	return nr;
}

/* As much as one last-level table covers. Return: how many, fewer: something is mapped after them; -ENOMEM. */
static long guard_table(struct mm_struct *mm, unsigned long addr, unsigned long nr)
{
	struct pt_pos pos;
	int err = pgtable_alloc_to(mm, addr, PGTABLE_LEVEL_PTE, GFP_KERNEL, &pos);

	if (err)
		return err == -EEXIST ? 0 : err;
	if (!pte_offset_lock(mm, addr, PGTABLE_LEVEL_PTE, &pos))
		return 0;
	nr = install_guards(pos.ptep, nr);
	pte_unlock(&pos);
	return (long)nr;
}

int guard_install_range(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	unsigned int tries = 0;
	int err = split_leaves_at(vma, start, end);

	/* first: who sees a marker, and fork, which shuts us out, sees this too */
	WRITE_ONCE(vma->vm_guards, 1ul);
	while (!err && start < end) {
		unsigned long stop = level_addr_end(start, end, PGTABLE_LEVEL_PMD);
		long nr = guard_table(vma->vm_mm, start, (stop - start) >> PAGE_SHIFT);

		if (nr < 0)
			return (int)nr;
		start += (unsigned long)nr << PAGE_SHIFT;
		if (start == stop) {
			tries = 0;
			continue;
		}
		/* faults go on, and may be faster than we are */
		if (tries++ == GUARD_TRIES)
			return -EAGAIN;
		err = zap_page_range_single(vma, start, stop - start);
	}
	return err;
}

int guard_remove_range(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	struct pt_span span;

	while (pt_span_next(vma->vm_mm, start, end, &span)) {
		unsigned long nr = (span.end - span.addr) >> PAGE_SHIFT;

		for (unsigned long i = 0; !span.level && i < nr; i++) {
			pte_t e = ptep_get(span.ptep + i);
			u64 rest;

			if (!pte_is_swap(e) || !is_pte_marker(pte_to_swp_entry(e)))
				continue;
			rest = swp_offset(pte_to_swp_entry(e)) & ~PTE_MARKER_GUARD;
			if (rest)
				set_pte(span.ptep + i,
					swp_entry_to_pte(swp_entry(SWP_PTE_MARKER, rest)));
			else
				pte_clear(span.ptep + i);
		}
		pt_span_unlock(&span);
		start = span.end;
	}
	return 0;
}

/* ---- mincore, mlock ---- */

/* Are the contents of a slot in memory? */
static bool slot_is_there(swp_entry_t entry)
{
	struct folio *folio = swap_cache_get_folio(entry);
	bool there;

	if (!folio)
		return false;
	there = folio_test_flag(folio, PG_uptodate);
	folio_put(folio);
	return there;
}

/* Is there memory behind an entry, if perhaps not reachable just now? */
static bool entry_is_there(pte_t e)
{
	swp_entry_t entry;

	if (!pte_is_swap(e))
		return pte_present(e);
	entry = pte_to_swp_entry(e);
	return is_swap_slot(entry) ? slot_is_there(entry) : !is_pte_marker(entry);
}

void mincore_range(struct vm_area_struct *vma, unsigned long start, unsigned long end,
		   unsigned char *vec)
{
	unsigned long addr = start;
	struct pt_span span;

	memset(vec, 0, (end - start) >> PAGE_SHIFT);
	while (pt_span_next(vma->vm_mm, addr, end, &span)) {
		unsigned char *v = vec + ((span.addr - start) >> PAGE_SHIFT);
		unsigned long nr = (span.end - span.addr) >> PAGE_SHIFT;

		for (unsigned long i = 0; i < nr; i++)
			v[i] = entry_is_there(ptep_get(span.ptep + (span.level ? 0 : i)));
		pt_span_unlock(&span);
		addr = span.end;
	}
}

/* @nr pages of it are in the range. Locked is a folio all of which is, because all of it is kept. */
static void mlock_folio(struct folio *folio, unsigned long nr, bool lock)
{
	bool set = lock && nr == folio_nr_pages(folio);

	if (set && !folio_test_flag(folio, PG_mlocked))
		folio_set_flag(folio, PG_mlocked);
	else if (!lock && folio_test_flag(folio, PG_mlocked))
		folio_clear_flag(folio, PG_mlocked);
}

/*
 * The folio that an entry maps, and how many pages of it the entry and those after it, up to @max, do. What a device has is mapped, too.
 * Return: NULL: none.
 */
static struct folio *mlock_mapped(const pte_t *ptep, pte_t e, unsigned int level, unsigned long max,
				  unsigned long *nr)
{
	struct folio_subrange sr;
	struct mapped m;

	*nr = level ? max : 1;
	if (pte_present(e)) {
		m = pte_mapped(e);
		if (m.folio && !level)
			*nr = folio_run(m.folio, ptep, e, max);
		return m.folio;
	}
	if (!pte_is_device_private(e) && !pte_is_device_exclusive(e))
		return NULL;
	sr = level ? device_leaf(e, level) : device_run(ptep, e, max);
	*nr = min(sr.nr, max);
	return sr.folio;
}

void mlock_range(struct vm_area_struct *vma, unsigned long start, unsigned long end, bool lock)
{
	struct pt_span span;

	while (pt_span_next(vma->vm_mm, start, end, &span)) {
		unsigned long pages = (span.end - span.addr) >> PAGE_SHIFT, nr;

		for (unsigned long i = 0; i < pages; i += nr) {
			pte_t *ptep = span.ptep + (span.level ? 0 : i);
			struct folio *folio =
				mlock_mapped(ptep, ptep_get(ptep), span.level, pages - i, &nr);

			if (folio)
				mlock_folio(folio, nr, lock);
		}
		pt_span_unlock(&span);
		start = span.end;
	}
}
