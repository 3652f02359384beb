// SPDX-License-Identifier: MIT
/*
 * adjust.c - areas split, merged, given other flags.
 *
 * Whatever the case, one area ends up with a range, and others give up what they have of it: so a split is one store
 * in the tree, and so is a merge, of two areas or of three. The tree trims and drops the others itself; what is
 * left to do is their fields, and the reverse maps, which know areas by vm_pgoff and length.
 *
 * Areas that become one must have the same reverse map, or none. The one that has it is kept where that is
 * possible, so that a merge needs memory only if a part of an area goes to a neighbour that never had an anonymous page.
 */
#include <octavo/slab.h>

#include "vma.h"

/* ---- bounds ---- */

struct bounds {
	struct vm_area_struct *vma;
	unsigned long start, end;
};

/* Of one reverse map, or none; all at once for who walks it. */
static void set_bounds(const struct bounds *b, unsigned int nr)
{
	struct anon_vma *anon_vma = NULL;

	for (unsigned int i = 0; i < nr; i++) {
		vma_start_write(b[i].vma);
		if (b[i].vma->anon_vma)
			anon_vma = b[i].vma->anon_vma;
	}
	if (anon_vma)
		anon_vma_lock_write(anon_vma);
	for (unsigned int i = 0; i < nr; i++)
		anon_vma_interval_tree_pre_update_vma(b[i].vma);
	for (unsigned int i = 0; i < nr; i++) {
		struct vm_area_struct *vma = b[i].vma;
		unsigned long before = vma->vm_start >> PAGE_SHIFT;

		vma_init_range(vma, b[i].start, b[i].end,
			       vma->vm_pgoff + (b[i].start >> PAGE_SHIFT) - before);
	}
	for (unsigned int i = 0; i < nr; i++)
		anon_vma_interval_tree_post_update_vma(b[i].vma);
	if (anon_vma)
		anon_vma_unlock_write(anon_vma);
}

void vma_set_bounds(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	const struct bounds b = { vma, start, end };

	set_bounds(&b, 1);
}

/* ---- split ---- */

int vma_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	if (addr <= vma->vm_start || addr >= vma->vm_end)
		return 0;
	return vma->vm_ops && vma->vm_ops->may_split ? vma->vm_ops->may_split(vma, addr) : 0;
}

int vma_split_prepare(struct vma_split *split, struct vm_area_struct *vma, unsigned long start,
		      unsigned long end)
{
	struct vm_area_struct *new = vm_area_dup(vma, vma->vm_mm);

	VM_BUG_ON(start >= end || (start != vma->vm_start && end != vma->vm_end));
	split->vma = vma;
	split->new = NULL;
	if (!new)
		return -ENOMEM;
	vma_init_range(new, start, end, linear_page_index(vma, start));
	if (anon_vma_clone(new, vma)) {
		vm_area_free(new);
		return -ENOMEM;
	}
	split->new = new;
	return 0;
}

void vma_split_commit(struct vma_split *split)
{
	struct vm_area_struct *vma = split->vma, *new = split->new;

	if (!new)
		return;
	/* what @vma keeps; it may have lost more than @new has */
	if (new->vm_start > vma->vm_start)
		vma_set_bounds(vma, vma->vm_start, min(vma->vm_end, new->vm_start));
	else
		vma_set_bounds(vma, max(vma->vm_start, new->vm_end), vma->vm_end);
	range_tree_store(&vma->vm_mm->vmas, new->vm_start, new->vm_end, new);
	vma->vm_mm->map_count++;
	if (new->vm_ops &&new->vm_ops->open)
		new->vm_ops->open(new);
}

void vma_split_abort(struct vma_split *split)
{
	if (!split->new)
		return;
	unlink_anon_vmas(split->new);
	vm_area_free(split->new);
	split->new = NULL;
}

/* ---- merge ---- */

/* Could @vma, a neighbour, have the range of @spec as well? */
static bool can_merge(const struct vma_spec *spec, const struct vm_area_struct *vma)
{
	if (((spec->flags ^ vma->vm_flags) & ~VM_STICKY) || spec->flags & VM_SPECIAL)
		return false;
	if (spec->file != vma->vm_file || spec->ops != vma->vm_ops ||
	    spec->private != vma->vm_private_data)
		return false;
	/* each area of those is told when it goes */
	if (spec->ops && spec->ops->close)
		return false;
	/* wraps alike on both sides if @vma comes after */
	if (vma->vm_pgoff - (vma->vm_start >> PAGE_SHIFT) !=
	    spec->pgoff - (spec->start >> PAGE_SHIFT))
		return false;
	return !vma->anon_vma || !spec->anon_vma || vma->anon_vma == spec->anon_vma;
}

/* Who of the areas that become one is kept: see above. */
static void merge_choose(struct vma_merge *m, struct vm_area_struct *const *whole, unsigned int nr)
{
	m->keep = whole[0];
	for (unsigned int i = 0; i < nr; i++)
		if (!m->keep->anon_vma && whole[i]->anon_vma)
			m->keep = whole[i];
	m->nr_gone = 0;
	for (unsigned int i = 0; i < nr; i++) {
		m->sticky |= whole[i]->vm_flags & VM_STICKY;
		m->guards |= READ_ONCE(whole[i]->vm_guards);
		if (whole[i] != m->keep)
			m->gone[m->nr_gone++] = whole[i];
	}
}

