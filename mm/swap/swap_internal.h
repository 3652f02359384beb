/* SPDX-License-Identifier: MIT */
/*
 * swap_internal.h - devices, clusters and slot words, for the files of mm/swap.
 *
 * Who may touch what:
 *   (r) constant from swapon() to swapoff()
 *   (c) the cluster's lock
 *   (l) the device's list_lock, which is taken inside a cluster's lock
 *   (a) atomic
 *   (s) octavo_state.swap.lock, for writing
 */
#ifndef MM_SWAP_INTERNAL_H
#define MM_SWAP_INTERNAL_H

#include <octavo/list.h>
#include <octavo/rcu.h>
#include <octavo/swap.h>

/* ---- a slot's word: pure functions ---- */

#define SLOT_PAYLOAD_BITS 40
#define SLOT_PAYLOAD	  ((1ul << SLOT_PAYLOAD_BITS) - 1) /* cached: the pfn; else a shadow */
#define SLOT_CACHED	  (1ul << 40)
#define SLOT_FAILED	  (1ul << 41) /* about to be freed: the last write failed, so it is bad */
#define SLOT_BAD	  (1ul << 42) /* given up: no count, not cached, for ever */
#define SLOT_COUNT_SHIFT  44
#define SLOT_COUNT_ONE	  (1ul << SLOT_COUNT_SHIFT)
/* The top bit is never part of a count: a sum that has it was a step too far. */
#define SLOT_COUNT_MAX ((1ul << (63 - SLOT_COUNT_SHIFT)) - 1)
/* What a look-up compares. */
#define SLOT_IDENTITY (SLOT_CACHED | SLOT_PAYLOAD)

BUILD_BUG_ON(SLOT_PAYLOAD_BITS != FOLIO_PFN_BITS);

static inline unsigned int slot_count(u64 word)
{
	return (unsigned int)(word >> SLOT_COUNT_SHIFT);
}

/* Somebody has it: it is not free, and not bad. */
static inline bool slot_used(u64 word)
{
	return slot_count(word) || (word & SLOT_CACHED);
}

/* To which set's account a slot goes that is not cached, or is about to be freed. */
static inline u32 slot_set(u64 word)
{
	return swap_shadow_set(word & SLOT_PAYLOAD);
}

BUILD_BUG_ON(SWAP_SHADOW_SET_BITS != 64 - FOLIO_GROUP_SHIFT);

/* ---- clusters ---- */

#define CLUSTER_ORDER	   OCTAVO_SWAP_CLUSTER_ORDER
#define CLUSTER_SLOTS	   (1u << CLUSTER_ORDER)
#define CLUSTER_ORDERS	   (CLUSTER_ORDER + 1)
#define CLUSTER_MAP_WORDS  ((CLUSTER_SLOTS + BITS_PER_LONG - 1) / BITS_PER_LONG)
#define CLUSTER_WORD_BYTES (CLUSTER_SLOTS * sizeof(u64))

/*
 * Lists of clusters that no CPU allocates from: by the largest aligned run that is free in them, those with
 * few free slots apart. A full one is on none.
 */
#define CLUSTER_LISTS	(2 * CLUSTER_ORDERS)
#define CLUSTER_FEW	(CLUSTER_SLOTS / 8)
#define CLUSTER_NOWHERE 0xffu /* on no list: full */
#define CLUSTER_OWNED	0xfeu /* on no list: a CPU allocates from it, or is about to */

struct swap_cluster {
	spinlock_t lock;
	u32 nr;		       /* (r) */
	u16 owner;	       /* (c) cluster_owner() of whose current one it is; 0: nobody's */
	u16 next;	       /* (c) where its owner looks first */
	u16 taken;	       /* (c) bits of map */
	u16 used, cached, bad; /* (c) written; relaxed readers: sums */
	s32 largest;	       /* (c) order of the largest free run; of an owned one: not kept */
	u8 list;	       /* (l) index of lists, or one of the two above; relaxed under (c) */
	u64 *words; /* stored once, release; acquire. Words: written under (c), release if cached */
	struct list_head link;		      /* (l) */
	unsigned long map[CLUSTER_MAP_WORDS]; /* (c) a bit: the slot is not free */
} __cacheline;

/* Clusters come in groups of a frame (tests: less), made when the first of them is needed. */
#define CLUSTER_GROUP_BYTES (CLUSTER_ORDER > 6 ? PAGE_SIZE : 256ul)
#define CLUSTER_GROUP	    (CLUSTER_GROUP_BYTES / sizeof(struct swap_cluster))

/* ---- devices ---- */

#define SWAP_XFERS OCTAVO_SWAP_XFERS

struct swap_xfer {
	struct swap_io io;
	struct folio *folio;
	u64 state; /* (a) XFER_..., and the error */
};

struct swap_device {
	const struct swap_device_ops *ops; /* (r) */
	void *priv;			   /* (r) */
	unsigned long nr_slots;		   /* (r) */
	u32 nr_clusters;		   /* (r) */
	unsigned int type;		   /* (r) */
	int prio;			   /* (r) */
	u32 flags;			   /* (r) */
	u32 closing;			   /* (a) stored under (s) */
	u32 users; /* (a) who sleeps, or waits for a lock, in here without a slot */
	u64 write_errors, read_errors; /* (a) relaxed */
	u64 ahead, ahead_hits;	       /* (a) relaxed */

