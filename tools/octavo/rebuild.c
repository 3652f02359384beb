/* SPDX-License-Identifier: MIT */
/*
 * rebuild.c - build a population with the real allocators and weigh what they use.
 *
 * 1. A machine is booted whose memory is room for descriptors, beyond the end of the population's; then the population's
 *    sections are added and isolated, so that nothing of Octavo's lands there. Memory is hollow: the host backs what is
 *    touched, and nothing touches what a frame would hold.
 * 2. Each allocation is made at its own frames: folios, page tables and plain pages by the allocators' at-functions. A slab of the
 *    machine is bare frames whose words name a 64-byte descriptor from a cache: objects of another kernel's
 *    caches are not known, so neither is whether the descriptor would fit in for nothing; this is the most that it can
 *    cost.
 * 3. Words are counted by type and must be what was asked for. Descriptors are weighed as all frames that are used
 *    beyond the population's, so that slack, free objects and the caches' own structures are all in; the slab caches'
 *    frames say how much of it is whose.
 *
 * What it does not do: guess the order in which the machine allocated, so slabs of descriptors come out as full
 * as on a machine after boot, not after months.
 */
#include "rebuild.h"

#include <stdlib.h>
#include <string.h>

#include <octavo/octavo.h>

#include "sim.h"
#include "tool.h"

static const unsigned int what_if_orders[WHAT_IF_ORDERS] = { 0, 2, 4, 9 };

/* Descriptors may take all that is there: nothing reclaims on this machine. */
#define REBUILD_GFP (__GFP_MEMALLOC | __GFP_NOWARN)

enum { SLAB_DESCRIPTOR = 64, SAMPLE_FRAMES = 1 << 18, BULK = 1024 };
#define SLAB_CACHE_NAME "slab_of_machine"

struct builder {
	const struct population *pop;
	struct octavo_region region[SIM_MAX_REGIONS];
	u32 nr_regions; /* the last one is the room for descriptors */
	u64 gap;	/* sections: holes up to this are filled with reserved frames */
	u64 end;	/* pfn: where the room starts */
	u64 present;	/* sections of the machine */
	u64 meta;	/* bytes of metadata for all pfns below max_pfn */
	struct kmem_cache *slabs;
	struct progress bar;
	u64 done;
	u64 unpoisoned; /* bad frames beyond what the set of them holds: built as offline */
};

/* ---- the memory map ---- */

static u64 run_end(const struct pop_run *r)
{
	return r->pfn + ((u64)r->repeat << r->order);
}

/* Runs of sections that have a frame. False: more than the core can hold. */
static bool plan_regions(struct builder *b)
{
	u64 first = 0, next = 0; /* sections [first, next) so far */
	u32 nr = 0;

	for (u64 i = 0; i <= b->pop->nr_runs; i++) {
		const struct pop_run *r = i < b->pop->nr_runs ? &b->pop->run[i] : NULL;
		u64 from = r ? r->pfn >> SECTION_ORDER : ~0ull;

		if (r && r->type == POP_HOLE)
			continue;
		if (next && (!r || from > next + b->gap)) {
			if (nr + 1 >= SIM_MAX_REGIONS)
				return false;
			b->region[nr++] = (struct octavo_region){
				.base = first * SECTION_SIZE,
				.size = (next - first) * SECTION_SIZE,
			};
			next = 0;
		}
		if (!r)
			break;
		if (!next)
			first = from;
		next = max(next, ((run_end(r) - 1) >> SECTION_ORDER) + 1);
	}
	b->nr_regions = nr;
	return true;
}

/* Bytes that the descriptors take at most, generously: the room is hollow too. */
static u64 room_for(const struct population *pop)
{
	u64 bytes = 256ull << 20;

	for (unsigned int o = 0; o <= POP_MAX_ORDER; o++) {
		u64 each = o == 0 ? 56 : o <= 6 ? 80 : o <= 9 ? 160 : 160 + ((1ull << o) >> 2);

		bytes += pop->folios[o] * each;
	}
	bytes += pop->total[POP_SLAB].allocs * 80 + pop->total[POP_PGTABLE].frames * 64;
	return ALIGN(bytes + bytes / 16, (u64)SECTION_SIZE);
}

