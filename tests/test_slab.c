/* SPDX-License-Identifier: MIT */
/*
 * test_slab.c - caches and slabs: layout, words, type-stability, grace periods, against a model. What must not be
 * done, and steps that fail: test_slab_misuse.c.
 */
#include "test.h"

#include <pthread.h>

#include "slab_cache.h"

#define NR 700u

/* ---- layout ---- */

static void test_slab_create_refuses_the_impossible(void **state)
{
	struct kmem_cache_args prefix = { .stable_prefix = 16 }, node = { .node_plus_1 = 65 };

	boot_small(64, 2);
	sim_log_to(drop_line);
	assert_null(kmem_cache_create("zero", 0, 0, 0, NULL));
	assert_null(kmem_cache_create("large", 65537, 0, 0, NULL));
	assert_null(kmem_cache_create("align", 64, 24, 0, NULL));
	assert_null(kmem_cache_create("align", 64, 2 * PAGE_SIZE, 0, NULL));
	assert_null(kmem_cache_create("flags", 64, 0, 0x80000000u, NULL));
	assert_null(kmem_cache_create("flags", 64, 0, 0x40000000u, NULL));
	assert_null(kmem_cache_create("no rcu", 64, 0, 0, &prefix));
	assert_null(kmem_cache_create("no room", 16, 0, SLAB_TYPESAFE_BY_RCU, &prefix));
	assert_null(kmem_cache_create("node", 64, 0, 0, &node));
	assert_null(kmem_cache_create(NULL, 64, 0, 0, NULL));
	sim_log_to(NULL);
	assert_true(sim_log_take(NULL) >= 10);
	assert_int_equal(nr_free_pages(), totalram_pages());
	shutdown_clean();
}

static void create_must(void *unused)
{
	kmem_cache_create("must", 0, 0, SLAB_PANIC, NULL);
}

static void test_slab_create_with_panic_does(void **state)
{
	boot_small(64, 2);
	expect_panic(create_must, NULL, "cannot be created");
}

COVERS("S3.5 S3.23");
static void test_slab_every_page_of_a_slab_names_it(void **state)
{
	static const u32 sizes[] = { 1, 8, 24, 48, 64, 100, 512, 1000, 4000, 4096, 5000, 65536 };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		u32 n = min(NR, (4u << 20) / sizes[i]);
		struct kmem_cache_stat st;
		struct kmem_cache *s;
		void *objs[NR];

		boot_small(64, 2);
		s = make(sizes[i], 0, 0, NULL);
		for (u32 k = 0; k < n; k++) {
			char *p = objs[k] = get(s);
			struct page *first = virt_to_page(p),
				    *last = virt_to_page(p + sizes[i] - 1);

			assert_true(IS_ALIGNED((unsigned long)p, 8));
			for (struct page *page = first; page <= last; page++) {
				assert_ptr_equal(page_slab(page), page_slab(first));
				assert_non_null(page_slab(page));
				assert_null(page_folio(page));
				assert_null(compound_head(page));
			}
			memset(p, (int)k, sizes[i]);
		}
		for (u32 k = 0; k < n; k++)
			for (u32 b = 0; b < sizes[i]; b += 61)
				assert_int_equal(((u8 *)objs[k])[b], (u8)k);
		st = stat_of(s);
		assert_int_equal(st.active, n);
		assert_int_equal(st.object_size, sizes[i]);
		assert_true(st.objects >= n && st.frames << PAGE_SHIFT >= st.objects * st.size);
		assert_true(octavo_validate());
		for (u32 k = 0; k < n; k++)
			kmem_cache_free(s, objs[k]);
		assert_int_equal(stat_of(s).active, 0);
		kmem_cache_destroy(s);
		assert_int_equal(free_after_shrink(), totalram_pages());
		for (u32 k = 0; k < n; k++)
			assert_null(page_slab(virt_to_page(objs[k])));
		shutdown_clean();
	}
}

static void test_slab_objects_are_aligned(void **state)
{
	boot_small(64, 2);
	for (u32 align = 8; align <= PAGE_SIZE; align *= 2) {
		struct kmem_cache *s = make(40, align, SLAB_RED_ZONE, NULL);
		void *objs[40];

		for (u32 i = 0; i < 40; i++) {
			objs[i] = get(s);
			assert_true(IS_ALIGNED((unsigned long)objs[i], align));
		}
		kmem_cache_free_bulk(s, 40, objs);
		kmem_cache_destroy(s);
	}
	shutdown_clean();
}

