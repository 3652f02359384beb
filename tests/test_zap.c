/* SPDX-License-Identifier: MIT */
/*
 * test_zap.c - emptying page tables: what goes, what stays, what is counted, and that nobody is left with a translation.
 */
#include "range_machine.h"

static pte_t before[RANGE_PAGES];

/* Emptying [@first, @first + @nr) of the range, in the way that @how says, which keeps markers or not. */
static void zap(struct vm_area_struct *vma, unsigned long first, unsigned long nr, bool keep)
{
	struct mmu_gather tlb;

	if (keep) {
		mmap_read_lock(as);
		assert_int_equal(zap_page_range_single(vma, at(first), nr << PAGE_SHIFT), 0);
		mmap_read_unlock(as);
		return;
	}
	mmap_write_lock(as);
	assert_int_equal(split_leaves_at(vma, at(first), at(first + nr)), 0);
	tlb_gather_mmu(&tlb, as);
	unmap_page_range(&tlb, vma, at(first), at(first + nr), NULL);
	tlb_finish_mmu(&tlb);
	mmap_write_unlock(as);
}

static bool is_kept_marker(pte_t e)
{
	return pte_is_swap(e) && is_pte_marker(pte_to_swp_entry(e));
}

static bool same_but_use(pte_t a, pte_t b)
{
	return pte_same(pte_mkold(pte_mkclean(pte_clear_soft_dirty(a))),
			pte_mkold(pte_mkclean(pte_clear_soft_dirty(b)))) ||
	       (!pte_present(a) && pte_same(a, b));
}

static void check_zapped(unsigned long first, unsigned long nr, bool keep)
{
	for (unsigned long i = 0; i < RANGE_PAGES; i++) {
		pte_t e = entry_in(as, i);

		if (i < first || i >= first + nr)
			assert_true(same_but_use(e, before[i]));
		else if (keep && is_kept_marker(before[i]))
			assert_true(pte_same(e, before[i]));
		else
			assert_true(pte_none(e));
	}
}

/* An order, counts, areas' ends, tables' ends: everything random, and all looked at. */
COVERS("S2.13 S2.31");
static void test_zap_of_any_part(void **state)
{
	range_boot();
	for (unsigned int round = 0; round < 60; round++) {
		struct vm_area_struct *vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		unsigned long first, nr;
		bool keep = round & 1;

		rnd_seed(round);
		fill_range(vma, 0, RANGE_PAGES, true);
		touch_range(0, RANGE_PAGES);
		check_placed(NULL, 0, RANGE_PAGES);
		check_all();
		for (unsigned int n = 0; n < 3; n++) {
			take_entries(as, 0, RANGE_PAGES, before);
			first = rnd(RANGE_PAGES);
			nr = 1 + rnd(RANGE_PAGES - first);
			zap(vma, first, nr, keep);
			check_zapped(first, nr, keep);
			check_placed(NULL, 0, RANGE_PAGES);
			check_all();
		}
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		for (u32 i = 0; i < nr_placed; i++)
			assert_false(folio_mapped(placed[i].folio));
		assert_int_equal(get_mm_rss(as), 0);
		forget_placed();
		check_all();
	}
	range_down();
}

/* Runs that end with the area, the table, the folio, and with the range in the middle of all. */
COVERS("S2.13");
static void test_zap_ends_runs(void **state)
{
	range_boot();
	for (unsigned int order = 0; order <= LEAF_ORDER; order++) {
		unsigned long nr = 1ul << order;

		/* across the end of a table, and to the end of the area */
		for (unsigned long shift = 0; shift <= min(nr, 3ul); shift++) {
			unsigned long page = TABLE_PAGES - shift, end = page + nr;
			struct vm_area_struct *vma = map_area(0, end, PROT_READ | PROT_WRITE);
			struct placed *p = place_anon(vma, page, order, 0, nr, 0);

			touch_range(page, nr);
			zap(vma, page, 1, true);
			assert_int_equal(folio_mapcount(p->folio), nr - 1);
			check_placed(NULL, 0, RANGE_PAGES);
			check_all();
			zap(vma, 0, end, true);
			assert_int_equal(folio_mapcount(p->folio), 0);
			assert_int_equal(folio_ref_count(p->folio), 1);
			check_all();
			assert_int_equal(vm_munmap(as, at(0), end << PAGE_SHIFT), 0);
			forget_placed();
		}
	}
	range_down();
}

