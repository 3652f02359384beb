/* SPDX-License-Identifier: MIT */
/*
 * litmus.c - tests of the checker's memory model, no core code: what C11 allows must be found, what
 * it forbids must not.
 */
#include <octavo/string.h>

#include "check.h"

static SHARED struct {
	u64 x __cacheline, y __cacheline;
	u64 r[4] __cacheline;
	u64 data;
	u32 sleepers;
} s;

/*
 * ---- store buffering: the core of "pin, then look again" against "clear, then look for pins" ----
 */

enum { SB_ACQ_REL, SB_SC_RMW, SB_SC, SB_FENCE, SB_RLX_SC, SB_ASYM, SB_ASYM_LIGHT, SB_HALF_FENCE };

static u64 sb_side(u64 *mine, u64 *other, bool heavy)
{
	switch (check_variant()) {
	case SB_ACQ_REL:
		fetch_add_acq_rel(mine, 1ul);
		return smp_load_acquire(other);
	case SB_SC_RMW:
		fetch_add_seq_cst(mine, 1ul);
		return smp_load_acquire(other);
	case SB_SC:
		fetch_add_seq_cst(mine, 1ul);
		return smp_load_seq_cst(other);
	case SB_FENCE:
		fetch_add_acq_rel(mine, 1ul);
		smp_mb();
		return READ_ONCE(*other);
	case SB_RLX_SC:
		WRITE_ONCE(*mine, 1ul);
		return smp_load_seq_cst(other);
	case SB_ASYM:
		WRITE_ONCE(*mine, 1ul);
		if (heavy)
			smp_mb_heavy();
		else
			smp_mb_light();
		return READ_ONCE(*other);
	case SB_ASYM_LIGHT:
		WRITE_ONCE(*mine, 1ul);
		smp_mb_light();
		return READ_ONCE(*other);
	default:
		WRITE_ONCE(*mine, 1ul);
		if (heavy)
			smp_mb();
		return READ_ONCE(*other);
	}
}

static void sb_one(void)
{
	s.r[0] = sb_side(&s.x, &s.y, false);
}

static void sb_two(void)
{
	s.r[1] = sb_side(&s.y, &s.x, true);
}

static void sb_done(void)
{
	CHECK(s.r[0] || s.r[1]);
}

#define SB(id, v, e, text)                                                                \
	SCENARIO(id) = { SCENARIO_NAME(id), .about = text, .threads = { sb_one, sb_two }, \
			 .finish = sb_done, .variant = v,  .expects = e }
SB(litmus_sb_acq_rel, SB_ACQ_REL, EXPECT_VIOLATION, "store buffering: acq_rel RMW, acquire load");
SB(litmus_sb_sc_rmw, SB_SC_RMW, EXPECT_VIOLATION, "store buffering: seq_cst RMW, acquire load");
SB(litmus_sb_sc, SB_SC, EXPECT_CLEAN, "store buffering: seq_cst RMW, seq_cst load");
SB(litmus_sb_fence, SB_FENCE, EXPECT_CLEAN, "store buffering: acq_rel RMW, fence, relaxed load");
SB(litmus_sb_rlx_sc, SB_RLX_SC, EXPECT_VIOLATION, "store buffering: relaxed store, seq_cst load");
SB(litmus_sb_asym, SB_ASYM, EXPECT_CLEAN, "store buffering: light fence against heavy fence");
SB(litmus_sb_asym_light, SB_ASYM_LIGHT, EXPECT_VIOLATION, "store buffering: two light fences");
SB(litmus_sb_half_fence, SB_HALF_FENCE, EXPECT_VIOLATION, "store buffering: one fence only");

/* ---- message passing ---- */

enum { MP_REL_ACQ, MP_RLX_ACQ, MP_REL_RLX, MP_FENCES, MP_REL_FENCE_ONLY };

static void mp_writer(void)
{
	switch (check_variant()) {
	case MP_REL_ACQ:
	case MP_REL_RLX:
		WRITE_ONCE(s.x, 1ul);
		smp_store_release(&s.y, 1ul);
		break;
	case MP_RLX_ACQ:
		WRITE_ONCE(s.x, 1ul);
		WRITE_ONCE(s.y, 1ul);
		break;
	default:
		WRITE_ONCE(s.x, 1ul);
		_A_FENCE(_A_RELEASE);
		WRITE_ONCE(s.y, 1ul);
	}
}

