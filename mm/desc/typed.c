/* SPDX-License-Identifier: MIT */
/*
 * typed.c - memory with a descriptor: frames, a descriptor and words that name it, all or nothing.
 *
 * The frames are taken first: the other way round, a descriptor for which its cache needs a new slab could get
 * the very frames that the caller asked for by name. If then there is no descriptor the frames go back, and no
 * word was written. On the way back the order is
 * the reverse, and nothing of the run is touched once the frames are handed over: they may be somebody
 * else's in the next moment. The descriptor goes last, because as long as a word names it, it must
 * not start another life.
 *
 * What it does not do: counts and states. They differ by type, and the moment at which they change is the
 * type's whole protocol.
 */
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/string.h>

#include "desc.h"
#include "typed.h"

static long take_frames(const struct typed_want *want)
{
	int err;

	if (want->at == TYPED_ANYWHERE)
		return frame_alloc(want->gfp, want->order, want->nid);
	err = frame_alloc_at(want->at, want->order, want->at_flags);
	return err ? err : (long)want->at;
}

void *typed_take(const struct typed_want *want, unsigned long *pfn, int *err)
{
	long first = take_frames(want);
	void *desc = NULL;

	if (first >= 0) {
		desc = desc_alloc(want->slot, want->gfp);
		if (!desc) {
			frame_free((unsigned long)first, want->order);
			first = -ENOMEM;
		}
	}
	if (!desc) {
		if (err)
			*err = (int)first;
		return NULL;
	}
	if (want->gfp & __GFP_ZERO)
		memset(pfn_to_virt((unsigned long)first), 0, PAGE_SIZE << want->order);
	*pfn = (unsigned long)first;
	return desc;
}

void typed_give_back(struct kmem_cache *cache, void *desc, unsigned long pfn, unsigned int order)
{
	frame_free(pfn, order);
	kmem_cache_free(cache, desc);
}

void typed_publish(enum memdesc_type type, void *desc, unsigned long pfn, unsigned int order)
{
	words_fill_release(&pfn_to_page(pfn)->memdesc.v, memdesc_pointer(type, desc).v,
			   1ul << order);
}

void typed_check(enum memdesc_type type, const void *desc, u64 pfn_order, const char *who)
{
	unsigned long pfn = desc_pfn(pfn_order);
	u64 order =
		pfn_order >> DESC_PFN_BITS; /* all of it: a descriptor that is none has junk here */
	memdesc_t name = memdesc_pointer(type, desc);

	/* before any word is looked at: a stale or foreign descriptor can say anything */
	if (order > MAX_FOLIO_ORDER || !IS_ALIGNED(pfn, 1ul << order) || !pfn_valid(pfn))
		octavo_panic("%s: %p is no live %s descriptor", who, desc, memdesc_type_name(type));
	for (unsigned long i = 0; i < 1ul << order; i++)
		if (!memdesc_eq(page_memdesc_relaxed(pfn_to_page(pfn + i)), name)) {
			pr_err("%s: pfn 0x%lx is not named by %s %p", who, pfn + i,
			       memdesc_type_name(type), desc);
			bad_page(pfn + i, who);
		}
}

void typed_retire(struct kmem_cache *cache, enum memdesc_type type, void *desc, u64 pfn_order,
		  const char *who)
{
	unsigned long pfn = desc_pfn(pfn_order);
	unsigned int order = desc_order(pfn_order);

	typed_check(type, desc, pfn_order, who);
	words_fill_release(&pfn_to_page(pfn)->memdesc.v, 0, 1ul << order);
	/* frame_free() releases; whoever is handed these frames sees them FREE before it writes a word */
	frame_free(pfn, order);
	kmem_cache_free(cache, desc);
}
