/* SPDX-License-Identifier: MIT */
/*
 * test_unmap_lazyfree.c - memory that nobody wants back goes if it is clean and nobody else's; and comes back as it was, or as
 * ordinary memory, if not.
 */
#include <octavo/gup.h>

#include "unmap_machine.h"

static struct picture before, after;

/* A locked folio that MADV_FREE has been at, mapped by as many entries. */
static struct folio *lazy(unsigned int order, unsigned long index)
{
	struct folio *folio = anon(order);

	folio_lock(folio);
	hand_map(folio, 0, 1ul << order, um.vma, index, pte_mkyoung(hand_pte(folio, 0)));
	folio_get(folio);
	folio_clear_flag(folio, PG_swapbacked);
	return folio;
}

static void end(struct folio *folio)
{
	um_zap(um.vma);
	folio_unlock(folio);
	folio_put(folio);
}

static void assert_gone(struct folio *folio, unsigned long index)
{
	unsigned long nr = folio_nr_pages(folio);

	counters_note();
	assert_true(try_to_unmap(folio, 0));
	for (unsigned long i = 0; i < nr; i++)
		assert_true(pte_none(entry_at(um.vma, index + i)));
	assert_counters((long)nr, 0);
	assert_int_equal(folio_mapcount(folio), 0);
	assert_int_equal(folio_ref_count(folio), 1);
	assert_false(folio_test_flag(folio, PG_swapbacked));
}

/* Entries, counts, and the folio's flags but for @may. */
static void assert_stays(struct folio *folio, unsigned long index, u32 may)
{
	u32 refs = folio_ref_count(folio), flags = folio->flags;
	unsigned long nr = folio_nr_pages(folio);
	int mapcount = folio_mapcount(folio);

	take(&before, um.vma, index, nr);
	counters_note();
	assert_false(try_to_unmap(folio, 0));
	take(&after, um.vma, index, nr);
	assert_same(&before, &after, false);
	assert_counters(0, 0);
	assert_int_equal(folio_mapcount(folio), mapcount);
	assert_int_equal(folio_ref_count(folio), refs);
	assert_int_equal(folio->flags & ~may, flags & ~may);
	assert_true(octavo_validate());
}

COVERS("S2.9 S2.16 S2.17");
static void test_clean_goes(void **state)
{
	um_boot();
	for (unsigned int order = 0; order <= level_order(1); order++)
		for (unsigned long shift = 0; shift < 3; shift++) {
			unsigned long index = um.vma->vm_pgoff + PMD_NR - shift;
			struct folio *folio = lazy(order, index);

			assert_gone(folio, index);
			end(folio);
		}
	um_shutdown();
}

/* One page that was written to keeps all of its run, each entry with what it had; the folio has contents again. */
COVERS("S2.16");
static void test_dirty_stays(void **state)
{
	um_boot();
	for (unsigned int order = 0; order <= 3; order++)
		for (unsigned int how = 0; how < 2; how++) {
			unsigned long index = um.vma->vm_pgoff, at = (1ul << order) - 1;
			struct folio *folio = lazy(order, index);
			struct pt_pos pos;

			if (how) {
				folio_set_flag(folio, PG_dirty);
			} else {
				assert_true(pte_offset_lock(um.mm, hand_addr(um.vma, index + at), 0,
							    &pos));
				fetch_or_relaxed(&pos.ptep->v, _PAGE_DIRTY); /* as hardware */
				pte_unlock(&pos);
			}
			assert_stays(folio, index, 1u << PG_swapbacked);
			assert_true(folio_test_flag(folio, PG_swapbacked));
			end(folio);
		}
	um_shutdown();
}

/* Somebody has a reference, or a pin: not now. It is still lazily freed. */
COVERS("S2.16");
static void test_held_stays(void **state)
{
	um_boot();
	for (unsigned int order = 0; order <= 3; order++)
		for (unsigned int how = 0; how < 2; how++) {
			unsigned long index = um.vma->vm_pgoff + 2;
			struct folio *folio = lazy(order, index);

			if (how)
				assert_true(folio_try_pin(folio, 1));
			else
				folio_get(folio);
			assert_stays(folio, index, 0);
			if (how)
				folio_unpin(folio, 1);
			else
				folio_put(folio);
			assert_gone(folio, index);
			end(folio);
		}
	um_shutdown();
}

/* Where memory may always go, it does though it was written to. But not from under somebody. */
COVERS("S2.16");
static void test_droppable(void **state)
{
	unsigned long index;
	struct folio *folio;

	um_boot();
	index = um.vma->vm_pgoff;
	um.vma->vm_flags |= VM_DROPPABLE;
	folio = lazy(2, index);
	folio_set_flag(folio, PG_dirty);
	folio_get(folio);
	assert_stays(folio, index, 0);
	folio_put(folio);
	assert_gone(folio, index);
	end(folio);
	um_shutdown();
}

/* What becomes of a folio that two address spaces map. */
enum shared { CLEAN, DIRTY, DIRTY_DROPPABLE, HELD, HELD_DIRTY, LOCKED, NR_SHARED };

static void dirty_entry(struct vm_area_struct *vma, unsigned long index)
{
	struct pt_pos pos;

	assert_true(pte_offset_lock(vma->vm_mm, hand_addr(vma, index), 0, &pos));
	fetch_or_relaxed(&pos.ptep->v, _PAGE_DIRTY); /* as hardware */
	pte_unlock(&pos);
}

