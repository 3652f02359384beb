/* SPDX-License-Identifier: MIT */
/*
 * range_find.c - readers of range trees. Each takes the root once, so sees one version; nothing that it reads
 * from there on changes.
 */
#include <octavo/errno.h>

#include "range_tree.h"

void *range_tree_find(const struct range_tree *t, unsigned long addr)
{
	const struct range_node *node = range_root(t);
	u32 slot;

	if (unlikely(!node || node->end[node->nr - 1] <= addr))
		return NULL;
	for (;;) {
		slot = range_slot_inside(node, addr);
		if (node->level == 0)
			return node->aux[slot] <= addr ? node->ptr[slot] : NULL;
		node = node->ptr[slot];
	}
}

static void *entry_of(const struct range_node *leaf, u32 slot, unsigned long *entry_start,
		      unsigned long *entry_end)
{
	if (entry_start)
		*entry_start = leaf->aux[slot];
	if (entry_end)
		*entry_end = leaf->end[slot];
	return leaf->ptr[slot];
}

void *range_tree_find_first(const struct range_tree *t, unsigned long start, unsigned long end,
			    unsigned long *entry_start, unsigned long *entry_end)
{
	const struct range_node *node = range_root(t);

	if (unlikely(!node || start >= end || node->end[node->nr - 1] <= start))
		return NULL;
	for (;;) {
		u32 slot = range_slot_inside(node, start);

		if (node->level == 0) {
			if (node->aux[slot] >= end)
				return NULL;
			return entry_of(node, slot, entry_start, entry_end);
		}
		node = node->ptr[slot];
	}
}

void *range_tree_prev(const struct range_tree *t, unsigned long addr, unsigned long *entry_start,
		      unsigned long *entry_end)
{
	const struct range_node *node = range_root(t), *before = NULL;

	if (unlikely(!node))
		return NULL;
	/* To the first entry that ends after @addr, or the last of all; the one before it may be next door. */
	for (;;) {
		u32 slot = range_slot(node, addr);

		if (node->level == 0) {
			if (slot)
				return entry_of(node, slot - 1, entry_start, entry_end);
			break;
		}
		if (slot == node->nr)
			slot--;
		if (slot)
			before = node->ptr[slot - 1];
		node = node->ptr[slot];
	}
	if (!before)
		return NULL;
	while (before->level)
		before = before->ptr[before->nr - 1];
	return entry_of(before, before->nr - 1, entry_start, entry_end);
}

/* ---- gaps ---- */

/* A search for room: upwards, or downwards if @topdown. */
struct gap_search {
	unsigned long lo, hi, size, align;
	bool topdown;
};

/* Is there a place in the gap [@start, @end)? */
static bool gap_fits(const struct gap_search *g, unsigned long start, unsigned long end,
		     unsigned long *where)
{
	unsigned long mask = g->align - 1, place;

	start = max(start, g->lo);
	end = min(end, g->hi);
	if (start >= end || end - start < g->size)
		return false;
	if (g->topdown) {
		place = (end - g->size) & ~mask;
		if (place < start)
			return false;
	} else {
		/* wraps to less than @start if there is no multiple of align above */
		place = (start + mask) & ~mask;
		if (place < start || place > end - g->size)
			return false;
	}
	*where = place;
	return true;
}

/* From slot @i on, in the search's direction, the first with a gap of the size; negative: none. */
static int gap_slot(const struct gap_search *g, const struct range_node *node, unsigned long lower,
		    int i)
{
	for (; i >= 0 && i < (int)node->nr; i += g->topdown ? -1 : 1)
		if (range_slot_gap(node, (u32)i, lower) >= g->size)
			return i;
	return -1;
}

/*
 * Where to begin in a node on the way to @bound: upwards only gaps that end after it count, downwards those that
 * begin before it.
 */
static int gap_edge(const struct gap_search *g, const struct range_node *node, unsigned long bound)
{
	u32 slot;

	if (g->topdown) {
		/* the last whose gap begins before @bound: the first that ends at it or after */
		slot = range_slot(node, bound - 1);
		return (int)(slot < node->nr ? slot : node->nr - 1);
	}
	slot = range_slot(node, bound);
	/* in front of the entry at @bound itself there is nothing that ends after it */
	if (node->level == 0 && slot < node->nr && node->aux[slot] <= bound)
		slot++;
	return (int)slot;
}

/*
 * The next gap of the size in front of some entry, from @bound on. On the way to @bound the largest gap of a
 * node may be on the wrong side of it; then the nearest node that the way passed by has one for certain.
 */
