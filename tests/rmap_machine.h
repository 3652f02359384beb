/* SPDX-License-Identifier: MIT */
/*
 * rmap_machine.h - address spaces and areas made by hand, for tests of what lies below mm_alloc().
 */
#ifndef OCTAVO_RMAP_MACHINE_H
#define OCTAVO_RMAP_MACHINE_H

#include <octavo/rmap.h>
#include <octavo/state.h>

#include "../mm/rmap/rmap_init.h"
#include "test.h"

static inline struct mm_struct *hand_mm(void)
{
	struct mm_struct *mm = aligned_alloc(64, sizeof(*mm));

	assert_non_null(mm);
	memset(mm, 0, sizeof(*mm));
	return mm;
}

#define HAND_FLAGS (VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC)

/* An anonymous private area of @pages pages from page @first of the address space on. */
static inline struct vm_area_struct *hand_vma(struct mm_struct *mm, unsigned long first,
					      unsigned long pages)
{
	struct vm_area_struct *vma = calloc(1, sizeof(*vma));

	assert_non_null(vma);
	vma->vm_mm = mm;
	vma->vm_start = first << PAGE_SHIFT;
	vma->vm_end = (first + pages) << PAGE_SHIFT;
	vma->vm_pgoff = first;
	vma->vm_flags = HAND_FLAGS;
	vma->vm_page_prot = PAGE_READONLY;
	INIT_LIST_HEAD(&vma->anon_vma_chain);
	return vma;
}

/* A copy without chain; in another address space it has no anon_vma either. */
static inline struct vm_area_struct *hand_vma_dup(const struct vm_area_struct *from,
						  struct mm_struct *mm)
{
	struct vm_area_struct *vma = malloc(sizeof(*vma));

	assert_non_null(vma);
	*vma = *from;
	vma->vm_mm = mm;
	INIT_LIST_HEAD(&vma->anon_vma_chain);
	if (mm != from->vm_mm)
		vma->anon_vma = NULL;
	return vma;
}

static inline void hand_vma_free(struct vm_area_struct *vma)
{
	unlink_anon_vmas(vma);
	assert_true(list_empty(&vma->anon_vma_chain));
	free(vma);
}

static inline void hand_boot(u64 mib, u32 cpus)
{
	boot_small(mib, cpus);
	assert_int_equal(rmap_caches_init(GFP_KERNEL), 0);
}

/* Fatal in there if an anon_vma or a chain is left. */
static inline void hand_shutdown(void)
{
	rmap_caches_exit();
	shutdown_clean();
}

#endif /* OCTAVO_RMAP_MACHINE_H */
