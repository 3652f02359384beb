// SPDX-License-Identifier: MIT
/*
 * test_device_entry.c - page-table entries of memory that a device has for itself: what each call on an address space does
 * with them, and how the memory comes back.
 */
#include <octavo/mman.h>
#include <octavo/plain.h>
#include <octavo/vmalloc.h>

#include "device_space.h"

#define WHERE LEAF_PAGES

static const unsigned int orders[] = { 0, 1, 2, LEAF_ORDER };
#define for_each_order(i) for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++)

/* One area, one folio, which the device takes. */
static struct folio *up(unsigned int order)
{
	device_space_up(MEMORY_DEVICE_PRIVATE);
	map_anon(WHERE, LEAF_PAGES);
	map_folio(WHERE, order);
	return device_pull(WHERE);
}

static void check_back(unsigned int order)
{
	for (unsigned long i = 0; i < 1ul << order; i++) {
		assert_int_equal(get64(WHERE + i), 1000 + WHERE + i);
		assert_false(is_private(WHERE + i));
	}
}

COVERS("S1.34 S1.38 S1.40");
static void test_device_entry_there_and_back(void **state)
{
	for_each_order(o)
	{
		unsigned int order = orders[o];
		unsigned long nr = 1ul << order;
		struct folio *folio = up(order);

		assert_true(is_private(WHERE));
		assert_true(private_write(entry(WHERE)));
		assert_true(pte_swp_exclusive(entry(WHERE)));
		assert_ptr_equal(device_folio_in(as, WHERE), folio);
		assert_int_equal(pos_in(as, WHERE).level, order == LEAF_ORDER ? MAX_LEAF_LEVEL : 0);
		assert_int_equal(folio_mapcount(folio), order == LEAF_ORDER ? 1 : nr);
		assert_int_equal(folio_ref_count(folio), order == LEAF_ORDER ? 1 : nr);
		assert_int_equal(folio_count_mappings(folio), folio_mapcount(folio));
		assert_int_equal(folio_referenced(folio), 0);
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), nr);
		assert_int_equal(device.ref, nr);
		assert_true(octavo_validate());
		check_back(order);
		assert_int_equal(device_faults, 1);
		assert_int_equal(device_frees, 1);
		assert_int_equal(device_pages_freed, nr);
		assert_int_equal(device.ref, 0);
		/* no fault: it comes back writable, as it went */
		put64(WHERE, 5);
		assert_int_equal(get64(WHERE), 5);
		assert_int_equal(device_faults, 1);
		device_space_down();
	}
}

/* What entries say of themselves is said by those that come instead of them. */
COVERS("S1.25 S1.35");
static void test_device_entry_keeps_marks(void **state)
{
	for (unsigned int bits = 0; bits < 16; bits++) {
		bool write = bits & 1, soft = bits & 2, wp = bits & 4,
		     exclusive = bits & 8 || write;
		struct folio *folio = up(0);
		pte_t e = device_private_pte(folio_place(folio), write, exclusive), now;
		struct anon_vma *anon_vma;

		if (soft)
			e = pte_swp_mksoft_dirty(e);
		if (wp)
			e = pte_swp_mkuffd_wp(e);
		force_entry(WHERE, e);
		folio_get(folio);
		folio_lock(folio);
		anon_vma = try_to_migrate(folio);
		assert_non_null(anon_vma);
		assert_false(folio_mapped(folio));
		assert_int_equal(folio_ref_count(folio), 1);
		now = entry(WHERE);
		assert_int_equal(swp_type(pte_to_swp_entry(now)),
				 write	     ? SWP_MIGRATION_WRITE
				 : exclusive ? SWP_MIGRATION_READ_EXCLUSIVE
					     : SWP_MIGRATION_READ);
		assert_int_equal(swp_entry_place(pte_to_swp_entry(now)), folio_place(folio));
		/* what the device could write to is not clean */
		assert_int_equal(!!(swp_offset(pte_to_swp_entry(now)) & SWP_MIG_DIRTY), write);
		assert_int_equal(pte_swp_soft_dirty(now), soft);
		assert_int_equal(pte_swp_uffd_wp(now), wp);
		remove_migration_ptes(folio, folio, anon_vma);
		assert_int_equal(entry(WHERE).v, e.v);
		assert_int_equal(folio_mapcount(folio), 1);
		assert_int_equal(folio_ref_count(folio), 2);
		folio_unlock(folio);
		folio_put(folio);
		device_space_down();
	}
}