/* Bytes an object in a cache with many: its share of slabs, descriptors and the words of both. */
static double bytes_each(u32 size, u32 flags)
{
	enum { MANY = 40000 };
	static void *objs[MANY];
	struct kmem_cache *s = make(size, 16, flags, NULL);
	struct kmem_cache_stat st;

	assert_int_equal(kmem_cache_alloc_bulk(s, GFP_KERNEL, MANY, objs), 0);
	st = stat_of(s);
	kmem_cache_free_bulk(s, MANY, objs);
	kmem_cache_destroy(s);
	return (double)(st.frames * (PAGE_SIZE + 8) + st.desc_bytes) / (double)st.objects;
}

static void test_slab_small_objects_are_dense(void **state)
{
	boot_small(64, 2);
	/* with the page's own word, 8, and its bit in the frame allocator */
	if (MAX_FOLIO_ORDER >= 9) {
		assert_true(bytes_each(48, SLAB_EMBED) <= 48.6);
		assert_true(bytes_each(64, SLAB_EMBED) <= 65.0);
		assert_true(bytes_each(64, 0) <= 65.0);
		assert_true(bytes_each(128, 0) <= 129.9);
	}
	shutdown_clean();
}

static void test_slab_descriptor_is_separate_where_it_would_cost_more(void **state)
{
	struct kmem_cache *s;
	void *p;

	boot_small(64, 2);
	s = make(4096, 0, 0, NULL);
	p = get(s);
	assert_true(stat_of(s).desc_bytes > 0);
	assert_true(IS_ALIGNED((unsigned long)p, PAGE_SIZE));
	kmem_cache_free(s, p);
	kmem_cache_destroy(s);
	s = make(2000, 0, 0, NULL);
	p = get(s);
	assert_int_equal(stat_of(s).desc_bytes, 0);
	kmem_cache_free(s, p);
	kmem_cache_destroy(s);
	s = make(4096, 0, SLAB_EMBED, NULL);
	p = get(s);
	assert_int_equal(stat_of(s).desc_bytes, 0);
	kmem_cache_free(s, p);
	kmem_cache_destroy(s);
	shutdown_clean();
}

/* ---- contents ---- */

static unsigned int constructed;

static void count_ctor(void *obj)
{
	constructed++;
	memset(obj, 0x42, 64);
}

COVERS("S3.10");
static void test_slab_constructor_runs_once_a_slab(void **state)
{
	const struct kmem_cache_args args = { .ctor = count_ctor };
	struct kmem_cache *s;
	void *objs[100];

	constructed = 0;
	boot_small(64, 2);
	s = make(64, 0, 0, &args);
	for (int round = 0; round < 20; round++) {
		assert_int_equal(kmem_cache_alloc_bulk(s, GFP_KERNEL, 100, objs), 0);
		for (int i = 0; i < 100; i++) {
			/* the first word is the allocator's while the object is free */
			for (int b = 8; b < 64; b++)
				assert_int_equal(((u8 *)objs[i])[b], 0x42);
			assert_int_equal(*(u64 *)objs[i], 0);
		}
		kmem_cache_free_bulk(s, 100, objs);
	}
	assert_int_equal(constructed, stat_of(s).objects);
	kmem_cache_destroy(s);
	shutdown_clean();
}

static void test_slab_zeroed_on_demand_and_when_new(void **state)
{
	struct kmem_cache *s, *t;
	u8 zero[200] = { 0 };
	u8 *p, *q;

	boot_small(64, 2);
	s = make(200, 0, 0, NULL);
	p = get(s);
	memset(p, 0xff, 200);
	kmem_cache_free(s, p);
	q = kmem_cache_alloc(s, GFP_KERNEL | __GFP_ZERO);
	assert_ptr_equal(p, q);
	assert_memory_equal(q, zero, 200);
	kmem_cache_free(s, q);
	/* no constructor: fresh objects are zero; poison, where it is on, starts beyond the stable prefix */
	t = make(200, 0, SLAB_TYPESAFE_BY_RCU, &(struct kmem_cache_args){ .stable_prefix = 192 });
	q = get(t);
	assert_memory_equal(q, zero, 192);
	kmem_cache_free(t, q);
	kmem_cache_destroy(t);
	kmem_cache_destroy(s);
	shutdown_clean();
}

