// SPDX-License-Identifier: MIT
/*
 * slots.c - counts of slots.
 *
 * 1. A count is changed under the lock of the slot's cluster, a batch of one cluster under one hold of it. What is
 *    asked for a run happens for all of it or not at all: first all words are looked at, then all are written.
 *    A run that goes on in another cluster is undone there, from where it failed backwards; what
 *    is undone cannot have reached 0, because the entries that are copied have their own counts all the time.
 *
 * 2. From 0 a count goes up only by folio_dup_swap(), whose caller has the folio locked. So who has the lock and finds
 *    all counts at 0 may take the folio out of the cache (folio_free_swap()), and who sees a count above 0 because it
 *    has one of them, may copy it.
 *
 * 3. Who drops the last count of a cached slot may hold a page-table lock and so cannot wait for the folio. It tries;
 *    who has the lock meanwhile is a reader, writer or reclaim, and will look itself.
 *
 * What this file does not do: say who has the counts. A count that is too low is found when it would
 * go below 0, and is fatal: slots are somebody's memory.
 */
#include <octavo/errno.h>

#include "swap_internal.h"

void swap_no_slot(unsigned int type, u64 slot)
{
	octavo_panic("swap: slot %lu of device %u is none", (unsigned long)slot, type);
}

u64 *swap_word(swp_entry_t entry)
{
	u64 slot = swp_offset(entry);
	struct swap_device *dev = is_swap_slot(entry) ? swap_device_of(swp_type(entry)) : NULL;
	struct swap_cluster *c;
	u64 *words;

	if (!dev || slot >= dev->nr_slots)
		return NULL;
	c = swap_cluster_at(dev, slot / CLUSTER_SLOTS);
	/* acquire: pairs with the release in cluster_fresh() */
	words = c ? smp_load_acquire(&c->words) : NULL;
	return words ? words + slot % CLUSTER_SLOTS : NULL;
}

static __noreturn __cold void count_bad(const struct swap_ref *r, unsigned int i, const char *what)
{
	octavo_panic("swap: %s of slot %lu of device %u, whose word is 0x%lx", what,
		     (unsigned long)r->c->nr * CLUSTER_SLOTS + r->at + i, r->dev->type,
		     (unsigned long)r->word[i]);
}

/* How many of @nr slots from @r on are in its cluster. */
static u32 in_cluster(const struct swap_ref *r, u32 nr)
{
	return min(nr, CLUSTER_SLOTS - r->at);
}

/*
 * The count is the top of the word, and the top bit is none of it: what goes up from the highest count has that bit, and what goes
 * down from 0. So one pass changes a run, and says whether it may stay so.
 */
static inline bool counts_beyond(u64 any)
{
	return slot_count(any) > SLOT_COUNT_MAX;
}

/* ---- up ---- */

/* Fatal if one of them is 0. */
static __cold void counts_check(const struct swap_ref *r, u32 nr, const char *what)
{
	for (u32 i = 0; i < nr; i++)
		if (!slot_count(r->word[i]))
			count_bad(r, i, what);
}

/* Slots from @r on, in its cluster, have one more; all or none. Lock held. */
static __always_inline int counts_up(const struct swap_ref *r, u32 nr)
{
	if (likely(!counts_beyond(words_add(r->word, SLOT_COUNT_ONE, nr))))
		return 0;
	/* who looks meanwhile without the lock finds one entry more, as if it had been there and gone */
	words_add(r->word, -SLOT_COUNT_ONE, nr);
	return -ENOMEM;
}

static __noreturn __cold void folio_has_none(const struct folio *folio)
{
	octavo_panic("swap: folio %p has no slots", (const void *)folio);
}

/* What folio_dup_swap() and folio_put_swap() are about. */
static inline struct swap_ref subrange_ref(struct folio_subrange sr)
{
	VM_BUG_ON(!folio_test_locked(sr.folio));
	if (unlikely(!folio_test_flag(sr.folio, PG_swapcache)))
		folio_has_none(sr.folio);
	return swap_ref_folio(sr.folio, sr.first);
}

int folio_dup_swap(struct folio_subrange sr)
{
	struct swap_ref r = subrange_ref(sr);
	int err;

	spin_lock(&r.c->lock);
	err = counts_up(&r, sr.nr);
	spin_unlock(&r.c->lock);
	return err;
}

/* Lock held; fatal if one of them is 0. Slots of which it was the last stay as they are. */
static inline void counts_down(const struct swap_ref *r, u32 nr)
{
	if (likely(!counts_beyond(words_add(r->word, -SLOT_COUNT_ONE, nr))))
		return;
	words_add(r->word, SLOT_COUNT_ONE, nr);
	counts_check(r, nr, "an entry too many is gone");
}

