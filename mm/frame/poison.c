/* SPDX-License-Identifier: MIT */
/*
 * poison.c - the sparse set of poisoned frames.
 *
 * The free path asks it about every frame it frees once anything is poisoned at all, in any context, so
 * look-ups take no lock, write nothing and do a bounded number of loads. Insertion and removal are
 * rare, may wait, and are serialised by a lock.
 *
 * The table is open addressing with linear probing from a home slot that depends on the frame's 2 MiB
 * group only. So the bad frames of one group stand in one probe sequence, and a run of up to 512 frames is
 * looked up by walking at most two of them; a longer run asks group by group, or reads the whole table if
 * that is shorter. At most three quarters of the slots are ever in use.
 *
 * Invariants
 * 1. An entry stays in its slot as long as it is in the set: readers never miss one that was moved.
 * 2. All slots from an entry's home slot to the entry itself are not EMPTY. A removed entry becomes a
 *    TOMB, which a reader steps over; a TOMB becomes EMPTY only when the slot after it is EMPTY, so
 *    that no entry is behind it.
 * 3. nr counts the entries and is raised before, and lowered after, the slot says so: a reader that sees 0
 *    misses nothing that it was bound to see.
 *
 * What a reader is bound to see: everything whose insertion is ordered before its look-up. The two sides
 * of the free path make that a store-buffering pair: memory_failure() inserts, runs a full barrier, reads
 * the word; the freer stores FREE words, runs a full barrier, looks here. At least one of them sees the
 * other. Hence loads here may be relaxed: the barriers order them.
 *
 * What it does not do: act on a poisoned frame (memory_failure() and the free path do), or grow. When the
 * table is full the next failure is not recorded, which the caller is told.
 */
#include <octavo/atomic.h>
#include <octavo/errno.h>
#include <octavo/hwpoison.h>
#include <octavo/state.h>

#include "memmap.h"

#define SLOTS	    ((u64)OCTAVO_POISON_SLOTS)
#define USABLE	    (SLOTS - SLOTS / 4)
#define GROUP_ORDER 9

#define EMPTY 0ull
#define TOMB  (~0ull)

/* Entries are pfn + 1: metadata reads as zero at boot, so an untouched table is empty. */
static u64 entry(unsigned long pfn)
{
	return (u64)pfn + 1;
}

static u64 home(unsigned long group)
{
	/* the upper half of a product with 2^64 / golden ratio spreads neighbouring groups */
	return ((group * 0x9e3779b97f4a7c15ull) >> 32) & (SLOTS - 1);
}

static u64 next(u64 i)
{
	return (i + 1) & (SLOTS - 1);
}

u64 poison_size(void)
{
	return SLOTS * sizeof(u64);
}

void poison_init(void *table)
{
	octavo_state.hwpoison.slot = table;
	spin_lock_init(&octavo_state.hwpoison.lock);
}

/* The lowest entry of [@pfn, @end) that is in the probe sequence of the group of @pfn. */
static unsigned long probe(unsigned long pfn, unsigned long end)
{
	const u64 *slot = octavo_state.hwpoison.slot;
	unsigned long found = ~0ul;
	u64 i = home(pfn >> GROUP_ORDER);

	for (u64 n = 0; n < SLOTS; n++, i = next(i)) {
		u64 e = READ_ONCE(slot[i]);

		if (e == EMPTY)
			break;
		if (e != TOMB && e - 1 >= pfn && e - 1 < end)
			found = min(found, (unsigned long)(e - 1));
	}
	return found;
}

static unsigned long scan(unsigned long pfn, unsigned long end)
{
	const u64 *slot = octavo_state.hwpoison.slot;
	unsigned long found = ~0ul;

	for (u64 i = 0; i < SLOTS; i++) {
		u64 e = READ_ONCE(slot[i]);

		if (e != EMPTY && e != TOMB && e - 1 >= pfn && e - 1 < end)
			found = min(found, (unsigned long)(e - 1));
	}
	return found;
}

