// SPDX-License-Identifier: MIT
/*
 * mlock.c - memory that stays, and memory that is brought in at once.
 */
#include "fault.h"
#include "vma.h"

/* ---- bringing in ---- */

/* A part of an area. Context: mmap_lock for reading. Return: how far it got; *@err why not further. */
static unsigned long populate_part(struct vm_area_struct *vma, unsigned long start,
				   unsigned long end, struct fault_wait *wait, int *err)
{
	/* what is private is copied now, not at the first write */
	bool write = (vma->vm_flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
	long done;

	if (vma->vm_flags & (VM_IO | VM_PFNMAP) || vma->vm_flags & VM_LOCKONFAULT)
		return end;
	if (!(vma->vm_flags & VM_ACCESS_FLAGS)) {
		*err = -EFAULT;
		return start;
	}
	done = populate_range_wait(vma, start, end, write, wait);
	if (done > 0 || fault_waits(wait))
		return start + ((unsigned long)done << PAGE_SHIFT);
	*err = done ? (int)done : -EFAULT;
	return start;
}

int mm_populate(struct mm_struct *mm, unsigned long start, unsigned long len, bool best_effort)
{
	unsigned long end = start + len;
	struct fault_wait wait;
	int err = 0;

	fault_wait_init(&wait);
	while (start < end && !err) {
		struct vm_area_struct *vma;
		unsigned long area_end = end;

		/* given back now and then, for who wants to write */
		mmap_read_lock(mm);
		vma = find_vma_intersection(mm, start, end);
		if (vma) {
			area_end = min(end, vma->vm_end);
			start = populate_part(vma, max(start, vma->vm_start), area_end, &wait,
					      &err);
		}
		mmap_read_unlock(mm);
		if (fault_wait(&wait))
			err = -ENOMEM;
		if (!vma)
			break;
		if (err && best_effort) {
			start = area_end;
			err = 0;
		}
	}
	return err;
}

void populate_locked(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	while (start < end) {
		unsigned long from = end, to = end;
		const struct vm_area_struct *vma;

		mmap_read_lock(mm);
		vma = find_vma_intersection(mm, start, end);
		if (vma && vma->vm_flags & VM_LOCKED)
			from = max(start, vma->vm_start);
		if (vma)
			to = min(end, vma->vm_end);
		mmap_read_unlock(mm);
		if (from < to)
			(void)mm_populate(mm, from, to - from, true);
		start = to;
	}
}

/* ---- locking ---- */

/* Context: mmap_lock for writing. */
static int lock_part(struct vm_area_struct *vma, unsigned long start, unsigned long end,
		     vm_flags_t flags)
{
	unsigned long pages = (end - start) >> PAGE_SHIFT;
	struct mm_struct *mm = vma->vm_mm;
	vm_flags_t old = vma->vm_flags;

	flags |= old & ~VM_LOCKED_MASK;
	/* what stays anyway, and what may always go, is not locked */
	if (flags == old || old & (VM_SPECIAL | VM_DROPPABLE))
		return 0;
	vma = vma_modify(vma, start, end, flags);
	if (IS_ERR(vma))
		return (int)PTR_ERR(vma);
	if ((flags ^ old) & VM_LOCKED) {
		mm->locked_vm += flags & VM_LOCKED ? pages : -pages;
		mlock_range(vma, start, end, flags & VM_LOCKED);
	}
	return 0;
}

/* Context: mmap_lock for writing. Return: 0; -ENOMEM: a hole, and what comes before it is done. */
static int lock_range(struct mm_struct *mm, unsigned long start, unsigned long end,
		      vm_flags_t flags)
{
	while (start < end) {
		struct vm_area_struct *vma = vma_lookup(mm, start);
		unsigned long part_end;
		int err;

		if (!vma)
			return -ENOMEM;
		part_end = min(end, vma->vm_end);
		err = lock_part(vma, start, part_end, flags);
		if (err)
			return err;
		start = part_end;
	}
	return 0;
}

/* Pages of a range that are locked already, and so are not counted twice. */
static unsigned long locked_in(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma;
	unsigned long at, n = 0;

	for_each_vma_range(mm, vma, at, start, end)
	{
		if (vma->vm_flags & VM_LOCKED)
			n += vma_overlap(vma, start, end);
	}
	return n;
}

static bool lock_limit_ok(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	unsigned long limit = mm->limits.memlock >> PAGE_SHIFT;
	unsigned long want = ((end - start) >> PAGE_SHIFT) + mm->locked_vm;

	return want <= limit || want - locked_in(mm, start, end) <= limit;
}

/* The pages that a range touches. Return: false: it wraps. */
static bool page_range(unsigned long *addr, unsigned long len, unsigned long *end)
{
	unsigned long last = *addr + len;

	*addr &= PAGE_MASK;
	*end = ALIGN(last, PAGE_SIZE);
	return last >= len && *end >= last;
}

/* What mlock() says of a page that could not be brought in. */
static int populate_error(int err)
{
	return err == -EFAULT ? -ENOMEM : err == -ENOMEM ? -EAGAIN : err;
}

int vm_mlock(struct mm_struct *mm, unsigned long addr, unsigned long len, int flags)
{
	vm_flags_t lock = VM_LOCKED;
	unsigned long end;
	int err = -ENOMEM;

	if ((unsigned int)flags & ~MLOCK_ONFAULT)
		return -EINVAL;
	if ((unsigned int)flags & MLOCK_ONFAULT)
		lock |= VM_LOCKONFAULT;
	if (!can_do_mlock(mm))
		return -EPERM;
	if (!page_range(&addr, len, &end))
		return -EINVAL;
	mmap_write_lock(mm);
	if (lock_limit_ok(mm, addr, end))
		err = lock_range(mm, addr, end, lock);
	mmap_write_unlock(mm);
	return err ? err : populate_error(mm_populate(mm, addr, end - addr, false));
}

int vm_munlock(struct mm_struct *mm, unsigned long addr, unsigned long len)
{
	unsigned long end;
	int err;

	if (!page_range(&addr, len, &end))
		return -EINVAL;
	mmap_write_lock(mm);
	err = lock_range(mm, addr, end, 0);
	mmap_write_unlock(mm);
	return err;
}

/* Every area there is. What cannot be split off or merged stays as it is. Context: mmap_lock for writing. */
static void lock_all(struct mm_struct *mm, vm_flags_t flags)
{
	struct vm_area_struct *vma;
	unsigned long at;

	for_each_vma_range(mm, vma, at, 0, ~0ul)(void)
		lock_part(vma, vma->vm_start, vma->vm_end, flags);
}

int vm_mlockall(struct mm_struct *mm, int flags)
{
	vm_flags_t lock = VM_LOCKED | (flags & MCL_ONFAULT ? VM_LOCKONFAULT : 0);

	if (!flags || flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) || flags == MCL_ONFAULT)
		return -EINVAL;
	if (!can_do_mlock(mm))
		return -EPERM;
	mmap_write_lock(mm);
	if (flags & MCL_CURRENT && mm->total_vm > mm->limits.memlock >> PAGE_SHIFT) {
		mmap_write_unlock(mm);
		return -ENOMEM;
	}
	mm->def_flags &= ~VM_LOCKED_MASK;
	if (flags & MCL_FUTURE)
		mm->def_flags |= lock;
	if (flags & MCL_CURRENT)
		lock_all(mm, lock);
	mmap_write_unlock(mm);
	if (flags & MCL_CURRENT)
		(void)mm_populate(mm, 0, mm->task_size, true);
	return 0;
}

int vm_munlockall(struct mm_struct *mm)
{
	mmap_write_lock(mm);
	mm->def_flags &= ~VM_LOCKED_MASK;
	lock_all(mm, 0);
	mmap_write_unlock(mm);
	return 0;
}
