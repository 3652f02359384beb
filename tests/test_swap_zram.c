/* SPDX-License-Identifier: MIT */
/*
 * test_swap_zram.c - compressed memory as a swap device: contents, limits, write-back, errors below, two CPUs.
 */
#include "swapdev_machine.h"

#include "../port/swap/zram.h"

#define MIB 96

static struct swapdev *sd;

static int boot(void **state)
{
	sim_log_to(log_nowhere);
	boot_small(MIB, 4);
	sd = NULL;
	return 0;
}

static int down(void **state)
{
	sim_set_cpu(0);
	if (octavo_state.up)
		shutdown_clean();
	sim_log_to(NULL);
	return 0;
}

static void make(u64 slots, u64 limit_pages, enum swapdev_codec codec, struct swapdev *backing)
{
	const struct swapdev_zram_args args = { .bytes = slots * PAGE_SIZE,
						.limit = limit_pages * PAGE_SIZE,
						.codec = codec,
						.backing = backing };

	assert_int_equal(swapdev_zram_create(&args, &sd), 0);
	assert_int_equal(sd->nr_slots, slots);
	assert_true(sd->flags & SWAP_FLAG_SYNC);
}

static struct swapdev_zram_stat stat_now(void)
{
	struct swapdev_zram_stat st;

	swapdev_zram_stat(sd, &st);
	return st;
}

static void done(void)
{
	assert_true(swapdev_zram_validate(sd));
	swapdev_destroy(sd);
}

/* ---- contents ---- */

static void test_zram_runs_come_back(void **state)
{
	static const u32 runs[] = { 1, 2, 3, 16, 17, 64, 511, 512 };

	for (int codec = 0; codec < NR_SWAPDEV_CODECS; codec++) {
		unsigned long slot = 1;

		make(2048, 0, codec, NULL);
		for (u32 r = 0; r < ARRAY_SIZE(runs); r++, slot += runs[r - 1])
			assert_int_equal(write_run(sd, slot, runs[r], slot), 0);
		slot = 1;
		for (u32 r = 0; r < ARRAY_SIZE(runs); r++, slot += runs[r - 1])
			assert_int_equal(read_run(sd, slot, runs[r], slot), 0);
		/* and in other pieces */
		for (unsigned long s = 1; s + 7 < slot; s += 7)
			assert_int_equal(read_run(sd, s, 7, s), 0);
		assert_true(stat_now().bytes < stat_now().objects * PAGE_SIZE * 3 / 4);
		done();
	}
}

static void test_zram_same_pages_cost_nothing(void **state)
{
	u64 *p = (u64 *)pages_alloc(1);

	make(1000, 0, SWAPDEV_LZ4, NULL);
	for (u64 slot = 1; slot < 1000; slot++) {
		for (u32 i = 0; i < PAGE_SIZE / 8; i++)
			p[i] = slot % 3 ? slot * 0x123456789abul : 0;
		assert_int_equal(swapdev_transfer(sd, SWAP_WRITE, slot, 1, p), 0);
	}
	assert_int_equal(stat_now().same, 999);
	assert_int_equal(stat_now().frames, 0);
	for (u64 slot = 1; slot < 1000; slot++) {
		assert_int_equal(swapdev_transfer(sd, SWAP_READ, slot, 1, p), 0);
		for (u32 i = 0; i < PAGE_SIZE / 8; i++)
			assert_int_equal(p[i], slot % 3 ? slot * 0x123456789abul : 0);
	}
	/* one other byte, anywhere, and it is no such page */
	for (u32 at = 0; at < PAGE_SIZE; at += 97) {
		memset(p, 7, PAGE_SIZE);
		((u8 *)p)[at] = 8;
		assert_int_equal(swapdev_transfer(sd, SWAP_WRITE, 5, 1, p), 0);
		assert_int_equal(stat_now().same, 998);
		memset(p, 0, PAGE_SIZE);
		assert_int_equal(swapdev_transfer(sd, SWAP_READ, 5, 1, p), 0);
		for (u32 i = 0; i < PAGE_SIZE; i++)
			assert_int_equal(((u8 *)p)[i], i == at ? 8 : 7);
	}
	free(p);
	done();
}

