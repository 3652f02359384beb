/* SPDX-License-Identifier: MIT */
/*
 * test_folio_merge.c - merge: the inverse of split, what refuses it, failing at every step.
 */
#include "folio_pieces.h"

/* ---- merge ---- */

/* What a merge adds to the flags of make(). */
static struct folio *merge_back(struct whole *w)
{
	int err = 1;
	struct folio *folio = folio_merge(w->folio, w->order, GFP_KERNEL, &err);

	assert_non_null(folio);
	assert_int_equal(err, 0);
	w->folio = folio;
	w->class = folio_class(folio);
	check_whole(w);
	return folio;
}

COVERS("S1.4 S1.41 SX.4");
static void test_folio_merge_is_the_inverse_of_split(void **state)
{
	static struct whole w;

	boot();
	for (unsigned int order = 1; order <= top_order(); order++)
		for (unsigned int new_order = 0; new_order < order; new_order++) {
			make(&w, order, order & 1 ? FOLIO_FILE : FOLIO_ANON, 0, order);
			for (int turn = 0; turn < 2; turn++) {
				assert_int_equal(folio_split(w.folio, new_order, 0, GFP_KERNEL), 0);
				merge_back(&w);
				assert_true(octavo_validate());
			}
			/* of unlike pieces too */
			assert_int_equal(
				folio_split_out(w.folio,
						folio_page(w.folio, w.nr / 2 - (order > 1)),
						new_order, 0, GFP_KERNEL),
				0);
			merge_back(&w);
			assert_true(octavo_validate());
			put_piece(&w, w.folio);
		}
	shutdown_clean();
}

static void test_folio_merge_joins_flags(void **state)
{
	static struct whole w;
	struct folio *piece[4];

	boot();
	for (int all = 0; all < 2; all++) {
		make(&w, 2, FOLIO_ANON, 0, 1);
		assert_int_equal(folio_split(w.folio, 0, 0, GFP_KERNEL), 0);
		for (int i = 0; i < 4; i++) {
			piece[i] = page_folio(pfn_to_page(w.pfn + (unsigned long)i));
			if (i != 2 || all)
				folio_set_flag(piece[i], PG_uptodate);
		}
		folio_set_flag(piece[3], PG_referenced);
		w.folio = folio_merge(w.folio, 2, GFP_KERNEL, &(int){ 0 });
		assert_non_null(w.folio);
		/* uptodate if all were; the others if any was */
		assert_int_equal(folio_test_flag(w.folio, PG_uptodate), all);
		assert_true(folio_test_flag(w.folio, PG_referenced));
		assert_true(folio_test_flag(w.folio, PG_dirty));
		folio_unlock(w.folio);
		folio_put(w.folio);
	}
	shutdown_clean();
}

static struct {
	struct folio *folio[8];
	u8 desc[8][sizeof(struct folio)];
	unsigned long word[8];
} run_image;

static void take_run(unsigned long pfn)
{
	for (unsigned long i = 0; i < 8; i++) {
		run_image.folio[i] = page_folio(pfn_to_page(pfn + i));
		run_image.word[i] = page_memdesc(pfn_to_page(pfn + i)).v;
		if (run_image.folio[i])
			memcpy(run_image.desc[i], run_image.folio[i], sizeof(struct folio));
	}
}

static void expect_merge_refused(const struct whole *w, unsigned int order, int want)
{
	int err = 1;

	take_run(w->pfn);
	assert_null(folio_merge(w->folio, order, GFP_KERNEL, &err));
	assert_int_equal(err, want);
	for (unsigned long i = 0; i < 8; i++) {
		assert_int_equal(page_memdesc(pfn_to_page(w->pfn + i)).v, run_image.word[i]);
		if (run_image.folio[i])
			assert_memory_equal(run_image.desc[i], run_image.folio[i],
					    sizeof(struct folio));
	}
}

/* Each reason at each place of the run: those that were frozen before it are unfrozen. */
static void refuse_at(const struct whole *w, unsigned long i)
{
	struct folio *piece = page_folio(pfn_to_page(w->pfn + i));

	folio_get(piece);
	expect_merge_refused(w, 3, -EBUSY);
	folio_put(piece);
	piece->mapcount = 1;
	expect_merge_refused(w, 3, -EBUSY);
	piece->mapcount = 0;
	piece->private = piece;
	expect_merge_refused(w, 3, -EBUSY);
	piece->private = NULL;
	folio_set_flag(piece, PG_writeback);
	expect_merge_refused(w, 3, -EBUSY);
	folio_clear_flag(piece, PG_writeback);
	folio_set_flag(piece, PG_swapcache);
	expect_merge_refused(w, 3, -EBUSY);
	folio_clear_flag(piece, PG_swapcache);
	if (folio_ref_freeze(piece, 1)) {
		/* somebody else is splitting it; the first would be ours */
		expect_merge_refused(w, 3, -EBUSY);
		folio_ref_unfreeze(piece, 1);
	}
	if (i == 0)
		return;
	piece->pfn_order_group ^= 1ul << FOLIO_GROUP_SHIFT;
	expect_merge_refused(w, 3, -EINVAL);
	piece->pfn_order_group ^= 1ul << FOLIO_GROUP_SHIFT;
	piece->index++;
	expect_merge_refused(w, 3, -EINVAL);
	piece->index--;
	piece->mapping = NULL;
	expect_merge_refused(w, 3, -EINVAL);
	piece->mapping = a_mapping;
	folio_unlock(piece);
	expect_merge_refused(w, 3, -EINVAL);
	folio_lock(piece);
}

