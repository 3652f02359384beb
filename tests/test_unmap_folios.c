/* SPDX-License-Identifier: MIT */
/*
 * test_unmap_folios.c - several folios go at once: what is one to mirrors and locks, and that each has its own fate.
 */
#include <octavo/hooks.h>
#include <octavo/mmu_notifier.h>

#include "unmap_machine.h"

/* ---- rows of folios, mapped one behind the other ---- */

enum { ROW_MAX = 70 };

static struct {
	struct folio *folio[ROW_MAX];
	unsigned long index[ROW_MAX];
	u32 nr;
	unsigned long next, pages; /* the index behind them; how many */
} row;

static void row_begin(unsigned long index)
{
	memset(&row, 0, sizeof(row));
	row.next = index;
}

/* A locked one, with the caller's reference, which is mapped behind the others, by @e and on. */
static struct folio *row_map_as(struct folio *folio, pte_t e)
{
	unsigned long nr = folio_nr_pages(folio);

	assert_true(row.nr < ROW_MAX);
	hand_map(folio, 0, nr, um.vma, row.next, e);
	folio_get(folio);
	row.folio[row.nr] = folio;
	row.index[row.nr++] = row.next;
	row.next += nr;
	row.pages += nr;
	return folio;
}

static struct folio *row_map(struct folio *folio)
{
	return row_map_as(folio, hand_pte(folio, 0));
}

static struct folio *row_add(unsigned int order)
{
	return row_map(cached(order));
}

static void row_end(void)
{
	um_zap(um.vma);
	for (u32 i = 0; i < row.nr; i++)
		drop(row.folio[i]);
}

static void assert_gone(u32 i, unsigned int count)
{
	struct folio *folio = row.folio[i];

	assert_slots(um.vma, row.index[i], folio, 0, folio_nr_pages(folio), count == 1, __pte(0));
	assert_counts(folio, count);
	assert_false(folio_mapped(folio));
	assert_int_equal(refs_beside_cache(folio), 1);
}

/* ---- what mirrors are told ---- */

enum { TOLD_MAX = 16 };

static struct {
	u32 nr;
	bool open;
	unsigned long start[TOLD_MAX], end[TOLD_MAX];
} told;

static int on_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	assert_true(!told.open && told.nr < TOLD_MAX);
	told.open = true;
	told.start[told.nr] = range->start;
	told.end[told.nr++] = range->end;
	return 0;
}

static void on_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	assert_true(told.open);
	told.open = false;
}

static const struct mmu_notifier_ops mirror_ops = { .invalidate_range_start = on_start,
						    .invalidate_range_end = on_end };
static struct mmu_notifier mirror = { .ops = &mirror_ops };

static void mirror_begin(void)
{
	memset(&told, 0, sizeof(told));
	hand_mirror(&mirror, um.mm);
}

static void mirror_end(void)
{
	assert_false(told.open);
	hand_mirror_end(&mirror, um.mm);
}

static void assert_told(u32 at, unsigned long index, unsigned long nr)
{
	assert_true(at < told.nr);
	assert_int_equal(told.start[at], hand_addr(um.vma, index));
	assert_int_equal(told.end[at], hand_addr(um.vma, index + nr));
}

/* ---- at once ---- */

/* At every place relative to the end of a table: one range for mirrors, and each folio's entries are those of its own slots. */
COVERS("S2.13 S2.18 S2.36");
static void test_what_follows_goes_at_once(void **state)
{
	static const unsigned char order[] = { 0, 2, 1, 0 };

	um_boot();
	for (unsigned long shift = 0; shift <= 8; shift++) {
		unsigned long index = um.vma->vm_pgoff + 2 * PMD_NR - shift;

		mirror_begin();
		row_begin(index);
		for (u32 i = 0; i < ARRAY_SIZE(order); i++)
			row_add(order[i]);
		counters_note();
		try_to_unmap_folios(row.folio, row.nr, 0);
		for (u32 i = 0; i < row.nr; i++)
			assert_gone(i, 1);
		assert_counters(8, 8);
		assert_int_equal(told.nr, 1);
		assert_told(0, index, 8);
		row_end();
		mirror_end();
	}
	um_shutdown();
}

