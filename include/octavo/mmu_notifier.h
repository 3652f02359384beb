/* SPDX-License-Identifier: MIT */
/*
 * mmu_notifier.h - telling devices and hypervisors, whose tables mirror ours, that mappings are
 * about to be removed or restricted.
 *
 * Every path that does so calls invalidate_range_start before it changes entries and
 * invalidate_range_end after the flush. Between, a mirror has nothing of the range. Callbacks sleep unless the range
 * says otherwise, so no ptl is held around the pair.
 *
 * With nobody to tell, the pair costs two stores to the CPU's own counters: they are what the first registration
 * waits for, so that nothing it was not told of is still going on when it returns.
 */
#ifndef OCTAVO_MMU_NOTIFIER_H
#define OCTAVO_MMU_NOTIFIER_H

#include <octavo/mm_types.h>

enum mmu_notifier_event {
	MMU_NOTIFY_UNMAP,	    /* munmap, mremap */
	MMU_NOTIFY_CLEAR,	    /* entries go, the VMA stays */
	MMU_NOTIFY_PROTECTION_VMA,  /* mprotect */
	MMU_NOTIFY_PROTECTION_PAGE, /* write protection, fork */
	MMU_NOTIFY_RELEASE,
	MMU_NOTIFY_MIGRATE, /* device migration; owner says whose */
	MMU_NOTIFY_EXCLUSIVE,
};

#define MMU_NOTIFIER_RANGE_BLOCKABLE 1u

struct mmu_notifier_range {
	struct mm_struct *mm;
	unsigned long start, end;
	u32 flags;
	enum mmu_notifier_event event;
	void *owner;
	/* mm/table/mmu_notifier.c's, from start to end */
	struct list_head active; /* of all that have begun and not ended */
	unsigned long seq;	 /* the how manieth it is */
	bool untold;		 /* began when there was nobody to tell */
};

struct mmu_notifier;
struct mmu_interval_notifier;

/* Any may be NULL. */
struct mmu_notifier_ops {
	/* The last user of the address space is gone. Once. May sleep. */
	void (*release)(struct mmu_notifier *mn, struct mm_struct *mm);
	/* Return: 0; -EAGAIN if the range is not blockable and it would have to sleep. */
	int (*invalidate_range_start)(struct mmu_notifier *mn,
				      const struct mmu_notifier_range *range);
	/* Not if its own start failed. */
	void (*invalidate_range_end)(struct mmu_notifier *mn,
				     const struct mmu_notifier_range *range);
	/* Has the mirror used the range since the last time? May not sleep; under a ptl. */
	bool (*clear_young)(struct mmu_notifier *mn, struct mm_struct *mm, unsigned long start,
			    unsigned long end);
	/* After mmu_notifier_put() and a grace period. */
	void (*free_notifier)(struct mmu_notifier *mn);
};

/* The embedder's, inside its own struct. */
struct mmu_notifier {
	const struct mmu_notifier_ops *ops;
	struct mm_struct *mm;
	struct list_head list; /* mm/table/mmu_notifier.c's, as the rest */
	unsigned long seq;     /* of the last invalidation that began before it was there */
	u32 users;	       /* callbacks that run */
	bool released;	       /* release was called, or is being */
	bool gone;	       /* unregistered or put: no callback begins */
	bool put;	       /* who ends the last callback frees it */
	struct rcu_head rcu;
};

struct mmu_interval_notifier_ops {
	/*
	 * The range intersects. Calls mmu_interval_set_seq() with @cur_seq under the mirror's own lock and drops
	 * what it has. Return: false: would have to sleep and may not.
	 */
	bool (*invalidate)(struct mmu_interval_notifier *mni,
			   const struct mmu_notifier_range *range, unsigned long cur_seq);
};

struct mmu_interval_notifier {
	const struct mmu_interval_notifier_ops *ops;
	struct mm_struct *mm;
	struct interval_node node;    /* mm/table/mmu_notifier.c's, as users */
	u32 users;		      /* callbacks that run */
	unsigned long invalidate_seq; /* the mirror's lock; release and acquire */
};

/**
 * mmu_notifier_register() - be told about an address space
 *
 * Callbacks may run before it returns. When it has returned, every invalidation that @mn was not told of is over.
 *
 * Context: mmap_lock not held; may sleep; the caller is a user of @mm and inside no invalidation of it. Return: 0,
 * -ENOMEM. Until mmu_notifier_unregister() or mmu_notifier_put() @mm is kept (mmgrab).
 */
int mmu_notifier_register(struct mmu_notifier *mn, struct mm_struct *mm);
/*
 * On return no callback runs or will; release has been called. Fatal if @mn is not registered. Context: may sleep;
 * not from its own callbacks.
 */
