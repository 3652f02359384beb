// SPDX-License-Identifier: MIT
/*
 * insert.c - pages and frames of the embedder's in user page tables.
 *
 * Two ways. vm_insert_page(): a page with a count, ordinary entries; every entry has a reference, a folio's page is a
 * mapping too, a plain page is not looked at otherwise, ever: mapping, unmapping, fork and
 * get_user_pages() tell by its word, which cannot change while there is a reference. remap_pfn_range(): frames as
 * they are, special entries, nobody follows them to a word.
 */
#include <octavo/errno.h>
#include <octavo/plain.h>

#include "space.h"
#include "vma_lock.h"

/* ---- pages ---- */

/* S0.11 to S0.16: a page that has a count, and says that it may be mapped; and that a CPU can access. */
static bool page_may_be_inserted(const struct page *page)
{
	memdesc_t md = page_memdesc(page);

	if (page_is_device_private(page))
		return false;
	if (memdesc_type(md) == MEMDESC_FILE)
		return true;
	return memdesc_is_misc(md) && !memdesc_frozen(md) && memdesc_mappable(md) &&
	       page_count(page) > 0;
}

/* The area has pages that are no folios, from now on. Context: mmap_lock; for writing the first time. */
static int vma_make_mixed(struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_MIXEDMAP)
		return 0;
	if (vma->vm_flags & VM_PFNMAP)
		return -EINVAL;
	if (!rwsem_is_write_locked(&vma->vm_mm->mmap_lock))
		return -EINVAL;
	vma_start_write(vma);
	WRITE_ONCE(vma->vm_flags, vma->vm_flags | VM_MIXEDMAP);
	return 0;
}

/* Where @pos is, its ptl held. */
static int insert_one(struct vm_area_struct *vma, pte_t *ptep, struct page *page, pgprot_t prot)
{
	struct folio *folio = page_folio(page);

	if (!pte_none(ptep_get(ptep)))
		return -EBUSY;
	get_page(page);
	if (folio) {
		folio_add_file_rmap(folio_subrange_page(folio, page, 1), vma, PGTABLE_LEVEL_PTE);
		add_mm_counter(vma->vm_mm, mm_counter(folio), 1);
	}
	set_pte(ptep, pfn_pte(page_to_pfn(page), prot));
	return 0;
}

/* Pages of one last-level table. Return: how many; *@err why fewer. */
static unsigned long insert_table(struct vm_area_struct *vma, unsigned long addr,
				  struct page **pages, unsigned long nr, pgprot_t prot, int *err)
{
	struct pt_pos pos;
	unsigned long i;

	*err = pgtable_alloc_to(vma->vm_mm, addr, PGTABLE_LEVEL_PTE, GFP_KERNEL, &pos);
	if (*err)
		return 0;
	if (!pte_offset_lock(vma->vm_mm, addr, PGTABLE_LEVEL_PTE, &pos)) {
		*err = -EBUSY;
		return 0;
	}
	for (i = 0; i < nr && !*err; i++) {
		*err = insert_one(vma, pos.ptep + i, pages[i], prot);
		if (*err)
			break;
	}
	pte_unlock(&pos);
	return i;
}

/* Return: how many were inserted; *@err: 0 or why it stopped. */
static unsigned long insert_pages(struct vm_area_struct *vma, unsigned long addr,
				  struct page **pages, unsigned long nr, pgprot_t prot, int *err)
{
	unsigned long done = 0;

	*err = -EINVAL;
	if (addr & ~PAGE_MASK || addr < vma->vm_start || addr >= vma->vm_end ||
	    nr > (vma->vm_end - addr) >> PAGE_SHIFT)
		return 0;
	for (unsigned long i = 0; i < nr; i++)
		if (!page_may_be_inserted(pages[i]))
			return 0;
	*err = vma_make_mixed(vma);
	while (done < nr && !*err) {
		unsigned long at = addr + (done << PAGE_SHIFT);
		unsigned long n = min(nr - done, (unsigned long)pte_batch_limit(at, vma->vm_end));

		done += insert_table(vma, at, pages + done, n, prot, err);
	}
	return done;
}

int vm_insert_page(struct vm_area_struct *vma, unsigned long addr, struct page *page)
{
	int err;

	insert_pages(vma, addr, &page, 1, vma->vm_page_prot, &err);
	return err;
}

