/* SPDX-License-Identifier: MIT */
/*
 * test_pgtable.c - page tables: walks, links, locks, freeing, splitting, what an entry maps, validation.
 */
#include "table_machine.h"

/* Two last-level tables from the end of one of the next level, so that ranges cross. */
#define BASE (level_size(2) - TABLES(2))

/* ---- walks and links ---- */

/* The addresses are the users', in both geometries; a range that ends at 0 does not confuse anybody. */
static void test_pgtable_geometry(void **state)
{
	assert_int_equal(level_size(0), PAGE_SIZE);
	for (unsigned int l = 0; l + 1 < OCTAVO_TABLE_LEVELS; l++) {
		assert_int_equal(level_size(l + 1), level_size(l) * PTRS_PER_TABLE);
		assert_int_equal(1ul << level_order(l + 1), PTRS_PER_TABLE << level_order(l));
		assert_int_equal(level_index(level_size(l) * 3, l), 3);
		assert_int_equal(level_index(level_size(l + 1), l), 0);
		assert_int_equal(level_addr_end(5, ~0ul, l), level_size(l));
		assert_int_equal(level_addr_end(level_size(l), level_size(l) + 7, l),
				 level_size(l) + 7);
	}
	assert_int_equal(level_addr_end(-PAGE_SIZE, 0, 0), 0);
	assert_true(level_index(TASK_SIZE_MAX, PGTABLE_LEVEL_TOP) < PTRS_PER_TABLE / 2);
}

COVERS("S2.31");
static void test_pgtable_tables_appear_as_far_down_as_asked(void **state)
{
	struct mm_struct *mm;
	struct pt_pos pos;
	unsigned long bytes = PAGE_SIZE;

	table_boot();
	mm = table_mm();
	assert_int_equal(mm->pgtables_bytes, bytes);
	assert_false(pgtable_walk(mm, BASE, 0, &pos));
	assert_int_equal(pos.level, PGTABLE_LEVEL_TOP);
	assert_ptr_equal(pos.pt, mm->pgd);
	assert_true(pte_none(pos.pte));
	for (unsigned int l = PGTABLE_LEVEL_TOP + 1; l-- > 0;) {
		struct pt_pos again;

		assert_int_equal(pgtable_alloc_to(mm, BASE + 123, l, GFP_KERNEL, &pos), 0);
		assert_int_equal(pos.level, l);
		assert_ptr_equal(pos.mm, mm);
		assert_int_equal(pos.addr, BASE + 123);
		assert_ptr_equal(pos.ptep, (pte_t *)ptdesc_address(pos.pt) + level_index(BASE, l));
		assert_int_equal(pgtable_alloc_to(mm, BASE, l, GFP_KERNEL, &again), 0);
		assert_ptr_equal(again.ptep, pos.ptep);
		assert_true(pgtable_walk(mm, BASE, l, &again));
		assert_ptr_equal(again.pt, pos.pt);
		assert_int_equal(mm->pgtables_bytes, bytes);
		assert_true(pgtable_validate(mm));
		bytes += PAGE_SIZE;
	}
	/* a neighbour in the same table of level 1 needs one more, one beyond it needs two */
	assert_int_equal(pgtable_alloc_to(mm, BASE + TABLES(1), 0, GFP_KERNEL, &pos), 0);
	assert_int_equal(mm->pgtables_bytes, bytes);
	assert_int_equal(pgtable_alloc_to(mm, BASE + TABLES(2), 0, GFP_KERNEL, &pos), 0);
	assert_int_equal(mm->pgtables_bytes, bytes + 2 * PAGE_SIZE);
	table_mm_end(mm);
	shutdown_clean();
}

/* What is in the way is shown, and stays. */
static void test_pgtable_alloc_stops_at_leaf_and_swap_form(void **state)
{
	const pte_t in_the_way[] = {
		table_leaf(0, 1, RW),
		table_leaf(0, 1, _PAGE_PROTNONE),
		swp_entry_to_pte(swp_entry(SWP_MIGRATION_READ, 0)),
	};
	struct mm_struct *mm;
	struct pt_pos pos;

	table_boot();
	mm = table_mm();
	for (unsigned int i = 0; i < ARRAY_SIZE(in_the_way); i++) {
		table_map(mm, BASE, 1, in_the_way[i]);
		assert_int_equal(pgtable_alloc_to(mm, BASE, 0, GFP_KERNEL, &pos), -EEXIST);
		assert_int_equal(pos.level, 1);
		assert_true(pte_same(pos.pte, in_the_way[i]));
		assert_false(pte_offset_lock(mm, BASE, 0, &pos));
		assert_false(spin_is_locked(&pos.pt->ptl));
		assert_true(pgtable_validate(mm));
		assert_true(pte_same(table_unmap(mm, BASE, 1), in_the_way[i]));
	}
	table_mm_end(mm);
	shutdown_clean();
}

