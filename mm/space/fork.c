// SPDX-License-Identifier: MIT
/*
 * fork.c - a child's page tables, copied from its parent's.
 *
 * A pair of last-level tables is copied under both ptls, the child's taken first: it is new, so nobody who has the
 * parent's waits for it. What both map is counted before the child's entry is stored, by runs of one folio.
 * In private areas both sides become read-only, and an exclusive page is shared from then on; the parent's
 * other threads may write to it through old translations until the caller's flush, which comes before
 * the child runs.
 *
 * Pages that may be pinned cannot be shared (memdesc.md "Look-ups", step 8): whoever pinned them expects to go
 * on seeing what the parent writes. They are copied here. The memory for that is had without locks, so
 * the walk stops at such a page, gets some, and goes on there.
 *
 * What it does not do: flush, change areas or anon_vmas, or take tables back when it fails.
 */
#include <octavo/errno.h>
#include <octavo/plain.h>
#include <octavo/string.h>
#include <octavo/swap.h>

#include "span.h"

#define NR_COPIES 32u

struct fork {
	struct vm_area_struct *dst, *src;
	bool cow; /* private: what both map may be written to by neither */
	bool protected;
	int err;
	u32 want;      /* copies that the page where the walk stopped, and those after it, need */
	u32 nr_copies; /* ready */
	struct folio *copies[NR_COPIES];
	long rss[NR_MM_COUNTERS];
};

/* Where the two are: entries of one level, both ptls held. */
struct fork_pos {
	unsigned long addr;
	pte_t *src, *dst;
};

/* ---- present entries ---- */

/* Written out, for one instruction each. */
static void wrprotect_run(pte_t *ptep, unsigned long nr)
{
	for (; nr >= 4; nr -= 4, ptep += 4) {
		ptep_set_wrprotect(ptep);
		ptep_set_wrprotect(ptep + 1);
		ptep_set_wrprotect(ptep + 2);
		ptep_set_wrprotect(ptep + 3);
	}
	for (; nr; nr--, ptep++)
		ptep_set_wrprotect(ptep);
}

/* The child's @nr entries, and in private areas the parent's write-protected, from @e on, which has what all have. */
static __always_inline void share_entries(struct fork *f, const struct fork_pos *pos, pte_t e,
					  unsigned long nr)
{
	pte_t child = pte_clear_uffd_wp(pte_mkold(e));

	if (f->cow && pte_write(e)) {
		if (nr == 1)
			ptep_set_wrprotect(pos->src);
		else
			wrprotect_run(pos->src, nr);
		child = pte_wrprotect(child);
		f->protected = true;
	}
	set_ptes(pos->dst, child, nr);
}

/* Of a file's pages whoever cleans one goes by the parent's entry as well. */
static inline pte_t child_of_file(const struct fork *f, pte_t e)
{
	return f->cow ? e : pte_mkclean(e);
}

/* Copies for the child of pages from @sr.first on. Return: how many; 0: memory is wanted first. */
static unsigned long copy_pinned(struct fork *f, const struct fork_pos *pos,
				 struct folio_subrange sr, pte_t e)
{
	unsigned long n;

	if (!f->nr_copies)
		f->want = min(sr.nr, NR_COPIES);
	for (n = 0; n < sr.nr && f->nr_copies; n++) {
		unsigned long addr = pos->addr + (n << PAGE_SHIFT);
		struct folio *copy = f->copies[--f->nr_copies];
		pte_t new = pte_mkdirty(pfn_pte(folio_pfn(copy), f->dst->vm_page_prot));

		memcpy(folio_address(copy), pfn_to_virt(pte_pfn(e) + n), PAGE_SIZE);
		folio_add_new_anon_rmap(folio_subrange(copy, 0, 1), f->dst, addr,
					PGTABLE_LEVEL_PTE);
		if (f->dst->vm_flags & VM_WRITE)
			new = pte_mkwrite(new);
		set_pte(pos->dst + n, new);
	}
	f->rss[MM_ANONPAGES] += (long)n;
	return n;
}

/* Some of a run may be pinned. Return: how many were dealt with, 0: memory is wanted first. */
static unsigned long copy_some_pinned(struct fork *f, const struct fork_pos *pos,
				      struct folio_subrange sr, pte_t e)
{
	bool exclusive;

