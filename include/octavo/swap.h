/* SPDX-License-Identifier: MIT */
/*
 * swap.h - slots of swap devices, the cache of what has slots, and the devices.
 *
 * A slot is room for one page on a device. Page tables name it by a swp_entry_t of the device's number and the slot's. Each slot
 * has one word, in a table of its device:
 *
 *	 63      44 43 42 41 40 39                    0
 *	+----------+--+--+--+--+-----------------------+
 *	|  count   |  flags    |  pfn, or shadow       |
 *	+----------+--+--+--+--+-----------------------+
 *
 * count: entries of page tables that name the slot; one that is cached may have none. A cached slot names the
 * *page* that has its contents, not a folio: which folio that is, is known to the page's own word. So splitting and merging
 * folios of the cache changes nothing here, and a look-up is that of a PFN walker: slot word, page word, try_get,
 * page word again, slot word again. The cache has one reference for each page.
 *
 * Words of a cluster (a run of slots) are changed under its lock only, and read without. Slots of a folio are consecutive and aligned to its
 * size: folio->swap is the first one's number while PG_swapcache is set, and both change under the folio lock only.
 *
 * docs/swap.md has the design.
 */
#ifndef OCTAVO_SWAP_H
#define OCTAVO_SWAP_H

#include <octavo/folio.h>
#include <octavo/swapops.h>

/* ---- devices ---- */

struct swap_device;

/* The largest folio that has slots. */
#define SWAP_MAX_ORDER OCTAVO_SWAP_CLUSTER_ORDER

enum swap_op { SWAP_READ, SWAP_WRITE };

/**
 * struct swap_io - one transfer between a device and a run of pages
 * @dev: which device
 * @op: direction
 * @slot: first slot
 * @nr: slots, consecutive, 1 to 512
 * @addr: where the pages are: consecutive too, mapped
 * @done: set by the core; see swap_io_done()
 * @arg: the core's
 * @link: the device's while it has the transfer
 * @word: the same
 */
struct swap_io {
	struct swap_device *dev;
	enum swap_op op;
	unsigned long slot;
	u32 nr;
	void *addr;
	void (*done)(struct swap_io *io, int err);
	void *arg;
	void *link;
	u64 word;
};

/* Ends a transfer: 0, or -EIO, -ENOSPC, ... for all of it. Any context; does not sleep. @io is not the device's any more. */
static inline void swap_io_done(struct swap_io *io, int err)
{
	io->done(io, err);
}

/**
 * struct swap_device_ops - what a device can do; any context that may sleep
 * @submit: begin a transfer; swap_io_done() is called once for it, now or later, by anybody. A read of a slot that was never
 *	written, or a short one, is -EIO
 * @poll: the caller has nothing to do but wait for transfers of this device: complete those that can be, or wait for one;
 *	return at once if none is under way. NULL: they complete by themselves
 * @discard: the contents of slots are not wanted any more; may be NULL. Does not sleep or fail, called with spinlocks held
 * @close: swapoff has emptied the device, nothing is under way; may be NULL
 */
struct swap_device_ops {
	void (*submit)(struct swap_device *dev, struct swap_io *io);
	void (*poll)(struct swap_device *dev);
	void (*discard)(struct swap_device *dev, unsigned long slot, u32 nr);
	void (*close)(struct swap_device *dev);
};

#define SWAP_FLAG_SYNC \
	1u /* transfers are over when submit returns, and cost no more than a copy: no readahead */

/**
 * swapon() - begin to use a device
 * @ops: const, until swapoff() is over
 * @priv: swap_device_priv() of it
 * @nr_slots: from 0; slot 0 is not used (it is a device's header, and makes an entry that is 0)
 * @prio: devices of a higher one are filled first; of equal ones in turns
 * @flags: SWAP_FLAG_...
 *
 * Context: sleeps. Return: the device's number, 0 to MAX_SWAPFILES - 1; -EINVAL @nr_slots below 2 or more than an entry can name;
 * -ENOMEM no memory for its tables; -EPERM there are MAX_SWAPFILES devices already.
 */
int swapon(const struct swap_device_ops *ops, void *priv, unsigned long nr_slots, int prio,
	   u32 flags);
u32 swap_device_flags(const struct swap_device *dev);
/* Is the device of a slot one with SWAP_FLAG_SYNC? */
bool swap_entry_sync(swp_entry_t entry);
void *swap_device_priv(const struct swap_device *dev);
unsigned int swap_device_type(const struct swap_device *dev);

/**
 * struct swap_stat - what a device has
 * @slots: that can be used
 * @used: of these, with a count or cached
 * @cached: of these, cached
 * @bad: given up after a write error
 * @write_errors: transfers that failed, not pages
 * @read_errors: the same
 * @ahead: pages that were read ahead around faults
 * @ahead_hits: of these, those that somebody asked for while they were cached
 */
