/* SPDX-License-Identifier: MIT */
/*
 * world.c - a random program: address spaces, what it does to them, and a model of what is in each page.
 *
 * A page's contents follow from a stamp of 32 bits, so the model is a stamp for each page, and a comparison is of all of its 4096 bytes.
 * Stamps make pages of four kinds: one word repeated, mostly zeros, text, noise; so that whoever compresses has something to do.
 *
 * An access that fails for lack of memory makes the program smaller. One that fails because a device did not read is tried
 * again: the device fails at random, so it must come true in the end.
 */
#include <stdlib.h>
#include <string.h>

#include "mmu.h"
#include "sim.h"
#include "soak.h"

#define MAX_SPACES  4u
#define MAX_RUN	    96u
#define IO_TRIES    10000u
#define SHARED_UNIT 3u /* pages of the shared space that are one program's, in turns */

enum page_state {
	PAGE_VALUE, /* what its stamp says; stamp 0: zeros */
	PAGE_MAYBE, /* given up by MADV_FREE: that, or zeros */
};

struct space {
	struct mm_struct *mm;
	unsigned long base;
	u32 nr;	     /* pages */
	bool shared; /* with the other program */
	u32 *stamp;
	u8 *state;
	u8 *readonly;
};

struct world {
	unsigned int cpu;
	u64 rnd;
	u32 next_stamp;
	struct space space[MAX_SPACES];
	unsigned int nr;
	struct soak_counts *counts;
};

/* ---- contents ---- */

static u64 mix(u64 x)
{
	/* the finisher of splitmix64 (S. Vigna, public domain) */
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ul;
	x = (x ^ x >> 27) * 0x94d049bb133111ebul;
	return x ^ x >> 31;
}

static void page_fill(u64 *words, u32 stamp)
{
	unsigned int n = PAGE_SIZE / sizeof(u64);

	for (unsigned int i = 0; i < n; i++) {
		u64 x = mix((u64)stamp << 16 | i);

		if (stamp == 0)
			words[i] = 0;
		else if (stamp % 4 == 0)
			words[i] = stamp;
		else if (stamp % 4 == 1)
			words[i] = i % 64 ? 0 : x;
		else if (stamp % 4 == 2)
			words[i] = 0x6165207468652061ul ^ (x & 0x0303030303030303ul);
		else
			words[i] = x;
	}
}

static bool page_matches(const u64 *words, u32 stamp)
{
	u64 want[PAGE_SIZE / sizeof(u64)];

	page_fill(want, stamp);
	return !memcmp(words, want, PAGE_SIZE);
}

/* ---- which pages ---- */

static unsigned long page_addr(const struct space *s, u32 page)
{
	return s->base + ((unsigned long)page << PAGE_SHIFT);
}

static bool page_is_ours(const struct world *w, const struct space *s, u32 page)
{
	return !s->shared || page / SHARED_UNIT % NR_WORLDS == w->cpu;
}

static struct space *some_space(struct world *w)
{
	return &w->space[soak_below(&w->rnd, w->nr)];
}

/* A run of pages; of a shared space within what is ours. */
static u32 some_run(struct world *w, const struct space *s, u32 *first)
{
	u32 nr;

	if (s->shared) {
		u32 units = s->nr / SHARED_UNIT / NR_WORLDS;

		*first = (u32)(soak_below(&w->rnd, units) * NR_WORLDS + w->cpu) * SHARED_UNIT;
		return SHARED_UNIT;
	}
	nr = 1 + (u32)soak_below(&w->rnd, soak_below(&w->rnd, MAX_RUN) + 1);
	*first = (u32)soak_below(&w->rnd, s->nr - nr + 1);
	return nr;
}

/* ---- memory is short ---- */

static void space_end(struct world *w, unsigned int i)
{
	struct space *s = &w->space[i];

	sim_mm_forget(s->mm);
	mmput(s->mm);
	free(s->stamp);
	free(s->state);
	free(s->readonly);
	w->space[i] = w->space[--w->nr];
}

