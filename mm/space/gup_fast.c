// SPDX-License-Identifier: MIT
/*
 * gup_fast.c - get_user_pages without a lock: the protocol of docs/memdesc.md "Look-ups".
 *
 * A run of entries that map consecutive pages of one folio is one step of it: one count operation, and every
 * entry read twice. The numbers in the comments are the protocol's:
 *
 *	0 fork counter    1 entries    2 word    3 count    4 the folio has the run    5 pins
 *	6 entries again, and the one above them    7 exclusive    8 fork counter again
 *
 * Each second look defends against one adversary, and nothing else does: 4 against a folio that was freed, or split,
 * between 2 and 3; 6 against unmapping (the reference is then on memory that is nobody's business
 * here) and against the unmapper that shares pages unless they are pinned; 7 against pinning what is
 * shared; 8 against fork. 4 looks at the descriptor under the reference instead of at the words of all pages: pfn
 * and order are constant there, so a run that they cover is of this folio, whoever the folio is
 * by now. Whatever has changed gives up: the slow path, with locks, decides.
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

/* 1 */
static inline bool gup_entry_ok(pte_t e, u32 flags)
{
	const u64 need = _PAGE_PRESENT | _PAGE_USER | (flags & FOLL_WRITE ? _PAGE_RW : 0);

	return (e.v & (need | _PAGE_SPECIAL)) == need;
}

/* 6, for @nr entries. Return: how many from the first on are as they were. */
static inline unsigned long gup_recheck(const struct gup_run *run)
{
	unsigned long n = run->level ? 1 : run->nr, i;

	for (i = 0; i < n; i++)
		/* seq_cst: pairs with ptep_get_and_clear() and its like */
		if (!same_but_noise(ptep_get_seq_cst(run->ptep + i), pte_advance_pfn(run->pte, i)))
			break;
	/* a table that was unlinked says nothing any more */
	if (run->parent && !pte_same(ptep_get_seq_cst(run->parent), run->parent_pte))
		return 0;
	return run->level && i ? run->nr : i;
}

/* 7. Return: how many from the first on may be pinned. Called with pins. */
static inline unsigned long gup_exclusive(const struct gup_run *run, struct folio *folio,
					  unsigned long nr, u32 flags)
{
	unsigned long first = run->pfn - folio_pfn(folio);
	bool exclusive;
	u32 n;

	if (!(flags & FOLL_PIN) || pte_write(run->pte) || memdesc_type(run->md) != MEMDESC_ANON)
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

	if (flags & FOLL_LONGTERM &&
	    (!gup_longterm_ok(run->pfn) || memdesc_type(run->md) != MEMDESC_ANON))
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
	unsigned long n = 1;

	/* the class is in the stable prefix: only large folios have runs */
	if (folio_class((struct folio *)memdesc_ptr(run->md)) == FOLIO_CLASS_SMALL)
		return 1;
	while (n < max && same_but_noise(ptep_get(run->ptep + n), pte_advance_pfn(run->pte, n)) &&
	       /* of another folio from here on: a hint only */
	       memdesc_eq(page_memdesc_relaxed(pfn_to_page(run->pfn + n)), run->md))
		n++;
	return n;
}

/* 2 */
static inline bool gup_word_ok(struct gup_run *run)
{
	run->md = page_memdesc(pfn_to_page(run->pfn)); /* acquire */
	return memdesc_is_folio(run->md);
}

/*
 * One leaf, or the entries of one last-level table up to g->end. Return: false to end the walk.
 */
static bool gup_fast_range(struct gup *g, struct gup_run *run, unsigned long max)
{
	while (max) {
		unsigned long got;

		run->pte = ptep_get(run->ptep); /* 1 */
		if (!gup_entry_ok(run->pte, g->flags))
			return false;
		run->pfn = pte_pfn(run->pte);
		if (!gup_word_ok(run))
			return false;
		run->nr = gup_run_length(run, max);
		got = gup_take(run, g->flags);
		gup_answer(g, run->pfn, got);
		if (got < run->nr)
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
	if (!gup_entry_ok(leaf, g->flags))
		return false;
	run->pfn = pte_pfn(leaf) + in;
	run->nr = min(left, (g->end - g->addr) >> PAGE_SHIFT);
	if (!gup_word_ok(run))
		return false;
	got = gup_take(run, g->flags);
	gup_answer(g, run->pfn, got);
	return got == run->nr;
}

/* What one last-level table or leaf maps. Return: false to end. Context: RCU. */
static bool gup_fast_step(struct gup *g)
{
	pte_t *table = g->mm->pgd_table;
	struct gup_run run = { .level = PGTABLE_LEVEL_TOP };

	for (;; run.level--) {
		pte_t e;

		run.ptep = table + level_index(g->addr, run.level);
		if (run.level == PGTABLE_LEVEL_PTE)
			return gup_fast_range(g, &run,
					      min(PTRS_PER_TABLE - level_index(g->addr, 0),
						  (g->end - g->addr) >> PAGE_SHIFT));
		/* acquire at least: pairs with pgtable_link(): the table's contents */
		e = ptep_get_seq_cst(run.ptep);
		if (pte_leaf(e, run.level))
			return gup_fast_leaf(g, &run, e);
		if (!pte_table(e, run.level))
			return false;
		run.parent = run.ptep;
		run.parent_pte = e;
		table = pte_to_table(e);
	}
}

/* 8 failed: give back what was answered since @pages. */
static void gup_undo(struct page **pages, unsigned long nr)
{
	while (nr) {
		struct folio *folio = page_folio(pages[0]);
		unsigned long n = 1;

		while (n < nr && pages[n] == pages[0] + n && page_folio(pages[n]) == folio)
			n++;
		folio_unpin(folio, (u32)n);
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

		if (g->flags & FOLL_PIN && seq & 1)
			break;
		/* a section for each table: it keeps tables and descriptors, and grace periods waiting */
		rcu_read_lock();
		more = gup_fast_step(g);
		/*
		 * 8; seq_cst: pairs with the counter's store before fork looks at pins. Pins only: a
		 * reference does not ask for a page of its own.
		 */
		if (g->flags & FOLL_PIN && smp_load_seq_cst(&g->mm->write_protect_seq) != seq) {
			gup_undo(pages, (g->addr - addr) >> PAGE_SHIFT);
			g->pages = pages;
			g->addr = addr;
			more = false;
		}
		rcu_read_unlock();
	}
	return (g->addr - start) >> PAGE_SHIFT;
}
