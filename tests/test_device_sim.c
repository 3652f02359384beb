// SPDX-License-Identifier: MIT
/*
 * test_device_sim.c - an accelerator that shares an address space: it computes on user addresses, memory goes to it and comes
 * back, CPUs and device see what the other has written.
 */
#include <octavo/fault.h>
#include <octavo/migrate.h>

#include "device_sim.h"
#include "accel_space.h"

static void dev_up(struct accel_config cfg, bool coherent)
{
	unsigned long pages = OCTAVO_TABLE_BITS == 9 ? PAGES_PER_SECTION : 16 * PAGES_PER_SECTION;
	struct sim_config sim = { .bytes = (u64)TEST_MIB << 20, .cpus = 4, .quiet = true };

	sim.max_phys = sim.bytes + pages * PAGE_SIZE;
	accel_boot(&sim);
	if (!cfg.pages)
		cfg.pages = pages;
	if (coherent)
		cfg.coherent_pfn = sim.bytes >> PAGE_SHIFT;
	cfg.threads = 1;
	cfg.first_cpu = DEV_CPU;
	assert_int_equal(device_sim_create(&cfg, &dev), 0);
	assert_int_equal(accel_open(dev, as, &ctx), 0);
}

static void dev_down(void)
{
	assert_true(octavo_validate());
	assert_true(accel_validate(dev));
	assert_true(sim_mmu_check(as));
	accel_close(ctx);
	sim_mm_forget(as);
	mmput(as);
	accel_destroy(dev);
	shutdown_clean();
}

/* ---- computing where memory is ---- */

