// SPDX-License-Identifier: MIT
/*
 * test_swapoff.c - a swap device is emptied: everything is back in memory, or the device is as it was.
 */
#include "swap_space.h"

enum { PAGES = 24 };

static struct mm_struct *children[3];

static struct mm_struct *fork_of(struct mm_struct *parent)
{
	int err = 0;
	struct mm_struct *m = mm_fork(parent, &err);

	assert_non_null(m);
	return m;
}

static void children_end(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(children); i++)
		if (children[i])
			mmput(children[i]);
	memset(children, 0, sizeof(children));
}

/* No entry of a slot, what is there is what was written, and the device is nobody's. */
static void check_empty(struct mm_struct *m, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		assert_int_equal(mem_in(m, i)[0], 100 + i);
	assert_int_equal(get_mm_counter(m, MM_SWAPENTS), 0);
}

static void off(void)
{
	struct swap_stat st;

	assert_int_equal(swapoff(dev.type), 0);
	assert_false(swap_stat(dev.type, &st));
	assert_true(octavo_validate());
}

static void on_again_and_down(void)
{
	dev_on(0);
	swap_down();
}

/* ---- it is emptied ---- */

COVERS("S2.26");
static void test_swapoff_brings_in(void **state)
{
	swap_up(0);
	map_anon(0, PAGES);
	fill_out(0, PAGES);
	/* some are there, in the cache too; some are read-only, some not to be accessed at all */
	assert_int_equal(get64(3), 103);
	assert_int_equal(vm_mprotect(as, at(8), 4 << PAGE_SHIFT, PROT_READ), 0);
	assert_int_equal(vm_mprotect(as, at(12), 4 << PAGE_SHIFT, PROT_NONE), 0);
	off();
	check_empty(as, PAGES);
	for (unsigned long i = 0; i < PAGES; i++) {
		assert_false(folio_test_flag(folio_at(i), PG_swapcache));
		assert_false(pte_write(entry(i)));
		assert_int_equal(pte_protnone(entry(i)), i >= 12 && i < 16);
		assert_true(exclusive_in(as, i));
	}
	put64(0, 5);
	on_again_and_down();
}

COVERS("S2.26 S2.30");
static void test_swapoff_of_a_family(void **state)
{
	swap_up(0);
	map_anon(0, PAGES);
	fill_out(0, PAGES);
	children[0] = fork_of(as);
	children[1] = fork_of(children[0]);
	children[2] = fork_of(as);
	mmput(children[0]);
	children[0] = NULL;
	assert_int_equal(get64(1), 101);
	off();
	check_empty(as, PAGES);
	check_empty(children[1], PAGES);
	check_empty(children[2], PAGES);
	for (unsigned long i = 0; i < PAGES; i++) {
		assert_ptr_equal(folio_at(i), folio_in(children[1], i));
		assert_int_equal(folio_count_mappings(folio_at(i)), 3);
		assert_false(exclusive_in(as, i));
	}
	children_end();
	on_again_and_down();
}

static void test_swapoff_of_large_folios(void **state)
{
	swap_up(0);
	map_anon(0, PAGES);
	WRITE_ONCE(as->folio_orders, 1 | 1 << 2);
	fill_out(0, PAGES);
	off();
	check_empty(as, PAGES);
	for (unsigned long i = 0; i < PAGES; i++)
		assert_int_equal(folio_order(folio_at(i)), 2);
	on_again_and_down();
}

/* Slots that no entry names: a folio that was about to go, and one that was read for nobody. */
static void test_swapoff_of_what_is_only_cached(void **state)
{
	struct folio *folio;

	swap_up(0);
	map_anon(0, PAGES);
	put64(1, 101);
	folio = folio_at(1);
	folio_lock(folio);
	assert_int_equal(folio_alloc_swap(folio), 0);
	folio_unlock(folio);
	fill_out(2, 4);
	assert_int_equal(vm_madvise(as, at(2), 4 << PAGE_SHIFT, MADV_WILLNEED), 0);
	assert_int_equal(dev_stat().cached, 5);
	off();
	assert_false(folio_test_flag(folio, PG_swapcache));
	assert_true(folio_test_flag(folio, PG_dirty));
	for (unsigned long i = 1; i < 6; i++)
		assert_int_equal(get64(i), 100 + i);
	on_again_and_down();
}

/* A copy that a process has of an object's page. */
static u32 object_fault(struct vm_fault *vmf)
{
	vmf->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!vmf->page)
		return VM_FAULT_OOM;
	page_set_mappable(vmf->page, true);
	return 0;
}

static const struct vm_operations_struct object_vm_ops = { .fault = object_fault };

static int object_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &object_vm_ops;
	return 0;
}

