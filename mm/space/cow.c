// SPDX-License-Identifier: MIT
/*
 * cow.c - writes to present entries that do not allow them, and making pages exclusive for pins.
 *
 * 1. Reuse. An anonymous page that is exclusive is this area's alone, and one that can be shown to be becomes so:
 *    all references are accounted for by its entries, and no other area can have one. Nothing is
 *    copied, and a read-only translation that is left somewhere costs that CPU a fault.
 *
 * 2. Copy, of everything else: pages that others map too, the zero page, an object's pages in a private
 *    area. Source and copy are prepared without the lock; then the entries are looked at again, cleared,
 *    flushed, and only then replaced, because a CPU that reads the old page must not miss what
 *    another one has written to the new. The old page's references go after that flush.
 *    Pages of a large folio are copied some at a time, into a folio of their own.
 *
 * 3. A leaf is reused as a whole, or copied as a whole where policy has folios of its order; else it is split, and one
 *    of its pages is dealt with as above.
 *
 * What is not exclusive cannot be pinned, so whoever reads the old page by a reference is content with its
 * old contents.
 */
#include <octavo/plain.h>
#include <octavo/string.h>
#include <octavo/swap.h>

#include "fault.h"

/* Pages of a large folio that are copied at a time: 64 KiB of them. */
#define COW_MAX_ORDER 4u

/* ---- reuse ---- */

/*
 * References of the cache of swap slots are nobody's who could read the page, if no entry names a slot. Then they go, for
 * a page that may be this area's alone.
 */
static void leave_swap_cache(const struct fault *f, struct folio *folio)
{
	u32 mapped = (u32)folio_mapcount(folio);

	if (mapped != 1 && !(folio_test_large(folio) && folio_maps_only_vma(folio, f->vma)))
		return;
	if (folio_ref_count(folio) != mapped + folio_nr_pages(folio) || !folio_trylock(folio))
		return;
	folio_free_swap(folio);
	folio_unlock(folio);
}

/*
 * Nobody else can reach the page: all references are those of entries, and those entries are this area's. A mapping
 * that goes away meanwhile takes its reference with it later, so the sums can only seem unequal; new ones of
 * this area come only from splitting a leaf, which shows in the second look. Fork is shut out.
 */
static bool large_is_ours(const struct fault *f, struct folio *folio)
{
	/* acquire: before the references */
	u32 before = (u32)smp_load_acquire(&folio->mapcount);
	/* acquire: pairs with the release of puts: what former users read and wrote is done */
	u32 refs = smp_load_acquire(&folio->refcount);

	return refs == before && refs == (u32)folio_mapcount(folio) &&
	       folio_maps_only_vma(folio, f->vma);
}

static bool maps_frame(pte_t e, unsigned long pfn)
{
	return pte_present(e) && !pte_special(e) && pte_pfn(e) == pfn;
}

/*
 * The same of a folio that other areas could map, by counting. Each present entry of this table keeps its reference while
 * the ptl is held. If these are all there are, at the moment that the load stands for, then no other entry is there, no
 * look-up, and nobody who moves or splits the folio and holds other areas' entries back, because that takes a reference. From then on there is no way to
 * the pages but through these entries: fork, which makes more of them, is shut out, and who looks them up without a lock is welcome.
 * So all pages that they map become exclusive, for one count and not one for each page.
 */
static bool table_has_all(const struct fault *f, struct folio *folio, unsigned long idx)
{
	/* acquire: as above; it is no older than the references of these entries, which come with the ptl */
	u32 refs = smp_load_acquire(&folio->refcount), found = 0;
	unsigned long here = level_index(f->addr, PGTABLE_LEVEL_PTE);
	unsigned long back = min(idx, here);
	unsigned long nr = min(folio_nr_pages(folio) - idx, PTRS_PER_TABLE - here) + back;
	const pte_t *ptep = f->pos.ptep - back;
	unsigned long pfn = pte_pfn(f->pos.pte) - back;

	if (f->pos.level != PGTABLE_LEVEL_PTE || refs > nr)
		return false;
	for (unsigned long i = 0; i < nr; i++)
		found += maps_frame(ptep_get(ptep + i), pfn + i);
	if (found != refs)
		return false;
	for (unsigned long i = 0; i < nr; i++)
		if (maps_frame(ptep_get(ptep + i), pfn + i))
			folio_set_anon_exclusive(folio_subrange(folio, idx - back + i, 1));
	return true;
}

