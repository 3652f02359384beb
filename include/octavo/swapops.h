/* SPDX-License-Identifier: MIT */
/*
 * swapops.h - entries of swap form: what stands in a page table for memory that is not, or must not
 * be, reached through it.
 */
#ifndef OCTAVO_SWAPOPS_H
#define OCTAVO_SWAPOPS_H

#include <octavo/config.h>
#include OCTAVO_PTE_HEADER

/* A swap entry without the bits of its place in a page table. 0 is none. */
typedef struct {
	u64 v;
} swp_entry_t;

/*
 * Types. The last ones are not swap devices. "Of a folio": the payload is a frame number (for
 * device-private memory an index of its own, in a migration entry with SWP_PLACE_PRIVATE), and but for migration
 * entries the entry counts as a mapping and has a reference. Whether pages that are mapped by entries of device-private
 * memory are exclusive, these entries say, and not the folio; what may be written to is exclusive.
 */
enum swp_type {
	SWP_DEVICE_0 = 0,
	MAX_SWAPFILES = 20, /* types below are swap devices */
	SWP_PTE_MARKER = 20,
	SWP_HWPOISON,
	SWP_MIGRATION_READ, /* of a folio, from here on */
	SWP_MIGRATION_READ_EXCLUSIVE,
	SWP_MIGRATION_WRITE,
	SWP_DEVICE_PRIVATE_READ,
	SWP_DEVICE_PRIVATE_WRITE,
	SWP_DEVICE_EXCLUSIVE,
	NR_SWP_TYPES,
};
BUILD_BUG_ON(NR_SWP_TYPES > 1 << _SWP_TYPE_BITS);

/* Payload of SWP_PTE_MARKER: a set. */
#define PTE_MARKER_UFFD_WP  1ul /* write-protected by userfaultfd while it was not there */
#define PTE_MARKER_POISONED 2ul /* an access is SIGBUS */
#define PTE_MARKER_GUARD    4ul /* MADV_GUARD_INSTALL: an access is SIGSEGV */

/* Beside the frame number of a migration entry. */
#define SWP_MIG_YOUNG (1ul << PTE_PFN_BITS)
#define SWP_MIG_DIRTY (1ul << (PTE_PFN_BITS + 1))

static inline swp_entry_t swp_entry(enum swp_type type, u64 offset)
{
	/* never 0, because type 0 offset 0 is a swap device's header */
	return (swp_entry_t){ __swp_pte(type, offset).v };
}

static inline enum swp_type swp_type(swp_entry_t e)
{
	return (enum swp_type)__swp_type(__pte(e.v));
}

static inline u64 swp_offset(swp_entry_t e)
{
	return __swp_offset(__pte(e.v));
}

/* Without the bits that belong to the place: exclusive, soft-dirty, watched. */
static inline swp_entry_t pte_to_swp_entry(pte_t e)
{
	return (swp_entry_t){ __swp_pte(__swp_type(e), __swp_offset(e)).v };
}

static inline pte_t swp_entry_to_pte(swp_entry_t e)
{
	return __pte(e.v);
}

/* The entry whose payload is @nr more; all else the same. */
static inline pte_t pte_swp_advance(pte_t e, unsigned long nr)
{
	return __pte(e.v + __swp_pte(0, nr).v);
}

static inline bool is_migration_entry(swp_entry_t e)
{
	return swp_type(e) - (unsigned int)SWP_MIGRATION_READ <=
	       SWP_MIGRATION_WRITE - SWP_MIGRATION_READ;
}

static inline bool is_device_private_entry(swp_entry_t e)
{
	return swp_type(e) == SWP_DEVICE_PRIVATE_READ || swp_type(e) == SWP_DEVICE_PRIVATE_WRITE;
}

static inline bool is_hwpoison_entry(swp_entry_t e)
{
	return swp_type(e) == SWP_HWPOISON;
}

static inline bool is_pte_marker(swp_entry_t e)
{
	return swp_type(e) == SWP_PTE_MARKER;
}

/* A slot of a swap device. */
static inline bool is_swap_slot(swp_entry_t e)
{
	return swp_type(e) < (unsigned int)MAX_SWAPFILES;
}

/* An entry, present or not, is one of a slot. */
static inline bool pte_is_swap_slot(pte_t e)
{
	return pte_is_swap(e) && is_swap_slot(pte_to_swp_entry(e));
}

/* Names a folio by a frame number. Migration entries do not count as mappings of it, others do. */
static inline bool is_pfn_swap_entry(swp_entry_t e)
{
	return is_migration_entry(e) || swp_type(e) == SWP_DEVICE_EXCLUSIVE;
}

static inline unsigned long swp_entry_pfn(swp_entry_t e)
{
	return swp_offset(e) & ((1ul << PTE_PFN_BITS) - 1);
}

/* Set in what is no frame number but an index of device-private memory: FOLIO_DEVICE_PRIVATE of folio.h. */
#define SWP_PLACE_PRIVATE (1ul << (PTE_PFN_BITS - 1))

/* The place (folio.h) of what a migration entry, or an entry of a device, is of. */
static inline unsigned long swp_entry_place(swp_entry_t e)
{
	return swp_entry_pfn(e) | (is_device_private_entry(e) ? SWP_PLACE_PRIVATE : 0);
}

/* An entry of a page of device-private memory. @exclusive: its pages are this address space's alone */
static inline pte_t device_private_pte(unsigned long place, bool write, bool exclusive)
{
	pte_t e = __swp_pte(write ? SWP_DEVICE_PRIVATE_WRITE : SWP_DEVICE_PRIVATE_READ,
			    place & ~SWP_PLACE_PRIVATE);

	return exclusive ? pte_swp_mkexclusive(e) : e;
}

static inline bool pte_is_device_private(pte_t e)
{
	return pte_is_swap(e) && is_device_private_entry(pte_to_swp_entry(e));
}

/* Of a page of the system's that a device has for itself for a while. */
static inline bool pte_is_device_exclusive(pte_t e)
{
	return pte_is_swap(e) && swp_type(pte_to_swp_entry(e)) == SWP_DEVICE_EXCLUSIVE;
}

#endif /* OCTAVO_SWAPOPS_H */
