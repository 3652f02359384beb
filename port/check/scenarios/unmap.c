/* SPDX-License-Identifier: MIT */
/*
 * unmap.c - a folio goes out of page tables to its slots, or to nothing, or to other frames, against everybody who has its
 * pages: pins, references, programs that store, faults that bring it back, fork, and the memory calls. The shipped code.
 *
 * Nothing is written or read: the folio stays in the cache, or what brings it back is a bug. Who stores through a reference and who
 * reads what was stored do so plainly, so that both at once is a race.
 */
#include <octavo/gup.h>
#include <octavo/migrate.h>
#include <octavo/mman.h>
#include <octavo/reclaim.h>

#include "cached_space.h"

#define SECOND (ADDR + PAGE_SIZE)

static SHARED struct {
	unsigned long pfn, nr; /* of the folio */
	swp_entry_t slot;
	bool gone;				/* try_to_unmap() said so */
	struct page *got[CHECK_MAX_THREADS][2]; /* pinned and kept */
	long nr_got[CHECK_MAX_THREADS];
	u32 stored; /* by a driver */
	u32 restricted;
} u;

static u64 *memory_of(unsigned long i)
{
	return pfn_to_virt(u.pfn + i);
}

/* An area of two pages with a folio of @order from the first on, 77 and 78 in them; each CPU has been everywhere. */
static void setup_space(unsigned int order)
{
	s.mm = mm_alloc();
	CHECK(s.mm);
	s.mm->folio_orders = 1u << order | 1;
	map(ADDR, 2 * PAGE_SIZE);
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	warm();
	s.folio = page_folio(pfn_to_page(pte_pfn(entry_of(s.mm, ADDR))));
	CHECK(s.folio && folio_order(s.folio) == order);
	u.pfn = folio_pfn(s.folio);
	u.nr = folio_nr_pages(s.folio);
	for (unsigned long i = 0; i < u.nr; i++)
		*memory_of(i) = 77 + i;
	/* the scenario's */
	folio_get(s.folio);
	for (unsigned int cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++)
		mm_activate(s.mm, cpu);
}

static void setup_cached(unsigned int order)
{
	setup_space(order);
	CHECK(!swapon(&no_io_device, NULL, 16, 0, SWAP_FLAG_SYNC));
	folio_lock(s.folio);
	CHECK(!folio_alloc_swap(s.folio));
	u.slot = folio_swap_entry(s.folio, 0);
	folio_unlock(s.folio);
}

static void setup_small(void)
{
	setup_cached(0);
}

static void setup_pair(void)
{
	setup_cached(1);
}

/* Entries that are not writable come back with the value that they had. */
static void setup_pair_clean(void)
{
	setup_pair();
	CHECK(!vm_mprotect(s.mm, ADDR, 2 * PAGE_SIZE, PROT_READ));
	CHECK(!vm_mprotect(s.mm, ADDR, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE));
}

/* ---- who unmaps ---- */

static void unmaps(void)
{
	/* the scenario's reference is the caller's */
	if (!folio_trylock(s.folio))
		return;
	u.gone = try_to_unmap(s.folio, 0);
	CHECK(u.gone || folio_mapped(s.folio));
	folio_unlock(s.folio);
}

static bool is_slot(unsigned long i, pte_t e)
{
	return pte_is_swap(e) &&
	       pte_to_swp_entry(e).v == swp_entry(swp_type(u.slot), swp_offset(u.slot) + i).v;
}

/* What entries say, and what is counted, agree. Return: how many map the folio. */
static unsigned int settled(struct mm_struct *mm)
{
	unsigned int mapped = 0, slots = 0;

	for (unsigned long i = 0; i < u.nr; i++) {
		pte_t e = entry_of(mm, ADDR + i * PAGE_SIZE);
		bool there = pte_present(e) && pte_pfn(e) == u.pfn + i;

		mapped += there;
		slots += is_slot(i, e);
		/* writable: nobody else's */
		CHECK(!there || !pte_write(e) || folio_test_anon_exclusive(s.folio, i));
		CHECK(!there || !pte_protnone(e));
	}
	CHECK(get_mm_counter(mm, MM_SWAPENTS) == slots);
	return mapped;
}

