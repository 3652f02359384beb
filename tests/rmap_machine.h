/* SPDX-License-Identifier: MIT */
/*
 * rmap_machine.h - address spaces and areas made by hand, for tests of what lies below mm_alloc().
 */
#ifndef OCTAVO_RMAP_MACHINE_H
#define OCTAVO_RMAP_MACHINE_H

#include <octavo/rmap.h>
#include <octavo/state.h>

#include "../mm/rmap/rmap_init.h"
#include "table_machine.h"

#define HAND_FLAGS (VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC)

#define PMD_NR (1ul << level_order(PGTABLE_LEVEL_PMD))

/* As with address spaces: what a test that panics leaves behind is the next one's. vm_mm: in use. */
static struct vm_area_struct hand_vmas[256];

static inline struct vm_area_struct *hand_vma_alloc(void)
{
	unsigned int i = 0;

	/* Tests with several CPUs make areas on one of them only. */
	while (hand_vmas[i].vm_mm)
		assert_true(++i < ARRAY_SIZE(hand_vmas));
	return &hand_vmas[i];
}

/* An anonymous private area of @pages pages from page @first of the address space on. */
static inline struct vm_area_struct *hand_vma(struct mm_struct *mm, unsigned long first,
					      unsigned long pages)
{
	struct vm_area_struct *vma = hand_vma_alloc();

	memset(vma, 0, sizeof(*vma));
	vma->vm_mm = mm;
	vma->vm_start = first << PAGE_SHIFT;
	vma->vm_end = (first + pages) << PAGE_SHIFT;
	vma->vm_pgoff = first;
	vma->vm_flags = HAND_FLAGS;
	vma->vm_page_prot = PAGE_READONLY;
	INIT_LIST_HEAD(&vma->anon_vma_chain);
	return vma;
}

/* A copy without chain; in another address space it has no anon_vma either. */
static inline struct vm_area_struct *hand_vma_dup(const struct vm_area_struct *from,
						  struct mm_struct *mm)
{
	struct vm_area_struct *vma = hand_vma_alloc();

	*vma = *from;
	vma->vm_mm = mm;
	INIT_LIST_HEAD(&vma->anon_vma_chain);
	if (mm != from->vm_mm)
		vma->anon_vma = NULL;
	return vma;
}

static inline void hand_vma_free(struct vm_area_struct *vma)
{
	unlink_anon_vmas(vma);
	assert_true(list_empty(&vma->anon_vma_chain));
	vma->vm_mm = NULL;
}

static inline void hand_boot(void)
{
	memset(table_mms, 0, sizeof(table_mms));
	memset(hand_vmas, 0, sizeof(hand_vmas));
	boot_small(64, TABLE_CPUS);
	sim_set_cpu(0);
	assert_int_equal(rmap_caches_init(GFP_KERNEL), 0);
}

/* Fatal in there if an anon_vma or a chain is left. */
static inline void hand_shutdown(void)
{
	rmap_caches_exit();
	shutdown_clean();
}

/* Where page @index of what @vma maps is. */
static inline unsigned long hand_addr(const struct vm_area_struct *vma, unsigned long index)
{
	return vma->vm_start + ((index - vma->vm_pgoff) << PAGE_SHIFT);
}

static inline struct folio *hand_folio(unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);

	assert_non_null(folio);
	return folio;
}

/* An entry for the page after @nr others of an exclusive folio: writable, clean, old. */
static inline pte_t hand_pte(const struct folio *folio, unsigned long nr)
{
	return pfn_pte(folio_pfn(folio) + nr, (pgprot_t){ RW | _PAGE_NX });
}

/*
 * Map pages of a folio, which has its place in @vma by its index, by entries of the last level that are @e for
 * the first page and so on. The first mapping takes the caller's reference, as a fault does; further ones need one each.
 */
static inline void hand_map(struct folio *folio, unsigned long first, unsigned long nr,
			    struct vm_area_struct *vma, unsigned long index, pte_t e)
{
	unsigned long addr = hand_addr(vma, index) + PAGES(first);
	struct folio_subrange sr = folio_subrange(folio, first, nr);

