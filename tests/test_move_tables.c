/* SPDX-License-Identifier: MIT */
/*
 * test_move_tables.c - what is mapped gets other addresses: by tables, by leaves, by entries, and back.
 */
#include "range_machine.h"

#define NEW_PAGE  (4 * TABLE_PAGES) /* where the new area begins, of RANGE_PAGES and a table */
#define ALL_PAGES (9 * TABLE_PAGES)

static pte_t before[RANGE_PAGES];
static struct vm_area_struct *old_vma, *new_vma;

/* An area for what is at @first to get to @to, which is of the same family. */
static void make_new_area(unsigned long first, unsigned long to)
{
	assert_int_equal(vm_mmap(as, at(NEW_PAGE), 4 * TABLE_PAGES << PAGE_SHIFT,
				 PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
				 NULL, 0),
			 at(NEW_PAGE));
	new_vma = area_of(as, NEW_PAGE);
	mmap_write_lock(as);
	vma_start_write(new_vma);
	WRITE_ONCE(new_vma->vm_pgoff, old_vma->vm_pgoff + first - (to - NEW_PAGE));
	assert_int_equal(anon_vma_clone(new_vma, old_vma), 0);
	mmap_write_unlock(as);
}

static unsigned long move(struct vm_area_struct *from, unsigned long first,
			  struct vm_area_struct *to, unsigned long page, unsigned long nr)
{
	unsigned long moved;

	mmap_write_lock(as);
	vma_start_write(from);
	vma_start_write(to);
	moved = move_page_tables(from, at(first), to, at(page), nr << PAGE_SHIFT);
	mmap_write_unlock(as);
	assert_true(IS_ALIGNED(moved, PAGE_SIZE));
	return moved >> PAGE_SHIFT;
}

/* Old pages [@first, @first + @nr) are at @to. */
static void check_moved(unsigned long first, unsigned long to, unsigned long nr)
{
	for (unsigned long i = 0; i < RANGE_PAGES; i++) {
		bool in = i >= first && i < first + nr;

		assert_true(in ? pte_none(entry_in(as, i)) : pte_same(entry_in(as, i), before[i]));
	}
	for (unsigned long i = NEW_PAGE; i < NEW_PAGE + 4 * TABLE_PAGES; i++) {
		pte_t e = entry_in(as, i);

		assert_true(i >= to && i < to + nr ? pte_same(e, before[i - to + first])
						   : pte_none(e));
	}
}

static void unmap_all(void)
{
	assert_int_equal(vm_munmap(as, at(0), ALL_PAGES << PAGE_SHIFT), 0);
	forget_placed();
	check_all();
}

COVERS("S2.31");
static void test_move_any_part_and_back(void **state)
{
	range_boot();
	for (unsigned int round = 0; round < 80; round++) {
		unsigned long first, nr, to;

		rnd_seed(round);
		old_vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		fill_range(old_vma, 0, RANGE_PAGES, true);
		if (round & 4)
			WRITE_ONCE(old_vma->vm_guards, 1ul);
		first = one_in(4) ? 0 : rnd(RANGE_PAGES);
		nr = one_in(4) ? RANGE_PAGES - first : 1 + rnd(RANGE_PAGES - first);
		/* aligned alike, or not */
		to = NEW_PAGE + first % TABLE_PAGES + (round & 1 ? rnd(TABLE_PAGES) : 0);
		to = min(to, NEW_PAGE + 4 * TABLE_PAGES - nr);
		make_new_area(first, to);
		WRITE_ONCE(new_vma->vm_guards, 1ul);
		touch_range(0, RANGE_PAGES);
		take_entries(as, 0, RANGE_PAGES, before);
		assert_int_equal(move(old_vma, first, new_vma, to, nr), nr);
		check_moved(first, to, nr);
		check_placed(NULL, 0, ALL_PAGES);
		check_all();
		touch_range(NEW_PAGE, 4 * TABLE_PAGES);
		take_entries(as, to, nr, before + first);
		assert_int_equal(move(new_vma, to, old_vma, first, nr), nr);
		check_moved(0, to, 0);
		check_placed(NULL, 0, ALL_PAGES);
		check_all();
		unmap_all();
	}
	range_down();
}