static void test_device_sim_computes_on_system_memory(void **state)
{
	u64 sum, words = 4 * PAGE_SIZE / 8;

	dev_up((struct accel_config){ .dma_threads = 1 }, false);
	map_anon(0, 16);
	put64(0, 5);
	/* the device fills what nobody has touched, and adds to what the CPU has written */
	assert_int_equal(job(ACCEL_FILL, 4, 0, 4, 7, NULL), 0);
	assert_int_equal(get64(5), 7);
	assert_int_equal(job(ACCEL_ADD, 0, 0, 8, 10, NULL), 0);
	assert_int_equal(get64(0), 15);
	assert_int_equal(get64(5), 17);
	assert_int_equal(job(ACCEL_REDUCE, 0, 4, 4, 0, &sum), 0);
	assert_int_equal(sum, 17 * words);
	assert_int_equal(job(ACCEL_COPY, 12, 4, 4, 0, NULL), 0);
	assert_int_equal(get64(15), 17);
	assert_true(stat().faults > 0);
	assert_int_equal(stat().to_device, 0);
	/* not mapped, and not writable */
	assert_int_equal(job(ACCEL_FILL, 20, 0, 1, 1, NULL), -EFAULT);
	assert_int_equal(vm_mprotect(as, at(0), 4 * PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(job(ACCEL_FILL, 0, 0, 1, 1, NULL), -EPERM);
	assert_int_equal(job(ACCEL_REDUCE, 0, 0, 1, 0, &sum), 0);
	/* and after munmap the mirror has nothing */
	assert_int_equal(vm_munmap(as, at(0), 16 * PAGE_SIZE), 0);
	assert_int_equal(job(ACCEL_REDUCE, 0, 0, 1, 0, &sum), -EFAULT);
	dev_down();
}

/* ---- on the device ---- */

COVERS("S1.19 S1.31 S1.34 S1.42");
static void test_device_sim_memory_goes_and_comes_back(void **state)
{
	unsigned long nr = 2 * LEAF_PAGES;
	u64 sum;

	for (unsigned int mode = 0; mode < 8; mode++) {
		bool coherent = mode & 1;

		dev_up((struct accel_config){ .gather = mode & 4, .dma_threads = mode & 2 },
		       coherent);
		as->folio_orders = mode & 2 ? 1u << LEAF_ORDER : 1;
		map_anon(0, nr);
		for (unsigned long i = 0; i < nr; i++)
			put64(i, i);
		assert_int_equal(accel_migrate(ctx, at(0), nr << PAGE_SHIFT), nr);
		assert_int_equal(stat().to_device, nr);
		if (mode & 6)
			assert_int_equal(stat().folios_to_device[LEAF_ORDER], 2);
		else
			assert_int_equal(stat().folios_to_device[0], nr);
		assert_int_equal(job(ACCEL_ADD, 0, 0, nr, 1000, NULL), 0);
		assert_int_equal(stat().cpu_faults, 0);
		assert_true(octavo_validate());
		/* a CPU touches one page */
		assert_int_equal(get64(3), 1003);
		if (coherent)
			assert_int_equal(stat().cpu_faults, 0);
		else
			assert_int_equal(stat().to_system, mode & 6 ? LEAF_PAGES : 1);
		put64(3, 3);
		assert_int_equal(job(ACCEL_REDUCE, 0, 3, 1, 0, &sum), 0);
		assert_int_equal(sum, 3 + 1000 * (PAGE_SIZE / 8 - 1));
		accel_migrate_back(ctx, at(0), nr << PAGE_SHIFT);
		for (unsigned long i = 0; i < nr; i++)
			assert_int_equal(get64(i), i == 3 ? 3 : 1000 + i);
		assert_int_equal(stat().pages_free, OCTAVO_TABLE_BITS == 9
							    ? PAGES_PER_SECTION
							    : 16 * PAGES_PER_SECTION);
		dev_down();
	}
}

COVERS("S1.28");
static void test_device_sim_prefetches_holes(void **state)
{
	unsigned long nr = 2 * LEAF_PAGES;

	for (unsigned int coherent = 0; coherent < 2; coherent++) {
		dev_up((struct accel_config){ 0 }, coherent);
		map_anon(0, nr);
		assert_int_equal(job(ACCEL_PREFETCH, 0, 0, nr, 0, NULL), 0);
		assert_int_equal(stat().folios_to_device[LEAF_ORDER], 2);
		assert_int_equal(job(ACCEL_ADD, 0, 0, nr, 3, NULL), 0);
		assert_int_equal(get64(nr - 1), 3);
		assert_int_equal(get64(0), 3);
		dev_down();
	}
}

/* What reaches out of a block keeps it from being one, but not what lies before it. */
static void test_device_sim_gathers_what_fits(void **state)
{
	dev_up((struct accel_config){ .gather = true }, false);
	map_anon(17, 8);
	for (unsigned long i = 0; i < 3; i++)
		put64(17 + i, i);
	as->folio_orders = 1u << 1;
	put64(20, 3);
	put64(21, 4);
	assert_int_equal(vm_mremap(as, at(17), 8 * PAGE_SIZE, 8 * PAGE_SIZE,
				   MREMAP_MAYMOVE | MREMAP_FIXED, at(0)),
			 at(0));
	assert_int_equal(folio_order(folio_at(3)), 1);
	/* pages 0 and 1; 2; 3 and 4 */
	assert_int_equal(accel_migrate(ctx, at(0), 5 * PAGE_SIZE), 5);
	assert_int_equal(stat().folios_to_device[0], 1);
	assert_int_equal(stat().folios_to_device[1], 2);
	for (unsigned long i = 0; i < 5; i++)
		assert_int_equal(get64(i), i);
	dev_down();
}

static void test_device_sim_fault_brings_memory(void **state)
{
	dev_up((struct accel_config){ .migrates = true, .dma_threads = 1 }, false);
	map_anon(0, 8);
	put64(2, 9);
	assert_int_equal(job(ACCEL_ADD, 2, 0, 1, 1, NULL), 0);
	assert_int_equal(stat().to_device, 1);
	assert_int_equal(get64(2), 10);
	assert_int_equal(stat().to_system, 1);
	dev_down();
}

/* ---- full ---- */

static void test_device_sim_evicts_when_it_is_full(void **state)
{
	unsigned long mem = 2 * LEAF_PAGES, nr = 4 * LEAF_PAGES;

	dev_up((struct accel_config){ .pages = mem, .dma_threads = 1 }, false);
	as->folio_orders = 1u << LEAF_ORDER;
	map_anon(0, nr);
	for (unsigned long i = 0; i < nr; i++)
		put64(i, i);
	for (unsigned int round = 0; round < 3; round++) {
		/* what comes first has gone before it is come to again */
		assert_int_equal(accel_migrate(ctx, at(0), nr << PAGE_SHIFT), nr);
		assert_int_equal(job(ACCEL_ADD, 0, 0, nr, 1000, NULL), 0);
		assert_true(stat().evicted >= nr - mem);
		assert_true(octavo_validate() && accel_validate(dev));
	}
	for (unsigned long i = 0; i < nr; i++)
		assert_int_equal(get64(i), 3000 + i);
	dev_down();
}

/* Memory that no number of windows fills is all of the device's: what is at its end goes back too. */
COVERS("S1.32");
static void test_device_sim_evicts_what_is_at_the_end(void **state)
{
	static const unsigned long pages[] = { 1, LEAF_PAGES - 1, LEAF_PAGES + 1,
					       2 * LEAF_PAGES + LEAF_PAGES / 2 + 3 };

	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++) {
		unsigned long nr = pages[i];

		dev_up((struct accel_config){ .pages = nr }, false);
		map_anon(0, nr);
		for (unsigned long page = 0; page < nr; page++)
			put64(page, page);
		assert_int_equal(accel_migrate(ctx, at(0), nr << PAGE_SHIFT), nr);
		assert_int_equal(stat().pages_free, 0);
		assert_int_equal(accel_evict(dev, nr), nr);
		assert_int_equal(stat().pages_free, nr);
		for (unsigned long page = 0; page < nr; page++)
			assert_int_equal(get64(page), page);
		dev_down();
	}
}

/* ---- alone ---- */

static void test_device_sim_exclusive_access(void **state)
{
	struct mm_struct *child;
	int err;

	dev_up((struct accel_config){ 0 }, false);
	as->folio_orders = 1u << LEAF_ORDER;
	map_anon(0, LEAF_PAGES);
	put64(1, 5);
	assert_int_equal(job(ACCEL_ATOMIC, 1, 0, 1, 1, NULL), 0);
	assert_int_equal(swp_type(pte_to_swp_entry(entry(1))), SWP_DEVICE_EXCLUSIVE);
	assert_int_equal(stat().exclusive, 1);
	assert_true(octavo_validate());
	/* the CPU ends it */
	assert_int_equal(get64(1), 6);
	assert_true(pte_present(entry(1)) && pte_write(entry(1)));
	put64(1, 60);
	assert_int_equal(job(ACCEL_ATOMIC, 1, 0, 1, 1, NULL), 0);
	assert_int_equal(stat().exclusive, 2);
	/* so does fork, and each has its own then */
	child = mm_fork(as, &err);
	assert_non_null(child);
	assert_int_equal(get64(1), 61);
	assert_int_equal(job(ACCEL_ATOMIC, 1, 0, 1, 1, NULL), 0);
	sim_mm_use(child);
	assert_int_equal(get64(1), 61);
	sim_mm_use(as);
	sim_mm_forget(child);
	mmput(child);
	assert_int_equal(get64(1), 62);
	/* what the device has for itself is unmapped, moved and migrated like anything else */
	assert_int_equal(job(ACCEL_ATOMIC, 2, 0, 2, 1, NULL), 0);
	assert_int_equal(vm_mremap(as, at(2), PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
				   at(4 * LEAF_PAGES)),
			 at(4 * LEAF_PAGES));
	assert_int_equal(get64(4 * LEAF_PAGES), 1);
	assert_int_equal(vm_munmap(as, at(3), PAGE_SIZE), 0);
	assert_int_equal(job(ACCEL_ATOMIC, 3, 0, 1, 1, NULL), -EFAULT);
	/* its own memory is the device's alone anyway */
	put64(4, 0);
	assert_int_equal(accel_migrate(ctx, at(4), PAGE_SIZE), 1);
	assert_int_equal(job(ACCEL_ATOMIC, 4, 0, 1, 1, NULL), 0);
	assert_int_equal(stat().exclusive, 5);
	assert_int_equal(get64(4), 1);
	dev_down();
}

/* ---- errors ---- */

COVERS("S1.33 S1.42");
static void test_device_sim_errors(void **state)
{
	unsigned long nr = 2 * LEAF_PAGES;
	u64 v;

	dev_up((struct accel_config){ .dma_threads = 1 }, false);
	as->folio_orders = 1u << LEAF_ORDER;
	map_anon(0, nr);
	for (unsigned long i = 0; i < nr; i++)
		put64(i, i);
	/* no large folio there: the source is split */
	accel_inject(dev, ACCEL_NO_LARGE, ~0u);
	assert_int_equal(accel_migrate(ctx, at(0), nr << PAGE_SHIFT), nr);
	assert_int_equal(stat().folios_to_device[0], nr);
	accel_migrate_back(ctx, at(0), nr << PAGE_SHIFT);
	accel_inject(dev, ACCEL_NO_LARGE, 0);
	/* nor, on the way back, here: the one on the device is */
	assert_int_equal(vm_munmap(as, at(0), nr << PAGE_SHIFT), 0);
	map_anon(0, nr);
	for (unsigned long i = 0; i < nr; i++)
		put64(i, i);
	assert_int_equal(accel_migrate(ctx, at(0), nr << PAGE_SHIFT), nr);
	accel_inject(dev, ACCEL_NO_LARGE, ~0u);
	assert_int_equal(get64(3), 3);
	assert_true(stat().splits > 0);
	accel_inject(dev, ACCEL_NO_LARGE, 0);
	/* a copy fails: that one stays */
	accel_migrate_back(ctx, at(0), nr << PAGE_SHIFT);
	accel_inject(dev, ACCEL_COPY_FAILS, 1);
	assert_true(accel_migrate(ctx, at(0), nr << PAGE_SHIFT) < (long)nr);
	assert_int_equal(stat().copies_failed, 1);
	/* a CPU cannot have it back */
	accel_migrate(ctx, at(0), nr << PAGE_SHIFT);
	accel_inject(dev, ACCEL_FAULT_BACK_FAILS, 1);
	assert_int_equal(sim_load64(at(nr - 1), &v), VM_FAULT_SIGBUS);
	accel_inject(dev, ACCEL_COPY_FAILS, 1);
	assert_int_equal(sim_load64(at(nr - 1), &v), VM_FAULT_SIGBUS);
	/* the device loses its tables */
	accel_reset(dev);
	assert_int_equal(job(ACCEL_ADD, 0, 0, nr, 1, NULL), 0);
	for (unsigned long i = 0; i < nr; i++)
		assert_int_equal(get64(i), i + 1);
	dev_down();
}

#if OCTAVO_FAULTS
/* Memory that could not be had for one page can be had for the next: which does not make the piece there larger than fits. */
COVERS("S1.27 S1.42");
static void test_device_sim_no_memory_for_a_moment(void **state)
{
	for (u32 k = 1, hit = 1; hit; k++) {
		dev_up((struct accel_config){ .pages = 64 }, false);
		as->folio_orders = 1u << 2;
		map_anon(0, 8);
		for (unsigned long i = 0; i < 8; i++)
			put64(i, i);
		/* the first piece is to be a page, for which there is no descriptor */
		accel_inject(dev, ACCEL_NO_LARGE, 2);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_SLAB);
		assert_true(accel_migrate(ctx, at(0), 8 << PAGE_SHIFT) >= 0);
		hit = octavo_fault_disarm();
		assert_true(octavo_validate() && accel_validate(dev));
		for (unsigned long i = 0; i < 8; i++)
			assert_int_equal(get64(i), i);
		dev_down();
	}
}
#endif

