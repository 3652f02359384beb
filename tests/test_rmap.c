/* SPDX-License-Identifier: MIT */
/*
 * test_rmap.c - counts of mappings and exclusivity, by batches and levels, and what is fatal.
 */
#include "rmap_machine.h"

static struct mm_struct *mm;
static struct vm_area_struct *vma;

static void boot(void)
{
	hand_boot();
	mm = table_mm();
	vma = hand_vma(mm, 8 * PMD_NR, 4 * PMD_NR);
	assert_int_equal(anon_vma_prepare(vma), 0);
}

static void shutdown(void)
{
	hand_vma_free(vma);
	table_mm_end(mm);
	hand_shutdown();
}

static u32 exclusive_of(struct folio *folio)
{
	return folio_anon_exclusive_count(folio_subrange(folio, 0, folio_nr_pages(folio)));
}

COVERS("S0.22 S0.25 S2.31");
static void test_new(void **state)
{
	boot();
	for (unsigned int order = 0; order <= 6; order++) {
		struct folio *folio = hand_folio(order);
		unsigned long nr = 1ul << order;

		folio_add_new_anon_rmap(folio_subrange(folio, 0, nr), vma, vma->vm_start, 0);
		assert_int_equal(folio_mapcount(folio), nr);
		assert_int_equal(folio_entire_mapcount(folio), 0);
		assert_ptr_equal(folio->mapping, vma->anon_vma);
		assert_int_equal(folio->index, vma->vm_pgoff);
		assert_true(folio_test_flag(folio, PG_swapbacked));
		assert_int_equal(exclusive_of(folio), nr);
		assert_true(folio_validate(folio));
		folio_remove_rmap(folio_subrange(folio, 0, nr), vma, 0);
		assert_int_equal(folio_mapcount(folio), 0);
		folio_put(folio);
	}
	shutdown();
}

/* A part of it, not from the start: the index is that of the folio's first page. */
static void test_new_in_part(void **state)
{
	struct folio *folio;

	boot();
	folio = hand_folio(3);
	vma->vm_flags |= VM_DROPPABLE;
	folio_add_new_anon_rmap(folio_subrange(folio, 3, 2), vma, vma->vm_start + 5 * PAGE_SIZE, 0);
	assert_int_equal(folio->index, vma->vm_pgoff + 2);
	assert_int_equal(folio_mapcount(folio), 2);
	assert_int_equal(exclusive_of(folio), 2);
	assert_true(folio_test_anon_exclusive(folio, 3) && folio_test_anon_exclusive(folio, 4));
	assert_false(folio_test_flag(folio, PG_swapbacked));
	folio_remove_rmap(folio_subrange(folio, 4, 1), vma, 0);
	folio_remove_rmap(folio_subrange(folio, 3, 1), vma, 0);
	assert_false(folio_mapped(folio));
	folio_put(folio);
	shutdown();
}

COVERS("S2.3 S2.31");
static void test_whole(void **state)
{
	struct folio_subrange all;
	struct folio *folio;

	boot();
	folio = hand_folio(level_order(1));
	all = folio_subrange(folio, 0, PMD_NR);
	folio_add_new_anon_rmap(all, vma, vma->vm_start, 1);
	assert_int_equal(folio_mapcount(folio), 1);
	assert_int_equal(folio_entire_mapcount(folio), 1);
	/* One bit, that of the first page, stands for the entry. */
	assert_int_equal(exclusive_of(folio), 1);
	assert_true(folio_test_anon_exclusive(folio, 0));
	assert_true(folio_validate(folio));

	/* A table instead: its entries are there before the leaf is not. */
	folio_spread_anon_exclusive(all);
	folio_add_anon_rmap(all, vma, vma->vm_start, 0, RMAP_NONE);
	folio_remove_rmap(all, vma, 1);
	assert_int_equal(folio_mapcount(folio), PMD_NR);
	assert_int_equal(folio_entire_mapcount(folio), 0);
	assert_int_equal(exclusive_of(folio), PMD_NR);
	folio_remove_rmap(all, vma, 0);
	folio_put(folio);
	shutdown();
}

