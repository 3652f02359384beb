/* SPDX-License-Identifier: MIT */
/*
 * folio.c - folios against walkers that hold nothing: put, reuse, freeze, split, merge; pins
 * against an unmapper; the lock.
 */
#include <octavo/octavo.h>

#include "check.h"

static SHARED struct {
	struct folio *folio, *second;
	unsigned long pfn, other;
	u64 pte, exclusive;
	u32 got[4], shared;
	u64 data;
	u64 contents[64];
	struct page_snapshot ps[4];
} s;

static struct page *page(unsigned long i)
{
	return pfn_to_page(s.pfn + i);
}

static void setup_order(unsigned int order)
{
	s.folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
	CHECK(s.folio);
	s.pfn = folio_pfn(s.folio);
}

static void setup_0(void)
{
	setup_order(0);
}

static void setup_1(void)
{
	setup_order(1);
	folio_lock(s.folio);
}

/* Whoever has a reference on what a page is in may say that it is in it, and use it. */
static void walk(unsigned long i)
{
	struct folio *folio = page_try_get_folio(page(i));

	if (!folio)
		return;
	CHECK(folio_contains(folio, s.pfn + i));
	CHECK(page_folio(page(i)) == folio);
	CHECK(folio_ref_count(folio) >= 1);
	(void)*(volatile u64 *)&s.contents[i];
	folio_put(folio);
}

static void walk_0(void)
{
	walk(0);
}

static void walk_1(void)
{
	walk(1);
}

static void owner_puts(void)
{
	folio_put(s.folio);
}

/* ---- try_get against put and reuse ---- */

#define WALKED .frames = 16, .flags = SC_LEAKS | SC_SYMMETRIC | SC_VALIDATE
SCENARIO(folio_put_walk) = {
	SCENARIO_NAME(folio_put_walk),
	WALKED,
	.about = "last put against two walkers: one frees, nobody uses it after",
	.rows = "S3.10 S3.25",
	.setup = setup_0,
	.threads = { walk_0, owner_puts, walk_0 },
	.roles = { "walker", "owner", "walker" }
};

/* Two that go together: their frames and descriptors are handed over by the batch. */
static void setup_pair(void)
{
	setup_0();
	s.second = folio_alloc(GFP_KERNEL, 0, FOLIO_FILE);
	CHECK(s.second);
	s.other = folio_pfn(s.second);
}

static void owner_puts_two(void)
{
	struct folio *both[] = { s.folio, s.second };

	folios_put_refs(both, NULL, 2);
}

static void walk_second(void)
{
	struct folio *folio = page_try_get_folio(pfn_to_page(s.other));

	if (!folio)
		return;
	CHECK(folio_contains(folio, s.other));
	(void)*(volatile u64 *)&s.contents[1];
	folio_put(folio);
}

/* What comes next to the frames writes to them: whoever had a reference must be done. */
static void walk_and_take(void)
{
	long pfn;

	walk_0();
	pfn = frame_alloc(GFP_NOWAIT, 0, NUMA_NO_NODE);
	if (pfn < 0)
		return;
	CHECK(memdesc_type(page_memdesc(pfn_to_page((unsigned long)pfn))) == MEMDESC_FREE);
	if ((unsigned long)pfn == s.pfn || (unsigned long)pfn == s.other)
		s.contents[(unsigned long)pfn == s.other] = 1;
	frame_free((unsigned long)pfn, 0);
}

SCENARIO(folio_puts_walk) = {
	SCENARIO_NAME(folio_puts_walk),
	.frames = 16,
	.flags = SC_LEAKS | SC_VALIDATE,
	.about = "last puts of two in one call against a walker of each, one of whom gets a frame",
	.rows = "S3.10 S3.25",
	.setup = setup_pair,
	.threads = { walk_and_take, owner_puts_two, walk_second },
	.roles = { "walker, taker", "owner", "walker" }
};

/*
 * The descriptor comes back as another folio's, of another frame: one that was put back after the
 * folio's own, and so is handed out first.
 */
static void setup_other(void)
{
	long pfn;

	/* the owner's, who gets it again */
	check_set_cpu(1);
	setup_0();
	pfn = frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE);
	CHECK(pfn >= 0);
	s.other = (unsigned long)pfn;
}

static void owner_reuses(void)
{
	struct folio *folio;

	folio_put(s.folio);
	frame_free(s.other, 0);
	folio = folio_alloc(GFP_NOWAIT, 0, FOLIO_FILE);
	if (!folio)
		return;
	folio->index = 1;
	folio_put(folio);
}

