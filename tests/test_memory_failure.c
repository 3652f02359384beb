/* SPDX-License-Identifier: MIT */
/*
 * test_memory_failure.c - a bad frame is never handed out again, whoever has it when it goes bad. What
 * memory_failure() answers for each type at rest is in test_matrix.c.
 */
#include "test.h"

#define MIB 32
/* Runs to try */
#define MAX_RUN ((unsigned int)min(9, MAX_FOLIO_ORDER))

static int boot(void **state)
{
	boot_small(MIB, 3);
	return 0;
}

static int down(void **state)
{
	octavo_set_hooks(NULL);
	if (octavo_state.up)
		shutdown_clean();
	return 0;
}

static enum memdesc_type type_of(unsigned long pfn)
{
	return memdesc_type(page_memdesc(pfn_to_page(pfn)));
}

static unsigned long get_frame(void)
{
	long pfn = frame_alloc(GFP_KERNEL, 0, NUMA_NO_NODE);

	assert_true(pfn >= 0);
	return (unsigned long)pfn;
}

/* The first frame at or after @pfn that is free. */
static unsigned long free_from(unsigned long pfn)
{
	while (!frame_is_free(pfn))
		pfn++;
	return pfn;
}

/* Take everything there is in runs of @order; none may be, or have, one that is poisoned. */
static void check_all_allocations(unsigned int order)
{
	unsigned long most = (unsigned long)MIB << (20 - PAGE_SHIFT), n = 0;
	unsigned long *pfns = malloc(most * sizeof(*pfns));

	assert_non_null(pfns);
	for (;;) {
		long pfn = frame_alloc(GFP_NOWAIT | __GFP_MEMALLOC, order, NUMA_NO_NODE);

		if (pfn < 0)
			break;
		pfns[n++] = (unsigned long)pfn;
		if (pfn_poisoned_in((unsigned long)pfn, 1ul << order) != ~0ul)
			fail_msg("order %u: pfn 0x%lx has a bad frame", order, (unsigned long)pfn);
	}
	assert_true(n > 0);
	while (n--)
		frame_free(pfns[n], order);
	free(pfns);
}

static void check_never_again(void)
{
	for (unsigned int order = 0; order <= MAX_RUN; order++)
		check_all_allocations(order);
	assert_true(octavo_validate());
}

static void forget(unsigned long pfn)
{
	assert_int_equal(unpoison_memory(pfn), 0);
	assert_int_equal(type_of(pfn), MEMDESC_FREE);
}

static void test_memory_failure_of_free_frames(void **state)
{
	unsigned long end = (unsigned long)MIB << (20 - PAGE_SHIFT), bad[5], free_before;

	/* first, inside and last of the memory, one that is in this CPU's magazine, and its neighbour */
	bad[3] = get_frame();
	bad[4] = get_frame();
	bad[0] = free_from(0);
	bad[1] = free_from(end / 2 + 3);
	bad[2] = end - 1;
	while (!frame_is_free(bad[2]))
		bad[2]--;
	frame_free(bad[3], 0);
	frame_free(bad[4], 0);
	free_before = nr_free_pages();
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(memory_failure(bad[i]), MF_RECOVERED);
		assert_int_equal(type_of(bad[i]), MEMDESC_HWPOISON);
	}
	assert_int_equal(nr_poisoned(), ARRAY_SIZE(bad));
	assert_int_equal(nr_free_pages(), free_before - ARRAY_SIZE(bad));
	check_never_again();
	assert_int_equal(alloc_contig_range(bad[1] - 1, bad[1] + 1), -EBUSY);
	assert_int_equal(frame_alloc_at(bad[1], 0, 0), -EBUSY);
	assert_null(pagetable_alloc_at(bad[1], 0, GFP_KERNEL, 0));
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		forget(bad[i]);
	assert_int_equal(nr_free_pages(), free_before);
	assert_int_equal(frame_alloc_at(bad[1], 0, 0), 0);
	frame_free(bad[1], 0);
}

static void test_memory_failure_in_another_cpus_magazine(void **state)
{
	unsigned long pfn;

	sim_set_cpu(2);
	pfn = get_frame();
	frame_free(pfn, 0);
	sim_set_cpu(0);
	assert_int_equal(memory_failure(pfn), MF_RECOVERED);
	for (u32 cpu = 0; cpu < 3; cpu++) {
		sim_set_cpu(cpu);
		check_all_allocations(0);
	}
	sim_set_cpu(0);
	forget(pfn);
}

