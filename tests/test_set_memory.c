/* SPDX-License-Identifier: MIT */
/*
 * test_set_memory.c - kernel mappings that are there already: other permissions for a part, areas filled page by page, and
 * areas of frames without words.
 */
#include "kmap_machine.h"

/* Every page of a range allows this, and no other does. */
static void assert_writable(const void *addr, unsigned long n, unsigned long from, unsigned long to)
{
	for (unsigned long i = 0; i < n; i++)
		assert_int_equal(kwrite(kat(addr, i), i),
				 i >= from && i < to ? SIM_PROTECTION : SIM_OK);
}

COVERS("S4.16");
static void test_set_memory_splits(void **state)
{
	const unsigned long n = 2 * LEAF_PAGES;
	struct page **pages, *run;
	unsigned long addr;
	void *p;

	kmap_boot();
	run = new_page(level_order(1) + 1);
	pages = malloc(n * sizeof(*pages));
	assert_non_null(pages);
	for (unsigned long i = 0; i < n; i++)
		pages[i] = run + i;
	p = vmap(pages, (unsigned int)n, 0, PAGE_KERNEL);
	addr = (unsigned long)p;
	assert_int_equal(kmap_stat().huge_entries, 2);
	/* translations of the larger entries */
	assert_writable(p, n, 0, 0);
	/* a whole one: nothing is split */
	assert_int_equal(set_memory_ro(addr, (int)LEAF_PAGES), 0);
	assert_int_equal(kmap_stat().huge_entries, 2);
	assert_writable(p, n, 0, LEAF_PAGES);
	assert_int_equal(set_memory_rw(addr, (int)LEAF_PAGES), 0);
	assert_writable(p, n, 0, 0);
	/* one page of the first, and what reaches into the second */
	assert_int_equal(set_memory_ro(addr + PAGE_SIZE, 1), 0);
	assert_int_equal(kmap_stat().huge_entries, 1);
	assert_writable(p, n, 1, 2);
	assert_int_equal(set_memory_rw(addr + PAGE_SIZE, 1), 0);
	assert_int_equal(set_memory_ro(addr + PAGE_SIZE, (int)LEAF_PAGES + 1), 0);
	assert_int_equal(kmap_stat().huge_entries, 0);
	assert_writable(p, n, 1, LEAF_PAGES + 2);
	assert_true(octavo_validate());
	for (unsigned long i = 0; i < n; i++)
		assert_ptr_equal(vmalloc_to_page(kat(p, i)), run + i);
	/* executable and not */
	assert_int_equal(kfetch(kat(p, 3)), SIM_PROTECTION);
	assert_int_equal(set_memory_x(addr + 3 * PAGE_SIZE, 1), 0);
	assert_int_equal(kfetch(kat(p, 3)), SIM_OK);
	assert_int_equal(kfetch(kat(p, 4)), SIM_PROTECTION);
	assert_int_equal(set_memory_nx(addr + 3 * PAGE_SIZE, 1), 0);
	assert_int_equal(kfetch(kat(p, 3)), SIM_PROTECTION);
	/* not such pages */
	assert_int_equal(set_memory_ro(addr + 1, 1), -EINVAL);
	assert_int_equal(set_memory_ro(addr, (int)n + 1), -EINVAL);
	assert_int_equal(set_memory_ro(addr, 0), -EINVAL);
	assert_int_equal(set_memory_ro(VMALLOC_END - PAGE_SIZE, 1), -EINVAL);
	vunmap(p);
	put_page(run);
	free(pages);
	kmap_end();
}

