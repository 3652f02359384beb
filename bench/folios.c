/* SPDX-License-Identifier: MIT */
/*
 * folios.c - what the second allocation costs: a folio (descriptor, words) beside the bare frames it
 * describes, in the same run; exclusivity; split and merge; reading the memory map.
 */
#include <stdlib.h>

#include "harness.h"

static const u64 ram = 8ull << 30;

struct job {
	unsigned int order;
	unsigned long turns, n;
	u32 cpus;
	struct folio **folios[2];
	unsigned long *pfns[2];
};

static __noinline void out_of_memory(void)
{
	fprintf(stderr, "octavo bench: out of memory\n");
	exit(1);
}

static struct folio *new_folio(unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_NOWAIT, order, FOLIO_ANON);

	if (!folio)
		out_of_memory();
	return folio;
}

static unsigned long new_frames(unsigned int order)
{
	long pfn = frame_alloc(GFP_NOWAIT | __GFP_MOVABLE, order, NUMA_NO_NODE);

	if (pfn < 0)
		out_of_memory();
	return (unsigned long)pfn;
}

static void folio_pairs(u32 cpu, void *ctx)
{
	struct job *j = ctx;

	for (unsigned long i = 0; i < j->turns; i++)
		folio_put(new_folio(j->order));
}

static void frame_pairs(u32 cpu, void *ctx)
{
	struct job *j = ctx;

	for (unsigned long i = 0; i < j->turns; i++)
		frame_free(new_frames(j->order), j->order);
}

static void folio_bulk(u32 cpu, void *ctx)
{
	struct job *j = ctx;

	for (unsigned long i = 0; i < j->n; i++)
		j->folios[cpu][i] = new_folio(j->order);
	for (unsigned long i = j->n; i-- > 0;)
		folio_put(j->folios[cpu][i]);
}

static void frame_bulk(u32 cpu, void *ctx)
{
	struct job *j = ctx;

	for (unsigned long i = 0; i < j->n; i++)
		j->pfns[cpu][i] = new_frames(j->order);
	for (unsigned long i = j->n; i-- > 0;)
		frame_free(j->pfns[cpu][i], j->order);
}

static double repeat_folio(void *ctx)
{
	struct job *j = ctx;

	return bench_parallel(j->cpus, folio_pairs, j) / (double)j->turns;
}

static double repeat_frame(void *ctx)
{
	struct job *j = ctx;

	return bench_parallel(j->cpus, frame_pairs, j) / (double)j->turns;
}

static double bulk_folio(void *ctx)
{
	struct job *j = ctx;

	return bench_parallel(j->cpus, folio_bulk, j) / (double)j->n;
}

static double bulk_frame(void *ctx)
{
	struct job *j = ctx;

	return bench_parallel(j->cpus, frame_bulk, j) / (double)j->n;
}

static void alloc_rows(unsigned int order, u32 cpus)
{
	struct job j = { .order = order, .cpus = cpus, .turns = order ? 100000 : 500000 };
	char name[64];

	j.n = (ram >> PAGE_SHIFT) / 8 >> order;
	if (bench_opt.quick) {
		j.n /= 64;
		j.turns /= 64;
	}
	for (u32 c = 0; c < 2; c++) {
		j.folios[c] = calloc(j.n, sizeof(void *));
		j.pfns[c] = calloc(j.n, sizeof(long));
		if (!j.folios[c] || !j.pfns[c])
			abort();
	}
	snprintf(name, sizeof(name), "repeat/order%u/cpus%u", order, cpus);
	bench_row(name, "ns",
		  (struct contestant[]){ { "octavo", repeat_folio, &j },
					 { "bare-frames", repeat_frame, &j },
					 { 0 } });
	/* what the second allocation costs */
	snprintf(name, sizeof(name), "descriptor-share/order%u/cpus%u", order, cpus);
	bench_value(name, "ns", bench_medians[0] - bench_medians[1], NULL, 0);
	snprintf(name, sizeof(name), "bulk/order%u/cpus%u", order, cpus);
	bench_row(name, "ns",
		  (struct contestant[]){
			  { "octavo", bulk_folio, &j }, { "bare-frames", bulk_frame, &j }, { 0 } });
	for (u32 c = 0; c < 2; c++) {
		free(j.folios[c]);
		free(j.pfns[c]);
	}
}

/* ---- exclusivity ---- */

static struct folio *huge;

static double exclusive_word(void *unused)
{
	enum { N = 200000 };
	struct folio_subrange sr = folio_subrange(huge, 0, 512);
	double t = bench_now();

	for (int i = 0; i < N; i++) {
		folio_set_anon_exclusive(sr);
		folio_clear_anon_exclusive(sr);
	}
	return (bench_now() - t) / N / 2;
}

static double exclusive_bit(void *unused)
{
	enum { N = 2000 };
	double t = bench_now();

	for (int i = 0; i < N; i++) {
		for (u32 p = 0; p < 512; p++)
			folio_set_anon_exclusive(folio_subrange(huge, p, 1));
		for (u32 p = 0; p < 512; p++)
			folio_clear_anon_exclusive(folio_subrange(huge, p, 1));
	}
	return (bench_now() - t) / N / 2;
}

/* ---- split and merge ---- */