	sr.nr = folio_anon_exclusive_run(sr, &exclusive);
	if (exclusive)
		return copy_pinned(f, pos, sr, e);
	folio_ref_add(sr.folio, sr.nr);
	if (folio_try_dup_anon_rmap(sr, f->dst, f->src, PGTABLE_LEVEL_PTE))
		bad_entry(f->src, pos->addr, e, "copy_page_range");
	share_entries(f, pos, e, sr.nr);
	f->rss[MM_ANONPAGES] += sr.nr;
	return sr.nr;
}

/* The same of any run. */
static inline unsigned long copy_anon(struct fork *f, const struct fork_pos *pos,
				      struct folio_subrange sr, pte_t e)
{
	folio_ref_add(sr.folio, sr.nr);
	if (unlikely(folio_try_dup_anon_rmap(sr, f->dst, f->src, PGTABLE_LEVEL_PTE))) {
		folio_put_refs(sr.folio, sr.nr);
		return copy_some_pinned(f, pos, sr, e);
	}
	share_entries(f, pos, e, sr.nr);
	f->rss[MM_ANONPAGES] += sr.nr;
	return sr.nr;
}

/* Pages that are counted by page, if at all, and pages of files. Return: how many entries. */
static unsigned long copy_others(struct fork *f, const struct fork_pos *pos, const struct mapped *m,
				 pte_t e, struct folio_subrange sr)
{
	if (m->folio) {
		folio_ref_add(m->folio, sr.nr);
		folio_dup_file_rmap(sr, PGTABLE_LEVEL_PTE);
		f->rss[mm_counter(m->folio)] += sr.nr;
	} else if (m->page) {
		get_page(m->page);
	}
	share_entries(f, pos, child_of_file(f, e), sr.nr);
	return sr.nr;
}

/*
 * Anonymous folios of class SMALL, one after the other, up to the first entry that is something else or may be pinned.
 * Context: a private area. Return: how many.
 */
static __noinline unsigned long copy_smalls(struct fork *f, const struct fork_pos *pos,
					    unsigned long max)
{
	pte_t *src = pos->src, *dst = pos->dst;
	bool protected = false;
	unsigned long n;

	for (n = 0; n < max; n++) {
		pte_t e = ptep_get(src + n), child = pte_clear_uffd_wp(pte_mkold(e));
		struct folio *folio;
		u32 flags;

		if (!pte_present(e) || pte_special(e))
			break;
		folio = rmap_small_anon(pte_pfn(e), &flags);
		if (!folio || folio_try_dup_anon_rmap_small(folio, flags, f->src))
			break;
		if (pte_write(e)) {
			ptep_set_wrprotect(src + n);
			protected = true;
		}
		set_pte(dst + n, pte_wrprotect(child));
	}
	f->protected |= protected;
	f->rss[MM_ANONPAGES] += (long)n;
	return n;
}

/* Return: how many entries; 0: memory is wanted first. */
static inline unsigned long copy_present(struct fork *f, const struct fork_pos *pos, pte_t e,
					 unsigned long max)
{
	unsigned long small = f->cow ? copy_smalls(f, pos, max) : 0;
	struct folio_subrange sr = { .nr = 1 };
	struct mapped m;

	if (likely(small))
		return small;
	m = pte_mapped(e);
	sr.folio = m.folio;
	if (m.folio && folio_test_large(m.folio)) {
		unsigned long pfn = pte_pfn(e), nr = 1;

		if (max > 1)
			nr = folio_pte_batch_flags(m.folio, f->src, pos->src, &e, (unsigned int)max,
						   FPB_RESPECT_WRITE | FPB_RESPECT_SOFT_DIRTY |
							   FPB_MERGE_YOUNG_DIRTY);
		sr = mapped_subrange(m.folio, pfn, nr);
	}
	if (likely(m.anon))
		return copy_anon(f, pos, sr, e);
	return copy_others(f, pos, &m, e, sr);
}

/* ---- entries of swap form ---- */

/*
 * @nr migration entries of @level, of one folio. They are in none of its counts (migrate.h); nobody has pinned its
 * pages, so in a private area both sides come back read-only. A walk that brings entries back comes to the
 * child's area after the parent's, which is before it in the tree.
 */
static void share_migration(struct fork *f, const struct fork_pos *pos, pte_t e, unsigned long nr,
			    unsigned int level)
{
	f->rss[migration_counter(e)] += (long)(nr << level_order(level));
	if (f->cow && swp_type(pte_to_swp_entry(e)) != SWP_MIGRATION_READ) {
		e = swap_form_retype(e, SWP_MIGRATION_READ);
		for (unsigned long i = 0; i < nr; i++)
			set_pte(pos->src + i, pte_swp_advance(e, i));
	}
	e = pte_swp_clear_uffd_wp(e);
	for (unsigned long i = 0; i < nr; i++)
		set_pte(pos->dst + i, pte_swp_advance(e, i));
}

