/* SPDX-License-Identifier: MIT */
/*
 * slab.c - slabs: runs of frames cut into equal objects, and the lists they are on.
 *
 * What. A slab is 2^order frames whose words all name one struct slab. Which of its objects are in it is
 * a bitmap in that struct, not a chain through the objects: taking sixty objects is a few word operations,
 * an object freed twice meets its own bit, and nothing of an object needs to be touched while
 * it lies here.
 *
 * How. Each cache has three lists (partial, full, empty) and one lock. CPUs come here for dozens of
 * objects at a time (sheaf.c), so the lock is taken rarely. It may not be waited for by a free, which may
 * be in an interrupt that stopped the lock's holder, nor by an allocation that may not sleep. Then:
 *  - an object that cannot be given back goes on the deferred stack, by compare-and-swap;
 *  - an allocation makes a new slab, whose publication needs no lock: the incoming stack.
 * Whoever next has the lock empties both.
 *
 * Invariants, under the lock:
 *  - inuse + bits set in free[] == nr, for each slab; sums in the cache match;
 *  - partial: 0 < inuse < nr; full: inuse == nr; empty: inuse == 0;
 *  - every object whose bit is set holds its marker (slab_priv.h) and, if the cache is poisoned, poison;
 *  - every page of a slab holds the word SLAB | struct slab from before its first object is handed out
 *    until after its last one is back and, in a type-safe cache, a grace period beyond.
 *
 * Frames are never allocated or freed under the lock: reclaim may call back into this layer.
 *
 * What it does not do: move objects, sort slabs by fill, keep lists by node (a cache is of one node or
 * of none), colour objects.
 */
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/rcu.h>
#include <octavo/string.h>

#include "slab_priv.h"

/* Turns to wait for a lock that may not be waited for: longer than it is ever held by a running CPU. */
#define LOCK_TURNS_ALLOC (OCTAVO_SPIN_TURNS * OCTAVO_SPIN_TURNS / 10u + 1u)
#define LOCK_TURNS_FREE	 ((OCTAVO_SPIN_TURNS * 2u + 1u) / 3u)

/* The end of the deferred stack: no object's address, and not 0, so that no link equals a marker. */
#define DEFERRED_END 1ul

/* ---- geometry ---- */

static u32 embedded_first(const struct kmem_cache *s, u32 nr)
{
	u32 head = (u32)sizeof(struct slab) + slab_bit_words(nr) * (u32)sizeof(unsigned long);

	return ALIGN(head, s->align) + s->red_left;
}

static bool geometry_embedded(const struct kmem_cache *s, u32 order, struct slab_geometry *g)
{
	u32 bytes = (u32)PAGE_SIZE << order;
	u32 nr = (bytes - (u32)sizeof(struct slab)) / s->size;

	/* the fewer objects, the fewer words of bits: one or two steps down at most */
	while (nr && embedded_first(s, nr) - s->red_left + nr * s->size > bytes)
		nr--;
	*g = (struct slab_geometry){
		.first = embedded_first(s, nr), .nr = (u16)nr, .order = (u8)order, .embedded = true
	};
	return nr != 0;
}

static bool geometry_separate(const struct kmem_cache *s, u32 order, struct slab_geometry *g)
{
	u32 nr = ((u32)PAGE_SIZE << order) / s->size;

	*g = (struct slab_geometry){ .first = s->red_left, .nr = (u16)nr, .order = (u8)order };
	return nr && nr <= SLAB_DESC_BITS;
}

/* Bytes that a slab costs, its descriptor included. */
static u64 geometry_bytes(const struct slab_geometry *g)
{
	return ((u64)PAGE_SIZE << g->order) + (g->embedded ? 0 : SLAB_DESC_SIZE);
}

/* Of two layouts: fewer bytes an object, exactly; the embedded one if equal. */
static bool geometry_cheaper(const struct slab_geometry *a, const struct slab_geometry *b)
{
	return geometry_bytes(a) * b->nr < geometry_bytes(b) * a->nr;
}

/*
 * The descriptor goes to the front of the slab where that costs no object, and also where the objects
 * it costs are smaller than a separate descriptor: what counts is bytes.
 */
static bool geometry_at(const struct kmem_cache *s, u32 order, struct slab_geometry *g)
{
	struct slab_geometry separate;
	bool embedded = geometry_embedded(s, order, g);

	if (s->flags & SLAB_EMBED || !geometry_separate(s, order, &separate))
		return embedded;
	if (!embedded || geometry_cheaper(&separate, g))
		*g = separate;
	return true;
}