/* Freeing a run keeps out the bad frame and no other, whatever the run was. */
static void test_memory_failure_of_frames_in_use(void **state)
{
	for (unsigned int order = 0; order <= MAX_RUN; order++) {
		long first = frame_alloc(GFP_KERNEL, order, NUMA_NO_NODE);
		unsigned long nr = 1ul << order, pfn = (unsigned long)first;
		unsigned long bad = pfn + (nr > 1 ? nr - 2 : 0), free_before = nr_free_pages();

		assert_true(first >= 0);
		words_fill_release(&pfn_to_page(pfn)->memdesc.v,
				   memdesc_misc_frozen(MISC_DRIVER, order).v, nr);
		assert_int_equal(memory_failure(bad), MF_DELAYED);
		words_fill_release(&pfn_to_page(pfn)->memdesc.v, 0, nr);
		frame_free(pfn, order);
		for (unsigned long i = 0; i < nr; i++)
			assert_int_equal(type_of(pfn + i),
					 pfn + i == bad ? MEMDESC_HWPOISON : MEMDESC_FREE);
		assert_int_equal(nr_free_pages(), free_before + nr - 1);
		check_never_again();
		forget(bad);
		assert_int_equal(nr_free_pages(), free_before + nr);
	}
}

/* A holder of bare frames, whose words are FREE: no type says so, and no claim succeeds. */
static void test_memory_failure_of_bare_frames(void **state)
{
	unsigned long pfn = get_frame();

	assert_int_equal(memory_failure(pfn), MF_DELAYED);
	assert_int_equal(type_of(pfn), MEMDESC_FREE);
	frame_free(pfn, 0);
	assert_int_equal(type_of(pfn), MEMDESC_HWPOISON);
	check_all_allocations(0);
	forget(pfn);
}

static unsigned long told;
static unsigned int times;

static void tell(unsigned long pfn)
{
	told = pfn;
	times++;
}
static const struct octavo_hooks tell_hooks = { .memory_failure = tell };

static void test_memory_failure_marks_a_folio(void **state)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 2, FOLIO_ANON);
	unsigned long pfn;

	assert_non_null(folio);
	pfn = folio_pfn(folio);
	octavo_set_hooks(&tell_hooks);
	times = 0;
	assert_int_equal(memory_failure(pfn + 1), MF_DELAYED);
	assert_int_equal(times, 1);
	assert_int_equal(told, pfn + 1);
	assert_true(folio_test_flag(folio, PG_hwpoison));
	assert_int_equal(folio_ref_count(folio), 1);
	/* page -> folio holds for the bad page too, as long as the folio lives */
	assert_ptr_equal(page_folio(pfn_to_page(pfn + 1)), folio);
	assert_int_equal(memory_failure(pfn + 1), MF_ALREADY);
	assert_int_equal(memory_failure(pfn + 2), MF_DELAYED);

	/* the flag stands for the folio: until the last bad page is forgotten */
	assert_int_equal(unpoison_memory(pfn + 2), 0);
	assert_true(folio_test_flag(folio, PG_hwpoison));
	folio_put(folio);
	assert_int_equal(type_of(pfn + 1), MEMDESC_HWPOISON);
	assert_int_equal(type_of(pfn + 2), MEMDESC_FREE);

	/* a new folio in its descriptor is not bad */
	folio = folio_alloc(GFP_KERNEL, 2, FOLIO_ANON);
	assert_non_null(folio);
	assert_false(folio_test_flag(folio, PG_hwpoison));
	folio_put(folio);
	forget(pfn + 1);
}

static void test_memory_failure_forgotten_while_in_use(void **state)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 0, FOLIO_FILE);
	unsigned long pfn;

	assert_non_null(folio);
	pfn = folio_pfn(folio);
	assert_int_equal(memory_failure(pfn), MF_DELAYED);
	assert_int_equal(unpoison_memory(pfn), 0);
	assert_false(folio_test_flag(folio, PG_hwpoison));
	folio_put(folio);
	assert_int_equal(type_of(pfn), MEMDESC_FREE);
	assert_int_equal(unpoison_memory(pfn), -ENOENT);
}

