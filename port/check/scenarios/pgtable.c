/* SPDX-License-Identifier: MIT */
/*
 * pgtable.c - page tables made, moved and freed under those who walk them: mm/table, the shipped code.
 *
 * Who has a table's lock writes to its entries, and owns the plain words below that go with it; the frame of a table
 * that was freed is somebody else's, who writes there plainly.
 */
#include <octavo/desc.h>
#include <octavo/frame.h>
#include <octavo/pgtable.h>
#include <octavo/state.h>
#include <octavo/tlb.h>

#include "check.h"

/* Two last-level tables, and the one above both. */
#define HERE  level_size(1)
#define THERE (2 * level_size(1))

static SHARED struct {
	struct mm_struct mm;
	struct mm_cpu cpu[CHECK_MAX_THREADS];
	struct ptdesc *pt;
	u64 seq;	     /* of an area: even, odd from when its writer has marked it */
	unsigned long where; /* where s.pt is; under its ptl */
	u32 owned;	     /* under the ptl of the table at HERE */
} s;

static void make_table(unsigned long addr, unsigned int level)
{
	struct pt_pos pos;

	CHECK(!pgtable_alloc_to(&s.mm, addr, level, GFP_KERNEL, &pos));
	s.pt = pos.pt;
}

/* Each CPU has frames and a descriptor at hand: how they are had is not the subject. */
static void warm(void)
{
	struct ptdesc *pt[2];

	for (unsigned int cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++) {
		check_set_cpu(cpu);
		for (unsigned int i = 0; i < 2; i++)
			CHECK(pt[i] = pagetable_alloc(GFP_KERNEL, 0));
		for (unsigned int i = 0; i < 2; i++)
			pagetable_free(pt[i]);
	}
	check_set_cpu(0);
}

static void setup(unsigned int level)
{
	s.mm.cpu = s.cpu;
	warm();
	s.where = HERE;
	CHECK(!pgd_init(&s.mm, GFP_KERNEL));
	make_table(HERE, level);
}

static void setup_table(void)
{
	setup(0);
}

static void setup_above(void)
{
	setup(1);
}

static void setup_pgd(void)
{
	setup(2);
}

/* All as it must be, and then all of it goes. */
static void take_down(void)
{
	struct mmu_gather tlb;

	CHECK(pgtable_validate(&s.mm));
	tlb_gather_mmu_fullmm(&tlb, &s.mm);
	free_pgtables(&tlb, 0, TASK_SIZE_MAX, 0, 0);
	tlb_finish_mmu(&tlb);
	pgd_exit(&s.mm);
	CHECK(s.mm.pgtables_bytes == 0);
}

#define TABLES .frames = 32, .flags = SC_LEAKS | SC_SYMMETRIC

/* ---- freed under walkers ---- */

/* Everything that the range had; then its frame is mine. */
static void freer(void)
{
	const unsigned long pfn = ptdesc_pfn(s.pt);
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, &s.mm);
	free_pgtables(&tlb, HERE, HERE + PAGE_SIZE, HERE, THERE);
	tlb_finish_mmu(&tlb);
	rcu_barrier();
	CHECK(!frame_alloc_at(pfn, 0, 0));
	*(u64 *)pfn_to_virt(pfn) = 1;
	frame_free(pfn, 0);
}

/* The table is there and stays, for as long as the lock is held. */
static void use_table(struct pt_pos *pos)
{
	CHECK(pte_none(pos->pte));
	CHECK(pos->pt == s.pt);
	set_pte(pos->ptep, __swp_pte(0, 1));
	s.owned++;
	CHECK(__swp_offset(ptep_get(pos->ptep)) == 1);
	pte_clear(pos->ptep);
	pte_unlock(pos);
}

static void walker(void)
{
	struct pt_pos pos;

	if (pte_offset_lock_rcu(&s.mm, HERE, 0, &pos))
		use_table(&pos);
}

SCENARIO(pgtable_free_walk) = { SCENARIO_NAME(pgtable_free_walk),
				TABLES,
				.about = "a table is unlinked and freed under two walkers",
				.setup = setup_table,
				.threads = { walker, freer, walker },
				.roles = { "walker", "freer", "walker" },
				.finish = take_down };

/* ---- made by two at once ---- */

static void counter(void)
{
	struct pt_pos pos;

	CHECK(!pgtable_alloc_to(&s.mm, HERE, 0, GFP_NOWAIT, &pos));
	CHECK(pte_offset_lock(&s.mm, HERE, 0, &pos));
	set_pte(pos.ptep, pte_none(pos.pte) ? __swp_pte(0, 1) : pte_swp_advance(pos.pte, 1));
	s.owned++;
	pte_unlock(&pos);
}

static void looker(void)
{
	struct pt_pos pos;

	/* what is reached is zeroed */
	if (pgtable_walk(&s.mm, HERE, 0, &pos))
		CHECK(pte_none(pos.pte) || pte_is_swap(pos.pte));
}

