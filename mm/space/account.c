// SPDX-License-Identifier: MIT
/*
 * account.c - limits of an address space, and memory that has been promised to all of them together.
 *
 * Promised memory is that of private areas that may be written to (VM_ACCOUNT): each page of it may come to need a frame.
 * What the three modes allow is docs/addrspace.md's "Promises".
 */
#include "vma.h"

/* ---- one address space ---- */

static bool is_code(vm_flags_t flags)
{
	return (flags & (VM_EXEC | VM_WRITE | VM_GROWSDOWN)) == VM_EXEC;
}

void vm_stat_account(struct mm_struct *mm, vm_flags_t flags, long pages)
{
	unsigned long n = (unsigned long)pages;

	mm->total_vm += n;
	if (is_code(flags))
		mm->exec_vm += n;
	else if (flags & VM_GROWSDOWN)
		mm->stack_vm += n;
	else if (is_data_mapping(flags))
		mm->data_vm += n;
}

bool may_replace_vm(const struct mm_struct *mm, vm_flags_t flags, unsigned long pages,
		    const struct vma_unmap *u)
{
	unsigned long as = mm->limits.as >> PAGE_SHIFT, data = mm->limits.data >> PAGE_SHIFT;

	if (pages > as || mm->total_vm - u->nr_pages > as - pages)
		return false;
	return !is_data_mapping(flags) ||
	       (pages <= data && mm->data_vm - u->nr_data <= data - pages);
}

bool may_expand_vm(const struct mm_struct *mm, vm_flags_t flags, unsigned long pages)
{
	return may_replace_vm(mm, flags, pages, &(const struct vma_unmap){ .nr_pages = 0 });
}

bool mlock_future_ok(const struct mm_struct *mm, vm_flags_t flags, unsigned long bytes)
{
	unsigned long limit = mm->limits.memlock >> PAGE_SHIFT, pages = bytes >> PAGE_SHIFT;

	if (!(flags & VM_LOCKED) || mm->limits.memlock == ~0ul)
		return true;
	return pages <= limit && mm->locked_vm <= limit - pages;
}

/* ---- all of them ---- */

int vm_set_overcommit(unsigned int mode, u64 limit_pages)
{
	struct space_state *space = &octavo_state.space;

	if (mode > OVERCOMMIT_NEVER)
		return -EINVAL;
	WRITE_ONCE(space->commit_limit, limit_pages);
	WRITE_ONCE(space->overcommit, mode);
	return 0;
}

u64 vm_committed_as(void)
{
	return READ_ONCE(octavo_state.space.committed) << PAGE_SHIFT;
}

void vm_acct_memory(long pages)
{
	/* relaxed: a number, nobody concludes anything about other memory from it */
	u64 old = fetch_add_relaxed(&octavo_state.space.committed, (u64)pages);

	VM_BUG_ON(pages < 0 && old < (u64)-pages);
	(void)old;
}

/* Not more than the limit, however many ask at once. */
static int commit_within(struct space_state *space, u64 pages)
{
	u64 limit = READ_ONCE(space->commit_limit), old = READ_ONCE(space->committed);

	do {
		if (pages > limit || old > limit - pages)
			return -ENOMEM;
	} while (!try_cmpxchg_relaxed(&space->committed, &old, old + pages));
	return 0;
}

int vm_enough_memory(struct mm_struct *mm, long pages)
{
	struct space_state *space = &octavo_state.space;

	if (pages <= 0)
		return 0;
	switch (READ_ONCE(space->overcommit)) {
	case OVERCOMMIT_NEVER:
		return commit_within(space, (u64)pages);
	case OVERCOMMIT_GUESS:
		/* only what can never be true is refused */
		if ((u64)pages > totalram_pages())
			return -ENOMEM;
		break;
	default:
		break;
	}
	vm_acct_memory(pages);
	return 0;
}
