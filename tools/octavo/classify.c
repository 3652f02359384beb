/* SPDX-License-Identifier: MIT */
/*
 * classify.c - from flags to page population.
 *
 * 1. The flags of a frame say what it is, in the order of classify_flags(): a flag that only one kind of memory has
 *    comes before flags that several have. Slab pages carry stray ANON and KSM bits (the kernel derives them from a field
 *    that slabs use otherwise), so SLAB goes before ANON.
 * 2. A compound page is a head and the tails behind it; its type is the head's. Its order follows from its length. A
 *    length that is no power of two, or a head that is not aligned, means that it changed between two reads; its frames
 *    are kept, cut into aligned pieces, and counted as irregular. Tails without a head likewise.
 * 3. A frame without any flag can be many things. Which, the zones' counters tell for long runs, and
 *    only how many for the others.
 *
 * What it does not do: guess. docs/footprint.md has the list of what can't be known from outside the kernel.
 */
#include "classify.h"

#include <stdlib.h>
#include <string.h>

#include <octavo/compiler.h>

/* Whatever has one of these is, or was a moment ago, in the page cache, in swap or mapped as user memory. */
#define FOLIO_FLAGS                                                                          \
	(KPF(LRU) | KPF(ACTIVE) | KPF(ANON) | KPF(SWAPCACHE) | KPF(SWAPBACKED) | KPF(HUGE) | \
	 KPF(UNEVICTABLE) | KPF(KSM) | KPF(THP) | KPF(WRITEBACK) | KPF(DIRTY) | KPF(MAPPEDTODISK))

enum pop_type classify_flags(u64 flags)
{
	if (flags & KPF(NOPAGE))
		return POP_HOLE;
	if (flags & KPF(BUDDY))
		return POP_FREE;
	if (flags & KPF(ZERO_PAGE))
		return POP_ZERO;
	if (flags & KPF(OFFLINE))
		return POP_OFFLINE;
	if (flags & KPF(SLAB))
		return POP_SLAB;
	if (flags & KPF(PGTABLE))
		return POP_PGTABLE;
	if (flags & KPF(RESERVED))
		return POP_RESERVED;
	if ((flags & KPF(HWPOISON)) && !(flags & FOLIO_FLAGS))
		return POP_HWPOISON;
	if (flags & (KPF(ANON) | KPF(KSM)))
		return POP_ANON;
	if (flags & FOLIO_FLAGS)
		return POP_FILE;
	/* UPTODATE and REFERENCED outlive what they were set for; MMAP alone is a driver's page in user space. */
	return flags ? POP_KERNEL : POP_UNFLAGGED;
}

bool flags_possible(u64 flags)
{
	u64 unknown = ~0ull << (KPF_LAST + 1) | (~0ull << (KPF_PGTABLE + 1) & ~(~0ull << 32));

	if (flags & unknown)
		return false;
	if ((flags & KPF(NOPAGE)) && (flags & ~KPF(NOPAGE)))
		return false;
	if ((flags & KPF(COMPOUND_HEAD)) && (flags & KPF(COMPOUND_TAIL)))
		return false;
	/* What lies in a free block is on no list and in no slab. */
	return !(flags & KPF(BUDDY)) || !(flags & (KPF(LRU) | KPF(SLAB) | KPF(PGTABLE)));
}

void classify_init(struct classifier *c, struct population *pop)
{
	memset(c, 0, sizeof(*c));
	c->pop = pop;
}

/* @nr frames from the end of the population on, as naturally aligned runs. */
static void add_pieces(struct classifier *c, u64 nr, u64 mapped)
{
	struct population *pop = c->pop;
	enum pop_type type = c->type == POP_UNFLAGGED ? POP_KERNEL : c->type;

	while (nr && !pop->failed) {
		unsigned int order = (unsigned int)ilog2(nr);
		u64 now;

		if (pop->end)
			order = min(order, (unsigned int)__builtin_ctzll(pop->end));
		order = min(order, (unsigned int)POP_MAX_ORDER);
		now = min(mapped, 1ull << order);
		pop_add(pop, type, order, 1, now);
		mapped -= now;
		nr -= 1ull << order;
	}
}

static void flush_compound(struct classifier *c)
{
	if (!c->nr)
		return;
	if (!is_power_of_2(c->nr) || !IS_ALIGNED(c->first, c->nr) || c->nr >> POP_MAX_ORDER > 1)
		c->pop->irregular += c->nr;
	add_pieces(c, c->nr, c->mapped);
	c->nr = 0;
}

void classify_feed(struct classifier *c, u64 flags, u64 count)
{
	c->flagged += flags != 0;
	c->impossible += !flags_possible(flags);
	if (c->nr && (flags & KPF(COMPOUND_TAIL))) {
		c->nr++;
		c->mapped += count != 0;
		return;
	}
	flush_compound(c);
	if (flags & (KPF(COMPOUND_HEAD) | KPF(COMPOUND_TAIL))) {
		c->first = c->pop->end;
		c->nr = 1;
		c->mapped = count != 0;
		c->type = classify_flags(flags);
		if (flags & KPF(COMPOUND_TAIL)) {
			c->pop->irregular++;
			flush_compound(c);
		}
		return;
	}
	pop_add(c->pop, classify_flags(flags), 0, 1, count != 0);
}

