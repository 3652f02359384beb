/* SPDX-License-Identifier: MIT */
/*
 * source.c - what is to be mapped: an array of pages, or of parts of folios.
 *
 * It is gone over twice: once to see that all of it may be mapped, when nothing has changed yet, and once to store entries. A
 * page costs a pointer, a word and an entry, so both loops do as little as they can, four pages a step. Neighbours
 * are not looked at one by one: their pointers are compared, two at a time, and one look at a word does for as many of
 * them as belong together. Runs of less than four may be overlooked: no larger entry could map them.
 */
#include "kmap.h"

#define LEAF_PAGES (1ul << level_order(PGTABLE_LEVEL_PMD))
#define STEP	   4u

/* every aligned part that a larger entry could map has a whole step in it */
BUILD_BUG_ON(PTRS_PER_TABLE < 2 * STEP - 1);

/* ---- what may be mapped ---- */

static __always_inline bool may_map(memdesc_t md, bool owned)
{
	const unsigned int good = 1u << MEMDESC_FILE | 1u << MEMDESC_ANON | 1u << MEMDESC_MANAGED |
				  1u << MEMDESC_MISC;

	/* S4.4: what has no count has no reference to give */
	return memdesc_type_in(md, good) && !(owned && memdesc_is_misc(md) && memdesc_frozen(md));
}

/* Pages from @pfn on for which one look at one word says it all. */
static unsigned long same_as(unsigned long pfn, memdesc_t md)
{
	if (memdesc_is_folio(md)) {
		const struct folio *folio = memdesc_ptr(md);

		return folio_pfn(folio) + folio_nr_pages(folio) - pfn;
	}
	if (memdesc_is_misc(md))
		return (1ul << memdesc_order(md)) - (pfn & ((1ul << memdesc_order(md)) - 1));
	return 1;
}

static bool run_good(unsigned long pfn, unsigned long nr, bool owned)
{
	for (;;) {
		unsigned long n;
		memdesc_t md;

		if (!pfn_valid(pfn))
			return false;
		md = page_memdesc(pfn_to_page(pfn));
		if (!may_map(md, owned))
			return false;
		n = same_as(pfn, md);
		if (n >= nr)
			return true;
		pfn += n;
		nr -= n;
	}
}

/* ---- one page ---- */

#define NO_SECTION (~0ul)

/* The first frame of the section that @pfn is in: what holds for one of it does for all. NO_SECTION: it has no word. */
static __noinline unsigned long section_of(unsigned long pfn)
{
	return pfn_valid(pfn) ? ALIGN_DOWN(pfn, PAGES_PER_SECTION) : NO_SECTION;
}

/* @section: of the last one that was looked at, at first of any that has words. */
static __always_inline bool pfn_good(unsigned long pfn, unsigned long *section, bool owned)
{
	if (unlikely(pfn - *section >= PAGES_PER_SECTION)) {
		*section = section_of(pfn);
		if (*section == NO_SECTION)
			return false;
	}
	return may_map(page_memdesc(pfn_to_page(pfn)), owned);
}

/* The same by pointers. @words: the first word of the section. */
static __always_inline bool page_good(const struct page *page, unsigned long *words, bool owned)
{
	if (unlikely((unsigned long)page - *words >= PAGES_PER_SECTION * sizeof(*page))) {
		const unsigned long section = section_of(page_to_pfn(page));

		if (section == NO_SECTION)
			return false;
		*words = (unsigned long)pfn_to_page(section);
	}
	return may_map(page_memdesc(page), owned);
}

/* ---- neighbours ---- */

#define PAIRS 16u /* a block */

/* Two pointers, anywhere. */
typedef unsigned long pair_t __attribute__((vector_size(16), aligned(8), may_alias));

/*
 * Is each of 2 * PAIRS pointers the one two before it and two pages? @before: what the two before are; that the last two
 * are right is known. It suffices that none is more than that: together they make the whole way, so none is less. And that is two
 * instructions a pair beside its load: a difference of -1 to -2 * sizeof(struct page) has all bits set but
 * the lowest, and one AND of all differences shows it.
 */
static __always_inline bool in_step(const pair_t *p, pair_t before)
{
	const unsigned long low = 2 * sizeof(struct page) - 1;
	pair_t all = ~(pair_t){ 0, 0 }, v;

#define PAIR(k) (v = p[k], all &= before - v, before = v)
#define FOUR(k) (PAIR(k), PAIR(k + 1), PAIR(k + 2), PAIR(k + 3))
	FOUR(0);
	FOUR(4);
	FOUR(8);
	FOUR(12);
#undef FOUR
#undef PAIR
	return ((all[0] & all[1]) | low) == ~0ul;
}

