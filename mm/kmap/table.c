/* SPDX-License-Identifier: MIT */
/*
 * table.c - the kernel's page tables.
 *
 * Who has an area has its entries: no lock is taken to store them. Locks of tables are for linking tables alone.
 * Look-ups (vmalloc_to_page()) go down under RCU, so a table that a larger entry replaces is freed after a grace period.
 * Tables of addresses that nobody uses stay, until a larger entry takes their place or the machine ends.
 *
 * The kernel cannot fault where it looks, so no entry is ever taken away to be put back differently: a larger entry that
 * is split becomes a table in one step.
 */
#include "kmap.h"

#define LEAF_SIZE  level_size(PGTABLE_LEVEL_PMD)
#define LEAF_PAGES (1ul << level_order(PGTABLE_LEVEL_PMD))

/* ---- filling ---- */

static int alloc_to(struct kmapper *m, unsigned int level, struct pt_pos *pos)
{
	const int err =
		pgtable_alloc_to(m->k->mm, kmap_table_addr(m->addr), level, GFP_KERNEL, pos);

	if (unlikely(err && err != -ENOMEM))
		octavo_panic("kernel address 0x%lx is mapped already", m->addr);
	return err;
}

/* A table that nothing needs, in the way of a larger entry. All that it covers is the caller's. */
static void drop_table(const struct pt_pos *pos, unsigned long addr)
{
	struct ptdesc *pt = pte_to_ptdesc(pos->pte);

	spin_lock(&pos->pt->ptl);
	spin_lock(&pt->ptl);
	pgtable_unlink(pos);
	spin_unlock(&pt->ptl);
	spin_unlock(&pos->pt->ptl);
	flush_tlb_tables(NULL, addr, addr + LEAF_SIZE);
	pagetable_free_rcu(pt);
}

static int map_leaf(struct kmapper *m, unsigned long pfn)
{
	struct pt_pos pos;
	const int err = alloc_to(m, PGTABLE_LEVEL_PMD, &pos);

	if (err)
		return err;
	if (pte_table(pos.pte, PGTABLE_LEVEL_PMD))
		drop_table(&pos, m->addr);
	else if (unlikely(!pte_none(pos.pte)))
		octavo_panic("kernel address 0x%lx is mapped already", m->addr);
	set_pte(pos.ptep, pte_mkleaf(pfn_pte(pfn, m->prot), PGTABLE_LEVEL_PMD));
	m->huge++;
	return 0;
}

int kmap_map_run(struct kmapper *m, unsigned long pfn, unsigned long nr)
{
	while (nr) {
		unsigned long n = LEAF_PAGES;
		int err = 0;

		if (m->max_level && nr >= LEAF_PAGES && IS_ALIGNED(m->addr, LEAF_SIZE) &&
		    IS_ALIGNED(pfn, LEAF_PAGES)) {
			err = map_leaf(m, pfn);
		} else {
			n = min(nr, kmap_left_in_table(m->addr));
			if (!m->ptep) {
				struct pt_pos pos;

				err = alloc_to(m, PGTABLE_LEVEL_PTE, &pos);
				m->ptep = err ? NULL : pos.ptep;
			}
			if (!err) {
				VM_BUG_ON(!pte_none(ptep_get(m->ptep)));
				set_ptes(m->ptep, pfn_pte(pfn, m->prot), n);
				m->ptep += n;
			}
		}
		if (err)
			return err;
		pfn += n;
		nr -= n;
		m->addr += n << PAGE_SHIFT;
		if (IS_ALIGNED(m->addr, LEAF_SIZE))
			m->ptep = NULL;
	}
	return 0;
}

/*
 * Entries for pages, in @n empty ones. Two entries differ as their pages' addresses do, but for a factor: no frame
 * number needs to be made. Four a step.
 */
static void store_pages(pte_t *ptep, struct page *const *pages, unsigned long n, pgprot_t prot)
{
	const u64 factor = pte_advance_pfn(__pte(0), 1).v / sizeof(struct page);
	const u64 base = pfn_pte(0, prot).v - (u64)pfn_to_page(0) * factor;
	unsigned long i;

#define STORE(k) set_pte(ptep + (k), __pte(base + (u64)pages[k] * factor))
	for (i = 0; i < n; i++)
		VM_BUG_ON(!pte_none(ptep_get(ptep + i)));
	for (i = 0; i + 4 <= n; i += 4) {
		STORE(i);
		STORE(i + 1);
		STORE(i + 2);
		STORE(i + 3);
	}
	for (; i < n; i++)
		STORE(i);
#undef STORE
}