static double split_all(void *ctx)
{
	enum { N = 200 };
	double ns = 0;

	for (int i = 0; i < N; i++) {
		struct folio *folio = new_folio(9);
		struct page *page = folio_page(folio, 0);
		double t;
		int err;

		folio_lock(folio);
		t = bench_now();
		if (ctx)
			err = folio_split_out(folio, page + 77, 0, 0, GFP_NOWAIT);
		else
			err = folio_split(folio, 0, 0, GFP_NOWAIT);
		ns += bench_now() - t;
		if (err)
			out_of_memory();
		for (unsigned long p = 0, nr; p < 512; p += nr) {
			folio = page_folio(page + p);
			nr = folio_nr_pages(folio);
			folio_unlock(folio);
			folio_put(folio);
		}
	}
	return ns / N;
}

static double merge_all(void *unused)
{
	enum { N = 200 };
	double ns = 0;

	for (int i = 0; i < N; i++) {
		struct folio *folio = new_folio(9);
		double t;
		int err = 0;

		folio_lock(folio);
		if (folio_split(folio, 0, 0, GFP_NOWAIT))
			out_of_memory();
		t = bench_now();
		folio = folio_merge(folio, 9, GFP_NOWAIT, &err);
		ns += bench_now() - t;
		if (!folio)
			out_of_memory();
		folio_unlock(folio);
		folio_put(folio);
	}
	return ns / N;
}

/* ---- words ---- */

static unsigned long *words;

static double fill_512(void *unused)
{
	enum { N = 100000 };
	double t = bench_now();

	for (int i = 0; i < N; i++) {
		words_fill_release(words, 0x1234567890abcdeful, 512);
		bench_use(words);
	}
	return (bench_now() - t) / N;
}

static double fill_512_singly(void *unused)
{
	enum { N = 100000 };
	double t = bench_now();

	for (int i = 0; i < N; i++) {
		for (int k = 0; k < 512; k++)
			smp_store_release(&words[k], 0x1234567890abcdeful);
		bench_use(words);
	}
	return (bench_now() - t) / N;
}

/* GB/s over the words. */
static double walk(void *unused)
{
	u64 counts[MEMDESC_NR_TYPES] = { 0 };
	unsigned long nr = ram >> PAGE_SHIFT;
	double t = bench_now();

	pfn_count_types(0, nr, counts);
	bench_use(counts);
	return (double)nr * 8 / (bench_now() - t);
}

static double walk_bound(void *unused)
{
	unsigned long nr = ram >> PAGE_SHIFT, sum = 0;
	const unsigned long *w = (const unsigned long *)(const void *)pfn_to_page(0);
	double t = bench_now();

	for (unsigned long i = 0; i < nr; i++)
		sum += w[i];
	bench_use(sum);
	return (double)nr * 8 / (bench_now() - t);
}

static void walk_rows(void)
{
	unsigned long nr = (ram >> PAGE_SHIFT) / 2, n = 0;
	struct folio **all = calloc(nr, sizeof(*all));

	if (!all)
		abort();
	/* a populated map: half of memory in single-page folios */
	while (n < nr && (all[n] = folio_alloc(GFP_NOWAIT, 0, FOLIO_ANON)))
		n++;
	bench_row("pfn-walk", "GB/s",
		  (struct contestant[]){
			  { "octavo", walk, NULL }, { "sum-of-words", walk_bound, NULL }, { 0 } });
	while (n--)
		folio_put(all[n]);
	free(all);
}

void bench_folios(void)
{
	static const unsigned int orders[] = { 0, 4, 9 };

	bench_begin("folios",
		    "descriptor and words beside the bare frames, 8 GiB, ns an operation");
	bench_boot(ram, 2, true);
	for (unsigned int o = 0; o < 3; o++) {
		alloc_rows(orders[o], 1);
		alloc_rows(orders[o], 2);
	}
	huge = new_folio(9);
	bench_row("exclusive/512-pages", "ns",
		  (struct contestant[]){ { "octavo", exclusive_word, NULL },
					 { "page-by-page", exclusive_bit, NULL },
					 { 0 } });
	folio_put(huge);
	bench_row("split/order9-to-0", "ns",
		  (struct contestant[]){ { "octavo", split_all, NULL }, { 0 } });
	bench_row("split/one-page-out-of-order9", "ns",
		  (struct contestant[]){ { "octavo", split_all, &huge }, { 0 } });
	bench_row("merge/order0-to-9", "ns",
		  (struct contestant[]){ { "octavo", merge_all, NULL }, { 0 } });
	words = aligned_alloc(64, 4096);
	if (!words)
		abort();
	bench_row("words-fill/512", "ns",
		  (struct contestant[]){ { "octavo", fill_512, NULL },
					 { "one-by-one", fill_512_singly, NULL },
					 { 0 } });
	free(words);
	walk_rows();
	sim_shutdown();
	bench_count_rows(folios_counts, nr_folios_counts);
	bench_note("repeat and bulk are pairs: alloc and last put. Peers do the same work in the "
		   "same run");
}

static void count_folio0(unsigned long n)
{
	struct job j = { .turns = n };

	folio_pairs(0, &j);
}

static void count_frame0(unsigned long n)
{
	struct job j = { .turns = n };

	frame_pairs(0, &j);
}

const struct bench_count folios_counts[] = {
	{ "folio-repeat/order0", NULL, count_folio0, "bare-frames", count_frame0 },
};
const unsigned int nr_folios_counts = ARRAY_SIZE(folios_counts);
