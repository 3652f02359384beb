/* SPDX-License-Identifier: MIT */
/*
 * device_driver.h - a driver for scenarios: memory of a device, migration there and back, eviction, and a mirror of one
 * page. Contents are two words of each page, plain, so that who copies and who still uses the old place are a race.
 */
#ifndef CHECK_DEVICE_DRIVER_H
#define CHECK_DEVICE_DRIVER_H

#include <octavo/hmm.h>
#include <octavo/memremap.h>
#include <octavo/octavo.h>

#include "user_space.h"

#define DEVICE_PAGES 8u /* a section */

static SHARED struct {
	struct dev_pagemap pgmap;
	u64 mem[DEVICE_PAGES][2]; /* of private memory */
	u32 frees, taken;	  /* pages */
	/* a mirror of ADDR */
	struct mmu_interval_notifier mni;
	spinlock_t lock;
	u64 *entry; /* what it has; NULL: nothing */
	u32 filled; /* it has had something, and used it: so often */
} m;

/* ---- memory ---- */

static inline u64 *memory(const struct page *page)
{
	if (page_is_device_private(page))
		return m.mem[page - m.pgmap.words];
	return pfn_to_virt(page_to_pfn(page));
}

/* At an aligned place that was never used before. */
static inline struct folio *take_device(unsigned int order)
{
	u32 old = READ_ONCE(m.taken), at;
	struct folio *folio;
	int err;

	do {
		at = (u32)ALIGN(old, 1u << order);
	} while (!try_cmpxchg_relaxed(&m.taken, &old, at + (1u << order)));
	CHECK(at == old && at + (1u << order) <= m.pgmap.nr);
	folio = zone_device_folio_init(m.pgmap.words + at, &m.pgmap, order, &err);
	CHECK(folio);
	return folio;
}

static inline struct folio *take_system(unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);

	CHECK(folio);
	folio_lock(folio);
	return folio;
}

static inline void freed(struct folio *folio)
{
	fetch_add_relaxed(&m.frees, (u32)folio_nr_pages(folio));
}

/* ---- migration ---- */

/* Destinations as large as what is to move, with contents. */
static inline void give(const unsigned long *src, unsigned long *dst, unsigned long nr, bool device)
{
	for (unsigned long i = 0; i < nr; i++) {
		struct page *from = migrate_pfn_to_page(src[i]);
		struct folio *folio;
		unsigned int order;

		if (!from || !(src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		order = migrate_pfn_order(src[i]);
		folio = device ? take_device(order) : take_system(order);
		for (unsigned long k = 0; k < 1ul << order; k++) {
			u64 *to = memory(folio_page(folio, k));

			to[0] = memory(from + k)[0];
			to[1] = memory(from + k)[1];
		}
		dst[i] = migrate_pfn(folio_page(folio, 0));
	}
}

/* Context: mmap_lock. */
static inline void migrate_at(struct vm_area_struct *vma, unsigned long addr, unsigned long nr,
			      unsigned long flags, struct page *fault_page)
{
	unsigned long src[2], dst[2];
	struct migrate_vma args = { .vma = vma,
				    .src = src,
				    .dst = dst,
				    .start = addr,
				    .end = addr + nr * PAGE_SIZE,
				    .pgmap_owner = &m,
				    .flags = flags,
				    .fault_page = fault_page };

	CHECK(!migrate_vma_setup(&args));
	give(src, dst, nr, flags & MIGRATE_VMA_SELECT_SYSTEM);
	migrate_vma_pages(&args);
	migrate_vma_finalize(&args);
}

/* What is at ADDR of @nr pages, if anything. */
static inline void migrate_some(unsigned long nr, unsigned long flags)
{
	struct vm_area_struct *vma;

	mmap_read_lock(s.mm);
	vma = vma_lookup(s.mm, ADDR);
	if (vma)
		migrate_at(vma, ADDR, nr, flags, NULL);
	mmap_read_unlock(s.mm);
}

static inline void to_device(void)
{
	migrate_some(1, MIGRATE_VMA_SELECT_SYSTEM);
}

static inline u32 bring_back(struct vm_fault *vmf)
{
	migrate_at(vmf->vma, vmf->address & PAGE_MASK, 1, MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
		   vmf->page);
	return 0;
}

static inline void evict(void)
{
	unsigned long src, dst = 0;

	CHECK(!migrate_device_range(&m.pgmap, 0, &src, 1));
	give(&src, &dst, 1, false);
	migrate_device_pages(&src, &dst, 1);
	migrate_device_finalize(&src, &dst, 1);
}

/* ---- where it all begins ---- */

static inline void device_add(enum memory_type type, unsigned long pfn)
{
	static const struct dev_pagemap_ops ops = { .folio_free = freed,
						    .migrate_to_ram = bring_back };

	m.pgmap = (struct dev_pagemap){
		.type = type, .pfn = pfn, .nr = DEVICE_PAGES, .ops = &ops, .owner = &m
	};
	CHECK(!memremap_pages(&m.pgmap));
}

/* A page at ADDR with 100 in it, of the system's. */
static inline void setup_page(void)
{
	setup();
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	*(u64 *)pfn_to_virt(pte_pfn(entry_of(s.mm, ADDR))) = 100;
	device_add(MEMORY_DEVICE_PRIVATE, 0);
}

/* The same on the device. */
static inline void setup_on_device(void)
{
	setup_page();
	to_device();
	CHECK(pte_is_device_private(entry_of(s.mm, ADDR)));
	rcu_barrier();
}

/* ---- how it all ends ---- */

/* All that was taken is back, or is what @held pages of address spaces have. */
static inline void check_device(u32 held)
{
	CHECK(m.frees + held == m.taken && m.pgmap.ref == held);
	CHECK(mm_validate(s.mm));
}

static inline bool on_device(struct mm_struct *mm)
{
	return pte_is_device_private(entry_of(mm, ADDR));
}

static inline u64 *words_anywhere(struct mm_struct *mm, unsigned long addr)
{
	pte_t e = entry_of(mm, addr);

	CHECK(!pte_none(e));
	if (pte_is_swap(e))
		return memory(place_page(swp_entry_place(pte_to_swp_entry(e))));
	return pfn_to_virt(pte_pfn(e));
}

static inline u64 word_anywhere(struct mm_struct *mm)
{
	return words_anywhere(mm, ADDR)[0];
}

/* ---- a mirror ---- */

static inline bool invalidate(struct mmu_interval_notifier *mni,
			      const struct mmu_notifier_range *range, unsigned long seq)
{
	if (range->event == MMU_NOTIFY_EXCLUSIVE && range->owner == &m)
		return true;
	spin_lock(&m.lock);
	mmu_interval_set_seq(mni, seq);
	m.entry = NULL;
	spin_unlock(&m.lock);
	return true;
}

static inline void mirror_add(void)
{
	static const struct mmu_interval_notifier_ops mirror_ops = { .invalidate = invalidate };

	CHECK(!mmu_interval_notifier_insert(&m.mni, s.mm, ADDR, PAGE_SIZE, &mirror_ops));
}

/* A page at ADDR, and a mirror of it. */
static inline void setup_mirror(void)
{
	setup_page();
	mirror_add();
}

/* Fill the mirror, if nothing has changed. Return: whether it is filled. */
static inline bool mirror_fill(unsigned long seq, u64 *words)
{
	bool filled;

	spin_lock(&m.lock);
	filled = !mmu_interval_read_retry(&m.mni, seq);
	if (filled)
		m.entry = words;
	spin_unlock(&m.lock);
	return filled;
}

#endif /* CHECK_DEVICE_DRIVER_H */
