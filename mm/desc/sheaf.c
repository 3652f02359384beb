/* SPDX-License-Identifier: MIT */
/*
 * sheaf.c - arrays of free objects in front of the slabs: where allocation and freeing usually end.
 *
 * What. Each CPU has two sheaves of a cache, main and spare; the cache has a depot of full and empty
 * ones. An allocation pops from main, a free pushes to it: under the CPU's local lock, which costs two
 * plain stores and no atomic operation. (Two, because a CPU that goes to and fro at the edge of one would
 * go to the depot each time: J. Bonwick and J. Adams, 2001, section 3.)
 *
 * How. Main empty: swap with spare; else a full one from the depot for it; else fill it from slabs. Main
 * full: swap with spare; else an empty one from the depot for it; else half of it goes to slabs. All this
 * happens pinned, so locks are only tried. What cannot be had there is left to the slab layer, one
 * object at a time, unpinned, where it may sleep.
 *
 * Sheaves are made by allocations only, because a free may not allocate. A CPU that only frees asks for
 * one (depot.wanted) and the next slow allocation of any CPU brings it. A cache works without
 * sheaves if they cannot be had.
 *
 * Invariants: every object in a sheaf is out of its slab (its bit is clear) and holds its marker. size <=
 * capacity. A prefilled sheaf is its caller's and its objects are allocated, as far as anything else knows.
 *
 * What it does not do: keep objects apart by node; resize sheaves under contention.
 */
#include <octavo/errno.h>
#include <octavo/string.h>

#include "slab_priv.h"

static u32 depot_limit(void)
{
	return 4 + 2 * octavo_state.frame.nr_cpus;
}

/* ---- making sheaves ---- */

static struct slab_sheaf *sheaf_alloc(struct kmem_cache *s, gfp_t gfp)
{
	struct slab_sheaf *sheaf;

	gfp = (gfp & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL)) | __GFP_NOWARN;
	sheaf = slab_object_alloc(slab_boot(SLAB_BOOT_SHEAF), gfp);
	if (sheaf) {
		sheaf->next = NULL;
		sheaf->size = 0;
		sheaf->capacity = s->sheaf_size;
	}
	return sheaf;
}

static void sheaf_free(struct slab_sheaf *sheaf)
{
	slab_object_free(slab_boot(SLAB_BOOT_SHEAF), sheaf);
}

/* ---- the depot ---- */

static void depot_push(struct slab_sheaf **stack, u32 *nr, struct slab_sheaf *sheaf)
{
	sheaf->next = *stack;
	/* once: both are read as hints without the lock */
	WRITE_ONCE(*stack, sheaf);
	WRITE_ONCE(*nr, *nr + 1);
}

static struct slab_sheaf *depot_pop(struct slab_sheaf **stack, u32 *nr)
{
	struct slab_sheaf *sheaf = *stack;

	if (sheaf) {
		WRITE_ONCE(*stack, sheaf->next);
		WRITE_ONCE(*nr, *nr - 1);
	}
	return sheaf;
}

/* An empty sheaf goes where the next free looks for one. Context: any. */
static void depot_give_empty(struct kmem_cache *s, struct slab_sheaf *sheaf)
{
	struct slab_depot *d = &s->depot;

	if (spin_trylock(&d->lock)) {
		if (d->nr_empty < depot_limit()) {
			depot_push(&d->empty, &d->nr_empty, sheaf);
			sheaf = NULL;
		}
		spin_unlock(&d->lock);
	}
	if (sheaf)
		sheaf_free(sheaf);
}

/* ---- one CPU's pair: under its local lock ---- */

static void cpu_set_main(struct slab_cpu *c, struct slab_sheaf *sheaf)
{
	WRITE_ONCE(c->main, sheaf);
	c->size = sheaf ? sheaf->size : 0;
	c->capacity = sheaf ? sheaf->capacity : 0;
}

/* Take main off its place, its size brought up to date. */
static struct slab_sheaf *cpu_take_main(struct slab_cpu *c)
{
	struct slab_sheaf *sheaf = c->main;