static void test_zram_random_pages_are_kept_as_they_are(void **state)
{
	u8 *p = pages_alloc(16);
	u64 seed = 1;

	for (int codec = 0; codec < NR_SWAPDEV_CODECS; codec++) {
		make(17, 0, codec, NULL);
		for (u32 i = 0; i < 16 * PAGE_SIZE; i++)
			p[i] = (u8)next(&seed);
		assert_int_equal(swapdev_transfer(sd, SWAP_WRITE, 1, 16, p), 0);
		assert_int_equal(stat_now().raw, 16);
		assert_int_equal(stat_now().bytes, 16 * PAGE_SIZE);
		assert_int_equal(stat_now().frames, 16);
		swapdev_discard(sd, 1, 16);
		assert_int_equal(stat_now().raw, 0);
		done();
	}
	free(p);
}

static void test_zram_slots_without_contents(void **state)
{
	make(100, 0, SWAPDEV_LZ4, NULL);
	assert_int_equal(read_run(sd, 3, 1, 0), -EIO);
	assert_int_equal(write_run(sd, 1, 50, 1), 0);
	/* one of a run is enough */
	assert_int_equal(read_run(sd, 40, 12, 40), -EIO);
	assert_int_equal(read_run(sd, 40, 11, 40), 0);
	swapdev_discard(sd, 45, 2);
	assert_int_equal(read_run(sd, 45, 1, 45), -EIO);
	assert_int_equal(read_run(sd, 46, 1, 46), -EIO);
	assert_int_equal(read_run(sd, 40, 5, 40), 0);
	assert_int_equal(read_run(sd, 47, 4, 47), 0);
	/* again is nothing */
	swapdev_discard(sd, 40, 60);
	swapdev_discard(sd, 40, 60);
	assert_int_equal(write_run(sd, 20, 30, 1000), 0);
	assert_int_equal(read_run(sd, 20, 30, 1000), 0);
	assert_int_equal(read_run(sd, 1, 19, 1), 0);
	done();
}

static void test_zram_corruption_is_an_error(void **state)
{
	for (int codec = 0; codec < NR_SWAPDEV_CODECS; codec++) {
		struct zram *z;
		u64 id = 0;
		void *p;
		u32 size;

		while (kind_of(id) != KIND_TEXT)
			id++;
		make(10, 0, codec, NULL);
		assert_int_equal(write_run(sd, 1, 1, id), 0);
		z = zram_of(sd);
		p = (void *)zpool_view(z->pool, z->slot[1].value, NULL, &size);
		memset(p, 0xff, size);
		zpool_unview(z->pool, z->slot[1].value);
		assert_int_equal(read_run(sd, 1, 1, id), -EIO);
		assert_int_equal(stat_now().corrupt, 1);
		assert_int_equal(write_run(sd, 1, 1, id), 0);
		assert_int_equal(read_run(sd, 1, 1, id), 0);
		done();
	}
}

/* ---- room ---- */

static void test_zram_limit_without_backing(void **state)
{
	unsigned long slot = 1;

	make(4000, 100, SWAPDEV_LZ4, NULL);
	while (write_run(sd, slot, 8, slot) == 0)
		slot += 8;
	assert_true(slot > 100);
	assert_int_equal(write_run(sd, slot, 8, slot), -ENOSPC);
	/* a run that failed has no contents, the others have */
	for (u32 i = 0; i < 8; i++)
		assert_int_equal(read_run(sd, slot + i, 1, slot + i), -EIO);
	for (unsigned long s = 1; s < slot; s += 8)
		assert_int_equal(read_run(sd, s, 8, s), 0);
	assert_in_range(stat_now().frames, 98, 100);
	assert_true(stat_now().full >= 2);
	/* room again, whatever sizes were there */
	for (unsigned long s = 1; s < slot; s += 16)
		swapdev_discard(sd, s, 8);
	assert_int_equal(write_run(sd, slot, 8, slot), 0);
	assert_int_equal(read_run(sd, slot, 8, slot), 0);
	/* overwriting needs no room beside */
	for (unsigned long s = 9; s < slot; s += 16)
		assert_int_equal(write_run(sd, s, 8, s), 0);
	done();
}

