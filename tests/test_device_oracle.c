// SPDX-License-Identifier: MIT
/*
 * test_device_oracle.c - CPUs and a device on the same memory, which migrates all the time: no byte is lost, whoever wrote it.
 *
 * Alone: random calls of every kind on a small machine, and an array that says what every byte must be. With threads: each
 * actor adds in a word of its own of every page, and one word all of them add to, the device in exclusive access.
 *
 * On the simulated device, on a double of a GPU, and on a GPU if there is one.
 *
 * OCTAVO_DEVICE_MIGRATIONS=N: go on until so many pages have migrated (in each test; the usual few thousand take a second).
 */
#include <octavo/migrate.h>

#include "cuda.h"
#include "device_sim.h"
#include "fault_machine.h"

#define TINY	(OCTAVO_TABLE_BITS != 9)
#define NR_CPUS 4u
#define DEV_CPU 3u
#define NR	(TINY ? 4 * LEAF_PAGES : LEAF_PAGES + 128)
#define WORDS	(PAGE_SIZE / sizeof(u64))

/* Kinds of devices: simulated with memory of its own, or coherent; a double of a GPU; a GPU. */
enum kind { PRIVATE, COHERENT, DOUBLE, GPU };

static struct accel *dev;
static struct accel_ctx *ctx;
static u64 rng;

static u64 rnd(u64 below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (rng >> 11) % below;
}

static u64 migrations_wanted(u64 usual)
{
	const char *s = getenv("OCTAVO_DEVICE_MIGRATIONS");

	return s ? strtoull(s, NULL, 0) : usual;
}

static void create(const struct accel_config *cfg, enum kind kind)
{
	const struct cuda_config how = { .file = kind == DOUBLE ? FAKE_CUDA : NULL, .pin = true };
	char why[256];

	if (kind < DOUBLE)
		assert_int_equal(device_sim_create(cfg, &dev), 0);
	else if (cuda_create(cfg, &how, &dev, why, sizeof(why)))
		fail_msg("%s", why);
}

static void up(u64 seed, enum kind kind, bool threads)
{
	unsigned long section = TINY ? 2 * PAGES_PER_SECTION : PAGES_PER_SECTION;
	struct sim_config sim = { .bytes = (u64)TEST_MIB << 20, .cpus = NR_CPUS, .quiet = true };
	/* it cannot have all of it at once */
	struct accel_config cfg = { .pages = NR / 2,
				    .threads = 1,
				    .first_cpu = DEV_CPU,
				    .dma_threads = threads || seed & 1,
				    .gather = seed & 2,
				    .migrates = seed & 4 };

	rng = seed * 0x9e3779b97f4a7c15ull + 1;
	sim.max_phys = sim.bytes + section * PAGE_SIZE;
	assert_int_equal(sim_boot(&sim), 0);
	sim_set_cpu(0);
	as = mm_alloc();
	assert_non_null(as);
	sim_mm_use(as);
	if (kind == COHERENT) {
		cfg.coherent_pfn = sim.bytes >> PAGE_SHIFT;
		cfg.pages = section;
	}
	create(&cfg, kind);
	assert_int_equal(accel_open(dev, as, &ctx), 0);
}

static void down(void)
{
	for (unsigned int e = 0; e < NR_ACCEL_ERRORS; e++)
		accel_inject(dev, e, 0);
	assert_true(octavo_validate());
	assert_true(accel_validate(dev));
	accel_close(ctx);
	sim_mm_forget(as);
	mmput(as);
	accel_destroy(dev);
	shutdown_clean();
}

static u64 migrated(void)
{
	struct accel_stat st;

	accel_stat(dev, &st);
	return st.to_device + st.to_system;
}

/* ---- alone ---- */

/* What every byte is, and which pages may be written to. */
static u64 model[NR][WORDS];
static bool readonly[NR];

struct range {
	unsigned long first, nr;
};

static struct range some_pages(void)
{
	struct range r = { rnd(NR), 0 };

	r.nr = 1 + rnd(min(NR - r.first, rnd(4) ? 6ul : (unsigned long)NR));
	return r;
}

static bool any_readonly(struct range r)
{
	for (unsigned long i = r.first; i < r.first + r.nr; i++)
		if (readonly[i])
			return true;
	return false;
}

static void cpu_write(void)
{
	unsigned long page = rnd(NR), w = rnd(WORDS);
	u64 v = rnd(~0ull);

	if (sim_store64(at(page) + 8 * w, v) == 0) {
		assert_false(readonly[page]);
		model[page][w] = v;
	} else {
		assert_true(readonly[page]);
	}
}

