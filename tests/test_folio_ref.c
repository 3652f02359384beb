/* SPDX-License-Identifier: MIT */
/*
 * test_folio_ref.c - what holders do to a folio: references, pins, the lock; and what they may not.
 */
#include "test.h"

static unsigned int top_order(void)
{
	return min(MAX_FOLIO_ORDER, 11);
}

static void boot(void)
{
	boot_small(64, 4);
}

/* ---- the count ---- */

static void test_folio_ref_last_put_frees(void **state)
{
	struct folio *folio;
	unsigned long pfn;

	boot();
	folio = folio_alloc(GFP_KERNEL, 2, FOLIO_ANON);
	pfn = folio_pfn(folio);
	folio_get(folio);
	folio_ref_add(folio, 5);
	assert_int_equal(folio_ref_count(folio), 7);
	folio_put(folio);
	folio_put_refs(folio, 5);
	assert_int_equal(folio_ref_count(folio), 1);
	assert_ptr_equal(page_folio(pfn_to_page(pfn + 3)), folio);
	folio_put(folio);
	assert_null(page_folio(pfn_to_page(pfn + 3)));
	shutdown_clean();
}

COVERS("S3.10");
static void test_folio_ref_descriptor_stays_one_while_somebody_may_look(void **state)
{
	boot();
	for (unsigned int order = 0; order <= top_order(); order++) {
		struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
		enum folio_class class = folio_class(folio);

		rcu_read_lock();
		folio_put(folio);
		kmem_cache_shrink_all();
		/* what a late reader finds: count 0, the same class, and a refusal that writes nothing */
		assert_int_equal(folio_ref_count(folio), 0);
		assert_int_equal(folio_class(folio), class);
		assert_false(folio_try_get(folio));
		assert_false(folio_try_pin(folio, 1));
		assert_int_equal(folio_ref_count(folio), 0);
		rcu_read_unlock();
	}
	shutdown_clean();
}

static void test_folio_ref_frozen_refuses(void **state)
{
	struct folio *folio;

	boot();
	folio = folio_alloc(GFP_KERNEL, 1, FOLIO_FILE);
	folio_get(folio);
	assert_false(folio_ref_freeze(folio, 1));
	assert_true(folio_ref_freeze(folio, 2));
	assert_false(folio_try_get(folio));
	assert_false(folio_try_pin(folio, 1));
	assert_null(page_try_get_folio(folio_page(folio, 1)));
	assert_int_equal(folio_ref_count(folio), 0);
	folio_ref_unfreeze(folio, 2);
	assert_ptr_equal(page_try_get_folio(folio_page(folio, 1)), folio);
	folio_put_refs(folio, 3);
	shutdown_clean();
}

static unsigned int saturated_at(struct folio *folio, u32 count, void (*op)(struct folio *))
{
	unsigned int warned;

	WRITE_ONCE(folio->refcount, count);
	sim_log_take(NULL);
	op(folio);
	warned = sim_log_take(NULL);
	assert_int_equal(folio_ref_count(folio), FOLIO_REF_SATURATED);
	return warned;
}

static void test_folio_ref_count_saturates_and_sticks(void **state)
{
	struct folio *folio;

	boot();
	sim_log_quiet(true);
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	/* reported by the one that goes over the edge, and never again */
	assert_int_equal(saturated_at(folio, 0x7fffffffu, folio_get), 1);
	assert_int_equal(saturated_at(folio, FOLIO_REF_SATURATED, folio_get), 0);
	assert_int_equal(saturated_at(folio, FOLIO_REF_SATURATED, folio_put), 0);
	assert_int_equal(saturated_at(folio, 0x80000000u, folio_put), 0);
	assert_int_equal(saturated_at(folio, 0xffffffffu, folio_get), 0);
	assert_false(folio_try_get(folio));
	assert_true(folio_maybe_dma_pinned(folio));
	/* close to the edge a speculative get does not go over it */
	WRITE_ONCE(folio->refcount, 0x7fffffffu);
	assert_false(folio_try_get(folio));
	assert_false(folio_try_pin(folio, 1));
	assert_int_equal(folio_ref_count(folio), 0x7fffffffu);
	WRITE_ONCE(folio->refcount, 0xffffffffu);
	assert_false(folio_try_get(folio));
	WRITE_ONCE(folio->refcount, 1);
	folio_put(folio);
	sim_log_quiet(false);
	shutdown_clean();
}

