/* SPDX-License-Identifier: MIT */
/*
 * test_mlock.c - locked memory, its limits, what is brought in; madvise on areas; the break; stacks; mincore.
 */
#include "space_machine.h"

#define RWF	     (VM_READ | VM_WRITE)
#define resident(mm) ((long)get_mm_counter(mm, MM_ANONPAGES))

/* ---- mlock ---- */

static void test_mlock_errors(void **state)
{
	struct mm_struct *mm = space_boot();

	map(mm, 0, 8, RW);
	map(mm, 12, 4, PROT_NONE);
	assert_int_equal(vm_mlock(mm, PG(0), SIZE(1), 2), -EINVAL);
	assert_int_equal(vm_mlock(mm, PG(0), ~0ul, 0), -EINVAL);
	assert_int_equal(vm_munlock(mm, PG(0), ~0ul), -EINVAL);
	assert_int_equal(vm_mlock(mm, PG(0), 0, 0), 0);
	assert_int_equal(vm_mlock(mm, PG(20), SIZE(1), 0), -ENOMEM);
	assert_int_equal(vm_mlockall(mm, 0), -EINVAL);
	assert_int_equal(vm_mlockall(mm, 8), -EINVAL);
	assert_int_equal(vm_mlockall(mm, MCL_ONFAULT), -EINVAL);
	mm->limits.memlock = SIZE(4);
	assert_int_equal(vm_mlock(mm, PG(0), SIZE(5), 0), -ENOMEM);
	assert_int_equal(vm_mlockall(mm, MCL_CURRENT), -ENOMEM);
	assert_int_equal(mm->locked_vm, 0);
	assert_int_equal(vm_mlock(mm, PG(0) + 100, SIZE(3), 0), 0);
	/* what is locked already does not count again */
	assert_int_equal(vm_mlock(mm, PG(1), SIZE(3), 0), 0);
	assert_int_equal(vm_mlock(mm, PG(1), SIZE(4), 0), -ENOMEM);
	assert_int_equal(mm->locked_vm, 4);
	mm->limits.memlock = 0;
	assert_int_equal(vm_mlock(mm, PG(0), SIZE(1), 0), -EPERM);
	assert_int_equal(vm_mlockall(mm, MCL_FUTURE), -EPERM);
	assert_int_equal(vm_munlock(mm, PG(0), SIZE(8)), 0);
	assert_int_equal(mm->locked_vm, 0);
	mm->limits.memlock = ~0ul;
	/* a hole: what comes before it is locked; what cannot be brought in is locked all the same */
	assert_int_equal(vm_mlock(mm, PG(6), SIZE(8), 0), -ENOMEM);
	assert_int_equal(mm->locked_vm, 2);
	assert_int_equal(vm_mlock(mm, PG(12), SIZE(4), 0), -ENOMEM);
	assert_int_equal(mm->locked_vm, 6);
	space_end(mm);
}

static void test_mlock_brings_in(void **state)
{
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	map(mm, 0, 16, RW);
	/* one reverse map for all of it, so that it can become one area again */
	put_byte(15, 1);
	assert_int_equal(vm_mlock(mm, PG(2), SIZE(4), 0), 0);
	assert_int_equal(resident(mm), 5);
	assert_int_equal(vm_mlock(mm, PG(8), SIZE(4), MLOCK_ONFAULT), 0);
	assert_int_equal(resident(mm), 5);
	put_byte(8, 1);
	assert_int_equal(resident(mm), 6);
	expect_areas(mm, { 0, 2, RWF }, { 2, 6, RWF | VM_LOCKED }, { 6, 8, RWF },
		     { 8, 12, RWF | VM_LOCKED | VM_LOCKONFAULT }, { 12, 16, RWF });
	assert_int_equal(mm->locked_vm, 8);
	/* one kind into the other */
	assert_int_equal(vm_mlock(mm, PG(8), SIZE(4), 0), 0);
	assert_int_equal(resident(mm), 9);
	assert_int_equal(mm->locked_vm, 8);
	assert_int_equal(vm_madvise(mm, PG(2), SIZE(1), MADV_DONTNEED), -EINVAL);
	assert_int_equal(vm_madvise(mm, PG(2), SIZE(1), MADV_DONTNEED_LOCKED), 0);
	assert_int_equal(resident(mm), 8);
	assert_int_equal(vm_munlock(mm, PG(0), SIZE(16)), 0);
	expect_areas(mm, { 0, 16, RWF });
	assert_int_equal(mm->locked_vm, 0);
	space_end(mm);
}

