// SPDX-License-Identifier: MIT
/*
 * test_memcg.c - groups: what is charged, to whom, what is refused, what is taken, and that nothing is left.
 */
#include "memcg_machine.h"

/* A group of which nobody would count anything is none. */
static void test_no_group_before_reclaim(void **state)
{
	int err = 0;

	boot_small(TEST_MIB, 2);
	assert_null(mem_cgroup_create(NULL, &err));
	assert_int_equal(err, -EINVAL);
	assert_int_equal(reclaim_init(), 0);
	assert_int_equal(mem_cgroup_end(make(NULL)), 0);
	shutdown_clean();
}

/* ---- what is charged ---- */

static void test_charged_until_freed(void **state)
{
	up(0);
	map_anon(0, 64);
	assert_int_equal(stat_of(group).usage, 0);
	fill(0, 10);
	assert_int_equal(stat_of(group).usage, 10);
	assert_int_equal(stat_of(group).folios, 10);
	/* the zero page is nobody's */
	assert_int_equal(get64(20), 0);
	assert_int_equal(stat_of(group).usage, 10);
	assert_int_equal(vm_munmap(as, at(0), 4 << PAGE_SHIFT), 0);
	assert_int_equal(stat_of(group).usage, 6);
	assert_true(octavo_validate());
	/* by runs */
	assert_int_equal(vm_madvise(as, at(32), 32 << PAGE_SHIFT, MADV_POPULATE_WRITE), 0);
	assert_int_equal(stat_of(group).usage, 38);
	/* with what was in stock */
	assert_true(stat_of(group).highest >= 38 && stat_of(group).highest <= 38 + 2 * STOCK_BATCH);
	as_ends();
	assert_int_equal(stat_of(group).usage, 0);
	down();
}

static void test_pieces_and_copies_are_charged(void **state)
{
	struct mm_struct *child;
	struct folio *folio;
	int err;

	up(0);
	WRITE_ONCE(as->folio_orders, 1u | 1u << 3);
	map_anon(0, 64);
	fill(0, 8);
	assert_int_equal(stat_of(group).usage, 8);
	assert_int_equal(stat_of(group).folios, 1);
	folio = folio_at(0);
	folio_get(folio);
	folio_lock(folio);
	assert_int_equal(split_folio_mapped(folio, 0, NULL), 0);
	folio_unlock(folio);
	folio_put(folio);
	assert_int_equal(stat_of(group).usage, 8);
	assert_int_equal(stat_of(group).folios, 8);
	/* moved */
	folio = folio_at(2);
	folio_get(folio);
	assert_int_equal(migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL), 0);
	folio_put(folio);
	assert_int_equal(stat_of(group).usage, 8);
	/* one again */
	assert_int_equal(collapse_range(as, at(0), 3, 0), 0);
	assert_int_equal(stat_of(group).usage, 8);
	assert_int_equal(stat_of(group).folios, 1);
	check(0, 8);
	/* copied on write, by a child in the same group */
	WRITE_ONCE(as->folio_orders, 1u);
	child = mm_fork(as, &err);
	assert_non_null(child);
	assert_int_equal(stat_of(group).usage, 8);
	put64(1, 5);
	assert_true(stat_of(group).usage > 8);
	assert_true(octavo_validate());
	mmput(child);
	down();
}

static void test_groups_above_have_it_too(void **state)
{
	struct mem_cgroup *a, *b;
	struct mm_struct *mm;

	up(0);
	a = make(group);
	b = make(a);
	mm = mm_in(b);
	map_anon(0, 4);
	fill(0, 4);
	as_ends();
	use(mm);
	map_anon(0, 8);
	fill(0, 8);
	assert_int_equal(stat_of(b).usage, 8);
	assert_int_equal(stat_of(a).usage, 8);
	assert_int_equal(stat_of(group).usage, 8);
	assert_int_equal(stat_of(a).folios, 0);
	assert_true(octavo_validate());
	assert_int_equal(mem_cgroup_end(a), -EBUSY);
	assert_int_equal(mem_cgroup_end(b), -EBUSY);
	as_ends();
	assert_int_equal(mem_cgroup_end(b), 0);
	assert_int_equal(mem_cgroup_end(a), 0);
	down();
}

/* ---- limits ---- */