struct swap_stat {
	u64 slots, used, cached, bad;
	u64 write_errors, read_errors;
	u64 ahead, ahead_hits;
};
/* Sums over all clusters. Context: any. Return: false: no such device. All of them: @type -1. */
bool swap_stat(int type, struct swap_stat *st);
/* Is there any free slot? A hint, and much cheaper than swap_stat(). */
bool swap_has_room(void);

/* No new slots of this device from now on, or again. The two ends of swapoff(), which is in mm.h's layer: mm/space/swapoff.c. */
int swap_device_close_begin(int type);
void swap_device_close_abort(int type);
/* Nothing is used any more: ops->close, and its tables go. -EBUSY: something is. */
int swap_device_close_end(int type);
/* The first used slot at or after @slot; ~0ul: none. */
unsigned long swap_next_used(int type, unsigned long slot);

/* A page of a slot was read ahead, or that was of use: for swap_stat(). Context: any. */
void swap_note_ahead(swp_entry_t entry, bool hit);

/* ---- slots and counts ---- */

/* folio->swap is the first slot's number, and from this bit on the device's: so it can be counted on. */
#define FOLIO_SWAP_TYPE_SHIFT 58

/* The entry of a page of a folio in the cache. Context: folio lock; without it a hint. */
static inline swp_entry_t folio_swap_entry(const struct folio *folio, unsigned long idx)
{
	u64 at = READ_ONCE(folio->swap) + idx;

	return swp_entry((enum swp_type)(at >> FOLIO_SWAP_TYPE_SHIFT),
			 at & ((1ul << FOLIO_SWAP_TYPE_SHIFT) - 1));
}

/* References that the cache has of a folio. Context: folio lock. */
static inline u32 folio_cache_refs(const struct folio *folio)
{
	return folio_test_flag(folio, PG_swapcache) ? (u32)folio_nr_pages(folio) : 0;
}

/**
 * folio_alloc_swap() - slots for a folio, and into the cache with it
 * @folio: anonymous or FILE, locked, uptodate, not in the cache
 *
 * Counts start at 0. Sets folio->swap and PG_swapcache; takes a reference for each page; the folio is dirty (it has to be written).
 *
 * Context: sleeps. Return: 0; -EAGAIN no run of its order is free: split it, or take another; -EINVAL too large for any cluster; -ENOMEM no slot at
 * all, or a group's limit. Nothing has changed then.
 */
int folio_alloc_swap(struct folio *folio) __must_check;

/**
 * folio_free_swap() - out of the cache, and its slots free, if no page table names them
 * @folio: locked
 *
 * The folio is dirty then: its contents are nowhere else. Return: false: not in the cache, under writeback, or slots are used still.
 */
bool folio_free_swap(struct folio *folio);

/* What nothing maps any more leaves the cache, if no page table names its slots, and its lock is to be had. */
void folio_leave_swap(struct folio *folio);

/**
 * folio_put_unmapped() - drop references of entries that are gone
 *
 * As folio_put_refs(), but the cache does not keep what was kept for these entries. Context: any.
 */
static inline void folio_put_unmapped(struct folio *folio, u32 nr)
{
	if (unlikely(folio_test_flag(folio, PG_swapcache)))
		folio_leave_swap(folio);
	folio_put_refs(folio, nr);
}

/**
 * folio_dup_swap() - the slots of pages of a folio are about to be named by @sr.nr more entries, one each
 * @sr: of a folio in the cache, locked
 *
 * The only way to raise a count from 0. All or nothing. Context: ptl. Return: 0; -ENOMEM a count is at its highest.
 */
int folio_dup_swap(struct folio_subrange sr) __must_check;
/* The inverse; never fails; slots stay while cached. */
void folio_put_swap(struct folio_subrange sr);

/* Entries are copied (fork): @nr consecutive slots, counts above 0. All or nothing; may cross clusters. Return: 0, -ENOMEM. Context: ptl. */
int swap_dup_entries(swp_entry_t entry, u32 nr) __must_check;
/*
 * Entries are gone. Slots without a count that are not cached are free; cached ones are taken out of the cache if the folio's lock
 * is to be had and nothing maps it; else whoever reclaims the folio does. Context: ptl may be held. Fatal if a slot has no count.
 */
