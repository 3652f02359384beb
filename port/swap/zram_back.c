/* SPDX-License-Identifier: MIT */
/*
 * zram_back.c - making room in compressed memory: the oldest objects go to a backing device.
 *
 * Age is what was stored since, in sixteenths of the limit: an epoch. The search goes around the table of slots and takes objects of the
 * oldest epoch; on the way it sees what is the oldest of the others, which is what the next round takes. So nothing is
 * kept in lists, and storing costs a number. Objects are decompressed, a batch of them, into neighbouring slots of the
 * backing device, which read back as one transfer as long as they stay neighbours.
 *
 * One at a time makes room. While a batch is written its objects stay in their slots, marked; who overwrites or discards
 * such a slot meanwhile has it, and what was written for it is forgotten. What the backing device could not write
 * stays in memory, as young as new, and the place there is given up.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "zram.h"

/* ---- slots of the backing device ---- */

#define BITS 64u

static size_t map_bytes(const struct zram *z)
{
	return ALIGN(z->back.dev->nr_slots, BITS) / 8;
}

static bool map_test(const struct zback *b, unsigned long i)
{
	return b->map[i / BITS] >> i % BITS & 1;
}

static void map_set(struct zback *b, unsigned long i, bool to)
{
	if (to)
		b->map[i / BITS] |= 1ul << i % BITS;
	else
		b->map[i / BITS] &= ~(1ul << i % BITS);
}

/* A run of up to @want free slots, the next there is. Return: how many; 0: all are taken. */
static u32 map_take(struct zback *b, u32 want, u64 *first)
{
	unsigned long n = b->dev->nr_slots, i, looked;
	u32 got = 0;

	spin_lock(&b->map_lock);
	i = b->next;
	for (looked = 0; looked < n && !got; looked++, i++) {
		if (i >= n)
			i = 0;
		if (i % BITS == 0 && b->map[i / BITS] == ~0ul && i + BITS <= n) {
			i += BITS - 1;
			looked += BITS - 1;
			continue;
		}
		for (*first = i; got < want && i < n && !map_test(b, i); i++, got++)
			map_set(b, i, true);
	}
	b->next = i;
	spin_unlock(&b->map_lock);
	return got;
}

static void map_give(struct zback *b, u64 first, u32 nr)
{
	spin_lock(&b->map_lock);
	for (u32 i = 0; i < nr; i++)
		map_set(b, first + i, false);
	spin_unlock(&b->map_lock);
}

void zback_release(struct zram *z, u64 where)
{
	swapdev_discard(z->back.dev, where, 1);
	map_give(&z->back, where, 1);
}

/* A write there failed. */
static void zback_give_up(struct zback *b, u64 where, int err)
{
	if (err == -ENOSPC) {
		map_give(b, where, 1);
		return;
	}
	spin_lock(&b->map_lock);
	b->bad++;
	spin_unlock(&b->map_lock);
}

/* ---- which objects ---- */

/* Of one group of slots that have the same lock, at the cursor: those of the target's age, into pages from @n on. */
static u32 zback_pick_group(struct zram *z, unsigned long *pick, u32 n, u32 most)
{
	struct zback *b = &z->back;
	unsigned long end = min(b->cursor + (1ul << ZRAM_LOCK_SHIFT), z->sd.nr_slots);

	spin_lock(zram_lock_of(z, b->cursor));
	for (unsigned long i = b->cursor; i < end && n < most; i++) {
		struct zslot *s = &z->slot[i];

		if (s->kind != ZSLOT_OBJECT || s->leaving)
			continue;
		if (s->epoch > b->target) {
			b->oldest = min(b->oldest, s->epoch);
		} else if (zram_expand(z, &b->ws, s->value, b->pages + n * PAGE_SIZE)) {
			s->leaving = true;
			pick[n++] = i;
		} else {
			s->epoch = zram_epoch(z) + 1;
		}
	}
	spin_unlock(zram_lock_of(z, b->cursor));
	return n;
}

/* The oldest objects, marked, in pages. Return: how many, at most @most. */
static u32 zback_pick(struct zram *z, unsigned long *pick, u32 most)
{
	struct zback *b = &z->back;
	u32 n = 0, rounds = 0;

	while (n < most && rounds < 3) {
		n = zback_pick_group(z, pick, n, most);
		if (n == most)
			break;
		b->cursor += 1ul << ZRAM_LOCK_SHIFT;
		if (b->cursor >= z->sd.nr_slots) {
			/* what is younger than the next oldest can wait for another batch */
			if (n)
				most = n;
			b->cursor = 0;
			b->target = b->oldest == ~0u ? 0 : b->oldest;
			b->oldest = ~0u;
			rounds++;
		}
	}
	return n;
}

/* ---- writing them ---- */