	if (!folio_mapped(folio)) {
		folio_ref_add(folio, (u32)nr);
		folio_put(folio);
		folio_add_new_anon_rmap(sr, vma, addr, 0);
	} else {
		folio_ref_add(folio, (u32)nr);
		folio_add_anon_rmap(sr, vma, addr, 0, RMAP_EXCLUSIVE);
	}
	for (unsigned long i = 0; i < nr; i++)
		table_map(vma->vm_mm, addr + PAGES(i), 0, pte_advance_pfn(e, i));
}

/* The same by one entry. */
static inline void hand_map_leaf(struct folio *folio, struct vm_area_struct *vma,
				 unsigned long index)
{
	unsigned long nr = 1ul << level_order(PGTABLE_LEVEL_PMD);

	folio_add_new_anon_rmap(folio_subrange(folio, 0, nr), vma, hand_addr(vma, index),
				PGTABLE_LEVEL_PMD);
	table_map(vma->vm_mm, hand_addr(vma, index), PGTABLE_LEVEL_PMD,
		  pte_mkleaf(hand_pte(folio, 0), PGTABLE_LEVEL_PMD));
}

/* Remove whatever maps memory of @vma, and drop what it held. Return: how many entries. */
static inline unsigned long hand_zap(struct vm_area_struct *vma, unsigned long start,
				     unsigned long end)
{
	unsigned long count = 0, addr = start;

	while (addr < end) {
		struct pt_pos pos;
		struct folio *folio;
		unsigned long nr;
		pte_t e;

		if (!pgtable_walk(vma->vm_mm, addr, 0, &pos) &&
		    (pos.level > MAX_LEAF_LEVEL || pte_none(pos.pte))) {
			addr = level_addr_end(addr, end, pos.level);
			continue;
		}
		nr = 1ul << level_order(pos.level);
		e = table_unmap(vma->vm_mm, addr, pos.level);
		if (pte_present(e) && !pte_special(e)) {
			folio = page_folio(pfn_to_page(pte_pfn(e)));
			folio_remove_rmap(folio_subrange_page(folio, pfn_to_page(pte_pfn(e)), nr),
					  vma, pos.level);
			folio_put(folio);
		}
		count += !pte_none(e);
		addr += PAGES(nr);
	}
	return count;
}

/* And its area. */
static inline void hand_unmap(struct vm_area_struct *vma)
{
	hand_zap(vma, vma->vm_start, vma->vm_end);
	hand_vma_free(vma);
}

/* Fork: @dst maps what @src does, both read-only. */
static inline void hand_copy(struct vm_area_struct *dst, struct vm_area_struct *src)
{
	struct mm_struct *mm = src->vm_mm;

	WRITE_ONCE(mm->write_protect_seq, mm->write_protect_seq + 1);
	for (unsigned long addr = src->vm_start; addr < src->vm_end;) {
		struct folio_subrange sr;
		struct folio *folio;
		struct pt_pos pos;
		unsigned long nr;

		if ((!pgtable_walk(mm, addr, 0, &pos) && pos.level > MAX_LEAF_LEVEL) ||
		    !pte_leaf(pos.pte, pos.level)) {
			addr = level_addr_end(addr, src->vm_end, pos.level);
			continue;
		}
		assert_true(pte_offset_lock(mm, addr, pos.level, &pos));
		nr = 1ul << level_order(pos.level);
		folio = page_folio(pfn_to_page(pte_pfn(pos.pte)));
		sr = folio_subrange_page(folio, pfn_to_page(pte_pfn(pos.pte)), nr);
		folio_get(folio);
		assert_int_equal(folio_try_dup_anon_rmap(sr, dst, src, pos.level), 0);
		ptep_set_wrprotect(pos.ptep);
		pte_unlock(&pos);
		table_map(dst->vm_mm, addr, pos.level, pte_wrprotect(pos.pte));
		addr += PAGES(nr);
	}
	WRITE_ONCE(mm->write_protect_seq, mm->write_protect_seq + 1);
}

/* A child's area with what the parent's maps. */
static inline struct vm_area_struct *hand_fork(struct vm_area_struct *src, struct mm_struct *mm)
{
	struct vm_area_struct *dst = hand_vma_dup(src, mm);

	assert_int_equal(anon_vma_fork(dst, src), 0);
	hand_copy(dst, src);
	return dst;
}

#endif /* OCTAVO_RMAP_MACHINE_H */
