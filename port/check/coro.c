/* SPDX-License-Identifier: MIT */
/*
 * coro.c - coroutines: a stack and the registers that a call preserves.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "engine.h"

static void *stack_map(void)
{
	/* one page below stays closed: an overflow is a fault, not a surprise */
	char *p = mmap(NULL, CORO_STACK + PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + PAGE_SIZE, CORO_STACK, PROT_READ | PROT_WRITE)) {
		perror("octavo-race: stack");
		exit(2);
	}
	return p + PAGE_SIZE;
}

#if defined(__x86_64__) && !defined(OCTAVO_CHECK_UCONTEXT)

void coro_swap(void **save, void *load);

__asm__(".text\n"
	".globl coro_swap\n"
	".type coro_swap, @function\n"
	"coro_swap:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size coro_swap, . - coro_swap\n");

void coro_init(struct coro *c)
{
	if (!c->stack)
		c->stack = stack_map();
}

void coro_start(struct coro *c, void (*fn)(void))
{
	void **top = (void **)((char *)c->stack + CORO_STACK);

	/* as after a call: a return address that fn never uses leaves the stack 8 off 16 */
	*--top = NULL;
	*--top = (void *)fn;
	for (int i = 0; i < 6; i++)
		*--top = NULL;
	c->sp = top;
}

void coro_switch(struct coro *from, struct coro *to)
{
	coro_swap(&from->sp, to->sp);
}

#else

#include <string.h>
#include <ucontext.h>

void coro_init(struct coro *c)
{
	if (!c->stack)
		c->stack = stack_map();
	if (!c->sp)
		c->sp = calloc(1, sizeof(ucontext_t));
	if (!c->sp)
		abort();
}

void coro_start(struct coro *c, void (*fn)(void))
{
	ucontext_t *u = c->sp;

	getcontext(u);
	u->uc_stack.ss_sp = c->stack;
	u->uc_stack.ss_size = CORO_STACK;
	u->uc_link = NULL;
	makecontext(u, fn, 0);
}

void coro_switch(struct coro *from, struct coro *to)
{
	if (!from->sp)
		coro_init(from);
	swapcontext(from->sp, to->sp);
}

#endif
