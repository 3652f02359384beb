/* SPDX-License-Identifier: MIT */
/*
 * plain.c - plain accesses. The core and the scenarios are compiled with -fsanitize=thread, but
 * linked with the functions below: the compiler announces every plain access to memory that others
 * could reach.
 *
 * Of each eight bytes of shared memory (a granule) is kept, in this execution: who last stored to
 * them plainly and at which clock, when each thread last loaded them, and the same for atomic
 * accesses. An access races with an earlier one by another thread if one of the two stores, at
 * least one is plain, and the earlier one's clock is not in the later thread's view. Bytes are kept
 * apart only where somebody accesses less than the granule.
 *
 * A plain store to an atomic location (initialisation before publication) is one more store in its
 * list. Its value is known when the store has happened, which is at the latest at this thread's
 * next announcement.
 *
 * The first store to a granule in an execution saves its old contents, for plain_undo(). So the
 * cost of a reset is what was written, not the size of the machine.
 *
 * Happens-before is exact for this execution: a race is reported in whatever order the two came,
 * provided that this execution does not order them.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <octavo/state.h>

#include "engine.h"

extern char __start_check_shared[], __stop_check_shared[];

#define BYTES 8
#define MANY  4 /* granules; from more on it is worth while to look for what they have in common */

struct cell {
	stamp_t w;	  /* clock of the last plain store */
	u8 w_tid;	  /* who, + 1; 0: nobody */
	u8 users;	  /* threads that have accessed it at all */
	stamp_t r[MAXT];  /* of each thread's last plain load */
	stamp_t aw[MAXT]; /* atomic store */
	stamp_t ar[MAXT]; /* atomic load */
	u32 w_at, r_at;	  /* code addresses: the program is linked below 4 GiB */
};

struct granule {
	u32 gen;	 /* of the execution that cells belong to */
	u32 undo_gen;	 /* saved already */
	u32 cells;	 /* the first of its cells, + 1 */
	u16 locs;	 /* atomic locations that start here: eight pointers; for good */
	u8 parts;	 /* 1, 2 or 8 cells */
	bool shared : 1; /* one cell, which others may have too: copied before it changes */
	bool ignore : 1;
};

struct saved {
	u64 *addr;
	u64 val;
};

#define MAX_CELLS  (1u << 20)
#define MAX_SAVED  (1u << 20)
#define MAX_LOCSET 8192
#define BUMP_SIZE  (256ul << 20)

static struct {
	uintptr_t img; /* octavo_state and the scenarios' SHARED objects */
	size_t img_size;
	uintptr_t hole; /* between the two: the program's own */
	size_t hole_size;
	struct granule *g;
	size_t nr_g;
	struct cell *cell;
	u32 nr_cells;
	struct saved *saved;
	u32 nr_saved;
	struct loc *(*locset)[BYTES];
	u32 nr_locsets;
	char *bump;
	size_t bumped;
} P;

static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("octavo-race: mmap");
		exit(2);
	}
	return p;
}

void plain_init(void)
{
	uintptr_t a = (uintptr_t)__start_check_shared, b = (uintptr_t)__stop_check_shared;
	uintptr_t s = (uintptr_t)&octavo_state, e = s + sizeof(octavo_state);

	P.img = min(a, s) & ~(uintptr_t)(BYTES - 1);
	P.img_size = ALIGN(max(b, e), BYTES) - P.img;
	P.hole = ALIGN(min(b, e), BYTES);
	P.hole_size = (max(a, s) & ~(uintptr_t)(BYTES - 1)) - P.hole;
	P.nr_g = (P.img_size + arena.size) / BYTES;
	P.g = reserve(P.nr_g * sizeof(*P.g));
	P.cell = reserve(MAX_CELLS * sizeof(*P.cell));
	P.saved = reserve(MAX_SAVED * sizeof(*P.saved));
	P.locset = reserve(MAX_LOCSET * sizeof(*P.locset));
	P.bump = reserve(BUMP_SIZE);
}

void plain_reset(void)
{
	madvise(P.g, P.nr_g * sizeof(*P.g), MADV_DONTNEED);
	madvise(P.locset, MAX_LOCSET * sizeof(*P.locset), MADV_DONTNEED);
	P.nr_locsets = 0;
	P.nr_cells = 0;
	P.nr_saved = 0;
	P.bumped = 0;
}

void *bump_alloc(size_t bytes)
{
	void *p = P.bump + P.bumped;

	P.bumped += ALIGN(bytes, (size_t)16);
	if (P.bumped > BUMP_SIZE) {
		fprintf(stderr, "octavo-race: one execution needs more than %lu MiB of views\n",
			BUMP_SIZE >> 20);
		exit(2);
	}
	return p;
}