bool vma_merge_find(const struct vma_spec *spec, struct vma_merge *m)
{
	struct vm_area_struct *prev = vma_ending_at(spec->mm, spec->start);
	struct vm_area_struct *next = vma_lookup(spec->mm, spec->end);
	struct vm_area_struct *whole[3] = { NULL };
	unsigned int nr = 0;

	/* inside of @spec->vma its neighbour is itself */
	if (prev == spec->vma || (prev && !can_merge(spec, prev)))
		prev = NULL;
	if (next == spec->vma || (next && !can_merge(spec, next)))
		next = NULL;
	if (prev && next && prev->anon_vma && next->anon_vma && prev->anon_vma != next->anon_vma)
		next = NULL;
	if (!prev && !next)
		return false;
	*m = (struct vma_merge){ .start = prev ? prev->vm_start : spec->start,
				 .end = next ? next->vm_end : spec->end };
	if (prev)
		whole[nr++] = prev;
	if (spec->vma) {
		m->sticky = spec->vma->vm_flags & VM_STICKY;
		m->guards = READ_ONCE(spec->vma->vm_guards);
		if (spec->vma->vm_start == spec->start && spec->vma->vm_end == spec->end)
			whole[nr++] = spec->vma;
		else
			m->trim = spec->vma;
	}
	if (next)
		whole[nr++] = next;
	merge_choose(m, whole, nr);
	return true;
}

int vma_merge_prepare(const struct vma_merge *m)
{
	int err = range_tree_prealloc(&m->keep->vm_mm->vmas, 1);

	if (!err && m->trim && m->trim->anon_vma && !m->keep->anon_vma)
		err = anon_vma_clone(m->keep, m->trim);
	return err;
}

void vma_merge_commit(const struct vma_merge *m)
{
	struct mm_struct *mm = m->keep->vm_mm;
	struct bounds b[2] = { { m->keep, m->start, m->end } };
	unsigned int nr = 1;

	for (unsigned int i = 0; i < m->nr_gone; i++)
		vma_start_write(m->gone[i]);
	if (m->trim) {
		bool head = m->trim->vm_start < m->start;

		b[nr++] = (struct bounds){ m->trim, head ? m->trim->vm_start : m->end,
					   head ? m->start : m->trim->vm_end };
	}
	set_bounds(b, nr);
	WRITE_ONCE(m->keep->vm_flags, m->keep->vm_flags | m->sticky);
	WRITE_ONCE(m->keep->vm_guards, READ_ONCE(m->keep->vm_guards) | m->guards);
	range_tree_store(&mm->vmas, m->start, m->end, m->keep);
	for (unsigned int i = 0; i < m->nr_gone; i++) {
		unlink_anon_vmas(m->gone[i]);
		vm_area_free(m->gone[i]);
		mm->map_count--;
	}
}

/* ---- parts ---- */

/* [@start, @end) is to be all of @vma. Return: 0; an error, and nothing has changed. */
static int cut_prepare(struct vm_area_struct *vma, unsigned long start, unsigned long end,
		       struct vma_split *head, struct vma_split *tail)
{
	unsigned int cuts = (start > vma->vm_start) + (end < vma->vm_end);
	struct mm_struct *mm = vma->vm_mm;
	int err;

	if (cuts && mm->map_count + cuts > mm->max_map_count)
		return -ENOMEM;
	err = range_tree_prealloc(&mm->vmas, cuts);
	if (!err && start > vma->vm_start)
		err = vma_split_prepare(head, vma, vma->vm_start, start);
	if (!err && end < vma->vm_end) {
		err = vma_split_prepare(tail, vma, end, vma->vm_end);
		if (err)
			vma_split_abort(head);
	}
	return err;
}

static int may_cut(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	int err = vma_may_split(vma, start);

	if (!err)
		err = vma_may_split(vma, end);
	if (!err && (start > vma->vm_start || end < vma->vm_end))
		err = split_leaves_at(vma, start, end);
	return err;
}

int vma_isolate(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	struct vma_split head = { 0 }, tail = { 0 };
	int err = may_cut(vma, start, end);

	if (!err)
		err = cut_prepare(vma, start, end, &head, &tail);
	if (err)
		return err;
	vma_start_write(vma);
	vma_split_commit(&head);
	vma_split_commit(&tail);
	return 0;
}

struct vm_area_struct *vma_modify(struct vm_area_struct *vma, unsigned long start,
				  unsigned long end, vm_flags_t flags)
{
	const struct vma_spec spec = {
		.mm = vma->vm_mm,
		.vma = vma,
		.start = start,
		.end = end,
		.pgoff = linear_page_index(vma, start),
		.flags = flags,
		.file = vma->vm_file,
		.ops = vma->vm_ops,
		.private = vma->vm_private_data,
		.anon_vma = vma->anon_vma,
	};
	struct vma_merge merge;
	int err;

	VM_BUG_ON(start < vma->vm_start || end > vma->vm_end || start >= end);
	if (!vma_merge_find(&spec, &merge)) {
		err = vma_isolate(vma, start, end);
		if (err)
			return ERR_PTR(err);
		vma_start_write(vma);
		vma_set_flags(vma, flags);
		return vma;
	}
	err = may_cut(vma, start, end);
	if (!err)
		err = vma_merge_prepare(&merge);
	if (err)
		return ERR_PTR(err);
	if (merge.keep == vma) {
		vma_start_write(vma);
		vma_set_flags(vma, flags);
	}
	vma_merge_commit(&merge);
	return merge.keep;
}
