/* SPDX-License-Identifier: MIT */
/*
 * zone_span.c - which sections a zone has, as a few runs.
 *
 * The allocator walks them without a lock. So an entry is one word, changed in one store; entries are never
 * moved, and one that falls empty stays, to be used again; the number of entries only grows. A walker
 * beside a change sees each entry as it was or as it is. It may miss sections that are just being added and
 * it may see sections that are not the zone's any more: the section table has the last word.
 */
#include <octavo/atomic.h>

#include "memmap.h"

static void store(struct zone_span *s, u32 first, u32 nr)
{
	struct zone_span new = { { { nr ? first : 0, nr } } };

	WRITE_ONCE(s->both, new.both);
}

/* An entry that ends where [@first, @first + @nr) begins, or the other way round. */
static struct zone_span *neighbour(struct zone *z, u32 first, u32 nr)
{
	for (u32 i = 0; i < z->nr_spans; i++) {
		struct zone_span *s = &z->span[i];

		if (s->nr && (s->first + s->nr == first || first + nr == s->first))
			return s;
	}
	return NULL;
}

static struct zone_span *unused(struct zone *z)
{
	for (u32 i = 0; i < z->nr_spans; i++)
		if (!z->span[i].nr)
			return &z->span[i];
	return z->nr_spans < NR_ZONE_SPANS ? &z->span[z->nr_spans] : NULL;
}

bool zone_span_room(const struct zone *zone, u32 first, u32 nr, bool add)
{
	struct zone *z = (struct zone *)zone;

	if (unused(z))
		return true;
	if (add)
		return neighbour(z, first, nr);
	/* only a cut out of the middle needs an entry */
	for (u32 i = 0; i < z->nr_spans; i++) {
		const struct zone_span *s = &z->span[i];

		if (s->first < first && first + nr < s->first + s->nr)
			return false;
	}
	return true;
}

void zone_span_add(struct zone *z, u32 first, u32 nr)
{
	struct zone_span *s = neighbour(z, first, nr);

	if (s) {
		store(s, min(s->first, first), s->nr + nr);
		return;
	}
	s = unused(z);
	BUG_ON(!s);
	store(s, first, nr);
	if (s == &z->span[z->nr_spans])
		/* release: pairs with the acquire of whoever walks the spans: the entry is there */
		smp_store_release(&z->nr_spans, z->nr_spans + 1);
}

void zone_span_cut(struct zone *z, u32 first, u32 nr)
{
	u32 end = first + nr;

	for (u32 i = 0; i < z->nr_spans && nr; i++) {
		struct zone_span *s = &z->span[i];
		u32 lo = s->first, hi = s->first + s->nr;
		u32 cut = min(hi, end) - max(lo, first);

		if (!s->nr || hi <= first || end <= lo)
			continue;
		nr -= cut;
		if (lo < first && end < hi) {
			store(s, lo, first - lo);
			zone_span_add(z, end, hi - end);
			break;
		}
		store(s, lo < first ? lo : min(hi, end), s->nr - cut);
	}
}
