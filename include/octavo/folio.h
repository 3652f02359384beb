/* SPDX-License-Identifier: MIT */
/*
 * folio.h - folios: memory that can be mapped to user space, cached, reclaimed and migrated, of one page or
 * 2^order, with a descriptor of its own.
 *
 * Lifetime: a folio lives while its count is above 0. Its descriptor is type-stable under RCU: a stale pointer to
 * it, inside a read-side section, is still a pointer to some folio, whose count may be tried.
 */
#ifndef OCTAVO_FOLIO_H
#define OCTAVO_FOLIO_H

#include <octavo/atomic.h>
#include <octavo/errno.h>
#include <octavo/page.h>
#include <octavo/plain.h>

/*
 * The descriptor. Who may touch what:
 *   (r) constant while the caller holds a reference (split shrinks order, with the count frozen)
 *   (a) atomic operations, by anybody with a reference
 *   (c) the count protocol below
 *   (l) the folio lock
 * Stable prefix (lives across free and reuse): flags, count.
 */
struct folio {
	u32 flags;	     /* (a) PG_..., and the class of the descriptor */
	u32 refcount;	     /* (c) 0: free, frozen, or not yet published */
	s32 mapcount;	     /* (a) mappings of any of its pages, by any page table; 0: none */
	u32 spare;	     /* swap: generation */
	u64 pfn_order_group; /* (r) pfn 40, order 6, group 18 */
	void *mapping;	     /* (l) */
	unsigned long index; /* (l) */
	union {		     /* (l) */
		void *private;
		u64 swap;
	};
};
BUILD_BUG_ON(sizeof(struct folio) != 48);

/* Order 1 and up. Orders to 6 keep exclusivity in one word, to 9 in eight, beyond behind a pointer. */
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
	PG_anon_exclusive, /* order 0 only; larger folios have a bitmap */
	PG_hwpoison,	   /* a hint: the set of poisoned pfns is the truth */
	PG_owner_1,
	PG_owner_2,
	NR_FOLIO_FLAGS,
	PG_excl_ptr = 27, /* (r) the exclusivity bits are behind large_folio.excl_ptr */
};

/* The top of flags: enum folio_class, constant for as long as the descriptor's memory is one. */
#define FOLIO_CLASS_SHIFT 28
BUILD_BUG_ON(NR_FOLIO_FLAGS > PG_excl_ptr);

enum folio_kind { FOLIO_FILE = MEMDESC_FILE, FOLIO_ANON = MEMDESC_ANON };

/* ---- what a folio is: (r) ---- */
#define FOLIO_PFN_BITS	  40
#define FOLIO_ORDER_SHIFT 40
#define FOLIO_GROUP_SHIFT 46