static void test_swapoff_of_copies_of_files(void **state)
{
	static const struct vm_file_operations ops = { .mmap = object_mmap };
	static struct vm_file file;

	swap_up(0);
	vm_file_init(&file, &ops);
	assert_int_equal(vm_mmap(as, at(0), 4 << PAGE_SHIFT, PROT_READ | PROT_WRITE,
				 MAP_FIXED | MAP_PRIVATE, &file, 0),
			 at(0));
	fill_out(0, 3);
	assert_true(is_slot(2));
	off();
	check_empty(as, 3);
	on_again_and_down();
}

/* What is on one device does not keep another. */
static void test_swapoff_of_one_of_two(void **state)
{
	int first;

	swap_up(0);
	map_anon(0, PAGES);
	fill_out(0, 4);
	first = dev.type;
	/* the same memory behind it: slots of both have the same numbers, so nothing more is written */
	dev.type = swapon(&dev_ops, NULL, DEV_SLOTS, -5, 0);
	assert_int_not_equal(dev.type, first);
	assert_int_equal(swapoff(dev.type), 0);
	assert_true(is_slot(0));
	assert_int_equal(swapoff(dev.type), -EINVAL);
	assert_int_equal(swapoff(-1), -EINVAL);
	assert_int_equal(swapoff(MAX_SWAPFILES), -EINVAL);
	dev.type = first;
	off();
	check_empty(as, 4);
	on_again_and_down();
}

/* ---- it is not ---- */

/* As before: slots are given out, and what is there comes back. */
static void check_in_use(unsigned long nr)
{
	assert_true(octavo_validate());
	put64(nr, 100 + nr);
	out(nr, 1);
	assert_true(is_slot(nr));
	for (unsigned long i = 0; i <= nr; i++)
		assert_int_equal(get64(i), 100 + i);
}

COVERS("S2.26");
static void test_swapoff_of_what_cannot_be_read(void **state)
{
	swap_up(0);
	map_anon(0, PAGES);
	fill_out(0, PAGES - 1);
	dev.broken[swp_offset(slot_in(as, 9))] = true;
	assert_int_equal(swapoff(dev.type), -EIO);
	assert_true(is_slot(9));
	memset(dev.broken, 0, sizeof(dev.broken));
	check_in_use(PAGES - 1);
	off();
	on_again_and_down();
}

static void interrupt_meanwhile(struct swap_io *io)
{
	swapoff_interrupt(dev.type);
}

static void test_swapoff_interrupted(void **state)
{
	swap_up(0);
	map_anon(0, PAGES);
	/* nobody is at it */
	swapoff_interrupt(dev.type);
	swapoff_interrupt(-1);
	fill_out(0, PAGES - 1);
	children[0] = fork_of(as);
	dev.before = interrupt_meanwhile;
	assert_int_equal(swapoff(dev.type), -EINTR);
	assert_int_equal(get_mm_counter(children[0], MM_SWAPENTS), PAGES - 1);
	children_end();
	check_in_use(PAGES - 1);
	off();
	on_again_and_down();
}

static int busy;

static void off_meanwhile(struct swap_io *io)
{
	busy = swapoff(dev.type);
}

static void test_swapoff_twice_at_once(void **state)
{
	swap_up(0);
	map_anon(0, PAGES);
	fill_out(0, 4);
	dev.before = off_meanwhile;
	off();
	assert_int_equal(busy, -EBUSY);
	check_empty(as, 4);
	on_again_and_down();
}

#if OCTAVO_FAULTS
COVERS("SX.8");
static void test_swapoff_every_step_fails(void **state)
{
	int refused = 0, done = 0;

	swap_up(0);
	map_anon(0, PAGES);
	for_each_fault(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL & ~OCTAVO_FAULT_IO, hit)
	{
		int err;

		octavo_fault_disarm();
		fill_out(0, 6);
		children[0] = fork_of(as);
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_ALL & ~OCTAVO_FAULT_IO);
		err = swapoff(dev.type);
		hit = octavo_fault_disarm();
		assert_true(!err || (err == -ENOMEM && hit));
		assert_true(octavo_validate());
		if (err) {
			refused++;
			check_in_use(6);
		} else {
			done++;
			check_empty(as, 6);
			check_empty(children[0], 6);
			dev_on(0);
		}
		children_end();
		assert_int_equal(vm_madvise(as, at(0), PAGES << PAGE_SHIFT, MADV_DONTNEED), 0);
	}
	assert_true(refused > 0 && done > 0);
	swap_down();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_swapoff_brings_in),
		TEST(test_swapoff_of_a_family),
		TEST(test_swapoff_of_large_folios),
		TEST(test_swapoff_of_what_is_only_cached),
		TEST(test_swapoff_of_copies_of_files),
		TEST(test_swapoff_of_one_of_two),
		TEST(test_swapoff_of_what_cannot_be_read),
		TEST(test_swapoff_interrupted),
		TEST(test_swapoff_twice_at_once),
#if OCTAVO_FAULTS
		TEST(test_swapoff_every_step_fails),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
