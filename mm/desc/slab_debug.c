/* SPDX-License-Identifier: MIT */
/*
 * slab_debug.c - finding and explaining corruption: messages of fatal frees, poison, guards, validation, dumps.
 *
 * An object and what may surround it (SLAB_RED_ZONE), by bytes:
 *
 *	| red_left: guard | stable prefix | link | rest of the object | guard to the next slot |
 *	                  ^ what callers hold
 *
 * Free objects hold SLAB_POISON_FREE from the end of the stable prefix to the end of the object, the
 * link (the allocator's word) excepted; an allocated one starts as SLAB_POISON_ALLOC with a link of the same.
 */
#include <octavo/string.h>

#include "slab_priv.h"

/* ---- fatal frees ---- */

static const char *why_bad(const struct kmem_cache *s, const void *obj)
{
	unsigned long pfn = virt_to_pfn(obj);
	struct slab *slab;

	if (pfn >= octavo_state.frame.max_pfn || !pfn_valid(pfn))
		return "is not in the machine's memory";
	slab = page_slab(pfn_to_page(pfn));
	if (!slab)
		return "is not in a slab (freed before, and its slab too?)";
	if (slab->cache != s)
		return "is an object of another cache";
	if (slab_index(s, slab, obj) >= slab->nr)
		return "is not the start of an object";
	return "is free already";
}

void slab_bad_free(const struct kmem_cache *s, const void *obj)
{
	const char *why = why_bad(s, obj);
	unsigned long pfn = virt_to_pfn(obj);
	struct slab *slab = pfn < octavo_state.frame.max_pfn ? page_slab(pfn_to_page(pfn)) : NULL;

	if (slab && slab->cache != s)
		pr_err("slab %s: the page of %p belongs to cache %s", s->name, obj,
		       slab->cache->name);
	octavo_panic("slab %s: object %p %s", s->name, obj, why);
}

void slab_bad_marker(const struct kmem_cache *s, const void *obj)
{
	octavo_panic("slab %s: free object %p was written to: its word at %u is %lx, not %lx",
		     s->name, obj, s->link, *slab_link(s, (void *)(uintptr_t)obj),
		     slab_marker(s, obj));
}

/* ---- poison and guards ---- */

static const u8 *first_other(const u8 *p, const u8 *end, u8 byte)
{
	const u64 word = byte * 0x0101010101010101ull;

	while (p < end) {
		if ((uintptr_t)p % 8 == 0 && end - p >= 8 && *(const u64 *)(const void *)p == word)
			p += 8;
		else if (*p == byte)
			p++;
		else
			return p;
	}
	return NULL;
}

/* The first byte of a free object that is not poison, or NULL. */
static const u8 *poison_hole(const struct kmem_cache *s, const void *obj)
{
	const u8 *p = obj, *bad;

	if (!(s->flags & SLAB_POISON))
		return NULL;
	bad = first_other(p + s->stable_prefix, p + min(s->link, s->object_size), SLAB_POISON_FREE);
	if (bad || s->link + 8 >= s->object_size)
		return bad;
	return first_other(p + s->link + 8, p + s->object_size, SLAB_POISON_FREE);
}

static u8 *guard_after(const struct kmem_cache *s, const void *obj)
{
	return (u8 *)(uintptr_t)obj + max(s->object_size, s->link + 8);
}

/* The first guard byte that is not @byte, or NULL. */
static const u8 *guard_hole(const struct kmem_cache *s, const void *obj, u8 byte)
{
	const u8 *start = (const u8 *)obj - s->red_left, *bad;

	if (!(s->flags & SLAB_RED_ZONE))
		return NULL;
	bad = first_other(start, obj, byte);
	return bad ? bad : first_other(guard_after(s, obj), start + s->size, byte);
}

static void set_guards(const struct kmem_cache *s, void *obj, u8 byte)
{
	u8 *start = (u8 *)obj - s->red_left, *after = guard_after(s, obj);

	if (!(s->flags & SLAB_RED_ZONE))
		return;
	memset(start, byte, s->red_left);
	memset(after, byte, (size_t)(start + s->size - after));
}

static void set_poison(const struct kmem_cache *s, void *obj, u8 byte)
{
	if (s->flags & SLAB_POISON)
		memset((u8 *)obj + s->stable_prefix, byte, s->object_size - s->stable_prefix);
}