static inline struct granule *granule_of(uintptr_t a)
{
	if (a - P.img < P.img_size && likely(a - P.hole >= P.hole_size))
		return &P.g[(a - P.img) / BYTES];
	if (a - (uintptr_t)arena.base < arena.size)
		return &P.g[(P.img_size + a - (uintptr_t)arena.base) / BYTES];
	return NULL;
}

bool plain_tracks(const volatile void *p)
{
	return granule_of((uintptr_t)p);
}

struct loc *plain_find_loc(const volatile void *p)
{
	struct granule *g = granule_of((uintptr_t)p);

	return g && g->locs ? P.locset[g->locs][(uintptr_t)p % BYTES] : NULL;
}

struct loc *plain_set_loc(const volatile void *p, struct loc *l)
{
	struct granule *g = granule_of((uintptr_t)p);

	if (!g->locs) {
		if (++P.nr_locsets == MAX_LOCSET)
			violation("too many atomic locations: the scenario is too large");
		g->locs = (u16)P.nr_locsets;
	}
	return P.locset[g->locs][(uintptr_t)p % BYTES] = l;
}

/* ---- undo ---- */

static inline void save(struct granule *g, uintptr_t a)
{
	u64 *p = (u64 *)(a & ~(uintptr_t)(BYTES - 1));

	if (g->undo_gen == E.gen || !E.undo)
		return;
	g->undo_gen = E.gen;
	if (P.nr_saved == MAX_SAVED) {
		fprintf(stderr, "octavo-race: one execution writes more than %u MiB\n",
			MAX_SAVED * BYTES >> 20);
		exit(2);
	}
	P.saved[P.nr_saved++] = (struct saved){ p, *p };
}

/* Before an atomic store. */
void plain_save(const volatile void *p)
{
	struct granule *g = granule_of((uintptr_t)p);

	if (g)
		save(g, (uintptr_t)p);
}

void plain_undo(void)
{
	for (u32 i = 0; i < P.nr_saved; i++)
		*P.saved[i].addr = P.saved[i].val;
	P.nr_saved = 0;
	P.nr_cells = 0;
	P.bumped = 0;
}

/* What this execution has changed, in any order. */
u64 plain_state_hash(void)
{
	u64 h = 0;

	for (u32 i = 0; i < P.nr_saved; i++) {
		u64 x;

		if (*P.saved[i].addr == P.saved[i].val)
			continue;
		x = ((u64)P.saved[i].addr * 0x9e3779b97f4a7c15ull) ^ *P.saved[i].addr;
		x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
		x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
		h += x ^ (x >> 31);
	}
	return h;
}

/* ---- races ---- */

static struct cell *cells_new(struct granule *g, u32 parts)
{
	if (P.nr_cells + parts > MAX_CELLS) {
		fprintf(stderr, "octavo-race: one execution touches too much memory\n");
		exit(2);
	}
	g->cells = P.nr_cells + 1;
	g->parts = (u8)parts;
	g->shared = false;
	P.nr_cells += parts;
	return &P.cell[g->cells - 1];
}

/* The cells of a granule, at least @parts of them. */
static inline struct cell *cells_of(struct granule *g, u32 parts)
{
	struct cell *c = &P.cell[g->cells - 1], *fine;

	if (g->gen != E.gen || !g->cells) {
		g->gen = E.gen;
		c = cells_new(g, parts);
		memset(c, 0, parts * sizeof(*c));
	} else if (parts > g->parts || g->shared) {
		u32 ratio = parts / g->parts;

		fine = cells_new(g, parts);
		for (u32 i = 0; i < parts; i++)
			fine[i] = c[i / ratio];
		c = fine;
	}
	return c;
}

struct access {
	const volatile void *p;
	const void *at; /* code address of a plain access, else the site */
	u32 size;
	bool write, atomic;
};

__noreturn static void race(const struct access *a, const char *kind, u32 other, const void *at)
{
	char where[64] = "";

	if (at)
		snprintf(where, sizeof(where), " at %p", at);
	if (a->atomic)
		violation("data race on %s: %s by thread %u%s, atomic %s by thread %u (%s)",
			  addr_name(a->p), kind, other, where, a->write ? "store" : "load",
			  E.cur->tid, (const char *)a->at);
	violation("data race on %s: %s by thread %u%s, plain %s of %u bytes by thread %u at %p",
		  addr_name(a->p), kind, other, where, a->write ? "store" : "load", a->size,
		  E.cur->tid, a->at);
}

