// SPDX-License-Identifier: MIT
/*
 * test_swap_io.c - transfers: how they begin, end and fail, and who waits for them.
 */
#include "swap_machine.h"

static struct test_device *d;

static void up(enum test_device_mode mode)
{
	swap_boot();
	d = test_device_on(4 * CLUSTER, 0, mode);
}

static void down(void)
{
	assert_true(octavo_validate());
	assert_int_equal(stat_of(-1).used, 0);
	test_device_off(d);
	shutdown_clean();
}

/* Nobody but the test and the cache has it. */
static void free_cached(struct folio *folio)
{
	folio_lock(folio);
	assert_true(folio_free_swap(folio));
	drop(folio);
}

/* ---- writing ---- */

static void test_writeback_keeps_a_folio_in_the_cache(void **state)
{
	struct folio *folio;
	swp_entry_t entry;

	up(TD_HELD);
	folio = make_cached(1, 3, &entry);
	assert_int_equal(folio_dup_swap(whole(folio)), 0);
	assert_int_equal(swap_writeout(folio), 0);
	assert_true(folio_test_flag(folio, PG_writeback));
	assert_false(folio_test_flag(folio, PG_dirty));
	assert_false(folio_test_locked(folio));
	assert_int_equal(d->waiting, 1);
	/* the last entries go, the slots do not: the device has them */
	swap_free_entries(entry, 2);
	assert_true(folio_test_flag(folio, PG_swapcache));
	folio_lock(folio);
	assert_false(folio_free_swap(folio));
	folio_unlock(folio);
	assert_int_equal(swap_device_close_begin(d->type), 0);
	assert_int_equal(swap_device_close_end(d->type), -EBUSY);
	swap_device_close_abort(d->type);
	assert_int_equal(test_device_complete(d, 5), 1);
	assert_false(folio_test_flag(folio, PG_writeback));
	folio_wait_writeback(folio);
	free_cached(folio);
	down();
}

static void del_under_writeback(void *arg)
{
	folio_lock(arg);
	swap_cache_del(arg, 0);
}

static void write_twice(void *arg)
{
	folio_lock(arg);
	assert_int_equal(swap_writeout(arg), 0);
}

static void write_unlocked(void *arg)
{
	test_device_complete(d, 1);
	assert_int_equal(swap_writeout(arg), 0);
}

static void end_twice(void *arg)
{
	struct swap_io *io = d->first;

	test_device_complete(d, 1);
	swap_io_done(io, 0);
}

static void read_without_slots(void *arg)
{
	struct folio *folio = make(0, 0);

	folio_clear_flag(folio, PG_uptodate);
	swap_read_folio(folio);
}

