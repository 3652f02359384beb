// SPDX-License-Identifier: MIT
/*
 * swapin.c - memory that comes back from a slot: the shipped code from mm_fault() down, against others who want the same
 * slot, copy its entry, unmap it, or take the page away again.
 */
#include <octavo/hmm.h>

#include "user_swap.h"

/* And a child has the entry too. */
static void setup_out_shared(void)
{
	int err;

	setup_out();
	s.child = mm_fork(s.mm, &err);
	CHECK(s.child);
	mm_activate(s.child, 1);
	mm_activate(s.child, 2);
	rcu_barrier();
}

/* ---- two CPUs ---- */

static void stores_1(void)
{
	CHECK(writes(s.mm, s.at + 8, 1));
}

static void stores_2(void)
{
	CHECK(writes(s.mm, s.at + 16, 2));
}

static void both_stored(void)
{
	CHECK(found(s.mm, s.at) == 77 && found(s.mm, s.at + 8) == 1 && found(s.mm, s.at + 16) == 2);
	CHECK(d.reads == 1);
	CHECK(mm_validate(s.mm) && swap_validate());
}

SCENARIO(swapin_two) = { SCENARIO_NAME(swapin_two),
			 .threads = { stores_1, stores_2 },
			 .roles = { "store", "store" },
			 .rows = "S2.26 S2.30",
			 .frames = 128,
			 .stale = 1,
			 .setup = setup_out,
			 .finish = both_stored,
			 .about = "two CPUs want one slot: it is read once, and nothing is lost" };

/* ---- it goes again ---- */

/* What reclaim does, with locks that it only tries. */
static void takes_away(void)
{
	pte_t e = entry_of(s.mm, s.at);
	struct folio *folio;

	folio = pte_present(e) ? page_try_get_folio(pfn_to_page(pte_pfn(e))) : NULL;
	if (!folio)
		return;
	if (folio_trylock(folio)) {
		if ((!folio_test_flag(folio, PG_swapcache) && folio_alloc_swap(folio)) ||
		    !try_to_unmap(folio, 0) || !folio_test_flag(folio, PG_dirty))
			folio_unlock(folio);
		else
			swap_writeout(folio);
	}
	folio_put(folio);
}

static void stored_1(void)
{
	CHECK(found(s.mm, s.at) == 77 && found(s.mm, s.at + 8) == 1);
	CHECK(mm_validate(s.mm) && swap_validate());
}

SCENARIO(swapin_pageout) = {
	SCENARIO_NAME(swapin_pageout),
	.threads = { stores_1, takes_away },
	.roles = { "store", "reclaim" },
	.rows = "S2.18 S2.26 S2.30",
	.frames = 128,
	.setup = setup_out,
	.finish = stored_1,
	.about = "a page that comes back is taken away again while it is written to"
};

/* ---- fork ---- */

static void forks(void)
{
	int err;

	s.second = mm_fork(s.mm, &err);
	CHECK(s.second);
}

static void child_has_its_own(void)
{
	u64 word;

	mm_activate(s.second, 0);
	word = found(s.second, s.at + 8);
	CHECK(found(s.second, s.at) == 77 && word <= 1);
	CHECK(writes(s.mm, s.at + 8, 5) && found(s.second, s.at + 8) == word);
	CHECK(mm_validate(s.mm) && mm_validate(s.second) && swap_validate());
}

static void setup_out_fork(void)
{
	setup_out();
	warm_fork(1);
}

SCENARIO(swapin_fork) = { SCENARIO_NAME(swapin_fork),
			  .threads = { stores_1, forks },
			  .roles = { "store", "fork" },
			  .rows = "S2.26 S2.30 S2.32",
			  .frames = 128,
			  .setup = setup_out_fork,
			  .finish = child_has_its_own,
			  .about = "an entry of a slot is copied while its page comes back" };

/* ---- munmap, and others who read the slot ---- */

static void stores_if(void)
{
	writes(s.mm, s.at + 8, 1);
}

static void unmaps(void)
{
	CHECK(!vm_munmap(s.mm, s.at, PAGE_SIZE));
}

SCENARIO(swapin_munmap) = { SCENARIO_NAME(swapin_munmap),
			    .threads = { stores_if, unmaps },
			    .roles = { "store", "munmap" },
			    .rows = "S2.26",
			    .frames = 128,
			    .setup = setup_out,
			    .finish = no_slot,
			    .about = "memory is unmapped while it comes back: its slot is free" };

