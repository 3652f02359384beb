// SPDX-License-Identifier: MIT
/*
 * device_place.c - from a place of device memory to its word, and back.
 *
 * The table of ranges is small and filled by mm/device/memremap.c. It is here because folio_page() needs it of every
 * folio of private memory; for all others the memory map is the answer, and this file is not asked.
 *
 * A range leaves the table only after the last reference on anything of it is gone, and its words are freed only a
 * grace period later. So an answer is good for as long as the caller has what made the question legal: a reference on
 * the folio, the lock of a page-table entry that has one, the driver's own right to idle memory, or an RCU section.
 */
#include <octavo/folio.h>
#include <octavo/rcu.h>

#include "device_place.h"

const struct device_range *device_range_find(unsigned long place)
{
	const struct device_state *st = &octavo_state.device;
	/* acquire, both: pair with the releases in range_publish(): the entry is there, and filled */
	u32 nr = smp_load_acquire(&st->nr_ranges);

	VM_BUG_ON(!rcu_read_lock_held());
	for (u32 i = 0; i < nr; i++) {
		unsigned long pages = smp_load_acquire(&st->range[i].nr);

		if (pages && place - st->range[i].first < pages)
			return &st->range[i];
	}
	return NULL;
}

const struct device_range *device_range_of_word(const struct page *page)
{
	const struct device_state *st = &octavo_state.device;
	/* acquire, both: as above */
	u32 nr = smp_load_acquire(&st->nr_ranges);

	VM_BUG_ON(!rcu_read_lock_held());
	for (u32 i = 0; i < nr; i++) {
		unsigned long pages = smp_load_acquire(&st->range[i].nr);

		if (pages &&
		    (unsigned long)page - (unsigned long)st->range[i].words < pages * sizeof(*page))
			return &st->range[i];
	}
	return NULL;
}

struct page *device_place_page(unsigned long place)
{
	const struct device_range *r;
	struct page *page = NULL;

	rcu_read_lock();
	r = device_range_find(place);
	if (r)
		page = r->words + (place - r->first);
	rcu_read_unlock();
	if (unlikely(!page))
		octavo_panic("device memory: no place 0x%lx", place);
	return page;
}

unsigned long device_page_place(const struct page *page)
{
	const struct device_range *r;
	unsigned long place = 0;

	rcu_read_lock();
	r = device_range_of_word(page);
	if (r)
		place = r->first + (unsigned long)(page - r->words);
	rcu_read_unlock();
	if (unlikely(!r))
		octavo_panic("device memory: %p is no page", (const void *)page);
	return place;
}