static void check_cell(const struct cell *c, const struct access *a)
{
	const stamp_t *cur = E.cur->cur;

	if (c->w_tid && c->w > cur[c->w_tid - 1])
		race(a, "plain store", c->w_tid - 1u, (void *)(uintptr_t)c->w_at);
	for (u32 u = 0; u < E.nthreads; u++) {
		if (a->write && c->r[u] > cur[u])
			race(a, "plain load", u, (void *)(uintptr_t)c->r_at);
		if (!a->atomic && c->aw[u] > cur[u])
			race(a, "atomic store", u, NULL);
		if (!a->atomic && a->write && c->ar[u] > cur[u])
			race(a, "atomic load", u, NULL);
	}
}

static inline void record(struct cell *c, const struct access *a)
{
	u32 me = E.cur->tid;
	stamp_t now = E.cur->cur[me];

	if (a->atomic) {
		c->ar[me] = now;
		if (a->write)
			c->aw[me] = now;
	} else if (a->write) {
		c->w = now;
		c->w_tid = (u8)(me + 1);
		c->w_at = (u32)(uintptr_t)a->at;
	} else {
		c->r[me] = now;
		c->r_at = (u32)(uintptr_t)a->at;
	}
}

static void note_granule(struct granule *g, const struct access *a, u32 off, u32 len)
{
	u32 parts = len == BYTES ? 1 : len == 4 && off % 4 == 0 ? 2 : BYTES, shift;
	bool look = E.note_races && !g->ignore;
	u8 me = (u8)(1u << E.cur->tid);
	struct cell *c = cells_of(g, parts), *end;

	shift = g->parts == 1 ? 3 : g->parts == 2 ? 2 : 0;
	end = c + ((off + len) >> shift);
	for (c += off >> shift; c < end; c++) {
		/* mostly nobody else's: nothing to look for */
		if (c->users != me) {
			if (look && c->users)
				check_cell(c, a);
			c->users |= me;
		}
		record(c, a);
	}
}

/* Plain stores also go to the lists of the atomic locations in reach. */
static void store_locs(struct granule *g, u32 off, u32 len)
{
	struct loc **set = P.locset[g->locs];

	for (u32 i = 0; i < BYTES; i++)
		if (set[i] && i < off + len && i + set[i]->size > off)
			loc_plain_store(set[i], NULL);
}

/*
 * A plain access to whole granules. Neighbours that have the same history, mostly none, have one cell in common
 * before and after it: pages are cleared and copied in every execution. Not those of atomic locations.
 */
static void note_many(struct granule *g, u32 nr, const struct access *a)
{
	u32 from = ~0u, to = 0;

	for (; nr--; g++) {
		u32 old = g->gen == E.gen ? g->cells : 0;

		if (g->locs || g->ignore || (old && !g->shared)) {
			if (a->write && g->locs)
				store_locs(g, 0, BYTES);
			note_granule(g, a, 0, BYTES);
			continue;
		}
		if (old != from) {
			note_granule(g, a, 0, BYTES);
			from = old;
			to = g->cells;
		}
		g->gen = E.gen;
		g->cells = to;
		g->parts = 1;
		g->shared = true;
	}
}

/* Threads that have stored plainly to an object in this execution. */
u32 plain_writers(const volatile void *p, unsigned int size)
{
	struct granule *g = granule_of((uintptr_t)p);
	u32 mask = 0, off = (u32)((uintptr_t)p % BYTES);
	struct cell *c;

	if (!g || g->gen != E.gen || !g->cells)
		return 0;
	c = &P.cell[g->cells - 1];
	for (u32 i = 0, width = BYTES / g->parts; i < g->parts; i++)
		if (c[i].w_tid && i * width < off + size && (i + 1) * width > off)
			mask |= 1u << (c[i].w_tid - 1);
	return mask;
}

static inline void note(struct granule *g, const volatile void *p, size_t size, bool write,
			bool atomic, const char *site)
{
	struct access a = { p, site, (u32)size, write, atomic };
	uintptr_t at = (uintptr_t)p, end = at + size;

	if (size > MANY * BYTES && !atomic && (at | size) % BYTES == 0) {
		for (u32 i = 0; write && i < size / BYTES; i++)
			save(&g[i], at + i * BYTES);
		if (E.live)
			note_many(g, (u32)(size / BYTES), &a);
		return;
	}
	for (; at < end; g++) {
		u32 off = (u32)(at % BYTES);
		u32 len = (u32)min((size_t)BYTES - off, (size_t)(end - at));

		if (write && !atomic)
			save(g, at);
		if (E.live) {
			if (write && !atomic && g->locs)
				store_locs(g, off, len);
			note_granule(g, &a, off, len);
		}
		at += len;
	}
}

