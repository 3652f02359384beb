// SPDX-License-Identifier: MIT
/*
 * rmap.c - how many page-table entries map a folio, and which of its pages are one address space's alone.
 *
 * 1. One count for the folio (entries of all levels), one for those above the last level. A batch of
 *    entries is one atomic addition, and nothing is done for each page. Which pages the entries map is
 *    known to the page tables, and found by walking them.
 *
 * 2. mapcount grows before entire_mapcount and shrinks after it, so entire <= mapcount at any time.
 *
 * 3. Exclusivity decides who may write without a copy, and is taken away in two ways. Fork shares pages whose
 *    entries stay there: a look-up is stopped by the fork counter. Unmapping shares pages whose
 *    entries are gone already: a look-up is stopped by reading the entry again. Either way the pins are looked at
 *    after that, once for the batch, and before the bits are cleared (docs/memdesc.md "Look-ups").
 *
 * 4. Every function checks what it is given, in every build: that it is a folio of the right kind, that the
 *    pages are its own, and that the level fits them. What cannot be told from the arguments (which lock is
 *    held, that the entries are cleared) is not claimed to be checked. S2.5.
 *
 * What this file does not do: references. Each entry has one, and the caller moves it.
 */
#include "rmap_internal.h"

/* ---- what every function asks ---- */

void __rmap_bad(const struct folio *folio, const char *what)
{
	folio_dump(folio, what);
	octavo_panic("folio %p, pfn 0x%lx: %s", (const void *)folio, folio_place(folio), what);
}

/*
 * Where the word of its first page is. The hot functions exist twice: for folios whose word is in the memory map, and out of
 * line for the others, so that the first ones call nothing that returns.
 */
enum where { IN_MEMORY_MAP, ANYWHERE };

static __always_inline bool in_memory_map(const struct folio *folio)
{
	return likely(!(folio_place(folio) & FOLIO_DEVICE_PRIVATE));
}

/*
 * That it is a live folio and has the pages. What is no folio is told by the word of what would be its
 * first page, which the caller has come by and is in the cache. Return: that word.
 */
static __always_inline memdesc_t rmap_check_live(struct folio_subrange sr, enum where where)
{
	const struct folio *folio = sr.folio;

	if (unlikely(folio_ref_count(folio) == 0))
		__rmap_bad(folio, "mapped, but is free");
	if (unlikely(sr.nr == 0 || (u64)sr.first + sr.nr > folio_nr_pages(folio)))
		__rmap_bad(folio, "mapped pages are not the folio's");
	return page_memdesc(where == IN_MEMORY_MAP ? pfn_to_page(folio_place(folio))
						   : folio_page(folio, 0));
}

BUILD_BUG_ON((FOLIO_FILE | 1) != FOLIO_ANON);

/* Of either kind. */
static __always_inline void rmap_check_any(struct folio_subrange sr, enum where where)
{
	memdesc_t md = rmap_check_live(sr, where);

	if (unlikely((md.v | 1) != memdesc_pointer(MEMDESC_ANON, sr.folio).v))
		__rmap_bad(sr.folio, "mapped, but is no folio");
}

static __noreturn __cold void rmap_bad_kind(const struct folio *folio, memdesc_t md)
{
	__rmap_bad(folio, memdesc_is_folio(md) && memdesc_ptr(md) == folio
				  ? "mapped, but is a folio of the other kind"
				  : "mapped, but is no folio");
}

static __always_inline void rmap_check(struct folio_subrange sr, enum folio_kind kind,
				       enum where where)
{
	memdesc_t md = rmap_check_live(sr, where);

	if (unlikely(md.v != memdesc_pointer((enum memdesc_type)kind, sr.folio).v))
		rmap_bad_kind(sr.folio, md);
}

/* How many entries: that the pages are what one entry of @level maps. */
static __always_inline u32 rmap_entries(struct folio_subrange sr, unsigned int level)
{
	if (likely(level == PGTABLE_LEVEL_PTE))
		return sr.nr;
	if (unlikely(level > MAX_LEAF_LEVEL || sr.nr != 1u << level_order(level) ||
		     !IS_ALIGNED(sr.first, sr.nr)))
		__rmap_bad(sr.folio, "mapped by an entry of another size");
	return 1;
}

/* ---- counts ---- */

static __always_inline void mapcount_add(struct folio *folio, u32 nr, unsigned int level)
{
	__mapcount_add(folio, nr);
	if (level != PGTABLE_LEVEL_PTE)
		/* relaxed: a count; what it counts is guarded by page-table locks */
		fetch_add_relaxed(&folio_large(folio)->entire_mapcount, 1);
}

