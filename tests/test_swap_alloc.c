// SPDX-License-Identifier: MIT
/*
 * test_swap_alloc.c - which slots folios get: runs of all orders, clusters, CPUs, devices, and what happens when there are none.
 */
#include "swap_machine.h"

/* Folios in the cache that a test has: locked, each with its entry. */
#define MAX_HELD (8 * CLUSTER)
static struct held {
	struct folio *folio;
	swp_entry_t entry;
} held[MAX_HELD];
static unsigned int nr_held;

/* Give a folio slots; it is kept. */
static int hold(unsigned int order)
{
	struct folio *folio = make(order, 0);
	int err = folio_alloc_swap(folio);

	if (err) {
		assert_false(folio_test_flag(folio, PG_swapcache));
		assert_int_equal(folio_ref_count(folio), 1);
		drop(folio);
		return err;
	}
	assert_true(nr_held < MAX_HELD);
	held[nr_held++] = (struct held){ folio, folio_swap_entry(folio, 0) };
	return 0;
}

static unsigned long last_slot(void)
{
	return swp_offset(held[nr_held - 1].entry);
}

static void release(unsigned int i)
{
	assert_true(folio_free_swap(held[i].folio));
	drop(held[i].folio);
	held[i] = held[--nr_held];
}

static void release_all(void)
{
	while (nr_held)
		release(nr_held - 1);
}

static struct test_device *on(unsigned long slots)
{
	swap_boot();
	return test_device_on(slots, 0, TD_SYNC);
}

static void off(struct test_device *d)
{
	release_all();
	assert_true(octavo_validate());
	test_device_off(d);
	shutdown_clean();
}

/* ---- one device ---- */

/* Every slot but 0 is given once, in order, and then there are none. */
COVERS("S2.26");
static void test_all_slots_of_every_size_of_device(void **state)
{
	const unsigned long sizes[] = { 2, 3, CLUSTER - 1, CLUSTER, CLUSTER + 1, 2 * CLUSTER + 3 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct test_device *d = on(sizes[i]);

		for (unsigned long s = 1; s < sizes[i]; s++) {
			assert_true(swap_has_room());
			assert_int_equal(hold(0), 0);
			assert_int_equal(last_slot(), s);
		}
		assert_false(swap_has_room());
		assert_int_equal(hold(0), -ENOMEM);
		assert_int_equal(hold(1), -ENOMEM);
		assert_int_equal(hold(SWAP_MAX_ORDER + 1), -EINVAL);
		assert_true(octavo_validate());
		/* any one that is given back is found */
		for (unsigned long n = 0; n < 20; n++) {
			unsigned int h = (unsigned int)(n * 7) % nr_held;
			unsigned long s = swp_offset(held[h].entry);

			release(h);
			assert_true(swap_has_room());
			assert_int_equal(hold(0), 0);
			assert_int_equal(last_slot(), s);
			assert_true(octavo_validate());
		}
		off(d);
	}
}

static void test_no_device(void **state)
{
	struct folio *folio;

	swap_boot();
	folio = make(0, 0);
	assert_int_equal(folio_alloc_swap(folio), -ENOMEM);
	assert_false(swap_has_room());
	assert_int_equal(stat_of(-1).slots, 0);
	drop(folio);
	shutdown_clean();
}

/* Runs of an order lie side by side, and end where there is no more of them. */
COVERS("S2.26");
static void test_runs_fill_a_device(void **state)
{
	for (unsigned int order = 1; order <= SWAP_MAX_ORDER; order++) {
		struct test_device *d = on(2 * CLUSTER);
		unsigned long nr = 1ul << order;

		for (unsigned long s = nr; s < 2 * CLUSTER; s += nr) {
			assert_int_equal(hold(order), 0);
			assert_int_equal(last_slot(), s);
		}
		/* below the first run there is no room for another, but for smaller ones */
		assert_int_equal(hold(order), -EAGAIN);
		assert_true(octavo_validate());
		for (unsigned long s = 1; s < nr; s++)
			assert_int_equal(hold(0), 0);
		assert_int_equal(hold(order), -ENOMEM);
		assert_int_equal(hold(0), -ENOMEM);
		off(d);
	}
}

