/* SPDX-License-Identifier: MIT */
/*
 * test_unmap.c - a folio goes out of page tables to its slots: what entries say, where runs end, what stays and how,
 * and that whatever fails leaves all as it was.
 */
#include <octavo/hooks.h>

#include "unmap_machine.h"

static struct picture before, after;

static unsigned int max_order(void)
{
	return (unsigned int)min(level_order(1) + 1u, (unsigned int)SWAP_MAX_ORDER);
}

/* ---- what entries say ---- */

COVERS("S2.18 S2.24");
static void test_entries_keep_what_they_say(void **state)
{
	um_boot();
	for (unsigned int bits = 0; bits < 16; bits++)
		for (unsigned int kind = 0; kind < 3; kind++) {
			struct folio *folio = cached(0);
			pte_t e = pte_wrprotect(hand_pte(folio, 0));
			unsigned long index = um.vma->vm_pgoff + 3;

			e.v |= (bits & 1 ? _PAGE_ACCESSED : 0) | (bits & 2 ? _PAGE_DIRTY : 0) |
			       (bits & 4 ? _PAGE_SOFT_DIRTY : 0) | (bits & 8 ? _PAGE_UFFD_WP : 0);
			if (kind == 2 && !(bits & 8))
				e = pte_mkwrite(e);
			hand_map(folio, 0, 1, um.vma, index, e);
			folio_get(folio);
			if (kind == 0)
				folio_clear_anon_exclusive(folio_subrange(folio, 0, 1));
			folio_clear_flag(folio, PG_dirty);
			counters_note();
			assert_true(try_to_unmap(folio, 0));
			assert_slots(um.vma, index, folio, 0, 1, kind != 0, e);
			assert_counters(1, 1);
			assert_counts(folio, 1);
			assert_int_equal(folio_mapcount(folio), 0);
			assert_int_equal(refs_beside_cache(folio), 1);
			assert_int_equal(folio_test_flag(folio, PG_dirty), !!(bits & 2));
			assert_false(folio_test_anon_exclusive(folio, 0));
			um_zap(um.vma);
			drop(folio);
		}
	um_shutdown();
}

/* What nobody may use is as present as the rest. */
static void test_protected_entries(void **state)
{
	struct folio *folio;
	unsigned long index;
	pte_t e;

	um_boot();
	index = um.vma->vm_pgoff;
	folio = cached(2);
	e = pte_mkdirty(pfn_pte(folio_pfn(folio), PAGE_NONE));
	hand_map(folio, 0, 4, um.vma, index, e);
	folio_get(folio);
	/* They stay, and are what they were. */
	assert_true(folio_try_pin(folio, 1));
	take(&before, um.vma, index, 4);
	assert_false(try_to_unmap(folio, 0));
	take(&after, um.vma, index, 4);
	assert_same(&before, &after, false);
	folio_unpin(folio, 1);
	assert_true(try_to_unmap(folio, 0));
	assert_slots(um.vma, index, folio, 0, 4, true, e);
	um_zap(um.vma);
	drop(folio);
	um_shutdown();
}

/* ---- runs ---- */

/* Every order at every place relative to the end of a table: two tables, two runs, and no more entries than the folio has. */
COVERS("S2.1 S2.9 S2.12 S2.13 S2.22 S2.26 S2.27 S2.37");
static void test_runs_by_tables(void **state)
{
	um_boot();
	for (unsigned int order = 0; order <= max_order(); order++)
		for (unsigned long shift = 0; shift < 4; shift++)
			for (u32 flags = 0; flags <= TTU_SINGLE; flags += TTU_SINGLE) {
				struct folio *folio = cached(order), *other[2];
				unsigned long nr = 1ul << order,
					      index = um.vma->vm_pgoff + PMD_NR - shift;
				pte_t e = pte_mkyoung(hand_pte(folio, 0));

				/* neighbours that are not the folio's */
				for (unsigned int i = 0; i < 2; i++) {
					other[i] = anon(0);
					hand_map(other[i], 0, 1, um.vma, i ? index + nr : index - 1,
						 hand_pte(other[i], 0));
				}
				hand_map(folio, 0, nr, um.vma, index, e);
				folio_get(folio);
				counters_note();
				assert_true(try_to_unmap(folio, flags));
				assert_slots(um.vma, index, folio, 0, nr, true, e);
				assert_counters((long)nr, (long)nr);
				assert_counts(folio, 1);
				assert_int_equal(folio_mapcount(folio), 0);
				assert_int_equal(refs_beside_cache(folio), 1);
				assert_int_equal(
					folio_anon_exclusive_count(folio_subrange(folio, 0, nr)),
					0);
				/* and it is one folio still, for nobody to split */
				assert_int_equal(folio_order(folio), order);
				assert_ptr_equal(mapped_at(um.vma, index - 1), other[0]);
				assert_ptr_equal(mapped_at(um.vma, index + nr), other[1]);
				um_zap(um.vma);
				drop(folio);
			}
	um_shutdown();
}

