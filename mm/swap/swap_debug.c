// SPDX-License-Identifier: MIT
/*
 * swap_debug.c - looking at swap devices: sums, whether all is consistent, what is where.
 *
 * Nothing is counted for the whole of a device while it works, so that CPUs do not meet: sums are of the clusters'.
 */
#include <octavo/rcu.h>

#include "swap_internal.h"

/* ---- sums ---- */

static void device_stat(const struct swap_device *dev, struct swap_stat *st)
{
	struct swap_cluster *c;
	u64 bad = 0;

	for (u32 i = 0; (c = cluster_made(dev, i)); i++) {
		st->used += READ_ONCE(c->used);
		st->cached += READ_ONCE(c->cached);
		bad += READ_ONCE(c->bad);
	}
	st->bad += bad;
	st->slots += dev->nr_slots - 1 - bad;
	st->write_errors += READ_ONCE(dev->write_errors);
	st->read_errors += READ_ONCE(dev->read_errors);
	st->ahead += READ_ONCE(dev->ahead);
	st->ahead_hits += READ_ONCE(dev->ahead_hits);
}

void swap_note_ahead(swp_entry_t entry, bool hit)
{
	struct swap_device *dev;

	rcu_read_lock();
	dev = swap_device_of(swp_type(entry));
	if (dev)
		fetch_add_relaxed(hit ? &dev->ahead_hits : &dev->ahead, 1ul);
	rcu_read_unlock();
}

bool swap_stat(int type, struct swap_stat *st)
{
	bool found = type == -1;

	*st = (struct swap_stat){ 0 };
	for (int i = 0; i < MAX_SWAPFILES; i++) {
		struct swap_device *dev;

		if (type != -1 && type != i)
			continue;
		rcu_read_lock();
		dev = swap_device_of((unsigned int)i);
		if (dev) {
			device_stat(dev, st);
			found = true;
		}
		rcu_read_unlock();
	}
	return found;
}

/* Is anything free in the cluster of @current? In an RCU section. */
static bool current_has_room(u64 current)
{
	unsigned int type = (unsigned int)(current >> CURRENT_TYPE_SHIFT);
	struct swap_device *dev = current ? swap_device_of(type) : NULL;
	struct swap_cluster *c = dev ? cluster_made(dev, (u32)current - 1) : NULL;

	return c && !READ_ONCE(dev->closing) && READ_ONCE(c->taken) < CLUSTER_SLOTS;
}

bool swap_has_room(void)
{
	/* acquire: pairs with the release in swapon() */
	struct swap_cpu *cpus = smp_load_acquire(&octavo_state.swap.cpu);
	bool room = false;

	if (!cpus)
		return false;
	rcu_read_lock();
	for (unsigned int i = 0; !room && i < MAX_SWAPFILES; i++) {
		struct swap_device *dev = swap_device_of(i);

		room = dev && !READ_ONCE(dev->closing) &&
		       (READ_ONCE(dev->mask) || READ_ONCE(dev->fresh) < dev->nr_clusters);
	}
	for (u32 i = 0; !room && i < octavo_state.frame.nr_cpus * CLUSTER_ORDERS; i++)
		room = current_has_room(
			READ_ONCE(cpus[i / CLUSTER_ORDERS].current[i % CLUSTER_ORDERS]));
	rcu_read_unlock();
	return room;
}

/* ---- validation: nothing else running ---- */

