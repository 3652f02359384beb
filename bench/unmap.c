/* SPDX-License-Identifier: MIT */
/*
 * unmap.c - octavo bench unmap: folios out of page tables to slots of swap and back, by runs and one entry at a time; and
 * memory paged out to a compressed device and in again, beside Linux with zram.
 *
 * Instructions are of the calls alone, with everything on: reverse maps, counters, notifiers' bookkeeping, slots and their
 * counts. Folios stay in the swap cache there, so nothing is compressed or copied.
 */
#include <stdlib.h>

#include <octavo/migrate.h>
#include <octavo/reclaim.h>
#include <octavo/swap.h>

#include "linux.h"
#include "space.h"
#include "swapdev.h"

/* How a folio is mapped: its order, and by leaves or by pages. */
static const struct shape {
	const char *name;
	unsigned int order;
	bool split; /* leaves become tables first */
} shapes[] = {
	{ "4K", 0, false },
	{ "64K", 4, false },
	{ "2M-by-pages", 9, true },
	{ "2M", 9, false },
};

/* ---- what a region is made of ---- */

static void no_submit(struct swap_device *dev, struct swap_io *io)
{
	swap_io_done(io, -EIO);
}

static const struct swap_device_ops no_device = { .submit = no_submit };

/* The folio at an address. */
static struct folio *folio_at(const struct bench_space *s, unsigned long addr)
{
	struct pt_pos pos;

	pgtable_walk(s->mm, addr, PGTABLE_LEVEL_PTE, &pos);
	bench_check(pte_present(pos.pte), "a page that was populated");
	return page_folio(pfn_to_page(pte_pfn(pos.pte)));
}

static struct bench_space make(const struct shape *shape, unsigned long pages)
{
	unsigned long step = PAGE_SIZE << shape->order;
	struct bench_space s = bench_space_make(shape->order, pages << PAGE_SHIFT);

	bench_space_populate(&s);
	for (unsigned long at = 0; at < s.bytes; at += step) {
		struct folio *folio = folio_at(&s, s.addr + at);

		bench_check(folio && folio_order(folio) == shape->order, "a folio of the order");
		folio_lock(folio);
		bench_check(!folio_alloc_swap(folio), "folio_alloc_swap");
		folio_unlock(folio);
		if (shape->split) {
			mmap_read_lock(s.mm);
			bench_check(!split_leaf(vma_lookup(s.mm, s.addr + at), s.addr + at),
				    "split_leaf");
			mmap_read_unlock(s.mm);
		}
	}
	return s;
}

static struct folio **folios_of(const struct bench_space *s, const struct shape *shape)
{
	unsigned long n = s->bytes >> (PAGE_SHIFT + shape->order);
	struct folio **f = malloc(n * sizeof(struct folio *));

	bench_check(f, "malloc");
	for (unsigned long i = 0; i < n; i++) {
		f[i] = folio_at(s, s->addr + (i << (PAGE_SHIFT + shape->order)));
		folio_get(f[i]);
		folio_lock(f[i]);
	}
	return f;
}

enum what { PREPARE, OUT, OUT_FOLIO, OUT_SINGLE, BACK };

/* As many as reclaim takes at once; one by one; or one entry at a time. */
static void unmap_all(struct folio **f, unsigned long n, enum what what)
{
	if (what == OUT_FOLIO || what == OUT_SINGLE) {
		for (unsigned long i = 0; i < n; i++)
			bench_check(try_to_unmap(f[i], what == OUT_SINGLE ? TTU_SINGLE : 0),
				    "try_to_unmap");
		return;
	}
	for (unsigned long i = 0; i < n; i += 32)
		try_to_unmap_folios(f + i, (u32)(n - i < 32 ? n - i : 32), 0);
}

/* Everything up to @what. Return: ns of the last step. */
static double run(const struct shape *shape, unsigned long pages, enum what what, bool keep)
{
	unsigned long n = pages >> shape->order;
	struct bench_space s = make(shape, pages);
	struct folio **f = folios_of(&s, shape);
	double t = bench_now();

	if (what != PREPARE)
		unmap_all(f, n, what);
	if (what != BACK)
		t = bench_now() - t;
	for (unsigned long i = 0; i < n; i++) {
		bench_check(folio_mapped(f[i]) == (what == PREPARE), "try_to_unmap_folios");
		folio_unlock(f[i]);
		folio_put(f[i]);
	}
	if (what == BACK) {
		t = bench_now();
		for (unsigned long i = 0; i < n; i++) {
			unsigned long at = s.addr + (i << (PAGE_SHIFT + shape->order));

			bench_check(!(mm_fault(s.mm, at, 0) & VM_FAULT_ERROR), "a fault");
		}
		t = bench_now() - t;
	}
	free(f);
	if (!keep)
		bench_space_end(&s);
	return t / (double)pages;
}