/* A folio that comes back is its family's, or if it is exclusive, its VMA's. */
static void test_mapping_of_a_folio_that_comes_back(void **state)
{
	struct mm_struct *other;
	struct vm_area_struct *child;
	struct folio *folio;
	struct folio_subrange sr;

	boot();
	other = table_mm();
	child = hand_vma_dup(vma, other);
	assert_int_equal(anon_vma_fork(child, vma), 0);
	folio = hand_folio(1);
	folio_lock(folio);
	sr = folio_subrange(folio, 1, 1);
	folio_add_anon_rmap(sr, child, child->vm_start + PAGE_SIZE, 0, RMAP_EXCLUSIVE);
	assert_ptr_equal(folio->mapping, child->anon_vma);
	assert_int_equal(folio->index, child->vm_pgoff);
	assert_int_equal(exclusive_of(folio), 1);
	/* One more does not change where it belongs. */
	folio_add_anon_rmap(folio_subrange(folio, 0, 1), vma, vma->vm_start, 0, RMAP_NONE);
	assert_ptr_equal(folio->mapping, child->anon_vma);
	assert_int_equal(exclusive_of(folio), 1);
	folio_remove_rmap(folio_subrange(folio, 0, 1), vma, 0);
	folio_remove_rmap(sr, child, 0);
	folio_add_anon_rmap(folio_subrange(folio, 0, 2), child, child->vm_start, 0, RMAP_NONE);
	assert_ptr_equal(folio->mapping, child->anon_vma->root);
	folio_remove_rmap(folio_subrange(folio, 0, 2), child, 0);
	folio_unlock(folio);
	folio_put(folio);
	hand_vma_free(child);
	table_mm_end(other);
	shutdown();
}

static void test_files(void **state)
{
	struct folio *folio;
	struct folio_subrange all;

	boot();
	folio = folio_alloc(GFP_KERNEL, level_order(1), FOLIO_FILE);
	all = folio_subrange(folio, 0, PMD_NR);
	folio_add_file_rmap(folio_subrange(folio, 2, 3), vma, 0);
	folio_dup_file_rmap(folio_subrange(folio, 2, 2), 0);
	folio_add_file_rmap(all, vma, 1);
	folio_dup_file_rmap(all, 1);
	assert_int_equal(folio_mapcount(folio), 7);
	assert_int_equal(folio_entire_mapcount(folio), 2);
	folio_remove_rmap(all, vma, 1);
	folio_remove_rmap(all, vma, 1);
	folio_remove_rmap(folio_subrange(folio, 2, 3), vma, 0);
	folio_remove_rmap(folio_subrange(folio, 2, 2), vma, 0);
	assert_false(folio_mapped(folio));
	folio_put(folio);
	shutdown();
}

/* ---- fork ---- */

COVERS("S2.32 SX.7");
static void test_dup(void **state)
{
	boot();
	for (unsigned int order = 0; order <= 4; order++) {
		struct folio *folio = hand_folio(order);
		unsigned long nr = 1ul << order;
		struct folio_subrange all = folio_subrange(folio, 0, nr);

		folio_add_new_anon_rmap(all, vma, vma->vm_start, 0);
		mm->write_protect_seq = 1;
		/* Pinned: all or nothing. */
		assert_true(folio_try_pin(folio, 1));
		assert_int_equal(folio_try_dup_anon_rmap(all, vma, vma, 0), -EBUSY);
		assert_int_equal(folio_mapcount(folio), nr);
		assert_int_equal(exclusive_of(folio), nr);
		folio_unpin(folio, 1);
		assert_int_equal(folio_try_dup_anon_rmap(all, vma, vma, 0), 0);
		assert_int_equal(folio_mapcount(folio), 2 * nr);
		assert_int_equal(exclusive_of(folio), 0);
		/* Shared: pins are no matter any more. */
		assert_true(folio_try_pin(folio, 1));
		assert_int_equal(folio_try_dup_anon_rmap(all, vma, vma, 0), 0);
		assert_int_equal(folio_mapcount(folio), 3 * nr);
		folio_unpin(folio, 1);
		mm->write_protect_seq = 0;
		for (unsigned int i = 0; i < 3; i++)
			folio_remove_rmap(all, vma, 0);
		folio_put(folio);
	}
	shutdown();
}

