/* SPDX-License-Identifier: MIT */
/*
 * pgtable.h - page tables: entries as memory, tables, and walks through them.
 *
 * One set of functions for all levels: a level is an argument (enum pgtable_level). A table is a frame
 * with a ptdesc, whose lock (ptl) guards its entries: who changes an entry holds it. Hardware reads
 * entries at any time and sets accessed and dirty bits in present ones, so what changes a present entry is an
 * atomic read-modify-write.
 *
 * Who may walk:
 *   - with mmap_lock held, or between a successful and a failed vma check under the page-table lock: tables stay;
 *     pte_offset_lock().
 *   - under rcu_read_lock() only (reverse maps, get_user_pages_fast()): a table may be unlinked at any
 *     moment but is not freed; what it says is checked again: pte_offset_trylock(), or the re-reads of
 *     docs/memdesc.md "Look-ups".
 * Tables are unlinked with their own lock and their parent's held, empty, and freed after a grace period.
 * Lock order: a parent's ptl before its child's; of two at one level, the lower address first.
 */
#ifndef OCTAVO_PGTABLE_H
#define OCTAVO_PGTABLE_H

#include <octavo/desc.h>
#include <octavo/folio.h>
#include <octavo/mm_types.h>
#include <octavo/swapops.h>

#define PTRS_PER_TABLE (1ul << OCTAVO_TABLE_BITS)

static inline unsigned int level_shift(unsigned int level)
{
	return PAGE_SHIFT + level * OCTAVO_TABLE_BITS;
}

/* Bytes that an entry of @level covers. */
static inline unsigned long level_size(unsigned int level)
{
	return 1ul << level_shift(level);
}

/* The order of a folio that one entry of @level maps. */
static inline unsigned int level_order(unsigned int level)
{
	return level * OCTAVO_TABLE_BITS;
}

static inline unsigned long level_index(unsigned long addr, unsigned int level)
{
	return (addr >> level_shift(level)) & (PTRS_PER_TABLE - 1);
}

/* Where the entry of @level that covers @addr ends, but not beyond @end. */
static inline unsigned long level_addr_end(unsigned long addr, unsigned long end,
					   unsigned int level)
{
	unsigned long next = (addr + level_size(level)) & ~(level_size(level) - 1);

	return next - 1 < end - 1 ? next : end;
}

/* ---- one entry ---- */

/* relaxed: under its ptl */
static inline pte_t ptep_get(const pte_t *ptep)
{
	return __pte(READ_ONCE(ptep->v));
}

/* acquire: pairs with the release of set_pte(): what the entry leads to is initialised */
static inline pte_t ptep_get_acquire(const pte_t *ptep)
{
	return __pte(smp_load_acquire(&ptep->v));
}

/* seq_cst: the lockless re-read; pairs with ptep_get_and_clear() and pgtable_link() */
static inline pte_t ptep_get_seq_cst(const pte_t *ptep)
{
	return __pte(smp_load_seq_cst(&ptep->v));
}

/**
 * set_pte() - store an entry where none is present
 *
 * release: pairs with the acquire of lockless readers. The one that was there was none or of swap
 * form, so that no hardware writes to it. Context: its ptl.
 */
static inline void set_pte(pte_t *ptep, pte_t e)
{
	smp_store_release(&ptep->v, e.v);
}

/* The same for @nr entries that map consecutive frames. Last level only. */
static inline void set_ptes(pte_t *ptep, pte_t e, unsigned long nr)
{
	if (nr == 1)
		set_pte(ptep, e);
	else
		words_ramp_release(&ptep->v, e.v, pte_advance_pfn(__pte(0), 1).v, nr);
}

/* The same for @nr entries of swap form with ascending offsets. */
static inline void set_swap_ptes(pte_t *ptep, pte_t e, unsigned long nr)
{
	if (nr == 1)
		set_pte(ptep, e);
	else
		words_ramp_release(&ptep->v, e.v, pte_swp_advance(__pte(0), 1).v, nr);
}

/* Nothing, where nothing present is: no hardware writes to it. Context: its ptl. */
static inline void pte_clear(pte_t *ptep)
{
	WRITE_ONCE(ptep->v, (u64)0);
}

/* The same for @nr entries. */
static __always_inline void clear_ptes(pte_t *ptep, unsigned long nr)
{
	if (likely(nr == 1))
		pte_clear(ptep);
	else
		words_fill_release(&ptep->v, 0, nr);
}

/* seq_cst: A1 of the exclusivity protocol; pairs with the re-read of get_user_pages_fast(). */
static inline pte_t ptep_get_and_clear(pte_t *ptep)
{
	return __pte(xchg_seq_cst(&ptep->v, (u64)0));
}

