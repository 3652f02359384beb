/* SPDX-License-Identifier: MIT */
/*
 * fake_ptx.h - runs kernels from their text: as much of PTX as port/cuda's have, and a message for all else.
 */
#ifndef OCTAVO_FAKE_PTX_H
#define OCTAVO_FAKE_PTX_H

#include <stdbool.h>

#define PTX_PARAMS    3
#define PTX_REGISTERS 16
#define PTX_INSNS     32
#define PTX_NAME      32

struct ptx_insn {
	int op;
	int pred; /* a register that must be set for it; -1: always */
	/* By operand: register, parameter, special register, number, or instruction of a label. */
	unsigned int arg[4];
};

struct ptx_kernel {
	char name[PTX_NAME];
	unsigned int nr_params, nr_registers, nr;
	char param[PTX_PARAMS][PTX_NAME], reg[PTX_REGISTERS][PTX_NAME];
	char type[PTX_REGISTERS]; /* p: predicate; r: 32 bits; d: 64 bits */
	struct ptx_insn insn[PTX_INSNS];
};

/* Read the kernel of that name. Return: NULL; what cannot be understood. */
const char *ptx_read(const char *text, const char *name, struct ptx_kernel *kernel);

/* One thread of it. @word: a word of 8 bytes by its address; NULL: there is none. Return: false: it was not. */
bool ptx_run(const struct ptx_kernel *kernel, const unsigned long long *params, unsigned int block,
	     unsigned int size, unsigned int thread,
	     unsigned long long *(*word)(unsigned long long at));

#endif /* OCTAVO_FAKE_PTX_H */