/* The highest number of pages is noted before there are fewer. */
COVERS("S2.14");
static void test_highest_number_of_pages(void **state)
{
	struct folio *folio;

	um_boot();
	folio = cached(1);
	hand_map(folio, 0, 2, um.vma, um.vma->vm_pgoff, hand_pte(folio, 0));
	folio_get(folio);
	assert_int_equal(um.mm->hiwater_rss, 0);
	counters_note();
	assert_true(try_to_unmap(folio, 0));
	assert_int_equal(um.mm->hiwater_rss, um.anon);
	um_zap(um.vma);
	drop(folio);
	um_shutdown();
}

/* An area that begins, and one that ends, in the middle of a folio: what is beyond is another's. */
COVERS("S2.13");
static void test_areas_have_a_part(void **state)
{
	struct vm_area_struct *half;
	struct folio *folio, *other;

	um_boot();
	folio = cached(3);
	other = anon(0);
	half = hand_vma(um.mm, 100, 3);
	half->vm_pgoff = 502;
	assert_int_equal(anon_vma_prepare(half), 0);
	hand_map(folio, 2, 3, half, 500, hand_pte(folio, 2));
	folio_get(folio);
	/* right behind the area's end an entry that goes on with the folio's frames */
	table_map(um.mm, PAGES(103), 0, hand_pte(folio, 5));
	table_map(um.mm, PAGES(99), 0, hand_pte(other, 0));
	assert_true(try_to_unmap(folio, 0));
	assert_slots(half, 500, folio, 2, 3, true, __pte(0));
	assert_int_equal(table_unmap(um.mm, PAGES(103), 0).v, hand_pte(folio, 5).v);
	assert_int_equal(table_unmap(um.mm, PAGES(99), 0).v, hand_pte(other, 0).v);
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(swap_count(folio_swap_entry(folio, i)), i >= 2 && i < 5);
	um_zap(half);
	hand_vma_free(half);
	folio_put(other);
	drop(folio);
	um_shutdown();
}

/* Runs of unlike entries: each its own, with the bits of none of the others. */
COVERS("S2.6 S2.11 S2.19 S2.23");
static void test_runs_of_unlike_entries(void **state)
{
	struct folio *folio, *copy;
	unsigned long index;

	um_boot();
	index = um.vma->vm_pgoff + PMD_NR - 5;
	folio = cached(4 <= SWAP_MAX_ORDER ? 4 : 3);
	copy = anon(0);
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++) {
		pte_t e = hand_pte(folio, i);

		if (i == 6)
			continue;
		if (i % 3 == 0)
			e = pte_wrprotect(e);
		if (i % 4 == 0)
			e = pte_mksoft_dirty(e);
		if (i % 5 == 0)
			e = pte_mkuffd_wp(e);
		hand_map(folio, i, 1, um.vma, index, e);
		if (i == 0)
			folio_get(folio);
		if (i % 6 == 0)
			folio_clear_anon_exclusive(folio_subrange(folio, i, 1));
	}
	hand_map(copy, 0, 1, um.vma, index + 6, hand_pte(copy, 0));
	take(&before, um.vma, index, folio_nr_pages(folio));
	assert_true(try_to_unmap(folio, 0));
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		if (i != 6)
			assert_slots(um.vma, index, folio, i, 1, i % 6 != 0, before.pte[i]);
	assert_ptr_equal(mapped_at(um.vma, index + 6), copy);
	um_zap(um.vma);
	drop(folio);
	um_shutdown();
}

