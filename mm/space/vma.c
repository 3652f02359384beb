// SPDX-License-Identifier: MIT
/*
 * vma.c - areas: their memory, copies, protection, finding them.
 *
 * Faults read areas without a lock, dead ones too (vma_lock.h): so fields are stored with WRITE_ONCE() from the first
 * store of a life on, after the mark of the address space's writer.
 */
#include <octavo/gfp.h>
#include <octavo/slab.h>

#include "vma.h"

/* ---- memory ---- */

struct vm_area_struct *vm_area_alloc(struct mm_struct *mm)
{
	struct vm_area_struct *vma = kmem_cache_alloc(octavo_state.space.vma, GFP_KERNEL);

	if (!vma)
		return NULL;
	VM_BUG_ON(READ_ONCE(vma->vm_mm));
	VM_BUG_ON(!(READ_ONCE(mm->lock_seq) & 1));
	WRITE_ONCE(vma->vm_mm, mm);
	/*
	 * seq_cst: W2 of vma_lock.h. Even if an earlier life left the very number: the fields below must not be seen
	 * without it.
	 */
	smp_store_seq_cst(&vma->vm_seq, READ_ONCE(mm->lock_seq));
	/* pairs with the acquire of fields in vma_snapshot_take() */
	smp_mb();
	vma_init_range(vma, 0, 0, 0);
	WRITE_ONCE(vma->vm_flags, 0ul);
	WRITE_ONCE(vma->vm_page_prot.v, 0ul);
	WRITE_ONCE(vma->anon_vma, NULL);
	INIT_LIST_HEAD(&vma->anon_vma_chain);
	WRITE_ONCE(vma->vm_ops, NULL);
	WRITE_ONCE(vma->vm_file, NULL);
	WRITE_ONCE(vma->vm_guards, 0ul);
	WRITE_ONCE(vma->vm_swap_ahead, 0ul);
	vma->vm_private_data = NULL;
	return vma;
}

void vm_area_free(struct vm_area_struct *vma)
{
	VM_BUG_ON(vma->anon_vma || !list_empty(&vma->anon_vma_chain));
	if (vma->vm_file)
		vm_file_put(vma->vm_file);
	/* vm_seq stays as it is: a fault that remembers it must find it or a later one */
	WRITE_ONCE(vma->vm_mm, NULL);
	kmem_cache_free(octavo_state.space.vma, vma);
}

struct vm_area_struct *vm_area_dup(struct vm_area_struct *vma, struct mm_struct *mm)
{
	struct vm_area_struct *new = vm_area_alloc(mm);

	if (!new)
		return NULL;
	vma_init_range(new, vma->vm_start, vma->vm_end, vma->vm_pgoff);
	WRITE_ONCE(new->vm_flags, vma->vm_flags);
	WRITE_ONCE(new->vm_guards, READ_ONCE(vma->vm_guards));
	WRITE_ONCE(new->vm_page_prot.v, vma->vm_page_prot.v);
	WRITE_ONCE(new->vm_ops, vma->vm_ops);
	WRITE_ONCE(new->vm_file, vma->vm_file);
	new->vm_private_data = vma->vm_private_data;
	if (vma->vm_file)
		vm_file_get(vma->vm_file);
	return new;
}

void vma_init_range(struct vm_area_struct *vma, unsigned long start, unsigned long end,
		    unsigned long pgoff)
{
	WRITE_ONCE(vma->vm_start, start);
	WRITE_ONCE(vma->vm_end, end);
	WRITE_ONCE(vma->vm_pgoff, pgoff);
}

void vma_remove(struct vm_area_struct *vma)
{
	if (vma->vm_ops && vma->vm_ops->close)
		vma->vm_ops->close(vma);
	vm_area_free(vma);
}

/* ---- flags ---- */

static pgprot_t prot_of_flags(vm_flags_t flags)
{
	/* what is private is copied at the first write, and becomes writable entry by entry */
	bool write = (flags & (VM_WRITE | VM_SHARED)) == (VM_WRITE | VM_SHARED);

	if (!(flags & VM_ACCESS_FLAGS))
		return PAGE_NONE;
	if (flags & VM_EXEC)
		return write ? PAGE_SHARED_EXEC : PAGE_READONLY_EXEC;
	return write ? PAGE_SHARED : PAGE_READONLY;
}

void vma_set_page_prot(struct vm_area_struct *vma)
{
	bool told = vma->vm_ops && vma->vm_ops->pfn_mkwrite;
	/* whose owner wants to be told of writes is read-only until it has been */
	pgprot_t prot = prot_of_flags(told ? vma->vm_flags & ~VM_SHARED : vma->vm_flags);

	/* how memory is cached is the owner's choice, and stays */
	if (vma->vm_page_prot.v)
		prot = pte_pgprot(pte_modify(__pte(vma->vm_page_prot.v), prot));
	WRITE_ONCE(vma->vm_page_prot.v, prot.v);
}

void vma_set_flags(struct vm_area_struct *vma, vm_flags_t flags)
{
	vm_flags_t old = vma->vm_flags;

	WRITE_ONCE(vma->vm_flags, flags | (old & VM_STICKY));
	if ((old ^ flags) & (VM_ACCESS_FLAGS | VM_SHARED))
		vma_set_page_prot(vma);
}

/* ---- finding ---- */

struct vm_area_struct *vma_lookup(struct mm_struct *mm, unsigned long addr)
{
	return range_tree_find(&mm->vmas, addr);
}

struct vm_area_struct *find_vma(struct mm_struct *mm, unsigned long addr)
{
	return range_tree_find_first(&mm->vmas, addr, ~0ul, NULL, NULL);
}

struct vm_area_struct *find_vma_intersection(struct mm_struct *mm, unsigned long start,
					     unsigned long end)
{
	return range_tree_find_first(&mm->vmas, start, end, NULL, NULL);
}

struct vm_area_struct *vma_ending_at(struct mm_struct *mm, unsigned long addr)
{
	return addr ? range_tree_find(&mm->vmas, addr - 1) : NULL;
}
