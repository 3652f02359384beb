/* SPDX-License-Identifier: MIT */
/*
 * tlb.c - page tables against hardware that uses them: what the unmapping side must do so that a user program on
 * another CPU neither reaches a frame that is used for something else, nor writes to one unnoticed.
 *
 * The hardware is mmu.c's; activation, flushes and the gather are the shipped ones of mm/table/tlb.c.
 */
#include <octavo/frame.h>
#include <octavo/page.h>
#include <octavo/pgtable.h>
#include <octavo/plain.h>
#include <octavo/tlb.h>

#include "check.h"

#define ADDR level_size(1)
#define MINE 77ul /* what the frame's next owner keeps there */

enum {
	STRONG,
	NO_FLUSH,
	FLUSH_EARLY,
	LARGE_BY_ITS_TABLE,
	CLEAR_PLAIN,
	DIRTY_EARLY,
	PROTECT_PLAIN,
	NO_BARRIER,
	NO_FORGET,
	PUT_EARLY,
	FREE_EARLY,
	SPLIT_IN_PLACE,
};

static SHARED struct {
	struct mm_struct mm;
	unsigned long pfn, other;
	pte_t *pte, *upper;
	struct ptdesc *pt, *table;
	u64 copy; /* plain */
} s;

static u64 *memory(unsigned long pfn)
{
	return pfn_to_virt(pfn);
}

static void setup_level(unsigned int level, bool active)
{
	struct pt_pos pos;
	struct page *page;

	CHECK(!pgd_init(&s.mm, GFP_KERNEL));
	CHECK(!pgtable_alloc_to(&s.mm, ADDR, level, GFP_KERNEL, &pos));
	page = alloc_pages(GFP_KERNEL | __GFP_ZERO, level_order(level));
	CHECK(page);
	s.pfn = page_to_pfn(page);
	s.pte = pos.ptep;
	s.pt = pos.pt;
	set_pte(s.pte, pte_mkleaf(pfn_pte(s.pfn, PAGE_SHARED), level));
	if (level == 0) {
		CHECK(pgtable_walk(&s.mm, ADDR, 1, &pos));
		s.upper = pos.ptep;
	}
	if (active)
		mm_activate(&s.mm, 1);
}

static void setup(void)
{
	setup_level(0, true);
}

static void setup_inactive(void)
{
	setup_level(0, false);
}

static void setup_large(void)
{
	setup_level(1, true);
}

static void stores_twice(void)
{
	check_mmu_store(&s.mm, ADDR, 1);
	check_mmu_store(&s.mm, ADDR, 2);
}

static void loads_and_stores(void)
{
	u64 v;

	check_mmu_load(&s.mm, ADDR, &v);
	check_mmu_store(&s.mm, ADDR, 1);
}

static void flush(void)
{
	flush_tlb_range(&s.mm, ADDR, ADDR + PAGE_SIZE, 0);
}

/* The frame is somebody else's from here on: its accesses are plain ones. */
static void use_again(void)
{
	*memory(s.pfn) = MINE;
}

static void still_mine(void)
{
	CHECK(*memory(s.pfn) == MINE);
}

/* ---- cleared, flushed, used again ---- */

static void reuser(void)
{
	if (check_variant() == FLUSH_EARLY)
		flush();
	ptep_get_and_clear(s.pte);
	if (check_variant() == STRONG)
		flush();
	use_again();
}

#define REUSE                                                                               \
	.threads = { reuser, stores_twice }, .roles = { "unmapper", "user" }, .frames = 16, \
	.setup = setup, .finish = still_mine

SCENARIO(tlb_reuse) = { SCENARIO_NAME(tlb_reuse), REUSE,
			.about = "an entry is cleared and flushed, its frame used again" };
WEAKENED(tlb_reuse_no_flush, REUSE, NO_FLUSH, "tlb_reuse without the flush");
WEAKENED(tlb_reuse_flush_early, REUSE, FLUSH_EARLY, "tlb_reuse, flushed before it is cleared");

static void reuser_large(void)
{
	ptep_get_and_clear(s.pte);
	/* the stride of the level above steps over everything */
	flush_tlb_range(&s.mm, ADDR, ADDR + level_size(1), VARIANT(LARGE_BY_ITS_TABLE, 1, 2));
	use_again();
}

#define LARGE                                                                                     \
	.threads = { reuser_large, stores_twice }, .roles = { "unmapper", "user" }, .frames = 32, \
	.setup = setup_large, .finish = still_mine

SCENARIO(tlb_reuse_large) = { SCENARIO_NAME(tlb_reuse_large), LARGE,
			      .about = "the same with a leaf above the last level" };
WEAKENED(tlb_reuse_large_level, LARGE, LARGE_BY_ITS_TABLE,
	 "tlb_reuse_large, flushed for a level above the leaf's");

/* ---- was it written to? ---- */

