/* SPDX-License-Identifier: MIT */
/*
 * test_frame_smp.c - the frame allocator with several CPUs at once; and, in the tiny geometry, every short sequence
 * of operations on two trees.
 */
#include "test.h"

#include <octavo/hwpoison.h>

#define BLOCK  (1ul << OCTAVO_BLOCK_ORDER)
#define TREE   (1ul << OCTAVO_TREE_ORDER)
#define MIB    (OCTAVO_TREE_ORDER > 6 ? 64u : 1u)
#define FRAMES ((unsigned long)MIB << (20 - PAGE_SHIFT))
#define CPUS   3
#define TURNS  (OCTAVO_DEBUG ? 20000 : 60000)

static u64 rnd(u64 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Who has a frame: 0 nobody, else CPU + 1. Whoever gets one it finds taken has found a bug. */
static unsigned char owner[FRAMES];

static void own(unsigned long pfn, unsigned long nr, unsigned int cpu)
{
	for (unsigned long p = pfn; p < pfn + nr; p++)
		if (__atomic_exchange_n(&owner[p], (unsigned char)(cpu + 1), __ATOMIC_RELAXED))
			octavo_panic("pfn 0x%lx was handed out twice", p);
}

static void disown(unsigned long pfn, unsigned long nr)
{
	for (unsigned long p = pfn; p < pfn + nr; p++)
		if (!__atomic_exchange_n(&owner[p], (unsigned char)0, __ATOMIC_RELAXED))
			octavo_panic("pfn 0x%lx was nobody's", p);
}

/* Runs on their way from one CPU to another: (pfn + 1) << 8 | order, 0: empty. */
static u64 post[64];

static void give_back(u64 run)
{
	unsigned long pfn = (unsigned long)(run >> 8) - 1;

	disown(pfn, 1ul << (run & 0xff));
	frame_free(pfn, run & 0xff);
}

static void post_run(unsigned long pfn, unsigned int order, u64 *s)
{
	u64 old = __atomic_exchange_n(&post[rnd(s) % ARRAY_SIZE(post)], (u64)(pfn + 1) << 8 | order,
				      __ATOMIC_ACQ_REL);

	if (!old)
		return;
	/* as it is, or in two halves */
	if ((old & 0xff) && rnd(s) % 4 == 0) {
		old--;
		give_back(old);
		old += (1ull << (old & 0xff)) << 8;
	}
	give_back(old);
}

static void churn(unsigned int cpu, void *arg)
{
	static const gfp_t kinds[] = { GFP_NOWAIT, GFP_KERNEL | __GFP_MEMALLOC,
				       GFP_NOWAIT | __GFP_MOVABLE, GFP_NOWAIT | __GFP_RECLAIMABLE };
	u64 s = 88172645463325252ull + cpu * 7919;

	for (int i = 0; i < TURNS; i++) {
		unsigned int o =
			(unsigned int)(rnd(&s) % (rnd(&s) % 8 ? 5 : OCTAVO_TREE_ORDER + 2));
		unsigned long at = ALIGN_DOWN(rnd(&s) % FRAMES, 1ul << o);
		long pfn;

		if (i % 16 == 15 && at + (1ul << o) <= FRAMES)
			pfn = frame_alloc_at(at, o, 0) ? -1 : (long)at;
		else
			pfn = frame_alloc(kinds[rnd(&s) % 4], o, NUMA_NO_NODE);
		if (pfn >= 0) {
			own((unsigned long)pfn, 1ul << o, cpu);
			post_run((unsigned long)pfn, o, &s);
		} else {
			/* room again */
			u64 old = __atomic_exchange_n(&post[rnd(&s) % ARRAY_SIZE(post)], 0ull,
						      __ATOMIC_ACQ_REL);

			if (old)
				give_back(old);
		}
	}
}

static void churn_and_disturb(unsigned int cpu, void *arg)
{
	u64 s = 123456789;

	if (cpu < CPUS - 1) {
		churn(cpu, arg);
		return;
	}
	for (int i = 0; i < TURNS / 100; i++) {
		unsigned long nr = BLOCK * (1 + rnd(&s) % 12);
		unsigned long pfn = ALIGN_DOWN(rnd(&s) % (FRAMES - nr), BLOCK);
		unsigned long used, again;

		if (frame_isolate(pfn, nr))
			octavo_panic("nobody else isolates");
		/* from here on it can only get less */
		used = frame_range_used(pfn, nr);
		octavo_port_relax();
		again = frame_range_used(pfn, nr);
		if (again > used)
			octavo_panic("%lu frames were taken out of isolation", again - used);
		if (!again && !frame_alloc_at(pfn, OCTAVO_BLOCK_ORDER, FRAME_AT_ISOLATED)) {
			own(pfn, BLOCK, cpu);
			disown(pfn, BLOCK);
			frame_free(pfn, OCTAVO_BLOCK_ORDER);
		}
		frame_unisolate(pfn, nr);
		if (!alloc_contig_range(pfn + 1, pfn + nr - 1)) {
			own(pfn + 1, nr - 2, cpu);
			disown(pfn + 1, nr - 2);
			free_contig_range(pfn + 1, nr - 2);
		}
		frame_drain((unsigned int)(rnd(&s) % CPUS));
	}
}

static void bulk(unsigned int cpu, void *arg)
{
	unsigned long pfns[150];
	u64 s = 42 + cpu;

	for (int i = 0; i < TURNS / 50; i++) {
		unsigned int o = (unsigned int)(rnd(&s) % 3);
		unsigned long n =
			frame_alloc_bulk(GFP_NOWAIT, o, NUMA_NO_NODE, 1 + rnd(&s) % 150, pfns);

		for (unsigned long k = 0; k < n; k++)
			own(pfns[k], 1ul << o, cpu);
		for (unsigned long k = 0; k < n; k++)
			disown(pfns[k], 1ul << o);
		frame_free_bulk(o, n, pfns);
	}
}

static void run_on_all(void (*fn)(unsigned int cpu, void *arg))
{
	memset(owner, 0, sizeof(owner));
	memset(post, 0, sizeof(post));
	sim_reset();
	boot_small(MIB, CPUS);
	sim_run(CPUS, false, fn, NULL);
	for (unsigned int i = 0; i < ARRAY_SIZE(post); i++)
		if (post[i])
			give_back(post[i]);
	assert_true(octavo_validate());
	assert_int_equal(nr_free_pages(), FRAMES);
	frame_drain_all();
	assert_int_equal(frame_range_used(0, FRAMES), 0);
	shutdown_clean();
}

static void test_frame_smp_no_frame_has_two_owners(void **state)
{
	run_on_all(churn);
}

static void test_frame_smp_isolation_and_ranges_beside_churn(void **state)
{
	run_on_all(churn_and_disturb);
}

static void test_frame_smp_bulk(void **state)
{
	run_on_all(bulk);
}

/* ---- poison beside everything ---- */

static void poison_some(unsigned int cpu, void *arg)
{
	if (cpu) {
		churn(cpu, arg);
		return;
	}
	for (unsigned long i = 0; i < 8; i++) {
		if (poison_insert(i * (FRAMES / 8) + 5))
			octavo_panic("the set is full");
		smp_mb_heavy();
		for (int k = 0; k < 300; k++)
			octavo_port_relax();
	}
}

static void test_frame_smp_poisoned_frames_end_up_outside(void **state)
{
	memset(owner, 0, sizeof(owner));
	memset(post, 0, sizeof(post));
	sim_reset();
	boot_small(MIB, CPUS);
	sim_run(CPUS, false, poison_some, NULL);
	for (unsigned int i = 0; i < ARRAY_SIZE(post); i++)
		if (post[i])
			give_back(post[i]);
	/* the allocator learns of the rest as it hands them out */
	frame_drain_all();
	while (frame_alloc(GFP_KERNEL | __GFP_MEMALLOC, 0, NUMA_NO_NODE) >= 0)
		;
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(READ_ONCE(pfn_to_page(i * (FRAMES / 8) + 5)->memdesc.v),
				 MEMDESC_HWPOISON);
	assert_true(octavo_validate());
	assert_int_equal(sim_shutdown(), FRAMES - 8);
}

/* ---- every short sequence ---- */

#if OCTAVO_TREE_ORDER == 3
#ifdef OCTAVO_TSAN /* one thread, and every access costs twenty */
enum { ROOM = 16, DEPTH = 4 };
#else
enum { ROOM = 16, DEPTH = 5 };
#endif

static struct {
	unsigned long base; /* of the two trees that are not held */
	char *meta;	    /* all there is of the machine, besides octavo_state */
	size_t bytes;
	u64 sequences;
} small;

struct model {
	unsigned char used[ROOM];
	unsigned char run[ROOM], order[ROOM], nr; /* what is allocated */
};

static bool model_has_run(const struct model *m, unsigned int o)
{
	for (unsigned int p = 0; p < ROOM; p += 1u << o) {
		bool free = true;

		for (unsigned int k = p; k < p + (1u << o); k++)
			free &= !m->used[k];
		if (free)
			return true;
	}
	return false;
}

static void model_take(struct model *m, unsigned long pfn, unsigned int o)
{
	assert_true(pfn >= small.base && pfn + (1ul << o) <= small.base + ROOM);
	assert_int_equal(pfn & ((1ul << o) - 1), 0);
	for (unsigned long p = pfn - small.base; p < pfn - small.base + (1ul << o); p++) {
		assert_false(m->used[p]);
		m->used[p] = 1;
	}
	m->run[m->nr] = (unsigned char)(pfn - small.base);
	m->order[m->nr++] = (unsigned char)o;
}

static void model_free(struct model *m, unsigned int i)
{
	memset(m->used + m->run[i], 0, 1u << m->order[i]);
	m->run[i] = m->run[--m->nr];
	m->order[i] = m->order[m->nr];
}

/* Operation @op of a state; false: there is no such one. */
static bool apply(struct model *m, unsigned int op)
{
	unsigned int o, i;
	long pfn;

	if (op < 10) {
		/* from one CPU or the other, alternating types */
		o = op / 2;
		sim_set_cpu(op % 2);
		pfn = frame_alloc(GFP_KERNEL | __GFP_MEMALLOC | (op % 2 ? __GFP_MOVABLE : 0), o,
				  NUMA_NO_NODE);
		if (pfn >= 0)
			model_take(m, (unsigned long)pfn, o);
		else
			assert_false(model_has_run(m, o));
		return true;
	}
	i = (op - 10) / 3;
	if (i >= m->nr)
		return false;
	sim_set_cpu(0);
	o = m->order[i];
	pfn = (long)(small.base + m->run[i]);
	switch ((op - 10) % 3) {
	case 0:
		frame_free((unsigned long)pfn, o);
		model_free(m, i);
		return true;
	case 1:
		/* the upper half only */
		if (!o)
			return false;
		m->order[i]--;
		frame_free((unsigned long)pfn + (1ul << (o - 1)), o - 1);
		memset(m->used + m->run[i] + (1u << (o - 1)), 0, 1u << (o - 1));
		return true;
	default:
		/* free it and take its lower half back at once, at that place */
		if (!o)
			return false;
		frame_free((unsigned long)pfn, o);
		model_free(m, i);
		assert_int_equal(frame_alloc_at((unsigned long)pfn, o - 1, 0), 0);
		model_take(m, (unsigned long)pfn, o - 1);
		return true;
	}
}

static void explore(const struct model *m, unsigned int depth)
{
	struct octavo_state state;
	char *meta = malloc(small.bytes);

	assert_non_null(meta);
	memcpy(&state, &octavo_state, sizeof(state));
	memcpy(meta, small.meta, small.bytes);
	for (unsigned int op = 0; op < 10 + 3u * m->nr; op++) {
		struct model next = *m;
		u64 used = 0;

		if (!apply(&next, op))
			continue;
		for (unsigned int i = 0; i < ROOM; i++)
			used += next.used[i];
		if (nr_free_pages() != ROOM - used)
			fail_msg("operation %u", op);
		if (depth > 1)
			explore(&next, depth - 1);
		else if (small.sequences++ % 8 == 0)
			assert_true(octavo_validate());
		memcpy(&octavo_state, &state, sizeof(state));
		memcpy(small.meta, meta, small.bytes);
	}
	free(meta);
}
#endif

static void test_frame_smp_every_short_sequence_on_two_trees(void **state)
{
#if OCTAVO_TREE_ORDER == 3
	struct sim_config cfg = { .bytes = 1 << 20, .cpus = 2, .carve = true };
	struct frame_state *f = &octavo_state.frame;
	struct model m = { 0 };

	sim_reset();
	assert_int_equal(sim_boot(&cfg), 0);
	small.meta = pfn_to_virt(f->meta_first);
	small.bytes = f->meta_frames << PAGE_SHIFT;
	for (small.base = 0; frame_range_used(small.base, ROOM); small.base += ROOM)
		;
	for (unsigned long p = 0; p < 256; p++)
		if (p < small.base || p >= small.base + ROOM)
			frame_alloc_at(p, 0, 0);
	frame_drain_all();
	assert_int_equal(nr_free_pages(), ROOM);
	explore(&m, DEPTH);
	assert_true(small.sequences > (DEPTH < 5 ? 20000 : 300000));
	sim_reset();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame_smp_no_frame_has_two_owners),
		cmocka_unit_test(test_frame_smp_isolation_and_ranges_beside_churn),
		cmocka_unit_test(test_frame_smp_bulk),
		cmocka_unit_test(test_frame_smp_poisoned_frames_end_up_outside),
		cmocka_unit_test(test_frame_smp_every_short_sequence_on_two_trees),
	};

	return cmocka_run_group_tests_name("frame_smp", tests, NULL, NULL);
}