/* Some of its pages are exclusive: only those matter, and only those that are meant. */
static void test_dup_of_a_mixture(void **state)
{
	struct folio *folio;

	boot();
	folio = hand_folio(3);
	folio_add_new_anon_rmap(folio_subrange(folio, 0, 8), vma, vma->vm_start, 0);
	folio_clear_anon_exclusive(folio_subrange(folio, 4, 3));
	mm->write_protect_seq = 1;
	assert_true(folio_try_pin(folio, 1));
	assert_int_equal(folio_try_dup_anon_rmap(folio_subrange(folio, 4, 3), vma, vma, 0), 0);
	assert_int_equal(folio_try_dup_anon_rmap(folio_subrange(folio, 4, 4), vma, vma, 0), -EBUSY);
	assert_int_equal(folio_mapcount(folio), 11);
	assert_int_equal(exclusive_of(folio), 5);
	folio_unpin(folio, 1);
	assert_int_equal(folio_try_dup_anon_rmap(folio_subrange(folio, 4, 4), vma, vma, 0), 0);
	assert_int_equal(folio_mapcount(folio), 15);
	assert_int_equal(exclusive_of(folio), 4);
	folio_remove_rmap(folio_subrange(folio, 0, 8), vma, 0);
	folio_remove_rmap(folio_subrange(folio, 1, 7), vma, 0);
	folio_put(folio);
	shutdown();
}

COVERS("S2.3");
static void test_dup_of_a_leaf(void **state)
{
	struct folio *folio;
	struct folio_subrange all;

	boot();
	folio = hand_folio(level_order(1));
	all = folio_subrange(folio, 0, PMD_NR);
	folio_add_new_anon_rmap(all, vma, vma->vm_start, 1);
	mm->write_protect_seq = 1;
	assert_true(folio_try_pin(folio, 1));
	assert_int_equal(folio_try_dup_anon_rmap(all, vma, vma, 1), -EBUSY);
	folio_unpin(folio, 1);
	assert_int_equal(folio_try_dup_anon_rmap(all, vma, vma, 1), 0);
	assert_int_equal(folio_mapcount(folio), 2);
	assert_int_equal(folio_entire_mapcount(folio), 2);
	assert_int_equal(exclusive_of(folio), 0);
	folio_remove_rmap(all, vma, 1);
	folio_remove_rmap(all, vma, 1);
	folio_put(folio);
	shutdown();
}

/* A thousand plain references of a small folio look like a pin: it is copied, which is always legal. */
COVERS("SX.7");
static void test_many_references_look_like_a_pin(void **state)
{
	struct folio *folio;
	struct folio_subrange sr;

	boot();
	folio = hand_folio(0);
	sr = folio_subrange(folio, 0, 1);
	folio_add_new_anon_rmap(sr, vma, vma->vm_start, 0);
	folio_ref_add(folio, GUP_PIN_COUNTING_BIAS - 1);
	assert_int_equal(folio_try_share_anon_rmap(sr, 0), -EBUSY);
	assert_int_equal(exclusive_of(folio), 1);
	folio_put(folio);
	assert_int_equal(folio_try_share_anon_rmap(sr, 0), 0);
	assert_int_equal(exclusive_of(folio), 0);
	folio_remove_rmap(sr, vma, 0);
	folio_put_refs(folio, GUP_PIN_COUNTING_BIAS - 1);
	shutdown();
}

/* ---- unmapping ---- */

