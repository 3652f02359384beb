// SPDX-License-Identifier: MIT
/*
 * swap_ahead.c - reading slots before anybody needs them: around a fault, and where somebody says so.
 *
 * What is read goes to the cache and no further: nobody waits for it here, it is not mapped, and if memory is short or the slot is gone
 * it is left alone. Neighbours are those in the page table, not those on the device: what a program will touch next is
 * near in its addresses, and a slot that happens to be near may be anybody's.
 */
#include <octavo/swap.h>

#include "fault.h"
#include "span.h"

/* Pages around a fault. */
#define READ_AROUND 8u

/* Entries that are collected with one hold of a ptl. */
#define NR_COLLECT 32u

/* Return: false: there is no memory. */
static bool read_ahead(swp_entry_t entry, gfp_t gfp)
{
	struct folio *folio;
	int err;

	if (!swap_uncached_run(entry, 1))
		return true;
	folio = swapin_begin(entry, 1, gfp, &err);
	if (folio)
		folio_put(folio);
	return err != -ENOMEM;
}

void swap_ahead_plan(const struct fault *f, swp_entry_t entry, struct swap_ahead *ahead)
{
	vm_flags_t flags = f->vma->vm_flags;
	unsigned long start = f->addr & ~(READ_AROUND * PAGE_SIZE - 1), end;

	ahead->nr = 0;
	if (flags & VM_RAND_READ || swap_entry_sync(entry))
		return;
	end = start + READ_AROUND * PAGE_SIZE;
	if (flags & VM_SEQ_READ) {
		start = f->addr;
		end = start + SWAP_AHEAD_MAX * PAGE_SIZE;
	}
	start = max(start, f->vma->vm_start);
	start = max(start, f->addr & ~(level_size(PGTABLE_LEVEL_PMD) - 1));
	end = level_addr_end(f->addr, min(end, f->vma->vm_end), PGTABLE_LEVEL_PMD);
	for (unsigned long addr = start; addr < end; addr += PAGE_SIZE) {
		/* under mmap_lock the table stays; what the entry was is a hint, and a slot that is gone cannot be read */
		long away = ((long)addr - (long)f->addr) / (long)PAGE_SIZE;
		pte_t e = ptep_get(f->pos.ptep + away);

		if (away && pte_is_swap_slot(e))
			ahead->slot[ahead->nr++] = pte_to_swp_entry(e);
	}
}

void swap_ahead_read(const struct swap_ahead *ahead)
{
	const gfp_t gfp = GFP_NOWAIT | __GFP_MOVABLE | __GFP_NORETRY | __GFP_NOWARN;

	for (u32 i = 0; i < ahead->nr; i++)
		if (!read_ahead(ahead->slot[i], gfp))
			return;
}

/* Slots of a span, at most NR_COLLECT. Context: the ptl. Return: the address after the last entry looked at. */
static unsigned long collect(const struct pt_span *span, swp_entry_t *slots, unsigned int *nr)
{
	const pte_t *ptep = span->ptep;
	unsigned long addr = span->addr;

	*nr = 0;
	if (span->level)
		return span->end;
	for (; addr < span->end && *nr < NR_COLLECT; addr += PAGE_SIZE, ptep++) {
		pte_t e = ptep_get(ptep);

		if (pte_is_swap_slot(e))
			slots[(*nr)++] = pte_to_swp_entry(e);
	}
	return addr;
}

void madvise_willneed_range(struct vm_area_struct *vma, unsigned long start, unsigned long end)
{
	swp_entry_t slots[NR_COLLECT];
	struct pt_span span;
	unsigned int nr;

	while (pt_span_next(vma->vm_mm, start, end, &span)) {
		start = collect(&span, slots, &nr);
		pt_span_unlock(&span);
		for (unsigned int i = 0; i < nr; i++)
			if (!read_ahead(slots[i], GFP_HIGHUSER_MOVABLE | __GFP_NORETRY))
				return;
	}
}
