// SPDX-License-Identifier: MIT
/*
 * test_swap_hooks.c - an embedder whose frames have a tag each, which it keeps by slot while a page is out.
 */
#include <octavo/hooks.h>
#include <octavo/reclaim.h>

#include "swap_space.h"

#define ORDER 2u
#define NR    (1u << ORDER)
#define NONE  0xffffu
#define PFNS  (1ul << 16)

static struct {
	u16 frame[PFNS];     /* what hardware has */
	u16 kept[DEV_SLOTS]; /* by slot */
	u32 outs, ins, frees;
	u32 refuse; /* the how manieth of swap_out */
} tags;

static int on_out(struct mm_struct *mm, unsigned long addr, unsigned long pfn, swp_entry_t slot)
{
	assert_int_not_equal(tags.frame[pfn], NONE);
	if (++tags.outs == tags.refuse)
		return -EAGAIN;
	tags.kept[swp_offset(slot)] = tags.frame[pfn];
	return 0;
}

static void on_in(struct mm_struct *mm, unsigned long addr, unsigned long pfn, swp_entry_t slot)
{
	tags.ins++;
	assert_int_not_equal(tags.kept[swp_offset(slot)], NONE);
	/* its own if it never left */
	assert_true(tags.frame[pfn] == NONE || tags.frame[pfn] == tags.kept[swp_offset(slot)]);
	tags.frame[pfn] = tags.kept[swp_offset(slot)];
}

static void on_free(swp_entry_t first, u32 nr)
{
	for (u32 i = 0; i < nr; i++, tags.frees++)
		tags.kept[swp_offset(first) + i] = NONE;
}

/* Whoever has the frame next does not get the tag. */
static void on_release(struct folio *folio)
{
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		tags.frame[folio_pfn(folio) + i] = NONE;
}

static const struct octavo_hooks hooks = {
	.swap_out = on_out,
	.swap_in = on_in,
	.swap_free = on_free,
	.folio_release = on_release,
};

static void up(u32 flags)
{
	swap_up(flags);
	memset(&tags, 0xff, sizeof(tags));
	tags.outs = tags.ins = tags.frees = tags.refuse = 0;
	octavo_state.hooks = &hooks;
}

static u32 nr_kept(void)
{
	u32 n = 0;

	for (u32 i = 0; i < DEV_SLOTS; i++)
		n += tags.kept[i] != NONE;
	return n;
}

static void down(void)
{
	assert_int_equal(dev_stat().used, nr_kept());
	swap_down();
	assert_int_equal(nr_kept(), 0);
}

static u16 tag_in(struct mm_struct *mm, unsigned long page)
{
	return tags.frame[pfn_in(mm, page)];
}

/* Pages with contents and tags that tell which they are. */
static void fill(unsigned long page, unsigned long nr)
{
	for (unsigned long i = page; i < page + nr; i++) {
		put64(i, 100 + i);
		tags.frame[pfn_in(as, i)] = (u16)(1000 + i);
	}
}

/* The folio of a page is unmapped to its slots, as reclaim does it, and leaves memory. Return: did all of it go? */
static bool evict(unsigned long page)
{
	struct folio *folio = page_out_folio(as, at(page));
	bool gone;

	assert_non_null(folio);
	folio_lock(folio);
	if (!folio_test_flag(folio, PG_swapcache))
		assert_int_equal(folio_alloc_swap(folio), 0);
	gone = try_to_unmap(folio, 0);
	if (gone && folio_test_flag(folio, PG_dirty))
		assert_int_equal(swap_writeout(folio), 0);
	else
		folio_unlock(folio);
	if (gone)
		assert_true(page_out_forget(folio));
	folio_put(folio);
	return gone;
}

/* Page 1 of four is in a slot. */
static swp_entry_t one_out(void)
{
	up(0);
	map_anon(0, 4);
	fill(1, 1);
	assert_true(evict(1));
	return slot_in(as, 1);
}

COVERS("S2.21");
static void test_tags_come_back(void **state)
{
	swp_entry_t slot = one_out();

	assert_int_equal(tags.kept[swp_offset(slot)], 1001);
	/* a read keeps the slot, and what is kept with it */
	assert_int_equal(get64(1), 101);
	assert_int_equal(tag_in(as, 1), 1001);
	assert_int_equal(tags.kept[swp_offset(slot)], 1001);
	assert_int_equal(tags.ins, 1);
	/* changed, and out again to the same slot */
	tags.frame[pfn_in(as, 1)] = 7;
	assert_true(evict(1));
	assert_int_equal(slot_in(as, 1).v, slot.v);
	assert_int_equal(tags.kept[swp_offset(slot)], 7);
	/* a write gives the slot back, but not before the tag is there */
	put64(1, 5);
	assert_int_equal(tag_in(as, 1), 7);
	assert_int_equal(nr_kept(), 0);
	assert_int_equal(tags.frees, 1);
	down();
}

