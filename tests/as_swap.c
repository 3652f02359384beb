// SPDX-License-Identifier: MIT
/*
 * as_swap.c - a swap device for programs of address spaces, and what takes pages there and back as a whole.
 */
#include <string.h>

#include <octavo/reclaim.h>
#include <octavo/swap.h>

#include "as_ops.h"
#include "sim.h"

enum { AS_SLOTS = 1024 };

static struct {
	u8 page[AS_SLOTS][AS_PAGE];
	bool written[AS_SLOTS];
	unsigned int fails; /* transfers of the next ones that do, a bit each */
} dev;

/* ---- the device ---- */

static int move(const struct swap_io *io)
{
	bool fails = dev.fails & 1;

	dev.fails >>= 1;
	if (fails) {
		as.io_failed++;
		return -EIO;
	}
	if (!io->slot || io->slot + io->nr > AS_SLOTS)
		octavo_panic("slots %lu + %u of %u", io->slot, io->nr, AS_SLOTS);
	for (u32 i = 0; i < io->nr; i++) {
		u8 *slot = dev.page[io->slot + i], *page = (u8 *)io->addr + i * AS_PAGE;

		if (io->op == SWAP_READ && !dev.written[io->slot + i])
			octavo_panic("slot %lu was never written", io->slot + i);
		memcpy(io->op == SWAP_READ ? page : slot, io->op == SWAP_READ ? slot : page,
		       AS_PAGE);
		dev.written[io->slot + i] = true;
	}
	return 0;
}

static void submit(struct swap_device *sd, struct swap_io *io)
{
	swap_io_done(io, move(io));
}

static void discard(struct swap_device *sd, unsigned long slot, u32 nr)
{
	memset(dev.written + slot, 0, nr);
	memset(dev.page[slot], 0xdb, nr * AS_PAGE);
}

static const struct swap_device_ops dev_ops = { .submit = submit, .discard = discard };

bool as_swap_on(void)
{
	if (as.swap >= 0)
		return true;
	dev.fails = 0;
	memset(dev.written, 0, sizeof(dev.written));
	as.swap = swapon(&dev_ops, NULL, as.m.nr < AS_SLOTS ? as.m.nr : AS_SLOTS, 0,
			 as.swap_sync ? SWAP_FLAG_SYNC : 0);
	return as.swap >= 0;
}

bool as_swap_end(void)
{
	struct swap_stat st;
	int err;

	dev.fails = 0;
	if (as.swap < 0)
		return true;
	/* a lock that was not to be had leaves a folio in the cache, for who reclaims */
	if (!swap_stat(as.swap, &st) || st.used > (as.all_hits ? st.cached : 0))
		return as_wrong("%lu slots are used in the end, %lu cached", (unsigned long)st.used,
				(unsigned long)st.cached);
	err = swapoff(as.swap);
	return !err || as_wrong("swapoff in the end: %d", err);
}

/* ---- what is in a slot ---- */

const u64 *as_slot_word(int p, unsigned long addr, unsigned int i)
{
	static u64 word;
	struct folio *folio;
	swp_entry_t slot;
	struct pt_pos pos;

	pgtable_walk(as.mm[p], addr, PGTABLE_LEVEL_PTE, &pos);
	slot = pte_to_swp_entry(pos.pte);
	folio = swap_cache_get_folio(slot);
	if (folio && folio_test_flag(folio, PG_uptodate)) {
		/* quiet: it stays what it is */
		word = *as_host_word(
			folio_pfn(folio) + (unsigned long)swap_cache_index(folio, slot), i);
	} else if (dev.written[swp_offset(slot)]) {
		memcpy(&word, dev.page[swp_offset(slot)] + as_word_offset(i), sizeof(word));
	} else {
		as_wrong("process %d %lx: slot %lu has no contents", p, addr,
			 (unsigned long)swp_offset(slot));
	}
	if (folio)
		folio_put(folio);
	return &word;
}

/* ---- operations ---- */

static struct folio *anon_folio_at(const struct op *o, unsigned long addr)
{
	unsigned long pfn;
	bool guard;

	if (!as_in(&as.m, addr))
		return NULL;
	pfn = as_pfn_at(o->p, addr, &guard);
	return pfn < AS_IN_SLOT && pfn_valid(pfn) ? page_try_get_folio(pfn_to_page(pfn)) : NULL;
}

/* Out of the page tables and to its slots. Context: locked; unlocked when it returns. */
static void write_out(struct folio *folio, u32 flags)
{
	bool swap = folio_test_flag(folio, PG_swapbacked);

	if (swap && !folio_test_flag(folio, PG_swapcache) && folio_alloc_swap(folio)) {
		folio_unlock(folio);
		return;
	}
	if (!try_to_unmap(folio, flags) || !swap || !folio_test_flag(folio, PG_dirty)) {
		folio_unlock(folio);
		return;
	}
	swap_writeout(folio);
}

/* What nobody needs in memory any more goes. A reference is ours. Return: it went. */
static bool let_go(struct folio *folio)
{
	bool gone = false;
	u32 refs = 1;

	folio_wait_writeback(folio);
	folio_lock(folio);
	if (folio_test_flag(folio, PG_swapcache))
		refs += (u32)folio_nr_pages(folio);
	if (refs > 1 && !folio_mapped(folio) && !folio_test_flag(folio, PG_dirty) &&
	    folio_ref_freeze(folio, refs)) {
		swap_cache_del(folio, 0x5a);
		folio_ref_unfreeze(folio, 1);
		gone = true;
	} else {
		/* without entries it needs no slots */
		folio_free_swap(folio);
	}
	folio_unlock(folio);
	folio_put(folio);
	return gone;
}

static unsigned long page_out(const struct op *o)
{
	unsigned long nr = min(o->len / AS_PAGE + 1, 64ul), addr = o->addr & PAGE_MASK, out = 0;
	u32 flags = (o->bits & 2 ? TTU_SPLIT_LEAVES : 0) | (o->bits & 4 ? TTU_SYNC : 0) |
		    (o->bits & 8 ? TTU_SINGLE : 0);

	for (; nr; nr--, addr += AS_PAGE) {
		struct folio *folio = anon_folio_at(o, addr);

		if (!folio)
			continue;
		if (!folio_test_anon(folio) || !folio_trylock(folio)) {
			folio_put(folio);
			continue;
		}
		write_out(folio, flags);
		/* what stays in the cache can be had without the device */
		if (o->bits & 16) {
			folio_put(folio);
			out++;
		} else {
			out += let_go(folio);
		}
	}
	return out;
}

bool do_pageout(struct op *o)
{
	unsigned long out;

	describe("page out %#lx, %#lx", o->addr, o->len);
	if (!as_swap_on())
		return true;
	out = ON_CORE(o, page_out(o));
	run.st->out += out;
	for (int p = 0; p < AS_PROCS; p++)
		if (as.mm[p])
			as_adopt_freed(p);
	return true;
}

bool do_swapoff(struct op *o)
{
	int ret;

	describe("swapoff");
	if (as.swap < 0)
		return true;
	ret = ON_CORE(o, swapoff(as.swap));
	if (!ret)
		as.swap = -1;
	if (excuse(ret, -ENOMEM) || (ret == -EIO && as_excused()))
		return true;
	return simple("swapoff", ret, 0);
}

/* Some of the next transfers fail. */
bool do_io_fails(struct op *o)
{
	dev.fails = o->bits & 1 ? (unsigned int)(o->bits >> 1) : 0;
	describe("transfers fail: %#x", dev.fails);
	return true;
}
