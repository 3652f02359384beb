// SPDX-License-Identifier: MIT
/*
 * cuda.c - a backend that is a GPU.
 *
 * 1. All waits. What is asked for is queued on a stream and waited for, and nobody else uses the stream meanwhile: so when a call returns,
 *    neither the GPU nor the driver reads or writes any of the memory that it was given.
 *
 * 2. Words of the system's memory are computed on in a buffer of the GPU's: copied there, computed, copied back, those
 *    words and no others. So the GPU needs no access to the system's memory, and words beside them may be used by CPUs.
 *
 * 3. Errors. What could not be queued for lack of memory has not been done, and may be tried again. All else means that the
 *    GPU is lost: the driver has ended its context (a kernel's fault, an error of the memory, the link), or something is wrong that
 *    trying again does not help. So does any error of a wait, because what was queued may then have been done or not. What
 *    is lost stays lost, and from then on the driver is not asked.
 *
 * 4. Contexts. A thread that asks may be any of the program's, in a fault, and may use CUDA itself. So ours is its current context
 *    for the time of the call only, above the one that it had.
 *
 * It does not find out whether a GPU that does not answer ever will: a wait takes as long as it takes.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <octavo/debug.h>
#include <octavo/page.h>

#include "backend.h"
#include "cuda.h"
#include "driver.h"

#define BLOCK 128u /* threads */

/* Somebody's, while he has the lock. */
struct cuda_channel {
	pthread_mutex_t lock;
	cu_stream stream;
};

struct cuda {
	struct accel_backend base;
	struct cuda_driver cu;
	cu_device device;
	cu_context context; /* NULL: not ours yet; and so with all that follows */
	cu_module module;
	cu_function fill, add, reduce;
	struct cuda_channel copies, work;
	cu_deviceptr memory; /* the device's */
	cu_deviceptr
		buffer; /* work.lock: a page for words of the system's, and the sum behind it */
	u64 sum;	/* work.lock: copied here */
	void *pinned;
};

/* ---- errors ---- */

static const char *error_name(struct cuda *gpu, cu_result r)
{
	const char *name = NULL;

	if (gpu->cu.cuGetErrorName(r, &name) || !name)
		name = "an error without a name";
	return name;
}

static bool is_lost(struct cuda *gpu)
{
	return __atomic_load_n(&gpu->base.lost, __ATOMIC_RELAXED);
}

static int lose(struct cuda *gpu, cu_result r)
{
	if (!__atomic_exchange_n(&gpu->base.lost, true, __ATOMIC_RELAXED))
		octavo_log(OCTAVO_LOG_WARN, "%s is lost: %s (%d)", gpu->base.name,
			   error_name(gpu, r), r);
	return -EIO;
}

/* What something that was to be queued has answered. */
static int queued(struct cuda *gpu, cu_result r)
{
	if (!r)
		return 0;
	if (r == CU_OUT_OF_MEMORY || r == CU_LAUNCH_OUT_OF_RESOURCES)
		return -ENOMEM;
	return lose(gpu, r);
}

/* ---- the caller's current context ---- */

/* What it had is as it was, whatever the answer: the driver takes ours away also when it has an older error to tell. */
static void context_leave(struct cuda *gpu)
{
	cu_context context;
	cu_result r = gpu->cu.cuCtxPopCurrent_v2(&context);

	if (r)
		lose(gpu, r);
}

/* ---- channels ---- */

static int channel_begin(struct cuda *gpu, struct cuda_channel *ch)
{
	int err = -EIO;

	pthread_mutex_lock(&ch->lock);
	if (!is_lost(gpu))
		err = queued(gpu, gpu->cu.cuCtxPushCurrent_v2(gpu->context));
	if (err)
		pthread_mutex_unlock(&ch->lock);
	return err;
}

/* The end of what channel_begin() began. */
static void channel_end(struct cuda *gpu, struct cuda_channel *ch)
{
	context_leave(gpu);
	pthread_mutex_unlock(&ch->lock);
}

/* @err: of what was queued. Waits even if something could not be: something before it may have been. Context: the lock. */
static int channel_wait(struct cuda *gpu, struct cuda_channel *ch, int err)
{
	cu_result r = gpu->cu.cuStreamSynchronize(ch->stream);

	return r ? lose(gpu, r) : err;
}

