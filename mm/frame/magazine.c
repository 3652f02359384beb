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
 * What it does not do: find a frame freed twice when the first free is deeper in the magazine than its top.
 * Those above see it by its word; here it is found when both have left the magazine for their tree.
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
			pfn[0] = ~0ul;
			c->mag[mt][o].pfn = pfn;
			/* a run must fit into a block: see magazine_push() */
			c->mag[mt][o].cap = o < OCTAVO_BLOCK_ORDER ? (u16)(most >> o) : 0;
			pfn += 1 + (OCTAVO_MAGAZINE >> o);
		}
	}
}

__noreturn __cold void frame_free_twice(unsigned long pfn)
{
	bad_page(pfn, "free of a frame that is free");
}

static void check_twice(const struct magazine *m)
{
	for (unsigned int i = 2; i <= m->nr; i++)
		for (unsigned int k = 1; k < i; k++)
			if (m->pfn[i] == m->pfn[k])
				frame_free_twice(m->pfn[i]);
}

static void give_oldest(struct magazine *m, unsigned int order, unsigned int n)
{
	if (OCTAVO_DEBUG)
		check_twice(m);
	lower_give_batch(order, n, m->pfn + 1);
	m->nr = (u16)(m->nr - n);
	memmove(m->pfn + 1, m->pfn + 1 + n, m->nr * sizeof(*m->pfn));
}

/* From now on it is for frames of this zone. It is empty. */
static void set_zone(struct frame_cpu *c, struct magazine *m, section_t key)
{
	m->key = key;
	m->delta = zone_delta(c, key);
}

static void fill(struct frame_cpu *c, struct magazine *m, struct zone *z, unsigned int order,
		 enum migratetype mt)
{
	unsigned int n = (m->cap + 1u) / 2;
	unsigned int cpu = (unsigned int)(c - octavo_state.frame.cpu);

	set_zone(c, m, zone_key(z));
	m->nr = (u16)zone_take(z, cpu, order, mt, n, m->pfn + 1);
	/* lowest on top: a run of allocations gets ascending frames */
	for (unsigned int lo = 1, hi = m->nr; lo < hi; lo++, hi--) {
		unsigned long p = m->pfn[lo];

		m->pfn[lo] = m->pfn[hi];
		m->pfn[hi] = p;
	}
}

long magazine_fill_pop(struct frame_cpu *c, struct zone *z, unsigned int order, enum migratetype mt)
{
	struct magazine *m = &c->mag[mt][order];

	if (!local_trylock(&c->lock))
		return -ENOMEM;
	if (!m->nr && m->cap)
		fill(c, m, z, order, mt);
	local_unlock(&c->lock);
	return magazine_pop(c, zone_key(z), order, mt);
}

__noinline bool magazine_room(struct frame_cpu *c, struct magazine *m, section_t key,
			      unsigned int order)
{
	if (!m->cap || (m->nr && m->key != key))
		return false;
	set_zone(c, m, key);
	if (m->nr == m->cap)
		give_oldest(m, order, (m->cap + 1u) / 2);
	return true;
}

void magazine_empty(struct frame_cpu *c)
{
	struct frame_state *f = &octavo_state.frame;
	/* acquire: pairs with the release in zone_get(): their keys are set */
	u32 zones = smp_load_acquire(&f->nr_zones_made);

	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++)
		for (unsigned int o = 0; o < MAG_ORDERS; o++)
			if (c->mag[mt][o].nr)
				give_oldest(&c->mag[mt][o], o, c->mag[mt][o].nr);
	for (u32 i = 0; i < zones; i++) {
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