COVERS("S2.26");
static void test_misuse_under_writeback_is_fatal(void **state)
{
	static const struct {
		void (*fn)(void *arg);
		const char *text;
	} misuse[] = {
		{ del_under_writeback, "under writeback" }, { write_twice, "being written" },
		{ write_unlocked, "not locked" },	    { end_twice, "ended twice" },
		{ read_without_slots, "without slots" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(misuse); i++) {
		struct folio *folio;
		swp_entry_t entry;

		up(TD_HELD);
		folio = make_cached(0, 0, &entry);
		assert_int_equal(swap_writeout(folio), 0);
		expect_panic(misuse[i].fn, folio, misuse[i].text);
		d->waiting = 0;
		test_device_free(d);
	}
}

static void td_submit_late(struct swap_device *dev, struct swap_io *io)
{
}

static void write_it(void *arg)
{
	assert_int_equal(swap_writeout(arg), 0);
}

static void test_a_device_that_is_not_as_fast_as_it_says_is_fatal(void **state)
{
	const struct swap_device_ops late = { .submit = td_submit_late };
	struct folio *folio;
	swp_entry_t entry;

	swap_boot();
	assert_int_equal(swapon(&late, NULL, 10, 0, SWAP_FLAG_SYNC), 0);
	folio = make_cached(0, 0, &entry);
	expect_panic(write_it, folio, "not as fast as it says");
}

/* ---- errors ---- */

static const enum test_device_mode modes[] = { TD_SYNC, TD_NOW, TD_POLLED, TD_THREAD };

/* Whatever the way it fails, the folio is dirty, in the cache, and its entries lead to it. */
COVERS("S2.26");
static void test_failed_writes_lose_nothing(void **state)
{
	const int errs[] = { -EIO, -ENOSPC };

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(modes); i++) {
		enum test_device_mode mode = modes[i / 2];
		struct folio *folio, *found;
		swp_entry_t entry;
		int ret;

		up(mode);
		folio = make_cached(1, 5, &entry);
		assert_int_equal(folio_dup_swap(whole(folio)), 0);
		test_device_fail(d, SWAP_WRITE, errs[i % 2], 1);
		ret = swap_writeout(folio);
		if (mode == TD_SYNC || mode == TD_NOW)
			assert_int_equal(ret, errs[i % 2]);
		else
			assert_true(ret == 0 || ret == errs[i % 2]);
		folio_wait_writeback(folio);
		assert_true(folio_test_flag(folio, PG_dirty));
		found = swap_cache_get_folio(entry);
		assert_ptr_equal(found, folio);
		folio_put(found);
		assert_true(has_contents(folio, 5));
		assert_int_equal(stat_of(d->type).write_errors, 1);
		/* the next try is as good as any */
		folio_lock(folio);
		assert_int_equal(swap_writeout(folio), 0);
		folio_wait_writeback(folio);
		folio_lock(folio);
		forget(folio);
		folio = swap_in(entry, 1);
		assert_true(has_contents(folio, 5));
		folio_put_swap(whole(folio));
		assert_true(folio_free_swap(folio));
		drop(folio);
		assert_int_equal(stat_of(d->type).bad, 0);
		down();
	}
}

/* Who needs a folio that could not be read sees that it is not uptodate, and may try again. */
static void test_failed_reads_are_told(void **state)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++) {
		struct folio *folio;
		swp_entry_t entry;

		up(modes[i]);
		entry = swap_out(make(1, 9));
		folio = folio_alloc(GFP_KERNEL, 1, FOLIO_ANON);
		folio_lock(folio);
		assert_int_equal(swap_cache_add(folio, entry, NULL), 0);
		test_device_fail(d, SWAP_READ, -EIO, 1);
		swap_read_folio(folio);
		swap_lock_folio(folio);
		assert_false(folio_test_flag(folio, PG_uptodate));
		assert_int_equal(stat_of(d->type).read_errors, 1);
		assert_int_equal(stat_of(d->type).bad, 0);
		swap_read_folio(folio);
		swap_lock_folio(folio);
		assert_true(folio_test_flag(folio, PG_uptodate));
		assert_true(has_contents(folio, 9));
		folio_put_swap(whole(folio));
		assert_true(folio_free_swap(folio));
		drop(folio);
		down();
	}
}

static void test_a_device_that_vanishes(void **state)
{
	struct folio *out, *in, *folio;
	swp_entry_t entry, other;

	up(TD_NOW);
	entry = swap_out(make(0, 1));
	out = make_cached(0, 2, &other);
	assert_int_equal(folio_dup_swap(whole(out)), 0);
	d->gone = true;
	assert_int_equal(swap_writeout(out), -EIO);
	in = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	folio_lock(in);
	assert_int_equal(swap_cache_add(in, entry, NULL), 0);
	swap_read_folio(in);
	assert_false(folio_test_flag(in, PG_uptodate));
	/* what was in memory still is */
	folio = swap_cache_get_folio(other);
	assert_ptr_equal(folio, out);
	assert_true(has_contents(folio, 2));
	folio_put(folio);
	swap_free_entries(other, 1);
	folio_put(out);
	swap_free_entries(entry, 1);
	folio_put(in);
	assert_int_equal(stat_of(d->type).bad, 1);
	down();
}