static void test_zram_memory_runs_out(void **state)
{
	unsigned long slot = 1;

	make(MIB << 10, 0, SWAPDEV_LZ4, NULL);
	while (write_run(sd, slot, 64, slot) == 0)
		slot += 64;
	assert_true(slot > (MIB << 8) / 2);
	for (unsigned long s = 1; s < slot; s += 64)
		assert_int_equal(read_run(sd, s, 64, s), 0);
	done();
}

static void test_zram_oldest_go_to_the_backing_device(void **state)
{
	struct swapdev *file = file_device("zram", 4000);
	unsigned long n = 2400, first_in_memory = 0;
	struct zram *z;
	u32 wrong = 0;

	make(4000, 256, SWAPDEV_LZ4, file);
	z = zram_of(sd);
	assert_int_equal(
		swapdev_file_create(&(struct swapdev_file_args){ .path = file_path }, &file),
		-EBUSY);
	for (unsigned long s = 1; s < n; s += 16)
		assert_int_equal(write_run(sd, s, 16, s), 0);
	assert_true(stat_now().backed > 500);
	assert_in_range(stat_now().frames, 200, 256);
	/* by age, in sixteenths */
	for (unsigned long s = 1; s < n; s++)
		if (z->slot[s].kind == ZSLOT_OBJECT) {
			first_in_memory = first_in_memory ?: s;
		} else if (z->slot[s].kind == ZSLOT_BACKED && first_in_memory) {
			wrong++;
		}
	assert_true(first_in_memory > 1000);
	assert_true(wrong < 100);
	for (unsigned long s = 1; s < n; s += 16)
		assert_int_equal(read_run(sd, s, 16, s), 0);
	for (unsigned long s = 1; s + 512 < n; s += 333)
		assert_int_equal(read_run(sd, s, 512, s), 0);
	/* overwritten and discarded, their slots there are free again */
	assert_int_equal(write_run(sd, 1, 64, 7777), 0);
	assert_int_equal(read_run(sd, 1, 64, 7777), 0);
	swapdev_discard(sd, 1, n + 15);
	assert_int_equal(stat_now().backed, 0);
	assert_int_equal(stat_now().frames, 0);
	file = z->back.dev;
	done();
	swapdev_destroy(file);
	unlink(file_path);
}

static void test_zram_backing_device_full(void **state)
{
	struct swapdev *file = file_device("full", 100);
	unsigned long slot = 1;

	make(4000, 64, SWAPDEV_ZSTD, file);
	while (write_run(sd, slot, 4, slot) == 0)
		slot += 4;
	assert_true(slot > 64 + 99);
	assert_int_equal(stat_now().backed, 99);
	for (unsigned long s = 1; s < slot; s += 4)
		assert_int_equal(read_run(sd, s, 4, s), 0);
	swapdev_discard(sd, 1, 300);
	assert_int_equal(write_run(sd, slot, 4, slot), 0);
	done();
	swapdev_destroy(file);
	unlink(file_path);
}

/* Whatever the device below refuses to write stays in memory, what it does not read is said; nothing is lost. */
static void test_zram_errors_of_the_backing_device(void **state)
{
	struct swapdev *file = file_device("errors", 3000), *bad;
	const struct swapdev_inject_args inject = { .inner = file,
						    .seed = 3,
						    .write_errors = 100000 };
	unsigned long n = 1601;
	u32 refused = 0, failed = 0;

	assert_int_equal(swapdev_inject_create(&inject, &bad), 0);
	make(4000, 200, SWAPDEV_LZ4, bad);
	for (unsigned long s = 1; s < n; s += 8)
		while (write_run(sd, s, 8, s)) {
			refused++;
			assert_true(refused < 200);
		}
	assert_true(stat_now().back_bad > 0);
	swapdev_inject_rates(bad, 200000, 0);
	for (unsigned long s = 1; s < n; s += 8) {
		int err;

		while ((err = read_run(sd, s, 8, s)) == -EIO)
			failed++;
		assert_int_equal(err, 0);
	}
	assert_true(failed > 10);
	done();
	swapdev_destroy(bad);
	swapdev_destroy(file);
	unlink(file_path);
}

