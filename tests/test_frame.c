/* SPDX-License-Identifier: MIT */
/*
 * test_frame.c - the frame allocator through its interface, one thread: against a naive model, at its limits, with every
 * fallible step failing. test_frame_zones.c has zones, nodes and watermarks, test_frame_smp.c what more threads do.
 */
#include "test.h"

#include <octavo/hwpoison.h>

#include "../mm/frame/lower.h"
#include "frame_machine.h"

static u64 seed;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static u64 below(u64 n)
{
	return rnd() % n;
}

static void boot(void)
{
	seed = 88172645463325252ull;
	boot_frames();
}

/* ---- the model: one byte a frame ---- */

static unsigned char model[FRAMES];
static u64 model_free;

static bool model_all(unsigned long pfn, unsigned long nr, bool taken)
{
	for (unsigned long p = pfn; p < pfn + nr; p++)
		if (!!model[p] != taken)
			return false;
	return true;
}

static void model_set(unsigned long pfn, unsigned long nr, bool taken)
{
	assert_true(model_all(pfn, nr, !taken));
	memset(model + pfn, taken, nr);
	model_free += taken ? -nr : nr;
}

/* The allocator says of every frame, and in sum, what the model says; exact when drained. */
static void compare(void)
{
	assert_true(octavo_validate());
	assert_int_equal(nr_free_pages(), model_free);
	frame_drain_all();
	for (unsigned long p = 0; p < FRAMES; p++)
		if (frame_is_free(p) == !!model[p])
			fail_msg("pfn 0x%lx", p);
	assert_int_equal(frame_range_used(0, FRAMES), FRAMES - model_free);
}

/* A random aligned run of which every frame is taken, -1 after some tries. */
static long some_taken(unsigned int *order)
{
	for (int turn = 0; turn < 50; turn++) {
		unsigned int o = (unsigned int)below(OCTAVO_BLOCK_ORDER + 3);
		unsigned long p = ALIGN_DOWN(below(FRAMES), 1ul << o);

		if (p + (1ul << o) <= FRAMES && model_all(p, 1ul << o, true)) {
			*order = o;
			return (long)p;
		}
	}
	return -1;
}

static const gfp_t kinds[] = { TAKE_ALL, TAKE_ALL | __GFP_MOVABLE, TAKE_ALL | __GFP_RECLAIMABLE };

static void step_alloc(void)
{
	unsigned int o = (unsigned int)below(below(4) ? 6 : OCTAVO_TREE_ORDER + 3);
	long pfn;

	sim_set_cpu((unsigned int)below(2));
	pfn = frame_alloc(kinds[below(3)], o, NUMA_NO_NODE);
	if (pfn >= 0) {
		assert_int_equal(pfn & ((1l << o) - 1), 0);
		model_set((unsigned long)pfn, 1ul << o, true);
		return;
	}
	/* refused: then there really is no such run */
	assert_int_equal(pfn, -ENOMEM);
	for (unsigned long p = 0; p + (1ul << o) <= FRAMES; p += 1ul << o)
		assert_false(model_all(p, 1ul << o, false));
}

static void step_free(void)
{
	unsigned int o;
	long pfn = some_taken(&o);

	if (pfn < 0)
		return;
	sim_set_cpu((unsigned int)below(2));
	model_set((unsigned long)pfn, 1ul << o, false);
	frame_free((unsigned long)pfn, o);
}

static void step_at(void)
{
	unsigned int o = (unsigned int)below(OCTAVO_TREE_ORDER + 2);
	unsigned long pfn = ALIGN_DOWN(below(FRAMES), 1ul << o);
	int err;

	if (pfn + (1ul << o) > FRAMES)
		return;
	err = frame_alloc_at(pfn, o, 0);
	assert_int_equal(err, model_all(pfn, 1ul << o, false) ? 0 : -EBUSY);
	if (!err)
		model_set(pfn, 1ul << o, true);
}

