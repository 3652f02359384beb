/* SPDX-License-Identifier: MIT */
/*
 * test_migrate.c - entries to migration entries and back, moving and splitting what is mapped, and what happens when
 * that cannot be.
 */
#include <octavo/hwpoison.h>
#include <octavo/migrate.h>

#include "rmap_area.h"
#include "rmap_picture.h"

static struct picture before, after;

/* ---- one entry ---- */

/* Every combination of what an entry can say: said by the migration entry, and again by the entry that comes back. */
static void test_entries_keep_what_they_say(void **state)
{
	boot();
	for (unsigned int bits = 0; bits < 16; bits++)
		for (unsigned int kind = 0; kind < 3; kind++) {
			struct folio *folio = anon(0);
			pte_t e = pte_wrprotect(hand_pte(folio, 0)), m;
			enum swp_type type = SWP_MIGRATION_READ;
			struct anon_vma *anon_vma;
			struct pt_pos pos;

			e.v |= (bits & 1 ? _PAGE_ACCESSED : 0) | (bits & 2 ? _PAGE_DIRTY : 0) |
			       (bits & 4 ? _PAGE_SOFT_DIRTY : 0) | (bits & 8 ? _PAGE_UFFD_WP : 0);
			if (kind == 1)
				type = SWP_MIGRATION_READ_EXCLUSIVE;
			if (kind == 2 && !(bits & 8)) {
				e = pte_mkwrite(e);
				type = SWP_MIGRATION_WRITE;
			} else if (kind == 2) {
				type = SWP_MIGRATION_READ_EXCLUSIVE;
			}
			hand_map(folio, 0, 1, vma, vma->vm_pgoff, e);
			if (kind == 0)
				folio_clear_anon_exclusive(folio_subrange(folio, 0, 1));
			folio_get(folio);
			folio_lock(folio);
			anon_vma = try_to_migrate(folio);
			assert_ptr_equal(anon_vma, vma->anon_vma);
			assert_int_equal(folio_mapcount(folio), 0);
			assert_int_equal(folio_ref_count(folio), 1);
			assert_int_equal(folio_test_flag(folio, PG_dirty), !!(bits & 2));
			assert_true(pgtable_walk(mm, vma->vm_start, 0, &pos));
			m = pos.pte;
			assert_true(pte_is_swap(m) && is_migration_entry(pte_to_swp_entry(m)));
			assert_int_equal(swp_type(pte_to_swp_entry(m)), type);
			assert_int_equal(swp_entry_pfn(pte_to_swp_entry(m)), folio_pfn(folio));
			assert_int_equal(!!(swp_offset(pte_to_swp_entry(m)) & SWP_MIG_YOUNG),
					 bits & 1);
			assert_int_equal(!!(swp_offset(pte_to_swp_entry(m)) & SWP_MIG_DIRTY),
					 !!(bits & 2));
			assert_int_equal(pte_swp_soft_dirty(m), !!(bits & 4));
			assert_int_equal(pte_swp_uffd_wp(m), !!(bits & 8));
			assert_false(folio_test_anon_exclusive(folio, 0));
			remove_migration_ptes(folio, folio, anon_vma);
			assert_true(pgtable_walk(mm, vma->vm_start, 0, &pos));
			assert_int_equal(pos.pte.v, e.v);
			assert_int_equal(folio_mapcount(folio), 1);
			assert_int_equal(folio_ref_count(folio), 2);
			assert_int_equal(folio_test_anon_exclusive(folio, 0), kind != 0);
			folio_unlock(folio);
			folio_put(folio);
			hand_zap(vma, vma->vm_start, vma->vm_end);
		}
	shutdown();
}

