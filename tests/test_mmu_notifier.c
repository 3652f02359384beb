/* SPDX-License-Identifier: MIT */
/*
 * test_mmu_notifier.c - who is told of what, who waits for whom, and that a mirror is never stale.
 */
#include <unistd.h>

#include <octavo/mmu_notifier.h>

#include "table_machine.h"

static struct mm_struct *mm;

static void drop(struct mm_struct *m)
{
	/* acq_rel: as any count */
	assert_true(fetch_sub_acq_rel(&m->count, 1u) > 1);
}

static void start(void)
{
	table_boot();
	octavo_state.space.mm_drop = drop;
	mm = table_mm();
}

static void end(void)
{
	rcu_barrier();
	assert_int_equal(mm->count, 1);
	mmu_notifier_subscriptions_destroy(mm);
	assert_null(mm->notifiers);
	table_mm_end(mm);
	shutdown_clean();
}

/* ---- a listener that writes down what it hears ---- */

struct listener {
	struct mmu_notifier mn;
	u32 starts, ends, releases, frees, youngs; /* atomic */
	struct mmu_notifier_range last;
	bool refuses, young, puts_itself;
};

static struct listener *listener_of(struct mmu_notifier *mn)
{
	return container_of(mn, struct listener, mn);
}

static int hear_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct listener *l = listener_of(mn);

	fetch_add_relaxed(&l->starts, 1u);
	l->last = *range;
	if (l->puts_itself)
		mmu_notifier_put(mn);
	return l->refuses ? -EAGAIN : 0;
}

static void hear_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	fetch_add_relaxed(&listener_of(mn)->ends, 1u);
}

static void hear_release(struct mmu_notifier *mn, struct mm_struct *m)
{
	assert_ptr_equal(m, mm);
	fetch_add_relaxed(&listener_of(mn)->releases, 1u);
}

static bool hear_young(struct mmu_notifier *mn, struct mm_struct *m, unsigned long from,
		       unsigned long to)
{
	assert_true(from < to);
	fetch_add_relaxed(&listener_of(mn)->youngs, 1u);
	return listener_of(mn)->young;
}

static void hear_free(struct mmu_notifier *mn)
{
	fetch_add_relaxed(&listener_of(mn)->frees, 1u);
}

static const struct mmu_notifier_ops all_ops = {
	.release = hear_release,
	.invalidate_range_start = hear_start,
	.invalidate_range_end = hear_end,
	.clear_young = hear_young,
	.free_notifier = hear_free,
};
static const struct mmu_notifier_ops no_ops;

static void listen(struct listener *l)
{
	*l = (struct listener){ .mn.ops = &all_ops };
	assert_int_equal(mmu_notifier_register(&l->mn, mm), 0);
}

static int begin(struct mmu_notifier_range *r, unsigned long from, unsigned long to)
{
	mmu_notifier_range_init(r, MMU_NOTIFY_CLEAR, mm, from, to);
	return mmu_notifier_invalidate_range_start(r);
}

static void pair(unsigned long from, unsigned long to)
{
	struct mmu_notifier_range r;

	assert_int_equal(begin(&r, from, to), 0);
	mmu_notifier_invalidate_range_end(&r);
}

/* ---- who is told ---- */