static __always_inline void mapcount_sub(struct folio *folio, u32 nr, unsigned int level)
{
	/* relaxed: as above */
	if (level != PGTABLE_LEVEL_PTE &&
	    unlikely(fetch_sub_relaxed(&folio_large(folio)->entire_mapcount, 1) <= 0))
		__rmap_bad(folio, "unmapped as a whole more often than mapped");
	__mapcount_sub(folio, nr);
}

/* The pages whose bits stand for the entries: above the last level the first one's. */
static __always_inline struct folio_subrange rmap_excl_pages(struct folio_subrange sr,
							     unsigned int level)
{
	if (level != PGTABLE_LEVEL_PTE)
		sr.nr = 1;
	return sr;
}

/* ---- anonymous folios ---- */

static void rmap_set_anon(struct folio_subrange sr, const struct vm_area_struct *vma,
			  unsigned long addr, struct anon_vma *anon_vma)
{
	VM_BUG_ON(!anon_vma || addr < vma->vm_start || addr >= vma->vm_end);
	WRITE_ONCE(sr.folio->mapping, (void *)anon_vma);
	WRITE_ONCE(sr.folio->index, linear_page_index(vma, addr) - sr.first);
}

static __always_inline void add_new(struct folio_subrange sr, struct vm_area_struct *vma,
				    unsigned long addr, unsigned int level, enum where where)
{
	struct folio *folio = sr.folio;
	u32 nr, set = 1u << PG_uptodate;

	if (likely(!(READ_ONCE(vma->vm_flags) & VM_DROPPABLE)))
		set |= 1u << PG_swapbacked;

	rmap_check(sr, FOLIO_ANON, where);
	nr = rmap_entries(sr, level);
	if (unlikely(READ_ONCE(folio->mapcount) != 0))
		__rmap_bad(folio, "mapped as new, but is mapped");
	rmap_set_anon(sr, vma, addr, READ_ONCE(vma->anon_vma));
	WRITE_ONCE(folio->mapcount, (s32)nr);
	if (level != PGTABLE_LEVEL_PTE)
		WRITE_ONCE(folio_large(folio)->entire_mapcount, 1);
	if (folio_large(folio))
		folio_set_anon_exclusive(rmap_excl_pages(sr, level));
	else
		set |= 1u << PG_anon_exclusive;
	/*
	 * The one thing here that others may be changing: a PFN walker can have a reference of a folio that nobody
	 * has mapped yet, and lock it. Not stored for that, but once for all flags, and not if
	 * they are there.
	 */
	if (set & ~READ_ONCE(folio->flags))
		fetch_or_relaxed(&folio->flags, set);
}

static __noinline void add_new_anywhere(struct folio_subrange sr, struct vm_area_struct *vma,
					unsigned long addr, unsigned int level)
{
	add_new(sr, vma, addr, level, ANYWHERE);
}

void folio_add_new_anon_rmap(struct folio_subrange sr, struct vm_area_struct *vma,
			     unsigned long addr, unsigned int level)
{
	if (in_memory_map(sr.folio))
		add_new(sr, vma, addr, level, IN_MEMORY_MAP);
	else
		add_new_anywhere(sr, vma, addr, level);
}

void folio_add_anon_rmap(struct folio_subrange sr, struct vm_area_struct *vma, unsigned long addr,
			 unsigned int level, u32 flags)
{
	struct folio *folio = sr.folio;
	u32 nr;

	rmap_check(sr, FOLIO_ANON, ANYWHERE);
	nr = rmap_entries(sr, level);
	if (!folio_mapped(folio)) {
		struct anon_vma *anon_vma = READ_ONCE(vma->anon_vma);

		if (unlikely(!folio_test_locked(folio)))
			__rmap_bad(folio, "mapped for the first time without its lock");
		/* Pages that others have too may be mapped by anyone of the family. */
		rmap_set_anon(sr, vma, addr,
			      flags & RMAP_EXCLUSIVE ? anon_vma : READ_ONCE(anon_vma->root));
	}
	mapcount_add(folio, nr, level);
	if (flags & RMAP_EXCLUSIVE)
		folio_set_anon_exclusive(rmap_excl_pages(sr, level));
}

void folio_restore_anon_rmap(struct folio_subrange sr, unsigned int level, u32 flags)
{
	rmap_check(sr, FOLIO_ANON, ANYWHERE);
	VM_BUG_ON(!folio_test_locked(sr.folio) || !sr.folio->mapping);
	/* Before the entry is stored, with release: a pin through it finds the bit. */
	if (flags & RMAP_EXCLUSIVE)
		folio_set_anon_exclusive(rmap_excl_pages(sr, level));
	mapcount_add(sr.folio, rmap_entries(sr, level), level);
}

