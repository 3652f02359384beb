// SPDX-License-Identifier: MIT
/*
 * test_hmm_wait.c - what those who work for a device wait for, they wait for without mmap_lock.
 */
#include <pthread.h>
#include <sched.h>

#include <octavo/hmm.h>

#include "swap_space.h"

static struct mmu_interval_notifier mni;
static unsigned long el[8];
static u32 turns;

static bool invalidate(struct mmu_interval_notifier *n, const struct mmu_notifier_range *range,
		       unsigned long seq)
{
	mmu_interval_set_seq(n, seq);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = { .invalidate = invalidate };

static void mirror_up(void)
{
	swap_up(0);
	map_anon(0, 8);
	fill_out(0, 8);
	turns = 0;
	assert_int_equal(mmu_interval_notifier_insert(&mni, as, 0, TASK_SIZE_MAX, &mirror_ops), 0);
}

static void mirror_down(void)
{
	mmu_interval_notifier_remove(&mni);
	swap_down();
}

/* One attempt. */
static int look(unsigned long nr, unsigned long flags)
{
	struct hmm_range range = {
		.notifier = &mni,
		.notifier_seq = mmu_interval_read_begin(&mni),
		.start = at(0),
		.end = at(nr),
		.hmm_pfns = el,
		.default_flags = flags,
	};
	int err;

	memset(el, 0, sizeof(el));
	mmap_read_lock(as);
	err = hmm_range_fault(&range);
	/* nobody else has it: it was taken again */
	assert_false(down_write_trylock(&as->mmap_lock));
	mmap_read_unlock(as);
	return err;
}

/* In the device, for each transfer: whoever wants to change the address space can. */
static void nobody_has_the_lock(struct swap_io *io)
{
	assert_true(down_write_trylock(&as->mmap_lock));
	up_write(&as->mmap_lock);
	turns++;
	dev.before = nobody_has_the_lock;
}

static void test_mirror_waits(void **state)
{
	mirror_up();
	dev.before = nobody_has_the_lock;
	assert_int_equal(look(8, HMM_PFN_REQ_WRITE), 0);
	assert_in_range(turns, 1, 8);
	dev.before = NULL;
	for (unsigned long i = 0; i < 8; i++) {
		assert_int_equal(el[i] & 0xf, HMM_PFN_VALID | HMM_PFN_WRITE);
		assert_int_equal(hmm_pfn_value(el[i]), pfn_in(as, i));
		assert_int_equal(get64(i), 100 + i);
	}
	mirror_down();
}

/* With transfers that end when somebody polls. */
static void test_mirror_polls(void **state)
{
	mirror_up();
	dev.keep = true;
	assert_int_equal(look(8, HMM_PFN_REQ_FAULT), 0);
	for (unsigned long i = 0; i < 8; i++)
		assert_int_equal(hmm_pfn_value(el[i]), pfn_in(as, i));
	dev_poll(NULL);
	mirror_down();
}

static void unmap_meanwhile(struct swap_io *io)
{
	assert_int_equal(vm_munmap(as, at(0), 4 << PAGE_SHIFT), 0);
}

static void protect_meanwhile(struct swap_io *io)
{
	assert_int_equal(vm_mprotect(as, at(2), 6 << PAGE_SHIFT, PROT_READ), 0);
}

/* What was told of meanwhile is seen at once, whatever is there now. */
static void test_area_changes(void **state)
{
	mirror_up();
	dev.before = unmap_meanwhile;
	assert_int_equal(look(8, HMM_PFN_REQ_FAULT), -EBUSY);
	assert_int_equal(look(8, HMM_PFN_REQ_FAULT), -EFAULT);
	mirror_down();
	mirror_up();
	dev.before = protect_meanwhile;
	assert_int_equal(look(8, HMM_PFN_REQ_WRITE), -EBUSY);
	assert_int_equal(look(8, HMM_PFN_REQ_WRITE), -EPERM);
	assert_int_equal(look(2, HMM_PFN_REQ_WRITE), 0);
	mirror_down();
}

/* The mirror is of two pages, so it hears nothing of the others; the area is another one all the same. */
static void test_area_is_split(void **state)
{
	mirror_up();
	mmu_interval_notifier_remove(&mni);
	assert_int_equal(
		mmu_interval_notifier_insert(&mni, as, at(0), 2 << PAGE_SHIFT, &mirror_ops), 0);
	dev.before = protect_meanwhile;
	assert_int_equal(look(2, HMM_PFN_REQ_WRITE), 0);
	assert_int_equal(el[1] & 0xf, HMM_PFN_VALID | HMM_PFN_WRITE);
	mirror_down();
}

static void break_slot(struct swap_io *io)
{
	dev.broken[io->slot] = true;
}

static void test_cannot_be_read(void **state)
{
	mirror_up();
	for (unsigned int i = 0; i < DEV_SLOTS; i++)
		dev.broken[i] = true;
	assert_int_equal(look(1, HMM_PFN_REQ_FAULT), -EFAULT);
	memset(dev.broken, 0, sizeof(dev.broken));
	dev.before = break_slot;
	assert_int_equal(look(1, HMM_PFN_REQ_FAULT), -EFAULT);
	memset(dev.broken, 0, sizeof(dev.broken));
	assert_int_equal(look(1, HMM_PFN_REQ_FAULT), 0);
	mirror_down();
}

#if OCTAVO_FAULTS
static void test_no_memory(void **state)
{
	u32 hit = 1;

	for (u32 k = 0; hit; k++) {
		int err;

		mirror_up();
		octavo_fault_arm(k, OCTAVO_FAULT_ONCE, OCTAVO_FAULT_FRAME | OCTAVO_FAULT_SLAB);
		err = look(8, HMM_PFN_REQ_WRITE);
		hit = octavo_fault_disarm();
		assert_true(!err || (hit && err == -ENOMEM));
		assert_true(octavo_validate());
		assert_int_equal(look(8, HMM_PFN_REQ_WRITE), 0);
		mirror_down();
	}
}
#endif

/* ---- exclusive access ---- */

static struct page *take(unsigned long page, struct folio **folio, int *err)
{
	struct page *p;

	mmap_read_lock(as);
	p = make_device_exclusive(as, at(page), &mni, folio, err);
	assert_false(down_write_trylock(&as->mmap_lock));
	mmap_read_unlock(as);
	return p;
}

static void *toucher(void *arg)
{
	sim_mm_use(as);
	assert_int_equal(mm_fault(as, at(0), 0), 0);
	return NULL;
}

/* The page has to be read before the device can have it. */
static void test_exclusive_reads(void **state)
{
	struct folio *folio;
	int err;

	mirror_up();
	dev.before = nobody_has_the_lock;
	assert_non_null(take(0, &folio, &err));
	assert_int_equal(turns, dev.reads);
	dev.before = NULL;
	folio_unlock(folio);
	folio_put(folio);
	assert_int_equal(get64(0), 100);
	mirror_down();
	/* and goes meanwhile */
	mirror_up();
	dev.before = unmap_meanwhile;
	assert_null(take(0, &folio, &err));
	assert_int_equal(err, -EFAULT);
	mirror_down();
}

/* A CPU that touches it while the device is still getting it does not keep others from the address space. */
static void test_exclusive_waits(void **state)
{
	struct folio *folio;
	bool locked = false;
	pthread_t thread;
	u32 refs;
	int err;

	mirror_up();
	assert_non_null(take(0, &folio, &err));
	refs = folio_ref_count(folio);
	assert_int_equal(pthread_create(&thread, NULL, toucher, NULL), 0);
	while (folio_ref_count(folio) == refs)
		sched_yield();
	for (u32 i = 0; i < 100000 && !locked; i++) {
		locked = down_write_trylock(&as->mmap_lock);
		if (!locked)
			sched_yield();
	}
	if (locked)
		up_write(&as->mmap_lock);
	folio_unlock(folio);
	pthread_join(thread, NULL);
	assert_true(locked);
	folio_put(folio);
	assert_true(pte_present(entry(0)));
	assert_int_equal(get64(0), 100);
	mirror_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mirror_waits),
		TEST(test_mirror_polls),
		TEST(test_area_changes),
		TEST(test_area_is_split),
		TEST(test_cannot_be_read),
#if OCTAVO_FAULTS
		TEST(test_no_memory),
#endif
		TEST(test_exclusive_reads),
		TEST(test_exclusive_waits),
	};

	return cmocka_run_group_tests_name("hmm_wait-" TEST_VARIANT, tests, NULL, NULL);
}
