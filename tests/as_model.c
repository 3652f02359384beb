// SPDX-License-Identifier: MIT
/*
 * as_model.c - address spaces, page by page.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <octavo/mman.h>

#include "as_model.h"

static unsigned long up(unsigned long len)
{
	return (len + AS_PAGE - 1) & ~(AS_PAGE - 1);
}

static bool aligned(unsigned long addr)
{
	return !(addr % AS_PAGE);
}

/* ---- contents ---- */

struct as_data *as_data_get(struct as_data *d)
{
	d->refs++;
	return d;
}

void as_data_put(struct as_model *m, struct as_data *d)
{
	if (!d || --d->refs)
		return;
	m->datas--;
	free(d);
}

const uint64_t *as_words(const struct as_model *m, const struct as_page *pg)
{
	static const uint64_t zero[AS_WORDS];

	if (pg->data)
		return pg->data->w;
	return pg->file && pg->pgoff < AS_FILE_PAGES ? m->file[pg->file - 1][pg->pgoff] : zero;
}

static struct as_data *new_data(struct as_model *m, const uint64_t *words)
{
	struct as_data *d = malloc(sizeof(*d));

	if (!d)
		abort();
	d->refs = 1;
	memcpy(d->w, words, sizeof(d->w));
	m->datas++;
	return d;
}

struct as_data *as_own(struct as_model *m, struct as_page *pg)
{
	if (!pg->data)
		pg->data = new_data(m, as_words(m, pg));
	return pg->data;
}

/* What it had for itself is gone. A ring's page, too: nobody brings it back. */
static void drop(struct as_model *m, struct as_page *pg)
{
	as_data_put(m, pg->data);
	pg->data = NULL;
	pg->here = false;
	pg->lazy = false;
}

void as_gone(struct as_model *m, struct as_page *pg)
{
	drop(m, pg);
}

static void clear(struct as_model *m, struct as_page *pg)
{
	drop(m, pg);
	memset(pg, 0, sizeof(*pg));
}

/* ---- accesses ---- */

static enum as_kind kind_of(const struct as_page *pg)
{
	return (enum as_kind)(pg->file - 1);
}

static bool by_fault(const struct as_page *pg)
{
	return kind_of(pg) == AS_PAGES || kind_of(pg) == AS_FOLIOS;
}

static int page_access(const struct as_page *pg, enum as_access a)
{
	static const uint32_t needs[] = {
		[AS_LOAD] = AS_ACCESS, [AS_STORE] = AS_W, [AS_FETCH] = AS_X
	};

	if (!(pg->flags & needs[a]) || pg->guard)
		return AS_SEGV;
	if (!pg->file || pg->data || pg->here)
		return 0;
	return by_fault(pg) && pg->pgoff < AS_FILE_PAGES ? 0 : AS_BUS;
}

/* The page that a stack which could grow to @n begins with; 0: there is none, or it may not. */
static unsigned long stack_above(const struct as_model *m, const struct as_proc *pr,
				 unsigned long n)
{
	unsigned long s = n, prev = n;

	while (s < m->nr && !pr->pg[s].flags)
		s++;
	if (s == m->nr || !(pr->pg[s].flags & AS_GROWS))
		return 0;
	while (prev > 0 && !pr->pg[prev - 1].flags)
		prev--;
	if (prev > 0 && pr->pg[prev - 1].flags & AS_ACCESS &&
	    !(pr->pg[prev - 1].flags & AS_GROWS) && n - prev < m->gap)
		return 0;
	return s;
}

int as_may_access(struct as_model *m, int p, unsigned long addr, enum as_access a)
{
	struct as_page *pg = as_page(m, p, addr);

	if (!pg || !pg->flags)
		return AS_SEGV | AS_MAPERR;
	return page_access(pg, a);
}

