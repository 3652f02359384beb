/* SPDX-License-Identifier: MIT */
/*
 * ptdesc.c - page-table pages.
 *
 * A page table has one owner, the entry or register above it, and so no count. What makes freeing it
 * interesting is the walker that is still inside without a lock: it came by the entry above, which is cleared by
 * now, and reads entries from the frames. So frames and words stay as they are for a grace period, and the
 * rcu_head for that is in the descriptor, where mm and index were: freeing memory must not need memory.
 *
 * Allocation and freeing match by type: a page table freed as pages, or pages freed as a page table, is
 * fatal in every build, because the words tell.
 *
 * What it does not do: accounting per mm, entries, locks between tables. That is the page-table layer's.
 */
#include <octavo/desc.h>
#include <octavo/frame.h>
#include <octavo/string.h>

#include "typed.h"

static struct ptdesc *pagetable_make(unsigned long at, unsigned int order, gfp_t gfp,
				     unsigned int at_flags)
{
	const struct typed_want want = {
		.slot = &octavo_state.desc.ptdesc,
		.gfp = gfp & ~__GFP_MOVABLE,
		.order = order,
		.nid = NUMA_NO_NODE,
		.at = at,
		.at_flags = at_flags,
	};
	unsigned long pfn;
	struct ptdesc *pt = typed_take(&want, &pfn, NULL);

	if (!pt)
		return NULL;
	memset(pt, 0, sizeof(*pt));
	pt->pfn_order = desc_pack(pfn, order);
	spin_lock_init(&pt->ptl);
	/* no count to set: who may use it is decided by the table entry that the owner stores */
	typed_publish(MEMDESC_PTDESC, pt, pfn, order);
	return pt;
}

struct ptdesc *pagetable_alloc(gfp_t gfp, unsigned int order)
{
	return pagetable_make(TYPED_ANYWHERE, order, gfp | __GFP_ZERO, 0);
}

struct ptdesc *pagetable_alloc_raw(gfp_t gfp)
{
	return pagetable_make(TYPED_ANYWHERE, 0, gfp & ~__GFP_ZERO, 0);
}

struct ptdesc *pagetable_alloc_at(unsigned long pfn, unsigned int order, gfp_t gfp,
				  unsigned int at_flags)
{
	if (pfn == TYPED_ANYWHERE)
		return NULL;
	return pagetable_make(pfn, order, gfp | __GFP_ZERO, at_flags);
}

static void pagetable_retire(struct ptdesc *pt, const char *who)
{
	typed_retire(READ_SETTLED(octavo_state.desc.ptdesc), MEMDESC_PTDESC, pt, pt->pfn_order,
		     who);
}

static void pagetable_claim(struct ptdesc *pt, const char *who)
{
	typed_check(MEMDESC_PTDESC, pt, pt->pfn_order, who);
	/* relaxed: the owner calls, and a second caller is told apart by any order */
	if (fetch_or_relaxed(&pt->flags, (u64)1 << PT_freeing) & (u64)1 << PT_freeing)
		bad_page(ptdesc_pfn(pt), who);
}

void pagetable_free(struct ptdesc *pt)
{
	pagetable_claim(pt, "pagetable_free: freed already");
	VM_BUG_ON(spin_is_locked(&pt->ptl));
	pagetable_retire(pt, "pagetable_free");
}

static void pagetable_after_grace(struct rcu_head *head)
{
	struct ptdesc *pt = container_of(head, struct ptdesc, rcu);

	/* until now a walker may have had the lock, to find that the table is not linked any more */
	VM_BUG_ON(spin_is_locked(&pt->ptl));
	pagetable_retire(pt, "pagetable_free_rcu");
}

void pagetable_free_rcu(struct ptdesc *pt)
{
	pagetable_claim(pt, "pagetable_free_rcu: freed already");
	call_rcu(&pt->rcu, pagetable_after_grace);
}
