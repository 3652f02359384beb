/* SPDX-License-Identifier: MIT */
/*
 * plain.c - the inline count of plain pages, split_page(), setters of an owner, saturation.
 */
#include <octavo/octavo.h>

#include "check.h"

static SHARED struct {
	struct page *page;
	unsigned long pfn;
	u64 contents[16];
	int split;
	u32 kept[4];
} s;

static void setup_order(unsigned int order)
{
	s.page = alloc_pages(GFP_KERNEL, order);
	CHECK(s.page);
	s.pfn = page_to_pfn(s.page);
}

static void setup_0(void)
{
	setup_order(0);
}

static void setup_1(void)
{
	setup_order(1);
}

static void walk(unsigned long i)
{
	struct page *page = s.page + i;
	memdesc_t md;

	if (!try_get_page(page))
		return;
	/* first: the get alone must order it */
	(void)*(volatile u64 *)&s.contents[i];
	/* a reference keeps the page what it is: plain, and of an allocation with a count */
	md = page_memdesc(compound_head(page));
	CHECK(memdesc_is_misc(md) && memdesc_count(md));
	put_page(page);
}

static void walk_0(void)
{
	walk(0);
}

static void walk_1(void)
{
	walk(1);
}

#define PLAIN .frames = 16, .flags = SC_LEAKS | SC_SYMMETRIC | SC_VALIDATE, .rows = "S3.7 S3.19"

/* Then somebody has the frame who writes there. */
static void owner_frees(void)
{
	long pfn;

	__free_pages(s.page, 0);
	pfn = frame_alloc(GFP_NOWAIT, 0, NUMA_NO_NODE);
	if (pfn < 0)
		return;
	if ((unsigned long)pfn == s.pfn)
		s.contents[0] = 1;
	frame_free((unsigned long)pfn, 0);
}

SCENARIO(plain_put_walk) = { SCENARIO_NAME(plain_put_walk),
			     PLAIN,
			     .about = "last put of a plain page against two walkers",
			     .setup = setup_0,
			     .threads = { walk_0, owner_frees, walk_0 },
			     .roles = { "walker", "owner", "walker" } };

/*
 * Freed as one of two, had as bare frames by somebody who writes there, then the first of them is
 * plain again, alone. Not by way of the allocator, which would take a hundred operations to give
 * back the same.
 */
static void owner_reuses(void)
{
	struct page *page;
	long pfn;

	__free_pages(s.page, 1);
	pfn = frame_alloc(GFP_NOWAIT, 1, NUMA_NO_NODE);
	if (pfn < 0)
		return;
	if ((unsigned long)pfn == s.pfn)
		s.contents[0] = s.contents[1] = 1;
	frame_free((unsigned long)pfn + 1, 0);
	frame_free((unsigned long)pfn, 0);
	page = alloc_pages(GFP_NOWAIT, 0);
	if (page)
		__free_pages(page, 0);
}

SCENARIO(plain_reuse_walk) = { SCENARIO_NAME(plain_reuse_walk),
			       PLAIN,
			       .about = "two pages are freed, one allocated, under walkers of both",
			       .setup = setup_1,
			       .threads = { walk_0, owner_reuses, walk_1 },
			       .roles = { "walker of 0", "owner", "walker of 1" } };

static void owner_splits(void)
{
	s.split = split_page(s.page, 1);
	CHECK(s.split == 0 || s.split == -EBUSY);
}

static void split_done(void)
{
	if (s.split) {
		__free_pages(s.page, 1);
		return;
	}
	__free_pages(s.page, 0);
	__free_pages(s.page + 1, 0);
}

SCENARIO(plain_split_walk) = { SCENARIO_NAME(plain_split_walk),
			       PLAIN,
			       .about = "split_page() against walkers of both pages",
			       .setup = setup_1,
			       .threads = { walk_0, owner_splits, walk_1 },
			       .roles = { "walker of 0", "splitter", "walker of 1" },
			       .finish = split_done };

static void owner_sets(void)
{
	page_set_mappable(s.page, true);
	page_set_owner_bits(s.page, 5);
}

static void sets_done(void)
{
	memdesc_t md = page_memdesc(s.page);

	CHECK(memdesc_mappable(md) && memdesc_owner_bits(md) == 5 && memdesc_count(md) == 1);
	__free_pages(s.page, 1);
}

SCENARIO(plain_set_walk) = { SCENARIO_NAME(plain_set_walk),
			     PLAIN,
			     .about = "an owner's setters lose no walker's reference",
			     .setup = setup_1,
			     .threads = { walk_0, owner_sets, walk_1 },
			     .roles = { "walker of 0", "owner", "walker of 1" },
			     .finish = sets_done };

/* ---- saturation ---- */

static void setup_full(void)
{
	unsigned long v;

	setup_order(0);
	v = page_memdesc(s.page).v & ~MISC_COUNT_MASK;
	s.page->memdesc.v = v | (unsigned long)(MISC_COUNT_SATURATED - 1) << MISC_COUNT_SHIFT;
}

static void holder_gets(void)
{
	get_page(s.page);
	put_page(s.page);
}

static void full_done(void)
{
	u32 count = memdesc_count(page_memdesc(s.page));

	/*
	 * it went over the edge and stays, or nobody crossed it at the same time as another and it
	 * came back
	 */
	CHECK(count >= MISC_COUNT_SATURATED - 1);
	CHECK(memdesc_is_misc(page_memdesc(s.page)) && !memdesc_frozen(page_memdesc(s.page)));
}

SCENARIO(plain_saturate) = { SCENARIO_NAME(plain_saturate),
			     .about = "a count at its limit sticks and never wraps",
			     .rows = "S3.19",
			     .frames = 16,
			     .flags = SC_SYMMETRIC,
			     .setup = setup_full,
			     .threads = { holder_gets, walk_0, holder_gets },
			     .roles = { "holder", "walker", "holder" },
			     .finish = full_done };
