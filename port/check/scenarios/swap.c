/* SPDX-License-Identifier: MIT */
/*
 * swap.c - slots, the swap cache and transfers against each other.
 */
#include "swap_device.h"

/* ---- a device that wants to be polled ---- */

static void poll_held(struct swap_device *dev)
{
	end_one();
}

static const struct swap_device_ops ops_polled = { .submit = submit_held, .poll = poll_held };

/* ---- a slot is freed while somebody reads it, and somebody else wants one ---- */

static void reader(void)
{
	struct folio *folio = s.spare;
	int err = swap_cache_add(folio, s.entry, NULL);

	CHECK(!err || err == -ENOENT || err == -EEXIST);
	if (!err) {
		swap_read_folio(folio);
		swap_lock_folio(folio);
		CHECK(folio_test_flag(folio, PG_uptodate));
		/* nobody else can have had the slot: the cache has it */
		CHECK(*word_of(folio) == 42);
		/* the freer may have taken it out of the cache before we had the lock */
		CHECK(swap_cache_index(folio, s.entry) <= 0);
		folio_free_swap(folio);
	}
	folio_unlock(folio);
	folio_put(folio);
}

static void freer(void)
{
	swap_free_entries(s.entry, 1);
}

/* All slots but the one that is freed are taken. */
static void writer(void)
{
	if (folio_alloc_swap(s.other) == 0) {
		CHECK(swp_offset(folio_swap_entry(s.other, 0)) == swp_offset(s.entry));
		CHECK(swap_writeout(s.other) == 0);
		folio_lock(s.other);
		CHECK(s.store[swp_offset(s.entry)] == 7);
		CHECK(folio_free_swap(s.other));
	}
	folio_unlock(s.other);
	folio_put(s.other);
}

static void setup_free_in(void)
{
	setup_out(1);
	s.spare = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	CHECK(s.spare);
	folio_lock(s.spare);
	for (unsigned int i = 2; i < SLOTS; i++) {
		s.folio = folio_new(0, 0);
		CHECK(folio_alloc_swap(s.folio) == 0);
		folio_unlock(s.folio);
		folio_put(s.folio);
	}
}

SCENARIO(swap_free_in) = {
	SCENARIO_NAME(swap_free_in),
	SWAP,
	.about = "the last entry of a slot goes while it is read in, and somebody waits for a free "
		 "one",
	.rows = "S2.26",
	.setup = setup_free_in,
	.threads = { reader, freer, writer },
	.roles = { "reader", "freer", "writer" },
	.finish = off,
};

/* ---- look-up against delete, and reuse of slot, frame and descriptor ---- */

/* Whoever is found under the entry had it: 1, or (the slot came to somebody else) 2; the frame's next use is 3. */
static void looker(void)
{
	struct folio *folio = swap_cache_get_folio(s.entry);

	if (!folio)
		return;
	CHECK(*word_of(folio) != 3);
	CHECK(*word_of(folio) == 1 || *word_of(folio) == 2);
	folio_put(folio);
}

/* Takes it out, and uses frame and descriptor for something else at once. */
static void deleter(void)
{
	struct folio *folio;

	if (!folio_ref_freeze(s.folio, 2)) {
		folio_unlock(s.folio);
		folio_put(s.folio);
		return;
	}
	swap_cache_del(s.folio, 5);
	folio_ref_unfreeze(s.folio, 1);
	folio_unlock(s.folio);
	folio_put(s.folio);
	folio = folio_alloc(GFP_NOWAIT, 0, FOLIO_ANON);
	if (!folio)
		return;
	*word_of(folio) = 3;
	folio_put(folio);
}

/* Takes the slot, when it is free. */
static void taker(void)
{
	swap_free_entries(s.entry, 1);
	if (folio_alloc_swap(s.other) == 0)
		CHECK(folio_free_swap(s.other));
	folio_unlock(s.other);
	folio_put(s.other);
}

static void setup_del(void)
{
	/* the deleter's frame and descriptor are in its CPU's caches when it wants new ones */
	check_set_cpu(1);
	setup_cached(&ops_now, 1, 1);
	s.other = folio_new(0, 2);
}

