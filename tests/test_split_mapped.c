/* SPDX-License-Identifier: MIT */
/*
 * test_split_mapped.c - folios split under their mappings: the same memory, in smaller folios.
 */
#include <octavo/migrate.h>

#include "rmap_area.h"
#include "rmap_picture.h"

static struct picture before, after;

/*
 * Frames from @pfn on are folios of the orders that a split of @order to @new_order makes; those are what
 * the entries say they are. @page: index of the one that is split out, or ~0.
 */
static void assert_pieces(unsigned long pfn, unsigned int order, unsigned int new_order,
			  unsigned long page, unsigned long index)
{
	unsigned long at = 0;

	while (at < 1ul << order) {
		struct folio *folio = page_folio(pfn_to_page(pfn + at));
		unsigned int want = new_order;

		if (page != ~0ul) {
			want = at ? (unsigned int)__builtin_ctzl(at) : order - 1;
			while (want > new_order && page - at < 1ul << want)
				want--;
		}
		if (folio) {
			assert_int_equal(folio_pfn(folio), pfn + at);
			assert_int_equal(folio_order(folio), want);
			assert_int_equal(folio->index, index + at);
			assert_int_equal(folio_mapcount(folio), folio_count_mappings(folio));
			assert_int_equal(folio_entire_mapcount(folio), 0);
			assert_true(folio_validate(folio));
			if (at) {
				assert_false(folio_test_locked(folio));
				assert_int_equal(folio_ref_count(folio), folio_mapcount(folio));
			}
		}
		at += 1ul << want;
	}
}

static void split_one(unsigned int order, unsigned int new_order, unsigned long page,
		      unsigned long shift, bool leaf)
{
	unsigned long nr = 1ul << order, pfn, index = vma->vm_pgoff + PMD_NR - shift;
	struct folio *folio = anon(order);

	pfn = folio_pfn(folio);
	if (leaf) {
		index = vma->vm_pgoff + 3 * PMD_NR;
		hand_map_leaf(folio, vma, index);
	} else {
		hand_map(folio, 0, nr, vma, index, pte_mkyoung(hand_pte(folio, 0)));
		/* Some are not exclusive, and so not writable. */
		if (nr > 2) {
			struct pt_pos pos;

			assert_true(pte_offset_lock(mm, hand_addr(vma, index + 1), 0, &pos));
			ptep_set_wrprotect(pos.ptep);
			folio_clear_anon_exclusive(folio_subrange(folio, 1, 1));
			pte_unlock(&pos);
		}
	}
	folio_get(folio);
	folio_lock(folio);
	take(&before, vma, index, nr);
	assert_int_equal(
		split_folio_mapped(folio, new_order, page == ~0ul ? NULL : folio_page(folio, page)),
		0);
	take(&after, vma, index, nr);
	if (leaf) {
		/* By entries for each page now, each of which says the same. */
		for (unsigned long i = 0; i < nr; i++) {
			assert_int_equal(after.level[i], 0);
			assert_int_equal(after.number[i], before.number[i]);
			assert_int_equal(after.exclusive[i], before.exclusive[i]);
			assert_int_equal(after.pte[i].v,
					 pte_advance_pfn(pte_mksmaller(before.pte[i], 0), i).v);
		}
	} else {
		assert_same(&before, &after, false);
	}
	assert_pieces(pfn, order, new_order, page, index);
	assert_true(folio_test_locked(folio));
	assert_int_equal(folio_ref_count(folio), folio_mapcount(folio) + 1);
	folio_unlock(folio);
	folio_put(folio);
	assert_true(octavo_validate());
	assert_int_equal(hand_zap(vma, vma->vm_start, vma->vm_end), nr);
	table_mm_empty(mm);
}

static void test_split_uniform(void **state)
{
	boot();
	for (unsigned int order = 1; order <= 5; order++)
		for (unsigned int new_order = 0; new_order < order; new_order++)
			for (unsigned long shift = 0; shift < 4; shift++)
				split_one(order, new_order, ~0ul, shift, false);
	shutdown();
}

static void test_split_out(void **state)
{
	boot();
	for (unsigned int order = 1; order <= 4; order++)
		for (unsigned int new_order = 0; new_order < order; new_order++)
			for (unsigned long page = 0; page < 1ul << order; page++)
				split_one(order, new_order, page, page % 3, false);
	shutdown();
}

