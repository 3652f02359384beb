/* SPDX-License-Identifier: MIT */
/*
 * page_out.h - anonymous pages to slots of a swap device, one address space at a time and a step after the other, so that tests
 * can stop in between. Written by hand and simply: it is what tests compare with, not what is tested.
 */
#ifndef OCTAVO_TESTS_PAGE_OUT_H
#define OCTAVO_TESTS_PAGE_OUT_H

#include <octavo/errno.h>
#include <octavo/mm.h>
#include <octavo/pgtable.h>
#include <octavo/rmap.h>
#include <octavo/swap.h>
#include <octavo/tlb.h>

/* The folio of a present anonymous entry, with a reference. NULL: there is none. */
static inline struct folio *page_out_folio(struct mm_struct *mm, unsigned long addr)
{
	struct folio *folio = NULL;
	struct pt_pos pos;

	mmap_read_lock(mm);
	if (pte_offset_lock(mm, addr, PGTABLE_LEVEL_PTE, &pos) ||
	    (pos.level <= MAX_LEAF_LEVEL && pte_offset_lock(mm, addr, pos.level, &pos))) {
		if (pte_leaf(pos.pte, pos.level) && !pte_special(pos.pte))
			folio = page_folio(pfn_to_page(pte_pfn(pos.pte)));
		if (folio && folio_test_anon(folio))
			folio_get(folio);
		else
			folio = NULL;
		pte_unlock(&pos);
	}
	mmap_read_unlock(mm);
	return folio;
}

/* One entry becomes that of its slot. Context: the ptl, folio locked and in the cache. Return: false: it stays. */
static inline bool page_out_entry(struct vm_area_struct *vma, unsigned long addr, pte_t *ptep,
				  struct folio *folio)
{
	pte_t e = ptep_get_and_clear(ptep), s;
	struct folio_subrange sr = folio_subrange(folio, pte_pfn(e) - folio_pfn(folio), 1);
	bool exclusive = folio_test_anon_exclusive(folio, sr.first);

	flush_tlb_range(vma->vm_mm, addr, addr + PAGE_SIZE, PGTABLE_LEVEL_PTE);
	if (folio_dup_swap(sr)) {
		set_pte(ptep, e);
		return false;
	}
	if (exclusive && folio_try_share_anon_rmap(sr, PGTABLE_LEVEL_PTE)) {
		folio_put_swap(sr);
		set_pte(ptep, e);
		return false;
	}
	if (pte_dirty(e))
		folio_set_flag(folio, PG_dirty);
	s = swp_entry_to_pte(folio_swap_entry(folio, sr.first));
	if (exclusive)
		s = pte_swp_mkexclusive(s);
	if (pte_soft_dirty(e))
		s = pte_swp_mksoft_dirty(s);
	if (pte_uffd_wp(e))
		s = pte_swp_mkuffd_wp(s);
	folio_remove_rmap(sr, vma, PGTABLE_LEVEL_PTE);
	add_mm_counter(vma->vm_mm, MM_ANONPAGES, -1);
	add_mm_counter(vma->vm_mm, MM_SWAPENTS, 1);
	set_pte(ptep, s);
	folio_put(folio);
	return true;
}

/*
 * Entries of a range that map a folio (NULL: any that is locked and in the cache already is not looked for: one folio
 * at a time). Context: folio locked and in the cache. Return: entries that have become slots'.
 */
static inline unsigned long page_out_entries(struct mm_struct *mm, unsigned long addr,
					     unsigned long end, struct folio *folio)
{
	unsigned long done = 0;

	mmap_read_lock(mm);
	for (; addr < end; addr += PAGE_SIZE) {
		struct vm_area_struct *vma = vma_lookup(mm, addr);
		struct pt_pos pos;

		if (!vma)
			continue;
		/* what is large and stays so is not out */
		if (!pgtable_walk(mm, addr, PGTABLE_LEVEL_PTE, &pos) &&
		    pte_leaf(pos.pte, pos.level) && split_leaf(vma, addr))
			break;
		if (!pte_offset_lock(mm, addr, PGTABLE_LEVEL_PTE, &pos))
			continue;
		if (pte_present(pos.pte) && !pte_special(pos.pte) &&
		    page_folio(pfn_to_page(pte_pfn(pos.pte))) == folio)
			done += page_out_entry(vma, addr, pos.ptep, folio);
		pte_unlock(&pos);
	}
	mmap_read_unlock(mm);
	return done;
}

/* What is written and not mapped is not needed any more: out of the cache. Context: a reference. Return: whether. */
static inline bool page_out_forget(struct folio *folio)
{
	bool gone;

	folio_wait_writeback(folio);
	folio_lock(folio);
	gone = folio_test_flag(folio, PG_swapcache) && !folio_mapped(folio) &&
	       !folio_test_flag(folio, PG_dirty) && !folio_test_flag(folio, PG_writeback) &&
	       folio_ref_count(folio) == folio_nr_pages(folio) + 1;
	if (gone)
		swap_cache_del(folio, 0);
	folio_unlock(folio);
	return gone;
}

/**
 * page_out() - the folio at an address, out of one address space and to its device
 * @end: entries from @addr's folio's first to here are looked at
 *
 * Return: 0: contents are on the device alone; 1: some entries or the cache still have them; -errno: no slots.
 */
static inline int page_out(struct mm_struct *mm, unsigned long start, unsigned long end,
			   unsigned long addr)
{
	struct folio *folio = page_out_folio(mm, addr);
	int ret = 1;

	if (!folio)
		return -EINVAL;
	folio_lock(folio);
	if (!folio_test_flag(folio, PG_swapcache))
		ret = folio_alloc_swap(folio);
	if (ret < 0) {
		folio_unlock(folio);
	} else {
		page_out_entries(mm, start, end, folio);
		if (folio_mapped(folio) || !folio_test_flag(folio, PG_dirty))
			folio_unlock(folio);
		else
			swap_writeout(folio);
		ret = !page_out_forget(folio);
	}
	folio_put(folio);
	return ret;
}

#endif /* OCTAVO_TESTS_PAGE_OUT_H */
