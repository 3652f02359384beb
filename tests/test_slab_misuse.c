/* SPDX-License-Identifier: MIT */
/*
 * test_slab_misuse.c - caches and slabs: misuse, guards and poison, failing steps.
 */
#include "test.h"

#include "slab_cache.h"

/* ---- misuse: fatal in every build ---- */

static struct kmem_cache *bad_cache, *other_cache;
static char *bad_obj;

static void bad_setup(u32 flags, const struct kmem_cache_args *args)
{
	boot_small(64, 2);
	bad_cache = make(64, 0, flags, args);
	other_cache = make(64, 0, flags, args);
	bad_obj = get(bad_cache);
}

static void free_bad(void *p)
{
	kmem_cache_free(bad_cache, p);
}

static void free_to_other(void *p)
{
	kmem_cache_free(other_cache, p);
}

static void test_slab_free_of_what_is_no_object_panics(void **state)
{
	int on_stack;

	bad_setup(0, NULL);
	expect_panic(free_to_other, bad_obj, "another cache");
	bad_setup(0, NULL);
	expect_panic(free_bad, bad_obj + 8, "not the start");
	bad_setup(0, NULL);
	expect_panic(free_bad, bad_obj + 1, "not the start");
	/* the descriptor in front */
	bad_setup(SLAB_EMBED, NULL);
	expect_panic(free_bad, (void *)((unsigned long)bad_obj & PAGE_MASK), "not the start");
	bad_setup(0, NULL);
	expect_panic(free_bad, NULL, "not in the machine");
	bad_setup(0, NULL);
	expect_panic(free_bad, &on_stack, "not in the machine");
	bad_setup(0, NULL);
	expect_panic(free_bad, page_address(alloc_page(GFP_KERNEL)), "not in a slab");
}

static void test_slab_double_free_panics(void **state)
{
	void *objs[300];

	/* into the sheaf */
	bad_setup(0, NULL);
	kmem_cache_free(bad_cache, bad_obj);
	expect_panic(free_bad, bad_obj, "free already");
	/* back in its slab */
	bad_setup(0, NULL);
	get(bad_cache);
	kmem_cache_free(bad_cache, bad_obj);
	kmem_cache_shrink(bad_cache);
	expect_panic(free_bad, bad_obj, "free already");
	/* its slab is gone */
	bad_setup(0, NULL);
	kmem_cache_free(bad_cache, bad_obj);
	kmem_cache_shrink(bad_cache);
	expect_panic(free_bad, bad_obj, "not in a slab");
	/* somewhere in the depot */
	bad_setup(0, NULL);
	assert_int_equal(kmem_cache_alloc_bulk(bad_cache, GFP_KERNEL, 300, objs), 0);
	kmem_cache_free(bad_cache, bad_obj);
	kmem_cache_free_bulk(bad_cache, 300, objs);
	expect_panic(free_bad, objs[7], "free already");
	/* beyond a stable prefix */
	bad_setup(SLAB_TYPESAFE_BY_RCU, &(struct kmem_cache_args){ .stable_prefix = 12 });
	kmem_cache_free(bad_cache, bad_obj);
	expect_panic(free_bad, bad_obj, "free already");
}

static void free_bulk_twice(void *p)
{
	void *objs[] = { p, p };

	kmem_cache_free_bulk(bad_cache, 2, objs);
}

static void alloc_many(void *unused)
{
	for (int i = 0; i < 2; i++)
		get(bad_cache);
}

static void validate_cache(void *unused)
{
	kmem_cache_validate(bad_cache);
}

static void fill(void *obj)
{
	memset(obj, 0x42, 64);
}

static void alloc_zeroed(void *unused)
{
	get(bad_cache);
	if (kmem_cache_alloc(bad_cache, GFP_KERNEL | __GFP_ZERO))
		return;
}

static void destroy_bad(void *unused)
{
	kmem_cache_destroy(bad_cache);
}

