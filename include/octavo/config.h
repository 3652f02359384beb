/* SPDX-License-Identifier: MIT */
/*
 * config.h - every build-time choice, its default and its range.
 *
 * Each may be set with -D. A value out of range stops the build here, with its reason. All objects
 * that are linked together must be built with the same values: octavo_init() checks a fingerprint
 * of them.
 */
#ifndef OCTAVO_CONFIG_H
#define OCTAVO_CONFIG_H

/* First of all: it renames what everything after it declares. */
#include <octavo/prefix.h>

/* CPU slots (port.h). Per-CPU memory is carved for boot.nr_cpus of them, not for all. */
#ifndef OCTAVO_NR_CPUS
#define OCTAVO_NR_CPUS 64
#endif
#if OCTAVO_NR_CPUS < 1 || OCTAVO_NR_CPUS > 1024
#error "OCTAVO_NR_CPUS must be 1 to 1024"
#endif

/* Nodes. Six bits of the section table hold a node. */
#ifndef OCTAVO_NR_NODES
#define OCTAVO_NR_NODES 8
#endif
#if OCTAVO_NR_NODES < 1 || OCTAVO_NR_NODES > 64
#error "OCTAVO_NR_NODES must be 1 to 64"
#endif

/* Ranges of memory that octavo_init() and octavo_add_memory() can hold. */
#ifndef OCTAVO_NR_REGIONS
#define OCTAVO_NR_REGIONS 256
#endif

/*
 * Geometry of the frame allocator, see docs/frames.md. A row is one 64-bit word of the bitmap, a
 * block is what one counter field counts, a tree is what one counter word counts; a tree is also
 * the section, the unit of zone, node and presence. The defaults are 64 frames, 2 MiB and 16 MiB. The
 * interleaving checker shrinks all three: rows of 2 frames, blocks of 2 rows, trees of 2 blocks.
 */
#ifndef OCTAVO_ROW_ORDER
#define OCTAVO_ROW_ORDER 6
#endif
#ifndef OCTAVO_BLOCK_ORDER
#define OCTAVO_BLOCK_ORDER 9
#endif
#ifndef OCTAVO_TREE_ORDER
#define OCTAVO_TREE_ORDER 12
#endif
#if OCTAVO_ROW_ORDER < 1 || OCTAVO_ROW_ORDER > 6
#error "OCTAVO_ROW_ORDER must be 1 to 6: a row is at most one 64-bit word"
#endif
#if OCTAVO_BLOCK_ORDER < OCTAVO_ROW_ORDER || OCTAVO_BLOCK_ORDER > 9
#error "OCTAVO_BLOCK_ORDER must be OCTAVO_ROW_ORDER to 9: a block's count has ten bits"
#endif
#if OCTAVO_TREE_ORDER <= OCTAVO_BLOCK_ORDER || OCTAVO_TREE_ORDER > OCTAVO_BLOCK_ORDER + 3
#error "OCTAVO_TREE_ORDER must be OCTAVO_BLOCK_ORDER + 1 to + 3: a tree has 2 to 8 blocks"
#endif

/* Ranges of device memory (memremap.h) at a time. Looking one up may look at each. */
#ifndef OCTAVO_NR_PAGEMAPS
#define OCTAVO_NR_PAGEMAPS 64
#endif
#if OCTAVO_NR_PAGEMAPS < 1 || OCTAVO_NR_PAGEMAPS > OCTAVO_NR_REGIONS
#error "OCTAVO_NR_PAGEMAPS must be 1 to OCTAVO_NR_REGIONS: so that a zone has room for their spans"
#endif

/* Entries of a per-CPU magazine of order-0 frames; larger orders have fewer. 0: no magazines. */
#ifndef OCTAVO_MAGAZINE
#define OCTAVO_MAGAZINE 128
#endif

/* Objects in a per-CPU sheaf of a slab cache. */
#ifndef OCTAVO_SHEAF
#define OCTAVO_SHEAF 60
#endif

/*
 * Sets of lists, each with its lock, that a slab cache's slabs are divided among: CPU n uses set
 * n modulo this. The checker has 1, so that two CPUs meet.
 */
