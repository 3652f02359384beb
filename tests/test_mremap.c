/* SPDX-License-Identifier: MIT */
/*
 * test_mremap.c - areas that shrink, grow and move; errors as documented; what moves with them.
 */
#include "space_machine.h"

#define MOVE  MREMAP_MAYMOVE
#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)
#define LEAVE (MREMAP_MAYMOVE | MREMAP_DONTUNMAP)

static long remap(struct mm_struct *mm, long page, long old, long new, unsigned long flags, long to)
{
	return vm_mremap(mm, PG(page), SIZE(old), SIZE(new), flags, PG(to));
}

static void fill(struct mm_struct *mm, long page, long nr)
{
	for (long i = 0; i < nr; i++)
		put_byte(page + i, (u8)(100 + i));
}

static void check_fill(long page, long nr)
{
	for (long i = 0; i < nr; i++)
		assert_int_equal(get_byte(page + i), 100 + i);
}

static void test_mremap_errors(void **state)
{
	static struct space_image before, after;
	struct mm_struct *mm = space_boot();
	const struct {
		unsigned long addr, old, new, flags, to;
		long err;
	} calls[] = {
		{ PG(0), SIZE(1), SIZE(2), 8, 0, -EINVAL },
		{ PG(0), SIZE(1), SIZE(2), MREMAP_FIXED, PG(20), -EINVAL },
		{ PG(0), SIZE(1), SIZE(1), MREMAP_DONTUNMAP, 0, -EINVAL },
		{ PG(0), SIZE(1), SIZE(2), LEAVE, PG(20), -EINVAL },
		{ PG(0) + 1, SIZE(1), SIZE(2), MOVE, 0, -EINVAL },
		{ PG(0), SIZE(1), 0, MOVE, 0, -EINVAL },
		{ PG(0), SIZE(1), mm->task_size + 1, MOVE, 0, -EINVAL },
		{ PG(0), SIZE(1), SIZE(1), FIXED, PG(20) + 1, -EINVAL },
		{ PG(0), SIZE(1), SIZE(1), FIXED, mm->task_size, -EINVAL },
		{ PG(0), SIZE(2), SIZE(2), FIXED, PG(1), -EINVAL },
		{ PG(1), SIZE(2), SIZE(2), FIXED, PG(0), -EINVAL },
		{ PG(0), 0, SIZE(2), MOVE, 0, -EINVAL },
		{ PG(10), SIZE(1), SIZE(2), MOVE, 0, -EFAULT },
		{ PG(0), SIZE(9), SIZE(10), MOVE, 0, -EFAULT },
		{ PG(0), SIZE(5), SIZE(6), MOVE, 0, -EFAULT },
		{ PG(0), SIZE(2), SIZE(3), 0, 0, -ENOMEM },
		{ PG(0), SIZE(4), SIZE(5), 0, 0, -ENOMEM },
		{ PG(0), SIZE(1), SIZE(1), FIXED, 0, -EPERM },
	};

	map(mm, 0, 4, RW);
	map(mm, 4, 4, PROT_READ);
	space_image(mm, &before);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		long ret = vm_mremap(mm, calls[i].addr, calls[i].old, calls[i].new, calls[i].flags,
				     calls[i].to);

		if (ret != calls[i].err)
			fail_msg("call %zu: %ld, expected %ld", i, ret, calls[i].err);
		space_image(mm, &after);
		assert_memory_equal(&before, &after, sizeof(before));
	}
	mm->limits.as = SIZE(8);
	assert_int_equal(remap(mm, 4, 4, 5, MOVE, 0), -ENOMEM);
	mm->limits.as = ~0ul;
	mm->max_map_count = mm->map_count + 3;
	assert_int_equal(remap(mm, 0, 1, 2, MOVE, 0), -ENOMEM);
	mm->max_map_count = 100;
	assert_int_equal(vm_mlock(mm, PG(4), SIZE(4), 0), 0);
	mm->limits.memlock = SIZE(4);
	assert_int_equal(remap(mm, 4, 4, 5, MOVE, 0), -EAGAIN);
	/* the same size is no more */
	assert_int_equal(remap(mm, 4, 4, 4, FIXED, 30), PG(30));
	assert_int_equal(mm->locked_vm, 4);
	space_end(mm);
}