/* How many pages from pages[0] on are neighbours, @max at most. */
static __noinline unsigned long neighbours(struct page *const *pages, unsigned long max)
{
	struct page *const first = pages[0];
	unsigned long n = 0;

	for (; n + 2 * PAIRS <= max; n += 2 * PAIRS) {
		struct page *const *p = pages + n, *const start = first + n;
		const unsigned long a = (unsigned long)start - 2 * sizeof(*start);

		if (p[2 * PAIRS - 2] != start + 2 * PAIRS - 2 ||
		    p[2 * PAIRS - 1] != start + 2 * PAIRS - 1 ||
		    !in_step((const pair_t *)(const void *)p, (pair_t){ a, a + sizeof(*start) }))
			break;
	}
	while (n < max && pages[n] == first + n)
		n++;
	return n;
}

/* ---- the first time: may all of it be mapped? ---- */

/*
 * Where the addresses should lie: so that the first run with a large enough aligned part in it can be mapped by a larger
 * entry. S4.15. @at: where the run is in the source.
 */
static void choose_color(struct kmap_want *want, unsigned long pfn, unsigned long nr,
			 unsigned long at)
{
	const unsigned long skip = ALIGN(pfn, LEAF_PAGES) - pfn;

	if (nr < LEAF_PAGES + skip || want->align != PAGE_SIZE)
		return;
	want->align = level_size(PGTABLE_LEVEL_PMD);
	want->color = (0 - ((at + skip) << PAGE_SHIFT)) & (want->align - 1);
}

/* A run that follows all that is known. */
static void know_run(struct kmap_source *src, unsigned long at, unsigned long pfn, unsigned long nr)
{
	if (at != src->known_pages || nr > VM_RUN_MAX || src->nr_known == KMAP_KNOWN_RUNS)
		return;
	src->known[src->nr_known++] = vm_run_pack(pfn, nr);
	src->known_pages += nr;
}

#define BAD (~0ul)

/*
 * The run that pages[@at] and, it seems, the rest of a step are in. @from: where the last one ended: it may have begun
 * up to there. Return: where it ends; 0: they are no run; BAD.
 */
static __noinline unsigned long check_run(struct kmap_source *src, unsigned long at,
					  unsigned long from, bool owned, struct kmap_want *want)
{
	struct page *const *pages = src->pages;
	unsigned long nr = neighbours(pages + at, src->count - at), pfn;

	if (nr < STEP)
		return 0;
	for (; at > from && pages[at - 1] + 1 == pages[at]; nr++)
		at--;
	pfn = page_to_pfn(pages[at]);
	if (!run_good(pfn, nr, owned))
		return BAD;
	if (want)
		choose_color(want, pfn, nr, at);
	know_run(src, at, pfn, nr);
	return at + nr;
}

static __always_inline int check_pages(struct kmap_source *src, bool owned, struct kmap_want *want)
{
	struct page *const *pages = src->pages;
	const unsigned long section = section_of(page_to_pfn(pages[0])), count = src->count;
	unsigned long words, at = 0, from = 0;

	if (section == NO_SECTION)
		return -EINVAL;
	words = (unsigned long)pfn_to_page(section);
	while (at + STEP <= count) {
		struct page *const *p = pages + at;

		/* numbers: they may be no pointers */
		if ((unsigned long)p[STEP - 1] - (unsigned long)p[0] ==
		    (STEP - 1) * sizeof(struct page)) {
			const unsigned long end = check_run(src, at, from, owned, want);

			if (end == BAD)
				return -EINVAL;
			if (end) {
				at = from = end;
				continue;
			}
		}
		if (!page_good(p[0], &words, owned) || !page_good(p[1], &words, owned) ||
		    !page_good(p[2], &words, owned) || !page_good(p[3], &words, owned))
			return -EINVAL;
		at += STEP;
	}
	for (; at < count; at++)
		if (!page_good(pages[at], &words, owned))
			return -EINVAL;
	return 0;
}

