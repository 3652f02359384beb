// SPDX-License-Identifier: MIT
/*
 * folio_split.c - one folio into several, several into one, in place: no page is copied, only words
 * change.
 *
 * 1. Everything that can fail comes first. All descriptors are allocated, with no lock held; then
 *    the folio is frozen (compare-and-swap of the expected count to 0), and what was only looked at
 *    before is decided on: mapped, pinned, private. From there on nothing can fail. Before,
 *    everything can be given back.
 *
 * 2. The order that look-ups rely on (docs/memdesc.md "Split and merge"):
 *      freeze (acquire)  -> new folios, count 0, with all fields, exclusivity and poison flag
 *                        -> words (release) -> unfreeze all (release), after the last word. A
 *    look-up that read an old word finds the count 0 and fails; or gets a reference after the
 *    unfreeze, with acquire, and then sees the new word when it reads it again. It is that second
 *    reading which stops it: page-table entries can come back with their old value.
 *
 * 3. The folio that is split keeps its descriptor, for the piece at its start, because holders
 *    point at it; so does its class, until it is freed. Its pages' words do not change. All other
 *    pieces are new descriptors. In a merge no old descriptor can be kept: its class may be too
 *    small. Holders beyond the caller cannot be, the count being 1.
 *
 * 4. Waiting descriptors are chained through their own mapping field, so a split of 2^18 pages into
 *    single ones needs no array. That field is not in the stable prefix: no stale reader looks at
 *    it.
 *
 * 5. Poison. PG_hwpoison is set by somebody who has a reference, so after the freeze it is final;
 *    it is a hint for the whole folio, and the set of poisoned frames says which page. Each piece
 *    keeps the flag if it has such a page. No word becomes HWPOISON here: the page is still in a
 *    live folio, and page->folio must not break.
 *
 * What this file does not do: unmap (a mapped folio is -EBUSY), or tell the page cache and swap
 * cache, whose owner passes the references that they hold as @extra and updates them while all
 * pieces are locked.
 */
#include <octavo/hwpoison.h>
#include <octavo/rcu.h>

#include "folio_desc.h"

/* ---- where the cuts are ---- */

#define NO_TARGET (~0ul)

/* Offsets are in pages from the start of the folio. */
struct cut {
	unsigned int order;	/* of the folio */
	unsigned int new_order; /* of all pieces, or of the one with the target */
	unsigned long target;	/* a page, or NO_TARGET: uniform */
};

/*
 * Order of the piece that starts at @at. With a target: the largest naturally aligned block that
 * does not have it; left to right that gives the buddies on the way down to it.
 */
static unsigned int cut_order(const struct cut *cut, unsigned long at)
{
	unsigned int order;

	if (cut->target == NO_TARGET)
		return cut->new_order;
	order = at ? (unsigned int)__builtin_ctzl(at) : cut->order - 1;
	while (order > cut->new_order && cut->target - at < 1ul << order)
		order--;
	return order;
}

/* ---- descriptors that wait, in the order of their pieces ---- */

struct waiting {
	struct folio *first, *last;
};

static void waiting_add(struct waiting *wait, struct folio *folio)
{
	folio->mapping = NULL;
	if (wait->last)
		wait->last->mapping = folio;
	else
		wait->first = folio;
	wait->last = folio;
}

static struct folio *waiting_take(struct waiting *wait)
{
	struct folio *folio = wait->first;

	wait->first = folio->mapping;
	return folio;
}

static void waiting_free(struct waiting *wait)
{
	while (wait->first)
		folio_desc_free(waiting_take(wait));
}

/* One for each piece but the first. */
static int waiting_alloc(struct waiting *wait, const struct cut *cut, const struct folio *whole,
			 gfp_t gfp)
{
	unsigned long at = 1ul << cut_order(cut, 0);

	*wait = (struct waiting){ NULL, NULL };
	while (at < 1ul << cut->order) {
		unsigned int order = cut_order(cut, at);
		struct folio *folio = folio_desc_alloc_like(whole, gfp, order);

		if (!folio) {
			waiting_free(wait);
			return -ENOMEM;
		}
		waiting_add(wait, folio);
		at += 1ul << order;
	}
	return 0;
}

