/* SPDX-License-Identifier: MIT */
/*
 * vmap.c - pages and parts of folios made contiguous.
 *
 * What is mapped is looked at as runs of frames, whatever they were allocated as: a run that is as long as a larger entry
 * and aligned as one is mapped by it, and the address is chosen so that the first such run can be. Everything that can
 * be refused is refused before anything is changed, then what can fail is done where nobody sees it, and only then do
 * references and the array change hands.
 */
#include "kmap.h"

/* ---- an area for it ---- */

static int keep_runs(struct vm_runs *runs, const struct kmap_source *src)
{
	unsigned long pfn, nr;
	unsigned int i = 0;

	while ((nr = kmap_next_run(src, &i, &pfn)))
		while (nr) {
			const unsigned long n = min(nr, VM_RUN_MAX);

			if (vm_runs_add(runs, pfn, n, GFP_KERNEL))
				return -ENOMEM;
			pfn += n;
			nr -= n;
		}
	return 0;
}

/* The area is @src's owner from here on: nothing fails. */
static void take_over(struct vm_struct *area, const struct kmap_source *src, unsigned long total,
		      struct kmap_sums *here)
{
	WRITE_ONCE(area->nr_pages, total);
	here->owned = (long)total;
	here->runs_bytes = (long)vm_runs_bytes(&area->runs);
	/* one reference for each page, whichever way they came */
	for (unsigned int i = 0; src->parts && i < src->count; i++)
		if (src->parts[i].nr > 1)
			folio_ref_add(src->parts[i].folio, src->parts[i].nr - 1);
	if (src->pages)
		kvfree(src->pages);
}

static struct vm_struct *map_new_area(struct kmap *k, const struct kmap_source *src,
				      const struct kmap_want *want, unsigned long flags,
				      pgprot_t prot, const void *caller)
{
	const unsigned long total = (want->size >> PAGE_SHIFT) - 1;
	struct kmapper m = { .k = k, .prot = prot };
	struct kmap_sums here = { .mapped = (long)total };
	struct vm_struct *area;
	int err = 0;

	m.max_level = flags & VM_NO_HUGE_VMAP ? 0 : MAX_LEAF_LEVEL;
	area = kmap_area_alloc(k, want);
	if (!area)
		return NULL;
	kmap_area_setup(area, flags, caller);
	area->used = total << PAGE_SHIFT;
	m.addr = area_start(area);
	if (flags & VM_MAP_PUT_PAGES)
		err = keep_runs(&area->runs, src);
	if (!err)
		err = kmap_map_source(&m, src);
	if (err) {
		vm_runs_clear(&area->runs);
		kmap_unmap(k, area_start(area), m.addr, &m.huge);
		/* the hardware may have looked there on its own account */
		kmap_area_give_up(k, area, false);
		return NULL;
	}
	here.huge = (long)m.huge;
	if (flags & VM_MAP_PUT_PAGES)
		take_over(area, src, total, &here);
	kmap_area_publish(k, area, &here);
	return area;
}

static int map_source(struct kmap_source *src, unsigned long total, unsigned long flags,
		      pgprot_t prot, const void *caller, void **addr)
{
	struct kmap_want want = { .size = (total << PAGE_SHIFT) + PAGE_SIZE, .align = PAGE_SIZE };
	struct vm_struct *area;
	struct kmap *k;

	if (!kmap_prot_good(prot) ||
	    flags & ~(VM_MAP | VM_MAP_PUT_PAGES | VM_NO_HUGE_VMAP | VM_ALLOW_HUGE_VMAP |
		      VM_USERMAP | VM_NO_GUARD | VM_MAP_RAM) ||
	    !total) {
		if (flags & VM_FLUSH_RESET_PERMS)
			pr_warn("vmap: VM_FLUSH_RESET_PERMS is for memory of vmalloc()");
		return -EINVAL;
	}
	if (flags & VM_NO_GUARD) {
		pr_warn("vmap: VM_NO_GUARD is ignored");
		flags &= ~VM_NO_GUARD;
	}
	/* the same pages again and again may be more than there are, but that is a mistake */
	if (total > totalram_pages())
		return -E2BIG;
	if (kmap_check_source(src, flags & VM_MAP_PUT_PAGES,
			      flags & VM_NO_HUGE_VMAP ? NULL : &want))
		return -EINVAL;
	k = kmap_get();
	if (!k)
		return -ENOMEM;
	vmalloc_run_deferred();
	prot.v |= _PAGE_NX;
	area = map_new_area(k, src, &want, flags | VM_MAP, prot, caller);
	if (!area)
		return -ENOMEM;
	*addr = area->addr;
	return 0;
}

/* ---- the calls ---- */

int vmap_pages(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot,
	       void **addr)
{
	struct kmap_source src;

	kmap_source_pages(&src, pages, count);
	return map_source(&src, count, flags, prot, __builtin_return_address(0), addr);
}

void *vmap(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot)
{
	struct kmap_source src;
	void *addr;

	kmap_source_pages(&src, pages, count);
	return map_source(&src, count, flags, prot, __builtin_return_address(0), &addr) ? NULL
											: addr;
}

int vmap_folios(const struct folio_subrange *parts, unsigned int count, unsigned long flags,
		pgprot_t prot, void **addr)
{
	struct kmap_source src;
	unsigned long total = 0;

	kmap_source_pages(&src, NULL, count);
	src.parts = parts;
	for (unsigned int i = 0; i < count; i++)
		total += parts[i].nr;
	return map_source(&src, total, flags, prot, __builtin_return_address(0), addr);
}

void *vmap_pfn(const unsigned long *pfns, unsigned int count, pgprot_t prot)
{
	struct kmap_want want = { .size = ((unsigned long)count << PAGE_SHIFT) + PAGE_SIZE,
				  .align = PAGE_SIZE };
	const struct kmap_sums here = { .mapped = count };
	struct kmapper m = { .prot = prot };
	struct vm_struct *area;

	if (!kmap_prot_good(prot))
		return NULL;
	for (unsigned int i = 0; i < count; i++)
		if (pfn_valid(pfns[i]) || pfns[i] >> PTE_PFN_BITS)
			return NULL;
	m.k = kmap_get();
	if (!m.k || !count)
		return NULL;
	area = kmap_area_alloc(m.k, &want);
	if (!area)
		return NULL;
	kmap_area_setup(area, VM_IOREMAP, __builtin_return_address(0));
	m.addr = area_start(area);
	m.prot = pte_pgprot(pte_mkspecial(pfn_pte(0, (pgprot_t){ prot.v | _PAGE_NX })));
	for (unsigned int i = 0; i < count; i++)
		if (kmap_map_page(&m, pfns[i])) {
			kmap_unmap(m.k, area_start(area), m.addr, &m.huge);
			kmap_area_give_up(m.k, area, false);
			return NULL;
		}
	kmap_area_publish(m.k, area, &here);
	return area->addr;
}
