/* SPDX-License-Identifier: MIT */
/*
 * unmap_folios.c - two folios of one table go at once, under one hold of its lock, against everybody who has one of them: what happens to one
 * is nothing to the other. The shipped code.
 */
#include <octavo/gup.h>
#include <octavo/mman.h>
#include <octavo/reclaim.h>

#include "cached_space.h"

static SHARED struct {
	struct folio *folio[2]; /* a reference of each is the scenario's */
	swp_entry_t slot[2];
	struct page *got[CHECK_MAX_THREADS]; /* pinned and kept */
	u64 written;	/* what was read of the second when nothing mapped it; 0: something did */
	bool stored[2]; /* by drivers */
} f;

static unsigned long addr_of(unsigned int i)
{
	return ADDR + i * PAGE_SIZE;
}

/* 77 and 78 in them, and both in the cache. */
static void setup_two(void)
{
	setup();
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	CHECK(!swapon(&no_io_device, NULL, 16, 0, SWAP_FLAG_SYNC));
	for (unsigned int i = 0; i < 2; i++) {
		f.folio[i] = page_folio(pfn_to_page(pte_pfn(entry_of(s.mm, addr_of(i)))));
		*(u64 *)folio_address(f.folio[i]) = 77 + i;
		folio_get(f.folio[i]);
		folio_lock(f.folio[i]);
		CHECK(!folio_alloc_swap(f.folio[i]));
		f.slot[i] = folio_swap_entry(f.folio[i], 0);
		folio_unlock(f.folio[i]);
	}
}

static void unmaps(void)
{
	struct folio *locked[2];
	u32 nr = 0;

	for (unsigned int i = 0; i < 2; i++)
		if (folio_trylock(f.folio[i]))
			locked[nr++] = f.folio[i];
	try_to_unmap_folios(locked, nr, 0);
	while (nr)
		folio_unlock(locked[--nr]);
}

/* Counts of each say what entries do, of @mms address spaces. */
static void settled(struct mm_struct *child)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct folio *folio = f.folio[i];
		bool cached = folio_test_flag(folio, PG_swapcache);
		unsigned int mapped = 0, slots = 0;

		for (struct mm_struct *mm = s.mm; mm; mm = mm == s.mm ? child : NULL)
			for (unsigned long addr = ADDR; addr <= AWAY + PAGE_SIZE;
			     addr += PAGE_SIZE) {
				pte_t e = entry_of(mm, addr);

				CHECK(!pte_present(e) || !pte_protnone(e));
				mapped += pte_present(e) && pte_pfn(e) == folio_pfn(folio);
				slots +=
					pte_is_swap_slot(e) && pte_to_swp_entry(e).v == f.slot[i].v;
			}
		CHECK((unsigned int)folio_mapcount(folio) == mapped);
		CHECK(!cached || swap_count(f.slot[i]) == slots);
		CHECK(folio_ref_count(folio) == 1 + mapped + cached);
	}
	CHECK(swap_validate() && mm_validate(s.mm));
}

#define UNMAP .frames = 128

/* ---- pins ---- */

static void pins(unsigned int i)
{
	unsigned int t = check_thread();

	if (pin_user_pages_fast(s.mm, addr_of(i), 1, FOLL_FAST_ONLY, &f.got[t]) != 1)
		f.got[t] = NULL;
}

static void pins_first(void)
{
	pins(0);
}

static void pins_second(void)
{
	pins(1);
}

/* What is pinned is mapped where it was, exclusive. */
static void pins_hold(void)
{
	for (unsigned int t = 1; t < 3; t++) {
		struct page *page = f.got[t];
		unsigned int i = t - 1;

		if (!page)
			continue;
		CHECK(page_to_pfn(page) == folio_pfn(f.folio[i]));
		CHECK(pte_pfn(entry_of(s.mm, addr_of(i))) == page_to_pfn(page));
		CHECK(folio_test_anon_exclusive(f.folio[i], 0));
		unpin_user_page(page);
	}
	settled(NULL);
}

SCENARIO(unmap_folios_pin) = {
	SCENARIO_NAME(unmap_folios_pin),
	UNMAP,
	.setup = setup_two,
	.finish = pins_hold,
	.about = "two folios are unmapped at once while each is pinned by somebody",
	.rows = "S2.2 S2.28 S2.29",
	.threads = { unmaps, pins_first, pins_second },
	.roles = { "unmap", "pins 0", "pins 1" },
};

/* ---- programs ---- */

static void stores_both(void)
{
	CHECK(store(s.mm, addr_of(1), 8));
	CHECK(store(s.mm, addr_of(0), 7));
}

static void both_stored(void)
{
	CHECK(word_at(s.mm, addr_of(0)) == 7 && word_at(s.mm, addr_of(1)) == 8);
	settled(NULL);
}

SCENARIO(unmap_folios_fault) = {
	SCENARIO_NAME(unmap_folios_fault),
	UNMAP,
	.stale = 1,
	.setup = setup_two,
	.finish = both_stored,
	.about = "two folios are unmapped at once while a program stores to them, and brings them "
		 "back",
	.rows = "S2.15 S2.18",
	.threads = { unmaps, stores_both },
	.roles = { "unmap", "stores" },
};