/* ---- leaves ---- */

COVERS("S2.3 S2.14");
static void test_leaf(void **state)
{
	unsigned long index;

	um_boot();
	index = um.vma->vm_pgoff + PMD_NR;
	for (u32 flags = 0; flags <= TTU_SPLIT_LEAVES; flags++) {
		struct folio *folio = cached_leaf(index);

		/* Pinned: the leaf stays, and if it had to be split, its pages. */
		assert_true(folio_try_pin(folio, 1));
		take(&before, um.vma, index, PMD_NR);
		assert_false(try_to_unmap(folio, flags));
		take(&after, um.vma, index, PMD_NR);
		if (flags)
			assert_int_equal(folio_mapcount(folio), PMD_NR);
		else
			assert_same(&before, &after, false);
		assert_counts(folio, 0);
		folio_unpin(folio, 1);
		counters_note();
		assert_true(try_to_unmap(folio, flags));
		assert_slots(um.vma, index, folio, 0, PMD_NR, true, __pte(0));
		assert_counters((long)PMD_NR, (long)PMD_NR);
		assert_counts(folio, 1);
		assert_int_equal(folio_mapcount(folio), 0);
		assert_int_equal(folio_entire_mapcount(folio), 0);
		assert_int_equal(refs_beside_cache(folio), 1);
		assert_true(pgtable_validate(um.mm));
		um_zap(um.vma);
		drop(folio);
		table_mm_empty(um.mm);
	}
	um_shutdown();
}

/* ---- several address spaces ---- */

COVERS("S2.18");
static void test_several_address_spaces(void **state)
{
	struct vm_area_struct *v[3];
	struct mm_struct *mms[2];
	struct folio *folio;
	unsigned long index;

	um_boot();
	for (unsigned int leaf = 0; leaf < 2; leaf++) {
		index = um.vma->vm_pgoff + (leaf ? 2 * PMD_NR : PMD_NR - 3);
		for (unsigned int i = 0; i < 2; i++)
			mms[i] = table_mm();
		memset(mms[0]->cpu, 0, TABLE_CPUS * sizeof(struct mm_cpu));
		if (leaf) {
			folio = cached_leaf(index);
		} else {
			folio = cached(level_order(1));
			hand_map(folio, 0, PMD_NR, um.vma, index, hand_pte(folio, 0));
			folio_get(folio);
		}
		v[0] = um.vma;
		v[1] = hand_fork(um.vma, mms[0]);
		v[2] = hand_fork(v[1], mms[1]);
		add_mm_counter(mms[0], MM_ANONPAGES, (long)PMD_NR);
		/* Pins are of no interest where nothing is exclusive. */
		folio_get(folio);
		assert_true(try_to_unmap(folio, 0));
		folio_put(folio);
		for (unsigned int i = 0; i < 3; i++)
			assert_slots(v[i], index, folio, 0, PMD_NR, false, __pte(0));
		assert_counts(folio, 3);
		assert_int_equal(get_mm_counter(mms[0], MM_ANONPAGES), 0);
		assert_int_equal(get_mm_counter(mms[0], MM_SWAPENTS), PMD_NR);
		for (unsigned int i = 3; i-- > 1;) {
			um_zap(v[i]);
			hand_vma_free(v[i]);
			table_mm_end(mms[i - 1]);
		}
		um_zap(um.vma);
		drop(folio);
	}
	um_shutdown();
}

/* ---- what stays ---- */

/* As it was in everything: entries one by one, counts, slots. */
static void assert_stays(struct folio *folio, unsigned long index, u32 flags)
{
	u32 refs = folio_ref_count(folio);
	int mapcount = folio_mapcount(folio);
	unsigned long nr = folio_nr_pages(folio);

	take(&before, um.vma, index, nr);
	counters_note();
	assert_false(try_to_unmap(folio, flags));
	take(&after, um.vma, index, nr);
	assert_same(&before, &after, false);
	assert_int_equal(folio_ref_count(folio), refs);
	assert_int_equal(folio_mapcount(folio), mapcount);
	assert_counters(0, 0);
	if (folio_test_flag(folio, PG_swapcache))
		assert_counts(folio, 0);
	assert_true(octavo_validate());
}