COVERS("S2.2 S2.3");
static void test_share(void **state)
{
	struct folio *folio;

	boot();
	folio = hand_folio(level_order(1));
	folio_add_new_anon_rmap(folio_subrange(folio, 0, PMD_NR), vma, vma->vm_start, 0);
	assert_true(folio_try_pin(folio, 2));
	assert_int_equal(folio_try_share_anon_rmap(folio_subrange(folio, 1, 3), 0), -EBUSY);
	assert_int_equal(exclusive_of(folio), PMD_NR);
	folio_unpin(folio, 1);
	assert_int_equal(folio_try_share_anon_rmap(folio_subrange(folio, 1, 3), 0), -EBUSY);
	folio_unpin(folio, 1);
	assert_int_equal(folio_try_share_anon_rmap(folio_subrange(folio, 1, 3), 0), 0);
	assert_int_equal(exclusive_of(folio), PMD_NR - 3);
	assert_true(folio_test_anon_exclusive(folio, 0) && folio_test_anon_exclusive(folio, 4));
	assert_int_equal(folio_mapcount(folio), PMD_NR);
	/* The bit of a leaf. */
	assert_int_equal(folio_try_share_anon_rmap(folio_subrange(folio, 0, 1), 1), 0);
	assert_false(folio_test_anon_exclusive(folio, 0));
	folio_remove_rmap(folio_subrange(folio, 0, PMD_NR), vma, 0);
	folio_put(folio);
	shutdown();
}

/* ---- what is fatal ---- */

static struct folio *victim;
static struct folio_subrange bad;

static void do_new(void *arg)
{
	folio_add_new_anon_rmap(bad, vma, vma->vm_start, (unsigned int)(uintptr_t)arg);
}
static void do_add(void *arg)
{
	folio_add_anon_rmap(bad, vma, vma->vm_start, (unsigned int)(uintptr_t)arg, RMAP_NONE);
}
static void do_add_file(void *arg)
{
	folio_add_file_rmap(bad, vma, (unsigned int)(uintptr_t)arg);
}
static void do_dup_file(void *arg)
{
	folio_dup_file_rmap(bad, (unsigned int)(uintptr_t)arg);
}
static void do_remove(void *arg)
{
	folio_remove_rmap(bad, vma, (unsigned int)(uintptr_t)arg);
}
static void do_dup(void *arg)
{
	mm->write_protect_seq = 1;
	(void)!folio_try_dup_anon_rmap(bad, vma, vma, (unsigned int)(uintptr_t)arg);
}
static void do_share(void *arg)
{
	(void)!folio_try_share_anon_rmap(bad, (unsigned int)(uintptr_t)arg);
}

static void (*const every[])(void *) = { do_new,    do_add, do_add_file, do_dup_file,
					 do_remove, do_dup, do_share };

static void boot_victim(enum folio_kind kind)
{
	boot();
	victim = folio_alloc(GFP_KERNEL, level_order(1), kind);
	folio_lock(victim);
}

static void *as_level(unsigned int level)
{
	return (void *)(uintptr_t)level;
}

COVERS("S2.5 S2.31");
static void test_wrong_pages_are_fatal(void **state)
{
	const u32 wrong[][2] = { { 0, 0 },
				 { 1, 0 },
				 { (u32)PMD_NR, 1 },
				 { 1, (u32)PMD_NR },
				 { 0, (u32)PMD_NR + 1 },
				 { ~0u, 2 },
				 { 2, ~0u } };

	for (unsigned int f = 0; f < ARRAY_SIZE(every); f++)
		for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
			boot_victim(every[f] == do_add_file || every[f] == do_dup_file
					    ? FOLIO_FILE
					    : FOLIO_ANON);
			/* By hand: the constructor would refuse. */
			bad = (struct folio_subrange){ victim, wrong[i][0], wrong[i][1] };
			expect_panic(every[f], as_level(0), "not the folio's");
		}
}