#ifndef OCTAVO_SLAB_HOMES
#define OCTAVO_SLAB_HOMES 8
#endif
#if OCTAVO_SLAB_HOMES < 1 || OCTAVO_SLAB_HOMES > 32
#error "OCTAVO_SLAB_HOMES must be 1 to 32: one word has a bit for each"
#endif

/*
 * Turns of a loop that waits for a spinlock before it sleeps; loops that try for a while are this long too, or
 * a fixed multiple. The checker has 1, so that what comes after is reached.
 */
#ifndef OCTAVO_SPIN_TURNS
#define OCTAVO_SPIN_TURNS 100
#endif
#if OCTAVO_SPIN_TURNS < 1 || OCTAVO_SPIN_TURNS > 10000
#error "OCTAVO_SPIN_TURNS must be 1 to 10000"
#endif

/* Slots of the table of poisoned frames; three quarters of them can be used. */
#ifndef OCTAVO_POISON_SLOTS
#define OCTAVO_POISON_SLOTS 4096
#endif
#if OCTAVO_POISON_SLOTS < 4 || (OCTAVO_POISON_SLOTS & (OCTAVO_POISON_SLOTS - 1))
#error "OCTAVO_POISON_SLOTS must be a power of two, at least 4"
#endif

/*
 * Slots of a node of a range tree (range_tree.h): entries of a leaf, or nodes below. The default makes
 * nodes of 256 bytes. Tests and the interleaving checker have 4, so that few entries make a high tree.
 */
#ifndef OCTAVO_RANGE_NODE_SLOTS
#define OCTAVO_RANGE_NODE_SLOTS 9
#endif
#if OCTAVO_RANGE_NODE_SLOTS < 4 || OCTAVO_RANGE_NODE_SLOTS > 16
#error "OCTAVO_RANGE_NODE_SLOTS must be 4 to 16: half a node is two slots, four nodes' slots fit on a stack"
#endif

/*
 * Sets of folios (groups that memory is charged to) that there can be, one less. Eighteen bits of a folio name one.
 */
#ifndef OCTAVO_FOLIO_SETS
#define OCTAVO_FOLIO_SETS 4096
#endif
#if OCTAVO_FOLIO_SETS < 2 || OCTAVO_FOLIO_SETS > 262144
#error "OCTAVO_FOLIO_SETS must be 2 to 262144"
#endif

/*
 * Page tables: a table has 2^OCTAVO_TABLE_BITS entries, and there are OCTAVO_TABLE_LEVELS of them. The
 * defaults are those of x86-64, whose 5-level mode is the other sensible number of levels. Tests and the
 * interleaving checker have small ones, so that a few pages fill a table.
 */
#ifndef OCTAVO_TABLE_BITS
#define OCTAVO_TABLE_BITS 9
#endif
#if OCTAVO_TABLE_BITS < 2 || OCTAVO_TABLE_BITS > 9
#error "OCTAVO_TABLE_BITS must be 2 to 9: a table is at most one frame"
#endif
#ifndef OCTAVO_TABLE_LEVELS
#define OCTAVO_TABLE_LEVELS 4
#endif
#if OCTAVO_TABLE_LEVELS < 2 || OCTAVO_TABLE_LEVELS > 5
#error "OCTAVO_TABLE_LEVELS must be 2 to 5"
#endif

/*
 * Kernel mappings: addresses from OCTAVO_VMALLOC_START on, 2^OCTAVO_VMALLOC_SHIFT bytes, in the upper half of what
 * page tables reach; divided into chunks, each with a lock of its own, which also are the limit of one mapping.
 * The defaults are 32 TiB in 64 chunks of 512 GiB.
 */
