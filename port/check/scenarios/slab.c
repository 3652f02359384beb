/* SPDX-License-Identifier: MIT */
/*
 * slab.c - slab caches: sheaves against drains, objects freed where they were not allocated,
 * type-stable reuse.
 */
#include <octavo/octavo.h>

#include "check.h"

struct object {
	u32 refcount; /* stable: lives across free and reuse */
	u32 pad;
	u64 life;
	u64 link;
};

static SHARED struct {
	struct kmem_cache *cache;
	struct object *obj;
	void *objs[8];
	u64 writer[4];
	u32 freed;
} s;

static void setup_cache(u32 flags, u32 prefix)
{
	const struct kmem_cache_args args = { .stable_prefix = prefix };

	s.cache = kmem_cache_create("race", 64, 16, flags, &args);
	CHECK(s.cache);
}

/* Two sheaves for every CPU, @left objects in them. */
static void warm(u32 left)
{
	void *obj[4];

	for (u32 cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++) {
		check_set_cpu(cpu);
		for (u32 i = 0; i < 4; i++)
			obj[i] = kmem_cache_alloc(s.cache, GFP_KERNEL);
		for (u32 i = 0; i < 4; i++)
			kmem_cache_free(s.cache, obj[i]);
		kmem_cache_shrink(s.cache);
		for (u32 i = 0; i < left; i++)
			obj[i] = kmem_cache_alloc(s.cache, GFP_KERNEL);
		for (u32 i = 0; i < left; i++)
			kmem_cache_free(s.cache, obj[i]);
	}
	check_set_cpu(0);
}

static void setup_cold(void)
{
	setup_cache(0, 0);
}

static void setup_warm(void)
{
	setup_cache(0, 0);
	warm(1);
}

/* Two owners of one object race in its contents. */
static void alloc_free(u32 n)
{
	u64 *obj[4];

	for (u32 i = 0; i < n; i++) {
		obj[i] = kmem_cache_alloc(s.cache, GFP_NOWAIT);
		if (obj[i])
			obj[i][7] = check_thread();
	}
	for (u32 i = 0; i < n; i++)
		if (obj[i])
			kmem_cache_free(s.cache, obj[i]);
}

static void alloc_free_one(void)
{
	alloc_free(1);
}

static void alloc_free_three(void)
{
	alloc_free(3);
}

static void drainer(void)
{
	kmem_cache_shrink(s.cache);
}

static void cache_done(void)
{
	struct kmem_cache_stat st;

	kmem_cache_shrink(s.cache);
	kmem_cache_stat(s.cache, &st);
	CHECK(st.active == 0);
	CHECK(kmem_cache_validate(s.cache));
}

/* Homes are two: CPUs 0 and 2 share one, CPU 1 has the other for itself. */
#define CACHE .frames = 32, .flags = SC_SYMMETRIC, .finish = cache_done
SCENARIO(slab_cold) = { SCENARIO_NAME(slab_cold),
			CACHE,
			.about = "two CPUs of one home want the first object of a cache",
			.setup = setup_cold,
			.stale = -1,
			.stale_below = 1,
			.cpu_step = 2,
			.threads = { alloc_free_one, alloc_free_one } };
SCENARIO(slab_warm) = {
	SCENARIO_NAME(slab_warm),
	CACHE,
	.about = "two CPUs of one home allocate and free more than their sheaves have",
	.setup = setup_warm,
	.stale = 1,
	.cpu_step = 2,
	.threads = { alloc_free_three, alloc_free_three }
};
SCENARIO(slab_drain) = { SCENARIO_NAME(slab_drain),
			 CACHE,
			 .about = "sheaves against a drain of all CPUs",
			 .setup = setup_warm,
			 .stale = 1,
			 .threads = { alloc_free_one, drainer, alloc_free_one },
			 .roles = { "user", "drain", "user" } };

/* ---- freed elsewhere ---- */

/*
 * Their sheaves are full: what they free goes to the depot, to the slab, or on the deferred stack.
 */
static void setup_handed(void)
{
	setup_cache(0, 0);
	for (u32 i = 0; i < 4; i++)
		s.objs[i] = kmem_cache_alloc(s.cache, GFP_KERNEL);
}

static void frees_two(u32 i)
{
	kmem_cache_free(s.cache, s.objs[i]);
	kmem_cache_free(s.cache, s.objs[i + 1]);
}

static void frees_first(void)
{
	frees_two(0);
}

static void frees_second(void)
{
	frees_two(2);
}

