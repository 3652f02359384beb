/* SPDX-License-Identifier: MIT */
/*
 * pte_x86_64.h - page-table entries as x86-64 has them: pure functions on an entry's value.
 *
 * A port with other tables supplies a header with the same names (OCTAVO_PTE_HEADER). Intel SDM
 * volume 3, chapter 4; AMD APM volume 2, chapter 5.
 *
 *	 63 62        52 51                        12 11 10  9  8  7  6  5  4  3  2  1  0
 *	+--+------------+----------------------------+--+--+--+--+--+--+--+--+--+--+--+--+
 *	|NX|            |  frame number              |sd|wp|sp|G |L |D |A |     |U |W |P |  present
 *	+--+------------+----------------------------+--+--+--+--+--+--+--+--+--+--+--+--+
 *	| payload (50)                           14 |13  type 9|0 |             |ex|wp|sd|0|  swap form
 *	+-------------------------------------------+----------+--+-------------+--+--+--+-+
 *
 * L: a leaf above the last level. sp: special, the frame's word is nobody's business. wp: watched
 * for writes. sd: soft-dirty. An entry with P clear and bit 8 set is present to the core and not to
 * the hardware: PROT_NONE. With both clear, and not all zero, it is of swap form: ex exclusive.
 */
#ifndef OCTAVO_PTE_X86_64_H
#define OCTAVO_PTE_X86_64_H

#include <octavo/compiler.h>

/* An entry, at any level. */
typedef struct {
	u64 v;
} pte_t;

/* What an entry has besides its frame. */
typedef struct {
	u64 v;
} pgprot_t;

#define _PAGE_PRESENT	 (1ul << 0)
#define _PAGE_RW	 (1ul << 1)
#define _PAGE_USER	 (1ul << 2)
#define _PAGE_PWT	 (1ul << 3)
#define _PAGE_PCD	 (1ul << 4)
#define _PAGE_ACCESSED	 (1ul << 5)
#define _PAGE_DIRTY	 (1ul << 6)
#define _PAGE_LEAF	 (1ul << 7)
#define _PAGE_PROTNONE	 (1ul << 8)
#define _PAGE_SPECIAL	 (1ul << 9)
#define _PAGE_UFFD_WP	 (1ul << 10)
#define _PAGE_SOFT_DIRTY (1ul << 11)
#define _PAGE_NX	 (1ul << 63)
/*
 * Added to an entry that hardware may use it makes one that hardware may not, taken off it makes the same again: bit 8 for bit 0, and
 * nothing else.
 */
#define _PAGE_INVALIDATE (_PAGE_PROTNONE - _PAGE_PRESENT)
#define PTE_PFN_BITS	 40
#define PTE_PFN_MASK	 (((1ul << PTE_PFN_BITS) - 1) << PAGE_SHIFT)

#define _SWP_SOFT_DIRTY	  (1ul << 1)
#define _SWP_UFFD_WP	  (1ul << 2)
#define _SWP_EXCLUSIVE	  (1ul << 3)
#define _SWP_TYPE_SHIFT	  9
#define _SWP_TYPE_BITS	  5
#define _SWP_OFFSET_SHIFT 14
#define SWP_OFFSET_BITS	  50

/* An entry that leads to another table. Accessed: the core never asks upper levels for their age. */
#define _PAGE_TABLE (_PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED | _PAGE_DIRTY)
#define _PAGE_BASE  (_PAGE_PRESENT | _PAGE_ACCESSED)