/* Nothing is in the pages any more. */
static void model_clear(struct space *s, u32 first, u32 nr)
{
	memset(s->stamp + first, 0, nr * sizeof(*s->stamp));
	memset(s->state + first, PAGE_VALUE, nr);
}

/* The same after MADV_DONTNEED; if that ended with an error, of some of them. */
static void model_drop(struct space *s, u32 first, u32 nr, int err)
{
	if (err)
		memset(s->state + first, PAGE_MAYBE, nr);
	else
		model_clear(s, first, nr);
}

/* @now: what the program is at, which stays. */
static void get_smaller(struct world *w, const struct space *now)
{
	struct space *s = some_space(w);
	u32 first, nr;
	int err;

	soak_count(w->counts, oom, 1);
	/* the first two are the shared one and the program's first: others are children */
	if (w->nr > 2 && now != &w->space[w->nr - 1]) {
		space_end(w, w->nr - 1);
		return;
	}
	if (s->shared)
		nr = some_run(w, s, &first);
	else
		nr = s->nr / 8, first = (u32)soak_below(&w->rnd, s->nr - nr);
	err = vm_madvise(s->mm, page_addr(s, first), (unsigned long)nr << PAGE_SHIFT,
			 MADV_DONTNEED);
	/* a leaf that goes in part wants a table */
	if (err && err != -ENOMEM)
		soak_fail("MADV_DONTNEED of pages %u+%u: %d", first, nr, err);
	model_drop(s, first, nr, err);
}

enum outcome { DONE, AGAIN, DENIED };

/* What an access that returned @ret means. */
static enum outcome outcome(struct world *w, const struct space *s, vm_fault_t ret,
			    unsigned int *tries)
{
	if (!ret)
		return DONE;
	if (ret & VM_FAULT_SIGSEGV)
		return DENIED;
	if (ret & VM_FAULT_OOM)
		get_smaller(w, s);
	else if (ret & VM_FAULT_SIGBUS)
		soak_count(w->counts, io_errors, 1);
	else
		soak_fail("an access ends with 0x%x", ret);
	if (++*tries > IO_TRIES)
		soak_fail("an access has failed %u times, the last time with 0x%x", *tries, ret);
	return AGAIN;
}

/* ---- one page ---- */

static void wrong_page(struct world *w, const struct space *s, u32 page, const u64 *words)
{
	soak_fail("CPU %u: page %u at 0x%lx of mm %p (%u pages%s): has 0x%016lx 0x%016lx ..., "
		  "should be of stamp %u%s",
		  w->cpu, page, page_addr(s, page), (void *)s->mm, s->nr,
		  s->shared ? ", shared" : "", (unsigned long)words[0], (unsigned long)words[1],
		  s->stamp[page], s->state[page] == PAGE_MAYBE ? " or empty" : "");
}

static void check_words(struct world *w, struct space *s, u32 page, const u64 *words)
{
	soak_count(w->counts, pages_checked, 1);
	if (page_matches(words, s->stamp[page]))
		return;
	if (s->state[page] == PAGE_MAYBE && page_matches(words, 0)) {
		model_clear(s, page, 1);
		return;
	}
	wrong_page(w, s, page, words);
}

static vm_fault_t load_page(struct world *w, struct space *s, u32 page, u64 *words)
{
	unsigned long addr = page_addr(s, page);
	struct page *pinned;

	if (soak_below(&w->rnd, 8)) {
		sim_mm_use(s->mm);
		return sim_load(addr, words, PAGE_SIZE);
	}
	/* by reference; what it fails for is said by the access itself */
	if (get_user_pages_fast(s->mm, addr, 1, 0, &pinned) != 1) {
		sim_mm_use(s->mm);
		return sim_load(addr, words, PAGE_SIZE);
	}
	memcpy(words, page_address(pinned), PAGE_SIZE);
	put_user_page(pinned);
	return 0;
}