static void mp_reader(void)
{
	u64 y;

	if (check_variant() == MP_REL_ACQ || check_variant() == MP_RLX_ACQ)
		y = smp_load_acquire(&s.y);
	else
		y = READ_ONCE(s.y);
	if (check_variant() == MP_FENCES)
		_A_FENCE(_A_ACQUIRE);
	if (y)
		CHECK(READ_ONCE(s.x) == 1);
}

#define MP(id, v, e, text)                                                                      \
	SCENARIO(id) = { SCENARIO_NAME(id), .about = text, .threads = { mp_writer, mp_reader }, \
			 .variant = v, .expects = e }
MP(litmus_mp_rel_acq, MP_REL_ACQ, EXPECT_CLEAN, "message passing: release, acquire");
MP(litmus_mp_rlx_acq, MP_RLX_ACQ, EXPECT_VIOLATION, "message passing: relaxed, acquire");
MP(litmus_mp_rel_rlx, MP_REL_RLX, EXPECT_VIOLATION, "message passing: release, relaxed");
MP(litmus_mp_fences, MP_FENCES, EXPECT_CLEAN, "message passing: release and acquire fences");
MP(litmus_mp_fence_rel, MP_REL_FENCE_ONLY, EXPECT_VIOLATION,
   "message passing: only a release fence");

/* ---- message passing through a third thread's read-modify-write: the release sequence ---- */

static void rs_writer(void)
{
	WRITE_ONCE(s.x, 1ul);
	smp_store_release(&s.y, 1ul);
}

static void rs_rmw(void)
{
	if (check_variant() == 0)
		fetch_add_relaxed(&s.y, 1ul);
	else if (READ_ONCE(s.y) == 1)
		WRITE_ONCE(s.y, 2ul);
}

static void rs_reader(void)
{
	if (smp_load_acquire(&s.y) == 2)
		CHECK(READ_ONCE(s.x) == 1);
}

SCENARIO(litmus_release_sequence) = { SCENARIO_NAME(litmus_release_sequence),
				      .about = "a relaxed RMW continues a release sequence",
				      .threads = { rs_writer, rs_rmw, rs_reader } };
SCENARIO(litmus_release_broken) = { SCENARIO_NAME(litmus_release_broken),
				    .about = "a store of another thread ends a release sequence",
				    .threads = { rs_writer, rs_rmw, rs_reader }, .variant = 1,
				    .expects = EXPECT_VIOLATION };

/* ---- independent reads of independent writes ---- */

static u64 iriw_load(u64 *p)
{
	return check_variant() ? smp_load_seq_cst(p) : smp_load_acquire(p);
}

static void iriw_store(u64 *p)
{
	if (check_variant() == 1)
		smp_store_seq_cst(p, 1ul);
	else
		smp_store_release(p, 1ul);
}

static void iriw_x(void)
{
	iriw_store(&s.x);
}

static void iriw_y(void)
{
	iriw_store(&s.y);
}

static void iriw_xy(void)
{
	u64 x = iriw_load(&s.x), y = iriw_load(&s.y);

	s.r[0] = x && !y;
}

static void iriw_yx(void)
{
	u64 y = iriw_load(&s.y), x = iriw_load(&s.x);

	s.r[1] = y && !x;
}

static void iriw_done(void)
{
	CHECK(!(s.r[0] && s.r[1]));
}

#define IRIW(id, v, e, text)                                              \
	SCENARIO(id) = { SCENARIO_NAME(id),                               \
			 .about = text,                                   \
			 .threads = { iriw_x, iriw_y, iriw_xy, iriw_yx }, \
			 .finish = iriw_done,                             \
			 .variant = v,                                    \
			 .expects = e }
IRIW(litmus_iriw_acq, 0, EXPECT_VIOLATION, "IRIW with release and acquire: readers disagree");
IRIW(litmus_iriw_sc, 1, EXPECT_CLEAN, "IRIW with seq_cst accesses: readers agree");
IRIW(litmus_iriw_sc_loads, 2, EXPECT_VIOLATION, "IRIW with seq_cst loads of release stores");

/* ---- coherence ---- */

static void co_writer(void)
{
	WRITE_ONCE(s.x, 1ul);
	WRITE_ONCE(s.x, 2ul);
}

static void co_reader(void)
{
	u64 a = READ_ONCE(s.x), b = READ_ONCE(s.x);

	CHECK(b >= a);
}

SCENARIO(litmus_corr) = { SCENARIO_NAME(litmus_corr), .about = "coherence: loads never go back",
			  .threads = { co_writer, co_reader, co_reader }, .flags = SC_SYMMETRIC };

