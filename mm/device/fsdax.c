// SPDX-License-Identifier: MIT
/*
 * fsdax.c - files in memory of a device: when is a page nobody's, and how many files have it.
 *
 * Idle is idle here too: no folio, words that say DEVICE. A mapping and any other user has a reference as for ordinary memory;
 * that a file, or several, have the page is none. So "everybody else is gone" is "it is idle", and who waits for that waits
 * for words to become DEVICE:
 *
 *	last put	words = DEVICE; frees += 2, was bit 0 set? then clear it and wake
 *	waiter		frees |= 1; read the words; sleep while frees is what that gave
 *
 * Both change frees by a read-modify-write, so one comes first: if the waiter's, the put sees the bit and wakes; if the
 * put's, the waiter sees the words.
 *
 * What this file does not do: keep new users out. The file system's.
 */
#include "device.h"

#define WAITED_FOR 1u

void fsdax_freed(struct dev_pagemap *pgmap)
{
	/* acq_rel: release pairs with the acquire in wait_idle(): the words are seen; acquire: nobody is woken for nothing */
	u32 old = fetch_add_acq_rel(&pgmap->frees, 2u);

	if (old & WAITED_FOR) {
		fetch_and_relaxed(&pgmap->frees, ~WAITED_FOR);
		octavo_port_unpark(&pgmap->frees, true);
	}
}

static bool range_idle(const struct page *first, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		/* acquire: pairs with the release in zone_device_reset(): its last user is through with it */
		if (page_memdesc(first + i).v != MEMDESC_DEVICE)
			return false;
	return true;
}

void zone_device_wait_idle(struct dev_pagemap *pgmap, unsigned long first, unsigned long nr)
{
	BUG_ON(pgmap->type != MEMORY_DEVICE_FS_DAX || first >= pgmap->nr || nr > pgmap->nr - first);
	for (;;) {
		/* acq_rel: pairs with fsdax_freed(), see above */
		u32 frees = fetch_or_acq_rel(&pgmap->frees, WAITED_FOR) | WAITED_FOR;

		if (range_idle(pgmap->words + first, nr))
			return;
		octavo_port_park(&pgmap->frees, frees);
	}
}

/* ---- shared by files ---- */

static unsigned long *share_of(struct folio *folio)
{
	VM_BUG_ON(!folio_is_zone_device(folio));
	return (unsigned long *)&folio->private;
}

/* relaxed, all: a count; what it decides is under the files' own locks */
void fsdax_share_get(struct folio *folio)
{
	fetch_add_relaxed(share_of(folio), 1ul);
}

void fsdax_share_put(struct folio *folio)
{
	if (unlikely(fetch_sub_relaxed(share_of(folio), 1ul) == 0))
		octavo_panic("folio %p, pfn 0x%lx: shared by fewer files than none", (void *)folio,
			     folio_place(folio));
}

unsigned long fsdax_share_count(const struct folio *folio)
{
	return READ_ONCE(*share_of((struct folio *)folio));
}
