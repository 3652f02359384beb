// SPDX-License-Identifier: MIT
/*
 * folio.c - the life of a folio: allocation, publication, references, pins, the lock, freeing.
 *
 * 1. A folio is frames plus a descriptor, from two allocators. Every page's word names the
 *    descriptor; the descriptor says which frames. Nothing else connects them.
 *
 * 2. Publication. Frames and descriptor are had (count 0) -> fields -> words, release -> count 1,
 *    release. A reader that finds the word early cannot get a reference; one that gets a reference
 *    sees all fields and all words. (With the count set before the words, a reader that came
 *    through page 0 would find page 1 not in the folio yet.)
 *
 * 3. Freeing. Count to 0 -> release hook -> words FREE -> frames to their allocator -> descriptor
 *    to its cache. No word is stored after its frame is handed over (it would be the next owner's),
 *    and no word names the descriptor when its cache gets it (it would be a reference to somebody
 *    else's folio, that every re-read confirms). Whoever drops the last reference reads what it
 *    needs from the descriptor before it lets it go.
 *
 * 4. Speculation. The word of a frame may be read by anybody at any time, and may name a descriptor
 *    that is free or has another life by the time it is dereferenced. So descriptors are
 *    type-stable under RCU; at rest their count is 0; nothing but puts, freezing and publication
 *    ever stores the count; a failed try_get has written nothing; and after a successful one the
 *    word is read again. The put after a failed re-read can be the last one of a folio that the
 *    reader never heard of: it frees what the descriptor says.
 *
 * 5. The class of a descriptor (which struct it is) is in the stable prefix and constant, because a
 *    reader wants to know whether there is a pincount before it has a reference, and because
 *    freeing must find the right cache after a split has shrunk the order. It could be had from the
 *    slab that the descriptor is in, but that is two more dependent loads on the way of every free;
 *    here it comes with the line that the count is in.
 *
 * Invariants: folio_validate(). What this file does not do: mappings and reverse maps, the page
 * cache, charging. It does not remember anything of a folio that was freed, and keeps no list of
 * folios: folio_count_live() walks words.
 */
#include <octavo/frame.h>
#include <octavo/rcu.h>
#include <octavo/slab.h>
#include <octavo/string.h>

#include "folio_desc.h"
#include "slab_priv.h"

/* ---- descriptors ---- */

/* With room for the exclusivity bits of a large folio. */
static __noinline struct folio *large_desc_alloc(struct kmem_cache *s, gfp_t gfp,
						 unsigned int order)
{
	struct huge_folio *hf = likely(s) ? kmem_cache_alloc(s, desc_gfp(gfp)) : NULL;
	struct large_folio *lf = (struct large_folio *)hf;

	if (unlikely(!hf))
		return NULL;
	if (folio_class_for(order) == FOLIO_CLASS_HUGE) {
		memset(hf->excl, 0, sizeof(hf->excl));
	} else if (order <= FOLIO_INLINE_ORDER) {
		lf->excl = 0;
	} else {
		lf->excl_ptr = kzalloc((1ul << order) / 8, desc_gfp(gfp));
		if (!lf->excl_ptr) {
			kmem_cache_free(s, lf);
			return NULL;
		}
		folio_set_flag(&lf->folio, PG_excl_ptr);
	}
	return &lf->folio;
}

static __always_inline struct folio *desc_get(gfp_t gfp, unsigned int order)
{
	struct folio *folio;

	if (order)
		folio = large_desc_alloc(
			desc_cache(&octavo_state.desc.folio[folio_class_for(order)], gfp), gfp,
			order);
	else
		folio = desc_alloc(&octavo_state.desc.folio[FOLIO_CLASS_SMALL], gfp);
	VM_BUG_ON(folio && folio_ref_count(folio) != 0);
	VM_BUG_ON(folio && folio_class(folio) != folio_class_for(order));
	return folio;
}

struct folio *folio_desc_alloc(gfp_t gfp, unsigned int order)
{
	return desc_get(gfp, order);
}

