/* SPDX-License-Identifier: MIT */
/*
 * interval_tree.h - closed intervals, found by what they overlap. Intrusive and balanced; the caller locks.
 */
#ifndef OCTAVO_INTERVAL_TREE_H
#define OCTAVO_INTERVAL_TREE_H

#include <octavo/compiler.h>

struct interval_node {
	struct interval_node *parent, *left, *right;
	unsigned long start, last;  /* the caller's; constant while in a tree */
	unsigned long subtree_last; /* the largest last of the node and all below it */
	long height;		    /* of the subtree, 1 for a leaf; 0: removed */
};

/* All zero: empty. */
struct interval_tree {
	struct interval_node *root;
};

/**
 * interval_tree_insert() - add an interval
 * @tree: guarded by the caller's lock, held for writing
 * @node: in no tree; the caller has set @start and @last. The caller's memory, in use until it is removed
 *
 * Intervals may overlap and be equal; those of equal start stay in the order of insertion. Fatal if
 * start is greater than last. O(log n).
 */
void interval_tree_insert(struct interval_tree *tree, struct interval_node *node);

/**
 * interval_tree_remove() - take an interval out
 * @tree: guarded by the caller's lock, held for writing
 * @node: in @tree; fatal if it was removed already
 *
 * O(log n).
 */
void interval_tree_remove(struct interval_tree *tree, struct interval_node *node);

/**
 * interval_tree_first() - the first interval that overlaps [@start, @last]
 * @tree: guarded by the caller's lock
 * @start: the first number of interest
 * @last: the last; if it is smaller than @start, nothing is found
 *
 * O(log n). Return: the one of the smallest start, NULL if there is none.
 */
struct interval_node *interval_tree_first(const struct interval_tree *tree, unsigned long start,
					  unsigned long last);

/**
 * interval_tree_next() - the next interval that overlaps [@start, @last]
 * @node: from interval_tree_first() or interval_tree_next() with the same @start and @last; in the tree
 * @start: the first number of interest
 * @last: the last
 *
 * By ascending start. O(log n). Return: NULL after the last one.
 */
struct interval_node *interval_tree_next(const struct interval_node *node, unsigned long start,
					 unsigned long last);

/**
 * interval_tree_validate() - check links, order, balance and what each node says of its subtree
 * @tree: guarded by the caller's lock
 *
 * O(n). Return: false, with a line in the log, if something is wrong.
 */
bool interval_tree_validate(const struct interval_tree *tree);

#endif /* OCTAVO_INTERVAL_TREE_H */
