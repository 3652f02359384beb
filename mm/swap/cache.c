// SPDX-License-Identifier: MIT
/*
 * cache.c - which folio has the contents of a slot.
 *
 * 1. A slot's word names the page. The folio names its first slot (folio->swap, with PG_swapcache), and has a
 *    reference for each page that is named. Both are changed under the folio's lock, the words under the lock of
 *    the cluster too, which all slots of a folio are in.
 *
 * 2. A look-up takes neither: slot word (acquire), the page's folio, a reference out of nothing, slot word again. With the
 *    reference the page stays the folio's; and that the slot still names the page then, means that the
 *    folio is in the cache, or was until a moment ago. Whoever needs more locks the folio and asks swap_cache_index().
 *    Word and count between them are what page_try_get_folio() says.
 *
 * 3. A freed slot's word is 0 before the references are dropped; and a page that comes back as another folio's has a count
 *    that was set after that. So a look-up that gets a reference of the new folio finds the word changed: acquire
 *    of the count pairs with the release that set it.
 *
 * 4. Frozen folios (split, migration) make a look-up wait a little, and then give up. NULL is always legal; who
 *    wants to read the slot then hears from swap_cache_add() that it is cached.
 */
#include <octavo/errno.h>

#include "swap_internal.h"

/* ---- both directions ---- */

BUILD_BUG_ON(MAX_SWAPFILES > 1u << (64 - FOLIO_SWAP_TYPE_SHIFT));

void cache_insert(struct folio *folio, swp_entry_t entry, u32 flags)
{
	folio_ref_add(folio, (u32)folio_nr_pages(folio));
	/* relaxed: published by the release of the slots' words, or of the folio's lock */
	WRITE_ONCE(folio->swap, (u64)swp_type(entry) << FOLIO_SWAP_TYPE_SHIFT | swp_offset(entry));
	fetch_or_relaxed(&folio->flags, flags | 1u << PG_swapcache);
}

/* No slot names it. The references are the caller's to drop. */
static void cache_forget(struct folio *folio, u32 flags)
{
	WRITE_ONCE(folio->swap, 0ul);
	fetch_and_relaxed(&folio->flags,
			  ~(1u << PG_swapcache | 1u << PG_swap_failed | 1u << PG_readahead));
	if (flags)
		fetch_or_relaxed(&folio->flags, flags);
}

static void check_cached(const struct folio *folio, const char *who)
{
	if (unlikely(!folio_test_locked(folio) || !folio_test_flag(folio, PG_swapcache))) {
		folio_dump(folio, who);
		octavo_panic("%s() of a folio that is not locked, or not in the swap cache", who);
	}
}

long swap_cache_index(const struct folio *folio, swp_entry_t entry)
{
	u64 first = READ_ONCE(folio->swap);
	u64 at = ((u64)swp_type(entry) << FOLIO_SWAP_TYPE_SHIFT | swp_offset(entry)) - first;

	if (!folio_test_flag(folio, PG_swapcache) || at >= folio_nr_pages(folio))
		return -1;
	return (long)at;
}

/* ---- look-up ---- */

/* false: try again. */
static bool cache_try(swp_entry_t entry, struct folio **foliop)
{
	struct folio *folio;
	u64 *word, w;

	*foliop = NULL;
	word = swap_word(entry);
	if (!word)
		return true;
	/* acquire: pairs with the release of who stored the page: the folio names the slots */
	w = smp_load_acquire(word);
	if (!(w & SLOT_CACHED))
		return true;
	folio = page_try_get_folio(pfn_to_page(w & SLOT_PAYLOAD));
	if (!folio)
		return false;
	/* relaxed: the acquire of the reference came before */
	if (likely(!((READ_ONCE(*word) ^ w) & SLOT_IDENTITY))) {
		*foliop = folio;
		return true;
	}
	folio_put(folio);
	return false;
}

struct folio *swap_cache_get_folio(swp_entry_t entry)
{
	struct folio *folio = NULL;
	bool done = false;

	for (unsigned int turn = 0; !done && turn <= OCTAVO_SPIN_TURNS; turn++) {
		if (turn)
			octavo_port_relax();
		/* keeps the device */
		rcu_read_lock();
		done = cache_try(entry, &folio);
		rcu_read_unlock();
	}
	return folio;
}

/* ---- in ---- */

/* A slot is charged to the set that it remembers: nobody else's folio can be read from it. Lock held. */
static int add_refused(const struct swap_ref *r, const struct folio *folio)
{
	unsigned long nr = folio_nr_pages(folio);

	for (unsigned long i = 0; i < nr; i++) {
		u64 w = r->word[i];

		if (w & SLOT_CACHED)
			return -EEXIST;
		if (!slot_count(w) || slot_set(w) != folio_set_nr(folio))
			return -ENOENT;
	}
	return 0;
}

/*
 * The slots at @entry, with the cluster's lock held, if there are any: who adds may have nothing but an entry that
 * it has seen. Who has it holds up swapoff.
 */
static bool add_lock(swp_entry_t entry, struct swap_ref *r)
{
	struct swap_device *dev = swap_device_get(swp_type(entry), true);
	bool there = false;

	if (!dev)
		return false;
	rcu_read_lock();
	there = swap_word(entry);
	rcu_read_unlock();
	if (there) {
		*r = swap_ref_of(entry);
		spin_lock(&r->c->lock);
	}
	swap_device_put(dev);
	return there;
}

