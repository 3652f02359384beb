/* SPDX-License-Identifier: MIT */
/*
 * test_tree.c - transitions of the allocator's words, against the plainest way to say the same.
 */
#include "test.h"

#include "../mm/frame/tree.h"

static u64 seed = 88172645463325252ull;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Words of all densities: sparse, half, dense, and runs. */
static u64 rnd_row(void)
{
	u64 w = rnd();

	switch (rnd() % 5) {
	case 0:
		w &= rnd() & rnd();
		break;
	case 1:
		w |= rnd() | rnd();
		break;
	case 2:
		w = rnd() % 2 ? 0 : ~0ull;
		break;
	case 3:
		w = ~0ull << rnd() % 64 & ~0ull >> rnd() % 64;
		break;
	}
	return w & ROW_MASK;
}

static bool run_free(u64 taken, unsigned int bit, unsigned int n)
{
	for (unsigned int i = bit; i < bit + n; i++)
		if (taken >> i & 1)
			return false;
	return true;
}

static void test_tree_row_starts_are_the_aligned_free_runs(void **state)
{
	for (int turn = 0; turn < 3000; turn++) {
		u64 taken = rnd_row();

		for (unsigned int o = 0; o < OCTAVO_ROW_ORDER; o++) {
			u64 want = 0;

			for (unsigned int b = 0; b < ROW_FRAMES; b += 1u << o)
				if (run_free(taken, b, 1u << o))
					want |= 1ull << b;
			assert_int_equal(row_starts(taken, o), want);
		}
	}
}

static void test_tree_row_pick_takes_the_lowest_and_no_more_than_asked(void **state)
{
	for (int turn = 0; turn < 3000; turn++) {
		u64 taken = rnd_row();
		unsigned int o = (unsigned int)rnd() % OCTAVO_ROW_ORDER;
		unsigned int most = (unsigned int)rnd() % (ROW_FRAMES + 2), n = 0;
		u64 pick = row_pick(taken, o, most), want = 0;

		for (unsigned int b = 0; b < ROW_FRAMES && n < most; b += 1u << o)
			if (run_free(taken, b, 1u << o)) {
				want |= row_run(b, 1u << o);
				n++;
			}
		assert_int_equal(pick, want);
	}
}

static void test_tree_row_count_counts(void **state)
{
	assert_int_equal(row_count(0), 0);
	assert_int_equal(row_count(~0ull), 64);
	for (int turn = 0; turn < 3000; turn++) {
		u64 w = rnd_row();
		unsigned int n = 0;

		for (int i = 0; i < 64; i++)
			n += w >> i & 1;
		assert_int_equal(row_count(w), n);
	}
}

static void test_tree_row_polarity_is_an_involution(void **state)
{
	for (int turn = 0; turn < 100; turn++) {
		u64 w = rnd_row();

		assert_int_equal(row_taken(w, 0), w);
		assert_int_equal(row_taken(w, BLK_INVERTED) ^ w, ROW_MASK);
	}
	assert_int_equal(row_taken(0, BLOCK_FRAMES | BLK_INVERTED), ROW_MASK);
}

/* Every state of a field, in every place of a word, the other fields random: what changes, and only that. */
static void check_take_give(unsigned int i, unsigned int blk, unsigned int n, u64 rest)
{
	u64 mask = 0xffffull << blk_shift(i), old = (rest & ~mask) | (u64)blk << blk_shift(i), w;
	unsigned int used = blk_used(blk);
	bool fits = used + n <= BLOCK_FRAMES;

	w = old;
	assert_int_equal(blk_take(&w, i, n, true), fits);
	assert_int_equal(blk_get(w, i), fits ? blk + n : blk);
	assert_int_equal(w & ~mask, old & ~mask);
	w = old;
	assert_int_equal(blk_take(&w, i, n, false), fits && !(blk & BLK_ISOLATED));
	w = old;
	assert_int_equal(blk_give(&w, i, n), used >= n);
	assert_int_equal(blk_get(w, i), used >= n ? blk - n : blk);
	assert_int_equal(w & ~mask, old & ~mask);
	assert_int_equal(blk_room(blk), blk & BLK_ISOLATED ? 0 : BLOCK_FRAMES - used);
}

static void test_tree_blk_take_and_give_change_one_count_within_bounds(void **state)
{
	unsigned int step = BLOCK_FRAMES > 8 ? BLOCK_FRAMES / 8 - 1 : 1;

	for (unsigned int i = 0; i < BLK_PER_WORD; i++)
		for (unsigned int flags = 0; flags < 4; flags++)
			for (unsigned int used = 0; used <= BLOCK_FRAMES; used += step)
				for (unsigned int n = 1; n <= BLOCK_FRAMES; n += step)
					check_take_give(i, used | flags * BLK_INVERTED, n,
							rnd() & 0x0fff0fff0fff0fffull);
}