static void cpu_check(unsigned long page)
{
	static u64 buf[WORDS];

	assert_int_equal(sim_load(at(page), buf, PAGE_SIZE), 0);
	if (memcmp(buf, model[page], PAGE_SIZE))
		fail_msg("page %lu is not what was written", page);
}

static void device_write(enum accel_op op)
{
	struct range r = some_pages();
	struct accel_job j = { .op = op, .value = rnd(1000), .len = r.nr << PAGE_SHIFT };

	j.dst = at(r.first);
	if (op == ACCEL_ATOMIC) {
		j.len = 8;
		j.dst += 8 * rnd(WORDS);
		r.nr = 1;
	}
	if (any_readonly(r)) {
		/* which of the pages before it have been done is not for us to say */
		r.nr = 1;
		j.len = min(j.len, PAGE_SIZE);
		assert_int_equal(accel_run(ctx, &j), readonly[r.first] ? -EPERM : 0);
		if (readonly[r.first])
			return;
	} else {
		assert_int_equal(accel_run(ctx, &j), 0);
	}
	if (op == ACCEL_ATOMIC) {
		model[r.first][(j.dst & (PAGE_SIZE - 1)) / 8] += j.value;
		return;
	}
	for (unsigned long i = r.first; i < r.first + r.nr; i++)
		for (unsigned long w = 0; w < WORDS; w++)
			model[i][w] = op == ACCEL_FILL ? j.value : model[i][w] + j.value;
}

static void device_copy(void)
{
	unsigned long from = rnd(NR), to = rnd(NR);
	struct accel_job j = { .op = ACCEL_COPY, .dst = at(to), .src = at(from), .len = PAGE_SIZE };

	assert_int_equal(accel_run(ctx, &j), readonly[to] ? -EPERM : 0);
	if (!readonly[to])
		memmove(model[to], model[from], PAGE_SIZE);
}

static void device_check(void)
{
	struct range r = some_pages();
	struct accel_job j = { .op = ACCEL_REDUCE, .src = at(r.first), .len = r.nr << PAGE_SHIFT };
	u64 sum = 0;

	for (unsigned long i = r.first; i < r.first + r.nr; i++)
		for (unsigned long w = 0; w < WORDS; w++)
			sum += model[i][w];
	assert_int_equal(accel_run(ctx, &j), 0);
	assert_int_equal(j.result, sum);
}

static void migrate(void)
{
	struct range r = some_pages();

	if (rnd(3))
		assert_true(accel_migrate(ctx, at(r.first), r.nr << PAGE_SHIFT) >= 0);
	else
		assert_true(accel_migrate_back(ctx, at(r.first), r.nr << PAGE_SHIFT) >= 0);
}

static void go_wrong(void)
{
	switch (rnd(4)) {
	case 0:
		accel_inject(dev, ACCEL_NO_LARGE, (u32)rnd(20));
		break;
	case 1:
		/* on the way there: memory stays where it is */
		accel_inject(dev, ACCEL_COPY_FAILS, 1 + (u32)rnd(2));
		migrate();
		accel_inject(dev, ACCEL_COPY_FAILS, 0);
		break;
	case 2:
		accel_evict(dev, rnd(NR));
		break;
	default:
		accel_reset(dev);
	}
}

/* The child sees what there was, and writes to its own. */
static void fork_and_look(void)
{
	static u64 buf[WORDS];
	struct mm_struct *child;
	int err;

	child = mm_fork(as, &err);
	assert_non_null(child);
	for (unsigned int i = 0; i < 4; i++)
		cpu_write();
	sim_mm_use(child);
	for (unsigned int i = 0; i < 4; i++) {
		unsigned long page = rnd(NR);

		assert_int_equal(sim_load(at(page), buf, PAGE_SIZE), 0);
		if (!readonly[page])
			assert_int_equal(sim_store64(at(page), 1), 0);
	}
	assert_true(mm_validate(child));
	sim_mm_use(as);
	sim_mm_forget(child);
	mmput(child);
}

