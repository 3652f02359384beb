// SPDX-License-Identifier: MIT
/*
 * test_swap_smp.c - swap with four CPUs at once, and places that stand for page-table entries.
 *
 * A place is empty, has a page of a folio (with a reference), or an entry of a slot (with a count); a spinlock is its
 * page-table lock. Threads fill places, swap them out and in, copy and zap them. A page's contents say what they are, so a
 * slot or frame that was given to somebody else too early is seen when it is read.
 */
#include "swap_machine.h"

enum { PLACES = 48, CPUS = 4 };

enum what { EMPTY, MAPPED, SWAPPED };

struct place {
	spinlock_t lock; /* of all below */
	enum what what;
	struct folio *folio;
	unsigned long idx;
	swp_entry_t entry;
	u64 contents;
};

static struct place place[PLACES];
static u64 next_contents;
static struct test_device *dev[2];
static u64 counts[CPUS][4]; /* out, in, copied, failed */

static void check(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "test_swap_smp: %s\n", what);
		abort();
	}
}

static u64 *page_of(const struct place *p)
{
	return page_address(folio_page(p->folio, p->idx));
}

/* ---- fill ---- */

/* Consecutive places get a folio, if all are empty. */
static void fill(unsigned int at, unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
	u64 contents = fetch_add_relaxed(&next_contents, 1ul << order);
	unsigned int nr = 1u << order;

	if (!folio)
		return;
	for (unsigned int i = 0; i < nr; i++)
		*(u64 *)page_address(folio_page(folio, i)) = contents + i;
	folio_set_flag(folio, PG_uptodate);
	at &= ~(nr - 1);
	for (unsigned int i = 0; i < nr; i++) {
		struct place *p = &place[at + i];

		spin_lock(&p->lock);
		if (p->what == EMPTY) {
			folio_get(folio);
			p->what = MAPPED;
			p->folio = folio;
			p->idx = i;
			p->contents = contents + i;
		}
		spin_unlock(&p->lock);
	}
	folio_put(folio);
}

/* ---- out ---- */

/* The place's page becomes an entry. The folio is locked and in the cache. */
static bool unmap(struct place *p, struct folio *folio)
{
	struct folio_subrange sr;
	bool ok = false;

	spin_lock(&p->lock);
	if (p->what == MAPPED && p->folio == folio) {
		sr = folio_subrange(folio, p->idx, 1);
		ok = !folio_dup_swap(sr);
	}
	if (ok) {
		p->what = SWAPPED;
		p->entry = folio_swap_entry(folio, p->idx);
		p->folio = NULL;
	}
	spin_unlock(&p->lock);
	if (ok)
		folio_put(folio);
	return ok;
}

static void out(unsigned int cpu, unsigned int at)
{
	struct place *p = &place[at];
	struct folio *folio = NULL;

	spin_lock(&p->lock);
	if (p->what == MAPPED) {
		folio = p->folio;
		folio_get(folio);
	}
	spin_unlock(&p->lock);
	if (!folio)
		return;
	if (!folio_trylock(folio)) {
		folio_put(folio);
		return;
	}
	if (!folio_test_flag(folio, PG_swapcache) && folio_alloc_swap(folio)) {
		counts[cpu][3]++;
		drop(folio);
		return;
	}
	counts[cpu][0] += unmap(p, folio);
	folio_wait_writeback(folio);
	if (folio_test_flag(folio, PG_dirty)) {
		swap_writeout(folio);
		folio_wait_writeback(folio);
		folio_lock(folio);
	}
	if (folio_test_flag(folio, PG_swapcache) && !folio_test_flag(folio, PG_dirty) &&
	    !folio_test_flag(folio, PG_writeback) &&
	    folio_ref_freeze(folio, 1 + (u32)folio_nr_pages(folio))) {
		swap_cache_del(folio, cpu + 1);
		folio_ref_unfreeze(folio, 1);
	} else {
		folio_free_swap(folio);
	}
	drop(folio);
}

/* ---- in ---- */

/* A folio for @entry that is being read, or was; with a reference. NULL: try again, or not at all. */
static struct folio *read_in(swp_entry_t entry)
{
	struct folio *folio = swap_cache_get_folio(entry);
	unsigned int order = 0;