#if OCTAVO_FAULTS
/* No memory, a busy lock, a compare-and-swap that fails for no reason: at every step. */
static void test_pgtable_alloc_fails_at_every_step(void **state)
{
	table_boot();
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL, hit)
	{
		struct mm_struct *mm;
		struct pt_pos pos;
		int err;

		octavo_fault_disarm();
		mm = table_mm();
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
		err = pgtable_alloc_to(mm, BASE, 0, GFP_NOWAIT, &pos);
		hit = octavo_fault_disarm();
		assert_true(err == 0 || (err == -ENOMEM && hit));
		assert_true(pgtable_validate(mm));
		if (err)
			assert_int_equal(pgtable_alloc_to(mm, BASE, 0, GFP_NOWAIT, &pos), 0);
		table_mm_end(mm);
	}
	shutdown_clean();
}

static void test_pgtable_pgd_init_without_memory(void **state)
{
	struct mm_struct mm = { 0 };

	table_boot();
	octavo_fault_arm(1, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
	assert_int_equal(pgd_init(&mm, GFP_KERNEL), -ENOMEM);
	octavo_fault_disarm();
	assert_null(mm.pgd);
	assert_int_equal(mm.pgtables_bytes, 0);
	shutdown_clean();
}

#endif

/* Inside somebody's RCU section nobody is waited for. */
static void test_pgtable_alloc_in_rcu_section_does_not_wait(void **state)
{
	struct mm_struct *mm;
	struct pt_pos pos;

	table_boot();
	mm = table_mm();
	rcu_read_lock();
	assert_int_equal(pgtable_alloc_to(mm, BASE, 1, GFP_NOWAIT, &pos), 0);
	spin_lock(&pos.pt->ptl);
	assert_int_equal(pgtable_alloc_to(mm, BASE, 0, GFP_NOWAIT, &pos), -EAGAIN);
	pte_unlock(&pos);
	assert_int_equal(pgtable_alloc_to(mm, BASE, 0, GFP_NOWAIT, &pos), 0);
	rcu_read_unlock();
	table_mm_end(mm);
	shutdown_clean();
}

static struct pt_pos misuse_pos;

static void link_over(void *arg)
{
	pgtable_link(&misuse_pos, arg);
}

static void unlink_none(void *arg)
{
	pgtable_unlink(&misuse_pos);
}

static void exit_mm(void *arg)
{
	pgd_exit(arg);
}

static void test_pgtable_misuse_is_fatal(void **state)
{
	struct mm_struct *mm;

	table_boot();
	mm = table_mm();
	table_map(mm, BASE, 1, table_leaf(0, 1, RW));
	assert_true(pte_offset_lock(mm, BASE, 1, &misuse_pos));
	expect_panic(link_over, pagetable_alloc(GFP_KERNEL, 0), "not none");

	table_boot();
	mm = table_mm();
	table_map(mm, BASE, 1, table_leaf(0, 1, RW));
	assert_true(pte_offset_lock(mm, BASE, 1, &misuse_pos));
	expect_panic(unlink_none, NULL, "no table");

	table_boot();
	mm = table_mm();
	table_map(mm, BASE, 1, table_leaf(0, 1, RW));
	expect_panic(exit_mm, mm, "tables below");
}

/* ---- locks ---- */

static void test_pgtable_lock_says_what_is_there(void **state)
{
	struct mm_struct *mm;
	struct pt_pos pos, none;

	table_boot();
	mm = table_mm();
	assert_false(pte_offset_lock(mm, BASE, 0, &pos));
	rcu_read_lock();
	assert_int_equal(pte_offset_trylock(mm, BASE, 0, &pos), 0);
	rcu_read_unlock();
	assert_false(pte_offset_lock_rcu(mm, BASE, 0, &pos));
	table_map(mm, BASE, 0, table_leaf(1, 0, RW));

	for (unsigned int l = 0; l <= PGTABLE_LEVEL_TOP; l++) {
		assert_true(pte_offset_lock(mm, BASE, l, &pos));
		assert_true(spin_is_locked(&pos.pt->ptl));
		assert_true(pte_same(pos.pte, ptep_get(pos.ptep)));
		assert_int_equal(pos.level, l);
		rcu_read_lock();
		assert_int_equal(pte_offset_trylock(mm, BASE, l, &none), -EAGAIN);
		rcu_read_unlock();
		pte_unlock(&pos);
		rcu_read_lock();
		assert_int_equal(pte_offset_trylock(mm, BASE, l, &pos), 1);
		rcu_read_unlock();
		assert_true(spin_is_locked(&pos.pt->ptl));
		pte_unlock(&pos);
		assert_true(pte_offset_lock_rcu(mm, BASE, l, &pos));
		assert_true(pte_same(pos.pte, ptep_get(pos.ptep)));
		pte_unlock(&pos);
		assert_false(spin_is_locked(&pos.pt->ptl));
	}
	table_unmap(mm, BASE, 0);
	table_mm_end(mm);
	shutdown_clean();
}

/* A table of the last level that moves is found where it is, and not where it was. */
static void test_pgtable_moved_table(void **state)
{
	struct mm_struct *mm;
	struct pt_pos from, to, pos;
	struct ptdesc *pt;

	table_boot();
	mm = table_mm();
	table_map(mm, BASE + PAGES(3), 0, table_leaf(9, 0, RW));
	assert_int_equal(pgtable_alloc_to(mm, BASE + TABLES(5), 1, GFP_KERNEL, &to), 0);
	assert_true(pgtable_walk(mm, BASE, 0, &pos));
	assert_true(pgtable_walk(mm, BASE, 1, &from));
	spin_lock(&from.pt->ptl);
	spin_lock(&to.pt->ptl);
	spin_lock(&pos.pt->ptl);
	pt = pgtable_unlink(&from);
	assert_ptr_equal(pt, pos.pt);
	pgtable_link(&to, pt);
	spin_unlock(&pos.pt->ptl);
	spin_unlock(&to.pt->ptl);
	spin_unlock(&from.pt->ptl);
	assert_true(pgtable_validate(mm));
	assert_false(table_there(mm, BASE, 0));
	assert_int_equal(pte_pfn(table_unmap(mm, BASE + TABLES(5) + PAGES(3), 0)), 9);
	table_mm_end(mm);
	shutdown_clean();
}

/* ---- freeing ---- */

static void free_range(struct mm_struct *mm, unsigned long start, unsigned long end,
		       unsigned long floor, unsigned long ceiling)
{
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, mm);
	free_pgtables(&tlb, start, end, floor, ceiling);
	tlb_finish_mmu(&tlb);
	assert_true(pgtable_validate(mm));
}