SCENARIO(swap_del_look) = {
	SCENARIO_NAME(swap_del_look),
	SWAP,
	.about = "a look-up while the folio leaves the cache, and slot, frame and descriptor are "
		 "used again",
	.rows = "S2.26",
	.setup = setup_del,
	.threads = { looker, deleter, taker },
	.roles = { "look-up", "reclaim", "new owner" },
	.finish = off,
};

/* ---- counts ---- */

/* One that has an entry copies it, and both go. */
static void forker(void)
{
	CHECK(swap_dup_entries(s.entry, 1) == 0);
	CHECK(swap_count(s.entry) >= 2);
	swap_free_entries(s.entry, 1);
	swap_free_entries(s.entry, 1);
}

/* Another slot than the one that is in use. */
static void allocator(void)
{
	CHECK(folio_alloc_swap(s.other) == 0);
	CHECK(folio_free_swap(s.other));
	folio_unlock(s.other);
	folio_put(s.other);
}

static void setup_two(void)
{
	setup_out(2);
}

static void all_free(void)
{
	CHECK(!swap_entry_valid(s.entry));
	off();
}

SCENARIO(swap_dup_free) = {
	SCENARIO_NAME(swap_dup_free),
	SWAP,
	.about =
		"an entry is copied while another of the same slot goes, and somebody wants a slot",
	.rows = "S2.26 S2.27",
	.setup = setup_two,
	.threads = { forker, freer, allocator },
	.roles = { "fork", "exit", "reclaim" },
	.finish = all_free,
};

/* Reclaim is about to name the slot by one more entry: it has the folio locked, and it is cached, or it is not. */
static void unmapper(void)
{
	struct folio_subrange sr;

	folio_lock(s.folio);
	sr = folio_subrange(s.folio, 0, 1);
	if (folio_test_flag(s.folio, PG_swapcache) && folio_dup_swap(sr) == 0) {
		s.done[0] = 1;
		CHECK(swap_count(s.entry) >= 1);
	}
	folio_unlock(s.folio);
}

/* The one entry that there was goes, and with it what keeps the folio in the cache. */
static void setup_dup_cached(void)
{
	setup_cached(&ops_now, 1, 1);
	folio_unlock(s.folio);
	s.other = folio_new(0, 2);
}

static void entry_is_good(void)
{
	if (s.done[0]) {
		struct folio *folio = swap_cache_get_folio(s.entry);

		CHECK(folio == s.folio && swap_count(s.entry) == 1);
		folio_put(folio);
		swap_free_entries(s.entry, 1);
	}
	folio_put(s.folio);
	off();
}

SCENARIO(swap_dup_uncache) = {
	SCENARIO_NAME(swap_dup_uncache),
	SWAP,
	.about = "the last entry of a cached folio goes while reclaim makes another, and somebody "
		 "wants a slot",
	.rows = "S2.26",
	.setup = setup_dup_cached,
	.threads = { unmapper, freer, allocator },
	.roles = { "unmap", "exit", "reclaim" },
	.finish = entry_is_good,
};

/* ---- migration ---- */

static void mover(void)
{
	if (!folio_ref_freeze(s.folio, 2)) {
		folio_unlock(s.folio);
		return;
	}
	swap_cache_replace(s.folio, s.other);
	s.done[0] = 1;
	folio_ref_unfreeze(s.folio, 1);
	folio_unlock(s.folio);
	folio_unlock(s.other);
	/* the old frame is used for something else, perhaps by somebody who has its last reference still */
	if (folio_ref_freeze(s.folio, 1)) {
		*word_of(s.folio) = 3;
		folio_ref_unfreeze(s.folio, 1);
	}
}

static void look_for_copy(void)
{
	struct folio *folio = swap_cache_get_folio(s.entry);

	if (!folio)
		return;
	CHECK(folio == s.folio || folio == s.other);
	CHECK(*word_of(folio) == 1);
	if (folio == s.other) {
		CHECK(folio_test_flag(folio, PG_swapcache));
		CHECK(swap_cache_index(folio, s.entry) == 0);
	}
	folio_put(folio);
}