/* The same without mmap_lock between them: the entry may go at any time. */
static void zaps(void)
{
	CHECK(!vm_madvise(s.mm, s.at, PAGE_SIZE, MADV_DONTNEED));
}

SCENARIO(swapin_zap) = {
	SCENARIO_NAME(swapin_zap),
	.threads = { stores_1, zaps },
	.roles = { "store", "zap" },
	.rows = "S2.26 S2.30",
	.frames = 128,
	.setup = setup_out,
	.finish = no_slot,
	.about = "memory is emptied while it comes back: it does not come back after that"
};

/* ---- the last count ---- */

static void child_unmaps(void)
{
	CHECK(!vm_munmap(s.child, s.at, PAGE_SIZE));
}

static void parents_alone(void)
{
	CHECK(found(s.mm, s.at) == 77 && found(s.mm, s.at + 8) == 1);
	CHECK(mm_validate(s.child));
	no_slot();
}

SCENARIO(swapin_last_count) = {
	SCENARIO_NAME(swapin_last_count),
	.threads = { stores_1, child_unmaps },
	.roles = { "parent", "child" },
	.rows = "S2.26 S2.30",
	.frames = 128,
	.setup = setup_out_shared,
	.finish = parents_alone,
	.about = "a child lets go of the slot that its parent reads and writes to"
};

/* ---- swapoff ---- */

static void takes_device(void)
{
	CHECK(!swapoff(0));
}

static void all_in_memory(void)
{
	struct swap_stat st;

	CHECK(!swap_stat(0, &st));
	CHECK(found(s.mm, s.at) == 77 && found(s.mm, s.at + 8) == 1);
	CHECK(mm_validate(s.mm));
}

SCENARIO(swapin_off) = { SCENARIO_NAME(swapin_off),
			 .threads = { stores_1, takes_device },
			 .roles = { "store", "swapoff" },
			 .rows = "S2.26",
			 .frames = 128,
			 .stale = 1,
			 .setup = setup_out,
			 .finish = all_in_memory,
			 .about = "a device goes while its only slot is wanted" };

/* ---- a device that waits until the address space has been changed ---- */

static void slow_store(void)
{
	store(s.mm, s.at + 8, 1);
	fetch_add_relaxed(&d.over, 1u);
}

static void slow_store_2(void)
{
	store(s.mm, s.at + 16, 2);
	fetch_add_relaxed(&d.over, 1u);
}

static void unmaps_then_ends(void)
{
	unmaps();
	device_ends(1);
}

static void nothing_left(void)
{
	CHECK(!store(s.mm, s.at, 1));
	no_slot();
}

SCENARIO(swapin_slow_munmap) = {
	SCENARIO_NAME(swapin_slow_munmap),
	.threads = { slow_store, unmaps_then_ends },
	.roles = { "store", "munmap" },
	.rows = "S2.26",
	.frames = 128,
	.stale = 1,
	.setup = setup_slow,
	.finish = nothing_left,
	.about = "memory whose device takes long is unmapped before the device is done"
};

/* ---- the same, and a mirror waits ---- */

static SHARED struct {
	struct mmu_interval_notifier mni;
	spinlock_t lock;
	const u64 *entry; /* what it has */
} mirror;

