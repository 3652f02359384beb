/* SPDX-License-Identifier: MIT */
/*
 * matrix_pages.h - a page of each kind of the matrix of docs/memdesc.md, and how it is given back: for test_matrix.c and
 * test_matrix_user.c.
 */
#ifndef OCTAVO_MATRIX_PAGES_H
#define OCTAVO_MATRIX_PAGES_H

#include "test.h"

/* ---- kinds of pages: how to make one and give it back ---- */

struct subject {
	struct page *page; /* what the operation gets */
	unsigned int order;
	struct page *first; /* of its allocation */
	void *desc;
	struct kmem_cache *cache;
};

static inline struct subject pages_of(struct page *first, unsigned int order, unsigned long at,
				      void *desc)
{
	assert_non_null(first);
	return (struct subject){ .page = first + at, .order = order, .first = first, .desc = desc };
}

static inline struct subject make_plain(enum misc_subtype subtype, unsigned int order, bool frozen,
					unsigned long at)
{
	return pages_of(__alloc_plain_pages(GFP_KERNEL, order, NUMA_NO_NODE, subtype, frozen),
			order, at, NULL);
}

static inline struct subject counted_0(void)
{
	return make_plain(MISC_DRIVER, 0, false, 0);
}
static inline struct subject counted_2(void)
{
	return make_plain(MISC_DRIVER, 2, false, 0);
}
static inline struct subject counted_2_inside(void)
{
	return make_plain(MISC_DRIVER, 2, false, 3);
}
static inline struct subject frozen_0(void)
{
	return make_plain(MISC_DRIVER, 0, true, 0);
}
static inline struct subject frozen_2(void)
{
	return make_plain(MISC_DRIVER, 2, true, 0);
}
static inline struct subject frozen_2_inside(void)
{
	return make_plain(MISC_DRIVER, 2, true, 1);
}
static inline struct subject zero_page(void)
{
	return make_plain(MISC_ZEROPAGE, 0, true, 0);
}

/* Reserved pages are not allocated: in the machine of these tests firmware has two pages before the last. */
#define MACHINE	 (64ul << 20)
#define FIRMWARE (MACHINE - 3 * PAGE_SIZE)

static inline struct subject reserved_page(void)
{
	return pages_of(pfn_to_page(FIRMWARE >> PAGE_SHIFT), 0, 1, NULL);
}

static inline struct subject large_kmalloc(void)
{
	void *p = kmalloc(4 * PAGE_SIZE, GFP_KERNEL);

	assert_non_null(p);
	return pages_of(virt_to_page(p), 2, 0, NULL);
}

static inline struct subject make_folio(enum folio_kind kind, unsigned int order, unsigned long at)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, kind);

	assert_non_null(folio);
	return pages_of(folio_page(folio, 0), order, at, folio);
}

static inline struct subject file_0(void)
{
	return make_folio(FOLIO_FILE, 0, 0);
}
static inline struct subject anon_2(void)
{
	return make_folio(FOLIO_ANON, 2, 0);
}
static inline struct subject anon_2_inside(void)
{
	return make_folio(FOLIO_ANON, 2, 2);
}

static inline struct subject slab_page(void)
{
	struct kmem_cache *cache = kmem_cache_create("matrix", 64, 0, 0, NULL);
	struct subject s;
	void *obj;

	assert_non_null(cache);
	obj = kmem_cache_alloc(cache, GFP_KERNEL);
	assert_non_null(obj);
	s = pages_of(virt_to_page(obj), 0, 0, obj);
	s.cache = cache;
	return s;
}

static inline struct subject make_table(unsigned int order, unsigned long at)
{
	struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, order);

	assert_non_null(pt);
	return pages_of(pfn_to_page(ptdesc_pfn(pt)), order, at, pt);
}
static inline struct subject table_0(void)
{
	return make_table(0, 0);
}
static inline struct subject table_1_inside(void)
{
	return make_table(1, 1);
}

