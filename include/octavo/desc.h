/* SPDX-License-Identifier: MIT */
/*
 * desc.h - the smaller descriptors: page tables, managed memory, movable memory.
 */
#ifndef OCTAVO_DESC_H
#define OCTAVO_DESC_H

#include <octavo/list.h>
#include <octavo/lock.h>
#include <octavo/page.h>
#include <octavo/rcu.h>

/* pfn and order of an allocation in one word: pfn 40 bits, order 6. */
#define DESC_PFN_BITS 40

static inline unsigned long desc_pfn(u64 pfn_order)
{
	return pfn_order & ((1ul << DESC_PFN_BITS) - 1);
}

static inline unsigned int desc_order(u64 pfn_order)
{
	return (unsigned int)(pfn_order >> DESC_PFN_BITS) & 0x3f;
}

/* ---- ptdesc: a page-table page ---- */

/*
 * No count: its owner is the page table above it. Stable under the page-table lock or the mmap lock. The
 * frames are freed after a grace period, because walkers read them without a lock. rcu is always
 * here, so that freeing a page table never allocates. Not type-stable: nobody follows a PTDESC word
 * without one of those locks.
 */
struct ptdesc {
	union {
		struct rcu_head rcu; /* from pagetable_free_rcu() on */
		struct {
			void *mm;	     /* owner; set before it is linked */
			unsigned long index; /* user address >> level shift; as mm */
			struct ptdesc *next; /* of the tables that an mmu_gather holds */
		};
	};
	u64 pfn_order;	/* set once */
	spinlock_t ptl; /* guards the entries of this table */
	u32 nr_entries; /* tables that its entries lead to; under ptl */
	u64 flags;	/* enum ptdesc_flag; atomic operations */
};
BUILD_BUG_ON(sizeof(struct ptdesc) > 48);
BUILD_BUG_ON(sizeof(struct ptdesc) % 16);

enum ptdesc_flag {
	PT_freeing, /* given to pagetable_free_rcu(); a second time is fatal */
	NR_PTDESC_FLAGS,
};

/**
 * pagetable_alloc() - a zeroed page table
 * @gfp: see gfp.h; never __GFP_MOVABLE, page tables stay where they are
 * @order: 0 to MAX_FOLIO_ORDER, usually 0
 *
 * mm, index, nr_entries and flags are 0, ptl is free.
 *
 * Context: any; sleeps only as @gfp allows.
 * Return: its descriptor, NULL if memory is short; then nothing is held.
 */
struct ptdesc *pagetable_alloc(gfp_t gfp, unsigned int order) __must_check;

/* pagetable_alloc() of one frame that is not zeroed: for who stores every entry before the table is linked. */
struct ptdesc *pagetable_alloc_raw(gfp_t gfp) __must_check;

/**
 * pagetable_alloc_at() - a zeroed page table in these very frames
 * @pfn: first frame, naturally aligned for @order
 * @at_flags: FRAME_AT_...
 *
 * Return: its descriptor; NULL if any of the frames is taken or does not exist, or there is no descriptor.
 */
struct ptdesc *pagetable_alloc_at(unsigned long pfn, unsigned int order, gfp_t gfp,
				  unsigned int at_flags) __must_check;

/**
 * pagetable_free() - give a page table back now
 * @pt: of pagetable_alloc(), unlinked, and nobody can be walking it
 *
 * Fatal if its words do not name it: it is freed already, or was allocated by something else.
 * Context: any; never sleeps, never allocates.
 */
void pagetable_free(struct ptdesc *pt);

/**
 * pagetable_free_rcu() - give a page table back when every walker that may be in it has left
 * @pt: as for pagetable_free(), but walkers inside RCU read-side sections may still be reading entries
 *
 * mm and index are gone at once. The words say PTDESC until the grace period is over. Fatal as
 * pagetable_free(), and if called twice. Context: any; never sleeps, never allocates.
 */
void pagetable_free_rcu(struct ptdesc *pt);

static inline unsigned long ptdesc_pfn(const struct ptdesc *pt)
{
	return desc_pfn(pt->pfn_order);
}

