// SPDX-License-Identifier: MIT
/*
 * test_gup.c - get_user_pages, pins, and copies to and from user memory.
 */
#include "test.h"

#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static struct mm_struct *mm;

static unsigned long map(unsigned long bytes, unsigned long prot)
{
	long at = vm_mmap(mm, 0, bytes, prot, ANON, NULL, 0);

	assert_true(at > 0);
	return (unsigned long)at;
}

static void start(void)
{
	boot_small(64, 2);
	mm = mm_alloc();
	assert_non_null(mm);
}

static void finish(void)
{
	assert_true(octavo_validate());
	mmput(mm);
	shutdown_clean();
}

static void test_gup_copies_what_was_stored(void **state)
{
	char out[3 * PAGE_SIZE], in[3 * PAGE_SIZE];
	unsigned long at;

	start();
	at = map(8 * PAGE_SIZE, RW);
	for (unsigned long i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7 + i / 251);
	assert_int_equal(copy_to_user(mm, at + 100, out, sizeof(out)), 0);
	memset(in, 0, sizeof(in));
	assert_int_equal(copy_from_user(mm, in, at + 100, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(out));
	assert_int_equal(clear_user(mm, at + 101, PAGE_SIZE), 0);
	memset(out + 1, 0, PAGE_SIZE);
	assert_int_equal(copy_from_user(mm, in, at + 100, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(out));
	/* the last bytes that exist, and beyond */
	assert_int_equal(copy_to_user(mm, at + 8 * PAGE_SIZE - 10, out, 30), 20);
	assert_int_equal(copy_from_user(mm, in, at + 8 * PAGE_SIZE - 10, 30), 20);
	assert_int_equal(copy_from_user(mm, in, ~0ul - 5, 30), 30);
	assert_int_equal(copy_from_user(mm, in, mm->task_size - 1, 30), 30);
	finish();
}

/* Copies may do what the program may: read what it may only write to or execute, let its stack grow; look-ups may not. */
static void test_gup_copies_as_the_program_would(void **state)
{
	static const unsigned long prots[] = { PROT_WRITE, PROT_EXEC, PROT_NONE };
	unsigned long at, low, gap = min(256ul, TASK_SIZE_MAX >> (PAGE_SHIFT + 7)) * PAGE_SIZE;
	struct page *page;
	char buf[64];

	start();
	for (int i = 0; i < 3; i++) {
		at = map(2 * PAGE_SIZE, prots[i]);
		memset(buf, 1, sizeof(buf));
		assert_int_equal(copy_from_user(mm, buf, at + PAGE_SIZE - 8, 64),
				 prots[i] ? 0 : 64);
		assert_int_equal(buf[63], prots[i] ? 0 : 1);
		assert_int_equal(copy_to_user(mm, at, buf, 8), prots[i] == PROT_WRITE ? 0 : 8);
		assert_int_equal(get_user_pages_remote(mm, at + PAGE_SIZE, 1, 0, &page), -EFAULT);
	}
	at = mm->task_size / 4 & PAGE_MASK;
	assert_int_equal(vm_mmap(mm, at, PAGE_SIZE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, NULL, 0),
			 at);
	assert_int_equal(get_user_pages_fast(mm, at - PAGE_SIZE, 1, FOLL_WRITE, &page), -EFAULT);
	assert_int_equal(access_remote_vm(mm, at - 8, buf, 8, 0), 0);
	assert_int_equal(find_vma(mm, at)->vm_start, at);
	/* over both ends of what it has grown by; to where nothing is yet; with nothing to copy from */
	low = at - 3 * PAGE_SIZE;
	assert_int_equal(copy_to_user(mm, low + PAGE_SIZE - 32, buf, 64), 0);
	assert_int_equal(find_vma(mm, at)->vm_start, low);
	assert_int_equal(copy_from_user(mm, buf, low - 32, 64), 0);
	assert_int_equal(clear_user(mm, low - 2 * PAGE_SIZE, 4 * PAGE_SIZE), 0);
	low -= 2 * PAGE_SIZE;
	assert_int_equal(find_vma(mm, at)->vm_start, low);
	/* not into its gap, nor beyond its limit */
	assert_int_equal(
		vm_mmap(mm, low - gap - 2 * PAGE_SIZE, PAGE_SIZE, RW, ANON | MAP_FIXED, NULL, 0),
		low - gap - 2 * PAGE_SIZE);
	assert_int_equal(copy_to_user(mm, low - 2 * PAGE_SIZE, buf, 8), 8);
	mm->limits.stack = at + PAGE_SIZE - low;
	assert_int_equal(copy_to_user(mm, low - 8, buf, 8), 8);
	mm->limits.stack = ~0ul;
	assert_int_equal(copy_to_user(mm, low - 8, buf, 16), 0);
	assert_int_equal(find_vma(mm, at)->vm_start, low - PAGE_SIZE);
	finish();
}

static void test_gup_fast_takes_what_is_mapped(void **state)
{
	struct page *pages[64];
	unsigned long at;

	start();
	at = map(64 * PAGE_SIZE, RW);
	assert_int_equal(get_user_pages_fast(mm, at, 4, FOLL_FAST_ONLY | FOLL_WRITE, pages), 0);
	assert_int_equal(get_user_pages_fast(mm, at, 4, FOLL_WRITE, pages), 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(folio_ref_count(page_folio(pages[i])), 2);
		put_user_page(pages[i]);
	}
	assert_int_equal(pin_user_pages_fast(mm, at, 64, FOLL_FAST_ONLY | FOLL_WRITE, pages), 4);
	for (int i = 0; i < 4; i++)
		assert_true(folio_maybe_dma_pinned(page_folio(pages[i])));
	unpin_user_pages(pages, 4);
	for (int i = 0; i < 4; i++)
		assert_false(folio_maybe_dma_pinned(page_folio(pages[i])));
	finish();
}

/* ---- large folios ---- */

/* As large as it gets at the last level, and one entry above it. */
#define LARGE (OCTAVO_TABLE_BITS > 4 ? 4u : 2u)
#define LEAF  level_order(PGTABLE_LEVEL_PMD)

static unsigned long map_folios(unsigned int order, unsigned long nr)
{
	unsigned long size = PAGE_SIZE << order, at;
	long ret;

	mm->folio_orders = 1u | 1u << order;
	ret = vm_mmap(mm, 0, (nr + 1) * size, RW, ANON, NULL, 0);
	assert_true(ret > 0);
	at = ALIGN((unsigned long)ret, size);
	assert_int_equal(vm_madvise(mm, at, nr * size, MADV_POPULATE_WRITE), 0);
	return at;
}

static struct folio *folio_at(unsigned long addr)
{
	struct page *page;
	struct folio *folio;

	assert_int_equal(get_user_pages_fast(mm, addr, 1, 0, &page), 1);
	folio = page_folio(page);
	assert_non_null(folio);
	put_user_page(page);
	return folio;
}

static u32 pincount(const struct folio *folio)
{
	return folio_large(folio)->pincount;
}

COVERS("S3.8 S3.9 S3.26 SX.6");
static void test_gup_fast_takes_runs_of_large_folios(void **state)
{
	struct page *pages[64];
	struct folio *folio;
	unsigned long at, nr = 1ul << LARGE;
	u32 before;

	start();
	at = map_folios(LARGE, 3);
	folio = folio_at(at);
	assert_int_equal(folio_order(folio), LARGE);
	before = folio_ref_count(folio);
	/* from the middle of the first to the middle of the last */
	assert_int_equal(pin_user_pages_fast(mm, at + PAGE_SIZE + 5, 2 * nr,
					     FOLL_FAST_ONLY | FOLL_WRITE, pages),
			 2 * nr);
	for (unsigned long i = 0; i < 2 * nr; i++)
		assert_true(page_folio(pages[i]) == folio_at(at + (i + 1) * PAGE_SIZE));
	assert_int_equal(pincount(folio), nr - 1);
	assert_int_equal(folio_ref_count(folio), before + nr - 1);
	assert_int_equal(pincount(folio_at(at + nr * PAGE_SIZE)), nr);
	assert_int_equal(pincount(folio_at(at + 2 * nr * PAGE_SIZE)), 1);
	unpin_user_pages(pages, 2 * nr);
	assert_int_equal(pincount(folio), 0);
	assert_int_equal(folio_ref_count(folio), before);
	/* by range of pages, across folios that lie side by side or not */
	assert_int_equal(pin_user_pages_fast(mm, at, nr, FOLL_WRITE, pages), nr);
	unpin_user_page_range_dirty_lock(pages[0], nr, true);
	assert_int_equal(pincount(folio), 0);
	assert_true(folio_test_flag(folio, PG_dirty));
	finish();
}

/* References of neighbours in large folios, small ones, and the zero page, which has none. */
static void test_put_user_pages_by_runs(void **state)
{
	enum { SMALL = 40, ZERO = 2 };
	struct page *pages[64 + SMALL + ZERO];
	unsigned long at[3], nr = 1ul << LARGE, got = 0;

	start();
	at[0] = map_folios(LARGE, 2);
	mm->folio_orders = 1;
	at[1] = map(SMALL * PAGE_SIZE, RW);
	at[2] = map(ZERO * PAGE_SIZE, RW);
	assert_int_equal(get_user_pages_fast(mm, at[0] + PAGE_SIZE, 2 * nr - 1, FOLL_WRITE, pages),
			 2 * nr - 1);
	got = 2 * nr - 1;
	assert_int_equal(get_user_pages_fast(mm, at[2], ZERO, 0, pages + got), ZERO);
	assert_null(page_folio(pages[got]));
	got += ZERO;
	assert_int_equal(get_user_pages_fast(mm, at[1], SMALL, FOLL_WRITE, pages + got), SMALL);
	got += SMALL;
	/* one of them twice, and not in order */
	pages[got] = pages[1];
	get_page(pages[got++]);
	put_user_pages(pages, got);
	assert_int_equal(folio_ref_count(folio_at(at[0])), nr);
	assert_int_equal(folio_ref_count(folio_at(at[0] + nr * PAGE_SIZE)), nr);
	for (unsigned long i = 0; i < SMALL; i++)
		assert_int_equal(folio_ref_count(folio_at(at[1] + i * PAGE_SIZE)), 1);
	put_user_pages(pages, 0);
	finish();
}

/* Small folios side by side, more than are looked up at once, and what is left of a large one between them. */
static void test_unpin_range_of_small_folios(void **state)
{
	enum { ORDER = 6, NR = 1 << ORDER, LEFT = 48 };
	struct folio *folio, *last = NULL;
	struct page *page;

	start();
	folio = folio_alloc(GFP_KERNEL, ORDER, FOLIO_ANON);
	assert_non_null(folio);
	page = folio_page(folio, 0);
	folio_lock(folio);
	assert_int_equal(folio_split(folio, 3, 0, GFP_KERNEL), 0);
	for (unsigned long i = 0; i < NR; i += 8)
		if (i != LEFT)
			assert_int_equal(folio_split(page_folio(page + i), 0, 0, GFP_KERNEL), 0);
	for (unsigned long i = 0; i < NR; i++) {
		folio = page_folio(page + i);
		if (folio_test_locked(folio))
			folio_unlock(folio);
		assert_true(folio_try_pin(folio, 1));
	}
	unpin_user_page_range_dirty_lock(page, 3, false);
	assert_false(folio_test_flag(page_folio(page), PG_dirty));
	unpin_user_page_range_dirty_lock(page + 3, NR - 3, true);
	for (unsigned long i = 0; i < NR; i++) {
		folio = page_folio(page + i);
		if (folio == last)
			continue;
		if (last)
			folio_put(last);
		assert_int_equal(folio_ref_count(folio), 1);
		assert_false(folio_maybe_dma_pinned(folio));
		assert_int_equal(folio_test_flag(folio, PG_dirty), i >= 3);
		last = folio;
	}
	folio_put(last);
	finish();
}

COVERS("S3.9 S3.26 S1.41");
static void test_gup_fast_takes_part_of_a_leaf(void **state)
{
	unsigned long at, nr = 1ul << LEAF, part = nr / 2 + 1;
	struct page **pages = calloc(nr, sizeof(*pages));
	struct folio *folio;

	assert_non_null(pages);
	start();
	at = map_folios(LEAF, 2);
	folio = folio_at(at);
	assert_int_equal(folio_order(folio), LEAF);
	assert_int_equal(folio_entire_mapcount(folio), 1);
	assert_int_equal(
		pin_user_pages_fast(mm, at + PAGE_SIZE, part, FOLL_FAST_ONLY | FOLL_WRITE, pages),
		part);
	assert_int_equal(pincount(folio), part);
	assert_ptr_equal(pages[part - 1], folio_page(folio, part));
	unpin_user_pages(pages, part);
	/* over the end of it, slow: the same */
	mmap_read_lock(mm);
	assert_int_equal(pin_user_pages(mm, at + PAGE_SIZE, nr, FOLL_WRITE, pages), nr);
	mmap_read_unlock(mm);
	assert_int_equal(pincount(folio), nr - 1);
	assert_int_equal(pincount(folio_at(at + nr * PAGE_SIZE)), 1);
	unpin_user_pages(pages, nr);
	free(pages);
	finish();
}

/* ---- what is refused ---- */

COVERS("S3.26");
static void test_gup_errors(void **state)
{
	struct page *pages[4] = { 0 };
	unsigned long at;

	start();
	at = map(4 * PAGE_SIZE, RW);
	assert_int_equal(vm_munmap(mm, at + 2 * PAGE_SIZE, PAGE_SIZE), 0);
	/* what lies before a hole is given, the hole itself is an error */
	assert_int_equal(get_user_pages_fast(mm, at, 4, FOLL_WRITE, pages), 2);
	put_user_page(pages[0]);
	put_user_page(pages[1]);
	assert_int_equal(get_user_pages_fast(mm, at + 2 * PAGE_SIZE, 1, 0, pages), -EFAULT);
	assert_int_equal(vm_mprotect(mm, at, PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(get_user_pages_fast(mm, at, 1, FOLL_WRITE, pages), -EFAULT);
	assert_int_equal(get_user_pages_fast(mm, at, 1, 0, pages), 1);
	put_user_page(pages[0]);
	assert_int_equal(vm_mprotect(mm, at, PAGE_SIZE, PROT_NONE), 0);
	assert_int_equal(get_user_pages_fast(mm, at, 1, 0, pages), -EFAULT);
	assert_int_equal(pin_user_pages_fast(mm, at + 3 * PAGE_SIZE, 1, FOLL_NOFAULT, pages),
			 -EFAULT);
	/* flags */
	assert_int_equal(get_user_pages_fast(mm, at, 1, FOLL_LONGTERM, pages), -EINVAL);
	assert_int_equal(get_user_pages_fast(mm, at, 1, FOLL_PIN, pages), -EINVAL);
	assert_int_equal(pin_user_pages_fast(mm, at, 1, 1u << 31, pages), -EINVAL);
	assert_int_equal(pin_user_pages_remote(mm, at, 1, FOLL_FAST_ONLY, pages), -EINVAL);
	assert_int_equal(get_user_pages_fast(mm, at, 1, 0, NULL), -EINVAL);
	/* addresses that wrap, and kernel ones */
	assert_int_equal(get_user_pages_fast(mm, ~0ul, 1, 0, pages), -EFAULT);
	assert_int_equal(get_user_pages_fast(mm, mm->task_size, 1, 0, pages), -EFAULT);
	assert_int_equal(get_user_pages_fast(mm, at, ~0ul, 0, pages), -EFAULT);
	assert_int_equal(get_user_pages_fast(mm, at, ~0ul >> PAGE_SHIFT, 0, pages), -EFAULT);
	finish();
}

COVERS("SX.1 S3.26");
static void test_gup_zero_page_has_no_reference(void **state)
{
	struct page *page, *own;
	unsigned long at;

	start();
	at = map(PAGE_SIZE, RW);
	assert_int_equal(get_user_pages_fast(mm, at, 1, 0, &page), 1);
	assert_int_equal(page_to_pfn(page), octavo_state.space.zero_pfn);
	assert_true(memdesc_frozen(page_memdesc(page)));
	put_user_page(page);
	assert_int_equal(pin_user_pages_fast(mm, at, 1, 0, &page), 1);
	assert_int_equal(page_to_pfn(page), octavo_state.space.zero_pfn);
	unpin_user_page(page);
	/* to be written to: a page of its own */
	assert_int_equal(pin_user_pages_fast(mm, at, 1, FOLL_WRITE, &own), 1);
	assert_ptr_not_equal(page, own);
	assert_int_equal(*(u64 *)page_address(own), 0);
	unpin_user_page(own);
	finish();
}

/* ---- fork ---- */

static struct mm_struct *fork_it(void)
{
	int err;
	struct mm_struct *child = mm_fork(mm, &err);

	assert_non_null(child);
	return child;
}

static u64 read_user(struct mm_struct *m, unsigned long at)
{
	u64 v;

	assert_int_equal(copy_from_user(m, &v, at, 8), 0);
	return v;
}

static void write_user(struct mm_struct *m, unsigned long at, u64 v)
{
	assert_int_equal(copy_to_user(m, at, &v, 8), 0);
}

COVERS("S2.29 S2.30 S2.32 S3.26");
static void test_gup_pinned_page_stays_the_parents_at_fork(void **state)
{
	for (unsigned int order = 0; order <= LEAF; order += order ? LEAF - LARGE : LARGE) {
		struct mm_struct *child;
		struct page *page, *again;
		unsigned long at;

		start();
		at = map_folios(order, 2);
		write_user(mm, at, 1);
		assert_int_equal(pin_user_pages_fast(mm, at, 1, FOLL_WRITE, &page), 1);
		child = fork_it();
		/* the child has a copy already: what the device writes is the parent's alone */
		*(u64 *)page_address(page) = 2;
		assert_int_equal(read_user(child, at), 1);
		assert_int_equal(read_user(mm, at), 2);
		/* and the parent writes where the device looks */
		write_user(mm, at, 3);
		assert_int_equal(*(u64 *)page_address(page), 3);
		assert_int_equal(get_user_pages_fast(mm, at, 1, FOLL_WRITE, &again), 1);
		assert_ptr_equal(page, again);
		put_user_page(again);
		write_user(child, at, 4);
		assert_int_equal(read_user(mm, at), 3);
		unpin_user_page(page);
		mmput(child);
		finish();
	}
}

COVERS("S2.30 S3.26");
static void test_gup_pinning_a_shared_page_unshares_it(void **state)
{
	for (u32 flags = 0; flags <= FOLL_WRITE; flags += FOLL_WRITE) {
		struct page *before, *page;
		struct mm_struct *child;
		unsigned long at;

		start();
		at = map(PAGE_SIZE, RW);
		write_user(mm, at, 5);
		child = fork_it();
		assert_int_equal(get_user_pages_fast(mm, at, 1, 0, &before), 1);
		assert_int_equal(pin_user_pages_fast(mm, at, 1, flags | FOLL_FAST_ONLY, &page), 0);
		assert_int_equal(pin_user_pages_fast(mm, at, 1, flags, &page), 1);
		/* the parent has moved to a page of its own, and will stay there */
		assert_ptr_not_equal(before, page);
		assert_true(folio_test_anon_exclusive(page_folio(page), 0));
		write_user(mm, at, 6);
		assert_int_equal(*(u64 *)page_address(page), 6);
		assert_int_equal(read_user(child, at), 5);
		put_user_page(before);
		unpin_user_page(page);
		mmput(child);
		finish();
	}
}

/* More than are looked at together. */
#define MANY 80

/* Of many pages the one at @shared is not exclusive: those before it are pinned, and nothing else is. */
static void pin_up_to(unsigned long at, unsigned long shared)
{
	struct page *all[MANY], *pages[MANY];

	assert_int_equal(get_user_pages_fast(mm, at, MANY, FOLL_FAST_ONLY, all), MANY);
	assert_int_equal(pin_user_pages_fast(mm, at, MANY, FOLL_FAST_ONLY, pages), shared);
	for (unsigned long i = 0; i < MANY; i++) {
		struct folio *folio = page_folio(all[i]);

		/* the other one of the shared page is the child's */
		assert_int_equal(folio_ref_count(folio),
				 i < shared ? 2 + GUP_PIN_COUNTING_BIAS : 2 + (i == shared));
		put_user_page(all[i]);
	}
	assert_memory_equal(all, pages, shared * sizeof(*all));
	unpin_user_pages(pages, shared);
}

COVERS("S2.30 S3.9 S3.26");
static void test_gup_fast_stops_at_a_shared_page(void **state)
{
	static const unsigned long where[] = { 0, 1, 31, 32, 33, MANY - 1 };

	for (unsigned int w = 0; w < ARRAY_SIZE(where); w++) {
		struct mm_struct *child;
		unsigned long at;

		start();
		at = map(MANY * PAGE_SIZE, RW);
		for (unsigned long i = 0; i < MANY; i++)
			write_user(mm, at + i * PAGE_SIZE, i);
		child = fork_it();
		for (unsigned long i = 0; i < MANY; i++)
			if (i != where[w])
				write_user(mm, at + i * PAGE_SIZE, i);
		/* writable entries are not asked whether they are exclusive */
		assert_int_equal(vm_mprotect(mm, at, MANY * PAGE_SIZE, PROT_READ), 0);
		pin_up_to(at, where[w]);
		mmput(child);
		finish();
	}
}

COVERS("S2.30 S3.26");
static void test_gup_fast_does_not_pin_a_shared_large_folio(void **state)
{
	unsigned long at, nr = 1ul << LARGE;
	struct page *pages[1ul << LARGE];
	struct mm_struct *child;
	struct folio *folio;

	start();
	at = map_folios(LARGE, 1);
	child = fork_it();
	folio = folio_at(at);
	assert_int_equal(folio_order(folio), LARGE);
	assert_int_equal(pin_user_pages_fast(mm, at, nr, FOLL_FAST_ONLY, pages), 0);
	assert_int_equal(pincount(folio), 0);
	mmput(child);
	finish();
}

COVERS("S3.26");
static void test_gup_unpins_any_mixture(void **state)
{
	unsigned long small, large, nr = 1ul << LARGE, n = 0;
	struct folio *folio[MANY];
	struct page *pages[MANY];

	start();
	large = map_folios(LARGE, 1);
	mm->folio_orders = 1;
	small = map(40 * PAGE_SIZE, RW);
	/* twice each, 19 of them; then the zero page; a large folio from its second page on; others */
	for (int round = 0; round < 2; round++, n += 19)
		assert_int_equal(pin_user_pages_fast(mm, small, 19, FOLL_WRITE, pages + n), 19);
	assert_int_equal(pin_user_pages_fast(mm, small + 39 * PAGE_SIZE, 1, 0, pages + n++), 1);
	assert_int_equal(pin_user_pages_fast(mm, large + PAGE_SIZE, nr - 1, FOLL_WRITE, pages + n),
			 nr - 1);
	n += nr - 1;
	assert_int_equal(pin_user_pages_fast(mm, small + 19 * PAGE_SIZE, 2, FOLL_WRITE, pages + n),
			 2);
	n += 2;
	for (unsigned long i = 0; i < n; i++)
		folio[i] = page_folio(pages[i]);
	unpin_user_pages_dirty_lock(pages, n, true);
	for (unsigned long i = 0; i < n; i++) {
		if (!folio[i]) {
			assert_int_equal(page_to_pfn(pages[i]), octavo_state.space.zero_pfn);
			continue;
		}
		assert_false(folio_maybe_dma_pinned(folio[i]));
		assert_int_equal(folio_ref_count(folio[i]), folio_nr_pages(folio[i]));
		assert_true(folio_test_flag(folio[i], PG_dirty));
	}
	finish();
}

COVERS("S3.26");
static void test_gup_fast_stays_out_of_a_fork(void **state)
{
	struct page *page;
	unsigned long at;

	start();
	at = map(PAGE_SIZE, RW);
	write_user(mm, at, 1);
	mm->write_protect_seq++;
	assert_int_equal(pin_user_pages_fast(mm, at, 1, FOLL_WRITE | FOLL_FAST_ONLY, &page), 0);
	/* a reference asks for nothing of its own */
	assert_int_equal(get_user_pages_fast(mm, at, 1, FOLL_WRITE | FOLL_FAST_ONLY, &page), 1);
	put_user_page(page);
	mm->write_protect_seq++;
	assert_int_equal(pin_user_pages_fast(mm, at, 1, FOLL_WRITE | FOLL_FAST_ONLY, &page), 1);
	unpin_user_page(page);
	finish();
}

/* ---- debuggers, and pins for ever ---- */

static void test_gup_force_writes_what_its_owner_may_not(void **state)
{
	const u64 trap = 0xccccccccccccccccul;
	struct mm_struct *child;
	unsigned long at;
	u64 v = 0;

	start();
	at = map(PAGE_SIZE, RW);
	write_user(mm, at, 9);
	assert_int_equal(vm_mprotect(mm, at, PAGE_SIZE, PROT_READ | PROT_EXEC), 0);
	child = fork_it();
	assert_int_equal(access_remote_vm(mm, at, (void *)(uintptr_t)&trap, 8, FOLL_WRITE), 0);
	assert_int_equal(
		access_remote_vm(mm, at, (void *)(uintptr_t)&trap, 8, FOLL_WRITE | FOLL_FORCE), 8);
	assert_int_equal(access_remote_vm(mm, at, &v, 8, 0), 8);
	assert_true(v == trap);
	/* a private copy: the child's text is as it was; and the owner may still not write */
	assert_int_equal(read_user(child, at), 9);
	assert_int_equal(copy_to_user(mm, at, &v, 8), 8);
	assert_true(mm_fault(mm, at, FAULT_FLAG_WRITE | FAULT_FLAG_USER) & VM_FAULT_SIGSEGV);
	mmput(child);
	finish();
}

COVERS("S3.26");
static void test_gup_longterm_pins_move_out_of_movable_memory(void **state)
{
	const struct sim_config cfg = { .bytes = 128ul << 20,
					.cpus = 2,
					.movable_bytes = 64ul << 20 };
	struct page *pages[16], *was[16];
	unsigned long at, first = 16;
	bool movable = false;
	long got;

	assert_int_equal(sim_boot(&cfg), 0);
	mm = mm_alloc();
	assert_non_null(mm);
	at = map(16 * PAGE_SIZE, RW);
	for (unsigned long i = 0; i < 16; i++)
		write_user(mm, at + i * PAGE_SIZE, 100 + i);
	assert_int_equal(get_user_pages_fast(mm, at, 16, 0, was), 16);
	for (unsigned long i = 16; i-- > 0;) {
		movable |= page_zone(was[i]) == ZONE_MOVABLE;
		first = page_zone(was[i]) == ZONE_MOVABLE ? i : first;
		put_user_page(was[i]);
	}
	assert_true(movable);
	/* who may not wait gets what need not move, and nothing has */
	got = pin_user_pages_fast(mm, at, 16, FOLL_WRITE | FOLL_LONGTERM | FOLL_NOWAIT, pages);
	assert_int_equal(got, first ? (long)first : -EAGAIN);
	unpin_user_pages(pages, first);
	assert_int_equal(get_user_pages_fast(mm, at, 16, 0, pages), 16);
	assert_memory_equal(pages, was, sizeof(pages));
	for (int i = 0; i < 16; i++) {
		assert_false(folio_maybe_dma_pinned(page_folio(pages[i])));
		put_user_page(pages[i]);
	}
	assert_int_equal(pin_user_pages_fast(mm, at, 16, FOLL_WRITE | FOLL_LONGTERM, pages), 16);
	for (unsigned long i = 0; i < 16; i++) {
		assert_true(page_zone(pages[i]) < ZONE_MOVABLE);
		assert_int_equal(*(u64 *)page_address(pages[i]), 100 + i);
	}
	unpin_user_pages(pages, 16);
	finish();
}

/* ---- step k fails ---- */

#if OCTAVO_FAULTS
COVERS("SX.8");
static void test_gup_every_step_may_fail(void **state)
{
	struct page *pages[8];
	unsigned long at, done = 0;

	start();
	at = map(8 * PAGE_SIZE, RW);
	for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
		u32 kinds = OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB;

		if (mode == OCTAVO_FAULT_ONCE)
			kinds |= OCTAVO_FAULT_TRYGET | OCTAVO_FAULT_TRYLOCK;
		for_each_fault(k, mode, kinds, hit)
		{
			long got = pin_user_pages_fast(mm, at, 8, FOLL_WRITE, pages);

			hit = octavo_fault_disarm();
			assert_true(got > 0 || got == -ENOMEM);
			if (got > 0)
				unpin_user_pages(pages, (unsigned long)got);
			done += got == 8;
			assert_true(octavo_validate());
			assert_int_equal(vm_madvise(mm, at, 8 * PAGE_SIZE, MADV_DONTNEED), 0);
		}
	}
	assert_true(done >= 2);
	finish();
}

/* The count of page k cannot be had: what is before it is pinned, and what is after it not. */
COVERS("S3.9 SX.8");
static void test_gup_fast_every_count_may_fail(void **state)
{
	struct page *pages[MANY];
	unsigned long at;

	start();
	at = map(MANY * PAGE_SIZE, RW);
	assert_int_equal(vm_madvise(mm, at, MANY * PAGE_SIZE, MADV_POPULATE_WRITE), 0);
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_TRYGET, hit)
	{
		unsigned long got = (unsigned long)pin_user_pages_fast(
			mm, at, MANY, FOLL_WRITE | FOLL_FAST_ONLY, pages);

		hit = octavo_fault_disarm();
		assert_int_equal(got, hit ? k - 1 : MANY);
		unpin_user_pages(pages, got);
		for (unsigned long i = 0; i < MANY; i++)
			assert_int_equal(folio_ref_count(folio_at(at + i * PAGE_SIZE)), 1);
	}
	finish();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_gup_copies_what_was_stored),
		TEST(test_gup_copies_as_the_program_would),
		TEST(test_gup_fast_takes_what_is_mapped),
		TEST(test_gup_fast_takes_runs_of_large_folios),
		TEST(test_put_user_pages_by_runs),
		TEST(test_unpin_range_of_small_folios),
		TEST(test_gup_fast_takes_part_of_a_leaf),
		TEST(test_gup_errors),
		TEST(test_gup_zero_page_has_no_reference),
		TEST(test_gup_pinned_page_stays_the_parents_at_fork),
		TEST(test_gup_pinning_a_shared_page_unshares_it),
		TEST(test_gup_fast_stops_at_a_shared_page),
		TEST(test_gup_fast_does_not_pin_a_shared_large_folio),
		TEST(test_gup_unpins_any_mixture),
		TEST(test_gup_fast_stays_out_of_a_fork),
		TEST(test_gup_force_writes_what_its_owner_may_not),
		TEST(test_gup_longterm_pins_move_out_of_movable_memory),
#if OCTAVO_FAULTS
		TEST(test_gup_every_step_may_fail),
		TEST(test_gup_fast_every_count_may_fail),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
