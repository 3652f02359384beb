/* SPDX-License-Identifier: MIT */
/*
 * test_folio_vma_walk.c - from a folio to its entries: batches, tables, levels, areas, address spaces.
 */
#include <octavo/mmu_notifier.h>

#include "rmap_area.h"

/* The next batch is @nr entries for the pages from @first on, in its place, with its lock held. */
static void assert_batch(struct folio_vma_walk *w, unsigned long addr, unsigned long first,
			 unsigned int nr)
{
	assert_true(folio_vma_walk_next(w));
	assert_int_equal(w->addr, addr);
	assert_int_equal(w->nr, nr);
	assert_ptr_equal(w->sr.folio, w->folio);
	assert_int_equal(w->sr.first, first);
	assert_int_equal(w->sr.nr, nr << level_order(w->pos.level));
	assert_int_equal(w->pos.addr, addr);
	assert_true(spin_is_locked(&w->pos.pt->ptl));
	assert_true(pte_same(ptep_get(w->pos.ptep), w->pos.pte));
	assert_ptr_equal(w->pos.ptep,
			 (pte_t *)ptdesc_address(w->pos.pt) + level_index(addr, w->pos.level));
}

static void assert_end(struct folio_vma_walk *w)
{
	assert_false(folio_vma_walk_next(w));
	if (w->pos.pt)
		assert_false(spin_is_locked(&w->pos.pt->ptl));
	/* And again. */
	assert_false(folio_vma_walk_next(w));
}

/* A folio that begins three pages before the end of a table: one batch in each table. */
COVERS("S2.13 S2.22");
static void test_batches_end_with_tables(void **state)
{
	unsigned long index;

	boot();
	index = vma->vm_pgoff + PMD_NR - 3;
	for (unsigned int order = 2; order <= level_order(1) + 1; order++) {
		struct folio *folio = hand_folio(order);
		unsigned long nr = 1ul << order, first = 3;
		struct folio_vma_walk w;

		hand_map(folio, 0, nr, vma, index, hand_pte(folio, 0));
		w = folio_vma_walk(folio, vma, 0);
		assert_batch(&w, hand_addr(vma, index), 0, 3);
		while (first < nr) {
			unsigned int n = (unsigned int)min(PMD_NR, nr - first);

			assert_batch(&w, hand_addr(vma, index + first), first, n);
			first += n;
		}
		assert_end(&w);
		assert_int_equal(folio_count_mappings(folio), nr);
		assert_int_equal(hand_zap(vma, vma->vm_start, vma->vm_end), nr);
	}
	shutdown();
}

/* Holes, copies and special entries are passed over; what is cleared behind or before is not met. */
COVERS("S2.22");
static void test_partly_unmapped(void **state)
{
	struct folio *folio, *copy;
	struct folio_vma_walk w;
	unsigned long index, addr;

	boot();
	index = vma->vm_pgoff;
	addr = hand_addr(vma, index);
	folio = hand_folio(3);
	copy = hand_folio(0);
	hand_map(folio, 0, 8, vma, index, hand_pte(folio, 0));
	hand_zap(vma, addr, addr + PAGES(1));
	hand_zap(vma, addr + PAGES(4), addr + PAGES(5));
	hand_map(copy, 0, 1, vma, index + 4, hand_pte(copy, 0));
	w = folio_vma_walk(folio, vma, 0);
	assert_batch(&w, addr + PAGES(1), 1, 3);
	assert_batch(&w, addr + PAGES(5), 5, 3);
	assert_end(&w);
	w = folio_vma_walk(copy, vma, 0);
	assert_batch(&w, addr + PAGES(4), 0, 1);
	assert_end(&w);

	/* Special: the same frame, but nobody's business. */
	hand_zap(vma, addr + PAGES(6), addr + PAGES(7));
	table_map(mm, addr + PAGES(6), 0, pte_mkspecial(hand_pte(folio, 6)));
	w = folio_vma_walk(folio, vma, FVW_SYNC);
	assert_batch(&w, addr + PAGES(1), 1, 3);
	assert_batch(&w, addr + PAGES(5), 5, 1);
	assert_batch(&w, addr + PAGES(7), 7, 1);
	assert_end(&w);

	/* One at a time, and not to the end. */
	w = folio_vma_walk(folio, vma, FVW_SINGLE);
	assert_batch(&w, addr + PAGES(1), 1, 1);
	assert_batch(&w, addr + PAGES(2), 2, 1);
	folio_vma_walk_done(&w);
	assert_end(&w);

	/* Protected from everybody is present all the same, but not alike. */
	hand_zap(vma, addr + PAGES(2), addr + PAGES(3));
	folio_get(folio);
	folio_add_anon_rmap(folio_subrange(folio, 2, 1), vma, addr + PAGES(2), 0, RMAP_EXCLUSIVE);
	table_map(mm, addr + PAGES(2), 0, pfn_pte(folio_pfn(folio) + 2, PAGE_NONE));
	w = folio_vma_walk(folio, vma, 0);
	assert_batch(&w, addr + PAGES(1), 1, 1);
	assert_batch(&w, addr + PAGES(2), 2, 1);
	/* Again, after a sleep. */
	folio_vma_walk_again(&w);
	assert_false(spin_is_locked(&w.pos.pt->ptl));
	assert_batch(&w, addr + PAGES(2), 2, 1);
	assert_batch(&w, addr + PAGES(3), 3, 1);
	folio_vma_walk_done(&w);
	assert_int_equal(folio_count_mappings(folio), folio_mapcount(folio));
	shutdown();
}