static inline unsigned int ptdesc_order(const struct ptdesc *pt)
{
	return desc_order(pt->pfn_order);
}

static inline void *ptdesc_address(const struct ptdesc *pt)
{
	return pfn_to_virt(ptdesc_pfn(pt));
}

/* ---- mgdesc: plain memory whose owner wants a count and a list node beside it ---- */

/* Type-stable under RCU; stable prefix: refcount, flags. */
struct mgdesc {
	u32 refcount;  /* inc-not-zero; 0: free or not yet published; saturates */
	u32 flags;     /* owner's; atomic operations */
	u64 pfn_order; /* constant while referenced */
	struct list_head
		list; /* the owner's, under the owner's lock; off every list at the last put */
};
BUILD_BUG_ON(sizeof(struct mgdesc) != 32);

#define MGDESC_REF_SATURATED 0xc0000000u /* from 0x80000000 on a count has lost its meaning */

/**
 * mgdesc_alloc() - managed memory with one reference, the caller's
 * @gfp: see gfp.h; __GFP_ZERO clears it; never __GFP_MOVABLE
 * @order: 0 to MAX_FOLIO_ORDER
 *
 * Every page of it takes get_page(), put_page() and try_get_page(), which count here. flags is 0, list is
 * empty.
 *
 * Context: any; sleeps only as @gfp allows.
 * Return: the descriptor, NULL if memory is short; then nothing is held.
 */
struct mgdesc *mgdesc_alloc(gfp_t gfp, unsigned int order) __must_check;
/* In these very frames; see pagetable_alloc_at(). */
struct mgdesc *mgdesc_alloc_at(unsigned long pfn, unsigned int order, gfp_t gfp,
			       unsigned int at_flags) __must_check;

/* Another reference, for somebody who has one: fatal without. Saturates, and then leaks. */
void mgdesc_get(struct mgdesc *mg);

/**
 * mgdesc_put() - drop a reference; the last one frees
 *
 * Fatal: no reference to drop, list not empty at the last one. Context: any; never sleeps, never allocates.
 */
void mgdesc_put(struct mgdesc *mg);

/**
 * mgdesc_try_get() - a reference out of nothing
 * @mg: any managed descriptor, live or free, inside an RCU read-side section
 *
 * Writes nothing when it fails. After success read the word again: @mg may describe other frames by now.
 */
bool mgdesc_try_get(struct mgdesc *mg) __must_check;

static inline unsigned long mgdesc_pfn(const struct mgdesc *mg)
{
	return desc_pfn(READ_ONCE(mg->pfn_order));
}

static inline unsigned int mgdesc_order(const struct mgdesc *mg)
{
	return desc_order(READ_ONCE(mg->pfn_order));
}

static inline unsigned int mgdesc_ref_count(const struct mgdesc *mg)
{
	return READ_ONCE(mg->refcount);
}

static inline void *mgdesc_address(const struct mgdesc *mg)
{
	return pfn_to_virt(mgdesc_pfn(mg));
}

/* ---- movable: memory that its owner, not a page table, can migrate (balloon, compressed pool) ---- */

struct movable;

/*
 * Isolation and putback transfer ownership: between them the core owns the page and the owner leaves it alone.
 * All are called with the page claimed: movable_free() on it answers -EBUSY, from inside them too.
 */
struct movable_operations {
	/* May the page be taken? NULL: always. May not sleep. */
	bool (*isolate)(struct movable *mv);
	/*
	 * Move the contents to the frames of @dst, whose private starts as @src's and may be set. May sleep. On
	 * success the owner has forgotten @src. Return: 0; -EAGAIN, -EBUSY, ...: nothing has changed, and
	 * the owner has not kept @dst. Never NULL.
	 */
	int (*migrate)(struct movable *dst, struct movable *src);
	/* The page is about to be the owner's again. NULL: nothing to do. May not sleep. */
	void (*putback)(struct movable *mv);
};

enum movable_state { MOVABLE_DEAD = 0, MOVABLE_LIVE = 1, MOVABLE_ISOLATED = 2 };

