/* SPDX-License-Identifier: MIT */
/*
 * vmalloc.h - kernel mappings: pages made contiguous in the kernel's address space.
 *
 * docs/vmap.md has the design: where addresses come from, what an area keeps, when translations are flushed, and when
 * an address and a frame may be used again.
 *
 * Addresses are the kernel's. A simulated machine cannot follow them: its tests go through port/sim/mmu.h.
 */
#ifndef OCTAVO_VMALLOC_H
#define OCTAVO_VMALLOC_H

#include <octavo/folio.h>
#include <octavo/gfp.h>
#include <octavo/mm_types.h>

#define VMALLOC_START ((unsigned long)OCTAVO_VMALLOC_START)
#define VMALLOC_SIZE  (1ul << OCTAVO_VMALLOC_SHIFT)
#define VMALLOC_END   (VMALLOC_START + VMALLOC_SIZE)
/* No area is larger than a chunk, its guard page included. */
#define VMALLOC_CHUNK (VMALLOC_SIZE / OCTAVO_VMALLOC_CHUNKS)

/* Flags of areas. */
#define VM_IOREMAP  0x00000001ul /* frames without words */
#define VM_ALLOC    0x00000002ul /* vmalloc()ed: the area's own pages */
#define VM_MAP	    0x00000004ul /* vmap()ed: somebody's pages */
#define VM_USERMAP  0x00000008ul /* may be mapped to user space */
#define VM_NO_GUARD 0x00000040ul /* no hole after it */
#define VM_FLUSH_RESET_PERMS \
	0x00000100ul /* its end flushes at once, and its memory is writable again */
#define VM_MAP_PUT_PAGES \
	0x00000200ul /* vmap() takes over a reference for each entry, and the array */
#define VM_ALLOW_HUGE_VMAP \
	0x00000400ul /* large entries are wanted: memory is taken in runs that fit them */
#define VM_NO_HUGE_VMAP 0x00000800ul /* no entry above the last level */
#define VM_SPARSE	0x00001000ul /* filled and emptied by vm_area_map_pages() */
#define VM_MAP_RAM	0x00002000ul /* set by vm_map_ram() */

/* What is in a run: 40 bits of frame number, 24 of length less one. */
#define VM_RUN_NR_BITS 24
#define VM_RUN_MAX     (1ul << VM_RUN_NR_BITS)
#define VM_RUNS_INLINE 2u

struct vm_run_block {
	struct vm_run_block *next;
	u32 nr, max;
	u64 run[];
};

/*
 * Frames that an area owns or has references on, in the order of its addresses, eight bytes a run. Which folio a
 * run belongs to, and where in it, the words say: there is a reference.
 */
struct vm_runs {
	u64 first[VM_RUNS_INLINE];
	struct vm_run_block *last; /* of a circle: what follows it is the first */
	u32 nr;
};

enum vm_state {
	VM_STATE_FREE = 0, /* its addresses are in a pool, or nowhere */
	VM_STATE_BUSY,	   /* being made or ended: nobody finds it */
	VM_STATE_LIVE,	   /* compare-and-swap from here to BUSY decides who ends it */
	VM_STATE_LAZY,	   /* ended; a flush is owed */
};

/* A place among the addresses of a chunk; all of it under the chunk's lock but the constants. */
struct vm_node {
	unsigned long start, end; /* constant; with the guard page */
	unsigned long gap,
		max_gap; /* free space in front of it; the largest in front of it or of one below it */
	struct vm_node *parent, *left, *right;
	struct list_head order; /* by address */
};

/**
 * struct vm_struct - an area of kernel addresses
 * @addr: first address
 * @size: bytes, with the guard page
 * @flags: VM_...
 * @nr_pages: pages that it owns or has references on; 0 for borrowed ones
 * @caller: where it was made
 *
 * Freed after a grace period. Stable for its owner, from the function that made it to the one that ends it. The
 * rest is mm/kmap's:
 *
 *   (c) constant while its addresses are its own, (s) written while BUSY, published by the release that makes it
 *   LIVE, (h) its home's lock, (b) its bucket's lock; readers under RCU
 *
 * Among very many, an area that ends is in no cache any more: finding it takes the first line, ending and reusing it the
 * second, and its place in the tree is in neither.
 */
