/* SPDX-License-Identifier: MIT */
/*
 * rmap_area.h - one anonymous area of one address space, both made by hand: what most tests of reverse maps need.
 */
#ifndef OCTAVO_RMAP_AREA_H
#define OCTAVO_RMAP_AREA_H

#include "rmap_machine.h"

static struct mm_struct *mm;
static struct vm_area_struct *vma;

static inline void boot(void)
{
	hand_boot();
	mm = table_mm();
	vma = hand_vma(mm, 4 * PMD_NR, 6 * PMD_NR);
	assert_int_equal(anon_vma_prepare(vma), 0);
}

static inline void shutdown(void)
{
	assert_true(octavo_validate());
	hand_unmap(vma);
	table_mm_end(mm);
	hand_shutdown();
}

#endif /* OCTAVO_RMAP_AREA_H */