static void check_page(struct world *w, struct space *s, u32 page)
{
	u64 words[PAGE_SIZE / sizeof(u64)];
	unsigned int tries = 0;
	enum outcome o;

	if (!page_is_ours(w, s, page))
		return;
	do {
		o = outcome(w, s, load_page(w, s, page, words), &tries);
	} while (o == AGAIN && !soak_over());
	if (o == DENIED)
		soak_fail("page %u may be read, and is not", page);
	if (o == DONE)
		check_words(w, s, page, words);
}

/* By pin: as a device would write. Return: false: it could not be had. */
static bool write_pinned(struct world *w, struct space *s, u32 page, const u64 *words)
{
	struct page *pinned;

	if (pin_user_pages_fast(s->mm, page_addr(s, page), 1, FOLL_WRITE, &pinned) != 1)
		return false;
	memcpy(page_address(pinned), words, PAGE_SIZE);
	unpin_user_pages_dirty_lock(&pinned, 1, true);
	soak_count(w->counts, pins, 1);
	return true;
}

static void write_page(struct world *w, struct space *s, u32 page)
{
	u32 stamp = ++w->next_stamp * NR_WORLDS + w->cpu;
	u64 words[PAGE_SIZE / sizeof(u64)];
	unsigned int tries = 0;
	vm_fault_t ret;
	enum outcome o;

	page_fill(words, stamp);
	if (!s->readonly[page] && !soak_below(&w->rnd, 8) && write_pinned(w, s, page, words)) {
		o = DONE;
	} else {
		do {
			sim_mm_use(s->mm);
			ret = sim_store(page_addr(s, page), words, PAGE_SIZE);
			o = outcome(w, s, ret, &tries);
		} while (o == AGAIN && !soak_over());
	}
	if (o == DENIED && !s->readonly[page])
		soak_fail("page %u may be written to, and is not", page);
	if (o == DONE && s->readonly[page])
		soak_fail("page %u is read-only, and was written to", page);
	if (o == AGAIN) /* the end came in between: it may have some of the bytes */
		s->readonly[page] = 2;
	if (o != DONE)
		return;
	s->stamp[page] = stamp;
	s->state[page] = PAGE_VALUE;
	soak_count(w->counts, pages_written, 1);
}

/* ---- what a program does ---- */

static void op_write(struct world *w)
{
	struct space *s = some_space(w);
	u32 first, nr = some_run(w, s, &first);

	for (u32 i = 0; i < nr; i++)
		write_page(w, s, first + i);
}

static void op_check(struct world *w)
{
	struct space *s = some_space(w);
	u32 first, nr = some_run(w, s, &first);

	for (u32 i = 0; i < nr; i++)
		check_page(w, s, first + i);
}

static void op_advise(struct world *w)
{
	static const int advices[] = { MADV_PAGEOUT,  MADV_PAGEOUT,	  MADV_COLD,
				       MADV_FREE,     MADV_DONTNEED,	  MADV_WILLNEED,
				       MADV_HUGEPAGE, MADV_POPULATE_WRITE };
	int advice = advices[soak_below(&w->rnd, ARRAY_SIZE(advices))];
	struct space *s = some_space(w);
	u32 first, nr = some_run(w, s, &first);
	int err;

	/* areas are not one program's alone */
	if (s->shared && advice == MADV_HUGEPAGE)
		return;
	err = vm_madvise(s->mm, page_addr(s, first), (unsigned long)nr << PAGE_SHIFT, advice);
	soak_count(w->counts, ranges, 1);
	if (advice == MADV_POPULATE_WRITE)
		return; /* may fail for every reason that an access may */
	if (err && err != -EAGAIN && err != -ENOMEM)
		soak_fail("madvise(%d) of pages %u+%u: %d", advice, first, nr, err);
	if (advice == MADV_DONTNEED)
		model_drop(s, first, nr, err);
	else if (advice == MADV_FREE)
		memset(s->state + first, PAGE_MAYBE, nr);
}