static void test_folio_merge_refused_changes_nothing(void **state)
{
	static struct whole w;

	boot();
	make(&w, 3, FOLIO_ANON, 0, 3);
	assert_int_equal(folio_split(w.folio, 0, 0, GFP_KERNEL), 0);
	for (unsigned long i = 0; i < 8; i++)
		refuse_at(&w, i);
	expect_merge_refused(&w, 0, -EINVAL);
	expect_merge_refused(&w, MAX_FOLIO_ORDER + 1, -EINVAL);
	expect_merge_refused(&w, ~0u, -EINVAL);
	assert_true(octavo_validate());
	merge_back(&w);
	put_piece(&w, w.folio);
	shutdown_clean();
}

static void test_folio_merge_takes_only_folios_of_its_kind(void **state)
{
	static struct whole w;
	struct folio *piece;
	int err;

	boot();
	make(&w, 3, FOLIO_ANON, 0, 3);
	assert_int_equal(folio_split(w.folio, 2, 0, GFP_KERNEL), 0);
	piece = page_folio(pfn_to_page(w.pfn + 4));
	/* not aligned for the order */
	assert_null(folio_merge(piece, 3, GFP_KERNEL, &err));
	assert_int_equal(err, -EINVAL);
	/* free, of the other kind, plain */
	folio_unlock(piece);
	folio_put(piece);
	expect_merge_refused(&w, 3, -EINVAL);
	piece = folio_alloc_at(w.pfn + 4, 2, FOLIO_FILE, GFP_KERNEL, 0, &err);
	assert_non_null(piece);
	piece->mapping = a_mapping;
	piece->index = 0x1004;
	piece->pfn_order_group |= group;
	folio_lock(piece);
	expect_merge_refused(&w, 3, -EINVAL);
	folio_unlock(piece);
	folio_put(piece);
	assert_int_equal(frame_alloc_at(w.pfn + 4, 2, 0), 0);
	expect_merge_refused(&w, 3, -EINVAL);
	frame_free(w.pfn + 4, 2);
	put_piece(&w, w.folio);
	shutdown_clean();
}

static void merge_unlocked(void *folio)
{
	int err;

	folio_merge(folio, 1, GFP_KERNEL, &err);
}

static void test_folio_merge_without_the_lock_is_fatal(void **state)
{
	boot();
	expect_panic(merge_unlocked, folio_alloc(GFP_KERNEL, 0, FOLIO_ANON), "not locked");
}

/* ---- failing at step k ---- */

#if OCTAVO_FAULTS
static void merge_with_faults(unsigned int order, unsigned int new_order, int mode)
{
	static struct whole w;
	u64 live[2][NR_ORDERS];

	make(&w, order, FOLIO_ANON, 0, order);
	assert_int_equal(folio_split(w.folio, new_order, 0, GFP_KERNEL), 0);
	for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
	{
		struct folio *folio;
		int err;

		octavo_fault_disarm();
		folio_count_live(live[0]);
		octavo_fault_arm(k, mode, OCTAVO_FAULT_ALL);
		folio = folio_merge(w.folio, order, GFP_NOWAIT, &err);
		hit = octavo_fault_disarm();
		folio_count_live(live[1]);
		assert_int_equal(err == 0, folio != NULL);
		if (folio) {
			w.folio = folio;
			w.class = folio_class(folio);
			check_whole(&w);
			assert_true(octavo_validate());
			if (!hit)
				break;
			assert_int_equal(folio_split(w.folio, new_order, 0, GFP_KERNEL), 0);
		} else {
			assert_int_not_equal(hit, 0);
			assert_true(err == -ENOMEM || err == -EBUSY);
			assert_memory_equal(live[0], live[1], sizeof(live[0]));
			walk_pieces(&w, new_order, false);
			assert_true(octavo_validate());
		}
	}
	put_piece(&w, w.folio);
}

COVERS("SX.8");
static void test_folio_merge_fails_at_every_step_and_changes_nothing(void **state)
{
	boot();
	for (unsigned int order = 1; order <= top_order(); order++)
		for (unsigned int new_order = 0; new_order < order; new_order++)
			if (order - new_order <= 5)
				for (int m = 0; m < 2; m++)
					merge_with_faults(order, new_order, fault_modes[m]);
	shutdown_clean();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folio_merge_is_the_inverse_of_split),
		cmocka_unit_test(test_folio_merge_joins_flags),
		cmocka_unit_test(test_folio_merge_refused_changes_nothing),
		cmocka_unit_test(test_folio_merge_takes_only_folios_of_its_kind),
		cmocka_unit_test(test_folio_merge_without_the_lock_is_fatal),
#if OCTAVO_FAULTS
		cmocka_unit_test(test_folio_merge_fails_at_every_step_and_changes_nothing),
#endif
	};

	return cmocka_run_group_tests_name("folio_merge", tests, NULL, NULL);
}
