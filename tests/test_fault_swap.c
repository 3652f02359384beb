// SPDX-License-Identifier: MIT
/*
 * test_fault_swap.c - memory that comes back from slots of a swap device: faults.
 */
#include <octavo/hwpoison.h>

#include "swap_space.h"

/* ---- one page ---- */

COVERS("S2.26 S2.30");
static void test_read_brings_back(void **state)
{
	swp_entry_t slot;

	swap_up(0);
	map_anon(0, 4);
	fill_out(1, 1);
	slot = slot_in(as, 1);
	assert_true(pte_swp_exclusive(entry(1)));
	assert_int_equal(rss(MM_ANONPAGES), 0);
	assert_int_equal(rss(MM_SWAPENTS), 1);
	assert_int_equal(swap_count(slot), 1);
	assert_false(cached(slot));
	assert_true(octavo_validate());
	assert_int_equal(mm_fault(as, at(1), 0), VM_FAULT_MAJOR);
	assert_int_equal(dev.reads, 1);
	/* read-only, so that the slot stays good; exclusive, so that a write needs no copy */
	assert_true(pte_present(entry(1)) && pte_young(entry(1)));
	assert_false(pte_write(entry(1)) || pte_dirty(entry(1)));
	assert_true(exclusive_in(as, 1));
	assert_int_equal(rss(MM_ANONPAGES), 1);
	assert_int_equal(rss(MM_SWAPENTS), 0);
	assert_int_equal(swap_count(slot), 0);
	assert_true(cached(slot));
	assert_int_equal(get64(1), 101);
	/* and goes again without being written */
	dev.writes = 0;
	out(1, 1);
	assert_int_equal(dev.writes, 0);
	assert_int_equal(get64(1), 101);
	swap_down();
}

COVERS("S2.26 S2.30");
static void test_write_brings_back_and_frees_the_slot(void **state)
{
	swp_entry_t slot;

	swap_up(0);
	map_anon(0, 4);
	fill_out(1, 1);
	slot = slot_in(as, 1);
	assert_int_equal(mm_fault(as, at(1), FAULT_FLAG_WRITE), VM_FAULT_MAJOR);
	assert_true(pte_write(entry(1)) && pte_dirty(entry(1)) && pte_soft_dirty(entry(1)));
	assert_true(exclusive_in(as, 1));
	assert_false(swap_entry_valid(slot));
	assert_false(folio_test_flag(folio_at(1), PG_swapcache));
	assert_true(folio_test_flag(folio_at(1), PG_swapbacked));
	assert_int_equal(folio_ref_count(folio_at(1)), 1);
	put64(1, 7);
	out(1, 1);
	assert_int_equal(get64(1), 7);
	swap_down();
}

/* What is in the cache needs no device. A write to what was read keeps the page, and its slot until it goes again. */
static void test_cached_is_not_read(void **state)
{
	struct folio *folio;

	swap_up(0);
	map_anon(0, 4);
	put64(1, 5);
	folio = folio_at(1);
	folio_lock(folio);
	assert_int_equal(folio_alloc_swap(folio), 0);
	assert_int_equal(page_out_entries(as, at(1), at(2), folio), 1);
	folio_unlock(folio);
	assert_true(is_slot(1));
	assert_int_equal(mm_fault(as, at(1), 0), 0);
	assert_int_equal(dev.reads, 0);
	assert_ptr_equal(folio_at(1), folio);
	assert_true(folio_test_flag(folio, PG_swapcache));
	assert_int_equal(mm_fault(as, at(1), FAULT_FLAG_WRITE), 0);
	assert_ptr_equal(folio_at(1), folio);
	put64(1, 6);
	assert_int_equal(get64(1), 6);
	swap_down();
}