	if (folio)
		return folio;
	while (order < 2 && IS_ALIGNED(swp_offset(entry), 2ul << order) &&
	       swap_uncached_run(entry, 2u << order) == 2u << order)
		order++;
	folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);
	if (!folio)
		return NULL;
	folio_lock(folio);
	if (swap_cache_add(folio, entry, NULL)) {
		drop(folio);
		return NULL;
	}
	swap_read_folio(folio);
	return folio;
}

static void in(unsigned int cpu, unsigned int at)
{
	struct place *p = &place[at];
	struct folio *folio;
	swp_entry_t entry;
	long idx;

	spin_lock(&p->lock);
	entry = p->what == SWAPPED ? p->entry : (swp_entry_t){ 0 };
	spin_unlock(&p->lock);
	if (!entry.v)
		return;
	folio = read_in(entry);
	if (!folio)
		return;
	swap_lock_folio(folio);
	idx = swap_cache_index(folio, entry);
	if (idx < 0 || !folio_test_flag(folio, PG_uptodate)) {
		counts[cpu][3]++;
		/* nobody has to find one that could not be read */
		if (idx >= 0 && !folio_test_flag(folio, PG_writeback))
			swap_cache_del(folio, 0);
		drop(folio);
		return;
	}
	spin_lock(&p->lock);
	if (p->what == SWAPPED && p->entry.v == entry.v) {
		p->what = MAPPED;
		p->folio = folio;
		p->idx = (unsigned long)idx;
		folio_get(folio);
		check(*page_of(p) == p->contents, "read other contents than were written");
		swap_free_entries(entry, 1);
		counts[cpu][1]++;
	}
	spin_unlock(&p->lock);
	folio_free_swap(folio);
	drop(folio);
}

/* ---- copy, zap, look ---- */

static void copy(unsigned int cpu, unsigned int from, unsigned int to)
{
	struct place *a = &place[min(from, to)], *b = &place[max(from, to)];
	struct place *src = &place[from], *dst = &place[to];

	if (from == to)
		return;
	spin_lock(&a->lock);
	spin_lock(&b->lock);
	if (dst->what == EMPTY && src->what != EMPTY) {
		if (src->what == SWAPPED)
			check(!swap_dup_entries(src->entry, 1), "an entry could not be copied");
		else
			folio_get(src->folio);
		dst->what = src->what;
		dst->folio = src->folio;
		dst->idx = src->idx;
		dst->entry = src->entry;
		dst->contents = src->contents;
		counts[cpu][2]++;
	}
	spin_unlock(&b->lock);
	spin_unlock(&a->lock);
}

static void zap(unsigned int at)
{
	struct place *p = &place[at];
	struct folio *folio = NULL;

	spin_lock(&p->lock);
	if (p->what == MAPPED) {
		folio = p->folio;
		check(*page_of(p) == p->contents, "mapped other contents than were there");
	} else if (p->what == SWAPPED) {
		swap_free_entries(p->entry, 1);
	}
	p->what = EMPTY;
	spin_unlock(&p->lock);
	if (!folio)
		return;
	if (folio_test_flag(folio, PG_swapcache) && folio_trylock(folio)) {
		folio_free_swap(folio);
		folio_unlock(folio);
	}
	folio_put(folio);
}

static void look(unsigned int at)
{
	struct swap_stat st;

	check(swap_stat(-1, &st), "no sums");
	(void)swap_has_room();
	(void)swap_shadow(swp_entry(0, at));
	(void)swap_entry_valid(swp_entry(1, at));
	(void)swap_next_used(1, at);
}

static unsigned int rounds;

static void work(unsigned int cpu, void *arg)
{
	unsigned int seed = cpu + 17 * rounds;

	sim_set_cpu(cpu);
	for (unsigned int i = 0; i < rounds; i++) {
		unsigned int r = (unsigned int)rand_r(&seed), at = r / 64 % PLACES;

		if (r % 64 < 10)
			fill(at, r / 8 % 3);
		else if (r % 64 < 30)
			out(cpu, at);
		else if (r % 64 < 50)
			in(cpu, at);
		else if (r % 64 < 56)
			copy(cpu, at, r / 7 % PLACES);
		else if (r % 64 < 63)
			zap(at);
		else
			look(r % 16);
	}
}

