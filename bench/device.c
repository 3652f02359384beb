/* SPDX-License-Identifier: MIT */
/*
 * device.c - memory to a device and back, in folios of 4 KiB, 64 KiB and 2 MiB: page tables, reverse maps, the driver and
 * the copy; beside memcpy() of as much.
 *
 * One warm-up and five rounds, medians. The simulated device's copy is made by the CPU that asks for it, so that both sides copy with
 * one. A GPU's is its own, over its bus.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <octavo/mm.h>

#include "cuda.h"
#include "device_sim.h"
#include "harness.h"

#define ROUNDS	   5u
#define BASE	   (1ul << 30)
#define DEVICE_MIB 320ul

static struct accel *dev;
static struct accel_ctx *ctx;
static struct mm_struct *mm;

static __noinline void fail(const char *what)
{
	fprintf(stderr, "octavo bench device: %s\n", what);
	exit(1);
}

static void map_buffer(unsigned long bytes, unsigned int order)
{
	unsigned int fits = (unsigned int)ilog2(bytes >> PAGE_SHIFT);

	/* a buffer that is smaller than a folio is one folio */
	mm->folio_orders = 1u << min(order, fits);
	if (vm_mmap(mm, BASE, (long)bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0) != BASE ||
	    vm_madvise(mm, BASE, bytes, MADV_POPULATE_WRITE))
		fail("out of memory");
}

/* Host memory behind what will be used: or the first rounds would pay for it. */
static void touch_all(unsigned long bytes)
{
	map_buffer(bytes, 9);
	vm_munmap(mm, BASE, bytes);
	map_buffer(DEVICE_MIB << 19, 9);
	if (accel_migrate(ctx, BASE, DEVICE_MIB << 19) < 0)
		fail("migration");
	vm_munmap(mm, BASE, DEVICE_MIB << 19);
}

/* Return: false: there is no GPU, as has been said. */
static bool create(void)
{
	struct accel_config cfg = { .pages = (DEVICE_MIB << 20) >> PAGE_SHIFT };
	const struct cuda_config how = { .pin = true };
	char why[256];
	int err;

	if (!bench_opt.cuda) {
		if (device_sim_create(&cfg, &dev))
			fail("out of memory");
		return true;
	}
	err = cuda_create(&cfg, &how, &dev, why, sizeof(why));
	if (err && err != -ENODEV)
		fail(why);
	if (err) {
		bench_note("skipped: %s", why);
		if (bench_opt.json)
			fprintf(stderr, "octavo bench device: skipped: %s\n", why);
		return false;
	}
	bench_note("on %s", accel_name(dev));
	bench_on = accel_name(dev);
	return true;
}

static bool up(u64 ram)
{
	bench_boot(ram, 2, true);
	sim_set_cpu(0);
	if (!create()) {
		sim_shutdown();
		return false;
	}
	mm = mm_alloc();
	if (!mm || accel_open(dev, mm, &ctx))
		fail("out of memory");
	return true;
}

static void down(void)
{
	bench_on = NULL;
	accel_close(ctx);
	mmput(mm);
	accel_destroy(dev);
	sim_shutdown();
}

/* ---- measuring ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_value);
	return v[ROUNDS / 2];
}

struct times {
	double to, back; /* ns */
};

static struct times measure(unsigned long bytes, unsigned int order)
{
	double to[ROUNDS], back[ROUNDS];
	long pages = (long)(bytes >> PAGE_SHIFT);

	for (int i = -1; i < (int)ROUNDS; i++) {
		double t[3];

		map_buffer(bytes, order);
		t[0] = bench_now();
		if (accel_migrate(ctx, BASE, bytes) != pages)
			fail("not everything went to the device");
		t[1] = bench_now();
		if (accel_migrate_back(ctx, BASE, bytes) != pages)
			fail("not everything came back");
		t[2] = bench_now();
		vm_munmap(mm, BASE, bytes);
		if (i < 0)
			continue;
		to[i] = t[1] - t[0];
		back[i] = t[2] - t[1];
	}
	return (struct times){ median(to), median(back) };
}

/* Between what both sides have: 2 MiB at a time, as the driver's windows. */
static double measure_memcpy(unsigned long bytes)
{
	const unsigned long piece = 2ul << 20;
	char *from = aligned_alloc(piece, ALIGN(bytes, piece)),
	     *to = aligned_alloc(piece, ALIGN(bytes, piece));
	double ns[ROUNDS];

	if (!from || !to)
		fail("out of memory");
	memset(from, 1, bytes);
	for (int i = -1; i < (int)ROUNDS; i++) {
		double t = bench_now();

		for (unsigned long at = 0; at < bytes; at += piece)
			memcpy(to + at, from + at, min(piece, bytes - at));
		bench_use(to);
		if (i >= 0)
			ns[i] = bench_now() - t;
	}
	free(from);
	free(to);
	return median(ns);
}

/* ---- rows ---- */

static const unsigned int orders[] = { 0, 4, 9 };

static const char *order_name(unsigned int order)
{
	return order == 0 ? "4KiB" : order == 4 ? "64KiB" : "2MiB";
}

static void row(const char *way, unsigned int order, unsigned long bytes, double ns,
		double small_ns, double memcpy_ns)
{
	char name[80];

	snprintf(name, sizeof(name), "%s/%luKiB/%s/time", way, bytes >> 10, order_name(order));
	bench_value(name, "ms", ns / 1e6, order ? "4KiB" : NULL, small_ns / 1e6);
	snprintf(name, sizeof(name), "%s/%luKiB/%s", way, bytes >> 10, order_name(order));
	bench_value(name, "GB/s", (double)bytes / ns, "memcpy", (double)bytes / memcpy_ns);
}

static void bench_size(unsigned long bytes)
{
	struct times t[ARRAY_SIZE(orders)];
	double copy = measure_memcpy(bytes);

	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++)
		t[i] = measure(bytes, orders[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++)
		row("to-device", orders[i], bytes, t[i].to, t[0].to, copy);
	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++)
		row("to-system", orders[i], bytes, t[i].back, t[0].back, copy);
}

void bench_device(void)
{
	static const unsigned long kib[] = { 512, 2048, 16384, 65536, 262144 };

	bench_begin("device", "memory to a device and back");
	if (!up(bench_opt.quick ? 512ull << 20 : 1ull << 30))
		return;
	touch_all(bench_opt.quick ? 64ul << 20 : 768ul << 20);
	for (unsigned int i = 0; i < (bench_opt.quick ? 2 : ARRAY_SIZE(kib)); i++)
		bench_size(kib[i] << 10);
	down();
	bench_note("512 KiB in folios of 2 MiB: it is one folio of 512 KiB");
}
