/* SPDX-License-Identifier: MIT */
/*
 * span.h - the page tables of a range, a piece at a time, locked: what the walks of this directory have in
 * common.
 */
#ifndef MM_SPACE_SPAN_H
#define MM_SPACE_SPAN_H

#include <octavo/swap.h>

#include "space.h"

/**
 * struct pt_span - entries of one table, whose ptl is held
 * @addr: of the first one; it is not none
 * @end: of the range, or of what the table covers: several entries at level 0; above, (part of) one
 * @level: of the entries; above 0 the one is a leaf or of swap form
 * @ptep: the first entry
 * @pt: their table
 */
struct pt_span {
	unsigned long addr, end;
	unsigned int level;
	pte_t *ptep;
	struct ptdesc *pt;
};

/**
 * pt_span_next() - the next piece of a range in which there is anything
 * @mm: address space
 * @addr: where to go on
 * @end: of the range
 * @span: filled
 *
 * What is none at a level that may have leaves was seen so under its ptl. For the tables that a fault links
 * meanwhile see vma_lock.h.
 *
 * Context: mmap_lock held at all; no ptl. Spins. Return: true with span->pt->ptl held; false: no more, nothing
 * is held.
 */
bool pt_span_next(struct mm_struct *mm, unsigned long addr, unsigned long end,
		  struct pt_span *span);

static inline void pt_span_unlock(const struct pt_span *span)
{
	spin_unlock(&span->pt->ptl);
}

/* Is the entry of a span above level 0 wholly in the range? */
static inline bool pt_span_whole(const struct pt_span *span)
{
	return span->end - span->addr == level_size(span->level);
}

/* How many entries from @ptep on are none; at most @max. Most of a sparse table goes by at eight a step. */
static inline unsigned long pte_none_run(const pte_t *ptep, unsigned long max)
{
	unsigned long n = 0;

	while (n + 8 <= max) {
		const pte_t *p = ptep + n;

		if (ptep_get(p).v | ptep_get(p + 1).v | ptep_get(p + 2).v | ptep_get(p + 3).v |
		    ptep_get(p + 4).v | ptep_get(p + 5).v | ptep_get(p + 6).v | ptep_get(p + 7).v)
			break;
		n += 8;
	}
	while (n < max && pte_none(ptep_get(ptep + n)))
		n++;
	return n;
}

/* What a present entry maps. */
struct mapped {
	struct page *page;   /* NULL: special, whose word is nobody's business */
	struct folio *folio; /* NULL: special, or a plain page */
	bool anon;
};

/* vm_normal_page() and page_folio() in one look. Context: the entry's ptl. */
static inline struct mapped pte_mapped(pte_t e)
{
	struct mapped m = { 0 };
	memdesc_t md;

	if (unlikely(pte_special(e)))
		return m;
	m.page = pfn_to_page(pte_pfn(e));
	md = page_memdesc(m.page);
	if (likely(memdesc_is_folio(md))) {
		m.folio = memdesc_ptr(md);
		m.anon = memdesc_type(md) == MEMDESC_ANON;
	}
	return m;
}

/* How many of @max entries from @ptep on, the first one @e, are of one run of the folio that they map. */
static inline unsigned long folio_run(struct folio *folio, const pte_t *ptep, pte_t e,
				      unsigned long max)
{
	return max > 1 && folio_test_large(folio)
		       ? folio_pte_batch(folio, ptep, e, (unsigned int)max)
		       : 1;
}

/* The pages of a folio that @nr entries from the one with @pfn on map: folio_subrange(), without a call. */
static inline struct folio_subrange mapped_subrange(struct folio *folio, unsigned long pfn,
						    unsigned long nr)
{
	unsigned long first = pfn - folio_pfn(folio), pages = folio_nr_pages(folio);

	if (unlikely(first >= pages || nr > pages - first))
		return folio_subrange(folio, first, nr); /* which says so, and panics */
	return (struct folio_subrange){ .folio = folio, .first = (u32)first, .nr = (u32)nr };
}

/*
 * What a migration entry's pages are counted as. Its folio is live but may be being split, so only its kind is asked
 * for (migrate.h). Context: the ptl.
 */
static inline enum mm_counter migration_counter(pte_t e)
{
	memdesc_t md = page_memdesc(place_page(swp_entry_place(pte_to_swp_entry(e))));

	return memdesc_type(md) == MEMDESC_ANON ? MM_ANONPAGES : mm_counter(memdesc_ptr(md));
}

/* How many of @max migration entries from @ptep on, the first one @e, are of one folio and alike. */
static inline unsigned long migration_run(const pte_t *ptep, pte_t e, unsigned long max)
{
	const struct page *page = place_page(swp_entry_place(pte_to_swp_entry(e)));
	unsigned long nr = swap_pte_batch(ptep, (unsigned int)max, e), n = 1;
	memdesc_t md = page_memdesc(page);

	while (n < nr && memdesc_eq(page_memdesc_relaxed(page + n), md))
		n++;
	return n;
}

/* A run of slots' entries from @ptep on, the first one @e, go, and the slots with them. Return: how many. */
static inline unsigned long clear_slots(pte_t *ptep, pte_t e, unsigned long max)
{
	unsigned int nr = swap_pte_batch(ptep, (unsigned int)max, e);

	clear_ptes(ptep, nr);
	swap_free_entries(pte_to_swp_entry(e), nr);
	return nr;
}

/*
 * What entries of device-private memory from the one at @ptep on map: pages of one folio, by entries that are alike.
 * Context: the ptl, under which the folio of such an entry is as stable as that of a present one.
 */
static inline struct folio_subrange device_run(const pte_t *ptep, pte_t e, unsigned long max)
{
	struct page *page = place_page(swp_entry_place(pte_to_swp_entry(e)));
	struct folio *folio = page_folio(page);
	unsigned long left = folio_nr_pages(folio) - folio_page_idx(folio, page);

	max = min(max, left);
	return folio_subrange_page(folio, page,
				   max > 1 ? swap_pte_batch(ptep, (unsigned int)max, e) : 1);
}

/* The same of a leaf. */
static inline struct folio_subrange device_leaf(pte_t e, unsigned int level)
{
	struct page *page = place_page(swp_entry_place(pte_to_swp_entry(e)));

	return folio_subrange_page(page_folio(page), page, 1ul << level_order(level));
}

/* The same place with another type, what the place has of its own kept. */
static inline pte_t swap_form_retype(pte_t e, enum swp_type type)
{
	pte_t new = __swp_pte(type, __swp_offset(e));

	if (pte_swp_soft_dirty(e))
		new = pte_swp_mksoft_dirty(new);
	if (pte_swp_uffd_wp(e))
		new = pte_swp_mkuffd_wp(new);
	return pte_swp_exclusive(e) ? pte_swp_mkexclusive(new) : new;
}

static inline enum mm_counter mapped_counter(const struct mapped *m)
{
	return m->anon ? MM_ANONPAGES : mm_counter(m->folio);
}

/* Counters of one table's worth of entries. */
static inline void add_mm_counters(struct mm_struct *mm, const long *n)
{
	for (int i = 0; i < NR_MM_COUNTERS; i++)
		if (n[i])
			add_mm_counter(mm, (enum mm_counter)i, n[i]);
}

__noreturn __cold void bad_entry(const struct vm_area_struct *vma, unsigned long addr, pte_t e,
				 const char *who);

#endif /* MM_SPACE_SPAN_H */