static void test_zram_backing_device_gone(void **state)
{
	struct swapdev *file = file_device("gone", 3000), *bad;
	const struct swapdev_inject_args inject = { .inner = file, .write_errors = 1000000 };
	unsigned long slot = 1;

	assert_int_equal(swapdev_inject_create(&inject, &bad), 0);
	make(4000, 100, SWAPDEV_LZ4, bad);
	while (write_run(sd, slot, 4, slot) == 0)
		slot += 4;
	for (unsigned long s = 1; s < slot; s += 4)
		assert_int_equal(read_run(sd, s, 4, s), 0);
	assert_int_equal(stat_now().backed, 0);
	done();
	swapdev_destroy(bad);
	swapdev_destroy(file);
	unlink(file_path);
}

/*
 * A backing device in whose submit slots are taken away from what is just being written: one is discarded, one overwritten.
 */
struct meddler {
	struct swapdev sd;
	u8 *pages;
	u32 writes;
	bool meddle;
};

static void meddler_submit(struct swapdev *dev, struct swap_io *io)
{
	struct meddler *m = container_of(dev, struct meddler, sd);
	u8 *at = m->pages + io->slot * PAGE_SIZE;

	if (io->op == SWAP_READ) {
		memcpy(io->addr, at, io->nr * PAGE_SIZE);
	} else {
		memcpy(at, io->addr, io->nr * PAGE_SIZE);
		if (m->meddle && !m->writes++) {
			u8 *same = pages_alloc(1);

			assert_true(zram_of(sd)->slot[2].leaving && zram_of(sd)->slot[3].leaving);
			swapdev_discard(sd, 2, 1);
			assert_int_equal(swapdev_transfer(sd, SWAP_WRITE, 3, 1, same), 0);
			free(same);
		}
	}
	swap_io_done(io, 0);
}

static void meddler_discard(struct swapdev *dev, unsigned long slot, u32 nr)
{
	memset(container_of(dev, struct meddler, sd)->pages + slot * PAGE_SIZE, 0xdd,
	       nr * PAGE_SIZE);
}

static void test_zram_taken_away_while_written_back(void **state)
{
	static const struct swapdev_ops ops = { .submit = meddler_submit,
						.discard = meddler_discard };
	struct meddler m = { .sd = { &ops, 400, 0, 0 }, .pages = pages_alloc(400), .meddle = true };
	unsigned long slot = 1;
	u8 *p = pages_alloc(1);

	/* a sixteenth of this goes at once */
	make(1000, 320, SWAPDEV_LZ4, &m.sd);
	while (!m.writes) {
		/* none of them is the same word all over */
		u64 id = slot * 8;

		while (kind_of(id) != KIND_RANDOM)
			id++;
		assert_int_equal(write_run(sd, slot++, 1, id), 0);
	}
	assert_true(swapdev_zram_validate(sd));
	assert_int_equal(read_run(sd, 2, 1, 0), -EIO);
	assert_int_equal(swapdev_transfer(sd, SWAP_READ, 3, 1, p), 0);
	for (u32 i = 0; i < PAGE_SIZE; i++)
		assert_int_equal(p[i], 0xa5);
	for (unsigned long s = 1; s < slot; s++) {
		u64 id = s * 8;

		while (kind_of(id) != KIND_RANDOM)
			id++;
		if (s != 2 && s != 3)
			assert_int_equal(read_run(sd, s, 1, id), 0);
	}
	free(p);
	done();
	free(m.pages);
}

