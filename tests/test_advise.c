/* SPDX-License-Identifier: MIT */
/*
 * test_advise.c - advice about ranges, guard markers, mincore and mlock, on everything that page tables can have.
 */
#include "range_machine.h"

static pte_t before[RANGE_PAGES];

/* Is all of the folio that maps page @i mapped in [@first, @first + @nr), and nowhere else? */
static bool is_here_alone(unsigned long i, unsigned long first, unsigned long nr)
{
	struct folio *folio = folio_of(before[i]);
	unsigned long here = 0, pages = folio_nr_pages(folio);

	for (unsigned long n = first; n < first + nr; n++)
		here += folio_of(before[n]) == folio;
	return here == pages && folio_mapcount(folio) == (is_leaf_in(as, i) ? 1 : (int)pages);
}

/* The same but for one thing: runs are cut where tables end, and what is cut is left alone. */
static bool crosses_tables(unsigned long i)
{
	struct folio *folio = folio_of(before[i]);
	unsigned long first = i - (pte_pfn(before[i]) - folio_pfn(folio));

	return first / TABLE_PAGES != (first + folio_nr_pages(folio) - 1) / TABLE_PAGES;
}

static void advise(int (*fn)(struct vm_area_struct *vma, unsigned long start, unsigned long end),
		   unsigned long first, unsigned long nr)
{
	mmap_read_lock(as);
	assert_int_equal(fn(area_of(as, 0), at(first), at(first + nr)), 0);
	mmap_read_unlock(as);
}

static void check_advised(bool free, unsigned long first, unsigned long nr)
{
	for (unsigned long i = 0; i < RANGE_PAGES; i++) {
		pte_t e = entry_in(as, i), want = before[i];
		struct folio *folio = folio_of(e);
		bool advised = folio && i >= first && i < first + nr &&
			       is_here_alone(i, first, nr) && !crosses_tables(i);

		if (advised)
			want = free ? pte_mkold(pte_mkclean(want)) : pte_mkold(want);
		if (!advised || free)
			want = pte_clear_soft_dirty(want);
		assert_true(pte_same(pte_clear_soft_dirty(e), pte_clear_soft_dirty(want)) ||
			    (!pte_present(e) && pte_same(e, before[i])));
		if (advised && free)
			assert_false(folio_test_flag(folio, PG_swapbacked));
		else if (folio)
			assert_true(folio_test_flag(folio, PG_swapbacked));
		if (advised)
			assert_false(folio_test_flag(folio, PG_referenced));
	}
}

COVERS("S2.13");
static void test_advise_free_and_cold(void **state)
{
	range_boot();
	for (unsigned int round = 0; round < 60; round++) {
		struct vm_area_struct *vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		bool free = round & 1;
		unsigned long first, nr;

		rnd_seed(round);
		fill_range(vma, 0, RANGE_PAGES, true);
		touch_range(0, RANGE_PAGES);
		for (u32 i = 0; i < nr_placed; i++)
			if (!placed[i].migrates) {
				folio_set_flag(placed[i].folio, PG_referenced);
				folio_set_flag(placed[i].folio, PG_swapbacked);
			}
		take_entries(as, 0, RANGE_PAGES, before);
		first = rnd(RANGE_PAGES);
		nr = 1 + rnd(RANGE_PAGES - first);
		advise(free ? madvise_free_range : madvise_cold_range, first, nr);
		check_advised(free, first, nr);
		check_placed(NULL, 0, RANGE_PAGES);
		/* whoever writes now says so */
		check_all();
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		forget_placed();
	}
	range_down();
}

/* A folio that a child has too, and one that somebody has locked: left alone. */
static void test_advise_free_leaves_others_alone(void **state)
{
	struct vm_area_struct *vma;
	struct placed *shared, *locked;
	struct mm_struct *child;
	int err;

	range_boot();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	shared = place_anon(vma, 0, 1, 0, 2, 0);
	child = mm_fork(as, &err);
	assert_non_null(child);
	locked = place_anon(vma, 4, 0, 0, 1, 0);
	folio_lock(locked->folio);
	advise(madvise_free_range, 0, 8);
	folio_unlock(locked->folio);
	assert_true(folio_test_flag(shared->folio, PG_swapbacked));
	assert_true(folio_test_flag(locked->folio, PG_swapbacked));
	assert_true(pte_dirty(entry_in(as, 0)) && pte_dirty(entry_in(as, 4)));
	advise(madvise_free_range, 0, 8);
	assert_false(folio_test_flag(locked->folio, PG_swapbacked));
	check_all();
	mmput(child);
	range_down();
}

