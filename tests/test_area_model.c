/* SPDX-License-Identifier: MIT */
/*
 * test_area_model.c - random memory calls on an address space and on a naive model: a sorted array of areas, an array of
 * bytes. After each call: the same result, the same areas, the same numbers; now and then every byte.
 *
 * The model knows the limits and foretells each error. One call in twenty asks for something illegal. Where steps
 * can be made to fail, one in ten runs out of memory, and then nothing may have changed.
 */
#include "space_machine.h"

#define PAGES 64ul
#define MAX_M 128u

struct m_area {
	unsigned long start, end, pgoff; /* pages; @start and @end from BASE */
	vm_flags_t flags;
	u32 anon; /* which reverse map; 0: none */
};

static struct m_area m[MAX_M];
static u32 nr_m, last_anon;
static u8 bytes[PAGES];
static u64 seed;
static struct mm_struct *mm;
static u64 commit_limit;
/* Then nothing is locked: to bring pages in is done as well as it can be, after the call. */
static bool injecting;

#define M_FLAGS                                                                       \
	(VM_ACCESS_FLAGS | VM_LOCKED_MASK | VM_ACCOUNT | VM_NORESERVE | VM_DONTCOPY | \
	 VM_WIPEONFORK | VM_NOHUGEPAGE)

/* ---- the model ---- */

static void m_insert(u32 at, struct m_area a)
{
	assert_true(nr_m < MAX_M);
	memmove(m + at + 1, m + at, (nr_m - at) * sizeof(*m));
	m[at] = a;
	nr_m++;
}

static void m_delete(u32 at)
{
	nr_m--;
	memmove(m + at, m + at + 1, (nr_m - at) * sizeof(*m));
}

/* The first area that ends after @page; nr_m: none. */
static u32 m_find(unsigned long page)
{
	u32 i = 0;

	while (i < nr_m && m[i].end <= page)
		i++;
	return i;
}

static void m_split(unsigned long page)
{
	u32 i = m_find(page);
	struct m_area a;

	if (i == nr_m || m[i].start >= page)
		return;
	a = m[i];
	a.pgoff += page - a.start;
	a.start = page;
	m[i].end = page;
	m_insert(i + 1, a);
}

static bool m_merge(u32 i)
{
	if (i + 1 >= nr_m || m[i].end != m[i + 1].start || m[i].flags != m[i + 1].flags ||
	    m[i].pgoff + m[i].end - m[i].start != m[i + 1].pgoff ||
	    (m[i].anon && m[i + 1].anon && m[i].anon != m[i + 1].anon))
		return false;
	m[i].end = m[i + 1].end;
	if (!m[i].anon)
		m[i].anon = m[i + 1].anon;
	m_delete(i + 1);
	return true;
}

/* The area that has @page, with those before and behind. */
static void m_merge_around(unsigned long page)
{
	u32 i = m_find(page);

	if (i && m_merge(i - 1))
		i--;
	m_merge(i);
}

static void m_unmap(unsigned long start, unsigned long end)
{
	m_split(start);
	m_split(end);
	for (u32 i = m_find(start); i < nr_m && m[i].start < end;)
		m_delete(i);
	memset(bytes + start, 0, end - start);
}

static unsigned long m_sum(vm_flags_t mask, vm_flags_t flags, unsigned long start,
			   unsigned long end)
{
	unsigned long n = 0;

	for (u32 i = 0; i < nr_m; i++)
		if ((m[i].flags & mask) == flags && m[i].start < end && m[i].end > start)
			n += min(end, m[i].end) - max(start, m[i].start);
	return n;
}

#define ALL_PAGES 0, PAGES

static bool m_hole(unsigned long start, unsigned long end)
{
	return m_sum(0, 0, start, end) < end - start;
}

/* Would it be a hole in the middle of one area? */
static bool m_makes_hole(unsigned long start, unsigned long end)
{
	u32 i = m_find(start);

	return i < nr_m && m[i].start < start && m[i].end > end;
}