COVERS("S2.36");
static void test_mmu_notifier_hears_start_and_end(void **state)
{
	struct listener a, b;
	struct mmu_notifier deaf = { .ops = &no_ops };
	struct mmu_notifier_range r;

	start();
	pair(0, PAGES(1)); /* nobody */
	assert_null(mm->notifiers);
	listen(&a);
	assert_int_equal(mmu_notifier_register(&deaf, mm), 0);
	assert_int_equal(mm->count, 3);
	pair(PAGES(1), PAGES(3));
	assert_int_equal(a.starts, 1);
	assert_int_equal(a.ends, 1);
	listen(&b);
	r.owner = NULL;
	assert_int_equal(begin(&r, PAGES(4), PAGES(5)), 0);
	assert_int_equal(a.starts, 2);
	assert_int_equal(b.starts, 1);
	assert_int_equal(a.ends, 1);
	assert_int_equal(b.last.start, PAGES(4));
	assert_int_equal(b.last.end, PAGES(5));
	assert_int_equal(b.last.event, MMU_NOTIFY_CLEAR);
	assert_int_equal(b.last.flags, MMU_NOTIFIER_RANGE_BLOCKABLE);
	mmu_notifier_invalidate_range_end(&r);
	assert_int_equal(a.ends, 2);
	assert_int_equal(b.ends, 1);
	mmu_notifier_unregister(&a.mn, mm);
	assert_int_equal(a.releases, 1);
	pair(0, PAGES(1));
	assert_int_equal(a.starts, 2);
	assert_int_equal(b.starts, 2);
	mmu_notifier_unregister(&b.mn, mm);
	mmu_notifier_unregister(&deaf, mm);
	end();
}

/* Ends balance starts, whoever comes and goes between: not told of the start, not told of the end. */
static void test_mmu_notifier_leaving_inside_a_pair(void **state)
{
	struct listener a, b;
	struct mmu_notifier_range r;

	start();
	listen(&a);
	listen(&b);
	assert_int_equal(begin(&r, 0, PAGES(1)), 0);
	mmu_notifier_unregister(&b.mn, mm);
	mmu_notifier_invalidate_range_end(&r);
	assert_int_equal(a.ends, 1);
	assert_int_equal(b.ends, 0);
	mmu_notifier_unregister(&a.mn, mm);
	end();
}

/* One would have to sleep and may not: whoever was told before it is told of the end, and nobody else. */
static void test_mmu_notifier_refusal_is_undone(void **state)
{
	struct listener l[4];
	struct mmu_notifier_range r;

	start();
	for (unsigned int i = 0; i < 4; i++)
		listen(&l[i]);
	l[2].refuses = true;
	mmu_notifier_range_init(&r, MMU_NOTIFY_CLEAR, mm, 0, PAGES(1));
	r.flags = 0;
	assert_int_equal(mmu_notifier_invalidate_range_start(&r), -EAGAIN);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(l[i].starts, i <= 2);
		assert_int_equal(l[i].ends, i < 2);
	}
	/* nothing is under way: nobody waits */
	mmu_notifier_unregister(&l[2].mn, mm);
	listen(&l[2]);
	pair(0, PAGES(1));
	for (unsigned int i = 0; i < 4; i++)
		mmu_notifier_unregister(&l[i].mn, mm);
	end();
}

static void blockable_pair(void *arg)
{
	pair(0, PAGES(1));
}

static bool refuse(struct mmu_interval_notifier *mni, const struct mmu_notifier_range *range,
		   unsigned long seq)
{
	return false;
}
static const struct mmu_interval_notifier_ops refusing = { .invalidate = refuse };

static void test_mmu_notifier_refusing_to_sleep_where_it_may_is_fatal(void **state)
{
	struct mmu_interval_notifier mni;
	struct listener l;

	start();
	listen(&l);
	l.refuses = true;
	expect_panic(blockable_pair, NULL, "refuses");
	start();
	assert_int_equal(mmu_interval_notifier_insert(&mni, mm, 0, PAGE_SIZE, &refusing), 0);
	expect_panic(blockable_pair, NULL, "refuses");
}

static void test_mmu_notifier_young_in_any_mirror(void **state)
{
	struct listener a, b;

	start();
	assert_false(__mmu_notifier_clear_young(mm, 0, PAGES(1)));
	listen(&a);
	listen(&b);
	assert_false(__mmu_notifier_clear_young(mm, 0, PAGES(1)));
	a.young = true;
	assert_true(__mmu_notifier_clear_young(mm, 0, PAGES(1)));
	/* the second was asked although the first had said yes: it forgets too */
	assert_int_equal(b.youngs, 2);
	mmu_notifier_unregister(&a.mn, mm);
	assert_false(__mmu_notifier_clear_young(mm, 0, PAGES(1)));
	mmu_notifier_unregister(&b.mn, mm);
	end();
}

