// SPDX-License-Identifier: MIT
/*
 * test_fault_object.c - memory of the embedder's objects: folios of files and plain pages by vm_ops->fault, shared and
 * private, writes that the object wants to know of, and what a handler may not return.
 */
#include "fault_machine.h"

#include <octavo/plain.h>

#define PAGES 4u

/* An object of PAGES pages: folios of order 0, plain pages, or whatever a test puts there. */
static struct object {
	struct vm_file file;
	struct page *page[PAGES];
	unsigned int faults, mkwrites, released;
	vm_fault_t ret;	  /* instead of a page */
	bool installs;	  /* by vmf_insert_page() */
	vm_flags_t flags; /* of the area */
	unsigned long pgoff;
} obj;

static u32 object_fault(struct vm_fault *vmf)
{
	obj.faults++;
	obj.pgoff = vmf->pgoff;
	assert_int_equal(vmf->address & ~PAGE_MASK, 0);
	if (obj.ret || vmf->pgoff >= PAGES)
		return obj.ret ? obj.ret : VM_FAULT_SIGBUS;
	if (obj.installs)
		return vmf_insert_page(vmf->vma, vmf->address, obj.page[vmf->pgoff]);
	vmf->page = obj.page[vmf->pgoff];
	if (vmf->page && (page_folio(vmf->page) || page_count(vmf->page)))
		get_page(vmf->page);
	return VM_FAULT_MAJOR;
}

static u32 object_mkwrite(struct vm_fault *vmf)
{
	obj.mkwrites++;
	return obj.ret;
}

static const struct vm_operations_struct plain_ops = { .fault = object_fault };
static const struct vm_operations_struct told_ops = { .fault = object_fault,
						      .pfn_mkwrite = object_mkwrite };
static const struct vm_operations_struct *ops;

static int object_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	WRITE_ONCE(vma->vm_ops, ops);
	WRITE_ONCE(vma->vm_flags, vma->vm_flags | obj.flags);
	return 0;
}

static void object_release(struct vm_file *file)
{
	obj.released++;
}

static const struct vm_file_operations file_ops = { .mmap = object_mmap,
						    .release = object_release };

static void map_object(unsigned long page, unsigned long prot, unsigned long flags)
{
	assert_int_equal(vm_mmap(as, at(page), (PAGES + 1) << PAGE_SHIFT, prot, MAP_FIXED | flags,
				 &obj.file, 0),
			 at(page));
}

static void object_up(bool plain, const struct vm_operations_struct *o)
{
	space_up();
	memset(&obj, 0, sizeof(obj));
	vm_file_init(&obj.file, &file_ops);
	ops = o;
	obj.flags = plain ? VM_MIXEDMAP : 0;
	for (unsigned int i = 0; i < PAGES; i++) {
		if (plain)
			obj.page[i] = alloc_pages(GFP_KERNEL | __GFP_ZERO, 0);
		else
			obj.page[i] =
				folio_page(folio_alloc(GFP_KERNEL | __GFP_ZERO, 0, FOLIO_FILE), 0);
		assert_non_null(obj.page[i]);
		if (plain)
			page_set_mappable(obj.page[i], true);
		*(u64 *)page_address(obj.page[i]) = i + 1;
	}
}

static void object_down(void)
{
	assert_int_equal(vm_munmap(as, at(0), 64 << PAGE_SHIFT), 0);
	for (unsigned int i = 0; i < PAGES; i++) {
		assert_int_equal(page_count(obj.page[i]), 1);
		put_page(obj.page[i]);
	}
	vm_file_put(&obj.file);
	assert_int_equal(obj.released, 1);
	space_down();
}

static bool maps(unsigned long page, const struct page *p)
{
	return pte_present(entry(page)) && pte_pfn(entry(page)) == page_to_pfn(p);
}

