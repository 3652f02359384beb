/* SPDX-License-Identifier: MIT */
/*
 * folio.h - folios: memory that can be mapped to user space, cached, reclaimed and migrated, of one
 * page or 2^order, with a descriptor of its own.
 *
 * Lifetime: a folio lives while its count is above 0. Its descriptor is type-stable under RCU: a
 * stale pointer to it, inside a read-side section, is still a pointer to some folio, whose count
 * may be tried.
 */
#ifndef OCTAVO_FOLIO_H
#define OCTAVO_FOLIO_H

#include <octavo/atomic.h>
#include <octavo/errno.h>
#include <octavo/page.h>
#include <octavo/plain.h>
#include <octavo/swapops.h>

/*
 * The descriptor. Who may touch what:
 *   (r) constant while the caller holds a reference (split shrinks order, with the count frozen)
 *   (a) atomic operations, by anybody with a reference
 *   (c) the count protocol below
 *   (l) the folio lock
 * Stable prefix (lives across free and reuse): flags, count. Of a folio without a reference, inside
 * an RCU section, only these two mean anything: the class in flags, and whether the count can be
 * got.
 */
struct folio {
	u32 flags;	     /* (a) PG_..., and the class of the descriptor */
	u32 refcount;	     /* (c) 0: free, frozen, or not yet published */
	s32 mapcount;	     /* (a) mappings of any of its pages, by any page table; 0: none */
	u32 gen;	     /* (a) relaxed: reclaim's, see docs/reclaim.md */
	u64 pfn_order_group; /* (r) pfn or place 40, order 6, group 18 */
	void *mapping;	     /* (l) */
	unsigned long index; /* (l) */
	union {		     /* (l) */
		void *private;
		u64 swap;
	};
};
BUILD_BUG_ON(sizeof(struct folio) != 48);

/*
 * Made for orders 1 and up. Orders to 6 keep exclusivity in one word, to 9 in eight, beyond behind
 * a pointer. A split leaves a folio in the struct that it was made with, so an order-0 folio can be
 * one of these too: what a descriptor has follows from folio_class(), never from the order.
 */
struct large_folio {
	struct folio folio;
	u32 pincount;	     /* (a) seq_cst, see docs/memdesc.md "Look-ups" */
	s32 entire_mapcount; /* (a) mappings by one entry above a page table */
	union {
		unsigned long excl;	 /* orders 1 to 6 */
		unsigned long *excl_ptr; /* orders 10 and up; (r) */
	};
};
BUILD_BUG_ON(sizeof(struct large_folio) != 64);

struct huge_folio { /* orders 7 to 9 */
	struct folio folio;
	u32 pincount;
	s32 entire_mapcount;
	unsigned long excl[8];
	u64 spare; /* keeps the size a multiple of 16 */
};
BUILD_BUG_ON(sizeof(struct huge_folio) != 128);
BUILD_BUG_ON(offsetof(struct huge_folio, excl) != offsetof(struct large_folio, excl));

enum folio_flag {
	PG_locked,
	PG_waiters, /* somebody is parked on flags */
	PG_referenced,
	PG_uptodate,
	PG_dirty,
	PG_writeback,
	PG_swapbacked,
	PG_swapcache,
	PG_reclaim,
	PG_workingset,
	PG_mlocked,
	PG_unevictable,
	PG_anon_exclusive, /* class SMALL only; the others have a bitmap */
	PG_hwpoison,	   /* a hint: the set of poisoned pfns is the truth */
	PG_owner_1,
	PG_owner_2,
	PG_zone_device, /* (r) device memory: freed by upcalls.device */
	PG_charged,	/* to the group in pfn_order_group; (r) but for who charges */
	PG_swap_failed, /* in the swap cache: the last write to its slots was an -EIO */
	PG_readahead, /* in the swap cache: read before anybody needed it, and not asked for since */
	NR_FOLIO_FLAGS,
	PG_excl_ptr = 27, /* (r) the exclusivity bits are behind large_folio.excl_ptr */
};

/* folio->gen without a meaning yet; and older than any. */
#define GEN_NONE 0u
#define GEN_COLD 1u

/* The top of flags: enum folio_class, constant for as long as the descriptor's memory is one. */
#define FOLIO_CLASS_SHIFT 28
BUILD_BUG_ON(NR_FOLIO_FLAGS > PG_excl_ptr);

