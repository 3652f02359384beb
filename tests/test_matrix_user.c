/* SPDX-License-Identifier: MIT */
/*
 * test_matrix_user.c - the matrix of docs/memdesc.md, of page tables: what becomes of a page of each kind there, and who may
 * look it up.
 *
 * A line a kind of page, a column an operation; every cell is executed on a fresh machine.
 */
#include "matrix_pages.h"

#include <octavo/gup.h>
#include <octavo/mm.h>
#include <octavo/pgtable.h>
#include <octavo/swapops.h>

#define ADDR (1ul << 22)
#define RW   (PROT_READ | PROT_WRITE)

/* What of a page that vm_insert_page() takes is a look-up's. */
enum lookup {
	refused, /* it does not get into page tables that way */
	plain,	 /* without a lock nothing; under it a reference, for a pin too */
	folio,	 /* both ways: a reference, or a pin */
};

struct row {
	const char *name;
	struct subject (*make)(void);
	void (*end)(struct subject *s);
	enum lookup inserted;
};

static const struct row matrix[] = {
	{ "plain counted", counted_0, end_plain, plain },
	{ "plain counted, first", counted_2, end_plain, plain },
	{ "plain counted, inside", counted_2_inside, end_plain, plain },
	{ "plain frozen", frozen_0, end_plain, refused },
	{ "plain frozen, first", frozen_2, end_plain, refused },
	{ "plain frozen, inside", frozen_2_inside, end_plain, refused },
	{ "zero page", zero_page, end_plain, refused },
	{ "reserved", reserved_page, end_nothing, refused },
	{ "large kmalloc", large_kmalloc, end_kmalloc, refused },
	{ "folio of a file", file_0, end_folio, folio },
	/* anonymous ones come with faults: test_matrix_user_anonymous() */
	{ "anonymous folio, first", anon_2, end_folio, refused },
	{ "anonymous folio, inside", anon_2_inside, end_folio, refused },
	{ "slab", slab_page, end_slab, refused },
	{ "page table", table_0, end_table, refused },
	{ "page table, inside", table_1_inside, end_table, refused },
	{ "managed", managed_0, end_managed, refused },
	{ "managed, inside", managed_2_inside, end_managed, refused },
	{ "movable", movable_0, end_movable, refused },
	{ "movable, inside", movable_2_inside, end_movable, refused },
	{ "poisoned", poisoned_page, end_poisoned, refused },
	{ "free", free_page, end_nothing, refused },
	{ "device, idle", device_idle, end_word, refused },
	{ "a type to come", future_type, end_word, refused },
};

#define for_each_row(row) \
	for (const struct row *row = matrix; row < matrix + ARRAY_SIZE(matrix); row++)

#define CHECK(row, c)                                            \
	do {                                                     \
		if (!(c))                                        \
			fail_msg("%s: not %s", (row)->name, #c); \
	} while (0)

/* ---- an address space, and a driver that maps the page ---- */

static struct mm_struct *mm;
static struct subject it;

struct driver {
	struct vm_file file;
	bool as_frame; /* remap_pfn_range() */
	int err;
};

static int driver_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	struct driver *d = container_of(file, struct driver, file);

	d->err = d->as_frame ? remap_pfn_range(vma, vma->vm_start, page_to_pfn(it.page), PAGE_SIZE,
					       vma->vm_page_prot)
			     : vm_insert_page(vma, vma->vm_start, it.page);
	return 0;
}

static const struct vm_file_operations driver_ops = { .mmap = driver_mmap };

static struct driver driver;

/* Return: what the driver's call said. */
static int map_it(bool as_frame)
{
	driver = (struct driver){ .as_frame = as_frame };
	vm_file_init(&driver.file, &driver_ops);
	assert_int_equal(vm_mmap(mm, ADDR, PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, &driver.file, 0),
			 ADDR);
	return driver.err;
}

static void unmap_it(void)
{
	assert_int_equal(vm_munmap(mm, ADDR, PAGE_SIZE), 0);
	vm_file_put(&driver.file);
}

static void fresh(const struct row *row)
{
	matrix_boot();
	mm = mm_alloc();
	assert_non_null(mm);
	it = row->make();
}

static void finish(const struct row *row)
{
	row->end(&it);
	it = (struct subject){ 0 };
	mmput(mm);
	shutdown_clean();
}

static pte_t entry(void)
{
	struct pt_pos pos;

	rcu_read_lock();
	if (!pgtable_walk(mm, ADDR, PGTABLE_LEVEL_PTE, &pos))
		pos.pte = __pte(0);
	rcu_read_unlock();
	return pos.pte;
}

