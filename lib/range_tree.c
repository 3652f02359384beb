/* SPDX-License-Identifier: MIT */
/*
 * range_tree.c - stores into range trees. Readers are in range_find.c.
 *
 * A store cuts the tree along two paths, one to the first entry that ends after the range starts and one to
 * the first that stays behind it. What is left of the left path and right of the right path is kept as it
 * is, what is between falls away. Then the levels are built again from the leaves up: of each, a sequence of
 *
 *	slots kept of the left path's node, new slots, slots kept of the right path's node
 *
 * is packed into as few nodes as hold it, at most three, which are the new slots of the level above. If a
 * sequence is too short for a node, the next node to the left or the right, wherever in the tree its parent is, is
 * taken apart too. Where nothing is kept to the left or right on any level above, the new root has been reached.
 *
 * So each node but the root is at least half full, and the largest gap of a node never has to be looked
 * for below those that are built: the right path ends at an entry which stays as far as its end goes, and
 * what follows it sees no difference.
 *
 * What falls away is linked by rcu.next, which readers do not look at, and given back after the new
 * root is published. Nothing recurses, and nothing but the reserve is ever allocated.
 */
#include <octavo/errno.h>

#include "range_tree.h"

/* Room for what is kept of the left node and of one that is taken apart, for new slots, and to the right. */
#define LEFT_ROOM (2 * OCTAVO_RANGE_NODE_SLOTS)
#define MAX_NEW	  3
#define SEQ_ROOM  (2 * LEFT_ROOM + MAX_NEW)

/* Slots of a level. New ones are added at LEFT_ROOM, then the sequence grows to both sides. */
struct range_seq {
	u32 first, nr;
	unsigned long end[SEQ_ROOM], aux[SEQ_ROOM];
	void *ptr[SEQ_ROOM];
};

/*
 * By level. Of a left path's node the slots before idx are kept, of a right path's those from idx on. Until its
 * level has been built, that of the next node of the path is not.
 */
struct range_path {
	struct range_node *node[RANGE_MAX_HEIGHT];
	u32 idx[RANGE_MAX_HEIGHT];
};

struct range_store {
	struct range_tree *t;
	u32 height;
	struct range_path left, right;
	struct range_seq seq;
	struct range_node *gone; /* nodes that fall away, not what is below them */
	struct range_node *subtree, *last_subtree; /* whole subtrees that do */
	u64 count;
};

/* ---- lists of nodes ---- */

static struct range_node *node_next(const struct range_node *node)
{
	return node->rcu.next ? container_of(node->rcu.next, struct range_node, rcu) : NULL;
}

static void node_push(struct range_node **list, struct range_node *node)
{
	node->rcu.next = *list ? &(*list)->rcu : NULL;
	*list = node;
}

static struct range_node *node_pop(struct range_node **list)
{
	struct range_node *node = *list;

	*list = node_next(node);
	return node;
}

/* ---- the reserve ---- */

void range_tree_init(struct range_tree *t, const struct range_tree_ops *ops, void *ctx)
{
	*t = (struct range_tree){ .ops = ops, .ctx = ctx };
}

/*
 * The most nodes that @stores stores can need. One builds at most three nodes on each level and a root. It adds two
 * entries at most, and a tree of n entries is h high only if n is at least 2 * MIN_SLOTS^(h - 1).
 */
static u64 worst_case(const struct range_tree *t, u64 stores)
{
	u64 entries = t->count + 2 * stores;
	u64 height = t->root ? t->root->level + 1 : 1, limit = 1;

	for (u64 n = 2 * RANGE_MIN_SLOTS; n <= entries && limit < RANGE_MAX_HEIGHT;
	     n *= RANGE_MIN_SLOTS)
		limit++;
	if (stores)
		height = max(height, min(height + stores - 1, limit));
	return stores * (MAX_NEW * height + 1);
}

int range_tree_prealloc(struct range_tree *t, unsigned int stores)
{
	u64 need = worst_case(t, stores);
	u32 had = t->nr_reserve;

	while (t->nr_reserve < need) {
		struct range_node *node = t->ops->alloc(t->ctx);

		if (!node || t->nr_reserve == ~0u) {
			if (node)
				t->ops->free(node);
			for (; t->nr_reserve > had; t->nr_reserve--)
				t->ops->free(node_pop(&t->reserve));
			return -ENOMEM;
		}
		node_push(&t->reserve, node);
		t->nr_reserve++;
	}
	return 0;
}

