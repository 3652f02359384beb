/* SPDX-License-Identifier: MIT */
/*
 * migrate.h - moving folios that are mapped.
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