/* ---- limits ---- */

static bool m_as_ok(unsigned long more, unsigned long less)
{
	return m_sum(0, 0, ALL_PAGES) - less + more <= mm->limits.as >> PAGE_SHIFT;
}

static bool m_data_ok(vm_flags_t flags, unsigned long more, unsigned long less)
{
	return !(flags & VM_WRITE) ||
	       m_sum(VM_WRITE, VM_WRITE, ALL_PAGES) - less + more <= mm->limits.data >> PAGE_SHIFT;
}

static bool m_commit_ok(unsigned long more, unsigned long less)
{
	return more <= less ||
	       m_sum(VM_ACCOUNT, VM_ACCOUNT, ALL_PAGES) + more - less <= commit_limit;
}

/* ---- calls: what must come of them; 0: it is done in the model ---- */

static bool one_in(u64 n)
{
	return rnd(&seed, n) == 0;
}

static unsigned long some_prot(void)
{
	static const unsigned long prots[] = { PROT_NONE, PROT_READ, RW, RW, PROT_WRITE };

	return prots[rnd(&seed, ARRAY_SIZE(prots))];
}

static vm_flags_t flags_of(unsigned long prot)
{
	return (prot & PROT_READ ? VM_READ : 0) | (prot & PROT_WRITE ? VM_WRITE : 0);
}

struct call {
	const char *name;
	unsigned long start, nr, arg, flags, to;
	bool alone; /* all or nothing: not part by part */
	long must, is;
};

static long m_mmap(struct call *c)
{
	unsigned long start = c->start, end = start + c->nr;
	vm_flags_t f = flags_of(c->arg);
	bool lock = c->flags & MAP_LOCKED;

	if (!c->nr)
		return -EINVAL;
	if (mm->map_count > mm->max_map_count)
		return -ENOMEM;
	if (c->flags & MAP_FIXED_NOREPLACE && m_sum(0, 0, start, end))
		return -EEXIST;
	if (lock &&
	    m_sum(VM_LOCKED, VM_LOCKED, ALL_PAGES) + c->nr > mm->limits.memlock >> PAGE_SHIFT)
		return -EAGAIN;
	if ((c->flags & 15) != MAP_PRIVATE)
		return -EINVAL;
	if (m_makes_hole(start, end) && nr_m >= mm->max_map_count)
		return -ENOMEM;
	if (!m_as_ok(c->nr, m_sum(0, 0, start, end)) ||
	    !m_data_ok(f, c->nr, m_sum(VM_WRITE, VM_WRITE, start, end)))
		return -ENOMEM;
	if (f & VM_WRITE && !m_commit_ok(c->nr, m_sum(VM_ACCOUNT, VM_ACCOUNT, start, end)))
		return -ENOMEM;
	if (f & VM_WRITE)
		f |= VM_ACCOUNT;
	if (lock)
		f |= VM_LOCKED;
	m_unmap(start, end);
	m_insert(m_find(start), (struct m_area){ start, end, start, f, 0 });
	m_merge_around(start);
	return 0;
}

/* That of a neighbour which differs in access rights alone, so that the two can be merged. */
static u32 m_neighbour_anon(u32 i, u32 j)
{
	if (j >= nr_m || (m[i].flags ^ m[j].flags) & ~VM_ACCESS_FLAGS ||
	    m[i].pgoff - m[i].start != m[j].pgoff - m[j].start ||
	    (m[i].end != m[j].start && m[j].end != m[i].start))
		return 0;
	return m[j].anon;
}

static void touched(unsigned long start, unsigned long end)
{
	for (u32 i = 0; i < nr_m; i++) {
		if (start >= end || m[i].start >= end || m[i].end <= start || m[i].anon)
			continue;
		m[i].anon = m_neighbour_anon(i, i - 1);
		if (!m[i].anon)
			m[i].anon = m_neighbour_anon(i, i + 1);
		if (!m[i].anon)
			m[i].anon = ++last_anon;
	}
}

