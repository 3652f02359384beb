// SPDX-License-Identifier: MIT
/*
 * migrate.c - memory to the device and back, in folios of the orders that the device has.
 *
 * Every migration is: setup collects and unmaps; the driver gives a folio of its own for each element that is to move, and
 * copies; pages exchanges; finalize lets the world go on. What cannot be had or copied is given nothing, and stays. Ranges
 * are worked on by windows, so that the arrays fit on the stack.
 *
 * 1. To the device: room is made first, with nothing locked.
 *
 * 2. A CPU touched private memory: the folio comes back as a whole, if there is memory for it in one piece, else in pieces. It must
 *    come: if it does not, whoever touched it gets SIGBUS. If somebody else was in the way, the fault is tried again.
 *
 * 3. Eviction goes by the device's own memory, with a hand that goes around it, and needs to know nobody's addresses.
 */
#include <errno.h>
#include <string.h>

#include "accel_priv.h"

/* Pages of a window: what one entry above the last level maps. */
#define WINDOW	     (1ul << OCTAVO_TABLE_BITS)
#define WINDOW_BYTES (WINDOW << PAGE_SHIFT)

/* A window's arrays, and the copies to be made. */
struct window {
	struct accel *dev;
	struct migrate_vma args;
	unsigned long src[WINDOW], dst[WINDOW];
	unsigned long nr;
	struct accel_copy copy[WINDOW];
	unsigned long of[WINDOW]; /* element that a copy is for */
	unsigned long nr_copies;
	bool gather;   /* make large folios of small ones */
	bool gathered; /* has done so */
	bool no_memory, bad_copy;
};

static void window_init(struct window *w, struct accel *dev)
{
	w->dev = dev;
	w->nr_copies = 0;
	w->gather = w->gathered = w->no_memory = w->bad_copy = false;
	w->args = (struct migrate_vma){ .src = w->src, .dst = w->dst, .pgmap_owner = dev };
}

/* ---- destinations ---- */

/* A folio of the device's memory: locked. NULL: none of that order. */
static struct folio *device_alloc(struct accel *dev, unsigned int order)
{
	struct folio *folio;
	long at;
	int err;

	if (order && accel_goes_wrong(dev, ACCEL_NO_LARGE))
		return NULL;
	at = memory_take(&dev->mem, order);
	if (at < 0)
		return NULL;
	folio = zone_device_folio_init(dev->pgmap.words + at, &dev->pgmap, order, &err);
	if (!folio)
		memory_give(&dev->mem, (unsigned long)at, order);
	return folio;
}

/* One of the system's, for what is at @from: locked. */
static struct folio *system_alloc(struct accel *dev, struct page *from, unsigned int order)
{
	gfp_t gfp = GFP_HIGHUSER_MOVABLE;

	if (order && accel_goes_wrong(dev, ACCEL_NO_LARGE))
		return NULL;
	if (order)
		gfp = (gfp & ~__GFP_DIRECT_RECLAIM) | __GFP_NORETRY | __GFP_NOWARN;
	return migrate_folio_alloc_like(page_folio(from), gfp, order);
}

/* The largest order, no more than @order, that the device has and memory can be had of. @i: the element that it is for. */
static struct folio *alloc_dst(struct window *w, unsigned long i, unsigned int order,
			       bool to_device)
{
	u32 orders = accel_orders(w->dev);

	for (;; order--) {
		struct folio *folio = NULL;

		if (!to_device)
			folio = system_alloc(w->dev, migrate_pfn_to_page(w->src[i]), order);
		else if (orders & 1u << order)
			folio = device_alloc(w->dev, order);
		if (folio || !order)
			return folio;
	}
}

/* ---- copies ---- */

/* What a copy is made of. @page: NULL: a hole. */
static struct accel_mem page_bytes(struct window *w, const struct page *page)
{
	return page ? accel_page_mem(w->dev, page) : (struct accel_mem){ .kind = ACCEL_ZEROS };
}

