/* SPDX-License-Identifier: MIT */
/*
 * test_sheaf.c - sheaves and depot: reuse, prefilled sheaves, remote frees, drains beside running CPUs.
 */
#include "test.h"

#include <sched.h>

#include <octavo/atomic.h>
#include <octavo/page.h>
#include <octavo/slab.h>

static struct kmem_cache *cache;

static struct kmem_cache_stat stat_now(void)
{
	struct kmem_cache_stat st;

	kmem_cache_stat(cache, &st);
	return st;
}

static void setup(u32 size, u32 flags, u32 cpus)
{
	boot_small(64, cpus);
	cache = kmem_cache_create("sheaf", size, 0, flags, NULL);
	assert_non_null(cache);
}

static void teardown(void)
{
	assert_int_equal(stat_now().active, 0);
	assert_true(octavo_validate());
	kmem_cache_destroy(cache);
	shutdown_clean();
}

static void test_sheaf_last_freed_is_next_allocated(void **state)
{
	void *a, *b;

	setup(64, 0, 2);
	a = kmem_cache_alloc(cache, GFP_KERNEL);
	b = kmem_cache_alloc(cache, GFP_KERNEL);
	kmem_cache_free(cache, a);
	kmem_cache_free(cache, b);
	assert_ptr_equal(kmem_cache_alloc(cache, GFP_KERNEL), b);
	assert_ptr_equal(kmem_cache_alloc(cache, GFP_KERNEL), a);
	kmem_cache_free(cache, a);
	kmem_cache_free(cache, b);
	teardown();
}

static void test_sheaf_counts_are_exact_when_quiet(void **state)
{
	enum { MANY = 3000 };
	static void *objs[MANY];

	setup(64, 0, 2);
	for (u32 n = 0; n < MANY; n++) {
		assert_int_equal(n % 97 ? n : stat_now().active, n);
		objs[n] = kmem_cache_alloc(cache, GFP_KERNEL);
		assert_non_null(objs[n]);
	}
	for (u32 n = MANY; n--;) {
		kmem_cache_free(cache, objs[n]);
		assert_int_equal(n % 97 ? n : stat_now().active, n);
	}
	teardown();
}

static void test_sheaf_shrink_empties_every_cpu(void **state)
{
	void *objs[200], *keep;

	setup(512, 0, 2);
	keep = kmem_cache_alloc(cache, GFP_KERNEL);
	for (u32 cpu = 0; cpu < 2; cpu++) {
		sim_set_cpu(cpu);
		for (int i = 0; i < 200; i++)
			objs[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		for (int i = 0; i < 200; i++)
			kmem_cache_free(cache, objs[i]);
	}
	sim_set_cpu(0);
	assert_true(kmem_cache_shrink(cache) > 0);
	assert_int_equal(stat_now().slabs, 1);
	assert_int_equal(kmem_cache_shrink(cache), 0);
	kmem_cache_free(cache, keep);
	assert_true(kmem_cache_shrink_all() > 0);
	assert_int_equal(stat_now().slabs, 0);
	teardown();
}

/* ---- prefilled ---- */

static struct slab_sheaf *filled;
static struct kmem_cache *other;

static void pop_filled(void *s)
{
	kmem_cache_alloc_from_sheaf(s, filled);
}

static void test_sheaf_prefilled_objects_are_there(void **state)
{
	static const u32 counts[] = { 0, 1, OCTAVO_SHEAF, OCTAVO_SHEAF + 1, 2000 };

	setup(64, 0, 2);
	for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
		void *objs[2000];
		u32 half = counts[i] / 2;

		filled = kmem_cache_prefill_sheaf(cache, GFP_KERNEL, counts[i]);
		assert_non_null(filled);
		assert_int_equal(kmem_cache_sheaf_size(filled), counts[i]);
		assert_int_equal(stat_now().active, counts[i]);
#if OCTAVO_FAULTS
		/* whatever fails from here on */
		octavo_fault_arm(1, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_ALL);
#endif
		for (u32 k = 0; k < half; k++) {
			objs[k] = kmem_cache_alloc_from_sheaf(cache, filled);
			memset(objs[k], 7, 64);
		}
#if OCTAVO_FAULTS
		assert_int_equal(octavo_fault_disarm(), 0);
#endif
		assert_int_equal(kmem_cache_sheaf_size(filled), counts[i] - half);
		kmem_cache_return_sheaf(cache, filled);
		assert_int_equal(stat_now().active, half);
		kmem_cache_free_bulk(cache, half, objs);
	}
	teardown();
}

