// SPDX-License-Identifier: MIT
/*
 * rmap_debug.c - are chains and trees of anon_vmas what they should be?
 *
 * Slow, and for a quiet machine. It goes by the areas of one address space, and sees those of others only as
 * nodes of the trees that they share.
 */
#include <octavo/range_tree.h>

#include "rmap_internal.h"

#define CHECK(cond)                                                                            \
	do {                                                                                   \
		if (!(cond)) {                                                                 \
			pr_err("area %p, 0x%lx: not so: %s", (const void *)vma, vma->vm_start, \
			       #cond);                                                         \
			ok = false;                                                            \
		}                                                                              \
	} while (0)

/* Nodes of a tree, and whether @avc is one of them. */
static u32 tree_nodes(const struct anon_vma *anon_vma, const struct anon_vma_chain *avc,
		      bool *found)
{
	const struct interval_node *node;
	u32 n = 0;

	*found = false;
	for (node = interval_tree_first(&anon_vma->tree, 0, ~0ul); node;
	     node = interval_tree_next(node, 0, ~0ul), n++)
		*found |= node == &avc->interval;
	return n;
}

static bool chain_validate(const struct vm_area_struct *vma, const struct anon_vma_chain *avc)
{
	const struct anon_vma *anon_vma = avc->anon_vma;
	bool found, ok = true;
	u32 nodes = tree_nodes(anon_vma, avc, &found);

	CHECK(avc->vma == vma);
	CHECK(avc->interval.start == vma->vm_pgoff);
	CHECK(avc->interval.last == vma->vm_pgoff + vma_pages(vma) - 1);
	CHECK(found);
	CHECK(interval_tree_validate(&anon_vma->tree));
	CHECK(anon_vma->nr_vmas == nodes);
	CHECK(anon_vma->nr_active <= nodes);
	CHECK(anon_vma->refcount != 0);
	/* Whose chains are of two families has folios that are looked for under one lock only. */
	CHECK(vma->anon_vma && anon_vma->root == vma->anon_vma->root);
	CHECK(anon_vma->parent->root == anon_vma->root);
	CHECK(anon_vma->parent->nr_children != 0);
	return ok;
}

static bool vma_chains_validate(const struct vm_area_struct *vma)
{
	const struct anon_vma_chain *avc;
	bool own = false, ok = true;

	list_for_each_entry (avc, &vma->anon_vma_chain, same_vma) {
		ok &= chain_validate(vma, avc);
		own |= avc->anon_vma == vma->anon_vma;
	}
	CHECK(own == (vma->anon_vma != NULL));
	CHECK(!vma->anon_vma == list_empty(&vma->anon_vma_chain));
	CHECK(!vma->anon_vma || vma->anon_vma->nr_active != 0);
	return ok;
}

bool anon_vma_validate(struct mm_struct *mm)
{
	unsigned long start = 0, end;
	struct vm_area_struct *vma;
	bool ok = true;

	rcu_read_lock();
	while ((vma = range_tree_find_first(&mm->vmas, start, ~0ul, NULL, &end))) {
		ok &= vma_chains_validate(vma);
		start = end;
	}
	rcu_read_unlock();
	return ok;
}
