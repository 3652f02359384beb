// SPDX-License-Identifier: MIT
/*
 * test_cuda.c - a GPU as accelerator: what it does on a double of its driver, with every call failing in turn; and on a real one if
 * there is one.
 *
 * The byte oracle on both is in test_device_oracle.c.
 */
#include <dlfcn.h>
#include <errno.h>

#include <octavo/migrate.h>

#include "../port/cuda/driver.h"
#include "accel_space.h"
#include "cuda.h"
#include "fake_cuda.h"

#define WORDS (PAGE_SIZE / sizeof(u64))

static const char *library = FAKE_CUDA;
static struct fake_cuda *fake;
static char why[256];

static void boot(void)
{
	struct sim_config sim = { .bytes = (u64)TEST_MIB << 20, .cpus = 4, .quiet = true };

	accel_boot(&sim);
}

static int create(struct accel_config cfg)
{
	const struct cuda_config how = { .file = library, .pin = true };

	if (!cfg.pages)
		cfg.pages = 4 * LEAF_PAGES;
	cfg.threads = 1;
	cfg.first_cpu = DEV_CPU;
	return cuda_create(&cfg, &how, &dev, why, sizeof(why));
}

static void up(struct accel_config cfg)
{
	boot();
	assert_int_equal(create(cfg), 0);
	assert_string_equal(why, "");
	assert_int_equal(accel_open(dev, as, &ctx), 0);
}

static void end_space(void)
{
	sim_mm_forget(as);
	mmput(as);
}

/* Nothing of the driver's is left, and it has been asked for nothing that it could not like. */
static void assert_clean_driver(void)
{
	assert_int_equal(fake->live, 0);
	if (fake->wrong)
		fail_msg("%u wrong calls, the last of %s", fake->wrong, fake->wrong_name);
}

static void down(void)
{
	assert_true(octavo_validate());
	assert_true(accel_validate(dev));
	assert_true(sim_mmu_check(as));
	accel_close(ctx);
	end_space();
	accel_destroy(dev);
	assert_clean_driver();
	shutdown_clean();
}

/* A word of each page and place that no other has. */
static u64 pattern(unsigned long page, unsigned long word)
{
	return (page << 32 | word) * 0x9e3779b97f4a7c15ull;
}

static void write_pages(unsigned long first, unsigned long nr)
{
	static u64 words[WORDS];

	for (unsigned long i = first; i < first + nr; i++) {
		for (unsigned long w = 0; w < WORDS; w++)
			words[w] = pattern(i, w);
		assert_int_equal(sim_store(at(i), words, PAGE_SIZE), 0);
	}
}

/* Every word is as it was written, and @more. */
static void check_page(unsigned long page, u64 more)
{
	static u64 words[WORDS];

	assert_int_equal(sim_load(at(page), words, PAGE_SIZE), 0);
	for (unsigned long w = 0; w < WORDS; w++)
		if (words[w] != pattern(page, w) + more)
			fail_msg("page %lu, word %lu: %llx", page, w, (unsigned long long)words[w]);
}

static void fake_reset(void)
{
	*fake = (struct fake_cuda){ .devices = 1 };
}

/* ---- there is none ---- */

static void assert_none(const char *text)
{
	dev = NULL;
	assert_int_equal(create((struct accel_config){ 0 }), -ENODEV);
	assert_null(dev);
	if (!strstr(why, text))
		fail_msg("it says \"%s\", not \"%s\"", why, text);
	assert_clean_driver();
}

COVERS("S1.42");
static void test_cuda_is_not_there(void **state)
{
	boot();
	library = "/nowhere/libcuda.so.1";
	assert_none("no CUDA driver library: /nowhere/libcuda.so.1");
	/* any library that is not this one */
	library = "libm.so.6";
	assert_none("libm.so.6 has no cuInit");
	library = FAKE_CUDA;
	*fake = (struct fake_cuda){ .devices = 1, .fail_at = 1, .fail_with = CU_NO_DEVICE };
	assert_none("no GPU: cuInit says CUDA_ERROR_NO_DEVICE (100)");
	*fake = (struct fake_cuda){ .devices = 0 };
	assert_none("there is no GPU 0: the driver has 0");
	*fake = (struct fake_cuda){ .devices = 1, .fail_at = 3, .fail_with = 801 };
	assert_none("no GPU: cuDeviceGet says CUDA_ERROR_OTHER (801)");
	fake_reset();
	/* which library may be said from outside, but not to who has said which */
	library = NULL;
	setenv("OCTAVO_CUDA_LIBRARY", "/elsewhere/libcuda.so.1", 1);
	assert_none("/elsewhere/");
	setenv("OCTAVO_CUDA_LIBRARY", FAKE_CUDA, 1);
	assert_int_equal(create((struct accel_config){ 0 }), 0);
	unsetenv("OCTAVO_CUDA_LIBRARY");
	library = FAKE_CUDA;
	assert_string_equal(accel_name(dev), "Double of a GPU");
	assert_int_equal(fake->live, 7);
	accel_destroy(dev);
	assert_clean_driver();
	/* no part of the machine's memory is a GPU's */
	assert_int_equal(create((struct accel_config){ .coherent_pfn = 1 }), -EINVAL);
	assert_clean_driver();
	end_space();
	shutdown_clean();
}