/* With or without a reference: the class is in the stable prefix, and a property of the address. */
static inline enum folio_class folio_class(const struct folio *folio)
{
	return (enum folio_class)(READ_ONCE(folio->flags) >> FOLIO_CLASS_SHIFT);
}

/* NULL for class SMALL, which has none of these fields. */
static inline struct large_folio *folio_large(const struct folio *folio)
{
	return folio_class(folio) == FOLIO_CLASS_SMALL ? NULL : (struct large_folio *)folio;
}

enum folio_kind { FOLIO_FILE = MEMDESC_FILE, FOLIO_ANON = MEMDESC_ANON };

/* ---- what a folio is: (r) ---- */
#define FOLIO_PFN_BITS	  40
#define FOLIO_ORDER_SHIFT 40
#define FOLIO_GROUP_SHIFT 46
#define FOLIO_GROUP_MASK  (~0ul << FOLIO_GROUP_SHIFT)

/*
 * Set in the pfn field of a folio of device-private memory; below it is an index of the device's
 * memory (memremap.h). No frame has such a pfn: what takes the field for one gets nowhere.
 */
#define FOLIO_DEVICE_PRIVATE (1ul << (FOLIO_PFN_BITS - 1))
BUILD_BUG_ON(FOLIO_DEVICE_PRIVATE != SWP_PLACE_PRIVATE);

/* Where the folio is: its first pfn, or FOLIO_DEVICE_PRIVATE and its first index. */
static inline unsigned long folio_place(const struct folio *folio)
{
	return READ_ONCE(folio->pfn_order_group) & ((1ul << FOLIO_PFN_BITS) - 1);
}

/* Fatal (in builds with assertions) for a folio of device-private memory, which has none. */
static inline unsigned long folio_pfn(const struct folio *folio)
{
	unsigned long pfn = folio_place(folio);

	VM_BUG_ON(pfn & FOLIO_DEVICE_PRIVATE);
	return pfn;
}

static inline unsigned int folio_order(const struct folio *folio)
{
	return (READ_ONCE(folio->pfn_order_group) >> FOLIO_ORDER_SHIFT) & 0x3f;
}

static inline bool folio_test_large(const struct folio *folio)
{
	return folio_order(folio) != 0;
}

static inline unsigned long folio_nr_pages(const struct folio *folio)
{
	return 1ul << folio_order(folio);
}

static inline size_t folio_size(const struct folio *folio)
{
	return PAGE_SIZE << folio_order(folio);
}

/*
 * The word of a place: of device-private memory it is in an array of the device's. Fatal if there
 * is none. Context: any; whoever asks has a reference on something there, or is the memory's driver.
 */
struct page *device_place_page(unsigned long place);

static inline struct page *place_page(unsigned long place)
{
	if (unlikely(place & FOLIO_DEVICE_PRIVATE))
		return device_place_page(place);
	return pfn_to_page(place);
}

/* The inverse, by the address of the word. Fatal if it is no page. Context: as above. */
unsigned long device_page_place(const struct page *page);

/* Words of device-private memory are not in the memory map. */
static inline bool page_is_device_private(const struct page *page)
{
	return unlikely(page_to_pfn(page) >= octavo_state.frame.max_pfn);
}

static inline unsigned long page_place(const struct page *page)
{
	return page_is_device_private(page) ? device_page_place(page) : page_to_pfn(page);
}

static inline struct page *folio_page(const struct folio *folio, unsigned long n)
{
	return place_page(folio_place(folio)) + n;
}

/* There is no head and no tail: the index of a page in its folio is a subtraction. */
static inline unsigned long folio_page_idx(const struct folio *folio, const struct page *page)
{
	return (unsigned long)(page - folio_page(folio, 0));
}

/* @pfn: or a place. */
static inline bool folio_contains(const struct folio *folio, unsigned long pfn)
{
	return pfn - folio_place(folio) < folio_nr_pages(folio);
}

static inline void *folio_address(const struct folio *folio)
{
	return pfn_to_virt(folio_pfn(folio));
}

/* FILE or ANON is in the words, not in the folio; stable under a reference. */
static inline bool folio_test_anon(const struct folio *folio)
{
	return memdesc_type(page_memdesc(folio_page(folio, 0))) == MEMDESC_ANON;
}

/* ---- allocation ---- */

