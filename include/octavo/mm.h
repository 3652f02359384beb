/* SPDX-License-Identifier: MIT */
/*
 * mm.h - address spaces: making and ending them, the memory calls, faults.
 *
 * Calls take the address space as an argument where Linux takes the caller's own. They return what the
 * system calls return, addresses as long, errors as -errno as Linux documents them in its manual pages.
 */
#ifndef OCTAVO_MM_H
#define OCTAVO_MM_H

#include <octavo/mm_types.h>
#include <octavo/mman.h>
#include <octavo/migrate.h>

/* ---- lifetime ---- */

/**
 * mm_alloc() - an empty address space
 *
 * users 1, the caller's; limits none; range of addresses and order policy at their defaults. Context: sleeps.
 * Return: NULL if there is no memory.
 */
struct mm_struct *mm_alloc(void);
/**
 * mmput() - one user less; the last one unmaps everything
 *
 * Context: sleeps. No CPU may still use it when the last one goes (mm_deactivate() or no fault to come).
 */
void mmput(struct mm_struct *mm);
/* Return: false if the last user is gone. */
bool mmget_not_zero(struct mm_struct *mm) __must_check;
void mmget(struct mm_struct *mm);
/* The struct, not what is mapped. */
void mmgrab(struct mm_struct *mm);
void mmdrop(struct mm_struct *mm);

/**
 * mm_next() - all address spaces, one by one
 * @mm: the last one, whose reference (mmgrab) is dropped; NULL: begin
 *
 * One that is made meanwhile may be missed. It may have no user any more: take its mmap_lock before looking at anything of it.
 *
 * Context: no spinlock held. Return: the next, with a reference (mmgrab); NULL: that was all.
 */
struct mm_struct *mm_next(struct mm_struct *mm);

/**
 * mm_fork() - a copy of an address space
 * @mm: the parent; other threads may go on using it
 * @err: where the reason goes
 *
 * Copies VMAs and page tables; private pages become shared between both and are copied when written to,
 * except those that may be pinned, which are copied now. VM_DONTCOPY areas are left out, VM_WIPEONFORK
 * ones are empty in the child. Locked memory is not locked in the child.
 *
 * Context: sleeps; takes mmap_lock for writing. Return: the child, users 1; NULL: -ENOMEM, and the parent is as
 * before (but write-protected in places).
 */
struct mm_struct *mm_fork(struct mm_struct *mm, int *err);

/* ---- the memory calls; context: mmap_lock not held, sleep ---- */

/**
 * vm_mmap() - map
 * @addr: hint, or with MAP_FIXED the place
 * @len: bytes, rounded up to pages
 * @prot: PROT_...
 * @flags: MAP_...
 * @file: what is mapped; NULL with MAP_ANONYMOUS. Takes a reference of its own
 * @offset: bytes into it, page aligned
 *
 * Return: the address. -EINVAL length 0, unaligned, neither or both of private and shared, MAP_HUGETLB; unknown flags
 * with MAP_SHARED_VALIDATE -EOPNOTSUPP, MAP_FIXED_NOREPLACE too; -ENOMEM no room, limits, too many areas, not enough memory to commit;
 * -EEXIST MAP_FIXED_NOREPLACE and something is there; -EPERM below mmap_min_addr; -EAGAIN locked memory
 * beyond its limit, -EPERM none may be locked; -EOVERFLOW offset; what the file's mmap said. Nothing has changed then, but that
 * MAP_FIXED has emptied the place if it was the file that refused. Shared anonymous memory: -ENODEV until there is a file to hold it.
 */
long vm_mmap(struct mm_struct *mm, unsigned long addr, unsigned long len, unsigned long prot,
	     unsigned long flags, struct vm_file *file, unsigned long offset);
/**
 * vm_munmap() - unmap
 * @addr: page aligned
 * @len: bytes, rounded up to pages; what is not mapped does not matter
 *
 * Return: 0; -EINVAL unaligned, length 0, beyond the end of addresses; -ENOMEM a hole in an area makes one too many, or
 * there is no memory for it; what vm_ops->may_split said. Nothing has changed then.
 */
int vm_munmap(struct mm_struct *mm, unsigned long addr, unsigned long len);

