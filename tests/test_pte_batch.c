/* SPDX-License-Identifier: MIT */
/*
 * test_pte_batch.c - runs of entries: every bit, every flag, every limit, against a slow reference.
 */
#include "table_machine.h"

/* The last two tables below one of the next level. */
#define BASE (level_size(2) - TABLES(2))
#define N    PTRS_PER_TABLE

static struct mm_struct *mm;
static struct folio
	*folio;	     /* as large as a table and a half if there are such; mapped around BASE */
static pte_t *table; /* at BASE */

static void start(void)
{
	struct pt_pos pos;

	table_boot();
	mm = table_mm();
	folio = folio_alloc(GFP_KERNEL, level_order(1) + 1, FOLIO_ANON);
	assert_non_null(folio);
	assert_int_equal(pgtable_alloc_to(mm, BASE, 0, GFP_KERNEL, &pos), 0);
	table = pos.ptep;
}

static void end(void)
{
	memset(table, 0, N * sizeof(*table));
	folio_put(folio);
	table_mm_end(mm);
	shutdown_clean();
}

/* Page @first of the folio and those after it, from entry @at on. */
static void fill(unsigned long at, unsigned long first, unsigned long nr, u64 bits)
{
	memset(table, 0, N * sizeof(*table));
	for (unsigned long i = 0; i < nr && at + i < N; i++)
		table[at + i] = table_leaf(folio_pfn(folio) + first + i, 0, bits);
}

static unsigned int batch(unsigned long at, unsigned int max, u32 flags, pte_t *out)
{
	pte_t e = table[at];
	unsigned int nr = folio_pte_batch_flags(folio, NULL, table + at, &e, max, flags);

	if (out)
		*out = e;
	if (!flags)
		assert_int_equal(folio_pte_batch(folio, table + at, table[at], max), nr);
	return nr;
}

/* Without a name here, or without a meaning at all. */
#define OTHER_BITS \
	(_PAGE_PWT | _PAGE_PCD | _PAGE_LEAF | _PAGE_PRESENT | _PAGE_PROTNONE | 0x7ffull << 52)

/* ---- the reference: one entry at a time, by names of bits ---- */

static bool same_run(pte_t first, pte_t e, unsigned long i, u32 flags)
{
	return pte_present(e) && pte_pfn(e) == pte_pfn(first) + i &&
	       pte_protnone(e) == pte_protnone(first) && pte_user(e) == pte_user(first) &&
	       pte_exec(e) == pte_exec(first) && pte_special(e) == pte_special(first) &&
	       pte_uffd_wp(e) == pte_uffd_wp(first) && !((e.v ^ first.v) & OTHER_BITS) &&
	       (!(flags & FPB_RESPECT_DIRTY) || pte_dirty(e) == pte_dirty(first)) &&
	       (!(flags & FPB_RESPECT_SOFT_DIRTY) || pte_soft_dirty(e) == pte_soft_dirty(first)) &&
	       (!(flags & FPB_RESPECT_WRITE) || pte_write(e) == pte_write(first));
}

static unsigned int reference(unsigned long at, unsigned int max, u32 flags, pte_t *out)
{
	const pte_t first = table[at];
	const unsigned long end = folio_pfn(folio) + folio_nr_pages(folio);
	unsigned int i;
	pte_t merged = first;

	for (i = 1; i < max && pte_pfn(first) + i < end; i++) {
		const pte_t e = table[at + i];

		if (!same_run(first, e, i, flags))
			break;
		if (flags & FPB_MERGE_WRITE && pte_write(e))
			merged.v |= _PAGE_RW;
		if (flags & FPB_MERGE_YOUNG_DIRTY)
			merged.v |= e.v & (_PAGE_ACCESSED | _PAGE_DIRTY);
	}
	*out = merged;
	return i;
}

/* ---- limits ---- */