	if (sheaf)
		sheaf->size = c->size;
	cpu_set_main(c, NULL);
	return sheaf;
}

static void cpu_swap(struct slab_cpu *c)
{
	struct slab_sheaf *main = cpu_take_main(c);

	cpu_set_main(c, c->spare);
	WRITE_ONCE(c->spare, main);
}

/* Main is empty. True: it no longer is. */
static bool cpu_refill(struct kmem_cache *s, struct slab_cpu *c)
{
	struct slab_depot *d = &s->depot;
	struct slab_sheaf *full;

	if (c->spare && c->spare->size) {
		cpu_swap(c);
		return true;
	}
	if (READ_ONCE(d->full) && spin_trylock(&d->lock)) {
		full = depot_pop(&d->full, &d->nr_full);
		if (full) {
			if (c->main)
				depot_push(&d->empty, &d->nr_empty, cpu_take_main(c));
			cpu_set_main(c, full);
		}
		spin_unlock(&d->lock);
		if (full)
			return true;
	}
	if (c->main)
		c->size = slab_fill_pinned(s, c->capacity, c->main->objs);
	return c->size != 0;
}

/* Main is full, or there is none. An empty sheaf takes its place; main goes to the depot. */
static bool cpu_exchange(struct kmem_cache *s, struct slab_cpu *c)
{
	struct slab_depot *d = &s->depot;
	struct slab_sheaf *empty = NULL;

	if (!READ_ONCE(d->empty) || READ_ONCE(d->nr_full) >= depot_limit())
		return false;
	if (!spin_trylock(&d->lock))
		return false;
	if (d->nr_full < depot_limit())
		empty = depot_pop(&d->empty, &d->nr_empty);
	if (empty) {
		if (c->main)
			depot_push(&d->full, &d->nr_full, cpu_take_main(c));
		cpu_set_main(c, empty);
	}
	spin_unlock(&d->lock);
	return empty;
}

/* Main is full, or there is none. True: there is room in it. @reap: bits for slab_reap_some(). */
static bool cpu_make_room(struct kmem_cache *s, struct slab_cpu *c, u32 *reap)
{
	u32 half, left;

	if (c->spare && c->spare->size < c->spare->capacity) {
		cpu_swap(c);
		return true;
	}
	if (cpu_exchange(s, c))
		return true;
	if (!READ_ONCE(s->depot.empty))
		WRITE_ONCE(s->depot.wanted, 1u);
	if (!c->main)
		return false;
	/* the half that was freed first: what was freed last is in the caches of this CPU */
	half = (c->size + 1) / 2;
	left = slab_give_pinned(s, c->main->objs, half, reap);
	memmove(c->main->objs + left, c->main->objs + half, (c->size - half) * sizeof(void *));
	c->size -= half - left;
	return left < half;
}

/* ---- allocation ---- */

static void *sheaf_pop(struct slab_cpu *c)
{
	u32 n = c->size - 1;

	c->size = n;
	return c->main->objs[n];
}

static void sheaf_push(struct slab_cpu *c, void *obj)
{
	u32 n = c->size;

	c->main->objs[n] = obj;
	c->size = n + 1;
}

/* Bring sheaves where they are missing: to this CPU, then to who asked. Not a failure if there are none. */
static void sheaf_supply(struct kmem_cache *s, gfp_t gfp)
{
	struct slab_cpu *c = slab_cpu(s, octavo_port_cpu());
	struct slab_sheaf *sheaf;

	/* read without the lock, and of a CPU that may not be ours any more: a hint */
	if (!READ_ONCE(c->main) || !READ_ONCE(c->spare)) {
		sheaf = sheaf_alloc(s, gfp);
		if (!sheaf)
			return;
		c = slab_cpu(s, octavo_port_pin());
		if (local_trylock(&c->lock)) {
			if (!c->main) {
				cpu_set_main(c, sheaf);
				sheaf = NULL;
			} else if (!c->spare) {
				WRITE_ONCE(c->spare, sheaf);
				sheaf = NULL;
			}
			local_unlock(&c->lock);
		}
		octavo_port_unpin();
		if (sheaf)
			depot_give_empty(s, sheaf);
	}
	if (READ_ONCE(s->depot.wanted)) {
		WRITE_ONCE(s->depot.wanted, 0u);
		sheaf = sheaf_alloc(s, gfp);
		if (sheaf)
			depot_give_empty(s, sheaf);
	}
}

