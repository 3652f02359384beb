/* SPDX-License-Identifier: MIT */
/*
 * range_tree.h - disjoint half-open ranges to pointers; readers under RCU see one consistent version.
 */
#ifndef OCTAVO_RANGE_TREE_H
#define OCTAVO_RANGE_TREE_H

#include <octavo/rcu.h>

struct range_node;

/* Where nodes come from. */
struct range_tree_ops {
	struct range_node *(*alloc)(void *ctx); /* NULL: no memory */
	void (*free)(struct range_node *node);	/* nobody has seen it */
	void (*free_rcu)(
		struct range_node *node); /* after a grace period; it has an rcu_head inside */
};

struct range_tree {
	struct range_node *root; /* stored with release by the writer */
	struct range_node *reserve;
	unsigned int nr_reserve, height;
	unsigned long count;
	const struct range_tree_ops *ops;
	void *ctx;
};

/* An empty tree. */
void range_tree_init(struct range_tree *t, const struct range_tree_ops *ops, void *ctx);
/* The entry that contains @addr, or NULL. Context: RCU, or the writer's lock. */
void *range_tree_find(const struct range_tree *t, unsigned long addr);
/* The first that intersects [@start, @end), with its range (either may be NULL). */
void *range_tree_find_first(const struct range_tree *t, unsigned long start, unsigned long end,
			    unsigned long *entry_start, unsigned long *entry_end);
/* The last that ends at or before @addr. */
void *range_tree_prev(const struct range_tree *t, unsigned long addr, unsigned long *entry_start,
		      unsigned long *entry_end);
/* So that @stores stores cannot fail. Return: 0, -ENOMEM and nothing has changed. */
int range_tree_prealloc(struct range_tree *t, unsigned int stores);
/* All of [@start, @end) is @entry, NULL for nothing; what sticks out of it is trimmed. Fatal without a reserve. */
void range_tree_store(struct range_tree *t, unsigned long start, unsigned long end, void *entry);
/* Give back what range_tree_prealloc() set aside. */
void range_tree_unreserve(struct range_tree *t);
/* Room for @size in [@lo, @hi), aligned. Return: 0 and *@where, or -ENOMEM. Any arguments. */
int range_tree_find_gap(const struct range_tree *t, unsigned long lo, unsigned long hi,
			unsigned long size, unsigned long align, bool topdown,
			unsigned long *where);
void range_tree_clear(struct range_tree *t);
u64 range_tree_count(const struct range_tree *t);
bool range_tree_validate(const struct range_tree *t);

#endif /* OCTAVO_RANGE_TREE_H */
