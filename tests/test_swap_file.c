/* SPDX-License-Identifier: MIT */
/*
 * test_swap_file.c - a file as a swap device, by io_uring and without, and the device that fails on purpose on top of it.
 */
#define _GNU_SOURCE
#include "swapdev_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "../port/swap/file.h"

#define SLOTS 2048u

static struct swapdev *sd;

static int boot(void **state)
{
	sim_log_to(log_nowhere);
	sim_log_take(NULL);
	boot_small(16, 4);
	return 0;
}

static int down(void **state)
{
	sim_set_cpu(0);
	unlink(file_path);
	shutdown_clean();
	sim_log_to(NULL);
	return 0;
}

/* Which ways there are: each test that has no other goes through all. */
static const struct swapdev_file_args ways[] = {
	{ .depth = 0 },	      { .buffered = true },
	{ .depth = 1 },	      { .thread = { thread_enter, thread_leave, NULL } },
	{ .no_uring = true }, { .no_uring = true, .buffered = true },
};

static void open_way(u32 way)
{
	struct swapdev_file_args args = ways[way];

	args.path = file_name("file");
	args.bytes = SLOTS * PAGE_SIZE;
	args.create = true;
	assert_int_equal(swapdev_file_create(&args, &sd), 0);
	assert_int_equal(sd->nr_slots, SLOTS);
}

static void done(void)
{
	swapdev_destroy(sd);
	unlink(file_path);
}

static struct swapdev_file_stat stat_now(void)
{
	struct swapdev_file_stat st;

	swapdev_file_stat(sd, &st);
	return st;
}

/* ---- contents ---- */

static void test_file_runs_come_back(void **state)
{
	static const u32 runs[] = { 1, 2, 3, 16, 17, 64, 511, 512 };

	for (u32 way = 0; way < ARRAY_SIZE(ways); way++) {
		unsigned long slot = 1;

		open_way(way);
		for (u32 r = 0; r < ARRAY_SIZE(runs); r++, slot += runs[r - 1])
			assert_int_equal(write_run(sd, slot, runs[r], slot), 0);
		for (unsigned long s = 1; s + 13 < slot; s += 13)
			assert_int_equal(read_run(sd, s, 13, s), 0);
		assert_int_equal(stat_now().writes, slot - 1);
		assert_int_equal(stat_now().errors, 0);
		assert_int_equal(stat_now().uring, !ways[way].no_uring);
		done();
	}
}

static void test_file_slots_without_contents(void **state)
{
	for (u32 way = 0; way < ARRAY_SIZE(ways); way++) {
		open_way(way);
		assert_int_equal(read_run(sd, 3, 1, 0), -EIO);
		assert_int_equal(write_run(sd, 1, 200, 1), 0);
		assert_int_equal(read_run(sd, 190, 12, 190), -EIO);
		swapdev_discard(sd, 60, 70);
		assert_int_equal(read_run(sd, 1, 59, 1), 0);
		assert_int_equal(read_run(sd, 130, 71, 130), 0);
		for (u32 s = 60; s < 130; s++)
			assert_int_equal(read_run(sd, s, 1, s), -EIO);
		done();
	}
}

/* ---- many at once ---- */

#define FLIGHT 200u

struct flight {
	struct swap_io io;
	u32 ends; /* atomic */
	int err;
};

static struct flight flight[FLIGHT];
static u32 landed; /* atomic */

static void land(struct swap_io *io, int err)
{
	struct flight *f = io->arg;

	f->err = err;
	/* release: pairs with the acquire of who looks */
	fetch_add_release(&f->ends, 1u);
	fetch_add_release(&landed, 1u);
}

static u8 *flight_pages;

static void take_off(u32 i, enum swap_op op, u32 nr)
{
	struct flight *f = &flight[i];

	f->ends = 0;
	f->io = (struct swap_io){ .op = op,
				  .slot = 1 + i * nr,
				  .nr = nr,
				  .addr = flight_pages + i * nr * PAGE_SIZE,
				  .done = land,
				  .arg = f };
	swapdev_submit(sd, &f->io);
}

