/* SPDX-License-Identifier: MIT */
/*
 * zone.c - numbers of zones, what the memory map tells the allocator, and looking all of it over.
 */
#include <octavo/atomic.h>
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/hwpoison.h>
#include <octavo/page.h>

#include "frame_cpu.h"
#include "frame_internal.h"

/* Up to so many frames, validation reads the words of wholly free trees too. */
#define VALIDATE_ALL_WORDS (1ul << 22)

/* ---- bringing up ---- */

u64 frame_cpu_size(void)
{
	return sizeof(struct frame_cpu);
}

void frame_alloc_init(void)
{
	struct frame_state *f = &octavo_state.frame;
	u64 frames = totalram_pages();

	for (u32 cpu = 0; cpu < f->nr_cpus; cpu++)
		magazine_init(frame_cpu(cpu), frames, f->nr_cpus);
	for (u32 i = 0; i < f->nr_zones_made; i++)
		zone_calc_watermarks(&f->zones[i]);
}

static u64 isqrt(u64 n)
{
	u64 r = 0;

	for (u64 bit = 1ull << 31; bit; bit >>= 1)
		if ((r + bit) * (r + bit) <= n)
			r += bit;
	return r;
}

/*
 * What must be kept grows as the square root of memory, as bursts do: 4 MiB of 1 GiB, 16 MiB of 16 GiB. Small zones
 * keep no more than one frame in 256, so that the smallest keep nothing. What CPUs have not told yet is no more
 * than one frame in 256, all CPUs together, and less than eight 2 MiB runs each: with more than that and the
 * marks free, nobody needs to add it up.
 */
void zone_calc_watermarks(struct zone *z)
{
	struct frame_state *f = &octavo_state.frame;
	u64 keep = min(2 * isqrt(z->managed), z->managed / 256);
	u64 fold = min(z->managed / (256 * f->nr_cpus), (u64)4096);

	WRITE_ONCE(z->watermark[WMARK_MIN], keep);
	WRITE_ONCE(z->watermark[WMARK_LOW], keep + keep / 4);
	WRITE_ONCE(z->watermark[WMARK_HIGH], keep + keep / 2);
	WRITE_ONCE(z->fold, fold);
	WRITE_ONCE(z->fast, (s64)(keep + keep / 4 + fold * f->nr_cpus + (1u << (MAG_ORDERS - 1))));
	for (u32 cpu = 0; cpu < f->nr_cpus; cpu++)
		WRITE_ONCE(frame_cpu(cpu)->delta[zone_key(z) & ZONE_KEY_MASK].fold, (s64)fold);
	zone_refresh_first();
}

void zone_account_free(struct zone *z, long delta)
{
	fetch_add_relaxed(&z->free, (s64)delta);
}

/*
 * Nobody else is here, so words are read and stored one after the other, and nothing can be refused. Counters are still
 * raised before bits are, for those who look without permission.
 */
static void mark(unsigned long pfn, unsigned long nr, bool used)
{
	unsigned long t = pfn_tree(pfn);
	u64 ctl = READ_ONCE(tree_at(t)->ctl);
	bool ok = used ? ctl_take(&ctl, (unsigned int)nr, MIGRATE_UNMOVABLE)
		       : ctl_give(&ctl, (unsigned int)nr);

	WRITE_ONCE(tree_at(t)->ctl, ctl);
	while (ok && nr) {
		unsigned int i = pfn_block(pfn), bit = (unsigned int)pfn % ROW_FRAMES, blk, n;
		u64 word = READ_ONCE(*blk_word(t, i)), run;

		if (IS_ALIGNED(pfn, (unsigned long)BLOCK_FRAMES) && nr >= BLOCK_FRAMES) {
			n = BLOCK_FRAMES;
			ok = used ? blk_take_whole(&word, i, 1, true) : blk_give_whole(&word, i, 1);
		} else {
			blk = blk_get(word, i);
			n = (unsigned int)min(nr, (unsigned long)(ROW_FRAMES - bit));
			run = row_run(bit, n);
			ok = (row_taken(*row_of(pfn), blk) & run) == (used ? 0 : run) &&
			     (used ? blk_take(&word, i, n, true) : blk_give(&word, i, n));
			WRITE_ONCE(*row_of(pfn), *row_of(pfn) ^ run);
		}
		WRITE_ONCE(*blk_word(t, i), word);
		pfn += n;
		nr -= n;
	}
	if (!ok)
		octavo_panic("frame_mark_%s: pfn 0x%lx is so already", used ? "used" : "free", pfn);
}

