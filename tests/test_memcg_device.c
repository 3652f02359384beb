// SPDX-License-Identifier: MIT
/*
 * test_memcg_device.c - groups and devices' memory: the charge goes with the page, there and back, at a limit, after the group has ended, through
 * splits, forks and eviction.
 */
#include "migrate_machine.h"

#include <octavo/memcontrol.h>
#include <octavo/reclaim.h>

#include "../mm/reclaim/memcg.h"

static struct mig m;
static struct mem_cgroup *group;

static const enum mig_to kinds[] = { TO_PRIVATE, TO_COHERENT };
#define for_each_kind(to) \
	for (unsigned int k_ = 0; k_ < ARRAY_SIZE(kinds) && ((to) = kinds[k_], 1); k_++)

static struct mem_cgroup_stat st(void)
{
	struct mem_cgroup_stat stat;

	mem_cgroup_stat(group, &stat);
	return stat;
}

static u32 back_like(struct vm_fault *vmf);

static void up(enum mig_to kind)
{
	int err;

	device_up(kind);
	assert_int_equal(reclaim_init(), 0);
	group = mem_cgroup_create(NULL, &err);
	assert_non_null(group);
	assert_int_equal(mm_join_memcg(as, group), 0);
	dev_to_ram = back_like;
}

static void down(enum mig_to kind)
{
	assert_true(octavo_validate());
	assert_true(sim_mmu_check(as));
	sim_mm_forget(as);
	mmput(as);
	assert_int_equal(dev_freed, dev_next);
	if (group)
		assert_int_equal(mem_cgroup_end(group), 0);
	group = NULL;
	memcg_reap();
	assert_true(list_empty(&octavo_state.reclaim.groups));
	/* another, so that device_down() has one to end */
	as = mm_alloc();
	assert_non_null(as);
	sim_mm_use(as);
	device_down(kind);
}

static void fill_pages(unsigned long page, unsigned long nr)
{
	for (unsigned long i = page; i < page + nr; i++)
		put64(i, 1000 + i);
}

static void check_pages(unsigned long page, unsigned long nr)
{
	for (unsigned long i = page; i < page + nr; i++)
		assert_int_equal(get64(i), 1000 + i);
}

/* Elements get folios of the system's memory that are in the group of what is there. Return: how many could be had. */
static unsigned long give_like(unsigned long nr)
{
	unsigned long given = 0;

	for (unsigned long i = 0; i < nr; i++) {
		struct page *page = migrate_pfn_to_page(m.src[i]);
		struct folio *dst;

		if (!page || !(m.src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		dst = migrate_folio_alloc_like(page_folio(page), GFP_KERNEL,
					       migrate_pfn_order(m.src[i]));
		if (!dst)
			continue;
		m.dst[i] = migrate_pfn(folio_page(dst, 0));
		for (unsigned long k = 0; k < folio_nr_pages(dst); k++)
			memcpy(mem_of(folio_page(dst, k)), mem_of(page + k), PAGE_SIZE);
		given++;
	}
	return given;
}

static u32 back_like(struct vm_fault *vmf)
{
	unsigned long nr = 1;
	u32 ret;

	memset(&m, 0, sizeof(m));
	m.args = (struct migrate_vma){
		.vma = vmf->vma,
		.src = m.src,
		.dst = m.dst,
		.start = vmf->address & PAGE_MASK,
		.end = (vmf->address & PAGE_MASK) + PAGE_SIZE,
		.pgmap_owner = &dev_map,
		.flags = SEL_PRIVATE,
		.fault_page = vmf->page,
	};
	assert_int_equal(migrate_vma_setup(&m.args), 0);
	ret = give_like(nr) ? 0 : VM_FAULT_OOM;
	migrate_vma_pages(&m.args);
	migrate_vma_finalize(&m.args);
	return ret;
}

/* All back, by the driver. */
static void bring_all(enum mig_to kind, unsigned long page, unsigned long nr)
{
	assert_int_equal(mig_setup(&m, page, nr, sel_of(kind) | SEL_COMPOUND), 0);
	assert_true(give_like(nr) > 0);
	migrate_vma_pages(&m.args);
	mig_end(&m);
}

COVERS("S1.25");
static void test_the_charge_goes_along(void **state)
{
	enum mig_to kind;

	for_each_kind(kind)
	{
		up(kind);
		map_anon(0, 16);
		fill_pages(0, 8);
		assert_int_equal(st().usage, 8);
		assert_int_equal(mig_run(&m, 0, 8, SEL_SYSTEM, kind, 0), 8);
		assert_int_equal(st().usage, 8);
		/* the descriptors are the device's */
		assert_int_equal(st().folios, 0);
		assert_true(octavo_validate());
		bring_all(kind, 0, 8);
		assert_int_equal(st().usage, 8);
		assert_int_equal(st().folios, 8);
		check_pages(0, 8);
		/* freed where they are */
		assert_int_equal(mig_run(&m, 0, 8, SEL_SYSTEM, kind, 0), 8);
		assert_int_equal(vm_munmap(as, at(0), 3 << PAGE_SHIFT), 0);
		assert_int_equal(st().usage, 5);
		down(kind);
	}
}

/* Full, and no swap: there and back costs nothing, a touch of a CPU's neither. */
COVERS("S1.25");
static void test_at_the_limit(void **state)
{
	enum mig_to kind;

	for_each_kind(kind)
	{
		up(kind);
		map_anon(0, 16);
		fill_pages(0, 8);
		assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 8), 0);
		assert_int_equal(mig_run(&m, 0, 8, SEL_SYSTEM, kind, 0), 8);
		assert_int_equal(st().usage, 8);
		/* it is used up there as it would be here */
		assert_int_equal(sim_store64(at(9), 1), VM_FAULT_OOM);
		check_pages(0, 4);
		assert_int_equal(st().usage, 8);
		bring_all(kind, 4, 4);
		check_pages(0, 8);
		assert_int_equal(st().usage, 8);
		/* a CPU's touch brings back what it cannot read where it is */
		assert_int_equal(st().folios, kind == TO_PRIVATE ? 8 : 4);
		down(kind);
	}
}