/* ---- leaving ---- */

static void test_mmu_notifier_release_is_called_once_and_last(void **state)
{
	struct listener a, b;

	start();
	mmu_notifier_release(mm);
	listen(&a);
	listen(&b);
	mmu_notifier_release(mm);
	assert_int_equal(a.releases, 1);
	assert_int_equal(b.releases, 1);
	pair(0, PAGES(1));
	assert_false(__mmu_notifier_clear_young(mm, 0, PAGES(1)));
	assert_int_equal(a.starts + a.ends + a.youngs, 0);
	mmu_notifier_release(mm);
	mmu_notifier_unregister(&a.mn, mm);
	mmu_notifier_put(&b.mn);
	assert_int_equal(a.releases, 1);
	assert_int_equal(b.releases, 1);
	end();
	assert_int_equal(b.frees, 1);
}

static void test_mmu_notifier_put_frees_after_a_grace_period(void **state)
{
	struct listener a, b;

	start();
	listen(&a);
	listen(&b);
	rcu_read_lock();
	mmu_notifier_put(&a.mn);
	assert_int_equal(a.frees, 0);
	rcu_read_unlock();
	rcu_barrier();
	assert_int_equal(a.frees, 1);
	assert_int_equal(mm->count, 2);
	/* from its own callback; it hears no more */
	b.puts_itself = true;
	pair(0, PAGES(1));
	assert_int_equal(b.starts, 1);
	assert_int_equal(b.ends, 0);
	rcu_barrier();
	assert_int_equal(b.frees, 1);
	assert_int_equal(b.releases, 0);
	end();
}

static struct listener misused;
static struct mmu_interval_notifier misused_interval;

static void unregister_misused(void *arg)
{
	mmu_notifier_unregister(&misused.mn, mm);
}

static void put_misused(void *arg)
{
	mmu_notifier_put(&misused.mn);
}

static void remove_misused(void *arg)
{
	mmu_interval_notifier_remove(&misused_interval);
}

static void destroy_misused(void *arg)
{
	mmu_notifier_subscriptions_destroy(mm);
}

static void test_mmu_notifier_misuse_is_fatal(void **state)
{
	void (*const leave[])(void *) = { unregister_misused, put_misused };

	for (unsigned int i = 0; i < 4; i++) {
		start();
		listen(&misused);
		leave[i & 1](NULL);
		expect_panic(leave[i >> 1], NULL, "not registered");
	}
	memset(&misused, 0, sizeof(misused));
	for (unsigned int i = 0; i < 2; i++) {
		start();
		expect_panic(leave[i], NULL, "not registered");
	}
	start();
	memset(&misused_interval, 0, sizeof(misused_interval));
	expect_panic(remove_misused, NULL, "not inserted");
	start();
	assert_int_equal(mmu_interval_notifier_insert(&misused_interval, mm, 0, 1, &refusing), 0);
	mmu_interval_notifier_remove(&misused_interval);
	expect_panic(remove_misused, NULL, "not in the tree");
	start();
	listen(&misused);
	expect_panic(destroy_misused, NULL, "ends with notifiers");
	start();
	assert_int_equal(mmu_interval_notifier_insert(&misused_interval, mm, 0, 1, &refusing), 0);
	expect_panic(destroy_misused, NULL, "ends with notifiers");
}