void folio_put_swap(struct folio_subrange sr)
{
	struct swap_ref r = subrange_ref(sr);

	spin_lock(&r.c->lock);
	counts_down(&r, sr.nr);
	spin_unlock(&r.c->lock);
}

/* Clusters of a run, one after the other. */
static swp_entry_t entry_after(swp_entry_t entry, u32 nr)
{
	return swp_entry(swp_type(entry), swp_offset(entry) + nr);
}

static void undo_up(swp_entry_t entry, u32 nr)
{
	for (u32 done = 0, n; done < nr; done += n) {
		struct swap_ref r = swap_ref_of(entry_after(entry, done));

		n = in_cluster(&r, nr - done);
		spin_lock(&r.c->lock);
		counts_down(&r, n);
		spin_unlock(&r.c->lock);
	}
}

int swap_dup_entries(swp_entry_t entry, u32 nr)
{
	u32 done = 0, n;

	VM_BUG_ON(!nr);
	for (; done < nr; done += n) {
		struct swap_ref r = swap_ref_of(entry_after(entry, done));
		int err;

		n = in_cluster(&r, nr - done);
		spin_lock(&r.c->lock);
		if (unlikely(counts_beyond(words_or(r.word, SLOT_COUNT_ONE, n))))
			counts_check(&r, n, "an entry was copied");
		err = counts_up(&r, n);
		spin_unlock(&r.c->lock);
		if (unlikely(err)) {
			undo_up(entry, done);
			return err;
		}
	}
	return 0;
}

/* ---- down, for good ---- */

/*
 * One less for slots of one cluster; those that nobody has any more are free. Lock held. Return: some are not, because
 * they are cached.
 */
static bool counts_drop(const struct swap_ref *r, u32 nr)
{
	bool cached = false;
	u32 free = 0;

	counts_down(r, nr);
	for (u32 i = 0; i < nr; i++) {
		u64 word = r->word[i];

		if (!slot_used(word)) {
			free++;
			continue;
		}
		cached |= !slot_count(word);
		if (free)
			cluster_free(r->dev, r->c, r->at + i - free, free);
		free = 0;
	}
	if (free)
		cluster_free(r->dev, r->c, r->at + nr - free, free);
	return cached;
}

/* The folio of a slot has lost a count: if nobody needs the slots any more, they are free. */
static u32 try_uncache(swp_entry_t entry)
{
	struct folio *folio = swap_cache_get_folio(entry);
	u32 nr = 1;

	if (!folio)
		return 1;
	if (!folio_mapped(folio) && folio_trylock(folio)) {
		long at = swap_cache_index(folio, entry);

		if (at >= 0) {
			nr = (u32)((long)folio_nr_pages(folio) - at);
			if (!folio_mapped(folio))
				folio_free_swap(folio);
		}
		folio_unlock(folio);
	}
	folio_put(folio);
	return nr;
}

void swap_free_entries(swp_entry_t entry, u32 nr)
{
	VM_BUG_ON(!nr);
	while (nr) {
		struct swap_ref r = swap_ref_of(entry);
		u32 n = in_cluster(&r, nr);
		bool cached;

		spin_lock(&r.c->lock);
		cached = counts_drop(&r, n);
		spin_unlock(&r.c->lock);
		/* what the slots were may be gone: from here on only look-ups that expect that */
		for (u32 i = 0; cached && i < n;)
			i += try_uncache(entry_after(entry, i));
		entry = entry_after(entry, n);
		nr -= n;
	}
}

/* ---- looking ---- */

/* A slot's word, or 0. Whoever asks holds nothing. */
static u64 peek(swp_entry_t entry)
{
	u64 *word, w;

	rcu_read_lock();
	word = swap_word(entry);
	w = word ? READ_ONCE(*word) : 0;
	rcu_read_unlock();
	return w;
}

bool swap_entry_valid(swp_entry_t entry)
{
	return slot_used(peek(entry));
}

unsigned int swap_count(swp_entry_t entry)
{
	return slot_count(peek(entry));
}

u64 swap_shadow(swp_entry_t entry)
{
	u64 w = peek(entry);

	return w & SLOT_CACHED ? 0 : w & SLOT_PAYLOAD;
}

u32 swap_uncached_run(swp_entry_t entry, u32 nr)
{
	u32 n = 0;
	u64 *word;

	rcu_read_lock();
	word = swap_word(entry);
	if (word)
		nr = min(nr, CLUSTER_SLOTS - (u32)(swp_offset(entry) % CLUSTER_SLOTS));
	for (; word && n < nr; n++) {
		u64 w = READ_ONCE(word[n]);

		if (!slot_count(w) || (w & SLOT_CACHED))
			break;
	}
	rcu_read_unlock();
	return n;
}
