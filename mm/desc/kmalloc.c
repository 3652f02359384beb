/* SPDX-License-Identifier: MIT */
/*
 * kmalloc.c - memory by size: one slab cache a size class, whole plain frozen pages beyond the largest.
 *
 * The page word tells kfree() and ksize() which it is: SLAB names a slab of a kmalloc cache, MISC of subtype
 * LargeKmalloc has the order. A large allocation is no slab: page_slab() is NULL for it.
 *
 * A class's cache is made when the class is first used, in any context, without a lock: two CPUs may make
 * it, one publishes it.
 */
#include <octavo/atomic.h>
#include <octavo/plain.h>
#include <octavo/string.h>

#include "slab_priv.h"

static const struct kmalloc_class {
	u32 size;
	const char *name;
} classes[NR_KMALLOC_CLASSES] = {
	{ 16, "kmalloc-16" },	  { 32, "kmalloc-32" },	    { 48, "kmalloc-48" },
	{ 64, "kmalloc-64" },	  { 96, "kmalloc-96" },	    { 128, "kmalloc-128" },
	{ 192, "kmalloc-192" },	  { 256, "kmalloc-256" },   { 384, "kmalloc-384" },
	{ 512, "kmalloc-512" },	  { 768, "kmalloc-768" },   { 1024, "kmalloc-1024" },
	{ 2048, "kmalloc-2048" }, { 4096, "kmalloc-4096" }, { 8192, "kmalloc-8192" },
};

/* Class of a size up to 192 by its 16-byte step; beyond, the classes are half powers of two, then whole. */
static const u8 small_class[] = { 0, 0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6 };

static __always_inline u32 class_of(size_t size)
{
	u32 log;

	if (likely(size <= 192))
		return small_class[(size + 15) / 16];
	/* size in (2^log, 2^(log + 1)]; 256 is class 7, and up to 1024 each power has a half step before it */
	log = (u32)ilog2(size - 1);
	if (size > 1024)
		return 12 + (log - 10);
	if (log == 7)
		return 7;
	return 8 + 2 * (log - 8) + (size > 3ul << (log - 1));
}

static __noinline struct kmem_cache *kmalloc_cache_make(u32 class, gfp_t gfp)
{
	u32 size = classes[class].size;
	const struct slab_cache_spec spec = {
		.name = classes[class].name,
		.size = size,
		/* powers of two naturally, the others as their largest power of two */
		.align = min(size & -size, (u32)PAGE_SIZE),
		.flags = SLAB_KMALLOC,
	};

	return slab_cache_make_once(&octavo_state.slab.kmalloc[class], &spec, gfp);
}

static __always_inline struct kmem_cache *kmalloc_cache(size_t size, gfp_t gfp)
{
	u32 class = class_of(size);
	/* acquire: pairs with the release in slab_cache_make_once() */
	struct kmem_cache *s = smp_load_acquire(&octavo_state.slab.kmalloc[class]);

	return likely(s) ? s : kmalloc_cache_make(class, gfp);
}

static __noinline void *kmalloc_large(size_t size, gfp_t gfp)
{
	struct page *page;
	unsigned int order;

	if (octavo_fault(OCTAVO_FAULT_SLAB) && !(gfp & __GFP_NOFAIL))
		return NULL;
	if (size > PAGE_SIZE << MAX_FOLIO_ORDER)
		return NULL;
	order = (unsigned int)ilog2((size - 1) >> PAGE_SHIFT) + 1;
	page = __alloc_plain_pages(gfp, order, NUMA_NO_NODE, MISC_LARGE_KMALLOC, true);
	return page ? page_address(page) : NULL;
}

void *kmalloc(size_t size, gfp_t gfp)
{
	struct kmem_cache *s;

	if (unlikely(size > KMALLOC_MAX_CACHE))
		return kmalloc_large(size, gfp);
	if (unlikely(!size))
		return NULL;
	s = kmalloc_cache(size, gfp & ~__GFP_ZERO);
	return likely(s) ? kmem_cache_alloc(s, gfp) : NULL;
}

void *kzalloc(size_t size, gfp_t gfp)
{
	return kmalloc(size, gfp | __GFP_ZERO);
}

void *kmalloc_array(size_t n, size_t size, gfp_t gfp)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return kmalloc(bytes, gfp);
}

__noreturn static __cold void bad_kfree(const void *p, const char *why)
{
	octavo_panic("kfree: %p %s", p, why);
}

static __always_inline memdesc_t kmalloc_word(const void *p)
{
	unsigned long pfn = virt_to_pfn(p);

	if (unlikely(pfn >= octavo_state.frame.max_pfn))
		bad_kfree(p, "is not in the machine's memory");
	return page_memdesc(pfn_to_page(pfn));
}

/* A kmalloc cache, or fatal. */
static __always_inline struct kmem_cache *kmalloc_cache_of(const void *p, const struct slab *slab)
{
	struct kmem_cache *s = slab->cache;

	if (unlikely(!(s->flags & SLAB_KMALLOC)))
		bad_kfree(p, "is an object of a cache that is not kmalloc's");
	return s;
}

/* The first page of a large allocation. */
static struct page *large_page(const void *p, memdesc_t md)
{
	struct page *page = virt_to_page(p);

	if (!memdesc_is_misc(md) || memdesc_subtype(md) != MISC_LARGE_KMALLOC ||
	    !memdesc_frozen(md))
		bad_kfree(p, "was not allocated by kmalloc, or is free already");
	if (compound_head(page) != page || !IS_ALIGNED((unsigned long)p, PAGE_SIZE))
		bad_kfree(p, "is inside an allocation, not at its start");
	return page;
}

void kfree(const void *p)
{
	memdesc_t md;

	if (unlikely(!p))
		return;
	md = kmalloc_word(p);
	if (likely(memdesc_type(md) == MEMDESC_SLAB)) {
		struct slab *slab = memdesc_ptr(md);

		slab_free_object(kmalloc_cache_of(p, slab), slab, (void *)(uintptr_t)p);
	} else {
		free_frozen_pages(large_page(p, md), memdesc_order(md));
	}
}

size_t ksize(const void *p)
{
	struct kmem_cache *s;
	struct slab *slab;
	memdesc_t md;

	if (!p)
		return 0;
	md = kmalloc_word(p);
	if (memdesc_type(md) != MEMDESC_SLAB) {
		large_page(p, md);
		return PAGE_SIZE << memdesc_order(md);
	}
	slab = memdesc_ptr(md);
	s = kmalloc_cache_of(p, slab);
	if (slab_index(s, slab, p) >= slab->nr)
		bad_kfree(p, "is inside an object, not at its start");
	return s->object_size;
}
