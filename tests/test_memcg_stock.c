// SPDX-License-Identifier: MIT
/*
 * test_memcg_stock.c - pages that CPUs have charged in advance: that they are used, counted, given back, and in nobody's way.
 */
#include "memcg_machine.h"

/* What the counters say, with stocks. */
static u64 counted(struct mem_cgroup *memcg)
{
	return READ_ONCE(memcg->memory.usage);
}

/* So many pages of the address space, used by another CPU, which keeps a stock. */
static void other_cpu_fills(unsigned long page, unsigned long nr)
{
	sim_set_cpu(1);
	sim_mm_use(as);
	fill(page, nr);
	sim_mm_forget(as);
	sim_set_cpu(0);
}

static void test_a_batch_at_a_time(void **state)
{
	up(0);
	map_anon(0, 256);
	put64(0, 1);
	assert_int_equal(stat_of(group).usage, 1);
	assert_int_equal(counted(group), STOCK_BATCH);
	for (unsigned long page = 1; page < STOCK_BATCH; page++)
		put64(page, 1);
	assert_int_equal(counted(group), STOCK_BATCH);
	put64(STOCK_BATCH, 1);
	assert_int_equal(counted(group), 2 * STOCK_BATCH);
	assert_true(octavo_validate());
	other_cpu_fills(128, 1);
	assert_int_equal(stat_of(group).usage, STOCK_BATCH + 2);
	assert_int_equal(counted(group), 3 * STOCK_BATCH);
	/* what is freed is not in stock */
	assert_int_equal(vm_munmap(as, at(0), 1 << PAGE_SHIFT), 0);
	assert_int_equal(counted(group), 3 * STOCK_BATCH - 1);
	mem_cgroup_drain();
	assert_int_equal(counted(group), STOCK_BATCH + 1);
	assert_true(octavo_validate());
	down();
}

/* Each group above has it too. */
static void test_levels(void **state)
{
	struct mem_cgroup *a, *b;
	struct mm_struct *mine;

	up(0);
	a = make(group);
	b = make(a);
	mine = use(mm_in(b));
	map_anon(0, 8);
	fill(0, 8);
	assert_int_equal(counted(group), STOCK_BATCH);
	assert_int_equal(stat_of(group).usage, 8);
	assert_int_equal(stat_of(a).usage, 8);
	assert_int_equal(stat_of(b).usage, 8);
	assert_true(octavo_validate());
	as_ends();
	/* the stock is all that is left of it, and keeps nothing */
	assert_int_equal(mem_cgroup_end(b), 0);
	assert_int_equal(mem_cgroup_end(a), 0);
	assert_int_equal(counted(group), 0);
	use(mine);
	down();
}

static void test_none_near_a_limit(void **state)
{
	up(0);
	map_anon(0, 64);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 2 * STOCK_BATCH - 1), 0);
	fill(0, 8);
	assert_int_equal(counted(group), 8);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, MEMCG_NONE), 0);
	assert_int_equal(mem_cgroup_set(group, MEMCG_HIGH, 2 * STOCK_BATCH - 1), 0);
	fill(8, 8);
	assert_int_equal(counted(group), 16);
	down();
}

/* With all of a limit in use, or in the stock of a CPU that does nothing, each page of it can still be had. */
static void test_what_others_have_can_be_had(void **state)
{
	const unsigned long limit = 4 * STOCK_BATCH;
	unsigned long page = 0;
	vm_fault_t ret = 0;

	up(0);
	map_anon(0, 512);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, limit), 0);
	other_cpu_fills(256, 1);
	assert_int_equal(counted(group), STOCK_BATCH);
	while (page < 256 && !(ret = sim_store64(at(page), 1)))
		page++;
	assert_int_equal(ret, VM_FAULT_OOM);
	assert_int_equal(page, limit - 1);
	assert_int_equal(stat_of(group).usage, limit);
	assert_true(octavo_validate());
	down();
}

