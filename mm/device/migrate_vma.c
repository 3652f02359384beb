// SPDX-License-Identifier: MIT
/*
 * migrate_vma.c - migrating a range of an area to a device, or back: setup and finalize.
 *
 * 1. What was collected is unmapped folio by folio: entries of every address space become migration entries, and mirrors are told
 *    with the owner's name. Then the count must be that of who has it locked and nobody else: frozen, and given
 *    back at once (migrate.c says why that is enough). Who has pinned it, or has a reference, keeps it where it is: the
 *    entries come back.
 *
 * 2. The fault page's folio is the caller's: its lock and its reference are used here, and not given up. If the folio
 *    is split, they are those of the piece with the page.
 *
 * 3. The way back needs the anon_vma: the reference that try_to_migrate() took is folio->mapping's until then, in
 *    each piece its own if the folio is split meanwhile.
 *
 * What it does not do: copy. That is the driver's, before migrate_vma_pages() or between it and finalize.
 */
#include <octavo/errno.h>
#include <octavo/string.h>
#include <octavo/swap.h>

#include "../space/space.h"
#include "device_migrate.h"

/* ---- elements ---- */

struct page *migrate_pfn_to_page(unsigned long mpfn)
{
	if (!(mpfn & MIGRATE_PFN_VALID))
		return NULL;
	return place_page(mpfn >> MIGRATE_PFN_SHIFT);
}

unsigned long migrate_pfn(const struct page *page)
{
	return page_place(page) << MIGRATE_PFN_SHIFT | MIGRATE_PFN_VALID;
}

unsigned int migrate_pfn_order(unsigned long mpfn)
{
	struct folio *folio;

	if (!(mpfn & MIGRATE_PFN_COMPOUND))
		return 0;
	folio = mpfn_folio(mpfn);
	return folio ? folio_order(folio) : (unsigned int)(mpfn >> MIGRATE_PFN_SHIFT);
}

/* ---- unmapping ---- */

void migrate_drop(const struct migration *m, struct folio *folio)
{
	if (is_fault_folio(m->fault_page, folio))
		return;
	folio_unlock(folio);
	folio_put(folio);
}

/* Nobody else has a reference; and whoever comes now finds no entry, or leaves the contents alone. */
static bool only_ours(struct folio *folio)
{
	if (!folio_ref_freeze(folio, 1))
		return false;
	folio_ref_unfreeze(folio, 1);
	return true;
}

/* Its pages are nowhere but in it; slots are given up. A device's folio has the driver's private. */
static bool is_plain_memory(struct folio *folio)
{
	if (folio_test_flag(folio, PG_hwpoison) || folio_test_flag(folio, PG_writeback) ||
	    (folio_test_flag(folio, PG_swapcache) && !folio_free_swap(folio)))
		return false;
	return folio_is_zone_device(folio) || !READ_ONCE(folio->private);
}

static bool unmap_folio(const struct migration *m, struct folio *folio)
{
	struct anon_vma *anon_vma;

	if (!is_plain_memory(folio))
		return false;
	anon_vma = try_to_migrate_owner(folio, m->owner);
	if (!anon_vma)
		return false;
	VM_BUG_ON(anon_vma != READ_ONCE(folio->mapping));
	if (!folio_mapped(folio) && only_ours(folio))
		return true;
	remove_migration_ptes(folio, folio, anon_vma);
	return false;
}

unsigned long migrate_unmap(struct migration *m)
{
	unsigned long can = 0;

	for (unsigned long i = 0; i < m->nr; i++) {
		struct folio *folio = mpfn_folio(m->src[i]);

		if (folio && !unmap_folio(m, folio)) {
			migrate_drop(m, folio);
			m->src[i] = 0;
		}
		can += !!(m->src[i] & MIGRATE_PFN_MIGRATE);
	}
	return can;
}

/* ---- the way back ---- */

/* Where the entries of sources go: the folio that was given last, and where it began. */
struct target {
	struct folio *folio; /* NULL: nowhere else */
	unsigned long at;
};