static bool invalidate(struct mmu_interval_notifier *mni, const struct mmu_notifier_range *range,
		       unsigned long seq)
{
	spin_lock(&mirror.lock);
	mmu_interval_set_seq(mni, seq);
	mirror.entry = NULL;
	spin_unlock(&mirror.lock);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = { .invalidate = invalidate };

static void setup_mirror(void)
{
	setup_slow();
	CHECK(!mmu_interval_notifier_insert(&mirror.mni, s.mm, s.at, PAGE_SIZE, &mirror_ops));
}

static void mirrors(void)
{
	unsigned long el = 0;
	struct hmm_range range = { .notifier = &mirror.mni,
				   .notifier_seq = mmu_interval_read_begin(&mirror.mni),
				   .start = s.at,
				   .end = s.at + PAGE_SIZE,
				   .hmm_pfns = &el,
				   .default_flags = HMM_PFN_REQ_FAULT };
	int err;

	mmap_read_lock(s.mm);
	err = hmm_range_fault(&range);
	mmap_read_unlock(s.mm);
	CHECK(!err || err == -EBUSY || err == -EFAULT);
	spin_lock(&mirror.lock);
	if (!err && !mmu_interval_read_retry(&mirror.mni, range.notifier_seq)) {
		mirror.entry = pfn_to_virt(hmm_pfn_value(el));
		/* plain: it has been read, and is nobody else's */
		CHECK(*mirror.entry == 77);
	}
	spin_unlock(&mirror.lock);
	fetch_add_relaxed(&d.over, 1u);
}

static void mirrors_nothing(void)
{
	CHECK(!mirror.entry);
	nothing_left();
}

SCENARIO(swapin_slow_mirror) = {
	SCENARIO_NAME(swapin_slow_mirror),
	.threads = { mirrors, unmaps_then_ends },
	.roles = { "mirror", "munmap" },
	.rows = "S2.26",
	.frames = 128,
	.stale = 1,
	.setup = setup_mirror,
	.finish = mirrors_nothing,
	.about = "a mirror wants memory that is unmapped before its device is done"
};

static void protects_then_ends(void)
{
	CHECK(!vm_mprotect(s.mm, s.at, PAGE_SIZE, PROT_READ));
	device_ends(2);
}

/* Who was first has stored, and who was not has been refused. */
static void read_only(void)
{
	d.slow = 0;
	CHECK(!store(s.mm, s.at, 1));
	CHECK(found(s.mm, s.at) == 77);
	CHECK(found(s.mm, s.at + 8) <= 1 && found(s.mm, s.at + 16) % 2 == 0);
	CHECK(d.reads == 1);
	no_slot();
}

SCENARIO(swapin_slow_mprotect) = {
	SCENARIO_NAME(swapin_slow_mprotect),
	.threads = { slow_store, slow_store_2, protects_then_ends },
	.roles = { "store", "store", "mprotect" },
	.rows = "S2.26",
	.frames = 128,
	.stale = -1,
	.stale_below = 2,
	.bound = 1,
	.setup = setup_slow,
	.finish = read_only,
	.about = "two CPUs wait for one slot of a device that waits for mprotect"
};

/* ---- a page is wanted back that is being written ---- */

static void setup_writing(void)
{
	setup();
	CHECK(swapon(&ops, NULL, SLOTS, 0, 0) == 0);
	s.at = ADDR + PAGE_SIZE;
	s.folio = folio_of(s.mm, s.at);
	*(u64 *)pfn_to_virt(folio_pfn(s.folio)) = 77;
	d.slow = 1;
	folio_lock(s.folio);
	CHECK(!folio_alloc_swap(s.folio) && try_to_unmap(s.folio, 0) && !swap_writeout(s.folio));
	CHECK(folio_under_writeback(s.folio));
	rcu_barrier();
}

static void ends_write(void)
{
	device_ends(2);
}

/* Whoever reclaims, and has found nothing else. */
static void holds_and_waits(void)
{
	folio_wait_writeback(s.folio);
	folio_put(s.folio);
	fetch_add_relaxed(&d.over, 1u);
}

static void slow_stored(void)
{
	d.slow = 0;
	stored_1();
}

SCENARIO(swapin_written) = { SCENARIO_NAME(swapin_written),
			     .threads = { slow_store, ends_write, holds_and_waits },
			     .roles = { "store", "device", "reclaim" },
			     .rows = "S2.26 S2.30",
			     .frames = 128,
			     .stale = 1,
			     .setup = setup_writing,
			     .finish = slow_stored,
			     .about = "a program stores to a page that is on its way to a slot, "
				      "and somebody waits for that" };

/* ---- somebody moves the page, and does not let go of it until the address space has been changed ---- */

static SHARED struct anon_vma *moving;

static void setup_moving(void)
{
	setup();
	s.at = ADDR + PAGE_SIZE;
	s.folio = folio_of(s.mm, s.at);
	folio_lock(s.folio);
	moving = try_to_migrate(s.folio);
	CHECK(moving && !folio_mapped(s.folio));
	rcu_barrier();
}

static void unmaps_other_then_ends(void)
{
	CHECK(!vm_munmap(s.mm, ADDR, PAGE_SIZE));
	remove_migration_ptes(s.folio, s.folio, moving);
	folio_unlock(s.folio);
	folio_put(s.folio);
}

static void stored_there(void)
{
	CHECK(word_of(s.mm, s.at + 8) == 1 && mm_validate(s.mm));
}

SCENARIO(swapin_moving_munmap) = {
	SCENARIO_NAME(swapin_moving_munmap),
	.threads = { slow_store, unmaps_other_then_ends },
	.roles = { "store", "munmap" },
	.rows = "S2.26",
	.frames = 128,
	.stale = 1,
	.setup = setup_moving,
	.finish = stored_there,
	.about = "a fault waits for a page that is moved, and its mover for mmap_lock"
};
