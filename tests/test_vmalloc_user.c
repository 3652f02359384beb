/* SPDX-License-Identifier: MIT */
/*
 * test_vmalloc_user.c - vmalloc memory in user page tables: counted pages, which neither side counts as mapped.
 */
#include <octavo/state.h>

#include "space_machine.h"

struct ring {
	struct vm_file file;
	void *mem;
	unsigned long pgoff;
	int err;
};

static int ring_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	struct ring *r = container_of(file, struct ring, file);

	r->err = remap_vmalloc_range(vma, r->mem, r->pgoff);
	return r->err;
}

static const struct vm_file_operations ring_ops = { .mmap = ring_mmap };

static long map_ring(struct mm_struct *mm, struct ring *r, unsigned long pages)
{
	return vm_mmap(mm, BASE, SIZE(pages), RW, MAP_SHARED | MAP_FIXED, &r->file, 0);
}

COVERS("S4.20 S0.11");
static void test_remap(void **state)
{
	struct mm_struct *mm = space_boot();
	struct ring r = { .pgoff = 1 };
	u64 val;

	vm_file_init(&r.file, &ring_ops);
	r.mem = vmalloc_user(SIZE(40));
	assert_non_null(r.mem);
	assert_int_equal(map_ring(mm, &r, 39), BASE);
	sim_mm_use(mm);
	for (unsigned long i = 0; i < 39; i++) {
		void *k = (char *)r.mem + SIZE(i + 1);
		struct page *page = vmalloc_to_page(k);

		assert_int_equal(page_count(page), 2);
		assert_int_equal(sim_store64(PG(i), 1000 + i), 0);
		assert_int_equal(sim_mmu_ktry((unsigned long)k, SIM_LOAD, &val), SIM_OK);
		assert_int_equal(val, 1000 + i);
	}
	assert_true(octavo_validate());
	/* the area may end first: its pages are the user's then */
	vfree(r.mem);
	vm_unmap_aliases();
	assert_int_equal(sim_load64(PG(7), &val), 0);
	assert_int_equal(val, 1007);
	assert_int_equal(vm_munmap(mm, BASE, SIZE(39)), 0);
	vm_file_put(&r.file);
	space_end(mm);
}

COVERS("S4.20");
static void test_remap_refuses(void **state)
{
	struct mm_struct *mm = space_boot();
	struct ring r = { .pgoff = 0 };

	vm_file_init(&r.file, &ring_ops);
	/* not for users */
	r.mem = vmalloc(SIZE(4));
	assert_int_equal(map_ring(mm, &r, 4), -EINVAL);
	vfree(r.mem);
	r.mem = vmalloc_user(SIZE(4));
	/* larger than it is, from any place; and from inside it */
	assert_int_equal(map_ring(mm, &r, 5), -EINVAL);
	r.pgoff = 1;
	assert_int_equal(map_ring(mm, &r, 4), -EINVAL);
	r.pgoff = ~0ul;
	assert_int_equal(map_ring(mm, &r, 1), -EINVAL);
	r.pgoff = 0;
	r.mem = (char *)r.mem + PAGE_SIZE;
	assert_int_equal(map_ring(mm, &r, 1), -EINVAL);
	r.mem = (char *)r.mem - PAGE_SIZE;
	assert_int_equal(page_count(vmalloc_to_page(r.mem)), 1);
	vfree(r.mem);
	vm_file_put(&r.file);
	space_end(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_remap),
		TEST(test_remap_refuses),
	};

	sim_log_quiet(true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