/*
 * Pages that a device has for itself are shared like others, and cannot be pinned, so this cannot fail (S1.39). Both
 * sides come back read-only, and neither is exclusive.
 */
static unsigned long copy_device(struct fork *f, const struct fork_pos *pos, pte_t e,
				 struct folio_subrange sr, unsigned int level)
{
	u32 nr = level ? 1 : sr.nr;
	pte_t shared = swap_form_retype(pte_swp_clear_exclusive(e), SWP_DEVICE_PRIVATE_READ);

	folio_ref_add(sr.folio, nr);
	if (folio_try_dup_anon_rmap(sr, f->dst, f->src, level))
		bad_entry(f->src, pos->addr, e, "copy_page_range");
	for (u32 i = 0; i < nr; i++) {
		set_pte(pos->src + i, pte_swp_advance(shared, i));
		set_pte(pos->dst + i, pte_swp_advance(pte_swp_clear_uffd_wp(shared), i));
	}
	f->rss[MM_ANONPAGES] += sr.nr;
	return nr;
}

static unsigned long copy_slots(struct fork *f, const struct fork_pos *pos, pte_t e,
				unsigned long max)
{
	unsigned long nr = swap_pte_batch(pos->src, (unsigned int)max, e);

	f->err = swap_dup_entries(pte_to_swp_entry(e), (u32)nr);
	if (f->err)
		return 0;
	e = pte_swp_clear_exclusive(e);
	for (unsigned long i = 0; i < nr; i++) {
		set_pte(pos->src + i, pte_swp_advance(e, i));
		set_pte(pos->dst + i, pte_swp_advance(pte_swp_clear_uffd_wp(e), i));
	}
	f->rss[MM_SWAPENTS] += (long)nr;
	return nr;
}

/* Return: how many; 0 and f->err. */
static unsigned long copy_swap_form(struct fork *f, const struct fork_pos *pos, pte_t e,
				    unsigned long max)
{
	swp_entry_t entry = pte_to_swp_entry(e);
	unsigned long nr;
	u64 marker;

	switch (swp_type(entry)) {
	case SWP_PTE_MARKER:
		marker = swp_offset(entry) & ~PTE_MARKER_UFFD_WP;
		if (marker)
			set_pte(pos->dst, swp_entry_to_pte(swp_entry(SWP_PTE_MARKER, marker)));
		return 1;
	case SWP_HWPOISON:
		set_pte(pos->dst, pte_swp_clear_uffd_wp(e));
		return 1;
	case SWP_MIGRATION_READ:
	case SWP_MIGRATION_READ_EXCLUSIVE:
	case SWP_MIGRATION_WRITE:
		nr = migration_run(pos->src, e, max);
		share_migration(f, pos, e, nr, PGTABLE_LEVEL_PTE);
		return nr;
	case SWP_DEVICE_PRIVATE_READ:
	case SWP_DEVICE_PRIVATE_WRITE:
		return copy_device(f, pos, e, device_run(pos->src, e, max), PGTABLE_LEVEL_PTE);
	case SWP_DEVICE_EXCLUSIVE:
		/* the device has been told of the fork, and has it no more */
		e = device_exclusive_pte(f->src, e);
		set_pte(pos->src, e);
		return copy_present(f, pos, e, 1);
	default:
		if (is_swap_slot(entry))
			return copy_slots(f, pos, e, max);
		bad_entry(f->src, pos->addr, e, "copy_page_range");
	}
}

/* ---- tables ---- */

/* Entries of one pair of last-level tables. Return: the address where it stopped. */
static unsigned long copy_entries(struct fork *f, const struct pt_span *span, pte_t *dst)
{
	struct fork_pos pos = { span->addr, span->ptep, dst };

	while (pos.addr < span->end) {
		unsigned long max = (span->end - pos.addr) >> PAGE_SHIFT, nr;
		pte_t e = ptep_get(pos.src);

		if (pte_none(e))
			nr = pte_none_run(pos.src, max);
		else if (likely(pte_present(e)))
			nr = copy_present(f, &pos, e, max);
		else
			nr = copy_swap_form(f, &pos, e, max);
		if (unlikely(!nr))
			break;
		pos.src += nr;
		pos.dst += nr;
		pos.addr += nr << PAGE_SHIFT;
	}
	return pos.addr;
}