void range_tree_unreserve(struct range_tree *t)
{
	for (; t->nr_reserve; t->nr_reserve--)
		t->ops->free(node_pop(&t->reserve));
}

static struct range_node *take_node(struct range_tree *t)
{
	if (unlikely(!t->nr_reserve))
		octavo_panic("range_tree_store: %p has no node in reserve", (void *)t);
	t->nr_reserve--;
	return node_pop(&t->reserve);
}

/* ---- what falls away ---- */

static void bury_node(struct range_store *s, struct range_node *node)
{
	if (node->level == 0)
		s->count -= node->nr;
	node_push(&s->gone, node);
}

/* All that is below slots @from to @to - 1. */
static void bury_subtrees(struct range_store *s, const struct range_node *node, u32 from, u32 to)
{
	for (; from < to; from++) {
		struct range_node *below = node->ptr[from];

		below->rcu.next = NULL;
		if (s->subtree)
			s->last_subtree->rcu.next = &below->rcu;
		else
			s->subtree = below;
		s->last_subtree = below;
	}
}

/* The paths, and what is between them. Each subtree's nodes are put behind it in the list that is walked. */
static void bury_old(struct range_store *s)
{
	for (u32 level = s->height; level--;) {
		struct range_node *l = s->left.node[level], *r = s->right.node[level];

		bury_node(s, l);
		if (l != r)
			bury_node(s, r);
		if (level == 0)
			break;
		if (l == r) {
			bury_subtrees(s, l, s->left.idx[level] + 1, s->right.idx[level] - 1);
		} else {
			bury_subtrees(s, l, s->left.idx[level] + 1, l->nr);
			bury_subtrees(s, r, 0, s->right.idx[level] - 1);
		}
	}
	for (struct range_node *node = s->subtree; node; node = node_next(node)) {
		if (node->level)
			bury_subtrees(s, node, 0, node->nr);
		else
			s->count -= node->nr;
	}
}

static void give_back(struct range_store *s)
{
	const struct range_tree_ops *ops = s->t->ops;

	while (s->gone)
		ops->free_rcu(node_pop(&s->gone));
	while (s->subtree)
		ops->free_rcu(node_pop(&s->subtree));
}

/* ---- sequences ---- */

static void seq_add(struct range_seq *seq, unsigned long end, unsigned long aux, void *ptr)
{
	u32 at = seq->first + seq->nr++;

	seq->end[at] = end;
	seq->aux[at] = aux;
	seq->ptr[at] = ptr;
}

/* Behind the sequence: @node's slots from @from on. */
static void seq_append(struct range_seq *seq, const struct range_node *node, u32 from)
{
	for (; from < node->nr; from++)
		seq_add(seq, node->end[from], node->aux[from], node->ptr[from]);
}

/* In front of the sequence: @node's slots before @to. */
static void seq_prepend(struct range_seq *seq, const struct range_node *node, u32 to)
{
	seq->first -= to;
	seq->nr += to;
	for (u32 i = 0; i < to; i++) {
		seq->end[seq->first + i] = node->end[i];
		seq->aux[seq->first + i] = node->aux[i];
		seq->ptr[seq->first + i] = node->ptr[i];
	}
}

/* Pack the sequence into nodes of @level; what comes before it ends at @lower. The slots for them replace it. */
static void seq_pack(struct range_store *s, u32 level, unsigned long lower)
{
	struct range_seq *seq = &s->seq;
	u32 nodes = DIV_ROUND_UP(seq->nr, OCTAVO_RANGE_NODE_SLOTS);
	u32 at = seq->first, left = seq->nr;
	struct range_node *made[MAX_NEW];
	unsigned long gap[MAX_NEW];

	VM_BUG_ON(nodes > MAX_NEW);
	if (level == 0)
		s->count += seq->nr;
	for (u32 n = 0; n < nodes; n++) {
		struct range_node *node = take_node(s->t);

		node->nr = left / (nodes - n);
		node->level = level;
		for (u32 i = 0; i < node->nr; i++, at++) {
			node->end[i] = seq->end[at];
			node->aux[i] = seq->aux[at];
			node->ptr[i] = seq->ptr[at];
		}
		left -= node->nr;
		made[n] = node;
		/* a root's gap is nobody's */
		gap[n] = level + 1 < s->height || nodes > 1 ? range_node_gap(node, lower) : 0;
		lower = node->end[node->nr - 1];
	}
	seq->first = LEFT_ROOM;
	seq->nr = 0;
	for (u32 n = 0; n < nodes; n++)
		seq_add(seq, made[n]->end[made[n]->nr - 1], gap[n], made[n]);
}

