/* SPDX-License-Identifier: MIT */
/*
 * types.h - integer types and the constants of the page geometry.
 *
 * Octavo is for 64-bit machines: a page word holds a pointer and four bits of type.
 */
#ifndef OCTAVO_TYPES_H
#define OCTAVO_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <octavo/config.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

/* Allocation flags, see gfp.h. */
typedef u32 gfp_t;

#define PAGE_SHIFT 12
#define PAGE_SIZE  (1UL << PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

/* The largest folio and the largest naturally aligned run of frames: 1 GiB. */
#ifndef MAX_FOLIO_ORDER
#define MAX_FOLIO_ORDER 18
#endif
#define NR_ORDERS (MAX_FOLIO_ORDER + 1)

#define BITS_PER_LONG 64

/*
 * A number for the choices of config.h that change objects or inline functions: octavo_init() compares its
 * caller's with the core's.
 */
#define __OCTAVO_MIX(h, v) ((h)*1000003ul + (unsigned long)(v))
#define __OCTAVO_FINGERPRINT_1                                                                  \
	__OCTAVO_MIX(                                                                           \
		__OCTAVO_MIX(__OCTAVO_MIX(OCTAVO_NR_CPUS, OCTAVO_NR_NODES), OCTAVO_NR_REGIONS), \
		OCTAVO_ROW_ORDER)
#define __OCTAVO_FINGERPRINT_2                                                              \
	__OCTAVO_MIX(__OCTAVO_MIX(__OCTAVO_MIX(__OCTAVO_FINGERPRINT_1, OCTAVO_BLOCK_ORDER), \
				  OCTAVO_TREE_ORDER),                                       \
		     OCTAVO_MAGAZINE)
#define __OCTAVO_FINGERPRINT_3                                                                     \
	__OCTAVO_MIX(                                                                              \
		__OCTAVO_MIX(__OCTAVO_MIX(__OCTAVO_FINGERPRINT_2, OCTAVO_SHEAF), MAX_FOLIO_ORDER), \
		OCTAVO_POISON_SLOTS)
#define __OCTAVO_FINGERPRINT_4                                                                   \
	__OCTAVO_MIX(                                                                            \
		__OCTAVO_MIX(__OCTAVO_MIX(__OCTAVO_FINGERPRINT_3, OCTAVO_DEBUG), OCTAVO_FAULTS), \
		OCTAVO_SLAB_HOMES)
#define __OCTAVO_FINGERPRINT_5                                                             \
	__OCTAVO_MIX(__OCTAVO_MIX(__OCTAVO_MIX(__OCTAVO_FINGERPRINT_4, OCTAVO_TABLE_BITS), \
				  OCTAVO_TABLE_LEVELS),                                    \
		     OCTAVO_RANGE_NODE_SLOTS)
#define __OCTAVO_FINGERPRINT_6                                                                \
	__OCTAVO_MIX(__OCTAVO_MIX(__OCTAVO_MIX(__OCTAVO_FINGERPRINT_5, OCTAVO_VMALLOC_START), \
				  OCTAVO_VMALLOC_SHIFT),                                      \
		     OCTAVO_VMALLOC_CHUNKS * 1000ul + OCTAVO_NR_PAGEMAPS)
#define OCTAVO_FINGERPRINT                                                            \
	__OCTAVO_MIX(__OCTAVO_MIX(__OCTAVO_FINGERPRINT_6, OCTAVO_SWAP_CLUSTER_ORDER), \
		     OCTAVO_SWAP_XFERS)

_Static_assert(sizeof(long) == 8 && sizeof(void *) == 8, "Octavo needs a 64-bit machine");

#endif /* OCTAVO_TYPES_H */
