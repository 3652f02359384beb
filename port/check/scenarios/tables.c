/* SPDX-License-Identifier: MIT */
/*
 * tables.c - ranges of page tables that are emptied, copied, restricted and moved while hardware uses them, faults go
 * on and reverse maps are walked: the shipped calls, from the system call down. Pins against them: gup.c.
 */
#include <octavo/mm.h>
#include <octavo/pgtable.h>
#include <octavo/rmap.h>
#include <octavo/space_state.h>
#include <octavo/state.h>
#include <octavo/tlb.h>

#include "check.h"

#define TABLE level_size(PGTABLE_LEVEL_PMD)
#define ADDR  (4 * TABLE)
#define AWAY  (ADDR + 2 * TABLE) /* no table of the last level there */
#define MINE  77ul		 /* what the frame's next owner keeps there */

static SHARED struct {
	struct mm_struct *mm, *child;
	struct folio *folio;
	unsigned long pfn;
	u64 copy; /* plain */
	u32 cleaned, alone;
} s;

static struct vm_area_struct *area(unsigned long addr)
{
	return vma_lookup(s.mm, addr);
}

static pte_t entry_of(struct mm_struct *mm, unsigned long addr)
{
	struct pt_pos pos;

	return pgtable_walk(mm, addr, PGTABLE_LEVEL_PTE, &pos) ? pos.pte : __pte(0);
}

static u64 *memory(unsigned long pfn)
{
	return pfn_to_virt(pfn);
}

static void make_space(void)
{
	s.mm = mm_alloc();
	CHECK(s.mm);
	for (unsigned int cpu = 0; cpu < 3; cpu++)
		mm_activate(s.mm, cpu);
}

static void map_anon(unsigned long len)
{
	CHECK(vm_mmap(s.mm, ADDR, len, PROT_READ | PROT_WRITE,
		      MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0) == (long)ADDR);
}

/* One page, written to. */
static void setup(void)
{
	make_space();
	map_anon(PAGE_SIZE);
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	s.pfn = pte_pfn(entry_of(s.mm, ADDR));
	s.folio = page_folio(pfn_to_page(s.pfn));
	*memory(s.pfn) = 0;
}

/* A user program's two stores, for as long as it has the page. */
static void stores_twice(void)
{
	check_mmu_store(s.mm, ADDR, 1);
	check_mmu_store(s.mm, ADDR, 2);
}

/* ---- emptied: who has the page then has it for himself ---- */

static void setup_held(void)
{
	setup();
	folio_get(s.folio);
}

static void zaps(void)
{
	mmap_read_lock(s.mm);
	CHECK(!zap_page_range_single(area(ADDR), ADDR, PAGE_SIZE));
	mmap_read_unlock(s.mm);
}

static void uses_alone(void)
{
	/* acquire: pairs with the release of whoever drops the reference before the last */
	if (smp_load_acquire(&s.folio->refcount) != 1)
		return;
	*memory(s.pfn) = MINE;
	s.alone = 1;
}

static void still_mine(void)
{
	CHECK(!s.alone || *memory(s.pfn) == MINE);
	CHECK(mm_validate(s.mm));
}

SCENARIO(zap_store) = {
	SCENARIO_NAME(zap_store),
	.threads = { zaps, stores_twice, uses_alone },
	.roles = { "zapper", "user", "owner" },
	.frames = 128,
	.stale = 1,
	.setup = setup_held,
	.finish = still_mine,
	.about = "an entry goes; whoever has the last reference has the page to himself"
};

/* ---- a file's page: who finds it mapped nowhere, and cleans it, has all of what was written ---- */

static int file_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	static const struct vm_operations_struct ops = { .open = NULL };

	vma->vm_ops = &ops;
	return 0;
}

static const struct vm_file_operations file_ops = { .mmap = file_mmap };
static SHARED struct vm_file file;

static void setup_file(void)
{
	u64 v;

	make_space();
	vm_file_init(&file, &file_ops);
	CHECK(vm_mmap(s.mm, ADDR, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, &file,
		      0) == (long)ADDR);
	s.folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, 0, FOLIO_FILE);
	CHECK(s.folio);
	s.pfn = folio_pfn(s.folio);
	mmap_write_lock(s.mm);
	CHECK(!vm_insert_page(area(ADDR), ADDR, folio_page(s.folio, 0)));
	mmap_write_unlock(s.mm);
	/* the CPU that stores has a dirty translation from before */
	check_set_cpu(1);
	CHECK(check_mmu_store(s.mm, ADDR, 0) == CHECK_MMU_OK);
	CHECK(check_mmu_load(s.mm, ADDR, &v) == CHECK_MMU_OK);
	check_set_cpu(0);
}