/*
 * Type-stable under RCU; stable prefix: state, seq, pfn_order.
 *
 * seq is odd while the descriptor names frames, and grows at the start and end of each life. So a PFN
 * walker that finds the same odd seq and the same word before and after knows that the pfn_order it read
 * belongs to that word, without claiming the page and so without ever making the owner's
 * movable_free() fail.
 */
struct movable {
	u32 state; /* enum movable_state; compare-and-swap from LIVE, else stores by whoever owns */
	u32 seq;   /* stores by whoever owns, release */
	u64 pfn_order;			      /* constant while seq is odd */
	const struct movable_operations *ops; /* set once a life */
	void *private;			      /* the owner's */
};
BUILD_BUG_ON(sizeof(struct movable) != 32);

/**
 * movable_alloc() - memory that the core may ask its owner to move; LIVE on return
 * @gfp: see gfp.h; __GFP_MOVABLE is added
 * @order: 0 to MAX_FOLIO_ORDER
 * @ops: const, for ever
 * @private: the owner's
 *
 * Context: any; sleeps only as @gfp allows.
 * Return: the descriptor, NULL if memory is short; then nothing is held. It may be isolated before the
 * caller sees it.
 */
struct movable *movable_alloc(gfp_t gfp, unsigned int order, const struct movable_operations *ops,
			      void *private) __must_check;
/* In these very frames; see pagetable_alloc_at(). */
struct movable *movable_alloc_at(unsigned long pfn, unsigned int order, gfp_t gfp,
				 const struct movable_operations *ops, void *private,
				 unsigned int at_flags) __must_check;

/**
 * movable_free() - the owner gives the memory back
 *
 * Context: any; never sleeps, never allocates. Fatal if it is free already.
 * Return: 0; -EBUSY: isolated just now; migration will migrate it or put it back, try again.
 */
int movable_free(struct movable *mv) __must_check;

/**
 * isolate_movable_page() - claim a page for migration
 * @page: any page at all
 *
 * Compare-and-swap LIVE to ISOLATED under RCU, re-read of the word, ops->isolate.
 *
 * Context: any. Return: the claimed memory that @page is in, for migrate_movable_page() or
 * putback_movable_page(); NULL: not movable, not live, or refused.
 */
struct movable *isolate_movable_page(struct page *page) __must_check;

/**
 * migrate_movable_page() - move isolated memory to new frames
 * @src: of isolate_movable_page(); fatal if it is not isolated
 * @gfp: for the new frames, preferably of the same node; __GFP_MOVABLE is added
 * @dst: NULL, or set on success; not the caller's: the owner may free it at any time
 *
 * Context: may sleep, as ops->migrate may.
 * Return: 0: @src and its frames are gone and *@dst is LIVE. -ENOMEM, or what ops->migrate returned: @src
 * is still isolated, put it back.
 */
int migrate_movable_page(struct movable *src, gfp_t gfp, struct movable **dst) __must_check;

/* Give a claimed page back to its owner; fatal if it is not isolated. Context: any. */
void putback_movable_page(struct movable *mv);

static inline unsigned long movable_pfn(const struct movable *mv)
{
	return desc_pfn(READ_ONCE(mv->pfn_order));
}

static inline unsigned int movable_order(const struct movable *mv)
{
	return desc_order(READ_ONCE(mv->pfn_order));
}

static inline void *movable_address(const struct movable *mv)
{
	return pfn_to_virt(movable_pfn(mv));
}

/* ---- how many there are ---- */

struct desc_stat {
	u64 folios[NR_ORDERS]; /* live, by order */
	u64 ptdescs, mgdescs, movables;
	u64 descriptor_frames; /* frames behind the descriptor caches' slabs */
	u64 descriptor_bytes; /* of those caches: their frames, and descriptors of their slabs elsewhere */
};

/**
 * desc_stat() - the population of descriptors
 * @st: filled; exact when quiet
 *
 * Folios are counted by walking the memory map, so that allocating one costs nothing for this:
 * not for hot paths.
 */
void desc_stat(struct desc_stat *st);

#endif /* OCTAVO_DESC_H */
