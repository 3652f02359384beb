/* SPDX-License-Identifier: MIT */
/*
 * vmap.c - kernel mappings: 100 MiB mapped in runs of order 9, of order 8 and in single pages, in the same run; memory
 * by vmalloc() and back.
 *
 * The peer of a mapping by runs is the same 100 MiB in single pages.
 */
#include <stdlib.h>

#include "harness.h"

#define MAP_PAGES (25600ul) /* 100 MiB */

static const u64 ram = 1ull << 30;

/* ---- 100 MiB ---- */

struct mapping {
	unsigned int order;
	struct page **pages;
	struct folio_subrange *parts;
	struct folio **folios;
	bool by_parts;
};

static __noinline void out_of_memory(void)
{
	fprintf(stderr, "octavo bench: out of memory\n");
	exit(1);
}

static void make_mapping(struct mapping *m, unsigned int order)
{
	const unsigned long nr = MAP_PAGES >> order;

	m->order = order;
	m->pages = calloc(MAP_PAGES, sizeof(*m->pages));
	m->parts = calloc(nr, sizeof(*m->parts));
	m->folios = calloc(nr, sizeof(*m->folios));
	if (!m->pages || !m->parts || !m->folios)
		out_of_memory();
	for (unsigned long i = 0; i < nr; i++) {
		m->folios[i] = folio_alloc(GFP_KERNEL, order, FOLIO_FILE);
		if (!m->folios[i])
			out_of_memory();
	}
	/* neighbours may not stay neighbours: every run ends where its folio does */
	for (unsigned long i = 0; i + 1 < nr; i += 2) {
		struct folio *f = m->folios[i];

		m->folios[i] = m->folios[i + 1];
		m->folios[i + 1] = f;
	}
	for (unsigned long i = 0; i < nr; i++) {
		m->parts[i] = folio_subrange(m->folios[i], 0, 1ul << order);
		for (unsigned long p = 0; p < 1ul << order; p++)
			m->pages[(i << order) + p] = folio_page(m->folios[i], p);
	}
}

static void drop_mapping(struct mapping *m)
{
	for (unsigned long i = 0; i < MAP_PAGES >> m->order; i++)
		folio_put(m->folios[i]);
	free(m->pages);
	free(m->parts);
	free(m->folios);
}

static void map_once(const struct mapping *m, void **addr)
{
	int err = m->by_parts ? vmap_folios(m->parts, (unsigned int)(MAP_PAGES >> m->order), 0,
					    PAGE_KERNEL, addr)
			      : vmap_pages(m->pages, MAP_PAGES, 0, PAGE_KERNEL, addr);

	if (err)
		out_of_memory();
}

/* Entries and nothing else: frames without words. A page. */
static double map_entries(void *ctx)
{
	const int turns = bench_opt.quick ? 5 : 50;
	const unsigned long *pfns = ctx;
	double ns = 0;

	for (int i = 0; i < turns; i++) {
		double t = bench_now();
		void *addr = vmap_pfn(pfns, MAP_PAGES, PAGE_KERNEL);

		ns += bench_now() - t;
		if (!addr)
			out_of_memory();
		vunmap(addr);
	}
	return ns / turns / MAP_PAGES;
}

static void entry_row(void)
{
	unsigned long *pfns = malloc(MAP_PAGES * sizeof(*pfns));

	if (!pfns)
		out_of_memory();
	for (unsigned long i = 0; i < MAP_PAGES; i++)
		pfns[i] = (1ul << 35) + 3 * i;
	bench_row("map-100MiB/no-words/a-page", "ns",
		  (struct contestant[]){ { "octavo", map_entries, pfns }, { 0 } });
	free(pfns);
}

/* ns to map all of it; ending the mapping is not in it. */
static double map_all(void *ctx)
{
	const int turns = bench_opt.quick ? 5 : 50;
	double ns = 0;

	for (int i = 0; i < turns; i++) {
		void *addr;
		double t = bench_now();

		map_once(ctx, &addr);
		ns += bench_now() - t;
		vunmap(addr);
	}
	return ns / turns;
}

static double unmap_all(void *ctx)
{
	const int turns = bench_opt.quick ? 5 : 50;
	double ns = 0;

	for (int i = 0; i < turns; i++) {
		void *addr;
		double t;

		map_once(ctx, &addr);
		t = bench_now();
		vunmap(addr);
		ns += bench_now() - t;
	}
	return ns / turns;
}

