// SPDX-License-Identifier: MIT
/*
 * subrange.c - runs of pages of one folio, and their exclusivity.
 *
 * Exclusivity of an anonymous page says that no other address space can map it: it may be written
 * to, and pinned. One bit a page, in the descriptor: a flag in class SMALL, else a bitmap (one word
 * to order 6, eight to order 9, behind a pointer beyond, which a split does not change).
 *
 * A batch is a subrange, and subranges are words here: 512 pages are eight stores. Page-table locks
 * guard the bits, one a page table. Normally a page table's pages have words of their own (512
 * pages, eight words), so a word that lies wholly inside a subrange is under one lock and stored
 * plainly. But mremap can leave a folio mapped across two page tables at any page, and then the
 * word with the boundary is under two locks: a word that is not wholly inside is changed by an
 * atomic or/and of its own bits only.
 *
 * What this file does not do: decide. When a page may become exclusive or shared, and against whom
 * that is ordered, is the business of whoever has the page-table lock.
 */
#include "folio_desc.h"

/* ---- subranges ---- */

static bool subrange_ok(const struct folio *folio, unsigned long first, unsigned long nr)
{
	unsigned long pages = folio_nr_pages(folio);

	return nr != 0 && first < pages && nr <= pages - first;
}

int folio_subrange_init(struct folio_subrange *sr, struct folio *folio, unsigned long first,
			unsigned long nr)
{
	if (!subrange_ok(folio, first, nr))
		return -EINVAL;
	*sr = (struct folio_subrange){ .folio = folio, .first = (u32)first, .nr = (u32)nr };
	return 0;
}

__noreturn __cold void __folio_subrange_bad(const struct folio *folio, unsigned long first,
					    unsigned long nr)
{
	folio_dump(folio, "subrange");
	octavo_panic("folio %p, pfn 0x%lx: pages %lu + %lu are not a subrange of %lu",
		     (const void *)folio, folio_place(folio), first, nr, folio_nr_pages(folio));
}

struct folio_subrange folio_subrange_page(struct folio *folio, const struct page *page,
					  unsigned long nr)
{
	/* A page before the folio gives an index far beyond its end. */
	return folio_subrange(folio, folio_page_idx(folio, page), nr);
}

/* ---- exclusivity ---- */

/* @n ones from bit @bit on; @n is 1 to 64 - @bit. */
static inline unsigned long ones(unsigned int bit, unsigned long n)
{
	return (~0ul >> (BITS_PER_LONG - n)) << bit;
}

static void excl_change(unsigned long *words, unsigned long first, unsigned long nr, bool set)
{
	unsigned long *w = words + first / BITS_PER_LONG;
	unsigned int bit = first % BITS_PER_LONG;

	for (; nr; w++, bit = 0) {
		unsigned long n = min(nr, (unsigned long)BITS_PER_LONG - bit);

		/* All relaxed: see folio.h. */
		if (n == BITS_PER_LONG)
			WRITE_ONCE(*w, set ? ~0ul : 0ul);
		else if (set)
			fetch_or_relaxed(w, ones(bit, n));
		else
			fetch_and_relaxed(w, ~ones(bit, n));
		nr -= n;
	}
}

static void excl_set(struct folio_subrange sr)
{
	unsigned long *words = __folio_excl_bits(sr.folio);

	if (!words)
		folio_set_flag(sr.folio, PG_anon_exclusive);
	else if (sr.nr < BITS_PER_LONG && sr.nr == folio_nr_pages(sr.folio))
		/* as in __folio_clear_anon_exclusive_of() */
		WRITE_ONCE(words[0], ones(0, sr.nr));
	else
		excl_change(words, sr.first, sr.nr, true);
}

void folio_set_anon_exclusive(struct folio_subrange sr)
{
	__folio_subrange_check(sr);
	excl_set(sr);
}

void __folio_clear_anon_exclusive(struct folio_subrange sr)
{
	excl_change(__folio_excl_bits(sr.folio), sr.first, sr.nr, false);
}

