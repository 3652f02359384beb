// SPDX-License-Identifier: MIT
/*
 * gup_fast.c - get_user_pages without a lock: the protocol of docs/memdesc.md "Look-ups".
 *
 * It is done for many pages at a time, each step for all of them before the next step for any: what has to come after
 * a page's count operation then comes after all of theirs. A run of entries that map consecutive pages of one large
 * folio needs one count operation. Small folios need one each: these follow each other, and what they need from
 * memory was asked for before the first. The numbers in the comments are the protocol's:
 *
 *	0 fork counter    1 entries    2 word    3 count    4 the folio has the run    5 pins
 *	6 entries again, and the one above them    7 exclusive    8 fork counter again
 *
 * Each second look defends against one adversary, and nothing else does: 4 against a folio that was freed, or split,
 * between 2 and 3; 6 against unmapping (the reference is then on memory that is nobody's business
 * here) and against the unmapper that shares pages unless they are pinned; 7 against pinning what is
 * shared; 8 against fork. 4 of a run looks at the descriptor under the reference instead of at the words of all
 * pages: pfn and order are constant there, so a run that they cover is of this folio, whoever the folio is
 * by now. Whatever has changed gives up: the slow path, with locks, decides.
 *
 * The entry above and the fork counter are read again once a table, after the last of its pages.
 *
 * What it does not do: plain pages, the zero page, device memory (slow); anything that sleeps.
 */
#include "gup.h"

/* Set by hardware at any time: no sign of a change. */
#define PTE_NOISE (_PAGE_ACCESSED | _PAGE_DIRTY)

static inline bool same_but_noise(pte_t a, pte_t b)
{
	return !((a.v ^ b.v) & ~(u64)PTE_NOISE);
}

/* What of the tables was looked at to get to a run. */
struct gup_run {
	pte_t *ptep;
	pte_t pte;     /* the first entry, as read */
	pte_t *parent; /* NULL at the top */
	pte_t parent_pte;
	unsigned int level;
	unsigned long pfn; /* of the first page asked for */
	unsigned long nr;  /* pages */
	memdesc_t md;	   /* word of the first page */
};

/* What an entry must have. */
static inline u64 gup_need(u32 flags)
{
	return _PAGE_PRESENT | _PAGE_USER | (flags & FOLL_WRITE ? _PAGE_RW : 0);
}

/* 1 */
static inline bool gup_entry_ok(pte_t e, u64 need)
{
	return (e.v & (need | _PAGE_SPECIAL)) == need;
}

/* May a page be pinned for ever? */
static inline bool gup_may_stay(memdesc_t md, unsigned long pfn)
{
	return gup_longterm_ok(pfn) && memdesc_type(md) == MEMDESC_ANON;
}

/* Is 7 asked of this page? Who may write to it has it alone. */
static inline bool gup_wants_exclusive(pte_t e, memdesc_t md, u32 flags)
{
	return (flags & (FOLL_PIN | FOLL_WRITE)) == FOLL_PIN && !pte_write(e) &&
	       memdesc_type(md) == MEMDESC_ANON;
}

/* ---- pages of small folios: an entry, a word and a count each ---- */

/* Looked at together: enough that they wait for memory together, and no more than there is stack for. */
#define GUP_BATCH 32ul

/* Entries, and the words of their pages, as read. */
struct gup_batch {
	pte_t pte[GUP_BATCH];
	memdesc_t md[GUP_BATCH];
};

/*
 * 1 and 2, and the pages to where they are asked for. Return: how many from the first on are of small folios, at
 * most @max.
 */
static inline unsigned long gup_batch_look(const struct gup *g, const pte_t *ptep,
					   unsigned long max, struct gup_batch *b)
{
	struct page *const map = pfn_to_page(0), **const pages = g->pages;
	const u64 need = gup_need(g->flags);
	unsigned long i;

	for (i = 0; i < max; i++) {
		const pte_t e = ptep_get(ptep + i);
		struct page *page;
		memdesc_t md;

		if (!gup_entry_ok(e, need))
			break;
		page = map + pte_pfn(e);
		md = page_memdesc(page); /* acquire */
		if (!memdesc_is_folio(md) || folio_class(memdesc_ptr(md)) != FOLIO_CLASS_SMALL)
			break;
		b->pte[i] = e;
		b->md[i] = md;
		pages[i] = page;
	}
	return i;
}

/* Return: how many of @nr, from the first on, may be pinned for ever. */
static unsigned long gup_batch_longterm(const struct gup_batch *b, unsigned long nr)
{
	unsigned long i = 0;

	while (i < nr && gup_may_stay(b->md[i], pte_pfn(b->pte[i])))
		i++;
	return i;
}

