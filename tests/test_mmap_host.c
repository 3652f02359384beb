/* SPDX-License-Identifier: MIT */
/*
 * test_mmap_host.c - the same random memory calls on this process and on an address space of the core: same results,
 * same list of areas as /proc/self/maps has, same bytes. Linux is the oracle, where it is what runs here.
 *
 * On this process only fixed addresses in a region of our own are touched. What differs by design or by version of
 * Linux is left out: docs/addrspace.md "What is different".
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <octavo/gup.h>

#include "space_machine.h"

/*
 * Not mremap() of the C library, which has its own ideas of the fifth argument; nor its mlock() and the like, which
 * do nothing under the address sanitizer.
 */
#define host_mremap(a, o, n, f, t) syscall(SYS_mremap, a, o, n, f, t)

#define PAGES	    64ul /* of the region */
#define SMAPS_EVERY 50u
#define MARGIN	    1024ul /* pages around it that stay free on both sides */

static unsigned long region;

static u64 seed;

/* ---- the host ---- */

static struct areas host_areas;
static char maps_text[1 << 20];

static unsigned long hex(const char **p)
{
	unsigned long v = 0;

	for (;; (*p)++) {
		char c = **p;

		if (c >= '0' && c <= '9')
			v = v << 4 | (unsigned long)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (unsigned long)(c - 'a' + 10);
		else
			return v;
	}
}

/* The two letters of a line of VmFlags. */
static vm_flags_t flag_of(const char *p)
{
	static const struct {
		char name[3];
		vm_flags_t flag;
	} flags[] = {
		{ "lo", VM_LOCKED },	{ "lf", VM_LOCKONFAULT }, { "gd", VM_GROWSDOWN },
		{ "ac", VM_ACCOUNT },	{ "nr", VM_NORESERVE },	  { "dc", VM_DONTCOPY },
		{ "dd", VM_DONTDUMP },	{ "wf", VM_WIPEONFORK },  { "sr", VM_SEQ_READ },
		{ "rr", VM_RAND_READ }, { "hg", VM_HUGEPAGE },	  { "nh", VM_NOHUGEPAGE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (p[0] == flags[i].name[0] && p[1] == flags[i].name[1])
			return flags[i].flag;
	return 0;
}

#define HOST_FLAGS                                                                              \
	(VM_ACCESS_FLAGS | VM_LOCKED_MASK | VM_GROWSDOWN | VM_ACCOUNT | VM_NORESERVE |          \
	 VM_DONTCOPY | VM_DONTDUMP | VM_WIPEONFORK | VM_SEQ_READ | VM_RAND_READ | VM_HUGEPAGE | \
	 VM_NOHUGEPAGE)

/* A line that begins an area. Return: false: not one of ours. */
static bool parse_area(const char *p, struct area *a)
{
	a->start = hex(&p);
	p++;
	a->end = hex(&p);
	a->flags = (p[1] == 'r' ? VM_READ : 0) | (p[2] == 'w' ? VM_WRITE : 0) |
		   (p[3] == 'x' ? VM_EXEC : 0);
	return a->start >= region && a->end <= region + SIZE(PAGES + MARGIN);
}

/* @name: maps, or smaps, which has all flags and takes its time. False: there is none. */
static bool read_maps(const char *name)
{
	int fd = open(name, O_RDONLY);
	bool ours = false;
	size_t n = 0;
	ssize_t got;

	if (fd < 0)
		return false;
	while ((got = read(fd, maps_text + n, sizeof(maps_text) - 1 - n)) > 0)
		n += (size_t)got;
	close(fd);
	maps_text[n] = '\0';
	host_areas.nr = 0;
	for (const char *p = maps_text; *p; p++) {
		if ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f')) {
			ours = parse_area(p, &host_areas.a[host_areas.nr]);
			host_areas.nr += ours;
		} else if (ours && !strncmp(p, "VmFlags: ", 9)) {
			for (p += 9; *p != '\n'; p += 3)
				host_areas.a[host_areas.nr - 1].flags |= flag_of(p);
			continue;
		}
		while (*p != '\n')
			p++;
	}
	return n > 0;
}

/* A hole far below where Linux, from the top down, puts threads' stacks and the like. */
static bool find_region(void)
{
	unsigned long len = SIZE(PAGES + 2 * MARGIN);

	for (unsigned long at = 0x20000000; at < 0x70000000; at += 0x1000000) {
		void *p = mmap((void *)at, len, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
			       -1, 0);

		if (p == MAP_FAILED)
			continue;
		munmap(p, len);
		region = at + SIZE(MARGIN);
		return true;
	}
	return false;
}

/* Accesses by the kernel for us, which fail where an instruction of ours would be the end of it. */
static int pipes[2];

static bool host_load(unsigned long addr, u64 *v)
{
	if (write(pipes[1], (const void *)addr, sizeof(*v)) != sizeof(*v))
		return false;
	assert_int_equal(read(pipes[0], v, sizeof(*v)), sizeof(*v));
	return true;
}

static bool host_store(unsigned long addr, u64 v)
{
	assert_int_equal(write(pipes[1], &v, sizeof(v)), sizeof(v));
	if (read(pipes[0], (void *)addr, sizeof(v)) == sizeof(v))
		return true;
	assert_int_equal(read(pipes[0], &v, sizeof(v)), sizeof(v));
	return false;
}

/* What of the pages is there, by /proc/self/pagemap, and where guards are. */
static struct {
	bool there, guard;
} host_pages[PAGES];

static bool read_pagemap(void)
{
	static u64 entries[PAGES];
	int fd = open("/proc/self/pagemap", O_RDONLY);
	ssize_t got =
		fd < 0 ? -1
		       : pread(fd, entries, sizeof(entries), (off_t)(region >> PAGE_SHIFT) * 8);

	if (fd >= 0)
		close(fd);
	for (unsigned int i = 0; i < PAGES; i++) {
		/* in memory; or in swap, where ours never is, and where guards seem to be */
		host_pages[i].guard = entries[i] >> 58 & 1;
		host_pages[i].there = entries[i] >> 62 && !host_pages[i].guard;
	}
	return got == sizeof(entries);
}

/* The rules of Linux change now and then; these are those of 6.17. */
static bool host_is_new(void)
{
	unsigned int major, minor;
	struct utsname u;

	return !uname(&u) && !strcmp(u.sysname, "Linux") &&
	       sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 17));
}