COVERS("S1.38 S1.39");
static void test_device_entry_fork_shares(void **state)
{
	for_each_order(o)
	{
		unsigned int order = orders[o];
		struct folio *folio = up(order);
		s32 mapped = folio_mapcount(folio);
		struct mm_struct *child;
		pte_t parent;
		int err;

		/* references of others are no pins, whatever bits say: fork shares all the same */
		folio_set_anon_exclusive(folio_subrange(folio, 0, 1));
		folio_ref_add(folio, 2 * GUP_PIN_COUNTING_BIAS);
		child = mm_fork(as, &err);
		assert_non_null(child);
		folio_put_refs(folio, 2 * GUP_PIN_COUNTING_BIAS);
		assert_int_equal(folio_mapcount(folio), 2 * mapped);
		assert_int_equal(folio_ref_count(folio), 2 * mapped);
		assert_int_equal(folio_count_mappings(folio), 2 * mapped);
		parent = entry(WHERE);
		assert_false(private_write(parent));
		assert_false(pte_swp_exclusive(parent));
		assert_int_equal(pos_in(child, WHERE).pte.v, parent.v);
		assert_int_equal(get_mm_counter(child, MM_ANONPAGES), 1ul << order);
		assert_true(octavo_validate());
		/* back for both, shared; a write copies */
		put64(WHERE, 77);
		assert_int_equal(device_faults, 1);
		assert_int_equal(get64(WHERE), 77);
		sim_mm_use(child);
		assert_int_equal(get64(WHERE), 1000 + WHERE);
		assert_int_equal(device_faults, 1);
		sim_mm_use(as);
		assert_true(octavo_validate());
		sim_mm_forget(child);
		mmput(child);
		assert_int_equal(device.ref, 0);
		device_space_down();
	}
}

COVERS("S1.38");
static void test_device_entry_unmap_all_or_some(void **state)
{
	for_each_order(o)
	{
		unsigned int order = orders[o];
		unsigned long nr = 1ul << order;

		/* all: one folio_free */
		up(order);
		assert_int_equal(vm_munmap(as, at(WHERE), LEAF_SIZE), 0);
		assert_int_equal(device_frees, 1);
		assert_int_equal(device_pages_freed, nr);
		assert_int_equal(get_mm_rss(as), 0);
		device_space_down();
		/* by MADV_DONTNEED */
		up(order);
		assert_int_equal(vm_madvise(as, at(WHERE), LEAF_SIZE, MADV_DONTNEED), 0);
		assert_int_equal(device_frees, 1);
		assert_true(pte_none(entry(WHERE)));
		device_space_down();
		/* with the address space */
		up(order);
		sim_mm_forget(as);
		mmput(as);
		assert_int_equal(device_frees, 1);
		memunmap_pages(&device);
		shutdown_clean();
		if (!order)
			continue;
		/* some: the folio stays, with the rest */
		up(order);
		assert_int_equal(vm_munmap(as, at(WHERE + 1), PAGE_SIZE), 0);
		assert_int_equal(device_frees, 0);
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), nr - 1);
		assert_true(octavo_validate());
		for (unsigned long i = 0; i < nr; i++)
			if (i != 1)
				assert_int_equal(get64(WHERE + i), 1000 + WHERE + i);
		assert_int_equal(device_frees, 1);
		device_space_down();
	}
}

COVERS("S1.38");
static void test_device_entry_protection(void **state)
{
	for_each_order(o)
	{
		unsigned int order = orders[o];
		struct folio *folio = up(order);
		u64 val = 1;

		assert_int_equal(vm_mprotect(as, at(WHERE), LEAF_SIZE, PROT_READ), 0);
		assert_true(is_private(WHERE));
		assert_false(private_write(entry(WHERE)));
		assert_true(pte_swp_exclusive(entry(WHERE)));
		assert_int_equal(folio_mapcount(folio), order == LEAF_ORDER ? 1 : 1 << order);
		assert_true(octavo_validate());
		assert_int_equal(sim_store64(at(WHERE), val), VM_FAULT_SIGSEGV);
		assert_int_equal(device_faults, 0);
		assert_int_equal(vm_mprotect(as, at(WHERE), LEAF_SIZE, PROT_READ | PROT_WRITE), 0);
		assert_false(private_write(entry(WHERE)));
		/* exclusive still: no copy */
		put64(WHERE, 9);
		assert_int_equal(get64(WHERE), 9);
		assert_int_equal(device_faults, 1);
		assert_true(exclusive_in(as, WHERE));
		assert_int_equal(vm_mprotect(as, at(WHERE), LEAF_SIZE, PROT_NONE), 0);
		device_space_down();
		up(order);
		assert_int_equal(vm_mprotect(as, at(WHERE), LEAF_SIZE, PROT_NONE), 0);
		assert_int_equal(sim_load64(at(WHERE), &val), VM_FAULT_SIGSEGV);
		assert_int_equal(device_faults, 0);
		device_space_down();
	}
}