/* Single slots are taken from where no larger run is lost. */
static void test_small_ones_leave_large_runs_alone(void **state)
{
	struct test_device *d = on(4 * CLUSTER);
	unsigned long first;

	/* the second to fourth clusters in large runs, then the first in single slots */
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(hold(SWAP_MAX_ORDER), 0);
	for (unsigned long s = 1; s < CLUSTER; s++)
		assert_int_equal(hold(0), 0);
	assert_int_equal(hold(0), -ENOMEM);
	/* half of the first one, every other slot, and all of the third */
	for (unsigned int i = nr_held; i-- > 3;)
		if (swp_offset(held[i].entry) % 2)
			release(i);
	first = swp_offset(held[1].entry);
	release(1);
	assert_true(octavo_validate());
	for (unsigned long s = 1; s <= CLUSTER / 2 + 1; s++) {
		assert_int_equal(hold(0), 0);
		if (s <= CLUSTER / 2)
			assert_true(last_slot() < CLUSTER);
	}
	/* the third is begun only when the first is full */
	assert_true(last_slot() - first < CLUSTER);
	off(d);
}

/* A model of which slots are taken: what is given is free, aligned, and refused only when there is none. */
COVERS("S2.26");
static void test_random_orders_against_a_model(void **state)
{
	static u8 taken[4 * CLUSTER];
	unsigned int seed = 1;

	for (unsigned int round = 0; round < 4; round++) {
		struct test_device *d = on(4 * CLUSTER);
		unsigned int top = round < 2 ? SWAP_MAX_ORDER : 3;

		memset(taken, 0, sizeof(taken));
		taken[0] = 1;
		for (unsigned int step = 0; step < 3000; step++) {
			unsigned int order = (unsigned int)rand_r(&seed) % (top + 1);
			bool grow = round % 2 ? rand_r(&seed) % 8 < 5 : step / 300 % 2 == 0;

			if (grow) {
				bool run = false, room = false;
				int err = hold(order);

				for (unsigned long s = 0; s < 4 * CLUSTER; s += 1ul << order)
					run |= !memchr(taken + s, 1, 1ul << order);
				room = memchr(taken, 0, sizeof(taken)) != NULL;
				assert_int_equal(err, run ? 0 : room && order ? -EAGAIN : -ENOMEM);
				if (err)
					continue;
				assert_true(IS_ALIGNED(last_slot(), 1ul << order));
				for (unsigned long i = 0; i < 1ul << order; i++)
					assert_int_equal(taken[last_slot() + i]++, 0);
			} else if (nr_held) {
				unsigned int h = (unsigned int)rand_r(&seed) % nr_held;

				memset(taken + swp_offset(held[h].entry), 0,
				       folio_nr_pages(held[h].folio));
				release(h);
			}
			if (step % 50 == 0)
				assert_true(octavo_validate());
		}
		off(d);
	}
}

/* ---- bad slots ---- */

COVERS("S2.26");
static void test_slots_with_write_errors_are_given_up(void **state)
{
	struct test_device *d = on(CLUSTER);
	unsigned int order = 1;
	struct folio *folio;
	unsigned long bad;
	struct swap_stat st;

	assert_int_equal(hold(order), 0);
	folio = held[--nr_held].folio;
	bad = swp_offset(held[nr_held].entry);
	test_device_fail(d, SWAP_WRITE, -EIO, 1);
	assert_int_equal(swap_writeout(folio), -EIO);
	folio_lock(folio);
	assert_true(folio_test_flag(folio, PG_dirty));
	assert_int_equal(stat_of(d->type).bad, 0);
	assert_int_equal(stat_of(d->type).write_errors, 1);
	assert_true(folio_free_swap(folio));
	st = stat_of(d->type);
	assert_int_equal(st.bad, 2);
	assert_int_equal(st.slots, CLUSTER - 1 - 2);
	assert_int_equal(st.used, 0);
	assert_int_equal(d->discards, 0);
	assert_true(octavo_validate());
	assert_int_equal(swap_next_used(d->type, 0), ~0ul);
	assert_false(swap_entry_valid(swp_entry(d->type, bad)));
	/* all others are given, these never */
	for (unsigned long i = 1; i < CLUSTER - 2; i++) {
		assert_int_equal(hold(0), 0);
		assert_true(last_slot() - bad >= 2);
	}
	assert_int_equal(hold(0), -ENOMEM);
	drop(folio);
	off(d);
}