struct folio *folio_desc_alloc_from(struct kmem_cache *s, gfp_t gfp, unsigned int order)
{
	return order ? large_desc_alloc(s, gfp, order) : kmem_cache_alloc(s, desc_gfp(gfp));
}

struct folio *folio_desc_alloc_like(const struct folio *folio, gfp_t gfp, unsigned int order)
{
	struct folio_set *set = folio_set_of(folio);

	return set ? folio_desc_alloc_from(set->cache[folio_class_for(order)], gfp, order)
		   : desc_get(gfp, order);
}

/* @flags: the folio's, read before its frames went. */
static __always_inline void desc_retire(struct folio *folio, u32 flags)
{
	if (unlikely(flags & (1u << PG_excl_ptr)))
		kfree(((struct large_folio *)folio)->excl_ptr);
	/* Relaxed: the count is 0, and flags without a reference mean nothing but the class. */
	WRITE_ONCE(folio->flags, flags & FOLIO_CLASS_MASK);
	if (unlikely(flags & 1u << PG_charged))
		kmem_cache_free(slab_cache_of(folio), folio);
	else
		kmem_cache_free(READ_SETTLED(octavo_state.desc.folio[flags >> FOLIO_CLASS_SHIFT]),
				folio);
}

void folio_desc_free(struct folio *folio)
{
	/* it has nothing yet that would say whose it is */
	desc_retire(folio, READ_ONCE(folio->flags) | 1u << PG_charged);
}

/* ---- allocation ---- */

static inline void check_kind(enum folio_kind kind)
{
	if (unlikely(!folio_kind_ok(kind)))
		octavo_panic("folio_alloc: %u is not a kind of folio", (unsigned int)kind);
}

/* From here on nothing can fail: descriptor and frames are the caller's, and become a folio. */
static __always_inline struct folio *folio_make(struct folio *folio, unsigned long pfn,
						unsigned int order, enum folio_kind kind, gfp_t gfp,
						u32 set)
{
	VM_BUG_ON(memdesc_type(page_memdesc(pfn_to_page(pfn))) != MEMDESC_FREE);
	if (gfp & __GFP_ZERO)
		memset(pfn_to_virt(pfn), 0, PAGE_SIZE << order);
	folio_desc_init(folio, pfn, order);
	if (set) {
		folio->pfn_order_group |= (u64)set << FOLIO_GROUP_SHIFT;
		/* relaxed: published by the count */
		folio_set_flag(folio, PG_charged);
	}
	folio_words_store(pfn_to_page(pfn), order, memdesc_pointer((enum memdesc_type)kind, folio));
	/* release: pairs with the acquire of try_get: whoever gets a reference sees fields and words */
	smp_store_release(&folio->refcount, 1u);
	return folio;
}

/* @set: NULL, a constant: none. */
static __always_inline struct folio *alloc_one(gfp_t gfp, unsigned int order, enum folio_kind kind,
					       int nid, struct folio_set *set)
{
	struct folio *folio;
	long pfn;

	check_kind(kind);
	pfn = frame_alloc(gfp, order, nid);
	if (unlikely(pfn < 0))
		return NULL;
	folio = set ? folio_desc_alloc_from(set->cache[folio_class_for(order)], gfp, order)
		    : desc_get(gfp, order);
	if (unlikely(!folio)) {
		frame_free((unsigned long)pfn, order);
		return NULL;
	}
	return folio_make(folio, (unsigned long)pfn, order, kind, gfp, set ? set->nr : 0);
}

struct folio *folio_alloc_node(gfp_t gfp, unsigned int order, enum folio_kind kind, int nid)
{
	return alloc_one(gfp, order, kind, nid, NULL);
}

struct folio *folio_alloc_set(gfp_t gfp, unsigned int order, enum folio_kind kind, int nid,
			      struct folio_set *set)
{
	return alloc_one(gfp, order, kind, nid, set);
}

struct folio *folio_alloc(gfp_t gfp, unsigned int order, enum folio_kind kind)
{
	return folio_alloc_node(gfp, order, kind, NUMA_NO_NODE);
}

