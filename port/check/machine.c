/* SPDX-License-Identifier: MIT */
/*
 * machine.c - the machine of a scenario: a few frames, at an address that never changes, so that an
 * execution repeats itself bit for bit in another process too.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <octavo/octavo.h>

#include "engine.h"

#define ARENA_BASE 0x100000000000ul
#define ARENA_SIZE (16ul << 20)

struct arena arena;

static u64 free_at_start;
static unsigned int alone_on;

void arena_map(void)
{
	arena.size = ARENA_SIZE;
	arena.base = mmap((void *)ARENA_BASE, ARENA_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (arena.base != (char *)ARENA_BASE) {
		perror("octavo-race: the machine's addresses");
		exit(2);
	}
}

static u32 cpu_of(const struct scenario *sc, u32 thread)
{
	return thread * (sc->cpu_step ? sc->cpu_step : 1);
}

unsigned int octavo_port_cpu(void)
{
	return E.live ? cpu_of(E.sc, E.cur->tid) : alone_on;
}

void check_set_cpu(unsigned int cpu)
{
	alone_on = cpu;
}

static u32 nr_threads(const struct scenario *sc)
{
	u32 n = 0;

	while (n < MAXT && sc->threads[n])
		n++;
	return n;
}

static void boot(const struct scenario *sc)
{
	u64 bytes = ALIGN((u64)sc->frames * PAGE_SIZE, SECTION_SIZE);
	struct octavo_region region = { .base = 0, .size = (u64)sc->frames * PAGE_SIZE };
	struct octavo_boot b = {
		.regions = &region,
		.nr_regions = 1,
		.nr_cpus = max(cpu_of(sc, nr_threads(sc) - 1) + 1, sc->cpus),
		.direct_map = arena.base,
		.dma_limit = ~0ull,
		.dma32_limit = ~0ull,
		.movable_bytes = sc->movable_frames * PAGE_SIZE,
	};
	int err;

	arena.ram = arena.base;
	arena.ram_size = bytes;
	arena.meta = arena.base + bytes;
	arena.meta_size = octavo_metadata_size(&b);
	if (!arena.meta_size || bytes + arena.meta_size > ARENA_SIZE) {
		fprintf(stderr, "octavo-race: %s: the machine does not fit\n", sc->name);
		exit(2);
	}
	b.meta = arena.meta;
	b.meta_size = arena.meta_size;
	err = octavo_init(&b);
	if (err) {
		fprintf(stderr, "octavo-race: %s: octavo_init() is %d\n", sc->name, err);
		exit(2);
	}
}

/* The ends of executions that were looked at already, by hash; 0: none. */
#define MAX_ENDS (1u << 20)
static u64 ends[MAX_ENDS];
static u32 nr_ends;

/* Where a state is, or would be. */
static u64 *end_slot(u64 h)
{
	u32 i = (u32)(h % MAX_ENDS);

	while (ends[i] && ends[i] != h)
		i = (i + 1) % MAX_ENDS;
	return &ends[i];
}

void machine_setup(const struct scenario *sc)
{
	extern char __start_check_shared[], __stop_check_shared[];

	E.sc = sc;
	E.nthreads = nr_threads(sc);
	E.live = E.undo = false;
	E.cur = NULL;
	alone_on = 0;
	madvise(arena.base, arena.size, MADV_DONTNEED);
	memset(&octavo_state, 0, sizeof(octavo_state));
	memset(__start_check_shared, 0, (size_t)(__stop_check_shared - __start_check_shared));
	memset(&arena.ram, 0, sizeof(arena) - offsetof(struct arena, ram));
	memory_reset();
	plain_reset();
	rcu_model_setup_done();
	mmu_setup_begins();
	if (nr_ends)
		memset(ends, 0, sizeof(ends));
	nr_ends = 0;
	octavo_state.frame.nr_cpus = E.nthreads;
	if (sc->frames) {
		memset(&octavo_state, 0, sizeof(octavo_state));
		boot(sc);
	}
	if (sc->flags & SC_LEAKS) {
		kmem_cache_shrink_all();
		free_at_start = nr_free_pages();
	}
	if (sc->setup)
		sc->setup();
	mmu_setup_done();
	alone_on = 0;
}

static void check_end(void)
{
	rcu_barrier();
	if (E.sc->flags & SC_VALIDATE && !octavo_validate())
		violation("octavo_validate() fails");
	if (E.sc->valid && !E.sc->valid())
		violation("the validation after the execution fails");
	if (E.sc->flags & SC_LEAKS) {
		kmem_cache_shrink_all();
		if (nr_free_pages() != free_at_start)
			violation("%ld frames leaked", (long)(free_at_start - nr_free_pages()));
	}
}

/*
 * Most executions end in a state that another one ended in. (That two different ones have the same
 * hash, and the second is not looked at, takes 2^32 of them.)
 */
void machine_check(void)
{
	u64 hash = plain_state_hash() | 1, *slot = end_slot(hash);

	if (!rcu_model_waiting() && *slot)
		return;
	if (E.sc->frames)
		check_end();
	/* only now: an end that is wrong is found wrong again when it is replayed */
	if (!*slot && nr_ends < MAX_ENDS / 2) {
		*slot = hash;
		nr_ends++;
	}
}

u32 machine_ends(void)
{
	return nr_ends;
}