/* Good enough to look no further: at least eight objects and at most 1/128 of the memory lost. */
static bool geometry_good(const struct kmem_cache *s, const struct slab_geometry *g)
{
	u64 bytes = geometry_bytes(g);

	return g->nr >= 8 && (bytes - (u64)g->nr * s->size) * 128 <= bytes;
}

/* Chooses both layouts; false if no slab is large enough for one object. */
bool slab_set_geometry(struct kmem_cache *s)
{
	struct slab_geometry *best = &s->geo[0], *least = &s->geo[1], g;
	u32 order = 0, last;

	while (!geometry_at(s, order, least))
		if (++order > MAX_FOLIO_ORDER)
			return false;
	*best = *least;
	last = max(order, min(SLAB_USUAL_ORDER, (u32)MAX_FOLIO_ORDER));
	for (; order <= last && !geometry_good(s, best); order++)
		if (geometry_at(s, order, &g) && geometry_cheaper(&g, best))
			*best = g;
	return true;
}

/* ---- making and freeing slabs ---- */

static void slab_set_words(struct slab *slab, memdesc_t md)
{
	/*
	 * release: pairs with the acquire in page_memdesc(): who finds the slab through a word sees its
	 * (w) fields.
	 */
	words_fill_release(&pfn_to_page(slab_pfn(slab))->memdesc.v, md.v, 1ul << slab->order);
}

static void slab_init_objects(struct kmem_cache *s, struct slab *slab, const char *end)
{
	/* nobody can tell a fresh object from a used one, except by a prefix that outlives use */
	if (s->flags & SLAB_TYPESAFE_BY_RCU)
		memset(slab->objects - s->red_left, 0,
		       (size_t)(end - (slab->objects - s->red_left)));
	for (u32 i = 0; i < slab->nr; i++) {
		void *obj = slab->objects + (u64)i * s->size;

		if (s->ctor)
			s->ctor(obj);
		if (s->flags & SLAB_DEBUG_ALL)
			slab_debug_init(s, obj);
		*slab_link(s, obj) = slab_marker(s, obj);
	}
}

static gfp_t slab_frame_gfp(const struct kmem_cache *s, gfp_t gfp)
{
	gfp &= __GFP_RECLAIM | __GFP_HIGH | __GFP_MEMALLOC | __GFP_NOFAIL | __GFP_NORETRY |
	       __GFP_NOWARN;
	if (s->flags & SLAB_RECLAIM_ACCOUNT)
		gfp |= __GFP_RECLAIMABLE;
	if (s->node != NUMA_NO_NODE)
		gfp |= __GFP_THISNODE;
	return gfp;
}

/* The usual order is worth no reclaim: the smallest one will do. */
static long slab_frames(struct kmem_cache *s, gfp_t gfp, const struct slab_geometry **g)
{
	gfp_t fgfp = slab_frame_gfp(s, gfp);
	long pfn = -ENOMEM;

	*g = &s->geo[0];
	if (s->geo[0].order > s->geo[1].order)
		pfn = frame_alloc((fgfp & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL)) | __GFP_NORETRY |
					  __GFP_NOWARN,
				  s->geo[0].order, s->node);
	if (pfn < 0) {
		*g = &s->geo[1];
		pfn = frame_alloc(fgfp, s->geo[1].order, s->node);
	}
	return pfn;
}

/* A slab of free objects, words published, on no list. Context: the frame allocator's; no lock held. */
static struct slab *slab_make(struct kmem_cache *s, gfp_t gfp)
{
	const struct slab_geometry *g;
	long pfn = slab_frames(s, gfp, &g);
	struct slab *slab;
	char *mem;

	if (pfn < 0)
		return NULL;
	mem = pfn_to_virt((unsigned long)pfn);
	slab = (struct slab *)mem;
	if (!g->embedded) {
		slab = slab_object_alloc(slab_boot(SLAB_BOOT_DESC), gfp);
		if (!slab) {
			frame_free((unsigned long)pfn, g->order);
			return NULL;
		}
	}
	INIT_LIST_HEAD(&slab->list);
	slab->cache = s;
	slab->objects = mem + g->first;
	slab->cookie = 0;
	slab->nr = g->nr;
	slab->inuse = 0;
	slab->order = g->order;
	slab->embedded = g->embedded;
	for (u32 i = 0; i < slab_bit_words(g->nr); i++)
		slab->free[i] = ~0ul;
	if (g->nr % BITS_PER_LONG)
		slab->free[g->nr / BITS_PER_LONG] = (1ul << g->nr % BITS_PER_LONG) - 1;
	slab_init_objects(s, slab, mem + (PAGE_SIZE << g->order));
	slab_set_words(slab, memdesc_pointer(MEMDESC_SLAB, slab));
	return slab;
}

