/* SPDX-License-Identifier: MIT */
/*
 * oracle.c - the model, the driver, the comparison.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <octavo/octavo.h>

#include "oracle.h"
#include "sim.h"

enum {
	FRAMES = OCTAVO_TREE_ORDER >= 12 ? 16384 : 512,
	HANDLES = 96,
	MAX_ORDER = OCTAVO_TREE_ORDER >= 12 ? 11 : 5,
};

enum kind {
	NONE,
	PLAIN,
	FROZEN,
	FOLIO,
	PTDESC,
	MANAGED,
	MOVABLE,
	KMALLOC,
	OBJECT,
	CONTIG,
	NR_KINDS,
};

struct handle {
	enum kind kind;
	unsigned int order;
	unsigned long pfn, nr; /* frames; contig has no order */
	unsigned int refs;
	bool anon, locked;
	bool *excl;	    /* [nr] of folios */
	unsigned char *mem; /* kmalloc, object */
	size_t bytes;
	unsigned char pattern;
	void *desc;
};

static struct {
	short owner[FRAMES]; /* handle + 1; 0: the core's own or free */
	bool poisoned[FRAMES];
	bool isolated[FRAMES];
	struct handle h[HANDLES];
	unsigned long op;
	unsigned char next_pattern;
	struct kmem_cache *cache;
	char error[256];
	struct oracle_stats *st;
} m;

#define OBJECT_SIZE 72

__attribute__((format(printf, 1, 2))) static bool wrong(const char *fmt, ...)
{
	va_list ap;
	int n;

	if (m.error[0])
		return false;
	n = snprintf(m.error, sizeof(m.error), "operation %lu: ", m.op);
	va_start(ap, fmt);
	vsnprintf(m.error + n, sizeof(m.error) - (size_t)n, fmt, ap);
	va_end(ap);
	return false;
}

/* ---- what the model expects of a frame ---- */

static bool check_owned(unsigned long pfn, const struct handle *h)
{
	struct page *page = pfn_to_page(pfn);
	memdesc_t md = page_memdesc(page);
	enum memdesc_type t = memdesc_type(md);
	unsigned int count = page_count(page);
	struct folio *folio = page_folio(page);

	if (h->kind == FOLIO) {
		if (folio != h->desc || t != (h->anon ? MEMDESC_ANON : MEMDESC_FILE))
			return wrong("pfn %lu: word %lx does not name its folio", pfn, md.v);
		if (folio_pfn(folio) != h->pfn || folio_order(folio) != h->order)
			return wrong("pfn %lu: folio has pfn %lu order %u", pfn, folio_pfn(folio),
				     folio_order(folio));
		if (folio_test_anon_exclusive(folio, pfn - h->pfn) != h->excl[pfn - h->pfn])
			return wrong("pfn %lu: exclusivity differs", pfn);
	} else if (folio) {
		return wrong("pfn %lu: page_folio() of a page that is in none", pfn);
	}
	switch (h->kind) {
	case PLAIN:
	case FROZEN:
		if (t != MEMDESC_MISC || memdesc_order(md) != h->order ||
		    memdesc_frozen(md) != (h->kind == FROZEN))
			return wrong("pfn %lu: plain page's word is %lx", pfn, md.v);
		if (compound_head(page) != pfn_to_page(h->pfn))
			return wrong("pfn %lu: compound_head", pfn);
		break;
	case PTDESC:
		if (page_ptdesc(page) != h->desc)
			return wrong("pfn %lu: page_ptdesc", pfn);
		break;
	case MANAGED:
		if (page_mgdesc(page) != h->desc)
			return wrong("pfn %lu: page_mgdesc", pfn);
		break;
	case MOVABLE:
		if (page_movable(page) != h->desc)
			return wrong("pfn %lu: page_movable", pfn);
		break;
	case CONTIG:
		if (t != MEMDESC_FREE)
			return wrong("pfn %lu: bare frame's word is %lx", pfn, md.v);
		break;
	default:
		break;
	}
	if (count != (h->kind == PLAIN || h->kind == FOLIO || h->kind == MANAGED ? h->refs : 0))
		return wrong("pfn %lu: count %u, expected %u", pfn, count, h->refs);
	return true;
}

