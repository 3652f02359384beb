/* SPDX-License-Identifier: MIT */
/*
 * range_machine.h - ranges of an address space filled with a mixture of everything that page tables can have, for
 * tests of what is done to whole ranges: emptied, copied, restricted, moved.
 *
 * Every folio in it is kept by a reference of the test's, so that counts can be compared with entries afterwards.
 * Pages are numbered from BASE, the first of a table in every geometry.
 */
#ifndef OCTAVO_RANGE_MACHINE_H
#define OCTAVO_RANGE_MACHINE_H

#include <octavo/gup.h>
#include <octavo/mm.h>
#include <octavo/mmu_notifier.h>
#include <octavo/pgtable.h>
#include <octavo/plain.h>
#include <octavo/rmap.h>
#include <octavo/state.h>
#include <octavo/tlb.h>

#include "../mm/space/space.h"
#include "../mm/space/vma_lock.h"
#include "mmu.h"
#include "swap_device.h"
#include "test.h"

#define TABLE_PAGES PTRS_PER_TABLE
#define BASE	    (8 * level_size(PGTABLE_LEVEL_PMD))
#define RANGE_PAGES (3 * TABLE_PAGES) /* what fill_range() fills */
#define MAX_ORDER   (OCTAVO_TABLE_BITS == 9 ? 6u : 3u)
#define LEAF_ORDER  level_order(PGTABLE_LEVEL_PMD)
#define MAX_PLACED  (RANGE_PAGES * 2)

static struct mm_struct *as; /* the address space of most */

/* Folios that have been placed, and the entries of any address space that should map them. */
static struct placed {
	struct folio *folio;
	u32 entries, whole; /* counted */
	u32 refs;	    /* of others: pins, and what a pin adds */
	bool migrates;	    /* locked, until forget_placed() */
} placed[MAX_PLACED];
static u32 nr_placed;

static u64 rnd_state;

static inline u64 rnd(u64 below)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (rnd_state >> 11) % below;
}

static inline void rnd_seed(u64 seed)
{
	rnd_state = seed * 0x9e3779b97f4a7c15ull + 1;
}

static inline bool one_in(unsigned int n)
{
	return rnd(n) == 0;
}

static inline unsigned long at(unsigned long page)
{
	return BASE + (page << PAGE_SHIFT);
}

/* ---- address spaces and areas ---- */

static inline void range_boot(void)
{
	boot_small(OCTAVO_TABLE_BITS == 9 ? 96 : 4, 2);
	sim_set_cpu(0);
	as = mm_alloc();
	assert_non_null(as);
	sim_mm_use(as);
	sim_mmu_paranoid(true);
	nr_placed = 0;
}

static inline struct vm_area_struct *area_of(struct mm_struct *mm, unsigned long page)
{
	struct vm_area_struct *vma;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, at(page));
	mmap_read_unlock(mm);
	assert_non_null(vma);
	return vma;
}

static inline struct vm_area_struct *map_area(unsigned long page, unsigned long nr,
					      unsigned long prot)
{
	struct vm_area_struct *vma;

	assert_int_equal(vm_mmap(as, at(page), nr << PAGE_SHIFT, prot,
				 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0),
			 at(page));
	vma = area_of(as, page);
	mmap_read_lock(as);
	assert_int_equal(anon_vma_prepare(vma), 0);
	mmap_read_unlock(as);
	return vma;
}

/* A file whose areas the test fills itself. */
static int empty_file_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	static const struct vm_operations_struct ops = { .open = NULL };

	vma->vm_ops = &ops;
	return 0;
}

static inline struct vm_area_struct *map_file(unsigned long page, unsigned long nr,
					      unsigned long prot, unsigned long flags)
{
	static const struct vm_file_operations ops = { .mmap = empty_file_mmap };
	static struct vm_file file;

	vm_file_init(&file, &ops);
	assert_int_equal(vm_mmap(as, at(page), nr << PAGE_SHIFT, prot, MAP_FIXED | flags, &file, 0),
			 at(page));
	return area_of(as, page);
}

/* ---- swap ---- */

static struct test_device *range_dev;

static inline void range_boot_with_swap(void)
{
	range_boot();
	range_dev = test_device_on(256, 0, TD_SYNC);
}

static inline u64 slots_in_use(void)
{
	struct swap_stat st;

	assert_true(swap_stat(range_dev->type, &st));
	return st.used;
}

/* ---- entries ---- */

static inline struct pt_pos pos_in(struct mm_struct *mm, unsigned long page)
{
	struct pt_pos pos;

	rcu_read_lock();
	pgtable_walk(mm, at(page), PGTABLE_LEVEL_PTE, &pos);
	rcu_read_unlock();
	return pos;
}

