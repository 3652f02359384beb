/* SPDX-License-Identifier: MIT */
/*
 * hooks.h - the calls from a lower layer up: one const table, registered before octavo_init(). Any entry
 * may be NULL.
 */
#ifndef OCTAVO_HOOKS_H
#define OCTAVO_HOOKS_H

#include <octavo/gfp.h>
#include <octavo/swapops.h>

struct folio;
struct mm_struct;
struct page;

struct octavo_hooks {
	/*
	 * An allocation of @order failed, or would go below the min watermark. May sleep. Return: frames
	 * freed; 0 ends the allocation in failure (or, with __GFP_NOFAIL, asks again).
	 */
	u64 (*direct_reclaim)(gfp_t gfp, unsigned int order, int nid);
	/* A zone went below its low watermark: wake whoever reclaims in the background. Any context. */
	void (*wake_reclaim)(u32 node, u32 zone);
	/*
	 * The last reference of a folio is gone, its count is 0, its words still name it. Tells swap and
	 * others that hold something for it. Any context, may not sleep or allocate, and may not call
	 * memory_failure() or unpoison_memory(), under whose lock it may run.
	 */
	void (*folio_release)(struct folio *folio);
	/* A poisoned frame is in use by a folio, or owned by somebody. May be called while sleeping is legal. */
	void (*memory_failure)(unsigned long pfn);
	/*
	 * A page of an address space is about to be named by a slot, instead of by its frame: what the port keeps beside a page's
	 * contents (tags of its memory) has to be kept with @slot. Under a page-table lock: may not sleep. Called again if the
	 * page stays after all. To have it also means: never more than one entry at a time. Return: 0; -errno: it stays.
	 */
	int (*swap_out)(struct mm_struct *mm, unsigned long addr, unsigned long pfn,
			swp_entry_t slot);
	/*
	 * The other way: the entry of @slot is about to name frame @pfn, and what swap_out() has kept with the slot has to be beside the
	 * frame before anybody can use it. For each entry that is replaced: so the frame may have it already, because it never
	 * left the cache, or because another entry of the slot came first. What is kept stays kept: others may name the slot
	 * still. Under a page-table lock, the folio locked: may not sleep, may not fail.
	 */
	void (*swap_in)(struct mm_struct *mm, unsigned long addr, unsigned long pfn,
			swp_entry_t slot);
	/*
	 * @nr slots from @first on are nobody's any more, and what is kept with them can go; with some of them nothing may be.
	 * Told of every slot that was given out, once, before it is given out again; so when a device has gone, of all of
	 * it. With spinlocks held, in any context: may not sleep, allocate, or call the core.
	 */
	void (*swap_free)(swp_entry_t first, u32 nr);
	/*
	 * The direct map of @nr frames of vmalloc() is to be writable or not: set_memory_ro() and _rw(), and the end of an
	 * area with VM_FLUSH_RESET_PERMS. May sleep, may not fail.
	 */
	void (*direct_map_perms)(unsigned long pfn, unsigned long nr, bool writable);
};

/**
 * octavo_set_hooks() - register the table
 * @hooks: const, for ever; NULL for none
 *
 * Context: before anything else runs in the core.
 */
void octavo_set_hooks(const struct octavo_hooks *hooks);

#endif /* OCTAVO_HOOKS_H */
