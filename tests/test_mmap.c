/* SPDX-License-Identifier: MIT */
/*
 * test_mmap.c - mmap and munmap: errors as documented, places, limits, promises, files, failing at every step.
 */
#include "space_machine.h"

#define FIXED (ANON | MAP_FIXED)

/* Nothing but what the call says may change. */
#define expect_error(mm, call, error)                                    \
	do {                                                             \
		static struct space_image before_, after_;               \
		space_image(mm, &before_);                               \
		assert_int_equal(call, error);                           \
		space_image(mm, &after_);                                \
		assert_memory_equal(&before_, &after_, sizeof(before_)); \
	} while (0)

static const struct vm_file_operations refuses;

static void test_mmap_errors(void **state)
{
	struct mm_struct *mm = space_boot();
	unsigned long end = mm->task_size;
	struct vm_file file;
	const struct {
		unsigned long addr, len, prot, flags;
		struct vm_file *file;
		unsigned long offset;
		long err;
	} calls[] = {
		{ 0, 0, RW, ANON, NULL, 0, -EINVAL },
		{ 0, ~0ul, RW, ANON, NULL, 0, -ENOMEM },
		{ 0, end + 1, RW, ANON, NULL, 0, -ENOMEM },
		{ 0, SIZE(1), RW, ANON, NULL, 100, -EINVAL },
		{ 0, SIZE(1), RW, MAP_PRIVATE, NULL, 0, -EINVAL },
		{ 0, SIZE(1), RW, MAP_ANONYMOUS, NULL, 0, -EINVAL },
		{ 0, SIZE(1), RW, MAP_ANONYMOUS | MAP_SHARED, NULL, 0, -ENODEV },
		{ 0, SIZE(1), RW, MAP_ANONYMOUS | MAP_SHARED_VALIDATE, NULL, 0, -EINVAL },
		{ 0, SIZE(1), RW, MAP_ANONYMOUS | MAP_SHARED | MAP_GROWSDOWN, NULL, 0, -EINVAL },
		{ 0, SIZE(1), RW, MAP_ANONYMOUS | 0xf, NULL, 0, -EINVAL },
		{ 0, SIZE(1), RW, MAP_SHARED_VALIDATE | 0x8000000, &file, 0, -EOPNOTSUPP },
		/* younger than the validation, and so not known to it */
		{ PG(90), SIZE(1), RW, MAP_SHARED_VALIDATE | MAP_FIXED_NOREPLACE, &file, 0,
		  -EOPNOTSUPP },
		{ 0, SIZE(1), RW, ANON | MAP_HUGETLB, NULL, 0, -EINVAL },
		{ 0, SIZE(1), RW, MAP_SHARED, &file, 0, -ENODEV },
		{ 0, SIZE(2), RW, MAP_PRIVATE, &file, ~0ul & PAGE_MASK, -ENODEV },
		{ PG(0) + 1, SIZE(1), RW, FIXED, NULL, 0, -EINVAL },
		{ end, SIZE(1), RW, FIXED, NULL, 0, -ENOMEM },
		{ ~0ul & PAGE_MASK, SIZE(1), RW, FIXED, NULL, 0, -ENOMEM },
		{ 0, SIZE(1), RW, FIXED, NULL, 0, -EPERM },
		{ mm->mmap_min_addr - PAGE_SIZE, SIZE(1), RW, FIXED, NULL, 0, -EPERM },
		{ PG(3), SIZE(4), RW, ANON | MAP_FIXED_NOREPLACE, NULL, 0, -EEXIST },
		{ 0, SIZE(1), RW, MAP_DROPPABLE | MAP_ANONYMOUS | MAP_LOCKED, NULL, 0, -EINVAL },
		{ 0, SIZE(1), RW, MAP_DROPPABLE | MAP_ANONYMOUS | MAP_GROWSDOWN, NULL, 0, -EINVAL },
		{ 0, SIZE(1), RW, MAP_DROPPABLE, &file, 0, -EINVAL },
	};

	vm_file_init(&file, &refuses);
	map(mm, 4, 2, RW);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		long err = calls[i].err;

		/* the last page there is, and one more */
		if (calls[i].offset > SIZE(1))
			err = -ENODEV;
		expect_error(mm,
			     vm_mmap(mm, calls[i].addr, calls[i].len, calls[i].prot, calls[i].flags,
				     calls[i].file, calls[i].offset),
			     err);
	}
	assert_int_equal(file.refcount, 1);
	space_end(mm);
}

