// SPDX-License-Identifier: MIT
/*
 * populate.c - filling a range before anybody touches it: MAP_POPULATE, mlock, MADV_POPULATE_READ and _WRITE.
 *
 * A page at a time would be a fault a page without the exception. Where there is nothing yet and the memory is anonymous,
 * work is by runs of one table: folios are allocated by the dozen, the table is locked once for all of them. Where
 * policy has larger folios each is a run by itself. All that is there but not as wanted (to be copied, at an object,
 * in swap) is a fault like any other.
 */
#include "fault.h"

/* Folios that are allocated at once; they are on the stack until they are mapped. */
#define POPULATE_BATCH 64u

/* Pages from f->addr to @end that are there as they should be. Context: mmap_lock. */
static unsigned long present_run(struct fault *f, unsigned long end)
{
	unsigned long nr = 0, max;

	if (!pgtable_walk(f->mm, f->addr, PGTABLE_LEVEL_PTE, &f->pos)) {
		pte_t e = f->pos.pte;

		if (!pte_leaf(e, f->pos.level) || pte_protnone(e) ||
		    (fault_wants_own(f) && !pte_write(e)))
			return 0;
		return (level_addr_end(f->addr, end, f->pos.level) - f->addr) >> PAGE_SHIFT;
	}
	max = pte_batch_limit(f->addr, end);
	for (; nr < max; nr++) {
		/* a hint: nothing depends on its staying so */
		pte_t e = ptep_get(f->pos.ptep + nr);

		if (!pte_present(e) || pte_protnone(e) || (fault_wants_own(f) && !pte_write(e)))
			break;
	}
	return nr;
}

/* Entries that are none, of @nr from f->pos on. Context: its ptl. Return: folios used up. */
static unsigned long fill_none(struct fault *f, unsigned long nr, struct folio **folios,
			       unsigned long nr_folios)
{
	unsigned long used = 0;

	for (unsigned long i = 0; i < nr; i++, f->pos.ptep++, f->pos.addr += PAGE_SIZE) {
		f->pos.pte = ptep_get(f->pos.ptep);
		if (!pte_none(f->pos.pte))
			continue;
		if (folios && used == nr_folios)
			break;
		anon_fill(f, folios ? folios[used++] : NULL);
	}
	return used;
}

/* One hold of the ptl. @folios: NULL: the zero page. Return: folios used up; -ENOMEM: no table. */
static long fill_table(struct fault *f, unsigned long nr, struct folio **folios,
		       unsigned long nr_folios)
{
	struct ptdesc *pt;
	unsigned long used;

	if (pgtable_alloc_to(f->mm, f->addr, PGTABLE_LEVEL_PTE, GFP_KERNEL, &f->pos) == -ENOMEM)
		return -ENOMEM;
	/* a leaf was faster */
	if (!pte_offset_lock(f->mm, f->addr, PGTABLE_LEVEL_PTE, &f->pos))
		return 0;
	pt = f->pos.pt;
	used = fill_none(f, nr, folios, nr_folios);
	spin_unlock(&pt->ptl);
	return (long)used;
}

/* Pages from f->addr on, at most @nr, that no larger folio is for. */
static unsigned long single_run(const struct fault *f, unsigned long nr)
{
	unsigned long n = 1;

	while (n < nr && anon_orders(f->mm, f->vma, f->addr + (n << PAGE_SHIFT)) == 1)
		n++;
	return n;
}

/*
 * From f->addr on, where there is nothing: a run with folios of order 0, or with the zero page. Return: an
 * error of the fault; 0: the caller looks how far it got.
 */
static vm_fault_t fill_run(struct fault *f, unsigned long end)
{
	unsigned long nr = pte_batch_limit(f->addr, end), got;
	struct folio *folios[POPULATE_BATCH];
	long used;

	if (!fault_wants_own(f))
		return fill_table(f, nr, NULL, 0) < 0 ? VM_FAULT_OOM : 0;
	nr = single_run(f, min(nr, (unsigned long)POPULATE_BATCH));
	got = mm_folio_alloc_bulk(f->mm, GFP_HIGHUSER_MOVABLE | __GFP_ZERO, nr, folios);
	used = got ? fill_table(f, nr, folios, got) : -ENOMEM;
	for (unsigned long i = used < 0 ? 0 : (unsigned long)used; i < got; i++)
		folio_put(folios[i]);
	return used < 0 ? VM_FAULT_OOM : 0;
}

/* Is there nothing at f->addr, and would a fault put a single page there? f->pos: where the walk ended. */
static bool wants_run(struct fault *f)
{
	if (!area_is_anon(f->vma) || !pte_none(f->pos.pte))
		return false;
	return !fault_wants_own(f) || anon_orders(f->mm, f->vma, f->addr) == 1;
}

/* The next pages. Return: an error, or 0: look again at the same place. */
static vm_fault_t populate_some(struct fault *f, unsigned long end)
{
	pgtable_walk(f->mm, f->addr, PGTABLE_LEVEL_PTE, &f->pos);
	if (!wants_run(f))
		return handle_mm_fault_wait(f->vma, f->addr, f->flags, f->wait);
	if (fault_wants_own(f) && anon_vma_prepare(f->vma))
		return VM_FAULT_OOM;
	return fill_run(f, end);
}

static int populate_errno(vm_fault_t ret)
{
	if (ret & VM_FAULT_OOM)
		return -ENOMEM;
	return ret & VM_FAULT_HWPOISON ? -EHWPOISON : -EFAULT;
}

long populate_range_wait(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			 bool write, struct fault_wait *wait)
{
	struct fault f = {
		.mm = vma->vm_mm,
		.vma = vma,
		.addr = start,
		.flags = write ? FAULT_FLAG_WRITE : 0,
		.wait = wait,
	};
	int err = 0;

	VM_BUG_ON(!rwsem_is_locked(&f.mm->mmap_lock));
	VM_BUG_ON(start < vma->vm_start || end > vma->vm_end ||
		  !IS_ALIGNED(start | end, PAGE_SIZE));
	if (!fault_permitted(vma, f.flags))
		return -EFAULT;
	while (f.addr < end && !err && !fault_waits(wait)) {
		unsigned long nr = present_run(&f, end);
		vm_fault_t ret = nr ? 0 : populate_some(&f, end);

		f.addr += nr << PAGE_SHIFT;
		if (ret & VM_FAULT_ERROR)
			err = populate_errno(ret);
	}
	return f.addr > start ? (long)((f.addr - start) >> PAGE_SHIFT) : err;
}

long populate_vma_page_range(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			     bool write)
{
	return populate_range_wait(vma, start, end, write, NULL);
}