static void settled_alone(void)
{
	unsigned int mapped = settled(s.mm);

	CHECK((unsigned int)folio_mapcount(s.folio) == mapped);
	if (folio_test_flag(s.folio, PG_swapcache))
		for (unsigned long i = 0; i < u.nr; i++)
			CHECK(swap_count(folio_swap_entry(s.folio, i)) ==
			      is_slot(i, entry_of(s.mm, ADDR + i * PAGE_SIZE)));
	CHECK(folio_ref_count(s.folio) ==
	      1 + mapped + (folio_test_flag(s.folio, PG_swapcache) ? (unsigned int)u.nr : 0));
	CHECK(swap_validate() && mm_validate(s.mm));
}

/* ---- pins: S2.29 ---- */

static void pin(unsigned long first, unsigned long nr)
{
	unsigned int t = check_thread();

	u.nr_got[t] =
		pin_user_pages_fast(s.mm, ADDR + first * PAGE_SIZE, nr, FOLL_FAST_ONLY, u.got[t]);
}

static void pins_both(void)
{
	pin(0, 2);
}

static void pins_second(void)
{
	pin(1, 1);
}

static void pins_first(void)
{
	pin(0, 1);
}

/* What is pinned is mapped where it was, exclusive; or it was pinned after all was over. */
static void pins_hold(void)
{
	for (unsigned int t = 0; t < CHECK_MAX_THREADS; t++)
		for (long i = 0; i < u.nr_got[t]; i++) {
			unsigned long n = page_to_pfn(u.got[t][i]) - u.pfn;

			CHECK(n < u.nr);
			CHECK(pte_pfn(entry_of(s.mm, ADDR + n * PAGE_SIZE)) == u.pfn + n);
			CHECK(folio_test_anon_exclusive(s.folio, n));
			CHECK(!u.gone);
			unpin_user_page(u.got[t][i]);
		}
	settled_alone();
}

#define UNMAP .frames = 128
SCENARIO(unmap_pin) = {
	SCENARIO_NAME(unmap_pin),
	UNMAP,
	.stale = 1,
	.setup = setup_pair_clean,
	.finish = pins_hold,
	.about = "a pair is unmapped with one look at the pins, while one pins both and one the "
		 "second",
	.rows = "S2.2 S2.18 S2.29 S2.30",
	.threads = { unmaps, pins_both, pins_second },
	.roles = { "unmap", "pins 0 and 1", "pins 1" },
};
SCENARIO(unmap_pin_small) = {
	SCENARIO_NAME(unmap_pin_small),
	UNMAP,
	.setup = setup_small,
	.finish = pins_hold,
	.about = "the same of a small folio, whose pins are in its count",
	.rows = "S2.2 S2.29 SX.7",
	.threads = { unmaps, pins_first, pins_first },
	.roles = { "unmap", "pins", "pins" },
	.flags = SC_SYMMETRIC,
};

/* A leaf, one page of which is pinned: it goes as a whole, or not at all. */
static void setup_leaf(void)
{
	struct pt_pos pos;

	s.mm = mm_alloc();
	CHECK(s.mm);
	s.mm->folio_orders = 1u << level_order(MAX_LEAF_LEVEL) | 1;
	map(ADDR, TABLE);
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	warm();
	CHECK(!pgtable_walk(s.mm, ADDR, PGTABLE_LEVEL_PTE, &pos) && pte_leaf(pos.pte, pos.level));
	s.folio = page_folio(pfn_to_page(pte_pfn(pos.pte)));
	u.pfn = folio_pfn(s.folio);
	u.nr = folio_nr_pages(s.folio);
	folio_get(s.folio);
	CHECK(!swapon(&no_io_device, NULL, 32, 0, SWAP_FLAG_SYNC));
	folio_lock(s.folio);
	CHECK(!folio_alloc_swap(s.folio));
	u.slot = folio_swap_entry(s.folio, 0);
	folio_unlock(s.folio);
}

static void leaf_or_slots(void)
{
	unsigned int t = 1;
	struct pt_pos pos;

	if (pgtable_walk(s.mm, ADDR, PGTABLE_LEVEL_PTE, &pos)) {
		CHECK(u.gone && !u.nr_got[1] && !u.nr_got[2]);
		settled_alone();
		return;
	}
	CHECK(!u.gone && pte_leaf(pos.pte, pos.level) && pte_write(pos.pte));
	CHECK(folio_test_anon_exclusive(s.folio, 0) && folio_mapcount(s.folio) == 1);
	CHECK(swap_count(u.slot) == 0);
	for (; t < 3; t++)
		if (u.nr_got[t] > 0)
			unpin_user_pages(u.got[t], (unsigned long)u.nr_got[t]);
	CHECK(!folio_maybe_dma_pinned(s.folio));
}

