/* SPDX-License-Identifier: MIT */
/*
 * test_pfnwalk.c - reading every word while everything runs beside.
 *
 * What a snapshot says of each type at rest is in test_matrix.c. Here: ranges, holes, counting, and that a
 * walker beside allocation, freeing and splitting is never told a mixture of two lives, and never misses
 * a page that was there all the time.
 */
#include "test.h"

#define MIB 64

static int boot(void **state)
{
	boot_small(MIB, 3);
	return 0;
}

/* ---- ranges ---- */

struct visit {
	unsigned long next, calls, step, stop_after;
	bool gap;
};

static unsigned long visit(unsigned long pfn, memdesc_t md, void *arg)
{
	struct visit *v = arg;

	v->gap |= v->calls && pfn != v->next;
	v->next = pfn + v->step;
	return ++v->calls == v->stop_after ? 0 : v->step;
}

static void test_pfnwalk_visits_every_frame_once(void **state)
{
	unsigned long end = (unsigned long)MIB << (20 - PAGE_SHIFT);
	struct visit v = { .step = 1 };

	assert_int_equal(pfn_walk(0, end, visit, &v), end);
	assert_int_equal(v.calls, end);
	assert_false(v.gap);

	v = (struct visit){ .step = 1 };
	assert_int_equal(pfn_walk(3, end + 1000, visit, &v), end + 1000);
	assert_int_equal(v.calls, end - 3);

	v = (struct visit){ .step = 7 };
	pfn_walk(0, end, visit, &v);
	assert_int_equal(v.calls, DIV_ROUND_UP(end, 7));
	assert_false(v.gap);

	v = (struct visit){ .step = 1, .stop_after = 10 };
	assert_int_equal(pfn_walk(5, end, visit, &v), 14);
	v = (struct visit){ .step = ~0ul };
	assert_int_equal(pfn_walk(5, end, visit, &v), end);
	assert_int_equal(v.calls, 1);
	v = (struct visit){ .step = 1 };
	assert_int_equal(pfn_walk(end, end, visit, &v), end);
	assert_int_equal(pfn_walk(~0ul - 5, ~0ul, visit, &v), ~0ul);
	assert_int_equal(v.calls, 0);
}

/* Two islands of memory, far apart: what lies between costs next to nothing. */
static void test_pfnwalk_skips_absent_sections(void **state)
{
	const u64 far = 512ull << 30, size = 2 * SECTION_SIZE;
	const struct octavo_region map[] = { { 0, size, OCTAVO_MEM_USABLE, 0 },
					     { far, size, OCTAVO_MEM_USABLE, 0 } };
	struct sim_config cfg = { .regions = map, .nr_regions = 2 };
	unsigned long island = size >> PAGE_SHIFT, end = (far + size) >> PAGE_SHIFT;
	struct page_snapshot ps;
	u64 counts[MEMDESC_NR_TYPES], sum = 0;
	struct visit v = { .step = 1 };

	shutdown_clean();
	if (sizeof(section_t) * (far >> (SECTION_ORDER + PAGE_SHIFT)) > 64ul << 20)
		return; /* tiny sections: the table itself would be the test */
#if defined(OCTAVO_TSAN)
	skip(); /* no room for so many addresses beside the sanitizer's own */
#endif
	assert_int_equal(sim_boot(&cfg), 0);
	assert_int_equal(pfn_walk(0, end, visit, &v), end);
	assert_int_equal(v.calls, 2 * island);
	pfn_count_types(0, end, counts);
	for (unsigned int t = 0; t < MEMDESC_NR_TYPES; t++)
		sum += counts[t];
	assert_int_equal(sum, 2 * island);
	assert_int_equal(snapshot_page(&ps, island), -ENXIO);
	assert_int_equal(snapshot_page(&ps, end), -ENXIO);
	assert_int_equal(snapshot_page(&ps, ~0ul), -ENXIO);
	assert_int_equal(snapshot_page(&ps, end - 1), 0);
}

