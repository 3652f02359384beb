// SPDX-License-Identifier: MIT
/*
 * slab_scan.c - the objects of a cache in turns, for who looks for some of them worth taking back.
 *
 * Slabs of a home are on lists for the allocator's needs: full, partial, empty. A scan takes the first of a list, and
 * when it has given out the slab's last object puts it at the end. So it needs no memory of its own, new slabs and dead ones
 * are nothing special, and any number of scans share the work. A bit in each slab says whether this lap
 * has been there; the lap is over when both lists begin with such a slab. One that the allocator moves to the front hides
 * those behind it until the next lap: a scan is for who comes back.
 *
 * What it does not do: tell whether an object is in use. It may be free in a sheaf, or become so.
 */
#include <octavo/slab.h>

#include "slab_priv.h"

/* Whose turn it is on a list. Context: the home's lock. Return: NULL: this lap has been everywhere. */
static struct slab *scan_first(struct slab_home *home, struct list_head *list)
{
	struct slab *slab;

	if (list_empty(list))
		return NULL;
	slab = list_first_entry(list, struct slab, list);
	return slab->lap == home->lap ? NULL : slab;
}

/* @max objects of @slab from number *@at on. Return: how many; *@at 0: the slab is done. */
static u32 scan_slab(const struct kmem_cache *s, const struct slab *slab, u32 *at, u32 max,
		     void **objs)
{
	u32 n = 0;

	/* another scan's slab, smaller than where ours was */
	if (*at >= slab->nr)
		*at = 0;
	while (n < max && *at < slab->nr) {
		u32 i = (*at)++;

		/* what is in the slab is free for sure */
		if (!(slab->free[i / BITS_PER_LONG] & 1ul << i % BITS_PER_LONG))
			objs[n++] = slab->objects + (size_t)i * s->size;
	}
	if (*at == slab->nr)
		*at = 0;
	return n;
}

/* Context: as kmem_cache_scan(), the home's lock. */
static u32 scan_home(struct kmem_cache *s, struct slab_home *home, struct slab_scan *scan, u32 max,
		     void **objs)
{
	struct list_head *list = &home->full;
	struct slab *slab = scan_first(home, list);
	u32 n;

	if (!slab) {
		list = &home->partial;
		slab = scan_first(home, list);
	}
	if (!slab) {
		home->lap ^= 1;
		scan->at = 0;
		scan->home++;
		return 0;
	}
	n = scan_slab(s, slab, &scan->at, max, objs);
	if (!scan->at) {
		slab->lap = home->lap;
		list_del_init(&slab->list);
		list_add_tail(&slab->list, list);
	}
	return n;
}

u32 kmem_cache_scan(struct kmem_cache *s, struct slab_scan *scan, u32 max, void **objs)
{
	u32 n = 0;

	VM_BUG_ON(!(s->flags & SLAB_TYPESAFE_BY_RCU));
	while (!n && scan->home < slab_nr_homes()) {
		struct slab_home *home = &s->home[scan->home];

		slab_lock(s, home);
		n = scan_home(s, home, scan, max, objs);
		slab_unlock(home);
	}
	if (!n)
		*scan = (struct slab_scan){ 0 };
	return n;
}
