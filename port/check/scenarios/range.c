/* SPDX-License-Identifier: MIT */
/*
 * range.c - lib/range_tree.c: readers against a writer, and against the reuse of nodes.
 *
 * An entry is a number; which range it may be found with never changes. Nodes come from a pool of the scenario that
 * hands out what was freed last, so that a reader which stays too long sees its node become another.
 */
#include <octavo/range_tree.h>

#include "check.h"

#define POOL 24

static SHARED struct {
	struct range_tree t;
	struct range_node pool[POOL];
	u32 unused; /* of the pool, never used */
	struct range_node *freed;
	u32 lock; /* of the pool: callbacks run on any CPU */
	u64 nr_free;
} s;

static void pool_lock(void)
{
	/* acquire: pairs with the release in pool_unlock() */
	while (cmpxchg_acquire(&s.lock, 0u, 1u))
		octavo_port_relax();
}

static void pool_unlock(void)
{
	/* release: pairs with the acquire in pool_lock() */
	smp_store_release(&s.lock, 0u);
}

static struct range_node *pool_alloc(void *ctx)
{
	struct range_node *node;

	pool_lock();
	node = s.freed;
	if (node)
		s.freed = node->ptr[0];
	else if (s.unused < POOL)
		node = &s.pool[s.unused++];
	else
		node = NULL;
	if (node)
		s.nr_free--;
	pool_unlock();
	return node;
}

static void pool_free(struct range_node *node)
{
	pool_lock();
	node->ptr[0] = s.freed;
	s.freed = node;
	s.nr_free++;
	pool_unlock();
}

static void pool_free_callback(struct rcu_head *head)
{
	pool_free(container_of(head, struct range_node, rcu));
}

static void pool_free_rcu(struct range_node *node)
{
	call_rcu(&node->rcu, pool_free_callback);
}

static const struct range_tree_ops ops = { pool_alloc, pool_free, pool_free_rcu };

#define ENTRY(n) ((void *)((n)*16ul))

static void set(unsigned long start, unsigned long end, void *entry)
{
	CHECK(range_tree_prealloc(&s.t, 1) == 0);
	range_tree_store(&s.t, start, end, entry);
}

static void setup(u32 entries)
{
	s.nr_free = POOL;
	range_tree_init(&s.t, &ops, NULL);
	for (u32 i = 0; i < entries; i++)
		set(i * 100, i * 100 + 50, ENTRY(i + 1));
	rcu_barrier();
	range_tree_unreserve(&s.t);
}

static void done(void)
{
	CHECK(range_tree_validate(&s.t));
	rcu_barrier();
	range_tree_clear(&s.t);
	CHECK(s.nr_free == POOL);
}

/* ---- split, erase, merge ---- */

static void one_leaf(void)
{
	setup(3);
	CHECK(range_tree_prealloc(&s.t, 2) == 0);
}

/* A hole in entry 2, which makes five: a leaf of four becomes two and a root. */
static void splitter(void)
{
	range_tree_store(&s.t, 120, 130, ENTRY(9));
}

static void merger(void)
{
	range_tree_store(&s.t, 120, 130, ENTRY(9));
	range_tree_store(&s.t, 100, 150, ENTRY(2));
}

static void eraser(void)
{
	range_tree_store(&s.t, 100, 150, NULL);
}

static void reader(void)
{
	unsigned long start, end;
	void *e;

	rcu_read_lock();
	e = range_tree_find(&s.t, 125);
	CHECK(!e || e == ENTRY(2) || e == ENTRY(9));
	e = range_tree_find_first(&s.t, 110, 250, &start, &end);
	if (e == ENTRY(2))
		CHECK(start == 100 && (end == 150 || end == 120));
	else
		CHECK(e == ENTRY(3) && start == 200 && end == 250);
	/* never touched */
	CHECK(range_tree_find(&s.t, 249) == ENTRY(3));
	rcu_read_unlock();
}

#define RANGE(id, text, prepare, write, read, ...)                  \
	SCENARIO(id) = { SCENARIO_NAME(id),                         \
			 .about = text,                             \
			 .setup = prepare,                          \
			 .threads = { write, read, __VA_ARGS__ },   \
			 .roles = { "writer", "reader", "reader" }, \
			 .finish = done,                            \
			 .flags = SC_SYMMETRIC }