/* What is restricted while it is away comes back restricted. */
static void test_protection_changed_meanwhile(void **state)
{
	struct anon_vma *anon_vma;
	struct folio *folio;
	struct pt_pos pos;

	boot();
	folio = anon(0);
	hand_map(folio, 0, 1, vma, vma->vm_pgoff, pte_mkdirty(hand_pte(folio, 0)));
	folio_get(folio);
	folio_lock(folio);
	anon_vma = try_to_migrate(folio);
	vma->vm_page_prot = PAGE_NONE;
	assert_true(pte_offset_lock(mm, vma->vm_start, 0, &pos));
	set_pte(pos.ptep, swp_entry_to_pte(swp_entry(SWP_MIGRATION_READ_EXCLUSIVE,
						     swp_offset(pte_to_swp_entry(pos.pte)))));
	pte_unlock(&pos);
	remove_migration_ptes(folio, folio, anon_vma);
	assert_true(pgtable_walk(mm, vma->vm_start, 0, &pos));
	assert_true(pte_protnone(pos.pte) && !pte_write(pos.pte) && pte_dirty(pos.pte));
	assert_true(folio_test_anon_exclusive(folio, 0));
	folio_unlock(folio);
	folio_put(folio);
	shutdown();
}

/* Entries that are removed, and the area with them, while the folio is away. */
static void test_zapped_meanwhile(void **state)
{
	struct vm_area_struct *other;
	struct anon_vma *anon_vma;
	struct folio *folio;

	boot();
	other = hand_vma(mm, 2 * PMD_NR, 16);
	assert_int_equal(anon_vma_prepare(other), 0);
	folio = anon(3);
	hand_map(folio, 0, 8, other, other->vm_pgoff, hand_pte(folio, 0));
	folio_get(folio);
	folio_lock(folio);
	anon_vma = try_to_migrate(folio);
	assert_int_equal(hand_zap(other, other->vm_start, other->vm_start + PAGES(3)), 3);
	remove_migration_ptes(folio, folio, anon_vma);
	assert_int_equal(folio_mapcount(folio), 5);
	assert_int_equal(folio_ref_count(folio), 6);
	anon_vma = try_to_migrate(folio);
	hand_unmap(other);
	remove_migration_ptes(folio, folio, anon_vma);
	assert_false(folio_mapped(folio));
	assert_int_equal(folio_ref_count(folio), 1);
	/* And now there is nothing to begin with. */
	assert_null(try_to_migrate(folio));
	folio_unlock(folio);
	folio_put(folio);
	shutdown();
}

/* ---- moving ---- */

static void assert_moved(struct folio *src, unsigned long index, unsigned long nr)
{
	take(&before, vma, index, nr);
	folio_get(src);
	assert_int_equal(migrate_folio(src, NUMA_NO_NODE, GFP_KERNEL), 0);
	take(&after, vma, index, nr);
	assert_same(&before, &after, true);
	assert_false(folio_mapped(src));
	assert_false(folio_test_locked(src));
	assert_int_equal(folio_ref_count(src), 1);
	assert_true(folio_validate(src));
	folio_put(src);
}

COVERS("SX.1");
static void test_migrate_by_tables(void **state)
{
	boot();
	for (unsigned int order = 0; order <= level_order(1) + 1 && order <= MAX_FOLIO_ORDER;
	     order++)
		for (unsigned long shift = 0; shift < 4; shift++) {
			struct folio *folio = anon(order), *moved;
			unsigned long nr = 1ul << order, index = vma->vm_pgoff + PMD_NR - shift;

			hand_map(folio, 0, nr, vma, index, hand_pte(folio, 0));
			folio_set_flag(folio, PG_uptodate);
			folio_set_flag(folio, PG_mlocked);
			assert_moved(folio, index, nr);
			moved = mapped_at(vma, index);
			assert_int_equal(folio_order(moved), order);
			assert_int_equal(moved->index, index);
			assert_ptr_equal(moved->mapping, vma->anon_vma);
			assert_int_equal(folio_mapcount(moved), nr);
			assert_int_equal(folio_ref_count(moved), nr);
			assert_true(folio_test_flag(moved, PG_swapbacked));
			assert_true(folio_test_flag(moved, PG_uptodate));
			assert_true(folio_test_flag(moved, PG_mlocked));
			assert_int_equal(folio_count_mappings(moved), nr);
			assert_int_equal(hand_zap(vma, vma->vm_start, vma->vm_end), nr);
		}
	shutdown();
}