#define CHECK(c, cond)                                                      \
	do {                                                                \
		if (unlikely(!(cond))) {                                    \
			pr_err("swap: cluster %u: not %s", (c)->nr, #cond); \
			ok = false;                                         \
		}                                                           \
	} while (0)

/* The page that a slot names is of a folio that names the slot. */
static bool cached_valid(swp_entry_t entry, u64 word)
{
	unsigned long pfn = word & SLOT_PAYLOAD;
	struct folio *folio = pfn_valid(pfn) ? page_folio(pfn_to_page(pfn)) : NULL;
	bool ok = folio && swap_cache_index(folio, entry) == (long)(pfn - folio_pfn(folio));

	if (!ok)
		pr_err("swap: slot %lu of device %u: pfn 0x%lx is not of a folio that has it",
		       (unsigned long)swp_offset(entry), (unsigned int)swp_type(entry), pfn);
	return ok;
}

static bool word_valid(const struct swap_device *dev, const struct swap_cluster *c, unsigned int at)
{
	u64 word = c->words[at];
	unsigned long slot = (unsigned long)c->nr * CLUSTER_SLOTS + at;
	bool none = slot == 0 || slot >= dev->nr_slots, ok = true;
	bool taken = c->map[at / BITS_PER_LONG] >> at % BITS_PER_LONG & 1;

	CHECK(c, taken == (none || word));
	CHECK(c, !none || !word);
	CHECK(c, !word || (word & SLOT_BAD ? word == SLOT_BAD : slot_used(word)));
	CHECK(c, !(word & SLOT_COUNT_ONE >> 1));
	if (word & SLOT_CACHED)
		ok &= cached_valid(cluster_entry(dev, c, at), word);
	return ok;
}

static bool cluster_valid(const struct swap_device *dev, const struct swap_cluster *c)
{
	unsigned int used = 0, cached = 0, bad = 0, taken = 0;
	bool ok = true;

	for (unsigned int i = 0; i < CLUSTER_SLOTS; i++) {
		ok &= word_valid(dev, c, i);
		used += slot_used(c->words[i]);
		cached += !!(c->words[i] & SLOT_CACHED);
		bad += c->words[i] == SLOT_BAD;
		taken += c->map[i / BITS_PER_LONG] >> i % BITS_PER_LONG & 1;
	}
	CHECK(c, c->lock.val == 0);
	CHECK(c, c->used == used);
	CHECK(c, c->cached == cached);
	CHECK(c, c->bad == bad);
	CHECK(c, c->taken == taken);
	CHECK(c, (c->list == CLUSTER_OWNED) == (c->owner != 0));
	if (c->list != CLUSTER_OWNED) {
		CHECK(c, c->largest == cluster_largest(c));
		CHECK(c, c->list == cluster_list(c, c->largest));
	}
	return ok;
}

static bool lists_valid(const struct swap_device *dev)
{
	const struct swap_cluster *c;
	u32 listed = 0, expect = 0;
	bool ok = true;

	for (unsigned int i = 0; i < CLUSTER_LISTS; i++) {
		if (list_empty(&dev->lists[i]) == (dev->mask >> i & 1)) {
			pr_err("swap: list %u of device %u is not what the mask says", i,
			       dev->type);
			ok = false;
		}
		list_for_each_entry (c, &dev->lists[i], link) {
			CHECK(c, c->list == i);
			listed++;
		}
	}
	for (u32 i = 0; i < dev->fresh; i++)
		expect += swap_cluster_at(dev, i)->list < CLUSTER_LISTS;
	if (listed != expect) {
		pr_err("swap: device %u: %u clusters on lists, %u say that they are", dev->type,
		       listed, expect);
		ok = false;
	}
	return ok;
}

static bool device_valid(struct swap_device *dev)
{
	bool ok = lists_valid(dev);

	for (u32 i = 0; i < dev->fresh; i++)
		ok &= cluster_valid(dev, swap_cluster_at(dev, i));
	if (!xfers_idle(dev) || READ_ONCE(dev->users)) {
		pr_err("swap: device %u: transfers 0x%lx are free, %u users", dev->type,
		       (unsigned long)READ_ONCE(dev->free_xfers), READ_ONCE(dev->users));
		ok = false;
	}
	return ok;
}

bool swap_validate(void)
{
	bool ok = true;

	for (unsigned int i = 0; i < MAX_SWAPFILES; i++) {
		struct swap_device *dev = swap_device_of(i);

		if (dev)
			ok &= device_valid(dev);
	}
	return ok;
}

/* ---- dump ---- */

static void cluster_dump(const struct swap_cluster *c)
{
	char line[2 * 64 + 1];
	unsigned int step = CLUSTER_SLOTS > 64 ? CLUSTER_SLOTS / 64 : 1, n = 0;

	/* a letter for each slot, or the most telling of several */
	for (unsigned int i = 0; i < CLUSTER_SLOTS; i += step) {
		bool cached = false, counted = false, bad = false;

		for (unsigned int j = i; j < i + step; j++) {
			u64 word = READ_ONCE(c->words[j]);

			cached |= !!(word & SLOT_CACHED);
			counted |= slot_count(word) != 0;
			bad |= word == SLOT_BAD;
		}
		line[n++] = cached ? 'C' : counted ? 'u' : bad ? 'b' : '.';
	}
	line[n] = 0;
	pr_dump("  cluster %u: owner %u list %u largest %d taken %u used %u cached %u bad %u  %s",
		c->nr, c->owner, c->list, c->largest, c->taken, c->used, c->cached, c->bad, line);
}

static void device_dump(const struct swap_device *dev)
{
	struct swap_stat st = { 0 };
	struct swap_cluster *c;

	device_stat(dev, &st);
	pr_dump("swap device %u: priority %d flags 0x%x%s, %lu slots, %lu used, %lu cached, %lu "
		"bad, %lu read ahead, %lu of them used",
		dev->type, dev->prio, dev->flags, READ_ONCE(dev->closing) ? " closing" : "",
		(unsigned long)st.slots, (unsigned long)st.used, (unsigned long)st.cached,
		(unsigned long)st.bad, (unsigned long)st.ahead, (unsigned long)st.ahead_hits);
	for (u32 i = 0; (c = cluster_made(dev, i)); i++)
		if (READ_ONCE(c->taken))
			cluster_dump(c);
}

void swap_dump(int type)
{
	for (int i = 0; i < MAX_SWAPFILES; i++) {
		struct swap_device *dev;

		if (type != -1 && type != i)
			continue;
		rcu_read_lock();
		dev = swap_device_of((unsigned int)i);
		if (dev)
			device_dump(dev);
		rcu_read_unlock();
	}
}
