/* SPDX-License-Identifier: MIT */
/*
 * interval_tree.c - an AVL tree by start, in which each node knows the largest last of its subtree.
 *
 * Nothing recurses: after a change one walk up from the place restores heights, balance and the largest
 * lasts. A height of 64 bits' worth of nodes is below 93.
 */
#include <octavo/debug.h>
#include <octavo/interval_tree.h>

static long height_of(const struct interval_node *node)
{
	return node ? node->height : 0;
}

static long lean_of(const struct interval_node *node)
{
	return height_of(node->left) - height_of(node->right);
}

/* What @node's summary must be, by its children's. */
static long true_height(const struct interval_node *node)
{
	return 1 + max(height_of(node->left), height_of(node->right));
}

static unsigned long true_subtree_last(const struct interval_node *node)
{
	unsigned long last = node->last;

	if (node->left)
		last = max(last, node->left->subtree_last);
	if (node->right)
		last = max(last, node->right->subtree_last);
	return last;
}

static void summarise(struct interval_node *node)
{
	node->height = true_height(node);
	node->subtree_last = true_subtree_last(node);
}

/* @new, which may be NULL, takes the place of @old below @parent. */
static void replace_child(struct interval_tree *tree, struct interval_node *parent,
			  const struct interval_node *old, struct interval_node *new)
{
	if (!parent)
		tree->root = new;
	else if (parent->left == old)
		parent->left = new;
	else
		parent->right = new;
	if (new)
		new->parent = parent;
}

/* The left child comes up. */
static struct interval_node *rotate_right(struct interval_tree *tree, struct interval_node *node)
{
	struct interval_node *up = node->left;

	replace_child(tree, node->parent, node, up);
	node->left = up->right;
	if (node->left)
		node->left->parent = node;
	up->right = node;
	node->parent = up;
	summarise(node);
	summarise(up);
	return up;
}

/* The right child comes up. */
static struct interval_node *rotate_left(struct interval_tree *tree, struct interval_node *node)
{
	struct interval_node *up = node->right;

	replace_child(tree, node->parent, node, up);
	node->right = up->left;
	if (node->right)
		node->right->parent = node;
	up->left = node;
	node->parent = up;
	summarise(node);
	summarise(up);
	return up;
}

/* Summaries and balance from @node up, until nothing changes any more. */
static void repair(struct interval_tree *tree, struct interval_node *node)
{
	while (node) {
		long height = node->height;
		unsigned long last = node->subtree_last;

		summarise(node);
		if (lean_of(node) > 1) {
			if (lean_of(node->left) < 0)
				rotate_left(tree, node->left);
			node = rotate_right(tree, node);
		} else if (lean_of(node) < -1) {
			if (lean_of(node->right) > 0)
				rotate_right(tree, node->right);
			node = rotate_left(tree, node);
		}
		if (node->height == height && node->subtree_last == last)
			return;
		node = node->parent;
	}
}

void interval_tree_insert(struct interval_tree *tree, struct interval_node *node)
{
	struct interval_node *parent = NULL, **link = &tree->root;

	BUG_ON(node->start > node->last);
	while (*link) {
		parent = *link;
		link = node->start < parent->start ? &parent->left : &parent->right;
	}
	node->parent = parent;
	node->left = NULL;
	node->right = NULL;
	summarise(node);
	*link = node;
	repair(tree, parent);
}

/* @next, the successor of @node, which has two children, takes its place. Return: where to repair from. */
static struct interval_node *replace_by_successor(struct interval_tree *tree,
						  struct interval_node *node,
						  struct interval_node *next)
{
	struct interval_node *from = next;

	if (next != node->right) {
		from = next->parent;
		replace_child(tree, from, next, next->right);
		next->right = node->right;
		next->right->parent = next;
	}
	next->left = node->left;
	next->left->parent = next;
	replace_child(tree, node->parent, node, next);
	/* The place's old summary: a repair stops where it finds nothing to differ from before. */
	next->height = node->height;
	next->subtree_last = node->subtree_last;
	return from;
}

void interval_tree_remove(struct interval_tree *tree, struct interval_node *node)
{
	struct interval_node *next = node->right;

	if (unlikely(node->height == 0 || (!node->parent && tree->root != node)))
		octavo_panic("interval_tree_remove: %p is not in the tree", (void *)node);
	if (node->left && next) {
		while (next->left)
			next = next->left;
		repair(tree, replace_by_successor(tree, node, next));
		/* It stops below @next if all is well there, but @next's own last is new to the place. */
		repair(tree, next);
	} else {
		replace_child(tree, node->parent, node, node->left ? node->left : next);
		repair(tree, node->parent);
	}
	node->parent = NULL;
	node->left = NULL;
	node->right = NULL;
	node->height = 0;
}

/* The first in the subtree, which has some that end at @start or later. */
static struct interval_node *subtree_first(struct interval_node *node, unsigned long start,
					   unsigned long last)
{
	for (;;) {
		/*
		 * If the left has one that ends late enough, then that one overlaps, or begins after
		 * @last, and with it all that follow.
		 */
		if (node->left && node->left->subtree_last >= start) {
			node = node->left;
			continue;
		}
		if (node->start > last)
			return NULL;
		if (node->last >= start)
			return node;
		/* not the left and not the node itself */
		node = node->right;
	}
}

struct interval_node *interval_tree_first(const struct interval_tree *tree, unsigned long start,
					  unsigned long last)
{
	if (!tree->root || tree->root->subtree_last < start || start > last)
		return NULL;
	return subtree_first(tree->root, start, last);
}

struct interval_node *interval_tree_next(const struct interval_node *node, unsigned long start,
					 unsigned long last)
{
	for (;;) {
		const struct interval_node *child;
		struct interval_node *up;

		if (node->right && node->right->subtree_last >= start)
			return subtree_first(node->right, start, last);
		do {
			child = node;
			up = node->parent;
			node = up;
		} while (up && child == up->right);
		if (!up || up->start > last)
			return NULL;
		if (up->last >= start)
			return up;
	}
}

static bool node_is_valid(const struct interval_node *node, const struct interval_node *prev)
{
	if (node->start > node->last || (prev && prev->start > node->start))
		return false;
	if (node->parent && node->parent->left != node && node->parent->right != node)
		return false;
	if ((node->left && node->left->parent != node) ||
	    (node->right && node->right->parent != node))
		return false;
	return node->height == true_height(node) && lean_of(node) <= 1 && lean_of(node) >= -1 &&
	       node->subtree_last == true_subtree_last(node);
}

bool interval_tree_validate(const struct interval_tree *tree)
{
	const struct interval_node *node = tree->root, *prev = NULL, *child;

	if (node && node->parent) {
		pr_err("interval tree %p: the root has a parent", (const void *)tree);
		return false;
	}
	while (node && node->left)
		node = node->left;
	while (node) {
		if (!node_is_valid(node, prev)) {
			pr_err("interval tree %p: node %p [%lx, %lx] is wrong", (const void *)tree,
			       (const void *)node, node->start, node->last);
			return false;
		}
		prev = node;
		if (node->right) {
			for (node = node->right; node->left;)
				node = node->left;
			continue;
		}
		do {
			child = node;
			node = node->parent;
		} while (node && child == node->right);
	}
	return true;
}
