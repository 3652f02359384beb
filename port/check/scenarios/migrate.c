/* SPDX-License-Identifier: MIT */
/*
 * migrate.c - moving and splitting a folio that is mapped, against references, pins, stores, faults, fork and unmapping.
 */
#include "rmap_space.h"

/* ---- moving ---- */

static u64 *memory_of(unsigned long pfn)
{
	return pfn_to_virt(pfn);
}

static void mover(void)
{
	int err = migrate_folio(s.folio, NUMA_NO_NODE, GFP_NOWAIT);

	CHECK(!err || err == -EAGAIN || err == -EBUSY || err == -ENOMEM);
	if (err)
		return;
	CHECK(!folio_mapped(s.folio));
	/* Nobody else's: the old frames may be used for something else. */
	if (folio_ref_count(s.folio) == 1 && folio_trylock(s.folio)) {
		*memory_of(s.pfn) = ~0ul;
		folio_unlock(s.folio);
	}
}

/* A device driver's: a reference, then stores through the direct map. */
static void writer(void)
{
	struct page *page;

	if (get_user_pages_fast(&s.mm, ADDR, 1, FOLL_WRITE | FOLL_FAST_ONLY, &page) != 1)
		return;
	*memory_of(page_to_pfn(page)) = 7;
	s.stored = 1;
	put_user_page(page);
}

static void setup_written(void)
{
	setup_small();
}

/* The entry is there, exclusive and writable, counts are right, and what was stored is there. */
static void moved_or_not(void)
{
	pte_t e = ptep_get(s.pte);
	struct folio *folio;

	CHECK(pte_present(e) && pte_write(e));
	folio = page_folio(pfn_to_page(pte_pfn(e)));
	CHECK(folio && folio_mapcount(folio) == 1);
	CHECK(folio_ref_count(folio) == (folio == s.folio ? 2 : 1));
	CHECK(folio_ref_count(s.folio) == (folio == s.folio ? 2 : 1));
	CHECK(folio_test_anon_exclusive(folio, 0));
	CHECK(!folio_test_locked(folio) && !folio_test_locked(s.folio));
	CHECK(folio_count_mappings(folio) == 1);
	if (s.stored)
		CHECK(*memory_of(pte_pfn(e)) == 7);
}

#define MOVED .frames = 64, .setup = setup_written, .finish = moved_or_not
SCENARIO(rmap_migrate_get) = {
	SCENARIO_NAME(rmap_migrate_get),
	MOVED,
	.about = "a folio is moved while somebody gets a reference, and stores",
	.rows = "S3.9 SX.1",
	.threads = { mover, writer },
	.roles = { "mover", "driver" },
};

static void walker(void)
{
	struct folio *folio = page_try_get_folio(pfn_to_page(s.pfn));

	if (folio)
		folio_put(folio);
}

static void walker_of_second(void)
{
	struct folio *folio = page_try_get_folio(pfn_to_page(s.pfn + 1));

	if (!folio)
		return;
	CHECK(folio_contains(folio, s.pfn + 1));
	folio_put(folio);
}

SCENARIO(rmap_migrate_walk) = {
	SCENARIO_NAME(rmap_migrate_walk),	  MOVED,
	.about = "the same with a PFN walker",	  .threads = { mover, writer, walker },
	.roles = { "mover", "driver", "walker" },
};

static void migrate_pin_done(void)
{
	pte_t e = ptep_get(s.pte);

	for (unsigned int t = 0; t < 4; t++)
		if (s.nr_got[t] == 1) {
			CHECK(pte_present(e) && pte_pfn(e) == page_to_pfn(s.got[t][0]));
			CHECK(folio_test_anon_exclusive(page_folio(s.got[t][0]), 0));
			unpin_user_page(s.got[t][0]);
		}
	moved_or_not();
}

SCENARIO(rmap_migrate_pin) = {
	SCENARIO_NAME(rmap_migrate_pin),
	.frames = 64,
	.setup = setup_small,
	.finish = migrate_pin_done,
	.about = "a folio is moved while two pin it: it stays, or they have the copy",
	.rows = "S2.29 S2.30 SX.7",
	.threads = { mover, pinner_for_writing, pinner },
	.roles = { "mover", "pins to write", "pins" },
};

/* A user program on another CPU, with a translation of its own. */
static void setup_running(void)
{
	setup_small();
	mm_activate(&s.mm, 1);
}

static void user(void)
{
	for (u64 i = 1; i <= 2; i++)
		if (check_mmu_store(&s.mm, ADDR, i) == CHECK_MMU_OK)
			s.seen = i;
}