struct folio *folio_alloc_at(unsigned long pfn, unsigned int order, enum folio_kind kind, gfp_t gfp,
			     unsigned int at_flags, int *err)
{
	struct folio *folio;

	check_kind(kind);
	*err = order > MAX_FOLIO_ORDER ? -EINVAL : frame_alloc_at(pfn, order, at_flags);
	if (*err)
		return NULL;
	folio = folio_desc_alloc(gfp, order);
	if (!folio) {
		frame_free(pfn, order);
		*err = -ENOMEM;
		return NULL;
	}
	return folio_make(folio, pfn, order, kind, gfp, 0);
}

enum { FOLIO_BULK = 64 };

/* Up to FOLIO_BULK at once. */
static unsigned long alloc_batch(gfp_t gfp, enum folio_kind kind, unsigned long want,
				 struct folio **folios)
{
	struct kmem_cache *cache = desc_cache(&octavo_state.desc.folio[FOLIO_CLASS_SMALL], gfp);
	unsigned long pfns[FOLIO_BULK], n, got = 0;
	void *descs[FOLIO_BULK];

	if (!cache)
		return 0;

	n = frame_alloc_bulk(gfp, 0, NUMA_NO_NODE, want, pfns);
	if (!n)
		return 0;
	/* All or none; if none, as many as there are. */
	if (!kmem_cache_alloc_bulk(cache, desc_gfp(gfp), (u32)n, descs)) {
		got = n;
	} else {
		while (got < n && (descs[got] = folio_desc_alloc(gfp, 0)))
			got++;
	}
	for (unsigned long i = 0; i < got; i++)
		folios[i] = folio_make(descs[i], pfns[i], 0, kind, gfp, 0);
	if (got < n)
		frame_free_bulk(0, n - got, pfns + got);
	return got;
}

unsigned long folio_alloc_bulk(gfp_t gfp, enum folio_kind kind, unsigned long n,
			       struct folio **folios)
{
	unsigned long done = 0;

	check_kind(kind);
	while (done < n) {
		unsigned long want = min(n - done, (unsigned long)FOLIO_BULK);
		unsigned long got = alloc_batch(gfp, kind, want, folios + done);

		done += got;
		if (got < want)
			break;
	}
	return done;
}

/* ---- freeing ---- */

/*
 * Freeing frames that somebody can still reach corrupts memory sooner or later: loud now, in every build.
 */
static __noreturn __cold void folio_free_bad(const struct folio *folio)
{
	const struct large_folio *lf = folio_large(folio);

	if (READ_ONCE(folio->mapcount))
		folio_bad(folio, "freed while mapped");
	if (READ_ONCE(folio->flags) & FLAGS_NOT_AT_FREE)
		folio_bad(folio, "freed while locked or under writeback");
	if (lf && (READ_ONCE(lf->pincount) || READ_ONCE(lf->entire_mapcount)))
		folio_bad(folio, "freed while pinned or mapped");
	folio_bad(folio, "freed, but its first page's word does not name it");
}

static __always_inline bool may_free(const struct folio *folio, u32 flags, memdesc_t md)
{
	const struct large_folio *lf = (const struct large_folio *)folio;

	if (READ_ONCE(folio->mapcount) || (flags & FLAGS_NOT_AT_FREE))
		return false;
	if (flags >> FOLIO_CLASS_SHIFT != FOLIO_CLASS_SMALL &&
	    (READ_ONCE(lf->pincount) | (u32)READ_ONCE(lf->entire_mapcount)))
		return false;
	return memdesc_is_folio(md) && memdesc_ptr(md) == folio;
}

/* @md: of its first page. Return: its flags. */
static __always_inline u32 check_free(const struct folio *folio, memdesc_t md)
{
	u32 flags = READ_ONCE(folio->flags);

	if (unlikely(!may_free(folio, flags, md)))
		folio_free_bad(folio);
	return flags;
}

#define FLAGS_TOLD_AT_FREE (1u << PG_zone_device | 1u << PG_charged)

static __always_inline void folio_free_frames(struct folio *folio, u32 flags)
{
	const struct octavo_hooks *hooks = octavo_state.hooks;
	unsigned int order = folio_order(folio);
	unsigned long pfn = folio_pfn(folio);

	if (hooks && hooks->folio_release)
		hooks->folio_release(folio);
	folio_words_store(pfn_to_page(pfn), order, memdesc_mk(0));
	frame_free(pfn, order);
	desc_retire(folio, flags);
}

