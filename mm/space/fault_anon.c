// SPDX-License-Identifier: MIT
/*
 * fault_anon.c - anonymous memory where there is nothing yet, with mmap_lock and without.
 *
 * 1. Who only reads gets the zero page, read-only and special: no folio, no reference, no count.
 *
 * 2. Who writes gets a folio of the largest order that policy allows, that fits in the area, and whose
 *    entries are all none. Entries are looked at twice: without a lock to choose, under it to be sure.
 *
 * 3. Without mmap_lock: vma_lock.h is the protocol. Nothing that others write to is written to but the page table (its
 *    lock, the entries) and the folio. A page that is there for the taking is taken at once, in one RCU section. What may
 *    sleep is done outside, and then the walk again: larger folios, memory that is short, one table of the last level. Tables of upper levels, and the first fault of an area,
 *    which makes its anon_vma, take mmap_lock.
 *
 * 4. A table that were linked after the area's unmapper has been here would be nobody's. So it is linked
 *    only when the snapshot has been found valid under the lock of the table above, under which unmappers look too.
 */
#include "fault.h"
#include "vma_lock.h"

/* How often a lock is tried for, and a walk is started again, before mmap_lock is taken instead. */
#define FAULT_TRIES 4

/* ---- policy ---- */

u32 __anon_orders(struct mm_struct *mm, const struct vm_area_struct *vma, unsigned long addr)
{
	u32 orders = READ_ONCE(mm->folio_orders), fit = 1;

	if (vma->vm_flags & VM_HUGEPAGE)
		orders |= 1u << LEAF_ORDER;
	if (vma->vm_flags & VM_NOHUGEPAGE)
		return 1;
	orders &= (2u << min(LEAF_ORDER, MAX_FOLIO_ORDER)) - 2;
	for (unsigned int order = 1; orders >> order; order++) {
		unsigned long start = run_start(addr, order);

		/* no larger one fits either */
		if (start < vma->vm_start || (PAGE_SIZE << order) > vma->vm_end - start)
			break;
		fit |= orders & 1u << order;
	}
	return fit;
}

/* For an address space, or (NULL) for a set. */
static struct folio *alloc_largest(struct mm_struct *mm, u32 set, gfp_t gfp, u32 *orders)
{
	const gfp_t easy = (gfp & ~__GFP_DIRECT_RECLAIM) | __GFP_NORETRY | __GFP_NOWARN;

	while (*orders) {
		unsigned int order = (unsigned int)ilog2(*orders);
		gfp_t how = order ? easy : gfp;
		struct folio *folio =
			mm ? mm_folio_alloc(mm, how, order) : set_folio_alloc(set, how, order);

		if (likely(folio))
			return folio;
		*orders &= ~(1u << order);
	}
	return NULL;
}

struct folio *anon_folio_alloc(struct mm_struct *mm, gfp_t gfp, u32 *orders)
{
	return alloc_largest(mm, 0, gfp, orders);
}

struct folio *slot_folio_alloc(u32 set, gfp_t gfp, u32 *orders)
{
	return alloc_largest(NULL, set, gfp, orders);
}

bool ptes_none(const pte_t *ptep, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		if (!pte_none(ptep_get(ptep + i)))
			return false;
	return true;
}

/*
 * Of a set of orders those whose entries are none, as far as a look without a lock can tell.
 * @pos: where a walk to the last level ended, at an entry that was none
 */
static u32 orders_none(const struct pt_pos *pos, unsigned long addr, u32 orders)
{
	u32 fit = 1;

	/* no table: everything in it is none */
	if (pos->level)
		return orders;
	orders &= ~(1u << LEAF_ORDER);
	for (unsigned int order = 1; orders >> order; order++) {
		unsigned long back = (addr - run_start(addr, order)) >> PAGE_SHIFT;

		if (!(orders & 1u << order))
			continue;
		if (!ptes_none(pos->ptep - back, 1ul << order))
			break;
		fit |= 1u << order;
	}
	return fit;
}

/* ---- entries ---- */