/* 4, 6 and 7. Return: how many of @nr, from the first on, are as they were. */
static inline unsigned long gup_batch_recheck(const struct gup *g, const pte_t *ptep,
					      const struct gup_batch *b, unsigned long nr)
{
	struct page **const pages = g->pages;
	const u32 flags = g->flags;
	unsigned long i;

	for (i = 0; i < nr; i++) {
		const pte_t e = b->pte[i];
		const memdesc_t md = b->md[i];

		/* relaxed: acquire in 3 pairs with the release of the count, which came after the word */
		if (!memdesc_eq(page_memdesc_relaxed(pages[i]), md))
			break;
		/* seq_cst: pairs with ptep_get_and_clear() and its like */
		if (!same_but_noise(ptep_get_seq_cst(ptep + i), e))
			break;
		if (gup_wants_exclusive(e, md, flags) &&
		    !folio_test_flag(memdesc_ptr(md), PG_anon_exclusive))
			break;
	}
	return i;
}

/*
 * 1 to 7 for the pages at run->ptep, at most @max, as long as they are of small folios. As gup_fast_run(). Out of
 * line: its loops have the registers to themselves.
 */
static __noinline unsigned long gup_fast_batch(struct gup *g, struct gup_run *run,
					       unsigned long max)
{
	/* a pin of a small folio is so many references: 5 is 3 */
	const u32 refs = g->flags & FOLL_PIN ? GUP_PIN_COUNTING_BIAS : 1;
	unsigned long nr, taken = 0, good;
	struct gup_batch b;

	run->nr = gup_batch_look(g, run->ptep, min(max, GUP_BATCH), &b);
	nr = g->flags & FOLL_LONGTERM ? gup_batch_longterm(&b, run->nr) : run->nr;
	while (taken < nr && folio_try_get_refs_seq_cst(memdesc_ptr(b.md[taken]), refs))
		taken++;
	good = gup_batch_recheck(g, run->ptep, &b, taken);
	while (unlikely(taken > good))
		folio_put_refs(memdesc_ptr(b.md[--taken]), refs);
	g->pages += good;
	g->addr += good << PAGE_SHIFT;
	return good;
}

/* ---- runs: consecutive pages of one folio ---- */

/* 6, for @nr entries. Return: how many from the first on are as they were. */
static inline unsigned long gup_recheck(const struct gup_run *run)
{
	unsigned long n = run->level ? 1 : run->nr, i;
	const pte_t *ptep = run->ptep;
	pte_t want = run->pte;

	for (i = 0; i < n; i++, want = pte_advance_pfn(want, 1))
		/* seq_cst: pairs with ptep_get_and_clear() and its like */
		if (!same_but_noise(ptep_get_seq_cst(ptep + i), want))
			break;
	return run->level && i ? run->nr : i;
}

/* 7. Return: how many from the first on may be pinned. Called with pins. */
static inline unsigned long gup_exclusive(const struct gup_run *run, struct folio *folio,
					  unsigned long nr, u32 flags)
{
	unsigned long first = run->pfn - folio_pfn(folio);
	bool exclusive;
	u32 n;

	if (!gup_wants_exclusive(run->pte, run->md, flags))
		return nr;
	if (run->level) {
		/* the bit of the first page that the leaf maps stands for all */
		first &= ~((1ul << level_order(run->level)) - 1);
		return folio_test_anon_exclusive(folio, first) ? nr : 0;
	}
	n = folio_anon_exclusive_run(folio_subrange(folio, first, nr), &exclusive);
	return exclusive ? n : 0;
}

/* Return: pages taken, from the first on; fewer than run->nr: the slow path has the next one. */
static unsigned long gup_take(const struct gup_run *run, u32 flags)
{
	struct folio *folio = memdesc_ptr(run->md);
	unsigned long nr = run->nr, good;

	if (flags & FOLL_LONGTERM && !gup_may_stay(run->md, run->pfn))
		return 0;
	/* 3 and 5 */
	if (!(flags & FOLL_PIN ? folio_try_pin(folio, (u32)nr)
			       : folio_try_get_refs_seq_cst(folio, (u32)nr)))
		return 0;
	/* 4; acquire in 3 pairs with the release of who published, split or merged the folio */
	good = folio_contains(folio, run->pfn) &&
			       run->pfn + nr <= folio_pfn(folio) + folio_nr_pages(folio)
		       ? nr
		       : 0;
	if (good)
		good = min(good, gup_recheck(run));
	if (good)
		good = gup_exclusive(run, folio, good, flags);
	if (unlikely(good < nr))
		gup_put_folio(folio, nr - good, flags);
	return good;
}

/* Entries from run->ptep on that go on with the next frame; looked at again by gup_recheck(). */
static inline unsigned long gup_run_length(const struct gup_run *run, unsigned long max)
{
	const struct page *page = pfn_to_page(run->pfn);
	const pte_t *ptep = run->ptep;
	const memdesc_t md = run->md;
	pte_t want = run->pte;
	unsigned long n;

	for (n = 1; n < max; n++) {
		want = pte_advance_pfn(want, 1);
		/* the word: of another folio from here on, a hint only */
		if (!same_but_noise(ptep_get(ptep + n), want) ||
		    !memdesc_eq(page_memdesc_relaxed(page + n), md))
			break;
	}
	return n;
}

