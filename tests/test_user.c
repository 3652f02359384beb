/* SPDX-License-Identifier: MIT */
/*
 * test_user.c - user programs on the simulated machine: mapped memory through faults, translations and flushes, on
 * several CPUs. In paranoid mode, where a CPU keeps every translation that nobody flushes.
 */
#include "test.h"

#include "mmu.h"

#define CPUS  3
#define PAGES 24u
#define TURNS 100u

static struct mm_struct *mm;

static unsigned long map_anon(unsigned long addr, unsigned long pages, unsigned long flags)
{
	const long got = vm_mmap(mm, addr, pages << PAGE_SHIFT, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | flags, NULL, 0);

	if (got < 0)
		octavo_panic("vm_mmap: %ld", got);
	return (unsigned long)got;
}

static void start(bool paranoid)
{
	boot_small(OCTAVO_TREE_ORDER > 6 ? 64 : 1, CPUS);
	sim_mmu_paranoid(paranoid);
	sim_set_cpu(0);
	mm = mm_alloc();
	assert_non_null(mm);
}

static void stop(void)
{
	assert_true(sim_mmu_check(mm));
	assert_true(mm_validate(mm));
	sim_mm_use(NULL);
	assert_int_equal(mm->cpus[0], 0);
	mmput(mm);
	shutdown_clean();
}

#define SEGV_MAPERR (VM_FAULT_SIGSEGV | VM_FAULT_MAPERR)