static void all_land(bool poll)
{
	/* acquire: pairs with the release in land() */
	while (smp_load_acquire(&landed) < FLIGHT) {
		if (poll)
			swapdev_poll(sd);
		else
			sched_yield();
	}
	for (u32 i = 0; i < FLIGHT; i++) {
		assert_int_equal(smp_load_acquire(&flight[i].ends), 1);
		assert_int_equal(flight[i].err, 0);
	}
	landed = 0;
	/* nothing is under way: returns at once */
	swapdev_poll(sd);
}

static void fly_all(enum swap_op op, u32 nr, bool poll)
{
	for (u32 i = 0; i < FLIGHT; i++)
		take_off(i, op, nr);
	all_land(poll);
}

static void test_file_many_at_once(void **state)
{
	const u32 nr = 8;

	flight_pages = pages_alloc(FLIGHT * nr);
	for (u32 way = 0; way < ARRAY_SIZE(ways); way++) {
		open_way(way);
		for (u32 i = 0; i < FLIGHT * nr; i++)
			page_make(flight_pages + i * PAGE_SIZE, i + way);
		fly_all(SWAP_WRITE, nr, true);
		memset(flight_pages, 0x77, FLIGHT * nr * PAGE_SIZE);
		fly_all(SWAP_READ, nr, true);
		for (u32 i = 0; i < FLIGHT * nr; i++)
			assert_true(page_is(flight_pages + i * PAGE_SIZE, i + way));
		/* in batches, but for one at a time */
		if (stat_now().uring && ways[way].depth != 1)
			assert_true(stat_now().calls < FLIGHT);
		done();
	}
	free(flight_pages);
}

static void test_file_the_thread_alone(void **state)
{
	const u32 nr = 4;

	flight_pages = pages_alloc(FLIGHT * nr);
	for (u32 i = 0; i < FLIGHT * nr; i++)
		page_make(flight_pages + i * PAGE_SIZE, i);
	open_way(3);
	fly_all(SWAP_WRITE, nr, false);
	memset(flight_pages, 0, FLIGHT * nr * PAGE_SIZE);
	fly_all(SWAP_READ, nr, false);
	for (u32 i = 0; i < FLIGHT * nr; i++)
		assert_true(page_is(flight_pages + i * PAGE_SIZE, i));
	assert_int_equal(stat_now().reaped, 2 * FLIGHT);
	assert_int_equal(stat_now().polled, 0);
	done();
	free(flight_pages);
}

static void two_workers(unsigned int cpu, void *arg)
{
	u64 seed = 5 + cpu;

	for (u32 step = 1; step < 200; step++) {
		u32 nr = 1 + (u32)(next(&seed) % 30);
		unsigned long slot = 1 + cpu * 1000 + next(&seed) % 900;
		u64 id = cpu * 100000 + step * 64;

		assert_int_equal(write_run(sd, slot, nr, id), 0);
		assert_int_equal(read_run(sd, slot, nr, id), 0);
		if (step % 3 == 0) {
			swapdev_discard(sd, slot, 1);
			assert_int_equal(read_run(sd, slot, nr, id), -EIO);
		}
	}
}

static void test_file_two_cpus(void **state)
{
	for (u32 way = 0; way < ARRAY_SIZE(ways); way++) {
		open_way(way);
		sim_run(2, false, two_workers, NULL);
		done();
	}
}

static void test_file_registered_memory(void **state)
{
	struct swapdev_file_args args = { .path = file_name("file"),
					  .bytes = 1 << 20,
					  .create = true };

	args.mem_bytes = 64 * PAGE_SIZE;
	args.mem = flight_pages = pages_alloc(64);
	assert_int_equal(swapdev_file_create(&args, &sd), 0);
	for (u32 i = 0; i < 64; i++)
		page_make(flight_pages + i * PAGE_SIZE, i);
	assert_int_equal(swapdev_transfer(sd, SWAP_WRITE, 1, 64, flight_pages), 0);
	memset(flight_pages, 0, 64 * PAGE_SIZE);
	/* from outside of it too */
	assert_int_equal(read_run(sd, 1, 64, 0), 0);
	assert_int_equal(swapdev_transfer(sd, SWAP_READ, 1, 64, flight_pages), 0);
	for (u32 i = 0; i < 64; i++)
		assert_true(page_is(flight_pages + i * PAGE_SIZE, i));
	done();
	free(flight_pages);
}