static void test_marks_are_kept(void **state)
{
	swap_up(0);
	map_anon(0, 4);
	for (unsigned int marks = 0; marks < 4; marks++) {
		struct pt_pos pos;
		pte_t e;

		put64(1, marks);
		pos = pos_in(as, 1);
		e = ptep_get_and_clear(pos.ptep);
		e = marks & 1 ? pte_mksoft_dirty(e) : pte_clear_soft_dirty(e);
		set_pte(pos.ptep, marks & 2 ? pte_mkuffd_wp(e) : pte_clear_uffd_wp(e));
		flush_tlb_range(as, at(1), at(2), PGTABLE_LEVEL_PTE);
		out(1, 1);
		assert_int_equal(pte_swp_soft_dirty(entry(1)), marks & 1);
		assert_int_equal(pte_swp_uffd_wp(entry(1)), marks >> 1);
		assert_int_equal(get64(1), marks);
		assert_int_equal(pte_soft_dirty(entry(1)), marks & 1);
		assert_int_equal(pte_uffd_wp(entry(1)), marks >> 1);
		assert_int_equal(vm_madvise(as, at(1), PAGE_SIZE, MADV_DONTNEED), 0);
	}
	swap_down();
}

static void test_nowait(void **state)
{
	swap_up(0);
	map_anon(0, 4);
	fill_out(1, 1);
	assert_int_equal(fault_nowait(1, 0), VM_FAULT_RETRY);
	assert_true(is_slot(1));
	assert_int_equal(dev.reads, 0);
	assert_int_equal(vm_madvise(as, at(1), PAGE_SIZE, MADV_WILLNEED), 0);
	assert_int_equal(dev.reads, 1);
	assert_int_equal(fault_nowait(1, 0), 0);
	assert_int_equal(get64(1), 101);
	swap_down();
}

/* ---- others have it too ---- */

COVERS("S2.30 S2.32");
static void test_fork_of_slots_and_back(void **state)
{
	swp_entry_t slot;
	struct folio *folio;

	swap_up(0);
	map_anon(0, 4);
	fill_out(1, 1);
	slot = slot_in(as, 1);
	fork_child();
	assert_int_equal(swap_count(slot), 2);
	assert_false(pte_swp_exclusive(entry(1)) || pte_swp_exclusive(pos_in(as_child, 1).pte));
	assert_int_equal(get64(1), 101);
	assert_false(exclusive_in(as, 1) || pte_write(entry(1)));
	assert_int_equal(child_get64(1), 101);
	folio = folio_at(1);
	assert_ptr_equal(folio_in(as_child, 1), folio);
	assert_int_equal(dev.reads, 1);
	assert_int_equal(swap_count(slot), 0);
	/* the reverse map has both */
	assert_int_equal(folio_count_mappings(folio), 2);
	put64(1, 8);
	assert_ptr_not_equal(folio_at(1), folio);
	/* the child is alone with it now, and with its slot */
	child_put64(1, 9);
	assert_ptr_equal(folio_in(as_child, 1), folio);
	assert_false(folio_test_flag(folio, PG_swapcache));
	assert_int_equal(get64(1), 8);
	assert_true(octavo_validate());
	child_ends();
	swap_down();
}

/* Who writes while somebody else's entry names the slot gets a copy, and the slot stays. */
COVERS("S2.30");
static void test_write_to_a_shared_slot_copies(void **state)
{
	swp_entry_t slot;

	swap_up(0);
	map_anon(0, 4);
	fill_out(1, 1);
	slot = slot_in(as, 1);
	fork_child();
	assert_int_equal(mm_fault(as, at(1), FAULT_FLAG_WRITE), VM_FAULT_MAJOR);
	assert_true(pte_write(entry(1)) && exclusive_in(as, 1));
	put64(1, 8);
	assert_int_equal(swap_count(slot), 1);
	assert_int_equal(child_get64(1), 101);
	assert_int_equal(get64(1), 8);
	child_ends();
	swap_down();
}

/* The last user of a slot that was shared has it alone, whatever its entry says. */
COVERS("S2.30");
static void test_last_user_does_not_copy(void **state)
{
	swap_up(0);
	map_anon(0, 4);
	fill_out(1, 1);
	fork_child();
	child_ends();
	assert_false(pte_swp_exclusive(entry(1)));
	assert_int_equal(mm_fault(as, at(1), FAULT_FLAG_WRITE), VM_FAULT_MAJOR);
	assert_true(exclusive_in(as, 1) && pte_write(entry(1)));
	assert_int_equal(dev_stat().used, 0);
	/* one frame for the page: nothing was copied */
	assert_int_equal(folio_ref_count(folio_at(1)), 1);
	swap_down();
}

