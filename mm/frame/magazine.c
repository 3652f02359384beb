/* SPDX-License-Identifier: MIT */
/*
 * magazine.c - runs of the common orders in front of the trees, a set for each CPU.
 *
 * A magazine is a stack: what was freed last, and is still in the cache, is handed out first. It is filled to
 * half when it is empty and emptied by half, from the bottom, when it is full, so that neither a run of
 * allocations nor one of frees reaches the trees more than once in half a magazine. A batch comes from one
 * tree, most often from a few rows, with one update of each counter.
 *
 * A frame goes to the magazine of its tree's migratetype, whoever allocated it: what comes out of a magazine
 * is then in trees of that type, and grouping survives.
 *
 * Everything is under the CPU's local lock. An interrupt that finds it held, and a remote drain that holds it, cost a
 * detour to the trees. A frame of an isolated block is not taken in; the test is inside the lock, so that
 * frame_isolate(), which marks the block and then takes every CPU's lock to drain it, has either drained the
 * frame or was seen.
 *
 * What it does not do: find a frame freed twice when the first free is deeper in the magazine than its top
 * (debug builds look through all of it). It is found when the magazine is emptied.
 */
#include <octavo/atomic.h>
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/page.h>

#include "frame_cpu.h"
#include "frame_internal.h"

void magazine_init(struct frame_cpu *c, u64 frames, u32 cpus)
{
	/* no CPU keeps more of a small machine than a few frames in a hundred to itself */
	u64 most = max(frames / (16 * cpus), 2ull);

	most = min(most, (u64)OCTAVO_MAGAZINE);
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		unsigned long *pfn = c->pfns[mt];

		for (unsigned int o = 0; o < MAG_ORDERS; o++) {
			c->mag[mt][o].pfn = pfn;
			/* a run must fit into a block: see magazine_put() */
			c->mag[mt][o].cap = o < OCTAVO_BLOCK_ORDER ? (u16)(most >> o) : 0;
			pfn += OCTAVO_MAGAZINE >> o;
		}
	}
}

static void give_oldest(struct magazine *m, unsigned int order, unsigned int n)
{
	lower_give_batch(order, n, m->pfn);
	m->nr = (u16)(m->nr - n);
	memmove(m->pfn, m->pfn + n, m->nr * sizeof(*m->pfn));
}

static void fill(struct frame_cpu *c, struct magazine *m, struct zone *z, unsigned int order,
		 enum migratetype mt)
{
	unsigned int n = (m->cap + 1u) / 2;
	unsigned int cpu = (unsigned int)(c - octavo_state.frame.cpu);

	m->key = zone_key(z);
	m->nr = (u16)zone_take(z, cpu, order, mt, n, m->pfn);
	/* lowest on top: a run of allocations gets ascending frames */
	for (unsigned int i = 0; i < m->nr / 2u; i++) {
		unsigned long p = m->pfn[i];

		m->pfn[i] = m->pfn[m->nr - 1 - i];
		m->pfn[m->nr - 1 - i] = p;
	}
}

long magazine_get(struct frame_cpu *c, struct zone *z, unsigned int order, enum migratetype mt,
		  bool fill_it)
{
	struct magazine *m = &c->mag[mt][order];
	section_t key = zone_key(z);
	long pfn = -ENOMEM;

	if (unlikely(!local_trylock(&c->lock)))
		return -ENOMEM;
	if (unlikely(!m->nr) && fill_it && m->cap)
		fill(c, m, z, order, mt);
	if (likely(m->nr && m->key == key)) {
		pfn = (long)m->pfn[--m->nr];
		zone_count(c, key, -(1l << order));
	}
	local_unlock(&c->lock);
	return pfn;
}

static void check_twice(const struct magazine *m, unsigned long pfn)
{
	if (m->nr && unlikely(m->pfn[m->nr - 1] == pfn))
		bad_page(pfn, "free of a frame that is free");
	if (OCTAVO_DEBUG)
		for (unsigned int i = 0; i < m->nr; i++)
			if (m->pfn[i] == pfn)
				bad_page(pfn, "free of a frame that is free");
}

bool magazine_put(struct frame_cpu *c, section_t key, unsigned long pfn, unsigned int order)
{
	struct magazine *m = &c->mag[ctl_mt(READ_ONCE(tree_at(pfn_tree(pfn))->ctl))][order];
	unsigned int blk;

	if (unlikely(!m->cap || !local_trylock(&c->lock)))
		return false;
	blk = block_of(pfn);
	if (unlikely((m->nr && m->key != key) || blk & BLK_ISOLATED)) {
		local_unlock(&c->lock);
		return false;
	}
	if (unlikely(!(row_taken(READ_ONCE(*row_of(pfn)), blk) >> pfn % ROW_FRAMES & 1)))
		bad_page(pfn, "free of a frame that is free");
	check_twice(m, pfn);
	if (unlikely(m->nr >= m->cap))
		give_oldest(m, order, (m->cap + 1u) / 2);
	m->key = key;
	m->pfn[m->nr++] = pfn;
	zone_count(c, key, 1l << order);
	local_unlock(&c->lock);
	return true;
}

void magazine_empty(struct frame_cpu *c)
{
	struct frame_state *f = &octavo_state.frame;

	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++)
		for (unsigned int o = 0; o < MAG_ORDERS; o++)
			if (c->mag[mt][o].nr)
				give_oldest(&c->mag[mt][o], o, c->mag[mt][o].nr);
	for (u32 i = 0; i < f->nr_zones_made; i++) {
		struct zone_delta *d = &c->delta[zone_key(&f->zones[i]) & ZONE_KEY_MASK];

		fetch_add_relaxed(&f->zones[i].free, d->delta);
		WRITE_ONCE(d->delta, (s64)0);
	}
}

void frame_drain(unsigned int cpu)
{
	struct frame_cpu *c = frame_cpu(cpu);
	unsigned long *slot = &c->slot[0][0][0];

	if (cpu >= octavo_state.frame.nr_cpus)
		return;
	local_lock_remote(&c->lock);
	magazine_empty(c);
	local_unlock_remote(&c->lock);
	for (unsigned int i = 0; i < sizeof(c->slot) / sizeof(*slot); i++) {
		/* relaxed: see lower_reserve() */
		unsigned long t = READ_ONCE(slot[i]) ? xchg_relaxed(&slot[i], 0ul) : 0;

		if (t)
			lower_release(t - 1);
	}
}

void frame_drain_all(void)
{
	for (u32 cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++)
		frame_drain(cpu);
}