static void test_memory_failure_of_nothing(void **state)
{
	assert_int_equal(memory_failure(octavo_state.frame.max_pfn), -ENXIO);
	assert_int_equal(memory_failure(~0ul), -ENXIO);
	assert_int_equal(unpoison_memory(~0ul), -ENOENT);
	assert_int_equal(nr_poisoned(), 0);
}

/* The set is full: nothing is recorded, and nothing of the frame is changed. */
static void test_memory_failure_without_room_in_the_set(void **state)
{
	unsigned long end = (unsigned long)MIB << (20 - PAGE_SHIFT), pfn, n = 0, free_before;
	int ret = MF_RECOVERED;

	for (pfn = 0; pfn < end; pfn++) {
		if (!frame_is_free(pfn))
			continue;
		ret = memory_failure(pfn);
		if (ret != MF_RECOVERED)
			break;
		n++;
	}
	if (pfn < end) {
		assert_int_equal(ret, -ENOMEM);
		free_before = nr_free_pages();
		assert_int_equal(memory_failure(pfn), -ENOMEM);
		assert_int_equal(type_of(pfn), MEMDESC_FREE);
		assert_int_equal(nr_free_pages(), free_before);
		assert_int_equal(nr_poisoned(), n);
	}
	assert_true(octavo_validate());
	for (pfn = 0; pfn < end; pfn++)
		if (pfn_poisoned(pfn))
			forget(pfn);
	assert_int_equal(nr_poisoned(), 0);
}

/* What is kept out is no leak. */
static void test_memory_failure_is_no_leak(void **state)
{
	struct page *page = alloc_pages(GFP_KERNEL, 1);

	assert_non_null(page);
	assert_int_equal(memory_failure(page_to_pfn(page)), MF_DELAYED);
	put_page(page);
	assert_int_equal(memory_failure(page_to_pfn(page) + 1), MF_RECOVERED);
	assert_int_equal(memory_failure(get_frame()), MF_DELAYED);
	/* teardown: valid, and nothing leaked but the bare frame */
	assert_true(octavo_validate());
	assert_int_equal(sim_shutdown(), 1);
}

static void test_memory_failure_with_faults(void **state)
{
#if OCTAVO_FAULTS
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL, hit)
	{
		unsigned long idle, pfn;
		struct folio *folio;
		int ret, ret_idle, back, back_idle;

		octavo_fault_disarm();
		folio = folio_alloc(GFP_KERNEL, 1, FOLIO_ANON);
		idle = get_frame();

		assert_non_null(folio);
		frame_free(idle, 0);
		pfn = folio_pfn(folio) + 1;
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL);
		ret = memory_failure(pfn);
		ret_idle = memory_failure(idle);
		back = unpoison_memory(pfn);
		back_idle = unpoison_memory(idle);
		hit = octavo_fault_disarm();
		assert_int_equal(ret, MF_DELAYED);
		assert_int_equal(ret_idle, MF_RECOVERED);
		assert_int_equal(back, 0);
		assert_int_equal(back_idle, 0);
		assert_int_equal(type_of(idle), MEMDESC_FREE);
		assert_int_equal(folio_ref_count(folio), 1);
		folio_put(folio);
		assert_true(octavo_validate());
	}
#endif
}

/* ---- beside everything else ---- */

/* As many as the set has room for, not more than a small machine can spare. */
#define NR_BAD ((u32)min(OCTAVO_POISON_SLOTS / 2, 96))

struct storm {
	u32 seed[3];
	unsigned long first, nr; /* where it strikes */
	unsigned long hot;	 /* where something was allocated a moment ago */
	u32 struck;		 /* entries of bad[] that are valid; stored with release */
	unsigned long bad[128];
	u32 done;
	bool wrong;
};

