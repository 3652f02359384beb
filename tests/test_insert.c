// SPDX-License-Identifier: MIT
/*
 * test_insert.c - pages and frames of the embedder's in user page tables: rings, drivers' buffers,
 * devices' registers.
 */
#include "mmu.h"
#include "test.h"

#define RW (PROT_READ | PROT_WRITE)

static struct mm_struct *mm;

static void start(void)
{
	boot_small(64, 2);
	mm = mm_alloc();
	assert_non_null(mm);
}

static void finish(void)
{
	assert_true(octavo_validate());
	sim_mm_use(NULL);
	mmput(mm);
	shutdown_clean();
}

/* ---- a driver with a ring of plain pages ---- */

struct ring {
	struct vm_file file;
	struct page *pages[8];
	unsigned long nr;
	unsigned long pfn; /* not 0: frames instead of pages */
	int err;	   /* of the last mmap */
	int released;
};

static int ring_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	struct ring *r = container_of(file, struct ring, file);

	if (r->pfn)
		r->err = remap_pfn_range(vma, vma->vm_start, r->pfn, vma->vm_end - vma->vm_start,
					 vma->vm_page_prot);
	else
		r->err = vm_map_pages(vma, r->pages, r->nr);
	return r->err;
}

static void ring_release(struct vm_file *file)
{
	container_of(file, struct ring, file)->released++;
}

static const struct vm_file_operations ring_fops = { .mmap = ring_mmap, .release = ring_release };

static void ring_init(struct ring *r)
{
	memset(r, 0, sizeof(*r));
	vm_file_init(&r->file, &ring_fops);
}

/* One allocation of 2^@order pages, all of them in the ring. */
static struct page *ring_of_order(struct ring *r, unsigned int order, bool mappable)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_ZERO, order);

	assert_non_null(page);
	if (mappable)
		page_set_mappable(page, true);
	ring_init(r);
	r->nr = 1ul << order;
	for (unsigned long i = 0; i < r->nr; i++)
		r->pages[i] = page + i;
	return page;
}

static long ring_map(struct ring *r, unsigned long flags)
{
	return vm_mmap(mm, 0, r->nr * PAGE_SIZE, RW, flags, &r->file, 0);
}

/* Nothing of a plain page says that it is mapped, but its count. */
static void assert_untouched(const struct page *page, unsigned int order, unsigned int count)
{
	memdesc_t md = page_memdesc(page);

	assert_true(memdesc_is_misc(md));
	assert_int_equal(memdesc_order(md), order);
	assert_int_equal(page_count(page), count);
	assert_null(page_folio(page));
}

COVERS("S0.1 S0.11 S0.12 S0.13 S0.15 S0.16 S0.18 S0.21 S0.22 S0.23 SX.2 SX.3");
static void test_insert_compound_pages_are_mapped_and_never_touched(void **state)
{
	unsigned long at;
	struct page *page;
	struct ring r;
	long ret;
	u64 v;

	start();
	page = ring_of_order(&r, 2, true);
	*(u64 *)page_address(page + 3) = 42;
	ret = ring_map(&r, MAP_SHARED);
	assert_true(ret > 0);
	at = (unsigned long)ret;
	/* the allocation's own, and one for each entry */
	assert_untouched(page, 2, 1 + 4);
	assert_int_equal(get_mm_counter(mm, MM_FILEPAGES), 0);
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 0);
	sim_mm_use(mm);
	assert_int_equal(sim_load64(at + 3 * PAGE_SIZE, &v), 0);
	assert_int_equal(v, 42);
	assert_int_equal(sim_store64(at + PAGE_SIZE + 8, 7), 0);
	assert_int_equal(((u64 *)page_address(page + 1))[1], 7);
	/* part of it goes: its references, and nothing else */
	assert_int_equal(vm_munmap(mm, at, PAGE_SIZE), 0);
	assert_untouched(page, 2, 1 + 3);
	assert_int_equal(vm_munmap(mm, at, 4 * PAGE_SIZE), 0);
	assert_untouched(page, 2, 1);
	vm_file_put(&r.file);
	assert_int_equal(r.released, 1);
	__free_pages(page, 2);
	assert_int_equal(sim_log_take(NULL), 0);
	finish();
}