	__cacheline spinlock_t list_lock;
	u32 fresh;			       /* (l) clusters from here on were never used */
	u32 mask;			       /* (l) lists that are not empty; relaxed: a hint */
	struct list_head lists[CLUSTER_LISTS]; /* (l) */

	__cacheline u64 free_xfers; /* (a) a bit: not under way */
	struct swap_xfer xfer[SWAP_XFERS];

	struct swap_cluster **groups; /* each stored once, release; acquire */
};

/* A CPU's current clusters, one an order: type and number, or 0. (a) relaxed: a hint, the cluster's owner is the truth */
struct swap_cpu {
	u64 current[CLUSTER_ORDERS];
} __aligned(128);

#define CURRENT_TYPE_SHIFT 40

/* ---- finding them ---- */

/* In an RCU section, or while something of the device is in use. acquire: pairs with the release in swapon(). */
static inline struct swap_device *swap_device_of(unsigned int type)
{
	return type < MAX_SWAPFILES ? smp_load_acquire(&octavo_state.swap.dev[type]) : NULL;
}

/* Where cluster @nr is or will be; NULL: none of its group was ever used. */
static inline struct swap_cluster *swap_cluster_at(const struct swap_device *dev, u64 nr)
{
	/* acquire: pairs with the release in cluster_fresh(): it is set up */
	struct swap_cluster *group = smp_load_acquire(&dev->groups[nr / CLUSTER_GROUP]);

	return group ? group + nr % CLUSTER_GROUP : NULL;
}

/* Cluster @nr; NULL: there is none, or it was never used. For numbers that may be of a device before this one. */
static inline struct swap_cluster *cluster_made(const struct swap_device *dev, u32 nr)
{
	struct swap_cluster *c = nr < dev->nr_clusters ? swap_cluster_at(dev, nr) : NULL;

	/* acquire: pairs with the release in cluster_fresh() */
	return c && smp_load_acquire(&c->words) ? c : NULL;
}

/*
 * The word of a slot that somebody outside has named. NULL: there is none. Context: RCU, or the slot is in use.
 */
u64 *swap_word(swp_entry_t entry);

/* A slot in use that the caller may rely on: it has a count of the caller's, or is cached by a folio that it has locked. */
struct swap_ref {
	struct swap_device *dev;
	struct swap_cluster *c;
	u64 *word;	 /* the first */
	unsigned int at; /* in the cluster */
};
/* Nobody can have an entry of it. */
__noreturn __cold void swap_no_slot(unsigned int type, u64 slot);

static inline struct swap_ref __swap_ref(unsigned int type, u64 slot)
{
	struct swap_device *dev = swap_device_of(type);
	struct swap_ref r = { dev, NULL, NULL, slot % CLUSTER_SLOTS };
	u64 *words = NULL;

	if (likely(dev && slot < dev->nr_slots))
		r.c = swap_cluster_at(dev, slot / CLUSTER_SLOTS);
	/* acquire: pairs with the release in cluster_fresh() */
	if (likely(r.c))
		words = smp_load_acquire(&r.c->words);
	if (unlikely(!words))
		swap_no_slot(type, slot);
	r.word = words + r.at;
	return r;
}

static inline struct swap_ref swap_ref_of(swp_entry_t entry)
{
	return __swap_ref(swp_type(entry), swp_offset(entry));
}

/* Of a page of a folio in the cache. */
static inline struct swap_ref swap_ref_folio(const struct folio *folio, unsigned long idx)
{
	u64 at = READ_ONCE(folio->swap) + idx;

	return __swap_ref((unsigned int)(at >> FOLIO_SWAP_TYPE_SHIFT),
			  at & ((1ul << FOLIO_SWAP_TYPE_SHIFT) - 1));
}

static inline swp_entry_t cluster_entry(const struct swap_device *dev, const struct swap_cluster *c,
					unsigned int at)
{
	return swp_entry(dev->type, (u64)c->nr * CLUSTER_SLOTS + at);
}

/* ---- cluster.c ---- */

/* Slots [at, at + nr) are not in use any more: free, or bad. Lock held. Tells the device. */
void cluster_free(struct swap_device *dev, struct swap_cluster *c, unsigned int at,
		  unsigned int nr);
/*
 * The first one is made by swapon(): when memory is short enough to swap for the first time there may be none for it. Nobody
 * knows @dev yet. Return: 0, -ENOMEM.
 */
int cluster_first(struct swap_device *dev);
/* The largest order of which it has an aligned free run; -1: it is full. */
int cluster_largest(const struct swap_cluster *c);
/* The list that it belongs to by what is free in it. */
unsigned int cluster_list(const struct swap_cluster *c, int largest);

/* Gives back what words_alloc() made. */
void swap_words_free(void *p, size_t size);

/* ---- swapon.c ---- */

/*
 * Keep a device without having a slot of it in use: for who sleeps, or waits for a lock. NULL: there is none, or
 * (unless @closing) it is about to go.
 */
struct swap_device *swap_device_get(unsigned int type, bool closing);
void swap_device_put(struct swap_device *dev);

/* ---- cache.c ---- */

/* @folio names the slots, before the slots name it: the caller does that next, with the cluster's lock held. */
void cache_insert(struct folio *folio, swp_entry_t entry, u32 flags);

/* ---- io.c ---- */

/* All transfers are over, and nobody is at one. */
bool xfers_idle(struct swap_device *dev);

#endif /* MM_SWAP_INTERNAL_H */
