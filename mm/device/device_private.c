// SPDX-License-Identifier: MIT
/*
 * device_private.c - a CPU touched memory that only a device can.
 */
#include "device.h"

/*
 * The fault has the folio locked and a reference, under which neither folio nor pagemap go, and the page-table entry that
 * named it was still there when it had both.
 */
u32 device_private_migrate_to_ram(struct vm_fault *vmf)
{
	struct dev_pagemap *pgmap = place_pgmap(page_place(vmf->page));

	return pgmap->ops->migrate_to_ram(vmf);
}
