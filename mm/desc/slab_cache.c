/* SPDX-License-Identifier: MIT */
/*
 * slab_cache.c - caches: making, ending, shrinking, listing; start and end of the layer.
 *
 * Bootstrap. An object comes from a cache, and a cache is an object; so is a sheaf, and so is a slab's
 * descriptor where it is not in its slab. Three caches end this: their structs are in octavo_state, they
 * have no sheaves, and their slabs always embed their descriptors. So making a slab of any cache needs at
 * most one object of the descriptor cache, whose own slab needs frames and nothing else.
 *
 * The layer takes no frame until something is allocated: the first caches, which are those of the
 * descriptors, have their structs in octavo_state too, and kmalloc's are made at first use.
 */
#include <octavo/atomic.h>
#include <octavo/rcu.h>
#include <octavo/string.h>

#include "../init.h"
#include "desc.h"
#include "slab_priv.h"

/* Objects of a sheaf together are at most this large: 60 objects of 8 KiB would be half a MiB a sheaf. */
#define SHEAF_BYTES 65536u

/* Empty slabs that a home keeps for the next allocation. */
#define KEEP_EMPTY 2u

/* ---- making ---- */

static const char *spec_wrong(const struct slab_cache_spec *spec)
{
	const struct kmem_cache_args *a = spec->args;
	u32 prefix = a ? a->stable_prefix : 0;

	if (!spec->name)
		return "no name";
	if (!spec->size || spec->size > SLAB_MAX_OBJECT)
		return "size is not 1 to 65536";
	if (spec->align && (!is_power_of_2(spec->align) || spec->align > PAGE_SIZE))
		return "alignment is no power of two up to a page";
	if (spec->flags & ~(SLAB_PUBLIC_FLAGS | SLAB_KMALLOC))
		return "unknown flags";
	if (prefix && !(spec->flags & SLAB_TYPESAFE_BY_RCU))
		return "a stable prefix without SLAB_TYPESAFE_BY_RCU";
	if (prefix > spec->size || ALIGN(prefix, 8u) + 8 > ALIGN(spec->size, 8u))
		return "less than 8 bytes beyond the stable prefix";
	if (a && a->ctor && !prefix && spec->flags & SLAB_POISON)
		return "poison would overwrite what the constructor made";
	if (a && a->node_plus_1 > OCTAVO_NR_NODES)
		return "no such node";
	return NULL;
}

static void cache_init_lists(struct kmem_cache *s)
{
	INIT_LIST_HEAD(&s->node_in_caches);
	for (u32 i = 0; i < OCTAVO_SLAB_HOMES; i++) {
		struct slab_home *home = &s->home[i];

		INIT_LIST_HEAD(&home->partial);
		INIT_LIST_HEAD(&home->full);
		INIT_LIST_HEAD(&home->empty);
		spin_lock_init(&home->lock);
		home->reap_above = KEEP_EMPTY;
	}
	spin_lock_init(&s->depot.lock);
}

/* Modulo 2^64, by Newton's iteration: right in 3 bits to start with, twice as many each time. */
static u64 inverse_of_odd(u64 odd)
{
	u64 x = odd;

	for (int bits = 3; bits < 64; bits *= 2)
		x *= 2 - odd * x;
	return x;
}

/* Fill a zeroed struct. False: no slab is large enough. */
static bool cache_setup(struct kmem_cache *s, const struct slab_cache_spec *spec)
{
	const struct kmem_cache_args *a = spec->args;
	u32 object;

	cache_init_lists(s);
	s->name = spec->name;
	s->flags = spec->flags & ~SLAB_PANIC;
	if (a) {
		s->ctor = a->ctor;
		s->stable_prefix = a->stable_prefix;
	}
	/* in every debug build, except where a constructor may have made something beyond the prefix */
	if (OCTAVO_DEBUG && !s->ctor)
		s->flags |= SLAB_POISON;
	s->node = a && a->node_plus_1 ? (s32)a->node_plus_1 - 1 : NUMA_NO_NODE;
	s->object_size = spec->size;
	s->align = max(spec->align, 8u);
	s->link = ALIGN(s->stable_prefix, 8u);
	object = max(spec->size, s->link + 8);
	if (s->flags & SLAB_RED_ZONE) {
		s->red_left = s->align;
		object += s->red_left + 8;
	}
	s->size = ALIGN(object, s->align);
	s->size_shift = (u32)__builtin_ctz(s->size);
	s->odd_inverse = inverse_of_odd(s->size >> s->size_shift);
	/* odd in its high half: no marker is an address, and none is the link of another object */
	s->secret = (u64)(uintptr_t)s * 0x9e3779b97f4a7c15ull | 1ull << 63;
	s->keep_empty = KEEP_EMPTY;
	return slab_set_geometry(s);
}

/* The struct of a cache and its CPUs, zeroed. */
static struct kmem_cache *cache_alloc(gfp_t gfp)
{
	struct slab_state *st = &octavo_state.slab;
	struct kmem_cache *s = NULL;

