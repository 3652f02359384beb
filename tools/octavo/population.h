/* SPDX-License-Identifier: MIT */
/*
 * population.h - what every frame of a machine is: the one form between the readers (kpage.c, record.c, synth.c) and
 * everything that uses it (rebuild.c, report.c, svg.c).
 *
 * A list of runs in the order of their pfns, without gaps from pfn 0 on. A run is a number of allocations of equal
 * type and order behind each other.
 */
#ifndef OCTAVO_TOOL_POPULATION_H
#define OCTAVO_TOOL_POPULATION_H

#include <octavo/types.h>

/* docs/footprint.md says how each is told from the others, and what can't be. */
enum pop_type {
	POP_HOLE, /* no frame */
	POP_FREE,
	POP_ANON, /* folios */
	POP_FILE,
	POP_SLAB,
	POP_PGTABLE,
	POP_KERNEL, /* plain pages: everything that the kernel uses without saying for what */
	POP_RESERVED,
	POP_ZERO,
	POP_OFFLINE,
	POP_UNMANAGED, /* present, and never given to the kernel's allocator: not initialised yet, not plugged */
	POP_HWPOISON,
	POP_NR,
	/* Inside the readers only: no flag at all, so it depends on the zones' counters. */
	POP_UNFLAGGED = POP_NR,
};

enum { POP_MAX_ORDER = 30 };

struct pop_run {
	u64 pfn;
	u32 repeat; /* allocations, never 0 */
	u8 type;
	u8 order;
	bool mapped; /* plain pages: user space maps them */
	u8 spare;
};

struct pop_total {
	u64 frames;
	u64 allocs;
	u64 mapped; /* frames that page tables map, as far as the source says */
};

struct population {
	struct pop_run *run;
	u64 nr_runs, capacity;
	u64 end;     /* pfns described: 0 to end - 1 */
	bool failed; /* out of memory: what is here is not all */
	struct pop_total total[POP_NR + 1];
	u64 folios[POP_MAX_ORDER + 1]; /* by order, both kinds */
	u64 irregular; /* frames of compound pages that were not whole: they changed while they were read */
	u64 pcp_free; /* of POP_KERNEL: on per-CPU free lists, by the zones' counters; which ones is not known */
};

/* "anon", ...: keys of the JSON output and of the recorded format. */
const char *pop_type_name(enum pop_type type);
/* "anonymous folios", ...: for people. */
const char *pop_type_title(enum pop_type type);

void pop_init(struct population *pop);
void pop_free(struct population *pop);

/**
 * pop_add() - @repeat allocations of @order and @type at the end
 * @mapped: frames of them, together, that are mapped
 *
 * The caller keeps folios naturally aligned; other types are cut into aligned runs here. Out of memory shows as
 * pop->failed.
 */
void pop_add(struct population *pop, enum pop_type type, unsigned int order, u64 repeat,
	     u64 mapped);

/* Frames that exist: all but holes. */
u64 pop_frames(const struct population *pop);

/* A run can't describe more than the core's pfns hold. */
#define POP_MAX_PFN (1ull << 36)

/*
 * Sections of 2^15 frames that have a frame: what the kernel allocates its memory map by (128 MiB on
 * x86-64 and arm64).
 */
enum { LINUX_SECTION_ORDER = 15 };
u64 pop_sections(const struct population *pop, unsigned int order);

#endif /* OCTAVO_TOOL_POPULATION_H */