/* A reference of somebody else's: read for as long as he likes, so it is not written to. */
COVERS("S2.30");
static void test_reference_in_the_cache_makes_it_shared(void **state)
{
	struct folio *folio;
	u64 *words;

	swap_up(0);
	map_anon(0, 4);
	fill_out(1, 1);
	fork_child();
	child_ends();
	assert_int_equal(vm_madvise(as, at(1), PAGE_SIZE, MADV_WILLNEED), 0);
	folio = swap_cache_get_folio(slot_in(as, 1));
	assert_non_null(folio);
	words = folio_address(folio);
	put64(1, 5);
	assert_ptr_not_equal(folio_at(1), folio);
	assert_int_equal(words[0], 101);
	folio_put(folio);
	/* where the slot goes in any case */
	fill_out(2, 1);
	fork_child();
	child_ends();
	assert_int_equal(vm_madvise(as, at(2), PAGE_SIZE, MADV_WILLNEED), 0);
	folio = swap_cache_get_folio(slot_in(as, 2));
	assert_non_null(folio);
	words = folio_address(folio);
	assert_int_equal(vm_mlock(as, at(2), PAGE_SIZE, 0), 0);
	put64(2, 5);
	assert_ptr_not_equal(folio_at(2), folio);
	assert_int_equal(words[0], 102);
	folio_put(folio);
	swap_down();
}

/* ---- large ---- */

#define ORDER 2u
#define NR    (1u << ORDER)

static void use_orders(u32 orders)
{
	WRITE_ONCE(as->folio_orders, orders);
}

COVERS("S2.27 SX.9");
static void test_large_folio_for_a_run(void **state)
{
	swap_up(0);
	map_anon(0, 4 * NR);
	use_orders(1 | 1 << ORDER);
	fill_out(NR, NR);
	assert_int_equal(dev.writes, 1);
	assert_int_equal(mm_fault(as, at(NR + 1), 0), VM_FAULT_MAJOR);
	assert_int_equal(dev.reads, 1);
	assert_int_equal(dev.slots_read, NR);
	assert_int_equal(folio_order(folio_at(NR)), ORDER);
	assert_int_equal(folio_mapcount(folio_at(NR)), NR);
	for (unsigned int i = 0; i < NR; i++) {
		assert_ptr_equal(folio_at(NR + i), folio_at(NR));
		assert_int_equal(pte_young(entry(NR + i)), i == 1);
		assert_true(exclusive_in(as, NR + i));
		assert_false(pte_write(entry(NR + i)));
		assert_int_equal(get64(NR + i), 100 + NR + i);
	}
	assert_int_equal(rss(MM_SWAPENTS), 0);
	assert_true(octavo_validate());
	/* a write gets all of it at once, and the slots go */
	out(NR, NR);
	assert_int_equal(mm_fault(as, at(NR + 2), FAULT_FLAG_WRITE), VM_FAULT_MAJOR);
	for (unsigned int i = 0; i < NR; i++) {
		assert_true(pte_write(entry(NR + i)) && exclusive_in(as, NR + i));
		assert_int_equal(pte_dirty(entry(NR + i)), i == 2);
	}
	assert_int_equal(dev_stat().used, 0);
	/* what was not written to is not lost for being clean */
	out(NR, NR);
	for (unsigned int i = 0; i < NR; i++)
		assert_int_equal(get64(NR + i), 100 + NR + i);
	swap_down();
}

