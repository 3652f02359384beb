/* SPDX-License-Identifier: MIT */
/*
 * plain_words.h - for the tests of plain pages: what every word of an allocation says.
 */
#ifndef OCTAVO_PLAIN_WORDS_H
#define OCTAVO_PLAIN_WORDS_H

#include "test.h"

static inline memdesc_t word(const struct page *page)
{
	return page_memdesc(page);
}

/* Every word of the allocation, from the rules and not from the code. */
static inline void check_words(struct page *page, unsigned int order, enum misc_subtype subtype,
			       unsigned int count, bool frozen)
{
	assert_int_equal(page_to_pfn(page) & ((1ul << order) - 1), 0);
	for (unsigned long i = 0; i < 1ul << order; i++) {
		memdesc_t md = word(page + i);

		assert_true(memdesc_valid(md));
		assert_int_equal(memdesc_type(md), MEMDESC_MISC);
		assert_int_equal(memdesc_subtype(md), subtype);
		assert_int_equal(memdesc_order(md), order);
		assert_int_equal(memdesc_frozen(md), frozen);
		assert_int_equal(memdesc_count(md), i ? 0 : count);
		assert_ptr_equal(compound_head(page + i), page);
		assert_int_equal(plain_count(page + i), frozen ? 0 : count);
		assert_int_equal(page_count(page + i), frozen ? 0 : count);
		assert_null(page_folio(page + i));
		assert_null(page_slab(page + i));
		assert_null(page_ptdesc(page + i));
		assert_null(page_mgdesc(page + i));
		assert_null(page_movable(page + i));
	}
}

static inline void check_free(struct page *page, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		assert_int_equal(word(page + i).v, 0);
		assert_null(compound_head(page + i));
		assert_false(plain_try_get(page + i));
		assert_int_equal(plain_count(page + i), 0);
	}
}

#endif /* OCTAVO_PLAIN_WORDS_H */