/* Migration entries, of three kinds, are looked for or passed over; swap slots never match. */
static void test_migration_entries(void **state)
{
	const enum swp_type types[] = { SWP_MIGRATION_WRITE, SWP_MIGRATION_WRITE,
					SWP_MIGRATION_READ, SWP_MIGRATION_READ_EXCLUSIVE };
	unsigned long index, addr;
	struct folio *folio;
	struct folio_vma_walk w;

	boot();
	index = vma->vm_pgoff + 2;
	addr = hand_addr(vma, index);
	folio = hand_folio(3);
	hand_map(folio, 0, 1, vma, index, hand_pte(folio, 0));
	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++)
		table_map(mm, addr + PAGES(1 + i), 0,
			  swp_entry_to_pte(swp_entry(types[i], (folio_pfn(folio) + 1 +
								i) | (i & 1 ? SWP_MIG_DIRTY : 0))));
	/* Another frame's, and a slot whose number is ours. */
	table_map(mm, addr + PAGES(5), 0,
		  swp_entry_to_pte(swp_entry(SWP_MIGRATION_READ, folio_pfn(folio) + 4)));
	table_map(mm, addr + PAGES(6), 0,
		  swp_entry_to_pte(swp_entry(SWP_DEVICE_0, folio_pfn(folio) + 6)));
	w = folio_vma_walk(folio, vma, 0);
	assert_batch(&w, addr, 0, 1);
	assert_end(&w);
	w = folio_vma_walk(folio, vma, FVW_MIGRATION);
	assert_batch(&w, addr + PAGES(1), 1, 2);
	assert_batch(&w, addr + PAGES(3), 3, 1);
	assert_batch(&w, addr + PAGES(4), 4, 1);
	assert_end(&w);
	assert_int_equal(folio_count_mappings(folio), 1);
	shutdown();
}

/* An area whose pages are not where their indices say: moved to an address of any remainder. */
static void test_moved_to_odd_offsets(void **state)
{
	boot();
	for (unsigned long shift = 0; shift < 2 * PTRS_PER_TABLE; shift += PTRS_PER_TABLE / 4 + 1) {
		struct folio *folio = hand_folio(3);
		struct vm_area_struct *moved = hand_vma(mm, vma->vm_pgoff + 64 + shift, 12);
		unsigned long seen = 0;
		struct folio_vma_walk w;

		moved->vm_pgoff = 1000;
		assert_int_equal(anon_vma_prepare(moved), 0);
		/* Half of it reaches out of the area at its end. */
		hand_map(folio, 0, 4, moved, 1008, hand_pte(folio, 0));
		assert_int_equal(folio->index, 1008);
		w = folio_vma_walk(folio, moved, 0);
		while (folio_vma_walk_next(&w)) {
			assert_int_equal(w.sr.first, seen);
			assert_int_equal(w.addr, moved->vm_start + PAGES(8 + seen));
			seen += w.nr;
		}
		assert_int_equal(seen, 4);
		assert_int_equal(folio_address_in_vma(folio, 3, moved), moved->vm_end - PAGE_SIZE);
		assert_int_equal(folio_address_in_vma(folio, 4, moved), -EFAULT);
		/* Where the area knows nothing of such indices there is nothing to see. */
		w = folio_vma_walk(folio, vma, 0);
		assert_end(&w);
		assert_int_equal(folio_address_in_vma(folio, 0, vma), -EFAULT);
		hand_unmap(moved);
	}
	shutdown();
}