COVERS("S0.22");
static void test_insert_mapping_outlives_its_allocator(void **state)
{
	struct page *page;
	struct ring r;
	long at;
	u64 v;

	start();
	page = ring_of_order(&r, 1, true);
	at = ring_map(&r, MAP_SHARED);
	assert_true(at > 0);
	__free_pages(page, 1);
	/* freed by the last entry */
	assert_untouched(page, 1, 2);
	sim_mm_use(mm);
	assert_int_equal(sim_load64((unsigned long)at, &v), 0);
	assert_int_equal(vm_munmap(mm, (unsigned long)at, 2 * PAGE_SIZE), 0);
	assert_int_equal(memdesc_type(page_memdesc(page)), MEMDESC_FREE);
	vm_file_put(&r.file);
	finish();
}

COVERS("S0.14 S3.8 SX.2");
static void test_insert_pins_are_references_of_the_slow_path(void **state)
{
	struct page *page, *got[4];
	struct ring r;
	long at;

	start();
	page = ring_of_order(&r, 2, true);
	at = ring_map(&r, MAP_SHARED);
	assert_true(at > 0);
	assert_int_equal(
		pin_user_pages_fast(mm, (unsigned long)at, 4, FOLL_WRITE | FOLL_FAST_ONLY, got), 0);
	assert_untouched(page, 2, 5);
	assert_int_equal(pin_user_pages_fast(mm, (unsigned long)at, 4, FOLL_WRITE, got), 4);
	for (int i = 0; i < 4; i++)
		assert_ptr_equal(got[i], page + i);
	/* one each, with no bias */
	assert_untouched(page, 2, 9);
	unpin_user_pages(got, 4);
	assert_int_equal(get_user_pages_fast(mm, (unsigned long)at, 3, 0, got), 3);
	assert_untouched(page, 2, 8);
	for (int i = 0; i < 3; i++)
		put_user_page(got[i]);
	/* by a debugger */
	assert_int_equal(
		access_remote_vm(mm, (unsigned long)at + 4090, "0123456789", 10, FOLL_WRITE), 10);
	assert_memory_equal((char *)page_address(page) + 4090, "0123456789", 10);
	assert_int_equal(vm_munmap(mm, (unsigned long)at, 4 * PAGE_SIZE), 0);
	vm_file_put(&r.file);
	__free_pages(page, 2);
	finish();
}

COVERS("S0.22");
static void test_insert_fork_copies_entries_and_references(void **state)
{
	struct mm_struct *child;
	struct page *page;
	struct ring r;
	long at;
	int err;
	u64 v;

	start();
	page = ring_of_order(&r, 1, true);
	*(u64 *)page_address(page + 1) = 5;
	at = ring_map(&r, MAP_SHARED);
	assert_true(at > 0);
	child = mm_fork(mm, &err);
	assert_non_null(child);
	assert_untouched(page, 1, 1 + 2 + 2);
	sim_mm_use(child);
	assert_int_equal(sim_load64((unsigned long)at + PAGE_SIZE, &v), 0);
	assert_int_equal(v, 5);
	/* shared: both write the same page */
	assert_int_equal(sim_store64((unsigned long)at + PAGE_SIZE, 6), 0);
	assert_int_equal(*(u64 *)page_address(page + 1), 6);
	sim_mm_use(NULL);
	mmput(child);
	assert_untouched(page, 1, 3);
	assert_int_equal(vm_munmap(mm, (unsigned long)at, 2 * PAGE_SIZE), 0);
	vm_file_put(&r.file);
	__free_pages(page, 1);
	finish();
}

COVERS("S0.11 SX.1");
static void test_insert_private_pages_are_copied_when_written(void **state)
{
	struct page *page;
	struct ring r;
	long at;
	u64 v;

	start();
	page = ring_of_order(&r, 0, true);
	*(u64 *)page_address(page) = 11;
	at = ring_map(&r, MAP_PRIVATE);
	assert_true(at > 0);
	sim_mm_use(mm);
	assert_int_equal(sim_load64((unsigned long)at, &v), 0);
	assert_int_equal(v, 11);
	assert_int_equal(sim_store64((unsigned long)at + 8, 12), 0);
	/* the entry's reference went with the entry; the copy is anonymous */
	assert_untouched(page, 0, 1);
	assert_int_equal(((u64 *)page_address(page))[1], 0);
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 1);
	assert_int_equal(sim_load64((unsigned long)at, &v), 0);
	assert_int_equal(v, 11);
	assert_int_equal(vm_munmap(mm, (unsigned long)at, PAGE_SIZE), 0);
	vm_file_put(&r.file);
	__free_pages(page, 0);
	finish();
}

