/* SPDX-License-Identifier: MIT */
/*
 * folio_pieces.h - for the tests of split and merge: a folio with something in every field, and its
 * pieces.
 */
#ifndef OCTAVO_FOLIO_PIECES_H
#define OCTAVO_FOLIO_PIECES_H

#include "test.h"

#define MAX_PAGES (1 << 10)

static inline unsigned int top_order(void)
{
	return min(MAX_FOLIO_ORDER, 10);
}

/* Little memory: thousands of cases look at all of it. */
static inline void boot(void)
{
	boot_small(MAX_FOLIO_ORDER > 6 ? 16 : 4, 4);
}

/* ---- a folio with something in every field, and its pieces ---- */

static char a_mapping[16];

struct whole {
	struct folio *folio;
	unsigned long pfn, nr;
	unsigned int order;
	enum folio_kind kind;
	enum folio_class class;
	u32 extra;
	bool excl[MAX_PAGES];
};

static const u64 group = 0x2abcdull << FOLIO_GROUP_SHIFT;

static inline void make(struct whole *w, unsigned int order, enum folio_kind kind,
			u32 extra_per_page, unsigned int seed)
{
	w->folio = folio_alloc(GFP_KERNEL, order, kind);
	assert_non_null(w->folio);
	w->order = order;
	w->nr = 1ul << order;
	w->pfn = folio_pfn(w->folio);
	w->kind = kind;
	w->class = folio_class(w->folio);
	w->extra = extra_per_page << order;
	w->folio->mapping = a_mapping;
	w->folio->index = 0x1000;
	w->folio->gen = 0x5eed;
	w->folio->pfn_order_group |= group;
	folio_set_flag(w->folio, PG_dirty);
	folio_set_flag(w->folio, PG_owner_2);
	if (w->extra)
		folio_ref_add(w->folio, w->extra);
	for (unsigned long i = 0; i < w->nr; i++) {
		w->excl[i] = rand_r(&seed) & 1;
		if (w->excl[i])
			folio_set_anon_exclusive(folio_subrange(w->folio, i, 1));
		/* the page says which it is */
		*(unsigned long *)pfn_to_virt(w->pfn + i) = w->pfn + i;
	}
	folio_lock(w->folio);
}

static inline void check_piece(const struct whole *w, struct folio *folio, unsigned long at,
			       unsigned int order)
{
	assert_int_equal(folio_pfn(folio), w->pfn + at);
	assert_int_equal(folio_order(folio), order);
	assert_int_equal(folio->pfn_order_group & FOLIO_GROUP_MASK, group);
	assert_int_equal(folio_ref_count(folio), 1 + ((w->extra >> w->order) << order));
	assert_int_equal(folio_mapcount(folio), 0);
	assert_int_equal(folio_entire_mapcount(folio), 0);
	assert_ptr_equal(folio->mapping, a_mapping);
	assert_int_equal(folio->index, 0x1000 + at);
	assert_int_equal(folio->gen, 0x5eed);
	assert_null(folio->private);
	assert_int_equal(folio_test_anon(folio), w->kind == FOLIO_ANON);
	assert_true(folio_test_locked(folio));
	assert_true(folio_test_flag(folio, PG_dirty));
	assert_true(folio_test_flag(folio, PG_owner_2));
	assert_false(folio_test_flag(folio, PG_uptodate));
	assert_false(folio_test_flag(folio, PG_hwpoison));
	assert_false(folio_maybe_dma_pinned(folio));
	for (unsigned long i = 0; i < 1ul << order; i++) {
		assert_int_equal(folio_test_anon_exclusive(folio, i), w->excl[at + i]);
		assert_ptr_equal(page_folio(pfn_to_page(w->pfn + at + i)), folio);
		assert_int_equal(*(unsigned long *)pfn_to_virt(w->pfn + at + i), w->pfn + at + i);
	}
	assert_true(folio_validate(folio));
}

static inline void check_whole(const struct whole *w)
{
	check_piece(w, w->folio, 0, w->order);
	assert_int_equal(folio_class(w->folio), w->class);
}

static inline void put_piece(const struct whole *w, struct folio *folio)
{
	u32 share = (w->extra >> w->order) << folio_order(folio);

	folio_unlock(folio);
	if (share)
		folio_put_refs(folio, share);
	folio_put(folio);
}

/* Check every piece; @put them too. Return: how many. */
static inline unsigned long walk_pieces(const struct whole *w, unsigned int uniform, bool put)
{
	unsigned long at = 0, n = 0;

	while (at < w->nr) {
		struct folio *folio = page_folio(pfn_to_page(w->pfn + at));
		unsigned int order = folio_order(folio);

		if (uniform != ~0u)
			assert_int_equal(order, uniform);
		if (at == 0) {
			/* the first piece stays in the old descriptor, and so in its class */
			assert_ptr_equal(folio, w->folio);
			assert_int_equal(folio_class(folio), w->class);
		}
		check_piece(w, folio, at, order);
		if (put)
			put_piece(w, folio);
		at += 1ul << order;
		n++;
	}
	assert_int_equal(at, w->nr);
	return n;
}

#if OCTAVO_FAULTS
static const int fault_modes[] = { OCTAVO_FAULT_ONCE, OCTAVO_FAULT_AFTER };
#endif

#endif /* OCTAVO_FOLIO_PIECES_H */
