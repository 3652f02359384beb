/* SPDX-License-Identifier: MIT */
/*
 * rmap.h - reverse maps: from a folio to the page-table entries that map it.
 *
 * Counts: folio->mapcount is the number of entries, of any page table and level, that map any page of the
 * folio; entire_mapcount is those above the last level. Each entry has one reference. There are no counts
 * by page. Migration entries count nothing and have no reference: see migrate.h.
 *
 * Anonymous folios: folio->mapping is the anon_vma of the VMA that they were made for, folio->index the page in
 * what that VMA maps; both are set with the first mapping and change only under the folio lock. After the
 * last entry is gone they stay, and mean nothing without folio_mapped().
 *
 * No function here touches a page that is no folio. docs/rmap.md has the design; the chains of anon_vmas are
 * after R. van Riel, "making the anon_vma scale", 2010 (public mail), as documented.
 */
#ifndef OCTAVO_RMAP_H
#define OCTAVO_RMAP_H

#include <octavo/folio.h>
#include <octavo/pgtable.h>

/* ---- anon_vmas ---- */

/* Makes vma->anon_vma. Context: mmap_lock held for reading or writing; sleeps. Return: 0, -ENOMEM. */
int __anon_vma_prepare(struct vm_area_struct *vma);
static inline int anon_vma_prepare(struct vm_area_struct *vma)
{
	/* acquire: pairs with the release of __anon_vma_prepare() */
	return likely(smp_load_acquire(&vma->anon_vma)) ? 0 : __anon_vma_prepare(vma);
}

/**
 * anon_vma_clone() - a VMA joins all anon_vmas of another of the same address space
 * @dst: a copy of @src by split, merge or mremap; its chain is empty
 *
 * Context: mmap_lock for writing; sleeps. Return: 0, -ENOMEM and @dst's chain is empty again.
 */
int anon_vma_clone(struct vm_area_struct *dst, struct vm_area_struct *src);
/**
 * anon_vma_fork() - the same for a child's VMA, which then gets an anon_vma of its own
 *
 * @dst: anon_vma NULL, chain empty. Context: both mmap_locks for writing. Return: 0, -ENOMEM: nothing changed.
 */
int anon_vma_fork(struct vm_area_struct *dst, struct vm_area_struct *src);
/* The VMA maps nothing any more, and leaves. Context: mmap_lock for writing. */
void unlink_anon_vmas(struct vm_area_struct *vma);
/*
 * Around a change of vm_start, vm_end or vm_pgoff of a VMA: takes it out of the trees and puts it back.
 * Context: mmap_lock for writing; anon_vma_lock_write() of the VMA's anon_vma from before the first to after
 * the second (one lock covers several VMAs that share an anon_vma). A VMA without anon_vma needs neither.
 */
void anon_vma_interval_tree_pre_update_vma(struct vm_area_struct *vma);
void anon_vma_interval_tree_post_update_vma(struct vm_area_struct *vma);

/* Inc-not-zero; under RCU. */
bool anon_vma_tryget(struct anon_vma *anon_vma);
/* For who has one, or the lock of a family that it is in. */
void anon_vma_get(struct anon_vma *anon_vma);
void put_anon_vma(struct anon_vma *anon_vma);
void anon_vma_lock_write(struct anon_vma *anon_vma);
void anon_vma_unlock_write(struct anon_vma *anon_vma);
void anon_vma_lock_read(struct anon_vma *anon_vma);
void anon_vma_unlock_read(struct anon_vma *anon_vma);

/**
 * folio_lock_anon_vma_read() - the anon_vma of a mapped anonymous folio, locked
 * @folio: a reference is held; locked or not
 *
 * Return: NULL: not anonymous or not mapped. Ended by anon_vma_unlock_read() and nothing else: the lock keeps it.
 */
struct anon_vma *folio_lock_anon_vma_read(const struct folio *folio);