int as_access(struct as_model *m, int p, unsigned long addr, enum as_access a, uint64_t **words)
{
	struct as_page *pg = as_page(m, p, addr);
	int err;

	if (!pg)
		return AS_SEGV | AS_MAPERR;
	if (!pg->flags) {
		struct as_proc *pr = &m->p[p];
		unsigned long n = as_nr(m, addr), s = stack_above(m, pr, n);

		if (!s)
			return AS_SEGV | AS_MAPERR;
		for (; n < s; n++)
			pr->pg[n].flags = pr->pg[s].flags;
	}
	err = page_access(pg, a);
	if (err || !words)
		return err;
	if (a == AS_STORE && !(pg->flags & AS_SHARED)) {
		as_own(m, pg);
		pg->lazy = false;
	}
	*words = (uint64_t *)as_words(m, pg);
	return 0;
}

enum as_gup as_gup(struct as_model *m, int p, unsigned long addr, bool write)
{
	struct as_page *pg = as_page(m, p, addr);

	if (!pg || !pg->flags || page_access(pg, write ? AS_STORE : AS_LOAD))
		return AS_GUP_NO;
	/* a private copy beside bare frames is memory like any other, but nobody need look for it */
	if (pg->flags & (AS_IO | AS_PFN))
		return pg->data ? AS_GUP_EITHER : AS_GUP_NO;
	/* what hardware can read need not have been meant to be */
	return write || pg->flags & AS_R ? AS_GUP_YES : AS_GUP_EITHER;
}

enum as_gup as_copy(struct as_model *m, int p, unsigned long addr, bool write)
{
	struct as_page *pg = as_page(m, p, addr);

	if (pg && !pg->flags) {
		unsigned long s = stack_above(m, &m->p[p], as_nr(m, addr));

		pg = s ? &m->p[p].pg[s] : NULL;
		return pg && pg->flags & (write ? AS_W : AS_ACCESS) ? AS_GUP_YES : AS_GUP_NO;
	}
	if (!pg || page_access(pg, write ? AS_STORE : AS_LOAD))
		return AS_GUP_NO;
	if (pg->flags & (AS_IO | AS_PFN))
		return pg->data ? AS_GUP_EITHER : AS_GUP_NO;
	return AS_GUP_YES;
}

/* ---- mmap, munmap ---- */

static uint32_t prot_flags(unsigned long prot)
{
	return (prot & PROT_READ ? AS_R : 0) | (prot & PROT_WRITE ? AS_W : 0) |
	       (prot & PROT_EXEC ? AS_X : 0);
}

static bool all_free(const struct as_model *m, int p, unsigned long addr, unsigned long len)
{
	for (unsigned long n = as_nr(m, addr), end = n + len / AS_PAGE; n < end; n++)
		if (m->p[p].pg[n].flags)
			return false;
	return true;
}

bool as_place_ok(const struct as_model *m, int p, unsigned long addr, unsigned long len)
{
	unsigned long n;

	len = up(len);
	if (!aligned(addr) || addr < m->base || addr > m->end || len > m->end - addr)
		return false;
	if (!all_free(m, p, addr, len))
		return false;
	/* the next one may be a stack, which wants to grow */
	for (n = as_nr(m, addr + len - AS_PAGE) + 1; n < m->nr && !m->p[p].pg[n].flags; n++)
		;
	return n == m->nr || !(m->p[p].pg[n].flags & AS_GROWS) ||
	       n - as_nr(m, addr + len - AS_PAGE) - 1 >= m->gap;
}