/* Where the run is not whole, not alike, or not aligned as its slots are, pages come one by one. */
static void test_large_only_where_it_fits(void **state)
{
	swap_up(SWAP_FLAG_SYNC);
	map_anon(0, 8 * NR);
	use_orders(1 | 1 << ORDER);
	for (unsigned int what = 0; what < 4; what++) {
		unsigned long page = what * NR;

		fill_out(page, NR);
		dev.slots_read = 0;
		if (what == 0)
			assert_int_equal(vm_madvise(as, at(page), PAGE_SIZE, MADV_DONTNEED), 0);
		else if (what == 1)
			assert_int_equal(vm_madvise(as, at(page), PAGE_SIZE, MADV_WILLNEED), 0);
		else if (what == 2)
			force_entry(page + 3, pte_swp_clear_exclusive(entry(page + 3)));
		else
			use_orders(1);
		assert_int_equal(get64(page + 1), 101 + page);
		assert_int_equal(folio_order(folio_at(page + 1)), 0);
		assert_int_equal(dev.slots_read, 1 + (what == 1));
		for (unsigned int i = what == 0; i < NR; i++)
			assert_int_equal(get64(page + i), 100 + page + i);
	}
	assert_int_equal(vm_munmap(as, at(0), 8 * NR << PAGE_SHIFT), 0);
	map_anon(0, 4 * NR);
	use_orders(1 | 1 << ORDER);
	fill_out(0, NR);
	/* moved by a page: the slots are aligned, the addresses are not */
	assert_int_equal(vm_mremap(as, at(0), NR << PAGE_SHIFT, NR << PAGE_SHIFT,
				   MREMAP_MAYMOVE | MREMAP_FIXED, at(2 * NR + 1)),
			 at(2 * NR + 1));
	for (unsigned int i = 0; i < NR; i++)
		assert_int_equal(get64(2 * NR + 1 + i), 100 + i);
	assert_int_equal(folio_order(folio_at(2 * NR + 1)), 0);
	swap_down();
}

