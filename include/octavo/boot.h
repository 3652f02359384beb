/* SPDX-License-Identifier: MIT */
/*
 * boot.h - bringing a memory manager up on memory that the embedder names, and taking it down.
 */
#ifndef OCTAVO_BOOT_H
#define OCTAVO_BOOT_H

#include <octavo/compiler.h>

enum octavo_region_type {
	OCTAVO_MEM_USABLE,
	OCTAVO_MEM_RESERVED, /* wins over usable where they overlap */
};

/*
 * One line of a firmware-style memory map. Lines may overlap, be empty and come in any order; usable
 * ones shrink to whole frames, reserved ones grow to them.
 */
struct octavo_region {
	u64 base; /* physical address, bytes */
	u64 size; /* bytes; base + size may be 2^64 but not wrap */
	enum octavo_region_type type;
	u32 node;
};

struct octavo_boot {
	const struct octavo_region *regions;
	u32 nr_regions;
	u32 nr_cpus;

	/* The address at which physical address 0 is, or would be, mapped. */
	void *direct_map;

	/*
	 * Memory for words, bitmaps, counters and per-CPU areas: octavo_metadata_size() bytes, page
	 * aligned, reading as zero, and may be backed only when touched (16 TiB describe 33 GiB of
	 * addresses, of which an idle machine touches a few MiB). NULL: carved from the regions at boot, and
	 * their words say Reserved. Carved memory is zeroed by octavo_init(). Memory that is given lies
	 * outside of what is usable.
	 */
	void *meta;
	u64 meta_size;

	/* Physical addresses below this may be added later; 0: none beyond the last region. */
	u64 max_phys;

	/* Zone limits; 0: the PC's 16 MiB and 4 GiB. ~0: no such zone. Multiples of a section. */
	u64 dma_limit;
	u64 dma32_limit;
	/* Bytes at the top of each node that only movable allocations may use. */
	u64 movable_bytes;
};

/**
 * octavo_metadata_size() - bytes of metadata that a machine needs
 * @boot: as for octavo_init(); @meta is not looked at
 *
 * Return: bytes, a multiple of the page size; 0 if @boot is not valid.
 */
u64 octavo_metadata_size(const struct octavo_boot *boot);

/* @fingerprint is of the caller's configuration. */
int __octavo_init(const struct octavo_boot *boot, u64 fingerprint);

/**
 * octavo_init() - bring the memory manager up
 * @boot: the machine; nothing of it is used after the call
 *
 * Context: one CPU, nothing else running in the core.
 * Return: 0; -EINVAL a region wraps, a count or limit is out of range, no usable frame, or the caller was
 * compiled with other choices of config.h than the core (the reason is logged); -E2BIG more regions than
 * OCTAVO_NR_REGIONS after merging; -ENOMEM metadata does not fit; -EBUSY already up. On failure nothing has
 * changed.
 */
static inline int octavo_init(const struct octavo_boot *boot)
{
	return __octavo_init(boot, OCTAVO_FINGERPRINT);
}

/**
 * octavo_shutdown() - take it down
 *
 * Drains every cache, then counts what was never given back. The state is ready for another
 * octavo_init(). The memory belongs to the embedder again.
 *
 * Context: one CPU, nothing else running in the core.
 * Return: frames still allocated (leaks), not counting reserved ones.
 */
u64 octavo_shutdown(void);

/**
 * octavo_add_memory() - add a range of memory to the running machine
 * @base: physical address, multiple of the section size
 * @size: bytes, multiple of the section size
 * @node: its node
 * @movable: for ZONE_MOVABLE, so that it can be removed again
 *
 * Context: may sleep. Return: 0; -EINVAL unaligned, empty or beyond max_phys; -EEXIST a section is present;
 * -E2BIG too many ranges.
 */
int octavo_add_memory(u64 base, u64 size, u32 node, bool movable);

/**
 * octavo_remove_memory() - remove a range
 * @base: as added, or any section-aligned part
 * @size: bytes
 *
 * Words of the range stay readable, as FREE.
 *
 * Context: may sleep. Return: 0: the frames are no longer valid; or an error, and everything is as before: -EINVAL
 * unaligned, empty, or not all of it is present; -EBUSY something in it is allocated or reserved;
 * -E2BIG what is left of its zone would be too many ranges.
 */
int octavo_remove_memory(u64 base, u64 size);

/* Every invariant of every layer, when the machine is quiet. False: each broken one was logged. Without a machine: true. */
bool octavo_validate(void);

#endif /* OCTAVO_BOOT_H */