static void step_contig(void)
{
	unsigned long start = below(FRAMES), nr = 1 + below(below(2) ? TREE * 3 : 70);
	int err;

	if (start + nr > FRAMES)
		return;
	err = alloc_contig_range(start, start + nr);
	assert_int_equal(err, model_all(start, nr, false) ? 0 : -EBUSY);
	if (!err)
		model_set(start, nr, true);
	else if (model_all(start, nr, true)) {
		model_set(start, nr, false);
		free_contig_range(start, nr);
	}
}

static void step_bulk(void)
{
	static unsigned long pfns[300];
	unsigned int o = (unsigned int)below(4);
	unsigned long want = below(300), n;

	n = frame_alloc_bulk(kinds[below(3)], o, NUMA_NO_NODE, want, pfns);
	assert_true(n <= want);
	for (unsigned long i = 0; i < n; i++)
		model_set(pfns[i], 1ul << o, true);
	if (below(2))
		return;
	for (unsigned long i = 0; i < n; i++)
		model_set(pfns[i], 1ul << o, false);
	frame_free_bulk(o, n, pfns);
}

static void test_frame_agrees_with_a_model_after_every_step(void **state)
{
	boot();
	memset(model, 0, sizeof(model));
	model_free = FRAMES;
	for (int i = 0; i < 3000; i++) {
		/* fill, then empty, then fill ... */
		u64 what = below(20), full = i / 500 % 2;

		if (what < (full ? 5 : 11))
			step_alloc();
		else if (what < 16)
			step_free();
		else if (what < 17)
			step_at();
		else if (what < 18)
			step_contig();
		else
			step_bulk();
		assert_int_equal(nr_free_pages(), model_free);
		if (FRAMES < 1000 || i % 100 == 0)
			compare();
	}
	compare();
	for (unsigned long p = 0; p < FRAMES; p++)
		if (model[p])
			frame_free(p, 0);
	shutdown_clean();
}

/* ---- every order, and its edges ---- */

COVERS("S1.41");
static void test_frame_every_order_is_aligned_exclusive_and_exhaustible(void **state)
{
	static unsigned long got[FRAMES];

	for (unsigned int o = 0; o <= MAX_FOLIO_ORDER && 1ul << o <= FRAMES; o++) {
		unsigned long n = 0;
		long pfn;

		boot();
		memset(model, 0, sizeof(model));
		model_free = FRAMES;
		while ((pfn = frame_alloc(TAKE_ALL, o, NUMA_NO_NODE)) >= 0) {
			assert_int_equal(pfn & ((1l << o) - 1), 0);
			model_set((unsigned long)pfn, 1ul << o, true);
			got[n++] = (unsigned long)pfn;
		}
		/* the last frame has been had */
		assert_int_equal(pfn, -ENOMEM);
		assert_int_equal(n, FRAMES >> o);
		assert_int_equal(nr_free_pages(), 0);
		assert_true(octavo_validate());
		/* free one, get that one */
		frame_free(got[n / 2], o);
		assert_int_equal(frame_alloc(TAKE_ALL, o, NUMA_NO_NODE), got[n / 2]);
		/* and again from the other CPU, out of the first one's magazine */
		frame_free(got[n / 3], o);
		sim_set_cpu(1);
		assert_int_equal(frame_alloc(TAKE_ALL, o, NUMA_NO_NODE), got[n / 3]);
		for (unsigned long i = 0; i < n; i++)
			frame_free(got[i], o);
		sim_set_cpu(0);
		assert_int_equal(nr_free_pages(), FRAMES);
		/* nothing stuck: the largest run can be had */
		pfn = frame_alloc(TAKE_ALL, (unsigned int)min(ilog2(FRAMES), MAX_FOLIO_ORDER),
				  NUMA_NO_NODE);
		assert_true(pfn >= 0);
		frame_free((unsigned long)pfn, (unsigned int)min(ilog2(FRAMES), MAX_FOLIO_ORDER));
		shutdown_clean();
	}
}