/* ---- both ---- */

static bool one_in(u64 n)
{
	return rnd(&seed, n) == 0;
}

struct call {
	const char *name;
	unsigned long addr, len, arg, arg2, to;
};

static void fail_call(struct mm_struct *mm, const struct call *c, u64 nr, long host, long ours)
{
	for (u32 i = 0; i < host_areas.nr; i++)
		print_error("host %3ld-%3ld %lx\n",
			    (long)(host_areas.a[i].start - region) >> PAGE_SHIFT,
			    (long)(host_areas.a[i].end - region) >> PAGE_SHIFT,
			    host_areas.a[i].flags);
	mm_dump(mm);
	fail_msg("call %lu: %s(page %ld, 0x%lx, 0x%lx, 0x%lx, page %ld): host %ld, here %ld", nr,
		 c->name, (long)(c->addr - region) >> PAGE_SHIFT, c->len, c->arg, c->arg2,
		 (long)(c->to - region) >> PAGE_SHIFT, host, ours);
}

static void compare_areas(struct mm_struct *mm, const struct call *c, u64 nr, vm_flags_t mask)
{
	static struct areas ours;

	areas_get(mm, &ours);
	if (ours.nr != host_areas.nr)
		fail_call(mm, c, nr, host_areas.nr, ours.nr);
	for (u32 i = 0; i < ours.nr; i++)
		if (ours.a[i].start != host_areas.a[i].start ||
		    ours.a[i].end != host_areas.a[i].end ||
		    (ours.a[i].flags & mask) != host_areas.a[i].flags)
			fail_call(mm, c, nr, i, i);
}

static bool forked;