/* Objects from the slabs, beyond what was asked for: as many as fit into main. */
static void keep_or_give(struct kmem_cache *s, void *const *objs, u32 n)
{
	struct slab_cpu *c = slab_cpu(s, octavo_port_pin());

	if (local_trylock(&c->lock)) {
		while (n && c->size < c->capacity)
			sheaf_push(c, objs[--n]);
		local_unlock(&c->lock);
	}
	octavo_port_unpin();
	while (n)
		slab_give(s, objs[--n]);
}

/*
 * An object by every means. What could not be had pinned (a lock, a new slab) is
 * done in batches too: one by one, CPUs that wait for the lock would be back there at once.
 */
static __noinline void *alloc_slow(struct kmem_cache *s, gfp_t gfp)
{
	struct slab_cpu *c = slab_cpu(s, octavo_port_pin());
	void *objs[16], *obj = NULL;
	u32 n;

	if (local_trylock(&c->lock)) {
		if (c->size || cpu_refill(s, c))
			obj = sheaf_pop(c);
		local_unlock(&c->lock);
	}
	octavo_port_unpin();
	if (!obj) {
		sheaf_supply(s, gfp);
		n = slab_take(s, gfp, min((u32)ARRAY_SIZE(objs), s->sheaf_size), objs);
		if (!n)
			return NULL;
		keep_or_give(s, objs + 1, n - 1);
		obj = objs[0];
	}
	slab_activate(s, obj);
	return obj;
}

__noreturn static __cold void bad_zero(const struct kmem_cache *s)
{
	octavo_panic(
		"slab %s: __GFP_ZERO would overwrite what its constructor or stable prefix keeps",
		s->name);
}

static __noinline void *alloc_zeroed(struct kmem_cache *s, gfp_t gfp)
{
	void *obj;

	if (unlikely(s->ctor || s->stable_prefix))
		bad_zero(s);
	obj = kmem_cache_alloc(s, gfp & ~__GFP_ZERO);
	return obj ? memset(obj, 0, s->object_size) : NULL;
}

/* Arranged so that little lives across the calls of the port: a register saved costs two instructions. */
void *kmem_cache_alloc(struct kmem_cache *s, gfp_t gfp)
{
	struct slab_cpu *c;
	void *obj;

	if (unlikely(gfp & __GFP_ZERO))
		return alloc_zeroed(s, gfp);
	if (octavo_fault(OCTAVO_FAULT_SLAB) && !(gfp & __GFP_NOFAIL))
		return NULL;
	c = slab_cpu(s, octavo_port_pin());
	if (unlikely(!local_trylock(&c->lock)))
		goto slow;
	if (unlikely(!c->size)) {
		local_unlock(&c->lock);
		goto slow;
	}
	obj = sheaf_pop(c);
	local_unlock(&c->lock);
	slab_clear_marker(s, obj);
	if (unlikely(s->flags & SLAB_DEBUG_ALL))
		slab_debug_alloc(s, obj);
	octavo_port_unpin();
	return obj;
slow:
	octavo_port_unpin();
	return alloc_slow(s, gfp);
}

static u32 alloc_from_main(struct kmem_cache *s, u32 n, void **objs)
{
	struct slab_cpu *c = slab_cpu(s, octavo_port_pin());
	u32 got = 0;

	if (local_trylock(&c->lock)) {
		while (got < n && (c->size || cpu_refill(s, c)))
			objs[got++] = sheaf_pop(c);
		local_unlock(&c->lock);
	}
	octavo_port_unpin();
	return got;
}

