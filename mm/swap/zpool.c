/* SPDX-License-Identifier: MIT */
/*
 * zpool.c - a pool of compressed objects.
 *
 * What. Objects of 1 to 4096 bytes that are stored once, read, and freed. A size belongs to one of some 80 classes; a
 * class has spans of 1 to 4 frames (zpool_span.c) with room for up to 64 objects each.
 *
 * How. A handle is the address of a word that says where the object is. The word is also the object's lock: readers
 * count themselves in it, and who fills, moves or frees the object locks it, which needs that nobody reads. So a
 * reader touches the word and the span's words of frames, and takes no lock that another object's reader takes. The
 * class's lock guards which places are free; storing, freeing and moving hold it for a few dozen instructions, moving also for the
 * copy.
 *
 * Order of locks: an object's own, then its class's. With a class's lock held (compaction, migration of a frame) an object's is only
 * tried. An object that is being filled is locked from before anybody can find it in its span.
 *
 * Spans are kept by how full they are, in quarters. New objects go to the fullest that have room, so sparse ones
 * get empty by themselves, and then go back at once. Compaction empties the sparsest into the fullest as long as
 * free places of a class make up a span.
 *
 * Invariants, with the class's lock:
 *  - bits of free and owner words agree; the owner's handle leads back to the place, or is locked;
 *  - a live span has an object, and is on the list of its group, or being emptied (apart);
 *  - objects, bytes and spans are what is in the spans.
 *
 * What it does not do: compress; sort out who may read what; wait for a reader in zpool_free(); look for frames worth migrating.
 */
#include <octavo/errno.h>
#include <octavo/string.h>

#include "zpool.h"

/* ---- pools ---- */

struct zpool *zpool_create(u64 limit)
{
	u32 n = zpool_geometry(NULL, NULL);
	struct zpool *pool = kzalloc(sizeof(*pool) + n * sizeof(struct zclass), GFP_KERNEL);

	if (!pool)
		return NULL;
	pool->handles = kmem_cache_create("zpool_handle", sizeof(u64), 0, 0, NULL);
	if (!pool->handles) {
		kfree(pool);
		return NULL;
	}
	pool->limit = limit;
	spin_lock_init(&pool->dying_lock);
	INIT_LIST_HEAD(&pool->dying);
	pool->nr_classes = zpool_geometry(pool->class_of, pool->class);
	for (u32 i = 0; i < n; i++) {
		spin_lock_init(&pool->class[i].lock);
		for (u32 g = 0; g < ZCLASS_GROUPS; g++)
			INIT_LIST_HEAD(&pool->class[i].group[g]);
	}
	return pool;
}

void zpool_destroy(struct zpool *pool)
{
	if (!pool)
		return;
	for (u32 i = 0; i < pool->nr_classes; i++)
		if (pool->class[i].objects)
			octavo_panic("zpool_destroy: %lu objects of up to %u bytes are there still",
				     pool->class[i].objects, pool->class[i].size);
	/* migration holds a frame for as long as it takes to copy it */
	while (READ_ONCE(pool->nr_dying))
		if (!zpool_reap(pool))
			octavo_port_relax();
	kmem_cache_destroy(pool->handles);
	kfree(pool);
}

u64 zpool_frames(const struct zpool *pool)
{
	return READ_ONCE(pool->frames);
}

static struct zclass *zclass_of(struct zpool *pool, u32 size)
{
	u32 step =
		size <= ZPOOL_MIN_SIZE ? 0 : (size - ZPOOL_MIN_SIZE + ZPOOL_STEP - 1) / ZPOOL_STEP;

	return &pool->class[pool->class_of[step]];
}

/* ---- handles ---- */

__noreturn __cold static void bad_handle(const char *who, u64 handle, u64 loc)
{
	octavo_panic("%s: %lx is no handle, or freed, or not in this pool (%lx)", who, handle, loc);
}

/* The span of an object that the caller has locked or pinned. Fatal if it is not one of @pool. */
static struct zspan *handle_span(struct zpool *pool, u64 *handle, u64 loc, const char *who)
{
	struct zspan *span = zloc_span(loc);
	struct zclass *c;

	if (unlikely(span->pool != pool))
		bad_handle(who, (unsigned long)handle, loc);
	c = &pool->class[span->class];
	if (unlikely(zowner_handle(*zspan_owner(c, span, zloc_index(loc))) != handle))
		bad_handle(who, (unsigned long)handle, loc);
	return span;
}

static u64 *handle_word(u64 handle, const char *who)
{
	if (unlikely(!handle || handle % sizeof(u64)))
		bad_handle(who, handle, 0);
	return (u64 *)handle;
}

/* A word that may be waited for: of a live object. */
static void handle_check_tag(u64 *handle, u64 loc, const char *who)
{
	if (unlikely((loc & ZLOC_TAG_MASK) != ZLOC_TAG))
		bad_handle(who, (unsigned long)handle, loc);
}