	for (u32 i = 0; i < NR_SLAB_EARLY && !s; i++)
		/* acquire: pairs with the release in slab_cache_unmake() */
		if (!(fetch_or_acquire(&st->early_used, 1u << i) & 1u << i))
			s = &st->early[i].cache;
	if (!s)
		s = slab_object_alloc(slab_boot(SLAB_BOOT_CACHE), gfp);
	if (s)
		memset(s, 0, slab_boot(SLAB_BOOT_CACHE)->object_size);
	return s;
}

void slab_cache_unmake(struct kmem_cache *s)
{
	struct slab_state *st = &octavo_state.slab;

	for (u32 i = 0; i < NR_SLAB_EARLY; i++)
		if (s == &st->early[i].cache) {
			/* release: pairs with the acquire in cache_alloc(): we are done with it */
			fetch_and_release(&st->early_used, ~(1u << i));
			return;
		}
	slab_object_free(slab_boot(SLAB_BOOT_CACHE), s);
}

struct kmem_cache *slab_cache_make(const struct slab_cache_spec *spec, gfp_t gfp)
{
	const char *wrong = spec_wrong(spec);
	struct kmem_cache *s;

	if (wrong) {
		pr_warn("slab %s: %s", spec->name ? spec->name : "?", wrong);
		return NULL;
	}
	s = cache_alloc(gfp);
	if (!s)
		return NULL;
	if (!cache_setup(s, spec)) {
		pr_warn("slab %s: no slab is large enough for %u bytes", spec->name, s->size);
		slab_cache_unmake(s);
		return NULL;
	}
	s->sheaf_size = max(1u, min((u32)OCTAVO_SHEAF, SHEAF_BYTES / s->size));
	return s;
}

struct kmem_cache *slab_cache_make_once(struct kmem_cache **slot,
					const struct slab_cache_spec *spec, gfp_t gfp)
{
	struct kmem_cache *s = slab_cache_make(spec, gfp), *other;

	if (!s)
		return NULL;
	/*
	 * release: pairs with the acquire of who looks into the slot: the cache is seen set up;
	 * acquire: the same for the other's, if it was first
	 */
	other = cmpxchg_acq_rel(slot, NULL, s);
	if (!other)
		return s;
	slab_cache_unmake(s);
	return other;
}

struct kmem_cache *kmem_cache_create(const char *name, u32 size, u32 align, u32 flags,
				     const struct kmem_cache_args *args)
{
	struct slab_state *st = &octavo_state.slab;
	struct slab_cache_spec spec = { name, size, align, flags, args };
	struct kmem_cache *s = NULL;

	if (flags & SLAB_KMALLOC)
		spec.flags = ~0u; /* not for callers: refused as unknown */
	if (!octavo_fault(OCTAVO_FAULT_SLAB))
		s = slab_cache_make(&spec, GFP_KERNEL);
	if (!s) {
		if (flags & SLAB_PANIC)
			octavo_panic("slab %s: cannot be created", name ? name : "?");
		return NULL;
	}
	spin_lock(&st->lock);
	list_add_tail(&s->node_in_caches, &st->caches);
	spin_unlock(&st->lock);
	return s;
}

/* ---- ending ---- */

/* All slabs must be empty, and their grace periods over. */
static void cache_free_slabs(struct kmem_cache *s)
{
	s->flags &= ~SLAB_TYPESAFE_BY_RCU;
	slab_reap_all(s);
}

static void cache_end(struct kmem_cache *s)
{
	cache_free_slabs(s);
	slab_cache_unmake(s);
}

void kmem_cache_destroy(struct kmem_cache *s)
{
	struct slab_state *st = &octavo_state.slab;
	struct kmem_cache_stat cs;

	if (!s)
		return;
	sheaf_drain_all(s);
	kmem_cache_stat(s, &cs);
	if (cs.active) {
		kmem_cache_dump(s);
		octavo_panic("slab %s: destroyed with %lu objects allocated", s->name, cs.active);
	}
	if (s->flags & SLAB_TYPESAFE_BY_RCU && cs.slabs)
		synchronize_rcu();
	spin_lock(&st->lock);
	list_del_init(&s->node_in_caches);
	spin_unlock(&st->lock);
	cache_end(s);
}

/* ---- shrinking ---- */

u64 kmem_cache_shrink(struct kmem_cache *s)
{
	sheaf_drain_all(s);
	return slab_reap_all(s);
}

static bool shrink_one(struct kmem_cache *s, void *sum)
{
	*(u64 *)sum += kmem_cache_shrink(s);
	return true;
}

u64 kmem_cache_shrink_all(void)
{
	u64 frames = 0;

	kmem_cache_for_each(shrink_one, &frames);
	return frames;
}

/* ---- listing ---- */