static void test_slab_other_misuse_panics(void **state)
{
	bad_setup(0, NULL);
	expect_panic(free_bulk_twice, bad_obj, "free already");
	/* the allocator's word of a free object */
	bad_setup(0, NULL);
	kmem_cache_free(bad_cache, bad_obj);
	*(u64 *)bad_obj = 1;
	expect_panic(alloc_many, NULL, "written to");
	bad_setup(0, &(struct kmem_cache_args){ .ctor = fill });
	expect_panic(alloc_zeroed, NULL, "__GFP_ZERO");
	bad_setup(0, NULL);
	expect_panic(destroy_bad, NULL, "1 objects allocated");
}

static void test_slab_guards_and_poison(void **state)
{
	bad_setup(SLAB_RED_ZONE, NULL);
	bad_obj[64]++;
	expect_panic(free_bad, bad_obj, "guard");
	bad_setup(SLAB_RED_ZONE, NULL);
	bad_obj[-1]++;
	expect_panic(free_bad, bad_obj, "guard");
	bad_setup(SLAB_POISON, NULL);
	kmem_cache_free(bad_cache, bad_obj);
	bad_obj[63] = 0;
	expect_panic(alloc_many, NULL, "written to while free");
	bad_setup(SLAB_DEBUG_ALL, NULL);
	kmem_cache_free(bad_cache, bad_obj);
	bad_obj[64] = 0;
	expect_panic(alloc_many, NULL, "guard was written to while free");
	/* the prefix of a type-safe object is never poisoned, a byte behind it is */
	bad_setup(SLAB_TYPESAFE_BY_RCU | SLAB_POISON,
		  &(struct kmem_cache_args){ .stable_prefix = 12 });
	memset(bad_obj, 0x11, 64);
	kmem_cache_free(bad_cache, bad_obj);
	for (int i = 0; i < 12; i++)
		assert_int_equal(bad_obj[i], 0x11);
	bad_obj[11] = 3;
	assert_true(kmem_cache_validate(bad_cache));
	bad_obj[12] = 3;
	expect_panic(alloc_many, NULL, "written to while free");
	/* objects of every small size with everything on */
	boot_small(64, 2);
	for (u32 size = 1; size < 70; size++) {
		struct kmem_cache *s = make(size, 0, SLAB_DEBUG_ALL, NULL);
		void *objs[50];

		for (int round = 0; round < 2; round++) {
			assert_int_equal(kmem_cache_alloc_bulk(s, GFP_KERNEL, 50, objs), 0);
			for (int i = 0; i < 50; i++)
				memset(objs[i], i, size);
			assert_true(kmem_cache_validate(s));
			kmem_cache_free_bulk(s, 50, objs);
		}
		kmem_cache_destroy(s);
	}
	shutdown_clean();
}

static void test_slab_validate_sees_corruption(void **state)
{
	struct slab *slab;

	sim_log_to(drop_line);
	bad_setup(0, NULL);
	kmem_cache_free(bad_cache, bad_obj);
	assert_true(kmem_cache_validate(bad_cache));
	*(u64 *)bad_obj ^= 1;
	assert_false(kmem_cache_validate(bad_cache));
	assert_false(octavo_validate());
	*(u64 *)bad_obj ^= 1;
	assert_true(octavo_validate());
	/* a page's word that names another slab */
	slab = page_slab(virt_to_page(bad_obj));
	WRITE_ONCE(virt_to_page(bad_obj)->memdesc.v, memdesc_misc(MISC_DRIVER, 0, 1).v);
	assert_false(kmem_cache_validate(bad_cache));
	WRITE_ONCE(virt_to_page(bad_obj)->memdesc.v, memdesc_pointer(MEMDESC_SLAB, slab).v);
	assert_true(kmem_cache_validate(bad_cache));
	kmem_cache_dump(bad_cache);
	sim_log_to(NULL);
	sim_log_take(NULL);
	shutdown_clean();
}

/* ---- fail at step k ---- */

