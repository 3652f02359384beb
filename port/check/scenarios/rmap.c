/* SPDX-License-Identifier: MIT */
/*
 * rmap.c - reverse maps against who holds nothing: anon_vmas that go while a folio is looked up; pins
 * against sharing by unmapping and by fork; moving a folio against references, stores, faults and unmapping.
 *
 * All of it the shipped functions, on an address space that is made by hand.
 */
#include <octavo/gup.h>
#include <octavo/migrate.h>
#include <octavo/octavo.h>
#include <octavo/pgtable.h>
#include <octavo/rmap.h>
#include <octavo/tlb.h>

#include "../../../mm/rmap/rmap_init.h"
#include "check.h"

#define FIRST \
	9ul /* page of the area: not the first of a table, and the second page is in the same */
#define ADDR (FIRST << PAGE_SHIFT)

enum {
	STRONG,
	PINS_EARLY,
	PINS_AFTER_FIRST,
	RESTORE_EARLY,
	FORK_PLAIN,
};

static SHARED struct {
	struct mm_struct mm, other_mm;
	struct mm_cpu cpu[2][OCTAVO_NR_CPUS];
	struct vm_area_struct vma, other, child;
	struct folio *folio;
	struct anon_vma *first;
	unsigned long pfn;
	pte_t *pte;
	struct page *got[4][2];
	long nr_got[4];
	u32 shared, stored;
	u64 seen; /* plain */
} s;

static void make_area(struct vm_area_struct *vma, struct mm_struct *mm)
{
	*vma = (struct vm_area_struct){
		.vm_mm = mm,
		.vm_start = ADDR,
		.vm_end = ADDR + 4 * PAGE_SIZE,
		.vm_pgoff = FIRST,
		.vm_flags = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE,
		.vm_page_prot = PAGE_READONLY,
	};
	INIT_LIST_HEAD(&vma->anon_vma_chain);
}

/* For finish() too: entries of the area go, and what they held. */
static void zap(struct vm_area_struct *vma)
{
	for (unsigned long addr = vma->vm_start; addr < vma->vm_end; addr += PAGE_SIZE) {
		struct folio *folio;
		struct pt_pos pos;
		pte_t e;

		if (!pte_offset_lock(vma->vm_mm, addr, 0, &pos))
			return;
		e = ptep_get_and_clear(pos.ptep);
		folio = pte_present(e) ? page_folio(pfn_to_page(pte_pfn(e))) : NULL;
		if (folio) {
			flush_tlb_range(vma->vm_mm, addr, addr + PAGE_SIZE, 0);
			folio_remove_rmap(folio_subrange_page(folio, pfn_to_page(pte_pfn(e)), 1),
					  vma, 0);
		}
		pte_unlock(&pos);
		if (folio)
			folio_put(folio);
	}
}

/* A folio of @order, mapped by as many entries @bits, and an area. CPU 0's. */
static void setup_mapped(unsigned int order, u64 bits)
{
	struct pt_pos pos;

	CHECK(!rmap_caches_init(GFP_KERNEL));
	CHECK(!pgd_init(&s.mm, GFP_KERNEL));
	s.mm.cpu = s.cpu[0];
	s.other_mm.cpu = s.cpu[1];
	s.mm.task_size = TASK_SIZE_MAX;
	s.mm.has_pinned = 1;
	make_area(&s.vma, &s.mm);
	CHECK(!anon_vma_prepare(&s.vma));
	s.first = s.vma.anon_vma;
	s.folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, order, FOLIO_ANON);
	CHECK(s.folio && !pgtable_alloc_to(&s.mm, ADDR, 0, GFP_KERNEL, &pos));
	s.pfn = folio_pfn(s.folio);
	s.pte = pos.ptep;
	/* References: one for each entry, and the scenario's. */
	folio_ref_add(s.folio, 1u << order);
	folio_add_new_anon_rmap(folio_subrange(s.folio, 0, 1ul << order), &s.vma, ADDR, 0);
	for (unsigned long i = 0; i < 1ul << order; i++)
		set_pte(s.pte + i, pfn_pte(s.pfn + i, (pgprot_t){ PAGE_READONLY.v | bits }));
}