struct vm_struct {
	struct vm_struct *hash_next; /* (b) */
	void *addr;		     /* (c) */
	unsigned long size;	     /* (c) */
	unsigned long flags;	     /* (s) */
	union {
		struct list_head list; /* (h) of a pool or of what waits for a flush */
		struct vm_struct *next_deferred;
	};
	long mapped; /* (s), then (h): pages with an entry */
	u32 state;   /* enum vm_state; atomic */
	u32 home;    /* (c) */

	unsigned long nr_pages;
	const void *caller;
	unsigned long used; /* (s) bytes asked for: vrealloc() */
	void *private;	    /* (s) the block of vm_map_ram() */
	struct vm_runs runs;

	union {
		struct vm_node node;
		struct rcu_head rcu; /* when it is in no tree any more */
	};
};

/* ---- pages and folios made contiguous ---- */

/**
 * vmap() - map pages one after the other
 * @pages: counted or frozen plain pages, pages of folios or of managed memory: any page of them, in any order,
 *         repeated or not. With VM_MAP_PUT_PAGES kmalloc()ed or vmalloc()ed
 * @count: how many
 * @flags: VM_MAP_PUT_PAGES, VM_NO_HUGE_VMAP, VM_USERMAP; VM_NO_GUARD is dropped with a warning
 * @prot: of the entries, present ones; never executable, whatever it says
 *
 * Without VM_MAP_PUT_PAGES the pages are the caller's and stay it: no reference is taken, and they outlive the
 * mapping. With it, one reference for each entry and the array belong to the area, until vfree() gives the
 * references back with put_page(); what has no references to give (frozen pages) is refused.
 * Runs of frames that are long and aligned enough are mapped by larger entries.
 *
 * Context: may sleep.
 * Return: the address; NULL: no memory or addresses, more pages than there is memory, none at all, a page that may
 * not be mapped (slab, page table, movable, poisoned, free) or none, other flags, VM_FLUSH_RESET_PERMS with a warning. Then nothing has
 * changed and the caller owns what it owned.
 */
void *vmap(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot);
/* The same and why not. Return: 0 with *@addr set; -EINVAL, -E2BIG, -ENOMEM. */
int vmap_pages(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot,
	       void **addr);

/**
 * vmap_folios() - the same for parts of folios
 * @parts: one after the other; the caller keeps the array. Repeated or overlapping parts are legal
 * @count: how many
 * @flags: as for vmap(); with VM_MAP_PUT_PAGES one reference for each part passes on success
 *
 * Context: may sleep. Return: 0 with *@addr set; -EINVAL, -E2BIG, -ENOMEM: nothing has changed.
 */
int vmap_folios(const struct folio_subrange *parts, unsigned int count, unsigned long flags,
		pgprot_t prot, void **addr);

/**
 * vmap_pfn() - map frames that have no words
 * @pfns: frame numbers
 * @count: how many
 * @prot: never executable
 *
 * Special entries of the last level. Context: may sleep. Return: the address; NULL: a frame has a word, or as vmap().
 */
void *vmap_pfn(const unsigned long *pfns, unsigned int count, pgprot_t prot);

/**
 * vunmap() - end a mapping and nothing else
 * @addr: as returned; NULL does nothing
 *
 * References that VM_MAP_PUT_PAGES handed over are the caller's again, and so is what vmalloc() allocated; as the
 * caller has no list of them any more, that is a leak nearly always, and warned of: vfree() is what was meant.
 * An unknown address is reported and ignored.
 *
 * Context: may sleep.
 */
void vunmap(const void *addr);

/* ---- memory ---- */

/**
 * vmalloc() - memory that need not be physically contiguous
 * @size: bytes, rounded up to pages; 0 is NULL
 *
 * Counted plain pages of order 0, subtype Vmalloc, taken in runs as long as there are, without any descriptor.
 *
 * Context: may sleep. Return: the address, NULL: nothing is held.
 */
void *vmalloc(unsigned long size) __must_check;
/* Zeroed. */
void *vzalloc(unsigned long size) __must_check;
/* Zeroed, and its pages may be inserted into user page tables: remap_vmalloc_range(). */
void *vmalloc_user(unsigned long size) __must_check;
/* Memory from the node, if it has any. */
void *vmalloc_node(unsigned long size, int node) __must_check;
void *vzalloc_node(unsigned long size, int node) __must_check;
/* In runs that larger entries can map, as far as there are such. */
void *vmalloc_huge(unsigned long size, gfp_t gfp) __must_check;
/* @gfp: __GFP_ZERO, zones, effort. Blocks: fatal without __GFP_DIRECT_RECLAIM. */
void *__vmalloc(unsigned long size, gfp_t gfp) __must_check;