static void dump_bytes(const struct kmem_cache *s, const void *obj)
{
	const u8 *start = (const u8 *)obj - s->red_left;

	for (u32 off = 0; off < min(s->size, 256u); off += 16) {
		char line[64];
		int n = 0;

		for (u32 i = off; i < min(off + 16, s->size); i++)
			n += octavo_scnprintf(line + n, sizeof(line) - (size_t)n, " %02x",
					      start[i]);
		pr_err("slab %s: %p:%s", s->name, (const void *)(start + off), line);
	}
}

__noreturn static __cold void bad_byte(const struct kmem_cache *s, const void *obj, const u8 *bad,
				       const char *what)
{
	dump_bytes(s, obj);
	octavo_panic("slab %s: object %p: %s at offset %ld, byte %02x", s->name, obj, what,
		     (long)(bad - (const u8 *)obj), *bad);
}

/* A fresh object; the link is written afterwards. */
void slab_debug_init(const struct kmem_cache *s, void *obj)
{
	set_guards(s, obj, SLAB_RED_FREE);
	set_poison(s, obj, SLAB_POISON_FREE);
}

void slab_debug_alloc(const struct kmem_cache *s, void *obj)
{
	const u8 *bad = poison_hole(s, obj);

	if (unlikely(bad))
		bad_byte(s, obj, bad, "written to while free");
	bad = guard_hole(s, obj, SLAB_RED_FREE);
	if (unlikely(bad))
		bad_byte(s, obj, bad, "its guard was written to while free");
	set_guards(s, obj, SLAB_RED_LIVE);
	set_poison(s, obj, SLAB_POISON_ALLOC);
}

void slab_debug_free(const struct kmem_cache *s, void *obj)
{
	const u8 *bad = guard_hole(s, obj, SLAB_RED_LIVE);

	if (unlikely(bad))
		bad_byte(s, obj, bad, "its guard was written to");
	set_guards(s, obj, SLAB_RED_FREE);
	set_poison(s, obj, SLAB_POISON_FREE);
	*slab_link(s, obj) = slab_marker(s, obj);
}

/* ---- validation ---- */

struct check {
	struct kmem_cache *s;
	bool ok;
};

#define CHECK(c, cond, fmt, ...)                                            \
	do {                                                                \
		if (!(cond)) {                                              \
			pr_err("slab %s: " fmt, (c)->s->name, __VA_ARGS__); \
			(c)->ok = false;                                    \
		}                                                           \
	} while (0)

static bool object_is_free(const struct slab *slab, u64 idx)
{
	return slab->free[idx / BITS_PER_LONG] >> idx % BITS_PER_LONG & 1;
}

/*
 * Objects in sheaves are marked in their slabs as free for the time of the check: an object that is
 * there twice, or in its slab as well, meets its own mark.
 */
static void mark_sheaf(struct check *c, void *const *objs, u32 size, bool mark)
{
	for (u32 i = 0; i < size; i++) {
		unsigned long pfn = virt_to_pfn(objs[i]), bit;
		struct slab *slab = NULL;
		u64 idx;

		if (pfn < octavo_state.frame.max_pfn)
			slab = page_slab(pfn_to_page(pfn));
		idx = slab && slab->cache == c->s ? slab_index(c->s, slab, objs[i]) : ~0ull;
		if (!slab || idx >= slab->nr) {
			CHECK(c, false, "%p in a sheaf is no object of the cache", objs[i]);
			continue;
		}
		bit = 1ul << idx % BITS_PER_LONG;
		if (mark)
			CHECK(c, !object_is_free(slab, idx), "%p is free twice", objs[i]);
		if (mark)
			slab->free[idx / BITS_PER_LONG] |= bit;
		else
			slab->free[idx / BITS_PER_LONG] &= ~bit;
	}
}

static void mark_all(struct check *c, bool mark)
{
	struct kmem_cache *s = c->s;

	for (u32 cpu = 0; s->sheaf_size && cpu < octavo_state.frame.nr_cpus; cpu++) {
		struct slab_cpu *p = slab_cpu(s, cpu);

		CHECK(c, p->size <= p->capacity, "CPU %u: sheaf of %u has %u", cpu, p->capacity,
		      p->size);
		CHECK(c, p->capacity == (p->main ? p->main->capacity : 0),
		      "CPU %u: capacity %u is not its sheaf's", cpu, p->capacity);
		if (p->main)
			mark_sheaf(c, p->main->objs, p->size, mark);
		if (p->spare)
			mark_sheaf(c, p->spare->objs, p->spare->size, mark);
	}
	for (struct slab_sheaf *f = s->depot.full; f; f = f->next)
		mark_sheaf(c, f->objs, f->size, mark);
}