static __noinline void map_large(struct vm_area_struct *vma, struct folio *folio,
				 const struct pt_pos *pos, pte_t e)
{
	unsigned long nr = folio_nr_pages(folio);

	folio_add_new_anon_rmap(folio_subrange(folio, 0, nr), vma, pos->addr, pos->level);
	fault_new_mapping(vma, folio);
	if (pos->level) {
		set_pte(pos->ptep, pte_mkleaf(e, pos->level));
	} else {
		if (nr > 1)
			folio_ref_add(folio, (u32)nr - 1);
		set_ptes(pos->ptep, e, nr);
	}
	add_mm_counter(pos->mm, MM_ANONPAGES, (long)nr);
}

/* A folio of class SMALL at the last level. */
static __always_inline void map_small(struct vm_area_struct *vma, struct folio *folio,
				      const struct pt_pos *pos, pte_t e)
{
	folio_add_new_anon_rmap_small(folio, vma, pos->addr);
	fault_new_mapping(vma, folio);
	set_pte(pos->ptep, e);
	add_mm_counter(pos->mm, MM_ANONPAGES, 1);
}

void anon_map_folio(struct vm_area_struct *vma, struct folio *folio, const struct pt_pos *pos,
		    pte_t e)
{
	if (likely(folio_class(folio) == FOLIO_CLASS_SMALL && !pos->level))
		map_small(vma, folio, pos, e);
	else
		map_large(vma, folio, pos, e);
}

static pte_t zero_entry(const struct vm_area_struct *vma)
{
	unsigned long pfn = READ_ONCE(octavo_state.space.zero_pfn);

	/* never writable, whatever the protection says: it is everybody's */
	return pte_wrprotect(pte_mkspecial(pte_mkyoung(pfn_pte(pfn, vma->vm_page_prot))));
}

/* Is the whole of what goes at @pos none? Context: its ptl. */
static bool place_is_none(const struct pt_pos *pos, const struct folio *folio)
{
	if (pos->level || !folio || likely(!folio_test_large(folio)))
		return pte_none(pos->pte);
	return ptes_none(pos->ptep, folio_nr_pages(folio));
}

bool anon_fill(const struct fault *f, struct folio *folio)
{
	if (!place_is_none(&f->pos, folio))
		return false;
	if (folio)
		anon_map_folio(f->vma, folio, &f->pos,
			       anon_entry(f->vma, folio_pfn(folio), f->flags));
	else
		set_pte(f->pos.ptep, zero_entry(f->vma));
	return true;
}

/* ---- with mmap_lock ---- */

static struct folio *anon_folio_for(struct fault *f)
{
	u32 orders = anon_orders(f->mm, f->vma, f->addr);
	struct pt_pos pos;

	pgtable_walk(f->mm, f->addr, PGTABLE_LEVEL_PTE, &pos);
	orders = orders_none(&pos, f->addr, orders);
	return anon_folio_alloc(f->mm, fault_gfp(f) | __GFP_ZERO, &orders);
}

vm_fault_t fault_anon_missing(struct fault *f)
{
	struct folio *folio = NULL;
	unsigned int order = 0, level;
	bool filled;
	int err;

	if (fault_wants_own(f)) {
		if (!fault_may_sleep(f) && !READ_ONCE(f->vma->anon_vma))
			return VM_FAULT_RETRY;
		if (anon_vma_prepare(f->vma))
			return VM_FAULT_OOM;
		folio = anon_folio_for(f);
		if (!folio)
			return fault_oom(f);
		order = folio_order(folio);
	}
	level = order == LEAF_ORDER ? MAX_LEAF_LEVEL : PGTABLE_LEVEL_PTE;
	err = pgtable_alloc_to(f->mm, f->addr, level, fault_table_gfp(f), &f->pos);
	filled = !err && pte_offset_lock(f->mm, run_start(f->addr, order), level, &f->pos);
	if (filled) {
		filled = anon_fill(f, folio);
		pte_unlock(&f->pos);
	}
	if (!filled && folio)
		folio_put(folio);
	/* -EEXIST: somebody was faster, with a leaf */
	return err == -ENOMEM ? fault_oom(f) : 0;
}