SCENARIO(folio_reuse_walk) = {
	SCENARIO_NAME(folio_reuse_walk),
	WALKED,
	.about = "a folio is freed and its descriptor lives again, two walkers",
	.rows = "S3.10 S3.25",
	.setup = setup_other,
	.threads = { walk_0, owner_reuses, walk_0 },
	.roles = { "walker", "owner", "walker" }
};

/* ---- publication ---- */

static void setup_none(void)
{
	struct folio *folio;

	/* left in the magazine of the CPU of the owner, who gets it again */
	check_set_cpu(1);
	folio = folio_alloc(GFP_KERNEL, 1, FOLIO_ANON);
	CHECK(folio);
	s.pfn = folio_pfn(folio);
	folio_put(folio);
}

static void owner_publishes(void)
{
	struct folio *folio = folio_alloc(GFP_NOWAIT, 1, FOLIO_FILE);

	if (!folio)
		return;
	CHECK(folio_pfn(folio) == s.pfn);
	s.contents[0] = 1;
	folio_put(folio);
}

static void snapshot(unsigned long i)
{
	struct page_snapshot *ps = &s.ps[check_thread()];

	CHECK(snapshot_page(ps, s.pfn + i) == 0);
	if (!ps->exact || (ps->type != MEMDESC_FILE && ps->type != MEMDESC_ANON))
		return;
	CHECK(ps->first_pfn == s.pfn && ps->order == 1);
}

static void snapshot_0(void)
{
	snapshot(0);
}

/* A folio that one has a reference on is whole: all its pages' words name it. */
static void walk_whole(void)
{
	struct folio *folio = page_try_get_folio(page(0));

	if (!folio)
		return;
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		CHECK(memdesc_ptr(page_memdesc_relaxed(folio_page(folio, i))) == folio);
	folio_put(folio);
}

SCENARIO(folio_publish_walk) = {
	SCENARIO_NAME(folio_publish_walk),
	WALKED,
	.about = "a folio of two pages is published and freed under two PFN walkers",
	.rows = "S3.14 S3.16 S3.25",
	.setup = setup_none,
	.threads = { snapshot_0, owner_publishes, walk_whole },
	.roles = { "snapshot", "owner", "walker" }
};

/* ---- freezing ---- */

static void owner_freezes(void)
{
	if (!folio_ref_freeze(s.folio, 1))
		return;
	/* nobody else can have it now */
	s.contents[0] = 1;
	folio_ref_unfreeze(s.folio, 1);
}

static void put_the_folio(void)
{
	CHECK(folio_ref_count(s.folio) == 1);
	folio_put(s.folio);
}

SCENARIO(folio_freeze_walk) = { SCENARIO_NAME(folio_freeze_walk),
				WALKED,
				.about = "freeze and unfreeze against two that try to get",
				.rows = "SX.5",
				.setup = setup_0,
				.threads = { walk_0, owner_freezes, walk_0 },
				.roles = { "walker", "owner", "walker" },
				.finish = put_the_folio };

/* ---- split and merge ---- */

static void owner_splits(void)
{
	s.got[0] = folio_split(s.folio, 0, 0, GFP_NOWAIT) == 0;
}

static void put_piece(unsigned long i, unsigned int order)
{
	struct folio *folio = page_folio(page(i));

	CHECK(folio && folio_pfn(folio) == s.pfn + i && folio_order(folio) == order);
	CHECK(folio_ref_count(folio) == 1);
	folio_unlock(folio);
	folio_put(folio);
}

static void put_all_pieces(void)
{
	if (!s.got[0]) {
		CHECK(page_folio(page(0)) == page_folio(page(1)));
		put_piece(0, 1);
	} else {
		put_piece(0, 0);
		put_piece(1, 0);
	}
}

SCENARIO(folio_split_walk) = { SCENARIO_NAME(folio_split_walk),
			       WALKED,
			       .about = "split of two pages against walkers of both",
			       .rows = "SX.5 S3.9",
			       .setup = setup_1,
			       .threads = { walk_0, owner_splits, walk_1 },
			       .roles = { "walker of 0", "splitter", "walker of 1" },
			       .finish = put_all_pieces };

static void setup_two(void)
{
	struct folio *folio;

	setup_1();
	CHECK(folio_split(s.folio, 0, 0, GFP_KERNEL) == 0);
	for (unsigned long i = 0; i < 2; i++) {
		folio = page_folio(page(i));
		CHECK(folio && folio_test_locked(folio));
	}
}