static void test_one_program(void **state)
{
	unsigned char out[3 * PAGE_SIZE], in[3 * PAGE_SIZE];
	struct sim_mmu_stat st;
	unsigned long at;
	u64 v;

	start(true);
	at = map_anon(0, 4, 0);
	sim_mm_use(mm);
	/* read first: zeroes, which a store does not change for anybody else */
	assert_int_equal(sim_load64(at, &v), 0);
	assert_int_equal(v, 0);
	for (u32 i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 5 + 1);
	assert_int_equal(sim_store(at + 100, out, sizeof(out)), 0);
	assert_int_equal(sim_load(at + 100, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 4);
	assert_int_equal(sim_load64(at, &v), 0);
	assert_int_equal(v, 0);
	/* nothing is executed there */
	assert_int_equal(sim_fetch(at), VM_FAULT_SIGSEGV);
	/* what the kernel writes is what the program reads */
	assert_int_equal(copy_to_user(mm, at + PAGE_SIZE - 3, "kernel", 7), 0);
	assert_int_equal(sim_load(at + PAGE_SIZE - 3, in, 7), 0);
	assert_string_equal((char *)in, "kernel");
	sim_mmu_stat(&st);
	assert_true(st.faults >= 4 && st.faults <= 8);
	assert_int_equal(vm_munmap(mm, at + PAGE_SIZE, PAGE_SIZE), 0);
	assert_int_equal(sim_load(at, in, PAGE_SIZE), 0);
	assert_int_equal(sim_load(at + PAGE_SIZE, in, 1), SEGV_MAPERR);
	assert_int_equal(sim_load64(at + 2 * PAGE_SIZE, &v), 0);
	assert_int_equal(sim_load64(~7ul, &v), SEGV_MAPERR);
	/* a fresh page in the same place */
	assert_int_equal(map_anon(at + PAGE_SIZE, 1, MAP_FIXED), at + PAGE_SIZE);
	assert_int_equal(sim_load64(at + PAGE_SIZE, &v), 0);
	assert_int_equal(v, 0);
	stop();
}

/* ---- several CPUs ---- */

static struct {
	unsigned long at;
	u32 stop;
	u64 stores[CPUS]; /* that worked */
	u64 zeroes;
} run;

static void count_store(unsigned int cpu)
{
	__atomic_fetch_add(&run.stores[cpu], 1, __ATOMIC_RELAXED);
}

/* What a CPU keeps in a page of its own says which page it is. */
static u64 signature(unsigned int cpu, u32 page)
{
	return 0x5100000000000000ul | (u64)cpu << 32 | page;
}

/*
 * A page of a CPU's own holds what it stored there, or zero after somebody has unmapped it. Anything
 * else came from a frame that was no longer, or not yet, its own.
 */
static void own_pages(unsigned int cpu)
{
	for (u32 turn = 0; !__atomic_load_n(&run.stop, __ATOMIC_RELAXED); turn++) {
		const u32 page = cpu + CPUS * (turn % (PAGES / CPUS));
		const unsigned long addr = run.at + ((unsigned long)page << PAGE_SHIFT) + 8 * cpu;
		u64 v = 0;
		vm_fault_t f = sim_load64(addr, &v);

		if (!f && v && v != signature(cpu, page))
			octavo_panic("page %u of CPU %u has 0x%lx", page, cpu, (unsigned long)v);
		if (!f && !v)
			__atomic_fetch_add(&run.zeroes, 1, __ATOMIC_RELAXED);
		if (!f)
			f = sim_store64(addr, signature(cpu, page));
		if (!f)
			count_store(cpu);
		else if (f != SEGV_MAPERR)
			octavo_panic("fault 0x%x", f);
	}
}

/*
 * A race in which the others do not run is none: in each turn one of them has stored before it goes on. They store
 * until they are told to stop, and are able to: what they store into is mapped, and may be written.
 */
static void let_them_store(u32 turn)
{
	const u64 *stores = &run.stores[1 + turn % (CPUS - 1)];
	const u64 before = __atomic_load_n(stores, __ATOMIC_RELAXED);

	while (__atomic_load_n(stores, __ATOMIC_RELAXED) == before)
		octavo_port_relax();
}

/* All others have stored in about as many of @turns. */
static void assert_they_stored(u32 turns)
{
	for (u32 cpu = 1; cpu < CPUS; cpu++)
		assert_true(run.stores[cpu] >= turns / (CPUS - 1));
}

static void unmapper(void)
{
	for (u32 turn = 0; turn < TURNS; turn++) {
		const unsigned long off = turn * 7 % (PAGES - 4), nr = 1 + turn % 4;

		if (turn % 2) {
			map_anon(run.at + (off << PAGE_SHIFT), nr, MAP_FIXED);
		} else {
			if (vm_munmap(mm, run.at + (off << PAGE_SHIFT), nr << PAGE_SHIFT))
				octavo_panic("vm_munmap");
			map_anon(run.at + (off << PAGE_SHIFT), nr, MAP_FIXED);
		}
		let_them_store(turn);
	}
	__atomic_store_n(&run.stop, 1, __ATOMIC_RELAXED);
}

static void unmap_race(unsigned int cpu, void *arg)
{
	sim_mm_use(mm);
	if (cpu == 0)
		unmapper();
	else
		own_pages(cpu);
	sim_mm_use(NULL);
}

static void test_unmap_while_used(void **state)
{
	for (int paranoid = 0; paranoid < 2; paranoid++) {
		start(paranoid);
		memset(&run, 0, sizeof(run));
		run.at = map_anon(0, PAGES, 0);
		sim_run(CPUS, false, unmap_race, NULL);
		assert_they_stored(TURNS);
		/* the first of each page at least */
		assert_true(run.zeroes > 0);
		stop();
	}
}

/* Everybody counts in the same words, in pages that are faulted in by whoever is first. */
static void count_up(unsigned int cpu, void *arg)
{
	sim_mm_use(mm);
	for (u32 i = 0; i < TURNS; i++) {
		const unsigned long page = i % PAGES;

		if (sim_add64(run.at + (page << PAGE_SHIFT), 1, NULL))
			octavo_panic("a fault");
	}
	sim_mm_use(NULL);
}

static void test_count_together(void **state)
{
	u64 sum = 0;

	for (u32 round = 0; round < 10; round++) {
		start(round % 2);
		run.at = map_anon(0, PAGES, 0);
		sim_run(CPUS, false, count_up, NULL);
		sim_mm_use(mm);
		sum = 0;
		for (u32 page = 0; page < PAGES; page++) {
			u64 v;

			assert_int_equal(sim_load64(run.at + ((u64)page << PAGE_SHIFT), &v), 0);
			sum += v;
		}
		assert_int_equal(sum, CPUS * TURNS);
		assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), PAGES);
		stop();
	}
}

/* ---- fork ---- */

/*
 * The parent's other threads go on storing while it forks, each its own count into a page of its own. A child's page has some
 * count of the time of the fork, and keeps it.
 */
static void store_counts(unsigned int cpu)
{
	const unsigned long addr = run.at + ((unsigned long)cpu << PAGE_SHIFT);

	for (u64 n = 1; !__atomic_load_n(&run.stop, __ATOMIC_RELAXED); n++) {
		u64 v;

		if (sim_store64(addr, n) || sim_load64(addr, &v))
			octavo_panic("a fault");
		if (v != n)
			octavo_panic("stored %lu, loaded %lu", (unsigned long)n, (unsigned long)v);
		count_store(cpu);
	}
}