#define PAGE_NONE	   ((pgprot_t){ _PAGE_PROTNONE | _PAGE_ACCESSED | _PAGE_NX })
#define PAGE_READONLY	   ((pgprot_t){ _PAGE_BASE | _PAGE_USER | _PAGE_NX })
#define PAGE_READONLY_EXEC ((pgprot_t){ _PAGE_BASE | _PAGE_USER })
#define PAGE_SHARED	   ((pgprot_t){ _PAGE_BASE | _PAGE_USER | _PAGE_RW | _PAGE_NX })
#define PAGE_SHARED_EXEC   ((pgprot_t){ _PAGE_BASE | _PAGE_USER | _PAGE_RW })
#define PAGE_KERNEL	   ((pgprot_t){ _PAGE_BASE | _PAGE_RW | _PAGE_DIRTY | _PAGE_NX })
#define PAGE_KERNEL_RO	   ((pgprot_t){ _PAGE_BASE | _PAGE_NX })
#define PAGE_KERNEL_EXEC   ((pgprot_t){ _PAGE_BASE | _PAGE_RW | _PAGE_DIRTY })

/* What a change of protection may not change. */
#define _PAGE_CHG_KEEP                                                                          \
	(PTE_PFN_MASK | _PAGE_LEAF | _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_SPECIAL | _PAGE_PWT | \
	 _PAGE_PCD | _PAGE_UFFD_WP | _PAGE_SOFT_DIRTY)

static inline pte_t __pte(u64 v)
{
	return (pte_t){ v };
}

static inline bool pte_same(pte_t a, pte_t b)
{
	return a.v == b.v;
}

static inline bool pte_none(pte_t e)
{
	return e.v == 0;
}

/* The core has a frame here, whether the hardware may use it or not. */
static inline bool pte_present(pte_t e)
{
	return e.v & (_PAGE_PRESENT | _PAGE_PROTNONE);
}

static inline bool pte_protnone(pte_t e)
{
	return (e.v & (_PAGE_PRESENT | _PAGE_PROTNONE)) == _PAGE_PROTNONE;
}

/* Neither nothing nor present: swapped, migrating, on a device, poisoned, a marker. */
static inline bool pte_is_swap(pte_t e)
{
	return !pte_none(e) && !pte_present(e);
}

/* Maps memory: at the last level every present entry does. */
static inline bool pte_leaf(pte_t e, unsigned int level)
{
	return pte_present(e) && (level == 0 || (e.v & _PAGE_LEAF));
}

/* Leads to another table. */
static inline bool pte_table(pte_t e, unsigned int level)
{
	return level != 0 && (e.v & (_PAGE_PRESENT | _PAGE_LEAF)) == _PAGE_PRESENT;
}

static inline bool pte_write(pte_t e)
{
	return e.v & _PAGE_RW;
}

static inline bool pte_dirty(pte_t e)
{
	return e.v & _PAGE_DIRTY;
}

static inline bool pte_young(pte_t e)
{
	return e.v & _PAGE_ACCESSED;
}

static inline bool pte_user(pte_t e)
{
	return e.v & _PAGE_USER;
}

static inline bool pte_exec(pte_t e)
{
	return !(e.v & _PAGE_NX);
}

static inline bool pte_special(pte_t e)
{
	return e.v & _PAGE_SPECIAL;
}

static inline bool pte_soft_dirty(pte_t e)
{
	return e.v & _PAGE_SOFT_DIRTY;
}

static inline bool pte_uffd_wp(pte_t e)
{
	return e.v & _PAGE_UFFD_WP;
}

static inline unsigned long pte_pfn(pte_t e)
{
	return (e.v & PTE_PFN_MASK) >> PAGE_SHIFT;
}

/* An entry of the last level, or with pte_mkleaf() of one above. */
static inline pte_t pfn_pte(unsigned long pfn, pgprot_t prot)
{
	return __pte((u64)pfn << PAGE_SHIFT | prot.v);
}

static inline pte_t pte_mkleaf(pte_t e, unsigned int level)
{
	return __pte(level ? e.v | _PAGE_LEAF : e.v);
}

/* The same leaf of the next lower level: what splitting a leaf starts from. */
static inline pte_t pte_mksmaller(pte_t e, unsigned int new_level)
{
	return __pte(new_level ? e.v : e.v & ~_PAGE_LEAF);
}

static inline pte_t pte_mktable(unsigned long pfn)
{
	return __pte((u64)pfn << PAGE_SHIFT | _PAGE_TABLE);
}