static struct vm_area_struct *area(void)
{
	struct vm_area_struct *vma;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, ADDR);
	mmap_read_unlock(mm);
	assert_non_null(vma);
	return vma;
}

/* One page, by get (@pin: by pin), with locks or without. Return: as the call; the page in *@page. */
static long look_up(bool pin, bool fast, u32 flags, struct page **page)
{
	flags |= fast ? FOLL_FAST_ONLY : 0;
	*page = NULL;
	return pin ? pin_user_pages_fast(mm, ADDR, 1, flags, page)
		   : get_user_pages_fast(mm, ADDR, 1, flags, page);
}

static void give_back(bool pin, struct page *page)
{
	if (pin)
		unpin_user_page(page);
	else
		put_user_page(page);
}

/* ---- the cells ---- */

COVERS("S0.11 S0.12 S0.13 S0.15 S0.16 SX.3");
static void test_matrix_user_insert_page(void **state)
{
	for_each_row(row)
	{
		unsigned int count;

		fresh(row);
		if (row->inserted == plain) {
			/* only if it says that it may be mapped */
			CHECK(row, map_it(false) == -EINVAL);
			unmap_it();
			page_set_mappable(it.page, true);
		}
		count = page_count(it.page);
		CHECK(row, map_it(false) == (row->inserted == refused ? -EINVAL : 0));
		CHECK(row, page_count(it.page) == count + (row->inserted != refused));
		CHECK(row, pte_present(entry()) == (row->inserted != refused));
		if (row->inserted != refused)
			CHECK(row,
			      !pte_special(entry()) && pte_pfn(entry()) == page_to_pfn(it.page));
		unmap_it();
		CHECK(row, page_count(it.page) == count);
		finish(row);
	}
}

COVERS("S0.13 S3.4 S3.28 SX.2");
static void test_matrix_user_normal_page_and_folio(void **state)
{
	for_each_row(row)
	{
		if (row->inserted == refused)
			continue;
		fresh(row);
		if (row->inserted == plain)
			page_set_mappable(it.page, true);
		CHECK(row, map_it(false) == 0);
		CHECK(row, vm_normal_page(area(), ADDR, entry(), PGTABLE_LEVEL_PTE) == it.page);
		CHECK(row, vm_normal_folio(area(), ADDR, entry(), PGTABLE_LEVEL_PTE) ==
				   (row->inserted == folio ? it.desc : NULL));
		unmap_it();
		finish(row);
	}
}

COVERS("S0.14 S3.8 S3.26 SX.2");
static void test_matrix_user_look_up_of_inserted(void **state)
{
	for_each_row(row)
	{
		if (row->inserted == refused)
			continue;
		for (unsigned int how = 0; how < 4; how++) {
			bool pin = how & 1, fast = how & 2, has = row->inserted == folio || !fast;
			unsigned int count;
			struct page *page;

			fresh(row);
			if (row->inserted == plain)
				page_set_mappable(it.page, true);
			CHECK(row, map_it(false) == 0);
			count = page_count(it.page);
			CHECK(row, look_up(pin, fast, FOLL_WRITE, &page) == has);
			CHECK(row, page == (has ? it.page : NULL));
			if (has && row->inserted == plain)
				CHECK(row, page_count(it.page) == count + 1);
			else if (has && !pin)
				CHECK(row, page_count(it.page) == count + 1);
			else if (has)
				CHECK(row, folio_maybe_dma_pinned(it.desc));
			if (has)
				give_back(pin, page);
			CHECK(row, page_count(it.page) == count);
			if (row->inserted == folio)
				CHECK(row, !folio_maybe_dma_pinned(it.desc));
			unmap_it();
			finish(row);
		}
	}
}

/* Any frame can be there as a frame: its word is nobody's business. */
COVERS("S0.13 SX.2 SX.3");
static void test_matrix_user_special_entries(void **state)
{
	for_each_row(row)
	{
		unsigned int count;
		struct page *page;
		unsigned long word;

		fresh(row);
		count = page_count(it.page);
		word = page_memdesc(it.page).v;
		CHECK(row, map_it(true) == 0);
		CHECK(row, pte_present(entry()) && pte_special(entry()));
		CHECK(row, !vm_normal_page(area(), ADDR, entry(), PGTABLE_LEVEL_PTE));
		CHECK(row, !vm_normal_folio(area(), ADDR, entry(), PGTABLE_LEVEL_PTE));
		for (unsigned int pin = 0; pin < 2; pin++) {
			CHECK(row, look_up(pin, true, 0, &page) == 0);
			CHECK(row, look_up(pin, false, 0, &page) == -EFAULT);
		}
		unmap_it();
		/* a free one may be a page table's by now */
		if (row->make != free_page)
			CHECK(row, page_count(it.page) == count && page_memdesc(it.page).v == word);
		finish(row);
	}
}

