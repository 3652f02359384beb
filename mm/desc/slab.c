/* SPDX-License-Identifier: MIT */
/*
 * slab.c - slabs: runs of frames cut into equal objects, and the lists they are on.
 *
 * What. A slab is 2^order frames whose words all name one struct slab. Which of its objects are in it is
 * a bitmap in that struct, not a chain through the objects: taking sixty objects is a few word operations,
 * an object freed twice meets its own bit, and nothing of an object needs to be touched while
 * it lies here.
 *
 * How. A slab has a home, which is its maker's: three lists (partial, full, empty) and one lock, of
 * which a cache has several. A CPU takes objects from its own home, which is its own business as long as others
 * free little of it, and from another only if that has plenty or memory is short. CPUs come here for
 * dozens of objects at a time (sheaf.c), so the lock is taken rarely. It may not be waited for by a free,
 * which may be in an interrupt that stopped the lock's holder, nor by an allocation that may not sleep. Then:
 *  - an object that cannot be given back goes on the deferred stack, by compare-and-swap;
 *  - an allocation makes a new slab, whose publication needs no lock: the incoming stack.
 * Both are the home's; whoever next has its lock empties both.
 *
 * Invariants, under the lock:
 *  - inuse + bits set in free[] == nr, for each slab; sums in the home match;
 *  - partial: 0 < inuse < nr; full: inuse == nr; empty: inuse == 0;
 *  - every object whose bit is set holds its marker (slab_priv.h) and, if the cache is poisoned, poison;
 *  - every page of a slab holds the word SLAB | struct slab from before its first object is handed out
 *    until after its last one is back and, in a type-safe cache, a grace period beyond.
 *
 * Frames are never allocated or freed under the lock: reclaim may call back into this layer. Nobody has
 * two homes' locks, except a validation, in the order of the array.
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
#define LOCK_TURNS_ALLOC  (OCTAVO_SPIN_TURNS * OCTAVO_SPIN_TURNS / 10u + 1u)
#define LOCK_TURNS_FREE	  ((OCTAVO_SPIN_TURNS * 2u + 1u) / 3u)
#define LOCK_TURNS_PINNED LOCK_TURNS_FREE

/* A home with as many slabs' worth of free objects lets others have some, until it has half of that. */
#define PLENTY_SLABS 4u

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
	slab->lap = 0;
	slab->embedded = g->embedded;
	slab->home = (u8)(slab_own_home(s) - s->home);
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

/* ---- lists: all under the home's lock ---- */

static struct list_head *slab_list_for(struct slab_home *home, const struct slab *slab)
{
	if (!slab->inuse)
		return &home->empty;
	return slab->inuse == slab->nr ? &home->full : &home->partial;
}

/* Tells others when the home comes to have plenty, and when it no longer has; not each time in between. */
static void home_add_free(struct kmem_cache *s, struct slab_home *home, u64 nr)
{
	u64 many = (u64)PLENTY_SLABS * s->geo[0].nr;
	u32 bit = 1u << (home - s->home);

	WRITE_ONCE(home->nr_free, home->nr_free + nr);
	if (unlikely(!home->plenty && home->nr_free > many)) {
		home->plenty = true;
		fetch_or_relaxed(&s->plenty, bit);
	} else if (unlikely(home->plenty && home->nr_free < many / 2)) {
		home->plenty = false;
		fetch_and_relaxed(&s->plenty, ~bit);
	}
}

static void slab_count(struct kmem_cache *s, struct slab_home *home, const struct slab *slab,
		       bool on)
{
	u64 sign = on ? 1 : ~0ull;

	home->nr_slabs += sign;
	home->nr_frames += sign << slab->order;
	home->nr_separate += slab->embedded ? 0 : sign;
	home->inuse += sign * slab->inuse;
	home_add_free(s, home, sign * (u64)(slab->nr - slab->inuse));
	if (!slab->inuse)
		WRITE_ONCE(home->nr_empty, home->nr_empty + (u32)sign);
}

/* An empty slab that comes here has been so for longer than those on the list: to the old end. */
static void slab_enlist(struct kmem_cache *s, struct slab *slab)
{
	struct slab_home *home = slab_home_of(s, slab);

	list_add(&slab->list, slab_list_for(home, slab));
	slab_count(s, home, slab, true);
}

static void slab_delist(struct kmem_cache *s, struct slab *slab)
{
	slab_count(s, slab_home_of(s, slab), slab, false);
	list_del_init(&slab->list);
}

