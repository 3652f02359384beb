/* SPDX-License-Identifier: MIT */
/*
 * reclaim_two.c - two who need memory look for it at the same time, in the same folios, all the way: found by the scan, sorted, given slots,
 * unmapped as neighbours, written, freed. A third has one of the folios meanwhile. The shipped code.
 */
#include <octavo/gup.h>
#include <octavo/mman.h>
#include <octavo/reclaim.h>
#include <octavo/state.h>

#include "../../../mm/reclaim/memcg.h"
#include "user_swap.h"

static SHARED struct {
	u64 freed[2];			/* what each was told */
	u64 gone_by[CHECK_MAX_THREADS]; /* folios that were freed by a thread */
	struct page *got;		/* pinned */
	bool counting;
} r;

static unsigned long addr_of(unsigned int i)
{
	return ADDR + i * PAGE_SIZE;
}

static void counts(struct folio *folio)
{
	if (READ_ONCE(r.counting))
		r.gone_by[check_thread()]++;
}

static const struct octavo_hooks hooks = { .folio_release = counts };

/* Nothing has been used for long. */
static void all_cold(void)
{
	CHECK(!vm_madvise(s.mm, ADDR, 2 * PAGE_SIZE, MADV_COLD));
}

/* Two pages that follow on one another, 77 and 78 in them, old and dirty; each CPU has taken both away and brought them back once. */
static void setup_two(void)
{
	setup();
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	CHECK(!reclaim_init());
	CHECK(!swapon(&ops, NULL, SLOTS, 0, SWAP_FLAG_SYNC));
	for (unsigned int cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++) {
		check_set_cpu(cpu);
		all_cold();
		CHECK(reclaim_some(NULL, NUMA_NO_NODE, 2) == 2);
		for (unsigned int i = 0; i < 2; i++)
			CHECK(!(mm_fault(s.mm, addr_of(i), FAULT_FLAG_WRITE) & VM_FAULT_ERROR));
		rcu_barrier();
	}
	check_set_cpu(0);
	for (unsigned int i = 0; i < 2; i++)
		*(u64 *)pfn_to_virt(pte_pfn(entry_of(s.mm, addr_of(i)))) = 77 + i;
	all_cold();
	octavo_state.reclaim.event[RECLAIM_FREED] = 0;
	octavo_state.hooks = &hooks;
	r.counting = true;
}

/* Who needs memory: what a scan finds, in a lap or the next one, is taken away; what is on its way already is waited for. */
static void reclaims(void)
{
	struct lruvec *lv = &octavo_state.reclaim.root;
	struct folio *folios[RECLAIM_BATCH], *busy = NULL;
	u32 nr = 0, laps = 0;

	while (!nr && laps < 2) {
		bool lap;

		spin_lock(&lv->lock);
		nr = scan_old_folios(lv, NUMA_NO_NODE, 2, folios, &lap, &busy);
		spin_unlock(&lv->lock);
		laps += lap;
	}
	r.freed[check_thread()] = reclaim_folios(folios, nr, 0);
	if (busy) {
		folio_wait_writeback(busy);
		folio_put(busy);
	}
}

/* What they say is what is gone. */
static void told_the_truth(void)
{
	u64 freed = octavo_state.reclaim.event[RECLAIM_FREED];

	CHECK(freed == r.freed[0] + r.freed[1] && freed <= r.gone_by[0] + r.gone_by[1]);
}

/* Both pages have what they had, or what was stored, wherever it is; and the second, which nobody wanted, made room. */
static void both_are_there(u64 first)
{
	told_the_truth();
	CHECK(pte_is_swap(entry_of(s.mm, addr_of(1))));
	r.counting = false;
	CHECK(found(s.mm, addr_of(0)) == first && found(s.mm, addr_of(1)) == 78);
	CHECK(!vm_munmap(s.mm, ADDR, 2 * PAGE_SIZE));
	no_slot();
}

#define TWO .frames = 128, .stale = -1

static void as_they_were(void)
{
	CHECK(pte_is_swap(entry_of(s.mm, addr_of(0))));
	both_are_there(77);
}

SCENARIO(reclaim_two) = {
	SCENARIO_NAME(reclaim_two),
	TWO,
	.setup = setup_two,
	.finish = as_they_were,
	.about = "two who need memory take the same two folios",
	.rows = "S2.26",
	.threads = { reclaims, reclaims },
	.roles = { "reclaim", "reclaim" },
	.flags = SC_SYMMETRIC,
};

/* ---- somebody pins one ---- */

/* The second has gone already. */
static void setup_one(void)
{
	struct folio *folio;

	setup_two();
	folio = folio_of(s.mm, addr_of(1));
	CHECK(reclaim_folios(&folio, 1, 0) == 1);
	octavo_state.reclaim.event[RECLAIM_FREED] = 0;
	r.gone_by[0] = 0;
	rcu_barrier();
}

static void pins_first(void)
{
	if (pin_user_pages_fast(s.mm, addr_of(0), 1, FOLL_FAST_ONLY, &r.got) != 1)
		r.got = NULL;
}

/* What is pinned is mapped where it was. */
static void pin_holds(void)
{
	if (r.got) {
		CHECK(pte_pfn(entry_of(s.mm, addr_of(0))) == page_to_pfn(r.got));
		unpin_user_page(r.got);
	}
	both_are_there(77);
}

SCENARIO(reclaim_two_pin) = {
	SCENARIO_NAME(reclaim_two_pin),
	TWO,
	.setup = setup_one,
	.finish = pin_holds,
	.about = "two who need memory take the same folio, which is being pinned",
	.rows = "S2.2 S2.26 S2.29",
	.threads = { reclaims, reclaims, pins_first },
	.roles = { "reclaim", "reclaim", "pins" },
	.flags = SC_SYMMETRIC,
};

/* ---- a program has one of them ---- */

static void stores_first(void)
{
	CHECK(writes(s.mm, addr_of(0), 7));
}

static void stored(void)
{
	both_are_there(7);
}

SCENARIO(reclaim_two_store) = {
	SCENARIO_NAME(reclaim_two_store),
	TWO,
	.setup = setup_two,
	.finish = stored,
	.about = "two who need memory take the same two folios, to one of which a program stores",
	.rows = "S2.15 S2.26",
	.threads = { reclaims, reclaims, stores_first },
	.roles = { "reclaim", "reclaim", "stores" },
	.flags = SC_SYMMETRIC,
	.bound = 1,
};

/* ---- one of them is unmapped ---- */

static void unmaps_first(void)
{
	CHECK(!vm_munmap(s.mm, addr_of(0), PAGE_SIZE));
}

/* The first is nowhere, the second is in its slot. */
static void second_is_there(void)
{
	told_the_truth();
	CHECK(pte_none(entry_of(s.mm, addr_of(0))) && pte_is_swap(entry_of(s.mm, addr_of(1))));
	r.counting = false;
	CHECK(found(s.mm, addr_of(1)) == 78);
	CHECK(!vm_munmap(s.mm, ADDR, 2 * PAGE_SIZE));
	no_slot();
}

SCENARIO(reclaim_two_munmap) = {
	SCENARIO_NAME(reclaim_two_munmap),
	TWO,
	.setup = setup_two,
	.finish = second_is_there,
	.about = "two who need memory take the same two folios, one of which is unmapped",
	.rows = "S2.26 S2.36",
	.threads = { reclaims, reclaims, unmaps_first },
	.roles = { "reclaim", "reclaim", "munmap" },
	.flags = SC_SYMMETRIC,
	.bound = 1,
};