/* Before anybody looks, which brings pages in. */
static void compare_there(struct mm_struct *mm, const struct call *c, u64 nr)
{
	assert_true(read_pagemap());
	for (unsigned long i = 0; i < PAGES; i++) {
		unsigned long addr = region + SIZE(i);
		const struct vm_area_struct *vma = vma_lookup(mm, addr);
		unsigned char here = 0;
		bool guard = false;
		struct pt_pos pos;

		if (vma) {
			assert_int_equal(vm_mincore(mm, addr, PAGE_SIZE, &here), 0);
			guard = pgtable_walk(mm, addr, PGTABLE_LEVEL_PTE, &pos) &&
				pte_is_swap(pos.pte) && is_pte_marker(pte_to_swp_entry(pos.pte));
		}
		/* Linux does not copy zero pages for a child where nothing else is, nor bring locked stacks in */
		if (guard == host_pages[i].guard &&
		    (forked || here == host_pages[i].there ||
		     (here &&
		      (vma->vm_flags & (VM_GROWSDOWN | VM_LOCKED)) == (VM_GROWSDOWN | VM_LOCKED))))
			continue;
		print_error("page %lu\n", i);
		fail_call(mm, c, nr, host_pages[i].there + 2 * host_pages[i].guard,
			  here + 2 * guard);
	}
}

/* With touched pages reverse maps decide about merges, and those are the core's own: page by page then. */
static vm_flags_t flags_at(const struct areas *l, unsigned long addr, vm_flags_t mask)
{
	for (u32 i = 0; i < l->nr; i++)
		if (addr >= l->a[i].start && addr < l->a[i].end)
			return (l->a[i].flags & mask) | VM_MAYREAD;
	return 0;
}

static void compare_pages(struct mm_struct *mm, const struct call *c, u64 nr, vm_flags_t mask)
{
	static struct areas ours;

	areas_get(mm, &ours);
	for (unsigned long i = 0; i < PAGES; i++) {
		vm_flags_t host = flags_at(&host_areas, region + SIZE(i), mask);
		vm_flags_t here = flags_at(&ours, region + SIZE(i), mask);

		if (host == here)
			continue;
		print_error("page %lu\n", i);
		fail_call(mm, c, nr, (long)host, (long)here);
	}
	compare_there(mm, c, nr);
	/* which may make stacks grow; as the program and as the kernel does it */
	for (unsigned long i = one_in(4) ? 0 : PAGES; i < PAGES; i += 1 + rnd(&seed, 2)) {
		unsigned long addr = region + SIZE(i);
		u64 host = ~0ul, v = ~0ul;
		bool can = host_load(addr, &host);
		bool does = one_in(2) ? !sim_load64(addr, &v)
				      : !copy_from_user(mm, &v, addr, sizeof(v));

		if (can != does || host != v) {
			print_error("page %lu\n", i);
			fail_call(mm, c, nr, (long)host, (long)v);
		}
	}
}

static void compare(struct mm_struct *mm, const struct call *c, u64 nr, bool touching)
{
	/* without it flags are compared less often, and never more than access rights */
	bool all = nr % SMAPS_EVERY == 0 && read_maps("/proc/self/smaps");
	vm_flags_t mask = all ? HOST_FLAGS : VM_ACCESS_FLAGS;

	if (!all)
		assert_true(read_maps("/proc/self/maps"));
	/* a reverse map is made for an area later than Linux does, or earlier, and with it the promise stays */
	if (touching)
		compare_pages(mm, c, nr, mask & ~VM_ACCOUNT);
	else
		compare_areas(mm, c, nr, mask);
}

static long err_of(long ret)
{
	return ret == -1 ? -errno : ret;
}

static unsigned long some_prot(void)
{
	static const unsigned long prots[] = { PROT_NONE, PROT_READ, PROT_WRITE,	   RW,
					       RW,	  RW,	     PROT_READ | PROT_EXEC };

	return prots[rnd(&seed, ARRAY_SIZE(prots))];
}

static void some_range(struct call *c)
{
	unsigned long first = rnd(&seed, PAGES), nr = 1 + rnd(&seed, one_in(4) ? PAGES : 6);

	c->addr = region + SIZE(first);
	c->len = SIZE(min(nr, PAGES - first));
	/* bytes, not pages; and sometimes what nobody should ask for */
	if (one_in(10))
		c->len -= rnd(&seed, PAGE_SIZE);
	if (one_in(60))
		c->addr += 1 + rnd(&seed, PAGE_SIZE - 1);
	if (one_in(60))
		c->len = 0;
	if (one_in(200))
		c->len = -c->len;
}

