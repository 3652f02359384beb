/* SPDX-License-Identifier: MIT */
/*
 * slab.h - caches of equal objects, and kmalloc on them.
 *
 * After J. Bonwick, "The Slab Allocator", USENIX 1994, and J. Bonwick and J. Adams, "Magazines and
 * Vmem", USENIX 2001; per-CPU arrays are called sheaves, as in Linux. docs/slab.md has the design.
 */
#ifndef OCTAVO_SLAB_H
#define OCTAVO_SLAB_H

#include <octavo/gfp.h>

struct kmem_cache;
struct slab_scan; /* slab_state.h */

/* Flags of kmem_cache_create(). */
#define SLAB_TYPESAFE_BY_RCU 0x01u /* slab memory goes back only after a grace period */
#define SLAB_EMBED	     0x02u /* struct slab always at the front of the slab (descriptor caches) */
/* Freed objects are filled and checked, outside the stable prefix. Debug builds: all without ctor. */
#define SLAB_POISON	     0x04u
#define SLAB_RED_ZONE	     0x08u /* a guard word on both sides of each object */
#define SLAB_RECLAIM_ACCOUNT 0x10u /* frames come from the reclaimable group */
#define SLAB_PANIC	     0x20u /* creation cannot fail */
#define SLAB_DEBUG_ALL	     (SLAB_POISON | SLAB_RED_ZONE)

struct kmem_cache_args {
	/*
	 * Bytes at the start of an object that live across free and reuse: no link, poison or pattern
	 * ever touches them. Only with SLAB_TYPESAFE_BY_RCU. At least 8 bytes of the object lie beyond.
	 */
	u32 stable_prefix;
	/*
	 * Run once for each object when its slab is made, never again. NULL: type-safe objects start as
	 * zero, others as anything, which is what they are at their second use. With SLAB_POISON
	 * only what it made inside the stable prefix lasts, so without a prefix the two exclude each other.
	 */
	void (*ctor)(void *obj);
	/* Node that slabs come from; 0 is the CPU's, n + 1 is node n, strictly. */
	u32 node_plus_1;
};

/**
 * kmem_cache_create() - a new cache
 * @name: constant string, for listings
 * @size: bytes of an object, 1 to 64 KiB
 * @align: power of two up to the page size, 0 for 8; never less than 8
 * @flags: SLAB_...
 * @args: may be NULL
 *
 * Context: may sleep. Takes no more than the cache's own struct: slabs and sheaves come with use. Return:
 * the cache, or NULL: no memory, or (logged) impossible arguments.
 */
struct kmem_cache *kmem_cache_create(const char *name, u32 size, u32 align, u32 flags,
				     const struct kmem_cache_args *args);

/**
 * kmem_cache_destroy() - end a cache
 *
 * @s: cache, or NULL
 *
 * Fatal if objects are still allocated: they would dangle. Context: may sleep (a grace period for a
 * type-safe cache).
 */
void kmem_cache_destroy(struct kmem_cache *s);

/**
 * kmem_cache_alloc() - an object
 * @s: cache
 * @gfp: effort; __GFP_ZERO clears the object (fatal for caches with a constructor or stable prefix).
 *       Zone bits are ignored: slabs are shared by all callers
 *
 * Context: any; with __GFP_DIRECT_RECLAIM one that may sleep, so not pinned and not in an interrupt. Without,
 * no lock is waited for.
 *
 * Return: the object, or NULL. Contents: as constructed or as last freed, except for the first word beyond
 * the stable prefix, which is 0; beyond the prefix a pattern if the cache is poisoned. Fatal, in every build:
 * the object's allocator word was written to while it was free.
 */
void *kmem_cache_alloc(struct kmem_cache *s, gfp_t gfp) __must_check;

/**
 * kmem_cache_free() - give an object back
 * @s: cache it came from
 * @obj: the object
 *
 * Fatal, in every build: an address that is no object of @s, or one that is free already. Context:
 * any; never sleeps, never allocates.
 */
void kmem_cache_free(struct kmem_cache *s, void *obj);

/**
 * kmem_cache_alloc_bulk() - @n objects or none
 * @s: cache
 * @gfp: as for kmem_cache_alloc()
 * @n: how many; 0 is legal
 * @objs: filled; on failure its contents are undefined
 *
 * Context: as kmem_cache_alloc(). Return: 0; -ENOMEM with nothing allocated.
 */
int kmem_cache_alloc_bulk(struct kmem_cache *s, gfp_t gfp, u32 n, void **objs) __must_check;
/* As kmem_cache_free() of each, checked before any of them moves. */
void kmem_cache_free_bulk(struct kmem_cache *s, u32 n, void *const *objs);