/* Words, frames, descriptor, in this order. Context: any, no lock held. Return: frames. */
static u64 slab_unmake(struct slab *slab)
{
	unsigned long pfn = slab_pfn(slab);
	unsigned int order = slab->order;
	bool embedded = slab->embedded;

	slab_set_words(slab, memdesc_mk(MEMDESC_FREE));
	/* an embedded descriptor is gone from here on */
	frame_free(pfn, order);
	if (!embedded)
		slab_object_free(slab_boot(SLAB_BOOT_DESC), slab);
	return 1ul << order;
}

/* ---- lists: all under the cache's lock ---- */

static struct list_head *slab_list_for(struct kmem_cache *s, const struct slab *slab)
{
	if (!slab->inuse)
		return &s->empty;
	return slab->inuse == slab->nr ? &s->full : &s->partial;
}

static void slab_count(struct kmem_cache *s, const struct slab *slab, bool on)
{
	u64 sign = on ? 1 : ~0ull;

	s->nr_slabs += sign;
	s->nr_frames += sign << slab->order;
	s->nr_objects += sign * slab->nr;
	s->nr_separate += slab->embedded ? 0 : sign;
	s->inuse += sign * slab->inuse;
	if (!slab->inuse)
		WRITE_ONCE(s->nr_empty, s->nr_empty + (u32)sign);
}

/* An empty slab that comes here has been so for longer than those on the list: to the old end. */
static void slab_enlist(struct kmem_cache *s, struct slab *slab)
{
	list_add(&slab->list, slab_list_for(s, slab));
	slab_count(s, slab, true);
}

static void slab_delist(struct kmem_cache *s, struct slab *slab)
{
	slab_count(s, slab, false);
	list_del_init(&slab->list);
}

/* @nr more objects of a slab are back in it. */
static void slab_returned(struct kmem_cache *s, struct slab *slab, u32 nr)
{
	bool was_full = slab->inuse == slab->nr;

	s->inuse -= nr;
	slab->inuse = (u16)(slab->inuse - nr);
	if (slab->inuse) {
		if (was_full)
			list_move(&slab->list, &s->partial);
		return;
	}
	if (s->flags & SLAB_TYPESAFE_BY_RCU)
		slab->cookie = get_state_synchronize_rcu();
	list_del_init(&slab->list);
	list_add_tail(&slab->list, &s->empty);
	WRITE_ONCE(s->nr_empty, s->nr_empty + 1);
}

/*
 * Objects that were checked when they were freed, markers in them, back to their slabs. What was
 * allocated together is often freed together, so neighbours in the array are often of one slab.
 */
void slab_give_locked(struct kmem_cache *s, void *const *objs, u32 n)
{
	u32 i = 0;

	while (i < n) {
		struct slab *slab = slab_of(s, objs[i]);
		u64 span = (u64)slab->nr * s->size;
		u32 first = i;

		do {
			u64 idx = slab_index(s, slab, objs[i]);
			unsigned long bit = 1ul << idx % BITS_PER_LONG;

			if (unlikely(slab->free[idx / BITS_PER_LONG] & bit))
				slab_bad_free(s, objs[i]);
			slab->free[idx / BITS_PER_LONG] |= bit;
			i++;
		} while (i < n && (u64)((char *)objs[i] - slab->objects) < span);
		slab_returned(s, slab, i - first);
	}
}

static u32 slab_take_bits(struct kmem_cache *s, struct slab *slab, void **objs, u32 n)
{
	u32 got = 0;

	for (u32 w = 0; got < n && w < slab_bit_words(slab->nr); w++) {
		unsigned long bits = slab->free[w];

		for (; bits && got < n; bits &= bits - 1) {
			u32 idx = w * BITS_PER_LONG + (u32)__builtin_ctzl(bits);

			objs[got++] = slab->objects + (u64)idx * s->size;
		}
		slab->free[w] = bits;
	}
	slab->inuse = (u16)(slab->inuse + got);
	return got;
}

