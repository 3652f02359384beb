// SPDX-License-Identifier: MIT
/*
 * madvise.c - advice: what kind there is, for which areas it is legal, who carries it out.
 *
 * Advice on areas (what faults and fork do there) changes flags, with mmap_lock held for writing. Advice on pages
 * walks page tables with it held for reading. A hole gives -ENOMEM in the end, when all else has been done.
 */
#include "fault.h"
#include "vma.h"

#define VM_ADVICE_READ (VM_SEQ_READ | VM_RAND_READ)

/* ---- advice on areas ---- */

static bool is_area_advice(int advice)
{
	switch (advice) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_DONTFORK:
	case MADV_DOFORK:
	case MADV_WIPEONFORK:
	case MADV_KEEPONFORK:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
		return true;
	default:
		return false;
	}
}

/* Is it legal for the area? */
static bool area_advice_ok(const struct vm_area_struct *vma, int advice)
{
	vm_flags_t f = vma->vm_flags;

	switch (advice) {
	case MADV_DOFORK:
		return !(f & VM_IO);
	case MADV_WIPEONFORK:
		return !vma->vm_file && !(f & VM_SHARED);
	case MADV_KEEPONFORK:
		return !(f & VM_DROPPABLE);
	case MADV_DODUMP:
		return !(f & (VM_SPECIAL | VM_DROPPABLE));
	default:
		return true;
	}
}

static vm_flags_t advised_flags(vm_flags_t f, int advice)
{
	switch (advice) {
	case MADV_NORMAL:
		return f & ~VM_ADVICE_READ;
	case MADV_RANDOM:
		return (f & ~VM_ADVICE_READ) | VM_RAND_READ;
	case MADV_SEQUENTIAL:
		return (f & ~VM_ADVICE_READ) | VM_SEQ_READ;
	case MADV_DONTFORK:
		return f | VM_DONTCOPY;
	case MADV_DOFORK:
		return f & ~VM_DONTCOPY;
	case MADV_WIPEONFORK:
		return f | VM_WIPEONFORK;
	case MADV_KEEPONFORK:
		return f & ~VM_WIPEONFORK;
	case MADV_DONTDUMP:
		return f | VM_DONTDUMP;
	case MADV_DODUMP:
		return f & ~VM_DONTDUMP;
	case MADV_HUGEPAGE:
		return (f & ~VM_NOHUGEPAGE) | VM_HUGEPAGE;
	default: /* MADV_NOHUGEPAGE */
		return (f & ~VM_HUGEPAGE) | VM_NOHUGEPAGE;
	}
}

static int advise_area(struct vm_area_struct *vma, unsigned long start, unsigned long end,
		       int advice)
{
	vm_flags_t flags = advised_flags(vma->vm_flags, advice);

	if (!area_advice_ok(vma, advice))
		return -EINVAL;
	if (flags == vma->vm_flags)
		return 0;
	vma = vma_modify(vma, start, end, flags);
	if (!IS_ERR(vma))
		return 0;
	/* the manual page's word for memory that is short */
	return PTR_ERR(vma) == -ENOMEM ? -EAGAIN : (int)PTR_ERR(vma);
}

/* ---- advice on pages ---- */

/* Pages that may be taken away and come back: not those that are locked, nor bare frames. */
static bool can_take_pages(vm_flags_t f, bool locked_too)
{
	return !(f & VM_PFNMAP) && (locked_too || !(f & VM_LOCKED));
}

/* Guards are for private or shared ordinary memory that could be written to; locked memory cannot go. */
static bool guard_ok(const struct vm_area_struct *vma, bool locked_too)
{
	vm_flags_t f = READ_ONCE(vma->vm_flags);

	return f & VM_MAYWRITE && !(f & VM_SPECIAL) && (locked_too || !(f & VM_LOCKED));
}

static int guard_install(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	if (!guard_ok(vma, false))
		return -EINVAL;
	/* relaxed: fork, which looks, excludes us; before there is any */
	WRITE_ONCE(vma->vm_guards, 1ul);
	return guard_install_range(vma, start, end);
}

