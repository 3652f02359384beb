/* SPDX-License-Identifier: MIT */
/*
 * test_folio_split.c - split, split out: what the pieces are, failing at every step, poison, and
 * (with merge) against walkers.
 */
#include "folio_pieces.h"

/* ---- split ---- */

COVERS("S0.8 S1.4 S1.37 S1.41 SX.5 SX.9");
static void test_folio_split_uniform_to_every_order(void **state)
{
	static struct whole w;

	boot();
	for (unsigned int order = 1; order <= top_order(); order++)
		for (unsigned int new_order = 0; new_order < order; new_order++) {
			make(&w, order, order & 1 ? FOLIO_ANON : FOLIO_FILE, new_order % 3, order);
			assert_int_equal(folio_split(w.folio, new_order, w.extra, GFP_KERNEL), 0);
			assert_int_equal(walk_pieces(&w, new_order, false),
					 1ul << (order - new_order));
			assert_true(octavo_validate());
			walk_pieces(&w, new_order, true);
			/* the old descriptor went back where it came from */
			assert_true(octavo_validate());
		}
	shutdown_clean();
}

static void check_out(const struct whole *w, unsigned long target, unsigned int new_order)
{
	struct folio *folio = page_folio(pfn_to_page(w->pfn + target));

	assert_int_equal(folio_order(folio), new_order);
	/* its buddy, then one each of new_order + 1 ... order - 1: order 9 to 0 is ten, not 512 */
	assert_int_equal(walk_pieces(w, ~0u, false), w->order - new_order + 1);
	for (unsigned int o = new_order; o < w->order; o++) {
		unsigned long buddy = (target >> o ^ 1) << o;

		folio = page_folio(pfn_to_page(w->pfn + buddy));
		assert_int_equal(folio_order(folio), o);
		assert_int_equal(folio_pfn(folio), w->pfn + buddy);
	}
}

COVERS("S1.37");
static void test_folio_split_out_leaves_the_buddies(void **state)
{
	static struct whole w;
	unsigned int seed = 5;

	boot();
	for (unsigned int order = 1; order <= top_order(); order++)
		for (unsigned int new_order = 0; new_order < order; new_order++)
			for (unsigned int t = 0; t < (order < 4 ? 1u << order : 6); t++) {
				unsigned long target = order < 4 ? t
						       : t == 0	 ? 0
						       : t == 1	 ? (1ul << order) - 1
								 : (unsigned long)rand_r(&seed) &
									  ((1ul << order) - 1);

				make(&w, order, t & 1 ? FOLIO_ANON : FOLIO_FILE, t % 3, t);
				assert_int_equal(folio_split_out(w.folio,
								 folio_page(w.folio, target),
								 new_order, w.extra, GFP_KERNEL),
						 0);
				check_out(&w, target, new_order);
				assert_true(octavo_validate());
				walk_pieces(&w, ~0u, true);
			}
	shutdown_clean();
}

/* Pieces can be split again, the one in the old descriptor too. */
static void test_folio_split_again_down_to_pages(void **state)
{
	static struct whole w;

	boot();
	for (unsigned int order = 1; order <= top_order(); order++) {
		make(&w, order, FOLIO_ANON, 2, order);
		for (unsigned int new_order = order; new_order-- > 0;)
			for (unsigned long at = 0; at < w.nr; at += 2ul << new_order) {
				struct folio *folio = page_folio(pfn_to_page(w.pfn + at));
				u32 extra = 2u << folio_order(folio);

				assert_int_equal(folio_split(folio, new_order, extra, GFP_KERNEL),
						 0);
			}
		assert_int_equal(walk_pieces(&w, 0, false), w.nr);
		assert_true(octavo_validate());
		walk_pieces(&w, 0, true);
		assert_true(octavo_validate());
	}
	shutdown_clean();
}

