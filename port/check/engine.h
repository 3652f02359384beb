/* SPDX-License-Identifier: MIT */
/*
 * engine.h - the parts of the checker, for each other.
 *
 *	coro.c     coroutines
 *	sched.c    one execution: threads, who runs next, blocking, the one choose()
 *	memory.c   atomic accesses on view-based memory (atomic_check.h)
 *	plain.c    plain accesses: happens-before races, undo log, coherence with atomic ones
 *	mmu.c      hardware that uses page tables
 *	rcu_model.c  grace periods as the checker's own objects
 *	rcu_real.c   lib/rcu.c under other names
 *	explore.c  strategies over executions: depth first, PCT, random, replay, shrinking
 *	trace.c    what happened, as text, HTML and JSON
 *	machine.c  RAM and metadata at a fixed address; boot, leaks
 *	main.c     the command
 *
 * All of it is one static object, E, of one process: the checker is single-threaded.
 */
#ifndef OCTAVO_CHECK_ENGINE_H
#define OCTAVO_CHECK_ENGINE_H

#include "check.h"

#define MAXT	 CHECK_MAX_THREADS
#define MAX_SID	 1024 /* shared atomic locations of a scenario */
#define VIEW_MAX (MAXT + MAX_SID)

/* ---- coroutines ---- */

struct coro {
	void *sp;
	void *stack;
};
#define CORO_STACK (256u << 10)
void coro_init(struct coro *c);
/* Make @c start in @fn at the next switch to it. @fn never returns. */
void coro_start(struct coro *c, void (*fn)(void));
void coro_switch(struct coro *from, struct coro *to);

/* ---- views ---- */

/*
 * A view is an array of counters: MAXT clocks (which operations of each thread happen before), then
 * a time stamp for each shared location (the oldest store that may still be read). A snapshot is
 * one that does not change any more and is as short as the number of locations then known.
 */
typedef u16 stamp_t;
struct snap {
	u32 n; /* entries of v, clocks included */
	stamp_t v[];
};

/* One store. */
struct msg {
	u64 val;
	const struct snap *view; /* what acquiring it teaches; NULL: nothing */
	const char *site;	 /* NULL: the value before the threads began */
	u32 op;
	u8 tid;
	bool pending; /* a plain store: val is read from memory when the store has happened */
};

/* One atomic object; lives as long as the exploration. */
struct loc {
	volatile void *addr;
	const char *expr; /* as first seen in the source */
	u8 size;
	u8 touched, written; /* threads that did, in execution gen */
	u16 sid;	     /* position in views less MAXT, + 1; 0: only one thread uses it */
	u32 gen;
	u32 nr, cap;
	struct msg *msg;
	u32 seen[MAXT]; /* turn of each thread in which it read this */
};

/*
 * What a visible operation touches: two of different threads that do not conflict may change
 * places.
 */
struct visible {
	const struct loc *loc; /* NULL: none */
	bool write;
	bool sc;  /* a seq_cst access or fence: the global view */
	bool all; /* conflicts with everything: parking, grace periods, a fence on all CPUs */
};

/* ---- threads ---- */

enum thread_state { T_NEW, T_READY, T_RELAX, T_PARKED, T_DONE };

struct thread {
	struct coro coro;
	enum thread_state state;
	u8 tid;
	bool fresh;	/* no visible operation since it was switched to: no use in a preemption */
	bool preempted; /* stands before next */
	bool conflict;	/* somebody has done meanwhile what does not commute with next */
	struct visible next;
	u16 nest; /* of pins */
	u16 rcu_nest;
	const volatile void *wait; /* address it is parked on */
	const char *site;	   /* last operation */
	u32 turns;		   /* relaxed without waiting */
	u32 turn;    /* of the loop it may be in: no two threads or executions have the same */
	u32 nr_seen; /* locations read since the last relax, with what was read first */
	struct {
		struct loc *loc;
		u64 val;
	} seen[256];
	stamp_t cur[VIEW_MAX], acq[VIEW_MAX];
	const struct snap *rel; /* at the last release fence */
	s32 prio;		/* PCT */
};