/* A slot is given up, whoever else has it keeps it; MADV_COLD leaves it. */
static void test_advise_free_of_slots(void **state)
{
	struct vm_area_struct *vma;
	swp_entry_t six;

	range_boot_with_swap();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	six = place_slots(vma, TABLE_PAGES - 3, 6, false);
	place_slots_again(vma, 0, six, 1);
	advise(madvise_cold_range, 1, RANGE_PAGES - 1);
	assert_int_equal(get_mm_counter(as, MM_SWAPENTS), 7);
	advise(madvise_free_range, 1, RANGE_PAGES - 1);
	assert_int_equal(get_mm_counter(as, MM_SWAPENTS), 1);
	for (u32 i = 0; i < 6; i++)
		assert_int_equal(count_of(six, i), i == 0);
	assert_int_equal(slots_in_use(), 1);
	check_all();
	range_down();
}

/* ---- guard markers ---- */

static bool is_guard(pte_t e)
{
	return pte_is_swap(e) && is_pte_marker(pte_to_swp_entry(e)) &&
	       swp_offset(pte_to_swp_entry(e)) & PTE_MARKER_GUARD;
}

static bool is_poison(pte_t e)
{
	return pte_is_swap(e) && is_pte_marker(pte_to_swp_entry(e)) &&
	       swp_offset(pte_to_swp_entry(e)) & PTE_MARKER_POISONED;
}

static void test_guards_replace_everything(void **state)
{
	range_boot();
	for (unsigned int round = 0; round < 40; round++) {
		struct vm_area_struct *vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		unsigned long first, nr;
		u64 val;

		rnd_seed(round);
		if (round % 4)
			fill_range(vma, 0, RANGE_PAGES, true);
		touch_range(0, RANGE_PAGES);
		take_entries(as, 0, RANGE_PAGES, before);
		first = rnd(RANGE_PAGES);
		nr = 1 + rnd(RANGE_PAGES - first);
		advise(guard_install_range, first, nr);
		for (unsigned long i = 0; i < RANGE_PAGES; i++) {
			pte_t e = entry_in(as, i);

			if (i < first || i >= first + nr)
				assert_true(pte_same(e, before[i]));
			else
				assert_true(is_guard(e) && is_poison(e) == is_poison(before[i]));
		}
		assert_int_not_equal(sim_mmu_try(at(first), SIM_LOAD, &val), SIM_OK);
		assert_true(sim_load64(at(first), &val) & VM_FAULT_SIGSEGV);
		check_placed(NULL, 0, RANGE_PAGES);
		check_all();
		/* MADV_DONTNEED leaves them there */
		mmap_read_lock(as);
		zap_page_range_single(vma, at(0), RANGE_PAGES << PAGE_SHIFT);
		mmap_read_unlock(as);
		for (unsigned long i = first; i < first + nr; i++)
			assert_true(is_guard(entry_in(as, i)));
		advise(guard_remove_range, 0, RANGE_PAGES);
		for (unsigned long i = 0; i < RANGE_PAGES; i++)
			assert_true(pte_none(entry_in(as, i)) || is_poison(entry_in(as, i)));
		check_all();
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		forget_placed();
	}
	range_down();
}

/* A child has them too. */
static void test_guards_are_copied_at_fork(void **state)
{
	struct vm_area_struct *vma;
	struct mm_struct *child;
	int err;

	range_boot();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	advise(guard_install_range, 1, 3);
	store_entry(as, 7, PGTABLE_LEVEL_PTE,
		    swp_entry_to_pte(
			    swp_entry(SWP_PTE_MARKER, PTE_MARKER_UFFD_WP | PTE_MARKER_POISONED)));
	store_entry(as, 6, PGTABLE_LEVEL_PTE,
		    swp_entry_to_pte(swp_entry(SWP_PTE_MARKER, PTE_MARKER_UFFD_WP)));
	assert_true(READ_ONCE(vma->vm_guards));
	child = mm_fork(as, &err);
	assert_non_null(child);
	for (unsigned long i = 0; i < 6; i++)
		assert_int_equal(is_guard(entry_in(child, i)), i >= 1 && i < 4);
	assert_true(pte_none(entry_in(child, 6)));
	assert_true(is_poison(entry_in(child, 7)));
	assert_int_equal(swp_offset(pte_to_swp_entry(entry_in(child, 7))), PTE_MARKER_POISONED);
	check_all();
	mmput(child);
	range_down();
}

#if OCTAVO_FAULTS
static void test_guards_without_memory(void **state)
{
	u32 failed = 0;

	range_boot();
	for (u32 k = 1, hit = 1; hit; k++) {
		struct vm_area_struct *vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		int err;

		place_leaf(vma, TABLE_PAGES, 0);
		mmap_read_lock(as);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
		err = guard_install_range(vma, at(2), at(TABLE_PAGES + 2));
		hit = octavo_fault_disarm();
		mmap_read_unlock(as);
		assert_true(err == 0 || err == -ENOMEM);
		failed += err != 0;
		if (!err)
			for (unsigned long i = 2; i < TABLE_PAGES + 2; i++)
				assert_true(is_guard(entry_in(as, i)));
		for (unsigned long i = TABLE_PAGES + 2; i < 2 * TABLE_PAGES; i++)
			assert_true(pte_present(entry_in(as, i)));
		check_placed(NULL, 0, RANGE_PAGES);
		check_all();
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		forget_placed();
	}
	assert_true(failed > 1);
	range_down();
}
#endif

