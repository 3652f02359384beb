/* SPDX-License-Identifier: MIT */
/*
 * zpool_debug.c - counting and checking a pool.
 */
#include "zpool.h"

void zpool_stat(struct zpool *pool, struct zpool_stat *st)
{
	struct kmem_cache_stat handles;

	*st = (struct zpool_stat){ .frames = zpool_frames(pool) };
	for (u32 i = 0; i < pool->nr_classes; i++) {
		struct zclass *c = &pool->class[i];

		spin_lock(&c->lock);
		st->objects += c->objects;
		st->bytes += c->bytes;
		st->slack += c->objects * c->size - c->bytes;
		st->spans += c->spans;
		st->moved += c->moved;
		st->migrated += c->migrated;
		st->overhead +=
			c->spans * (sizeof(struct zspan) + (c->nr_frames + c->nr) * sizeof(u64) +
				    c->nr_frames * sizeof(struct movable));
		spin_unlock(&c->lock);
	}
	kmem_cache_stat(pool->handles, &handles);
	st->overhead += handles.frames * PAGE_SIZE + handles.desc_bytes;
}

/* What the spans of a class add up to. */
struct zsum {
	u64 objects, bytes, spans;
};

static bool zspan_bad(const struct zspan *span, const char *what)
{
	pr_err("zpool: span %p of class %u: %s", (const void *)span, span->class, what);
	return false;
}

/* One place: used or free as the map says, its handle leads here. */
static bool zplace_validate(struct zclass *c, struct zspan *span, u32 i, struct zsum *sum)
{
	u64 owner = *zspan_owner(c, span, i), loc;

	if (!owner != !!(span->free >> i & 1))
		return zspan_bad(span, "a place is free and owned, or neither");
	if (!owner)
		return true;
	loc = READ_ONCE(*zowner_handle(owner));
	if (loc != zloc_make(span, i))
		return zspan_bad(span, "a handle that leads elsewhere, or is locked or read");
	if (!zowner_size(owner) || zowner_size(owner) > c->size)
		return zspan_bad(span, "an object too large for its class");
	sum->objects++;
	sum->bytes += zowner_size(owner);
	return true;
}

static bool zspan_validate(struct zpool *pool, struct zclass *c, struct zspan *span, u32 group,
			   struct zsum *sum)
{
	u64 before = sum->objects;
	bool ok = true;

	if (span->pool != pool || &pool->class[span->class] != c || span->apart ||
	    READ_ONCE(span->state) != ZSPAN_LIVE)
		return zspan_bad(span, "of another pool or class, or not live");
	for (u32 f = 0; f < c->nr_frames; f++) {
		struct movable *mv = zspan_frame(span, f);

		if (!mv || mv->private != span || mv->ops != &zspan_ops ||
		    page_movable(pfn_to_page(movable_pfn(mv))) != mv)
			ok = zspan_bad(span, "a frame that is not its own");
	}
	if (c->nr < 64 && span->free >> c->nr)
		ok = zspan_bad(span, "free places beyond the last");
	for (u32 i = 0; i < c->nr; i++)
		ok &= zplace_validate(c, span, i, sum);
	if (!span->used || sum->objects - before != span->used || span->group != group ||
	    zclass_group(c, span->used) != group)
		ok = zspan_bad(span, "empty, or on the wrong list");
	sum->spans++;
	return ok;
}

static bool zclass_validate(struct zpool *pool, struct zclass *c, u64 *frames)
{
	struct zsum sum = { 0, 0, 0 };
	bool ok = true;

	spin_lock(&c->lock);
	for (u32 g = 0; g < ZCLASS_GROUPS; g++) {
		struct zspan *span;

		list_for_each_entry (span, &c->group[g], list)
			ok &= zspan_validate(pool, c, span, g, &sum);
	}
	if (sum.objects != c->objects || sum.bytes != c->bytes || sum.spans != c->spans) {
		pr_err("zpool: class of %u bytes has %lu objects, %lu bytes, %lu spans, not %lu, "
		       "%lu, %lu",
		       c->size, sum.objects, sum.bytes, sum.spans, c->objects, c->bytes, c->spans);
		ok = false;
	}
	*frames += c->spans * c->nr_frames;
	spin_unlock(&c->lock);
	return ok;
}

bool zpool_validate(struct zpool *pool)
{
	u64 frames = 0;
	bool ok = true;

	for (u32 i = 0; i < pool->nr_classes; i++)
		ok &= zclass_validate(pool, &pool->class[i], &frames);
	zpool_reap(pool);
	if (READ_ONCE(pool->nr_dying)) {
		pr_err("zpool: %u spans wait for migration", READ_ONCE(pool->nr_dying));
		ok = false;
	}
	if (frames != zpool_frames(pool)) {
		pr_err("zpool: counts %lu frames and has %lu", zpool_frames(pool), frames);
		ok = false;
	}
	return ok & kmem_cache_validate(pool->handles);
}

void zpool_dump(struct zpool *pool)
{
	struct zpool_stat st;

	zpool_stat(pool, &st);
	pr_dump("zpool %p: %lu objects of %lu bytes in %lu frames (limit %lu), %lu spans, slack "
		"%lu",
		(void *)pool, st.objects, st.bytes, st.frames, pool->limit, st.spans, st.slack);
	for (u32 i = 0; i < pool->nr_classes; i++) {
		struct zclass *c = &pool->class[i];

		spin_lock(&c->lock);
		if (c->objects)
			pr_dump("  up to %4u bytes: %lu objects in %lu spans of %u in %u frames",
				c->size, c->objects, c->spans, c->nr, c->nr_frames);
		spin_unlock(&c->lock);
	}
}
