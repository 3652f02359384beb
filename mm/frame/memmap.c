/* SPDX-License-Identifier: MIT */
/*
 * memmap.c - from the embedder's regions to a memory map: metadata, sections, words, zones.
 *
 * Metadata is one contiguous buffer: section table, trees, bitmap, words, zones, per-CPU areas, poison
 * table, each page aligned, each dimensioned for every pfn below max_pfn. All of it means "idle, free, absent"
 * when it reads as zero. So a machine with terabytes of idle memory or wide holes needs addresses for its
 * metadata, not memory: bringing it up writes two bytes for each 16 MiB that are there, the words of
 * frames that are never to be used, and little else.
 *
 * The order of octavo_init(): everything that can fail is computed from the list alone and checked (struct
 * plan); then commit() cannot fail. Nothing is written before.
 *
 * A section (16 MiB) is the unit of presence, zone and node. A section with no usable frame is absent: its
 * words, trees and bits are never touched. In a present section, frames that are not usable are
 * plain pages of subtype Reserved, and taken in the allocator's books for ever. A section that two nodes share
 * goes to the node of its first run. Zones are decided by address, except that the top movable_bytes of
 * each node, rounded up to sections, are ZONE_MOVABLE; sections that the metadata was carved from are left
 * out of that, because what never moves has no place there. (So a zone may have one span more than there
 * are runs: below and above the movable sections.)
 *
 * What it does not do: allocate (alloc.c), hot-plug (hotplug.c), parse the list (regions.c).
 */
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/page.h>
#include <octavo/string.h>

#include "../init.h"
#include "frame_internal.h"
#include "memmap.h"

/* Byte offsets in metadata. */
struct layout {
	u64 section, tree, bits, word, zones, cpu, poison, total;
};

struct plan {
	const struct octavo_boot *boot;
	unsigned long max_pfn;
	struct layout at;
	char *meta;
	unsigned long carved, nr_carved; /* frames; none if the embedder brought metadata */
	u64 movable;			 /* frames wanted in each node's ZONE_MOVABLE */
	u64 usable[OCTAVO_NR_NODES];	 /* frames that ZONE_MOVABLE could get */
};

static u64 take(u64 *total, u64 bytes)
{
	u64 at = *total;

	*total += ALIGN(bytes, PAGE_SIZE);
	return at;
}

static void plan_layout(struct plan *p)
{
	const struct octavo_boot *boot = p->boot;
	struct layout *at = &p->at;
	struct region_run run;

	p->max_pfn = boot->max_phys >> PAGE_SHIFT;
	for_each_run(boot, &run) p->max_pfn = max(p->max_pfn, run.end);
	p->max_pfn = ALIGN(p->max_pfn, PAGES_PER_SECTION);
	at->total = 0;
	at->section = take(&at->total, (p->max_pfn >> SECTION_ORDER) * sizeof(section_t));
	at->tree = take(&at->total, (p->max_pfn >> OCTAVO_TREE_ORDER) * sizeof(struct tree));
	at->bits = take(&at->total, (p->max_pfn >> OCTAVO_ROW_ORDER) * sizeof(unsigned long));
	at->word = take(&at->total, p->max_pfn * sizeof(struct page));
	at->zones = take(&at->total, OCTAVO_NR_NODES * NR_ZONES * sizeof(struct zone));
	at->cpu = take(&at->total, boot->nr_cpus * frame_cpu_size());
	at->poison = take(&at->total, poison_size());
}

u64 octavo_metadata_size(const struct octavo_boot *boot)
{
	struct plan p = { .boot = boot };

	if (regions_check(boot))
		return 0;
	plan_layout(&p);
	return p.at.total;
}

/* Is some of the embedder's buffer in memory that is to be handed out? */
static bool meta_in_usable(const struct plan *p)
{
	/* modulo 2^64: it may well be below the direct map */
	unsigned long at = (unsigned long)p->boot->meta - (unsigned long)p->boot->direct_map;
	struct region_run run;

	for_each_run(p->boot, &run)
	{
		unsigned long start = run.start << PAGE_SHIFT;

		if (start - at < p->at.total || at - start < (run.end << PAGE_SHIFT) - start)
			return true;
	}
	return false;
}