static void check_depot(struct check *c)
{
	struct slab_depot *d = &c->s->depot;
	u32 nr = 0;

	for (struct slab_sheaf *f = d->full; f; f = f->next, nr++)
		CHECK(c, f->size && f->size <= f->capacity, "full sheaf %p has %u of %u", (void *)f,
		      f->size, f->capacity);
	CHECK(c, nr == d->nr_full, "%u full sheaves, counted %u", nr, d->nr_full);
	nr = 0;
	for (struct slab_sheaf *f = d->empty; f; f = f->next, nr++)
		CHECK(c, !f->size, "empty sheaf %p has %u", (void *)f, f->size);
	CHECK(c, nr == d->nr_empty, "%u empty sheaves, counted %u", nr, d->nr_empty);
}

static void check_object(struct check *c, const struct slab *slab, u32 idx)
{
	const struct kmem_cache *s = c->s;
	void *obj = slab->objects + (u64)idx * s->size;
	bool free = object_is_free(slab, idx);
	const u8 *bad = guard_hole(s, obj, free ? SLAB_RED_FREE : SLAB_RED_LIVE);

	CHECK(c, !bad, "guard of %p: byte %02x", obj, *bad);
	if (!free)
		return;
	CHECK(c, *slab_link(s, obj) == slab_marker(s, obj), "free object %p has no marker", obj);
	bad = poison_hole(s, obj);
	CHECK(c, !bad, "free object %p written to: byte %02x", obj, *bad);
}

static void check_words(struct check *c, const struct slab *slab)
{
	unsigned long pfn = slab_pfn(slab);

	CHECK(c, IS_ALIGNED((unsigned long)slab, 16ul), "descriptor %p is misaligned",
	      (const void *)slab);
	CHECK(c, IS_ALIGNED(pfn, 1ul << slab->order), "slab %p: pfn %lx, order %u",
	      (const void *)slab, pfn, (unsigned int)slab->order);
	for (unsigned long i = 0; i < 1ul << slab->order; i++) {
		memdesc_t md = page_memdesc(pfn_to_page(pfn + i));

		CHECK(c, memdesc_eq(md, memdesc_pointer(MEMDESC_SLAB, slab)),
		      "slab %p: word of pfn %lx is %lx", (const void *)slab, pfn + i, md.v);
	}
}

/* Sums over the lists, to be compared with the cache's. */
struct sums {
	u64 slabs, frames, free, inuse, separate, empty;
};

/* Bits must fit counts before sheaves are marked. */
static void check_slab(struct check *c, const struct slab_home *home, const struct slab *slab,
		       struct sums *sum)
{
	u32 free = 0;

	for (u32 i = 0; i < slab->nr; i++)
		free += object_is_free(slab, i);
	CHECK(c, &c->s->home[slab->home] == home, "slab %p is of home %u", (const void *)slab,
	      (unsigned int)slab->home);
	CHECK(c, slab->cache == c->s, "slab %p names another cache", (const void *)slab);
	CHECK(c, free + slab->inuse == slab->nr, "slab %p: %u free + %u in use, not %u",
	      (const void *)slab, free, (unsigned int)slab->inuse, (unsigned int)slab->nr);
	check_words(c, slab);
	sum->slabs++;
	sum->frames += 1ull << slab->order;
	sum->free += free;
	sum->inuse += slab->inuse;
	sum->separate += !slab->embedded;
	sum->empty += !slab->inuse;
}

enum which_list { LIST_PARTIAL, LIST_FULL, LIST_EMPTY };

static void check_list(struct check *c, const struct slab_home *home, const struct list_head *list,
		       enum which_list which, struct sums *sum)
{
	struct slab *slab;

	list_for_each_entry (slab, list, list) {
		enum which_list right = !slab->inuse		  ? LIST_EMPTY
					: slab->inuse == slab->nr ? LIST_FULL
								  : LIST_PARTIAL;

		CHECK(c, right == which, "slab %p with %u of %u is on list %d", (void *)slab,
		      (unsigned int)slab->inuse, (unsigned int)slab->nr, (int)which);
		check_slab(c, home, slab, sum);
		if (!c->ok)
			return;
	}
}

static void check_objects(struct check *c, const struct list_head *list)
{
	struct slab *slab;

	list_for_each_entry (slab, list, list)
		for (u32 i = 0; i < slab->nr; i++)
			check_object(c, slab, i);
}

