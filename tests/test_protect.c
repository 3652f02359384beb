/* SPDX-License-Identifier: MIT */
/*
 * test_protect.c - entries that get another protection: what may be written to afterwards, and what a CPU may still do.
 */
#include "../mm/space/vma.h"
#include "range_machine.h"

static pte_t before[RANGE_PAGES];
static bool exclusive_before[RANGE_PAGES];

static void look(void)
{
	take_entries(as, 0, RANGE_PAGES, before);
	for (unsigned long i = 0; i < RANGE_PAGES; i++)
		exclusive_before[i] = folio_of(before[i]) && exclusive_in(as, i);
}

/*
 * The area's flags and what entries get, without splitting the area: what is between @first and @first + @nr then
 * differs from the rest. Return: what change_protection() said.
 */
static long protect(struct vm_area_struct *vma, unsigned long first, unsigned long nr,
		    unsigned long prot)
{
	const vm_flags_t bits = VM_READ | VM_WRITE | VM_EXEC;
	struct mmu_gather tlb;
	vm_flags_t flags = 0;
	long changed;

	if (prot & PROT_READ)
		flags |= VM_READ;
	if (prot & PROT_WRITE)
		flags |= VM_WRITE | VM_READ;
	if (prot & PROT_EXEC)
		flags |= VM_EXEC;
	mmap_write_lock(as);
	vma_start_write(vma);
	vm_stat_account(as, vma->vm_flags, -(long)vma_pages(vma));
	vma_set_flags(vma, (vma->vm_flags & ~bits) | flags);
	vm_stat_account(as, vma->vm_flags, (long)vma_pages(vma));
	tlb_gather_mmu(&tlb, as);
	changed = change_protection(&tlb, vma, at(first), at(first + nr));
	tlb_finish_mmu(&tlb);
	mmap_write_unlock(as);
	return changed;
}

/* What an entry must be now, but for what hardware adds. */
static pte_t expected(const struct vm_area_struct *vma, pte_t e, bool is_exclusive)
{
	swp_entry_t entry = pte_to_swp_entry(e);
	bool write = vma->vm_flags & VM_WRITE;
	pte_t new;

	if (pte_is_swap(e) && swp_type(entry) == SWP_MIGRATION_WRITE && !write)
		return swp_entry_to_pte(swp_entry(SWP_MIGRATION_READ_EXCLUSIVE, swp_offset(entry)));
	if (!pte_present(e))
		return e;
	new = pte_modify(e, vma->vm_page_prot);
	if (write && (pte_write(e) || (is_exclusive && pte_dirty(e))))
		new = pte_mkwrite(new);
	return new;
}

static long check_protected(const struct vm_area_struct *vma, unsigned long first, unsigned long nr)
{
	long changed = 0;

	for (unsigned long i = 0; i < RANGE_PAGES; i++) {
		bool in = i >= first && i < first + nr;
		pte_t now = entry_in(as, i), old = before[i];
		pte_t want = in ? expected(vma, old, exclusive_before[i]) : old;

		assert_true(pte_same(now, want));
		if (in && !is_leaf_in(as, i))
			changed += !pte_same(want, old);
		if (in && is_leaf_in(as, i) && !(i % TABLE_PAGES))
			changed += !pte_same(want, old);
		if (folio_of(now)) {
			assert_true(!pte_write(now) || exclusive_in(as, i));
			/* the bit of a leaf that became a table is everybody's */
			assert_int_equal(exclusive_in(as, i), exclusive_before[i]);
		}
	}
	return changed;
}

/*
 * Every present entry lets a CPU do what it says and no more, whatever the CPU did before: one try each,
 * and only what is spurious may fail the first time.
 */
static void check_access(unsigned long first, unsigned long nr)
{
	for (unsigned long i = first; i < first + nr; i++) {
		pte_t e = entry_in(as, i);
		u64 val;

		if (!pte_present(e))
			continue;
		if (pte_protnone(e)) {
			assert_int_not_equal(sim_mmu_try(at(i), SIM_LOAD, &val), SIM_OK);
			continue;
		}
		if (pte_write(e)) {
			val = contents(e);
			if (sim_mmu_try(at(i), SIM_STORE, &val) != SIM_OK)
				assert_int_equal(sim_mmu_try(at(i), SIM_STORE, &val), SIM_OK);
		} else {
			assert_int_not_equal(sim_mmu_try(at(i), SIM_STORE, &val), SIM_OK);
		}
	}
}

static const unsigned long prots[] = {
	PROT_READ,
	PROT_READ | PROT_WRITE,
	PROT_NONE,
	PROT_READ | PROT_EXEC,
	PROT_READ | PROT_WRITE | PROT_EXEC,
};