/* As if leaves were tables: what the page's own entry would be. */
static inline pte_t entry_in(struct mm_struct *mm, unsigned long page)
{
	struct pt_pos pos = pos_in(mm, page);
	unsigned long in = (at(page) & (level_size(pos.level) - 1)) >> PAGE_SHIFT;

	if (!pos.level || pte_none(pos.pte))
		return pos.pte;
	if (pte_present(pos.pte))
		return pte_advance_pfn(pte_mksmaller(pos.pte, 0), in);
	return pte_swp_advance(pos.pte, in);
}

static inline bool is_leaf_in(struct mm_struct *mm, unsigned long page)
{
	return pos_in(mm, page).level == PGTABLE_LEVEL_PMD && !pte_none(entry_in(mm, page));
}

static inline void store_entry(struct mm_struct *mm, unsigned long page, unsigned int level,
			       pte_t e)
{
	struct pt_pos pos;

	assert_int_equal(pgtable_alloc_to(mm, at(page), level, GFP_KERNEL, &pos), 0);
	assert_true(pte_offset_lock(mm, at(page), level, &pos));
	assert_true(pte_none(pos.pte) || pte_is_swap(pos.pte));
	set_pte(pos.ptep, e);
	pte_unlock(&pos);
}

/* Everything of a range, to compare. */
static inline void take_entries(struct mm_struct *mm, unsigned long page, unsigned long nr,
				pte_t *to)
{
	for (unsigned long i = 0; i < nr; i++)
		to[i] = entry_in(mm, page + i);
}

static inline struct folio *folio_of(pte_t e)
{
	return pte_present(e) && !pte_special(e) ? page_folio(pfn_to_page(pte_pfn(e))) : NULL;
}

static inline bool exclusive(pte_t e)
{
	struct folio *folio = folio_of(e);

	return folio_test_anon_exclusive(folio, pte_pfn(e) - folio_pfn(folio));
}

/* The same for a page, where a leaf has one bit. */
static inline bool exclusive_in(struct mm_struct *mm, unsigned long page)
{
	struct pt_pos pos = pos_in(mm, page);

	return exclusive(pos.pte);
}

/* ---- filling ---- */

static inline struct placed *new_folio(unsigned int order, enum folio_kind kind)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, kind);
	struct placed *p = &placed[nr_placed];

	assert_non_null(folio);
	assert_in_range(nr_placed, 0, MAX_PLACED - 1);
	nr_placed++;
	*p = (struct placed){ .folio = folio };
	/* contents: which frame it is */
	for (unsigned long i = 0; i < 1ul << order; i++)
		*(u64 *)page_address(folio_page(folio, i)) = 0xc0ffee0000 + folio_pfn(folio) + i;
	return p;
}

static inline u64 contents(pte_t e)
{
	return *(u64 *)pfn_to_virt(pte_pfn(e));
}

#define PLACE_SHARED 1u /* not exclusive, and so not writable */
#define PLACE_CLEAN  2u
#define PLACE_OLD    4u
#define PLACE_RO     8u

static inline pte_t place_entry(const struct vm_area_struct *vma, unsigned long pfn, u32 how)
{
	pte_t e = pte_mkdirty(pte_mkyoung(pfn_pte(pfn, vma->vm_page_prot)));

	if (!(how & (PLACE_SHARED | PLACE_RO)) && vma->vm_flags & VM_WRITE)
		e = pte_mkwrite(e);
	if (how & PLACE_CLEAN)
		e = pte_mkclean(e);
	return how & PLACE_OLD ? pte_mkold(e) : e;
}

/* Pages @first to @first + @nr - 1 of a new anonymous folio, from @page on. */
static inline struct placed *place_anon(struct vm_area_struct *vma, unsigned long page,
					unsigned int order, unsigned long first, unsigned long nr,
					u32 how)
{
	struct placed *p = new_folio(order, FOLIO_ANON);
	struct folio_subrange sr = folio_subrange(p->folio, first, nr);

	folio_ref_add(p->folio, (u32)nr);
	folio_add_new_anon_rmap(sr, vma, at(page), PGTABLE_LEVEL_PTE);
	if (how & PLACE_SHARED)
		folio_clear_anon_exclusive(sr);
	for (unsigned long i = 0; i < nr; i++)
		store_entry(vma->vm_mm, page + i, PGTABLE_LEVEL_PTE,
			    place_entry(vma, folio_pfn(p->folio) + first + i, how));
	add_mm_counter(vma->vm_mm, MM_ANONPAGES, (long)nr);
	return p;
}