static __noinline void remove_anywhere(struct folio_subrange sr, unsigned int level)
{
	rmap_check_any(sr, ANYWHERE);
	mapcount_sub(sr.folio, rmap_entries(sr, level), level);
}

void folio_remove_rmap(struct folio_subrange sr, struct vm_area_struct *vma, unsigned int level)
{
	if (!in_memory_map(sr.folio)) {
		remove_anywhere(sr, level);
		return;
	}
	rmap_check_any(sr, IN_MEMORY_MAP);
	mapcount_sub(sr.folio, rmap_entries(sr, level), level);
}

/* ---- exclusive pages become shared ---- */

static inline bool any_exclusive(struct folio_subrange sr)
{
	bool exclusive;

	/* one answer for all of them, and it is no */
	return folio_anon_exclusive_run(sr, &exclusive) != sr.nr || exclusive;
}

/* Of more than one page, or in a descriptor made for more. Return: 0, -EBUSY. */
static int dup_large(struct folio_subrange sr, unsigned int level)
{
	struct folio_subrange pages = rmap_excl_pages(sr, level);
	u32 nr = rmap_entries(sr, level);

	if (any_exclusive(pages)) {
		/* seq_cst, inside: as below */
		if (folio_maybe_dma_pinned(sr.folio))
			return -EBUSY;
		folio_clear_anon_exclusive(pages);
	}
	mapcount_add(sr.folio, nr, level);
	return 0;
}

/* What only a device can access nobody pins: a count is references, however many (S1.39). */
static __noinline int dup_private(struct folio_subrange sr, unsigned int level)
{
	u32 nr;

	rmap_check(sr, FOLIO_ANON, ANYWHERE);
	nr = rmap_entries(sr, level);
	folio_clear_anon_exclusive(rmap_excl_pages(sr, level));
	mapcount_add(sr.folio, nr, level);
	return 0;
}

int folio_try_dup_anon_rmap(struct folio_subrange sr, struct vm_area_struct *dst_vma,
			    struct vm_area_struct *src_vma, unsigned int level)
{
	if (!in_memory_map(sr.folio))
		return dup_private(sr, level);
	rmap_check(sr, FOLIO_ANON, IN_MEMORY_MAP);
	VM_BUG_ON(!(READ_ONCE(src_vma->vm_mm->write_protect_seq) & 1));
	if (unlikely(folio_class(sr.folio) != FOLIO_CLASS_SMALL || level))
		return dup_large(sr, level);
	/*
	 * seq_cst, inside: pairs with the pins of folio_try_pin(). Our store of an odd write_protect_seq came before
	 * it, theirs before their second look at that: one of us sees the other.
	 */
	return __folio_share_small(sr.folio, READ_ONCE(sr.folio->flags),
				   folio_maybe_dma_pinned(sr.folio));
}

static __always_inline int try_share(struct folio_subrange sr, unsigned int level, enum where where)
{
	rmap_check(sr, FOLIO_ANON, where);
	if (unlikely(level != PGTABLE_LEVEL_PTE && (level > MAX_LEAF_LEVEL || sr.nr != 1)))
		__rmap_bad(sr.folio, "one page stands for the entry that is shared");
	VM_BUG_ON(folio_anon_exclusive_count(sr) != sr.nr);
	/*
	 * seq_cst, inside: pairs with the pins of folio_try_pin(). The entries were cleared seq_cst
	 * before it, and who pins reads them again after it: one of us sees the other.
	 */
	if (folio_maybe_dma_pinned(sr.folio))
		return -EBUSY;
	__folio_clear_anon_exclusive_of(sr);
	return 0;
}

static __noinline int try_share_anywhere(struct folio_subrange sr, unsigned int level)
{
	return try_share(sr, level, ANYWHERE);
}

int folio_try_share_anon_rmap(struct folio_subrange sr, unsigned int level)
{
	return in_memory_map(sr.folio) ? try_share(sr, level, IN_MEMORY_MAP)
				       : try_share_anywhere(sr, level);
}

/* ---- folios of files ---- */

void folio_add_file_rmap(struct folio_subrange sr, struct vm_area_struct *vma, unsigned int level)
{
	rmap_check(sr, FOLIO_FILE, ANYWHERE);
	mapcount_add(sr.folio, rmap_entries(sr, level), level);
}

void folio_dup_file_rmap(struct folio_subrange sr, unsigned int level)
{
	rmap_check(sr, FOLIO_FILE, ANYWHERE);
	mapcount_add(sr.folio, rmap_entries(sr, level), level);
}