/* A CPU's translations of all of them are gone, and what it stored is told to the folio that it stored to. */
COVERS("S2.15");
static void test_each_is_dirty_by_itself(void **state)
{
	unsigned long index;
	u64 val;

	um_boot();
	index = um.vma->vm_pgoff + 1;
	row_begin(index);
	for (u32 i = 0; i < 3; i++)
		folio_clear_flag(row_add(1), PG_dirty);
	sim_mm_use(um.mm);
	for (unsigned long i = 0; i < 6; i++)
		assert_int_equal(sim_load64(hand_addr(um.vma, index + i), &val), 0);
	assert_int_equal(sim_store64(hand_addr(um.vma, index + 3) + 8, 5), 0);
	try_to_unmap_folios(row.folio, row.nr, 0);
	for (u32 i = 0; i < 3; i++) {
		assert_gone(i, 1);
		assert_int_equal(folio_test_flag(row.folio[i], PG_dirty), i == 1);
	}
	assert_true(sim_mmu_check(um.mm));
	for (unsigned long i = 0; i < 6; i++)
		assert_int_not_equal(sim_mmu_try(hand_addr(um.vma, index + i), SIM_LOAD, &val),
				     SIM_OK);
	sim_mm_forget(um.mm);
	row_end();
	um_shutdown();
}

/* ---- one flush ---- */

enum {
	ALIKE,
	ONE_PINNED,
	ONE_PROTECTED,
	ALL_PROTECTED,
	ONE_MARKED,
	TWO_TABLES,
	ONE_BY_ONE,
	NR_ROWS
};

static pte_t row_pte(unsigned int how, u32 i, struct folio *folio)
{
	pte_t e = hand_pte(folio, 0);

	if (how == ALL_PROTECTED || (how == ONE_PROTECTED && i == 1))
		return pte_modify(e, PAGE_NONE);
	return how == ONE_MARKED && i == 1 ? pte_mkuffd_wp(e) : e;
}

/* One for all that are under one lock and mapped alike; who is not begins anew, and who stays costs no other. */
COVERS("S2.15 S2.18 S2.29");
static void test_one_flush(void **state)
{
	static const unsigned char order[] = { 0, 2, 1, 0 };
	static const unsigned char flushes[] = { 1, 1, 3, 1, 3, 3, 8 };
	struct sim_mmu_stat was, is;

	BUILD_BUG_ON(ARRAY_SIZE(flushes) != NR_ROWS);
	um_boot();
	for (unsigned int how = 0; how < NR_ROWS; how++) {
		u64 val;

		row_begin(um.vma->vm_pgoff + 2 * PMD_NR - (how == TWO_TABLES ? 3 : 8));
		for (u32 i = 0; i < ARRAY_SIZE(order); i++) {
			struct folio *folio = cached(order[i]);

			row_map_as(folio, row_pte(how, i, folio));
		}
		if (how == ONE_PINNED)
			assert_true(folio_try_pin(row.folio[1], 1));
		sim_mm_use(um.mm);
		if (how != ALL_PROTECTED)
			assert_int_equal(sim_load64(hand_addr(um.vma, row.index[3]), &val), 0);
		sim_mmu_stat(&was);
		try_to_unmap_folios(row.folio, row.nr, how == ONE_BY_ONE ? TTU_SINGLE : 0);
		sim_mmu_stat(&is);
		assert_int_equal(is.flushes - was.flushes, flushes[how]);
		assert_true(sim_mmu_check(um.mm));
		sim_mm_forget(um.mm);
		for (u32 i = 0; i < row.nr; i++) {
			if (how == ONE_PINNED && i == 1)
				for (unsigned long j = 0; j < 4; j++)
					assert_int_equal(entry_at(um.vma, row.index[i] + j).v,
							 hand_pte(row.folio[i], j).v);
			else if (how == ONE_MARKED && i == 1)
				assert_false(folio_mapped(row.folio[i]));
			else
				assert_gone(i, 1);
		}
		if (how == ONE_PINNED)
			folio_unpin(row.folio[1], 1);
		row_end();
	}
	um_shutdown();
}

