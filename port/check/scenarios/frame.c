/* SPDX-License-Identifier: MIT */
/*
 * frame.c - the frame allocator: neighbouring frames on two and three CPUs, a reservation that
 * changes hands, magazines against remote drains, isolation. Geometry is tiny: rows of 2 frames,
 * blocks of 4, trees of 8.
 */
#include <octavo/octavo.h>

#include "check.h"

static SHARED struct {
	unsigned long pfn[4];
	u64 owner[64]; /* who writes to a frame; plain: two owners of one frame are a race */
	long got[4];
	unsigned long kept[4];
} s;

/* Owns the run for a moment: any other owner of one of its frames races with this. */
static void use(long pfn, unsigned int order)
{
	for (unsigned long i = 0; i < 1ul << order; i++) {
		CHECK(READ_ONCE(pfn_to_page((unsigned long)pfn + i)->memdesc.v) == 0);
		s.owner[(unsigned long)pfn + i] = check_thread();
	}
}

static void alloc_free(unsigned int order)
{
	long pfn = frame_alloc(GFP_NOWAIT, order, NUMA_NO_NODE);

	if (pfn < 0)
		return;
	use(pfn, order);
	frame_free((unsigned long)pfn, order);
}

static void alloc_free_0(void)
{
	alloc_free(0);
}

static void alloc_free_1(void)
{
	alloc_free(1);
}

static void alloc_free_2(void)
{
	alloc_free(2);
}

/* Magazines are out of the way: what is tested is the trees. */
static void drained(void)
{
	for (unsigned int i = 0; i < 3; i++)
		frame_drain(i);
}

#define FRAME_SCENARIO(id, text, ...)                      \
	SCENARIO(id) = { SCENARIO_NAME(id),                \
			 .about = text,                    \
			 .frames = 16,                     \
			 .flags = SC_LEAKS | SC_SYMMETRIC, \
			 .valid = frame_validate,          \
			 .rows = "S3.23",                  \
			 __VA_ARGS__ }

FRAME_SCENARIO(frame_two, "allocate and free a frame on two CPUs", .setup = drained,
	       .threads = { alloc_free_0, alloc_free_0 });
FRAME_SCENARIO(frame_three, "allocate and free a frame on three CPUs", .setup = drained,
	       .threads = { alloc_free_0, alloc_free_0, alloc_free_0 });
FRAME_SCENARIO(frame_orders, "runs of 1, 2 and 4 frames on three CPUs", .setup = drained,
	       .stale = 1, .threads = { alloc_free_0, alloc_free_1, alloc_free_2 });

/* ---- the last frames: all three want the same tree, two of them get something ---- */

static void scarce(void)
{
	long pfn;

	/* leave two single frames and a pair */
	while (nr_free_pages() > 4 &&
	       (pfn = frame_alloc(GFP_NOWAIT | __GFP_MEMALLOC, 0, NUMA_NO_NODE)) >= 0)
		s.kept[0]++;
	drained();
}

SCENARIO(frame_scarce) = { SCENARIO_NAME(frame_scarce),
			   .about = "three CPUs want the last four frames",
			   .rows = "S3.23",
			   .frames = 24,
			   .setup = scarce,
			   .stale = 1,
			   .valid = frame_validate,
			   .flags = SC_SYMMETRIC,
			   .threads = { alloc_free_0, alloc_free_0, alloc_free_1 } };

/* ---- magazines against a remote drain ---- */

static void remote_drain(void)
{
	frame_drain(0);
}

static void filled(void)
{
	long pfn[2];

	for (u32 cpu = 0; cpu < 3; cpu += 2) {
		check_set_cpu(cpu);
		for (u32 i = 0; i < 2; i++)
			pfn[i] = frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE);
		for (u32 i = 0; i < 2; i++)
			frame_free((unsigned long)pfn[i], 0);
	}
}

static void free_two(void)
{
	long a = frame_alloc(GFP_NOWAIT, 0, NUMA_NO_NODE),
	     b = frame_alloc(GFP_NOWAIT, 0, NUMA_NO_NODE);

	if (a >= 0)
		use(a, 0);
	if (b >= 0)
		use(b, 0);
	if (a >= 0)
		frame_free((unsigned long)a, 0);
	if (b >= 0)
		frame_free((unsigned long)b, 0);
}

SCENARIO(frame_drain) = { SCENARIO_NAME(frame_drain),
			  .about = "a CPU's magazine against a drain by another, a third beside",
			  .frames = 16,
			  .setup = filled,
			  .stale = 1,
			  .valid = frame_validate,
			  .flags = SC_LEAKS,
			  .threads = { free_two, remote_drain, alloc_free_0 },
			  .roles = { "owner", "drain", "other" } };

/* ---- isolation: what is free in the block stays there ---- */

static void setup_isolate(void)
{
	filled();
	s.pfn[0] = 8;
}

static void isolator(void)
{
	s.got[1] = frame_isolate(8, 4);
	if (s.got[1])
		return;
	if (frame_range_used(8, 4) == 0) {
		/* ours, as if it were allocated: nobody else may write there */
		for (u32 i = 8; i < 12; i++)
			s.owner[i] = check_thread();
		s.kept[1] = 1;
	}
}

static void isolate_done(void)
{
	if (!s.got[1])
		frame_unisolate(8, 4);
}