static void setup_small(void)
{
	setup_mapped(0, _PAGE_RW);
}

static void setup_pair(void)
{
	setup_mapped(1, _PAGE_RW);
}

/* Not writable yet: after sharing the same value comes back. */
static void setup_pair_clean(void)
{
	setup_mapped(1, 0);
}

static void setup_small_clean(void)
{
	setup_mapped(0, 0);
}

/* ---- pins ---- */

static void pin(unsigned long first, unsigned long nr, u32 flags)
{
	unsigned int t = check_thread();

	s.nr_got[t] = pin_user_pages_fast(&s.mm, ADDR + first * PAGE_SIZE, nr,
					  flags | FOLL_FAST_ONLY, s.got[t]);
}

static void pinner_of_both(void)
{
	pin(0, 2, 0);
}

static void pinner_of_second(void)
{
	pin(1, 1, 0);
}

static void pinner(void)
{
	pin(0, 1, 0);
}

static void pinner_for_writing(void)
{
	pin(0, 1, FOLL_WRITE);
}

/* What is pinned is mapped where it was, and nobody else's. */
static void pins_hold(void)
{
	for (unsigned int t = 0; t < 4; t++)
		for (long i = 0; i < s.nr_got[t]; i++) {
			struct page *page = s.got[t][i];
			struct folio *folio = page_folio(page);
			unsigned long nr = page_to_pfn(page) - s.pfn;

			CHECK(folio && nr < 2);
			CHECK(folio_test_anon_exclusive(folio, folio_page_idx(folio, page)));
			CHECK(pte_present(ptep_get(s.pte + nr)));
			CHECK(pte_pfn(ptep_get(s.pte + nr)) == page_to_pfn(page));
			unpin_user_page(page);
		}
}

/* The entries from @first on go, or come back as they were: not writable. */
static void clear_entries(pte_t *ptep, u32 first, u32 end)
{
	for (u32 i = first; i < end; i++)
		ptep_get_and_clear(ptep + i);
}

static void put_entries(pte_t *ptep, u32 end)
{
	for (u32 i = 0; i < end; i++)
		set_pte(ptep + i, pfn_pte(s.pfn + i, PAGE_READONLY));
}

/* S2.29 by hand around the shipped half: A1 for all, one barrier and one look, A3 for all, A4. */
static void sharer(void)
{
	struct folio_subrange sr = folio_subrange(s.folio, 0, folio_nr_pages(s.folio));
	u32 cleared = VARIANT(PINS_EARLY, sr.nr, 0);
	struct pt_pos pos;

	cleared = VARIANT(PINS_AFTER_FIRST, cleared, 1);
	CHECK(pte_offset_lock(&s.mm, ADDR, 0, &pos));
	clear_entries(pos.ptep, 0, cleared);
	if (check_variant() == RESTORE_EARLY)
		put_entries(pos.ptep, sr.nr);
	s.shared = !folio_try_share_anon_rmap(sr, 0);
	clear_entries(pos.ptep, cleared, sr.nr);
	put_entries(pos.ptep, sr.nr);
	pte_unlock(&pos);
}

static void share_or_pin(void)
{
	CHECK(folio_anon_exclusive_count(folio_subrange(s.folio, 0, folio_nr_pages(s.folio))) ==
	      (s.shared ? 0 : folio_nr_pages(s.folio)));
	pins_hold();
}

#define PINNED .frames = 64, .finish = share_or_pin
#define SHARE_PIN                                                        \
	PINNED, .setup = setup_pair_clean,                               \
		.threads = { sharer, pinner_of_both, pinner_of_second }, \
		.roles = { "unmapper", "pins 0 and 1", "pins 1" }
SCENARIO(rmap_share_pin) = {
	SCENARIO_NAME(rmap_share_pin),
	SHARE_PIN,
	.about = "two entries cleared and shared at once, one pins both and one the second",
	.rows = "S2.2 S2.29 S2.30",
};
WEAKENED(rmap_share_pins_early, SHARE_PIN, PINS_EARLY,
	 "rmap_share_pin, pins looked at before the entries are cleared");