/* From any protection to any, whole areas of everything. */
COVERS("S2.30");
static void test_protect_everything(void **state)
{
	range_boot();
	for (unsigned int round = 0; round < 60; round++) {
		struct vm_area_struct *vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);

		rnd_seed(round);
		fill_range(vma, 0, RANGE_PAGES, true);
		for (unsigned int n = 0; n < 4; n++) {
			long changed;

			touch_range(0, RANGE_PAGES);
			look();
			changed = protect(vma, 0, RANGE_PAGES, prots[rnd(ARRAY_SIZE(prots))]);
			assert_int_equal(changed, check_protected(vma, 0, RANGE_PAGES));
			check_placed(NULL, 0, RANGE_PAGES);
			check_all();
			check_access(0, RANGE_PAGES);
		}
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		forget_placed();
		check_all();
	}
	range_down();
}

/* A part of an area, through the call: neighbours are as before, areas and leaves are cut. */
static void test_protect_a_part(void **state)
{
	range_boot();
	for (unsigned int round = 0; round < 60; round++) {
		unsigned long first, nr, prot = prots[round % ARRAY_SIZE(prots)];
		struct vm_area_struct *vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);

		rnd_seed(round + 500);
		fill_range(vma, 0, RANGE_PAGES, true);
		touch_range(0, RANGE_PAGES);
		look();
		first = rnd(RANGE_PAGES);
		nr = 1 + rnd(RANGE_PAGES - first);
		assert_int_equal(vm_mprotect(as, at(first), nr << PAGE_SHIFT, prot), 0);
		vma = area_of(as, first);
		check_protected(vma, first, prot == (PROT_READ | PROT_WRITE) ? 0 : nr);
		check_placed(NULL, 0, RANGE_PAGES);
		check_all();
		check_access(0, RANGE_PAGES);
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		forget_placed();
	}
	range_down();
}

