// SPDX-License-Identifier: MIT
/*
 * test_willneed.c - ranges that are advised to be read: more than a device takes at once, from devices that are slow, that fail, and with
 * memory for only a part of it.
 */
#include <octavo/rwsem.h>

#include "memcg_machine.h"
#include "page_out.h"

enum { BEHIND = 96, NR = 3 * OCTAVO_SWAP_XFERS + BEHIND };

/* @nr pages with contents, all of them on a device of this kind. */
static void out_up(enum test_device_mode mode, unsigned long nr)
{
	boot_small(TEST_MIB, 2);
	as = mm_alloc();
	assert_non_null(as);
	sim_mm_use(as);
	d = test_device_on(1024, 0, mode == TD_HELD ? TD_NOW : mode);
	map_anon(0, nr);
	fill(0, nr);
	for (unsigned long i = 0; i < nr; i++)
		assert_int_equal(page_out(as, at(i), at(i + 1), at(i)), 0);
	d->mode = mode;
}

static u32 waiting(void)
{
	u32 n;

	pthread_mutex_lock(&d->lock);
	n = d->waiting;
	pthread_mutex_unlock(&d->lock);
	return n;
}

static void quiet(void)
{
	while (waiting())
		sched_yield();
}

static int advise(unsigned long page, unsigned long nr)
{
	return vm_madvise(as, at(page), nr << PAGE_SHIFT, MADV_WILLNEED);
}

/* The address space is others' to change while the device is asked. */
static void no_lock_is_held(struct test_device *dev, struct swap_io *io)
{
	if (io->op != SWAP_READ)
		return;
	if (!down_write_trylock(&as->mmap_lock))
		abort();
	up_write(&as->mmap_lock);
}

/* The device ends transfers by itself, later than they begin. */
static void test_all_of_it_from_a_slow_device(void **state)
{
	out_up(TD_THREAD, NR);
	d->on_submit = no_lock_is_held;
	assert_int_equal(advise(0, NR), 0);
	quiet();
	assert_int_equal(d->reads, NR);
	d->on_submit = NULL;
	check(0, NR);
	assert_int_equal(d->reads, NR);
	down();
}

static struct {
	pthread_t thread;
	u32 over;
	int ret;
} other;

static void *advises(void *arg)
{
	sim_thread_begin(1);
	other.ret = advise(0, NR);
	sim_thread_end();
	/* release: pairs with the acquire of who waits for it */
	smp_store_release(&other.over, 1u);
	return NULL;
}

/* It waits, and what is unmapped meanwhile is not read. */
static void test_changes_while_it_waits(void **state)
{
	enum { GONE = 10 };

	out_up(TD_HELD, NR);
	memset(&other, 0, sizeof(other));
	d->on_submit = no_lock_is_held;
	assert_int_equal(pthread_create(&other.thread, NULL, advises, NULL), 0);
	while (waiting() < OCTAVO_SWAP_XFERS)
		sched_yield();
	d->on_submit = NULL;
	assert_int_equal(vm_munmap(as, at(NR - GONE), GONE << PAGE_SHIFT), 0);
	for (unsigned int i = 0; i < 100; i++)
		sched_yield();
	assert_int_equal(waiting(), OCTAVO_SWAP_XFERS);
	/* acquire: pairs with the release in advises() */
	assert_int_equal(smp_load_acquire(&other.over), 0);
	while (!smp_load_acquire(&other.over))
		if (!test_device_complete(d, 1))
			sched_yield();
	pthread_join(other.thread, NULL);
	test_device_complete(d, NR);
	/* the hole */
	assert_int_equal(other.ret, -ENOMEM);
	assert_int_equal(d->reads, NR - GONE);
	d->mode = TD_NOW;
	check(0, NR - GONE);
	assert_int_equal(d->reads, NR - GONE);
	down();
}

/* The slot of one page cannot be read: the others are. */
static void test_a_page_that_cannot_be_read(void **state)
{
	const unsigned long bad = 40;
	struct pt_pos pos;

	out_up(TD_THREAD, NR);
	assert_true(pgtable_walk(as, at(bad), PGTABLE_LEVEL_PTE, &pos));
	pthread_mutex_lock(&d->lock);
	d->fail_slot = swp_offset(pte_to_swp_entry(pos.pte));
	d->fail_err[0] = -EIO;
	d->fail_left = ~0u;
	pthread_mutex_unlock(&d->lock);
	assert_int_equal(advise(0, NR), 0);
	quiet();
	assert_int_equal(d->reads, NR - 1);
	check(0, bad);
	check(bad + 1, NR - bad - 1);
	assert_true(mm_fault(as, at(bad), 0) & VM_FAULT_SIGBUS);
	down();
}

/* A device that is not there any more: advice has no errors. */
static void test_a_device_that_is_gone(void **state)
{
	struct swap_stat st;

	out_up(TD_THREAD, NR);
	pthread_mutex_lock(&d->lock);
	d->gone = true;
	pthread_mutex_unlock(&d->lock);
	assert_int_equal(advise(0, NR), 0);
	quiet();
	assert_int_equal(d->reads, 0);
	assert_true(swap_stat(d->type, &st));
	assert_int_equal(st.read_errors, NR);
	down();
}

/* A group that may have a part of it: it never has more, and nothing is lost. */
static void test_more_than_a_group_may_have(void **state)
{
	enum { ALL = 512, MAX = 100 };

	up(1024);
	map_anon(0, ALL);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, MAX), 0);
	fill(0, ALL);
	assert_int_equal(advise(0, ALL), 0);
	assert_true(stat_of(group).usage <= MAX && stat_of(group).usage > MAX / 2);
	check(0, ALL);
	assert_true(stat_of(group).highest <= MAX);
	down();
}

#if OCTAVO_FAULTS
/* Without memory at any step it ends there, and is no error. */
static void test_no_memory_at_every_step(void **state)
{
	enum { FEW = 40 };

	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB, hit)
	{
		octavo_fault_disarm();
		out_up(TD_NOW, FEW);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
		assert_int_equal(advise(0, FEW), 0);
		hit = octavo_fault_disarm();
		assert_true(octavo_validate());
		assert_true(hit || d->reads == FEW);
		check(0, FEW);
		down();
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_of_it_from_a_slow_device),
		TEST(test_changes_while_it_waits),
		TEST(test_a_page_that_cannot_be_read),
		TEST(test_a_device_that_is_gone),
		TEST(test_more_than_a_group_may_have),
#if OCTAVO_FAULTS
		TEST(test_no_memory_at_every_step),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
