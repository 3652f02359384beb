/* SPDX-License-Identifier: MIT */
/*
 * chaos.c - what goes on in a machine beside its programs: folios are moved and split, devices taken out of use and put back, memory
 * aged.
 */
#include <time.h>

#include "soak.h"

static struct folio *some_folio(u64 *rnd)
{
	unsigned long pfn = soak_below(rnd, soak.opt.ram >> PAGE_SHIFT);
	struct folio *folio = pfn_valid(pfn) ? page_try_get_folio(pfn_to_page(pfn)) : NULL;

	if (folio && !folio_test_anon(folio)) {
		folio_put(folio);
		return NULL;
	}
	return folio;
}

static void move_some(u64 *rnd, struct soak_counts *c)
{
	for (unsigned int i = 0; i < 64; i++) {
		struct folio *folio = some_folio(rnd);

		if (!folio)
			continue;
		if (!migrate_folio(folio, NUMA_NO_NODE, GFP_NOWAIT | __GFP_MOVABLE))
			soak_count(c, migrated, 1);
		folio_put(folio);
	}
}

static void split_some(u64 *rnd, struct soak_counts *c)
{
	for (unsigned int i = 0; i < 32; i++) {
		struct folio *folio = some_folio(rnd);

		if (!folio)
			continue;
		if (folio_test_large(folio) && folio_trylock(folio)) {
			/* its order may have changed until it was locked */
			if (folio_test_large(folio) && !split_folio_mapped(folio, 0, NULL))
				soak_count(c, split, 1);
			folio_unlock(folio);
		}
		folio_put(folio);
	}
}

void chaos_run(void)
{
	const struct timespec pause = { 0, 2 * 1000 * 1000 };
	struct soak_counts *c = &soak.counts[NR_WORLDS];
	u64 rnd = soak.opt.seed * 77 + 1;

	for (u32 turn = 1; smp_load_acquire(&soak.running); turn++) {
		move_some(&rnd, c);
		if (turn % 4 == 0)
			split_some(&rnd, c);
		if (turn % 50 == 0) {
			reclaim_age();
			soak_count(c, aged, 1);
		}
		if (turn % 400 == 0) {
			soak_cycle_device((unsigned int)soak_below(&rnd, soak_nr_devices()));
			soak_count(c, swapoffs, 1);
		}
		for (unsigned int i = 0; i < soak_nr_devices(); i++)
			soak_device_on(i);
		nanosleep(&pause, NULL);
	}
}