static bool check_frame(unsigned long pfn)
{
	enum memdesc_type t = memdesc_type(page_memdesc(pfn_to_page(pfn)));

	m.st->checks++;
	if (m.owner[pfn])
		return check_owned(pfn, &m.h[m.owner[pfn] - 1]);
	if (t == MEMDESC_HWPOISON && m.poisoned[pfn])
		return true;
	/* the core's own: slabs, and large kmalloc blocks are checked through their handles */
	if (t != MEMDESC_FREE && t != MEMDESC_SLAB && t != MEMDESC_MISC)
		return wrong("pfn %lu: nobody's, but of type %s", pfn, memdesc_type_name(t));
	return true;
}

static bool check_all(void)
{
	for (unsigned long pfn = 0; pfn < FRAMES; pfn++)
		if (!check_frame(pfn))
			return false;
	if (!octavo_validate())
		return wrong("octavo_validate() failed");
	return true;
}

static bool check_handle(const struct handle *h)
{
	if (h->mem) {
		for (size_t i = 0; i < h->bytes; i++)
			if (h->mem[i] != h->pattern)
				return wrong("byte %zu of an object was overwritten", i);
		return true;
	}
	for (unsigned long pfn = h->pfn; pfn < h->pfn + h->nr; pfn++) {
		unsigned char *p = pfn_to_virt(pfn);

		if (!check_frame(pfn))
			return false;
		if (h->kind != PTDESC && (p[0] != h->pattern || p[PAGE_SIZE - 1] != h->pattern))
			return wrong("pfn %lu: contents were overwritten", pfn);
	}
	return true;
}

/* ---- handles ---- */

static struct handle *free_handle(void)
{
	for (int i = 0; i < HANDLES; i++)
		if (m.h[i].kind == NONE)
			return &m.h[i];
	return NULL;
}

/* The first live handle of a kind from @from on, cyclically. */
static struct handle *pick(unsigned int from, enum kind kind)
{
	for (unsigned int i = 0; i < HANDLES; i++) {
		struct handle *h = &m.h[(from + i) % HANDLES];

		if (h->kind != NONE && (kind == NONE || h->kind == kind))
			return h;
	}
	return NULL;
}

static bool claim(struct handle *h, unsigned long pfn, unsigned long nr)
{
	h->pfn = pfn;
	h->nr = nr;
	h->pattern = ++m.next_pattern;
	for (unsigned long p = pfn; p < pfn + nr; p++) {
		if (p >= FRAMES)
			return wrong("pfn %lu was handed out, which does not exist", p);
		if (m.owner[p])
			return wrong("pfn %lu was handed out twice", p);
		m.owner[p] = (short)(h - m.h + 1);
		if (h->kind != PTDESC) {
			((unsigned char *)pfn_to_virt(p))[0] = h->pattern;
			((unsigned char *)pfn_to_virt(p))[PAGE_SIZE - 1] = h->pattern;
		}
	}
	return true;
}

static void disown(struct handle *h)
{
	for (unsigned long p = h->pfn; !h->mem && p < h->pfn + h->nr; p++)
		m.owner[p] = 0;
	free(h->excl);
	memset(h, 0, sizeof(*h));
}

/* What the allocator may not hand out. Pieces of what was in use already may be bad or isolated. */
static bool check_fresh(const struct handle *h)
{
	for (unsigned long p = h->pfn; p < h->pfn + h->nr; p++)
		if (m.isolated[p] || m.poisoned[p])
			return wrong("pfn %lu is %s and was handed out", p,
				     m.isolated[p] ? "isolated" : "bad");
	return true;
}

/* ---- operations ---- */

static int never_moves(struct movable *dst, struct movable *src)
{
	return -EBUSY;
}

static const struct movable_operations movable_ops = { .migrate = never_moves };

static bool take(struct handle *h, enum kind kind, unsigned int order, unsigned int flags)
{
	gfp_t gfp =
		GFP_NOWAIT | (flags & 1 ? __GFP_MOVABLE : 0) | (flags & 2 ? __GFP_RECLAIMABLE : 0);
	struct page *page = NULL;
	struct ptdesc *pt;
	struct mgdesc *mg;
	struct movable *mv;

	h->kind = kind;
	h->order = order;
	h->refs = 1;
	switch (kind) {
	case PLAIN:
		page = alloc_pages(gfp, order);
		break;
	case FROZEN:
		page = alloc_frozen_pages(gfp, order);
		break;
	case FOLIO:
		h->anon = flags & 4;
		h->desc = folio_alloc(gfp, order, h->anon ? FOLIO_ANON : FOLIO_FILE);
		h->excl = calloc(1ul << order, sizeof(bool));
		page = h->desc ? folio_page(h->desc, 0) : NULL;
		break;
	case PTDESC:
		h->desc = pt = pagetable_alloc(gfp, order);
		page = pt ? pfn_to_page(ptdesc_pfn(pt)) : NULL;
		break;
	case MANAGED:
		h->desc = mg = mgdesc_alloc(gfp, order);
		page = mg ? pfn_to_page(mgdesc_pfn(mg)) : NULL;
		break;
	case MOVABLE:
		h->desc = mv = movable_alloc(gfp, order, &movable_ops, h);
		page = mv ? pfn_to_page(movable_pfn(mv)) : NULL;
		break;
	default:
		break;
	}
	if (!page) {
		free(h->excl);
		memset(h, 0, sizeof(*h));
		m.st->failed++;
		return true;
	}
	return claim(h, page_to_pfn(page), 1ul << order) && check_fresh(h) && check_handle(h);
}

