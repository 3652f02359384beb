/* SPDX-License-Identifier: MIT */
/*
 * pte_batch.c - runs of entries that are alike: one look at four of them instead of a decision for each.
 *
 * An entry belongs to the run if it is what the first one would be, so many frames further on, in all bits
 * that count. What does not count is masked out before the comparison.
 *
 * What it does not do: look beyond what it was told. A folio may reach beyond the table and beyond the
 * area, so the caller gives the limit, and gives it from pte_batch_limit().
 */
#include "table.h"

#define FPB_ALL                                                                             \
	(FPB_RESPECT_DIRTY | FPB_RESPECT_SOFT_DIRTY | FPB_RESPECT_WRITE | FPB_MERGE_WRITE | \
	 FPB_MERGE_YOUNG_DIRTY)

/* The bits of an entry that end a run if they differ: found by clearing all others in one that has all. */
static __always_inline u64 bits_that_count(u32 flags)
{
	pte_t e = pte_mkold(__pte(~0ull));

	if (!(flags & FPB_RESPECT_DIRTY))
		e = pte_mkclean(e);
	if (!(flags & FPB_RESPECT_SOFT_DIRTY))
		e = pte_clear_soft_dirty(e);
	if (!(flags & FPB_RESPECT_WRITE))
		e = pte_wrprotect(e);
	return e.v;
}

/* The bits that go into the caller's copy if any entry of the run has them. */
static __always_inline u64 bits_to_merge(u32 flags)
{
	pte_t e = __pte(~0ull);

	if (flags & FPB_MERGE_WRITE)
		e = pte_wrprotect(e);
	if (flags & FPB_MERGE_YOUNG_DIRTY)
		e = pte_mkold(pte_mkclean(e));
	return ~e.v;
}

/*
 * How many of @nr entries are @first, @first + @step, ... in the bits of @mask. @seen: or-ed with all of the run.
 *
 * Entries of a run are read once each, and hardware may set accessed and dirty bits in them at any time.
 */
static __always_inline unsigned int run_length(const pte_t *ptep, u64 first, u64 step, u64 mask,
					       unsigned int nr, u64 *seen)
{
	const pte_t *p = ptep, *fours = ptep + (nr & ~3u), *end = ptep + nr;
	u64 want = first, bits = 0;

	for (; p < fours; p += 4, want += 4 * step) {
		u64 a = READ_ONCE(p[0].v), b = READ_ONCE(p[1].v);
		u64 c = READ_ONCE(p[2].v), d = READ_ONCE(p[3].v);

		if (((a ^ want) | (b ^ (want + step)) | (c ^ (want + 2 * step)) |
		     (d ^ (want + 3 * step))) &
		    mask)
			break;
		bits |= a | b | c | d;
	}
	for (; p < end; p++, want += step) {
		u64 a = READ_ONCE(p->v);

		if ((a ^ want) & mask)
			break;
		bits |= a;
	}
	*seen |= bits;
	return (unsigned int)(p - ptep);
}

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

static __always_inline unsigned int batch(struct folio *folio, const pte_t *ptep, pte_t pte,
					  unsigned int max_nr, u32 flags, u64 *seen)
{
	unsigned long left = folio_pfn(folio) + folio_nr_pages(folio) - pte_pfn(pte);
	u64 step = pte_advance_pfn(__pte(0), 1).v;
	unsigned int nr = left < max_nr ? (unsigned int)left : max_nr;

	/* the first is what the caller has read: in the table it may have got older or dirtier since */
	return 1 + run_length(ptep + 1, pte.v + step, step, bits_that_count(flags), nr - 1, seen);
}

unsigned int folio_pte_batch_flags(struct folio *folio, const struct vm_area_struct *vma,
				   const pte_t *ptep, pte_t *pte, unsigned int max_nr, u32 flags)
{
	unsigned long table = (unsigned long)ptep & ~(PAGE_SIZE - 1);
	u64 seen = 0;
	unsigned int nr;

	if (unlikely((unsigned long)pte - table < PAGE_SIZE))
		octavo_panic("folio_pte_batch_flags: %p is in the table, not a copy", (void *)pte);
	VM_BUG_ON(flags & ~FPB_ALL);
	check_batch(folio, vma, ptep, *pte, max_nr);
	nr = batch(folio, ptep, *pte, max_nr, flags, &seen);
	pte->v |= seen & bits_to_merge(flags);
	return nr;
}

unsigned int folio_pte_batch(struct folio *folio, const pte_t *ptep, pte_t pte, unsigned int max_nr)
{
	u64 seen = 0;

	check_batch(folio, NULL, ptep, pte, max_nr);
	return batch(folio, ptep, pte, max_nr, 0, &seen);
}

unsigned int swap_pte_batch(const pte_t *ptep, unsigned int max_nr, pte_t e)
{
	unsigned long i = ((unsigned long)ptep & (PAGE_SIZE - 1)) / sizeof(pte_t);
	u64 step = pte_swp_advance(__pte(0), 1).v, seen = 0;

	VM_BUG_ON(!max_nr || i + max_nr > PTRS_PER_TABLE);
	VM_BUG_ON(!pte_is_swap(e));
	VM_BUG_ON(is_pte_marker(pte_to_swp_entry(e)) || is_hwpoison_entry(pte_to_swp_entry(e)));
	return 1 + run_length(ptep + 1, e.v + step, step, ~(u64)0, max_nr - 1, &seen);
}