static void test_munmap_errors(void **state)
{
	struct mm_struct *mm = space_boot();
	unsigned long end = mm->task_size;

	map(mm, 0, 4, RW);
	expect_error(mm, vm_munmap(mm, PG(0) + 1, SIZE(1)), -EINVAL);
	expect_error(mm, vm_munmap(mm, PG(0), 0), -EINVAL);
	expect_error(mm, vm_munmap(mm, end, SIZE(1)), -EINVAL);
	expect_error(mm, vm_munmap(mm, PG(0), end), -EINVAL);
	expect_error(mm, vm_munmap(mm, PG(0), ~0ul), -EINVAL);
	expect_error(mm, vm_munmap(mm, ~0ul & PAGE_MASK, SIZE(1)), -EINVAL);
	/* nothing there is no error; a byte is a page */
	expect_error(mm, vm_munmap(mm, PG(8), SIZE(1)), 0);
	assert_int_equal(vm_munmap(mm, PG(0), 1), 0);
	expect_areas(mm, { 1, 4, VM_READ | VM_WRITE });
	space_end(mm);
}

static void test_munmap_parts(void **state)
{
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	map(mm, 0, 20, RW);
	for (int i = 0; i < 20; i++)
		put_byte(i, (u8)(i + 1));
	unmap(mm, 0, 2);
	unmap(mm, 18, 2);
	unmap(mm, 8, 4);
	expect_areas(mm, { 2, 8, VM_READ | VM_WRITE }, { 12, 18, VM_READ | VM_WRITE });
	for (int i = 0; i < 20; i++) {
		u8 v;

		if ((i >= 2 && i < 8) || (i >= 12 && i < 18))
			assert_int_equal(get_byte(i), i + 1);
		else
			assert_int_equal(sim_load(PG(i), &v, 1),
					 VM_FAULT_SIGSEGV | VM_FAULT_MAPERR);
	}
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 12);
	/* several at once, holes too */
	unmap(mm, 6, 8);
	expect_areas(mm, { 2, 6, VM_READ | VM_WRITE }, { 14, 18, VM_READ | VM_WRITE });
	assert_int_equal(mm->hiwater_rss, 20);
	space_end(mm);
}

/* ---- places ---- */

static void test_mmap_places(void **state)
{
	struct mm_struct *mm = space_boot();
	unsigned long top, gap = min(256ul, TASK_SIZE_MAX >> (PAGE_SHIFT + 7)) << PAGE_SHIFT;
	long a, b;

	/* hints that can be followed, and those that cannot */
	assert_int_equal(vm_mmap(mm, PG(4) + 100, SIZE(1), RW, ANON, NULL, 0), PG(4));
	a = vm_mmap(mm, PG(4), SIZE(1), PROT_READ, ANON, NULL, 0);
	assert_int_equal(a, mm->mmap_base - SIZE(1));
	assert_int_equal(vm_mmap(mm, 1, SIZE(1), RW, ANON, NULL, 0), mm->mmap_base - SIZE(2));
	assert_int_equal(vm_mmap(mm, 4096, SIZE(1), PROT_NONE, ANON, NULL, 0), mm->mmap_min_addr);
	/* from the top down */
	b = vm_mmap(mm, 0, SIZE(1), PROT_READ, ANON, NULL, 0);
	assert_int_equal(b, mm->mmap_base - SIZE(3));
	/* what could be large leaves begins where one can */
	a = vm_mmap(mm, 0, level_size(MAX_LEAF_LEVEL), RW, ANON, NULL, 0);
	assert_true(a > 0 && IS_ALIGNED(a, level_size(MAX_LEAF_LEVEL)));
	/* a gap below a stack, but not for who insists */
	top = PG(400);
	assert_int_equal(vm_mmap(mm, top, SIZE(2), RW, FIXED | MAP_GROWSDOWN, NULL, 0), top);
	a = vm_mmap(mm, top - SIZE(1), SIZE(1), RW, ANON, NULL, 0);
	assert_int_not_equal(a, top - SIZE(1));
	assert_int_equal(vm_mmap(mm, top - gap - SIZE(1), SIZE(1), RW, ANON, NULL, 0),
			 top - gap - SIZE(1));
	assert_int_equal(vm_mmap(mm, top - SIZE(1), SIZE(1), RW, FIXED, NULL, 0), top - SIZE(1));
	space_end(mm);
}