static void test_mremap_size(void **state)
{
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	map(mm, 0, 8, RW);
	fill(mm, 0, 8);
	assert_int_equal(remap(mm, 0, 8, 8, 0, 0), PG(0));
	assert_int_equal(remap(mm, 0, 8, 4, 0, 0), PG(0));
	expect_areas(mm, { 0, 4, VM_READ | VM_WRITE });
	assert_int_equal(remap(mm, 2, 2, 8, 0, 0), PG(2));
	expect_areas(mm, { 0, 10, VM_READ | VM_WRITE });
	check_fill(0, 4);
	assert_int_equal(get_byte(4), 0);
	/* up to a neighbour, which becomes one with it */
	map(mm, 12, 2, RW);
	assert_int_equal(remap(mm, 8, 2, 4, 0, 0), PG(8));
	expect_areas(mm, { 0, 14, VM_READ | VM_WRITE });
	assert_int_equal(vm_committed_as(), SIZE(14));
	/* locked memory is there at once */
	assert_int_equal(vm_mlock(mm, PG(0), SIZE(14), 0), 0);
	assert_int_equal(remap(mm, 0, 14, 20, 0, 0), PG(0));
	assert_int_equal(mm->locked_vm, 20);
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 20);
	space_end(mm);
}

/* Smaller in place is an unmapping of the end, whatever is there: that is what system calls do, too. */
static void test_mremap_shrink_over_areas(void **state)
{
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	map(mm, 0, 4, RW);
	map(mm, 4, 4, PROT_READ);
	map(mm, 10, 4, RW);
	fill(mm, 0, 4);
	assert_int_equal(remap(mm, 0, 20, 20, 0, 0), PG(0));
	assert_int_equal(remap(mm, 1, 11, 2, MOVE, 0), PG(1));
	expect_areas(mm, { 0, 3, VM_READ | VM_WRITE }, { 12, 14, VM_READ | VM_WRITE });
	check_fill(0, 3);
	assert_int_equal(vm_committed_as(), SIZE(5));
	/* and not from where nothing is, nor beyond the end of addresses */
	assert_int_equal(remap(mm, 4, 10, 2, 0, 0), -EFAULT);
	assert_int_equal(vm_mremap(mm, PG(0), mm->task_size, SIZE(1), 0, 0), -EINVAL);
	assert_int_equal(vm_mremap(mm, PG(0), -PAGE_SIZE, SIZE(1), 0, 0), -EINVAL);
	expect_areas(mm, { 0, 3, VM_READ | VM_WRITE }, { 12, 14, VM_READ | VM_WRITE });
	space_end(mm);
}

/* So it is on the way to another place, if what moves is of one area; or nothing changes, but the target may be gone. */
static void test_mremap_move_shrinks_over_areas(void **state)
{
	static struct space_image before, after;
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	map(mm, 0, 4, RW);
	map(mm, 4, 4, PROT_READ);
	map(mm, 10, 4, RW);
	fill(mm, 0, 4);
	space_image(mm, &before);
	assert_int_equal(remap(mm, 0, 14, 5, FIXED, 20), -EFAULT);
	assert_int_equal(vm_mremap(mm, PG(20), SIZE(14), SIZE(2), FIXED, PG(40)), -EFAULT);
	assert_int_equal(vm_mremap(mm, PG(0), mm->task_size, SIZE(1), FIXED, PG(0) - PAGE_SIZE),
			 -EINVAL);
#if OCTAVO_FAULTS
	for (u32 step = 1;; step++) {
		long ret;

		range_tree_unreserve(&mm->vmas);
		octavo_fault_arm(step, true, OCTAVO_FAULT_SLAB);
		ret = remap(mm, 1, 11, 2, FIXED, 20);
		if (!octavo_fault_disarm()) {
			assert_int_equal(ret, PG(20));
			break;
		}
		assert_int_equal(ret, -ENOMEM);
		space_image(mm, &after);
		assert_memory_equal(&before, &after, sizeof(before));
		check_fill(0, 4);
		assert_true(octavo_validate());
	}
#else
	(void)after;
	assert_int_equal(remap(mm, 1, 11, 2, FIXED, 20), PG(20));
#endif
	expect_areas(mm, { 0, 1, VM_READ | VM_WRITE }, { 12, 14, VM_READ | VM_WRITE },
		     { 20, 22, VM_READ | VM_WRITE });
	assert_int_equal(get_byte(0), 100);
	assert_int_equal(get_byte(20), 101);
	assert_int_equal(get_byte(21), 102);
	assert_int_equal(vm_committed_as(), SIZE(5));
	/* and without a place of the caller's the end goes as it does in place */
	map(mm, 1, 2, PROT_READ);
	assert_int_equal(remap(mm, 0, 13, 1, MOVE, 0), PG(0));
	expect_areas(mm, { 0, 1, VM_READ | VM_WRITE }, { 13, 14, VM_READ | VM_WRITE },
		     { 20, 22, VM_READ | VM_WRITE });
	space_end(mm);
}

