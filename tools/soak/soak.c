/* SPDX-License-Identifier: MIT */
/*
 * soak.c - options, the machine, its threads, what is printed. A program of its own, because the core in it has its assertions.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mmu.h"
#include "sim.h"
#include "soak.h"
#include "swapdev.h"

struct soak soak;

/* Who has which CPU slot. */
enum {
	CPU_WORLDS = 0,
	CPU_KSWAPD = NR_WORLDS,
	CPU_CHAOS,
	CPU_WATCH,
	CPU_DEVICES, /* two for each file; those before are sim_run()'s */
	NR_CPUS_USED = CPU_DEVICES + 4
};

static struct {
	struct swapdev *dev;
	int prio;
	int type;
} devices[2];
static struct swapdev *disk, *zram, *file[2], *inject[2];
static u64 started;

void soak_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("octavo soak: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	smp_store_release(&soak.failed, 1u);
	smp_store_release(&soak.stop, 1u);
}

static u64 now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000 + (u64)ts.tv_nsec / 1000000;
}

/* ---- devices ---- */

unsigned int soak_nr_devices(void)
{
	return ARRAY_SIZE(devices);
}

void soak_device_on(unsigned int i)
{
	if (devices[i].type >= 0)
		return;
	devices[i].type = swapdev_on(devices[i].dev, devices[i].prio);
	/* everything is in memory, which has just enough room for it: later */
	if (devices[i].type < 0 && devices[i].type != -ENOMEM)
		soak_fail("swapon again: %d", devices[i].type);
}

/* Everything of it comes in, or into the other one; or there is not enough memory for that, and it stays. */
void soak_cycle_device(unsigned int i)
{
	int err = devices[i].type < 0 ? 0 : swapoff(devices[i].type);

	if (err) {
		if (err != -ENOMEM && err != -EIO && err != -EINTR && err != -EAGAIN)
			soak_fail("swapoff: %d", err);
		return;
	}
	devices[i].type = -ENODEV;
	soak_device_on(i);
}

static void thread_enter(void *arg)
{
	sim_set_cpu((unsigned int)(unsigned long)arg);
}

