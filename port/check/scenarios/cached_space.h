/* SPDX-License-Identifier: MIT */
/*
 * cached_space.h - memory that goes to slots of swap and stays in the cache: nothing is written or read, so what brings a page back
 * from anywhere else is a bug.
 */
#ifndef CHECK_CACHED_SPACE_H
#define CHECK_CACHED_SPACE_H

#include <octavo/swap.h>

#include "user_space.h"

static inline void no_io(struct swap_device *dev, struct swap_io *io)
{
	swap_io_done(io, -EIO);
}

static const struct swap_device_ops no_io_device = { .submit = no_io };

/* The word of a page of the area: in its page, or in that of its slot's. */
static inline u64 word_at(struct mm_struct *mm, unsigned long addr)
{
	pte_t e = entry_of(mm, addr);
	struct folio *folio;
	u64 v;

	if (pte_present(e))
		return *(u64 *)pfn_to_virt(pte_pfn(e));
	CHECK(pte_is_swap_slot(e));
	folio = swap_cache_get_folio(pte_to_swp_entry(e));
	CHECK(folio);
	folio_lock(folio);
	v = *(u64 *)pfn_to_virt(folio_pfn(folio) +
				(unsigned long)swap_cache_index(folio, pte_to_swp_entry(e)));
	folio_unlock(folio);
	folio_put(folio);
	return v;
}

#endif /* CHECK_CACHED_SPACE_H */
