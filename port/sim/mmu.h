/* SPDX-License-Identifier: MIT */
/*
 * mmu.h - the MMU of the simulated machine: what a user program's accesses meet.
 *
 * Each simulated CPU has translation buffers of its own, which keep what they have until it is flushed or
 * evicted, as real ones do, and a hardware walker that reads page tables in simulated RAM and sets accessed
 * and dirty bits in them. So a page-table entry that is changed without a flush is used as it was.
 *
 * A CPU is a slot (sim_set_cpu()), and only the thread that has it makes accesses on it.
 */
#ifndef OCTAVO_SIM_MMU_H
#define OCTAVO_SIM_MMU_H

#include <octavo/mm.h>

/* ---- address spaces ---- */

/**
 * sim_mm_use() - this CPU's user accesses go to an address space from here on
 * @mm: the caller has a reference; NULL: none
 *
 * Calls mm_activate(), and mm_deactivate() of the one before, whose translations are dropped. With
 * sim_mmu_config.asids they are kept, and it stays active until sim_mm_forget().
 */
void sim_mm_use(struct mm_struct *mm);

/* This CPU has no translation of @mm any more: before the last mmput(). Stops using it if it does. */
void sim_mm_forget(struct mm_struct *mm);

/* ---- accesses of user programs ---- */

/*
 * All of these fault until the access succeeds. Context: as mm_fault(). Return: 0, or the error bits of
 * mm_fault(); then what lies before the first page that cannot be accessed may have been transferred.
 * An access is atomic by bytes, aligned words of 8 bytes are atomic, and relaxed.
 */
vm_fault_t sim_load(unsigned long addr, void *buf, unsigned long len);
vm_fault_t sim_store(unsigned long addr, const void *buf, unsigned long len);
/* Aligned, or VM_FAULT_SIGBUS. Relaxed. */
vm_fault_t sim_load64(unsigned long addr, u64 *val);
vm_fault_t sim_store64(unsigned long addr, u64 val);
/* Aligned, or VM_FAULT_SIGBUS. Sequentially consistent. @old: in what is expected, out what was there. */
vm_fault_t sim_cas64(unsigned long addr, u64 *old, u64 new);
/* @old: NULL, or where what was there goes. */
vm_fault_t sim_add64(unsigned long addr, u64 add, u64 *old);
/* An instruction is fetched from there. */
vm_fault_t sim_fetch(unsigned long addr);

/* ---- one attempt, without the core's help: for tests of the MMU itself ---- */

enum sim_access {
	SIM_LOAD,
	SIM_STORE,
	SIM_FETCH,
};

enum sim_fault {
	SIM_OK,
	SIM_NOT_PRESENT, /* no translation */
	SIM_PROTECTION,	 /* one that does not allow it */
	SIM_BUS,	 /* of a frame that the machine does not have */
};

/* Without mm_activate(): @mm need only have pgd_table. */
void sim_mmu_switch(struct mm_struct *mm);
/* Aligned 8 bytes. SIM_LOAD fills *@val, SIM_STORE stores it. */
enum sim_fault sim_mmu_try(unsigned long addr, enum sim_access access, u64 *val);

/* ---- accesses of the kernel at its own addresses: vmalloc.h ---- */

/*
 * Aligned 8 bytes, through this CPU's buffers and the kernel's tables. The kernel handles no faults: what is not
 * SIM_OK would have been the end of it. SIM_LOAD fills *@val, SIM_STORE stores it. Relaxed.
 */
enum sim_fault sim_mmu_ktry(unsigned long addr, enum sim_access access, u64 *val);

/* ---- the buffers ---- */

struct sim_mmu_config {
	u32 entries[MAX_LEAF_LEVEL + 1]; /* by level; powers of two to SIM_TLB_MAX; 0: the usual */
	u32 tables; /* of each level above the last, entries that led to tables; 0: the usual */
	bool asids; /* translations outlive a switch to another address space */
	/*
	 * Nothing is ever evicted, so that every flush that is missing shows. Takes host memory with
	 * every page that is touched.
	 */
	bool paranoid;
};
#define SIM_TLB_MAX 1024u

/*
 * All CPUs' buffers from here on, empty. At a quiet moment. NULL: the usual, as with every new machine.
 */
void sim_mmu_configure(const struct sim_mmu_config *cfg);
/* The paranoid flag alone. */
void sim_mmu_paranoid(bool on);

/**
 * sim_mmu_check() - may every translation be used now?
 * @mm: whose; NULL: the kernel's
 *
 * Each one, of every CPU, must be what a walk would find now: same frame, same size, not more permissive, not
 * dirty where the entry is clean. Context: a quiet moment: no flush is owed. Return: false if not; each
 * was logged.
 */
bool sim_mmu_check(struct mm_struct *mm);

struct sim_mmu_stat {
	u64 hits;
	u64 walks;	/* whole or from a remembered table on */
	u64 faults;	/* accesses that could not be translated */
	u64 spurious;	/* of those, because of a translation that was older than the entry */
	u64 dirtied;	/* walks for a dirty bit alone */
	u64 flushes;	/* of a CPU */
	u64 flush_hits; /* translations dropped by them */
};

/* Sums over all CPUs, since the machine booted. */
void sim_mmu_stat(struct sim_mmu_stat *st);

/* How many translations this CPU has; for tests. */
u32 sim_mmu_nr(const struct mm_struct *mm);

/* Forget everything: the machine ended. */
void sim_mmu_reset(void);

#endif /* OCTAVO_SIM_MMU_H */