static void do_put(void *folio)
{
	folio_put(folio);
}

static void do_get(void *folio)
{
	folio_get(folio);
}

static void do_put_5(void *folio)
{
	folio_put_refs(folio, 5);
}

static void do_unlock(void *folio)
{
	folio_unlock(folio);
}

static void do_unpin(void *folio)
{
	folio_unpin(folio, 1);
}

static void do_unpin_many(void *folio)
{
	folio_unpin(folio, 1u << 22);
}

static void do_alloc_kind(void *kind)
{
	folio_put(folio_alloc(GFP_KERNEL, 0, (enum folio_kind)(uintptr_t)kind));
}

static void do_alloc_bulk_kind(void *kind)
{
	struct folio *folio;

	folio_alloc_bulk(GFP_KERNEL, (enum folio_kind)(uintptr_t)kind, 1, &folio);
}

COVERS("S0.7 S3.27");
static void test_folio_ref_misuse_is_fatal(void **state)
{
	struct folio *folio;

	/* the same folio is put and got after it was freed */
	boot();
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	folio_put(folio);
	expect_panic(do_put, folio, "folio_put() of 1 references with a count of 0");
	boot();
	folio = folio_alloc(GFP_KERNEL, 2, FOLIO_ANON);
	folio_put(folio);
	expect_panic(do_get, folio, "folio_get() of 1 references with a count of 0");
	boot();
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	folio_get(folio);
	expect_panic(do_put_5, folio, "folio_put() of 5 references with a count of 2");

	boot();
	folio = folio_alloc(GFP_KERNEL, 3, FOLIO_ANON);
	folio->mapcount = 1;
	expect_panic(do_put, folio, "freed while mapped");
	boot();
	folio = folio_alloc(GFP_KERNEL, 3, FOLIO_ANON);
	folio_large(folio)->pincount = 1;
	expect_panic(do_put, folio, "freed while pinned");
	boot();
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	folio_lock(folio);
	expect_panic(do_put, folio, "freed while locked");
	boot();
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	folio_page(folio, 0)->memdesc = memdesc_mk(0);
	expect_panic(do_put, folio, "word does not name it");

	boot();
	expect_panic(do_unlock, folio_alloc(GFP_KERNEL, 0, FOLIO_ANON), "was not locked");
	boot();
	expect_panic(do_unpin, folio_alloc(GFP_KERNEL, 0, FOLIO_ANON), "with a count of 1");
	boot();
	expect_panic(do_unpin, folio_alloc(GFP_KERNEL, 4, FOLIO_ANON), "unpinned more often");
	boot();
	expect_panic(do_unpin_many, folio_alloc(GFP_KERNEL, 0, FOLIO_ANON), "unpinned more often");

	boot();
	expect_panic(do_alloc_kind, (void *)MEMDESC_SLAB, "not a kind of folio");
	boot();
	expect_panic(do_alloc_bulk_kind, (void *)MEMDESC_FREE, "not a kind of folio");
}

#if OCTAVO_FAULTS
static const int modes[] = { OCTAVO_FAULT_ONCE, OCTAVO_FAULT_AFTER };