/* What is locked, or filled, is written to if it can be. */
static void m_populate(unsigned long start, unsigned long end)
{
	for (u32 i = 0; i < nr_m; i++)
		if (m[i].flags & VM_WRITE && !(m[i].flags & VM_LOCKONFAULT))
			touched(max(start, m[i].start), min(end, m[i].end));
}

static long m_munmap(struct call *c)
{
	if (!c->nr)
		return -EINVAL;
	if (m_makes_hole(c->start, c->start + c->nr) && nr_m >= mm->max_map_count)
		return -ENOMEM;
	m_unmap(c->start, c->start + c->nr);
	return 0;
}

/* Flags of a part of area @i, with merges. Return: 0; -ENOMEM: too many areas. */
static long m_change(unsigned long start, unsigned long end, vm_flags_t flags)
{
	u32 i = m_find(start), before = nr_m, cuts = 0;
	struct m_area was[MAX_M];

	if (m[i].flags == flags)
		return 0;
	memcpy(was, m, sizeof(was));
	m_split(start);
	m_split(end);
	m[m_find(start)].flags = flags;
	cuts = nr_m - before;
	m_merge_around(start);
	/* cut only if no neighbour takes it; what takes a part needs no other area */
	if (nr_m == before + cuts && cuts && nr_m > mm->max_map_count) {
		memcpy(m, was, sizeof(was));
		nr_m = before;
		return -ENOMEM;
	}
	return 0;
}

/* Something locked has become writable. */
static bool m_to_bring_in;

static long m_protect_part(unsigned long start, unsigned long end, vm_flags_t access)
{
	u32 i = m_find(start);
	vm_flags_t old = m[i].flags, flags = (old & ~VM_ACCESS_FLAGS) | access;
	long err;

	if (flags == old)
		return 0;
	if (!(access & VM_WRITE) && !m[i].anon)
		flags &= ~VM_ACCOUNT;
	if (access & VM_WRITE && !(old & VM_WRITE) && !m_data_ok(VM_WRITE, end - start, 0))
		return -ENOMEM;
	if (access & VM_WRITE && !(old & (VM_WRITE | VM_ACCOUNT))) {
		if (!m_commit_ok(end - start, 0))
			return -ENOMEM;
		flags |= VM_ACCOUNT;
	}
	err = m_change(start, end, flags);
	m_to_bring_in |= !err && (old & (VM_LOCKED | VM_WRITE)) == VM_LOCKED && access & VM_WRITE;
	return err;
}

/* Part by part; a hole ends it. */
static long m_parts(struct call *c, long (*part)(unsigned long, unsigned long, vm_flags_t),
		    vm_flags_t arg)
{
	unsigned long at = c->start, end = c->start + c->nr;

	while (at < end) {
		u32 i = m_find(at);
		unsigned long part_end;
		long err;

		if (i == nr_m || m[i].start > at)
			return -ENOMEM;
		part_end = min(end, m[i].end);
		c->alone &= at == c->start && part_end == end;
		err = part(at, part_end, arg);
		if (err)
			return err;
		at = part_end;
	}
	return 0;
}

static long m_protect(struct call *c)
{
	unsigned long end = c->start + c->nr;
	long err;

	m_to_bring_in = false;
	err = m_parts(c, m_protect_part, flags_of(c->arg));
	for (u32 i = 0; i < nr_m && m_to_bring_in; i++)
		if (m[i].flags & VM_LOCKED && m[i].start < end && m[i].end > c->start)
			m_populate(max(c->start, m[i].start), min(end, m[i].end));
	return err;
}

static long m_lock_part(unsigned long start, unsigned long end, vm_flags_t lock)
{
	return m_change(start, end, (m[m_find(start)].flags & ~VM_LOCKED_MASK) | lock);
}