static void remap_some(void)
{
	struct range r = some_pages();
	unsigned long away = at(8 * LEAF_PAGES);
	long got;

	switch (rnd(4)) {
	case 0: /* away and back */
		r.nr = min(r.nr, 4ul);
		if (any_readonly(r))
			break;
		got = vm_mremap(as, at(r.first), r.nr << PAGE_SHIFT, r.nr << PAGE_SHIFT,
				MREMAP_MAYMOVE | MREMAP_FIXED, away);
		/* more than one area by now, which nobody can see from here */
		if (got == -EFAULT)
			break;
		assert_int_equal(got, away);
		if (rnd(2))
			accel_migrate(ctx, away, r.nr << PAGE_SHIFT);
		assert_int_equal(vm_mremap(as, away, r.nr << PAGE_SHIFT, r.nr << PAGE_SHIFT,
					   MREMAP_MAYMOVE | MREMAP_FIXED, at(r.first)),
				 at(r.first));
		break;
	case 1:
		r.nr = min(r.nr, 3ul);
		map_anon(r.first, r.nr);
		memset(model[r.first], 0, r.nr << PAGE_SHIFT);
		memset(&readonly[r.first], 0, r.nr);
		break;
	case 2:
		r.nr = min(r.nr, 3ul);
		assert_int_equal(vm_madvise(as, at(r.first), r.nr << PAGE_SHIFT, MADV_DONTNEED), 0);
		memset(model[r.first], 0, r.nr << PAGE_SHIFT);
		break;
	default: {
		bool ro = !rnd(3);

		r.nr = min(r.nr, 3ul);
		assert_int_equal(vm_mprotect(as, at(r.first), r.nr << PAGE_SHIFT,
					     ro ? PROT_READ : PROT_READ | PROT_WRITE),
				 0);
		memset(&readonly[r.first], ro, r.nr);
	}
	}
}

/* Smaller and larger folios of the system's. */
static void reshape(void)
{
	struct page *page;

	as->folio_orders = 1u | (u32)rnd(32) | (rnd(3) ? 0 : 1u << LEAF_ORDER);
	if (rnd(2)) {
		unsigned int order = 1 + (unsigned int)rnd(LEAF_ORDER);

		collapse_range(as, at(rnd(NR) & ~((1ul << order) - 1)), order, 2);
	} else if (get_user_pages_fast(as, at(rnd(NR)), 1, FOLL_FAST_ONLY, &page) == 1) {
		struct folio *folio = page_folio(page);

		if (folio && folio_test_large(folio) && folio_trylock(folio)) {
			(void)!split_folio_mapped(folio, 0, NULL);
			folio_unlock(folio);
		}
		if (folio)
			folio_put(folio);
	}
}

static void one_step(void)
{
	switch (rnd(24)) {
	case 0 ... 3:
		cpu_write();
		break;
	case 4 ... 5:
		cpu_check(rnd(NR));
		break;
	case 6:
		device_write(ACCEL_FILL);
		break;
	case 7 ... 9:
		device_write(ACCEL_ADD);
		break;
	case 10:
		device_write(ACCEL_ATOMIC);
		break;
	case 11:
		device_copy();
		break;
	case 12:
		device_check();
		break;
	case 13 ... 18:
		migrate();
		break;
	case 19:
		go_wrong();
		break;
	case 20:
		fork_and_look();
		break;
	case 21 ... 22:
		remap_some();
		break;
	default:
		reshape();
	}
}

static void run_alone(u64 seed, enum kind kind, u64 wanted)
{
	u64 steps = 0;

	up(seed, kind, false);
	memset(model, 0, sizeof(model));
	memset(readonly, 0, sizeof(readonly));
	map_anon(0, NR);
	while (migrated() < wanted) {
		one_step();
		if (++steps % (TINY ? 64 : 512) == 0) {
			assert_true(octavo_validate());
			assert_true(accel_validate(dev));
		}
	}
	for (unsigned long i = 0; i < NR; i++)
		cpu_check(i);
	down();
}

COVERS("S1.24 S1.27 S1.35 S1.36 S1.38 S1.42");
static void test_device_oracle_alone(void **state)
{
	u64 wanted = migrations_wanted(24000) / 12;

	for (u64 seed = 0; seed < 12; seed++)
		run_alone(seed + 1, seed % 3 == 2 ? COHERENT : PRIVATE, wanted);
}

/* ---- all at once ---- */

#define SHARED 7u /* the word that all add to */

static struct {
	u32 stop;
	u64 added[NR_CPUS][NR], shared[NR];
	u64 errors;
} run;

static u32 seeds[NR_CPUS];

static u32 rnd_of(unsigned int cpu, u32 n)
{
	seeds[cpu] = seeds[cpu] * 1664525u + 1013904223u;
	return (seeds[cpu] >> 8) % n;
}

/* A copy may have failed on the way back: SIGBUS, and next time it does not. */
static void cpu_add(unsigned long page, unsigned int word)
{
	while (sim_add64(at(page) + 8 * word, 1, NULL))
		__atomic_fetch_add(&run.errors, 1, __ATOMIC_RELAXED);
}

static void add_forever(unsigned int cpu)
{
	while (!__atomic_load_n(&run.stop, __ATOMIC_RELAXED)) {
		unsigned long page = rnd_of(cpu, NR);

		cpu_add(page, cpu);
		run.added[cpu][page]++;
		if (rnd_of(cpu, 4))
			continue;
		cpu_add(page, SHARED);
		__atomic_fetch_add(&run.shared[page], 1, __ATOMIC_RELAXED);
	}
}

