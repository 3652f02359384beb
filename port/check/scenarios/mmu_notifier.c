/* SPDX-License-Identifier: MIT */
/*
 * mmu_notifier.c - mirrors against invalidations, and who comes and goes meanwhile: mm/table/mmu_notifier.c, the
 * shipped code.
 *
 * What an entry leads to is read plainly by who has the entry in his mirror, and written plainly by the invalidator
 * when the invalidation is over.
 */
#include <octavo/mmu_notifier.h>
#include <octavo/slab.h>
#include <octavo/state.h>

#include "check.h"

static SHARED struct {
	struct mm_struct mm;
	struct mm_cpu cpu[CHECK_MAX_THREADS];
	u64 entry;    /* atomic: what the mirror mirrors */
	u64 contents; /* plain: what it leads to */
	struct mmu_interval_notifier mni;
	spinlock_t lock; /* the mirror's */
	u64 copy;
	struct mmu_notifier mn;
	u64 alive;   /* plain: read by callbacks, written when there are none */
	u32 told[2]; /* atomic: s.mn, of an invalidation that begins at 0, or at another address */
	u32 inside;  /* atomic: between start and end */
} s;

static void drop(struct mm_struct *mm)
{
	CHECK(fetch_sub_relaxed(&mm->count, 1u) > 1);
}

static void setup(void)
{
	s.mm.cpu = s.cpu;
	s.mm.users = 1;
	s.mm.count = 1;
	s.entry = 1;
	octavo_state.space.mm_drop = drop;
	/* a small piece for the subscriptions is at hand */
	for (unsigned int cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++) {
		check_set_cpu(cpu);
		kfree(kzalloc(128, GFP_KERNEL));
	}
	check_set_cpu(0);
}

static bool mirror_invalidate(struct mmu_interval_notifier *mni,
			      const struct mmu_notifier_range *range, unsigned long seq)
{
	spin_lock(&s.lock);
	mmu_interval_set_seq(mni, seq);
	s.copy = 0;
	spin_unlock(&s.lock);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = { .invalidate = mirror_invalidate };

static void insert(void)
{
	CHECK(!mmu_interval_notifier_insert(&s.mni, &s.mm, PAGE_SIZE, PAGE_SIZE, &mirror_ops));
}

static void setup_mirror(void)
{
	setup();
	insert();
}

/* The entry goes, and what it led to is used for something else. */
static void invalidator(void)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, &s.mm, 0, 3 * PAGE_SIZE);
	CHECK(!mmu_notifier_invalidate_range_start(&range));
	WRITE_ONCE(s.entry, (u64)0);
	mmu_notifier_invalidate_range_end(&range);
	s.contents++;
}

/* Another one, of something else in the same pages. */
static void other_invalidator(void)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, &s.mm, PAGE_SIZE, 2 * PAGE_SIZE);
	CHECK(!mmu_notifier_invalidate_range_start(&range));
	mmu_notifier_invalidate_range_end(&range);
}

static void mirror(void)
{
	for (;;) {
		unsigned long seq = mmu_interval_read_begin(&s.mni);
		u64 entry = READ_ONCE(s.entry);

		spin_lock(&s.lock);
		if (!mmu_interval_read_retry(&s.mni, seq)) {
			s.copy = entry;
			break;
		}
		spin_unlock(&s.lock);
	}
	spin_unlock(&s.lock);
	/* the device uses it, now or later */
	spin_lock(&s.lock);
	if (s.copy)
		CHECK(s.contents == 0);
	spin_unlock(&s.lock);
}

static void no_stale_copy(void)
{
	CHECK(!s.copy);
	mmu_interval_notifier_remove(&s.mni);
	mmu_notifier_subscriptions_destroy(&s.mm);
	CHECK(s.mm.count == 1);
}

#define MACHINE .frames = 32, .flags = SC_SYMMETRIC

SCENARIO(notifier_mirror) = { SCENARIO_NAME(notifier_mirror),
			      MACHINE,
			      .about = "a mirror fills while two invalidations run",
			      .rows = "S2.36",
			      .setup = setup_mirror,
			      .threads = { invalidator, mirror, other_invalidator },
			      .roles = { "invalidator", "mirror", "other" },
			      .finish = no_stale_copy };

/* ---- the first one to register, while an invalidation runs that nobody is told of ---- */

static void first_mirror(void)
{
	insert();
	mirror();
}