static inline pte_t pte_mkwrite(pte_t e)
{
	return __pte(e.v | _PAGE_RW);
}

static inline pte_t pte_wrprotect(pte_t e)
{
	return __pte(e.v & ~_PAGE_RW);
}

static inline pte_t pte_mkdirty(pte_t e)
{
	return __pte(e.v | _PAGE_DIRTY | _PAGE_SOFT_DIRTY);
}

static inline pte_t pte_mkclean(pte_t e)
{
	return __pte(e.v & ~_PAGE_DIRTY);
}

static inline pte_t pte_mkyoung(pte_t e)
{
	return __pte(e.v | _PAGE_ACCESSED);
}

static inline pte_t pte_mkold(pte_t e)
{
	return __pte(e.v & ~_PAGE_ACCESSED);
}

static inline pte_t pte_mkspecial(pte_t e)
{
	return __pte(e.v | _PAGE_SPECIAL);
}

static inline pte_t pte_mksoft_dirty(pte_t e)
{
	return __pte(e.v | _PAGE_SOFT_DIRTY);
}

static inline pte_t pte_clear_soft_dirty(pte_t e)
{
	return __pte(e.v & ~_PAGE_SOFT_DIRTY);
}

static inline pte_t pte_mkuffd_wp(pte_t e)
{
	return __pte((e.v | _PAGE_UFFD_WP) & ~_PAGE_RW);
}

static inline pte_t pte_clear_uffd_wp(pte_t e)
{
	return __pte(e.v & ~_PAGE_UFFD_WP);
}

/* The same frame, age, dirt and marks with other permissions. */
static inline pte_t pte_modify(pte_t e, pgprot_t prot)
{
	return __pte((e.v & _PAGE_CHG_KEEP) | (prot.v & ~_PAGE_CHG_KEEP));
}

static inline pgprot_t pte_pgprot(pte_t e)
{
	return (pgprot_t){ e.v & ~PTE_PFN_MASK };
}

/* The entry for the frame @nr after this one. */
static inline pte_t pte_advance_pfn(pte_t e, unsigned long nr)
{
	return __pte(e.v + ((u64)nr << PAGE_SHIFT));
}

/* ---- swap form ---- */

static inline pte_t __swp_pte(unsigned int type, u64 offset)
{
	return __pte(offset << _SWP_OFFSET_SHIFT | (u64)type << _SWP_TYPE_SHIFT);
}

static inline unsigned int __swp_type(pte_t e)
{
	return (unsigned int)(e.v >> _SWP_TYPE_SHIFT) & ((1u << _SWP_TYPE_BITS) - 1);
}

static inline u64 __swp_offset(pte_t e)
{
	return e.v >> _SWP_OFFSET_SHIFT;
}

static inline bool pte_swp_exclusive(pte_t e)
{
	return e.v & _SWP_EXCLUSIVE;
}

static inline pte_t pte_swp_mkexclusive(pte_t e)
{
	return __pte(e.v | _SWP_EXCLUSIVE);
}

static inline pte_t pte_swp_clear_exclusive(pte_t e)
{
	return __pte(e.v & ~_SWP_EXCLUSIVE);
}

static inline bool pte_swp_soft_dirty(pte_t e)
{
	return e.v & _SWP_SOFT_DIRTY;
}

static inline pte_t pte_swp_mksoft_dirty(pte_t e)
{
	return __pte(e.v | _SWP_SOFT_DIRTY);
}

static inline bool pte_swp_uffd_wp(pte_t e)
{
	return e.v & _SWP_UFFD_WP;
}

static inline pte_t pte_swp_mkuffd_wp(pte_t e)
{
	return __pte(e.v | _SWP_UFFD_WP);
}

static inline pte_t pte_swp_clear_uffd_wp(pte_t e)
{
	return __pte(e.v & ~_SWP_UFFD_WP);
}

#endif /* OCTAVO_PTE_X86_64_H */
