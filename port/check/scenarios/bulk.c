/* SPDX-License-Identifier: MIT */
/*
 * bulk.c - many pages at once, collapse_range() and populate_vma_page_range(), against faults, look-ups without a lock,
 * programs and munmap: the shipped code.
 *
 * A driver stores plainly through its reference, and a collapse reads plainly: both at once is a race.
 */
#include <octavo/gup.h>
#include <octavo/mman.h>

#include "user_space.h"

#define OTHER (AWAY + TABLE)
#define LEAF  level_order(MAX_LEAF_LEVEL)

static SHARED struct {
	int err;			     /* of the collapse */
	struct page *got[CHECK_MAX_THREADS]; /* pinned and kept */
	u32 stored;
} b;

/* ---- collapse ---- */

/* CPU 0 has done one before. */
static void warm_collapse(unsigned int order)
{
	unsigned long len = PAGE_SIZE << order;

	map(OTHER, len);
	CHECK(!mm_fault(s.mm, OTHER, FAULT_FLAG_WRITE));
	CHECK(!collapse_range(s.mm, OTHER, order, (1u << order) - 1));
	CHECK(!vm_munmap(s.mm, OTHER, len));
	rcu_barrier();
}

/* Two pages, of which the second is there. */
static void setup_pair(void)
{
	setup();
	warm_collapse(1);
}

static void setup_both(void)
{
	setup_pair();
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
}

/* The pages of one table, of which the second is there. */
static void setup_whole_table(void)
{
	setup();
	map(ADDR + 2 * PAGE_SIZE, TABLE - 2 * PAGE_SIZE);
	warm_collapse(LEAF);
}

static void collapses(void)
{
	b.err = collapse_range(s.mm, ADDR, 1, 1);
	CHECK(!b.err || b.err == -EBUSY || b.err == -EEXIST);
}

static void collapses_table(void)
{
	b.err = collapse_range(s.mm, ADDR, LEAF, (1u << LEAF) - 1);
	CHECK(!b.err || b.err == -EBUSY || b.err == -EEXIST);
}

static void stores_first(void)
{
	CHECK(store(s.mm, ADDR, 1));
}

static void stores_second(void)
{
	CHECK(store(s.mm, ADDR + PAGE_SIZE, 2));
	CHECK(store(s.mm, ADDR + PAGE_SIZE + 8, 3));
}

/* What the page at @addr is, by a leaf too. */
static unsigned long pfn_of(unsigned long addr)
{
	struct pt_pos pos;

	if (pgtable_walk(s.mm, addr, PGTABLE_LEVEL_PTE, &pos)) {
		CHECK(pte_present(pos.pte));
		return pte_pfn(pos.pte);
	}
	CHECK(pte_leaf(pos.pte, pos.level));
	return pte_pfn(pos.pte) + (addr % TABLE >> PAGE_SHIFT);
}

static u64 stored_at(unsigned long addr)
{
	return *(u64 *)((char *)pfn_to_virt(pfn_of(addr)) + (addr & ~PAGE_MASK));
}

static void one_folio(unsigned int order)
{
	if (b.err)
		return;
	CHECK(folio_order(page_folio(pfn_to_page(pfn_of(ADDR)))) == order);
	CHECK(pfn_of(ADDR + PAGE_SIZE) == pfn_of(ADDR) + 1);
}

static void nothing_lost(void)
{
	CHECK(stored_at(ADDR) == 1);
	CHECK(stored_at(ADDR + PAGE_SIZE) == 2 && stored_at(ADDR + PAGE_SIZE + 8) == 3);
	one_folio(1);
	CHECK(mm_validate(s.mm));
}

SCENARIO(collapse_fault) = { SCENARIO_NAME(collapse_fault),
			     .stale = 1,
			     .threads = { collapses, stores_first, stores_second },
			     .roles = { "collapse", "missing", "present" },
			     .frames = 128,
			     .setup = setup_pair,
			     .finish = nothing_lost,
			     .about = "pages become one folio while a program writes to one that "
				      "is there and one that is not" };

/* A device driver's: a reference, then a store through the direct map. */
static void driver(void)
{
	struct page *page;

	if (get_user_pages_fast(s.mm, ADDR + PAGE_SIZE, 1, FOLL_WRITE | FOLL_FAST_ONLY, &page) != 1)
		return;
	*(u64 *)page_address(page) = 7;
	b.stored = 1;
	put_user_page(page);
}

