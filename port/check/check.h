/* SPDX-License-Identifier: MIT */
/*
 * check.h - how a scenario of the interleaving checker is written; docs/race.md is the guide.
 *
 *	static SHARED struct { u32 x, y; } s;
 *	static void one(void) { WRITE_ONCE(s.x, 1u); ... }
 *	static void done(void) { CHECK(s.y == 1); }
 *	SCENARIO(name) = { .about = "...", .threads = { one, two }, .finish = done };
 *
 * setup() runs once, alone, before the first execution, and what it leaves in shared memory is
 * where every execution starts. finish() runs alone after the threads of each execution have ended.
 * Shared memory is octavo_state, the simulated machine, and objects marked SHARED: only there are
 * accesses seen, checked for races, and undone between executions. A thread may keep anything on
 * its stack.
 */
#ifndef OCTAVO_CHECK_H
#define OCTAVO_CHECK_H

#include <octavo/atomic.h>
#include <octavo/debug.h>

#define CHECK_MAX_THREADS 4

/* Data of a scenario that its threads share. */
#define SHARED __attribute__((section("check_shared")))

struct scenario {
	const char *name;
	const char *file;
	const char *about; /* one line */
	const char *rows;  /* requirement rows that it covers, or NULL */
	void (*setup)(void);
	void (*threads[CHECK_MAX_THREADS])(void);
	const char *roles[CHECK_MAX_THREADS]; /* column heads of a trace */
	void (*finish)(void);
	bool (*valid)(void); /* after every execution that ended in a new state */
	u32 frames;	     /* boot a machine of this many frames; 0: none */
	u32 cpus;	     /* of that machine, if more than threads */
	u32 cpu_step;	     /* thread i is CPU i times this; 0: 1 */
	u32 movable_frames;
	int bound;	 /* preemptions explored by default; 0: 2, -1: none */
	int stale;	 /* loads that may read an older store; 0: 2, -1: none */
	int stale_below; /* the same with fewer preemptions than bound, if that is more; 0: as many */
	int faults;	 /* injected failures; 0: none */
	u32 kinds;	 /* OCTAVO_FAULT_... that faults are chosen from */
	u32 flags;	 /* SC_... */
	u32 expects;	 /* for scenarios that must fail: EXPECT_... */
	int variant;	 /* what check_variant() returns: several scenarios of the same functions */
};

#define SC_REAL_RCU  0x1u  /* lib/rcu.c, not the model */
#define SC_VALIDATE  0x2u  /* octavo_validate() after every execution */
#define SC_LEAKS     0x4u  /* as many free frames after it as before setup() */
#define SC_SYMMETRIC 0x8u  /* threads with the same function start in order */
#define SC_NO_RACES  0x10u /* plain accesses are not checked */

#define EXPECT_CLEAN	 0u
#define EXPECT_VIOLATION 1u /* a litmus test of what must be found, or a weakening of a kernel */
#define EXPECT_NOT_FOUND 2u /* C11 allows it, this model does not: documents the limit */

#define SCENARIO(id)                                                                \
	static const struct scenario scenario_##id;                                 \
	static const struct scenario *const scenario_ptr_##id                       \
		__attribute__((used, section("check_scenarios"))) = &scenario_##id; \
	static const struct scenario scenario_##id
#define SCENARIO_NAME(id) .name = #id, .file = __FILE__

/*
 * A scenario that is a weakening of another: the same but for one order or one check, and must
 * fail.
 */
#define WEAKENED(id, base, v, text)                                            \
	SCENARIO(id) = { SCENARIO_NAME(id), base, .about = text, .variant = v, \
			 .expects = EXPECT_VIOLATION }
/* In code shared by such: @strong, or @weak in the scenario whose variant is @v. */
#define VARIANT(v, strong, weak) (check_variant() == (v) ? (weak) : (strong))

/* The end of the execution if @c is false. */
#define CHECK(c)                                                               \
	do {                                                                   \
		if (unlikely(!(c)))                                            \
			check_failed(__FILE__ ":" _CHK_STR(__LINE__) ": " #c); \
	} while (0)
__noreturn void check_failed(const char *what);

/* Which thread of the scenario runs: 0 up; its CPU is the same number, times .cpu_step. */
unsigned int check_thread(void);

/* The scenario's .variant: which of several weakenings of the same code runs. */
int check_variant(void);

/* Not an error: this thread has nothing more to do. */
__noreturn void check_thread_exit(void);

/* Accesses to these bytes are never reported as races. From setup() only. */
void check_ignore_races(const void *p, size_t size);

/* One of 0 to n - 1; all are explored. */
unsigned int check_choose(unsigned int n);

/* In setup() and finish(): be this CPU (threads are the CPU of their number, times .cpu_step). */
void check_set_cpu(unsigned int cpu);

/* ---- user programs: mmu.c ---- */

struct mm_struct;

enum check_mmu_result {
	CHECK_MMU_OK,
	CHECK_MMU_NOT_PRESENT,
	CHECK_MMU_PROTECTION,
};

/*
 * The running thread's CPU accesses 8 aligned bytes of an address space that it has activated, as a user
 * program does: through a translation that it has, or one that it makes of the page tables. Relaxed. Where a
 * store lands is the scenario's to check. Return: enum check_mmu_result; what to do about a fault is the
 * scenario's business too.
 */
int check_mmu_load(struct mm_struct *mm, unsigned long addr, u64 *value);
int check_mmu_store(struct mm_struct *mm, unsigned long addr, u64 value);
/* This CPU drops its translations of @mm: before mm_deactivate(). */
void check_mmu_forget(struct mm_struct *mm);
/* How often the caller's CPU was made to forget something. */
unsigned int check_mmu_flushes(void);

/* For memory whose plain accesses the compiler does not see (inline assembly, models). */
void check_plain(const volatile void *p, size_t size, bool write);

#endif /* OCTAVO_CHECK_H */