static void setup_replace(void)
{
	setup_cached(&ops_now, 1, 1);
	s.other = folio_new(0, 1);
}

static void cached_is_the_new_one(void)
{
	struct folio *folio = swap_cache_get_folio(s.entry);

	CHECK(folio == (s.done[0] ? s.other : s.folio));
	folio_put(folio);
	CHECK(folio_ref_count(s.folio) == 2 - s.done[0]);
	swap_free_entries(s.entry, 1);
	folio_put(s.folio);
	if (folio_test_locked(s.other))
		folio_unlock(s.other);
	folio_put(s.other);
	off();
}

SCENARIO(swap_replace_look) = {
	SCENARIO_NAME(swap_replace_look),
	SWAP,
	.about = "another folio takes the place of one in the cache, and two look it up",
	.rows = "S2.26",
	.setup = setup_replace,
	.threads = { look_for_copy, mover, look_for_copy },
	.roles = { "look-up", "migration", "look-up" },
	.finish = cached_is_the_new_one,
};

/* ---- waiting for transfers ---- */

/* The page may be used again: the device has read it. */
static void waiter(void)
{
	folio_wait_writeback(s.folio);
	if (fetch_add_relaxed(&s.done[0], 1u) == 0)
		*word_of(s.folio) = 9;
	folio_put(s.folio);
}

static void device_ends(void)
{
	CHECK(end_one());
}

static void setup_writeback(void)
{
	setup_cached(&ops_held, 1, 0);
	CHECK(swap_writeout(s.folio) == 0);
	folio_get(s.folio);
}

static void was_written(void)
{
	CHECK(s.store[swp_offset(s.entry)] == 1);
	off();
}

SCENARIO(swap_writeback_wait) = {
	SCENARIO_NAME(swap_writeback_wait),
	SWAP,
	.about = "a write ends while two wait for it, of whom one uses the page",
	.rows = "S2.26",
	.setup = setup_writeback,
	.threads = { waiter, device_ends, waiter },
	.roles = { "waiter", "device", "waiter" },
	.finish = was_written,
};

/* Who takes the folio out of the cache must wait: its slot would be written to under the next owner. */
static void uncacher(void)
{
	folio_lock(s.folio);
	s.done[1] = folio_free_swap(s.folio);
	folio_unlock(s.folio);
	folio_put(s.folio);
}

static void new_owner(void)
{
	if (folio_alloc_swap(s.other) == 0) {
		unsigned long slot = swp_offset(folio_swap_entry(s.other, 0));

		if (slot == swp_offset(s.entry))
			s.store[slot] = 8;
		CHECK(folio_free_swap(s.other));
	}
	folio_unlock(s.other);
	folio_put(s.other);
}

static void setup_uncache(void)
{
	setup_writeback();
	for (unsigned int i = 2; i < SLOTS; i++) {
		s.other = folio_new(0, 0);
		CHECK(folio_alloc_swap(s.other) == 0);
		folio_unlock(s.other);
		folio_put(s.other);
	}
	s.other = folio_new(0, 2);
}

static void put_the_folio(void)
{
	folio_put(s.folio);
	off();
}

SCENARIO(swap_writeback_free) = {
	SCENARIO_NAME(swap_writeback_free),
	SWAP,
	.about =
		"a folio is to leave the cache while its write ends, and somebody waits for a slot",
	.rows = "S2.26",
	.setup = setup_uncache,
	.threads = { uncacher, device_ends, new_owner },
	.roles = { "reclaim", "device", "new owner" },
	.finish = put_the_folio,
};

/* ---- a device that has to be polled ---- */

/* Reads ahead, and does not wait. */
static void read_ahead(void)
{
	swap_read_folio(s.folio);
	folio_put(s.folio);
}