/* ---- what split and merge ask of a folio ---- */

/* The folio of a page that is known to have one: it is frozen, and the caller froze it. */
static struct folio *folio_at(const struct page *page)
{
	return memdesc_ptr(page_memdesc(page));
}

/*
 * Something besides references keeps it as it is. Final once it is frozen: mapping, pinning, and
 * private's owner each have a reference, or need one first. A device's driver is told of each piece.
 */
static bool folio_busy(const struct folio *folio)
{
	const struct large_folio *lf = folio_large(folio);

	return READ_ONCE(folio->mapcount) || folio_test_flag(folio, PG_writeback) ||
	       (folio->private && !folio_test_flag(folio, PG_swapcache) &&
		!folio_test_flag(folio, PG_zone_device)) ||
	       (lf && READ_ONCE(lf->pincount));
}

/* The set is of frames: what is not in the memory map has none, and its place is beyond all of them. */
static u32 poison_flag(unsigned long place, unsigned long nr)
{
	return pfn_poisoned_in(place, nr) != ~0ul ? 1u << PG_hwpoison : 0;
}

/* The flags that a folio passes on as they are. */
#define FLAGS_NOT_COPIED (1u << PG_waiters | 1u << PG_anon_exclusive | 1u << PG_hwpoison)
#define FLAGS_COPIED	 (FOLIO_FLAGS_MASK & ~FLAGS_NOT_COPIED)

/* ---- split ---- */

/* A new folio of what is in @old from @at on; @old is frozen, @new has count 0. */
static void piece_init(struct folio *new, const struct folio *old, unsigned long at,
		       unsigned int order)
{
	unsigned long place = folio_place(old) + at;
	u32 old_flags = READ_ONCE(old->flags), flags = old_flags & FLAGS_COPIED;

	folio_desc_init(new, place, order);
	new->pfn_order_group |= old->pfn_order_group &FOLIO_GROUP_MASK;
	new->gen = old->gen;
	new->mapping = old->mapping;
	new->index = old->index + at;
	if (old_flags & (1u << PG_swapcache))
		new->swap = old->swap + at;
	if (old_flags & (1u << PG_hwpoison))
		flags |= poison_flag(place, 1ul << order);
	/* Relaxed: published by the count. */
	WRITE_ONCE(new->flags, READ_ONCE(new->flags) | flags);
	folio_excl_copy(new, 0, old, at, 1ul << order);
}

/* What stays in the old descriptor is its first 2^@order pages. Frozen. */
static void piece_keep(struct folio *folio, unsigned int order)
{
	unsigned long nr = 1ul << order, old_nr = folio_nr_pages(folio);
	unsigned long *bits = __folio_excl_bits(folio);

	for (unsigned long i = folio_excl_words(nr); i < folio_excl_words(old_nr); i++)
		bits[i] = 0;
	if (nr < BITS_PER_LONG)
		bits[0] &= (1ul << nr) - 1;
	if (folio_test_flag(folio, PG_hwpoison) && !poison_flag(folio_place(folio), nr))
		folio_clear_flag(folio, PG_hwpoison);
	/*
	 * Relaxed: readers without a reference may see either, and cannot use it; others come after
	 * the unfreeze.
	 */
	WRITE_ONCE(folio->pfn_order_group,
		   (folio->pfn_order_group & ~(0x3ful << FOLIO_ORDER_SHIFT)) |
			   (u64)order << FOLIO_ORDER_SHIFT);
}

/* A device's driver hears of each piece, and, with @new NULL, of the end; nobody can get any of them yet. */
static void split_tell(struct folio *folio, struct folio *new)
{
	if (unlikely(folio_test_flag(folio, PG_zone_device)))
		/* acquire: pairs with the release in device_up(), before there were such folios */
		smp_load_acquire(&octavo_state.upcalls.device)->folio_split(folio, new);
}