static void test_max_without_swap_refuses(void **state)
{
	unsigned long page = 0;
	vm_fault_t ret = 0;

	up(0);
	map_anon(0, 256);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 100), 0);
	while (page < 256 && !(ret = sim_store64(at(page), 1000 + page)))
		page++;
	assert_int_equal(ret, VM_FAULT_OOM);
	assert_int_equal(page, 100);
	assert_int_equal(stat_of(group).usage, 100);
	assert_true(stat_of(group).failed > 0);
	check(0, 100);
	/* what is given back can be had again */
	assert_int_equal(vm_munmap(as, at(0), 1 << PAGE_SHIFT), 0);
	assert_int_equal(sim_store64(at(100), 1100), 0);
	down();
}

static void test_max_with_swap_swaps(void **state)
{
	up(1024);
	map_anon(0, 512);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 100), 0);
	fill(0, 512);
	check(0, 512);
	check(0, 512);
	assert_true(stat_of(group).usage <= 100);
	assert_true(stat_of(group).highest <= 100);
	assert_true(stat_of(group).swap >= 412);
	assert_true(octavo_validate());
	/* smaller than what there is */
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 40), 0);
	assert_true(stat_of(group).usage <= 40);
	check(0, 512);
	as_ends();
	assert_int_equal(stat_of(group).swap, 0);
	down();
}

static void test_swap_max_keeps_the_rest_in_memory(void **state)
{
	up(1024);
	map_anon(0, 128);
	assert_int_equal(mem_cgroup_set(group, MEMCG_SWAP_MAX, 50), 0);
	fill(0, 128);
	mem_cgroup_reclaim(group, 128);
	assert_int_equal(stat_of(group).swap, 50);
	assert_int_equal(stat_of(group).usage, 78);
	check(0, 128);
	down();
}

static void test_high_slows_but_does_not_refuse(void **state)
{
	up(0);
	map_anon(0, 128);
	assert_int_equal(mem_cgroup_set(group, MEMCG_HIGH, 50), 0);
	fill(0, 128);
	assert_int_equal(stat_of(group).usage, 128);
	assert_true(stat_of(group).over_high > 0);
	down();
}

/* ---- whose ---- */

static void test_a_group_reclaims_its_own(void **state)
{
	struct mem_cgroup *other;
	struct mm_struct *mine;

	up(1024);
	other = make(NULL);
	mine = two_filled(other, 64);
	assert_true(mem_cgroup_reclaim(other, 64) >= 64);
	assert_int_equal(stat_of(other).usage, 0);
	assert_int_equal(stat_of(other).swap, 64);
	assert_int_equal(stat_of(group).usage, 64);
	check(0, 64);
	/* what is read back is charged where it was */
	assert_int_equal(stat_of(other).usage, 64);
	as_ends();
	assert_int_equal(mem_cgroup_end(other), 0);
	use(mine);
	check(0, 64);
	down();
}

static void test_protection(void **state)
{
	struct mem_cgroup *other;
	struct mm_struct *mine;

	up(1024);
	other = make(NULL);
	mine = two_filled(other, 64);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MIN, 64), 0);
	for (unsigned int i = 0; i < 8; i++)
		try_to_free_pages(__GFP_DIRECT_RECLAIM, 5, NUMA_NO_NODE);
	assert_int_equal(stat_of(group).usage, 64);
	assert_int_equal(stat_of(other).usage, 0);
	/* a low mark only helps as long as there is somebody else */
	check(0, 64);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MIN, 0), 0);
	assert_int_equal(mem_cgroup_set(group, MEMCG_LOW, 64), 0);
	try_to_free_pages(__GFP_DIRECT_RECLAIM, 5, NUMA_NO_NODE);
	assert_int_equal(stat_of(group).usage, 64);
	for (unsigned int i = 0; i < 8; i++)
		try_to_free_pages(__GFP_DIRECT_RECLAIM, 5, NUMA_NO_NODE);
	assert_int_equal(stat_of(group).usage, 0);
	as_ends();
	assert_int_equal(mem_cgroup_end(other), 0);
	use(mine);
	check(0, 64);
	down();
}

/* ---- beginnings and ends ---- */