COVERS("S0.11 S0.21 S2.5");
static void test_what_is_no_folio_is_fatal(void **state)
{
	for (unsigned int f = 0; f < ARRAY_SIZE(every); f++) {
		/* Of the other kind. */
		boot_victim(every[f] == do_add_file || every[f] == do_dup_file ? FOLIO_ANON
									       : FOLIO_FILE);
		bad = folio_subrange(victim, 0, 1);
		expect_panic(every[f], as_level(0),
			     every[f] == do_remove ? "unmapped more" : "the other kind");
		/* Gone: its descriptor is a folio's still, its pages are not. */
		boot_victim(FOLIO_ANON);
		bad = folio_subrange(victim, 0, 1);
		folio_unlock(victim);
		folio_put(victim);
		expect_panic(every[f], as_level(0), "is free");
		/* Pages that say they belong to somebody else. */
		boot_victim(every[f] == do_add_file || every[f] == do_dup_file ? FOLIO_FILE
									       : FOLIO_ANON);
		bad = folio_subrange(victim, 0, 1);
		folio_page(victim, 0)->memdesc.v += 16;
		expect_panic(every[f], as_level(0), "is no folio");
	}
}

COVERS("S2.31");
static void test_wrong_levels_are_fatal(void **state)
{
	const struct {
		u32 first, nr, level;
	} wrong[] = { { 0, 1, 1 },
		      { 1, (u32)PMD_NR - 1, 1 },
		      { 0, (u32)PMD_NR, 2 },
		      { 0, (u32)PMD_NR, ~0u } };

	for (unsigned int f = 0; f < ARRAY_SIZE(every); f++)
		for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
			if (every[f] == do_share && i == 0)
				continue; /* that is how it is meant */
			boot_victim(every[f] == do_add_file || every[f] == do_dup_file
					    ? FOLIO_FILE
					    : FOLIO_ANON);
			bad = folio_subrange(victim, wrong[i].first, wrong[i].nr);
			expect_panic(every[f], as_level(wrong[i].level),
				     every[f] == do_share ? "one page" : "another size");
		}
}

static void test_wrong_counts_are_fatal(void **state)
{
	boot_victim(FOLIO_ANON);
	bad = folio_subrange(victim, 0, 2);
	expect_panic(do_remove, as_level(0), "more often than mapped");

	boot_victim(FOLIO_ANON);
	bad = folio_subrange(victim, 0, 3);
	folio_add_new_anon_rmap(folio_subrange(victim, 0, 2), vma, vma->vm_start, 0);
	expect_panic(do_remove, as_level(0), "more often than mapped");

	/* As a whole, but by entries of the last level. */
	boot_victim(FOLIO_ANON);
	bad = folio_subrange(victim, 0, PMD_NR);
	folio_add_new_anon_rmap(bad, vma, vma->vm_start, 0);
	expect_panic(do_remove, as_level(1), "as a whole");

	boot_victim(FOLIO_ANON);
	bad = folio_subrange(victim, 0, 2);
	victim->mapcount = INT32_MAX - 1;
	expect_panic(do_add, as_level(0), "too often");

	boot_victim(FOLIO_ANON);
	bad = folio_subrange(victim, 0, 1);
	folio_add_new_anon_rmap(bad, vma, vma->vm_start, 0);
	expect_panic(do_new, as_level(0), "is mapped");

	/* The first mapping of what somebody may look for needs its lock. */
	boot_victim(FOLIO_ANON);
	bad = folio_subrange(victim, 0, 1);
	folio_unlock(victim);
	expect_panic(do_add, as_level(0), "without its lock");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_new),
		TEST(test_new_in_part),
		TEST(test_whole),
		TEST(test_mapping_of_a_folio_that_comes_back),
		TEST(test_files),
		TEST(test_dup),
		TEST(test_dup_of_a_mixture),
		TEST(test_dup_of_a_leaf),
		TEST(test_many_references_look_like_a_pin),
		TEST(test_share),
		TEST(test_wrong_pages_are_fatal),
		TEST(test_what_is_no_folio_is_fatal),
		TEST(test_wrong_levels_are_fatal),
		TEST(test_wrong_counts_are_fatal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
