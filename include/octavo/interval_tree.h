/* SPDX-License-Identifier: MIT */
/*
 * interval_tree.h - closed intervals, found by what they overlap. Intrusive, balanced; the caller locks.
 */
#ifndef OCTAVO_INTERVAL_TREE_H
#define OCTAVO_INTERVAL_TREE_H

#include <octavo/compiler.h>

struct interval_node {
	struct interval_node *parent, *left, *right;
	unsigned long start, last; /* the caller's, constant while in a tree */
	unsigned long subtree_last;
	long balance;
};

struct interval_tree {
	struct interval_node *root;
};

/* Equal intervals are legal. */
void interval_tree_insert(struct interval_tree *tree, struct interval_node *node);
void interval_tree_remove(struct interval_tree *tree, struct interval_node *node);
/* The first by start that overlaps [@start, @last], or NULL. */
struct interval_node *interval_tree_first(const struct interval_tree *tree, unsigned long start,
					  unsigned long last);
/* The one after @node. */
struct interval_node *interval_tree_next(const struct interval_node *node, unsigned long start,
					 unsigned long last);
bool interval_tree_validate(const struct interval_tree *tree);

#endif /* OCTAVO_INTERVAL_TREE_H */