#if OCTAVO_FAULTS
static void test_mmu_notifier_no_memory_changes_nothing(void **state)
{
	struct listener l = { .mn.ops = &all_ops };
	struct mmu_interval_notifier mni;

	start();
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL, hit)
	{
		int err = mmu_notifier_register(&l.mn, mm);

		hit = octavo_fault_disarm();
		assert_true(err == 0 || (err == -ENOMEM && hit));
		assert_int_equal(mm->count, err ? 1 : 2);
		if (!err)
			mmu_notifier_unregister(&l.mn, mm);
		mmu_notifier_subscriptions_destroy(mm);
	}
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL, hit)
	{
		int err = mmu_interval_notifier_insert(&mni, mm, 0, PAGE_SIZE, &refusing);

		hit = octavo_fault_disarm();
		assert_true(err == 0 || (err == -ENOMEM && hit));
		assert_int_equal(mm->count, err ? 1 : 2);
		if (!err)
			mmu_interval_notifier_remove(&mni);
		mmu_notifier_subscriptions_destroy(mm);
	}
	end();
}
#endif

/* ---- intervals ---- */

struct watcher {
	struct mmu_interval_notifier mni;
	u32 calls;
};

static bool watch(struct mmu_interval_notifier *mni, const struct mmu_notifier_range *range,
		  unsigned long seq)
{
	container_of(mni, struct watcher, mni)->calls++;
	mmu_interval_set_seq(mni, seq);
	return true;
}
static const struct mmu_interval_notifier_ops watching = { .invalidate = watch };

static void test_mmu_notifier_interval_hears_what_overlaps(void **state)
{
	struct mmu_notifier_range r;
	struct watcher w;
	unsigned long seq;

	start();
	assert_int_equal(mmu_interval_notifier_insert(&w.mni, mm, 0, 0, &watching), -EOVERFLOW);
	assert_int_equal(mmu_interval_notifier_insert(&w.mni, mm, PAGES(1), ~0ul, &watching),
			 -EOVERFLOW);
	assert_int_equal(mm->count, 1);
	w.calls = 0;
	assert_int_equal(mmu_interval_notifier_insert(&w.mni, mm, PAGES(4), PAGES(2), &watching),
			 0);
	seq = mmu_interval_read_begin(&w.mni);
	assert_false(mmu_interval_read_retry(&w.mni, seq));
	pair(PAGES(2), PAGES(4));
	pair(PAGES(6), PAGES(8));
	assert_int_equal(w.calls, 0);
	assert_false(mmu_interval_read_retry(&w.mni, seq));
	pair(PAGES(3), PAGES(5));
	assert_true(mmu_interval_read_retry(&w.mni, seq));
	seq = mmu_interval_read_begin(&w.mni);
	pair(PAGES(5), PAGES(6));
	assert_true(mmu_interval_read_retry(&w.mni, seq));
	pair(PAGES(0), PAGES(9));
	assert_int_equal(w.calls, 3);
	/* what does not overlap is not waited for */
	assert_int_equal(begin(&r, PAGES(6), PAGES(7)), 0);
	seq = mmu_interval_read_begin(&w.mni);
	assert_false(mmu_interval_read_retry(&w.mni, seq));
	mmu_notifier_invalidate_range_end(&r);
	/* the end of the address space is the end of everything */
	mmu_notifier_release(mm);
	assert_int_equal(w.calls, 4);
	assert_true(mmu_interval_read_retry(&w.mni, seq));
	mmu_interval_notifier_remove(&w.mni);
	pair(PAGES(4), PAGES(5));
	assert_int_equal(w.calls, 4);
	end();
}

/* ---- who waits for whom: CPU 0 is waited for, CPU 1 waits ---- */

static u32 step;
static struct listener waited;
static struct watcher waited_interval;

static void wait_for_step(u32 n)
{
	/* acquire: pairs with the release in next_step() */
	while (smp_load_acquire(&step) < n)
		octavo_port_relax();
}

static void next_step(u32 n)
{
	/* release: pairs with the acquire in wait_for_step() */
	smp_store_release(&step, n);
}

