/* SPDX-License-Identifier: MIT */
/*
 * zap.c - emptying page tables.
 *
 * A table is gone through under one hold of its ptl, by runs: entries that map consecutive pages of one
 * folio are cleared together, their reverse map is removed once, and their references go to the gather as
 * one number. The order is that of every removal: entry, flush, references. Of a file's dirty entries the flush
 * comes before the reverse map goes too, because a CPU may store through its old translation until
 * then, and who has found no mapping left believes that nobody writes any more.
 *
 * What it does not do: free tables (free_pgtables()), notify (except zap_page_range_single()).
 */
#include <octavo/plain.h>
#include <octavo/string.h>
#include <octavo/swap.h>

#include "span.h"

#define NR_LATE 32u

struct zap {
	struct mmu_gather *tlb;
	struct vm_area_struct *vma;
	bool keep_markers;
	bool locked;  /* the area is */
	bool full;    /* the gather is */
	bool present; /* something present was cleared, from @from on: a flush is owed */
	unsigned long from;
	u32 nr_late;
	struct folio_subrange late[NR_LATE]; /* reverse map to be removed after a flush */
	long rss[NR_MM_COUNTERS];
};

/* A page of a file was used, or written to, by way of a mapping. */
static void note_use(const struct vm_area_struct *vma, struct folio *folio, u64 bits)
{
	if (bits & _PAGE_DIRTY && !folio_test_flag(folio, PG_dirty))
		folio_set_flag(folio, PG_dirty);
	if (bits & _PAGE_ACCESSED && !(READ_ONCE(vma->vm_flags) & (VM_SEQ_READ | VM_RAND_READ)) &&
	    !folio_test_flag(folio, PG_referenced))
		folio_set_flag(folio, PG_referenced);
}

/* The flush that z->late waits for, then what waits. Context: the ptl; entries are cleared up to @end. */
static void zap_late(struct zap *z, unsigned long end)
{
	tlb_note_range(z->tlb, z->from, end, PGTABLE_LEVEL_PTE);
	tlb_flush_mmu_tlbonly(z->tlb);
	for (u32 i = 0; i < z->nr_late; i++)
		folio_remove_rmap(z->late[i], z->vma, PGTABLE_LEVEL_PTE);
	z->nr_late = 0;
	z->present = false;
}

/* Pages of a file: what hardware said of them is kept. */
static void zap_file_run(struct zap *z, struct folio_subrange sr, unsigned long addr, pte_t *ptep)
{
	u64 bits = 0;

	for (u32 i = 0; i < sr.nr; i++)
		bits |= z->tlb->fullmm ? ptep_get_and_clear_full(ptep + i).v
				       : ptep_get_and_clear(ptep + i).v;
	note_use(z->vma, sr.folio, bits);
	z->rss[mm_counter(sr.folio)] -= sr.nr;
	if (!(bits & _PAGE_DIRTY) || z->tlb->fullmm) {
		folio_remove_rmap(sr, z->vma, PGTABLE_LEVEL_PTE);
		return;
	}
	z->late[z->nr_late++] = sr;
	if (z->nr_late == NR_LATE)
		zap_late(z, addr + ((unsigned long)sr.nr << PAGE_SHIFT));
}

/*
 * Anonymous pages: nobody asks whether they were used, so the entries are just stored to. Whoever depends on their being
 * gone waits for the flush, or for the references; and the hardware's own read-modify-write of one fails.
 */
static inline void zap_anon_run(struct zap *z, struct folio_subrange sr, pte_t *ptep)
{
	clear_ptes(ptep, sr.nr);
	z->rss[MM_ANONPAGES] -= sr.nr;
	folio_remove_rmap(sr, z->vma, PGTABLE_LEVEL_PTE);
}

/* What a locked area had is not locked any more for who still has it. */
static inline void zap_unlocks(const struct zap *z, struct folio *folio)
{
	if (unlikely(z->locked && folio_test_flag(folio, PG_mlocked)))
		folio_clear_flag(folio, PG_mlocked);
}

/* Entries of any kind. Return: how many went, 1 to @max. */
static inline unsigned long zap_other(struct zap *z, unsigned long addr, pte_t *ptep, pte_t e,
				      unsigned long max)
{
	const struct mapped m = pte_mapped(e);
	struct folio_subrange sr = { .folio = m.folio, .first = 0, .nr = 1 };

	z->present = true;
	if (unlikely(!m.folio)) {
		ptep_get_and_clear(ptep);
		if (m.page)
			z->full |= tlb_remove_page(z->tlb, m.page);
		return 1;
	}
	if (folio_test_large(m.folio))
		sr = mapped_subrange(m.folio, pte_pfn(e), folio_run(m.folio, ptep, e, max));
	if (likely(m.anon))
		zap_anon_run(z, sr, ptep);
	else
		zap_file_run(z, sr, addr, ptep);
	zap_unlocks(z, m.folio);
	z->full |= tlb_remove_folio(z->tlb, m.folio, sr.nr);
	return sr.nr;
}