/**
 * folio_alloc() - a folio with one reference, the caller's
 * @gfp: see gfp.h; __GFP_ZERO clears its pages
 * @order: 0 to MAX_FOLIO_ORDER
 * @kind: FOLIO_FILE or FOLIO_ANON, for ever; anything else is fatal
 *
 * Frames and descriptor are two allocations; if the second fails the first is given back.
 * Publication: descriptor with count 0, its fields, the words (release), then the count (release).
 *
 * Context: any; sleeps only with __GFP_DIRECT_RECLAIM. Return: the folio, unlocked, no flags, no
 * mapping; NULL if frames or descriptor cannot be had, or the order is impossible; then nothing is
 * held.
 */
struct folio *folio_alloc(gfp_t gfp, unsigned int order, enum folio_kind kind);

/* The same, preferring a node. */
struct folio *folio_alloc_node(gfp_t gfp, unsigned int order, enum folio_kind kind, int nid);

/**
 * folio_alloc_at() - a folio at a place
 * @pfn: its first frame, naturally aligned for @order
 * @order: 0 to MAX_FOLIO_ORDER
 * @kind: FOLIO_FILE or FOLIO_ANON
 * @gfp: how hard to try for the descriptor; __GFP_ZERO
 * @at_flags: FRAME_AT_...
 * @err: where the reason goes; 0 on success
 *
 * Return: the folio; NULL with -EBUSY a frame is taken, -EINVAL misaligned or an impossible order,
 * -ENXIO no such frames, -ENOMEM no descriptor. On failure nothing is held.
 */
struct folio *folio_alloc_at(unsigned long pfn, unsigned int order, enum folio_kind kind, gfp_t gfp,
			     unsigned int at_flags, int *err);

/**
 * folio_alloc_bulk() - @n order-0 folios at once
 * @folios: filled from the start
 *
 * Return: how many there are, 0 to @n; fewer than @n is not an error, and nothing else is held.
 */
unsigned long folio_alloc_bulk(gfp_t gfp, enum folio_kind kind, unsigned long n,
			       struct folio **folios);

/**
 * struct folio_set - folios that are charged to one group: their descriptors are in caches of their own
 * @nr: 1 to OCTAVO_FOLIO_SETS - 1; in the descriptor of each folio of it
 * @cache: by class
 */
struct folio_set {
	u32 nr;
	struct kmem_cache *cache[NR_FOLIO_CLASSES];
};

/* A set without folios. Context: sleeps. Return: 0; -ENOMEM; -ENOSPC there are too many. */
int folio_set_init(struct folio_set *set);
/* No folio is of it any more: its number is free, and nobody finds it by it from here on. Any context. */
void folio_set_remove(struct folio_set *set);
/* After that. Context: sleeps. */
void folio_set_destroy(struct folio_set *set);
/* Number of the set that a folio is of; 0: none. */
static inline u32 folio_set_nr(const struct folio *folio)
{
	return (u32)(READ_ONCE(folio->pfn_order_group) >> FOLIO_GROUP_SHIFT);
}
/* Whose is it? Stable with a reference. NULL: no set's. */
struct folio_set *folio_set_of(const struct folio *folio);
struct folio_set *folio_set_find(u32 nr);

/**
 * folio_alloc_set() - folio_alloc_node() for a set
 *
 * The folio has PG_charged: upcalls.reclaim->uncharge is called when its last reference is gone. So the caller has charged
 * it before. Its pieces are of the same set.
 */
struct folio *folio_alloc_set(gfp_t gfp, unsigned int order, enum folio_kind kind, int nid,
			      struct folio_set *set);

/* ---- the count ---- */
#define FOLIO_REF_SATURATED   0xc0000000u /* from 0x80000000 on a count has lost its meaning */
#define GUP_PIN_COUNTING_BIAS 1024u	  /* what a pin of a small folio adds */

static inline unsigned int folio_ref_count(const struct folio *folio)
{
	return READ_ONCE(folio->refcount);
}

/* The count has just become 0, and the caller made it so: free. */
void __folio_put(struct folio *folio);

/*
 * A count that should not have been what it was: @old, to which @delta was added. Without
 * references, or fewer than were dropped: somebody frees, or has freed, what others use; fatal. Out
 * of range: it sticks at FOLIO_REF_SATURATED for ever, the folio is leaked, and that is reported
 * once, when it happens.
 */
__cold void folio_ref_bad(struct folio *folio, u32 old, s64 delta);

