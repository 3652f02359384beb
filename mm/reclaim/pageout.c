// SPDX-License-Identifier: MIT
/*
 * pageout.c - MADV_PAGEOUT: somebody knows better than the clock that a range will not be used for long.
 *
 * Folios that are mapped elsewhere too, or that reach out of the range, stay: others may know otherwise.
 */
#include "reclaim.h"

#include "../space/span.h"

struct pageout {
	struct folio *folio[RECLAIM_BATCH];
	u32 nr;
};

/* The whole of it, and nobody else's? Context: the ptl. */
static void pageout_take(struct pageout *po, const struct mapped *m, unsigned long nr, u32 entries)
{
	if (!m->anon || nr != folio_nr_pages(m->folio) || (u32)folio_mapcount(m->folio) != entries)
		return;
	if (!folio_evictable(m->folio) || !folio_try_get(m->folio))
		return;
	po->folio[po->nr++] = m->folio;
}

/* Entries of one table, until there are enough. Return: where it stopped. */
static unsigned long pageout_entries(struct pageout *po, const struct pt_span *span)
{
	unsigned long addr = span->addr;
	pte_t *ptep = span->ptep;

	while (addr < span->end && po->nr < RECLAIM_BATCH) {
		unsigned long max = (span->end - addr) >> PAGE_SHIFT, nr = 1;
		pte_t e = ptep_get(ptep);

		if (pte_none(e)) {
			nr = pte_none_run(ptep, max);
		} else if (pte_present(e)) {
			const struct mapped m = pte_mapped(e);

			if (m.folio) {
				nr = folio_run(m.folio, ptep, e, max);
				pageout_take(po, &m, nr, (u32)nr);
			}
		}
		ptep += nr;
		addr += nr << PAGE_SHIFT;
	}
	return addr;
}

static unsigned long pageout_leaf(struct pageout *po, const struct pt_span *span)
{
	pte_t e = ptep_get(span->ptep);

	if (pte_present(e) && pt_span_whole(span)) {
		const struct mapped m = pte_mapped(e);

		if (m.folio)
			pageout_take(po, &m, 1ul << level_order(span->level), 1);
	}
	return span->end;
}

int pageout_range(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	struct pageout po = { .nr = 0 };
	struct pt_span span;

	while (pt_span_next(vma->vm_mm, start, end, &span)) {
		start = span.level ? pageout_leaf(&po, &span) : pageout_entries(&po, &span);
		pt_span_unlock(&span);
		if (po.nr < RECLAIM_BATCH)
			continue;
		reclaim_folios(po.folio, po.nr, RECLAIM_ANYWAY);
		po.nr = 0;
	}
	reclaim_folios(po.folio, po.nr, RECLAIM_ANYWAY);
	return 0;
}