/* One page of room too little on either side and the table stays. */
static void test_pgtable_floor_and_ceiling_are_exact(void **state)
{
	const unsigned long at = BASE, end = at + TABLES(1);
	const struct {
		unsigned long start, end, floor, ceiling;
		bool stays;
	} cases[] = {
		{ at, end, at, end, false },
		{ at, end, 0, 0, false },
		{ at + PAGES(1), at + PAGES(2), at, end, false },
		{ at + PAGES(1), at + PAGES(2), 0, 0, false },
		{ at + PAGES(1), end, at + PAGES(1), end, true },
		{ at, end - PAGES(1), at, end - PAGES(1), true },
		{ at + PAGES(1), end - PAGES(1), 0, end - PAGES(1), true },
		{ at + PAGES(1), end - PAGES(1), at + PAGES(1), 0, true },
		{ end, end + PAGES(1), at + PAGES(1), 0, true }, /* another table's */
		{ at - PAGES(1), at, 0, end - PAGES(1), true },	 /* before it */
		{ at - PAGES(1), at + 1, 0, 0, false },		 /* reaches into it */
	};
	struct mm_struct *mm;

	table_boot();
	mm = table_mm();
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pt_pos pos;

		assert_int_equal(pgtable_alloc_to(mm, at, 0, GFP_KERNEL, &pos), 0);
		free_range(mm, cases[i].start, cases[i].end, cases[i].floor, cases[i].ceiling);
		if (table_there(mm, at, 0) != cases[i].stays)
			fail_msg("case %u: table %s", i, cases[i].stays ? "gone" : "stays");
	}
	table_mm_end(mm);
	shutdown_clean();
}