/* The embedder's buffer, or the top of the largest run. */
static int plan_metadata(struct plan *p)
{
	const struct octavo_boot *boot = p->boot;
	struct region_run run, best = { 0 };

	if (boot->meta) {
		if (!IS_ALIGNED((unsigned long)boot->meta, PAGE_SIZE)) {
			pr_err("metadata at %p is not page aligned", boot->meta);
			return -EINVAL;
		}
		if (boot->meta_size < p->at.total) {
			pr_err("metadata needs 0x%lx bytes, has 0x%lx", p->at.total,
			       boot->meta_size);
			return -ENOMEM;
		}
		if (meta_in_usable(p)) {
			pr_err("metadata at %p is in a usable region", boot->meta);
			return -EINVAL;
		}
		p->meta = boot->meta;
		return 0;
	}
	for_each_run(boot, &run) if (run.end - run.start > best.end - best.start) best = run;
	p->nr_carved = p->at.total >> PAGE_SHIFT;
	if (best.end - best.start <= p->nr_carved) {
		pr_err("metadata needs %lu frames, the largest region has %lu", p->nr_carved,
		       best.end - best.start);
		return -ENOMEM;
	}
	p->carved = best.end - p->nr_carved;
	p->meta = (char *)boot->direct_map + (p->carved << PAGE_SHIFT);
	return 0;
}

/* ---- sections ---- */

/* A walk over the sections that have usable frames, in ascending order. */
struct section_walk {
	const struct plan *p;
	struct region_run run; /* the run to look at next; start == end: none is left */
	unsigned long section;
	u32 node;
	bool shared;	       /* another node has frames in it too */
	unsigned long frames;  /* usable */
	unsigned long managed; /* of those, not carved for metadata */
	u64 below;	       /* managed frames of this node in sections before */
	u64 seen[OCTAVO_NR_NODES];
};

static void walk_advance(struct section_walk *w)
{
	if (!regions_next(w->p->boot, w->run.end, &w->run))
		w->run.start = w->run.end;
}

static void walk_start(struct section_walk *w, const struct plan *p)
{
	memset(w, 0, sizeof(*w));
	w->p = p;
	walk_advance(w);
}

static unsigned long overlap(unsigned long a, unsigned long a_end, unsigned long b,
			     unsigned long b_end)
{
	unsigned long lo = max(a, b), hi = min(a_end, b_end);

	return lo < hi ? hi - lo : 0;
}

static bool walk_next(struct section_walk *w)
{
	unsigned long start, end;

	if (w->run.start == w->run.end)
		return false;
	w->section = w->run.start >> SECTION_ORDER;
	w->node = w->run.node;
	w->shared = false;
	w->frames = 0;
	start = w->section << SECTION_ORDER;
	end = start + PAGES_PER_SECTION;
	while (w->run.start < w->run.end && w->run.start < end) {
		w->frames += min(w->run.end, end) - w->run.start;
		w->shared |= w->run.node != w->node;
		if (w->run.end > end)
			w->run.start = end;
		else
			walk_advance(w);
	}
	w->managed = w->frames - overlap(start, end, w->p->carved, w->p->carved + w->p->nr_carved);
	w->below = w->seen[w->node];
	w->seen[w->node] += w->managed;
	return true;
}

static bool section_movable(const struct section_walk *w)
{
	const struct plan *p = w->p;
	u64 usable = p->usable[w->node];

	return w->managed == w->frames && w->below + w->managed + min(p->movable, usable) > usable;
}

