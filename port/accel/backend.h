/* SPDX-License-Identifier: MIT */
/*
 * backend.h - what an accelerator is made of: memory, copies, and computing on words. All else is the driver's.
 *
 * The driver says where bytes are and never looks at those of the device: it may be that no CPU can. The backend
 * knows nothing of pages, address spaces or the core, and calls none of them.
 */
#ifndef OCTAVO_ACCEL_BACKEND_H
#define OCTAVO_ACCEL_BACKEND_H

#include <stddef.h>

#include "accel.h"

/* Where bytes are. */
struct accel_mem {
	enum { ACCEL_HOST, ACCEL_DEVICE, ACCEL_ZEROS } kind;
	union {
		char *host;
		size_t at; /* bytes from the start of the device's memory */
	};
};

static inline struct accel_mem accel_mem_add(struct accel_mem mem, size_t n)
{
	if (mem.kind == ACCEL_HOST)
		mem.host += n;
	else
		mem.at += n;
	return mem;
}

struct accel_copy {
	struct accel_mem to;
	struct accel_mem
		from; /* which may be zeros; not the host's if @to is, but for coherent memory */
	size_t len;
	bool failed; /* before: leave it out; after: nobody knows what is in @to */
};

/* A part of a job, within a page of all that it uses. */
struct accel_work {
	enum accel_op op;
	struct accel_mem dst,
		src; /* those that the operation has; not overlapping, but perhaps the same */
	size_t words;
	u64 value;
	u64 *result; /* REDUCE: the sum is added to it */
};

/* Context of all: sleeps; any thread, several at once. */
struct accel_backend_ops {
	/* The device's memory, once, before it is used. Return: 0, -ENOMEM, -EIO. */
	int (*memory)(struct accel_backend *be, size_t bytes);
	/* All of them. When it returns nothing reads or writes any of it any more, whatever has failed. */
	void (*copy)(struct accel_backend *be, struct accel_copy *copy, unsigned long nr);
	/* Return: 0, -ENOMEM, -EIO: what is in dst, nobody knows. */
	int (*compute)(struct accel_backend *be, const struct accel_work *work);
	/* The end of it, and of its memory. */
	void (*close)(struct accel_backend *be);
};

/* A backend's own structure begins with it. */
struct accel_backend {
	const struct accel_backend_ops *ops;
	char name[128];
	bool can_coherent; /* works on the system's memory as CPUs do, so its own may be part of it */
	bool lost;	   /* atomic; once set all fails with -EIO, at once */
};

#endif /* OCTAVO_ACCEL_BACKEND_H */