static void mark_range(unsigned long pfn, unsigned long nr, bool used)
{
	while (nr) {
		unsigned long room = TREE_FRAMES - pfn % TREE_FRAMES, n = min(nr, room);

		mark(pfn, n, used);
		pfn += n;
		nr -= n;
	}
}

void frame_mark_used(unsigned long pfn, unsigned long nr)
{
	mark_range(pfn, nr, true);
}

void frame_mark_free(unsigned long pfn, unsigned long nr)
{
	mark_range(pfn, nr, false);
}

/* Frames of all zones that are out of use for good. */
static u64 kept_out(void)
{
	unsigned long max_pfn = octavo_state.frame.max_pfn;
	unsigned long pfn = pfn_poisoned_in(0, max_pfn);
	u64 n = 0;

	for (; pfn < max_pfn; pfn = pfn_poisoned_in(pfn + 1, max_pfn - pfn - 1))
		if (pfn_valid(pfn) && READ_ONCE(pfn_to_page(pfn)->memdesc.v) == MEMDESC_HWPOISON)
			n++;
	return n;
}

u64 frame_drain_exit(void)
{
	frame_drain_all();
	return totalram_pages() - nr_free_pages() - kept_out();
}

/* ---- numbers ---- */

static s64 zone_free(const struct zone *z)
{
	s64 free = READ_ONCE(z->free);

	for (u32 cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++)
		free += READ_ONCE(frame_cpu(cpu)->delta[zone_key(z) & ZONE_KEY_MASK].delta);
	return max(free, (s64)0);
}

/* Call @fn for the trees of a zone. */
static void for_each_tree(const struct zone *z, void (*fn)(unsigned long t, void *arg), void *arg)
{
	/* acquire: pairs with the release in zone_span_add(): the entries are there */
	u32 nr = smp_load_acquire(&z->nr_spans);

	for (u32 i = 0; i < nr; i++) {
		struct zone_span s;

		s.both = READ_ONCE(z->span[i].both);
		for (u32 t = s.first; t < s.first + s.nr; t++)
			if (tree_zone(t) == z)
				fn(t, arg);
	}
}

static void stat_tree(unsigned long t, void *arg)
{
	struct zone_stat *st = arg;

	for (unsigned int i = 0; i < TREE_BLOCKS; i++) {
		unsigned int blk = blk_get(READ_ONCE(*blk_word(t, i)), i);

		st->free_blocks += !blk_used(blk);
		if (blk & BLK_ISOLATED)
			st->isolated += BLOCK_FRAMES - blk_used(blk);
	}
}

int zone_stat(u32 node, enum zone_type zone, struct zone_stat *st)
{
	struct zone *z;

	if (node >= OCTAVO_NR_NODES || (unsigned int)zone >= NR_ZONES)
		return -EINVAL;
	/* acquire: pairs with the release in zone_get(): node and type are set */
	z = smp_load_acquire(&octavo_state.frame.zone[node][zone]);
	if (!z)
		return -EINVAL;
	*st = (struct zone_stat){ .present = READ_ONCE(z->present),
				  .managed = READ_ONCE(z->managed),
				  .free = (u64)zone_free(z) };
	for (unsigned int i = 0; i < NR_WMARK; i++)
		st->watermark[i] = READ_ONCE(z->watermark[i]);
	for_each_tree(z, stat_tree, st);
	return 0;
}

s64 zone_above(u32 node, enum zone_type zone, enum zone_watermark mark)
{
	struct zone *z;

	if (node >= OCTAVO_NR_NODES || (unsigned int)zone >= NR_ZONES)
		return 0;
	/* acquire: pairs with the release in zone_get(): node and type are set */
	z = smp_load_acquire(&octavo_state.frame.zone[node][zone]);
	if (!z)
		return 0;
	return zone_free(z) - READ_ONCE(z->isolated) - (s64)READ_ONCE(z->watermark[mark]);
}