static inline struct placed *place_leaf(struct vm_area_struct *vma, unsigned long page, u32 how)
{
	struct placed *p = new_folio(LEAF_ORDER, FOLIO_ANON);
	struct folio_subrange sr = folio_subrange(p->folio, 0, TABLE_PAGES);

	folio_ref_add(p->folio, 1);
	folio_add_new_anon_rmap(sr, vma, at(page), PGTABLE_LEVEL_PMD);
	if (how & PLACE_SHARED)
		folio_clear_anon_exclusive(folio_subrange(p->folio, 0, 1));
	store_entry(vma->vm_mm, page, PGTABLE_LEVEL_PMD,
		    pte_mkleaf(place_entry(vma, folio_pfn(p->folio), how), PGTABLE_LEVEL_PMD));
	add_mm_counter(vma->vm_mm, MM_ANONPAGES, (long)TABLE_PAGES);
	return p;
}

/* Entries of a folio that somebody has locked and unmapped in order to move it. */
static inline struct placed *place_migration(struct vm_area_struct *vma, unsigned long page,
					     unsigned int level, unsigned int order,
					     enum swp_type type)
{
	struct placed *p = new_folio(order, FOLIO_ANON);
	unsigned long nr = level ? 1 : 1ul << order;

	folio_lock(p->folio);
	p->migrates = true;
	for (unsigned long i = 0; i < nr; i++)
		store_entry(vma->vm_mm, page + i, level,
			    swp_entry_to_pte(
				    swp_entry(type, (folio_pfn(p->folio) + i) | SWP_MIG_YOUNG)));
	add_mm_counter(vma->vm_mm, MM_ANONPAGES, 1l << order);
	return p;
}

/* Entries for slots that others have too. */
static inline void place_slots_again(struct vm_area_struct *vma, unsigned long page,
				     swp_entry_t slot, u32 nr)
{
	assert_int_equal(swap_dup_entries(slot, nr), 0);
	for (u32 i = 0; i < nr; i++)
		store_entry(vma->vm_mm, page + i, PGTABLE_LEVEL_PTE,
			    pte_swp_advance(swp_entry_to_pte(slot), i));
	add_mm_counter(vma->vm_mm, MM_SWAPENTS, (long)nr);
}

/* @nr pages from @page on are in consecutive slots, and nowhere else. Return: the first. */
static inline swp_entry_t place_slots(struct vm_area_struct *vma, unsigned long page, u32 nr,
				      bool is_exclusive)
{
	unsigned int order = nr > 1 ? (unsigned int)ilog2(nr - 1) + 1 : 0;
	struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
	swp_entry_t slot;

	assert_non_null(folio);
	folio_lock(folio);
	folio_set_flag(folio, PG_uptodate);
	assert_int_equal(folio_alloc_swap(folio), 0);
	slot = folio_swap_entry(folio, 0);
	assert_int_equal(folio_dup_swap(folio_subrange(folio, 0, nr)), 0);
	assert_int_equal(swap_writeout(folio), 0);
	folio_lock(folio);
	swap_cache_del(folio, 0);
	folio_unlock(folio);
	folio_put(folio);
	for (u32 i = 0; i < nr; i++) {
		pte_t e = pte_swp_advance(swp_entry_to_pte(slot), i);

		store_entry(vma->vm_mm, page + i, PGTABLE_LEVEL_PTE,
			    is_exclusive ? pte_swp_mkexclusive(e) : e);
	}
	add_mm_counter(vma->vm_mm, MM_SWAPENTS, (long)nr);
	return slot;
}

/* The @i-th slot from @slot on. */
static inline unsigned int count_of(swp_entry_t slot, u32 i)
{
	return swap_count(swp_entry(swp_type(slot), swp_offset(slot) + i));
}

static inline void place_zero(struct vm_area_struct *vma, unsigned long page)
{
	pte_t e = pfn_pte(octavo_state.space.zero_pfn, vma->vm_page_prot);

	store_entry(vma->vm_mm, page, PGTABLE_LEVEL_PTE, pte_mkspecial(pte_wrprotect(e)));
}

static inline void place_marker(struct vm_area_struct *vma, unsigned long page, u64 marker)
{
	WRITE_ONCE(vma->vm_guards, 1ul);
	store_entry(vma->vm_mm, page, PGTABLE_LEVEL_PTE,
		    swp_entry_to_pte(swp_entry(SWP_PTE_MARKER, marker)));
}

