// SPDX-License-Identifier: MIT
/*
 * fault.c - a CPU could not translate an address: the way in, and dispatch by what the entry is.
 *
 * 1. Missing anonymous memory is handled without mmap_lock (fault_anon_fast()). Whatever that does not do, or
 *    lost a race over, comes here a second time under mmap_lock held for reading. Errors are decided
 *    there only: what was read without the lock may be old.
 *
 * 2. Under mmap_lock areas and tables stay. Entries do not: other faults, MADV_DONTNEED and reverse-map
 *    walks change them under their page-table locks. So every handler looks at the entry under its
 *    lock, does what sleeps without it, and looks again. One that finds another entry than before
 *    returns 0: the access is tried again, and finds what there is.
 *
 * 3. What takes a device's time, or somebody else's, is waited for without mmap_lock (fault_wait.c), and
 *    then everything is looked at again.
 */
#include "fault.h"
#include "vma_lock.h"

/* ---- entries that are neither none nor fit for use ---- */

/* Somebody moves the page just now. Context: f->pos has its ptl held, which is given up. */
static vm_fault_t fault_migrating(struct fault *f)
{
	struct folio *folio;

	if (!fault_may_sleep(f)) {
		pte_unlock(&f->pos);
		return VM_FAULT_RETRY;
	}
	if (!f->wait) {
		migration_entry_wait(&f->pos);
		return 0;
	}
	folio = migration_entry_get(&f->pos);
	if (folio)
		return fault_wait_folio(f, FAULT_WAIT_LOCK, folio);
	octavo_port_relax();
	return 0;
}

/* Swap form. Context: f->pos has its ptl held, which is given up. */
static vm_fault_t fault_swap_form(struct fault *f)
{
	swp_entry_t entry = pte_to_swp_entry(f->pos.pte);

	if (likely(is_swap_slot(entry) && !f->pos.level))
		return fault_swap_slot(f);
	if (is_device_private_entry(entry))
		return fault_device(f);
	if (swp_type(entry) == SWP_DEVICE_EXCLUSIVE)
		return fault_device_exclusive(f);
	if (is_migration_entry(entry))
		return fault_migrating(f);
	pte_unlock(&f->pos);
	if (is_hwpoison_entry(entry))
		return VM_FAULT_HWPOISON;
	if (is_pte_marker(entry) && swp_offset(entry) & PTE_MARKER_POISONED)
		return VM_FAULT_HWPOISON;
	if (is_pte_marker(entry) && swp_offset(entry) & PTE_MARKER_GUARD)
		return VM_FAULT_SIGSEGV;
	/* There is nobody to bring it back. */
	return VM_FAULT_SIGBUS;
}

/*
 * An entry without rights in an area that has some: a hint that has done its duty. It gets the area's
 * protection, which is never writable where a write must copy.
 */
static void restore_protnone(struct fault *f)
{
	f->pos.pte = pte_mkyoung(pte_modify(f->pos.pte, f->vma->vm_page_prot));
	set_pte(f->pos.ptep, f->pos.pte);
}

vm_fault_t fault_present(struct fault *f)
{
	if (pte_protnone(f->pos.pte) && f->vma->vm_flags & VM_ACCESS_FLAGS)
		restore_protnone(f);
	if (fault_wants_own(f) && !pte_write(f->pos.pte))
		return f->pos.level ? fault_wp_leaf(f) : fault_wp(f);
	/* Somebody was faster, or the translation was older than the entry. */
	fault_allow(f);
	pte_unlock(&f->pos);
	return 0;
}

static vm_fault_t fault_missing(struct fault *f)
{
	return area_is_anon(f->vma) ? fault_anon_missing(f) : fault_object_missing(f);
}

/* The walk ended above the last level. */
static vm_fault_t fault_above(struct fault *f)
{
	if (pte_none(f->pos.pte))
		return fault_missing(f);
	/* What it is is known under its lock only. */
	if (!pte_offset_lock(f->mm, f->addr, f->pos.level, &f->pos))
		return 0;
	if (pte_leaf(f->pos.pte, f->pos.level))
		return fault_present(f);
	if (pte_is_swap(f->pos.pte))
		return fault_swap_form(f);
	pte_unlock(&f->pos);
	return 0;
}