/* Of a large folio in the cache what the entries name is mapped, up to the ends of runs that are alike. */
static void test_large_in_the_cache_is_mapped_by_runs(void **state)
{
	struct folio *folio;

	swap_up(0);
	map_anon(0, 4 * NR);
	use_orders(1 | 1 << ORDER);
	for (unsigned int i = 0; i < NR; i++)
		put64(NR + i, i);
	folio = folio_at(NR);
	folio_lock(folio);
	assert_int_equal(folio_alloc_swap(folio), 0);
	assert_int_equal(page_out_entries(as, at(NR), at(2 * NR), folio), NR);
	folio_unlock(folio);
	assert_int_equal(vm_madvise(as, at(NR), PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(get64(NR + 2), 2);
	assert_int_equal(folio_mapcount(folio), NR - 1);
	assert_true(pte_none(entry(NR)));
	assert_true(pte_present(entry(NR + 1)) && pte_present(entry(NR + 3)));
	assert_int_equal(dev.reads, 0);
	swap_down();
}

/* ---- errors ---- */

COVERS("S2.26");
static void test_what_cannot_be_read(void **state)
{
	swp_entry_t slot;

	swap_up(0);
	map_anon(0, 4);
	fill_out(1, 1);
	slot = slot_in(as, 1);
	dev.broken[swp_offset(slot)] = true;
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(sim_store64(at(1), 1), VM_FAULT_SIGBUS);
		assert_true(is_slot(1));
		assert_false(cached(slot));
		assert_int_equal(dev.reads, i + 1);
	}
	assert_true(octavo_validate());
	/* nothing is lost */
	dev.broken[swp_offset(slot)] = false;
	assert_int_equal(get64(1), 101);
	swap_down();
}

/* One bad page of a large folio: the others are had. */
COVERS("S2.26");
static void test_one_bad_page_of_a_run(void **state)
{
	swap_up(SWAP_FLAG_SYNC);
	map_anon(0, 2 * NR);
	use_orders(1 | 1 << ORDER);
	fill_out(0, NR);
	dev.broken[swp_offset(slot_in(as, 2))] = true;
	assert_int_equal(get64(1), 101);
	assert_int_equal(sim_store64(at(2), 1), VM_FAULT_SIGBUS);
	assert_int_equal(get64(3), 103);
	assert_int_equal(get64(0), 100);
	assert_true(is_slot(2));
	memset(dev.broken, 0, sizeof(dev.broken));
	assert_int_equal(get64(2), 102);
	swap_down();
}

static void test_poisoned_in_the_cache(void **state)
{
	struct folio *folio;
	unsigned long pfn;

	swap_up(0);
	map_anon(0, 4);
	fill_out(1, 1);
	assert_int_equal(vm_madvise(as, at(1), PAGE_SIZE, MADV_WILLNEED), 0);
	folio = swap_cache_get_folio(slot_in(as, 1));
	assert_non_null(folio);
	pfn = folio_pfn(folio);
	memory_failure(pfn);
	assert_true(folio_test_flag(folio, PG_hwpoison));
	assert_int_equal(sim_store64(at(1), 1), VM_FAULT_HWPOISON);
	assert_true(is_slot(1));
	folio_put(folio);
	assert_int_equal(vm_munmap(as, at(0), 4 << PAGE_SHIFT), 0);
	assert_int_equal(dev_stat().used, 0);
	assert_int_equal(unpoison_memory(pfn), 0);
	swap_down();
}

/* ---- while somebody waits for the device ---- */

static void zap_meanwhile(struct swap_io *io)
{
	assert_int_equal(vm_madvise(as, at(1), PAGE_SIZE, MADV_DONTNEED), 0);
}

/* How a fault comes: from a CPU; from who holds mmap_lock and keeps it; and who holds it and may lose it. */
enum how { HOW_CPU, HOW_KEEPS, HOW_LOSES, NR_HOW };

static vm_fault_t fault_how(enum how how, unsigned long page, u32 flags)
{
	vm_fault_t ret;

	if (how == HOW_CPU)
		return mm_fault(as, at(page), flags);
	if (how == HOW_KEEPS)
		return handle(page, flags);
	mmap_read_lock(as);
	ret = handle_mm_fault(vma_lookup(as, at(page)), at(page), flags | FAULT_FLAG_ALLOW_RETRY);
	/* with nothing to wait for that was given up, RETRY is of who may not sleep */
	if (ret & VM_FAULT_RETRY && !(flags & FAULT_FLAG_NOWAIT))
		assert_false(rwsem_is_locked(&as->mmap_lock));
	else
		mmap_read_unlock(as);
	return ret;
}

static void test_zapped_meanwhile(void **state)
{
	for (enum how how = 0; how < NR_HOW; how++) {
		swap_up(0);
		map_anon(0, 4);
		fill_out(1, 1);
		dev.before = zap_meanwhile;
		assert_int_equal(fault_how(how, 1, 0),
				 VM_FAULT_MAJOR | (how == HOW_LOSES ? VM_FAULT_RETRY : 0));
		/* a CPU's looks again */
		if (how == HOW_CPU)
			assert_true(is_zero_page(1));
		else
			assert_true(pte_none(entry(1)));
		assert_int_equal(dev_stat().used, 0);
		assert_int_equal(get64(1), 0);
		swap_down();
	}
}

/* Another page has the slot, at the same address, by the time the folio is there. */
static void reuse_meanwhile(struct swap_io *io)
{
	assert_int_equal(vm_madvise(as, at(1), PAGE_SIZE, MADV_DONTNEED), 0);
	put64(1, 77);
}

static void test_written_anew_meanwhile(void **state)
{
	for (enum how how = 0; how < NR_HOW; how++) {
		swap_up(0);
		map_anon(0, 4);
		fill_out(1, 1);
		dev.before = reuse_meanwhile;
		assert_int_equal(fault_how(how, 1, 0) & ~VM_FAULT_RETRY, VM_FAULT_MAJOR);
		assert_int_equal(get64(1), 77);
		assert_int_equal(dev_stat().used, 0);
		swap_down();
	}
}

/* ---- nobody waits for who waits for the device ---- */

static void unmap_meanwhile(struct swap_io *io)
{
	assert_int_equal(vm_munmap(as, at(1), PAGE_SIZE), 0);
}

static void protect_meanwhile(struct swap_io *io)
{
	assert_int_equal(vm_mprotect(as, at(1), PAGE_SIZE, PROT_NONE), 0);
}

static void readonly_meanwhile(struct swap_io *io)
{
	assert_int_equal(vm_mprotect(as, at(1), PAGE_SIZE, PROT_READ), 0);
}

static void move_meanwhile(struct swap_io *io)
{
	assert_int_equal(
		vm_mremap(as, at(1), PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, at(20)),
		at(20));
}

/* Somebody else's memory, and its contents in another slot. */
static void replace_meanwhile(struct swap_io *io)
{
	unmap_meanwhile(io);
	map_anon(1, 1);
	put64(1, 78);
	out(1, 1);
}

static void fork_meanwhile(struct swap_io *io)
{
	fork_child();
}

COVERS("S2.26 S2.30");
static void test_area_changes_meanwhile(void **state)
{
	static const struct {
		void (*what)(struct swap_io *io);
		vm_fault_t ret;
		bool stays; /* its contents, there */
	} cases[] = {
		{ unmap_meanwhile, VM_FAULT_SIGSEGV | VM_FAULT_MAPERR, false },
		{ protect_meanwhile, VM_FAULT_SIGSEGV, true },
		{ readonly_meanwhile, VM_FAULT_SIGSEGV, true },
		{ move_meanwhile, VM_FAULT_SIGSEGV | VM_FAULT_MAPERR, false },
		{ replace_meanwhile, 0, false },
		{ fork_meanwhile, 0, true },
	};

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		enum how how = i & 1 ? HOW_CPU : HOW_LOSES;
		vm_fault_t ret;

		swap_up(0);
		map_anon(0, 8);
		fill_out(1, 1);
		dev.before = cases[i / 2].what;
		ret = fault_how(how, 1, FAULT_FLAG_WRITE);
		if (how == HOW_CPU)
			assert_int_equal(ret, cases[i / 2].ret | VM_FAULT_MAJOR);
		else
			assert_int_equal(ret, VM_FAULT_RETRY | VM_FAULT_MAJOR);
		assert_true(octavo_validate());
		if (cases[i / 2].stays) {
			assert_int_equal(vm_mprotect(as, at(1), PAGE_SIZE, PROT_READ | PROT_WRITE),
					 0);
			assert_int_equal(get64(1), 101);
			put64(1, 5);
		}
		if (cases[i / 2].what == move_meanwhile)
			assert_int_equal(get64(20), 101);
		if (cases[i / 2].what == replace_meanwhile)
			assert_int_equal(get64(1), 78);
		if (cases[i / 2].what == fork_meanwhile) {
			assert_int_equal(child_get64(1), 101);
			child_ends();
		}
		swap_down();
	}
}