/* ---- it works ---- */

static void migrate_order(unsigned int order, bool touch)
{
	unsigned long nr = LEAF_PAGES + 16;

	up((struct accel_config){ .dma_threads = touch });
	as->folio_orders = 1u << order;
	map_anon(0, nr);
	write_pages(0, nr);
	assert_int_equal(accel_migrate(ctx, at(0), LEAF_SIZE), LEAF_PAGES);
	assert_int_equal(stat().folios_to_device[order], LEAF_PAGES >> order);
	assert_true(octavo_validate());
	if (touch) {
		/* folio by folio, as a CPU comes to them */
		for (unsigned long i = 0; i < nr; i++)
			check_page(i, 0);
		assert_int_equal(stat().cpu_faults, LEAF_PAGES >> order);
	} else {
		assert_int_equal(accel_migrate_back(ctx, at(0), LEAF_SIZE), LEAF_PAGES);
		for (unsigned long i = 0; i < nr; i++)
			check_page(i, 0);
		assert_int_equal(stat().cpu_faults, 0);
	}
	assert_int_equal(stat().to_system, LEAF_PAGES);
	assert_int_equal(stat().pages_free, 4 * LEAF_PAGES);
	down();
}

static void migrate_all(void)
{
	static const unsigned int orders[] = { 0, LEAF_ORDER > 4 ? 4 : 2, LEAF_ORDER };

	for (unsigned int i = 0; i < ARRAY_SIZE(orders); i++) {
		migrate_order(orders[i], false);
		migrate_order(orders[i], true);
	}
}

COVERS("S1.34 S1.42");
static void test_cuda_migrates(void **state)
{
	fake_reset();
	migrate_all();
}

/* Operations on pages here and there: @src and @dst each on the device or not. */
static void compute_where(bool dst_there, bool src_there)
{
	u64 sum, words = 2 * WORDS;

	map_anon(0, 8);
	write_pages(0, 8);
	if (dst_there)
		assert_int_equal(accel_migrate(ctx, at(0), 2 * PAGE_SIZE), 2);
	if (src_there)
		assert_int_equal(accel_migrate(ctx, at(4), 2 * PAGE_SIZE), 2);
	assert_int_equal(job(ACCEL_ADD, 0, 0, 2, 7, NULL), 0);
	assert_int_equal(job(ACCEL_COPY, 0, 0, 2, 0, NULL), 0);
	for (unsigned int i = 0; i < 2; i++)
		check_page(i, 7);
	if (dst_there)
		assert_int_equal(accel_migrate(ctx, at(0), 2 * PAGE_SIZE), 2);
	assert_int_equal(job(ACCEL_FILL, 0, 0, 2, 1ull << 40 | 1, NULL), 0);
	assert_int_equal(job(ACCEL_REDUCE, 0, 0, 2, 0, &sum), 0);
	assert_int_equal(sum, words * (1ull << 40 | 1));
	assert_int_equal(job(ACCEL_COPY, 0, 4, 2, 0, NULL), 0);
	for (unsigned long w = 0; w < words; w++) {
		u64 v;

		assert_int_equal(sim_load64(at(0) + 8 * w, &v), 0);
		assert_int_equal(v, pattern(4 + w / WORDS, w % WORDS));
	}
	assert_int_equal(job(ACCEL_ATOMIC, 4, 0, 1, 3, NULL), 0);
	check_page(4, 3);
	check_page(5, 0);
}

/* No more words than it was told, at any place in a page. */
static void compute_some_words(void)
{
	struct accel_job j = { .op = ACCEL_ADD, .dst = at(0) + 24, .len = PAGE_SIZE, .value = 5 };

	for (unsigned int there = 0; there < 2; there++) {
		map_anon(0, 3);
		write_pages(0, 3);
		if (there)
			assert_int_equal(accel_migrate(ctx, at(0), 2 * PAGE_SIZE), 2);
		assert_int_equal(accel_run(ctx, &j), 0);
		for (unsigned long w = 0; w < 2 * WORDS; w++) {
			u64 v, want = pattern(w / WORDS, w % WORDS);

			assert_int_equal(sim_load64(at(0) + 8 * w, &v), 0);
			assert_int_equal(v, want + (w >= 3 && w < WORDS + 3 ? 5 : 0));
		}
	}
	j = (struct accel_job){ .op = ACCEL_COPY, .dst = at(0), .src = at(0) + 8, .len = 16 };
	assert_int_equal(accel_run(ctx, &j), -EINVAL);
}