/**
 * __vmalloc_node_range() - what the others are made of
 * @size: bytes
 * @align: of the address; a power of two; at least a page
 * @gfp: as for __vmalloc()
 * @prot: of the entries, as it is: executable if it says so
 * @flags: VM_USERMAP, VM_NO_GUARD, VM_FLUSH_RESET_PERMS, VM_ALLOW_HUGE_VMAP, VM_NO_HUGE_VMAP
 * @node: preferred; NUMA_NO_NODE
 * @caller: for listings; NULL: the caller of this
 *
 * Context: may sleep. Return: the address; NULL: no memory or addresses, or an argument that makes no sense.
 */
void *__vmalloc_node_range(unsigned long size, unsigned long align, gfp_t gfp, pgprot_t prot,
			   unsigned long flags, int node, const void *caller) __must_check;

/**
 * vrealloc() - change the size
 * @p: of vmalloc(); NULL: vmalloc()
 * @size: bytes; 0: vfree()
 * @gfp: __GFP_ZERO clears what is new
 *
 * In place if the pages suffice, else copied. Context: may sleep. Return: the address; NULL: nothing has changed
 * (or @size is 0).
 */
void *vrealloc(const void *p, size_t size, gfp_t gfp) __must_check;

/**
 * vfree() - end an area and give back what it owns
 * @addr: as returned by vmalloc() or vmap(); NULL does nothing
 *
 * References are dropped by put_page(): pages that somebody else holds survive. Those of vmalloc() go back in runs,
 * after translations are flushed, which may be later. An unknown address, or one that is freed already, is reported and
 * ignored.
 *
 * Context: may sleep. Elsewhere: vfree_atomic().
 */
void vfree(const void *addr);
/* Done later, by the next call here that may sleep, or vmalloc_run_deferred(). Context: any, interrupts too. */
void vfree_atomic(const void *addr);
/* What vfree_atomic() left. Context: may sleep. Return: areas freed. */
unsigned long vmalloc_run_deferred(void);

/* kmalloc(), or vmalloc() when there is no run of that size and @gfp may sleep. */
void *kvmalloc(size_t size, gfp_t gfp) __must_check;
/* Of kmalloc(), vmalloc() or kvmalloc(). Context: as the one that fits. */
void kvfree(const void *p);

/**
 * remap_vmalloc_range() - insert an area into user page tables
 * @vma: for which; mmap_lock for writing: from vm_file_operations.mmap
 * @addr: of vmalloc_user()
 * @pgoff: pages of it to leave out at its start
 *
 * Return: 0; -EINVAL: not such an area, or not that large; what vm_insert_pages() says.
 */
int remap_vmalloc_range(struct vm_area_struct *vma, void *addr, unsigned long pgoff);

/* ---- areas without memory yet ---- */

/**
 * get_vm_area() - addresses
 * @size: bytes, rounded up to pages
 * @flags: VM_SPARSE, VM_IOREMAP, VM_MAP, VM_NO_GUARD, VM_FLUSH_RESET_PERMS
 *
 * Context: may sleep. Return: the area; NULL: none, or no memory. Ended by free_vm_area().
 */
struct vm_struct *get_vm_area(unsigned long size, unsigned long flags) __must_check;
void free_vm_area(struct vm_struct *area);

/**
 * vm_area_map_pages() - fill a part of a sparse area
 * @area: VM_SPARSE
 * @start: address in it
 * @end: after the last; the range is empty so far
 * @pages: pages as vmap() takes; borrowed
 *
 * Entries of the last level. Context: may sleep.
 * Return: 0; -EINVAL: not a sparse area, or one with VM_FLUSH_RESET_PERMS or VM_NO_GUARD, or such a page; -E2BIG: more
 * pages than memory; -ERANGE: not inside the area; -EBUSY: something is mapped there; -ENOMEM. Then nothing is mapped.
 */
int vm_area_map_pages(struct vm_struct *area, unsigned long start, unsigned long end,
		      struct page **pages);
