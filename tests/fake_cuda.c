// SPDX-License-Identifier: MIT
/*
 * fake_cuda.c - a double of the CUDA driver library: the entry points that port/cuda uses, on the host.
 *
 * 1. Addresses of its memory are none of the host's: whoever uses one as such crashes.
 *
 * 2. What is queued on a stream is done when the stream is waited for, and not before: who forgets to wait finds nothing done.
 *
 * 3. Kernels are run from the module's text (fake_ptx.c).
 *
 * 4. An error on demand fails the call. An error of a wait comes after all that was queued has been done; a sticky one after
 *    half of it, and the rest is never done.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../port/cuda/driver.h"
#include "fake_cuda.h"
#include "fake_ptx.h"

#define FAKE_PROTOTYPE(name, params) cu_result name params;
CUDA_FUNCTIONS(FAKE_PROTOTYPE)

extern struct fake_cuda fake_cuda;
struct fake_cuda fake_cuda = { .devices = 1 };

struct cu_context_st {
	unsigned int refs;
};

struct cu_function_st {
	struct ptx_kernel kernel;
};

struct cu_module_st {
	const char *text;
	struct cu_function_st function[4];
	unsigned int nr;
};

struct op {
	enum { TO_DEVICE, TO_HOST, WITHIN, SET, LAUNCH } kind;
	cu_deviceptr to, from;
	void *host;
	size_t len; /* LAUNCH: words */
	unsigned long long value;
	cu_function function;
	unsigned int blocks, threads;
};

struct cu_stream_st {
	struct op *op;
	size_t nr, room;
};

#define MAX_ALLOCATIONS 16u
/* No address of x86-64 or AArch64 looks like this. */
#define FIRST_ADDRESS 0xdd00000000000000ull

