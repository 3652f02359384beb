// SPDX-License-Identifier: MIT
/*
 * protect.c - the entries of a range get their area's new protection.
 *
 * What an entry becomes is a function of its bits alone, but where it may become writable in a private area: then
 * its pages must be exclusive and dirty, so that no fault would have copied them. So eight entries that
 * agree in what matters are changed without a look at what they map.
 *
 * Hardware sets accessed and dirty bits meanwhile. Every change is a read-modify-write of the bits that
 * change and no others, so none of those is lost.
 *
 * What it does not do: flush. Restricted entries are noted for the caller's flush; where more is allowed than
 * before, a translation from before faults once.
 */
#include <octavo/errno.h>

#include "span.h"

struct protect {
	struct vm_area_struct *vma;
	pgprot_t prot;
	bool write; /* the area allows it */
	bool cow;   /* private: writable is what no fault would copy */
	long changed;
	unsigned long from, to; /* restricted in this span */
};

/* What an entry becomes. @may_write: in a private area, that its pages are exclusive and dirty. */
static inline pte_t protected_entry(const struct protect *p, pte_t e, bool may_write)
{
	pte_t new = pte_modify(e, p->prot);

	if (!p->write)
		return new;
	if (pte_uffd_wp(e))
		return pte_wrprotect(new);
	/* what could be written to before can be now: nobody shares pages here but fork, who clears the bit */
	if (pte_write(e) || may_write)
		return pte_mkwrite(new);
	if (pte_write(new) && pte_special(e) && is_zero_pfn(pte_pfn(e)))
		return pte_wrprotect(new);
	return new;
}

/* Can a CPU that still has @old do what @new does not allow? */
static inline bool restricts(pte_t old, pte_t new)
{
	if (pte_protnone(old))
		return false;
	return pte_protnone(new) || (pte_write(old) && !pte_write(new)) ||
	       (pte_user(old) && !pte_user(new)) || (pte_exec(old) && !pte_exec(new));
}

/* @nr entries lose and get the bits by which @new differs from @old, in which they are all like @old. */
static inline void change_run(struct protect *p, unsigned long addr, pte_t *ptep, pte_t old,
			      pte_t new, unsigned long nr)
{
	u64 clear = old.v & ~new.v, set = new.v & ~old.v;

	if (!set)
		for (unsigned long i = 0; i < nr; i++)
			fetch_and_relaxed(&ptep[i].v, ~clear);
	else if (!clear)
		for (unsigned long i = 0; i < nr; i++)
			fetch_or_relaxed(&ptep[i].v, set);
	else
		for (unsigned long i = 0; i < nr; i++) {
			u64 v = READ_ONCE(ptep[i].v);

			while (!try_cmpxchg_relaxed(&ptep[i].v, &v, (v & ~clear) | set))
				;
		}
	if (!(clear | set))
		return;
	p->changed += (long)nr;
	if (restricts(old, new)) {
		p->from = min(p->from, addr);
		p->to = addr + (nr << PAGE_SHIFT);
	}
}

/*
 * Eight present entries at once, if none of them may become writable by what it maps and all change alike. Return:
 * false: not so, and nothing was done.
 */
static inline bool protect_eight(struct protect *p, unsigned long addr, pte_t *ptep)
{
	pte_t all = ptep_get(ptep), any = all, new_all, new_any;

	for (int i = 1; i < 8; i++) {
		pte_t e = ptep_get(ptep + i);

		all.v &= e.v;
		any.v |= e.v;
	}
	if (!pte_present(all))
		return false;
	if (p->write && (pte_special(any) || pte_uffd_wp(any)))
		return false;
	if (p->write && !pte_write(all) && (pte_write(any) || (p->cow && pte_dirty(any))))
		return false;
	/* bit by bit a function of the entry, so what "all" and "any" lose and get is what the eight do */
	new_all = protected_entry(p, all, false);
	new_any = protected_entry(p, any, false);
	if ((all.v ^ new_all.v) != (any.v ^ new_any.v))
		return false;
	change_run(p, addr, ptep, all, new_all, 8);
	return true;
}