/* @folio is frozen, @wait has a descriptor for each piece but the first: cannot fail. */
static void split_commit(struct folio *folio, const struct cut *cut, struct waiting *wait,
			 u32 extra)
{
	unsigned long nr = 1ul << cut->order;
	unsigned int keep = cut_order(cut, 0), order;
	struct page *page = folio_page(folio, 0);
	enum memdesc_type type = memdesc_type(page_memdesc(page));
	u32 share = extra / (u32)nr;

	for (unsigned long at = 1ul << keep; at < nr; at += 1ul << order) {
		struct folio *new = waiting_take(wait);

		order = cut_order(cut, at);
		piece_init(new, folio, at, order);
		folio_words_store(page + at, order, memdesc_pointer(type, new));
		split_tell(folio, new);
	}
	piece_keep(folio, keep);
	split_tell(folio, NULL);
	/* After all words. Unfreezing is a release: it pairs with the acquire in folio_try_get(). */
	for (unsigned long at = 1ul << keep; at < nr; at += 1ul << order) {
		order = cut_order(cut, at);
		folio_ref_unfreeze(folio_at(page + at), 1 + (share << order));
	}
	folio_ref_unfreeze(folio, 1 + (share << keep));
}

static int split(struct folio *folio, const struct cut *cut, u32 extra, gfp_t gfp)
{
	struct waiting wait;
	int err;

	if (cut->new_order >= cut->order || extra % (1u << cut->order) || (s32)(extra + 1) <= 0)
		return -EINVAL;
	/* A first look, to save the allocation. */
	if (folio_busy(folio) || folio_ref_count(folio) != 1 + extra)
		return -EBUSY;
	err = waiting_alloc(&wait, cut, folio, gfp);
	if (err)
		return err;
	if (!folio_ref_freeze(folio, 1 + extra)) {
		waiting_free(&wait);
		return -EBUSY;
	}
	if (folio_busy(folio)) {
		folio_ref_unfreeze(folio, 1 + extra);
		waiting_free(&wait);
		return -EBUSY;
	}
	split_commit(folio, cut, &wait, extra);
	return 0;
}

static void check_locked(const struct folio *folio, const char *reason)
{
	if (unlikely(!folio_test_locked(folio)))
		folio_bad(folio, reason);
}

int folio_split(struct folio *folio, unsigned int new_order, u32 extra, gfp_t gfp)
{
	const struct cut cut = { folio_order(folio), new_order, NO_TARGET };

	check_locked(folio, "folio_split() of a folio that is not locked");
	return split(folio, &cut, extra, gfp);
}

int folio_split_out(struct folio *folio, struct page *page, unsigned int new_order, u32 extra,
		    gfp_t gfp)
{
	const struct cut cut = { folio_order(folio), new_order, folio_page_idx(folio, page) };

	check_locked(folio, "folio_split_out() of a folio that is not locked");
	if (cut.target >= folio_nr_pages(folio))
		return -EINVAL;
	return split(folio, &cut, extra, gfp);
}

/* ---- merge ---- */

struct run {
	struct folio *first;
	unsigned long pfn;
	unsigned int order; /* of the result */
	enum memdesc_type type;
};

/* 0 if @folio, frozen, fits the run at @at. */
static int merge_fits(const struct run *run, const struct folio *folio, unsigned long at)
{
	const struct folio *first = run->first;

	if (folio_busy(folio) || folio_test_flag(folio, PG_swapcache))
		return -EBUSY;
	if ((folio->pfn_order_group ^ first->pfn_order_group) & FOLIO_GROUP_MASK)
		return -EINVAL;
	if (folio->mapping != first->mapping ||
	    (folio->mapping && folio->index != first->index + at) ||
	    folio_test_flag(folio, PG_zone_device))
		return -EINVAL;
	return 0;
}

/*
 * Freeze the folio at @at. The caller of folio_merge() says that it has a reference on each; this
 * does not believe it before the freeze has succeeded and the word still names the folio, so it
 * runs under RCU.
 */
