/* SPDX-License-Identifier: MIT */
/*
 * zpool.h - a pool of compressed objects: 1 to PAGE_SIZE bytes each, stored once, read often, moved when nobody reads.
 *
 * Objects of similar size share spans of 1 to 4 frames. Frames are movable memory (desc.h), so the core may migrate
 * them; objects move from sparse spans to full ones in zpool_compact(). So who stores something gets a handle, not an
 * address, and asks for an address while he reads. docs/swap-devices.md has the design.
 */
#ifndef OCTAVO_ZPOOL_H
#define OCTAVO_ZPOOL_H

#include <octavo/gfp.h>

struct zpool;

/**
 * zpool_create() - an empty pool
 * @limit: frames that it may have at most; 0: as many as there are
 *
 * Context: may sleep. Return: the pool; NULL if memory is short.
 */
struct zpool *zpool_create(u64 limit) __must_check;

/**
 * zpool_destroy() - the end of a pool
 * @pool: without objects: fatal if there are any. NULL is legal
 *
 * Context: may sleep; nobody else uses @pool.
 */
void zpool_destroy(struct zpool *pool);

/**
 * zpool_store() - keep a copy of some bytes
 * @pool: where
 * @src: the bytes
 * @size: how many, 1 to PAGE_SIZE
 * @gfp: effort; may be GFP_NOWAIT. Zone bits are not looked at
 * @handle: set on success, never 0: the caller's until he gives it to zpool_free()
 *
 * Context: any that may spin; sleeps only as @gfp allows.
 * Return: 0; -EINVAL impossible size; -ENOSPC the pool's limit; -ENOMEM no memory. Nothing has changed then.
 */
int zpool_store(struct zpool *pool, const void *src, u32 size, gfp_t gfp, u64 *handle) __must_check;

/**
 * zpool_free() - forget an object
 * @pool: where it is
 * @handle: of zpool_store(); fatal if it is none, or somebody is reading the object
 *
 * Context: any that may spin; never sleeps, never allocates. Spinlocks may be held.
 */
void zpool_free(struct zpool *pool, u64 handle);

/**
 * zpool_view() - an object's bytes
 * @pool: where it is
 * @handle: of zpool_store()
 * @buf: PAGE_SIZE bytes, used if the object is in two frames that are no neighbours
 * @size: NULL, or set to its size
 *
 * Until zpool_unview() the object stays where it is. Up to 31 may read an object at once, more wait.
 *
 * Context: any that may spin. Return: @buf, or where the object is: not to be written to.
 */
const void *zpool_view(struct zpool *pool, u64 handle, void *buf, u32 *size) __must_check;
/* The end of a zpool_view(); fatal without one. Context: any. */
void zpool_unview(struct zpool *pool, u64 handle);

/**
 * zpool_compact() - move objects out of sparse spans, and give their frames back
 * @pool: of which
 *
 * Objects that somebody reads stay. Beside any other use of the pool. Context: any that may spin; never sleeps, never allocates.
 *
 * Return: frames given back.
 */
u64 zpool_compact(struct zpool *pool);

/**
 * struct zpool_stat - what a pool has
 * @objects: stored
 * @bytes: of these, as stored
 * @slack: bytes that are lost to rounding their sizes up to that of a class
 * @spans: runs of frames with objects
 * @frames: behind the pool's objects
 * @moved: objects that zpool_compact() has moved so far
 * @migrated: frames that the core has migrated so far
 * @overhead: bytes beside the frames: handles, descriptors of spans and frames
 */
struct zpool_stat {
	u64 objects, bytes, slack, spans, frames, moved, migrated, overhead;
};

/* Exact when quiet; @frames always was at some moment. Context: any that may spin. */
void zpool_stat(struct zpool *pool, struct zpool_stat *st);
/* Frames of the pool, now. Context: any. */
u64 zpool_frames(const struct zpool *pool);
/* Every object, span and counter against each other. Context: nobody else uses @pool. False if broken (logged). */
bool zpool_validate(struct zpool *pool);
/* Log its sums, and each class that has objects. Context: any that may spin. */
void zpool_dump(struct zpool *pool);

#endif /* OCTAVO_ZPOOL_H */
