/* SPDX-License-Identifier: MIT */
/*
 * memcg_machine.h - what the tests of groups share: a group with an address space in it, and a swap device if it is to have one.
 */
#ifndef OCTAVO_MEMCG_MACHINE_H
#define OCTAVO_MEMCG_MACHINE_H

#include <octavo/memcontrol.h>
#include <octavo/reclaim.h>

#include "../mm/reclaim/memcg.h"
#include "fault_machine.h"
#include "swap_device.h"

static struct test_device *d;
static struct mem_cgroup *group; /* of as */

static inline struct mem_cgroup *make(struct mem_cgroup *parent)
{
	struct mem_cgroup *memcg;
	int err;

	memcg = mem_cgroup_create(parent, &err);
	assert_non_null(memcg);
	return memcg;
}

static inline struct mm_struct *mm_in(struct mem_cgroup *memcg)
{
	struct mm_struct *mm = mm_alloc();

	assert_non_null(mm);
	assert_int_equal(mm_join_memcg(mm, memcg), 0);
	return mm;
}

/* The address space that fill() and the rest are about. Return: which it was. */
static inline struct mm_struct *use(struct mm_struct *mm)
{
	struct mm_struct *was = as;

	as = mm;
	sim_mm_use(as);
	return was;
}

/* A group with one address space, which is used. */
static inline void up(unsigned long slots)
{
	boot_small(TEST_MIB, 2);
	assert_int_equal(reclaim_init(), 0);
	d = slots ? test_device_on(slots, 0, TD_NOW) : NULL;
	group = make(NULL);
	as = mm_in(group);
	sim_mm_use(as);
}

static inline void as_ends(void)
{
	sim_mm_forget(as);
	mmput(as);
	as = NULL;
}

static inline void down(void)
{
	assert_true(octavo_validate());
	if (as)
		as_ends();
	if (group)
		assert_int_equal(mem_cgroup_end(group), 0);
	group = NULL;
	if (d)
		test_device_off(d);
	shutdown_clean();
}

static inline struct mem_cgroup_stat stat_of(struct mem_cgroup *memcg)
{
	struct mem_cgroup_stat st;

	mem_cgroup_stat(memcg, &st);
	return st;
}

static inline void fill(unsigned long page, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		put64(page + i, 1000 + page + i);
}

static inline void check(unsigned long page, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		assert_int_equal(get64(page + i), 1000 + page + i);
}

/* The first @nr pages are there, in the address space used and in one of another group, which is used then. Return: the first. */
static inline struct mm_struct *two_filled(struct mem_cgroup *other, unsigned long nr)
{
	struct mm_struct *mine;

	map_anon(0, nr);
	fill(0, nr);
	mine = use(mm_in(other));
	map_anon(0, nr);
	fill(0, nr);
	return mine;
}

#endif /* OCTAVO_MEMCG_MACHINE_H */
