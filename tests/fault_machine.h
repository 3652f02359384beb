/* SPDX-License-Identifier: MIT */
/*
 * fault_machine.h - what the tests of faults share: one address space, what it maps, and user programs' accesses.
 *
 * Addresses are multiples of PAGE_SIZE from BASE, which is aligned for a leaf in every geometry.
 */
#ifndef OCTAVO_FAULT_MACHINE_H
#define OCTAVO_FAULT_MACHINE_H

#include "test.h"

#include <octavo/gup.h>
#include <octavo/mm.h>
#include <octavo/mmu_notifier.h>
#include <octavo/pgtable.h>
#include <octavo/rmap.h>
#include <octavo/tlb.h>

#include "mmu.h"

#define BASE	   (1ul << 22)
#define LEAF_PAGES PTRS_PER_TABLE
#define LEAF_SIZE  (LEAF_PAGES << PAGE_SHIFT)
#define LEAF_ORDER OCTAVO_TABLE_BITS
#define TEST_MIB   (OCTAVO_TABLE_BITS == 9 ? 96u : 4u)

static struct mm_struct *as; /* the address space */

static inline unsigned long at(unsigned long page)
{
	return BASE + (page << PAGE_SHIFT);
}

static inline void space_up(void)
{
	boot_small(TEST_MIB, 2);
	as = mm_alloc();
	assert_non_null(as);
	sim_mm_use(as);
	sim_mmu_paranoid(true);
}

static inline void space_down(void)
{
	assert_true(octavo_validate());
	assert_true(sim_mmu_check(as));
	sim_mm_forget(as);
	mmput(as);
	shutdown_clean();
}

static inline void map_flags(unsigned long page, unsigned long nr, unsigned long prot,
			     unsigned long flags)
{
	assert_int_equal(vm_mmap(as, at(page), nr << PAGE_SHIFT, prot,
				 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | flags, NULL, 0),
			 at(page));
}

static inline void map_anon(unsigned long page, unsigned long nr)
{
	map_flags(page, nr, PROT_READ | PROT_WRITE, 0);
}

static inline struct vm_area_struct *area(unsigned long page)
{
	struct vm_area_struct *vma;

	mmap_read_lock(as);
	vma = vma_lookup(as, at(page));
	mmap_read_unlock(as);
	assert_non_null(vma);
	return vma;
}

/* The entry of a page, at whatever level the walk ends. */
static inline struct pt_pos pos_in(struct mm_struct *m, unsigned long page)
{
	struct pt_pos pos;

	rcu_read_lock();
	pgtable_walk(m, at(page), PGTABLE_LEVEL_PTE, &pos);
	rcu_read_unlock();
	return pos;
}

static inline pte_t entry(unsigned long page)
{
	return pos_in(as, page).pte;
}

static inline bool is_leaf(unsigned long page)
{
	struct pt_pos pos = pos_in(as, page);

	return pos.level == MAX_LEAF_LEVEL && pte_leaf(pos.pte, pos.level);
}

static inline unsigned long pfn_in(struct mm_struct *m, unsigned long page)
{
	struct pt_pos pos = pos_in(m, page);

	assert_true(pte_leaf(pos.pte, pos.level));
	return pte_pfn(pos.pte) + ((at(page) & (level_size(pos.level) - 1)) >> PAGE_SHIFT);
}

static inline struct folio *folio_in(struct mm_struct *m, unsigned long page)
{
	struct folio *folio = page_folio(pfn_to_page(pfn_in(m, page)));

	if (!folio)
		abort();
	return folio;
}

static inline struct folio *folio_at(unsigned long page)
{
	return folio_in(as, page);
}

/* What a page has, through the direct map. */
static inline u64 *mem_in(struct mm_struct *m, unsigned long page)
{
	return pfn_to_virt(pfn_in(m, page));
}

static inline bool is_zero_page(unsigned long page)
{
	pte_t e = entry(page);

	return pte_present(e) && pte_special(e) && !pte_write(e) &&
	       pte_pfn(e) == octavo_state.space.zero_pfn;
}

static inline bool exclusive_in(struct mm_struct *m, unsigned long page)
{
	struct pt_pos pos = pos_in(m, page);
	struct folio *folio = page_folio(pfn_to_page(pte_pfn(pos.pte)));

	return folio_test_anon_exclusive(folio, pte_pfn(pos.pte) - folio_pfn(folio));
}

/* A user program's. */
static inline void put64(unsigned long page, u64 val)
{
	assert_int_equal(sim_store64(at(page), val), 0);
}

static inline u64 get64(unsigned long page)
{
	u64 val = ~0ull;

	assert_int_equal(sim_load64(at(page), &val), 0);
	return val;
}

static inline bool all_zero(const u64 *p, unsigned long bytes)
{
	for (unsigned long i = 0; i < bytes / 8; i++)
		if (p[i])
			return false;
	return true;
}

/* A write fault on the page that may not sleep: 0 only if mmap_lock was not needed while somebody has it. */
static inline vm_fault_t fault_nowait(unsigned long page, u32 flags)
{
	return mm_fault(as, at(page), flags | FAULT_FLAG_NOWAIT);
}

static inline vm_fault_t handle(unsigned long page, u32 flags)
{
	vm_fault_t ret;

	mmap_read_lock(as);
	ret = handle_mm_fault(vma_lookup(as, at(page)), at(page), flags);
	mmap_read_unlock(as);
	return ret;
}

/* Put @e where the entry of a page is, which must be none or of swap form. */
static inline void force_entry(unsigned long page, pte_t e)
{
	struct pt_pos pos;

	mmap_read_lock(as);
	assert_int_equal(pgtable_alloc_to(as, at(page), PGTABLE_LEVEL_PTE, GFP_KERNEL, &pos), 0);
	assert_true(pte_offset_lock(as, at(page), PGTABLE_LEVEL_PTE, &pos));
	set_pte(pos.ptep, e);
	pte_unlock(&pos);
	mmap_read_unlock(as);
}

/* ---- a child, one at a time ---- */

static struct mm_struct *as_child;

static inline void fork_child(void)
{
	int err = 0;

	as_child = mm_fork(as, &err);
	assert_non_null(as_child);
	assert_int_equal(err, 0);
}

static inline void child_ends(void)
{
	sim_mm_forget(as_child);
	mmput(as_child);
	as_child = NULL;
}

/* The child's program runs on this CPU for one access. */
static inline void child_put64(unsigned long page, u64 val)
{
	sim_mm_use(as_child);
	put64(page, val);
	sim_mm_forget(as_child);
	sim_mm_use(as);
}

static inline u64 child_get64(unsigned long page)
{
	u64 val;

	sim_mm_use(as_child);
	val = get64(page);
	sim_mm_forget(as_child);
	sim_mm_use(as);
	return val;
}

#endif /* OCTAVO_FAULT_MACHINE_H */