/* With holes, entries of all kinds, and a copy in between. */
static void test_migrate_a_mixture(void **state)
{
	struct folio *folio, *copy;
	unsigned long index;

	boot();
	index = vma->vm_pgoff + PMD_NR - 5;
	folio = anon(4);
	copy = anon(0);
	for (unsigned long i = 0; i < 16; i++) {
		pte_t e = hand_pte(folio, i);

		if (i == 6)
			continue;
		if (i % 3 == 0)
			e = pte_wrprotect(e);
		if (i % 4 == 0)
			e = pte_mkdirty(e);
		if (i % 5 == 0)
			e = pte_mkyoung(e);
		if (i == 0)
			hand_map(folio, 0, 1, vma, index, e);
		else
			hand_map(folio, i, 1, vma, index, e);
		if (i % 6 == 0)
			folio_clear_anon_exclusive(folio_subrange(folio, i, 1));
	}
	hand_map(copy, 0, 1, vma, index + 6, hand_pte(copy, 0));
	take(&before, vma, index, 16);
	folio_get(folio);
	assert_int_equal(migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL), 0);
	take(&after, vma, index, 16);
	assert_ptr_equal(mapped_at(vma, index + 6), copy);
	assert_int_equal(after.pte[6].v, before.pte[6].v);
	after.pte[6] = pte_advance_pfn(before.pte[6], 1);
	assert_same(&before, &after, true);
	assert_true(folio_test_flag(mapped_at(vma, index), PG_dirty));
	folio_put(folio);
	shutdown();
}

COVERS("S2.3");
static void test_migrate_a_leaf(void **state)
{
	struct folio *folio, *moved;
	unsigned long index;

	boot();
	index = vma->vm_pgoff + PMD_NR;
	folio = anon(level_order(1));
	hand_map_leaf(folio, vma, index);
	assert_moved(folio, index, PMD_NR);
	moved = mapped_at(vma, index);
	assert_int_equal(folio_mapcount(moved), 1);
	assert_int_equal(folio_entire_mapcount(moved), 1);
	assert_int_equal(folio_ref_count(moved), 1);
	/* Pinned: the leaf stays. */
	assert_true(folio_try_pin(moved, 1));
	take(&before, vma, index, PMD_NR);
	folio_lock(moved);
	{
		struct anon_vma *anon_vma = try_to_migrate(moved);

		assert_true(folio_mapped(moved));
		remove_migration_ptes(moved, moved, anon_vma);
	}
	folio_unlock(moved);
	take(&after, vma, index, PMD_NR);
	assert_same(&before, &after, false);
	folio_unpin(moved, 1);
	shutdown();
}

/* A leaf that becomes a table while it is a migration entry. */
static void test_leaf_split_meanwhile(void **state)
{
	struct anon_vma *anon_vma;
	struct folio *folio;
	unsigned long index;

	boot();
	index = vma->vm_pgoff;
	folio = anon(level_order(1));
	hand_map_leaf(folio, vma, index);
	folio_get(folio);
	folio_lock(folio);
	anon_vma = try_to_migrate(folio);
	assert_int_equal(folio_ref_count(folio), 1);
	assert_int_equal(split_leaf(vma, hand_addr(vma, index)), 0);
	assert_int_equal(folio_mapcount(folio), 0);
	assert_int_equal(
		hand_zap(vma, hand_addr(vma, index) + PAGES(2), hand_addr(vma, index) + PAGES(3)),
		1);
	remove_migration_ptes(folio, folio, anon_vma);
	assert_int_equal(folio_mapcount(folio), PMD_NR - 1);
	assert_int_equal(folio_entire_mapcount(folio), 0);
	assert_int_equal(folio_count_mappings(folio), PMD_NR - 1);
	assert_true(folio_test_anon_exclusive(folio, 1) &&
		    folio_test_anon_exclusive(folio, PMD_NR - 1));
	folio_unlock(folio);
	folio_put(folio);
	shutdown();
}

