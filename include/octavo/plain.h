/* SPDX-License-Identifier: MIT */
/*
 * plain.h - plain pages: memory without a descriptor. Eight bytes a page, whether counted (an inline
 * reference count in the word) or frozen (no count; one owner, who frees it).
 */
#ifndef OCTAVO_PLAIN_H
#define OCTAVO_PLAIN_H

#include <octavo/page.h>

/**
 * alloc_pages() - counted plain pages, subtype Driver, count 1
 * @gfp: see gfp.h
 * @order: 0 to MAX_FOLIO_ORDER; naturally aligned
 *
 * Return: the first page, NULL if there is no memory. Freed by the last put_page() or __free_pages().
 */
struct page *alloc_pages(gfp_t gfp, unsigned int order);
struct page *alloc_pages_node(int nid, gfp_t gfp, unsigned int order);
#define alloc_page(gfp) alloc_pages(gfp, 0)

/**
 * alloc_frozen_pages() - frozen plain pages, subtype Driver
 *
 * The caller owns them alone and frees them with free_frozen_pages() of the same order.
 */
struct page *alloc_frozen_pages(gfp_t gfp, unsigned int order);

/* The common routine: any subtype, counted or frozen. */
struct page *__alloc_plain_pages(gfp_t gfp, unsigned int order, int nid, enum misc_subtype subtype,
				 bool frozen);

/* Plain pages at a given place; NULL if any of them is taken. */
struct page *alloc_plain_pages_at(unsigned long pfn, unsigned int order, enum misc_subtype subtype,
				  bool frozen, unsigned int at_flags);

/**
 * __free_pages() - drop the allocation's own reference
 * @page: the first page of a counted allocation
 * @order: its order; another one is fatal
 */
void __free_pages(struct page *page, unsigned int order);
#define __free_page(page) __free_pages(page, 0)

/* Fatal unless @page is the first of a frozen allocation of exactly @order. */
void free_frozen_pages(struct page *page, unsigned int order);

/**
 * alloc_pages_bulk() - many counted order-0 pages at once
 * @gfp: see gfp.h
 * @nr: entries of @pages
 * @pages: NULL entries are filled, others left alone
 *
 * Return: entries that are not NULL now.
 */
unsigned long alloc_pages_bulk(gfp_t gfp, unsigned long nr, struct page **pages);
/* __free_page() for each entry that is not NULL; all are NULL afterwards. */
void free_pages_bulk(unsigned long nr, struct page **pages);

/**
 * alloc_plain_bulk() - the same as numbers, of any subtype, on a node
 * @nr: how many at most
 * @pfns: filled from the start
 *
 * Return: how many there are; fewer is not a failure.
 */
unsigned long alloc_plain_bulk(gfp_t gfp, int nid, enum misc_subtype subtype, unsigned long nr,
			       unsigned long *pfns);

/**
 * free_pages_run() - drop the allocation's own reference of neighbours
 * @page: the first of @nr counted pages of order 0
 * @nr: how many
 *
 * Those that nobody else has go back to the allocator in runs as large as alignment permits. Context: any; never
 * sleeps, never allocates.
 */
void free_pages_run(struct page *page, unsigned long nr);

/**
 * split_page() - make one allocation of 2^order pages into 2^order allocations of one
 * @page: first page of a counted allocation whose only reference is the caller's, or of a frozen one
 * @order: its order
 *
 * Return: 0; -EBUSY somebody else holds a reference: nothing changed, try again or give up.
 */
int split_page(struct page *page, unsigned int order);

/**
 * alloc_pages_exact() - @size bytes, rounded up to pages only; the rest of the run is given back
 *
 * Each page is a frozen order-0 allocation of subtype Exact. Return: address in the direct map, NULL.
 */
void *alloc_pages_exact(size_t size, gfp_t gfp);
void free_pages_exact(void *addr, size_t size);

/*
 * Owner's setters; the caller owns the pages or holds a reference, and one caller at a time sets. They never
 * change type, order or count. Mappable and subtype are the whole allocation's, given by any page of it; owner bits
 * (21 of them, 0 at first) are each page's own. Fatal on a page that is not plain, and
 * for the subtypes Reserved and Device, which decide where frames go when they are freed.
 */
void page_set_mappable(struct page *page, bool mappable);
void page_set_subtype(struct page *page, enum misc_subtype subtype);
void page_set_owner_bits(struct page *page, unsigned long bits);

/*
 * For mm/desc/page.c, which builds get_page(), put_page(), try_get_page() and page_count() on them and
 * has the other types. @page is any page of the allocation. plain_get() and plain_put() are fatal on
 * everything that is not a counted plain page, so they are also what to call for the types that have no count.
 */

/* Another reference for a holder. Sticks at saturation, which is reported when it gets there. */
void plain_get(struct page *page);
/* Drop a reference; the last one frees. Does nothing to a saturated count: the pages are leaked. */
void plain_put(struct page *page);
/* False, with nothing written, if it is not a counted plain page now, or close to saturation. */
bool plain_try_get(struct page *page);
/* 0 unless it is a counted plain page. A hint unless frozen or the caller's alone. */
unsigned int plain_count(const struct page *page);

#endif /* OCTAVO_PLAIN_H */