static long m_mlock(struct call *c, vm_flags_t lock)
{
	unsigned long start = c->start, end = start + c->nr;
	long err;

	if (lock && m_sum(VM_LOCKED, VM_LOCKED, ALL_PAGES) + c->nr -
				    m_sum(VM_LOCKED, VM_LOCKED, start, end) >
			    mm->limits.memlock >> PAGE_SHIFT)
		return -ENOMEM;
	err = m_parts(c, m_lock_part, lock);
	if (err || !lock || !c->nr)
		return err;
	/* up to the first page that cannot be had */
	for (u32 i = m_find(start); i < nr_m && m[i].start < end; i++)
		if (!(m[i].flags & VM_ACCESS_FLAGS) && !(m[i].flags & VM_LOCKONFAULT)) {
			m_populate(start, max(start, m[i].start));
			return -ENOMEM;
		}
	m_populate(start, end);
	return 0;
}

static vm_flags_t advice_set, advice_clear;

static long m_advise_part(unsigned long start, unsigned long end, vm_flags_t unused)
{
	long err = m_change(start, end, (m[m_find(start)].flags & ~advice_clear) | advice_set);

	return err == -ENOMEM ? -EAGAIN : err;
}

/* Holes are passed over. */
static long m_madvise(struct call *c)
{
	unsigned long at = c->start, end = c->start + c->nr;
	long ret = 0;

	while (at < end) {
		u32 i = m_find(at);
		unsigned long part_end;
		long err;

		if (i == nr_m || m[i].start >= end)
			return -ENOMEM;
		if (m[i].start > at)
			ret = -ENOMEM;
		at = max(at, m[i].start);
		part_end = min(end, m[i].end);
		c->alone &= at == c->start && part_end == end;
		err = m_advise_part(at, part_end, 0);
		if (err)
			return err;
		at = part_end;
	}
	return ret;
}

static long m_dontneed(struct call *c)
{
	unsigned long end = c->start + c->nr;

	for (u32 i = m_find(c->start); c->nr && i < nr_m && m[i].start < end; i++) {
		if (m[i].flags & VM_LOCKED)
			return -EINVAL;
		memset(bytes + max(c->start, m[i].start), 0,
		       min(end, m[i].end) - max(c->start, m[i].start));
	}
	return m_hole(c->start, end) ? -ENOMEM : 0;
}

static void m_move(const struct call *c, struct m_area src)
{
	unsigned long old = c->nr, new = c->arg, at = c->start, to = c->to;
	bool leave = c->flags & MREMAP_DONTUNMAP;
	u8 moved[PAGES] = { 0 };

	memcpy(moved, bytes + at, min(old, new));
	m_split(at);
	m_split(at + old);
	m_unmap(to, to + new);
	if (leave) {
		u32 i = m_find(at);

		m[i].flags &= ~VM_LOCKED_MASK;
		m[i].anon = 0;
		memset(bytes + at, 0, old);
	} else {
		m_unmap(at, at + old);
	}
	src.pgoff = src.anon ? src.pgoff + at - src.start : to;
	src.start = to;
	src.end = to + new;
	m_insert(m_find(to), src);
	memcpy(bytes + to, moved, min(old, new));
	m_merge_around(to);
	if (leave)
		m_merge_around(at);
}