#if OCTAVO_FAULTS
/* Each transfer in turn is refused before it gets to the device. */
COVERS("SX.8");
static void test_transfers_fail_at_every_step(void **state)
{
	unsigned int failed = 0;

	for (unsigned int m = 0; m < ARRAY_SIZE(modes); m++) {
		for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_IO, hit)
		{
			struct folio *folio;
			swp_entry_t entry;
			int err;

			octavo_fault_disarm();
			up(modes[m]);
			folio = make_cached(1, 4, &entry);
			assert_int_equal(folio_dup_swap(whole(folio)), 0);
			octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_IO);
			err = swap_writeout(folio);
			folio_wait_writeback(folio);
			folio_lock(folio);
			failed += err != 0;
			assert_int_equal(err != 0, folio_test_flag(folio, PG_dirty));
			if (err) {
				folio_put_swap(whole(folio));
				assert_true(folio_free_swap(folio));
				drop(folio);
				assert_int_equal(stat_of(d->type).bad, 2);
				hit = octavo_fault_disarm();
				down();
				continue;
			}
			forget(folio);
			folio = folio_alloc(GFP_KERNEL, 1, FOLIO_ANON);
			folio_lock(folio);
			assert_int_equal(swap_cache_add(folio, entry, NULL), 0);
			swap_read_folio(folio);
			swap_lock_folio(folio);
			hit = octavo_fault_disarm();
			failed += !folio_test_flag(folio, PG_uptodate);
			assert_int_equal(folio_test_flag(folio, PG_uptodate), !hit);
			folio_put_swap(whole(folio));
			assert_true(folio_free_swap(folio));
			drop(folio);
			down();
		}
	}
	assert_int_equal(failed, 2 * ARRAY_SIZE(modes));
}

/* When memory is needed most there is none: writing takes nothing. */
static void test_writing_needs_no_memory(void **state)
{
	const u32 kinds = OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB;

	for (unsigned int m = 0; m < ARRAY_SIZE(modes); m++) {
		enum { N = 6 };
		struct folio *folio[N];
		swp_entry_t entry;

		up(modes[m]);
		/* the first one brings the cluster */
		for (unsigned int i = 0; i < N; i++)
			folio[i] = make(0, i);
		assert_int_equal(folio_alloc_swap(folio[0]), 0);
		octavo_fault_arm(1, OCTAVO_FAULT_AFTER, kinds);
		for (unsigned int i = 0; i < N; i++) {
			if (i)
				assert_int_equal(folio_alloc_swap(folio[i]), 0);
			entry = folio_swap_entry(folio[i], 0);
			assert_int_equal(swap_writeout(folio[i]), 0);
		}
		assert_int_equal(octavo_fault_disarm(), 0);
		for (unsigned int i = 0; i < N; i++) {
			folio_wait_writeback(folio[i]);
			swap_lock_folio(folio[i]);
			assert_true(folio_free_swap(folio[i]));
			drop(folio[i]);
		}
		assert_false(swap_entry_valid(entry));
		down();
	}
}
#endif

/* ---- waiting ---- */

/* More than can be under way at once: the one that is too many waits for another's end. */
static void test_all_transfers_are_under_way(void **state)
{
	enum { N = 2 * OCTAVO_SWAP_XFERS + 1 };
	const enum test_device_mode some[] = { TD_POLLED, TD_THREAD };

	for (unsigned int m = 0; m < 2; m++) {
		struct folio *folio[N];
		swp_entry_t entry[N];

		up(some[m]);
		for (unsigned int i = 0; i < N; i++) {
			folio[i] = make_cached(0, i, &entry[i]);
			assert_int_equal(folio_dup_swap(whole(folio[i])), 0);
			assert_int_equal(swap_writeout(folio[i]), 0);
		}
		if (m == 0)
			assert_true(d->polls >= N - OCTAVO_SWAP_XFERS);
		for (unsigned int i = 0; i < N; i++) {
			folio_wait_writeback(folio[i]);
			folio_lock(folio[i]);
			forget(folio[i]);
		}
		assert_int_equal(d->writes, N);
		/* read ahead all, then wait for the last first */
		for (unsigned int i = 0; i < N; i++) {
			folio[i] = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
			folio_lock(folio[i]);
			assert_int_equal(swap_cache_add(folio[i], entry[i], NULL), 0);
			swap_read_folio(folio[i]);
		}
		for (unsigned int i = N; i-- > 0;) {
			swap_lock_folio(folio[i]);
			assert_true(folio_test_flag(folio[i], PG_uptodate));
			assert_true(has_contents(folio[i], i));
			folio_put_swap(whole(folio[i]));
			assert_true(folio_free_swap(folio[i]));
			drop(folio[i]);
		}
		down();
	}
}

