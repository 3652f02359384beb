/* SPDX-License-Identifier: MIT */
/*
 * driver.h - what is used of the CUDA driver library: its public interface, by the names that its symbols have.
 */
#ifndef OCTAVO_CUDA_DRIVER_H
#define OCTAVO_CUDA_DRIVER_H

#include <stddef.h>

typedef int cu_result; /* 0: done */
typedef int cu_device;
typedef int cu_jit_option;		 /* none is given */
typedef unsigned long long cu_deviceptr; /* not for CPUs */
typedef struct cu_context_st *cu_context;
typedef struct cu_module_st *cu_module;
typedef struct cu_function_st *cu_function;
typedef struct cu_stream_st *cu_stream;

#define CU_OUT_OF_MEMORY	    2
#define CU_NO_DEVICE		    100
#define CU_INVALID_CONTEXT	    201
#define CU_INVALID_HANDLE	    400
#define CU_NOT_FOUND		    500
#define CU_ILLEGAL_ADDRESS	    700
#define CU_LAUNCH_OUT_OF_RESOURCES  701
#define CU_LAUNCH_FAILED	    719
#define CU_STREAM_NON_BLOCKING	    1u /* does not wait for the default stream */
#define CU_MEMHOSTREGISTER_PORTABLE 1u

/* Name and parameters of each. _v2: of these the plain name is an older function, for 32-bit addresses or before CUDA 4. */
#define CUDA_FUNCTIONS(F)                                                                         \
	F(cuInit, (unsigned int flags))                                                           \
	F(cuGetErrorName, (cu_result error, const char **name))                                   \
	F(cuDeviceGetCount, (int *nr))                                                            \
	F(cuDeviceGet, (cu_device * device, int ordinal))                                         \
	F(cuDeviceGetName, (char *name, int len, cu_device device))                               \
	F(cuDevicePrimaryCtxRetain, (cu_context * context, cu_device device))                     \
	F(cuDevicePrimaryCtxRelease, (cu_device device))                                          \
	F(cuCtxPushCurrent_v2, (cu_context context))                                              \
	F(cuCtxPopCurrent_v2, (cu_context * context))                                             \
	F(cuModuleLoadDataEx, (cu_module * module, const void *image, unsigned int nr,            \
			       cu_jit_option *options, void **values))                            \
	F(cuModuleGetFunction, (cu_function * function, cu_module module, const char *name))      \
	F(cuModuleUnload, (cu_module module))                                                     \
	F(cuStreamCreate, (cu_stream * stream, unsigned int flags))                               \
	F(cuStreamSynchronize, (cu_stream stream))                                                \
	F(cuStreamDestroy_v2, (cu_stream stream))                                                 \
	F(cuMemAlloc_v2, (cu_deviceptr * at, size_t bytes))                                       \
	F(cuMemFree_v2, (cu_deviceptr at))                                                        \
	F(cuMemHostRegister_v2, (void *at, size_t bytes, unsigned int flags))                     \
	F(cuMemHostUnregister, (void *at))                                                        \
	F(cuMemcpyHtoDAsync_v2, (cu_deviceptr to, const void *from, size_t len, cu_stream on))    \
	F(cuMemcpyDtoHAsync_v2, (void *to, cu_deviceptr from, size_t len, cu_stream on))          \
	F(cuMemcpyDtoDAsync_v2, (cu_deviceptr to, cu_deviceptr from, size_t len, cu_stream on))   \
	F(cuMemsetD8Async, (cu_deviceptr to, unsigned char value, size_t len, cu_stream on))      \
	F(cuLaunchKernel,                                                                         \
	  (cu_function function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,   \
	   unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared, \
	   cu_stream on, void **params, void **extra))

#define CUDA_POINTER(name, params) cu_result(*name) params;
/* The library's functions. */
struct cuda_driver {
	void *library;
	CUDA_FUNCTIONS(CUDA_POINTER)
};

/**
 * cuda_load() - find the library and all that is used of it
 * @name: of the file; NULL: the usual one
 *
 * Return: 0; -ENODEV, and @why says why.
 */
int cuda_load(struct cuda_driver *cu, const char *name, char *why, size_t why_size);
void cuda_unload(struct cuda_driver *cu);

/*
 * Kernels, as text for the driver's own compiler. All three have the parameters (address, words, value), of 8 bytes each, and one
 * thread a word.
 */
extern const char cuda_kernels[];
#define CUDA_KERNEL_FILL   "octavo_fill"
#define CUDA_KERNEL_ADD	   "octavo_add"
#define CUDA_KERNEL_REDUCE "octavo_reduce" /* value: address of the sum */

#endif /* OCTAVO_CUDA_DRIVER_H */
