/* SPDX-License-Identifier: MIT */
/*
 * range_tree.h - disjoint half-open ranges to pointers; readers under RCU see one consistent version.
 *
 * A B+-tree whose nodes never change once a reader may see them: a store builds new ones for the path and
 * publishes a new root. So a reader that has the root has a version of the whole tree, all of one
 * moment, and needs no retries. One writer at a time: the caller's lock.
 *
 * What is called address here is any number; ~0ul itself belongs to no range.
 */
#ifndef OCTAVO_RANGE_TREE_H
#define OCTAVO_RANGE_TREE_H

#include <octavo/rcu.h>

/*
 * @nr slots in ascending order. In a leaf (level 0) slot i is the entry @ptr[i] of the range [@aux[i], @end[i]).
 * In other nodes @ptr[i] is a node, whose last entry ends at @end[i], and @aux[i] the largest gap in it. The gap
 * in front of an entry is the entry's, even where the entry before it is in another leaf; so the
 * space after the last entry of the tree is in no node.
 *
 * Constant from the store that publishes it until it is freed, but for @rcu, which is the writer's, then RCU's.
 */
struct range_node {
	u32 nr, level;
	unsigned long end[OCTAVO_RANGE_NODE_SLOTS];
	unsigned long aux[OCTAVO_RANGE_NODE_SLOTS];
	void *ptr[OCTAVO_RANGE_NODE_SLOTS];
	struct rcu_head rcu;
};

/* Where nodes come from. */
struct range_tree_ops {
	/* Memory for a struct range_node, with any content; NULL if there is none. May sleep if the caller may. */
	struct range_node *(*alloc)(void *ctx);
	/* Free at once: no reader has it. */
	void (*free)(struct range_node *node);
	/* Free after a grace period, by call_rcu(&node->rcu, ...). Readers may be in it. */
	void (*free_rcu)(struct range_node *node);
};

struct range_tree {
	struct range_node
		*root; /* NULL: empty. Stored with release by the writer; readers acquire */
	/* The rest is the writer's. */
	struct range_node *reserve; /* linked by rcu.next */
	u32 nr_reserve;
	u64 count; /* atomic: read by anybody as a hint */
	const struct range_tree_ops *ops;
	void *ctx;
};

/**
 * range_tree_init() - make an empty tree
 * @t: any memory
 * @ops: where nodes come from; stays as long as the tree
 * @ctx: for @ops->alloc
 */
void range_tree_init(struct range_tree *t, const struct range_tree_ops *ops, void *ctx);

/**
 * range_tree_find() - the entry that contains an address
 * @t: the tree
 * @addr: the address
 *
 * Context: an RCU read-side section, or the writer's lock. Return: NULL if there is none.
 */
void *range_tree_find(const struct range_tree *t, unsigned long addr);

/**
 * range_tree_find_first() - the first entry that intersects [@start, @end)
 * @t: the tree
 * @start: the first address
 * @end: the address after the last; if it is not greater than @start, nothing is found
 * @entry_start: where the entry starts, or NULL; untouched if there is none
 * @entry_end: where it ends, or NULL
 *
 * Context: an RCU read-side section, or the writer's lock. Several calls of a reader may see several versions.
 * Return: the entry of the smallest start, NULL if there is none.
 */
void *range_tree_find_first(const struct range_tree *t, unsigned long start, unsigned long end,
			    unsigned long *entry_start, unsigned long *entry_end);

/**
 * range_tree_prev() - the last entry that ends at or before an address
 * @t: the tree
 * @addr: the address
 * @entry_start: where the entry starts, or NULL; untouched if there is none
 * @entry_end: where it ends, or NULL
 *
 * Context: an RCU read-side section, or the writer's lock. Return: NULL if there is none.
 */
void *range_tree_prev(const struct range_tree *t, unsigned long addr, unsigned long *entry_start,
		      unsigned long *entry_end);

/**
 * range_tree_prealloc() - set nodes aside, so that the next stores cannot fail
 * @t: the tree
 * @stores: how many stores
 *
 * What is there already counts, so a call per store takes only what the last store used up. The reserve
 * stays in the tree until range_tree_unreserve().
 *
 * Context: the writer's lock; may sleep if @ops->alloc does. Return: 0; -ENOMEM: nothing has changed.
 */
int range_tree_prealloc(struct range_tree *t, unsigned int stores);

/**
 * range_tree_store() - set a whole range
 * @t: the tree
 * @start: the first address
 * @end: the address after the last; fatal if it is not greater than @start
 * @entry: what is there from now on, the caller's; NULL: nothing, the range is erased
 *
 * Entries inside are replaced, those that stick out are trimmed; one that sticks out on both sides is in the
 * tree twice afterwards. Neighbours are not merged, equal or not. Readers see all of it or nothing.
 *
 * Costs O(height) new nodes and a call of @ops->free_rcu for each node that falls away. Fatal if the
 * reserve does not suffice.
 *
 * Context: the writer's lock.
 */
void range_tree_store(struct range_tree *t, unsigned long start, unsigned long end, void *entry);

/**
 * range_tree_unreserve() - free what range_tree_prealloc() has set aside
 * @t: the tree
 *
 * Context: the writer's lock.
 */
void range_tree_unreserve(struct range_tree *t);

/**
 * range_tree_find_gap() - find room
 * @t: the tree
 * @lo: the lowest address that may be used
 * @hi: the address after the highest
 * @size: how much
 * @align: of the result; a power of two, 0 is 1
 * @topdown: find the highest place, else the lowest
 * @where: the place; untouched if there is none
 *
 * O(log n), and one step more for each gap in [@lo, @hi) that would be large enough but for its alignment.
 *
 * Context: an RCU read-side section, or the writer's lock. Return: 0; -ENOMEM: there is no such place, or
 * @size is 0, or @align not a power of two.
 */
int range_tree_find_gap(const struct range_tree *t, unsigned long lo, unsigned long hi,
			unsigned long size, unsigned long align, bool topdown,
			unsigned long *where);

/**
 * range_tree_clear() - free all nodes, at once, and the reserve
 * @t: the tree; empty afterwards
 *
 * Context: the caller is alone: no reader has been in the tree for a grace period, or can be.
 */
void range_tree_clear(struct range_tree *t);

/**
 * range_tree_count() - how many entries there are
 * @t: the tree
 *
 * Context: any; a hint without the writer's lock.
 */
u64 range_tree_count(const struct range_tree *t);

/**
 * range_tree_validate() - check order, fill, gaps and the count
 * @t: the tree
 *
 * Context: the writer's lock. O(n). Return: false, with a line in the log, if something is wrong.
 */
bool range_tree_validate(const struct range_tree *t);

#endif /* OCTAVO_RANGE_TREE_H */
