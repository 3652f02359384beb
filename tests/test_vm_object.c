// SPDX-License-Identifier: MIT
/*
 * test_vm_object.c - areas of the embedder's objects: what may be mapped how, and what validation says of it.
 */
#include "test.h"

#include <octavo/mm.h>
#include <octavo/plain.h>

#include "mmu.h"

static struct page *page;

static u32 give_page(struct vm_fault *vmf)
{
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct vm_ops = { .fault = give_page };

static int map_object(struct vm_file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &vm_ops;
	return 0;
}

static const struct vm_file_operations ops = { .mmap = map_object };

static struct mm_struct *start(struct vm_file *file)
{
	struct mm_struct *mm;

	boot_small(OCTAVO_TREE_ORDER > 6 ? 64 : 1, 1);
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	assert_non_null(page);
	page_set_mappable(page, true);
	vm_file_init(file, &ops);
	mm = mm_alloc();
	assert_non_null(mm);
	sim_mm_use(mm);
	return mm;
}

static void stop(struct mm_struct *mm)
{
	sim_mm_forget(mm);
	mmput(mm);
	assert_int_equal(page_count(page), 1);
	put_page(page);
	shutdown_clean();
}

/* A handler may give plain pages without saying so in the area. */
COVERS("S0.11 S0.12 SX.2");
static void test_a_handlers_plain_page_is_valid(void **state)
{
	struct vm_file file;
	struct mm_struct *mm = start(&file);
	long addr = vm_mmap(mm, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, &file, 0);
	u64 val = 1;

	assert_true(addr > 0);
	assert_int_equal(sim_load64((unsigned long)addr, &val), 0);
	assert_int_equal(val, 0);
	assert_int_equal(page_count(page), 2);
	assert_true(mm_validate(mm));
	stop(mm);
}

/* There is nothing before an object's first page that a stack could grow into. */
static void test_objects_do_not_grow_down(void **state)
{
	static const unsigned long kinds[] = { MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE };
	struct vm_file file;
	struct mm_struct *mm = start(&file);

	for (u32 i = 0; i < ARRAY_SIZE(kinds); i++)
		assert_int_equal(
			vm_mmap(mm, 0, PAGE_SIZE, PROT_READ, kinds[i] | MAP_GROWSDOWN, &file, 0),
			-EINVAL);
	assert_null(find_vma(mm, 0));
	assert_int_equal(file.refcount, 1);
	stop(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_handlers_plain_page_is_valid),
		TEST(test_objects_do_not_grow_down),
	};

	return cmocka_run_group_tests_name("vm_object", tests, NULL, NULL);
}
