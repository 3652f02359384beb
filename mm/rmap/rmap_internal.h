/* SPDX-License-Identifier: MIT */
/*
 * rmap_internal.h - what the files of this directory tell each other.
 */
#ifndef MM_RMAP_RMAP_INTERNAL_H
#define MM_RMAP_RMAP_INTERNAL_H

#include <octavo/migrate.h>
#include <octavo/mmu_notifier.h>
#include <octavo/rmap.h>
#include <octavo/tlb.h>

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

/*
 * The part of rmap_walk() that has the anon_vma locked: VMAs that may map pages @index to @index + @nr - 1 of what it is
 * for. @folio is for the callbacks.
 */
void rmap_walk_locked(struct anon_vma *anon_vma, unsigned long index, unsigned long nr,
		      struct folio *folio, const struct rmap_walk_control *rwc);

#endif /* MM_RMAP_RMAP_INTERNAL_H */