static long m_mremap(struct call *c)
{
	unsigned long old = c->nr, new = c->arg, at = c->start, more = new > old ? new - old : 0;
	bool place = c->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
	struct m_area src;
	unsigned long end;
	u32 i;

	if (!new || (place && !(c->flags & MREMAP_MAYMOVE)))
		return -EINVAL;
	if (place && (c->to < at + old && at < c->to + new))
		return -EINVAL;
	if (c->flags & MREMAP_DONTUNMAP)
		more = new;
	i = m_find(at);
	if (i == nr_m || m[i].start > at)
		return -EFAULT;
	if (!place && new <= old) {
		if (new == old)
			return 0;
		if (m_makes_hole(at + new, at + old) && nr_m >= mm->max_map_count)
			return -ENOMEM;
		m_unmap(at + new, at + old);
		return 0;
	}
	if (!old)
		return -EINVAL;
	if (m[i].end - at < min(old, new))
		return -EFAULT;
	src = m[i];
	if (more && src.flags & VM_LOCKED && !(c->flags & MREMAP_DONTUNMAP) &&
	    m_sum(VM_LOCKED, VM_LOCKED, ALL_PAGES) + more > mm->limits.memlock >> PAGE_SHIFT)
		return -EAGAIN;
	end = place ? c->to + new : c->to;
	if (more && (!m_as_ok(more, m_sum(0, 0, c->to, end)) ||
		     !m_data_ok(src.flags, more, m_sum(VM_WRITE, VM_WRITE, c->to, end)) ||
		     (src.flags & VM_ACCOUNT &&
		      !m_commit_ok(more, m_sum(VM_ACCOUNT, VM_ACCOUNT, c->to, end)))))
		return -ENOMEM;
	if (!place) {
		if (at + old != src.end || m_sum(0, 0, src.end, at + new))
			return -ENOMEM;
		m_insert(i + 1, (struct m_area){ src.end, at + new, src.pgoff + src.end - src.start,
						 src.flags, src.anon });
		m_merge_around(src.end);
		if (src.flags & VM_LOCKED)
			m_populate(at + old, at + new);
		return 0;
	}
	if (nr_m + 4 > mm->max_map_count)
		return -ENOMEM;
	m_move(c, src);
	if (src.flags & VM_LOCKED && new > old)
		m_populate(c->to + old, c->to + new);
	return 0;
}

/* ---- both ---- */

static void choose(struct call *c)
{
	*c = (struct call){ .start = rnd(&seed, PAGES), .alone = true };
	c->nr = 1 + rnd(&seed, one_in(4) ? PAGES : 8);
	c->nr = min(c->nr, PAGES - c->start);
	if (one_in(60))
		c->nr = 0;
	c->arg = some_prot();
}

static struct m_area was[MAX_M];
static u32 nr_was, was_anon;
static u8 was_bytes[PAGES];

/* Between these two the core is called, and may be out of memory. */
static void begin(void)
{
	memcpy(was, m, sizeof(m));
	memcpy(was_bytes, bytes, sizeof(bytes));
	nr_was = nr_m;
	was_anon = last_anon;
}

static void arm(bool faults)
{
#if OCTAVO_FAULTS
	if (faults && one_in(10)) {
		range_tree_unreserve(&mm->vmas);
		octavo_fault_arm(1 + (u32)rnd(&seed, 6), one_in(2), OCTAVO_FAULT_SLAB);
	}
#endif
}

/* Return: true: the call had no memory, and did nothing. */
static bool disarm(const struct call *c, bool armed)
{
#if OCTAVO_FAULTS
	if (armed && octavo_fault_disarm() && c->is != c->must &&
	    (c->is == -ENOMEM || c->is == -EAGAIN)) {
		memcpy(m, was, sizeof(m));
		memcpy(bytes, was_bytes, sizeof(bytes));
		nr_m = nr_was;
		last_anon = was_anon;
		return true;
	}
#endif
	return false;
}