/* One entry, ours, of whatever size; locked, so that it is not being moved, which takes entries out of the count. */
static bool entry_is_last(struct folio *folio)
{
	bool ours;

	if (folio_ref_count(folio) != 1 || !folio_trylock(folio))
		return false;
	/* acquire: as above */
	ours = smp_load_acquire(&folio->refcount) == 1 && folio_mapcount(folio) == 1;
	folio_unlock(folio);
	return ours;
}

/* Is the page of a present entry exclusive, or can it be made so? Context: the ptl, mmap_lock. */
static bool can_reuse(struct fault *f, struct folio *folio)
{
	unsigned long idx = pte_pfn(f->pos.pte) - folio_pfn(folio);

	if (folio_test_anon_exclusive(folio, idx))
		return true;
	if (folio_test_flag(folio, PG_swapcache))
		leave_swap_cache(f, folio);
	if (!entry_is_last(folio) && !(folio_test_large(folio) && large_is_ours(f, folio)))
		return folio_test_large(folio) && table_has_all(f, folio, idx);
	folio_set_anon_exclusive(folio_subrange(folio, idx, 1));
	return true;
}

/* ---- copy ---- */

/* What is copied, and how the new entries come to be. */
struct cow {
	unsigned long addr; /* of the first page */
	unsigned int order; /* of the run that is copied */
	unsigned int level; /* of its entries */
	pte_t old;	    /* the first entry as it was */
	struct page *
		page; /* what it maps, a reference held; NULL: zero page, or a frame without a count */
	struct folio *from; /* its folio, or NULL */
	struct folio *copy;
};

/* Bits of an entry that hardware and other faults set without changing what is mapped. */
static bool same_but_age(pte_t a, pte_t b)
{
	return pte_same(pte_mkyoung(a), pte_mkyoung(b));
}

/*
 * May a run of entries be copied together? All present, of consecutive pages of the same folio, none writable,
 * none exclusive. Context: the ptl, at the first entry.
 */
static bool run_is_shared(const struct fault *f, const struct cow *c, const pte_t *ptep)
{
	unsigned long nr = 1ul << c->order;
	unsigned long first = pte_pfn(c->old) - folio_pfn(c->from);
	pte_t e = c->old;
	bool exclusive;

	if (first + nr > folio_nr_pages(c->from))
		return false;
	if (folio_pte_batch_flags(c->from, f->vma, ptep, &e, (unsigned int)nr, FPB_RESPECT_WRITE) !=
	    nr)
		return false;
	return folio_anon_exclusive_run(folio_subrange(c->from, first, nr), &exclusive) == nr &&
	       !exclusive;
}

/* The largest run around the fault that may be copied together, or its page. Context: the ptl. */
static void cow_choose(const struct fault *f, struct cow *c)
{
	u32 orders = 1;

	if (c->from && folio_test_anon(c->from) && folio_test_large(c->from))
		orders = anon_orders(f->mm, f->vma, f->addr) & ((2u << COW_MAX_ORDER) - 1);
	orders &= PTRS_PER_TABLE - 1;
	for (c->order = (unsigned int)ilog2(orders); c->order; c->order--) {
		unsigned long back;
		const pte_t *ptep;

		if (!(orders & 1u << c->order))
			continue;
		c->addr = run_start(f->addr, c->order);
		back = (f->addr - c->addr) >> PAGE_SHIFT;
		ptep = f->pos.ptep - back;
		c->old = ptep_get(ptep);
		if (pte_present(c->old) && !pte_write(c->old) &&
		    pte_pfn(c->old) + back == pte_pfn(f->pos.pte) &&
		    pte_pfn(c->old) >= folio_pfn(c->from) && run_is_shared(f, c, ptep))
			return;
	}
	c->addr = f->addr;
	c->old = f->pos.pte;
}

