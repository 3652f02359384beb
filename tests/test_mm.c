/* SPDX-License-Identifier: MIT */
/*
 * test_mm.c - address spaces made, kept, ended and copied; what comes up with the first; leaks and misuse.
 */
#include <octavo/gup.h>

#include "space_machine.h"

/* ---- lifetime ---- */

static void test_mm_counts(void **state)
{
	struct mm_struct *mm = space_boot();

	assert_int_equal(mm->users, 1);
	assert_int_equal(mm->count, 1);
	mmget(mm);
	assert_true(mmget_not_zero(mm));
	mmput(mm);
	mmput(mm);
	mmgrab(mm);
	map(mm, 0, 4, RW);
	mmput(mm);
	/* emptied, but there */
	assert_false(mmget_not_zero(mm));
	assert_int_equal(mm->map_count, 0);
	assert_true(octavo_validate());
	mmdrop(mm);
	shutdown_clean();
}

static void test_mm_comes_up_once(void **state)
{
	struct mm_struct *mm[20];
	unsigned long zero;

	boot_small(8, 1);
	assert_int_equal(octavo_state.space.ready, 0);
	for (size_t i = 0; i < ARRAY_SIZE(mm); i++) {
		mm[i] = mm_alloc();
		assert_non_null(mm[i]);
		zero = i ? zero : octavo_state.space.zero_pfn;
		assert_int_equal(octavo_state.space.zero_pfn, zero);
		assert_int_equal(memdesc_subtype(page_memdesc(pfn_to_page(zero))), MISC_ZEROPAGE);
	}
	for (size_t i = 0; i < PAGE_SIZE; i++)
		assert_int_equal(((char *)pfn_to_virt(zero))[i], 0);
	for (size_t i = 0; i < ARRAY_SIZE(mm); i++)
		mmput(mm[i]);
	shutdown_clean();
	assert_int_equal(octavo_state.space.ready, 0);
}

static void alloc_put(unsigned int cpu, void *arg)
{
	sim_set_cpu(cpu);
	for (int i = 0; i < 50; i++) {
		struct mm_struct *mm = mm_alloc();

		assert_non_null(mm);
		assert_int_equal(vm_mmap(mm, PG(cpu), SIZE(1), RW, ANON | MAP_FIXED, NULL, 0),
				 PG(cpu));
		mmput(mm);
	}
}

static void test_mm_comes_up_on_all_cpus(void **state)
{
	boot_small(8, SPACE_CPUS);
	sim_run(SPACE_CPUS, false, alloc_put, NULL);
	sim_set_cpu(0);
	shutdown_clean();
}

/* Whatever their number is, no two CPUs count in one line, nor in two that are fetched together. */
static void test_mm_counters_are_apart(void **state)
{
	for (u32 cpus = 1; cpus <= 7 && cpus <= OCTAVO_NR_CPUS; cpus++) {
		struct mm_struct *mm;

		boot_small(8, cpus);
		mm = mm_alloc();
		assert_non_null(mm);
		assert_true(IS_ALIGNED((unsigned long)mm->cpu, 128));
		assert_true((char *)&mm->cpu[1] - (char *)&mm->cpu[0] >= 128);
		mmput(mm);
		shutdown_clean();
	}
}

static u32 errors_logged;

static void count_errors(enum octavo_log_level level, const char *line)
{
	errors_logged += level == OCTAVO_LOG_ERR;
}

static void test_mm_leak_is_reported(void **state)
{
	struct mm_struct *mm = space_boot();

	map(mm, 0, 4, RW);
	errors_logged = 0;
	sim_log_to(count_errors);
	assert_true(octavo_shutdown() > 0);
	sim_log_to(NULL);
	assert_int_not_equal(errors_logged, 0);
	sim_reset();
}

static void put_twice(void *arg)
{
	mmgrab(arg);
	mmput(arg);
	mmput(arg);
}

static void drop_of_user(void *arg)
{
	mmdrop(arg);
}

static void get_of_dead(void *arg)
{
	mmgrab(arg);
	mmput(arg);
	mmget(arg);
}

static void file_put_twice(void *arg)
{
	static const struct vm_file_operations ops = { 0 };
	struct vm_file file;

	vm_file_init(&file, &ops);
	vm_file_put(&file);
	vm_file_put(&file);
}

static void test_mm_misuse_is_fatal(void **state)
{
	expect_panic(put_twice, space_boot(), "has no users");
	expect_panic(drop_of_user, space_boot(), "users are not");
	expect_panic(get_of_dead, space_boot(), "mmget");
	expect_panic(file_put_twice, space_boot(), "has no references");
}