/**
 * folio_maps_only_vma() - can no other VMA map any page of an anonymous folio?
 * @folio: mapped by @vma at an entry whose ptl is held; not a hint then: fork and split of @vma are shut out
 *
 * True if the folio's anon_vma has one VMA, @vma. Context: mmap_lock, or vma checked under the ptl.
 */
bool folio_maps_only_vma(const struct folio *folio, const struct vm_area_struct *vma);

/* ---- counts: context is the ptl of the entries, which map these very pages ---- */

/* Flags. */
#define RMAP_NONE      0u
#define RMAP_EXCLUSIVE 1u /* the pages become (or are) exclusive */

/**
 * folio_add_new_anon_rmap() - the first entries of a folio that nobody else can see yet
 * @sr: what they map; the whole folio for a level above 0
 * @vma: anon_vma prepared
 * @addr: of the first page of @sr in @vma
 * @level: one entry above level 0, or sr.nr entries at level 0
 *
 * Sets mapping and index, PG_uptodate, PG_swapbacked unless the VMA is droppable, exclusive.
 */
void folio_add_new_anon_rmap(struct folio_subrange sr, struct vm_area_struct *vma,
			     unsigned long addr, unsigned int level);
/*
 * Entries come back, or more of them come: swap-in, a leaf split. The folio is mapped already; or it is locked, and
 * gets mapping and index anew: those of @vma if it is RMAP_EXCLUSIVE, else those of all of its family.
 */
void folio_add_anon_rmap(struct folio_subrange sr, struct vm_area_struct *vma, unsigned long addr,
			 unsigned int level, u32 flags);
void folio_add_file_rmap(struct folio_subrange sr, struct vm_area_struct *vma, unsigned int level);
/* Entries are gone (cleared before this). The references are the caller's to drop, after the flush. */
void folio_remove_rmap(struct folio_subrange sr, struct vm_area_struct *vma, unsigned int level);

/**
 * folio_try_dup_anon_rmap() - fork: the child gets entries for the same pages
 * @sr: pages, one entry each at level 0; one entry for all above
 * @dst_vma: child's
 * @src_vma: parent's; its mm's write_protect_seq is odd
 *
 * All or nothing. Exclusive pages that may be pinned cannot be shared. On success the pages are shared: the caller
 * write-protects the parent's entries, and stores the child's read-only. The child's references are the caller's to take first.
 *
 * Return: 0; -EBUSY: pinned, the caller copies now: never of device-private memory.
 */
int folio_try_dup_anon_rmap(struct folio_subrange sr, struct vm_area_struct *dst_vma,
			    struct vm_area_struct *src_vma, unsigned int level) __must_check;
void folio_dup_file_rmap(struct folio_subrange sr, unsigned int level);

/**
 * folio_try_share_anon_rmap() - exclusive pages become shared, if nobody has pinned them
 * @sr: pages whose entries the caller has just cleared with ptep_get_and_clear(), all of them
 *      exclusive; above level 0 the one page whose bit stands for the entry
 *
 * A2 and A3 of the protocol of docs/memdesc.md "Look-ups": one full barrier, one look at the pins, then all bits. On success new
 * entries may be stored, never writable ones.
 *
 * Return: 0; -EBUSY: may be pinned, nothing has changed: put the entries back. S2.2, S2.29.
 */
int folio_try_share_anon_rmap(struct folio_subrange sr, unsigned int level) __must_check;

/* ---- the same for one page of a folio of class SMALL, without a call ---- */

/*
 * For walks through page tables, where a page is all there is to do. They look at the word of the page that an entry
 * maps, and at the flags of its descriptor, once. Context: the ptl of the entry. What the functions above check is checked.
 */

__noreturn __cold void __rmap_bad(const struct folio *folio, const char *what);

static __always_inline void __mapcount_add(struct folio *folio, u32 nr)
{
	/* release: pairs with the acquire in folio_lock_anon_vma_read(): the mapping is this mapping's */
	s32 old = fetch_add_release(&folio->mapcount, (s32)nr);

	if (unlikely(old < 0 || old > INT32_MAX - (s32)nr))
		__rmap_bad(folio, "mapped too often");
}