/**
 * vm_mprotect() - other access rights
 * @prot: PROT_..., also PROT_GROWSDOWN: from where the area begins
 *
 * Area by area, each whole or not at all; what comes before an error stays done. Locked private memory that becomes writable is
 * brought in, and copied, at once.
 *
 * Return: 0; -EINVAL unaligned, unknown bits, PROT_GROWSUP, PROT_GROWSDOWN of an area that does not; -ENOMEM a hole,
 * the limit of data, too many areas, not enough memory to commit; -EACCES the area's owner does not allow it.
 */
int vm_mprotect(struct mm_struct *mm, unsigned long addr, unsigned long len, unsigned long prot);

/**
 * vm_mremap() - another size, another place
 * @addr: page aligned, in an area
 * @old_len: bytes, rounded up; 0: a second mapping of shared memory
 * @new_len: bytes, rounded up
 * @flags: MREMAP_MAYMOVE: somewhere else if need be; MREMAP_FIXED: at @new_addr, where nothing stays;
 *         MREMAP_DONTUNMAP: what is left behind is empty memory
 * @new_addr: place, or hint with MREMAP_DONTUNMAP alone
 *
 * To become smaller, in place or on the way to @new_addr, is vm_munmap() of the end, whatever is there. The rest of the old range is
 * in one area.
 *
 * Return: the address. -EINVAL flags, unaligned, @new_len 0, ranges that overlap, @old_len 0 of private memory; -EFAULT nothing
 * is at @addr, what stays of the range is not in one area, or it may not grow; -EAGAIN locked memory beyond its limit; -ENOMEM no room, limits,
 * too many areas, no memory; -EPERM below mmap_min_addr; what vm_ops->may_split or mremap said. Nothing has changed
 * then, but that MREMAP_FIXED may have unmapped its target, if memory for tables or the owner's consent was missing.
 */
long vm_mremap(struct mm_struct *mm, unsigned long addr, unsigned long old_len,
	       unsigned long new_len, unsigned long flags, unsigned long new_addr);

/**
 * vm_madvise() - what to expect of a range, or what to do with its pages
 * @advice: MADV_...
 *
 * Return: 0; -EINVAL unaligned, unknown, or not for such areas; -ENOMEM holes: all else has been done (but for
 * MADV_POPULATE_..., which end there); -EAGAIN no memory for areas; MADV_POPULATE_...: -EFAULT, -EHWPOISON, -ENOMEM as
 * the faults; MADV_COLLAPSE: -ENOMEM, -EAGAIN in use, -EINVAL not such memory, or
 * the range is inside of one folio to be.
 */
int vm_madvise(struct mm_struct *mm, unsigned long addr, unsigned long len, int advice);
/* Return: the break after the call, the old one on failure, as the system call. */
unsigned long vm_brk(struct mm_struct *mm, unsigned long brk);

/**
 * vm_mlock() - keep a range in memory, and bring it in now
 * @addr: any; so is @len: all pages that the range touches
 * @flags: MLOCK_ONFAULT: as it is touched
 *
 * Return: 0; -EINVAL flags, wraps; -EPERM nothing may be locked; -ENOMEM beyond the limit: nothing has changed; or a
 * hole, what comes before it is locked, or a page that cannot be accessed: all is locked; -EAGAIN not all could be brought in.
 */
int vm_mlock(struct mm_struct *mm, unsigned long addr, unsigned long len, int flags);
/* The reverse, whoever locked it and how often. Return: 0, -EINVAL, -ENOMEM as vm_mlock(). */
int vm_munlock(struct mm_struct *mm, unsigned long addr, unsigned long len);
/* MCL_CURRENT: all there is; MCL_FUTURE: all to come. Return: 0, -EINVAL, -EPERM, -ENOMEM as vm_mlock(). */
int vm_mlockall(struct mm_struct *mm, int flags);
int vm_munlockall(struct mm_struct *mm);

/**
 * vm_mincore() - which pages are there
 * @addr: page aligned
 * @vec: kernel memory, a byte a page: bit 0
 *
 * Return: 0; -EINVAL unaligned; -ENOMEM a hole: @vec is filled up to there.
 */
int vm_mincore(struct mm_struct *mm, unsigned long addr, unsigned long len, unsigned char *vec);

/* References of a vm_file. */
void vm_file_init(struct vm_file *file, const struct vm_file_operations *ops);
void vm_file_get(struct vm_file *file);
void vm_file_put(struct vm_file *file);

/* ---- faults ---- */

typedef u32 vm_fault_t;