static void test_migrate_in_several_address_spaces(void **state)
{
	static struct picture was[3], is[3];
	struct vm_area_struct *v[3];
	struct mm_struct *mms[2];
	struct folio *folio;
	unsigned long index;

	boot();
	index = vma->vm_pgoff + PMD_NR - 3;
	for (unsigned int leaf = 0; leaf < 2; leaf++) {
		for (unsigned int i = 0; i < 2; i++)
			mms[i] = table_mm();
		folio = anon(level_order(1));
		if (leaf) {
			index = vma->vm_pgoff + 2 * PMD_NR;
			hand_map_leaf(folio, vma, index);
		} else {
			hand_map(folio, 0, PMD_NR, vma, index, hand_pte(folio, 0));
		}
		v[0] = vma;
		v[1] = hand_fork(vma, mms[0]);
		v[2] = hand_fork(v[1], mms[1]);
		if (!leaf)
			hand_zap(v[1], hand_addr(vma, index + 1), hand_addr(vma, index + 2));
		for (unsigned int i = 0; i < 3; i++)
			take(&was[i], v[i], index, PMD_NR);
		folio_get(folio);
		assert_int_equal(migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL), 0);
		folio_put(folio);
		for (unsigned int i = 0; i < 3; i++) {
			take(&is[i], v[i], index, PMD_NR);
			assert_same(&was[i], &is[i], true);
		}
		folio = mapped_at(vma, index);
		assert_int_equal(folio_mapcount(folio), leaf ? 3 : 3 * PMD_NR - 1);
		assert_int_equal(folio_count_mappings(folio), folio_mapcount(folio));
		hand_unmap(v[2]);
		hand_unmap(v[1]);
		for (unsigned int i = 0; i < 2; i++)
			table_mm_end(mms[i]);
		hand_zap(vma, vma->vm_start, vma->vm_end);
	}
	shutdown();
}

/* ---- what is refused ---- */

static void assert_refused(struct folio *folio, unsigned long index, unsigned long nr, int err)
{
	u32 refs = folio_ref_count(folio);
	int mapcount = folio_mapcount(folio);

	take(&before, vma, index, nr);
	assert_int_equal(migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL), err);
	take(&after, vma, index, nr);
	assert_same(&before, &after, false);
	assert_int_equal(folio_ref_count(folio), refs);
	assert_int_equal(folio_mapcount(folio), mapcount);
	assert_true(octavo_validate());
}

COVERS("SX.7");
static void test_migrate_refused(void **state)
{
	boot();
	for (unsigned int order = 0; order <= 4; order++) {
		struct folio *folio = anon(order), *file;
		unsigned long nr = 1ul << order, index = vma->vm_pgoff + PMD_NR - 1;

		hand_map(folio, 0, nr, vma, index, hand_pte(folio, 0));
		folio_get(folio);
		assert_true(folio_try_pin(folio, 1));
		assert_refused(folio, index, nr, -EBUSY);
		folio_unpin(folio, 1);
		/* One reference more than mappings. */
		folio_get(folio);
		assert_refused(folio, index, nr, -EAGAIN);
		folio_put(folio);
		folio_lock(folio);
		assert_refused(folio, index, nr, -EAGAIN);
		folio_unlock(folio);
		/* It may not be waited for. */
		folio_set_flag(folio, PG_writeback);
		assert_int_equal(migrate_folio(folio, NUMA_NO_NODE, GFP_NOWAIT), -EAGAIN);
		folio_clear_flag(folio, PG_writeback);
		folio->private = folio;
		assert_refused(folio, index, nr, -EAGAIN);
		folio->private = NULL;
		folio_set_flag(folio, PG_hwpoison);
		assert_refused(folio, index, nr, -EHWPOISON);
		folio_clear_flag(folio, PG_hwpoison);
		folio_put(folio);
		hand_zap(vma, vma->vm_start, vma->vm_end);
		file = folio_alloc(GFP_KERNEL, order, FOLIO_FILE);
		assert_int_equal(migrate_folio(file, NUMA_NO_NODE, GFP_KERNEL), -EINVAL);
		folio_put(file);
		/* Not mapped at all: nothing to move. */
		folio = anon(order);
		assert_int_equal(migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL), 0);
		assert_int_equal(folio_ref_count(folio), 1);
		folio_put(folio);
	}
	shutdown();
}

