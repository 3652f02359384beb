// SPDX-License-Identifier: MIT
/*
 * kernels.c - what the GPU runs on words, in PTX 6.0 for every GPU from Maxwell (sm_50) on.
 *
 * Each begins alike: the number of the thread is that of the word, threads beyond the last have nothing to do.
 * What LLVM makes of the same kernels in OpenCL for sm_50 has the same instructions. tests/test_ptx.c has NVIDIA's assembler
 * read it, if there is one.
 */
#include "driver.h"

#define BEGIN(name)                                                                              \
	".visible .entry " name "(.param .u64 p_at, .param .u64 p_words, .param .u64 p_value)\n" \
	"{\n"                                                                                    \
	" .reg .pred %beyond;\n"                                                                 \
	" .reg .b32 %block, %size, %thread, %n;\n"                                               \
	" .reg .b64 %i, %words, %at, %value, %old;\n"                                            \
	" mov.u32 %block, %ctaid.x;\n"                                                           \
	" mov.u32 %size, %ntid.x;\n"                                                             \
	" mov.u32 %thread, %tid.x;\n"                                                            \
	" mad.lo.u32 %n, %block, %size, %thread;\n"                                              \
	" cvt.u64.u32 %i, %n;\n"                                                                 \
	" ld.param.u64 %words, [p_words];\n"                                                     \
	" setp.ge.u64 %beyond, %i, %words;\n"                                                    \
	" @%beyond bra " name "_done;\n"                                                         \
	" ld.param.u64 %at, [p_at];\n"                                                           \
	" ld.param.u64 %value, [p_value];\n"                                                     \
	" cvta.to.global.u64 %at, %at;\n"                                                        \
	" shl.b64 %i, %i, 3;\n"                                                                  \
	" add.s64 %at, %at, %i;\n"

#define END(name)       \
	name "_done:\n" \
	     " ret;\n"  \
	     "}\n"

#define KERNEL(name, body) BEGIN(name) body END(name)

/* The word is at %at. */
#define FILL " st.global.u64 [%at], %value;\n"
#define ADD                              \
	" ld.global.u64 %old, [%at];\n"  \
	" add.s64 %old, %old, %value;\n" \
	" st.global.u64 [%at], %old;\n"
#define REDUCE                                  \
	" ld.global.u64 %old, [%at];\n"         \
	" cvta.to.global.u64 %value, %value;\n" \
	" red.global.add.u64 [%value], %old;\n"

const char cuda_kernels[] = ".version 6.0\n"
			    ".target sm_50\n"
			    ".address_size 64\n" KERNEL(CUDA_KERNEL_FILL, FILL)
				    KERNEL(CUDA_KERNEL_ADD, ADD) KERNEL(CUDA_KERNEL_REDUCE, REDUCE);
