/* SPDX-License-Identifier: MIT */
/*
 * test_unmap_flush.c - what unmapping says to those who have translations: mirrors hear of one range, CPUs have none left, and
 * a flush is paid once a run.
 */
#include <octavo/mmu_notifier.h>

#include "unmap_machine.h"

/* ---- mirrors ---- */

static struct {
	unsigned int starts, ends;
	unsigned long start, end;
	bool there, gone;
} told;

static int on_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	told.starts++;
	told.start = range->start;
	told.end = range->end;
	told.there = pte_present(entry_at(um.vma, um.vma->vm_pgoff + PMD_NR - 1));
	assert_int_equal(range->event, MMU_NOTIFY_CLEAR);
	return 0;
}

static void on_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	told.ends++;
	assert_int_equal(told.starts, told.ends);
	told.gone = pte_is_swap(entry_at(um.vma, um.vma->vm_pgoff + PMD_NR + 2));
}

COVERS("S2.36");
static void test_mirrors_are_told(void **state)
{
	static const struct mmu_notifier_ops ops = { .invalidate_range_start = on_start,
						     .invalidate_range_end = on_end };
	struct mmu_notifier mn = { .ops = &ops };
	struct folio *folio;
	unsigned long index;

	um_boot();
	memset(&told, 0, sizeof(told));
	hand_mirror(&mn, um.mm);
	/* two tables, one range */
	index = um.vma->vm_pgoff + PMD_NR - 1;
	folio = cached(2);
	hand_map(folio, 0, 4, um.vma, index, hand_pte(folio, 0));
	folio_get(folio);
	assert_true(try_to_unmap(folio, 0));
	assert_int_equal(told.starts, 1);
	assert_int_equal(told.start, hand_addr(um.vma, index));
	assert_int_equal(told.end, hand_addr(um.vma, index + 4));
	assert_true(told.there && told.gone);
	um_zap(um.vma);
	drop(folio);
	hand_mirror_end(&mn, um.mm);
	um_shutdown();
}

/* ---- translations ---- */

/* A CPU's translations are gone when the call returns, of the whole run; and the dirty bits that it set are the folio's. */
COVERS("S2.15");
static void test_translations_are_flushed(void **state)
{
	um_boot();
	for (unsigned int leaf = 0; leaf < 2; leaf++) {
		unsigned long index = um.vma->vm_pgoff, nr = leaf ? PMD_NR : 4;
		struct folio *folio = leaf ? cached_leaf(index) : cached(2);
		u64 val = 0;

		if (!leaf) {
			hand_map(folio, 0, nr, um.vma, index, hand_pte(folio, 0));
			folio_get(folio);
		}
		folio_clear_flag(folio, PG_dirty);
		sim_mm_use(um.mm);
		/* the first stays clean: the others' bits count as well */
		assert_int_equal(sim_load64(hand_addr(um.vma, index) + 64, &val), 0);
		for (unsigned long i = 1; i < nr; i++)
			assert_int_equal(sim_store64(hand_addr(um.vma, index + i) + 64, 70 + i), 0);
		assert_true(try_to_unmap(folio, 0));
		assert_true(folio_test_flag(folio, PG_dirty));
		assert_true(sim_mmu_check(um.mm));
		for (unsigned long i = 0; i < nr; i++)
			assert_int_not_equal(
				sim_mmu_try(hand_addr(um.vma, index + i) + 64, SIM_STORE, &val),
				SIM_OK);
		sim_mm_forget(um.mm);
		um_zap(um.vma);
		drop(folio);
		table_mm_empty(um.mm);
	}
	um_shutdown();
}

/* One flush for a run, watched or not, and one for each entry if asked for. */
COVERS("S2.1 S2.15 S2.25");
static void test_one_flush_a_run(void **state)
{
	um_boot();
	for (unsigned int how = 0; how < 3; how++) {
		struct folio *folio = cached(3);
		unsigned long index = um.vma->vm_pgoff;
		pte_t e = pte_wrprotect(hand_pte(folio, 0));
		struct sim_mmu_stat was, is;
		u64 val;

		if (how)
			e = pte_mkuffd_wp(e);
		hand_map(folio, 0, 8, um.vma, index, e);
		folio_get(folio);
		sim_mm_use(um.mm);
		assert_int_equal(sim_load64(hand_addr(um.vma, index), &val), 0);
		sim_mmu_stat(&was);
		assert_true(try_to_unmap(folio, how == 2 ? TTU_SINGLE : 0));
		sim_mmu_stat(&is);
		assert_int_equal(is.flushes - was.flushes, how == 2 ? 8 : 1);
		assert_slots(um.vma, index, folio, 0, 8, true, e);
		sim_mm_forget(um.mm);
		um_zap(um.vma);
		drop(folio);
	}
	um_shutdown();
}

#if OCTAVO_FAULTS
/* Locks tried, and words compared and exchanged, until a folio of one page is unmapped; and it takes one flush. */
static u32 steps_of_one_page(u32 flags)
{
	unsigned long index = um.vma->vm_pgoff + 5;

	for (u32 k = 1;; k++) {
		struct folio *folio = cached(0);
		struct sim_mmu_stat was, is;
		u64 val;
		u32 hit;

		hand_map(folio, 0, 1, um.vma, index, pte_wrprotect(hand_pte(folio, 0)));
		folio_get(folio);
		sim_mm_use(um.mm);
		assert_int_equal(sim_load64(hand_addr(um.vma, index), &val), 0);
		sim_mmu_stat(&was);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_TRYLOCK | OCTAVO_FAULT_CAS);
		assert_true(try_to_unmap(folio, flags));
		hit = octavo_fault_disarm();
		sim_mmu_stat(&is);
		assert_int_equal(is.flushes - was.flushes, 1);
		sim_mm_forget(um.mm);
		um_zap(um.vma);
		drop(folio);
		if (!hit)
			return k - 1;
	}
}

/* What there is for batches is not asked of one page. Instructions: octavo bench unmap. */
COVERS("S2.38");
static void test_one_page_takes_no_more_for_batches(void **state)
{
	u32 steps;

	um_boot();
	steps = steps_of_one_page(0);
	assert_true(steps);
	assert_int_equal(steps, steps_of_one_page(TTU_SINGLE));
	um_shutdown();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mirrors_are_told),
		TEST(test_translations_are_flushed),
		TEST(test_one_flush_a_run),
#if OCTAVO_FAULTS
		TEST(test_one_page_takes_no_more_for_batches),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