static void test_sheaf_prefilled_misuse_panics(void **state)
{
	setup(64, 0, 2);
	filled = kmem_cache_prefill_sheaf(cache, GFP_KERNEL, 0);
	expect_panic(pop_filled, cache, "empty");
	setup(64, 0, 2);
	other = kmem_cache_create("other", 64, 0, 0, NULL);
	filled = kmem_cache_prefill_sheaf(cache, GFP_KERNEL, 1);
	expect_panic(pop_filled, other, "another cache");
}

static void test_sheaf_prefill_fails_whole(void **state)
{
	setup(4096, 0, 2);
	assert_null(kmem_cache_prefill_sheaf(cache, GFP_NOWAIT, 100000));
	teardown();
}

/* ---- several CPUs ---- */

#define RING 256u

static struct {
	void *slot[RING]; /* NULL: free; stored with release, taken with acquire */
	u32 rounds;
} ring;

static void take_turns(void)
{
	octavo_port_relax();
	sched_yield();
}

/* CPU 0 allocates, CPU 1 frees. */
static void produce_or_consume(unsigned int cpu, void *arg)
{
	for (u32 i = 0; i < ring.rounds; i++) {
		void **slot = &ring.slot[i % RING];
		u64 *p;

		if (cpu == 0) {
			p = kmem_cache_alloc(cache, GFP_KERNEL);
			assert_non_null(p);
			for (int w = 0; w < 8; w++)
				p[w] = i;
			while (smp_load_acquire(slot))
				take_turns();
			smp_store_release(slot, (void *)p);
		} else {
			while (!(p = smp_load_acquire(slot)))
				take_turns();
			for (int w = 0; w < 8; w++)
				assert_int_equal(p[w], i);
			kmem_cache_free(cache, p);
			smp_store_release(slot, NULL);
		}
	}
}

static void test_sheaf_objects_freed_by_another_cpu_come_back(void **state)
{
	setup(64, 0, 2);
	memset(&ring, 0, sizeof(ring));
	ring.rounds = 60000;
	sim_run(2, false, produce_or_consume, NULL);
	/* they were reused: memory for one ring and what sheaves hold, not for all rounds */
	assert_true(stat_now().objects < 6000);
	teardown();
}

#define MANY 4000u

/* Each CPU has slabs of its own, but not while another one has plenty of free objects. */
static void test_sheaf_slabs_are_shared_only_when_there_are_plenty(void **state)
{
	static void *objs[MANY];
	void *theirs;
	u64 before;

	setup(64, 0, 2);
	for (u32 i = 0; i < MANY; i++)
		assert_non_null(objs[i] = kmem_cache_alloc(cache, GFP_KERNEL));
	sim_set_cpu(1);
	assert_non_null(theirs = kmem_cache_alloc(cache, GFP_KERNEL));
	for (u32 i = 0; i < MANY; i++)
		assert_ptr_not_equal(page_slab(virt_to_page(objs[i])),
				     page_slab(virt_to_page(theirs)));
	sim_set_cpu(0);
	for (u32 i = 0; i < MANY; i += 2)
		kmem_cache_free(cache, objs[i]);
	before = stat_now().slabs;
	sim_set_cpu(1);
	for (u32 i = 0; i < MANY; i += 2)
		assert_non_null(objs[i] = kmem_cache_alloc(cache, GFP_KERNEL));
	/* what the other home may keep, four slabs' worth and what is in sheaves, may be made anew */
	assert_true(stat_now().slabs <= before + 8);
	assert_true(kmem_cache_validate(cache));
	for (u32 i = 0; i < MANY; i++)
		kmem_cache_free(cache, objs[i]);
	kmem_cache_free(cache, theirs);
	sim_set_cpu(0);
	teardown();
}