static void test_frame_refuses_what_makes_no_sense(void **state)
{
	boot();
	assert_int_equal(frame_alloc(GFP_KERNEL, MAX_FOLIO_ORDER + 1, 0), -EINVAL);
	assert_int_equal(frame_alloc(GFP_KERNEL, 0, OCTAVO_NR_NODES), -EINVAL);
	assert_int_equal(frame_alloc(GFP_KERNEL, 0, -2), -EINVAL);
	assert_int_equal(frame_alloc_bulk(GFP_KERNEL, MAX_FOLIO_ORDER + 1, 0, 1, NULL), 0);
	assert_int_equal(frame_alloc_at(1, 1, 0), -EINVAL);
	assert_int_equal(frame_alloc_at(0, MAX_FOLIO_ORDER + 1, 0), -EINVAL);
	assert_int_equal(frame_alloc_at(FRAMES, 0, 0), -ENXIO);
	assert_int_equal(frame_alloc_at(~0ul, 0, 0), -ENXIO);
	assert_int_equal(alloc_contig_range(5, 5), -EINVAL);
	assert_int_equal(alloc_contig_range(5, 4), -EINVAL);
	assert_int_equal(alloc_contig_range(FRAMES - 1, FRAMES + 1), -ENXIO);
	assert_int_equal(frame_isolate(1, BLOCK), -EINVAL);
	assert_int_equal(frame_isolate(0, BLOCK + 1), -EINVAL);
	assert_int_equal(frame_isolate(0, 0), -EINVAL);
	assert_int_equal(frame_isolate(FRAMES, BLOCK), -ENXIO);
	assert_false(frame_is_free(FRAMES));
	assert_false(frame_is_free(~0ul));
	assert_int_equal(nr_free_pages(), FRAMES);
	shutdown_clean();
}

static void test_frame_part_of_a_run_can_be_freed_in_any_order(void **state)
{
	unsigned int top = OCTAVO_TREE_ORDER + 1;

	/* a whole run given back in pieces of each smaller order, from both ends inwards */
	for (unsigned int o = 0; o <= top; o++) {
		unsigned long n = 1ul << (top - o);
		long pfn;

		boot();
		pfn = frame_alloc(TAKE_ALL, top, NUMA_NO_NODE);
		assert_true(pfn >= 0);
		for (unsigned long i = 0; i < n; i++) {
			unsigned long k = i % 2 ? n - 1 - i / 2 : i / 2;

			frame_free((unsigned long)pfn + (k << o), o);
			assert_int_equal(nr_free_pages(), FRAMES - (1ul << top) + ((i + 1) << o));
		}
		assert_true(octavo_validate());
		/* and taken in pieces of that order, given back as a whole */
		for (unsigned long i = 0; i < n; i++)
			assert_int_equal(frame_alloc_at((unsigned long)pfn + (i << o), o, 0), 0);
		frame_free((unsigned long)pfn, top);
		shutdown_clean();
	}
}

static void test_frame_freed_part_of_a_block_is_allocated_again(void **state)
{
	boot();
	assert_int_equal(alloc_contig_range(0, FRAMES), 0);
	frame_free(BLOCK + 1, 0);
	frame_drain_all();
	assert_int_equal(frame_alloc(TAKE_ALL, 0, NUMA_NO_NODE), BLOCK + 1);
	assert_int_equal(frame_alloc(TAKE_ALL, 0, NUMA_NO_NODE), -ENOMEM);
	free_contig_range(0, FRAMES);
	shutdown_clean();
}

/* ---- misuse ---- */

static void free_twice(void *arg)
{
	unsigned int o = *(unsigned int *)arg;
	unsigned long pfn = (unsigned long)frame_alloc(GFP_KERNEL, o, NUMA_NO_NODE);

	/* a neighbour keeps the counters from giving it away */
	frame_alloc(GFP_KERNEL, o, NUMA_NO_NODE);
	frame_free(pfn, o);
	frame_free(pfn, o);
}