/*
 * Anonymous folios of class SMALL, one after the other, up to the first entry that is something else. Return: how many.
 */
static __noinline unsigned long zap_smalls(struct zap *z, pte_t *ptep, unsigned long max)
{
	struct mmu_gather *tlb = z->tlb;
	bool full = false;
	unsigned long n;

	for (n = 0; n < max && !full; n++) {
		pte_t e = ptep_get(ptep + n);
		struct folio *folio;
		u32 flags;

		if (!pte_present(e) || pte_special(e))
			break;
		folio = rmap_small_anon(pte_pfn(e), &flags);
		if (!folio)
			break;
		/* as in zap_anon_run() */
		pte_clear(ptep + n);
		folio_remove_rmap_small(folio);
		if (unlikely(flags & (1u << PG_mlocked)) && z->locked)
			folio_clear_flag(folio, PG_mlocked);
		full = tlb_remove_folio(tlb, folio, 1);
	}
	z->present |= n != 0;
	z->full = full;
	z->rss[MM_ANONPAGES] -= (long)n;
	return n;
}

/* Return: how many went, 1 to @max. */
static inline unsigned long zap_present(struct zap *z, unsigned long addr, pte_t *ptep, pte_t e,
					unsigned long max)
{
	unsigned long nr = zap_smalls(z, ptep, max);

	return likely(nr) ? nr : zap_other(z, addr, ptep, e, max);
}

/* Nothing of the folio's is counted for a migration entry, and no reference is its own: migrate.h. */
static unsigned long zap_migration(struct zap *z, pte_t *ptep, pte_t e, unsigned long max)
{
	unsigned long nr = migration_run(ptep, e, max);

	clear_ptes(ptep, nr);
	z->rss[migration_counter(e)] -= (long)nr;
	return nr;
}

static unsigned long zap_slots(struct zap *z, pte_t *ptep, pte_t e, unsigned long max)
{
	unsigned long nr = clear_slots(ptep, e, max);

	z->rss[MM_SWAPENTS] -= (long)nr;
	return nr;
}

/* A device has the pages for itself: mappings and references as for present entries, and nothing to flush. */
static unsigned long zap_device(struct zap *z, pte_t *ptep, struct folio_subrange sr,
				unsigned int level)
{
	u32 nr = level ? 1 : sr.nr;

	clear_ptes(ptep, nr);
	z->rss[MM_ANONPAGES] -= sr.nr;
	folio_remove_rmap(sr, z->vma, level);
	zap_unlocks(z, sr.folio);
	z->full |= tlb_remove_folio(z->tlb, sr.folio, nr);
	return nr;
}

static unsigned long zap_swap_form(struct zap *z, unsigned long addr, pte_t *ptep, pte_t e,
				   unsigned long max)
{
	swp_entry_t entry = pte_to_swp_entry(e);

	switch (swp_type(entry)) {
	case SWP_PTE_MARKER:
		if (z->keep_markers && swp_offset(entry) & (PTE_MARKER_GUARD | PTE_MARKER_POISONED))
			return 1;
		/* fall through */
	case SWP_HWPOISON:
		pte_clear(ptep);
		return 1;
	case SWP_MIGRATION_READ:
	case SWP_MIGRATION_READ_EXCLUSIVE:
	case SWP_MIGRATION_WRITE:
		return zap_migration(z, ptep, e, max);
	case SWP_DEVICE_PRIVATE_READ:
	case SWP_DEVICE_PRIVATE_WRITE:
		return zap_device(z, ptep, device_run(ptep, e, max), PGTABLE_LEVEL_PTE);
	case SWP_DEVICE_EXCLUSIVE:
		return zap_device(z, ptep, device_run(ptep, e, 1), PGTABLE_LEVEL_PTE);
	default:
		if (is_swap_slot(entry))
			return zap_slots(z, ptep, e, max);
		bad_entry(z->vma, addr, e, "unmap_page_range");
	}
}

/* Entries of one last-level table. Return: the address where it stopped, because the gather is full. */
static unsigned long zap_entries(struct zap *z, const struct pt_span *span)
{
	unsigned long addr = span->addr;
	pte_t *ptep = span->ptep;

	z->from = addr;
	z->present = false;
	while (addr < span->end && !z->full) {
		unsigned long max = (span->end - addr) >> PAGE_SHIFT, nr;
		pte_t e = ptep_get(ptep);

		if (pte_none(e))
			nr = pte_none_run(ptep, max);
		else if (likely(pte_present(e)))
			nr = zap_present(z, addr, ptep, e, max);
		else
			nr = zap_swap_form(z, addr, ptep, e, max);
		ptep += nr;
		addr += nr << PAGE_SHIFT;
	}
	if (z->nr_late)
		zap_late(z, addr);
	else if (z->present)
		tlb_note_range(z->tlb, z->from, addr, PGTABLE_LEVEL_PTE);
	return addr;
}

