// SPDX-License-Identifier: MIT
/*
 * fault_swap.c - memory whose contents are in a slot of a swap device: bringing it back.
 *
 * 1. The cache of slots is asked first. If it has nothing, a new folio is put there locked, and then read: of all who
 *    want a slot one reads it, and the others wait for the folio's lock.
 *
 * 2. Nothing that was seen before the folio was locked counts. While it is locked and in the cache its slots are nobody
 *    else's, so an entry that names one of them, seen under its ptl, means the page that is there.
 *
 * 3. Whose alone is it? The entry says so if the page was when it was unmapped, and fork has not copied the entry since.
 *    What does not say so may have become so: if no entry anywhere names a slot of the folio, it leaves the cache, and
 *    if the one reference that is left is ours, so is the folio. The whole folio is asked about, not a page of
 *    it, because all who may map any of its pages must be in the anon_vma that it gets with its first mapping.
 *
 * 4. What is on its way to its slots is not written to before it is there: devices may look at it more than once.
 *
 * 5. A folio that could not be read leaves the cache, so that the next who wants it tries again; entries stay as they are.
 *    Of a large one each page is tried by itself before anybody is told, and what was read ahead is read again.
 *
 * 6. Who can give mmap_lock up does not wait with it: neither for a device, nor for memory to read into, nor for whoever has
 *    the folio. The fault ends with what there is to wait for, and begins anew afterwards (fault_wait.c).
 */
#include <octavo/hooks.h>
#include <octavo/hwpoison.h>
#include <octavo/swap.h>
#include <octavo/upcalls.h>

#include "fault.h"
#include "span.h"

/* One page that comes back, perhaps with others. */
struct swapin {
	swp_entry_t entry;   /* its slot */
	pte_t old;	     /* its entry, as it was found */
	u32 orders;	     /* of a folio that could be read for it, bits */
	struct folio *folio; /* a reference is ours */
	unsigned long idx;   /* of the page in it */
	bool read;	     /* by us */
	vm_fault_t major;    /* VM_FAULT_MAJOR: a device was waited for with mmap_lock held */
};

/* ---- reading ---- */

/* Orders whose run of entries around the fault is the run of slots that one folio would have. Context: the ptl. */
static u32 orders_in_table(const struct fault *f, swp_entry_t entry)
{
	u32 orders = anon_orders(f->mm, f->vma, f->addr), fit = 1;

	for (unsigned int order = 1; orders >> order; order++) {
		unsigned long nr = 1ul << order;
		unsigned long back = (f->addr - run_start(f->addr, order)) >> PAGE_SHIFT;
		pte_t first = pte_swp_advance(f->pos.pte, -back);
		const pte_t *ptep = f->pos.ptep - back;

		/* what is not aligned for this order is not for a larger one */
		if ((swp_offset(entry) & (nr - 1)) != back)
			break;
		if (!(orders & 1u << order))
			continue;
		if (!pte_same(ptep_get(ptep), first) ||
		    swap_pte_batch(ptep, (unsigned int)nr, first) != nr)
			break;
		fit |= 1u << order;
	}
	return fit;
}

/* Of these the ones whose slots are all used and not cached: a hint. */
static u32 orders_uncached(swp_entry_t entry, u32 orders)
{
	for (; orders > 1; orders &= ~(1u << ilog2(orders))) {
		u32 nr = 1u << ilog2(orders);

		if (swap_uncached_run(swap_run_start(entry, nr), nr) == nr)
			break;
	}
	return orders;
}

/* Who reclaims hears what comes back, and how long it was away. */
static void tell_refault(struct folio *folio, u64 shadow)
{
	/* acquire: pairs with the release of who registers */
	const struct reclaim_upcalls *reclaim = smp_load_acquire(&octavo_state.upcalls.reclaim);

	if (shadow && reclaim)
		reclaim->refault(folio, shadow);
}

/* Who may not wait for memory does not wait for a device that has enough to do. Return: false: the folio is in no cache any more. */
static bool begin_read(struct folio *folio, u64 shadow, gfp_t gfp)
{
	if (gfp & __GFP_DIRECT_RECLAIM) {
		swap_read_folio(folio);
		return true;
	}
	if (swap_try_read_folio(folio))
		return true;
	swap_cache_del(folio, (u32)(shadow >> SWAP_SHADOW_SET_BITS));
	folio_unlock(folio);
	return false;
}

