// SPDX-License-Identifier: MIT
/*
 * protect.c - the entries of a range get their area's new protection.
 *
 * What an entry becomes is a function of its bits alone, but where it may become writable in a private area: then
 * its pages must be exclusive and dirty, so that no fault would have copied them. So entries that agree in the
 * bits that matter are changed together, eight at a time, without a look at what they map.
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
	u64 alike;  /* bits in which entries agree that change alike */
	long changed;
	unsigned long from, to; /* restricted in this span */
};

/*
 * What is changed, what decides how, and what tells present entries from others. Of their pages dirty ones of a
 * private area are asked about, and the zero page is special.
 */
static u64 bits_alike(const struct protect *p)
{
	const pte_t ones = __pte(~(u64)0), none = __pte(0);
	u64 bits = ~pte_modify(ones, (pgprot_t){ 0 }).v;

	if (p->write)
		bits |= pte_mkspecial(none).v | pte_mkuffd_wp(none).v;
	return p->write && p->cow ? bits | ~pte_mkclean(ones).v : bits;
}

/* What an entry becomes. @exclusive: of one that asks. */
static inline pte_t protected_entry(const struct protect *p, pte_t e, bool exclusive)
{
	pte_t new = pte_modify(e, p->prot);

	if (!p->write)
		return new;
	if (pte_uffd_wp(e))
		return pte_wrprotect(new);
	/* what could be written to before can be now: nobody shares pages here but fork, who clears the bit */
	if (pte_write(e) || exclusive)
		return pte_mkwrite(new);
	if (pte_write(new) && pte_is_zero_page(e))
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

/* In which bits do eight entries differ from @e? */
static __always_inline u64 eight_differ(const pte_t *ptep, pte_t e)
{
	return (ptep_get(ptep).v ^ e.v) | (ptep_get(ptep + 1).v ^ e.v) |
	       (ptep_get(ptep + 2).v ^ e.v) | (ptep_get(ptep + 3).v ^ e.v) |
	       (ptep_get(ptep + 4).v ^ e.v) | (ptep_get(ptep + 5).v ^ e.v) |
	       (ptep_get(ptep + 6).v ^ e.v) | (ptep_get(ptep + 7).v ^ e.v);
}

/*
 * How many of @max entries are like the first in the bits of @alike. That one was @e, though hardware may have made
 * it dirty since.
 */
static inline unsigned long alike_run(const pte_t *ptep, pte_t e, u64 alike, unsigned long max)
{
	unsigned long nr = 0;

	while (nr + 8 <= max && !(eight_differ(ptep + nr, e) & alike))
		nr += 8;
	while (nr < max && (!nr || !((ptep_get(ptep + nr).v ^ e.v) & alike)))
		nr++;
	return nr;
}

/* Three loops, because each wants to be one instruction an entry. */
static void clear_bits(pte_t *ptep, u64 bits, unsigned long nr)
{
	for (; nr >= 4; nr -= 4, ptep += 4) {
		fetch_and_relaxed(&ptep[0].v, ~bits);
		fetch_and_relaxed(&ptep[1].v, ~bits);
		fetch_and_relaxed(&ptep[2].v, ~bits);
		fetch_and_relaxed(&ptep[3].v, ~bits);
	}
	for (; nr; nr--, ptep++)
		fetch_and_relaxed(&ptep->v, ~bits);
}

static void set_bits(pte_t *ptep, u64 bits, unsigned long nr)
{
	for (; nr >= 4; nr -= 4, ptep += 4) {
		fetch_or_relaxed(&ptep[0].v, bits);
		fetch_or_relaxed(&ptep[1].v, bits);
		fetch_or_relaxed(&ptep[2].v, bits);
		fetch_or_relaxed(&ptep[3].v, bits);
	}
	for (; nr; nr--, ptep++)
		fetch_or_relaxed(&ptep->v, bits);
}

static void clear_and_set_bits(pte_t *ptep, u64 clear, u64 set, unsigned long nr)
{
	for (; nr; nr--, ptep++) {
		u64 v = READ_ONCE(ptep->v);

		while (!try_cmpxchg_relaxed(&ptep->v, &v, (v & ~clear) | set))
			;
	}
}

/* @nr entries that are alike: @e, the first one, becomes @new. */
static inline void change_run(struct protect *p, unsigned long addr, pte_t *ptep, pte_t e,
			      pte_t new, unsigned long nr)
{
	u64 clear = e.v & ~new.v, set = new.v & ~e.v;

	if (!(clear | set))
		return;
	if (!set)
		clear_bits(ptep, clear, nr);
	else if (!clear)
		set_bits(ptep, set, nr);
	else
		clear_and_set_bits(ptep, clear, set, nr);
	p->changed += (long)nr;
	if (restricts(e, new)) {
		p->from = min(p->from, addr);
		p->to = addr + (nr << PAGE_SHIFT);
	}
}

/*
 * May @e become writable, if no fault would copy what it maps? Then it is asked whether that is
 * exclusive; pages that are clean have to tell when they are written to, and fault for it.
 */
static inline bool asks_exclusive(const struct protect *p, pte_t e)
{
	return p->write && p->cow && !pte_write(e) && pte_dirty(e);
}

/* The pages of one folio from @e on, at most @max. Return: how many with one answer, *@exclusive. */
static inline unsigned long exclusive_in_folio(const struct protect *p, const pte_t *ptep, pte_t e,
					       unsigned long max, bool *exclusive)
{
	const struct mapped m = pte_mapped(e);
	unsigned long nr = 1;

	*exclusive = false;
	if (!m.anon)
		return 1;
	if (folio_class(m.folio) == FOLIO_CLASS_SMALL) {
		*exclusive = folio_test_flag(m.folio, PG_anon_exclusive);
		return 1;
	}
	if (max > 1 && folio_test_large(m.folio))
		nr = folio_pte_batch_flags(m.folio, p->vma, ptep, &e, (unsigned int)max,
					   FPB_RESPECT_DIRTY | FPB_RESPECT_WRITE);
	return folio_anon_exclusive_run(mapped_subrange(m.folio, pte_pfn(e), nr), exclusive);
}

/* The same over folios, for entries that are like the first one. */
static inline unsigned long exclusive_run(const struct protect *p, const pte_t *ptep, pte_t e,
					  unsigned long max, bool *exclusive)
{
	unsigned long nr = exclusive_in_folio(p, ptep, e, max, exclusive);

	while (nr < max) {
		pte_t next = ptep_get(ptep + nr);
		unsigned long n;
		bool same;

		if ((next.v ^ e.v) & p->alike)
			break;
		n = exclusive_in_folio(p, ptep + nr, next, max - nr, &same);
		if (same != *exclusive)
			break;
		nr += n;
	}
	return nr;
}

/* Return: how many entries, 1 to @max. */
static inline unsigned long protect_present(struct protect *p, unsigned long addr, pte_t *ptep,
					    pte_t e, unsigned long max)
{
	bool exclusive = false;
	unsigned long nr;

	if (asks_exclusive(p, e))
		nr = exclusive_run(p, ptep, e, max, &exclusive);
	else
		nr = alike_run(ptep, e, p->alike, max);
	change_run(p, addr, ptep, e, protected_entry(p, e, exclusive), nr);
	return nr;
}

/* Migration, and a device's memory, comes back to what the entry says; all else of swap form to what the area says then. */
static void protect_swap_form(struct protect *p, pte_t *ptep, pte_t e)
{
	swp_entry_t entry = pte_to_swp_entry(e);

	if (p->write)
		return;
	if (swp_type(entry) == SWP_DEVICE_PRIVATE_WRITE) {
		/* exclusive still: what it comes back as may become writable again */
		set_pte(ptep, swap_form_retype(e, SWP_DEVICE_PRIVATE_READ));
		p->changed++;
	}
	if (swp_type(entry) != SWP_MIGRATION_WRITE)
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
		else if (likely(pte_present(e)))
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
	bool exclusive = false;

	if (!pte_present(e)) {
		protect_swap_form(p, span->ptep, e);
		return;
	}
	if (asks_exclusive(p, e))
		exclusive_in_folio(p, span->ptep, e, 1, &exclusive);
	change_run(p, span->addr, span->ptep, e, protected_entry(p, e, exclusive), 1);
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

	p.alike = bits_alike(&p);
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
