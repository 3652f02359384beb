/* SPDX-License-Identifier: MIT */
/*
 * vmalloc.c - memory that need not be physically contiguous, and is as far as it can be.
 *
 * Frames are taken in the largest runs that are to be had without effort, down to single ones in bulk, and every run is
 * split into pages of order 0: users count them one by one, map them, and free_pages_run() gives them back as runs
 * (S4.12, S4.13). A page has no descriptor: its word says Vmalloc, and whether it may be mapped (S4.21).
 */
#include <octavo/string.h>

#include "kmap.h"

#define BULK 64ul

/* What is wanted, and what there is of it. */
struct kmem_request {
	struct vm_runs *runs;
	unsigned long missing;
	gfp_t gfp;
	int node;
	bool mappable;
};

/* Pages that are ours to free, or in the runs. */
static int keep(struct kmem_request *rq, unsigned long pfn, unsigned long nr)
{
	for (unsigned long i = 0; rq->mappable && i < nr; i++)
		page_set_mappable(pfn_to_page(pfn + i), true);
	if (vm_runs_add(rq->runs, pfn, nr, rq->gfp & ~(__GFP_ZERO | __GFP_DMA | __GFP_DMA32))) {
		free_pages_run(pfn_to_page(pfn), nr);
		return -ENOMEM;
	}
	rq->missing -= nr;
	return 0;
}

/* Return: 0; -ENOMEM; 1: no run of @order. */
static int take_run(struct kmem_request *rq, unsigned int order)
{
	/* no effort: smaller ones will do */
	const gfp_t gfp = (rq->gfp & ~__GFP_RECLAIM) | __GFP_NORETRY | __GFP_NOWARN;
	struct page *page =
		__alloc_plain_pages(gfp & ~__GFP_NOFAIL, order, rq->node, MISC_VMALLOC, false);

	if (!page)
		return 1;
	if (unlikely(split_page(page, order))) {
		/* a walker has a reference for a moment: the run is freed whole when it lets go */
		__free_pages(page, order);
		return 1;
	}
	return keep(rq, page_to_pfn(page), 1ul << order);
}

/* In either direction they come as runs, or not at all. */
static void put_in_order(unsigned long *pfns, unsigned long n)
{
	for (unsigned long i = 0; n > 1 && pfns[0] > pfns[n - 1] && i < n / 2; i++) {
		const unsigned long p = pfns[i];

		pfns[i] = pfns[n - 1 - i];
		pfns[n - 1 - i] = p;
	}
}

static int take_single(struct kmem_request *rq)
{
	unsigned long pfns[BULK];
	unsigned long n = 0;

	if (rq->missing > 1)
		n = alloc_plain_bulk(rq->gfp, rq->node, MISC_VMALLOC, min(rq->missing, BULK), pfns);
	if (!n) {
		struct page *page = __alloc_plain_pages(rq->gfp, 0, rq->node, MISC_VMALLOC, false);

		if (!page)
			return -ENOMEM;
		pfns[n++] = page_to_pfn(page);
	}
	put_in_order(pfns, n);
	for (unsigned long i = 0; i < n; i++)
		if (keep(rq, pfns[i], 1)) {
			while (++i < n)
				free_pages_run(pfn_to_page(pfns[i]), 1);
			return -ENOMEM;
		}
	return 0;
}

static int take_memory(struct kmem_request *rq)
{
	unsigned int order = level_order(PGTABLE_LEVEL_PMD);

	while (rq->missing) {
		int err;

		order = min(order, (unsigned int)ilog2(rq->missing));
		if (order) {
			err = take_run(rq, order);
			if (err > 0) {
				order--;
				err = 0;
			}
		} else {
			err = take_single(rq);
		}
		if (err)
			return err;
	}
	return 0;
}