/* ---- what goes wrong ---- */

static void test_file_truncated(void **state)
{
	for (u32 way = 0; way < ARRAY_SIZE(ways); way++) {
		open_way(way);
		assert_int_equal(write_run(sd, 1, 400, 1), 0);
		assert_int_equal(truncate(file_path, 200 * PAGE_SIZE + 700), 0);
		assert_int_equal(read_run(sd, 1, 199, 1), 0);
		/* half of it, or all, is gone */
		assert_int_equal(read_run(sd, 190, 20, 190), -EIO);
		assert_int_equal(read_run(sd, 300, 20, 300), -EIO);
		/* the last one was cut in the middle of a sector */
		assert_int_equal(read_run(sd, 200, 1, 200), -EIO);
		/* it would come to lie behind zeros */
		assert_int_equal(write_run(sd, 1000, 1, 1), -EIO);
		assert_int_equal(read_run(sd, 300, 20, 300), -EIO);
		assert_int_equal(read_run(sd, 1, 199, 1), 0);
		assert_true(stat_now().errors >= 4);
		done();
	}
}

static void test_file_unlinked_is_still_there(void **state)
{
	open_way(0);
	assert_int_equal(write_run(sd, 1, 100, 1), 0);
	unlink(file_path);
	assert_int_equal(write_run(sd, 101, 100, 101), 0);
	assert_int_equal(read_run(sd, 1, 200, 1), 0);
	done();
}

/* The descriptor is of something else all of a sudden, as a device that was pulled out. */
static void test_file_gone(void **state)
{
	for (u32 way = 0; way < ARRAY_SIZE(ways); way++) {
		int null = open("/dev/null", O_RDONLY);
		struct file_dev *f;

		open_way(way);
		f = file_of(sd);
		assert_int_equal(write_run(sd, 1, 10, 1), 0);
		assert_int_equal(dup2(null, f->fd), f->fd);
		assert_int_equal(write_run(sd, 1, 10, 1), -EIO);
		f->regular = false;
		assert_int_equal(write_run(sd, 5, 6, 1), -EIO);
		assert_int_equal(read_run(sd, 5, 6, 5), -EIO);
		done();
		close(null);
	}
}

/* A file system with no room, where the host lets us have one. */
/* A file that was not there is not, one that was is as long as it was, and nothing of the file system is taken. */
static void refused_without_trace(const struct swapdev_file_args *args)
{
	struct statvfs before, after;
	struct stat st;

	assert_int_equal(statvfs(file_path, &before), 0);
	assert_int_equal(swapdev_file_create(args, &sd), -ENOSPC);
	assert_int_equal(access(args->path, F_OK), -1);
	assert_int_equal(statvfs(file_path, &after), 0);
	assert_int_equal(before.f_bavail, after.f_bavail);
	close(open(args->path, O_CREAT | O_RDWR, 0600));
	assert_int_equal(truncate(args->path, 5000), 0);
	assert_int_equal(swapdev_file_create(args, &sd), -ENOSPC);
	assert_int_equal(stat(args->path, &st), 0);
	assert_int_equal(st.st_size, 5000);
	assert_int_equal(st.st_blocks, 0);
	unlink(args->path);
}

static void on_full_file_system(unsigned int cpu, void *arg)
{
	bool *ran = arg;
	struct swapdev_file_args args = { .bytes = 4 << 20, .create = true };
	char path[600];

	if (cpu)
		return;
	snprintf(path, sizeof(path), "%s/file", file_path);
	args.path = path;
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", file_path, "tmpfs", 0, "size=1m"))
		return;
	for (u32 no_uring = 0; no_uring < 2; no_uring++) {
		u32 n = 0;

		args.no_uring = no_uring;
		args.reserve = false;
		assert_int_equal(swapdev_file_create(&args, &sd), 0);
		while (write_run(sd, 1 + n * 16, 16, n * 16) == 0)
			n++;
		assert_in_range(n, 10, 16);
		assert_int_equal(write_run(sd, 1 + n * 16, 16, n * 16), -ENOSPC);
		for (u32 i = 0; i < n; i++)
			assert_int_equal(read_run(sd, 1 + i * 16, 16, i * 16), 0);
		assert_int_equal(read_run(sd, 1 + n * 16, 1, n * 16), -EIO);
		swapdev_destroy(sd);
		unlink(args.path);
		args.reserve = true;
		refused_without_trace(&args);
	}
	umount(file_path);
	*ran = true;
}