static int merge_take(const struct run *run, unsigned long at, unsigned int *order)
{
	struct page *page = pfn_to_page(run->pfn + at);
	struct folio *folio;
	memdesc_t md;
	int err;

	if (!pfn_valid(run->pfn + at))
		return -EINVAL;
	md = page_memdesc(page);
	if (memdesc_type(md) != run->type)
		return -EINVAL;
	folio = memdesc_ptr(md);
	if (!folio_test_locked(folio))
		return -EINVAL;
	if (!folio_ref_freeze(folio, 1))
		return -EBUSY;
	*order = folio_order(folio);
	err = merge_fits(run, folio, at);
	if (!memdesc_eq(page_memdesc_relaxed(page), md) || folio_pfn(folio) != run->pfn + at ||
	    *order >= run->order)
		err = -EINVAL;
	if (err)
		folio_ref_unfreeze(folio, 1);
	return err;
}

/* Freeze all; or undo, and say why not. */
static int merge_freeze(const struct run *run)
{
	unsigned long at = 0, end;
	unsigned int order;
	int err = 0;

	rcu_read_lock();
	while (!err && at < 1ul << run->order) {
		err = merge_take(run, at, &order);
		if (!err)
			at += 1ul << order;
	}
	rcu_read_unlock();
	if (!err)
		return 0;
	for (end = at, at = 0; at < end; at += 1ul << order) {
		struct folio *folio = folio_at(pfn_to_page(run->pfn + at));

		order = folio_order(folio);
		folio_ref_unfreeze(folio, 1);
	}
	return err;
}

/* All of the run is frozen: fill @new from it. The old ones end up in @old. */
static void merge_collect(const struct run *run, struct folio *new, struct waiting *old)
{
	u32 any = 0, all = ~0u, flags;
	unsigned int order;

	folio_desc_init(new, run->pfn, run->order);
	new->pfn_order_group |= run->first->pfn_order_group &FOLIO_GROUP_MASK;
	new->gen = run->first->gen;
	new->mapping = run->first->mapping;
	new->index = run->first->index;
	for (unsigned long at = 0; at < 1ul << run->order; at += 1ul << order) {
		struct folio *folio = folio_at(pfn_to_page(run->pfn + at));

		order = folio_order(folio);
		folio_excl_copy(new, at, folio, 0, 1ul << order);
		flags = READ_ONCE(folio->flags);
		any |= flags;
		all &= flags;
		waiting_add(old, folio);
	}
	flags = (any & FLAGS_COPIED & ~(1u << PG_uptodate)) | (all & (1u << PG_uptodate));
	if (any & (1u << PG_hwpoison))
		flags |= poison_flag(run->pfn, 1ul << run->order);
	/* Relaxed: published by the count. */
	WRITE_ONCE(new->flags, READ_ONCE(new->flags) | flags);
}

struct folio *folio_merge(struct folio *first, unsigned int order, gfp_t gfp, int *err)
{
	struct run run = { .first = first, .pfn = folio_place(first), .order = order };
	struct waiting old = { NULL, NULL };
	struct folio *new;

	check_locked(first, "folio_merge() of a folio that is not locked");
	*err = -EINVAL;
	if (order > MAX_FOLIO_ORDER || order <= folio_order(first) ||
	    !IS_ALIGNED(run.pfn, 1ul << order) || folio_test_flag(first, PG_zone_device))
		return NULL;
	run.type = memdesc_type(page_memdesc(folio_page(first, 0)));
	new = folio_desc_alloc_like(first, gfp, order);
	if (!new) {
		*err = -ENOMEM;
		return NULL;
	}
	*err = merge_freeze(&run);
	if (*err) {
		folio_desc_free(new);
		return NULL;
	}
	merge_collect(&run, new, &old);
	folio_words_store(pfn_to_page(run.pfn), order, memdesc_pointer(run.type, new));
	folio_ref_unfreeze(new, 1);
	/* Their count is 0 and no word names them. */
	waiting_free(&old);
	return new;
}