static int map_runs(struct kmapper *m, const struct vm_runs *runs)
{
	unsigned long pfn, nr;
	struct vm_run_iter it;
	int err = 0;

	vm_run_iter(&it, runs);
	while (!err && vm_run_next(&it, &pfn, &nr))
		err = kmap_map_run(m, pfn, nr);
	return err;
}

/* Frames and entries for @area. On failure it has no entries, and frames that wait for a flush. */
static int fill(struct kmap *k, struct vm_struct *area, unsigned long pages, gfp_t gfp,
		pgprot_t prot, int node, struct kmap_sums *here)
{
	struct kmem_request rq = {
		.runs = &area->runs,
		.missing = pages,
		/* its pages stay where they are */
		.gfp = gfp & ~__GFP_MOVABLE,
		.node = node,
		.mappable = area->flags & VM_USERMAP,
	};
	struct kmapper m = { .k = k, .addr = area_start(area), .prot = prot };
	int err = take_memory(&rq);

	/* memory that only waits for a flush is memory */
	if (err && kmap_lazy_sum(k).frames) {
		kmap_purge(k);
		err = take_memory(&rq);
	}
	m.max_level = area->flags & VM_NO_HUGE_VMAP ? 0 : MAX_LEAF_LEVEL;
	if (!err)
		err = map_runs(&m, &area->runs);
	if (err) {
		kmap_unmap(k, area_start(area), m.addr, &m.huge);
		return err;
	}
	WRITE_ONCE(area->nr_pages, pages);
	here->mapped = (long)pages;
	here->huge = (long)m.huge;
	here->vmalloc = (long)pages;
	here->owned = (long)pages;
	here->runs_bytes = (long)vm_runs_bytes(&area->runs);
	return 0;
}

void *__vmalloc_node_range(unsigned long size, unsigned long align, gfp_t gfp, pgprot_t prot,
			   unsigned long flags, int node, const void *caller)
{
	const unsigned long pages = (size >> PAGE_SHIFT) + !!(size & ~PAGE_MASK);
	const unsigned long leaf = level_size(PGTABLE_LEVEL_PMD);
	struct kmap_want want = { .align = max(align, PAGE_SIZE) };
	struct kmap_sums here = { 0 };
	struct vm_struct *area;
	struct kmap *k;

	BUG_ON(!gfpflags_allow_blocking(gfp));
	if (!pages || pages > totalram_pages() || !is_power_of_2(want.align) ||
	    !kmap_prot_good(prot) ||
	    flags & ~(VM_ALLOC | VM_USERMAP | VM_NO_GUARD | VM_FLUSH_RESET_PERMS |
		      VM_ALLOW_HUGE_VMAP | VM_NO_HUGE_VMAP))
		return NULL;
	k = kmap_get();
	if (!k)
		return NULL;
	vmalloc_run_deferred();
	want.size = (pages << PAGE_SHIFT) + kmap_guard(flags);
	if (!(flags & VM_NO_HUGE_VMAP) && pages << PAGE_SHIFT >= leaf)
		want.align = max(want.align, leaf);
	area = kmap_area_alloc(k, &want);
	if (!area)
		return NULL;
	kmap_area_setup(area, flags | VM_ALLOC, caller ? caller : __builtin_return_address(0));
	area->used = size;
	if (fill(k, area, pages, gfp, prot, node, &here)) {
		kmap_area_give_up(k, area, true);
		return NULL;
	}
	kmap_area_publish(k, area, &here);
	return area->addr;
}

static void *alloc_by(unsigned long size, gfp_t gfp, unsigned long flags, int node,
		      const void *caller)
{
	return __vmalloc_node_range(size, PAGE_SIZE, gfp, PAGE_KERNEL, flags, node, caller);
}

void *vmalloc(unsigned long size)
{
	return alloc_by(size, GFP_KERNEL, 0, NUMA_NO_NODE, __builtin_return_address(0));
}

