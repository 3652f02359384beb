/* SPDX-License-Identifier: MIT */
/*
 * exclusive.c - octavo bench exclusive: the bits that say that no other address space can map a
 * page, by runs and page by page.
 */
#include <stdlib.h>

#include "harness.h"

struct run {
	struct folio *folio;
	u32 nr;
};

enum { TURNS = 100000 };

static double set_clear(void *ctx)
{
	struct run *r = ctx;
	struct folio_subrange sr = folio_subrange(r->folio, 0, r->nr);
	double t = bench_now();

	for (int i = 0; i < TURNS; i++) {
		folio_set_anon_exclusive(sr);
		folio_clear_anon_exclusive(sr);
	}
	return (bench_now() - t) / TURNS / 2;
}

static double set_clear_singly(void *ctx)
{
	struct run *r = ctx;
	double t = bench_now();

	for (int i = 0; i < TURNS / 100; i++) {
		for (u32 p = 0; p < r->nr; p++)
			folio_set_anon_exclusive(folio_subrange(r->folio, p, 1));
		for (u32 p = 0; p < r->nr; p++)
			folio_clear_anon_exclusive(folio_subrange(r->folio, p, 1));
	}
	return (bench_now() - t) / (TURNS / 100) / 2;
}

/* The unmapper's step: full barrier, one look at the pins, all bits. */
static double share(void *ctx)
{
	struct run *r = ctx;
	struct folio_subrange sr = folio_subrange(r->folio, 0, r->nr);
	double t = bench_now();
	int err = 0;

	for (int i = 0; i < TURNS; i++) {
		folio_set_anon_exclusive(sr);
		err |= folio_try_share_anon_rmap(sr, PGTABLE_LEVEL_PTE);
	}
	t = bench_now() - t;
	if (err) {
		fprintf(stderr, "octavo bench: pages that nobody pins cannot be shared\n");
		exit(1);
	}
	return t / TURNS;
}

static double share_singly(void *ctx)
{
	struct run *r = ctx;
	double t = bench_now();
	int err = 0;

	for (int i = 0; i < TURNS / 100; i++) {
		folio_set_anon_exclusive(folio_subrange(r->folio, 0, r->nr));
		for (u32 p = 0; p < r->nr; p++)
			err |= folio_try_share_anon_rmap(folio_subrange(r->folio, p, 1),
							 PGTABLE_LEVEL_PTE);
	}
	bench_use(err);
	return (bench_now() - t) / (TURNS / 100);
}

static double scan(void *ctx)
{
	struct run *r = ctx;
	double t;
	bool exclusive;
	u32 sum = 0;

	folio_set_anon_exclusive(folio_subrange(r->folio, 0, r->nr));
	t = bench_now();
	for (int i = 0; i < TURNS; i++)
		sum += folio_anon_exclusive_run(folio_subrange(r->folio, 0, r->nr), &exclusive);
	bench_use(sum);
	return (bench_now() - t) / TURNS;
}

void bench_exclusive(void)
{
	static const unsigned int orders[] = { 4, 6, 9 };
	char name[64];

	bench_begin("exclusive", "exclusivity of all pages of a folio, ns an operation");
	bench_boot(1ull << 30, 2, true);
	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++) {
		struct run r = { .folio = folio_alloc(GFP_NOWAIT, orders[i], FOLIO_ANON),
				 .nr = 1u << orders[i] };

		if (!r.folio)
			abort();
		snprintf(name, sizeof(name), "set-or-clear/%u-pages", r.nr);
		bench_row(name, "ns",
			  (struct contestant[]){ { "octavo", set_clear, &r },
						 { "page-by-page", set_clear_singly, &r },
						 { 0 } });
		snprintf(name, sizeof(name), "set+share/%u-pages", r.nr);
		bench_row(name, "ns",
			  (struct contestant[]){ { "octavo", share, &r },
						 { "page-by-page", share_singly, &r },
						 { 0 } });
		snprintf(name, sizeof(name), "find-run/%u-pages", r.nr);
		bench_row(name, "ns", (struct contestant[]){ { "octavo", scan, &r }, { 0 } });
		folio_put(r.folio);
	}
	sim_shutdown();
}
