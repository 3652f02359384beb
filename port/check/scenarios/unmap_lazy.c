/* SPDX-License-Identifier: MIT */
/*
 * unmap_lazy.c - lazily freed memory that several address spaces map, unmapped against drivers' references, fork and discards: it goes from
 * all of them or from none. The shipped code.
 */
#include <octavo/gup.h>
#include <octavo/mman.h>
#include <octavo/reclaim.h>

#include "user_space.h"

static SHARED struct {
	unsigned long pfn;
	bool gone; /* try_to_unmap() said so */
	struct page *got[CHECK_MAX_THREADS][1];
	long nr_got[CHECK_MAX_THREADS];
} l;

static void setup_lazy(void)
{
	s.mm = mm_alloc();
	CHECK(s.mm);
	map(ADDR, 2 * PAGE_SIZE);
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	warm();
	l.pfn = pte_pfn(entry_of(s.mm, ADDR));
	s.folio = page_folio(pfn_to_page(l.pfn));
	/* the scenario's */
	folio_get(s.folio);
	for (unsigned int cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++)
		mm_activate(s.mm, cpu);
	CHECK(!vm_madvise(s.mm, ADDR, PAGE_SIZE, MADV_FREE));
	CHECK(!folio_test_flag(s.folio, PG_swapbacked));
}

static void unmaps(void)
{
	if (!folio_trylock(s.folio))
		return;
	l.gone = try_to_unmap(s.folio, 0);
	folio_unlock(s.folio);
}

/* A child maps it too. A driver has a reference, or gets one. */
static void setup_lazy_shared(void)
{
	int err;

	setup_lazy();
	s.child = mm_fork(s.mm, &err);
	CHECK(s.child);
	for (unsigned int cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++)
		mm_activate(s.child, cpu);
}

static void gets(struct mm_struct *mm)
{
	unsigned int t = check_thread();

	l.nr_got[t] = get_user_pages_fast(mm, ADDR, 1, FOLL_FAST_ONLY, l.got[t]);
}

static void gets_by_child(void)
{
	gets(s.child);
}

static bool maps_it(struct mm_struct *mm)
{
	pte_t e = entry_of(mm, ADDR);

	CHECK(pte_none(e) || (pte_present(e) && pte_pfn(e) == l.pfn));
	return !pte_none(e);
}

/* Both have it, or neither; and who has got hold of it has what both map. */
static void both_or_neither(void)
{
	bool there = maps_it(s.mm);

	CHECK(maps_it(s.child) == there && l.gone == !there);
	CHECK(folio_mapcount(s.folio) == (there ? 2 : 0));
	for (unsigned int t = 0; t < CHECK_MAX_THREADS; t++)
		for (long i = 0; i < l.nr_got[t]; i++) {
			CHECK(there && page_to_pfn(l.got[t][i]) == l.pfn);
			put_user_page(l.got[t][i]);
		}
	CHECK(mm_validate(s.mm) && mm_validate(s.child));
}

SCENARIO(unmap_lazy_shared) = {
	SCENARIO_NAME(unmap_lazy_shared),
	.frames = 128,
	.setup = setup_lazy_shared,
	.finish = both_or_neither,
	.about =
		"a lazily freed page that two map goes while drivers get references by one of them",
	.rows = "S2.16",
	.threads = { unmaps, gets_by_child, gets_by_child },
	.roles = { "unmap", "driver", "driver" },
	.flags = SC_SYMMETRIC,
};