static struct allocation {
	cu_deviceptr at;
	size_t bytes;
	char *host;
} allocations[MAX_ALLOCATIONS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cu_context_st context;
static cu_deviceptr next_address = FIRST_ADDRESS;
/*
 * The thread's contexts, the current one last. In the threads' static memory: what a library that is loaded late would get from
 * malloc() instead, the memory sanitizer takes for not initialised.
 */
#define MAX_CONTEXTS 4u
#define EARLY	     __thread __attribute__((tls_model("initial-exec")))
static EARLY cu_context contexts[MAX_CONTEXTS];
static EARLY unsigned int nr_contexts;

/* ---- calls ---- */

/* Takes the lock. Return: what the call fails with, if it is to. */
static cu_result enter(void)
{
	pthread_mutex_lock(&lock);
	fake_cuda.calls++;
	if (fake_cuda.dead)
		return fake_cuda.dead;
	if (fake_cuda.calls != fake_cuda.fail_at)
		return 0;
	if (fake_cuda.sticky)
		fake_cuda.dead = fake_cuda.fail_with;
	return fake_cuda.fail_with;
}

/* The same for what needs a context. */
static cu_result enter_context(void)
{
	cu_result r = enter();

	return r || nr_contexts ? r : CU_INVALID_CONTEXT;
}

static cu_result leave(cu_result r)
{
	pthread_mutex_unlock(&lock);
	return r;
}

static cu_result wrong(const char *name, cu_result r)
{
	fake_cuda.wrong++;
	fake_cuda.wrong_name = name;
	return r;
}

static void begin_living(void)
{
	fake_cuda.live++;
}

static void end_living(const char *name)
{
	if (fake_cuda.live)
		fake_cuda.live--;
	else
		wrong(name, 0);
}

/* ---- the library, devices, contexts ---- */

cu_result cuInit(unsigned int flags)
{
	return leave(enter());
}

cu_result cuGetErrorName(cu_result error, const char **name)
{
	*name = error == CU_OUT_OF_MEMORY   ? "CUDA_ERROR_OUT_OF_MEMORY"
		: error == CU_NO_DEVICE	    ? "CUDA_ERROR_NO_DEVICE"
		: error == CU_LAUNCH_FAILED ? "CUDA_ERROR_LAUNCH_FAILED"
					    : "CUDA_ERROR_OTHER";
	return 0;
}

cu_result cuDeviceGetCount(int *nr)
{
	cu_result r = enter();

	*nr = fake_cuda.devices;
	return leave(r);
}

cu_result cuDeviceGet(cu_device *device, int ordinal)
{
	cu_result r = enter();

	*device = ordinal;
	return leave(r);
}

cu_result cuDeviceGetName(char *name, int len, cu_device device)
{
	cu_result r = enter();

	snprintf(name, (size_t)len, "Double of a GPU");
	return leave(r);
}

cu_result cuDevicePrimaryCtxRetain(cu_context *out, cu_device device)
{
	cu_result r = enter();

	if (!r) {
		context.refs++;
		begin_living();
		*out = &context;
	}
	return leave(r);
}

cu_result cuDevicePrimaryCtxRelease(cu_device device)
{
	cu_result r = enter();

	end_living(__func__);
	/* the next one's context is a new one */
	if (!--context.refs)
		fake_cuda.dead = 0;
	return leave(r);
}

cu_result cuCtxPushCurrent_v2(cu_context to)
{
	cu_result r = enter();

	if (!r && (!to || nr_contexts == MAX_CONTEXTS))
		r = wrong(__func__, CU_INVALID_CONTEXT);
	if (!r) {
		contexts[nr_contexts++] = to;
		begin_living();
	}
	return leave(r);
}

/* Also if it has the error of something before to tell. */
cu_result cuCtxPopCurrent_v2(cu_context *from)
{
	cu_result r = enter();

	if (!nr_contexts)
		return leave(wrong(__func__, CU_INVALID_CONTEXT));
	*from = contexts[--nr_contexts];
	end_living(__func__);
	return leave(r);
}

/* ---- modules ---- */

cu_result cuModuleLoadDataEx(cu_module *module, const void *image, unsigned int nr,
			     cu_jit_option *options, void **values)
{
	cu_result r = enter_context();

	if (!r) {
		*module = calloc(1, sizeof(**module));
		if (!*module)
			abort();
		(*module)->text = image;
		begin_living();
	}
	return leave(r);
}

cu_result cuModuleGetFunction(cu_function *function, cu_module module, const char *name)
{
	cu_result r = enter_context();
	const char *bad;

	if (r)
		return leave(r);
	if (module->nr == sizeof(module->function) / sizeof(module->function[0]))
		return leave(CU_OUT_OF_MEMORY);
	*function = &module->function[module->nr++];
	bad = ptx_read(module->text, name, &(*function)->kernel);
	if (!bad)
		return leave(0);
	fprintf(stderr, "%s: %s\n", name, bad);
	return leave(wrong(__func__, CU_NOT_FOUND));
}

/* Whoever gives something back has done so, whatever the answer. */
cu_result cuModuleUnload(cu_module module)
{
	cu_result r = enter_context();

	end_living(__func__);
	free(module);
	return leave(r);
}

/* ---- memory ---- */

cu_result cuMemAlloc_v2(cu_deviceptr *at, size_t bytes)
{
	cu_result r = enter_context();
	struct allocation *a = allocations;

	if (r)
		return leave(r);
	while (a->bytes && a < allocations + MAX_ALLOCATIONS - 1)
		a++;
	if (a->bytes)
		return leave(CU_OUT_OF_MEMORY);
	*a = (struct allocation){ next_address, bytes, malloc(bytes) };
	if (!a->host)
		abort();
	next_address += (bytes + 0xfffff) & ~0xfffffull;
	*at = a->at;
	begin_living();
	return leave(0);
}

cu_result cuMemFree_v2(cu_deviceptr at)
{
	cu_result r = enter_context();

	for (size_t i = 0; i < MAX_ALLOCATIONS; i++) {
		struct allocation *a = &allocations[i];

		if (!a->bytes || a->at != at)
			continue;
		end_living(__func__);
		free(a->host);
		*a = (struct allocation){ 0 };
		return leave(r);
	}
	return leave(wrong(__func__, CU_INVALID_HANDLE));
}

/* Its bytes; NULL: not all of them are in one allocation. */
static char *bytes_at(cu_deviceptr at, size_t len)
{
	for (size_t i = 0; i < MAX_ALLOCATIONS; i++) {
		struct allocation *a = &allocations[i];

		if (a->bytes && at >= a->at && at + len <= a->at + a->bytes)
			return a->host + (at - a->at);
	}
	return NULL;
}

cu_result cuMemHostRegister_v2(void *at, size_t bytes, unsigned int flags)
{
	cu_result r = enter_context();

	if (!r)
		begin_living();
	return leave(r);
}

cu_result cuMemHostUnregister(void *at)
{
	cu_result r = enter_context();

	end_living(__func__);
	return leave(r);
}

/* ---- streams ---- */

cu_result cuStreamCreate(cu_stream *stream, unsigned int flags)
{
	cu_result r = enter_context();

	if (!r) {
		*stream = calloc(1, sizeof(**stream));
		if (!*stream)
			abort();
		begin_living();
	}
	return leave(r);
}

cu_result cuStreamDestroy_v2(cu_stream stream)
{
	cu_result r = enter_context();

	end_living(__func__);
	if (stream->nr && !r)
		wrong(__func__, 0);
	free(stream->op);
	free(stream);
	return leave(r);
}

static cu_result queue(cu_result r, cu_stream on, struct op op)
{
	if (r)
		return leave(r);
	if (on->nr == on->room) {
		on->room = 2 * on->room + 8;
		on->op = realloc(on->op, on->room * sizeof(*on->op));
		if (!on->op)
			abort();
	}
	on->op[on->nr++] = op;
	return leave(0);
}

cu_result cuMemcpyHtoDAsync_v2(cu_deviceptr to, const void *from, size_t len, cu_stream on)
{
	return queue(enter_context(), on,
		     (struct op){ .kind = TO_DEVICE, .to = to, .host = (void *)from, .len = len });
}

cu_result cuMemcpyDtoHAsync_v2(void *to, cu_deviceptr from, size_t len, cu_stream on)
{
	return queue(enter_context(), on,
		     (struct op){ .kind = TO_HOST, .from = from, .host = to, .len = len });
}

cu_result cuMemcpyDtoDAsync_v2(cu_deviceptr to, cu_deviceptr from, size_t len, cu_stream on)
{
	return queue(enter_context(), on,
		     (struct op){ .kind = WITHIN, .to = to, .from = from, .len = len });
}

cu_result cuMemsetD8Async(cu_deviceptr to, unsigned char value, size_t len, cu_stream on)
{
	return queue(enter_context(), on,
		     (struct op){ .kind = SET, .to = to, .value = value, .len = len });
}

cu_result cuLaunchKernel(cu_function function, unsigned int grid_x, unsigned int grid_y,
			 unsigned int grid_z, unsigned int block_x, unsigned int block_y,
			 unsigned int block_z, unsigned int shared, cu_stream on, void **params,
			 void **extra)
{
	cu_result r = enter_context();
	unsigned long long words = *(unsigned long long *)params[1];

	/* parameters are read now; a thread for each word, no more blocks than it takes */
	if (!r &&
	    (grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1 || block_x > 1024 ||
	     (unsigned long long)grid_x * block_x < words || (grid_x - 1ull) * block_x >= words))
		r = wrong(__func__, CU_LAUNCH_FAILED);
	return queue(r, on,
		     (struct op){ .kind = LAUNCH,
				  .to = *(cu_deviceptr *)params[0],
				  .len = words,
				  .value = *(unsigned long long *)params[2],
				  .function = function,
				  .blocks = grid_x,
				  .threads = block_x });
}

/* ---- what is queued is done ---- */

/* Words of 8 bytes are copied whole, as by any bus: CPUs may be at those beside them. */
static void copy_bytes(void *to, const void *from, size_t len)
{
	if (((size_t)to | (size_t)from | len) % 8) {
		memcpy(to, from, len);
		return;
	}
	for (size_t i = 0; i < len / 8; i++)
		__atomic_store_n(
			(unsigned long long *)to + i,
			__atomic_load_n((const unsigned long long *)from + i, __ATOMIC_RELAXED),
			__ATOMIC_RELAXED);
}

static unsigned long long *word_at(unsigned long long at)
{
	return at % 8 ? NULL : (unsigned long long *)bytes_at(at, 8);
}

static cu_result run_kernel(const struct op *op)
{
	const unsigned long long params[] = { op->to, op->len, op->value };

	fake_cuda.launches++;
	for (unsigned int b = 0; b < op->blocks; b++)
		for (unsigned int t = 0; t < op->threads; t++)
			if (!ptx_run(&op->function->kernel, params, b, op->threads, t, word_at))
				return wrong(__func__, CU_ILLEGAL_ADDRESS);
	return 0;
}

static cu_result run_op(const struct op *op)
{
	char *to = NULL, *from = NULL;

	if (op->kind == LAUNCH)
		return run_kernel(op);
	if (op->kind != TO_HOST)
		to = bytes_at(op->to, op->len);
	if (op->kind == TO_HOST || op->kind == WITHIN)
		from = bytes_at(op->from, op->len);
	if ((op->kind != TO_HOST && !to) || ((op->kind == TO_HOST || op->kind == WITHIN) && !from))
		return wrong(__func__, CU_ILLEGAL_ADDRESS);
	switch (op->kind) {
	case TO_DEVICE:
		fake_cuda.to_device++;
		copy_bytes(to, op->host, op->len);
		break;
	case TO_HOST:
		fake_cuda.to_host++;
		copy_bytes(op->host, from, op->len);
		break;
	case WITHIN:
		fake_cuda.within++;
		if (from < to + op->len && to < from + op->len)
			return wrong(__func__, CU_ILLEGAL_ADDRESS);
		memcpy(to, from, op->len);
		break;
	default:
		fake_cuda.sets++;
		memset(to, (int)op->value, op->len);
	}
	return 0;
}

cu_result cuStreamSynchronize(cu_stream stream)
{
	cu_result r = enter_context(), bad = 0;
	size_t nr = stream->nr;

	if (fake_cuda.dead)
		nr = fake_cuda.calls == fake_cuda.fail_at ? nr / 2 : 0;
	for (size_t i = 0; i < nr && !bad; i++)
		bad = run_op(&stream->op[i]);
	stream->nr = 0;
	if (bad)
		fake_cuda.dead = bad;
	return leave(r ? r : bad);
}