static void unmaps(void)
{
	CHECK(!vm_munmap(s.mm, ADDR, PAGE_SIZE));
}

static void stores_once(void)
{
	check_mmu_store(s.mm, ADDR, 1);
}

static void cleans(void)
{
	/* acquire: pairs with the release of the last unmapping */
	if (smp_load_acquire(&s.folio->mapcount) != 0)
		return;
	CHECK(folio_test_flag(s.folio, PG_dirty));
	folio_clear_flag(s.folio, PG_dirty);
	s.copy = READ_ONCE(*memory(s.pfn));
	s.cleaned = 1;
}

static void clean_is_clean(void)
{
	CHECK(!s.cleaned || s.copy == *memory(s.pfn));
	CHECK(mm_validate(s.mm));
}

SCENARIO(zap_file) = { SCENARIO_NAME(zap_file),
		       .threads = { unmaps, stores_once, cleans },
		       .roles = { "unmapper", "user", "cleaner" },
		       .frames = 128,
		       .stale = 1,
		       .bound = 2,
		       .setup = setup_file,
		       .finish = clean_is_clean,
		       .about = "a file's page is cleaned when nothing maps it any more" };

/* ---- a leaf that a fault maps while its area is unmapped ---- */

static void setup_leaf(void)
{
	make_space();
	/* the table above is there */
	map_anon(PAGE_SIZE + TABLE);
	CHECK(!mm_fault(s.mm, ADDR + TABLE, FAULT_FLAG_WRITE));
	s.mm->folio_orders = 1u | 1u << level_order(PGTABLE_LEVEL_PMD);
	mmap_read_lock(s.mm);
	CHECK(!anon_vma_prepare(area(ADDR)));
	mmap_read_unlock(s.mm);
}

static void unmaps_table(void)
{
	CHECK(!vm_munmap(s.mm, ADDR, TABLE));
}

static void faults(void)
{
	vm_fault_t ret = mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE);

	CHECK(!(ret & ~(VM_FAULT_SIGSEGV | VM_FAULT_MAPERR)));
}

static void all_is_gone(void)
{
	CHECK(get_mm_rss(s.mm) == 1);
	CHECK(mm_validate(s.mm));
}

SCENARIO(zap_leaf_fault) = { SCENARIO_NAME(zap_leaf_fault),
			     .threads = { unmaps_table, faults },
			     .roles = { "unmapper", "faulter" },
			     .frames = 128,
			     .stale = 1,
			     .setup = setup_leaf,
			     .finish = all_is_gone,
			     .about = "a leaf is mapped while its area is unmapped" };

/* ---- copied: the child has what the parent had, once ---- */

static void forks(void)
{
	u64 first;
	int err;

	s.child = mm_fork(s.mm, &err);
	CHECK(s.child);
	first = READ_ONCE(*memory(pte_pfn(entry_of(s.child, ADDR))));
	CHECK(READ_ONCE(*memory(pte_pfn(entry_of(s.child, ADDR)))) == first);
	s.copy = first;
}

static bool store(struct mm_struct *mm, unsigned long addr, u64 value)
{
	while (check_mmu_store(mm, addr, value) != CHECK_MMU_OK)
		if (mm_fault(mm, addr, FAULT_FLAG_WRITE))
			return false;
	return true;
}

static void parent_stores(void)
{
	CHECK(store(s.mm, ADDR, 1));
}

static void child_has_its_own(void)
{
	CHECK(*memory(pte_pfn(entry_of(s.child, ADDR))) == s.copy);
	CHECK(*memory(pte_pfn(entry_of(s.mm, ADDR))) == 1);
	CHECK(mm_validate(s.mm) && mm_validate(s.child));
}

SCENARIO(fork_store) = { SCENARIO_NAME(fork_store),
			 .threads = { forks, parent_stores },
			 .roles = { "forker", "parent" },
			 .rows = "S2.30 S2.32",
			 .frames = 128,
			 .stale = 1,
			 .setup = setup,
			 .finish = child_has_its_own,
			 .about = "another CPU of the parent writes while it forks" };

