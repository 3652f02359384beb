/* SPDX-License-Identifier: MIT */
/*
 * as_ops.h - one operation of a program of address spaces: its arguments, how it is done, and what may be said of it.
 *
 * The core comes first. If what it says can only mean that memory ran out, and it may have, the model is left as it was,
 * or follows as far as the core got where the manual page says that a call may end half-way.
 */
#ifndef OCTAVO_TESTS_AS_OPS_H
#define OCTAVO_TESTS_AS_OPS_H

#include "as_machine.h"
#include "as_program.h"

struct op {
	int p; /* process */
	struct mm_struct *mm;
	unsigned int cpu;
	unsigned int what, misc;
	unsigned long addr, len, addr2, bits;
	u32 fail; /* the step that is to fail; 0: none */
	bool illegal;
};

/* The program that runs. */
struct as_run_state {
	struct as_stats *st;
	void (*say)(const char *line);
	char line[AS_LINE];
	unsigned long step;
	u64 next_word;
};
extern struct as_run_state run;

/* The operation's text. */
__attribute__((format(printf, 1, 2))) void describe(const char *fmt, ...);

/* Do it on the core, with its steps counted. */
#define ON_CORE(o, expr)                            \
	({                                          \
		__auto_type __r = (arm(o), (expr)); \
		disarm();                           \
		__r;                                \
	})
void arm(const struct op *o);
void disarm(void);

/* Return: whether @ret can be want of memory, if @oom is how the call says that. */
bool excuse(long ret, long oom);
/* Return: false. */
bool differs(const char *what, long ret, long expected);
/* Equal, or they differ. */
bool simple(const char *what, long ret, long expected);
bool any_pins(void);

/* ---- operations: return false if something is wrong ---- */

bool do_mmap(struct op *o);
bool do_munmap(struct op *o);
bool do_mprotect(struct op *o);
bool do_mremap(struct op *o);
bool do_madvise(struct op *o);
bool do_collapse(struct op *o);
bool do_brk(struct op *o);
bool do_mlock(struct op *o);
bool do_munlock(struct op *o);
bool do_lockall(struct op *o);
bool do_mincore(struct op *o);
bool do_fork(struct op *o);
bool do_exit(struct op *o);
bool do_access(struct op *o);
bool do_copy(struct op *o);
bool do_pin(struct op *o);
bool do_unpin(struct op *o);
bool do_device(struct op *o);
bool do_migrate(struct op *o);
bool do_split(struct op *o);
bool do_pageout(struct op *o);
bool do_swapoff(struct op *o);
bool do_io_fails(struct op *o);

#endif /* OCTAVO_TESTS_AS_OPS_H */