/* Where the copy comes from. Context: the ptl; a reference keeps it when that is gone. */
static void cow_source(const struct fault *f, struct cow *c)
{
	struct page *page = vm_normal_page(f->vma, f->addr, f->pos.pte, f->pos.level);

	*c = (struct cow){ .addr = f->addr, .level = f->pos.level, .old = f->pos.pte };
	c->from = page ? page_folio(page) : NULL;
	if (c->level)
		c->order = level_order(c->level);
	else
		cow_choose(f, c);
	if (page) {
		c->page = pfn_to_page(pte_pfn(c->old));
		get_page(c->page);
	}
}

static void cow_drop_source(const struct cow *c)
{
	if (c->page)
		put_page(c->page);
}

/* A frame that nothing keeps but its entry: copied with the entry in hand, just before it goes. */
static bool cow_is_bare(const struct cow *c)
{
	return !c->page && !is_zero_pfn(pte_pfn(c->old));
}

/* Memory for the copy, and its contents. Context: sleeps. Return: false: no memory. */
static bool cow_prepare(struct fault *f, struct cow *c)
{
	bool zero = !c->page && is_zero_pfn(pte_pfn(c->old));
	u32 orders = 1u << c->order | (c->level ? 0 : 1u);

	c->copy = anon_folio_alloc(f->mm, zero ? fault_gfp(f) | __GFP_ZERO : fault_gfp(f), &orders);
	if (!c->copy)
		return false;
	if (folio_order(c->copy) != c->order) {
		/* smaller than we would have liked: the page of the fault alone */
		unsigned long back = (f->addr - c->addr) >> PAGE_SHIFT;

		c->old = pte_advance_pfn(c->old, back);
		c->addr = f->addr;
		c->order = 0;
	}
	if (c->page)
		memcpy(folio_address(c->copy), pfn_to_virt(pte_pfn(c->old)), PAGE_SIZE << c->order);
	return true;
}

/* Are the entries what they were? Context: the ptl, f->pos at c->addr. */
static bool cow_unchanged(const struct fault *f, const struct cow *c)
{
	if (!same_but_age(f->pos.pte, c->old))
		return false;
	if (!c->from || !folio_test_anon(c->from))
		return true;
	if (c->level == PGTABLE_LEVEL_PTE && c->order)
		return run_is_shared(f, c, f->pos.ptep);
	return !fault_maps_exclusive(f);
}

/* The entry of page @i of the copy, from what the old one said of age. */
static pte_t cow_entry(const struct fault *f, const struct cow *c, unsigned long i, pte_t old)
{
	unsigned long addr = c->addr + (i << PAGE_SHIFT);
	pte_t e = anon_entry(f->vma, folio_pfn(c->copy) + i, f->flags);

	if (c->level == PGTABLE_LEVEL_PTE && addr != f->addr) {
		if (!pte_young(old))
			e = pte_mkold(e);
		if (!pte_soft_dirty(old))
			e = pte_clear_soft_dirty(e);
	}
	return pte_mkleaf(e, c->level);
}

/* The exchange. Context: the ptl, f->pos at c->addr, unchanged. */
static void cow_replace(struct fault *f, struct cow *c)
{
	unsigned long nr = 1ul << c->order, entries = c->level ? 1 : nr;
	struct folio_subrange sr;
	pte_t old[1u << COW_MAX_ORDER];

	if (cow_is_bare(c))
		memcpy(folio_address(c->copy), pfn_to_virt(pte_pfn(c->old)), PAGE_SIZE);
	for (unsigned long i = 0; i < entries; i++)
		old[i] = ptep_get_and_clear(f->pos.ptep + i);
	/* before the copy can be written to through another CPU's new translation */
	flush_tlb_range(f->mm, c->addr, c->addr + (nr << PAGE_SHIFT), c->level);
	fault_new_mapping(f->vma, c->copy);
	if (entries > 1)
		folio_ref_add(c->copy, (u32)entries - 1);
	folio_add_new_anon_rmap(folio_subrange(c->copy, 0, nr), f->vma, c->addr, c->level);
	for (unsigned long i = 0; i < entries; i++)
		set_pte(f->pos.ptep + i, cow_entry(f, c, i, old[i]));
	if (c->from) {
		sr = folio_subrange_page(c->from, pfn_to_page(pte_pfn(c->old)), nr);
		folio_remove_rmap(sr, f->vma, c->level);
		add_mm_counter(f->mm, mm_counter(c->from), -(long)nr);
	}
	add_mm_counter(f->mm, MM_ANONPAGES, (long)nr);
}