/* Order 0 in a large folio's descriptor: pins are exact, exclusivity is a bit of its bitmap. */
static void test_folio_split_keeps_the_class_of_the_old_descriptor(void **state)
{
	static struct whole w;

	boot();
	for (unsigned int order = 1; order <= top_order(); order++) {
		make(&w, order, FOLIO_ANON, 0, order);
		assert_int_equal(folio_split(w.folio, 0, 0, GFP_KERNEL), 0);
		assert_int_equal(folio_class(w.folio), w.class);
		folio_ref_add(w.folio, GUP_PIN_COUNTING_BIAS + 1);
		assert_false(folio_maybe_dma_pinned(w.folio));
		assert_true(folio_try_pin(w.folio, 1));
		assert_true(folio_maybe_dma_pinned(w.folio));
		assert_int_equal(folio_ref_count(w.folio), GUP_PIN_COUNTING_BIAS + 3);
		folio_unpin(w.folio, 1);
		folio_put_refs(w.folio, GUP_PIN_COUNTING_BIAS + 1);
		folio_set_anon_exclusive(folio_subrange(w.folio, 0, 1));
		assert_true(folio_test_anon_exclusive(w.folio, 0));
		assert_false(folio_test_flag(w.folio, PG_anon_exclusive));
		folio_clear_anon_exclusive(folio_subrange(w.folio, 0, 1));
		w.excl[0] = false;
		walk_pieces(&w, 0, true);
	}
	shutdown_clean();
}

static void test_folio_split_advances_swap_entries(void **state)
{
	unsigned int order = min(top_order(), 4u);
	struct folio *folio;
	unsigned long pfn;

	boot();
	folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
	pfn = folio_pfn(folio);
	folio->swap = 0x700;
	folio_set_flag(folio, PG_swapcache);
	folio_lock(folio);
	assert_int_equal(folio_split(folio, 1, 0, GFP_KERNEL), 0);
	for (unsigned long i = 0; i < 1ul << order; i += 2) {
		folio = page_folio(pfn_to_page(pfn + i));
		assert_true(folio_test_flag(folio, PG_swapcache));
		assert_int_equal(folio->swap, 0x700 + i);
		folio_unlock(folio);
		folio_put(folio);
	}
	shutdown_clean();
}

/* Everything of a folio and its words, to compare. */
struct image {
	struct huge_folio desc;
	unsigned long words[MAX_PAGES];
	unsigned long excl[MAX_PAGES / BITS_PER_LONG];
	u64 live[NR_ORDERS];
};

static void take_image(struct image *image, const struct whole *w)
{
	memset(image, 0, sizeof(*image));
	memcpy(&image->desc, w->folio,
	       w->class == FOLIO_CLASS_HUGE ? sizeof(struct huge_folio)
					    : sizeof(struct large_folio));
	for (unsigned long i = 0; i < w->nr; i++)
		image->words[i] = page_memdesc(pfn_to_page(w->pfn + i)).v;
	for (unsigned long i = 0; i < w->nr; i++)
		image->excl[i / BITS_PER_LONG] |=
			(unsigned long)folio_test_anon_exclusive(w->folio, i)
			<< (i % BITS_PER_LONG);
	folio_count_live(image->live);
}

static struct image before, after;

static void expect_unchanged(const struct whole *w)
{
	take_image(&after, w);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_true(octavo_validate());
}

static void expect_split_refused(const struct whole *w, unsigned int new_order, u32 extra, int err)
{
	take_image(&before, w);
	assert_int_equal(folio_split(w->folio, new_order, extra, GFP_KERNEL), err);
	expect_unchanged(w);
	assert_int_equal(folio_split_out(w->folio, folio_page(w->folio, w->nr - 1), new_order,
					 extra, GFP_KERNEL),
			 err);
	expect_unchanged(w);
}

