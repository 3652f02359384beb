/* SPDX-License-Identifier: MIT */
/*
 * slab.c - kmem_cache beside the allocator of libc and mimalloc, same sizes, same shapes, same run.
 *
 * All three are called through a pointer. mimalloc is loaded with dlopen() in its own scope, so that
 * malloc() stays libc's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

static void *(*mi_malloc_fn)(size_t);
static void (*mi_free_fn)(void *);

static u32 object_size;
static struct kmem_cache *cache;

static void *octavo_get(size_t size)
{
	return kmem_cache_alloc(cache, GFP_NOWAIT);
}

static void octavo_put(void *p)
{
	kmem_cache_free(cache, p);
}

static void *kmalloc_get(size_t size)
{
	return kmalloc(size, GFP_NOWAIT);
}

static void kmalloc_put(void *p)
{
	kfree(p);
}

struct work {
	void *(*get)(size_t size);
	void (*put)(void *p);
	u32 cpus;
	unsigned long n, turns;
	void ***objs;
};

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "octavo bench: out of memory\n");
		exit(1);
	}
	return p;
}

/* Touches each object as a user would. */
static void pairs(u32 cpu, void *ctx)
{
	struct work *w = ctx;

	for (unsigned long i = 0; i < w->turns; i++) {
		void *p = must(w->get(object_size));

		*(unsigned long *)p = i;
		bench_use(p);
		w->put(p);
	}
}

static void get_all(u32 cpu, void *ctx)
{
	struct work *w = ctx;

	for (unsigned long i = 0; i < w->n; i++) {
		w->objs[cpu][i] = must(w->get(object_size));
		*(unsigned long *)w->objs[cpu][i] = i;
	}
}

static void put_all(u32 cpu, void *ctx)
{
	struct work *w = ctx;

	for (unsigned long i = w->n; i-- > 0;)
		w->put(w->objs[cpu][i]);
}

static double repeat(void *ctx)
{
	struct work *w = ctx;

	return bench_parallel(w->cpus, pairs, w) / (double)w->turns;
}

static double bulk(void *ctx)
{
	struct work *w = ctx;

	return (bench_parallel(w->cpus, get_all, w) + bench_parallel(w->cpus, put_all, w)) /
	       (double)w->n;
}

static double random_put(void *ctx)
{
	struct work *w = ctx;
	u64 seed = 7;

	bench_parallel(w->cpus, get_all, w);
	for (unsigned long i = w->n * w->cpus; i-- > 1;) {
		unsigned long j = bench_rand(&seed) % (i + 1);
		void **a = &w->objs[i / w->n][i % w->n], **b = &w->objs[j / w->n][j % w->n],
		     *t = *a;

		*a = *b;
		*b = t;
	}
	return bench_parallel(w->cpus, put_all, w) / (double)w->n;
}

static double row(const char *what, const char *shape, bench_fn run, u32 size, u32 cpus,
		  bool kmalloc)
{
	unsigned long n = bench_opt.quick ? 2000 : 100000;
	void **objs[2];
	struct work w = { octavo_get, octavo_put, cpus, n, n * 10, objs }, libc = w, mi = w;
	char name[64];
	double v;

	if (kmalloc) {
		w.get = kmalloc_get;
		w.put = kmalloc_put;
	}
	libc.get = malloc;
	libc.put = free;
	mi.get = mi_malloc_fn;
	mi.put = mi_free_fn;
	for (u32 c = 0; c < 2; c++)
		objs[c] = must(calloc(n, sizeof(void *)));
	object_size = size;
	snprintf(name, sizeof(name), "%s/%s/size%u/cpus%u", what, shape, size, cpus);
	v = bench_row(name, "ns",
		      (struct contestant[]){ { "octavo", run, &w },
					     { "libc", run, &libc },
					     { mi_malloc_fn ? "mimalloc" : NULL, run, &mi },
					     { 0 } });
	for (u32 c = 0; c < 2; c++)
		free(objs[c]);
	return v;
}

static void load_mimalloc(void)
{
	void *lib = dlopen("libmimalloc.so.2", RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		lib = dlopen("libmimalloc.so.2.0", RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		bench_note("mimalloc is not installed (libmimalloc2.0): not compared");
		return;
	}
	*(void **)&mi_malloc_fn = dlsym(lib, "mi_malloc");
	*(void **)&mi_free_fn = dlsym(lib, "mi_free");
}

void bench_slab(void)
{
	static const u32 sizes[] = { 48, 64, 256, 1024 };
	static const struct {
		const char *name;
		bench_fn run;
	} shapes[] = { { "repeat", repeat }, { "bulk", bulk }, { "random-put", random_put } };

	bench_begin("slab", "kmem_cache and kmalloc, ns an operation");
	bench_boot(4ull << 30, 2, false);
	load_mimalloc();
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		cache = kmem_cache_create("bench", sizes[i], 0, 0, NULL);
		must(cache);
		for (unsigned int k = 0; k < ARRAY_SIZE(shapes); k++) {
			double one = row("kmem_cache", shapes[k].name, shapes[k].run, sizes[i], 1,
					 false);
			double two = row("kmem_cache", shapes[k].name, shapes[k].run, sizes[i], 2,
					 false);
			char name[64];

			snprintf(name, sizeof(name), "kmem_cache/%s/size%u/scaling", shapes[k].name,
				 sizes[i]);
			bench_value(name, "x", 2 * one / two, NULL, 0);
		}
		kmem_cache_destroy(cache);
		row("kmalloc", "repeat", repeat, sizes[i], 1, true);
	}
	sim_shutdown();
	bench_count_rows(slab_counts, nr_slab_counts);
	bench_note("repeat and bulk are pairs; random-put frees another CPU's objects in no order");
}

static void count_setup(void)
{
	object_size = 64;
	cache = must(kmem_cache_create("bench", 64, 0, 0, NULL));
}

static void count_octavo(unsigned long n)
{
	struct work w = { octavo_get, octavo_put, 1, 0, n, NULL };

	pairs(0, &w);
}

static void count_libc(unsigned long n)
{
	struct work w = { malloc, free, 1, 0, n, NULL };

	pairs(0, &w);
}

const struct bench_count slab_counts[] = {
	{ "kmem_cache/repeat/size64", count_setup, count_octavo, "libc", count_libc },
};
const unsigned int nr_slab_counts = ARRAY_SIZE(slab_counts);
