// SPDX-License-Identifier: MIT
/*
 * migrate_entry.c - entries of a folio to migration entries and back.
 *
 * 1. A run at a time (unmap_run.h). The migration entry itself has all that the entry said and the area does not, so
 *    nothing else has to be remembered.
 *
 * 2. The flush is done before the ptl is given up. Whoever finds a migration entry may remove it and believe
 *    that nothing is mapped there, and does not flush for what was never present to him.
 *
 * 3. The references of the entries go after the flush, and the counts of mappings with them (migrate.h says why).
 *    So the way back makes new ones, for what has the frames then. It does not look at the folio that
 *    there was: it goes by frame numbers.
 *
 * 4. While entries are gone the folio is not mapped, and nothing but a reference keeps the anon_vma for the way
 *    back. If all its VMAs go meanwhile there is nothing to bring back.
 *
 * What it does not do: decide whether the folio can be moved, or move it.
 */
#include "rmap_internal.h"
#include "unmap_run.h"

/* ---- one entry ---- */

/* A present entry of an anonymous page, as migration entry. */
static pte_t migration_pte(pte_t e, bool exclusive)
{
	enum swp_type type = SWP_MIGRATION_READ;
	u64 payload = pte_pfn(e);
	pte_t m;

	/* S2.30: what is not exclusive is not mapped writable. */
	VM_BUG_ON(pte_write(e) && !exclusive);
	if (exclusive)
		type = pte_write(e) ? SWP_MIGRATION_WRITE : SWP_MIGRATION_READ_EXCLUSIVE;
	if (pte_young(e))
		payload |= SWP_MIG_YOUNG;
	if (pte_dirty(e))
		payload |= SWP_MIG_DIRTY;
	m = swp_entry_to_pte(swp_entry(type, payload));
	if (pte_soft_dirty(e))
		m = pte_swp_mksoft_dirty(m);
	return pte_uffd_wp(e) ? pte_swp_mkuffd_wp(m) : m;
}

/*
 * The same of an entry of device-private memory. Nobody but the device knows what was used; what it could write to
 * is dirty, so that nobody drops what it has written.
 */
static pte_t migration_of_private(pte_t e)
{
	swp_entry_t entry = pte_to_swp_entry(e);
	enum swp_type type = SWP_MIGRATION_READ;
	u64 payload = swp_entry_place(entry);
	pte_t m;

	if (swp_type(entry) == SWP_DEVICE_PRIVATE_WRITE) {
		type = SWP_MIGRATION_WRITE;
		payload |= SWP_MIG_YOUNG | SWP_MIG_DIRTY;
	} else if (pte_swp_exclusive(e)) {
		type = SWP_MIGRATION_READ_EXCLUSIVE;
	}
	m = swp_entry_to_pte(swp_entry(type, payload));
	if (pte_swp_soft_dirty(e))
		m = pte_swp_mksoft_dirty(m);
	return pte_swp_uffd_wp(e) ? pte_swp_mkuffd_wp(m) : m;
}

/* The way back to device-private memory. */
static pte_t private_pte(pte_t m, unsigned long place)
{
	enum swp_type type = swp_type(pte_to_swp_entry(m));
	pte_t e =
		device_private_pte(place, type == SWP_MIGRATION_WRITE, type != SWP_MIGRATION_READ);

	if (pte_swp_soft_dirty(m))
		e = pte_swp_mksoft_dirty(e);
	return pte_swp_uffd_wp(m) ? pte_swp_mkuffd_wp(e) : e;
}

/* The way back to memory, for @pfn and with the area's protection. */
static pte_t present_pte(pte_t m, unsigned long pfn, const struct vm_area_struct *vma,
			 unsigned int level)
{
	swp_entry_t entry = pte_to_swp_entry(m);
	pgprot_t prot = { READ_ONCE(vma->vm_page_prot.v) };
	pte_t e = pte_mkold(pte_mkleaf(pfn_pte(pfn, prot), level));

	if (swp_offset(entry) & SWP_MIG_YOUNG)
		e = pte_mkyoung(e);
	if (swp_offset(entry) & SWP_MIG_DIRTY)
		e = pte_mkdirty(e);
	/* mkdirty is of a write, which this is not: the mark is as it was. */
	e = pte_swp_soft_dirty(m) ? pte_mksoft_dirty(e) : pte_clear_soft_dirty(e);
	if (swp_type(entry) == SWP_MIGRATION_WRITE)
		e = pte_mkwrite(e);
	return pte_swp_uffd_wp(m) ? pte_mkuffd_wp(e) : e;
}

/* ---- what a device has for itself for a while ---- */