/* The pages of elements from @i on, which are a folio or hole that begins at @first, into @folio. */
static void plan_copies(struct window *w, unsigned long i, struct folio *folio)
{
	unsigned long nr = folio_nr_pages(folio), n;

	for (unsigned long k = 0; k < nr; k += n) {
		unsigned long src = w->src[i + k];
		struct page *from = migrate_pfn_to_page(src);
		struct accel_copy *c = &w->copy[w->nr_copies];

		/* a source that is larger than the destination has its pages here only */
		n = min(1ul << migrate_pfn_order(src), nr - k);
		*c = (struct accel_copy){ .to = accel_page_mem(w->dev, folio_page(folio, k)),
					  .from = page_bytes(w, from),
					  .len = n << PAGE_SHIFT };
		w->of[w->nr_copies++] = i;
	}
}

/* One destination, for a piece of the source at @first: pages @i and on of the window. */
static void give(struct window *w, unsigned long first, unsigned long i, struct folio *folio)
{
	struct page *from = migrate_pfn_to_page(w->src[first]);
	struct accel_copy *c = &w->copy[w->nr_copies];

	w->dst[i] = migrate_pfn(folio_page(folio, 0));
	if (i == first && folio_order(folio) >= migrate_pfn_order(w->src[first])) {
		plan_copies(w, i, folio);
		return;
	}
	*c = (struct accel_copy){ .to = accel_page_mem(w->dev, folio_page(folio, 0)),
				  .from = page_bytes(w, from ? from + (i - first) : NULL),
				  .len = folio_size(folio) };
	w->of[w->nr_copies++] = i;
}

/* What could not be copied is given nothing. */
static void run_copies(struct window *w)
{
	dma_run(w->dev, w->copy, w->nr_copies);
	for (unsigned long c = 0; c < w->nr_copies; c++) {
		unsigned long i = w->of[c];
		struct folio *folio;

		if (!w->copy[c].failed || !w->dst[i])
			continue;
		w->bad_copy = true;
		folio = page_folio(migrate_pfn_to_page(w->dst[i]));
		w->dst[i] = 0;
		folio_unlock(folio);
		folio_put(folio);
	}
}

/* ---- a window ---- */

/* How large a folio the device could have at @i: that small ones side by side fill, of one kind. */
static unsigned int gather_order(const struct window *w, unsigned long i)
{
	unsigned int order = migrate_pfn_order(w->src[i]), best = order;
	unsigned long covered = 0, kind = w->src[i] & MIGRATE_PFN_VALID;
	unsigned long addr = w->args.start >> PAGE_SHIFT;

	for (order = best + 1; order <= OCTAVO_TABLE_BITS; order++) {
		unsigned long nr = 1ul << order;

		if (!IS_ALIGNED(addr + i, nr) || i + nr > w->nr)
			break;
		while (covered < nr && w->src[i + covered] & MIGRATE_PFN_MIGRATE &&
		       (w->src[i + covered] & MIGRATE_PFN_VALID) == kind)
			covered += 1ul << migrate_pfn_order(w->src[i + covered]);
		if (covered < nr)
			break;
		/* not one that has a part of the next folio */
		if (covered == nr && accel_orders(w->dev) & 1u << order)
			best = order;
	}
	return best;
}

/* Destinations for the element at @i. Return: elements dealt with. */
static unsigned long give_one(struct window *w, unsigned long i, bool to_device)
{
	unsigned int order = migrate_pfn_order(w->src[i]), wanted = order;
	unsigned long nr, n;

	if (w->gather)
		wanted = gather_order(w, i);
	nr = 1ul << order;
	for (unsigned long k = 0; k < nr; k += n) {
		struct folio *folio = alloc_dst(w, i, k ? min(wanted, order) : wanted, to_device);

		n = 1;
		if (!folio) {
			w->no_memory = true;
			wanted = 0;
			continue;
		}
		n = folio_nr_pages(folio);
		/* later pieces are of this order at most, as after a page that got none, or they would not be aligned */
		wanted = folio_order(folio);
		give(w, i, i + k, folio);
		w->gathered |= n > nr;
		if (n > nr)
			return n;
	}
	return nr;
}