static int plan_zones(struct plan *p)
{
	struct section_walk w;
	u64 others = 0;

	p->movable = p->boot->movable_bytes >> PAGE_SHIFT;
	walk_start(&w, p);
	while (walk_next(&w))
		p->usable[w.node] += w.managed;
	walk_start(&w, p);
	while (walk_next(&w))
		others += section_movable(&w) ? 0 : w.managed;
	if (!others) {
		pr_err("movable_bytes 0x%lx leave nothing for anything else",
		       p->boot->movable_bytes);
		return -EINVAL;
	}
	return 0;
}

/* ---- commit: from here on nothing fails ---- */

static u32 limit_section(u64 limit, u64 deflt, unsigned long max_pfn)
{
	limit = limit == ~0ull ? 0 : limit ? limit : deflt;
	return (u32)(min(limit >> PAGE_SHIFT, (u64)max_pfn) >> SECTION_ORDER);
}

enum zone_type section_kernel_zone(unsigned long section)
{
	if (section < octavo_state.frame.dma_end)
		return ZONE_DMA;
	return section < octavo_state.frame.dma32_end ? ZONE_DMA32 : ZONE_NORMAL;
}

struct zone *zone_get(u32 node, enum zone_type type)
{
	struct frame_state *f = &octavo_state.frame;
	struct zone *z = f->zone[node][type];

	if (!z) {
		z = &f->zones[f->nr_zones_made];
		z->node = node;
		z->type = type;
		/* before anybody finds it: until it is set, the zone's deltas would be those of key 0 */
		WRITE_ONCE(z->key, (section_t)(SECTION_PRESENT | node << SECTION_NODE_SHIFT |
					       (u32)type << SECTION_ZONE_SHIFT));
		/* release: pairs with the acquire in magazine_empty(): the key is set */
		smp_store_release(&f->nr_zones_made, f->nr_zones_made + 1);
		/* release: pairs with the acquire of allocators and of zone_stat(): node, type, key are set */
		smp_store_release(&f->zone[node][type], z);
	}
	return z;
}

static void reserve_frames(unsigned long pfn, unsigned long end)
{
	if (pfn >= end)
		return;
	words_fill_release(&pfn_to_page(pfn)->memdesc.v, memdesc_misc_frozen(MISC_RESERVED, 0).v,
			   end - pfn);
	frame_mark_used(pfn, end - pfn);
}

/* The frames of a present section that no run has, and those that metadata was carved from. */
static void reserve_in_section(const struct plan *p, const struct section_walk *w)
{
	unsigned long pfn = w->section << SECTION_ORDER, end = pfn + PAGES_PER_SECTION;
	unsigned long carved_end = p->carved + p->nr_carved;
	struct region_run run;

	if (w->managed < w->frames)
		reserve_frames(max(pfn, p->carved), min(end, carved_end));
	if (w->frames == PAGES_PER_SECTION)
		return;
	while (pfn < end && regions_next(p->boot, pfn, &run)) {
		reserve_frames(pfn, min(run.start, end));
		pfn = run.end;
	}
	reserve_frames(pfn, end);
}

static void commit_section(const struct plan *p, const struct section_walk *w)
{
	enum zone_type type = section_movable(w) ? ZONE_MOVABLE : section_kernel_zone(w->section);
	struct zone *z = zone_get(w->node, type);

	if (w->shared)
		pr_warn("section 0x%lx is shared by nodes: all of it goes to node %u", w->section,
			w->node);
	zone_span_add(z, (u32)w->section, 1);
	z->present += w->frames;
	z->managed += w->managed;
	/* release: pairs with pfn_valid(); nobody runs yet, but a section goes online in one way only */
	smp_store_release(&octavo_state.frame.section[w->section],
			  (section_t)(SECTION_PRESENT | (u32)type << SECTION_ZONE_SHIFT |
				      w->node << SECTION_NODE_SHIFT));
	reserve_in_section(p, w);
}