COVERS("S2.11");
static void test_pte_batch_ends_with_run_limit_and_folio(void **state)
{
	const unsigned long pages = 2 * N;

	start();
	fill(0, 0, N, RW);
	for (unsigned int max = 1; max <= N; max++) {
		assert_int_equal(batch(0, max, 0, NULL), max);
		assert_int_equal(batch(N - max, max, 0, NULL), max);
	}
	for (unsigned long len = 1; len <= N; len++) {
		fill(0, 0, len, RW);
		assert_int_equal(batch(0, N, 0, NULL), len);
		assert_int_equal(batch(len - 1, (unsigned int)(N - len) + 1, 0, NULL), 1);
		/* the folio ends, whatever follows in memory and in the table */
		for (unsigned long i = 0; i < N; i++)
			table[i] = table_leaf(folio_pfn(folio) + pages - len + i, 0, RW);
		assert_int_equal(batch(0, N, 0, NULL), len);
	}
	/* backwards, standing still and a gap of one are no runs */
	fill(0, 5, N, RW);
	table[1] = table_leaf(folio_pfn(folio) + 4, 0, RW);
	assert_int_equal(batch(0, N, 0, NULL), 1);
	table[1] = table[0];
	assert_int_equal(batch(0, N, 0, NULL), 1);
	table[1] = table[2];
	assert_int_equal(batch(0, N, 0, NULL), 1);
	end();
}

COVERS("S2.13");
/*
 * A folio that is mapped across the end of a last-level table, and across the end of an area: what lies beyond
 * looks as if the run went on, and is not counted.
 */
static void test_pte_batch_stops_at_table_and_area(void **state)
{
	struct pt_pos next;

	start();
	assert_int_equal(pgtable_alloc_to(mm, BASE + TABLES(1), 0, GFP_KERNEL, &next), 0);
	fill(0, 0, N, RW);
	for (unsigned long i = 0; i < N; i++)
		next.ptep[i] = table_leaf(folio_pfn(folio) + N + i, 0, RW);
	for (unsigned long i = 0; i < N; i++) {
		const unsigned long addr = BASE + PAGES(i);

		/* to the end of the table, although the area goes on */
		assert_int_equal(pte_batch_limit(addr, BASE + TABLES(2)), N - i);
		assert_int_equal(batch(i, pte_batch_limit(addr, BASE + TABLES(2)), 0, NULL), N - i);
		/* to the end of the area, although the table goes on */
		for (unsigned long len = 1; len <= N - i; len++)
			assert_int_equal(
				batch(i, pte_batch_limit(addr, addr + PAGES(len)), 0, NULL), len);
	}
	assert_int_equal(pte_batch_limit(BASE + TABLES(1) - PAGES(1), BASE + TABLES(1)), 1);
	assert_int_equal(pte_batch_limit(BASE, 0), N); /* an area that ends with the addresses */
	memset(next.ptep, 0, N * sizeof(*table));
	end();
}

/* ---- bits ---- */

COVERS("S2.11");
/* Each bit of an entry, set or clear in the first and the other way in a later one, with each set of flags. */
static void test_pte_batch_each_bit(void **state)
{
	start();
	for (unsigned int bit = 0; bit < 64; bit++) {
		const u64 b = 1ull << bit;

		for (u32 flags = 0; flags < 32; flags++)
			for (unsigned int at = 1; at < 7; at++) {
				pte_t got, want;
				unsigned int nr;

				fill(0, 0, N, (RW | _PAGE_NX) & ~b);
				table[at].v ^= b;
				if (!pte_present(table[0]))
					continue;
				nr = batch(0, N, flags, &got);
				assert_int_equal(nr, reference(0, N, flags, &want));
				assert_int_equal(got.v, want.v);
				if (b == _PAGE_SPECIAL)
					continue;
				/* the other way round: all but one have it */
				fill(0, 0, N, RW);
				if (!(b & PTE_PFN_MASK))
					for (unsigned long i = 0; i < N; i++)
						table[i].v |= b;
				table[at].v ^= b;
				nr = batch(0, N, flags, &got);
				assert_int_equal(nr, reference(0, N, flags, &want));
				assert_int_equal(got.v, want.v);
			}
	}
	end();
}