static bool take_memory(struct handle *h, enum kind kind, size_t bytes)
{
	h->kind = kind;
	h->bytes = kind == OBJECT ? OBJECT_SIZE : bytes;
	h->mem =
		kind == OBJECT ? kmem_cache_alloc(m.cache, GFP_NOWAIT) : kmalloc(bytes, GFP_NOWAIT);
	if (!h->mem) {
		memset(h, 0, sizeof(*h));
		m.st->failed++;
		return true;
	}
	if (kind == KMALLOC && ksize(h->mem) < bytes)
		return wrong("ksize %zu of %zu bytes", ksize(h->mem), bytes);
	h->pattern = ++m.next_pattern;
	memset(h->mem, h->pattern, h->bytes);
	return true;
}

static bool give(struct handle *h)
{
	struct handle old = *h;

	if (!check_handle(h))
		return false;
	for (unsigned long p = h->pfn; !h->mem && p < h->pfn + h->nr; p++)
		m.owner[p] = 0;
	switch (h->kind) {
	case PLAIN:
		while (h->refs--)
			put_page(pfn_to_page(h->pfn + (h->refs * 7 & (h->nr - 1))));
		break;
	case FROZEN:
		free_frozen_pages(pfn_to_page(h->pfn), h->order);
		break;
	case FOLIO:
		if (h->locked)
			folio_unlock(h->desc);
		if (h->refs > 1)
			folio_put_refs(h->desc, h->refs - 1);
		put_page(pfn_to_page(h->pfn + h->nr - 1));
		break;
	case PTDESC:
		pagetable_free(h->desc);
		break;
	case MANAGED:
		while (h->refs--)
			mgdesc_put(h->desc);
		break;
	case MOVABLE:
		if (movable_free(h->desc))
			return wrong("movable_free of memory that nobody isolated");
		break;
	case KMALLOC:
		kfree(h->mem);
		break;
	case OBJECT:
		kmem_cache_free(m.cache, h->mem);
		break;
	case CONTIG:
		free_contig_range(h->pfn, h->nr);
		break;
	default:
		break;
	}
	disown(h);
	for (unsigned long p = old.pfn; !old.mem && p < old.pfn + old.nr; p++)
		if (!check_frame(p))
			return false;
	return true;
}

/* References through any page of the allocation. */
static bool reference(struct handle *h, unsigned int amount, bool speculative)
{
	struct page *page = h->mem ? NULL : pfn_to_page(h->pfn + amount % h->nr);
	bool countable = h->kind == PLAIN || h->kind == FOLIO || h->kind == MANAGED;

	if (h->mem)
		return true;
	if (speculative) {
		bool got = try_get_page(page);

		if (got && !countable)
			return wrong("try_get_page of memory without a count");
		if (got)
			h->refs++;
		else if (countable && !m.st->faults)
			m.st->failed++;
	} else if (countable) {
		get_page(page);
		h->refs++;
	}
	return check_handle(h);
}

static bool unreference(struct handle *h, unsigned int amount)
{
	if (h->mem || h->refs < 2)
		return true;
	put_page(pfn_to_page(h->pfn + amount % h->nr));
	h->refs--;
	return check_handle(h);
}