static void give_all(struct window *w, bool to_device)
{
	unsigned long i = 0;

	while (i < w->nr)
		i += w->src[i] & MIGRATE_PFN_MIGRATE ? give_one(w, i, to_device) : 1;
}

/* What moved, by the elements after the exchange. Return: pages. */
static unsigned long count_moved(const struct window *w, bool to_device)
{
	struct accel_stat *st = &w->dev->stat;
	unsigned long pages = 0;

	for (unsigned long i = 0; i < w->nr; i++) {
		struct folio *folio;
		u64 *n;

		/* a folio was taken for its first element */
		if (!(w->src[i] & MIGRATE_PFN_MIGRATE) || !w->dst[i])
			continue;
		folio = page_folio(migrate_pfn_to_page(w->dst[i]));
		pages += folio_nr_pages(folio);
		n = to_device ? st->folios_to_device : st->folios_to_system;
		__atomic_fetch_add(&n[folio_order(folio)], 1, __ATOMIC_RELAXED);
	}
	if (to_device)
		accel_count(w->dev, to_device, pages);
	else
		accel_count(w->dev, to_system, pages);
	return pages;
}

/* From after setup to the end. Context: mmap_lock. */
static unsigned long window_run(struct window *w, bool to_device)
{
	unsigned long moved;

	w->nr = w->args.npages;
	give_all(w, to_device);
	run_copies(w);
	migrate_vma_pages(&w->args);
	moved = count_moved(w, to_device);
	migrate_vma_finalize(&w->args);
	return moved;
}

static unsigned long device_flags(const struct accel *dev)
{
	return dev->cfg.coherent_pfn ? MIGRATE_VMA_SELECT_DEVICE_COHERENT
				     : MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
}

/*
 * Pages from @addr on, as many as are in one window and area. What was gathered, and does not belong together (pages of two families,
 * say), stays; then it is tried again as it is. Context: mmap_lock. Return: bytes passed; -errno.
 */
static long migrate_window(struct accel_ctx *ctx, unsigned long addr, unsigned long end,
			   bool to_device, unsigned long *moved)
{
	struct vm_area_struct *vma = vma_lookup(ctx->mm, addr);
	bool gather = to_device && ctx->dev->cfg.gather;
	struct window w;
	int err;

	if (!vma)
		return -EFAULT;
	end = min(end, vma->vm_end);
	end = min(end, (addr & ~(WINDOW_BYTES - 1)) + WINDOW_BYTES);
	do {
		window_init(&w, ctx->dev);
		w.gather = gather;
		w.args.vma = vma;
		w.args.start = addr;
		w.args.end = end;
		w.args.flags = MIGRATE_VMA_SELECT_COMPOUND |
			       (to_device ? MIGRATE_VMA_SELECT_SYSTEM : device_flags(ctx->dev));
		err = migrate_vma_setup(&w.args);
		if (err)
			return err;
		*moved += window_run(&w, to_device);
		gather = false;
	} while (w.gathered);
	return (long)(end - addr);
}

static long migrate_range(struct accel_ctx *ctx, unsigned long addr, unsigned long len,
			  bool to_device)
{
	unsigned long end = addr + len, moved = 0;
	long n;

	if (!IS_ALIGNED(addr | len, PAGE_SIZE) || end < addr)
		return -EINVAL;
	while (addr < end) {
		unsigned long left = (end - addr) >> PAGE_SHIFT, room = min(left, WINDOW);

		if (to_device && memory_left(&ctx->dev->mem) < room)
			accel_evict(ctx->dev, WINDOW);
		mmap_read_lock(ctx->mm);
		n = migrate_window(ctx, addr, end, to_device, &moved);
		mmap_read_unlock(ctx->mm);
		if (n < 0)
			return n;
		addr += (unsigned long)n;
	}
	return (long)moved;
}

long accel_migrate(struct accel_ctx *ctx, unsigned long addr, unsigned long len)
{
	return migrate_range(ctx, addr, len, true);
}