/* The bootstrap caches come last: shrinking the others fills them. */
void kmem_cache_for_each(bool (*fn)(struct kmem_cache *s, void *arg), void *arg)
{
	struct slab_state *st = &octavo_state.slab;
	struct list_head *p;
	struct kmem_cache *s;
	bool more = true;

	spin_lock(&st->lock);
	/* by hand: the head as an entry would be a misaligned cache */
	for (p = st->caches.next; more && p != &st->caches; p = p->next)
		more = fn(list_entry(p, struct kmem_cache, node_in_caches), arg);
	for (u32 i = 0; more && i < NR_DESC_CACHES; i++) {
		s = desc_cache_nth(i);
		if (s)
			more = fn(s, arg);
	}
	for (u32 i = 0; more && i < NR_KMALLOC_CLASSES; i++) {
		/* acquire: pairs with the release in slab_cache_make_once() */
		s = smp_load_acquire(&st->kmalloc[i]);
		if (s)
			more = fn(s, arg);
	}
	for (u32 i = 0; more && i < NR_SLAB_BOOT; i++)
		more = fn(&st->boot[i], arg);
	spin_unlock(&st->lock);
}

static void count_sheaf(const struct slab_sheaf *sheaf, u64 *free)
{
	for (; sheaf; sheaf = sheaf->next)
		*free += sheaf->size;
}

static u64 cache_in_sheaves(struct kmem_cache *s)
{
	u64 free = 0;

	for (u32 cpu = 0; s->sheaf_size && cpu < octavo_state.frame.nr_cpus; cpu++) {
		struct slab_cpu *c = slab_cpu(s, cpu);

		if (!READ_ONCE(c->main) && !READ_ONCE(c->spare))
			continue;
		local_lock_remote(&c->lock);
		free += c->size + (c->spare ? c->spare->size : 0);
		local_unlock_remote(&c->lock);
	}
	spin_lock(&s->depot.lock);
	count_sheaf(s->depot.full, &free);
	spin_unlock(&s->depot.lock);
	return free;
}

void kmem_cache_stat(struct kmem_cache *s, struct kmem_cache_stat *st)
{
	u64 in_sheaves = cache_in_sheaves(s), inuse = 0;

	*st = (struct kmem_cache_stat){ .name = s->name,
					.object_size = s->object_size,
					.size = s->size,
					.order = s->geo[0].order,
					.flags = s->flags & SLAB_PUBLIC_FLAGS };
	for (u32 i = 0; i < slab_nr_homes(); i++) {
		struct slab_home *home = &s->home[i];

		slab_lock(s, home);
		st->slabs += home->nr_slabs;
		st->frames += home->nr_frames;
		st->objects += home->inuse + home->nr_free;
		st->desc_bytes += home->nr_separate * SLAB_DESC_SIZE;
		inuse += home->inuse;
		slab_unlock(home);
	}
	/* objects on the move between the two counts can make the difference negative */
	st->active = inuse - min(in_sheaves, inuse);
}

/* ---- start and end ---- */

void slab_init(void)
{
	const struct slab_cache_spec spec[NR_SLAB_BOOT] = {
		[SLAB_BOOT_CACHE] = { .name = "kmem_cache",
				      .size = (u32)sizeof(struct kmem_cache) +
					      octavo_state.frame.nr_cpus *
						      (u32)sizeof(struct slab_cpu),
				      .align = 64,
				      .flags = SLAB_EMBED },
		[SLAB_BOOT_SHEAF] = { .name = "slab_sheaf",
				      .size = (u32)(sizeof(struct slab_sheaf) +
						    OCTAVO_SHEAF * sizeof(void *)),
				      .flags = SLAB_EMBED },
		[SLAB_BOOT_DESC] = { .name = "slab",
				     .size = SLAB_DESC_SIZE,
				     .align = 16,
				     .flags = SLAB_EMBED },
	};

	INIT_LIST_HEAD(&octavo_state.slab.caches);
	for (u32 i = 0; i < NR_SLAB_BOOT; i++) {
		memset(slab_boot(i), 0, sizeof(struct kmem_cache));
		if (!cache_setup(slab_boot(i), &spec[i]))
			octavo_panic("slab %s: too many CPUs for a slab", spec[i].name);
	}
}

/* Nothing else runs. A cache with objects left keeps their slabs: leaks, which the frame layer counts. */
static void cache_exit(struct kmem_cache *s)
{
	u64 inuse;

	sheaf_drain_all(s);
	inuse = slab_inuse(s);
	if (inuse)
		pr_warn("slab %s: %lu objects were never freed", s->name, inuse);
	cache_free_slabs(s);
	if (!inuse)
		slab_cache_unmake(s);
}

void slab_exit(void)
{
	struct slab_state *st = &octavo_state.slab;

	synchronize_rcu();
	while (!list_empty(&st->caches)) {
		struct kmem_cache *s =
			list_first_entry(&st->caches, struct kmem_cache, node_in_caches);

		list_del_init(&s->node_in_caches);
		cache_exit(s);
	}
	for (u32 i = 0; i < NR_KMALLOC_CLASSES; i++)
		if (st->kmalloc[i])
			cache_exit(st->kmalloc[i]);
	for (u32 i = NR_SLAB_BOOT; i--;)
		cache_free_slabs(slab_boot(i));
}