static void do_mmap(struct mm_struct *mm, struct call *c, bool touching, long *host, long *ours)
{
	unsigned long flags = ANON | (one_in(5) ? MAP_FIXED_NOREPLACE : MAP_FIXED);

	c->name = "mmap";
	some_range(c);
	c->arg = some_prot();
	if (one_in(12))
		flags |= MAP_NORESERVE;
	if (one_in(40))
		flags |= MAP_STACK;
	if (one_in(20))
		flags |= MAP_GROWSDOWN;
	if (one_in(10) && touching)
		flags |= one_in(2) ? MAP_POPULATE : MAP_LOCKED;
	if (one_in(60))
		flags = (flags & ~MAP_PRIVATE) | (unsigned long)rnd(&seed, 16);
	/* shared anonymous memory needs a file: not here */
	if ((flags & 15) == MAP_SHARED || (flags & 15) == MAP_DROPPABLE)
		flags = ANON | MAP_FIXED;
	c->arg2 = flags;
	*host = err_of((long)mmap((void *)c->addr, c->len, (int)c->arg, (int)flags, -1, 0));
	*ours = vm_mmap(mm, c->addr, c->len, c->arg, flags, NULL, 0);
}

static void do_munmap(struct mm_struct *mm, struct call *c, long *host, long *ours)
{
	c->name = "munmap";
	some_range(c);
	/* never anything that is not ours */
	if (c->len > SIZE(2 * PAGES) && c->addr + c->len > c->addr)
		c->len = 0;
	*host = err_of(munmap((void *)c->addr, c->len));
	*ours = vm_munmap(mm, c->addr, c->len);
}

static void do_mprotect(struct mm_struct *mm, struct call *c, bool touching, long *host, long *ours)
{
	c->name = "mprotect";
	some_range(c);
	c->arg = some_prot();
	if (one_in(60))
		c->arg |= 0x40;
	/* from where the area begins, so that it depends on what has been merged */
	if (one_in(60) && !touching)
		c->arg |= one_in(2) ? PROT_GROWSDOWN : PROT_GROWSUP;
	*host = err_of(mprotect((void *)c->addr, c->len, (int)c->arg));
	*ours = vm_mprotect(mm, c->addr, c->len, c->arg);
}

static const int area_advice[] = {
	MADV_NORMAL,	   MADV_RANDOM,	    MADV_SEQUENTIAL, MADV_DONTFORK,
	MADV_DOFORK,	   MADV_DONTDUMP,   MADV_DODUMP,     MADV_FREE,
	MADV_WIPEONFORK,   MADV_KEEPONFORK, MADV_DONTNEED,   MADV_WILLNEED,
	MADV_HUGEPAGE,	   MADV_COLD,	    MADV_NOHUGEPAGE, 77,
	MADV_GUARD_REMOVE,
};

/* These make reverse maps. */
static const int page_advice[] = {
	MADV_DONTNEED,	   MADV_DONTNEED_LOCKED, MADV_FREE,	      MADV_COLD,
	MADV_GUARD_REMOVE, MADV_GUARD_INSTALL,	 MADV_POPULATE_WRITE, MADV_POPULATE_READ,
};

static void do_madvise(struct mm_struct *mm, struct call *c, bool touching, long *host, long *ours)
{
	c->name = "madvise";
	some_range(c);
	c->arg = (unsigned long)area_advice[rnd(&seed, ARRAY_SIZE(area_advice))];
	if (touching && one_in(2))
		c->arg = (unsigned long)page_advice[rnd(&seed, ARRAY_SIZE(page_advice))];
	*host = err_of(madvise((void *)c->addr, c->len, (int)c->arg));
	*ours = vm_madvise(mm, c->addr, c->len, (int)c->arg);
}

/* From @addr to the end of its area; a page where none is. */
static unsigned long area_rest(struct mm_struct *mm, unsigned long addr)
{
	const struct vm_area_struct *vma = vma_lookup(mm, addr);

	return vma ? vma->vm_end - (addr & PAGE_MASK) : PAGE_SIZE;
}