/* ---- what is refused ---- */

static void refused(struct page *page)
{
	struct ring r;

	ring_init(&r);
	r.nr = 1;
	r.pages[0] = page;
	assert_int_equal(ring_map(&r, MAP_SHARED), -EINVAL);
	assert_int_equal(r.err, -EINVAL);
	vm_file_put(&r.file);
	assert_int_equal(r.released, 1);
	assert_int_equal(mm->map_count, 0);
}

COVERS("S0.13 S0.15 S0.19 S0.20 SX.1");
static void test_insert_what_has_no_count_is_refused(void **state)
{
	struct page *counted, *frozen;
	struct folio *anon;
	struct ptdesc *pt;
	struct mgdesc *mg;
	void *obj;

	start();
	counted = alloc_pages(GFP_KERNEL, 0);
	frozen = alloc_frozen_pages(GFP_KERNEL, 0);
	anon = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	pt = pagetable_alloc(GFP_KERNEL, 0);
	mg = mgdesc_alloc(GFP_KERNEL, 0);
	obj = kmalloc(64, GFP_KERNEL);
	assert_true(counted && frozen && anon && pt && mg && obj);
	page_set_mappable(frozen, true);
	refused(counted); /* nobody said that it may be mapped */
	refused(frozen);
	refused(folio_page(anon, 0));
	refused(pfn_to_page(ptdesc_pfn(pt)));
	refused(pfn_to_page(mgdesc_pfn(mg)));
	refused(virt_to_page(obj));
	__free_pages(counted, 0);
	refused(counted); /* free */
	free_frozen_pages(frozen, 0);
	folio_put(anon);
	pagetable_free(pt);
	mgdesc_put(mg);
	kfree(obj);
	finish();
}

static int err_of_second;

static int insert_twice(struct vm_file *file, struct vm_area_struct *vma)
{
	struct ring *r = container_of(file, struct ring, file);
	unsigned long num = 2;
	int err = vm_insert_page(vma, vma->vm_start + PAGE_SIZE, r->pages[0]);

	if (err)
		return err;
	err_of_second = vm_insert_page(vma, vma->vm_start + PAGE_SIZE, r->pages[1]);
	assert_int_equal(vm_insert_page(vma, vma->vm_start + 1, r->pages[1]), -EINVAL);
	assert_int_equal(vm_insert_page(vma, vma->vm_end, r->pages[1]), -EINVAL);
	assert_int_equal(vm_insert_page(vma, vma->vm_start - PAGE_SIZE, r->pages[1]), -EINVAL);
	/* the first fits, the second is taken: partial progress is told */
	assert_int_equal(vm_insert_pages(vma, vma->vm_start, r->pages, &num), -EBUSY);
	assert_int_equal(num, 1);
	return 0;
}

static const struct vm_file_operations twice_fops = { .mmap = insert_twice };

static void test_insert_where_something_is_already(void **state)
{
	struct page *page;
	struct ring r;
	long at;

	start();
	page = ring_of_order(&r, 1, true);
	vm_file_init(&r.file, &twice_fops);
	at = ring_map(&r, MAP_SHARED);
	assert_true(at > 0);
	assert_int_equal(err_of_second, -EBUSY);
	assert_untouched(page, 1, 3);
	assert_int_equal(vm_munmap(mm, (unsigned long)at, 2 * PAGE_SIZE), 0);
	vm_file_put(&r.file);
	__free_pages(page, 1);
	finish();
}

static void test_insert_an_area_larger_than_the_ring(void **state)
{
	struct page *page;
	struct ring r;

	start();
	page = ring_of_order(&r, 1, true);
	assert_int_equal(vm_mmap(mm, 0, 3 * PAGE_SIZE, RW, MAP_SHARED, &r.file, 0), -ENXIO);
	assert_int_equal(vm_mmap(mm, 0, 2 * PAGE_SIZE, RW, MAP_SHARED, &r.file, PAGE_SIZE), -ENXIO);
	assert_untouched(page, 1, 1);
	vm_file_put(&r.file);
	__free_pages(page, 1);
	finish();
}