static void compute_all(void)
{
	up((struct accel_config){ 0 });
	for (unsigned int i = 0; i < 4; i++)
		compute_where(i & 1, i & 2);
	compute_some_words();
	down();
}

static void test_cuda_computes(void **state)
{
	fake_reset();
	compute_all();
	assert_true(fake->launches && fake->within && fake->to_host && fake->to_device);
}

/* Who touches a page, or runs a job, may use CUDA for something else. */
static void test_cuda_leaves_the_callers_context(void **state)
{
	void *handle = dlopen(FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
	cu_result (*push)(cu_context context), (*pop)(cu_context * context);
	cu_context mine = (cu_context)(void *)&mine, top;

	*(void **)&push = dlsym(handle, "cuCtxPushCurrent_v2");
	*(void **)&pop = dlsym(handle, "cuCtxPopCurrent_v2");
	fake_reset();
	assert_int_equal(push(mine), 0);
	up((struct accel_config){ 0 });
	map_anon(0, 8);
	write_pages(0, 8);
	for (unsigned int more = 0; more < 2; more++) {
		assert_int_equal(accel_migrate(ctx, at(0), 4 * PAGE_SIZE), more ? 1 : 4);
		assert_int_equal(job(ACCEL_ADD, 0, 0, 1, more, NULL), 0);
		assert_int_equal(pop(&top), 0);
		assert_ptr_equal(top, mine);
		assert_int_equal(push(mine), 0);
		check_page(0, more);
	}
	fake->dead = CU_LAUNCH_FAILED;
	assert_int_equal(job(ACCEL_ADD, 1, 0, 1, 1, NULL), -EIO);
	fake->dead = 0;
	assert_int_equal(pop(&top), 0);
	assert_ptr_equal(top, mine);
	down();
	dlclose(handle);
}

static void test_cuda_holes_and_eviction(void **state)
{
	unsigned long nr = 4 * LEAF_PAGES;
	u64 sum;

	fake_reset();
	up((struct accel_config){ .pages = 2 * LEAF_PAGES, .gather = true });
	map_anon(0, nr);
	/* zeros, made there */
	assert_int_equal(accel_migrate(ctx, at(0), 2 * LEAF_SIZE), 2 * LEAF_PAGES);
	assert_int_equal(fake->to_device, 0);
	assert_true(fake->sets > 0);
	assert_int_equal(job(ACCEL_REDUCE, 0, 0, 2, 0, &sum), 0);
	assert_int_equal(sum, 0);
	write_pages(0, nr);
	assert_int_equal(accel_migrate(ctx, at(0), nr << PAGE_SHIFT), nr);
	assert_true(stat().evicted >= nr / 2);
	for (unsigned long i = 0; i < nr; i++)
		check_page(i, 0);
	down();
}

/* ---- every call fails ---- */

#define FAIL_ORDER (LEAF_ORDER > 4 ? 4u : 2u)
#define FAIL_PAGES ((1ul << FAIL_ORDER) + 4)

/*
 * The pages after a job that was to add 7 to some of them, and may have failed: each is as before or after, or lost with
 * the device. @again: before that the one error may be met.
 */
static void check_after(unsigned long nr, bool again)
{
	static u64 words[WORDS];

	for (unsigned long i = 0; i < nr; i++) {
		u32 err = sim_load(at(i), words, PAGE_SIZE);
		u64 more = words[0] - pattern(i, 0);

		if (err) {
			assert_int_equal(err, VM_FAULT_SIGBUS);
			assert_true(!again || accel_lost(dev));
			continue;
		}
		if (more != 0 && more != 7)
			fail_msg("page %lu is neither", i);
		check_page(i, more);
	}
}

/* Everything once. Return: whether the call that was to fail was made. */
static bool everything(unsigned int k, int error, bool sticky)
{
	unsigned long nr = FAIL_PAGES;
	bool hit;
	int err;

	fake_reset();
	boot();
	fake->fail_at = k;
	fake->fail_with = error;
	fake->sticky = sticky;
	err = create((struct accel_config){ 0 });
	if (err) {
		assert_true(err == -ENODEV || err == -EIO || err == -ENOMEM);
		assert_true(why[0]);
		assert_clean_driver();
		end_space();
		shutdown_clean();
		return true;
	}
	assert_int_equal(accel_open(dev, as, &ctx), 0);
	as->folio_orders = 1u | 1u << FAIL_ORDER;
	map_anon(0, nr + 4);
	write_pages(0, nr);
	assert_true(accel_migrate(ctx, at(0), nr << PAGE_SHIFT) >= 0);
	err = job(ACCEL_ADD, nr - 6, 0, 6, 7, NULL);
	assert_true(!err || err == -EIO || err == -ENOMEM);
	err = job(ACCEL_COPY, nr, nr - 1, 1, 0, NULL);
	assert_true(!err || err == -EIO || err == -ENOMEM);
	err = job(ACCEL_REDUCE, 0, nr - 2, 2, 0, NULL);
	assert_true(!err || err == -EIO || err == -ENOMEM);
	accel_migrate_back(ctx, at(nr - 2), 2 * PAGE_SIZE);
	assert_true(octavo_validate() && accel_validate(dev));
	/* an error that was not the end of the device is over when it has been seen */
	check_after(nr, false);
	check_after(nr, true);
	assert_true(accel_lost(dev) || !sticky || fake->calls < k);
	hit = fake->calls >= k;
	down();
	return hit || fake->calls >= k;
}

COVERS("S1.33 S1.42");
static void test_cuda_every_call_fails(void **state)
{
	static const struct {
		int error;
		bool sticky;
	} kinds[] = { { CU_OUT_OF_MEMORY, false }, { CU_LAUNCH_FAILED, true }, { 801, false } };

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		unsigned int k = 1;

		while (everything(k, kinds[i].error, kinds[i].sticky))
			k++;
		/* to start takes 16 calls, to end 9 */
		assert_true(k > 40);
	}
}