static void check(const struct call *c, u64 nr)
{
	static struct areas l;
	bool ok = c->must == c->is;

	areas_get(mm, &l);
	ok &= l.nr == nr_m;
	for (u32 i = 0; i < nr_m && ok; i++) {
		const struct vm_area_struct *vma = vma_lookup(mm, PG(m[i].start));

		ok &= l.a[i].start == PG(m[i].start) && l.a[i].end == PG(m[i].end) &&
		      (l.a[i].flags & M_FLAGS) == m[i].flags &&
		      vma->vm_pgoff == m[i].pgoff + (BASE >> PAGE_SHIFT) &&
		      !vma->anon_vma == !m[i].anon;
	}
	if (ok)
		return;
	for (u32 i = 0; i < nr_m; i++)
		print_error("model %2lu-%2lu flags %lx pgoff %ld anon %u\n", m[i].start, m[i].end,
			    m[i].flags, (long)m[i].pgoff, m[i].anon);
	mm_dump(mm);
	fail_msg("call %lu: %s(%lu, %lu, 0x%lx, 0x%lx, %lu) is %ld, must be %ld", nr, c->name,
		 c->start, c->nr, c->arg, c->flags, c->to, c->is, c->must);
}

static void check_bytes(void)
{
	for (u32 i = 0; i < nr_m; i++)
		for (unsigned long p = m[i].start; p < m[i].end; p++) {
			u8 v = 0xee;
			vm_fault_t f = sim_load(PG(p) + 7, &v, 1);

			if (m[i].flags & VM_ACCESS_FLAGS)
				assert_true(!f && v == bytes[p]);
			else
				assert_int_equal(f, VM_FAULT_SIGSEGV);
		}
}

static void do_mmap(struct call *c)
{
	c->name = "mmap";
	c->flags = ANON | (one_in(4) ? MAP_FIXED_NOREPLACE : MAP_FIXED);
	if (one_in(8) && !injecting)
		c->flags |= MAP_LOCKED;
	if (one_in(60))
		c->flags &= ~(unsigned long)MAP_PRIVATE;
	c->must = m_mmap(c);
	c->is = vm_mmap(mm, PG(c->start), SIZE(c->nr), c->arg, c->flags, NULL, 0);
	if (c->is == (long)PG(c->start))
		c->is = 0;
	if (!c->must && c->flags & MAP_LOCKED)
		m_populate(c->start, c->start + c->nr);
}

static void do_area_call(struct call *c)
{
	static const struct {
		int advice;
		vm_flags_t set, clear;
	} advices[] = {
		{ MADV_DONTFORK, VM_DONTCOPY, 0 },     { MADV_DOFORK, 0, VM_DONTCOPY },
		{ MADV_WIPEONFORK, VM_WIPEONFORK, 0 }, { MADV_KEEPONFORK, 0, VM_WIPEONFORK },
		{ MADV_NOHUGEPAGE, VM_NOHUGEPAGE, 0 }, { MADV_HUGEPAGE, 0, VM_NOHUGEPAGE },
	};
	size_t a = rnd(&seed, ARRAY_SIZE(advices) - 1);
	vm_flags_t lock = one_in(2) || injecting ? 0 : one_in(2) ? VM_LOCKED : VM_LOCKED_MASK;

	switch (rnd(&seed, 4)) {
	case 0:
		c->name = "madvise";
		c->arg = (unsigned long)advices[a].advice;
		advice_set = advices[a].set;
		advice_clear = advices[a].clear;
		c->must = m_madvise(c);
		c->is = vm_madvise(mm, PG(c->start), SIZE(c->nr), (int)c->arg);
		break;
	case 1:
		c->name = lock ? "mlock" : "munlock";
		c->must = m_mlock(c, lock);
		c->is = lock ? vm_mlock(mm, PG(c->start), SIZE(c->nr),
					lock & VM_LOCKONFAULT ? MLOCK_ONFAULT : 0)
			     : vm_munlock(mm, PG(c->start), SIZE(c->nr));
		break;
	default:
		c->name = "mprotect";
		c->must = m_protect(c);
		c->is = vm_mprotect(mm, PG(c->start), SIZE(c->nr), c->arg);
		break;
	}
}