pte_t device_exclusive_pte(const struct vm_area_struct *vma, pte_t e)
{
	unsigned long pfn = swp_entry_pfn(pte_to_swp_entry(e));
	pgprot_t prot = { READ_ONCE(vma->vm_page_prot.v) };
	pte_t present = pte_mkyoung(pfn_pte(pfn, prot));

	/* the device has written to it, perhaps */
	present = pte_mkdirty(present);
	/* mprotect() changes the area first, and comes to this entry, under the ptl, after that */
	if (READ_ONCE(vma->vm_flags) & VM_WRITE)
		present = pte_mkwrite(present);
	present = pte_swp_soft_dirty(e) ? pte_mksoft_dirty(present) : pte_clear_soft_dirty(present);
	return pte_swp_uffd_wp(e) ? pte_wrprotect(pte_mkuffd_wp(present)) : present;
}

/* ---- there ---- */

struct to_migration {
	struct folio_unmap u;
	u32 flags; /* TTM_... */
};

/* Past the point of no return: migration entries instead of the run's. Context: the ptl. */
static void store_migration(const struct unmap_run *run, bool exclusive)
{
	bool dirty = false;

	for (unsigned int i = 0; i < run->nr; i++) {
		pte_t e = ptep_get(run->ptep + i);

		dirty |= pte_dirty(e);
		set_pte(run->ptep + i, migration_pte(e, exclusive));
	}
	if (dirty)
		folio_set_flag(run->sr.folio, PG_dirty);
	unmap_run_end(run);
}

/*
 * Entries of device-private memory: no CPU has a translation, nobody has pinned anything (S1.39), so nothing can be
 * in the way.
 */
static void private_to_migration(const struct unmap_run *run)
{
	for (unsigned int i = 0; i < run->nr; i++)
		set_pte(run->ptep + i, migration_of_private(ptep_get(run->ptep + i)));
	unmap_run_end(run);
}

enum unmap_next unmap_to_migration(const struct folio_vma_walk *w, u32 flags)
{
	const struct unmap_run *part;
	struct unmap_run run, mem;
	bool exclusive;

	/* It may not be one entry any more. */
	if (w->pos.level != PGTABLE_LEVEL_PTE && (flags & TTM_NO_LEAVES))
		return UNMAP_STOP;
	run = unmap_run_of(w);
	if (pte_is_device_private(w->pos.pte)) {
		private_to_migration(&run);
		return UNMAP_GO_ON;
	}
	unmap_run_begin(&run);
	for (unsigned int at = 0; at < run.nr; at += part->nr) {
		part = unmap_run_alike(&run, at, &exclusive, &mem);
		if (exclusive && unmap_run_share(part)) {
			mem = unmap_run_rest(&run, at);
			unmap_run_cancel(&mem);
			return UNMAP_STOP;
		}
		store_migration(part, exclusive);
	}
	return UNMAP_GO_ON;
}

static enum unmap_next batch_to_migration(struct folio_unmap *u, const struct folio_vma_walk *w)
{
	return unmap_to_migration(w, container_of(u, struct to_migration, u)->flags);
}

static struct anon_vma *folio_to_migration(struct folio *folio, struct to_migration *t)
{
	struct anon_vma *anon_vma;

	VM_BUG_ON(!folio_test_anon(folio));
	/* The folio is locked, so this stays its mapping. */
	anon_vma = folio_get_anon_vma(folio);
	if (!anon_vma)
		return NULL;
	anon_vma_lock_read(anon_vma);
	t->u.walk_flags = FVW_SYNC;
	t->u.batch = batch_to_migration;
	folio_unmap_walk(&folio, 1, anon_vma, &t->u);
	anon_vma_unlock_read(anon_vma);
	return anon_vma;
}

struct anon_vma *folio_unmap_for_migration(struct folio *folio, u32 flags)
{
	struct to_migration t = { .u = { .event = MMU_NOTIFY_CLEAR }, .flags = flags };

	return folio_to_migration(folio, &t);
}

struct anon_vma *try_to_migrate(struct folio *folio)
{
	return folio_unmap_for_migration(folio, 0);
}

struct anon_vma *try_to_migrate_owner(struct folio *folio, void *owner)
{
	struct to_migration t = { .u = { .event = MMU_NOTIFY_MIGRATE, .owner = owner } };

	return folio_to_migration(folio, &t);
}

/* ---- and back ---- */

struct restore {
	unsigned long index, nr; /* as they were mapped */
	unsigned long src, dst;	 /* places */
};

/* Entries from @ptep on become those of @sr. Context: the ptl. */
static void restore_run(const struct folio_vma_walk *w, pte_t *ptep, unsigned int nr,
			struct folio_subrange sr)
{
	unsigned long place = folio_place(sr.folio) + sr.first;
	bool shared = swp_type(pte_to_swp_entry(ptep_get(ptep))) == SWP_MIGRATION_READ;