static void both_counted(void)
{
	struct pt_pos pos;

	CHECK(pte_offset_lock(&s.mm, HERE, 0, &pos));
	CHECK(__swp_offset(pos.pte) == 2 && s.owned == 2);
	pte_clear(pos.ptep);
	pte_unlock(&pos);
	CHECK(s.mm.pgtables_bytes == 3 * PAGE_SIZE);
	take_down();
}

SCENARIO(pgtable_make) = { SCENARIO_NAME(pgtable_make),
			   TABLES,
			   .about = "two CPUs make the same table, a third one looks",
			   .setup = setup_above,
			   .threads = { counter, counter, looker },
			   .roles = { "maker", "maker", "looker" },
			   .finish = both_counted };

SCENARIO(pgtable_make_all) = {
	SCENARIO_NAME(pgtable_make_all),
	TABLES,
	.about = "two CPUs make the same tables of two levels, a third looks",
	.setup = setup_pgd,
	.threads = { counter, counter, looker },
	.roles = { "maker", "maker", "looker" },
	.finish = both_counted
};

/* ---- the mark on the area, and the table that is linked meanwhile: mm_types.h ---- */

/* Marks, empties, frees. */
static void writer(void)
{
	struct mmu_gather tlb;
	struct pt_pos pos;

	/* seq_cst: pairs with the faulter's look after it has linked a table */
	smp_store_seq_cst(&s.seq, (u64)1);
	tlb_gather_mmu(&tlb, &s.mm);
	if (pte_offset_lock(&s.mm, HERE, 0, &pos)) {
		pte_clear(pos.ptep);
		pte_unlock(&pos);
	}
	free_pgtables(&tlb, HERE, HERE + PAGE_SIZE, 0, 0);
	tlb_finish_mmu(&tlb);
}

/* As a fault: a missing table, the lock, the mark again, the entry. */
static void faulter(void)
{
	struct pt_pos pos;
	int r = -EAGAIN;

	if (READ_ONCE(s.seq))
		return;
	while (r < 0) {
		CHECK(!pgtable_alloc_to(&s.mm, HERE, 0, GFP_NOWAIT, &pos));
		rcu_read_lock();
		r = pte_offset_trylock(&s.mm, HERE, 0, &pos);
		/* seq_cst: pairs with the writer's mark */
		if (r == 1 && !smp_load_seq_cst(&s.seq))
			set_pte(pos.ptep, __swp_pte(0, 1));
		rcu_read_unlock();
		if (r == 1)
			pte_unlock(&pos);
		else if (r < 0)
			octavo_port_relax();
	}
}

static void nothing_is_left(void)
{
	struct pt_pos pos;

	if (pgtable_walk(&s.mm, HERE, 0, &pos))
		CHECK(pte_none(pos.pte));
	take_down();
}

SCENARIO(pgtable_mark_table) = { SCENARIO_NAME(pgtable_mark_table),
				 TABLES,
				 .about = "an area goes while a fault links its first table",
				 .setup = setup_above,
				 .threads = { writer, faulter },
				 .roles = { "writer", "faulter" },
				 .finish = nothing_is_left };

SCENARIO(pgtable_mark_tables) = { SCENARIO_NAME(pgtable_mark_tables),
				  TABLES,
				  .about = "the same with tables of two levels",
				  .setup = setup_pgd,
				  .threads = { writer, faulter },
				  .roles = { "writer", "faulter" },
				  .finish = nothing_is_left };

/* ---- moved under walkers ---- */

static void mover(void)
{
	struct pt_pos from, to, pos;

	CHECK(pgtable_walk(&s.mm, HERE, 1, &from));
	CHECK(pgtable_walk(&s.mm, THERE, 1, &to));
	CHECK(from.pt == to.pt);
	spin_lock(&from.pt->ptl);
	CHECK(pte_offset_lock(&s.mm, HERE, 0, &pos));
	CHECK(pgtable_unlink(&from) == s.pt);
	pgtable_link(&to, s.pt);
	s.where = THERE;
	pte_unlock(&pos);
	spin_unlock(&from.pt->ptl);
}

static void find_at(unsigned long addr)
{
	struct pt_pos pos;

	if (!pte_offset_lock_rcu(&s.mm, addr, 0, &pos))
		return;
	CHECK(s.where == addr);
	pte_unlock(&pos);
}

static void finds_here(void)
{
	find_at(HERE);
}

static void finds_there(void)
{
	find_at(THERE);
}

SCENARIO(pgtable_move_walk) = { SCENARIO_NAME(pgtable_move_walk),
				TABLES,
				.about = "a table moves: it is found where it is",
				.setup = setup_table,
				.threads = { finds_here, mover, finds_there },
				.roles = { "old place", "mover", "new place" },
				.finish = take_down };