/* The object of a marked slot is at @where now, unless somebody has taken it out of the slot. */
static void zback_commit(struct zram *z, unsigned long slot, u64 where)
{
	struct zslot old = { .kind = ZSLOT_BACKED, .value = where };

	spin_lock(zram_lock_of(z, slot));
	if (z->slot[slot].leaving) {
		old = z->slot[slot];
		z->slot[slot] = (struct zslot){ .kind = ZSLOT_BACKED, .value = where };
	}
	spin_unlock(zram_lock_of(z, slot));
	STAT_ADD(z->stat.backed, 1);
	STAT_ADD(z->stat.written_back, 1);
	old.leaving = false;
	zram_drop(z, old);
}

static void zback_keep(struct zram *z, unsigned long slot)
{
	spin_lock(zram_lock_of(z, slot));
	if (z->slot[slot].leaving) {
		z->slot[slot].leaving = false;
		z->slot[slot].epoch = zram_epoch(z) + 1;
	}
	spin_unlock(zram_lock_of(z, slot));
}

/* Return: how many are away now. */
static u32 zback_write(struct zram *z, const unsigned long *pick, u32 n, u64 first)
{
	struct zback *b = &z->back;
	int err = swapdev_transfer(b->dev, SWAP_WRITE, first, n, b->pages);
	u32 away = 0;

	for (u32 i = 0; i < n; i++) {
		int one = err;

		/* which of them was it? */
		if (err && n > 1)
			one = swapdev_transfer(b->dev, SWAP_WRITE, first + i, 1,
					       b->pages + i * PAGE_SIZE);
		if (one) {
			zback_keep(z, pick[i]);
			zback_give_up(b, first + i, one);
		} else {
			zback_commit(z, pick[i], first + i);
			away++;
		}
	}
	return away;
}

/* One batch. Return: how many objects are away; 0: no object, no slot, or they cannot be written. With the lock. */
static u32 zback_some(struct zram *z)
{
	struct zback *b = &z->back;
	unsigned long pick[ZBACK_BATCH];
	u32 away = 0;

	/* not for ever: a device that has gone would lose all its slots */
	for (u32 tries = 0; b->dev && !away && tries < 3; tries++) {
		u64 first;
		u32 slots = map_take(b, ZBACK_BATCH, &first), n;

		if (!slots)
			break;
		n = zback_pick(z, pick, slots);
		map_give(b, first + n, slots - n);
		if (!n)
			break;
		away = zback_write(z, pick, n, first);
	}
	return away;
}

int zback_store(struct zram *z, const void *src, u32 size, u64 *handle)
{
	int err;

	pthread_mutex_lock(&z->back.lock);
	do {
		err = zpool_store(z->pool, src, size, ZRAM_GFP, handle);
	} while (err && (zpool_compact(z->pool) || zback_some(z)));
	pthread_mutex_unlock(&z->back.lock);
	return err ? -ENOSPC : 0;
}

int zback_write_page(struct zram *z, void *page, u64 *where)
{
	int err = -ENOSPC;

	if (!z->back.dev)
		return err;
	for (u32 tries = 0; err && tries < 3; tries++) {
		if (!map_take(&z->back, 1, where))
			return -ENOSPC;
		err = swapdev_transfer(z->back.dev, SWAP_WRITE, *where, 1, page);
		if (err)
			zback_give_up(&z->back, *where, err);
	}
	return err;
}

/* ---- coming and going ---- */

int zback_open(struct zram *z, struct swapdev *dev)
{
	struct zback *b = &z->back;

	pthread_mutex_init(&b->lock, NULL);
	spin_lock_init(&b->map_lock);
	b->oldest = ~0u;
	if (!dev)
		return 0;
	/* acquire: pairs with the release in zback_close() and on_close() */
	if (cmpxchg_acquire(&dev->on, 0u, 1u))
		return -EBUSY;
	b->dev = dev;
	b->map = swapdev_map(map_bytes(z));
	b->pages = swapdev_map(ZBACK_BATCH * PAGE_SIZE);
	if (!zram_ws_open(z->codec, &b->ws) || !b->map || !b->pages)
		return -ENOMEM;
	/* the header, and what is not there */
	map_set(b, 0, true);
	for (unsigned long i = dev->nr_slots; i % BITS; i++)
		map_set(b, i, true);
	b->next = 1;
	return 0;
}

void zback_close(struct zram *z)
{
	struct zback *b = &z->back;

	if (!b->dev)
		return;
	zram_ws_close(z->codec, &b->ws);
	swapdev_unmap(b->pages, ZBACK_BATCH * PAGE_SIZE);
	swapdev_unmap(b->map, map_bytes(z));
	/* release: pairs with the acquire of who has it next */
	smp_store_release(&b->dev->on, 0u);
}

bool zback_validate(struct zram *z, u64 backed)
{
	struct zback *b = &z->back;
	u64 taken = 0;

	if (!b->dev)
		return backed == 0;
	spin_lock(&b->map_lock);
	for (unsigned long i = 1; i < b->dev->nr_slots; i++)
		taken += map_test(b, i);
	backed += b->bad;
	spin_unlock(&b->map_lock);
	if (taken != backed)
		pr_err("swap in compressed memory: %lu slots of the backing device are taken, %lu "
		       "known",
		       taken, backed);
	return taken == backed;
}
