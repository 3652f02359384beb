// SPDX-License-Identifier: MIT
/*
 * mmap.c - mmap and munmap.
 */
#include "vma.h"

/* What may stand beside a MAP_SHARED_VALIDATE, as on Linux: what is younger may not. Unknown flags are ignored otherwise. */
#define MAP_TYPE 0x0ful
#define MAP_KNOWN                                                                            \
	(MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | \
	 MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | 0x800ul | 0x1000ul)

/* What the embedder may set in vm_file_operations.mmap. */
#define VM_MMAP_FLAGS (VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP)

/* Of an area whose owner has none: it is not anonymous. */
static const struct vm_operations_struct no_vm_ops = { 0 };

/* One mmap. */
struct mmap_call {
	struct mm_struct *mm;
	unsigned long addr, len, prot, flags;
	struct vm_file *file;
	unsigned long pgoff;
	vm_flags_t vm_flags;
};

static int mmap_type(struct mmap_call *c)
{
	vm_flags_t f = 0;

	switch (c->flags & MAP_TYPE) {
	case MAP_SHARED:
	case MAP_SHARED_VALIDATE:
		if (!c->file) {
			if ((c->flags & MAP_TYPE) != MAP_SHARED || c->vm_flags & VM_GROWSDOWN)
				return -EINVAL;
			return -ENODEV;
		}
		if ((c->flags & MAP_TYPE) == MAP_SHARED_VALIDATE && c->flags & ~MAP_KNOWN)
			return -EOPNOTSUPP;
		f = VM_SHARED | VM_MAYSHARE;
		break;
	case MAP_DROPPABLE:
		/* never written to swap, empty in a child: it cannot be relied on, so it is not promised */
		if (c->file || c->flags & MAP_LOCKED || c->vm_flags & VM_GROWSDOWN)
			return -EINVAL;
		f = VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP;
		c->vm_flags &= ~VM_LOCKED_MASK;
		break;
	case MAP_PRIVATE:
		break;
	default:
		return -EINVAL;
	}
	/* what lies before a stack is not in the object, and frames have nothing before them */
	if (c->file && c->vm_flags & VM_GROWSDOWN)
		return -EINVAL;
	c->vm_flags |= f;
	return 0;
}

static void mmap_flags(struct mmap_call *c)
{
	c->vm_flags =
		prot_to_flags(c->prot) | c->mm->def_flags | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
	if (c->flags & MAP_GROWSDOWN)
		c->vm_flags |= VM_GROWSDOWN | VM_STACK;
	if (c->flags & MAP_LOCKED)
		c->vm_flags |= VM_LOCKED;
	/* a thread's stack is used from one end, and seldom much of it */
	if (c->flags & MAP_STACK)
		c->vm_flags |= VM_NOHUGEPAGE;
	if (c->flags & MAP_NORESERVE &&
	    READ_ONCE(octavo_state.space.overcommit) != OVERCOMMIT_NEVER)
		c->vm_flags |= VM_NORESERVE;
}

/* Every argument. Return: 0 with addr, len, flags final. */
static int mmap_check(struct mmap_call *c)
{
	unsigned long leaf = level_size(MAX_LEAF_LEVEL), align;
	long addr;
	int err;

	if (!c->len)
		return -EINVAL;
	if (c->flags & MAP_FIXED_NOREPLACE)
		c->flags |= MAP_FIXED;
	c->len = ALIGN(c->len, PAGE_SIZE);
	if (!c->len)
		return -ENOMEM;
	if (c->pgoff + (c->len >> PAGE_SHIFT) < c->pgoff)
		return -EOVERFLOW;
	if (c->mm->map_count > c->mm->max_map_count)
		return -ENOMEM;
	align = !c->file && IS_ALIGNED(c->len, leaf) ? leaf : PAGE_SIZE;
	addr = get_unmapped_area(c->mm, c->addr, c->len, c->flags & MAP_FIXED, align);
	if (addr < 0)
		return (int)addr;
	c->addr = (unsigned long)addr;
	if (c->flags & MAP_FIXED_NOREPLACE &&
	    find_vma_intersection(c->mm, c->addr, c->addr + c->len))
		return -EEXIST;
	mmap_flags(c);
	if (c->flags & MAP_LOCKED && !can_do_mlock(c->mm))
		return -EPERM;
	if (!mlock_future_ok(c->mm, c->vm_flags, c->len))
		return -EAGAIN;
	err = mmap_type(c);
	if (!c->file)
		c->pgoff = c->addr >> PAGE_SHIFT;
	return err;
}

