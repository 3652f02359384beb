/* SPDX-License-Identifier: MIT */
/*
 * soak.h - octavo soak: random programs on memory that is several times too small, every byte compared.
 *
 *	soak.c   options, the machine, its threads, what is printed
 *	world.c  a random program on one CPU, and what its memory must be
 *	chaos.c  what other parts of a kernel do meanwhile: migration, splits, swapoff
 */
#ifndef OCTAVO_SOAK_H
#define OCTAVO_SOAK_H

#include <stdarg.h>
#include <stdio.h>

#include <octavo/octavo.h>

#define NR_WORLDS 2u

struct soak_options {
	double seconds;
	u64 seed;
	u64 ram;     /* bytes */
	double over; /* memory that programs use, as a multiple of ram */
	const char *dir;
	u32 errors; /* of a million transfers */
};

/* Relaxed counters that one thread adds to and one prints. */
struct soak_counts {
	u64 ops, pages_written, pages_checked, io_errors, oom, forks, ranges, pins;
	u64 migrated, split, swapoffs, aged;
};

struct soak {
	struct soak_options opt;
	struct soak_counts counts[NR_WORLDS + 1];
	struct mm_struct *shared; /* both programs use it, each its own pages */
	u32 stop;		  /* atomic */
	u32 failed;		  /* atomic: something was wrong; said when it was found */
	u32 running;		  /* atomic: programs that are not over */
};

extern struct soak soak;

static inline bool soak_over(void)
{
	return smp_load_acquire(&soak.stop);
}

/* A line to stderr; the run ends, and fails. */
void soak_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define soak_count(c, field, n) WRITE_ONCE((c)->field, READ_ONCE((c)->field) + (n))

/* xorshift64*, after G. Marsaglia, "Xorshift RNGs", 2003, and S. Vigna's multiplier. */
static inline u64 soak_random(u64 *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dul;
}

static inline u64 soak_below(u64 *state, u64 n)
{
	return (u64)((unsigned __int128)soak_random(state) * n >> 64);
}

void world_run(unsigned int cpu);
/* The address space that all programs are in, of @pages pages; NULL: no memory. */
struct mm_struct *world_shared_mm(u32 pages);
void chaos_run(void);

/* The devices: soak.c. Both ends of a swapoff, for chaos.c; and the second one, if there was no memory for it. */
unsigned int soak_nr_devices(void);
void soak_cycle_device(unsigned int i);
void soak_device_on(unsigned int i);

#endif /* OCTAVO_SOAK_H */