static int plan(struct builder *b)
{
	struct octavo_region *last;

	for (b->gap = 0; !plan_regions(b); b->gap = b->gap ? b->gap * 2 : 1)
		;
	if (!b->nr_regions) {
		tool_error("no memory at all");
		return -EINVAL;
	}
	for (u32 i = 0; i < b->nr_regions; i++)
		b->present += b->region[i].size / SECTION_SIZE;
	last = &b->region[b->nr_regions - 1];
	b->end = (last->base + last->size) >> PAGE_SHIFT;
	b->region[b->nr_regions++] = (struct octavo_region){
		.base = b->end << PAGE_SHIFT,
		.size = room_for(b->pop),
	};
	return 0;
}

static int boot(struct builder *b, bool exact)
{
	/* With exact places the rest is added later: the caches of a machine that boots want frames at once. */
	u32 first = exact ? b->nr_regions - 1 : 0;
	struct sim_config cfg = {
		.regions = b->region + first,
		.nr_regions = b->nr_regions - first,
		.cpus = 1,
		.quiet = true,
		.dma_limit = ~0ull,
		.dma32_limit = ~0ull,
	};
	struct octavo_boot plan = {
		.regions = cfg.regions,
		.nr_regions = cfg.nr_regions,
		.nr_cpus = cfg.cpus,
		.dma_limit = ~0ull,
		.dma32_limit = ~0ull,
	};
	int err;

	b->meta = octavo_metadata_size(&plan);
	err = sim_boot(&cfg);
	for (u32 i = 0; i < first && !err; i++) {
		const struct octavo_region *r = &b->region[i];

		err = octavo_add_memory(r->base, r->size, 0, false);
		if (!err)
			err = frame_isolate(r->base >> PAGE_SHIFT, r->size >> PAGE_SHIFT);
	}
	if (err)
		tool_error("cannot build such a machine: %s",
			   err == -ENOMEM ? "the host has not enough address space" : "refused");
	return err;
}

/* ---- population ---- */

static int took(u64 pfn, int err)
{
	if (err)
		tool_error("frame 0x%llx: cannot be allocated (error %d)", (unsigned long long)pfn,
			   -err);
	return err;
}

static int plain_at(u64 pfn, unsigned int order, enum misc_subtype subtype, bool frozen)
{
	struct page *page = alloc_plain_pages_at(pfn, order, subtype, frozen, FRAME_AT_ISOLATED);

	if (page && subtype == MISC_DRIVER)
		page_set_mappable(page, true);
	return took(pfn, page ? 0 : -EBUSY);
}

/* Frames that are no allocation of known extent: as few naturally aligned pieces as cover them. */
static int plain_range(u64 pfn, u64 nr, enum misc_subtype subtype)
{
	int err = 0;

	while (nr && !err) {
		unsigned int order = min((unsigned int)ilog2(nr), (unsigned int)MAX_FOLIO_ORDER);

		if (pfn)
			order = min(order, (unsigned int)__builtin_ctzll(pfn));
		err = plain_at(pfn, order, subtype, true);
		pfn += 1ull << order;
		nr -= 1ull << order;
	}
	return err;
}

static int slab_at(struct builder *b, u64 pfn, unsigned int order)
{
	void *desc = kmem_cache_alloc(b->slabs, REBUILD_GFP);
	memdesc_t md = memdesc_pointer(MEMDESC_SLAB, desc);
	int err;

	if (!desc)
		return took(pfn, -ENOMEM);
	err = frame_alloc_at(pfn, order, FRAME_AT_ISOLATED);
	/* release: as the core publishes a slab; nobody else looks here */
	for (u64 i = 0; !err && i < 1ull << order; i++)
		smp_store_release(&pfn_to_page(pfn + i)->memdesc.v, md.v);
	return took(pfn, err);
}

