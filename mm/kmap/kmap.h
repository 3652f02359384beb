/* SPDX-License-Identifier: MIT */
/*
 * kmap.h - what the files of this directory tell each other.
 *
 *	addr_tree.c  the addresses of one chunk: a tree of areas and gaps
 *	addr.c       areas: addresses from pools and chunks, found by address, given back
 *	pool.c       areas that are free, by size
 *	lazy.c       what waits for a flush, and the flush
 *	table.c      the kernel's page tables
 *	runs.c       what an area keeps of its pages
 *	source.c     what is to be mapped: checked, and mapped
 *	vmap.c vmalloc.c vfree.c sparse.c perms.c map_ram.c remap.c   the calls
 *	kmap.c       coming up, going down, validation, listing
 *
 * Locks, none taken inside another: chunk->lock, home->lock, bucket locks, ptls. purge_lock comes before all and
 * may be held while sleeping.
 */
#ifndef MM_KMAP_KMAP_H
#define MM_KMAP_KMAP_H

#include <octavo/errno.h>
#include <octavo/pgtable.h>
#include <octavo/plain.h>
#include <octavo/slab.h>
#include <octavo/state.h>
#include <octavo/tlb.h>
#include <octavo/vmalloc.h>

#if OCTAVO_TABLE_BITS == 9
#define KMAP_HOMES 16u
#define KMAP_POOL_EXACT \
	64u /* pages of an area, guard included, up to which each number has a pool */
#define KMAP_POOL_LARGE	 5u    /* pools of larger ones, one to a power of two */
#define KMAP_POOL_MAX	 2048u /* in each home */
#define KMAP_POOL_MISSES 64u   /* before room is made for what was missed */
#define KMAP_HASH_LOCKS	 64u
#define KMAP_RAM_PAGES	 1024u /* pages of a block of vm_map_ram() */
#define KMAP_RAM_MAX	 64u   /* of the largest mapping in one */
#else
#define KMAP_HOMES	 2u
#define KMAP_POOL_EXACT	 4u
#define KMAP_POOL_LARGE	 1u
#define KMAP_POOL_MAX	 4u
#define KMAP_POOL_MISSES 2u
#define KMAP_HASH_LOCKS	 2u
#define KMAP_RAM_PAGES	 8u
#define KMAP_RAM_MAX	 4u
#endif
#define KMAP_POOLS   (KMAP_POOL_EXACT + 1 + KMAP_POOL_LARGE)
#define KMAP_NO_HOME (~0u)

/* Areas by address. */
struct vm_tree {
	struct vm_node *root;
	struct vm_node
		last; /* where the chunk ends: in the tree, so every gap is in front of something */
	struct list_head order;
	unsigned long start;
};

struct kmap_chunk {
	spinlock_t lock;
	u32 home; /* KMAP_NO_HOME, or compare-and-swap from that once */
	struct vm_tree tree;
} __cacheline;

struct ram_block;

/* What there is, or by how much that changes. */
struct kmap_sums {
	long areas, vmalloc, owned, mapped, huge, runs_bytes;
};

/* Areas that wait for a flush: how many, of how many pages of addresses, with how many frames of their own. */
struct kmap_lazy {
	u64 areas, pages, frames;
};

/* FREE areas of about one size. (lock of the home) */
struct kmap_pool {
	struct list_head areas; /* the last that came first */
	u32 nr, low;		/* now; at the least since spare was set */
	u32 spare;		/* that may go if others want room */
};

/* CPUs with the same number modulo the number of homes take addresses from the same chunks. */
struct kmap_home {
	spinlock_t lock;
	u32 chunk;			   /* where the last search ended; a hint */
	struct kmap_pool pool[KMAP_POOLS]; /* (lock) */
	u32 nr_pool;			   /* (lock) in all of them */
	u32 missed;		/* (lock) times that none was there, since spare was set */
	u32 victim;		/* (lock) pools before it have nothing to spare */
	struct list_head lazy;	/* (lock) LAZY areas, since the last flush */
	struct list_head ready; /* (lock) those that a flush was for */
	unsigned long lazy_start, lazy_end; /* (lock) what lazy covers or will; start ~0: nothing */
	struct kmap_lazy untold;	    /* (lock) what of lazy k->lazy_sum does not know of */
	struct list_head blocks;	    /* (lock) of vm_map_ram() */
	struct ram_block *current_block;    /* (lock) */
	struct kmap_sums sums;		    /* (lock) read without it: exact when quiet */
} __cacheline;