#define __OCTAVO_VA_BITS (12 + OCTAVO_TABLE_BITS * OCTAVO_TABLE_LEVELS)
#ifndef OCTAVO_VMALLOC_SHIFT
#if OCTAVO_TABLE_BITS == 9
#define OCTAVO_VMALLOC_SHIFT (__OCTAVO_VA_BITS - 3)
#else
#define OCTAVO_VMALLOC_SHIFT (__OCTAVO_VA_BITS - 2)
#endif
#endif
#ifndef OCTAVO_VMALLOC_START
#if OCTAVO_TABLE_BITS == 9
#define OCTAVO_VMALLOC_START (0ul - (1ul << (__OCTAVO_VA_BITS - 2)))
#else
#define OCTAVO_VMALLOC_START (0ul - (1ul << (__OCTAVO_VA_BITS - 1)))
#endif
#endif
#if OCTAVO_VMALLOC_SHIFT < 16 || OCTAVO_VMALLOC_SHIFT > __OCTAVO_VA_BITS - 2
#error "OCTAVO_VMALLOC_SHIFT must be 16 to two less than the bits of an address"
#endif
#ifndef OCTAVO_VMALLOC_CHUNKS
#if OCTAVO_TABLE_BITS == 9
#define OCTAVO_VMALLOC_CHUNKS 64
#else
#define OCTAVO_VMALLOC_CHUNKS 8
#endif
#endif
#if OCTAVO_VMALLOC_CHUNKS < 1 || OCTAVO_VMALLOC_CHUNKS > 1024 || \
	(OCTAVO_VMALLOC_CHUNKS & (OCTAVO_VMALLOC_CHUNKS - 1))
#error "OCTAVO_VMALLOC_CHUNKS must be a power of two, at most 1024"
#endif
/*
 * What is unmapped may come to so many pages of addresses before translations are flushed and the addresses used again;
 * to so much memory of vmalloc() (never more than a 64th of what there is); and to so many areas, which are to be in
 * a CPU's cache still when they are used again.
 */
#ifndef OCTAVO_VMALLOC_LAZY
#if OCTAVO_TABLE_BITS == 9
#define OCTAVO_VMALLOC_LAZY	   8192
#define OCTAVO_VMALLOC_LAZY_FRAMES 4096
#define OCTAVO_VMALLOC_LAZY_AREAS  512
#else
#define OCTAVO_VMALLOC_LAZY	   32
#define OCTAVO_VMALLOC_LAZY_FRAMES 8
#define OCTAVO_VMALLOC_LAZY_AREAS  32
#endif
#endif

/*
 * Swap devices: slots are managed in clusters of 2^OCTAVO_SWAP_CLUSTER_ORDER, which is also the largest folio that can
 * be swapped in one piece. Tests and the interleaving checker have small ones. At most OCTAVO_SWAP_XFERS transfers of a
 * device are under way at once; the memory for them is taken by swapon().
 */
#ifndef OCTAVO_SWAP_CLUSTER_ORDER
#define OCTAVO_SWAP_CLUSTER_ORDER 9
#endif
#if OCTAVO_SWAP_CLUSTER_ORDER < 2 || OCTAVO_SWAP_CLUSTER_ORDER > 9
#error "OCTAVO_SWAP_CLUSTER_ORDER must be 2 to 9: the slot words of a cluster are at most one frame"
#endif
#ifndef OCTAVO_SWAP_XFERS
#define OCTAVO_SWAP_XFERS 64
#endif
#if OCTAVO_SWAP_XFERS < 1 || OCTAVO_SWAP_XFERS > 64
#error "OCTAVO_SWAP_XFERS must be 1 to 64: one word has a bit for each"
#endif

/* The header that says what is where in a page-table entry. */
#ifndef OCTAVO_PTE_HEADER
#define OCTAVO_PTE_HEADER <octavo/pte_x86_64.h>
#endif

/*
 * OCTAVO_DEBUG: VM_BUG_ON() and VM_WARN_ON(), poison and red zones. Misuse that could corrupt memory is
 * fatal without it too.
 */
#ifndef OCTAVO_DEBUG
#define OCTAVO_DEBUG 0
#endif

/* OCTAVO_FAULTS: fallible steps ask octavo_fault() whether to fail (fault.h). Tests only. */
#ifndef OCTAVO_FAULTS
#define OCTAVO_FAULTS 0
#endif

/* Which back end atomic.h uses. */
#define OCTAVO_ATOMIC_NATIVE 0 /* compiler builtins: products */
#define OCTAVO_ATOMIC_CHECK  1 /* port/check: every access is a scheduling point */
#define OCTAVO_ATOMIC_C11    2 /* plain <stdatomic.h>: for external model checkers */
#ifndef OCTAVO_ATOMIC
#define OCTAVO_ATOMIC OCTAVO_ATOMIC_NATIVE
#endif

#endif /* OCTAVO_CONFIG_H */