static int build_one(struct builder *b, const struct pop_run *r, u64 pfn)
{
	enum folio_kind kind = r->type == POP_ANON ? FOLIO_ANON : FOLIO_FILE;
	int err = 0;

	switch (r->type) {
	case POP_ANON:
	case POP_FILE:
		folio_alloc_at(pfn, r->order, kind, REBUILD_GFP, FRAME_AT_ISOLATED, &err);
		return took(pfn, err);
	case POP_SLAB:
		return slab_at(b, pfn, r->order);
	case POP_PGTABLE:
		return took(pfn, pagetable_alloc_at(pfn, r->order, REBUILD_GFP, FRAME_AT_ISOLATED)
					 ? 0
					 : -ENOMEM);
	case POP_KERNEL:
		return r->mapped ? plain_at(pfn, r->order, MISC_DRIVER, false)
				 : plain_at(pfn, r->order, MISC_KERNEL, true);
	case POP_ZERO:
		return plain_at(pfn, r->order, MISC_ZEROPAGE, true);
	case POP_HWPOISON:
		err = memory_failure(pfn);
		if (err == -ENOMEM) {
			b->unpoisoned++;
			return plain_at(pfn, 0, MISC_OFFLINE, true);
		}
		return took(pfn, err < 0 ? err : 0);
	default:
		return took(pfn, -EINVAL);
	}
}

static int build_run(struct builder *b, const struct pop_run *r)
{
	u64 nr = (u64)r->repeat << r->order;
	int err = 0;

	switch (r->type) {
	case POP_FREE:
	case POP_UNMANAGED: /* nothing is known of it, and a word that says so is FREE */
		return 0;
	case POP_RESERVED:
		return plain_range(r->pfn, nr, MISC_RESERVED);
	case POP_OFFLINE:
		return plain_range(r->pfn, nr, MISC_OFFLINE);
	case POP_HOLE:
		/* Only what lies in a section that has frames too. */
		for (u32 i = 0; i + 1 < b->nr_regions && !err; i++) {
			u64 from = max(r->pfn, b->region[i].base >> PAGE_SHIFT);
			u64 to = min(r->pfn + nr,
				     (b->region[i].base + b->region[i].size) >> PAGE_SHIFT);

			if (from < to)
				err = plain_range(from, to - from, MISC_RESERVED);
		}
		return err;
	}
	for (u32 i = 0; i < r->repeat && !err; i++) {
		err = build_one(b, r, r->pfn + ((u64)i << r->order));
		progress_update(&b->bar, ++b->done);
	}
	return err;
}

/* Where the kernel's zones end is not ours to reserve: the last section may go on beyond the machine's last frame. */
static int build_tail(struct builder *b)
{
	u64 end = b->pop->end;

	return end < b->end && end > (b->region[b->nr_regions - 2].base >> PAGE_SHIFT)
		       ? plain_range(end, b->end - end, MISC_RESERVED)
		       : 0;
}

static int build_exact(struct builder *b)
{
	int err = 0;

	for (u64 i = 0; i < b->pop->nr_runs && !err; i++)
		err = build_run(b, &b->pop->run[i]);
	return err ? err : build_tail(b);
}

/* So many, anywhere: the largest first, while memory is whole. */
static int build_counts(struct builder *b)
{
	static struct folio *got[BULK];
	u64 n = b->pop->folios[0];

	for (int o = POP_MAX_ORDER; o > 0; o--) {
		for (u64 i = 0; i < b->pop->folios[o]; i++) {
			if (!folio_alloc(REBUILD_GFP | __GFP_MOVABLE, (unsigned int)o, FOLIO_ANON))
				return took(i, -ENOMEM);
			progress_update(&b->bar, ++b->done);
		}
	}
	while (n) {
		u64 k = folio_alloc_bulk(REBUILD_GFP | __GFP_MOVABLE, FOLIO_ANON, min(n, (u64)BULK),
					 got);

		if (!k)
			return took(n, -ENOMEM);
		n -= k;
		b->done += k;
		progress_update(&b->bar, b->done);
	}
	return 0;
}

/* ---- weighing ---- */

/* A cache, by what its objects describe. Folios share theirs by order, so they come later. */
struct weights {
	u64 folio[3]; /* small, large, huge */
	u64 slab, pgtable;
};

static bool weigh_cache(struct kmem_cache *s, void *arg)
{
	struct weights *w = arg;
	struct kmem_cache_stat st;
	u64 bytes;

	kmem_cache_stat(s, &st);
	bytes = st.frames * PAGE_SIZE;
	if (!strcmp(st.name, "folio_small"))
		w->folio[0] += bytes;
	else if (!strcmp(st.name, "folio_large"))
		w->folio[1] += bytes;
	else if (!strcmp(st.name, "folio_huge"))
		w->folio[2] += bytes;
	else if (!strcmp(st.name, "ptdesc"))
		w->pgtable += bytes;
	else if (!strcmp(st.name, SLAB_CACHE_NAME))
		w->slab += bytes;
	return true;
}

