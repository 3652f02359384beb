/* SPDX-License-Identifier: MIT */
/*
 * test_migrate_user.c - moving and splitting under programs that run, pin, fork and change protection: nothing that
 * anybody stored is lost.
 */
#include "fault_machine.h"

#include <octavo/migrate.h>

#define NR_CPUS	 4u
#define NR_PAGES 32ul
#define ROUNDS	 400u

static u32 seeds[NR_CPUS];

static u32 rnd(unsigned int cpu, u32 n)
{
	seeds[cpu] = seeds[cpu] * 1664525u + 1013904223u;
	return (seeds[cpu] >> 8) % n;
}

/* The folio that a page is in, with a reference; NULL: it is away, or not there. */
static struct folio *folio_of(unsigned long page)
{
	struct page *p;

	if (get_user_pages_fast(as, at(page), 1, FOLL_FAST_ONLY, &p) != 1)
		return NULL;
	return page_folio(p);
}

/* ---- alone ---- */

/* With an anon_vma for both halves from the start they are one area again. */
static void test_halves_become_one_again(void **state)
{
	space_up();
	for (unsigned int first = 0; first < 2; first++) {
		map_anon(0, 8);
		assert_int_equal(
			vm_mprotect(as, at(4), 4 * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC),
			0);
		assert_int_equal(as->map_count, 2);
		assert_int_equal(sim_store64(at(first ? 0 : 4), 1), 0);
		assert_int_equal(sim_store64(at(first ? 4 : 0), 2), 0);
		assert_ptr_equal(area(0)->anon_vma, area(4)->anon_vma);
		assert_int_equal(area(0)->anon_vma->nr_vmas, 2);
		assert_int_equal(area(0)->anon_vma->nr_active, 2);
		assert_int_equal(area(0)->anon_vma->refcount, 1);
		assert_true(mm_validate(as));
		assert_int_equal(vm_mprotect(as, at(4), 4 * PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
		assert_int_equal(as->map_count, 1);
		assert_true(mm_validate(as));
		assert_int_equal(vm_munmap(as, at(0), 8 * PAGE_SIZE), 0);
	}
	/* Not a neighbour of another kind, nor one that is not next to it. */
	map_flags(0, 4, PROT_READ | PROT_WRITE, 0);
	map_flags(4, 4, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	map_anon(9, 4);
	for (unsigned int i = 0; i < 10; i += 4)
		assert_int_equal(sim_store64(at(i + i / 8), 1), 0);
	assert_ptr_not_equal(area(0)->anon_vma, area(4)->anon_vma);
	assert_ptr_not_equal(area(9)->anon_vma, area(4)->anon_vma);
	space_down();
}

/* A child's area has more chains than its neighbour will: each has its own. */
static void test_a_neighbour_with_forefathers_is_let_be(void **state)
{
	struct mm_struct *child;
	int err;

	space_up();
	map_anon(0, 8);
	assert_int_equal(sim_store64(at(0), 1), 0);
	child = mm_fork(as, &err);
	assert_non_null(child);
	sim_mm_use(child);
	assert_int_equal(
		vm_mprotect(child, at(4), 4 * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
	assert_int_equal(vm_mmap(child, at(8), 4 * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
				 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0),
			 at(8));
	assert_int_equal(sim_store64(at(8), 1), 0);
	assert_true(mm_validate(child));
	sim_mm_use(as);
	sim_mm_forget(child);
	mmput(child);
	space_down();
}

static void test_move_every_page(void **state)
{
	u64 v;

	space_up();
	as->folio_orders = 0xf;
	map_anon(0, NR_PAGES);
	for (unsigned long i = 0; i < NR_PAGES; i++)
		assert_int_equal(sim_store64(at(i), 1000 + i), 0);
	for (unsigned long i = 0; i < NR_PAGES; i++) {
		struct folio *folio = folio_of(i);
		unsigned long pfn = pte_pfn(entry(i));

		assert_non_null(folio);
		assert_int_equal(migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL), 0);
		folio_put(folio);
		assert_int_not_equal(pte_pfn(entry(i)), pfn);
	}
	for (unsigned long i = 0; i < NR_PAGES; i++) {
		assert_int_equal(sim_load64(at(i), &v), 0);
		assert_int_equal(v, 1000 + i);
	}
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), NR_PAGES);
	space_down();
}

/* ---- several CPUs ---- */

static struct {
	u32 stop;
	u64 added[NR_CPUS][NR_PAGES], pinned[NR_PAGES];
	u64 moves, splits, busy, forks, pins, protects;
} run;

/* Each CPU counts in a word of its own in every page. */
static void add_forever(unsigned int cpu)
{
	while (!READ_ONCE(run.stop)) {
		unsigned long page = rnd(cpu, NR_PAGES);

		if (sim_add64(at(page) + 8 * cpu, 1, NULL))
			octavo_panic("a fault at page %lu", page);
		run.added[cpu][page]++;
	}
}

static void move_or_split(unsigned int cpu)
{
	struct folio *folio = folio_of(rnd(cpu, NR_PAGES));
	int err;

	if (!folio)
		return;
	if (folio_test_large(folio) && rnd(cpu, 3) == 0) {
		folio_lock(folio);
		/* It may be small by now. */
		err = folio_test_large(folio)
			      ? split_folio_mapped(folio, 0,
						   rnd(cpu, 2) ? folio_page(folio, 1) : NULL)
			      : -EINVAL;
		folio_unlock(folio);
		fetch_add_relaxed(&run.splits, (u64)!err);
	} else {
		err = migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL);
		fetch_add_relaxed(&run.moves, (u64)!err);
	}
	if (err && err != -EAGAIN && err != -EBUSY && err != -ENOMEM && err != -EINVAL)
		octavo_panic("%d", err);
	fetch_add_relaxed(&run.busy, (u64)(err != 0));
	folio_put(folio);
}

/* A child that has what there was, and goes. */
static void fork_once(void)
{
	struct mm_struct *child;
	int err;

	child = mm_fork(as, &err);
	if (!child)
		return;
	for (unsigned long page = 0; page < NR_PAGES; page += 7) {
		struct page *p;

		if (get_user_pages_remote(child, at(page), 1, 0, &p) == 1) {
			struct folio *folio = page_folio(p);

			if (folio)
				migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL);
			put_user_page(p);
		}
	}
	mmput(child);
	run.forks++;
}