static void test_mlockall(void **state)
{
	struct mm_struct *mm = space_boot();

	map(mm, 0, 4, RW);
	map(mm, 8, 4, PROT_READ);
	map(mm, 16, 4, PROT_NONE);
	assert_int_equal(vm_mlockall(mm, MCL_CURRENT), 0);
	expect_areas(mm, { 0, 4, RWF | VM_LOCKED }, { 8, 12, VM_READ | VM_LOCKED },
		     { 16, 20, VM_LOCKED });
	assert_int_equal(resident(mm), 4);
	map(mm, 24, 4, RW);
	assert_int_equal(mm->locked_vm, 12);
	assert_int_equal(vm_mlockall(mm, MCL_FUTURE | MCL_ONFAULT), 0);
	map(mm, 32, 4, RW);
	assert_int_equal(resident(mm), 4);
	assert_int_equal(mm->locked_vm, 16);
	mm->limits.memlock = SIZE(17);
	assert_int_equal(vm_mmap(mm, PG(40), SIZE(2), RW, ANON | MAP_FIXED, NULL, 0), -EAGAIN);
	assert_int_equal(vm_munlockall(mm), 0);
	assert_int_equal(mm->locked_vm, 0);
	map(mm, 40, 2, RW);
	expect_areas(mm, { 0, 4, RWF }, { 8, 12, VM_READ }, { 16, 20, 0 }, { 24, 28, RWF },
		     { 32, 36, RWF }, { 40, 42, RWF });
	space_end(mm);
}

/* ---- madvise ---- */

static int special_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	return remap_pfn_range(vma, vma->vm_start, 1, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

static void test_madvise_errors(void **state)
{
	static const struct vm_file_operations ops = { .mmap = special_mmap };
	struct mm_struct *mm = space_boot();
	struct vm_file file;
	const struct {
		long page, nr;
		int advice, err;
	} calls[] = {
		{ 0, 4, 77, -EINVAL },
		{ 0, 4, MADV_PAGEOUT, 0 },
		{ 0, 6, MADV_WILLNEED, -ENOMEM },
		{ 0, 6, MADV_DONTNEED, -ENOMEM },
		{ 40, 4, MADV_DONTNEED, -ENOMEM },
		{ 0, 6, MADV_POPULATE_WRITE, -ENOMEM },
		{ 8, 4, MADV_POPULATE_WRITE, -EINVAL },
		{ 12, 4, MADV_POPULATE_READ, -EINVAL },
		{ 16, 4, MADV_DONTNEED, -EINVAL },
		{ 16, 4, MADV_FREE, -EINVAL },
		{ 16, 4, MADV_COLD, -EINVAL },
		{ 16, 4, MADV_DOFORK, -EINVAL },
		{ 16, 4, MADV_DODUMP, -EINVAL },
		{ 16, 4, MADV_WIPEONFORK, -EINVAL },
		{ 16, 4, MADV_POPULATE_READ, -EINVAL },
		{ 16, 4, MADV_GUARD_INSTALL, -EINVAL },
		{ 16, 4, MADV_GUARD_REMOVE, -EINVAL },
		{ 20, 4, MADV_DONTNEED, -EINVAL },
		{ 20, 4, MADV_FREE, -EINVAL },
		{ 20, 4, MADV_COLD, -EINVAL },
		{ 20, 4, MADV_GUARD_INSTALL, -EINVAL },
		{ 20, 4, MADV_GUARD_REMOVE, 0 },
		{ 24, 4, MADV_KEEPONFORK, -EINVAL },
		{ 24, 4, MADV_DODUMP, -EINVAL },
		{ 0, 4, MADV_COLLAPSE, -EINVAL },
	};

	vm_file_init(&file, &ops);
	map(mm, 0, 4, RW);
	map(mm, 8, 4, PROT_READ);
	map(mm, 12, 4, PROT_WRITE);
	assert_int_equal(vm_mmap(mm, PG(16), SIZE(4), RW, MAP_SHARED | MAP_FIXED, &file, 0),
			 PG(16));
	map(mm, 20, 4, RW);
	assert_int_equal(vm_mlock(mm, PG(20), SIZE(4), 0), 0);
	assert_int_equal(vm_mmap(mm, PG(24), SIZE(4), RW, MAP_DROPPABLE | MAP_ANONYMOUS | MAP_FIXED,
				 NULL, 0),
			 PG(24));
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		int err = vm_madvise(mm, PG(calls[i].page), SIZE(calls[i].nr), calls[i].advice);

		if (err != calls[i].err)
			fail_msg("call %zu: %d, expected %d", i, err, calls[i].err);
	}
	assert_int_equal(vm_madvise(mm, PG(0) + 1, SIZE(1), MADV_NORMAL), -EINVAL);
	assert_int_equal(vm_madvise(mm, PG(0), ~0ul, MADV_NORMAL), -EINVAL);
	assert_int_equal(vm_madvise(mm, PG(0), ~0ul & PAGE_MASK, MADV_NORMAL), -EINVAL);
	assert_int_equal(vm_madvise(mm, PG(0), 0, MADV_DONTNEED), 0);
	space_end(mm);
}