static unsigned long host_rest(unsigned long addr)
{
	for (u32 i = 0; i < host_areas.nr; i++)
		if (addr >= host_areas.a[i].start && addr < host_areas.a[i].end)
			return host_areas.a[i].end - (addr & PAGE_MASK);
	return PAGE_SIZE;
}

static void do_mremap(struct mm_struct *mm, struct call *c, long *host, long *ours)
{
	unsigned long flags = 0, max;

	c->name = "mremap";
	some_range(c);
	c->to = region + SIZE(rnd(&seed, PAGES));
	c->arg = SIZE(1 + rnd(&seed, 8));
	if (one_in(2))
		flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	if (one_in(4)) {
		flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
		c->arg = c->len;
	}
	if (one_in(40))
		flags ^= MREMAP_MAYMOVE;
	if (one_in(60))
		flags |= 8;
	if (flags == MREMAP_MAYMOVE)
		flags = 0;
	/*
	 * Versions differ in what a move of a range over several areas means, and in the order of checks for old length 0; not in
	 * what it is to become smaller.
	 */
	max = min(area_rest(mm, c->addr), host_rest(c->addr));
	c->len = ALIGN(c->len, PAGE_SIZE);
	if ((c->len > max && (flags & MREMAP_DONTUNMAP || c->arg >= c->len ||
			      (flags & MREMAP_FIXED && c->arg > max))) ||
	    !c->len || c->len > SIZE(2 * PAGES))
		c->len = max;
	if (flags & MREMAP_DONTUNMAP)
		c->arg = c->len;
	/* and the target stays in the region */
	if (c->to + c->arg > region + SIZE(PAGES))
		c->to = region + SIZE(PAGES) - min(c->arg, SIZE(PAGES));
	if (c->addr + c->arg > region + SIZE(PAGES))
		c->arg = SIZE(1);
	if (flags & MREMAP_DONTUNMAP)
		c->arg = c->len;
	/* Linux unlocks all of the area that the range is in, we the range */
	if (flags & MREMAP_DONTUNMAP) {
		syscall(SYS_munlockall);
		vm_munlockall(mm);
	}
	c->arg2 = flags;
	*host = err_of(host_mremap(c->addr, c->len, c->arg, flags, c->to));
	*ours = vm_mremap(mm, c->addr, c->len, c->arg, flags, c->to);
}

static void touch(struct mm_struct *mm, struct call *c, long *host, long *ours)
{
	static u64 v;

	c->name = "store";
	c->addr = region + SIZE(rnd(&seed, PAGES));
	c->len = sizeof(v);
	v++;
	*host = host_store(c->addr, v);
	*ours = one_in(2) ? !sim_store64(c->addr, v) : !copy_to_user(mm, c->addr, &v, sizeof(v));
}

/* Only where pages may be touched: what is locked is brought in. */
static void do_mlock(struct mm_struct *mm, struct call *c, long *host, long *ours)
{
	some_range(c);
	c->arg = rnd(&seed, 4);
	switch (c->arg) {
	case 0:
	case 1:
		c->name = "mlock2";
		c->arg2 = one_in(40) ? 2 : c->arg;
		*host = err_of(syscall(SYS_mlock2, c->addr, c->len, c->arg2));
		*ours = vm_mlock(mm, c->addr, c->len, (int)c->arg2);
		break;
	default:
		c->name = "munlock";
		*host = err_of(syscall(SYS_munlock, c->addr, c->len));
		*ours = vm_munlock(mm, c->addr, c->len);
		break;
	}
}

static void do_mincore(struct mm_struct *mm, struct call *c, long *host, long *ours)
{
	static unsigned char there[PAGES + 1], here[PAGES + 1];

	c->name = "mincore";
	some_range(c);
	if (c->len > SIZE(PAGES))
		c->len = SIZE(1);
	memset(there, 0, sizeof(there));
	memset(here, 0, sizeof(here));
	*host = err_of(mincore((void *)c->addr, c->len, there));
	*ours = vm_mincore(mm, c->addr, c->len, here);
	/* Linux does not copy zero pages for a child where nothing else is */
	if (!forked && !*host && memcmp(there, here, sizeof(here)))
		*ours = -1;
}

