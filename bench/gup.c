/* SPDX-License-Identifier: MIT */
/*
 * gup.c - octavo bench gup: pins on mapped memory, lockless and under the lock, by folio size; beside
 * Linux registering the same amount of memory for I/O.
 */
#include <stdlib.h>

#include "linux.h"
#include "space.h"

enum { BATCH = 512 };

struct pins {
	struct bench_space space;
	unsigned int order;
	bool slow;
	struct page *pages[BATCH];
};

/* Pin and unpin everything, a batch at a time. Return: ns a page of @unpin, or of pinning. */
static double pin_all(struct pins *p, bool unpin)
{
	unsigned long nr = p->space.bytes >> PAGE_SHIFT;
	double in = 0, out = 0, t;

	for (unsigned long i = 0; i < nr; i += BATCH) {
		unsigned long at = p->space.addr + (i << PAGE_SHIFT);
		long got;

		t = bench_now();
		if (p->slow)
			got = pin_user_pages_remote(p->space.mm, at, BATCH, FOLL_WRITE, p->pages);
		else
			got = pin_user_pages_fast(p->space.mm, at, BATCH, FOLL_WRITE, p->pages);
		in += bench_now() - t;
		if (got != BATCH) {
			fprintf(stderr, "octavo bench: %ld pages pinned of %d\n", got, BATCH);
			exit(1);
		}
		t = bench_now();
		unpin_user_pages(p->pages, BATCH);
		out += bench_now() - t;
	}
	return (unpin ? out : in) / (double)nr;
}

static double pin(void *ctx)
{
	return pin_all(ctx, false);
}

static double unpin(void *ctx)
{
	return pin_all(ctx, true);
}

static double linux_pin(void *ctx)
{
	const struct pins *p = ctx;

	return linux_run(LINUX_PIN, p->order, p->space.bytes);
}

void bench_gup(void)
{
	static const unsigned int orders[] = { 0, 4, 9 };
	static const char *const sizes[] = { "4K", "64K", "2M" };
	unsigned long bytes = bench_opt.quick ? 16ul << 20 : 1ul << 30;
	struct pins p = { 0 };
	char name[64];

	bench_begin("gup", "pins of 1 GiB, 512 pages a call, ns a page");
	linux_start();
	bench_boot(2ull << 30, 2, true);
	for (unsigned int o = 0; o < ARRAY_SIZE(orders); o++) {
		bool peer = linux_use_order(orders[o]);
		struct contestant c[] = { { "octavo", pin, &p },
					  { "linux-io_uring", linux_pin, &p },
					  { 0 } };

		if (!peer)
			c[1].name = NULL;
		p.order = orders[o];
		p.space = bench_space_make(orders[o], bytes);
		bench_space_populate(&p.space);
		p.slow = false;
		snprintf(name, sizeof(name), "pin-fast/%s", sizes[o]);
		bench_row(name, "ns", c);
		snprintf(name, sizeof(name), "unpin/%s", sizes[o]);
		c[1].name = NULL;
		c[0].run = unpin;
		bench_row(name, "ns", c);
		p.slow = true;
		c[0].run = pin;
		snprintf(name, sizeof(name), "pin-slow/%s", sizes[o]);
		bench_row(name, "ns", c);
		bench_space_end(&p.space);
		linux_unuse_order();
	}
	linux_stop();
	sim_shutdown();
	bench_count_rows(gup_counts, nr_gup_counts);
	bench_note(
		"Linux registers 1 GiB as an I/O buffer in one call: pins and its table of pages");
}

/* ---- instructions ---- */

static struct pins counted;

static void count_setup(unsigned int order)
{
	counted.space = bench_space_make(order, BATCH << PAGE_SHIFT);
	bench_space_populate(&counted.space);
}

static void setup_0(void)
{
	count_setup(0);
}

static void setup_4(void)
{
	count_setup(4);
}

static void setup_9(void)
{
	count_setup(9);
}

static void count_pins(unsigned long n)
{
	for (unsigned long i = 0; i < n; i += BATCH)
		pin_all(&counted, false);
}

const struct bench_count gup_counts[] = {
	{ "pin+unpin/4K", setup_0, count_pins, NULL, NULL },
	{ "pin+unpin/64K", setup_4, count_pins, NULL, NULL },
	{ "pin+unpin/2M", setup_9, count_pins, NULL, NULL },
};
const unsigned int nr_gup_counts = ARRAY_SIZE(gup_counts);