struct kmap {
	/* read by everybody; of these lines only deferred is written to, and that rarely */
	struct mm_struct *mm;
	struct kmem_cache *areas, *ram_blocks;
	struct vm_struct **hash; /* RCU; stored under the bucket's lock */
	u32 hash_bits, nr_homes;
	struct kmap_lazy
		lazy_due; /* whoever comes to so much flushes: seven eighths of the bounds */
	struct kmap_lazy lazy_tell; /* what a home keeps to itself: together an eighth */
	struct vm_struct *deferred; /* pushed by compare-and-swap, taken all at once */

	struct rw_semaphore purge_lock __cacheline; /* writers only: one purge at a time */
	struct kmap_lazy lazy_sum;		    /* atomic, relaxed */
	u64 purges;				    /* (purge_lock) read without it */

	spinlock_t hash_lock[KMAP_HASH_LOCKS] __cacheline;
	struct kmap_home home[KMAP_HOMES];
	struct kmap_chunk chunk[OCTAVO_VMALLOC_CHUNKS];
};

/* ---- kmap.c ---- */

struct kmap *kmap_come_up(void);

/* NULL if nothing was ever mapped. */
static inline struct kmap *kmap_if_up(void)
{
	/* acquire: pairs with the release in kmap_come_up(): all of it is made */
	return smp_load_acquire(&octavo_state.kmap.kmap);
}

/* NULL: no memory. Context: may sleep. */
static inline struct kmap *kmap_get(void)
{
	struct kmap *k = kmap_if_up();

	return likely(k) ? k : kmap_come_up();
}

/* ---- addr_tree.c; context: the chunk's lock ---- */

void vm_tree_init(struct vm_tree *t, unsigned long start, unsigned long end);
/* @n->start and end set, which are free, in front of @next. */
void vm_tree_insert(struct vm_tree *t, struct vm_node *n, struct vm_node *next);
void vm_tree_erase(struct vm_tree *t, struct vm_node *n);
struct vm_node *vm_tree_find(const struct vm_tree *t, unsigned long addr);
/* The lowest x = @color modulo @align with @size free bytes. Return: the node after it, *@where set; NULL. */
struct vm_node *vm_tree_find_gap(const struct vm_tree *t, unsigned long size, unsigned long align,
				 unsigned long color, unsigned long *where);
bool vm_tree_validate(const struct vm_tree *t);

/* ---- addr.c ---- */

/* What addresses are wanted. */
struct kmap_want {
	unsigned long size;  /* bytes, guard included */
	unsigned long align; /* power of two, at least PAGE_SIZE */
	unsigned long color; /* address modulo align */
};

/* BUSY. Context: may sleep. Return: NULL: no memory or no addresses. */
struct vm_struct *kmap_area_alloc(struct kmap *k, const struct kmap_want *want);
/* Everybody finds it from here on. @here: what comes with it. */
void kmap_area_publish(struct kmap *k, struct vm_struct *area, const struct kmap_sums *here);
/* The live area that starts there. Context: any. */
struct vm_struct *kmap_area_at(struct kmap *k, unsigned long addr);
/* The same, LIVE to BUSY: the caller ends it. NULL: there is none, or somebody else does, or not @block and it is one. */
struct vm_struct *kmap_area_claim(struct kmap *k, unsigned long addr, bool block);
/* Their addresses may be used again: no translation of them is left. They own nothing. */
void kmap_areas_free(struct kmap *k, struct list_head *all);
/* Entries of a live area came or went. */
void kmap_count_map(struct kmap *k, struct vm_struct *area, long pages, long huge);
/* Context: home->lock. */
void kmap_sum(struct kmap_home *home, const struct kmap_sums *n);
/* Pooled addresses back to the chunks. */
void kmap_drain_pools(struct kmap *k);
struct kmap_home *kmap_this_home(struct kmap *k);

static inline struct kmap_home *kmap_home_of(struct kmap *k, const struct vm_struct *area)
{
	return &k->home[area->home];
}

static inline unsigned long area_start(const struct vm_struct *area)
{
	return (unsigned long)area->addr;
}

/* Where its addresses end, the guard page's included. */
static inline unsigned long area_end(const struct vm_struct *area)
{
	return (unsigned long)area->addr + area->size;
}

static inline struct kmap_chunk *kmap_chunk_of(struct kmap *k, unsigned long addr)
{
	return &k->chunk[(addr - VMALLOC_START) / VMALLOC_CHUNK];
}