/*
 * Guaranteed allocation: a prefilled sheaf holds objects that later, under locks, cannot fail to be there.
 */
struct slab_sheaf;

/**
 * kmem_cache_prefill_sheaf() - set objects aside
 * @s: cache
 * @gfp: as for kmem_cache_alloc()
 * @n: how many; more than a sheaf's usual size is legal
 *
 * Its objects count as allocated. Ended by kmem_cache_return_sheaf(), whether objects are left or not.
 *
 * Return: a sheaf with @n objects, the caller's; NULL if memory is short.
 */
struct slab_sheaf *kmem_cache_prefill_sheaf(struct kmem_cache *s, gfp_t gfp, u32 n) __must_check;
/* Never NULL while the sheaf has objects, whatever the state of memory. Fatal when it has none. */
void *kmem_cache_alloc_from_sheaf(struct kmem_cache *s, struct slab_sheaf *sheaf);
/* Objects left in it. */
u32 kmem_cache_sheaf_size(const struct slab_sheaf *sheaf);
/* Frees what is left in it, and it. Context: any; never sleeps. */
void kmem_cache_return_sheaf(struct kmem_cache *s, struct slab_sheaf *sheaf);

/**
 * kmem_cache_scan() - some objects of a cache, in turns
 * @s: SLAB_TYPESAFE_BY_RCU
 * @scan: where the last call ended
 * @max: size of @objs
 * @objs: filled with objects that lie together
 *
 * They may be free, or become so: the caller tries for a reference. Any number of scans may run, and share a lap.
 *
 * Context: RCU read-side section, which is how long @objs are objects of this type; takes a spinlock. Return: how many; 0: the
 * lap is over, and the next call begins another.
 */
u32 kmem_cache_scan(struct kmem_cache *s, struct slab_scan *scan, u32 max, void **objs);

/**
 * kmem_cache_shrink() - give free slabs back to the frame allocator
 * @s: cache
 *
 * Drains all CPUs' sheaves first. Type-safe slabs whose grace period is not over stay until the next
 * shrink or the next allocation's poll. Context: may sleep. Return: frames given back.
 */
u64 kmem_cache_shrink(struct kmem_cache *s);
/* The same for every cache. Holds the cache list's lock. */
u64 kmem_cache_shrink_all(void);

struct kmem_cache_stat {
	const char *name;
	u32 object_size; /* as asked for */
	u32 size;	 /* from one object to the next */
	u32 order;	 /* of its usual slab */
	u32 flags;
	u64 slabs;   /* now, those waiting for a grace period included */
	u64 frames;  /* behind them */
	u64 objects; /* that fit into them */
	u64 active;  /* allocated; exact when quiet */
	/*
	 * Struct slab outside of the slabs. They are objects of a cache called "slab", which is listed
	 * like any other: to sum up memory, add up frames alone.
	 */
	u64 desc_bytes;
};

/* Context: may spin; costs an interrupt of each CPU that has a sheaf of the cache. */
void kmem_cache_stat(struct kmem_cache *s, struct kmem_cache_stat *st);
/*
 * Calls @fn for each cache until it returns false, kmalloc's and the three bootstrap caches included. Holds
 * the cache list's lock: @fn may not create or destroy.
 */
void kmem_cache_for_each(bool (*fn)(struct kmem_cache *s, void *arg), void *arg);
/* Context: nothing else running in the core. False if broken (logged). */
bool kmem_cache_validate(struct kmem_cache *s);
bool slab_validate_all(void);
/* Log a cache's layout, lists and sheaves. Context: as kmem_cache_stat(). */
void kmem_cache_dump(struct kmem_cache *s);

/**
 * kmalloc() - memory by size
 * @size: bytes; up to KMALLOC_MAX_CACHE from a cache (so aligned as its size class is: powers of two
 *        naturally, as far as the direct map's base is), beyond that whole plain frozen pages of subtype
 *        LargeKmalloc; 0 is NULL
 * @gfp: effort; __GFP_ZERO clears
 *
 * The cache of a size class is made when the class is first used, and stays.
 *
 * Context: any; may sleep with __GFP_DIRECT_RECLAIM. Return: the memory, NULL if there is none.
 */
#define KMALLOC_MAX_CACHE 8192u
void *kmalloc(size_t size, gfp_t gfp) __must_check;
/* Cleared. */
void *kzalloc(size_t size, gfp_t gfp) __must_check;
/* @n * @size without wrapping. */
void *kmalloc_array(size_t n, size_t size, gfp_t gfp) __must_check;
/* NULL is legal. Fatal: anything that is not the start of a kmalloc()ed object. */
void kfree(const void *p);
/* Usable bytes behind an allocation. */
size_t ksize(const void *p);

#endif /* OCTAVO_SLAB_H */
