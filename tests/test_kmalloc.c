/* SPDX-License-Identifier: MIT */
/*
 * test_kmalloc.c - memory by size: classes, large allocations, misuse, failing steps.
 */
#include "test.h"

#include <octavo/page.h>
#include <octavo/plain.h>
#include <octavo/slab.h>

static void test_kmalloc_every_size_fits_its_class(void **state)
{
	boot_small(64, 2);
	assert_null(kmalloc(0, GFP_KERNEL));
	for (size_t size = 1; size <= KMALLOC_MAX_CACHE; size += size < 1100 ? 1 : 61) {
		u8 *p = kmalloc(size, GFP_KERNEL);

		assert_non_null(p);
		assert_true(ksize(p) >= size);
		/* half powers of two: never more than a third lost above 192, a class of 16 more below */
		assert_true(ksize(p) <= (size < 1024 ? max(size + 63, size * 3 / 2) : 2 * size));
		memset(p, 0x5c, ksize(p));
		assert_non_null(page_slab(virt_to_page(p)));
		kfree(p);
	}
	shutdown_clean();
}

static void test_kmalloc_powers_of_two_are_aligned(void **state)
{
	boot_small(64, 2);
	for (size_t size = 16; size <= KMALLOC_MAX_CACHE; size *= 2) {
		void *p[20];

		for (int i = 0; i < 20; i++) {
			p[i] = kmalloc(size, GFP_KERNEL);
			assert_non_null(p[i]);
			assert_int_equal(ksize(p[i]), size);
			assert_true(IS_ALIGNED((char *)p[i] - (char *)pfn_to_virt(0) + 0ul, size));
		}
		for (int i = 0; i < 20; i++)
			kfree(p[i]);
	}
	shutdown_clean();
}

COVERS("S3.28");
static void test_kmalloc_large_is_plain_frozen_memory(void **state)
{
	boot_small(64, 2);
	for (size_t size = KMALLOC_MAX_CACHE + 1; size <= (PAGE_SIZE << 6); size += 20001) {
		u8 *p = kzalloc(size, GFP_KERNEL);
		struct page *page = virt_to_page(p);
		memdesc_t md = page_memdesc(page);

		assert_non_null(p);
		for (size_t i = 0; i < size; i += 97)
			assert_int_equal(p[i], 0);
		assert_null(page_slab(page));
		assert_null(page_slab(page + 1));
		assert_null(page_folio(page));
		assert_true(memdesc_is_misc(md) && memdesc_frozen(md));
		assert_int_equal(memdesc_subtype(md), MISC_LARGE_KMALLOC);
		assert_true(ksize(p) >= size && ksize(p) < 2 * size);
		memset(p, 1, ksize(p));
		kfree(p);
	}
	assert_null(kmalloc((PAGE_SIZE << MAX_FOLIO_ORDER) + 1, GFP_KERNEL));
	assert_null(kmalloc(~0ul, GFP_KERNEL));
	assert_int_equal(nr_free_pages(), totalram_pages());
	shutdown_clean();
}

static void test_kmalloc_array_does_not_wrap(void **state)
{
	u32 *p;

	boot_small(64, 2);
	assert_null(kmalloc_array(1ul << 62, 8, GFP_KERNEL));
	assert_null(kmalloc_array(8, 1ul << 62, GFP_KERNEL));
	assert_null(kmalloc_array(0, 8, GFP_KERNEL));
	p = kmalloc_array(100, sizeof(*p), GFP_KERNEL | __GFP_ZERO);
	assert_non_null(p);
	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	kfree(p);
	kfree(NULL);
	assert_int_equal(ksize(NULL), 0);
	shutdown_clean();
}

static void free_it(void *p)
{
	kfree(p);
}

static void size_it(void *p)
{
	if (ksize(p) == 0)
		return;
}

static void test_kmalloc_misuse_panics(void **state)
{
	static const size_t sizes[] = { 64, 100000 };
	struct kmem_cache *s;
	int on_stack;
	char *p;

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		boot_small(64, 2);
		p = kmalloc(sizes[i], GFP_KERNEL);
		kfree(p);
		expect_panic(free_it, p, "free already");
		boot_small(64, 2);
		p = kmalloc(sizes[i], GFP_KERNEL);
		expect_panic(free_it, p + 16, "start");
		boot_small(64, 2);
		p = kmalloc(sizes[i], GFP_KERNEL);
		expect_panic(size_it, p + 16, "start");
	}
	boot_small(64, 2);
	p = kmalloc(100000, GFP_KERNEL);
	expect_panic(free_it, p + PAGE_SIZE, "start");
	boot_small(64, 2);
	expect_panic(free_it, &on_stack, "not in the machine");
	boot_small(64, 2);
	expect_panic(free_it, page_address(alloc_page(GFP_KERNEL)), "not allocated by kmalloc");
	boot_small(64, 2);
	s = kmem_cache_create("mine", 64, 0, 0, NULL);
	expect_panic(free_it, kmem_cache_alloc(s, GFP_KERNEL), "not kmalloc's");
}

#if OCTAVO_FAULTS
static void test_kmalloc_every_step_can_fail(void **state)
{
	static const size_t sizes[] = { 16, 4096, 8192, 30000 };

	for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++)
		for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
			boot_small(16, 2);
			for_each_fault(k, mode, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
			{
				void *p = kmalloc(sizes[i], GFP_NOWAIT);

				hit = octavo_fault_disarm();
				assert_true(p || hit);
				kfree(p);
				assert_true(octavo_validate());
				kmem_cache_shrink_all();
			}
			shutdown_clean();
		}
}
#endif

static void first_use(unsigned int cpu, void *arg)
{
	void *p[16];

	for (int round = 0; round < 50; round++) {
		for (size_t i = 0; i < 14; i++) {
			p[i] = kmalloc(16ul << i % 10, GFP_KERNEL);
			assert_non_null(p[i]);
			memset(p[i], (int)cpu, 16ul << i % 10);
		}
		for (size_t i = 0; i < 14; i++) {
			assert_int_equal(*(u8 *)p[i], cpu);
			kfree(p[i]);
		}
	}
}

static void test_kmalloc_classes_are_made_by_several_cpus_at_once(void **state)
{
	for (int i = 0; i < 10; i++) {
		boot_small(64, 3);
		sim_run(3, false, first_use, NULL);
		shutdown_clean();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kmalloc_every_size_fits_its_class),
		cmocka_unit_test(test_kmalloc_powers_of_two_are_aligned),
		cmocka_unit_test(test_kmalloc_large_is_plain_frozen_memory),
		cmocka_unit_test(test_kmalloc_array_does_not_wrap),
		cmocka_unit_test(test_kmalloc_misuse_panics),
#if OCTAVO_FAULTS
		cmocka_unit_test(test_kmalloc_every_step_can_fail),
#endif
		cmocka_unit_test(test_kmalloc_classes_are_made_by_several_cpus_at_once),
	};

	return cmocka_run_group_tests_name("kmalloc", tests, NULL, NULL);
}
