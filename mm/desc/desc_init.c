// SPDX-License-Identifier: MIT
/*
 * desc_init.c - the caches that descriptors come from, each made at first use, so that an idle
 * machine has all its frames.
 *
 * Each embeds its struct slab at the front of the slab, so the recursion "a slab needs a
 * descriptor, which needs a slab" ends here. Those with a count or a state are type-stable under
 * RCU: a PFN walker may hold a stale pointer to any of them inside a read-side section, and what it
 * finds there is a descriptor of the same kind. Page-table descriptors are not: nobody follows a
 * PTDESC word without a lock that keeps the table.
 *
 * The stable prefix of each is what such a walker may look at without a reference: flags and count
 * of a folio and of managed memory; state, sequence, pfn and order of movable memory. Nothing else
 * of a descriptor means anything to it.
 */
#include <octavo/desc.h>
#include <octavo/errno.h>
#include <octavo/folio.h>
#include <octavo/slab.h>

#include "../init.h"
#include "folio_desc.h"
#include "slab_priv.h"

#if OCTAVO_DEBUG
#define DESC_CACHE_FLAGS (SLAB_EMBED | SLAB_DEBUG_ALL)
#else
#define DESC_CACHE_FLAGS SLAB_EMBED
#endif

BUILD_BUG_ON(offsetof(struct folio, flags) != 0 || offsetof(struct folio, refcount) != 4);
BUILD_BUG_ON(offsetof(struct mgdesc, refcount) >= 8 || offsetof(struct mgdesc, flags) >= 8);
#define MOVABLE_STABLE 16u
BUILD_BUG_ON(offsetof(struct movable, pfn_order) + sizeof(u64) > MOVABLE_STABLE);
/* A word keeps its type in the low four bits of the pointer. */
#define DESC_ALIGN 16u
BUILD_BUG_ON(sizeof(struct folio) % DESC_ALIGN || sizeof(struct large_folio) % DESC_ALIGN ||
	     sizeof(struct huge_folio) % DESC_ALIGN || sizeof(struct ptdesc) % DESC_ALIGN ||
	     sizeof(struct mgdesc) % DESC_ALIGN || sizeof(struct movable) % DESC_ALIGN);

/*
 * A new folio descriptor is at rest: count 0. The class goes into flags here and nowhere else, so
 * it is true of the address for as long as anybody can hold it.
 */
static void folio_ctor(struct folio *folio, enum folio_class class)
{
	folio->flags = (u32) class << FOLIO_CLASS_SHIFT;
	folio->refcount = 0;
}

static void folio_small_ctor(void *obj)
{
	folio_ctor(obj, FOLIO_CLASS_SMALL);
}

static void folio_large_ctor(void *obj)
{
	folio_ctor(obj, FOLIO_CLASS_LARGE);
}

static void folio_huge_ctor(void *obj)
{
	folio_ctor(obj, FOLIO_CLASS_HUGE);
}

static const struct desc_cache {
	const char *name;
	u32 size, align, stable_prefix;
	void (*ctor)(void *obj);
	size_t slot; /* offset of its pointer in struct desc_state */
} desc_caches[] = {
	{ "folio_small", sizeof(struct folio), DESC_ALIGN, 8, folio_small_ctor,
	  offsetof(struct desc_state, folio[FOLIO_CLASS_SMALL]) },
	{ "folio_large", sizeof(struct large_folio), 64, 8, folio_large_ctor,
	  offsetof(struct desc_state, folio[FOLIO_CLASS_LARGE]) },
	{ "folio_huge", sizeof(struct huge_folio), 64, 8, folio_huge_ctor,
	  offsetof(struct desc_state, folio[FOLIO_CLASS_HUGE]) },
	{ "ptdesc", sizeof(struct ptdesc), DESC_ALIGN, 0, NULL,
	  offsetof(struct desc_state, ptdesc) },
	{ "mgdesc", sizeof(struct mgdesc), DESC_ALIGN, 8, NULL,
	  offsetof(struct desc_state, mgdesc) },
	{ "movable", sizeof(struct movable), DESC_ALIGN, MOVABLE_STABLE, NULL,
	  offsetof(struct desc_state, movable) },
};

BUILD_BUG_ON(ARRAY_SIZE(desc_caches) != NR_DESC_CACHES);

static struct kmem_cache **desc_slot(const struct desc_cache *dc)
{
	return (struct kmem_cache **)(void *)((char *)&octavo_state.desc + dc->slot);
}

struct kmem_cache *desc_cache_nth(u32 i)
{
	/* acquire: pairs with the release in slab_cache_make_once() */
	return smp_load_acquire(desc_slot(&desc_caches[i]));
}

/* Called once a cache, or by each CPU that is first. On no list: kmem_cache_for_each() asks desc_cache_nth(). */
struct kmem_cache *desc_cache_make(struct kmem_cache **slot, gfp_t gfp)
{
	const struct desc_cache *dc = desc_caches;

	while (desc_slot(dc) != slot)
		dc++;
	const struct kmem_cache_args args = { .stable_prefix = dc->stable_prefix,
					      .ctor = dc->ctor };
	const struct slab_cache_spec spec = {
		.name = dc->name,
		.size = dc->size,
		.align = dc->align,
		.flags = DESC_CACHE_FLAGS | (dc->stable_prefix ? SLAB_TYPESAFE_BY_RCU : 0),
		.args = &args,
	};

	return slab_cache_make_once(slot, &spec, gfp);
}

struct kmem_cache *folio_cache_create(enum folio_class class)
{
	const struct desc_cache *dc = &desc_caches[class];
	const struct kmem_cache_args args = { .stable_prefix = dc->stable_prefix,
					      .ctor = dc->ctor };

	return kmem_cache_create(dc->name, dc->size, dc->align,
				 DESC_CACHE_FLAGS | SLAB_TYPESAFE_BY_RCU, &args);
}

/*
 * A cache that still has objects is left alone: its frames are then among the leaks that
 * octavo_shutdown() counts, and its memory stays what stale pointers say it is.
 */
void desc_exit(void)
{
	folio_sets_exit();
	for (unsigned int i = 0; i < ARRAY_SIZE(desc_caches); i++) {
		struct kmem_cache **slot = desc_slot(&desc_caches[i]);
		struct kmem_cache_stat st;

		if (!*slot)
			continue;
		kmem_cache_stat(*slot, &st);
		if (st.active) {
			pr_warn("%lu descriptors of %s are still allocated",
				(unsigned long)st.active, st.name);
			/* for slab_exit(); nothing else runs */
			list_add_tail(&(*slot)->node_in_caches, &octavo_state.slab.caches);
		} else {
			kmem_cache_destroy(*slot);
		}
		*slot = NULL;
	}
}
