/* SPDX-License-Identifier: MIT */
/*
 * test_fork.c - a child's page tables: what it shares, what it gets a copy of, and what becomes of the parent's.
 */
#include "range_machine.h"

static pte_t before[RANGE_PAGES];

static struct mm_struct *fork_as(void)
{
	struct mm_struct *child;
	int err = 1;

	child = mm_fork(as, &err);
	assert_non_null(child);
	assert_int_equal(err, 0);
	return child;
}

/* The same entry but for age and, in a child, soft dirt. */
static bool same_page(pte_t a, pte_t b)
{
	const u64 use = _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_SOFT_DIRTY;

	return !((a.v ^ b.v) & ~use);
}

static pte_t as_shared(pte_t e)
{
	swp_entry_t entry = pte_to_swp_entry(e);

	if (pte_is_swap(e) && is_migration_entry(entry))
		return swp_entry_to_pte(swp_entry(SWP_MIGRATION_READ, swp_offset(entry)));
	return pte_present(e) ? pte_wrprotect(e) : e;
}

/* Every page of the parent, whose pages with a pin were copied, and of the child. */
static void check_forked(struct mm_struct *child, const bool *pinned)
{
	for (unsigned long i = 0; i < RANGE_PAGES; i++) {
		pte_t parent = entry_in(as, i), e = entry_in(child, i), old = before[i];

		if (!pinned || !pinned[i]) {
			if (pte_present(old)) {
				assert_true(same_page(parent, as_shared(old)));
				assert_true(same_page(e, as_shared(old)));
				assert_int_equal(pte_dirty(parent), pte_dirty(old));
				assert_false(pte_young(e));
			} else {
				assert_true(pte_same(parent, as_shared(old)));
				assert_true(pte_same(e, as_shared(old)));
			}
			if (folio_of(e)) {
				assert_false(exclusive_in(as, i));
				/* somebody's dirt is everybody's */
				assert_true(pte_dirty(e) || !pte_dirty(old));
			}
			continue;
		}
		assert_true(same_page(parent, old));
		assert_true(exclusive_in(as, i));
		assert_int_not_equal(pte_pfn(e), pte_pfn(old));
		assert_true(pte_write(e) && pte_dirty(e));
		assert_true(exclusive_in(child, i));
		assert_memory_equal(pfn_to_virt(pte_pfn(e)), pfn_to_virt(pte_pfn(old)), PAGE_SIZE);
	}
}

static void end_child(struct mm_struct *child)
{
	mmput(child);
	check_all();
}

COVERS("S2.30 S2.31 S2.32");
static void test_fork_shares_everything(void **state)
{
	range_boot();
	for (unsigned int round = 0; round < 40; round++) {
		struct vm_area_struct *vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		struct mm_struct *child;

		rnd_seed(round);
		fill_range(vma, 0, RANGE_PAGES, true);
		touch_range(0, RANGE_PAGES);
		take_entries(as, 0, RANGE_PAGES, before);
		child = fork_as();
		check_forked(child, NULL);
		check_placed(child, 0, RANGE_PAGES);
		check_all();
		/* either may go first */
		if (round & 1) {
			end_child(child);
			child = NULL;
			check_placed(NULL, 0, RANGE_PAGES);
		}
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		if (child)
			end_child(child);
		for (u32 i = 0; i < nr_placed; i++)
			assert_false(folio_mapped(placed[i].folio));
		forget_placed();
	}
	range_down();
}

/* What hangs on a folio's count while it is pinned, by what it is. */
static u32 pin_refs(const struct folio *folio, u32 pins)
{
	return folio_large(folio) ? pins : pins * GUP_PIN_COUNTING_BIAS;
}