void *vzalloc(unsigned long size)
{
	return alloc_by(size, GFP_KERNEL | __GFP_ZERO, 0, NUMA_NO_NODE,
			__builtin_return_address(0));
}

void *vmalloc_user(unsigned long size)
{
	return alloc_by(size, GFP_KERNEL | __GFP_ZERO, VM_USERMAP, NUMA_NO_NODE,
			__builtin_return_address(0));
}

void *vmalloc_node(unsigned long size, int node)
{
	return alloc_by(size, GFP_KERNEL, 0, node, __builtin_return_address(0));
}

void *vzalloc_node(unsigned long size, int node)
{
	return alloc_by(size, GFP_KERNEL | __GFP_ZERO, 0, node, __builtin_return_address(0));
}

void *vmalloc_huge(unsigned long size, gfp_t gfp)
{
	return alloc_by(size, gfp, VM_ALLOW_HUGE_VMAP, NUMA_NO_NODE, __builtin_return_address(0));
}

void *__vmalloc(unsigned long size, gfp_t gfp)
{
	return alloc_by(size, gfp, 0, NUMA_NO_NODE, __builtin_return_address(0));
}

/* ---- sizes that change ---- */

/* Through the direct map, page by page: what is mapped need not be readable at its own address. */
static void copy_pages(unsigned long to, unsigned long from, unsigned long bytes)
{
	for (unsigned long done = 0; done < bytes; done += PAGE_SIZE)
		memcpy(page_address(vmalloc_to_page((void *)(to + done))),
		       page_address(vmalloc_to_page((void *)(from + done))),
		       min(PAGE_SIZE, bytes - done));
}

static void clear_bytes(unsigned long addr, unsigned long from, unsigned long to)
{
	while (from < to) {
		const unsigned long in_page = from & ~PAGE_MASK;
		const unsigned long n = min(PAGE_SIZE - in_page, to - from);

		memset((char *)page_address(vmalloc_to_page((void *)(addr + from))) + in_page, 0,
		       n);
		from += n;
	}
}

void *vrealloc(const void *p, size_t size, gfp_t gfp)
{
	struct kmap *k = kmap_if_up();
	struct vm_struct *area;
	void *new;

	if (!size) {
		vfree(p);
		return NULL;
	}
	if (!p)
		return __vmalloc(size, gfp);
	area = k ? kmap_area_at(k, (unsigned long)p) : NULL;
	if (!area || !(area->flags & VM_ALLOC)) {
		pr_warn("vrealloc: %p is not of vmalloc()", p);
		return NULL;
	}
	if (size <= vm_area_bytes(area)) {
		if (size > area->used && gfp & __GFP_ZERO)
			clear_bytes((unsigned long)p, area->used, size);
		area->used = size;
		return (void *)(uintptr_t)p;
	}
	/* as vmalloc_user(): users see nothing that was somebody else's */
	if (area->flags & VM_USERMAP)
		gfp |= __GFP_ZERO;
	new = alloc_by(size, gfp, area->flags & (VM_USERMAP | VM_NO_HUGE_VMAP), NUMA_NO_NODE,
		       __builtin_return_address(0));
	if (!new)
		return NULL;
	copy_pages((unsigned long)new, (unsigned long)p, area->used);
	vfree(p);
	return new;
}

/* ---- either ---- */

void *kvmalloc(size_t size, gfp_t gfp)
{
	void *p;

	if (size <= KMALLOC_MAX_CACHE)
		return kmalloc(size, gfp);
	if (!gfpflags_allow_blocking(gfp))
		return kmalloc(size, gfp);
	p = kmalloc(size, (gfp & ~__GFP_DIRECT_RECLAIM) | __GFP_NORETRY | __GFP_NOWARN);
	return p ? p : alloc_by(size, gfp, 0, NUMA_NO_NODE, __builtin_return_address(0));
}

void kvfree(const void *p)
{
	if (is_vmalloc_addr(p))
		vfree(p);
	else
		kfree(p);
}