static void store_not_lost(void)
{
	pte_t e = ptep_get(s.pte);

	CHECK(pte_present(e));
	if (s.seen) {
		CHECK(*memory_of(pte_pfn(e)) == s.seen);
		CHECK(pte_dirty(e));
	}
	check_set_cpu(1);
	check_mmu_forget(&s.mm);
	mm_deactivate(&s.mm, 1);
	check_set_cpu(0);
	moved_or_not();
}

SCENARIO(rmap_migrate_store) = {
	SCENARIO_NAME(rmap_migrate_store),
	.frames = 64,
	.setup = setup_running,
	.finish = store_not_lost,
	.about = "a folio is moved under a program that stores to it",
	.threads = { mover, user },
	.roles = { "mover", "program" },
};

/* ---- splitting ---- */

static void splitter(void)
{
	int err;

	folio_lock(s.folio);
	err = split_folio_mapped(s.folio, 0, NULL);
	CHECK(!err || err == -EBUSY || err == -ENOMEM);
	s.shared = !err;
	folio_unlock(s.folio);
}

static void second_writer(void)
{
	struct page *page;

	if (get_user_pages_fast(&s.mm, ADDR + PAGE_SIZE, 1, FOLL_WRITE | FOLL_FAST_ONLY, &page) !=
	    1)
		return;
	CHECK(page_to_pfn(page) == s.pfn + 1);
	CHECK(folio_contains(page_folio(page), s.pfn + 1));
	*memory_of(s.pfn + 1) = 7;
	put_user_page(page);
}

static void split_or_not(void)
{
	struct folio *second = page_folio(pfn_to_page(s.pfn + 1));

	CHECK((second == s.folio) == !s.shared);
	for (unsigned long i = 0; i < 2; i++) {
		pte_t e = ptep_get(s.pte + i);

		CHECK(pte_present(e) && pte_write(e) && pte_pfn(e) == s.pfn + i);
	}
	CHECK(folio_mapcount(s.folio) == (s.shared ? 1 : 2));
	CHECK(folio_ref_count(s.folio) == (s.shared ? 2 : 3));
	CHECK(folio_anon_exclusive_count(folio_subrange(s.folio, 0, folio_nr_pages(s.folio))) ==
	      folio_nr_pages(s.folio));
	if (s.shared) {
		CHECK(folio_mapcount(second) == 1 && folio_ref_count(second) == 1);
		CHECK(second->index == s.folio->index + 1);
		CHECK(folio_test_anon_exclusive(second, 0) && !folio_test_locked(second));
	}
}

SCENARIO(rmap_split_get) = {
	SCENARIO_NAME(rmap_split_get),
	.frames = 64,
	.setup = setup_pair,
	.finish = split_or_not,
	.about = "a folio is split under its entries while two get references of its second page",
	.rows = "S3.9",
	.threads = { splitter, second_writer, walker_of_second },
	.roles = { "splitter", "driver", "walker" },
	.stale = 1,
};

/* ---- moving against unmapping, and waiting ---- */

static void zapper(void)
{
	zap(&s.vma);
}

static void moved_and_gone(void)
{
	CHECK(pte_none(ptep_get(s.pte)) && !folio_mapped(s.folio));
	CHECK(folio_ref_count(s.folio) == 1);
}

SCENARIO(rmap_migrate_zap) = {
	SCENARIO_NAME(rmap_migrate_zap),
	.frames = 64,
	.setup = setup_small,
	.finish = moved_and_gone,
	.about = "a folio is moved while its entry is removed",
	.rows = "S2.36",
	.threads = { mover, zapper },
	.roles = { "mover", "munmap" },
};

/* A leaf: a walk that finds it gone waits until it is also counted as gone. */
static void setup_leaf(void)
{
	struct folio_subrange all;
	struct pt_pos pos;

	CHECK(!rmap_caches_init(GFP_KERNEL));
	CHECK(!pgd_init(&s.mm, GFP_KERNEL));
	s.mm.cpu = s.cpu[0];
	make_area(&s.vma, &s.mm);
	s.vma.vm_start = level_size(1);
	s.vma.vm_end = 2 * level_size(1);
	s.vma.vm_pgoff = level_size(1) >> PAGE_SHIFT;
	CHECK(!anon_vma_prepare(&s.vma));
	s.folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, level_order(1), FOLIO_ANON);
	CHECK(s.folio && !pgtable_alloc_to(&s.mm, s.vma.vm_start, 1, GFP_KERNEL, &pos));
	s.pfn = folio_pfn(s.folio);
	s.pte = pos.ptep;
	all = folio_subrange(s.folio, 0, folio_nr_pages(s.folio));
	folio_get(s.folio);
	folio_add_new_anon_rmap(all, &s.vma, s.vma.vm_start, 1);
	set_pte(s.pte, pte_mkleaf(pfn_pte(s.pfn, PAGE_SHARED), 1));
}

