/* SPDX-License-Identifier: MIT */
/*
 * unmap_machine.h - a swap device beside the areas of rmap_machine.h, and what entries of slots say.
 */
#ifndef OCTAVO_UNMAP_MACHINE_H
#define OCTAVO_UNMAP_MACHINE_H

#include <octavo/migrate.h>
#include <octavo/reclaim.h>
#include <octavo/swap.h>

#include "rmap_picture.h"
#include "swap_device.h"

#define UNMAP_SLOTS 4096ul

static struct {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	struct test_device *dev;
	long anon, swapped; /* counters, as they were */
} um;

static inline void um_boot(void)
{
	hand_boot();
	um.mm = table_mm();
	um.vma = hand_vma(um.mm, 4 * PMD_NR, 6 * PMD_NR);
	assert_int_equal(anon_vma_prepare(um.vma), 0);
	add_mm_counter(um.mm, MM_ANONPAGES, 100000);
	um.dev = test_device_on(UNMAP_SLOTS, 0, TD_SYNC);
}

/* Entries of slots and of memory go, with what they held. */
static inline void um_zap(struct vm_area_struct *vma)
{
	for (unsigned long addr = vma->vm_start; addr < vma->vm_end; addr += PAGE_SIZE) {
		struct pt_pos pos;
		pte_t e;

		if (!pgtable_walk(vma->vm_mm, addr, 0, &pos) || !pte_is_swap(pos.pte))
			continue;
		e = table_unmap(vma->vm_mm, addr, 0);
		if (is_swap_slot(pte_to_swp_entry(e)))
			swap_free_entries(pte_to_swp_entry(e), 1);
	}
	hand_zap(vma, vma->vm_start, vma->vm_end);
}

static inline void um_shutdown(void)
{
	struct swap_stat st;

	assert_true(octavo_validate());
	assert_true(swap_validate());
	um_zap(um.vma);
	hand_vma_free(um.vma);
	table_mm_end(um.mm);
	assert_true(swap_stat(um.dev->type, &st));
	assert_int_equal(st.used, 0);
	test_device_off(um.dev);
	hand_shutdown();
}

/* A locked folio of the cache, with one reference that is the caller's beside the cache's. */
static inline struct folio *cached(unsigned int order)
{
	struct folio *folio = anon(order);

	folio_lock(folio);
	folio_set_flag(folio, PG_uptodate);
	assert_int_equal(folio_alloc_swap(folio), 0);
	return folio;
}

/* One that a leaf maps. */
static inline struct folio *cached_leaf(unsigned long index)
{
	struct folio *folio = cached(level_order(1));

	hand_map_leaf(folio, um.vma, index);
	folio_get(folio);
	return folio;
}

/* It is mapped by nothing: out of the cache if no slot is used, and gone. */
static inline void drop(struct folio *folio)
{
	folio_free_swap(folio);
	folio_unlock(folio);
	folio_put(folio);
}

/* A child's area with what um.vma maps, @pages pages. um_fork_end() ends it. */
static inline struct vm_area_struct *um_fork(long pages)
{
	struct mm_struct *mm = table_mm();

	memset(mm->cpu, 0, TABLE_CPUS * sizeof(struct mm_cpu));
	add_mm_counter(mm, MM_ANONPAGES, pages);
	return hand_fork(um.vma, mm);
}

static inline void um_fork_end(struct vm_area_struct *child)
{
	struct mm_struct *mm = child->vm_mm;

	um_zap(child);
	hand_vma_free(child);
	table_mm_end(mm);
}

static inline pte_t entry_at(struct vm_area_struct *vma, unsigned long index)
{
	struct pt_pos pos;

	pgtable_walk(vma->vm_mm, hand_addr(vma, index), 0, &pos);
	return pos.pte;
}

/* The entries of pages @first on are those of their slots, exclusive as told, with the marks of @like. */
static inline void assert_slots(struct vm_area_struct *vma, unsigned long index,
				const struct folio *folio, unsigned long first, unsigned long nr,
				bool exclusive, pte_t like)
{
	for (unsigned long i = first; i < first + nr; i++) {
		pte_t e = entry_at(vma, index + i);

		assert_true(pte_is_swap(e));
		assert_int_equal(pte_to_swp_entry(e).v, folio_swap_entry(folio, i).v);
		assert_int_equal(pte_swp_exclusive(e), exclusive);
		assert_int_equal(pte_swp_soft_dirty(e), pte_soft_dirty(like));
		assert_int_equal(pte_swp_uffd_wp(e), pte_uffd_wp(like));
	}
}

static inline void assert_counts(const struct folio *folio, unsigned int want)
{
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		assert_int_equal(swap_count(folio_swap_entry(folio, i)), want);
}

static inline void counters_note(void)
{
	um.anon = (long)get_mm_counter(um.mm, MM_ANONPAGES);
	um.swapped = (long)get_mm_counter(um.mm, MM_SWAPENTS);
}

/* Since then @gone pages fewer are there, and @slots more in slots. */
static inline void assert_counters(long gone, long slots)
{
	assert_int_equal((long)get_mm_counter(um.mm, MM_ANONPAGES), um.anon - gone);
	assert_int_equal((long)get_mm_counter(um.mm, MM_SWAPENTS), um.swapped + slots);
}

/* The references that are not of the cache. */
static inline unsigned int refs_beside_cache(const struct folio *folio)
{
	return folio_ref_count(folio) -
	       (folio_test_flag(folio, PG_swapcache) ? (unsigned int)folio_nr_pages(folio) : 0);
}

#endif /* OCTAVO_UNMAP_MACHINE_H */