struct waiters {
	struct folio *folio;
	u32 waiting, over;
};

static void wait_for_writeback(unsigned int cpu, void *arg)
{
	struct waiters *w = arg;

	sim_set_cpu(cpu);
	if (cpu) {
		folio_get(w->folio);
		fetch_add_seq_cst(&w->waiting, 1u);
		folio_wait_writeback(w->folio);
		/* a write that has ended has moved what it had to */
		if (!has_contents(w->folio, 6) || d->writes != 1)
			abort();
		fetch_add_seq_cst(&w->over, 1u);
		folio_put(w->folio);
		return;
	}
	while (smp_load_seq_cst(&w->waiting) < 3)
		sched_yield();
	for (unsigned int i = 0; i < 50; i++)
		sched_yield();
	if (smp_load_seq_cst(&w->over))
		abort();
	if (test_device_complete(d, 1) != 1)
		abort();
}

/* All who wait are woken by one end. */
static void test_everybody_who_waits_for_writeback_is_woken(void **state)
{
	for (unsigned int i = 0; i < 20; i++) {
		struct waiters w = { .folio = NULL };
		swp_entry_t entry;

		up(TD_HELD);
		w.folio = make_cached(0, 6, &entry);
		assert_int_equal(swap_writeout(w.folio), 0);
		sim_run(4, false, wait_for_writeback, &w);
		assert_int_equal(w.over, 3);
		free_cached(w.folio);
		down();
	}
}

/* Nothing to wait for. */
static void test_waiting_for_nothing(void **state)
{
	struct folio *folio;

	up(TD_POLLED);
	folio = make(0, 0);
	folio_wait_writeback(folio);
	folio_unlock(folio);
	swap_lock_folio(folio);
	drop(folio);
	assert_int_equal(d->polls, 0);
	down();
}

/* A machine that goes down with a device in use says so, and leaks what is leaked. */
static void test_shutdown_with_a_device(void **state)
{
	struct folio *folio;
	swp_entry_t entry;
	const char *last;

	swap_boot();
	d = test_device_on(CLUSTER, 0, TD_SYNC);
	assert_int_equal(sim_shutdown(), 0);
	assert_true(d->closed);
	test_device_free(d);

	swap_boot();
	d = test_device_on(CLUSTER, 0, TD_SYNC);
	folio = make_cached(0, 0, &entry);
	folio_unlock(folio);
	sim_log_take(&last);
	assert_true(sim_shutdown() > 0);
	assert_true(sim_log_take(&last) > 0);
	test_device_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_writeback_keeps_a_folio_in_the_cache),
		TEST(test_misuse_under_writeback_is_fatal),
		TEST(test_a_device_that_is_not_as_fast_as_it_says_is_fatal),
		TEST(test_failed_writes_lose_nothing),
		TEST(test_failed_reads_are_told),
		TEST(test_a_device_that_vanishes),
#if OCTAVO_FAULTS
		TEST(test_transfers_fail_at_every_step),
		TEST(test_writing_needs_no_memory),
#endif
		TEST(test_all_transfers_are_under_way),
		TEST(test_everybody_who_waits_for_writeback_is_woken),
		TEST(test_waiting_for_nothing),
		TEST(test_shutdown_with_a_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
