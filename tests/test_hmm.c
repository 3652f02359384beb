// SPDX-License-Identifier: MIT
/*
 * test_hmm.c - what a mirror is told of an address space, and pages that a device has for itself.
 */
#include "migrate_machine.h"

static struct mmu_interval_notifier mni;
static unsigned long el[MIG_PAGES];
static u32 told, told_exclusive;

static bool invalidate(struct mmu_interval_notifier *n, const struct mmu_notifier_range *range,
		       unsigned long seq)
{
	told++;
	told_exclusive += range->event == MMU_NOTIFY_EXCLUSIVE && range->owner == &dev_map;
	mmu_interval_set_seq(n, seq);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = { .invalidate = invalidate };

static void hmm_up(void)
{
	device_up(TO_PRIVATE);
	dev_to_ram = bring_back;
	ram_order = MAX_FOLIO_ORDER;
	told = told_exclusive = 0;
	assert_int_equal(mmu_interval_notifier_insert(&mni, as, 0, TASK_SIZE_MAX, &mirror_ops), 0);
}

static void hmm_down(void)
{
	mmu_interval_notifier_remove(&mni);
	device_down(TO_PRIVATE);
}

static struct mig m;
static unsigned long seq;

/* Pages [page, page + nr) for @owner, asking for @flags. */
static int look_as(void *owner, unsigned long page, unsigned long nr, unsigned long flags)
{
	struct hmm_range range = { .notifier = &mni,
				   .start = at(page),
				   .end = at(page + nr),
				   .hmm_pfns = el,
				   .default_flags = flags,
				   .owner = owner };
	int err;

	memset(el, 0, sizeof(el));
	do {
		range.notifier_seq = seq = mmu_interval_read_begin(&mni);
		mmap_read_lock(as);
		err = hmm_range_fault(&range);
		mmap_read_unlock(as);
	} while (err == -EBUSY);
	return err;
}

static int look(unsigned long page, unsigned long nr, unsigned long flags)
{
	return look_as(&dev_map, page, nr, flags);
}

static void test_hmm_snapshot(void **state)
{
	hmm_up();
	map_anon(0, 8);
	put64(1, 1);
	get64(2);
	assert_int_equal(look(0, 8, 0), 0);
	assert_int_equal(el[0], 0);
	assert_int_equal(el[1] & 0xf, HMM_PFN_VALID | HMM_PFN_WRITE);
	assert_int_equal(hmm_pfn_value(el[1]), pfn_in(as, 1));
	/* the zero page may be read */
	assert_int_equal(el[2] & 0xf, HMM_PFN_VALID);
	assert_false(mmu_interval_read_retry(&mni, seq));
	/* beyond the area: nobody may have it; and it is no error, if nobody asks for it */
	assert_int_equal(look(6, 4, 0), 0);
	assert_int_equal(el[1], 0);
	assert_int_equal(el[2], HMM_PFN_ERROR);
	/* writable but clean: a device's write would set no dirty bit */
	assert_int_equal(look(1, 1, HMM_PFN_REQ_WRITE), 0);
	hmm_down();
}

static void test_hmm_clean_is_not_writable(void **state)
{
	struct pt_pos pos;
	pte_t e;

	hmm_up();
	map_anon(0, 1);
	put64(0, 1);
	mmap_read_lock(as);
	assert_true(pte_offset_lock(as, at(0), PGTABLE_LEVEL_PTE, &pos));
	e = ptep_get_and_clear(pos.ptep);
	set_pte(pos.ptep, pte_mkclean(e));
	flush_tlb_range(as, at(0), at(1), PGTABLE_LEVEL_PTE);
	pte_unlock(&pos);
	mmap_read_unlock(as);
	assert_int_equal(look(0, 1, 0), 0);
	assert_int_equal(el[0] & 0xf, HMM_PFN_VALID);
	assert_int_equal(look(0, 1, HMM_PFN_REQ_WRITE), 0);
	assert_int_equal(el[0] & 0xf, HMM_PFN_VALID | HMM_PFN_WRITE);
	assert_true(pte_dirty(entry(0)));
	hmm_down();
}

static void test_hmm_faults_in(void **state)
{
	hmm_up();
	map_anon(0, 8);
	map_flags(8, 2, PROT_READ, 0);
	map_flags(10, 1, PROT_NONE, 0);
	assert_int_equal(look(0, 4, HMM_PFN_REQ_FAULT), 0);
	for (unsigned long i = 0; i < 4; i++)
		assert_int_equal(el[i] & 0xf, HMM_PFN_VALID);
	assert_true(is_zero_page(0));
	assert_int_equal(look(0, 4, HMM_PFN_REQ_WRITE), 0);
	for (unsigned long i = 0; i < 4; i++)
		assert_int_equal(el[i] & 0xf, HMM_PFN_VALID | HMM_PFN_WRITE);
	assert_int_equal(look(8, 1, HMM_PFN_REQ_FAULT), 0);
	assert_int_equal(look(8, 1, HMM_PFN_REQ_WRITE), -EPERM);
	assert_int_equal(look(10, 1, HMM_PFN_REQ_FAULT), -EPERM);
	assert_int_equal(look(6, 8, HMM_PFN_REQ_FAULT), -EPERM);
	assert_int_equal(look(20, 1, HMM_PFN_REQ_FAULT), -EFAULT);
	hmm_down();
}

static void test_hmm_arguments(void **state)
{
	struct hmm_range range = { .notifier = &mni, .hmm_pfns = el };

	hmm_up();
	map_anon(0, 4);
	mmap_read_lock(as);
	range.start = at(1);
	range.end = at(1);
	assert_int_equal(hmm_range_fault(&range), -EINVAL);
	range.end = at(2) + 1;
	assert_int_equal(hmm_range_fault(&range), -EINVAL);
	range.end = TASK_SIZE_MAX + PAGE_SIZE;
	assert_int_equal(hmm_range_fault(&range), -EINVAL);
	range.end = at(2);
	range.notifier = NULL;
	assert_int_equal(hmm_range_fault(&range), -EINVAL);
	mmap_read_unlock(as);
	/* not all of it is the notifier's */
	range.notifier = &mni;
	mmu_interval_notifier_remove(&mni);
	assert_int_equal(
		mmu_interval_notifier_insert(&mni, as, at(1), 2 << PAGE_SHIFT, &mirror_ops), 0);
	mmap_read_lock(as);
	for (unsigned long i = 0; i < 3; i++) {
		range.start = at(i);
		range.end = at(i + 2);
		range.notifier_seq = mmu_interval_read_begin(&mni);
		assert_int_equal(hmm_range_fault(&range), i == 1 ? 0 : -EINVAL);
	}
	mmap_read_unlock(as);
	mmu_interval_notifier_remove(&mni);
	assert_int_equal(mmu_interval_notifier_insert(&mni, as, 0, TASK_SIZE_MAX, &mirror_ops), 0);
	range.start = at(1);
	range.end = at(2);
	/* something has changed since */
	range.notifier_seq = mmu_interval_read_begin(&mni);
	assert_int_equal(vm_munmap(as, at(3), PAGE_SIZE), 0);
	mmap_read_lock(as);
	assert_int_equal(hmm_range_fault(&range), -EBUSY);
	mmap_read_unlock(as);
	hmm_down();
}

COVERS("S1.41");
static void test_hmm_orders(void **state)
{
	hmm_up();
	as->folio_orders = 1u << 2 | 1u << LEAF_ORDER;
	map_anon(0, LEAF_PAGES + 4);
	put64(0, 1);
	put64(LEAF_PAGES, 1);
	assert_int_equal(look(0, LEAF_PAGES + 4, 0), 0);
	assert_int_equal(hmm_pfn_order(el[0]), LEAF_ORDER);
	assert_int_equal(hmm_pfn_order(el[LEAF_PAGES - 1]), LEAF_ORDER);
	assert_true(hmm_pfn_order(el[LEAF_PAGES]) >= 2);
	/* only as far as it was looked at */
	assert_int_equal(look(0, LEAF_PAGES / 2 + 1, 0), 0);
	assert_int_equal(hmm_pfn_order(el[0]), LEAF_ORDER - 1);
	assert_int_equal(hmm_pfn_order(el[LEAF_PAGES / 2]), 0);
	hmm_down();
}

COVERS("S1.22 S1.45");
static void test_hmm_private_memory(void **state)
{
	int other;

	hmm_up();
	map_anon(0, 8);
	put64(0, 10);
	put64(1, 11);
	assert_int_equal(mig_run(&m, 0, 2, SEL_SYSTEM, TO_PRIVATE, 0), 2);
	assert_int_equal(look(0, 2, HMM_PFN_REQ_WRITE), 0);
	for (unsigned long i = 0; i < 2; i++) {
		assert_int_equal(el[i] & 0xf, HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_PRIVATE);
		assert_int_equal(
			*(u64 *)mem_of(device_private_page((devidx_t){ hmm_pfn_value(el[i]) })),
			10 + i);
	}
	/* another device sees nothing, and gets it as the system's if it asks */
	assert_int_equal(look_as(&other, 0, 2, 0), 0);
	assert_int_equal(el[0], 0);
	assert_int_equal(look_as(&other, 0, 1, HMM_PFN_REQ_FAULT), 0);
	assert_int_equal(el[0] & 0xd, HMM_PFN_VALID);
	assert_true(pte_present(entry(0)));
	assert_true(pte_is_device_private(entry(1)));
	assert_int_equal(get64(0), 10);
	assert_int_equal(get64(1), 11);
	hmm_down();
}

/* Where nobody has access, a device has none to its own memory either; and has it again when the area says so. */
COVERS("S1.38");
static void test_hmm_private_memory_without_access(void **state)
{
	hmm_up();
	as->folio_orders = 1u << LEAF_ORDER | 1u;
	map_anon(0, 2 * LEAF_PAGES);
	put64(0, 10);
	put64(LEAF_PAGES, 11);
	assert_int_equal(mig_run(&m, 0, 2 * LEAF_PAGES, SEL_SYSTEM | SEL_COMPOUND, TO_PRIVATE,
				 MAX_FOLIO_ORDER),
			 2);
	assert_int_equal(vm_mprotect(as, at(0), LEAF_SIZE + PAGE_SIZE, PROT_NONE), 0);
	for (unsigned long i = 0; i < 2; i++) {
		assert_int_equal(look(i * LEAF_PAGES, 1, 0), 0);
		assert_int_equal(el[0], 0);
		assert_int_equal(look(i * LEAF_PAGES, 1, HMM_PFN_REQ_FAULT), -EPERM);
	}
	assert_int_equal(vm_mprotect(as, at(0), LEAF_SIZE + PAGE_SIZE, PROT_READ), 0);
	for (unsigned long i = 0; i < 2; i++) {
		assert_int_equal(look(i * LEAF_PAGES, 1, HMM_PFN_REQ_FAULT), 0);
		assert_int_equal(el[0] & 0xf, HMM_PFN_VALID | HMM_PFN_PRIVATE);
		assert_int_equal(get64(i * LEAF_PAGES), 10 + i);
	}
	hmm_down();
}

/* ---- exclusive access ---- */

static struct page *take(unsigned long page, struct folio **folio, int *err)
{
	struct page *p;

	mmap_read_lock(as);
	p = make_device_exclusive(as, at(page), &dev_map, folio, err);
	mmap_read_unlock(as);
	return p;
}

COVERS("S1.40");
static void test_hmm_exclusive(void **state)
{
	struct folio *folio;
	struct page *page, *pin;
	int err;

	hmm_up();
	map_anon(0, 8);
	map_flags(8, 1, PROT_READ, 0);
	put64(0, 5);
	page = take(0, &folio, &err);
	assert_non_null(page);
	assert_true(folio_test_locked(folio));
	assert_int_equal(told_exclusive, 1);
	assert_true(folio_test_flag(folio, PG_dirty));
	assert_int_equal(swp_type(pte_to_swp_entry(entry(0))), SWP_DEVICE_EXCLUSIVE);
	assert_int_equal(folio_mapcount(folio), 1);
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 1);
	folio_unlock(folio);
	folio_put(folio);
	assert_true(octavo_validate());
	/* a mirror that asks for nothing sees nothing; one that asks ends it */
	assert_int_equal(look(0, 1, 0), 0);
	assert_int_equal(el[0], 0);
	told = 0;
	assert_int_equal(look(0, 1, HMM_PFN_REQ_WRITE), 0);
	assert_int_equal(told, 1);
	assert_int_equal(el[0] & 0xf, HMM_PFN_VALID | HMM_PFN_WRITE);
	assert_int_equal(get64(0), 5);
	/* not there, not writable, pinned */
	assert_null(take(20, &folio, &err));
	assert_int_equal(err, -EFAULT);
	assert_null(take(8, &folio, &err));
	assert_int_equal(err, -EFAULT);
	assert_int_equal(pin_user_pages_fast(as, at(0), 1, FOLL_WRITE, &pin), 1);
	assert_null(take(0, &folio, &err));
	assert_int_equal(err, -EBUSY);
	assert_true(pte_write(entry(0)));
	unpin_user_page(pin);
	/* it goes with its area, and after mprotect comes back as the area says */
	assert_non_null(take(0, &folio, &err));
	folio_unlock(folio);
	folio_put(folio);
	assert_int_equal(vm_mprotect(as, at(0), PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(get64(0), 5);
	assert_false(pte_write(entry(0)));
	assert_int_equal(vm_mprotect(as, at(0), PAGE_SIZE, PROT_READ | PROT_WRITE), 0);
	assert_non_null(take(0, &folio, &err));
	folio_unlock(folio);
	folio_put(folio);
	assert_int_equal(vm_munmap(as, at(0), PAGE_SIZE), 0);
	assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 0);
	hmm_down();
}

/* What a device has, private or for itself for a while, is unlocked like the rest of an area; and when it is dropped. */
COVERS("S1.38");
static void test_hmm_unlocks_what_a_device_has(void **state)
{
	struct folio *folio;
	unsigned int order;
	int err;

	for (unsigned int how = 0; how < 6; how++) {
		unsigned long nr;

		order = how < 2 ? 0 : how < 4 ? 2 : LEAF_ORDER;
		nr = 1ul << order;
		hmm_up();
		as->folio_orders = 1u << order;
		map_anon(0, nr);
		put64(0, 5);
		assert_int_equal(vm_mlock(as, at(0), nr << PAGE_SHIFT, 0), 0);
		assert_true(folio_test_flag(folio_at(0), PG_mlocked));
		assert_int_equal(mig_run(&m, 0, nr, SEL_SYSTEM | SEL_COMPOUND, TO_PRIVATE, order),
				 1);
		folio = page_folio(place_page(swp_entry_place(pte_to_swp_entry(entry(0)))));
		assert_int_equal(folio_order(folio), order);
		assert_true(folio_test_flag(folio, PG_mlocked));
		folio_get(folio);
		if (how & 1) {
			assert_int_equal(
				vm_madvise(as, at(0), nr << PAGE_SHIFT, MADV_DONTNEED_LOCKED), 0);
			assert_false(folio_test_flag(folio, PG_mlocked));
			folio_put(folio);
		} else {
			assert_int_equal(vm_munlock(as, at(0), nr << PAGE_SHIFT), 0);
			assert_false(folio_test_flag(folio, PG_mlocked));
			folio_put(folio);
			assert_int_equal(get64(0), 5);
			assert_false(folio_test_flag(folio_at(0), PG_mlocked));
		}
		hmm_down();
	}
	hmm_up();
	map_anon(0, 1);
	assert_int_equal(vm_mlock(as, at(0), PAGE_SIZE, 0), 0);
	assert_non_null(take(0, &folio, &err));
	assert_true(folio_test_flag(folio, PG_mlocked));
	assert_int_equal(vm_munlock(as, at(0), PAGE_SIZE), 0);
	assert_false(folio_test_flag(folio, PG_mlocked));
	folio_unlock(folio);
	folio_put(folio);
	hmm_down();
}

/* Who moves, splits or unmaps the folio ends it, and what the device wrote is there. */
COVERS("S1.40");
static void test_hmm_exclusive_ends(void **state)
{
	struct folio *folio;
	struct page *page;
	int err;

	for (unsigned int how = 0; how < 3; how++) {
		hmm_up();
		as->folio_orders = 1u << 2;
		map_anon(0, 4);
		for (unsigned long i = 0; i < 4; i++)
			put64(i, 10 + i);
		page = take(1, &folio, &err);
		assert_non_null(page);
		assert_int_equal(folio_order(folio), 2);
		*(u64 *)page_address(page) = 77;
		folio_unlock(folio);
		told = 0;
		if (how == 0) {
			assert_int_equal(migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL), 0);
			assert_false(folio_mapped(folio));
		} else if (how == 1) {
			folio_lock(folio);
			assert_int_equal(split_folio_mapped(folio, 0, NULL), 0);
			folio_unlock(folio);
		} else {
			/* a part of a folio that is not wanted in parts */
			folio_put(folio);
			assert_int_equal(
				mig_run(&m, 0, 4, SEL_SYSTEM | SEL_COMPOUND, TO_PRIVATE, 2), 4);
			assert_true(pte_is_device_private(entry(1)));
			folio = NULL;
		}
		if (folio)
			folio_put(folio);
		assert_true(told > 0);
		assert_true(pte_present(entry(1)) || how == 2);
		for (unsigned long i = 0; i < 4; i++)
			assert_int_equal(get64(i), i == 1 ? 77 : 10 + i);
		assert_int_equal(get_mm_counter(as, MM_ANONPAGES), 4);
		hmm_down();
	}
}