/* Any part of an area, to anywhere, also into the area. */
static void test_mremap_moves(void **state)
{
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	for (long from = 0; from < 8; from++)
		for (long nr = 1; from + nr <= 8; nr++)
			for (long to = 0; to < 12; to++)
				for (long new = 1; new <= 9; new += 4) {
					if (to < from + nr && from < to + new)
						continue;
					map(mm, 0, 8, RW);
					fill(mm, 0, 8);
					assert_int_equal(remap(mm, from, nr, new, FIXED, to),
							 PG(to));
					for (long i = 0; i < new; i++)
						assert_int_equal(get_byte(to + i),
								 i < nr ? 100 + from + i : 0);
					for (long i = 0; i < 8; i++) {
						u8 v;

						if (i >= to && i < to + new)
							continue;
						if (i >= from && i < from + nr)
							assert_int_not_equal(sim_load(PG(i), &v, 1),
									     0);
						else
							assert_int_equal(get_byte(i), 100 + i);
					}
					assert_int_equal(vm_munmap(mm, PG(0), SIZE(32)), 0);
					assert_int_equal(mm->map_count, 0);
					assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 0);
				}
	space_end(mm);
}

/* Pages keep their index, areas that never had one begin anew. */
static void test_mremap_pgoff(void **state)
{
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	map(mm, 0, 4, RW);
	map(mm, 20, 4, RW);
	put_byte(0, 1);
	assert_int_equal(remap(mm, 0, 4, 4, FIXED, 10), PG(10));
	assert_int_equal(vma_lookup(mm, PG(10))->vm_pgoff, PG(0) >> PAGE_SHIFT);
	assert_int_equal(remap(mm, 20, 4, 4, FIXED, 14), PG(14));
	assert_int_equal(vma_lookup(mm, PG(14))->vm_pgoff, PG(14) >> PAGE_SHIFT);
	map(mm, 18, 2, RW);
	expect_areas(mm, { 10, 14, VM_READ | VM_WRITE }, { 14, 20, VM_READ | VM_WRITE });
	/* back where it came from it fits again */
	map(mm, 4, 2, RW);
	assert_int_equal(remap(mm, 10, 4, 4, FIXED, 0), PG(0));
	expect_areas(mm, { 0, 6, VM_READ | VM_WRITE }, { 14, 20, VM_READ | VM_WRITE });
	assert_int_equal(get_byte(0), 1);
	space_end(mm);
}

static void test_mremap_dontunmap(void **state)
{
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	map(mm, 0, 8, RW);
	fill(mm, 0, 8);
	assert_int_equal(remap(mm, 2, 4, 4, LEAVE | MREMAP_FIXED, 20), PG(20));
	expect_areas(mm, { 0, 8, VM_READ | VM_WRITE }, { 20, 24, VM_READ | VM_WRITE });
	for (int i = 0; i < 4; i++) {
		assert_int_equal(get_byte(20 + i), 102 + i);
		assert_int_equal(get_byte(2 + i), 0);
	}
	assert_int_equal(vm_committed_as(), SIZE(12));
	/* the lock goes along */
	assert_int_equal(vm_mlock(mm, PG(20), SIZE(4), 0), 0);
	assert_int_equal(remap(mm, 21, 2, 2, LEAVE | MREMAP_FIXED, 40), PG(40));
	assert_int_equal(mm->locked_vm, 4);
	expect_areas(mm, { 0, 8, VM_READ | VM_WRITE }, { 20, 21, VM_READ | VM_WRITE | VM_LOCKED },
		     { 21, 23, VM_READ | VM_WRITE }, { 23, 24, VM_READ | VM_WRITE | VM_LOCKED },
		     { 40, 42, VM_READ | VM_WRITE | VM_LOCKED });
	mm->limits.as = SIZE(14);
	assert_int_equal(remap(mm, 0, 4, 4, LEAVE, 60), -ENOMEM);
	space_end(mm);
}

/* Whole tables and leaves move, aligned alike or not; there are several sizes of both. */
static void test_mremap_large(void **state)
{
	long leaf = 1l << level_order(PGTABLE_LEVEL_PMD), n = 2 * leaf + 4;
	long shifts[] = { 0, 1, leaf / 2 };

	if (n > 2000)
		n = leaf + 4;
	for (size_t s = 0; s < ARRAY_SIZE(shifts); s++) {
		struct mm_struct *mm = space_boot();
		long to = 8 * leaf + shifts[s];

		mm->folio_orders = ~0u;
		sim_mm_use(mm);
		map(mm, 0, n, RW);
		for (long i = 0; i < n; i += 3)
			put_byte(i, (u8)i);
		assert_int_equal(remap(mm, 1, n - 2, n - 2, FIXED, to), PG(to));
		for (long i = 3; i < n - 1; i += 3)
			assert_int_equal(get_byte(to + i - 1), (u8)i);
		assert_int_equal(get_byte(0), 0);
		/* on its own it finds a place that is aligned alike */
		assert_int_equal(vm_munmap(mm, PG(0), SIZE(1)), 0);
		map(mm, to + n - 2, 1, PROT_NONE);
		{
			long at = remap(mm, to, n - 2, n, MOVE, 0);

			assert_true(at > 0);
			assert_int_equal((at ^ (long)PG(to)) & (long)(SIZE(leaf) - 1), 0);
		}
		space_end(mm);
	}
}

