/* SPDX-License-Identifier: MIT */
/*
 * cow.c - pages that a fork has shared: copied, reused, and shared again, by the shipped code from mm_fault() and
 * mm_fork() down.
 */
#include <octavo/gup.h>
#include <octavo/mman.h>
#include <octavo/migrate.h>

#include "user_space.h"

/* ---- a page that a fork has shared ---- */

static void parent_stores(void)
{
	CHECK(store(s.mm, s.at + 8, 1));
}

static void child_stores(void)
{
	CHECK(store(s.child, s.at + 16, 2));
}

static void own_copies(void)
{
	CHECK(word_of(s.mm, s.at) == 77 && word_of(s.child, s.at) == 77);
	CHECK(word_of(s.mm, s.at + 8) == 1 && word_of(s.child, s.at + 8) == 0);
	CHECK(word_of(s.mm, s.at + 16) == 0 && word_of(s.child, s.at + 16) == 2);
	CHECK(mm_validate(s.mm) && mm_validate(s.child));
}

SCENARIO(cow_parent_child) = { SCENARIO_NAME(cow_parent_child),
			       .threads = { parent_stores, child_stores },
			       .roles = { "parent", "child" },
			       .rows = "S2.30",
			       .frames = 128,
			       .setup = setup_fork,
			       .finish = own_copies,
			       .about = "parent and child write to a page that they share" };

static void parent_stores_too(void)
{
	CHECK(store(s.mm, s.at + 16, 2));
}

/* Has a translation of the old page, perhaps; once it knows of the store it must not use that. */
static void parent_loads(void)
{
	u64 known, value;

	if (check_mmu_load(s.mm, s.at + 8, &value))
		return;
	known = smp_load_acquire(&s.copy);
	if (!check_mmu_load(s.mm, s.at + 8, &value))
		CHECK(value >= known);
}

static void parent_stores_and_tells(void)
{
	CHECK(store(s.mm, s.at + 8, 1));
	/* the program's own: after its store */
	smp_store_release(&s.copy, 1);
}

static void one_copy(void)
{
	CHECK(word_of(s.mm, s.at + 8) == 1 && word_of(s.mm, s.at + 16) == 2);
	CHECK(word_of(s.child, s.at + 8) == 0 && word_of(s.child, s.at + 16) == 0);
	CHECK(word_of(s.child, s.at) == 77);
	CHECK(mm_validate(s.mm) && mm_validate(s.child));
}

SCENARIO(cow_two_cpus) = { SCENARIO_NAME(cow_two_cpus),
			   .threads = { parent_stores, parent_stores_too },
			   .roles = { "parent", "parent" },
			   .rows = "S2.30",
			   .frames = 128,
			   .setup = setup_fork,
			   .finish = one_copy,
			   .about = "two CPUs of one program write to a page that a fork shared" };

/* And another fork meanwhile: what its child has does not change when it has run. */
static void forks_again(void)
{
	int err;

	s.second = mm_fork(s.mm, &err);
	CHECK(s.second);
	s.words[0] = word_of(s.second, s.at + 8);
	s.words[1] = word_of(s.second, s.at + 16);
}

static void second_child_too(void)
{
	CHECK(word_of(s.second, s.at) == 77);
	CHECK(word_of(s.second, s.at + 8) == s.words[0]);
	CHECK(word_of(s.second, s.at + 16) == s.words[1]);
	CHECK(!pte_write(entry_of(s.second, s.at)));
	one_copy();
	CHECK(mm_validate(s.second));
}

static void setup_fork_again(void)
{
	setup_fork();
	warm_fork(2);
}

SCENARIO(cow_fork) = { SCENARIO_NAME(cow_fork),
		       .threads = { parent_stores, parent_stores_too, forks_again },
		       .roles = { "parent", "parent", "fork" },
		       .rows = "S2.30 S2.32",
		       .frames = 128,
		       .stale = -1,
		       .stale_below = 2,
		       .setup = setup_fork_again,
		       .finish = second_child_too,
		       .about = "two CPUs write to a page that a fork shared, and a third forks" };

/* An exclusive page that cannot be written to yet: a fault without mmap_lock may change that. */
static void setup_exclusive(void)
{
	setup();
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	*(u64 *)pfn_to_virt(pte_pfn(entry_of(s.mm, ADDR))) = 77;
	warm_fork(1);
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_UNSHARE));
	CHECK(!pte_write(entry_of(s.mm, ADDR)));
}

static void second_child_alone(void)
{
	CHECK(word_of(s.mm, s.at) == 77 && word_of(s.mm, s.at + 8) == 1);
	CHECK(word_of(s.second, s.at) == 77);
	CHECK(word_of(s.second, s.at + 8) == s.words[0]);
	CHECK(!pte_write(entry_of(s.second, s.at)));
	CHECK(mm_validate(s.mm) && mm_validate(s.second));
}

SCENARIO(cow_exclusive_fork) = {
	SCENARIO_NAME(cow_exclusive_fork),
	.threads = { parent_stores, forks_again },
	.roles = { "parent", "fork" },
	.rows = "S2.30 S2.32",
	.frames = 128,
	.setup = setup_exclusive,
	.finish = second_child_alone,
	.about = "a write without mmap_lock to an exclusive page that a fork shares"
};

