/* SPDX-License-Identifier: MIT */
/*
 * test_zpool.c - the pool of compressed objects: sizes, limits, compaction, migration, a naive model, two CPUs.
 */
#include "test.h"

#include "../mm/swap/zpool.h"

#define MIB 64

static struct zpool *pool;

static int boot(void **state)
{
	boot_small(MIB, 3);
	pool = zpool_create(0);
	assert_non_null(pool);
	return 0;
}

static int down(void **state)
{
	sim_set_cpu(0);
	if (octavo_state.up) {
		assert_true(zpool_validate(pool));
		assert_int_equal(zpool_frames(pool), 0);
		zpool_destroy(pool);
		shutdown_clean();
	}
	return 0;
}

static u64 next(u64 *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed * 2685821657736338717ul;
}

/* What an object of a number and size is: not two alike, no frame's worth of one byte. */
static void fill(u8 *p, u64 id, u32 size)
{
	for (u32 i = 0; i < size; i++)
		p[i] = (u8)(id * 131 + (id >> 8) * 7 + i * 13 + (i >> 8));
}

static u64 put(u64 id, u32 size)
{
	u8 bytes[PAGE_SIZE];
	u64 handle = 0;

	fill(bytes, id, size);
	if (zpool_store(pool, bytes, size, GFP_NOWAIT, &handle))
		return 0;
	assert_true(handle != 0);
	return handle;
}

static bool same(u64 handle, u64 id, u32 size)
{
	u8 bytes[PAGE_SIZE], buf[PAGE_SIZE];
	u32 got = 0;
	const void *p = zpool_view(pool, handle, buf, &got);
	bool ok = got == size;

	fill(bytes, id, size);
	ok = ok && !memcmp(p, bytes, size);
	zpool_unview(pool, handle);
	return ok;
}

static struct zpool_stat stat_now(void)
{
	struct zpool_stat st;

	zpool_stat(pool, &st);
	return st;
}

/* ---- one object ---- */

static void test_zpool_every_size_comes_back(void **state)
{
	for (u32 size = 1; size <= PAGE_SIZE; size++) {
		u64 h = put(size, size);

		assert_true(h != 0);
		assert_true(same(h, size, size));
		assert_true(same(h, size, size));
		assert_int_equal(stat_now().objects, 1);
		assert_int_equal(stat_now().bytes, size);
		zpool_free(pool, h);
		assert_int_equal(zpool_frames(pool), 0);
	}
}

static void test_zpool_impossible_sizes(void **state)
{
	u64 h = 77;

	assert_int_equal(zpool_store(pool, "x", 0, GFP_KERNEL, &h), -EINVAL);
	assert_int_equal(zpool_store(pool, "x", PAGE_SIZE + 1, GFP_KERNEL, &h), -EINVAL);
	assert_int_equal(zpool_store(pool, "x", ~0u, GFP_KERNEL, &h), -EINVAL);
	assert_int_equal(h, 77);
	assert_int_equal(stat_now().objects, 0);
}

/* The best that 1 to 4 frames and 64 places can do, from the rule and not from the code. */
static void best_of(u32 size, u32 *nr, u32 *frames)
{
	*nr = PAGE_SIZE / size;
	*frames = 1;
	for (u32 f = 2; f <= 4; f++) {
		u32 n = f * PAGE_SIZE / size;

		if (n <= 64 && n * *frames > *nr * f) {
			*nr = n;
			*frames = f;
		}
	}
}

