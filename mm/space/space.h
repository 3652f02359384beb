/* SPDX-License-Identifier: MIT */
/*
 * space.h - what the files of this directory tell each other.
 *
 *	mm.c       address spaces: made, ended, listed; the caches
 *	vma.c      areas: tree, split, merge, copies
 *	vma_lock.h the protocol by which faults read areas without a lock
 *	mmap.c mremap.c mprotect.c madvise.c mlock.c mincore.c brk: the memory calls, on areas
 *	fault.c populate.c   missing and protected pages
 *	span.h span.c   the tables of a range, one after the other, locked
 *	zap.c fork.c protect.c move.c   page tables of a range: emptied, copied, restricted, moved
 *	advise.c   the same for madvise, mincore and mlock
 *	fault_swap.c swap_ahead.c swapoff.c     memory in slots of swap devices: fault.h
 *	gup.c uaccess.c insert.c        pages by address, for and from the embedder
 */
#ifndef MM_SPACE_SPACE_H
#define MM_SPACE_SPACE_H

#include <octavo/mm.h>
#include <octavo/mmu_notifier.h>
#include <octavo/pgtable.h>
#include <octavo/rmap.h>
#include <octavo/state.h>
#include <octavo/tlb.h>

/*
 * What a folio's pages are counted as while they are mapped. Plain pages and what special entries map are in no
 * counter.
 */
static inline enum mm_counter mm_counter(const struct folio *folio)
{
	if (folio_test_anon(folio))
		return MM_ANONPAGES;
	return folio_test_flag(folio, PG_swapbacked) ? MM_SHMEMPAGES : MM_FILEPAGES;
}

/* ---- mm.c: memory for an address space, which is charged to its group ---- */

/* folio_alloc() of an anonymous one. */
static inline struct folio *mm_folio_alloc(struct mm_struct *mm, gfp_t gfp, unsigned int order)
{
	if (likely(!READ_ONCE(mm->memcg)))
		return folio_alloc(gfp, order, FOLIO_ANON);
	/* who is in a group has it from reclaim, which is there until shutdown */
	return octavo_state.upcalls.reclaim->folio_alloc(mm, gfp, order);
}

/* The same for a set, 0: for none. */
static inline struct folio *set_folio_alloc(u32 set, gfp_t gfp, unsigned int order)
{
	if (likely(!set))
		return folio_alloc(gfp, order, FOLIO_ANON);
	return octavo_state.upcalls.reclaim->folio_alloc_set(set, gfp, order);
}

/* folio_alloc_bulk(). */
unsigned long mm_folio_alloc_bulk(struct mm_struct *mm, gfp_t gfp, unsigned long n,
				  struct folio **folios);

/* ---- span.c ---- */

/**
 * split_leaves_at() - no leaf reaches over either end of a range
 *
 * No area's end may be inside a leaf, so who splits areas calls this first; so does who empties or restricts part of
 * an area, because the walks of this directory split a leaf at need, but can fail for want of memory, where they can
 * fail at all, with a part done. With mmap_lock held for writing it marks the area, and then it stays so; else a
 * fault may map a leaf over an end again, as if it had come after whatever the caller does.
 *
 * Context: mmap_lock held at all; sleeps. Return: 0, -ENOMEM.
 */
int split_leaves_at(struct vm_area_struct *vma, unsigned long start, unsigned long end);

/* ---- zap.c ---- */

struct zap_details {
	bool even_cows;	   /* private copies of files too (all, for now) */
	bool keep_markers; /* guard and poison markers stay: MADV_DONTNEED, MADV_FREE */
};

/**
 * unmap_page_range() - entries of a range go, what they map is gathered
 * @details: NULL: everything goes, markers too
 *
 * Context: mmap_lock held at all; the notifier range is the caller's. Drops and takes ptls; flushes when
 * the gather is full. No leaf may reach over an end of the range: split_leaves_at() (fatal if it does and there is no
 * memory to split it).
 */
void unmap_page_range(struct mmu_gather *tlb, struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, const struct zap_details *details);

/* ---- fork.c ---- */

/**
 * copy_page_range() - a child's entries
 * @dst: the child's area, anon_vma_fork() done; nothing mapped, nobody else knows it
 * @src: the parent's, marked; its mm's write_protect_seq odd when it is a private area
 * @protected: set to true if an entry of the parent was write-protected, left alone if none was
 *
 * With *@protected the caller flushes the parent's TLB, one flush for all areas (to TASK_SIZE, level 0), before it gives up
 * the parent's mmap_lock or lets anybody use the child: until then a CPU may still write to what both share. That
 * goes for failure too. Notifies of private areas itself.
 *
 * Context: both mmap_locks for writing; sleeps. Return: 0; -ENOMEM: what was copied stays, the caller takes the
 * child down.
 */