/* Upper tables go with the last area below them, at every level. */
static void test_pgtable_upper_tables_follow(void **state)
{
	struct mm_struct *mm;
	struct pt_pos pos;

	table_boot();
	mm = table_mm();
	for (unsigned int l = 1; l < PGTABLE_LEVEL_TOP; l++) {
		/* two areas, one at each end of what a table of level l covers */
		const unsigned long a = level_size(l + 1), b = 2 * level_size(l + 1) - PAGES(1);

		assert_int_equal(pgtable_alloc_to(mm, a, 0, GFP_KERNEL, &pos), 0);
		assert_int_equal(pgtable_alloc_to(mm, b, 0, GFP_KERNEL, &pos), 0);
		free_range(mm, a, a + PAGES(1), 0, b);
		assert_false(table_there(mm, a, 0));
		assert_true(table_there(mm, a, l));
		assert_true(table_there(mm, b, 0));
		free_range(mm, b, b + PAGES(1), 0, 0);
		assert_int_equal(mm->pgtables_bytes, PAGE_SIZE);
	}
	table_mm_end(mm);
	shutdown_clean();
}

/* What a fault that lost left behind, where no area is, goes with the table above it. */
static void test_pgtable_stray_table_goes_too(void **state)
{
	struct mm_struct *mm;
	struct pt_pos pos;

	table_boot();
	mm = table_mm();
	assert_int_equal(pgtable_alloc_to(mm, BASE, 0, GFP_KERNEL, &pos), 0);
	assert_int_equal(pgtable_alloc_to(mm, BASE + TABLES(1), 0, GFP_KERNEL, &pos), 0);
	assert_int_equal(pgtable_alloc_to(mm, 0, 0, GFP_KERNEL, &pos), 0);
	free_range(mm, BASE, BASE + PAGES(1), 0, 0);
	assert_int_equal(mm->pgtables_bytes, PAGE_SIZE);
	table_mm_end(mm);
	shutdown_clean();
}

/* Areas come and go at random; the tables are always those of a model, by the rule for each. */
#define SLOTS (8 * PTRS_PER_TABLE)
#define AREAS 24
static void test_pgtable_random_areas_against_a_model(void **state)
{
	struct mm_struct *mm;
	unsigned long start[AREAS + 2], len[AREAS + 2];
	unsigned int n = 0;

	srand(7);
	table_boot();
	mm = table_mm();
	for (unsigned int turn = 0; turn < 600; turn++) {
		unsigned int i = (unsigned int)rand() % (n + 1);
		const unsigned long low = i ? start[i - 1] + len[i - 1] : 0;
		const unsigned long high = i < n ? start[i] : SLOTS;

		if (n < AREAS && high - low > 2 && rand() % 3) {
			unsigned long s = low + (unsigned long)rand() % (high - low - 1);
			unsigned long l = 1 + (unsigned long)rand() % (high - s);

			if (rand() % 2)
				l = min(l, PTRS_PER_TABLE / 2);
			memmove(start + i + 1, start + i, (n - i) * sizeof(*start));
			memmove(len + i + 1, len + i, (n - i) * sizeof(*len));
			start[i] = s;
			len[i] = l;
			n++;
			for (unsigned long p = s; p < s + l; p++) {
				struct pt_pos pos;

				assert_int_equal(
					pgtable_alloc_to(mm, PAGES(p), 0, GFP_KERNEL, &pos), 0);
			}
		} else if (i < n) {
			const unsigned long floor = i ? start[i - 1] + len[i - 1] : 0;
			const unsigned long ceiling = i + 1 < n ? start[i + 1] : 0;

			free_range(mm, PAGES(start[i]), PAGES(start[i] + len[i]), PAGES(floor),
				   PAGES(ceiling));
			memmove(start + i, start + i + 1, (n - i) * sizeof(*start));
			memmove(len + i, len + i + 1, (n - i) * sizeof(*len));
			n--;
		}
		/* a table is there if an area uses it: nothing is kept without one, nothing goes with one */
		for (unsigned long t = 0; t < SLOTS; t += PTRS_PER_TABLE) {
			bool used = false;

			for (i = 0; i < n; i++)
				used |= start[i] < t + PTRS_PER_TABLE && start[i] + len[i] > t;
			assert_int_equal(table_there(mm, PAGES(t), 0), used);
		}
	}
	table_mm_end(mm);
	shutdown_clean();
}