	folio_ref_add(sr.folio, nr);
	if (unlikely(place & FOLIO_DEVICE_PRIVATE)) {
		/* the entries themselves say what is exclusive */
		folio_restore_anon_rmap(sr, w->pos.level, RMAP_NONE);
		for (unsigned int i = 0; i < nr; i++)
			set_pte(ptep + i, private_pte(ptep_get(ptep + i), place + i));
		return;
	}
	folio_restore_anon_rmap(sr, w->pos.level, shared ? RMAP_NONE : RMAP_EXCLUSIVE);
	for (unsigned int i = 0; i < nr; i++)
		set_pte(ptep + i, present_pte(ptep_get(ptep + i), place + i, w->vma, w->pos.level));
}

/* A batch, whose frames may be in several folios by now. */
static void restore_batch(const struct folio_vma_walk *w, const struct restore *r)
{
	u32 nr;

	for (u32 at = 0; at < w->sr.nr; at += nr) {
		struct page *page = place_page(r->dst + w->sr.first + at);
		struct folio *folio = page_folio(page);
		unsigned long left = folio_nr_pages(folio) - folio_page_idx(folio, page);

		nr = (u32)min((unsigned long)w->sr.nr - at, left);
		/* One entry above the last level: nobody splits such a folio without splitting that first. */
		VM_BUG_ON(w->pos.level != PGTABLE_LEVEL_PTE && nr != w->sr.nr);
		restore_run(w, w->pos.ptep + at, w->pos.level == PGTABLE_LEVEL_PTE ? nr : 1,
			    folio_subrange_page(folio, page, nr));
	}
}

static bool restore_one(struct folio *folio, struct vm_area_struct *vma, unsigned long addr,
			void *arg)
{
	const struct restore *r = arg;
	struct folio_vma_walk w =
		folio_vma_walk_places(vma, FVW_MIGRATION, r->src, r->index, r->nr);

	while (folio_vma_walk_next(&w))
		restore_batch(&w, r);
	return true;
}

static void restore_locked(struct anon_vma *anon_vma, unsigned long index, unsigned long nr,
			   unsigned long src, unsigned long dst)
{
	struct restore r = { .index = index, .nr = nr, .src = src, .dst = dst };
	const struct rmap_walk_control rwc = { .rmap_one = restore_one, .arg = &r };

	rmap_walk_locked(anon_vma, index, nr, NULL, &rwc);
}

void unmap_restore(struct folio *folio, struct anon_vma *anon_vma)
{
	VM_BUG_ON(!folio_test_locked(folio));
	restore_locked(anon_vma, READ_ONCE(folio->index), folio_nr_pages(folio), folio_place(folio),
		       folio_place(folio));
}

void restore_migration_entries(struct anon_vma *anon_vma, unsigned long index, unsigned long nr,
			       unsigned long src, unsigned long dst)
{
	/* It may be empty, or even another family's if it was found just before: there is nothing then. */
	anon_vma_lock_read(anon_vma);
	restore_locked(anon_vma, index, nr, src, dst);
	anon_vma_unlock_read(anon_vma);
	put_anon_vma(anon_vma);
}

void remove_migration_ptes(struct folio *src, struct folio *dst, struct anon_vma *anon_vma)
{
	VM_BUG_ON(!folio_test_locked(src) || !folio_test_locked(dst));
	VM_BUG_ON(folio_order(src) != folio_order(dst));
	restore_migration_entries(anon_vma, READ_ONCE(src->index), folio_nr_pages(src),
				  folio_place(src), folio_place(dst));
}

void remove_migration_ptes_into(struct folio *src, struct folio *dst, unsigned long first,
				struct anon_vma *anon_vma)
{
	VM_BUG_ON(!folio_test_locked(src) || !folio_test_locked(dst));
	BUG_ON(first + folio_nr_pages(src) > folio_nr_pages(dst));
	restore_migration_entries(anon_vma, READ_ONCE(src->index), folio_nr_pages(src),
				  folio_place(src), folio_place(dst) + first);
}

/* ---- meanwhile ---- */

struct folio *migration_entry_get(struct pt_pos *pos)
{
	swp_entry_t entry = pte_to_swp_entry(ptep_get(pos->ptep));
	struct folio *folio;
	bool got;

	VM_BUG_ON(!is_migration_entry(entry));
	/*
	 * Live, because who has it locked cannot finish without this ptl. Refused for a moment while it is
	 * frozen. If it is had before that, the migration fails and the entry comes back.
	 */
	folio = page_folio(place_page(swp_entry_place(entry)));
	got = folio_try_get(folio);
	pte_unlock(pos);
	return got ? folio : NULL;
}

void migration_entry_wait(struct pt_pos *pos)
{
	struct folio *folio = migration_entry_get(pos);

	if (!folio) {
		octavo_port_relax();
		return;
	}
	folio_lock(folio);
	folio_unlock(folio);
	folio_put(folio);
}
