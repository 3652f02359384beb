/* SPDX-License-Identifier: MIT */
/*
 * port.h - what an embedder supplies.
 *
 * Tier 0, below, is enough for frames, words, slab caches, folios and every other descriptor. Tier 1
 * (address spaces: page-table encoding, TLB flush, clock) and tier 2 (swap and file I/O, devices) come
 * with the layers that need them. RCU has a supplied implementation (lib/rcu.c); a port that has its own
 * defines all functions of rcu.h and the linker leaves the supplied one in the archive.
 *
 * The core is entered on any CPU, from thread or interrupt context, but never from a non-maskable
 * interrupt. It calls the functions below from the same context.
 *
 * A CPU number is a slot that its holder has to itself while pinned, not the host's idea of a
 * CPU. Interrupts may arrive while pinned and may call the core again, on the same slot; another thread
 * may not run on that slot.
 *
 * The three functions that are on every hot path may be inline: build core and port with
 * -DOCTAVO_PORT_INLINE='"your_header.h"', which defines octavo_port_pin(), octavo_port_unpin() and
 * octavo_port_cpu() as static inline functions. An allocation then makes no call out of the core.
 *
 * Besides these, the core needs memcpy, memset, memmove and memcmp, and nothing else.
 */
#ifndef OCTAVO_PORT_H
#define OCTAVO_PORT_H

#include <octavo/compiler.h>

#ifdef OCTAVO_PORT_INLINE
#include OCTAVO_PORT_INLINE
#endif

enum octavo_log_level {
	OCTAVO_LOG_ERR,
	OCTAVO_LOG_WARN,
	OCTAVO_LOG_INFO,
	OCTAVO_LOG_DUMP, /* lines of a dump that was asked for */
};

/**
 * octavo_port_log() - print one line
 * @level: how grave
 * @line: text without a newline, valid during the call only
 *
 * Context: any; must not call back into the core. May drop the line.
 */
void octavo_port_log(enum octavo_log_level level, const char *line);

/**
 * octavo_port_panic() - the core found memory corrupted or an embedder's mistake that would corrupt it
 * @reason: one line, already logged with whatever dump explains it
 *
 * Context: any, with any lock of the core held. Must not return: what the core would do next is not
 * defined.
 */
__noreturn void octavo_port_panic(const char *reason);

/**
 * octavo_port_pin() - take the CPU slot of the caller
 *
 * From here to the matching octavo_port_unpin() the caller stays on the slot and no other thread runs
 * on it. Pins nest. On bare metal: disable preemption (interrupts may stay enabled) and read the
 * CPU's number. With one thread a CPU: return its number.
 *
 * Return: a number below octavo_boot.nr_cpus.
 */
#ifndef OCTAVO_PORT_INLINE
unsigned int octavo_port_pin(void);
#endif

/**
 * octavo_port_unpin() - give the slot back; the inverse of octavo_port_pin()
 */
#ifndef OCTAVO_PORT_INLINE
void octavo_port_unpin(void);
#endif

/**
 * octavo_port_cpu() - some CPU's number, for a hint
 *
 * Return: a number below octavo_boot.nr_cpus; stale at once if the caller is not pinned.
 */
#ifndef OCTAVO_PORT_INLINE
unsigned int octavo_port_cpu(void);
#endif

/**
 * octavo_port_relax() - a turn of a loop that waits for another CPU
 *
 * On bare metal: the pause instruction. Where CPUs are threads: now and then a yield.
 */
void octavo_port_relax(void);

/**
 * octavo_port_membarrier() - every CPU executes a full memory barrier before this returns
 *
 * Rare (draining another CPU's magazines, grace periods of the supplied RCU). On one CPU: nothing. On
 * Linux: membarrier(2). On bare metal: an interrupt to the other CPUs.
 *
 * Context: as the caller's, interrupts included, and by several CPUs at once: one that waits here with
 * interrupts masked must go on answering the others' requests, or two of them wait for ever.
 */
void octavo_port_membarrier(void);

/**
 * octavo_port_park() - sleep while a word has a value
 * @addr: the word
 * @val: sleep only if *@addr is @val
 *
 * As futex(FUTEX_WAIT): the comparison and going to sleep are one step against
 * octavo_port_unpark(). May return at any time for no reason; the caller looks again. A port that cannot
 * sleep relaxes once and returns.
 *
 * Context: not pinned unless the port spins here. Other spinlocks of the core may be held: they nest.
 */
void octavo_port_park(u32 *addr, u32 val);

/**
 * octavo_port_unpark() - wake sleepers
 * @addr: the word they sleep on
 * @all: all of them, else at least one
 */
void octavo_port_unpark(u32 *addr, bool all);

#endif /* OCTAVO_PORT_H */