/* An area that begins in the middle of a folio. */
static void test_area_has_a_part(void **state)
{
	struct vm_area_struct *half;
	struct folio *folio;
	struct folio_vma_walk w;

	boot();
	folio = hand_folio(3);
	half = hand_vma(mm, 100, 3);
	half->vm_pgoff = 505;
	assert_int_equal(anon_vma_prepare(half), 0);
	hand_map(folio, 5, 3, half, 500, hand_pte(folio, 5));
	assert_int_equal(folio->index, 500);
	w = folio_vma_walk(folio, half, 0);
	assert_batch(&w, PAGES(100), 5, 3);
	assert_end(&w);
	assert_int_equal(folio_address_in_vma(folio, 4, half), -EFAULT);
	assert_int_equal(folio_address_in_vma(folio, 5, half), PAGES(100));
	hand_unmap(half);
	shutdown();
}

COVERS("S2.3 S2.31");
static void test_leaves(void **state)
{
	struct folio *folio;
	struct folio_vma_walk w;
	unsigned long index;

	boot();
	index = vma->vm_pgoff + PMD_NR;
	folio = hand_folio(level_order(1));
	hand_map_leaf(folio, vma, index);
	for (u32 flags = 0; flags <= FVW_SYNC; flags++) {
		w = folio_vma_walk(folio, vma, flags);
		assert_batch(&w, hand_addr(vma, index), 0, 1);
		assert_int_equal(w.pos.level, PGTABLE_LEVEL_PMD);
		assert_end(&w);
		w = folio_vma_walk(folio, vma, flags | FVW_MIGRATION);
		assert_end(&w);
	}
	assert_int_equal(folio_count_mappings(folio), 1);
	hand_zap(vma, vma->vm_start, vma->vm_end);
	/* Its migration entry. */
	folio = hand_folio(level_order(1));
	WRITE_ONCE(folio->index, index);
	table_map(mm, hand_addr(vma, index), 1,
		  swp_entry_to_pte(swp_entry(SWP_MIGRATION_READ, folio_pfn(folio))));
	w = folio_vma_walk(folio, vma, 0);
	assert_end(&w);
	w = folio_vma_walk(folio, vma, FVW_MIGRATION);
	assert_batch(&w, hand_addr(vma, index), 0, 1);
	assert_end(&w);
	/* With FVW_SYNC also an empty entry there is locked, and nothing is found. */
	table_unmap(mm, hand_addr(vma, index), 1);
	w = folio_vma_walk(folio, vma, FVW_SYNC);
	assert_end(&w);
	assert_int_equal(w.pos.level, PGTABLE_LEVEL_PMD);
	folio_put(folio);
	shutdown();
}

/* A folio of several leaves, one of them a table by now. */
static void test_leaf_and_table(void **state)
{
	struct folio *folio;
	struct folio_vma_walk w;
	unsigned long index, addr;

	boot();
	index = vma->vm_pgoff;
	addr = hand_addr(vma, index);
	folio = hand_folio(level_order(1) + 1);
	hand_map(folio, 0, PMD_NR, vma, index, hand_pte(folio, 0));
	folio_get(folio);
	folio_add_anon_rmap(folio_subrange(folio, PMD_NR, PMD_NR), vma, addr + level_size(1), 1,
			    RMAP_EXCLUSIVE);
	table_map(mm, addr + level_size(1), 1, pte_mkleaf(hand_pte(folio, PMD_NR), 1));
	w = folio_vma_walk(folio, vma, 0);
	assert_batch(&w, addr, 0, (unsigned int)PMD_NR);
	assert_batch(&w, addr + level_size(1), PMD_NR, 1);
	assert_end(&w);
	assert_int_equal(folio_count_mappings(folio), PMD_NR + 1);
	assert_int_equal(folio_mapcount(folio), PMD_NR + 1);
	shutdown();
}

/* ---- several address spaces ---- */

static bool visit(struct folio *folio, struct vm_area_struct *v, unsigned long addr, void *arg)
{
	struct vm_area_struct ***out = arg;

	assert_int_equal(addr, max(folio_address_in_vma(folio, 0, v), v->vm_start));
	*(*out)++ = v;
	return true;
}

static bool visited_two(struct folio *folio, void *arg)
{
	static unsigned int n;

	return ++n % 2 == 0;
}