#if OCTAVO_FAULTS
static void test_mm_alloc_fails_at_every_step(void **state)
{
	for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
		/* the first one brings the layer up */
		for_each_fault(k, mode, OCTAVO_FAULT_ALL & ~OCTAVO_FAULT_CAS, hit)
		{
			struct mm_struct *mm;

			octavo_fault_disarm();
			boot_small(8, 2);
			octavo_fault_arm(k, mode, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
			mm = mm_alloc();
			hit = octavo_fault_disarm();
			assert_true(octavo_validate());
			if (mm)
				mmput(mm);
			else
				assert_int_not_equal(hit, 0);
			shutdown_clean();
		}
	}
	assert_true(fault_cases > 10);
}
#endif

/* ---- fork ---- */

static void test_mm_fork_areas(void **state)
{
	struct mm_struct *mm = space_boot(), *child;
	int err = 1;

	sim_mm_use(mm);
	map(mm, 0, 4, RW);
	map(mm, 8, 4, RW);
	map(mm, 16, 4, RW);
	map(mm, 24, 4, PROT_READ);
	assert_int_equal(vm_madvise(mm, PG(8), SIZE(4), MADV_DONTFORK), 0);
	assert_int_equal(vm_madvise(mm, PG(16), SIZE(4), MADV_WIPEONFORK), 0);
	assert_int_equal(vm_mlock(mm, PG(0), SIZE(4), 0), 0);
	assert_int_equal(vm_mlockall(mm, MCL_FUTURE), 0);
	mm->limits.stack = 12345;
	for (int i = 0; i < 20; i += 8)
		put_byte(i, (u8)(i + 1));
	child = mm_fork(mm, &err);
	assert_non_null(child);
	assert_int_equal(err, 0);
	expect_areas(child, { 0, 4, VM_READ | VM_WRITE },
		     { 16, 20, VM_READ | VM_WRITE | VM_WIPEONFORK }, { 24, 28, VM_READ });
	assert_int_equal(child->total_vm, 12);
	assert_int_equal(child->locked_vm, 0);
	assert_int_equal(child->def_flags, 0);
	assert_int_equal(child->limits.stack, 12345);
	assert_int_equal(vm_committed_as(), SIZE(12 + 8));
	assert_int_equal(mm->write_protect_seq, 2);
	assert_true(octavo_validate());
	/* what it had is the child's too, and each writes for itself */
	put_byte(0, 99);
	sim_mm_use(child);
	assert_int_equal(get_byte(0), 1);
	assert_int_equal(get_byte(16), 0);
	put_byte(0, 50);
	assert_int_equal(sim_load(PG(8), &(u8){ 0 }, 1), VM_FAULT_SIGSEGV | VM_FAULT_MAPERR);
	sim_mm_use(mm);
	assert_int_equal(get_byte(0), 99);
	assert_true(octavo_validate());
	sim_mm_forget(child);
	mmput(child);
	assert_int_equal(get_byte(0), 99);
	assert_int_equal(get_byte(8), 9);
	space_end(mm);
}

static int opens, closes;

static void count_open(struct vm_area_struct *vma)
{
	opens++;
}

static void count_close(struct vm_area_struct *vma)
{
	closes++;
}

static const struct vm_operations_struct counted = { .open = count_open, .close = count_close };

static int counted_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &counted;
	return 0;
}

static int released;

static void count_release(struct vm_file *file)
{
	released++;
}

static const struct vm_file_operations counted_file = { .mmap = counted_mmap,
							.release = count_release };

/* A family: the child's child outlives both. */
static void test_mm_fork_of_forks(void **state)
{
	struct mm_struct *mm = space_boot(), *child, *grandchild;
	struct vm_file file;
	int err;

	opens = 0;
	closes = 0;
	released = 0;
	vm_file_init(&file, &counted_file);
	sim_mm_use(mm);
	map(mm, 0, 8, RW);
	for (int i = 0; i < 8; i++)
		put_byte(i, 1);
	assert_int_equal(vm_mmap(mm, PG(16), SIZE(2), RW, MAP_SHARED | MAP_FIXED, &file, 0),
			 PG(16));
	vm_file_put(&file);
	child = mm_fork(mm, &err);
	sim_mm_use(child);
	put_byte(1, 2);
	grandchild = mm_fork(child, &err);
	assert_int_equal(file.refcount, 3);
	assert_int_equal(opens, 2);
	sim_mm_forget(mm);
	mmput(mm);
	sim_mm_use(grandchild);
	put_byte(2, 3);
	sim_mm_forget(child);
	mmput(child);
	assert_int_equal(get_byte(0), 1);
	assert_int_equal(get_byte(1), 2);
	assert_int_equal(get_byte(2), 3);
	assert_int_equal(closes, 2);
	assert_int_equal(released, 0);
	unmap(grandchild, 0, 20);
	assert_int_equal(released, 1);
	assert_int_equal(get_mm_rss(grandchild), 0);
	space_end(grandchild);
}