/* One thing at @page that ends before @end. Return: the page after it. */
static inline unsigned long place_something(struct vm_area_struct *vma, unsigned long page,
					    unsigned long end, bool swap_form)
{
	unsigned long room = end - page, nr;
	unsigned int order = (unsigned int)rnd(MAX_ORDER + 1);
	u32 how = (u32)rnd(16);

	if (!(page % TABLE_PAGES) && room >= TABLE_PAGES && one_in(2)) {
		if (swap_form && one_in(3))
			place_migration(vma, page, PGTABLE_LEVEL_PMD, LEAF_ORDER,
					SWP_MIGRATION_READ + (unsigned int)rnd(3));
		else
			place_leaf(vma, page, how);
		return page + TABLE_PAGES;
	}
	switch (rnd(12)) {
	case 0:
	case 1:
		return page + 1 + rnd(min(room, 20ul));
	case 2:
		place_zero(vma, page);
		return page + 1;
	case 3:
		if (!swap_form)
			break;
		place_marker(vma, page, one_in(3) ? PTE_MARKER_POISONED : PTE_MARKER_GUARD);
		return page + 1;
	case 4:
		if (!swap_form || 1ul << order > room)
			break;
		place_migration(vma, page, PGTABLE_LEVEL_PTE, order,
				SWP_MIGRATION_READ + (unsigned int)rnd(3));
		return page + (1ul << order);
	case 5:
		if (!swap_form)
			break;
		store_entry(vma->vm_mm, page, PGTABLE_LEVEL_PTE,
			    swp_entry_to_pte(swp_entry(SWP_HWPOISON, 5)));
		return page + 1;
	default:
		break;
	}
	nr = 1 + rnd(min(room, 1ul << order));
	place_anon(vma, page, order, rnd((1ul << order) - nr + 1), nr, how);
	return page + nr;
}

/* A mixture in all pages of a range of one area. */
static inline void fill_range(struct vm_area_struct *vma, unsigned long page, unsigned long nr,
			      bool swap_form)
{
	unsigned long end = page + nr;

	while (page < end)
		page = place_something(vma, page, end, swap_form);
}

/* A user program's look at, or write to, what is mapped: so that there are translations. Dirt is dirt. */
static inline void touch_range(unsigned long page, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		u64 val;
		pte_t e = entry_in(as, page + i);

		if (!pte_present(e) || pte_protnone(e) || one_in(4))
			continue;
		assert_int_equal(sim_mmu_try(at(page + i), SIM_LOAD, &val), SIM_OK);
		assert_int_equal(val, contents(e));
		if (pte_write(e) && one_in(2))
			assert_int_equal(sim_mmu_try(at(page + i), SIM_STORE, &val), SIM_OK);
	}
}

/* ---- looking at all of it ---- */

static inline struct placed *find_placed(struct folio *folio)
{
	for (u32 i = 0; i < nr_placed; i++)
		if (placed[i].folio == folio)
			return &placed[i];
	return NULL;
}

static inline void count_entries(struct mm_struct *mm, unsigned long page, unsigned long nr)
{
	struct placed *last = NULL;

	for (unsigned long i = 0; i < nr;) {
		struct pt_pos pos = pos_in(mm, page + i);
		struct folio *folio = pos.level > PGTABLE_LEVEL_PMD ? NULL : folio_of(pos.pte);

		if (folio && (!last || last->folio != folio))
			last = find_placed(folio);
		if (folio && last) {
			last->entries++;
			last->whole += pos.level > 0;
		}
		i = (level_addr_end(at(page + i), at(page + nr), pos.level) - at(page)) >>
		    PAGE_SHIFT;
	}
}

/* Counts of all that was placed are what entries of @as, and of @other if there is one, say. */
static inline void check_placed(struct mm_struct *other, unsigned long page, unsigned long nr)
{
	for (u32 i = 0; i < nr_placed; i++)
		placed[i].entries = placed[i].whole = 0;
	count_entries(as, page, nr);
	if (other)
		count_entries(other, page, nr);
	for (u32 i = 0; i < nr_placed; i++) {
		struct placed *p = &placed[i];

		assert_int_equal(folio_mapcount(p->folio), p->entries);
		assert_int_equal(folio_entire_mapcount(p->folio), p->whole);
		assert_int_equal(folio_ref_count(p->folio), 1 + p->entries + p->refs);
	}
}

static inline void check_all(void)
{
	assert_true(sim_mmu_check(as));
	assert_true(octavo_validate());
}

/* The test's references; what migrates is let go of, its entries are gone. */
static inline void forget_placed(void)
{
	while (nr_placed) {
		struct placed *p = &placed[--nr_placed];

		if (p->migrates)
			folio_unlock(p->folio);
		folio_put(p->folio);
	}
}

static inline void range_down(void)
{
	check_all();
	sim_mm_forget(as);
	mmput(as);
	forget_placed();
	if (range_dev)
		test_device_off(range_dev);
	range_dev = NULL;
	shutdown_clean();
}

#endif /* OCTAVO_RANGE_MACHINE_H */