int kmap_map_pages(struct kmapper *m, struct page *const *pages, unsigned long nr)
{
	while (nr) {
		const unsigned long n = min(nr, kmap_left_in_table(m->addr));
		struct pt_pos pos;

		if (!m->ptep) {
			const int err = alloc_to(m, PGTABLE_LEVEL_PTE, &pos);

			if (err)
				return err;
			m->ptep = pos.ptep;
		}
		store_pages(m->ptep, pages, n, m->prot);
		pages += n;
		nr -= n;
		m->ptep += n;
		m->addr += n << PAGE_SHIFT;
		if (IS_ALIGNED(m->addr, LEAF_SIZE))
			m->ptep = NULL;
	}
	return 0;
}

unsigned int kmap_map_single_parts(struct kmapper *m, const struct folio_subrange *parts,
				   unsigned int count)
{
	const unsigned long max = min((unsigned long)count, kmap_left_in_table(m->addr));
	const pgprot_t prot = m->prot;
	pte_t *const ptep = m->ptep;
	unsigned int n;

	if (!ptep)
		return 0;
	for (n = 0; n < max && parts[n].nr == 1; n++) {
		VM_BUG_ON(!pte_none(ptep_get(ptep + n)));
		set_pte(ptep + n, pfn_pte(folio_place(parts[n].folio) + parts[n].first, prot));
	}
	m->addr += (unsigned long)n << PAGE_SHIFT;
	m->ptep = IS_ALIGNED(m->addr, LEAF_SIZE) ? NULL : ptep + n;
	return n;
}

/* ---- going over a range ---- */

/*
 * The entry for @addr at the lowest level that there is. Return: where what it covers ends, but not beyond @end.
 * The addresses are the caller's, so tables stay.
 */
static unsigned long walk(struct kmap *k, unsigned long addr, unsigned long end, struct pt_pos *pos)
{
	pgtable_walk(k->mm, kmap_table_addr(addr), PGTABLE_LEVEL_PTE, pos);
	return level_addr_end(addr, end, pos->level);
}

void kmap_entry_ahead(struct kmap *k, unsigned long addr)
{
	const unsigned long at = kmap_table_addr(addr);
	pte_t *table = k->mm->pgd_table;

	for (unsigned int level = PGTABLE_LEVEL_TOP; level > PGTABLE_LEVEL_PTE; level--) {
		/* seq_cst: as pgtable_walk() */
		const pte_t e = ptep_get_seq_cst(table + level_index(at, level));

		if (!pte_table(e, level))
			return;
		table = pte_to_table(e);
	}
	prefetchw(table + level_index(at, PGTABLE_LEVEL_PTE));
}

static unsigned long entries_in_table(unsigned long addr, unsigned long end)
{
	return min(kmap_left_in_table(addr), (end - addr) >> PAGE_SHIFT);
}

void kmap_unmap(struct kmap *k, unsigned long start, unsigned long end, unsigned long *huge)
{
	for (unsigned long addr = start; addr < end;) {
		struct pt_pos pos;
		const unsigned long next = walk(k, addr, end, &pos);

		if (pos.level == PGTABLE_LEVEL_PTE) {
			const unsigned long n = entries_in_table(addr, end);

			/* a racing hardware walk stores nothing in an entry that is not present */
			clear_ptes(pos.ptep, n);
			addr += n << PAGE_SHIFT;
			continue;
		}
		if (pte_leaf(pos.pte, pos.level)) {
			BUG_ON(next - addr != level_size(pos.level));
			pte_clear(pos.ptep);
			++*huge;
		}
		addr = next;
	}
}

unsigned long kmap_count_mapped(struct kmap *k, unsigned long start, unsigned long end,
				unsigned long *huge)
{
	unsigned long mapped = 0;

	for (unsigned long addr = start; addr < end;) {
		struct pt_pos pos;
		const unsigned long next = walk(k, addr, end, &pos);

		if (pos.level == PGTABLE_LEVEL_PTE) {
			const unsigned long n = entries_in_table(addr, end);

			for (unsigned long i = 0; i < n; i++)
				mapped += !pte_none(ptep_get(pos.ptep + i));
			addr += n << PAGE_SHIFT;
			continue;
		}
		if (pte_leaf(pos.pte, pos.level)) {
			mapped += (next - addr) >> PAGE_SHIFT;
			*huge += IS_ALIGNED(addr, LEAF_SIZE);
		}
		addr = next;
	}
	return mapped;
}

