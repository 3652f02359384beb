/* SPDX-License-Identifier: MIT */
/*
 * device_fault.c - a CPU touches memory that a device has for itself, while the address space changes: mm/space, mm/rmap
 * and mm/device, the shipped code; the driver is the scenario's, and moves a folio by the steps that moving is made of.
 */
#include <octavo/memremap.h>
#include <octavo/migrate.h>
#include <octavo/octavo.h>

#include "user_space.h"

static SHARED struct {
	struct dev_pagemap pgmap;
	struct folio *folio; /* the device's */
	u64 mem[8];	     /* the first word of each page of the device: plain */
	u32 frees, pieces;
} d;

static u64 *memory(const struct folio *folio, unsigned long i)
{
	if (folio_is_device_private(folio))
		return &d.mem[folio_page(folio, i) - d.pgmap.words];
	return pfn_to_virt(folio_pfn(folio) + i);
}

/* Both locked. */
static void move(struct folio *src, struct folio *dst)
{
	struct anon_vma *anon_vma = try_to_migrate(src);

	/* nobody pins it */
	CHECK(!folio_mapped(src));
	if (!anon_vma)
		return;
	for (unsigned long i = 0; i < folio_nr_pages(src); i++)
		*memory(dst, i) = *memory(src, i);
	folio_move_state(dst, src);
	remove_migration_ptes(src, dst, anon_vma);
}

static u32 bring_back(struct vm_fault *vmf)
{
	struct folio *src = page_folio(vmf->page), *dst;

	CHECK(folio_test_locked(src) && folio_ref_count(src) > 0);
	CHECK(folio_page_idx(src, vmf->page) < folio_nr_pages(src));
	dst = folio_alloc(GFP_KERNEL, folio_order(src), FOLIO_ANON);
	CHECK(dst);
	folio_lock(dst);
	move(src, dst);
	folio_unlock(dst);
	folio_put(dst);
	return 0;
}

static void freed(struct folio *folio)
{
	fetch_add_relaxed(&d.frees, (u32)folio_nr_pages(folio));
}

static void split(struct folio *original, struct folio *new)
{
	CHECK(folio_ref_count(original) == 0);
	if (new)
		d.pieces++;
}

static const struct dev_pagemap_ops ops = { .folio_free = freed,
					    .folio_split = split,
					    .migrate_to_ram = bring_back };

/* The device has the folio of @order at ADDR, whose pages hold 100 and 101. */
static void setup_device(unsigned int order)
{
	struct folio *src;
	int err;

	setup();
	if (order) {
		CHECK(!vm_munmap(s.mm, ADDR, 2 * PAGE_SIZE));
		WRITE_ONCE(s.mm->folio_orders, 1u << order | 1u);
		map(ADDR, 2 * PAGE_SIZE);
	}
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	src = page_folio(pfn_to_page(pte_pfn(entry_of(s.mm, ADDR))));
	CHECK(folio_order(src) == order);
	d.pgmap = (struct dev_pagemap){ .type = MEMORY_DEVICE_PRIVATE, .nr = 8, .ops = &ops };
	CHECK(!memremap_pages(&d.pgmap));
	d.folio = zone_device_folio_init(d.pgmap.words, &d.pgmap, order, &err);
	CHECK(d.folio);
	for (unsigned long i = 0; i < 1ul << order; i++)
		*memory(src, i) = 100 + i;
	folio_get(src);
	folio_lock(src);
	move(src, d.folio);
	folio_unlock(src);
	folio_put(src);
	folio_unlock(d.folio);
	folio_put(d.folio);
	rcu_barrier();
	CHECK(pte_is_device_private(entry_of(s.mm, ADDR)));
}

static void setup_one(void)
{
	setup_device(0);
}

static void setup_two(void)
{
	setup_device(1);
}

static void toucher(void)
{
	CHECK(store(s.mm, ADDR, 7));
}

static void other_toucher(void)
{
	while (!pte_present(entry_of(s.mm, ADDR)))
		CHECK(!mm_fault(s.mm, ADDR, 0));
}