/* Another @nr references, for somebody who has one. Fatal if there is none. */
static inline void folio_ref_add(struct folio *folio, u32 nr)
{
	/* relaxed: the caller's own reference already orders everything */
	u32 old = fetch_add_relaxed(&folio->refcount, nr);

	if (unlikely((s32)old <= 0 || (s32)(old + nr) < 0))
		folio_ref_bad(folio, old, nr);
}

static inline void folio_get(struct folio *folio)
{
	folio_ref_add(folio, 1);
}

/* Drop @nr references. Return: true: they were the last, and the caller frees. */
static inline bool __folio_drop(struct folio *folio, u32 nr)
{
	/*
	 * acq_rel: release pairs with the acquire of whoever drops the last reference (it must not
	 * free under a former holder's accesses), acquire is that one.
	 */
	u32 old = fetch_sub_acq_rel(&folio->refcount, nr);

	if (old == nr)
		return true;
	if (unlikely((s32)old <= 0 || old < nr))
		folio_ref_bad(folio, old, -(s64)nr);
	return false;
}

/**
 * folio_put_refs() - drop @nr references; whoever drops the last frees
 *
 * What is freed is what the descriptor says, which after a failed re-read may be another folio than
 * the caller was looking for. Dropping more than there are is fatal. Context: any; never sleeps,
 * never allocates.
 */
static inline void folio_put_refs(struct folio *folio, u32 nr)
{
	if (__folio_drop(folio, nr))
		__folio_put(folio);
}

/**
 * folios_put_refs() - folio_put_refs() of many folios
 * @folios: of any order and kind; one may be there several times
 * @refs: how many references of each; NULL: one
 * @n: how many folios
 *
 * What folio_put_refs() does for each, with the same checks; but those of order 0 are freed together, which costs
 * a fraction. Until it returns, one whose last reference went may be neither live nor free yet.
 *
 * Context: any; never sleeps, never allocates. Takes about 2 KiB of stack.
 */
void folios_put_refs(struct folio *const *folios, const u32 *refs, unsigned long n);

static inline void folio_put(struct folio *folio)
{
	folio_put_refs(folio, 1);
}

/* @add to a count that says that somebody has the folio. @seq_cst: a constant; else acquire. */
static __always_inline bool __folio_try_get(struct folio *folio, u32 add, bool seq_cst)
{
	u32 old = READ_ONCE(folio->refcount);

	if (octavo_fault(OCTAVO_FAULT_TRYGET))
		return false;
	do {
		if ((s32)old <= 0 || unlikely((s32)(old + add) < 0))
			return false;
		/*
		 * acquire: pairs with the release that set the count to 1: fields and words are seen.
		 * seq_cst: that, and what its caller says.
		 */
	} while (seq_cst ? !try_cmpxchg_seq_cst(&folio->refcount, &old, old + add)
			 : !try_cmpxchg_acquire(&folio->refcount, &old, old + add));
	return true;
}

/**
 * folio_try_get_refs() - references out of nothing
 * @folio: any folio descriptor, live or free, inside an RCU read-side section
 * @nr: at least 1
 *
 * Writes nothing when it fails. After success look again at what led to the folio (word, page-table
 * entry, cache slot): it may be another one's by now, and the put that follows may be its last.
 *
 * Return: false if it is free, frozen, not yet published, or its count saturated or about to be.
 */
static inline bool folio_try_get_refs(struct folio *folio, u32 nr)
{
	return __folio_try_get(folio, nr, false);
}

/*
 * The same where somebody decides by reading the count: he has changed what led here (a page-table entry, seq_cst), and then
 * reads the count, seq_cst. We get the reference, and then read that again, seq_cst: one of us sees the other.
 */
static inline bool folio_try_get_refs_seq_cst(struct folio *folio, u32 nr)
{
	return __folio_try_get(folio, nr, true);
}

static inline bool folio_try_get(struct folio *folio)
{
	return folio_try_get_refs(folio, 1);
}

/**
 * folio_ref_freeze() - stop the count, if nobody but the expected holders has a reference
 * @expected: references that the caller can account for
 *
 * Return: true: the count is 0, try_get fails, and the caller alone decides what happens next.
 */
static inline bool folio_ref_freeze(struct folio *folio, u32 expected)
{
	/* acquire: pairs with the release of former holders' puts */
	return !octavo_fault(OCTAVO_FAULT_CAS) &&
	       cmpxchg_acquire(&folio->refcount, expected, 0u) == expected;
}

