/* SPDX-License-Identifier: MIT */
/*
 * swapdev_machine.h - what the tests of swap devices share: pages of every kind, transfers by hand, a thread's CPU.
 */
#ifndef OCTAVO_SWAPDEV_MACHINE_H
#define OCTAVO_SWAPDEV_MACHINE_H

#include "test.h"

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swapdev.h"
#include "urcu_shim.h"

static inline u64 next(u64 *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed * 2685821657736338717ul >> 8;
}

/* ---- contents ---- */

enum kind { KIND_ZERO, KIND_SAME, KIND_TEXT, KIND_HALF, KIND_RANDOM, NR_KINDS };

/* The page of a number: of a kind that follows from it, no two alike but those of one word. */
static inline enum kind kind_of(u64 id)
{
	static const u8 mix[] = { KIND_TEXT,   KIND_ZERO, KIND_TEXT, KIND_HALF,
				  KIND_RANDOM, KIND_SAME, KIND_HALF, KIND_TEXT };

	return (enum kind)mix[id * 2654435761ul >> 7 & 7];
}

static inline void page_make(void *page, u64 id)
{
	u64 *w = page, seed = id * 2 + 1;
	u32 n = PAGE_SIZE / sizeof(u64), noise = 0;

	memset(page, 0, PAGE_SIZE);
	switch (kind_of(id)) {
	case KIND_ZERO:
		return;
	case KIND_SAME:
		for (u32 i = 0; i < n; i++)
			w[i] = id * 0x9e3779b97f4a7c15ul;
		return;
	case KIND_TEXT:
		for (u32 i = 0; i < PAGE_SIZE; i++)
			((char *)page)[i] = "the quick brown fox "[(i + id) % 20];
		noise = 40 + (u32)(id % 60);
		break;
	case KIND_HALF:
		noise = n / 2;
		break;
	default:
		noise = n;
	}
	for (u32 i = 0; i < noise; i++)
		w[noise == n ? i : next(&seed) % n] = next(&seed) ^ next(&seed) << 32;
	w[0] = id;
}

static inline bool page_is(const void *page, u64 id)
{
	static __thread u64 want[PAGE_SIZE / sizeof(u64)];

	page_make(want, id);
	return !memcmp(page, want, PAGE_SIZE);
}

/* Page-aligned memory of the host. */
static inline u8 *pages_alloc(u32 nr)
{
	void *p = aligned_alloc(PAGE_SIZE, nr * PAGE_SIZE);

	assert_non_null(p);
	memset(p, 0xa5, nr * PAGE_SIZE);
	return p;
}

/* ---- transfers ---- */

/* Slots have the pages of numbers from @id on. */
static inline int write_run(struct swapdev *sd, unsigned long slot, u32 nr, u64 id)
{
	u8 *p = pages_alloc(nr);
	int err;

	for (u32 i = 0; i < nr; i++)
		page_make(p + i * PAGE_SIZE, id + i);
	err = swapdev_transfer(sd, SWAP_WRITE, slot, nr, p);
	free(p);
	return err;
}

/* Return: the transfer's error; 1: other contents than those of numbers from @id on. */
static inline int read_run(struct swapdev *sd, unsigned long slot, u32 nr, u64 id)
{
	u8 *p = pages_alloc(nr);
	int err = swapdev_transfer(sd, SWAP_READ, slot, nr, p);

	for (u32 i = 0; i < nr && !err; i++)
		err = !page_is(p + i * PAGE_SIZE, id + i);
	free(p);
	return err;
}

/* ---- a device's thread is CPU 3 ---- */

#define THREAD_CPU 3u

static inline void thread_enter(void *arg)
{
	sim_set_cpu(THREAD_CPU);
	shim_register();
}

static inline void thread_leave(void *arg)
{
	shim_unregister();
}

static const struct swapdev_thread own_thread __maybe_unused = { .enter = thread_enter,
								 .leave = thread_leave };

/* Errors that a test brings about: it looks at the last line itself. */
static inline void log_nowhere(enum octavo_log_level level, const char *line)
{
}

/* ---- files ---- */

static char file_path[512] __maybe_unused;

/* A name for a file on a disk, if there is one: TMPDIR, or /var/tmp, which is less often memory than /tmp is. */
static inline const char *file_name(const char *what)
{
	const char *dir = getenv("TMPDIR");

	snprintf(file_path, sizeof(file_path), "%.400s/octavo-swap-%s-%d", dir ? dir : "/var/tmp",
		 what, (int)getpid());
	unlink(file_path);
	return file_path;
}

static inline struct swapdev *file_device(const char *what, u64 slots)
{
	const struct swapdev_file_args args = { .path = file_name(what),
						.bytes = slots * PAGE_SIZE,
						.create = true };
	struct swapdev *sd;

	assert_int_equal(swapdev_file_create(&args, &sd), 0);
	return sd;
}

#endif /* OCTAVO_SWAPDEV_MACHINE_H */
