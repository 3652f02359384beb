/* SPDX-License-Identifier: MIT */
/*
 * zpool.h - what zpool.c, zpool_span.c and zpool_debug.c share. zpool.c says how the pieces fit.
 */
#ifndef OCTAVO_MM_ZPOOL_H
#define OCTAVO_MM_ZPOOL_H

#include <octavo/desc.h>
#include <octavo/list.h>
#include <octavo/lock.h>
#include <octavo/slab.h>
#include <octavo/zpool.h>

/* Sizes are rounded up to a step; sizes that fill a span equally well are one class. */
#define ZPOOL_MIN_SIZE	  64u
#define ZPOOL_STEP	  32u
#define ZPOOL_STEPS	  ((PAGE_SIZE - ZPOOL_MIN_SIZE) / ZPOOL_STEP + 1)
#define ZSPAN_MAX_FRAMES  4u
#define ZSPAN_MAX_OBJECTS 64u /* bits of a word */

/* Lists of a class's spans by how many of their objects are used: quarters of them, then all. */
#define ZCLASS_GROUPS 5u
#define ZCLASS_FULL   (ZCLASS_GROUPS - 1)

/*
 * The word behind a handle: where the object is, how many read it, and whether somebody has it for himself, to fill, move or
 * free it. Compare-and-swap, and stores by who has it for himself.
 *
 *	 63   60 59  58   54 53  48 47                     0
 *	+-------+---+-------+------+------------------------+
 *	|  tag  | L | pins  | index| address of span / 16   |
 *	+-------+---+-------+------+------------------------+
 */
#define ZLOC_SPAN_BITS	 48
#define ZLOC_INDEX_SHIFT ZLOC_SPAN_BITS
#define ZLOC_PIN_SHIFT	 54
#define ZLOC_PIN	 (1ul << ZLOC_PIN_SHIFT)
#define ZLOC_PINS	 (31ul << ZLOC_PIN_SHIFT)
#define ZLOC_LOCK	 (1ul << 59)
#define ZLOC_TAG_MASK	 (15ul << 60)
#define ZLOC_TAG	 (10ul << 60)

/* The word of an object in its span: handle and size; 0 for a free place. */
#define ZOWNER_SIZE_SHIFT 49

enum zspan_state { ZSPAN_BUILDING, ZSPAN_LIVE, ZSPAN_DEAD };

/*
 * A span: frames, and who its objects belong to. (c): the class's lock.
 */
struct zspan {
	struct list_head list; /* of its class (c); of the pool's dying ones, under that lock */
	u64 free;	       /* (c) places without an object */
	struct zpool *pool;    /* constant */
	u8 state;   /* enum zspan_state; stored with release, under (c) once it is live */
	u8 apart;   /* (c) being emptied: on no list */
	u8 class;   /* constant */
	u8 group;   /* (c) the list that it is on */
	u8 used;    /* (c) objects */
	u64 word[]; /* struct movable * of each frame, then the owner of each place: see below */
};
BUILD_BUG_ON(sizeof(struct zspan) != 40);

/* (c) */
struct zclass {
	spinlock_t lock;
	u16 size; /* of an object; constant, as the next two */
	u8 nr;	  /* objects of a span */
	u8 nr_frames;
	u64 objects, bytes, spans, moved, migrated;
	struct list_head group[ZCLASS_GROUPS];
};

struct zpool {
	u64 limit;  /* constant */
	u64 frames; /* atomic; reserved before frames are taken, given up after */
	struct kmem_cache *handles;
	spinlock_t dying_lock;
	u32 nr_dying; /* stored under the lock, read without as a hint */
	struct list_head
		dying; /* spans with frames that migration had when they were to be freed */
	u32 nr_classes;
	u8 class_of[ZPOOL_STEPS];
	struct zclass class[];
};