/* A driver: stores for as long as it has the page pinned. */
static void pin_once(unsigned int cpu)
{
	unsigned long page = rnd(cpu, NR_PAGES);
	struct page *p;

	if (pin_user_pages_fast(as, at(page), 1, FOLL_WRITE, &p) != 1)
		return;
	__atomic_fetch_add((u64 *)pfn_to_virt(page_to_pfn(p)) + NR_CPUS, 1, __ATOMIC_RELAXED);
	run.pinned[page]++;
	unpin_user_page(p);
	run.pins++;
}

static void collapse_once(unsigned int cpu)
{
	(void)collapse_range(as, at(ALIGN_DOWN(rnd(cpu, NR_PAGES), 8ul)), 3, 0);
}

/* Who holds up all others may not be run for long: then there are more rounds. */
static bool much_has_happened(void)
{
	return READ_ONCE(run.moves) > ROUNDS / 10 && READ_ONCE(run.splits) > 0 && run.pins > 10 &&
	       run.forks > 10;
}

static void disturb(unsigned int cpu)
{
	for (u32 i = 0; i < ROUNDS || !much_has_happened(); i++) {
		unsigned long page = rnd(cpu, NR_PAGES);

		for (unsigned int n = 0; n < 4; n++)
			move_or_split(cpu);
		switch (rnd(cpu, 5)) {
		case 0:
			fork_once();
			break;
		case 1:
			/* No access is lost by it: all stay readable and writable. */
			run.protects += !vm_mprotect(as, at(page), PAGE_SIZE,
						     PROT_READ | PROT_WRITE |
							     (rnd(cpu, 2) ? PROT_EXEC : 0));
			break;
		case 2:
			collapse_once(cpu);
			break;
		default:
			pin_once(cpu);
		}
	}
	WRITE_ONCE(run.stop, 1u);
}

static void busy_run(unsigned int cpu, void *arg)
{
	sim_mm_use(as);
	if (cpu == 0)
		disturb(cpu);
	else if (cpu == 1)
		while (!READ_ONCE(run.stop))
			move_or_split(cpu);
	else
		add_forever(cpu);
	sim_mm_use(NULL);
}

COVERS("SX.7 S2.29 S2.36");
static void test_nothing_is_lost(void **state)
{
	for (unsigned int paranoid = 0; paranoid < 2; paranoid++) {
		boot_small(TEST_MIB, NR_CPUS);
		sim_set_cpu(0);
		as = mm_alloc();
		assert_non_null(as);
		as->folio_orders = 0xf;
		sim_mmu_paranoid(paranoid);
		memset(&run, 0, sizeof(run));
		for (unsigned int cpu = 0; cpu < NR_CPUS; cpu++)
			seeds[cpu] = 77 * cpu + paranoid + 1;
		map_anon(0, NR_PAGES);
		sim_run(NR_CPUS, false, busy_run, NULL);
		sim_mm_use(as);
		for (unsigned long page = 0; page < NR_PAGES; page++) {
			u64 v;

			for (unsigned int cpu = 0; cpu < NR_CPUS; cpu++) {
				assert_int_equal(sim_load64(at(page) + 8 * cpu, &v), 0);
				assert_int_equal(v, run.added[cpu][page]);
			}
			assert_int_equal(sim_load64(at(page) + 8 * NR_CPUS, &v), 0);
			assert_int_equal(v, run.pinned[page]);
		}
		assert_true(much_has_happened());
		space_down();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_halves_become_one_again),
		TEST(test_a_neighbour_with_forefathers_is_let_be),
		TEST(test_move_every_page),
		TEST(test_nothing_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
