/* SPDX-License-Identifier: MIT */
/*
 * page.h - struct page, and going between pages, pfns, addresses and descriptors.
 *
 * Everything here is legal on any frame at any time; what the answer is worth, and for how long, is docs/memdesc.md
 * "Stability".
 */
#ifndef OCTAVO_PAGE_H
#define OCTAVO_PAGE_H

#include <octavo/atomic.h>
#include <octavo/memdesc.h>
#include <octavo/mmzone.h>
#include <octavo/state.h>

static inline unsigned long page_to_pfn(const struct page *page)
{
	return (unsigned long)(page - octavo_state.frame.vmemmap);
}

static inline struct page *pfn_to_page(unsigned long pfn)
{
	return octavo_state.frame.vmemmap + pfn;
}

/**
 * pfn_valid() - does a frame have a word?
 * @pfn: any number at all
 *
 * Context: any. Words of a removed section stay readable (as FREE), so a stale answer is harmless to a
 * reader of words.
 */
static inline bool pfn_valid(unsigned long pfn)
{
	/* acquire: pairs with the release in section_online(): the section's words are set up */
	return pfn < octavo_state.frame.max_pfn &&
	       (smp_load_acquire(&octavo_state.frame.section[pfn >> SECTION_ORDER]) &
		SECTION_PRESENT);
}

static inline enum zone_type pfn_zone(unsigned long pfn)
{
	return (enum zone_type)(READ_ONCE(octavo_state.frame.section[pfn >> SECTION_ORDER]) &
				SECTION_ZONE_MASK);
}

static inline u32 pfn_to_nid(unsigned long pfn)
{
	return (READ_ONCE(octavo_state.frame.section[pfn >> SECTION_ORDER]) & SECTION_NODE_MASK) >>
	       SECTION_NODE_SHIFT;
}

static inline enum zone_type page_zone(const struct page *page)
{
	return pfn_zone(page_to_pfn(page));
}

static inline u32 page_to_nid(const struct page *page)
{
	return pfn_to_nid(page_to_pfn(page));
}

static inline void *pfn_to_virt(unsigned long pfn)
{
	return (char *)octavo_state.frame.direct_map + (pfn << PAGE_SHIFT);
}

static inline unsigned long virt_to_pfn(const void *addr)
{
	return (unsigned long)((const char *)addr - (const char *)octavo_state.frame.direct_map) >>
	       PAGE_SHIFT;
}

static inline void *page_address(const struct page *page)
{
	return pfn_to_virt(page_to_pfn(page));
}

static inline struct page *virt_to_page(const void *addr)
{
	return pfn_to_page(virt_to_pfn(addr));
}

/**
 * page_memdesc() - a page's word, now
 *
 * acquire: pairs with the release of whoever stored the word, so that a descriptor reached through it
 * is initialised.
 */
static inline memdesc_t page_memdesc(const struct page *page)
{
	return memdesc_mk(smp_load_acquire(&page->memdesc.v));
}

/* The same without order: for a re-read that only compares. */
static inline memdesc_t page_memdesc_relaxed(const struct page *page)
{
	return memdesc_mk(READ_ONCE(page->memdesc.v));
}

struct folio;
struct slab;
struct ptdesc;
struct mgdesc;
struct movable;

/*
 * Typed views: NULL for a page of any other type. The pointer is stable only under what
 * docs/memdesc.md says (a reference on the folio, owning an object of the slab, ...).
 */
static inline struct folio *page_folio(const struct page *page)
{
	memdesc_t md = page_memdesc(page);

	return memdesc_is_folio(md) ? (struct folio *)memdesc_ptr(md) : NULL;
}

static inline void *__page_desc(const struct page *page, enum memdesc_type type)
{
	memdesc_t md = page_memdesc(page);

	return memdesc_type(md) == type ? memdesc_ptr(md) : NULL;
}

static inline struct slab *page_slab(const struct page *page)
{
	return __page_desc(page, MEMDESC_SLAB);
}

static inline struct ptdesc *page_ptdesc(const struct page *page)
{
	return __page_desc(page, MEMDESC_PTDESC);
}

static inline struct mgdesc *page_mgdesc(const struct page *page)
{
	return __page_desc(page, MEMDESC_MANAGED);
}

static inline struct movable *page_movable(const struct page *page)
{
	return __page_desc(page, MEMDESC_MOVABLE);
}

/* The first page of the run of 2^@order that @page is in. */
static inline struct page *page_run_head(struct page *page, unsigned int order)
{
	/* words of device-private memory are not in the memory map, but aligned like it */
	return page - (page_to_pfn(page) & ((1ul << order) - 1));
}

/**
 * compound_head() - the first page of a plain allocation
 *
 * Return: NULL for pages of every other type: there the question has no meaning.
 */
static inline struct page *compound_head(struct page *page)
{
	memdesc_t md = page_memdesc(page);

	return memdesc_is_misc(md) ? page_run_head(page, memdesc_order(md)) : NULL;
}

/**
 * get_page() - another reference, for somebody who has one
 * @page: a counted plain page (any page of it), or a page of a folio or of managed memory
 *
 * Saturates instead of wrapping, and then leaks. Fatal on a page of any other type.
 */
void get_page(struct page *page);

/**
 * put_page() - drop a reference; the last one frees
 * @page: as for get_page()
 *
 * Context: any; never sleeps, never allocates. Fatal on a page that has no references to drop.
 */
void put_page(struct page *page);

/**
 * try_get_page() - a reference out of nothing, for PFN walkers
 * @page: any page at all
 *
 * On success the reference is on whatever the page belongs to at that moment. It cannot tell whether
 * the page was freed and reallocated before: look again at what led to it.
 *
 * Return: true with a reference that put_page() drops; false if the page has no count, is on its way
 * to or from being free, or its count is saturated.
 */
bool try_get_page(struct page *page);

/* References of a plain, folio or managed page; 0 for all others. A hint unless frozen. */
unsigned int page_count(const struct page *page);

/*
 * Log what a page is, in one or more lines: where the frame is and what its word says. Legal on any pfn,
 * also without a word. mm/frame/dump.c: descriptors are above that layer and have dumps of their own
 * (folio_dump() and so on).
 */
void dump_page(unsigned long pfn, const char *reason);

/* dump_page(), then panic with @reason. */
__noreturn __cold void bad_page(unsigned long pfn, const char *reason);

#endif /* OCTAVO_PAGE_H */