static void prepare_shared(enum shared how, struct folio *folio, struct vm_area_struct *child,
			   unsigned long index)
{
	if (how == DIRTY || how == DIRTY_DROPPABLE || how == HELD_DIRTY)
		dirty_entry(child, index + 7);
	if (how == DIRTY_DROPPABLE)
		um.vma->vm_flags |= VM_DROPPABLE;
	if (how == DIRTY_DROPPABLE)
		child->vm_flags |= VM_DROPPABLE;
	if (how == HELD || how == HELD_DIRTY)
		folio_get(folio);
	if (how == LOCKED)
		child->vm_flags |= VM_LOCKED;
}

static void unmap_shared(enum shared how)
{
	struct picture before_child, after_child;
	unsigned long index = um.vma->vm_pgoff + PMD_NR - 3;
	struct folio *folio = lazy(3, index);
	bool gone = how == CLEAN || how == DIRTY_DROPPABLE;
	struct vm_area_struct *child = um_fork(8);
	u32 refs;

	prepare_shared(how, folio, child, index);
	take(&before, um.vma, index, 8);
	take(&before_child, child, index, 8);
	counters_note();
	refs = folio_ref_count(folio);
	assert_int_equal(try_to_unmap(folio, 0), gone);
	take(&after, um.vma, index, 8);
	take(&after_child, child, index, 8);
	assert_counters(gone ? 8 : 0, 0);
	assert_int_equal(get_mm_counter(child->vm_mm, MM_ANONPAGES), gone ? 0 : 8);
	assert_int_equal(folio_mapcount(folio), gone ? 0 : 16);
	assert_int_equal(folio_ref_count(folio), gone ? 1 : refs);
	/* swapped from now on, if it has contents */
	assert_int_equal(folio_test_flag(folio, PG_swapbacked), how == DIRTY || how == HELD_DIRTY);
	for (unsigned long i = 0; i < 8; i++) {
		assert_int_equal(pte_none(entry_at(um.vma, index + i)), gone);
		assert_int_equal(pte_none(entry_at(child, index + i)), gone);
	}
	if (!gone) {
		assert_same(&before, &after, false);
		assert_same(&before_child, &after_child, false);
	}
	assert_true(octavo_validate());
	if (how == HELD || how == HELD_DIRTY)
		folio_put(folio);
	um.vma->vm_flags &= ~VM_DROPPABLE;
	um_fork_end(child);
	end(folio);
}

/* Everybody's entries, by runs of several tables, or nobody's: as they were, with what each said. */
COVERS("S2.14 S2.16 S2.20");
static void test_several_address_spaces(void **state)
{
	um_boot();
	for (enum shared how = 0; how < NR_SHARED; how++)
		unmap_shared(how);
	um_shutdown();
}

/* Leaves go and come back as leaves. */
COVERS("S2.16");
static void test_several_leaves(void **state)
{
	unsigned int order = level_order(1);

	um_boot();
	for (unsigned int held = 0; held < 2; held++) {
		unsigned long index = um.vma->vm_pgoff + PMD_NR;
		struct folio *folio = anon(order);
		struct vm_area_struct *child;
		struct pt_pos pos;

		folio_lock(folio);
		hand_map_leaf(folio, um.vma, index);
		folio_get(folio);
		folio_clear_flag(folio, PG_swapbacked);
		child = um_fork(1l << order);
		if (held)
			folio_get(folio);
		assert_int_equal(try_to_unmap(folio, 0), !held);
		assert_int_equal(folio_mapcount(folio), held ? 2 : 0);
		assert_int_equal(get_mm_counter(child->vm_mm, MM_ANONPAGES),
				 held ? 1l << order : 0);
		assert_false(pgtable_walk(child->vm_mm, hand_addr(child, index), 0, &pos));
		assert_int_equal(pte_leaf(pos.pte, pos.level), held);
		assert_int_equal(pte_none(pos.pte), !held);
		if (held)
			folio_put(folio);
		um_fork_end(child);
		end(folio);
	}
	um_shutdown();
}

COVERS("S2.14 S2.16");
static void test_leaf(void **state)
{
	unsigned long index;
	struct folio *folio;

	um_boot();
	index = um.vma->vm_pgoff + PMD_NR;
	folio = anon(level_order(1));
	folio_lock(folio);
	hand_map_leaf(folio, um.vma, index);
	folio_get(folio);
	folio_clear_flag(folio, PG_swapbacked);
	folio_get(folio);
	assert_stays(folio, index, 0);
	folio_put(folio);
	assert_gone(folio, index);
	assert_int_equal(folio_entire_mapcount(folio), 0);
	end(folio);
	um_shutdown();
}

/* What a CPU stored just before is found, and what it tries to store after is a fault. */
COVERS("S2.15 S2.16");
static void test_translations_are_flushed(void **state)
{
	unsigned long index, addr;
	struct folio *folio;
	u64 val = 7;

	um_boot();
	index = um.vma->vm_pgoff;
	addr = hand_addr(um.vma, index + 1);
	folio = lazy(2, index);
	sim_mm_use(um.mm);
	assert_int_equal(sim_load64(addr, &val), 0);
	assert_gone(folio, index);
	assert_int_not_equal(sim_mmu_try(addr, SIM_STORE, &val), SIM_OK);
	end(folio);
	folio = lazy(2, index);
	assert_int_equal(sim_store64(addr, 9), 0);
	assert_stays(folio, index, 1u << PG_swapbacked);
	assert_true(sim_mmu_check(um.mm));
	sim_mm_forget(um.mm);
	end(folio);
	um_shutdown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_clean_goes),
		TEST(test_dirty_stays),
		TEST(test_held_stays),
		TEST(test_droppable),
		TEST(test_several_address_spaces),
		TEST(test_several_leaves),
		TEST(test_leaf),
		TEST(test_translations_are_flushed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
