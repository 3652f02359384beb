// SPDX-License-Identifier: MIT
/*
 * swap_ahead.c - reading slots before anybody needs them: around a fault, and where somebody says so.
 *
 * What is read goes to the cache and no further: nobody waits for it here, it is not mapped, and a slot that is gone is left alone. Around a
 * fault it is also left alone if memory is short or the device has as many transfers as it takes: nothing sleeps there but the device's
 * own submit. Neighbours are those in the page table, not those on the device: what a program will touch next is
 * near in its addresses, and a slot that happens to be near may be anybody's.
 *
 * MADV_WILLNEED begins a read of all that is in slots, however large the range: slots are collected with mmap_lock held, and read without it,
 * because who begins a read waits for the device to have a transfer free, and for memory. It ends where there is none.
 *
 * How many? Each area remembers the page that was last brought in, a window, and how many of the pages that were read ahead last time
 * have to be asked for before that was worth it: half of them. A fault for which the device has to be asked
 *
 *	near that page, upwards or downwards, when it was worth it	reads twice the window in that direction
 *	elsewhere, when it was worth it					the same, around itself
 *	when it was not							a quarter of it
 *
 * so memory that is read in order is soon read by the limit, and where accesses are random only what is needed is read.
 * A folio that was read ahead is marked (PG_readahead), and the first fault that finds it counts it and takes
 * the mark away. All of it is a hint, and changed without a lock: what two faults at once lose is a count.
 *
 * Devices that are memory (SWAP_FLAG_SYNC) are not read ahead: a page costs the same later.
 */
#include <octavo/swap.h>

#include "fault.h"
#include "span.h"

/* Pages, the one of the fault among them where it is read around; 1: nothing is read ahead. */
#define WINDOW_FIRST 4u
#define WINDOW_MAX   SWAP_AHEAD_MAX

/* An area's word: the page, the window, and how many have to be asked for. 0: nothing was brought in yet. */
#define AHEAD_WINDOW_SHIFT 6
#define AHEAD_FIELD	   63ul
BUILD_BUG_ON(WINDOW_MAX > AHEAD_FIELD || 2 * AHEAD_WINDOW_SHIFT > PAGE_SHIFT);

static u64 ahead_word(unsigned long addr, unsigned int window, unsigned int need)
{
	return addr | window << AHEAD_WINDOW_SHIFT | need;
}

static unsigned int ahead_window(u64 word)
{
	return word >> AHEAD_WINDOW_SHIFT & AHEAD_FIELD;
}

static unsigned int ahead_need(u64 word)
{
	return word & AHEAD_FIELD;
}

/* The window of a fault that has to read, and where from it: 1 after it, -1 before it, 0 around it. */
static unsigned int next_window(u64 word, unsigned long addr, int *side)
{
	long steps = ((long)addr - (long)(word & PAGE_MASK)) / (long)PAGE_SIZE;
	unsigned int window = ahead_window(word);
	long near = (long)window + 1;

	*side = 0;
	if (!word)
		return WINDOW_FIRST;
	if (ahead_need(word))
		return max(window / 4, 1u);
	if (!steps || steps > near || steps < -near)
		return window;
	*side = steps > 0 ? 1 : -1;
	return min(2 * window, WINDOW_MAX);
}

/* For nobody's fault: waits neither for memory nor for the device. */
#define GFP_AHEAD (GFP_NOWAIT | __GFP_MOVABLE | __GFP_NORETRY | __GFP_NOWARN)
/* Because somebody asked: waits for the device, and for what one reclaim gives. */
#define GFP_ADVISED (GFP_HIGHUSER_MOVABLE | __GFP_NORETRY | __GFP_NOWARN)

/* Return: false: this is not the time for it: there is no memory, or the device has enough to do. @flags, @gfp: as swapin_begin() */
static bool read_ahead(swp_entry_t entry, u32 flags, gfp_t gfp)
{
	struct folio *folio;
	int err;

	if (!swap_uncached_run(entry, 1))
		return true;
	folio = swapin_begin(entry, 1, flags, gfp, &err);
	if (!folio)
		return err != -ENOMEM && err != -EAGAIN;
	folio_put(folio);
	if (flags)
		swap_note_ahead(entry, false);
	return true;
}

