// SPDX-License-Identifier: MIT
/*
 * as_calls.c - the memory calls, on the core and on the model.
 */
#include <errno.h>

#include "as_ops.h"

/* ---- areas ---- */

static unsigned long protection(unsigned long bits)
{
	static const u8 prots[] = { 3, 3, 3, 3, 3, 1, 1, 0, 7, 5, 2, 4 };

	return prots[bits % sizeof(prots)];
}

static unsigned long mmap_bits(const struct op *o, int *file)
{
	unsigned long b = o->bits, flags = MAP_PRIVATE | MAP_ANONYMOUS;

	*file = 0;
	if ((o->misc & 3) == 0) {
		*file = 1 + (int)((o->misc >> 2) % AS_FILES);
		flags = b & 1 ? MAP_SHARED : MAP_PRIVATE;
	} else if (b % 64 == 0) {
		flags = MAP_SHARED | MAP_ANONYMOUS;
	} else if (b % 16 == 1) {
		flags = MAP_DROPPABLE | MAP_ANONYMOUS;
	}
	flags |= b & 2 ? MAP_FIXED : 0;
	flags |= (b & 0x1c) == 4 ? MAP_FIXED_NOREPLACE : 0;
	flags |= (b & 0xe0) == 0x20 ? MAP_GROWSDOWN : 0;
	flags |= (b & 0xe0) == 0x40 ? MAP_STACK : 0;
	flags |= (b & 0xf00) == 0x100 ? MAP_LOCKED : 0;
	flags |= (b & 0xf00) == 0x200 ? MAP_NORESERVE : 0;
	flags |= (b & 0x7000) == 0x1000 ? MAP_POPULATE : 0;
	flags |= (b & 0x7000) == 0x2000 ? MAP_POPULATE | MAP_NONBLOCK : 0;
	if (o->illegal && o->misc & 4)
		flags ^= 1ul << (o->misc >> 3);
	return flags;
}

/*
 * No place for it? A stack's gap may be in the way; whatever has room for the gap, too, has room.
 */
static bool check_no_room(const struct op *o, unsigned long len)
{
	unsigned long free = 0;

	for (unsigned long n = 0; n < as.m.nr && len < as.m.nr * PAGE_SIZE; n++) {
		free = as.m.p[o->p].pg[n].flags ? 0 : free + 1;
		if (free * PAGE_SIZE >= len + as.m.gap * PAGE_SIZE)
			return differs("mmap with room", -ENOMEM, 0);
	}
	run.st->refused++;
	return true;
}

/* A call that replaces what is mapped, and fails late, has unmapped all of it or nothing. */
static void target_may_be_gone(const struct op *o, unsigned long addr, unsigned long len)
{
	unsigned long end = addr + ALIGN(len, PAGE_SIZE);

	as_view(o->p);
	for (unsigned long a = addr; a < end; a += PAGE_SIZE)
		if (as.view[as_nr(&as.m, a)].flags)
			return;
	as_munmap(&as.m, o->p, addr, len);
}

/* A place of the core's own choice, or the one that was asked for. */
static bool check_place(const struct op *o, long ret, long expected, unsigned long len)
{
	if (expected > 0)
		return ret == expected || differs("mmap", ret, expected);
	if (ret < 0)
		return ret == -ENOMEM ? check_no_room(o, len) : differs("mmap", ret, -ENOMEM);
	return as_place_ok(&as.m, o->p, (unsigned long)ret, len) || differs("place", ret, 0);
}