/* ---- pool.c ---- */

void kmap_pools_init(struct kmap_home *home);
/* A FREE area that becomes BUSY, NULL. Context: takes home->lock. */
struct vm_struct *kmap_pool_take(struct kmap_home *home, const struct kmap_want *want);
/* Context: home->lock. Return: one there is no room for any more, perhaps @area itself; NULL. */
struct vm_struct *kmap_pool_put(struct kmap_home *home, struct vm_struct *area);
/* All of them are BUSY, and on @all. */
void kmap_pools_empty(struct kmap_home *home, struct list_head *all);

/* ---- lazy.c ---- */

/*
 * BUSY, unmapped; what it owns goes, and then its addresses, after a flush: now, or with many. @change: of the sums, by its
 * end. Context: may sleep.
 */
void kmap_area_retire(struct kmap *k, struct vm_struct *area, bool now,
		      const struct kmap_sums *change);
/* The same of one that was never published. */
void kmap_area_give_up(struct kmap *k, struct vm_struct *area, bool now);
/* Flush and free all that is retired. */
void kmap_purge(struct kmap *k);
/* What waits for that, as far as it has been told; exact when quiet. */
struct kmap_lazy kmap_lazy_sum(struct kmap *k);

/* ---- table.c ---- */

/* Filling addresses one after the other. */
struct kmapper {
	struct kmap *k;
	unsigned long addr;
	pgprot_t prot;
	unsigned int max_level;
	pte_t *ptep;	    /* entry of addr, NULL: its table is to be found */
	unsigned long huge; /* entries above the last level that were made */
};

/* @nr frames on. Context: may sleep; the addresses are the caller's and empty. Return: 0, -ENOMEM. */
int kmap_map_run(struct kmapper *m, unsigned long pfn, unsigned long nr);

/* Of an array, pages that need not be neighbours. Context: as kmap_map_run(). Return: 0, -ENOMEM. */
int kmap_map_pages(struct kmapper *m, struct page *const *pages, unsigned long nr);

/* Parts of one page each, as far as they go and the table that m->ptep is in does. Return: how many; none without a table. */
unsigned int kmap_map_single_parts(struct kmapper *m, const struct folio_subrange *parts,
				   unsigned int count);

static inline int kmap_map_page(struct kmapper *m, unsigned long pfn)
{
	if (unlikely(!m->ptep))
		return kmap_map_run(m, pfn, 1);
	set_pte(m->ptep++, pfn_pte(pfn, m->prot));
	m->addr += PAGE_SIZE;
	if (unlikely(!(m->addr & (level_size(PGTABLE_LEVEL_PMD) - 1))))
		m->ptep = NULL;
	return 0;
}

/* Entries from that of @addr to its table's end. */
static inline unsigned long kmap_left_in_table(unsigned long addr)
{
	const unsigned long leaf = level_size(PGTABLE_LEVEL_PMD);

	return (leaf - (addr & (leaf - 1))) >> PAGE_SHIFT;
}

/* The entry for @addr will be wanted soon. Context: RCU. */
void kmap_entry_ahead(struct kmap *k, unsigned long addr);
/* Clears entries; no flush. *@huge: larger entries among them. */
void kmap_unmap(struct kmap *k, unsigned long start, unsigned long end, unsigned long *huge);
/* Pages that have an entry. */
unsigned long kmap_count_mapped(struct kmap *k, unsigned long start, unsigned long end,
				unsigned long *huge);
/* The entry that maps an address, and its level. Context: any. */
bool kmap_lookup(struct kmap *k, unsigned long addr, pte_t *e, unsigned int *level);
/* Change bits of every entry of a range, splitting larger ones at its ends. Return: entries split, -ENOMEM. */
int kmap_protect(struct kmap *k, unsigned long start, unsigned long end, u64 set, u64 clear,
		 unsigned long *split);

/* Would entries with it be told from none, from tables, and from frames without words? */
static inline bool kmap_prot_good(pgprot_t prot)
{
	return (prot.v & (_PAGE_PRESENT | _PAGE_LEAF | _PAGE_SPECIAL | PTE_PFN_MASK)) ==
	       _PAGE_PRESENT;
}

/* The kernel's tables are indexed by the low bits alone, as the hardware does. */
static inline unsigned long kmap_table_addr(unsigned long addr)
{
	return addr & ((1ul << VA_BITS) - 1);
}

/* ---- runs.c ---- */