/* Without frames the last free object is found wherever it is. */
static void test_sheaf_last_object_is_had_from_any_cpu(void **state)
{
	void **chain = NULL, **obj, *theirs;

	setup(64, 0, 2);
	while ((obj = kmem_cache_alloc(cache, GFP_KERNEL | __GFP_NOWARN))) {
		*obj = chain;
		chain = obj;
	}
	for (u32 round = 0; round < 3; round++) {
		obj = chain;
		chain = *chain;
		kmem_cache_free(cache, obj);
		sim_set_cpu(1);
		assert_non_null(theirs = kmem_cache_alloc(cache, GFP_KERNEL));
		assert_null(kmem_cache_alloc(cache, GFP_KERNEL | __GFP_NOWARN));
		sim_set_cpu(0);
		obj = theirs;
		*obj = chain;
		chain = obj;
	}
	while ((obj = chain)) {
		chain = *chain;
		kmem_cache_free(cache, obj);
	}
	teardown();
}

#define SLOTS 512u

static struct {
	void *slot[SLOTS];
	u32 rounds;
	bool typesafe;
} shared;

static u64 next(u64 *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Anybody frees what anybody allocated; CPU 2 shrinks, looks and bulks in between. */
static void swap_slots(unsigned int cpu, void *arg)
{
	u64 seed = 977 + cpu;
	void *objs[40];

	for (u32 i = 0; i < shared.rounds; i++) {
		void **slot = &shared.slot[next(&seed) % SLOTS];
		u64 *mine = kmem_cache_alloc(cache, cpu ? GFP_ATOMIC : GFP_KERNEL), *old;

		assert_non_null(mine);
		mine[0] = mine[1] = mine[7] = (u64)(uintptr_t)mine;
		/* acq_rel: the words above go with it, and those of the other's with what we get */
		old = xchg_acq_rel(slot, (void *)mine);
		if (old) {
			assert_true(old[0] == (u64)(uintptr_t)old && old[1] == old[0] &&
				    old[7] == old[0]);
			kmem_cache_free(cache, old);
		}
		if (cpu == 2 && i % 512 == 0)
			kmem_cache_shrink(cache);
		if (cpu == 2 && i % 700 == 0)
			stat_now();
		if (i % 200 == 0) {
			assert_int_equal(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 40, objs), 0);
			kmem_cache_free_bulk(cache, 40, objs);
		}
	}
}

static void stress(u32 flags, u32 rounds)
{
	setup(64, flags, 3);
	memset(&shared, 0, sizeof(shared));
	shared.rounds = rounds;
	sim_run(3, false, swap_slots, NULL);
	for (u32 i = 0; i < SLOTS; i++)
		if (shared.slot[i])
			kmem_cache_free(cache, shared.slot[i]);
	teardown();
}

static void test_sheaf_stress_with_shrink_beside(void **state)
{
	stress(0, 20000);
}

static void test_sheaf_stress_typesafe(void **state)
{
	stress(SLAB_TYPESAFE_BY_RCU, 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sheaf_last_freed_is_next_allocated),
		cmocka_unit_test(test_sheaf_counts_are_exact_when_quiet),
		cmocka_unit_test(test_sheaf_shrink_empties_every_cpu),
		cmocka_unit_test(test_sheaf_prefilled_objects_are_there),
		cmocka_unit_test(test_sheaf_prefilled_misuse_panics),
		cmocka_unit_test(test_sheaf_prefill_fails_whole),
		cmocka_unit_test(test_sheaf_objects_freed_by_another_cpu_come_back),
		cmocka_unit_test(test_sheaf_slabs_are_shared_only_when_there_are_plenty),
		cmocka_unit_test(test_sheaf_last_object_is_had_from_any_cpu),
		cmocka_unit_test(test_sheaf_stress_with_shrink_beside),
		cmocka_unit_test(test_sheaf_stress_typesafe),
	};

	return cmocka_run_group_tests_name("sheaf", tests, NULL, NULL);
}
