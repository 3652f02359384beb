/* SPDX-License-Identifier: MIT */
/*
 * vfree.c - areas end.
 *
 * Whoever makes an area BUSY ends it: of two who free it, one is told that there is no such area. An area that is freed
 * where nothing may sleep is claimed there and then, and put on a stack that the next caller who may sleep empties.
 */
#include "kmap.h"

/* S4.3, S4.22: one reference for each page of a run, on what the page belongs to. */
static void put_run(unsigned long pfn, unsigned long nr)
{
	while (nr) {
		struct page *page = pfn_to_page(pfn);
		struct folio *folio = page_folio(page);
		unsigned long n = 1;

		if (folio) {
			n = min(nr, folio_pfn(folio) + folio_nr_pages(folio) - pfn);
			folio_put_refs(folio, (u32)n);
		} else {
			put_page(page);
		}
		pfn += n;
		nr -= n;
	}
}

void kmap_put_runs(struct vm_runs *r, unsigned long flags)
{
	const struct octavo_hooks *hooks = octavo_state.hooks;
	unsigned long pfn, nr;
	struct vm_run_iter it;

	vm_run_iter(&it, r);
	while (vm_run_next(&it, &pfn, &nr)) {
		if (flags & VM_FLUSH_RESET_PERMS && hooks && hooks->direct_map_perms)
			hooks->direct_map_perms(pfn, nr, true);
		if (flags & VM_ALLOC)
			free_pages_run(pfn_to_page(pfn), nr);
		else
			put_run(pfn, nr);
	}
	vm_runs_clear(r);
}

void kmap_end_area(struct kmap *k, struct vm_struct *area, bool put)
{
	const unsigned long start = area_start(area), end = area_end(area);
	const long owned = (long)area->nr_pages;
	unsigned long huge = 0, large = 0;
	struct kmap_sums gone = {
		.areas = -1,
		.owned = -owned,
		.vmalloc = area->flags & VM_ALLOC ? -owned : 0,
		.mapped = -area->mapped,
		.runs_bytes = -(long)vm_runs_bytes(&area->runs),
	};

	VM_WARN_ON(kmap_count_mapped(k, start, end, &large) != (unsigned long)area->mapped);
	kmap_unmap(k, start, end, &huge);
	gone.huge = -(long)huge;
	if (!put) {
		vm_runs_clear(&area->runs);
		WRITE_ONCE(area->nr_pages, 0ul);
	}
	kmap_area_retire(k, area, area->flags & (VM_FLUSH_RESET_PERMS | VM_MAP_PUT_PAGES), &gone);
}

/* The area that somebody ends; NULL: reported. */
static struct vm_struct *claim(struct kmap *k, const void *addr, const char *who)
{
	struct vm_struct *area = k ? kmap_area_claim(k, (unsigned long)addr, false) : NULL;

	if (!area)
		pr_warn("%s: %p is not the start of an area", who, addr);
	return area;
}

void vfree(const void *addr)
{
	struct kmap *k = kmap_if_up();
	struct vm_struct *area;

	if (!addr)
		return;
	vmalloc_run_deferred();
	area = claim(k, addr, "vfree");
	if (area)
		kmap_end_area(k, area, true);
}

void vunmap(const void *addr)
{
	struct kmap *k = kmap_if_up();
	struct vm_struct *area;

	if (!addr)
		return;
	vmalloc_run_deferred();
	area = claim(k, addr, "vunmap");
	if (!area)
		return;
	if (area->nr_pages)
		pr_warn("vunmap: %p owns %lu pages, which nobody frees now: vfree() does", addr,
			area->nr_pages);
	kmap_end_area(k, area, false);
}

/* ---- where nothing may sleep ---- */

void vfree_atomic(const void *addr)
{
	struct kmap *k = kmap_if_up();
	struct vm_struct *area, *head;

	if (!addr)
		return;
	area = claim(k, addr, "vfree_atomic");
	if (!area)
		return;
	head = READ_ONCE(k->deferred);
	do
		area->next_deferred = head;
	/* release: pairs with the acquire in vmalloc_run_deferred(): the link */
	while (!try_cmpxchg_release(&k->deferred, &head, area));
}

unsigned long vmalloc_run_deferred(void)
{
	struct kmap *k = kmap_if_up();
	struct vm_struct *area;
	unsigned long n = 0;

	if (likely(!k || !READ_ONCE(k->deferred)))
		return 0;
	/* acquire: pairs with the release in vfree_atomic() */
	area = xchg_acquire(&k->deferred, NULL);
	for (; area; n++) {
		struct vm_struct *next = area->next_deferred;

		kmap_end_area(k, area, true);
		area = next;
	}
	return n;
}