COVERS("S2.3");
static void test_split_leaf_mapped(void **state)
{
	boot();
	split_one(level_order(1), 0, ~0ul, 0, true);
	split_one(level_order(1), 1, ~0ul, 0, true);
	split_one(level_order(1), 0, PMD_NR / 2 + 1, 0, true);
	shutdown();
}

/* Pages that nothing maps are freed with the split: they were kept by the others only. */
static void test_unmapped_pieces_go(void **state)
{
	struct folio *folio;
	unsigned long pfn, index;

	boot();
	index = vma->vm_pgoff;
	folio = anon(3);
	pfn = folio_pfn(folio);
	hand_map(folio, 0, 8, vma, index, hand_pte(folio, 0));
	hand_zap(vma, hand_addr(vma, index + 2), hand_addr(vma, index + 7));
	folio_get(folio);
	folio_lock(folio);
	assert_int_equal(split_folio_mapped(folio, 0, NULL), 0);
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(memdesc_type(page_memdesc(pfn_to_page(pfn + i))),
				 i < 2 || i == 7 ? MEMDESC_ANON : MEMDESC_FREE);
	folio_unlock(folio);
	folio_put(folio);
	/* And the first piece, if nothing maps it, with the caller's reference. */
	hand_zap(vma, vma->vm_start, vma->vm_end);
	folio = anon(2);
	pfn = folio_pfn(folio);
	hand_map(folio, 2, 2, vma, index, hand_pte(folio, 2));
	folio_get(folio);
	folio_lock(folio);
	assert_int_equal(split_folio_mapped(folio, 1, NULL), 0);
	assert_false(folio_mapped(folio));
	assert_int_equal(folio_ref_count(folio), 1);
	folio_unlock(folio);
	folio_put(folio);
	assert_int_equal(memdesc_type(page_memdesc(pfn_to_page(pfn))), MEMDESC_FREE);
	assert_int_equal(folio_mapcount(mapped_at(vma, index + 3)), 2);
	/* Not mapped at all. */
	folio = anon(2);
	folio_lock(folio);
	assert_int_equal(split_folio_mapped(folio, 0, NULL), 0);
	folio_unlock(folio);
	folio_put(folio);
	shutdown();
}

static void test_split_in_several_address_spaces(void **state)
{
	static struct picture was[2], is[2];
	struct vm_area_struct *v[2];
	struct mm_struct *other;
	struct folio *folio;
	unsigned long index;

	boot();
	other = table_mm();
	index = vma->vm_pgoff + PMD_NR;
	folio = anon(level_order(1));
	hand_map_leaf(folio, vma, index);
	v[0] = vma;
	v[1] = hand_fork(vma, other);
	assert_int_equal(split_leaf(v[1], hand_addr(vma, index)), 0);
	hand_zap(v[1], hand_addr(vma, index + 3), hand_addr(vma, index + 5));
	assert_int_equal(folio_entire_mapcount(folio), 1);
	for (unsigned int i = 0; i < 2; i++)
		take(&was[i], v[i], index, PMD_NR);
	folio_get(folio);
	folio_lock(folio);
	assert_int_equal(split_folio_mapped(folio, 0, folio_page(folio, 4)), 0);
	for (unsigned int i = 0; i < 2; i++) {
		take(&is[i], v[i], index, PMD_NR);
		for (unsigned long n = 0; n < PMD_NR; n++) {
			assert_int_equal(was[i].number[n], is[i].number[n]);
			assert_int_equal(is[i].level[n], 0);
			assert_false(is[i].exclusive[n]);
		}
	}
	assert_int_equal(folio_mapcount(mapped_at(vma, index + 4)), 1);
	assert_int_equal(folio_mapcount(folio), folio_nr_pages(folio) * 2 - 1);
	folio_unlock(folio);
	folio_put(folio);
	assert_true(octavo_validate());
	hand_unmap(v[1]);
	table_mm_end(other);
	shutdown();
}

/* ---- what is refused ---- */

static struct folio *unlocked;

static void split_unlocked(void *arg)
{
	(void)split_folio_mapped(unlocked, 0, NULL);
}