/* A leaf goes as one; of a part of it the rest stays, in small. */
COVERS("S2.31");
static void test_zap_leaf_whole_and_part(void **state)
{
	static const unsigned int parts[][2] = { { 0, 1 }, { 1, 1 }, { 3, 4 }, { 4, 4 }, { 0, 8 } };

	range_boot();
	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++) {
		struct vm_area_struct *vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		unsigned long first = TABLE_PAGES + parts[i][0], nr = parts[i][1];
		struct placed *p = place_leaf(vma, TABLE_PAGES, 0);

		if (nr == 8)
			nr = TABLE_PAGES;
		touch_range(TABLE_PAGES, TABLE_PAGES);
		take_entries(as, 0, RANGE_PAGES, before);
		zap(vma, first, nr, true);
		check_zapped(first, nr, true);
		assert_int_equal(folio_mapcount(p->folio), TABLE_PAGES - nr);
		assert_int_equal(folio_entire_mapcount(p->folio), 0);
		check_placed(NULL, 0, RANGE_PAGES);
		check_all();
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		forget_placed();
	}
	range_down();
}

#if OCTAVO_FAULTS
/* No memory for the table that stands in for a leaf: the call says so, and nothing has changed. */
static void test_zap_part_of_leaf_without_memory(void **state)
{
	struct vm_area_struct *vma;
	u32 failed = 0;

	range_boot();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	for (u32 k = 1, hit = 1; hit; k++) {
		struct placed *p = place_leaf(vma, TABLE_PAGES, 0);
		int err;

		take_entries(as, 0, RANGE_PAGES, before);
		mmap_read_lock(as);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
		err = zap_page_range_single(vma, at(TABLE_PAGES + 1), 2 * PAGE_SIZE);
		hit = octavo_fault_disarm();
		mmap_read_unlock(as);
		if (err) {
			assert_int_equal(err, -ENOMEM);
			check_zapped(0, 0, false);
			assert_int_equal(folio_entire_mapcount(p->folio), 1);
			failed++;
		} else {
			check_zapped(TABLE_PAGES + 1, 2, true);
		}
		check_placed(NULL, 0, RANGE_PAGES);
		check_all();
		zap(vma, 0, RANGE_PAGES, false);
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		forget_placed();
	}
	assert_true(failed > 0);
	range_down();
}

