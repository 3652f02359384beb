/* SPDX-License-Identifier: MIT */
/*
 * zpool_span.c - spans of a pool: which sizes share one, their frames, and what migration does with those.
 *
 * A span's frames are taken one by one, so a pool grows while memory is in pieces; an object may begin in one frame
 * and end in another that is no neighbour. Each is movable memory whose owner is the span: the core may isolate a frame at any
 * time. A span that is to be freed just then is dead but not gone: it waits on the pool's list of the dying until
 * the frame can be freed, which whoever next makes a span, compacts or destroys sees to.
 */
#include <octavo/errno.h>
#include <octavo/string.h>

#include "zpool.h"

/* ---- sizes ---- */

struct zfit {
	u32 nr, frames;
};

/* The fewest frames that hold most objects a frame. */
static struct zfit zfit_of(u32 size)
{
	struct zfit best = { (u32)PAGE_SIZE / size, 1 };

	for (u32 f = 2; f <= ZSPAN_MAX_FRAMES; f++) {
		u32 nr = f * (u32)PAGE_SIZE / size;

		if (nr <= ZSPAN_MAX_OBJECTS && nr * best.frames > best.nr * f)
			best = (struct zfit){ nr, f };
	}
	return best;
}

u32 zpool_geometry(u8 *class_of, struct zclass *class)
{
	struct zfit last = { 0, 0 };
	u32 n = 0;

	/* from the largest down: a class's size is the largest of those that fit equally well */
	for (u32 step = ZPOOL_STEPS; step--;) {
		u32 size = ZPOOL_MIN_SIZE + step * ZPOOL_STEP;
		struct zfit fit = zfit_of(size);

		if (fit.nr != last.nr || fit.frames != last.frames) {
			if (class) {
				class[n].size = (u16)size;
				class[n].nr = (u8)fit.nr;
				class[n].nr_frames = (u8)fit.frames;
			}
			n++;
			last = fit;
		}
		if (class_of)
			class_of[step] = (u8)(n - 1);
	}
	return n;
}

u32 zclass_group(const struct zclass *c, u32 used)
{
	/* of at least one object: an empty span is on no list */
	return used == c->nr ? ZCLASS_FULL : min((used * 4 - 1) / c->nr, ZCLASS_FULL - 1);
}

void zspan_file(struct zclass *c, struct zspan *span)
{
	span->group = (u8)zclass_group(c, span->used);
	list_add(&span->list, &c->group[span->group]);
}

/* ---- frames ---- */

/* Room for @n more frames below the limit. */
static bool zpool_reserve(struct zpool *pool, u32 n)
{
	u64 old = READ_ONCE(pool->frames);

	do {
		if (pool->limit && old + n > pool->limit)
			return false;
	} while (!try_cmpxchg_relaxed(&pool->frames, &old, old + n));
	return true;
}

static void zpool_unreserve(struct zpool *pool, u32 n)
{
	fetch_sub_relaxed(&pool->frames, (u64)n);
}

/* Those that can be. Return: how many went back. */
static u32 zspan_free_frames(struct zpool *pool, struct zspan *span)
{
	u32 n = 0;

	for (u32 f = 0; f < pool->class[span->class].nr_frames; f++)
		if (span->word[f] && movable_free(zspan_frame(span, f)) == 0) {
			span->word[f] = 0;
			n++;
		}
	zpool_unreserve(pool, n);
	return n;
}

static bool zspan_has_frames(const struct zpool *pool, const struct zspan *span)
{
	for (u32 f = 0; f < pool->class[span->class].nr_frames; f++)
		if (span->word[f])
			return true;
	return false;
}

u32 zspan_release(struct zpool *pool, struct zspan *span)
{
	u32 n = zspan_free_frames(pool, span);

	if (likely(!zspan_has_frames(pool, span))) {
		kfree(span);
		return n;
	}
	spin_lock(&pool->dying_lock);
	list_add_tail(&span->list, &pool->dying);
	WRITE_ONCE(pool->nr_dying, pool->nr_dying + 1);
	spin_unlock(&pool->dying_lock);
	return n;
}

u64 zpool_reap(struct zpool *pool)
{
	struct zspan *span, *next;
	u64 freed = 0;

	if (!READ_ONCE(pool->nr_dying))
		return 0;
	spin_lock(&pool->dying_lock);
	list_for_each_entry_safe (span, next, &pool->dying, list) {
		freed += zspan_free_frames(pool, span);
		if (zspan_has_frames(pool, span))
			continue;
		list_del_init(&span->list);
		WRITE_ONCE(pool->nr_dying, pool->nr_dying - 1);
		kfree(span);
	}
	spin_unlock(&pool->dying_lock);
	return freed;
}