static void test_file_no_room_on_the_disk(void **state)
{
	bool ran = false;

	/* in a thread of its own, for a view of the mounts of its own */
	assert_int_equal(mkdir(file_name("mount"), 0700), 0);
	sim_run(1, false, on_full_file_system, &ran);
	rmdir(file_path);
	if (!ran)
		skip();
}

/* What the host may answer, one after another. */
static void test_file_short_and_odd_answers(void **state)
{
	static const struct {
		bool direct;
		enum swap_op op;
		long res[6]; /* 0 ends those before the last */
		long last;
		int err;
	} cases[] = {
		{ true, SWAP_READ, { 0 }, 16384, 0 },
		{ true, SWAP_READ, { 512, 4096, 8192 }, 3584, 0 },
		{ true, SWAP_READ, { 700 }, 15872, 0 },
		{ false, SWAP_READ, { 700, 1 }, 15683, 0 },
		{ true, SWAP_WRITE, { 4096, -EINTR, -EAGAIN, 8192 }, 4096, 0 },
		{ true, SWAP_WRITE, { 100 }, 16384, 0 },
		{ true, SWAP_READ, { 4096 }, 100, -EIO },
		{ true, SWAP_READ, { 4096 }, 0, -EIO },
		{ false, SWAP_READ, { 4096 }, 0, -EIO },
		{ true, SWAP_WRITE, { 4096 }, 0, -EIO },
		{ true, SWAP_WRITE, { 4096 }, -ENOSPC, -ENOSPC },
		{ true, SWAP_WRITE, { 0 }, -EDQUOT, -ENOSPC },
		{ true, SWAP_WRITE, { 0 }, -EFBIG, -EIO },
		{ true, SWAP_READ, { 0 }, -ENXIO, -EIO },
		{ true, SWAP_READ, { 0 }, -EINVAL, -EIO },
	};

	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		struct file_dev f = { .path = "none", .direct = cases[i].direct };
		struct swap_io io = { .op = cases[i].op, .slot = 1, .nr = 4 };
		int err = 99;

		for (u32 k = 0; cases[i].res[k]; k++)
			assert_int_equal(file_progress(&f, &io, cases[i].res[k], &err), 0);
		assert_int_equal(file_progress(&f, &io, cases[i].last, &err), 1);
		assert_int_equal(err, cases[i].err);
	}
}

/* A host that says "again" for ever is broken. */
static void test_file_not_for_ever(void **state)
{
	struct file_dev f = { .path = "none" };
	struct swap_io io = { .nr = 1 };
	u32 n = 0;
	int err;

	while (!file_progress(&f, &io, -EAGAIN, &err))
		assert_true(++n <= FILE_TRIES);
	assert_int_equal(n, FILE_TRIES);
	assert_int_equal(err, -EIO);
}

/* io_uring forbidden for this thread, as containers do. */
static void in_a_container(unsigned int cpu, void *arg)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };
	const char *last;

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0), 0);
	sim_log_take(NULL);
	open_way(1);
	assert_int_equal(sim_log_take(&last), 1);
	assert_non_null(strstr(last, "does not let us use io_uring"));
	assert_false(stat_now().uring);
	assert_int_equal(write_run(sd, 1, 100, 1), 0);
	assert_int_equal(read_run(sd, 1, 100, 1), 0);
	done();
}

static void test_file_without_io_uring(void **state)
{
	sim_run(1, false, in_a_container, NULL);
}

