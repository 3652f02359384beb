/* SPDX-License-Identifier: MIT */
/*
 * test_range_tree.c - range trees against an array with one element an address, and against readers.
 */
#include "test.h"

#include <octavo/range_tree.h>

static u64 seed;

static u64 rnd(u64 below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

/*
 * Nodes come from the C library and are counted. With nobody else running a grace period is over at once, so
 * free_rcu() keeps them until collect(): what a reader may still look at is not reused, and ASan sees later use.
 */
static struct {
	u64 allocated, freed, deferred;
	u64 allocs_left; /* then none; ~0: any number */
	struct range_node *garbage;
	bool real_rcu;
	void *ctx;
} mem;

static struct range_node *node_alloc(void *ctx)
{
	struct range_node *node;

	assert_ptr_equal(ctx, mem.ctx);
	if (mem.allocs_left == 0)
		return NULL;
	if (mem.allocs_left != ~0ull)
		mem.allocs_left--;
	node = malloc(sizeof(*node));
	memset(node, 0xa5, sizeof(*node));
	mem.allocated++;
	return node;
}

static void node_free(struct range_node *node)
{
	memset(node, 0x5a, sizeof(*node));
	free(node);
	mem.freed++;
}

static void node_free_callback(struct rcu_head *head)
{
	node_free(container_of(head, struct range_node, rcu));
}

static void node_free_rcu(struct range_node *node)
{
	mem.deferred++;
	if (mem.real_rcu) {
		call_rcu(&node->rcu, node_free_callback);
		return;
	}
	node->rcu.next = mem.garbage ? &mem.garbage->rcu : NULL;
	mem.garbage = node;
}

static void collect(void)
{
	while (mem.garbage) {
		struct range_node *node = mem.garbage;
		struct rcu_head *next = node->rcu.next;

		mem.garbage = next ? container_of(next, struct range_node, rcu) : NULL;
		node_free(node);
	}
}

static const struct range_tree_ops ops = { node_alloc, node_free, node_free_rcu };

/* ---- the model ---- */

#define SPAN 2000
static struct range_tree tree;
static void *model[SPAN]; /* what is at each address */
static u32 part_of[SPAN]; /* which store, or which trimmed part, it belongs to */
static u32 next_part;
static unsigned long base; /* address of model[0] */

static int reset(void **state)
{
	memset(&mem, 0, sizeof(mem));
	memset(model, 0, sizeof(model));
	memset(part_of, 0, sizeof(part_of));
	mem.allocs_left = ~0ull;
	mem.ctx = &mem;
	next_part = 0;
	base = 0;
	seed = 88172645463325252ull;
	range_tree_init(&tree, &ops, mem.ctx);
	return 0;
}

/* Empty, and every node is back. */
static int finish(void **state)
{
	range_tree_clear(&tree);
	assert_int_equal(range_tree_count(&tree), 0);
	assert_true(range_tree_validate(&tree));
	assert_null(tree.root);
	collect();
	assert_int_equal(mem.allocated, mem.freed);
	return 0;
}

static void model_store(u32 start, u32 end, void *entry)
{
	/* what sticks out behind is another entry from now on */
	if (end < SPAN && start > 0 && model[end] && part_of[start - 1] == part_of[end]) {
		u32 old = part_of[end], part = ++next_part;

		for (u32 i = end; i < SPAN && part_of[i] == old; i++)
			part_of[i] = part;
	}
	next_part++;
	for (u32 i = start; i < end; i++) {
		model[i] = entry;
		part_of[i] = entry ? next_part : 0;
	}
}

static void store(u32 start, u32 end, void *entry)
{
	model_store(start, end, entry);
	assert_int_equal(range_tree_prealloc(&tree, 1), 0);
	range_tree_store(&tree, base + start, base + end, entry);
}

static void model_bounds(u32 at, unsigned long *start, unsigned long *end)
{
	u32 s = at, e = at + 1;

	while (s > 0 && part_of[s - 1] == part_of[at])
		s--;
	while (e < SPAN && part_of[e] == part_of[at])
		e++;
	*start = base + s;
	*end = base + e;
}

static void check_at(u32 at)
{
	unsigned long s, e, ms, me;
	void *entry;

	assert_ptr_equal(range_tree_find(&tree, base + at), model[at]);
	entry = range_tree_find_first(&tree, base + at, base + at + 1, &s, &e);
	assert_ptr_equal(entry, model[at]);
	if (entry) {
		model_bounds(at, &ms, &me);
		assert_int_equal(s, ms);
		assert_int_equal(e, me);
	}
}

static void check_first(u32 start, u32 end)
{
	unsigned long s = 1, e = 2, ms, me;
	u32 at = start;
	void *entry = range_tree_find_first(&tree, base + start, base + end, &s, &e);

	while (at < end && !model[at])
		at++;
	if (at >= end) {
		assert_null(entry);
		assert_true(s == 1 && e == 2);
		return;
	}
	model_bounds(at, &ms, &me);
	assert_ptr_equal(entry, model[at]);
	assert_true(s == ms && e == me);
	assert_ptr_equal(range_tree_find_first(&tree, base + start, base + end, NULL, NULL), entry);
}

static void check_prev(u32 addr)
{
	unsigned long s = 1, e = 2, ms, me;
	void *entry = range_tree_prev(&tree, base + addr, &s, &e);
	u32 at = addr;

	/* an entry that goes on behind @addr does not end at or before it */
	while (at > 0 && (!model[at - 1] || (addr < SPAN && part_of[at - 1] == part_of[addr])))
		at--;
	if (at == 0) {
		assert_null(entry);
		assert_true(s == 1 && e == 2);
		return;
	}
	model_bounds(at - 1, &ms, &me);
	assert_ptr_equal(entry, model[at - 1]);
	assert_true(s == ms && e == me);
}

static void check_gap(u32 lo, u32 hi, u32 size, u32 align, bool topdown)
{
	unsigned long where = ~0ul, expected = ~0ul;
	int err = range_tree_find_gap(&tree, base + lo, base + hi, size, align, topdown, &where);
	u32 run = 0;

	/* place by place, each with as many free addresses as there are up to it */
	for (u32 i = lo; i < hi; i++) {
		run = model[i] ? 0 : run + 1;
		if (run < size)
			continue;
		for (u32 at = i + 1 - size; at == i + 1 - size; at++)
			if ((base + at) % align == 0 && (topdown || expected == ~0ul))
				expected = base + at;
	}
	assert_int_equal(err, expected == ~0ul ? -ENOMEM : 0);
	assert_int_equal(where, expected);
}

static void check_gaps(int n)
{
	while (n--) {
		u32 lo = (u32)rnd(SPAN), hi = lo + (u32)rnd(SPAN - lo) + 1;
		u32 size = 1 + (u32)rnd(n % 2 ? 8 : 60);

		check_gap(lo, hi, size, 1u << rnd(6), n % 3 != 0);
	}
	check_gap(0, SPAN, 1, 1, true);
	check_gap(0, SPAN, 1, 1, false);
}

static u64 model_count(void)
{
	u64 n = 0;

	for (u32 i = 0; i < SPAN; i++)
		n += model[i] && (i == 0 || part_of[i] != part_of[i - 1]);
	return n;
}

static void check_all(void)
{
	assert_true(range_tree_validate(&tree));
	assert_int_equal(range_tree_count(&tree), model_count());
	for (u32 i = 0; i < SPAN; i++) {
		check_at(i);
		check_prev(i);
	}
	check_prev(SPAN);
	check_gaps(50);
}

/* ---- tests ---- */

static char things[64];
#define THING(i) ((void *)&things[(i) % 64])

static void test_range_tree_empty(void **state)
{
	unsigned long where = 7;

	assert_null(range_tree_find(&tree, 0));
	assert_null(range_tree_find(&tree, ~0ul));
	assert_null(range_tree_find_first(&tree, 0, ~0ul, NULL, NULL));
	assert_null(range_tree_prev(&tree, ~0ul, NULL, NULL));
	assert_true(range_tree_validate(&tree));
	assert_int_equal(range_tree_find_gap(&tree, 0, ~0ul, ~0ul, 1, true, &where), 0);
	assert_int_equal(where, 0);
	assert_int_equal(range_tree_find_gap(&tree, 5, 100, 16, 16, true, &where), 0);
	assert_int_equal(where, 80);
	assert_int_equal(range_tree_find_gap(&tree, 5, 100, 16, 16, false, &where), 0);
	assert_int_equal(where, 16);
	/* erasing nothing needs nothing */
	range_tree_store(&tree, 0, ~0ul, NULL);
	assert_int_equal(mem.allocated, 0);
}

static void test_range_tree_trims_what_sticks_out(void **state)
{
	store(10, 20, THING(1));
	store(13, 15, THING(2)); /* both sides */
	assert_int_equal(range_tree_count(&tree), 3);
	check_all();
	store(12, 14, THING(3)); /* one of each */
	check_all();
	store(18, 30, THING(4));
	check_all();
	store(10, 11, NULL);
	check_all();
	store(0, 100, THING(5));
	assert_int_equal(range_tree_count(&tree), 1);
	check_all();
	store(50, 51, NULL);
	assert_int_equal(range_tree_count(&tree), 2);
	check_all();
	store(0, SPAN, NULL);
	assert_null(tree.root);
	check_all();
}

static void test_range_tree_bounds_of_the_number_line(void **state)
{
	unsigned long s, e, where = 0;

	assert_int_equal(range_tree_prealloc(&tree, 4), 0);
	range_tree_store(&tree, 0, ~0ul, THING(1));
	assert_ptr_equal(range_tree_find(&tree, 0), THING(1));
	assert_ptr_equal(range_tree_find(&tree, ~0ul - 1), THING(1));
	assert_null(range_tree_find(&tree, ~0ul));
	assert_ptr_equal(range_tree_prev(&tree, ~0ul, &s, &e), THING(1));
	assert_true(s == 0 && e == ~0ul);
	assert_null(range_tree_prev(&tree, ~0ul - 1, NULL, NULL));
	assert_null(range_tree_find_first(&tree, ~0ul, ~0ul, NULL, NULL));
	assert_int_equal(range_tree_find_gap(&tree, 0, ~0ul, 1, 1, true, &where), -ENOMEM);
	assert_int_equal(range_tree_find_gap(&tree, 0, ~0ul, 1, 1, false, &where), -ENOMEM);
	range_tree_store(&tree, ~0ul - 1, ~0ul, NULL);
	assert_int_equal(range_tree_find_gap(&tree, 0, ~0ul, 1, 1, false, &where), 0);
	assert_int_equal(where, ~0ul - 1);
	assert_int_equal(range_tree_find_gap(&tree, 0, ~0ul, 1, 1, true, &where), 0);
	assert_int_equal(where, ~0ul - 1);
	assert_int_equal(range_tree_find_gap(&tree, 0, ~0ul, 1, 4, true, &where), -ENOMEM);
	assert_int_equal(range_tree_find_gap(&tree, 0, ~0ul, 2, 1, true, &where), -ENOMEM);
	range_tree_store(&tree, 0, 1, NULL);
	assert_int_equal(range_tree_find_gap(&tree, 0, ~0ul, 1, 1ul << 63, true, &where), 0);
	assert_int_equal(where, 0);
	assert_true(range_tree_validate(&tree));
}

static void test_range_tree_gap_with_senseless_arguments(void **state)
{
	const unsigned long odd[] = {
		0, 1, 3, 0x1000, 1ul << 63, ~0ul >> 1, (~0ul >> 1) + 2, ~0ul - 1, ~0ul
	};
	unsigned long where;

	store(100, 200, THING(1));
	store(300, 400, THING(2));
#define EACH(v) for (u32 v = 0; v < ARRAY_SIZE(odd); v++)
	EACH(lo) EACH(hi) EACH(size) EACH(align)
	{
		for (int topdown = 0; topdown < 2; topdown++) {
			unsigned long l = odd[lo], h = odd[hi], n = odd[size], a = odd[align];
			int err;

			where = 12345;
			err = range_tree_find_gap(&tree, l, h, n, a, topdown, &where);
			if (err) {
				assert_int_equal(err, -ENOMEM);
				assert_int_equal(where, 12345);
				continue;
			}
			assert_true(n && n <= h && where >= l && where <= h - n);
			assert_int_equal(a ? where % a : 0, 0);
			assert_null(range_tree_find_first(&tree, where, where + n, NULL, NULL));
		}
	}
	/* no power of two, nothing wanted, or backwards: nothing */
	assert_int_equal(range_tree_find_gap(&tree, 0, 9, 1, 3, false, &where), -ENOMEM);
	assert_int_equal(range_tree_find_gap(&tree, 0, 9, 0, 1, false, &where), -ENOMEM);
	assert_int_equal(range_tree_find_gap(&tree, 9, 0, 1, 1, false, &where), -ENOMEM);
	assert_int_equal(range_tree_find_gap(&tree, 0, 9, 1, 0, false, &where), 0);
}

/* Stores of one shape after the other; all is looked at now and then. */
static void against_an_array(u32 steps, u32 look_every)
{
	for (u32 step = 0; step < steps; step++) {
		u32 phase = step / (steps / 8 + 1);
		u32 len = phase % 4 == 3 ? 1 + (u32)rnd(SPAN / 2) : 1 + (u32)rnd(8);
		u32 start = (u32)rnd(SPAN - len + 1);
		/* more and more entries, then fewer */
		bool erase = rnd(8) < (phase % 2 ? 5 : 1);

		if (phase == 6) {
			/* by ascending start: nodes are filled from one side */
			start = step % (SPAN / 2) * 2;
			len = 1 + step % 2;
		}
		store(start, start + len, erase ? NULL : THING(rnd(64)));
		if (step % look_every == 0) {
			check_all();
			collect();
		}
		if (step % 8 == 0) {
			u32 a = (u32)rnd(SPAN), b = a + (u32)rnd(SPAN - a);

			check_at(a);
			check_first(a, b);
			check_prev(a);
			check_gaps(1);
			assert_true(range_tree_validate(&tree));
		}
	}
	check_all();
}

static void test_range_tree_against_an_array(void **state)
{
	against_an_array(100000, 2500);
}

static void test_range_tree_against_an_array_at_the_end_of_the_line(void **state)
{
	base = ~0ul - SPAN;
	against_an_array(8000, 1000);
}

/* From empty to high and back by one entry at a time, from each side and from the middle. */
static void test_range_tree_grows_and_shrinks(void **state)
{
	for (int way = 0; way < 3; way++) {
		for (u32 i = 0; i < SPAN / 2; i++) {
			store(i * 2, i * 2 + 1, THING(i));
			assert_true(range_tree_validate(&tree));
		}
		check_all();
		for (u32 i = 0; i < SPAN / 2; i++) {
			u32 at = way == 0 ? i : way == 1 ? SPAN / 2 - 1 - i : i * 377 % (SPAN / 2);

			store(at * 2, at * 2 + 1, NULL);
			assert_true(range_tree_validate(&tree));
		}
		assert_null(tree.root);
		assert_int_equal(range_tree_count(&tree), 0);
		collect();
	}
}

static u32 height(void)
{
	return tree.root ? tree.root->level + 1 : 0;
}

/* 10,000 entries go in one store, which takes few nodes. */
static void test_range_tree_erases_many_without_copying_them(void **state)
{
	for (int way = 0; way < 4; way++) {
		const u32 n = 10000;
		u64 before;
		u32 high;

		assert_int_equal(range_tree_prealloc(&tree, n), 0);
		for (u32 i = 0; i < n; i++)
			range_tree_store(&tree, i * 16ul, i * 16ul + 8, THING(i));
		assert_int_equal(range_tree_count(&tree), n);
		range_tree_unreserve(&tree);
		collect();
		high = height();
		assert_int_equal(range_tree_prealloc(&tree, 1), 0);
		assert_true(tree.nr_reserve <= 3 * high + 1);
		before = tree.nr_reserve;
		switch (way) {
		case 0:
			range_tree_store(&tree, 0, n * 16ul, NULL);
			assert_int_equal(range_tree_count(&tree), 0);
			break;
		case 1:
			range_tree_store(&tree, 20, (n - 2) * 16ul + 4, NULL);
			assert_int_equal(range_tree_count(&tree), 2 + 2);
			break;
		case 2:
			range_tree_store(&tree, n * 4ul, n * 12ul, THING(1));
			assert_int_equal(range_tree_count(&tree), n / 2 + 1);
			break;
		case 3:
			range_tree_store(&tree, 1, n * 16ul, NULL);
			assert_int_equal(range_tree_count(&tree), 1);
			assert_int_equal(height(), 1);
			break;
		}
		assert_true(before - tree.nr_reserve <= 3 * high + 1);
		assert_true(range_tree_validate(&tree));
		/* each node that fell away was given back, and none twice */
		range_tree_clear(&tree);
		collect();
		assert_int_equal(mem.allocated, mem.freed);
	}
}

static void test_range_tree_prealloc_fails_at_every_step(void **state)
{
	for (u32 round = 0; round < 40; round++) {
		u32 had = tree.nr_reserve;
		u64 count = range_tree_count(&tree), allocated, k;
		int err;

		for (k = 0;; k++) {
			mem.allocs_left = k;
			allocated = mem.allocated - mem.freed;
			err = range_tree_prealloc(&tree, 3);
			if (!err)
				break;
			assert_int_equal(err, -ENOMEM);
			assert_int_equal(tree.nr_reserve, had);
			assert_int_equal(mem.allocated - mem.freed, allocated);
			assert_int_equal(range_tree_count(&tree), count);
			assert_true(range_tree_validate(&tree));
		}
		assert_true(round > 0 || k > 3);
		/* now they may not need one more */
		mem.allocs_left = 0;
		for (u32 i = 0; i < 3; i++) {
			u32 at = (u32)rnd(SPAN - 20);
			void *entry = rnd(4) ? THING(at) : NULL;

			model_store(at, at + 20, entry);
			range_tree_store(&tree, at, at + 20, entry);
		}
		/* there may be enough left already */
		collect();
		check_all();
	}
	mem.allocs_left = ~0ull;
	range_tree_unreserve(&tree);
	assert_int_equal(tree.nr_reserve, 0);
	assert_null(tree.reserve);
}

/* As many as were asked for, however high they make the tree. */
static void test_range_tree_prealloc_for_many_stores(void **state)
{
	for (u32 stores = 1; stores <= 700; stores += 1 + stores / 4) {
		assert_int_equal(range_tree_prealloc(&tree, stores), 0);
		mem.allocs_left = 0;
		for (u32 i = 0; i < stores; i++)
			range_tree_store(&tree, i * 10 + stores % 7, i * 10 + 3 + stores % 7,
					 THING(i));
		mem.allocs_left = ~0ull;
		assert_true(range_tree_validate(&tree));
		if (stores % 3 == 0) {
			assert_int_equal(range_tree_prealloc(&tree, 1), 0);
			range_tree_store(&tree, 0, ~0ul, NULL);
		}
		range_tree_unreserve(&tree);
		collect();
	}
}

static void store_without_reserve(void *arg)
{
	range_tree_store(&tree, 1, 2, THING(1));
}

static void store_backwards(void *arg)
{
	range_tree_store(&tree, 2, 1, NULL);
}

static void store_nothing(void *arg)
{
	range_tree_store(&tree, 2, 2, NULL);
}

static void test_range_tree_misuse_is_fatal(void **state)
{
	assert_non_null(strstr(sim_expect_panic(store_without_reserve, NULL), "in reserve"));
	assert_non_null(strstr(sim_expect_panic(store_backwards, NULL), "start >= end"));
	assert_non_null(strstr(sim_expect_panic(store_nothing, NULL), "start >= end"));
}

static void test_range_tree_validate_finds_damage(void **state)
{
	for (u32 i = 0; i < 60; i++)
		store(i * 10, i * 10 + 5, THING(i));
	assert_true(height() > 1);
	sim_log_quiet(true);
	for (int damage = 0; damage < 8; damage++) {
		struct range_node *root = tree.root, *leaf = root;
		struct range_node saved_root = *root, saved_leaf;
		u64 count = tree.count;

		while (leaf->level)
			leaf = leaf->ptr[1];
		saved_leaf = *leaf;
		switch (damage) {
		case 0:
			root->aux[1]++;
			break;
		case 1:
			root->end[0]++;
			break;
		case 2:
			leaf->aux[0] = leaf->end[0];
			break;
		case 3:
			leaf->ptr[0] = NULL;
			break;
		case 4:
			leaf->nr = 1;
			break;
		case 5:
			tree.count++;
			break;
		case 6:
			leaf->aux[1] = leaf->end[0] - 1;
			break;
		case 7:
			root->nr = 1;
			break;
		}
		assert_false(range_tree_validate(&tree));
		*root = saved_root;
		*leaf = saved_leaf;
		tree.count = count;
		assert_true(range_tree_validate(&tree));
	}
	sim_log_quiet(false);
	assert_true(sim_log_take(NULL) >= 8);
}

/*
 * CPU 0 stores, the others read under RCU. Each entry is a cell that says which addresses it may be found
 * at, so whatever a reader finds must say that it belongs there; two cells that are only ever stored
 * together, in one store that replaces an entry by one as large, are never seen missing.
 */
static struct {
	struct range_tree tree;
	u32 stop, wrong;
	unsigned long reads;
} stress;

/* Entries are addresses in themselves: (start / 64 + 1) * 16 + a generation. Never looked into. */
static void *cell(unsigned long slot, u32 generation)
{
	return (void *)((slot + 1) * 16 + generation % 16);
}

#define SLOTS 200

static void stress_write(void)
{
	struct range_tree *t = &stress.tree;

	for (u32 round = 0; round < 20000; round++) {
		unsigned long slot = rnd(SLOTS);

		if (range_tree_prealloc(t, 2))
			WRITE_ONCE(stress.wrong, 1u);
		switch (rnd(4)) {
		case 0: /* a run, all erased but the first and last slot */
			range_tree_store(t, 64, 64 + 64 * slot + 1, NULL);
			break;
		case 1: /* a hole in the middle */
			range_tree_store(t, 64 + 64 * slot, 128 + 64 * slot, cell(slot, round));
			range_tree_store(t, 64 + 64 * slot + 20, 64 + 64 * slot + 40, NULL);
			break;
		default:
			range_tree_store(t, 64 + 64 * slot, 128 + 64 * slot, cell(slot, round));
		}
		/* the first is always there */
		if (round % 16 == 0)
			range_tree_store(t, 0, 64, cell(0, round));
	}
	WRITE_ONCE(stress.stop, 1u);
}

static bool stress_read(u64 *r)
{
	const struct range_tree *t = &stress.tree;
	unsigned long addr, s = 0, e = 0, where;
	void *entry;
	bool good = true;

	*r = *r * 6364136223846793005ull + 1442695040888963407ull;
	addr = (*r >> 33) % (64 * SLOTS);
	rcu_read_lock();
	entry = range_tree_find(t, 64 + addr);
	good &= !entry || (unsigned long)entry / 16 == addr / 64 + 1;
	entry = range_tree_find_first(t, 64 + addr, ~0ul, &s, &e);
	good &= !entry || (s < e && e > 64 + addr && (unsigned long)entry / 16 == s / 64);
	good &= range_tree_find(t, addr % 64) != NULL;
	entry = range_tree_prev(t, 64 + addr, &s, &e);
	good &= entry && e <= 64 + addr && s < e;
	if (!range_tree_find_gap(t, addr, ~0ul, 30, 1, false, &where))
		good &= where >= 64 && where >= addr;
	else
		good = false;
	rcu_read_unlock();
	return good;
}

static void stress_one(unsigned int cpu, void *arg)
{
	u64 r = cpu;
	unsigned long reads = 0;

	if (cpu == 0) {
		stress_write();
		return;
	}
	do {
		if (!stress_read(&r))
			WRITE_ONCE(stress.wrong, 2u);
		reads++;
	} while (!READ_ONCE(stress.stop));
	fetch_add_relaxed(&stress.reads, reads);
}

static void test_range_tree_readers_against_a_writer(void **state)
{
	boot_small(16, 4);
	memset(&stress, 0, sizeof(stress));
	mem.real_rcu = true;
	range_tree_init(&stress.tree, &ops, mem.ctx);
	assert_int_equal(range_tree_prealloc(&stress.tree, 1), 0);
	range_tree_store(&stress.tree, 0, 64, cell(0, 0));
	sim_run(3, false, stress_one, NULL);
	assert_int_equal(stress.wrong, 0);
	assert_true(stress.reads >= 2);
	assert_true(range_tree_validate(&stress.tree));
	rcu_barrier();
	range_tree_clear(&stress.tree);
	rcu_barrier();
	assert_true(mem.deferred > 20000);
	assert_int_equal(mem.allocated, mem.freed);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, reset, finish)
		T(test_range_tree_empty),
		T(test_range_tree_trims_what_sticks_out),
		T(test_range_tree_bounds_of_the_number_line),
		T(test_range_tree_gap_with_senseless_arguments),
		T(test_range_tree_against_an_array),
		T(test_range_tree_against_an_array_at_the_end_of_the_line),
		T(test_range_tree_grows_and_shrinks),
		T(test_range_tree_erases_many_without_copying_them),
		T(test_range_tree_prealloc_fails_at_every_step),
		T(test_range_tree_prealloc_for_many_stores),
		T(test_range_tree_misuse_is_fatal),
		T(test_range_tree_validate_finds_damage),
		T(test_range_tree_readers_against_a_writer),
	};

	return cmocka_run_group_tests_name("range-tree-" TEST_VARIANT, tests, NULL, NULL);
}
