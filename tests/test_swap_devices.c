/* SPDX-License-Identifier: MIT */
/*
 * test_swap_devices.c - the host's swap devices under the real swap core: folios of all orders out and in again, more than there
 * is memory, with errors on the way; every byte is compared.
 */
#include "swapdev_machine.h"

#define MIB (OCTAVO_TREE_ORDER > 6 ? 96u : 8u)

/* Pages that go out; the shipped core has the full 256 MiB. */
#if OCTAVO_DEBUG
#define PAGES (MIB * 128u)
#else
#define PAGES 65536u
#endif
#define CPUS	2u
#define WINDOW	8u /* folios under writeback at once */
#define MAX_OUT (PAGES / CPUS)

static struct swapdev *sd;
static int type;

static int boot(void **state)
{
	sim_log_to(log_nowhere);
	boot_small(MIB, 4);
	return 0;
}

static int down(void **state)
{
	sim_set_cpu(0);
	shutdown_clean();
	sim_log_to(NULL);
	return 0;
}

/* ---- out ---- */

struct out {
	swp_entry_t entry;
	u64 id;
	u32 order;
};

static struct {
	struct out out[MAX_OUT];
	u32 nr;
	u32 write_errors, read_errors;
	u32 pages;
} cpu_of[CPUS];

static struct folio *make(u32 order, u64 id)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);

	assert_non_null(folio);
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		page_make(page_address(folio_page(folio, i)), id + i);
	folio_lock(folio);
	folio_set_flag(folio, PG_uptodate);
	folio_set_flag(folio, PG_swapbacked);
	return folio;
}

/* Out of the cache, and gone. */
static void forget(struct folio *folio)
{
	assert_true(folio_ref_freeze(folio, 1 + (u32)folio_nr_pages(folio)));
	swap_cache_del(folio, 0);
	folio_ref_unfreeze(folio, 1);
	folio_unlock(folio);
	folio_put(folio);
}

/* Written, however often it takes. */
static void finish(u32 cpu, struct folio *folio)
{
	for (;;) {
		folio_wait_writeback(folio);
		folio_lock(folio);
		if (!folio_test_flag(folio, PG_dirty))
			break;
		cpu_of[cpu].write_errors++;
		assert_true(cpu_of[cpu].write_errors < 100000);
		swap_writeout(folio);
	}
	forget(folio);
}

static void write_all(unsigned int cpu, void *arg)
{
	struct folio *window[WINDOW] = { NULL };
	u64 seed = 77 + cpu, id = (u64)cpu << 40 | 1;
	u32 n = 0, pages = *(u32 *)arg;

	cpu_of[cpu].pages = 0;
	cpu_of[cpu].write_errors = 0;
	while (cpu_of[cpu].pages < pages) {
		static const u8 orders[] = { 0, 0, 0, 1, 2, 4, 4, 6 };
		u32 order = min((u32)orders[next(&seed) % 8], (u32)SWAP_MAX_ORDER);
		struct folio *folio = make(order, id);
		struct out *o = &cpu_of[cpu].out[n];

		while (folio_alloc_swap(folio)) {
			/* no run so long: a smaller one, of the same contents */
			assert_true(order > 0);
			folio_unlock(folio);
			folio_put(folio);
			folio = make(--order, id);
		}
		assert_int_equal(folio_dup_swap(folio_subrange(folio, 0, folio_nr_pages(folio))),
				 0);
		*o = (struct out){ folio_swap_entry(folio, 0), id, order };
		swap_writeout(folio);
		if (window[n % WINDOW])
			finish(cpu, window[n % WINDOW]);
		window[n % WINDOW] = folio;
		n++;
		id += 1ul << order;
		cpu_of[cpu].pages += 1u << order;
	}
	for (u32 i = 0; i < WINDOW; i++)
		if (window[(n + i) % WINDOW])
			finish(cpu, window[(n + i) % WINDOW]);
	cpu_of[cpu].nr = n;
}

/* ---- and in ---- */

