/* SPDX-License-Identifier: MIT */
/*
 * isolate.c - these very frames: allocate at a place, keep a place free, take any range.
 *
 * All rest on lower_take(), which takes any frames inside a tree or none. A range over several trees is taken
 * tree by tree, and given back when one refuses. The frames may be free but in a CPU's magazine, so before a
 * refusal counts the magazines of all CPUs are drained; not if a word of the range shows that somebody
 * has it, which is the common case and costs one look.
 *
 * Isolation is a flag of a block, set in the counter word that every allocation from the block has to change.
 * So from then on no new promise is made; those made before were counted in used, and stay counted until the
 * frame is freed. Frames that CPUs hold are drained. What is used then can only fall.
 *
 * What it does not do: move what is in the way. A range that somebody is just taking and giving back may be
 * refused although it is free before and after.
 */
#include <octavo/atomic.h>
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/page.h>

#include "frame_cpu.h"
#include "frame_internal.h"

/* 0, or -ENXIO if a section of a range is not there. */
static int check_range(unsigned long pfn, unsigned long nr)
{
	if (!nr || pfn + nr < pfn || pfn + nr > octavo_state.frame.max_pfn)
		return nr ? -ENXIO : -EINVAL;
	for (unsigned long t = pfn_tree(pfn); t <= pfn_tree(pfn + nr - 1); t++)
		if (!pfn_valid(t << OCTAVO_TREE_ORDER))
			return -ENXIO;
	return 0;
}

static unsigned long in_tree(unsigned long pfn, unsigned long end)
{
	return min(end, ALIGN_DOWN(pfn, (unsigned long)TREE_FRAMES) + TREE_FRAMES) - pfn;
}

static bool range_take(unsigned long start, unsigned long end, bool isolated)
{
	unsigned long pos = start;

	while (pos < end) {
		unsigned long n = in_tree(pos, end);

		if (!lower_take(pos, n, isolated, MIGRATE_UNMOVABLE)) {
			if (pos > start)
				zone_give(start, pos - start);
			return false;
		}
		zone_account(READ_ONCE(octavo_state.frame.section[pfn_tree(pos)]), -(long)n);
		pos += n;
	}
	return true;
}

/* Could all of it be free, as far as words tell? */
static bool range_plausible(unsigned long start, unsigned long end)
{
	for (unsigned long pfn = start; pfn < end; pfn++)
		if (READ_ONCE(pfn_to_page(pfn)->memdesc.v))
			return false;
	return true;
}

static int range_alloc(unsigned long start, unsigned long end, unsigned int flags)
{
	bool isolated = flags & FRAME_AT_ISOLATED;

	if (octavo_fault(OCTAVO_FAULT_FRAME))
		return -EBUSY;
	if (!range_take(start, end, isolated)) {
		if (!range_plausible(start, end))
			return -EBUSY;
		frame_drain_all();
		if (!range_take(start, end, isolated))
			return -EBUSY;
	}
	if (unlikely(run_poisoned(start, end - start)) && !(flags & FRAME_AT_POISONED)) {
		keep_out(start, end - start);
		return -EBUSY;
	}
	return 0;
}

int frame_alloc_at(unsigned long pfn, unsigned int order, unsigned int flags)
{
	int err;

	if (order > MAX_FOLIO_ORDER || !IS_ALIGNED(pfn, 1ul << order))
		return -EINVAL;
	err = check_range(pfn, 1ul << order);
	return err ? err : range_alloc(pfn, pfn + (1ul << order), flags);
}

int alloc_contig_range(unsigned long start, unsigned long end)
{
	int err;

	if (start >= end)
		return -EINVAL;
	err = check_range(start, end - start);
	return err ? err : range_alloc(start, end, 0);
}

void free_contig_range(unsigned long start, unsigned long nr)
{
	unsigned long end = start + nr;

	if (!nr || end < start || end > octavo_state.frame.max_pfn)
		octavo_panic("free_contig_range: 0x%lx + 0x%lx is no range", start, nr);
	while (start < end) {
		/* as one run of the largest order that is aligned here and fits */
		int order = min(start ? __builtin_ctzl(start) : MAX_FOLIO_ORDER, MAX_FOLIO_ORDER);

		order = min(order, ilog2(end - start));
		frame_free(start, (unsigned int)order);
		start += 1ul << order;
	}
}

int frame_isolate(unsigned long pfn, unsigned long nr)
{
	unsigned long pos;
	int err;

	if (!IS_ALIGNED(pfn, (unsigned long)BLOCK_FRAMES) ||
	    !IS_ALIGNED(nr, (unsigned long)BLOCK_FRAMES))
		return -EINVAL;
	err = check_range(pfn, nr);
	if (err)
		return err;
	for (pos = pfn; pos < pfn + nr; pos += BLOCK_FRAMES) {
		if (!octavo_fault(OCTAVO_FAULT_FRAME) && lower_isolate(pos, true))
			continue;
		while (pos > pfn) {
			pos -= BLOCK_FRAMES;
			lower_isolate(pos, false);
		}
		return -EBUSY;
	}
	frame_drain_all();
	return 0;
}

void frame_unisolate(unsigned long pfn, unsigned long nr)
{
	if (!IS_ALIGNED(pfn, (unsigned long)BLOCK_FRAMES) ||
	    !IS_ALIGNED(nr, (unsigned long)BLOCK_FRAMES) || check_range(pfn, nr))
		octavo_panic("frame_unisolate: 0x%lx + 0x%lx is no range of blocks", pfn, nr);
	for (unsigned long pos = pfn; pos < pfn + nr; pos += BLOCK_FRAMES)
		if (!lower_isolate(pos, false))
			octavo_panic("frame_unisolate: block of pfn 0x%lx is not isolated", pos);
}

unsigned long frame_range_used(unsigned long pfn, unsigned long nr)
{
	unsigned long max_pfn = octavo_state.frame.max_pfn, end, used;
	unsigned long there = min(nr, pfn < max_pfn ? max_pfn - pfn : 0);

	/* what has no section cannot be had either, and the range may wrap there */
	used = nr - there;
	end = pfn + there;
	while (pfn < end) {
		unsigned long n = in_tree(pfn, end);

		/* what is not there cannot be had */
		used += pfn_valid(pfn) ? lower_used(pfn, n) : n;
		pfn += n;
	}
	return used;
}

bool frame_is_free(unsigned long pfn)
{
	return pfn_valid(pfn) && !lower_used(pfn, 1);
}
