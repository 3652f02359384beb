/* SPDX-License-Identifier: MIT */
/*
 * pfnwalk.c - reading every word of the memory map while everything runs beside.
 *
 * Any word may be read at any time and every value is legal. The word alone says the type; what more can be
 * said depends on what keeps the rest still while it is read:
 *
 *	free, poisoned, idle device	everything: there is nothing more
 *	plain				the word has type, subtype and order. The count is the first page's; it
 *					belongs to this page if that word has the same order, and this
 *					page's word has not changed after it was read
 *	folio, managed			a reference: try the count under RCU, read the word again, read the
 *					fields, drop it (which may free what was looked at)
 *	movable				no reference exists and a claim would get in the owner's way: the
 *					descriptor's sequence tells whether pfn and order were of one life, the
 *					word before and after whether of this page's
 *	slab, page table, other		nothing: their descriptors are not type-stable, and who owns them
 *					is not known to a passer-by
 *
 * A walk never steps over a frame because of what another frame's word said: by the time it gets there
 * that may be untrue. Only what the section table says (no memory) is skipped.
 *
 * What it does not do: stop anything, or give a picture of one moment for more than one frame.
 */
#include <octavo/desc.h>
#include <octavo/errno.h>
#include <octavo/hwpoison.h>
#include <octavo/pfnwalk.h>
#include <octavo/string.h>

static void snapshot_plain(struct page_snapshot *ps, const struct page *page)
{
	memdesc_t md = ps->word, first;

	ps->order = (u8)memdesc_order(md);
	ps->first_pfn = ALIGN_DOWN(ps->pfn, 1UL << ps->order);
	if (memdesc_frozen(md)) {
		ps->exact = true;
		return;
	}
	if (ps->first_pfn == ps->pfn) {
		ps->refcount = memdesc_count(md);
		ps->exact = ps->refcount != 0; /* 0 and not frozen: on its way */
		return;
	}
	/* acquire: the re-read below comes after it */
	first = page_memdesc(pfn_to_page(ps->first_pfn));
	if (!memdesc_is_misc(first) || memdesc_order(first) != ps->order || !memdesc_count(first))
		return;
	if (!memdesc_eq(page_memdesc_relaxed(page), md))
		return;
	ps->refcount = memdesc_count(first);
	ps->exact = true;
}

static void snapshot_folio(struct page_snapshot *ps, struct page *page)
{
	struct folio *folio = page_try_get_folio(page);

	if (!folio)
		return;
	/* it may be another folio than the one that the first look saw, but it is this page's, now */
	ps->word = page_memdesc(page);
	ps->type = memdesc_type(ps->word);
	ps->order = (u8)folio_order(folio);
	ps->first_pfn = folio_pfn(folio);
	ps->refcount = folio_ref_count(folio) - 1;
	ps->mapcount = folio_mapcount(folio);
	ps->flags = READ_ONCE(folio->flags);
	ps->exact = true;
	folio_put(folio);
}

static void snapshot_managed(struct page_snapshot *ps, const struct page *page)
{
	struct mgdesc *mg = memdesc_ptr(ps->word);
	bool got;

	rcu_read_lock();
	got = mgdesc_try_get(mg);
	rcu_read_unlock();
	if (!got)
		return;
	/* relaxed: see try_get_page() */
	if (memdesc_eq(page_memdesc_relaxed(page), ps->word)) {
		ps->order = (u8)mgdesc_order(mg);
		ps->first_pfn = mgdesc_pfn(mg);
		ps->refcount = mgdesc_ref_count(mg) - 1;
		ps->flags = READ_ONCE(mg->flags);
		ps->exact = true;
	}
	mgdesc_put(mg);
}

/*
 * acquire on seq pairs with the release that made it odd: pfn_order is of that life or later, and words of
 * earlier lives are gone. acquire on pfn_order: if it is of a later life, the even seq before it is seen
 * below. acquire on the word: the same, if it is the same word in a later life.
 */
static void snapshot_movable(struct page_snapshot *ps, const struct page *page)
{
	struct movable *mv = memdesc_ptr(ps->word);
	u64 pfn_order = 0;
	bool same;
	u32 seq;

	rcu_read_lock();
	seq = smp_load_acquire(&mv->seq);
	pfn_order = smp_load_acquire(&mv->pfn_order);
	same = seq % 2 && memdesc_eq(page_memdesc(page), ps->word) && READ_ONCE(mv->seq) == seq;
	rcu_read_unlock();
	if (!same)
		return;
	ps->order = (u8)desc_order(pfn_order);
	ps->first_pfn = desc_pfn(pfn_order);
	ps->exact = true;
}

