/* SPDX-License-Identifier: MIT */
/*
 * accel.h - the driver of an accelerator with memory of its own: an example of how a device shares address spaces with CPUs.
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
 *
 * What holds the bytes, copies and computes is a backend (backend.h): port/device-sim makes devices of the host's
 * memory, port/cuda of a GPU.
 */
#ifndef OCTAVO_ACCEL_H
#define OCTAVO_ACCEL_H

#include <octavo/mm_types.h>

struct accel;
struct accel_ctx;
struct accel_backend;

struct accel_config {
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

/**
 * accel_create() - a device
 * @be: what it is made of: the device's, if this succeeds, and closed with it; else the caller's still
 *
 * Who wants one calls what makes the backend as well: device_sim_create(), cuda_create(). Context: sleeps. Return: 0; -EINVAL no
 * memory, -ENOMEM, what the backend says of so much memory, or what memremap_pages() said.
 */
int accel_create(const struct accel_config *cfg, struct accel_backend *be, struct accel **devp);
/*
 * All contexts are closed and all jobs done. What is on the device still goes back to the system, or with its address space: if it
 * can't go back, because the device is lost, say, this waits until the address spaces that have it have unmapped it.
 */
void accel_destroy(struct accel *dev);
/* What it is, for people. */
const char *accel_name(const struct accel *dev);
/* It is gone for good: jobs and copies fail, a CPU that touches what was on it gets SIGBUS. */
bool accel_lost(const struct accel *dev);

/* An address space on the device. Context: as mmu_interval_notifier_insert(). Return: 0, -ENOMEM. */
int accel_open(struct accel *dev, struct mm_struct *mm, struct accel_ctx **ctxp);
/* Its jobs are done. Memory stays where it is. */
void accel_close(struct accel_ctx *ctx);

/* ---- jobs: words of 8 bytes at aligned user addresses ---- */

enum accel_op {
	ACCEL_FILL,   /* dst[] = value */
	ACCEL_COPY,   /* dst[] = src[]; the same place, or no word in both: else -EINVAL */
	ACCEL_ADD,    /* dst[] += value */
	ACCEL_REDUCE, /* result = sum of src[] */
	ACCEL_ATOMIC, /* dst[] += value, in exclusive access: no CPU's update is lost, nor the device's */
	ACCEL_PREFETCH /* dst: the memory is brought to the device */
};

/* One job. The fields above the line are the caller's, and stay until it is done. */
struct accel_job {
	enum accel_op op;
	unsigned long dst, src, len; /* bytes */
	u64 value;
	u64 result;
	int status; /* 0; -EFAULT, -ENOMEM, -EIO the device was reset, or is lost; ... */
	/* ---- */
	struct accel_ctx *ctx;
	struct accel_job *next;
	bool done;
};

/* Context: the caller waits for it later. */
void accel_submit(struct accel_ctx *ctx, struct accel_job *job);
/* Context: sleeps; mmap_lock not held. Return: its status. */
int accel_wait(struct accel_job *job);
/* Both. */
int accel_run(struct accel_ctx *ctx, struct accel_job *job);

/* ---- where memory is ---- */

/**
 * accel_migrate() - bring a range to the device
 * @addr: page aligned
 * @len: bytes, pages
 *
 * As much as can be: what is in use stays. Makes room by eviction. Context: sleeps; mmap_lock not held. Return: pages that
 * moved, or -errno if there is a hole: what comes before it has moved.
 */
long accel_migrate(struct accel_ctx *ctx, unsigned long addr, unsigned long len);
/* And back to the system's memory. */
long accel_migrate_back(struct accel_ctx *ctx, unsigned long addr, unsigned long len);
/* Take up to @nr pages of the device's memory back from whoever has them. Return: pages that moved. */
unsigned long accel_evict(struct accel *dev, unsigned long nr);

/* ---- errors on demand ---- */

enum accel_error {
	ACCEL_NO_LARGE,		/* no folio larger than a page can be had, on the device or back */
	ACCEL_COPY_FAILS,	/* a copy to or from the device */
	ACCEL_FAULT_BACK_FAILS, /* the copy of what a CPU has touched: SIGBUS */
	NR_ACCEL_ERRORS
};
/* The next @nr times; ~0: always; 0: no more. */
void accel_inject(struct accel *dev, enum accel_error error, u32 nr);
/* The device is reset: jobs that run end with -EIO, all its page tables are empty. Its memory stays. */
void accel_reset(struct accel *dev);

struct accel_stat {
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
void accel_stat(struct accel *dev, struct accel_stat *st);
/* Free lists, counts. A quiet moment. Return: false: something is wrong, and was logged. */
bool accel_validate(struct accel *dev);

#endif /* OCTAVO_ACCEL_H */
