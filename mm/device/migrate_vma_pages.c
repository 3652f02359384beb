// SPDX-License-Identifier: MIT
/*
 * migrate_vma_pages.c - folios of the driver's in place of what was unmapped, and where nothing was.
 *
 * 1. As large as the source: it gets the source's mapping, index and flags, and the source's entries when all is over.
 *
 * 2. Smaller: the source, which nothing maps, is split first, and goes on as pieces. A hole is split by counting.
 *
 * 3. Larger: only if sources fill it, each moving, and side by side in one anon_vma and order of addresses. Then it is what one
 *    folio would be that had been mapped there from the start: one mapping, one index, exclusivity by page; and each source's
 *    entries become those of its part, one by one. With a gap in it the folio would have pages that nobody has,
 *    for ever; or pages of two families of areas, of which a reverse-map walk finds one. So then all of them stay. So they do
 *    if one may be mapped above the last level, and its part of the larger one could not be: entries can't be split at the end.
 *
 * 4. Where nothing was, or the zero page, a folio is mapped at once, and the contents have to be in it. What
 *    cannot be, because there is something now, or no memory for tables, leaves the element without MIGRATE, and
 *    nothing behind.
 *
 * 5. Groups. A device's folio is charged as what it takes the place of was, limits or not; where nothing was, to the group of
 *    the address space, and what that may not have stays a hole. The system's memory is charged or not as it was allocated:
 *    migrate_folio_alloc(), migrate_folio_alloc_like().
 */
#include <octavo/errno.h>
#include <octavo/mmu_notifier.h>
#include <octavo/state.h>
#include <octavo/tlb.h>

#include "../space/space.h"
#include "device_migrate.h"

/* ---- what may be a destination ---- */

/* The driver's folio at @i, checked as far as it goes. NULL: none, or not one for anonymous memory. */
static struct folio *dst_folio(const struct migration *m, unsigned long i)
{
	struct page *page = migrate_pfn_to_page(m->dst[i]);
	struct folio *folio = page ? page_folio(page) : NULL;

	if (!page)
		return NULL;
	if (!folio || !folio_test_locked(folio) || folio_page_idx(folio, page))
		octavo_panic("migrate_vma: element %lu is not the first page of a locked folio", i);
	/* a source, another element's, or exchanged already: its entries and another's would become one folio's */
	if (folio_test_anon(folio) && READ_ONCE(folio->mapping) && !folio_mapped(folio))
		octavo_panic("migrate_vma: element %lu is a folio that is no new one", i);
	for (unsigned long k = 1; k < folio_nr_pages(folio) && i + k < m->nr; k++)
		if (m->dst[i + k])
			octavo_panic("migrate_vma: element %lu is in a folio already", i + k);
	if (!folio_test_anon(folio) || folio_mapped(folio) || folio_nr_pages(folio) > m->nr - i)
		return NULL;
	if (folio_is_zone_device(folio) && !folio_is_device_private(folio) &&
	    !folio_is_device_coherent(folio))
		return NULL;
	return folio;
}

/* What is there from @i on stays: a folio of @nr pages was to have it. */
static void stays(const struct migration *m, unsigned long i, unsigned long nr)
{
	for (unsigned long k = i; k < min(i + nr, m->nr); k++) {
		if (m->src[k] & MIGRATE_PFN_VALID)
			m->src[k] &= ~MIGRATE_PFN_MIGRATE;
		else
			m->src[k] = 0;
	}
}

/* ---- smaller ---- */

static void split_hole(const struct migration *m, unsigned long i, unsigned int from,
		       unsigned int to)
{
	for (unsigned long k = 0; k < 1ul << from; k += 1ul << to)
		m->src[i + k] = mpfn_of_hole(to);
}

/* Every piece's mapping has a reference, as the whole's had one: migrate_vma.c. */
static void split_anon_vma(struct anon_vma *anon_vma, unsigned long pieces)
{
	while (--pieces)
		anon_vma_get(anon_vma);
}

/* Return: false: it is as it was, and stays. */
static bool split_src(const struct migration *m, unsigned long i, struct folio *folio,
		      unsigned int to)
{
	unsigned long nr = folio_nr_pages(folio), flags = m->src[i] & MIGRATE_PFN_WRITE;
	struct anon_vma *anon_vma = READ_ONCE(folio->mapping);
	struct page *page = folio_page(folio, 0);

	if (split_folio_unmapped(folio, to, anon_vma))
		return false;
	split_anon_vma(anon_vma, nr >> to);
	for (unsigned long k = 0; k < nr; k += 1ul << to)
		m->src[i + k] = mpfn_of_folio(page_folio(page + k), MIGRATE_PFN_MIGRATE | flags);
	return true;
}