u64 nr_free_pages(void)
{
	/* acquire: pairs with the release in zone_get(): their keys are set */
	u32 nr = smp_load_acquire(&octavo_state.frame.nr_zones_made);
	u64 n = 0;

	for (u32 i = 0; i < nr; i++)
		n += (u64)zone_free(&octavo_state.frame.zones[i]);
	return n;
}

u64 totalram_pages(void)
{
	/* acquire: pairs with the release in zone_get(): their keys are set */
	u32 nr = smp_load_acquire(&octavo_state.frame.nr_zones_made);
	u64 n = 0;

	for (u32 i = 0; i < nr; i++)
		n += READ_ONCE(octavo_state.frame.zones[i].managed);
	return n;
}

/* ---- validation ---- */

struct tally {
	bool ok;
	bool all_words;
	u64 free, isolated, owned;
};

/* Bits of a block against its counter, free frames against their words. */
static bool validate_block(unsigned long pfn, unsigned int blk, bool words)
{
	unsigned int taken = 0, bad = 0;

	if (blk & ~BLK_VALID)
		bad++;
	for (unsigned long p = pfn; p < pfn + BLOCK_FRAMES; p += ROW_FRAMES) {
		u64 row = row_taken(*row_of(p), blk);

		taken += row_count(row);
		for (u64 free = ~row & ROW_MASK; words && free; free &= free - 1) {
			unsigned long at = p + (unsigned long)__builtin_ctzll(free);

			if (pfn_to_page(at)->memdesc.v) {
				pr_err("frame: pfn 0x%lx is free and its word is 0x%lx", at,
				       pfn_to_page(at)->memdesc.v);
				bad++;
			}
		}
		if (*row_of(p) & ~ROW_MASK)
			bad++;
	}
	if (taken != blk_used(blk) || bad)
		pr_err("frame: block of pfn 0x%lx: counter 0x%x, %u bits say taken, %u faults", pfn,
		       blk, taken, bad);
	return taken == blk_used(blk) && !bad;
}

static void validate_tree(unsigned long t, void *arg)
{
	u64 ctl = tree_at(t)->ctl, summary = tree_at(ALIGN_DOWN(t, 32ul))->summary;
	unsigned int used = 0, whole = 0;
	struct tally *sum = arg;
	bool words = sum->all_words || ctl_used(ctl);

	for (unsigned int i = 0; i < TREE_BLOCKS; i++) {
		unsigned int blk = blk_get(*blk_word(t, i), i);
		unsigned long pfn = (t << OCTAVO_TREE_ORDER) + (unsigned long)i * BLOCK_FRAMES;

		used += blk_used(blk);
		whole += blk_room(blk) == BLOCK_FRAMES;
		if (blk & BLK_ISOLATED)
			sum->isolated += BLOCK_FRAMES - blk_used(blk);
		/* an untouched block needs no look at its rows, and on a large machine must not be */
		if (words || blk)
			sum->ok &= validate_block(pfn, blk, words);
	}
	if (used != ctl_used(ctl)) {
		pr_err("frame: tree %lu: ctl 0x%lx, its blocks have %u used", t, ctl, used);
		sum->ok = false;
	}
	if (((summary & summary_bit(t, SUMMARY_FULL)) && ctl_room(ctl)) ||
	    ((summary & summary_bit(t, SUMMARY_BLOCK)) && whole)) {
		pr_err("frame: tree %lu: the summary 0x%lx hides what it has", t, summary);
		sum->ok = false;
	}
	sum->free += ctl_room(ctl);
	sum->owned += !!ctl_owner(ctl);
}

static bool validate_magazine(const struct frame_cpu *c, unsigned int mt, unsigned int order,
			      const struct zone *z, u64 *free)
{
	const struct magazine *m = &c->mag[mt][order];
	bool ok = m->nr <= m->cap;

	if (!m->nr || m->key != zone_key(z))
		return ok;
	*free += (u64)m->nr << order;
	for (unsigned int i = 1; i <= m->nr; i++) {
		unsigned long pfn = m->pfn[i], nr = 1ul << order;
		bool good = pfn_valid(pfn) && IS_ALIGNED(pfn, nr) && tree_zone(pfn_tree(pfn)) == z;

		for (unsigned int k = 0; k < i; k++)
			good &= m->pfn[k] != pfn;
		for (unsigned long p = pfn; good && p < pfn + nr; p++)
			good &= lower_used(p, 1) && !pfn_to_page(p)->memdesc.v;
		if (!good)
			pr_err("frame: magazine of order %u has pfn 0x%lx, which is not its own",
			       order, pfn);
		ok &= good;
	}
	return ok;
}