COVERS("S2.2 S2.18 S2.28 SX.7 SX.8");
static void test_pinned_stays(void **state)
{
	um_boot();
	for (unsigned int order = 0; order <= max_order(); order++)
		for (unsigned int i = 0; i < 3; i++) {
			struct folio *folio = cached(order);
			unsigned long nr = 1ul << order, index = um.vma->vm_pgoff;

			/* no two alike in what hardware sets: each comes back as itself */
			for (unsigned long n = 0; n < nr; n++) {
				pte_t e = hand_pte(folio, n);

				e = n % 2 ? pte_mkyoung(e) : e;
				hand_map(folio, n, 1, um.vma, index, n % 3 ? e : pte_mkdirty(e));
				if (!n)
					folio_get(folio);
			}
			folio_clear_flag(folio, PG_dirty);
			assert_true(folio_try_pin(folio, 1));
			assert_stays(folio, index, i == 1 ? TTU_SINGLE : 0);
			assert_false(folio_test_flag(folio, PG_dirty));
			folio_unpin(folio, 1);
			um_zap(um.vma);
			drop(folio);
		}
	um_shutdown();
}

/* A pin is met when parts of the run have gone: they are gone, and the rest is as it was. */
COVERS("S2.19 S2.20");
static void test_pinned_after_a_part_is_gone(void **state)
{
	struct folio *folio;
	unsigned long index;

	um_boot();
	index = um.vma->vm_pgoff + 1;
	folio = cached(3);
	hand_map(folio, 0, 8, um.vma, index, pte_wrprotect(hand_pte(folio, 0)));
	folio_get(folio);
	folio_clear_anon_exclusive(folio_subrange(folio, 0, 3));
	folio_clear_anon_exclusive(folio_subrange(folio, 6, 2));
	assert_true(folio_try_pin(folio, 1));
	take(&before, um.vma, index, 8);
	counters_note();
	assert_false(try_to_unmap(folio, 0));
	take(&after, um.vma, index, 8);
	assert_slots(um.vma, index, folio, 0, 3, false, __pte(0));
	for (unsigned long i = 3; i < 8; i++)
		assert_int_equal(before.pte[i].v, after.pte[i].v);
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(swap_count(folio_swap_entry(folio, i)), i < 3);
	assert_counters(3, 3);
	assert_int_equal(folio_mapcount(folio), 5);
	assert_int_equal(refs_beside_cache(folio), 1 + 5 + 1);
	assert_int_equal(folio_anon_exclusive_count(folio_subrange(folio, 0, 8)), 3);
	assert_int_equal(folio_count_mappings(folio), 5);
	/* And the rest when it can. */
	folio_unpin(folio, 1);
	assert_true(try_to_unmap(folio, 0));
	assert_slots(um.vma, index, folio, 3, 3, true, __pte(0));
	assert_slots(um.vma, index, folio, 6, 2, false, __pte(0));
	assert_counters(8, 8);
	um_zap(um.vma);
	drop(folio);
	um_shutdown();
}

/* A slot in the middle cannot be counted any higher: none of the part's are. */
COVERS("S2.27 S2.28 SX.8");
static void test_slot_counts_full(void **state)
{
	struct folio *folio;
	unsigned long index;
	swp_entry_t full;
	unsigned int n;

	um_boot();
	index = um.vma->vm_pgoff + 1;
	folio = cached(3);
	hand_map(folio, 0, 8, um.vma, index, hand_pte(folio, 0));
	folio_get(folio);
	full = folio_swap_entry(folio, 5);
	assert_int_equal(folio_dup_swap(folio_subrange(folio, 5, 1)), 0);
	for (n = 1; !swap_dup_entries(full, 1); n++)
		;
	take(&before, um.vma, index, 8);
	assert_false(try_to_unmap(folio, 0));
	take(&after, um.vma, index, 8);
	assert_same(&before, &after, false);
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(swap_count(folio_swap_entry(folio, i)), i == 5 ? n : 0);
	assert_int_equal(folio_anon_exclusive_count(folio_subrange(folio, 0, 8)), 8);
	/* One at a time what comes before it goes. */
	assert_false(try_to_unmap(folio, TTU_SINGLE));
	assert_slots(um.vma, index, folio, 0, 5, true, __pte(0));
	assert_int_equal(folio_mapcount(folio), 3);
	while (n--)
		folio_put_swap(folio_subrange(folio, 5, 1));
	um_zap(um.vma);
	drop(folio);
	um_shutdown();
}