struct zspan *zspan_make(struct zpool *pool, struct zclass *c, gfp_t gfp, int *err)
{
	const gfp_t effort =
		gfp & (__GFP_RECLAIM | __GFP_HIGH | __GFP_MEMALLOC | __GFP_NORETRY | __GFP_NOWARN);
	const u32 words = c->nr_frames + c->nr;
	struct zspan *span;

	zpool_reap(pool);
	*err = -ENOSPC;
	if (!zpool_reserve(pool, c->nr_frames))
		return NULL;
	*err = -ENOMEM;
	span = kzalloc(sizeof(*span) + words * sizeof(u64), effort);
	if (!span) {
		zpool_unreserve(pool, c->nr_frames);
		return NULL;
	}
	INIT_LIST_HEAD(&span->list);
	span->pool = pool;
	span->class = (u8)(c - pool->class);
	span->free = c->nr == 64 ? ~0ul : (1ul << c->nr) - 1;
	for (u32 f = 0; f < c->nr_frames; f++) {
		span->word[f] = (unsigned long)movable_alloc(effort, 0, &zspan_ops, span);
		if (!span->word[f]) {
			zpool_unreserve(pool, c->nr_frames - f);
			zspan_release(pool, span);
			return NULL;
		}
	}
	/* release: pairs with the acquire in zspan_isolate(): the words of frames are seen */
	smp_store_release(&span->state, (u8)ZSPAN_LIVE);
	return span;
}

/* ---- bytes ---- */

static char *zspan_byte(const struct zspan *span, u32 offset)
{
	return (char *)movable_address(zspan_frame(span, offset >> PAGE_SHIFT)) +
	       (offset & (PAGE_SIZE - 1));
}

void *zspan_address(const struct zspan *span, u32 offset, u32 len)
{
	char *first = zspan_byte(span, offset);

	return zspan_byte(span, offset + len - 1) == first + len - 1 ? first : NULL;
}

/* What is left of a frame from @offset on, of @len bytes. */
static u32 zspan_piece(u32 offset, u32 len)
{
	return min(len, (u32)(PAGE_SIZE - (offset & (PAGE_SIZE - 1))));
}

void zspan_copy_in(const struct zspan *span, u32 offset, const void *src, u32 len)
{
	for (u32 at = 0, n; at < len; at += n) {
		n = zspan_piece(offset + at, len - at);
		memcpy(zspan_byte(span, offset + at), (const char *)src + at, n);
	}
}

void zspan_copy_out(const struct zspan *span, u32 offset, void *dst, u32 len)
{
	for (u32 at = 0, n; at < len; at += n) {
		n = zspan_piece(offset + at, len - at);
		memcpy((char *)dst + at, zspan_byte(span, offset + at), n);
	}
}

/* ---- migration of a frame by the core ---- */

static bool zspan_isolate(struct movable *mv)
{
	const struct zspan *span = mv->private;

	/* acquire: pairs with the release in zspan_make(); a span that is being built or freed has no frame to spare */
	return smp_load_acquire(&span->state) == ZSPAN_LIVE;
}

/* Is any byte of place @i in frame @f? */
static bool zplace_in_frame(const struct zclass *c, u32 i, u32 f)
{
	return i * c->size < (f + 1) * PAGE_SIZE && (i + 1u) * c->size > f * PAGE_SIZE;
}

static void zframe_unlock(struct zclass *c, struct zspan *span, u32 f, u32 end)
{
	for (u32 i = 0; i < end; i++)
		if (zplace_in_frame(c, i, f) && *zspan_owner(c, span, i))
			zloc_unlock(zowner_handle(*zspan_owner(c, span, i)), zloc_make(span, i));
}

/* All objects of a frame, or none: somebody reads one. */
static bool zframe_trylock(struct zclass *c, struct zspan *span, u32 f)
{
	for (u32 i = 0; i < c->nr; i++)
		if (zplace_in_frame(c, i, f) && *zspan_owner(c, span, i) &&
		    !zloc_trylock(zowner_handle(*zspan_owner(c, span, i)))) {
			zframe_unlock(c, span, f, i);
			return false;
		}
	return true;
}

static int zspan_migrate(struct movable *dst, struct movable *src)
{
	struct zspan *span = src->private;
	struct zclass *c = &span->pool->class[span->class];
	int err = -EAGAIN;
	u32 f = 0;

	spin_lock(&c->lock);
	if (READ_ONCE(span->state) == ZSPAN_LIVE) {
		while (zspan_frame(span, f) != src)
			f++;
		if (zframe_trylock(c, span, f)) {
			memcpy(movable_address(dst), movable_address(src), PAGE_SIZE);
			span->word[f] = (unsigned long)dst;
			zframe_unlock(c, span, f, c->nr);
			c->migrated++;
			err = 0;
		}
	}
	spin_unlock(&c->lock);
	return err;
}

const struct movable_operations zspan_ops = {
	.isolate = zspan_isolate,
	.migrate = zspan_migrate,
};