/* Where both sides are aligned alike the table itself goes: no entry is looked at. */
static void test_move_takes_whole_tables_and_leaves(void **state)
{
	struct pt_pos pos;
	pte_t *table;

	range_boot();
	old_vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	make_new_area(0, NEW_PAGE);
	place_anon(old_vma, 3, 0, 0, 1, 0);
	place_leaf(old_vma, TABLE_PAGES, 0);
	place_anon(old_vma, 2 * TABLE_PAGES, 0, 0, 1, 0);
	touch_range(0, RANGE_PAGES);
	take_entries(as, 0, RANGE_PAGES, before);
	table = (pte_t *)((unsigned long)pos_in(as, 3).ptep & PAGE_MASK);
	/* less than a table at the end: that goes by entries */
	assert_int_equal(move(old_vma, 0, new_vma, NEW_PAGE, RANGE_PAGES - 1), RANGE_PAGES - 1);
	pos = pos_in(as, NEW_PAGE + 3);
	assert_ptr_equal((pte_t *)((unsigned long)pos.ptep & PAGE_MASK), table);
	assert_int_equal(pos_in(as, 3).level, PGTABLE_LEVEL_PMD);
	assert_true(is_leaf_in(as, NEW_PAGE + TABLE_PAGES));
	assert_int_equal(pos_in(as, 2 * TABLE_PAGES).level, PGTABLE_LEVEL_PTE);
	check_moved(0, NEW_PAGE, RANGE_PAGES - 1);
	check_all();
	range_down();
}

/* A table is at the new place already, from something that was unmapped: entries go there one by one. */
static void test_move_to_where_a_table_is(void **state)
{
	range_boot();
	old_vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	make_new_area(0, NEW_PAGE);
	place_anon(old_vma, 2, 1, 0, 2, 0);
	place_leaf(old_vma, TABLE_PAGES, 0);
	touch_range(0, RANGE_PAGES);
	for (unsigned long t = 0; t < 2; t++) {
		place_zero(new_vma, NEW_PAGE + t * TABLE_PAGES + 5);
		mmap_read_lock(as);
		zap_page_range_single(new_vma, at(NEW_PAGE + t * TABLE_PAGES), PAGE_SIZE * 8);
		mmap_read_unlock(as);
		assert_int_equal(pos_in(as, NEW_PAGE + t * TABLE_PAGES).level, PGTABLE_LEVEL_PTE);
	}
	take_entries(as, 0, RANGE_PAGES, before);
	assert_int_equal(move(old_vma, 0, new_vma, NEW_PAGE, RANGE_PAGES), RANGE_PAGES);
	check_moved(0, NEW_PAGE, RANGE_PAGES);
	assert_false(is_leaf_in(as, NEW_PAGE + TABLE_PAGES));
	check_placed(NULL, 0, ALL_PAGES);
	check_all();
	range_down();
}

/* Old and new in one last-level table, up and down, with large folios in it. */
static void test_move_within_a_table(void **state)
{
	const unsigned long half = TABLE_PAGES / 2;

	range_boot();
	old_vma = map_area(0, half, PROT_READ | PROT_WRITE);
	place_anon(old_vma, 0, 2, 0, 4, 0);
	for (unsigned int n = 0; n < 4; n++) {
		unsigned long from = n & 1 ? half : 0, to = half - from;

		touch_range(from, 4);
		take_entries(as, from, 4, before);
		assert_int_equal(vm_mremap(as, at(from), 4 << PAGE_SHIFT, 4 << PAGE_SHIFT,
					   MREMAP_MAYMOVE | MREMAP_FIXED, at(to)),
				 at(to));
		for (unsigned long i = 0; i < 4; i++) {
			assert_true(pte_none(entry_in(as, from + i)));
			assert_true(pte_same(entry_in(as, to + i), before[i]));
		}
		check_placed(NULL, 0, TABLE_PAGES);
		check_all();
	}
	range_down();
}