/* Full, with stacks in it: every page is found, none is given twice, gaps stay. */
static void test_mmap_until_full(void **state)
{
	struct mm_struct *mm = space_boot();
	unsigned long g = min(256ul, TASK_SIZE_MAX >> (PAGE_SHIFT + 7)), n = 0;
	unsigned long room = g / 3 + (2 * g - 2) / 3 + (g - 2) / 3;

	mm->mmap_min_addr = PG(0);
	mm->mmap_base = PG(4 * g);
	mm->task_size = PG(6 * g);
	assert_int_equal(vm_mmap(mm, PG(2 * g), SIZE(2), RW, FIXED | MAP_GROWSDOWN, NULL, 0),
			 PG(2 * g));
	assert_int_equal(vm_mmap(mm, PG(5 * g), SIZE(2), RW, FIXED | MAP_GROWSDOWN, NULL, 0),
			 PG(5 * g));
	while (vm_mmap(mm, 0, SIZE(3), PROT_READ, ANON, NULL, 0) > 0)
		n++;
	assert_int_equal(n, room);
	assert_int_equal(vm_mmap(mm, 0, SIZE(3), PROT_READ, ANON, NULL, 0), -ENOMEM);
	assert_int_equal(mm->total_vm, 3 * n + 4);
	space_end(mm);
}

/* ---- limits ---- */

static void test_mmap_limits(void **state)
{
	struct mm_struct *mm = space_boot();

	mm->limits.as = SIZE(10);
	mm->limits.data = SIZE(4);
	map(mm, 0, 8, PROT_READ);
	expect_error(mm, vm_mmap(mm, PG(8), SIZE(3), PROT_READ, FIXED, NULL, 0), -ENOMEM);
	/* in place of something it is no more */
	map(mm, 4, 6, PROT_READ);
	expect_error(mm, vm_mmap(mm, PG(0), SIZE(5), RW, FIXED, NULL, 0), -ENOMEM);
	map(mm, 0, 4, RW);
	expect_error(mm, vm_mprotect(mm, PG(4), SIZE(1), RW), -ENOMEM);
	assert_int_equal(mm->data_vm, 4);
	mm->limits.as = ~0ul;
	mm->limits.data = ~0ul;

	mm->limits.memlock = SIZE(2);
	expect_error(mm, vm_mmap(mm, PG(20), SIZE(3), RW, FIXED | MAP_LOCKED, NULL, 0), -EAGAIN);
	assert_int_equal(vm_mmap(mm, PG(20), SIZE(2), RW, FIXED | MAP_LOCKED, NULL, 0), PG(20));
	assert_int_equal(mm->locked_vm, 2);
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 2);
	mm->limits.memlock = 0;
	expect_error(mm, vm_mmap(mm, PG(24), SIZE(1), RW, FIXED | MAP_LOCKED, NULL, 0), -EPERM);
	unmap(mm, 20, 1);
	assert_int_equal(mm->locked_vm, 1);

	mm->max_map_count = mm->map_count;
	/* one more than the limit, as Linux has it; not two; and no hole */
	assert_int_equal(vm_mmap(mm, PG(40), SIZE(3), RW, FIXED, NULL, 0), PG(40));
	expect_error(mm, vm_mmap(mm, PG(50), SIZE(1), PROT_NONE, FIXED, NULL, 0), -ENOMEM);
	expect_error(mm, vm_munmap(mm, PG(41), SIZE(1)), -ENOMEM);
	expect_error(mm, vm_mprotect(mm, PG(41), SIZE(1), PROT_READ), -ENOMEM);
	expect_error(mm, vm_madvise(mm, PG(41), SIZE(1), MADV_DONTFORK), -EAGAIN);
	assert_int_equal(vm_munmap(mm, PG(40), SIZE(1)), 0);
	space_end(mm);
}

