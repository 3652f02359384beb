/* SPDX-License-Identifier: MIT */
/*
 * swap_device.h - a swap device of eight bytes a page, and folios in its slots: for the scenarios of mm/swap.
 *
 * The device moves a page's first word, plainly. So a slot that is given to somebody else under a transfer, a page that
 * is used again before its transfer is over, and a folio that is found under a slot that it does not
 * have any more, are data races or wrong contents.
 */
#ifndef CHECK_SWAP_DEVICE_H
#define CHECK_SWAP_DEVICE_H

#include <octavo/octavo.h>
#include <octavo/swap.h>

#include "check.h"

enum { SLOTS = 8, CLUSTER = 1 << SWAP_MAX_ORDER };

static SHARED struct {
	u64 store[5 * CLUSTER];
	struct swap_io *held[4];
	struct folio *folio, *other, *spare, *many[4 * CLUSTER - 1];
	swp_entry_t entry;
	u32 done[4];
} s;

static inline u64 *word_of(struct folio *folio)
{
	return folio_address(folio);
}

/* ---- the device ---- */

static inline void move(struct swap_io *io)
{
	for (u32 i = 0; i < io->nr; i++) {
		u64 *page = (u64 *)((char *)io->addr + i * PAGE_SIZE);

		CHECK(io->slot + i < SLOTS && io->slot);
		if (io->op == SWAP_WRITE)
			s.store[io->slot + i] = *page;
		else
			*page = s.store[io->slot + i];
	}
}

static inline void submit_now(struct swap_device *dev, struct swap_io *io)
{
	move(io);
	swap_io_done(io, 0);
}

static inline void discard(struct swap_device *dev, unsigned long slot, u32 nr)
{
	for (u32 i = 0; i < nr; i++)
		s.store[slot + i] = ~0ul;
}

static const struct swap_device_ops ops_now = { .submit = submit_now, .discard = discard };

/* ---- a device whose transfers somebody ends ---- */

/* The place of a held transfer: where its slot says. */
static inline void submit_held(struct swap_device *dev, struct swap_io *io)
{
	struct swap_io **place = &s.held[io->slot % ARRAY_SIZE(s.held)];

	CHECK(!READ_ONCE(*place));
	/* release: pairs with the acquire in end_one() */
	smp_store_release(place, io);
}

static inline bool end_one(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(s.held); i++) {
		/* acquire: pairs with the release in submit_held() */
		struct swap_io *io = smp_load_acquire(&s.held[i]);

		if (!io || cmpxchg_relaxed(&s.held[i], io, NULL) != io)
			continue;
		move(io);
		swap_io_done(io, 0);
		return true;
	}
	return false;
}

static const struct swap_device_ops ops_held = { .submit = submit_held };

/* ---- setting up ---- */

/* A locked folio whose first word is @value. */
static inline struct folio *folio_new(unsigned int order, u64 value)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);

	CHECK(folio);
	folio_lock(folio);
	*word_of(folio) = value;
	folio_set_flag(folio, PG_uptodate);
	return folio;
}

static inline void setup_device(const struct swap_device_ops *ops)
{
	CHECK(swapon(ops, NULL, SLOTS, 0, ops == &ops_now ? SWAP_FLAG_SYNC : 0) == 0);
}

/* s.folio in the cache, locked, its slot with @count. */
static inline void setup_cached(const struct swap_device_ops *ops, u64 value, unsigned int count)
{
	setup_device(ops);
	s.folio = folio_new(0, value);
	CHECK(folio_alloc_swap(s.folio) == 0);
	s.entry = folio_swap_entry(s.folio, 0);
	while (count--)
		CHECK(folio_dup_swap(folio_subrange(s.folio, 0, 1)) == 0);
}

/* The folio is gone from memory: frozen, out of the cache, put. */
static inline void folio_gone(struct folio *folio)
{
	CHECK(folio_ref_freeze(folio, 2));
	swap_cache_del(folio, 0);
	folio_ref_unfreeze(folio, 1);
	folio_unlock(folio);
	folio_put(folio);
}

/* Slot s.entry has 42, with @count, and is not cached. */
static inline void setup_out(unsigned int count)
{
	setup_cached(&ops_now, 42, count);
	CHECK(swap_writeout(s.folio) == 0);
	folio_lock(s.folio);
	folio_gone(s.folio);
	s.other = folio_new(0, 7);
}

/* ---- afterwards ---- */

/* Who had a folio locked when the last entry went has left it in the cache, or nobody has. */
static inline void sweep(void)
{
	unsigned long slot;

	while ((slot = swap_next_used(0, 0)) != ~0ul) {
		struct folio *folio = swap_cache_get_folio(swp_entry(0, slot));

		CHECK(folio && swap_count(swp_entry(0, slot)) == 0);
		folio_lock(folio);
		CHECK(folio_free_swap(folio));
		folio_unlock(folio);
		folio_put(folio);
	}
}

static inline void off(void)
{
	sweep();
	CHECK(swap_device_close_begin(0) == 0);
	CHECK(swap_device_close_end(0) == 0);
}

#define SWAP .frames = 64, .flags = SC_VALIDATE

#endif /* CHECK_SWAP_DEVICE_H */
