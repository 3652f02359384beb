/* SPDX-License-Identifier: MIT */
/*
 * fault.h - what the files of the fault path tell each other; docs/faults.md.
 *
 *	fault.c         entry, dispatch by what the entry is
 *	fault_anon.c    missing anonymous memory, with and without mmap_lock
 *	fault_object.c  missing memory of the embedder's objects
 *	fault_device.c  memory that a device has for itself
 *	fault_swap.c    memory that is in a slot of a swap device
 *	swap_ahead.c    slots that are read before they are needed
 *	fault_wait.c    waiting for a device, or for a folio, without mmap_lock
 *	cow.c           writes to what may not be written to
 */
#ifndef MM_SPACE_FAULT_H
#define MM_SPACE_FAULT_H

#include <octavo/errno.h>
#include <octavo/swapops.h>

#include "space.h"

/* Slots that are read ahead for one fault at most. */
#define SWAP_AHEAD_MAX 16u

/* Slots that are worth reading beside that of a fault: what was seen in the table, which may be old by now. */
struct swap_ahead {
	u32 nr;
	swp_entry_t slot[SWAP_AHEAD_MAX];
};

/*
 * What a fault cannot go on without: it is waited for when mmap_lock has been given back, and then the fault begins
 * anew, with nothing of what it has seen. See fault_wait.c.
 */
struct fault_wait {
	enum fault_wait_for {
		FAULT_WAIT_NOTHING,
		FAULT_WAIT_LOCK, /* somebody reads the folio, moves it, or has it for a moment */
		FAULT_WAIT_WRITEBACK, /* of the folio */
		FAULT_WAIT_READ,      /* nobody has begun to read the slot */
	} what;
	struct folio *folio;	 /* a reference is ours */
	swp_entry_t entry;	 /* that is to be read */
	u32 orders;		 /* of a folio that could be, bits */
	struct swap_ahead ahead; /* with it */
	/* what lasts from turn to turn */
	swp_entry_t tried; /* a slot that this fault has read by itself, 0: none */
	vm_fault_t major;  /* VM_FAULT_MAJOR: a device was waited for */
};

/* One fault. With mmap_lock held @vma is the area, else the copy in a snapshot. */
struct fault {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned long addr;	 /* page aligned */
	u32 flags;		 /* FAULT_FLAG_... */
	struct fault_wait *wait; /* NULL: who holds mmap_lock keeps it; the fast path has none */
	struct pt_pos pos;
};

/* Internal: needs mmap_lock. Never leaves mm_fault(). */
#define FAULT_NEEDS_LOCK VM_FAULT_FALLBACK

#define LEAF_ORDER (MAX_LEAF_LEVEL * OCTAVO_TABLE_BITS)

/* A page of its own is wanted, not just something to read. */
static inline bool fault_wants_own(const struct fault *f)
{
	return f->flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE);
}

static inline bool fault_may_sleep(const struct fault *f)
{
	return !(f->flags & FAULT_FLAG_NOWAIT);
}

static inline gfp_t fault_gfp(const struct fault *f)
{
	return fault_may_sleep(f) ? GFP_HIGHUSER_MOVABLE : GFP_NOWAIT | __GFP_MOVABLE;
}

/* For tables. */
static inline gfp_t fault_table_gfp(const struct fault *f)
{
	return fault_may_sleep(f) ? GFP_KERNEL : GFP_NOWAIT;
}

/* There was no memory: who may not sleep comes back when it may. */
static inline vm_fault_t fault_oom(const struct fault *f)
{
	return fault_may_sleep(f) ? VM_FAULT_OOM : VM_FAULT_RETRY;
}

/* May the area be accessed like this? */
static inline bool fault_permitted(const struct vm_area_struct *vma, u32 flags)
{
	if (flags & FAULT_FLAG_WRITE)
		return vma->vm_flags & VM_WRITE;
	if (flags & FAULT_FLAG_INSTRUCTION)
		return vma->vm_flags & VM_EXEC;
	/* Whatever may be written to or executed can be read. */
	return vma->vm_flags & VM_ACCESS_FLAGS;
}

/* Neither the embedder's object nor bare frames. */
static inline bool area_is_anon(const struct vm_area_struct *vma)
{
	return !vma->vm_ops && !vma->vm_file && !(vma->vm_flags & (VM_PFNMAP | VM_IO));
}

/* Is the page of a present entry this area's alone? Context: the ptl. */
static inline bool fault_maps_exclusive(const struct fault *f)
{
	struct folio *folio = vm_normal_folio(f->vma, f->addr, f->pos.pte, f->pos.level);

	return folio && folio_test_anon(folio) &&
	       folio_test_anon_exclusive(folio, pte_pfn(f->pos.pte) - folio_pfn(folio));
}

/*
 * A present entry allows what is asked for, and where no copy is needed any more. Forced writes leave the entry without
 * the right, but dirty, which is how get_user_pages() knows. Context: the ptl.
 */