WEAKENED(rmap_share_one_cleared, SHARE_PIN, PINS_AFTER_FIRST,
	 "rmap_share_pin, pins looked at when only the first is cleared");
WEAKENED(rmap_share_restore_early, SHARE_PIN, RESTORE_EARLY,
	 "rmap_share_pin, entries back before pins and bits");
SCENARIO(rmap_share_pin_small) = {
	SCENARIO_NAME(rmap_share_pin_small),
	PINNED,
	.about = "the same of a small folio, whose pins are in its count",
	.rows = "S2.2 S2.29 SX.7",
	.setup = setup_small_clean,
	.threads = { sharer, pinner, pinner },
	.roles = { "unmapper", "pins", "pins" },
};

/* ---- fork ---- */

static void forker(void)
{
	struct folio_subrange sr = folio_subrange(s.folio, 0, folio_nr_pages(s.folio));
	struct pt_pos pos;

	/* seq_cst, release: as mm_fork() */
	if (check_variant() == FORK_PLAIN)
		smp_store_release(&s.mm.write_protect_seq, 1u);
	else
		smp_store_seq_cst(&s.mm.write_protect_seq, 1u);
	CHECK(pte_offset_lock(&s.mm, ADDR, 0, &pos));
	folio_ref_add(s.folio, sr.nr);
	s.shared = !folio_try_dup_anon_rmap(sr, &s.child, &s.vma, 0);
	if (s.shared)
		for (u32 i = 0; i < sr.nr; i++)
			ptep_set_wrprotect(pos.ptep + i);
	else
		folio_put_refs(s.folio, sr.nr);
	pte_unlock(&pos);
	smp_store_release(&s.mm.write_protect_seq, 2u);
}

static void dup_or_pin(void)
{
	u32 nr = (u32)folio_nr_pages(s.folio);

	CHECK(folio_mapcount(s.folio) == (int)(s.shared ? 2 * nr : nr));
	share_or_pin();
}

#define DUP_PIN                                                  \
	.frames = 64, .finish = dup_or_pin, .setup = setup_pair, \
	.threads = { forker, pinner_of_both, pinner_of_second }, \
	.roles = { "fork", "pins 0 and 1", "pins 1" }
SCENARIO(rmap_dup_pin) = {
	SCENARIO_NAME(rmap_dup_pin),
	DUP_PIN,
	.about = "fork duplicates two entries, one pins both and one the second",
	.rows = "S2.32 SX.7",
};
WEAKENED(rmap_dup_seq_release, DUP_PIN, FORK_PLAIN,
	 "rmap_dup_pin, the fork counter made odd without a full barrier");
SCENARIO(rmap_dup_pin_small) = {
	SCENARIO_NAME(rmap_dup_pin_small),
	.frames = 64,
	.finish = dup_or_pin,
	.about = "the same of a small folio, pinned for writing",
	.rows = "S2.32 SX.7",
	.setup = setup_small,
	.threads = { forker, pinner_for_writing, pinner },
	.roles = { "fork", "pins to write", "pins" },
};

/* ---- anon_vmas ---- */

/* Whoever gets the lock may look at the tree, and finds a VMA there that has the folio. */
static void looker(void)
{
	struct anon_vma *anon_vma = folio_lock_anon_vma_read(s.folio);
	struct interval_node *node;

	if (!anon_vma)
		return;
	node = interval_tree_first(&anon_vma->tree, s.folio->index, s.folio->index);
	CHECK(node);
	CHECK(container_of(node, struct anon_vma_chain, interval)->vma == &s.vma);
	anon_vma_unlock_read(anon_vma);
}

static void unmap_folio(void)
{
	folio_remove_rmap(folio_subrange(s.folio, 0, 1), &s.vma, 0);
}

/* The area goes, and its anon_vma is another area's at once. */
static void unlinker(void)
{
	unmap_folio();
	unlink_anon_vmas(&s.vma);
	if (__anon_vma_prepare(&s.other))
		return;
	unlink_anon_vmas(&s.other);
}

static void setup_lookup(void)
{
	setup_small();
	make_area(&s.other, &s.other_mm);
	s.other.vm_pgoff = 100;
}