static void test_folio_ref_try_get_refused_changes_nothing(void **state)
{
	struct folio *folio;

	boot();
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	for (int m = 0; m < 2; m++)
		for_each_fault(k, modes[m], OCTAVO_FAULT_ALL, hit)
		{
			struct folio *got = page_try_get_folio(folio_page(folio, 0));

			hit = octavo_fault_disarm();
			/* a compare-and-swap that fails for no reason is tried again */
			if (got)
				folio_put(got);
			assert_int_equal(folio_ref_count(folio), 1);
		}
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL, hit)
	{
		bool got = folio_try_pin(folio, 1);

		hit = octavo_fault_disarm();
		if (got)
			folio_unpin(folio, 1);
		assert_int_equal(folio_ref_count(folio), 1);
	}
	octavo_fault_arm(1, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_TRYLOCK);
	assert_false(folio_trylock(folio));
	assert_int_equal(octavo_fault_disarm(), 1);
	octavo_fault_arm(1, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_CAS);
	assert_false(folio_ref_freeze(folio, 1));
	assert_int_equal(octavo_fault_disarm(), 1);
	assert_int_equal(folio_ref_count(folio), 1);
	folio_put(folio);
	shutdown_clean();
}
#endif

/* ---- pins ---- */

COVERS("SX.7");
static void test_folio_ref_pins_small_by_bias_large_exactly(void **state)
{
	struct folio *folio;

	boot();
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	assert_true(folio_try_pin(folio, 2));
	assert_int_equal(folio_ref_count(folio), 1 + 2 * GUP_PIN_COUNTING_BIAS);
	assert_true(folio_maybe_dma_pinned(folio));
	folio_unpin(folio, 1);
	assert_true(folio_maybe_dma_pinned(folio));
	folio_unpin(folio, 1);
	assert_false(folio_maybe_dma_pinned(folio));
	/* a false alarm is possible, a miss is not */
	folio_ref_add(folio, GUP_PIN_COUNTING_BIAS - 2);
	assert_false(folio_maybe_dma_pinned(folio));
	folio_get(folio);
	assert_true(folio_maybe_dma_pinned(folio));
	assert_false(folio_try_pin(folio, ~0u));
	folio_put_refs(folio, GUP_PIN_COUNTING_BIAS);

	for (unsigned int order = 1; order <= top_order(); order++) {
		folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
		folio_ref_add(folio, 3 * GUP_PIN_COUNTING_BIAS);
		assert_false(folio_maybe_dma_pinned(folio));
		assert_true(folio_try_pin(folio, 512));
		assert_int_equal(folio_ref_count(folio), 1 + 3 * GUP_PIN_COUNTING_BIAS + 512);
		assert_int_equal(folio_large(folio)->pincount, 512);
		assert_true(folio_maybe_dma_pinned(folio));
		assert_true(folio_validate(folio));
		folio_unpin(folio, 511);
		assert_true(folio_maybe_dma_pinned(folio));
		folio_unpin(folio, 1);
		assert_false(folio_maybe_dma_pinned(folio));
		folio_put_refs(folio, 1 + 3 * GUP_PIN_COUNTING_BIAS);
	}
	shutdown_clean();
}

/*
 * Pin against unmap-and-share, as in docs/memdesc.md "Look-ups": a word stands for the page-table
 * entry. Both sides must not succeed at once.
 */
static struct {
	struct folio *folio;
	unsigned long pte;
	u32 shared, stop;
	unsigned long pinned, backed_off;
} pin_race;

static void pin_side(void)
{
	for (int i = 0; i < 30000; i++) {
		unsigned long pte = READ_ONCE(pin_race.pte);

		if (!pte || !folio_try_pin(pin_race.folio, 1))
			continue;
		/* seq_cst: pairs with the clearing of the entry in share_side() */
		if (smp_load_seq_cst(&pin_race.pte) == pte &&
		    folio_test_anon_exclusive(pin_race.folio, 0)) {
			pin_race.pinned++;
			/* while we have the pin nobody shares the page */
			assert_false(READ_ONCE(pin_race.shared));
		}
		folio_unpin(pin_race.folio, 1);
	}
	smp_store_release(&pin_race.stop, 1u);
}