/* ---- type-stable under RCU ---- */

COVERS("S3.10");
static void test_slab_stable_prefix_lives_across_reuse(void **state)
{
	const struct kmem_cache_args args = { .stable_prefix = 8 };
	struct kmem_cache *s;
	u64 *p, *q;

	boot_small(64, 2);
	s = make(48, 16, SLAB_TYPESAFE_BY_RCU | SLAB_POISON, &args);
	p = get(s);
	p[0] = 0x123456789abcdefull;
	kmem_cache_free(s, p);
	assert_true(p[0] == 0x123456789abcdefull);
	q = get(s);
	assert_ptr_equal(p, q);
	assert_true(q[0] == 0x123456789abcdefull);
	kmem_cache_free(s, q);
	/* through the slab layer too */
	p = get(s);
	q = get(s);
	q[0] = 77;
	kmem_cache_free(s, q);
	kmem_cache_shrink(s);
	assert_int_equal(q[0], 77);
	kmem_cache_free(s, p);
	kmem_cache_destroy(s);
	shutdown_clean();
}

static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int step;
} meet = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };

static void meet_set(int step)
{
	pthread_mutex_lock(&meet.lock);
	meet.step = step;
	pthread_cond_broadcast(&meet.cond);
	pthread_mutex_unlock(&meet.lock);
}

static void meet_wait(int step)
{
	pthread_mutex_lock(&meet.lock);
	while (meet.step < step)
		pthread_cond_wait(&meet.cond, &meet.lock);
	pthread_mutex_unlock(&meet.lock);
}

static struct kmem_cache *rcu_cache;

static void reader_or_freer(unsigned int cpu, void *arg)
{
	void *objs[200];

	if (cpu == 1) {
		rcu_read_lock();
		meet_set(1);
		meet_wait(2);
		rcu_read_unlock();
		return;
	}
	assert_int_equal(kmem_cache_alloc_bulk(rcu_cache, GFP_KERNEL, 200, objs), 0);
	meet_wait(1);
	kmem_cache_free_bulk(rcu_cache, 200, objs);
	for (int i = 0; i < 5; i++)
		assert_int_equal(kmem_cache_shrink(rcu_cache), 0);
	/* all of it is still slab memory of this cache, whatever frees tried */
	for (int i = 0; i < 200; i++)
		assert_non_null(page_slab(virt_to_page(objs[i])));
	assert_true(stat_of(rcu_cache).frames > 0);
	assert_int_equal(stat_of(rcu_cache).active, 0);
	/* and can be allocated again meanwhile */
	assert_int_equal(kmem_cache_alloc_bulk(rcu_cache, GFP_KERNEL, 200, objs), 0);
	kmem_cache_free_bulk(rcu_cache, 200, objs);
	meet_set(2);
}

COVERS("S3.10");
static void test_slab_typesafe_frames_wait_for_readers(void **state)
{
	const struct kmem_cache_args args = { .stable_prefix = 8 };

	meet.step = 0;
	boot_small(64, 2);
	rcu_cache = make(512, 0, SLAB_TYPESAFE_BY_RCU, &args);
	sim_run(2, false, reader_or_freer, NULL);
	wait_grace_period();
	kmem_cache_shrink(rcu_cache);
	assert_int_equal(stat_of(rcu_cache).slabs, 0);
	kmem_cache_destroy(rcu_cache);
	shutdown_clean();
}

COVERS("S3.11");
static void test_slab_others_give_frames_back_at_once(void **state)
{
	struct kmem_cache *s;
	void *objs[200];

	boot_small(64, 2);
	s = make(512, 0, 0, NULL);
	assert_int_equal(kmem_cache_alloc_bulk(s, GFP_KERNEL, 200, objs), 0);
	kmem_cache_free_bulk(s, 200, objs);
	rcu_read_lock();
	assert_true(kmem_cache_shrink(s) > 0);
	rcu_read_unlock();
	assert_int_equal(stat_of(s).slabs, 0);
	kmem_cache_destroy(s);
	shutdown_clean();
}

