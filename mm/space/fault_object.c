// SPDX-License-Identifier: MIT
/*
 * fault_object.c - missing memory of the embedder's objects: the area's vm_ops have it.
 *
 * A shared area maps the object's own page. So does a private one that is only read from, with an entry that
 * is not writable; a write gets a copy at once. Pages are folios of files, or counted plain pages that
 * say they may be mapped: whatever else a handler returns would be mapped without being kept, and is fatal.
 *
 * A handler may instead install an entry itself, or refuse. Its errors go to the port as they are.
 */
#include <octavo/plain.h>
#include <octavo/string.h>

#include "fault.h"

/* Errors and MAJOR go on; the rest is between handler and core. */
#define HANDLER_RETURNS (VM_FAULT_ERROR | VM_FAULT_MAPERR | VM_FAULT_MAJOR)

static void check_object_page(struct page *page)
{
	memdesc_t md;

	if (unlikely(!page))
		octavo_panic("vm_ops->fault: success, and no page");
	md = page_memdesc(page);
	if (memdesc_type(md) == MEMDESC_FILE)
		return;
	if (unlikely(!memdesc_is_misc(md) || memdesc_frozen(md) || !memdesc_mappable(md) ||
		     page_is_device_private(page)))
		bad_page(page_to_pfn(page), "vm_ops->fault: a page that may not be mapped");
}

static struct vm_fault vm_fault_of(const struct fault *f)
{
	return (struct vm_fault){
		.vma = f->vma,
		.mm = f->mm,
		.address = f->addr,
		.pgoff = linear_page_index(f->vma, f->addr),
		.flags = f->flags,
	};
}

/* Ask for the page. Return: 0 and *@page with a reference; else what the fault comes to. */
static vm_fault_t object_page(struct fault *f, struct page **page, vm_fault_t *major)
{
	struct vm_fault vmf = vm_fault_of(f);
	vm_fault_t ret;

	if (!f->vma->vm_ops || !f->vma->vm_ops->fault)
		return VM_FAULT_SIGBUS;
	ret = f->vma->vm_ops->fault(&vmf);
	if (ret & VM_FAULT_ERROR)
		return ret & HANDLER_RETURNS;
	*major = ret & VM_FAULT_MAJOR;
	if (ret & VM_FAULT_NOPAGE)
		return VM_FAULT_NOPAGE | *major;
	check_object_page(vmf.page);
	*page = vmf.page;
	return 0;
}

/*
 * Writable at once where a write needs no copy and nobody asked to be told of the first one.
 */
static pte_t object_entry(const struct fault *f, const struct page *page)
{
	const struct vm_area_struct *vma = f->vma;
	pte_t e = pte_mkyoung(pfn_pte(page_to_pfn(page), vma->vm_page_prot));
	bool told = vma->vm_ops->pfn_mkwrite != NULL;

	if (!(vma->vm_flags & VM_SHARED) || !(vma->vm_flags & VM_WRITE) || told)
		return pte_wrprotect(e);
	return f->flags & FAULT_FLAG_WRITE ? pte_mkwrite(pte_mkdirty(e)) : pte_mkwrite(e);
}

/* The object's own page. Return: false: something is there already. */
static bool map_object_page(struct fault *f, struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!pte_offset_lock(f->mm, f->addr, PGTABLE_LEVEL_PTE, &f->pos))
		return false;
	if (!pte_none(f->pos.pte)) {
		pte_unlock(&f->pos);
		return false;
	}
	if (folio) {
		folio_add_file_rmap(folio_subrange_page(folio, page, 1), f->vma, PGTABLE_LEVEL_PTE);
		add_mm_counter(f->mm, mm_counter(folio), 1);
		fault_new_mapping(f->vma, folio);
	}
	set_pte(f->pos.ptep, object_entry(f, page));
	pte_unlock(&f->pos);
	return true;
}

static bool map_copy(struct fault *f, struct folio *copy)
{
	bool none;

	if (!pte_offset_lock(f->mm, f->addr, PGTABLE_LEVEL_PTE, &f->pos))
		return false;
	none = pte_none(f->pos.pte);
	if (none)
		anon_map_folio(f->vma, copy, &f->pos,
			       anon_entry(f->vma, folio_pfn(copy), f->flags));
	pte_unlock(&f->pos);
	return none;
}

static vm_fault_t object_own(struct fault *f)
{
	vm_fault_t ret, major = 0;
	struct folio *copy;
	struct page *page;

	if (!fault_may_sleep(f) && !READ_ONCE(f->vma->anon_vma))
		return VM_FAULT_RETRY;
	if (anon_vma_prepare(f->vma))
		return VM_FAULT_OOM;
	copy = mm_folio_alloc(f->mm, fault_gfp(f), 0);
	if (!copy)
		return fault_oom(f);
	ret = object_page(f, &page, &major);
	if (ret) {
		folio_put(copy);
		return ret;
	}
	memcpy(folio_address(copy), page_address(page), PAGE_SIZE);
	if (!map_copy(f, copy))
		folio_put(copy);
	put_page(page);
	return major;
}

vm_fault_t fault_object_missing(struct fault *f)
{
	vm_fault_t ret, major = 0;
	struct page *page;

	if (!fault_may_sleep(f))
		return VM_FAULT_RETRY;
	/* Before the handler, which may have nothing to undo its work with. */
	if (pgtable_alloc_to(f->mm, f->addr, PGTABLE_LEVEL_PTE, GFP_KERNEL, &f->pos) == -ENOMEM)
		return VM_FAULT_OOM;
	if (fault_wants_own(f) && !(f->vma->vm_flags & VM_SHARED))
		return object_own(f);
	ret = object_page(f, &page, &major);
	if (ret)
		return ret;
	if (!map_object_page(f, page))
		put_page(page);
	return major;
}

vm_fault_t fault_object_mkwrite(struct fault *f)
{
	const struct vm_operations_struct *ops = f->vma->vm_ops;
	struct vm_fault vmf = vm_fault_of(f);
	unsigned int level = f->pos.level;
	pte_t seen = f->pos.pte;
	vm_fault_t ret;

	if (ops && ops->pfn_mkwrite) {
		pte_unlock(&f->pos);
		if (!fault_may_sleep(f))
			return VM_FAULT_RETRY;
		ret = ops->pfn_mkwrite(&vmf);
		if (ret & VM_FAULT_ERROR)
			return ret & HANDLER_RETURNS;
		if (!pte_offset_lock(f->mm, f->addr, level, &f->pos))
			return 0;
	}
	/* accessed bits come and go */
	if (pte_same(pte_mkyoung(seen), pte_mkyoung(f->pos.pte)))
		fault_allow(f);
	pte_unlock(&f->pos);
	return 0;
}