SCENARIO(notifier_first) = { SCENARIO_NAME(notifier_first),
			     MACHINE,
			     .about = "the first notifier comes while an entry goes",
			     .setup = setup,
			     .threads = { invalidator, first_mirror },
			     .roles = { "invalidator", "mirror" },
			     .finish = no_stale_copy };

/*
 * Two pairs on one CPU: the second may be told of, and a count that was taken back must wake who waits. That alone
 * is the subject: the mirror is not filled.
 */
static void invalidates_twice(void)
{
	other_invalidator();
	invalidator();
}

static void first_comes(void)
{
	insert();
}

SCENARIO(notifier_first_wakes) = { SCENARIO_NAME(notifier_first_wakes),
				   MACHINE,
				   .about = "the first notifier waits for two CPUs' invalidations",
				   .setup = setup,
				   .threads = { invalidates_twice, first_comes, other_invalidator },
				   .roles = { "twice", "first", "other" },
				   .finish = no_stale_copy };

/* ---- callbacks, and the end of them ---- */

static int hear_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	CHECK(s.alive);
	WRITE_ONCE(s.told[range->start != 0], 1u);
	return 0;
}

static void hear_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	CHECK(s.alive);
	/* no end without its beginning */
	CHECK(READ_ONCE(s.told[range->start != 0]) == 1);
	WRITE_ONCE(s.told[range->start != 0], 2u);
}

static bool hear_young(struct mmu_notifier *mn, struct mm_struct *mm, unsigned long start,
		       unsigned long end)
{
	CHECK(s.alive);
	return true;
}

static void hear_free(struct mmu_notifier *mn)
{
	s.alive = 0;
}

static const struct mmu_notifier_ops ops = {
	.invalidate_range_start = hear_start,
	.invalidate_range_end = hear_end,
	.clear_young = hear_young,
	.free_notifier = hear_free,
};

static void register_it(void)
{
	s.alive = 1;
	s.mn.ops = &ops;
	CHECK(!mmu_notifier_register(&s.mn, &s.mm));
}

static void setup_listener(void)
{
	setup();
	register_it();
}

static void unregisters(void)
{
	mmu_notifier_unregister(&s.mn, &s.mm);
	s.alive = 0;
}

static void put_it(void)
{
	mmu_notifier_put(&s.mn);
}

static void asks_young(void)
{
	__mmu_notifier_clear_young(&s.mm, 0, PAGE_SIZE);
}

static void nobody_left(void)
{
	rcu_barrier();
	CHECK(!s.alive);
	mmu_notifier_subscriptions_destroy(&s.mm);
	CHECK(s.mm.count == 1);
}

SCENARIO(notifier_unregister) = { SCENARIO_NAME(notifier_unregister),
				  MACHINE,
				  .about = "a notifier leaves while it is called, twice",
				  .setup = setup_listener,
				  .threads = { other_invalidator, unregisters, asks_young },
				  .roles = { "invalidator", "leaver", "asker" },
				  .finish = nobody_left };

SCENARIO(notifier_put) = { SCENARIO_NAME(notifier_put),
			   MACHINE,
			   .about = "a notifier is put while it is called, and freed later",
			   .setup = setup_listener,
			   .threads = { other_invalidator, put_it, asks_young },
			   .roles = { "invalidator", "leaver", "asker" },
			   .finish = nobody_left };

/* A second one comes in the middle of a pair: not told of that one's end, and afterwards of everything. */
static void invalidates_slowly(void)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, &s.mm, 0, PAGE_SIZE);
	CHECK(!mmu_notifier_invalidate_range_start(&range));
	/* release: pairs with the acquire in joins() */
	smp_store_release(&s.inside, 1u);
	WRITE_ONCE(s.inside, 0u);
	mmu_notifier_invalidate_range_end(&range);
}

static void joins(void)
{
	register_it();
	/* what is under way now began after it was there */
	if (smp_load_acquire(&s.inside))
		CHECK(READ_ONCE(s.told[0]) != 0);
}

static void one_left(void)
{
	CHECK(s.told[0] != 1 && s.told[1] != 1);
	mmu_notifier_unregister(&s.mn, &s.mm);
	mmu_interval_notifier_remove(&s.mni);
	mmu_notifier_subscriptions_destroy(&s.mm);
}

SCENARIO(notifier_join) = { SCENARIO_NAME(notifier_join),
			    MACHINE,
			    .about = "a notifier comes while invalidations run",
			    .setup = setup_mirror,
			    .threads = { invalidates_slowly, joins, other_invalidator },
			    .roles = { "invalidator", "joiner", "other" },
			    .finish = one_left };
