/* SPDX-License-Identifier: MIT */
/*
 * device_migrate.c - migration to a device and back, eviction, mirrors and exclusive access, while address spaces change: the
 * shipped code; the driver, which copies and keeps a page table of one entry, is the scenario's.
 */
#include "device_driver.h"

/* ---- there, while a child is made ---- */

static void forker(void)
{
	int err;

	s.child = mm_fork(s.mm, &err);
	CHECK(s.child);
}

static void both_have_it(void)
{
	CHECK(word_anywhere(s.mm) == 100 && word_anywhere(s.child) == 100);
	CHECK(on_device(s.mm) == on_device(s.child));
	CHECK(mm_validate(s.child));
	check_device(on_device(s.mm));
}

SCENARIO(device_migrate_fork) = { SCENARIO_NAME(device_migrate_fork),
				  .frames = 128,
				  .about = "a page goes to a device while a child is made",
				  .rows = "S1.23 S1.25 S1.38",
				  .setup = setup_page,
				  .finish = both_have_it,
				  .flags = SC_VALIDATE,
				  .stale = 1,
				  .threads = { to_device, forker },
				  .roles = { "driver", "forker" } };

/* ---- there, while a CPU writes ---- */

static void writer(void)
{
	CHECK(store(s.mm, ADDR, 7));
}

static void written(void)
{
	CHECK(word_anywhere(s.mm) == 7);
	check_device(on_device(s.mm));
}

SCENARIO(device_migrate_store) = { SCENARIO_NAME(device_migrate_store),
				   .frames = 128,
				   .about = "a page goes to a device while a CPU writes to it",
				   .rows = "S1.25 S1.34",
				   .setup = setup_page,
				   .finish = written,
				   .flags = SC_VALIDATE,
				   .stale = 1,
				   .threads = { to_device, writer },
				   .roles = { "driver", "writer" } };

/* ---- back, by eviction and by a touch ---- */

SCENARIO(device_evict_fault) = { SCENARIO_NAME(device_evict_fault),
				 .frames = 128,
				 .about = "a page is evicted from a device while a CPU touches it",
				 .rows = "S1.32 S1.34",
				 .setup = setup_on_device,
				 .finish = written,
				 .flags = SC_VALIDATE,
				 .stale = 1,
				 .threads = { writer, evict },
				 .roles = { "writer", "driver" } };

static void other_writer(void)
{
	CHECK(store(s.mm, ADDR + 8, 9));
}

static void both_written(void)
{
	CHECK(word_of(s.mm, ADDR) == 7 && word_of(s.mm, ADDR + 8) == 9);
	check_device(0);
}

SCENARIO(device_back_two) = {
	SCENARIO_NAME(device_back_two),
	.frames = 128,
	.about = "two CPUs touch a page of a device's, whose driver brings it back by migrate_vma",
	.rows = "S1.34",
	.setup = setup_on_device,
	.finish = both_written,
	.flags = SC_VALIDATE,
	.stale = 1,
	.threads = { writer, other_writer },
	.roles = { "writer", "writer" }
};

/* ---- a mirror ---- */

/* One attempt to see the page, and to use it. */
static void mirror(void)
{
	unsigned long el = 0;
	struct hmm_range range = { .notifier = &m.mni,
				   .start = ADDR,
				   .end = ADDR + PAGE_SIZE,
				   .hmm_pfns = &el,
				   .owner = &m };
	int err;

	range.notifier_seq = mmu_interval_read_begin(&m.mni);
	mmap_read_lock(s.mm);
	err = hmm_range_fault(&range);
	mmap_read_unlock(s.mm);
	if (!err && el & HMM_PFN_VALID)
		mirror_fill(range.notifier_seq, pfn_to_virt(hmm_pfn_value(el)));
	spin_lock(&m.lock);
	/* plain: whoever has the frame next must not be able to write to it yet */
	if (m.entry)
		CHECK(*m.entry == 100);
	spin_unlock(&m.lock);
}

static void unmapper(void)
{
	struct folio *folio;

	CHECK(!vm_munmap(s.mm, ADDR, PAGE_SIZE));
	/* perhaps the same frame */
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	CHECK(folio);
	*(u64 *)folio_address(folio) = 5;
	folio_put(folio);
}