/**
 * ptep_invalidate() - present to the core still, to hardware no more
 * @ptep: one that hardware may use: pte_protnone() it is not
 *
 * The first half of taking an entry away that may have to be put back: it says all that it said, and nobody but who holds the
 * ptl changes it any more. To a look-up that reads it again it is another one, and to one that comes now it is protected.
 *
 * seq_cst as ptep_get_and_clear(). Context: its ptl, kept until ptep_revive() or until another entry is stored; a flush.
 */
static inline void ptep_invalidate(pte_t *ptep)
{
	fetch_add_seq_cst(&ptep->v, _PAGE_INVALIDATE);
}

/* The same for @nr entries. */
static inline void ptes_invalidate(pte_t *ptep, unsigned long nr)
{
	const pte_t *eights = ptep + (nr & ~7ul), *end = ptep + nr;

	if (likely(nr == 1)) {
		ptep_invalidate(ptep);
		return;
	}
	for (; ptep != eights; ptep += 8) {
		ptep_invalidate(ptep);
		ptep_invalidate(ptep + 1);
		ptep_invalidate(ptep + 2);
		ptep_invalidate(ptep + 3);
		ptep_invalidate(ptep + 4);
		ptep_invalidate(ptep + 5);
		ptep_invalidate(ptep + 6);
		ptep_invalidate(ptep + 7);
	}
	for (; ptep != end; ptep++)
		ptep_invalidate(ptep);
}

/* As it was before ptep_invalidate(). release: as set_pte(). */
static inline void ptep_revive(pte_t *ptep)
{
	set_pte(ptep, __pte(ptep_get(ptep).v - _PAGE_INVALIDATE));
}

/* No CPU and no look-up can be in these tables any more. */
static inline pte_t ptep_get_and_clear_full(pte_t *ptep)
{
	pte_t e = ptep_get(ptep);

	pte_clear(ptep);
	return e;
}

/* seq_cst as ptep_get_and_clear(). Return: what was there. */
static inline pte_t ptep_set_wrprotect(pte_t *ptep)
{
	return __pte(fetch_and_seq_cst(&ptep->v, ~(u64)_PAGE_RW));
}

static inline bool ptep_test_and_clear_young(pte_t *ptep)
{
	return fetch_and_relaxed(&ptep->v, ~(u64)_PAGE_ACCESSED) & _PAGE_ACCESSED;
}

/**
 * ptep_set_access_flags() - allow more: write, dirty, young, of the same frame
 *
 * No flush follows: a stale translation costs a spurious fault.
 *
 * Context: its ptl. Return: whether anything changed.
 */
static inline bool ptep_set_access_flags(pte_t *ptep, pte_t e)
{
	u64 old = READ_ONCE(ptep->v), new;

	do {
		new = old | (e.v & (_PAGE_RW | _PAGE_DIRTY | _PAGE_ACCESSED | _PAGE_SOFT_DIRTY));
		if (new == old)
			return false;
		/* release: as set_pte() */
	} while (!try_cmpxchg_release(&ptep->v, &old, new));
	return true;
}

/* ---- tables ---- */

static inline struct ptdesc *pte_to_ptdesc(pte_t table)
{
	return page_ptdesc(pfn_to_page(pte_pfn(table)));
}

static inline pte_t *pte_to_table(pte_t table)
{
	return pfn_to_virt(pte_pfn(table));
}

/**
 * struct pt_pos - a place in the page tables of an address space
 * @mm: whose
 * @addr: an address that the entry covers
 * @level: of the entry
 * @ptep: the entry
 * @pt: its table; the lock of it guards the entry
 * @pte: as read by the walk that came here
 */
struct pt_pos {
	struct mm_struct *mm;
	unsigned long addr;
	unsigned int level;
	pte_t *ptep;
	struct ptdesc *pt;
	pte_t pte;
};

/**
 * pgtable_walk() - go down as far as tables lead
 * @mm: address space
 * @addr: below the end of user addresses (for the kernel's tables: any)
 * @level: the lowest level to go to
 * @pos: set
 *
 * Entries that lead to tables are read seq_cst (see mm_types.h). Context: tables stay, or RCU. Takes no lock.
 * Return: true if @pos is at @level; false if an entry above it is none, a leaf or of swap form, and
 * then @pos is there.
 */
bool pgtable_walk(struct mm_struct *mm, unsigned long addr, unsigned int level, struct pt_pos *pos);

/**
 * pgtable_alloc_to() - the same, making the tables that are missing
 * @gfp: for tables
 *
 * Context: as pgtable_walk(), or nothing held at all: then @pos is a hint, and pte_offset_lock_rcu() comes next.
 * Tries ptls of upper levels one at a time; sleeps as @gfp allows, so under RCU only without. A table that two
 * callers make at once is made once.
 * Return: 0 with @pos at @level; -ENOMEM; -EEXIST: a leaf or an entry of swap form is in the way, @pos
 * is there; -EAGAIN, only in the caller's RCU section: as pte_offset_trylock(). Tables made before a failure
 * stay: they are found by free_pgtables().
 */
