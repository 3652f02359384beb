// SPDX-License-Identifier: MIT
/*
 * rmap_walk.c - from a folio to the VMAs that may map it, and what is done there that changes no mapping.
 *
 * The VMAs are visited in the order of the tree: by the first page that they map, and then as they came. So
 * a child is visited after the VMA that it is forked from, and fork copies from the latter to the former: an entry
 * that is copied while we walk is met in one of the two.
 *
 * What it does not do: folios of files, which nothing here knows the mappings of.
 */
#include "rmap_internal.h"

unsigned long folio_address_in_vma(const struct folio *folio, unsigned long idx,
				   const struct vm_area_struct *vma)
{
	unsigned long at = READ_ONCE(folio->index) + idx - vma->vm_pgoff;

	return at < vma_pages(vma) ? vma->vm_start + (at << PAGE_SHIFT) : (unsigned long)-EFAULT;
}

void rmap_walk_locked(struct anon_vma *anon_vma, unsigned long index, unsigned long nr,
		      struct folio *folio, const struct rmap_walk_control *rwc)
{
	struct vm_area_struct *vma;
	struct interval_node *node;

	for_each_vma_of_pages (vma, node, anon_vma, index, index + nr - 1) {
		unsigned long first = max(index, vma->vm_pgoff);
		unsigned long addr = vma->vm_start + ((first - vma->vm_pgoff) << PAGE_SHIFT);

		if (!rwc->rmap_one(folio, vma, addr, rwc->arg) ||
		    (rwc->done && rwc->done(folio, rwc->arg)))
			return;
	}
}

void rmap_walk(struct folio *folio, struct rmap_walk_control *rwc)
{
	struct anon_vma *anon_vma =
		rwc->anon_lock ? rwc->anon_lock(folio) : folio_lock_anon_vma_read(folio);

	if (!anon_vma)
		return;
	rmap_walk_locked(anon_vma, READ_ONCE(folio->index), folio_nr_pages(folio), folio, rwc);
	anon_vma_unlock_read(anon_vma);
}

/* ---- how many, and how young ---- */

static bool count_one(struct folio *folio, struct vm_area_struct *vma, unsigned long addr,
		      void *arg)
{
	struct folio_vma_walk w = folio_vma_walk(folio, vma, FVW_SYNC);

	while (folio_vma_walk_next(&w))
		*(unsigned long *)arg += w.nr;
	return true;
}

unsigned long folio_count_mappings(struct folio *folio)
{
	unsigned long count = 0;
	struct rmap_walk_control rwc = { .rmap_one = count_one, .arg = &count };

	rmap_walk(folio, &rwc);
	return count;
}

/* Entries of a batch that were used. Context: the ptl. */
static unsigned int batch_young(const struct folio_vma_walk *w)
{
	struct mm_struct *mm = w->vma->vm_mm;
	unsigned int young = 0;

	if (!pte_present(w->pos.pte))
		return 0;
	for (unsigned int i = 0; i < w->nr; i++)
		young += ptep_test_and_clear_young(w->pos.ptep + i);
	/* A mirror knows ranges only: it makes the batch young, if nothing else has. */
	if (mm_has_notifiers(mm) &&
	    __mmu_notifier_clear_young(mm, w->addr, w->addr + w->nr * level_size(w->pos.level)))
		young = max(young, 1u);
	return young;
}

static bool referenced_one(struct folio *folio, struct vm_area_struct *vma, unsigned long addr,
			   void *arg)
{
	struct folio_vma_walk w = folio_vma_walk(folio, vma, 0);

	while (folio_vma_walk_next(&w))
		*(unsigned int *)arg += batch_young(&w);
	return true;
}

unsigned int folio_referenced(struct folio *folio)
{
	unsigned int young = 0;
	struct rmap_walk_control rwc = { .rmap_one = referenced_one, .arg = &young };

	rmap_walk(folio, &rwc);
	return young;
}
