/* SPDX-License-Identifier: MIT */
/*
 * test_kmap_lazy.c - translations that are flushed later: when addresses are used again, and whose they are then.
 */
#include "kmap_machine.h"

/* Addresses are not used again before a flush: a translation that is left over leads nowhere new. */
static void test_vunmap_is_lazy(void **state)
{
	struct page *old, *new;
	void *first, *p;
	u64 val;

	kmap_boot();
	old = new_page(0);
	new = new_page(0);
	first = vmap(&old, 1, 0, PAGE_KERNEL);
	assert_maps(first, old);
	vunmap(first);
	/* the translation is still there */
	assert_int_equal(kread(first, &val), SIM_OK);
	p = vmap(&new, 1, 0, PAGE_KERNEL);
	assert_ptr_not_equal(p, first);
	assert_maps(p, new);
	vunmap(p);
	vm_unmap_aliases();
	assert_no_access(first);
	assert_true(sim_mmu_check(NULL));
	/* now it is used again */
	p = vmap(&new, 1, 0, PAGE_KERNEL);
	assert_maps(p, new);
	vunmap(p);
	put_page(old);
	put_page(new);
	kmap_end();
}

/* So many unmapped addresses are flushed for without being asked. */
static void test_lazy_is_bounded(void **state)
{
	struct page *page;

	kmap_boot();
	page = new_page(0);
	for (int i = 0; i < 3 * OCTAVO_VMALLOC_LAZY; i++) {
		void *p = vmap(&page, 1, 0, PAGE_KERNEL);

		assert_non_null(p);
		vunmap(p);
		assert_true(kmap_stat().lazy_pages <= OCTAVO_VMALLOC_LAZY + 2);
	}
	assert_true(kmap_stat().purges >= 2);
	put_page(page);
	kmap_end();
}

/* This CPU maps and unmaps until there has been one more flush. */
static void until_flushed(struct page *page)
{
	const u64 purges = kmap_stat().purges;

	while (kmap_stat().purges == purges) {
		void *p = vmap(&page, 1, 0, PAGE_KERNEL);

		assert_non_null(p);
		vunmap(p);
		assert_true(kmap_stat().lazy_pages <= OCTAVO_VMALLOC_LAZY + 2);
	}
	assert_true(octavo_validate());
}

/* A flush is for all, but what was another home's is left to its CPUs; unless they do nothing. */
static void test_lazy_homes(void **state)
{
	struct page *page;
	void *first, *second, *p, *q;
	u64 val;

	kmap_boot();
	page = new_page(0);
	sim_set_cpu(1);
	first = vmap(&page, 1, 0, PAGE_KERNEL);
	assert_maps(first, page);
	vunmap(first);
	sim_set_cpu(0);
	until_flushed(page);
	sim_set_cpu(1);
	/* no translation is left, the addresses are not for use yet */
	assert_int_equal(kread(first, &val), SIM_NOT_PRESENT);
	second = vmap(&page, 1, 0, PAGE_KERNEL);
	assert_ptr_not_equal(second, first);
	/* which ends what was ready */
	vunmap(second);
	p = vmap(&page, 1, 0, PAGE_KERNEL);
	assert_ptr_equal(p, first);
	vunmap(p);
	/* nothing more comes from there: after two flushes of others all of it can be used */
	sim_set_cpu(0);
	until_flushed(page);
	until_flushed(page);
	sim_set_cpu(1);
	p = vmap(&page, 1, 0, PAGE_KERNEL);
	q = vmap(&page, 1, 0, PAGE_KERNEL);
	assert_true((p == first && q == second) || (p == second && q == first));
	vunmap(p);
	vunmap(q);
	sim_set_cpu(0);
	put_page(page);
	kmap_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vunmap_is_lazy),
		TEST(test_lazy_is_bounded),
		TEST(test_lazy_homes),
	};

	sim_log_quiet(true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