/* ---- pages given at faults: what SCSI generic and packet sockets do ---- */

static u32 ring_fault(struct vm_fault *vmf)
{
	struct ring *r = container_of(vmf->vma->vm_file, struct ring, file);

	if (vmf->pgoff >= r->nr)
		return VM_FAULT_SIGBUS;
	/* a page of the middle of a large allocation, with a reference for the entry */
	vmf->page = r->pages[vmf->pgoff];
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct ring_vm_ops = { .fault = ring_fault };

static int ring_mmap_later(struct vm_file *file, struct vm_area_struct *vma)
{
	WRITE_ONCE(vma->vm_ops, &ring_vm_ops);
	WRITE_ONCE(vma->vm_flags, vma->vm_flags | VM_MIXEDMAP);
	return 0;
}

static const struct vm_file_operations later_fops = { .mmap = ring_mmap_later };

COVERS("S0.12 S0.13 S0.17 S0.18");
static void test_insert_pages_of_an_allocation_one_fault_at_a_time(void **state)
{
	struct page *page, *got;
	struct ring r;
	long at;
	u64 v;

	start();
	page = ring_of_order(&r, 2, true);
	vm_file_init(&r.file, &later_fops);
	at = ring_map(&r, MAP_SHARED);
	assert_true(at > 0);
	assert_untouched(page, 2, 1);
	sim_mm_use(mm);
	for (unsigned long i = 4; i-- > 0;) {
		assert_int_equal(sim_store64((unsigned long)at + i * PAGE_SIZE, i), 0);
		assert_untouched(page, 2, 1 + (4 - (unsigned int)i));
		assert_int_equal(*(u64 *)page_address(page + i), i);
	}
	assert_int_equal(pin_user_pages_fast(mm, (unsigned long)at + 3 * PAGE_SIZE, 1, 0, &got), 1);
	assert_ptr_equal(got, page + 3);
	assert_untouched(page, 2, 6);
	unpin_user_page(got);
	/* thrown away and found again */
	assert_int_equal(vm_madvise(mm, (unsigned long)at, 4 * PAGE_SIZE, MADV_DONTNEED), 0);
	assert_untouched(page, 2, 1);
	assert_int_equal(sim_load64((unsigned long)at + 2 * PAGE_SIZE, &v), 0);
	assert_int_equal(v, 2);
	assert_int_equal(vm_munmap(mm, (unsigned long)at, 4 * PAGE_SIZE), 0);
	assert_untouched(page, 2, 1);
	vm_file_put(&r.file);
	__free_pages(page, 2);
	assert_int_equal(sim_log_take(NULL), 0);
	finish();
}

/* ---- a folio of a file ---- */

static void test_insert_folio_of_a_file_is_counted_as_mapped(void **state)
{
	struct folio *folio;
	struct page *got;
	struct ring r;
	long at;

	start();
	folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, 1, FOLIO_FILE);
	assert_non_null(folio);
	ring_init(&r);
	r.nr = 2;
	r.pages[0] = folio_page(folio, 1);
	r.pages[1] = folio_page(folio, 0);
	at = ring_map(&r, MAP_SHARED);
	assert_true(at > 0);
	assert_int_equal(folio_mapcount(folio), 2);
	assert_int_equal(folio_ref_count(folio), 3);
	assert_int_equal(get_mm_counter(mm, MM_FILEPAGES), 2);
	assert_int_equal(pin_user_pages_fast(mm, (unsigned long)at, 1, 0, &got), 1);
	assert_ptr_equal(got, folio_page(folio, 1));
	assert_true(folio_maybe_dma_pinned(folio));
	unpin_user_page(got);
	assert_int_equal(vm_munmap(mm, (unsigned long)at, 2 * PAGE_SIZE), 0);
	assert_int_equal(folio_mapcount(folio), 0);
	assert_int_equal(folio_ref_count(folio), 1);
	folio_put(folio);
	vm_file_put(&r.file);
	finish();
}

/* ---- frames ---- */