#if OCTAVO_FAULTS
static void one_of_everything(u32 flags, gfp_t gfp)
{
	const struct kmem_cache_args args = { .stable_prefix =
						      flags & SLAB_TYPESAFE_BY_RCU ? 8 : 0 };
	struct kmem_cache *s = kmem_cache_create("fault", 4096, 0, flags, &args);
	void *objs[40], *p;
	struct slab_sheaf *sheaf;

	if (!s)
		return;
	p = kmem_cache_alloc(s, gfp);
	if (p)
		memset(p, 1, 4096);
	if (!kmem_cache_alloc_bulk(s, gfp, 40, objs))
		kmem_cache_free_bulk(s, 40, objs);
	sheaf = kmem_cache_prefill_sheaf(s, gfp, 3 * OCTAVO_SHEAF);
	if (sheaf) {
		for (u32 i = 0; i < 3; i++)
			kmem_cache_free(s, kmem_cache_alloc_from_sheaf(s, sheaf));
		kmem_cache_return_sheaf(s, sheaf);
	}
	kmem_cache_shrink(s);
	if (p)
		kmem_cache_free(s, p);
	kmem_cache_destroy(s);
}

static void fail_each_step(int mode, u32 kinds, u32 flags, gfp_t gfp)
{
	u64 before;

	boot_small(16, 2);
	/* once without, for caches that are made at first use and stay */
	one_of_everything(flags, gfp);
	before = free_after_shrink();
	for_each_fault(k, mode, kinds, hit)
	{
		one_of_everything(flags, gfp);
		hit = octavo_fault_disarm();
		assert_true(octavo_validate());
		assert_int_equal(free_after_shrink(), before);
	}
	shutdown_clean();
}

COVERS("SX.8");
static void test_slab_every_step_can_fail(void **state)
{
	static const u32 kinds[] = { OCTAVO_FAULT_FRAME, OCTAVO_FAULT_SLAB,
				     OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, OCTAVO_FAULT_CAS,
				     OCTAVO_FAULT_TRYLOCK };

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++)
		for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
			fail_each_step(mode, kinds[i], 0, GFP_NOWAIT);
			if (kinds[i] == OCTAVO_FAULT_TRYLOCK)
				continue;
			fail_each_step(mode, kinds[i], 0, GFP_KERNEL);
			fail_each_step(mode, kinds[i], SLAB_TYPESAFE_BY_RCU | SLAB_EMBED,
				       GFP_NOWAIT);
		}
}
#endif

/* No lock can be had, as in an interrupt that stopped their holder: nothing is lost, nothing waits. */
static void test_slab_works_without_its_locks(void **state)
{
#if OCTAVO_FAULTS
	struct kmem_cache *s;
	void *objs[30];

	for (u32 k = 1; k < 60; k += 3) {
		boot_small(64, 2);
		s = make(256, 0, 0, NULL);
		kmem_cache_free(s, get(s));
		octavo_fault_arm(k, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_TRYLOCK);
		for (int i = 0; i < 30; i++) {
			objs[i] = kmem_cache_alloc(s, GFP_ATOMIC);
			assert_non_null(objs[i]);
			memset(objs[i], i, 256);
		}
		for (int i = 0; i < 30; i++)
			kmem_cache_free(s, objs[i]);
		octavo_fault_disarm();
		assert_int_equal(stat_of(s).active, 0);
		assert_true(octavo_validate());
		kmem_cache_destroy(s);
		assert_int_equal(free_after_shrink(), totalram_pages());
		shutdown_clean();
	}
	/* a double free of a deferred object is found at the latest when it is taken in */
	bad_setup(0, NULL);
	octavo_fault_arm(1, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_TRYLOCK);
	kmem_cache_free(bad_cache, bad_obj);
	octavo_fault_disarm();
	kmem_cache_free(bad_cache, bad_obj);
	expect_panic(validate_cache, NULL, "free already");
#else
	(void)validate_cache;
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slab_free_of_what_is_no_object_panics),
		cmocka_unit_test(test_slab_double_free_panics),
		cmocka_unit_test(test_slab_other_misuse_panics),
		cmocka_unit_test(test_slab_guards_and_poison),
		cmocka_unit_test(test_slab_validate_sees_corruption),
#if OCTAVO_FAULTS
		cmocka_unit_test(test_slab_every_step_can_fail),
#endif
		cmocka_unit_test(test_slab_works_without_its_locks),
	};

	return cmocka_run_group_tests_name("slab_misuse", tests, NULL, NULL);
}