/*
 * word[f] of a frame is written before the span is live, and by migration: with (c), and every object in that frame locked.
 * So a reader of an object may read those of its frames. word[] of a place is written with (c) and its object locked.
 */
static inline struct movable *zspan_frame(const struct zspan *span, u32 f)
{
	return (struct movable *)span->word[f];
}

static inline u64 *zspan_owner(const struct zclass *c, struct zspan *span, u32 i)
{
	return &span->word[c->nr_frames + i];
}

static inline u32 zowner_size(u64 owner)
{
	return (u32)(owner >> ZOWNER_SIZE_SHIFT);
}

static inline u64 *zowner_handle(u64 owner)
{
	u64 offset = (owner & ((1ul << ZOWNER_SIZE_SHIFT) - 1)) << 3;

	return (u64 *)((char *)octavo_state.frame.direct_map + offset);
}

static inline u64 zowner_make(const u64 *handle, u32 size)
{
	u64 offset = (u64)((const char *)handle - (const char *)octavo_state.frame.direct_map);

	return offset >> 3 | (u64)size << ZOWNER_SIZE_SHIFT;
}

static inline struct zspan *zloc_span(u64 loc)
{
	return (struct zspan *)((char *)octavo_state.frame.direct_map +
				((loc & ((1ul << ZLOC_SPAN_BITS) - 1)) << 4));
}

static inline u32 zloc_index(u64 loc)
{
	return (u32)(loc >> ZLOC_INDEX_SHIFT) & (ZSPAN_MAX_OBJECTS - 1);
}

static inline u64 zloc_make(const struct zspan *span, u32 index)
{
	u64 offset = (u64)((const char *)span - (const char *)octavo_state.frame.direct_map);

	return offset >> 4 | (u64)index << ZLOC_INDEX_SHIFT | ZLOC_TAG;
}

/* Take an object for oneself, if nobody has or reads it; for who has the class's lock. */
static inline bool zloc_trylock(u64 *handle)
{
	u64 old = READ_ONCE(*handle);

	/* acquire: pairs with the release of zloc_unlock() and zpool_unview(): what they did is over */
	return !octavo_fault(OCTAVO_FAULT_TRYLOCK) && !(old & (ZLOC_LOCK | ZLOC_PINS)) &&
	       cmpxchg_acquire(handle, old, old | ZLOC_LOCK) == old;
}

/* It is at @loc from now on. */
static inline void zloc_unlock(u64 *handle, u64 loc)
{
	/* release: pairs with the acquire of who locks or reads it next: bytes, frames and owner are seen */
	smp_store_release(handle, loc);
}

/* zpool_span.c */
/* Which sizes share a class: fills class_of[] and, but for NULL, each class's constants. Return: how many classes. */
u32 zpool_geometry(u8 *class_of, struct zclass *class);
u32 zclass_group(const struct zclass *c, u32 used);
/* A live span on no list: NULL with *@err -ENOSPC or -ENOMEM. */
struct zspan *zspan_make(struct zpool *pool, struct zclass *c, gfp_t gfp, int *err);
/* It is empty, on no list and dead: its frames go back, now or when migration lets go of them. Return: how many now. */
u32 zspan_release(struct zpool *pool, struct zspan *span);
/* Frames that migration has let go of meanwhile. Return: how many went back. */
u64 zpool_reap(struct zpool *pool);
/* On the list that it belongs to; with the class's lock. */
void zspan_file(struct zclass *c, struct zspan *span);

/* @len bytes from byte @offset of a span on, which are of an object that is the caller's, or pinned. */
void zspan_copy_in(const struct zspan *span, u32 offset, const void *src, u32 len);
void zspan_copy_out(const struct zspan *span, u32 offset, void *dst, u32 len);
/* Where they are, if they are in one piece; else NULL. */
void *zspan_address(const struct zspan *span, u32 offset, u32 len);
extern const struct movable_operations zspan_ops;

#endif /* OCTAVO_MM_ZPOOL_H */
