// SPDX-License-Identifier: MIT
/*
 * mm_debug.c - looking at an address space: its areas one by one, their list, and whether all of it is as it should be.
 */
#include <octavo/swap.h>

#include "vma.h"

/* ---- areas ---- */

void mm_for_each_vma(struct mm_struct *mm, bool (*fn)(const struct vm_area_struct *vma, void *arg),
		     void *arg)
{
	struct vm_area_struct *vma;
	unsigned long at;

	mmap_read_lock(mm);
	for_each_vma_range(mm, vma, at, 0, ~0ul) if (!fn(vma, arg)) break;
	mmap_read_unlock(mm);
}

static void dump_area(const struct vm_area_struct *vma)
{
	static const struct {
		vm_flags_t flag;
		char name[4];
	} letters[] = {
		{ VM_LOCKED, " lo" },	  { VM_LOCKONFAULT, " lf" }, { VM_GROWSDOWN, " gd" },
		{ VM_ACCOUNT, " ac" },	  { VM_NORESERVE, " nr" },   { VM_PFNMAP, " pf" },
		{ VM_MIXEDMAP, " mm" },	  { VM_IO, " io" },	     { VM_DONTCOPY, " dc" },
		{ VM_DONTEXPAND, " de" }, { VM_DONTDUMP, " dd" },    { VM_WIPEONFORK, " wf" },
		{ VM_HUGEPAGE, " hg" },	  { VM_NOHUGEPAGE, " nh" },  { VM_DROPPABLE, " dp" },
		{ VM_SEQ_READ, " sr" },	  { VM_RAND_READ, " rr" },
	};
	vm_flags_t f = READ_ONCE(vma->vm_flags);
	char more[ARRAY_SIZE(letters) * 3 + 1];
	size_t n = 0;

	more[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(letters); i++)
		if (f & letters[i].flag)
			n += (size_t)octavo_scnprintf(more + n, sizeof(more) - n, "%s",
						      letters[i].name);
	pr_dump("%012lx-%012lx %c%c%c%c %08lx %s%s%s%s", vma->vm_start, vma->vm_end,
		f & VM_READ ? 'r' : '-', f & VM_WRITE ? 'w' : '-', f & VM_EXEC ? 'x' : '-',
		f & VM_SHARED ? 's' : 'p', vma->vm_pgoff, vma->vm_file ? "file" : "anon",
		READ_ONCE(vma->anon_vma) ? " rmap" : "", READ_ONCE(vma->vm_guards) ? " guards" : "",
		more);
}

void mm_dump(struct mm_struct *mm)
{
	bool locked = mmap_read_trylock(mm);
	struct vm_area_struct *vma;
	unsigned long at;

	/* also called by who has the lock, or has lost control: the tree can always be read */
	rcu_read_lock();
	pr_dump("mm %p: %lu areas, %lu pages, resident %lu, locked %lu%s", (void *)mm,
		(unsigned long)range_tree_count(&mm->vmas), READ_ONCE(mm->total_vm), get_mm_rss(mm),
		READ_ONCE(mm->locked_vm), locked ? "" : " (being changed)");
	for_each_vma_range(mm, vma, at, 0, ~0ul) dump_area(vma);
	rcu_read_unlock();
	if (locked)
		mmap_read_unlock(mm);
}

u64 mm_committed(const struct mm_struct *mm)
{
	struct vm_area_struct *vma;
	unsigned long at;
	u64 sum = 0;

	for_each_vma_range(mm, vma, at, 0, ~0ul) if (vma->vm_flags & VM_ACCOUNT) sum +=
		vma_pages(vma);
	return sum;
}

/* ---- validation ---- */

/* What areas and entries add up to. */
struct mm_sums {
	unsigned long areas, total, data, code, stack, locked;
	unsigned long rss[NR_MM_COUNTERS];
	bool ok;
};

static bool bad_area(const struct vm_area_struct *vma, const char *what)
{
	pr_err("mm %p: area [%lx, %lx) flags 0x%lx: %s", (void *)vma->vm_mm, vma->vm_start,
	       vma->vm_end, vma->vm_flags, what);
	return false;
}

