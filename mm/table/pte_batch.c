/* SPDX-License-Identifier: MIT */
/*
 * pte_batch.c - runs of entries that are alike: a look at several of them instead of a decision for each.
 *
 * An entry belongs to the run if it is what the first one would be, so many frames further on, in all bits
 * that count. What does not count is masked out before the comparison. Entries of a run are read once each, and
 * hardware may set accessed and dirty bits in them at any time.
 *
 * What it does not do: look beyond what it was told. A folio may reach beyond the table and beyond the
 * area, so the caller gives the limit, and gives it from pte_batch_limit().
 */
#include "table.h"

/* What a caller must have seen to. */
static void check_batch(struct folio *folio, const struct vm_area_struct *vma, const pte_t *ptep,
			pte_t pte, unsigned int max_nr)
{
	unsigned long i = ((unsigned long)ptep & (PAGE_SIZE - 1)) / sizeof(pte_t);

	VM_BUG_ON(!max_nr);
	VM_BUG_ON(!pte_present(pte) || pte_special(pte));
	VM_BUG_ON(!folio_test_large(folio) || !folio_contains(folio, pte_pfn(pte)));
	VM_BUG_ON(i + max_nr > PTRS_PER_TABLE);
#if OCTAVO_DEBUG
	if (vma) {
		const struct ptdesc *pt = page_ptdesc(virt_to_page(ptep));
		unsigned long addr = (pt->index << level_shift(1)) + (i << PAGE_SHIFT);

		VM_BUG_ON(addr < READ_ONCE(vma->vm_start));
		VM_BUG_ON(addr + ((unsigned long)max_nr << PAGE_SHIFT) > READ_ONCE(vma->vm_end));
	}
#else
	(void)vma;
#endif
}

static __always_inline unsigned int batch(const struct folio *folio, const pte_t *ptep, pte_t pte,
					  unsigned int max_nr, u64 count, u64 *seen)
{
	const u64 step = pte_advance_pfn(__pte(0), 1).v;
	unsigned long left = folio_pfn(folio) + folio_nr_pages(folio) - pte_pfn(pte);
	unsigned int nr = left < max_nr ? (unsigned int)left : max_nr;
	unsigned long run = words_ramp_run(&ptep->v, pte.v, step, count, nr, seen);

	/* the first is what the caller has read: in the table it may have got dirtier since */
	if (unlikely(!run))
		run = 1 + words_ramp_run(&ptep[1].v, pte.v + step, step, count, nr - 1, seen);
	return (unsigned int)run;
}

unsigned int __folio_pte_batch(struct folio *folio, const struct vm_area_struct *vma,
			       const pte_t *ptep, pte_t pte, unsigned int max_nr, u64 count)
{
	check_batch(folio, vma, ptep, pte, max_nr);
	return batch(folio, ptep, pte, max_nr, count, NULL);
}

unsigned int __folio_pte_batch_merge(struct folio *folio, const struct vm_area_struct *vma,
				     const pte_t *ptep, pte_t *pte, unsigned int max_nr, u64 count,
				     u64 merge)
{
	unsigned long table = (unsigned long)ptep & ~(PAGE_SIZE - 1);
	unsigned int nr;
	u64 seen = 0;

	if (unlikely((unsigned long)pte - table < PAGE_SIZE))
		octavo_panic("folio_pte_batch_flags: %p is in the table, not a copy", (void *)pte);
	check_batch(folio, vma, ptep, *pte, max_nr);
	nr = batch(folio, ptep, *pte, max_nr, count, &seen);
	pte->v |= seen & merge;
	return nr;
}

unsigned int swap_pte_batch(const pte_t *ptep, unsigned int max_nr, pte_t e)
{
	unsigned long i = ((unsigned long)ptep & (PAGE_SIZE - 1)) / sizeof(pte_t);
	u64 step = pte_swp_advance(__pte(0), 1).v;

	VM_BUG_ON(!max_nr || i + max_nr > PTRS_PER_TABLE);
	VM_BUG_ON(!pte_is_swap(e));
	VM_BUG_ON(is_pte_marker(pte_to_swp_entry(e)) || is_hwpoison_entry(pte_to_swp_entry(e)));
	return (unsigned int)words_ramp_run(&ptep->v, e.v, step, ~0ul, max_nr, NULL);
}