/* ---- gone ---- */

static void test_cuda_lost(void **state)
{
	unsigned long nr = LEAF_PAGES + 8;
	unsigned int calls;
	u64 v;

	fake_reset();
	up((struct accel_config){ .dma_threads = 1, .migrates = true });
	as->folio_orders = 1u | 1u << LEAF_ORDER;
	map_anon(0, nr);
	write_pages(0, nr);
	assert_int_equal(accel_migrate(ctx, at(0), (nr - 4) << PAGE_SHIFT), nr - 4);
	fake->dead = CU_LAUNCH_FAILED;
	assert_int_equal(job(ACCEL_ADD, 0, 0, 1, 1, NULL), -EIO);
	assert_true(accel_lost(dev));
	/* nobody asks it any more, and nobody waits */
	calls = fake->calls;
	assert_int_equal(job(ACCEL_ADD, nr - 1, 0, 1, 1, NULL), -EIO);
	assert_int_equal(sim_load64(at(0), &v), VM_FAULT_SIGBUS);
	assert_int_equal(sim_store64(at(LEAF_PAGES), 1), VM_FAULT_SIGBUS);
	assert_int_equal(accel_migrate_back(ctx, at(0), nr << PAGE_SHIFT), 0);
	assert_int_equal(accel_evict(dev, nr), 0);
	assert_int_equal(accel_migrate(ctx, at(nr - 4), 4 * PAGE_SIZE), 0);
	assert_int_equal(fake->calls, calls);
	/* what was not there is as it was; what was can be had anew */
	for (unsigned long i = nr - 4; i < nr; i++)
		check_page(i, 0);
	assert_int_equal(vm_madvise(as, at(0), PAGE_SIZE, MADV_DONTNEED), 0);
	assert_int_equal(get64(0), 0);
	down();
}

/* ---- a real one ---- */

static void test_cuda_real_gpu(void **state)
{
	int err;

	library = NULL;
	boot();
	err = create((struct accel_config){ 0 });
	if (!err) {
		printf("on %s\n", accel_name(dev));
		accel_destroy(dev);
	}
	end_space();
	shutdown_clean();
	if (err == -ENODEV) {
		library = FAKE_CUDA;
		printf("skipped: %s\n", why);
		skip();
	}
	if (err)
		fail_msg("error %d: %s", -err, why);
	migrate_all();
	compute_all();
	library = FAKE_CUDA;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_cuda_is_not_there),
		TEST(test_cuda_migrates),
		TEST(test_cuda_computes),
		TEST(test_cuda_leaves_the_callers_context),
		TEST(test_cuda_holes_and_eviction),
		TEST(test_cuda_every_call_fails),
		TEST(test_cuda_lost),
		TEST(test_cuda_real_gpu),
	};
	void *handle = dlopen(FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);

	fake = handle ? dlsym(handle, "fake_cuda") : NULL;
	if (!fake) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	return cmocka_run_group_tests_name("cuda-" TEST_VARIANT, tests, NULL, NULL);
}
