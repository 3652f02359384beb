/* SPDX-License-Identifier: MIT */
/*
 * rmap_internal.h - what the files of this directory tell each other.
 */
#ifndef MM_RMAP_RMAP_INTERNAL_H
#define MM_RMAP_RMAP_INTERNAL_H

#include <octavo/migrate.h>
#include <octavo/mmu_notifier.h>
#include <octavo/rmap.h>
#include <octavo/swap.h>
#include <octavo/tlb.h>

/* A locked folio is not being written, and will not be: waits if @gfp may sleep. Return: false: it is being written. */
static inline bool folio_settle_writeback(struct folio *folio, gfp_t gfp)
{
	if (gfp & __GFP_DIRECT_RECLAIM && folio_under_writeback(folio))
		folio_wait_writeback(folio);
	return !folio_under_writeback(folio);
}

/* ---- anon_vma.c ---- */

/* A reference of what is the mapping of a mapped anonymous folio now. NULL: there is none. */
struct anon_vma *folio_get_anon_vma(const struct folio *folio);

/* ---- rmap.c ---- */

/*
 * folio_add_anon_rmap() of a folio that has its mapping and index already, mapped or not: it was moved or split, and
 * is locked.
 */
void folio_restore_anon_rmap(struct folio_subrange sr, unsigned int level, u32 flags);

/* ---- rmap_walk.c ---- */

/* The VMAs in a locked anon_vma's tree that may map any of pages @first to @last. */
static inline struct vm_area_struct *interval_vma(struct interval_node *node)
{
	return container_of(node, struct anon_vma_chain, interval)->vma;
}

#define for_each_vma_of_pages(vma, node, anon_vma, first, last)          \
	for (node = interval_tree_first(&(anon_vma)->tree, first, last); \
	     node && (vma = interval_vma(node), true);                   \
	     node = interval_tree_next(node, first, last))

/*
 * The part of rmap_walk() that has the anon_vma locked: VMAs that may map pages @index to @index + @nr - 1 of what it is
 * for. @folio is for the callbacks.
 */
void rmap_walk_locked(struct anon_vma *anon_vma, unsigned long index, unsigned long nr,
		      struct folio *folio, const struct rmap_walk_control *rwc);

/* ---- migrate_entry.c ---- */

/* Do not turn entries above the last level into migration entries: they stay, and the folio is mapped still. */
#define TTM_NO_LEAVES 1u

/* try_to_migrate() with TTM_... */
struct anon_vma *folio_unmap_for_migration(struct folio *folio, u32 flags) __must_check;

/*
 * Migration entries of @nr places (folio.h) from @src on, which were mapped as pages @index and on of what @anon_vma is for,
 * become entries of the places from @dst on, whatever folios these are in: all locked. Drops the reference of
 * @anon_vma.
 */
void restore_migration_entries(struct anon_vma *anon_vma, unsigned long index, unsigned long nr,
			       unsigned long src, unsigned long dst);

#endif /* MM_RMAP_RMAP_INTERNAL_H */