static void do_mremap(struct call *c)
{
	c->name = "mremap";
	c->arg = 1 + rnd(&seed, 10);
	c->to = rnd(&seed, PAGES);
	if (one_in(2))
		c->flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	if (one_in(4)) {
		c->flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
		c->arg = c->nr;
	}
	if (one_in(50))
		c->flags ^= MREMAP_MAYMOVE;
	if (c->flags == MREMAP_MAYMOVE)
		c->flags = 0;
	if (c->to + c->arg > PAGES)
		c->to = PAGES - min(c->arg, PAGES);
	if (c->start + c->arg > PAGES && !(c->flags & MREMAP_DONTUNMAP))
		c->arg = 1;
	c->must = m_mremap(c);
	c->is = vm_mremap(mm, PG(c->start), SIZE(c->nr), SIZE(c->arg), c->flags, PG(c->to));
	if (c->is > 0) {
		assert_int_equal(c->is, c->flags & MREMAP_FIXED ? PG(c->to) : PG(c->start));
		c->is = 0;
	}
}

static void do_touch(struct call *c)
{
	u32 i = m_find(c->start);
	u8 v = (u8)(1 + rnd(&seed, 255));

	c->name = "store";
	c->must = i < nr_m && m[i].start <= c->start && m[i].flags & VM_WRITE;
	if (c->must) {
		touched(c->start, c->start + 1);
		bytes[c->start] = v;
	}
	c->is = !sim_store(PG(c->start) + 7, &v, 1);
}

/* Which calls change nothing if there is no memory. */
static bool may_run_out(u64 which)
{
	return which < 4;
}

static void random_calls(u64 nr, bool faults)
{
	for (u64 i = 0; i < nr; i++) {
		u64 which = rnd(&seed, 10);
		bool armed = faults && may_run_out(which);
		struct call c;

		choose(&c);
		begin();
		if (armed)
			arm(true);
		switch (which) {
		case 0 ... 1:
			do_mmap(&c);
			break;
		case 2:
			do_mremap(&c);
			break;
		case 3:
			c.name = "munmap";
			c.must = m_munmap(&c);
			c.is = vm_munmap(mm, PG(c.start), SIZE(c.nr));
			break;
		case 4 ... 6:
			do_area_call(&c);
			break;
		case 7:
			c.name = "dontneed";
			c.must = m_dontneed(&c);
			c.is = vm_madvise(mm, PG(c.start), SIZE(c.nr), MADV_DONTNEED);
			break;
		default:
			do_touch(&c);
			break;
		}
		if (disarm(&c, armed))
			c.is = c.must;
		check(&c, i);
		if (i % 64 == 0)
			check_bytes();
		if (i % 256 == 0)
			assert_true(octavo_validate());
	}
	check_bytes();
}

static void run(u64 nr, u64 from, bool faults)
{
	seed = from * 0x9e3779b97f4a7c15ull + 1;
	nr_m = 0;
	last_anon = 0;
	injecting = faults;
	memset(bytes, 0, sizeof(bytes));
	mm = space_boot();
	sim_mm_use(mm);
	if (from & 1) {
		mm->limits.as = SIZE(PAGES * 3 / 4);
		mm->limits.data = SIZE(PAGES / 2);
	}
	mm->limits.memlock = from & 2 ? SIZE(10) : ~0ul;
	mm->max_map_count = from & 4 ? 14 : 65530;
	commit_limit = from & 8 ? PAGES / 2 : ~0ul;
	assert_int_equal(vm_set_overcommit(OVERCOMMIT_NEVER, commit_limit), 0);
	random_calls(nr, faults);
	assert_int_equal(vm_munmap(mm, BASE, SIZE(PAGES)), 0);
	space_end(mm);
}

static void test_area_model(void **state)
{
	for (u64 from = 0; from < 16; from++)
		run(3000, from, false);
}

#if OCTAVO_FAULTS
static void test_area_model_out_of_memory(void **state)
{
	for (u64 from = 0; from < 16; from++)
		run(1500, from, true);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_area_model),
#if OCTAVO_FAULTS
		TEST(test_area_model_out_of_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
