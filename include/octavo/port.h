/* SPDX-License-Identifier: MIT */
/*
 * port.h - what an embedder supplies.
 *
 * Tier 0, below, is enough for frames, words, slab caches, folios and every other descriptor. Tier 1
 * (address spaces) adds one function and the encoding of page-table entries (pte_x86_64.h); an embedder who never
 * calls mm_alloc() need not have it. Tier 2 (swap and file I/O, devices) comes with the layers that need it. RCU has a supplied implementation (lib/rcu.c); a port that has its own
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

/* ---- tier 1: address spaces ---- */

struct mm_struct;

/**
 * struct octavo_tlb_flush - what has to be forgotten
 * @mm: whose translations; NULL: the kernel's
 * @start: address, page aligned
 * @end: one past the last
 * @level: the lowest level at which entries were changed, so the stride of single invalidations
 * @freed_tables: tables are about to be freed: what CPUs keep of upper levels goes too
 */
struct octavo_tlb_flush {
	struct mm_struct *mm;
	unsigned long start, end;
	unsigned int level;
	bool freed_tables;
};

/**
 * octavo_port_tlb_flush() - no CPU of a set uses an old translation of a range
 * @flush: what; may be flushed more generously
 * @cpus: a bit for each CPU slot; this CPU may be among them
 *
 * When it returns, no CPU of @cpus has a translation that it made from an entry as it was before the call,
 * and every access through one has taken effect. (On bare metal: invalidate here, interrupt the others,
 * wait for them.)
 *
 * The rules of the contract between page tables and translations:
 *   - a CPU makes translations from entries that are present only, and sets accessed and (for a write) dirty in
 *     the entry in one atomic step with reading it, never in one that has changed meanwhile;
 *   - it may keep any translation for any time until it is flushed;
 *   - a fault drops the faulting CPU's own translation of that address, so an entry that became more
 *     permissive needs no flush: the next access faults once, or not at all;
 *   - mm_activate() comes before a CPU's first translation for an address space, mm_deactivate() after its last.
 *
 * Context: page-table locks and other spinlocks may be held. Not from interrupts. A CPU that is inside the core, perhaps
 * spinning for a lock that the caller holds, must acknowledge at once, and forget before it returns to
 * user mode: it uses no user translation while it is in the core. By several CPUs at once: one that waits here goes on
 * answering the others' requests.
 */
void octavo_port_tlb_flush(const struct octavo_tlb_flush *flush, const unsigned long *cpus);

#endif /* OCTAVO_PORT_H */