#if OCTAVO_DEBUG
static void free_all(void *arg)
{
	free_range(arg, 0, TASK_SIZE_MAX, 0, 0);
}

static void test_pgtable_freeing_a_table_with_entries_is_fatal(void **state)
{
	struct mm_struct *mm;

	table_boot();
	mm = table_mm();
	table_map(mm, BASE, 0, table_leaf(1, 0, RW));
	expect_panic(free_all, mm, "entries_all_none");
}
#endif

/* ---- splitting ---- */

/* Every entry of the new table maps what the leaf did, with its bits; a translation of the leaf is gone. */
static void split_one(struct mm_struct *mm, pte_t leaf)
{
	struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, 0);
	struct sim_mmu_stat before, after;
	struct pt_pos pos;
	pte_t was;
	u64 v;

	table_map(mm, BASE, 1, leaf);
	if (leaf.v & _PAGE_PRESENT)
		assert_int_equal(sim_mmu_try(BASE, SIM_LOAD, &v), SIM_OK);
	assert_true(pte_offset_lock(mm, BASE + PAGES(2), 1, &pos));
	leaf = pos.pte;
	sim_mmu_stat(&before);
	was = pgtable_split_begin(&pos);
	sim_mmu_stat(&after);
	assert_true(pte_same(was, leaf));
	assert_true(pte_none(ptep_get(pos.ptep)));
	assert_true(spin_is_locked(&pos.pt->ptl));
	if (leaf.v & _PAGE_PRESENT) {
		assert_true(after.flush_hits > before.flush_hits);
		assert_int_equal(sim_mmu_try(BASE, SIM_LOAD, &v), SIM_NOT_PRESENT);
	} else {
		assert_int_equal(after.flushes > before.flushes, pte_present(leaf));
	}
	pgtable_split_end(&pos, was, pt);
	pte_unlock(&pos);
	assert_true(pgtable_validate(mm));
	for (unsigned long i = 0; i < PTRS_PER_TABLE; i++) {
		pte_t e = table_unmap(mm, BASE + PAGES(i), 0);

		if (pte_is_swap(leaf)) {
			assert_int_equal(__swp_type(e), __swp_type(leaf));
			assert_int_equal(__swp_offset(e), __swp_offset(leaf) + i);
			assert_true(pte_same(e, pte_swp_advance(leaf, i)));
		} else {
			assert_int_equal(pte_pfn(e), pte_pfn(leaf) + i);
			assert_int_equal(pte_pgprot(e).v | _PAGE_LEAF, pte_pgprot(leaf).v);
			assert_false(e.v & _PAGE_LEAF);
		}
	}
	table_mm_empty(mm);
}

COVERS("S2.31");
static void test_pgtable_split_keeps_everything(void **state)
{
	const unsigned long pfn = 1ul << level_order(1);
	swp_entry_t mig = swp_entry(SWP_MIGRATION_WRITE, pfn | SWP_MIG_YOUNG | SWP_MIG_DIRTY);
	struct mm_struct *mm;

	table_boot();
	mm = table_mm();
	sim_mm_use(mm);
	split_one(mm, table_leaf(pfn, 1, PAGE_SHARED.v));
	split_one(mm, table_leaf(pfn, 1, PAGE_READONLY.v));
	split_one(mm, table_leaf(pfn, 1, PAGE_READONLY_EXEC.v | _PAGE_DIRTY | _PAGE_SOFT_DIRTY));
	split_one(mm, table_leaf(pfn, 1, PAGE_READONLY.v | _PAGE_UFFD_WP));
	split_one(mm, table_leaf(pfn, 1, PAGE_NONE.v | _PAGE_DIRTY));
	split_one(mm, swp_entry_to_pte(mig));
	split_one(mm, pte_swp_mksoft_dirty(swp_entry_to_pte(mig)));
	split_one(mm, pte_swp_mkexclusive(pte_swp_mkuffd_wp(swp_entry_to_pte(mig))));
	sim_mm_use(NULL);
	table_mm_end(mm);
	shutdown_clean();
}