/* Up to @n free objects of slabs that there are: partial ones first, then the youngest empty one. */
u32 slab_fill_locked(struct kmem_cache *s, void **objs, u32 n)
{
	u32 got = 0;

	while (got < n) {
		struct slab *slab;

		if (!list_empty(&s->partial)) {
			slab = list_first_entry(&s->partial, struct slab, list);
		} else if (!list_empty(&s->empty)) {
			slab = list_entry(s->empty.prev, struct slab, list);
			WRITE_ONCE(s->nr_empty, s->nr_empty - 1);
		} else {
			break;
		}
		got += slab_take_bits(s, slab, objs + got, n - got);
		list_move(&slab->list, slab_list_for(s, slab));
	}
	s->inuse += got;
	return got;
}

/* ---- the lock, and what is left outside it ---- */

static void slab_defer(struct kmem_cache *s, void *obj)
{
	void *head = READ_ONCE(s->deferred);

	do {
		*slab_link(s, obj) =
			slab_marker(s, obj) ^ (head ? (unsigned long)head : DEFERRED_END);
		/* release: pairs with the acquire in slab_drain_locked(): the link is seen with the object */
	} while (!try_cmpxchg_release(&s->deferred, &head, obj));
}

static void slab_push_incoming(struct kmem_cache *s, struct slab *slab)
{
	struct slab *head = READ_ONCE(s->incoming);

	do {
		slab->list.next = head ? &head->list : NULL;
		/* release: pairs with the acquire in slab_drain_locked(): the slab is seen whole */
	} while (!try_cmpxchg_release(&s->incoming, &head, slab));
}

static void slab_give_deferred(struct kmem_cache *s, void *obj)
{
	while (obj) {
		unsigned long next = *slab_link(s, obj) ^ slab_marker(s, obj);

		/* its link was overwritten by a second free */
		if (unlikely(next == 0))
			slab_bad_free(s, obj);
		*slab_link(s, obj) = slab_marker(s, obj);
		slab_give_locked(s, &obj, 1);
		obj = next == DEFERRED_END ? NULL : (void *)next;
	}
}

/*
 * Take in what was left outside while the lock could not be had. Objects are taken before slabs and
 * handled after them: a deferred object may be of an incoming slab, which was pushed before the object
 * was allocated.
 */
void slab_drain_locked(struct kmem_cache *s)
{
	struct slab *slab;
	void *obj = NULL;

	if (unlikely(READ_ONCE(s->deferred)))
		/* acquire: pairs with the release in slab_defer(), and sees all that came before it */
		obj = xchg_acquire(&s->deferred, NULL);
	if (unlikely(READ_ONCE(s->incoming))) {
		/* acquire: pairs with the release in slab_push_incoming() */
		slab = xchg_acquire(&s->incoming, NULL);
		while (slab) {
			struct list_head *next = slab->list.next;

			slab_enlist(s, slab);
			slab = next ? list_entry(next, struct slab, list) : NULL;
		}
	}
	slab_give_deferred(s, obj);
}

bool slab_trylock(struct kmem_cache *s, u32 turns)
{
	while (!spin_trylock(&s->lock)) {
		if (!turns--)
			return false;
		octavo_port_relax();
	}
	slab_drain_locked(s);
	return true;
}

static void slab_lock(struct kmem_cache *s)
{
	spin_lock(&s->lock);
	slab_drain_locked(s);
}

void slab_unlock(struct kmem_cache *s)
{
	spin_unlock(&s->lock);
}

/* An allocation that may sleep is not in an interrupt and waits; another one does not. */
static bool slab_lock_alloc(struct kmem_cache *s, gfp_t gfp)
{
	if (!gfpflags_allow_blocking(gfp))
		return slab_trylock(s, LOCK_TURNS_ALLOC);
	slab_lock(s);
	return true;
}

/* ---- objects ---- */

/* A slab that the caller has taken objects from comes to the lists. */
static void slab_publish(struct kmem_cache *s, struct slab *slab, gfp_t gfp)
{
	if (slab_lock_alloc(s, gfp)) {
		slab_enlist(s, slab);
		slab_unlock(s);
	} else {
		slab_push_incoming(s, slab);
	}
}

static u32 slab_take_existing(struct kmem_cache *s, gfp_t gfp, u32 n, void **objs)
{
	u32 got = 0;

	if (slab_lock_alloc(s, gfp)) {
		got = slab_fill_locked(s, objs, n);
		slab_unlock(s);
	}
	return got;
}