/* What lies between them, belongs to others, or comes in another order divides them. */
static void test_what_does_not_follow(void **state)
{
	struct vm_area_struct *away;
	struct folio *between, *swap;
	unsigned long index;

	um_boot();
	/* a page that is nobody's of these */
	index = um.vma->vm_pgoff;
	mirror_begin();
	row_begin(index);
	row_add(1);
	between = anon(0);
	hand_map(between, 0, 1, um.vma, row.next++, hand_pte(between, 0));
	row_add(1);
	try_to_unmap_folios(row.folio, row.nr, 0);
	assert_int_equal(told.nr, 2);
	assert_told(0, index, 2);
	assert_told(1, index + 3, 2);
	assert_gone(0, 1);
	assert_gone(1, 1);
	assert_ptr_equal(mapped_at(um.vma, index + 2), between);
	row_end();
	mirror_end();
	/* the wrong way round */
	mirror_begin();
	row_begin(index);
	row_add(0);
	row_add(0);
	swap = row.folio[0];
	row.folio[0] = row.folio[1];
	row.folio[1] = swap;
	try_to_unmap_folios(row.folio, row.nr, 0);
	assert_int_equal(told.nr, 2);
	assert_false(folio_mapped(row.folio[0]) || folio_mapped(row.folio[1]));
	row_end();
	mirror_end();
	/* another family's page at the next index */
	mirror_begin();
	away = hand_vma(um.mm, 100, 8);
	away->vm_pgoff = index;
	assert_int_equal(anon_vma_prepare(away), 0);
	row_begin(index);
	row_add(0);
	swap = cached(0);
	hand_map(swap, 0, 1, away, index + 1, hand_pte(swap, 0));
	folio_get(swap);
	row.folio[row.nr++] = swap;
	try_to_unmap_folios(row.folio, row.nr, 0);
	assert_int_equal(told.nr, 2);
	assert_gone(0, 1);
	assert_slots(away, index + 1, swap, 0, 1, true, __pte(0));
	um_zap(away);
	hand_vma_free(away);
	row_end();
	mirror_end();
	um_shutdown();
}

/* Not more than 32 folios, nor than a table has entries; and none at all. */
static void test_not_more_than_a_table(void **state)
{
	const u32 at_once = (u32)min(32ul, PMD_NR);
	unsigned long index;

	um_boot();
	index = um.vma->vm_pgoff + 3;
	try_to_unmap_folios(NULL, 0, 0);
	mirror_begin();
	row_begin(index);
	for (u32 i = 0; i < 2 * at_once + 1; i++)
		row_add(0);
	try_to_unmap_folios(row.folio, row.nr, 0);
	assert_int_equal(told.nr, 3);
	assert_told(0, index, at_once);
	assert_told(1, index + at_once, at_once);
	assert_told(2, index + 2 * at_once, 1);
	for (u32 i = 0; i < row.nr; i++)
		assert_gone(i, 1);
	row_end();
	mirror_end();
	/* two halves of a table's worth, and one more */
	mirror_begin();
	row_begin(um.vma->vm_pgoff + PMD_NR / 2);
	for (u32 i = 0; i < 3; i++)
		row_add(level_order(1) - 1);
	try_to_unmap_folios(row.folio, row.nr, 0);
	assert_int_equal(told.nr, 2);
	assert_told(0, row.index[0], PMD_NR);
	assert_told(1, row.index[2], PMD_NR / 2);
	for (u32 i = 0; i < row.nr; i++)
		assert_gone(i, 1);
	row_end();
	mirror_end();
	um_shutdown();
}

/* ---- each its own fate ---- */

enum fate { GOES, PINNED, NO_SLOTS, NOT_MAPPED, LAZY, LAZY_DIRTY, LAZY_HELD, IN_PART, NR_FATES };

static void row_fate(enum fate fate)
{
	struct folio *folio =
		fate == GOES || fate == PINNED || fate == NOT_MAPPED || fate == IN_PART ? cached(1)
											: anon(1);

	if (!folio_test_locked(folio))
		folio_lock(folio);
	row_map(folio);
	if (fate == PINNED)
		assert_true(folio_try_pin(folio, 1));
	if (fate == LAZY || fate == LAZY_DIRTY || fate == LAZY_HELD) {
		folio_clear_flag(folio, PG_swapbacked);
		folio_clear_flag(folio, PG_dirty);
	}
	if (fate == LAZY_DIRTY)
		folio_set_flag(folio, PG_dirty);
	if (fate == LAZY_HELD)
		folio_get(folio);
	if (fate == NOT_MAPPED)
		hand_zap(um.vma, hand_addr(um.vma, row.next - 2), hand_addr(um.vma, row.next));
	if (fate == IN_PART)
		hand_zap(um.vma, hand_addr(um.vma, row.next - 2), hand_addr(um.vma, row.next - 1));
}