COVERS("SX.1 SX.2 S0.11");
static void test_shared(void **state)
{
	for (int plain = 0; plain < 2; plain++) {
		object_up(plain, &plain_ops);
		map_object(8, PROT_READ | PROT_WRITE, MAP_SHARED);
		assert_int_equal(mm_fault(as, at(9), 0), VM_FAULT_MAJOR);
		assert_true(maps(9, obj.page[1]));
		assert_int_equal(obj.pgoff, 1);
		assert_int_equal(get64(9), 2);
		put64(9, 22);
		put64(10, 33);
		assert_int_equal(obj.faults, 2);
		assert_int_equal(*(u64 *)page_address(obj.page[1]), 22);
		assert_int_equal(*(u64 *)page_address(obj.page[2]), 33);
		assert_int_equal(page_count(obj.page[1]), 2);
		assert_int_equal(get_mm_counter(as, MM_FILEPAGES), plain ? 0 : 2);
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 0);
		if (!plain)
			assert_int_equal(folio_mapcount(page_folio(obj.page[1])), 1);
		assert_int_equal(sim_store64(at(8 + PAGES), 1), VM_FAULT_SIGBUS);
		object_down();
	}
}

COVERS("SX.1 SX.2 S0.22");
static void test_private(void **state)
{
	for (int plain = 0; plain < 2; plain++) {
		object_up(plain, &plain_ops);
		map_object(8, PROT_READ | PROT_WRITE, MAP_PRIVATE);
		assert_int_equal(get64(8), 1);
		assert_true(maps(8, obj.page[0]) && !pte_write(entry(8)));
		/* read first, then written to */
		put64(8, 11);
		assert_false(maps(8, obj.page[0]));
		assert_true(folio_test_anon(folio_at(8)) && exclusive_in(as, 8));
		assert_int_equal(page_count(obj.page[0]), 1);
		/* written to at once */
		put64(9, 22);
		assert_true(folio_test_anon(folio_at(9)));
		assert_int_equal(*(u64 *)page_address(obj.page[0]), 1);
		assert_int_equal(*(u64 *)page_address(obj.page[1]), 2);
		assert_int_equal(get64(8), 11);
		assert_int_equal(get_mm_counter(as, MM_FILEPAGES), 0);
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 2);
		/* pins want a page of their own too */
		assert_int_equal(get64(10), 3);
		assert_int_equal(handle(10, FAULT_FLAG_UNSHARE), 0);
		assert_true(folio_test_anon(folio_at(10)));
		object_down();
	}
}

static void test_told_of_writes(void **state)
{
	object_up(false, &told_ops);
	map_object(8, PROT_READ | PROT_WRITE, MAP_SHARED);
	assert_int_equal(get64(8), 1);
	assert_false(pte_write(entry(8)));
	assert_int_equal(obj.mkwrites, 0);
	put64(8, 2);
	assert_int_equal(obj.mkwrites, 1);
	assert_true(pte_write(entry(8)));
	put64(8, 3);
	assert_int_equal(obj.mkwrites, 1);
	assert_int_equal(get64(9), 2);
	obj.ret = VM_FAULT_SIGBUS;
	assert_int_equal(sim_store64(at(9), 1), VM_FAULT_SIGBUS);
	assert_false(pte_write(entry(9)));
	obj.ret = 0;
	/* also where reading was all that was allowed when it was mapped */
	map_object(16, PROT_READ, MAP_SHARED);
	assert_int_equal(get64(16), 3);
	assert_int_equal(get64(17), 2);
	assert_int_equal(vm_mprotect(as, at(16), PAGE_SIZE * PAGES, PROT_READ | PROT_WRITE), 0);
	assert_false(pte_write(entry(16)));
	obj.mkwrites = 0;
	put64(16, 3);
	assert_int_equal(obj.mkwrites, 1);
	/* and after the right was taken away again */
	assert_int_equal(vm_mprotect(as, at(16), PAGE_SIZE * PAGES, PROT_READ), 0);
	assert_int_equal(vm_mprotect(as, at(16), PAGE_SIZE * PAGES, PROT_READ | PROT_WRITE), 0);
	put64(17, 2);
	assert_int_equal(obj.mkwrites, 2);
	/* what is shared by intent is not unshared */
	assert_int_equal(handle(9, FAULT_FLAG_UNSHARE), 0);
	assert_true(maps(9, obj.page[1]));
	object_down();
}

static void test_handler_installs(void **state)
{
	object_up(true, &plain_ops);
	obj.installs = true;
	map_object(8, PROT_READ | PROT_WRITE, MAP_SHARED);
	assert_int_equal(get64(9), 2);
	assert_true(maps(9, obj.page[1]));
	assert_int_equal(page_count(obj.page[1]), 2);
	object_down();
}