static inline void folio_ref_unfreeze(struct folio *folio, u32 count)
{
	VM_BUG_ON(folio_ref_count(folio) != 0 || count == 0);
	/* release: pairs with the acquire in folio_try_get(): fields and words are final */
	smp_store_release(&folio->refcount, count);
}

/**
 * folio_get_nontail_page() - a reference for a PFN walker on the folio that starts at @page
 *
 * Context: any; takes the RCU read lock itself. Return: the folio; NULL if @page is in no folio,
 * not its first page, or in transition.
 */
struct folio *folio_get_nontail_page(struct page *page);

/**
 * page_try_get_folio() - a reference for a PFN walker on whatever folio @page is in
 *
 * Reads the word, tries the count, reads the word again. While the reference is held the folio has
 * @page.
 *
 * Context: any; takes the RCU read lock itself; may free an unrelated folio. Return: NULL is always
 * legal.
 */
struct folio *page_try_get_folio(struct page *page);

/* ---- the lock: PG_locked. Its holder, and whoever waits for it, has a reference ---- */

/* Context: any. */
bool folio_trylock(struct folio *folio);
/* Context: may sleep. */
void folio_lock(struct folio *folio);
/* Fatal if it is not locked. Context: any. */
void folio_unlock(struct folio *folio);

static inline bool folio_test_flag(const struct folio *folio, enum folio_flag flag)
{
	return READ_ONCE(folio->flags) & (1u << flag);
}

/* Relaxed, as the next: a flag by itself publishes nothing. */
static inline void folio_set_flag(struct folio *folio, enum folio_flag flag)
{
	fetch_or_relaxed(&folio->flags, 1u << flag);
}

static inline void folio_clear_flag(struct folio *folio, enum folio_flag flag)
{
	fetch_and_relaxed(&folio->flags, ~(1u << flag));
}

static inline bool folio_test_locked(const struct folio *folio)
{
	return folio_test_flag(folio, PG_locked);
}

/* ---- pins and mappings: counters; who calls them comes with address spaces ---- */

/*
 * A descriptor made for a large folio counts pins apart from references, so "pinned?" is exact; a
 * small one adds GUP_PIN_COUNTING_BIAS to its count, so 1024 plain references look like a pin,
 * never the reverse. The class decides, not the order: it is known before there is a reference.
 */

/**
 * folio_try_pin() - references and pins out of nothing
 * @folio: as for folio_try_get_refs(): any descriptor, inside an RCU read-side section
 * @nr: pins
 *
 * Steps 3 and 5 of the look-up in docs/memdesc.md "Look-ups": whoever found the folio through
 * page-table entries re-reads the words and the entries after it, and gives the pins back with
 * folio_unpin() if anything changed.
 *
 * Return: false, with nothing written, in the cases of folio_try_get_refs().
 */
bool folio_try_pin(struct folio *folio, u32 nr);

/* Drop pins and their references. Fatal if there are fewer. Context: as folio_put(). */
void folio_unpin(struct folio *folio, u32 nr);

/**
 * folio_maybe_dma_pinned() - is somebody accessing the pages without a page table?
 * @folio: the caller has a reference
 *
 * Read with seq_cst, so that with the entries cleared before it (seq_cst, or a full barrier
 * between) it cannot miss a pin whose taker saw them still there. Return: false is certain; true
 * may be a pin on its way out, or for class SMALL a thousand plain references.
 */
static inline bool folio_maybe_dma_pinned(const struct folio *folio)
{
	const struct large_folio *lf = folio_large(folio);

	/* seq_cst: pairs with the read-modify-writes in folio_try_pin(), see there. */
	if (lf)
		return smp_load_seq_cst(&lf->pincount) != 0;
	/* A saturated count is a large number: pinned, which is the safe answer. */
	return smp_load_seq_cst(&folio->refcount) >= GUP_PIN_COUNTING_BIAS;
}

static inline int folio_mapcount(const struct folio *folio)
{
	return READ_ONCE(folio->mapcount);
}
static inline bool folio_mapped(const struct folio *folio)
{
	return folio_mapcount(folio) > 0;
}

static inline int folio_entire_mapcount(const struct folio *folio)
{
	const struct large_folio *lf = folio_large(folio);

	return lf ? READ_ONCE(lf->entire_mapcount) : 0;
}

/* ---- split and merge: context may sleep (the descriptors), no lock of the core held ---- */

