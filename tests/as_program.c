// SPDX-License-Identifier: MIT
/*
 * as_program.c - programs: decoded, run, compared after each operation; made, and made shorter.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "as_ops.h"
#include "mmu.h"
#include "sim.h"

struct as_run_state run;

void describe(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(run.line, sizeof(run.line), fmt, ap);
	va_end(ap);
}

void arm(const struct op *o)
{
	as.hits = 0;
	as.io_failed = 0;
	as.free_before = nr_free_pages();
#if OCTAVO_FAULTS
	if (o->fail)
		octavo_fault_arm(o->fail, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
#endif
}

void disarm(void)
{
#if OCTAVO_FAULTS
	as.hits = octavo_fault_disarm();
	run.st->faults += as.hits;
	as.all_hits += as.hits;
#endif
	run.st->io += as.io_failed;
}

bool excuse(long ret, long oom)
{
	if (ret != oom || !as_excused())
		return false;
	run.st->short_of++;
	return true;
}

bool differs(const char *what, long ret, long expected)
{
	return as_wrong("%s: %ld, expected %ld", what, ret, expected);
}

bool simple(const char *what, long ret, long expected)
{
	run.st->refused += ret < 0;
	return ret == expected || differs(what, ret, expected);
}

bool any_pins(void)
{
	for (int i = 0; i < AS_PINS; i++)
		if (as.pin[i].page)
			return true;
	return false;
}

static u32 orders_of(unsigned int sel)
{
	static const u32 orders[] = { 1, 1, 1 | 1 << 2, 1 | 1 << OCTAVO_TABLE_BITS,
				      1 | 1 << 2 | 1 << OCTAVO_TABLE_BITS };

	return orders[sel % ARRAY_SIZE(orders)];
}

static bool do_policy(struct op *o)
{
	u32 orders = orders_of(o->misc);

	describe("orders %#x", orders);
	if (o->bits & 1)
		WRITE_ONCE(o->mm->folio_orders, orders);
	else if (o->bits & 2)
		frame_drain_all();
	else
		kmem_cache_shrink_all();
	return true;
}

/* ---- programs ---- */

static bool (*const ops[])(struct op *o) = {
	do_mmap,     do_mmap,	  do_mmap,    do_mmap,	   do_munmap,  do_munmap,  do_mprotect,
	do_mprotect, do_mprotect, do_mremap,  do_mremap,   do_mremap,  do_madvise, do_madvise,
	do_madvise,  do_madvise,  do_madvise, do_collapse, do_brk,     do_mlock,   do_munlock,
	do_lockall,  do_mincore,  do_fork,    do_fork,	   do_exit,    do_access,  do_access,
	do_access,   do_access,	  do_access,  do_access,   do_access,  do_access,  do_access,
	do_access,   do_copy,	  do_copy,    do_copy,	   do_pin,     do_pin,	   do_pin,
	do_unpin,    do_unpin,	  do_device,  do_device,   do_migrate, do_migrate, do_split,
	do_policy,   do_pageout,  do_pageout, do_pageout,  do_pageout, do_swapoff, do_io_fails,
};

/* An address: of memory that is there, the end of an area, the end of a leaf, or any. */
static unsigned long pick_addr(int p, unsigned int sel)
{
	const struct as_page *pg = as.m.p[p].pg;
	unsigned long n = sel % as.m.nr;

	switch (sel >> 13) {
	case 0:
	case 1:
	case 2:
		/* the next one that is mapped */
		for (unsigned long i = 0; i < as.m.nr && !pg[n].flags; i++)
			n = (n + 1) % as.m.nr;
		break;
	case 3:
		/* where something begins */
		for (unsigned long i = 0; i < as.m.nr; i++, n = (n + 1) % as.m.nr)
			if (n && pg[n].flags != pg[n - 1].flags)
				break;
		break;
	case 4:
		n = n / as.m.leaf * as.m.leaf;
		break;
	case 5:
		n = n / as.m.leaf * as.m.leaf + as.m.leaf - 1;
		break;
	default:
		break;
	}
	return as.m.base + n * PAGE_SIZE;
}

static unsigned long pick_len(unsigned int sel)
{
	unsigned long n = sel & 0xfff;

	switch (sel >> 12) {
	case 0 ... 7:
		return (n % 8 + 1) * PAGE_SIZE;
	case 8 ... 10:
		return (n % 64 + 1) * PAGE_SIZE;
	case 11 ... 12:
		return as.m.leaf * (n % 2 + 1) * PAGE_SIZE;
	case 13:
		return (as.m.leaf * (n % 2 + 1) + n % 3 - 1) * PAGE_SIZE;
	case 14:
		return (n % as.m.nr + 1) * PAGE_SIZE;
	default:
		/* rounded up */
		return n + 1;
	}
}

static void make_illegal(struct op *o, const uint8_t *b)
{
	switch (b[8] % 7) {
	case 0:
		o->addr += 1 + b[9] * 8;
		break;
	case 1:
		o->len = 0;
		break;
	case 2:
		o->len = ~0ul - b[9] * 64ul;
		break;
	case 3:
		o->addr = as.m.end + (b[9] & 3) * PAGE_SIZE;
		break;
	case 4:
		o->addr = as.m.base - (1 + (b[9] & 3)) * PAGE_SIZE;
		break;
	case 5:
		o->addr2 += b[9];
		break;
	default:
		break;
	}
}

static unsigned int word(const uint8_t *b)
{
	return b[0] | (unsigned int)b[1] << 8;
}