#define FAULT_FLAG_WRITE       0x01u
#define FAULT_FLAG_INSTRUCTION 0x02u
#define FAULT_FLAG_USER	       0x04u
#define FAULT_FLAG_REMOTE      0x08u /* not by the address space's own threads */
#define FAULT_FLAG_UNSHARE     0x10u /* make it exclusive without allowing writes: get_user_pages */
#define FAULT_FLAG_NOWAIT      0x20u /* may not sleep: VM_FAULT_RETRY instead */
#define FAULT_FLAG_ALLOW_RETRY 0x40u /* handle_mm_fault(): mmap_lock may be given up */

#define VM_FAULT_OOM	  0x0001u
#define VM_FAULT_SIGBUS	  0x0002u
#define VM_FAULT_MAJOR	  0x0004u
#define VM_FAULT_HWPOISON 0x0010u
#define VM_FAULT_SIGSEGV  0x0040u
#define VM_FAULT_NOPAGE	  0x0100u /* the handler has installed an entry */
#define VM_FAULT_RETRY	  0x0400u
#define VM_FAULT_FALLBACK 0x0800u
#define VM_FAULT_MAPERR	  0x2000u /* with SIGSEGV: nothing is there; else not permitted */
#define VM_FAULT_ERROR	  (VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_HWPOISON | VM_FAULT_SIGSEGV)

/**
 * mm_fault() - a CPU could not translate an address: entry for ports
 * @mm: its address space; the caller is a user of it
 * @addr: any value at all
 * @flags: FAULT_FLAG_...
 *
 * Without mmap_lock where it can, with it where it must; never with it while it waits for a swap device, or for who reads or
 * moves the page.
 *
 * Context: mmap_lock not held, no RCU section, sleeps (not with FAULT_FLAG_NOWAIT).
 * Return: 0 (and VM_FAULT_MAJOR): try the access again; VM_FAULT_RETRY: the same, only with
 * FAULT_FLAG_NOWAIT; else an error that the port delivers: VM_FAULT_SIGSEGV (perhaps with _MAPERR), _SIGBUS,
 * _HWPOISON, _OOM.
 */
vm_fault_t mm_fault(struct mm_struct *mm, unsigned long addr, u32 flags);

/**
 * handle_mm_fault() - the same with mmap_lock held for reading and the VMA in hand
 *
 * Does not check access rights of the VMA for FAULT_FLAG_REMOTE callers that force their way.
 *
 * FAULT_FLAG_ALLOW_RETRY: where it would have to wait for a device or a folio, it gives mmap_lock up, waits, and returns
 * VM_FAULT_RETRY (perhaps with VM_FAULT_MAJOR): @vma may be gone. The caller takes the lock, looks the area up again, and calls once
 * more, without the flag. Without it mmap_lock is kept, and waited with. With FAULT_FLAG_NOWAIT it means nothing, and mmap_lock
 * stays.
 */
vm_fault_t handle_mm_fault(struct vm_area_struct *vma, unsigned long addr, u32 flags);

/**
 * populate_vma_page_range() - as if every page had been touched
 *
 * Works on runs, not page by page. Context: mmap_lock held for reading. Return: pages done (present now), or -errno if none.
 */
long populate_vma_page_range(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			     bool write);

/* ---- swap ---- */

/**
 * swapoff() - empty a swap device and let go of it
 * @type: its number, from swapon()
 *
 * Brings in all that is there. Processes go on meanwhile, and may end and fork.
 *
 * Context: sleeps; no lock held. Return: 0: the device is the caller's again. -EINVAL there is no such device; -EBUSY
 * somebody else is at it; -ENOMEM there is not enough memory; -EIO, -EHWPOISON contents cannot be had;
 * -EINTR swapoff_interrupt(). Then the device is in use as before, with what has not been brought in.
 */
int swapoff(int type);
/* A swapoff() of this device that is under way, if any, gives up. Context: any. */
void swapoff_interrupt(int type);

/* ---- VMAs, for callers that hold mmap_lock ---- */

/* As rwsem.h's. Giving back the write side ends the marks of vma_start_write(). */
void mmap_read_lock(struct mm_struct *mm);
bool mmap_read_trylock(struct mm_struct *mm);
void mmap_read_unlock(struct mm_struct *mm);
void mmap_write_lock(struct mm_struct *mm);
void mmap_write_unlock(struct mm_struct *mm);
void mmap_write_downgrade(struct mm_struct *mm);

/* The VMA that has @addr, or NULL. Context: mmap_lock. */
struct vm_area_struct *vma_lookup(struct mm_struct *mm, unsigned long addr);
/* The first that ends after @addr, or NULL. */
struct vm_area_struct *find_vma(struct mm_struct *mm, unsigned long addr);
/* The first that intersects the range, or NULL. */
struct vm_area_struct *find_vma_intersection(struct mm_struct *mm, unsigned long start,
					     unsigned long end);