int swap_cache_add(struct folio *folio, swp_entry_t entry, u64 shadows[])
{
	unsigned long nr = folio_nr_pages(folio), pfn = folio_pfn(folio);
	struct swap_ref r;
	int err;

	VM_BUG_ON(!folio_test_locked(folio) || folio_test_flag(folio, PG_swapcache));
	VM_BUG_ON(!IS_ALIGNED(swp_offset(entry), nr) || nr > CLUSTER_SLOTS);
	if (!is_swap_slot(entry) || !add_lock(entry, &r))
		return -ENOENT;
	err = add_refused(&r, folio);
	if (!err) {
		cache_insert(folio, entry, 1u << PG_swapbacked);
		for (unsigned long i = 0; i < nr; i++) {
			u64 w = r.word[i];

			if (shadows)
				shadows[i] = w & SLOT_PAYLOAD;
			/* release: pairs with the acquire in cache_try() */
			smp_store_release(&r.word[i],
					  (w & ~SLOT_PAYLOAD) | SLOT_CACHED | (pfn + i));
		}
		WRITE_ONCE(r.c->cached, (u16)(r.c->cached + nr));
	}
	spin_unlock(&r.c->lock);
	return err;
}

/* ---- out ---- */

/* Slots of a folio that leaves: those without a count are free. Lock held. */
static void slots_uncache(const struct swap_ref *r, u32 nr, const struct folio *folio, u32 shadow)
{
	u64 payload = ((u64)shadow << SWAP_SHADOW_SET_BITS & SLOT_PAYLOAD) | folio_set_nr(folio);
	u64 failed = folio_test_flag(folio, PG_swap_failed) ? SLOT_FAILED : 0;
	u64 *word = r->word;
	u32 free = 0;

	WRITE_ONCE(r->c->cached, (u16)(r->c->cached - nr));
	for (u32 i = 0; i < nr; i++) {
		u64 w = (word[i] & ~SLOT_IDENTITY) | payload;

		if (!slot_count(w)) {
			WRITE_ONCE(word[i], w | failed);
			free++;
			continue;
		}
		WRITE_ONCE(word[i], w);
		if (free)
			cluster_free(r->dev, r->c, r->at + i - free, free);
		free = 0;
	}
	if (free)
		cluster_free(r->dev, r->c, r->at + nr - free, free);
}

static struct swap_ref folio_slots(const struct folio *folio)
{
	return swap_ref_folio(folio, 0);
}

void swap_cache_del(struct folio *folio, u32 shadow)
{
	u32 nr = (u32)folio_nr_pages(folio);
	struct swap_ref r;

	check_cached(folio, "swap_cache_del");
	/* the device reads the pages, or the slots could be given to somebody else under a write */
	if (unlikely(folio_under_writeback(folio)))
		octavo_panic("swap_cache_del() of a folio under writeback");
	r = folio_slots(folio);
	spin_lock(&r.c->lock);
	slots_uncache(&r, nr, folio, shadow);
	spin_unlock(&r.c->lock);
	cache_forget(folio, 0);
	if (folio_ref_count(folio))
		folio_put_refs(folio, nr);
}

/* Lock held. */
static bool any_counted(const struct swap_ref *r, u32 nr)
{
	const u64 *word = r->word;
	u64 all = 0;

	for (u32 i = 0; i < nr; i++)
		all |= word[i];
	return slot_count(all) != 0;
}

bool folio_free_swap(struct folio *folio)
{
	u32 nr = (u32)folio_nr_pages(folio);
	struct swap_ref r;
	bool used;

	VM_BUG_ON(!folio_test_locked(folio));
	if (!folio_test_flag(folio, PG_swapcache) || folio_under_writeback(folio))
		return false;
	r = folio_slots(folio);
	spin_lock(&r.c->lock);
	used = any_counted(&r, nr);
	if (!used)
		slots_uncache(&r, nr, folio, 0);
	spin_unlock(&r.c->lock);
	if (used)
		return false;
	cache_forget(folio, 1u << PG_dirty);
	folio_put_refs(folio, nr);
	return true;
}

void folio_leave_swap(struct folio *folio)
{
	if (folio_mapped(folio) || !folio_trylock(folio))
		return;
	if (!folio_mapped(folio))
		folio_free_swap(folio);
	folio_unlock(folio);
}

/* ---- another folio in its place ---- */

void swap_cache_replace(struct folio *old, struct folio *new)
{
	u32 nr = (u32)folio_nr_pages(old);
	struct swap_ref r;

	check_cached(old, "swap_cache_replace");
	VM_BUG_ON(folio_order(old) != folio_order(new) || !folio_test_locked(new));
	if (unlikely(folio_ref_count(old) || folio_under_writeback(old)))
		octavo_panic("swap_cache_replace(): the old folio is in use");
	r = folio_slots(old);
	cache_insert(new, folio_swap_entry(old, 0),
		     READ_ONCE(old->flags) & (1u << PG_swapbacked | 1u << PG_swap_failed));
	spin_lock(&r.c->lock);
	for (u32 i = 0; i < nr; i++)
		/* release: pairs with the acquire in cache_try(): the new folio names the slots */
		smp_store_release(&r.word[i], (r.word[i] & ~SLOT_PAYLOAD) | (folio_pfn(new) + i));
	spin_unlock(&r.c->lock);
	cache_forget(old, 0);
}
