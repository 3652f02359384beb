/* SPDX-License-Identifier: MIT */
/*
 * slab_priv.h - between slab.c, sheaf.c, slab_cache.c, kmalloc.c and slab_debug.c.
 */
#ifndef OCTAVO_MM_SLAB_PRIV_H
#define OCTAVO_MM_SLAB_PRIV_H

#include <octavo/page.h>
#include <octavo/slab.h>

/* Flags that no caller may set. */
#define SLAB_KMALLOC 0x80000000u /* kfree() may */
#define SLAB_PUBLIC_FLAGS \
	(SLAB_TYPESAFE_BY_RCU | SLAB_EMBED | SLAB_DEBUG_ALL | SLAB_PANIC | SLAB_RECLAIM_ACCOUNT)

#define SLAB_MAX_OBJECT	 65536u
#define SLAB_USUAL_ORDER 3u /* no slab is larger unless one object is */
#define SLAB_DESC_SIZE	 64u
/* A separate descriptor has two words of bits. */
#define SLAB_DESC_BITS 128u

/*
 * The descriptor of one slab: what a SLAB word points to. Letters as in slab_state.h; (w) is written
 * before the words name the slab, with release, and then constant.
 */
struct slab {
	struct list_head list;	  /* (l) partial, full or empty; next alone on the incoming stack */
	struct kmem_cache *cache; /* (w) */
	char *objects;		  /* (w) the first */
	u64 cookie;		  /* (l) type-safe: the grace period that ends its emptiness */
	u16 nr;			  /* (w) objects */
	u16 inuse;		  /* (l) of them, out of the slab */
	u8 order;		  /* (w) */
	bool embedded;		  /* (w) */
	u8 home;		  /* (w) whose lock is (l) */
	u8 lap;			  /* (l) slab_scan.c: of the home, when it was scanned last */
	unsigned long free[];	  /* (l) a bit an object; set: in the slab */
};
BUILD_BUG_ON(sizeof(struct slab) + SLAB_DESC_BITS / 8 != SLAB_DESC_SIZE);

static inline u32 slab_bit_words(u32 nr)
{
	return DIV_ROUND_UP(nr, (u32)BITS_PER_LONG);
}

/* Frames are naturally aligned, and the first object may have a page of guard before it. */
static inline unsigned long slab_pfn(const struct slab *slab)
{
	return ALIGN_DOWN(virt_to_pfn(slab->objects), 1ul << slab->order);
}

static __always_inline struct slab_cpu *slab_cpu(struct kmem_cache *s, unsigned int cpu)
{
	return (struct slab_cpu *)(s + 1) + cpu;
}

/* Homes that slabs may be of. */
static inline u32 slab_nr_homes(void)
{
	return min((u32)OCTAVO_SLAB_HOMES, octavo_state.frame.nr_cpus);
}

/* Where this CPU makes slabs. Unpinned: where it did a moment ago, which is as right. */
static inline struct slab_home *slab_own_home(struct kmem_cache *s)
{
	return &s->home[octavo_port_cpu() % OCTAVO_SLAB_HOMES];
}

static inline struct slab_home *slab_home_of(struct kmem_cache *s, const struct slab *slab)
{
	return &s->home[slab->home];
}

static inline struct kmem_cache *slab_boot(enum slab_boot_cache which)
{
	return &octavo_state.slab.boot[which];
}

/*
 * The allocator's word. While an object is free in a sheaf or a slab it is the marker; on the deferred
 * stack it is the marker ^ the next object; the owner of an allocated object does as he likes with
 * it (it starts as 0), and would have to guess the marker to be taken for a double free.
 */
static __always_inline unsigned long *slab_link(const struct kmem_cache *s, void *obj)
{
	return (unsigned long *)((char *)obj + s->link);
}

static __always_inline unsigned long slab_marker(const struct kmem_cache *s, const void *obj)
{
	return (unsigned long)obj ^ s->secret;
}

/*
 * Which object of its slab an address is; nr or more if it is no object's start. Size is odd * 2^k: an
 * offset is m * size exactly if offset / odd, modulo 2^64, is m * 2^k, and a rotation brings any other
 * low bits to the top (after T. Granlund and P. Montgomery, "Division by Invariant Integers using
 * Multiplication", 1994, section 9). Offsets before the first object wrap and come out as large too.
 */
static __always_inline u64 slab_index(const struct kmem_cache *s, const struct slab *slab,
				      const void *obj)
{
	u64 m = (u64)((const char *)obj - slab->objects) * s->odd_inverse;

	return m >> s->size_shift | m << (-s->size_shift & 63);
}

/* Why an object cannot be freed, then panic. */
__noreturn __cold void slab_bad_free(const struct kmem_cache *s, const void *obj);