static __always_inline void __mapcount_sub(struct folio *folio, u32 nr)
{
	/* release: pairs with acquire loads of mapcount: what was done through the entries is done */
	s32 old = fetch_sub_release(&folio->mapcount, (s32)nr);

	if (unlikely(old < (s32)nr))
		__rmap_bad(folio, "unmapped more often than mapped");
}

/**
 * rmap_small_anon() - the anonymous folio of class SMALL that a page is
 * @pfn: the page, which an entry maps whose ptl is held
 * @flags: the folio's
 *
 * Return: NULL: it is something else.
 */
static __always_inline struct folio *rmap_small_anon(unsigned long pfn, u32 *flags)
{
	memdesc_t md = page_memdesc(pfn_to_page(pfn));
	struct folio *folio = memdesc_ptr(md);

	if (memdesc_type(md) != MEMDESC_ANON)
		return NULL;
	*flags = READ_ONCE(folio->flags);
	if (*flags >> FOLIO_CLASS_SHIFT != FOLIO_CLASS_SMALL)
		return NULL;
	if (unlikely(folio_pfn(folio) != pfn))
		__rmap_bad(folio, "mapped pages are not the folio's");
	return folio;
}

/**
 * folio_add_new_anon_rmap_small() - folio_add_new_anon_rmap() of a folio of class SMALL
 * @folio: nobody else can see it yet
 * @vma: anon_vma prepared
 * @addr: of its page in @vma
 */
static __always_inline void folio_add_new_anon_rmap_small(struct folio *folio,
							  const struct vm_area_struct *vma,
							  unsigned long addr)
{
	u32 set = 1u << PG_anon_exclusive | 1u << PG_uptodate;
	struct anon_vma *anon_vma = READ_ONCE(vma->anon_vma);

	if (unlikely(folio_ref_count(folio) == 0 || READ_ONCE(folio->mapcount)))
		__rmap_bad(folio, "mapped as new, but is mapped or free");
	if (unlikely(page_memdesc(folio_page(folio, 0)).v !=
		     memdesc_pointer(MEMDESC_ANON, folio).v))
		__rmap_bad(folio, "mapped, but is a folio of the other kind, or none");
	VM_BUG_ON(!anon_vma || addr < vma->vm_start || addr >= vma->vm_end);
	if (likely(!(READ_ONCE(vma->vm_flags) & VM_DROPPABLE)))
		set |= 1u << PG_swapbacked;
	WRITE_ONCE(folio->mapping, (void *)anon_vma);
	WRITE_ONCE(folio->index, linear_page_index(vma, addr));
	WRITE_ONCE(folio->mapcount, 1);
	/* as in folio_add_new_anon_rmap() */
	fetch_or_relaxed(&folio->flags, set);
}

/* folio_remove_rmap() of what rmap_small_anon() returned. */
static __always_inline void folio_remove_rmap_small(struct folio *folio)
{
	if (unlikely(folio_ref_count(folio) == 0))
		__rmap_bad(folio, "mapped, but is free");
	__mapcount_sub(folio, 1);
}

/* What is exclusive and not @pinned becomes shared, and one more entry maps it. Return: 0, -EBUSY. */
static __always_inline int __folio_share_small(struct folio *folio, u32 flags, bool pinned)
{
	if (flags & (1u << PG_anon_exclusive)) {
		if (unlikely(pinned))
			return -EBUSY;
		folio_clear_flag(folio, PG_anon_exclusive);
	}
	__mapcount_add(folio, 1);
	return 0;
}

/**
 * folio_try_dup_anon_rmap_small() - folio_try_dup_anon_rmap(), and the child's reference with it
 * @folio: from rmap_small_anon()
 * @flags: from there
 * @src_vma: parent's; its mm's write_protect_seq is odd
 *
 * One operation takes the reference and looks at the pins.
 *
 * Return: 0, and a reference was taken; -EBUSY: may be pinned, nothing has changed.
 */