/* A pin is found when the first run is gone: it and the rest are as before. */
static void test_pinned_after_a_part_is_gone(void **state)
{
	struct anon_vma *anon_vma;
	unsigned long index;
	struct folio *folio;

	boot();
	index = vma->vm_pgoff + PMD_NR - 2;
	folio = anon(3);
	hand_map(folio, 0, 3, vma, index, pte_wrprotect(hand_pte(folio, 0)));
	folio_clear_anon_exclusive(folio_subrange(folio, 0, 3));
	hand_map(folio, 3, 5, vma, index, hand_pte(folio, 3));
	assert_true(folio_try_pin(folio, 1));
	take(&before, vma, index, 8);
	folio_lock(folio);
	anon_vma = try_to_migrate(folio);
	/* The three shared ones could go. */
	assert_int_equal(folio_mapcount(folio), 5);
	assert_int_equal(folio_ref_count(folio), 6);
	remove_migration_ptes(folio, folio, anon_vma);
	folio_unlock(folio);
	take(&after, vma, index, 8);
	assert_same(&before, &after, false);
	folio_unpin(folio, 1);
	shutdown();
}

/* What a device has for itself for a while becomes the CPU's again, and goes like all else; dirty, and as the area says. */
COVERS("S1.40");
static void test_device_exclusive_moves(void **state)
{
	for (unsigned int writable = 0; writable < 2; writable++) {
		struct folio *folio;
		struct pt_pos pos;

		boot();
		folio = anon(1);
		hand_map(folio, 0, 2, vma, vma->vm_pgoff, hand_pte(folio, 0));
		assert_true(pte_offset_lock(mm, vma->vm_start, 0, &pos));
		ptep_get_and_clear(pos.ptep);
		set_pte(pos.ptep,
			swp_entry_to_pte(swp_entry(SWP_DEVICE_EXCLUSIVE, folio_pfn(folio))));
		pte_unlock(&pos);
		if (!writable)
			WRITE_ONCE(vma->vm_flags, vma->vm_flags & ~VM_WRITE);
		folio_get(folio);
		assert_int_equal(migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL), 0);
		assert_false(folio_mapped(folio));
		folio_put(folio);
		for (unsigned long i = 0; i < 2; i++) {
			struct folio *now;

			assert_true(pte_offset_lock(mm, vma->vm_start + i * PAGE_SIZE, 0, &pos));
			assert_true(pte_present(pos.pte));
			if (!i)
				assert_int_equal(!!pte_write(pos.pte), writable);
			assert_true(i || pte_dirty(pos.pte));
			now = page_folio(pfn_to_page(pte_pfn(pos.pte)));
			assert_int_equal(folio_mapcount(now), 2);
			assert_int_equal(folio_ref_count(now), 2);
			assert_true(folio_test_anon_exclusive(now, i));
			pte_unlock(&pos);
		}
		WRITE_ONCE(vma->vm_flags, vma->vm_flags | VM_WRITE);
		shutdown();
	}
}