/* No memory for batches: the gather is full after a few runs, and the flush comes in between. */
static void test_zap_without_memory_for_batches(void **state)
{
	struct vm_area_struct *vma;

	range_boot();
	for (u32 k = 1; k < 4; k++) {
		struct sim_mmu_stat a, b;

		vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		for (unsigned long i = 0; i < RANGE_PAGES; i++)
			place_anon(vma, i, 0, 0, 1, 0);
		touch_range(0, RANGE_PAGES);
		mmap_read_lock(as);
		sim_mmu_stat(&a);
		octavo_fault_arm(k, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
		assert_int_equal(zap_page_range_single(vma, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		octavo_fault_disarm();
		sim_mmu_stat(&b);
		mmap_read_unlock(as);
		if (k == 1)
			assert_true(b.flushes - a.flushes >= RANGE_PAGES / TLB_GATHER_STACK);
		check_placed(NULL, 0, RANGE_PAGES);
		check_all();
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		forget_placed();
	}
	range_down();
}
#endif

/* ---- files, plain pages, frames ---- */

/* A dirty entry of a file makes its folio dirty; a used one, referenced. */
static void test_zap_keeps_what_hardware_said_of_files(void **state)
{
	struct page *pages[16];
	struct vm_area_struct *vma;
	u64 val;

	range_boot();
	for (unsigned int order = 0; order <= 3; order++) {
		struct placed *written, *read, *unused;
		unsigned long nr = 1ul << order, num;

		vma = map_file(0, RANGE_PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
		written = new_folio(order, FOLIO_FILE);
		read = new_folio(order, FOLIO_FILE);
		unused = new_folio(order, FOLIO_FILE);
		mmap_write_lock(as);
		for (unsigned int f = 0; f < 3; f++) {
			for (unsigned long i = 0; i < nr; i++)
				pages[i] = folio_page(placed[f].folio, i);
			num = nr;
			assert_int_equal(vm_insert_pages(vma, at(f * nr), pages, &num), 0);
			assert_int_equal(num, 0);
		}
		mmap_write_unlock(as);
		/* as inserted they are young */
		for (unsigned long i = 0; i < 3 * nr; i++)
			ptep_test_and_clear_young(pos_in(as, i).ptep);
		assert_int_equal(get_mm_counter(as, MM_FILEPAGES), 3 * nr);
		assert_int_equal(sim_mmu_try(at(nr - 1), SIM_STORE, &val), SIM_OK);
		assert_int_equal(sim_mmu_try(at(2 * nr - 1), SIM_LOAD, &val), SIM_OK);
		zap(vma, 0, 3 * nr, true);
		assert_true(folio_test_flag(written->folio, PG_dirty));
		assert_true(folio_test_flag(written->folio, PG_referenced));
		assert_false(folio_test_flag(read->folio, PG_dirty));
		assert_true(folio_test_flag(read->folio, PG_referenced));
		assert_false(folio_test_flag(unused->folio, PG_dirty));
		assert_false(folio_test_flag(unused->folio, PG_referenced));
		check_placed(NULL, 0, RANGE_PAGES);
		check_all();
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		forget_placed();
	}
	range_down();
}

/* More dirty runs of files than wait for one flush. */
static void test_zap_many_dirty_files(void **state)
{
	struct vm_area_struct *vma;
	u64 val;

	range_boot();
	vma = map_file(0, RANGE_PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	mmap_write_lock(as);
	for (unsigned long i = 0; i < RANGE_PAGES; i++) {
		struct placed *p = new_folio(0, FOLIO_FILE);

		assert_int_equal(vm_insert_page(vma, at(i), folio_page(p->folio, 0)), 0);
	}
	mmap_write_unlock(as);
	for (unsigned long i = 0; i < RANGE_PAGES; i++)
		if (i % 5)
			assert_int_equal(sim_mmu_try(at(i), SIM_STORE, &val), SIM_OK);
	zap(vma, 1, RANGE_PAGES - 2, true);
	for (u32 i = 0; i < nr_placed; i++)
		assert_int_equal(folio_test_flag(placed[i].folio, PG_dirty),
				 i % 5 && i > 0 && i < RANGE_PAGES - 1);
	check_placed(NULL, 0, RANGE_PAGES);
	check_all();
	range_down();
}

/* Counted plain pages have a reference for each entry, and are never anything to the reverse map. */
COVERS("S0.11 S0.18 S0.22 S0.23 SX.2");
static void test_zap_plain_pages(void **state)
{
	struct page *block, *pages[8];
	struct vm_area_struct *vma;
	unsigned long num = 8;
	memdesc_t word;
	u64 val;

	range_boot();
	vma = map_file(0, RANGE_PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	block = alloc_pages(GFP_KERNEL, 3);
	assert_non_null(block);
	page_set_mappable(block, true);
	for (unsigned long i = 0; i < 8; i++)
		pages[i] = block + (i ^ 5);
	mmap_write_lock(as);
	assert_int_equal(vm_insert_pages(vma, at(TABLE_PAGES - 3), pages, &num), 0);
	assert_int_equal(vm_insert_page(vma, at(0), block + 7), 0);
	mmap_write_unlock(as);
	assert_int_equal(page_count(block), 10);
	word = page_memdesc(block + 7);
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(sim_mmu_try(at(TABLE_PAGES - 3 + i), SIM_STORE, &val), SIM_OK);
	assert_int_equal(get_mm_rss(as), 0);
	zap(vma, TABLE_PAGES - 1, 4, true);
	assert_int_equal(page_count(block), 6);
	assert_true(memdesc_eq(word, page_memdesc(block + 7)));
	check_all();
	mmap_read_lock(as);
	zap_vma_ptes(vma, at(0), PAGE_SIZE);
	mmap_read_unlock(as);
	assert_int_equal(page_count(block), 5);
	/* the last references are the entries' */
	put_page(block);
	assert_int_equal(page_count(block), 4);
	assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
	assert_true(memdesc_eq(page_memdesc(block), memdesc_mk(0)));
	range_down();
}

/* Frames that are mapped as they are: their words are left alone. */
COVERS("S0.20 S3.19 SX.2");
static void test_zap_frames(void **state)
{
	struct vm_area_struct *vma;
	struct page *block;
	memdesc_t word;
	u64 val;

	range_boot();
	vma = map_file(0, RANGE_PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	block = alloc_frozen_pages(GFP_KERNEL, 3);
	assert_non_null(block);
	word = page_memdesc(block);
	mmap_write_lock(as);
	assert_int_equal(remap_pfn_range(vma, at(TABLE_PAGES - 2), page_to_pfn(block),
					 8 * PAGE_SIZE, vma->vm_page_prot),
			 0);
	mmap_write_unlock(as);
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(sim_mmu_try(at(TABLE_PAGES - 2 + i), SIM_STORE, &val), SIM_OK);
	/* not of the area */
	zap_vma_ptes(vma, at(0) - PAGE_SIZE, 2 * PAGE_SIZE);
	assert_true(pte_present(entry_in(as, TABLE_PAGES - 2)));
	mmap_read_lock(as);
	zap_vma_ptes(vma, at(TABLE_PAGES - 1), 2 * PAGE_SIZE);
	mmap_read_unlock(as);
	assert_true(pte_none(entry_in(as, TABLE_PAGES)));
	assert_true(pte_present(entry_in(as, TABLE_PAGES - 2)));
	assert_true(pte_present(entry_in(as, TABLE_PAGES + 1)));
	check_all();
	assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
	assert_true(memdesc_eq(word, page_memdesc(block)));
	free_frozen_pages(block, 3);
	range_down();
}

/* ---- who is told, who is not met ---- */

static struct {
	unsigned int starts, ends;
	struct mmu_notifier_range range;
	bool present_at_start, none_at_end;
} told;

static int told_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	told.starts++;
	told.range = *range;
	told.present_at_start = pte_present(entry_in(as, 5));
	return 0;
}

static void told_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	told.ends++;
	told.none_at_end = pte_none(entry_in(as, 5)) && sim_mmu_check(as);
}

COVERS("S2.36");
static void test_zap_tells_before_and_after(void **state)
{
	static const struct mmu_notifier_ops ops = {
		.invalidate_range_start = told_start,
		.invalidate_range_end = told_end,
	};
	static struct mmu_notifier mn;
	struct vm_area_struct *vma;

	range_boot();
	memset(&told, 0, sizeof(told));
	mn = (struct mmu_notifier){ .ops = &ops };
	assert_int_equal(mmu_notifier_register(&mn, as), 0);
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	place_anon(vma, 4, 1, 0, 2, 0);
	touch_range(4, 2);
	zap(vma, 3, 4, true);
	assert_int_equal(told.starts, 1);
	assert_int_equal(told.ends, 1);
	assert_int_equal(told.range.start, at(3));
	assert_int_equal(told.range.end, at(7));
	assert_int_equal(told.range.event, MMU_NOTIFY_CLEAR);
	assert_true(told.present_at_start);
	assert_true(told.none_at_end);
	mmu_notifier_unregister(&mn, as);
	range_down();
}

/* An entry that nothing can have made. */
static void zap_slot(void *arg)
{
	zap(arg, 0, 2, true);
}

static void test_zap_of_a_slot_without_swap_is_fatal(void **state)
{
	struct vm_area_struct *vma;

	range_boot();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	store_entry(as, 1, PGTABLE_LEVEL_PTE, swp_entry_to_pte(swp_entry(SWP_DEVICE_0, 7)));
	expect_panic(zap_slot, vma, "swap: slot 7 of device 0 is none");
}

/* Slots lose a user for each entry, by runs that end where the numbers do not go on. */
static void test_zap_of_slots(void **state)
{
	struct vm_area_struct *vma;
	swp_entry_t six;

	range_boot_with_swap();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	six = place_slots(vma, TABLE_PAGES - 3, 6, false);
	place_slots(vma, TABLE_PAGES + 3, 2, true);
	place_slots_again(vma, 0, six, 2);
	assert_int_equal(get_mm_counter(as, MM_SWAPENTS), 10);
	check_all();
	zap(vma, TABLE_PAGES - 2, RANGE_PAGES - TABLE_PAGES, true);
	for (u32 i = 0; i < 6; i++)
		assert_int_equal(count_of(six, i), i == 0 ? 2 : i == 1);
	assert_int_equal(slots_in_use(), 2);
	assert_int_equal(get_mm_counter(as, MM_SWAPENTS), 3);
	check_all();
	assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
	assert_int_equal(slots_in_use(), 0);
	range_down();
}

/* What a locked area had is locked no more, if somebody else still has it. */
static void test_zap_unlocks(void **state)
{
	struct vm_area_struct *vma;
	struct placed *p;

	range_boot();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	p = place_anon(vma, 0, 0, 0, 1, 0);
	assert_int_equal(vm_mlock(as, at(0), PAGE_SIZE, 0), 0);
	assert_true(folio_test_flag(p->folio, PG_mlocked));
	zap(area_of(as, 0), 0, 1, true);
	assert_false(folio_test_flag(p->folio, PG_mlocked));
	p = place_leaf(area_of(as, TABLE_PAGES), TABLE_PAGES, 0);
	assert_int_equal(vm_mlock(as, at(TABLE_PAGES), TABLE_PAGES << PAGE_SHIFT, 0), 0);
	assert_true(folio_test_flag(p->folio, PG_mlocked));
	zap(area_of(as, TABLE_PAGES), TABLE_PAGES, TABLE_PAGES, true);
	assert_false(folio_test_flag(p->folio, PG_mlocked));
	range_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_zap_of_any_part),
		TEST(test_zap_ends_runs),
		TEST(test_zap_leaf_whole_and_part),
#if OCTAVO_FAULTS
		TEST(test_zap_part_of_leaf_without_memory),
		TEST(test_zap_without_memory_for_batches),
#endif
		TEST(test_zap_keeps_what_hardware_said_of_files),
		TEST(test_zap_many_dirty_files),
		TEST(test_zap_plain_pages),
		TEST(test_zap_frames),
		TEST(test_zap_tells_before_and_after),
		TEST(test_zap_of_a_slot_without_swap_is_fatal),
		TEST(test_zap_of_slots),
		TEST(test_zap_unlocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