static void test_file_bad_parameters(void **state)
{
	static const struct {
		struct swapdev_file_args args;
		int err;
		const char *text;
	} cases[] = {
		{ { .path = NULL }, -EINVAL, "no path" },
		{ { .path = "" }, -EINVAL, "no path" },
		{ { .path = "./no/such/file", .create = true }, -ENOENT, "No such file" },
		{ { .path = "./not-there" }, -ENOENT, "No such file" },
		{ { .path = "." }, -EISDIR, "directory" },
		{ { .path = "/dev/null" }, -EINVAL, "neither a regular file" },
		{ { .path = "here", .create = true }, -EINVAL, "two pages" },
		{ { .path = "here", .create = true, .bytes = 8191 }, -EINVAL, "two pages" },
		{ { .path = "here", .bytes = 1 << 20 }, -EINVAL, "smaller" },
		{ { .path = "here", .create = true, .bytes = ~0ul }, -EINVAL, "so long" },
		{ { .path = "here", .create = true, .bytes = 8192, .depth = 4097 },
		  -EINVAL,
		  "depth" },
	};

	file_name("here");
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		struct swapdev_file_args args = cases[i].args;
		const char *last;

		sd = NULL;
		sim_log_take(NULL);
		if (args.path && !strcmp(args.path, "here")) {
			args.path = file_path;
			if (!args.create)
				close(open(file_path, O_CREAT | O_RDWR, 0600));
		}
		assert_int_equal(swapdev_file_create(&args, &sd), cases[i].err);
		/* what was not there is not there now */
		assert_int_equal(access(file_path, F_OK) == 0,
				 args.path == file_path && !args.create);
		unlink(file_path);
		assert_int_equal(sim_log_take(&last), 1);
		assert_non_null(strstr(last, cases[i].text));
		assert_null(sd);
	}
}

static void test_file_is_somebody_elses(void **state)
{
	struct swapdev *other = NULL;
	struct swapdev_file_args args;

	open_way(0);
	args = (struct swapdev_file_args){ .path = file_path };
	assert_int_equal(swapdev_file_create(&args, &other), -EBUSY);
	swapdev_destroy(sd);
	/* all of the file that is there */
	assert_int_equal(swapdev_file_create(&args, &sd), 0);
	assert_int_equal(sd->nr_slots, SLOTS);
	done();
}

/* ---- the device that fails ---- */

static struct swapdev *below;

static void inject(struct swapdev_inject_args args, u32 way)
{
	open_way(way);
	below = sd;
	args.inner = below;
	assert_int_equal(swapdev_inject_create(&args, &sd), 0);
	assert_int_equal(swapdev_inject_create(&args, &below), -EBUSY);
}

static void inject_done(void)
{
	swapdev_destroy(sd);
	swapdev_destroy(below);
	unlink(file_path);
}

static void test_inject_the_nth(void **state)
{
	inject((struct swapdev_inject_args){ .nth = 3, .error = -ENOSPC }, 0);
	assert_int_equal(write_run(sd, 1, 4, 1), 0);
	assert_int_equal(write_run(sd, 5, 4, 5), 0);
	assert_int_equal(write_run(sd, 9, 4, 9), -ENOSPC);
	for (u32 i = 0; i < 50; i++)
		assert_int_equal(read_run(sd, 1, 8, 1), 0);
	swapdev_inject_nth(sd, 2);
	assert_int_equal(read_run(sd, 1, 8, 1), 0);
	assert_int_equal(read_run(sd, 1, 8, 1), -ENOSPC);
	assert_int_equal(read_run(sd, 1, 8, 1), 0);
	inject_done();
}

static void test_inject_rates(void **state)
{
	struct swapdev_inject_stat st;
	u32 failed = 0, no_space = 0;

	inject((struct swapdev_inject_args){ .seed = 9, .write_errors = 250000 }, 1);
	for (u32 i = 0; i < 2000; i++) {
		int err = write_run(sd, 1 + i % 1000, 1, i);

		failed += err != 0;
		no_space += err == -ENOSPC;
	}
	assert_in_range(failed, 400, 600);
	assert_in_range(no_space, 60, 200);
	swapdev_inject_rates(sd, 1000000, 0);
	assert_int_equal(write_run(sd, 1, 1, 1), 0);
	assert_int_equal(read_run(sd, 1, 1, 1), -EIO);
	swapdev_inject_rates(sd, 0, 0);
	assert_int_equal(read_run(sd, 1, 1, 1), 0);
	swapdev_inject_stat(sd, &st);
	assert_int_equal(st.transfers, 2003);
	assert_int_equal(st.failed, failed + 1);
	inject_done();
}