#if OCTAVO_FAULTS
/* Memory for tables is missing half way: so far it has moved, and goes back without any. */
static void test_move_without_memory(void **state)
{
	u32 failed = 0, part = 0;

	range_boot();
	for (unsigned long shift = 0; shift < 2; shift++)
		for (u32 k = 1, hit = 1; hit; k++) {
			unsigned long moved;

			old_vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
			make_new_area(0, NEW_PAGE + shift);
			place_anon(old_vma, 1, 2, 0, 4, 0);
			place_leaf(old_vma, TABLE_PAGES, 0);
			place_anon(old_vma, RANGE_PAGES - 2, 0, 0, 1, 0);
			touch_range(0, RANGE_PAGES);
			take_entries(as, 0, RANGE_PAGES, before);
			octavo_fault_arm(k, OCTAVO_FAULT_ONCE,
					 OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
			moved = move(old_vma, 0, new_vma, NEW_PAGE + shift, RANGE_PAGES);
			hit = octavo_fault_disarm();
			failed += moved < RANGE_PAGES;
			part += moved < RANGE_PAGES && moved > 1;
			if (!hit)
				assert_int_equal(moved, RANGE_PAGES);
			check_moved(0, NEW_PAGE + shift, moved);
			check_placed(NULL, 0, ALL_PAGES);
			check_all();
			octavo_fault_arm(1, OCTAVO_FAULT_AFTER,
					 OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
			if (moved)
				assert_int_equal(move(new_vma, NEW_PAGE + shift, old_vma, 0, moved),
						 moved);
			octavo_fault_disarm();
			check_moved(0, NEW_PAGE, 0);
			check_all();
			unmap_all();
		}
	assert_true(failed > 3 && part > 0);
	range_down();
}
#endif

/* ---- at the same time ---- */

#define BUSY_PAGES 4u

static struct {
	u32 stop, stores;
	unsigned long wrong;
} busy;

/*
 * A CPU stores at the old address for as long as it may; once it has moved, what is found at the new one does not change
 * any more.
 */
static void store_and_move(unsigned int cpu, void *arg)
{
	unsigned long len = *(unsigned long *)arg;

	if (cpu == 1) {
		sim_mm_use(as);
		for (u64 n = 1; !READ_ONCE(busy.stop); n++)
			for (unsigned long i = 0; i < BUSY_PAGES; i++)
				if (sim_store64(at(i), n) == 0)
					WRITE_ONCE(busy.stores, busy.stores + 1);
		sim_mm_forget(as);
		return;
	}
	for (unsigned int round = 0; round < 60; round++) {
		u32 stores = READ_ONCE(busy.stores);
		u64 first[BUSY_PAGES];

		while (READ_ONCE(busy.stores) == stores)
			octavo_port_relax();
		assert_int_equal(
			vm_mremap(as, at(0), len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at(NEW_PAGE)),
			at(NEW_PAGE));
		for (unsigned int look = 0; look < 20; look++)
			for (unsigned long i = 0; i < BUSY_PAGES; i++) {
				u64 val;

				assert_int_equal(sim_load64(at(NEW_PAGE + i), &val), 0);
				if (!look)
					first[i] = val;
				assert_int_equal(val, first[i]);
			}
		assert_int_equal(
			vm_mremap(as, at(NEW_PAGE), len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at(0)),
			at(0));
	}
	WRITE_ONCE(busy.stop, 1u);
}

static void test_move_while_a_cpu_stores(void **state)
{
	range_boot();
	for (unsigned int tables = 0; tables < 2; tables++) {
		unsigned long len = tables ? TABLE_PAGES << PAGE_SHIFT : BUSY_PAGES << PAGE_SHIFT;

		memset(&busy, 0, sizeof(busy));
		map_area(0, len >> PAGE_SHIFT, PROT_READ | PROT_WRITE);
		for (unsigned long i = 0; i < BUSY_PAGES; i++)
			assert_int_equal(sim_store64(at(i), 0), 0);
		sim_run(2, false, store_and_move, &len);
		sim_set_cpu(0);
		sim_mm_use(as);
		check_all();
		assert_int_equal(vm_munmap(as, at(0), len), 0);
	}
	range_down();
}

/* A walk from the folio finds it, wherever it is just now. */
static struct {
	struct folio *folio;
	unsigned long nr;    /* pages that move */
	unsigned long other; /* where to, besides NEW_PAGE and back */
} walked;

static void walk_and_move(unsigned int cpu, void *arg)
{
	const unsigned long places[] = { 0, NEW_PAGE, walked.other, NEW_PAGE + TABLE_PAGES };
	unsigned long len = walked.nr << PAGE_SHIFT;

	if (cpu == 1) {
		while (!READ_ONCE(busy.stop)) {
			unsigned long found = folio_count_mappings(walked.folio);

			if (found != BUSY_PAGES) {
				WRITE_ONCE(busy.wrong, found + 1);
				break;
			}
			WRITE_ONCE(busy.stores, busy.stores + 1);
		}
		return;
	}
	for (unsigned int round = 0; round < 400 && !READ_ONCE(busy.wrong); round++) {
		unsigned long from = places[round % 4], to = places[(round + 1) % 4];
		u32 walks = READ_ONCE(busy.stores);

		assert_int_equal(
			vm_mremap(as, at(from), len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at(to)),
			at(to));
		if (!(round & 7))
			while (READ_ONCE(busy.stores) == walks && !READ_ONCE(busy.wrong))
				octavo_port_relax();
	}
	WRITE_ONCE(busy.stop, 1u);
}

static void test_move_while_reverse_maps_are_walked(void **state)
{
	range_boot();
	for (unsigned int tables = 0; tables < 2; tables++) {
		memset(&busy, 0, sizeof(busy));
		walked.nr = tables ? TABLE_PAGES : BUSY_PAGES;
		walked.other = tables ? 2 * TABLE_PAGES : 3;
		old_vma = map_area(0, walked.nr, PROT_READ | PROT_WRITE);
		walked.folio = place_anon(old_vma, 0, 2, 0, BUSY_PAGES, 0)->folio;
		sim_run(2, false, walk_and_move, NULL);
		sim_set_cpu(0);
		assert_int_equal(busy.wrong, 0);
		check_all();
		unmap_all();
	}
	range_down();
}

static struct {
	unsigned int starts, ends;
	struct mmu_notifier_range range;
} told;

static int told_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	if (range->start == at(0)) {
		told.starts++;
		told.range = *range;
		assert_true(pte_present(entry_in(as, 2)));
	}
	return 0;
}

static void told_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	told.ends += range->start == at(0);
	assert_true(pte_none(entry_in(as, 2)));
}

