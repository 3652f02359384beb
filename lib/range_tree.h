/* SPDX-License-Identifier: MIT */
/*
 * range_tree.h - what range_tree.c and range_find.c share.
 */
#ifndef OCTAVO_LIB_RANGE_TREE_H
#define OCTAVO_LIB_RANGE_TREE_H

#include <octavo/atomic.h>
#include <octavo/debug.h>
#include <octavo/range_tree.h>

/* Every node but the root has at least so many slots; a root that is no leaf has two. */
#define RANGE_MIN_SLOTS (OCTAVO_RANGE_NODE_SLOTS / 2)

/* More entries than fit in such a tree do not fit in any memory. */
#define RANGE_MAX_HEIGHT (OCTAVO_RANGE_NODE_SLOTS < 8 ? 36 : 20)

/* The version that is current. */
static inline struct range_node *range_root(const struct range_tree *t)
{
	/* acquire: pairs with the release in range_tree_store() */
	return smp_load_acquire(&t->root);
}

/* The first slot that ends after @addr; nr if there is none. */
static inline u32 range_slot(const struct range_node *node, unsigned long addr)
{
	u32 i = 0, nr = node->nr;

	while (i < nr && node->end[i] <= addr)
		i++;
	return i;
}

/* The same for a node whose last slot ends after @addr, as is so all the way down if it is so for the root. */
static inline u32 range_slot_inside(const struct range_node *node, unsigned long addr)
{
	u32 i = 0;

	while (node->end[i] <= addr)
		i++;
	return i;
}

/* The gap in front of slot @i of a leaf, the largest gap below slot @i of another; @lower is what ends before the node. */
static inline unsigned long range_slot_gap(const struct range_node *node, u32 i,
					   unsigned long lower)
{
	if (node->level)
		return node->aux[i];
	return node->aux[i] - (i ? node->end[i - 1] : lower);
}

static inline unsigned long range_node_gap(const struct range_node *node, unsigned long lower)
{
	unsigned long gap = 0;

	for (u32 i = 0; i < node->nr; i++)
		gap = max(gap, range_slot_gap(node, i, lower));
	return gap;
}

#endif /* OCTAVO_LIB_RANGE_TREE_H */
