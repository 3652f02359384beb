/* SPDX-License-Identifier: MIT */
/*
 * test_vm_map_ram.c - mappings for a short time: blocks, when their addresses come back, when translations go.
 */
#include "kmap_machine.h"

COVERS("S4.19");
static void test_map_ram(void **state)
{
	struct page *pages[3], *tail;
	void *a, *b;
	u64 val;

	kmap_boot();
	tail = alloc_pages(GFP_KERNEL, 1);
	pages[0] = new_page(0);
	pages[1] = tail + 1;
	pages[2] = new_page(0);
	a = vm_map_ram(pages, 3, NUMA_NO_NODE);
	b = vm_map_ram(pages + 1, 1, NUMA_NO_NODE);
	assert_true(a && b);
	/* of one block: one area */
	assert_int_equal(kmap_stat().areas, 1);
	for (unsigned long i = 0; i < 3; i++)
		assert_maps(kat(a, i), pages[i]);
	assert_maps(b, pages[1]);
	assert_true(octavo_validate());
	vm_unmap_ram(a, 3);
	/* lazily */
	assert_int_equal(kread(a, &val), SIM_OK);
	assert_null(vmalloc_to_page(a));
	assert_maps(b, pages[1]);
	vm_unmap_aliases();
	assert_no_access(a);
	assert_maps(b, pages[1]);
	assert_true(sim_mmu_check(NULL));
	vm_unmap_ram(b, 1);
	vm_unmap_aliases();
	assert_no_access(b);
	assert_int_equal(page_count(tail), 1);
	put_page(pages[0]);
	put_page(tail);
	put_page(pages[2]);
	kmap_idle();
	shutdown_clean();
}

/* Addresses of a block are not used twice before it ends and is flushed. */
COVERS("S4.19");
static void test_blocks_end(void **state)
{
	struct page *page;
	void *kept, *p, *last = NULL;

	kmap_boot();
	page = new_page(0);
	kept = vm_map_ram(&page, 1, 0);
	assert_non_null(kept);
	for (int i = 0; i < 5000; i++) {
		p = vm_map_ram(&page, 1, 0);
		assert_non_null(p);
		assert_ptr_not_equal(p, kept);
		assert_ptr_not_equal(p, last);
		assert_maps(p, page);
		vm_unmap_ram(p, 1);
		last = p;
	}
	/* the one that is kept keeps its block, the others ended */
	assert_true(kmap_stat().areas <= 2);
	assert_true(kmap_stat().lazy_pages <= 2 * OCTAVO_VMALLOC_LAZY + 2048);
	assert_true(octavo_validate());
	assert_maps(kept, page);
	vm_unmap_ram(kept, 1);
	put_page(page);
	kmap_idle();
	shutdown_clean();
}

COVERS("S4.19");
static void test_large_and_wrong(void **state)
{
	struct page *pages[200];
	/* less than a chunk, more than a block gives */
	const unsigned int n = VMALLOC_CHUNK >> PAGE_SHIFT > 300 ? 200 : 100;
	void *p, *odd;

	kmap_boot();
	for (unsigned int i = 0; i < n; i++)
		pages[i] = i ? pages[0] : new_page(0);
	p = vm_map_ram(pages, n, 0);
	assert_non_null(p);
	assert_maps(kat(p, n - 1), pages[0]);
	sim_log_take(NULL);
	vm_unmap_ram(p, n / 2);
	assert_warned("not a mapping");
	vm_unmap_ram(p, n);
	assert_int_equal(kmap_stat().areas, 0);
	vm_unmap_ram(p, n);
	assert_warned("not a mapping");
	p = vm_map_ram(pages, 2, 0);
	vm_unmap_ram(p, 3);
	assert_warned("not a mapping of 3");
	vm_unmap_ram((char *)p + 8, 1);
	assert_warned("not a mapping of 1");
	/* a part of one is legal, and a block is nobody's to free */
	vm_unmap_ram(p, 1);
	assert_maps(kat(p, 1), pages[0]);
	vfree(p);
	assert_warned("not the start");
	vm_unmap_ram(kat(p, 1), 1);
	assert_null(vm_map_ram(pages, 0, 0));
	odd = kmalloc(32, GFP_KERNEL);
	pages[1] = virt_to_page(odd);
	assert_null(vm_map_ram(pages, 2, 0));
	kfree(odd);
	put_page(pages[0]);
	kmap_idle();
	shutdown_clean();
}

/* A mapping that nobody unmapped is said, and nothing else is lost with it. */
COVERS("S4.19");
static void test_ram_leak_is_reported(void **state)
{
	struct page *page;
	const char *last = NULL;
	void *old, *p;

	kmap_boot();
	page = new_page(0);
	old = vm_map_ram(&page, 1, 0);
	/* of a block that is not current any more, and of one that is */
	for (unsigned int i = 0; i < 2 * 4096; i++) {
		p = vm_map_ram(&page, 1, 0);
		assert_non_null(p);
		if (i % 4096 != 4095)
			vm_unmap_ram(p, 1);
	}
	assert_non_null(old);
	put_page(page);
	sim_log_take(NULL);
	assert_int_equal(sim_shutdown(), 0);
	assert_true(sim_log_take(&last) >= 2);
}

static struct page *shared;

static void churn(unsigned int cpu, void *arg)
{
	void *p[4] = { NULL };

	for (unsigned long i = 0; i < 20000; i++) {
		const unsigned int at = i % 4;

		if (p[at])
			vm_unmap_ram(p[at], 1);
		p[at] = vm_map_ram(&shared, 1, 0);
		if (p[at] && vmalloc_to_page(p[at]) != shared)
			abort();
		if (i % 1000 == 999)
			vm_unmap_aliases();
	}
	for (unsigned int at = 0; at < 4; at++)
		if (p[at])
			vm_unmap_ram(p[at], 1);
}

static void test_map_ram_smp(void **state)
{
	kmap_boot();
	shared = new_page(0);
	/* CPUs 0 and 2 share a home where there are two */
	sim_run(3, false, churn, NULL);
	assert_true(octavo_validate());
	put_page(shared);
	kmap_idle();
	shutdown_clean();
}

#if OCTAVO_FAULTS
static void test_map_ram_fails_at_any_step(void **state)
{
	struct page *pages[4];

	kmap_boot();
	for (int i = 0; i < 4; i++)
		pages[i] = i ? pages[0] : new_page(0);
	vfree(vmalloc(1));
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
	{
		void *p = vm_map_ram(pages, 4, 0), *q = NULL;

		if (p)
			q = vm_map_ram(pages, 4, 0);
		hit = octavo_fault_disarm();
		assert_true((p && q) || hit);
		assert_true(octavo_validate());
		if (p)
			vm_unmap_ram(p, 4);
		if (q)
			vm_unmap_ram(q, 4);
		kmap_idle();
	}
	put_page(pages[0]);
	shutdown_clean();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_map_ram),
		TEST(test_blocks_end),
		TEST(test_large_and_wrong),
		TEST(test_ram_leak_is_reported),
		TEST(test_map_ram_smp),
#if OCTAVO_FAULTS
		TEST(test_map_ram_fails_at_any_step),
#endif
	};

	sim_log_quiet(true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