/* Give the other CPU time to do what it must not do. */
static void linger(void)
{
	usleep(20000);
}

/* Begins before the first registration, or before another one, and ends after it was seen to wait. */
static void invalidate_slowly(unsigned int cpu, void *arg)
{
	struct mmu_notifier_range r;

	if (cpu == 0) {
		assert_int_equal(begin(&r, 0, PAGES(1)), 0);
		next_step(1);
		linger();
		next_step(2);
		mmu_notifier_invalidate_range_end(&r);
		return;
	}
	wait_for_step(1);
	listen(&waited);
	/* acquire: pairs with next_step() */
	assert_int_equal(smp_load_acquire(&step), 2);
}

static void test_mmu_notifier_registration_waits_for_what_it_was_not_told(void **state)
{
	struct listener first;

	for (unsigned int others = 0; others < 2; others++) {
		start();
		if (others)
			listen(&first);
		step = 0;
		sim_run(2, false, invalidate_slowly, NULL);
		assert_int_equal(waited.starts, 0);
		assert_int_equal(waited.ends, 0);
		mmu_notifier_unregister(&waited.mn, mm);
		if (others)
			mmu_notifier_unregister(&first.mn, mm);
		end();
	}
}

static void insert_slowly(unsigned int cpu, void *arg)
{
	struct mmu_notifier_range r;

	if (cpu == 0) {
		assert_int_equal(begin(&r, 0, PAGES(1)), 0);
		next_step(1);
		wait_for_step(2);
		linger();
		next_step(3);
		mmu_notifier_invalidate_range_end(&r);
		return;
	}
	wait_for_step(1);
	/* inserting need not wait, reading must */
	assert_int_equal(
		mmu_interval_notifier_insert(&waited_interval.mni, mm, 0, PAGE_SIZE, &watching), 0);
	next_step(2);
	mmu_interval_read_begin(&waited_interval.mni);
	/* acquire: pairs with next_step() */
	assert_int_equal(smp_load_acquire(&step), 3);
}

static void test_mmu_notifier_reader_waits_for_what_the_interval_was_not_told(void **state)
{
	struct listener first;

	start();
	listen(&first);
	step = 0;
	sim_run(2, false, insert_slowly, NULL);
	mmu_interval_notifier_remove(&waited_interval.mni);
	mmu_notifier_unregister(&first.mn, mm);
	end();
}

static int slow_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	next_step(1);
	linger();
	next_step(2);
	return 0;
}
static const struct mmu_notifier_ops slow_ops = { .invalidate_range_start = slow_start };

static bool slow_invalidate(struct mmu_interval_notifier *mni,
			    const struct mmu_notifier_range *range, unsigned long seq)
{
	mmu_interval_set_seq(mni, seq);
	return slow_start(NULL, range) == 0;
}
static const struct mmu_interval_notifier_ops slow_interval = { .invalidate = slow_invalidate };

static void leave_while_called(unsigned int cpu, void *arg)
{
	if (cpu == 0) {
		pair(0, PAGES(1));
		return;
	}
	wait_for_step(1);
	if (arg)
		mmu_notifier_unregister(&waited.mn, mm);
	else
		mmu_interval_notifier_remove(&waited_interval.mni);
	/* acquire: pairs with next_step() */
	assert_int_equal(smp_load_acquire(&step), 2);
}

static void test_mmu_notifier_leaving_waits_for_callbacks(void **state)
{
	start();
	step = 0;
	waited = (struct listener){ .mn.ops = &slow_ops };
	assert_int_equal(mmu_notifier_register(&waited.mn, mm), 0);
	sim_run(2, false, leave_while_called, &waited);
	step = 0;
	assert_int_equal(mmu_interval_notifier_insert(&waited_interval.mni, mm, 0, PAGE_SIZE,
						      &slow_interval),
			 0);
	sim_run(2, false, leave_while_called, NULL);
	end();
}