struct folio *swapin_begin(swp_entry_t entry, u32 orders, u32 flags, gfp_t gfp, int *err)
{
	u64 shadow = swap_shadow(entry);
	struct folio *folio = slot_folio_alloc(swap_shadow_set(shadow), gfp, &orders);
	u32 nr;

	*err = -ENOMEM;
	if (!folio)
		return NULL;
	nr = (u32)folio_nr_pages(folio);
	/* ours alone but for PFN walkers, who only try */
	folio_lock(folio);
	*err = swap_cache_add(folio, swap_run_start(entry, nr), NULL);
	if (*err) {
		folio_unlock(folio);
		folio_put(folio);
		return NULL;
	}
	if (flags)
		fetch_or_relaxed(&folio->flags, flags);
	if (!begin_read(folio, shadow, gfp)) {
		*err = -EAGAIN;
		folio_put(folio);
		return NULL;
	}
	tell_refault(folio, shadow);
	return folio;
}

int swapin_read(swp_entry_t entry, u32 orders, gfp_t gfp, const struct swap_ahead *ahead,
		struct folio **folio)
{
	int err;

	orders = orders_uncached(entry, orders);
	*folio = swapin_begin(entry, orders, 0, gfp, &err);
	/* one of several slots is freed or cached by now; perhaps not ours */
	if (!*folio && orders > 1 && err != -ENOMEM)
		*folio = swapin_begin(entry, 1, 0, gfp, &err);
	if (!*folio)
		return err == -ENOMEM ? -ENOMEM : 0;
	if (!folio_test_large(*folio))
		swap_ahead_read(ahead);
	return 0;
}

/* Nobody has it: read it, or have it read when mmap_lock is given up. Return: 0; what the fault comes to. */
static vm_fault_t swapin_missing(const struct fault *f, struct swapin *si)
{
	struct swap_ahead here, *ahead = f->wait ? &f->wait->ahead : &here;

	swap_ahead_plan(f, si->entry, ahead);
	if (f->wait) {
		f->wait->what = FAULT_WAIT_READ;
		f->wait->entry = si->entry;
		f->wait->orders = si->orders;
		return VM_FAULT_RETRY;
	}
	if (swapin_read(si->entry, si->orders, fault_gfp(f), ahead, &si->folio))
		return VM_FAULT_OOM;
	if (si->folio) {
		si->major = VM_FAULT_MAJOR;
		si->read = true;
		return 0;
	}
	/* somebody else reads it or lets it go just now, or it is not there any more */
	octavo_port_relax();
	return 0;
}

/* Find it or read it, and lock it. Return: 0, if with si->folio it is locked; else what the fault comes to. */
static vm_fault_t swapin_get(const struct fault *f, struct swapin *si)
{
	vm_fault_t ret = VM_FAULT_RETRY;

	si->read = f->wait && f->wait->tried.v == si->entry.v;
	si->folio = swap_cache_get_folio(si->entry);
	if (si->folio)
		swap_ahead_found(f, si->entry, si->folio);
	else if (fault_may_sleep(f))
		ret = swapin_missing(f, si);
	if (!si->folio || folio_trylock(si->folio))
		return si->folio ? 0 : ret;
	if (f->wait) {
		ret = fault_wait_folio(f, FAULT_WAIT_LOCK, si->folio);
		si->folio = NULL;
		return ret;
	}
	if (!fault_may_sleep(f)) {
		folio_put(si->folio);
		si->folio = NULL;
		return VM_FAULT_RETRY;
	}
	if (!folio_test_flag(si->folio, PG_uptodate))
		si->major = VM_FAULT_MAJOR;
	swap_lock_folio(si->folio);
	return 0;
}

/* ---- mapping ---- */

/* Entries around that of the fault that are those of the folio's slots, and alike. Context: the ptl. */
static struct folio_subrange swapin_run(const struct fault *f, const struct swapin *si)
{
	unsigned long before = min(si->idx, (f->addr - f->vma->vm_start) >> PAGE_SHIFT), n = 0, max;