int snapshot_page(struct page_snapshot *ps, unsigned long pfn)
{
	struct page *page;

	memset(ps, 0, sizeof(*ps));
	if (!pfn_valid(pfn))
		return -ENXIO;
	page = pfn_to_page(pfn);
	ps->pfn = pfn;
	ps->first_pfn = pfn;
	ps->word = page_memdesc(page);
	ps->type = memdesc_type(ps->word);
	ps->poisoned = pfn_poisoned(pfn);
	switch (ps->type) {
	case MEMDESC_FREE:
	case MEMDESC_HWPOISON:
	case MEMDESC_DEVICE:
		ps->exact = true;
		break;
	case MEMDESC_MISC:
		snapshot_plain(ps, page);
		break;
	case MEMDESC_FILE:
	case MEMDESC_ANON:
		snapshot_folio(ps, page);
		break;
	case MEMDESC_MANAGED:
		snapshot_managed(ps, page);
		break;
	case MEMDESC_MOVABLE:
		snapshot_movable(ps, page);
		break;
	default:
		break;
	}
	return 0;
}

/* The next pfn at or after @pfn that lies in a section with memory; @end if there is none before. */
static unsigned long next_present(unsigned long pfn, unsigned long end)
{
	const section_t *section = octavo_state.frame.section;
	unsigned long sec = pfn >> SECTION_ORDER, last = DIV_ROUND_UP(end, PAGES_PER_SECTION);

	if (pfn >= end)
		return end;
	/* acquire: pairs with the release in section_online(): the section's words are set up */
	if (smp_load_acquire(&section[sec]) & SECTION_PRESENT)
		return pfn;
	do
		sec++;
	while (sec < last && !(smp_load_acquire(&section[sec]) & SECTION_PRESENT));
	return sec < last ? sec << SECTION_ORDER : end;
}

unsigned long pfn_walk(unsigned long start, unsigned long end,
		       unsigned long (*fn)(unsigned long pfn, memdesc_t md, void *arg), void *arg)
{
	unsigned long limit = min(end, octavo_state.frame.max_pfn), pfn = start;

	for (;;) {
		unsigned long stop, step;

		pfn = next_present(pfn, limit);
		if (pfn >= limit)
			return max(start, end);
		stop = min(limit, ALIGN_DOWN(pfn, PAGES_PER_SECTION) + PAGES_PER_SECTION);
		for (; pfn < stop; pfn += step) {
			step = fn(pfn, page_memdesc(pfn_to_page(pfn)), arg);
			if (!step)
				return pfn;
			if (step >= limit - pfn)
				return max(start, end);
		}
	}
}

/* Words added up in one word: a nibble a type, so at most 15 of them. */
#define NIBBLE_WORDS 15
/* Nibbles spread to bytes, so at most 255. */
#define BYTE_WORDS (17 * NIBBLE_WORDS)
#define NIBBLES	   0x0f0f0f0f0f0f0f0ful

/*
 * A shift takes its count modulo 64, which throws away all of the word but its type: four instructions a
 * word, none of them a branch or a store.
 */
static inline u64 type_nibble(const struct page *page)
{
	return (u64)1 << ((READ_ONCE(page->memdesc.v) << 2) & 63);
}

static inline u64 type_nibbles_15(const struct page *p)
{
	u64 a = type_nibble(p) + type_nibble(p + 1) + type_nibble(p + 2) + type_nibble(p + 3) +
		type_nibble(p + 4) + type_nibble(p + 5) + type_nibble(p + 6);
	u64 b = type_nibble(p + 7) + type_nibble(p + 8) + type_nibble(p + 9) + type_nibble(p + 10) +
		type_nibble(p + 11) + type_nibble(p + 12) + type_nibble(p + 13) +
		type_nibble(p + 14);

	return a + b;
}

static void count_words(const struct page *p, unsigned long n, u64 counts[MEMDESC_NR_TYPES])
{
	while (n) {
		unsigned long left = min(n, (unsigned long)BYTE_WORDS);
		u64 even = 0, odd = 0; /* eight byte counters each */

		n -= left;
		for (; left >= NIBBLE_WORDS; left -= NIBBLE_WORDS, p += NIBBLE_WORDS) {
			u64 sum = type_nibbles_15(p);

			even += sum & NIBBLES;
			odd += sum >> 4 & NIBBLES;
		}
		for (u64 sum = 0; left; left--) {
			sum = type_nibble(p++);
			even += sum & NIBBLES;
			odd += sum >> 4 & NIBBLES;
		}
		for (unsigned int t = 0; t < MEMDESC_NR_TYPES; t += 2) {
			counts[t] += even >> (t * 4) & 0xff;
			counts[t + 1] += odd >> (t * 4) & 0xff;
		}
	}
}

void pfn_count_types(unsigned long start, unsigned long end, u64 counts[MEMDESC_NR_TYPES])
{
	unsigned long pfn = start;

	memset(counts, 0, MEMDESC_NR_TYPES * sizeof(counts[0]));
	end = min(end, octavo_state.frame.max_pfn);
	while ((pfn = next_present(pfn, end)) < end) {
		unsigned long stop =
			min(end, ALIGN_DOWN(pfn, PAGES_PER_SECTION) + PAGES_PER_SECTION);

		count_words(pfn_to_page(pfn), stop - pfn, counts);
		pfn = stop;
	}
}