static bool check_area(const struct mm_struct *mm, const struct vm_area_struct *vma,
		       unsigned long start, unsigned long end)
{
	vm_flags_t f = vma->vm_flags;

	if (vma->vm_mm != mm)
		return bad_area(vma, "of another address space");
	if (vma->vm_start != start || vma->vm_end != end)
		return bad_area(vma, "is elsewhere in the tree");
	if ((start | end) & ~PAGE_MASK || end > mm->task_size)
		return bad_area(vma, "no range for an area");
	if (READ_ONCE(vma->vm_seq) > READ_ONCE(mm->lock_seq))
		return bad_area(vma, "marked by a writer that has not been yet");
	if (f & VM_ACCOUNT && f & (VM_SHARED | VM_NORESERVE))
		return bad_area(vma, "promised, but nobody wants that");
	if (f & VM_LOCKED && f & VM_SPECIAL)
		return bad_area(vma, "locked, but cannot be");
	if (f & VM_LOCKONFAULT && !(f & VM_LOCKED))
		return bad_area(vma, "locked on fault, but not locked");
	if (!vma->vm_file != !vma->vm_ops)
		return bad_area(vma, "neither anonymous nor of a file");
	if (!vma->anon_vma != list_empty(&vma->anon_vma_chain))
		return bad_area(vma, "reverse map without chain, or chain without reverse map");
	if (vma->vm_page_prot.v & _PAGE_RW && !(f & VM_SHARED && f & VM_WRITE))
		return bad_area(vma, "new entries would be writable");
	return true;
}

static void sum_area(struct mm_sums *sums, const struct vm_area_struct *vma)
{
	struct mm_struct count = { .total_vm = 0 };

	vm_stat_account(&count, vma->vm_flags, (long)vma_pages(vma));
	sums->areas++;
	sums->total += count.total_vm;
	sums->data += count.data_vm;
	sums->code += count.exec_vm;
	sums->stack += count.stack_vm;
	if (vma->vm_flags & VM_LOCKED)
		sums->locked += vma_pages(vma);
}

static bool check_sum(const struct mm_struct *mm, const char *what, unsigned long is,
		      unsigned long must)
{
	if (is == must)
		return true;
	pr_err("mm %p: %s %lu, by its areas %lu", (const void *)mm, what, is, must);
	return false;
}

/* A present entry. Return: what is wrong. */
static const char *check_present(const struct vm_area_struct *vma, const struct pt_pos *pos,
				 struct mm_sums *sums)
{
	unsigned long nr = 1ul << level_order(pos->level);
	struct page *page = vm_normal_page(vma, pos->addr, pos->pte, pos->level);
	struct folio *folio;
	unsigned long first;

	if (pte_write(pos->pte) && !(vma->vm_flags & VM_WRITE))
		return "writable, the area is not";
	if (!page)
		return NULL;
	folio = page_folio(page);
	if (!folio) {
		/* an object's handler may give them too, in an area that is not mixed */
		if (vma_is_anonymous(vma))
			return "a plain page in anonymous memory";
		return page_count(page) ? NULL : "a plain page without a count";
	}
	first = pte_pfn(pos->pte) - folio_pfn(folio);
	if (first + nr > 1ul << folio_order(folio))
		return "reaches out of its folio";
	sums->rss[mm_counter(folio)] += nr;
	if (!folio_test_anon(folio))
		return NULL;
	if (pos->level &&
	    (pte_pfn(pos->pte) & (nr - 1) || pos->addr & (level_size(pos->level) - 1)))
		return "a leaf that is not aligned";
	if (folio->index + first != linear_page_index(vma, pos->addr))
		return "the folio says that it is elsewhere";
	if (pte_write(pos->pte) && !folio_test_anon_exclusive(folio, first))
		return "writable, but may be shared";
	return NULL;
}

/* An entry of device-private memory. */
static const char *check_device(const struct vm_area_struct *vma, const struct pt_pos *pos)
{
	struct page *page = place_page(swp_entry_place(pte_to_swp_entry(pos->pte)));
	struct folio *folio = page_folio(page);
	unsigned long nr = 1ul << level_order(pos->level), first;

	if (!folio || !folio_test_anon(folio) || !folio_test_flag(folio, PG_zone_device))
		return "of a device, but no folio of one";
	first = folio_page_idx(folio, page);
	if (first + nr > folio_nr_pages(folio))
		return "reaches out of its folio";
	if (folio->index + first != linear_page_index(vma, pos->addr))
		return "the folio says that it is elsewhere";
	if (swp_type(pte_to_swp_entry(pos->pte)) == SWP_DEVICE_PRIVATE_WRITE &&
	    !pte_swp_exclusive(pos->pte))
		return "writable, but may be shared";
	return NULL;
}

static const char *check_entry(const struct vm_area_struct *vma, const struct pt_pos *pos,
			       struct mm_sums *sums)
{
	swp_entry_t e;