/* ---- pages of the embedder's in user page tables ---- */

/**
 * vm_insert_page() - map a page that is not the core's to choose
 * @addr: page aligned, in the VMA
 * @page: a counted plain page that is mappable (any page of its allocation), or a page of a FILE folio
 *
 * A reference is taken, a folio gets a mapping counted; plain pages are never touched otherwise. The VMA becomes
 * VM_MIXEDMAP (mmap_lock for writing the first time: usually from vm_file_operations.mmap).
 *
 * Return: 0; -EINVAL: not such a page, outside the VMA; -EBUSY: something is mapped there; -ENOMEM.
 */
int vm_insert_page(struct vm_area_struct *vma, unsigned long addr, struct page *page);
/* @num: in: how many; out: how many were not inserted. Table by table, not page by page. */
int vm_insert_pages(struct vm_area_struct *vma, unsigned long addr, struct page **pages,
		    unsigned long *num);
/* The whole VMA from @pages[vma->vm_pgoff] on, or from 0. */
int vm_map_pages(struct vm_area_struct *vma, struct page **pages, unsigned long num);
int vm_map_pages_zero(struct vm_area_struct *vma, struct page **pages, unsigned long num);

/**
 * remap_pfn_range() - map frames as they are: special entries, nobody's words are looked at
 * @pfn: first; may have no word, or be frozen plain memory
 * @size: bytes
 *
 * The VMA becomes VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP; a private writable one only as a whole.
 * Context: from vm_file_operations.mmap. Return: 0, -EINVAL, -ENOMEM: then the range is empty.
 */
int remap_pfn_range(struct vm_area_struct *vma, unsigned long addr, unsigned long pfn,
		    unsigned long size, pgprot_t prot);
/* One special entry, from a fault handler. Return: VM_FAULT_NOPAGE or an error. */
vm_fault_t vmf_insert_pfn(struct vm_area_struct *vma, unsigned long addr, unsigned long pfn);
/* As vm_insert_page() from a fault handler. */
vm_fault_t vmf_insert_page(struct vm_area_struct *vma, unsigned long addr, struct page *page);
/* Remove what is mapped of a VM_MIXEDMAP or VM_PFNMAP area, with notifiers and flush. */
void zap_vma_ptes(struct vm_area_struct *vma, unsigned long addr, unsigned long size);
/*
 * Entries of a range go, for owners of the VMA under mmap_lock; guard markers stay. Return: 0; -ENOMEM: a leaf reaches
 * over an end of the range and cannot be split, and nothing has changed. Of pages that were inserted: 0.
 */
int zap_page_range_single(struct vm_area_struct *vma, unsigned long addr, unsigned long size);

/* ---- large folios that are mapped; to split them and their leaves: migrate.h ---- */

/**
 * collapse_range() - make one folio of @order of the anonymous pages there
 * @addr: aligned for @order; the whole range in one VMA
 * @max_none: how many pages may be missing
 *
 * Return: 0; -EBUSY pinned or changing; -EINVAL; -ENOMEM; -EEXIST it is one already.
 */
int collapse_range(struct mm_struct *mm, unsigned long addr, unsigned int order,
		   unsigned int max_none);

/* ---- inspection ---- */

/* Sums over CPUs; exact when quiet. */
unsigned long get_mm_counter(const struct mm_struct *mm, enum mm_counter member);
unsigned long get_mm_rss(const struct mm_struct *mm);
/* The most pages it ever had, before it has fewer. */
void update_hiwater_rss(struct mm_struct *mm);
/* Calls @fn for each VMA in order, under mmap_lock for reading, until it returns false. */
void mm_for_each_vma(struct mm_struct *mm, bool (*fn)(const struct vm_area_struct *vma, void *arg),
		     void *arg);
/* VMAs against tree, tables, counts, limits; every entry against words and folios. Quiet. */
bool mm_validate(struct mm_struct *mm);
/* Log VMAs, as /proc/PID/maps does. */
void mm_dump(struct mm_struct *mm);

/* Memory that may be promised: bytes; 0 heuristic, 1 always, 2 never more than @limit_pages. */
int vm_set_overcommit(unsigned int mode, u64 limit_pages);
u64 vm_committed_as(void);

#endif /* OCTAVO_MM_H */