static void op_protect(struct world *w)
{
	struct space *s = some_space(w);
	u32 first, nr = some_run(w, s, &first);
	bool readonly = soak_below(&w->rnd, 2);

	if (s->shared)
		return;
	soak_count(w->counts, ranges, 1);
	if (!vm_mprotect(s->mm, page_addr(s, first), (unsigned long)nr << PAGE_SHIFT,
			 readonly ? PROT_READ : PROT_READ | PROT_WRITE))
		memset(s->readonly + first, readonly, nr);
	else /* out of areas, or memory: everything as one area again */
		if (!vm_mprotect(s->mm, s->base, (unsigned long)s->nr << PAGE_SHIFT,
				 PROT_READ | PROT_WRITE))
			memset(s->readonly, 0, s->nr);
}

static void op_remap(struct world *w)
{
	struct space *s = some_space(w);
	u32 first, nr = some_run(w, s, &first);
	unsigned long addr = page_addr(s, first), len = (unsigned long)nr << PAGE_SHIFT;

	if (s->shared)
		return;
	soak_count(w->counts, ranges, 1);
	if (vm_mmap(s->mm, addr, len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0) != (long)addr)
		return;
	model_clear(s, first, nr);
	memset(s->readonly + first, 0, nr);
}

/* A run takes the place of another: mremap(MREMAP_FIXED), and the hole is mapped anew. */
static void op_move(struct world *w)
{
	struct space *s = some_space(w);
	u32 first, nr = some_run(w, s, &first), to;
	unsigned long len = (unsigned long)nr << PAGE_SHIFT;
	long ret;

	if (s->shared)
		return;
	to = (u32)soak_below(&w->rnd, s->nr - nr + 1);
	if (to < first + nr && first < to + nr)
		return;
	/* in one area, or it is refused */
	ret = vm_mremap(s->mm, page_addr(s, first), len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			page_addr(s, to));
	if (ret == -EFAULT)
		return;
	soak_count(w->counts, ranges, 1);
	if (ret < 0) { /* the target may have been emptied */
		if (vm_mmap(s->mm, page_addr(s, to), len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0) < 0)
			soak_fail("a hole that mremap left cannot be mapped");
		model_clear(s, to, nr);
		memset(s->readonly + to, 0, nr);
		return;
	}
	memcpy(s->stamp + to, s->stamp + first, nr * sizeof(*s->stamp));
	memcpy(s->state + to, s->state + first, nr);
	memcpy(s->readonly + to, s->readonly + first, nr);
	if (vm_mmap(s->mm, page_addr(s, first), len, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0) < 0)
		soak_fail("the hole that mremap left cannot be mapped");
	model_clear(s, first, nr);
	memset(s->readonly + first, 0, nr);
}

static void op_fork(struct world *w)
{
	struct space *s = some_space(w), *c = &w->space[w->nr];
	int err;

	if (s->shared || w->nr == MAX_SPACES)
		return;
	*c = *s;
	c->mm = mm_fork(s->mm, &err);
	if (!c->mm) {
		get_smaller(w, s);
		return;
	}
	c->stamp = malloc(s->nr * sizeof(*c->stamp));
	c->state = malloc(s->nr);
	c->readonly = malloc(s->nr);
	if (!c->stamp || !c->state || !c->readonly)
		abort();
	memcpy(c->stamp, s->stamp, s->nr * sizeof(*c->stamp));
	memcpy(c->state, s->state, s->nr);
	memcpy(c->readonly, s->readonly, s->nr);
	w->nr++;
	soak_count(w->counts, forks, 1);
}

static void op_exit(struct world *w)
{
	if (w->nr > 2)
		space_end(w, 2 + (unsigned int)soak_below(&w->rnd, w->nr - 2));
}

