// SPDX-License-Identifier: MIT
/*
 * age.c - a new generation: who has been used since the last one?
 *
 * The page tables of every address space are walked once, and the folio behind each accessed entry becomes of the new
 * generation; the bit is cleared. So a page that is used costs a look at its entry, in the order in which entries lie, where a
 * walk from the folio to its entries would cost a search for each; and one that is not costs a load.
 *
 * Translations are not flushed: a CPU that keeps one does not set the bit again. It is found out, as on real machines, when the page is
 * taken away and comes back. What reclaim is about to take is asked once more, by its reverse map.
 *
 * After "Multi-Gen LRU" as its public documentation describes the idea of generations.
 */
#include "memcg.h"

#include "../space/span.h"

/* A folio that came by fork from another group goes by that one's clock. Context: the ptl, so it is mapped. */
static inline void mark_used(struct folio *folio, const struct lruvec *lv)
{
	u32 set = folio_set_nr(folio);

	folio_mark_used(folio, set == (lv->set ? lv->set->nr : 0) ? lv : folio_lruvec(folio));
}

/* Present entries of a last-level table. Context: the ptl. */
static void age_entries(const struct lruvec *lv, const struct pt_span *span)
{
	unsigned long nr = (span->end - span->addr) >> PAGE_SHIFT;

	for (unsigned long i = 0; i < nr; i++) {
		pte_t e = ptep_get(span->ptep + i);
		struct mapped m;

		if (!pte_present(e) || !pte_young(e) || pte_special(e))
			continue;
		m = pte_mapped(e);
		if (m.folio && ptep_test_and_clear_young(span->ptep + i))
			mark_used(m.folio, lv);
	}
}

static void age_leaf(const struct lruvec *lv, const struct pt_span *span)
{
	pte_t e = ptep_get(span->ptep);
	struct mapped m;

	if (!pte_present(e) || !pte_young(e))
		return;
	m = pte_mapped(e);
	if (m.folio && ptep_test_and_clear_young(span->ptep))
		mark_used(m.folio, lv);
}

/* Context: mmap_lock. */
static void age_area(const struct lruvec *lv, const struct vm_area_struct *vma)
{
	unsigned long addr = vma->vm_start;
	struct pt_span span;

	/* Nothing of these is ever taken. */
	if (vma->vm_flags & (VM_LOCKED | VM_PFNMAP | VM_IO) || !READ_ONCE(vma->anon_vma))
		return;
	while (pt_span_next(vma->vm_mm, addr, vma->vm_end, &span)) {
		if (span.level)
			age_leaf(lv, &span);
		else
			age_entries(lv, &span);
		pt_span_unlock(&span);
		addr = span.end;
	}
}

/* Who is changing his areas will be looked at next time. */
static void age_mm(const struct lruvec *lv, struct mm_struct *mm)
{
	struct vm_area_struct *vma;
	unsigned long addr = 0;

	if (!mmap_read_trylock(mm))
		return;
	while ((vma = find_vma(mm, addr))) {
		age_area(lv, vma);
		addr = vma->vm_end;
	}
	mmap_read_unlock(mm);
}

/* Whose pages its page tables mostly have. */
static const struct lruvec *mm_lruvec(const struct mm_struct *mm)
{
	struct mem_cgroup *memcg = READ_ONCE(mm->memcg);

	return memcg ? &memcg->lruvec : &octavo_state.reclaim.root;
}

void lruvec_age(struct lruvec *lv)
{
	struct mm_struct *mm = NULL;
	u32 gen = lruvec_now(lv) + 1;

	if (gen <= GEN_COLD)
		gen = GEN_COLD + 1;
	WRITE_ONCE(lv->gen, gen);
	count_event(RECLAIM_AGED, 1);
	while ((mm = mm_next(mm)))
		if (mm_lruvec(mm) == lv)
			age_mm(lv, mm);
}

void reclaim_age(void)
{
	struct lruvec *lv = &octavo_state.reclaim.root;

	/* who has it ages, or is about to */
	if (!spin_trylock(&lv->lock))
		return;
	lruvec_age(lv);
	spin_unlock(&lv->lock);
}