/* ---- a new area ---- */

static struct vm_area_struct *new_area(const struct mmap_call *c)
{
	struct vm_area_struct *vma = vm_area_alloc(c->mm);

	if (!vma)
		return NULL;
	vma_init_range(vma, c->addr, c->addr + c->len, c->pgoff);
	WRITE_ONCE(vma->vm_flags, c->vm_flags);
	vma_set_page_prot(vma);
	if (c->file) {
		vm_file_get(c->file);
		WRITE_ONCE(vma->vm_file, c->file);
	}
	return vma;
}

/* The embedder's part. On failure the area maps nothing. Nothing is in the range. */
static int call_mmap(const struct mmap_call *c, struct vm_area_struct *vma)
{
	int err = c->file->ops->mmap ? c->file->ops->mmap(c->file, vma) : -ENODEV;

	if (err) {
		unmap_new_area(vma);
		return err;
	}
	if (vma->vm_start != c->addr || vma->vm_end != c->addr + c->len ||
	    (vma->vm_flags ^ c->vm_flags) & ~VM_MMAP_FLAGS)
		octavo_panic("mmap: the file changed more of its area than it may");
	if (!vma->vm_ops)
		WRITE_ONCE(vma->vm_ops, &no_vm_ops);
	if (vma->vm_flags & VM_SPECIAL)
		WRITE_ONCE(vma->vm_flags, vma->vm_flags & ~VM_LOCKED_MASK);
	/* the owner's operations may say more than the flags did */
	vma_set_page_prot(vma);
	return 0;
}

/* Count it and put it in the tree. Reserved: one store. */
static void link_area(struct vm_area_struct *vma)
{
	range_tree_store(&vma->vm_mm->vmas, vma->vm_start, vma->vm_end, vma);
	vma->vm_mm->map_count++;
}

static void count_area(struct mm_struct *mm, vm_flags_t flags, unsigned long pages)
{
	vm_stat_account(mm, flags, (long)pages);
	if (flags & VM_LOCKED)
		mm->locked_vm += pages;
}

static bool find_merge(const struct mmap_call *c, struct vma_merge *merge)
{
	const struct vma_spec spec = {
		.mm = c->mm,
		.start = c->addr,
		.end = c->addr + c->len,
		.pgoff = c->pgoff,
		.flags = c->vm_flags,
	};

	return !c->file && vma_merge_find(&spec, merge);
}

/*
 * Nothing is there, all is counted and promised, one store is reserved. @vma: NULL if a neighbour will have the range, else
 * an area, which is used or freed.
 */
static int place_area(const struct mmap_call *c, struct vm_area_struct *vma)
{
	struct vma_merge merge;
	int err;

	if (find_merge(c, &merge)) {
		vma_merge_commit(&merge);
		if (vma)
			vm_area_free(vma);
		count_area(c->mm, c->vm_flags, c->len >> PAGE_SHIFT);
		return 0;
	}
	VM_BUG_ON(!vma);
	if (c->file) {
		err = call_mmap(c, vma);
		if (err) {
			vm_area_free(vma);
			return err;
		}
	}
	link_area(vma);
	count_area(c->mm, vma->vm_flags, c->len >> PAGE_SHIFT);
	/* A merge is no duty: without memory for it there is one area more. */
	if (c->file)
		vma_modify(vma, vma->vm_start, vma->vm_end, vma->vm_flags);
	return 0;
}