bool do_mmap(struct op *o)
{
	int file;
	unsigned long prot = protection(o->bits >> 4), flags = mmap_bits(o, &file);
	unsigned long offset = file ? (o->addr2 / PAGE_SIZE % AS_FILE_PAGES) * PAGE_SIZE : 0;
	unsigned long addr = o->bits & 2 || o->bits & 0x8000 ? o->addr : 0;
	long expected, ret;

	if (file && !o->illegal && o->len > (AS_FILE_PAGES * PAGE_SIZE - offset))
		o->len = AS_FILE_PAGES * PAGE_SIZE - offset;
	describe("mmap(%#lx, %#lx, %lu, %#lx, %d, %#lx)", addr, o->len, prot, flags, file, offset);
	expected = as_mmap_check(&as.m, o->p, addr, o->len, flags, file, offset);
	ret = ON_CORE(o, vm_mmap(o->mm, addr, o->len, prot, flags, file ? &as.file[file - 1] : NULL,
				 offset));
	if (ret == expected && expected < 0) {
		run.st->refused++;
		/* an object's own refusal comes late */
		if (ret == -ENXIO && flags & MAP_FIXED)
			target_may_be_gone(o, addr, o->len);
		return true;
	}
	/* the most that can be promised is a limit of its own */
	if (ret == -ENOMEM && (as_excused() || (as.m.never && expected >= 0))) {
		run.st->short_of++;
		if (file && flags & MAP_FIXED)
			target_may_be_gone(o, addr, o->len);
		return true;
	}
	/* the place is looked for before the kind is looked at */
	if (expected < 0 && ret == -ENOMEM && !(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
		return check_no_room(o, o->len);
	if (expected < 0)
		return differs("mmap", ret, expected);
	if (!check_place(o, ret, expected, o->len))
		return false;
	if (ret > 0) {
		as_mmap_apply(&as.m, o->p, (unsigned long)ret, o->len, prot, flags, file, offset);
		as_adopt_copies(o->p);
	}
	return true;
}

bool do_munmap(struct op *o)
{
	int ret;

	describe("munmap(%#lx, %#lx)", o->addr, o->len);
	ret = ON_CORE(o, vm_munmap(o->mm, o->addr, o->len));
	if (excuse(ret, -ENOMEM))
		return true;
	return simple("munmap", ret, as_munmap(&as.m, o->p, o->addr, o->len));
}

/* How far a call got that changes areas one by one: the first page that is not as @mask says. */
static unsigned long got_to(const struct op *o, unsigned long addr, unsigned long end, u32 mask,
			    u32 flags)
{
	as_view(o->p);
	for (; addr < end && as_in(&as.m, addr); addr += PAGE_SIZE)
		if ((as.view[as_nr(&as.m, addr)].flags & mask) != flags)
			break;
	return addr;
}

bool do_mprotect(struct op *o)
{
	unsigned long prot = protection(o->bits), start, from, stop = ~0ul;
	int ret, expected;

	if (o->illegal && o->misc & 8)
		prot |= o->misc & 16 ? PROT_GROWSDOWN : o->misc & 32 ? PROT_GROWSUP : 0x10;
	describe("mprotect(%#lx, %#lx, %#lx)", o->addr, o->len, prot);
	as_view(o->p);
	start = as_area_start(o->addr);
	from = prot & PROT_GROWSDOWN ? start : o->addr;
	ret = ON_CORE(o, vm_mprotect(o->mm, o->addr, o->len, prot));
	/* not enough to promise is a reason as well */
	if (ret == -ENOMEM && (as_excused() || as.m.never) && as_in(&as.m, from)) {
		if (!as.m.p[o->p].pg[as_nr(&as.m, from)].flags || !o->len)
			return true;
		stop = got_to(o, from, as.m.end, AS_ACCESS,
			      (prot & 1 ? AS_R : 0) | (prot & 2 ? AS_W : 0) |
				      (prot & 4 ? AS_X : 0));
		run.st->short_of++;
		as_mprotect(&as.m, o->p, o->addr, o->len, prot, start, stop);
		as_adopt_copies(o->p);
		return true;
	}
	expected = as_mprotect(&as.m, o->p, o->addr, o->len, prot, start, stop);
	/* what is locked has been copied by now */
	as_adopt_copies(o->p);
	return simple("mprotect", ret, expected);
}

bool do_mremap(struct op *o)
{
	static const u8 some[] = { 0, 1, 1, 1, 3, 3, 5, 7 };
	unsigned long flags = some[o->bits & 7], new_len = o->len, to = o->addr2;
	unsigned long end, old_len;
	bool in_place;
	long ret, expected;

	as_view(o->p);
	end = as_area_end(o->addr);
	old_len =
		o->bits & 8 && end > o->addr && end - o->addr < 1ul << 30 ? end - o->addr : o->len;
	if ((o->bits & 0x70) == 0)
		old_len = 0;
	if (flags & 4 || o->bits & 0x80)
		new_len = old_len;
	else if (o->bits & 0x100)
		new_len = old_len + (o->bits >> 12) * PAGE_SIZE;
	if (o->illegal && o->misc & 8)
		flags = o->misc >> 4;
	describe("mremap(%#lx, %#lx, %#lx, %lu, %#lx)", o->addr, old_len, new_len, flags, to);
	expected =
		as_mremap_check(&as.m, o->p, o->addr, old_len, new_len, flags, to, end, &in_place);
	ret = ON_CORE(o, vm_mremap(o->mm, o->addr, old_len, new_len, flags, to));
	if (ret < 0 && ret == expected) {
		run.st->refused++;
		return true;
	}
	if (expected < 0)
		return differs("mremap", ret, expected);
	if (ret < 0) {
		/* no place of its own choice, no promise, no memory */
		if (ret != -ENOMEM ||
		    (!excuse(ret, -ENOMEM) && !as.m.never && (flags & MREMAP_FIXED || in_place)))
			return differs("mremap", ret, expected);
		if (flags & MREMAP_FIXED)
			target_may_be_gone(o, to, new_len);
		return true;
	}
	if (in_place && (unsigned long)ret != o->addr)
		return differs("mremap in place", ret, (long)o->addr);
	if (!in_place && flags & MREMAP_FIXED && (unsigned long)ret != to)
		return differs("mremap to a place", ret, (long)to);
	if (!in_place && !(flags & MREMAP_FIXED) &&
	    !as_place_ok(&as.m, o->p, (unsigned long)ret, new_len))
		return differs("mremap to a free place", ret, 0);
	as_mremap_apply(&as.m, o->p, o->addr, old_len, new_len, flags, (unsigned long)ret);
	as_adopt_copies(o->p);
	return true;
}

/* Has advice taken effect on this page? For advice that ended half-way. */
struct half_way {
	const struct op *o;
	int advice;
};

static bool took_effect(void *arg, unsigned long addr)
{
	const struct half_way *h = arg;
	const struct as_page *pg = as_page(&as.m, h->o->p, addr);
	u32 now = as.view[as_nr(&as.m, addr)].flags;
	bool guard;
	bool gone = as_pfn_at(h->o->p, addr, &guard) == ~0ul;

	switch (h->advice) {
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
		return gone;
	case MADV_GUARD_INSTALL:
		return guard;
	case MADV_GUARD_REMOVE:
		return !guard;
	case MADV_FREE:
		/* perhaps: then the page may go */
		return true;
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
	case MADV_COLD:
	case MADV_WILLNEED:
		return false;
	default:
		return now != pg->flags;
	}
}

static bool is_populate(int advice)
{
	return advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;
}

bool do_madvise(struct op *o)
{
	static const u8 advices[] = {
		MADV_NORMAL,
		MADV_RANDOM,
		MADV_SEQUENTIAL,
		MADV_WILLNEED,
		MADV_DONTNEED,
		MADV_DONTNEED,
		MADV_DONTNEED,
		MADV_FREE,
		MADV_FREE,
		MADV_DONTFORK,
		MADV_DOFORK,
		MADV_DOFORK,
		MADV_HUGEPAGE,
		MADV_HUGEPAGE,
		MADV_NOHUGEPAGE,
		MADV_DONTDUMP,
		MADV_DODUMP,
		MADV_WIPEONFORK,
		MADV_KEEPONFORK,
		MADV_COLD,
		MADV_POPULATE_READ,
		MADV_POPULATE_WRITE,
		MADV_POPULATE_WRITE,
		MADV_DONTNEED_LOCKED,
		MADV_GUARD_INSTALL,
		MADV_GUARD_INSTALL,
		MADV_GUARD_REMOVE,
		MADV_GUARD_REMOVE,
		5,
		200,
	};
	struct half_way half = { o, advices[o->bits % sizeof(advices)] };
	int ret, expected;

	describe("madvise(%#lx, %#lx, %d)", o->addr, o->len, half.advice);
	ret = ON_CORE(o, vm_madvise(o->mm, o->addr, o->len, half.advice));
	as_view(o->p);
	if (as_excused() && (ret == -ENOMEM || ret == -EAGAIN)) {
		run.st->short_of++;
		as_madvise(&as.m, o->p, o->addr, o->len, half.advice, took_effect, &half);
		as_adopt_copies(o->p);
		as_adopt_freed(o->p);
		return true;
	}
	if (is_populate(half.advice) && ret == -EFAULT && as_excused()) {
		/* what could not be read */
		run.st->short_of++;
		as_adopt_copies(o->p);
		return true;
	}
	expected = as_madvise(&as.m, o->p, o->addr, o->len, half.advice, NULL, NULL);
	if (half.advice == MADV_FREE)
		as_adopt_freed(o->p);
	if (is_populate(half.advice) && ret < 0)
		as_adopt_copies(o->p);
	return simple("madvise", ret, expected);
}

bool do_collapse(struct op *o)
{
	unsigned int order = o->bits & 1 ? OCTAVO_TABLE_BITS : 2;
	unsigned long size = PAGE_SIZE << order, addr = ALIGN_DOWN(o->addr, size);
	int ret;

	if (o->bits & 2) {
		describe("madvise(%#lx, %#lx, COLLAPSE)", addr, o->len);
		ret = ON_CORE(o, vm_madvise(o->mm, addr, o->len, MADV_COLLAPSE));
	} else {
		describe("collapse_range(%#lx, %u)", addr, order);
		ret = ON_CORE(o, collapse_range(o->mm, addr, order, o->misc));
	}
	run.st->moved += ret == 0;
	/* contents and areas are what they were, whatever it says */
	return ret <= 0 || differs("collapse", ret, 0);
}

bool do_brk(struct op *o)
{
	unsigned long brk = o->illegal ? o->addr2 : as.m.p[o->p].start + (o->len & ~7ul) / 2;
	unsigned long before = as.m.p[o->p].brk, ret;

	describe("brk(%#lx)", brk);
	ret = ON_CORE(o, vm_brk(o->mm, brk));
	if (ret == before && brk != before && (as_excused() || as.m.never)) {
		run.st->short_of++;
		return true;
	}
	return simple("brk", (long)ret, (long)as_brk(&as.m, o->p, brk));
}

/* ---- locked memory ---- */

bool do_mlock(struct op *o)
{
	int flags = o->bits & 1 ? (int)MLOCK_ONFAULT : 0, ret, expected;
	u32 lock = AS_LOCKED | (flags ? AS_ONFAULT : 0);

	describe("mlock(%#lx, %#lx, %d)", o->addr, o->len, flags);
	ret = ON_CORE(o, vm_mlock(o->mm, o->addr, o->len, flags));
	if (as_excused() && (ret == -ENOMEM || ret == -EAGAIN)) {
		unsigned long addr = o->addr & PAGE_MASK, end = addr;

		run.st->short_of++;
		as_view(o->p);
		/* areas that cannot be locked do not say how far it got: those after do */
		for (; as_in(&as.m, addr) && addr < o->addr + o->len; addr += PAGE_SIZE)
			if ((as.view[as_nr(&as.m, addr)].flags & AS_LOCK) == lock)
				end = addr + PAGE_SIZE;
			else if (!(as.view[as_nr(&as.m, addr)].flags & (AS_SPECIAL | AS_DROP)))
				break;
		as_mlock(&as.m, o->p, o->addr, o->len, lock, end);
		as_adopt_copies(o->p);
		return true;
	}
	expected = as_mlock(&as.m, o->p, o->addr, o->len, lock, ~0ul);
	if (!expected)
		expected = as_populate(&as.m, o->p, o->addr, o->len);
	as_adopt_copies(o->p);
	return simple("mlock", ret, expected);
}

bool do_munlock(struct op *o)
{
	int ret;

	describe("munlock(%#lx, %#lx)", o->addr, o->len);
	ret = ON_CORE(o, vm_munlock(o->mm, o->addr, o->len));
	if (excuse(ret, -ENOMEM)) {
		unsigned long stop = got_to(o, o->addr & PAGE_MASK, as.m.end, AS_LOCK, 0);

		as_mlock(&as.m, o->p, o->addr, o->len, 0, stop);
		return true;
	}
	return simple("munlock", ret, as_mlock(&as.m, o->p, o->addr, o->len, 0, ~0ul));
}

bool do_lockall(struct op *o)
{
	int flags = (int)(o->bits >> 1 & (o->illegal ? 15 : 7)), ret;

	/* no failures here: which areas stay as they were would be anybody's guess */
	o->fail = 0;
	if (o->bits & 1) {
		describe("munlockall()");
		ret = ON_CORE(o, vm_munlockall(o->mm));
		as_munlockall(&as.m, o->p);
		return simple("munlockall", ret, 0);
	}
	describe("mlockall(%d)", flags);
	if (nr_free_pages() < as.m.nr)
		flags &= ~MCL_CURRENT;
	ret = ON_CORE(o, vm_mlockall(o->mm, flags));
	if (!simple("mlockall", ret, as_mlockall(&as.m, o->p, flags)))
		return false;
	as_adopt_copies(o->p);
	return true;
}

bool do_mincore(struct op *o)
{
	static unsigned char vec[AS_MAX_PAGES];
	int ret, expected = as_mincore(&as.m, o->p, o->addr, o->len);

	describe("mincore(%#lx, %#lx)", o->addr, o->len);
	if (o->len > as.m.nr * PAGE_SIZE && expected == 0)
		return true;
	ret = ON_CORE(o, vm_mincore(o->mm, o->addr, o->len, vec));
	for (unsigned long i = 0; !ret && i < (o->len + PAGE_SIZE - 1) / PAGE_SIZE; i++) {
		unsigned long at = o->addr + i * PAGE_SIZE;
		const struct as_page *pg = as_page(&as.m, o->p, at);
		bool guard, slot = as_pfn_at(o->p, at, &guard) == AS_IN_SLOT;

		if (vec[i] > 1 || (pg->data && !slot && !vec[i]) || (pg->guard && vec[i]))
			return as_wrong("mincore: page %lu is %u", i, vec[i]);
	}
	return simple("mincore", ret, expected);
}