/* ---- what an entry maps ---- */

COVERS("SX.1 SX.2");
static void test_pgtable_normal_page(void **state)
{
	struct vm_area_struct plain = { .vm_flags = VM_READ }, mixed = { .vm_flags = VM_MIXEDMAP },
			      frames = { .vm_flags = VM_PFNMAP };
	const struct vm_area_struct *any[] = { NULL, &plain, &mixed, &frames };
	struct folio *folio;
	struct page *counted;
	pte_t e;

	table_boot();
	sim_log_take(NULL);
	folio = folio_alloc(GFP_KERNEL, level_order(1), FOLIO_ANON);
	counted = alloc_page(GFP_KERNEL);
	for (unsigned int i = 0; i < ARRAY_SIZE(any); i++) {
		/* a page of a folio; and in an area of frames a private copy is one too */
		e = table_leaf(folio_pfn(folio) + 1, 0, RW);
		assert_ptr_equal(vm_normal_page(any[i], BASE, e, 0), folio_page(folio, 1));
		assert_ptr_equal(vm_normal_folio(any[i], BASE, e, 0), folio);
		e = table_leaf(folio_pfn(folio), 1, RW);
		assert_ptr_equal(vm_normal_page(any[i], BASE, e, 1), folio_page(folio, 0));
		assert_ptr_equal(vm_normal_folio(any[i], BASE, e, 1), folio);
		/* inaccessible is as good */
		e = table_leaf(folio_pfn(folio), 0, PAGE_NONE.v);
		assert_ptr_equal(vm_normal_folio(any[i], BASE, e, 0), folio);
		e = table_leaf(page_to_pfn(counted), 0, RW);
		assert_ptr_equal(vm_normal_page(any[i], BASE, e, 0), counted);
		assert_null(vm_normal_folio(any[i], BASE, e, 0));
	}
	/* nobody's business: a frame with a word, and one without */
	for (unsigned int i = 2; i < ARRAY_SIZE(any); i++) {
		e = pte_mkspecial(table_leaf(page_to_pfn(counted), 0, RW));
		assert_null(vm_normal_page(any[i], BASE, e, 0));
		e = pte_mkspecial(table_leaf((1ul << PTE_PFN_BITS) - 1, 0, RW));
		assert_null(vm_normal_page(any[i], BASE, e, 0));
		assert_null(vm_normal_folio(any[i], BASE, e, 0));
	}
	/* the zero page, in any area */
	octavo_state.space.zero_pfn = page_to_pfn(counted);
	e = pte_mkspecial(table_leaf(page_to_pfn(counted), 0, RW));
	for (unsigned int i = 0; i < ARRAY_SIZE(any); i++)
		assert_null(vm_normal_page(any[i], BASE, e, 0));
	assert_int_equal(sim_log_take(NULL), 0);
	octavo_state.space.zero_pfn = 0;
	__free_page(counted);
	folio_put(folio);
	shutdown_clean();
}

static void map_nowhere(void *arg)
{
	vm_normal_page(NULL, BASE, table_leaf((1ul << PTE_PFN_BITS) - 1, 0, RW), 0);
}

static void test_pgtable_normal_entry_of_no_frame_is_fatal(void **state)
{
	table_boot();
	expect_panic(map_nowhere, NULL, "no such frame");
}

/* ---- validation and dumps ---- */

static unsigned int lines;
static char dumped[512];

static void count_line(enum octavo_log_level level, const char *line)
{
	if (level == OCTAVO_LOG_DUMP && lines++ < 64)
		strncat(dumped, line, sizeof(dumped) - strlen(dumped) - 1);
}