static void test_joining(void **state)
{
	struct mem_cgroup *other;
	struct mm_struct *mm;

	up(0);
	other = make(NULL);
	/* once, and before anything is there */
	assert_int_equal(mm_join_memcg(as, other), -EBUSY);
	mm = mm_alloc();
	assert_int_equal(vm_mmap(mm, at(0), PAGE_SIZE, PROT_READ,
				 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0),
			 at(0));
	assert_int_equal(mm_join_memcg(mm, other), -EBUSY);
	mmput(mm);
	assert_int_equal(mem_cgroup_set(other, NR_MEMCG_LIMITS, 1), -EINVAL);
	assert_int_equal(mem_cgroup_end(other), 0);
	down();
}

/* A child of a fork in another group cannot be; but folios of a group outlive its last address space by who has references. */
static void test_a_group_outlives_its_end(void **state)
{
	struct mem_cgroup *other;
	struct page *pinned;
	int err;

	up(0);
	map_anon(0, 4);
	fill(0, 4);
	assert_int_equal(pin_user_pages_fast(as, at(2), 1, FOLL_WRITE, &pinned), 1);
	as_ends();
	assert_int_equal(stat_of(group).usage, 1);
	assert_int_equal(mem_cgroup_end(group), 0);
	group = NULL;
	/* it is there, and others do not get its number */
	other = mem_cgroup_create(NULL, &err);
	assert_non_null(other);
	assert_true(octavo_validate());
	unpin_user_page(pinned);
	assert_int_equal(mem_cgroup_end(other), 0);
	assert_true(list_empty(&octavo_state.reclaim.groups));
	down();
}

/* Folios that are put together: each group has back what is its own, and its descriptors; whatever lies beside them. */
static void test_put_together(void **state)
{
	enum { N = 300, EXTRA = 7 };
	struct mem_cgroup *other;
	struct folio *folios[N];
	struct mm_struct *mm[4];
	u64 pages[2] = { 0, 0 };
	u32 refs[N];

	up(0);
	other = make(NULL);
	mm[0] = mm_alloc();
	mm[1] = as;
	mm[2] = mm[3] = mm_in(other);
	for (unsigned int shape = 1; shape <= 3; shape++) {
		for (unsigned int i = 0; i < N; i++) {
			/* runs of 1, of some, and of more than are freed at once */
			struct mm_struct *of = mm[i / (shape == 1 ? 1 : shape == 2 ? 5 : 70) % 4];
			unsigned int order = i % 50 == 11 ? 2 : 0;

			folios[i] = of == mm[0] ? folio_alloc(GFP_KERNEL, order, FOLIO_ANON)
						: memcg_folio_alloc(of, GFP_KERNEL, order);
			assert_non_null(folios[i]);
			refs[i] = 1 + i % 3;
			folio_ref_add(folios[i], i % 3);
			if (of != mm[0])
				pages[of != as] += 1ul << order;
		}
		assert_int_equal(stat_of(group).usage, pages[0]);
		assert_int_equal(stat_of(other).usage, pages[1]);
		folio_get(folios[EXTRA]);
		folios_put_refs(folios, refs, N);
		assert_true(octavo_validate());
		pages[0] = pages[1] = 0;
		assert_int_equal(stat_of(group).usage + stat_of(other).usage,
				 folio_set_nr(folios[EXTRA]) != 0);
		folio_put(folios[EXTRA]);
		assert_int_equal(stat_of(group).usage, 0);
		assert_int_equal(stat_of(other).usage, 0);
	}
	mmput(mm[0]);
	mmput(mm[2]);
	assert_int_equal(mem_cgroup_end(other), 0);
	down();
}

static struct {
	const struct reclaim_upcalls *was;
	unsigned int times;
	u64 pages;
} told;

static void counts_uncharge(u32 set, u64 nr)
{
	told.times++;
	told.pages += nr;
	told.was->uncharge(set, nr);
}