COVERS("S4.17");
static void test_sparse(void **state)
{
	struct page *pages[3], **many;
	struct vm_struct *area, *other;
	unsigned long a;
	void *odd;

	kmap_boot();
	for (int i = 0; i < 3; i++)
		pages[i] = new_page(0);
	area = get_vm_area(10 * PAGE_SIZE, VM_SPARSE);
	assert_non_null(area);
	a = (unsigned long)area->addr;
	assert_int_equal(vm_area_map_pages(area, a + 2 * PAGE_SIZE, a + 5 * PAGE_SIZE, pages), 0);
	assert_maps(kat(area->addr, 3), pages[1]);
	assert_no_access(kat(area->addr, 1));
	assert_no_access(kat(area->addr, 5));
	assert_true(octavo_validate());
	assert_int_equal(vm_area_map_pages(area, a + 4 * PAGE_SIZE, a + 6 * PAGE_SIZE, pages),
			 -EBUSY);
	assert_int_equal(vm_area_map_pages(area, a - PAGE_SIZE, a, pages), -ERANGE);
	assert_int_equal(vm_area_map_pages(area, a + 9 * PAGE_SIZE, a + 11 * PAGE_SIZE, pages),
			 -ERANGE);
	assert_int_equal(vm_area_map_pages(area, a, a, pages), -ERANGE);
	assert_int_equal(vm_area_map_pages(area, a + 1, a + PAGE_SIZE, pages), -EINVAL);
	odd = kmalloc(32, GFP_KERNEL);
	assert_int_equal(
		vm_area_map_pages(area, a, a + PAGE_SIZE, (struct page *[]){ virt_to_page(odd) }),
		-EINVAL);
	kfree(odd);
	assert_int_equal(vm_area_unmap_pages(area, a + 3 * PAGE_SIZE, a + 4 * PAGE_SIZE), 0);
	/* flushed when it returns, unlike vunmap() */
	assert_no_access(kat(area->addr, 3));
	assert_maps(kat(area->addr, 2), pages[0]);
	assert_int_equal(vm_area_map_pages(area, a + 3 * PAGE_SIZE, a + 4 * PAGE_SIZE, pages), 0);
	assert_maps(kat(area->addr, 3), pages[0]);
	assert_int_equal(vm_area_unmap_pages(area, a, a + 11 * PAGE_SIZE), -ERANGE);
	assert_int_equal(vm_area_unmap_pages(area, a, a + 10 * PAGE_SIZE), 0);
	other = get_vm_area(PAGE_SIZE, VM_MAP);
	assert_non_null(other);
	assert_int_equal(vm_area_map_pages(other, (unsigned long)other->addr,
					   (unsigned long)other->addr + PAGE_SIZE, pages),
			 -EINVAL);
	free_vm_area(other);
	other = get_vm_area(PAGE_SIZE, VM_SPARSE | VM_FLUSH_RESET_PERMS);
	assert_int_equal(vm_area_map_pages(other, (unsigned long)other->addr,
					   (unsigned long)other->addr + PAGE_SIZE, pages),
			 -EINVAL);
	free_vm_area(other);
	other = get_vm_area(PAGE_SIZE, VM_SPARSE | VM_NO_GUARD);
	assert_int_equal(vm_area_unmap_pages(other, (unsigned long)other->addr,
					     (unsigned long)other->addr + PAGE_SIZE),
			 -EINVAL);
	free_vm_area(other);
	assert_null(get_vm_area(0, VM_SPARSE));
	assert_null(get_vm_area(PAGE_SIZE, VM_ALLOC));
	assert_null(get_vm_area(VMALLOC_CHUNK + PAGE_SIZE, VM_SPARSE));
	/* more pages than memory: of one page, again and again */
	a = (totalram_pages() + 1) << PAGE_SHIFT;
	if (a < VMALLOC_CHUNK) {
		other = get_vm_area(a, VM_SPARSE);
		many = calloc(totalram_pages() + 1, sizeof(*many));
		assert_non_null(many);
		assert_int_equal(vm_area_map_pages(other, (unsigned long)other->addr,
						   (unsigned long)other->addr + a, many),
				 -E2BIG);
		free(many);
		free_vm_area(other);
	}
	free_vm_area(area);
	for (int i = 0; i < 3; i++)
		put_page(pages[i]);
	kmap_end();
}