/*
 * Of what order pieces of 1 << @order pages must be, for what is given for them. The first that is not 0 says so.
 */
static unsigned int wanted_order(const struct migration *m, unsigned long i, unsigned int order)
{
	for (unsigned long k = 0; k < 1ul << order; k++) {
		struct folio *dst = dst_folio(m, i + k);

		if (dst && k)
			return min(folio_order(dst), (unsigned int)__builtin_ctzl(k));
		if (dst)
			return min(folio_order(dst), order);
	}
	return order;
}

/* Make the source at @i as small as what is given for it. Return: its order; it may not move any more. */
static unsigned int fit_src(const struct migration *m, unsigned long i)
{
	unsigned int order = migrate_pfn_order(m->src[i]), to = wanted_order(m, i, order);
	struct folio *folio = mpfn_folio(m->src[i]);

	if (to == order)
		return order;
	if (!folio)
		split_hole(m, i, order, to);
	else if (!split_src(m, i, folio, to))
		stays(m, i, 1ul << order);
	return to;
}

/* ---- as large, or larger ---- */

/* Does the folio at @i + @at continue the one at @i? */
static bool continues(const struct folio *first, const struct folio *folio, unsigned long at)
{
	return READ_ONCE(folio->mapping) == READ_ONCE(first->mapping) &&
	       READ_ONCE(folio->index) == READ_ONCE(first->index) + at;
}

/* What may be mapped above the last level needs a place where it can be. @at: in the larger one. */
static bool leaves_fit(const struct folio *folio, unsigned long at)
{
	return folio_order(folio) < level_order(MAX_LEAF_LEVEL) ||
	       IS_ALIGNED(at, 1ul << level_order(MAX_LEAF_LEVEL));
}

/* Do the sources from @i on fill @nr pages? */
static bool fill(const struct migration *m, unsigned long i, unsigned long nr)
{
	struct folio *first = mpfn_folio(m->src[i]), *folio;
	unsigned long at = 0;

	while (at < nr) {
		unsigned long mpfn = m->src[i + at];

		if (!(mpfn & MIGRATE_PFN_MIGRATE) || !first != !(mpfn & MIGRATE_PFN_VALID))
			return false;
		folio = mpfn_folio(mpfn);
		if (folio && !(continues(first, folio, at) && leaves_fit(folio, at)))
			return false;
		at += 1ul << migrate_pfn_order(mpfn);
	}
	return at == nr;
}

static bool wants_charge(const struct folio *folio)
{
	return folio_is_zone_device(folio) && !folio_test_flag(folio, PG_charged);
}

/*
 * The last first, so that mapping and index are in the end the first one's. The group is that of the last that is in one: they are of
 * one area, so they are of one group but for what came by fork.
 */
static void take_over(const struct migration *m, unsigned long i, struct folio *dst)
{
	for (unsigned long k = folio_nr_pages(dst); k--;) {
		struct folio *src = mpfn_folio(m->src[i + k]);

		if (!src)
			continue;
		if (folio_test_flag(src, PG_charged) && wants_charge(dst))
			octavo_state.upcalls.reclaim->folio_charge_like(dst, src);
		folio_move_state(dst, src);
	}
}

/* ---- where nothing is ---- */

struct insert {
	struct vm_area_struct *vma;
	struct folio *folio;
	unsigned long addr, nr;
	unsigned int level;
	struct pt_pos pos;
};

/* Is all of the place a hole still? Zero pages go, so that it is none. Context: the ptl. */
static bool insert_clear(const struct insert *ins)
{
	unsigned long nr = ins->level ? 1 : ins->nr;
	bool flush = false;

	for (unsigned long i = 0; i < nr; i++) {
		pte_t e = ptep_get(ins->pos.ptep + i);

		if (!pte_none(e) && !pte_is_zero_page(e))
			return false;
	}
	for (unsigned long i = 0; i < nr; i++)
		flush |= pte_present(ptep_get_and_clear(ins->pos.ptep + i));
	if (flush)
		flush_tlb_range(ins->vma->vm_mm, ins->addr, ins->addr + (ins->nr << PAGE_SHIFT),
				ins->level);
	return true;
}

/* The entry of its first page: as of memory that was touched, or of swap form. */
static pte_t insert_entry(const struct insert *ins)
{
	bool write = READ_ONCE(ins->vma->vm_flags) & VM_WRITE;
	pgprot_t prot = { READ_ONCE(ins->vma->vm_page_prot.v) };
	pte_t e;

	if (folio_is_device_private(ins->folio)) {
		e = device_private_pte(folio_place(ins->folio), write, true);
		return pte_swp_mksoft_dirty(e);
	}
	e = pte_mkyoung(pfn_pte(folio_pfn(ins->folio), prot));
	if (write)
		e = pte_mkwrite(pte_mkdirty(e));
	return pte_mkleaf(e, ins->level);
}