static void asks_dirty(void)
{
	pte_t e, early = ptep_get(s.pte);

	if (check_variant() == CLEAR_PLAIN) {
		e = ptep_get(s.pte);
		pte_clear(s.pte);
	} else {
		e = ptep_get_and_clear(s.pte);
	}
	flush();
	if (check_variant() == DIRTY_EARLY)
		e = early;
	/* clean memory is given up without a copy */
	CHECK(pte_dirty(e) || *memory(s.pfn) == 0);
}

#define DIRTY                                                                         \
	.threads = { asks_dirty, loads_and_stores }, .roles = { "unmapper", "user" }, \
	.frames = 16, .setup = setup

SCENARIO(tlb_dirty) = { SCENARIO_NAME(tlb_dirty), DIRTY,
			.about = "a store that lands is known to the entry when it is cleared" };
WEAKENED(tlb_dirty_plain, DIRTY, CLEAR_PLAIN, "tlb_dirty, entry read and cleared in two steps");
WEAKENED(tlb_dirty_early, DIRTY, DIRTY_EARLY, "tlb_dirty, asked before it is cleared");

/* ---- write-protected, as by a fork ---- */

static void protector(void)
{
	if (check_variant() == PROTECT_PLAIN)
		WRITE_ONCE(s.pte->v, READ_ONCE(s.pte->v) & ~(u64)_PAGE_RW);
	else
		ptep_set_wrprotect(s.pte);
	if (check_variant() != NO_FLUSH)
		flush();
	s.copy = *memory(s.pfn);
}

static void copy_is_good(void)
{
	CHECK(*memory(s.pfn) == s.copy);
	CHECK(pte_dirty(*s.pte) || s.copy == 0);
	CHECK(!pte_write(*s.pte));
}

#define PROTECT                                                                       \
	.threads = { protector, loads_and_stores }, .roles = { "protector", "user" }, \
	.frames = 16, .setup = setup, .finish = copy_is_good

SCENARIO(tlb_protect) = { SCENARIO_NAME(tlb_protect), PROTECT,
			  .about = "an entry is write-protected and flushed, its memory copied" };
WEAKENED(tlb_protect_no_flush, PROTECT, NO_FLUSH, "tlb_protect without the flush");
WEAKENED(tlb_protect_plain, PROTECT, PROTECT_PLAIN,
	 "tlb_protect by a plain store: forgets that it is dirty");

/* ---- CPUs that come and go ---- */

static void comes_and_goes(void)
{
	for (u32 turn = 0; turn < 2; turn++) {
		octavo_port_pin();
		if (check_variant() == NO_BARRIER)
			fetch_or_relaxed(&s.mm.cpus[0], 2ul);
		else
			mm_activate(&s.mm, 1);
		check_mmu_store(&s.mm, ADDR, 1);
		if (check_variant() != NO_FORGET)
			check_mmu_forget(&s.mm);
		mm_deactivate(&s.mm, 1);
		octavo_port_unpin();
	}
}

static void reuser_strong(void)
{
	ptep_get_and_clear(s.pte);
	flush();
	use_again();
}

#define ACTIVE                                                                         \
	.threads = { reuser_strong, comes_and_goes }, .roles = { "unmapper", "user" }, \
	.frames = 16, .setup = setup_inactive, .finish = still_mine

SCENARIO(tlb_activate) = { SCENARIO_NAME(tlb_activate), ACTIVE,
			   .about = "a CPU begins to use an address space while an entry goes" };
WEAKENED(tlb_activate_no_barrier, ACTIVE, NO_BARRIER, "tlb_activate without its barrier");
WEAKENED(tlb_activate_no_forget, ACTIVE, NO_FORGET,
	 "tlb_activate by a CPU that keeps translations when it leaves");

/* ---- the gather ---- */

static void gatherer(void)
{
	struct page *page = pfn_to_page(s.pfn);
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, &s.mm);
	ptep_get_and_clear(s.pte);
	tlb_note_range(&tlb, ADDR, ADDR + PAGE_SIZE, 0);
	if (check_variant() == PUT_EARLY)
		put_page(page);
	else
		CHECK(!tlb_remove_page(&tlb, page));
	if (check_variant() != PUT_EARLY)
		tlb_finish_mmu(&tlb);
	CHECK(!frame_alloc_at(s.pfn, 0, 0));
	use_again();
	if (check_variant() == PUT_EARLY)
		tlb_finish_mmu(&tlb);
}

#define GATHER                                                                                \
	.threads = { gatherer, stores_twice }, .roles = { "unmapper", "user" }, .frames = 16, \
	.setup = setup, .finish = still_mine

SCENARIO(tlb_gather) = { SCENARIO_NAME(tlb_gather), GATHER,
			 .about = "the gather gives a frame back after the flush" };
WEAKENED(tlb_gather_early, GATHER, PUT_EARLY, "tlb_gather, given back before the flush");

/* ---- tables ---- */

static void setup_table(void)
{
	struct page *page;

	setup();
	page = alloc_pages(GFP_KERNEL, 0);
	CHECK(page);
	s.other = page_to_pfn(page);
	*memory(s.other) = MINE;
}

