/* SPDX-License-Identifier: MIT */
/*
 * memdesc.h - the page word: eight bytes that say what a frame is.
 *
 * Pure functions on a word's value; loading and storing words is in page.h. docs/memdesc.md is the
 * reference: types, who may change what, what a racing reader may conclude.
 *
 *	 63                                            4 3    0
 *	+-----------------------------------------------+------+
 *	|  pointer to the descriptor (16-byte aligned)  | type |   FILE ANON SLAB PTDESC MANAGED MOVABLE
 *	+-----------------------------------------------+------+
 *	 63      43 42 41          18 17   12 11 10     4 3    0
 *	+----------+--+--------------+-------+--+--------+------+
 *	| owner's  |F | count        | order |U |subtype | MISC |   plain pages; F frozen, U may be mapped
 *	+----------+--+--------------+-------+--+--------+------+       to user space
 *	|                       0                       | type |   FREE HWPOISON DEVICE
 *	+-----------------------------------------------+------+
 *
 * All pages of a descriptor-typed allocation hold the identical word. A plain allocation is naturally
 * aligned; the first page's word has the count, the others the same word with count 0. FREE is the
 * all-zero word, so that idle memory needs no resident word page.
 */
#ifndef OCTAVO_MEMDESC_H
#define OCTAVO_MEMDESC_H

#include <octavo/compiler.h>

typedef struct {
	unsigned long v;
} memdesc_t;

/* Type numbers are private to this header: code uses the names and predicates. */
enum memdesc_type {
	MEMDESC_FREE = 0,
	MEMDESC_MISC = 1,
	MEMDESC_FILE = 2,
	MEMDESC_ANON = 3,
	MEMDESC_SLAB = 4,
	MEMDESC_PTDESC = 5,
	MEMDESC_MANAGED = 6,
	MEMDESC_MOVABLE = 7,
	MEMDESC_HWPOISON = 8,
	MEMDESC_DEVICE = 9,
	/* Reserved names: nothing makes them yet, a reader tolerates them. */
	MEMDESC_KSM = 10,
	MEMDESC_BUMP = 11,
	MEMDESC_PERCPU = 12,
	MEMDESC_ACCTMEM = 13,
	MEMDESC_ZPDESC = 14,
	MEMDESC_INVALID = 15, /* never stored */
	MEMDESC_NR_TYPES = 16,
};

/* What a plain page is for. Kept for dumps and walkers; the core treats all alike. */
enum misc_subtype {
	MISC_RESERVED =
		0, /* firmware, holes inside a section, carved at boot: never allocated or freed */
	MISC_ZEROPAGE = 1,
	MISC_DRIVER = 2, /* what alloc_pages() returns */
	MISC_VMALLOC = 3,
	MISC_GUARD = 4,
	MISC_OFFLINE = 5,
	MISC_LARGE_KMALLOC = 6,
	MISC_EXACT = 7,
	MISC_DEVICE = 8,
	MISC_KERNEL = 9, /* text, data, stacks: owned by the kernel, cause not known */
	MISC_NR_SUBTYPES = 10,
};

#define MEMDESC_TYPE_MASK 0xful

#define MISC_SUBTYPE_SHIFT 4
#define MISC_SUBTYPE_MASK  (0x7ful << MISC_SUBTYPE_SHIFT)
#define MISC_MAPPABLE	   (1ul << 11)
#define MISC_ORDER_SHIFT   12
#define MISC_ORDER_MASK	   (0x3ful << MISC_ORDER_SHIFT)
#define MISC_COUNT_SHIFT   18
#define MISC_COUNT_ONE	   (1ul << MISC_COUNT_SHIFT)
#define MISC_COUNT_MASK	   (0xfffffful << MISC_COUNT_SHIFT)
#define MISC_FROZEN	   (1ul << 42)
#define MISC_OWNER_SHIFT   43
#define MISC_OWNER_MASK	   (~0ul << MISC_OWNER_SHIFT)
/* A count that got this far has lost its meaning: it stays, and the page is leaked. */
#define MISC_COUNT_SATURATED (1u << 23)