#if OCTAVO_FAULTS
/* The step that fails is the k-th, for every k: then all is as it was, or it was done all the same. */
COVERS("S2.20 S2.28");
static void test_migrate_fails_at_every_step(void **state)
{
	unsigned long failed = 0, done = 0;

	boot();
	for (unsigned int kind = 0; kind < 4; kind++)
		for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++)
			for_each_fault(k, mode,
				       mode == OCTAVO_FAULT_AFTER
					       ? OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB
					       : OCTAVO_FAULT_ALL,
				       hit)
			{
				struct folio *folio, *now;
				unsigned int order = kind == 3 ? level_order(1) : kind;
				unsigned long nr, index = vma->vm_pgoff + PMD_NR - kind;
				u32 steps;
				int err;

				octavo_fault_disarm();
				folio = anon(order);
				nr = folio_nr_pages(folio);
				if (kind == 3) {
					index = vma->vm_pgoff + 3 * PMD_NR;
					hand_map_leaf(folio, vma, index);
				} else {
					hand_map(folio, 0, nr, vma, index, hand_pte(folio, 0));
				}
				folio_get(folio);
				take(&before, vma, index, nr);
				octavo_fault_arm(k, mode,
						 mode == OCTAVO_FAULT_AFTER
							 ? OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB
							 : OCTAVO_FAULT_ALL);
				err = migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL);
				steps = octavo_fault_disarm();
				take(&after, vma, index, nr);
				assert_same(&before, &after, !err);
				now = mapped_at(vma, index);
				assert_int_equal(folio_mapcount(now), kind == 3 ? 1 : nr);
				assert_int_equal(folio_count_mappings(now), folio_mapcount(now));
				assert_int_equal(folio_ref_count(now), folio_mapcount(now) + !!err);
				assert_true(octavo_validate());
				if (err) {
					assert_true(steps && (err == -ENOMEM || err == -EAGAIN));
					failed++;
				} else {
					assert_int_equal(folio_ref_count(folio), 1);
					done++;
				}
				folio_put(folio);
				hand_zap(vma, vma->vm_start, vma->vm_end);
				hit = steps;
			}
	assert_true(failed >= 4 * 4 && done >= 8);
	shutdown();
}
#endif

/* ---- notifiers and flushes ---- */

static struct {
	unsigned int starts, ends;
	unsigned long start, end;
	bool seen;
	enum mmu_notifier_event event;
} told;

static int on_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct pt_pos pos;

	told.starts++;
	told.start = range->start;
	told.end = range->end;
	told.event = range->event;
	/* Before any entry goes. */
	told.seen = pgtable_walk(range->mm, range->start, 0, &pos) && pte_present(pos.pte);
	return 0;
}

static void on_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	told.ends++;
	assert_int_equal(told.starts, told.ends);
}

COVERS("S2.36");
static void test_mirrors_are_told(void **state)
{
	static const struct mmu_notifier_ops ops = { .invalidate_range_start = on_start,
						     .invalidate_range_end = on_end };
	struct mmu_notifier mn = { .ops = &ops };
	struct folio *folio;
	unsigned long index;

	boot();
	memset(&told, 0, sizeof(told));
	hand_mirror(&mn, mm);
	index = vma->vm_pgoff + PMD_NR - 1;
	folio = anon(2);
	hand_map(folio, 0, 4, vma, index, hand_pte(folio, 0));
	assert_moved(folio, index, 4);
	assert_int_equal(told.starts, 1);
	assert_int_equal(told.ends, 1);
	assert_int_equal(told.event, MMU_NOTIFY_CLEAR);
	assert_int_equal(told.start, hand_addr(vma, index));
	assert_int_equal(told.end, hand_addr(vma, index + 4));
	assert_true(told.seen);
	hand_mirror_end(&mn, mm);
	shutdown();
}