static void free_twice_drained(void *arg)
{
	unsigned int o = *(unsigned int *)arg;
	unsigned long pfn = (unsigned long)frame_alloc(GFP_KERNEL, o, NUMA_NO_NODE);

	frame_alloc(GFP_KERNEL, o, NUMA_NO_NODE);
	frame_free(pfn, o);
	frame_drain_all();
	frame_free(pfn, o);
}

static void free_twice_apart(void *arg)
{
	unsigned long a = (unsigned long)frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE);
	unsigned long b = (unsigned long)frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE);

	frame_free(a, 0);
	frame_free(b, 0);
	frame_free(a, 0);
	frame_drain_all();
}

static void free_bulk_twice(void *arg)
{
	unsigned long pfns[2];

	frame_alloc_bulk(GFP_KERNEL, 0, NUMA_NO_NODE, 2, pfns);
	pfns[1] = pfns[0];
	frame_free_bulk(0, 2, pfns);
}

static void free_word(void *arg)
{
	unsigned long pfn = (unsigned long)frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE);

	WRITE_ONCE(pfn_to_page(pfn)->memdesc.v, memdesc_misc(MISC_DRIVER, 0, 1).v);
	frame_free(pfn, 0);
}

static void free_misaligned(void *arg)
{
	frame_free(1, 1);
}

static void free_nowhere(void *arg)
{
	frame_free(FRAMES + TREE, 0);
}

static void unisolate_twice(void *arg)
{
	frame_isolate(0, BLOCK);
	frame_unisolate(0, BLOCK);
	frame_unisolate(0, BLOCK);
}

static void test_frame_misuse_is_fatal_in_every_build(void **state)
{
	for (unsigned int o = 0; o <= OCTAVO_TREE_ORDER; o++) {
		boot();
		expect_panic(free_twice, &o, "");
		boot();
		expect_panic(free_twice_drained, &o, "");
	}
	boot();
	expect_panic(free_twice_apart, NULL, "free of a frame that is free");
	boot();
	expect_panic(free_bulk_twice, NULL, "free of a frame that is free");
	boot();
	expect_panic(free_word, NULL, "not FREE");
	boot();
	expect_panic(free_misaligned, NULL, "no run of frames");
	boot();
	expect_panic(free_nowhere, NULL, "frame_free");
	boot();
	expect_panic(unisolate_twice, NULL, "not isolated");
}

/* ---- placement ---- */

static void test_frame_alloc_at_finds_what_magazines_hold(void **state)
{
	long pfn;

	boot();
	for (u32 cpu = 0; cpu < 2; cpu++) {
		sim_set_cpu(cpu);
		pfn = frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE);
		assert_true(pfn >= 0);
		frame_free((unsigned long)pfn, 0);
		sim_set_cpu(!cpu);
		assert_int_equal(frame_alloc_at((unsigned long)pfn, 0, 0), 0);
		assert_int_equal(frame_alloc_at((unsigned long)pfn, 0, 0), -EBUSY);
		frame_free((unsigned long)pfn, 0);
	}
	sim_set_cpu(0);
	shutdown_clean();
}