static inline struct subject make_managed(unsigned int order, unsigned long at)
{
	struct mgdesc *mg = mgdesc_alloc(GFP_KERNEL, order);

	assert_non_null(mg);
	return pages_of(pfn_to_page(mgdesc_pfn(mg)), order, at, mg);
}
static inline struct subject managed_0(void)
{
	return make_managed(0, 0);
}
static inline struct subject managed_2_inside(void)
{
	return make_managed(2, 1);
}

static inline int never_migrate(struct movable *dst, struct movable *src)
{
	return -EAGAIN;
}
static const struct movable_operations matrix_ops = { .migrate = never_migrate };

static inline struct subject make_movable(unsigned int order, unsigned long at)
{
	struct movable *mv = movable_alloc(GFP_KERNEL, order, &matrix_ops, NULL);

	assert_non_null(mv);
	return pages_of(pfn_to_page(movable_pfn(mv)), order, at, mv);
}
static inline struct subject movable_0(void)
{
	return make_movable(0, 0);
}
static inline struct subject movable_2_inside(void)
{
	return make_movable(2, 3);
}

static inline unsigned long free_pfn(void)
{
	long pfn = frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE);

	assert_true(pfn >= 0);
	frame_free((unsigned long)pfn, 0);
	return (unsigned long)pfn;
}

static inline struct subject free_page(void)
{
	return pages_of(pfn_to_page(free_pfn()), 0, 0, NULL);
}

static inline struct subject poisoned_page(void)
{
	unsigned long pfn = free_pfn();

	assert_int_equal(memory_failure(pfn), MF_RECOVERED);
	return pages_of(pfn_to_page(pfn), 0, 0, NULL);
}

/* Words that no allocator of this layer makes, in a bare frame that the test owns. */
static inline struct subject make_word(unsigned long word)
{
	long pfn = frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE);

	assert_true(pfn >= 0);
	WRITE_ONCE(pfn_to_page((unsigned long)pfn)->memdesc.v, word);
	return pages_of(pfn_to_page((unsigned long)pfn), 0, 0, NULL);
}
static inline struct subject device_idle(void)
{
	return make_word(MEMDESC_DEVICE);
}
static inline struct subject future_type(void)
{
	return make_word(0x7f0000001230ul | MEMDESC_ZPDESC);
}

/* ---- giving back ---- */

static inline void end_plain(struct subject *s)
{
	if (memdesc_frozen(page_memdesc(s->first)))
		free_frozen_pages(s->first, s->order);
	else
		__free_pages(s->first, s->order);
}
static inline void end_kmalloc(struct subject *s)
{
	kfree(page_address(s->first));
}
static inline void end_folio(struct subject *s)
{
	folio_put(s->desc);
}
static inline void end_slab(struct subject *s)
{
	kmem_cache_free(s->cache, s->desc);
	kmem_cache_destroy(s->cache);
}
static inline void end_table(struct subject *s)
{
	pagetable_free(s->desc);
}
static inline void end_managed(struct subject *s)
{
	mgdesc_put(s->desc);
}
static inline void end_movable(struct subject *s)
{
	assert_int_equal(movable_free(s->desc), 0);
}
static inline void end_poisoned(struct subject *s)
{
	assert_int_equal(unpoison_memory(page_to_pfn(s->first)), 0);
}
static inline void end_word(struct subject *s)
{
	WRITE_ONCE(s->first->memdesc.v, 0ul);
	frame_free(page_to_pfn(s->first), 0);
}
static inline void end_nothing(struct subject *s)
{
}

/* The machine that the kinds are made on. */
static inline void matrix_boot(void)
{
	const struct octavo_region map[] = {
		{ 0, MACHINE, OCTAVO_MEM_USABLE, 0 },
		{ FIRMWARE, 2 * PAGE_SIZE, OCTAVO_MEM_RESERVED, 0 },
	};
	struct sim_config cfg = { .regions = map, .nr_regions = ARRAY_SIZE(map) };

	assert_int_equal(sim_boot(&cfg), 0);
}

#endif /* OCTAVO_MATRIX_PAGES_H */
