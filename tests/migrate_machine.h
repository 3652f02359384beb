/* SPDX-License-Identifier: MIT */
/*
 * migrate_machine.h - an address space, a device's memory, and a driver that migrates by hand.
 *
 * Contents are checked by whoever uses it: the driver copies pages as a device would.
 */
#ifndef OCTAVO_MIGRATE_MACHINE_H
#define OCTAVO_MIGRATE_MACHINE_H

#include <octavo/hmm.h>
#include <octavo/memremap.h>
#include <octavo/migrate.h>

#include "fault_machine.h"

#define MIG_PAGES (4 * LEAF_PAGES)
#define DEV_PAGES (OCTAVO_TABLE_BITS == 9 ? 2 * PAGES_PER_SECTION : 16 * PAGES_PER_SECTION)

/* Where memory for destinations comes from. */
enum mig_to { TO_SYSTEM, TO_PRIVATE, TO_COHERENT };

static struct dev_pagemap dev_map;
static char *dev_mem;		/* of private memory */
static unsigned long dev_next;	/* pages that were never used, from here on */
static unsigned long dev_freed; /* pages that came back */
static u32 (*dev_to_ram)(struct vm_fault *vmf);

static void dev_folio_free(struct folio *folio)
{
	dev_freed += folio_nr_pages(folio);
}

static void dev_folio_split(struct folio *original, struct folio *new)
{
}

static u32 dev_migrate_to_ram(struct vm_fault *vmf)
{
	return dev_to_ram ? dev_to_ram(vmf) : VM_FAULT_SIGBUS;
}

static const struct dev_pagemap_ops dev_ops = {
	.folio_free = dev_folio_free,
	.folio_split = dev_folio_split,
	.migrate_to_ram = dev_migrate_to_ram,
};

static inline void device_up(enum mig_to kind)
{
	struct sim_config cfg = { .bytes = (u64)TEST_MIB << 20, .cpus = 4, .quiet = true };

	cfg.max_phys = cfg.bytes + DEV_PAGES * PAGE_SIZE;
	assert_int_equal(sim_boot(&cfg), 0);
	sim_set_cpu(0);
	as = mm_alloc();
	assert_non_null(as);
	sim_mm_use(as);
	sim_mmu_paranoid(true);
	dev_next = dev_freed = 0;
	dev_to_ram = NULL;
	dev_map = (struct dev_pagemap){
		.type = MEMORY_DEVICE_COHERENT, .nr = DEV_PAGES, .owner = &dev_map, .ops = &dev_ops
	};
	if (kind == TO_SYSTEM)
		return;
	if (kind == TO_PRIVATE) {
		dev_map.type = MEMORY_DEVICE_PRIVATE;
		dev_mem = aligned_alloc(PAGE_SIZE, DEV_PAGES * PAGE_SIZE);
		assert_non_null(dev_mem);
	} else {
		dev_map.pfn = cfg.bytes >> PAGE_SHIFT;
	}
	assert_int_equal(memremap_pages(&dev_map), 0);
}

static inline void device_down(enum mig_to kind)
{
	assert_true(octavo_validate());
	assert_true(sim_mmu_check(as));
	sim_mm_forget(as);
	mmput(as);
	if (kind != TO_SYSTEM)
		memunmap_pages(&dev_map);
	assert_int_equal(dev_freed, dev_next);
	shutdown_clean();
	free(dev_mem);
	dev_mem = NULL;
}

/* The memory of a page, wherever it is. */
static inline void *mem_of(const struct page *page)
{
	if (page_is_device_private(page))
		return dev_mem + ((unsigned long)(page - dev_map.words) << PAGE_SHIFT);
	return pfn_to_virt(page_to_pfn(page));
}

/* A destination: locked, one reference. NULL: no memory. */
static inline struct folio *dst_alloc(enum mig_to to, unsigned int order)
{
	struct folio *folio;
	int err;

	if (to == TO_SYSTEM) {
		folio = folio_alloc(GFP_HIGHUSER_MOVABLE, order, FOLIO_ANON);
		if (folio)
			folio_lock(folio);
		return folio;
	}
	/* what is passed over counts as used and come back */
	dev_freed += ALIGN(dev_next, 1ul << order) - dev_next;
	dev_next = ALIGN(dev_next, 1ul << order);
	folio = zone_device_folio_init(dev_map.words + dev_next, &dev_map, order, &err);
	if (folio)
		dev_next += 1ul << order;
	return folio;
}

struct mig {
	struct migrate_vma args;
	unsigned long src[MIG_PAGES], dst[MIG_PAGES];
};