static inline unsigned long folio_pfn(const struct folio *folio)
{
	return READ_ONCE(folio->pfn_order_group) & ((1ul << FOLIO_PFN_BITS) - 1);
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

static inline struct page *folio_page(const struct folio *folio, unsigned long n)
{
	return pfn_to_page(folio_pfn(folio)) + n;
}

/* There is no head and no tail: the index of a page in its folio is a subtraction. */
static inline unsigned long folio_page_idx(const struct folio *folio, const struct page *page)
{
	return page_to_pfn(page) - folio_pfn(folio);
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
 * @kind: FOLIO_FILE or FOLIO_ANON, for ever
 *
 * Publication: descriptor with count 0, its fields, the words (release), then the count (release).
 *
 * Return: the folio, NULL if frames or descriptor cannot be had; then nothing is held.
 */
struct folio *folio_alloc(gfp_t gfp, unsigned int order, enum folio_kind kind);
struct folio *folio_alloc_node(gfp_t gfp, unsigned int order, enum folio_kind kind, int nid);
/* At a place; NULL with *err -EBUSY, -EINVAL, -ENXIO or -ENOMEM. @at_flags: FRAME_AT_... */
struct folio *folio_alloc_at(unsigned long pfn, unsigned int order, enum folio_kind kind, gfp_t gfp,
			     unsigned int at_flags, int *err);
/* @n order-0 folios at once. Return: how many, from the start of @folios. */
unsigned long folio_alloc_bulk(gfp_t gfp, enum folio_kind kind, unsigned long n,
			       struct folio **folios);

/* ---- the count ---- */
#define FOLIO_REF_SATURATED   0xc0000000u /* from 0x80000000 on a count has lost its meaning */
#define GUP_PIN_COUNTING_BIAS 1024u	  /* what a pin of a small folio adds */

static inline unsigned int folio_ref_count(const struct folio *folio)
{
	return READ_ONCE(folio->refcount);
}

void __folio_put(struct folio *folio); /* the count has just become 0 */
void folio_ref_bad(struct folio *folio, u32 old, const char *what);

/* Another reference, for somebody who has one. */
static inline void folio_ref_add(struct folio *folio, u32 nr)
{
	/* relaxed: the caller's own reference already orders everything */
	u32 old = fetch_add_relaxed(&folio->refcount, nr);

	if (unlikely((s32)old <= 0 || (s32)(old + nr) < 0))
		folio_ref_bad(folio, old, "folio_get");
}

static inline void folio_get(struct folio *folio)
{
	folio_ref_add(folio, 1);
}

/**
 * folio_put_refs() - drop @nr references; whoever drops the last frees
 *
 * Context: any; never sleeps, never allocates.
 */
static inline void folio_put_refs(struct folio *folio, u32 nr)
{
	/*
	 * acq_rel: release pairs with the acquire of whoever drops the last reference (it must not free
	 * under a former holder's accesses), acquire is that one.
	 */
	u32 old = fetch_sub_acq_rel(&folio->refcount, nr);

	if (old == nr)
		__folio_put(folio);
	else if (unlikely((s32)old <= 0 || old < nr))
		folio_ref_bad(folio, old, "folio_put");
}

static inline void folio_put(struct folio *folio)
{
	folio_put_refs(folio, 1);
}

/**
 * folio_try_get_refs() - references out of nothing
 * @folio: any folio descriptor, live or free, inside an RCU read-side section
 *
 * Writes nothing when it fails. After success look again at what led to the folio (word, page-table entry, cache
 * slot): it may be another one's by now, and the put that follows may be its last.
 */
static inline bool folio_try_get_refs(struct folio *folio, u32 nr)
{
	u32 old = READ_ONCE(folio->refcount);

	if (octavo_fault(OCTAVO_FAULT_TRYGET))
		return false;
	do {
		if (old == 0 || unlikely((s32)(old + nr) < 0))
			return false;
		/* acquire: pairs with the release that set the count to 1: fields and words are seen */
	} while (!try_cmpxchg_acquire(&folio->refcount, &old, old + nr));
	return true;
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
 * Return: the folio; NULL if @page is in no folio, not its first page, or in transition.
 */
struct folio *folio_get_nontail_page(struct page *page);

/**
 * page_try_get_folio() - a reference for a PFN walker on whatever folio @page is in
 *
 * Reads the word, tries the count, reads the word again. Return: NULL is always legal.
 */
struct folio *page_try_get_folio(struct page *page);

/* ---- the lock ---- */
bool folio_trylock(struct folio *folio);
/* May sleep. */
void folio_lock(struct folio *folio);
void folio_unlock(struct folio *folio);

static inline bool folio_test_flag(const struct folio *folio, enum folio_flag flag)
{
	return READ_ONCE(folio->flags) & (1u << flag);
}
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
 * A large folio counts pins apart from references, so "pinned?" is exact; a small one adds
 * GUP_PIN_COUNTING_BIAS to its count, so 1024 plain references look like a pin, never the reverse.
 */
bool folio_try_pin(struct folio *folio, u32 nr);
void folio_unpin(struct folio *folio, u32 nr);
bool folio_maybe_dma_pinned(const struct folio *folio);

static inline int folio_mapcount(const struct folio *folio)
{
	return READ_ONCE(folio->mapcount);
}
static inline bool folio_mapped(const struct folio *folio)
{
	return folio_mapcount(folio) > 0;
}

/* ---- split and merge ---- */

/**
 * folio_split() - make smaller folios of a large one
 * @folio: locked, not mapped, the caller's reference its only one besides @extra
 * @new_order: what every piece has; less than the folio's
 * @extra: references that the caller accounts for besides its own (page cache, swap cache)
 *
 * Uniform. The folio keeps its descriptor and the first piece; every other piece is a new folio of the same
 * kind, mapping (index advanced), flags and group, locked, with 1 + @extra / pages * pieces references.
 * All descriptors are allocated first.
 *
 * Return: 0; -ENOMEM; -EBUSY (somebody else has a reference, or a pin); -EINVAL. On failure nothing has
 * changed.
 */
int folio_split(struct folio *folio, unsigned int new_order, u32 extra, gfp_t gfp);

/**
 * folio_split_out() - take one piece out of a large folio
 * @page: a page of @folio; the piece of @new_order that has it is split out, and the rest become as few
 *        folios as natural alignment allows (order 9 to 0: ten folios, not 512)
 */
int folio_split_out(struct folio *folio, struct page *page, unsigned int new_order, u32 extra,
		    gfp_t gfp);

/**
 * folio_merge() - make one folio of 2^@order pages out of neighbours
 * @first: the folio at the start of the run; naturally aligned for @order
 * @order: what it becomes
 *
 * Every folio of the run: same kind, locked, unmapped, order below @order, count exactly 1, the caller's,
 * private NULL. The result has @first's mapping and index, count 1, locked.
 *
 * Return: the folio (a new descriptor: the old ones are freed); NULL with *err -EBUSY, -EINVAL or -ENOMEM, and nothing
 * has changed.
 */
struct folio *folio_merge(struct folio *first, unsigned int order, gfp_t gfp, int *err);

/* ---- subranges and exclusivity ---- */

/**
 * struct folio_subrange - some consecutive pages of one folio: the currency of every batch operation
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

/* 0, or -EINVAL: @nr is 0 or the run leaves the folio. */
int folio_subrange_init(struct folio_subrange *sr, struct folio *folio, unsigned long first,
			unsigned long nr);
/* The same where a bad argument is a bug: fatal. */
struct folio_subrange folio_subrange(struct folio *folio, unsigned long first, unsigned long nr);
struct folio_subrange folio_subrange_page(struct folio *folio, const struct page *page,
					  unsigned long nr);

/*
 * AnonExclusive: one bit a page (orders 1 and up) or a flag (order 0). Context: the page-table lock
 * that covers the mapping. Words wholly inside the range are plain stores; words shared with a
 * neighbouring range, which after mremap may belong to another page table and lock, are atomic.
 */
void folio_set_anon_exclusive(struct folio_subrange sr);
void folio_clear_anon_exclusive(struct folio_subrange sr);
bool folio_test_anon_exclusive(const struct folio *folio, unsigned long idx);
/* Length of the run of pages from sr.first, at most sr.nr, whose bit equals that of sr.first. */
u32 folio_anon_exclusive_run(struct folio_subrange sr, bool *exclusive);
/* How many of the range are exclusive. */
u32 folio_anon_exclusive_count(struct folio_subrange sr);

/* ---- inspection ---- */
bool folio_validate(const struct folio *folio);
void folio_dump(const struct folio *folio, const char *reason);

#endif /* OCTAVO_FOLIO_H */