#if OCTAVO_FAULTS
static void test_mm_fork_fails_at_every_step(void **state)
{
	static struct space_image before, after;

	for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
		struct mm_struct *mm = space_boot();
		struct page *pinned;

		sim_mm_use(mm);
		map(mm, 0, 20, RW);
		for (int i = 0; i < 20; i++)
			put_byte(i, (u8)i);
		protect(mm, 4, 4, PROT_READ);
		protect(mm, 12, 2, PROT_READ);
		/* one that is copied at once */
		assert_int_equal(pin_user_pages_fast(mm, PG(3), 1, FOLL_WRITE, &pinned), 1);
		space_image(mm, &before);
		for_each_fault(k, mode, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
		{
			int err = 0;
			struct mm_struct *child = mm_fork(mm, &err);

			hit = octavo_fault_disarm();
			if (child)
				mmput(child);
			else
				assert_int_equal(err, -ENOMEM);
			space_image(mm, &after);
			assert_memory_equal(&before, &after, sizeof(before));
			assert_true(octavo_validate());
			for (int i = 0; i < 20; i++)
				assert_int_equal(get_byte(i), i);
		}
		unpin_user_page(pinned);
		space_end(mm);
	}
}
#endif

/* ---- looking ---- */

static bool stop_at_second(const struct vm_area_struct *vma, void *arg)
{
	return ++*(int *)arg < 2;
}

static char dumped[4096];

static void collect_dump(enum octavo_log_level level, const char *line)
{
	if (level == OCTAVO_LOG_DUMP)
		strncat(dumped, line, sizeof(dumped) - strlen(dumped) - 1);
}

static void test_mm_looking(void **state)
{
	struct mm_struct *mm = space_boot();
	char want[64];
	int n = 0;

	for (int i = 0; i < 10; i += 2)
		map(mm, i, 1, i ? PROT_READ : RW);
	mm_for_each_vma(mm, stop_at_second, &n);
	assert_int_equal(n, 2);
	dumped[0] = '\0';
	sim_log_to(collect_dump);
	mm_dump(mm);
	/* whoever has the lock may dump too */
	mmap_write_lock(mm);
	mm_dump(mm);
	mmap_write_unlock(mm);
	sim_log_to(NULL);
	snprintf(want, sizeof(want), "%012lx-%012lx rw-p", PG(0), PG(1));
	assert_non_null(strstr(dumped, want));
	assert_non_null(strstr(dumped, "being changed"));
	space_end(mm);
}

/* mm_validate() finds what is wrong. */
static void test_mm_validate_finds(void **state)
{
	struct mm_struct *mm = space_boot();
	struct vm_area_struct *vma;

	sim_mm_use(mm);
	map(mm, 0, 4, RW);
	put_byte(0, 1);
	vma = vma_lookup(mm, PG(0));
	sim_log_quiet(true);
	sim_log_to(count_errors);
#define BREAK(field, wrong)                     \
	do {                                    \
		__typeof__(field) was_ = field; \
		field = wrong;                  \
		assert_false(mm_validate(mm));  \
		field = was_;                   \
		assert_true(mm_validate(mm));   \
	} while (0)
	BREAK(mm->total_vm, 3);
	BREAK(mm->map_count, 2);
	BREAK(mm->locked_vm, 1);
	BREAK(mm->lock_seq, mm->lock_seq + 1);
	BREAK(mm->cpu[0].count[MM_ANONPAGES], 7);
	BREAK(vma->vm_end, PG(3));
	BREAK(vma->vm_seq, ~0ul);
	BREAK(vma->vm_flags, vma->vm_flags & ~VM_WRITE);
	BREAK(vma->vm_flags, vma->vm_flags | VM_LOCKONFAULT);
	BREAK(vma->vm_pgoff, vma->vm_pgoff + 1);
	BREAK(vma->vm_page_prot.v, PAGE_SHARED.v);
	sim_log_to(NULL);
	sim_log_quiet(false);
	space_end(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mm_counts),
		TEST(test_mm_comes_up_once),
		TEST(test_mm_comes_up_on_all_cpus),
		TEST(test_mm_counters_are_apart),
		TEST(test_mm_leak_is_reported),
		TEST(test_mm_misuse_is_fatal),
#if OCTAVO_FAULTS
		TEST(test_mm_alloc_fails_at_every_step),
		TEST(test_mm_fork_fails_at_every_step),
#endif
		TEST(test_mm_fork_areas),
		TEST(test_mm_fork_of_forks),
		TEST(test_mm_looking),
		TEST(test_mm_validate_finds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