static void test_errors(void **state)
{
	static const vm_fault_t errors[] = { VM_FAULT_SIGBUS, VM_FAULT_OOM, VM_FAULT_HWPOISON,
					     VM_FAULT_SIGSEGV };
	static const struct vm_operations_struct none = { 0 };

	object_up(false, &plain_ops);
	map_object(8, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (unsigned int i = 0; i < ARRAY_SIZE(errors); i++) {
		obj.ret = errors[i];
		assert_int_equal(mm_fault(as, at(8), 0), errors[i]);
		assert_int_equal(mm_fault(as, at(8), FAULT_FLAG_WRITE), errors[i]);
		assert_true(pte_none(entry(8)));
	}
	obj.ret = 0;
	/* may not sleep */
	assert_int_equal(fault_nowait(8, 0), VM_FAULT_RETRY);
	ops = &none;
	map_object(16, PROT_READ, MAP_SHARED);
	assert_int_equal(mm_fault(as, at(16), 0), VM_FAULT_SIGBUS);
	object_down();
}

/* ---- bare frames ---- */

static int frames_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	return remap_pfn_range(vma, vma->vm_start, page_to_pfn(obj.page[0]),
			       vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

COVERS("SX.2");
static void test_private_frames_are_copied(void **state)
{
	static const struct vm_file_operations frames_ops = { .mmap = frames_mmap,
							      .release = object_release };

	object_up(true, &plain_ops);
	obj.file.ops = &frames_ops;
	assert_int_equal(vm_mmap(as, at(8), PAGE_SIZE, PROT_READ | PROT_WRITE,
				 MAP_FIXED | MAP_PRIVATE, &obj.file, 0),
			 at(8));
	assert_int_equal(get64(8), 1);
	assert_true(pte_special(entry(8)));
	put64(8, 9);
	assert_false(pte_special(entry(8)));
	assert_true(folio_test_anon(folio_at(8)));
	assert_int_equal(*(u64 *)page_address(obj.page[0]), 1);
	assert_int_equal(page_count(obj.page[0]), 1);
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 1);
	object_down();
}

/* ---- what a handler may not return ---- */

static void fault_8(void *arg)
{
	mm_fault(as, at(8), 0);
}

static void test_wrong_pages_are_fatal(void **state)
{
	object_up(false, &plain_ops);
	map_object(8, PROT_READ, MAP_SHARED);
	obj.page[0] = NULL;
	expect_panic(fault_8, NULL, "no page");

	object_up(false, &plain_ops);
	map_object(8, PROT_READ, MAP_SHARED);
	obj.page[0] = folio_page(folio_alloc(GFP_KERNEL, 0, FOLIO_ANON), 0);
	expect_panic(fault_8, NULL, "may not be mapped");

	object_up(true, &plain_ops);
	map_object(8, PROT_READ, MAP_SHARED);
	obj.page[0] = alloc_pages(GFP_KERNEL, 0);
	expect_panic(fault_8, NULL, "may not be mapped");
}

#if OCTAVO_FAULTS
COVERS("SX.8");
static void test_no_memory(void **state)
{
	for (u32 flags = 0; flags < 2; flags++) {
		object_up(false, &plain_ops);
		map_object(8, PROT_READ | PROT_WRITE, MAP_PRIVATE);
		for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
		{
			vm_fault_t ret = mm_fault(as, at(8), flags);

			hit = octavo_fault_disarm();
			assert_true(ret == VM_FAULT_MAJOR || ret == 0 ||
				    (ret == VM_FAULT_OOM && hit));
			assert_int_equal(pte_none(entry(8)), ret == VM_FAULT_OOM);
			assert_int_equal(page_count(obj.page[0]),
					 ret & VM_FAULT_ERROR || flags ? 1 : 2);
			assert_true(octavo_validate());
			if (!(ret & VM_FAULT_ERROR))
				break;
		}
		object_down();
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_shared),
		TEST(test_private),
		TEST(test_told_of_writes),
		TEST(test_handler_installs),
		TEST(test_errors),
		TEST(test_private_frames_are_copied),
		TEST(test_wrong_pages_are_fatal),
#if OCTAVO_FAULTS
		TEST(test_no_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