/* ---- without ---- */

/* What a fault without mmap_lock has found out and got hold of. */
struct fast_fault {
	struct vma_snapshot snap;
	u32 orders;	      /* of the folio that is wanted; 0: none is */
	bool no_table;	      /* the one of the last level is missing */
	struct folio *folio;  /* ours until it is mapped */
	struct ptdesc *spare; /* ours until it is linked */
};

/* What is there, and what is needed? Context: RCU. Return: false: mmap_lock is. */
static bool fast_look(struct fault *f, struct fast_fault *w)
{
	if (!vma_snapshot_take(f->mm, f->addr, &w->snap))
		return false;
	f->vma = &w->snap.area;
	if (!area_is_anon(f->vma) || !fault_permitted(f->vma, f->flags))
		return false;
	w->no_table = !pgtable_walk(f->mm, f->addr, PGTABLE_LEVEL_PTE, &f->pos);
	if (pte_none(f->pos.pte) && fault_wants_own(f)) {
		if (!f->vma->anon_vma)
			return false;
		w->orders = anon_orders(f->mm, f->vma, f->addr);
		if (unlikely(w->orders > 1))
			w->orders = orders_none(&f->pos, f->addr, w->orders);
	}
	if (w->no_table)
		return f->pos.level == PGTABLE_LEVEL_PMD && pte_none(f->pos.pte);
	return !pte_is_swap(f->pos.pte) && !pte_protnone(f->pos.pte);
}

/*
 * A table where none is. Checked before it is linked, and linked with its lock held: a writer that has found none here
 * did so under the parent's lock, and one that finds it waits for its lock until it is filled. Context: RCU. Return: as
 * fast_lock().
 */
static __noinline int fast_link(struct fault *f, struct fast_fault *w, unsigned long addr)
{
	struct ptdesc *pt = w->spare;
	struct pt_pos parent;
	pte_t *table;
	int r = pte_offset_trylock(f->mm, addr, PGTABLE_LEVEL_PMD, &parent);

	if (r <= 0)
		return r;
	if (!pte_none(parent.pte))
		r = -EAGAIN;
	/* nobody else knows it: the lock is not to be had only when a test says so */
	else if (!vma_snapshot_valid(f->mm, f->addr, &w->snap) || !spin_trylock(&pt->ptl))
		r = 0;
	if (r > 0) {
		w->spare = NULL;
		pgtable_link(&parent, pt);
		table = ptdesc_address(pt);
		f->pos.level = PGTABLE_LEVEL_PTE;
		f->pos.addr = addr;
		f->pos.pt = pt;
		f->pos.ptep = table + level_index(addr, PGTABLE_LEVEL_PTE);
		f->pos.pte = __pte(0);
	}
	pte_unlock(&parent);
	return r;
}

/* F4. Context: RCU, f->pos has its ptl held, which is given up if the answer is 0. */
static inline int fast_check(struct fault *f, const struct fast_fault *w)
{
	if (likely(vma_snapshot_valid(f->mm, f->addr, &w->snap)))
		return 1;
	pte_unlock(&f->pos);
	return 0;
}

/*
 * F3 and F4. A leaf's table is there: what has none at that level is looked at by a writer under its ptl
 * only. Context: RCU. Return: 1: f->pos is at @level, its ptl is held, and the snapshot is valid; 0: needs mmap_lock; -EAGAIN: try again.
 */
static int fast_lock(struct fault *f, struct fast_fault *w, unsigned long addr, unsigned int level)
{
	int r = pte_offset_trylock(f->mm, addr, level, &f->pos);

	if (r < 0)
		return r;
	if (r == 0) {
		if (!w->spare || f->pos.level != PGTABLE_LEVEL_PMD || !pte_none(f->pos.pte))
			return 0;
		return fast_link(f, w, addr);
	}
	return fast_check(f, w);
}

/*
 * The same in the section of the look. The table is still what the walk found, or was unlinked by a writer of the area,
 * under the lock that is taken here, and then F4 fails. Memory that can be had without sleeping is cleared in the section.
 */