/* Somebody above is told: the charge is the last thing to go, because with it a set's caches may. */
static __noinline void folio_free_told(struct folio *folio, u32 flags)
{
	/* acquire: pair with the release of who registered them: before any folio could have the flag */
	const struct reclaim_upcalls *reclaim = smp_load_acquire(&octavo_state.upcalls.reclaim);
	const struct device_upcalls *device = smp_load_acquire(&octavo_state.upcalls.device);
	u32 set = folio_set_nr(folio);
	unsigned long nr = folio_nr_pages(folio);

	if (flags & 1u << PG_zone_device)
		device->folio_free(folio);
	else
		folio_free_frames(folio, flags);
	if (flags & 1u << PG_charged)
		reclaim->uncharge(set, nr);
}

void __folio_put(struct folio *folio)
{
	u32 flags = check_free(folio, page_memdesc_relaxed(folio_page(folio, 0)));

	if (unlikely(flags & FLAGS_TOLD_AT_FREE))
		folio_free_told(folio, flags);
	else
		folio_free_frames(folio, flags);
}

/*
 * Up to FOLIO_BULK folios of class SMALL, so of order 0, of one set or (0) none, whose counts have just become 0. What the set is charged for
 * keeps it, so it is there until the caller has said that they are gone.
 */
static void free_together(void **dead, unsigned long n, u32 set)
{
	struct kmem_cache **cache =
		unlikely(set) ? folio_set_find(set)->cache : octavo_state.desc.folio;
	const struct octavo_hooks *hooks = octavo_state.hooks;
	unsigned long pfns[FOLIO_BULK];

	for (unsigned long i = 0; i < n; i++) {
		struct folio *folio = dead[i];
		unsigned long pfn = folio_pfn(folio);
		u32 flags = check_free(folio, page_memdesc_relaxed(pfn_to_page(pfn)));

		if (hooks && hooks->folio_release)
			hooks->folio_release(folio);
		folio_words_store(pfn_to_page(pfn), 0, memdesc_mk(0));
		/* relaxed: as in desc_retire() */
		WRITE_ONCE(folio->flags, flags & FOLIO_CLASS_MASK);
		pfns[i] = pfn;
	}
	frame_free_bulk(0, n, pfns);
	kmem_cache_free_bulk(READ_SETTLED(cache[FOLIO_CLASS_SMALL]), (u32)n, dead);
}

static void free_small(void **dead, unsigned long n, u32 set)
{
	/* fewer go to the magazine, where the next allocation looks; more go to their trees together */
	if (n >= FRAME_BULK) {
		free_together(dead, n, set);
		return;
	}
	for (unsigned long i = 0; i < n; i++) {
		struct folio *folio = dead[i];
		memdesc_t md = page_memdesc_relaxed(folio_page(folio, 0));

		folio_free_frames(folio, check_free(folio, md));
	}
}

/* Told of, and for no other reason than that it is charged. */
static inline bool freed_with_set(u32 flags)
{
	return (flags & FLAGS_TOLD_AT_FREE) == 1u << PG_charged;
}

/* Return: its pages. */
static __noinline unsigned long free_large(struct folio *folio)
{
	unsigned long nr = folio_nr_pages(folio);
	memdesc_t md = page_memdesc_relaxed(folio_page(folio, 0));

	folio_free_frames(folio, check_free(folio, md));
	return nr;
}

/*
 * The first folio's count has just become 0, and it is of a set: it is freed together with those of the same set that follow it, and the
 * set hears of all of them at once. Return: how many were put, the first among them.
 */