/* ---- looking up ---- */

bool kmap_lookup(struct kmap *k, unsigned long addr, pte_t *e, unsigned int *level)
{
	struct pt_pos pos;

	rcu_read_lock();
	pgtable_walk(k->mm, kmap_table_addr(addr), PGTABLE_LEVEL_PTE, &pos);
	rcu_read_unlock();
	*e = pos.pte;
	*level = pos.level;
	return pte_leaf(pos.pte, pos.level);
}

unsigned long vmalloc_to_pfn(const void *addr)
{
	const unsigned long a = (unsigned long)addr;
	struct kmap *k = kmap_if_up();
	unsigned int level;
	pte_t e;

	if (!k || !is_vmalloc_addr(addr) || !kmap_lookup(k, a, &e, &level))
		return 0;
	return pte_pfn(e) + ((a & (level_size(level) - 1)) >> PAGE_SHIFT);
}

struct page *vmalloc_to_page(const void *addr)
{
	const unsigned long a = (unsigned long)addr;
	struct kmap *k = kmap_if_up();
	unsigned int level;
	pte_t e;

	if (!k || !is_vmalloc_addr(addr) || !kmap_lookup(k, a, &e, &level) || pte_special(e))
		return NULL;
	return pfn_to_page(pte_pfn(e) + ((a & (level_size(level) - 1)) >> PAGE_SHIFT));
}

/* ---- permissions ---- */

/* A larger entry that reaches over @addr becomes a table. Return: how many did, -ENOMEM. */
static int split_at(struct kmap *k, unsigned long addr)
{
	const unsigned long start = ALIGN_DOWN(addr, LEAF_SIZE);
	struct ptdesc *pt;
	struct pt_pos pos;
	pte_t *table, e;
	bool done;

	if (addr == start || pgtable_walk(k->mm, kmap_table_addr(addr), PGTABLE_LEVEL_PTE, &pos) ||
	    !pte_leaf(pos.pte, pos.level))
		return 0;
	pt = pagetable_alloc(GFP_KERNEL, 0);
	if (!pt)
		return -ENOMEM;
	spin_lock(&pos.pt->ptl);
	e = ptep_get(pos.ptep);
	done = pte_leaf(e, pos.level);
	if (done) {
		table = ptdesc_address(pt);
		for (unsigned long i = 0; i < PTRS_PER_TABLE; i++)
			/* relaxed: the exchange below releases */
			WRITE_ONCE(table[i].v,
				   pte_advance_pfn(pte_mksmaller(e, PGTABLE_LEVEL_PTE), i).v);
		pt->mm = k->mm;
		pt->index = kmap_table_addr(addr) >> level_shift(PGTABLE_LEVEL_PMD);
		pos.pt->nr_entries++;
		fetch_add_relaxed(&k->mm->pgtables_bytes, PAGE_SIZE);
		/* seq_cst: as pgtable_link(); pairs with every walk: the table is filled */
		xchg_seq_cst(&pos.ptep->v, pte_mktable(ptdesc_pfn(pt)).v);
	}
	spin_unlock(&pos.pt->ptl);
	if (!done) {
		pagetable_free(pt);
		return 0;
	}
	/* no CPU has translations of two sizes for long */
	flush_tlb_range(NULL, start, start + LEAF_SIZE, PGTABLE_LEVEL_PTE);
	return 1;
}

int kmap_protect(struct kmap *k, unsigned long start, unsigned long end, u64 set, u64 clear,
		 unsigned long *split)
{
	const unsigned long ends[] = { start, end };

	for (unsigned int i = 0; i < ARRAY_SIZE(ends); i++) {
		const int r = split_at(k, ends[i]);

		if (r < 0)
			return r;
		*split += (unsigned long)r;
	}
	for (unsigned long addr = start; addr < end;) {
		struct pt_pos pos;
		const unsigned long next = walk(k, addr, end, &pos);

		/* relaxed: the flush comes after; atomic: the hardware sets bits too */
		if (set)
			fetch_or_relaxed(&pos.ptep->v, set);
		if (clear)
			fetch_and_relaxed(&pos.ptep->v, ~clear);
		addr = next;
	}
	flush_tlb_range(NULL, start, end, PGTABLE_LEVEL_PTE);
	return 0;
}
