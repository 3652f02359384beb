/* SPDX-License-Identifier: MIT */
/*
 * device.h - what the files of this directory tell each other.
 */
#ifndef MM_DEVICE_DEVICE_H
#define MM_DEVICE_DEVICE_H

#include <octavo/memremap.h>

/* device.c: registers the layer, at first use. Under device.lock. */
void device_up(void);

/* The pagemap of a place; NULL if it is no device's. Good while the caller has a reference there, or under RCU. */
struct dev_pagemap *place_pgmap(unsigned long place);

/*
 * zone_device.c: words of @nr pages become what they are of idle memory, whatever they were: DEVICE. Release. Nobody has
 * any of them.
 */
void zone_device_reset(struct page *first, unsigned long nr);
/* Fatal if one of them is not idle. Poisoned pages are. */
void zone_device_check_idle(const struct page *first, unsigned long nr);

/* Of struct device_upcalls. */
void zone_device_folio_free(struct folio *folio);
void zone_device_page_free(struct page *page, unsigned int order);
void zone_device_folio_split(struct folio *original, struct folio *new);
u32 device_private_migrate_to_ram(struct vm_fault *vmf);
bool device_memory_failure(unsigned long pfn);

/* fsdax.c: a folio of it is idle from now on; the words say so. */
void fsdax_freed(struct dev_pagemap *pgmap);

#endif /* MM_DEVICE_DEVICE_H */