static void assert_fate(u32 i, enum fate fate)
{
	struct folio *folio = row.folio[i];
	unsigned long index = row.index[i];
	bool stays = fate == PINNED || fate == NO_SLOTS || fate == LAZY_DIRTY || fate == LAZY_HELD;

	assert_int_equal(folio_mapcount(folio), stays ? 2 : 0);
	assert_int_equal(folio_test_flag(folio, PG_swapbacked), fate != LAZY && fate != LAZY_HELD);
	for (unsigned long j = 0; j < 2; j++) {
		pte_t e = entry_at(um.vma, index + j);

		if (stays)
			assert_int_equal(e.v, hand_pte(folio, j).v);
		else if (fate == GOES || (fate == IN_PART && j))
			assert_slots(um.vma, index, folio, j, 1, true, __pte(0));
		else
			assert_true(pte_none(e));
		if (folio_test_flag(folio, PG_swapcache))
			assert_int_equal(swap_count(folio_swap_entry(folio, j)), pte_is_swap(e));
	}
	if (fate == PINNED)
		folio_unpin(folio, 1);
	if (fate == LAZY_HELD)
		folio_put(folio);
	assert_int_equal(refs_beside_cache(folio), 1 + folio_mapcount(folio));
}

/* All fates in a row, each in turn in front, and the other way round: who stays does not hold up the others. */
COVERS("S2.14 S2.16 S2.20 S2.28 S2.29");
static void test_each_has_its_own_fate(void **state)
{
	um_boot();
	for (unsigned int first = 0; first < 2 * NR_FATES; first++) {
		enum fate fate[NR_FATES];

		row_begin(um.vma->vm_pgoff + 2 * PMD_NR - first);
		for (unsigned int i = 0; i < NR_FATES; i++) {
			unsigned int n = (first + i) % NR_FATES;

			fate[i] = (enum fate)(first < NR_FATES ? n : NR_FATES - 1 - n);
			row_fate(fate[i]);
		}
		counters_note();
		try_to_unmap_folios(row.folio, row.nr, 0);
		/* 2 of GOES, 2 of LAZY, 1 of IN_PART */
		assert_counters(5, 3);
		for (u32 i = 0; i < row.nr; i++)
			assert_fate(i, fate[i]);
		assert_true(octavo_validate());
		row_end();
	}
	um_shutdown();
}

/* ---- several areas ---- */

/* An area that was split in the middle of one of them: both parts' entries go, each in its range. */
COVERS("S2.13");
static void test_areas_have_parts(void **state)
{
	struct vm_area_struct *second;
	unsigned long index, end, middle;

	um_boot();
	index = um.vma->vm_pgoff + PMD_NR - 4;
	end = um.vma->vm_end;
	for (unsigned long at = 1; at < 8; at++) {
		middle = index + at;
		row_begin(index);
		row_add(0);
		row_add(2);
		row_add(1);
		row_add(0);
		second = hand_vma_dup(um.vma, um.mm);
		second->vm_start = hand_addr(um.vma, middle);
		second->vm_pgoff = middle;
		assert_int_equal(anon_vma_clone(second, um.vma), 0);
		/* its node in the tree says more than it maps now: a walk asks the area */
		um.vma->vm_end = second->vm_start;
		mirror_begin();
		counters_note();
		try_to_unmap_folios(row.folio, row.nr, 0);
		assert_counters(8, 8);
		assert_int_equal(told.nr, 2);
		assert_int_equal(told.end[0], second->vm_start);
		assert_int_equal(told.start[1], second->vm_start);
		assert_int_equal(told.start[0], hand_addr(um.vma, index));
		assert_int_equal(told.end[1], second->vm_start + PAGES(8 - at));
		um.vma->vm_end = end;
		for (u32 i = 0; i < row.nr; i++)
			assert_gone(i, 1);
		mirror_end();
		um_zap(um.vma);
		hand_vma_free(second);
		row_end();
	}
	um_shutdown();
}

/* A child has them too, but for what it has copied; its area may want to keep what it has. The last has no slots, and stays with both. */
COVERS("S2.14 S2.18");
static void test_forked(void **state)
{
	um_boot();
	for (unsigned int keeps = 0; keeps < 2; keeps++) {
		struct vm_area_struct *child;
		unsigned long index = um.vma->vm_pgoff + PMD_NR - 2;

		row_begin(index);
		for (u32 i = 0; i < 4; i++)
			row_add(1);
		row_fate(NO_SLOTS);
		child = um_fork(10);
		/* the second is the parent's alone by now */
		hand_zap(child, hand_addr(child, index + 2), hand_addr(child, index + 4));
		if (keeps)
			child->vm_flags |= VM_LOCKED;
		counters_note();
		try_to_unmap_folios(row.folio, row.nr, 0);
		assert_counters(8, 8);
		assert_int_equal(get_mm_counter(child->vm_mm, MM_SWAPENTS), keeps ? 0 : 6);
		for (u32 i = 0; i < 4; i++) {
			struct folio *folio = row.folio[i];
			bool both = i != 1;

			assert_slots(um.vma, row.index[i], folio, 0, 2, false, __pte(0));
			assert_counts(folio, both && !keeps ? 2 : 1);
			assert_int_equal(folio_mapcount(folio), both && keeps ? 2 : 0);
			assert_int_equal(folio_test_flag(folio, PG_mlocked), both && keeps);
			if (both && !keeps)
				assert_slots(child, row.index[i], folio, 0, 2, false, __pte(0));
		}
		assert_int_equal(folio_mapcount(row.folio[4]), 4);
		assert_true(octavo_validate());
		um_fork_end(child);
		row_end();
	}
	um_shutdown();
}