/* Where nothing was, a device's page is charged as one of a fault is: or it is not there. */
static void test_holes(void **state)
{
	enum mig_to kind;

	for_each_kind(kind)
	{
		up(kind);
		map_anon(0, 16);
		fill_pages(0, 1);
		assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 4), 0);
		assert_int_equal(mig_run(&m, 1, 8, SEL_SYSTEM, kind, 0), 3);
		assert_int_equal(st().usage, 4);
		assert_true(octavo_validate());
		down(kind);
	}
}

/* The group ends while its pages are on the device: they keep it, by a child of another process, and go one by one. */
static void test_the_group_ends_meanwhile(void **state)
{
	unsigned long src[8], dst[8];
	struct folio *folio;

	up(TO_COHERENT);
	map_anon(0, 8);
	fill_pages(0, 1);
	assert_int_equal(mig_run(&m, 0, 1, SEL_SYSTEM, TO_COHERENT, 0), 1);
	folio = folio_at(0);
	assert_true(folio_is_device_coherent(folio));
	folio_get(folio);
	assert_int_equal(vm_munmap(as, at(0), PAGE_SIZE), 0);
	sim_mm_forget(as);
	mmput(as);
	assert_int_equal(st().usage, 1);
	assert_int_equal(mem_cgroup_end(group), 0);
	memcg_reap();
	assert_false(list_empty(&octavo_state.reclaim.groups));
	/* evicted, it is nobody's */
	assert_int_equal(migrate_device_range(&dev_map, 0, src, 8), 0);
	memset(dst, 0, sizeof(dst));
	migrate_device_pages(src, dst, 8);
	migrate_device_finalize(src, dst, 8);
	assert_true(octavo_validate());
	folio_put(folio);
	group = NULL;
	as = mm_alloc();
	assert_non_null(as);
	sim_mm_use(as);
	down(TO_COHERENT);
}

/* A large one, its pieces, one back, the rest freed. */
static void test_split(void **state)
{
	enum mig_to kind;

	for_each_kind(kind)
	{
		struct folio *folio;

		up(kind);
		WRITE_ONCE(as->folio_orders, 1u | 1u << 3);
		map_anon(0, 8);
		fill_pages(0, 8);
		assert_int_equal(mig_run(&m, 0, 8, SEL_SYSTEM | SEL_COMPOUND, kind, 3), 1);
		assert_int_equal(st().usage, 8);
		/* by pages of its own now */
		assert_int_equal(mig_setup(&m, 0, 8, sel_of(kind) | SEL_COMPOUND), 0);
		folio = page_folio(migrate_pfn_to_page(m.src[0]));
		assert_int_equal(folio_order(folio), 3);
		for (unsigned long i = 0; i < 8; i++) {
			struct page *from = mig_src_page(m.src, i);
			struct folio *to = migrate_folio_alloc_like(folio, GFP_KERNEL, 0);

			assert_non_null(to);
			memcpy(mem_of(folio_page(to, 0)), mem_of(from), PAGE_SIZE);
			m.dst[i] = migrate_pfn(folio_page(to, 0));
		}
		assert_int_equal(st().usage, 16);
		migrate_vma_pages(&m.args);
		mig_end(&m);
		assert_int_equal(st().usage, 8);
		assert_int_equal(st().folios, 8);
		assert_true(octavo_validate());
		check_pages(0, 8);
		/* and as one of a device's again, of which a part is unmapped */
		assert_int_equal(mig_run(&m, 0, 8, SEL_SYSTEM, kind, 0), 8);
		assert_int_equal(vm_munmap(as, at(2), 2 << PAGE_SHIFT), 0);
		assert_int_equal(st().usage, 6);
		down(kind);
	}
}