static u32 next_random(u32 *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Against the obvious way, over all alignments and odd lengths, with all types there are and will be. */
static void test_pfnwalk_counts_types(void **state)
{
	long first =
		frame_alloc(GFP_KERNEL, 9 <= MAX_FOLIO_ORDER ? 9 : MAX_FOLIO_ORDER, NUMA_NO_NODE);
	unsigned int order = 9 <= MAX_FOLIO_ORDER ? 9 : MAX_FOLIO_ORDER;
	unsigned long pfn = (unsigned long)first, nr = 1ul << order;
	u32 seed = 7;

	assert_true(first >= 0);
	for (unsigned int round = 0; round < 40; round++) {
		unsigned long from, to;
		u64 want[MEMDESC_NR_TYPES] = { 0 }, got[MEMDESC_NR_TYPES];

		for (unsigned long i = 0; i < nr; i++)
			WRITE_ONCE(pfn_to_page(pfn + i)->memdesc.v,
				   round < 20 ? next_random(&seed) * 0x1000010001ul
					      : ~0x0ful | round % 16);
		from = next_random(&seed) % nr;
		to = from + next_random(&seed) % (nr - from + 1);
		if (round % 4 == 0) {
			from = 0;
			to = nr;
		}
		for (unsigned long i = from; i < to; i++)
			want[memdesc_type(page_memdesc(pfn_to_page(pfn + i)))]++;
		pfn_count_types(pfn + from, pfn + to, got);
		assert_memory_equal(got, want, sizeof(want));
	}
	for (unsigned long i = 0; i < nr; i++)
		WRITE_ONCE(pfn_to_page(pfn + i)->memdesc.v, 0ul);
	frame_free(pfn, order);
}

/* ---- beside everything else ---- */

/*
 * The type, or subtype, of what the workers allocate says its order. A walker that is told a type of one
 * life and an order of another sees it.
 */
static unsigned int order_of_type(enum memdesc_type type)
{
	return type == MEMDESC_ANON	 ? 2
	       : type == MEMDESC_MANAGED ? 1
	       : type == MEMDESC_MOVABLE ? 3
					 : 0;
}

/* The owner is the worker that migrates: its private says where it keeps the descriptor. */
static int follow(struct movable *dst, struct movable *src)
{
	*(struct movable **)src->private = dst;
	return 0;
}
static const struct movable_operations follow_ops = { .migrate = follow };

struct bystander {
	u32 seed[3];
	unsigned long first, nr; /* the frames that are walked */
	unsigned long tables;	 /* page tables that stay for the whole test */
	u64 exact, inexact;
	u32 done; /* the walker is through */
	const char *wrong;
};

/* Order 3 into eight of order 0, if the walker lets it: its reference makes a split fail, not wrong. */
static void split_and_free(void)
{
	struct folio *folio = folio_alloc(GFP_NOWAIT, 3, FOLIO_FILE);
	struct page *page;

	if (!folio)
		return;
	page = folio_page(folio, 0);
	if (!folio_trylock(folio) || folio_split(folio, 0, 0, GFP_NOWAIT)) {
		folio_unlock(folio);
		folio_put(folio);
		return;
	}
	for (unsigned int i = 0; i < 8; i++) {
		folio = page_folio(page + i);
		folio_unlock(folio);
		folio_put(folio);
	}
}

static void migrate_and_free(struct bystander *b)
{
	struct movable *mv = NULL, *mine;

	mine = movable_alloc(GFP_NOWAIT, order_of_type(MEMDESC_MOVABLE), &follow_ops, &mine);
	if (!mine)
		return;
	mv = isolate_movable_page(pfn_to_page(movable_pfn(mine) + 1));
	if (mv != mine)
		b->wrong = "nobody else isolates";
	else if (migrate_movable_page(mv, GFP_NOWAIT, NULL))
		putback_movable_page(mv);
	if (movable_free(mine))
		b->wrong = "the walker got in the way of movable_free()";
}

static void work_once(struct bystander *b, unsigned int cpu)
{
	struct page *page;
	struct folio *folio;
	struct mgdesc *mg;

	switch (next_random(&b->seed[cpu]) % 7) {
	case 0:
		folio = folio_alloc(GFP_NOWAIT, 2, FOLIO_ANON);
		if (folio)
			folio_put(folio);
		break;
	case 1:
		folio = folio_alloc(GFP_NOWAIT, 0, FOLIO_FILE);
		if (folio)
			folio_put(folio);
		break;
	case 2:
		mg = mgdesc_alloc(GFP_NOWAIT, order_of_type(MEMDESC_MANAGED));
		if (mg)
			mgdesc_put(mg);
		break;
	case 3:
		migrate_and_free(b);
		break;
	case 4: /* whole of order 2, and Vmalloc once it is split */
		page = __alloc_plain_pages(GFP_NOWAIT, 2, NUMA_NO_NODE, MISC_DRIVER, true);
		if (!page)
			break;
		(void)!split_page(page, 2);
		for (unsigned int i = 0; i < 4; i++)
			free_frozen_pages(page + i, 0);
		break;
	case 5:
		page = __alloc_plain_pages(GFP_NOWAIT, 1, NUMA_NO_NODE, MISC_EXACT, false);
		if (page)
			put_page(page + 1);
		break;
	case 6:
		split_and_free();
		break;
	}
}

static void check_snapshot(struct bystander *b, const struct page_snapshot *ps)
{
	unsigned long nr = 1ul << ps->order;

	if (!ps->exact) {
		b->inexact++;
		if (ps->type == MEMDESC_FREE)
			b->wrong = "free is always known";
		return;
	}
	b->exact++;
	if (!IS_ALIGNED(ps->first_pfn, nr) || ps->pfn < ps->first_pfn ||
	    ps->pfn - ps->first_pfn >= nr)
		b->wrong = "not a page of what it is said to be in";
	if (memdesc_type(ps->word) != ps->type)
		b->wrong = "type and word differ";
	switch (ps->type) {
	case MEMDESC_FILE: /* order 3 until it is split */
		if (ps->order != 0 && ps->order != 3)
			b->wrong = "order of another life";
		break;
	case MEMDESC_ANON:
	case MEMDESC_MANAGED:
	case MEMDESC_MOVABLE:
		if (ps->order != order_of_type(ps->type))
			b->wrong = "order of another life";
		if (ps->refcount > 2 || ps->mapcount != 0)
			b->wrong = "a count that nobody made";
		break;
	case MEMDESC_MISC:
		if (memdesc_subtype(ps->word) == MISC_EXACT &&
		    (ps->order != 1 || ps->refcount != 1))
			b->wrong = "counted pages of another life";
		if (memdesc_subtype(ps->word) == MISC_DRIVER && ps->order != 2 && ps->order != 0)
			b->wrong = "frozen pages of another life";
		break;
	default:
		break;
	}
}

static unsigned long count_tables(unsigned long pfn, memdesc_t md, void *arg)
{
	*(unsigned long *)arg += memdesc_type(md) == MEMDESC_PTDESC;
	return 1;
}

static void walk_once(struct bystander *b, unsigned int round)
{
	u64 counts[MEMDESC_NR_TYPES];
	unsigned long met = 0;

	if (round % 8 == 0) {
		pfn_walk(b->first, b->first + b->nr, count_tables, &met);
		pfn_count_types(b->first, b->first + b->nr, counts);
		if (met != b->tables || counts[MEMDESC_PTDESC] != b->tables)
			b->wrong = "a page that was there all the time was missed";
	}
	for (unsigned long i = 0; i < b->nr; i += 1 + next_random(&b->seed[2]) % 4) {
		struct page_snapshot ps;

		if (snapshot_page(&ps, b->first + i))
			b->wrong = "no such frame";
		check_snapshot(b, &ps);
	}
}

static void beside(unsigned int cpu, void *arg)
{
	struct bystander *b = arg;

	if (cpu < 2) {
		while (!smp_load_acquire(&b->done))
			work_once(b, cpu);
		return;
	}
	for (unsigned int round = 0; round < 200; round++)
		walk_once(b, round);
	smp_store_release(&b->done, 1u);
}

COVERS("S3.10 S3.12 S3.14 S3.16");
static void test_pfnwalk_never_lies(void **state)
{
	struct bystander b = { .seed = { 1, 2, 3 } };
	struct ptdesc *table[64];
	struct ptdesc *walls[64];
	unsigned long lo = ~0ul, hi = 0;

	/* long-lived pages strewn between those that come and go: allocate pairs, free every other one */
	for (unsigned int i = 0; i < ARRAY_SIZE(table); i++) {
		table[i] = pagetable_alloc(GFP_KERNEL, 0);
		walls[i] = pagetable_alloc(GFP_KERNEL, 3);
		assert_non_null(table[i]);
		assert_non_null(walls[i]);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(table); i++) {
		lo = min(lo, ptdesc_pfn(table[i]));
		hi = max(hi, ptdesc_pfn(walls[i]) + 8);
		pagetable_free(walls[i]);
	}
	hi = max(hi, lo + 512);
	b.first = lo;
	b.nr = min(hi + 64, (unsigned long)MIB << (20 - PAGE_SHIFT)) - lo;
	b.tables = ARRAY_SIZE(table);
	frame_drain_all();
	sim_run(3, false, beside, &b);
	if (b.wrong)
		fail_msg("%s", b.wrong);
	assert_true(b.exact > 1000);
	for (unsigned int i = 0; i < ARRAY_SIZE(table); i++)
		pagetable_free(table[i]);
}

/* ---- memory that comes and goes ---- */

#define HOT_BASE (48ull << 20)

static u32 plugged; /* the plugger is through */

static void plug(unsigned int cpu, void *arg)
{
	bool *wrong = arg;

	if (cpu == 0) {
		for (int i = 0; i < 50; i++) {
			if (octavo_add_memory(HOT_BASE, SECTION_SIZE, 0, true) ||
			    octavo_remove_memory(HOT_BASE, SECTION_SIZE))
				*wrong = true;
		}
		smp_store_release(&plugged, 1u);
		return;
	}
	for (u32 last = 0; !last;) {
		unsigned long end = octavo_state.frame.max_pfn, first = HOT_BASE >> PAGE_SHIFT;
		unsigned long cold = 32ul << (20 - PAGE_SHIFT);
		u64 counts[MEMDESC_NR_TYPES];
		struct visit v = { .step = 1 };
		struct page_snapshot ps;

		last = smp_load_acquire(&plugged);
		pfn_walk(0, end, visit, &v);
		if (v.calls != cold && v.calls != cold + PAGES_PER_SECTION)
			*wrong = true;
		pfn_count_types(0, end, counts);
		if (counts[MEMDESC_FREE] < cold)
			*wrong = true;
		for (unsigned long i = 0; i < PAGES_PER_SECTION; i += 7)
			if (!snapshot_page(&ps, first + i) && ps.type != MEMDESC_FREE)
				*wrong = true;
	}
}

COVERS("S3.14");
static void test_pfnwalk_beside_hot_plug(void **state)
{
	struct sim_config cfg = { .bytes = 32ull << 20, .cpus = 2, .max_phys = 64ull << 20 };
	bool wrong = false;

	shutdown_clean();
	assert_int_equal(sim_boot(&cfg), 0);
	plugged = 0;
	sim_run(2, false, plug, &wrong);
	assert_false(wrong);
}

#define T(name) cmocka_unit_test_setup_teardown(name, boot, down_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_pfnwalk_visits_every_frame_once),
		T(test_pfnwalk_skips_absent_sections),
		T(test_pfnwalk_counts_types),
		T(test_pfnwalk_never_lies),
		T(test_pfnwalk_beside_hot_plug),
	};

	return cmocka_run_group_tests_name("pfnwalk", tests, NULL, NULL);
}
