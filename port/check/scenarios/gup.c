/* SPDX-License-Identifier: MIT */
/*
 * gup.c - get_user_pages_fast(), the shipped one, against everything that takes pages away from under it: zap and
 * reuse of frame, descriptor and table; fork; mprotect; split; migration; collapse.
 *
 * The address space is a bare one, so that what is explored is the look-up and its adversary and
 * not the memory calls around them.
 */
#include <octavo/octavo.h>

#include "../../../mm/rmap/rmap_init.h"
#include "../../../mm/space/space.h"
#include "check.h"

#define ADDR level_size(1)
#define TAG  0x7a67ul /* what is in the mapped pages, plus their index */

static SHARED struct {
	struct mm_struct mm, child;
	struct vm_area_struct vma, dst;
	struct page *got[CHECK_MAX_THREADS][2]; /* pinned and kept */
	long nr[CHECK_MAX_THREADS];
	unsigned long pages; /* of the area */
	u32 restricted;	     /* mprotect is over */
	unsigned long spare; /* a free frame */
	struct folio *other; /* whose count is looked at in the end */
} s;

/* ---- an address space with an area of one or two pages ---- */

static void space_init(struct mm_struct *mm, struct vm_area_struct *vma)
{
	CHECK(!pgd_init(mm, GFP_KERNEL));
	mm->cpu = kzalloc(sizeof(struct mm_cpu) * OCTAVO_NR_CPUS, GFP_KERNEL);
	CHECK(mm->cpu);
	mm->task_size = TASK_SIZE_MAX;
	vma->vm_mm = mm;
	vma->vm_start = ADDR;
	vma->vm_end = ADDR + s.pages * PAGE_SIZE;
	vma->vm_flags = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE;
	vma->vm_page_prot = PAGE_READONLY;
	vma->vm_pgoff = ADDR >> PAGE_SHIFT;
	INIT_LIST_HEAD(&vma->anon_vma_chain);
}

/* Folios of @order, writable, exclusive, in one table. */
static void setup_order(unsigned int order, unsigned long nr_pages)
{
	struct pt_pos pos;

	s.pages = nr_pages;
	CHECK(!rmap_caches_init(GFP_KERNEL));
	space_init(&s.mm, &s.vma);
	CHECK(!anon_vma_prepare(&s.vma));
	CHECK(!pgtable_alloc_to(&s.mm, ADDR, 0, GFP_KERNEL, &pos));
	for (unsigned long i = 0; i < nr_pages; i += 1ul << order) {
		unsigned long nr = 1ul << order;
		struct folio *folio = folio_alloc(GFP_KERNEL, order, FOLIO_ANON);

		CHECK(folio);
		for (unsigned long p = 0; p < nr; p++)
			*(u64 *)page_address(folio_page(folio, p)) = TAG + i + p;
		folio_add_new_anon_rmap(folio_subrange(folio, 0, nr), &s.vma, ADDR + i * PAGE_SIZE,
					0);
		if (nr > 1)
			folio_ref_add(folio, (u32)nr - 1);
		set_ptes(pos.ptep + i, pte_mkdirty(pfn_pte(folio_pfn(folio), PAGE_SHARED)), nr);
	}
}

static void setup_one(void)
{
	setup_order(0, 1);
}

static void setup_two(void)
{
	setup_order(0, 2);
}

static void setup_large(void)
{
	setup_order(1, 2);
}

static void setup_fork(void)
{
	setup_order(0, 1);
	space_init(&s.child, &s.dst);
	s.dst.vm_flags = s.vma.vm_flags;
	CHECK(!anon_vma_fork(&s.dst, &s.vma));
}

static void setup_fork_large(void)
{
	setup_order(1, 2);
	space_init(&s.child, &s.dst);
	CHECK(!anon_vma_fork(&s.dst, &s.vma));
}

static pte_t entry(struct mm_struct *mm, unsigned long i)
{
	struct pt_pos pos;

	return pgtable_walk(mm, ADDR + i * PAGE_SIZE, 0, &pos) ? pos.pte : __pte(0);
}

/* ---- who looks up ---- */