SCENARIO(unmap_pin_leaf) = {
	SCENARIO_NAME(unmap_pin_leaf),
	UNMAP,
	.stale = 1,
	.setup = setup_leaf,
	.finish = leaf_or_slots,
	.about = "a leaf becomes a table of slots while pages of it are pinned",
	.rows = "S2.2 S2.3 S2.29",
	.threads = { unmaps, pins_both, pins_second },
	.roles = { "unmap", "pins 0 and 1", "pins 1" },
};

/* A driver: a reference, stores, a dirty mark, and gone. */
static void drives(void)
{
	struct page *page;

	if (get_user_pages_fast(s.mm, ADDR, 1, FOLL_WRITE | FOLL_FAST_ONLY, &page) != 1)
		return;
	*(u64 *)page_address(page) = 5;
	u.stored = 1;
	folio_set_flag(page_folio(page), PG_dirty);
	put_user_page(page);
}

/* ---- programs ---- */

/* Stores, and reads it again: whatever happened in between, it is what it stored. */
static void stores_first(void)
{
	u64 v = 0;

	CHECK(store(s.mm, ADDR, 7));
	while (check_mmu_load(s.mm, ADDR, &v) != CHECK_MMU_OK)
		CHECK(!mm_fault(s.mm, ADDR, 0));
	CHECK(v == 7);
}

static void stores_second(void)
{
	CHECK(store(s.mm, SECOND, 8));
}

static void both_stored(void)
{
	CHECK(word_at(s.mm, ADDR) == 7);
	CHECK(word_at(s.mm, SECOND) == 8);
	CHECK(mm_validate(s.mm) && swap_validate());
}

SCENARIO(unmap_fault) = {
	SCENARIO_NAME(unmap_fault),
	UNMAP,
	.stale = 1,
	.setup = setup_pair,
	.finish = both_stored,
	.about = "a pair is unmapped while programs store to its pages, and bring them back",
	.rows = "S2.15 S2.18 SX.8",
	.threads = { unmaps, stores_first, stores_second },
	.roles = { "unmap", "stores 0", "stores 1" },
};

/* ---- fork ---- */

static void forks(void)
{
	int err;

	s.child = mm_fork(s.mm, &err);
	CHECK(s.child);
}

static void stores_once(void)
{
	CHECK(store(s.mm, ADDR, 7));
}

/* The child has what was there, or what was stored before it was; the parent has what was stored. */
static void child_has_its_own(void)
{
	u64 v = word_at(s.child, ADDR);

	CHECK(word_at(s.mm, ADDR) == 7);
	CHECK(v == 77 || v == 7);
	if (v == 77 && pte_present(entry_of(s.mm, ADDR)) && pte_present(entry_of(s.child, ADDR)))
		CHECK(pte_pfn(entry_of(s.mm, ADDR)) != pte_pfn(entry_of(s.child, ADDR)));
	CHECK(mm_validate(s.mm) && mm_validate(s.child) && swap_validate());
}

SCENARIO(unmap_fork) = {
	SCENARIO_NAME(unmap_fork),
	UNMAP,
	.stale = 1,
	.setup = setup_small,
	.finish = child_has_its_own,
	.about = "a page is unmapped while fork copies its entry and a program stores to it",
	.rows = "S2.32",
	.threads = { unmaps, forks, stores_once },
	.roles = { "unmap", "fork", "stores" },
	.bound = 1,
};

static void both_have_it(void)
{
	CHECK(word_at(s.mm, ADDR) == 77 && word_at(s.child, ADDR) == 77);
	CHECK(!folio_test_anon_exclusive(s.folio, 0));
	CHECK((unsigned int)folio_mapcount(s.folio) == settled(s.mm) + settled(s.child));
	CHECK(swap_count(u.slot) == 2 - (unsigned int)folio_mapcount(s.folio));
	CHECK(mm_validate(s.mm) && mm_validate(s.child) && swap_validate());
}

SCENARIO(unmap_fork_twice) = {
	SCENARIO_NAME(unmap_fork_twice),
	UNMAP,
	.setup = setup_small,
	.finish = both_have_it,
	.about = "a page is unmapped while fork copies its entry: both have it, and neither alone",
	.rows = "S2.32",
	.threads = { unmaps, forks },
	.roles = { "unmap", "fork" },
};

/* ---- the memory calls ---- */

static void protects(void)
{
	CHECK(!vm_mprotect(s.mm, ADDR, 2 * PAGE_SIZE, PROT_READ));
	smp_store_release(&u.restricted, 1u);
}