/**
 * folio_split() - make smaller folios of a large one
 * @folio: locked by the caller (else fatal)
 * @new_order: what every piece has; less than the folio's
 * @extra: references that the caller accounts for besides its own: those of a cache that has one
 *         for each page (page cache, swap cache), so 0 or a multiple of the folio's pages
 * @gfp: for the descriptors, all of which are allocated first
 *
 * Uniform. @folio keeps its descriptor and the first piece. Every other piece is a new folio of the
 * same kind, group and flags; mapping the same with index advanced; swap entry advanced if in the
 * swap cache; exclusivity its part of the old folio's; PG_hwpoison if the set of poisoned pfns has
 * one of its pages. All pieces are locked. Each has one reference that is the caller's, and its
 * share of @extra: @extra / old pages, for each page that it has. The caller finds them through the
 * words: page_folio() of the page after a piece is the next piece.
 *
 * Return: 0; -ENOMEM; -EBUSY: mapped, pinned, somebody else holds a reference, or something hangs
 * on private; -EINVAL: @new_order or @extra. On failure nothing has changed.
 */
int folio_split(struct folio *folio, unsigned int new_order, u32 extra, gfp_t gfp);

/**
 * folio_split_out() - take one piece out of a large folio
 * @folio: as for folio_split(), @extra and @gfp too
 * @page: a page of @folio
 * @new_order: the piece of this order that has @page is split out, and the rest become as few
 *             folios as natural alignment allows (order 9 to 0: ten folios, not 512)
 *
 * Return: as folio_split(); -EINVAL also if @page is not in @folio.
 */
int folio_split_out(struct folio *folio, struct page *page, unsigned int new_order, u32 extra,
		    gfp_t gfp);

/**
 * folio_merge() - make one folio of 2^@order pages out of neighbours
 * @first: the folio at the start of the run; naturally aligned for @order
 * @order: what it becomes
 * @gfp: for the new descriptor
 * @err: where the reason goes; 0 on success
 *
 * Every folio of the run: same kind and group, order below @order, locked, count exactly 1, both
 * the caller's; not mapped, not pinned, private NULL; the same mapping as @first, and its index
 * where that is its place (no mapping: any). The result has @first's mapping and index, count 1, is
 * locked; it is uptodate if all were, and has each other flag that any had, and every page's
 * exclusivity. PG_hwpoison as for a split.
 *
 * Return: the folio (a new descriptor: the old ones are freed); NULL with -EBUSY: a reference,
 * mapping or private too many; -EINVAL: not such a run; -ENOMEM. On failure nothing has changed.
 */
struct folio *folio_merge(struct folio *first, unsigned int order, gfp_t gfp, int *err);

/* ---- subranges and exclusivity ---- */

/**
 * struct folio_subrange - consecutive pages of one folio: the currency of every batch operation
 * @folio: a reference on it is held
 * @first: index of the first page in the folio
 * @nr: pages, never 0
 *
 * Made by folio_subrange() or folio_subrange_init() only, which check.
 */
struct folio_subrange {
	struct folio *folio;
	u32 first;
	u32 nr;
};

/* Return: 0; -EINVAL: @nr is 0 or the run leaves the folio; @sr is not written. */
int folio_subrange_init(struct folio_subrange *sr, struct folio *folio, unsigned long first,
			unsigned long nr);
/* Fatal if it is none: every function that takes one asks again. It can have been made by hand, or be older than a split. */
__noreturn __cold void __folio_subrange_bad(const struct folio *folio, unsigned long first,
					    unsigned long nr);
static __always_inline void __folio_subrange_check(struct folio_subrange sr)
{
	if (unlikely(!sr.nr || (u64)sr.first + sr.nr > folio_nr_pages(sr.folio)))
		__folio_subrange_bad(sr.folio, sr.first, sr.nr);
}
/* folio_subrange_init() where a bad argument is a bug: fatal. */
static inline struct folio_subrange folio_subrange(struct folio *folio, unsigned long first,
						   unsigned long nr)
{
	unsigned long pages = folio_nr_pages(folio);

	if (unlikely(!nr || nr > pages || first > pages - nr))
		__folio_subrange_bad(folio, first, nr);
	return (struct folio_subrange){ .folio = folio, .first = (u32)first, .nr = (u32)nr };
}
/* From a page of the folio on; fatal if it is none. */
struct folio_subrange folio_subrange_page(struct folio *folio, const struct page *page,
					  unsigned long nr);