static void needs_it(void)
{
	struct folio *folio = swap_cache_get_folio(s.entry);

	if (!folio)
		return;
	swap_lock_folio(folio);
	CHECK(folio_test_flag(folio, PG_uptodate) && *word_of(folio) == 42);
	folio_unlock(folio);
	folio_put(folio);
}

static void setup_polled(void)
{
	setup_cached(&ops_polled, 42, 1);
	CHECK(swap_writeout(s.folio) == 0);
	folio_wait_writeback(s.folio);
	folio_lock(s.folio);
	folio_gone(s.folio);
	s.folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	CHECK(s.folio);
	folio_lock(s.folio);
	CHECK(swap_cache_add(s.folio, s.entry, NULL) == 0);
}

static void polled_over(void)
{
	while (end_one())
		;
	swap_free_entries(s.entry, 1);
	off();
}

SCENARIO(swap_polled_read) = {
	SCENARIO_NAME(swap_polled_read),
	SWAP,
	.about = "one reads ahead and goes away, and two who need the folio poll",
	.rows = "S2.26",
	.setup = setup_polled,
	.threads = { needs_it, read_ahead, needs_it },
	.roles = { "fault", "readahead", "fault" },
	.finish = polled_over,
};

/* ---- a folio that is written twice, by devices of either kind ---- */

static void waits_unlocked(void)
{
	folio_wait_writeback(s.folio);
	folio_put(s.folio);
}

/* The device ends the write; the folio gets slots of one that is polled, and is written there by who does not wait. */
static void moves(void)
{
	CHECK(end_one());
	folio_lock(s.folio);
	CHECK(folio_free_swap(s.folio));
	CHECK(folio_alloc_swap(s.folio) == 0);
	CHECK(swp_type(folio_swap_entry(s.folio, 0)) == 1);
	CHECK(swap_writeout(s.folio) == 0);
}

static void setup_moves(void)
{
	setup_cached(&ops_held, 42, 0);
	CHECK(swapon(&ops_polled, NULL, SLOTS, 0, 0) == 1);
	CHECK(swap_device_close_begin(0) == 0);
	CHECK(swap_writeout(s.folio) == 0);
	folio_get(s.folio);
}

static void moves_over(void)
{
	while (end_one())
		;
	folio_lock(s.folio);
	CHECK(folio_free_swap(s.folio));
	folio_unlock(s.folio);
	folio_put(s.folio);
	CHECK(swap_device_close_end(0) == 0);
	CHECK(swap_device_close_begin(1) == 0);
	CHECK(swap_device_close_end(1) == 0);
}

SCENARIO(swap_wait_moves) = {
	SCENARIO_NAME(swap_wait_moves),
	SWAP,
	.about = "one waits for writeback without the lock, and the next write is to a device that "
		 "is polled by nobody else",
	.rows = "S2.26",
	.setup = setup_moves,
	.threads = { waits_unlocked, moves },
	.roles = { "waits", "writes again" },
	.finish = moves_over,
};

/* ---- all transfers are under way ---- */

static void write_other(void)
{
	CHECK(swap_writeout(s.other) == 0);
	s.done[0] = 1;
}

static void device_ends_all(void)
{
	for (unsigned int n = 0; n < 3;) {
		if (end_one())
			n++;
		else
			octavo_port_relax();
	}
}

static void setup_all_xfers(void)
{
	setup_device(&ops_held);
	for (unsigned int i = 0; i < 3; i++) {
		struct folio *folio = folio_new(0, i);

		CHECK(folio_alloc_swap(folio) == 0);
		if (i < OCTAVO_SWAP_XFERS)
			CHECK(swap_writeout(folio) == 0);
		else
			s.other = folio;
		folio_put(folio);
	}
}
BUILD_BUG_ON(OCTAVO_SWAP_XFERS != 2);

SCENARIO(swap_xfer_wait) = {
	SCENARIO_NAME(swap_xfer_wait),
	SWAP,
	.about = "a write waits for one of the device's transfers to end",
	.rows = "S2.26",
	.setup = setup_all_xfers,
	.threads = { write_other, device_ends_all },
	.roles = { "writer", "device" },
	.finish = off,
};