static int mmap_type(unsigned long flags, int file)
{
	bool grows = flags & MAP_GROWSDOWN;

	switch (flags & 0xf) {
	case MAP_PRIVATE:
		return file && grows ? -EINVAL : 0;
	case MAP_SHARED:
		if (file)
			return grows ? -EINVAL : 0;
		return grows ? -EINVAL : -ENODEV;
	case MAP_SHARED_VALIDATE:
		if (!file)
			return -EINVAL;
		if (flags & ~0x3f93ful)
			return -EOPNOTSUPP;
		return grows ? -EINVAL : 0;
	case MAP_DROPPABLE:
		return file || grows || flags & MAP_LOCKED ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

static long mmap_place(struct as_model *m, int p, unsigned long addr, unsigned long len,
		       unsigned long flags)
{
	if (len > m->end)
		return -ENOMEM;
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		if (addr > m->end - len)
			return -ENOMEM;
		if (!aligned(addr))
			return -EINVAL;
		if (addr < m->base)
			return -EPERM;
		if (flags & MAP_FIXED_NOREPLACE && !all_free(m, p, addr, len))
			return -EEXIST;
		return (long)addr;
	}
	/* a hint that can be followed is */
	addr &= ~(AS_PAGE - 1);
	if (addr && addr < m->base)
		addr = m->base;
	return addr && as_place_ok(m, p, addr, len) ? (long)addr : 0;
}

long as_mmap_check(struct as_model *m, int p, unsigned long addr, unsigned long len,
		   unsigned long flags, int file, unsigned long offset)
{
	unsigned long size = up(len);
	long place;
	int err;

	if (!aligned(offset) || (!file && !(flags & MAP_ANONYMOUS)) || !len || flags & MAP_HUGETLB)
		return -EINVAL;
	if (flags & MAP_ANONYMOUS)
		file = 0;
	if (!size)
		return -ENOMEM;
	if (offset / AS_PAGE + size / AS_PAGE < offset / AS_PAGE)
		return -EOVERFLOW;
	place = mmap_place(m, p, addr, size, flags);
	if (place < 0)
		return place;
	err = mmap_type(flags, file);
	if (err)
		return err;
	/* these objects map what they have and no more */
	if ((file == AS_RING + 1 || file == AS_FRAMES + 1) &&
	    (offset + size) / AS_PAGE > AS_FILE_PAGES)
		return -ENXIO;
	return place;
}

static uint32_t mmap_flags(const struct as_model *m, const struct as_proc *pr, unsigned long prot,
			   unsigned long flags, int file)
{
	uint32_t f = AS_MAPPED | prot_flags(prot) | pr->def;

	if (flags & MAP_GROWSDOWN)
		f |= AS_GROWS | AS_STACK;
	if (flags & MAP_LOCKED)
		f |= AS_LOCKED;
	if (flags & MAP_STACK)
		f |= AS_NOHUGE;
	if (flags & MAP_NORESERVE && !m->never)
		f |= AS_NORESERVE;
	if ((flags & 0xf) == MAP_SHARED || (flags & 0xf) == MAP_SHARED_VALIDATE)
		f |= AS_SHARED;
	if ((flags & 0xf) == MAP_DROPPABLE)
		f = (f & ~AS_LOCK) | AS_DROP | AS_NORESERVE | AS_WIPE | AS_DONTDUMP;
	if (file == AS_RING + 1)
		f = (f & ~AS_LOCK) | AS_MIXED;
	if (file == AS_FRAMES + 1)
		f = (f & ~AS_LOCK) | AS_IO | AS_PFN | AS_DONTEXPAND | AS_DONTDUMP;
	return f;
}

void as_mmap_apply(struct as_model *m, int p, unsigned long addr, unsigned long len,
		   unsigned long prot, unsigned long flags, int file, unsigned long offset)
{
	struct as_proc *pr = &m->p[p];
	uint32_t f;

	if (flags & MAP_ANONYMOUS)
		file = 0;
	f = mmap_flags(m, pr, prot, flags, file);
	for (unsigned long i = 0; i < up(len) / AS_PAGE; i++) {
		struct as_page *pg = &pr->pg[as_nr(m, addr) + i];

		clear(m, pg);
		pg->flags = f;
		pg->file = (uint16_t)file;
		if (file)
			pg->pgoff = (uint16_t)(offset / AS_PAGE + i);
		pg->here = file == AS_RING + 1 || file == AS_FRAMES + 1;
	}
}

static void unmap(struct as_model *m, int p, unsigned long addr, unsigned long end)
{
	for (; addr < end; addr += AS_PAGE)
		if (as_in(m, addr))
			clear(m, as_page(m, p, addr));
}

int as_munmap(struct as_model *m, int p, unsigned long addr, unsigned long len)
{
	if (!aligned(addr) || addr > m->end || len > m->end - addr || !up(len))
		return -EINVAL;
	unmap(m, p, addr < m->base ? m->base : addr, addr + up(len));
	return 0;
}

/* ---- mprotect ---- */

/* PROT_GROWSDOWN: from where the stack begins. */
static int grow_range(struct as_model *m, int p, unsigned long *addr, unsigned long end,
		      unsigned long prot, unsigned long area_start)
{
	const struct as_page *pg = as_page(m, p, area_start);

	if (!pg || area_start >= end || (prot & PROT_GROWSUP && area_start > *addr))
		return -ENOMEM;
	if (prot & PROT_GROWSUP || !(pg->flags & AS_GROWS))
		return -EINVAL;
	*addr = area_start;
	return 0;
}

int as_mprotect(struct as_model *m, int p, unsigned long addr, unsigned long len,
		unsigned long prot, unsigned long area_start, unsigned long stop)
{
	const unsigned long grows = PROT_GROWSDOWN | PROT_GROWSUP;
	unsigned long end = addr + up(len);
	int err = 0;

	if ((prot & grows) == grows || !aligned(addr))
		return -EINVAL;
	if (!len)
		return 0;
	if (end <= addr)
		return -ENOMEM;
	if (prot & ~(grows | 0xful))
		return -EINVAL;
	if (prot & grows)
		err = grow_range(m, p, &addr, end, prot, area_start);
	for (; !err && addr < end && addr < stop; addr += AS_PAGE) {
		struct as_page *pg = as_page(m, p, addr);

		if (!pg || !pg->flags)
			return -ENOMEM;
		pg->flags = (pg->flags & ~(uint32_t)AS_ACCESS) | prot_flags(prot);
	}
	return err;
}

/* ---- mremap ---- */

static int mremap_arguments(const struct as_model *m, unsigned long addr, unsigned long old_len,
			    unsigned long new_len, unsigned long flags, unsigned long new_addr)
{
	bool place = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);

	if (flags & ~7ul || !aligned(addr) || !new_len || new_len > m->end)
		return -EINVAL;
	if (!place)
		return 0;
	if (!(flags & MREMAP_MAYMOVE) || !aligned(new_addr) || new_addr > m->end - new_len ||
	    (flags & MREMAP_DONTUNMAP && old_len != new_len))
		return -EINVAL;
	return addr < new_addr + new_len && new_addr < addr + old_len ? -EINVAL : 0;
}

