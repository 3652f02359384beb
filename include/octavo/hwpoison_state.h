/* SPDX-License-Identifier: MIT */
/*
 * hwpoison_state.h - the set of poisoned frames: the frame layer's, because freeing and refilling ask it.
 */
#ifndef OCTAVO_HWPOISON_STATE_H
#define OCTAVO_HWPOISON_STATE_H

#include <octavo/lock.h>

/*
 * A hash table of OCTAVO_POISON_SLOTS pfns in metadata. Writers hold the lock; readers need none, in any
 * context: an entry is never moved, so all they do is load slots. mm/frame/poison.c has the protocol.
 */
struct hwpoison_state {
	u64 nr;		 /* frames in the set, stored under lock; 0 makes every look-up one load */
	spinlock_t lock; /* writers of the set */
	u64 *slot; /* [OCTAVO_POISON_SLOTS]; constant; entries stored under lock, read anywhere */
};

/**
 * poison_insert() - put a frame into the set
 * @pfn: any
 *
 * The caller runs a full barrier (smp_mb_heavy()) between this and looking at the frame's word: it pairs with
 * the barrier between "words to FREE" and the look-up in the free path.
 *
 * Context: not from interrupt context (takes the lock). Return: 0; -EEXIST; -ENOMEM the table is full.
 */
int poison_insert(unsigned long pfn);

/* Take it out again. Return: 0; -ENOENT. Context: as poison_insert(). */
int poison_remove(unsigned long pfn);

#endif /* OCTAVO_HWPOISON_STATE_H */