static void test_folio_split_refused_changes_nothing(void **state)
{
	static struct whole w;

	boot();
	for (unsigned int order = 1; order <= top_order(); order++) {
		make(&w, order, FOLIO_ANON, 1, order);
		/* the wrong number of references, either way */
		expect_split_refused(&w, 0, 0, -EBUSY);
		expect_split_refused(&w, 0, 2 * w.extra, -EBUSY);
		folio_get(w.folio);
		expect_split_refused(&w, 0, w.extra, -EBUSY);
		folio_put(w.folio);
		assert_true(folio_try_pin(w.folio, 1));
		expect_split_refused(&w, 0, w.extra, -EBUSY);
		folio_unpin(w.folio, 1);
		/* the right number, but the caller's own reference is a pin */
		folio_large(w.folio)->pincount = 1;
		expect_split_refused(&w, 0, w.extra, -EBUSY);
		folio_large(w.folio)->pincount = 0;
		w.folio->mapcount = 1;
		expect_split_refused(&w, 0, w.extra, -EBUSY);
		w.folio->mapcount = 0;
		w.folio->private = &w;
		expect_split_refused(&w, 0, w.extra, -EBUSY);
		w.folio->private = NULL;
		folio_set_flag(w.folio, PG_writeback);
		expect_split_refused(&w, 0, w.extra, -EBUSY);
		folio_clear_flag(w.folio, PG_writeback);
		/* arguments */
		expect_split_refused(&w, order, w.extra, -EINVAL);
		expect_split_refused(&w, order + 1, w.extra, -EINVAL);
		expect_split_refused(&w, ~0u, w.extra, -EINVAL);
		expect_split_refused(&w, 0, w.extra + 1, -EINVAL);
		expect_split_refused(&w, 0, 1u << 31, -EINVAL);
		take_image(&before, &w);
		assert_int_equal(folio_split_out(w.folio, folio_page(w.folio, 0) - 1, 0, w.extra,
						 GFP_KERNEL),
				 -EINVAL);
		assert_int_equal(
			folio_split_out(w.folio, folio_page(w.folio, w.nr), 0, w.extra, GFP_KERNEL),
			-EINVAL);
		expect_unchanged(&w);
		check_whole(&w);
		put_piece(&w, w.folio);
	}
	shutdown_clean();
}

/* What reclaim does while the descriptors are being allocated, after the first look at the folio. */
static struct {
	struct folio *folio;
	long pfns[8192];
	unsigned long n;
	bool map; /* else it takes a reference */
} meanwhile;

static u64 reclaim(gfp_t gfp, unsigned int order, int nid)
{
	unsigned long n = meanwhile.n;

	(void)gfp, (void)order, (void)nid;
	if (n && meanwhile.map)
		meanwhile.folio->mapcount = 1;
	else if (n)
		folio_get(meanwhile.folio);
	while (meanwhile.n)
		frame_free((unsigned long)meanwhile.pfns[--meanwhile.n], 0);
	return n;
}

static const struct octavo_hooks reclaim_hooks = { .direct_reclaim = reclaim };

/* No descriptor for a small folio is left either: it will take a new slab. */
static void use_up_memory(void)
{
	struct kmem_cache *small = octavo_state.desc.folio[FOLIO_CLASS_SMALL];
	struct kmem_cache_stat st = { .frames = 0 };
	long pfn;

	do {
		kmem_cache_shrink_all();
		synchronize_rcu();
		if (small)
			kmem_cache_stat(small, &st);
	} while (st.frames);
	while (meanwhile.n < ARRAY_SIZE(meanwhile.pfns) &&
	       (pfn = frame_alloc(GFP_NOWAIT | __GFP_MEMALLOC, 0, NUMA_NO_NODE)) >= 0)
		meanwhile.pfns[meanwhile.n++] = pfn;
	assert_int_equal(nr_free_pages(), 0);
}

static void test_folio_split_looks_again_after_the_allocation(void **state)
{
	static struct whole w;

	octavo_set_hooks(&reclaim_hooks);
	boot();
	for (int map = 0; map < 2; map++) {
		make(&w, 3, FOLIO_ANON, 0, 1);
		meanwhile.folio = w.folio;
		meanwhile.map = map;
		use_up_memory();
		assert_int_equal(folio_split(w.folio, 0, 0, GFP_KERNEL), -EBUSY);
		assert_int_equal(meanwhile.n, 0);
		if (map)
			w.folio->mapcount = 0;
		else
			folio_put(w.folio);
		check_whole(&w);
		assert_true(octavo_validate());
		put_piece(&w, w.folio);
	}
	shutdown_clean();
	octavo_set_hooks(NULL);
}

static void split_unlocked(void *folio)
{
	folio_split(folio, 0, 0, GFP_KERNEL);
}

static void split_out_unlocked(void *folio)
{
	folio_split_out(folio, folio_page(folio, 0), 0, 0, GFP_KERNEL);
}

static void test_folio_split_without_the_lock_is_fatal(void **state)
{
	boot();
	expect_panic(split_unlocked, folio_alloc(GFP_KERNEL, 2, FOLIO_ANON), "not locked");
	boot();
	expect_panic(split_out_unlocked, folio_alloc(GFP_KERNEL, 2, FOLIO_ANON), "not locked");
}

/* ---- failing at step k ---- */