static void commit(const struct plan *p)
{
	const struct octavo_boot *boot = p->boot;
	struct frame_state *f = &octavo_state.frame;
	struct section_walk w;

	if (p->nr_carved)
		memset(p->meta, 0, p->at.total);
	f->section = (section_t *)(void *)(p->meta + p->at.section);
	f->tree = (struct tree *)(void *)(p->meta + p->at.tree);
	f->bits = (unsigned long *)(void *)(p->meta + p->at.bits);
	f->vmemmap = (struct page *)(void *)(p->meta + p->at.word);
	f->zones = (struct zone *)(void *)(p->meta + p->at.zones);
	f->cpu = (struct frame_cpu *)(void *)(p->meta + p->at.cpu);
	f->direct_map = boot->direct_map;
	f->max_pfn = p->max_pfn;
	f->nr_cpus = boot->nr_cpus;
	f->dma_end = limit_section(boot->dma_limit, 16ull << 20, p->max_pfn);
	f->dma32_end = limit_section(boot->dma32_limit, 4ull << 30, p->max_pfn);
	f->meta_first = p->carved;
	f->meta_frames = p->nr_carved;
	spin_lock_init(&f->hotplug_lock);
	poison_init(p->meta + p->at.poison);
	walk_start(&w, p);
	while (walk_next(&w))
		commit_section(p, &w);
	for (u32 i = 0; i < f->nr_zones_made; i++)
		zone_account_free(&f->zones[i], (s64)f->zones[i].managed);
	frame_alloc_init();
}

int frame_init(const struct octavo_boot *boot)
{
	struct plan p = { .boot = boot };
	int err = regions_check(boot);

	if (err)
		return err;
	if (!IS_ALIGNED((unsigned long)boot->direct_map, PAGE_SIZE)) {
		pr_err("the direct map at %p is not page aligned", boot->direct_map);
		return -EINVAL;
	}
	plan_layout(&p);
	err = plan_metadata(&p);
	if (err)
		return err;
	err = plan_zones(&p);
	if (err)
		return err;
	commit(&p);
	return 0;
}

u64 frame_exit(void)
{
	return frame_drain_exit();
}

/* ---- checks ---- */

static bool span_validate(const struct zone *z, const struct zone_span *s, u64 *sections)
{
	const struct frame_state *f = &octavo_state.frame;
	const section_t mask = SECTION_PRESENT | SECTION_ZONE_MASK | SECTION_NODE_MASK;
	section_t want = (section_t)(SECTION_PRESENT | (u32)z->type << SECTION_ZONE_SHIFT |
				     z->node << SECTION_NODE_SHIFT);

	if (s->nr && (u64)s->first + s->nr > f->max_pfn >> SECTION_ORDER) {
		pr_err("zone %u/%s: span beyond the end", z->node, zone_name(z->type));
		return false;
	}
	for (u32 i = s->first; i < s->first + s->nr; i++) {
		if ((f->section[i] & mask) != want) {
			pr_err("zone %u/%s: section 0x%x says 0x%x", z->node, zone_name(z->type), i,
			       f->section[i]);
			return false;
		}
	}
	*sections += s->nr;
	return true;
}

bool memmap_validate(void)
{
	const struct frame_state *f = &octavo_state.frame;
	u64 present = 0, spanned = 0;
	bool ok = true;

	for (u64 i = 0; i < f->max_pfn >> SECTION_ORDER; i++)
		present += (f->section[i] & SECTION_PRESENT) != 0;
	for (u32 i = 0; i < f->nr_zones_made; i++) {
		const struct zone *z = &f->zones[i];
		u64 sections = 0;

		for (u32 s = 0; s < z->nr_spans; s++)
			ok &= span_validate(z, &z->span[s], &sections);
		if (f->zone[z->node][z->type] != z || z->managed > z->present ||
		    z->present > sections << SECTION_ORDER) {
			pr_err("zone %u/%s: present %lu, managed %lu in %lu sections", z->node,
			       zone_name(z->type), z->present, z->managed, sections);
			ok = false;
		}
		spanned += sections;
	}
	if (present != spanned) {
		pr_err("%lu sections are present, zones span %lu", present, spanned);
		ok = false;
	}
	return poison_validate() && ok;
}