/* Each thing that validation looks at, broken and mended. */
static void test_pgtable_validate_finds_each_fault(void **state)
{
	struct mm_struct *mm;
	struct pt_pos pos, up;

	table_boot();
	mm = table_mm();
	sim_log_quiet(true);
	sim_log_to(count_line);
	table_map(mm, BASE, 0, table_leaf(1, 0, RW));
	assert_true(pgtable_walk(mm, BASE, 0, &pos));
	assert_true(pgtable_walk(mm, BASE, 1, &up));
#define BROKEN(field, bad)                          \
	do {                                        \
		__typeof__(field) good = (field);   \
		assert_true(pgtable_validate(mm));  \
		(field) = (bad);                    \
		assert_false(pgtable_validate(mm)); \
		(field) = good;                     \
		assert_true(pgtable_validate(mm));  \
	} while (0)
	BROKEN(pos.pt->mm, NULL);
	BROKEN(pos.pt->index, pos.pt->index + 1);
	BROKEN(pos.pt->nr_entries, 1);
	BROKEN(up.pt->nr_entries, 0);
	BROKEN(mm->pgd->nr_entries, 2);
	BROKEN(pos.pt->flags, 1u << PT_freeing);
	BROKEN(pos.pt->ptl.val, 1);
	BROKEN(mm->pgtables_bytes, mm->pgtables_bytes + PAGE_SIZE);
	/* of no frame; of no type; a leaf where none may be, and not aligned; a table that is none */
	BROKEN(pos.ptep[1], table_leaf(1ul << 39, 0, RW));
	BROKEN(pos.ptep[1], __swp_pte(NR_SWP_TYPES, 1));
	BROKEN(up.ptep[1], table_leaf(1, 1, RW));
	BROKEN(up.ptep[1], pte_mktable(1));
	BROKEN(up.ptep[1], __pte(_PAGE_PROTNONE));
	BROKEN(mm->pgd_table[2], table_leaf(0, 1, RW));
	BROKEN(mm->pgd_table[2], swp_entry_to_pte(swp_entry(SWP_HWPOISON, 1)));
	/* the same table twice */
	BROKEN(up.ptep[1], *up.ptep);
	/* the upper half is the embedder's */
	mm->pgd_table[PTRS_PER_TABLE / 2] = pte_mktable(1);
	mm->pgd_table[PTRS_PER_TABLE - 1] = table_leaf(1, 1, RW);
	assert_true(pgtable_validate(mm));
	sim_log_to(NULL);
	sim_log_quiet(false);
	table_unmap(mm, BASE, 0);
	table_mm_end(mm);
	shutdown_clean();
}

static void test_pgtable_dump_shows_what_is_in_range(void **state)
{
	struct mm_struct *mm;

	table_boot();
	mm = table_mm();
	table_map(mm, BASE, 0, table_leaf(0x11, 0, RW));
	table_map(mm, BASE + PAGES(1), 0, swp_entry_to_pte(swp_entry(SWP_DEVICE_0, 0x77)));
	table_map(mm, BASE + TABLES(1), 1, table_leaf(0, 1, RW));
	lines = 0;
	dumped[0] = 0;
	sim_log_to(count_line);
	pgtable_dump(mm, BASE, BASE + TABLES(2));
	assert_int_equal(lines, OCTAVO_TABLE_LEVELS - 1 + 3);
	assert_non_null(strstr(dumped, "pfn 0x11 uw"));
	assert_non_null(strstr(dumped, "swap form, type 0, 0x77"));
	lines = 0;
	pgtable_dump(mm, BASE + PAGES(1), BASE + PAGES(2));
	assert_int_equal(lines, OCTAVO_TABLE_LEVELS - 1 + 1);
	lines = 0;
	pgtable_dump(mm, BASE, BASE);
	assert_int_equal(lines, 0);
	sim_log_to(NULL);
	table_unmap(mm, BASE, 0);
	table_unmap(mm, BASE + PAGES(1), 0);
	table_unmap(mm, BASE + TABLES(1), 1);
	table_mm_end(mm);
	shutdown_clean();
}

/* ---- CPUs ---- */

/* Everybody makes the same tables, and each counts in the entries of all. */
static void make_and_count(unsigned int cpu, void *arg)
{
	struct mm_struct *mm = arg;

	for (unsigned int i = 0; i < 64; i++) {
		const unsigned long addr = BASE + TABLES(i % 8) + PAGES(i % PTRS_PER_TABLE);
		struct pt_pos pos;

		assert_int_equal(pgtable_alloc_to(mm, addr, 0, GFP_NOWAIT, &pos), 0);
		if (i & 1)
			assert_true(pte_offset_lock(mm, addr, 0, &pos));
		else
			assert_true(pte_offset_lock_rcu(mm, addr, 0, &pos));
		set_pte(pos.ptep,
			pte_none(pos.pte) ? __swp_pte(0, 1) : pte_swp_advance(pos.pte, 1));
		pte_unlock(&pos);
	}
}