/* Which of the three structs a folio of an order has. */
static unsigned int folio_struct(unsigned int order)
{
	return order == 0 ? 0 : order <= 6 || order > 9 ? 1 : 2;
}

static u64 part(u64 bytes, u64 n, u64 of)
{
	return of ? (u64)((double)bytes * (double)n / (double)of + 0.5) : 0;
}

static void share_folios(const struct population *pop, const struct weights *w,
			 struct footprint *fp)
{
	u64 nr[3] = { 0 }, anon[3] = { 0 }, folio_bytes = 0;

	for (unsigned int o = 0; o <= POP_MAX_ORDER; o++)
		nr[folio_struct(o)] += pop->folios[o];
	for (unsigned int o = 0; o <= POP_MAX_ORDER; o++) {
		unsigned int k = folio_struct(o);

		fp->by_order[o] = part(w->folio[k], pop->folios[o], nr[k]);
		fp->folio_frames += pop->folios[o] << o;
	}
	for (u64 i = 0; i < pop->nr_runs; i++)
		if (pop->run[i].type == POP_ANON)
			anon[folio_struct(pop->run[i].order)] += pop->run[i].repeat;
	for (int k = 0; k < 3; k++) {
		u64 bytes = part(w->folio[k], anon[k], nr[k]);

		if (!nr[k])
			continue;
		fp->by_type[POP_ANON] += bytes;
		fp->by_type[POP_FILE] += w->folio[k] - bytes;
		folio_bytes += w->folio[k];
	}
	if (pop->total[POP_SLAB].allocs)
		fp->by_type[POP_SLAB] = w->slab;
	if (pop->total[POP_PGTABLE].allocs)
		fp->by_type[POP_PGTABLE] = w->pgtable;
	fp->caches =
		fp->descriptors - folio_bytes - fp->by_type[POP_SLAB] - fp->by_type[POP_PGTABLE];
}

/* Frames that Octavo uses, and that are none of the population's. */
static u64 frames_beyond(const struct builder *b, bool exact)
{
	const struct pop_total *t = b->pop->total;
	u64 theirs =
		b->pop->end - t[POP_HOLE].frames - t[POP_FREE].frames - t[POP_UNMANAGED].frames;

	/* Holes in sections that have frames too were filled. */
	if (exact)
		theirs += b->present * PAGES_PER_SECTION - pop_frames(b->pop);
	frame_drain_all();
	return totalram_pages() - nr_free_pages() - theirs;
}

static void weigh(struct builder *b, bool exact, struct footprint *fp)
{
	u64 frames = b->present * PAGES_PER_SECTION;
	u64 every = octavo_state.frame.max_pfn;
	u64 beyond = frames_beyond(b, exact);
	struct weights w = { 0 };
	u64 per_frame;

	kmem_cache_for_each(weigh_cache, &w);
	fp->frames = pop_frames(b->pop);
	fp->linux_sections = pop_sections(b->pop, LINUX_SECTION_ORDER);
	fp->linux_memmap = (fp->linux_sections << LINUX_SECTION_ORDER) * LINUX_STRUCT_PAGE;
	/*
	 * Descriptors of a machine that was read fit into what it has free, whose words are counted; a
	 * synthetic one is as full as it was asked to be, so they come on top, with words of their own.
	 */
	if (!exact)
		frames += beyond;
	fp->words = frames * sizeof(struct page);
	fp->bitmaps = frames / 8 + b->present * (sizeof(struct tree) + sizeof(section_t));
	per_frame = every * sizeof(struct page) + every / 8 +
		    (every >> SECTION_ORDER) * (sizeof(struct tree) + sizeof(section_t));
	fp->fixed = b->meta > per_frame ? b->meta - per_frame : 0;
	fp->descriptors = beyond * PAGE_SIZE;
	fp->resident = sim_resident_meta();
	share_folios(b->pop, &w, fp);
}

/* ---- did it come out as asked for? ---- */

static enum memdesc_type word_of(enum pop_type type)
{
	switch (type) {
	case POP_ANON:
		return MEMDESC_ANON;
	case POP_FILE:
		return MEMDESC_FILE;
	case POP_SLAB:
		return MEMDESC_SLAB;
	case POP_PGTABLE:
		return MEMDESC_PTDESC;
	case POP_FREE:
	case POP_UNMANAGED:
		return MEMDESC_FREE;
	case POP_HWPOISON:
		return MEMDESC_HWPOISON;
	default:
		return MEMDESC_MISC;
	}
}

