// SPDX-License-Identifier: MIT
/*
 * collapse.c - one large folio in place of many small ones.
 *
 * 1. Everybody is kept away: mmap_lock for writing and the area marked (faults), the anon_vma's lock for writing
 *    (reverse-map walks). get_user_pages_fast() and PFN walkers are not.
 *
 * 2. The entries are checked under the ptl, their folios locked by trying, the entries cleared, and flushed. From
 *    then on no program reaches the old pages.
 *
 * 3. Who has a reference could. Folios with an exclusive page in the range may be written to through one, so
 *    they are frozen: the count must be that of their entries here, and of the swap cache, and nothing else; while it is
 *    0 nobody gets in. A page that is shared is never written to through a reference, and may be mapped by others, so
 *    it is not frozen: copying it is what a write fault would do.
 *
 * 4. What is in swap slots is brought in first, with faults going on; what is gone again by then is in the way.
 *
 * 5. Copied, mapped, the old folios thawed, unmapped, put. Anything that fails before the copying puts all
 *    entries back as they were; after it nothing fails.
 */
#include <octavo/errno.h>
#include <octavo/slab.h>
#include <octavo/string.h>
#include <octavo/swap.h>

#include "fault.h"
#include "vma_lock.h"

/* Consecutive pages of one folio. A folio that comes twice is one that cannot be locked twice. */
struct old_run {
	struct folio_subrange sr;
	u32 frozen; /* at this count; 0: not */
};

struct collapse {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned long addr;
	unsigned int order;
	unsigned long nr;
	unsigned int max_none;
	struct folio *folio; /* the new one */
	pte_t *old;	     /* [nr], as they were cleared */
	struct old_run *run; /* [nr] */
	unsigned long nr_runs;
	struct pt_pos pos; /* the first entry */
};

/* ---- what is there ---- */

/* Continue a run, or begin one with its folio locked. Return: 0, -errno. */
static int add_page(struct collapse *c, struct folio *folio, struct page *page)
{
	struct old_run *last = c->nr_runs ? &c->run[c->nr_runs - 1] : NULL;

	if (last && last->sr.folio == folio &&
	    folio_page(folio, last->sr.first + last->sr.nr) == page) {
		last->sr.nr++;
		return 0;
	}
	if (!folio_trylock(folio))
		return -EBUSY;
	c->run[c->nr_runs++] = (struct old_run){ .sr = folio_subrange_page(folio, page, 1) };
	return 0;
}

/* One entry. Return: 0, -errno. */
static int look_at(struct collapse *c, unsigned long i, unsigned int *none)
{
	unsigned long addr = c->addr + (i << PAGE_SHIFT);
	pte_t e = ptep_get(c->pos.ptep + i);
	struct folio *folio;
	struct page *page;

	if (pte_none(e) || pte_is_zero_page(e))
		return ++*none > c->max_none ? -EINVAL : 0;
	if (pte_is_swap(e))
		return is_migration_entry(pte_to_swp_entry(e)) || pte_is_swap_slot(e) ? -EBUSY
										      : -EINVAL;
	if (pte_protnone(e))
		return -EINVAL;
	page = vm_normal_page(c->vma, addr, e, PGTABLE_LEVEL_PTE);
	folio = page ? page_folio(page) : NULL;
	/* where a device's memory goes is its driver's business */
	if (!folio || !folio_test_anon(folio) || folio_test_flag(folio, PG_zone_device))
		return -EINVAL;
	return add_page(c, folio, page);
}

/* It is one already: nothing to do. */
static bool is_one(const struct collapse *c)
{
	return c->nr_runs == 1 && c->run[0].sr.nr == c->nr &&
	       folio_order(c->run[0].sr.folio) >= c->order;
}

static void unlock_all(struct collapse *c)
{
	for (unsigned long i = 0; i < c->nr_runs; i++)
		folio_unlock(c->run[i].sr.folio);
}

/* Context: the ptl. Return: 0: all folios locked; -errno: none. */
static int look(struct collapse *c)
{
	unsigned int none = 0;
	int err = 0;

	for (unsigned long i = 0; i < c->nr && !err; i++)
		err = look_at(c, i, &none);
	if (!err && is_one(c))
		err = -EEXIST;
	if (err)
		unlock_all(c);
	return err;
}

