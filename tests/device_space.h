/* SPDX-License-Identifier: MIT */
/*
 * device_space.h - an address space some of whose pages a device has: its driver takes them by hand, with the steps that
 * moving a folio is made of, and brings them back when a CPU touches them.
 */
#ifndef OCTAVO_DEVICE_SPACE_H
#define OCTAVO_DEVICE_SPACE_H

#include <octavo/memremap.h>
#include <octavo/migrate.h>
#include <octavo/rcu.h>
#include <octavo/swapops.h>

#include "fault_machine.h"

#define DEVICE_PAGES (OCTAVO_TREE_ORDER > 6 ? 4 * PAGES_PER_SECTION : 32 * PAGES_PER_SECTION)

static struct dev_pagemap device;
static u64 device_mem[16384];	  /* the first eight bytes of each page */
static unsigned long device_next; /* first page that was never taken */
static u32 device_frees, device_faults, device_splits, device_split_ends;
static unsigned long device_pages_freed;
static u32 device_answer;	 /* to a fault: 0: bring it back */
static bool device_splits_first; /* and only the page that is touched */

static u64 *device_memory(const struct folio *folio, unsigned long i)
{
	return &device_mem[(unsigned long)(folio_page(folio, i) - device.words)];
}

static void device_folio_free(struct folio *folio)
{
	device_frees++;
	device_pages_freed += folio_nr_pages(folio);
}

static void device_folio_split(struct folio *original, struct folio *new)
{
	if (new)
		device_splits++;
	else
		device_split_ends++;
}

static inline bool of_device(const struct folio *folio)
{
	return folio_is_zone_device(folio);
}

static u64 *memory_of(const struct folio *folio, unsigned long i)
{
	if (folio_is_device_private(folio))
		return device_memory(folio, i);
	return pfn_to_virt(folio_pfn(folio) + i);
}

/* All of @src's mappings and contents become @dst's. Both locked. Return: 0, -EBUSY: as before. */
static int device_move(struct folio *src, struct folio *dst)
{
	struct anon_vma *anon_vma = try_to_migrate(src);
	int err = folio_mapped(src) || !anon_vma ? -EBUSY : 0;

	if (!err) {
		for (unsigned long i = 0; i < folio_nr_pages(src); i++)
			*memory_of(dst, i) = *memory_of(src, i);
		folio_move_state(dst, src);
	}
	if (anon_vma)
		remove_migration_ptes(src, err ? src : dst, anon_vma);
	return err;
}

/* A CPU touched it. */
static u32 device_migrate_to_ram(struct vm_fault *vmf)
{
	struct folio *src = page_folio(vmf->page), *dst;
	int err;

	device_faults++;
	assert_true(folio_test_locked(src));
	assert_true(folio_is_device_private(src));
	if (device_answer)
		return device_answer;
	if (device_splits_first) {
		if (split_folio_mapped_keep(src, 0, vmf->page))
			return VM_FAULT_OOM;
		src = page_folio(vmf->page);
		assert_true(folio_test_locked(src));
	}
	dst = folio_alloc(GFP_HIGHUSER_MOVABLE, folio_order(src), FOLIO_ANON);
	if (!dst)
		return VM_FAULT_OOM;
	folio_lock(dst);
	err = device_move(src, dst);
	folio_unlock(dst);
	folio_put(dst);
	return err ? VM_FAULT_SIGBUS : 0;
}

static const struct dev_pagemap_ops device_space_ops = {
	.folio_free = device_folio_free,
	.folio_split = device_folio_split,
	.migrate_to_ram = device_migrate_to_ram,
};

static inline void device_space_up(enum memory_type type)
{
	struct sim_config cfg = { .bytes = TEST_MIB << 20, .cpus = 2, .quiet = true };

	cfg.max_phys = cfg.bytes + DEVICE_PAGES * PAGE_SIZE;
	assert_int_equal(sim_boot(&cfg), 0);
	sim_set_cpu(0);
	as = mm_alloc();
	assert_non_null(as);
	sim_mm_use(as);
	sim_mmu_paranoid(true);
	device_next = device_pages_freed = 0;
	device_frees = device_faults = device_splits = device_split_ends = device_answer = 0;
	device_splits_first = false;
	device = (struct dev_pagemap){ .type = type,
				       .nr = DEVICE_PAGES,
				       .pfn = octavo_state.frame.max_pfn - DEVICE_PAGES,
				       .ops = &device_space_ops };
	assert_true(DEVICE_PAGES <= ARRAY_SIZE(device_mem));
	assert_int_equal(memremap_pages(&device), 0);
}

/* Nothing of the device is in use, or ever will be. */
static inline void device_space_down(void)
{
	assert_true(octavo_validate());
	assert_true(sim_mmu_check(as));
	sim_mm_forget(as);
	mmput(as);
	assert_int_equal(device.ref, 0);
	memunmap_pages(&device);
	shutdown_clean();
}

/* A folio of idle device memory. */
static inline struct folio *device_take(unsigned int order)
{
	struct folio *folio;
	int err = 1;

	device_next = ALIGN(device_next, 1ul << order);
	assert_true(device_next + (1ul << order) <= DEVICE_PAGES);
	folio = zone_device_folio_init(device.words + device_next, &device, order, &err);
	assert_non_null(folio);
	device_next += 1ul << order;
	return folio;
}

static inline bool is_private(unsigned long page)
{
	return pte_is_device_private(entry(page));
}

/* What of the device a page is mapped by, at whatever level. */
static inline struct folio *device_folio_in(struct mm_struct *m, unsigned long page)
{
	struct pt_pos pos = pos_in(m, page);

	assert_true(pte_is_device_private(pos.pte));
	return page_folio(place_page(swp_entry_place(pte_to_swp_entry(pos.pte))));
}

static inline bool private_write(pte_t e)
{
	return swp_type(pte_to_swp_entry(e)) == SWP_DEVICE_PRIVATE_WRITE;
}

/* The device takes the folio that @page is in. */
static inline struct folio *device_pull(unsigned long page)
{
	struct folio *src = folio_at(page), *dst = device_take(folio_order(src));

	folio_get(src);
	folio_lock(src);
	assert_int_equal(device_move(src, dst), 0);
	folio_unlock(src);
	folio_put(src);
	folio_unlock(dst);
	/* it lives by its entries */
	folio_put(dst);
	return dst;
}

/* Pages from @page on, mapped by a folio of @order, each with its number, writable and exclusive. */
static inline void map_folio(unsigned long page, unsigned int order)
{
	WRITE_ONCE(as->folio_orders, 1u << order | 1u);
	for (unsigned long i = 0; i < 1ul << order; i++)
		put64(page + i, 1000 + page + i);
	assert_int_equal(folio_order(folio_at(page)), order);
}

#endif /* OCTAVO_DEVICE_SPACE_H */