/* Where nobody reclaims the advice is as good as taken. */
static int pageout(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	/* acquire: pairs with the release of reclaim_init() */
	const struct reclaim_upcalls *up = smp_load_acquire(&octavo_state.upcalls.reclaim);

	return up ? up->pageout(vma, start, end) : 0;
}

/* Context: mmap_lock for reading. */
static int advise_pages(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			int advice)
{
	vm_flags_t f = READ_ONCE(vma->vm_flags);

	switch (advice) {
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
		if (!can_take_pages(f, advice == MADV_DONTNEED_LOCKED))
			return -EINVAL;
		return zap_page_range_single(vma, start, end - start);
	case MADV_FREE:
		if (!can_take_pages(f, false) || !vma_is_anonymous(vma))
			return -EINVAL;
		return madvise_free_range(vma, start, end);
	case MADV_COLD:
		return can_take_pages(f, false) ? madvise_cold_range(vma, start, end) : -EINVAL;
	case MADV_PAGEOUT:
		return can_take_pages(f, false) ? pageout(vma, start, end) : -EINVAL;
	case MADV_GUARD_INSTALL:
		return guard_install(vma, start, end);
	default: /* MADV_GUARD_REMOVE */
		return guard_ok(vma, true) ? guard_remove_range(vma, start, end) : -EINVAL;
	}
}

static bool is_page_advice(int advice)
{
	switch (advice) {
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_FREE:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_GUARD_INSTALL:
	case MADV_GUARD_REMOVE:
		return true;
	default:
		return false;
	}
}

/* ---- both ---- */

/* Area by area. Return: 0; the first error; -ENOMEM in the end if there are holes. */
static int advise_range(struct mm_struct *mm, unsigned long start, unsigned long end, int advice)
{
	int (*advise)(struct vm_area_struct *, unsigned long, unsigned long, int) =
		is_area_advice(advice) ? advise_area : advise_pages;
	int ret = 0;

	while (start < end) {
		struct vm_area_struct *vma = find_vma_intersection(mm, start, end);
		unsigned long part_end;
		int err;

		if (!vma)
			return -ENOMEM;
		if (start < vma->vm_start) {
			start = vma->vm_start;
			ret = -ENOMEM;
		}
		part_end = min(end, vma->vm_end);
		err = advise(vma, start, part_end, advice);
		if (err)
			return err;
		start = part_end;
	}
	return ret;
}

static int advise_locked(struct mm_struct *mm, unsigned long start, unsigned long end, int advice)
{
	int err;

	if (is_area_advice(advice)) {
		mmap_write_lock(mm);
		err = advise_range(mm, start, end, advice);
		mmap_write_unlock(mm);
		return err;
	}
	mmap_read_lock(mm);
	err = advise_range(mm, start, end, advice);
	mmap_read_unlock(mm);
	return err;
}

/* ---- bringing in ---- */

/* Context: mmap_lock for reading. Return: how far it got. */
static unsigned long populate_area(struct mm_struct *mm, unsigned long start, unsigned long end,
				   bool write, struct fault_wait *wait, int *err)
{
	struct vm_area_struct *vma = vma_lookup(mm, start);
	vm_flags_t f;
	long done;

	if (!vma) {
		*err = -ENOMEM;
		return start;
	}
	f = READ_ONCE(vma->vm_flags);
	if (f & (VM_IO | VM_PFNMAP) || !(f & (write ? VM_WRITE : VM_READ))) {
		*err = -EINVAL;
		return start;
	}
	done = populate_range_wait(vma, start, min(end, vma->vm_end), write, wait);
	if (done <= 0 && !fault_waits(wait))
		*err = done ? (int)done : -EFAULT;
	return done <= 0 ? start : start + ((unsigned long)done << PAGE_SHIFT);
}

static int advise_populate(struct mm_struct *mm, unsigned long start, unsigned long end, bool write)
{
	struct fault_wait wait;
	int err = 0;

	fault_wait_init(&wait);
	while (start < end && !err) {
		mmap_read_lock(mm);
		start = populate_area(mm, start, end, write, &wait, &err);
		mmap_read_unlock(mm);
		if (fault_wait(&wait))
			err = -ENOMEM;
	}
	return err;
}