unsigned long pfn_poisoned_in(unsigned long pfn, unsigned long nr)
{
	const unsigned long group = 1ul << GROUP_ORDER;
	unsigned long end = pfn + nr < pfn ? ~0ul : pfn + nr;

	if (likely(!READ_ONCE(octavo_state.hwpoison.nr)) || !nr)
		return ~0ul;
	/* a group's probe is a few cache lines, the whole table SLOTS / 8 of them */
	if (nr >> GROUP_ORDER > SLOTS / 16)
		return scan(pfn, end);
	while (pfn < end) {
		unsigned long stop = min(end, ALIGN_DOWN(pfn, group) + group);
		unsigned long found = probe(pfn, stop);

		if (found != ~0ul)
			return found;
		pfn = stop;
	}
	return ~0ul;
}

bool pfn_poisoned(unsigned long pfn)
{
	return pfn_poisoned_in(pfn, 1) != ~0ul;
}

u64 nr_poisoned(void)
{
	return READ_ONCE(octavo_state.hwpoison.nr);
}

/*
 * Where @pfn is, or else where it can go: the first TOMB or EMPTY slot of its sequence. Under the lock.
 */
static u64 *find(unsigned long pfn, bool *there)
{
	u64 *slot = octavo_state.hwpoison.slot, *room = NULL;
	u64 i = home(pfn >> GROUP_ORDER);

	*there = false;
	for (u64 n = 0; n < SLOTS; n++, i = next(i)) {
		if (slot[i] == entry(pfn)) {
			*there = true;
			return &slot[i];
		}
		if (!room && (slot[i] == TOMB || slot[i] == EMPTY))
			room = &slot[i];
		if (slot[i] == EMPTY)
			break;
	}
	return room;
}

int poison_insert(unsigned long pfn)
{
	struct hwpoison_state *h = &octavo_state.hwpoison;
	int err = 0;
	bool there;
	u64 *room;

	spin_lock(&h->lock);
	room = find(pfn, &there);
	if (there) {
		err = -EEXIST;
	} else if (h->nr >= USABLE) {
		err = -ENOMEM;
	} else {
		WRITE_ONCE(h->nr, h->nr + 1);
		WRITE_ONCE(*room, entry(pfn));
	}
	spin_unlock(&h->lock);
	return err;
}

int poison_remove(unsigned long pfn)
{
	struct hwpoison_state *h = &octavo_state.hwpoison;
	bool there;
	u64 *at, i;

	spin_lock(&h->lock);
	at = find(pfn, &there);
	if (!there) {
		spin_unlock(&h->lock);
		return -ENOENT;
	}
	WRITE_ONCE(*at, TOMB);
	/* invariant 2: give back the TOMBs at the end of a sequence, or misses would get slower for ever */
	i = (u64)(at - h->slot);
	while (h->slot[next(i)] == EMPTY && h->slot[i] == TOMB) {
		WRITE_ONCE(h->slot[i], EMPTY);
		i = (i - 1) & (SLOTS - 1);
	}
	WRITE_ONCE(h->nr, h->nr - 1);
	/* a table that had no EMPTY slot left gets them back here at the latest */
	for (i = 0; !h->nr && i < SLOTS; i++)
		if (h->slot[i])
			WRITE_ONCE(h->slot[i], EMPTY);
	spin_unlock(&h->lock);
	return 0;
}

bool poison_validate(void)
{
	const struct hwpoison_state *h = &octavo_state.hwpoison;
	u64 nr = 0;
	bool there, ok = true;

	for (u64 i = 0; i < SLOTS; i++) {
		if (h->slot[i] == EMPTY || h->slot[i] == TOMB)
			continue;
		nr++;
		if (find((unsigned long)(h->slot[i] - 1), &there) != &h->slot[i] || !there) {
			pr_err("poison: slot %lu (pfn 0x%lx) is a duplicate, or out of reach", i,
			       h->slot[i] - 1);
			ok = false;
		}
	}
	if (nr != h->nr) {
		pr_err("poison: %lu entries, counted %lu", nr, h->nr);
		ok = false;
	}
	return ok;
}