/* Context: mmap_lock, so the table stays; what an entry was is a hint, and a slot that is gone cannot be read. */
static void plan_page(const struct fault *f, unsigned long addr, struct swap_ahead *ahead)
{
	const unsigned long table = level_size(PGTABLE_LEVEL_PMD) - 1;
	pte_t e;

	if (addr < f->vma->vm_start || addr >= f->vma->vm_end || (addr ^ f->addr) & ~table)
		return;
	e = ptep_get(f->pos.ptep + ((long)addr - (long)f->addr) / (long)PAGE_SIZE);
	if (addr != f->addr && pte_is_swap_slot(e))
		ahead->slot[ahead->nr++] = pte_to_swp_entry(e);
}

void swap_ahead_plan(const struct fault *f, swp_entry_t entry, struct swap_ahead *ahead)
{
	vm_flags_t flags = f->vma->vm_flags;
	unsigned int window = WINDOW_MAX;
	int side = 1;

	ahead->nr = 0;
	if (flags & VM_RAND_READ || swap_entry_sync(entry))
		return;
	if (!(flags & VM_SEQ_READ))
		window = next_window(READ_ONCE(f->vma->vm_swap_ahead), f->addr, &side);
	for (unsigned long i = 0; window > 1 && i < window; i++) {
		unsigned long addr = (f->addr & ~(window * PAGE_SIZE - 1)) + (i << PAGE_SHIFT);

		/* the nearest first */
		if (side)
			addr = side > 0 ? f->addr + ((i + 1) << PAGE_SHIFT)
					: f->addr - ((i + 1) << PAGE_SHIFT);
		plan_page(f, addr, ahead);
	}
	WRITE_ONCE(f->vma->vm_swap_ahead, ahead_word(f->addr, window, (ahead->nr + 1) / 2));
}

void swap_ahead_found(const struct fault *f, swp_entry_t entry, struct folio *folio)
{
	const u32 mark = 1u << PG_readahead;
	u64 word;

	if (!folio_test_flag(folio, PG_readahead) ||
	    !(fetch_and_relaxed(&folio->flags, ~mark) & mark))
		return;
	swap_note_ahead(entry, true);
	word = READ_ONCE(f->vma->vm_swap_ahead);
	WRITE_ONCE(f->vma->vm_swap_ahead,
		   ahead_word(f->addr, ahead_window(word), max(ahead_need(word), 1u) - 1));
}

void swap_ahead_read(const struct swap_ahead *ahead)
{
	for (u32 i = 0; i < ahead->nr; i++)
		if (!read_ahead(ahead->slot[i], 1u << PG_readahead, GFP_AHEAD))
			return;
}

/* ---- MADV_WILLNEED ---- */

/* Slots of a span, as many as there is room for. Context: the ptl. Return: the address after the last entry looked at. */
static unsigned long collect(const struct pt_span *span, struct willneed *w)
{
	const pte_t *ptep = span->ptep;
	unsigned long addr = span->addr;

	if (span->level)
		return span->end;
	for (; addr < span->end && w->nr < WILLNEED_BATCH; addr += PAGE_SIZE, ptep++) {
		pte_t e = ptep_get(ptep);

		if (pte_is_swap_slot(e))
			w->slot[w->nr++] = pte_to_swp_entry(e);
	}
	return addr;
}

unsigned long willneed_collect(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			       struct willneed *w)
{
	struct pt_span span;

	while (w->nr < WILLNEED_BATCH && pt_span_next(vma->vm_mm, start, end, &span)) {
		start = collect(&span, w);
		pt_span_unlock(&span);
	}
	return w->nr < WILLNEED_BATCH ? end : start;
}

bool willneed_read(struct willneed *w)
{
	bool more = true;

	for (u32 i = 0; more && i < w->nr; i++)
		more = read_ahead(w->slot[i], 0, GFP_ADVISED);
	w->nr = 0;
	return more;
}