/* ---- bulk, shrink, nodes, lists ---- */

COVERS("SX.8");
static void test_slab_bulk_is_all_or_nothing(void **state)
{
	enum { TOO_MANY = 5000 };
	static void *objs[TOO_MANY];
	struct kmem_cache *s;

	boot_small(16, 2);
	s = make(4096, 0, 0, NULL);
	assert_int_equal(kmem_cache_alloc_bulk(s, GFP_KERNEL, 0, objs), 0);
	assert_int_equal(kmem_cache_alloc_bulk(s, GFP_KERNEL | __GFP_NOWARN, TOO_MANY, objs),
			 -ENOMEM);
	assert_int_equal(stat_of(s).active, 0);
	assert_true(octavo_validate());
	assert_int_equal(kmem_cache_alloc_bulk(s, GFP_KERNEL, 1000, objs), 0);
	for (int i = 0; i < 1000; i++)
		*(u64 *)objs[i] = (u64)i;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(*(u64 *)objs[i], i);
	kmem_cache_free_bulk(s, 1000, objs);
	kmem_cache_destroy(s);
	assert_int_equal(free_after_shrink(), totalram_pages());
	shutdown_clean();
}

static void test_slab_exhaustion_and_recovery(void **state)
{
	struct kmem_cache *s;
	void *last = NULL, *p;
	u64 n = 0;

	boot_small(16, 2);
	s = make(4096, 0, 0, NULL);
	while ((p = kmem_cache_alloc(s, GFP_NOWAIT))) {
		*(void **)p = last;
		last = p;
		n++;
	}
	assert_true(n > 3000);
	assert_int_equal(stat_of(s).active, n);
	p = last;
	last = *(void **)p;
	kmem_cache_free(s, p);
	p = get(s);
	kmem_cache_free(s, p);
	for (; last; last = p) {
		p = *(void **)last;
		kmem_cache_free(s, last);
	}
	kmem_cache_destroy(s);
	assert_int_equal(free_after_shrink(), totalram_pages());
	shutdown_clean();
}

static bool count_caches(struct kmem_cache *s, void *n)
{
	struct kmem_cache_stat st;

	kmem_cache_stat(s, &st);
	assert_non_null(st.name);
	return ++*(u32 *)n < 1000;
}

static bool stop_at_once(struct kmem_cache *s, void *n)
{
	++*(u32 *)n;
	return false;
}

static void test_slab_caches_are_listed(void **state)
{
	struct kmem_cache *a, *b;
	u32 before = 0, with = 0, one = 0, after = 0;

	boot_small(64, 2);
	kmem_cache_for_each(count_caches, &before);
	a = make(10, 0, 0, NULL);
	b = make(20, 0, 0, NULL);
	kmem_cache_for_each(count_caches, &with);
	kmem_cache_for_each(stop_at_once, &one);
	kmem_cache_destroy(a);
	kmem_cache_destroy(b);
	kmem_cache_destroy(NULL);
	kmem_cache_for_each(count_caches, &after);
	assert_int_equal(with, before + 2);
	assert_int_equal(one, 1);
	assert_int_equal(after, before);
	shutdown_clean();
}

static void test_slab_node_strict_caches(void **state)
{
	struct sim_config cfg = { .bytes = 128 << 20, .nodes = 2, .cpus = 2 };
	struct kmem_cache *s[2];
	void *objs[2][100];

	assert_int_equal(sim_boot(&cfg), 0);
	for (u32 n = 0; n < 2; n++) {
		const struct kmem_cache_args args = { .node_plus_1 = n + 1 };

		s[n] = make(256, 0, 0, &args);
		assert_int_equal(kmem_cache_alloc_bulk(s[n], GFP_KERNEL, 100, objs[n]), 0);
		for (int i = 0; i < 100; i++)
			assert_int_equal(page_to_nid(virt_to_page(objs[n][i])), n);
	}
	for (u32 n = 0; n < 2; n++) {
		kmem_cache_free_bulk(s[n], 100, objs[n]);
		kmem_cache_destroy(s[n]);
	}
	shutdown_clean();
}

