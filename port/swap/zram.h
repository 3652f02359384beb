/* SPDX-License-Identifier: MIT */
/*
 * zram.h - what zram.c, zram_codec.c and zram_back.c share.
 */
#ifndef OCTAVO_PORT_SWAP_ZRAM_H
#define OCTAVO_PORT_SWAP_ZRAM_H

#include <octavo/lock.h>
#include <octavo/zpool.h>
#include <pthread.h>

#include "swapdev_priv.h"

/*
 * An object larger than this has a frame of the pool to itself however it is compressed (5 in 4 frames is the best below
 * that), so the page is stored as it is and need not be decompressed.
 */
#define ZRAM_WORTH (PAGE_SIZE * 4 / 5)

/* ---- compressors ---- */

/* What one thread compresses and decompresses with. */
struct zram_ws {
	pthread_mutex_t lock;
	void *enc, *dec;
	u8 *out; /* PAGE_SIZE each: of compression, */
	u8 *in;	 /* of an object that is in two pieces */
};

struct zram_codec {
	const char *name;
	int min_level, max_level;
	bool (*open)(struct zram_ws *ws);
	void (*close)(struct zram_ws *ws);
	/* Return: bytes in ws->out, at most ZRAM_WORTH; 0: more than that. */
	u32 (*compress)(struct zram_ws *ws, int level, const void *page);
	/* Return: false: it is not a page. */
	bool (*decompress)(struct zram_ws *ws, const void *src, u32 size, void *page);
};

extern const struct zram_codec zram_codecs[NR_SWAPDEV_CODECS];

bool zram_ws_open(const struct zram_codec *codec, struct zram_ws *ws);
void zram_ws_close(const struct zram_codec *codec, struct zram_ws *ws);

/* ---- slots ---- */

enum zslot_kind {
	ZSLOT_EMPTY,
	ZSLOT_SAME,   /* value: the word */
	ZSLOT_OBJECT, /* value: handle */
	ZSLOT_BACKED, /* value: slot of the backing device */
};

/*
 * One slot, under the lock of its group. An object that is being written back says so: whoever takes it out of the slot meanwhile clears
 * that, and the copy is forgotten.
 */
struct zslot {
	u64 value;
	u8 kind;
	bool raw;     /* the object is the page as it was */
	bool leaving; /* it is being written back */
	u32 epoch;    /* when it was stored */
};

#define ZRAM_LOCKS	64u
#define ZRAM_LOCK_SHIFT 4 /* 16 neighbours have the same */

/* Transfers to the backing device. */
#define ZBACK_BATCH 32u

struct zback {
	struct swapdev *dev;  /* NULL: none */
	pthread_mutex_t lock; /* one at a time makes room */
	u8 *pages;	      /* ZBACK_BATCH of them; under that lock, as the next four */
	struct zram_ws ws;
	unsigned long cursor; /* where the search for old objects goes on */
	u32 target;	      /* epoch up to which they go */
	u32 oldest;	      /* of those that were passed since the search began anew */
	spinlock_t map_lock;  /* of the map; innermost */
	unsigned long *map;   /* a bit for a slot that is taken */
	unsigned long next;
	u64 bad; /* under map_lock */
};

struct zram {
	struct swapdev sd;
	struct zpool *pool;
	const struct zram_codec *codec;
	int level;
	struct zslot *slot;
	spinlock_t lock[ZRAM_LOCKS];
	struct zram_ws *ws; /* one for each CPU */
	u32 nr_ws;
	u32 epoch_shift;
	u64 total; /* bytes stored so far; atomic. Its upper bits are the epoch */
	struct zback back;
	struct swapdev_zram_stat stat; /* relaxed adds; frames is the pool's */
};

static inline struct zram *zram_of(struct swapdev *sd)
{
	return container_of(sd, struct zram, sd);
}

static inline spinlock_t *zram_lock_of(struct zram *z, unsigned long slot)
{
	return &z->lock[slot >> ZRAM_LOCK_SHIFT & (ZRAM_LOCKS - 1)];
}

static inline u32 zram_epoch(const struct zram *z)
{
	return (u32)(READ_ONCE(z->total) >> z->epoch_shift);
}

/* With the slot's lock: an object as a page. False: it is none any more (counted). */
bool zram_expand(struct zram *z, struct zram_ws *ws, u64 handle, void *page);
/* What a slot had, which it has no more: memory, or a slot of the backing device. Does not sleep. */
void zram_drop(struct zram *z, struct zslot old);

/* zram_back.c */
int zback_open(struct zram *z, struct swapdev *dev);
void zback_close(struct zram *z);
/* Put an object that found no room into the pool after all. Return: 0; -ENOSPC. Sleeps. */
int zback_store(struct zram *z, const void *src, u32 size, u64 *handle);
/* A page straight to the backing device. Return: 0; -ENOSPC, -EIO. Sleeps. */
int zback_write_page(struct zram *z, void *page, u64 *where);
void zback_release(struct zram *z, u64 where);
bool zback_validate(struct zram *z, u64 backed);

#define ZRAM_GFP (GFP_NOWAIT | __GFP_HIGH | __GFP_MEMALLOC)

#endif /* OCTAVO_PORT_SWAP_ZRAM_H */