static void coww_one(void)
{
	WRITE_ONCE(s.x, 1ul);
	s.r[0] = READ_ONCE(s.x);
}

static void coww_two(void)
{
	WRITE_ONCE(s.x, 2ul);
	s.r[1] = READ_ONCE(s.x);
}

static void coww_done(void)
{
	/* each sees its own store or the other's after it: not both only the other's */
	CHECK(!(s.r[0] == 2 && s.r[1] == 1));
}

SCENARIO(litmus_coww) = { SCENARIO_NAME(litmus_coww),
			  .about = "coherence: a thread's own store is in its view",
			  .threads = { coww_one, coww_two }, .finish = coww_done };

static void atomic_add(void)
{
	fetch_add_relaxed(&s.x, 1ul);
}

static void atomic_done(void)
{
	CHECK(s.x == 3);
}

SCENARIO(litmus_rmw_atomic) = { SCENARIO_NAME(litmus_rmw_atomic),
				.about = "relaxed read-modify-writes lose nothing",
				.threads = { atomic_add, atomic_add, atomic_add },
				.finish = atomic_done, .flags = SC_SYMMETRIC };

/* ---- what this model leaves out ---- */

static void lb_one(void)
{
	s.r[0] = READ_ONCE(s.x);
	WRITE_ONCE(s.y, 1ul);
}

static void lb_two(void)
{
	s.r[1] = READ_ONCE(s.y);
	WRITE_ONCE(s.x, 1ul);
}

static void lb_done(void)
{
	CHECK(!(s.r[0] && s.r[1]));
}

SCENARIO(litmus_lb) = { SCENARIO_NAME(litmus_lb),
			.about = "load buffering: allowed by C11, not by this model",
			.threads = { lb_one, lb_two }, .finish = lb_done,
			.expects = EXPECT_NOT_FOUND };

static void ww_one(void)
{
	WRITE_ONCE(s.x, 1ul);
	WRITE_ONCE(s.y, 2ul);
}

static void ww_two(void)
{
	WRITE_ONCE(s.y, 1ul);
	WRITE_ONCE(s.x, 2ul);
}

static void ww_done(void)
{
	CHECK(!(s.x == 1 && s.y == 1));
}

SCENARIO(litmus_2p2w) = { SCENARIO_NAME(litmus_2p2w),
			  .about = "2+2W: allowed by C11, not by append-only modification order",
			  .threads = { ww_one, ww_two }, .finish = ww_done,
			  .expects = EXPECT_NOT_FOUND };

/* ---- plain accesses ---- */

enum { RACE_PUBLISHED, RACE_RELAXED, RACE_BOTH_STORE, RACE_READ_WRITE, RACE_MIXED, RACE_SC_FENCES };

static void race_one(void)
{
	switch (check_variant()) {
	case RACE_PUBLISHED:
		s.data = 5;
		smp_store_release(&s.x, 1ul);
		break;
	case RACE_RELAXED:
		s.data = 5;
		WRITE_ONCE(s.x, 1ul);
		break;
	case RACE_MIXED:
	case RACE_BOTH_STORE:
		s.data = 5;
		break;
	case RACE_READ_WRITE:
		s.r[0] = s.data;
		break;
	default:
		s.data = 5;
		smp_mb();
		s.r[0] = READ_ONCE(s.x);
		smp_mb();
	}
}

static void race_two(void)
{
	switch (check_variant()) {
	case RACE_PUBLISHED:
	case RACE_RELAXED:
		if (smp_load_acquire(&s.x))
			CHECK(s.data == 5);
		break;
	case RACE_MIXED:
		s.r[1] = READ_ONCE(s.data);
		break;
	case RACE_BOTH_STORE:
	case RACE_READ_WRITE:
		s.data = 6;
		break;
	default:
		smp_mb();
		s.r[1] = s.data;
	}
}

#define RACE(id, v, e, text)                                                                  \
	SCENARIO(id) = { SCENARIO_NAME(id), .about = text, .threads = { race_one, race_two }, \
			 .variant = v, .expects = e }
RACE(litmus_race_none, RACE_PUBLISHED, EXPECT_CLEAN, "plain data published by release and acquire");
RACE(litmus_race_relaxed, RACE_RELAXED, EXPECT_VIOLATION,
     "plain data published by a relaxed store");