static void test_zpool_spans_waste_least(void **state)
{
	static u64 handle[64 * 4];
	u32 classes = 0, last = 0;

	for (u32 size = 64; size <= PAGE_SIZE; size += 32) {
		u32 nr, frames;

		best_of(size, &nr, &frames);
		for (u32 i = 0; i < 4 * nr; i++)
			assert_true((handle[i] = put(i, size)) != 0);
		assert_int_equal(stat_now().spans, 4);
		assert_int_equal(zpool_frames(pool), 4 * frames);
		/* one more does not fit */
		assert_int_equal(stat_now().slack % (4 * nr), 0);
		classes += nr * 8 + frames != last;
		last = nr * 8 + frames;
		for (u32 i = 0; i < 4 * nr; i++) {
			assert_true(same(handle[i], i, size));
			zpool_free(pool, handle[i]);
		}
	}
	assert_int_equal(pool->nr_classes, classes);
	assert_in_range(classes, 40, 100);
}

/* A size just beyond a step is of the next one. */
static void test_zpool_rounds_up_only(void **state)
{
	for (u32 step = 96; step < PAGE_SIZE; step += 32) {
		u64 a = put(1, step - 31), b = put(2, step), c = put(3, step + 1);

		assert_true(a && b && c);
		assert_true(same(a, 1, step - 31) && same(b, 2, step) && same(c, 3, step + 1));
		assert_true(zpool_validate(pool));
		zpool_free(pool, a);
		zpool_free(pool, b);
		zpool_free(pool, c);
	}
}

/* Frames that are no neighbours: every second one is somebody else's. */
static void test_zpool_objects_across_frames(void **state)
{
	static unsigned long pfn[4096];
	unsigned long n = 0;
	u8 buf[PAGE_SIZE];
	u64 handle[64];
	u32 copied = 0;
	long p;

	while ((p = frame_alloc(GFP_NOWAIT | __GFP_MOVABLE, 0, NUMA_NO_NODE)) >= 0 && n < 4096)
		pfn[n++] = (unsigned long)p;
	if (p >= 0)
		frame_free((unsigned long)p, 0);
	/* what is left beside them is out of the way: the lists begin with these */
	for (unsigned long i = 0; i < n; i++)
		if (pfn[i] % 2)
			frame_free(pfn[i], 0);
	frame_drain_all();
	for (u32 i = 0; i < 64; i++)
		assert_true((handle[i] = put(i, 2700)) != 0);
	for (u32 i = 0; i < 64; i++) {
		copied += zpool_view(pool, handle[i], buf, NULL) == buf;
		zpool_unview(pool, handle[i]);
		assert_true(same(handle[i], i, 2700));
	}
	if (MIB << 8 <= 4096)
		assert_true(copied > 0);
	for (u32 i = 0; i < 64; i++)
		zpool_free(pool, handle[i]);
	for (unsigned long i = 0; i < n; i++)
		if (pfn[i] % 2 == 0)
			frame_free(pfn[i], 0);
}

/* ---- limit, memory, faults ---- */

static void test_zpool_limit_is_exact(void **state)
{
	struct zpool *small = zpool_create(10);
	struct zpool *all = pool;
	u64 handle[16], h;

	assert_non_null(small);
	pool = small;
	for (u32 i = 0; i < 10; i++)
		assert_true((handle[i] = put(i, PAGE_SIZE)) != 0);
	assert_int_equal(zpool_frames(pool), 10);
	assert_int_equal(zpool_store(pool, handle, 8, GFP_KERNEL, &h), -ENOSPC);
	zpool_free(pool, handle[3]);
	assert_int_equal(zpool_store(pool, handle, 8, GFP_KERNEL, &h), 0);
	assert_int_equal(zpool_store(pool, handle, 3000, GFP_KERNEL, &handle[3]), -ENOSPC);
	/* beside the one that is there */
	assert_int_equal(zpool_store(pool, handle, 9, GFP_KERNEL, &handle[3]), 0);
	assert_int_equal(zpool_frames(pool), 10);
	for (u32 i = 0; i < 10; i++)
		zpool_free(pool, handle[i]);
	zpool_free(pool, h);
	assert_true(zpool_validate(pool));
	assert_int_equal(zpool_frames(pool), 0);
	zpool_destroy(pool);
	pool = all;
}