static void test_frame_isolation_keeps_free_frames_in(void **state)
{
	unsigned long used = 0, one = BLOCK + 3;
	struct zone_stat st;
	long pfn;

	boot();
	/* two frames of the block in use, one of them freed while isolated */
	assert_int_equal(frame_alloc_at(one, 0, 0), 0);
	assert_int_equal(frame_alloc_at(one - 1, 0, 0), 0);
	assert_int_equal(frame_isolate(BLOCK, 2 * BLOCK), 0);
	assert_int_equal(frame_isolate(2 * BLOCK, BLOCK), -EBUSY);
	assert_int_equal(frame_isolate(0, 2 * BLOCK), -EBUSY);
	assert_int_equal(frame_range_used(BLOCK, 2 * BLOCK), 2);
	/* what is not there is not free, and costs no time, in ranges that wrap too */
	assert_int_equal(frame_range_used(~0ul, 2), 2);
	assert_int_equal(frame_range_used(BLOCK, ~0ul),
			 ~0ul - (octavo_state.frame.max_pfn - BLOCK - 2));
	frame_free(one, 0);
	assert_int_equal(frame_range_used(BLOCK, 2 * BLOCK), 1);
	assert_int_equal(zone_stat(0, pfn_zone(0), &st), 0);
	assert_int_equal(st.isolated, 2 * BLOCK - 1);
	assert_int_equal(st.free, FRAMES - 1);
	assert_true(octavo_validate());
	/* everything else can be had, and nothing of it */
	while ((pfn = frame_alloc(TAKE_ALL, 0, NUMA_NO_NODE)) >= 0) {
		assert_false((unsigned long)pfn >= BLOCK && (unsigned long)pfn < 3 * BLOCK);
		used++;
	}
	assert_int_equal(used, FRAMES - 2 * BLOCK);
	assert_int_equal(frame_alloc_at(one, 0, 0), -EBUSY);
	assert_int_equal(frame_alloc_at(2 * BLOCK, OCTAVO_BLOCK_ORDER, 0), -EBUSY);
	assert_int_equal(alloc_contig_range(2 * BLOCK, 3 * BLOCK), -EBUSY);
	assert_int_equal(frame_alloc_at(one, 0, FRAME_AT_ISOLATED), 0);
	assert_int_equal(frame_alloc_at(2 * BLOCK, OCTAVO_BLOCK_ORDER, FRAME_AT_ISOLATED), 0);
	assert_true(octavo_validate());
	frame_free(2 * BLOCK, OCTAVO_BLOCK_ORDER);
	frame_unisolate(BLOCK, 2 * BLOCK);
	assert_true(octavo_validate());
	pfn = frame_alloc(TAKE_ALL, 0, NUMA_NO_NODE);
	assert_true((unsigned long)pfn >= BLOCK && (unsigned long)pfn < 3 * BLOCK);
	frame_free((unsigned long)pfn, 0);
	frame_drain_all();
	for (unsigned long p = 0; p < FRAMES; p++)
		if (!frame_is_free(p))
			frame_free(p, 0);
	shutdown_clean();
}

static void test_frame_isolated_magazine_frames_come_home(void **state)
{
	unsigned long n = 0, pfns[8];

	boot();
	n = frame_alloc_bulk(GFP_KERNEL, 0, NUMA_NO_NODE, 4, pfns);
	assert_int_equal(n, 4);
	for (unsigned long i = 0; i < n; i++) {
		sim_set_cpu(i % 2);
		frame_free(pfns[i], 0);
	}
	sim_set_cpu(0);
	assert_int_equal(frame_isolate(0, FRAMES), 0);
	assert_int_equal(frame_range_used(0, FRAMES), 0);
	assert_int_equal(frame_alloc(TAKE_ALL, 0, NUMA_NO_NODE), -ENOMEM);
	assert_int_equal(frame_alloc(TAKE_ALL, OCTAVO_TREE_ORDER, NUMA_NO_NODE), -ENOMEM);
	frame_unisolate(0, FRAMES);
	shutdown_clean();
}

/* ---- hints ---- */

static void test_frame_wrong_hints_hide_nothing_for_good(void **state)
{
	struct zone *z;
	long pfn;

	boot();
	z = octavo_state.frame.zone[0][pfn_zone(0)];
	/* searchers too late: somebody gave while they noted that there is nothing */
	summary_note(0, SUMMARY_FULL);
	summary_note(0, SUMMARY_BLOCK);
	assert_true(octavo_validate());
	/* rovers far too high, and one frame, or one block, at the very bottom */
	for (unsigned int o = 0; o <= OCTAVO_BLOCK_ORDER; o += OCTAVO_BLOCK_ORDER) {
		assert_int_equal(alloc_contig_range(1ul << o, FRAMES), 0);
		memset(z->rover, 0xff, sizeof(z->rover));
		z->rover_any = ~0ul;
		pfn = frame_alloc(TAKE_ALL, o, NUMA_NO_NODE);
		assert_int_equal(pfn, 0);
		free_contig_range(0, FRAMES);
	}
	shutdown_clean();
}