/* ---- the address space outlives its last user for as long as somebody is registered ---- */

static void test_mmu_notifier_keeps_the_address_space(void **state)
{
	struct listener a, b;
	struct watcher w = { .calls = 0 };

	table_boot();
	mm = mm_alloc();
	assert_non_null(mm);
	listen(&a);
	listen(&b);
	assert_int_equal(mmu_interval_notifier_insert(&w.mni, mm, 0, PAGES(1), &watching), 0);
	mmput(mm);
	assert_int_equal(a.releases, 1);
	assert_int_equal(b.releases, 1);
	assert_int_equal(w.calls, 1);
	assert_int_equal(mm->count, 3);
	mmu_interval_notifier_remove(&w.mni);
	mmu_notifier_put(&b.mn);
	mmu_notifier_unregister(&a.mn, mm);
	rcu_barrier();
	assert_int_equal(b.frees, 1);
	/* the last one has freed it */
	shutdown_clean();
}

/* ---- a mirror, and what it mirrors ---- */

#define ENTRIES 8u
#define TURNS	400u

static u32 truth[ENTRIES]; /* 0: not there. Changed inside an invalidation only */
static struct mirror {
	struct mmu_interval_notifier mni;
	spinlock_t lock;
	u32 copy[ENTRIES]; /* (lock) 0: nothing */
} mirrors[2];
static u32 invalidators_left;

static bool mirror_invalidate(struct mmu_interval_notifier *mni,
			      const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mirror *m = container_of(mni, struct mirror, mni);

	spin_lock(&m->lock);
	mmu_interval_set_seq(mni, seq);
	for (unsigned long i = range->start >> PAGE_SHIFT; i < range->end >> PAGE_SHIFT; i++)
		m->copy[i] = 0;
	spin_unlock(&m->lock);
	return true;
}
static const struct mmu_interval_notifier_ops mirror_ops = { .invalidate = mirror_invalidate };

/* What is between start and end is in no mirror; and here it is on its way to something else. */
static void change_range(unsigned long first, unsigned long n, u32 value)
{
	struct mmu_notifier_range r;

	assert_int_equal(begin(&r, PAGES(first), PAGES(first + n)), 0);
	for (unsigned long i = first; i < first + n; i++) {
		WRITE_ONCE(truth[i], value);
		for (unsigned int m = 0; m < 2; m++) {
			spin_lock(&mirrors[m].lock);
			assert_int_equal(mirrors[m].copy[i], 0);
			spin_unlock(&mirrors[m].lock);
		}
	}
	mmu_notifier_invalidate_range_end(&r);
}

static void fill_mirror(struct mirror *m, unsigned long i)
{
	unsigned long seq;
	u32 value;

	do {
		seq = mmu_interval_read_begin(&m->mni);
		value = READ_ONCE(truth[i]);
		spin_lock(&m->lock);
		if (!mmu_interval_read_retry(&m->mni, seq))
			break;
		spin_unlock(&m->lock);
	} while (true);
	m->copy[i] = value;
	spin_unlock(&m->lock);
}

static void mirror_role(unsigned int cpu, void *arg)
{
	if (cpu < 2) {
		/* its own half, so that nobody else changes it at the same time */
		for (u32 t = 1; t < TURNS; t++)
			change_range(cpu * 4 + t % 4, 1 + t % (4 - t % 4), t);
		fetch_sub_relaxed(&invalidators_left, 1u);
		return;
	}
	for (u32 t = 0; READ_ONCE(invalidators_left); t++) {
		struct mirror *m = &mirrors[cpu - 2];

		fill_mirror(m, t % ENTRIES);
		if (t % 16 == 15) {
			/* away and back again: empty, as nobody tells it what it misses */
			spin_lock(&m->lock);
			memset(m->copy, 0, sizeof(m->copy));
			spin_unlock(&m->lock);
			mmu_interval_notifier_remove(&m->mni);
			assert_int_equal(mmu_interval_notifier_insert(&m->mni, mm, 0,
								      PAGES(ENTRIES), &mirror_ops),
					 0);
		}
	}
}