static bool split_plain(struct handle *h)
{
	unsigned long pfn = h->pfn, nr = h->nr;
	enum kind kind = h->kind;
	unsigned int refs = h->refs;
	unsigned char pattern = h->pattern;
	int spare = 0, err;

	for (int i = 0; i < HANDLES; i++)
		spare += m.h[i].kind == NONE;
	if (nr > (unsigned long)spare)
		return true;
	err = split_page(pfn_to_page(pfn), h->order);
	if (kind == PLAIN && refs != 1) {
		if (err != -EBUSY)
			return wrong("split_page with %u references: %d", refs, err);
		m.st->failed++;
		return check_handle(h);
	}
	if (err == -EBUSY && OCTAVO_FAULTS) { /* a spurious failure of its freeze */
		m.st->failed++;
		return check_handle(h);
	}
	if (err)
		return wrong("split_page: %d", err);
	disown(h);
	for (unsigned long i = 0; i < nr; i++) {
		h = free_handle();
		h->kind = kind;
		h->refs = 1;
		if (!claim(h, pfn + i, 1))
			return false;
		((unsigned char *)pfn_to_virt(pfn + i))[0] = h->pattern;
		if (!check_handle(h))
			return false;
	}
	(void)pattern;
	return true;
}

/* After a split: each piece that the core made becomes a handle. */
static bool adopt_pieces(struct handle *whole)
{
	unsigned long pfn = whole->pfn, end = pfn + whole->nr;
	struct handle old = *whole;
	bool *excl = old.excl;

	whole->excl = NULL;
	disown(whole);
	while (pfn < end) {
		struct folio *folio = page_folio(pfn_to_page(pfn));
		struct handle *h = free_handle();

		if (!folio || folio_pfn(folio) != pfn || pfn + folio_nr_pages(folio) > end)
			return wrong("pfn %lu: no piece of the split starts here", pfn);
		*h = (struct handle){ .kind = FOLIO,
				      .order = folio_order(folio),
				      .refs = 1,
				      .anon = old.anon,
				      .locked = true,
				      .desc = folio };
		h->excl = calloc(folio_nr_pages(folio), sizeof(bool));
		memcpy(h->excl, excl + (pfn - old.pfn), folio_nr_pages(folio) * sizeof(bool));
		if (!folio_test_locked(folio))
			return wrong("pfn %lu: a piece is not locked", pfn);
		if (!claim(h, pfn, folio_nr_pages(folio)) || !check_handle(h))
			return false;
		pfn += h->nr;
	}
	free(excl);
	return true;
}

static bool split_folio(struct handle *h, unsigned int order, unsigned int amount, bool out)
{
	unsigned long pieces;
	int spare = 0, err;

	if (!h->order)
		return true;
	for (int i = 0; i < HANDLES; i++)
		spare += m.h[i].kind == NONE;
	order %= h->order;
	pieces = out ? (h->order - order) + 1 : 1ul << (h->order - order);
	if (pieces > (unsigned long)spare + 1)
		return true;
	if (!h->locked)
		folio_lock(h->desc);
	h->locked = true;
	if (out)
		err = folio_split_out(h->desc, pfn_to_page(h->pfn + amount % h->nr), order, 0,
				      GFP_NOWAIT);
	else
		err = folio_split(h->desc, order, 0, GFP_NOWAIT);
	if (err) {
		if (h->refs == 1 && err == -EBUSY && !OCTAVO_FAULTS)
			return wrong("split of a folio with one reference: -EBUSY");
		m.st->failed++;
		return check_handle(h);
	}
	if (h->refs != 1)
		return wrong("split of a folio with %u references succeeded", h->refs);
	return adopt_pieces(h);
}

static bool merge(struct handle *first, unsigned int order)
{
	struct folio *folio;
	bool mergeable = order > first->order && first->pfn % (1ul << order) == 0, *excl;
	unsigned long pfn = first->pfn, end = pfn + (1ul << order);
	int err = 0;

	/* The core needs the run to be folios whose count the caller owns: the model says whether they are. */
	if (!mergeable || end > FRAMES)
		return true;
	for (unsigned long p = pfn; p < end; p++) {
		struct handle *h = m.owner[p] ? &m.h[m.owner[p] - 1] : NULL;

		if (!h || h->kind != FOLIO || h->anon != first->anon || h->refs != 1 ||
		    h->order >= order || h->pfn < pfn || h->pfn + h->nr > end)
			return true;
		if (!h->locked)
			folio_lock(h->desc);
		h->locked = true;
	}
	excl = calloc(1ul << order, sizeof(bool));
	for (unsigned long p = pfn; p < end; p++) {
		struct handle *h = &m.h[m.owner[p] - 1];

		excl[p - pfn] = h->excl[p - h->pfn];
	}
	folio = folio_merge(first->desc, order, GFP_NOWAIT, &err);
	if (!folio) {
		free(excl);
		m.st->failed++;
		return err ? check_handle(first) : wrong("merge failed without an error");
	}
	for (unsigned long p = pfn; p < end; p++)
		if (m.owner[p])
			disown(&m.h[m.owner[p] - 1]);
	first = free_handle();
	*first = (struct handle){ .kind = FOLIO,
				  .order = order,
				  .refs = 1,
				  .anon = memdesc_type(page_memdesc(pfn_to_page(pfn))) ==
					  MEMDESC_ANON,
				  .locked = true,
				  .desc = folio,
				  .excl = excl };
	return claim(first, pfn, 1ul << order) && check_handle(first);
}