/* Written after all, or only refused: the slots are as good as others. */
static void test_slots_are_kept_after_a_second_try(void **state)
{
	struct test_device *d = on(CLUSTER);
	struct folio *folio;

	assert_int_equal(hold(0), 0);
	folio = held[--nr_held].folio;
	test_device_fail(d, SWAP_WRITE, -EIO, 1);
	assert_int_equal(swap_writeout(folio), -EIO);
	folio_lock(folio);
	assert_int_equal(swap_writeout(folio), 0);
	folio_lock(folio);
	assert_true(folio_free_swap(folio));
	assert_int_equal(stat_of(d->type).bad, 0);
	/* no room on the device says nothing about the medium */
	assert_int_equal(folio_alloc_swap(folio), 0);
	test_device_fail(d, SWAP_WRITE, -ENOSPC, 1);
	assert_int_equal(swap_writeout(folio), -ENOSPC);
	folio_lock(folio);
	assert_true(folio_test_flag(folio, PG_dirty));
	assert_true(folio_free_swap(folio));
	assert_int_equal(stat_of(d->type).bad, 0);
	assert_int_equal(stat_of(d->type).write_errors, 2);
	drop(folio);
	off(d);
}

/* ---- CPUs ---- */

/* CPUs do not share clusters while there are others; each one's slots are neighbours. */
static void test_cpus_have_clusters_of_their_own(void **state)
{
	struct test_device *d = on(6 * CLUSTER);
	unsigned long at[4];

	for (unsigned int i = 0; i < 4 * 3; i++) {
		sim_set_cpu(i % 4);
		assert_int_equal(hold(0), 0);
		if (i >= 4)
			assert_int_equal(last_slot(), at[i % 4] + 1);
		at[i % 4] = last_slot();
	}
	for (unsigned int i = 0; i < 4; i++)
		for (unsigned int j = 0; j < i; j++)
			assert_int_not_equal(at[i] / CLUSTER, at[j] / CLUSTER);
	/* and orders do not either */
	assert_int_equal(hold(1), 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_not_equal(last_slot() / CLUSTER, at[i] / CLUSTER);
	assert_true(octavo_validate());
	sim_set_cpu(0);
	off(d);
}

/* What other CPUs' clusters have left is found before there is none. */
COVERS("S2.26");
static void test_the_last_slots_are_those_of_other_cpus(void **state)
{
	struct test_device *d = on(4 * CLUSTER);

	for (unsigned int cpu = 0; cpu < 4; cpu++) {
		sim_set_cpu(cpu);
		assert_int_equal(hold(0), 0);
	}
	for (unsigned int i = 4; i < 4 * CLUSTER - 1; i++) {
		assert_true(swap_has_room());
		assert_int_equal(hold(0), 0);
	}
	assert_false(swap_has_room());
	assert_int_equal(hold(0), -ENOMEM);
	assert_true(octavo_validate());
	sim_set_cpu(0);
	off(d);
}

/* One cluster, which orders of one CPU share. */
static void test_orders_share_the_last_cluster(void **state)
{
	struct test_device *d = on(CLUSTER);

	assert_int_equal(hold(0), 0);
	assert_int_equal(hold(1), 0);
	assert_int_equal(hold(0), 0);
	assert_int_equal(hold(1), 0);
	assert_true(octavo_validate());
	off(d);
}

/* ---- several devices ---- */

static void test_devices_by_priority_and_in_turns(void **state)
{
	struct test_device *low, *a, *b, *high;
	unsigned int turns = 0;
	int last = -1;

	swap_boot();
	low = test_device_on(CLUSTER, -5, TD_SYNC);
	a = test_device_on(3 * CLUSTER, 1, TD_SYNC);
	b = test_device_on(3 * CLUSTER, 1, TD_SYNC);
	high = test_device_on(CLUSTER, 7, TD_SYNC);
	for (unsigned int i = 1; i < CLUSTER; i++) {
		assert_int_equal(hold(0), 0);
		assert_int_equal(swp_type(held[nr_held - 1].entry), high->type);
	}
	for (unsigned int i = 0; i < 6 * CLUSTER - 2; i++) {
		int type;

		assert_int_equal(hold(0), 0);
		type = (int)swp_type(held[nr_held - 1].entry);
		assert_true(type == a->type || type == b->type);
		turns += type != last;
		last = type;
	}
	/* a cluster of the one, then a cluster of the other */
	assert_true(turns >= 5);
	assert_int_equal(hold(0), 0);
	assert_int_equal(swp_type(held[nr_held - 1].entry), low->type);
	/* the best one is used again as soon as it can be */
	for (unsigned int i = nr_held; i-- > 0;)
		if ((int)swp_type(held[i].entry) != low->type)
			release(i);
	for (unsigned int i = 1; i < CLUSTER; i++)
		assert_int_equal(hold(0), 0);
	assert_true(swp_type(held[nr_held - 1].entry) == (unsigned int)high->type);
	release_all();
	assert_true(octavo_validate());
	test_device_off(a);
	test_device_off(low);
	test_device_off(high);
	test_device_off(b);
	shutdown_clean();
}

/* A device that is about to go gives no new slots; the others do, and it does too if it stays after all. */
static void test_closing_devices_give_no_slots(void **state)
{
	struct test_device *a, *b;
	swp_entry_t entry;

	swap_boot();
	a = test_device_on(CLUSTER, 5, TD_SYNC);
	assert_int_equal(hold(0), 0);
	entry = held[0].entry;
	assert_int_equal(swap_device_close_begin(a->type), 0);
	assert_int_equal(swap_device_close_begin(a->type), -EBUSY);
	assert_int_equal(swap_device_close_begin(9), -EINVAL);
	assert_int_equal(swap_device_close_begin(-1), -EINVAL);
	assert_false(swap_has_room());
	assert_int_equal(hold(0), -ENOMEM);
	b = test_device_on(CLUSTER, 0, TD_SYNC);
	assert_int_equal(hold(0), 0);
	assert_int_equal(swp_type(held[1].entry), b->type);
	assert_int_equal(swap_device_close_end(a->type), -EBUSY);
	assert_int_equal(swap_device_close_end(b->type), -EINVAL);
	assert_int_equal(swap_next_used(a->type, 0), swp_offset(entry));
	assert_true(octavo_validate());
	swap_device_close_abort(a->type);
	while (!hold(0))
		;
	assert_int_equal(nr_held, 2 * (CLUSTER - 1));
	assert_true(octavo_validate());
	release_all();
	test_device_off(a);
	/* its number is free for another */
	a = test_device_on(3, 0, TD_SYNC);
	assert_int_equal(a->type, 0);
	while (!hold(0))
		;
	release_all();
	test_device_off(b);
	test_device_off(a);
	shutdown_clean();
}

static void test_as_many_devices_as_entries_can_name(void **state)
{
	struct test_device *d[MAX_SWAPFILES], *more;

	swap_boot();
	more = test_device_make(2, TD_SYNC);
	for (int i = 0; i < MAX_SWAPFILES; i++) {
		d[i] = test_device_on(2, i % 3, TD_SYNC);
		assert_int_equal(d[i]->type, i);
	}
	assert_int_equal(test_device_swapon(more, 0), -EPERM);
	for (int i = 0; i < MAX_SWAPFILES; i++)
		assert_int_equal(hold(0), 0);
	assert_int_equal(hold(0), -ENOMEM);
	assert_int_equal(stat_of(-1).used, MAX_SWAPFILES);
	release_all();
	for (int i = 0; i < MAX_SWAPFILES; i++)
		test_device_off(d[i]);
	test_device_free(more);
	shutdown_clean();
}

static void test_swapon_refuses(void **state)
{
	const struct swap_device_ops none = { .submit = NULL };
	struct test_device *d;

	swap_boot();
	assert_int_equal(swapon(NULL, NULL, 2, 0, 0), -EINVAL);
	assert_int_equal(swapon(&none, NULL, 2, 0, 0), -EINVAL);
	assert_int_equal(swapon(&td_ops, NULL, 1, 0, 0), -EINVAL);
	assert_int_equal(swapon(&td_ops, NULL, 0, 0, 0), -EINVAL);
	assert_int_equal(swapon(&td_ops, NULL, 1ul << 50, 0, 0), -EINVAL);
	assert_int_equal(swapon(&td_ops, NULL, 2, 0, 2), -EINVAL);
	/* its tables do not fit */
	assert_int_equal(swapon(&td_ops, NULL, 1ul << (31 + SWAP_MAX_ORDER), 0, 0), -ENOMEM);
	assert_true(octavo_validate());
	d = test_device_on(2, 0, TD_SYNC);
	assert_true(swap_entry_sync(swp_entry(d->type, 1)));
	assert_false(swap_entry_sync(swp_entry(d->type + 1, 1)));
	assert_false(swap_entry_sync(swp_entry(SWP_HWPOISON, 1)));
	test_device_off(d);
	shutdown_clean();
}

/* A device that was never used costs next to nothing; one that was, gives all back. */
static void test_an_idle_device_costs_little(void **state)
{
	struct test_device *d;
	u64 free;

	swap_boot();
	d = test_device_on(2, 0, TD_SYNC);
	free = nr_free_pages();
	/* 64 GiB, in the geometry of products */
	assert_true(swapon(&td_ops, d, 32768ul * CLUSTER, -1, 0) >= 0);
	assert_true(free - nr_free_pages() <= (OCTAVO_TREE_ORDER > 6 ? 6u : 20u));
	assert_int_equal(swap_device_close_begin(1), 0);
	assert_int_equal(swap_device_close_end(1), 0);
	test_device_off(d);
	shutdown_clean();
}

/* ---- memory fails ---- */

#if OCTAVO_FAULTS

COVERS("SX.8");
static void test_swapon_fails_at_every_step(void **state)
{
	unsigned int failed = 0;

	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
	{
		struct test_device *d;
		int type;

		octavo_fault_disarm();
		swap_boot();
		d = test_device_make(CLUSTER, TD_SYNC);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
		type = test_device_swapon(d, 0);
		hit = octavo_fault_disarm();
		failed += type < 0;
		assert_true(type == 0 || (hit && type == -ENOMEM));
		assert_true(octavo_validate());
		if (type < 0)
			assert_int_equal(test_device_swapon(d, 0), 0);
		test_device_off(d);
		shutdown_clean();
	}
	assert_true(failed >= 2);
}

/* No memory for a new cluster: what there is serves, and nothing is broken when there is none. */
COVERS("SX.8");
static void test_alloc_fails_at_every_step(void **state)
{
	const u32 kinds = OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB | OCTAVO_FAULT_TRYLOCK;
	const int fault_modes[] = { OCTAVO_FAULT_ONCE, OCTAVO_FAULT_AFTER };
	unsigned int failed = 0;

	for (unsigned int m = 0; m < 2; m++) {
		for_each_fault(k, fault_modes[m], kinds, hit)
		{
			struct folio *folio[3];
			struct test_device *d;
			int err[3];

			octavo_fault_disarm();
			d = on(4 * CLUSTER);
			for (unsigned int i = 0; i < 3; i++)
				folio[i] = make(i == 2 ? 0 : SWAP_MAX_ORDER, 0);
			octavo_fault_arm(k, fault_modes[m], kinds);
			for (unsigned int i = 0; i < 3; i++)
				err[i] = folio_alloc_swap(folio[i]);
			hit = octavo_fault_disarm();
			assert_true(octavo_validate());
			for (unsigned int i = 0; i < 3; i++) {
				failed += err[i] != 0;
				assert_true(!err[i] || err[i] == -ENOMEM || err[i] == -EAGAIN);
				assert_int_equal(!err[i], folio_test_flag(folio[i], PG_swapcache));
				if (err[i]) {
					assert_int_equal(folio_ref_count(folio[i]), 1);
					assert_int_equal(folio_alloc_swap(folio[i]), 0);
				}
				assert_true(folio_free_swap(folio[i]));
				drop(folio[i]);
			}
			off(d);
		}
	}
	assert_true(failed > 0);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_slots_of_every_size_of_device),
		TEST(test_no_device),
		TEST(test_runs_fill_a_device),
		TEST(test_small_ones_leave_large_runs_alone),
		TEST(test_random_orders_against_a_model),
		TEST(test_slots_with_write_errors_are_given_up),
		TEST(test_slots_are_kept_after_a_second_try),
		TEST(test_cpus_have_clusters_of_their_own),
		TEST(test_the_last_slots_are_those_of_other_cpus),
		TEST(test_orders_share_the_last_cluster),
		TEST(test_devices_by_priority_and_in_turns),
		TEST(test_closing_devices_give_no_slots),
		TEST(test_as_many_devices_as_entries_can_name),
		TEST(test_swapon_refuses),
		TEST(test_an_idle_device_costs_little),
#if OCTAVO_FAULTS
		TEST(test_swapon_fails_at_every_step),
		TEST(test_alloc_fails_at_every_step),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