/* Of a slot that cannot be read the one who has tried is told, however often he has begun anew. */
static void test_retry_of_what_cannot_be_read(void **state)
{
	swap_up(0);
	map_anon(0, 4);
	fill_out(1, 1);
	dev.broken[swp_offset(slot_in(as, 1))] = true;
	for (u32 i = 0; i < 3; i++) {
		dev.reads = 0;
		assert_int_equal(fault_how(HOW_LOSES, 1, 0), VM_FAULT_RETRY | VM_FAULT_MAJOR);
		assert_int_equal(dev.reads, 1);
		/* and who comes again without the flag reads for himself */
		assert_int_equal(fault_how(HOW_KEEPS, 1, 0), VM_FAULT_SIGBUS | VM_FAULT_MAJOR);
		assert_int_equal(dev.reads, 2);
		assert_int_equal(fault_how(HOW_CPU, 1, 0), VM_FAULT_SIGBUS | VM_FAULT_MAJOR);
		assert_int_equal(dev.reads, 3);
	}
	swap_down();
}

/* May lose mmap_lock, and does not have to. */
static void test_retry_is_not_needed(void **state)
{
	swap_up(0);
	map_anon(0, 4);
	fill_out(1, 1);
	assert_int_equal(vm_madvise(as, at(1), PAGE_SIZE, MADV_WILLNEED), 0);
	assert_int_equal(fault_how(HOW_LOSES, 1, FAULT_FLAG_NOWAIT), 0);
	assert_int_equal(fault_how(HOW_LOSES, 1, FAULT_FLAG_WRITE), 0);
	assert_int_equal(get64(1), 101);
	out(1, 1);
	assert_int_equal(fault_nowait(1, FAULT_FLAG_ALLOW_RETRY), VM_FAULT_RETRY);
	swap_down();
}