/* The slab of an address that must be in one of @s. Fatal if not. */
static __always_inline struct slab *slab_of(const struct kmem_cache *s, const void *obj)
{
	unsigned long pfn = virt_to_pfn(obj);
	struct slab *slab;
	memdesc_t md;

	if (unlikely(pfn >= octavo_state.frame.max_pfn))
		slab_bad_free(s, obj);
	md = page_memdesc(pfn_to_page(pfn));
	if (unlikely(memdesc_type(md) != MEMDESC_SLAB))
		slab_bad_free(s, obj);
	slab = memdesc_ptr(md);
	if (unlikely(slab->cache != s))
		slab_bad_free(s, obj);
	return slab;
}

/* Whose an allocated object is. */
static inline struct kmem_cache *slab_cache_of(const void *obj)
{
	return page_slab(virt_to_page(obj))->cache;
}

/* ---- slab.c ---- */

bool slab_set_geometry(struct kmem_cache *s);
u32 slab_take(struct kmem_cache *s, gfp_t gfp, u32 n, void **objs);
bool slab_take_bulk(struct kmem_cache *s, gfp_t gfp, u32 n, void **objs);
void slab_give(struct kmem_cache *s, void *obj);
u32 slab_fill_pinned(struct kmem_cache *s, u32 n, void **objs);
u32 slab_give_pinned(struct kmem_cache *s, void **objs, u32 n, u32 *reap);
u32 slab_give_home(struct kmem_cache *s, struct slab_home *home, void **objs, u32 n);
void slab_lock(struct kmem_cache *s, struct slab_home *home);
void slab_unlock(struct slab_home *home);
u64 slab_reap_all(struct kmem_cache *s);
void slab_reap_homes(struct kmem_cache *s, u32 homes);
u64 slab_inuse(struct kmem_cache *s);

/* After frees that set bits in @homes, outside all locks: give their empty slabs back. Context: any. */
static inline void slab_reap_some(struct kmem_cache *s, u32 homes)
{
	if (unlikely(homes))
		slab_reap_homes(s, homes);
}

/* Objects of the bootstrap caches, and of any cache without its sheaves. */
void *slab_object_alloc(struct kmem_cache *s, gfp_t gfp);
void slab_object_free(struct kmem_cache *s, void *obj);

/* ---- sheaf.c ---- */

void sheaf_drain_all(struct kmem_cache *s);
/* As kmem_cache_free() when the caller has found the slab. */
void slab_free_object(struct kmem_cache *s, struct slab *slab, void *obj);

/* ---- slab_cache.c ---- */

struct slab_cache_spec {
	const char *name;
	u32 size, align, flags;
	const struct kmem_cache_args *args;
};

/* NULL: impossible (logged) or no memory. Not on the list of caches. Context: any. */
struct kmem_cache *slab_cache_make(const struct slab_cache_spec *spec, gfp_t gfp);
/* Gives back one that nothing was allocated from. */
void slab_cache_unmake(struct kmem_cache *s);
/*
 * The cache of a slot that was found empty: ours, or that of who was first. Without a lock: whoever
 * may not wait for one would have no memory because somebody else lists caches. Return: NULL if
 * there is no memory. Context: any.
 */
struct kmem_cache *slab_cache_make_once(struct kmem_cache **slot,
					const struct slab_cache_spec *spec, gfp_t gfp);

/* ---- slab_debug.c ---- */

#define SLAB_POISON_FREE  0x6f /* a free object */
#define SLAB_POISON_ALLOC 0xa9 /* an allocated one, not written yet */
#define SLAB_RED_FREE	  0xe7 /* guards of a free object */
#define SLAB_RED_LIVE	  0x3c /* of an allocated one */

void slab_debug_init(const struct kmem_cache *s, void *obj);
void slab_debug_alloc(const struct kmem_cache *s, void *obj);
void slab_debug_free(const struct kmem_cache *s, void *obj);

__noreturn __cold void slab_bad_marker(const struct kmem_cache *s, const void *obj);

/* From free to allocated: the marker must be as it was left, or somebody wrote to a free object. */
static __always_inline void slab_clear_marker(const struct kmem_cache *s, void *obj)
{
	unsigned long *link = slab_link(s, obj);

	if (unlikely(*link != slab_marker(s, obj)))
		slab_bad_marker(s, obj);
	*link = 0;
}

static inline void slab_activate(const struct kmem_cache *s, void *obj)
{
	slab_clear_marker(s, obj);
	if (s->flags & SLAB_DEBUG_ALL)
		slab_debug_alloc(s, obj);
}

/* From allocated to free. Fatal: not an object's start, free already, guards written. */
static __always_inline void slab_deactivate(const struct kmem_cache *s, const struct slab *slab,
					    void *obj)
{
	unsigned long *link = slab_link(s, obj);

	if (unlikely(slab_index(s, slab, obj) >= slab->nr || *link == slab_marker(s, obj)))
		slab_bad_free(s, obj);
	*link = slab_marker(s, obj);
	if (unlikely(s->flags & SLAB_DEBUG_ALL))
		slab_debug_free(s, obj);
}

#endif /* OCTAVO_MM_SLAB_PRIV_H */
