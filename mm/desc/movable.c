/* SPDX-License-Identifier: MIT */
/*
 * movable.c - memory that its owner can migrate: balloons, compressed pools.
 *
 * Such memory has one owner and no references, so who may touch it is one word, the state:
 *
 *	DEAD -> LIVE           allocation, last step        (release store)
 *	LIVE -> DEAD           movable_free()               (compare-and-swap)
 *	LIVE -> ISOLATED       isolate_movable_page()       (compare-and-swap)
 *	ISOLATED -> LIVE       putback, refusal, mistake    (release store)
 *	ISOLATED -> DEAD       migrated away                (store)
 *	DEAD -> ISOLATED       the new home, while contents are moving in
 *
 * Both compare-and-swaps start from LIVE, so owner and migration can't both have it; whoever has it alone
 * stores. The descriptor is type-stable under RCU: a stale pointer leads to some movable descriptor, whose
 * state may be tried. A claim of the wrong one (the word has changed since) is undone; all that its owner can
 * see of it is an -EBUSY that was there for a moment.
 *
 * What it does not do: find pages worth moving, retry, or order one migration against another.
 * Compaction and offlining do, above.
 */
#include <octavo/desc.h>
#include <octavo/errno.h>
#include <octavo/frame.h>

#include "typed.h"

/* A descriptor that is published and claimed: nobody else can do anything with it. */
static struct movable *movable_make(const struct typed_want *want,
				    const struct movable_operations *ops, void *private)
{
	unsigned long pfn;
	struct movable *mv;

	BUG_ON(!ops || !ops->migrate);
	mv = typed_take(want, &pfn, NULL);
	if (!mv)
		return NULL;
	VM_BUG_ON(READ_ONCE(mv->state) != MOVABLE_DEAD || READ_ONCE(mv->seq) % 2 != 0);
	/* release: a reader that sees it (acquire) also sees the even seq before it, and so seq change */
	smp_store_release(&mv->pfn_order, desc_pack(pfn, want->order));
	mv->ops = ops;
	mv->private = private;
	/* release: a reader that sees it odd (acquire) sees this pfn_order and the last life's FREE words */
	smp_store_release(&mv->seq, READ_ONCE(mv->seq) + 1);
	WRITE_ONCE(mv->state, (u32)MOVABLE_ISOLATED);
	typed_publish(MEMDESC_MOVABLE, mv, pfn, want->order);
	return mv;
}

static void movable_set_live(struct movable *mv)
{
	/* release: pairs with the acquire of the next claim: fields and words are seen */
	smp_store_release(&mv->state, (u32)MOVABLE_LIVE);
}

/* The caller has it alone. */
static void movable_retire(struct movable *mv, const char *who)
{
	WRITE_ONCE(mv->state, (u32)MOVABLE_DEAD);
	/* relaxed: handing the descriptor to its cache releases it to whoever stores pfn_order next */
	WRITE_ONCE(mv->seq, READ_ONCE(mv->seq) + 1);
	typed_retire(READ_SETTLED(octavo_state.desc.movable), MEMDESC_MOVABLE, mv, mv->pfn_order,
		     who);
}

static struct typed_want movable_want(gfp_t gfp, unsigned int order, int nid)
{
	return (struct typed_want){
		.slot = &octavo_state.desc.movable,
		.gfp = gfp | __GFP_MOVABLE,
		.order = order,
		.nid = nid,
		.at = TYPED_ANYWHERE,
	};
}

struct movable *movable_alloc(gfp_t gfp, unsigned int order, const struct movable_operations *ops,
			      void *private)
{
	const struct typed_want want = movable_want(gfp, order, NUMA_NO_NODE);
	struct movable *mv = movable_make(&want, ops, private);

	if (mv)
		movable_set_live(mv);
	return mv;
}

struct movable *movable_alloc_at(unsigned long pfn, unsigned int order, gfp_t gfp,
				 const struct movable_operations *ops, void *private,
				 unsigned int at_flags)
{
	struct typed_want want = movable_want(gfp, order, NUMA_NO_NODE);
	struct movable *mv;

	if (pfn == TYPED_ANYWHERE)
		return NULL;
	want.at = pfn;
	want.at_flags = at_flags;
	mv = movable_make(&want, ops, private);
	if (mv)
		movable_set_live(mv);
	return mv;
}

int movable_free(struct movable *mv)
{
	/* acquire: pairs with the release that made it LIVE: what the core did with it is over */
	u32 old = cmpxchg_acquire(&mv->state, (u32)MOVABLE_LIVE, (u32)MOVABLE_DEAD);

	if (old == MOVABLE_ISOLATED)
		return -EBUSY;
	if (old != MOVABLE_LIVE)
		octavo_panic("movable_free: descriptor %p is free already", (void *)mv);
	movable_retire(mv, "movable_free");
	return 0;
}

/* The movable memory that a page is in, claimed; the caller may not sleep before it has looked again. */
static struct movable *movable_claim(struct page *page)
{
	memdesc_t md = page_memdesc(page);
	struct movable *mv = memdesc_ptr(md);

	if (memdesc_type(md) != MEMDESC_MOVABLE || octavo_fault(OCTAVO_FAULT_TRYGET))
		return NULL;
	/* acquire: pairs with the release that made it LIVE: if that is another life, so is the word */
	if (cmpxchg_acquire(&mv->state, (u32)MOVABLE_LIVE, (u32)MOVABLE_ISOLATED) != MOVABLE_LIVE)
		return NULL;
	if (!memdesc_eq(page_memdesc_relaxed(page), md)) {
		movable_set_live(mv);
		return NULL;
	}
	return mv;
}

struct movable *isolate_movable_page(struct page *page)
{
	struct movable *mv;

	/* while LIVE can still turn into DEAD the descriptor is only as stable as its cache */
	rcu_read_lock();
	mv = movable_claim(page);
	rcu_read_unlock();
	if (mv && mv->ops->isolate && !mv->ops->isolate(mv)) {
		movable_set_live(mv);
		return NULL;
	}
	return mv;
}

static void movable_check_isolated(const struct movable *mv, const char *who)
{
	if (READ_ONCE(mv->state) != MOVABLE_ISOLATED)
		octavo_panic("%s: descriptor %p is not isolated", who, (const void *)mv);
}

int migrate_movable_page(struct movable *src, gfp_t gfp, struct movable **dst)
{
	struct typed_want want;
	struct movable *new;
	int err;

	movable_check_isolated(src, "migrate_movable_page");
	want = movable_want(gfp, movable_order(src), (int)pfn_to_nid(movable_pfn(src)));
	new = movable_make(&want, src->ops, src->private);
	if (!new)
		return -ENOMEM;
	/*
	 * Both are ISOLATED across the call: the owner may already find the new one in its tables, but can't
	 * free it before it is LIVE, nor the old one before it is gone.
	 */
	err = src->ops->migrate(new, src);
	if (err) {
		movable_retire(new, "migrate_movable_page");
		return err;
	}
	movable_retire(src, "migrate_movable_page");
	if (dst)
		*dst = new;
	movable_set_live(new);
	return 0;
}

void putback_movable_page(struct movable *mv)
{
	movable_check_isolated(mv, "putback_movable_page");
	if (mv->ops->putback)
		mv->ops->putback(mv);
	movable_set_live(mv);
}