/* Return: how many entries, 1 to @max. */
static unsigned long protect_present(struct protect *p, unsigned long addr, pte_t *ptep, pte_t e,
				     unsigned long max)
{
	unsigned long nr = 1;
	bool may_write = false;

	if (p->write && p->cow && !pte_write(e) && pte_dirty(e)) {
		const struct mapped m = pte_mapped(e);

		if (m.anon && max > 1 && folio_test_large(m.folio))
			nr = folio_pte_batch_flags(m.folio, p->vma, ptep, &e, (unsigned int)max,
						   FPB_RESPECT_DIRTY | FPB_RESPECT_WRITE);
		if (m.anon)
			nr = folio_anon_exclusive_run(mapped_subrange(m.folio, pte_pfn(e), nr),
						      &may_write);
	}
	change_run(p, addr, ptep, e, protected_entry(p, e, may_write), nr);
	return nr;
}

/* Migration comes back to what the entry says; all else of swap form to what the area says then. */
static void protect_swap_form(struct protect *p, pte_t *ptep, pte_t e)
{
	swp_entry_t entry = pte_to_swp_entry(e);

	if (p->write || swp_type(entry) != SWP_MIGRATION_WRITE)
		return;
	set_pte(ptep, swap_form_retype(e, migration_counter(e) == MM_ANONPAGES
						  ? SWP_MIGRATION_READ_EXCLUSIVE
						  : SWP_MIGRATION_READ));
	p->changed++;
}

static void protect_entries(struct protect *p, const struct pt_span *span)
{
	unsigned long addr = span->addr;
	pte_t *ptep = span->ptep;

	while (addr < span->end) {
		unsigned long max = (span->end - addr) >> PAGE_SHIFT, nr = 1;
		pte_t e = ptep_get(ptep);

		if (pte_none(e))
			nr = pte_none_run(ptep, max);
		else if (max >= 8 && protect_eight(p, addr, ptep))
			nr = 8;
		else if (pte_present(e))
			nr = protect_present(p, addr, ptep, e, max);
		else
			protect_swap_form(p, ptep, e);
		ptep += nr;
		addr += nr << PAGE_SHIFT;
	}
}

/* One entry above the last level; the bit of its first page stands for it. */
static void protect_leaf(struct protect *p, const struct pt_span *span)
{
	pte_t e = ptep_get(span->ptep);
	bool may_write = false;

	if (!pte_present(e)) {
		protect_swap_form(p, span->ptep, e);
		return;
	}
	if (p->write && p->cow && !pte_write(e) && pte_dirty(e)) {
		const struct mapped m = pte_mapped(e);

		may_write = m.anon &&
			    folio_test_anon_exclusive(m.folio, pte_pfn(e) - folio_pfn(m.folio));
	}
	change_run(p, span->addr, span->ptep, e, protected_entry(p, e, may_write), 1);
	if (p->to)
		p->to = span->end;
}

long change_protection(struct mmu_gather *tlb, struct vm_area_struct *vma, unsigned long start,
		       unsigned long end)
{
	struct protect p = {
		.vma = vma,
		.prot = vma->vm_page_prot,
		.write = vma->vm_flags & VM_WRITE,
		.cow = !(vma->vm_flags & VM_SHARED),
	};
	struct pt_span span;

	VM_BUG_ON(start < vma->vm_start || end > vma->vm_end);
	while (pt_span_next(vma->vm_mm, start, end, &span)) {
		bool split = span.level && !pt_span_whole(&span);

		p.from = ~0ul;
		p.to = 0;
		if (!span.level)
			protect_entries(&p, &span);
		else if (!split)
			protect_leaf(&p, &span);
		if (p.to)
			tlb_note_range(tlb, p.from, p.to, span.level);
		pt_span_unlock(&span);
		start = span.end;
		if (split) {
			if (split_leaf(vma, span.addr))
				return -ENOMEM;
			start = span.addr;
		}
	}
	return p.changed;
}