/* One entry above the last level. Return: false: it is pinned, and has to be made a table first. */
static bool copy_leaf(struct fork *f, const struct pt_span *span, pte_t *dst)
{
	struct fork_pos pos = { span->addr, span->ptep, dst };
	unsigned long nr = 1ul << level_order(span->level);
	pte_t e = ptep_get(span->ptep);
	struct folio_subrange sr;
	struct mapped m;

	if (unlikely(pte_is_swap(e))) {
		if (is_migration_entry(pte_to_swp_entry(e)))
			share_migration(f, &pos, e, 1, span->level);
		else if (pte_is_device_private(e))
			copy_device(f, &pos, e, device_leaf(e, span->level), span->level);
		else
			bad_entry(f->src, span->addr, e, "copy_page_range");
		return true;
	}
	m = pte_mapped(e);
	if (m.folio) {
		sr = mapped_subrange(m.folio, pte_pfn(e), nr);
		folio_get(m.folio);
		if (!m.anon) {
			folio_dup_file_rmap(sr, span->level);
		} else if (folio_try_dup_anon_rmap(sr, f->dst, f->src, span->level)) {
			folio_put(m.folio);
			return false;
		}
		f->rss[mapped_counter(&m)] += (long)nr;
	} else if (m.page) {
		bad_entry(f->src, span->addr, e, "copy_page_range");
	}
	share_entries(f, &pos, m.anon ? e : child_of_file(f, e), 1);
	return true;
}

/* What a stop was for. Context: no lock. */
static int fork_provide(struct fork *f)
{
	if (f->err || !f->want)
		return f->err;
	f->nr_copies =
		(u32)mm_folio_alloc_bulk(f->dst->vm_mm, GFP_HIGHUSER_MOVABLE, f->want, f->copies);
	f->want = 0;
	return f->nr_copies ? 0 : -ENOMEM;
}

/*
 * One piece, whose ptl was held a moment ago. Return: where to go on; unchanged if that has to be looked at again.
 */
static unsigned long copy_span(struct fork *f, const struct pt_span *span)
{
	bool split = span->level && !pt_span_whole(span);
	unsigned long next = span->addr;
	struct pt_pos to;
	pte_t e;

	if (!split) {
		f->err = pgtable_alloc_to(f->dst->vm_mm, span->addr, span->level, GFP_KERNEL, &to);
		if (f->err)
			return next;
		spin_lock(&to.pt->ptl);
		spin_lock(&span->pt->ptl);
		e = ptep_get(span->ptep);
		if (!span->level)
			next = copy_entries(f, span, to.ptep);
		else if (pte_none(e) || pte_table(e, span->level))
			; /* reverse maps were faster */
		else if (copy_leaf(f, span, to.ptep))
			next = span->end;
		else
			split = true;
		pt_span_unlock(span);
		pte_unlock(&to);
	}
	if (split)
		f->err = split_leaf(f->src, span->addr);
	return next;
}

static int copy_spans(struct fork *f)
{
	unsigned long addr = f->src->vm_start, end = f->src->vm_end;
	struct pt_span span;
	int err = 0;

	while (!err && pt_span_next(f->src->vm_mm, addr, end, &span)) {
		pt_span_unlock(&span);
		addr = copy_span(f, &span);
		err = fork_provide(f);
	}
	add_mm_counters(f->dst->vm_mm, f->rss);
	while (f->nr_copies)
		folio_put(f->copies[--f->nr_copies]);
	return err;
}

int copy_page_range(struct vm_area_struct *dst, struct vm_area_struct *src, bool *protected)
{
	struct fork f = { .dst = dst, .src = src, .cow = is_cow_mapping(src->vm_flags) };
	struct mmu_notifier_range range;
	int err;

	VM_BUG_ON(dst->vm_start != src->vm_start || dst->vm_end != src->vm_end);
	if (!f.cow)
		return copy_spans(&f);
	mmu_notifier_range_init(&range, MMU_NOTIFY_PROTECTION_PAGE, src->vm_mm, src->vm_start,
				src->vm_end);
	mmu_notifier_invalidate_range_start(&range);
	err = copy_spans(&f);
	/* before the caller's flush: what a mirror looks up again from here on is write-protected */
	mmu_notifier_invalidate_range_end(&range);
	*protected |= f.protected;
	return err;
}

bool vma_needs_copy(const struct vm_area_struct *dst, const struct vm_area_struct *src)
{
	/* what no fault would bring back; and anonymous pages, which are in no other place */
	return dst->vm_flags & (VM_PFNMAP | VM_MIXEDMAP | VM_UFFD_WP) ||
	       READ_ONCE(src->vm_guards) || src->anon_vma;
}