static void test_slab_shutdown_counts_leaks(void **state)
{
	struct kmem_cache *s;

	boot_small(64, 2);
	s = make(64, 0, 0, NULL);
	get(s);
	sim_log_to(drop_line);
	/* its slab, and the one of its struct kmem_cache */
	assert_true(sim_shutdown() >= 2);
	sim_log_to(NULL);
	sim_log_take(NULL);
	/* a cache that nobody destroyed, but that is empty, is no leak */
	boot_small(64, 2);
	s = make(64, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	kmem_cache_free(s, get(s));
	shutdown_clean();
}

/* ---- against a model ---- */

static u64 rng = 88172645463325252ull;

static u32 rnd(u32 n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (u32)(rng % n);
}

struct held {
	u8 *p;
	u32 cache;
	u8 fill;
};

static void check_held(const struct held *h, u32 size)
{
	for (u32 i = 0; i < size; i++)
		assert_int_equal(h->p[i], h->fill);
}

static void test_slab_random_against_model(void **state)
{
	enum { CACHES = 4, HELD = 2000, STEPS = 30000 };
	static const u32 sizes[CACHES] = { 24, 100, 700, 4096 };
	static const u32 flags[CACHES] = { 0, SLAB_RED_ZONE, SLAB_TYPESAFE_BY_RCU | SLAB_EMBED,
					   SLAB_POISON };
	static struct held held[HELD];
	struct kmem_cache *s[CACHES];
	u64 active[CACHES] = { 0 };

	boot_small(64, 2);
	memset(held, 0, sizeof(held));
	for (u32 i = 0; i < CACHES; i++)
		s[i] = make(sizes[i], 0, flags[i], NULL);
	for (u32 step = 0; step < STEPS; step++) {
		/* phases of growing and of shrinking */
		struct held *h = &held[rnd(step / 3000 % 2 ? HELD / 8 : HELD)];
		bool take = !h->p;

		if (take) {
			h->cache = rnd(CACHES);
			h->fill = (u8)rnd(256);
			h->p = get(s[h->cache]);
			memset(h->p, h->fill, sizes[h->cache]);
			active[h->cache]++;
		} else {
			check_held(h, sizes[h->cache]);
			kmem_cache_free(s[h->cache], h->p);
			h->p = NULL;
			active[h->cache]--;
		}
		if (rnd(500) == 0)
			kmem_cache_shrink(s[rnd(CACHES)]);
		if (rnd(1000) == 0)
			for (u32 i = 0; i < CACHES; i++)
				assert_int_equal(stat_of(s[i]).active, active[i]);
		if (step % 5000 == 0)
			assert_true(octavo_validate());
	}
	for (u32 i = 0; i < HELD; i++)
		if (held[i].p) {
			check_held(&held[i], sizes[held[i].cache]);
			kmem_cache_free(s[held[i].cache], held[i].p);
		}
	for (u32 i = 0; i < CACHES; i++) {
		assert_int_equal(stat_of(s[i]).active, 0);
		kmem_cache_destroy(s[i]);
	}
	assert_int_equal(free_after_shrink(), totalram_pages());
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slab_create_refuses_the_impossible),
		cmocka_unit_test(test_slab_create_with_panic_does),
		cmocka_unit_test(test_slab_every_page_of_a_slab_names_it),
		cmocka_unit_test(test_slab_objects_are_aligned),
		cmocka_unit_test(test_slab_small_objects_are_dense),
		cmocka_unit_test(test_slab_descriptor_is_separate_where_it_would_cost_more),
		cmocka_unit_test(test_slab_constructor_runs_once_a_slab),
		cmocka_unit_test(test_slab_zeroed_on_demand_and_when_new),
		cmocka_unit_test(test_slab_stable_prefix_lives_across_reuse),
		cmocka_unit_test(test_slab_typesafe_frames_wait_for_readers),
		cmocka_unit_test(test_slab_others_give_frames_back_at_once),
		cmocka_unit_test(test_slab_bulk_is_all_or_nothing),
		cmocka_unit_test(test_slab_exhaustion_and_recovery),
		cmocka_unit_test(test_slab_caches_are_listed),
		cmocka_unit_test(test_slab_node_strict_caches),
		cmocka_unit_test(test_slab_shutdown_counts_leaks),
		cmocka_unit_test(test_slab_random_against_model),
	};

	return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