int as_mremap_check(struct as_model *m, int p, unsigned long addr, unsigned long old_len,
		    unsigned long new_len, unsigned long flags, unsigned long new_addr,
		    unsigned long area_end, bool *in_place)
{
	bool place = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP), grows, room;
	struct as_page *pg = as_page(m, p, addr);
	int err;

	old_len = up(old_len);
	new_len = up(new_len);
	*in_place = false;
	err = mremap_arguments(m, addr, old_len, new_len, flags, new_addr);
	if (err)
		return err;
	if (!pg || !pg->flags)
		return -EFAULT;
	if (!place && new_len <= old_len) {
		*in_place = true;
		return new_len < old_len && (addr + old_len < addr || addr + old_len > m->end)
			       ? -EINVAL
			       : 0;
	}
	if (!old_len && !(pg->flags & AS_SHARED))
		return -EINVAL;
	if (!old_len && place && addr - new_addr < new_len)
		return -EFAULT;
	if (flags & MREMAP_DONTUNMAP && pg->flags & (AS_DONTEXPAND | AS_PFN))
		return -EINVAL;
	if ((old_len < new_len ? old_len : new_len) > area_end - addr)
		return -EFAULT;
	if (addr + old_len < addr || addr + old_len > m->end)
		return -EINVAL;
	grows = new_len > old_len && !(flags & MREMAP_DONTUNMAP);
	if (grows && pg->flags & (AS_DONTEXPAND | AS_PFN))
		return -EFAULT;
	*in_place = !place && !grows;
	if (*in_place)
		return 0;
	room = grows && addr + old_len == area_end && addr + new_len <= m->end &&
	       addr + new_len > addr && all_free(m, p, area_end, addr + new_len - area_end);
	*in_place = !place && room;
	if (*in_place)
		return 0;
	if (!(flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	return flags & MREMAP_FIXED && new_addr < m->base ? -EPERM : 0;
}

static void fresh(struct as_page *pg, const struct as_page *like, unsigned long pgoff)
{
	pg->flags = like->flags;
	pg->file = like->file;
	pg->pgoff = pg->file ? (uint16_t)pgoff : 0;
}

void as_mremap_apply(struct as_model *m, int p, unsigned long addr, unsigned long old_len,
		     unsigned long new_len, unsigned long flags, unsigned long new_addr)
{
	const struct as_page like = *as_page(m, p, addr);
	unsigned long both;

	old_len = up(old_len);
	new_len = up(new_len);
	both = old_len < new_len ? old_len : new_len;
	if (new_addr != addr) {
		unmap(m, p, new_addr, new_addr + new_len);
		for (unsigned long i = 0; i < both; i += AS_PAGE) {
			struct as_page *from = as_page(m, p, addr + i);

			*as_page(m, p, new_addr + i) = *from;
			from->data = NULL;
			from->here = from->guard = false;
			if (flags & MREMAP_DONTUNMAP)
				from->flags &= ~(uint32_t)AS_LOCK;
		}
	}
	for (unsigned long i = both; i < new_len; i += AS_PAGE)
		fresh(as_page(m, p, new_addr + i), &like, like.pgoff + i / AS_PAGE);
	if (flags & MREMAP_DONTUNMAP)
		return;
	unmap(m, p, new_addr == addr ? addr + both : addr, addr + old_len);
}

/* ---- madvise ---- */

static uint32_t advised(uint32_t f, int advice)
{
	switch (advice) {
	case MADV_NORMAL:
		return f & ~(uint32_t)(AS_SEQ | AS_RAND);
	case MADV_RANDOM:
		return (f & ~(uint32_t)AS_SEQ) | AS_RAND;
	case MADV_SEQUENTIAL:
		return (f & ~(uint32_t)AS_RAND) | AS_SEQ;
	case MADV_DONTFORK:
		return f | AS_DONTFORK;
	case MADV_DOFORK:
		return f & ~(uint32_t)AS_DONTFORK;
	case MADV_WIPEONFORK:
		return f | AS_WIPE;
	case MADV_KEEPONFORK:
		return f & ~(uint32_t)AS_WIPE;
	case MADV_DONTDUMP:
		return f | AS_DONTDUMP;
	case MADV_DODUMP:
		return f & ~(uint32_t)AS_DONTDUMP;
	case MADV_HUGEPAGE:
		return (f & ~(uint32_t)AS_NOHUGE) | AS_HUGE;
	case MADV_NOHUGEPAGE:
		return (f & ~(uint32_t)AS_HUGE) | AS_NOHUGE;
	default:
		return f;
	}
}

static bool advice_legal(const struct as_page *pg, int advice)
{
	uint32_t f = pg->flags;

	switch (advice) {
	case MADV_DOFORK:
		return !(f & AS_IO);
	case MADV_WIPEONFORK:
		return !pg->file && !(f & AS_SHARED);
	case MADV_KEEPONFORK:
		return !(f & AS_DROP);
	case MADV_DODUMP:
		return !(f & (AS_SPECIAL | AS_DROP));
	case MADV_FREE:
		return !(f & (AS_PFN | AS_LOCKED)) && !pg->file;
	case MADV_DONTNEED:
	case MADV_COLD:
		return !(f & (AS_PFN | AS_LOCKED));
	case MADV_DONTNEED_LOCKED:
		return !(f & AS_PFN);
	case MADV_GUARD_INSTALL:
		return !(f & (AS_SPECIAL | AS_LOCKED));
	case MADV_GUARD_REMOVE:
		return !(f & AS_SPECIAL);
	case MADV_POPULATE_READ:
		return f & AS_R && !(f & (AS_IO | AS_PFN));
	case MADV_POPULATE_WRITE:
		return f & AS_W && !(f & (AS_IO | AS_PFN));
	default:
		return true;
	}
}

static bool advice_known(int advice)
{
	return (advice >= MADV_NORMAL && advice <= MADV_DONTNEED) || advice == MADV_FREE ||
	       advice == MADV_DONTFORK || advice == MADV_DOFORK ||
	       (advice >= MADV_HUGEPAGE && advice <= MADV_COLD) ||
	       (advice >= MADV_POPULATE_READ && advice <= MADV_DONTNEED_LOCKED) ||
	       advice == MADV_GUARD_INSTALL || advice == MADV_GUARD_REMOVE;
}

/* Return: 0, -errno of one page. */
static int advise(struct as_model *m, struct as_page *pg, int advice)
{
	switch (advice) {
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
		drop(m, pg);
		return 0;
	case MADV_GUARD_INSTALL:
		drop(m, pg);
		pg->guard = true;
		return 0;
	case MADV_GUARD_REMOVE:
		pg->guard = false;
		return 0;
	case MADV_FREE:
		pg->lazy = true;
		return 0;
	case MADV_POPULATE_READ:
		return page_access(pg, AS_LOAD) ? -EFAULT : 0;
	case MADV_POPULATE_WRITE:
		if (page_access(pg, AS_STORE))
			return -EFAULT;
		if (!(pg->flags & AS_SHARED))
			as_own(m, pg);
		return 0;
	default:
		pg->flags = advised(pg->flags, advice);
		return 0;
	}
}

int as_madvise(struct as_model *m, int p, unsigned long addr, unsigned long len, int advice,
	       bool (*which)(void *arg, unsigned long addr), void *arg)
{
	unsigned long end = addr + up(len);
	bool strict = advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;
	int ret = 0, err;

	if (!advice_known(advice) || !aligned(addr) || (len && !up(len)) || end < addr)
		return -EINVAL;
	for (; addr < end; addr += AS_PAGE) {
		struct as_page *pg = as_page(m, p, addr);

		if (!pg && addr >= m->end)
			return -ENOMEM;
		if (!pg || !pg->flags) {
			if (strict)
				return -ENOMEM;
			ret = -ENOMEM;
			addr = addr < m->base ? m->base - AS_PAGE : addr;
			continue;
		}
		if (!advice_legal(pg, advice))
			return -EINVAL;
		if (which && !which(arg, addr))
			continue;
		err = advise(m, pg, advice);
		if (err)
			return err;
	}
	return ret;
}

/* ---- brk ---- */

static bool brk_room(const struct as_model *m, int p, unsigned long from, unsigned long to)
{
	unsigned long n = as_nr(m, from), keep;

	while (n < m->nr && !m->p[p].pg[n].flags)
		n++;
	if (n == m->nr)
		return true;
	/* a page stays free, and a stack's gap */
	keep = 1 + (m->p[p].pg[n].flags & AS_GROWS ? m->gap : 0);
	return n >= as_nr(m, to) + keep;
}

unsigned long as_brk(struct as_model *m, int p, unsigned long brk)
{
	struct as_proc *pr = &m->p[p];
	unsigned long old = up(pr->brk), new = up(brk);

	if (brk < pr->start || brk > m->end)
		return pr->brk;
	if (new > old) {
		if (!brk_room(m, p, old, new))
			return pr->brk;
		for (; old < new; old += AS_PAGE)
			as_page(m, p, old)->flags = AS_MAPPED | AS_R | AS_W | pr->def;
	} else if (new < old) {
		/* not where nothing is any more */
		if (all_free(m, p, new, old - new))
			return pr->brk;
		unmap(m, p, new, old);
	}
	return pr->brk = brk;
}

/* ---- mlock, mincore ---- */

static bool locks(const struct as_page *pg)
{
	return pg->flags && !(pg->flags & (AS_SPECIAL | AS_DROP));
}

int as_mlock(struct as_model *m, int p, unsigned long addr, unsigned long len, uint32_t lock,
	     unsigned long stop)
{
	unsigned long end = up(addr + len);

	/* as documented: Linux says 0 of lengths that wrap to nothing when they are rounded up */
	if (addr + len < addr || end < addr + len)
		return -EINVAL;
	addr = addr / AS_PAGE * AS_PAGE;
	for (; addr < end && addr < stop; addr += AS_PAGE) {
		struct as_page *pg = as_page(m, p, addr);

		if (!pg || !pg->flags)
			return -ENOMEM;
		if (locks(pg))
			pg->flags = (pg->flags & ~(uint32_t)AS_LOCK) | lock;
	}
	return 0;
}

int as_populate(struct as_model *m, int p, unsigned long addr, unsigned long len)
{
	unsigned long end = addr / AS_PAGE * AS_PAGE + up(len + addr % AS_PAGE);

	for (addr = addr / AS_PAGE * AS_PAGE; addr < end; addr += AS_PAGE) {
		struct as_page *pg = as_page(m, p, addr);

		if (!pg || !pg->flags || pg->flags & (AS_IO | AS_PFN | AS_ONFAULT))
			continue;
		if (page_access(pg, AS_LOAD))
			return -ENOMEM;
		if ((pg->flags & (AS_W | AS_SHARED)) == AS_W)
			as_own(m, pg);
	}
	return 0;
}

int as_mlockall(struct as_model *m, int p, int flags)
{
	uint32_t lock = AS_LOCKED | (flags & MCL_ONFAULT ? AS_ONFAULT : 0);

	if (!flags || flags & ~7 || flags == MCL_ONFAULT)
		return -EINVAL;
	m->p[p].def = flags & MCL_FUTURE ? lock : 0;
	for (unsigned long n = 0; flags & MCL_CURRENT && n < m->nr; n++)
		if (locks(&m->p[p].pg[n]))
			m->p[p].pg[n].flags = (m->p[p].pg[n].flags & ~(uint32_t)AS_LOCK) | lock;
	return 0;
}

void as_munlockall(struct as_model *m, int p)
{
	m->p[p].def = 0;
	for (unsigned long n = 0; n < m->nr; n++)
		m->p[p].pg[n].flags &= ~(uint32_t)AS_LOCK;
}

int as_mincore(struct as_model *m, int p, unsigned long addr, unsigned long len)
{
	if (!aligned(addr))
		return -EINVAL;
	if (addr > m->end || len > m->end - addr)
		return -ENOMEM;
	for (unsigned long end = addr + up(len); addr < end; addr += AS_PAGE) {
		const struct as_page *pg = as_page(m, p, addr);

		if (!pg || !pg->flags)
			return -ENOMEM;
	}
	return 0;
}

/* ---- processes ---- */

void as_fork(struct as_model *m, int parent, int child)
{
	const struct as_proc *from = &m->p[parent];
	struct as_proc *to = &m->p[child];

	*to = (struct as_proc){ .alive = true, .start = from->start, .brk = from->brk };
	for (unsigned long n = 0; n < m->nr; n++) {
		const struct as_page *src = &from->pg[n];
		struct as_page *dst = &to->pg[n];

		if (!src->flags || src->flags & AS_DONTFORK)
			continue;
		*dst = *src;
		dst->flags &= ~(uint32_t)AS_LOCK;
		dst->data = NULL;
		if (src->flags & AS_WIPE)
			dst->guard = dst->here = false;
		else if (src->data)
			dst->data = new_data(m, src->data->w);
	}
}

void as_exit(struct as_model *m, int p)
{
	for (unsigned long n = 0; n < m->nr; n++)
		clear(m, &m->p[p].pg[n]);
	m->p[p].alive = false;
}

void as_count(const struct as_model *m, int p, unsigned long *own, unsigned long *mapped)
{
	*own = *mapped = 0;
	for (unsigned long n = 0; n < m->nr; n++) {
		*own += m->p[p].pg[n].data != NULL;
		*mapped += m->p[p].pg[n].flags != 0;
	}
}