#if OCTAVO_FAULTS
static void split_with_faults(unsigned int order, unsigned int new_order, bool out, int mode)
{
	static struct whole w;

	for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
	{
		int err;

		octavo_fault_disarm();
		make(&w, order, k & 1 ? FOLIO_ANON : FOLIO_FILE, k % 3, k);
		take_image(&before, &w);
		octavo_fault_arm(k, mode, OCTAVO_FAULT_ALL);
		err = out ? folio_split_out(w.folio, folio_page(w.folio, k % w.nr), new_order,
					    w.extra, GFP_NOWAIT)
			  : folio_split(w.folio, new_order, w.extra, GFP_NOWAIT);
		hit = octavo_fault_disarm();
		if (err) {
			assert_int_not_equal(hit, 0);
			/* no descriptor, or the freeze did not succeed */
			assert_true(err == -ENOMEM || err == -EBUSY);
			expect_unchanged(&w);
			check_whole(&w);
		} else {
			assert_true(octavo_validate());
		}
		walk_pieces(&w, ~0u, true);
		assert_true(octavo_validate());
	}
}

COVERS("SX.8");
static void test_folio_split_fails_at_every_step_and_changes_nothing(void **state)
{
	boot();
	for (unsigned int order = 1; order <= top_order(); order++)
		for (unsigned int new_order = 0; new_order < order; new_order++) {
			/* not a thousand descriptors for each of a thousand steps */
			if (order - new_order <= 6)
				split_with_faults(order, new_order, false,
						  fault_modes[new_order & 1]);
			for (int m = 0; m < 2; m++)
				split_with_faults(order, new_order, true, fault_modes[m]);
		}
	shutdown_clean();
}

#endif

/* ---- poison ---- */

/* The flag is of the whole folio, the set knows the page: after a split only its piece has it. */
static void test_folio_split_keeps_poison_with_its_page(void **state)
{
	boot();
	for (unsigned int order = 1; order <= min(top_order(), 10u); order++)
		for (int out = 0; out < 2; out++) {
			struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
			unsigned long pfn = folio_pfn(folio), nr = 1ul << order, at;
			unsigned long bad = pfn + (nr * 5 / 8) % nr;

			assert_int_equal(memory_failure(bad), MF_DELAYED);
			assert_true(folio_test_flag(folio, PG_hwpoison));
			folio_lock(folio);
			if (out)
				assert_int_equal(
					folio_split_out(folio, pfn_to_page(bad), 0, 0, GFP_KERNEL),
					0);
			else
				assert_int_equal(folio_split(folio, 0, 0, GFP_KERNEL), 0);
			for (at = 0; at < nr; at += folio_nr_pages(folio)) {
				folio = page_folio(pfn_to_page(pfn + at));
				assert_int_equal(folio_test_flag(folio, PG_hwpoison),
						 folio_contains(folio, bad));
			}
			if (out) {
				/* and back: the large one has it again */
				folio = folio_merge(page_folio(pfn_to_page(pfn)), order, GFP_KERNEL,
						    &(int){ 0 });
				assert_non_null(folio);
				assert_true(folio_test_flag(folio, PG_hwpoison));
			}
			for (at = 0; at < nr; at += out ? nr : 1) {
				folio = page_folio(pfn_to_page(pfn + at));
				folio_unlock(folio);
				folio_put(folio);
			}
			/* it belongs to nothing any more */
			assert_int_equal(memdesc_type(page_memdesc(pfn_to_page(bad))),
					 MEMDESC_HWPOISON);
			assert_true(octavo_validate());
			assert_int_equal(unpoison_memory(bad), 0);
			assert_int_equal(page_memdesc(pfn_to_page(bad)).v, 0);
		}
	shutdown_clean();
}

/* ---- against walkers ---- */

static struct {
	unsigned long pfn, nr;
	u32 stop, pause;
	unsigned long got, busy, done;
	u32 row; /* refusals in a row */
} race;

#define PATIENCE 8u

/* The owner was @busy again, or not. It could be so for ever, if walkers always have a piece: then they stand still. */
static void owner_was(bool busy)
{
	race.busy += busy;
	race.row = busy ? race.row + 1 : 0;
	WRITE_ONCE(race.pause, race.row > PATIENCE);
	if (race.pause)
		octavo_port_relax();
}

