/* SPDX-License-Identifier: MIT */
/*
 * zram.c - a swap device in compressed memory.
 *
 * Each page of a transfer is compressed by itself, and is then one of three things in the table of slots: a word that is
 * repeated all over the page, which needs no memory beside the table; an object of a pool (zpool.h); or, when the pool
 * is full, a slot of a backing device (zram_back.c). A page that does not compress by a fifth is an object as it is.
 *
 * The caller has a slot to himself while he writes or discards it; the lock of a slot is there for the write-back, which takes
 * objects from under everybody. It is held while a page is decompressed, not while one is compressed.
 */
#include <errno.h>
#include <octavo/state.h>
#include <stdlib.h>
#include <string.h>

#include "zram.h"

/* ---- one slot ---- */

static struct zslot zslot_swap(struct zram *z, unsigned long slot, struct zslot new)
{
	struct zslot old;

	spin_lock(zram_lock_of(z, slot));
	old = z->slot[slot];
	z->slot[slot] = new;
	spin_unlock(zram_lock_of(z, slot));
	return old;
}

void zram_drop(struct zram *z, struct zslot old)
{
	switch ((enum zslot_kind)old.kind) {
	case ZSLOT_EMPTY:
		break;
	case ZSLOT_SAME:
		STAT_ADD(z->stat.same, -1);
		break;
	case ZSLOT_OBJECT:
		zpool_free(z->pool, old.value);
		STAT_ADD(z->stat.objects, -1);
		if (old.raw)
			STAT_ADD(z->stat.raw, -1);
		break;
	case ZSLOT_BACKED:
		zback_release(z, old.value);
		STAT_ADD(z->stat.backed, -1);
		break;
	}
}

static void zram_forget(struct zram *z, unsigned long slot, u32 nr)
{
	for (unsigned long i = slot; i < slot + nr; i++)
		zram_drop(z, zslot_swap(z, i, (struct zslot){ .kind = ZSLOT_EMPTY }));
}

bool zram_expand(struct zram *z, struct zram_ws *ws, u64 handle, void *page)
{
	u32 size;
	const void *p = zpool_view(z->pool, handle, ws->in, &size);
	bool ok = true;

	if (size == PAGE_SIZE)
		memcpy(page, p, PAGE_SIZE);
	else
		ok = z->codec->decompress(ws, p, size, page);
	zpool_unview(z->pool, handle);
	if (unlikely(!ok))
		STAT_ADD(z->stat.corrupt, 1);
	return ok;
}

/* ---- workspaces ---- */

static struct zram_ws *zram_ws_get(struct zram *z)
{
	u32 mine = octavo_port_cpu() % z->nr_ws;

	/* the caller may be a thread that shares its CPU's number with another for a moment */
	for (u32 i = 0; i < z->nr_ws; i++) {
		struct zram_ws *ws = &z->ws[(mine + i) % z->nr_ws];

		if (likely(pthread_mutex_trylock(&ws->lock) == 0))
			return ws;
	}
	pthread_mutex_lock(&z->ws[mine].lock);
	return &z->ws[mine];
}

static void zram_ws_put(struct zram_ws *ws)
{
	pthread_mutex_unlock(&ws->lock);
}

/* ---- writing ---- */

/* Eight bytes, all over the page? The ends tell most pages from such. */
static bool page_is_same(const u64 *word, u64 *value)
{
	*value = word[0];
	return word[1] == word[0] && word[PAGE_SIZE / sizeof(u64) - 1] == word[0] &&
	       !memcmp(word, word + 1, PAGE_SIZE - sizeof(u64));
}

static int zram_make_object(struct zram *z, struct zram_ws *ws, void *page, struct zslot *new)
{
	u32 size = z->codec->compress(ws, z->level, page);
	const void *src = ws->out;
	int err;

	*new = (struct zslot){ .kind = ZSLOT_OBJECT, .raw = !size };
	if (new->raw) {
		src = page;
		size = PAGE_SIZE;
	}
	err = zpool_store(z->pool, src, size, ZRAM_GFP, &new->value);
	if (unlikely(err))
		err = zback_store(z, src, size, &new->value);
	if (likely(!err)) {
		STAT_ADD(z->total, size);
		new->epoch = zram_epoch(z);
		STAT_ADD(z->stat.objects, 1);
		if (new->raw)
			STAT_ADD(z->stat.raw, 1);
		return 0;
	}
	/* not even with everything old away: it can only go there itself */
	*new = (struct zslot){ .kind = ZSLOT_BACKED };
	err = zback_write_page(z, page, &new->value);
	if (!err)
		STAT_ADD(z->stat.backed, 1);
	return err;
}

