/* SPDX-License-Identifier: MIT */
/*
 * addr_tree.c - the addresses of one chunk: areas in a tree that knows the largest gap below each of them.
 *
 * A treap (C. Aragon and R. Seidel, "Randomized Search Trees", 1989): ordered by address, and a heap by a hash of the
 * address, so its shape depends on what is in it alone, and its depth is logarithmic whatever came and went. The gap in
 * front of an area is the area's; the end of the chunk is a node too, so there is no space in front of nothing.
 * Nodes are the areas' own: nothing is allocated, and nothing can fail.
 */
#include "kmap.h"

static u64 priority(const struct vm_node *n)
{
	u64 x = n->start >> PAGE_SHIFT;

	x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15ul;
	x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ul;
	return x ^ (x >> 32);
}

static void update(struct vm_node *n)
{
	unsigned long m = n->gap;

	if (n->left)
		m = max(m, n->left->max_gap);
	if (n->right)
		m = max(m, n->right->max_gap);
	n->max_gap = m;
}

/* What is at @n has changed; nodes above it may have to know, up to the first that does not. */
static void update_upwards(struct vm_node *n)
{
	for (; n; n = n->parent) {
		const unsigned long was = n->max_gap;

		update(n);
		if (n->max_gap == was)
			break;
	}
}

static unsigned long gap_before(const struct vm_tree *t, const struct vm_node *n)
{
	const struct list_head *prev = n->order.prev;

	return n->start -
	       (prev == &t->order ? t->start : list_entry(prev, struct vm_node, order)->end);
}

static void replace_child(struct vm_tree *t, struct vm_node *parent, struct vm_node *old,
			  struct vm_node *new)
{
	if (!parent)
		t->root = new;
	else if (parent->left == old)
		parent->left = new;
	else
		parent->right = new;
	if (new)
		new->parent = parent;
}

/* @n takes its parent's place, the parent becomes its child. */
static void rotate_up(struct vm_tree *t, struct vm_node *n)
{
	struct vm_node *p = n->parent;
	struct vm_node **from = n == p->left ? &p->left : &p->right;
	struct vm_node **inner = n == p->left ? &n->right : &n->left;

	replace_child(t, p->parent, p, n);
	*from = *inner;
	if (*from)
		(*from)->parent = p;
	*inner = p;
	p->parent = n;
	update(p);
	update(n);
}

void vm_tree_init(struct vm_tree *t, unsigned long start, unsigned long end)
{
	t->start = start;
	t->last = (struct vm_node){ .start = end, .end = end, .gap = end - start };
	t->last.max_gap = t->last.gap;
	t->root = &t->last;
	INIT_LIST_HEAD(&t->order);
	list_add_tail(&t->last.order, &t->order);
}

void vm_tree_insert(struct vm_tree *t, struct vm_node *n, struct vm_node *next)
{
	n->left = NULL;
	n->right = NULL;
	list_add_tail(&n->order, &next->order);
	n->gap = gap_before(t, n);
	next->gap = next->start - n->end;
	/* what comes before @next, if it is below it, has nothing to its right */
	if (!next->left) {
		next->left = n;
		n->parent = next;
	} else {
		n->parent = list_entry(n->order.prev, struct vm_node, order);
		n->parent->right = n;
	}
	update(n);
	update_upwards(n->parent);
	/* it is above, and its own gap is another: those between may not have changed */
	update_upwards(next);
	while (n->parent && priority(n) > priority(n->parent))
		rotate_up(t, n);
}

void vm_tree_erase(struct vm_tree *t, struct vm_node *n)
{
	struct vm_node *next = list_entry(n->order.next, struct vm_node, order), *parent;

	while (n->left && n->right)
		rotate_up(t, priority(n->left) > priority(n->right) ? n->left : n->right);
	parent = n->parent;
	replace_child(t, parent, n, n->left ? n->left : n->right);
	list_del_init(&n->order);
	update_upwards(parent);
	next->gap = gap_before(t, next);
	update_upwards(next);
}

struct vm_node *vm_tree_find(const struct vm_tree *t, unsigned long addr)
{
	struct vm_node *n = t->root;

	while (n && !(addr >= n->start && addr < n->end))
		n = addr < n->start ? n->left : n->right;
	return n;
}

/* ---- gaps ---- */

/* The first below @n, itself included, with so large a gap. There is one. */
static struct vm_node *first_gap(struct vm_node *n, unsigned long need)
{
	for (;;) {
		if (n->left && n->left->max_gap >= need)
			n = n->left;
		else if (n->gap >= need)
			return n;
		else
			n = n->right;
	}
}

static struct vm_node *next_gap(struct vm_node *n, unsigned long need)
{
	if (n->right && n->right->max_gap >= need)
		return first_gap(n->right, need);
	for (struct vm_node *p = n->parent; p; n = p, p = p->parent) {
		if (n != p->left)
			continue;
		if (p->gap >= need)
			return p;
		if (p->right && p->right->max_gap >= need)
			return first_gap(p->right, need);
	}
	return NULL;
}

static bool fits(const struct vm_node *n, unsigned long size, unsigned long align,
		 unsigned long color, unsigned long *where)
{
	unsigned long from = n->start - n->gap;
	unsigned long at = ALIGN(from - color, align) + color;

	if (at < from || at > n->start || n->start - at < size)
		return false;
	*where = at;
	return true;
}

struct vm_node *vm_tree_find_gap(const struct vm_tree *t, unsigned long size, unsigned long align,
				 unsigned long color, unsigned long *where)
{
	unsigned long sure = size + align - PAGE_SIZE;
	struct vm_node *n;

	/* a gap that fits whatever its alignment, in one descent; lower and smaller ones only when there is none */
	if (t->root->max_gap >= sure) {
		n = first_gap(t->root, sure);
		fits(n, size, align, color, where);
		return n;
	}
	if (align == PAGE_SIZE || t->root->max_gap < size)
		return NULL;
	for (n = first_gap(t->root, size); n; n = next_gap(n, size))
		if (fits(n, size, align, color, where))
			return n;
	return NULL;
}

/* ---- validation ---- */

static bool node_good(const struct vm_tree *t, const struct vm_node *n)
{
	unsigned long m = n->gap;

	for (unsigned int side = 0; side < 2; side++) {
		const struct vm_node *c = side ? n->right : n->left;

		if (!c)
			continue;
		if (c->parent != n || priority(c) > priority(n) ||
		    (side ? c->start < n->end : c->end > n->start))
			return false;
		m = max(m, c->max_gap);
	}
	return n->gap == gap_before(t, n) && n->max_gap == m && n->gap <= t->last.end - t->start;
}

bool vm_tree_validate(const struct vm_tree *t)
{
	const struct vm_node *n;
	bool ok = t->root && !t->root->parent;

	list_for_each_entry (n, &t->order, order)
		if (!node_good(t, n) || (n != &t->last && vm_tree_find(t, n->start) != n)) {
			pr_err("kernel addresses: 0x%lx to 0x%lx is wrong in its tree", n->start,
			       n->end);
			ok = false;
		}
	return ok;
}
