// SPDX-License-Identifier: MIT
/*
 * test_slab_scan.c - looking at all objects of a cache in turns: none is missed in a lap, and laps end.
 */
#include "test.h"

#include <octavo/rcu.h>

#include "slab_cache.h"

#define NR 3000u

static void *objs[NR];
static u8 seen[NR];

static int find(const void *obj)
{
	for (u32 i = 0; i < NR; i++)
		if (objs[i] == obj)
			return (int)i;
	return -1;
}

/* One lap, @max at a time. Return: objects that were given out. */
static u32 lap(struct kmem_cache *s, u32 max)
{
	struct slab_scan scan = { 0 };
	u32 sum = 0, nr;
	void *out[64];

	do {
		rcu_read_lock();
		nr = kmem_cache_scan(s, &scan, max, out);
		rcu_read_unlock();
		assert_true(nr <= max);
		sum += nr;
		for (u32 i = 0; i < nr; i++) {
			int at = find(out[i]);

			if (at >= 0)
				seen[at]++;
		}
	} while (nr);
	return sum;
}

static void check_lap(struct kmem_cache *s, u32 max)
{
	memset(seen, 0, sizeof(seen));
	lap(s, max);
	for (u32 i = 0; i < NR; i++)
		assert_int_equal(seen[i], objs[i] ? 1 : 0);
}

static void test_scan_meets_each_object_once_a_lap(void **state)
{
	struct kmem_cache *s;

	boot_small(64, 2);
	s = make(48, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	memset(objs, 0, sizeof(objs));
	assert_int_equal(lap(s, 32), 0);
	for (u32 i = 0; i < NR; i++)
		objs[i] = get(s);
	check_lap(s, 32);
	check_lap(s, 1);
	check_lap(s, 64);
	assert_true(kmem_cache_validate(s));
	/* holes, and partial slabs: what is free may be given out, what is not must be */
	for (u32 i = 0; i < NR; i += 3) {
		kmem_cache_free(s, objs[i]);
		objs[i] = NULL;
	}
	kmem_cache_shrink(s);
	check_lap(s, 7);
	assert_true(kmem_cache_validate(s));
	for (u32 i = 0; i < NR; i++)
		if (objs[i])
			kmem_cache_free(s, objs[i]);
	wait_grace_period();
	kmem_cache_shrink(s);
	assert_int_equal(lap(s, 32), 0);
	kmem_cache_destroy(s);
	shutdown_clean();
}

/* Slabs come and go between the calls of one lap: it ends, and what stays is met in this one or the next. */
static void test_scan_while_slabs_come_and_go(void **state)
{
	struct slab_scan scan = { 0 };
	struct kmem_cache *s;
	void *out[16];
	u32 laps = 0;

	boot_small(64, 2);
	s = make(48, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	memset(objs, 0, sizeof(objs));
	memset(seen, 0, sizeof(seen));
	for (u32 i = 0; i < NR; i++)
		objs[i] = get(s);
	for (u32 turn = 0; turn < 20000 && laps < 4; turn++) {
		u32 i = turn * 7919u % NR, nr;

		/* the first half stays */
		if (i >= NR / 2) {
			if (objs[i])
				kmem_cache_free(s, objs[i]);
			objs[i] = objs[i] ? NULL : get(s);
		}
		rcu_read_lock();
		nr = kmem_cache_scan(s, &scan, 16, out);
		rcu_read_unlock();
		for (u32 n = 0; n < nr; n++) {
			int at = find(out[n]);

			if (at >= 0)
				seen[at] = 1;
		}
		laps += !nr;
	}
	assert_int_equal(laps, 4);
	for (u32 i = 0; i < NR / 2; i++)
		assert_int_equal(seen[i], 1);
	for (u32 i = 0; i < NR; i++)
		if (objs[i])
			kmem_cache_free(s, objs[i]);
	kmem_cache_destroy(s);
	shutdown_clean();
}

struct scanner {
	struct kmem_cache *s;
	u32 stop, laps;
};

static void scan_or_churn(unsigned int cpu, void *arg)
{
	struct scanner *sc = arg;
	struct slab_scan scan = { 0 };
	void *out[32], *mine[200];

	for (u32 turn = 0; cpu == 0 ? turn < 400 : !smp_load_acquire(&sc->stop); turn++) {
		if (cpu == 0) {
			for (u32 i = 0; i < ARRAY_SIZE(mine); i++)
				mine[i] = get(sc->s);
			for (u32 i = 0; i < ARRAY_SIZE(mine); i++)
				kmem_cache_free(sc->s, mine[i]);
			continue;
		}
		rcu_read_lock();
		if (!kmem_cache_scan(sc->s, &scan, 32, out))
			fetch_add_relaxed(&sc->laps, 1u);
		rcu_read_unlock();
	}
	if (cpu == 0)
		smp_store_release(&sc->stop, 1u);
}

static void test_scan_beside_allocation(void **state)
{
	struct scanner sc = { 0 };

	boot_small(64, 3);
	sc.s = make(64, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	sim_run(3, false, scan_or_churn, &sc);
	assert_true(kmem_cache_validate(sc.s));
	kmem_cache_destroy(sc.s);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_scan_meets_each_object_once_a_lap),
		TEST(test_scan_while_slabs_come_and_go),
		TEST(test_scan_beside_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