static void random_calls(struct mm_struct *mm, u64 nr, bool touching)
{
	for (u64 i = 0; i < nr; i++) {
		struct call c = { .to = region };
		long host, ours;

		switch (rnd(&seed, touching ? 16 : 10)) {
		case 0 ... 3:
			do_mmap(mm, &c, touching, &host, &ours);
			break;
		case 4:
			do_munmap(mm, &c, &host, &ours);
			break;
		case 5 ... 6:
			do_mprotect(mm, &c, touching, &host, &ours);
			break;
		case 7:
			do_madvise(mm, &c, touching, &host, &ours);
			break;
		case 8 ... 9:
			do_mremap(mm, &c, &host, &ours);
			break;
		case 10:
			do_mlock(mm, &c, &host, &ours);
			break;
		case 11:
			do_mincore(mm, &c, &host, &ours);
			break;
		default:
			touch(mm, &c, &host, &ours);
			break;
		}
		if (host != ours)
			fail_call(mm, &c, i, host, ours);
		compare(mm, &c, i, touching);
		if (i % 256 == 0)
			assert_true(octavo_validate());
	}
}

/* The core's limits are as this process's; it is as privileged. */
static struct mm_struct *like_host(void)
{
	struct mm_struct *mm = space_boot();

	mm->mmap_min_addr = PAGE_SIZE;
	return mm;
}

/* NULL: this host is not to be compared with. */
static struct mm_struct *host_begin(void)
{
	struct mm_struct *mm = like_host();

	sim_mm_use(mm);
	if (host_is_new() && find_region() && read_maps("/proc/self/maps") && !pipe(pipes))
		return mm;
	space_end(mm);
	return NULL;
}

static void run(u64 nr, bool touching)
{
	struct mm_struct *mm = host_begin();

	if (!mm) {
		skip();
		return;
	}
	seed = 0x9e3779b97f4a7c15ull + touching;
	random_calls(mm, nr, touching);
	munmap((void *)region, SIZE(PAGES));
	close(pipes[0]);
	close(pipes[1]);
	space_end(mm);
}

#define GENERATIONS 2u

/*
 * Fork of this process is a fork of its address space, and the simulated machine comes along. So the child goes on with
 * a child, and this process, when that is over, with its own, of which a child has taken part too.
 */
static void family(struct mm_struct *mm, u32 generation)
{
	const struct call c = { .name = "fork", .to = region };

	for (u32 i = 0; i < 2; i++) {
		struct mm_struct *child;
		int err, status;
		pid_t pid;

		random_calls(mm, 50, true);
		if (generation == GENERATIONS)
			continue;
		pid = fork();
		assert_int_not_equal(pid, -1);
		child = mm_fork(mm, &err);
		assert_non_null(child);
		seed += 0x1234567;
		if (!pid) {
			forked = true;
			sim_mm_use(child);
			/* with or without a parent */
			if (i) {
				sim_mm_forget(mm);
				mmput(mm);
			}
			if (pipe(pipes))
				_exit(1);
			compare(child, &c, 0, true);
			family(child, generation + 1);
			_exit(!octavo_validate());
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		sim_mm_use(child);
		for (u32 k = 0; k < 8; k++)
			(void)sim_store64(region + SIZE(rnd(&seed, PAGES)), k);
		sim_mm_use(mm);
		sim_mm_forget(child);
		mmput(child);
		compare(mm, &c, 0, true);
	}
}

/* What is private stays so, whoever of a family writes; what is not to be inherited is not. */
static void test_mmap_host_fork(void **state)
{
	struct mm_struct *mm = host_begin();

	if (!mm) {
		skip();
		return;
	}
	for (u64 i = 1; i <= 3; i++) {
		seed = i * 0x9e3779b97f4a7c15ull;
		family(mm, 0);
	}
	munmap((void *)region, SIZE(PAGES));
	close(pipes[0]);
	close(pipes[1]);
	space_end(mm);
}

static void test_mmap_host_areas(void **state)
{
	run(20000, false);
}

static void test_mmap_host_pages(void **state)
{
	run(10000, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mmap_host_areas),
		TEST(test_mmap_host_pages),
		TEST(test_mmap_host_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