static inline bool excl_test(const struct folio *folio, const unsigned long *words,
			     unsigned long idx)
{
	if (!words)
		return folio_test_flag(folio, PG_anon_exclusive);
	return READ_ONCE(words[idx / BITS_PER_LONG]) >> (idx % BITS_PER_LONG) & 1;
}

bool folio_test_anon_exclusive(const struct folio *folio, unsigned long idx)
{
	if (unlikely(!subrange_ok(folio, idx, 1)))
		__folio_subrange_bad(folio, idx, 1);
	return excl_test(folio, __folio_excl_bits(folio), idx);
}

void folio_spread_anon_exclusive(struct folio_subrange sr)
{
	__folio_subrange_check(sr);
	if (excl_test(sr.folio, __folio_excl_bits(sr.folio), sr.first))
		excl_set(sr);
	else
		__folio_clear_anon_exclusive_of(sr);
}

u32 __folio_anon_exclusive_run(struct folio_subrange sr, bool *exclusive)
{
	const unsigned long *w = __folio_excl_bits(sr.folio) + sr.first / BITS_PER_LONG;
	unsigned int bit = sr.first % BITS_PER_LONG;
	unsigned long word = READ_ONCE(*w), flip, done = 0;

	*exclusive = word >> bit & 1;
	/* Look for the first 1 in words that have a 1 where the bit differs from that of sr.first. */
	flip = -(word >> bit & 1);
	for (word = (word ^ flip) >> bit; !word; word = READ_ONCE(*w) ^ flip) {
		done += BITS_PER_LONG - bit;
		if (done >= sr.nr)
			return sr.nr;
		bit = 0;
		w++;
	}
	done += (unsigned long)__builtin_ctzl(word);
	return done < sr.nr ? (u32)done : sr.nr;
}

/* Without the compiler's own, which may be a call into its library. */
static unsigned int ones_in(unsigned long v)
{
	v -= v >> 1 & 0x5555555555555555ul;
	v = (v & 0x3333333333333333ul) + (v >> 2 & 0x3333333333333333ul);
	v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0ful;
	return (unsigned int)(v * 0x0101010101010101ul >> 56);
}

u32 folio_anon_exclusive_count(struct folio_subrange sr)
{
	const unsigned long *words = __folio_excl_bits(sr.folio), *w;
	unsigned int bit = sr.first % BITS_PER_LONG;
	u32 count = 0;

	__folio_subrange_check(sr);
	if (!words)
		return folio_test_flag(sr.folio, PG_anon_exclusive);
	w = words + sr.first / BITS_PER_LONG;
	for (unsigned long left = sr.nr; left; w++, bit = 0) {
		unsigned long n = min(left, (unsigned long)BITS_PER_LONG - bit);

		count += ones_in(READ_ONCE(*w) & ones(bit, n));
		left -= n;
	}
	return count;
}

void folio_excl_copy(struct folio *to, unsigned long at, const struct folio *from,
		     unsigned long first, unsigned long nr)
{
	const unsigned long *src = __folio_excl_bits(from);
	unsigned long *dst = __folio_excl_bits(to);
	unsigned long i;

	/* Pieces are naturally aligned: either whole words on both sides, or within one word on both. */
	VM_BUG_ON(nr >= BITS_PER_LONG ? (at | first | nr) % BITS_PER_LONG != 0
				      : (at % BITS_PER_LONG + nr > BITS_PER_LONG ||
					 first % BITS_PER_LONG + nr > BITS_PER_LONG));
	if (!src || !dst || nr < BITS_PER_LONG) {
		unsigned long bits;

		if (src)
			bits = src[first / BITS_PER_LONG] >> (first % BITS_PER_LONG) & ones(0, nr);
		else
			bits = folio_test_flag(from, PG_anon_exclusive);
		if (dst)
			dst[at / BITS_PER_LONG] |= bits << (at % BITS_PER_LONG);
		else if (bits)
			folio_set_flag(to, PG_anon_exclusive);
		return;
	}
	for (i = 0; i < nr / BITS_PER_LONG; i++)
		dst[at / BITS_PER_LONG + i] = src[first / BITS_PER_LONG + i];
}