/* Lazily freed ones that two address spaces have go from both or neither, one by one. */
COVERS("S2.16");
static void test_forked_lazily_freed(void **state)
{
	struct vm_area_struct *child;

	um_boot();
	row_begin(um.vma->vm_pgoff);
	for (u32 i = 0; i < 3; i++)
		row_fate(LAZY);
	child = um_fork(6);
	folio_get(row.folio[1]);
	counters_note();
	try_to_unmap_folios(row.folio, row.nr, 0);
	assert_counters(4, 0);
	for (u32 i = 0; i < 3; i++) {
		assert_int_equal(folio_mapcount(row.folio[i]), i == 1 ? 4 : 0);
		assert_int_equal(pte_none(entry_at(child, row.index[i])), i != 1);
	}
	folio_put(row.folio[1]);
	assert_true(octavo_validate());
	um_fork_end(child);
	row_end();
	um_shutdown();
}

/* ---- whoever wants to be asked, is, of each page ---- */

static u32 asked;

static int on_swap_out(struct mm_struct *mm, unsigned long addr, unsigned long pfn,
		       swp_entry_t slot)
{
	return ++asked == 3 ? -EAGAIN : 0;
}

COVERS("S2.21");
static void test_embedder_is_asked(void **state)
{
	static const struct octavo_hooks hooks = { .swap_out = on_swap_out };

	um_boot();
	octavo_state.hooks = &hooks;
	asked = 0;
	row_begin(um.vma->vm_pgoff);
	for (u32 i = 0; i < 3; i++)
		row_add(1);
	try_to_unmap_folios(row.folio, row.nr, 0);
	/* the first of the second is refused: its second is not asked about */
	assert_int_equal(asked, 5);
	assert_gone(0, 1);
	assert_int_equal(folio_mapcount(row.folio[1]), 2);
	assert_gone(2, 1);
	row_end();
	um_shutdown();
}

#if OCTAVO_FAULTS
/* ---- the k-th step fails ---- */

static struct picture before, after;

COVERS("S2.20 S2.28 SX.8");
static void test_fails_at_every_step(void **state)
{
	unsigned long stayed = 0, went = 0;
	u32 hit = 1;

	um_boot();
	for (u32 k = 1; hit; k++) {
		row_begin(um.vma->vm_pgoff + PMD_NR - 3);
		for (u32 i = 0; i < 3; i++)
			row_add(1);
		take(&before, um.vma, row.index[0], 6);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
		try_to_unmap_folios(row.folio, row.nr, 0);
		hit = octavo_fault_disarm();
		take(&after, um.vma, row.index[0], 6);
		for (u32 i = 0; i < 3; i++) {
			if (!folio_mapped(row.folio[i])) {
				assert_gone(i, 1);
				went++;
				continue;
			}
			assert_true(hit);
			stayed++;
			assert_counts(row.folio[i], 0);
			assert_int_equal(folio_mapcount(row.folio[i]), 2);
			for (unsigned long j = 2 * i; j < 2 * i + 2; j++)
				assert_int_equal(before.pte[j].v, after.pte[j].v);
		}
		assert_true(octavo_validate());
		row_end();
	}
	/* no step of it needs memory; what is tried again may be lost once */
	assert_true(went >= 3 && stayed <= went);
	um_shutdown();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_follows_goes_at_once),
		TEST(test_each_is_dirty_by_itself),
		TEST(test_one_flush),
		TEST(test_what_does_not_follow),
		TEST(test_not_more_than_a_table),
		TEST(test_each_has_its_own_fate),
		TEST(test_areas_have_parts),
		TEST(test_forked),
		TEST(test_forked_lazily_freed),
		TEST(test_embedder_is_asked),
#if OCTAVO_FAULTS
		TEST(test_fails_at_every_step),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