static int make_file(unsigned int i, u64 bytes, struct swapdev **out)
{
	char dir[4096], path[sizeof(dir) + 8];
	struct swapdev_file_args args = { .path = path,
					  .bytes = bytes,
					  .create = true,
					  .thread = { .enter = thread_enter,
						      .arg = (void *)(unsigned long)(CPU_DEVICES +
										     2 * i) } };
	struct swapdev_inject_args wrong = {
		.seed = soak.opt.seed + i,
		.read_errors = soak.opt.errors,
		.write_errors = soak.opt.errors,
		.hold = 4,
		.delay_us = 200,
		.thread = { .enter = thread_enter,
			    .arg = (void *)(unsigned long)(CPU_DEVICES + 2 * i + 1) },
	};
	int err;

	/* a directory of our own: what is made in it is nobody else's file, and no link */
	if (snprintf(dir, sizeof(dir), "%s/octavo-soak-XXXXXX", soak.opt.dir) >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	if (!mkdtemp(dir))
		return -errno;
	snprintf(path, sizeof(path), "%s/swap", dir);
	err = swapdev_file_create(&args, &file[i]);
	unlink(path);
	rmdir(dir);
	if (err)
		return err;
	wrong.inner = file[i];
	err = swapdev_inject_create(&wrong, &inject[i]);
	*out = inject[i];
	return err;
}

/* Compressed memory first, what it has no room for on a file of its own; then another file. */
static int devices_up(void)
{
	struct swapdev_zram_args args = { .bytes = soak.opt.ram * 2, .limit = soak.opt.ram / 4 };
	struct swapdev *back;
	int err = make_file(0, soak.opt.ram * 2, &back);

	args.backing = back;
	err = err ? err : swapdev_zram_create(&args, &zram);
	err = err ? err : make_file(1, (u64)((double)soak.opt.ram * (soak.opt.over + 1)), &disk);
	if (err)
		return err;
	devices[0].dev = zram;
	devices[0].prio = 10;
	devices[1].dev = disk;
	for (unsigned int i = 0; i < ARRAY_SIZE(devices); i++) {
		devices[i].type = swapdev_on(devices[i].dev, devices[i].prio);
		if (devices[i].type < 0)
			return devices[i].type;
	}
	return 0;
}

static void devices_down(void)
{
	for (unsigned int i = 0; i < 2; i++)
		if (inject[i])
			swapdev_inject_rates(inject[i], 0, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(devices); i++) {
		int err = devices[i].type < 0 ? 0 : swapoff(devices[i].type);

		if (err)
			soak_fail("swapoff in the end: %d", err);
	}
	swapdev_destroy(zram);
	for (unsigned int i = 0; i < 2; i++) {
		swapdev_destroy(inject[i]);
		swapdev_destroy(file[i]);
	}
}

/* ---- what is printed ---- */

static void sum(struct soak_counts *all)
{
	u64 *to = (u64 *)all;

	memset(all, 0, sizeof(*all));
	for (unsigned int i = 0; i <= NR_WORLDS; i++) {
		const u64 *from = (const u64 *)&soak.counts[i];

		for (size_t n = 0; n < sizeof(*all) / sizeof(u64); n++)
			to[n] += READ_ONCE(from[n]);
	}
}

static void report(FILE *f, const char *end)
{
	struct reclaim_stat rs;
	struct soak_counts c;

	sum(&c);
	reclaim_stat(&rs);
	fprintf(f,
		"%5.0f s: %lu operations, %lu pages written, %lu compared; %lu reclaimed, %lu "
		"written out, %lu "
		"came back; %lu device errors, %lu times out of memory%s",
		(double)(now_ms() - started) / 1000, (unsigned long)c.ops,
		(unsigned long)c.pages_written, (unsigned long)c.pages_checked,
		(unsigned long)rs.reclaimed, (unsigned long)rs.written, (unsigned long)rs.refaults,
		(unsigned long)c.io_errors, (unsigned long)c.oom, end);
	fflush(f);
}

static void report_last(void)
{
	struct reclaim_stat rs;
	struct soak_counts c;

	sum(&c);
	reclaim_stat(&rs);
	report(stdout, "\n");
	printf("        %lu forks, %lu ranges changed, %lu pages by pins, %lu folios moved, %lu "
	       "split, %lu times "
	       "swapoff; %lu agings, %lu kswapd, %lu direct reclaims\n",
	       (unsigned long)c.forks, (unsigned long)c.ranges, (unsigned long)c.pins,
	       (unsigned long)c.migrated, (unsigned long)c.split, (unsigned long)c.swapoffs,
	       (unsigned long)rs.aged, (unsigned long)rs.kswapd_runs,
	       (unsigned long)rs.direct_runs);
}

/* ---- threads ---- */

static void on_signal(int sig)
{
	smp_store_release(&soak.stop, 1u);
}

/* The clock, and then moves and splits until both programs have ended. */
static void watch(void)
{
	u64 end = started + (u64)(soak.opt.seconds * 1000), next = started + 5000;
	const struct timespec tick = { 0, 50 * 1000 * 1000 };

	while (smp_load_acquire(&soak.running)) {
		u64 now = now_ms();

		if (now >= end)
			smp_store_release(&soak.stop, 1u);
		if (now >= next) {
			report(stderr, "\n");
			next += 5000;
		}
		nanosleep(&tick, NULL);
	}
	kswapd_stop();
}

static void thread(unsigned int cpu, void *arg)
{
	if (cpu < NR_WORLDS)
		world_run(cpu);
	else if (cpu == CPU_KSWAPD)
		kswapd(0);
	else if (cpu == CPU_CHAOS)
		chaos_run();
	else
		watch();
}

static int run(void)
{
	struct sim_config cfg = { .bytes = soak.opt.ram, .cpus = NR_CPUS_USED };
	u64 leaked;
	int err = sim_boot(&cfg);

	err = err ? err : reclaim_init();
	err = err ? err : devices_up();
	if (err) {
		fprintf(stderr, "octavo soak: the machine does not come up: %s\n", strerror(-err));
		return 1;
	}
	soak.shared = world_shared_mm((u32)((soak.opt.ram >> PAGE_SHIFT) / 4));
	soak.running = NR_WORLDS;
	started = now_ms();
	sim_run(CPU_DEVICES, false, thread, NULL);
	sim_mm_forget(soak.shared);
	mmput(soak.shared);
	devices_down();
	report_last();
	if (!octavo_validate())
		soak_fail("the machine is not consistent in the end");
	leaked = sim_shutdown();
	if (leaked)
		soak_fail("%lu frames leaked", (unsigned long)leaked);
	printf("%s\n", soak.failed
			       ? "FAILED"
			       : "clean: every byte was what it should be, and nothing is left");
	return soak.failed ? 1 : 0;
}

/* ---- options ---- */

static void usage(FILE *f)
{
	fputs("usage: octavo soak [OPTION...]\n\n"
	      "Random programs on two CPUs use several times as much memory as there is, with "
	      "compressed\n"
	      "memory and files as swap devices that fail now and then, while folios are moved and "
	      "split and\n"
	      "devices come and go. Every byte is compared. Exit status 0: clean, 1: not, 2: "
	      "misuse.\n\n"
	      "  -m, --minutes N   how long (1); fractions are allowed\n"
	      "  -s, --seed N      of all that is random (from the clock)\n"
	      "  -r, --ram MIB     of the machine (64)\n"
	      "  -o, --over N      programs use N times as much (3)\n"
	      "  -e, --errors N    of a million transfers fail (2000)\n"
	      "  -d, --dir DIR     where swap files go ($TMPDIR or /tmp)\n",
	      f);
}

/* Return: false: no number in the range. */
static bool number(const char *text, double least, double most, double *n)
{
	char *end;

	*n = strtod(text, &end);
	if (*end || end == text || !(*n >= least && *n <= most)) {
		fprintf(stderr, "octavo soak: %s is not a number from %g to %g\n", text, least,
			most);
		return false;
	}
	return true;
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "minutes", required_argument, NULL, 'm' },
		{ "seed", required_argument, NULL, 's' },
		{ "ram", required_argument, NULL, 'r' },
		{ "over", required_argument, NULL, 'o' },
		{ "errors", required_argument, NULL, 'e' },
		{ "dir", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *tmp = getenv("TMPDIR");
	double n;
	int c;

	soak.opt = (struct soak_options){ .seconds = 60,
					  .seed = (u64)time(NULL),
					  .ram = 64ul << 20,
					  .over = 3,
					  .errors = 2000,
					  .dir = tmp && *tmp ? tmp : "/tmp" };
	while ((c = getopt_long(argc, argv, "m:s:r:o:e:d:h", options, NULL)) >= 0) {
		switch (c) {
		case 'm':
			if (!number(optarg, 0.01, 100000, &n))
				return 2;
			soak.opt.seconds = n * 60;
			break;
		case 's':
			if (!number(optarg, 0, 1e15, &n))
				return 2;
			soak.opt.seed = (u64)n;
			break;
		case 'r':
			if (!number(optarg, 16, 65536, &n))
				return 2;
			soak.opt.ram = (u64)n << 20;
			break;
		case 'o':
			if (!number(optarg, 0.1, 20, &n))
				return 2;
			soak.opt.over = n;
			break;
		case 'e':
			if (!number(optarg, 0, 200000, &n))
				return 2;
			soak.opt.errors = (u32)n;
			break;
		case 'd':
			soak.opt.dir = optarg;
			break;
		case 'h':
			usage(stdout);
			return -1;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "octavo soak: what is %s?\n", argv[optind]);
		return 2;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int status = parse(argc, argv);

	if (status)
		return status < 0 ? 0 : status;
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	printf("seed %lu, %lu MiB of memory, programs use %g times as much, %u of a million "
	       "transfers fail\n",
	       (unsigned long)soak.opt.seed, (unsigned long)(soak.opt.ram >> 20), soak.opt.over,
	       soak.opt.errors);
	fflush(stdout);
	return run();
}