long accel_migrate_back(struct accel_ctx *ctx, unsigned long addr, unsigned long len)
{
	return migrate_range(ctx, addr, len, false);
}

/* ---- a CPU touched it ---- */

/* The window of the fault's folio, as far as the area has it. */
static void plan_fault_back(struct window *w, struct accel *dev, struct vm_fault *vmf)
{
	struct folio *folio = page_folio(vmf->page);
	unsigned long idx = folio_page_idx(folio, vmf->page);
	unsigned long start = vmf->address & ~(WINDOW_BYTES - 1), end = start + WINDOW_BYTES;

	if (vmf->address - start > idx << PAGE_SHIFT)
		start = vmf->address - (idx << PAGE_SHIFT);
	if (end - vmf->address > (folio_nr_pages(folio) - idx) << PAGE_SHIFT)
		end = vmf->address + ((folio_nr_pages(folio) - idx) << PAGE_SHIFT);
	window_init(w, dev);
	w->args.vma = vmf->vma;
	w->args.start = max(start, vmf->vma->vm_start);
	w->args.end = min(end, vmf->vma->vm_end);
	w->args.flags = MIGRATE_VMA_SELECT_DEVICE_PRIVATE | MIGRATE_VMA_SELECT_COMPOUND;
	w->args.fault_page = vmf->page;
}

static u32 migrate_to_ram(struct vm_fault *vmf)
{
	struct accel *dev = folio_pgmap(page_folio(vmf->page))->priv;
	struct window w;

	accel_count(dev, cpu_faults, 1);
	if (accel_goes_wrong(dev, ACCEL_FAULT_BACK_FAILS))
		return VM_FAULT_SIGBUS;
	plan_fault_back(&w, dev, vmf);
	if (migrate_vma_setup(&w.args))
		return VM_FAULT_SIGBUS;
	if (window_run(&w, false))
		return 0;
	if (w.bad_copy)
		return VM_FAULT_SIGBUS;
	/* somebody was in the way: the access is tried again, and finds what there is */
	return w.no_memory ? VM_FAULT_OOM : 0;
}

/* ---- eviction ---- */

/* The folios that begin in a window of the device's memory. Return: pages that moved. */
static unsigned long evict_window(struct accel *dev, unsigned long first, unsigned long nr)
{
	struct window w;
	unsigned long moved;

	window_init(&w, dev);
	w.nr = nr;
	memset(w.dst, 0, sizeof(w.dst));
	if (migrate_device_range(&dev->pgmap, first, w.src, nr))
		return 0;
	give_all(&w, false);
	run_copies(&w);
	migrate_device_pages(w.src, w.dst, nr);
	moved = count_moved(&w, false);
	migrate_device_finalize(w.src, w.dst, nr);
	return moved;
}

unsigned long accel_evict(struct accel *dev, unsigned long nr)
{
	unsigned long windows = DIV_ROUND_UP(dev->mem.nr, WINDOW), moved = 0;

	/* once around; the last one may be smaller */
	for (unsigned long i = 0; i < windows && moved < nr; i++) {
		unsigned long at = __atomic_fetch_add(&dev->hand, 1, __ATOMIC_RELAXED);

		at = at % windows * WINDOW;
		moved += evict_window(dev, at, min(WINDOW, dev->mem.nr - at));
	}
	accel_count(dev, evicted, moved);
	return moved;
}

/* ---- what the core tells the driver ---- */

static void folio_free(struct folio *folio)
{
	struct dev_pagemap *pgmap = folio_pgmap(folio);
	struct accel *dev = pgmap->priv;

	memory_give(&dev->mem, (unsigned long)(folio_page(folio, 0) - pgmap->words),
		    folio_order(folio));
}

static void folio_split_told(struct folio *original, struct folio *new)
{
	struct accel *dev = folio_pgmap(original)->priv;

	if (!new)
		accel_count(dev, splits, 1);
}

const struct dev_pagemap_ops migrate_ops = {
	.folio_free = folio_free,
	.folio_split = folio_split_told,
	.migrate_to_ram = migrate_to_ram,
};