/* A table goes, and in its frame is then what looks like entries. */
static void unlinker(void)
{
	const unsigned long pfn = ptdesc_pfn(s.pt);
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, &s.mm);
	ptep_get_and_clear(s.pte);
	tlb_note_range(&tlb, ADDR, ADDR + PAGE_SIZE, 0);
	ptep_get_and_clear(s.upper);
	if (check_variant() == FREE_EARLY)
		pagetable_free_rcu(s.pt);
	else
		tlb_remove_table(&tlb, s.pt);
	if (check_variant() != FREE_EARLY)
		tlb_finish_mmu(&tlb);
	rcu_barrier();
	CHECK(!frame_alloc_at(pfn, 0, 0));
	for (unsigned long i = 0; i < 2; i++)
		memory(pfn)[i] = pfn_pte(s.other, PAGE_SHARED).v;
	if (check_variant() == FREE_EARLY)
		tlb_finish_mmu(&tlb);
}

static void other_is_safe(void)
{
	CHECK(*memory(s.other) == MINE);
}

static void stores_once(void)
{
	check_mmu_store(&s.mm, ADDR, 1);
}

#define TABLE                                                                                \
	.threads = { unlinker, stores_once }, .roles = { "unmapper", "user" }, .frames = 16, \
	.setup = setup_table, .finish = other_is_safe

SCENARIO(tlb_table) = { SCENARIO_NAME(tlb_table), TABLE,
			.about = "a table is unlinked, flushed and used again under a walk" };
WEAKENED(tlb_table_early, TABLE, FREE_EARLY, "tlb_table, freed before the flush");

/* ---- sizes ---- */

static void setup_split(void)
{
	setup_large();
	s.table = pagetable_alloc(GFP_KERNEL, 0);
	CHECK(s.table);
}

static void splitter(void)
{
	struct pt_pos pos;
	pte_t leaf;

	CHECK(pte_offset_lock(&s.mm, ADDR, 1, &pos));
	if (check_variant() == SPLIT_IN_PLACE)
		leaf = ptep_get(pos.ptep);
	else
		leaf = pgtable_split_begin(&pos);
	pgtable_split_end(&pos, leaf, s.table);
	pte_unlock(&pos);
}

/* A page of it has been stored to: its new entry says so. */
static void stores_to_second(void)
{
	u64 v;

	check_mmu_load(&s.mm, ADDR + PAGE_SIZE, &v);
	if (check_mmu_store(&s.mm, ADDR + PAGE_SIZE, 1) == CHECK_MMU_OK &&
	    check_mmu_load(&s.mm, ADDR + PAGE_SIZE, &v) == CHECK_MMU_OK)
		CHECK(v == 1);
}

static void split_is_dirty(void)
{
	pte_t *table = ptdesc_address(s.table);

	CHECK(pte_pfn(table[1]) == s.pfn + 1 && pte_write(table[1]));
	CHECK(pte_dirty(table[1]) || *memory(s.pfn + 1) == 0);
}

#define SPLIT                                                                                     \
	.threads = { splitter, stores_to_second }, .roles = { "splitter", "user" }, .frames = 32, \
	.setup = setup_split, .finish = split_is_dirty

SCENARIO(tlb_split) = { SCENARIO_NAME(tlb_split), SPLIT,
			.about = "a leaf becomes a table while it is used" };
WEAKENED(tlb_split_in_place, SPLIT, SPLIT_IN_PLACE,
	 "tlb_split, leaf and table changed over in one");

/* The other way: the table's entries are gone already, and its frame keeps it. */
static void collapser(void)
{
	struct pt_pos pos;

	CHECK(pgtable_walk(&s.mm, ADDR, 1, &pos));
	ptep_get_and_clear(s.pte);
	ptep_get_and_clear(pos.ptep);
	if (check_variant() == STRONG)
		flush_tlb_tables(&s.mm, ADDR, ADDR + level_size(1));
	set_pte(pos.ptep, pte_mkleaf(pfn_pte(s.other, PAGE_SHARED), 1));
}

static void setup_collapse(void)
{
	struct page *page;

	setup();
	page = alloc_pages(GFP_KERNEL | __GFP_ZERO, level_order(1));
	CHECK(page);
	s.other = page_to_pfn(page);
}

static void loads_two_pages(void)
{
	u64 v;

	check_mmu_load(&s.mm, ADDR, &v);
	check_mmu_load(&s.mm, ADDR + PAGE_SIZE, &v);
}

#define COLLAPSE                                                                                   \
	.threads = { collapser, loads_two_pages }, .roles = { "collapser", "user" }, .frames = 32, \
	.setup = setup_collapse

SCENARIO(tlb_collapse) = { SCENARIO_NAME(tlb_collapse), COLLAPSE,
			   .about = "a table becomes a leaf while it is used" };
WEAKENED(tlb_collapse_no_flush, COLLAPSE, NO_FLUSH,
	 "tlb_collapse without the flush between table and leaf");