/* ---- storing and freeing ---- */

/* A free place in the fullest span that has one, for an object whose word is locked; with the class's lock. */
static u64 zclass_take(struct zclass *c, struct zspan *span, u64 *handle, u32 size)
{
	u32 i = (u32)__builtin_ctzll(span->free);

	span->free &= span->free - 1;
	span->used++;
	*zspan_owner(c, span, i) = zowner_make(handle, size);
	c->objects++;
	c->bytes += size;
	return zloc_make(span, i);
}

static struct zspan *zclass_roomy(struct zclass *c)
{
	for (u32 g = ZCLASS_FULL; g--;)
		if (!list_empty(&c->group[g]))
			return list_first_entry(&c->group[g], struct zspan, list);
	return NULL;
}

/* On another list if it belongs there. */
static void zspan_refile(struct zclass *c, struct zspan *span)
{
	if (zclass_group(c, span->used) != span->group) {
		list_del_init(&span->list);
		zspan_file(c, span);
	}
}

/* Return: where it is to be; 0 if there is no room and no memory. */
static u64 zpool_place(struct zpool *pool, u64 *handle, u32 size, gfp_t gfp, int *err)
{
	struct zclass *c = zclass_of(pool, size);
	struct zspan *span;
	u64 loc;

	spin_lock(&c->lock);
	span = zclass_roomy(c);
	if (unlikely(!span)) {
		spin_unlock(&c->lock);
		span = zspan_make(pool, c, gfp, err);
		if (!span)
			return 0;
		spin_lock(&c->lock);
		c->spans++;
		loc = zclass_take(c, span, handle, size);
		zspan_file(c, span);
	} else {
		loc = zclass_take(c, span, handle, size);
		zspan_refile(c, span);
	}
	spin_unlock(&c->lock);
	return loc;
}

int zpool_store(struct zpool *pool, const void *src, u32 size, gfp_t gfp, u64 *handle)
{
	struct zspan *span;
	int err = 0;
	u64 *word, loc;

	if (size - 1 >= PAGE_SIZE)
		return -EINVAL;
	word = kmem_cache_alloc(pool->handles, gfp & ~__GFP_ZERO);
	if (unlikely(!word))
		return -ENOMEM;
	/* locked: compaction and migration find it in the span before it is filled */
	WRITE_ONCE(*word, ZLOC_TAG | ZLOC_LOCK);
	loc = zpool_place(pool, word, size, gfp, &err);
	if (unlikely(!loc)) {
		kmem_cache_free(pool->handles, word);
		return err;
	}
	span = zloc_span(loc);
	zspan_copy_in(span, zloc_index(loc) * pool->class[span->class].size, src, size);
	zloc_unlock(word, loc);
	*handle = (unsigned long)word;
	return 0;
}

/* A span has lost an object; with the class's lock. Return: it is empty, and the caller's. */
static bool zspan_lost_one(struct zclass *c, struct zspan *span)
{
	if (span->apart)
		return false;
	if (span->used) {
		zspan_refile(c, span);
		return false;
	}
	list_del_init(&span->list);
	c->spans--;
	/* release: as in zspan_make(); migration looks at it with the lock */
	smp_store_release(&span->state, (u8)ZSPAN_DEAD);
	return true;
}

static void zclass_give(struct zclass *c, struct zspan *span, u32 i)
{
	u64 *owner = zspan_owner(c, span, i);

	c->objects--;
	c->bytes -= zowner_size(*owner);
	*owner = 0;
	span->free |= 1ul << i;
	span->used--;
}

/* The object's word becomes the caller's: waits for compaction and migration. Return: where it is. */
static u64 handle_lock(u64 *word, const char *who)
{
	u64 loc = READ_ONCE(*word);

	for (;;) {
		handle_check_tag(word, loc, who);
		if (unlikely(loc & ZLOC_PINS))
			octavo_panic("%s: somebody is reading object %lx", who,
				     (unsigned long)word);
		/* acquire: pairs with the release of zloc_unlock() and zpool_unview(): what they did is over */
		if (likely(!(loc & ZLOC_LOCK)) && try_cmpxchg_acquire(word, &loc, loc | ZLOC_LOCK))
			return loc;
		if (loc & ZLOC_LOCK) {
			octavo_port_relax();
			loc = READ_ONCE(*word);
		}
	}
}

void zpool_free(struct zpool *pool, u64 handle)
{
	u64 *word = handle_word(handle, "zpool_free");
	u64 loc = handle_lock(word, "zpool_free");
	struct zspan *span = handle_span(pool, word, loc, "zpool_free");
	struct zclass *c = &pool->class[span->class];
	bool empty;

	spin_lock(&c->lock);
	zclass_give(c, span, zloc_index(loc));
	empty = zspan_lost_one(c, span);
	spin_unlock(&c->lock);
	if (unlikely(empty))
		zspan_release(pool, span);
	kmem_cache_free(pool->handles, word);
}