/* ---- choices ---- */

enum choice_kind {
	CH_NEXT = 'n',	  /* who runs, when the running thread cannot */
	CH_PREEMPT = 'p', /* who runs instead; 0: nobody */
	CH_READ = 'r',	  /* how far behind the newest store a load is */
	CH_FAIL = 'f',	  /* an injected failure */
	CH_WAKE = 'w',	  /* which sleeper wakes */
	CH_USER = 'u',	  /* check_choose() */
	CH_POLL = 'g',	  /* a grace period that could have ended has not */
};

/* Operation number and kind name a choice: no execution has two of the same. */
struct deviation {
	u32 op;
	u8 kind;
	u8 c;
};
#define MAX_DEV 512

struct choice {
	u32 op;
	u8 kind;
	u8 n, c;
};

enum strategy { DFS, PCT, RANDOM, REPLAY };

enum outcome {
	OK,
	VIOLATION,
	CUT,  /* the same as one in which a preemption comes later */
	GREW, /* a location turned out to be shared: what was explored did not know it */
};

/* ---- events of a trace ---- */

enum event_kind { EV_LOAD, EV_STORE, EV_RMW, EV_CAS, EV_FENCE, EV_NOTE };

struct event {
	u8 kind, tid, order, stale;
	bool ok;
	u32 op;
	struct loc *loc;
	const char *site; /* "file:line:expression", or the text of a note */
	u64 old, new;
	u8 from_tid;
	u32 from_op; /* ~0: the initial value */
	const char *from_site;
};

/* ---- the engine ---- */

struct engine {
	/* the scenario */
	const struct scenario *sc;
	u32 nthreads;
	bool live; /* threads run: accesses are the model's; else they go straight to memory */
	bool undo; /* stores are logged for undoing */
	bool tracing;
	bool note_races;
	bool one_step; /* accesses are no points for a preemption: parts of one operation */
	bool reduce;   /* cut executions short that are explored elsewhere */

	/* the execution */
	u32 gen;
	u32 turn;
	u32 op;
	u32 max_ops;
	struct thread t[MAXT + 1]; /* the last one runs finish() */
	struct thread *cur;
	struct coro sched;
	enum outcome outcome;
	char why[512];
	stamp_t sc_view[VIEW_MAX];   /* what seq_cst fences have seen */
	stamp_t sc_stores[VIEW_MAX]; /* each location's last seq_cst store */
	u32 nr_pending;
	struct msg *pending[16];
	struct loc *pending_loc[16];
	bool yield;	/* the thread that ran last lets another one run */
	u32 idle_turns; /* times that only relaxing threads were left */
	u8 switch_to;	/* next thread, when a preemption named it */

	/* shared locations */
	u32 nr_sid;
	struct loc *by_sid[MAX_SID];

	/* choices */
	enum strategy strategy;
	int preempt_left, stale_left, fault_left;
	u32 depth, nr_stack, cap_stack;
	struct choice *stack;
	u32 nr_dev;
	struct deviation dev[MAX_DEV]; /* of this execution */
	const struct deviation *replay;
	u32 nr_replay, at_replay;
	bool loose; /* an entry is for the first choice of its kind from its operation on */
	u32 used;   /* entries that have been, if loose: at most 32 */
	u64 rng;
	u32 pct_points[8], pct_nr, pct_len;
	s32 pct_low;

	/* trace */
	struct event *ev;
	u32 nr_ev, cap_ev;
};

extern struct engine E;

/* sched.c */
enum outcome run_once(void);
unsigned int choose(enum choice_kind kind, unsigned int n);
void preempt_point(const struct visible *v);
void block(enum thread_state state);
void wake_readers(struct loc *loc);
__noreturn void violation(const char *fmt, ...) __printf(1, 2);
__noreturn void leave_execution(enum outcome outcome);
u64 rng_next(void);