/* ---- what else touches page tables ---- */

COVERS("S1.24 S1.35 S1.36 S1.38");
static void test_device_sim_entries_are_mapped_memory(void **state)
{
	unsigned long nr = 2 * LEAF_PAGES, half = LEAF_PAGES / 2;
	struct mm_struct *child;
	unsigned char vec[1];
	int err;

	dev_up((struct accel_config){ 0 }, false);
	as->folio_orders = 1u << LEAF_ORDER;
	map_anon(0, nr);
	for (unsigned long i = 0; i < nr; i++)
		put64(i, i);
	assert_int_equal(accel_migrate(ctx, at(0), nr << PAGE_SHIFT), nr);
	/* part of a leaf goes, part moves, part is protected */
	assert_int_equal(vm_munmap(as, at(half), PAGE_SIZE), 0);
	assert_int_equal(vm_mremap(as, at(half + 1), PAGE_SIZE, PAGE_SIZE,
				   MREMAP_MAYMOVE | MREMAP_FIXED, at(4 * LEAF_PAGES)),
			 at(4 * LEAF_PAGES));
	assert_int_equal(vm_mprotect(as, at(half + 2), PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(vm_mincore(as, at(0), PAGE_SIZE, vec), 0);
	assert_true(octavo_validate());
	child = mm_fork(as, &err);
	assert_non_null(child);
	assert_true(octavo_validate());
	assert_int_equal(job(ACCEL_ADD, LEAF_PAGES, 0, LEAF_PAGES, 1000, NULL), 0);
	assert_int_equal(get64(half - 1), half - 1);
	assert_int_equal(get64(4 * LEAF_PAGES), half + 1);
	assert_int_equal(get64(half + 2), half + 2);
	assert_int_equal(get64(nr - 1), 1000 + nr - 1);
	put64(0, 99);
	sim_mm_use(child);
	assert_int_equal(get64(0), 0);
	assert_int_equal(get64(half - 1), half - 1);
	assert_int_equal(get64(4 * LEAF_PAGES), half + 1);
	assert_int_equal(get64(nr - 1), nr - 1);
	assert_true(mm_validate(child));
	sim_mm_use(as);
	sim_mm_forget(child);
	mmput(child);
	assert_int_equal(get64(0), 99);
	dev_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_device_sim_computes_on_system_memory),
		TEST(test_device_sim_memory_goes_and_comes_back),
		TEST(test_device_sim_prefetches_holes),
		TEST(test_device_sim_gathers_what_fits),
		TEST(test_device_sim_fault_brings_memory),
		TEST(test_device_sim_evicts_when_it_is_full),
		TEST(test_device_sim_evicts_what_is_at_the_end),
#if OCTAVO_FAULTS
		TEST(test_device_sim_no_memory_for_a_moment),
#endif
		TEST(test_device_sim_exclusive_access),
		TEST(test_device_sim_errors),
		TEST(test_device_sim_entries_are_mapped_memory),
	};

	return cmocka_run_group_tests_name("device_sim-" TEST_VARIANT, tests, NULL, NULL);
}