static __always_inline int __must_check
folio_try_dup_anon_rmap_small(struct folio *folio, u32 flags, const struct vm_area_struct *src_vma)
{
	/*
	 * seq_cst: pairs with the pins of folio_try_pin(). Our store of an odd write_protect_seq came before it,
	 * theirs before their second look at that: we see the pin, or they see that.
	 */
	u32 old = fetch_add_seq_cst(&folio->refcount, 1u);

	VM_BUG_ON(!(READ_ONCE(src_vma->vm_mm->write_protect_seq) & 1));
	if (unlikely((s32)old <= 0 || (s32)(old + 1) < 0))
		folio_ref_bad(folio, old, 1);
	if (likely(!__folio_share_small(folio, flags, old >= GUP_PIN_COUNTING_BIAS)))
		return 0;
	folio_put(folio);
	return -EBUSY;
}

/* ---- walks ---- */

/**
 * struct folio_vma_walk - the entries of one VMA that map a folio, batch by batch
 *
 *	struct folio_vma_walk w = folio_vma_walk(folio, vma, flags);
 *
 *	while (folio_vma_walk_next(&w)) {
 *		w.sr, w.pos (entry, ptl held), w.addr, w.nr entries
 *		... stop early: folio_vma_walk_done(&w) ...
 *	}
 *
 * A batch is a run of entries of one table, one VMA and one folio that map consecutive pages: present, and equal in all
 * bits but accessed, dirty and write; or of swap form of one type. Or it is one entry above the last level. Between
 * batches the ptl may have been dropped. Entries that the caller has cleared are not met again.
 */
struct folio_vma_walk {
	/* in */
	struct folio *folio;
	struct vm_area_struct *vma;
	u32 flags; /* FVW_... */
	/* out */
	struct pt_pos pos; /* of the first entry of the batch; its ptl is held; pt NULL: none was */
	unsigned long addr;	  /* of the first entry */
	unsigned int nr;	  /* entries; 1 above the last level */
	struct folio_subrange sr; /* what they map */
	/* the walk's own */
	unsigned long place; /* of the folio, as it was at the start */
	unsigned long base;  /* + the number of an address: the place of what would map it there */
	unsigned long next, end; /* addresses still to be looked at */
	bool locked;
};

#define FVW_SYNC \
	1u /* take locks even where entries look empty, so that counts are settled on return */
#define FVW_MIGRATION 2u /* look for migration entries of the folio, not for present ones */
#define FVW_SINGLE    4u /* batches of one */

/* Where the walk goes: @nr places from @place on, which are pages @index and on of what the VMA's anon_vma is for. */
static inline void folio_vma_walk_aim(struct folio_vma_walk *w, unsigned long place,
				      unsigned long index, unsigned long nr)
{
	unsigned long pgoff = w->vma->vm_pgoff, start = w->vma->vm_start;
	unsigned long first = max(index, pgoff), last = min(index + nr, pgoff + vma_pages(w->vma));

	w->place = place;
	w->base = place - index + pgoff - (start >> PAGE_SHIFT);
	w->next = start + ((first - pgoff) << PAGE_SHIFT);
	w->end = first < last ? start + ((last - pgoff) << PAGE_SHIFT) : w->next;
}

/* A walk for them. */
static inline struct folio_vma_walk folio_vma_walk_places(struct vm_area_struct *vma, u32 flags,
							  unsigned long place, unsigned long index,
							  unsigned long nr)
{
	struct folio_vma_walk w;

	/* what a walk gives out is not cleared before: a walk is made for each folio that goes */
	w.pos.pt = NULL;
	w.folio = NULL;
	w.vma = vma;
	w.flags = flags;
	w.locked = false;
	folio_vma_walk_aim(&w, place, index, nr);
	return w;
}

