/* SPDX-License-Identifier: MIT */
/*
 * desc_stat.c - how many descriptors there are, and whether words and descriptors agree.
 *
 * Both read the memory map from outside, so that allocating and freeing keep no books for them. What one
 * cache has handed out is the cache's to say; what the words name must be the same number.
 */
#include <octavo/desc.h>
#include <octavo/folio.h>
#include <octavo/pfnwalk.h>
#include <octavo/slab.h>
#include <octavo/string.h>

#include "folio_desc.h"
#include "typed.h"

static u64 active_in(struct kmem_cache *cache, struct desc_stat *st)
{
	struct kmem_cache_stat cs;

	if (!cache)
		return 0;
	kmem_cache_stat(cache, &cs);
	st->descriptor_frames += cs.frames;
	st->descriptor_bytes += cs.frames * PAGE_SIZE + cs.desc_bytes;
	return cs.active;
}

/* The same of the caches of a class that sets have. */
static u64 active_in_sets(u32 class, struct desc_stat *st)
{
	const struct folio_set *set;
	u64 active = 0;
	u32 nr;

	for_each_folio_set (set, nr)
		active += active_in(set->cache[class], st);
	return active;
}

void desc_stat(struct desc_stat *st)
{
	const struct desc_state *d = &octavo_state.desc;
	u64 folios = 0;

	memset(st, 0, sizeof(*st));
	for (u32 i = 0; i < NR_FOLIO_CLASSES; i++)
		folios += active_in(d->folio[i], st) + active_in_sets(i, st);
	st->ptdescs = active_in(d->ptdesc, st);
	st->mgdescs = active_in(d->mgdesc, st);
	st->movables = active_in(d->movable, st);
	if (folios)
		folio_count_live(st->folios);
}

/* ---- validation: nothing else runs ---- */

struct check_words {
	u64 ptdescs, mgdescs, movables; /* first frames met */
	bool ok;
};

/* What a word of one of the three small types says about itself, false if that is not so. */
static bool word_agrees(unsigned long pfn, memdesc_t md, u64 pfn_order, bool alive, u64 *firsts)
{
	unsigned long first = desc_pfn(pfn_order), nr = 1ul << desc_order(pfn_order);

	if (pfn_order >> DESC_PFN_BITS > MAX_FOLIO_ORDER || pfn < first || pfn - first >= nr ||
	    !alive) {
		pr_err("pfn 0x%lx: word 0x%016lx names a descriptor of pfn 0x%lx, %lu pages%s", pfn,
		       md.v, first, nr, alive ? "" : ", dead");
		return false;
	}
	*firsts += pfn == first;
	return true;
}

static unsigned long check_word(unsigned long pfn, memdesc_t md, void *arg)
{
	struct check_words *c = arg;
	const struct ptdesc *pt = memdesc_ptr(md);
	const struct mgdesc *mg = memdesc_ptr(md);
	const struct movable *mv = memdesc_ptr(md);

	switch (memdesc_type(md)) {
	case MEMDESC_PTDESC:
		c->ok &= word_agrees(pfn, md, pt->pfn_order, true, &c->ptdescs);
		break;
	case MEMDESC_MANAGED:
		c->ok &=
			word_agrees(pfn, md, mg->pfn_order, mgdesc_ref_count(mg) != 0, &c->mgdescs);
		break;
	case MEMDESC_MOVABLE:
		c->ok &= word_agrees(pfn, md, mv->pfn_order,
				     READ_ONCE(mv->state) != MOVABLE_DEAD && mv->seq % 2,
				     &c->movables);
		break;
	default:
		break;
	}
	return 1;
}

static bool count_agrees(const char *what, u64 words, u64 descs)
{
	if (words == descs)
		return true;
	pr_err("%lu %s descriptors allocated, words name %lu", (unsigned long)descs, what,
	       (unsigned long)words);
	return false;
}

bool typed_validate(void)
{
	struct check_words c = { .ok = true };
	struct desc_stat st = { 0 };
	u64 ptdescs = active_in(octavo_state.desc.ptdesc, &st);
	u64 mgdescs = active_in(octavo_state.desc.mgdesc, &st);
	u64 movables = active_in(octavo_state.desc.movable, &st);

	if (ptdescs | mgdescs | movables)
		pfn_walk(0, octavo_state.frame.max_pfn, check_word, &c);
	c.ok &= count_agrees("page-table", c.ptdescs, ptdescs);
	c.ok &= count_agrees("managed", c.mgdescs, mgdescs);
	c.ok &= count_agrees("movable", c.movables, movables);
	return c.ok;
}