/* One entry above the last level, all of which goes. */
static void zap_leaf(struct zap *z, const struct pt_span *span)
{
	unsigned long nr = 1ul << level_order(span->level);
	pte_t e = ptep_get_and_clear(span->ptep);
	struct mapped m;

	if (pte_is_swap(e) && is_migration_entry(pte_to_swp_entry(e))) {
		z->rss[migration_counter(e)] -= (long)nr;
		return;
	}
	if (pte_is_device_private(e)) {
		zap_device(z, span->ptep, device_leaf(e, span->level), span->level);
		return;
	}
	if (!pte_present(e))
		bad_entry(z->vma, span->addr, e, "unmap_page_range");
	tlb_note_range(z->tlb, span->addr, span->end, span->level);
	m = pte_mapped(e);
	if (!m.page)
		return;
	if (!m.folio)
		bad_entry(z->vma, span->addr, e, "unmap_page_range");
	if (!m.anon) {
		note_use(z->vma, m.folio, e.v);
		if (pte_dirty(e))
			tlb_flush_mmu_tlbonly(z->tlb);
	}
	z->rss[mapped_counter(&m)] -= (long)nr;
	folio_remove_rmap(mapped_subrange(m.folio, pte_pfn(e), nr), z->vma, span->level);
	zap_unlocks(z, m.folio);
	z->full |= tlb_remove_folio(z->tlb, m.folio, 1);
}

/*
 * A leaf of which only a part goes. Return: true: go on there; false: it stays, because it came with a fault
 * after split_leaves_at().
 */
static bool zap_split(struct zap *z, unsigned long addr)
{
	if (!split_leaf(z->vma, addr))
		return true;
	/* odd: held for writing, so no fault came, and the caller forgot */
	if (READ_ONCE(z->vma->vm_mm->lock_seq) & 1)
		octavo_panic("unmap_page_range: a leaf reaches out of the range at 0x%lx", addr);
	return false;
}

void unmap_page_range(struct mmu_gather *tlb, struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, const struct zap_details *details)
{
	struct zap z = {
		.tlb = tlb,
		.vma = vma,
		.keep_markers = details && details->keep_markers,
		.locked = READ_ONCE(vma->vm_flags) & VM_LOCKED,
	};
	struct pt_span span;

	while (pt_span_next(vma->vm_mm, start, end, &span)) {
		bool split = span.level && !pt_span_whole(&span);

		start = span.end;
		if (!span.level)
			start = zap_entries(&z, &span);
		else if (!split)
			zap_leaf(&z, &span);
		add_mm_counters(vma->vm_mm, z.rss);
		memset(z.rss, 0, sizeof(z.rss));
		pt_span_unlock(&span);
		if (split && zap_split(&z, span.addr))
			start = span.addr;
		if (z.full) {
			tlb_flush_mmu(tlb);
			z.full = false;
		}
	}
}

int zap_page_range_single(struct vm_area_struct *vma, unsigned long addr, unsigned long size)
{
	const struct zap_details details = { .even_cows = true, .keep_markers = true };
	struct mmu_notifier_range range;
	unsigned long end = addr + size;
	struct mmu_gather tlb;
	int err;

	VM_BUG_ON(addr < vma->vm_start || end > vma->vm_end || addr >= end ||
		  !IS_ALIGNED(addr | size, PAGE_SIZE));
	err = split_leaves_at(vma, addr, end);
	if (err)
		return err;
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, vma->vm_mm, addr, end);
	mmu_notifier_invalidate_range_start(&range);
	tlb_gather_mmu(&tlb, vma->vm_mm);
	unmap_page_range(&tlb, vma, addr, end, &details);
	tlb_finish_mmu(&tlb);
	mmu_notifier_invalidate_range_end(&range);
	return 0;
}

void zap_vma_ptes(struct vm_area_struct *vma, unsigned long addr, unsigned long size)
{
	if (!(READ_ONCE(vma->vm_flags) & (VM_PFNMAP | VM_MIXEDMAP)) || !size ||
	    addr < vma->vm_start || addr + size > vma->vm_end || addr + size < addr ||
	    !IS_ALIGNED(addr | size, PAGE_SIZE))
		return;
	if (zap_page_range_single(vma, addr, size))
		octavo_panic("zap_vma_ptes: a leaf of 0x%lx-0x%lx is mapped in part", addr,
			     addr + size);
}