static bool decode(struct op *o, const uint8_t *b, bool faults)
{
	int p = b[1] & 3;

	while (!as.mm[p])
		p = (p + 1) % AS_PROCS;
	*o = (struct op){
		.p = p,
		.mm = as.mm[p],
		.cpu = b[1] >> 2 & 1,
		.what = b[0] % ARRAY_SIZE(ops),
		.addr = pick_addr(p, word(b + 2)),
		.len = pick_len(word(b + 4)),
		.addr2 = pick_addr(p, word(b + 6)),
		.bits = word(b + 8),
		.misc = b[10],
		.illegal = b[1] >> 3 == 0 || b[1] >> 3 == 1,
	};
	if (faults && b[11] >= 224)
		o->fail = 1 + (b[11] - 224u) / 2;
	if (o->illegal)
		make_illegal(o, b);
	return true;
}

static bool check_step(const struct op *o)
{
	const char *last = "";
	unsigned long nr = min(o->len / PAGE_SIZE + 1, 32ul);

	if (sim_log_take(&last))
		return as_wrong("logged: %s", last);
	if (run.step % 32 == 31)
		return as_check_all();
	if (!as.mm[o->p])
		return true;
	if (!as_check_areas(o->p))
		return false;
	if (run.step % 4 == 3 && !sim_mmu_check(o->mm)) {
		sim_log_take(&last);
		return as_wrong("stale translation: %s", last);
	}
	return as_check_pages(o->p, o->addr, nr) && as_check_pages(o->p, o->addr2, 8) &&
	       as_check_pins();
}

static void say_step(const struct op *o)
{
	char line[AS_LINE + 64];

	if (!run.say)
		return;
	snprintf(line, sizeof(line), "%4lu: process %d cpu %u%s%.0u %s", run.step, o->p, o->cpu,
		 o->fail ? " fail" : "", o->fail, run.line);
	run.say(line);
}

static bool one_step(const uint8_t *b, bool faults)
{
	struct op o;
	bool ok;

	decode(&o, b, faults);
	describe("?");
	sim_set_cpu(o.cpu);
	ok = ops[o.what](&o) && !as.error[0];
	sim_set_cpu(0);
	say_step(&o);
	return ok && check_step(&o);
}

/* A panic ends what runs, so all of it is one function. */
struct program {
	const uint8_t *prog;
	size_t len;
	bool faults;
};

static void run_program(void *arg)
{
	const struct program *pr = arg;
	const uint8_t *b = pr->prog;
	size_t len = pr->len;
	static const u8 mib[] = { 8, 12, 16, 32 };
	struct as_config cfg = {
		.bytes =
			OCTAVO_TABLE_BITS < 9 ? (u64)mib[b[0] & 3] << 17 : (u64)mib[b[0] & 3] << 20,
		.overcommit = b[1] % 8 == 0 ? 2 : b[1] % 2,
		.asids = b[2] & 1,
		.swap_sync = b[2] & 2,
		.orders = orders_of(b[3]),
	};

	if (!as_machine_boot(&cfg))
		return;
	for (b += AS_HEADER, len -= AS_HEADER; len >= AS_OP; b += AS_OP, len -= AS_OP) {
		if (!one_step(b, pr->faults))
			return;
		run.st->ops++;
		run.step++;
	}
	if (as_check_all())
		as_machine_end();
}

const char *as_run(const uint8_t *prog, size_t len, bool faults, struct as_stats *st,
		   void (*say)(const char *line))
{
	static struct as_stats unused;
	static char text[AS_LINE + sizeof(as.error) + 64];
	struct program pr = { prog, len, faults };
	const char *panic;

	if (len < AS_HEADER)
		return NULL;
	run.st = st ? st : &unused;
	run.say = say;
	run.step = 0;
	run.next_word = 1;
	run.line[0] = '\0';
	panic = sim_expect_panic(run_program, &pr);
#if OCTAVO_FAULTS
	octavo_fault_disarm();
#endif
	if (panic)
		as_wrong("panic: %s", panic);
	run.st->unmerged += as.unmerged;
	if (!as.error[0])
		return NULL;
	sim_set_cpu(0);
	sim_reset();
	snprintf(text, sizeof(text), "step %lu, %s: %s", run.step, run.line, as.error);
	return text;
}

/* ---- making and shrinking ---- */

size_t as_random(uint64_t seed, unsigned int steps, uint8_t *prog)
{
	size_t len = AS_HEADER + (size_t)steps * AS_OP;
	uint64_t x = seed * 0x9e3779b97f4a7c15ull + 0x243f6a8885a308d3ull;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		prog[i] = (uint8_t)(x >> 24);
	}
	return len;
}

size_t as_shrink(uint8_t *prog, size_t len, bool faults)
{
	uint8_t *try = malloc(len);

	if (!try || !as_run(prog, len, faults, NULL, NULL)) {
		free(try);
		return len;
	}
	/* nothing after the step that went wrong is needed */
	len = min(len, AS_HEADER + (run.step + 1) * (size_t)AS_OP);
	for (size_t part = (len - AS_HEADER) / AS_OP / 2; part; part /= 2) {
		for (size_t at = AS_HEADER; at + part * AS_OP <= len;) {
			size_t rest = len - at - part * AS_OP;

			memcpy(try, prog, at);
			memcpy(try + at, prog + at + part * AS_OP, rest);
			if (as_run(try, at + rest, faults, NULL, NULL)) {
				len = at + rest;
				memcpy(prog, try, len);
			} else {
				at += part * AS_OP;
			}
		}
	}
	free(try);
	return len;
}
