/* SPDX-License-Identifier: MIT */
/*
 * migrate.h - moving folios that are mapped.
 *
 * A migration entry stands where an entry was whose folio is being moved or split. It is in no count of the
 * folio and has no reference, because the folio must be without either to be frozen, and because who splits it
 * could not tell to which piece a count belongs that others drop meanwhile. What keeps the folio is
 * who has it locked, until every such entry is gone. So, under the ptl of a migration entry, its folio is
 * live and locked, and of the same kind, whatever page_folio() of the frame says; and who
 *
 *   - removes it (zap) has only the address space's counter to change;
 *   - copies it (fork) too, and makes both copies SWP_MIGRATION_READ: nobody has pinned the pages;
 *   - restricts it (mprotect) changes its type, and moves it (mremap) as it is;
 *   - splits one above the last level fills the table with those of its pages.
 */
#ifndef OCTAVO_MIGRATE_H
#define OCTAVO_MIGRATE_H

#include <octavo/folio.h>
#include <octavo/mm_types.h>
#include <octavo/swapops.h>

/**
 * try_to_migrate() - every entry of a folio becomes a migration entry
 * @folio: anonymous, locked
 *
 * Dirty, young, exclusive and the marks are kept in the entries; the folio is dirty if an entry was. Pinned
 * exclusive pages keep their entries, and then the folio is still mapped. Each address space is notified, and flushed before
 * the references of its entries go.
 *
 * Context: sleeps; no lock of an anon_vma held. Return: what remove_migration_ptes() needs, which must follow,
 * also if the folio is still mapped; NULL: it was not mapped, and nothing must follow.
 */
struct anon_vma *try_to_migrate(struct folio *folio) __must_check;

/**
 * remove_migration_ptes() - the entries come back
 * @src: whose migration entries they are
 * @dst: what they map from now on: @src again, or a folio of the same order, with mapping and index of
 *	@src. Both locked; the caller has a reference of each
 * @anon_vma: from try_to_migrate(); its reference is dropped
 *
 * Context: sleeps. Cannot fail.
 */
void remove_migration_ptes(struct folio *src, struct folio *dst, struct anon_vma *anon_vma);

/* The same for who tells mirrors that it is the migration of a device: MMU_NOTIFY_MIGRATE, of @owner. */
struct anon_vma *try_to_migrate_owner(struct folio *folio, void *owner) __must_check;
/*
 * remove_migration_ptes() of a folio that becomes the pages of a larger one (or as large) from page @first on. An entry of
 * @src above the last level needs a @dst that it can map at one.
 */
void remove_migration_ptes_into(struct folio *src, struct folio *dst, unsigned long first,
				struct anon_vma *anon_vma);
/*
 * What a copy has from the original but for the contents: mapping, index, flags, generation. Whose group's it is, is
 * decided when it is allocated.
 * Context: nothing maps either, both are locked.
 */
void folio_move_state(struct folio *dst, struct folio *src);

/**
 * split_folio_unmapped() - split a folio whose entries are migration entries
 * @folio: anonymous, locked, after try_to_migrate(); one reference, the caller's
 * @new_order: of all pieces
 * @anon_vma: from try_to_migrate(); still the caller's
 *
 * Entries above the last level are split first. All pieces are locked, with a reference each, and the first is @folio.
 *
 * Context: sleeps. Return: 0, or as folio_split(); then the folio is as before, its entries perhaps smaller.
 */
int split_folio_unmapped(struct folio *folio, unsigned int new_order, struct anon_vma *anon_vma);

/**
 * migrate_folio() - move an anonymous folio
 * @src: a reference is the caller's
 * @nid: node to prefer, or NUMA_NO_NODE
 * @gfp: for the new folio
 *
 * Unmaps, checks that only expected references are left by freezing, copies, maps the copy. If it is in the swap cache, the copy
 * is in its place there. Waits for writeback if @gfp may sleep.
 *
 * Context: sleeps. Return: 0: @src is not mapped any more and the caller's reference its last; -EAGAIN locked or
 * in use: try again; -EBUSY pinned; -ENOMEM; -EINVAL not anonymous; -EHWPOISON cannot be read. On failure all is as
 * before.
 */
int migrate_folio(struct folio *src, int nid, gfp_t gfp);

/**
 * split_folio_mapped() - split a folio that page tables map
 * @folio: anonymous, locked, the caller has a reference
 * @new_order: of the pieces
 * @page: a page of it: only its piece becomes of @new_order, the rest as large as possible; NULL: all pieces
 *
 * Entries become migration entries, the folio is split, entries come back. @folio is the first piece then, locked
 * still and with the caller's reference; the others are unlocked and have those of their entries only.
 *
 * Context: sleeps. Return: 0, or as folio_split() and folio_split_out(), -EBUSY also if it is pinned; then the folio is
 * mapped as before (perhaps by smaller entries).
 */
int split_folio_mapped(struct folio *folio, unsigned int new_order, struct page *page);
/* The same, uniform; the piece that has @keep is the one that is locked and has the caller's reference. */
int split_folio_mapped_keep(struct folio *folio, unsigned int new_order, struct page *keep);

/*
 * The leaf that maps @addr becomes a table. Context: mmap_lock, or the anon_vma's lock and then @gfp without reclaim, which may
 * want that lock; sleeps as @gfp allows. Return: 0, -ENOMEM.
 */
int split_leaf_gfp(struct vm_area_struct *vma, unsigned long addr, gfp_t gfp);
/* Context: mmap_lock; sleeps. */
static inline int split_leaf(struct vm_area_struct *vma, unsigned long addr)
{
	return split_leaf_gfp(vma, addr, GFP_KERNEL);
}

#endif /* OCTAVO_MIGRATE_H */