/* ---- taking it away, and putting it back ---- */

static void clear_entries(struct collapse *c)
{
	for (unsigned long i = 0; i < c->nr; i++)
		c->old[i] = ptep_get_and_clear(c->pos.ptep + i);
	flush_tlb_range(c->mm, c->addr, c->addr + (c->nr << PAGE_SHIFT), PGTABLE_LEVEL_PTE);
}

static void restore_entries(struct collapse *c)
{
	for (unsigned long i = 0; i < c->nr; i++)
		if (!pte_none(c->old[i]))
			set_pte(c->pos.ptep + i, c->old[i]);
}

/* Those that could be written to through a reference. Return: false: one has such, and nothing is frozen. */
static bool freeze_all(struct collapse *c)
{
	unsigned long i;

	for (i = 0; i < c->nr_runs; i++) {
		struct old_run *run = &c->run[i];
		struct folio *folio = run->sr.folio;
		u32 refs = run->sr.nr;

		if (!folio_anon_exclusive_count(run->sr))
			continue;
		if (folio_test_flag(folio, PG_swapcache) && !folio_free_swap(folio))
			refs += (u32)folio_nr_pages(folio);
		/* mapped elsewhere too: others count on their references */
		if (folio_mapcount(folio) != (int)run->sr.nr || !folio_ref_freeze(folio, refs))
			break;
		run->frozen = refs;
	}
	if (i == c->nr_runs)
		return true;
	while (i--)
		if (c->run[i].frozen)
			folio_ref_unfreeze(c->run[i].sr.folio, c->run[i].frozen);
	return false;
}

/* ---- the new one ---- */

static void copy_pages(struct collapse *c)
{
	char *to = folio_address(c->folio);

	for (unsigned long i = 0; i < c->nr; i++, to += PAGE_SIZE)
		if (pte_none(c->old[i]) || pte_special(c->old[i]))
			memset(to, 0, PAGE_SIZE);
		else
			memcpy(to, pfn_to_virt(pte_pfn(c->old[i])), PAGE_SIZE);
}

/* A leaf, where the empty table was. Context: the table's ptl held, which is given up. */
static void install_leaf(struct collapse *c, pte_t e)
{
	struct mmu_gather tlb;
	struct pt_pos above;
	struct ptdesc *pt;
	bool found;

	/* the parent's lock comes first; nobody puts anything into the table meanwhile */
	pte_unlock(&c->pos);
	found = pte_offset_lock(c->mm, c->addr, MAX_LEAF_LEVEL, &above);
	BUG_ON(!found || !pte_table(above.pte, above.level));
	spin_lock(&c->pos.pt->ptl);
	pt = pgtable_unlink(&above);
	anon_map_folio(c->vma, c->folio, &above, e);
	spin_unlock(&pt->ptl);
	pte_unlock(&above);
	/* CPUs that remember the way to the table find nothing in it until they are told */
	tlb_gather_mmu(&tlb, c->mm);
	tlb_note_range(&tlb, c->addr, c->addr + (c->nr << PAGE_SHIFT), MAX_LEAF_LEVEL);
	tlb_remove_table(&tlb, pt);
	tlb_finish_mmu(&tlb);
}

/* Context: the ptl, which is given up. */
static void install(struct collapse *c)
{
	pte_t e = anon_entry(c->vma, folio_pfn(c->folio), FAULT_FLAG_WRITE);

	if (c->order == LEAF_ORDER) {
		install_leaf(c, e);
	} else {
		anon_map_folio(c->vma, c->folio, &c->pos, e);
		pte_unlock(&c->pos);
	}
	c->folio = NULL;
}

static void drop_old(struct collapse *c)
{
	for (unsigned long i = 0; i < c->nr_runs; i++) {
		struct folio_subrange sr = c->run[i].sr;

		if (c->run[i].frozen)
			folio_ref_unfreeze(sr.folio, c->run[i].frozen);
		folio_remove_rmap(sr, c->vma, PGTABLE_LEVEL_PTE);
		add_mm_counter(c->mm, MM_ANONPAGES, -(long)sr.nr);
		folio_unlock(sr.folio);
		folio_put_unmapped(sr.folio, sr.nr);
	}
}