static void pins_first(void)
{
	if (pin_user_pages_fast(s.mm, ADDR, 1, FOLL_WRITE | FOLL_FAST_ONLY,
				&b.got[check_thread()]) != 1)
		b.got[check_thread()] = NULL;
}

static void pins_stay(unsigned long addr)
{
	for (unsigned int t = 0; t < CHECK_MAX_THREADS; t++)
		if (b.got[t]) {
			CHECK(page_to_pfn(b.got[t]) == pfn_of(addr));
			unpin_user_page(b.got[t]);
		}
}

static void looked_up(void)
{
	pins_stay(ADDR);
	if (b.stored)
		CHECK(stored_at(ADDR + PAGE_SIZE) == 7);
	one_folio(1);
	CHECK(mm_validate(s.mm));
}

SCENARIO(collapse_gup) = { SCENARIO_NAME(collapse_gup),
			   .stale = 1,
			   .threads = { collapses, driver, pins_first },
			   .roles = { "collapse", "driver", "pinner" },
			   .rows = "S3.9 S2.29",
			   .frames = 128,
			   .setup = setup_both,
			   .finish = looked_up,
			   .about = "pages become one folio while a driver writes to one by a "
				    "reference, and one is pinned" };

/* The table goes: who walks it without a lock finds nothing in it, or gets nothing. */
static void pins_second(void)
{
	if (pin_user_pages_fast(s.mm, ADDR + PAGE_SIZE, 1, FOLL_WRITE | FOLL_FAST_ONLY,
				&b.got[check_thread()]) != 1)
		b.got[check_thread()] = NULL;
}

static void table_gone(void)
{
	pins_stay(ADDR + PAGE_SIZE);
	CHECK(stored_at(ADDR) == 1);
	one_folio(LEAF);
	CHECK(mm_validate(s.mm));
}

SCENARIO(collapse_table) = {
	SCENARIO_NAME(collapse_table),
	.threads = { collapses_table, stores_first, pins_second },
	.roles = { "collapse", "missing", "pinner" },
	.rows = "S3.9",
	.stale = -1,
	.stale_below = 2,
	.frames = 128,
	.setup = setup_whole_table,
	.finish = table_gone,
	.about = "a leaf takes the place of a table that a fault and a look-up walk"
};

/* ---- populate ---- */

static void populates(void)
{
	CHECK(!vm_madvise(s.mm, ADDR, 2 * PAGE_SIZE, MADV_POPULATE_WRITE));
}

static void populates_first(void)
{
	long err = vm_madvise(s.mm, ADDR, PAGE_SIZE, MADV_POPULATE_WRITE);

	CHECK(!err || err == -ENOMEM);
}

static void unmaps_first(void)
{
	CHECK(!vm_munmap(s.mm, ADDR, PAGE_SIZE));
}

static void first_is_gone(void)
{
	CHECK(pte_none(entry_of(s.mm, ADDR)));
	CHECK(pte_present(entry_of(s.mm, ADDR + PAGE_SIZE)));
	CHECK(mm_validate(s.mm));
}

static void faults_first(void)
{
	vm_fault_t ret = mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE);

	CHECK(!(ret & ~(VM_FAULT_SIGSEGV | VM_FAULT_MAPERR)));
}

SCENARIO(populate_munmap) = {
	SCENARIO_NAME(populate_munmap),
	.threads = { populates_first, unmaps_first, faults_first },
	.roles = { "populate", "munmap", "fault" },
	.frames = 128,
	.stale = 1,
	.setup = setup,
	.finish = first_is_gone,
	.about = "a range is filled while a page of it faults, and is unmapped"
};

/* Finds the zero page, or whatever is there. */
static void reads_first(void)
{
	CHECK(!mm_fault(s.mm, ADDR, 0));
}

static void populated_once(void)
{
	CHECK(stored_at(ADDR) == 1);
	CHECK(pte_write(entry_of(s.mm, ADDR)) && pte_write(entry_of(s.mm, ADDR + PAGE_SIZE)));
	CHECK(get_mm_counter(s.mm, MM_ANONPAGES) == 2);
	CHECK(mm_validate(s.mm));
}

SCENARIO(populate_fault) = {
	SCENARIO_NAME(populate_fault),
	.threads = { populates, stores_first, reads_first },
	.roles = { "populate", "writer", "reader" },
	.frames = 128,
	.setup = setup,
	.finish = populated_once,
	.about = "a range is filled while a program writes to a page of it and another reads"
};