/* Neither in the cache nor lazily freed: there is nothing to say instead. */
COVERS("S2.18");
static void test_without_slots_stays(void **state)
{
	struct folio *folio;

	um_boot();
	for (u32 flags = 0; flags < 2; flags++) {
		folio = anon(2);
		folio_lock(folio);
		hand_map(folio, 0, 4, um.vma, um.vma->vm_pgoff, hand_pte(folio, 0));
		folio_get(folio);
		assert_stays(folio, um.vma->vm_pgoff, flags ? TTU_HWPOISON : 0);
		um_zap(um.vma);
		folio_unlock(folio);
		folio_put(folio);
	}
	/* Not mapped: done already. And folios of files are looked for by nobody. */
	folio = cached(0);
	assert_true(try_to_unmap(folio, TTU_SYNC));
	drop(folio);
	um_shutdown();
}

COVERS("S2.14");
static void test_locked_stays(void **state)
{
	um_boot();
	for (unsigned int whole = 0; whole < 2; whole++) {
		struct folio *folio = cached(2);
		/* by one table wholly, or by two in part */
		unsigned long index = um.vma->vm_pgoff + (whole ? 0 : PMD_NR - 1);

		hand_map(folio, 0, 4, um.vma, index, hand_pte(folio, 0));
		folio_get(folio);
		um.vma->vm_flags |= VM_LOCKED;
		assert_stays(folio, index, 0);
		assert_int_equal(folio_test_flag(folio, PG_mlocked), whole);
		assert_true(try_to_unmap(folio, TTU_IGNORE_MLOCK));
		assert_slots(um.vma, index, folio, 0, 4, true, __pte(0));
		um.vma->vm_flags &= ~VM_LOCKED;
		um_zap(um.vma);
		drop(folio);
	}
	um_shutdown();
}

/* ---- what the embedder has a say in ---- */

static struct {
	unsigned int asked, refuse; /* the how manieth */
	unsigned long addr[64];
	swp_entry_t slot[64];
} say;

static int on_swap_out(struct mm_struct *mm, unsigned long addr, unsigned long pfn,
		       swp_entry_t slot)
{
	assert_ptr_equal(mm, um.mm);
	assert_true(say.asked < ARRAY_SIZE(say.addr));
	say.addr[say.asked] = addr;
	say.slot[say.asked] = slot;
	return ++say.asked == say.refuse ? -EAGAIN : 0;
}

COVERS("S2.18 S2.21");
static void test_embedder_is_asked(void **state)
{
	static const struct octavo_hooks hooks = { .swap_out = on_swap_out };
	const unsigned long nr = 4;

	for (unsigned int refuse = 0; refuse <= nr; refuse++) {
		struct folio *folio;
		unsigned long index;

		um_boot();
		octavo_state.hooks = &hooks;
		say.asked = 0;
		say.refuse = refuse;
		index = um.vma->vm_pgoff;
		folio = cached(2);
		hand_map(folio, 0, nr, um.vma, index, hand_pte(folio, 0));
		folio_get(folio);
		take(&before, um.vma, index, nr);
		assert_int_equal(try_to_unmap(folio, 0), !refuse);
		take(&after, um.vma, index, nr);
		assert_int_equal(say.asked, refuse ? refuse : nr);
		for (unsigned long i = 0; i < say.asked; i++) {
			assert_int_equal(say.addr[i], hand_addr(um.vma, index + i));
			assert_int_equal(say.slot[i].v, folio_swap_entry(folio, i).v);
		}
		for (unsigned long i = 0; i < nr; i++) {
			bool gone = !refuse || i + 1 < refuse;

			assert_int_equal(swap_count(folio_swap_entry(folio, i)), gone);
			if (gone)
				assert_slots(um.vma, index, folio, i, 1, true, __pte(0));
			else
				assert_int_equal(after.pte[i].v, before.pte[i].v);
		}
		um_zap(um.vma);
		drop(folio);
		um_shutdown();
	}
}

