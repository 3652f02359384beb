/* SPDX-License-Identifier: MIT */
/*
 * cow.c - pages that a fork has shared: copied, reused, and shared again, by the shipped code from mm_fault() and
 * mm_fork() down.
 */
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

/* The third CPU has done it before: what that needs is at hand. */
static void setup_fork_again(void)
{
	struct mm_struct *mm;
	int err;

	setup_fork();
	check_set_cpu(2);
	mm = mm_fork(s.mm, &err);
	CHECK(mm);
	mmput(mm);
	rcu_barrier();
	check_set_cpu(0);
}

SCENARIO(cow_fork) = { SCENARIO_NAME(cow_fork),
		       .threads = { parent_stores, parent_stores_too, forks_again },
		       .roles = { "parent", "parent", "fork" },
		       .rows = "S2.30 S2.32",
		       .frames = 128,
		       .stale = -1,
		       .setup = setup_fork_again,
		       .finish = second_child_too,
		       .about = "two CPUs write to a page that a fork shared, and a third forks" };

/* An exclusive page that cannot be written to yet: a fault without mmap_lock may change that. */
static void setup_exclusive(void)
{
	struct mm_struct *mm;
	int err;

	setup();
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	*(u64 *)pfn_to_virt(pte_pfn(entry_of(s.mm, ADDR))) = 77;
	check_set_cpu(1);
	mm = mm_fork(s.mm, &err);
	CHECK(mm);
	mmput(mm);
	rcu_barrier();
	check_set_cpu(0);
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