/* What is pinned is what was mapped, whatever happens to the mapping. */
static void pinner(void)
{
	struct page *pages[2];
	long nr = pin_user_pages_fast(&s.mm, ADDR, s.pages, FOLL_WRITE | FOLL_FAST_ONLY, pages);

	for (long i = 0; i < nr; i++) {
		CHECK(folio_contains(page_folio(pages[i]), page_to_pfn(pages[i])));
		CHECK(*(u64 *)page_address(pages[i]) == TAG + (u64)i);
	}
	if (nr > 0)
		unpin_user_pages(pages, (unsigned long)nr);
}

static void getter(void)
{
	struct page *pages[2];
	long nr = get_user_pages_fast(&s.mm, ADDR, s.pages, FOLL_FAST_ONLY, pages);

	for (long i = 0; i < nr; i++) {
		CHECK(*(u64 *)page_address(pages[i]) == TAG + (u64)i);
		put_user_page(pages[i]);
	}
}

/* Pins and keeps: finish() looks. */
static void keeper(void)
{
	unsigned int me = check_thread();

	s.nr[me] =
		pin_user_pages_fast(&s.mm, ADDR, s.pages, FOLL_WRITE | FOLL_FAST_ONLY, s.got[me]);
}

/* ---- against zap: frames, descriptors and tables live again ---- */

static void reuse(unsigned int order)
{
	struct folio *folio = folio_alloc(GFP_NOWAIT, order, FOLIO_ANON);

	if (!folio)
		return;
	*(u64 *)folio_address(folio) = 1;
	folio_put(folio);
}

static void zapper(void)
{
	CHECK(!zap_page_range_single(&s.vma, ADDR, s.pages * PAGE_SIZE));
	reuse(0);
}

static void zapper_large(void)
{
	CHECK(!zap_page_range_single(&s.vma, ADDR, s.pages * PAGE_SIZE));
	reuse(1);
}

/* And the tables, as munmap does. */
static void unmapper(void)
{
	struct mmu_gather tlb;

	tlb_gather_mmu(&tlb, &s.mm);
	unmap_page_range(&tlb, &s.vma, ADDR, ADDR + s.pages * PAGE_SIZE, NULL);
	free_pgtables(&tlb, ADDR, ADDR + s.pages * PAGE_SIZE, 0, 0);
	tlb_finish_mmu(&tlb);
	reuse(0);
}

#define GUP .frames = 64, .flags = SC_SYMMETRIC

SCENARIO(gup_zap) = { SCENARIO_NAME(gup_zap),
		      GUP,
		      .about = "pins of two folios against zap and reuse of frames and descriptors",
		      .rows = "S3.8 S3.9 S3.10",
		      .setup = setup_one,
		      .threads = { pinner, zapper, getter },
		      .roles = { "pinner", "zap", "getter" } };

SCENARIO(gup_zap_large) = { SCENARIO_NAME(gup_zap_large),
			    GUP,
			    .about = "pins of a run of a large folio against zap and reuse",
			    .rows = "S3.9 S3.26",
			    .setup = setup_large,
			    .threads = { pinner, zapper_large, pinner },
			    .roles = { "pinner", "zap", "pinner" } };

SCENARIO(gup_unmap_tables) = { SCENARIO_NAME(gup_unmap_tables),
			       GUP,
			       .about = "look-ups against munmap, which frees the tables they walk",
			       .rows = "S3.9 S3.14",
			       .setup = setup_one,
			       .threads = { pinner, unmapper },
			       .roles = { "pinner", "munmap" } };

/* Of two pages that are taken together the second one goes: nobody has it then, whatever was taken of it in between. */
static void setup_two_keep(void)
{
	setup_two();
	s.other = page_folio(pfn_to_page(pte_pfn(entry(&s.mm, 1))));
}

static void zapper_second(void)
{
	CHECK(!zap_page_range_single(&s.vma, ADDR + PAGE_SIZE, PAGE_SIZE));
	reuse(0);
}