COVERS("S2.32 SX.7");
static void test_fork_copies_pinned_pages(void **state)
{
	static bool pinned[RANGE_PAGES];

	range_boot();
	for (unsigned int round = 0; round < 40; round++) {
		struct vm_area_struct *vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		struct mm_struct *child;

		rnd_seed(round + 1000);
		fill_range(vma, 0, RANGE_PAGES, round & 1);
		touch_range(0, RANGE_PAGES);
		for (u32 i = 0; i < nr_placed; i++) {
			struct placed *p = &placed[i];

			if (p->migrates || one_in(2))
				continue;
			rcu_read_lock();
			assert_true(folio_try_pin(p->folio, 1));
			rcu_read_unlock();
			p->refs = pin_refs(p->folio, 1);
		}
		take_entries(as, 0, RANGE_PAGES, before);
		for (unsigned long i = 0; i < RANGE_PAGES; i++) {
			struct folio *folio = folio_of(before[i]);

			pinned[i] = folio && find_placed(folio)->refs && exclusive_in(as, i);
		}
		child = fork_as();
		check_forked(child, pinned);
		check_placed(child, 0, RANGE_PAGES);
		check_all();
		/* the parent goes on writing where it is pinned, without a fault */
		for (unsigned long i = 0; i < RANGE_PAGES; i++) {
			u64 val;

			if (pinned[i] && pte_write(before[i]))
				assert_int_equal(sim_mmu_try(at(i), SIM_STORE, &val), SIM_OK);
		}
		end_child(child);
		check_placed(NULL, 0, RANGE_PAGES);
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
		for (u32 i = 0; i < nr_placed; i++)
			if (placed[i].refs)
				folio_unpin(placed[i].folio, 1);
		forget_placed();
	}
	range_down();
}

/* A folio of which one page is exclusive and pinned, and others are shared already: cut by exclusivity. */
COVERS("S2.32 SX.8");
static void test_fork_cuts_a_run_by_exclusivity(void **state)
{
	struct vm_area_struct *vma;
	struct mm_struct *child;
	struct placed *p;

	range_boot();
	vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
	p = place_anon(vma, 0, MAX_ORDER, 0, 1ul << MAX_ORDER, PLACE_SHARED);
	folio_set_anon_exclusive(folio_subrange(p->folio, 3, 2));
	rcu_read_lock();
	assert_true(folio_try_pin(p->folio, 1));
	rcu_read_unlock();
	p->refs = 1;
	child = fork_as();
	for (unsigned long i = 0; i < 1ul << MAX_ORDER; i++)
		assert_int_equal(pte_pfn(entry_in(child, i)) == pte_pfn(entry_in(as, i)),
				 i != 3 && i != 4);
	check_placed(child, 0, RANGE_PAGES);
	check_all();
	end_child(child);
	folio_unpin(p->folio, 1);
	range_down();
}

#if OCTAVO_FAULTS
/* Tables, copies of pinned pages, tables for leaves that are pinned in part: whatever is missing, all is taken back. */
COVERS("SX.8");
static void test_fork_without_memory(void **state)
{
	u32 failed = 0;

	range_boot();
	for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++)
		for (u32 k = 1, hit = 1; hit; k++) {
			struct vm_area_struct *vma =
				map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
			struct mm_struct *child;
			struct placed *p[3];
			int err = 0;

			p[0] = place_anon(vma, 1, 2, 0, 4, 0);
			p[1] = place_leaf(vma, TABLE_PAGES, 0);
			p[2] = place_anon(vma, 3 * TABLE_PAGES - 2, 0, 0, 1, 0);
			for (unsigned int i = 0; i < 3; i++) {
				rcu_read_lock();
				assert_true(folio_try_pin(p[i]->folio, 1));
				rcu_read_unlock();
				p[i]->refs = pin_refs(p[i]->folio, 1);
			}
			place_anon(vma, 5, 1, 0, 2, 0);
			touch_range(0, RANGE_PAGES);
			octavo_fault_arm(k, mode, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
			child = mm_fork(as, &err);
			hit = octavo_fault_disarm();
			if (!child) {
				assert_int_equal(err, -ENOMEM);
				failed++;
			}
			check_placed(child, 0, RANGE_PAGES);
			check_all();
			if (child)
				end_child(child);
			for (unsigned int i = 0; i < 3; i++)
				folio_unpin(p[i]->folio, 1);
			assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
			check_all();
			forget_placed();
		}
	assert_true(failed > 8);
	range_down();
}
#endif

/* ---- other areas ---- */