/* Of the entries that are gone. Context: after the flush. */
static void cow_put_old(const struct cow *c)
{
	if (c->from)
		folio_put_unmapped(c->from, c->level ? 1 : 1u << c->order);
	else if (c->page)
		put_page(c->page);
}

/*
 * Copy, with everything prepared. Context: no ptl. Return: whether the copy is mapped; if not, something has changed
 * and the access is tried again.
 */
static bool cow_exchange(struct fault *f, struct cow *c)
{
	struct mmu_notifier_range range;
	bool done;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, f->mm, c->addr,
				c->addr + (PAGE_SIZE << c->order));
	mmu_notifier_invalidate_range_start(&range);
	done = pte_offset_lock(f->mm, c->addr, c->level, &f->pos);
	if (done) {
		done = cow_unchanged(f, c);
		if (done)
			cow_replace(f, c);
		pte_unlock(&f->pos);
	}
	mmu_notifier_invalidate_range_end(&range);
	if (done)
		cow_put_old(c);
	return done;
}

/* Give up the ptl and copy. Return: VM_FAULT_FALLBACK: a leaf's memory cannot be had in one. */
static vm_fault_t wp_copy(struct fault *f)
{
	vm_fault_t ret = 0;
	struct cow c;

	cow_source(f, &c);
	pte_unlock(&f->pos);
	if (!fault_may_sleep(f) && (!READ_ONCE(f->vma->anon_vma) || mm_has_notifiers(f->mm)))
		ret = VM_FAULT_RETRY;
	else if (anon_vma_prepare(f->vma))
		ret = VM_FAULT_OOM;
	else if (!cow_prepare(f, &c))
		ret = c.level ? VM_FAULT_FALLBACK : fault_oom(f);
	else if (!cow_exchange(f, &c))
		folio_put(c.copy);
	cow_drop_source(&c);
	return ret;
}

/* ---- the two ways in ---- */

/* What needs no copy. Context: the ptl. Return: true: done. */
static bool wp_reuse(struct fault *f)
{
	struct folio *folio = vm_normal_folio(f->vma, f->addr, f->pos.pte, f->pos.level);

	if (!folio || !folio_test_anon(folio) || !can_reuse(f, folio))
		return false;
	fault_allow(f);
	return true;
}

vm_fault_t fault_wp(struct fault *f)
{
	if (f->vma->vm_flags & VM_SHARED) {
		if (f->flags & FAULT_FLAG_WRITE)
			return fault_object_mkwrite(f);
		/* what is shared by intent is never unshared */
		pte_unlock(&f->pos);
		return 0;
	}
	if (wp_reuse(f)) {
		pte_unlock(&f->pos);
		return 0;
	}
	if (unlikely(!pfn_valid(pte_pfn(f->pos.pte)))) {
		/* nothing to copy from: device registers and the like */
		pte_unlock(&f->pos);
		return VM_FAULT_SIGBUS;
	}
	return wp_copy(f);
}

vm_fault_t fault_wp_leaf(struct fault *f)
{
	unsigned long start = ALIGN_DOWN(f->addr, level_size(f->pos.level));
	struct folio *folio = vm_normal_folio(f->vma, f->addr, f->pos.pte, f->pos.level);
	unsigned int order = level_order(f->pos.level);
	u32 orders = anon_orders(f->mm, f->vma, f->addr);
	vm_fault_t ret;

	if (f->vma->vm_flags & VM_SHARED || wp_reuse(f))
		return fault_wp(f);
	if (folio && folio_test_anon(folio) && orders & 1u << order) {
		unsigned long addr = f->addr;

		f->addr = start;
		ret = wp_copy(f);
		f->addr = addr;
		if (ret != VM_FAULT_FALLBACK)
			return ret;
	} else {
		pte_unlock(&f->pos);
	}
	if (!fault_may_sleep(f))
		return VM_FAULT_RETRY;
	if (split_leaf(f->vma, f->addr))
		return VM_FAULT_OOM;
	if (!pte_offset_lock(f->mm, f->addr, PGTABLE_LEVEL_PTE, &f->pos))
		return 0;
	if (pte_present(f->pos.pte) && !pte_write(f->pos.pte))
		return fault_wp(f);
	pte_unlock(&f->pos);
	return 0;
}
