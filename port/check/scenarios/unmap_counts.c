/* SPDX-License-Identifier: MIT */
/*
 * unmap_counts.c - lazily freed memory that three areas map is unmapped, while one of them lets go of it and another one is forked. Areas, fork
 * and unmapping made by hand, in few steps, of the shipped functions.
 */
#include <octavo/reclaim.h>

#include "rmap_space.h"

/* The areas beside s.vma, each with an address space of its own. */
enum { KEEPS, LEAVES, BORN, NR_AREAS };

static SHARED struct {
	struct mm_struct mm[NR_AREAS];
	struct mm_cpu cpu[NR_AREAS][OCTAVO_NR_CPUS];
	struct vm_area_struct vma[NR_AREAS];
	bool gone; /* try_to_unmap() said so */
} l;

static void make_child(unsigned int i, struct vm_area_struct *parent)
{
	struct mm_struct *mm = &l.mm[i];
	struct pt_pos pos;

	mm->cpu = l.cpu[i];
	mm->task_size = TASK_SIZE_MAX;
	CHECK(!pgd_init(mm, GFP_KERNEL));
	CHECK(!pgtable_alloc_to(mm, ADDR, 0, GFP_KERNEL, &pos));
	make_area(&l.vma[i], mm);
	CHECK(!anon_vma_fork(&l.vma[i], parent));
}

/* What fork does with one entry: the child's ptl first. */
static void copy(struct vm_area_struct *child, struct vm_area_struct *parent)
{
	struct pt_pos to, from;
	struct folio *folio;
	pte_t e;

	CHECK(pte_offset_lock(child->vm_mm, ADDR, 0, &to));
	CHECK(pte_offset_lock(parent->vm_mm, ADDR, 0, &from));
	e = from.pte;
	if (pte_present(e)) {
		folio = page_folio(pfn_to_page(pte_pfn(e)));
		folio_ref_add(folio, 1);
		WRITE_ONCE(parent->vm_mm->write_protect_seq, 1u);
		CHECK(!folio_try_dup_anon_rmap(folio_subrange(folio, 0, 1), child, parent, 0));
		WRITE_ONCE(parent->vm_mm->write_protect_seq, 2u);
		add_mm_counter(child->vm_mm, MM_ANONPAGES, 1);
		e = pte_wrprotect(e);
		set_pte(from.ptep, e);
		set_pte(to.ptep, e);
	} else if (!pte_none(e)) {
		CHECK(is_migration_entry(pte_to_swp_entry(e)));
		add_mm_counter(child->vm_mm, MM_ANONPAGES, 1);
		set_pte(to.ptep, e);
	}
	pte_unlock(&from);
	pte_unlock(&to);
}

static void setup_three(void)
{
	setup_small_clean();
	add_mm_counter(&s.mm, MM_ANONPAGES, 1);
	make_child(KEEPS, &s.vma);
	make_child(LEAVES, &s.vma);
	make_child(BORN, &l.vma[KEEPS]);
	copy(&l.vma[KEEPS], &s.vma);
	copy(&l.vma[LEAVES], &s.vma);
	folio_clear_flag(s.folio, PG_swapbacked);
	CHECK(folio_mapcount(s.folio) == 3 && folio_ref_count(s.folio) == 4);
}

/* Somebody holds it, all the time. */
static void setup_held(void)
{
	setup_three();
	folio_get(s.folio);
}

static void unmaps(void)
{
	CHECK(folio_trylock(s.folio));
	l.gone = try_to_unmap(s.folio, 0);
	folio_unlock(s.folio);
}

static void leaves(void)
{
	struct pt_pos pos;
	pte_t e;

	CHECK(pte_offset_lock(&l.mm[LEAVES], ADDR, 0, &pos));
	e = ptep_get_and_clear(pos.ptep);
	if (!pte_none(e))
		add_mm_counter(&l.mm[LEAVES], MM_ANONPAGES, -1);
	if (pte_present(e))
		folio_remove_rmap(folio_subrange(s.folio, 0, 1), &l.vma[LEAVES], 0);
	pte_unlock(&pos);
	if (pte_present(e))
		folio_put(s.folio);
}

static void forks(void)
{
	copy(&l.vma[BORN], &l.vma[KEEPS]);
}

static bool maps_it(struct mm_struct *mm)
{
	struct pt_pos pos;

	CHECK(pgtable_walk(mm, ADDR, 0, &pos));
	CHECK(pte_none(pos.pte) || (pte_present(pos.pte) && pte_pfn(pos.pte) == s.pfn));
	CHECK(get_mm_counter(mm, MM_ANONPAGES) == !pte_none(pos.pte));
	return !pte_none(pos.pte);
}

static void all_or_none(void)
{
	bool there = maps_it(&s.mm);
	u32 held = l.gone ? 0 : (u32)folio_ref_count(s.folio) - 4;

	CHECK(l.gone == !there && held <= 1);
	CHECK(maps_it(&l.mm[KEEPS]) == there && maps_it(&l.mm[BORN]) == there);
	CHECK(!maps_it(&l.mm[LEAVES]));
	CHECK(folio_mapcount(s.folio) == (there ? 3 : 0));
	CHECK(folio_ref_count(s.folio) == (there ? 4 + held : 1));
}

static void all_there(void)
{
	CHECK(!l.gone && folio_ref_count(s.folio) == 5);
	all_or_none();
}

#define ROLES                                                                             \
	.frames = 128, .stale = 1, .rows = "S2.16", .threads = { unmaps, leaves, forks }, \
	.roles = { "unmap", "leaves", "forks" }

SCENARIO(unmap_lazy_held) = {
	SCENARIO_NAME(unmap_lazy_held),
	ROLES,
	.setup = setup_held,
	.finish = all_there,
	.about = "a lazily freed page that a driver has is to go, while one of three who map it "
		 "leaves and one is born",
};

SCENARIO(unmap_lazy_all) = {
	SCENARIO_NAME(unmap_lazy_all),
	ROLES,
	.setup = setup_three,
	.finish = all_or_none,
	.about = "a lazily freed page goes from everybody, while one of three who map it leaves "
		 "and one is born",
};