/* Once it is read-only no store lands. */
static void stores_if_it_may(void)
{
	bool restricted = smp_load_acquire(&u.restricted);
	bool stored = store(s.mm, ADDR, 7);

	CHECK(!stored || !restricted);
}

static void read_only(void)
{
	pte_t e = entry_of(s.mm, ADDR);

	CHECK(!pte_present(e) || !pte_write(e));
	settled_alone();
}

SCENARIO(unmap_mprotect) = {
	SCENARIO_NAME(unmap_mprotect),
	UNMAP,
	.stale = 1,
	.setup = setup_small,
	.finish = read_only,
	.about = "a page is unmapped while it becomes read-only and a program stores to it",
	.rows = "S2.15",
	.threads = { unmaps, protects, stores_if_it_may },
	.roles = { "unmap", "mprotect", "stores" },
};

static void discards(void)
{
	CHECK(!vm_madvise(s.mm, ADDR, 2 * PAGE_SIZE, MADV_DONTNEED));
}

static void nothing_there(void)
{
	CHECK(pte_none(entry_of(s.mm, ADDR)) && pte_none(entry_of(s.mm, SECOND)));
	CHECK(!folio_mapped(s.folio));
	CHECK(get_mm_counter(s.mm, MM_SWAPENTS) == 0);
	folio_lock(s.folio);
	folio_free_swap(s.folio);
	folio_unlock(s.folio);
	CHECK(folio_ref_count(s.folio) == 1 && !folio_test_flag(s.folio, PG_swapcache));
	CHECK(mm_validate(s.mm) && swap_validate());
}

SCENARIO(unmap_zap) = {
	SCENARIO_NAME(unmap_zap),
	UNMAP,
	.setup = setup_pair,
	.finish = nothing_there,
	.about = "a pair is unmapped while it is discarded",
	.rows = "S2.36",
	.threads = { unmaps, discards },
	.roles = { "unmap", "discard" },
};

static void moves(void)
{
	CHECK(vm_mremap(s.mm, ADDR, 2 * PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
			AWAY) == (long)AWAY);
}

static void moved(void)
{
	CHECK(pte_none(entry_of(s.mm, ADDR)));
	CHECK(word_at(s.mm, AWAY) == 77);
	CHECK(mm_validate(s.mm) && swap_validate());
}

SCENARIO(unmap_mremap) = {
	SCENARIO_NAME(unmap_mremap),
	UNMAP,
	.stale = 1,
	.setup = setup_pair,
	.finish = moved,
	.about = "a pair is unmapped while it moves",
	.rows = "S2.36",
	.threads = { unmaps, moves },
	.roles = { "unmap", "mremap" },
};

static void locks(void)
{
	CHECK(!vm_mlock(s.mm, ADDR, PAGE_SIZE, 0));
}

static void locked_there(void)
{
	pte_t e = entry_of(s.mm, ADDR);

	CHECK(pte_present(e) && *(u64 *)pfn_to_virt(pte_pfn(e)) == 77);
	settled_alone();
}

SCENARIO(unmap_mlock) = {
	SCENARIO_NAME(unmap_mlock),
	UNMAP,
	.setup = setup_small,
	.finish = locked_there,
	.about = "a page is unmapped while it is locked in memory",
	.rows = "S2.14",
	.threads = { unmaps, locks },
	.roles = { "unmap", "mlock" },
};

/* ---- lazily freed ---- */

static void setup_lazy(unsigned int order)
{
	setup_space(order);
	CHECK(!vm_madvise(s.mm, ADDR, u.nr * PAGE_SIZE, MADV_FREE));
	CHECK(!folio_test_flag(s.folio, PG_swapbacked));
}

static void setup_lazy_small(void)
{
	setup_lazy(0);
}

static void setup_lazy_pair(void)
{
	setup_lazy(1);
}

static void stored_is_there(void)
{
	CHECK(word_of(s.mm, ADDR) == 7);
	CHECK(mm_validate(s.mm));
}

SCENARIO(unmap_lazy_store) = {
	SCENARIO_NAME(unmap_lazy_store),
	UNMAP,
	.stale = 1,
	.setup = setup_lazy_pair,
	.finish = stored_is_there,
	.about = "a lazily freed pair goes while a program stores to it",
	.rows = "S2.16",
	.threads = { unmaps, stores_first },
	.roles = { "unmap", "stores" },
};