static inline void fault_allow(struct fault *f)
{
	pte_t e = pte_mkyoung(f->pos.pte);

	if (f->flags & FAULT_FLAG_WRITE) {
		e = pte_mkdirty(e);
		if (f->vma->vm_flags & VM_WRITE)
			e = pte_mkwrite(e);
	}
	ptep_set_access_flags(f->pos.ptep, e);
}

/*
 * The entry of a page that is this area's alone: writable if the area is, so that no second fault comes for the
 * first write; dirty if it is or is written to now.
 */
static inline pte_t anon_entry(const struct vm_area_struct *vma, unsigned long pfn, u32 flags)
{
	pte_t e = pte_mkyoung(pfn_pte(pfn, vma->vm_page_prot));

	if (flags & FAULT_FLAG_WRITE || vma->vm_flags & VM_WRITE)
		e = pte_mkdirty(e);
	return vma->vm_flags & VM_WRITE ? pte_mkwrite(e) : e;
}

/* A folio is mapped in an area. Context: the ptl. */
static inline void fault_new_mapping(const struct vm_area_struct *vma, struct folio *folio)
{
	if (unlikely(vma->vm_flags & VM_LOCKED))
		folio_set_flag(folio, PG_mlocked);
}

/* ---- fault.c ---- */

/* A present entry, a leaf too. Context: f->pos has its ptl held, which is given up. */
vm_fault_t fault_present(struct fault *f);

/**
 * handle_mm_fault_wait() - as handle_mm_fault(), for a caller that can give mmap_lock up and begin anew
 * @wait: fault_wait_init() once, the same for all turns
 *
 * Return: VM_FAULT_RETRY with fault_waits(): mmap_lock is still held; the caller gives it up, calls fault_wait(), and begins
 * anew if that is 0.
 */
vm_fault_t handle_mm_fault_wait(struct vm_area_struct *vma, unsigned long addr, u32 flags,
				struct fault_wait *wait);

/* ---- collapse.c ---- */

/* Could small folios of the area become a large one? Context: mmap_lock. */
bool vma_may_collapse(const struct vm_area_struct *vma);

/* ---- fault_wait.c ---- */

static inline void fault_wait_init(struct fault_wait *wait)
{
	wait->what = FAULT_WAIT_NOTHING;
	wait->folio = NULL;
	wait->tried.v = 0;
	wait->major = 0;
}

/* Is there something to be waited for? */
static inline bool fault_waits(const struct fault_wait *wait)
{
	return wait && wait->what != FAULT_WAIT_NOTHING;
}

/* The fault has to wait for a folio, whose reference passes over. Return: VM_FAULT_RETRY. */
static inline vm_fault_t fault_wait_folio(const struct fault *f, enum fault_wait_for what,
					  struct folio *folio)
{
	f->wait->what = what;
	f->wait->folio = folio;
	return VM_FAULT_RETRY;
}

/**
 * fault_wait() - wait for what fault_waits() for
 *
 * Context: no lock at all; sleeps. Return: 0: begin anew; VM_FAULT_OOM: there is no memory to read into.
 */
vm_fault_t fault_wait(struct fault_wait *wait);

/* ---- populate.c ---- */

/* populate_vma_page_range() that ends early, perhaps at once, where fault_waits(). */
long populate_range_wait(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			 bool write, struct fault_wait *wait);

/* ---- fault_anon.c ---- */

/* anon_orders(), when there may be others than 0. */
u32 __anon_orders(struct mm_struct *mm, const struct vm_area_struct *vma, unsigned long addr);

/**
 * anon_orders() - which orders a fault may use
 * @vma: the area, or a copy
 * @addr: in it
 *
 * Return: bit n: the aligned run of 2^n pages at @addr lies in the area, and policy allows it. Bit 0 always.
 */
static inline u32 anon_orders(struct mm_struct *mm, const struct vm_area_struct *vma,
			      unsigned long addr)
{
	if (likely(!(READ_ONCE(mm->folio_orders) & ~1u) && !(vma->vm_flags & VM_HUGEPAGE)))
		return 1;
	return __anon_orders(mm, vma, addr);
}

/**
 * anon_folio_alloc() - a folio of the largest order of a set that can be had
 * @mm: for whom
 * @orders: bits; in: not 0; out: without those that could not be had
 * @gfp: for order 0; larger ones are not tried hard for
 *
 * Return: NULL: not even the smallest.
 */
struct folio *anon_folio_alloc(struct mm_struct *mm, gfp_t gfp, u32 *orders);
/* The same for what is read back from slots of a set, which it is charged to as it was; 0: to none. */
struct folio *slot_folio_alloc(u32 set, gfp_t gfp, u32 *orders);

/**
 * anon_map_folio() - the entries of a folio that nobody has seen yet
 * @vma: anon_vma is there
 * @folio: the caller's one reference becomes the first entry's
 * @pos: the first entry, all of them none, or a leaf's; ptl held
 * @e: entry of the first page
 */
void anon_map_folio(struct vm_area_struct *vma, struct folio *folio, const struct pt_pos *pos,
		    pte_t e);

/**
 * anon_fill() - fill a place where there is nothing
 * @folio: order and place fit; NULL: the zero page
 *
 * Context: f->pos has its ptl held. Return: false: something is there, and @folio stays the caller's.
 */
