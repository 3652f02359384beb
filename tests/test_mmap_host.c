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
#include <unistd.h>

#include "space_machine.h"

/* Not mremap() of the C library, which has its own ideas of the fifth argument. */
#define host_mremap(a, o, n, f, t) syscall(SYS_mremap, a, o, n, f, t)

#define PAGES  64ul   /* of the region */
#define MARGIN 1024ul /* pages around it that stay free on both sides */

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

/* False: there is no /proc/self/maps. */
static bool read_maps(void)
{
	int fd = open("/proc/self/maps", O_RDONLY);
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
		struct area a;

		a.start = hex(&p);
		p++;
		a.end = hex(&p);
		a.flags = (p[1] == 'r' ? VM_READ : 0) | (p[2] == 'w' ? VM_WRITE : 0) |
			  (p[3] == 'x' ? VM_EXEC : 0);
		if (a.start >= region && a.end <= region + SIZE(PAGES + MARGIN))
			host_areas.a[host_areas.nr++] = a;
		while (*p != '\n')
			p++;
	}
	return n > 0;
}

/* A hole that nobody else maps into: no other call of this process maps anything while a test runs. */
static bool find_region(void)
{
	unsigned long len = SIZE(PAGES + 2 * MARGIN);
	void *p = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return false;
	munmap(p, len);
	/* alike for large leaves, whatever the size of those */
	region = ((unsigned long)p + SIZE(MARGIN)) & ~(SIZE(512) - 1);
	return region + SIZE(PAGES + MARGIN) < TASK_SIZE_MAX;
}

/* ---- both ---- */

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

static void compare_areas(struct mm_struct *mm, const struct call *c, u64 nr)
{
	static struct areas ours;

	assert_true(read_maps());
	areas_get(mm, &ours);
	if (ours.nr != host_areas.nr)
		fail_call(mm, c, nr, host_areas.nr, ours.nr);
	for (u32 i = 0; i < ours.nr; i++)
		if (ours.a[i].start != host_areas.a[i].start ||
		    ours.a[i].end != host_areas.a[i].end ||
		    (ours.a[i].flags & VM_ACCESS_FLAGS) != host_areas.a[i].flags)
			fail_call(mm, c, nr, i, i);
}

/* With touched pages reverse maps decide about merges, and those are the core's own: page by page then. */
static vm_flags_t prot_at(const struct areas *l, unsigned long addr)
{
	for (u32 i = 0; i < l->nr; i++)
		if (addr >= l->a[i].start && addr < l->a[i].end)
			return (l->a[i].flags & VM_ACCESS_FLAGS) | VM_MAYREAD;
	return 0;
}

static void compare_pages(struct mm_struct *mm, const struct call *c, u64 nr)
{
	static struct areas ours;

	assert_true(read_maps());
	areas_get(mm, &ours);
	for (unsigned long i = 0; i < PAGES; i++) {
		unsigned long addr = region + SIZE(i);
		vm_flags_t f = prot_at(&host_areas, addr);
		u64 v = ~0ul;

		if (prot_at(&ours, addr) != f)
			fail_call(mm, c, nr, (long)f, (long)prot_at(&ours, addr));
		if (!(f & VM_READ) || f & VM_SOFTDIRTY)
			continue;
		if (sim_load64(addr, &v))
			fail_call(mm, c, nr, -1, (long)i);
		if (v != *(volatile u64 *)addr)
			fail_call(mm, c, nr, *(volatile long *)addr, (long)v);
	}
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

static bool one_in(u64 n)
{
	return rnd(&seed, n) == 0;
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

static void do_mmap(struct mm_struct *mm, struct call *c, long *host, long *ours)
{
	unsigned long flags = ANON | (one_in(5) ? MAP_FIXED_NOREPLACE : MAP_FIXED);

	c->name = "mmap";
	some_range(c);
	c->arg = some_prot();
	if (one_in(12))
		flags |= MAP_NORESERVE;
	if (one_in(40))
		flags |= MAP_STACK;
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

static void do_mprotect(struct mm_struct *mm, struct call *c, long *host, long *ours)
{
	c->name = "mprotect";
	some_range(c);
	c->arg = some_prot();
	if (one_in(60))
		c->arg |= 0x40;
	if (one_in(60))
		c->arg |= one_in(2) ? PROT_GROWSDOWN : PROT_GROWSUP;
	*host = err_of(mprotect((void *)c->addr, c->len, (int)c->arg));
	*ours = vm_mprotect(mm, c->addr, c->len, c->arg);
}

static const int area_advice[] = {
	MADV_NORMAL, MADV_RANDOM,     MADV_SEQUENTIAL, MADV_DONTFORK, MADV_DOFORK, MADV_DONTDUMP,
	MADV_DODUMP, MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_DONTNEED, MADV_FREE,   MADV_WILLNEED,
	77,
};

static void do_madvise(struct mm_struct *mm, struct call *c, long *host, long *ours)
{
	c->name = "madvise";
	some_range(c);
	c->arg = (unsigned long)area_advice[rnd(&seed, ARRAY_SIZE(area_advice))];
	*host = err_of(madvise((void *)c->addr, c->len, (int)c->arg));
	*ours = vm_madvise(mm, c->addr, c->len, (int)c->arg);
}

static void do_mremap(struct mm_struct *mm, struct call *c, long *host, long *ours)
{
	struct vm_area_struct *vma;
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
	/* versions differ in what a range over several areas means, and in the order of checks for old length 0 */
	vma = vma_lookup(mm, c->addr);
	max = vma ? vma->vm_end - (c->addr & PAGE_MASK) : SIZE(1);
	c->len = ALIGN(c->len, PAGE_SIZE);
	if (c->len > max || !c->len)
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
	c->arg2 = flags;
	*host = err_of(host_mremap(c->addr, c->len, c->arg, flags, c->to));
	*ours = vm_mremap(mm, c->addr, c->len, c->arg, flags, c->to);
}

static void touch(struct mm_struct *mm, u64 nr)
{
	unsigned long addr = region + SIZE(rnd(&seed, PAGES));
	static struct areas l;

	areas_get(mm, &l);
	if (!(prot_at(&l, addr) & VM_WRITE))
		return;
	assert_int_equal(sim_store64(addr, nr), 0);
	*(volatile u64 *)addr = nr;
}

static void random_calls(struct mm_struct *mm, u64 nr, bool touching)
{
	for (u64 i = 0; i < nr; i++) {
		struct call c = { .to = region };
		long host, ours;

		switch (rnd(&seed, touching ? 14 : 10)) {
		case 0 ... 3:
			do_mmap(mm, &c, &host, &ours);
			break;
		case 4:
			do_munmap(mm, &c, &host, &ours);
			break;
		case 5 ... 6:
			do_mprotect(mm, &c, &host, &ours);
			break;
		case 7:
			do_madvise(mm, &c, &host, &ours);
			break;
		case 8 ... 9:
			do_mremap(mm, &c, &host, &ours);
			break;
		default:
			touch(mm, i + 1);
			continue;
		}
		if (host != ours)
			fail_call(mm, &c, i, host, ours);
		if (touching)
			compare_pages(mm, &c, i);
		else
			compare_areas(mm, &c, i);
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

static void run(u64 nr, bool touching)
{
	struct mm_struct *mm = like_host();

	sim_mm_use(mm);
	/* after the machine has its memory, and the translation buffers theirs */
	if (!find_region() || !read_maps()) {
		space_end(mm);
		skip();
		return;
	}
	seed = 0x9e3779b97f4a7c15ull + touching;
	random_calls(mm, nr, touching);
	munmap((void *)region, SIZE(PAGES));
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