static void inject_all_land(u32 way, bool poll)
{
	static u8 expect[FLIGHT];

	flight_pages = pages_alloc(FLIGHT);
	inject((struct swapdev_inject_args){ .seed = way + 1,
					     .hold = 20,
					     .delay_us = 200,
					     .read_errors = 200000,
					     .write_errors = 200000,
					     .thread =
						     poll ? (struct swapdev_thread){ .enter = NULL }
							  : own_thread },
	       way);
	for (u32 round = 0; round < 6; round++) {
		for (u32 i = 0; i < FLIGHT; i++)
			page_make(flight_pages + i * PAGE_SIZE, i + round * 1000);
		for (u32 i = 0; i < FLIGHT; i++)
			take_off(i, SWAP_WRITE, 1);
		while (smp_load_acquire(&landed) < FLIGHT)
			poll ? swapdev_poll(sd) : (void)sched_yield();
		landed = 0;
		for (u32 i = 0; i < FLIGHT; i++) {
			assert_int_equal(smp_load_acquire(&flight[i].ends), 1);
			expect[i] = !flight[i].err;
		}
		for (u32 i = 0; i < FLIGHT; i++)
			if (expect[i]) {
				int err;

				while ((err = read_run(sd, 1 + i, 1, i + round * 1000)) == -EIO)
					;
				assert_int_equal(err, 0);
			}
	}
	inject_done();
	free(flight_pages);
}

/* Late, in any order, failed or not: each ends once, and what was written is what is read. */
static void test_inject_out_of_order(void **state)
{
	inject_all_land(0, true);
	inject_all_land(1, true);
	inject_all_land(4, true);
}

static void test_inject_by_its_own_thread(void **state)
{
	/* with a device below that is done when submit returns, so only one thread has the CPU */
	inject_all_land(4, false);
}

static void test_inject_bad_parameters(void **state)
{
	struct swapdev_inject_args args = { .inner = NULL };
	const char *last;

	open_way(0);
	below = NULL;
	assert_int_equal(swapdev_inject_create(&args, &below), -EINVAL);
	sim_log_take(&last);
	assert_non_null(strstr(last, "no device below"));
	args = (struct swapdev_inject_args){ .inner = sd, .error = EIO };
	assert_int_equal(swapdev_inject_create(&args, &below), -EINVAL);
	sim_log_take(&last);
	assert_non_null(strstr(last, "negative"));
	args = (struct swapdev_inject_args){ .inner = sd, .read_errors = 1000001 };
	assert_int_equal(swapdev_inject_create(&args, &below), -EINVAL);
	sim_log_take(&last);
	assert_non_null(strstr(last, "million"));
	assert_null(below);
	done();
}

#define FTEST(name) cmocka_unit_test_setup_teardown(name, boot, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FTEST(test_file_runs_come_back),
		FTEST(test_file_slots_without_contents),
		FTEST(test_file_many_at_once),
		FTEST(test_file_the_thread_alone),
		FTEST(test_file_two_cpus),
		FTEST(test_file_registered_memory),
		FTEST(test_file_truncated),
		FTEST(test_file_unlinked_is_still_there),
		FTEST(test_file_gone),
		FTEST(test_file_no_room_on_the_disk),
		FTEST(test_file_short_and_odd_answers),
		FTEST(test_file_not_for_ever),
		FTEST(test_file_without_io_uring),
		FTEST(test_file_bad_parameters),
		FTEST(test_file_is_somebody_elses),
		FTEST(test_inject_the_nth),
		FTEST(test_inject_rates),
		FTEST(test_inject_out_of_order),
		FTEST(test_inject_by_its_own_thread),
		FTEST(test_inject_bad_parameters),
	};

	return cmocka_run_group_tests_name("swap_file-" TEST_VARIANT, tests, NULL, NULL);
}
