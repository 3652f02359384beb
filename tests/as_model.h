/* SPDX-License-Identifier: MIT */
/*
 * as_model.h - a naive model of address spaces: what each page of each process is, and what is in it.
 *
 * It shares no code with the core and knows none of its structures. A process is an array of pages; areas are not
 * modelled as such, because where one ends and an equal one begins is the core's business, but for mremap(), which is
 * told. Contents are two words a page. Copy on write is a copy at fork. Errors are those that the manual pages
 * of Linux document, for a machine that never runs out of memory: that one did is the caller's to know.
 */
#ifndef OCTAVO_TESTS_AS_MODEL_H
#define OCTAVO_TESTS_AS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AS_PAGE 4096ul

enum {
	AS_PROCS = 4,
	AS_WORDS = 2,
	AS_FILES = 4,
	AS_FILE_PAGES = 24,
	AS_MAX_PAGES = 1536,
};

/* What a page is part of. */
enum as_flag {
	AS_MAPPED = 1 << 0,
	AS_R = 1 << 1,
	AS_W = 1 << 2,
	AS_X = 1 << 3,
	AS_SHARED = 1 << 4,
	AS_GROWS = 1 << 5,
	AS_LOCKED = 1 << 6,
	AS_ONFAULT = 1 << 7,
	AS_DONTFORK = 1 << 8,
	AS_WIPE = 1 << 9,
	AS_SEQ = 1 << 10,
	AS_RAND = 1 << 11,
	AS_DONTDUMP = 1 << 12,
	AS_HUGE = 1 << 13,
	AS_NOHUGE = 1 << 14,
	AS_DROP = 1 << 15,
	AS_NORESERVE = 1 << 16,
	AS_STACK = 1 << 17,
	AS_IO = 1 << 18,
	AS_PFN = 1 << 19,
	AS_MIXED = 1 << 20,
	AS_DONTEXPAND = 1 << 21,
};
#define AS_ACCESS  (AS_R | AS_W | AS_X)
#define AS_LOCK	   (AS_LOCKED | AS_ONFAULT)
#define AS_SPECIAL (AS_IO | AS_PFN | AS_MIXED | AS_DONTEXPAND)

/* Objects that can be mapped. */
enum as_kind {
	AS_RING, /* counted plain pages, all inserted by mmap; what is taken out does not come back */
	AS_PAGES,  /* counted plain pages, by faults */
	AS_FOLIOS, /* folios of a file, by faults */
	AS_FRAMES, /* bare frames */
};

/* Contents that a page has for itself: the page has a reference, and each pin of it. */
struct as_data {
	unsigned int refs;
	uint64_t w[AS_WORDS];
};

struct as_page {
	uint32_t flags;	      /* 0: a hole */
	uint16_t file, pgoff; /* file: number + 1, 0: anonymous */
	bool guard;
	bool here;	      /* of a ring or bare frames: has not been taken out */
	bool lazy;	      /* MADV_FREE, and not written to since: may be gone at any time */
	struct as_data *data; /* NULL: zeros, or the object's */
};

struct as_proc {
	bool alive;
	uint32_t def;		  /* flags of mlockall(MCL_FUTURE) */
	unsigned long start, brk; /* of the heap, addresses */
	struct as_page pg[AS_MAX_PAGES];
};

struct as_model {
	unsigned long base, end;     /* addresses that may be used */
	unsigned long nr, gap, leaf; /* pages: of them; below a stack; of a large leaf */
	bool never;		     /* memory is not promised twice: MAP_NORESERVE means nothing */
	unsigned int datas;	     /* that there are */
	uint64_t file[AS_FILES][AS_FILE_PAGES][AS_WORDS];
	struct as_proc p[AS_PROCS];
};

/* Faults, as bits of their own. */
#define AS_SEGV	  1
#define AS_MAPERR 2
#define AS_BUS	  4

enum as_access { AS_LOAD, AS_STORE, AS_FETCH };

static inline bool as_in(const struct as_model *m, unsigned long addr)
{
	return addr >= m->base && addr < m->end;
}

static inline unsigned long as_nr(const struct as_model *m, unsigned long addr)
{
	return (addr - m->base) / AS_PAGE;
}

