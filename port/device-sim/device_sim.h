/* SPDX-License-Identifier: MIT */
/*
 * device_sim.h - a simulated accelerator with memory of its own, and its driver: an example of how a device
 * shares address spaces with CPUs.
 *
 * The accelerator has memory, threads that run jobs on user addresses, a copy engine, and page tables of its own. The driver
 * fills these with hmm_range_fault(), empties them when a notifier says so, and migrates memory to the device
 * and back, in folios of any order. Private memory is out of the CPUs' reach: a CPU that touches it gets it back by
 * migration. Coherent memory is in the physical address space, and both use it where it is.
 *
 *	memory.c   the driver's allocator of device memory
 *	dma.c      the copy engine
 *	mirror.c   the device's page tables: faults, notifiers, exclusive access
 *	migrate.c  to the device, back, eviction
 *	jobs.c     the queue and the threads that compute
 *	device.c   devices and contexts, errors on demand
 */
#ifndef OCTAVO_DEVICE_SIM_H
#define OCTAVO_DEVICE_SIM_H

#include <octavo/mm_types.h>

struct devsim;
struct devsim_ctx;

struct devsim_config {
	unsigned long pages; /* of its memory; coherent: whole sections */
	/* Coherent memory from this frame on, where the machine has nothing else; 0: private memory. */
	unsigned long coherent_pfn;
	u32 orders; /* of folios that it migrates: bit n; bit 0 is always meant; 0: up to a leaf of page tables */
	bool gather;   /* small folios that lie side by side become large ones on the device */
	bool migrates; /* a fault of the device's brings memory to it; else it uses it where it is */
	/* Threads that run jobs. They enter the core, as CPUs first_cpu and on, which nobody else uses. */
	unsigned int threads, first_cpu;
	unsigned int dma_threads; /* of the copy engine; 0: who wants a copy makes it */
};

/* Context: sleeps. Return: 0; -EINVAL, -ENOMEM, or what memremap_pages() said. */
int devsim_create(const struct devsim_config *cfg, struct devsim **devp);
/* All contexts are closed and all jobs done. What is on the device still goes back to the system, or with its address space. */
void devsim_destroy(struct devsim *dev);

/* An address space on the device. Context: as mmu_interval_notifier_insert(). Return: 0, -ENOMEM. */
int devsim_open(struct devsim *dev, struct mm_struct *mm, struct devsim_ctx **ctxp);
/* Its jobs are done. Memory stays where it is. */
void devsim_close(struct devsim_ctx *ctx);

/* ---- jobs: words of 8 bytes at aligned user addresses ---- */

enum devsim_op {
	DEVSIM_FILL,   /* dst[] = value */
	DEVSIM_COPY,   /* dst[] = src[] */
	DEVSIM_ADD,    /* dst[] += value */
	DEVSIM_REDUCE, /* result = sum of src[] */
	DEVSIM_ATOMIC, /* dst[] += value, in exclusive access: no CPU's update is lost, nor the device's */
	DEVSIM_PREFETCH /* dst: the memory is brought to the device */
};

/* One job. The fields above the line are the caller's, and stay until it is done. */
struct devsim_job {
	enum devsim_op op;
	unsigned long dst, src, len; /* bytes */
	u64 value;
	u64 result;
	int status; /* 0; -EFAULT, -ENOMEM, -EIO the device was reset, ... */
	/* ---- */
	struct devsim_ctx *ctx;
	struct devsim_job *next;
	bool done;
};

/* Context: the caller waits for it later. */
void devsim_submit(struct devsim_ctx *ctx, struct devsim_job *job);
/* Context: sleeps; mmap_lock not held. Return: its status. */
int devsim_wait(struct devsim_job *job);
/* Both. */
int devsim_run(struct devsim_ctx *ctx, struct devsim_job *job);

/* ---- where memory is ---- */

/**
 * devsim_migrate() - bring a range to the device
 * @addr: page aligned
 * @len: bytes, pages
 *
 * As much as can be: what is in use stays. Makes room by eviction. Context: sleeps; mmap_lock not held. Return: pages that
 * moved, or -errno if there is a hole: what comes before it has moved.
 */
long devsim_migrate(struct devsim_ctx *ctx, unsigned long addr, unsigned long len);
/* And back to the system's memory. */
long devsim_migrate_back(struct devsim_ctx *ctx, unsigned long addr, unsigned long len);
/* Take up to @nr pages of the device's memory back from whoever has them. Return: pages that moved. */
unsigned long devsim_evict(struct devsim *dev, unsigned long nr);

/* ---- errors on demand ---- */

enum devsim_error {
	DEVSIM_NO_LARGE,	 /* no folio larger than a page can be had, on the device or back */
	DEVSIM_COPY_FAILS,	 /* a copy to or from the device */
	DEVSIM_FAULT_BACK_FAILS, /* the copy of what a CPU has touched: SIGBUS */
	NR_DEVSIM_ERRORS
};
/* The next @nr times; ~0: always; 0: no more. */
void devsim_inject(struct devsim *dev, enum devsim_error error, u32 nr);
/* The device is reset: jobs that run end with -EIO, all its page tables are empty. Its memory stays. */
void devsim_reset(struct devsim *dev);

struct devsim_stat {
	u64 to_device, to_system; /* pages */
	u64 folios_to_device[MAX_FOLIO_ORDER + 1], folios_to_system[MAX_FOLIO_ORDER + 1];
	u64 faults, retries, invalidations;
	u64 cpu_faults; /* memory that a CPU touched and got back, folios */
	u64 evicted;	/* pages */
	u64 exclusive;
	u64 splits; /* of folios on the device */
	u64 copies_failed, jobs;
	u64 pages_free; /* of its memory, now */
};
void devsim_stat(struct devsim *dev, struct devsim_stat *st);
/* Free lists, counts. A quiet moment. Return: false: something is wrong, and was logged. */
bool devsim_validate(struct devsim *dev);

#endif /* OCTAVO_DEVICE_SIM_H */