static void test_several_address_spaces(void **state)
{
	struct vm_area_struct *child, *grand, *seen[8] = { NULL }, **next = seen;
	struct rmap_walk_control rwc = { .rmap_one = visit, .arg = &next };
	struct mm_struct *mms[2];
	struct folio *folio, *young;

	boot();
	for (unsigned int i = 0; i < 2; i++)
		mms[i] = table_mm();
	folio = hand_folio(4);
	hand_map(folio, 0, 16, vma, vma->vm_pgoff + PMD_NR - 5, hand_pte(folio, 0));
	child = hand_fork(vma, mms[0]);
	young = hand_folio(1);
	hand_map(young, 0, 2, child, child->vm_pgoff + 3 * PMD_NR, hand_pte(young, 0));
	grand = hand_fork(child, mms[1]);
	assert_int_equal(folio_mapcount(folio), 48);
	assert_int_equal(folio_count_mappings(folio), 48);
	assert_int_equal(folio_count_mappings(young), 4);

	/* In the order in which they were forked; the child's page is not looked for in the parent. */
	rmap_walk(folio, &rwc);
	assert_ptr_equal(seen[0], vma);
	assert_ptr_equal(seen[1], child);
	assert_ptr_equal(seen[2], grand);
	assert_ptr_equal(next, seen + 3);
	next = seen;
	rmap_walk(young, &rwc);
	assert_ptr_equal(seen[0], child);
	assert_ptr_equal(seen[1], grand);
	assert_ptr_equal(next, seen + 2);
	/* Until it is done. */
	next = seen;
	rwc.done = visited_two;
	rmap_walk(folio, &rwc);
	assert_ptr_equal(next, seen + 2);

	hand_zap(child, child->vm_start, child->vm_start + PAGES(PMD_NR));
	assert_int_equal(folio_count_mappings(folio), 48 - 5);
	assert_int_equal(folio_mapcount(folio), 48 - 5);
	hand_unmap(vma);
	assert_int_equal(folio_count_mappings(folio), 32 - 5);
	hand_unmap(grand);
	vma = child;
	assert_int_equal(folio_count_mappings(folio), 11);
	table_mm_end(mm);
	table_mm_end(mms[1]);
	mm = mms[0];
	shutdown();
}

static void test_not_mapped(void **state)
{
	struct vm_area_struct *seen[1], **next = seen;
	struct rmap_walk_control rwc = { .rmap_one = visit, .arg = &next };
	struct folio *folio;

	boot();
	folio = hand_folio(0);
	rmap_walk(folio, &rwc);
	assert_int_equal(folio_count_mappings(folio), 0);
	assert_int_equal(folio_referenced(folio), 0);
	assert_ptr_equal(next, seen);
	folio_put(folio);
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_FILE);
	rmap_walk(folio, &rwc);
	assert_ptr_equal(next, seen);
	folio_put(folio);
	shutdown();
}

/* ---- age ---- */

static void test_referenced(void **state)
{
	struct folio *folio, *huge;
	unsigned long index, addr;

	boot();
	index = vma->vm_pgoff + PMD_NR - 2;
	addr = hand_addr(vma, index);
	folio = hand_folio(2);
	hand_map(folio, 0, 4, vma, index, hand_pte(folio, 0));
	huge = hand_folio(level_order(1));
	hand_map_leaf(huge, vma, vma->vm_pgoff + 2 * PMD_NR);
	assert_int_equal(folio_referenced(folio), 0);
	sim_mm_use(mm);
	assert_int_equal(sim_store64(addr + PAGES(1), 1), 0);
	assert_int_equal(sim_store64(addr + PAGES(2), 2), 0);
	assert_int_equal(sim_store64(hand_addr(vma, huge->index) + PAGES(3), 3), 0);
	sim_mm_forget(mm);
	assert_int_equal(folio_referenced(folio), 2);
	assert_int_equal(folio_referenced(folio), 0);
	assert_int_equal(folio_referenced(huge), 1);
	assert_int_equal(folio_referenced(huge), 0);
	shutdown();
}

/* ---- against a model ---- */

enum { MODEL_NONE, MODEL_PRESENT, MODEL_MIGRATION, MODEL_COPY, NR_MODEL };

static unsigned int rnd(unsigned int n)
{
	static u64 seed = 88172645463325252ull;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned int)(seed >> 33) % n;
}

/* What a walk gives is all that the model has, in its order, and no batch could have been longer. */
static void compare(struct folio *folio, struct vm_area_struct *v, const unsigned char *model,
		    unsigned long lo, unsigned long hi, u32 flags)
{
	unsigned int want = flags & FVW_MIGRATION ? MODEL_MIGRATION : MODEL_PRESENT;
	struct folio_vma_walk w = folio_vma_walk(folio, v, flags);
	unsigned long i = lo;

	while (folio_vma_walk_next(&w)) {
		while (i < hi && model[i] != want)
			i++;
		assert_int_equal(w.sr.first, i);
		for (unsigned int n = 0; n < w.nr; n++, i++)
			assert_true(i < hi && model[i] == want);
		if (flags & FVW_SINGLE)
			assert_int_equal(w.nr, 1);
		else
			assert_true(i == hi || model[i] != want ||
				    IS_ALIGNED(w.addr + PAGES(w.nr), level_size(1)));
	}
	while (i < hi && model[i] != want)
		i++;
	assert_int_equal(i, hi);
}