static void test_tree_blk_whole_flips_polarity_and_is_its_own_inverse(void **state)
{
	for (unsigned int i = 0; i < BLK_PER_WORD; i++)
		for (unsigned int nr = 1; i + nr <= BLK_PER_WORD; nr++)
			for (unsigned int flags = 0; flags < 4; flags++) {
				u64 free = 0, w, old;

				for (unsigned int k = i; k < i + nr; k++)
					free |= (u64)(flags * BLK_INVERTED) << blk_shift(k);
				old = w = free;
				assert_false(blk_give_whole(&w, i, nr));
				assert_int_equal(blk_take_whole(&w, i, nr, false),
						 !(flags * BLK_INVERTED & BLK_ISOLATED));
				w = old;
				assert_true(blk_take_whole(&w, i, nr, true));
				for (unsigned int k = i; k < i + nr; k++) {
					assert_int_equal(blk_used(blk_get(w, k)), BLOCK_FRAMES);
					assert_int_equal((blk_get(w, k) ^ blk_get(old, k)) &
								 ~BLK_USED_MASK,
							 BLK_INVERTED);
				}
				old = w;
				assert_false(blk_take_whole(&w, i, nr, true));
				assert_int_equal(w, old);
				/* one frame less of any of them, and nothing happens */
				for (unsigned int k = i; k < i + nr; k++) {
					w = old;
					assert_true(blk_give(&w, k, 1));
					assert_false(blk_give_whole(&w, i, nr));
					assert_true(blk_take(&w, k, 1, true));
					assert_int_equal(w, old);
				}
				assert_true(blk_give_whole(&w, i, nr));
				assert_int_equal(w, free);
			}
}

static void test_tree_blk_isolation_sets_and_clears_once(void **state)
{
	for (unsigned int i = 0; i < BLK_PER_WORD; i++) {
		u64 w = 0;

		assert_false(blk_set_isolated(&w, i, false));
		assert_true(blk_set_isolated(&w, i, true));
		assert_false(blk_set_isolated(&w, i, true));
		assert_int_equal(blk_get(w, i), BLK_ISOLATED);
		assert_true(blk_set_isolated(&w, i, false));
		assert_int_equal(w, 0);
	}
}

static void test_tree_ctl_keeps_counts_in_bounds_and_types_of_used_trees(void **state)
{
	u64 c = 0;

	assert_false(ctl_give(&c, 1));
	assert_true(ctl_take(&c, 3, MIGRATE_MOVABLE));
	assert_int_equal(ctl_mt(c), MIGRATE_MOVABLE);
	assert_true(ctl_take(&c, 1, MIGRATE_RECLAIMABLE));
	assert_int_equal(ctl_mt(c), MIGRATE_MOVABLE);
	assert_false(ctl_take(&c, TREE_FRAMES - 3, MIGRATE_MOVABLE));
	assert_true(ctl_take(&c, TREE_FRAMES - 4, MIGRATE_MOVABLE));
	assert_int_equal(ctl_room(c), 0);
	assert_false(ctl_take(&c, 1, MIGRATE_MOVABLE));
	assert_false(ctl_give(&c, TREE_FRAMES + 1));
	assert_true(ctl_give(&c, TREE_FRAMES));
	assert_int_equal(ctl_used(c), 0);
	assert_true(ctl_take(&c, 1, MIGRATE_RECLAIMABLE));
	assert_int_equal(ctl_mt(c), MIGRATE_RECLAIMABLE);
}

static void test_tree_ctl_reservation_has_one_owner(void **state)
{
	u64 c = 0;

	assert_true(ctl_reserve(&c, OCTAVO_NR_CPUS - 1, MIGRATE_MOVABLE));
	assert_int_equal(ctl_owner(c), OCTAVO_NR_CPUS);
	assert_false(ctl_reserve(&c, 0, MIGRATE_UNMOVABLE));
	/* a reserved tree keeps its type although nothing of it is used */
	assert_true(ctl_take(&c, 1, MIGRATE_UNMOVABLE));
	assert_int_equal(ctl_mt(c), MIGRATE_MOVABLE);
	c = ctl_release(c);
	assert_int_equal(ctl_owner(c), 0);
	assert_int_equal(ctl_used(c), 1);
	assert_true(ctl_reserve(&c, 0, MIGRATE_UNMOVABLE));
	assert_int_equal(ctl_mt(c), MIGRATE_MOVABLE);
}

static void test_tree_summary_bits_are_distinct(void **state)
{
	u64 all = 0;

	for (unsigned long t = 64; t < 96; t++)
		for (unsigned int kind = SUMMARY_FULL; kind <= SUMMARY_BLOCK; kind += 32) {
			assert_false(all & summary_bit(t, kind));
			all |= summary_bit(t, kind);
		}
	assert_int_equal(all, ~0ull);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree_row_starts_are_the_aligned_free_runs),
		cmocka_unit_test(test_tree_row_pick_takes_the_lowest_and_no_more_than_asked),
		cmocka_unit_test(test_tree_row_count_counts),
		cmocka_unit_test(test_tree_row_polarity_is_an_involution),
		cmocka_unit_test(test_tree_blk_take_and_give_change_one_count_within_bounds),
		cmocka_unit_test(test_tree_blk_whole_flips_polarity_and_is_its_own_inverse),
		cmocka_unit_test(test_tree_blk_isolation_sets_and_clears_once),
		cmocka_unit_test(test_tree_ctl_keeps_counts_in_bounds_and_types_of_used_trees),
		cmocka_unit_test(test_tree_ctl_reservation_has_one_owner),
		cmocka_unit_test(test_tree_summary_bits_are_distinct),
	};

	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