static void map_rows(void)
{
	static const unsigned int orders[] = { 9, 8, 0 };
	struct mapping m[3];
	double ns[2][3];
	char name[64];

	for (unsigned int i = 0; i < 3; i++)
		make_mapping(&m[i], orders[i]);
	for (unsigned int by = 0; by < 2; by++) {
		const char *how = by ? "pages" : "folios";

		for (unsigned int i = 0; i < 3; i++)
			m[i].by_parts = !by;
		for (unsigned int i = 0; i < 3; i++) {
			snprintf(name, sizeof(name), "map-100MiB/%s/order%u", how, orders[i]);
			ns[by][i] = bench_row(name, "ns",
					      (struct contestant[]){ { "octavo", map_all, &m[i] },
								     { "order0", map_all, &m[2] },
								     { 0 } });
		}
		snprintf(name, sizeof(name), "map-100MiB/%s/a-page-order0", how);
		bench_value(name, "ns", ns[by][2] / MAP_PAGES, NULL, 0);
		snprintf(name, sizeof(name), "map-100MiB/%s/order9-is-faster", how);
		bench_value(name, "times", ns[by][2] / ns[by][0], NULL, 0);
		snprintf(name, sizeof(name), "map-100MiB/%s/order8-is-faster", how);
		bench_value(name, "times", ns[by][2] / ns[by][1], NULL, 0);
	}
	for (unsigned int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "unmap-100MiB/order%u", orders[i]);
		bench_row(name, "ns",
			  (struct contestant[]){ { "octavo", unmap_all, &m[i] }, { 0 } });
	}
	for (unsigned int i = 0; i < 3; i++)
		drop_mapping(&m[i]);
}

/* ---- vmalloc ---- */

struct job {
	unsigned long size; /* 0: random, 4 KiB to 4 MiB */
	unsigned long turns;
	bool alone; /* each of two CPUs by itself, not both at once */
};

static double job_run(const struct job *j, void (*op)(u32 cpu, void *ctx))
{
	return bench_two(j->alone, op, (void *)j) / (double)j->turns;
}

static void vmalloc_pairs(u32 cpu, void *ctx)
{
	const struct job *j = ctx;
	u64 seed = 88172645463325252ull + cpu;

	for (unsigned long i = 0; i < j->turns; i++) {
		unsigned long size = j->size;
		void *p;

		if (!size)
			size = PAGE_SIZE << bench_rand(&seed) % 11;
		p = vmalloc(size);
		if (!p)
			out_of_memory();
		vfree(p);
	}
}

static double vmalloc_repeat(void *ctx)
{
	return job_run(ctx, vmalloc_pairs);
}

/* The same memory as one physically contiguous run. */
static void frame_pairs(u32 cpu, void *ctx)
{
	const struct job *j = ctx;
	const unsigned int order = (unsigned int)ilog2(j->size >> PAGE_SHIFT);

	for (unsigned long i = 0; i < j->turns; i++) {
		struct page *page = alloc_pages(GFP_KERNEL, order);

		if (!page)
			out_of_memory();
		put_page(page);
	}
}

static double frame_repeat(void *ctx)
{
	return job_run(ctx, frame_pairs);
}

static void vmalloc_rows(void)
{
	static const unsigned long sizes[] = { 4096, 16384, 65536, 1ul << 20, 4ul << 20, 0 };
	char size[32], name[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct job together = { .size = sizes[i] }, alone;

		/* some milliseconds, with many flushes */
		together.turns = sizes[i] && sizes[i] <= 1ul << 16 ? 20000 : 4000;
		if (bench_opt.quick)
			together.turns /= 100;
		alone = together;
		alone.alone = true;
		snprintf(size, sizeof(size), sizes[i] ? "%luKiB" : "random", sizes[i] >> 10);
		snprintf(name, sizeof(name), "vmalloc/%s/cpus1", size);
		bench_row(name, "ns",
			  (struct contestant[]){
				  { "octavo", vmalloc_repeat, &alone },
				  { sizes[i] ? "contiguous" : NULL, frame_repeat, &alone },
				  { 0 } });
		snprintf(name, sizeof(name), "vmalloc/%s/cpus2", size);
		bench_row(name, "ns",
			  (struct contestant[]){
				  { "octavo", vmalloc_repeat, &together },
				  { "cpus1", vmalloc_repeat, &alone },
				  { sizes[i] ? "contiguous" : NULL, frame_repeat, &together },
				  { 0 } });
	}
}

/* ---- many areas ---- */

#define MANY 100000ul

struct many {
	void **p;
	unsigned long nr;
	struct page *page;
};

static void add_one(struct many *m, unsigned long at)
{
	m->p[at] = vmap(&m->page, 1, 0, PAGE_KERNEL);
	if (!m->p[at])
		out_of_memory();
}

static void replace_one(struct many *m, unsigned long i)
{
	const unsigned long at = i * 7919 % m->nr;

	vunmap(m->p[at]);
	add_one(m, at);
}

/* With so many there: one more, and one less. */
static double one_more(void *ctx)
{
	const unsigned long turns = bench_opt.quick ? 1000 : 20000;
	struct many *m = ctx;
	double t = bench_now();

	for (unsigned long i = 0; i < turns; i++)
		replace_one(m, i);
	return (bench_now() - t) / (double)turns;
}

static void make_many(struct many *m)
{
	m->p = calloc(MANY, sizeof(*m->p));
	m->page = alloc_page(GFP_KERNEL);
	m->nr = 0;
	if (!m->p || !m->page)
		out_of_memory();
}