void swap_free_entries(swp_entry_t entry, u32 nr);
/* Could it be an entry of a slot in use? For what comes from outside. */
bool swap_entry_valid(swp_entry_t entry);
/* Count of one slot, now. */
unsigned int swap_count(swp_entry_t entry);
/* Does its device have few free slots, or is it about to go? Then slots that are not needed are given back. A hint. */
bool swap_slots_short(swp_entry_t entry);
/* Of entries from @entry on, at most @nr: how many consecutive slots are used, not cached, and on one device and cluster. For swap-in of a run. */
u32 swap_uncached_run(swp_entry_t entry, u32 nr);

/* ---- the cache ---- */

/*
 * The folio that has a slot's contents, with a reference; locked by nobody in particular: see whether it still is
 * after locking. NULL: not cached, or in transition: swap_cache_add() says -EEXIST then, and the caller tries again.
 */
struct folio *swap_cache_get_folio(swp_entry_t entry);
/* Is @folio (locked) what the cache has for @entry? Return: index of the page, or -1. */
long swap_cache_index(const struct folio *folio, swp_entry_t entry);

/**
 * swap_cache_add() - a folio that is going to be read
 * @folio: new, locked, order 0 or more, nothing of it known to anybody
 * @entry: of its first page; aligned for its order
 * @shadows: NULL, or where to put swap_shadow() of each page
 *
 * Sets PG_swapbacked, PG_swapcache, folio->swap; takes a reference for each page. Return: 0; -EEXIST one of the slots is cached; -ENOENT one has no count (it was freed
 * meanwhile), or is of another set than the folio. All or nothing.
 */
int swap_cache_add(struct folio *folio, swp_entry_t entry, u64 shadows[]) __must_check;

/**
 * swap_cache_del() - out of the cache; slots with a count stay
 * @folio: locked, not under writeback; count frozen, or the caller has a reference beside the cache's
 * @shadow: 22 bits; swap_shadow() of the slots returns them from then on
 *
 * Drops the cache's references (of a frozen folio: does not).
 */
void swap_cache_del(struct folio *folio, u32 shadow);

/*
 * What a slot that is not cached remembers of its folio: the shadow, and below it the number of its set (0: none), to which the
 * slot is charged still, and which the folio that is read back has to be of. 0: nothing.
 */
#define SWAP_SHADOW_SET_BITS 18
u64 swap_shadow(swp_entry_t entry);
static inline u32 swap_shadow_set(u64 shadow)
{
	return (u32)(shadow & ((1u << SWAP_SHADOW_SET_BITS) - 1));
}
/*
 * @new is in the place of @old: same order, both locked, @old frozen; the cache's references of @new are taken, those of
 * @old are the caller's to forget when it is unfrozen. For migration.
 */
void swap_cache_replace(struct folio *old, struct folio *new);

/* ---- transfers ---- */

/**
 * swap_writeout() - write a folio of the cache to its slots
 * @folio: locked, not under writeback; unlocked when this returns
 *
 * PG_writeback until the transfer is over. If that fails the folio is dirty again and PG_error-free: it stays in memory and its slots are good for
 * its entries; the device counts the error.
 *
 * Context: sleeps. Return: 0 begun or done; -errno it failed at once: still dirty, unlocked.
 */
int swap_writeout(struct folio *folio);
/**
 * folio_under_writeback() - are a folio's pages on their way to their slots?
 * @folio: the caller has a reference
 *
 * Who is told no may store to them, or have them used for something else: the device has done with them.
 *
 * Context: any. Return: true: they are, or were just now.
 */
static inline bool folio_under_writeback(const struct folio *folio)
{
	/*
	 * acquire: pairs with the release in let_go(): the device has done with the pages and their slots; and with that in
	 * swap_writeout(): which slots they are
	 */
	return smp_load_acquire(&folio->flags) & (1u << PG_writeback);
}

/* Wait for writeback of a folio to end. Context: sleeps, the caller has a reference. */
void folio_wait_writeback(struct folio *folio);

/**
 * swap_read_folio() - fill a folio of the cache from its slots
 * @folio: from swap_cache_add(), locked
 *
 * Unlocked and uptodate when the transfer is over; if it failed unlocked and not uptodate: whoever needs it is told by that.
 */
void swap_read_folio(struct folio *folio);
/* The same without waiting for a transfer of others to end. Return: false: it was not begun, and the folio is locked still. */
bool __must_check swap_try_read_folio(struct folio *folio);
/* Wait until a folio that is being read is unlocked, lock it. */
void swap_lock_folio(struct folio *folio);
/* The same without keeping the lock. Context: sleeps; the caller has a reference. */
void swap_wait_locked(struct folio *folio);

/* Words against maps, sums and folios, of every device, quiet. */
bool swap_validate(void);
/* Log devices, and the clusters in use of one; @type -1: of all. */
void swap_dump(int type);

#endif /* OCTAVO_SWAP_H */