void mmu_notifier_unregister(struct mmu_notifier *mn, struct mm_struct *mm);
/*
 * The same without waiting and without release: ops->free_notifier follows when no callback runs, and a grace period
 * later. Fatal if @mn is not registered. Context: not in an RCU section or interrupt; its own callbacks will do.
 */
void mmu_notifier_put(struct mmu_notifier *mn);

/**
 * mmu_interval_notifier_insert() - be told about a range, with a sequence count
 * @start: address
 * @length: bytes, not 0, no wrap
 *
 * Context: as mmu_notifier_register(). Until it is removed @mm is kept. Return: 0, -ENOMEM, -EOVERFLOW. The mirror
 * then reads under:
 *
 *	seq = mmu_interval_read_begin(mni);
 *	... read page tables (hmm_range_fault, get_user_pages) ...
 *	take the mirror's lock; if (mmu_interval_read_retry(mni, seq)) start again; fill the mirror
 */
int mmu_interval_notifier_insert(struct mmu_interval_notifier *mni, struct mm_struct *mm,
				 unsigned long start, unsigned long length,
				 const struct mmu_interval_notifier_ops *ops);
/* On return no callback runs or will. Fatal if it is not inserted. Context: may sleep; not from its own callback. */
void mmu_interval_notifier_remove(struct mmu_interval_notifier *mni);
/* Waits while an invalidation of the range runs. Context: may sleep. */
unsigned long mmu_interval_read_begin(struct mmu_interval_notifier *mni);

/* Under the mirror's lock, from ops->invalidate. */
static inline void mmu_interval_set_seq(struct mmu_interval_notifier *mni, unsigned long cur_seq)
{
	/* release: pairs with the acquire in mmu_interval_read_retry() */
	smp_store_release(&mni->invalidate_seq, cur_seq);
}

/* Under the mirror's lock: has the range been invalidated since? */
static inline bool mmu_interval_read_retry(struct mmu_interval_notifier *mni, unsigned long seq)
{
	return smp_load_acquire(&mni->invalidate_seq) != seq;
}

static inline void mmu_notifier_range_init(struct mmu_notifier_range *range,
					   enum mmu_notifier_event event, struct mm_struct *mm,
					   unsigned long start, unsigned long end)
{
	*range = (struct mmu_notifier_range){
		.mm = mm,
		.start = start,
		.end = end,
		.event = event,
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
	};
}

/* The slow halves. */
int __mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range);
void __mmu_notifier_invalidate_range_end(struct mmu_notifier_range *range);
void __mmu_notifier_untold_end(struct mm_struct *mm);
/* Whether any mirror has used the range. Context: a ptl may be held; not in an RCU section. */
bool __mmu_notifier_clear_young(struct mm_struct *mm, unsigned long start, unsigned long end);
/* exit_mmap(): every release callback, and every interval is invalidated. No callback follows it. May sleep. */
void mmu_notifier_release(struct mm_struct *mm);
/* The struct goes. Fatal if anybody is registered. */
void mmu_notifier_subscriptions_destroy(struct mm_struct *mm);

static inline bool mm_has_notifiers(struct mm_struct *mm)
{
	/* acquire: pairs with the release of the first registration */
	return unlikely(smp_load_acquire(&mm->notifiers) != NULL);
}

/* @n invalidations more that nobody was told of, if there is still nobody. Return: there is somebody now. */
static inline bool __mmu_notifier_count_untold(struct mm_struct *mm, long n)
{
	long *untold = &mm->cpu[octavo_port_pin()].untold;
	bool told;

	/* release: pairs with the acquire of the first registration: what an invalidation did is seen */
	smp_store_release(untold, READ_ONCE(*untold) + n);
	/* pairs with the heavy barrier of the first registration: it sees the count, or we see it */
	smp_mb_light();
	told = mm_has_notifiers(mm);
	if (told && n > 0)
		WRITE_ONCE(*untold, READ_ONCE(*untold) - n);
	octavo_port_unpin();
	return told;
}

/* Return: 0; -EAGAIN only for a range that is not blockable, and then no end must follow. */
static inline int mmu_notifier_invalidate_range_start(struct mmu_notifier_range *range)
{
	range->untold = !__mmu_notifier_count_untold(range->mm, 1);
	return range->untold ? 0 : __mmu_notifier_invalidate_range_start(range);
}

static inline void mmu_notifier_invalidate_range_end(struct mmu_notifier_range *range)
{
	if (!range->untold)
		__mmu_notifier_invalidate_range_end(range);
	else if (__mmu_notifier_count_untold(range->mm, -1))
		__mmu_notifier_untold_end(range->mm);
}

#endif /* OCTAVO_MMU_NOTIFIER_H */
