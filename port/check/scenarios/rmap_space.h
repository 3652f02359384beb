/* SPDX-License-Identifier: MIT */
/*
 * rmap_space.h - an address space made by hand with a folio mapped in it, and who pins it: for scenarios of reverse
 * maps and of migration. All that they call is the shipped functions.
 */
#ifndef CHECK_RMAP_SPACE_H
#define CHECK_RMAP_SPACE_H

#include <octavo/gup.h>
#include <octavo/migrate.h>
#include <octavo/octavo.h>
#include <octavo/pgtable.h>
#include <octavo/rmap.h>
#include <octavo/tlb.h>

#include "../../../mm/rmap/rmap_init.h"
#include "check.h"

/* Page of the area: not the first of a table, and the second page is in the same. */
#define FIRST 9ul
#define ADDR  (FIRST << PAGE_SHIFT)

static SHARED struct {
	struct mm_struct mm, other_mm;
	struct mm_cpu cpu[2][OCTAVO_NR_CPUS];
	struct vm_area_struct vma, other, child;
	struct folio *folio;
	struct anon_vma *first;
	unsigned long pfn;
	pte_t *pte;
	struct page *got[4][2];
	long nr_got[4];
	u32 shared, stored;
	u64 seen; /* plain */
} s;

static inline void make_area(struct vm_area_struct *vma, struct mm_struct *mm)
{
	*vma = (struct vm_area_struct){
		.vm_mm = mm,
		.vm_start = ADDR,
		.vm_end = ADDR + 4 * PAGE_SIZE,
		.vm_pgoff = FIRST,
		.vm_flags = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE,
		.vm_page_prot = PAGE_READONLY,
	};
	INIT_LIST_HEAD(&vma->anon_vma_chain);
}

/* For finish() too: entries of the area go, and what they held. */
static inline void zap(struct vm_area_struct *vma)
{
	for (unsigned long addr = vma->vm_start; addr < vma->vm_end; addr += PAGE_SIZE) {
		struct folio *folio;
		struct pt_pos pos;
		pte_t e;

		if (!pte_offset_lock(vma->vm_mm, addr, 0, &pos))
			return;
		e = ptep_get_and_clear(pos.ptep);
		folio = pte_present(e) ? page_folio(pfn_to_page(pte_pfn(e))) : NULL;
		if (folio) {
			flush_tlb_range(vma->vm_mm, addr, addr + PAGE_SIZE, 0);
			folio_remove_rmap(folio_subrange_page(folio, pfn_to_page(pte_pfn(e)), 1),
					  vma, 0);
		}
		pte_unlock(&pos);
		if (folio)
			folio_put(folio);
	}
}

/* A folio of @order, mapped by as many entries @bits, and an area. CPU 0's. */
static inline void setup_mapped(unsigned int order, u64 bits)
{
	struct pt_pos pos;

	CHECK(!rmap_caches_init(GFP_KERNEL));
	CHECK(!pgd_init(&s.mm, GFP_KERNEL));
	s.mm.cpu = s.cpu[0];
	s.other_mm.cpu = s.cpu[1];
	s.mm.task_size = TASK_SIZE_MAX;
	make_area(&s.vma, &s.mm);
	CHECK(!anon_vma_prepare(&s.vma));
	s.first = s.vma.anon_vma;
	s.folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, order, FOLIO_ANON);
	CHECK(s.folio && !pgtable_alloc_to(&s.mm, ADDR, 0, GFP_KERNEL, &pos));
	s.pfn = folio_pfn(s.folio);
	s.pte = pos.ptep;
	/* References: one for each entry, and the scenario's. */
	folio_ref_add(s.folio, 1u << order);
	folio_add_new_anon_rmap(folio_subrange(s.folio, 0, 1ul << order), &s.vma, ADDR, 0);
	for (unsigned long i = 0; i < 1ul << order; i++)
		set_pte(s.pte + i, pfn_pte(s.pfn + i, (pgprot_t){ PAGE_READONLY.v | bits }));
}

static inline void setup_small(void)
{
	setup_mapped(0, _PAGE_RW);
}

static inline void setup_pair(void)
{
	setup_mapped(1, _PAGE_RW);
}

/* Not writable yet: after sharing the same value comes back. */
static inline void setup_pair_clean(void)
{
	setup_mapped(1, 0);
}

static inline void setup_small_clean(void)
{
	setup_mapped(0, 0);
}

/* ---- pins ---- */

static inline void pin(unsigned long first, unsigned long nr, u32 flags)
{
	unsigned int t = check_thread();

	s.nr_got[t] = pin_user_pages_fast(&s.mm, ADDR + first * PAGE_SIZE, nr,
					  flags | FOLL_FAST_ONLY, s.got[t]);
}

static inline void pinner_of_both(void)
{
	pin(0, 2, 0);
}

static inline void pinner_of_second(void)
{
	pin(1, 1, 0);
}

static inline void pinner(void)
{
	pin(0, 1, 0);
}

static inline void pinner_for_writing(void)
{
	pin(0, 1, FOLL_WRITE);
}

#endif /* CHECK_RMAP_SPACE_H */