int kmem_cache_alloc_bulk(struct kmem_cache *s, gfp_t gfp, u32 n, void **objs)
{
	u32 got;

	if (octavo_fault(OCTAVO_FAULT_SLAB) && !(gfp & __GFP_NOFAIL))
		return -ENOMEM;
	if (unlikely(gfp & __GFP_ZERO && (s->ctor || s->stable_prefix)))
		bad_zero(s);
	/* what a sheaf or two can give; more than that is cheaper straight from the slabs */
	got = alloc_from_main(s, min(n, 2 * s->sheaf_size), objs);
	if (!slab_take_bulk(s, gfp, n - got, objs + got)) {
		while (got)
			slab_give(s, objs[--got]);
		return -ENOMEM;
	}
	for (u32 i = 0; i < n; i++) {
		slab_activate(s, objs[i]);
		if (gfp & __GFP_ZERO)
			memset(objs[i], 0, s->object_size);
	}
	return 0;
}

/* ---- freeing ---- */

static __noinline void free_slow(struct kmem_cache *s, void *obj)
{
	struct slab_cpu *c = slab_cpu(s, octavo_port_pin());
	u32 reap = 0;

	if (local_trylock(&c->lock)) {
		if (c->size < c->capacity || cpu_make_room(s, c, &reap)) {
			sheaf_push(c, obj);
			obj = NULL;
		}
		local_unlock(&c->lock);
	}
	octavo_port_unpin();
	if (obj)
		slab_give(s, obj);
	slab_reap_some(s, reap);
}

static __always_inline void free_object(struct kmem_cache *s, struct slab *slab, void *obj)
{
	struct slab_cpu *c;

	slab_deactivate(s, slab, obj);
	c = slab_cpu(s, octavo_port_pin());
	if (unlikely(!local_trylock(&c->lock)))
		goto slow;
	if (unlikely(c->size >= c->capacity)) {
		local_unlock(&c->lock);
		goto slow;
	}
	sheaf_push(c, obj);
	local_unlock(&c->lock);
	octavo_port_unpin();
	return;
slow:
	octavo_port_unpin();
	free_slow(s, obj);
}

void kmem_cache_free(struct kmem_cache *s, void *obj)
{
	free_object(s, slab_of(s, obj), obj);
}

void slab_free_object(struct kmem_cache *s, struct slab *slab, void *obj)
{
	free_object(s, slab, obj);
}

/* What main has no room for: to its slabs, many under one lock. */
static void give_many(struct kmem_cache *s, u32 n, void *const *objs)
{
	void *some[32];
	u32 reap = 0;

	while (n) {
		u32 k = min(n, (u32)ARRAY_SIZE(some)), left;

		memcpy(some, objs, k * sizeof(void *));
		left = slab_give_pinned(s, some, k, &reap);
		while (unlikely(left))
			slab_give(s, some[--left]);
		objs += k;
		n -= k;
	}
	slab_reap_some(s, reap);
}

void kmem_cache_free_bulk(struct kmem_cache *s, u32 n, void *const *objs)
{
	struct slab *slab = NULL;
	struct slab_cpu *c;
	u32 done = 0;

	/* all checked before any moves: a bad one panics with the cache as it was */
	for (u32 i = 0; i < n; i++) {
		/* often of the slab of the one before it; nr is constant while an object is out */
		if (!slab || slab_index(s, slab, objs[i]) >= slab->nr)
			slab = slab_of(s, objs[i]);
		slab_deactivate(s, slab, objs[i]);
	}
	c = slab_cpu(s, octavo_port_pin());
	if (local_trylock(&c->lock)) {
		if (unlikely(!c->main) && !cpu_exchange(s, c) && !READ_ONCE(s->depot.empty))
			WRITE_ONCE(s->depot.wanted, 1u);
		while (done < n && c->size < c->capacity)
			sheaf_push(c, objs[done++]);
		local_unlock(&c->lock);
	}
	octavo_port_unpin();
	if (done < n)
		give_many(s, n - done, objs + done);
}

/* ---- prefilled sheaves ---- */

