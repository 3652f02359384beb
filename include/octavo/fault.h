/* SPDX-License-Identifier: MIT */
/*
 * fault.h - failing at step k. Every fallible step of the core asks octavo_fault() first; in a product
 * the question costs nothing, with OCTAVO_FAULTS it counts steps and fails the ones it was told to.
 *
 *	octavo_fault_arm(k, OCTAVO_FAULT_ONCE, kinds);
 *	err = operation();
 *	hit = octavo_fault_disarm();
 *
 * for k = 1, 2, ... until hit is 0 (the operation had fewer than k steps and ran untouched).
 */
#ifndef OCTAVO_FAULT_H
#define OCTAVO_FAULT_H

#include <octavo/types.h>

/* Kinds of fallible step, a bit each. */
#define OCTAVO_FAULT_FRAME   0x01u /* a frame allocation finds nothing */
#define OCTAVO_FAULT_SLAB    0x02u /* a slab allocation finds nothing */
#define OCTAVO_FAULT_TRYGET  0x04u /* a speculative reference is refused */
#define OCTAVO_FAULT_TRYLOCK 0x08u /* a try-lock finds the lock held */
#define OCTAVO_FAULT_CAS     0x10u /* a weak compare-and-swap fails spuriously */
#define OCTAVO_FAULT_IO	     0x20u /* swap or file I/O fails */
#define OCTAVO_FAULT_COPY    0x40u /* a device copy fails */
#define OCTAVO_FAULT_ALL     0x7fu

#define OCTAVO_FAULT_ONCE 0 /* fail step k only */
#define OCTAVO_FAULT_AFTER \
	1 /* fail step k and every one after it (never CAS: loops would not end) */

#if OCTAVO_FAULTS
/**
 * octavo_fault_arm() - make the @k-th fallible step from now fail
 * @k: 1 for the next one
 * @mode: OCTAVO_FAULT_ONCE or OCTAVO_FAULT_AFTER
 * @kinds: which kinds of step count
 *
 * Steps taken by any CPU count. Tests that arm it run on one.
 */
void octavo_fault_arm(u32 k, int mode, u32 kinds);

/**
 * octavo_fault_disarm() - stop failing
 *
 * Return: the number of steps that were failed since octavo_fault_arm().
 */
u32 octavo_fault_disarm(void);

/* Whether this step must fail; asked by the core. */
bool octavo_fault(u32 kind);
#else
static inline bool octavo_fault(u32 kind)
{
	(void)kind;
	return false;
}
#endif

#endif /* OCTAVO_FAULT_H */