/* A translation that a CPU has is gone when the copy is made. */
static void test_translations_are_flushed(void **state)
{
	struct folio *folio;
	unsigned long index;
	u64 val = 0;

	boot();
	index = vma->vm_pgoff;
	folio = anon(2);
	hand_map(folio, 0, 4, vma, index, hand_pte(folio, 0));
	sim_mm_use(mm);
	for (unsigned long i = 0; i < 4; i++)
		assert_int_equal(sim_store64(hand_addr(vma, index + i) + 64, 70 + i), 0);
	folio_get(folio);
	assert_int_equal(migrate_folio(folio, NUMA_NO_NODE, GFP_KERNEL), 0);
	memset(folio_address(folio), 0, folio_size(folio));
	folio_put(folio);
	for (unsigned long i = 0; i < 4; i++) {
		assert_int_equal(sim_load64(hand_addr(vma, index + i) + 64, &val), 0);
		assert_int_equal(val, 70 + i);
	}
	sim_mm_forget(mm);
	shutdown();
}

/* ---- waiting ---- */

static struct {
	struct folio *folio;
	u32 waiting, done;
} waiter;

static void wait_run(unsigned int cpu, void *arg)
{
	struct pt_pos pos;

	sim_set_cpu(cpu);
	if (cpu == 0) {
		struct anon_vma *anon_vma;

		folio_lock(waiter.folio);
		anon_vma = try_to_migrate(waiter.folio);
		WRITE_ONCE(waiter.waiting, 1u);
		/* The other one has a reference, and so it sleeps or is about to. */
		while (folio_ref_count(waiter.folio) != 2)
			octavo_port_relax();
		assert_int_equal(READ_ONCE(waiter.done), 0);
		remove_migration_ptes(waiter.folio, waiter.folio, anon_vma);
		folio_unlock(waiter.folio);
		return;
	}
	while (!READ_ONCE(waiter.waiting))
		octavo_port_relax();
	assert_true(pte_offset_lock(mm, vma->vm_start, 0, &pos));
	migration_entry_wait(&pos);
	assert_true(pgtable_walk(mm, vma->vm_start, 0, &pos));
	assert_true(pte_present(pos.pte));
	WRITE_ONCE(waiter.done, 1u);
}

static void test_wait(void **state)
{
	struct anon_vma *anon_vma;
	struct pt_pos pos;

	boot();
	memset(&waiter, 0, sizeof(waiter));
	waiter.folio = anon(0);
	hand_map(waiter.folio, 0, 1, vma, vma->vm_pgoff, hand_pte(waiter.folio, 0));
	folio_get(waiter.folio);
	sim_run(2, false, wait_run, NULL);
	assert_int_equal(waiter.done, 1);
	assert_int_equal(folio_ref_count(waiter.folio), 2);
	/* Frozen: back at once, to try again. */
	folio_lock(waiter.folio);
	anon_vma = try_to_migrate(waiter.folio);
	assert_true(folio_ref_freeze(waiter.folio, 1));
	assert_true(pte_offset_lock(mm, vma->vm_start, 0, &pos));
	migration_entry_wait(&pos);
	assert_false(spin_is_locked(&pos.pt->ptl));
	folio_ref_unfreeze(waiter.folio, 1);
	remove_migration_ptes(waiter.folio, waiter.folio, anon_vma);
	folio_unlock(waiter.folio);
	folio_put(waiter.folio);
	shutdown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_entries_keep_what_they_say),
		TEST(test_protection_changed_meanwhile),
		TEST(test_zapped_meanwhile),
		TEST(test_migrate_by_tables),
		TEST(test_migrate_a_mixture),
		TEST(test_migrate_a_leaf),
		TEST(test_leaf_split_meanwhile),
		TEST(test_migrate_in_several_address_spaces),
		TEST(test_migrate_refused),
		TEST(test_pinned_after_a_part_is_gone),
		TEST(test_device_exclusive_moves),
#if OCTAVO_FAULTS
		TEST(test_migrate_fails_at_every_step),
#endif
		TEST(test_mirrors_are_told),
		TEST(test_translations_are_flushed),
		TEST(test_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