int vm_insert_pages(struct vm_area_struct *vma, unsigned long addr, struct page **pages,
		    unsigned long *num)
{
	int err;

	*num -= insert_pages(vma, addr, pages, *num, vma->vm_page_prot, &err);
	return err;
}

static int map_pages_from(struct vm_area_struct *vma, struct page **pages, unsigned long num,
			  unsigned long first)
{
	unsigned long count = vma_pages(vma);
	int err;

	if (first >= num || count > num - first)
		return -ENXIO;
	insert_pages(vma, vma->vm_start, pages + first, count, vma->vm_page_prot, &err);
	return err;
}

int vm_map_pages(struct vm_area_struct *vma, struct page **pages, unsigned long num)
{
	return map_pages_from(vma, pages, num, vma->vm_pgoff);
}

int vm_map_pages_zero(struct vm_area_struct *vma, struct page **pages, unsigned long num)
{
	return map_pages_from(vma, pages, num, 0);
}

vm_fault_t vmf_insert_page(struct vm_area_struct *vma, unsigned long addr, struct page *page)
{
	int err = vm_insert_page(vma, addr & PAGE_MASK, page);

	if (err == -ENOMEM)
		return VM_FAULT_OOM;
	/* somebody else was faster: as good */
	return err && err != -EBUSY ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
}

/* ---- frames ---- */

/* Frames of one last-level table; entries there are none, checked by the caller's area being new. */
static int remap_table(struct vm_area_struct *vma, unsigned long addr, unsigned long pfn,
		       unsigned long nr, pgprot_t prot)
{
	struct pt_pos pos;
	int err = pgtable_alloc_to(vma->vm_mm, addr, PGTABLE_LEVEL_PTE, GFP_KERNEL, &pos);

	if (err)
		return err;
	if (!pte_offset_lock(vma->vm_mm, addr, PGTABLE_LEVEL_PTE, &pos))
		return -EBUSY;
	for (unsigned long i = 0; i < nr && !err; i++)
		if (!pte_none(ptep_get(pos.ptep + i)))
			err = -EBUSY;
	if (!err)
		set_ptes(pos.ptep, pte_mkspecial(pfn_pte(pfn, prot)), nr);
	pte_unlock(&pos);
	return err;
}

int remap_pfn_range(struct vm_area_struct *vma, unsigned long addr, unsigned long pfn,
		    unsigned long size, pgprot_t prot)
{
	unsigned long end = addr + ALIGN(size, PAGE_SIZE), at;
	int err;

	if (addr & ~PAGE_MASK || !size || end <= addr || addr < vma->vm_start ||
	    end > vma->vm_end || pfn >> PTE_PFN_BITS ||
	    (pfn + ((end - addr) >> PAGE_SHIFT) - 1) >> PTE_PFN_BITS || vma->vm_flags & VM_MIXEDMAP)
		return -EINVAL;
	/* a private copy of part could not be told from the rest: the frames have no words */
	if (is_cow_mapping(vma->vm_flags)) {
		if (addr != vma->vm_start || end != vma->vm_end)
			return -EINVAL;
		prot.v &= ~(u64)_PAGE_RW;
	}
	vma_start_write(vma);
	WRITE_ONCE(vma->vm_flags, vma->vm_flags | VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	for (at = addr; at < end;) {
		unsigned long n = pte_batch_limit(at, end);

		err = remap_table(vma, at, pfn + ((at - addr) >> PAGE_SHIFT), n, prot);
		if (err) {
			zap_vma_ptes(vma, addr, at - addr);
			return err;
		}
		at += n << PAGE_SHIFT;
	}
	return 0;
}

vm_fault_t vmf_insert_pfn(struct vm_area_struct *vma, unsigned long addr, unsigned long pfn)
{
	pgprot_t prot = vma->vm_page_prot;
	int err;

	addr &= PAGE_MASK;
	if (!(vma->vm_flags & VM_PFNMAP) || pfn >> PTE_PFN_BITS || addr < vma->vm_start ||
	    addr >= vma->vm_end)
		return VM_FAULT_SIGBUS;
	err = remap_table(vma, addr, pfn, 1, prot);
	if (err == -ENOMEM)
		return VM_FAULT_OOM;
	return err && err != -EBUSY ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
}