/* Queue one copy. */
static int copy(struct cuda *gpu, struct accel_mem to, struct accel_mem from, size_t len,
		cu_stream on)
{
	struct cuda_driver *cu = &gpu->cu;
	cu_deviceptr there = gpu->memory + to.at;
	cu_result r;

	if (to.kind == ACCEL_HOST)
		r = cu->cuMemcpyDtoHAsync_v2(to.host, gpu->memory + from.at, len, on);
	else if (from.kind == ACCEL_ZEROS)
		r = cu->cuMemsetD8Async(there, 0, len, on);
	else if (from.kind == ACCEL_HOST)
		r = cu->cuMemcpyHtoDAsync_v2(there, from.host, len, on);
	else if (from.at == to.at)
		r = 0;
	else
		r = cu->cuMemcpyDtoDAsync_v2(there, gpu->memory + from.at, len, on);
	return queued(gpu, r);
}

static void cuda_copy(struct accel_backend *be, struct accel_copy *c, unsigned long nr)
{
	struct cuda *gpu = (struct cuda *)be;
	int err = channel_begin(gpu, &gpu->copies);

	if (!err) {
		for (unsigned long i = 0; i < nr; i++)
			if (!c[i].failed)
				c[i].failed =
					copy(gpu, c[i].to, c[i].from, c[i].len, gpu->copies.stream);
		err = channel_wait(gpu, &gpu->copies, 0);
		channel_end(gpu, &gpu->copies);
	}
	for (unsigned long i = 0; err && i < nr; i++)
		c[i].failed = true;
}

/* ---- words ---- */

static int launch(struct cuda *gpu, cu_function function, cu_deviceptr at, u64 words, u64 value)
{
	void *params[] = { &at, &words, &value };

	return queued(gpu,
		      gpu->cu.cuLaunchKernel(function, (unsigned int)DIV_ROUND_UP(words, BLOCK), 1,
					     1, BLOCK, 1, 1, 0, gpu->work.stream, params, NULL));
}

/* What @mem has, on the device: where it is, or in the buffer. */
static cu_deviceptr here(struct cuda *gpu, struct accel_mem mem)
{
	return mem.kind == ACCEL_HOST ? gpu->buffer : gpu->memory + mem.at;
}

static int load(struct cuda *gpu, struct accel_mem mem, size_t bytes)
{
	if (mem.kind != ACCEL_HOST)
		return 0;
	return queued(gpu,
		      gpu->cu.cuMemcpyHtoDAsync_v2(gpu->buffer, mem.host, bytes, gpu->work.stream));
}

static int store(struct cuda *gpu, struct accel_mem mem, size_t bytes)
{
	if (mem.kind != ACCEL_HOST)
		return 0;
	return queued(gpu,
		      gpu->cu.cuMemcpyDtoHAsync_v2(mem.host, gpu->buffer, bytes, gpu->work.stream));
}

static int reduce(struct cuda *gpu, const struct accel_work *work)
{
	cu_deviceptr sum = gpu->buffer + PAGE_SIZE;
	int err = queued(gpu, gpu->cu.cuMemsetD8Async(sum, 0, sizeof(u64), gpu->work.stream));

	if (!err)
		err = load(gpu, work->src, work->words * sizeof(u64));
	if (!err)
		err = launch(gpu, gpu->reduce, here(gpu, work->src), work->words, sum);
	if (!err)
		err = queued(gpu, gpu->cu.cuMemcpyDtoHAsync_v2(&gpu->sum, sum, sizeof(u64),
							       gpu->work.stream));
	return err;
}

static int add(struct cuda *gpu, const struct accel_work *work)
{
	int err = load(gpu, work->dst, work->words * sizeof(u64));

	if (!err)
		err = launch(gpu, gpu->add, here(gpu, work->dst), work->words, work->value);
	if (!err)
		err = store(gpu, work->dst, work->words * sizeof(u64));
	return err;
}

static int fill(struct cuda *gpu, const struct accel_work *work)
{
	int err = launch(gpu, gpu->fill, here(gpu, work->dst), work->words, work->value);

	return err ? err : store(gpu, work->dst, work->words * sizeof(u64));
}