static void op_lock(struct world *w)
{
	struct space *s = some_space(w);
	u32 first, nr = some_run(w, s, &first);
	unsigned long addr = page_addr(s, first);

	if (s->shared)
		return;
	nr = min(nr, 8u);
	/* may fail as an access may; what it brought in stays */
	vm_mlock(s->mm, addr, (unsigned long)nr << PAGE_SHIFT, 0);
	if (vm_munlock(s->mm, s->base, (unsigned long)s->nr << PAGE_SHIFT) == -EINVAL)
		soak_fail("munlock is refused");
	soak_count(w->counts, ranges, 1);
}

static void op_collapse(struct world *w)
{
	struct space *s = some_space(w);
	unsigned int order = 2 + (unsigned int)soak_below(&w->rnd, 3);
	u32 first = (u32)soak_below(&w->rnd, s->nr) & ~((1u << order) - 1);

	if (s->shared || first + (1u << order) > s->nr)
		return;
	collapse_range(s->mm, page_addr(s, first), order, 1u << order);
	soak_count(w->counts, ranges, 1);
}

static const struct {
	u32 weight;
	void (*run)(struct world *w);
} ops[] = {
	{ 300, op_write }, { 300, op_check },	{ 120, op_advise }, { 40, op_protect },
	{ 30, op_remap },  { 30, op_move },	{ 8, op_fork },	    { 8, op_exit },
	{ 6, op_lock },	   { 20, op_collapse },
};

static void some_op(struct world *w)
{
	u32 sum = 0, pick;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		sum += ops[i].weight;
	pick = (u32)soak_below(&w->rnd, sum);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (pick < ops[i].weight) {
			ops[i].run(w);
			break;
		}
		pick -= ops[i].weight;
	}
	soak_count(w->counts, ops, 1);
}

/* ---- from beginning to end ---- */

static void space_init(struct space *s, struct mm_struct *mm, unsigned long base, u32 nr,
		       bool shared)
{
	*s = (struct space){ .mm = mm, .base = base, .nr = nr, .shared = shared };
	s->stamp = calloc(nr, sizeof(*s->stamp));
	s->state = calloc(nr, 1);
	s->readonly = calloc(nr, 1);
	if (!s->stamp || !s->state || !s->readonly)
		abort();
}

#define WORLD_BASE 0x100000000ul

static struct mm_struct *new_mm(u32 pages)
{
	struct mm_struct *mm = mm_alloc();

	if (!mm ||
	    vm_mmap(mm, WORLD_BASE, (unsigned long)pages << PAGE_SHIFT, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, NULL,
		    0) != (long)WORLD_BASE) {
		soak_fail("no address space of %u pages", pages);
		exit(1);
	}
	/* single pages, 16 KiB, 64 KiB, and now and then a leaf */
	WRITE_ONCE(mm->folio_orders, 1u | 1u << 2 | 1u << 4);
	return mm;
}

struct mm_struct *world_shared_mm(u32 pages)
{
	return new_mm(pages);
}

void world_run(unsigned int cpu)
{
	u32 all = (u32)((double)(soak.opt.ram >> PAGE_SHIFT) * soak.opt.over / NR_WORLDS);
	u32 shared = (u32)((soak.opt.ram >> PAGE_SHIFT) / 4);
	struct world w = { .cpu = cpu,
			   .rnd = mix(soak.opt.seed + cpu) | 1,
			   .counts = &soak.counts[cpu] };

	space_init(&w.space[0], soak.shared, WORLD_BASE, shared, true);
	mmget(soak.shared);
	space_init(&w.space[1], new_mm(all), WORLD_BASE, all, false);
	w.nr = 2;
	for (u32 turn = 0; !soak_over(); turn++) {
		some_op(&w);
		/* everything, now and then */
		if (turn % 20000 == 19999)
			for (unsigned int i = 0; i < w.nr; i++)
				for (u32 page = 0; page < w.space[i].nr && !soak_over(); page++)
					check_page(&w, &w.space[i], page);
	}
	sim_mm_use(NULL);
	while (w.nr)
		space_end(&w, w.nr - 1);
	fetch_sub_release(&soak.running, 1u);
}