/* The same of a sibling's, under the limit of the one above; and of pages that come back. */
static void test_what_siblings_have_can_be_had(void **state)
{
	const unsigned long limit = 4 * STOCK_BATCH;
	struct mem_cgroup *a, *b;
	struct mm_struct *mine, *first;
	unsigned long page = 0;

	up(0);
	a = make(group);
	b = make(group);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, limit), 0);
	mine = use(mm_in(a));
	first = two_filled(b, 1);
	assert_int_equal(counted(group), 2 * STOCK_BATCH);
	map_anon(256, 256);
	while (page < 256 && !sim_store64(at(256 + page), 1))
		page++;
	assert_int_equal(page, limit - 2);
	as_ends();
	use(first);
	as_ends();
	assert_int_equal(mem_cgroup_end(a), 0);
	assert_int_equal(mem_cgroup_end(b), 0);
	use(mine);
	down();
}

/* A large folio is asked for without waiting: stocks are looked into all the same. */
static void test_who_may_not_wait_has_them_too(void **state)
{
	up(0);
	map_anon(0, 512);
	other_cpu_fills(256, 1);
	assert_int_equal(counted(group), STOCK_BATCH);
	/* not by mem_cgroup_set(), which would empty it */
	WRITE_ONCE(group->limit[MEMCG_MAX], STOCK_BATCH + 2);
	WRITE_ONCE(as->folio_orders, 1u | 1u << 3);
	put64(0, 1);
	assert_int_equal(folio_order(folio_at(0)), 3);
	assert_int_equal(stat_of(group).usage, 9);
	assert_int_equal(stat_of(group).failed, 0);
	down();
}

static void test_lowering_a_limit_drains(void **state)
{
	up(0);
	map_anon(0, 512);
	other_cpu_fills(0, 3);
	fill(256, 3);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 6), 0);
	assert_int_equal(counted(group), 6);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 5), -EBUSY);
	down();
}

/* An end leaves pages, and whoever had a stock of it did not come by again. */
static void test_the_group_dies(void **state)
{
	struct page *pinned;

	up(0);
	map_anon(0, 512);
	other_cpu_fills(0, 3);
	fill(256, 3);
	assert_int_equal(pin_user_pages_fast(as, at(2), 1, FOLL_WRITE, &pinned), 1);
	as_ends();
	assert_int_equal(mem_cgroup_end(group), 0);
	assert_int_equal(counted(group), 1);
	unpin_user_page(pinned);
	memcg_reap();
	assert_true(list_empty(&octavo_state.reclaim.groups));
	group = NULL;
	down();
}

/* ---- two at once ---- */

static struct run {
	u32 failed, stop;
} run;

static void use_and_free(unsigned int cpu, void *arg)
{
	unsigned long first = cpu * 128;

	sim_mm_use(as);
	for (unsigned int turn = 0; turn < 60; turn++) {
		for (unsigned long page = 0; page < 50; page++)
			if (sim_store64(at(first + page), page))
				fetch_add_relaxed(&run.failed, 1u);
		if (turn % 7 == cpu)
			mem_cgroup_drain();
		if (turn % 5 == cpu)
			mem_cgroup_set(group, MEMCG_MAX, turn & 1 ? 100 : 400);
		assert_int_equal(vm_madvise(as, at(first), 50 << PAGE_SHIFT, MADV_DONTNEED), 0);
	}
	sim_mm_forget(as);
}

/* 100 pages are never too much, wherever they are. */
static void test_two_cpus_have_what_they_may(void **state)
{
	up(0);
	map_anon(0, 256);
	run = (struct run){ 0 };
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 100), 0);
	sim_mm_forget(as);
	sim_run(2, false, use_and_free, NULL);
	assert_int_equal(run.failed, 0);
	assert_int_equal(stat_of(group).failed, 0);
	sim_mm_use(as);
	assert_int_equal(stat_of(group).usage, 0);
	assert_true(octavo_validate());
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_batch_at_a_time),
		TEST(test_levels),
		TEST(test_none_near_a_limit),
		TEST(test_what_others_have_can_be_had),
		TEST(test_what_siblings_have_can_be_had),
		TEST(test_who_may_not_wait_has_them_too),
		TEST(test_lowering_a_limit_drains),
		TEST(test_the_group_dies),
		TEST(test_two_cpus_have_what_they_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
