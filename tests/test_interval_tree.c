/* SPDX-License-Identifier: MIT */
/*
 * test_interval_tree.c - the interval tree against an array that is searched from end to end.
 */
#include "test.h"

#include <octavo/interval_tree.h>

static u64 seed;

static u64 rnd(u64 below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

#define NODES 400
static struct interval_tree tree;
static struct interval_node nodes[NODES];
static bool in_tree[NODES];
static u64 inserted_at[NODES], clock_now;

static int reset(void **state)
{
	memset(&tree, 0, sizeof(tree));
	memset(nodes, 0, sizeof(nodes));
	memset(in_tree, 0, sizeof(in_tree));
	clock_now = 0;
	seed = 88172645463325252ull;
	return 0;
}

static void add(u32 i, unsigned long start, unsigned long last)
{
	nodes[i].start = start;
	nodes[i].last = last;
	interval_tree_insert(&tree, &nodes[i]);
	in_tree[i] = true;
	inserted_at[i] = ++clock_now;
}

static void del(u32 i)
{
	interval_tree_remove(&tree, &nodes[i]);
	in_tree[i] = false;
}

/* Is @a before @b: by start, then by time of insertion? */
static bool before(u32 a, u32 b)
{
	return nodes[a].start != nodes[b].start ? nodes[a].start < nodes[b].start
						: inserted_at[a] < inserted_at[b];
}

/* The model's next after @after (NODES: from the beginning) that overlaps; NODES: none. */
static u32 model_next(u32 after, unsigned long start, unsigned long last)
{
	u32 best = NODES;

	for (u32 i = 0; i < NODES; i++)
		if (in_tree[i] && nodes[i].start <= last && nodes[i].last >= start &&
		    start <= last && (after == NODES || before(after, i)) &&
		    (best == NODES || before(i, best)))
			best = i;
	return best;
}

static void compare(unsigned long start, unsigned long last)
{
	struct interval_node *n = interval_tree_first(&tree, start, last);
	u32 m = model_next(NODES, start, last);

	while (m != NODES) {
		assert_ptr_equal(n, &nodes[m]);
		m = model_next(m, start, last);
		n = interval_tree_next(n, start, last);
	}
	assert_null(n);
}

static void test_interval_tree_empty_and_edges(void **state)
{
	assert_true(interval_tree_validate(&tree));
	assert_null(interval_tree_first(&tree, 0, ~0ul));
	add(0, 0, 0);
	add(1, ~0ul, ~0ul);
	add(2, 5, 5);
	add(3, 0, ~0ul);
	compare(0, 0);
	compare(~0ul, ~0ul);
	compare(0, ~0ul);
	compare(5, 5);
	compare(4, 4);
	compare(6, 5);
	assert_true(interval_tree_validate(&tree));
	for (u32 i = 0; i < 4; i++) {
		del(i);
		assert_true(interval_tree_validate(&tree));
		compare(0, ~0ul);
	}
	assert_null(tree.root);
}

static void test_interval_tree_keeps_equal_ones_in_order(void **state)
{
	for (u32 i = 0; i < NODES; i++)
		add(i, 7, 7 + i % 3);
	compare(7, 7);
	compare(9, 9);
	for (u32 i = 0; i < NODES; i += 2)
		del(i);
	assert_true(interval_tree_validate(&tree));
	compare(8, 8);
}

/* Fibonacci: an AVL tree of n nodes is at most 1.4405 log2(n + 2) high. */
static void test_interval_tree_is_balanced(void **state)
{
	for (int order = 0; order < 3; order++) {
		reset(NULL);
		for (u32 i = 0; i < NODES; i++) {
			u32 at = order == 0 ? i : order == 1 ? NODES - i : (i * 199) % NODES;

			add(i, at, at);
			assert_true(interval_tree_validate(&tree));
		}
		assert_true(tree.root->height <= 12);
		for (u32 i = 0; i < NODES - 50; i++)
			del(i);
		assert_true(interval_tree_validate(&tree));
		assert_true(tree.root->height <= 8);
	}
}

static void test_interval_tree_against_an_array(void **state)
{
	for (u32 step = 0; step < 20000; step++) {
		u64 shape = step / 4000;
		unsigned long span = shape == 0 ? 20 : shape == 1 ? 1000 : 100000;
		unsigned long start = rnd(span), len = rnd(shape == 3 ? span : 16);
		u32 i = (u32)rnd(NODES);

		if (in_tree[i])
			del(i);
		else
			add(i, start, start + len);
		if (step % 8 == 0)
			assert_true(interval_tree_validate(&tree));
		if (step % 16 == 0) {
			start = rnd(span);
			compare(start, start + rnd(32));
		}
	}
	for (u32 i = 0; i < NODES; i++)
		if (in_tree[i]) {
			del(i);
			assert_true(interval_tree_validate(&tree));
		}
	assert_null(tree.root);
}

/* Each kind of damage is seen. */
static void test_interval_tree_validate_finds_damage(void **state)
{
	for (u32 i = 0; i < 20; i++)
		add(i, i, i);
	sim_log_quiet(true);
	for (int damage = 0; damage < 6; damage++) {
		struct interval_node *n = tree.root, saved = *n;
		struct interval_node *left = n->left;

		switch (damage) {
		case 0:
			n->height++;
			break;
		case 1:
			n->subtree_last++;
			break;
		case 2:
			n->start = n->last + 1;
			break;
		case 3:
			left->parent = &nodes[19];
			break;
		case 4:
			n->start = 0;
			break;
		case 5:
			n->parent = left;
			break;
		}
		assert_false(interval_tree_validate(&tree));
		*n = saved;
		left->parent = n;
		assert_true(interval_tree_validate(&tree));
	}
	sim_log_quiet(false);
	assert_true(sim_log_take(NULL) >= 6);
}

static void insert_backwards(void *arg)
{
	nodes[0].start = 2;
	nodes[0].last = 1;
	interval_tree_insert(&tree, &nodes[0]);
}

static void remove_again(void *arg)
{
	add(0, 1, 1);
	add(1, 2, 2);
	del(0);
	del(0);
}

static void remove_from_another(void *arg)
{
	struct interval_tree other = { NULL };

	add(0, 1, 1);
	interval_tree_remove(&other, &nodes[0]);
}

static void test_interval_tree_misuse_is_fatal(void **state)
{
	assert_non_null(strstr(sim_expect_panic(insert_backwards, NULL), "start"));
	reset(NULL);
	assert_non_null(strstr(sim_expect_panic(remove_again, NULL), "not in the tree"));
	reset(NULL);
	assert_non_null(strstr(sim_expect_panic(remove_from_another, NULL), "not in the tree"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_interval_tree_empty_and_edges, reset),
		cmocka_unit_test_setup(test_interval_tree_keeps_equal_ones_in_order, reset),
		cmocka_unit_test_setup(test_interval_tree_is_balanced, reset),
		cmocka_unit_test_setup(test_interval_tree_against_an_array, reset),
		cmocka_unit_test_setup(test_interval_tree_validate_finds_damage, reset),
		cmocka_unit_test_setup(test_interval_tree_misuse_is_fatal, reset),
	};

	return cmocka_run_group_tests_name("interval-tree-" TEST_VARIANT, tests, NULL, NULL);
}