int pgtable_alloc_to(struct mm_struct *mm, unsigned long addr, unsigned int level, gfp_t gfp,
		     struct pt_pos *pos);

/**
 * pgtable_link() - make a table reachable
 * @pos: an entry that is none, its ptl held
 * @pt: a new table; belongs to the tables from here on
 *
 * seq_cst: pairs with the walk of a writer that has marked VMAs (mm_types.h).
 */
void pgtable_link(const struct pt_pos *pos, struct ptdesc *pt);

/**
 * pgtable_unlink() - make a table unreachable
 * @pos: an entry that leads to a table; its ptl and the table's own are held
 *
 * Nothing but that entry changes. seq_cst as pgtable_link(). A table with tables below it is never unlinked.
 *
 * Return: the table, the caller's: for tlb_remove_table() after a tlb_note_range() of pos->level, or for
 * pgtable_link() elsewhere in the address space (last level only).
 */
struct ptdesc *pgtable_unlink(const struct pt_pos *pos);

/**
 * pte_offset_lock() - walk to an entry of @level and take its ptl
 *
 * Context: tables stay (mmap_lock). Spins. Return: true with pos->pt->ptl held and pos->pte read
 * under it; false as pgtable_walk(), nothing held.
 */
bool pte_offset_lock(struct mm_struct *mm, unsigned long addr, unsigned int level,
		     struct pt_pos *pos);

/**
 * pte_offset_trylock() - the same under RCU alone
 *
 * Never waits for a lock. After it is taken the table is checked to be linked still; holding it, it stays so.
 *
 * Context: RCU read-side section. Return: 1 with the ptl held; 0: no table of @level there; -EAGAIN: the
 * lock is held by somebody or things are changing: leave the section, relax, and start again.
 */
int pte_offset_trylock(struct mm_struct *mm, unsigned long addr, unsigned int level,
		       struct pt_pos *pos);

/**
 * pte_offset_lock_rcu() - pte_offset_trylock() until it says yes or no
 *
 * Context: nothing held that keeps tables; not in an RCU section. Spins. Return: as pte_offset_lock().
 */
bool pte_offset_lock_rcu(struct mm_struct *mm, unsigned long addr, unsigned int level,
			 struct pt_pos *pos);

/* Context: by who holds it. */
static inline void pte_unlock(const struct pt_pos *pos)
{
	spin_unlock(&pos->pt->ptl);
}

/**
 * pgtable_split_begin() - the first half of putting a table in place of a leaf
 * @pos: a leaf above the last level, or a migration entry there; its ptl held
 *
 * Clears it and flushes its range, because hardware may not see two sizes at once. The caller then does
 * reverse map and references, and calls pgtable_split_end(), which fills the new table with the entries of
 * the next lower level (same permissions, age, dirt; swap form: same type, offset advanced) and links it.
 *
 * Context: the ptl is held from before to after. Return: the leaf.
 */
pte_t pgtable_split_begin(struct pt_pos *pos);
/* The second half; @leaf is what the first returned. */
void pgtable_split_end(struct pt_pos *pos, pte_t leaf, struct ptdesc *pt);

struct mmu_gather;

/**
 * free_pgtables() - unlink and free the tables of a range that nothing maps any more
 * @tlb: gathers them; freed after its flush, and a grace period
 * @start: of the range that was unmapped
 * @end: of it
 * @floor: tables may be freed down to here: the end of the VMA before
 * @ceiling: and up to here: the start of the VMA after, 0 for none
 *
 * A table goes if all that it covers lies between @floor and @ceiling. A fault that lost against the caller
 * may leave an empty table behind, where no VMA is; so who ends an address space gives all of it as the range.
 *
 * Context: mmap_lock for writing, all VMAs of the range marked and gone from the tree, entries cleared. Spins.
 */
void free_pgtables(struct mmu_gather *tlb, unsigned long start, unsigned long end,
		   unsigned long floor, unsigned long ceiling);

/* Tables of an address space: the top one. Return: -ENOMEM. */
int pgd_init(struct mm_struct *mm, gfp_t gfp);
/* Everything below is free already; checked. */
void pgd_exit(struct mm_struct *mm);

/* Every table's links, counts and words, quiet machine. */
bool pgtable_validate(struct mm_struct *mm);
/* The upper half of the top table too: of tables that are the core's for the kernel's own addresses. */
bool pgtable_validate_kernel(struct mm_struct *mm);
/* Log the entries of a range. */
void pgtable_dump(struct mm_struct *mm, unsigned long start, unsigned long end);