static void lookup_done(void)
{
	CHECK(!rwsem_is_locked(&s.first->lock));
	CHECK(!anon_vma_tryget(s.first));
}

#define LOOKED_UP .frames = 64, .finish = lookup_done, .setup = setup_lookup
SCENARIO(rmap_lookup_reuse) = {
	SCENARIO_NAME(rmap_lookup_reuse),
	LOOKED_UP,
	.about = "the anon_vma of a folio is looked up while its area goes and it is made again",
	.rows = "S3.10",
	.threads = { unlinker, looker, looker },
	.roles = { "owner", "walker", "walker" },
	.flags = SC_SYMMETRIC,
};

/* Made again for an area that the folio comes back to: found by the same mapping, of another life. */
static void remapper(void)
{
	unmap_folio();
	unlink_anon_vmas(&s.vma);
	if (__anon_vma_prepare(&s.vma))
		return;
	folio_add_anon_rmap(folio_subrange(s.folio, 0, 1), &s.vma, ADDR, 0, RMAP_EXCLUSIVE);
	unmap_folio();
	unlink_anon_vmas(&s.vma);
}

static void setup_remap(void)
{
	setup_small();
	folio_lock(s.folio);
}

SCENARIO(rmap_lookup_again) = {
	SCENARIO_NAME(rmap_lookup_again),
	.frames = 64,
	.finish = lookup_done,
	.setup = setup_remap,
	.about = "the same, and the folio is mapped again by what has been made again",
	.threads = { remapper, looker },
	.roles = { "owner", "walker" },
};

/* Of a family: the root goes while a child's folio is looked up, by its lock. */
static void setup_family(void)
{
	setup_small();
	make_area(&s.child, &s.other_mm);
	CHECK(!anon_vma_fork(&s.child, &s.vma));
	folio_remove_rmap(folio_subrange(s.folio, 0, 1), &s.vma, 0);
	folio_lock(s.folio);
	folio_add_anon_rmap(folio_subrange(s.folio, 0, 1), &s.child, ADDR, 0, RMAP_EXCLUSIVE);
	folio_unlock(s.folio);
}

static void child_looker(void)
{
	struct anon_vma *anon_vma = folio_lock_anon_vma_read(s.folio);
	struct interval_node *node;

	if (!anon_vma)
		return;
	node = interval_tree_first(&anon_vma->tree, FIRST, FIRST);
	CHECK(node && container_of(node, struct anon_vma_chain, interval)->vma == &s.child);
	CHECK(!interval_tree_next(node, FIRST, FIRST));
	anon_vma_unlock_read(anon_vma);
}

static void parent_goes(void)
{
	unlink_anon_vmas(&s.vma);
}

static void child_goes(void)
{
	folio_remove_rmap(folio_subrange(s.folio, 0, 1), &s.child, 0);
	unlink_anon_vmas(&s.child);
}

SCENARIO(rmap_family) = {
	SCENARIO_NAME(rmap_family),
	.frames = 64,
	.finish = lookup_done,
	.setup = setup_family,
	.about = "parent and child go, in any order, while the child's folio is looked up",
	.threads = { parent_goes, child_goes, child_looker },
	.roles = { "parent", "child", "walker" },
};

/* Two faults make the anon_vma of one area. */
static void preparer(void)
{
	if (anon_vma_prepare(&s.other))
		return;
	CHECK(s.other.anon_vma && s.other.anon_vma->root == s.other.anon_vma);
}

static void prepared_once(void)
{
	if (!s.other.anon_vma)
		return;
	CHECK(s.other.anon_vma->nr_vmas == 1 && s.other.anon_vma->refcount == 1);
	unlink_anon_vmas(&s.other);
}

SCENARIO(rmap_prepare) = {
	SCENARIO_NAME(rmap_prepare),
	.frames = 64,
	.finish = prepared_once,
	.setup = setup_lookup,
	.about = "two faults make the anon_vma of one area",
	.threads = { preparer, preparer },
	.roles = { "fault", "fault" },
	.flags = SC_SYMMETRIC,
};

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
	.roles = { "mover", "driver", "walker" }, .bound = 1,
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
	.bound = 1,
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