/* What a write to the second's slot would have read. */
static void unmaps_and_reads(void)
{
	unmaps();
	if (folio_trylock(f.folio[1])) {
		if (!folio_mapped(f.folio[1]))
			f.written = *(u64 *)folio_address(f.folio[1]);
		folio_unlock(f.folio[1]);
	}
}

static void stores_second_twice(void)
{
	CHECK(store(s.mm, addr_of(1), 8));
	CHECK(store(s.mm, addr_of(1), 9));
}

/* Whoever has stored behind that has brought it back. */
static void nothing_is_lost(void)
{
	bool gone = !pte_present(entry_of(s.mm, addr_of(1)));

	CHECK(word_at(s.mm, addr_of(0)) == 77 && word_at(s.mm, addr_of(1)) == 9);
	CHECK(!gone || !f.written || f.written == 9);
	settled(NULL);
}

SCENARIO(unmap_folios_store) = {
	SCENARIO_NAME(unmap_folios_store),
	UNMAP,
	.stale = 1,
	.setup = setup_two,
	.finish = nothing_is_lost,
	.about = "two folios are unmapped at once, and the second read, while a program has a "
		 "translation of it",
	.rows = "S2.15",
	.threads = { unmaps_and_reads, stores_second_twice },
	.roles = { "unmap", "stores 1" },
};

/* ---- lazily freed ---- */

static void setup_two_lazy(void)
{
	setup();
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	for (unsigned int i = 0; i < 2; i++) {
		f.folio[i] = page_folio(pfn_to_page(pte_pfn(entry_of(s.mm, addr_of(i)))));
		*(u64 *)folio_address(f.folio[i]) = 77 + i;
		folio_get(f.folio[i]);
	}
	CHECK(!vm_madvise(s.mm, ADDR, 2 * PAGE_SIZE, MADV_FREE));
}

/* A driver: a reference, a store, a dirty mark, and gone. */
static void drives(unsigned int i)
{
	struct page *page;

	if (get_user_pages_fast(s.mm, addr_of(i), 1, FOLL_WRITE | FOLL_FAST_ONLY, &page) != 1)
		return;
	*(u64 *)page_address(page) = 5;
	f.stored[i] = true;
	folio_set_flag(page_folio(page), PG_dirty);
	put_user_page(page);
}

static void drives_first(void)
{
	drives(0);
}

static void drives_second(void)
{
	drives(1);
}

/* What was stored to is there: each by itself. */
static void driven_are_there(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		pte_t e = entry_of(s.mm, addr_of(i));

		CHECK(folio_mapcount(f.folio[i]) == !pte_none(e));
		CHECK(folio_ref_count(f.folio[i]) == 1 + (u32)!pte_none(e));
		if (pte_none(e)) {
			CHECK(!f.stored[i]);
			continue;
		}
		CHECK(pte_pfn(e) == folio_pfn(f.folio[i]) && !pte_protnone(e));
		CHECK(word_at(s.mm, addr_of(i)) == (f.stored[i] ? 5 : 77 + i));
	}
	CHECK(mm_validate(s.mm));
}

SCENARIO(unmap_folios_lazy) = {
	SCENARIO_NAME(unmap_folios_lazy),
	UNMAP,
	.setup = setup_two_lazy,
	.finish = driven_are_there,
	.about = "two lazily freed folios go at once while drivers get references of each and "
		 "store",
	.rows = "S2.16",
	.threads = { unmaps, drives_first, drives_second },
	.roles = { "unmap", "driver 0", "driver 1" },
};

/* ---- the memory calls ---- */

static void moves_second(void)
{
	CHECK(vm_mremap(s.mm, addr_of(1), PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
			AWAY) == (long)AWAY);
}

static void second_is_away(void)
{
	CHECK(word_at(s.mm, addr_of(0)) == 77 && pte_none(entry_of(s.mm, addr_of(1))));
	CHECK(word_at(s.mm, AWAY) == 78);
	settled(NULL);
}

/* The area of both is divided while it is walked; its anon_vma stays theirs. */
SCENARIO(unmap_folios_move) = {
	SCENARIO_NAME(unmap_folios_move),
	UNMAP,
	.setup = setup_two,
	.finish = second_is_away,
	.about = "two folios are unmapped at once while the second moves away",
	.rows = "S2.13 S2.36",
	.threads = { unmaps, moves_second },
	.roles = { "unmap", "mremap 1" },
	.bound = 1,
};

static void forks(void)
{
	int err;

	s.child = mm_fork(s.mm, &err);
	CHECK(s.child);
}

static void both_have_both(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		CHECK(word_at(s.mm, addr_of(i)) == 77 + i);
		CHECK(word_at(s.child, addr_of(i)) == 77 + i);
		CHECK(!folio_test_anon_exclusive(f.folio[i], 0));
	}
	CHECK(mm_validate(s.child));
	settled(s.child);
}

SCENARIO(unmap_folios_fork) = {
	SCENARIO_NAME(unmap_folios_fork),
	UNMAP,
	.setup = setup_two,
	.finish = both_have_both,
	.about = "two folios are unmapped at once while fork copies their entries",
	.rows = "S2.32",
	.threads = { unmaps, forks },
	.roles = { "unmap", "fork" },
	.bound = 1,
};