/* @nr more objects of a slab are back in it. */
static void slab_returned(struct kmem_cache *s, struct slab_home *home, struct slab *slab, u32 nr)
{
	bool was_full = slab->inuse == slab->nr;

	home->inuse -= nr;
	home_add_free(s, home, nr);
	slab->inuse = (u16)(slab->inuse - nr);
	if (slab->inuse) {
		if (was_full)
			list_move(&slab->list, &home->partial);
		return;
	}
	if (s->flags & SLAB_TYPESAFE_BY_RCU)
		slab->cookie = get_state_synchronize_rcu();
	list_del_init(&slab->list);
	list_add_tail(&slab->list, &home->empty);
	WRITE_ONCE(home->nr_empty, home->nr_empty + 1);
}

/*
 * Objects that were checked when they were freed, markers in them, back to their slabs. Those of other
 * homes stay, moved to the front of the array. What was allocated together is often freed together, so
 * neighbours in the array are often of one slab. Return: how many stay.
 */
u32 slab_give_home(struct kmem_cache *s, struct slab_home *home, void **objs, u32 n)
{
	u32 i = 0, stay = 0;

	while (i < n) {
		struct slab *slab = slab_of(s, objs[i]);
		u64 span = (u64)slab->nr * s->size;
		u32 first = i;

		if (slab_home_of(s, slab) != home) {
			objs[stay++] = objs[i++];
			continue;
		}
		do {
			u64 idx = slab_index(s, slab, objs[i]);
			unsigned long bit = 1ul << idx % BITS_PER_LONG;

			if (unlikely(slab->free[idx / BITS_PER_LONG] & bit))
				slab_bad_free(s, objs[i]);
			slab->free[idx / BITS_PER_LONG] |= bit;
			i++;
		} while (i < n && (u64)((char *)objs[i] - slab->objects) < span);
		slab_returned(s, home, slab, i - first);
	}
	return stay;
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

/* Up to @n free objects of the home's slabs: partial ones first, then the youngest empty one. */
static u32 slab_fill_locked(struct kmem_cache *s, struct slab_home *home, u32 n, void **objs)
{
	u32 got = 0;

	while (got < n) {
		struct slab *slab;

		if (!list_empty(&home->partial)) {
			slab = list_first_entry(&home->partial, struct slab, list);
		} else if (!list_empty(&home->empty)) {
			slab = list_entry(home->empty.prev, struct slab, list);
			WRITE_ONCE(home->nr_empty, home->nr_empty - 1);
		} else {
			break;
		}
		got += slab_take_bits(s, slab, objs + got, n - got);
		list_move(&slab->list, slab_list_for(home, slab));
	}
	home->inuse += got;
	home_add_free(s, home, -(u64)got);
	return got;
}

/* ---- the lock, and what is left outside it ---- */

static void slab_defer(struct kmem_cache *s, struct slab_home *home, void *obj)
{
	void *head = READ_ONCE(home->deferred);

	do {
		*slab_link(s, obj) =
			slab_marker(s, obj) ^ (head ? (unsigned long)head : DEFERRED_END);
		/* release: pairs with the acquire in slab_drain_locked(): the link is seen with the object */
	} while (!try_cmpxchg_release(&home->deferred, &head, obj));
}

static void slab_push_incoming(struct kmem_cache *s, struct slab *slab)
{
	struct slab_home *home = slab_home_of(s, slab);
	struct slab *head = READ_ONCE(home->incoming);

	do {
		slab->list.next = head ? &head->list : NULL;
		/* release: pairs with the acquire in slab_drain_locked(): the slab is seen whole */
	} while (!try_cmpxchg_release(&home->incoming, &head, slab));
}

static void slab_give_deferred(struct kmem_cache *s, struct slab_home *home, void *obj)
{
	while (obj) {
		unsigned long next = *slab_link(s, obj) ^ slab_marker(s, obj);

		/* its link was overwritten by a second free */
		if (unlikely(next == 0))
			slab_bad_free(s, obj);
		*slab_link(s, obj) = slab_marker(s, obj);
		slab_give_home(s, home, &obj, 1);
		obj = next == DEFERRED_END ? NULL : (void *)next;
	}
}

/*
 * Take in what was left outside while the lock could not be had. Objects are taken before slabs and
 * handled after them: a deferred object may be of an incoming slab, which was pushed before the object
 * was allocated.
 */
static void slab_drain_locked(struct kmem_cache *s, struct slab_home *home)
{
	struct slab *slab;
	void *obj = NULL;

	if (unlikely(READ_ONCE(home->deferred)))
		/* acquire: pairs with the release in slab_defer(), and sees all that came before it */
		obj = xchg_acquire(&home->deferred, NULL);
	if (unlikely(READ_ONCE(home->incoming))) {
		/* acquire: pairs with the release in slab_push_incoming() */
		slab = xchg_acquire(&home->incoming, NULL);
		while (slab) {
			struct list_head *next = slab->list.next;

			slab_enlist(s, slab);
			slab = next ? list_entry(next, struct slab, list) : NULL;
		}
	}
	slab_give_deferred(s, home, obj);
}

static bool slab_trylock(struct kmem_cache *s, struct slab_home *home, u32 turns)
{
	while (!spin_trylock(&home->lock)) {
		if (!turns--)
			return false;
		octavo_port_relax();
	}
	slab_drain_locked(s, home);
	return true;
}

/* Waits for the lock, and takes in what was left outside. Context: may spin. */
void slab_lock(struct kmem_cache *s, struct slab_home *home)
{
	spin_lock(&home->lock);
	slab_drain_locked(s, home);
}

void slab_unlock(struct slab_home *home)
{
	spin_unlock(&home->lock);
}

/* An allocation that may sleep is not in an interrupt and waits; another one does not. */
static bool slab_lock_alloc(struct kmem_cache *s, struct slab_home *home, gfp_t gfp)
{
	if (!gfpflags_allow_blocking(gfp))
		return slab_trylock(s, home, LOCK_TURNS_ALLOC);
	slab_lock(s, home);
	return true;
}

/* Whether the lock is worth taking. A hint. */
static bool home_has_objects(const struct slab_home *home)
{
	return READ_ONCE(home->nr_free) || READ_ONCE(home->deferred) || READ_ONCE(home->incoming);
}

/* ---- objects ---- */

/* A slab that the caller has taken objects from comes to the lists. */
static void slab_publish(struct kmem_cache *s, struct slab *slab, gfp_t gfp)
{
	struct slab_home *home = slab_home_of(s, slab);

	if (slab_lock_alloc(s, home, gfp)) {
		slab_enlist(s, slab);
		slab_unlock(home);
	} else {
		slab_push_incoming(s, slab);
	}
}

static u32 home_take(struct kmem_cache *s, struct slab_home *home, gfp_t gfp, u32 n, void **objs)
{
	u32 got = 0;

	if (slab_lock_alloc(s, home, gfp)) {
		got = slab_fill_locked(s, home, n, objs);
		slab_unlock(home);
	}
	return got;
}

/* Of slabs that there are and that are worth asking for. */
static u32 slab_take_existing(struct kmem_cache *s, gfp_t gfp, u32 n, void **objs)
{
	struct slab_home *own = slab_own_home(s);
	u32 plenty, got = 0;

	if (home_has_objects(own))
		got = home_take(s, own, gfp, n, objs);
	for (plenty = READ_ONCE(s->plenty); !got && plenty; plenty &= plenty - 1)
		got = home_take(s, &s->home[__builtin_ctz(plenty)], gfp, n, objs);
	return got;
}

/* Of any slab. */
static u32 slab_take_any(struct kmem_cache *s, gfp_t gfp, u32 n, void **objs)
{
	u32 got = 0;

	for (u32 i = 0; !got && i < slab_nr_homes(); i++)
		got = home_take(s, &s->home[i], gfp, n, objs);
	return got;
}

/* Likewise up to @n, for a CPU that may not wait. Return: how many. */
u32 slab_fill_pinned(struct kmem_cache *s, u32 n, void **objs)
{
	struct slab_home *home = slab_own_home(s);
	u32 plenty = READ_ONCE(s->plenty), got = 0;

	if (!home_has_objects(home)) {
		if (likely(!plenty))
			return 0;
		home = &s->home[__builtin_ctz(plenty)];
	}
	if (slab_trylock(s, home, LOCK_TURNS_PINNED)) {
		got = slab_fill_locked(s, home, n, objs);
		slab_unlock(home);
	}
	return got;
}

/*
 * Up to @n objects, markers in them, at least one unless there is no memory. Context: any; not pinned if
 * @gfp may sleep. When frames are short other CPUs' slabs are asked whatever they have, and then the free
 * objects in other CPUs' sheaves are worth an interrupt each.
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
	got = slab_take_any(s, gfp, n, objs);
	if (!got && gfpflags_allow_blocking(gfp) && s->sheaf_size) {
		sheaf_drain_all(s);
		got = slab_take_any(s, gfp, n, objs);
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

/* After a change under @home's lock. Return: its bit if it has too many empty slabs. */
static u32 home_reap_bit(const struct kmem_cache *s, const struct slab_home *home)
{
	return home->nr_empty > home->reap_above ? 1u << (home - s->home) : 0;
}

/*
 * Objects, markers in them, back to their slabs, for a CPU that may not wait: home by home, until a lock
 * cannot be had. Return: how many are left, at the front of @objs. @reap: bits for slab_reap_some().
 */
u32 slab_give_pinned(struct kmem_cache *s, void **objs, u32 n, u32 *reap)
{
	while (n) {
		struct slab_home *home = slab_home_of(s, slab_of(s, objs[0]));

		if (!slab_trylock(s, home, LOCK_TURNS_PINNED))
			break;
		n = slab_give_home(s, home, objs, n);
		*reap |= home_reap_bit(s, home);
		slab_unlock(home);
	}
	return n;
}

/* An object, its marker in it, back to its slab. Context: any; never sleeps. */
void slab_give(struct kmem_cache *s, void *obj)
{
	struct slab_home *home = slab_home_of(s, slab_of(s, obj));
	u32 reap;

	if (!slab_trylock(s, home, LOCK_TURNS_FREE)) {
		slab_defer(s, home, obj);
		return;
	}
	slab_give_home(s, home, &obj, 1);
	reap = home_reap_bit(s, home);
	slab_unlock(home);
	slab_reap_some(s, reap);
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

/* Empty slabs taken off their list at once; all that a type-safe cache may look at. */
#define REAP_LOCKED 8u

static void home_set_reap(const struct kmem_cache *s, struct slab_home *home)
{
	u32 batch = s->flags & SLAB_TYPESAFE_BY_RCU ? REAP_BATCH : 0;

	home->reap_above = max(home->nr_empty, s->keep_empty) + batch;
}

static bool slab_reap_lock(struct kmem_cache *s, struct slab_home *home, bool may_spin)
{
	if (!may_spin)
		return slab_trylock(s, home, LOCK_TURNS_FREE);
	slab_lock(s, home);
	return true;
}

static void slab_put_back(struct kmem_cache *s, struct slab *slab, bool may_spin)
{
	struct slab_home *home = slab_home_of(s, slab);

	if (slab_reap_lock(s, home, may_spin)) {
		slab_enlist(s, slab);
		slab_unlock(home);
	} else {
		slab_push_incoming(s, slab);
	}
}

/* Up to @max of the oldest empty slabs, until @keep are left. Return: how many. */
static u32 reap_collect(struct kmem_cache *s, struct slab_home *home, u32 keep, u32 max,
			struct slab **slabs)
{
	u32 n = 0;

	home_set_reap(s, home);
	for (; n < max && home->nr_empty > keep; n++) {
		slabs[n] = list_first_entry(&home->empty, struct slab, list);
		slab_delist(s, slabs[n]);
	}
	return n;
}

/*
 * Give back a home's empty slabs, the oldest first, until @keep are left. A type-safe slab goes only when
 * its grace period is over; the first that has to wait ends it, because all others are younger. The
 * question is asked without the lock: the answer may run RCU callbacks, which may free into this cache.
 * Context: any if not @may_spin. Return: frames given back.
 */
static u64 home_reap(struct kmem_cache *s, struct slab_home *home, u32 keep, bool may_spin)
{
	bool typesafe = s->flags & SLAB_TYPESAFE_BY_RCU;
	struct slab *slabs[REAP_LOCKED];
	u64 frames = 0;
	u32 n;

	while (slab_reap_lock(s, home, may_spin)) {
		n = reap_collect(s, home, keep, typesafe ? 1 : REAP_LOCKED, slabs);
		slab_unlock(home);
		if (n && typesafe && !poll_state_synchronize_rcu(slabs[0]->cookie)) {
			slab_put_back(s, slabs[0], may_spin);
			break;
		}
		for (u32 i = 0; i < n; i++)
			frames += slab_unmake(slabs[i]);
		if (n < (typesafe ? 1 : REAP_LOCKED))
			break;
	}
	return frames;
}

/* As many as the cache need not keep, of the homes whose bits are set. Context: any. */
void slab_reap_homes(struct kmem_cache *s, u32 homes)
{
	for (; homes; homes &= homes - 1)
		home_reap(s, &s->home[__builtin_ctz(homes)], s->keep_empty, false);
}

/* All that can go. Context: may spin. Return: frames given back. */
u64 slab_reap_all(struct kmem_cache *s)
{
	u64 frames = 0;

	for (u32 i = 0; i < slab_nr_homes(); i++)
		frames += home_reap(s, &s->home[i], 0, true);
	return frames;
}

/* Objects out of their slabs: exact if nothing else runs. Context: may spin. */
u64 slab_inuse(struct kmem_cache *s)
{
	u64 sum = 0;

	for (u32 i = 0; i < slab_nr_homes(); i++) {
		slab_lock(s, &s->home[i]);
		sum += s->home[i].inuse;
		slab_unlock(&s->home[i]);
	}
	return sum;
}
