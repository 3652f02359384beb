/* SPDX-License-Identifier: MIT */
/*
 * kmap_machine.h - what the tests of kernel mappings share: the machine, the kernel's own accesses, and numbers that
 * must come back to nothing.
 */
#ifndef OCTAVO_KMAP_MACHINE_H
#define OCTAVO_KMAP_MACHINE_H

#include <octavo/state.h>

#include "mmu.h"
#include "test.h"

#define LEAF_PAGES (1ul << level_order(PGTABLE_LEVEL_PMD))
#define KMAP_CPUS  4u

static inline void kmap_boot(void)
{
	boot_small(OCTAVO_TREE_ORDER > 6 ? 64 : 1, KMAP_CPUS);
	sim_set_cpu(0);
	sim_mmu_paranoid(true);
}

static inline struct vmalloc_stat kmap_stat(void)
{
	struct vmalloc_stat st;

	vmalloc_stat(&st);
	return st;
}

/* Nothing is mapped, and after a flush nothing waits. */
static inline void kmap_idle(void)
{
	struct vmalloc_stat st;

	assert_true(octavo_validate());
	vm_unmap_aliases();
	st = kmap_stat();
	assert_int_equal(st.nr_vmalloc, 0);
	assert_int_equal(st.nr_owned, 0);
	assert_int_equal(st.nr_mapped, 0);
	assert_int_equal(st.lazy_pages, 0);
	assert_int_equal(st.lazy_frames, 0);
	assert_int_equal(st.huge_entries, 0);
	assert_int_equal(st.runs_bytes, 0);
	assert_int_equal(st.deferred, 0);
	if (octavo_state.kmap.mm)
		assert_true(sim_mmu_check(NULL));
}

static inline void kmap_end(void)
{
	kmap_idle();
	assert_int_equal(kmap_stat().areas, 0);
	shutdown_clean();
}

static inline struct page *new_page(unsigned int order)
{
	struct page *page = alloc_pages(GFP_KERNEL, order);

	assert_non_null(page);
	return page;
}

static inline struct folio *new_folio(unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_FILE);

	assert_non_null(folio);
	return folio;
}

static inline struct page **array_of(unsigned int n)
{
	struct page **a = kmalloc_array(n, sizeof(*a), GFP_KERNEL);

	assert_non_null(a);
	return a;
}

static inline enum sim_fault kread(const void *addr, u64 *val)
{
	return sim_mmu_ktry((unsigned long)addr, SIM_LOAD, val);
}

static inline enum sim_fault kwrite(const void *addr, u64 val)
{
	return sim_mmu_ktry((unsigned long)addr, SIM_STORE, &val);
}

static inline enum sim_fault kfetch(const void *addr)
{
	return sim_mmu_ktry((unsigned long)addr, SIM_FETCH, NULL);
}

static inline void *kat(const void *addr, unsigned long page)
{
	return (char *)(uintptr_t)addr + (page << PAGE_SHIFT);
}

static inline u64 *frame_word(unsigned long pfn)
{
	return pfn_to_virt(pfn);
}

/* The kernel's access at @addr comes to this page, for reading and writing, and the look-up says so. */
static inline void assert_maps(const void *addr, struct page *page)
{
	static u64 nr = 0x1000;
	u64 *word = frame_word(page_to_pfn(page)), val = 0;

	assert_ptr_equal(vmalloc_to_page(addr), page);
	assert_int_equal(vmalloc_to_pfn(addr), page_to_pfn(page));
	*word = ++nr;
	assert_int_equal(kread(addr, &val), SIM_OK);
	assert_int_equal(val, nr);
	assert_int_equal(kwrite(addr, ++nr), SIM_OK);
	assert_int_equal(*word, nr);
}

static inline void assert_no_access(const void *addr)
{
	u64 val;

	assert_int_equal(kread(addr, &val), SIM_NOT_PRESENT);
	assert_null(vmalloc_to_page(addr));
}

/* One warning that speaks of @text. */
static inline void assert_warned(const char *text)
{
	const char *last = NULL;

	assert_int_equal(sim_log_take(&last), 1);
	assert_non_null(strstr(last, text));
}

#endif /* OCTAVO_KMAP_MACHINE_H */