static vm_fault_t fault_handle(struct fault *f)
{
	vm_flags_t vm_flags = f->vma->vm_flags;

	VM_BUG_ON(!rwsem_is_locked(&f->mm->mmap_lock));
	VM_BUG_ON(f->addr < f->vma->vm_start || f->addr >= f->vma->vm_end);
	/* Force writes to private memory only. */
	if (f->flags & FAULT_FLAG_WRITE && !(vm_flags & VM_WRITE) && !is_cow_mapping(vm_flags))
		return VM_FAULT_SIGSEGV;
	if (!pte_offset_lock(f->mm, f->addr, PGTABLE_LEVEL_PTE, &f->pos))
		return fault_above(f);
	if (pte_present(f->pos.pte))
		return fault_present(f);
	if (!pte_none(f->pos.pte))
		return fault_swap_form(f);
	pte_unlock(&f->pos);
	return fault_missing(f);
}

vm_fault_t handle_mm_fault_wait(struct vm_area_struct *vma, unsigned long addr, u32 flags,
				struct fault_wait *wait)
{
	struct fault f = { .mm = vma->vm_mm,
			   .vma = vma,
			   .addr = ALIGN_DOWN(addr, PAGE_SIZE),
			   .flags = flags,
			   .wait = flags & FAULT_FLAG_NOWAIT ? NULL : wait };

	return fault_handle(&f) & ~VM_FAULT_NOPAGE;
}

vm_fault_t handle_mm_fault(struct vm_area_struct *vma, unsigned long addr, u32 flags)
{
	struct mm_struct *mm = vma->vm_mm;
	struct fault_wait wait;
	vm_fault_t ret;

	if (!(flags & FAULT_FLAG_ALLOW_RETRY))
		return handle_mm_fault_wait(vma, addr, flags, NULL);
	fault_wait_init(&wait);
	ret = handle_mm_fault_wait(vma, addr, flags, &wait);
	if (!fault_waits(&wait))
		return ret;
	mmap_read_unlock(mm);
	/* if there is no memory, who comes again without the flag is told */
	fault_wait(&wait);
	return ret | wait.major;
}

/* ---- the way in ---- */

/*
 * Nothing is there: a stack may grow. Context: mmap_lock for reading, which is given up. Return: 0: it has
 * grown, or perhaps: look again.
 */
static vm_fault_t fault_unmapped(struct fault *f)
{
	struct vm_area_struct *next = find_vma(f->mm, f->addr);
	bool stack = next && next->vm_flags & VM_GROWSDOWN;

	mmap_read_unlock(f->mm);
	if (!stack)
		return VM_FAULT_SIGSEGV | VM_FAULT_MAPERR;
	if (!fault_may_sleep(f))
		return VM_FAULT_RETRY;
	return expand_stack(f->mm, f->addr) ? VM_FAULT_SIGSEGV | VM_FAULT_MAPERR : 0;
}

/* Once, with mmap_lock. Return: as mm_fault(), or VM_FAULT_RETRY with f->wait saying for what. */
static vm_fault_t fault_turn(struct fault *f)
{
	vm_fault_t ret;

	for (;;) {
		if (fault_may_sleep(f))
			mmap_read_lock(f->mm);
		else if (!mmap_read_trylock(f->mm))
			return VM_FAULT_RETRY;
		f->vma = vma_lookup(f->mm, f->addr);
		if (f->vma)
			break;
		ret = fault_unmapped(f);
		if (ret)
			return ret;
	}
	ret = fault_permitted(f->vma, f->flags) ? fault_handle(f) : VM_FAULT_SIGSEGV;
	mmap_read_unlock(f->mm);
	return ret;
}

static __noinline vm_fault_t fault_locked(struct fault *f)
{
	struct fault_wait wait;
	vm_fault_t ret;

	fault_wait_init(&wait);
	f->wait = fault_may_sleep(f) ? &wait : NULL;
	do {
		ret = fault_turn(f);
		if (!fault_waits(&wait))
			break;
		ret = fault_wait(&wait);
	} while (!ret);
	return (ret | wait.major) & ~VM_FAULT_NOPAGE;
}

vm_fault_t mm_fault(struct mm_struct *mm, unsigned long addr, u32 flags)
{
	struct fault f; /* the place is the walk's to fill in */
	vm_fault_t ret;

	f.mm = mm;
	f.vma = NULL;
	f.addr = ALIGN_DOWN(addr, PAGE_SIZE);
	f.flags = flags;
	ret = fault_anon_fast(&f);

	return likely(ret != FAULT_NEEDS_LOCK) ? ret : fault_locked(&f);
}