/*
 * AnonExclusive: one bit a page, or a flag in class SMALL. A page-table entry above the last level
 * uses the bit of the first page that it maps (a subrange of one page); mapping its pages one by
 * one spreads it.
 *
 * Context: the page-table lock that covers the mapping, which no helper can check from its
 * arguments; what they do check, in every build, is that the subrange is one. Words wholly inside
 * the range are plain stores; words shared with a neighbouring range, which after mremap may belong
 * to another page table and lock, are atomic. All relaxed: the look-up reads a bit after its
 * seq_cst re-read of the page-table entry, and the entry is stored with release after the bit was
 * cleared.
 */
void folio_set_anon_exclusive(struct folio_subrange sr);
/* All of the range as its first page: what mapping the pages of a larger entry one by one does. */
void folio_spread_anon_exclusive(struct folio_subrange sr);
/* Fatal if the folio has no page @idx. */
bool folio_test_anon_exclusive(const struct folio *folio, unsigned long idx);
/* How many of the range are exclusive. */
u32 folio_anon_exclusive_count(struct folio_subrange sr);

/* The bits; NULL for class SMALL, which has a flag. */
static inline unsigned long *__folio_excl_bits(const struct folio *folio)
{
	struct large_folio *lf = (struct large_folio *)folio;
	u32 flags = READ_ONCE(folio->flags);

	if (flags >> FOLIO_CLASS_SHIFT == FOLIO_CLASS_SMALL)
		return NULL;
	return flags & (1u << PG_excl_ptr) ? lf->excl_ptr : &lf->excl;
}

/* Those that need more than one word's bits, or some of a word's. @sr is one. */
u32 __folio_anon_exclusive_run(struct folio_subrange sr, bool *exclusive);
void __folio_clear_anon_exclusive(struct folio_subrange sr);

/* Length of the run of pages from sr.first, at most sr.nr, whose bit equals that of sr.first. */
static inline u32 folio_anon_exclusive_run(struct folio_subrange sr, bool *exclusive)
{
	const unsigned long *words = __folio_excl_bits(sr.folio);
	unsigned int bit = sr.first % BITS_PER_LONG;
	unsigned long differ;

	__folio_subrange_check(sr);
	if (!words) {
		*exclusive = folio_test_flag(sr.folio, PG_anon_exclusive);
		return 1;
	}
	if (unlikely(bit + sr.nr > BITS_PER_LONG))
		return __folio_anon_exclusive_run(sr, exclusive);
	differ = READ_ONCE(words[sr.first / BITS_PER_LONG]) >> bit;
	*exclusive = differ & 1;
	/* Look for the first 1 in bits that are 1 where they differ from that of sr.first. */
	differ ^= -(differ & 1);
	return differ ? min((u32)__builtin_ctzl(differ), sr.nr) : sr.nr;
}

/* Of what is known to be a subrange. */
static __always_inline void __folio_clear_anon_exclusive_of(struct folio_subrange sr)
{
	unsigned long *words = __folio_excl_bits(sr.folio);

	if (!words)
		folio_clear_flag(sr.folio, PG_anon_exclusive);
	else if (likely(sr.nr < BITS_PER_LONG && sr.nr == folio_nr_pages(sr.folio)))
		/* The whole folio is wholly inside, and the rest of the word is nobody's. */
		WRITE_ONCE(words[0], 0ul);
	else
		__folio_clear_anon_exclusive(sr);
}

static inline void folio_clear_anon_exclusive(struct folio_subrange sr)
{
	__folio_subrange_check(sr);
	__folio_clear_anon_exclusive_of(sr);
}

/* ---- inspection ---- */

/**
 * folio_validate() - is everything about a folio consistent with everything else?
 *
 * Reads all its words. Context: the caller has a reference and nobody else changes the folio.
 * Return: false if not; each broken invariant was logged.
 */
bool folio_validate(const struct folio *folio);

/* Log a folio. Legal on a descriptor without a reference; then what it says may be old. */
void folio_dump(const struct folio *folio, const char *reason);

/**
 * folio_count_live() - live folios by order
 * @counts: [NR_ORDERS], set
 *
 * Counted by walking the words when asked, so that allocating and freeing pay nothing for it. Exact
 * when quiet, close otherwise. Return: all of them.
 */
u64 folio_count_live(u64 *counts);

#endif /* OCTAVO_FOLIO_H */
