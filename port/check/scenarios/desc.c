/* SPDX-License-Identifier: MIT */
/*
 * desc.c - the smaller descriptors: managed memory, movable memory, page tables freed under
 * walkers.
 */
#include <octavo/octavo.h>

#include "check.h"

static SHARED struct {
	struct mgdesc *mg;
	struct movable *mv, *first[2];
	struct ptdesc *pt;
	unsigned long pfn, other;
	u64 contents;
	int freed;
	u32 isolated;
	u64 *table;
	struct page_snapshot ps[4];
} s;

/* ---- managed memory ---- */

static void setup_managed(void)
{
	s.mg = mgdesc_alloc(GFP_KERNEL, 0);
	CHECK(s.mg);
	s.pfn = mgdesc_pfn(s.mg);
}

static void walk(void)
{
	struct page *page = pfn_to_page(s.pfn);

	if (!try_get_page(page))
		return;
	(void)*(volatile u64 *)&s.contents;
	CHECK(page_count(page) >= 1);
	put_page(page);
}

/* Then somebody has the frame who writes there. */
static void managed_owner(void)
{
	long pfn;

	mgdesc_put(s.mg);
	pfn = frame_alloc(GFP_NOWAIT, 0, NUMA_NO_NODE);
	if (pfn < 0)
		return;
	if ((unsigned long)pfn == s.pfn)
		s.contents = 1;
	frame_free((unsigned long)pfn, 0);
}

/* Another frame, for another life of the descriptor: put back last, handed out first. */
static void take_other(void)
{
	long pfn = frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE);

	CHECK(pfn >= 0);
	s.other = (unsigned long)pfn;
}

static void setup_managed_other(void)
{
	/* the owner's, who gets it again */
	check_set_cpu(1);
	setup_managed();
	take_other();
}

static void managed_owner_again(void)
{
	struct mgdesc *mg;

	mgdesc_put(s.mg);
	frame_free(s.other, 0);
	mg = mgdesc_alloc(GFP_NOWAIT, 0);
	if (mg)
		mgdesc_put(mg);
}

#define DESC .frames = 16, .flags = SC_LEAKS | SC_SYMMETRIC | SC_VALIDATE
SCENARIO(managed_put_walk) = { SCENARIO_NAME(managed_put_walk),
			       DESC,
			       .about = "last put of managed memory against two walkers",
			       .setup = setup_managed,
			       .threads = { walk, managed_owner, walk },
			       .roles = { "walker", "owner", "walker" } };
SCENARIO(managed_reuse_walk) = { SCENARIO_NAME(managed_reuse_walk),
				 DESC,
				 .about = "managed memory is freed and allocated under two walkers",
				 .setup = setup_managed_other,
				 .threads = { walk, managed_owner_again, walk },
				 .roles = { "walker", "owner", "walker" } };

/* ---- movable memory: the owner frees, two want to migrate ---- */

static int no_migrate(struct movable *dst, struct movable *src)
{
	(void)dst;
	(void)src;
	return -EAGAIN;
}

static const struct movable_operations ops = { .migrate = no_migrate };

static void setup_movable(void)
{
	s.mv = movable_alloc(GFP_KERNEL, 0, &ops, NULL);
	CHECK(s.mv);
	s.pfn = movable_pfn(s.mv);
}

static void setup_movable_other(void)
{
	long pfn;

	/* the owner's, who gets it again */
	check_set_cpu(1);
	setup_movable();
	/* of the group that movable memory comes from */
	pfn = frame_alloc(GFP_KERNEL | __GFP_MOVABLE, 0, NUMA_NO_NODE);
	CHECK(pfn >= 0);
	s.other = (unsigned long)pfn;
}

static void isolator(void)
{
	struct movable *mv = isolate_movable_page(pfn_to_page(s.pfn));

	if (!mv)
		return;
	CHECK(movable_pfn(mv) == s.pfn);
	/* it is ours alone */
	s.contents++;
	putback_movable_page(mv);
}

static void movable_owner(void)
{
	s.freed = movable_free(s.mv) == 0;
}

static void movable_owner_again(void)
{
	struct movable *mv;

	s.freed = movable_free(s.mv) == 0;
	frame_free(s.other, 0);
	if (!s.freed)
		return;
	mv = movable_alloc(GFP_NOWAIT, 0, &ops, NULL);
	while (mv && movable_free(mv))
		octavo_port_relax();
}

static void movable_done(void)
{
	if (!s.freed)
		CHECK(movable_free(s.mv) == 0);
}

SCENARIO(movable_isolate) = { SCENARIO_NAME(movable_isolate),
			      DESC,
			      .about = "isolation by two against the owner's free",
			      .rows = "S3.15",
			      .setup = setup_movable,
			      .threads = { isolator, movable_owner, isolator },
			      .roles = { "isolates", "owner", "isolates" },
			      .finish = movable_done };
SCENARIO(movable_reuse) = { SCENARIO_NAME(movable_reuse),
			    DESC,
			    .about = "isolation against a free and another life of the descriptor",
			    .rows = "S3.15",
			    .setup = setup_movable_other,
			    .threads = { isolator, movable_owner_again, isolator },
			    .roles = { "isolates", "owner", "isolates" },
			    .finish = movable_done };

/* ---- the first use of a cache ---- */

