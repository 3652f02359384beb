// SPDX-License-Identifier: MIT
/*
 * as_machine.c - the machine that programs of address spaces run on, and how it is compared.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <octavo/plain.h>

#include "as_machine.h"
#include "mmu.h"
#include "sim.h"

struct as_machine as;

bool as_wrong(const char *fmt, ...)
{
	va_list ap;

	if (as.error[0])
		return false;
	va_start(ap, fmt);
	vsnprintf(as.error, sizeof(as.error), fmt, ap);
	va_end(ap);
	return false;
}

/* ---- objects ---- */

static u32 object_fault(struct vm_fault *vmf)
{
	unsigned long file = (unsigned long)((struct vm_file *)vmf->vma->vm_private_data - as.file);

	if (vmf->pgoff >= AS_FILE_PAGES)
		return VM_FAULT_SIGBUS;
	vmf->page = as.page[file][vmf->pgoff];
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct object_vm_ops = { .fault = object_fault };

static int object_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &object_vm_ops;
	vma->vm_private_data = file;
	return 0;
}

static int ring_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	return vm_map_pages(vma, as.page[AS_RING], AS_FILE_PAGES);
}

static int frames_mmap(struct vm_file *file, struct vm_area_struct *vma)
{
	if (vma->vm_pgoff + vma_pages(vma) > AS_FILE_PAGES)
		return -ENXIO;
	return remap_pfn_range(vma, vma->vm_start,
			       page_to_pfn(as.page[AS_FRAMES][0]) + vma->vm_pgoff,
			       vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static const struct vm_file_operations file_ops[AS_FILES] = {
	[AS_RING] = { .mmap = ring_mmap },
	[AS_PAGES] = { .mmap = object_mmap },
	[AS_FOLIOS] = { .mmap = object_mmap },
	[AS_FRAMES] = { .mmap = frames_mmap },
};

enum { FRAMES_ORDER = 5 };
BUILD_BUG_ON(AS_FILE_PAGES > 1 << FRAMES_ORDER);

static bool make_pages(void)
{
	struct page *frames = alloc_frozen_pages(GFP_KERNEL | __GFP_ZERO, FRAMES_ORDER);

	if (!frames)
		return false;
	for (int i = 0; i < AS_FILE_PAGES; i++) {
		struct folio *folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, 0, FOLIO_FILE);

		as.page[AS_FRAMES][i] = frames + i;
		as.page[AS_RING][i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		as.page[AS_PAGES][i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!folio || !as.page[AS_RING][i] || !as.page[AS_PAGES][i])
			return false;
		as.page[AS_FOLIOS][i] = folio_page(folio, 0);
		page_set_mappable(as.page[AS_RING][i], true);
		page_set_mappable(as.page[AS_PAGES][i], true);
	}
	return true;
}

static bool end_pages(void)
{
	for (int f = 0; f < AS_FILES; f++) {
		if (as.file[f].refcount != 1)
			return as_wrong("object %d has %u references in the end", f,
					as.file[f].refcount);
		for (int i = 0; f != AS_FRAMES && i < AS_FILE_PAGES; i++) {
			if (page_count(as.page[f][i]) != 1)
				return as_wrong("page %d of object %d has count %u in the end", i,
						f, page_count(as.page[f][i]));
			put_page(as.page[f][i]);
		}
	}
	free_frozen_pages(as.page[AS_FRAMES][0], FRAMES_ORDER);
	return true;
}

/* ---- the machine ---- */

/* The window lies across the end of a table of the second level from the top. */
static void make_window(void)
{
	struct as_model *m = &as.m;
	bool tiny = OCTAVO_TABLE_BITS < 9;

	m->nr = tiny ? 256 : AS_MAX_PAGES;
	m->leaf = 1ul << OCTAVO_TABLE_BITS;
	m->base = level_size(PGTABLE_LEVEL_TOP) - m->nr / 3 * PAGE_SIZE;
	m->base &= ~(level_size(PGTABLE_LEVEL_PMD) - 1);
	m->end = m->base + m->nr * PAGE_SIZE;
	/* 256 pages, as Linux has it; in the small geometry a 128th of the addresses */
	m->gap = tiny ? TASK_SIZE_MAX >> (PAGE_SHIFT + 7) : 256;
}

bool as_machine_boot(const struct as_config *cfg)
{
	struct sim_config sim = { .bytes = cfg->bytes, .cpus = AS_CPUS, .quiet = true };
	struct sim_mmu_config mmu = { .paranoid = true, .asids = cfg->asids };
	struct as_proc *pr = &as.m.p[0];
	struct mm_struct *mm;

	memset(&as, 0, sizeof(as));
	as.swap = -1;
	as.swap_sync = cfg->swap_sync;
	if (sim_boot(&sim))
		return as_wrong("the machine does not boot");
	sim_mmu_configure(&mmu);
	sim_log_take(NULL);
	sim_set_cpu(0);
	make_window();
	if (!make_pages())
		return as_wrong("no pages for objects");
	for (int f = 0; f < AS_FILES; f++)
		vm_file_init(&as.file[f], &file_ops[f]);
	as.m.never = cfg->overcommit == 2;
	vm_set_overcommit(cfg->overcommit, totalram_pages() / 2);
	mm = as.mm[0] = mm_alloc();
	if (!mm)
		return as_wrong("no address space");
	mm->task_size = as.m.end;
	mm->mmap_min_addr = as.m.base;
	mm->mmap_base = as.m.end - 8 * PAGE_SIZE;
	mm->folio_orders = cfg->orders;
	pr->start = pr->brk = mm->start_brk = mm->brk = as.m.base + as.m.nr / 4 * PAGE_SIZE;
	pr->alive = true;
	return true;
}

void as_machine_exit(int p)
{
	for (unsigned int cpu = 0; cpu < AS_CPUS; cpu++) {
		sim_set_cpu(cpu);
		sim_mm_forget(as.mm[p]);
	}
	mmput(as.mm[p]);
	as.mm[p] = NULL;
	as_exit(&as.m, p);
}

bool as_machine_end(void)
{
	u64 leaked;

	for (int p = 0; p < AS_PROCS; p++)
		if (as.mm[p])
			as_machine_exit(p);
	for (int i = 0; i < AS_PINS; i++) {
		struct as_pin *pin = &as.pin[i];

		if (!pin->page)
			continue;
		if (pin->pinned)
			unpin_user_page(pin->page);
		else
			put_user_page(pin->page);
		as_data_put(&as.m, pin->data);
	}
	if (as.m.datas)
		return as_wrong("the model leaks %u contents", as.m.datas);
	if (!end_pages() || !as_swap_end())
		return false;
	if (vm_committed_as())
		return as_wrong("%lu bytes are promised in the end",
				(unsigned long)vm_committed_as());
	if (!octavo_validate())
		return as_wrong("octavo_validate() failed in the end");
	leaked = sim_shutdown();
	return leaked ? as_wrong("%lu frames leaked", (unsigned long)leaked) : true;
}

bool as_excused(void)
{
	u64 left = min(as.free_before, nr_free_pages());

	return as.hits || as.io_failed || left < 64;
}

/* ---- areas ---- */

static const struct {
	vm_flags_t vm;
	u32 flag;
} same_flags[] = {
	{ VM_READ, AS_R },
	{ VM_WRITE, AS_W },
	{ VM_EXEC, AS_X },
	{ VM_SHARED, AS_SHARED },
	{ VM_GROWSDOWN, AS_GROWS },
	{ VM_LOCKED, AS_LOCKED },
	{ VM_LOCKONFAULT, AS_ONFAULT },
	{ VM_DONTCOPY, AS_DONTFORK },
	{ VM_WIPEONFORK, AS_WIPE },
	{ VM_SEQ_READ, AS_SEQ },
	{ VM_RAND_READ, AS_RAND },
	{ VM_DONTDUMP, AS_DONTDUMP },
	{ VM_HUGEPAGE, AS_HUGE },
	{ VM_NOHUGEPAGE, AS_NOHUGE },
	{ VM_DROPPABLE, AS_DROP },
	{ VM_NORESERVE, AS_NORESERVE },
	{ VM_STACK, AS_STACK },
	{ VM_IO, AS_IO },
	{ VM_PFNMAP, AS_PFN },
	{ VM_MIXEDMAP, AS_MIXED },
	{ VM_DONTEXPAND, AS_DONTEXPAND },
};

static bool view_area(const struct vm_area_struct *vma, void *arg)
{
	struct as_view v = { .flags = AS_MAPPED, .area = as.areas };

	for (unsigned int i = 0; i < ARRAY_SIZE(same_flags); i++)
		if (vma->vm_flags & same_flags[i].vm)
			v.flags |= same_flags[i].flag;
	if (vma->vm_file)
		v.file = (u16)(vma->vm_file - as.file + 1);
	if (vma->vm_start < as.m.base || vma->vm_end > as.m.end) {
		as_wrong("an area at [%lx, %lx)", vma->vm_start, vma->vm_end);
		return false;
	}
	as.area_start[as.areas] = vma->vm_start;
	as.area_end[as.areas++] = vma->vm_end;
	for (unsigned long a = vma->vm_start; a < vma->vm_end; a += PAGE_SIZE) {
		if (v.file)
			v.pgoff = (u16)(vma->vm_pgoff + ((a - vma->vm_start) >> PAGE_SHIFT));
		as.view[as_nr(&as.m, a)] = v;
	}
	return true;
}

void as_view(int p)
{
	memset(as.view, 0, as.m.nr * sizeof(as.view[0]));
	as.areas = 0;
	mm_for_each_vma(as.mm[p], view_area, NULL);
}

static u32 area_of(unsigned long addr)
{
	u32 i = 0;

	while (i < as.areas && as.area_end[i] <= addr)
		i++;
	return i;
}

unsigned long as_area_start(unsigned long addr)
{
	u32 i = area_of(addr);

	return i < as.areas ? as.area_start[i] : 0;
}

unsigned long as_area_end(unsigned long addr)
{
	u32 i = area_of(addr);

	return i < as.areas ? as.area_end[i] : 0;
}

/* Would one area do for two pages? */
static bool same_area(const struct as_page *a, const struct as_page *b)
{
	return a->flags == b->flags && a->file == b->file && (!a->file || a->pgoff + 1 == b->pgoff);
}

bool as_check_areas(int p)
{
	const struct as_page *pg = as.m.p[p].pg;
	unsigned long need = 0;

	as_view(p);
	for (unsigned long n = 0; n < as.m.nr; n++) {
		const struct as_view *v = &as.view[n];

		if (v->flags != pg[n].flags)
			return as_wrong("process %d page %lu: flags %x, expected %x", p, n,
					v->flags, pg[n].flags);
		if (v->file != pg[n].file || (v->file && v->pgoff != pg[n].pgoff))
			return as_wrong("process %d page %lu: object %u offset %u, not %u and %u",
					p, n, v->file, v->pgoff, pg[n].file, pg[n].pgoff);
		need += v->flags && !(n && same_area(&pg[n - 1], &pg[n]));
	}
	if (as.areas < need)
		return as_wrong("process %d: %u areas for %lu kinds of memory", p, as.areas, need);
	as.unmerged += as.areas - need;
	if (as.mm[p]->brk != as.m.p[p].brk)
		return as_wrong("process %d: break %lx, expected %lx", p, as.mm[p]->brk,
				as.m.p[p].brk);
	return true;
}

/* ---- pages ---- */

unsigned long as_word_offset(unsigned int i)
{
	return i ? PAGE_SIZE - 16 : 64;
}

u64 *as_host_word(unsigned long pfn, unsigned int i)
{
	return (u64 *)((char *)pfn_to_virt(pfn) + as_word_offset(i));
}

/* The entry as it is; tables stay: the machine is quiet. Return: ~0ul: nothing is there. */
unsigned long as_pfn_at(int p, unsigned long addr, bool *guard)
{
	struct pt_pos pos;
	pte_t e;

	*guard = false;
	pgtable_walk(as.mm[p], addr, PGTABLE_LEVEL_PTE, &pos);
	e = pos.pte;
	if (pte_none(e))
		return ~0ul;
	if (pte_is_swap(e)) {
		swp_entry_t s = pte_to_swp_entry(e);

		if (is_swap_slot(s) && !pos.level)
			return AS_IN_SLOT;
		*guard = is_pte_marker(s) && swp_offset(s) & PTE_MARKER_GUARD;
		if (!*guard)
			as_wrong("process %d %lx: entry %lx", p, addr, (unsigned long)e.v);
		return ~0ul;
	}
	if (pte_write(e) && !(as_page(&as.m, p, addr)->flags & AS_W))
		as_wrong("process %d %lx: entry %lx is writable", p, addr, (unsigned long)e.v);
	return pte_pfn(e) + ((addr & (level_size(pos.level) - 1)) >> PAGE_SHIFT);
}

static bool is_objects_page(const struct as_page *pg, unsigned long pfn)
{
	return pg->file && pg->pgoff < AS_FILE_PAGES &&
	       page_to_pfn(as.page[pg->file - 1][pg->pgoff]) == pfn;
}

static bool check_absent(int p, unsigned long addr, const struct as_page *pg, bool guard)
{
	if (guard != pg->guard)
		return as_wrong("process %d %lx: guard is %d", p, addr, guard);
	if (pg->data)
		return as_wrong("process %d %lx: contents are gone", p, addr);
	if (pg->here)
		return as_wrong("process %d %lx: the object's page is gone", p, addr);
	return true;
}

static bool check_page(int p, unsigned long addr)
{
	struct as_page *pg = as_page(&as.m, p, addr);
	bool guard;
	unsigned long pfn = as_pfn_at(p, addr, &guard);
	const u64 *words;

	if (pfn == ~0ul)
		return check_absent(p, addr, pg, guard);
	if (!pg->flags || pg->guard)
		return as_wrong("process %d %lx: frame %lx is mapped where nothing is", p, addr,
				pfn);
	if (pg->data && is_objects_page(pg, pfn))
		return as_wrong("process %d %lx: the object's page, not a copy", p, addr);
	if (pg->file && !pg->data && !is_objects_page(pg, pfn))
		return as_wrong("process %d %lx: frame %lx is not the object's", p, addr, pfn);
	words = as_words(&as.m, pg);
	for (unsigned int i = 0; i < AS_WORDS; i++) {
		u64 is = pfn == AS_IN_SLOT ? *as_slot_word(p, addr, i) : *as_host_word(pfn, i);

		if (is != words[i])
			return as_wrong("process %d %lx: word %u is %lx, expected %lx%s", p, addr,
					i, (unsigned long)is, (unsigned long)words[i],
					pfn == AS_IN_SLOT ? ", in a slot" : "");
	}
	return !as.error[0];
}

bool as_check_pages(int p, unsigned long addr, unsigned long nr)
{
	addr &= PAGE_MASK;
	for (; nr && addr < as.m.end; nr--, addr += PAGE_SIZE)
		if (addr >= as.m.base && !check_page(p, addr))
			return false;
	return true;
}

void as_adopt_copies(int p)
{
	for (unsigned long n = 0; n < as.m.nr; n++) {
		struct as_page *pg = &as.m.p[p].pg[n];
		bool guard;
		unsigned long pfn;

		if (!pg->file || pg->data || pg->flags & AS_SHARED)
			continue;
		pfn = as_pfn_at(p, as.m.base + n * PAGE_SIZE, &guard);
		if (pfn != ~0ul && !is_objects_page(pg, pfn))
			as_own(&as.m, pg);
	}
}

void as_adopt_freed(int p)
{
	for (unsigned long n = 0; n < as.m.nr; n++) {
		struct as_page *pg = &as.m.p[p].pg[n];
		bool guard;

		if ((pg->lazy || pg->flags & AS_DROP) && pg->data &&
		    as_pfn_at(p, as.m.base + n * PAGE_SIZE, &guard) == ~0ul && !guard)
			as_gone(&as.m, pg);
	}
}

/* ---- pins ---- */

bool as_check_pins(void)
{
	static const uint64_t zero[AS_WORDS];

	for (int i = 0; i < AS_PINS; i++) {
		const struct as_pin *pin = &as.pin[i];
		const uint64_t *words = pin->data ? pin->data->w : pin->shared ? pin->shared : zero;

		if (!pin->page || !pin->pinned)
			continue;
		for (unsigned int w = 0; w < AS_WORDS; w++)
			if (*as_host_word(page_to_pfn(pin->page), w) != words[w])
				return as_wrong(
					"pin %d: word %u is %lx, expected %lx", i, w,
					(unsigned long)*as_host_word(page_to_pfn(pin->page), w),
					(unsigned long)words[w]);
	}
	return true;
}

/* ---- everything ---- */

static bool check_rss(int p)
{
	unsigned long own, mapped,
		anon = get_mm_counter(as.mm[p], MM_ANONPAGES) +
		       get_mm_counter(as.mm[p], MM_SWAPENTS);

	as_count(&as.m, p, &own, &mapped);
	if (anon < own || anon > mapped)
		return as_wrong("process %d: %lu anonymous pages, expected %lu to %lu", p, anon,
				own, mapped);
	return true;
}

bool as_check_all(void)
{
	const char *last = "";

	for (int p = 0; p < AS_PROCS; p++) {
		if (!as.mm[p])
			continue;
		if (!as_check_areas(p) || !as_check_pages(p, as.m.base, as.m.nr) || !check_rss(p))
			return false;
		if (!sim_mmu_check(as.mm[p])) {
			sim_log_take(&last);
			return as_wrong("process %d: stale translation: %s", p, last);
		}
	}
	if (!octavo_validate()) {
		sim_log_take(&last);
		return as_wrong("octavo_validate(): %s", last);
	}
	return as_check_pins();
}