/* Slots of a part of the range, its areas being what they are just now. Return: 0; -ENOMEM: there is a hole. */
static int willneed_some(struct mm_struct *mm, unsigned long *start, unsigned long end,
			 struct willneed *w)
{
	struct vm_area_struct *vma;
	int err = 0;

	mmap_read_lock(mm);
	vma = find_vma_intersection(mm, *start, end);
	if (!vma || *start < vma->vm_start)
		err = -ENOMEM;
	if (!vma)
		*start = end;
	else
		*start =
			willneed_collect(vma, max(*start, vma->vm_start), min(end, vma->vm_end), w);
	mmap_read_unlock(mm);
	return err;
}

/* Return: 0; -ENOMEM: there are holes. That memory for reading ahead is short is nobody's error. */
static int advise_willneed(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct willneed w = { .nr = 0 };
	bool more = true;
	int ret = 0;

	while (start < end) {
		int err = willneed_some(mm, &start, end, &w);

		if (err)
			ret = err;
		if (!more)
			w.nr = 0;
		more = willneed_read(&w) && more;
	}
	return ret;
}

/* Of the folios that MADV_COLLAPSE makes: one entry above the last level maps one. */
static unsigned int collapse_order(void)
{
	return min(level_order(MAX_LEAF_LEVEL), (unsigned int)MAX_FOLIO_ORDER);
}

/* Is it an area that can have one? Context: mmap_lock. */
static int collapse_check(const struct vm_area_struct *vma)
{
	unsigned long size = PAGE_SIZE << collapse_order(), first = ALIGN(vma->vm_start, size);

	if (first >= vma->vm_end || vma->vm_end - first < size)
		return -EINVAL;
	return vma_may_collapse(vma) ? 0 : -EINVAL;
}

/* A part of an area. What holds a border between two is done if there is none to make; what is inside of one is too little. */
static int collapse_part(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	unsigned int order = collapse_order();
	unsigned long size = PAGE_SIZE << order;
	int ret = 0;

	start = ALIGN(start, size);
	end = ALIGN_DOWN(end, size);
	if (start > end)
		return -EINVAL;
	for (; start < end; start += size) {
		int err = collapse_range(mm, start, order, 1u << order);

		if (err == -EBUSY)
			err = -EAGAIN;
		if (err && err != -EEXIST)
			ret = err;
	}
	return ret;
}

static int advise_collapse(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	int ret = 0, err;

	while (start < end) {
		const struct vm_area_struct *vma;
		unsigned long from = end, to = end;

		/* areas may be others by the time they are worked on: that is seen there */
		mmap_read_lock(mm);
		vma = find_vma_intersection(mm, start, end);
		if (vma) {
			from = max(start, vma->vm_start);
			to = min(end, vma->vm_end);
		}
		err = vma ? collapse_check(vma) : 0;
		mmap_read_unlock(mm);
		if (from > start)
			ret = -ENOMEM;
		if (!err && from < to)
			err = collapse_part(mm, from, to);
		if (err)
			return err;
		start = to;
	}
	return ret;
}

int vm_madvise(struct mm_struct *mm, unsigned long addr, unsigned long len, int advice)
{
	unsigned long end = addr + ALIGN(len, PAGE_SIZE);
	bool populate = advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;

	if (!is_area_advice(advice) && !is_page_advice(advice) && !populate &&
	    advice != MADV_COLLAPSE && advice != MADV_WILLNEED)
		return -EINVAL;
	if (addr & ~PAGE_MASK || (len && !ALIGN(len, PAGE_SIZE)) || end < addr)
		return -EINVAL;
	if (end == addr)
		return 0;
	if (populate)
		return advise_populate(mm, addr, end, advice == MADV_POPULATE_WRITE);
	if (advice == MADV_COLLAPSE)
		return advise_collapse(mm, addr, end);
	if (advice == MADV_WILLNEED)
		return advise_willneed(mm, addr, end);
	return advise_locked(mm, addr, end, advice);
}