/* 2 */
static inline bool gup_word_ok(struct gup_run *run)
{
	run->md = page_memdesc(pfn_to_page(run->pfn)); /* acquire */
	return memdesc_is_folio(run->md);
}

/* 3 to 7 for the run at run->ptep, at most @max pages. Return: pages taken; run->nr: how many there were. */
static unsigned long gup_fast_run(struct gup *g, struct gup_run *run, unsigned long max)
{
	unsigned long got;

	run->nr = gup_run_length(run, max);
	got = gup_take(run, g->flags);
	gup_answer(g, run->pfn, got);
	return got;
}

/* ---- the walk ---- */

/* The entries of one last-level table up to g->end. Return: false to end the walk. */
static bool gup_fast_range(struct gup *g, struct gup_run *run, unsigned long max)
{
	while (max) {
		unsigned long got;

		run->pte = ptep_get(run->ptep); /* 1 */
		if (!gup_entry_ok(run->pte, gup_need(g->flags)))
			return false;
		run->pfn = pte_pfn(run->pte);
		if (!gup_word_ok(run))
			return false;
		/* the class is in the stable prefix: it is known without a reference */
		if (folio_class(memdesc_ptr(run->md)) == FOLIO_CLASS_SMALL)
			got = gup_fast_batch(g, run, max);
		else
			got = gup_fast_run(g, run, max);
		if (!got || got < run->nr)
			return false;
		run->ptep += got;
		max -= got;
	}
	return true;
}

static bool gup_fast_leaf(struct gup *g, struct gup_run *run, pte_t leaf)
{
	unsigned long in = (g->addr & (level_size(run->level) - 1)) >> PAGE_SHIFT;
	unsigned long left = (1ul << level_order(run->level)) - in, got;

	run->pte = leaf;
	if (!gup_entry_ok(leaf, gup_need(g->flags)))
		return false;
	run->pfn = pte_pfn(leaf) + in;
	run->nr = min(left, (g->end - g->addr) >> PAGE_SHIFT);
	if (!gup_word_ok(run))
		return false;
	got = gup_take(run, g->flags);
	gup_answer(g, run->pfn, got);
	return got == run->nr;
}

/* What one last-level table or leaf maps; *@run starts at the top. Return: false to end. Context: RCU. */
static bool gup_fast_step(struct gup *g, struct gup_run *run)
{
	pte_t *table = g->mm->pgd_table;

	for (;; run->level--) {
		pte_t e;

		run->ptep = table + level_index(g->addr, run->level);
		if (run->level == PGTABLE_LEVEL_PTE)
			return gup_fast_range(g, run,
					      min(PTRS_PER_TABLE - level_index(g->addr, 0),
						  (g->end - g->addr) >> PAGE_SHIFT));
		/* acquire at least: pairs with pgtable_link(): the table's contents */
		e = ptep_get_seq_cst(run->ptep);
		if (pte_leaf(e, run->level))
			return gup_fast_leaf(g, run, e);
		if (!pte_table(e, run->level))
			return false;
		run->parent = run->ptep;
		run->parent_pte = e;
		table = pte_to_table(e);
	}
}

/* The rest of 6, and 8. @seq: as it was at 0. */
static bool gup_still(const struct gup *g, const struct gup_run *run, u32 seq)
{
	/* seq_cst: pairs with pgtable_unlink(): a table that was unlinked says nothing any more */
	if (run->parent && !pte_same(ptep_get_seq_cst(run->parent), run->parent_pte))
		return false;
	/*
	 * seq_cst: pairs with the counter's store before fork looks at pins. Pins only: a reference
	 * does not ask for a page of its own.
	 */
	return !(g->flags & FOLL_PIN) || smp_load_seq_cst(&g->mm->write_protect_seq) == seq;
}

/* Give back what was answered since @pages. */
static void gup_undo(struct page **pages, unsigned long nr, u32 flags)
{
	while (nr) {
		struct folio *folio;
		unsigned long n = gup_same_folio(pages, nr, &folio);

		gup_put_folio(folio, n, flags);
		pages += n;
		nr -= n;
	}
}

unsigned long gup_fast(struct gup *g)
{
	unsigned long start = g->addr;
	bool more = true;

	while (more && g->addr < g->end) {
		struct page **pages = g->pages;
		unsigned long addr = g->addr;
		/* 0; acquire: pairs with the release that ends a fork: its entries are seen */
		u32 seq = smp_load_acquire(&g->mm->write_protect_seq);
		struct gup_run run = { .level = PGTABLE_LEVEL_TOP };

		if (g->flags & FOLL_PIN && seq & 1)
			break;
		/* a section for each table: it keeps tables and descriptors, and grace periods waiting */
		rcu_read_lock();
		more = gup_fast_step(g, &run);
		if (!gup_still(g, &run, seq)) {
			gup_undo(pages, (g->addr - addr) >> PAGE_SHIFT, g->flags);
			g->pages = pages;
			g->addr = addr;
			more = false;
		}
		rcu_read_unlock();
	}
	return (g->addr - start) >> PAGE_SHIFT;
}