/* For a folio, as it is now. */
static inline struct folio_vma_walk folio_vma_walk(struct folio *folio, struct vm_area_struct *vma,
						   u32 flags)
{
	struct folio_vma_walk w = folio_vma_walk_places(
		vma, flags, folio_place(folio), READ_ONCE(folio->index), folio_nr_pages(folio));

	w.folio = folio;
	return w;
}

/*
 * The walk goes on with another folio, whether it had come to the end of the one before or not. What is still locked stays locked if
 * it is the table in which that one has its entries, too.
 */
static inline void folio_vma_walk_on(struct folio_vma_walk *w, struct folio *folio)
{
	const unsigned long addr = w->addr, table = level_size(PGTABLE_LEVEL_PMD);

	w->folio = folio;
	folio_vma_walk_aim(w, folio_place(folio), READ_ONCE(folio->index), folio_nr_pages(folio));
	if (!w->locked)
		return;
	if (w->pos.level == PGTABLE_LEVEL_PTE &&
	    ALIGN_DOWN(addr, table) == ALIGN_DOWN(w->next, table)) {
		w->pos.ptep += (long)(w->next - addr) >> PAGE_SHIFT;
		w->addr = w->next;
		w->nr = 0;
	} else {
		pte_unlock(&w->pos);
		w->locked = false;
	}
}

/*
 * Present entries, and those of a device that has a page for itself, unless FVW_MIGRATION. Spins for the ptls.
 *
 * Context: the anon_vma's lock, or mmap_lock; no ptl but the walk's. Return: false: no more, nothing is held.
 */
bool folio_vma_walk_next(struct folio_vma_walk *w);
/* Gives up the ptl for a while, so that the caller may sleep: the next batch is that of w->addr again, if it is still there. */
void folio_vma_walk_again(struct folio_vma_walk *w);

/* What an entry of a page that a device has for itself for a while becomes again. Context: the ptl; mirrors have been told. */
pte_t device_exclusive_pte(const struct vm_area_struct *vma, pte_t e);
/* Ends a walk before its end. */
static inline void folio_vma_walk_done(struct folio_vma_walk *w)
{
	if (w->locked)
		pte_unlock(&w->pos);
	w->locked = false;
	w->next = w->end;
}

/**
 * struct rmap_walk_control - what to do for each VMA that may map a folio
 * @rmap_one: false ends the walk
 * @done: asked after each; true ends it. NULL: never
 * @arg: the caller's
 * @anon_lock: NULL, or how to get the anon_vma locked (a try-lock for who may not wait)
 */
struct rmap_walk_control {
	bool (*rmap_one)(struct folio *folio, struct vm_area_struct *vma, unsigned long addr,
			 void *arg);
	bool (*done)(struct folio *folio, void *arg);
	void *arg;
	struct anon_vma *(*anon_lock)(const struct folio *folio);
};

/* Context: folio locked or otherwise stable; sleeps. Folios of files: with file mappings. */
void rmap_walk(struct folio *folio, struct rmap_walk_control *rwc);

/* Address of page @idx of the folio in @vma; -EFAULT if the VMA does not reach there. */
unsigned long folio_address_in_vma(const struct folio *folio, unsigned long idx,
				   const struct vm_area_struct *vma);

/* Sleep until a migration entry that was there is gone. Context: @pos has its ptl held, which is given up; no
 * other lock but mmap_lock. */
void migration_entry_wait(struct pt_pos *pos);
/* What to wait for, in place of waiting: the folio whose lock is given back when the entry is gone, with a reference; NULL: it is
 * frozen just now, look again. Context: @pos has its ptl held, which is given up. */
struct folio *migration_entry_get(struct pt_pos *pos);

/* Entries that map the folio, by a walk: what mapcount must be. Slow; for tests and validation. */
unsigned long folio_count_mappings(struct folio *folio);
/* Was it used, by any CPU or mirror, since the last time? Clears. Return: entries that were. */
unsigned int folio_referenced(struct folio *folio);

/* Trees against chains of all VMAs of an address space, quiet. */
bool anon_vma_validate(struct mm_struct *mm);

#endif /* OCTAVO_RMAP_H */