/* A leaf is asked about page by page. */
COVERS("S2.21");
static void test_embedder_is_asked_of_leaves(void **state)
{
	static const struct octavo_hooks hooks = { .swap_out = on_swap_out };
	struct folio *folio;

	um_boot();
	octavo_state.hooks = &hooks;
	say.asked = 0;
	say.refuse = 3;
	folio = cached_leaf(um.vma->vm_pgoff);
	assert_false(try_to_unmap(folio, 0));
	assert_int_equal(say.asked, 3);
	assert_int_equal(folio_mapcount(folio), PMD_NR - 2);
	assert_slots(um.vma, um.vma->vm_pgoff, folio, 0, 2, true, __pte(0));
	um_zap(um.vma);
	drop(folio);
	um_shutdown();
}

#if OCTAVO_FAULTS
/* ---- the k-th step fails ---- */

COVERS("S2.20 S2.28 SX.8");
static void test_fails_at_every_step(void **state)
{
	unsigned long failed = 0, done = 0;

	um_boot();
	for (unsigned int kind = 0; kind < 6; kind++)
		for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++)
			for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
			{
				u32 kinds = mode == OCTAVO_FAULT_AFTER
						    ? OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB
						    : OCTAVO_FAULT_ALL;
				bool leaf = kind >= 4, gone;
				unsigned long nr, index = um.vma->vm_pgoff + PMD_NR - kind;
				struct folio *folio;
				u32 steps;

				octavo_fault_disarm();
				if (leaf) {
					index = um.vma->vm_pgoff + 3 * PMD_NR;
					folio = cached_leaf(index);
				} else {
					folio = cached(min(kind, 3u));
					hand_map(folio, 0, folio_nr_pages(folio), um.vma, index,
						 hand_pte(folio, 0));
					folio_get(folio);
				}
				nr = folio_nr_pages(folio);
				counters_note();
				take(&before, um.vma, index, nr);
				octavo_fault_arm(k, mode, kinds);
				gone = try_to_unmap(folio, kind == 5 ? TTU_SPLIT_LEAVES : 0);
				steps = octavo_fault_disarm();
				take(&after, um.vma, index, nr);
				if (gone) {
					assert_slots(um.vma, index, folio, 0, nr, true, __pte(0));
					assert_counters((long)nr, (long)nr);
					done++;
				} else {
					assert_true(steps);
					assert_same(&before, &after, false);
					assert_counters(0, 0);
					failed++;
				}
				assert_counts(folio, gone);
				assert_int_equal(folio_count_mappings(folio),
						 folio_mapcount(folio));
				assert_int_equal(refs_beside_cache(folio),
						 1 + (u32)folio_mapcount(folio));
				assert_true(octavo_validate());
				for (unsigned long i = 0; i < nr; i++)
					assert_int_equal(before.number[i],
							 number_of(folio_pfn(folio) + i));
				um_zap(um.vma);
				drop(folio);
				table_mm_empty(um.mm);
				hit = steps;
			}
	/* a table for a leaf is what can be missing */
	assert_true(failed >= 4 && done >= 12);
	um_shutdown();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_entries_keep_what_they_say),
		TEST(test_protected_entries),
		TEST(test_runs_by_tables),
		TEST(test_highest_number_of_pages),
		TEST(test_areas_have_a_part),
		TEST(test_runs_of_unlike_entries),
		TEST(test_leaf),
		TEST(test_several_address_spaces),
		TEST(test_pinned_stays),
		TEST(test_pinned_after_a_part_is_gone),
		TEST(test_slot_counts_full),
		TEST(test_without_slots_stays),
		TEST(test_locked_stays),
		TEST(test_embedder_is_asked),
		TEST(test_embedder_is_asked_of_leaves),
#if OCTAVO_FAULTS
		TEST(test_fails_at_every_step),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