/* It never left memory: the frame has it still. */
static void test_tags_of_what_stays_cached(void **state)
{
	struct folio *folio;

	up(0);
	map_anon(0, 4);
	fill(1, 1);
	folio = page_out_folio(as, at(1));
	folio_lock(folio);
	assert_int_equal(folio_alloc_swap(folio), 0);
	assert_true(try_to_unmap(folio, 0));
	folio_unlock(folio);
	folio_put(folio);
	assert_int_equal(get64(1), 101);
	assert_int_equal(dev.reads, 0);
	assert_int_equal(tags.ins, 1);
	assert_int_equal(tag_in(as, 1), 1001);
	down();
}

COVERS("S2.21 S2.32");
static void test_tags_of_a_family(void **state)
{
	swp_entry_t slot = one_out();

	fork_child();
	assert_int_equal(tags.outs, 1);
	assert_int_equal(get64(1), 101);
	assert_int_equal(tag_in(as, 1), 1001);
	/* the child names it still */
	assert_int_equal(tags.kept[swp_offset(slot)], 1001);
	assert_int_equal(vm_munmap(as, at(1), PAGE_SIZE), 0);
	assert_int_equal(nr_kept(), 1);
	child_put64(1, 9);
	assert_int_equal(tag_in(as_child, 1), 1001);
	assert_int_equal(nr_kept(), 0);
	assert_int_equal(tags.frees, 1);
	child_ends();
	down();
}

static void test_tags_of_what_is_dropped(void **state)
{
	up(0);
	map_anon(0, 8);
	fill(0, 8);
	for (unsigned long i = 0; i < 8; i++)
		assert_true(evict(i));
	assert_int_equal(nr_kept(), 8);
	assert_int_equal(vm_madvise(as, at(0), 3 << PAGE_SHIFT, MADV_DONTNEED), 0);
	assert_int_equal(nr_kept(), 5);
	fork_child();
	assert_int_equal(vm_munmap(as, at(3), 5 << PAGE_SHIFT), 0);
	assert_int_equal(nr_kept(), 5);
	child_ends();
	assert_int_equal(nr_kept(), 0);
	assert_int_equal(tags.frees, 8);
	assert_int_equal(tags.ins, 0);
	down();
}

static void test_tags_of_large_folios(void **state)
{
	up(0);
	map_anon(0, 4 * NR);
	WRITE_ONCE(as->folio_orders, 1 | 1 << ORDER);
	fill(NR, NR);
	assert_true(evict(NR));
	assert_int_equal(tags.outs, NR);
	assert_int_equal(get64(NR + 1), 101 + NR);
	assert_int_equal(folio_order(folio_at(NR)), ORDER);
	assert_int_equal(tags.ins, NR);
	for (unsigned long i = NR; i < 2 * NR; i++)
		assert_int_equal(tag_in(as, i), 1000 + i);
	put64(NR, 1);
	/* one that does not go: the others come back, and it has its own */
	tags.outs = 0;
	tags.refuse = 3;
	assert_false(evict(NR));
	tags.refuse = 0;
	for (unsigned long i = NR; i < 2 * NR; i++) {
		put64(i, i);
		assert_int_equal(tag_in(as, i), 1000 + i);
	}
	assert_int_equal(vm_munmap(as, at(0), 4 * NR << PAGE_SHIFT), 0);
	assert_int_equal(nr_kept(), 0);
	down();
}

COVERS("S2.21 S2.26");
static void test_tags_at_swapoff(void **state)
{
	up(0);
	map_anon(0, 8);
	fill(0, 8);
	for (unsigned long i = 0; i < 8; i++)
		assert_true(evict(i));
	assert_int_equal(get64(3), 103);
	fork_child();
	assert_int_equal(swapoff(dev.type), 0);
	assert_int_equal(nr_kept(), 0);
	assert_int_equal(tags.frees, 8);
	for (unsigned long i = 0; i < 8; i++) {
		assert_int_equal(tag_in(as, i), 1000 + i);
		assert_int_equal(tag_in(as_child, i), 1000 + i);
	}
	child_ends();
	dev_on(0);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tags_come_back),	 TEST(test_tags_of_what_stays_cached),
		TEST(test_tags_of_a_family),	 TEST(test_tags_of_what_is_dropped),
		TEST(test_tags_of_large_folios), TEST(test_tags_at_swapoff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