static void test_zpool_memory_runs_out(void **state)
{
	static u64 handle[MIB << 8];
	u32 n = 0;

	while ((handle[n] = put(n, PAGE_SIZE)) != 0)
		n++;
	assert_true(n > (MIB << 8) / 2);
	assert_int_equal(stat_now().objects, n);
	assert_true(zpool_validate(pool));
	for (u32 i = 0; i < n; i++) {
		assert_true(i % 64 || same(handle[i], i, PAGE_SIZE));
		zpool_free(pool, handle[i]);
	}
}

#if OCTAVO_FAULTS
static void test_zpool_store_fails_whole(void **state)
{
	static const u32 sizes[] = { 1, 64, 700, 2700, 3000, 4096 };

	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
			for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
			{
				u8 bytes[PAGE_SIZE];
				u64 h = 5;
				int err;

				fill(bytes, k, sizes[i]);
				err = zpool_store(pool, bytes, sizes[i], GFP_NOWAIT, &h);
				hit = octavo_fault_disarm();
				if (err) {
					assert_int_equal(err, -ENOMEM);
					assert_true(hit && h == 5);
				} else {
					assert_true(same(h, k, sizes[i]));
					zpool_free(pool, h);
				}
				assert_int_equal(zpool_frames(pool), 0);
				assert_int_equal(stat_now().objects, 0);
				assert_true(zpool_validate(pool));
			}
		}
	}
	assert_true(fault_cases > 20);
}

static void test_zpool_create_fails_whole(void **state)
{
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL & ~OCTAVO_FAULT_CAS, hit)
	{
		struct zpool *p = zpool_create(1);

		hit = octavo_fault_disarm();
		assert_true(p || hit);
		zpool_destroy(p);
		assert_true(octavo_validate());
	}
}
#endif

/* ---- compaction ---- */

#define MANY 3000

struct object {
	u64 handle, id;
	u32 size;
};

static struct object obj[MANY];

static void obj_put(struct object *o, u64 id, u32 size)
{
	*o = (struct object){ put(id, size), id, size };
	assert_true(o->handle != 0);
}

static void obj_free(struct object *o)
{
	zpool_free(pool, o->handle);
	o->handle = 0;
}

static void obj_check_all(u32 n)
{
	for (u32 i = 0; i < n; i++)
		if (obj[i].handle)
			assert_true(same(obj[i].handle, obj[i].id, obj[i].size));
}

static void obj_free_all(u32 n)
{
	for (u32 i = 0; i < n; i++)
		if (obj[i].handle)
			obj_free(&obj[i]);
}

static void test_zpool_compaction_leaves_no_spare_span(void **state)
{
	static const u32 sizes[] = { 64, 200, 1000, 1100, 1365, 2700, 4096 };

	for (u32 s = 0; s < ARRAY_SIZE(sizes); s++) {
		u32 nr, frames, left = 0, mod = 3 + s % 5;
		struct zpool_stat st;
		u64 before, freed;

		best_of(ALIGN(sizes[s], 32), &nr, &frames);
		for (u32 i = 0; i < MANY; i++)
			obj_put(&obj[i], i, sizes[s]);
		for (u32 i = 0; i < MANY; i++) {
			if (i % mod)
				obj_free(&obj[i]);
			else
				left++;
		}
		before = zpool_frames(pool);
		freed = zpool_compact(pool);
		assert_int_equal(freed, before - zpool_frames(pool));
		st = stat_now();
		assert_int_equal(st.objects, left);
		assert_int_equal(st.spans, (left + nr - 1) / nr);
		assert_int_equal(st.frames, st.spans * frames);
		assert_true(zpool_validate(pool));
		obj_check_all(MANY);
		assert_int_equal(zpool_compact(pool), 0);
		obj_free_all(MANY);
	}
	assert_true(stat_now().moved > 500);
}

