// SPDX-License-Identifier: MIT
/*
 * uaccess.c - reading and writing user memory from the kernel.
 *
 * By references on pages, a few at a time, and the direct map: no fault can happen in the middle of a copy, and
 * whatever happens to the mapping meanwhile, what was copied was the user's memory at some moment of the call.
 * What is written that way is dirty in the folio, because no entry says so.
 *
 * Pages that are written to are pinned, not only referenced: a fork in the middle of the copy would make the page
 * shared, another thread's write would give its process a new one, and the rest of the copy would go to the child.
 *
 * Two processes that write the same word at the same time get one or the other byte by byte, as with
 * any other two writers.
 */
#include <octavo/errno.h>
#include <octavo/string.h>

#include "gup.h"

/* Pages asked for at once. */
#define UACCESS_PAGES 16u

enum uaccess_op { UACCESS_FROM, UACCESS_TO, UACCESS_CLEAR };

static void uaccess_page(struct page *page, unsigned long off, char *buf, unsigned long n,
			 enum uaccess_op op)
{
	char *at = (char *)page_address(page) + off;
	struct folio *folio;

	if (op == UACCESS_FROM) {
		memcpy(buf, at, n);
		return;
	}
	if (op == UACCESS_TO)
		memcpy(at, buf, n);
	else
		memset(at, 0, n);
	folio = page_folio(page);
	if (folio && !folio_test_flag(folio, PG_dirty))
		folio_set_flag(folio, PG_dirty);
}

/* References to read; pins to write, so that a fork meanwhile leaves the page where it is. @remote: with FOLL_FORCE. */
static long uaccess_get(struct mm_struct *mm, unsigned long at, unsigned long nr, u32 flags,
			bool remote, struct page **pages)
{
	bool write = flags & FOLL_WRITE;

	if (remote)
		return write ? pin_user_pages_remote(mm, at, nr, flags, pages)
			     : get_user_pages_remote(mm, at, nr, flags, pages);
	return gup_pages(mm, at, nr, flags | (write ? FOLL_PIN : FOLL_GET) | FOLL_CPU, pages);
}

/* A stack grows to where its owner accesses it, also by way of the kernel. Return: false: it does not, or there is none. */
static bool stack_grows(struct mm_struct *mm, unsigned long addr)
{
	const struct vm_area_struct *next;
	bool stack;

	mmap_read_lock(mm);
	next = find_vma(mm, addr);
	stack = next && next->vm_start > addr && next->vm_flags & VM_GROWSDOWN;
	mmap_read_unlock(mm);
	return stack && !expand_stack(mm, addr);
}

/* Return: bytes done. */
static unsigned long uaccess(struct mm_struct *mm, unsigned long addr, char *buf, unsigned long n,
			     enum uaccess_op op, bool remote, u32 flags)
{
	struct page *pages[UACCESS_PAGES];
	unsigned long done = 0;

	if (op != UACCESS_FROM)
		flags |= FOLL_WRITE;
	while (done < n) {
		unsigned long at = addr + done, off = at & ~PAGE_MASK;
		/* cut before anything is added: no wrap */
		unsigned long left = min(n - done, UACCESS_PAGES * PAGE_SIZE);
		unsigned long want = (left + off + PAGE_SIZE - 1) >> PAGE_SHIFT;
		long got;

		want = min(want, (unsigned long)UACCESS_PAGES);
		if (at < addr)
			break;
		got = uaccess_get(mm, at, want, flags, remote, pages);
		/* near the end of the address space fewer pages may still be there */
		if (got == -EFAULT && want > 1)
			got = uaccess_get(mm, at, 1, flags, remote, pages);
		if (got == -EFAULT && !remote && stack_grows(mm, at))
			got = uaccess_get(mm, at, 1, flags, remote, pages);
		if (got <= 0)
			break;
		for (long i = 0; i < got; i++, off = 0) {
			unsigned long len = min(PAGE_SIZE - off, n - done);

			uaccess_page(pages[i], off, buf ? buf + done : NULL, len, op);
			done += len;
		}
		if (op == UACCESS_FROM)
			put_user_pages(pages, (unsigned long)got);
		else
			unpin_user_pages(pages, (unsigned long)got);
	}
	return done;
}

unsigned long copy_from_user(struct mm_struct *mm, void *to, unsigned long from, unsigned long n)
{
	return n - uaccess(mm, from, to, n, UACCESS_FROM, false, 0);
}

unsigned long copy_to_user(struct mm_struct *mm, unsigned long to, const void *from,
			   unsigned long n)
{
	/* only read from with UACCESS_TO */
	return n - uaccess(mm, to, (char *)(unsigned long)from, n, UACCESS_TO, false, 0);
}

unsigned long clear_user(struct mm_struct *mm, unsigned long to, unsigned long n)
{
	return n - uaccess(mm, to, NULL, n, UACCESS_CLEAR, false, 0);
}

/* What get_user_pages_remote() refuses: an area without words, if its owner knows how. */
static unsigned long access_special(struct mm_struct *mm, unsigned long addr, char *buf,
				    unsigned long n, bool write)
{
	struct vm_area_struct *vma;
	int done = 0;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, addr);
	if (vma && vma->vm_ops && vma->vm_ops->access) {
		unsigned long max = min(n, vma->vm_end - addr);

		done = vma->vm_ops->access(vma, addr, buf, (int)min(max, 1ul << 30), write);
	}
	mmap_read_unlock(mm);
	return done > 0 ? (unsigned long)done : 0;
}

unsigned long access_remote_vm(struct mm_struct *mm, unsigned long addr, void *buf,
			       unsigned long len, u32 gup_flags)
{
	bool write = gup_flags & FOLL_WRITE;
	unsigned long done = 0;

	while (done < len) {
		unsigned long n =
			uaccess(mm, addr + done, (char *)buf + done, len - done,
				write ? UACCESS_TO : UACCESS_FROM, true, gup_flags & FOLL_FORCE);

		if (!n)
			n = access_special(mm, addr + done, (char *)buf + done, len - done, write);
		if (!n)
			break;
		done += n;
	}
	return done;
}