void classify_finish(struct classifier *c)
{
	flush_compound(c);
}

/* ---- frames without a flag ---- */

/*
 * Shorter runs stay "other kernel": up to 4 MiB at once is what the kernel's allocator hands out, so they can be in
 * use; longer ones were never in it.
 */
enum { LONG_RUN = 1 << 11 };

struct budget {
	u64 first, end; /* pfns of the zone */
	u64 holes;	/* frames that the zone spans and does not have */
	u64 unmanaged;	/* frames that it has, not managed and not reserved */
};

static struct budget *budget_of(struct budget *b, u32 nr, u64 pfn)
{
	for (u32 i = 0; i < nr; i++)
		if (pfn >= b[i].first && pfn < b[i].end)
			return &b[i];
	return NULL;
}

static u64 less(u64 a, u64 b)
{
	return a > b ? a - b : 0;
}

/*
 * The population again, cut at the borders of zones, with a new type where decide() has one. A list that is rewritten
 * run by run is simpler to trust than one edited in place.
 */
static void emit(struct population *to, enum pop_type type, unsigned int order, u64 repeat,
		 bool mapped)
{
	pop_add(to, type, order, repeat, mapped ? repeat << order : 0);
}

/* Frames [pfn, pfn + nr), all without a flag, inside one zone or outside all. */
static void decide(struct population *to, struct budget *b, u64 pfn, u64 nr)
{
	u64 section = 1ull << LINUX_SECTION_ORDER;
	u64 from, len;

	if (!b) {
		emit(to, POP_HOLE, 0, nr, false);
		return;
	}
	if (nr < LONG_RUN) {
		emit(to, POP_KERNEL, 0, nr, false);
		return;
	}
	/* Holes first: absent sections, whole ones, since a hole inside a section has pages that say RESERVED. */
	from = ALIGN(pfn, section);
	len = less(ALIGN_DOWN(pfn + nr, section), from);
	if (len && len <= b->holes) {
		b->holes -= len;
		decide(to, b, pfn, from - pfn);
		emit(to, POP_HOLE, 0, len, false);
		decide(to, b, from + len, pfn + nr - from - len);
		return;
	}
	/* Memory is taken into use from below: what is missing is the end of the run. */
	len = ALIGN_DOWN(min(nr, b->unmanaged), (u64)LONG_RUN);
	if (nr <= b->unmanaged)
		len = nr;
	b->unmanaged -= len;
	if (nr > len)
		emit(to, POP_KERNEL, 0, nr - len, false);
	emit(to, POP_UNMANAGED, 0, len, false);
}

static void fill_budgets(struct budget *b, const struct population *pop,
			 const struct zone_line *zones, u32 nr)
{
	for (u32 i = 0; i < nr; i++) {
		b[i] = (struct budget){ .first = zones[i].start,
					.end = zones[i].start + zones[i].spanned,
					.holes = less(zones[i].spanned, zones[i].present),
					.unmanaged = less(zones[i].present, zones[i].managed) };
	}
	for (u64 i = 0; i < pop->nr_runs; i++) {
		const struct pop_run *r = &pop->run[i];
		u64 end = r->pfn + ((u64)r->repeat << r->order);

		for (u32 k = 0; k < nr; k++) {
			u64 frames = less(min(end, b[k].end), max(r->pfn, b[k].first));

			if (r->type == POP_HOLE)
				b[k].holes = less(b[k].holes, frames);
			else if (r->type == POP_RESERVED || r->type == POP_ZERO ||
				 r->type == POP_OFFLINE)
				b[k].unmanaged = less(b[k].unmanaged, frames);
		}
	}
}

void resolve_unflagged(struct population *pop, const struct zone_line *zones, u32 nr_zones)
{
	struct budget *b = calloc(nr_zones + 1, sizeof(*b));
	struct population to;

	pop_init(&to);
	if (!b) {
		pop->failed = true;
		return;
	}
	fill_budgets(b, pop, zones, nr_zones);
	for (u64 i = 0; i < pop->nr_runs && !to.failed; i++) {
		const struct pop_run *r = &pop->run[i];
		u64 pfn = r->pfn, end = r->pfn + r->repeat;

		if (r->type != POP_UNFLAGGED) {
			emit(&to, r->type, r->order, r->repeat, r->mapped);
			continue;
		}
		while (pfn < end) {
			struct budget *z = budget_of(b, nr_zones, pfn);
			u64 stop = z ? min(end, z->end) : end;

			/* Up to where the next zone starts. */
			for (u32 k = 0; k < nr_zones; k++)
				if (b[k].first > pfn)
					stop = min(stop, b[k].first);
			decide(&to, z, pfn, stop - pfn);
			pfn = stop;
		}
	}
	for (int t = 0; t < POP_NR; t++)
		to.total[t].mapped = pop->total[t].mapped;
	to.total[POP_KERNEL].mapped += pop->total[POP_UNFLAGGED].mapped;
	to.irregular = pop->irregular;
	for (u32 i = 0; i < nr_zones; i++)
		to.pcp_free += zones[i].pcp;
	to.pcp_free = min(to.pcp_free, to.total[POP_KERNEL].frames);
	to.failed |= pop->failed;
	free(b);
	pop_free(pop);
	*pop = to;
}