COVERS("S4.18");
static void test_vmap_pfn(void **state)
{
	const unsigned long beyond = octavo_state.frame.max_pfn + (1ul << 30);
	unsigned long pfns[3];
	struct page *page;
	void *addr;
	u64 val;

	kmap_boot();
	for (unsigned long i = 0; i < 3; i++)
		pfns[i] = beyond + 7 * i;
	addr = vmap_pfn(pfns, 3, PAGE_KERNEL);
	assert_non_null(addr);
	/* there is no such memory here, but the way to it is right */
	assert_int_equal(kread(kat(addr, 1), &val), SIM_BUS);
	assert_int_equal(vmalloc_to_pfn(kat(addr, 2)), pfns[2]);
	assert_null(vmalloc_to_page(addr));
	assert_int_equal(find_vm_area(addr)->flags, VM_IOREMAP);
	assert_true(octavo_validate());
	vunmap(addr);
	page = new_page(0);
	pfns[1] = page_to_pfn(page);
	assert_null(vmap_pfn(pfns, 3, PAGE_KERNEL));
	pfns[1] = 1ul << PTE_PFN_BITS;
	assert_null(vmap_pfn(pfns, 3, PAGE_KERNEL));
	assert_null(vmap_pfn(pfns, 0, PAGE_KERNEL));
	put_page(page);
	kmap_end();
}

#if OCTAVO_FAULTS
#define ALLOCS (OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB)

/* No memory for the table of a split: nothing has changed. */
COVERS("S4.16");
static void test_set_memory_fails_whole(void **state)
{
	struct page **pages, *run;
	unsigned long addr;
	void *p;

	kmap_boot();
	run = new_page(level_order(1));
	pages = malloc(LEAF_PAGES * sizeof(*pages));
	assert_non_null(pages);
	for (unsigned long i = 0; i < LEAF_PAGES; i++)
		pages[i] = run + i;
	p = vmap(pages, (unsigned int)LEAF_PAGES, 0, PAGE_KERNEL);
	addr = (unsigned long)p;
	for_each_fault(k, OCTAVO_FAULT_ONCE, ALLOCS, hit)
	{
		int err = set_memory_ro(addr + PAGE_SIZE, 2);

		hit = octavo_fault_disarm();
		assert_true(err == 0 || hit);
		assert_writable(p, LEAF_PAGES, 1, err ? 1 : 3);
		assert_true(octavo_validate());
	}
	vunmap(p);
	put_page(run);
	free(pages);
	kmap_end();
}

COVERS("S4.17");
static void test_sparse_fails_whole(void **state)
{
	const unsigned long n = LEAF_PAGES + 2;
	struct vm_struct *area;
	struct page **pages;
	unsigned long a;

	kmap_boot();
	pages = malloc(n * sizeof(*pages));
	assert_non_null(pages);
	pages[0] = new_page(0);
	for (unsigned long i = 1; i < n; i++)
		pages[i] = pages[0];
	for_each_fault(k, OCTAVO_FAULT_ONCE, ALLOCS, hit)
	{
		int err = -ENOMEM;

		area = get_vm_area(n << PAGE_SHIFT, VM_SPARSE);
		a = area ? (unsigned long)area->addr : 0;
		if (area)
			err = vm_area_map_pages(area, a, a + (n << PAGE_SHIFT), pages);
		hit = octavo_fault_disarm();
		assert_true(err == 0 || hit);
		if (area)
			assert_int_equal(area->mapped, err ? 0 : n);
		assert_true(octavo_validate());
		if (area)
			free_vm_area(area);
		kmap_idle();
	}
	put_page(pages[0]);
	free(pages);
	kmap_end();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_set_memory_splits),
		TEST(test_sparse),
		TEST(test_vmap_pfn),
#if OCTAVO_FAULTS

		TEST(test_set_memory_fails_whole),
		TEST(test_sparse_fails_whole),
#endif
	};

	sim_log_quiet(true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
