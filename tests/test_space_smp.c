/* SPDX-License-Identifier: MIT */
/*
 * test_space_smp.c - threads of one address space that map, change, fork and access at the same time.
 *
 * Each thread has a range of its own, whose bytes it knows, in areas that it shares with its neighbours (they
 * merge over the borders); and a range is everybody's, where an access may find anything but an old page.
 */
#include "space_machine.h"

#define MINE  16l /* pages of a thread */
#define ALL   ((long)SPACE_CPUS * MINE)
#define TURNS 2000

static struct mm_struct *mm;

/* A page of the common range says that it belongs to it, or is empty. */
#define COMMON(v) (0xc0ffee00ul | (v))

static void check_mine(long base, const u8 *bytes, const u8 *prot)
{
	for (long i = 0; i < MINE; i++) {
		u64 v = ~0ul;
		vm_fault_t f = sim_load64(PG(base + i), &v);

		if (!prot[i])
			assert_int_not_equal(f, 0);
		else
			assert_true(!f && v == bytes[i]);
	}
}

/* One change of the thread's own range, and what becomes of its pages. */
static void change_mine(u64 *seed, long base, u8 *bytes, u8 *prot)
{
	long at = (long)rnd(seed, MINE), nr = 1 + (long)rnd(seed, MINE - at);
	unsigned long len = SIZE(nr);

	switch (rnd(seed, 6)) {
	case 0:
		assert_int_equal(vm_mmap(mm, PG(base + at), len, RW, ANON | MAP_FIXED, NULL, 0),
				 PG(base + at));
		memset(bytes + at, 0, (size_t)nr);
		memset(prot + at, 2, (size_t)nr);
		break;
	case 1:
		assert_int_equal(vm_munmap(mm, PG(base + at), len), 0);
		memset(bytes + at, 0, (size_t)nr);
		memset(prot + at, 0, (size_t)nr);
		break;
	case 2:
		for (long i = at; i < at + nr; i++)
			if (!prot[i])
				return;
		assert_int_equal(vm_mprotect(mm, PG(base + at), len, PROT_READ), 0);
		memset(prot + at, 1, (size_t)nr);
		break;
	case 3:
		for (long i = at; i < at + nr; i++)
			if (!prot[i])
				return;
		assert_int_equal(vm_mprotect(mm, PG(base + at), len, RW), 0);
		memset(prot + at, 2, (size_t)nr);
		break;
	case 4:
		vm_madvise(mm, PG(base + at), len, MADV_DONTNEED);
		memset(bytes + at, 0, (size_t)nr);
		break;
	default:
		vm_madvise(mm, PG(base + at), len, rnd(seed, 2) ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
		break;
	}
}

static void change_common(u64 *seed, unsigned int cpu)
{
	unsigned long addr = PG(ALL + (long)rnd(seed, MINE));
	u64 v = 0;

	switch (rnd(seed, 8)) {
	case 0:
		assert_int_equal(vm_mmap(mm, addr, SIZE(2), RW, ANON | MAP_FIXED, NULL, 0), addr);
		break;
	case 1:
		vm_mprotect(mm, addr, SIZE(2), rnd(seed, 2) ? RW : PROT_READ);
		break;
	case 2:
		vm_munmap(mm, addr, SIZE(1));
		break;
	case 3:
		vm_mremap(mm, addr, SIZE(1), SIZE(1), MREMAP_MAYMOVE | MREMAP_FIXED,
			  PG(ALL + (long)rnd(seed, MINE)));
		break;
	case 4 ... 5:
		sim_store64(addr, COMMON(cpu));
		break;
	default:
		if (!sim_load64(addr, &v))
			assert_true(!v || (v & ~0xfful) == COMMON(0));
		break;
	}
}

/* A child sees what is its parent's now, and goes. */
static void fork_once(long base, const u8 *bytes, const u8 *prot)
{
	struct mm_struct *child;
	int err;

	child = mm_fork(mm, &err);
	assert_non_null(child);
	sim_mm_use(child);
	check_mine(base, bytes, prot);
	if (prot[0] == 2)
		assert_int_equal(sim_store64(PG(base), 77), 0);
	sim_mm_use(mm);
	sim_mm_forget(child);
	mmput(child);
}

static void work(unsigned int cpu, void *arg)
{
	u64 seed = 0x1234567 + cpu * 7919;
	u8 bytes[MINE] = { 0 }, prot[MINE] = { 0 };
	long base = (long)cpu * MINE;

	sim_set_cpu(cpu);
	sim_mm_use(mm);
	for (int turn = 0; turn < TURNS; turn++) {
		long at = (long)rnd(&seed, MINE);

		change_mine(&seed, base, bytes, prot);
		change_common(&seed, cpu);
		if (prot[at] == 2) {
			bytes[at] = (u8)(1 + rnd(&seed, 255));
			assert_int_equal(sim_store64(PG(base + at), bytes[at]), 0);
		}
		if (turn % 8 == 0)
			check_mine(base, bytes, prot);
		if (turn % 64 == (int)cpu)
			fork_once(base, bytes, prot);
	}
	check_mine(base, bytes, prot);
	sim_mm_forget(mm);
}

static void test_space_smp(void **state)
{
	mm = space_boot();
	sim_run(SPACE_CPUS, false, work, NULL);
	sim_set_cpu(0);
	space_end(mm);
}

/* Users come and go while a process list is looked at. */
static void test_space_smp_users(void **state)
{
	mm = space_boot();
	mmgrab(mm);
	sim_run(SPACE_CPUS, false, work, NULL);
	sim_set_cpu(0);
	mmput(mm);
	assert_false(mmget_not_zero(mm));
	mmdrop(mm);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_space_smp),
		TEST(test_space_smp_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