COVERS("S2.36");
static void test_move_tells_of_the_old_range(void **state)
{
	static const struct mmu_notifier_ops ops = {
		.invalidate_range_start = told_start,
		.invalidate_range_end = told_end,
	};
	static struct mmu_notifier mn;

	range_boot();
	memset(&told, 0, sizeof(told));
	old_vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	make_new_area(0, NEW_PAGE);
	place_anon(old_vma, 2, 0, 0, 1, 0);
	mn = (struct mmu_notifier){ .ops = &ops };
	assert_int_equal(mmu_notifier_register(&mn, as), 0);
	assert_int_equal(move(old_vma, 0, new_vma, NEW_PAGE, 5), 5);
	assert_int_equal(told.starts, 1);
	assert_int_equal(told.ends, 1);
	assert_int_equal(told.range.end, at(5));
	assert_int_equal(told.range.event, MMU_NOTIFY_UNMAP);
	mmu_notifier_unregister(&mn, as);
	range_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_move_any_part_and_back),
		TEST(test_move_takes_whole_tables_and_leaves),
		TEST(test_move_to_where_a_table_is),
		TEST(test_move_within_a_table),
#if OCTAVO_FAULTS
		TEST(test_move_without_memory),
#endif
		TEST(test_move_while_a_cpu_stores),
		TEST(test_move_while_reverse_maps_are_walked),
		TEST(test_move_tells_of_the_old_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