BUILD_BUG_ON(MISC_NR_SUBTYPES > 128);

static inline memdesc_t memdesc_mk(unsigned long v)
{
	return (memdesc_t){ v };
}

static inline enum memdesc_type memdesc_type(memdesc_t md)
{
	return (enum memdesc_type)(md.v & MEMDESC_TYPE_MASK);
}

/* Is the type one of @set, that is 1 << MEMDESC_... of each? */
static inline bool memdesc_type_in(memdesc_t md, unsigned int set)
{
	/* the set four times, so that two bits more than the type's may take part: no mask is needed */
	return set * 0x0001000100010001ul >> (md.v & 63) & 1;
}

static inline bool memdesc_eq(memdesc_t a, memdesc_t b)
{
	return a.v == b.v;
}

/* FILE and ANON differ in one bit, so that this is one comparison. */
static inline bool memdesc_is_folio(memdesc_t md)
{
	return (md.v & 0xe) == MEMDESC_FILE;
}

/* Does a pointer follow the type? */
static inline bool memdesc_is_pointer(memdesc_t md)
{
	return (1u << memdesc_type(md)) &
	       (1u << MEMDESC_FILE | 1u << MEMDESC_ANON | 1u << MEMDESC_SLAB |
		1u << MEMDESC_PTDESC | 1u << MEMDESC_MANAGED | 1u << MEMDESC_MOVABLE);
}

static inline memdesc_t memdesc_pointer(enum memdesc_type type, const void *desc)
{
	return memdesc_mk((unsigned long)desc | (unsigned long)type);
}

static inline void *memdesc_ptr(memdesc_t md)
{
	return (void *)(md.v & ~MEMDESC_TYPE_MASK);
}

static inline bool memdesc_is_misc(memdesc_t md)
{
	return memdesc_type(md) == MEMDESC_MISC;
}

static inline memdesc_t memdesc_misc(enum misc_subtype subtype, unsigned int order,
				     unsigned int count)
{
	return memdesc_mk(MEMDESC_MISC | (unsigned long)subtype << MISC_SUBTYPE_SHIFT |
			  (unsigned long)order << MISC_ORDER_SHIFT |
			  (unsigned long)count << MISC_COUNT_SHIFT);
}

static inline memdesc_t memdesc_misc_frozen(enum misc_subtype subtype, unsigned int order)
{
	return memdesc_mk(memdesc_misc(subtype, order, 0).v | MISC_FROZEN);
}

static inline enum misc_subtype memdesc_subtype(memdesc_t md)
{
	return (enum misc_subtype)((md.v & MISC_SUBTYPE_MASK) >> MISC_SUBTYPE_SHIFT);
}

static inline unsigned int memdesc_order(memdesc_t md)
{
	return (unsigned int)((md.v & MISC_ORDER_MASK) >> MISC_ORDER_SHIFT);
}

static inline unsigned int memdesc_count(memdesc_t md)
{
	return (unsigned int)((md.v & MISC_COUNT_MASK) >> MISC_COUNT_SHIFT);
}

static inline bool memdesc_frozen(memdesc_t md)
{
	return md.v & MISC_FROZEN;
}

static inline bool memdesc_mappable(memdesc_t md)
{
	return md.v & MISC_MAPPABLE;
}

static inline unsigned long memdesc_owner_bits(memdesc_t md)
{
	return md.v >> MISC_OWNER_SHIFT;
}

/* "slab", "ptdesc", ...: for dumps; "?" beyond the last. */
const char *memdesc_type_name(enum memdesc_type type);
const char *misc_subtype_name(enum misc_subtype subtype);

/* A word is well formed: a known type, no payload where there is none, known subtype, sane order. */
bool memdesc_valid(memdesc_t md);

#endif /* OCTAVO_MEMDESC_H */