/* What the range will cost beyond what its present areas do. */
static int mmap_charge(struct mmap_call *c, const struct vma_unmap *u)
{
	unsigned long pages = c->len >> PAGE_SHIFT;
	long net = (long)(pages - u->nr_accounted);

	if (!may_replace_vm(c->mm, c->vm_flags, pages, u))
		return -ENOMEM;
	if (!accountable_mapping(c->vm_flags))
		return 0;
	if (vm_enough_memory(c->mm, net))
		return -ENOMEM;
	/* the rest comes back with what is unmapped */
	vm_acct_memory((long)u->nr_accounted);
	c->vm_flags |= VM_ACCOUNT;
	return 0;
}

static void mmap_uncharge(const struct mmap_call *c)
{
	if (c->vm_flags & VM_ACCOUNT)
		vm_unacct_memory((long)(c->len >> PAGE_SHIFT));
}

/* Checked. Reserve everything, then change things; only the embedder can still say no. */
static int mmap_area(struct mmap_call *c)
{
	struct vm_area_struct *vma = NULL;
	struct vma_merge merge;
	struct vma_unmap u;
	int err;

	err = unmap_prepare(&u, c->mm, c->addr, c->addr + c->len, 1);
	if (err)
		return err;
	err = mmap_charge(c, &u);
	if (err)
		goto abort;
	/* after an unmapping the neighbours are others, perhaps */
	if (u.any || !find_merge(c, &merge)) {
		vma = new_area(c);
		err = -ENOMEM;
		if (!vma)
			goto uncharge;
	}
	unmap_commit(&u);
	err = place_area(c, vma);
	if (err)
		mmap_uncharge(c);
	return err;
uncharge:
	mmap_uncharge(c);
abort:
	unmap_abort(&u);
	return err;
}

int map_anon(struct mm_struct *mm, unsigned long start, unsigned long end, vm_flags_t flags)
{
	struct mmap_call c = {
		.mm = mm,
		.addr = start,
		.len = end - start,
		.vm_flags = flags,
		.pgoff = start >> PAGE_SHIFT,
	};

	return mmap_area(&c);
}

/* ---- calls ---- */

static bool wants_pages(const struct mmap_call *c)
{
	return c->vm_flags & VM_LOCKED ||
	       (c->flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE;
}

long vm_mmap(struct mm_struct *mm, unsigned long addr, unsigned long len, unsigned long prot,
	     unsigned long flags, struct vm_file *file, unsigned long offset)
{
	struct mmap_call c = {
		.mm = mm,
		.addr = addr,
		.len = len,
		.prot = prot,
		.flags = flags,
		.file = flags & MAP_ANONYMOUS ? NULL : file,
		.pgoff = offset >> PAGE_SHIFT,
	};
	int err;

	/* there are no reserved pools, and who asks for them should know */
	if (flags & MAP_HUGETLB)
		return -EINVAL;
	if (offset & ~PAGE_MASK || (!file && !(flags & MAP_ANONYMOUS)))
		return -EINVAL;
	mmap_write_lock(mm);
	err = mmap_check(&c);
	if (!err)
		err = mmap_area(&c);
	mmap_write_unlock(mm);
	if (err)
		return err;
	/* pages that cannot be had now come with the first access, or its error does */
	if (wants_pages(&c))
		(void)mm_populate(mm, c.addr, c.len, true);
	return (long)c.addr;
}

int vm_munmap(struct mm_struct *mm, unsigned long addr, unsigned long len)
{
	int err;

	if (addr & ~PAGE_MASK || addr > mm->task_size || len > mm->task_size - addr)
		return -EINVAL;
	len = ALIGN(len, PAGE_SIZE);
	if (!len)
		return -EINVAL;
	mmap_write_lock(mm);
	err = unmap_range(mm, addr, addr + len);
	mmap_write_unlock(mm);
	return err;
}