bool anon_fill(const struct fault *f, struct folio *folio);

/* An aligned run in a table of the last level is all none. Relaxed: under the ptl, or as a hint. */
bool ptes_none(const pte_t *ptep, unsigned long nr);

/* The address of the first page of an aligned run. */
static inline unsigned long run_start(unsigned long addr, unsigned int order)
{
	return addr & ~((PAGE_SIZE << order) - 1);
}

/* Nothing is there. Context: mmap_lock, no ptl. */
vm_fault_t fault_anon_missing(struct fault *f);

/**
 * fault_anon_fast() - without mmap_lock
 *
 * Context: as mm_fault(). Return: as mm_fault(), never an error; FAULT_NEEDS_LOCK: nothing has changed.
 */
vm_fault_t fault_anon_fast(struct fault *f);

/* ---- fault_object.c ---- */

/* Nothing is there; the area has vm_ops, or nobody to ask. Context: mmap_lock, no ptl. */
vm_fault_t fault_object_missing(struct fault *f);
/* A write to a present entry of a shared area. Context: f->pos has its ptl held, which is given up. */
vm_fault_t fault_object_mkwrite(struct fault *f);

/* ---- fault_device.c ---- */

/* An entry of device-private memory. Context: f->pos has its ptl held, which is given up. */
vm_fault_t fault_device(struct fault *f);
/* A page that a device has for itself for a while. Context: the same. */
vm_fault_t fault_device_exclusive(struct fault *f);

/* ---- cow.c ---- */

/* A page of its own instead of a present entry that is not writable. Context: as fault_object_mkwrite(). */
vm_fault_t fault_wp(struct fault *f);
/* The same for a leaf. */
vm_fault_t fault_wp_leaf(struct fault *f);

/* ---- fault_swap.c ---- */

/* An entry of a slot. Context: as fault_present(). */
vm_fault_t fault_swap_slot(struct fault *f);

/* Of an aligned run of @nr slots the first, given one of them. */
static inline swp_entry_t swap_run_start(swp_entry_t entry, u32 nr)
{
	return swp_entry(swp_type(entry), swp_offset(entry) & ~((u64)nr - 1));
}

/**
 * swapin_read() - a folio for a slot that nobody has in the cache, and its neighbours
 * @orders: that it may have, bits: a hint
 * @folio: out: with a reference, locked until it has been read; NULL: somebody else has the slot in the cache by now, or
 *	it is free: look again
 *
 * Context: any lock but a ptl, or none. Return: 0; -ENOMEM.
 */
int swapin_read(swp_entry_t entry, u32 orders, gfp_t gfp, const struct swap_ahead *ahead,
		struct folio **folio);

/* MADV_WILLNEED; swap_ahead.c. Slots that are to be read: hints, for nobody holds them. */
#define WILLNEED_BATCH 32u

struct willneed {
	swp_entry_t slot[WILLNEED_BATCH];
	u32 nr;
};

/* More of them, of part of an area, as many as there is room for. Context: mmap_lock. Return: how far it came. */
unsigned long willneed_collect(struct vm_area_struct *vma, unsigned long start, unsigned long end,
			       struct willneed *w);
/* Begin to read those; none are left. Context: sleeps: no lock that anybody may need. Return: false: there is no memory for more. */
bool willneed_read(struct willneed *w);

/**
 * swapin_begin() - a folio for a slot, in the cache, that is being read
 * @entry: one of the slots
 * @orders: that it may have, bits: the largest that memory can be had for
 * @flags: PG_... that it has from the beginning, bits
 * @gfp: if that must not wait, neither does this
 * @err: why not: -ENOMEM; -EAGAIN: the device has too much to do; -EEXIST, -ENOENT as swap_cache_add()
 *
 * Return: with a reference for the caller; locked until it has been read.
 */
struct folio *swapin_begin(swp_entry_t entry, u32 orders, u32 flags, gfp_t gfp, int *err);

/**
 * swapin_range() - no entry of a range is one of a slot
 * @start: in and out: what comes before is done
 * @type: of this device; -1: of any
 * @wait: as handle_mm_fault_wait()
 *
 * Entries may come to be again at once. Context: mmap_lock held for reading; sleeps. Return: 0; -EAGAIN: fault_waits(), and then go on;
 * -ENOMEM; -EIO and -EHWPOISON: contents that cannot be had.
 */
int swapin_range(struct vm_area_struct *vma, unsigned long *start, unsigned long end, int type,
		 struct fault_wait *wait);

/* ---- swap_ahead.c ---- */

/* Slots near that of a fault which is about to read its own. Context: mmap_lock, no ptl, f->pos as the walk left it. */
void swap_ahead_plan(const struct fault *f, swp_entry_t entry, struct swap_ahead *ahead);
/* A fault has found its folio in the cache: was it read ahead? Context: mmap_lock, no ptl. */
void swap_ahead_found(const struct fault *f, swp_entry_t entry, struct folio *folio);
/* Begin to read them, as far as there is memory for it at once. Context: mmap_lock or none. */
void swap_ahead_read(const struct swap_ahead *ahead);

#endif /* MM_SPACE_FAULT_H */