static bool exclusivity(struct handle *h, unsigned int amount, unsigned int len, bool set)
{
	unsigned long first = amount % h->nr, nr = len % (h->nr - first) + 1;
	struct folio_subrange sr;
	bool bit;
	u32 run, same = 0;

	if (folio_subrange_init(&sr, h->desc, first, h->nr - first + 1) != -EINVAL ||
	    folio_subrange_init(&sr, h->desc, first, 0) != -EINVAL)
		return wrong("a subrange that leaves its folio, or is empty, was accepted");
	if (folio_subrange_init(&sr, h->desc, first, nr))
		return wrong("subrange %lu + %lu of order %u was refused", first, nr, h->order);
	if (set)
		folio_set_anon_exclusive(sr);
	else
		folio_clear_anon_exclusive(sr);
	for (unsigned long i = first; i < first + nr; i++)
		h->excl[i] = set;
	sr = folio_subrange(h->desc, first, h->nr - first);
	run = folio_anon_exclusive_run(sr, &bit);
	while (same < h->nr - first && h->excl[first + same] == h->excl[first])
		same++;
	if (run != same || bit != h->excl[first])
		return wrong("run of %u pages, expected %u", run, same);
	return check_handle(h);
}

static bool contig(struct handle *h, unsigned int at, unsigned int nr)
{
	unsigned long start = at % FRAMES, end = start + nr % 700 + 1;
	bool owned = end > FRAMES;
	int err;

	for (unsigned long p = start; p < end && p < FRAMES; p++)
		owned |= m.owner[p] || m.isolated[p] || m.poisoned[p];
	err = alloc_contig_range(start, end);
	if (err) {
		m.st->failed++;
		return true;
	}
	if (owned)
		return wrong("alloc_contig_range took what was not free");
	h->kind = CONTIG;
	return claim(h, start, end - start) && check_handle(h);
}

static bool isolate(unsigned int at, bool on)
{
	unsigned long block = 1ul << OCTAVO_BLOCK_ORDER, pfn = at * block % FRAMES;
	int err;

	if (!on) {
		if (m.isolated[pfn])
			frame_unisolate(pfn, block);
		for (unsigned long p = pfn; p < pfn + block; p++)
			m.isolated[p] = false;
		return true;
	}
	err = frame_isolate(pfn, block);
	if (m.isolated[pfn] && err != -EBUSY)
		return wrong("isolating twice: %d", err);
	for (unsigned long p = pfn; !err && p < pfn + block; p++)
		m.isolated[p] = true;
	m.st->failed += err != 0;
	return true;
}

static bool poison(unsigned long pfn)
{
	int r = memory_failure(pfn);

	if (pfn >= FRAMES)
		return r == -ENXIO || wrong("memory_failure of no frame: %d", r);
	if (r < 0) {
		m.st->failed++;
		return true;
	}
	if (m.poisoned[pfn] != (r == MF_ALREADY))
		return wrong("memory_failure: %d, poisoned before: %d", r, m.poisoned[pfn]);
	m.poisoned[pfn] = true;
	return pfn_poisoned(pfn) || wrong("pfn %lu is not in the set", pfn);
}

static bool look(unsigned long pfn)
{
	struct page_snapshot ps;
	struct handle *h;

	if (snapshot_page(&ps, pfn))
		return pfn >= FRAMES || wrong("pfn %lu has no snapshot", pfn);
	if (pfn >= FRAMES)
		return wrong("a snapshot of no frame");
	if (!m.owner[pfn])
		return true;
	h = &m.h[m.owner[pfn] - 1];
	if (ps.exact && (ps.first_pfn != h->pfn || ps.order != h->order) && h->kind != CONTIG)
		return wrong("snapshot of pfn %lu: first %lu order %u", pfn, ps.first_pfn,
			     ps.order);
	if (ps.exact && (h->kind == FOLIO || h->kind == PLAIN) && ps.refcount != h->refs)
		return wrong("snapshot of pfn %lu: count %u, expected %u", pfn, ps.refcount,
			     h->refs);
	return true;
}