static inline struct as_page *as_page(struct as_model *m, int p, unsigned long addr)
{
	return as_in(m, addr) ? &m->p[p].pg[as_nr(m, addr)] : NULL;
}

/* ---- contents ---- */

struct as_data *as_data_get(struct as_data *d);
void as_data_put(struct as_model *m, struct as_data *d);
/* The page gets contents of its own: what it has now. */
struct as_data *as_own(struct as_model *m, struct as_page *pg);
/* A lazy page is gone. */
void as_gone(struct as_model *m, struct as_page *pg);
/* What a read finds: two words. The page can be read. */
const uint64_t *as_words(const struct as_model *m, const struct as_page *pg);

/**
 * as_access() - a program's access to one page
 * @words: what is there, to read or to change; NULL: of no interest
 *
 * Stacks grow. Return: 0 or AS_SEGV and the like.
 */
int as_access(struct as_model *m, int p, unsigned long addr, enum as_access a, uint64_t **words);
/* The same without growing, and nothing changes. */
int as_may_access(struct as_model *m, int p, unsigned long addr, enum as_access a);

/* What get_user_pages() says of a page. */
enum as_gup { AS_GUP_NO, AS_GUP_YES, AS_GUP_EITHER };
enum as_gup as_gup(struct as_model *m, int p, unsigned long addr, bool write);
/* The same for copies by the kernel, which may do what the program may, and let its stacks grow. */
enum as_gup as_copy(struct as_model *m, int p, unsigned long addr, bool write);

/* ---- calls: the arguments and results of Linux; address as long, or -errno ---- */

/**
 * as_mmap_check() - errors of mmap
 * Return: 0; the address if it is certain; -errno.
 */
long as_mmap_check(struct as_model *m, int p, unsigned long addr, unsigned long len,
		   unsigned long flags, int file, unsigned long offset);
/* May a mapping that nobody gave a place to be there? */
bool as_place_ok(const struct as_model *m, int p, unsigned long addr, unsigned long len);
/* It was made at @addr. */
void as_mmap_apply(struct as_model *m, int p, unsigned long addr, unsigned long len,
		   unsigned long prot, unsigned long flags, int file, unsigned long offset);
int as_munmap(struct as_model *m, int p, unsigned long addr, unsigned long len);
/*
 * What comes before an error is done; and before @stop (an address; ~0: the end) if memory ran out there.
 * @area_start: of the first area that ends after @addr, by the core's own account; 0: none
 */
int as_mprotect(struct as_model *m, int p, unsigned long addr, unsigned long len,
		unsigned long prot, unsigned long area_start, unsigned long stop);
/**
 * as_mremap_check() - errors of mremap
 * @area_end: where the area ends that has @addr, by the core's own account
 * @in_place: set: the address does not change
 */
int as_mremap_check(struct as_model *m, int p, unsigned long addr, unsigned long old_len,
		    unsigned long new_len, unsigned long flags, unsigned long new_addr,
		    unsigned long area_end, bool *in_place);
void as_mremap_apply(struct as_model *m, int p, unsigned long addr, unsigned long old_len,
		     unsigned long new_len, unsigned long flags, unsigned long new_addr);
/* @which: NULL, or says for which pages advice has taken effect, when memory ran out on the way */
int as_madvise(struct as_model *m, int p, unsigned long addr, unsigned long len, int advice,
	       bool (*which)(void *arg, unsigned long addr), void *arg);
unsigned long as_brk(struct as_model *m, int p, unsigned long brk);
/* Without the bringing in. */
int as_mlock(struct as_model *m, int p, unsigned long addr, unsigned long len, uint32_t lock,
	     unsigned long stop);
int as_mlockall(struct as_model *m, int p, int flags);
void as_munlockall(struct as_model *m, int p);
/* Can all of a locked range be brought in? */
int as_populate(struct as_model *m, int p, unsigned long addr, unsigned long len);
int as_mincore(struct as_model *m, int p, unsigned long addr, unsigned long len);
void as_fork(struct as_model *m, int parent, int child);
void as_exit(struct as_model *m, int p);

/* Pages of a process with contents of their own, and pages that are mapped at all. */
void as_count(const struct as_model *m, int p, unsigned long *own, unsigned long *mapped);

#endif /* OCTAVO_TESTS_AS_MODEL_H */