/* ---- the two paths ---- */

/* To the first entry that ends after @addr; behind the last one if there is none. */
static void locate(struct range_path *path, struct range_node *node, unsigned long addr)
{
	for (;;) {
		u32 slot = range_slot(node, addr);

		path->node[node->level] = node;
		path->idx[node->level] = slot;
		if (node->level == 0)
			return;
		if (slot == node->nr)
			path->idx[node->level] = --slot;
		node = node->ptr[slot];
	}
}

/* Is nothing kept on any level above? */
static bool is_top(const struct range_store *s, u32 level)
{
	while (++level < s->height)
		if (s->left.idx[level] || s->right.idx[level] < s->right.node[level]->nr)
			return false;
	return true;
}

/* Where what is left of the sequence of level 0 ends: its first gap begins there. */
static unsigned long lower_of(const struct range_store *s)
{
	for (u32 level = 1; level < s->height; level++)
		if (s->left.idx[level])
			return s->left.node[level]->end[s->left.idx[level] - 1];
	return 0;
}

/* Take the node of @level that is before the left path apart too. Return: false if there is none. */
static bool borrow_left(struct range_store *s, u32 level)
{
	struct range_path *p = &s->left;
	struct range_node *node;
	u32 l = level + 1;

	while (l < s->height && p->idx[l] == 0)
		l++;
	if (l >= s->height)
		return false;
	node = p->node[l]->ptr[--p->idx[l]];
	while (--l > level) {
		bury_node(s, node);
		p->node[l] = node;
		p->idx[l] = node->nr - 1;
		node = node->ptr[node->nr - 1];
	}
	bury_node(s, node);
	seq_prepend(&s->seq, node, node->nr);
	return true;
}

/* The same with the node behind the right path. */
static bool borrow_right(struct range_store *s, u32 level)
{
	struct range_path *p = &s->right;
	struct range_node *node;
	u32 l = level + 1;

	while (l < s->height && p->idx[l] == p->node[l]->nr)
		l++;
	if (l >= s->height)
		return false;
	node = p->node[l]->ptr[p->idx[l]++];
	while (--l > level) {
		bury_node(s, node);
		p->node[l] = node;
		p->idx[l] = 1;
		node = node->ptr[0];
	}
	bury_node(s, node);
	seq_append(&s->seq, node, 0);
	return true;
}

/* ---- storing ---- */

/*
 * Find the paths; the entries that stick out, as far as they do, and @entry are the new slots of level 0. Return: false
 * if nothing has to be changed.
 */
static bool cut(struct range_store *s, struct range_node *root, unsigned long start,
		unsigned long end, void *entry)
{
	const struct range_node *l, *r;
	u32 i, j;

	locate(&s->left, root, start);
	/* If @entry ends where an old one does, what follows need not be looked at: the gap stays. */
	locate(&s->right, root, entry ? end - 1 : end);
	for (u32 level = 1; level < s->height; level++)
		s->right.idx[level]++;
	l = s->left.node[0];
	r = s->right.node[0];
	i = s->left.idx[0];
	j = s->right.idx[0];
	if (i < l->nr && l->aux[i] < start)
		seq_add(&s->seq, start, l->aux[i], l->ptr[i]);
	if (entry)
		seq_add(&s->seq, end, start, entry);
	if (j < r->nr && r->aux[j] < end) {
		if (r->end[j] > end)
			seq_add(&s->seq, r->end[j], end, r->ptr[j]);
		s->right.idx[0] = ++j;
	}
	return s->seq.nr || l != r || i != j;
}