/* A device costs what is used of it, at its end too. */
static void test_zram_of_absurd_size(void **state)
{
	const struct swapdev_zram_args args = { .bytes = 1ul << 45 };
	struct swapdev *large;

	/* the host may not have so many addresses */
	if (swapdev_zram_create(&args, &large))
		skip();
	assert_int_equal(write_run(large, 1, 4, 1), 0);
	assert_int_equal(write_run(large, 1ul << 20, 4, 2), 0);
	assert_int_equal(read_run(large, 1, 4, 1), 0);
	swapdev_destroy(large);
}

/* ---- misuse and failures ---- */

static void test_zram_bad_parameters(void **state)
{
	static const struct {
		struct swapdev_zram_args args;
		const char *text;
	} cases[] = {
		{ { .bytes = 0 }, "two pages" },
		{ { .bytes = 2 * PAGE_SIZE - 1 }, "two pages" },
		{ { .bytes = 1 << 20, .limit = 4095 }, "limit" },
		{ { .bytes = 1 << 20, .codec = NR_SWAPDEV_CODECS }, "compressor" },
		{ { .bytes = 1 << 20, .level = -1 }, "level" },
		{ { .bytes = 1 << 20, .codec = SWAPDEV_ZSTD, .level = 20 }, "level" },
	};
	struct swapdev *file = file_device("used", 10);
	struct swapdev_zram_args used = { .bytes = 1 << 20, .backing = file };
	struct swapdev *other = NULL;
	const char *last;

	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		sim_log_take(NULL);
		assert_int_equal(swapdev_zram_create(&cases[i].args, &other), -EINVAL);
		assert_int_equal(sim_log_take(&last), 1);
		assert_non_null(strstr(last, cases[i].text));
		assert_null(other);
	}
	make(10, 0, SWAPDEV_LZ4, file);
	assert_int_equal(swapdev_zram_create(&used, &other), -EBUSY);
	done();
	swapdev_destroy(file);
	unlink(file_path);
}

static void beyond(void *arg)
{
	struct swap_io io = { .slot = 9, .nr = 2, .addr = arg };

	swapdev_submit(sd, &io);
}

static void test_zram_no_such_slots(void **state)
{
	u8 *p = pages_alloc(2);

	make(10, 0, SWAPDEV_LZ4, NULL);
	/* found before anything is done: the machine goes on */
	assert_non_null(strstr(sim_expect_panic(beyond, p), "none is 9 + 2"));
	free(p);
	done();
}

#if OCTAVO_FAULTS
/* Every step of the core fails in turn. */
static void test_zram_write_fails_whole(void **state)
{
	make(100, 0, SWAPDEV_LZ4, NULL);
	assert_int_equal(write_run(sd, 50, 8, 50), 0);
	for (int mode = OCTAVO_FAULT_ONCE; mode <= OCTAVO_FAULT_AFTER; mode++) {
		for_each_fault(k, mode, OCTAVO_FAULT_ALL, hit)
		{
			int err = write_run(sd, 1, 4, 1);

			hit = octavo_fault_disarm();
			assert_true(err == 0 || (err == -ENOSPC && hit));
			assert_int_equal(read_run(sd, 1, 4, 1), err ? -EIO : 0);
			assert_int_equal(read_run(sd, 50, 8, 50), 0);
			assert_true(swapdev_zram_validate(sd));
			swapdev_discard(sd, 1, 4);
		}
	}
	assert_true(fault_cases > 10);
	done();
}

static void test_zram_create_fails_whole(void **state)
{
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL & ~OCTAVO_FAULT_CAS, hit)
	{
		const struct swapdev_zram_args args = { .bytes = 1 << 20 };
		int err = swapdev_zram_create(&args, &sd);

		hit = octavo_fault_disarm();
		assert_true(err == 0 || (err == -ENOMEM && hit));
		if (!err)
			swapdev_destroy(sd);
		assert_true(octavo_validate());
	}
}
#endif