/* What nobody could take out of the cache at the time, because somebody else had it locked. */
static void sweep(void)
{
	for (int type = 0; type < 2; type++) {
		unsigned long slot = 0;

		while ((slot = swap_next_used(type, slot)) != ~0ul) {
			swp_entry_t entry = swp_entry((enum swp_type)type, slot);
			struct folio *folio = swap_cache_get_folio(entry);

			assert_int_equal(swap_count(entry), 0);
			assert_non_null(folio);
			folio_wait_writeback(folio);
			folio_lock(folio);
			assert_true(folio_free_swap(folio));
			drop(folio);
		}
	}
}

static void run(enum test_device_mode a, enum test_device_mode b, int write_err, int read_err)
{
	u64 sum[4] = { 0 };

	swap_boot();
	memset(place, 0, sizeof(place));
	memset(counts, 0, sizeof(counts));
	next_contents = 1;
	dev[0] = test_device_on(2 * CLUSTER, 0, a);
	dev[1] = test_device_on(4 * CLUSTER, 0, b);
	for (unsigned int i = 0; i < 2; i++) {
		dev[i]->fail_err[1] = write_err;
		dev[i]->fail_err[0] = read_err;
		dev[i]->fail_left = ~0u;
		dev[i]->fail_slot = 5;
	}
	rounds = 4000;
	sim_run(CPUS, false, work, NULL);
	sim_set_cpu(0);
	for (unsigned int i = 0; i < PLACES; i++)
		zap(i);
	sweep();
	for (unsigned int cpu = 0; cpu < CPUS; cpu++)
		for (unsigned int i = 0; i < 4; i++)
			sum[i] += counts[cpu][i];
	assert_true(sum[0] > rounds / 8 && sum[1] > rounds / 8 && sum[2] > rounds / 64);
	assert_true(octavo_validate());
	assert_int_equal(stat_of(-1).used, 0);
	test_device_off(dev[1]);
	test_device_off(dev[0]);
	shutdown_clean();
}

COVERS("S2.26 S2.27");
static void test_four_cpus_and_fast_devices(void **state)
{
	run(TD_SYNC, TD_NOW, 0, 0);
}

static void test_four_cpus_and_devices_that_end_later(void **state)
{
	run(TD_THREAD, TD_POLLED, 0, 0);
}

COVERS("S2.26");
static void test_four_cpus_and_failing_devices(void **state)
{
	run(TD_THREAD, TD_SYNC, -EIO, 0);
	run(TD_POLLED, TD_THREAD, -ENOSPC, -EIO);
}

/* Devices come and go under those who allocate. */
static u32 going;

static void on_and_off(unsigned int cpu, void *arg)
{
	sim_set_cpu(cpu);
	if (cpu) {
		while (smp_load_acquire(&going)) {
			struct folio *folio = folio_alloc(GFP_KERNEL, cpu % 3, FOLIO_ANON);

			folio_lock(folio);
			folio_set_flag(folio, PG_uptodate);
			if (!folio_alloc_swap(folio))
				check(folio_free_swap(folio), "nobody else has it");
			drop(folio);
			look(cpu);
		}
		return;
	}
	for (unsigned int i = 0; i < 100; i++) {
		int type = swapon(&td_ops, dev[0], 2 * CLUSTER, 5, SWAP_FLAG_SYNC);
		int err;

		check(type >= 0, "no device");
		for (unsigned int j = 0; j < 3; j++)
			sched_yield();
		check(!swap_device_close_begin(type), "cannot begin to close");
		do
			err = swap_device_close_end(type);
		while (err == -EBUSY);
		check(!err, "cannot close");
	}
	smp_store_release(&going, 0u);
}

static void test_devices_come_and_go(void **state)
{
	swap_boot();
	dev[0] = test_device_make(2 * CLUSTER, TD_SYNC);
	dev[1] = test_device_on(4 * CLUSTER, 0, TD_SYNC);
	going = 1;
	sim_run(CPUS, false, on_and_off, NULL);
	sim_set_cpu(0);
	assert_int_equal(stat_of(-1).used, 0);
	assert_true(octavo_validate());
	test_device_off(dev[1]);
	test_device_free(dev[0]);
	shutdown_clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_four_cpus_and_fast_devices),
		TEST(test_four_cpus_and_devices_that_end_later),
		TEST(test_four_cpus_and_failing_devices),
		TEST(test_devices_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
