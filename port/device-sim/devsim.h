/* SPDX-License-Identifier: MIT */
/*
 * devsim.h - what the files of the simulated accelerator tell each other.
 *
 * Locks, outermost first: mmap_lock; folio locks; ctx->lock, which jobs hold for reading while they use a translation and
 * invalidations for writing; mem.lock, dma.lock, queue.lock, which are held for moments.
 */
#ifndef DEVSIM_H
#define DEVSIM_H

#include <pthread.h>
#include <stddef.h>

#include <octavo/hmm.h>
#include <octavo/memremap.h>
#include <octavo/mm.h>
#include <octavo/mmu_notifier.h>

#include "device_sim.h"

/* ---- memory.c: buddies, by page of the device ---- */

struct devsim_memory {
	pthread_mutex_t lock;
	unsigned long nr, free; /* pages */
	unsigned int top;	/* largest order */
	u32 *next, *prev;	/* by page: free blocks of one order */
	u8 *state;		/* by page: 1 + order of a free block that begins here; 0: none */
	u32 head[MAX_FOLIO_ORDER + 1];
};

int memory_init(struct devsim_memory *mem, unsigned long nr, unsigned int top);
void memory_exit(struct devsim_memory *mem);
/* Return: the first page, or -1: there is no such block. */
long memory_take(struct devsim_memory *mem, unsigned int order);
void memory_give(struct devsim_memory *mem, unsigned long at, unsigned int order);
/* Free pages. */
unsigned long memory_left(struct devsim_memory *mem);
bool memory_validate(struct devsim_memory *mem);

/* ---- dma.c ---- */

struct dma_copy {
	void *to;
	const void *from; /* NULL: zeros */
	size_t len;
	bool failed;
};

struct dma_batch {
	struct dma_copy *copy;
	unsigned long nr;
	bool done;
	struct dma_batch *next;
};

struct devsim_dma {
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct dma_batch *first, **last;
	bool stop;
	unsigned int nr;
	pthread_t *thread;
};

int dma_init(struct devsim *dev, unsigned int threads);
void dma_exit(struct devsim *dev);
/* All of them; which have failed is in them. */
void dma_run(struct devsim *dev, struct dma_copy *copy, unsigned long nr);

/* ---- the device ---- */

struct devsim_queue {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct devsim_job *first, **last;
	bool stop;
	pthread_t *thread;
};

struct devsim {
	struct devsim_config cfg;
	struct dev_pagemap pgmap; /* owner and priv: this device */
	char *bytes;		  /* private memory */
	struct devsim_memory mem;
	struct devsim_dma dma;
	struct devsim_queue queue;
	pthread_mutex_t lock; /* the list of contexts */
	struct devsim_ctx *contexts;
	u64 resets;
	unsigned long hand; /* where the next eviction begins */
	u32 error[NR_DEVSIM_ERRORS];
	struct devsim_stat stat; /* atomic */
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

struct devsim_ctx {
	struct devsim *dev;
	struct mm_struct *mm;
	struct mmu_interval_notifier mni;
	pthread_rwlock_t lock; /* the mirror's: dpt, and that nobody uses a translation */
	struct dpt *dpt;
	struct devsim_ctx *next;
};

#define devsim_count(dev, field, n) \
	__atomic_fetch_add(&(dev)->stat.field, (u64)(n), __ATOMIC_RELAXED)

/* Is it to go wrong this time? */
bool devsim_goes_wrong(struct devsim *dev, enum devsim_error error);
/* Host memory of a page, the device's or the system's. */
void *devsim_page_mem(struct devsim *dev, const struct page *page);
/* Orders that it migrates, bit 0 set. */
u32 devsim_orders(struct devsim *dev);

/* ---- mirror.c ---- */

extern const struct mmu_interval_notifier_ops mirror_ops;

enum mirror_access {
	MIRROR_READ,
	MIRROR_WRITE,
	MIRROR_ALONE, /* write, and no CPU takes part */
};

/* Context: ctx->lock. Return: host memory of an address; NULL: no translation that allows it. */
void *mirror_translate(const struct devsim_ctx *ctx, unsigned long addr, enum mirror_access access);
/* A translation that was missing. Context: sleeps, no lock. Return: 0: try again; -errno. */
int mirror_fault(struct devsim_ctx *ctx, unsigned long addr, enum mirror_access access);
/* Empty. Context: ctx->lock for writing. */
void mirror_clear(struct devsim_ctx *ctx, unsigned long start, unsigned long end);
void mirror_free(struct devsim_ctx *ctx);

/* ---- migrate.c ---- */

extern const struct dev_pagemap_ops migrate_ops;

/* ---- jobs.c ---- */

int jobs_init(struct devsim *dev);
void jobs_exit(struct devsim *dev);

#endif /* DEVSIM_H */