COVERS("S0.11 S0.22 SX.2");
static void test_fork_plain_pages_and_frames(void **state)
{
	struct page *block, *frozen;
	struct vm_area_struct *vma;
	struct mm_struct *child;
	memdesc_t word;

	range_boot();
	vma = map_file(0, TABLE_PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	block = alloc_pages(GFP_KERNEL, 1);
	page_set_mappable(block, true);
	mmap_write_lock(as);
	assert_int_equal(vm_insert_page(vma, at(3), block + 1), 0);
	mmap_write_unlock(as);
	vma = map_file(TABLE_PAGES, TABLE_PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	frozen = alloc_frozen_pages(GFP_KERNEL, 1);
	mmap_write_lock(as);
	assert_int_equal(remap_pfn_range(vma, at(TABLE_PAGES), page_to_pfn(frozen), 2 * PAGE_SIZE,
					 vma->vm_page_prot),
			 0);
	mmap_write_unlock(as);
	word = page_memdesc(frozen);
	child = fork_as();
	assert_int_equal(page_count(block), 3);
	assert_true(memdesc_eq(page_memdesc(frozen), word));
	/* shared: as writable as before */
	assert_true(pte_write(entry_in(as, 3)) && pte_write(entry_in(child, 3)));
	assert_int_equal(pte_pfn(entry_in(child, 3)), page_to_pfn(block + 1));
	for (unsigned long i = 0; i < 2; i++) {
		assert_int_equal(pte_pfn(entry_in(child, TABLE_PAGES + i)),
				 page_to_pfn(frozen + i));
		assert_true(pte_special(entry_in(child, TABLE_PAGES + i)));
		assert_true(pte_write(entry_in(child, TABLE_PAGES + i)));
	}
	check_all();
	end_child(child);
	assert_int_equal(page_count(block), 2);
	put_page(block);
	assert_int_equal(vm_munmap(as, at(0), 2 * TABLE_PAGES << PAGE_SHIFT), 0);
	free_frozen_pages(frozen, 1);
	range_down();
}

/* Folios of files are counted, and stay as they are where areas are shared. */
static void test_fork_file_folios(void **state)
{
	range_boot();
	for (unsigned int shared = 0; shared < 2; shared++)
		for (unsigned int order = 0; order <= 3; order++) {
			unsigned long nr = 1ul << order, num = nr, page = TABLE_PAGES - nr / 2;
			struct vm_area_struct *vma =
				map_file(0, RANGE_PAGES, PROT_READ | PROT_WRITE,
					 shared ? MAP_SHARED : MAP_PRIVATE);
			struct placed *p = new_folio(order, FOLIO_FILE);
			struct mm_struct *child;
			struct page *pages[8];

			for (unsigned long i = 0; i < nr; i++)
				pages[i] = folio_page(p->folio, i);
			mmap_write_lock(as);
			assert_int_equal(vm_insert_pages(vma, at(page), pages, &num), 0);
			mmap_write_unlock(as);
			touch_range(page, nr);
			child = fork_as();
			assert_int_equal(folio_mapcount(p->folio), 2 * nr);
			for (unsigned long i = 0; i < nr; i++) {
				assert_int_equal(pte_write(entry_in(as, page + i)), shared);
				assert_int_equal(pte_write(entry_in(child, page + i)), shared);
			}
			if (shared)
				assert_false(pte_dirty(entry_in(child, page)));
			check_placed(child, 0, RANGE_PAGES);
			check_all();
			end_child(child);
			assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
			forget_placed();
		}
	range_down();
}

/* As many entries of a slot as it can count, or those less. */
static void count_to_the_end(swp_entry_t slot, bool up)
{
	for (u32 i = 0; i < (1u << 19) - 2; i++)
		if (up)
			assert_int_equal(swap_dup_entries(slot, 1), 0);
		else
			swap_free_entries(slot, 1);
}

/* Slots get a user for each entry, and are nobody's alone any more; all or none of a run. */
static void test_fork_of_slots(void **state)
{
	struct vm_area_struct *vma;
	struct mm_struct *child;

	range_boot_with_swap();
	for (u32 fails = 0; fails < 4; fails++) {
		swp_entry_t six, one, full;
		int err;

		vma = map_area(0, RANGE_PAGES, PROT_READ | PROT_WRITE);
		six = place_slots(vma, TABLE_PAGES - 3, 6, true);
		one = place_slots(vma, 0, 1, false);
		/* the single one, or the last of the first table, or of the second */
		full = fails == 1 ? one : swp_entry(swp_type(six), swp_offset(six) + fails * 3 - 4);
		if (fails)
			count_to_the_end(full, true);
		child = mm_fork(as, &err);
		if (fails)
			count_to_the_end(full, false);
		assert_int_equal(!child, fails != 0);
		if (child) {
			for (unsigned long i = 0; i < RANGE_PAGES; i++)
				assert_true(pte_same(entry_in(as, i), entry_in(child, i)));
			assert_false(pte_swp_exclusive(entry_in(as, TABLE_PAGES)));
			for (u32 i = 0; i < 6; i++)
				assert_int_equal(count_of(six, i), 2);
			assert_int_equal(count_of(one, 0), 2);
			assert_int_equal(get_mm_counter(child, MM_SWAPENTS), 7);
			check_all();
			end_child(child);
		} else {
			assert_int_equal(err, -ENOMEM);
		}
		for (u32 i = 0; i < 6; i++)
			assert_int_equal(count_of(six, i), 1);
		assert_int_equal(slots_in_use(), 7);
		check_all();
		assert_int_equal(vm_munmap(as, at(0), RANGE_PAGES << PAGE_SHIFT), 0);
	}
	range_down();
}

static struct {
	unsigned int starts, ends;
	enum mmu_notifier_event event;
} told;

static int told_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	told.starts++;
	told.event = range->event;
	assert_true(pte_write(entry_in(as, 0)));
	return 0;
}

static void told_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	told.ends++;
	assert_false(pte_write(entry_in(as, 0)));
}