SCENARIO(frame_isolate) = { SCENARIO_NAME(frame_isolate),
			    .about = "isolating a block against two that allocate and free",
			    .frames = 16,
			    .setup = setup_isolate,
			    .stale = 1,
			    .valid = frame_validate,
			    .flags = SC_LEAKS,
			    .threads = { alloc_free_0, isolator, alloc_free_1 },
			    .roles = { "user", "isolates", "user" },
			    .finish = isolate_done };

/* ---- the only free frames are those that another CPU gives back ---- */

static void setup_handover(void)
{
	long pfn = frame_alloc(GFP_KERNEL | __GFP_MEMALLOC, 1, NUMA_NO_NODE);

	/* two frames of one row, and nothing else is free */
	CHECK(pfn >= 0);
	s.pfn[0] = (unsigned long)pfn;
	s.pfn[1] = s.pfn[0] + 1;
	while ((pfn = frame_alloc(GFP_NOWAIT | __GFP_MEMALLOC | __GFP_NOWARN, 0, NUMA_NO_NODE)) >=
	       0)
		s.kept[0]++;
	drained();
}

/* Past the magazines: the others may have it. */
static void give(u32 i)
{
	use((long)s.pfn[i], 0);
	frame_free_bulk(0, 1, &s.pfn[i]);
}

static void gives_0(void)
{
	give(0);
}

static void gives_1(void)
{
	give(1);
}

static void takes(void)
{
	long pfn = frame_alloc(GFP_NOWAIT | __GFP_MEMALLOC | __GFP_NOWARN, 0, NUMA_NO_NODE);

	if (pfn < 0)
		return;
	CHECK((unsigned long)pfn == s.pfn[0] || (unsigned long)pfn == s.pfn[1]);
	use(pfn, 0);
	s.got[check_thread()] = pfn;
}

static void handover_done(void)
{
	CHECK(!s.got[1] || s.got[1] != s.got[2]);
}

SCENARIO(frame_handover) = { SCENARIO_NAME(frame_handover),
			     .about = "one frame is freed, two CPUs want it",
			     .rows = "S3.23",
			     .frames = 24,
			     .stale = 1,
			     .setup = setup_handover,
			     .valid = frame_validate,
			     .flags = SC_SYMMETRIC,
			     .threads = { gives_0, takes, takes },
			     .roles = { "gives", "takes", "takes" },
			     .finish = handover_done };

/*
 * A taker may be promised the one's frame and find the other's, whose counters do not say so yet:
 * what orders the frame's contents is the row alone.
 */
SCENARIO(frame_neighbours) = { SCENARIO_NAME(frame_neighbours),
			       .about = "two CPUs free the two frames of a row, one takes",
			       .rows = "S3.23",
			       .frames = 24,
			       .setup = setup_handover,
			       .valid = frame_validate,
			       .threads = { gives_0, gives_1, takes },
			       .roles = { "gives", "gives", "takes" } };

/*
 * ---- a whole block in use is freed in parts and taken whole again: each time its bits change
 * their meaning ----
 */

#define BLOCK_AT 8ul

static void setup_block(void)
{
	s.pfn[0] = BLOCK_AT;
	s.pfn[1] = BLOCK_AT + 1;
	s.pfn[2] = BLOCK_AT + 2;
	/* the tree's other block stays free: its counter refuses nobody */
	CHECK(frame_alloc_at(BLOCK_AT, OCTAVO_BLOCK_ORDER, 0) == 0);
	drained();
}

/* Past the magazines. */
static void gives_frames(void)
{
	use((long)s.pfn[0], 0);
	use((long)s.pfn[1], 0);
	frame_free_bulk(0, 1, &s.pfn[0]);
	frame_free_bulk(0, 1, &s.pfn[1]);
}

static void gives_rest(void)
{
	use((long)s.pfn[2], 1);
	frame_free_bulk(1, 1, &s.pfn[2]);
}

/* All of it, or one row; then back in the other way. */
static void takes_whole(void)
{
	if (frame_alloc_at(BLOCK_AT, OCTAVO_BLOCK_ORDER, 0) == 0) {
		use((long)BLOCK_AT, OCTAVO_BLOCK_ORDER);
		frame_free_bulk(0, 1, &s.pfn[0]);
		frame_free_bulk(0, 1, &s.pfn[1]);
		frame_free_bulk(1, 1, &s.pfn[2]);
	} else if (frame_alloc_at(BLOCK_AT + 2, 1, 0) == 0) {
		use((long)BLOCK_AT + 2, 1);
		frame_free_bulk(0, 1, &s.pfn[2]);
		s.kept[3] = s.pfn[2] + 1;
		frame_free_bulk(0, 1, &s.kept[3]);
	}
}

static void block_done(void)
{
	frame_drain_all();
	CHECK(frame_range_used(BLOCK_AT, 4) == 0);
	CHECK(frame_alloc_at(BLOCK_AT, OCTAVO_BLOCK_ORDER, 0) == 0);
	frame_free(BLOCK_AT, OCTAVO_BLOCK_ORDER);
}

SCENARIO(frame_polarity) = {
	SCENARIO_NAME(frame_polarity),
	.about = "a block is freed in parts by two, taken whole or in part by a third",
	.rows = "S3.23",
	.frames = 16,
	.stale = 1,
	.setup = setup_block,
	.valid = frame_validate,
	.flags = SC_LEAKS,
	.threads = { gives_frames, gives_rest, takes_whole },
	.roles = { "gives", "gives", "takes" },
	.finish = block_done
};