static u64 load(unsigned long addr)
{
	u64 v = 0;

	if (sim_load64(addr, &v))
		octavo_panic("a fault");
	return v;
}

static void one_child(void)
{
	struct mm_struct *child;
	u64 counts[CPUS], parents[CPUS];
	int err;

	for (u32 cpu = 1; cpu < CPUS; cpu++)
		parents[cpu] = load(run.at + ((unsigned long)cpu << PAGE_SHIFT));
	child = mm_fork(mm, &err);
	if (!child)
		octavo_panic("mm_fork: %d", err);
	sim_mm_use(child);
	for (u32 turn = 0; turn < 20; turn++) {
		for (u32 cpu = 1; cpu < CPUS; cpu++) {
			const u64 v = load(run.at + ((unsigned long)cpu << PAGE_SHIFT));

			if (turn ? v != counts[cpu] : v < parents[cpu])
				octavo_panic("a child's memory changes");
			counts[cpu] = v;
		}
	}
	/* its own stores are its own */
	for (u32 cpu = 1; cpu < CPUS; cpu++)
		if (sim_store64(run.at + ((unsigned long)cpu << PAGE_SHIFT), ~0ul))
			octavo_panic("a fault");
	sim_mm_use(mm);
	for (u32 cpu = 1; cpu < CPUS; cpu++)
		if (load(run.at + ((unsigned long)cpu << PAGE_SHIFT)) == ~0ul)
			octavo_panic("a child's store reaches its parent");
	if (!sim_mmu_check(child))
		octavo_panic("the child's translations");
	mmput(child);
}

static void fork_race(unsigned int cpu, void *arg)
{
	sim_mm_use(mm);
	if (cpu) {
		store_counts(cpu);
	} else {
		for (u32 i = 0; i < TURNS / 4; i++) {
			let_them_store(i);
			one_child();
		}
		__atomic_store_n(&run.stop, 1, __ATOMIC_RELAXED);
	}
	sim_mm_use(NULL);
}

static void test_fork_while_used(void **state)
{
	for (int paranoid = 0; paranoid < 2; paranoid++) {
		start(paranoid);
		memset(&run, 0, sizeof(run));
		run.at = map_anon(0, CPUS, 0);
		sim_run(CPUS, false, fork_race, NULL);
		assert_they_stored(TURNS / 4);
		stop();
	}
}

/* ---- protection ---- */

/* After mprotect() says so, no store lands. */
static void protect_race(unsigned int cpu, void *arg)
{
	sim_mm_use(mm);
	if (cpu) {
		for (u64 n = 1; !__atomic_load_n(&run.stop, __ATOMIC_RELAXED); n++) {
			const vm_fault_t f = sim_store64(run.at + 8 * cpu, n);

			if (!f)
				count_store(cpu);
			else if (f != VM_FAULT_SIGSEGV)
				octavo_panic("fault 0x%x", f);
		}
	} else {
		for (u32 turn = 0; turn < TURNS; turn++) {
			u64 a[CPUS];

			let_them_store(turn);
			if (vm_mprotect(mm, run.at, PAGE_SIZE, PROT_READ))
				octavo_panic("vm_mprotect");
			for (u32 i = 1; i < CPUS; i++)
				a[i] = load(run.at + 8 * i);
			octavo_port_relax();
			for (u32 i = 1; i < CPUS; i++)
				if (load(run.at + 8 * i) != a[i])
					octavo_panic("a store into read-only memory");
			if (vm_mprotect(mm, run.at, PAGE_SIZE, PROT_READ | PROT_WRITE))
				octavo_panic("vm_mprotect");
		}
		__atomic_store_n(&run.stop, 1, __ATOMIC_RELAXED);
	}
	sim_mm_use(NULL);
}

static void test_protect_while_used(void **state)
{
	for (int paranoid = 0; paranoid < 2; paranoid++) {
		start(paranoid);
		memset(&run, 0, sizeof(run));
		run.at = map_anon(0, 1, 0);
		sim_run(CPUS, false, protect_race, NULL);
		assert_they_stored(TURNS);
		stop();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_program),	       TEST(test_unmap_while_used),
		TEST(test_count_together),     TEST(test_fork_while_used),
		TEST(test_protect_while_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