static int copy_words(struct cuda *gpu, const struct accel_work *work)
{
	size_t bytes = work->words * sizeof(u64);
	int err;

	if (work->dst.kind != ACCEL_HOST || work->src.kind != ACCEL_HOST)
		return copy(gpu, work->dst, work->src, bytes, gpu->work.stream);
	err = load(gpu, work->src, bytes);
	return err ? err : store(gpu, work->dst, bytes);
}

static int compute(struct cuda *gpu, const struct accel_work *work)
{
	switch (work->op) {
	case ACCEL_FILL:
		return fill(gpu, work);
	case ACCEL_COPY:
		return copy_words(gpu, work);
	case ACCEL_ADD:
	case ACCEL_ATOMIC:
		return add(gpu, work);
	case ACCEL_REDUCE:
		return reduce(gpu, work);
	case ACCEL_PREFETCH:
		break;
	}
	return -EINVAL;
}

static int cuda_compute(struct accel_backend *be, const struct accel_work *work)
{
	struct cuda *gpu = (struct cuda *)be;
	int err = channel_begin(gpu, &gpu->work);

	if (err)
		return err;
	err = channel_wait(gpu, &gpu->work, compute(gpu, work));
	if (!err && work->op == ACCEL_REDUCE)
		*work->result += gpu->sum;
	channel_end(gpu, &gpu->work);
	return err;
}

/* ---- from the library to the device ---- */

static int cuda_memory(struct accel_backend *be, size_t bytes)
{
	struct cuda *gpu = (struct cuda *)be;
	int err = queued(gpu, gpu->cu.cuCtxPushCurrent_v2(gpu->context));

	if (err)
		return err;
	err = queued(gpu, gpu->cu.cuMemAlloc_v2(&gpu->memory, bytes));
	context_leave(gpu);
	return err;
}

/* Whatever there is by now. What a lost GPU answers does not matter: with the context all of it goes. */
static void cuda_close(struct accel_backend *be)
{
	struct cuda *gpu = (struct cuda *)be;
	struct cuda_driver *cu = &gpu->cu;
	cu_context context;
	bool ours;

	if (gpu->context) {
		ours = !cu->cuCtxPushCurrent_v2(gpu->context);
		if (gpu->pinned)
			(void)cu->cuMemHostUnregister(gpu->pinned);
		if (gpu->memory)
			(void)cu->cuMemFree_v2(gpu->memory);
		if (gpu->buffer)
			(void)cu->cuMemFree_v2(gpu->buffer);
		if (gpu->work.stream)
			(void)cu->cuStreamDestroy_v2(gpu->work.stream);
		if (gpu->copies.stream)
			(void)cu->cuStreamDestroy_v2(gpu->copies.stream);
		if (gpu->module)
			(void)cu->cuModuleUnload(gpu->module);
		if (ours)
			(void)cu->cuCtxPopCurrent_v2(&context);
		(void)cu->cuDevicePrimaryCtxRelease(gpu->device);
	}
	cuda_unload(cu);
	pthread_mutex_destroy(&gpu->copies.lock);
	pthread_mutex_destroy(&gpu->work.lock);
	free(gpu);
}

static const struct accel_backend_ops cuda_ops = {
	.memory = cuda_memory,
	.copy = cuda_copy,
	.compute = cuda_compute,
	.close = cuda_close,
};

/* A GPU, by its number. What the library cannot do here and now is as if there were none. */
static int find_device(struct cuda *gpu, int ordinal, char *why, size_t why_size)
{
	struct cuda_driver *cu = &gpu->cu;
	const char *what = "cuInit";
	cu_result r = cu->cuInit(0);
	int nr = 0;

	if (!r) {
		what = "cuDeviceGetCount";
		r = cu->cuDeviceGetCount(&nr);
	}
	if (!r && ordinal >= nr) {
		snprintf(why, why_size, "there is no GPU %d: the driver has %d", ordinal, nr);
		return -ENODEV;
	}
	if (!r) {
		what = "cuDeviceGet";
		r = cu->cuDeviceGet(&gpu->device, ordinal);
	}
	if (!r) {
		what = "cuDeviceGetName";
		r = cu->cuDeviceGetName(gpu->base.name, sizeof(gpu->base.name) - 1, gpu->device);
	}
	if (!r)
		return 0;
	snprintf(why, why_size, "no GPU: %s says %s (%d)", what, error_name(gpu, r), r);
	return -ENODEV;
}