static inline u64 vm_run_pack(unsigned long pfn, unsigned long nr)
{
	return (u64)pfn << VM_RUN_NR_BITS | (nr - 1);
}

static inline unsigned long vm_run_pfn(u64 run)
{
	return run >> VM_RUN_NR_BITS;
}

static inline unsigned long vm_run_nr(u64 run)
{
	return (run & (VM_RUN_MAX - 1)) + 1;
}

/* Append; merges with the last one. Return: 0, -ENOMEM: nothing has changed. */
int vm_runs_add(struct vm_runs *r, unsigned long pfn, unsigned long nr, gfp_t gfp);
/* Forget them all. */
void vm_runs_clear(struct vm_runs *r);
/* Bytes beyond struct vm_struct. */
unsigned long vm_runs_bytes(const struct vm_runs *r);

struct vm_run_iter {
	const struct vm_runs *r;
	const struct vm_run_block *block;
	u32 done, in_block;
};

static inline void vm_run_iter(struct vm_run_iter *it, const struct vm_runs *r)
{
	*it = (struct vm_run_iter){ .r = r, .block = r->last ? r->last->next : NULL };
}

bool vm_run_next(struct vm_run_iter *it, unsigned long *pfn, unsigned long *nr);

/* ---- source.c ---- */

/* Runs that are remembered from the first look at a source to the next; more are looked for again. */
#define KMAP_KNOWN_RUNS 128u

/* What is to be mapped: one of the two arrays. */
struct kmap_source {
	struct page **pages;
	const struct folio_subrange *parts;
	unsigned int count;
	/* found by kmap_check_source(): the first runs of more than a page, one after the other */
	u32 nr_known;
	unsigned long known_pages; /* in them */
	u64 known[KMAP_KNOWN_RUNS];
};

static inline void kmap_source_pages(struct kmap_source *src, struct page **pages,
				     unsigned int count)
{
	src->pages = pages;
	src->parts = NULL;
	src->count = count;
	src->nr_known = 0;
	src->known_pages = 0;
}

/*
 * May all of it be mapped by the kernel, and if @owned, does it have references to give? @want: NULL, or where the
 * addresses should lie is set. Return: 0, -EINVAL.
 */
int kmap_check_source(struct kmap_source *src, bool owned, struct kmap_want *want);
/* From m->addr on; what was mapped before a failure stays. Return: 0, -ENOMEM. */
int kmap_map_source(struct kmapper *m, const struct kmap_source *src);
/* The run of frames at *@i, which moves on. Return: its length, 0 at the end. */
unsigned long kmap_next_run(const struct kmap_source *src, unsigned int *i, unsigned long *pfn);

/* ---- areas ---- */

/* A BUSY area that nobody has seen yet: what it is. */
static inline void kmap_area_setup(struct vm_struct *area, unsigned long flags, const void *caller)
{
	WRITE_ONCE(area->flags, flags);
	WRITE_ONCE(area->caller, caller);
	WRITE_ONCE(area->nr_pages, 0ul);
	area->mapped = 0;
	area->used = 0;
	area->private = NULL;
}

/* Guard page or not. */
static inline unsigned long kmap_guard(unsigned long flags)
{
	return flags & VM_NO_GUARD ? 0 : PAGE_SIZE;
}
/* Bytes without the guard. */
static inline unsigned long vm_area_bytes(const struct vm_struct *area)
{
	return area->size - kmap_guard(area->flags);
}

/* ---- vfree.c ---- */

/* End an area whose state the caller has made BUSY. @put: what it owns goes. */
void kmap_end_area(struct kmap *k, struct vm_struct *area, bool put);
/* Drop the references that runs say, or free vmalloc()'s pages. */
void kmap_put_runs(struct vm_runs *r, unsigned long flags);

/* ---- map_ram.c ---- */

/* (l) its home's lock */
struct ram_block {
	struct vm_struct *area; /* constant */
	struct list_head list;	/* (l) of all of the home */
	u32 home;		/* constant */
	u32 used;		/* (l) pages that were given out */
	u32 gone;		/* (l) and unmapped */
	unsigned long dirty_start,
		dirty_end; /* (l) unmapped since the last flush; start ~0: nothing */
};

/* Extend [*@start, *@end) by what is unmapped in a home's blocks and not flushed yet. Context: the home's lock. */
void kmap_ram_dirty(struct kmap_home *home, unsigned long *start, unsigned long *end);
/* Free every empty block, when nothing else runs. */
void kmap_ram_exit(struct kmap *k);

#endif /* MM_KMAP_KMAP_H */