static __noinline unsigned long put_of_set(struct folio *const *folios, const u32 *refs,
					   unsigned long n)
{
	const u32 set = folio_set_nr(folios[0]);
	unsigned long nr = 0, large = 0, i;
	void *dead[FOLIO_BULK];

	if (folio_class(folios[0]) == FOLIO_CLASS_SMALL)
		dead[nr++] = folios[0];
	else
		large = free_large(folios[0]);
	n = min(n, (unsigned long)FOLIO_BULK);
	for (i = 1; i < n; i++) {
		struct folio *folio = folios[i];
		/* while there is our reference none of this changes */
		u32 flags = READ_ONCE(folio->flags);

		if (folio_set_nr(folio) != set)
			break;
		if (likely((flags & (FLAGS_TOLD_AT_FREE | FOLIO_CLASS_MASK)) == 1u << PG_charged)) {
			if (__folio_drop(folio, refs ? refs[i] : 1))
				dead[nr++] = folio;
			continue;
		}
		if (!freed_with_set(flags))
			break;
		if (__folio_drop(folio, refs ? refs[i] : 1))
			large += free_large(folio);
	}
	free_small(dead, nr, set);
	/* acquire: as in folio_free_told(). Last, as there: until then what they are charged for keeps the set */
	smp_load_acquire(&octavo_state.upcalls.reclaim)->uncharge(set, nr + large);
	return i;
}

void folios_put_refs(struct folio *const *folios, const u32 *refs, unsigned long n)
{
	void *dead[FOLIO_BULK];
	unsigned long nr = 0;

	for (unsigned long i = 0; i < n; i++) {
		struct folio *folio = folios[i];
		u32 flags;

		if (!__folio_drop(folio, refs ? refs[i] : 1))
			continue;
		flags = READ_ONCE(folio->flags);
		if (unlikely(flags & (FOLIO_CLASS_MASK | FLAGS_TOLD_AT_FREE))) {
			if (freed_with_set(flags))
				i += put_of_set(folios + i, refs ? refs + i : NULL, n - i) - 1;
			else
				__folio_put(folio);
			continue;
		}
		dead[nr++] = folio;
		if (nr == FOLIO_BULK) {
			free_small(dead, nr, 0);
			nr = 0;
		}
	}
	if (nr)
		free_small(dead, nr, 0);
}

/* ---- the count ---- */

void folio_ref_bad(struct folio *folio, u32 old, s64 delta)
{
	if ((s32)old >= 0 && (old == 0 || delta < 0)) {
		folio_dump(folio, "reference count");
		octavo_panic("folio %p, pfn 0x%lx: %s of %ld references with a count of %u",
			     (void *)folio, folio_place(folio),
			     delta < 0 ? "folio_put()" : "folio_get()",
			     (long)(delta < 0 ? -delta : delta), old);
	}
	/*
	 * Relaxed, and racing with others who do the same: far enough from both ends of the range
	 * that no number of operations between two of these stores leaves it.
	 */
	WRITE_ONCE(folio->refcount, FOLIO_REF_SATURATED);
	/* Only one add takes it over the edge. */
	if ((s32)old > 0)
		pr_warn("folio %p, pfn 0x%lx: reference count saturated, the folio is leaked",
			(void *)folio, folio_place(folio));
}

struct folio *page_try_get_folio(struct page *page)
{
	struct folio *folio = NULL;
	memdesc_t md;

	rcu_read_lock();
	md = page_memdesc(page);
	if (memdesc_is_folio(md)) {
		folio = memdesc_ptr(md);
		if (!folio_try_get(folio)) {
			folio = NULL;
		} else if (!memdesc_eq(page_memdesc_relaxed(page), md)) {
			/*
			 * Relaxed is enough: the acquire of the try_get saw the count's release,
			 * which came after the words of this life of the descriptor.
			 */
			folio_put(folio);
			folio = NULL;
		}
	}
	rcu_read_unlock();
	VM_BUG_ON(folio && folio_page_idx(folio, page) >= folio_nr_pages(folio));
	return folio;
}

struct folio *folio_get_nontail_page(struct page *page)
{
	struct folio *folio = page_try_get_folio(page);

	if (folio && folio_page(folio, 0) != page) {
		folio_put(folio);
		folio = NULL;
	}
	return folio;
}

/* ---- pins ---- */

/* The most pins that do not overflow the count of a small folio. */
#define FOLIO_MAX_PINS ((1u << 31) / GUP_PIN_COUNTING_BIAS - 1)