static void assert_split_refused(struct folio *folio, unsigned int new_order, struct page *page,
				 unsigned long index, int err)
{
	u32 refs = folio_ref_count(folio);

	take(&before, vma, index, folio_nr_pages(folio));
	assert_int_equal(split_folio_mapped(folio, new_order, page), err);
	take(&after, vma, index, folio_nr_pages(folio));
	assert_same(&before, &after, false);
	assert_int_equal(folio_ref_count(folio), refs);
	assert_true(folio_test_locked(folio));
	assert_true(octavo_validate());
}

static void test_split_refused(void **state)
{
	struct folio *folio, *file;
	unsigned long index;

	boot();
	index = vma->vm_pgoff;
	folio = anon(3);
	hand_map(folio, 0, 8, vma, index, hand_pte(folio, 0));
	folio_get(folio);
	folio_lock(folio);
	assert_split_refused(folio, 3, NULL, index, -EINVAL);
	assert_split_refused(folio, ~0u, NULL, index, -EINVAL);
	assert_split_refused(folio, 0, folio_page(folio, 7) + 1, index, -EINVAL);
	assert_true(folio_try_pin(folio, 1));
	assert_split_refused(folio, 0, NULL, index, -EBUSY);
	folio_unpin(folio, 1);
	folio_get(folio);
	assert_split_refused(folio, 0, NULL, index, -EBUSY);
	folio_put(folio);
	folio_set_flag(folio, PG_swapcache);
	assert_split_refused(folio, 0, NULL, index, -EBUSY);
	folio_clear_flag(folio, PG_swapcache);
	folio_set_flag(folio, PG_writeback);
	assert_split_refused(folio, 0, NULL, index, -EBUSY);
	folio_clear_flag(folio, PG_writeback);
	folio_unlock(folio);
	folio_put(folio);
	file = folio_alloc(GFP_KERNEL, 1, FOLIO_FILE);
	folio_lock(file);
	assert_int_equal(split_folio_mapped(file, 0, NULL), -EINVAL);
	folio_unlock(file);
	folio_put(file);
	unlocked = folio;
	expect_panic(split_unlocked, NULL, "folio_test_locked");
}

#if OCTAVO_FAULTS
static void test_split_fails_at_every_step(void **state)
{
	unsigned long failed = 0, done = 0;

	boot();
	for (unsigned int kind = 0; kind < 3; kind++)
		for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL, hit)
		{
			unsigned int order = kind == 2 ? level_order(1) : 3;
			unsigned long nr = 1ul << order, index = vma->vm_pgoff + PMD_NR - 2, pfn;
			struct folio *folio;
			u32 steps;
			int err;

			octavo_fault_disarm();
			folio = anon(order);
			pfn = folio_pfn(folio);
			if (kind == 2) {
				index = vma->vm_pgoff + 3 * PMD_NR;
				hand_map_leaf(folio, vma, index);
			} else {
				hand_map(folio, 0, nr, vma, index, hand_pte(folio, 0));
			}
			folio_get(folio);
			folio_lock(folio);
			take(&before, vma, index, nr);
			octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
			err = split_folio_mapped(folio, 0, kind ? folio_page(folio, 1) : NULL);
			steps = octavo_fault_disarm();
			take(&after, vma, index, nr);
			for (unsigned long i = 0; i < nr; i++) {
				assert_int_equal(before.number[i], after.number[i]);
				assert_true(pte_write(after.pte[i]));
			}
			if (err) {
				assert_true(steps && (err == -ENOMEM || err == -EBUSY));
				assert_int_equal(folio_order(folio), order);
				assert_int_equal(folio_mapcount(folio),
						 folio_count_mappings(folio));
				assert_int_equal(folio_ref_count(folio), folio_mapcount(folio) + 1);
				failed++;
			} else {
				assert_pieces(pfn, order, 0, kind ? 1 : ~0ul, index);
				done++;
			}
			assert_true(octavo_validate());
			folio_unlock(folio);
			folio_put(folio);
			hand_zap(vma, vma->vm_start, vma->vm_end);
			table_mm_empty(mm);
			hit = steps;
		}
	assert_true(failed >= 9 && done >= 3);
	shutdown();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_split_uniform),
		TEST(test_split_out),
		TEST(test_split_leaf_mapped),
		TEST(test_unmapped_pieces_go),
		TEST(test_split_in_several_address_spaces),
		TEST(test_split_refused),
#if OCTAVO_FAULTS
		TEST(test_split_fails_at_every_step),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
