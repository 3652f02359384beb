// SPDX-License-Identifier: MIT
/*
 * migrate.c - moving a mapped anonymous folio to other frames.
 *
 * 1. Prepare, all of which can be taken back: memory, locks, entries to migration entries.
 *
 * 2. The point of no return: the count is frozen at the caller's reference and those of the swap cache. Nothing maps the folio, so
 *    all others are somebody's who can read or write it, and with one the freeze fails. Whoever tries to
 *    get one through an entry that he has read before finds the entry changed when he reads it again: the entries were
 *    cleared before the freeze, and a reference got after it has synchronised with it. So the count
 *    can be given back at once: what comes now are waiters and PFN walkers, who leave the pages alone. What the swap cache
 *    finds is the copy from then on, locked until it is filled; it was written, or is dirty, as the original.
 *
 * 3. Commit, which cannot fail: contents, flags, and the entries come back for the copy.
 *
 * What it does not do: choose what to move and where. Folios of files stay.
 */
#include <octavo/errno.h>
#include <octavo/string.h>
#include <octavo/swap.h>

#include "rmap_internal.h"

/* What a copy has from the original. */
#define FLAGS_MOVED                                                                         \
	(1u << PG_referenced | 1u << PG_uptodate | 1u << PG_dirty | 1u << PG_swapbacked |   \
	 1u << PG_reclaim | 1u << PG_workingset | 1u << PG_mlocked | 1u << PG_unevictable | \
	 1u << PG_owner_1 | 1u << PG_owner_2)

/* Something besides mappings and references keeps it where it is. What the device still reads is waited for, if it may be. */
static int migrate_refused(struct folio *src, gfp_t gfp)
{
	if (folio_test_flag(src, PG_hwpoison))
		return -EHWPOISON;
	/* with PG_swapcache it is folio->swap, of device memory its driver's */
	if (!(READ_ONCE(src->flags) & (1u << PG_swapcache | 1u << PG_zone_device)) &&
	    READ_ONCE(src->private))
		return -EAGAIN;
	return folio_settle_writeback(src, gfp) ? 0 : -EAGAIN;
}

void folio_move_state(struct folio *dst, struct folio *src)
{
	/* relaxed: the release of mapcount, and then of the entries, publishes them */
	WRITE_ONCE(dst->mapping, READ_ONCE(src->mapping));
	WRITE_ONCE(dst->index, READ_ONCE(src->index));
	WRITE_ONCE(dst->gen, READ_ONCE(src->gen));
	/* A read-modify-write: a PFN walker may be at its flags already. */
	fetch_or_relaxed(&dst->flags, READ_ONCE(src->flags) & FLAGS_MOVED);
}

/* The decision: nobody has it but the caller and the swap cache, which has @dst then. Nothing maps @src. */
static bool migrate_commit(struct folio *src, struct folio *dst)
{
	u32 cached = folio_cache_refs(src);

	if (!folio_ref_freeze(src, 1 + cached))
		return false;
	if (cached)
		swap_cache_replace(src, dst);
	folio_ref_unfreeze(src, 1);
	return true;
}

/* With both locked. On failure the entries are as before. */
static int migrate_locked(struct folio *src, struct folio *dst, gfp_t gfp)
{
	bool wanted = folio_test_flag(src, PG_swapcache);
	struct anon_vma *anon_vma;
	int err = migrate_refused(src, gfp);

	if (err)
		return err;
	anon_vma = try_to_migrate(src);
	if (folio_mapped(src))
		err = folio_maybe_dma_pinned(src) ? -EBUSY : -EAGAIN;
	else if (!migrate_commit(src, dst))
		err = -EAGAIN;
	else if (anon_vma || wanted) {
		memcpy(folio_address(dst), folio_address(src), folio_size(src));
		folio_move_state(dst, src);
	}
	if (anon_vma)
		remove_migration_ptes(src, err ? src : dst, anon_vma);
	return err;
}

/* A folio to take the place of another; one that is charged, of the same group. */
static struct folio *alloc_copy(const struct folio *src, int nid, gfp_t gfp)
{
	if (unlikely(folio_test_flag(src, PG_charged)))
		return octavo_state.upcalls.reclaim->folio_alloc_like(src, gfp, folio_order(src),
								      nid);
	return folio_alloc_node(gfp, folio_order(src), FOLIO_ANON, nid);
}

int migrate_folio(struct folio *src, int nid, gfp_t gfp)
{
	struct folio *dst;
	int err = -EAGAIN;

	/* what CPUs cannot read is its device's to move: migrate_vma_setup() */
	if (!folio_test_anon(src) || folio_place(src) & FOLIO_DEVICE_PRIVATE)
		return -EINVAL;
	/* A look before the work; what holds is what is found when nothing maps it. */
	if (folio_maybe_dma_pinned(src))
		return -EBUSY;
	dst = alloc_copy(src, nid, gfp);
	if (!dst)
		return -ENOMEM;
	/* Ours alone but for PFN walkers, which only try: no order between the two. */
	folio_lock(dst);
	if (folio_trylock(src)) {
		err = migrate_locked(src, dst, gfp);
		folio_unlock(src);
	}
	folio_unlock(dst);
	/* It lives by its entries, or nobody needs it. */
	folio_put(dst);
	return err;
}