static void owner_merges(void)
{
	int err;

	s.got[0] = folio_merge(s.folio, 1, GFP_NOWAIT, &err) == NULL;
	CHECK(!s.got[0] || err == -EBUSY || err == -ENOMEM);
}

SCENARIO(folio_merge_walk) = { SCENARIO_NAME(folio_merge_walk),
			       WALKED,
			       .about = "merge of two pages against walkers of both",
			       .rows = "SX.5",
			       .setup = setup_two,
			       .threads = { walk_0, owner_merges, walk_1 },
			       .roles = { "walker of 0", "merger", "walker of 1" },
			       .finish = put_all_pieces };

/* ---- pins: GUP-fast's steps 3 to 7 on the shipped functions, against an unmapper ---- */

static void setup_pin(unsigned int order)
{
	setup_order(order);
	s.pte = 1;
	s.exclusive = 1;
}

static void setup_pin_0(void)
{
	setup_pin(0);
}

static void setup_pin_1(void)
{
	setup_pin(1);
}

static void gup_pin(void)
{
	u64 pte = READ_ONCE(s.pte);

	if (!pte)
		return;
	rcu_read_lock();
	if (folio_try_pin(s.folio, 1)) {
		/* seq_cst: pairs with the unmapper's clearing of the entry */
		if (smp_load_seq_cst(&s.pte) == pte && READ_ONCE(s.exclusive))
			s.got[check_thread()] = 1;
		else
			folio_unpin(s.folio, 1);
	}
	rcu_read_unlock();
}

static void unmapper(void)
{
	/* seq_cst: pairs with the second look of who pins */
	xchg_seq_cst(&s.pte, 0ul);
	if (!folio_maybe_dma_pinned(s.folio)) {
		WRITE_ONCE(s.exclusive, 0ul);
		s.shared = 1;
	}
	/* release: who sees the entry again sees that it is not exclusive */
	smp_store_release(&s.pte, 1ul);
}

static void pin_done(void)
{
	CHECK(!(s.shared && (s.got[0] || s.got[2])));
	for (u32 i = 0; i < 4; i++)
		if (s.got[i])
			folio_unpin(s.folio, 1);
	folio_put(s.folio);
}

#define PINNED                                                                                     \
	.frames = 16, .flags = SC_LEAKS | SC_SYMMETRIC, .threads = { gup_pin, unmapper, gup_pin }, \
	.roles = { "gup", "unmap", "gup" }, .finish = pin_done, .rows = "SX.7 S2.29"
SCENARIO(folio_pin_small) = { SCENARIO_NAME(folio_pin_small), PINNED,
			      .about = "pins of a small folio against an unmapper",
			      .setup = setup_pin_0 };
SCENARIO(folio_pin_large) = { SCENARIO_NAME(folio_pin_large), PINNED,
			      .about = "pins of a large folio against an unmapper",
			      .setup = setup_pin_1 };

/* ---- the lock ---- */

static void lock_it(void)
{
	folio_lock(s.folio);
	s.data++;
	folio_unlock(s.folio);
}

static void lock_done(void)
{
	CHECK(s.data == 3 && !folio_test_locked(s.folio));
	folio_put(s.folio);
}

SCENARIO(folio_lock) = { SCENARIO_NAME(folio_lock),
			 .about = "three want the lock",
			 .frames = 16,
			 .flags = SC_SYMMETRIC | SC_LEAKS,
			 .setup = setup_0,
			 .threads = { lock_it, lock_it, lock_it },
			 .finish = lock_done };

/* Straight to the part that sleeps: more turns than a scenario has stores. */
static void lock_held(void)
{
	setup_0();
	folio_lock(s.folio);
	s.data = 1;
}

/* and takes it once more before the others: both are asleep when it is free in the end */
static void unlocks(void)
{
	folio_unlock(s.folio);
	lock_it();
}

static void park_done(void)
{
	CHECK(s.data == 4 && !folio_test_locked(s.folio));
	folio_put(s.folio);
}

SCENARIO(folio_lock_park) = { SCENARIO_NAME(folio_lock_park),
			      .about = "two wait, and sleep, for a lock that a third holds",
			      .frames = 16,
			      .flags = SC_SYMMETRIC | SC_LEAKS,
			      .setup = lock_held,
			      .threads = { lock_it, unlocks, lock_it },
			      .roles = { "waits", "unlocks", "waits" },
			      .finish = park_done };