static void test_madvise_flags(void **state)
{
	static const struct {
		int advice;
		vm_flags_t flag;
		int undo;
	} advices[] = {
		{ MADV_RANDOM, VM_RAND_READ, MADV_NORMAL },
		{ MADV_SEQUENTIAL, VM_SEQ_READ, MADV_NORMAL },
		{ MADV_DONTFORK, VM_DONTCOPY, MADV_DOFORK },
		{ MADV_WIPEONFORK, VM_WIPEONFORK, MADV_KEEPONFORK },
		{ MADV_DONTDUMP, VM_DONTDUMP, MADV_DODUMP },
	};
	struct mm_struct *mm = space_boot();

	map(mm, 0, 12, RW);
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++) {
		assert_int_equal(vm_madvise(mm, PG(4), SIZE(4), advices[i].advice), 0);
		expect_areas(mm, { 0, 4, RWF }, { 4, 8, RWF | advices[i].flag }, { 8, 12, RWF });
		assert_int_equal(vm_madvise(mm, PG(0), SIZE(12), advices[i].undo), 0);
		expect_areas(mm, { 0, 12, RWF });
	}
	assert_int_equal(vm_madvise(mm, PG(4), SIZE(4), MADV_HUGEPAGE), 0);
	assert_int_equal(vm_madvise(mm, PG(6), SIZE(4), MADV_NOHUGEPAGE), 0);
	expect_areas(mm, { 0, 4, RWF }, { 4, 6, RWF | VM_HUGEPAGE }, { 6, 10, RWF | VM_NOHUGEPAGE },
		     { 10, 12, RWF });
	space_end(mm);
}

/* Holes: all else is done. */
static void test_madvise_holes(void **state)
{
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	map(mm, 2, 2, RW);
	map(mm, 6, 2, RW);
	for (int i = 2; i < 8; i = i == 3 ? 6 : i + 1)
		put_byte(i, 1);
	assert_int_equal(vm_madvise(mm, PG(0), SIZE(10), MADV_DONTNEED), -ENOMEM);
	assert_int_equal(resident(mm), 0);
	assert_int_equal(vm_madvise(mm, PG(0), SIZE(10), MADV_DONTFORK), -ENOMEM);
	expect_areas(mm, { 2, 4, RWF | VM_DONTCOPY }, { 6, 8, RWF | VM_DONTCOPY });
	assert_int_equal(vm_madvise(mm, PG(0), SIZE(10), MADV_GUARD_INSTALL), -ENOMEM);
	assert_int_equal(sim_load(PG(7), &(u8){ 0 }, 1), VM_FAULT_SIGSEGV);
	assert_int_equal(vm_madvise(mm, PG(6), SIZE(2), MADV_GUARD_REMOVE), 0);
	assert_int_equal(get_byte(7), 0);
	assert_int_equal(vm_madvise(mm, PG(6), SIZE(2), MADV_POPULATE_WRITE), 0);
	assert_int_equal(resident(mm), 2);
	space_end(mm);
}