static cu_result get_kernels(struct cuda *gpu)
{
	struct cuda_driver *cu = &gpu->cu;
	cu_result r = cu->cuModuleLoadDataEx(&gpu->module, cuda_kernels, 0, NULL, NULL);

	if (!r)
		r = cu->cuModuleGetFunction(&gpu->fill, gpu->module, CUDA_KERNEL_FILL);
	if (!r)
		r = cu->cuModuleGetFunction(&gpu->add, gpu->module, CUDA_KERNEL_ADD);
	if (!r)
		r = cu->cuModuleGetFunction(&gpu->reduce, gpu->module, CUDA_KERNEL_REDUCE);
	return r;
}

/* A refusal costs only time: copies go through a buffer of the driver's. */
static void pin(struct cuda *gpu)
{
	void *ram = pfn_to_virt(0);

	if (!gpu->cu.cuMemHostRegister_v2(ram, octavo_state.frame.max_pfn << PAGE_SHIFT,
					  CU_MEMHOSTREGISTER_PORTABLE))
		gpu->pinned = ram;
	else
		strncat(gpu->base.name, ", memory not pinned",
			sizeof(gpu->base.name) - 1 - strlen(gpu->base.name));
}

/* With the context current. @what: what fails, if something does. */
static cu_result start_in_context(struct cuda *gpu, bool pinned, const char **what)
{
	struct cuda_driver *cu = &gpu->cu;
	cu_result r;

	*what = "kernels";
	r = get_kernels(gpu);
	if (!r) {
		*what = "streams";
		r = cu->cuStreamCreate(&gpu->copies.stream, CU_STREAM_NON_BLOCKING);
	}
	if (!r)
		r = cu->cuStreamCreate(&gpu->work.stream, CU_STREAM_NON_BLOCKING);
	if (!r) {
		*what = "buffer";
		r = cu->cuMemAlloc_v2(&gpu->buffer, PAGE_SIZE + sizeof(u64));
	}
	if (!r && pinned)
		pin(gpu);
	return r;
}

/* All that it takes to work, but the memory. */
static int start(struct cuda *gpu, bool pinned, char *why, size_t why_size)
{
	struct cuda_driver *cu = &gpu->cu;
	const char *what = "context";
	cu_result r = cu->cuDevicePrimaryCtxRetain(&gpu->context, gpu->device), left;
	cu_context context;

	if (!r)
		r = cu->cuCtxPushCurrent_v2(gpu->context);
	if (!r) {
		r = start_in_context(gpu, pinned, &what);
		left = cu->cuCtxPopCurrent_v2(&context);
		if (!r && left) {
			what = "context";
			r = left;
		}
	}
	if (!r)
		return 0;
	snprintf(why, why_size, "%s, %s: %s (%d)", gpu->base.name, what, error_name(gpu, r), r);
	return r == CU_OUT_OF_MEMORY ? -ENOMEM : -EIO;
}

int cuda_create(const struct accel_config *cfg, const struct cuda_config *how, struct accel **devp,
		char *why, size_t why_size)
{
	struct cuda *gpu = calloc(1, sizeof(*gpu));
	int err;

	snprintf(why, why_size, "%s", gpu ? "" : "no memory");
	if (!gpu)
		return -ENOMEM;
	gpu->base.ops = &cuda_ops;
	pthread_mutex_init(&gpu->copies.lock, NULL);
	pthread_mutex_init(&gpu->work.lock, NULL);
	err = cuda_load(&gpu->cu, how->file, why, why_size);
	if (!err)
		err = find_device(gpu, how->ordinal, why, why_size);
	if (!err)
		err = start(gpu, how->pin, why, why_size);
	if (!err) {
		err = accel_create(cfg, &gpu->base, devp);
		if (err)
			snprintf(why, why_size, "%s: error %d", gpu->base.name, -err);
	}
	if (err)
		cuda_close(&gpu->base);
	return err;
}