COVERS("S2.36");
static void test_fork_tells_of_write_protection(void **state)
{
	static const struct mmu_notifier_ops ops = {
		.invalidate_range_start = told_start,
		.invalidate_range_end = told_end,
	};
	static struct mmu_notifier mn;
	struct vm_area_struct *vma;
	struct mm_struct *child;

	range_boot();
	memset(&told, 0, sizeof(told));
	vma = map_area(0, TABLE_PAGES, PROT_READ | PROT_WRITE);
	map_file(TABLE_PAGES, TABLE_PAGES, PROT_READ, MAP_SHARED);
	place_anon(vma, 0, 0, 0, 1, 0);
	mn = (struct mmu_notifier){ .ops = &ops };
	assert_int_equal(mmu_notifier_register(&mn, as), 0);
	child = fork_as();
	assert_int_equal(told.starts, 1);
	assert_int_equal(told.ends, 1);
	assert_int_equal(told.event, MMU_NOTIFY_PROTECTION_PAGE);
	mmu_notifier_unregister(&mn, as);
	end_child(child);
	range_down();
}

/* The other thread of the parent writes all the time; the child sees one state of each page, and keeps it. */
#define WRITER_PAGES 64u

static struct {
	u32 stop, ready;
} writer;

static void write_and_fork(unsigned int cpu, void *arg)
{
	u64 seen[WRITER_PAGES], val;

	if (cpu == 1) {
		sim_mm_use(as);
		for (u64 n = 1; !READ_ONCE(writer.stop); n++) {
			for (unsigned long i = 0; i < WRITER_PAGES; i++)
				assert_int_equal(sim_store64(at(i), n), 0);
			WRITE_ONCE(writer.ready, 1u);
		}
		sim_mm_forget(as);
		return;
	}
	while (!READ_ONCE(writer.ready))
		octavo_port_relax();
	for (unsigned int round = 0; round < 50; round++) {
		struct mm_struct *child = fork_as();

		sim_mm_use(child);
		for (unsigned int look = 0; look < 4; look++)
			for (unsigned long i = 0; i < WRITER_PAGES; i++) {
				assert_int_equal(sim_load64(at(i), &val), 0);
				if (look)
					assert_int_equal(val, seen[i]);
				seen[i] = val;
				/* passes are in order, so no page is more than one ahead */
				if (i)
					assert_in_range(seen[i] + 1, seen[i - 1], seen[i - 1] + 1);
			}
		sim_mm_use(as);
		sim_mm_forget(child);
		mmput(child);
	}
	WRITE_ONCE(writer.stop, 1u);
}

static void test_fork_while_another_thread_writes(void **state)
{
	range_boot();
	for (u32 orders = 1; orders <= 3; orders += 2) {
		as->folio_orders = orders;
		memset(&writer, 0, sizeof(writer));
		map_area(0, WRITER_PAGES, PROT_READ | PROT_WRITE);
		sim_run(2, false, write_and_fork, NULL);
		sim_set_cpu(0);
		sim_mm_use(as);
		check_all();
		assert_int_equal(vm_munmap(as, at(0), WRITER_PAGES << PAGE_SHIFT), 0);
	}
	range_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_fork_shares_everything),
		TEST(test_fork_copies_pinned_pages),
		TEST(test_fork_cuts_a_run_by_exclusivity),
#if OCTAVO_FAULTS
		TEST(test_fork_without_memory),
#endif
		TEST(test_fork_plain_pages_and_frames),
		TEST(test_fork_file_folios),
		TEST(test_fork_of_slots),
		TEST(test_fork_tells_of_write_protection),
		TEST(test_fork_while_another_thread_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