static void many_rows(void)
{
	static const unsigned long numbers[] = { 100, 10000, MANY };
	struct many m;
	char name[64];

	make_many(&m);
	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++) {
		const unsigned long nr = bench_opt.quick ? numbers[i] / 10 : numbers[i];

		for (; m.nr < nr; m.nr++)
			add_one(&m, m.nr);
		snprintf(name, sizeof(name), "vmap-vunmap/among-%lu", numbers[i]);
		bench_row(name, "ns", (struct contestant[]){ { "octavo", one_more, &m }, { 0 } });
	}
	while (m.nr)
		vunmap(m.p[--m.nr]);
	put_page(m.page);
	free(m.p);
}

/* ---- what areas keep ---- */

static void memory_rows(void)
{
	static const unsigned int orders[] = { 9, 4, 0 };
	char name[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++) {
		struct vmalloc_stat st;
		struct page **pages = kvmalloc(MAP_PAGES * sizeof(*pages), GFP_KERNEL);
		struct mapping m;
		void *addr;

		make_mapping(&m, orders[i]);
		if (!pages)
			out_of_memory();
		for (unsigned long p = 0; p < MAP_PAGES; p++) {
			pages[p] = m.pages[p];
			get_page(pages[p]);
		}
		addr = vmap(pages, MAP_PAGES, VM_MAP_PUT_PAGES, PAGE_KERNEL);
		if (!addr)
			out_of_memory();
		vmalloc_stat(&st);
		snprintf(name, sizeof(name), "kept/100MiB/order%u", orders[i]);
		bench_value(name, "bytes", (double)st.runs_bytes, "array-of-pointers",
			    (double)st.array_bytes);
		vfree(addr);
		drop_mapping(&m);
	}
}

void bench_vmap(void)
{
	bench_begin("vmap", "kernel mappings: 100 MiB by runs and by pages, vmalloc and vfree");
	bench_boot(ram, 2, true);
	map_rows();
	entry_row();
	vmalloc_rows();
	many_rows();
	memory_rows();
	sim_shutdown();
	bench_count_rows(vmap_counts, nr_vmap_counts);
	bench_note("mapping is checking every page, storing entries, and addresses; a flush comes "
		   "once in 512 areas, 32 MiB of addresses, or 16 MiB of memory");
}

/* ---- instructions ---- */

static struct mapping counted;

static void setup_pages(void)
{
	make_mapping(&counted, 0);
}

static void setup_runs(void)
{
	make_mapping(&counted, 9);
}

/* @n single pages, or pages of larger folios, many by one call. */
static void count_map(unsigned long n)
{
	for (unsigned long nr; n; n -= nr) {
		void *addr;

		nr = min(n, 20480ul);
		if (vmap_pages(counted.pages, (unsigned int)nr, 0, PAGE_KERNEL, &addr))
			out_of_memory();
		vunmap(addr);
	}
}

/* @n pages in parts of all of a larger folio. */
static void count_map_large(unsigned long n)
{
	for (unsigned long nr; n; n -= nr) {
		void *addr;

		nr = min(n, 20480ul);
		if (vmap_folios(counted.parts, (unsigned int)(nr >> counted.order), 0, PAGE_KERNEL,
				&addr))
			out_of_memory();
		vunmap(addr);
	}
}

static void count_map_parts(unsigned long n)
{
	for (unsigned long nr; n; n -= nr) {
		void *addr;

		nr = min(n, 20480ul);
		if (vmap_folios(counted.parts, (unsigned int)nr, 0, PAGE_KERNEL, &addr))
			out_of_memory();
		vunmap(addr);
	}
}

static void count_vmalloc(unsigned long n)
{
	struct job j = { .size = PAGE_SIZE, .turns = n };

	vmalloc_pairs(0, &j);
}

static struct many crowd;

/* Many areas of a size that is never wanted again come first. */
static void setup_many(void)
{
	make_many(&crowd);
	for (unsigned long i = 0; i < 5000; i++) {
		struct page *pages[] = { crowd.page, crowd.page, crowd.page };

		crowd.p[i] = vmap(pages, ARRAY_SIZE(pages), 0, PAGE_KERNEL);
		if (!crowd.p[i])
			out_of_memory();
	}
	for (unsigned long i = 0; i < 5000; i++)
		vunmap(crowd.p[i]);
	for (; crowd.nr < MANY; crowd.nr++)
		add_one(&crowd, crowd.nr);
}

static void count_many(unsigned long n)
{
	for (unsigned long i = 0; i < n; i++)
		replace_one(&crowd, i);
}

const struct bench_count vmap_counts[] = {
	{ "map-and-unmap/a-page", setup_pages, count_map, NULL, NULL },
	{ "map-and-unmap/a-page-of-2MiB", setup_runs, count_map, NULL, NULL },
	{ "map-and-unmap/a-page-of-2MiB-folios", setup_runs, count_map_large, NULL, NULL },
	{ "map-and-unmap/a-folio", setup_pages, count_map_parts, NULL, NULL },
	{ "vmalloc-vfree/4KiB", NULL, count_vmalloc, NULL, NULL },
	{ "vmap-vunmap/among-100000", setup_many, count_many, NULL, NULL },
};
const unsigned int nr_vmap_counts = ARRAY_SIZE(vmap_counts);