	before = min(before, (unsigned long)level_index(f->addr, PGTABLE_LEVEL_PTE));
	while (n < before &&
	       pte_same(ptep_get(f->pos.ptep - n - 1), pte_swp_advance(si->old, -(n + 1))))
		n++;
	max = min(folio_nr_pages(si->folio) - si->idx,
		  (unsigned long)pte_batch_limit(f->addr, f->vma->vm_end));
	return folio_subrange(si->folio, si->idx - n,
			      n + swap_pte_batch(f->pos.ptep, (unsigned int)max, si->old));
}

/*
 * Give the slots back if it can be? They are kept for a page that will be dropped as it is. If it is written to now they
 * would be written again; if they are short others need them. A guess: who is wrong has more to write, or less room.
 */
static bool slots_not_worth(const struct fault *f, const struct swapin *si)
{
	return (fault_wants_own(f) &&
		folio_ref_count(si->folio) == folio_nr_pages(si->folio) + 1) ||
	       f->vma->vm_flags & VM_LOCKED || swap_slots_short(si->entry);
}

/* The slots lose the entries. Return: are the pages this area's alone? Context: the ptl, folio locked. */
static bool swapin_release(const struct fault *f, const struct swapin *si, struct folio_subrange sr)
{
	const u64 first = swp_offset(si->entry) - (si->idx - sr.first);
	bool drop = slots_not_worth(f, si);

	swap_free_entries(swp_entry(swp_type(si->entry), first), sr.nr);
	/* acquire: pairs with the release of puts: what former users read is read */
	if (drop && folio_free_swap(si->folio) && smp_load_acquire(&si->folio->refcount) == 1)
		return true;
	return pte_swp_exclusive(si->old);
}

/* The first entry of a run. Those that are not touched are old, and clean: the folio itself is dirty if it has no slots. */
static pte_t swapin_entry(const struct fault *f, const struct swapin *si, unsigned long pfn,
			  bool ours)
{
	pte_t e = pte_mkold(pfn_pte(pfn, f->vma->vm_page_prot));

	e = pte_swp_soft_dirty(si->old) ? pte_mksoft_dirty(e) : pte_clear_soft_dirty(e);
	if (pte_swp_uffd_wp(si->old))
		return pte_mkuffd_wp(e);
	/* what has no soft-dirty mark must fault to get it */
	if (ours && f->flags & FAULT_FLAG_WRITE && f->vma->vm_flags & VM_WRITE && pte_soft_dirty(e))
		e = pte_mkwrite(e);
	return e;
}

/* What the embedder keeps with the slots of a run belongs to its frames. Context: the ptl; the slots have their entries still. */
static void swapin_tell(const struct fault *f, const struct swapin *si, struct folio_subrange sr)
{
	const struct octavo_hooks *hooks = octavo_state.hooks;
	unsigned long addr = f->addr - ((si->idx - sr.first) << PAGE_SHIFT);

	if (likely(!hooks || !hooks->swap_in))
		return;
	for (unsigned long i = 0; i < sr.nr; i++)
		hooks->swap_in(f->mm, addr + (i << PAGE_SHIFT), folio_pfn(sr.folio) + sr.first + i,
			       folio_swap_entry(sr.folio, sr.first + i));
}

/* Our reference becomes the first entry's, and the folio is unlocked. Context: the ptl, entries unchanged. */
static void swapin_map(struct fault *f, const struct swapin *si)
{
	struct folio_subrange sr = swapin_run(f, si);
	unsigned long back = si->idx - sr.first;
	bool ours;
	pte_t e;

	swapin_tell(f, si, sr);
	ours = swapin_release(f, si, sr);
	e = swapin_entry(f, si, folio_pfn(si->folio) + sr.first, ours);
	if (sr.nr > 1)
		folio_ref_add(si->folio, sr.nr - 1);
	folio_add_anon_rmap(sr, f->vma, f->addr - (back << PAGE_SHIFT), PGTABLE_LEVEL_PTE,
			    ours ? RMAP_EXCLUSIVE : RMAP_NONE);
	if (sr.nr == folio_nr_pages(si->folio))
		fault_new_mapping(f->vma, si->folio);
	set_ptes(f->pos.ptep - back, e, sr.nr);
	f->pos.pte = pte_advance_pfn(e, back);
	add_mm_counter(f->mm, MM_ANONPAGES, (long)sr.nr);
	add_mm_counter(f->mm, MM_SWAPENTS, -(long)sr.nr);
	/* before the page is asked about for a write: who asks locks it */
	folio_unlock(si->folio);
}