static void read_one(u32 cpu, const struct out *o)
{
	u64 shadows[1u << SWAP_MAX_ORDER];
	struct folio *folio;

	for (;;) {
		folio = folio_alloc(GFP_KERNEL, o->order, FOLIO_ANON);
		assert_non_null(folio);
		memset(folio_address(folio), 0x5a, folio_size(folio));
		folio_lock(folio);
		assert_int_equal(swap_cache_add(folio, o->entry, shadows), 0);
		swap_read_folio(folio);
		swap_lock_folio(folio);
		if (folio_test_flag(folio, PG_uptodate))
			break;
		cpu_of[cpu].read_errors++;
		assert_true(cpu_of[cpu].read_errors < 100000);
		forget(folio);
	}
	for (unsigned long i = 0; i < folio_nr_pages(folio); i++)
		assert_true(page_is(page_address(folio_page(folio, i)), o->id + i));
	folio_unlock(folio);
	swap_free_entries(o->entry, 1u << o->order);
	folio_lock(folio);
	if (folio_test_flag(folio, PG_swapcache))
		assert_true(folio_free_swap(folio));
	folio_unlock(folio);
	folio_put(folio);
}

static u32 gcd(u32 a, u32 b)
{
	return b ? gcd(b, a % b) : a;
}

static void read_all(unsigned int cpu, void *arg)
{
	/* in another order than they went, each CPU what the other one has written */
	const u32 other = CPUS - 1 - cpu, n = cpu_of[other].nr;
	u32 step = n / 3;

	cpu_of[cpu].read_errors = 0;
	while (gcd(n, step) != 1)
		step++;
	for (u32 i = 0, at = 0; i < n; i++, at = (at + step) % n)
		read_one(cpu, &cpu_of[other].out[at]);
}

/* Which errors have to have happened, and no others. */
static void out_and_in(u32 pages, bool write_errors, bool read_errors)
{
	struct swap_stat st;
	u32 per_cpu = pages / CPUS;

	type = swapdev_on(sd, 1);
	assert_true(type >= 0);
	assert_int_equal(swapdev_on(sd, 1), -EBUSY);
	sim_run(CPUS, false, write_all, &per_cpu);
	assert_true(swap_stat(type, &st));
	assert_int_equal(st.used, cpu_of[0].pages + cpu_of[1].pages);
	assert_int_equal(st.cached, 0);
	assert_true(octavo_validate());
	sim_run(CPUS, false, read_all, NULL);
	assert_true(swap_stat(type, &st));
	assert_int_equal(st.used, 0);
	assert_int_equal(write_errors, cpu_of[0].write_errors + cpu_of[1].write_errors > 0);
	assert_int_equal(read_errors, cpu_of[0].read_errors + cpu_of[1].read_errors > 0);
	assert_int_equal(swap_device_close_begin(type), 0);
	assert_int_equal(swap_device_close_end(type), 0);
}

/* ---- devices ---- */

static struct swapdev *zram(u64 slots, u64 limit_pages, enum swapdev_codec codec,
			    struct swapdev *backing)
{
	const struct swapdev_zram_args args = { .bytes = slots * PAGE_SIZE,
						.limit = limit_pages * PAGE_SIZE,
						.codec = codec,
						.backing = backing };
	struct swapdev *z;

	assert_int_equal(swapdev_zram_create(&args, &z), 0);
	return z;
}

static struct swapdev *failing(struct swapdev *inner, u32 rate, u32 hold)
{
	const struct swapdev_inject_args args = {
		.inner = inner, .seed = 5, .read_errors = rate, .write_errors = rate, .hold = hold
	};
	struct swapdev *d;

	assert_int_equal(swapdev_inject_create(&args, &d), 0);
	return d;
}

static struct swapdev *file(const char *what, u64 slots, bool thread)
{
	struct swapdev_file_args args = { .path = file_name(what),
					  .bytes = slots * PAGE_SIZE,
					  .create = true };
	struct swapdev *f;