	if (pte_none(pos->pte) || pte_table(pos->pte, pos->level))
		return NULL;
	if (pte_present(pos->pte))
		return check_present(vma, pos, sums);
	e = pte_to_swp_entry(pos->pte);
	if (is_swap_slot(e)) {
		unsigned int count = swap_count(e);

		if (pos->level)
			return "of a slot, above the last level";
		if (!count)
			return "of a slot that has no count";
		if (pte_swp_exclusive(pos->pte) && count > 1)
			return "of an exclusive slot that others have too";
		sums->rss[MM_SWAPENTS]++;
	} else if (is_pfn_swap_entry(e)) {
		struct folio *folio = page_folio(place_page(swp_entry_place(e)));

		if (!folio)
			return "migrates what is no folio";
		sums->rss[mm_counter(folio)] += 1ul << level_order(pos->level);
	} else if (is_device_private_entry(e)) {
		sums->rss[MM_ANONPAGES] += 1ul << level_order(pos->level);
		return check_device(vma, pos);
	} else if (swp_type(e) >= (unsigned int)NR_SWP_TYPES) {
		return "of no known type";
	} else if (is_pte_marker(e) && swp_offset(e) & PTE_MARKER_GUARD &&
		   !READ_ONCE(vma->vm_guards)) {
		return "a guard marker, and the area does not say so";
	}
	return NULL;
}

static bool check_entries(struct mm_struct *mm, const struct vm_area_struct *vma,
			  struct mm_sums *sums)
{
	unsigned long addr = vma->vm_start;
	bool ok = true;

	while (addr < vma->vm_end) {
		const char *wrong;
		struct pt_pos pos;

		pgtable_walk(mm, addr, PGTABLE_LEVEL_PTE, &pos);
		pos.addr = addr;
		wrong = check_entry(vma, &pos, sums);
		if (wrong) {
			pr_err("mm %p: entry 0x%lx of level %u at %lx: %s", (void *)mm, pos.pte.v,
			       pos.level, addr, wrong);
			ok = false;
		}
		addr = level_addr_end(addr, vma->vm_end, pos.level);
	}
	return ok;
}

/* Nothing is mapped between areas. */
static bool check_hole(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	bool ok = true;

	while (start < end) {
		struct pt_pos pos;

		pgtable_walk(mm, start, PGTABLE_LEVEL_PTE, &pos);
		if (!pte_none(pos.pte)) {
			pr_err("mm %p: entry 0x%lx of level %u at %lx, where no area is",
			       (void *)mm, pos.pte.v, pos.level, start);
			ok = false;
		}
		start = level_addr_end(start, end, pos.level);
	}
	return ok;
}

bool mm_validate(struct mm_struct *mm)
{
	struct mm_sums sums = { .ok = true };
	unsigned long start, end = 0, hole = 0;
	struct vm_area_struct *vma;

	if (rwsem_is_locked(&mm->mmap_lock) || READ_ONCE(mm->lock_seq) & 1) {
		pr_err("mm %p: mmap_lock is held, or somebody said that it is", (void *)mm);
		sums.ok = false;
	}
	sums.ok &= range_tree_validate(&mm->vmas);
	for (vma = range_tree_find_first(&mm->vmas, 0, ~0ul, &start, &end); vma;
	     vma = range_tree_find_first(&mm->vmas, end, ~0ul, &start, &end)) {
		sums.ok &= check_area(mm, vma, start, end);
		sums.ok &= check_hole(mm, hole, start);
		sums.ok &= check_entries(mm, vma, &sums);
		sum_area(&sums, vma);
		hole = end;
	}
	sums.ok &= check_hole(mm, hole, TASK_SIZE_MAX);
	sums.ok &= check_sum(mm, "areas", mm->map_count, sums.areas);
	sums.ok &= check_sum(mm, "pages", mm->total_vm, sums.total);
	sums.ok &= check_sum(mm, "data pages", mm->data_vm, sums.data);
	sums.ok &= check_sum(mm, "code pages", mm->exec_vm, sums.code);
	sums.ok &= check_sum(mm, "stack pages", mm->stack_vm, sums.stack);
	sums.ok &= check_sum(mm, "locked pages", mm->locked_vm, sums.locked);
	for (unsigned int i = 0; i < NR_MM_COUNTERS; i++)
		sums.ok &= check_sum(mm, "resident pages of a kind", get_mm_counter(mm, i),
				     sums.rss[i]);
	sums.ok &= pgtable_validate(mm);
	sums.ok &= anon_vma_validate(mm);
	return sums.ok;
}
