// SPDX-License-Identifier: MIT
/*
 * test_memcg_protect.c - what groups may keep when others are in need: trees whose numbers can be checked by hand, and that reclaim goes by them.
 */
#include "memcg_machine.h"

/* A group with marks that uses so much, with all that is above it. */
static struct mem_cgroup *node(struct mem_cgroup *parent, u64 usage, u64 min, u64 low)
{
	struct mem_cgroup *memcg = make(parent);

	memcg_charge_force(memcg, usage);
	assert_int_equal(mem_cgroup_set(memcg, MEMCG_MIN, min), 0);
	assert_int_equal(mem_cgroup_set(memcg, MEMCG_LOW, low), 0);
	return memcg;
}

static void node_ends(struct mem_cgroup *memcg, u64 usage)
{
	memcg_uncharge(memcg, usage);
	assert_int_equal(mem_cgroup_end(memcg), 0);
}

/* What a group keeps of what it uses. */
static u64 keeps(struct mem_cgroup *memcg, struct mem_cgroup *top, bool low)
{
	u64 spare;

	memcg_protection_begin(top);
	spare = memcg_spare(memcg, top, low);
	assert_true(spare <= READ_ONCE(memcg->memory.usage));
	return READ_ONCE(memcg->memory.usage) - spare;
}

static void trees_up(void)
{
	boot_small(TEST_MIB, 2);
	assert_int_equal(reclaim_init(), 0);
}

static void test_alone(void **state)
{
	struct mem_cgroup *g;

	trees_up();
	g = node(NULL, 100, 40, 70);
	assert_int_equal(keeps(g, NULL, false), 40);
	assert_int_equal(keeps(g, NULL, true), 70);
	/* it cannot keep what it does not use */
	mem_cgroup_set(g, MEMCG_MIN, MEMCG_NONE);
	assert_int_equal(keeps(g, NULL, false), 100);
	/* nor against a reclaim of itself */
	memcg_protection_begin(g);
	assert_int_equal(memcg_spare(g, g, true), ~(u64)0);
	/* a low mark below the min mark adds nothing */
	mem_cgroup_set(g, MEMCG_MIN, 50);
	mem_cgroup_set(g, MEMCG_LOW, 10);
	assert_int_equal(keeps(g, NULL, true), 50);
	node_ends(g, 100);
	shutdown_clean();
}

/* Children claim less than their parent may keep: each has its claim, and no more. */
static void test_undercommitted(void **state)
{
	struct mem_cgroup *p, *a, *b, *none;

	trees_up();
	p = node(NULL, 0, 90, 0);
	a = node(p, 50, 30, 0);
	b = node(p, 20, 40, 0);
	none = node(p, 60, 0, 0);
	assert_int_equal(keeps(p, NULL, false), 90);
	assert_int_equal(keeps(a, NULL, false), 30);
	assert_int_equal(keeps(b, NULL, false), 20);
	assert_int_equal(keeps(none, NULL, false), 0);
	node_ends(none, 60);
	node_ends(b, 20);
	node_ends(a, 50);
	node_ends(p, 0);
	shutdown_clean();
}

/* More: the parts of it that their claims are of the sum. */
static void test_overcommitted(void **state)
{
	struct mem_cgroup *p, *a, *b, *none;

	trees_up();
	p = node(NULL, 0, 60, 60);
	a = node(p, 90, 90, 0);
	b = node(p, 50, 30, 200);
	none = node(p, 40, 0, 0);
	/* min: 90 and 30 of 60 */
	assert_int_equal(keeps(a, NULL, false), 45);
	assert_int_equal(keeps(b, NULL, false), 15);
	assert_int_equal(keeps(none, NULL, false), 0);
	/* low: 50 of 60 for b, all that it uses */
	assert_int_equal(keeps(b, NULL, true), 50);
	assert_int_equal(keeps(a, NULL, true), 45);
	/* by a reclaim of the parent each has all of its claim: nothing above counts */
	assert_int_equal(keeps(a, p, false), 90);
	assert_int_equal(keeps(b, p, false), 30);
	/* it follows use: b uses more, and has more */
	mem_cgroup_set(b, MEMCG_MIN, 200);
	memcg_charge_force(b, 40);
	assert_int_equal(keeps(a, NULL, false), 30);
	assert_int_equal(keeps(b, NULL, false), 30);
	memcg_uncharge(b, 40);
	node_ends(none, 40);
	node_ends(b, 50);
	node_ends(a, 90);
	node_ends(p, 0);
	shutdown_clean();
}