RANGE(range_split, "range tree: readers while a leaf is split", one_leaf, splitter, reader, reader);
RANGE(range_merge, "range tree: readers while the tree grows and shrinks again", one_leaf, merger,
      reader);
RANGE(range_erase, "range tree: readers while an entry is erased", one_leaf, eraser, reader,
      reader);

/* ---- many at once ---- */

static void three_leaves(void)
{
	setup(8);
	CHECK(s.t.root->level >= 1);
	CHECK(range_tree_prealloc(&s.t, 1) == 0);
}

static void wiper(void)
{
	range_tree_store(&s.t, 50, 650, NULL);
}

/* All of the store or nothing of it, in one version. */
static void wipe_reader(void)
{
	unsigned long start, end, where;
	void *e;

	rcu_read_lock();
	e = range_tree_find_first(&s.t, 60, 700, &start, &end);
	CHECK(e ? e == ENTRY(2) && start == 100 && end == 150 : true);
	e = range_tree_prev(&s.t, 700, &start, &end);
	CHECK((e == ENTRY(7) && end == 650) || (e == ENTRY(1) && end == 50));
	if (!range_tree_find_gap(&s.t, 0, 750, 60, 1, false, &where))
		CHECK(where == 50);
	rcu_read_unlock();
}

RANGE(range_wipe, "range tree: readers see all of a store over many entries, or nothing",
      three_leaves, wiper, wipe_reader, wipe_reader);

/* ---- reuse ---- */

static void one_entry(void)
{
	setup(1);
	CHECK(range_tree_prealloc(&s.t, 1) == 0);
}

/* The node of the first version may come back in the last: it has been freed if the grace period is over. */
static void reuser(void)
{
	for (u32 i = 2; i < 5; i++) {
		range_tree_store(&s.t, (i - 1) * 100, (i - 1) * 100 + 50, ENTRY(i));
		range_tree_unreserve(&s.t);
		poll_state_synchronize_rcu(get_state_synchronize_rcu());
		CHECK(range_tree_prealloc(&s.t, 1) == 0);
	}
}

static void reuse_reader(void)
{
	void *e;

	rcu_read_lock();
	CHECK(range_tree_find(&s.t, 10) == ENTRY(1));
	e = range_tree_find(&s.t, 110);
	CHECK(!e || e == ENTRY(2));
	rcu_read_unlock();
}

RANGE(range_reuse, "range tree: nobody is in a node that is used again", one_entry, reuser,
      reuse_reader, reuse_reader);

/* Frees what the writer gives back, at any moment. */
static void helper(void)
{
	poll_state_synchronize_rcu(get_state_synchronize_rcu());
	poll_state_synchronize_rcu(get_state_synchronize_rcu());
}

static void storer(void)
{
	range_tree_store(&s.t, 100, 150, ENTRY(2));
	CHECK(range_tree_prealloc(&s.t, 1) == 0);
}

SCENARIO(range_help) = { SCENARIO_NAME(range_help),
			 .about = "range tree: somebody else frees what the writer gives back",
			 .setup = one_entry,
			 .threads = { storer, reuse_reader, helper },
			 .roles = { "writer", "reader", "helper" },
			 .finish = done };

SCENARIO(range_wipe_help) = { SCENARIO_NAME(range_wipe_help),
			      .about = "range tree: somebody else frees many nodes at once",
			      .setup = three_leaves,
			      .threads = { wiper, wipe_reader, helper },
			      .roles = { "writer", "reader", "helper" },
			      .finish = done };

static void reader_without_rcu(void)
{
	CHECK(range_tree_find(&s.t, 10) == ENTRY(1));
}

SCENARIO(range_no_rcu) = { SCENARIO_NAME(range_no_rcu),
			   .about = "range tree: a reader that is in no RCU section",
			   .setup = one_entry,
			   .threads = { reuser, reader_without_rcu },
			   .roles = { "writer", "reader" },
			   .expects = EXPECT_VIOLATION };