int copy_page_range(struct vm_area_struct *dst, struct vm_area_struct *src, bool *protected);
/* Does the child need entries, or will faults make them? */
bool vma_needs_copy(const struct vm_area_struct *dst, const struct vm_area_struct *src);

/* ---- protect.c ---- */

/**
 * change_protection() - entries of a range get the area's new protection
 *
 * vma->vm_page_prot is what they get; never writable here but where no fault would copy (exclusive and dirty, or not
 * private). Split leaves where only a part is meant.
 *
 * Context: mmap_lock for writing, area marked; the notifier range is the caller's. Return: entries changed, or
 * -ENOMEM with a part done.
 */
long change_protection(struct mmu_gather *tlb, struct vm_area_struct *vma, unsigned long start,
		       unsigned long end);

/* ---- move.c ---- */

/**
 * move_page_tables() - entries of a range become another area's, in the same address space
 *
 * Whole tables where both sides are aligned alike. Flushes the old range, and notifies of it. Nothing may be mapped in
 * the new one. Moving back what was moved needs no memory.
 *
 * Context: mmap_lock for writing, both areas marked; neither anon_vma locked: it is locked here; sleeps.
 * Return: bytes moved; less than @len: no memory for tables, the rest is where it was.
 */
unsigned long move_page_tables(struct vm_area_struct *old, unsigned long old_addr,
			       struct vm_area_struct *new, unsigned long new_addr,
			       unsigned long len);

/* ---- walkers for madvise.c and mincore.c: zap.c's neighbours in advise.c ---- */

/* MADV_FREE: clean and lazily freed. Context: mmap_lock for reading. */
int madvise_free_range(struct vm_area_struct *vma, unsigned long start, unsigned long end);
/* MADV_COLD: not young any more. */
int madvise_cold_range(struct vm_area_struct *vma, unsigned long start, unsigned long end);
/* MADV_GUARD_INSTALL and _REMOVE. Return: 0, -ENOMEM, -EAGAIN too often disturbed. */
int guard_install_range(struct vm_area_struct *vma, unsigned long start, unsigned long end);
int guard_remove_range(struct vm_area_struct *vma, unsigned long start, unsigned long end);
/* A byte a page, bit 0: it is there. */
void mincore_range(struct vm_area_struct *vma, unsigned long start, unsigned long end,
		   unsigned char *vec);
/* PG_mlocked on what is mapped, or off. */
void mlock_range(struct vm_area_struct *vma, unsigned long start, unsigned long end, bool lock);

/* ---- vma.c ---- */

struct vm_area_struct *vm_area_alloc(struct mm_struct *mm);
/* Back to its type-stable cache, after its file and policy are put. */
void vm_area_free(struct vm_area_struct *vma);
/* A new area like @vma with no chain and no place in a tree; file reference taken. NULL: no memory. */
struct vm_area_struct *vm_area_dup(struct vm_area_struct *vma, struct mm_struct *mm);
/* vm_page_prot for the flags: not writable where pages are copied on write. */
void vma_set_page_prot(struct vm_area_struct *vma);
/* Grow a VM_GROWSDOWN area down to @addr. Takes mmap_lock for writing itself. 0 or -errno. */
int expand_stack(struct mm_struct *mm, unsigned long addr);

/* ---- mm.c ---- */

/* For fork: an mm with @old's limits and settings, mmap_lock held for writing. */
struct mm_struct *mm_init_copy(struct mm_struct *old);
/* Promise pages; -ENOMEM. */
int vm_enough_memory(struct mm_struct *mm, long pages);
void vm_acct_memory(long pages);
static inline void vm_unacct_memory(long pages)
{
	vm_acct_memory(-pages);
}

static inline bool is_zero_pfn(unsigned long pfn)
{
	return pfn == READ_ONCE(octavo_state.space.zero_pfn);
}

/* Is the zero page mapped? Of an entry of any kind. */
static inline bool pte_is_zero_page(pte_t e)
{
	return pte_present(e) && pte_special(e) && is_zero_pfn(pte_pfn(e));
}

#endif /* MM_SPACE_SPACE_H */