static void test_mmap_promises(void **state)
{
	struct mm_struct *mm = space_boot();
	unsigned long all = totalram_pages();

	assert_int_equal(vm_set_overcommit(3, 0), -EINVAL);
	/* heuristic: only what can never be */
	expect_error(mm, vm_mmap(mm, 0, SIZE(all + 1), RW, ANON, NULL, 0), -ENOMEM);
	if (SIZE(all) < mm->mmap_base - SIZE(100)) {
		assert_true(vm_mmap(mm, 0, SIZE(all), RW, ANON, NULL, 0) > 0);
		assert_true(vm_mmap(mm, 0, SIZE(10), RW, ANON, NULL, 0) > 0);
		assert_true(vm_committed_as() > SIZE(all));
		assert_int_equal(vm_munmap(mm, 0, mm->task_size), 0);
	}
	assert_int_equal(vm_committed_as(), 0);

	/* never more than the limit, MAP_NORESERVE or not */
	assert_int_equal(vm_set_overcommit(OVERCOMMIT_NEVER, 10), 0);
	map(mm, 0, 10, RW);
	map(mm, 20, 10, PROT_READ);
	expect_error(mm, vm_mmap(mm, PG(10), SIZE(1), RW, FIXED, NULL, 0), -ENOMEM);
	expect_error(mm, vm_mmap(mm, PG(10), SIZE(1), RW, FIXED | MAP_NORESERVE, NULL, 0), -ENOMEM);
	expect_error(mm, vm_mprotect(mm, PG(20), SIZE(1), RW), -ENOMEM);
	expect_error(mm, vm_mremap(mm, PG(0), SIZE(10), SIZE(11), MREMAP_MAYMOVE, 0), -ENOMEM);
	/* in place of something it is no more, and neither is a move */
	map(mm, 5, 5, RW);
	assert_int_equal(
		vm_mremap(mm, PG(0), SIZE(10), SIZE(10), MREMAP_MAYMOVE | MREMAP_FIXED, PG(40)),
		PG(40));
	assert_int_equal(vm_committed_as(), SIZE(10));
	unmap(mm, 44, 1);
	protect(mm, 20, 1, RW);
	assert_int_equal(vm_committed_as(), SIZE(10));
	/* a fork promises it all again */
	assert_null(mm_fork(mm, &(int){ 0 }));
	assert_int_equal(vm_committed_as(), SIZE(10));

	assert_int_equal(vm_set_overcommit(OVERCOMMIT_ALWAYS, 0), 0);
	map(mm, 60, 100, RW);
	space_end(mm);
}

static void test_mmap_no_promise(void **state)
{
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	assert_int_equal(vm_mmap(mm, PG(0), SIZE(4), RW, FIXED | MAP_NORESERVE, NULL, 0), PG(0));
	assert_int_equal(
		vm_mmap(mm, PG(8), SIZE(4), RW, MAP_DROPPABLE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0),
		PG(8));
	map(mm, 16, 4, PROT_READ);
	assert_int_equal(vm_committed_as(), 0);
	/* what becomes writable is promised; and not any more, if it was never written to */
	protect(mm, 16, 4, RW);
	assert_int_equal(vm_committed_as(), SIZE(4));
	protect(mm, 16, 2, PROT_READ);
	assert_int_equal(vm_committed_as(), SIZE(2));
	put_byte(18, 1);
	protect(mm, 18, 2, PROT_READ);
	assert_int_equal(vm_committed_as(), SIZE(2));
	space_end(mm);
}

static void test_mmap_populate(void **state)
{
	struct mm_struct *mm = space_boot();

	assert_int_equal(vm_mmap(mm, PG(0), SIZE(4), RW, FIXED | MAP_POPULATE, NULL, 0), PG(0));
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 4);
	assert_int_equal(
		vm_mmap(mm, PG(8), SIZE(4), RW, FIXED | MAP_POPULATE | MAP_NONBLOCK, NULL, 0),
		PG(8));
	assert_int_equal(vm_mmap(mm, PG(16), SIZE(4), PROT_NONE, FIXED | MAP_POPULATE, NULL, 0),
			 PG(16));
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 4);
	space_end(mm);
}