/* A run of folios of one group, large or not, and the group hears of it once. */
static void test_put_together_told_once(void **state)
{
	enum { N = 40 };
	static struct reclaim_upcalls counting;
	struct mem_cgroup *other;
	struct mm_struct *mm[2];
	struct folio *folios[N];

	up(0);
	other = make(NULL);
	mm[0] = as;
	mm[1] = mm_in(other);
	told.was = octavo_state.upcalls.reclaim;
	counting = *told.was;
	counting.uncharge = counts_uncharge;
	octavo_state.upcalls.reclaim = &counting;
	for (unsigned int runs = 1; runs <= 4; runs++) {
		u64 pages = 0;

		for (unsigned int i = 0; i < N; i++) {
			unsigned int order = i % 3 == 0 ? 2 : i % 5 == 1 ? 3 : 0;

			folios[i] = memcg_folio_alloc(mm[i * runs / N % 2], GFP_KERNEL, order);
			assert_non_null(folios[i]);
			pages += 1ul << order;
		}
		told.times = 0;
		told.pages = 0;
		folios_put_refs(folios, NULL, N);
		assert_int_equal(told.times, runs);
		assert_int_equal(told.pages, pages);
		assert_int_equal(stat_of(group).usage + stat_of(other).usage, 0);
		assert_true(octavo_validate());
	}
	octavo_state.upcalls.reclaim = told.was;
	mmput(mm[1]);
	assert_int_equal(mem_cgroup_end(other), 0);
	down();
}

static void test_as_many_groups_as_there_can_be(void **state)
{
	struct mem_cgroup *all[64];
	unsigned int n = 0;
	int err = 0;

	boot_small(TEST_MIB, 2);
	assert_int_equal(reclaim_init(), 0);
	while (n < ARRAY_SIZE(all) && (all[n] = mem_cgroup_create(n ? all[n - 1] : NULL, &err)))
		n++;
	assert_true(n == ARRAY_SIZE(all) || err == -ENOSPC || err == -ENOMEM);
	while (n)
		assert_int_equal(mem_cgroup_end(all[--n]), 0);
	shutdown_clean();
}

#if OCTAVO_FAULTS
static void test_creation_fails_at_every_step(void **state)
{
	boot_small(TEST_MIB, 2);
	assert_int_equal(reclaim_init(), 0);
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
	{
		int err = 1;
		struct mem_cgroup *memcg = mem_cgroup_create(NULL, &err);

		hit = octavo_fault_disarm();
		if (memcg)
			assert_int_equal(mem_cgroup_end(memcg), 0);
		else
			assert_int_equal(err, -ENOMEM);
	}
	shutdown_clean();
}

/* A charge goes back when the memory it was for cannot be had. */
static void test_faults_fail_at_every_step(void **state)
{
	up(0);
	map_anon(0, 4);
	put64(0, 1);
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
	{
		vm_fault_t ret = mm_fault(as, at(1), FAULT_FLAG_WRITE);

		hit = octavo_fault_disarm();
		assert_true(ret == 0 || ret == VM_FAULT_OOM);
		assert_true(octavo_validate());
		assert_int_equal(vm_madvise(as, at(1), PAGE_SIZE, MADV_DONTNEED), 0);
		assert_int_equal(stat_of(group).usage, 1);
	}
	down();
}
#endif

/* ---- two at once ---- */

static void fill_and_check(unsigned int cpu, void *arg)
{
	unsigned long first = cpu * 256;

	sim_mm_use(as);
	for (unsigned int turn = 0; turn < 3; turn++) {
		fill(first, 256);
		check(first, 256);
	}
	sim_mm_forget(as);
}

static void test_two_cpus_at_the_limit(void **state)
{
	up(2048);
	map_anon(0, 512);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 200), 0);
	sim_mm_forget(as);
	sim_run(2, false, fill_and_check, NULL);
	assert_true(stat_of(group).highest <= 200);
	sim_mm_use(as);
	check(0, 512);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_no_group_before_reclaim),
		TEST(test_charged_until_freed),
		TEST(test_pieces_and_copies_are_charged),
		TEST(test_groups_above_have_it_too),
		TEST(test_max_without_swap_refuses),
		TEST(test_max_with_swap_swaps),
		TEST(test_swap_max_keeps_the_rest_in_memory),
		TEST(test_high_slows_but_does_not_refuse),
		TEST(test_a_group_reclaims_its_own),
		TEST(test_protection),
		TEST(test_joining),
		TEST(test_a_group_outlives_its_end),
		TEST(test_put_together),
		TEST(test_put_together_told_once),
		TEST(test_as_many_groups_as_there_can_be),
#if OCTAVO_FAULTS
		TEST(test_creation_fails_at_every_step),
		TEST(test_faults_fail_at_every_step),
#endif
		TEST(test_two_cpus_at_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