static void test_madvise_collapse(void **state)
{
	struct mm_struct *mm = space_boot();
	unsigned int order = min(level_order(MAX_LEAF_LEVEL), (unsigned int)MAX_FOLIO_ORDER);
	long n = 1l << order;

	sim_mm_use(mm);
	map(mm, 0, 2 * n, RW);
	put_byte(0, 5);
	put_byte(n, 6);
	/* inside of one; over the border of two, but all of none; one and a half */
	assert_int_equal(vm_madvise(mm, PG(1), SIZE(n - 2), MADV_COLLAPSE), -EINVAL);
	assert_int_equal(vm_madvise(mm, PG(1), SIZE(n), MADV_COLLAPSE), 0);
	assert_int_equal(vm_madvise(mm, PG(n), SIZE(1), MADV_COLLAPSE), 0);
	assert_int_equal(resident(mm), 2);
	assert_int_equal(vm_madvise(mm, PG(0), SIZE(n + n / 2), MADV_COLLAPSE), 0);
	assert_int_equal(resident(mm), n + 1);
	assert_int_equal(vm_madvise(mm, PG(0), SIZE(2 * n), MADV_COLLAPSE), 0);
	assert_int_equal(resident(mm), 2 * n);
	assert_int_equal(get_byte(0), 5);
	assert_int_equal(get_byte(n), 6);
	/* nothing is there, and after it something; too small an area ends it */
	assert_int_equal(vm_madvise(mm, PG(8 * n), SIZE(n), MADV_COLLAPSE), -ENOMEM);
	assert_int_equal(vm_madvise(mm, PG(2 * n), mm->task_size - PG(2 * n), MADV_COLLAPSE),
			 -ENOMEM);
	map(mm, 4 * n, n, RW);
	put_byte(4 * n, 7);
	assert_int_equal(vm_madvise(mm, PG(2 * n), SIZE(4 * n), MADV_COLLAPSE), -ENOMEM);
	assert_int_equal(resident(mm), 3 * n);
	map(mm, 3 * n, 1, RW);
	assert_int_equal(vm_madvise(mm, PG(2 * n), SIZE(4 * n), MADV_COLLAPSE), -EINVAL);
	/* nothing has to be there, if something was; and who wants small folios has them */
	map(mm, 6 * n, n, RW);
	put_byte(6 * n, 8);
	assert_int_equal(vm_madvise(mm, PG(6 * n), SIZE(n), MADV_DONTNEED), 0);
	assert_int_equal(vm_madvise(mm, PG(6 * n), SIZE(n), MADV_COLLAPSE), 0);
	assert_int_equal(resident(mm), 4 * n);
	assert_int_equal(get_byte(6 * n), 0);
	assert_int_equal(vm_madvise(mm, PG(6 * n), SIZE(n), MADV_NOHUGEPAGE), 0);
	assert_int_equal(vm_madvise(mm, PG(6 * n), SIZE(1), MADV_COLLAPSE), -EINVAL);
	space_end(mm);
}

/* ---- mincore ---- */

static void test_mincore(void **state)
{
	struct mm_struct *mm = space_boot();
	unsigned char vec[10];

	sim_mm_use(mm);
	map(mm, 0, 4, RW);
	map(mm, 4, 4, PROT_READ);
	put_byte(1, 1);
	get_byte(4);
	memset(vec, 0xff, sizeof(vec));
	assert_int_equal(vm_mincore(mm, PG(0), SIZE(8), vec), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(vec[i], i == 1 || i == 4);
	assert_int_equal(vec[8], 0xff);
	assert_int_equal(vm_mincore(mm, PG(0) + 1, SIZE(1), vec), -EINVAL);
	assert_int_equal(vm_mincore(mm, PG(0), SIZE(9), vec), -ENOMEM);
	assert_int_equal(vm_mincore(mm, PG(0), mm->task_size, vec), -ENOMEM);
	assert_int_equal(vm_mincore(mm, PG(0), ~0ul, vec), -ENOMEM);
	assert_int_equal(vm_mincore(mm, PG(0), 0, vec), 0);
	space_end(mm);
}

/* ---- the break ---- */

/* What is locked is there, and the owner's own, as soon as it may be written to; what is locked when touched, when it is. */
static void test_mlock_then_writable(void **state)
{
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	map(mm, 0, 8, PROT_READ);
	map(mm, 8, 4, PROT_NONE);
	map(mm, 12, 4, PROT_READ);
	assert_int_equal(vm_mlock(mm, PG(2), SIZE(4), 0), 0);
	assert_int_equal(vm_mlock(mm, PG(8), SIZE(4), 0), -ENOMEM);
	assert_int_equal(vm_mlock(mm, PG(12), SIZE(2), MLOCK_ONFAULT), 0);
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 0);
	/* to a hole, and not to what is not locked */
	assert_int_equal(vm_mprotect(mm, PG(0), SIZE(20), RW), -ENOMEM);
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 8);
	assert_int_equal(resident(mm), 8);
	put_byte(0, 1);
	protect(mm, 0, 16, PROT_READ);
	protect(mm, 0, 16, RW);
	assert_int_equal(resident(mm), 9);
	space_end(mm);
}