/* ---- random transfers beside what should be there ---- */

#define SLOTS 3000u

static u64 has[SLOTS]; /* id of the first page that a slot has, 0: none */

static void one_step(u64 *seed, unsigned long from, unsigned long slots, u64 id)
{
	u32 nr = 1 + (u32)(next(seed) % 4 ? next(seed) % 8 : next(seed) % 60);
	unsigned long slot = from + next(seed) % (slots - nr);
	u64 what = next(seed) % 10;
	int err;

	if (what < 4) {
		err = write_run(sd, slot, nr, id);
		assert_true(err == 0 || err == -ENOSPC);
		for (u32 i = 0; i < nr; i++)
			has[slot + i] = err ? 0 : id + i;
	} else if (what < 5) {
		swapdev_discard(sd, slot, nr);
		for (u32 i = 0; i < nr; i++)
			has[slot + i] = 0;
	} else {
		for (u32 i = 0; i < nr; i++)
			assert_int_equal(read_run(sd, slot + i, 1, has[slot + i]),
					 has[slot + i] ? 0 : -EIO);
	}
}

static void test_zram_random_transfers(void **state)
{
	struct swapdev *file = file_device("random", 500);
	u64 seed = 11;

	memset(has, 0, sizeof(has));
	make(SLOTS, 300, SWAPDEV_LZ4, file);
	for (u32 step = 1; step <= 4000; step++) {
		one_step(&seed, 1, SLOTS - 1, step * 64);
		if (step % 500 == 0)
			assert_true(swapdev_zram_validate(sd));
	}
	assert_true(stat_now().written_back > 400 && stat_now().full > 0);
	done();
	swapdev_destroy(file);
	unlink(file_path);
}

static void worker(unsigned int cpu, void *arg)
{
	u64 seed = 100 + cpu;
	/* neighbours, so that they meet in locks and spans */
	unsigned long half = (SLOTS - 2) / 2;

	for (u32 step = 1; step <= 1500; step++)
		one_step(&seed, 1 + cpu * half, half, (u64)(cpu * 1500 + step) * 64);
}

static void test_zram_two_cpus(void **state)
{
	struct swapdev *file = file_device("cpus", 2000);

	memset(has, 0, sizeof(has));
	make(SLOTS, 250, SWAPDEV_ZSTD, file);
	sim_run(2, false, worker, NULL);
	assert_true(stat_now().written_back > 100);
	for (u32 s = 1; s < SLOTS; s++)
		assert_int_equal(read_run(sd, s, 1, has[s]), has[s] ? 0 : -EIO);
	done();
	swapdev_destroy(file);
	unlink(file_path);
}

#define ZTEST(name) cmocka_unit_test_setup_teardown(name, boot, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ZTEST(test_zram_runs_come_back),
		ZTEST(test_zram_same_pages_cost_nothing),
		ZTEST(test_zram_random_pages_are_kept_as_they_are),
		ZTEST(test_zram_slots_without_contents),
		ZTEST(test_zram_corruption_is_an_error),
		ZTEST(test_zram_limit_without_backing),
		ZTEST(test_zram_memory_runs_out),
		ZTEST(test_zram_oldest_go_to_the_backing_device),
		ZTEST(test_zram_backing_device_full),
		ZTEST(test_zram_errors_of_the_backing_device),
		ZTEST(test_zram_backing_device_gone),
		ZTEST(test_zram_taken_away_while_written_back),
		ZTEST(test_zram_of_absurd_size),
		ZTEST(test_zram_bad_parameters),
		ZTEST(test_zram_no_such_slots),
#if OCTAVO_FAULTS
		ZTEST(test_zram_write_fails_whole),
		ZTEST(test_zram_create_fails_whole),
#endif
		ZTEST(test_zram_random_transfers),
		ZTEST(test_zram_two_cpus),
	};

	return cmocka_run_group_tests_name("swap_zram-" TEST_VARIANT, tests, NULL, NULL);
}