/* The device's word, and the shared one. Return: whether the job was done: else it has done nothing. */
static void device_add(unsigned int cpu)
{
	unsigned long page = rnd_of(cpu, NR);
	struct accel_job j = { .op = ACCEL_ADD, .len = 8, .value = 1 };

	j.dst = at(page) + 8 * DEV_CPU;
	if (!accel_run(ctx, &j))
		run.added[DEV_CPU][page]++;
	if (rnd_of(cpu, 4))
		return;
	j.op = ACCEL_ATOMIC;
	j.dst = at(page) + 8 * SHARED;
	if (!accel_run(ctx, &j))
		__atomic_fetch_add(&run.shared[page], 1, __ATOMIC_RELAXED);
}

static void fork_once(void)
{
	struct mm_struct *child;
	int err;

	child = mm_fork(as, &err);
	if (child)
		mmput(child);
}

static void migrate_forever(unsigned int cpu, u64 wanted)
{
	while (migrated() < wanted) {
		unsigned long page = rnd_of(cpu, NR), nr = 1 + rnd_of(cpu, 16);

		nr = min(nr, NR - page);
		switch (rnd_of(cpu, 16)) {
		case 0 ... 7:
			accel_migrate(ctx, at(page), nr << PAGE_SHIFT);
			break;
		case 8:
			accel_migrate_back(ctx, at(page), nr << PAGE_SHIFT);
			break;
		case 9:
			accel_evict(dev, nr);
			break;
		case 10:
			fork_once();
			break;
		case 11:
			accel_inject(dev, rnd_of(cpu, 2) ? ACCEL_NO_LARGE : ACCEL_COPY_FAILS, 1);
			break;
		case 12:
			collapse_range(as, at(page & ~7ul), 3, 0);
			break;
		default:
			device_add(cpu);
		}
	}
	__atomic_store_n(&run.stop, 1, __ATOMIC_RELAXED);
}

static u64 threads_wanted;

static void actor(unsigned int cpu, void *arg)
{
	sim_mm_use(as);
	seeds[cpu] = (u32)(rng >> 32) + cpu;
	if (cpu < 2)
		add_forever(cpu);
	else
		migrate_forever(cpu, threads_wanted);
	sim_mm_use(NULL);
}

static void run_threads(u64 seed, enum kind kind)
{
	up(seed, kind, true);
	memset(&run, 0, sizeof(run));
	as->folio_orders = TINY ? 0xf : 0x1f;
	map_anon(0, NR);
	sim_mm_use(NULL);
	sim_run(3, false, actor, NULL);
	sim_mm_use(as);
	accel_inject(dev, ACCEL_COPY_FAILS, 0);
	for (unsigned long page = 0; page < NR; page++) {
		u64 v;

		for (unsigned int c = 0; c < NR_CPUS; c++) {
			assert_int_equal(sim_load64(at(page) + 8 * c, &v), 0);
			assert_int_equal(v, run.added[c][page]);
		}
		assert_int_equal(sim_load64(at(page) + 8 * SHARED, &v), 0);
		assert_int_equal(v, run.shared[page]);
	}
	down();
}

COVERS("S1.33 S1.42");
static void test_device_oracle_threads(void **state)
{
	threads_wanted = migrations_wanted(12000) / 4;
	for (u64 seed = 0; seed < 4; seed++)
		run_threads(seed + 1, seed == 3 ? COHERENT : PRIVATE);
}

/* ---- on a GPU ---- */

static void run_cuda(enum kind kind)
{
	u64 wanted = migrations_wanted(6000) / 3;

	run_alone(1, kind, wanted);
	run_alone(6, kind, wanted);
	threads_wanted = wanted;
	run_threads(1, kind);
}

COVERS("S1.42");
static void test_device_oracle_double(void **state)
{
	run_cuda(DOUBLE);
}

static void test_device_oracle_gpu(void **state)
{
	const struct accel_config cfg = { .pages = 1 };
	const struct cuda_config how = { .file = NULL };
	char why[256];
	int err;

	boot_small(TEST_MIB, NR_CPUS);
	err = cuda_create(&cfg, &how, &dev, why, sizeof(why));
	if (!err)
		accel_destroy(dev);
	shutdown_clean();
	if (err == -ENODEV) {
		printf("skipped: %s\n", why);
		skip();
	}
	run_cuda(GPU);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_device_oracle_alone),
		TEST(test_device_oracle_threads),
		TEST(test_device_oracle_double),
		TEST(test_device_oracle_gpu),
	};

	return cmocka_run_group_tests_name("device_oracle-" TEST_VARIANT, tests, NULL, NULL);
}