/* Context: the ptl; the place is none. */
static void insert_map(const struct insert *ins)
{
	unsigned long nr = ins->level ? 1 : ins->nr;
	pte_t e = insert_entry(ins);

	/* the driver keeps its own until finalize */
	folio_ref_add(ins->folio, (u32)nr);
	folio_add_new_anon_rmap(folio_subrange(ins->folio, 0, ins->nr), ins->vma, ins->addr,
				ins->level);
	if (READ_ONCE(ins->vma->vm_flags) & VM_LOCKED)
		folio_set_flag(ins->folio, PG_mlocked);
	for (unsigned long i = 0; i < nr; i++)
		set_pte(ins->pos.ptep + i,
			pte_present(e) ? pte_advance_pfn(e, i) : pte_swp_advance(e, i));
	add_mm_counter(ins->vma->vm_mm, MM_ANONPAGES, (long)ins->nr);
}

/* At its level. Return: false: no memory, or there is something in the way; no lock is held then. */
static bool insert_lock(struct insert *ins)
{
	struct mm_struct *mm = ins->vma->vm_mm;

	return !pgtable_alloc_to(mm, ins->addr, ins->level, GFP_KERNEL, &ins->pos) &&
	       pte_offset_lock(mm, ins->addr, ins->level, &ins->pos);
}

/* Context: the notifier range has begun. */
static bool insert_locked(struct insert *ins)
{
	bool done;

	if (anon_vma_prepare(ins->vma) || !insert_lock(ins))
		return false;
	/* a table, which may be empty: then all of its entries are the folio's */
	if (ins->level && pte_table(ins->pos.pte, ins->level)) {
		pte_unlock(&ins->pos);
		ins->level = PGTABLE_LEVEL_PTE;
		if (!insert_lock(ins))
			return false;
	}
	done = insert_clear(ins);
	if (done)
		insert_map(ins);
	pte_unlock(&ins->pos);
	return done;
}

/* One entry above the last level, if it fits one; else all of its entries must be of one table. */
static bool insert_plan(struct insert *ins)
{
	unsigned int order = folio_order(ins->folio);

	ins->nr = 1ul << order;
	ins->level = PGTABLE_LEVEL_PTE;
	if (order == level_order(MAX_LEAF_LEVEL) &&
	    IS_ALIGNED(ins->addr, level_size(MAX_LEAF_LEVEL)))
		ins->level = MAX_LEAF_LEVEL;
	return ins->level ||
	       level_addr_end(ins->addr, TASK_SIZE_MAX, PGTABLE_LEVEL_PMD) - ins->addr >=
		       ins->nr << PAGE_SHIFT;
}

static bool insert_folio(const struct migration *m, unsigned long i, struct folio *folio)
{
	struct insert ins = { .vma = m->vma, .folio = folio, .addr = m->start + (i << PAGE_SHIFT) };
	struct mmu_notifier_range range;
	bool done;

	if (!m->vma || !vma_is_anonymous(m->vma) || !insert_plan(&ins))
		return false;
	/* what fails after this is freed by finalize, and the charge with it */
	if (READ_ONCE(m->vma->vm_mm->memcg) && wants_charge(folio) &&
	    octavo_state.upcalls.reclaim->folio_charge(folio, m->vma->vm_mm, GFP_KERNEL))
		return false;
	mmu_notifier_range_init(&range, MMU_NOTIFY_MIGRATE, m->vma->vm_mm, ins.addr,
				ins.addr + (ins.nr << PAGE_SHIFT));
	range.owner = m->owner;
	mmu_notifier_invalidate_range_start(&range);
	done = insert_locked(&ins);
	mmu_notifier_invalidate_range_end(&range);
	return done;
}

/* ---- one after the other ---- */

/* The element at @i, which moves if it can. Return: how many elements are done with. */
static unsigned long exchange_one(const struct migration *m, unsigned long i)
{
	unsigned long nr = 1ul << fit_src(m, i);
	struct folio *dst = dst_folio(m, i);

	if (!dst) {
		stays(m, i, nr);
		return nr;
	}
	nr = folio_nr_pages(dst);
	if (!fill(m, i, nr)) {
		stays(m, i, nr);
		return nr;
	}
	if (m->src[i] & MIGRATE_PFN_VALID)
		take_over(m, i, dst);
	else if (!insert_folio(m, i, dst))
		stays(m, i, nr);
	return nr;
}

void migrate_exchange(struct migration *m)
{
	unsigned long i = 0;

	while (i < m->nr)
		i += m->src[i] & MIGRATE_PFN_MIGRATE ? exchange_one(m, i) : 1;
}