static void test_model(void **state)
{
	boot();
	for (unsigned int round = 0; round < 300; round++) {
		unsigned int order = rnd(6);
		unsigned long nr = 1ul << order, index = 5000 + rnd(100), lo, hi;
		struct folio *folio = hand_folio(order);
		struct vm_area_struct *v =
			hand_vma(mm, 10 * PMD_NR + rnd((unsigned int)PMD_NR), 1 + rnd(40));
		unsigned char model[32];

		v->vm_pgoff = 4980 + rnd(140);
		assert_int_equal(anon_vma_prepare(v), 0);
		folio->index = index;
		lo = v->vm_pgoff > index ? min(v->vm_pgoff - index, nr) : 0;
		hi = v->vm_pgoff + vma_pages(v) <= index
			     ? lo
			     : max(lo, min(nr, v->vm_pgoff + vma_pages(v) - index));
		for (unsigned long i = lo; i < hi; i++) {
			unsigned long addr = hand_addr(v, index + i);
			pte_t e = hand_pte(folio, i);

			model[i] = (unsigned char)rnd(NR_MODEL);
			if (rnd(3) && i > lo)
				model[i] = model[i - 1];
			if (model[i] == MODEL_MIGRATION)
				e = swp_entry_to_pte(
					swp_entry(SWP_MIGRATION_READ, folio_pfn(folio) + i));
			else if (model[i] == MODEL_COPY)
				e = pte_advance_pfn(e, 1);
			if (model[i] != MODEL_NONE)
				table_map(mm, addr, 0, e);
		}
		for (u32 flags = 0; flags < 8; flags++)
			compare(folio, v, model, lo, hi, flags);
		/* Nothing was counted. */
		for (unsigned long i = lo; i < hi; i++)
			if (model[i] != MODEL_NONE)
				table_unmap(mm, hand_addr(v, index + i), 0);
		hand_vma_free(v);
		folio_put(folio);
	}
	shutdown();
}

/* ---- several CPUs ---- */

static struct {
	struct folio *folio;
	u32 stop;
	u64 batches;
} smp;

/*
 * CPU 0 maps and unmaps, and frees the tables; the others walk: under the lock an entry is what was said.
 */
static void smp_run(unsigned int cpu, void *arg)
{
	sim_set_cpu(cpu);
	if (cpu == 0) {
		for (unsigned int i = 0; i < 3000; i++) {
			hand_map(smp.folio, 0, 8, vma, vma->vm_pgoff + PMD_NR - 4,
				 hand_pte(smp.folio, 0));
			hand_zap(vma, vma->vm_start, vma->vm_end);
			table_mm_empty(mm);
		}
		WRITE_ONCE(smp.stop, 1u);
		return;
	}
	while (!READ_ONCE(smp.stop)) {
		struct folio_vma_walk w = folio_vma_walk(smp.folio, vma, 0);

		while (folio_vma_walk_next(&w)) {
			for (unsigned int i = 0; i < w.nr; i++)
				assert_int_equal(pte_pfn(ptep_get(w.pos.ptep + i)),
						 folio_pfn(smp.folio) + w.sr.first + i);
			fetch_add_relaxed(&smp.batches, (u64)1);
		}
	}
}

static void test_smp_walk_against_unmap(void **state)
{
	boot();
	memset(&smp, 0, sizeof(smp));
	smp.folio = hand_folio(3);
	folio_lock(smp.folio);
	/* Mapped for the first time once and for all, so that it stays the same folio. */
	folio_get(smp.folio);
	smp.folio->index = vma->vm_pgoff + PMD_NR - 4;
	smp.folio->mapping = vma->anon_vma;
	folio_ref_add(smp.folio, 100000);
	sim_run(3, false, smp_run, NULL);
	folio_unlock(smp.folio);
	folio_put_refs(smp.folio, folio_ref_count(smp.folio));
	shutdown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_batches_end_with_tables),
		TEST(test_partly_unmapped),
		TEST(test_migration_entries),
		TEST(test_moved_to_odd_offsets),
		TEST(test_area_has_a_part),
		TEST(test_leaves),
		TEST(test_leaf_and_table),
		TEST(test_several_address_spaces),
		TEST(test_not_mapped),
		TEST(test_referenced),
		TEST(test_model),
		TEST(test_smp_walk_against_unmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