static bool try_pin_small(struct folio *folio, u32 nr)
{
	/* seq_cst: pairs with the seq_cst load in folio_maybe_dma_pinned(), as pincount's below */
	if (nr > FOLIO_MAX_PINS)
		return false;
	return __folio_try_get(folio, nr * GUP_PIN_COUNTING_BIAS, true);
}

bool folio_try_pin(struct folio *folio, u32 nr)
{
	struct large_folio *lf = folio_large(folio);

	VM_BUG_ON(nr == 0);
	if (!lf)
		return try_pin_small(folio, nr);
	if (nr > FOLIO_MAX_PINS || !folio_try_get_refs_seq_cst(folio, nr))
		return false;
	/*
	 * seq_cst: pairs with the seq_cst load in folio_maybe_dma_pinned(). We: pin, then read the
	 * page-table entry; the unmapper: clear the entry, then read pins. All four seq_cst, or
	 * both could miss the other and the page be shared and written to by a device at once.
	 */
	fetch_add_seq_cst(&lf->pincount, nr);
	return true;
}

void folio_unpin(struct folio *folio, u32 nr)
{
	struct large_folio *lf = folio_large(folio);

	if (lf) {
		/*
		 * release: pairs with the (seq_cst, so acquire) load in folio_maybe_dma_pinned():
		 * who sees no pin sees what was written through it.
		 */
		u32 old = fetch_sub_release(&lf->pincount, nr);

		if (unlikely(old < nr))
			folio_bad(folio, "unpinned more often than pinned");
		folio_put_refs(folio, nr);
	} else {
		if (unlikely(nr > FOLIO_MAX_PINS))
			folio_bad(folio, "unpinned more often than pinned");
		folio_put_refs(folio, nr * GUP_PIN_COUNTING_BIAS);
	}
}

/* ---- the lock ---- */

#define LOCKED	(1u << PG_locked)
#define WAITERS (1u << PG_waiters)

bool folio_trylock(struct folio *folio)
{
	VM_BUG_ON(folio_ref_count(folio) == 0);
	if ((READ_ONCE(folio->flags) & LOCKED) || octavo_fault(OCTAVO_FAULT_TRYLOCK))
		return false;
	/* acquire: pairs with the release in folio_unlock(): what the last holder wrote is seen */
	return !(fetch_or_acquire(&folio->flags, LOCKED) & LOCKED);
}

/*
 * Whoever has parked takes the lock together with PG_waiters: others may be parked, and the unlock
 * that woke us has cleared the bit. One wake too many is harmless, one too few is a hang.
 */
static void folio_lock_slow(struct folio *folio)
{
	u32 waiters = 0;

	for (;;) {
		u32 old = READ_ONCE(folio->flags);

		if (!(old & LOCKED)) {
			/* acquire: as in folio_trylock() */
			if (try_cmpxchg_acquire(&folio->flags, &old, old | LOCKED | waiters))
				return;
			continue;
		}
		/* relaxed: it orders nothing; park compares the value again against the unlock */
		if (!(old & WAITERS) && !try_cmpxchg_relaxed(&folio->flags, &old, old | WAITERS))
			continue;
		waiters = WAITERS;
		octavo_port_park(&folio->flags, old | WAITERS);
	}
}

void folio_lock(struct folio *folio)
{
	if (folio_trylock(folio))
		return;
	for (unsigned int turn = 0; turn < (OCTAVO_SPIN_TURNS + 1) / 2; turn++) {
		octavo_port_relax();
		if (!(READ_ONCE(folio->flags) & LOCKED) && folio_trylock(folio))
			return;
	}
	folio_lock_slow(folio);
}

void folio_unlock(struct folio *folio)
{
	/* release: pairs with the acquire of the next holder */
	u32 old = fetch_and_release(&folio->flags, ~(LOCKED | WAITERS));

	if (unlikely(!(old & LOCKED)))
		folio_bad(folio, "unlocked, but was not locked");
	/* The caller's reference keeps the descriptor a live folio's until here. */
	if (unlikely(old & WAITERS))
		octavo_port_unpark(&folio->flags, false);
}