static void share_side(void)
{
	const struct folio_subrange sr = folio_subrange(pin_race.folio, 0, 1);

	while (!smp_load_acquire(&pin_race.stop)) {
		/* seq_cst: pairs with the re-read in pin_side() */
		xchg_seq_cst(&pin_race.pte, 0ul);
		if (folio_maybe_dma_pinned(pin_race.folio)) {
			pin_race.backed_off++;
			smp_store_release(&pin_race.pte, 1ul);
			continue;
		}
		folio_clear_anon_exclusive(sr);
		WRITE_ONCE(pin_race.shared, 1u);
		/* the entry comes back with its old value; the exclusivity does not */
		smp_store_release(&pin_race.pte, 1ul);
		octavo_port_relax();
		xchg_seq_cst(&pin_race.pte, 0ul);
		WRITE_ONCE(pin_race.shared, 0u);
		folio_set_anon_exclusive(sr);
		smp_store_release(&pin_race.pte, 1ul);
	}
}

static void pin_against_share(unsigned int cpu, void *arg)
{
	if (cpu)
		share_side();
	else
		pin_side();
}

COVERS("S2.29 SX.7");
static void test_folio_ref_pin_or_share_never_both(void **state)
{
	boot();
	for (unsigned int order = 0; order < 2; order++) {
		memset(&pin_race, 0, sizeof(pin_race));
		pin_race.folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
		folio_set_anon_exclusive(folio_subrange(pin_race.folio, 0, 1));
		pin_race.pte = 1;
		sim_run(2, false, pin_against_share, NULL);
		assert_int_equal(folio_ref_count(pin_race.folio), 1);
		folio_put(pin_race.folio);
	}
	shutdown_clean();
}

/*
 * The look-up of docs/memdesc.md "Look-ups" through an entry (a word that stands for it) that maps
 * one folio after the other, which are unmapped and freed at any moment. What was pinned stays as
 * it is until it is unpinned.
 */
static struct {
	unsigned long pte; /* pfn, 0: not present */
	u32 stop;
	unsigned long pinned;
} entry;

static void map_and_unmap(void)
{
	for (unsigned long life = 1; life < 20000 || READ_ONCE(entry.pinned) < 200; life++) {
		struct folio *folio = folio_alloc(GFP_KERNEL, life % 3, FOLIO_ANON);
		unsigned long pfn;

		assert_non_null(folio);
		pfn = folio_pfn(folio) + folio_nr_pages(folio) - 1;
		*(unsigned long *)pfn_to_virt(pfn) = life;
		/* release: pairs with the re-read; what is in the page is seen */
		smp_store_release(&entry.pte, pfn);
		if (life % 16 == 0)
			octavo_port_relax();
		/* seq_cst: pairs with the re-read */
		xchg_seq_cst(&entry.pte, 0ul);
		folio_put(folio);
	}
	smp_store_release(&entry.stop, 1u);
}

static struct folio *look_up(unsigned long *pfn)
{
	struct folio *folio = NULL;
	memdesc_t md;

	rcu_read_lock();
	*pfn = READ_ONCE(entry.pte);
	md = *pfn ? page_memdesc(pfn_to_page(*pfn)) : memdesc_mk(0);
	if (memdesc_is_folio(md) && folio_try_pin(memdesc_ptr(md), 1)) {
		folio = memdesc_ptr(md);
		/* the word, then the entry; seq_cst: pairs with the clearing */
		if (!memdesc_eq(page_memdesc_relaxed(pfn_to_page(*pfn)), md) ||
		    smp_load_seq_cst(&entry.pte) != *pfn) {
			folio_unpin(folio, 1);
			folio = NULL;
		}
	}
	rcu_read_unlock();
	return folio;
}

static void pin_and_look(void)
{
	while (!smp_load_acquire(&entry.stop)) {
		unsigned long pfn, life;
		struct folio *folio = look_up(&pfn);

		if (!folio)
			continue;
		assert_true(folio_contains(folio, pfn));
		assert_true(folio_maybe_dma_pinned(folio));
		life = *(unsigned long *)pfn_to_virt(pfn);
		octavo_port_relax();
		assert_int_equal(*(unsigned long *)pfn_to_virt(pfn), life);
		assert_int_equal(life % 3, folio_order(folio));
		WRITE_ONCE(entry.pinned, entry.pinned + 1);
		folio_unpin(folio, 1);
	}
}