static bool step(const uint8_t *b)
{
	unsigned int amount = b[4] | (unsigned int)b[5] << 8;
	/* One allocation in twenty asks for an order that is more than there is. */
	unsigned int order = b[3] < 12 ? MAX_FOLIO_ORDER + b[3] : b[3] % (MAX_ORDER + 1);
	struct handle *h;

	switch (b[0] % 24) {
	case 0 ... 6:
		h = free_handle();
		return !h || take(h, PLAIN + b[1] % 6, b[7] & 8 ? order : order % 4, b[7]);
	case 7:
		h = free_handle();
		return !h || take_memory(h, KMALLOC, (size_t)amount * (b[7] & 1 ? 1 : 3) + 1);
	case 8:
		h = free_handle();
		return !h || take_memory(h, OBJECT, 0);
	case 9 ... 12:
		h = pick(b[1], NONE);
		return !h || give(h);
	case 13:
		h = pick(b[1], NONE);
		return !h || reference(h, amount, b[7] & 1);
	case 14:
		h = pick(b[1], NONE);
		return !h || unreference(h, amount);
	case 15:
		h = pick(b[1], b[7] & 1 ? PLAIN : FROZEN);
		return !h || !h->order || split_plain(h);
	case 16:
		h = pick(b[1], FOLIO);
		return !h || split_folio(h, order, amount, b[7] & 1);
	case 17:
		h = pick(b[1], FOLIO);
		return !h || order > MAX_ORDER || merge(h, h->order + 1 + order % 3);
	case 18:
		h = pick(b[1], FOLIO);
		return !h || exclusivity(h, amount, b[2] * 5u, b[7] & 1);
	case 19:
		h = free_handle();
		return !h || contig(h, amount, b[2] * 3u);
	case 20:
		return isolate(amount, b[7] & 1);
	case 21:
		return b[7] > 60 || poison(amount % (FRAMES + 16));
	case 22:
		if (b[7] & 1)
			frame_drain_all();
		if (b[7] & 2)
			kmem_cache_shrink_all();
		return true;
	default:
		return look(amount % (FRAMES + 16));
	}
}

static bool finish(void)
{
	if (!check_all())
		return false;
	for (int i = 0; i < HANDLES; i++)
		if (m.h[i].kind != NONE && !give(&m.h[i]))
			return false;
	for (unsigned int i = 0; i < FRAMES >> OCTAVO_BLOCK_ORDER; i++)
		isolate(i, false);
	kmem_cache_destroy(m.cache);
	return check_all();
}

const char *oracle_run(const uint8_t *prog, size_t len, struct oracle_stats *st)
{
	static struct oracle_stats unused;
	struct sim_config cfg = { .bytes = (u64)FRAMES << PAGE_SHIFT, .cpus = 2, .quiet = true };
	u64 leaked, bad = 0;
	bool ok = true;

	memset(&m, 0, sizeof(m));
	m.st = st ? st : &unused;
	if (sim_boot(&cfg))
		return "the machine does not boot";
	m.cache = kmem_cache_create("oracle", OBJECT_SIZE, 0, 0, NULL);
	if (!m.cache)
		return "no cache";
	for (; ok && len >= 8; prog += 8, len -= 8) {
#if OCTAVO_FAULTS
		if (prog[6] >= 192)
			octavo_fault_arm(prog[6] - 191u, prog[6] & 1, OCTAVO_FAULT_ALL);
#endif
		/* which CPU does it: frames and objects are freed on others than they were allocated on */
		sim_set_cpu(prog[7] >> 6 & 1);
		ok = step(prog);
#if OCTAVO_FAULTS
		m.st->faults += octavo_fault_disarm();
#endif
		m.st->ops++;
		if (ok && ++m.op % 64 == 0)
			ok = check_all();
	}
	sim_set_cpu(0);
	if (ok)
		ok = finish();
	if (!ok) {
		sim_reset();
		return m.error;
	}
	for (unsigned long p = 0; p < FRAMES; p++)
		bad += m.poisoned[p];
	leaked = sim_shutdown();
	/* bad frames are kept out for ever: they are not leaks, whichever way they are counted */
	if (leaked > bad) {
		wrong("%lu frames leaked", (unsigned long)leaked);
		return m.error;
	}
	return NULL;
}
