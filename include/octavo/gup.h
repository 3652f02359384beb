/* SPDX-License-Identifier: MIT */
/*
 * gup.h - get_user_pages: references and pins on what is mapped at user addresses.
 *
 * FOLL_GET (get_user_pages...) takes references: for who looks at the struct page, or copies now.
 * FOLL_PIN (pin_user_pages...) takes pins: for who accesses the memory itself, by DMA or by the direct map. While
 * pinned an anonymous page stays mapped where it was found: fork copies it for the child at once, and
 * nothing unmaps it in order to move it.
 *
 * The address space is always an argument; the caller is a user of it. docs/memdesc.md "Look-ups" has the
 * protocol of the fast path, and what each kind of page does here is in the matrix.
 */
#ifndef OCTAVO_GUP_H
#define OCTAVO_GUP_H

#include <octavo/folio.h>
#include <octavo/mm_types.h>

#define FOLL_WRITE 0x01u
#define FOLL_FORCE 0x08u /* private memory against its protection: debuggers */
#define FOLL_NOWAIT \
	0x10u /* do not sleep: fewer pages instead, also of those that a long-term pin would have to move */
#define FOLL_LONGTERM \
	0x100u /* pins that may last for ever: not on movable zones' frames, nor device memory */
#define FOLL_FAST_ONLY 0x200u /* no slow path: fewer pages instead */
#define FOLL_NOFAULT   0x400u /* only what is mapped */
/* For the functions below only. */
#define FOLL_GET     0x10000u
#define FOLL_PIN     0x20000u
#define FOLL_REMOTE  0x40000u
#define FOLL_UNSHARE 0x80000u

/**
 * get_user_pages_fast() - without locks where possible
 * @mm: address space
 * @start: address; rounded down to its page
 * @nr_pages: how many
 * @gup_flags: FOLL_WRITE, FOLL_LONGTERM (pins only), ...
 * @pages: filled; beyond what is returned anything may have been stored
 *
 * Context: sleeps unless FOLL_FAST_ONLY or FOLL_NOWAIT; mmap_lock not held.
 * Return: how many pages, 1 to @nr_pages; else -EFAULT (no such memory, not permitted, a page without a
 * count), -ENOMEM, -EHWPOISON, -EINVAL (flags), -EAGAIN; 0 with FOLL_FAST_ONLY. The zero page is returned without a
 * reference: put_user_page() and unpin know.
 */
long get_user_pages_fast(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
			 u32 gup_flags, struct page **pages);
long pin_user_pages_fast(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
			 u32 gup_flags, struct page **pages);
/* With mmap_lock held for reading, all the time. */
long get_user_pages(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
		    u32 gup_flags, struct page **pages);
long pin_user_pages(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
		    u32 gup_flags, struct page **pages);
/* Taking mmap_lock, for another's address space: protection is that of FOLL_FORCE if given. */
long get_user_pages_remote(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
			   u32 gup_flags, struct page **pages);
long pin_user_pages_remote(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
			   u32 gup_flags, struct page **pages);

/* What get_user_pages() returned; the zero page is left alone. */
void put_user_page(struct page *page);
/* Neighbours in one folio together, small folios looked up together. Context: as folio_put(). */
void put_user_pages(struct page **pages, unsigned long nr_pages);
/* What pin_user_pages() returned. Context: as folio_put(). */
void unpin_user_page(struct page *page);
void unpin_user_pages(struct page **pages, unsigned long nr_pages);
void unpin_user_pages_dirty_lock(struct page **pages, unsigned long nr_pages, bool make_dirty);
/* Consecutive pages, given by the first. */
void unpin_user_page_range_dirty_lock(struct page *page, unsigned long nr_pages, bool make_dirty);

/**
 * copy_from_user() - read user memory
 * @mm: whose
 *
 * By references on the pages, so whatever happens to the mapping meanwhile. As if a program of @mm did it: what it may only write to
 * or execute can be read, and its stacks grow. Frames without words cannot be copied. Context: mmap_lock not held, sleeps.
 * Return: bytes that could NOT be copied, from the first one on that could not.
 */
unsigned long copy_from_user(struct mm_struct *mm, void *to, unsigned long from, unsigned long n);
unsigned long copy_to_user(struct mm_struct *mm, unsigned long to, const void *from,
			   unsigned long n);
unsigned long clear_user(struct mm_struct *mm, unsigned long to, unsigned long n);
/* A debugger's access: FOLL_FORCE as given, vm_ops->access where there are no words. Return: bytes done. */
unsigned long access_remote_vm(struct mm_struct *mm, unsigned long addr, void *buf,
			       unsigned long len, u32 gup_flags);

#endif /* OCTAVO_GUP_H */
