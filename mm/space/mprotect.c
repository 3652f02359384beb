// SPDX-License-Identifier: MIT
/*
 * mprotect.c - other access rights for a range.
 *
 * Area by area: what comes before an error stays done, as the manual page says. An area as such is changed whole or
 * not at all: its ends are no leaf's inside by the time its flags change, so no entry is left with the old rights.
 */
#include "vma.h"

/*
 * Private memory that becomes writable is promised from then on. The promise ends when it becomes read-only only if it
 * was never made use of. Return: pages that were promised now; -ENOMEM.
 */
static long charge(const struct vm_area_struct *vma, unsigned long pages, vm_flags_t *flags)
{
	struct mm_struct *mm = vma->vm_mm;
	vm_flags_t old = vma->vm_flags;

	if (!(*flags & VM_WRITE)) {
		if (old & VM_ACCOUNT && vma_is_anonymous(vma) && !vma->anon_vma)
			*flags &= ~VM_ACCOUNT;
		return 0;
	}
	if (is_data_mapping(*flags) && !is_data_mapping(old) && !may_add_data(mm, pages))
		return -ENOMEM;
	if (old & (VM_ACCOUNT | VM_WRITE | VM_SHARED | VM_NORESERVE))
		return 0;
	if (vm_enough_memory(mm, (long)pages))
		return -ENOMEM;
	*flags |= VM_ACCOUNT;
	return (long)pages;
}

static void change_entries(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	struct mmu_notifier_range range;
	struct mmu_gather tlb;

	mmu_notifier_range_init(&range, MMU_NOTIFY_PROTECTION_VMA, vma->vm_mm, start, end);
	(void)mmu_notifier_invalidate_range_start(&range);
	tlb_gather_mmu(&tlb, vma->vm_mm);
	if (change_protection(&tlb, vma, start, end) < 0)
		octavo_panic("mprotect: a leaf reaches out of [%lx, %lx)", start, end);
	tlb_finish_mmu(&tlb);
	mmu_notifier_invalidate_range_end(&range);
}

/* Is it locked, and was nothing of it to be copied until now? */
static bool locked_becomes_writable(vm_flags_t old, vm_flags_t flags)
{
	return (old & (VM_WRITE | VM_SHARED | VM_LOCKED)) == VM_LOCKED && flags & VM_WRITE;
}

/* @populate: set to true if there are pages to be brought in. */
static int protect_part(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			vm_flags_t flags, bool *populate)
{
	unsigned long pages = (end - start) >> PAGE_SHIFT;
	struct mm_struct *mm = vma->vm_mm;
	vm_flags_t old = vma->vm_flags;
	long charged;

	if (flags == old)
		return 0;
	charged = charge(vma, pages, &flags);
	if (charged < 0)
		return (int)charged;
	vma = vma_modify(vma, start, end, flags);
	if (IS_ERR(vma)) {
		vm_unacct_memory(charged);
		return (int)PTR_ERR(vma);
	}
	if (old & ~flags & VM_ACCOUNT)
		vm_unacct_memory((long)pages);
	vm_stat_account(mm, old, -(long)pages);
	vm_stat_account(mm, flags, (long)pages);
	change_entries(vma, start, end);
	*populate |= locked_becomes_writable(old, flags);
	return 0;
}

/* Part by part. Context: mmap_lock for writing. */
static int protect_range(struct mm_struct *mm, unsigned long start, unsigned long end,
			 vm_flags_t access, bool *populate)
{
	while (start < end) {
		struct vm_area_struct *vma = vma_lookup(mm, start);
		unsigned long part_end;
		vm_flags_t flags;
		int err;

		if (!vma)
			return -ENOMEM;
		flags = (vma->vm_flags & ~VM_ACCESS_FLAGS) | access;
		/* VM_MAYREAD and its like are four bits up */
		if (access & ~(flags >> 4))
			return -EACCES;
		part_end = min(end, vma->vm_end);
		err = protect_part(vma, start, part_end, flags, populate);
		if (err)
			return err;
		start = part_end;
	}
	return 0;
}
BUILD_BUG_ON(VM_MAYREAD != VM_READ << 4 || VM_MAYWRITE != VM_WRITE << 4 ||
	     VM_MAYEXEC != VM_EXEC << 4);

/* PROT_GROWSDOWN: from where the area begins. Areas that grow up there are none. */
static int grow_range(struct mm_struct *mm, unsigned long *start, unsigned long end,
		      unsigned long prot)
{
	const struct vm_area_struct *vma = find_vma(mm, *start);

	if (!vma)
		return -ENOMEM;
	if (prot & PROT_GROWSDOWN) {
		if (vma->vm_start >= end)
			return -ENOMEM;
		if (!(vma->vm_flags & VM_GROWSDOWN))
			return -EINVAL;
		*start = vma->vm_start;
		return 0;
	}
	if (vma->vm_start > *start)
		return -ENOMEM;
	return prot & PROT_GROWSUP ? -EINVAL : 0;
}

int vm_mprotect(struct mm_struct *mm, unsigned long addr, unsigned long len, unsigned long prot)
{
	const unsigned long grows = PROT_GROWSDOWN | PROT_GROWSUP;
	bool populate = false;
	unsigned long end;
	int err;

	if ((prot & grows) == grows || addr & ~PAGE_MASK)
		return -EINVAL;
	if (!len)
		return 0;
	len = ALIGN(len, PAGE_SIZE);
	end = addr + len;
	if (end <= addr)
		return -ENOMEM;
	/* 8: PROT_SEM, which no machine of today's tells from the others */
	if (prot & ~(grows | PROT_READ | PROT_WRITE | PROT_EXEC | 8ul))
		return -EINVAL;
	mmap_write_lock(mm);
	err = grow_range(mm, &addr, end, prot);
	if (!err)
		err = protect_range(mm, addr, end, prot_to_flags(prot), &populate);
	mmap_write_unlock(mm);
	/* what cannot be had now comes with the first access, or its error does */
	if (populate)
		populate_locked(mm, addr, end);
	return err;
}