/* Empty a part; flushed when it returns. Context: may sleep. Return: 0, -EINVAL, -ERANGE. */
int vm_area_unmap_pages(struct vm_struct *area, unsigned long start, unsigned long end);

/* ---- mappings for a short time ---- */

/**
 * vm_map_ram() - map a few pages quickly
 * @pages: as for vmap(); borrowed
 * @count: how many
 * @node: preferred for tables and bookkeeping; ignored
 *
 * Small ones come from a block of addresses of this CPU's, without any allocation.
 *
 * Context: may sleep. Return: the address, NULL.
 */
void *vm_map_ram(struct page **pages, unsigned int count, int node) __must_check;
/* @count: as it was mapped. Translations are flushed later: vm_unmap_aliases(). Context: may sleep. */
void vm_unmap_ram(const void *mem, unsigned int count);
/* After it nobody has a translation of anything that was unmapped before the call. Context: may sleep. */
void vm_unmap_aliases(void);

/* ---- permissions ---- */

/**
 * set_memory_ro() - change what a part of an area allows
 * @addr: page aligned, in a live area
 * @numpages: pages, all mapped
 *
 * Larger entries are split where only a part of them is meant. Flushed when it returns. The memory's other
 * mappings (the direct map) are the embedder's: the hook direct_map_perms() is called for areas that own it.
 *
 * Context: may sleep. Return: 0; -EINVAL: no such pages; -ENOMEM: nothing has changed.
 */
int set_memory_ro(unsigned long addr, int numpages);
int set_memory_rw(unsigned long addr, int numpages);
int set_memory_nx(unsigned long addr, int numpages);
int set_memory_x(unsigned long addr, int numpages);
/* From here on: flush at once when it ends, and make the memory writable elsewhere again before it is freed. */
void set_vm_flush_reset_perms(void *addr);

/* ---- look-ups ---- */

static inline bool is_vmalloc_addr(const void *x)
{
	return (unsigned long)x - VMALLOC_START < VMALLOC_SIZE;
}

/*
 * The page that is mapped there, behind an entry of any size; NULL (or 0) if none is, or one without a word. Context:
 * any. Stable as long as the caller keeps the area from ending.
 */
struct page *vmalloc_to_page(const void *addr);
unsigned long vmalloc_to_pfn(const void *addr);
/* The live area that has @addr. Context: spins. Stable as above. */
struct vm_struct *find_vm_area(const void *addr);

/**
 * vm_area_for_each_run() - what an area keeps
 * @area: the caller's
 * @fn: called for each run, in order of addresses, until it returns false. @sr: the part of a folio, or NULL for plain
 *      and managed pages
 */
void vm_area_for_each_run(const struct vm_struct *area,
			  bool (*fn)(unsigned long pfn, unsigned long nr,
				     const struct folio_subrange *sr, void *arg),
			  void *arg);

/* ---- inspection ---- */

struct vmalloc_info {
	const void *addr;
	unsigned long size, flags, nr_pages;
	const void *caller;
};
/* Calls @fn for each live area in order of addresses, with a chunk locked: it calls nothing here. Until false. */
void vmalloc_for_each(bool (*fn)(const struct vmalloc_info *info, void *arg), void *arg);
/* Log them. */
void vmalloc_dump(void);

struct vmalloc_stat {
	u64 areas;	  /* live */
	u64 nr_vmalloc;	  /* pages of vmalloc(), not those handed over */
	u64 nr_owned;	  /* pages that areas have references on, vmalloc()'s included */
	u64 nr_mapped;	  /* pages with an entry */
	u64 lazy_pages;	  /* of addresses that wait for a flush */
	u64 lazy_frames;  /* of memory that does */
	u64 huge_entries; /* above the last level, now */
	u64 runs_bytes;	  /* what areas keep of their pages, now */
	u64 array_bytes;  /* what arrays of pointers would have taken */
	u64 purges;
	u64 deferred;	 /* areas left by vfree_atomic() */
	u64 table_bytes; /* of page tables */
};
/* Exact when quiet. All but purges and table_bytes are 0 when nothing is mapped and vm_unmap_aliases() was called. */
void vmalloc_stat(struct vmalloc_stat *st);
u64 vmalloc_nr_pages(void);

#endif /* OCTAVO_VMALLOC_H */