static void first_stays(void)
{
	CHECK(folio_ref_count(page_folio(pfn_to_page(pte_pfn(entry(&s.mm, 0))))) == 1);
	CHECK(folio_ref_count(s.other) == 0);
}

SCENARIO(gup_zap_second) = {
	SCENARIO_NAME(gup_zap_second),
	GUP,
	.about = "pins of two small folios at once against zap of one of them: "
		 "what was taken in vain is given back",
	.rows = "S3.8 S3.9",
	.setup = setup_two_keep,
	.threads = { pinner, zapper_second },
	.roles = { "pinner", "zap" },
	.finish = first_stays
};

static void setup_again(void)
{
	struct folio *folio;

	setup_one();
	folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	CHECK(folio);
	s.spare = folio_pfn(folio);
	folio_put(folio);
}

/* The frame is mapped again by the same entry, with another descriptor: the old one is another frame's. */
static void replacer(void)
{
	struct folio *folio;
	struct pt_pos pos;
	pte_t e;
	int err;

	CHECK(pgtable_walk(&s.mm, ADDR, 0, &pos));
	e = pos.pte;
	CHECK(!zap_page_range_single(&s.vma, ADDR, PAGE_SIZE));
	s.other = folio_alloc_at(s.spare, 0, FOLIO_ANON, GFP_NOWAIT, 0, &err);
	folio = folio_alloc_at(pte_pfn(e), 0, FOLIO_ANON, GFP_NOWAIT, 0, &err);
	if (!folio) /* somebody has it still */
		return;
	*(u64 *)folio_address(folio) = TAG;
	folio_add_new_anon_rmap(folio_subrange(folio, 0, 1), &s.vma, ADDR, 0);
	set_pte(pos.ptep, e);
}

static void replaced(void)
{
	pte_t e = entry(&s.mm, 0);

	CHECK(!s.other || folio_ref_count(s.other) == 1);
	CHECK(pte_none(e) || folio_ref_count(page_folio(pfn_to_page(pte_pfn(e)))) == 1);
}

SCENARIO(gup_replace) = {
	SCENARIO_NAME(gup_replace),
	GUP,
	.about = "pins against a second life of the frame, mapped by the same entry: "
		 "they are on the folio that has it now",
	.rows = "S3.9 S3.10",
	.setup = setup_again,
	.threads = { replacer, pinner },
	.roles = { "replace", "pinner" },
	.finish = replaced
};

/* ---- against fork ---- */

static void forker(void)
{
	struct mm_struct *mm = &s.mm;
	bool protected = false;

	/* seq_cst, then the pins: as mm_fork() does it */
	smp_store_seq_cst(&mm->write_protect_seq, mm->write_protect_seq + 1);
	CHECK(!copy_page_range(&s.dst, &s.vma, &protected));
	smp_store_release(&mm->write_protect_seq, mm->write_protect_seq + 1);
}

/* A pinned page is the parent's alone, where it was; an unpinned one is shared by two that cannot write. */
static void forked(void)
{
	for (unsigned long i = 0; i < s.pages; i++) {
		pte_t parent = entry(&s.mm, i), child = entry(&s.child, i);

		CHECK(pte_present(parent) && pte_present(child));
		CHECK(!pte_write(child) || pte_pfn(parent) != pte_pfn(child));
		if (pte_pfn(parent) == pte_pfn(child))
			CHECK(!pte_write(parent));
	}
	for (unsigned int t = 0; t < CHECK_MAX_THREADS; t++)
		for (long i = 0; i < s.nr[t]; i++) {
			unsigned long pfn = page_to_pfn(s.got[t][i]);

			CHECK(pte_pfn(entry(&s.mm, (unsigned long)i)) == pfn);
			CHECK(pte_pfn(entry(&s.child, (unsigned long)i)) != pfn);
		}
}

SCENARIO(gup_fork) = {
	SCENARIO_NAME(gup_fork),
	GUP,
	.about = "a page that is pinned is not shared by fork, one that is shared is not pinned",
	.rows = "S2.29 S2.30 S2.32 S3.26 SX.7",
	.setup = setup_fork,
	.threads = { keeper, forker },
	.roles = { "pinner", "fork" },
	.finish = forked
};