/* There is memory, so it is had, by who may not wait for anybody as well. */
static void first_movable(void)
{
	s.first[check_thread()] = movable_alloc(GFP_NOWAIT, 0, &ops, NULL);
	CHECK(s.first[check_thread()]);
}

static void first_done(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(s.first); i++)
		if (s.first[i])
			CHECK(movable_free(s.first[i]) == 0);
}

static bool one_is_enough(struct kmem_cache *cache, void *arg)
{
	return false;
}

static void list_caches(void)
{
	kmem_cache_for_each(one_is_enough, NULL);
}

#define FIRST .frames = 16, .stale = -1, .stale_below = 1, .finish = first_done
SCENARIO(movable_first) = { SCENARIO_NAME(movable_first), FIRST, .flags = SC_LEAKS | SC_SYMMETRIC,
			    .about = "the first two of a kind at once",
			    .threads = { first_movable, first_movable } };
SCENARIO(movable_first_listed) = {
	SCENARIO_NAME(movable_first_listed), FIRST, .flags = SC_LEAKS,
	.about = "the first of a kind while somebody looks at all caches",
	.threads = { first_movable, list_caches }
};

static void movable_walker(void)
{
	struct page_snapshot *ps = &s.ps[check_thread()];

	CHECK(snapshot_page(ps, s.pfn) == 0);
	if (ps->type == MEMDESC_MOVABLE && ps->exact)
		CHECK(ps->first_pfn == s.pfn && ps->order == 0);
}

SCENARIO(movable_walk) = { SCENARIO_NAME(movable_walk),
			   DESC,
			   .about = "a PFN walker against two lives of movable memory",
			   .rows = "S3.14",
			   .setup = setup_movable_other,
			   .threads = { movable_walker, movable_owner_again, movable_walker },
			   .roles = { "walker", "owner", "walker" },
			   .finish = movable_done };

/*
 * Two frames are one life of a descriptor, a third is the next, the two again the one after that:
 * who looks at a frame is told of a life that has it, or nothing.
 */
static void setup_movable_pair(void)
{
	long pfn;

	/* the owner's: what it frees it gets again */
	check_set_cpu(1);
	s.mv = movable_alloc(GFP_KERNEL, 1, &ops, NULL);
	CHECK(s.mv);
	s.pfn = movable_pfn(s.mv);
	pfn = frame_alloc(GFP_KERNEL | __GFP_MOVABLE, 0, NUMA_NO_NODE);
	CHECK(pfn >= 0);
	s.other = (unsigned long)pfn;
}

static void owner_moves_on(void)
{
	struct movable *mv;

	s.freed = movable_free(s.mv) == 0;
	CHECK(s.freed);
	frame_free(s.other, 0);
	mv = movable_alloc(GFP_NOWAIT, 0, &ops, NULL);
	if (!mv)
		return;
	CHECK(mv == s.mv && movable_pfn(mv) == s.other);
	CHECK(movable_free(mv) == 0);
	/* the same word as at first, in the same place */
	mv = movable_alloc_at(s.pfn, 1, GFP_NOWAIT, &ops, NULL, 0);
	if (!mv)
		return;
	CHECK(mv == s.mv);
	CHECK(movable_free(mv) == 0);
}

static void look(unsigned long pfn)
{
	struct page_snapshot *ps = &s.ps[check_thread()];

	CHECK(snapshot_page(ps, pfn) == 0);
	if (ps->type != MEMDESC_MOVABLE || !ps->exact)
		return;
	if (pfn == s.pfn + 1 || ps->order)
		CHECK(ps->first_pfn == s.pfn && ps->order == 1);
	else
		CHECK(ps->first_pfn == pfn);
}

static void look_at_second(void)
{
	look(s.pfn + 1);
}

static void look_at_other(void)
{
	look(s.other);
}

SCENARIO(movable_snapshot) = {
	SCENARIO_NAME(movable_snapshot),
	DESC,
	.about = "PFN walkers of three lives of one descriptor, of other frames and another order",
	.rows = "S3.14",
	.setup = setup_movable_pair,
	.threads = { look_at_second, owner_moves_on, look_at_other },
	.roles = { "walker of the first", "owner", "walker of the second" }
};

/* ---- page tables: freed a grace period after they were unlinked ---- */

static void setup_table(void)
{
	s.pt = pagetable_alloc(GFP_KERNEL, 0);
	CHECK(s.pt);
	s.table = ptdesc_address(s.pt);
}

static void table_walker(void)
{
	u64 *table;

	rcu_read_lock();
	/* acquire: pairs with whoever linked the table */
	table = smp_load_acquire(&s.table);
	if (table)
		CHECK(READ_ONCE(table[1]) == 0);
	rcu_read_unlock();
}

static void table_owner(void)
{
	struct page *page;

	WRITE_ONCE(s.table, NULL);
	pagetable_free_rcu(s.pt);
	rcu_barrier();
	/* the frame is somebody else's */
	page = alloc_pages(GFP_NOWAIT, 0);
	if (page) {
		((u64 *)page_address(page))[1] = 1;
		__free_pages(page, 0);
	}
}

SCENARIO(ptdesc_free_walk) = {
	SCENARIO_NAME(ptdesc_free_walk),
	DESC,
	.about = "a page table is freed and reused under two lockless walkers",
	.rows = "S3.27",
	.setup = setup_table,
	.threads = { table_walker, table_owner, table_walker },
	.roles = { "walker", "owner", "walker" }
};