/* ---- grouping ---- */

static void test_frame_migratetypes_do_not_share_trees_while_there_is_room(void **state)
{
	static unsigned char type_of[FRAMES / (1ul << OCTAVO_TREE_ORDER)];
	unsigned long each = FRAMES / 8;

	boot();
	memset(type_of, 0xff, sizeof(type_of));
	for (unsigned long i = 0; i < each; i++)
		for (unsigned char mt = 0; mt < MIGRATE_TYPES; mt++) {
			long pfn = frame_alloc(kinds[mt], 0, NUMA_NO_NODE);
			unsigned char *t = &type_of[(unsigned long)pfn >> OCTAVO_TREE_ORDER];

			assert_true(*t == 0xff || *t == mt);
			*t = mt;
		}
	frame_drain_all();
	for (unsigned long p = 0; p < FRAMES; p++)
		if (!frame_is_free(p))
			frame_free(p, 0);
	shutdown_clean();
}

/* ---- failing at step k ---- */

#if OCTAVO_FAULTS
static u64 hash_books(void)
{
	u64 h = 0;

	frame_drain_all();
	for (unsigned long p = 0; p < FRAMES; p++)
		h = h * 31 + frame_is_free(p);
	return h;
}

/* Fragment memory so that searches have something to step over. */
static unsigned long holes(unsigned long *pfns)
{
	unsigned long n = 0;

	for (unsigned long p = 0; p < FRAMES / 2; p += 1 + below(3 * BLOCK / 4))
		if (!frame_alloc_at(p, 0, 0))
			pfns[n++] = p;
	return n;
}

static void fault_alloc(unsigned int o, int mode)
{
	u64 before = hash_books();

	for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
	{
		long pfn = frame_alloc(TAKE_ALL, o, NUMA_NO_NODE);

		hit = octavo_fault_disarm();
		assert_true(octavo_validate());
		if (pfn >= 0)
			frame_free((unsigned long)pfn, o);
		else
			assert_int_equal(pfn, -ENOMEM);
		assert_true(hash_books() == before);
	}
}

static void fault_at(unsigned long pfn, unsigned long nr, int mode)
{
	u64 before = hash_books();

	for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
	{
		int err = alloc_contig_range(pfn, pfn + nr);

		hit = octavo_fault_disarm();
		assert_true(octavo_validate());
		if (!err)
			free_contig_range(pfn, nr);
		else
			assert_int_equal(err, -EBUSY);
		assert_true(hash_books() == before);
	}
}

static void fault_free(unsigned int o, int mode)
{
	u64 before = hash_books();

	for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
	{
		long pfn;

		octavo_fault_disarm();
		pfn = frame_alloc(TAKE_ALL, o, NUMA_NO_NODE);
		assert_true(pfn >= 0);
		octavo_fault_arm(k, mode, OCTAVO_FAULT_ALL);
		frame_free((unsigned long)pfn, o);
		hit = octavo_fault_disarm();
		assert_true(octavo_validate());
		assert_true(hash_books() == before);
	}
}

static void fault_isolate(int mode)
{
	u64 before = hash_books();

	for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
	{
		int err = frame_isolate(0, 2 * TREE);

		hit = octavo_fault_disarm();
		assert_true(octavo_validate());
		if (!err)
			frame_unisolate(0, 2 * TREE);
		else
			assert_int_equal(err, -EBUSY);
		assert_true(hash_books() == before);
	}
}