/* ---- files ---- */

struct test_file {
	struct vm_file file;
	int mmap_err, opens, closes, releases;
	bool fill;
	struct page *page;
};

static struct test_file *file_of(const struct vm_area_struct *vma)
{
	return container_of(vma->vm_file, struct test_file, file);
}

static void file_open(struct vm_area_struct *vma)
{
	file_of(vma)->opens++;
}

static void file_close(struct vm_area_struct *vma)
{
	file_of(vma)->closes++;
}

static int may_split_even(struct vm_area_struct *vma, unsigned long addr)
{
	return addr & PAGE_SIZE ? -EINVAL : 0;
}

static const struct vm_operations_struct file_vm_ops = { .open = file_open,
							 .close = file_close,
							 .may_split = may_split_even };

static int file_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	struct test_file *f = container_of(file, struct test_file, file);
	int err = 0;

	vma->vm_ops = &file_vm_ops;
	vma->vm_private_data = f;
	if (f->fill)
		err = vm_insert_page(vma, vma->vm_start, f->page);
	return f->mmap_err ? f->mmap_err : err;
}

static void file_release(struct vm_file *file)
{
	container_of(file, struct test_file, file)->releases++;
}

static const struct vm_file_operations file_ops = { .mmap = file_mmap, .release = file_release };

COVERS("S0.11 SX.2");
static void test_mmap_files(void **state)
{
	struct mm_struct *mm = space_boot();
	struct test_file f = { .fill = true };
	struct page *page = alloc_pages(GFP_KERNEL, 0);

	page_set_mappable(page, true);
	f.page = page;
	vm_file_init(&f.file, &file_ops);
	/* filled, then refused: all goes back */
	f.mmap_err = -EIO;
	expect_error(mm, vm_mmap(mm, PG(0), SIZE(8), RW, MAP_SHARED | MAP_FIXED, &f.file, 0), -EIO);
	assert_int_equal(page_count(page), 1);
	assert_int_equal(f.file.refcount, 1);
	f.mmap_err = 0;
	assert_int_equal(vm_mmap(mm, PG(0), SIZE(8), RW, MAP_SHARED | MAP_FIXED, &f.file, 0),
			 PG(0));
	assert_int_equal(page_count(page), 2);
	assert_int_equal(f.file.refcount, 2);
	assert_int_equal(f.opens, 0);
	/* cut only where it may be */
	expect_error(mm, vm_munmap(mm, PG(0), SIZE(3)), -EINVAL);
	expect_error(mm, vm_mprotect(mm, PG(1), SIZE(1), PROT_READ), -EINVAL);
	expect_error(mm, vm_mremap(mm, PG(1), SIZE(1), SIZE(9), MREMAP_MAYMOVE, 0), -EINVAL);
	unmap(mm, 2, 2);
	assert_int_equal(f.opens, 1);
	assert_int_equal(f.file.refcount, 3);
	unmap(mm, 4, 2);
	assert_int_equal(f.opens, 1);
	assert_int_equal(f.closes, 0);
	vm_file_put(&f.file);
	unmap(mm, 0, 10);
	assert_int_equal(f.closes, 2);
	assert_int_equal(f.releases, 1);
	assert_int_equal(page_count(page), 1);
	put_page(page);
	space_end(mm);
}

static int greedy_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	vma->vm_end += PAGE_SIZE;
	return 0;
}

static void map_greedy(void *arg)
{
	static const struct vm_file_operations ops = { .mmap = greedy_mmap };
	struct vm_file file;

	vm_file_init(&file, &ops);
	vm_mmap(arg, PG(0), SIZE(1), RW, MAP_SHARED | MAP_FIXED, &file, 0);
}

static void test_mmap_file_misuse(void **state)
{
	expect_panic(map_greedy, space_boot(), "more of its area");
}

/* ---- failing ---- */