static int check(const struct builder *b)
{
	u64 want[MEMDESC_NR_TYPES] = { 0 }, got[MEMDESC_NR_TYPES] = { 0 };

	for (int t = 0; t < POP_NR; t++)
		if (t != POP_HOLE)
			want[word_of((enum pop_type)t)] += b->pop->total[t].frames;
	want[MEMDESC_HWPOISON] -= b->unpoisoned;
	want[MEMDESC_MISC] += b->unpoisoned;
	/* Frames of the sections that the machine has not. */
	want[MEMDESC_MISC] += b->present * PAGES_PER_SECTION - pop_frames(b->pop);
	pfn_count_types(0, b->end, got);
	for (int t = 0; t < MEMDESC_NR_TYPES; t++) {
		if (want[t] == got[t])
			continue;
		tool_error("rebuilt machine has %llu frames of type %s, not %llu",
			   (unsigned long long)got[t], memdesc_type_name((enum memdesc_type)t),
			   (unsigned long long)want[t]);
		return -EIO;
	}
	return 0;
}

/* ---- one machine, and samples of others ---- */

static int build(const struct population *pop, bool exact, struct footprint *fp, bool bar)
{
	struct builder *b = calloc(1, sizeof(*b));
	u64 steps = 0;
	int err;

	if (!b) {
		tool_error("out of memory");
		return -ENOMEM;
	}
	b->pop = pop;
	for (int t = 0; t < POP_NR; t++)
		if (t == POP_ANON || t == POP_FILE || t == POP_SLAB || t == POP_PGTABLE ||
		    t == POP_KERNEL)
			steps += pop->total[t].allocs;
	err = plan(b);
	if (!err)
		err = boot(b, exact);
	if (err) {
		sim_reset();
		free(b);
		return err;
	}
	b->slabs = kmem_cache_create(SLAB_CACHE_NAME, SLAB_DESCRIPTOR, SLAB_DESCRIPTOR, SLAB_EMBED,
				     NULL);
	if (!b->slabs) {
		tool_error("out of memory");
		err = -ENOMEM;
	}
	progress_start(&b->bar, "rebuilding", bar ? steps : 0);
	b->bar.on &= bar;
	if (!bar)
		b->bar.next = ~0ull;
	if (!err)
		err = exact ? build_exact(b) : build_counts(b);
	progress_end(&b->bar);
	if (!err)
		weigh(b, exact, fp);
	/* Last, since looking at every word maps it. */
	if (!err && exact)
		err = check(b);
	/* Thousands of frees would tell nothing: the machine goes as it is. */
	sim_reset();
	free(b);
	return err;
}

/* Descriptors of a gigabyte of folios of one order. */
static int sample(unsigned int order, double *bytes_a_page)
{
	struct population pop, none;
	struct footprint with = { 0 }, without = { 0 };
	int err;

	pop_init(&pop);
	pop_init(&none);
	pop_add(&pop, POP_ANON, order, SAMPLE_FRAMES >> order, 0);
	pop_add(&none, POP_FREE, 0, SAMPLE_FRAMES, 0);
	err = pop.failed || none.failed ? -ENOMEM : 0;
	if (err)
		tool_error("out of memory");
	if (!err)
		err = build(&pop, false, &with, false);
	if (!err)
		err = build(&none, false, &without, false);
	*bytes_a_page = (double)(with.descriptors - without.descriptors) / SAMPLE_FRAMES;
	pop_free(&pop);
	pop_free(&none);
	return err;
}

int rebuild_measure(const struct population *pop, bool exact, struct footprint *fp)
{
	u64 others;
	int err;

	memset(fp, 0, sizeof(*fp));
	err = build(pop, exact, fp, true);
	others = footprint_total(fp) - fp->by_type[POP_ANON] - fp->by_type[POP_FILE];
	for (int i = 0; i < WHAT_IF_ORDERS && !err; i++) {
		fp->what_if[i].order = what_if_orders[i];
		err = sample(what_if_orders[i], &fp->what_if[i].bytes_a_page);
		fp->what_if[i].total =
			others + (u64)(fp->what_if[i].bytes_a_page * (double)fp->folio_frames);
	}
	return err;
}