/* The owner splits, splits out, merges; the walkers' references make some of them fail. */
static void owner(void)
{
	unsigned int order = (unsigned int)ilog2(race.nr), seed = 3;
	struct folio *folio = page_folio(pfn_to_page(race.pfn));

	/* until enough has happened on both sides */
	for (int i = 0; race.done < 1000 || READ_ONCE(race.got) < 1000; i++) {
		unsigned long target = (unsigned long)rand_r(&seed) % race.nr;
		unsigned int to = (unsigned int)rand_r(&seed) % order;
		int err = i & 1 ? folio_split_out(folio, pfn_to_page(race.pfn + target), to, 0,
						  GFP_KERNEL)
				: folio_split(folio, to, 0, GFP_KERNEL);

		if (err) {
			assert_int_equal(err, -EBUSY);
			owner_was(true);
			continue;
		}
		owner_was(false);
		race.done++;
		do {
			folio = folio_merge(page_folio(pfn_to_page(race.pfn)), order, GFP_KERNEL,
					    &err);
			assert_true(folio || err == -EBUSY);
			owner_was(!folio);
		} while (!folio);
	}
	/* release: pairs with the acquire in walker() */
	smp_store_release(&race.stop, 1u);
}

static void walker(unsigned int cpu)
{
	unsigned int seed = cpu;

	while (!smp_load_acquire(&race.stop)) {
		unsigned long pfn = race.pfn + (unsigned long)rand_r(&seed) % race.nr;
		struct folio *folio;

		if (READ_ONCE(race.pause)) {
			octavo_port_relax();
			continue;
		}
		folio = page_try_get_folio(pfn_to_page(pfn));
		if (!folio)
			continue;
		fetch_add_relaxed(&race.got, 1ul);
		/* with the reference: the word names it, it covers the frame, and neither changes */
		assert_true(folio_contains(folio, pfn));
		assert_int_equal(folio_pfn(folio) & (folio_nr_pages(folio) - 1), 0);
		assert_true(folio_ref_count(folio) >= 2);
		for (unsigned long i = 0; i < folio_nr_pages(folio); i += 3)
			assert_ptr_equal(page_folio(folio_page(folio, i)), folio);
		if (rand_r(&seed) & 1 && folio_try_pin(folio, 1)) {
			assert_true(folio_class(folio) == FOLIO_CLASS_SMALL ||
				    folio_maybe_dma_pinned(folio));
			folio_unpin(folio, 1);
		}
		folio_put(folio);
		/* leave the owner a chance */
		for (int rest = rand_r(&seed) % 16; rest; rest--)
			octavo_port_relax();
	}
}

static void own_or_walk(unsigned int cpu, void *arg)
{
	if (cpu == 0)
		owner();
	else
		walker(cpu);
}

COVERS("S1.37 S3.16 SX.5");
static void test_folio_split_and_merge_under_walkers(void **state)
{
	unsigned int order = min(MAX_FOLIO_ORDER, 7);
	struct folio *folio;

	boot();
	memset(&race, 0, sizeof(race));
	folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
	race.pfn = folio_pfn(folio);
	race.nr = 1ul << order;
	folio_lock(folio);
	sim_run(3, false, own_or_walk, NULL);
	assert_int_not_equal(race.done, 0);
	folio = page_folio(pfn_to_page(race.pfn));
	assert_int_equal(folio_ref_count(folio), 1);
	folio_unlock(folio);
	folio_put(folio);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folio_split_uniform_to_every_order),
		cmocka_unit_test(test_folio_split_out_leaves_the_buddies),
		cmocka_unit_test(test_folio_split_again_down_to_pages),
		cmocka_unit_test(test_folio_split_keeps_the_class_of_the_old_descriptor),
		cmocka_unit_test(test_folio_split_advances_swap_entries),
		cmocka_unit_test(test_folio_split_refused_changes_nothing),
		cmocka_unit_test(test_folio_split_looks_again_after_the_allocation),
		cmocka_unit_test(test_folio_split_without_the_lock_is_fatal),
#if OCTAVO_FAULTS
		cmocka_unit_test(test_folio_split_fails_at_every_step_and_changes_nothing),
#endif
		cmocka_unit_test(test_folio_split_keeps_poison_with_its_page),
		cmocka_unit_test(test_folio_split_and_merge_under_walkers),
	};

	return cmocka_run_group_tests_name("folio_split", tests, NULL, NULL);
}