void plain_note(const volatile void *p, size_t size, bool write, bool atomic, const char *site)
{
	struct granule *g = granule_of((uintptr_t)p);

	if (g && (E.live || E.undo))
		note(g, p, size, write, atomic, site);
}

void check_plain(const volatile void *p, size_t size, bool write)
{
	plain_note(p, size, write, false, __builtin_return_address(0));
}

void check_ignore_races(const void *p, size_t size)
{
	for (uintptr_t a = (uintptr_t)p; a < (uintptr_t)p + size; a++)
		if (granule_of(a))
			granule_of(a)->ignore = true;
}

static inline void announce(const void *p, size_t size, bool write, const void *at)
{
	struct granule *g;

	if (!E.live && !(write && E.undo))
		return;
	g = granule_of((uintptr_t)p);
	if (!g)
		return;
	if (E.nr_pending)
		settle_pending();
	note(g, p, size, write, false, at);
}

/* ---- names ---- */

const char *addr_name(const volatile void *p)
{
	static char buf[4][64];
	static u32 turn;
	char *b = buf[turn++ % 4];
	const char *c = (const char *)(uintptr_t)p;
	const char *st = (const char *)&octavo_state;

	if (c >= st && c < st + sizeof(octavo_state))
		snprintf(b, sizeof(buf[0]), "octavo_state+%#lx", (unsigned long)(c - st));
	else if (c >= __start_check_shared && c < __stop_check_shared)
		snprintf(b, sizeof(buf[0]), "shared+%#lx",
			 (unsigned long)(c - __start_check_shared));
	else if (c >= arena.ram && c < arena.ram + arena.ram_size)
		snprintf(b, sizeof(buf[0]), "ram+%#lx", (unsigned long)(c - arena.ram));
	else if (c >= arena.meta && c < arena.meta + arena.meta_size)
		snprintf(b, sizeof(buf[0]), "meta+%#lx", (unsigned long)(c - arena.meta));
	else
		snprintf(b, sizeof(buf[0]), "%p", (void *)(uintptr_t)p);
	return b;
}

/* ---- what the compiler calls ---- */

#define HOOK(name, size, write)                                        \
	void __tsan_##name(void *p);                                   \
	void __tsan_##name(void *p)                                    \
	{                                                              \
		announce(p, size, write, __builtin_return_address(0)); \
	}
#define HOOKS(size)                             \
	HOOK(read##size, size, false)           \
	HOOK(write##size, size, true)           \
	HOOK(unaligned_read##size, size, false) \
	HOOK(unaligned_write##size, size, true)
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
HOOK(vptr_read, 8, false)

void __tsan_read_range(void *p, unsigned long size);
void __tsan_write_range(void *p, unsigned long size);
void __tsan_init(void);
void __tsan_func_entry(void *pc);
void __tsan_func_exit(void);

void __tsan_read_range(void *p, unsigned long size)
{
	announce(p, size, false, __builtin_return_address(0));
}

void __tsan_write_range(void *p, unsigned long size)
{
	announce(p, size, true, __builtin_return_address(0));
}

void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc)
{
	(void)pc;
}

void __tsan_func_exit(void)
{
}

/*
 * The linker sends every memcpy() and the like here (--wrap): compilers make them of assignments.
 */
void *__real_memcpy(void *d, const void *s, size_t n);
void *__real_memset(void *d, int c, size_t n);
void *__real_memmove(void *d, const void *s, size_t n);
void *__wrap_memcpy(void *d, const void *s, size_t n);
void *__wrap_memset(void *d, int c, size_t n);
void *__wrap_memmove(void *d, const void *s, size_t n);

void *__wrap_memcpy(void *d, const void *s, size_t n)
{
	announce(s, n, false, __builtin_return_address(0));
	announce(d, n, true, __builtin_return_address(0));
	return __real_memcpy(d, s, n);
}

void *__wrap_memmove(void *d, const void *s, size_t n)
{
	announce(s, n, false, __builtin_return_address(0));
	announce(d, n, true, __builtin_return_address(0));
	return __real_memmove(d, s, n);
}

void *__wrap_memset(void *d, int c, size_t n)
{
	announce(d, n, true, __builtin_return_address(0));
	return __real_memset(d, c, n);
}