/* Faults of another thread go on in the range: it ends up guarded, or the call says that it was disturbed. */
#define BUSY_PAGES 8u

static u32 stop;

static void store_and_guard(unsigned int cpu, void *arg)
{
	if (cpu == 1) {
		sim_mm_use(as);
		for (u64 n = 0; !READ_ONCE(stop); n++) {
			vm_fault_t f = sim_store64(at(n % BUSY_PAGES), n);

			assert_true(f == 0 || f & VM_FAULT_SIGSEGV);
		}
		sim_mm_forget(as);
		return;
	}
	for (unsigned int round = 0; round < 200; round++) {
		int err;

		mmap_read_lock(as);
		err = guard_install_range(vma_lookup(as, at(0)), at(0), at(BUSY_PAGES));
		mmap_read_unlock(as);
		assert_true(err == 0 || err == -EAGAIN);
		for (unsigned long i = 0; !err && i < BUSY_PAGES; i++)
			assert_true(is_guard(entry_in(as, i)));
		mmap_read_lock(as);
		guard_remove_range(vma_lookup(as, at(0)), at(0), at(BUSY_PAGES));
		mmap_read_unlock(as);
		for (unsigned int n = 0; n < round % 8 * 50; n++)
			octavo_port_relax();
	}
	WRITE_ONCE(stop, 1u);
}

static void test_guards_against_faults(void **state)
{
	range_boot();
	stop = 0;
	map_area(0, BUSY_PAGES, PROT_READ | PROT_WRITE);
	sim_run(2, false, store_and_guard, NULL);
	sim_set_cpu(0);
	sim_mm_use(as);
	range_down();
}

/* ---- mincore, mlock ---- */

static void test_mincore_says_what_is_there(void **state)
{
	static unsigned char vec[RANGE_PAGES + 2];

	range_boot();
	for (unsigned int round = 0; round < 20; round++) {
		struct vm_area_struct *vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		unsigned long first, nr;

		rnd_seed(round);
		fill_range(vma, 0, RANGE_PAGES, true);
		first = rnd(RANGE_PAGES);
		nr = 1 + rnd(RANGE_PAGES - first);
		memset(vec, 0xaa, sizeof(vec));
		mmap_read_lock(as);
		mincore_range(vma, at(first), at(first + nr), vec + 1);
		mmap_read_unlock(as);
		assert_int_equal(vec[0], 0xaa);
		assert_int_equal(vec[nr + 1], 0xaa);
		for (unsigned long i = 0; i < nr; i++) {
			pte_t e = entry_in(as, first + i);
			bool there = pte_present(e) ||
				     (pte_is_swap(e) && !is_pte_marker(pte_to_swp_entry(e)));

			assert_int_equal(vec[i + 1], there);
		}
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		forget_placed();
	}
	range_down();
}

/* Locked is a folio all of which is; a part unlocks it. */
static void test_mlock_of_whole_folios(void **state)
{
	struct vm_area_struct *vma;

	range_boot();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	for (unsigned int order = 0; order <= 2; order++) {
		struct placed *p = place_anon(vma, 0, order, 0, 1ul << order, 0);
		unsigned long nr = 1ul << order;

		mmap_read_lock(as);
		mlock_range(vma, at(0), at(nr), true);
		assert_true(folio_test_flag(p->folio, PG_mlocked));
		mlock_range(vma, at(nr - 1), at(nr), false);
		assert_false(folio_test_flag(p->folio, PG_mlocked));
		mlock_range(vma, at(0), at(nr - 1), true);
		assert_false(folio_test_flag(p->folio, PG_mlocked));
		zap_page_range_single(vma, at(0), nr << PAGE_SHIFT);
		mmap_read_unlock(as);
	}
	for (unsigned long part = 0; part < 2; part++) {
		struct placed *p = place_leaf(vma, TABLE_PAGES, 0);

		mmap_read_lock(as);
		mlock_range(vma, at(part), at(2 * TABLE_PAGES - part), true);
		assert_int_equal(folio_test_flag(p->folio, PG_mlocked), !part);
		mlock_range(vma, at(0), at(TABLE_PAGES + 1), false);
		assert_false(folio_test_flag(p->folio, PG_mlocked));
		zap_page_range_single(vma, at(0), RANGE_PAGES << PAGE_SHIFT);
		mmap_read_unlock(as);
	}
	range_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_advise_free_and_cold),
		TEST(test_advise_free_leaves_others_alone),
		TEST(test_advise_free_of_slots),
		TEST(test_guards_replace_everything),
		TEST(test_guards_are_copied_at_fork),
#if OCTAVO_FAULTS
		TEST(test_guards_without_memory),
#endif
		TEST(test_guards_against_faults),
		TEST(test_mincore_says_what_is_there),
		TEST(test_mlock_of_whole_folios),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