static void mirror_empty(void)
{
	CHECK(!m.entry);
	CHECK(pte_none(entry_of(s.mm, ADDR)));
	CHECK(mm_validate(s.mm));
}

SCENARIO(device_hmm_munmap) = {
	SCENARIO_NAME(device_hmm_munmap),
	.frames = 128,
	.about = "a device mirrors a page while it is unmapped and its frame used again",
	.rows = "S1.45",
	.setup = setup_mirror,
	.finish = mirror_empty,
	.flags = SC_VALIDATE,
	.stale = 1,
	.threads = { mirror, unmapper },
	.roles = { "device", "unmapper" }
};

/* ---- exclusive access ---- */

/* NULL: somebody has it. Return: with the folio locked, and a reference. */
static struct page *get_exclusive(struct folio **folio)
{
	struct page *page;
	int err;

	mmap_read_lock(s.mm);
	page = make_device_exclusive(s.mm, ADDR, &m, folio, &err);
	mmap_read_unlock(s.mm);
	CHECK(page || err == -EBUSY);
	return page;
}

static void device_alone(void)
{
	unsigned long seq = mmu_interval_read_begin(&m.mni);
	struct folio *folio;
	struct page *page = get_exclusive(&folio);

	if (!page)
		return;
	mirror_fill(seq, memory(page));
	folio_unlock(folio);
	folio_put(folio);
	spin_lock(&m.lock);
	/* plain, and not atomic: no CPU is at it */
	if (m.entry) {
		*m.entry += 1;
		m.filled++;
	}
	spin_unlock(&m.lock);
}

static void nothing_lost(void)
{
	u64 v = word_anywhere(s.mm);

	/* the device added before the CPU stored, or after, or not at all */
	CHECK(v == 7 || (v == 8 && m.filled));
	CHECK(mm_validate(s.mm));
}

static void setup_moved(void)
{
	setup_mirror();
	s.folio = page_folio(pfn_to_page(pte_pfn(entry_of(s.mm, ADDR))));
	folio_get(s.folio);
}

/* The system wants the page elsewhere. */
static void mover(void)
{
	int err = migrate_folio(s.folio, NUMA_NO_NODE, GFP_KERNEL);

	CHECK(!err || err == -EAGAIN || err == -EBUSY);
	folio_put(s.folio);
}

static void all_added(void)
{
	CHECK(word_anywhere(s.mm) == 100 + m.filled);
	CHECK(mm_validate(s.mm));
}

/* A driver that wants to change the address space before its device has the page. */
static void device_maps(void)
{
	struct folio *folio;

	if (!get_exclusive(&folio))
		return;
	mmap_write_lock(s.mm);
	mmap_write_unlock(s.mm);
	folio_unlock(folio);
	folio_put(folio);
}

/* Perhaps the device has the page again. */
static void stored_once(void)
{
	CHECK(word_anywhere(s.mm) == 7);
	CHECK(store(s.mm, ADDR, 8) && word_of(s.mm, ADDR) == 8);
	CHECK(mm_validate(s.mm));
}

SCENARIO(device_exclusive_move) = {
	SCENARIO_NAME(device_exclusive_move),
	.frames = 128,
	.about = "a device has a page for itself while the system moves it",
	.rows = "S1.40",
	.setup = setup_moved,
	.finish = all_added,
	.stale = 1,
	.threads = { device_alone, mover },
	.roles = { "device", "mover" }
};

SCENARIO(device_exclusive_waits) = {
	SCENARIO_NAME(device_exclusive_waits),
	.frames = 128,
	.about = "a CPU touches a page that a driver has locked, which "
		 "changes the address space meanwhile",
	.rows = "S1.40",
	.setup = setup_mirror,
	.finish = stored_once,
	.flags = SC_VALIDATE,
	.stale = 0,
	.threads = { device_maps, writer },
	.roles = { "device", "writer" }
};

SCENARIO(device_exclusive_store) = {
	SCENARIO_NAME(device_exclusive_store),
	.frames = 128,
	.about = "a device has a page for itself while a CPU writes to it",
	.rows = "S1.40",
	.setup = setup_mirror,
	.finish = nothing_lost,
	.flags = SC_VALIDATE,
	.stale = 1,
	.threads = { device_alone, writer },
	.roles = { "device", "writer" }
};