/* A part of a large folio gets another protection: entries become smaller, nothing comes back for that. */
COVERS("S1.35 S1.38");
static void test_device_entry_leaf_is_split(void **state)
{
	struct folio *folio = up(LEAF_ORDER);

	assert_int_equal(vm_mprotect(as, at(WHERE + 1), PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(device_faults, 0);
	assert_int_equal(folio_order(folio), LEAF_ORDER);
	assert_int_equal(folio_mapcount(folio), LEAF_PAGES);
	assert_int_equal(folio_ref_count(folio), LEAF_PAGES);
	assert_int_equal(folio_entire_mapcount(folio), 0);
	for (unsigned long i = 0; i < LEAF_PAGES; i++) {
		pte_t e = entry(WHERE + i);

		assert_int_equal(pos_in(as, WHERE + i).level, 0);
		assert_int_equal(e.v,
				 pte_swp_mksoft_dirty(
					 device_private_pte(folio_place(folio) + i, i != 1, true))
					 .v);
	}
	assert_true(octavo_validate());
	check_back(LEAF_ORDER);
	assert_int_equal(device_faults, 1);
	device_space_down();
}

COVERS("S1.35 S1.36 S1.37");
static void test_device_entry_folio_is_split(void **state)
{
	for (unsigned int order = 2; order <= LEAF_ORDER; order += LEAF_ORDER - 2) {
		unsigned long nr = 1ul << order;
		struct folio *folio = up(order);

		folio_get(folio);
		folio_lock(folio);
		assert_int_equal(split_folio_mapped(folio, 1, NULL), 0);
		assert_int_equal(folio_order(folio), 1);
		assert_true(folio_test_locked(folio));
		folio_unlock(folio);
		folio_put(folio);
		assert_int_equal(device_splits, nr / 2 - 1);
		assert_int_equal(device_split_ends, 1);
		assert_int_equal(device.ref, nr);
		for (unsigned long i = 0; i < nr; i++) {
			struct folio *piece = device_folio_in(as, WHERE + i);

			assert_int_equal(folio_order(piece), 1);
			assert_true(folio_is_zone_device(piece));
			assert_ptr_equal(folio_pgmap(piece), &device);
			assert_int_equal(folio_mapcount(piece), 2);
			assert_int_equal(folio_ref_count(piece), 2);
			assert_false(folio_test_locked(piece));
			assert_true(private_write(entry(WHERE + i)));
			assert_true(pte_swp_exclusive(entry(WHERE + i)));
		}
		assert_true(octavo_validate());
		/* each comes back alone */
		assert_int_equal(get64(WHERE + 2), 1000 + WHERE + 2);
		assert_int_equal(device_frees, 1);
		assert_true(is_private(WHERE));
		check_back(order);
		assert_int_equal(device_frees, nr / 2);
		device_space_down();
		/* one page out of it, and the piece with another one stays locked */
		folio = up(order);
		folio_get(folio);
		folio_lock(folio);
		assert_int_equal(split_folio_mapped(folio, 0, folio_page(folio, 1)), 0);
		folio_unlock(folio);
		folio_put(folio);
		assert_int_equal(device_splits, order);
		check_back(order);
		device_space_down();
	}
}

COVERS("S1.38");
static void test_device_entry_moves(void **state)
{
	for_each_order(o)
	{
		unsigned long to[] = { 4 * LEAF_PAGES, 4 * LEAF_PAGES + 1 };

		for (unsigned int i = 0; i < ARRAY_SIZE(to); i++) {
			unsigned int order = orders[o];
			struct folio *folio = up(order);

			assert_int_equal(vm_mremap(as, at(WHERE), LEAF_SIZE, LEAF_SIZE,
						   MREMAP_MAYMOVE | MREMAP_FIXED, at(to[i])),
					 at(to[i]));
			assert_true(is_private(to[i]));
			assert_true(private_write(entry(to[i])));
			assert_ptr_equal(device_folio_in(as, to[i]), folio);
			assert_int_equal(folio_count_mappings(folio), folio_mapcount(folio));
			assert_true(octavo_validate());
			for (unsigned long n = 0; n < 1ul << order; n++)
				assert_int_equal(get64(to[i] + n), 1000 + WHERE + n);
			assert_int_equal(device_faults, 1);
			device_space_down();
		}
	}
}

/* Advice, locks and questions leave it where it is, or bring it back. */
COVERS("S1.15 S1.38");
static void test_device_entry_other_calls(void **state)
{
	for_each_order(o)
	{
		unsigned int order = orders[o];
		unsigned long nr = 1ul << order;
		struct folio *folio = up(order);
		unsigned char vec[PTRS_PER_TABLE];

		assert_int_equal(vm_mincore(as, at(WHERE), LEAF_SIZE, vec), 0);
		for (unsigned long i = 0; i < LEAF_PAGES; i++)
			assert_int_equal(vec[i], i < nr);
		assert_int_equal(vm_madvise(as, at(WHERE), LEAF_SIZE, MADV_FREE), 0);
		assert_int_equal(vm_madvise(as, at(WHERE), LEAF_SIZE, MADV_COLD), 0);
		assert_int_equal(vm_madvise(as, at(WHERE), LEAF_SIZE, MADV_PAGEOUT), 0);
		assert_int_not_equal(collapse_range(as, at(WHERE), LEAF_ORDER, LEAF_PAGES), 0);
		assert_int_equal(migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL), -EINVAL);
		assert_int_equal(device_faults, 0);
		assert_int_equal(folio_mapcount(folio), order == LEAF_ORDER ? 1 : nr);
		assert_true(octavo_validate());
		/* locked memory is here */
		as->limits.memlock = ~0ul;
		assert_int_equal(vm_mlock(as, at(WHERE), LEAF_SIZE, 0), 0);
		assert_int_equal(device_faults, 1);
		check_back(order);
		device_space_down();
	}
}

COVERS("S1.33 S1.34");
static void test_device_entry_fault_refused(void **state)
{
	struct folio *folio = up(1);
	u64 val;

	/* who may not sleep comes back when it may */
	assert_int_equal(fault_nowait(WHERE, 0), VM_FAULT_RETRY);
	assert_int_equal(device_faults, 0);
	device_answer = VM_FAULT_SIGBUS;
	assert_int_equal(sim_load64(at(WHERE), &val), VM_FAULT_SIGBUS);
	assert_int_equal(device_faults, 1);
	/* all is as before */
	assert_int_equal(folio_ref_count(folio), 2);
	assert_false(folio_test_locked(folio));
	assert_true(octavo_validate());
	device_answer = 0;
	check_back(1);
	device_space_down();
}

/* The driver splits the folio, and brings back a page that is not in the first piece. */
COVERS("S1.24 S1.34");
static void test_device_entry_fault_splits(void **state)
{
	for (unsigned long touched = 0; touched < 4; touched++) {
		up(2);
		device_splits_first = true;
		assert_int_equal(get64(WHERE + touched), 1000 + WHERE + touched);
		assert_int_equal(device_frees, 1);
		for (unsigned long i = 0; i < 4; i++) {
			struct folio *piece;

			assert_int_equal(is_private(WHERE + i), i != touched);
			if (i == touched)
				continue;
			piece = device_folio_in(as, WHERE + i);
			assert_int_equal(folio_order(piece), 0);
			assert_int_equal(folio_ref_count(piece), 1);
			assert_false(folio_test_locked(piece));
		}
		assert_true(octavo_validate());
		device_splits_first = false;
		check_back(2);
		device_space_down();
	}
}

/* As many small ones in one call as are freed together. */
static void test_device_entry_many_are_unmapped(void **state)
{
	device_space_up(MEMORY_DEVICE_PRIVATE);
	map_anon(WHERE, 64);
	for (unsigned long i = 0; i < 64; i++) {
		map_folio(WHERE + i, 0);
		/* every other one */
		if (i % 2)
			device_pull(WHERE + i);
	}
	assert_int_equal(device.ref, 32);
	assert_int_equal(vm_munmap(as, at(WHERE), 64 * PAGE_SIZE), 0);
	assert_int_equal(device_frees, 32);
	assert_int_equal(device.ref, 0);
	device_space_down();
}

COVERS("S1.39");
static void test_device_entry_gup_brings_back(void **state)
{
	for_each_order(o)
	{
		static struct page *pages[PTRS_PER_TABLE];
		unsigned int order = orders[o];
		unsigned long nr = 1ul << order;

		up(order);
		assert_int_equal(
			pin_user_pages(as, at(WHERE), nr, FOLL_WRITE | FOLL_NOFAULT, pages),
			-EFAULT);
		assert_int_equal(
			pin_user_pages_fast(as, at(WHERE), nr, FOLL_WRITE | FOLL_FAST_ONLY, pages),
			0);
		assert_int_equal(device_faults, 0);
		assert_int_equal(
			pin_user_pages_fast(as, at(WHERE), nr, FOLL_WRITE | FOLL_LONGTERM, pages),
			nr);
		assert_int_equal(device_faults, 1);
		for (unsigned long i = 0; i < nr; i++)
			assert_false(folio_is_zone_device(page_folio(pages[i])));
		unpin_user_pages(pages, nr);
		check_back(order);
		device_space_down();
	}
}

/* ---- memory that both can access ---- */

COVERS("S1.38 S3.16");
static void test_device_coherent_memory_is_mapped(void **state)
{
	for_each_order(o)
	{
		static struct page *pages[PTRS_PER_TABLE];
		unsigned int order = orders[o];
		unsigned long nr = 1ul << order;
		struct mm_struct *child;
		struct folio *folio;
		int err;

		device_space_up(MEMORY_DEVICE_COHERENT);
		map_anon(WHERE, LEAF_PAGES);
		map_folio(WHERE, order);
		folio = device_pull(WHERE);
		assert_ptr_equal(folio_at(WHERE), folio);
		assert_true(folio_is_device_coherent(folio));
		assert_int_equal(folio_order(folio), order);
		check_back(order);
		assert_int_equal(device_faults, 0);
		/* where it is its driver says, not advice or a collapse */
		assert_int_equal(vm_madvise(as, at(WHERE), LEAF_SIZE, MADV_PAGEOUT), 0);
		assert_int_equal(vm_madvise(as, at(WHERE), LEAF_SIZE, MADV_COLD), 0);
		if (order != LEAF_ORDER)
			assert_int_equal(collapse_range(as, at(WHERE), LEAF_ORDER, LEAF_PAGES),
					 -EINVAL);
		assert_ptr_equal(folio_at(WHERE), folio);
		/* for a while it may be pinned */
		assert_int_equal(pin_user_pages_fast(as, at(WHERE), nr, FOLL_WRITE, pages), nr);
		assert_ptr_equal(page_folio(pages[0]), folio);
		assert_int_equal(device_frees, 0);
		unpin_user_pages(pages, nr);
		/* a child shares it, and a write copies to memory */
		child = mm_fork(as, &err);
		assert_non_null(child);
		put64(WHERE, 3);
		sim_mm_use(child);
		assert_int_equal(get64(WHERE), 1000 + WHERE);
		sim_mm_use(as);
		sim_mm_forget(child);
		mmput(child);
		assert_int_equal(device.ref ? nr : 0, device.ref);
		/* for long it may not, and moves first */
		assert_int_equal(
			pin_user_pages_fast(as, at(WHERE), nr, FOLL_WRITE | FOLL_LONGTERM, pages),
			nr);
		for (unsigned long i = 0; i < nr; i++)
			assert_false(folio_is_zone_device(page_folio(pages[i])));
		assert_int_equal(device.ref, 0);
		assert_int_equal(device_frees, 1);
		assert_int_equal(get64(WHERE), 3);
		unpin_user_pages(pages, nr);
		device_space_down();
	}
}

/* All of a folio, and a part of it, that is nobody else's. */
COVERS("S3.16");
static void test_device_longterm_pin_moves_coherent_memory(void **state)
{
	for_each_order(o)
	{
		static struct page *pages[PTRS_PER_TABLE];
		unsigned int order = orders[o];

		for (unsigned long nr = 1ul << order; nr; nr >>= 1) {
			device_space_up(MEMORY_DEVICE_COHERENT);
			map_anon(WHERE, LEAF_PAGES);
			map_folio(WHERE, order);
			assert_int_equal(folio_order(device_pull(WHERE)), order);
			assert_int_equal(pin_user_pages(as, at(WHERE), nr,
							FOLL_WRITE | FOLL_LONGTERM, pages),
					 nr);
			for (unsigned long i = 0; i < nr; i++)
				assert_false(folio_is_zone_device(page_folio(pages[i])));
			assert_int_equal(device.ref, 0);
			unpin_user_pages(pages, nr);
			check_back(order);
			device_space_down();
		}
	}
}

/* ---- files in memory of a device ---- */

static struct vm_file dax_file;
static struct page *dax_page;

static u32 dax_fault(struct vm_fault *vmf)
{
	vmf->page = dax_page + vmf->pgoff;
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct dax_vm_ops = { .fault = dax_fault };

static int dax_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	WRITE_ONCE(vma->vm_ops, &dax_vm_ops);
	/* plain pages too */
	WRITE_ONCE(vma->vm_flags, vma->vm_flags | VM_MIXEDMAP);
	return 0;
}

static void dax_release(struct vm_file *file)
{
}

static const struct vm_file_operations dax_file_ops = { .mmap = dax_mmap, .release = dax_release };

static void map_dax(void)
{
	vm_file_init(&dax_file, &dax_file_ops);
	assert_int_equal(vm_mmap(as, at(WHERE), 4 * PAGE_SIZE, PROT_READ | PROT_WRITE,
				 MAP_FIXED | MAP_SHARED, &dax_file, 0),
			 at(WHERE));
}

/* Mapped as any folio of a file. Idle is when nobody maps or uses it any more; no pin may keep it for long. */
COVERS("S1.9 S1.43 S1.44");
static void test_device_file_is_mapped(void **state)
{
	struct page *pages[4];
	struct folio *folio;

	device_space_up(MEMORY_DEVICE_FS_DAX);
	folio = device_take(2);
	dax_page = folio_page(folio, 0);
	folio_unlock(folio);
	map_dax();
	for (unsigned long i = 0; i < 4; i++)
		put64(WHERE + i, i);
	assert_int_equal(folio_mapcount(folio), 4);
	assert_int_equal(folio_ref_count(folio), 5);
	assert_int_equal(pin_user_pages(as, at(WHERE), 4, FOLL_WRITE | FOLL_LONGTERM, pages),
			 -EINVAL);
	assert_int_equal(pin_user_pages(as, at(WHERE), 4, FOLL_WRITE, pages), 4);
	/* the file gives it up, and is unmapped; whoever reads or writes it goes on */
	folio_put(folio);
	assert_int_equal(vm_munmap(as, at(WHERE), 4 * PAGE_SIZE), 0);
	assert_int_equal(device_frees, 0);
	assert_int_equal(*(u64 *)page_address(pages[3]), 3);
	unpin_user_pages(pages, 4);
	assert_int_equal(device_frees, 1);
	zone_device_wait_idle(&device, 0, device.nr);
	vm_file_put(&dax_file);
	device_space_down();
}

/* Plain pages of a device, where they are inserted. */
COVERS("S1.17");
static void test_device_plain_page_is_mapped(void **state)
{
	struct page *page;

	device_space_up(MEMORY_DEVICE_GENERIC);
	assert_int_equal(zone_device_page_init(device.words, &device, 0), 0);
	page_set_mappable(device.words, true);
	dax_page = device.words;
	map_dax();
	put64(WHERE, 4);
	assert_int_equal(page_count(device.words), 2);
	assert_int_equal(pin_user_pages(as, at(WHERE), 1, FOLL_WRITE | FOLL_LONGTERM, &page),
			 -EFAULT);
	assert_int_equal(page_count(device.words), 2);
	assert_int_equal(get_user_pages(as, at(WHERE), 1, FOLL_WRITE, &page), 1);
	put_page(device.words);
	assert_int_equal(vm_munmap(as, at(WHERE), 4 * PAGE_SIZE), 0);
	assert_int_equal(device.ref, 1);
	put_page(page);
	assert_int_equal(device.ref, 0);
	vm_file_put(&dax_file);
	device_space_down();
}

/* Nothing makes a CPU's mapping of what only the device can access. */
COVERS("S1.45");
static void test_device_private_memory_is_not_mapped(void **state)
{
	struct folio_subrange part;
	struct page *pages[2];
	struct folio *folio;
	void *addr;

	device_space_up(MEMORY_DEVICE_PRIVATE);
	dax_page = device.words;
	map_dax();
	assert_int_equal(zone_device_page_init(device.words, &device, 0), 0);
	page_set_mappable(device.words, true);
	device_next = 2;
	folio = device_take(1);
	pages[0] = device.words;
	pages[1] = folio_page(folio, 1);
	mmap_read_lock(as);
	assert_int_equal(vm_insert_page(vma_lookup(as, at(WHERE)), at(WHERE), pages[0]), -EINVAL);
	assert_int_equal(vm_insert_page(vma_lookup(as, at(WHERE)), at(WHERE), pages[1]), -EINVAL);
	mmap_read_unlock(as);
	assert_null(vmap(pages, 1, VM_MAP, PAGE_KERNEL));
	assert_null(vmap(pages + 1, 1, VM_MAP, PAGE_KERNEL));
	part = folio_subrange(folio, 0, 2);
	assert_int_equal(vmap_folios(&part, 1, VM_MAP, PAGE_KERNEL, &addr), -EINVAL);
	folio_unlock(folio);
	folio_put(folio);
	put_page(device.words);
	assert_int_equal(vm_munmap(as, at(WHERE), 4 * PAGE_SIZE), 0);
	vm_file_put(&dax_file);
	device_space_down();
}

/* ---- failures ---- */

#if OCTAVO_FAULTS
/* @call on device entries of @order: it works, or fails, and either way nothing is lost. */
static void fail_at_every_step(unsigned int order, void (*call)(void))
{
	u32 hit = 1;

	for (u32 k = 1; hit; k++) {
		up(order);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
		call();
		hit = octavo_fault_disarm();
		fault_cases++;
		assert_true(octavo_validate());
		check_back(order);
		assert_int_equal(device.ref, 0);
		device_space_down();
	}
}

static void call_fork(void)
{
	struct mm_struct *child;
	int err;

	child = mm_fork(as, &err);
	if (!child)
		return;
	sim_mm_forget(child);
	mmput(child);
}

static void call_protect(void)
{
	(void)vm_mprotect(as, at(WHERE + 1), PAGE_SIZE, PROT_READ);
}

static void call_split(void)
{
	struct folio *folio = device_folio_in(as, WHERE);

	folio_get(folio);
	folio_lock(folio);
	/* few pieces of a large one: each is a step */
	(void)split_folio_mapped(folio, folio_order(folio) > 4 ? folio_order(folio) - 2 : 0, NULL);
	folio_unlock(folio);
	folio_put(folio);
}

static void call_touch(void)
{
	u64 val;

	(void)sim_load64(at(WHERE), &val);
}

COVERS("S1.29 S1.38");
static void test_device_entry_calls_fail_at_every_step(void **state)
{
	static void (*const calls[])(void) = { call_fork, call_protect, call_split, call_touch };

	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
		fail_at_every_step(2, calls[i]);
		fail_at_every_step(LEAF_ORDER, calls[i]);
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_device_entry_there_and_back),
		TEST(test_device_entry_keeps_marks),
		TEST(test_device_entry_fork_shares),
		TEST(test_device_entry_unmap_all_or_some),
		TEST(test_device_entry_protection),
		TEST(test_device_entry_leaf_is_split),
		TEST(test_device_entry_folio_is_split),
		TEST(test_device_entry_moves),
		TEST(test_device_entry_other_calls),
		TEST(test_device_entry_fault_refused),
		TEST(test_device_entry_fault_splits),
		TEST(test_device_entry_many_are_unmapped),
		TEST(test_device_entry_gup_brings_back),
		TEST(test_device_coherent_memory_is_mapped),
		TEST(test_device_private_memory_is_not_mapped),
		TEST(test_device_longterm_pin_moves_coherent_memory),
		TEST(test_device_file_is_mapped),
		TEST(test_device_plain_page_is_mapped),
#if OCTAVO_FAULTS
		TEST(test_device_entry_calls_fail_at_every_step),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