/* ---- restricted: afterwards nobody writes, and what was written made the entry dirty ---- */

static void protects(void)
{
	u64 seen;

	CHECK(!vm_mprotect(s.mm, ADDR, PAGE_SIZE, check_variant() ? PROT_NONE : PROT_READ));
	seen = READ_ONCE(*memory(s.pfn));
	CHECK(READ_ONCE(*memory(s.pfn)) == seen);
	CHECK(seen == 0 || pte_dirty(entry_of(s.mm, ADDR)));
	s.copy = seen;
}

/* Clean, so that hardware has to say so. */
static void setup_clean(void)
{
	struct pt_pos pos;

	setup();
	CHECK(pte_offset_lock(s.mm, ADDR, PGTABLE_LEVEL_PTE, &pos));
	WRITE_ONCE(pos.ptep->v, pte_mkclean(pos.pte).v);
	pte_unlock(&pos);
}

static void stays_as_it_was(void)
{
	CHECK(*memory(s.pfn) == s.copy);
	CHECK(mm_validate(s.mm));
}

#define PROTECT                                                                                 \
	.threads = { protects, stores_twice }, .roles = { "protector", "user" }, .frames = 128, \
	.stale = 1, .setup = setup_clean, .finish = stays_as_it_was

SCENARIO(protect_store) = { SCENARIO_NAME(protect_store), PROTECT,
			    .about = "a page is made read-only while a CPU writes to it" };
SCENARIO(protect_none) = { SCENARIO_NAME(protect_none), PROTECT, .variant = 1,
			   .about = "a page is made inaccessible while a CPU writes to it" };

/* ---- moved: nothing comes by the old address any more; and it is always somewhere ---- */

static void moves(void)
{
	unsigned long len = check_variant() ? TABLE : PAGE_SIZE;
	u64 seen;

	CHECK(vm_mremap(s.mm, ADDR, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, AWAY) == (long)AWAY);
	seen = READ_ONCE(*memory(s.pfn));
	CHECK(READ_ONCE(*memory(s.pfn)) == seen);
	s.copy = seen;
}

static void has_moved(void)
{
	CHECK(pte_none(entry_of(s.mm, ADDR)));
	CHECK(pte_pfn(entry_of(s.mm, AWAY)) == s.pfn);
	CHECK(*memory(s.pfn) == s.copy);
	CHECK(s.copy == 0 || pte_dirty(entry_of(s.mm, AWAY)));
	CHECK(mm_validate(s.mm));
}

static void setup_table(void)
{
	make_space();
	map_anon(TABLE);
	CHECK(!mm_fault(s.mm, ADDR, FAULT_FLAG_WRITE));
	s.pfn = pte_pfn(entry_of(s.mm, ADDR));
	s.folio = page_folio(pfn_to_page(s.pfn));
	*memory(s.pfn) = 0;
}

#define MOVE .frames = 128, .stale = 1, .finish = has_moved

SCENARIO(move_store) = { SCENARIO_NAME(move_store),
			 MOVE,
			 .threads = { moves, stores_twice },
			 .roles = { "mover", "user" },
			 .setup = setup,
			 .about = "an entry moves while a CPU writes by its old address" };
SCENARIO(move_table_store) = { SCENARIO_NAME(move_table_store),
			       MOVE,
			       .threads = { moves, stores_twice },
			       .roles = { "mover", "user" },
			       .setup = setup_table,
			       .variant = 1,
			       .about = "a table moves while a CPU writes by its old address" };

static void walks(void)
{
	CHECK(folio_count_mappings(s.folio) == 1);
}

SCENARIO(move_walk) = { SCENARIO_NAME(move_walk),
			MOVE,
			.threads = { moves, walks },
			.roles = { "mover", "walker" },
			.setup = setup,
			.about = "an entry moves while its folio's are counted" };
SCENARIO(move_table_walk) = { SCENARIO_NAME(move_table_walk),
			      MOVE,
			      .threads = { moves, walks },
			      .roles = { "mover", "walker" },
			      .setup = setup_table,
			      .variant = 1,
			      .about = "a table moves while a folio's entries are counted" };
