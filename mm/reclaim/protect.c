// SPDX-License-Identifier: MIT
/*
 * protect.c - what a group may keep when others are in need: its min and low marks, as far as all above it have them.
 *
 * A group's claim is its mark, or what it uses if that is less. If the claims of all children of a group are together more than what it may keep
 * itself, each gets the part of it that its claim is of their sum. What is reclaimed for is not protected, and what is directly below it
 * has all of its claim.
 *
 * The sums are made under the lock at the beginning of each walk. They do not depend on where the walk begins, so walks that
 * meet do not change each other's answers but by what is newer.
 */
#include "memcg.h"

#define RS (&octavo_state.reclaim)

/* Index of claims[]. */
static enum memcg_limit mark(unsigned int kind)
{
	return kind ? MEMCG_LOW : MEMCG_MIN;
}

static u64 claim(const struct mem_cgroup *memcg, unsigned int kind)
{
	return min(READ_ONCE(memcg->memory.usage), READ_ONCE(memcg->limit[mark(kind)]));
}

void memcg_protection_begin(const struct mem_cgroup *top)
{
	struct mem_cgroup *memcg;

	spin_lock(&RS->groups_lock);
	/* parents come before their children */
	list_for_each_entry (memcg, &RS->groups, all) {
		if (!memcg_below(memcg, top))
			continue;
		for (unsigned int kind = 0; kind < 2; kind++) {
			memcg->claims[kind] = 0;
			if (memcg != top && memcg->parent)
				memcg->parent->claims[kind] += claim(memcg, kind);
		}
	}
	spin_unlock(&RS->groups_lock);
}

/* @whole * @part / @sum, for any numbers of pages; never more than @whole. */
static u64 share_of(u64 whole, u64 part, u64 sum)
{
	unsigned int shift = sum >> 24 ? (unsigned int)ilog2(sum) - 23 : 0;

	/* so that 40 bits of pages times what is left of @part fit */
	part = min(part, sum) >> shift;
	return min(whole, whole * part / (sum >> shift));
}

static const struct mem_cgroup *above(const struct mem_cgroup *memcg, unsigned int levels)
{
	while (levels--)
		memcg = memcg->parent;
	return memcg;
}

/* From the top down. Context: groups_lock. */
static u64 kept(const struct mem_cgroup *memcg, const struct mem_cgroup *top, unsigned int kind)
{
	unsigned int level = 0;
	u64 keep;

	while (above(memcg, level)->parent != top)
		level++;
	keep = claim(above(memcg, level), kind);
	while (level--) {
		const struct mem_cgroup *at = above(memcg, level);
		u64 sum = at->parent->claims[kind], mine = claim(at, kind);

		keep = sum > keep ? share_of(keep, mine, sum) : min(keep, mine);
	}
	return keep;
}

u64 memcg_spare(struct mem_cgroup *memcg, const struct mem_cgroup *top, bool low)
{
	u64 usage, keep;

	if (memcg == top)
		return ~(u64)0;
	spin_lock(&RS->groups_lock);
	usage = READ_ONCE(memcg->memory.usage);
	keep = kept(memcg, top, 0);
	if (low)
		keep = max(keep, kept(memcg, top, 1));
	spin_unlock(&RS->groups_lock);
	return usage - min(usage, keep);
}