static void test_nested(void **state)
{
	struct mem_cgroup *p, *a, *b, *a1, *a2;

	trees_up();
	p = node(NULL, 0, 80, 0);
	a = node(p, 0, 120, 0);
	b = node(p, 40, 40, 0);
	a1 = node(a, 60, 60, 0);
	a2 = node(a, 60, 20, 0);
	/* 120 and 40 of 80; then 60 and 20 of 60 */
	assert_int_equal(keeps(a, NULL, false), 60);
	assert_int_equal(keeps(b, NULL, false), 20);
	assert_int_equal(keeps(a1, NULL, false), 45);
	assert_int_equal(keeps(a2, NULL, false), 15);
	assert_int_equal(keeps(a1, p, false), 60);
	assert_int_equal(keeps(a2, p, false), 20);
	/* nothing protected above: nothing below */
	mem_cgroup_set(p, MEMCG_MIN, 0);
	assert_int_equal(keeps(a1, NULL, false), 0);
	assert_int_equal(keeps(b, NULL, false), 0);
	/* or in between */
	mem_cgroup_set(p, MEMCG_MIN, 80);
	mem_cgroup_set(a, MEMCG_MIN, 0);
	assert_int_equal(keeps(a1, NULL, false), 0);
	assert_int_equal(keeps(b, NULL, false), 40);
	node_ends(a2, 60);
	node_ends(a1, 60);
	node_ends(a, 0);
	node_ends(b, 40);
	node_ends(p, 0);
	shutdown_clean();
}

static void test_numbers_that_do_not_divide(void **state)
{
	struct mem_cgroup *p, *c[3];
	u64 sum = 0;

	trees_up();
	/* as large as words of pages get; and shares never add up to more than there is */
	p = node(NULL, 0, (1ull << 38) + 7, 0);
	for (unsigned int i = 0; i < 3; i++)
		c[i] = node(p, (1ull << 38) + i, MEMCG_NONE, 0);
	for (unsigned int i = 0; i < 3; i++) {
		u64 k = keeps(c[i], NULL, false);

		assert_true(k <= ((1ull << 38) + 7) / 3 + (1 << 16));
		assert_true(k >= ((1ull << 38) + 7) / 3 - (1 << 16));
		sum += k;
	}
	assert_true(sum <= (1ull << 38) + 7 + (3 << 16));
	for (unsigned int i = 0; i < 3; i++)
		node_ends(c[i], (1ull << 38) + i);
	node_ends(p, 0);
	/* nobody uses anything */
	p = node(NULL, 0, 5, 5);
	c[0] = node(p, 0, 5, 5);
	assert_int_equal(keeps(c[0], NULL, true), 0);
	node_ends(c[0], 0);
	node_ends(p, 0);
	shutdown_clean();
}

/* Two siblings whose parent may keep half of what they use together. */
static void test_reclaim_goes_by_it(void **state)
{
	struct mem_cgroup *parent, *a, *b;
	struct mm_struct *mine, *first;

	up(1024);
	parent = make(NULL);
	a = make(parent);
	b = make(parent);
	mine = use(mm_in(a));
	first = two_filled(b, 96);
	assert_int_equal(mem_cgroup_set(parent, MEMCG_MIN, 64), 0);
	assert_int_equal(mem_cgroup_set(a, MEMCG_MIN, 96), 0);
	assert_int_equal(mem_cgroup_set(b, MEMCG_MIN, 32), 0);
	mem_cgroup_drain();
	for (unsigned int i = 0; i < 16; i++)
		try_to_free_pages(__GFP_DIRECT_RECLAIM, 5, NUMA_NO_NODE);
	/*
	 * 96 and 32 claimed of 64: 48 and 16 to begin with. As they shrink so do claims, a's first: in the end the claims are what
	 * is used, and their sum is what the parent keeps.
	 */
	assert_int_equal(stat_of(parent).usage, 64);
	assert_true(stat_of(a).usage >= 32 && stat_of(a).usage <= 48);
	assert_true(stat_of(b).usage >= 16 && stat_of(b).usage <= 32);
	/* of the parent's own pages nothing is protected against itself, and all of what children claim is */
	mem_cgroup_reclaim(parent, 64);
	assert_int_equal(stat_of(parent).usage, 64);
	assert_int_equal(mem_cgroup_set(a, MEMCG_MIN, 10), 0);
	assert_int_equal(mem_cgroup_set(b, MEMCG_MIN, 0), 0);
	mem_cgroup_reclaim(parent, 64);
	assert_int_equal(stat_of(a).usage, 10);
	assert_int_equal(stat_of(b).usage, 0);
	check(0, 96);
	as_ends();
	use(first);
	check(0, 96);
	as_ends();
	assert_int_equal(mem_cgroup_end(a), 0);
	assert_int_equal(mem_cgroup_end(b), 0);
	assert_int_equal(mem_cgroup_end(parent), 0);
	use(mine);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_alone),
		TEST(test_undercommitted),
		TEST(test_overcommitted),
		TEST(test_nested),
		TEST(test_numbers_that_do_not_divide),
		TEST(test_reclaim_goes_by_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
