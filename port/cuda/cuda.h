/* SPDX-License-Identifier: MIT */
/*
 * cuda.h - an accelerator (accel.h) that is a GPU, through the CUDA driver library.
 *
 * The library is loaded when a device is asked for; nothing is needed to build this, and a machine without a GPU only says so.
 */
#ifndef OCTAVO_CUDA_H
#define OCTAVO_CUDA_H

#include <stddef.h>

#include "accel.h"

struct cuda_config {
	/* NULL: what OCTAVO_CUDA_LIBRARY in the environment names, else libcuda.so.1. */
	const char *file;
	int ordinal; /* which of the machine's GPUs */
	/* Tell the driver of the machine's memory, so that copies need not go through another buffer: all of it is then in use. */
	bool pin;
};

/**
 * cuda_create() - a device that is a GPU
 * @cfg: private memory only
 * @why: what was wrong, for people; "" if nothing
 *
 * Context: as accel_create(), on a machine that is up. Return: 0; -ENODEV there is no library, or no GPU, or the two don't get
 * along: nothing is wrong with the caller; -EINVAL coherent memory; -ENOMEM; -EIO; as accel_create().
 */
int cuda_create(const struct accel_config *cfg, const struct cuda_config *how, struct accel **devp,
		char *why, size_t why_size);

#endif /* OCTAVO_CUDA_H */
