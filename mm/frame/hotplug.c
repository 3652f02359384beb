/* SPDX-License-Identifier: MIT */
/*
 * hotplug.c - memory that comes and goes while the machine runs.
 *
 * All of it under hotplug_lock, all or nothing: what can fail is asked first. Everything else runs on beside
 * it and reads sections, spans and words without a lock.
 *
 * Adding: the words, trees and bits of an absent section read as zero, which is "free". Spans and counts first,
 * then the section's entry, with release: from then on its frames are handed out.
 *
 * Removing: isolate the range, so that nothing is handed out of it and what is freed stays there; if all
 * of it is free, clear the sections' entries, then spans and counts. The blocks stay isolated as long as the
 * section is absent: an allocator that saw the section present a moment ago finds nothing to take. Adding
 * it again ends the isolation, last. Words of free frames are zero already, and stay readable.
 *
 * Device memory comes and goes in the same way, but has no free frames: all of it is taken in the allocator's books
 * before it is present, and stays taken when it is gone (SECTION_TAKEN), until ordinary memory comes to the same place.
 * So to take it away needs nothing that can fail.
 *
 * What it does not do: move what is in use out of the way (that is migration's, above), or say what device
 * memory is used for (mm/device/).
 */
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/page.h>

#include "frame_internal.h"
#include "memmap.h"

struct range {
	u32 first, end; /* sections */
};

static int range_of(u64 base, u64 size, struct range *r)
{
	const struct frame_state *f = &octavo_state.frame;

	if (!octavo_state.up || !size || !IS_ALIGNED(base | size, SECTION_SIZE) ||
	    base + (size - 1) < base || (base + (size - 1)) >> PAGE_SHIFT >= f->max_pfn)
		return -EINVAL;
	r->first = (u32)(base >> PAGE_SHIFT >> SECTION_ORDER);
	r->end = r->first + (u32)(size >> PAGE_SHIFT >> SECTION_ORDER);
	return 0;
}

static unsigned long section_pfn(u32 section)
{
	return (unsigned long)section << SECTION_ORDER;
}

static unsigned long frames(struct range r)
{
	return section_pfn(r.end) - section_pfn(r.first);
}

/* ---- adding ---- */

static enum zone_type added_zone(u32 section, bool movable)
{
	return movable ? ZONE_MOVABLE : section_kernel_zone(section);
}

/* The front part of [@first, @end) that goes to one zone. */
static struct range added_piece(u32 first, u32 end, bool movable)
{
	struct range r = { first, first + 1 };

	while (r.end < end && added_zone(r.end, movable) == added_zone(first, movable))
		r.end++;
	return r;
}

static int add_check(struct range r, u32 node, bool movable)
{
	struct range piece;

	for (u32 i = r.first; i < r.end; i++)
		if (octavo_state.frame.section[i] & SECTION_PRESENT)
			return -EEXIST;
	for (u32 i = r.first; i < r.end; i = piece.end) {
		struct zone *z = octavo_state.frame.zone[node][added_zone(i, movable)];

		piece = added_piece(i, r.end, movable);
		if (z && !zone_span_room(z, i, piece.end - i, true))
			return -E2BIG;
	}
	return 0;
}

static void add_piece(struct range r, u32 node, enum zone_type type)
{
	section_t *section = octavo_state.frame.section;
	struct zone *z = zone_get(node, type);

	zone_span_add(z, r.first, r.end - r.first);
	WRITE_ONCE(z->present, z->present + frames(r));
	WRITE_ONCE(z->managed, z->managed + frames(r));
	zone_account_free(z, (s64)frames(r));
	zone_calc_watermarks(z);
	for (u32 i = r.first; i < r.end; i++) {
		bool removed = section[i] & SECTION_REMOVED;

		/* the zone takes over what is isolated, and frame_unisolate() counts it off */
		if (removed)
			fetch_add_relaxed(&z->isolated, (s64)PAGES_PER_SECTION);
		/* before it is present: nobody else looks here */
		if (section[i] & SECTION_TAKEN)
			frame_mark_free(section_pfn(i), PAGES_PER_SECTION);
		/* release: pairs with pfn_valid() and the allocator: span, node, zone, counts are set */
		smp_store_release(&section[i],
				  (section_t)(SECTION_PRESENT | (u32)type << SECTION_ZONE_SHIFT |
					      node << SECTION_NODE_SHIFT));
		if (removed)
			frame_unisolate(section_pfn(i), PAGES_PER_SECTION);
	}
}

int octavo_add_memory(u64 base, u64 size, u32 node, bool movable)
{
	struct frame_state *f = &octavo_state.frame;
	struct range r, piece;
	int err = range_of(base, size, &r);

	if (err || node >= OCTAVO_NR_NODES)
		return -EINVAL;
	spin_lock(&f->hotplug_lock);
	err = add_check(r, node, movable);
	for (u32 i = r.first; !err && i < r.end; i = piece.end) {
		piece = added_piece(i, r.end, movable);
		add_piece(piece, node, added_zone(i, movable));
	}
	spin_unlock(&f->hotplug_lock);
	return err;
}

/* ---- removing ---- */

static struct zone *section_zone(u32 section)
{
	return octavo_state.frame
		.zone[pfn_to_nid(section_pfn(section))][pfn_zone(section_pfn(section))];
}

/* The front part of [@first, @end) that is in one zone. All of it is present. */
static struct range present_piece(u32 first, u32 end)
{
	struct range r = { first, first + 1 };

