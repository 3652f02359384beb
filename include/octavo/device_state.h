/* SPDX-License-Identifier: MIT */
/*
 * device_state.h - the part of struct octavo_state of device memory: which device has which places.
 */
#ifndef OCTAVO_DEVICE_STATE_H
#define OCTAVO_DEVICE_STATE_H

#include <octavo/config.h>
#include <octavo/rwsem.h>

struct dev_pagemap;
struct page;

/*
 * Places (folio.h) [first, first + nr) have their words at @words. nr 0: an entry that is not used now. Everything else is
 * constant while nr is not 0, which is stored last with release, and loaded with acquire under RCU. An entry is not used
 * again, nor are its places and its words, before a grace period has passed.
 */
struct device_range {
	unsigned long nr;
	unsigned long first;
	struct page *words;
	struct dev_pagemap *pgmap;
};

struct device_state {
	struct rw_semaphore
		lock;  /* memremap_pages() and the end of memunmap_pages(), one at a time */
	u32 nr_ranges; /* entries ever used: only grows; stored with release under the lock */
	struct device_range range[OCTAVO_NR_PAGEMAPS];
};

#endif /* OCTAVO_DEVICE_STATE_H */