/* S4.22: of the folio that the reference is on, all of it. It can have been made by hand, or be older than a split. */
static __always_inline bool part_good(const struct folio_subrange *sr)
{
	if (unlikely(!sr->folio))
		return false;
	/* every folio has a first page */
	if (!sr->first && sr->nr == 1)
		return true;
	return sr->nr && (u64)sr->first + sr->nr <= folio_nr_pages(sr->folio);
}

static int check_parts(const struct kmap_source *src, bool owned, struct kmap_want *want)
{
	unsigned long at = 0, section = NO_SECTION;

	if (src->parts[0].folio)
		section = section_of(folio_place(src->parts[0].folio));
	if (section == NO_SECTION)
		return -EINVAL;
	for (unsigned int i = 0; i < src->count; i++) {
		const struct folio_subrange *sr = &src->parts[i];
		unsigned long pfn;

		if (unlikely(!part_good(sr)))
			return -EINVAL;
		/* a device's own memory has no pfn, and its place is none that is good */
		pfn = folio_place(sr->folio) + sr->first;
		if (!pfn_good(pfn, &section, owned))
			return -EINVAL;
		if (sr->nr > 1) {
			if (!run_good(pfn, sr->nr, owned))
				return -EINVAL;
			if (want)
				choose_color(want, pfn, sr->nr, at);
		}
		at += sr->nr;
	}
	return 0;
}

int kmap_check_source(struct kmap_source *src, bool owned, struct kmap_want *want)
{
	if (src->parts)
		return check_parts(src, owned, want);
	return owned ? check_pages(src, true, want) : check_pages(src, false, want);
}

/* ---- the second time: entries ---- */

/* Could @nr pages from @pages on fill a larger entry at m->addr? Only a look at both ends; the first is a page's. */
static inline bool may_be_leaf(const struct kmapper *m, struct page *const *pages, unsigned long nr)
{
	return m->max_level && nr >= LEAF_PAGES && IS_ALIGNED(m->addr, LEAF_PAGES << PAGE_SHIFT) &&
	       IS_ALIGNED(page_to_pfn(pages[0]), LEAF_PAGES) &&
	       pages[LEAF_PAGES - 1] == pages[0] + LEAF_PAGES - 1;
}

/* What is not known to be runs: by entries of the last level, but for what fills a larger one. */
static int map_pages(struct kmapper *m, struct page *const *pages, unsigned long nr)
{
	int err = 0;

	while (!err && nr) {
		const unsigned long n = min(nr, kmap_left_in_table(m->addr));

		if (may_be_leaf(m, pages, nr) && neighbours(pages, LEAF_PAGES) == LEAF_PAGES)
			err = kmap_map_run(m, page_to_pfn(pages[0]), n);
		else
			err = kmap_map_pages(m, pages, n);
		pages += n;
		nr -= n;
	}
	return err;
}

static int map_parts(struct kmapper *m, const struct folio_subrange *parts, unsigned int count)
{
	unsigned int n;
	int err = 0;

	for (unsigned int i = 0; !err && i < count; i += n) {
		n = kmap_map_single_parts(m, parts + i, count - i);
		if (!n) {
			n = 1;
			err = kmap_map_run(m, folio_place(parts[i].folio) + parts[i].first,
					   parts[i].nr);
		}
	}
	return err;
}

int kmap_map_source(struct kmapper *m, const struct kmap_source *src)
{
	unsigned long at = 0;
	int err = 0;

	if (src->parts)
		return map_parts(m, src->parts, src->count);
	for (u32 k = 0; k < src->nr_known && !err; k++) {
		const unsigned long nr = vm_run_nr(src->known[k]);

		err = kmap_map_run(m, vm_run_pfn(src->known[k]), nr);
		at += nr;
	}
	return err ? err : map_pages(m, src->pages + at, src->count - at);
}

/* ---- a third: runs, to be kept ---- */

unsigned long kmap_next_run(const struct kmap_source *src, unsigned int *i, unsigned long *pfn)
{
	unsigned int from = *i;
	unsigned long nr = 1;

	if (from == src->count)
		return 0;
	if (src->parts) {
		const struct folio_subrange *sr = &src->parts[from];

		*i = from + 1;
		/* a device's own memory has no pfn, and its place is none that is good */
		*pfn = folio_place(sr->folio) + sr->first;
		return sr->nr;
	}
	*pfn = page_to_pfn(src->pages[from]);
	if (from + 1 < src->count && src->pages[from + 1] == src->pages[from] + 1)
		nr = neighbours(src->pages + from, src->count - from);
	*i = from + (unsigned int)nr;
	return nr;
}