static bool validate_zone(const struct zone *z, u64 *owned)
{
	struct frame_state *f = &octavo_state.frame;
	struct tally sum = { .ok = true, .all_words = totalram_pages() <= VALIDATE_ALL_WORDS };

	for_each_tree(z, validate_tree, &sum);
	for (u32 cpu = 0; cpu < f->nr_cpus; cpu++)
		for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++)
			for (unsigned int o = 0; o < MAG_ORDERS; o++)
				sum.ok &= validate_magazine(frame_cpu(cpu), mt, o, z, &sum.free);
	if ((s64)sum.free != zone_free(z) || (s64)sum.isolated != z->isolated) {
		pr_err("frame: zone %u/%s: free %ld isolated %ld, counted %lu and %lu", z->node,
		       zone_name(z->type), (long)zone_free(z), (long)z->isolated,
		       (unsigned long)sum.free, (unsigned long)sum.isolated);
		sum.ok = false;
	}
	*owned += sum.owned;
	return sum.ok;
}

static u64 slots_held(void)
{
	u64 n = 0;

	for (u32 cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++) {
		const unsigned long *slot = &frame_cpu(cpu)->slot[0][0][0];

		for (unsigned int i = 0; i < sizeof(frame_cpu(cpu)->slot) / sizeof(*slot); i++)
			n += slot[i] && tree_zone(slot[i] - 1) &&
			     ctl_owner(tree_at(slot[i] - 1)->ctl) == cpu + 1;
	}
	return n;
}

bool frame_validate(void)
{
	struct frame_state *f = &octavo_state.frame;
	u64 owned = 0;
	bool ok = true;

	for (u32 i = 0; i < f->nr_zones_made; i++)
		ok &= validate_zone(&f->zones[i], &owned);
	if (owned != slots_held()) {
		pr_err("frame: %lu trees are reserved, CPUs hold %lu", owned, slots_held());
		ok = false;
	}
	return ok;
}

/* ---- dump ---- */

struct fill {
	u64 trees[5]; /* free, up to a third, two thirds, less than full, full */
	u64 reserved;
};

static void fill_tree(unsigned long t, void *arg)
{
	u64 ctl = READ_ONCE(tree_at(t)->ctl);
	unsigned int used = ctl_used(ctl);
	struct fill *f = arg;

	f->trees[!used ? 0 : used == TREE_FRAMES ? 4 : 1 + used * 3 / TREE_FRAMES]++;
	f->reserved += !!ctl_owner(ctl);
}

static void dump_cpu(u32 cpu)
{
	const struct frame_cpu *c = frame_cpu(cpu);

	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++)
		pr_dump("  cpu %u type %u: magazines %u %u %u %u %u", cpu, mt, c->mag[mt][0].nr,
			c->mag[mt][1].nr, c->mag[mt][2].nr, c->mag[mt][3].nr, c->mag[mt][4].nr);
}

void frame_dump(void)
{
	const struct frame_state *f = &octavo_state.frame;

	for (u32 i = 0; i < f->nr_zones_made; i++) {
		const struct zone *z = &f->zones[i];
		struct fill fill = { { 0 }, 0 };
		struct zone_stat st;

		if (zone_stat(z->node, z->type, &st))
			continue;
		for_each_tree(z, fill_tree, &fill);
		pr_dump("node %u %s: present %lu managed %lu free %lu min %lu low %lu high %lu",
			z->node, zone_name(z->type), st.present, st.managed, st.free,
			st.watermark[WMARK_MIN], st.watermark[WMARK_LOW], st.watermark[WMARK_HIGH]);
		pr_dump("  free blocks %lu isolated frames %lu; trees free %lu, to 1/3 %lu, to 2/3 "
			"%lu, "
			"more %lu, full %lu; reserved %lu",
			st.free_blocks, st.isolated, fill.trees[0], fill.trees[1], fill.trees[2],
			fill.trees[3], fill.trees[4], fill.reserved);
	}
	for (u32 cpu = 0; cpu < f->nr_cpus; cpu++)
		dump_cpu(cpu);
}