static void test_brk(void **state)
{
	struct mm_struct *mm = space_boot();

	sim_mm_use(mm);
	mm->start_brk = PG(0) + 100;
	mm->brk = mm->start_brk;
	assert_int_equal(vm_brk(mm, 0), PG(0) + 100);
	assert_int_equal(vm_brk(mm, PG(0) + 50), PG(0) + 100);
	assert_int_equal(vm_brk(mm, PG(1)), PG(1));
	assert_int_equal(mm->map_count, 0);
	assert_int_equal(vm_brk(mm, PG(4) + 1), PG(4) + 1);
	expect_areas(mm, { 1, 5, RWF });
	put_byte(4, 9);
	assert_int_equal(vm_brk(mm, PG(10)), PG(10));
	expect_areas(mm, { 1, 10, RWF });
	assert_int_equal(get_byte(4), 9);
	assert_int_equal(vm_brk(mm, PG(2) + 5), PG(2) + 5);
	expect_areas(mm, { 1, 3, RWF });
	/* there is no way back over what somebody else has unmapped, but to where something is */
	assert_int_equal(vm_brk(mm, PG(6)), PG(6));
	unmap(mm, 4, 2);
	assert_int_equal(vm_brk(mm, PG(4)), PG(6));
	assert_int_equal(vm_brk(mm, PG(5) + 1), PG(5) + 1);
	assert_int_equal(vm_brk(mm, PG(2) + 5), PG(2) + 5);
	expect_areas(mm, { 1, 3, RWF });
	/* the next area keeps a page away, a stack more; limits; addresses that are none */
	map(mm, 8, 1, PROT_NONE);
	assert_int_equal(vm_brk(mm, PG(8)), PG(2) + 5);
	assert_int_equal(vm_brk(mm, PG(7)), PG(7));
	assert_int_equal(vm_brk(mm, ~0ul), PG(7));
	assert_int_equal(vm_brk(mm, mm->task_size + 1), PG(7));
	mm->limits.data = SIZE(6);
	unmap(mm, 8, 1);
	assert_int_equal(vm_brk(mm, PG(7) + 1), PG(7));
	mm->limits.data = ~0ul;
	assert_int_equal(vm_mlockall(mm, MCL_FUTURE), 0);
	assert_int_equal(vm_brk(mm, PG(9)), PG(9));
	assert_int_equal(resident(mm), 2);
	assert_int_equal(mm->locked_vm, 2);
	space_end(mm);
}

/* ---- stacks ---- */

static void test_stack_grows(void **state)
{
	struct mm_struct *mm = space_boot();
	unsigned long gap = min(256ul, TASK_SIZE_MAX >> (PAGE_SHIFT + 7));
	long top = 700;
	u8 v = 1;

	sim_mm_use(mm);
	assert_int_equal(
		vm_mmap(mm, PG(top), SIZE(2), RW, ANON | MAP_FIXED | MAP_GROWSDOWN, NULL, 0),
		PG(top));
	put_byte(top, 1);
	put_byte(top - 5, 2);
	expect_areas(mm, { (unsigned long)top - 5, (unsigned long)top + 2, RWF | VM_GROWSDOWN });
	assert_int_equal(mm->stack_vm, 7);
	assert_int_equal(get_byte(top), 1);
	/* limits */
	mm->limits.stack = SIZE(8);
	put_byte(top - 6, 3);
	assert_int_not_equal(sim_store(PG(top - 7), &v, 1), 0);
	mm->limits.stack = ~0ul;
	mm->limits.as = SIZE(8);
	assert_int_not_equal(sim_store(PG(top - 7), &v, 1), 0);
	mm->limits.as = ~0ul;
	assert_int_equal(vm_set_overcommit(OVERCOMMIT_NEVER, 8), 0);
	assert_int_not_equal(sim_store(PG(top - 7), &v, 1), 0);
	assert_int_equal(vm_set_overcommit(OVERCOMMIT_GUESS, 0), 0);
	/* the gap to what is below, unless that cannot be accessed anyway */
	map(mm, top - 20 - (long)gap, 1, RW);
	put_byte(top - 19, 4);
	assert_int_not_equal(sim_store(PG(top - 20), &v, 1), 0);
	protect(mm, top - 20 - (long)gap, 1, PROT_NONE);
	put_byte(top - 20, 5);
	/* locked stacks are brought in as they grow */
	assert_int_equal(vm_mlock(mm, PG(top - 20), SIZE(22), 0), 0);
	put_byte(top - 24, 6);
	assert_int_equal(mm->locked_vm, 26);
	assert_int_equal(resident(mm), 26);
	/* reading far below is no stack's business: nothing grows into another area */
	unmap(mm, top - 24, 26);
	assert_int_equal(sim_load(PG(top - 30), &v, 1), VM_FAULT_SIGSEGV | VM_FAULT_MAPERR);
	space_end(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mlock_errors),
		TEST(test_mlock_brings_in),
		TEST(test_mlockall),
		TEST(test_madvise_errors),
		TEST(test_madvise_flags),
		TEST(test_madvise_holes),
		TEST(test_madvise_collapse),
		TEST(test_mincore),
		TEST(test_brk),
		TEST(test_mlock_then_writable),
		TEST(test_stack_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
