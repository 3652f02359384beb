/* SPDX-License-Identifier: MIT */
/*
 * rmap.c - reverse maps against who holds nothing: anon_vmas that go while a folio is looked up; pins
 * against sharing by unmapping and by fork.
 */
#include "rmap_space.h"

enum {
	STRONG,
	PINS_EARLY,
	PINS_AFTER_FIRST,
	RESTORE_EARLY,
	FORK_PLAIN,
};

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

/* As mm_fork() does it for a page that is a folio: reference and look at the pins are one operation. */
static void forker_small(void)
{
	struct folio *folio;
	struct pt_pos pos;
	u32 flags = 0;

	smp_store_seq_cst(&s.mm.write_protect_seq, 1u);
	CHECK(pte_offset_lock(&s.mm, ADDR, 0, &pos));
	folio = rmap_small_anon(pte_pfn(ptep_get(pos.ptep)), &flags);
	CHECK(folio == s.folio);
	s.shared = !folio_try_dup_anon_rmap_small(folio, flags, &s.vma);
	if (s.shared)
		ptep_set_wrprotect(pos.ptep);
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
	.threads = { forker_small, pinner_for_writing, pinner },
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
