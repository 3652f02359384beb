/* SPDX-License-Identifier: MIT */
/*
 * tlb.h - flushing translations, and freeing what was mapped only after it.
 */
#ifndef OCTAVO_TLB_H
#define OCTAVO_TLB_H

#include <octavo/mm_types.h>

/**
 * flush_tlb_range() - no CPU uses an old translation of the range
 * @mm: address space; NULL: the kernel's, on all CPUs
 * @start: page aligned
 * @end: page aligned
 * @level: the lowest level at which entries were changed: the stride
 *
 * Complete when it returns, accesses under way included. A full barrier.
 *
 * Context: may hold ptls and other spinlocks; not in an interrupt.
 */
void flush_tlb_range(struct mm_struct *mm, unsigned long start, unsigned long end,
		     unsigned int level);

/**
 * flush_tlb_tables() - the same after tables were unlinked that stay or go elsewhere
 *
 * What CPUs remember of entries that led to tables goes too. A gather does this for tables that it was given.
 */
void flush_tlb_tables(struct mm_struct *mm, unsigned long start, unsigned long end);

/**
 * mm_activate() - a CPU begins to use an address space
 * @mm: the caller has a reference (mmgrab or mmget)
 * @cpu: whose translations
 *
 * Before its first translation is made. Context: pinned to @cpu.
 */
void mm_activate(struct mm_struct *mm, unsigned int cpu);
/* The CPU has no translation of @mm any more and makes none. Context: pinned to @cpu. */
void mm_deactivate(struct mm_struct *mm, unsigned int cpu);

#define TLB_GATHER_STACK 16u /* runs that need no memory */

/* A run of pages of one folio, or of one plain page; or a table: what a translation kept alive. */
struct tlb_run {
	void *obj; /* folio, page or ptdesc; enum in the low bits */
	unsigned long nr;
};

struct tlb_batch {
	struct tlb_batch *next;
	unsigned long max;
	struct tlb_run run[]; /* the first is none: what is next has one before it */
};

/**
 * struct mmu_gather - entries cleared and not yet flushed, with what they mapped
 *
 * On the caller's stack, one at a time for a range:
 *
 *	tlb_gather_mmu(&tlb, mm);
 *	... clear entries; tlb_note_range(); tlb_remove_folio(); tlb_remove_table() ...
 *	tlb_finish_mmu(&tlb);
 *
 * References that were given to it are dropped after the flush and never before. Needs memory to batch
 * much, none to work. Fields are mm/table/tlb.c's.
 */
struct mmu_gather {
	struct mm_struct *mm;
	unsigned long start, end; /* to be flushed; start ~0: nothing */
	u32 levels;		  /* a bit for each level at which entries were cleared */
	bool fullmm;		  /* the whole address space goes, no CPU is in it */
	bool freed_tables;
	struct ptdesc *tables; /* a list by ptdesc.next */
	/* where the next run goes, and where there is no more room: tlb_flush_mmu() before more is removed */
	struct tlb_run *next, *limit;
	struct tlb_batch *active, *first;
	u32 nr_batches;
	struct tlb_run stack[1 + TLB_GATHER_STACK];
};

/* @tlb->next has come to the limit. Return: true: and there is no more room. */
bool __tlb_make_room(struct mmu_gather *tlb);
/* It was there already. */
__noreturn __cold void __tlb_overflow(struct mmu_gather *tlb);

/* Of an address space in use. */
void tlb_gather_mmu(struct mmu_gather *tlb, struct mm_struct *mm);
/* The last user is gone: no translation is left anywhere, and nothing needs a flush. */
void tlb_gather_mmu_fullmm(struct mmu_gather *tlb, struct mm_struct *mm);

/* Entries of @level were cleared or restricted there. Under the ptl or later. */
void tlb_note_range(struct mmu_gather *tlb, unsigned long start, unsigned long end,
		    unsigned int level);

/**
 * tlb_remove_folio() - drop @nr references of a folio after the flush
 *
 * Context: any; never sleeps. Return: true: there is no more room, call tlb_flush_mmu() (without the
 * ptl) before the next one. This one was taken.
 */
static inline bool __must_check tlb_remove_folio(struct mmu_gather *tlb, struct folio *folio,
						 unsigned long nr)
{
	struct tlb_run *next = tlb->next;

	VM_BUG_ON(!nr);
	if (next[-1].obj == folio) {
		next[-1].nr += nr;
		return next == tlb->limit;
	}
	if (unlikely(next == tlb->limit))
		__tlb_overflow(tlb);
	next->obj = folio;
	next->nr = nr;
	tlb->next = ++next;
	return unlikely(next == tlb->limit) && __tlb_make_room(tlb);
}

/* put_page() of a plain page after the flush. */
bool tlb_remove_page(struct mmu_gather *tlb, struct page *page) __must_check;
/* pagetable_free_rcu() after the flush. Always has room. */
void tlb_remove_table(struct mmu_gather *tlb, struct ptdesc *pt);

/* Flush, then drop what was gathered. Context: may spin; no ptl held. */
void tlb_flush_mmu(struct mmu_gather *tlb);
/* The flush alone: before a ptl is given up whose entries others will rely on. Context: ptl may be held. */
void tlb_flush_mmu_tlbonly(struct mmu_gather *tlb);
void tlb_finish_mmu(struct mmu_gather *tlb);

#endif /* OCTAVO_TLB_H */