static void test_zpool_compaction_leaves_readers_alone(void **state)
{
	const void *where[MANY / 40 + 1];
	u8 bytes[PAGE_SIZE];
	u32 n = 0;

	for (u32 i = 0; i < MANY; i++)
		obj_put(&obj[i], i, 1000);
	for (u32 i = 0; i < MANY; i++)
		if (i % 4)
			obj_free(&obj[i]);
	for (u32 i = 0; i < MANY; i += 40)
		where[n++] = zpool_view(pool, obj[i].handle, bytes, NULL);
	zpool_compact(pool);
	n = 0;
	for (u32 i = 0; i < MANY; i += 40) {
		fill(bytes, i, 1000);
		assert_memory_equal(where[n++], bytes, 1000);
		zpool_unview(pool, obj[i].handle);
	}
	assert_true(zpool_compact(pool) > 0);
	obj_check_all(MANY);
	obj_free_all(MANY);
}

#if OCTAVO_FAULTS
static void test_zpool_compaction_may_fail_to_move(void **state)
{
	for (u32 k = 1, hit = 1; hit; k++) {
		for (u32 i = 0; i < 40; i++)
			obj_put(&obj[i], i, 1000);
		for (u32 i = 0; i < 40; i++)
			if (i % 3)
				obj_free(&obj[i]);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
		zpool_compact(pool);
		hit = octavo_fault_disarm();
		assert_true(zpool_validate(pool));
		zpool_compact(pool);
		/* four objects a span, one frame each */
		assert_int_equal(stat_now().spans, 4);
		assert_int_equal(zpool_frames(pool), 4);
		obj_check_all(40);
		obj_free_all(40);
	}
}
#endif

/* ---- frames that the core migrates ---- */

/* Every movable frame, once. Return: how many went. */
static u32 migrate_all(void)
{
	static struct movable *claimed[MIB << 8];
	u32 n = 0, done = 0;

	for (unsigned long pfn = 0; pfn < octavo_state.frame.max_pfn; pfn++) {
		struct movable *mv = pfn_valid(pfn) ? isolate_movable_page(pfn_to_page(pfn)) : NULL;

		if (mv)
			claimed[n++] = mv;
	}
	for (u32 i = 0; i < n; i++) {
		if (migrate_movable_page(claimed[i], GFP_NOWAIT, NULL) == 0)
			done++;
		else
			putback_movable_page(claimed[i]);
	}
	return done;
}

COVERS("S3.15");
static void test_zpool_frames_migrate(void **state)
{
	u8 bytes[PAGE_SIZE];
	const void *p;

	for (u32 i = 0; i < 500; i++)
		obj_put(&obj[i], i, 1 + i * 977 % PAGE_SIZE);
	assert_int_equal(migrate_all(), zpool_frames(pool));
	assert_int_equal(stat_now().migrated, zpool_frames(pool));
	assert_true(zpool_validate(pool));
	obj_check_all(500);
	/* all but those that are read */
	p = zpool_view(pool, obj[7].handle, bytes, NULL);
	assert_true(migrate_all() < zpool_frames(pool));
	fill(bytes, 7, obj[7].size);
	assert_memory_equal(p, bytes, obj[7].size);
	zpool_unview(pool, obj[7].handle);
	obj_check_all(500);
	obj_free_all(500);
}

static void test_zpool_free_while_isolated(void **state)
{
	struct movable *mv = NULL;

	obj_put(&obj[0], 1, 3000);
	for (unsigned long pfn = 0; !mv; pfn++)
		mv = pfn_valid(pfn) ? isolate_movable_page(pfn_to_page(pfn)) : NULL;
	obj_free(&obj[0]);
	assert_int_equal(stat_now().objects, 0);
	assert_int_equal(zpool_frames(pool), 1);
	/* its owner has no use for it */
	assert_int_equal(migrate_movable_page(mv, GFP_KERNEL, NULL), -EAGAIN);
	putback_movable_page(mv);
	assert_null(isolate_movable_page(pfn_to_page(movable_pfn(mv))));
	assert_int_equal(zpool_compact(pool), 1);
	assert_int_equal(zpool_frames(pool), 0);
}