static bool gap_next(const struct gap_search *g, const struct range_node *node, unsigned long bound,
		     unsigned long *start, unsigned long *end)
{
	const struct range_node *passed = NULL;
	unsigned long lower = 0, passed_lower = 0;
	int passed_slot = 0;
	bool edge = true;

	for (;;) {
		int first = edge ? gap_edge(g, node, bound) : g->topdown ? (int)node->nr - 1 : 0;
		int slot = gap_slot(g, node, lower, first);

		if (slot >= 0 && node->level == 0) {
			*start = slot ? node->end[slot - 1] : lower;
			*end = node->aux[slot];
			return true;
		}
		if (slot >= 0 && slot == first && edge) {
			int other = gap_slot(g, node, lower, first + (g->topdown ? -1 : 1));

			if (other >= 0) {
				passed = node;
				passed_slot = other;
				passed_lower = lower;
			}
		} else if (slot >= 0) {
			edge = false;
		} else {
			if (!passed)
				return false;
			node = passed;
			slot = passed_slot;
			lower = passed_lower;
			passed = NULL;
			edge = false;
		}
		if (slot)
			lower = node->end[slot - 1];
		node = node->ptr[slot];
	}
}

/* Behind the last entry of all, which is in no node. */
static bool gap_after(const struct gap_search *g, const struct range_node *root,
		      unsigned long *where)
{
	return gap_fits(g, root->end[root->nr - 1], ~0ul, where);
}

int range_tree_find_gap(const struct range_tree *t, unsigned long lo, unsigned long hi,
			unsigned long size, unsigned long align, bool topdown, unsigned long *where)
{
	const struct gap_search g = { lo, hi, size, align ? align : 1, topdown };
	const struct range_node *root = range_root(t);
	unsigned long bound = topdown ? hi : lo, start, end;

	if (!size || !is_power_of_2(g.align) || lo >= hi || hi - lo < size)
		return -ENOMEM;
	if (!root)
		return gap_fits(&g, 0, ~0ul, where) ? 0 : -ENOMEM;
	if (topdown && gap_after(&g, root, where))
		return 0;
	while (gap_next(&g, root, bound, &start, &end)) {
		if (gap_fits(&g, start, end, where))
			return 0;
		if (topdown ? start <= lo : end >= hi)
			return -ENOMEM;
		bound = topdown ? start : end;
	}
	return !topdown && gap_after(&g, root, where) ? 0 : -ENOMEM;
}

/* ---- validation ---- */

/* One node alone; what ends before it ends at @lower. */
static bool node_is_valid(const struct range_node *node, bool is_root, unsigned long lower)
{
	u32 least = !is_root ? RANGE_MIN_SLOTS : node->level ? 2 : 1;

	if (node->nr < least || node->nr > OCTAVO_RANGE_NODE_SLOTS)
		return false;
	for (u32 i = 0; i < node->nr; i++) {
		if (!node->ptr[i] || node->end[i] <= lower)
			return false;
		if (!node->level && (node->aux[i] < lower || node->aux[i] >= node->end[i]))
			return false;
		lower = node->end[i];
	}
	return true;
}

/* What slot @i of @parent says of the node that it leads to. */
static bool slot_is_valid(const struct range_node *parent, u32 i, unsigned long lower)
{
	const struct range_node *node = parent->ptr[i];

	return node->level == parent->level - 1 && node_is_valid(node, false, lower) &&
	       node->end[node->nr - 1] == parent->end[i] &&
	       range_node_gap(node, lower) == parent->aux[i];
}

static bool tree_is_invalid(const struct range_tree *t, const struct range_node *node)
{
	pr_err("range tree %p: node %p of level %u is wrong", (const void *)t, (const void *)node,
	       node->level);
	return false;
}

bool range_tree_validate(const struct range_tree *t)
{
	const struct range_node *path[RANGE_MAX_HEIGHT], *node = range_root(t);
	u32 idx[RANGE_MAX_HEIGHT], level;
	unsigned long lower = 0;
	u64 count = 0;

	if (node && (node->level >= RANGE_MAX_HEIGHT || !node_is_valid(node, true, 0)))
		return tree_is_invalid(t, node);
	for (level = 0; node;) {
		if (node->level == 0) {
			count += node->nr;
			lower = node->end[node->nr - 1];
		} else {
			level = node->level;
			path[level] = node;
			idx[level] = 0;
		}
		/* the next slot of the lowest node that has one */
		while (level && level < RANGE_MAX_HEIGHT && idx[level] == path[level]->nr)
			level = path[level] == range_root(t) ? 0 : level + 1;
		if (!level)
			break;
		if (!slot_is_valid(path[level], idx[level], lower))
			return tree_is_invalid(t, path[level]->ptr[idx[level]]);
		node = path[level]->ptr[idx[level]++];
	}
	if (count != range_tree_count(t))
		pr_err("range tree %p: %lu entries, not %lu", (const void *)t, (unsigned long)count,
		       (unsigned long)range_tree_count(t));
	return count == range_tree_count(t);
}
