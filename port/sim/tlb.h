/* SPDX-License-Identifier: MIT */
/*
 * tlb.h - the simulated MMU's two halves, for each other: tlb.c translates, mmu.c accesses.
 *
 * tlb.c calls nothing of the core, so that a program which has no address spaces links no more than it.
 */
#ifndef OCTAVO_SIM_TLB_H
#define OCTAVO_SIM_TLB_H

#include "mmu.h"

/**
 * sim_tlb_begin() - translate, and keep flushes out until sim_tlb_end()
 * @addr: user address
 * @access: what for
 * @fault: why not
 *
 * Nothing of the core may be called between. Return: where it is in the host; NULL: nothing to end.
 */
void *sim_tlb_begin(unsigned long addr, enum sim_access access, enum sim_fault *fault);
void sim_tlb_end(void);

/* This CPU's address space. */
struct mm_struct *sim_tlb_mm(void);
void sim_tlb_set_mm(struct mm_struct *mm);
/* Drop this CPU's translations of @mm. */
void sim_tlb_drop(struct mm_struct *mm);
bool sim_tlb_asids(void);

/* Bytes of simulated RAM, holes included: machine.c. */
u64 sim_ram_bytes(void);

#endif /* OCTAVO_SIM_TLB_H */