/* ---- files ---- */

static int opens, closes, refuse;

static void file_open(struct vm_area_struct *vma)
{
	opens++;
}

static void file_close(struct vm_area_struct *vma)
{
	closes++;
}

static int file_mremap(struct vm_area_struct *vma)
{
	return refuse;
}

static struct page *file_page;

static u32 file_fault(struct vm_fault *vmf)
{
	get_page(file_page);
	vmf->page = file_page;
	return 0;
}

static const struct vm_operations_struct file_vm_ops = {
	.open = file_open, .close = file_close, .mremap = file_mremap, .fault = file_fault
};

static int file_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &file_vm_ops;
	vma->vm_flags |= VM_MIXEDMAP;
	return 0;
}

static const struct vm_file_operations file_ops = { .mmap = file_mmap };

static void test_mremap_files(void **state)
{
	static struct space_image before, after;
	struct mm_struct *mm = space_boot();
	struct vm_file file;

	opens = 0;
	closes = 0;
	sim_mm_use(mm);
	file_page = alloc_pages(GFP_KERNEL | __GFP_ZERO, 0);
	page_set_mappable(file_page, true);
	vm_file_init(&file, &file_ops);
	assert_int_equal(vm_mmap(mm, PG(0), SIZE(4), RW, MAP_SHARED | MAP_FIXED, &file, SIZE(7)),
			 PG(0));
	put_byte(0, 42);
	/* the owner says no: all is as it was */
	space_image(mm, &before);
	refuse = -EIO;
	assert_int_equal(remap(mm, 0, 4, 4, FIXED, 20), -EIO);
	refuse = 0;
	space_image(mm, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(opens, 1);
	assert_int_equal(closes, 1);
	assert_int_equal(file.refcount, 2);
	assert_int_equal(get_byte(0), 42);
	assert_int_equal(remap(mm, 0, 4, 4, FIXED, 20), PG(20));
	assert_int_equal(get_byte(20), 42);
	assert_int_equal(vma_lookup(mm, PG(20))->vm_pgoff, 7);
	assert_int_equal(file.refcount, 2);
	/* old length 0: the same memory a second time, but not where it is */
	assert_int_equal(remap(mm, 22, 0, 2, FIXED, 22), -EFAULT);
	assert_int_equal(get_byte(20), 42);
	assert_int_equal(remap(mm, 22, 0, 2, MOVE, 0) > 0, 1);
	assert_int_equal(vm_mremap(mm, PG(21), 0, SIZE(2), FIXED, PG(40)), PG(40));
	assert_int_equal(vma_lookup(mm, PG(40))->vm_pgoff, 8);
	assert_int_equal(get_byte(40), 42);
	assert_int_equal(file.refcount, 4);
	assert_int_equal(vm_munmap(mm, 0, mm->task_size), 0);
	assert_int_equal(file.refcount, 1);
	assert_int_equal(page_count(file_page), 1);
	put_page(file_page);
	space_end(mm);
}

static int frames_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &file_vm_ops;
	return remap_pfn_range(vma, vma->vm_start, 1, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

static void test_mremap_of_frames(void **state)
{
	static const struct vm_file_operations ops = { .mmap = frames_mmap };
	struct mm_struct *mm = space_boot();
	struct vm_file file;

	vm_file_init(&file, &ops);
	assert_int_equal(vm_mmap(mm, PG(0), SIZE(4), RW, MAP_SHARED | MAP_FIXED, &file, 0), PG(0));
	/* they have the size that they have */
	assert_int_equal(remap(mm, 0, 4, 5, MOVE, 0), -EFAULT);
	assert_int_equal(remap(mm, 0, 4, 4, LEAVE, 0), -EINVAL);
	assert_int_equal(remap(mm, 0, 4, 4, FIXED, 20), PG(20));
	space_end(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mremap_errors),
		TEST(test_mremap_size),
		TEST(test_mremap_shrink_over_areas),
		TEST(test_mremap_move_shrinks_over_areas),
		TEST(test_mremap_moves),
		TEST(test_mremap_pgoff),
		TEST(test_mremap_dontunmap),
		TEST(test_mremap_large),
		TEST(test_mremap_files),
		TEST(test_mremap_of_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
