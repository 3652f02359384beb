/* SPDX-License-Identifier: MIT */
/*
 * mgdesc.c - managed memory: a count and a list node beside plain memory.
 *
 * The count is the folio's protocol without the folio: it goes up from 1 or more only (compare-and-swap for
 * those who have no reference), whoever takes it to 0 frees, and it is 0 whenever the descriptor describes
 * nothing. The cache is type-stable under RCU, so a PFN walker may try the count of a descriptor that a word
 * named a moment ago; what it then has a reference on, the re-read of the word tells.
 *
 * Saturation: a count at 2^31 or above has lost its meaning. It is set back to the middle of that
 * range whenever somebody touches it, so that it neither wraps nor comes down, and the memory is leaked.
 */
#include <octavo/desc.h>
#include <octavo/frame.h>

#include "typed.h"

static struct mgdesc *mgdesc_make(unsigned long at, unsigned int order, gfp_t gfp,
				  unsigned int at_flags)
{
	const struct typed_want want = {
		.slot = &octavo_state.desc.mgdesc,
		.gfp = gfp & ~__GFP_MOVABLE,
		.order = order,
		.nid = NUMA_NO_NODE,
		.at = at,
		.at_flags = at_flags,
	};
	unsigned long pfn;
	struct mgdesc *mg = typed_take(&want, &pfn, NULL);

	if (!mg)
		return NULL;
	VM_BUG_ON(mgdesc_ref_count(mg) != 0);
	WRITE_ONCE(mg->flags, 0u);
	WRITE_ONCE(mg->pfn_order, desc_pack(pfn, order));
	INIT_LIST_HEAD(&mg->list);
	typed_publish(MEMDESC_MANAGED, mg, pfn, order);
	/* release, last: pairs with the acquire in mgdesc_try_get(): fields and words are seen */
	smp_store_release(&mg->refcount, 1u);
	return mg;
}

struct mgdesc *mgdesc_alloc(gfp_t gfp, unsigned int order)
{
	return mgdesc_make(TYPED_ANYWHERE, order, gfp, 0);
}

struct mgdesc *mgdesc_alloc_at(unsigned long pfn, unsigned int order, gfp_t gfp,
			       unsigned int at_flags)
{
	if (pfn == TYPED_ANYWHERE)
		return NULL;
	return mgdesc_make(pfn, order, gfp, at_flags);
}

/* A get or put found @old: 0 is a use after free, anything else a count that has lost its meaning. */
static __cold void mgdesc_ref_bad(struct mgdesc *mg, u32 old, const char *who)
{
	if (!old)
		octavo_panic("%s: managed descriptor %p has no references", who, (void *)mg);
	WRITE_ONCE(mg->refcount, MGDESC_REF_SATURATED);
	/* relaxed: it only keeps the report from repeating */
	if (!(fetch_or_relaxed(&octavo_state.desc.reported, DESC_REPORTED_MGDESC_SATURATED) &
	      DESC_REPORTED_MGDESC_SATURATED))
		pr_warn("%s: count of managed memory at pfn 0x%lx saturated, it is leaked", who,
			mgdesc_pfn(mg));
}

void mgdesc_get(struct mgdesc *mg)
{
	/* relaxed: the caller's own reference already orders everything */
	u32 old = fetch_add_relaxed(&mg->refcount, 1u);

	if (unlikely((s32)old <= 0 || (s32)(old + 1) < 0))
		mgdesc_ref_bad(mg, old, "mgdesc_get");
}

bool mgdesc_try_get(struct mgdesc *mg)
{
	u32 old = READ_ONCE(mg->refcount);

	VM_WARN_ON(!rcu_read_lock_held());
	if (octavo_fault(OCTAVO_FAULT_TRYGET))
		return false;
	do {
		if ((s32)old <= 0 || unlikely((s32)(old + 1) < 0))
			return false;
		/* acquire: pairs with the release that set the count to 1: fields and words are seen */
	} while (!try_cmpxchg_acquire(&mg->refcount, &old, old + 1));
	return true;
}

void mgdesc_put(struct mgdesc *mg)
{
	/*
	 * acq_rel: release pairs with the acquire of whoever drops the last reference (it must not free
	 * under a former holder's accesses), acquire is that one.
	 */
	u32 old = fetch_sub_acq_rel(&mg->refcount, 1u);

	if (likely((s32)old > 1))
		return;
	if (unlikely(old != 1)) {
		mgdesc_ref_bad(mg, old, "mgdesc_put");
		return;
	}
	if (!list_empty(&mg->list))
		bad_page(mgdesc_pfn(mg), "mgdesc_put: freed while on its owner's list");
	typed_retire(READ_SETTLED(octavo_state.desc.mgdesc), MEMDESC_MANAGED, mg, mg->pfn_order,
		     "mgdesc_put");
}