static void test_mmu_notifier_mirror_is_never_stale(void **state)
{
	start();
	memset(truth, 0, sizeof(truth));
	memset(mirrors, 0, sizeof(mirrors));
	invalidators_left = 2;
	for (unsigned int m = 0; m < 2; m++)
		assert_int_equal(mmu_interval_notifier_insert(&mirrors[m].mni, mm, 0,
							      PAGES(ENTRIES), &mirror_ops),
				 0);
	sim_run(4, false, mirror_role, NULL);
	for (unsigned int m = 0; m < 2; m++) {
		for (unsigned int i = 0; i < ENTRIES; i++)
			assert_true(!mirrors[m].copy[i] || mirrors[m].copy[i] == truth[i]);
		mmu_interval_notifier_remove(&mirrors[m].mni);
	}
	end();
}

/* ---- coming and going while others invalidate ---- */

static struct listener visitors[2];
static u32 told_outside; /* callbacks while not registered */
static u32 inside[2];	 /* 1 from before registering to after unregistering */

static int visit_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct listener *l = listener_of(mn);

	if (!READ_ONCE(inside[l - visitors]))
		fetch_add_relaxed(&told_outside, 1u);
	fetch_add_relaxed(&l->starts, 1u);
	return 0;
}
static const struct mmu_notifier_ops visit_ops = {
	.invalidate_range_start = visit_start,
	.invalidate_range_end = hear_end,
	.release = hear_release,
};

static void visit_role(unsigned int cpu, void *arg)
{
	struct listener *l = &visitors[cpu & 1];

	for (u32 t = 0; t < 300; t++) {
		if (cpu < 2) {
			pair(PAGES(t % 7), PAGES(t % 7 + 1));
			continue;
		}
		WRITE_ONCE(inside[cpu & 1], 1u);
		*l = (struct listener){ .mn.ops = &visit_ops };
		assert_int_equal(mmu_notifier_register(&l->mn, mm), 0);
		mmu_notifier_unregister(&l->mn, mm);
		assert_int_equal(l->releases, 1);
		assert_true(l->ends <= l->starts);
		WRITE_ONCE(inside[cpu & 1], 0u);
	}
}

static void test_mmu_notifier_nobody_is_told_after_leaving(void **state)
{
	start();
	told_outside = 0;
	sim_run(4, false, visit_role, NULL);
	assert_int_equal(told_outside, 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mmu_notifier_hears_start_and_end),
		TEST(test_mmu_notifier_leaving_inside_a_pair),
		TEST(test_mmu_notifier_refusal_is_undone),
		TEST(test_mmu_notifier_refusing_to_sleep_where_it_may_is_fatal),
		TEST(test_mmu_notifier_young_in_any_mirror),
		TEST(test_mmu_notifier_release_is_called_once_and_last),
		TEST(test_mmu_notifier_put_frees_after_a_grace_period),
		TEST(test_mmu_notifier_misuse_is_fatal),
#if OCTAVO_FAULTS
		TEST(test_mmu_notifier_no_memory_changes_nothing),
#endif
		TEST(test_mmu_notifier_interval_hears_what_overlaps),
		TEST(test_mmu_notifier_registration_waits_for_what_it_was_not_told),
		TEST(test_mmu_notifier_reader_waits_for_what_the_interval_was_not_told),
		TEST(test_mmu_notifier_leaving_waits_for_callbacks),
		TEST(test_mmu_notifier_keeps_the_address_space),
		TEST(test_mmu_notifier_mirror_is_never_stale),
		TEST(test_mmu_notifier_nobody_is_told_after_leaving),
	};

	return cmocka_run_group_tests_name("mmu_notifier", tests, NULL, NULL);
}