/* ---- instructions ---- */

static void count(unsigned long n, const struct shape *shape, enum what what)
{
	static bool on;

	if (!on)
		bench_check(!swapon(&no_device, NULL, 1ul << 17, 0, SWAP_FLAG_SYNC), "swapon");
	on = true;
	run(shape, ALIGN(n, 512), what, true);
}

#define COUNT(shape, what)                                  \
	static void count_##shape##_##what(unsigned long n) \
	{                                                   \
		count(n, &shapes[shape], what);             \
	}
#define COUNTS(shape)            \
	COUNT(shape, PREPARE)    \
	COUNT(shape, OUT)        \
	COUNT(shape, OUT_FOLIO)  \
	COUNT(shape, OUT_SINGLE) \
	COUNT(shape, BACK)
COUNTS(0)
COUNTS(1)
COUNTS(2)
COUNTS(3)

#define COUNT_ROWS(shape)                                                                     \
	{ "unmap/prepare/" #shape, NULL, count_##shape##_PREPARE, NULL, NULL },               \
		{ "unmap/out/" #shape, NULL, count_##shape##_OUT, NULL, NULL },               \
		{ "unmap/out-folio/" #shape, NULL, count_##shape##_OUT_FOLIO, NULL, NULL },   \
		{ "unmap/out-single/" #shape, NULL, count_##shape##_OUT_SINGLE, NULL, NULL }, \
	{                                                                                     \
		"unmap/back/" #shape, NULL, count_##shape##_BACK, NULL, NULL                  \
	}
const struct bench_count unmap_counts[] = { COUNT_ROWS(0), COUNT_ROWS(1), COUNT_ROWS(2),
					    COUNT_ROWS(3) };
const unsigned int nr_unmap_counts = ARRAY_SIZE(unmap_counts);

static void count_rows(void)
{
	for (unsigned int i = 0; i < (bench_opt.quick ? 2 : ARRAY_SIZE(shapes)); i++) {
		double v[5];
		char name[64];

		for (unsigned int w = 0; w < 5; w++) {
			v[w] = bench_count_one(unmap_counts[5 * i + w].name, "octavo");
			if (v[w] < 0) {
				bench_note("no instruction counts: valgrind is not installed");
				return;
			}
		}
		snprintf(name, sizeof(name), "out/%s/instructions", shapes[i].name);
		bench_value(name, "in", v[OUT] - v[PREPARE], "one-at-a-time",
			    v[OUT_SINGLE] - v[PREPARE]);
		snprintf(name, sizeof(name), "out-by-folio/%s/instructions", shapes[i].name);
		bench_value(name, "in", v[OUT_FOLIO] - v[PREPARE], "one-at-a-time",
			    v[OUT_SINGLE] - v[PREPARE]);
		snprintf(name, sizeof(name), "back/%s/instructions", shapes[i].name);
		bench_value(name, "in", v[BACK] - v[OUT], NULL, 0);
	}
}

/* ---- time: unmapping alone ---- */

struct round {
	const struct shape *shape;
	unsigned long pages;
	enum what what;
};

static double ours(void *ctx)
{
	const struct round *r = ctx;

	return run(r->shape, r->pages, r->what, false);
}

static void unmap_rows(unsigned long pages)
{
	int type = swapon(&no_device, NULL, pages + 1024, 0, SWAP_FLAG_SYNC);

	bench_check(type >= 0, "swapon");
	for (unsigned int i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct round out = { &shapes[i], pages, OUT },
			     folio = { &shapes[i], pages, OUT_FOLIO },
			     single = { &shapes[i], pages, OUT_SINGLE },
			     back = { &shapes[i], pages, BACK };
		char name[64];

		snprintf(name, sizeof(name), "out/%s", shapes[i].name);
		bench_row(name, "ns",
			  (struct contestant[]){ { "octavo", ours, &out },
						 { "by-folio", ours, &folio },
						 { "one-at-a-time", ours, &single },
						 { 0 } });
		snprintf(name, sizeof(name), "back/%s", shapes[i].name);
		bench_row(name, "ns", (struct contestant[]){ { "octavo", ours, &back }, { 0 } });
	}
	bench_check(!swap_device_close_begin(type) && !swap_device_close_end(type),
		    "closing the device");
}

/* ---- time: to compressed memory and back ---- */

static double paged_ns[2]; /* of the last round: out, in */

/* Pages that compress as ordinary ones do: a quarter is noise. */
static void fill(const struct bench_space *s)
{
	u64 seed = 88172645463325252ull;

	for (unsigned long at = 0; at < s->bytes; at += PAGE_SIZE) {
		struct pt_pos pos;
		u64 *p;

		pgtable_walk(s->mm, s->addr + at, PGTABLE_LEVEL_PTE, &pos);
		p = pfn_to_virt(pte_pfn(pos.pte) +
				((at >> PAGE_SHIFT) & ((1ul << level_order(pos.level)) - 1)));
		for (unsigned int i = 0; i < PAGE_SIZE / sizeof(u64); i++)
			p[i] = i % 4 ? 0x2020202020202020ull : bench_rand(&seed);
	}
}

static void page_round(const struct round *r)
{
	struct bench_space s = bench_space_make(r->shape->order, r->pages << PAGE_SHIFT);
	double t;

	bench_space_populate(&s);
	fill(&s);
	t = bench_now();
	bench_check(!vm_madvise(s.mm, s.addr, s.bytes, MADV_PAGEOUT), "MADV_PAGEOUT");
	paged_ns[0] = (bench_now() - t) / (double)r->pages;
	bench_check(get_mm_counter(s.mm, MM_SWAPENTS) >= r->pages - r->pages / 64,
		    "paging all out");
	t = bench_now();
	for (unsigned long at = 0; at < s.bytes; at += PAGE_SIZE)
		bench_check(!(mm_fault(s.mm, s.addr + at, 0) & VM_FAULT_ERROR), "a fault");
	paged_ns[1] = (bench_now() - t) / (double)r->pages;
	bench_space_end(&s);
}

static double page_out(void *ctx)
{
	page_round(ctx);
	return paged_ns[0];
}

static double page_in(void *ctx)
{
	page_round(ctx);
	return paged_ns[1];
}

static double linux_out(void *ctx)
{
	const struct round *r = ctx;

	return linux_run(LINUX_PAGEOUT, r->shape->order, r->pages << PAGE_SHIFT);
}

static double linux_in(void *ctx)
{
	const struct round *r = ctx;

	return linux_run(LINUX_PAGEIN, r->shape->order, r->pages << PAGE_SHIFT);
}

static void page_rows(unsigned long pages)
{
	struct swapdev_zram_args args = { .bytes = pages * 3 << PAGE_SHIFT, .codec = SWAPDEV_LZ4 };
	struct swapdev *zram;
	int type;

	bench_check(!reclaim_init(), "reclaim_init");
	bench_check(!swapdev_zram_create(&args, &zram), "making a compressed device");
	type = swapdev_on(zram, 0);
	bench_check(type >= 0, "swapdev_on");
	for (unsigned int i = 0; i < 2; i++) {
		struct round r = { &shapes[i], pages, OUT };
		bool peer = linux_has_zram() && linux_use_order(shapes[i].order);
		struct contestant out[] = { { "octavo", page_out, &r },
					    { peer ? "linux" : NULL, linux_out, &r },
					    { 0 } };
		struct contestant in[] = { { "octavo", page_in, &r },
					   { peer ? "linux" : NULL, linux_in, &r },
					   { 0 } };
		char name[64];

		snprintf(name, sizeof(name), "pageout/%s", shapes[i].name);
		bench_row(name, "ns", out);
		snprintf(name, sizeof(name), "pagein/%s", shapes[i].name);
		bench_row(name, "ns", in);
		linux_unuse_order();
	}
	if (!linux_has_zram())
		bench_note("no peer for pageout and pagein: Linux has no zram device as swap here "
			   "(modprobe zram; zramctl -f -s 1G -a lz4; mkswap; swapon)");
	bench_check(!swapoff(type), "swapoff");
	swapdev_destroy(zram);
}

void bench_unmap(void)
{
	unsigned long pages = bench_opt.quick ? 4096 : 65536;

	bench_begin("unmap", "folios to slots of swap and back, ns and instructions a page");
	linux_start();
	bench_boot(2ull << 30, 2, true);
	unmap_rows(pages);
	page_rows(pages);
	linux_stop();
	sim_shutdown();
	count_rows();
	bench_note("out and back: no transfer, the swap cache has the folios; LZ4 in pageout and "
		   "pagein, a quarter of each page is random");
}