/* memory.c */
struct loc *loc_of(const volatile void *addr, unsigned int size, const char *site);
void loc_share(struct loc *loc);
void loc_plain_store(struct loc *loc, const char *site);
void fence_here(struct thread *t, int order);
void memory_reset(void);  /* forget all locations: another scenario */
void memory_forget(void); /* forget which locations are shared */
u32 memory_locations(void);
void memory_new_run(void); /* another execution */
void view_join(stamp_t *a, const stamp_t *b, u32 n);
const struct snap *view_snap(const stamp_t *v);
void settle_pending(void);
u64 raw_load(const volatile void *p, unsigned int size);

/* plain.c */
void plain_init(void);
void plain_reset(void);
void plain_undo(void);
u64 plain_state_hash(void);
void plain_save(const volatile void *p);
void plain_note(const volatile void *p, size_t size, bool write, bool atomic, const char *site);
struct loc *plain_find_loc(const volatile void *p);
struct loc *plain_set_loc(const volatile void *p, struct loc *loc);
bool plain_tracks(const volatile void *p);
/* "octavo_state+0x40", "ram+0x1000", ...; valid until the next call but three. */
const char *addr_name(const volatile void *p);
void *bump_alloc(size_t bytes);
u32 plain_writers(const volatile void *p, unsigned int size);

/* rcu_model.c */
void rcu_model_new_run(void);
void rcu_model_setup_done(void);
bool rcu_model_pending(u32 tid);
bool rcu_model_waiting(void);

/* mmu.c */
void mmu_setup_begins(void);
void mmu_setup_done(void);
void mmu_new_run(void);

/* machine.c */
struct arena {
	char *base;
	size_t size;
	char *ram, *meta;
	size_t ram_size, meta_size;
};
extern struct arena arena;
void arena_map(void);
/* A fresh machine and the scenario's setup(). */
void machine_setup(const struct scenario *sc);
/* After finish(): leaks, validity. */
void machine_check(void);
/* Different states that executions have ended in. */
u32 machine_ends(void);

/* trace.c */
void trace_event(enum event_kind kind, struct loc *loc, int order, const char *site, u64 old,
		 u64 new, const struct msg *from, u32 stale, bool ok);
void trace_note(const char *fmt, ...) __printf(1, 2);
struct report {
	const struct scenario *sc;
	const char *why;
	const char *schedule;
	u64 executions;
	int bound;
};
void trace_text(const struct report *r);
bool trace_html(const struct report *r, const char *path);
void trace_json(const struct report *r);

/* explore.c */
struct options {
	enum strategy strategy;
	int bound; /* -1: the scenario's */
	int stale;
	int faults;
	int depth; /* of PCT */
	double seconds;
	u64 max_executions;
	u64 seed;
	const char *replay;
	bool progress;
	bool all; /* do not cut short what is explored elsewhere */
};
struct result {
	enum outcome outcome;
	bool complete; /* everything within the bound was explored */
	bool interrupted;
	bool diverged;	/* a replay that the code does not follow */
	int bound;	/* the last one that was completed; -1: none */
	u64 executions; /* within that bound, or until the violation */
	u64 cut;	/* of those, cut short */
	u64 ends;	/* different states at the end */
	u64 total;	/* over all bounds and restarts */
	u32 longest;	/* operations of the longest execution */
	u32 locations;
	double seconds;
	char why[512];
	char schedule[4096];
};
void explore(const struct scenario *sc, const struct options *opt, struct result *res);
/*
 * One execution, after machine_setup(), under a schedule of at most 32 entries that need not fit: each is the
 * answer to the first choice of its kind from its operation on. A violation is explained in @res.
 */
enum outcome explore_loosely(const struct deviation *dev, u32 n, struct result *res);
extern volatile int interrupted;

#endif /* OCTAVO_CHECK_ENGINE_H */