static inline int fast_lock_here(struct fault *f, struct fast_fault *w)
{
	if (w->orders) {
		w->folio = mm_folio_alloc(f->mm, GFP_NOWAIT | __GFP_MOVABLE | __GFP_ZERO, 0);
		if (unlikely(!w->folio))
			return -EAGAIN;
	}
	if (unlikely(!spin_trylock(&f->pos.pt->ptl)))
		return -EAGAIN;
	f->pos.pte = ptep_get(f->pos.ptep);
	return fast_check(f, w);
}

/* F5: present already, or now. Context: as fast_lock() left it. */
static __noinline vm_fault_t fast_do(struct fault *f, struct fast_fault *w)
{
	if (!pte_present(f->pos.pte) || w->folio) {
		/* something else than at the first look: tried again, it is found */
		if (w->orders || !fault_wants_own(f))
			if (anon_fill(f, w->folio))
				w->folio = NULL;
		return 0;
	}
	if (pte_protnone(f->pos.pte))
		return FAULT_NEEDS_LOCK;
	if (fault_wants_own(f) && !pte_write(f->pos.pte) && !fault_maps_exclusive(f))
		return FAULT_NEEDS_LOCK;
	fault_allow(f);
	return 0;
}

/* The same in the section of the look: a folio that we have is of order 0, and the place is of the last level. */
static inline vm_fault_t fast_do_here(struct fault *f, struct fast_fault *w)
{
	struct folio *folio = w->folio;

	if (unlikely(!folio || !pte_none(f->pos.pte)))
		return fast_do(f, w);
	map_small(f->vma, folio, &f->pos, anon_entry(f->vma, folio_pfn(folio), f->flags));
	w->folio = NULL;
	return 0;
}

static vm_fault_t fast_place(struct fault *f, struct fast_fault *w)
{
	unsigned int order = w->folio ? folio_order(w->folio) : 0;
	unsigned int level = order == LEAF_ORDER ? MAX_LEAF_LEVEL : PGTABLE_LEVEL_PTE;
	vm_fault_t ret = FAULT_NEEDS_LOCK;
	int r = -EAGAIN;

	for (unsigned int i = 0; r == -EAGAIN && i < FAULT_TRIES; i++) {
		if (i)
			octavo_port_relax();
		rcu_read_lock();
		r = fast_lock(f, w, run_start(f->addr, order), level);
		if (r > 0) {
			ret = fast_do(f, w);
			pte_unlock(&f->pos);
		}
		rcu_read_unlock();
	}
	return ret;
}

/* What needs memory that is large, or hard to get, or a table; or a lock that somebody had. */
static __noinline vm_fault_t fast_again(struct fault *f, struct fast_fault *w)
{
	if (w->orders && !w->folio) {
		w->folio = anon_folio_alloc(f->mm, fault_gfp(f) | __GFP_ZERO, &w->orders);
		if (!w->folio)
			return FAULT_NEEDS_LOCK;
		/* a leaf takes the place of the table */
		if (folio_order(w->folio) == LEAF_ORDER)
			w->no_table = false;
	}
	if (w->no_table) {
		w->spare = pagetable_alloc(fault_table_gfp(f), 0);
		if (!w->spare)
			return FAULT_NEEDS_LOCK;
	}
	return fast_place(f, w);
}

vm_fault_t fault_anon_fast(struct fault *f)
{
	struct fast_fault w;
	vm_fault_t ret = FAULT_NEEDS_LOCK;
	int r = 0;

	w.orders = 0;
	w.folio = NULL;
	w.spare = NULL;
	rcu_read_lock();
	if (likely(fast_look(f, &w)))
		r = likely(!w.no_table && w.orders <= 1) ? fast_lock_here(f, &w) : -EAGAIN;
	if (likely(r > 0)) {
		ret = fast_do_here(f, &w);
		pte_unlock(&f->pos);
	}
	rcu_read_unlock();
	if (unlikely(r < 0))
		ret = fast_again(f, &w);
	if (unlikely(w.folio))
		folio_put(w.folio);
	if (unlikely(w.spare))
		pagetable_free(w.spare);
	return ret;
}