/* What does not count is folded into the copy if asked for, and only of the run. */
static void test_pte_batch_merges(void **state)
{
	pte_t e;

	start();
	fill(0, 0, N, _PAGE_PRESENT | _PAGE_USER);
	table[2].v |= _PAGE_RW;
	table[3].v |= _PAGE_ACCESSED;
	table[4].v |= _PAGE_DIRTY;
	table[5].v |= _PAGE_SOFT_DIRTY;
	table[6] = __pte(0);
	table[7].v |= _PAGE_RW | _PAGE_ACCESSED | _PAGE_DIRTY;
	assert_int_equal(batch(0, N, 0, &e), 6);
	assert_true(pte_same(e, table[0]));
	assert_int_equal(batch(0, N, FPB_MERGE_WRITE, &e), 6);
	assert_true(pte_same(e, pte_mkwrite(table[0])));
	assert_int_equal(batch(0, N, FPB_MERGE_YOUNG_DIRTY, &e), 6);
	assert_int_equal(e.v, table[0].v | _PAGE_ACCESSED | _PAGE_DIRTY);
	assert_int_equal(batch(0, 3, FPB_MERGE_YOUNG_DIRTY, &e), 3);
	assert_true(pte_same(e, table[0]));
	assert_int_equal(batch(0, 4, FPB_MERGE_YOUNG_DIRTY | FPB_MERGE_WRITE, &e), 4);
	assert_int_equal(e.v, table[0].v | _PAGE_ACCESSED | _PAGE_RW);
	/* an entry that ends the run gives nothing to it */
	assert_int_equal(batch(0, N, FPB_RESPECT_WRITE | FPB_MERGE_WRITE, &e), 2);
	assert_true(pte_same(e, table[0]));
	assert_int_equal(batch(0, N, FPB_RESPECT_DIRTY | FPB_MERGE_YOUNG_DIRTY, &e), 4);
	assert_int_equal(e.v, table[0].v | _PAGE_ACCESSED);
	end();
}

/* The copy is what counts, not what stands in the table now. */
static void test_pte_batch_starts_from_the_copy(void **state)
{
	pte_t e;

	start();
	fill(0, 0, N, RW);
	e = table[0];
	table[0].v |= _PAGE_DIRTY | _PAGE_ACCESSED;
	assert_int_equal(
		folio_pte_batch_flags(folio, NULL, table, &e, (unsigned int)N, FPB_RESPECT_DIRTY),
		N);
	assert_false(pte_dirty(e));
	end();
}

COVERS("S2.11");
/* Random tables: bits flipped at random places, limits and starting points at random. */
static void test_pte_batch_random_against_reference(void **state)
{
	const u64 flips[] = { _PAGE_RW,		  _PAGE_ACCESSED, _PAGE_DIRTY, _PAGE_SOFT_DIRTY,
			      _PAGE_UFFD_WP,	  _PAGE_NX,	  _PAGE_USER,  _PAGE_PCD,
			      1ull << PAGE_SHIFT, _PAGE_ACCESSED, _PAGE_DIRTY, _PAGE_RW };

	srand(11);
	start();
	for (unsigned int turn = 0; turn < 20000; turn++) {
		const unsigned long at = (unsigned long)rand() % N;
		const unsigned int max = 1 + (unsigned int)((unsigned long)rand() % (N - at));
		const u32 flags = (u32)rand() % 32;
		pte_t got, want;
		unsigned int nr;

		fill(0, (unsigned long)rand() % N, N, RW | (rand() & 1 ? _PAGE_DIRTY : 0));
		for (unsigned int i = (unsigned int)rand() % 6; i-- > 0;)
			table[(unsigned long)rand() % N].v ^=
				flips[(unsigned int)rand() % ARRAY_SIZE(flips)];
		nr = batch(at, max, flags, &got);
		assert_int_equal(nr, reference(at, max, flags, &want));
		assert_int_equal(got.v, want.v);
	}
	end();
}

/* ---- swap form ---- */

static void test_pte_batch_swap_run(void **state)
{
	const pte_t kinds[] = {
		swp_entry_to_pte(swp_entry(SWP_DEVICE_0, 100)),
		pte_swp_mkexclusive(swp_entry_to_pte(swp_entry((enum swp_type)3, 100))),
		pte_swp_mksoft_dirty(swp_entry_to_pte(swp_entry(SWP_MIGRATION_WRITE, 64))),
		pte_swp_mkuffd_wp(swp_entry_to_pte(swp_entry(SWP_DEVICE_PRIVATE_READ, 0))),
		swp_entry_to_pte(swp_entry(SWP_DEVICE_EXCLUSIVE, 8)),
	};

	start();
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (unsigned long i = 0; i < N; i++)
			table[i] = pte_swp_advance(kinds[k], i);
		for (unsigned int max = 1; max <= N; max++)
			assert_int_equal(swap_pte_batch(table + N - max, max, table[N - max]), max);
		for (unsigned int bit = 0; bit < 64; bit++)
			for (unsigned int at = 1; at < 7; at++) {
				/* all bits count */
				table[at].v ^= 1ull << bit;
				assert_int_equal(swap_pte_batch(table, (unsigned int)N, table[0]),
						 at);
				table[at].v ^= 1ull << bit;
			}
		table[2] = table[1];
		assert_int_equal(swap_pte_batch(table, (unsigned int)N, table[0]), 2);
		assert_int_equal(swap_pte_batch(table + 1, (unsigned int)N - 1, table[1]), 1);
	}
	end();
}