static void test_pgtable_cpus_make_the_same_tables(void **state)
{
	struct mm_struct *mm;

	table_boot();
	for (unsigned int turn = 0; turn < 20; turn++) {
		u64 sum = 0;

		mm = table_mm();
		sim_run(TABLE_CPUS, false, make_and_count, mm);
		assert_true(pgtable_validate(mm));
		for (unsigned long p = 0; p < 8 * PTRS_PER_TABLE; p++)
			if (table_there(mm, BASE + PAGES(p), 0))
				sum += __swp_offset(table_unmap(mm, BASE + PAGES(p), 0));
		assert_int_equal(sum, TABLE_CPUS * 64);
		table_mm_end(mm);
	}
	shutdown_clean();
}

/* CPU 0 unmaps and frees, the others look for tables under RCU alone and write where they find one. */
static u32 stop;

static void free_or_look(unsigned int cpu, void *arg)
{
	struct mm_struct *mm = arg;
	struct pt_pos pos;

	for (unsigned int i = 0; cpu == 0 && i < 400; i++) {
		struct mmu_gather tlb;

		/* a small machine is soon full of tables that wait for a grace period */
		while (pgtable_alloc_to(mm, BASE, 0, GFP_NOWAIT, &pos))
			rcu_barrier();
		tlb_gather_mmu(&tlb, mm);
		if (pte_offset_lock(mm, BASE, 0, &pos)) {
			ptep_get_and_clear(pos.ptep);
			pte_unlock(&pos);
		}
		free_pgtables(&tlb, BASE, BASE + PAGES(1), 0, 0);
		tlb_finish_mmu(&tlb);
	}
	if (cpu == 0) {
		WRITE_ONCE(stop, 1u);
		return;
	}
	while (!READ_ONCE(stop)) {
		if (!pte_offset_lock_rcu(mm, BASE + PAGES(cpu), 0, &pos))
			continue;
		/* under the lock it is this table for as long as we like */
		assert_true(pte_none(pos.pte));
		set_pte(pos.ptep, __swp_pte(1, cpu));
		assert_int_equal(__swp_offset(ptep_get(pos.ptep)), cpu);
		pte_clear(pos.ptep);
		pte_unlock(&pos);
	}
}

static void test_pgtable_walkers_under_rcu_against_freeing(void **state)
{
	struct mm_struct *mm;

	table_boot();
	mm = table_mm();
	stop = 0;
	sim_run(3, false, free_or_look, mm);
	table_mm_end(mm);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pgtable_geometry),
		TEST(test_pgtable_tables_appear_as_far_down_as_asked),
		TEST(test_pgtable_alloc_stops_at_leaf_and_swap_form),
#if OCTAVO_FAULTS
		TEST(test_pgtable_alloc_fails_at_every_step),
		TEST(test_pgtable_pgd_init_without_memory),
#endif
		TEST(test_pgtable_alloc_in_rcu_section_does_not_wait),
		TEST(test_pgtable_misuse_is_fatal),
		TEST(test_pgtable_lock_says_what_is_there),
		TEST(test_pgtable_moved_table),
		TEST(test_pgtable_floor_and_ceiling_are_exact),
		TEST(test_pgtable_upper_tables_follow),
		TEST(test_pgtable_stray_table_goes_too),
		TEST(test_pgtable_random_areas_against_a_model),
#if OCTAVO_DEBUG
		TEST(test_pgtable_freeing_a_table_with_entries_is_fatal),
#endif
		TEST(test_pgtable_split_keeps_everything),
		TEST(test_pgtable_normal_page),
		TEST(test_pgtable_normal_entry_of_no_frame_is_fatal),
		TEST(test_pgtable_validate_finds_each_fault),
		TEST(test_pgtable_dump_shows_what_is_in_range),
		TEST(test_pgtable_cpus_make_the_same_tables),
		TEST(test_pgtable_walkers_under_rcu_against_freeing),
	};

	return cmocka_run_group_tests_name("pgtable", tests, NULL, NULL);
}
