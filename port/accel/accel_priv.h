/* SPDX-License-Identifier: MIT */
/*
 * accel.h - what the files of the simulated accelerator tell each other.
 *
 * Locks, outermost first: mmap_lock; folio locks; ctx->lock, which jobs hold for reading while they use a translation and
 * invalidations for writing; mem.lock, dma.lock, queue.lock, which are held for moments.
 */
#ifndef ACCEL_PRIV_H
#define ACCEL_PRIV_H

#include <pthread.h>
#include <stddef.h>

#include <octavo/hmm.h>
#include <octavo/memremap.h>
#include <octavo/mm.h>
#include <octavo/mmu_notifier.h>

#include "accel.h"
#include "backend.h"

/* ---- memory.c: buddies, by page of the device ---- */

struct accel_memory {
	pthread_mutex_t lock;
	unsigned long nr, free; /* pages */
	unsigned int top;	/* largest order */
	u32 *next, *prev;	/* by page: free blocks of one order */
	u8 *state;		/* by page: 1 + order of a free block that begins here; 0: none */
	u32 head[MAX_FOLIO_ORDER + 1];
};

int memory_init(struct accel_memory *mem, unsigned long nr, unsigned int top);
void memory_exit(struct accel_memory *mem);
/* Return: the first page, or -1: there is no such block. */
long memory_take(struct accel_memory *mem, unsigned int order);
void memory_give(struct accel_memory *mem, unsigned long at, unsigned int order);
/* Free pages. */
unsigned long memory_left(struct accel_memory *mem);
bool memory_validate(struct accel_memory *mem);

/* ---- dma.c ---- */

struct dma_batch {
	struct accel_copy *copy;
	unsigned long nr;
	bool done;
	struct dma_batch *next;
};

struct accel_dma {
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct dma_batch *first, **last;
	bool stop;
	unsigned int nr;
	pthread_t *thread;
};

int dma_init(struct accel *dev, unsigned int threads);
void dma_exit(struct accel *dev);
/* All of them; which have failed is in them. */
void dma_run(struct accel *dev, struct accel_copy *copy, unsigned long nr);

/* ---- the device ---- */

struct accel_queue {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct accel_job *first, **last;
	bool stop;
	pthread_t *thread;
};

struct accel {
	struct accel_config cfg;
	struct dev_pagemap pgmap; /* owner and priv: this device */
	struct accel_backend *be;
	struct accel_memory mem;
	struct accel_dma dma;
	struct accel_queue queue;
	pthread_mutex_t lock; /* the list of contexts */
	struct accel_ctx *contexts;
	u64 resets;
	unsigned long hand; /* where the next eviction begins */
	u32 error[NR_ACCEL_ERRORS];
	struct accel_stat stat; /* atomic */
};

#define DPT_BITS   9u
#define DPT_SIZE   (1u << DPT_BITS)
#define DPT_LEVELS DIV_ROUND_UP(VA_BITS - PAGE_SHIFT, DPT_BITS)

/* A table of the device's: entries are translations, or lead down. Level 1 may have translations of 2^9 pages. */
struct dpt {
	u64 pte[DPT_SIZE];
	struct dpt *down[DPT_SIZE];
};

#define DPT_VALID 1ul
#define DPT_WRITE 2ul
#define DPT_LOCAL 4ul /* an index of the device's own private memory, else a frame */
#define DPT_ALONE 8ul /* a frame that CPUs may not access now */
#define DPT_SHIFT 8

struct accel_ctx {
	struct accel *dev;
	struct mm_struct *mm;
	struct mmu_interval_notifier mni;
	pthread_rwlock_t lock; /* the mirror's: dpt, and that nobody uses a translation */
	struct dpt *dpt;
	struct accel_ctx *next;
};

#define accel_count(dev, field, n) \
	__atomic_fetch_add(&(dev)->stat.field, (u64)(n), __ATOMIC_RELAXED)

/* Is it to go wrong this time? */
bool accel_goes_wrong(struct accel *dev, enum accel_error error);
/* Where a page's bytes are, the device's or the system's. */
struct accel_mem accel_page_mem(struct accel *dev, const struct page *page);
/* Orders that it migrates, bit 0 set. */
u32 accel_orders(struct accel *dev);

/* ---- mirror.c ---- */

extern const struct mmu_interval_notifier_ops mirror_ops;

enum mirror_access {
	MIRROR_READ,
	MIRROR_WRITE,
	MIRROR_ALONE, /* write, and no CPU takes part */
};

/* Where the bytes of an address are. Context: ctx->lock. Return: false: no translation that allows it. */
bool mirror_translate(const struct accel_ctx *ctx, unsigned long addr, enum mirror_access access,
		      struct accel_mem *mem);
/* A translation that was missing. Context: sleeps, no lock. Return: 0: try again; -errno. */
int mirror_fault(struct accel_ctx *ctx, unsigned long addr, enum mirror_access access);
/* Empty. Context: ctx->lock for writing. */
void mirror_clear(struct accel_ctx *ctx, unsigned long start, unsigned long end);
void mirror_free(struct accel_ctx *ctx);

/* ---- migrate.c ---- */

extern const struct dev_pagemap_ops migrate_ops;

/* ---- jobs.c ---- */

int jobs_init(struct accel *dev);
void jobs_exit(struct accel *dev);

#endif /* ACCEL_PRIV_H */
