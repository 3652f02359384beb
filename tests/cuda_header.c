// SPDX-License-Identifier: MIT
/*
 * cuda_header.c - port/cuda/driver.h says of the driver library what the library's own header says. Where there is such a
 * header; compiled, and that is the test.
 */
#include <cuda.h>

/* By names of ours, because driver.h has macros of some of these names. */
enum {
	HEADER_STREAM_NON_BLOCKING = CU_STREAM_NON_BLOCKING,
	HEADER_MEMHOSTREGISTER_PORTABLE = CU_MEMHOSTREGISTER_PORTABLE,
};
#undef CU_MEMHOSTREGISTER_PORTABLE

/* Handles are pointers to what nobody sees. */
#define cu_context_st  CUctx_st
#define cu_module_st   CUmod_st
#define cu_function_st CUfunc_st
#define cu_stream_st   CUstream_st
#include "../port/cuda/driver.h"

_Static_assert(CU_OUT_OF_MEMORY == CUDA_ERROR_OUT_OF_MEMORY, "");
_Static_assert(CU_NO_DEVICE == CUDA_ERROR_NO_DEVICE, "");
_Static_assert(CU_INVALID_CONTEXT == CUDA_ERROR_INVALID_CONTEXT, "");
_Static_assert(CU_INVALID_HANDLE == CUDA_ERROR_INVALID_HANDLE, "");
_Static_assert(CU_NOT_FOUND == CUDA_ERROR_NOT_FOUND, "");
_Static_assert(CU_ILLEGAL_ADDRESS == CUDA_ERROR_ILLEGAL_ADDRESS, "");
_Static_assert(CU_LAUNCH_OUT_OF_RESOURCES == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "");
_Static_assert(CU_LAUNCH_FAILED == CUDA_ERROR_LAUNCH_FAILED, "");
_Static_assert(CU_STREAM_NON_BLOCKING == HEADER_STREAM_NON_BLOCKING, "");
_Static_assert(CU_MEMHOSTREGISTER_PORTABLE == HEADER_MEMHOSTREGISTER_PORTABLE, "");
_Static_assert(CUDA_SUCCESS == 0, "");

/* What are enumerations there are passed as integers of the same size. */
_Static_assert(sizeof(cu_result) == sizeof(CUresult), "");
_Static_assert(sizeof(cu_jit_option) == sizeof(CUjit_option), "");
#define cu_result     CUresult
#define cu_jit_option CUjit_option

/* The name may be a macro for a newer function: it has the same parameters, or the symbol is not the one that is meant. */
#define SAME(name, params) \
	_Static_assert(__builtin_types_compatible_p(__typeof__(name), cu_result params), #name);
CUDA_FUNCTIONS(SAME)

int main(void)
{
	return 0;
}