static void fault_bulk(int mode)
{
	static unsigned long pfns[200];
	u64 before = hash_books();

	for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
	{
		unsigned long n = frame_alloc_bulk(TAKE_ALL, 1, NUMA_NO_NODE, 20, pfns);

		hit = octavo_fault_disarm();
		assert_true(octavo_validate());
		frame_free_bulk(1, n, pfns);
		assert_true(hash_books() == before);
	}
}
#endif

COVERS("SX.8");
static void test_frame_every_step_that_fails_is_undone(void **state)
{
#if OCTAVO_FAULTS
	static unsigned long pfns[FRAMES];
	unsigned long n;

	boot();
	for (int round = 0; round < 2; round++) {
		n = round ? holes(pfns) : 0;
		for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
			for (unsigned int o = 0; o <= OCTAVO_TREE_ORDER + 1; o++) {
				fault_alloc(o, mode);
				fault_free(o, mode);
			}
			fault_at(FRAMES / 2 + 1, 3, mode);
			fault_at(FRAMES / 2 + BLOCK - 1, 2 * BLOCK + 2, mode);
			fault_at(FRAMES / 2 + TREE + 1, 2 * TREE, mode);
			fault_isolate(mode);
			fault_bulk(mode);
		}
		frame_free_bulk(0, n, pfns);
	}
	shutdown_clean();
	assert_true(fault_cases > 300);
#endif
}

/* ---- poison ---- */

static void test_frame_poisoned_frames_are_kept_out(void **state)
{
	unsigned long bad = 3 * BLOCK + 1;
	unsigned long n = 0;
	long pfn;

	boot();
	/* poisoned while part of a run in use: kept when it is freed, the rest is free */
	assert_int_equal(frame_alloc_at(3 * BLOCK, OCTAVO_BLOCK_ORDER, 0), 0);
	assert_int_equal(poison_insert(bad), 0);
	frame_free(3 * BLOCK, OCTAVO_BLOCK_ORDER);
	assert_int_equal(nr_free_pages(), FRAMES - 1);
	assert_int_equal(READ_ONCE(pfn_to_page(bad)->memdesc.v), MEMDESC_HWPOISON);
	assert_true(octavo_validate());
	/* poisoned while free, nobody told the allocator: kept when it comes out of it */
	assert_int_equal(poison_insert(1), 0);
	while ((pfn = frame_alloc(TAKE_ALL, 0, NUMA_NO_NODE)) >= 0) {
		assert_true(pfn != 1 && (unsigned long)pfn != bad);
		n++;
	}
	assert_int_equal(n, FRAMES - 2);
	assert_int_equal(READ_ONCE(pfn_to_page(1)->memdesc.v), MEMDESC_HWPOISON);
	for (unsigned long p = 0; p < FRAMES; p++)
		if (p != 1 && p != bad)
			frame_free(p, 0);
	assert_int_equal(frame_alloc_at(1, 0, 0), -EBUSY);
	assert_int_equal(nr_free_pages(), FRAMES - 2);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame_agrees_with_a_model_after_every_step),
		cmocka_unit_test(test_frame_every_order_is_aligned_exclusive_and_exhaustible),
		cmocka_unit_test(test_frame_refuses_what_makes_no_sense),
		cmocka_unit_test(test_frame_part_of_a_run_can_be_freed_in_any_order),
		cmocka_unit_test(test_frame_freed_part_of_a_block_is_allocated_again),
		cmocka_unit_test(test_frame_misuse_is_fatal_in_every_build),
		cmocka_unit_test(test_frame_alloc_at_finds_what_magazines_hold),
		cmocka_unit_test(test_frame_isolation_keeps_free_frames_in),
		cmocka_unit_test(test_frame_isolated_magazine_frames_come_home),
		cmocka_unit_test(test_frame_wrong_hints_hide_nothing_for_good),
		cmocka_unit_test(test_frame_migratetypes_do_not_share_trees_while_there_is_room),
		cmocka_unit_test(test_frame_every_step_that_fails_is_undone),
		cmocka_unit_test(test_frame_poisoned_frames_are_kept_out),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