/* After fork nothing that two have becomes writable, however often it is allowed. */
COVERS("S2.30");
static void test_protect_keeps_shared_pages_shared(void **state)
{
	struct vm_area_struct *vma;
	struct mm_struct *child;
	int err;

	range_boot();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	for (unsigned int order = 0; order <= MAX_ORDER; order++)
		place_anon(vma, 1ul << order, order, 0, min(1ul << order, 4ul), 0);
	place_leaf(vma, 2 * TABLE_PAGES, 0);
	touch_range(0, RANGE_PAGES);
	child = mm_fork(as, &err);
	assert_non_null(child);
	for (unsigned int n = 0; n < 3; n++) {
		protect(vma, 0, RANGE_PAGES, n == 1 ? PROT_NONE : PROT_READ);
		protect(vma, 0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		for (unsigned long i = 0; i < RANGE_PAGES; i++)
			assert_false(pte_write(entry_in(as, i)) && pte_present(entry_in(as, i)));
		check_all();
	}
	mmput(child);
	range_down();
}

/* Dirt that a CPU adds is never lost, and eight at a time are eight. */
static void test_protect_keeps_dirt(void **state)
{
	struct vm_area_struct *vma;
	u64 val;

	range_boot();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	for (unsigned long i = 0; i < RANGE_PAGES; i++)
		place_anon(vma, i, 0, 0, 1, PLACE_CLEAN | PLACE_OLD);
	for (unsigned long i = 0; i < RANGE_PAGES; i += 3)
		assert_int_equal(sim_mmu_try(at(i), SIM_STORE, &val), SIM_OK);
	for (unsigned int n = 0; n < ARRAY_SIZE(prots); n++) {
		protect(vma, 0, RANGE_PAGES, prots[n]);
		for (unsigned long i = 0; i < RANGE_PAGES; i++) {
			assert_int_equal(pte_dirty(entry_in(as, i)), i % 3 == 0);
			/* what is clean has to tell, and faults for it */
			if (n == 1)
				assert_int_equal(pte_write(entry_in(as, i)), i % 3 == 0);
		}
	}
	check_all();
	range_down();
}

/* Only what is restricted is flushed. */
static void test_protect_flushes_restrictions_only(void **state)
{
	struct sim_mmu_stat a, b;
	struct vm_area_struct *vma;

	range_boot();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	for (unsigned long i = 0; i < TABLE_PAGES; i++)
		place_anon(vma, i, 0, 0, 1, 0);
	touch_range(0, TABLE_PAGES);
	protect(vma, 0, RANGE_PAGES, PROT_READ);
	touch_range(0, TABLE_PAGES);
	sim_mmu_stat(&a);
	assert_int_equal(protect(vma, 0, RANGE_PAGES, PROT_READ | PROT_WRITE), TABLE_PAGES);
	assert_int_equal(protect(vma, 0, RANGE_PAGES, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(protect(vma, 0, RANGE_PAGES, PROT_READ | PROT_WRITE | PROT_EXEC),
			 TABLE_PAGES);
	sim_mmu_stat(&b);
	assert_int_equal(a.flushes, b.flushes);
	check_all();
	check_access(0, TABLE_PAGES);
	range_down();
}

/* The zero page, plain pages and frames, shared and not. */
COVERS("S0.22 SX.2");
static void test_protect_what_is_no_folio(void **state)
{
	struct vm_area_struct *vma;
	struct page *block;

	range_boot();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	for (unsigned long i = 0; i < 20; i++)
		place_zero(vma, i);
	protect(vma, 0, RANGE_PAGES, PROT_READ);
	protect(vma, 0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	for (unsigned long i = 0; i < 20; i++)
		assert_false(pte_write(entry_in(as, i)));
	assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
	for (unsigned int private = 0; private < 2; private ++) {
		vma = map_file(0, RANGE_PAGES, PROT_READ | PROT_WRITE,
			       private ? MAP_PRIVATE : MAP_SHARED);
		block = alloc_pages(GFP_KERNEL, 4);
		page_set_mappable(block, true);
		mmap_write_lock(as);
		for (unsigned long i = 0; i < 16; i++)
			assert_int_equal(vm_insert_page(vma, at(i), block + i), 0);
		mmap_write_unlock(as);
		touch_range(0, 16);
		protect(vma, 0, RANGE_PAGES, PROT_READ);
		check_all();
		for (unsigned long i = 0; i < 16; i++)
			assert_false(pte_write(entry_in(as, i)));
		protect(vma, 0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		for (unsigned long i = 0; i < 16; i++)
			assert_int_equal(pte_write(entry_in(as, i)), !private);
		check_all();
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		put_page(block);
	}
	range_down();
}

#if OCTAVO_FAULTS
/* The table that stands in for a leaf is missing: -ENOMEM, and nothing has changed. */
static void test_protect_part_of_leaf_without_memory(void **state)
{
	u32 failed = 0;

	range_boot();
	for (u32 k = 1, hit = 1; hit; k++) {
		struct vm_area_struct *vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		int err;

		place_leaf(vma, TABLE_PAGES, 0);
		touch_range(0, RANGE_PAGES);
		look();
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
		err = vm_mprotect(as, at(TABLE_PAGES + 2), 3 * PAGE_SIZE, PROT_READ);
		hit = octavo_fault_disarm();
		if (err) {
			assert_int_equal(err, -ENOMEM);
			failed++;
		}
		check_protected(area_of(as, TABLE_PAGES + 2), TABLE_PAGES + 2, err ? 0 : 3);
		check_placed(NULL, 0, RANGE_PAGES);
		check_all();
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		forget_placed();
	}
	assert_true(failed > 0);
	range_down();
}
#endif

/* A CPU that reads and writes all the time meets nothing but what the area allows. */
#define BUSY_PAGES 32u

static struct {
	u32 stop, loads;
} busy;

static void use_and_protect(unsigned int cpu, void *arg)
{
	if (cpu == 1) {
		sim_mm_use(as);
		for (u64 n = 1; !READ_ONCE(busy.stop); n++)
			for (unsigned long i = 0; i < BUSY_PAGES; i++) {
				vm_fault_t f = sim_store64(at(i), n);
				u64 val = 0;

				assert_true(f == 0 || f == VM_FAULT_SIGSEGV);
				assert_int_equal(sim_load64(at(i), &val), 0);
				/* what was stored before is there */
				assert_true(val == n || (f && val < n));
				WRITE_ONCE(busy.loads, busy.loads + 1);
			}
		sim_mm_forget(as);
		return;
	}
	while (!READ_ONCE(busy.loads))
		octavo_port_relax();
	for (unsigned int round = 0; round < 200; round++) {
		u64 first[BUSY_PAGES], now;

		assert_int_equal(vm_mprotect(as, at(0), BUSY_PAGES << PAGE_SHIFT, PROT_READ), 0);
		for (unsigned long i = 0; i < BUSY_PAGES; i++)
			first[i] = READ_ONCE(*(u64 *)pfn_to_virt(pte_pfn(entry_in(as, i))));
		for (unsigned int n = 0; n < 20; n++)
			octavo_port_relax();
		for (unsigned long i = 0; i < BUSY_PAGES; i++) {
			now = READ_ONCE(*(u64 *)pfn_to_virt(pte_pfn(entry_in(as, i))));
			assert_int_equal(now, first[i]);
		}
		assert_int_equal(
			vm_mprotect(as, at(0), BUSY_PAGES << PAGE_SHIFT, PROT_READ | PROT_WRITE),
			0);
	}
	WRITE_ONCE(busy.stop, 1u);
}

static void test_protect_against_a_cpu_that_stores(void **state)
{
	range_boot();
	memset(&busy, 0, sizeof(busy));
	map_area(0, BUSY_PAGES, PROT_READ | PROT_WRITE);
	for (unsigned long i = 0; i < BUSY_PAGES; i++)
		assert_int_equal(sim_store64(at(i), 0), 0);
	sim_run(2, false, use_and_protect, NULL);
	sim_set_cpu(0);
	sim_mm_use(as);
	range_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_protect_everything),
		TEST(test_protect_a_part),
		TEST(test_protect_keeps_shared_pages_shared),
		TEST(test_protect_keeps_dirt),
		TEST(test_protect_flushes_restrictions_only),
		TEST(test_protect_what_is_no_folio),
#if OCTAVO_FAULTS
		TEST(test_protect_part_of_leaf_without_memory),
#endif
		TEST(test_protect_against_a_cpu_that_stores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