static void prefilled_free(struct slab_sheaf *sheaf)
{
	if (sheaf->capacity <= OCTAVO_SHEAF)
		sheaf_free(sheaf);
	else
		kfree(sheaf);
}

struct slab_sheaf *kmem_cache_prefill_sheaf(struct kmem_cache *s, gfp_t gfp, u32 n)
{
	size_t bytes = sizeof(struct slab_sheaf) + (size_t)n * sizeof(void *);
	struct slab_sheaf *sheaf;

	if (octavo_fault(OCTAVO_FAULT_SLAB) && !(gfp & __GFP_NOFAIL))
		return NULL;
	if (n <= OCTAVO_SHEAF)
		sheaf = slab_object_alloc(slab_boot(SLAB_BOOT_SHEAF), gfp);
	else
		sheaf = kmalloc(bytes, gfp & ~__GFP_ZERO);
	if (!sheaf)
		return NULL;
	sheaf->cache = s;
	sheaf->capacity = n;
	sheaf->size = n;
	if (kmem_cache_alloc_bulk(s, gfp, n, sheaf->objs)) {
		prefilled_free(sheaf);
		return NULL;
	}
	return sheaf;
}

static void prefilled_check(const struct kmem_cache *s, const struct slab_sheaf *sheaf)
{
	if (unlikely(sheaf->cache != s))
		octavo_panic("slab %s: the prefilled sheaf is of another cache", s->name);
}

void *kmem_cache_alloc_from_sheaf(struct kmem_cache *s, struct slab_sheaf *sheaf)
{
	prefilled_check(s, sheaf);
	if (unlikely(!sheaf->size))
		octavo_panic("slab %s: the prefilled sheaf is empty", s->name);
	return sheaf->objs[--sheaf->size];
}

u32 kmem_cache_sheaf_size(const struct slab_sheaf *sheaf)
{
	return sheaf->size;
}

void kmem_cache_return_sheaf(struct kmem_cache *s, struct slab_sheaf *sheaf)
{
	prefilled_check(s, sheaf);
	kmem_cache_free_bulk(s, sheaf->size, sheaf->objs);
	prefilled_free(sheaf);
}

/* ---- draining ---- */

/**
 * sheaf_drain_all() - every object in a sheaf goes back to its slab, every sheaf to its cache
 * @s: cache
 *
 * Context: may spin; not pinned, no lock of this layer held. CPUs make themselves new sheaves when they
 * need some.
 */
void sheaf_drain_all(struct kmem_cache *s)
{
	struct slab_depot *d = &s->depot;
	struct slab_sheaf *stack, *sheaf;
	u32 nr = 0;

	spin_lock(&d->lock);
	stack = d->full;
	WRITE_ONCE(d->full, NULL);
	WRITE_ONCE(d->nr_full, 0u);
	while ((sheaf = depot_pop(&d->empty, &d->nr_empty)))
		depot_push(&stack, &nr, sheaf);
	spin_unlock(&d->lock);

	for (u32 cpu = 0; s->sheaf_size && cpu < octavo_state.frame.nr_cpus; cpu++) {
		struct slab_cpu *c = slab_cpu(s, cpu);

		/* a CPU that never had sheaves is not worth a barrier; one that gets them now is left alone */
		if (!READ_ONCE(c->main) && !READ_ONCE(c->spare))
			continue;
		local_lock_remote(&c->lock);
		sheaf = cpu_take_main(c);
		if (sheaf)
			depot_push(&stack, &nr, sheaf);
		if (c->spare)
			depot_push(&stack, &nr, c->spare);
		WRITE_ONCE(c->spare, NULL);
		local_unlock_remote(&c->lock);
	}

	for (u32 i = 0; i < slab_nr_homes(); i++) {
		struct slab_home *home = &s->home[i];

		slab_lock(s, home);
		for (sheaf = stack; sheaf; sheaf = sheaf->next)
			sheaf->size = slab_give_home(s, home, sheaf->objs, sheaf->size);
		slab_unlock(home);
	}
	while ((sheaf = depot_pop(&stack, &nr)))
		sheaf_free(sheaf);
}
