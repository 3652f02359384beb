/* SPDX-License-Identifier: MIT */
/*
 * slab_state.h - slab caches' part of struct octavo_state, and the structs that it is made of. Private to
 * mm/desc/slab*.c, sheaf.c and kmalloc.c; here only because the state is one object.
 *
 * Protection, as a letter on each field:
 *   (i) set when the object is made, then constant
 *   (p) the CPU's local lock: by its owner pinned, by others remotely
 *   (d) the depot's lock
 *   (l) the lock of the slab's home
 *   (c) the lock of the list of caches
 *   (a) atomic
 */
#ifndef OCTAVO_SLAB_STATE_H
#define OCTAVO_SLAB_STATE_H

#include <octavo/list.h>
#include <octavo/lock.h>

struct kmem_cache;

/* Where a kmem_cache_scan() is; zero: at its beginning. The caller's, one CPU at a time. */
struct slab_scan {
	u32 home, at;
};

/* An array of free objects. Belongs to a CPU, to the depot, or (prefilled) to a caller. */
struct slab_sheaf {
	union {
		struct slab_sheaf *next;  /* (d) in the depot */
		struct kmem_cache *cache; /* prefilled: whose objects these are */
	};
	u32 size; /* objects in it; stale while it is a CPU's main sheaf: slab_cpu.size counts */
	u32 capacity;
	void *objs[];
};

/* All one CPU needs of a cache in one line. Zero is the legal state "no sheaves". */
struct slab_cpu {
	local_lock_t lock;
	u32 size;		  /* (p) objects in main; 0 without one */
	u32 capacity;		  /* (p) of main; 0 without one */
	struct slab_sheaf *main;  /* (p) NULL: none */
	struct slab_sheaf *spare; /* (p) NULL: none */
} __cacheline;
BUILD_BUG_ON(sizeof(struct slab_cpu) != 64);

struct slab_depot {
	spinlock_t lock;
	u32 nr_full;  /* (d) */
	u32 nr_empty; /* (d) */
	u32 wanted;   /* (a) a free found no empty sheaf; the next slow allocation brings one */
	struct slab_sheaf *full;  /* (d) those with objects, not always full */
	struct slab_sheaf *empty; /* (d) */
};

/* How one slab of a given order is laid out. */
struct slab_geometry {
	u32 first;     /* byte of its first object */
	u16 nr;	       /* objects */
	u8 order;      /* frames, 2^order */
	bool embedded; /* struct slab at its front */
};

/*
 * Slabs that CPUs of one number, modulo OCTAVO_SLAB_HOMES, have made, and stay here till their end. CPUs take objects
 * from their own home first, so that its lock and its slabs' descriptors are in their caches, not in
 * others'.
 */
struct slab_home {
	spinlock_t lock;
	u32 nr_empty;		  /* (l), read as a hint without */
	u32 reap_above;		  /* (l) so many empty slabs are too many */
	bool plenty;		  /* (l) its bit in kmem_cache.plenty */
	u8 lap;			  /* (l) slab_scan.c */
	u64 nr_free;		  /* (l) objects in slabs, read as a hint without */
	struct list_head partial; /* (l) some objects free */
	struct list_head full;	  /* (l) none free */
	struct list_head empty;	  /* (l) all free; oldest first */
	u64 nr_slabs;		  /* (l) on the three lists, as all sums below */
	u64 nr_frames;		  /* (l) */
	u64 nr_separate;	  /* (l) slabs whose descriptor is not in them */
	u64 inuse;		  /* (l) objects out of slabs: allocated, or in a sheaf */
	/*
	 * (a) Stacks for whoever cannot have the lock: pushed by compare-and-swap, taken whole by exchange
	 * under the lock. Objects are linked through their allocator's word, slabs through list.next.
	 */
	void *deferred;
	struct slab *incoming;
} __cacheline;

/* A cache. An array of struct slab_cpu follows it in memory, except for the bootstrap caches. */
struct kmem_cache {
	/* the hot line */
	u64 odd_inverse;   /* (i) of size / 2^size_shift, modulo 2^64 */
	u64 secret;	   /* (i) free marker = address of the object ^ secret */
	u32 size;	   /* (i) from one object to the next */
	u32 link;	   /* (i) offset of the allocator's word in a free object */
	u32 flags;	   /* (i) SLAB_..., effective */
	u32 size_shift;	   /* (i) size is odd * 2^this */
	u32 object_size;   /* (i) as asked for */
	u32 sheaf_size;	   /* (i) objects in a sheaf of this cache; 0: it has none */
	u32 keep_empty;	   /* (i) empty slabs that are not given back at once */
	u32 stable_prefix; /* (i) */
	u32 align;	   /* (i) */
	u32 red_left;	   /* (i) bytes of guard before an object */
	s32 node;	   /* (i) NUMA_NO_NODE: the CPU's */

	struct slab_geometry
		geo[2];		 /* (i) usual; smallest that will do, when memory is fragmented */
	const char *name;	 /* (i) */
	void (*ctor)(void *obj); /* (i) */
	struct list_head node_in_caches; /* (c) */

	struct slab_depot depot __cacheline;
	u32 plenty; /* (a) a hint, a bit a home: objects to spare, for CPUs whose home has none */

	struct slab_home home[OCTAVO_SLAB_HOMES];
} __cacheline;

/* Caches whose struct is here: where the recursion ends (docs/slab.md "Bootstrap"). */
enum slab_boot_cache {
	SLAB_BOOT_CACHE, /* struct kmem_cache with its CPUs */
	SLAB_BOOT_SHEAF,
	SLAB_BOOT_DESC, /* struct slab outside of its slab */
	NR_SLAB_BOOT,
};

#define NR_KMALLOC_CLASSES 15

/* Caches that need no memory for their structs: those of the descriptors, and a few more. */
#define NR_SLAB_EARLY 8

struct slab_early {
	struct kmem_cache cache;
	struct slab_cpu cpu[OCTAVO_NR_CPUS]; /* directly behind it, as in every cache */
};

struct slab_state {
	spinlock_t lock;	 /* the list of caches */
	struct list_head caches; /* (c) */
	struct kmem_cache boot[NR_SLAB_BOOT];
	u32 early_used; /* (a) a bit each */
	struct slab_early early[NR_SLAB_EARLY];
	/* (a) made at first use: stored once by compare-and-swap release, loaded with acquire */
	struct kmem_cache *kmalloc[NR_KMALLOC_CLASSES];
};

#endif /* OCTAVO_SLAB_STATE_H */
