/* SPDX-License-Identifier: MIT */
/*
 * tlb.c - which CPUs may have translations of an address space, flushing them, and the gather: what entries
 * mapped lives until no translation can reach it.
 *
 * Memory is given back in the order: entries cleared, translations flushed, references dropped. The gather
 * remembers runs of references; with no memory for more it says so, and the caller flushes in between, so
 * it never needs memory to make progress.
 *
 * What it does not do: invalidate anything. That is octavo_port_tlb_flush().
 */
#include <octavo/pgtable.h>
#include <octavo/plain.h>
#include <octavo/swap.h>
#include <octavo/tlb.h>

/* What the low bits of tlb_run.obj say it is. */
#define RUN_FOLIO 0ul
#define RUN_PAGE  1ul

/* Folios put at once. */
#define DROP_FOLIOS 64u

/* Batches of one frame: the time without a flush, and the memory that waits for it, have a limit. */
#define MAX_BATCHES 40u
#define BATCH_RUNS  ((PAGE_SIZE - sizeof(struct tlb_batch)) / sizeof(struct tlb_run) - 1)

/* ---- CPUs ---- */

void mm_activate(struct mm_struct *mm, unsigned int cpu)
{
	unsigned long bit = 1ul << cpu % BITS_PER_LONG;
	unsigned long old = fetch_or_relaxed(&mm->cpus[cpu / BITS_PER_LONG], bit);

	VM_WARN_ON(old & bit);
	(void)old;
	/* pairs with the barrier in flush(): it sees the bit, or this CPU's walks see the new entries */
	smp_mb();
}

void mm_deactivate(struct mm_struct *mm, unsigned int cpu)
{
	unsigned long bit = 1ul << cpu % BITS_PER_LONG;
	/* release: pairs with the acquire in flush(): accesses through translations are over */
	unsigned long old = fetch_and_release(&mm->cpus[cpu / BITS_PER_LONG], ~bit);

	VM_WARN_ON(!(old & bit));
	(void)old;
}

/* A bit each, as in mm->cpus. */
struct cpu_set {
	unsigned long bits[DIV_ROUND_UP(OCTAVO_NR_CPUS, BITS_PER_LONG)];
};

/* @cpus: set. Return: is there any? */
static inline bool cpus_of(struct mm_struct *mm, struct cpu_set *cpus)
{
	unsigned long any = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(cpus->bits); i++) {
		/* acquire: pairs with the release in mm_deactivate() */
		cpus->bits[i] = smp_load_acquire(&mm->cpus[i]);
		any |= cpus->bits[i];
	}
	return any;
}

static bool all_cpus(struct cpu_set *cpus)
{
	unsigned int nr = octavo_state.frame.nr_cpus;

	for (unsigned int i = 0; i < ARRAY_SIZE(cpus->bits); i++) {
		unsigned int first = i * BITS_PER_LONG;

		cpus->bits[i] = nr >= first + BITS_PER_LONG ? ~0ul
				: nr > first		    ? (1ul << (nr - first)) - 1
							    : 0;
	}
	return true;
}

/* Entries have changed. Return: can anybody, @cpus, have a translation of what was there? */
static __always_inline bool flush_needed(struct mm_struct *mm, struct cpu_set *cpus)
{
	/* between the change of entries and the reading of the set: pairs with that of mm_activate() */
	smp_mb();
	return mm ? cpus_of(mm, cpus) : all_cpus(cpus);
}

void flush_tlb_range(struct mm_struct *mm, unsigned long start, unsigned long end,
		     unsigned int level)
{
	struct cpu_set cpus;

	VM_BUG_ON(start >= end);
	VM_BUG_ON((start | end) & (PAGE_SIZE - 1));
	if (flush_needed(mm, &cpus))
		octavo_port_tlb_flush(
			&(struct octavo_tlb_flush){
				.mm = mm, .start = start, .end = end, .level = level },
			cpus.bits);
}

void flush_tlb_tables(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct cpu_set cpus;

	VM_BUG_ON(start >= end);
	VM_BUG_ON((start | end) & (PAGE_SIZE - 1));
	if (flush_needed(mm, &cpus))
		octavo_port_tlb_flush(
			&(struct octavo_tlb_flush){
				.mm = mm, .start = start, .end = end, .freed_tables = true },
			cpus.bits);
}

/* ---- the gather ---- */

static void forget_range(struct mmu_gather *tlb)
{
	tlb->start = ~0ul;
	tlb->end = 0;
	tlb->levels = 0;
	tlb->freed_tables = false;
}

/* The next run goes to @batch, NULL for the stack, which is empty. */
static void use_batch(struct mmu_gather *tlb, struct tlb_batch *batch)
{
	struct tlb_run *run = batch ? batch->run : tlb->stack;

	run[0] = (struct tlb_run){ 0 };
	tlb->active = batch;
	tlb->next = run + 1;
	tlb->limit = tlb->next + (batch ? batch->max : TLB_GATHER_STACK);
}

void tlb_gather_mmu(struct mmu_gather *tlb, struct mm_struct *mm)
{
	tlb->mm = mm;
	tlb->fullmm = false;
	tlb->tables = NULL;
	tlb->first = NULL;
	tlb->nr_batches = 0;
	use_batch(tlb, NULL);
	forget_range(tlb);
}