static int zram_write_page(struct zram *z, struct zram_ws *ws, unsigned long slot, void *page)
{
	struct zslot new = { .kind = ZSLOT_SAME };
	int err;

	if (page_is_same(page, &new.value)) {
		STAT_ADD(z->stat.same, 1);
	} else {
		err = zram_make_object(z, ws, page, &new);
		if (err)
			return err;
	}
	zslot_swap(z, slot, new);
	return 0;
}

static int zram_write(struct zram *z, struct zram_ws *ws, const struct swap_io *io)
{
	int err = 0;

	/* first, so that they do not need room beside their successors */
	zram_forget(z, io->slot, io->nr);
	for (u32 i = 0; i < io->nr && !err; i++)
		err = zram_write_page(z, ws, io->slot + i, (char *)io->addr + i * PAGE_SIZE);
	if (err) {
		STAT_ADD(z->stat.full, 1);
		zram_forget(z, io->slot, io->nr);
	}
	return err;
}

/* ---- reading ---- */

static void page_fill(char *page, u64 value)
{
	memcpy(page, &value, sizeof(value));
	for (u32 n = sizeof(value); n < PAGE_SIZE; n *= 2)
		memcpy(page + n, page, n);
}

/* One slot, if it is in memory. Return: what it has; *@err set unless that is on the backing device. */
static struct zslot zram_read_page(struct zram *z, struct zram_ws *ws, unsigned long slot,
				   void *page, int *err)
{
	struct zslot has;

	spin_lock(zram_lock_of(z, slot));
	has = z->slot[slot];
	*err = 0;
	if (has.kind == ZSLOT_EMPTY)
		*err = -EIO;
	else if (has.kind == ZSLOT_SAME)
		page_fill(page, has.value);
	else if (has.kind == ZSLOT_OBJECT && !zram_expand(z, ws, has.value, page))
		*err = -EIO;
	spin_unlock(zram_lock_of(z, slot));
	return has;
}

static int zram_read(struct zram *z, struct zram_ws *ws, const struct swap_io *io)
{
	u64 from = 0; /* slots of the backing device that lie together as these pages do */
	u32 nr = 0;
	int err = 0;

	for (u32 i = 0; i < io->nr && !err; i++) {
		char *page = (char *)io->addr + i * PAGE_SIZE;
		struct zslot has = zram_read_page(z, ws, io->slot + i, page, &err);
		bool backed = has.kind == ZSLOT_BACKED;

		if (nr && (!backed || has.value != from + nr)) {
			err = err
				      ?: swapdev_transfer(z->back.dev, SWAP_READ, from, nr,
							  page - nr * PAGE_SIZE);
			nr = 0;
		}
		if (backed) {
			from = nr ? from : has.value;
			nr++;
		}
	}
	if (nr && !err)
		err = swapdev_transfer(z->back.dev, SWAP_READ, from, nr,
				       (char *)io->addr + (io->nr - nr) * PAGE_SIZE);
	return err;
}

/* ---- the device ---- */

static void zram_submit(struct swapdev *sd, struct swap_io *io)
{
	struct zram *z = zram_of(sd);
	struct zram_ws *ws = zram_ws_get(z);
	int err = io->op == SWAP_READ ? zram_read(z, ws, io) : zram_write(z, ws, io);

	zram_ws_put(ws);
	swap_io_done(io, err);
}

static void zram_discard(struct swapdev *sd, unsigned long slot, u32 nr)
{
	zram_forget(zram_of(sd), slot, nr);
}

/* Does any slot have contents? Context: nobody uses the device. */
static bool zram_has_any(const struct zram *z)
{
	return READ_ONCE(z->stat.same) || READ_ONCE(z->stat.objects) || READ_ONCE(z->stat.backed);
}

static void zram_free(struct swapdev *sd)
{
	struct zram *z = zram_of(sd);

	/* of a large device little may ever have been touched */
	for (unsigned long i = 0; z->slot && i < sd->nr_slots && zram_has_any(z); i++)
		zram_drop(z, z->slot[i]);
	swapdev_unmap(z->slot, sd->nr_slots * sizeof(*z->slot));
	zback_close(z);
	for (u32 i = 0; z->ws && i < z->nr_ws; i++)
		zram_ws_close(z->codec, &z->ws[i]);
	free(z->ws);
	zpool_destroy(z->pool);
	free(z);
}

static const struct swapdev_ops zram_ops = {
	.submit = zram_submit,
	.discard = zram_discard,
	.free = zram_free,
};

