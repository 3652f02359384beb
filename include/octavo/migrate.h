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
#include <octavo/swapops.h>

/**
 * try_to_migrate() - every entry of a folio becomes a migration entry
 * @folio: locked
 *
 * Dirty, young and exclusive are kept in the entries; the folio is dirty if an entry was. Pinned exclusive
 * pages keep their entries: the folio is then still mapped. Context: sleeps; notifiers run.
 */
void try_to_migrate(struct folio *folio);

/**
 * remove_migration_ptes() - the entries come back
 * @src: whose migration entries they are
 * @dst: what they map from now on: @src again, or what it was moved to; locked both
 */
void remove_migration_ptes(struct folio *src, struct folio *dst);

/**
 * migrate_folio() - move an anonymous folio
 * @src: a reference is the caller's
 * @nid: node to prefer, or NUMA_NO_NODE
 * @gfp: for the new folio
 *
 * Unmaps, checks that only expected references are left by freezing, copies, maps the copy.
 *
 * Context: sleeps. Return: 0: @src is not mapped any more and the caller's reference its last; -EAGAIN locked or
 * in use: try again; -EBUSY pinned; -ENOMEM; -EINVAL not anonymous. On failure all is as before.
 */
int migrate_folio(struct folio *src, int nid, gfp_t gfp);

#endif /* OCTAVO_MIGRATE_H */
