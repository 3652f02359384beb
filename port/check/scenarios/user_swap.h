/* SPDX-License-Identifier: MIT */
/*
 * user_swap.h - an address space of which a page is in a slot, and the device that it is on: fast, or one whose transfers
 * somebody ends.
 *
 * The device has three words of a page, moved plainly: a page that is written to while it is on its way, or read before it is there, is a
 * data race.
 */
#ifndef CHECK_USER_SWAP_H
#define CHECK_USER_SWAP_H

#include <octavo/octavo.h>
#include <octavo/reclaim.h>
#include <octavo/swap.h>

#include "user_space.h"

enum { SLOTS = 8, WORDS = 3 };

static SHARED struct {
	u64 store[SLOTS][WORDS];
	u32 written[SLOTS], reads;
	struct swap_io *kept[SLOTS]; /* of slow devices: the transfer of a slot */
	u32 slow, over;		     /* transfers are kept; who waited for them is done */
} d;

/* ---- the device ---- */

static inline void transfer(struct swap_io *io)
{
	u64 *page = io->addr;

	CHECK(io->op == SWAP_WRITE || d.written[io->slot]);
	for (u32 w = 0; w < WORDS; w++)
		if (io->op == SWAP_WRITE)
			d.store[io->slot][w] = page[w];
		else
			page[w] = d.store[io->slot][w];
	if (io->op == SWAP_WRITE)
		d.written[io->slot] = 1;
	else
		fetch_add_relaxed(&d.reads, 1u);
	swap_io_done(io, 0);
}

static inline void submit(struct swap_device *dev, struct swap_io *io)
{
	CHECK(io->nr == 1 && io->slot && io->slot < SLOTS);
	if (d.slow) {
		CHECK(!READ_ONCE(d.kept[io->slot]));
		/* release: pairs with the acquire in ends_one() */
		smp_store_release(&d.kept[io->slot], io);
	} else {
		transfer(io);
	}
}

static inline bool ends_one(void)
{
	for (u32 i = 1; i < SLOTS; i++) {
		/* acquire: pairs with the release in submit() */
		struct swap_io *io = smp_load_acquire(&d.kept[i]);

		if (!io)
			continue;
		WRITE_ONCE(d.kept[i], NULL);
		transfer(io);
		return true;
	}
	return false;
}

static inline void discard(struct swap_device *dev, unsigned long slot, u32 nr)
{
	for (u32 i = 0; i < nr; i++)
		d.written[slot + i] = 0;
}

static const struct swap_device_ops ops = { .submit = submit, .discard = discard };

/* ---- setting up ---- */

/* The folio of an entry of the address space, out to the device and not in memory any more. */
static inline void page_out(struct folio *folio)
{
	folio_lock(folio);
	CHECK(!folio_alloc_swap(folio) && try_to_unmap(folio, 0) && !swap_writeout(folio));
	folio_lock(folio);
	CHECK(folio_ref_freeze(folio, 2));
	swap_cache_del(folio, 0);
	folio_ref_unfreeze(folio, 1);
	folio_unlock(folio);
	folio_put(folio);
}

static inline struct folio *folio_of(struct mm_struct *mm, unsigned long addr)
{
	struct folio *folio = page_folio(pfn_to_page(pte_pfn(entry_of(mm, addr))));

	folio_get(folio);
	return folio;
}

static inline void setup_out_flags(u32 flags)
{
	setup();
	CHECK(swapon(&ops, NULL, SLOTS, 0, flags) == 0);
	s.at = ADDR + PAGE_SIZE;
	*(u64 *)pfn_to_virt(pte_pfn(entry_of(s.mm, s.at))) = 77;
	page_out(folio_of(s.mm, s.at));
	CHECK(pte_is_swap(entry_of(s.mm, s.at)));
	rcu_barrier();
}

/* The page at s.at has 77, and is in a slot. */
static inline void setup_out(void)
{
	setup_out_flags(SWAP_FLAG_SYNC);
}

/* The same, and from now on transfers end when somebody ends them. */
static inline void setup_slow(void)
{
	setup_out_flags(0);
	d.slow = 1;
}

/* ---- programs ---- */

/* A fault where mmap_lock is needed anyway. Return: false: nothing is mapped there any more. */
static inline bool faults(struct mm_struct *mm, unsigned long addr, u32 flags)
{
	struct vm_area_struct *vma;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, addr);
	if (vma)
		CHECK(!(handle_mm_fault(vma, addr, flags) & ~VM_FAULT_MAJOR));
	mmap_read_unlock(mm);
	return vma;
}

/* A program's, which may wait for the device. Return: as faults(). */
static inline bool writes(struct mm_struct *mm, unsigned long addr, u64 value)
{
	while (check_mmu_store(mm, addr, value) != CHECK_MMU_OK)
		if (!faults(mm, addr, FAULT_FLAG_WRITE))
			return false;
	return true;
}

static inline bool reads_word(struct mm_struct *mm, unsigned long addr, u64 *value)
{
	while (check_mmu_load(mm, addr, value) != CHECK_MMU_OK)
		if (!faults(mm, addr, 0))
			return false;
	return true;
}

/* No entry names a slot. What is in the cache without one is there because its lock was not to be had, and goes. */
static inline void no_slot(void)
{
	struct swap_stat st;

	CHECK(swap_stat(0, &st) && st.used == st.cached);
	CHECK(mm_validate(s.mm) && swap_validate());
	CHECK(!swapoff(0));
}

/* What a program would find. Quiet. */
static inline u64 found(struct mm_struct *mm, unsigned long addr)
{
	u64 value = ~0ul;

	CHECK(reads_word(mm, addr, &value));
	return value;
}

/* Until so many who may have waited for it are done. */
static inline void device_ends(u32 waiters)
{
	while (READ_ONCE(d.over) < waiters)
		if (!ends_one())
			octavo_port_relax();
}

#endif /* CHECK_USER_SWAP_H */