	if (thread)
		args.thread = own_thread;
	assert_int_equal(swapdev_file_create(&args, &f), 0);
	return f;
}

/*
 * Folios of several pages leave gaps where slots became bad, so there are more slots than pages.
 */
#define ROOM (PAGES * 2)

/* Compressed memory of an eighth of what goes out, the rest on a file whose transfers fail, late and out of order. */
static void test_devices_zram_with_write_back(void **state)
{
	struct swapdev *f = file("back", ROOM, false),
		       *bad = failing(f, PAGES < 4096 ? 200000 : 30000, 8);
	struct swapdev_zram_stat st;

	sd = zram(ROOM, PAGES / 8, SWAPDEV_LZ4, bad);
	type = swapdev_on(sd, 1);
	assert_int_equal(swap_device_close_begin(type), 0);
	assert_int_equal(swap_device_close_end(type), 0);
	/* what cannot be written back stays where it was: nobody is told */
	out_and_in(PAGES, false, true);
	swapdev_zram_stat(sd, &st);
	assert_true(st.written_back > PAGES / 20);
	assert_true(st.back_bad > 0);
	assert_int_equal(st.same + st.objects + st.backed, 0);
	assert_true(swapdev_zram_validate(sd));
	swapdev_destroy(sd);
	swapdev_destroy(bad);
	swapdev_destroy(f);
	unlink(file_path);
}

static void test_devices_zram_alone(void **state)
{
	u32 pages = MIB * 128;

	for (int codec = 0; codec < NR_SWAPDEV_CODECS; codec++) {
		sd = zram(pages * 2, 0, codec, NULL);
		out_and_in(pages, false, false);
		assert_true(swapdev_zram_validate(sd));
		swapdev_destroy(sd);
	}
}

static void test_devices_zram_that_fails(void **state)
{
	struct swapdev *z = zram(MIB * 256, 0, SWAPDEV_LZ4, NULL);

	sd = failing(z, 20000, 0);
	assert_true(sd->flags & SWAP_FLAG_SYNC);
	out_and_in(MIB * 128, true, true);
	swapdev_destroy(sd);
	assert_true(swapdev_zram_validate(z));
	swapdev_destroy(z);
}

static void test_devices_file_polled(void **state)
{
	sd = file("polled", MIB * 256, false);
	out_and_in(MIB * 128, false, false);
	swapdev_destroy(sd);
	unlink(file_path);
}

static void test_devices_file_with_thread(void **state)
{
	sd = file("thread", MIB * 256, true);
	out_and_in(MIB * 128, false, false);
	swapdev_destroy(sd);
	unlink(file_path);
}

static void test_devices_file_that_fails(void **state)
{
	struct swapdev *f = file("fails", MIB * 512, false);

	sd = failing(f, 20000, 16);
	out_and_in(MIB * 128, true, true);
	swapdev_destroy(sd);
	swapdev_destroy(f);
	unlink(file_path);
}

static void destroy_it(void *arg)
{
	swapdev_destroy(sd);
}

static void test_devices_in_use_are_not_destroyed(void **state)
{
	sd = zram(100, 0, SWAPDEV_LZ4, NULL);
	type = swapdev_on(sd, 1);
	assert_true(type >= 0);
	assert_non_null(strstr(sim_expect_panic(destroy_it, NULL), "in use"));
	assert_int_equal(swap_device_close_begin(type), 0);
	assert_int_equal(swap_device_close_end(type), 0);
	swapdev_destroy(sd);
}

#define DTEST(name) cmocka_unit_test_setup_teardown(name, boot, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DTEST(test_devices_zram_with_write_back),     DTEST(test_devices_zram_alone),
		DTEST(test_devices_zram_that_fails),	      DTEST(test_devices_file_polled),
		DTEST(test_devices_file_with_thread),	      DTEST(test_devices_file_that_fails),
		DTEST(test_devices_in_use_are_not_destroyed),
	};

	return cmocka_run_group_tests_name("swap_devices-" TEST_VARIANT, tests, NULL, NULL);
}