void tlb_gather_mmu_fullmm(struct mmu_gather *tlb, struct mm_struct *mm)
{
	tlb_gather_mmu(tlb, mm);
	tlb->fullmm = true;
}

void tlb_note_range(struct mmu_gather *tlb, unsigned long start, unsigned long end,
		    unsigned int level)
{
	VM_BUG_ON(start >= end);
	tlb->start = min(tlb->start, start);
	tlb->end = max(tlb->end, end);
	tlb->levels |= 1u << level;
}

void tlb_flush_mmu_tlbonly(struct mmu_gather *tlb)
{
	struct octavo_tlb_flush what = { .mm = tlb->mm };
	struct cpu_set cpus;

	if (tlb->fullmm) {
		/* nobody is in it; a CPU that has not been told so forgets all of it */
		what.end = TASK_SIZE_MAX;
		what.freed_tables = true;
	} else if (tlb->start != ~0ul) {
		what.start = tlb->start;
		what.end = tlb->end;
		what.level = (unsigned int)ilog2(tlb->levels & -tlb->levels);
		what.freed_tables = tlb->freed_tables;
	} else {
		return;
	}
	if (flush_needed(tlb->mm, &cpus))
		octavo_port_tlb_flush(&what, cpus.bits);
	forget_range(tlb);
}

/* ---- what waits for the flush ---- */

/* Folios are put together, as many as there are up to the next plain page. Return: the first run that was not. */
static const struct tlb_run *drop_folios(const struct tlb_run *run, const struct tlb_run *end)
{
	struct folio *folios[DROP_FOLIOS];
	u32 refs[DROP_FOLIOS], n = 0;

	for (; run < end && n < DROP_FOLIOS && !((unsigned long)run->obj & RUN_PAGE); run++, n++) {
		folios[n] = run->obj;
		if (unlikely(folio_test_flag(folios[n], PG_swapcache)))
			folio_leave_swap(folios[n]);
		refs[n] = (u32)run->nr;
	}
	folios_put_refs(folios, refs, n);
	return run;
}

static void drop_runs(const struct tlb_run *run, const struct tlb_run *end)
{
	while (run < end) {
		unsigned long obj = (unsigned long)run->obj;

		if (!(obj & RUN_PAGE)) {
			run = drop_folios(run, end);
			continue;
		}
		for (unsigned long n = run->nr; n; n--)
			put_page((struct page *)(obj & ~RUN_PAGE));
		run++;
	}
}

/* Batches are filled in their order, so those before the active one are full. */
static void drop_all_runs(struct mmu_gather *tlb)
{
	struct tlb_run *first = tlb->stack + 1;

	if (!tlb->active) {
		drop_runs(first, tlb->next);
		return;
	}
	drop_runs(first, first + TLB_GATHER_STACK);
	for (struct tlb_batch *b = tlb->first; b != tlb->active; b = b->next)
		drop_runs(b->run + 1, b->run + 1 + b->max);
	drop_runs(tlb->active->run + 1, tlb->next);
}

static void drop_tables(struct mmu_gather *tlb)
{
	struct ptdesc *pt = tlb->tables;

	tlb->tables = NULL;
	while (pt) {
		struct ptdesc *next = pt->next;

		pagetable_free_rcu(pt);
		pt = next;
	}
}

void tlb_flush_mmu(struct mmu_gather *tlb)
{
	tlb_flush_mmu_tlbonly(tlb);
	drop_all_runs(tlb);
	use_batch(tlb, NULL);
	drop_tables(tlb);
}

void tlb_finish_mmu(struct mmu_gather *tlb)
{
	tlb_flush_mmu(tlb);
	while (tlb->first) {
		struct tlb_batch *b = tlb->first;

		tlb->first = b->next;
		free_frozen_pages(virt_to_page(b), 0);
	}
}

bool __tlb_make_room(struct mmu_gather *tlb)
{
	struct tlb_batch **link = tlb->active ? &tlb->active->next : &tlb->first;

	if (!*link) {
		struct page *page;

		if (tlb->nr_batches == MAX_BATCHES)
			return true;
		page = alloc_frozen_pages(GFP_NOWAIT, 0);
		if (!page)
			return true;
		*link = page_address(page);
		**link = (struct tlb_batch){ .max = BATCH_RUNS };
		tlb->nr_batches++;
	}
	use_batch(tlb, *link);
	return false;
}

void __tlb_overflow(struct mmu_gather *tlb)
{
	octavo_panic("mmu_gather: full, and no tlb_flush_mmu()");
}

bool tlb_remove_page(struct mmu_gather *tlb, struct page *page)
{
	/* page words are 8 bytes: the low bits of a pointer to one are free */
	return tlb_remove_folio(tlb, (void *)((unsigned long)page | RUN_PAGE), 1);
}

void tlb_remove_table(struct mmu_gather *tlb, struct ptdesc *pt)
{
	pt->next = tlb->tables;
	tlb->tables = pt;
	tlb->freed_tables = true;
}