SCENARIO(gup_fork_large) = {
	SCENARIO_NAME(gup_fork_large),
	GUP,
	.about = "the same for two pages of one folio, whose pins are counted apart",
	.rows = "S2.29 S2.32 SX.7",
	.setup = setup_fork_large,
	.threads = { keeper, forker, keeper },
	.roles = { "pinner", "fork", "pinner" },
	.finish = forked
};

/* ---- against mprotect ---- */

static void protector(void)
{
	struct mmu_gather tlb;

	s.vma.vm_flags &= ~VM_WRITE;
	tlb_gather_mmu(&tlb, &s.mm);
	CHECK(change_protection(&tlb, &s.vma, ADDR, ADDR + s.pages * PAGE_SIZE) >= 0);
	tlb_finish_mmu(&tlb);
	smp_store_release(&s.restricted, 1u);
}

/* Who knows that writing was forbidden is not given a page to write to. */
static void late_pinner(void)
{
	bool restricted = smp_load_acquire(&s.restricted);
	struct page *pages[2];
	long nr = pin_user_pages_fast(&s.mm, ADDR, s.pages, FOLL_WRITE | FOLL_FAST_ONLY, pages);

	CHECK(!restricted || nr == 0);
	if (nr > 0)
		unpin_user_pages(pages, (unsigned long)nr);
}

SCENARIO(gup_mprotect) = { SCENARIO_NAME(gup_mprotect),
			   GUP,
			   .about = "no page is pinned for writing after mprotect has returned",
			   .rows = "S3.26",
			   .setup = setup_two,
			   .threads = { late_pinner, protector, late_pinner },
			   .roles = { "pinner", "mprotect", "pinner" } };

/* ---- against split and migration ---- */

static void splitter(void)
{
	struct folio *folio = page_try_get_folio(pfn_to_page(pte_pfn(entry(&s.mm, 0))));

	if (!folio)
		return;
	if (folio_trylock(folio)) {
		if (!split_folio_mapped(folio, 0, NULL)) {
			struct folio *second = page_folio(pfn_to_page(pte_pfn(entry(&s.mm, 1))));

			CHECK(second != folio);
			CHECK(folio_order(folio) == 0 && folio_order(second) == 0);
		}
		folio_unlock(folio);
	}
	folio_put(folio);
}

SCENARIO(gup_split) = { SCENARIO_NAME(gup_split),
			GUP,
			.about = "pins of a run against the split of its folio: each is on the "
				 "folio that has the page",
			.rows = "S3.9 SX.4 SX.5",
			.setup = setup_large,
			.threads = { pinner, splitter },
			.roles = { "pinner", "split" } };

/* Writes through a reference. What was written is in the page that is mapped afterwards. */
static void writer(void)
{
	struct page *page;

	if (get_user_pages_fast(&s.mm, ADDR, 1, FOLL_WRITE | FOLL_FAST_ONLY, &page) == 1) {
		*(u64 *)page_address(page) = 1;
		s.nr[check_thread()] = 1;
		put_user_page(page);
	}
}

static void migrator(void)
{
	struct folio *folio = page_try_get_folio(pfn_to_page(pte_pfn(entry(&s.mm, 0))));

	if (!folio)
		return;
	(void)migrate_folio(folio, NUMA_NO_NODE, GFP_NOWAIT);
	folio_put(folio);
}

static void migrated(void)
{
	pte_t e = entry(&s.mm, 0);

	CHECK(pte_present(e));
	CHECK(*(u64 *)pfn_to_virt(pte_pfn(e)) == (s.nr[0] ? 1 : TAG));
	CHECK(folio_mapcount(page_folio(pfn_to_page(pte_pfn(e)))) == 1);
}

SCENARIO(gup_migrate) = {
	SCENARIO_NAME(gup_migrate),
	GUP,
	.about = "a write through a reference against migration: not lost in the old page",
	.rows = "S3.9 S3.15",
	.setup = setup_one,
	.threads = { writer, migrator },
	.roles = { "writer", "migrate" },
	.finish = migrated
};