#if OCTAVO_FAULTS
/* A world with every kind of neighbour, and calls that cut, replace, move and lock in it. */
static void set_up(struct mm_struct *mm)
{
	sim_mm_use(mm);
	map(mm, 0, 20, RW);
	for (int i = 0; i < 20; i++)
		put_byte(i, (u8)(i + 1));
	protect(mm, 4, 4, PROT_READ);
	assert_int_equal(vm_madvise(mm, PG(12), SIZE(4), MADV_DONTFORK), 0);
	map(mm, 30, 10, RW);
	assert_int_equal(vm_mlock(mm, PG(32), SIZE(2), 0), 0);
	assert_int_equal(vm_mmap(mm, PG(60), SIZE(4), RW, FIXED | MAP_GROWSDOWN, NULL, 0), PG(60));
	mm->start_brk = PG(80);
	mm->brk = PG(80);
	assert_int_equal(vm_brk(mm, PG(82)), PG(82));
}

static long call(struct mm_struct *mm, unsigned int which)
{
	unsigned long old = mm->brk;

	switch (which) {
	case 0:
		return vm_mmap(mm, PG(2), SIZE(12), RW, FIXED, NULL, 0) > 0 ? 0 : -ENOMEM;
	case 1:
		return vm_mmap(mm, PG(5), SIZE(1), PROT_NONE, FIXED, NULL, 0) > 0 ? 0 : -ENOMEM;
	case 2:
		return vm_munmap(mm, PG(5), SIZE(1));
	case 3:
		return vm_munmap(mm, PG(2), SIZE(35));
	case 4:
		return vm_mprotect(mm, PG(13), SIZE(1), PROT_READ);
	case 5:
		return vm_madvise(mm, PG(17), SIZE(1), MADV_NOHUGEPAGE);
	case 6:
		return vm_munlock(mm, PG(33), SIZE(1));
	case 7:
		return vm_brk(mm, PG(90)) == old ? -ENOMEM : 0;
	case 8:
		return vm_brk(mm, PG(81)) == old ? -ENOMEM : 0;
	case 9:
		return vm_mremap(mm, PG(16), SIZE(4), SIZE(6), 0, 0) > 0 ? 0 : -ENOMEM;
	case 10:
		return vm_mremap(mm, PG(13), SIZE(2), SIZE(3), MREMAP_MAYMOVE, 0) > 0 ? 0 : -ENOMEM;
	case 11:
		return vm_mremap(mm, PG(13), SIZE(2), SIZE(2), MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
				 0) > 0
			       ? 0
			       : -ENOMEM;
	default:
		return vm_mremap(mm, PG(1), SIZE(1), SIZE(1), MREMAP_MAYMOVE | MREMAP_FIXED,
				 PG(70)) > 0
			       ? 0
			       : -ENOMEM;
	}
}
#define NR_CALLS 13u

static void test_calls_fail_at_every_step(void **state)
{
	static struct space_image before, after;

	for (unsigned int which = 0; which < NR_CALLS; which++)
		for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
			struct mm_struct *mm = space_boot();
			u32 failed = 0;

			set_up(mm);
			space_image(mm, &before);
			for_each_fault(k, mode, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
			{
				long err;

				/* nodes that earlier calls left over */
				range_tree_unreserve(&mm->vmas);
				err = call(mm, which);
				hit = octavo_fault_disarm();
				assert_true(octavo_validate());
				if (!err)
					break;
				assert_true(err == -ENOMEM || err == -EAGAIN);
				failed++;
				space_image(mm, &after);
				if (memcmp(&before, &after, sizeof(before))) {
					mm_dump(mm);
					fail_msg("call %u, step %u: not as before", which, k);
				}
				for (int i = 0; i < 20; i++)
					assert_int_equal(get_byte(i), i + 1);
			}
			assert_int_not_equal(failed, 0);
			space_end(mm);
		}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mmap_errors),
		TEST(test_munmap_errors),
		TEST(test_munmap_parts),
		TEST(test_mmap_places),
		TEST(test_mmap_until_full),
		TEST(test_mmap_limits),
		TEST(test_mmap_promises),
		TEST(test_mmap_no_promise),
		TEST(test_mmap_populate),
		TEST(test_mmap_files),
		TEST(test_mmap_file_misuse),
#if OCTAVO_FAULTS
		TEST(test_calls_fail_at_every_step),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