COVERS("S0.13 S0.14 SX.1 SX.2");
static void test_insert_frozen_frames_are_special(void **state)
{
	struct mm_struct *child;
	struct page *page, *got;
	struct ring r;
	char buf[8];
	long at;
	int err;
	u64 v;

	start();
	page = alloc_frozen_pages(GFP_KERNEL | __GFP_ZERO, 1);
	assert_non_null(page);
	*(u64 *)page_address(page + 1) = 77;
	ring_init(&r);
	r.nr = 2;
	r.pfn = page_to_pfn(page);
	at = ring_map(&r, MAP_SHARED);
	assert_true(at > 0);
	sim_mm_use(mm);
	assert_int_equal(sim_load64((unsigned long)at + PAGE_SIZE, &v), 0);
	assert_int_equal(v, 77);
	assert_int_equal(get_user_pages_fast(mm, (unsigned long)at, 1, 0, &got), -EFAULT);
	assert_int_equal(pin_user_pages_fast(mm, (unsigned long)at, 1, FOLL_WRITE, &got), -EFAULT);
	assert_int_equal(copy_from_user(mm, buf, (unsigned long)at, 8), 8);
	child = mm_fork(mm, &err);
	assert_non_null(child);
	sim_mm_use(child);
	assert_int_equal(sim_store64((unsigned long)at, 78), 0);
	assert_int_equal(*(u64 *)page_address(page), 78);
	sim_mm_use(NULL);
	mmput(child);
	assert_true(memdesc_frozen(page_memdesc(page)));
	assert_int_equal(vm_munmap(mm, (unsigned long)at, 2 * PAGE_SIZE), 0);
	vm_file_put(&r.file);
	free_frozen_pages(page, 1);
	finish();
}

/* Frames that have no word at all: a device's registers. */
static void test_insert_frames_without_words(void **state)
{
	struct page *got;
	struct ring r;
	long at;

	start();
	ring_init(&r);
	r.nr = 2;
	r.pfn = 1ul << 30;
	assert_false(pfn_valid(r.pfn));
	at = ring_map(&r, MAP_SHARED);
	assert_true(at > 0);
	assert_int_equal(get_user_pages_fast(mm, (unsigned long)at, 1, 0, &got), -EFAULT);
	assert_true(mm_validate(mm));
	assert_int_equal(vm_munmap(mm, (unsigned long)at, 2 * PAGE_SIZE), 0);
	/* beyond what an entry can hold */
	r.pfn = 1ul << PTE_PFN_BITS;
	assert_int_equal(ring_map(&r, MAP_SHARED), -EINVAL);
	vm_file_put(&r.file);
	finish();
}

/* ---- step k fails ---- */

#if OCTAVO_FAULTS
static void test_insert_every_step_may_fail(void **state)
{
	struct page *page;
	struct ring r;
	long at = 0;

	start();
	page = ring_of_order(&r, 3, true);
	for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
		for_each_fault(k, mode, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
		{
			at = ring_map(&r, MAP_SHARED);
			hit = octavo_fault_disarm();
			if (at < 0) {
				assert_int_equal(at, -ENOMEM);
				assert_untouched(page, 3, 1);
				assert_int_equal(mm->map_count, 0);
			} else {
				assert_untouched(page, 3, 9);
				assert_int_equal(vm_munmap(mm, (unsigned long)at, 8 * PAGE_SIZE),
						 0);
			}
			assert_true(octavo_validate());
		}
		assert_true(at > 0);
	}
	vm_file_put(&r.file);
	__free_pages(page, 3);
	finish();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_insert_compound_pages_are_mapped_and_never_touched),
		TEST(test_insert_mapping_outlives_its_allocator),
		TEST(test_insert_pins_are_references_of_the_slow_path),
		TEST(test_insert_fork_copies_entries_and_references),
		TEST(test_insert_private_pages_are_copied_when_written),
		TEST(test_insert_what_has_no_count_is_refused),
		TEST(test_insert_where_something_is_already),
		TEST(test_insert_an_area_larger_than_the_ring),
		TEST(test_insert_pages_of_an_allocation_one_fault_at_a_time),
		TEST(test_insert_folio_of_a_file_is_counted_as_mapped),
		TEST(test_insert_frozen_frames_are_special),
		TEST(test_insert_frames_without_words),
#if OCTAVO_FAULTS
		TEST(test_insert_every_step_may_fail),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