/* ---- all of it ---- */

/* Context: everybody kept away. */
static int collapse_locked(struct collapse *c)
{
	bool frozen;
	int err;

	if (!pte_offset_lock(c->mm, c->addr, PGTABLE_LEVEL_PTE, &c->pos))
		return pte_leaf(c->pos.pte, c->pos.level) ? -EEXIST : -EINVAL;
	err = look(c);
	if (err) {
		pte_unlock(&c->pos);
		return err;
	}
	clear_entries(c);
	frozen = freeze_all(c);
	if (!frozen) {
		restore_entries(c);
		unlock_all(c);
		pte_unlock(&c->pos);
		return -EBUSY;
	}
	/* long, and needs no lock but those of the caller */
	pte_unlock(&c->pos);
	copy_pages(c);
	spin_lock(&c->pos.pt->ptl);
	VM_BUG_ON(!ptes_none(c->pos.ptep, c->nr));
	install(c);
	drop_old(c);
	return 0;
}

bool vma_may_collapse(const struct vm_area_struct *vma)
{
	/* faults with mmap_lock for reading make the reverse map */
	return area_is_anon(vma) && vma->vm_flags & VM_ACCESS_FLAGS &&
	       !(vma->vm_flags & (VM_SHARED | VM_NOHUGEPAGE)) && READ_ONCE(vma->anon_vma);
}

static bool may_collapse(const struct collapse *c)
{
	return c->vma && c->nr << PAGE_SHIFT <= c->vma->vm_end - c->addr &&
	       vma_may_collapse(c->vma);
}

/* Context: mmap_lock for writing. */
static int collapse_vma(struct collapse *c)
{
	unsigned long end = c->addr + (c->nr << PAGE_SHIFT);
	struct mmu_notifier_range range;
	int err;

	c->vma = vma_lookup(c->mm, c->addr);
	if (!may_collapse(c))
		return -EINVAL;
	vma_start_write(c->vma);
	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, c->mm, c->addr, end);
	mmu_notifier_invalidate_range_start(&range);
	anon_vma_lock_write(c->vma->anon_vma);
	err = collapse_locked(c);
	anon_vma_unlock_write(c->vma->anon_vma);
	mmu_notifier_invalidate_range_end(&range);
	return err;
}

/* Return: 0 if there is nothing to bring in, too; -ENOMEM; -EINVAL: contents that cannot be had. */
static int collapse_swapin(struct collapse *c)
{
	unsigned long start = c->addr, end = c->addr + (c->nr << PAGE_SHIFT);
	struct fault_wait wait;
	int err;

	fault_wait_init(&wait);
	do {
		err = 0;
		mmap_read_lock(c->mm);
		c->vma = vma_lookup(c->mm, c->addr);
		if (may_collapse(c))
			err = swapin_range(c->vma, &start, end, -1, &wait);
		mmap_read_unlock(c->mm);
		if (err == -EAGAIN && fault_wait(&wait))
			err = -ENOMEM;
	} while (err == -EAGAIN);
	return err && err != -ENOMEM ? -EINVAL : err;
}

int collapse_range(struct mm_struct *mm, unsigned long addr, unsigned int order,
		   unsigned int max_none)
{
	struct collapse c = { .mm = mm, .addr = addr, .order = order, .max_none = max_none };
	int err = -ENOMEM;

	if (!order || order > LEAF_ORDER || order > MAX_FOLIO_ORDER ||
	    !IS_ALIGNED(addr, PAGE_SIZE << order))
		return -EINVAL;
	c.nr = 1ul << order;
	c.folio = mm_folio_alloc(mm, GFP_HIGHUSER_MOVABLE, order);
	c.old = kmalloc(c.nr * sizeof(*c.old), GFP_KERNEL);
	c.run = kmalloc(c.nr * sizeof(*c.run), GFP_KERNEL);
	if (c.folio && c.old && c.run)
		err = collapse_swapin(&c);
	if (!err) {
		mmap_write_lock(mm);
		err = collapse_vma(&c);
		mmap_write_unlock(mm);
	}
	if (c.folio)
		folio_put(c.folio);
	kfree(c.run);
	kfree(c.old);
	return err;
}