static void is_back(void)
{
	CHECK(word_of(s.mm, ADDR) == 7);
	CHECK(d.frees == 1 && d.pgmap.ref == 0);
	CHECK(mm_validate(s.mm));
}

SCENARIO(device_fault_two) = { SCENARIO_NAME(device_fault_two),
			       .frames = 128,
			       .about = "two CPUs touch a page that a device has",
			       .rows = "S1.34",
			       .setup = setup_one,
			       .finish = is_back,
			       .flags = SC_VALIDATE,
			       .stale = 1,
			       .threads = { toucher, other_toucher },
			       .roles = { "writer", "reader" } };

/* ---- it is unmapped meanwhile ---- */

static void toucher_or_late(void)
{
	store(s.mm, ADDR, 7);
}

static void unmapper(void)
{
	CHECK(!vm_munmap(s.mm, ADDR, PAGE_SIZE));
}

static void is_gone(void)
{
	CHECK(pte_none(entry_of(s.mm, ADDR)));
	CHECK(d.frees == 1 && d.pgmap.ref == 0);
	CHECK(mm_validate(s.mm));
}

SCENARIO(device_fault_unmap) = {
	SCENARIO_NAME(device_fault_unmap),
	.frames = 128,
	.about = "a CPU touches a page that a device has, and it is unmapped",
	.rows = "S1.34 S1.38",
	.setup = setup_one,
	.finish = is_gone,
	.stale = 1,
	.threads = { toucher_or_late, unmapper },
	.roles = { "writer", "unmapper" }
};

/* ---- a child is made meanwhile ---- */

static void forker(void)
{
	int err;

	s.child = mm_fork(s.mm, &err);
	CHECK(s.child);
}

static void both_have_it(void)
{
	CHECK(word_of(s.mm, ADDR) == 7);
	CHECK(mm_validate(s.mm));
	CHECK(mm_validate(s.child));
	CHECK(!mm_fault(s.child, ADDR, 0));
	CHECK(word_of(s.child, ADDR) == 100 || word_of(s.child, ADDR) == 7);
	CHECK(d.frees == 1 && d.pgmap.ref == 0);
}

SCENARIO(device_fault_fork) = {
	SCENARIO_NAME(device_fault_fork),
	.frames = 128,
	.about = "a CPU writes to a page that a device has, and a child is made",
	.rows = "S1.34 S1.39",
	.setup = setup_one,
	.finish = both_have_it,
	.flags = SC_VALIDATE,
	.stale = 1,
	.threads = { toucher, forker },
	.roles = { "writer", "forker" }
};

/* ---- the folio is split meanwhile ---- */

static void setup_split(void)
{
	setup_two();
	folio_get(d.folio);
}

static void splitter(void)
{
	int err;

	folio_lock(d.folio);
	err = split_folio_mapped(d.folio, 0, NULL);
	CHECK(!err || err == -EBUSY || err == -EAGAIN);
	folio_unlock(d.folio);
	folio_put(d.folio);
}

static void toucher_of_second(void)
{
	CHECK(store(s.mm, ADDR + PAGE_SIZE, 8));
}

static void all_back(void)
{
	CHECK(word_of(s.mm, ADDR + PAGE_SIZE) == 8);
	CHECK(!mm_fault(s.mm, ADDR, 0));
	CHECK(word_of(s.mm, ADDR) == 100);
	CHECK(d.frees == 2 && d.pgmap.ref == 0);
	CHECK(mm_validate(s.mm));
}

SCENARIO(device_split_fault) = {
	SCENARIO_NAME(device_split_fault),
	.frames = 128,
	.about = "a folio that a device has is split, and its second page touched",
	.rows = "S1.34 S1.36 S1.37",
	.setup = setup_split,
	.finish = all_back,
	.flags = SC_VALIDATE,
	.stale = 1,
	.threads = { toucher_of_second, splitter },
	.roles = { "writer", "splitter" }
};