/* ---- misuse ---- */

static void free_it(void *h)
{
	zpool_free(pool, *(u64 *)h);
}

static void view_it(void *h)
{
	(void)!zpool_view(pool, *(u64 *)h, NULL, NULL);
}

static void unview_it(void *h)
{
	zpool_unview(pool, *(u64 *)h);
}

static void destroy_it(void *h)
{
	zpool_destroy(pool);
}

static void test_zpool_misuse_panics(void **state)
{
	static const struct {
		void (*fn)(void *);
		const char *text;
		int how; /* 1 freed before, 2 being read, 3 no handle, 4 of another pool */
	} cases[] = {
		{ free_it, "is no handle", 1 },	      { view_it, "is no handle", 1 },
		{ free_it, "is no handle", 3 },	      { view_it, "is no handle", 3 },
		{ free_it, "is reading", 2 },	      { free_it, "is no handle", 4 },
		{ view_it, "is no handle", 4 },	      { unview_it, "nobody is reading", 0 },
		{ destroy_it, "are there still", 0 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 h = put(1, 1500), stay = put(2, 1500);
		u8 buf[PAGE_SIZE];

		assert_true(h && stay);
		if (cases[i].how == 1)
			zpool_free(pool, h);
		if (cases[i].how == 2)
			(void)!zpool_view(pool, h, buf, NULL);
		if (cases[i].how == 3)
			h += 3;
		if (cases[i].how == 4)
			pool = zpool_create(0);
		/* a freed word is the allocator's: its tag is right once in 16 times, and then its span is not */
		if (cases[i].how == 1)
			*(u64 *)h = 0;
		expect_panic(cases[i].fn, &h, cases[i].text);
		boot(NULL);
	}
}

/* ---- random operations beside a naive model ---- */

static u32 random_size(u64 *seed)
{
	u64 r = next(seed);

	switch (r % 4) {
	case 0:
		return 1 + (u32)(r >> 8) % PAGE_SIZE;
	case 1:
		return PAGE_SIZE - (u32)(r >> 8) % 4;
	case 2:
		return 1 + (u32)(r >> 8) % 200;
	default:
		/* few classes, so that they have many */
		return 1000 + (u32)(r >> 8) % 64;
	}
}

static void model_check(u32 n)
{
	struct zpool_stat st = stat_now();
	u64 objects = 0, bytes = 0;

	for (u32 i = 0; i < n; i++)
		if (obj[i].handle) {
			objects++;
			bytes += obj[i].size;
		}
	assert_int_equal(st.objects, objects);
	assert_int_equal(st.bytes, bytes);
	assert_true(zpool_validate(pool));
	obj_check_all(n);
}

static void test_zpool_random_operations(void **state)
{
	u64 seed = 20250731;

	memset(obj, 0, sizeof(obj));
	for (u32 step = 0; step < 60000; step++) {
		/* phases of growth and of shrinking */
		u32 n = step / 6000 % 2 ? 300 : 1500;
		struct object *o = &obj[next(&seed) % n];
		u64 what = next(&seed) % 1000;

		if (what < 2) {
			zpool_compact(pool);
		} else if (what == 2) {
			migrate_all();
		} else if (!o->handle && what < 500 + (step / 3000 % 2) * 400) {
			obj_put(o, step, random_size(&seed));
		} else if (o->handle) {
			assert_true(same(o->handle, o->id, o->size));
			if (what % 2)
				obj_free(o);
		}
		if (step % 5000 == 4999)
			model_check(MANY);
	}
	obj_free_all(MANY);
}

/* ---- CPUs ---- */

#define PER_CPU 200

static struct object theirs[2][PER_CPU];
static u32 running;
static u32 moved; /* something was moved, and a frame was migrated */

static void worker(u32 cpu)
{
	u64 seed = 31 + cpu;

	/* until the mover has been there too, however threads are run */
	for (u32 step = 0; step < 30000 || !READ_ONCE(moved); step++) {
		struct object *o = &theirs[cpu][next(&seed) % PER_CPU];
		u64 what = next(&seed);

		if (!o->handle) {
			obj_put(o, step, random_size(&seed));
		} else {
			assert_true(same(o->handle, o->id, o->size));
			if (what % 3 == 0)
				obj_free(o);
		}
	}
	fetch_sub_release(&running, 1u);
}

static void mover(void)
{
	/* acquire: pairs with the release in worker() */
	while (smp_load_acquire(&running)) {
		zpool_compact(pool);
		for (unsigned long pfn = 0; pfn < octavo_state.frame.max_pfn; pfn += 7) {
			struct movable *mv =
				pfn_valid(pfn) ? isolate_movable_page(pfn_to_page(pfn)) : NULL;

			if (mv && migrate_movable_page(mv, GFP_NOWAIT, NULL))
				putback_movable_page(mv);
		}
		if (!READ_ONCE(moved)) {
			struct zpool_stat st = stat_now();

			WRITE_ONCE(moved, st.migrated > 0 && st.moved > 0);
		}
	}
}

static void work(unsigned int cpu, void *arg)
{
	if (cpu < 2)
		worker(cpu);
	else
		mover();
}

static void test_zpool_two_cpus_and_a_mover(void **state)
{
	memset(theirs, 0, sizeof(theirs));
	running = 2;
	moved = 0;
	sim_run(3, false, work, NULL);
	zpool_compact(pool);
	assert_true(zpool_validate(pool));
	assert_true(stat_now().migrated > 0 && stat_now().moved > 0);
	for (u32 cpu = 0; cpu < 2; cpu++)
		for (u32 i = 0; i < PER_CPU; i++)
			if (theirs[cpu][i].handle) {
				struct object *o = &theirs[cpu][i];

				assert_true(same(o->handle, o->id, o->size));
				obj_free(o);
			}
}

/* ---- what it costs ---- */

static void test_zpool_overhead_is_small(void **state)
{
	struct zpool_stat st;
	u64 seed = 5;

	/* as of pages that compress to between an eighth and a half */
	for (u32 i = 0; i < MANY; i++)
		obj_put(&obj[i], i, 512 + (u32)(next(&seed) % 1536));
	st = stat_now();
	/* memory for objects beyond their bytes, and beside */
	assert_true(st.frames * PAGE_SIZE * 100 < st.bytes * 110);
	assert_true(st.overhead * 100 < st.frames * PAGE_SIZE * 4);
	obj_free_all(MANY);
}

#define ZTEST(name) cmocka_unit_test_setup_teardown(name, boot, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ZTEST(test_zpool_every_size_comes_back),
		ZTEST(test_zpool_impossible_sizes),
		ZTEST(test_zpool_spans_waste_least),
		ZTEST(test_zpool_rounds_up_only),
		ZTEST(test_zpool_objects_across_frames),
		ZTEST(test_zpool_limit_is_exact),
		ZTEST(test_zpool_memory_runs_out),
#if OCTAVO_FAULTS
		ZTEST(test_zpool_store_fails_whole),
		ZTEST(test_zpool_create_fails_whole),
		ZTEST(test_zpool_compaction_may_fail_to_move),
#endif
		ZTEST(test_zpool_compaction_leaves_no_spare_span),
		ZTEST(test_zpool_compaction_leaves_readers_alone),
		ZTEST(test_zpool_frames_migrate),
		ZTEST(test_zpool_free_while_isolated),
		ZTEST(test_zpool_misuse_panics),
		ZTEST(test_zpool_random_operations),
		ZTEST(test_zpool_two_cpus_and_a_mover),
		ZTEST(test_zpool_overhead_is_small),
	};

	return cmocka_run_group_tests_name("zpool-" TEST_VARIANT, tests, NULL, NULL);
}