/* ---- what comes with faults ---- */

static void map_anon(void)
{
	matrix_boot();
	mm = mm_alloc();
	assert_non_null(mm);
	assert_int_equal(
		vm_mmap(mm, ADDR, PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0),
		ADDR);
}

static void unmap_anon(void)
{
	mmput(mm);
	shutdown_clean();
}

COVERS("S3.8 S3.26");
static void test_matrix_user_anonymous(void **state)
{
	for (unsigned int how = 0; how < 4; how++) {
		bool pin = how & 1, fast = how & 2;
		struct folio *f;
		struct page *page;

		map_anon();
		assert_int_equal(mm_fault(mm, ADDR, FAULT_FLAG_WRITE), 0);
		page = vm_normal_page(area(), ADDR, entry(), PGTABLE_LEVEL_PTE);
		assert_ptr_equal(page, pfn_to_page(pte_pfn(entry())));
		f = vm_normal_folio(area(), ADDR, entry(), PGTABLE_LEVEL_PTE);
		assert_ptr_equal(f, page_folio(page));
		assert_true(folio_test_anon(f));
		assert_int_equal(look_up(pin, fast, FOLL_WRITE, &page), 1);
		assert_int_equal(folio_maybe_dma_pinned(f), pin);
		if (!pin)
			assert_int_equal(folio_ref_count(f), 2);
		give_back(pin, page);
		assert_int_equal(folio_ref_count(f), 1);
		unmap_anon();
	}
}

/* Returned for reading as it is, no reference taken and none dropped; broken before it is written to. */
COVERS("S3.8");
static void test_matrix_user_zero_page(void **state)
{
	for (unsigned int pin = 0; pin < 2; pin++) {
		struct page *zero, *page;
		unsigned long word;

		map_anon();
		assert_int_equal(mm_fault(mm, ADDR, 0), 0);
		zero = pfn_to_page(pte_pfn(entry()));
		word = page_memdesc(zero).v;
		assert_null(vm_normal_page(area(), ADDR, entry(), PGTABLE_LEVEL_PTE));
		assert_null(vm_normal_folio(area(), ADDR, entry(), PGTABLE_LEVEL_PTE));
		assert_int_equal(look_up(pin, true, 0, &page), 0);
		assert_int_equal(look_up(pin, false, 0, &page), 1);
		assert_ptr_equal(page, zero);
		assert_int_equal(page_memdesc(zero).v, word);
		give_back(pin, page);
		assert_int_equal(page_memdesc(zero).v, word);
		assert_int_equal(look_up(pin, false, FOLL_WRITE, &page), 1);
		assert_ptr_not_equal(page, zero);
		give_back(pin, page);
		unmap_anon();
	}
}

/* A poisoned page is in page tables as an entry of swap form only. */
COVERS("S3.8");
static void test_matrix_user_poisoned(void **state)
{
	struct pt_pos pos;
	struct page *page;

	map_anon();
	mmap_read_lock(mm);
	assert_int_equal(pgtable_alloc_to(mm, ADDR, PGTABLE_LEVEL_PTE, GFP_KERNEL, &pos), 0);
	assert_true(pte_offset_lock(mm, ADDR, PGTABLE_LEVEL_PTE, &pos));
	set_pte(pos.ptep, swp_entry_to_pte(swp_entry(SWP_HWPOISON, 7)));
	pte_unlock(&pos);
	mmap_read_unlock(mm);
	for (unsigned int how = 0; how < 4; how++)
		assert_int_equal(look_up(how & 1, how & 2, 0, &page), how & 2 ? 0 : -EHWPOISON);
	unmap_anon();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_matrix_user_insert_page),
		TEST(test_matrix_user_normal_page_and_folio),
		TEST(test_matrix_user_look_up_of_inserted),
		TEST(test_matrix_user_special_entries),
		TEST(test_matrix_user_anonymous),
		TEST(test_matrix_user_zero_page),
		TEST(test_matrix_user_poisoned),
	};

	return cmocka_run_group_tests_name("matrix_user", tests, NULL, NULL);
}