/* ---- preconditions ---- */

static void copy_in_table(void *arg)
{
	folio_pte_batch_flags(folio, NULL, table, table + 1, 1, FPB_MERGE_WRITE);
}

#if OCTAVO_DEBUG
static void max_is_0(void *arg)
{
	folio_pte_batch(folio, table, table[0], 0);
}

static void beyond_the_table(void *arg)
{
	folio_pte_batch(folio, table + 1, table[1], (unsigned int)N);
}

static void beyond_the_area(void *arg)
{
	const struct vm_area_struct vma = { .vm_start = BASE, .vm_end = BASE + PAGES(3) };
	pte_t e = table[1];

	assert_int_equal(folio_pte_batch_flags(folio, &vma, table + 1, &e, 2, 0), 2);
	folio_pte_batch_flags(folio, &vma, table + 1, &e, 3, 0);
}

static void before_the_area(void *arg)
{
	const struct vm_area_struct vma = { .vm_start = BASE + PAGES(1),
					    .vm_end = BASE + PAGES(3) };
	pte_t e = table[0];

	folio_pte_batch_flags(folio, &vma, table, &e, 1, 0);
}

static void not_present(void *arg)
{
	folio_pte_batch(folio, table, swp_entry_to_pte(swp_entry(SWP_DEVICE_0, 1)), 1);
}

static void special(void *arg)
{
	folio_pte_batch(folio, table, pte_mkspecial(table[0]), 1);
}

static void of_another_folio(void *arg)
{
	folio_pte_batch(folio, table, pte_advance_pfn(table[0], folio_nr_pages(folio)), 1);
}

static void small_folio(void *arg)
{
	struct folio *small = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);

	folio_pte_batch(small, table, table_leaf(folio_pfn(small), 0, RW), 1);
}

static void unknown_flag(void *arg)
{
	pte_t e = table[0];

	folio_pte_batch_flags(folio, NULL, table, &e, 1, 32);
}

static void swap_max_is_0(void *arg)
{
	swap_pte_batch(table, 0, swp_entry_to_pte(swp_entry(SWP_DEVICE_0, 1)));
}

static void swap_present(void *arg)
{
	swap_pte_batch(table, 1, table[0]);
}

static void swap_beyond_the_table(void *arg)
{
	swap_pte_batch(table + N - 1, 2, swp_entry_to_pte(swp_entry(SWP_DEVICE_0, 1)));
}

static void swap_marker(void *arg)
{
	swap_pte_batch(table, 1, swp_entry_to_pte(swp_entry(SWP_PTE_MARKER, PTE_MARKER_GUARD)));
}

static void swap_poison(void *arg)
{
	swap_pte_batch(table, 1, swp_entry_to_pte(swp_entry(SWP_HWPOISON, 1)));
}
#endif

COVERS("S2.11 S2.13");
static void test_pte_batch_preconditions_are_asserted(void **state)
{
	static const struct {
		void (*fn)(void *);
		const char *says;
	} cases[] = {
		{ copy_in_table, "not a copy" },
#if OCTAVO_DEBUG
		{ max_is_0, "!max_nr" },
		{ beyond_the_table, "i + max_nr >" },
		{ beyond_the_area, "vm_end" },
		{ before_the_area, "vm_start" },
		{ not_present, "pte_present" },
		{ special, "pte_special" },
		{ of_another_folio, "folio_contains" },
		{ small_folio, "folio_test_large" },
		{ unknown_flag, "flags" },
		{ swap_max_is_0, "!max_nr" },
		{ swap_present, "pte_is_swap" },
		{ swap_beyond_the_table, "i + max_nr >" },
		{ swap_marker, "is_pte_marker" },
		{ swap_poison, "is_hwpoison_entry" },
#endif
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		start();
		fill(0, 0, N, RW);
		expect_panic(cases[i].fn, NULL, cases[i].says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pte_batch_ends_with_run_limit_and_folio),
		TEST(test_pte_batch_stops_at_table_and_area),
		TEST(test_pte_batch_each_bit),
		TEST(test_pte_batch_merges),
		TEST(test_pte_batch_starts_from_the_copy),
		TEST(test_pte_batch_random_against_reference),
		TEST(test_pte_batch_swap_run),
		TEST(test_pte_batch_preconditions_are_asserted),
	};

	return cmocka_run_group_tests_name("pte_batch", tests, NULL, NULL);
}
