/* SPDX-License-Identifier: MIT */
/*
 * folio_desc.h - the making and unmaking of folio descriptors, for folio.c and folio_split.c.
 */
#ifndef MM_DESC_FOLIO_DESC_H
#define MM_DESC_FOLIO_DESC_H

#include <octavo/folio.h>

#include "desc.h"

#define FOLIO_FLAGS_MASK ((1u << NR_FOLIO_FLAGS) - 1)
#define FOLIO_CLASS_MASK (~0u << FOLIO_CLASS_SHIFT)

/* Whoever set these has a reference. */
#define FLAGS_NOT_AT_FREE (1u << PG_locked | 1u << PG_writeback)

/* The largest order whose exclusivity bits are in the descriptor. */
#define FOLIO_INLINE_ORDER 9

static inline enum folio_class folio_class_for(unsigned int order)
{
	if (order == 0)
		return FOLIO_CLASS_SMALL;
	return order > 6 && order <= FOLIO_INLINE_ORDER ? FOLIO_CLASS_HUGE : FOLIO_CLASS_LARGE;
}

/*
 * folio_desc_alloc() - a descriptor at rest (count 0, no flags) with room for the exclusivity of
 * @order Return: NULL if there is no memory; then nothing is held.
 */
struct folio *folio_desc_alloc(gfp_t gfp, unsigned int order);
/* The same from a given cache of the right class; or from that of what @folio is. */
struct folio *folio_desc_alloc_from(struct kmem_cache *s, gfp_t gfp, unsigned int order);
struct folio *folio_desc_alloc_like(const struct folio *folio, gfp_t gfp, unsigned int order);

/* desc_init.c: another cache of folio descriptors. Context: sleeps. NULL: no memory. */
struct kmem_cache *folio_cache_create(enum folio_class class);
/* folio_set.c: the set with the lowest number above @nr, which becomes that, or NULL. Context: no set goes meanwhile. */
struct folio_set *folio_set_next(u32 *nr);
#define for_each_folio_set(set, nr) for (nr = 0; (set = folio_set_next(&nr)) != NULL;)
/* Descriptors allocated from sets' caches; and their end. */
u64 folio_sets_active(enum folio_class class);
void folio_sets_exit(void);

/*
 * Back to its cache, which its slab names. Its count is 0, and no word names it any more. Never
 * sleeps or allocates.
 */
void folio_desc_free(struct folio *folio);

/* Dump it, and panic. */
__noreturn __cold void folio_bad(const struct folio *folio, const char *reason);

/* Is @kind one of the two? */
static inline bool folio_kind_ok(enum folio_kind kind)
{
	return ((unsigned int)kind & ~1u) == FOLIO_FILE;
}

/* Everything that a new folio is but flags (other than the class) and count. @pfn: or a place. */
static inline void folio_desc_init(struct folio *folio, unsigned long pfn, unsigned int order)
{
	struct large_folio *lf = (struct large_folio *)folio;

	folio->mapcount = 0;
	folio->gen = 0;
	folio->pfn_order_group = pfn | (u64)order << FOLIO_ORDER_SHIFT;
	folio->mapping = NULL;
	folio->index = 0;
	folio->private = NULL;
	/* a new descriptor's class is that of its order */
	if (order) {
		lf->pincount = 0;
		lf->entire_mapcount = 0;
	}
}

/* release: pairs with the acquire in page_memdesc(): the descriptor is seen as initialised. */
static inline void folio_words_store(struct page *page, unsigned int order, memdesc_t md)
{
	unsigned long *word = &page->memdesc.v;

	if (order == 0)
		smp_store_release(word, md.v);
	else
		words_fill_release(word, md.v, 1ul << order);
}

/* Words that the bits of @nr pages take. */
static inline unsigned long folio_excl_words(unsigned long nr)
{
	return DIV_ROUND_UP(nr, BITS_PER_LONG);
}

/*
 * folio_excl_copy() - the exclusivity of @nr pages of @from, at @first, to @to, at @at
 *
 * Nobody else looks at either: one is frozen and unmapped, the other not yet published. The bits of
 * @to are 0 before.
 */
void folio_excl_copy(struct folio *to, unsigned long at, const struct folio *from,
		     unsigned long first, unsigned long nr);

#endif /* MM_DESC_FOLIO_DESC_H */