/* ---- what an entry maps ---- */

/**
 * vm_normal_page() - the page that an entry maps, if anybody may look at its word
 * @vma: NULL: go by the special bit alone
 * @addr: address
 * @e: a present entry of @level
 *
 * NULL for special entries (frozen plain pages, frames without words, the zero page). A counted plain
 * page that was inserted is normal; a folio's page is. Of a leaf above the last level: the first page.
 * An entry of a frame that does not exist, without the special bit, is fatal.
 */
struct page *vm_normal_page(const struct vm_area_struct *vma, unsigned long addr, pte_t e,
			    unsigned int level);
/* The folio; NULL for plain pages too. */
struct folio *vm_normal_folio(const struct vm_area_struct *vma, unsigned long addr, pte_t e,
			      unsigned int level);

/* ---- batches of the last level ---- */

/* Flags of folio_pte_batch_flags(): which bits end a run, and what to fold into *pte_copy. */
#define FPB_RESPECT_DIRTY      1u
#define FPB_RESPECT_SOFT_DIRTY 2u
#define FPB_RESPECT_WRITE      4u
#define FPB_MERGE_WRITE	       8u
#define FPB_MERGE_YOUNG_DIRTY  16u
#define FPB_ALL		       31u

/* By masks: @count bits end a run; @merge bits go into *@pte. */
unsigned int __folio_pte_batch(struct folio *folio, const struct vm_area_struct *vma,
			       const pte_t *ptep, pte_t pte, unsigned int max_nr, u64 count);
unsigned int __folio_pte_batch_merge(struct folio *folio, const struct vm_area_struct *vma,
				     const pte_t *ptep, pte_t *pte, unsigned int max_nr, u64 count,
				     u64 merge);

/**
 * folio_pte_batch_flags() - how many entries map consecutive pages of a folio with equal bits
 * @folio: large, mapped by @pte
 * @vma: for which, or NULL
 * @ptep: the first entry
 * @pte: in: a copy of *@ptep; out: with the merged bits (a pointer into the table is fatal then)
 * @max_nr: at least 1; ends at the end of the VMA and of the table
 * @flags: FPB_...
 *
 * Frame numbers grow by one; all other bits are equal but for accessed, and unless @flags respects them dirty,
 * soft-dirty and write. The run also ends with the folio.
 *
 * Context: the ptl. Return: 1 to @max_nr. S2.11.
 */
static inline unsigned int folio_pte_batch_flags(struct folio *folio,
						 const struct vm_area_struct *vma,
						 const pte_t *ptep, pte_t *pte, unsigned int max_nr,
						 u32 flags)
{
	/* masks of what is cleared in, or stays of, an entry that has all bits: constants where the flags are */
	const pte_t ones = __pte(~(u64)0);
	pte_t count = pte_mkold(ones), merge = ones;

	VM_BUG_ON(flags & ~FPB_ALL);
	if (!(flags & FPB_RESPECT_DIRTY))
		count = pte_mkclean(count);
	if (!(flags & FPB_RESPECT_SOFT_DIRTY))
		count = pte_clear_soft_dirty(count);
	if (!(flags & FPB_RESPECT_WRITE))
		count = pte_wrprotect(count);
	if (flags & FPB_MERGE_WRITE)
		merge = pte_wrprotect(merge);
	if (flags & FPB_MERGE_YOUNG_DIRTY)
		merge = pte_mkold(pte_mkclean(merge));
	if (pte_same(merge, ones))
		return __folio_pte_batch(folio, vma, ptep, *pte, max_nr, count.v);
	return __folio_pte_batch_merge(folio, vma, ptep, pte, max_nr, count.v, ~merge.v);
}

/* Ignoring dirty, soft-dirty and write. */
static inline unsigned int folio_pte_batch(struct folio *folio, const pte_t *ptep, pte_t pte,
					   unsigned int max_nr)
{
	return folio_pte_batch_flags(folio, NULL, ptep, &pte, max_nr, 0);
}

/* Entries from @addr to the end of its last-level table, or of @end, whichever comes first. */
static inline unsigned int pte_batch_limit(unsigned long addr, unsigned long end)
{
	return (unsigned int)((level_addr_end(addr, end, PGTABLE_LEVEL_PMD) - addr) >> PAGE_SHIFT);
}

/*
 * The run of equal swap-form entries with ascending offsets: of a folio or of swap slots, not of markers. Two folios
 * that lie side by side make one run: who means one folio limits @max_nr. Context: the ptl. Return: 1 to @max_nr.
 */
unsigned int swap_pte_batch(const pte_t *ptep, unsigned int max_nr, pte_t e);

#endif /* OCTAVO_PGTABLE_H */
