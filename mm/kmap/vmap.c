/* SPDX-License-Identifier: MIT */
/*
 * vmap.c - pages and parts of folios made contiguous.
 *
 * What is mapped is looked at as runs of frames, whatever they were allocated as: a run that is as long as a larger entry
 * and aligned as one is mapped by it, and the address is chosen so that the first such run can be. Everything that can
 * be refused is refused before anything is changed, then what can fail is done where nobody sees it, and only then do
 * references and the array change hands.
 */
#include "kmap.h"

/* ---- what may be mapped ---- */

static inline bool may_map(memdesc_t md, bool owned)
{
	const unsigned int good = 1u << MEMDESC_FILE | 1u << MEMDESC_ANON | 1u << MEMDESC_MANAGED |
				  1u << MEMDESC_MISC;

	/* S4.4: what has no count has no reference to give */
	return good >> memdesc_type(md) & 1 &&
	       !(owned && memdesc_is_misc(md) && memdesc_frozen(md));
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

static inline bool run_good(unsigned long pfn, unsigned long nr, bool owned)
{
	for (;;) {
		unsigned long n;
		memdesc_t md;

		if (!pfn_valid(pfn))
			return false;
		md = page_memdesc(pfn_to_page(pfn));
		if (!may_map(md, owned))
			return false;
		if (nr == 1)
			return true;
		n = same_as(pfn, md);
		if (n >= nr)
			return true;
		pfn += n;
		nr -= n;
	}
}

/* How many pages from pages[0] on are neighbours, @max at most. Eight pointers a step. */
static inline unsigned long neighbours(struct page *const *pages, unsigned long max)
{
	struct page *const first = pages[0];
	unsigned long n = 1;

#define OTHER(k) ((unsigned long)pages[n + (k)] ^ (unsigned long)(first + n + (k)))
	for (; n + 8 <= max; n += 8)
		if ((OTHER(0) | OTHER(1) | OTHER(2) | OTHER(3) | OTHER(4) | OTHER(5) | OTHER(6) |
		     OTHER(7)))
			break;
	while (n < max && !OTHER(0))
		n++;
#undef OTHER
	return n;
}

/* The run of frames at *@i, which moves on. Return: its length, 0 at the end. */
static inline unsigned long next_run(const struct kmap_source *src, unsigned int *i,
				     unsigned long *pfn)
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

/*
 * Where the addresses should lie: so that the first run with a large enough aligned part in it can be mapped by a larger
 * entry. S4.15. @at: where the run is in the source.
 */
static void choose_color(struct kmap_want *want, unsigned long pfn, unsigned long nr,
			 unsigned long at)
{
	const unsigned long leaf = 1ul << level_order(PGTABLE_LEVEL_PMD);
	const unsigned long skip = ALIGN(pfn, leaf) - pfn;

	if (nr < leaf + skip || want->align != PAGE_SIZE)
		return;
	want->align = level_size(PGTABLE_LEVEL_PMD);
	want->color = (0 - ((at + skip) << PAGE_SHIFT)) & (want->align - 1);
}

/* Pages from *@i on that have no neighbour after them. Return: 0, -EINVAL: one may not be mapped. */
static int check_singles(const struct kmap_source *src, unsigned int *i, bool owned)
{
	struct page *const *pages = src->pages;
	unsigned long section = ~0ul;
	unsigned int at = *i;

	for (; at < src->count; at++) {
		struct page *page = pages[at];
		const unsigned long pfn = page_to_pfn(page);

		if (at + 1 < src->count && pages[at + 1] == page + 1)
			break;
		/* what holds for one frame of a section does for all */
		if (pfn >> SECTION_ORDER != section) {
			if (!pfn_valid(pfn))
				return -EINVAL;
			section = pfn >> SECTION_ORDER;
		}
		if (!may_map(page_memdesc(page), owned))
			return -EINVAL;
	}
	*i = at;
	return 0;
}

/* A run that follows all that is known. */
static inline void know_run(struct kmap_source *src, unsigned long at, unsigned long pfn,
			    unsigned long nr, unsigned long *known)
{
	if (at != *known || nr > VM_RUN_MAX || src->nr_known == KMAP_KNOWN_RUNS)
		return;
	src->known[src->nr_known++] = vm_run_pack(pfn, nr);
	*known += nr;
}

static int check_pages(struct kmap_source *src, bool owned, struct kmap_want *want)
{
	unsigned long pfn, nr, at, known = 0;
	unsigned int i = 0;

	for (;;) {
		if (check_singles(src, &i, owned))
			return -EINVAL;
		at = i;
		nr = next_run(src, &i, &pfn);
		if (!nr)
			return 0;
		if (!run_good(pfn, nr, owned))
			return -EINVAL;
		if (want)
			choose_color(want, pfn, nr, at);
		know_run(src, at, pfn, nr, &known);
	}
}

static int check_parts(const struct kmap_source *src, bool owned, struct kmap_want *want)
{
	unsigned long at = 0;

	for (unsigned int i = 0; i < src->count; i++) {
		const struct folio_subrange *sr = &src->parts[i];
		const unsigned long pfn = folio_place(sr->folio) + sr->first;

		if (!run_good(pfn, sr->nr, owned))
			return -EINVAL;
		if (sr->nr > 1 && want)
			choose_color(want, pfn, sr->nr, at);
		at += sr->nr;
	}
	return 0;
}

int kmap_check_source(struct kmap_source *src, bool owned, struct kmap_want *want)
{
	return src->parts ? check_parts(src, owned, want) : check_pages(src, owned, want);
}

/* Could @nr pages from @pages on fill a larger entry at m->addr? Only a look at both ends; the first is a page's. */
static inline bool may_be_leaf(const struct kmapper *m, struct page *const *pages, unsigned long nr)
{
	const unsigned long leaf = 1ul << level_order(PGTABLE_LEVEL_PMD);

	return m->max_level && nr >= leaf && IS_ALIGNED(m->addr, leaf << PAGE_SHIFT) &&
	       IS_ALIGNED(page_to_pfn(pages[0]), leaf) && pages[leaf - 1] == pages[0] + leaf - 1;
}

/* What is not known to be runs: by entries of the last level, but for what fills a larger one. */
static int map_rest(struct kmapper *m, struct page *const *pages, unsigned long nr)
{
	const unsigned long leaf = 1ul << level_order(PGTABLE_LEVEL_PMD);
	int err = 0;

	while (!err && nr) {
		const unsigned long in_table = leaf - (m->addr >> PAGE_SHIFT & (leaf - 1));
		unsigned long n = min(nr, in_table);

		if (may_be_leaf(m, pages, nr) && neighbours(pages, leaf) == leaf)
			err = kmap_map_run(m, page_to_pfn(pages[0]), n);
		else
			err = kmap_map_pages(m, pages, n);
		pages += n;
		nr -= n;
	}
	return err;
}

int kmap_map_source(struct kmapper *m, const struct kmap_source *src)
{
	unsigned long at = 0;
	int err = 0;

	for (unsigned int i = 0; src->parts && !err && i < src->count; i++) {
		const struct folio_subrange *sr = &src->parts[i];
		const unsigned long pfn = folio_place(sr->folio) + sr->first;

		err = sr->nr == 1 ? kmap_map_page(m, pfn) : kmap_map_run(m, pfn, sr->nr);
	}
	if (src->parts)
		return err;
	for (u32 k = 0; k < src->nr_known && !err; k++) {
		const unsigned long nr = vm_run_nr(src->known[k]);

		err = kmap_map_run(m, vm_run_pfn(src->known[k]), nr);
		at += nr;
	}
	return err ? err : map_rest(m, src->pages + at, src->count - at);
}

/* ---- an area for it ---- */

static int keep_runs(struct vm_runs *runs, const struct kmap_source *src)
{
	unsigned long pfn, nr;
	unsigned int i = 0;

	while ((nr = next_run(src, &i, &pfn)))
		while (nr) {
			const unsigned long n = min(nr, VM_RUN_MAX);

			if (vm_runs_add(runs, pfn, n, GFP_KERNEL))
				return -ENOMEM;
			pfn += n;
			nr -= n;
		}
	return 0;
}

/* The area is @src's owner from here on: nothing fails. */
static void take_over(struct kmap *k, struct vm_struct *area, const struct kmap_source *src,
		      unsigned long total)
{
	struct kmap_home *home = kmap_home_of(k, area);

	WRITE_ONCE(area->nr_pages, total);
	kmap_count(&home->nr_owned, (long)total);
	kmap_count(&home->runs_bytes, (long)vm_runs_bytes(&area->runs));
	/* one reference for each page, whichever way they came */
	for (unsigned int i = 0; src->parts && i < src->count; i++)
		if (src->parts[i].nr > 1)
			folio_ref_add(src->parts[i].folio, src->parts[i].nr - 1);
	if (src->pages)
		kvfree(src->pages);
}

static struct vm_struct *map_new_area(struct kmap *k, const struct kmap_source *src,
				      const struct kmap_want *want, unsigned long flags,
				      pgprot_t prot, const void *caller)
{
	const unsigned long total = (want->size >> PAGE_SHIFT) - 1;
	struct kmapper m = { .k = k, .prot = prot };
	struct vm_struct *area;
	int err = 0;

	m.max_level = flags & VM_NO_HUGE_VMAP ? 0 : MAX_LEAF_LEVEL;
	area = kmap_area_alloc(k, want);
	if (!area)
		return NULL;
	kmap_area_setup(area, flags, caller);
	area->used = total << PAGE_SHIFT;
	m.addr = area->node.start;
	if (flags & VM_MAP_PUT_PAGES)
		err = keep_runs(&area->runs, src);
	if (!err)
		err = kmap_map_source(&m, src);
	if (err) {
		vm_runs_clear(&area->runs);
		kmap_unmap(k, area->node.start, m.addr, &m.huge);
		/* the hardware may have looked there on its own account */
		kmap_area_retire(k, area, false);
		return NULL;
	}
	kmap_count_map(k, area, (long)total, (long)m.huge);
	if (flags & VM_MAP_PUT_PAGES)
		take_over(k, area, src, total);
	kmap_area_publish(k, area);
	return area;
}

static int map_source(struct kmap_source *src, unsigned long total, unsigned long flags,
		      pgprot_t prot, const void *caller, void **addr)
{
	struct kmap_want want = { .size = (total << PAGE_SHIFT) + PAGE_SIZE, .align = PAGE_SIZE };
	struct vm_struct *area;
	struct kmap *k;

	if (flags & ~(VM_MAP | VM_MAP_PUT_PAGES | VM_NO_HUGE_VMAP | VM_ALLOW_HUGE_VMAP |
		      VM_USERMAP | VM_NO_GUARD | VM_MAP_RAM) ||
	    !total) {
		if (flags & VM_FLUSH_RESET_PERMS)
			pr_warn("vmap: VM_FLUSH_RESET_PERMS is for memory of vmalloc()");
		return -EINVAL;
	}
	if (flags & VM_NO_GUARD) {
		pr_warn("vmap: VM_NO_GUARD is ignored");
		flags &= ~VM_NO_GUARD;
	}
	/* the same pages again and again may be more than there are, but that is a mistake */
	if (total > totalram_pages())
		return -E2BIG;
	if (kmap_check_source(src, flags & VM_MAP_PUT_PAGES,
			      flags & VM_NO_HUGE_VMAP ? NULL : &want))
		return -EINVAL;
	k = kmap_get();
	if (!k)
		return -ENOMEM;
	vmalloc_run_deferred();
	prot.v |= _PAGE_NX;
	area = map_new_area(k, src, &want, flags | VM_MAP, prot, caller);
	if (!area)
		return -ENOMEM;
	*addr = area->addr;
	return 0;
}

/* ---- the calls ---- */

int vmap_pages(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot,
	       void **addr)
{
	struct kmap_source src;

	kmap_source_pages(&src, pages, count);
	return map_source(&src, count, flags, prot, __builtin_return_address(0), addr);
}

void *vmap(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot)
{
	struct kmap_source src;
	void *addr;

	kmap_source_pages(&src, pages, count);
	return map_source(&src, count, flags, prot, __builtin_return_address(0), &addr) ? NULL
											: addr;
}

int vmap_folios(const struct folio_subrange *parts, unsigned int count, unsigned long flags,
		pgprot_t prot, void **addr)
{
	struct kmap_source src;
	unsigned long total = 0;

	kmap_source_pages(&src, NULL, count);
	src.parts = parts;
	for (unsigned int i = 0; i < count; i++)
		total += parts[i].nr;
	return map_source(&src, total, flags, prot, __builtin_return_address(0), addr);
}

void *vmap_pfn(const unsigned long *pfns, unsigned int count, pgprot_t prot)
{
	struct kmap_want want = { .size = ((unsigned long)count << PAGE_SHIFT) + PAGE_SIZE,
				  .align = PAGE_SIZE };
	struct kmapper m = { .prot = prot };
	struct vm_struct *area;

	for (unsigned int i = 0; i < count; i++)
		if (pfn_valid(pfns[i]) || pfns[i] >> PTE_PFN_BITS)
			return NULL;
	m.k = kmap_get();
	if (!m.k || !count)
		return NULL;
	area = kmap_area_alloc(m.k, &want);
	if (!area)
		return NULL;
	kmap_area_setup(area, VM_IOREMAP, __builtin_return_address(0));
	m.addr = area->node.start;
	m.prot = pte_pgprot(pte_mkspecial(pfn_pte(0, (pgprot_t){ prot.v | _PAGE_NX })));
	for (unsigned int i = 0; i < count; i++)
		if (kmap_map_page(&m, pfns[i])) {
			kmap_unmap(m.k, area->node.start, m.addr, &m.huge);
			kmap_area_retire(m.k, area, false);
			return NULL;
		}
	kmap_count_map(m.k, area, (long)count, 0);
	kmap_area_publish(m.k, area);
	return area->addr;
}