/* ---- eviction ---- */

/* The element of a folio of the system's, with what elements @i and @i + 1 have. */
static unsigned long copy_of_two(const unsigned long *src, unsigned long i)
{
	struct folio *folio = dst_alloc(TO_SYSTEM, 1);

	assert_non_null(folio);
	for (unsigned long k = 0; k < 2; k++)
		memcpy(mem_of(folio_page(folio, k)), mem_of(mig_src_page(src, i + k)), PAGE_SIZE);
	return migrate_pfn(folio_page(folio, 0));
}

COVERS("S1.32 S1.27");
static void test_hmm_evict(void **state)
{
	unsigned long src[MIG_PAGES], dst[MIG_PAGES] = { 0 };

	hmm_up();
	as->folio_orders = 1u << 3;
	map_anon(0, 8);
	for (unsigned long i = 0; i < 8; i++)
		put64(i, 100 + i);
	assert_int_equal(mig_run(&m, 0, 8, SEL_SYSTEM | SEL_COMPOUND, TO_PRIVATE, 3), 1);
	assert_int_equal(migrate_device_range(&dev_map, DEV_PAGES - 2, src, 3), -EINVAL);
	assert_int_equal(migrate_device_range(&dev_map, 0, src, 0), -EINVAL);
	/* idle memory, and half of a folio, are nothing */
	assert_int_equal(migrate_device_range(&dev_map, 8, src, 8), 0);
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(src[i], 0);
	migrate_device_finalize(src, dst, 8);
	assert_int_equal(migrate_device_range(&dev_map, 0, src, 4), 0);
	assert_int_equal(src[0], 0);
	migrate_device_finalize(src, dst, 4);
	/* the folio; given smaller ones it is split */
	assert_int_equal(migrate_device_range(&dev_map, 0, src, 8), 0);
	assert_int_equal(migrate_pfn_order(src[0]), 3);
	for (unsigned long i = 1; i < 8; i++)
		assert_int_equal(src[i], 0);
	for (unsigned long i = 0; i < 8; i += 2) {
		dst[i] = copy_of_two(src, i);
	}
	migrate_device_pages(src, dst, 8);
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(!(src[i] & MIGRATE_PFN_MIGRATE), i & 1);
	migrate_device_finalize(src, dst, 8);
	for (unsigned long i = 0; i < 8; i++) {
		assert_int_equal(folio_order(folio_at(i)), 1);
		assert_int_equal(get64(i), 100 + i);
	}
	hmm_down();
}