static int zram_setup(struct zram *z, const struct swapdev_zram_args *args)
{
	z->pool = zpool_create(args->limit / PAGE_SIZE);
	z->slot = swapdev_map(z->sd.nr_slots * sizeof(*z->slot));
	z->nr_ws = octavo_state.frame.nr_cpus;
	z->ws = calloc(z->nr_ws, sizeof(*z->ws));
	if (!z->pool || !z->slot || !z->ws)
		return -ENOMEM;
	for (u32 i = 0; i < z->nr_ws; i++)
		if (!zram_ws_open(z->codec, &z->ws[i]))
			return -ENOMEM;
	return zback_open(z, args->backing);
}

static int zram_check(const struct swapdev_zram_args *args)
{
	const char *wrong = NULL;

	if (args->bytes < 2 * PAGE_SIZE)
		wrong = "has to have two pages at least";
	else if (args->limit && args->limit < PAGE_SIZE)
		wrong = "a limit of less than a page";
	else if ((u32)args->codec >= NR_SWAPDEV_CODECS)
		wrong = "no such compressor";
	else if (args->level && (args->level < zram_codecs[args->codec].min_level ||
				 args->level > zram_codecs[args->codec].max_level))
		wrong = "no such level of compression";
	if (!wrong)
		return 0;
	pr_err("swap in compressed memory: %s", wrong);
	return -EINVAL;
}

int swapdev_zram_create(const struct swapdev_zram_args *args, struct swapdev **sd)
{
	int err = zram_check(args);
	struct zram *z;

	if (err)
		return err;
	z = calloc(1, sizeof(*z));
	if (!z)
		return -ENOMEM;
	z->sd.ops = &zram_ops;
	z->sd.nr_slots = args->bytes / PAGE_SIZE;
	z->sd.flags = SWAP_FLAG_SYNC;
	z->codec = &zram_codecs[args->codec];
	z->level = args->level;
	/* a sixteenth of what there is room for */
	z->epoch_shift = (u32)ilog2(args->limit ? max(args->limit / 16, PAGE_SIZE) : 16ul << 20);
	err = zram_setup(z, args);
	if (err) {
		pr_err("swap in compressed memory: %s",
		       err == -EBUSY ? "the backing device is in use" : "no memory for its tables");
		zram_free(&z->sd);
		return err;
	}
	*sd = &z->sd;
	return 0;
}

/* ---- what there is ---- */

void swapdev_zram_stat(struct swapdev *sd, struct swapdev_zram_stat *st)
{
	struct zram *z = zram_of(sd);
	struct zpool_stat pool;

	BUG_ON(sd->ops != &zram_ops);
	zpool_stat(z->pool, &pool);
	*st = (struct swapdev_zram_stat){
		.same = READ_ONCE(z->stat.same),
		.objects = READ_ONCE(z->stat.objects),
		.raw = READ_ONCE(z->stat.raw),
		.backed = READ_ONCE(z->stat.backed),
		.bytes = pool.bytes,
		.frames = pool.frames,
		.written_back = READ_ONCE(z->stat.written_back),
		.full = READ_ONCE(z->stat.full),
		.corrupt = READ_ONCE(z->stat.corrupt),
	};
	spin_lock(&z->back.map_lock);
	st->back_bad = z->back.bad;
	spin_unlock(&z->back.map_lock);
}

bool swapdev_zram_validate(struct swapdev *sd)
{
	struct zram *z = zram_of(sd);
	u64 n[ZSLOT_BACKED + 1] = { 0 }, raw = 0;
	struct swapdev_zram_stat st;
	struct zpool_stat pool;
	bool ok = true;

	swapdev_zram_stat(sd, &st);
	zpool_stat(z->pool, &pool);
	for (unsigned long i = 0; i < sd->nr_slots; i++) {
		n[z->slot[i].kind]++;
		raw += z->slot[i].raw;
		ok &= !z->slot[i].leaving;
	}
	if (!ok || n[ZSLOT_SAME] != st.same || n[ZSLOT_OBJECT] != st.objects || raw != st.raw ||
	    n[ZSLOT_BACKED] != st.backed || pool.objects != st.objects) {
		pr_err("swap in compressed memory: %lu, %lu, %lu, %lu slots that are same, "
		       "objects, raw, backed, counted %lu, %lu, %lu, %lu",
		       n[ZSLOT_SAME], n[ZSLOT_OBJECT], raw, n[ZSLOT_BACKED], st.same, st.objects,
		       st.raw, st.backed);
		ok = false;
	}
	ok &= zback_validate(z, n[ZSLOT_BACKED]);
	return ok & zpool_validate(z->pool);
}