/* ---- all of it ---- */

/*
 * It was not read. What is large is tried page by page; and what others have tried, perhaps for nobody, by who needs it.
 * Context: folio locked, in the cache.
 */
static vm_fault_t swapin_failed(struct swapin *si)
{
	swap_cache_del(si->folio, 0);
	si->orders = 1;
	return folio_test_large(si->folio) || !si->read ? VM_FAULT_FALLBACK : VM_FAULT_SIGBUS;
}

/*
 * Can it be mapped? Context: folio locked. Return: 0 with the ptl held if *@mapped, which is then to be done; else what
 * the fault comes to: VM_FAULT_FALLBACK: from the beginning.
 */
static vm_fault_t swapin_check(struct fault *f, struct swapin *si, bool *map)
{
	long idx = swap_cache_index(si->folio, si->entry);

	if (idx < 0)
		return 0;
	si->idx = (unsigned long)idx;
	if (!folio_test_flag(si->folio, PG_uptodate))
		return swapin_failed(si);
	if (folio_test_flag(si->folio, PG_hwpoison) && pfn_poisoned(folio_pfn(si->folio) + si->idx))
		return VM_FAULT_HWPOISON;
	if (folio_under_writeback(si->folio) &&
	    (fault_wants_own(f) || pte_swp_exclusive(si->old))) {
		if (f->wait) {
			folio_get(si->folio);
			return fault_wait_folio(f, FAULT_WAIT_WRITEBACK, si->folio);
		}
		if (!fault_may_sleep(f))
			return VM_FAULT_RETRY;
		folio_wait_writeback(si->folio);
	}
	if (!pte_offset_lock(f->mm, f->addr, PGTABLE_LEVEL_PTE, &f->pos))
		return 0;
	*map = pte_same(f->pos.pte, si->old);
	if (!*map)
		pte_unlock(&f->pos);
	return 0;
}

vm_fault_t fault_swap_slot(struct fault *f)
{
	struct swapin si = { .entry = pte_to_swp_entry(f->pos.pte), .old = f->pos.pte };
	vm_fault_t ret;

	si.orders = orders_in_table(f, si.entry);
	pte_unlock(&f->pos);
	do {
		bool map = false;

		ret = swapin_get(f, &si);
		if (!si.folio)
			return ret;
		ret = swapin_check(f, &si, &map);
		if (map) {
			swapin_map(f, &si);
			return fault_present(f) | si.major;
		}
		/* the entry may have been the last, and who removed it could not have the folio's lock */
		folio_free_swap(si.folio);
		folio_unlock(si.folio);
		folio_put(si.folio);
	} while (ret == VM_FAULT_FALLBACK);
	return ret | si.major;
}

/* ---- ranges ---- */

static int swapin_errno(vm_fault_t ret)
{
	if (ret & VM_FAULT_OOM)
		return -ENOMEM;
	if (ret & VM_FAULT_HWPOISON)
		return -EHWPOISON;
	return ret & VM_FAULT_ERROR ? -EIO : 0;
}

/* The first entry of a slot of a device, or of any (-1). Context: the ptl. Return: its address, or the span's end. */
static unsigned long first_slot(const struct pt_span *span, int type)
{
	const pte_t *ptep = span->ptep;
	unsigned long addr = span->addr;

	if (span->level)
		return span->end;
	for (; addr < span->end; addr += PAGE_SIZE, ptep++) {
		pte_t e = ptep_get(ptep);

		if (pte_is_swap_slot(e) &&
		    (type < 0 || swp_type(pte_to_swp_entry(e)) == (unsigned int)type))
			break;
	}
	return addr;
}

int swapin_range(struct vm_area_struct *vma, unsigned long *start, unsigned long end, int type,
		 struct fault_wait *wait)
{
	struct pt_span span;
	int err = 0;

	while (!err && pt_span_next(vma->vm_mm, *start, end, &span)) {
		*start = first_slot(&span, type);
		pt_span_unlock(&span);
		/* come back to it until it is not there any more */
		if (*start < span.end)
			err = swapin_errno(
				handle_mm_fault_wait(vma, *start, FAULT_FLAG_REMOTE, wait));
		if (fault_waits(wait))
			err = -EAGAIN;
	}
	if (!err)
		*start = end;
	return err;
}