static void finish_src(const struct migration *m, unsigned long i, const struct target *t)
{
	struct folio *folio = mpfn_folio(m->src[i]);
	bool moved = folio && m->src[i] & MIGRATE_PFN_MIGRATE && t->folio;
	struct anon_vma *anon_vma;

	if (!folio)
		return;
	anon_vma = READ_ONCE(folio->mapping);
	/* or entries of one family's pages would be of a folio that its reverse maps do not know */
	if (moved && unlikely(READ_ONCE(t->folio->mapping) != anon_vma))
		octavo_panic("migrate_vma: element %lu was never exchanged", i);
	if (moved)
		remove_migration_ptes_into(folio, t->folio, i - t->at, anon_vma);
	else
		remove_migration_ptes(folio, folio, anon_vma);
	migrate_drop(m, folio);
}

/* No entry comes any more: it lives by those that it has, or goes back to where it is from. */
static void finish_dst(const struct migration *m, struct target *t)
{
	if (!t->folio)
		return;
	VM_WARN_ON(is_fault_folio(m->fault_page, t->folio));
	folio_unlock(t->folio);
	folio_put(t->folio);
	t->folio = NULL;
}

void migrate_finish(struct migration *m)
{
	struct target t = { NULL, 0 };

	for (unsigned long i = 0; i < m->nr; i++) {
		if (t.folio && i - t.at == folio_nr_pages(t.folio))
			finish_dst(m, &t);
		if (m->dst[i] & MIGRATE_PFN_VALID) {
			BUG_ON(t.folio);
			t.folio = mpfn_folio(m->dst[i]);
			t.at = i;
		}
		finish_src(m, i, &t);
	}
	finish_dst(m, &t);
}

/* ---- the calls ---- */

struct folio *migrate_folio_alloc(struct vm_area_struct *vma, gfp_t gfp, unsigned int order)
{
	struct folio *folio = mm_folio_alloc(vma->vm_mm, gfp, order);

	/* nobody waits for what nobody knows, but a PFN walker may have it for a moment */
	if (folio)
		folio_lock(folio);
	return folio;
}

struct folio *migrate_folio_alloc_like(const struct folio *src, gfp_t gfp, unsigned int order)
{
	struct folio *folio;

	/* who is charged has it from reclaim, which is there until shutdown */
	if (folio_test_flag(src, PG_charged))
		folio = octavo_state.upcalls.reclaim->folio_alloc_like(src, gfp, order,
								       NUMA_NO_NODE);
	else
		folio = folio_alloc(gfp, order, FOLIO_ANON);
	if (folio)
		folio_lock(folio);
	return folio;
}

static struct migration migration_of(struct migrate_vma *args)
{
	return (struct migration){
		.src = args->src,
		.dst = args->dst,
		.nr = args->npages,
		.fault_page = args->fault_page,
		.owner = args->pgmap_owner,
		.vma = args->vma,
		.start = args->start,
	};
}

static bool setup_is_valid(const struct migrate_vma *args)
{
	const struct vm_area_struct *vma = args->vma;
	const struct folio *fault;

	if (!vma || READ_ONCE(vma->vm_flags) & VM_SPECIAL)
		return false;
	if (!IS_ALIGNED(args->start | args->end, PAGE_SIZE) || args->start >= args->end ||
	    args->start < vma->vm_start || args->end > vma->vm_end)
		return false;
	if (!args->src || !args->dst || args->src == args->dst)
		return false;
	if (!args->fault_page)
		return true;
	fault = page_folio(args->fault_page);
	return fault && folio_is_device_private(fault) && folio_test_locked(fault);
}

int migrate_vma_setup(struct migrate_vma *args)
{
	struct migration m;

	if (!setup_is_valid(args))
		return -EINVAL;
	VM_BUG_ON(!rwsem_is_locked(&args->vma->vm_mm->mmap_lock));
	args->npages = (args->end - args->start) >> PAGE_SHIFT;
	args->cpages = 0;
	memset(args->src, 0, args->npages * sizeof(*args->src));
	memset(args->dst, 0, args->npages * sizeof(*args->dst));
	migrate_collect(args);
	m = migration_of(args);
	args->cpages = migrate_unmap(&m);
	return 0;
}

void migrate_vma_pages(struct migrate_vma *args)
{
	struct migration m = migration_of(args);

	migrate_exchange(&m);
}

void migrate_vma_finalize(struct migrate_vma *args)
{
	struct migration m = migration_of(args);

	migrate_finish(&m);
}