static void leaf_zapper(void)
{
	struct pt_pos pos;
	pte_t e;

	CHECK(pte_offset_lock(&s.mm, s.vma.vm_start, 1, &pos));
	e = ptep_get_and_clear(pos.ptep);
	if (pte_present(e))
		folio_remove_rmap(folio_subrange(s.folio, 0, folio_nr_pages(s.folio)), &s.vma, 1);
	pte_unlock(&pos);
	if (pte_present(e))
		folio_put(s.folio);
}

static void leaf_unmapper(void)
{
	struct anon_vma *anon_vma;

	folio_lock(s.folio);
	anon_vma = try_to_migrate(s.folio);
	CHECK(!folio_mapped(s.folio));
	if (anon_vma)
		remove_migration_ptes(s.folio, s.folio, anon_vma);
	folio_unlock(s.folio);
}

SCENARIO(rmap_leaf_settled) = {
	SCENARIO_NAME(rmap_leaf_settled),
	.frames = 64,
	.setup = setup_leaf,
	.finish = moved_and_gone,
	.about = "a leaf is removed while its folio is unmapped: counts are settled after",
	.rows = "S2.36",
	.threads = { leaf_unmapper, leaf_zapper },
	.roles = { "mover", "munmap" },
};

static void waiter(void)
{
	struct pt_pos pos;

	CHECK(pte_offset_lock(&s.mm, ADDR, 0, &pos));
	if (pte_present(pos.pte)) {
		pte_unlock(&pos);
		return;
	}
	migration_entry_wait(&pos);
}

SCENARIO(rmap_migrate_wait) = {
	SCENARIO_NAME(rmap_migrate_wait),
	MOVED,
	.about = "a folio is moved while a fault waits for it",
	.threads = { mover, waiter },
	.roles = { "mover", "fault" },
};

/* Fork copies the entry, whatever it is, and then what it has copied: both have it, and nobody alone. */
static void copier(void)
{
	struct pt_pos from, to;
	pte_t e;

	CHECK(pte_offset_lock(&s.other_mm, ADDR, 0, &to));
	CHECK(pte_offset_lock(&s.mm, ADDR, 0, &from));
	e = from.pte;
	if (pte_present(e)) {
		struct folio *folio = page_folio(pfn_to_page(pte_pfn(e)));

		folio_get(folio);
		WRITE_ONCE(s.mm.write_protect_seq, 1u);
		CHECK(!folio_try_dup_anon_rmap(folio_subrange(folio, 0, 1), &s.child, &s.vma, 0));
		WRITE_ONCE(s.mm.write_protect_seq, 2u);
		ptep_set_wrprotect(from.ptep);
		flush_tlb_range(&s.mm, ADDR, ADDR + PAGE_SIZE, 0);
		e = pte_wrprotect(ptep_get(from.ptep));
	} else {
		e = swp_entry_to_pte(
			swp_entry(SWP_MIGRATION_READ, swp_offset(pte_to_swp_entry(e))));
		set_pte(from.ptep, e);
	}
	set_pte(to.ptep, e);
	pte_unlock(&from);
	pte_unlock(&to);
}

static void setup_forked(void)
{
	struct pt_pos pos;

	setup_small();
	CHECK(!pgd_init(&s.other_mm, GFP_KERNEL));
	CHECK(!pgtable_alloc_to(&s.other_mm, ADDR, 0, GFP_KERNEL, &pos));
	make_area(&s.child, &s.other_mm);
	CHECK(!anon_vma_fork(&s.child, &s.vma));
}

static void both_have_it(void)
{
	pte_t e = ptep_get(s.pte);
	struct folio *folio;
	struct pt_pos pos;

	CHECK(pte_present(e) && !pte_write(e));
	CHECK(pgtable_walk(&s.other_mm, ADDR, 0, &pos));
	CHECK(pte_present(pos.pte) && !pte_write(pos.pte) && pte_pfn(pos.pte) == pte_pfn(e));
	folio = page_folio(pfn_to_page(pte_pfn(e)));
	CHECK(folio_mapcount(folio) == 2 && folio_count_mappings(folio) == 2);
	CHECK(folio_ref_count(folio) == (folio == s.folio ? 3 : 2));
	CHECK(!folio_test_anon_exclusive(folio, 0));
}

SCENARIO(rmap_migrate_fork) = {
	SCENARIO_NAME(rmap_migrate_fork),
	.frames = 64,
	.setup = setup_forked,
	.finish = both_have_it,
	.about = "a folio is moved while fork copies its entry",
	.rows = "S2.32",
	.threads = { mover, copier },
	.roles = { "mover", "fork" },
};