static u32 next_random(u32 *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Allocated after frames 0 .. struck - 1 went bad: none of those. */
static void check_run(struct storm *s, u32 struck, unsigned long pfn, unsigned int order)
{
	WRITE_ONCE(s->hot, pfn + ((1ul << order) - 1) / 2);
	for (u32 i = 0; i < struck; i++)
		if (s->bad[i] - pfn < 1ul << order)
			s->wrong = true;
}

static void storm_worker(struct storm *s, unsigned int cpu)
{
	u32 what = next_random(&s->seed[cpu]) % 4;
	/* acquire: pairs with the release below: memory_failure() of these has returned */
	u32 struck = smp_load_acquire(&s->struck);
	unsigned int order = next_random(&s->seed[cpu]) % 4;
	struct folio *folio;
	struct page *page;
	struct mgdesc *mg;
	long pfn;

	switch (what) {
	case 0:
		folio = folio_alloc(GFP_NOWAIT, order, FOLIO_ANON);
		if (folio) {
			check_run(s, struck, folio_pfn(folio), order);
			folio_put(folio);
		}
		break;
	case 1:
		page = alloc_pages(GFP_NOWAIT, order);
		if (page) {
			check_run(s, struck, page_to_pfn(page), order);
			put_page(page);
		}
		break;
	case 2:
		mg = mgdesc_alloc(GFP_NOWAIT, order);
		if (mg) {
			check_run(s, struck, mgdesc_pfn(mg), order);
			mgdesc_put(mg);
		}
		break;
	case 3:
		pfn = frame_alloc(GFP_NOWAIT, order, NUMA_NO_NODE);
		if (pfn >= 0) {
			check_run(s, struck, (unsigned long)pfn, order);
			frame_free((unsigned long)pfn, order);
		}
		break;
	}
}

static void storm(unsigned int cpu, void *arg)
{
	struct storm *s = arg;

	if (cpu < 2) {
		while (!smp_load_acquire(&s->done))
			storm_worker(s, cpu);
		return;
	}
	while (s->struck < NR_BAD) {
		unsigned long pfn = s->first + next_random(&s->seed[2]) % s->nr;

		if (s->struck % 4)
			pfn = READ_ONCE(s->hot);
		if (pfn_poisoned(pfn)) {
			octavo_port_relax();
			continue;
		}
		if (memory_failure(pfn) < 0)
			s->wrong = true;
		/* every other one was a mistake */
		if (next_random(&s->seed[2]) % 2) {
			if (unpoison_memory(pfn))
				s->wrong = true;
			continue;
		}
		s->bad[s->struck] = pfn;
		smp_store_release(&s->struck, s->struck + 1);
		for (int i = 0; i < 100; i++)
			octavo_port_relax();
	}
	smp_store_release(&s->done, 1u);
}

/*
 * Everything stands still afterwards, so every bad frame that the allocator had is out of it. Bad frames that went
 * into slabs, whose memory nobody has freed, still have their type.
 */
COVERS("S3.14");
static void test_memory_failure_beside_allocation(void **state)
{
	struct storm s = { .seed = { 11, 22, 33 } };
	u64 counts[MEMDESC_NR_TYPES];

	s.first = ALIGN_DOWN(get_frame(), 64ul);
	frame_free(s.first, 0);
	s.nr = 512;
	s.hot = s.first;
	sim_run(3, false, storm, &s);
	assert_false(s.wrong);
	kmem_cache_shrink_all();
	synchronize_rcu();
	kmem_cache_shrink_all();
	/* one that was just being freed may be in a magazine: whoever is handed it next keeps it out */
	frame_drain_all();
	check_never_again();
	for (u32 i = 0; i < NR_BAD; i++) {
		enum memdesc_type type = type_of(s.bad[i]);

		if (type != MEMDESC_HWPOISON && type != MEMDESC_SLAB)
			fail_msg("pfn 0x%lx is %s", s.bad[i], memdesc_type_name(type));
		assert_int_equal(unpoison_memory(s.bad[i]), 0);
	}
	assert_int_equal(nr_poisoned(), 0);
	/* what was forgotten while it was being kept out is not lost either */
	pfn_count_types(0, octavo_state.frame.max_pfn, counts);
	assert_int_equal(counts[MEMDESC_HWPOISON], 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, boot, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_memory_failure_of_free_frames),
		T(test_memory_failure_in_another_cpus_magazine),
		T(test_memory_failure_of_frames_in_use),
		T(test_memory_failure_of_bare_frames),
		T(test_memory_failure_marks_a_folio),
		T(test_memory_failure_forgotten_while_in_use),
		T(test_memory_failure_of_nothing),
		T(test_memory_failure_without_room_in_the_set),
		T(test_memory_failure_is_no_leak),
		T(test_memory_failure_with_faults),
		T(test_memory_failure_beside_allocation),
	};

	return cmocka_run_group_tests_name("memory_failure", tests, NULL, NULL);
}
