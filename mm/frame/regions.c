/* SPDX-License-Identifier: MIT */
/*
 * regions.c - the embedder's list of regions, made sense of.
 *
 * Firmware lists come unsorted, overlapping, with empty lines and odd bounds. Instead of sorting a copy,
 * which needs memory before there is any, the list is treated as a function: at any frame, is it usable
 * and of which node, and up to where is that so? Each question is one pass over the list, and a walk asks
 * one for each bound, so a walk of n lines costs n^2 steps of a few instructions: lists have tens of
 * lines, seldom hundreds.
 *
 * Rules
 * 1. A frame is usable if some usable line covers all of it and no reserved line touches any of it.
 * 2. Its node is that of the first such line in list order.
 * 3. Touching or overlapping frames of one node are one run, whatever lines they came from.
 *
 * What it does not do: keep anything. The list is the embedder's and is not looked at after
 * octavo_init().
 */
#include <octavo/errno.h>
#include <octavo/page.h>

#include "memmap.h"

struct bounds {
	unsigned long lo, hi; /* frames; lo >= hi: none */
};

/* base + size may be 2^64, so ends are counted from the last byte. */
static struct bounds region_bounds(const struct octavo_region *r)
{
	u64 last = r->base + r->size - 1;
	struct bounds b = { 1, 0 };

	if (!r->size)
		return b;
	if (r->type == OCTAVO_MEM_RESERVED) {
		b.lo = r->base >> PAGE_SHIFT;
		b.hi = (last >> PAGE_SHIFT) + 1;
	} else {
		b.lo = (r->base >> PAGE_SHIFT) + ((r->base & ~PAGE_MASK) != 0);
		b.hi = (last >> PAGE_SHIFT) + ((last & ~PAGE_MASK) == ~PAGE_MASK);
	}
	return b;
}

static bool covers(struct bounds b, unsigned long pfn)
{
	return b.lo <= pfn && pfn < b.hi;
}

/*
 * Is @pfn usable? *@until is where to ask again: up to there the answer, *@node included, is the same
 * (usable), or there is nothing (not usable; ~0ul: nothing more at all).
 */
static bool usable_at(const struct octavo_boot *boot, unsigned long pfn, u32 *node,
		      unsigned long *until)
{
	unsigned long skip = 0, next = ~0ul;
	bool usable = false;

	*until = ~0ul;
	for (u32 i = 0; i < boot->nr_regions; i++) {
		const struct octavo_region *r = &boot->regions[i];
		struct bounds b = region_bounds(r);

		if (b.lo >= b.hi)
			continue;
		if (r->type == OCTAVO_MEM_RESERVED) {
			if (covers(b, pfn))
				skip = max(skip, b.hi);
			else if (b.lo > pfn)
				*until = min(*until, b.lo);
		} else if (covers(b, pfn) && !usable) {
			usable = true;
			*node = r->node;
			*until = min(*until, b.hi);
		} else if (b.lo > pfn) {
			next = min(next, b.lo);
			/* a later line in the list cannot take frames from the one found */
			if (!usable)
				*until = min(*until, b.lo);
		}
	}
	if (skip || !usable) {
		*until = skip ? skip : next;
		return false;
	}
	return true;
}

bool regions_next(const struct octavo_boot *boot, unsigned long pfn, struct region_run *run)
{
	unsigned long until;
	u32 node;

	while (!usable_at(boot, pfn, &run->node, &until)) {
		if (until == ~0ul)
			return false;
		pfn = until;
	}
	run->start = pfn;
	do
		run->end = until;
	while (usable_at(boot, run->end, &node, &until) && node == run->node);
	return true;
}

static int check_region(const struct octavo_region *r, u32 i)
{
	if (r->type != OCTAVO_MEM_USABLE && r->type != OCTAVO_MEM_RESERVED) {
		pr_err("region %u: unknown type %u", i, (unsigned int)r->type);
		return -EINVAL;
	}
	if (!r->size)
		return 0;
	if (r->base + (r->size - 1) < r->base) {
		pr_err("region %u: 0x%lx + 0x%lx wraps", i, r->base, r->size);
		return -EINVAL;
	}
	if (r->type == OCTAVO_MEM_RESERVED)
		return 0;
	if (region_bounds(r).hi > MAX_PFN_LIMIT) {
		pr_err("region %u: ends above physical address 0x%lx", i,
		       MAX_PFN_LIMIT << PAGE_SHIFT);
		return -EINVAL;
	}
	if (r->node >= OCTAVO_NR_NODES) {
		pr_err("region %u: node %u, built for %u", i, r->node, OCTAVO_NR_NODES);
		return -EINVAL;
	}
	return 0;
}

static bool limit_ok(u64 limit)
{
	return limit == ~0ull || IS_ALIGNED(limit, SECTION_SIZE);
}

int regions_check(const struct octavo_boot *boot)
{
	struct region_run run;
	u32 runs = 0;

	if (!boot->nr_cpus || boot->nr_cpus > OCTAVO_NR_CPUS) {
		pr_err("%u CPUs, built for 1 to %u", boot->nr_cpus, OCTAVO_NR_CPUS);
		return -EINVAL;
	}
	if (boot->nr_regions && !boot->regions) {
		pr_err("%u regions, but no list", boot->nr_regions);
		return -EINVAL;
	}
	if (boot->max_phys > (u64)MAX_PFN_LIMIT << PAGE_SHIFT) {
		pr_err("max_phys 0x%lx is above 0x%lx", boot->max_phys,
		       MAX_PFN_LIMIT << PAGE_SHIFT);
		return -EINVAL;
	}
	if (!limit_ok(boot->dma_limit) || !limit_ok(boot->dma32_limit)) {
		pr_err("zone limits 0x%lx, 0x%lx: not multiples of 0x%lx", boot->dma_limit,
		       boot->dma32_limit, SECTION_SIZE);
		return -EINVAL;
	}
	for (u32 i = 0; i < boot->nr_regions; i++) {
		int err = check_region(&boot->regions[i], i);

		if (err)
			return err;
	}
	for_each_run(boot, &run)
	{
		if (++runs > OCTAVO_NR_REGIONS) {
			pr_err("more than %u regions after merging", OCTAVO_NR_REGIONS);
			return -E2BIG;
		}
	}
	if (!runs) {
		pr_err("no usable frame in %u regions", boot->nr_regions);
		return -EINVAL;
	}
	return 0;
}