SCENARIO(slab_remote_free) = {
	SCENARIO_NAME(slab_remote_free),
	CACHE,
	.about = "two CPUs without sheaves free what a third allocated, which allocates",
	.setup = setup_handed,
	.stale = 1,
	.threads = { alloc_free_one, frees_first, frees_second },
	.roles = { "allocates", "frees", "frees" }
};

/* ---- another home's objects ---- */

#define MANY 6 /* slabs: more than make plenty */

/* CPU 1's home has plenty, the others' has nothing. */
static void setup_other_home(void)
{
	static void *obj[1024];
	struct kmem_cache_stat st;
	u32 n = 0;

	setup_cache(0, 0);
	warm(0);
	kmem_cache_shrink(s.cache);
	check_set_cpu(1);
	do {
		CHECK(n < ARRAY_SIZE(obj));
		obj[n++] = kmem_cache_alloc(s.cache, GFP_KERNEL);
		kmem_cache_stat(s.cache, &st);
	} while (st.slabs < MANY + 1);
	/* one object of each keeps its slab */
	for (u32 i = 0; i < n; i++) {
		if (i % (st.objects / st.slabs) == 0)
			s.objs[i / (st.objects / st.slabs)] = obj[i];
		else
			kmem_cache_free(s.cache, obj[i]);
	}
	kmem_cache_shrink(s.cache);
	check_set_cpu(0);
	CHECK(s.cache->plenty == 2);
}

static void steals(void)
{
	u64 *obj = kmem_cache_alloc(s.cache, GFP_NOWAIT);

	if (!obj)
		return;
	obj[7] = check_thread();
	kmem_cache_free(s.cache, obj);
}

static void owner_frees(void)
{
	kmem_cache_free(s.cache, s.objs[0]);
	alloc_free(1);
}

static void other_home_done(void)
{
	check_set_cpu(1);
	for (u32 i = 1; i <= MANY; i++)
		kmem_cache_free(s.cache, s.objs[i]);
	cache_done();
}

SCENARIO(slab_steal) = { SCENARIO_NAME(slab_steal),
			 .frames = 32,
			 .flags = SC_SYMMETRIC,
			 .about = "two CPUs take objects of another home, which is at work",
			 .setup = setup_other_home,
			 .stale = 1,
			 .threads = { steals, owner_frees, steals },
			 .roles = { "steals", "owner", "steals" },
			 .finish = other_home_done };

/* ---- type-stable memory: a stale pointer, inside a section, is a pointer to some object ---- */

static void setup_stable(void)
{
	setup_cache(SLAB_TYPESAFE_BY_RCU, sizeof(u32));
	s.obj = kmem_cache_alloc(s.cache, GFP_KERNEL);
	CHECK(s.obj);
	WRITE_ONCE(s.obj->life, 1ul);
	smp_store_release(&s.obj->refcount, 1u);
}

static bool object_try_get(struct object *obj)
{
	u32 v = READ_ONCE(obj->refcount);

	do {
		CHECK(v < 8); /* never a link, poison or marker */
		if (!v)
			return false;
		/* acquire: pairs with the release of publication */
	} while (!try_cmpxchg_acquire(&obj->refcount, &v, v + 1));
	return true;
}

static void object_put(struct object *obj)
{
	if (fetch_sub_acq_rel(&obj->refcount, 1u) == 1)
		kmem_cache_free(s.cache, obj);
}

static void stale_reader(void)
{
	struct object *obj;

	rcu_read_lock();
	/* acquire: pairs with the release of who linked it */
	obj = smp_load_acquire(&s.obj);
	if (obj && object_try_get(obj)) {
		CHECK(READ_ONCE(obj->life) == 1 || READ_ONCE(obj->life) == 2);
		object_put(obj);
	}
	rcu_read_unlock();
}

static void stable_owner(void)
{
	struct object *obj = s.obj;

	/* unlinked: who comes after a grace period does not find it */
	WRITE_ONCE(s.obj, NULL);
	object_put(obj);
	kmem_cache_shrink(s.cache);
	obj = kmem_cache_alloc(s.cache, GFP_NOWAIT);
	if (!obj)
		return;
	WRITE_ONCE(obj->life, 2ul);
	smp_store_release(&obj->refcount, 1u);
	object_put(obj);
}

SCENARIO(slab_typesafe) = { SCENARIO_NAME(slab_typesafe),
			    CACHE,
			    .about = "type-stable reuse and shrinking under stale readers",
			    .rows = "S3.10",
			    .setup = setup_stable,
			    .stale = 1,
			    .threads = { stale_reader, stable_owner, stale_reader },
			    .roles = { "reader", "owner", "reader" } };