/* Pages [page, page + nr). Return: as migrate_vma_setup(); mmap_lock is held. */
static inline int mig_setup(struct mig *m, unsigned long page, unsigned long nr,
			    unsigned long flags)
{
	memset(m, 0, sizeof(*m));
	mmap_read_lock(as);
	m->args = (struct migrate_vma){
		.vma = vma_lookup(as, at(page)),
		.src = m->src,
		.dst = m->dst,
		.start = at(page),
		.end = at(page + nr),
		.pgmap_owner = &dev_map,
		.flags = flags,
	};
	return migrate_vma_setup(&m->args);
}

/* The source page of element @i, which may be in the folio of an earlier one. NULL: a hole. */
static inline struct page *mig_src_page(const unsigned long *src, unsigned long i)
{
	unsigned long k = i;

	while (!src[k] && k)
		k--;
	if (!(src[k] & MIGRATE_PFN_VALID) || i - k >= 1ul << migrate_pfn_order(src[k]))
		return NULL;
	return migrate_pfn_to_page(src[k]) + (i - k);
}

/* A folio for elements @i and on, with what they have. */
static inline bool mig_give(struct mig *m, unsigned long i, enum mig_to to, unsigned int order)
{
	struct folio *folio = dst_alloc(to, order);

	if (!folio)
		return false;
	m->dst[i] = migrate_pfn(folio_page(folio, 0));
	for (unsigned long k = 0; k < 1ul << order; k++) {
		struct page *from = i + k < m->args.npages ? mig_src_page(m->src, i + k) : NULL;
		void *mem = mem_of(folio_page(folio, k));

		if (from)
			memcpy(mem, mem_of(from), PAGE_SIZE);
		else
			memset(mem, 0, PAGE_SIZE);
	}
	return true;
}

/* Destinations of the sources' orders, but no larger than @order. */
static inline void mig_give_all(struct mig *m, enum mig_to to, unsigned int order)
{
	for (unsigned long i = 0; i < m->args.npages; i++) {
		unsigned int o = migrate_pfn_order(m->src[i]), piece = min(o, order);

		if (!(m->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		for (unsigned long k = 0; k < 1ul << o; k += 1ul << piece)
			mig_give(m, i + k, to, piece);
		i += (1ul << o) - 1;
	}
}

static inline void mig_end(struct mig *m)
{
	migrate_vma_finalize(&m->args);
	mmap_read_unlock(as);
}

/* All of it: the elements that moved. */
static inline unsigned long mig_run(struct mig *m, unsigned long page, unsigned long nr,
				    unsigned long flags, enum mig_to to, unsigned int order)
{
	unsigned long moved = 0;

	assert_int_equal(mig_setup(m, page, nr, flags), 0);
	mig_give_all(m, to, order);
	migrate_vma_pages(&m->args);
	for (unsigned long i = 0; i < nr; i++)
		moved += !!(m->src[i] & MIGRATE_PFN_MIGRATE);
	mig_end(m);
	return moved;
}

#define SEL_SYSTEM   MIGRATE_VMA_SELECT_SYSTEM
#define SEL_PRIVATE  MIGRATE_VMA_SELECT_DEVICE_PRIVATE
#define SEL_COHERENT MIGRATE_VMA_SELECT_DEVICE_COHERENT
#define SEL_COMPOUND MIGRATE_VMA_SELECT_COMPOUND

static inline unsigned long sel_of(enum mig_to to)
{
	return to == TO_PRIVATE ? SEL_PRIVATE : to == TO_COHERENT ? SEL_COHERENT : SEL_SYSTEM;
}

/* A CPU touched private memory: the driver of these tests brings the folio back, as it is or in pieces. */
static unsigned int ram_order = MAX_FOLIO_ORDER;

static inline u32 bring_back(struct vm_fault *vmf)
{
	static struct mig m;
	struct vm_area_struct *vma = vmf->vma;
	struct folio *folio = page_folio(vmf->page);
	unsigned long nr = folio_nr_pages(folio), idx = folio_page_idx(folio, vmf->page);
	unsigned long start = vmf->address - min(idx << PAGE_SHIFT, vmf->address - vma->vm_start);
	unsigned long end = min(vmf->address + ((nr - idx) << PAGE_SHIFT), vma->vm_end);

	memset(&m, 0, sizeof(m));
	m.args = (struct migrate_vma){
		.vma = vma,
		.src = m.src,
		.dst = m.dst,
		.start = start,
		.end = end,
		.pgmap_owner = &dev_map,
		.flags = SEL_PRIVATE | (ram_order ? SEL_COMPOUND : 0),
		.fault_page = vmf->page,
	};
	assert_int_equal(migrate_vma_setup(&m.args), 0);
	mig_give_all(&m, TO_SYSTEM, ram_order);
	migrate_vma_pages(&m.args);
	migrate_vma_finalize(&m.args);
	return 0;
}

#endif /* OCTAVO_MIGRATE_MACHINE_H */