RACE(litmus_race_stores, RACE_BOTH_STORE, EXPECT_VIOLATION, "two plain stores");
RACE(litmus_race_read, RACE_READ_WRITE, EXPECT_VIOLATION, "a plain load and a plain store");
RACE(litmus_race_mixed, RACE_MIXED, EXPECT_VIOLATION, "a plain store and an atomic load");
RACE(litmus_race_fences, RACE_SC_FENCES, EXPECT_VIOLATION, "fences alone order no plain accesses");

/* Many words in one access: each has its own history nevertheless. */
enum { RANGE_AT_ONCE, RANGE_PART, RANGE_APART, RANGE_WORDS = 12 };
static SHARED u64 range[RANGE_WORDS];

static void range_one(void)
{
	memset(range, 1, sizeof(range));
	if (check_variant() == RANGE_AT_ONCE)
		return;
	smp_store_release(&s.x, 1ul);
	/* not ordered with what the other does with this word */
	range[3] = 9;
}

static void range_two(void)
{
	u64 copy[RANGE_WORDS];

	switch (check_variant()) {
	case RANGE_AT_ONCE:
		range[5] = 2;
		break;
	case RANGE_PART:
		if (smp_load_acquire(&s.x))
			memcpy(copy, range, sizeof(copy));
		break;
	default:
		if (!smp_load_acquire(&s.x))
			return;
		memcpy(copy, &range[4], 8 * sizeof(*copy));
		CHECK(copy[0] == copy[7]);
		range[2] = 7;
	}
}

#define RANGE(id, v, e, text)                                                                   \
	SCENARIO(id) = { SCENARIO_NAME(id), .about = text, .threads = { range_one, range_two }, \
			 .variant = v, .expects = e }
RANGE(litmus_race_range, RANGE_AT_ONCE, EXPECT_VIOLATION, "a word is stored to while all are");
RANGE(litmus_race_part, RANGE_PART, EXPECT_VIOLATION,
      "all words are published, and one is stored to afterwards while all are copied");
RANGE(litmus_race_apart, RANGE_APART, EXPECT_CLEAN,
      "all words are published, and two use different ones of them");

/* An object is initialised plainly, used atomically, and the list of its stores knows both. */
static void init_one(void)
{
	s.data = 7;
	smp_store_release(&s.x, 1ul);
	fetch_add_relaxed(&s.data, 1ul);
}

static void init_two(void)
{
	if (smp_load_acquire(&s.x)) {
		u64 v = READ_ONCE(s.data);

		CHECK(v == 7 || v == 8);
		CHECK(fetch_add_relaxed(&s.data, 1ul) >= 7);
	}
}

static void init_done(void)
{
	CHECK(s.data == 8 || s.data == 9);
}

SCENARIO(litmus_plain_init) = { SCENARIO_NAME(litmus_plain_init),
				.about = "plain initialisation, then atomic use",
				.threads = { init_one, init_two }, .finish = init_done };

/* ---- waiting ---- */

static void wait_spin(void)
{
	while (!smp_load_acquire(&s.x))
		octavo_port_relax();
	CHECK(s.data == 1);
}

static void wait_set(void)
{
	s.data = 1;
	smp_store_release(&s.x, 1ul);
}

static void wait_nobody(void)
{
	if (READ_ONCE(s.y))
		smp_store_release(&s.x, 1ul);
}

SCENARIO(litmus_spin) = { SCENARIO_NAME(litmus_spin),
			  .about = "a spinning thread waits for the store it needs",
			  .threads = { wait_spin, wait_set, wait_spin } };
SCENARIO(litmus_livelock) = { SCENARIO_NAME(litmus_livelock),
			      .about = "everybody waits, nobody stores",
			      .threads = { wait_spin, wait_nobody }, .expects = EXPECT_VIOLATION };

static void sleep_lost(void)
{
	/* a broken sleeper: looks, then sleeps whatever has happened since */
	if (!READ_ONCE(s.sleepers))
		octavo_port_park(&s.sleepers, check_variant() ? READ_ONCE(s.sleepers) : 0);
}

static void sleep_wake(void)
{
	WRITE_ONCE(s.sleepers, 1u);
	octavo_port_unpark(&s.sleepers, true);
}

SCENARIO(litmus_park) = { SCENARIO_NAME(litmus_park),
			  .about = "park compares and sleeps in one step",
			  .threads = { sleep_lost, sleep_wake, sleep_lost } };
SCENARIO(litmus_park_lost) = { SCENARIO_NAME(litmus_park_lost),
			       .about = "a wake-up lost by looking twice",
			       .threads = { sleep_lost, sleep_wake }, .variant = 1,
			       .expects = EXPECT_VIOLATION };