/* What a driver stored is there: the page could not go, and is wanted. */
static void driven_is_there(void)
{
	CHECK(u.gone ? !u.stored && pte_none(entry_of(s.mm, ADDR))
		     : pte_pfn(entry_of(s.mm, ADDR)) == u.pfn);
	CHECK(u.gone || *memory_of(0) == (u.stored ? 5 : 77));
	CHECK(mm_validate(s.mm));
}

SCENARIO(unmap_lazy_gup) = {
	SCENARIO_NAME(unmap_lazy_gup),
	UNMAP,
	.setup = setup_lazy_small,
	.finish = driven_is_there,
	.about = "a lazily freed page goes while drivers get references and store",
	.rows = "S2.16",
	.threads = { unmaps, drives },
	.roles = { "unmap", "driver" },
};

/* ---- to other frames ---- */

static void migrates(void)
{
	int err = migrate_folio(s.folio, NUMA_NO_NODE, GFP_NOWAIT);

	CHECK(!err || err == -EAGAIN || err == -EBUSY || err == -ENOMEM);
	if (!err) {
		CHECK(!folio_mapped(s.folio) && !folio_test_flag(s.folio, PG_swapcache));
		/* nobody else's: the frames may be used for something else */
		if (folio_ref_count(s.folio) == 1 && folio_trylock(s.folio)) {
			*memory_of(0) = ~0ul;
			folio_unlock(s.folio);
		}
	}
}

/* What the cache has for the slot, once it is locked and there still, has the contents. */
static void looks_up(void)
{
	struct folio *folio = swap_cache_get_folio(u.slot);

	if (!folio)
		return;
	swap_lock_folio(folio);
	if (swap_cache_index(folio, u.slot) >= 0) {
		CHECK(folio_test_flag(folio, PG_uptodate));
		CHECK(*(u64 *)folio_address(folio) == 77);
	}
	folio_unlock(folio);
	folio_put(folio);
}

static void setup_unmapped(void)
{
	setup_small();
	folio_lock(s.folio);
	CHECK(try_to_unmap(s.folio, 0));
	folio_unlock(s.folio);
}

static void found_by_slot(void)
{
	struct folio *folio = swap_cache_get_folio(u.slot);

	CHECK(folio && *(u64 *)folio_address(folio) == 77);
	CHECK(!folio_test_locked(folio));
	CHECK(folio_ref_count(folio) == 2 + (folio == s.folio) + (u32)folio_mapcount(folio));
	folio_put(folio);
	CHECK(word_at(s.mm, ADDR) == 77);
	CHECK(mm_validate(s.mm) && swap_validate());
}

SCENARIO(unmap_migrate_lookup) = {
	SCENARIO_NAME(unmap_migrate_lookup),
	UNMAP,
	.stale = 1,
	.setup = setup_unmapped,
	.finish = found_by_slot,
	.about = "a folio of the swap cache is moved while it is looked up there",
	.threads = { migrates, looks_up, looks_up },
	.roles = { "migrate", "look-up", "look-up" },
	.flags = SC_SYMMETRIC,
};
SCENARIO(unmap_migrate_lookup_mapped) = {
	SCENARIO_NAME(unmap_migrate_lookup_mapped),
	UNMAP,
	.stale = 1,
	.setup = setup_small,
	.finish = found_by_slot,
	.about = "the same of one that is mapped",
	.threads = { migrates, looks_up },
	.roles = { "migrate", "look-up" },
};

static void stored_or_moved(void)
{
	CHECK(word_at(s.mm, ADDR) == 7);
	CHECK(mm_validate(s.mm) && swap_validate());
}

SCENARIO(unmap_migrate_fault) = {
	SCENARIO_NAME(unmap_migrate_fault),
	UNMAP,
	.stale = 1,
	.setup = setup_unmapped,
	.finish = stored_or_moved,
	.about = "a folio of the swap cache is moved while a program's store brings it back",
	.threads = { migrates, stores_first },
	.roles = { "migrate", "stores" },
};

static void moved_twice(void)
{
	CHECK(pte_none(entry_of(s.mm, ADDR)));
	CHECK(pte_present(entry_of(s.mm, AWAY)) && word_of(s.mm, AWAY) == 77);
	CHECK(mm_validate(s.mm));
}

static void setup_plain(void)
{
	setup_space(0);
}

SCENARIO(unmap_migrate_mremap) = {
	SCENARIO_NAME(unmap_migrate_mremap),
	UNMAP,
	.setup = setup_plain,
	.finish = moved_twice,
	.about = "a folio is moved while mremap moves its entry",
	.threads = { migrates, moves },
	.roles = { "migrate", "mremap" },
	.bound = 1,
};