/* Pack what is the whole of @level, and levels above until one node has all. Return: the root. */
static struct range_node *build_root(struct range_store *s, u32 level, unsigned long lower)
{
	struct range_seq *seq = &s->seq;

	if (seq->nr == 0)
		return NULL;
	/* a single slot of an inner node: what it leads to is the root */
	if (level == 0 || seq->nr > 1)
		do
			seq_pack(s, level++, lower);
		while (seq->nr > 1);
	return seq->ptr[seq->first];
}

static void slot_copy(struct range_node *to, const struct range_node *from, u32 i)
{
	u32 at = to->nr++;

	to->end[at] = from->end[i];
	to->aux[at] = from->aux[i];
	to->ptr[at] = from->ptr[i];
}

/* Most trees are one leaf and stay one: put it together at once. Return: false if it is not like that. */
static bool replace_leaf(struct range_store *s, struct range_node *old)
{
	const struct range_seq *seq = &s->seq;
	u32 kept = s->left.idx[0], from = s->right.idx[0];
	u32 total = kept + seq->nr + old->nr - from;
	struct range_tree *t = s->t;
	struct range_node *leaf;

	if (total == 0 || total > OCTAVO_RANGE_NODE_SLOTS)
		return false;
	leaf = take_node(t);
	leaf->nr = 0;
	leaf->level = 0;
	for (u32 i = 0; i < kept; i++)
		slot_copy(leaf, old, i);
	for (u32 at = LEFT_ROOM; at < LEFT_ROOM + seq->nr; at++) {
		leaf->end[leaf->nr] = seq->end[at];
		leaf->aux[leaf->nr] = seq->aux[at];
		leaf->ptr[leaf->nr++] = seq->ptr[at];
	}
	for (; from < old->nr; from++)
		slot_copy(leaf, old, from);
	/* release: pairs with the acquire in range_root(): the new leaf is filled in */
	smp_store_release(&t->root, leaf);
	WRITE_ONCE(t->count, (u64)total);
	t->ops->free_rcu(old);
	return true;
}

void range_tree_store(struct range_tree *t, unsigned long start, unsigned long end, void *entry)
{
	struct range_node *root = t->root;
	struct range_store s;

	BUG_ON(start >= end);
	s.t = t;
	s.gone = NULL;
	s.subtree = NULL;
	s.count = t->count;
	s.seq.first = LEFT_ROOM;
	s.seq.nr = 0;
	s.height = root ? root->level + 1 : 0;
	if (root) {
		if (!cut(&s, root, start, end, entry))
			return;
		if (s.height == 1 && replace_leaf(&s, root))
			return;
		bury_old(&s);
	} else if (entry) {
		seq_add(&s.seq, end, start, entry);
	} else {
		return;
	}
	for (u32 level = 0;; level++) {
		if (level < s.height) {
			seq_prepend(&s.seq, s.left.node[level], s.left.idx[level]);
			seq_append(&s.seq, s.right.node[level], s.right.idx[level]);
		}
		if (s.seq.nr && s.seq.nr < RANGE_MIN_SLOTS && !borrow_left(&s, level))
			borrow_right(&s, level);
		if (is_top(&s, level)) {
			root = build_root(&s, level, lower_of(&s));
			break;
		}
		seq_pack(&s, level, lower_of(&s));
	}
	BUG_ON(root && root->level >= RANGE_MAX_HEIGHT);
	/* release: pairs with the acquire in range_root(): the new nodes are filled in */
	smp_store_release(&t->root, root);
	WRITE_ONCE(t->count, s.count);
	give_back(&s);
}

void range_tree_clear(struct range_tree *t)
{
	struct range_node *node = t->root;
	struct range_store s = { .t = t };

	WRITE_ONCE(t->root, NULL);
	WRITE_ONCE(t->count, 0ul);
	if (node) {
		node->rcu.next = NULL;
		s.subtree = node;
		s.last_subtree = node;
		for (; node; node = node_next(node))
			if (node->level)
				bury_subtrees(&s, node, 0, node->nr);
		while (s.subtree)
			t->ops->free(node_pop(&s.subtree));
	}
	range_tree_unreserve(t);
}

u64 range_tree_count(const struct range_tree *t)
{
	return READ_ONCE(t->count);
}