/* What is on its way to the device is written to when it is there. */
static void write_waits_for_writeback(enum how how)
{
	struct folio *folio;

	swap_up(0);
	map_anon(0, 4);
	put64(1, 5);
	folio = page_out_folio(as, at(1));
	folio_lock(folio);
	assert_int_equal(folio_alloc_swap(folio), 0);
	assert_int_equal(page_out_entries(as, at(1), at(2), folio), 1);
	dev.keep = true;
	assert_int_equal(swap_writeout(folio), 0);
	assert_true(folio_test_flag(folio, PG_writeback));
	assert_int_equal(fault_nowait(1, FAULT_FLAG_WRITE), VM_FAULT_RETRY);
	assert_true(folio_test_flag(folio, PG_writeback));
	if (how == HOW_LOSES)
		assert_int_equal(fault_how(how, 1, FAULT_FLAG_WRITE), VM_FAULT_RETRY);
	else
		assert_int_equal(fault_how(how, 1, FAULT_FLAG_WRITE), 0);
	assert_false(folio_test_flag(folio, PG_writeback));
	folio_put(folio);
	dev.keep = false;
	assert_int_equal(get64(1), 5);
	swap_down();
}

static void test_write_waits_for_writeback(void **state)
{
	for (enum how how = 0; how < NR_HOW; how++)
		write_waits_for_writeback(how);
}

/* ---- no memory, locks that are not to be had, at every step ---- */

#if OCTAVO_FAULTS
COVERS("SX.8");
static void test_every_step_fails(void **state)
{
	for (unsigned int how = 0; how < 4; how++) {
		swap_up(how & 1 ? SWAP_FLAG_SYNC : 0);
		map_anon(0, 4 * NR);
		use_orders(how & 2 ? 1 | 1 << ORDER : 1);
		for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL, hit)
		{
			vm_fault_t ret;

			octavo_fault_disarm();
			fill_out(0, NR);
			octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
			ret = mm_fault(as, at(1), k & 1 ? FAULT_FLAG_WRITE : 0);
			hit = octavo_fault_disarm();
			if (ret & VM_FAULT_ERROR)
				assert_true(hit && is_slot(1));
			assert_int_equal(rss(MM_SWAPENTS) + rss(MM_ANONPAGES), NR);
			assert_true(octavo_validate());
			for (unsigned int i = 0; i < NR; i++)
				assert_int_equal(get64(i), 100 + i);
			assert_int_equal(vm_madvise(as, at(0), NR << PAGE_SHIFT, MADV_DONTNEED), 0);
			assert_int_equal(dev_stat().used, 0);
		}
		swap_down();
	}
	printf("%lu cases\n", fault_cases);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_read_brings_back),
		TEST(test_write_brings_back_and_frees_the_slot),
		TEST(test_cached_is_not_read),
		TEST(test_marks_are_kept),
		TEST(test_nowait),
		TEST(test_fork_of_slots_and_back),
		TEST(test_write_to_a_shared_slot_copies),
		TEST(test_last_user_does_not_copy),
		TEST(test_reference_in_the_cache_makes_it_shared),
		TEST(test_large_folio_for_a_run),
		TEST(test_large_only_where_it_fits),
		TEST(test_large_in_the_cache_is_mapped_by_runs),
		TEST(test_what_cannot_be_read),
		TEST(test_one_bad_page_of_a_run),
		TEST(test_poisoned_in_the_cache),
		TEST(test_zapped_meanwhile),
		TEST(test_written_anew_meanwhile),
		TEST(test_area_changes_meanwhile),
		TEST(test_retry_of_what_cannot_be_read),
		TEST(test_retry_is_not_needed),
		TEST(test_write_waits_for_writeback),
#if OCTAVO_FAULTS
		TEST(test_every_step_fails),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
