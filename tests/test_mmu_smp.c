/* SPDX-License-Identifier: MIT */
/*
 * test_mmu_smp.c - the simulated machine's MMU, used by several CPUs at once.
 */
#include "mmu_tables.h"

#define TURNS  2000
#define LET_IN 8

static struct {
	u32 stop;
	u64 stores; /* that the storing CPU has seen done */
	u64 adds;
} race;

/* CPU 1 and up: one number after the other into the page, whenever it is there. */
static void store_numbers(unsigned int cpu)
{
	sim_mmu_switch(&mm);
	/* acquire: nothing is behind it; relaxed would do */
	for (u64 n = 1; !__atomic_load_n(&race.stop, __ATOMIC_ACQUIRE); n++) {
		if (sim_mmu_try(ADDR + cpu * 8, SIM_STORE, &n) == SIM_OK)
			__atomic_fetch_add(&race.stores, 1, __ATOMIC_RELAXED);
		else
			octavo_port_relax();
	}
	sim_mmu_switch(NULL);
}

/* CPU 0: entries that come and go. What is cleared stays so, however late a walker marks it. */
static void come_and_go(void)
{
	const u64 e = (u64)frames(0) << PAGE_SHIFT | RW;
	pte_t *p = entry(&mm, ADDR, 0);

	for (u32 turn = 0; turn < 20 * TURNS; turn++) {
		store_entry(p, e);
		for (u32 i = turn % 64; i; i--)
			barrier();
		__atomic_exchange_n(&p->v, 0, __ATOMIC_SEQ_CST);
		flush_page(ADDR);
		if (__atomic_load_n(&p->v, __ATOMIC_RELAXED))
			octavo_panic("an entry came back to be marked");
	}
	frame_free((unsigned long)(e >> PAGE_SHIFT), 0);
}

/*
 * CPU 0: take the page away, and use its frame for something else, with plain accesses. Not a store may
 * land there, and none that was made be unknown to the entry.
 */
static void take_away(void)
{
	static unsigned char copy[PAGE_SIZE];
	pte_t *p = entry(&mm, ADDR, 0);
	unsigned long pfn = frames(0), spare = frames(0);

	for (u32 turn = 0; turn < TURNS; turn++) {
		const u64 before = __atomic_load_n(&race.stores, __ATOMIC_RELAXED);
		unsigned long t;
		u64 was;

		memset(pfn_to_virt(pfn), 0, PAGE_SIZE);
		store_entry(p, (u64)pfn << PAGE_SHIFT | RW);
		/* now and then somebody comes in: they store for as long as they are not told to stop */
		while (turn % LET_IN == 0 &&
		       __atomic_load_n(&race.stores, __ATOMIC_RELAXED) == before)
			octavo_port_relax();
		was = __atomic_exchange_n(&p->v, 0, __ATOMIC_SEQ_CST);
		flush_page(ADDR);
		if (__atomic_load_n(&p->v, __ATOMIC_RELAXED))
			octavo_panic("an entry came back to be marked");
		memcpy(copy, pfn_to_virt(pfn), PAGE_SIZE);
		if (!(was & _PAGE_DIRTY))
			for (u32 i = 0; i < PAGE_SIZE; i++)
				if (copy[i])
					octavo_panic("a store that the entry did not know of");
		memset(pfn_to_virt(pfn), 0xff, PAGE_SIZE);
		octavo_port_relax();
		for (u32 i = 0; i < PAGE_SIZE; i++)
			if (((unsigned char *)pfn_to_virt(pfn))[i] != 0xff)
				octavo_panic("a store into a frame that was taken away");
		t = pfn;
		pfn = spare;
		spare = t;
	}
	/* release: pairs with the acquire of the others */
	__atomic_store_n(&race.stop, 1, __ATOMIC_RELEASE);
	frame_free(pfn, 0);
	frame_free(spare, 0);
}

static void unmap_race(unsigned int cpu, void *arg)
{
	if (cpu) {
		store_numbers(cpu);
		return;
	}
	come_and_go();
	take_away();
}

static void test_unmap_race(void **state)
{
	for (int paranoid = 0; paranoid < 2; paranoid++) {
		start();
		sim_mmu_switch(NULL);
		sim_mmu_paranoid(paranoid);
		entry(&mm, ADDR, 0);
		memset(&race, 0, sizeof(race));
		sim_run(CPUS - 1, false, unmap_race, NULL);
		/* or nothing was tested */
		assert_true(race.stores >= TURNS / LET_IN);
		stop();
	}
}

static void count_up(unsigned int cpu, void *arg)
{
	sim_mm_use(&mm);
	for (u32 i = 0; i < TURNS; i++) {
		u64 old = 0;

		if (sim_add64(ADDR, 1, NULL))
			octavo_panic("a fault that was not expected");
		for (;;) {
			const u64 seen = old;

			if (sim_cas64(ADDR + 8, &old, seen + 1))
				octavo_panic("a fault that was not expected");
			if (old == seen)
				break;
		}
		if (i % 64 == 0)
			flush_page(ADDR);
	}
	sim_mm_use(NULL);
}

/* Atomic operations stay so, whoever flushes. */
static void test_atomic_words(void **state)
{
	unsigned long pfn;

	start();
	fake_core();
	pfn = frames(0);
	memset(pfn_to_virt(pfn), 0, PAGE_SIZE);
	map(ADDR, 0, pfn, RW);
	sim_run(CPUS - 1, false, count_up, NULL);
	assert_int_equal(((u64 *)pfn_to_virt(pfn))[0], (CPUS - 1) * TURNS);
	assert_int_equal(((u64 *)pfn_to_virt(pfn))[1], (CPUS - 1) * TURNS);
	assert_int_equal(mm.cpus[0], 0);
	frame_free(pfn, 0);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_unmap_race),
		TEST(test_atomic_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