/* The number of the device's page that an entry names. */
static unsigned long dev_number(unsigned long page)
{
	return (unsigned long)(place_page(swp_entry_place(pte_to_swp_entry(entry(page)))) -
			       dev_map.words);
}

/* Folios of two pages, by numbers in any order: whole ones go, and once. */
COVERS("S1.32");
static void test_hmm_evict_chosen(void **state)
{
	static const unsigned char page[] = { 6, 7, 3, 0, 1, 2, 6, 7 };
	unsigned long src[MIG_PAGES], was[MIG_PAGES], dst[MIG_PAGES] = { 0 };

	hmm_up();
	as->folio_orders = 1u << 1;
	map_anon(0, 8);
	for (unsigned long i = 0; i < 8; i++)
		put64(i, 100 + i);
	assert_int_equal(mig_run(&m, 0, 8, SEL_SYSTEM | SEL_COMPOUND, TO_PRIVATE, 1), 4);
	for (unsigned long i = 0; i < 8; i++)
		was[i] = src[i] = dev_number(page[i]);
	assert_int_equal(migrate_device_pfns(&dev_map, src, 0), -EINVAL);
	src[7] = DEV_PAGES;
	was[7] = DEV_PAGES;
	assert_int_equal(migrate_device_pfns(&dev_map, src, 8), -EINVAL);
	assert_memory_equal(src, was, 8 * sizeof(*src));
	src[7] = src[1];
	assert_int_equal(migrate_device_pfns(&dev_map, src, 8), 0);
	for (unsigned long i = 0; i < 8; i++) {
		if (i != 0 && i != 3) {
			assert_int_equal(src[i], 0);
			continue;
		}
		assert_int_equal(migrate_pfn_order(src[i]), 1);
		dst[i] = copy_of_two(src, i);
	}
	migrate_device_pages(src, dst, 8);
	migrate_device_finalize(src, dst, 8);
	for (unsigned long i = 0; i < 8; i++) {
		assert_int_equal(pte_present(entry(i)), i < 2 || i > 5);
		assert_int_equal(pte_is_device_private(entry(i)), i >= 2 && i <= 5);
	}
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(get64(i), 100 + i);
	hmm_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hmm_snapshot),
		TEST(test_hmm_clean_is_not_writable),
		TEST(test_hmm_faults_in),
		TEST(test_hmm_arguments),
		TEST(test_hmm_orders),
		TEST(test_hmm_private_memory),
		TEST(test_hmm_private_memory_without_access),
		TEST(test_hmm_unlocks_what_a_device_has),
		TEST(test_hmm_exclusive),
		TEST(test_hmm_exclusive_ends),
		TEST(test_hmm_evict),
		TEST(test_hmm_evict_chosen),
	};

	return cmocka_run_group_tests_name("hmm-" TEST_VARIANT, tests, NULL, NULL);
}