	while (r.end < end && section_zone(r.end) == section_zone(first))
		r.end++;
	return r;
}

static int remove_check(struct range r)
{
	struct range piece;

	for (u32 i = r.first; i < r.end; i++)
		if (!(octavo_state.frame.section[i] & SECTION_PRESENT))
			return -EINVAL;
	for (u32 i = r.first; i < r.end; i = piece.end) {
		piece = present_piece(i, r.end);
		if (!zone_span_room(section_zone(i), i, piece.end - i, false))
			return -E2BIG;
	}
	return 0;
}

static void remove_piece(struct range r)
{
	struct zone *z = section_zone(r.first);

	for (u32 i = r.first; i < r.end; i++)
		/* release: whoever reads that it is absent also reads that its frames were given up */
		smp_store_release(&octavo_state.frame.section[i], (section_t)SECTION_REMOVED);
	zone_span_cut(z, r.first, r.end - r.first);
	/* all of it is free, so that much of it is isolated */
	fetch_sub_relaxed(&z->isolated, (s64)frames(r));
	WRITE_ONCE(z->present, z->present - frames(r));
	WRITE_ONCE(z->managed, z->managed - frames(r));
	zone_account_free(z, -(s64)frames(r));
	zone_calc_watermarks(z);
}

int octavo_remove_memory(u64 base, u64 size)
{
	struct frame_state *f = &octavo_state.frame;
	struct range r, piece;
	int err = range_of(base, size, &r);

	if (err)
		return err;
	spin_lock(&f->hotplug_lock);
	err = remove_check(r);
	if (!err)
		err = frame_isolate(section_pfn(r.first), frames(r));
	if (!err && frame_range_used(section_pfn(r.first), frames(r))) {
		frame_unisolate(section_pfn(r.first), frames(r));
		err = -EBUSY;
	}
	for (u32 i = r.first; !err && i < r.end; i = piece.end) {
		piece = present_piece(i, r.end);
		remove_piece(piece);
	}
	spin_unlock(&f->hotplug_lock);
	return err;
}

/* ---- devices ---- */

static int device_range_of(unsigned long pfn, unsigned long nr, struct range *r)
{
	/* so that nothing below overflows */
	if ((pfn | nr) >> (BITS_PER_LONG - 1 - PAGE_SHIFT))
		return -EINVAL;
	return range_of((u64)pfn << PAGE_SHIFT, (u64)nr << PAGE_SHIFT, r);
}

static int device_check(struct range r, u32 nid)
{
	struct zone *z = octavo_state.frame.zone[nid][ZONE_DEVICE];

	for (u32 i = r.first; i < r.end; i++)
		if (octavo_state.frame.section[i] & SECTION_PRESENT)
			return -EEXIST;
	return z && !zone_span_room(z, r.first, r.end - r.first, true) ? -E2BIG : 0;
}

static void device_add_section(u32 i, u32 nid)
{
	section_t *section = &octavo_state.frame.section[i];
	section_t was = *section;

	words_fill_release(&pfn_to_page(section_pfn(i))->memdesc.v, MEMDESC_DEVICE,
			   PAGES_PER_SECTION);
	if (!(was & SECTION_TAKEN))
		frame_mark_used(section_pfn(i), PAGES_PER_SECTION);
	/* release: pairs with pfn_valid(): words, span, node and zone are set */
	smp_store_release(section,
			  (section_t)(SECTION_PRESENT | (u32)ZONE_DEVICE << SECTION_ZONE_SHIFT |
				      nid << SECTION_NODE_SHIFT));
	if (was & SECTION_REMOVED)
		frame_unisolate(section_pfn(i), PAGES_PER_SECTION);
}

int frame_add_device(unsigned long pfn, unsigned long nr, u32 nid)
{
	struct frame_state *f = &octavo_state.frame;
	struct range r;
	int err = device_range_of(pfn, nr, &r);

	if (err || nid >= OCTAVO_NR_NODES)
		return -EINVAL;
	spin_lock(&f->hotplug_lock);
	err = device_check(r, nid);
	if (!err) {
		struct zone *z = zone_get(nid, ZONE_DEVICE);

		zone_span_add(z, r.first, r.end - r.first);
		WRITE_ONCE(z->present, z->present + frames(r));
		for (u32 i = r.first; i < r.end; i++)
			device_add_section(i, nid);
	}
	spin_unlock(&f->hotplug_lock);
	return err;
}

void frame_remove_device(unsigned long pfn, unsigned long nr)
{
	struct frame_state *f = &octavo_state.frame;
	struct zone *z;
	struct range r;

	BUG_ON(device_range_of(pfn, nr, &r));
	spin_lock(&f->hotplug_lock);
	z = section_zone(r.first);
	/* what is cut is the end of a span, or all of it, but where two ranges became one */
	BUG_ON(!zone_span_room(z, r.first, r.end - r.first, false));
	for (u32 i = r.first; i < r.end; i++)
		/* release: whoever reads that it is absent also reads that nobody has it */
		smp_store_release(&f->section[i], (section_t)SECTION_TAKEN);
	/* release: the memory was used before its words say that it is not */
	words_fill_release(&pfn_to_page(pfn)->memdesc.v, 0, nr);
	zone_span_cut(z, r.first, r.end - r.first);
	WRITE_ONCE(z->present, z->present - frames(r));
	spin_unlock(&f->hotplug_lock);
}
