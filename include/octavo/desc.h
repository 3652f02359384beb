/* SPDX-License-Identifier: MIT */
/*
 * desc.h - the smaller descriptors: page tables, managed memory, movable memory.
 */
#ifndef OCTAVO_DESC_H
#define OCTAVO_DESC_H

#include <octavo/list.h>
#include <octavo/page.h>
#include <octavo/rcu.h>

/* ---- ptdesc: a page-table page ---- */

/*
 * No count: its owner is the page table above it. Stable under the page-table lock or the mmap lock. The
 * frames are freed after a grace period, because walkers read them without a lock. rcu is always
 * here, so that freeing a page table never allocates.
 */
struct ptdesc {
	union {
		struct rcu_head rcu; /* when freed */
		struct {
			void *mm;	     /* owner; set once */
			unsigned long index; /* user address >> level shift; set once */
			struct list_head *unused;
		};
	};
	u64 pfn_order;	/* set once: pfn 40, order 6 */
	spinlock_t ptl; /* guards the entries of this table */
	u32 nr_entries; /* present or swap-form entries; under ptl */
	u64 flags;
};
BUILD_BUG_ON(sizeof(struct ptdesc) > 48);
BUILD_BUG_ON(sizeof(struct ptdesc) % 16);

/**
 * pagetable_alloc() - a zeroed page table
 * @gfp: see gfp.h
 * @order: usually 0
 *
 * Return: its descriptor, NULL if memory is short.
 */
struct ptdesc *pagetable_alloc(gfp_t gfp, unsigned int order);
struct ptdesc *pagetable_alloc_at(unsigned long pfn, unsigned int order, gfp_t gfp,
				  unsigned int at_flags);
/* Now: nobody can be walking it. Fatal if its words do not name it. */
void pagetable_free(struct ptdesc *pt);
/* After a grace period. */
void pagetable_free_rcu(struct ptdesc *pt);
unsigned long ptdesc_pfn(const struct ptdesc *pt);
unsigned int ptdesc_order(const struct ptdesc *pt);
void *ptdesc_address(const struct ptdesc *pt);

/* ---- mgdesc: plain memory whose owner wants a count and a list node beside it ---- */

/* Type-stable under RCU; stable prefix: refcount, state. */
struct mgdesc {
	u32 refcount;	       /* as a folio's */
	u32 flags;	       /* owner's; atomic operations */
	u64 pfn_order;	       /* pfn 40, order 6: constant while referenced */
	struct list_head list; /* the owner's, under the owner's lock */
};
BUILD_BUG_ON(sizeof(struct mgdesc) != 32);

struct mgdesc *mgdesc_alloc(gfp_t gfp, unsigned int order);
struct mgdesc *mgdesc_alloc_at(unsigned long pfn, unsigned int order, gfp_t gfp,
			       unsigned int at_flags);
void mgdesc_get(struct mgdesc *mg);
/* The last one frees. Any context, never sleeps. */
void mgdesc_put(struct mgdesc *mg);
bool mgdesc_try_get(struct mgdesc *mg);
unsigned long mgdesc_pfn(const struct mgdesc *mg);
unsigned int mgdesc_order(const struct mgdesc *mg);
void *mgdesc_address(const struct mgdesc *mg);

/* ---- movable: memory that its owner, not a page table, can migrate (balloon, compressed pool) ---- */

struct movable;

/*
 * Isolation and putback transfer ownership: between them the core owns the page and the owner leaves it alone.
 */
struct movable_operations {
	/* May the page be taken? Called with the page already claimed. May not sleep. */
	bool (*isolate)(struct movable *mv);
	/*
	 * Move the contents to the frames of @dst, which has an owner state of its own. May sleep. On success the
	 * owner has forgotten @src. Return: 0; -EAGAIN, -EBUSY: nothing has changed.
	 */
	int (*migrate)(struct movable *dst, struct movable *src);
	/* The page is the owner's again. May not sleep. */
	void (*putback)(struct movable *mv);
};

enum movable_state { MOVABLE_DEAD = 0, MOVABLE_LIVE = 1, MOVABLE_ISOLATED = 2 };

/* Type-stable under RCU; stable prefix: state. */
struct movable {
	u32 state; /* enum movable_state; compare-and-swap LIVE -> ISOLATED, else stores by whoever owns */
	u32 spare;
	u64 pfn_order; /* constant while not DEAD */
	const struct movable_operations *ops;
	void *private; /* the owner's */
};
BUILD_BUG_ON(sizeof(struct movable) != 32);

/* LIVE on return. */
struct movable *movable_alloc(gfp_t gfp, unsigned int order, const struct movable_operations *ops,
			      void *private);
struct movable *movable_alloc_at(unsigned long pfn, unsigned int order, gfp_t gfp,
				 const struct movable_operations *ops, void *private,
				 unsigned int at_flags);
/*
 * The owner frees. -EBUSY: isolated just now; migration will migrate it or put it back, try again.
 */
int movable_free(struct movable *mv);
/*
 * isolate_movable_page() - claim a page for migration: compare-and-swap LIVE -> ISOLATED under RCU,
 * re-read of the word, ops->isolate. NULL: not movable, not live, or refused.
 */
struct movable *isolate_movable_page(struct page *page);
/*
 * Move an isolated page to new frames. 0: @src and its frames are gone and *@dst is LIVE. Failure: still
 * isolated; put it back.
 */
int migrate_movable_page(struct movable *src, gfp_t gfp, struct movable **dst);
void putback_movable_page(struct movable *mv);
unsigned long movable_pfn(const struct movable *mv);
unsigned int movable_order(const struct movable *mv);
void *movable_address(const struct movable *mv);

/* Shared by all of the above: exact bytes of descriptors now, for footprint and tests. */
struct desc_stat {
	u64 folios[NR_ORDERS]; /* live, by order */
	u64 ptdescs, mgdescs, movables;
	u64 descriptor_frames; /* frames behind the descriptor caches' slabs */
};
void desc_stat(struct desc_stat *st);

#endif /* OCTAVO_DESC_H */