/*
 * Up to @n objects, markers in them, at least one unless there is no memory. Context: any; not pinned if
 * @gfp may sleep. When frames are short the free objects in
 * other CPUs' sheaves are worth an interrupt each.
 */
u32 slab_take(struct kmem_cache *s, gfp_t gfp, u32 n, void **objs)
{
	u32 got = slab_take_existing(s, gfp, n, objs);
	struct slab *slab;

	if (got)
		return got;
	slab = slab_make(s, gfp);
	if (likely(slab)) {
		got = slab_take_bits(s, slab, objs, n);
		slab_publish(s, slab, gfp);
		return got;
	}
	if (gfpflags_allow_blocking(gfp) && s->sheaf_size) {
		sheaf_drain_all(s);
		got = slab_take_existing(s, gfp, n, objs);
	}
	return got;
}

/* @n objects or none. */
bool slab_take_bulk(struct kmem_cache *s, gfp_t gfp, u32 n, void **objs)
{
	u32 got = 0;

	while (got < n) {
		u32 more = slab_take(s, gfp, n - got, objs + got);

		if (!more)
			break;
		got += more;
	}
	if (got == n)
		return true;
	while (got)
		slab_give(s, objs[--got]);
	return false;
}

/* An object, its marker in it, back to its slab. Context: any; never sleeps. */
void slab_give(struct kmem_cache *s, void *obj)
{
	if (!slab_trylock(s, LOCK_TURNS_FREE)) {
		slab_defer(s, obj);
		return;
	}
	slab_give_locked(s, &obj, 1);
	slab_unlock(s);
	slab_reap_some(s);
}

void *slab_object_alloc(struct kmem_cache *s, gfp_t gfp)
{
	void *obj;

	if (!slab_take(s, gfp, 1, &obj))
		return NULL;
	slab_activate(s, obj);
	return obj;
}

void slab_object_free(struct kmem_cache *s, void *obj)
{
	slab_deactivate(s, slab_of(s, obj), obj);
	slab_give(s, obj);
}

/* ---- giving frames back ---- */

/*
 * How many more empty slabs a type-safe cache gathers before it asks about grace periods again: the
 * question may cost a barrier on all CPUs, and one grace period is good for all slabs that are older.
 */
#define REAP_BATCH 8u

static void slab_set_reap(struct kmem_cache *s, u32 nr_empty)
{
	u32 batch = s->flags & SLAB_TYPESAFE_BY_RCU ? REAP_BATCH : 0;

	WRITE_ONCE(s->reap_above, nr_empty + batch);
}

static bool slab_reap_lock(struct kmem_cache *s, bool may_spin)
{
	if (!may_spin)
		return slab_trylock(s, LOCK_TURNS_FREE);
	slab_lock(s);
	return true;
}

static void slab_put_back(struct kmem_cache *s, struct slab *slab, bool may_spin)
{
	if (slab_reap_lock(s, may_spin)) {
		slab_enlist(s, slab);
		slab_unlock(s);
	} else {
		slab_push_incoming(s, slab);
	}
}

/**
 * slab_reap() - give back empty slabs, the oldest first, until @keep are left
 * @s: cache
 * @keep: how many empty slabs stay
 * @may_spin: wait for the lock
 *
 * A type-safe slab goes only when its grace period is over; the first that has to wait ends it, because
 * all others are younger. The question is asked without the lock: the answer may run RCU callbacks,
 * which may free into this cache.
 *
 * Context: any if not @may_spin. Return: frames given back.
 */
u64 slab_reap(struct kmem_cache *s, u32 keep, bool may_spin)
{
	u64 frames = 0;

	while (slab_reap_lock(s, may_spin)) {
		struct slab *slab = NULL;

		slab_set_reap(s, max(s->nr_empty, s->keep_empty));
		if (s->nr_empty > keep) {
			slab = list_first_entry(&s->empty, struct slab, list);
			slab_delist(s, slab);
		}
		slab_unlock(s);
		if (!slab)
			break;
		if ((s->flags & SLAB_TYPESAFE_BY_RCU) &&
		    !poll_state_synchronize_rcu(slab->cookie)) {
			slab_put_back(s, slab, may_spin);
			break;
		}
		frames += slab_unmake(slab);
	}
	return frames;
}