static void child_is_as_it_was(void)
{
	CHECK(word_of(s.mm, s.at + 8) == 1 && word_of(s.child, s.at + 8) == 0);
	CHECK(mm_validate(s.mm) && mm_validate(s.child));
}

SCENARIO(cow_reader) = {
	SCENARIO_NAME(cow_reader),
	.threads = { parent_stores_and_tells, parent_loads },
	.roles = { "writer", "reader" },
	.frames = 128,
	.setup = setup_fork,
	.finish = child_is_as_it_was,
	.about = "a CPU that knows of a store to the copy does not read the old page"
};

/* The child is gone, but its page is held: the old page is free when that is put. */
static void setup_held(void)
{
	struct folio *folio;

	setup_fork();
	folio = page_folio(pfn_to_page(pte_pfn(entry_of(s.mm, ADDR))));
	folio_get(folio);
	s.folio = folio;
	mm_deactivate(s.child, 1);
	mm_deactivate(s.child, 2);
	mmput(s.child);
	s.child = NULL;
}

/* When nobody else has the page any more the frame is used again, by its new owner alone. */
static void holder_puts(void)
{
	unsigned long old = folio_pfn(s.folio);
	struct folio *folio;

	folio_put(s.folio);
	folio = folio_alloc(GFP_NOWAIT | __GFP_MOVABLE, 0, FOLIO_ANON);
	if (!folio)
		return;
	if (folio_pfn(folio) == old)
		*(u64 *)((char *)folio_address(folio) + 8) = 99;
	folio_put(folio);
}

static void copied_or_reused(void)
{
	CHECK(word_of(s.mm, s.at) == 77 && word_of(s.mm, s.at + 8) == 1);
	CHECK(mm_validate(s.mm));
}

SCENARIO(cow_freed) = {
	SCENARIO_NAME(cow_freed),
	.threads = { parent_stores, parent_loads, holder_puts },
	.roles = { "writer", "reader", "holder" },
	.frames = 128,
	.setup = setup_held,
	.finish = copied_or_reused,
	.about = "a page is copied because somebody holds it, who lets go; used again"
};

/* ---- a large folio of which the child's area, which lives, maps less and less ---- */

#define SECOND (ADDR + PAGE_SIZE)

/* One folio has both pages; the child maps the second only. */
static void setup_large(void)
{
	int err;

	s.mm = mm_alloc();
	CHECK(s.mm);
	map(ADDR, 2 * PAGE_SIZE);
	s.mm->folio_orders = 1u << 1 | 1u;
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	s.mm->folio_orders = 1;
	s.folio = page_folio(pfn_to_page(pte_pfn(entry_of(s.mm, ADDR))));
	CHECK(folio_order(s.folio) == 1);
	warm();
	s.child = mm_fork(s.mm, &err);
	CHECK(s.child);
	CHECK(!vm_madvise(s.child, ADDR, PAGE_SIZE, MADV_DONTNEED));
	mm_activate(s.mm, 0);
}

static void stores_second(void)
{
	CHECK(store(s.mm, SECOND, 1));
}

static void child_gives_up(void)
{
	CHECK(!vm_madvise(s.child, SECOND, PAGE_SIZE, MADV_DONTNEED));
}

/* Holds on to the page for a moment: what the parent writes is not to be seen. */
static void child_reads(void)
{
	struct page *page;

	if (get_user_pages_fast(s.child, SECOND, 1, FOLL_FAST_ONLY, &page) != 1)
		return;
	CHECK(*(u64 *)page_address(page) == 0);
	put_user_page(page);
}

static void parent_has_its_own(void)
{
	pte_t e = entry_of(s.child, SECOND);

	CHECK(word_of(s.mm, SECOND) == 1 && word_of(s.mm, ADDR) == 0);
	if (pte_present(e)) {
		CHECK(pte_pfn(e) != pte_pfn(entry_of(s.mm, SECOND)));
		CHECK(word_of(s.child, SECOND) == 0);
	}
	CHECK(mm_validate(s.mm) && mm_validate(s.child));
}

SCENARIO(cow_large_given_up) = {
	SCENARIO_NAME(cow_large_given_up),
	.threads = { stores_second, child_gives_up, child_reads },
	.roles = { "parent", "child", "reader" },
	.rows = "S2.30",
	.frames = 128,
	.setup = setup_large,
	.finish = parent_has_its_own,
	.about = "the parent writes to a large folio of which the child gives up its last page"
};

/* The entries of both are taken out of the counts for a while, and come back. */
static void mover(void)
{
	struct anon_vma *anon_vma;

	if (!folio_try_get(s.folio))
		return;
	if (folio_trylock(s.folio)) {
		anon_vma = try_to_migrate(s.folio);
		if (anon_vma)
			remove_migration_ptes(s.folio, s.folio, anon_vma);
		folio_unlock(s.folio);
	}
	folio_put(s.folio);
}

static void child_still_has_it(void)
{
	CHECK(pte_present(entry_of(s.child, SECOND)));
	parent_has_its_own();
}

SCENARIO(cow_large_moved) = {
	SCENARIO_NAME(cow_large_moved),
	.threads = { stores_second, mover },
	.roles = { "parent", "mover" },
	.rows = "S2.30",
	.frames = 128,
	.setup = setup_large,
	.finish = child_still_has_it,
	.about =
		"the parent writes to a large folio whose entries, the child's too, are on the move"
};