static void scribble(void)
{
	while (!smp_load_acquire(&entry.stop)) {
		struct folio *folio = folio_alloc(GFP_KERNEL, 0, FOLIO_FILE);

		assert_non_null(folio);
		*(unsigned long *)folio_address(folio) = ~0ul;
		folio_put(folio);
	}
}

static void look_up_roles(unsigned int cpu, void *arg)
{
	if (cpu == 0)
		map_and_unmap();
	else if (cpu == 1)
		pin_and_look();
	else
		scribble();
}

COVERS("S3.9 S3.10");
static void test_folio_ref_pinned_through_an_entry_stays(void **state)
{
	boot_small(4, 4);
	memset(&entry, 0, sizeof(entry));
	sim_run(3, false, look_up_roles, NULL);
	shutdown_clean();
}

/* ---- the lock ---- */

static struct {
	struct folio *folio;
	unsigned long sum;
} lock_race;

static void lock_and_add(unsigned int cpu, void *arg)
{
	for (int i = 0; i < 20000; i++) {
		if (i % 8 == 0) {
			while (!folio_trylock(lock_race.folio))
				octavo_port_relax();
		} else {
			folio_lock(lock_race.folio);
		}
		lock_race.sum++;
		/* other flags change beside it, by those who have no lock */
		folio_set_flag(lock_race.folio, PG_referenced);
		folio_unlock(lock_race.folio);
		folio_clear_flag(lock_race.folio, PG_referenced);
	}
}

static void test_folio_ref_lock_excludes_and_wakes(void **state)
{
	boot();
	lock_race.sum = 0;
	lock_race.folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	assert_true(folio_trylock(lock_race.folio));
	assert_false(folio_trylock(lock_race.folio));
	folio_unlock(lock_race.folio);
	sim_run(3, false, lock_and_add, NULL);
	assert_int_equal(lock_race.sum, 60000);
	assert_false(folio_test_locked(lock_race.folio));
	assert_false(folio_test_flag(lock_race.folio, PG_waiters));
	folio_put(lock_race.folio);
	shutdown_clean();
}

static void sleeper(unsigned int cpu, void *arg)
{
	if (cpu == 0) {
		/* long enough that the others are parked, not spinning */
		for (int i = 0; i < 20000; i++)
			octavo_port_relax();
	} else {
		folio_lock(lock_race.folio);
		lock_race.sum++;
	}
	folio_unlock(lock_race.folio);
}

static void test_folio_ref_unlock_wakes_all_who_sleep_one_by_one(void **state)
{
	boot();
	lock_race.sum = 0;
	lock_race.folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	folio_lock(lock_race.folio);
	sim_run(4, false, sleeper, NULL);
	assert_int_equal(lock_race.sum, 3);
	folio_put(lock_race.folio);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folio_ref_last_put_frees),
		cmocka_unit_test(test_folio_ref_descriptor_stays_one_while_somebody_may_look),
		cmocka_unit_test(test_folio_ref_frozen_refuses),
		cmocka_unit_test(test_folio_ref_count_saturates_and_sticks),
		cmocka_unit_test(test_folio_ref_misuse_is_fatal),
#if OCTAVO_FAULTS
		cmocka_unit_test(test_folio_ref_try_get_refused_changes_nothing),
#endif
		cmocka_unit_test(test_folio_ref_pins_small_by_bias_large_exactly),
		cmocka_unit_test(test_folio_ref_pin_or_share_never_both),
		cmocka_unit_test(test_folio_ref_pinned_through_an_entry_stays),
		cmocka_unit_test(test_folio_ref_lock_excludes_and_wakes),
		cmocka_unit_test(test_folio_ref_unlock_wakes_all_who_sleep_one_by_one),
	};

	return cmocka_run_group_tests_name("folio_ref", tests, NULL, NULL);
}
