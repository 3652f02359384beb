/* SPDX-License-Identifier: MIT */
/*
 * zpool.c - objects of a compressed pool: readers against compaction, migration of frames, and the end of spans.
 */
#include <octavo/octavo.h>

#include "check.h"

/* Three of these to a frame; each begins with its number. */
#define SIZE 1300u

static SHARED struct {
	struct zpool *pool;
	u64 a, b; /* handles */
	u64 mine[4];
	unsigned long pfn; /* of the frame that a is in */
	u64 bytes[SIZE / 8 + 1], buf[4][SIZE / 8 + 1];
} s;

static u64 store(u64 number)
{
	u64 handle = 0;

	s.bytes[0] = number;
	CHECK(zpool_store(s.pool, s.bytes, SIZE, GFP_KERNEL, &handle) == 0);
	return handle;
}

/* a and b in spans of their own, so that one of them may move to the other's. */
static void setup_sparse(void)
{
	u64 other[4];

	s.pool = zpool_create(0);
	CHECK(s.pool);
	s.a = store('a');
	other[0] = store(0);
	other[1] = store(0);
	s.b = store('b');
	other[2] = store(0);
	other[3] = store(0);
	for (u32 i = 0; i < 4; i++)
		zpool_free(s.pool, other[i]);
	CHECK(zpool_frames(s.pool) == 2);
}

/* Three spans with two of three objects each; a and b are in the one that compaction empties. */
static void setup_thirds(void)
{
	u64 other[3];

	s.pool = zpool_create(0);
	CHECK(s.pool);
	s.a = store('a');
	s.b = store('b');
	other[0] = store(0);
	s.mine[0] = store('m');
	s.mine[1] = store('m');
	other[1] = store(0);
	s.mine[2] = store('m');
	s.mine[3] = store('m');
	other[2] = store(0);
	for (u32 i = 3; i--;)
		zpool_free(s.pool, other[i]);
	CHECK(zpool_frames(s.pool) == 3);
}

/* The frame of a: the only one. */
static void setup_one(void)
{
	s.pool = zpool_create(0);
	CHECK(s.pool);
	s.a = store('a');
	s.pfn = virt_to_pfn(zpool_view(s.pool, s.a, NULL, NULL));
	zpool_unview(s.pool, s.a);
	CHECK(page_movable(pfn_to_page(s.pfn)));
}

static void read(u64 handle, u64 number)
{
	u32 size;
	const u64 *p = zpool_view(s.pool, handle, s.buf[check_thread()], &size);

	CHECK(size == SIZE && *p == number);
	zpool_unview(s.pool, handle);
}

static void read_a(void)
{
	read(s.a, 'a');
}

static void read_b(void)
{
	read(s.b, 'b');
}

static void compact(void)
{
	zpool_compact(s.pool);
}

static void free_a(void)
{
	zpool_free(s.pool, s.a);
	s.a = 0;
}

static void free_b(void)
{
	zpool_free(s.pool, s.b);
	s.b = 0;
}

/* Somebody else's bytes: a place of its own, or the one that is just getting free. */
static void store_one(void)
{
	u64 bytes[SIZE / 8 + 1] = { 'm' }, *handle = &s.mine[check_thread()];

	if (zpool_store(s.pool, bytes, SIZE, GFP_NOWAIT, handle))
		*handle = 0;
}

static void migrate(void)
{
	struct movable *mv = isolate_movable_page(pfn_to_page(s.pfn));

	if (mv && migrate_movable_page(mv, GFP_NOWAIT, NULL))
		putback_movable_page(mv);
}

static void isolate(void)
{
	struct movable *mv = isolate_movable_page(pfn_to_page(s.pfn));

	if (mv)
		putback_movable_page(mv);
}

static void pool_done(void)
{
	if (s.a)
		read(s.a, 'a');
	if (s.b)
		read(s.b, 'b');
	zpool_compact(s.pool);
	CHECK(zpool_validate(s.pool));
	for (u32 i = 0; i < 4; i++)
		if (s.mine[i]) {
			read(s.mine[i], 'm');
			zpool_free(s.pool, s.mine[i]);
		}
	if (s.a)
		zpool_free(s.pool, s.a);
	if (s.b)
		zpool_free(s.pool, s.b);
	CHECK(zpool_frames(s.pool) == 0);
}

#define POOL .frames = 64, .finish = pool_done
/* It is b that moves: its span lost an object last. */
SCENARIO(zpool_read_move) = { SCENARIO_NAME(zpool_read_move),
			      POOL,
			      .about = "two readers of an object that compaction moves",
			      .setup = setup_sparse,
			      .flags = SC_SYMMETRIC,
			      .threads = { read_b, compact, read_b },
			      .roles = { "reader", "compaction", "reader" } };
SCENARIO(zpool_free_move) = { SCENARIO_NAME(zpool_free_move),
			      POOL,
			      .about = "both objects freed while compaction would move one",
			      .setup = setup_sparse,
			      .stale = 1,
			      .threads = { free_a, compact, free_b },
			      .roles = { "free", "compaction", "free" } };
SCENARIO(zpool_free_apart) = {
	SCENARIO_NAME(zpool_free_apart),
	POOL,
	.about = "the objects of a span that compaction empties freed meanwhile",
	.setup = setup_thirds,
	.stale = 1,
	.threads = { free_a, compact, free_b },
	.roles = { "free", "compaction", "free" }
};
SCENARIO(zpool_store_move) = { SCENARIO_NAME(zpool_store_move),
			       POOL,
			       .about = "an object stored where compaction moves one that is read",
			       .setup = setup_sparse,
			       .stale = 1,
			       .threads = { store_one, compact, free_a },
			       .roles = { "store", "compaction", "free" } };
SCENARIO(zpool_store_last) = { SCENARIO_NAME(zpool_store_last),
			       POOL,
			       .about = "an object stored while the last one of a span is freed",
			       .setup = setup_one,
			       .threads = { store_one, free_a },
			       .roles = { "store", "free" } };
SCENARIO(zpool_migrate_read) = {
	SCENARIO_NAME(zpool_migrate_read),
	POOL,
	.about = "the frame of an object that is read, and beside which one is stored, migrates",
	.rows = "S3.15",
	.setup = setup_one,
	.stale = 1,
	.threads = { read_a, migrate, store_one },
	.roles = { "reader", "migration", "store" }
};
SCENARIO(zpool_migrate_free) = {
	SCENARIO_NAME(zpool_migrate_free),
	POOL,
	.about = "the last object of a frame freed while that migrates, or is put back",
	.rows = "S3.15",
	.setup = setup_one,
	.stale = 1,
	.threads = { free_a, migrate, compact },
	.roles = { "free", "migration", "compaction" }
};
SCENARIO(zpool_isolate_free) = { SCENARIO_NAME(zpool_isolate_free),
				 POOL,
				 .about = "a span dies while somebody has its frame",
				 .rows = "S3.15",
				 .setup = setup_one,
				 .stale = 1,
				 .threads = { free_a, isolate, store_one },
				 .roles = { "free", "isolates", "store" } };