static void test_a_child_has_it_too(void **state)
{
	struct mm_struct *child;
	int err;

	up(TO_PRIVATE);
	map_anon(0, 8);
	fill_pages(0, 4);
	assert_int_equal(mig_run(&m, 0, 4, SEL_SYSTEM, TO_PRIVATE, 0), 4);
	child = mm_fork(as, &err);
	assert_non_null(child);
	assert_int_equal(st().usage, 4);
	check_pages(0, 4);
	assert_int_equal(st().usage, 4);
	mmput(child);
	assert_int_equal(st().usage, 4);
	down(TO_PRIVATE);
}

static void test_eviction(void **state)
{
	enum mig_to kind;

	for_each_kind(kind)
	{
		up(kind);
		map_anon(0, 8);
		fill_pages(0, 8);
		assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 8), 0);
		assert_int_equal(mig_run(&m, 0, 8, SEL_SYSTEM, kind, 0), 8);
		memset(&m, 0, sizeof(m));
		assert_int_equal(migrate_device_range(&dev_map, 0, m.src, 8), 0);
		assert_int_equal(give_like(8), 8);
		migrate_device_pages(m.src, m.dst, 8);
		migrate_device_finalize(m.src, m.dst, 8);
		assert_int_equal(st().usage, 8);
		assert_int_equal(st().folios, 8);
		assert_int_equal(dev_freed, dev_next);
		check_pages(0, 8);
		down(kind);
	}
}

/* A long-term pin takes coherent memory back, and the charge. */
static void test_a_long_term_pin(void **state)
{
	struct page *page;

	up(TO_COHERENT);
	map_anon(0, 1);
	fill_pages(0, 1);
	assert_int_equal(mem_cgroup_set(group, MEMCG_MAX, 1), 0);
	assert_int_equal(mig_run(&m, 0, 1, SEL_SYSTEM, TO_COHERENT, 0), 1);
	mmap_read_lock(as);
	assert_int_equal(pin_user_pages(as, at(0), 1, FOLL_WRITE | FOLL_LONGTERM, &page), 1);
	mmap_read_unlock(as);
	assert_false(folio_is_zone_device(page_folio(page)));
	assert_int_equal(st().usage, 1);
	assert_int_equal(st().folios, 1);
	unpin_user_page(page);
	check_pages(0, 1);
	down(TO_COHERENT);
}

#if OCTAVO_FAULTS
/* No memory for what it would come back to: it stays where it is, charged, and the touch fails. */
static void test_the_way_back_fails(void **state)
{
	up(TO_PRIVATE);
	map_anon(0, 4);
	fill_pages(0, 4);
	for (u32 k = 1, hit = 1; hit; k++) {
		vm_fault_t ret;

		assert_int_equal(mig_run(&m, 0, 4, SEL_SYSTEM, TO_PRIVATE, 0), 4);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
		ret = mm_fault(as, at(1), 0);
		hit = octavo_fault_disarm();
		assert_true(ret == 0 || ret == VM_FAULT_MAJOR || ret == VM_FAULT_OOM);
		assert_int_equal(st().usage, 4);
		assert_true(octavo_validate());
		check_pages(0, 4);
	}
	down(TO_PRIVATE);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_charge_goes_along),
		TEST(test_at_the_limit),
		TEST(test_holes),
		TEST(test_the_group_ends_meanwhile),
		TEST(test_split),
		TEST(test_a_child_has_it_too),
		TEST(test_eviction),
		TEST(test_a_long_term_pin),
#if OCTAVO_FAULTS
		TEST(test_the_way_back_fails),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
