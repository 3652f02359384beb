/* SPDX-License-Identifier: MIT */
/*
 * rmap_picture.h - what an area maps, page by page, to be compared after it should or should not have changed.
 */
#ifndef OCTAVO_RMAP_PICTURE_H
#define OCTAVO_RMAP_PICTURE_H

#include <octavo/mmu_notifier.h>

#include "rmap_machine.h"

/* With a number in every page. */
static inline struct folio *anon(unsigned int order)
{
	struct folio *folio = hand_folio(order);
	static u64 number;

	for (unsigned long i = 0; i < 1ul << order; i++) {
		u64 *p = pfn_to_virt(folio_pfn(folio) + i);

		p[0] = p[511] = ++number;
	}
	return folio;
}

static inline u64 number_of(unsigned long pfn)
{
	u64 *p = pfn_to_virt(pfn);

	return p[0] == p[511] ? p[0] : 0;
}

/* ---- mirrors ---- */

static inline void hand_mm_drop(struct mm_struct *m)
{
	assert_true(fetch_sub_relaxed(&m->count, 1u) > 1);
}

/* A notifier keeps the address space, which is not to be freed with its last reference. */
static inline void hand_mirror(struct mmu_notifier *mn, struct mm_struct *m)
{
	octavo_state.space.mm_drop = hand_mm_drop;
	assert_int_equal(mmu_notifier_register(mn, m), 0);
}

static inline void hand_mirror_end(struct mmu_notifier *mn, struct mm_struct *m)
{
	mmu_notifier_unregister(mn, m);
	mmu_notifier_subscriptions_destroy(m);
}

/* ---- what is mapped, to be compared ---- */

enum { MAX_PAGES = 1100 };

struct picture {
	unsigned long nr;
	pte_t pte[MAX_PAGES];
	u64 number[MAX_PAGES];
	unsigned char level[MAX_PAGES], exclusive[MAX_PAGES];
};

/* Of @nr pages from page @index of @v on. */
static inline void take(struct picture *p, struct vm_area_struct *v, unsigned long index,
			unsigned long nr)
{
	memset(p, 0, sizeof(*p));
	p->nr = nr;
	assert_true(nr <= MAX_PAGES);
	for (unsigned long i = 0; i < nr; i++) {
		unsigned long addr = hand_addr(v, index + i), pfn;
		struct folio *folio;
		struct pt_pos pos;

		pgtable_walk(v->vm_mm, addr, 0, &pos);
		if (!pte_present(pos.pte) || !pte_leaf(pos.pte, pos.level)) {
			p->pte[i] = pos.pte;
			continue;
		}
		pfn = pte_pfn(pos.pte) +
		      ((addr >> PAGE_SHIFT) & ((1ul << level_order(pos.level)) - 1));
		folio = page_folio(pfn_to_page(pfn));
		assert_non_null(folio);
		p->level[i] = (unsigned char)pos.level;
		p->pte[i] = pos.pte;
		p->number[i] = number_of(pfn);
		p->exclusive[i] = folio_test_anon_exclusive(
			folio, pos.level ? ALIGN_DOWN(pfn - folio_pfn(folio), PMD_NR)
					 : pfn - folio_pfn(folio));
	}
}

#define BITS(e) ((e).v & ~PTE_PFN_MASK)

/* The same memory, seen in the same way. @moved: by other frames. */
static inline void assert_same(const struct picture *a, const struct picture *b, bool moved)
{
	assert_int_equal(a->nr, b->nr);
	for (unsigned long i = 0; i < a->nr; i++) {
		assert_int_equal(a->number[i], b->number[i]);
		assert_int_equal(a->exclusive[i], b->exclusive[i]);
		assert_int_equal(a->level[i], b->level[i]);
		assert_int_equal(BITS(a->pte[i]), BITS(b->pte[i]));
		if (!moved)
			assert_int_equal(a->pte[i].v, b->pte[i].v);
		else if (pte_present(a->pte[i]))
			assert_int_not_equal(pte_pfn(a->pte[i]), pte_pfn(b->pte[i]));
	}
}

/* The folio that an entry maps. */
static inline struct folio *mapped_at(struct vm_area_struct *v, unsigned long index)
{
	struct folio *folio;
	struct pt_pos pos;

	pgtable_walk(v->vm_mm, hand_addr(v, index), 0, &pos);
	assert_true(pte_present(pos.pte));
	folio = page_folio(pfn_to_page(pte_pfn(pos.pte)));
	if (!folio)
		abort();
	return folio;
}

#endif /* OCTAVO_RMAP_PICTURE_H */