static void check_home(struct check *c, const struct slab_home *home)
{
	u32 bit = 1u << (home - c->s->home);
	struct sums sum = { 0 };

	check_list(c, home, &home->partial, LIST_PARTIAL, &sum);
	check_list(c, home, &home->full, LIST_FULL, &sum);
	check_list(c, home, &home->empty, LIST_EMPTY, &sum);
	CHECK(c, sum.slabs == home->nr_slabs && sum.frames == home->nr_frames,
	      "%lu slabs, counted %lu", sum.slabs, home->nr_slabs);
	CHECK(c, sum.inuse == home->inuse, "%lu objects in use, counted %lu", sum.inuse,
	      home->inuse);
	CHECK(c, sum.free == home->nr_free, "%lu objects free, counted %lu", sum.free,
	      home->nr_free);
	CHECK(c, sum.separate == home->nr_separate, "%lu separate descriptors, counted %lu",
	      sum.separate, home->nr_separate);
	CHECK(c, sum.empty == home->nr_empty, "%lu empty slabs, counted %u", sum.empty,
	      home->nr_empty);
	CHECK(c, home->plenty == !!(READ_ONCE(c->s->plenty) & bit), "home %u: its bit is wrong",
	      (u32)(home - c->s->home));
}

static void lock_homes(struct kmem_cache *s)
{
	for (u32 i = 0; i < slab_nr_homes(); i++)
		slab_lock(s, &s->home[i]);
}

static void unlock_homes(struct kmem_cache *s)
{
	for (u32 i = slab_nr_homes(); i--;)
		slab_unlock(&s->home[i]);
}

/* With all homes locked: an object in a sheaf may be of any. */
bool kmem_cache_validate(struct kmem_cache *s)
{
	struct check c = { s, true };

	lock_homes(s);
	check_depot(&c);
	for (u32 i = 0; i < slab_nr_homes(); i++)
		check_home(&c, &s->home[i]);
	if (c.ok) {
		mark_all(&c, true);
		for (u32 i = 0; i < slab_nr_homes(); i++) {
			check_objects(&c, &s->home[i].partial);
			check_objects(&c, &s->home[i].full);
			check_objects(&c, &s->home[i].empty);
		}
		mark_all(&c, false);
	}
	unlock_homes(s);
	return c.ok;
}

static bool validate_one(struct kmem_cache *s, void *ok)
{
	if (!kmem_cache_validate(s))
		*(bool *)ok = false;
	return true;
}

bool slab_validate_all(void)
{
	bool ok = true;

	kmem_cache_for_each(validate_one, &ok);
	return ok;
}

/* ---- dump ---- */

static u32 list_length(const struct list_head *list)
{
	const struct list_head *p;
	u32 n = 0;

	for (p = list->next; p != list; p = p->next)
		n++;
	return n;
}

void kmem_cache_dump(struct kmem_cache *s)
{
	const struct slab_geometry *g = s->geo;
	u32 partial = 0, full = 0, empty = 0;
	struct kmem_cache_stat st;

	kmem_cache_stat(s, &st);
	pr_dump("cache %s: objects of %u in %u, flags %x, link at %u", s->name, s->object_size,
		s->size, s->flags, s->link);
	for (u32 i = 0; i < ARRAY_SIZE(s->geo); i++)
		pr_dump("  %s slabs: order %u, %u objects, the first at %u, descriptor %s",
			i ? "small" : "usual", (unsigned int)g[i].order, (unsigned int)g[i].nr,
			g[i].first, g[i].embedded ? "inside" : "separate");
	for (u32 i = 0; i < slab_nr_homes(); i++) {
		struct slab_home *home = &s->home[i];

		slab_lock(s, home);
		partial += list_length(&home->partial);
		full += list_length(&home->full);
		empty += home->nr_empty;
		slab_unlock(home);
	}
	pr_dump("  %lu slabs in %lu frames: %u partial, %u full, %u empty", st.slabs, st.frames,
		partial, full, empty);
	pr_dump("  %lu of %lu objects allocated, %lu out of their slabs", st.active, st.objects,
		slab_inuse(s));
	pr_dump("  sheaves of %u: depot has %u full, %u empty", s->sheaf_size, s->depot.nr_full,
		s->depot.nr_empty);
	for (u32 cpu = 0; s->sheaf_size && cpu < octavo_state.frame.nr_cpus; cpu++) {
		const struct slab_cpu *c = slab_cpu(s, cpu);

		if (c->main)
			pr_dump("  CPU %u: main %u of %u, spare %u", cpu, c->size, c->capacity,
				c->spare ? c->spare->size : 0);
	}
}