/* ---- reading ---- */

static u64 handle_pin(u64 *word, const char *who)
{
	u64 loc = READ_ONCE(*word);

	for (;;) {
		handle_check_tag(word, loc, who);
		if (unlikely(loc & ZLOC_LOCK || (loc & ZLOC_PINS) == ZLOC_PINS)) {
			octavo_port_relax();
			loc = READ_ONCE(*word);
			continue;
		}
		/* acquire: pairs with the release of zloc_unlock(): bytes, frames and owner are seen */
		if (likely(try_cmpxchg_acquire(word, &loc, loc + ZLOC_PIN)))
			return loc;
	}
}

const void *zpool_view(struct zpool *pool, u64 handle, void *buf, u32 *size)
{
	u64 *word = handle_word(handle, "zpool_view");
	u64 loc = handle_pin(word, "zpool_view");
	struct zspan *span = handle_span(pool, word, loc, "zpool_view");
	struct zclass *c = &pool->class[span->class];
	u32 len = zowner_size(*zspan_owner(c, span, zloc_index(loc)));
	u32 offset = zloc_index(loc) * c->size;
	const void *p = zspan_address(span, offset, len);

	if (size)
		*size = len;
	if (unlikely(!p)) {
		zspan_copy_out(span, offset, buf, len);
		p = buf;
	}
	return p;
}

void zpool_unview(struct zpool *pool, u64 handle)
{
	u64 *word = handle_word(handle, "zpool_unview");
	/* release: pairs with the acquire of zloc_trylock(): what was read was read before it moves */
	u64 old = fetch_sub_release(word, ZLOC_PIN);

	if (unlikely((old & ZLOC_TAG_MASK) != ZLOC_TAG || !(old & ZLOC_PINS)))
		octavo_panic("zpool_unview: nobody is reading object %lx", handle);
}

/* ---- compaction ---- */

/* The sparsest span, on no list any more, if the class has a span's worth of free places; with its lock. */
static struct zspan *zclass_sparsest(struct zclass *c)
{
	if (c->spans * c->nr - c->objects < c->nr)
		return NULL;
	for (u32 g = 0; g < ZCLASS_FULL; g++)
		if (!list_empty(&c->group[g])) {
			struct zspan *span = list_first_entry(&c->group[g], struct zspan, list);

			list_del_init(&span->list);
			span->apart = 1;
			return span;
		}
	return NULL;
}

/* One object of @src to another span; with the class's lock. False: somebody has it, or there is no room. */
static bool zspan_move(struct zclass *c, struct zspan *src, u32 i)
{
	u64 owner = *zspan_owner(c, src, i), loc;
	u64 *word = zowner_handle(owner);
	struct zspan *dst = zclass_roomy(c);
	u32 size = zowner_size(owner), from = i * c->size, to;

	if (!dst || !zloc_trylock(word))
		return false;
	loc = zclass_take(c, dst, word, size);
	to = zloc_index(loc) * c->size;
	for (u32 at = 0, n; at < size; at += n) {
		n = min(size - at, (u32)(PAGE_SIZE - ((from + at) & (PAGE_SIZE - 1))));
		zspan_copy_in(dst, to + at, zspan_address(src, from + at, n), n);
	}
	zclass_give(c, src, i);
	zspan_refile(c, dst);
	zloc_unlock(word, loc);
	c->moved++;
	return true;
}

/* What can be moved of a span that is apart; with the class's lock, which others get after each move. */
static void zspan_drain(struct zclass *c, struct zspan *src)
{
	for (u32 i = 0; i < c->nr; i++)
		if (*zspan_owner(c, src, i) && zspan_move(c, src, i)) {
			spin_unlock(&c->lock);
			spin_lock(&c->lock);
		}
	src->apart = 0;
}

/* Frees one span. Return: its frames that went back; -1: there is none to free, or it is read. */
static int zclass_compact_one(struct zpool *pool, struct zclass *c)
{
	struct zspan *src;
	bool empty = false;

	spin_lock(&c->lock);
	src = zclass_sparsest(c);
	if (src) {
		zspan_drain(c, src);
		if (src->used)
			zspan_file(c, src);
		else
			empty = zspan_lost_one(c, src);
	}
	spin_unlock(&c->lock);
	return empty ? (int)zspan_release(pool, src) : -1;
}

u64 zpool_compact(struct zpool *pool)
{
	u64 freed = zpool_reap(pool);
	int n;

	for (u32 i = 0; i < pool->nr_classes; i++)
		while ((n = zclass_compact_one(pool, &pool->class[i])) >= 0)
			freed += (u64)n;
	return freed;
}
