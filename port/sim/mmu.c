/* SPDX-License-Identifier: MIT */
/*
 * mmu.c - accesses of user programs on the simulated machine: translated, or faulted for until they are.
 *
 * Data in RAM is accessed by atomic operations, so that programs which race with each other on purpose are none of
 * the thread sanitizer's business, and the core's mistakes are.
 */
#include <string.h>

#include <octavo/pgtable.h>
#include <octavo/tlb.h>

#include "sim.h"
#include "tlb.h"

/* So many faults for one access, each of which said "try again", are one too many. */
#define FAULTS_MAX 100000u

/* ---- address spaces ---- */

static bool is_active(const struct mm_struct *mm, unsigned int cpu)
{
	/* relaxed: this CPU's bit, which it alone changes */
	const unsigned long word =
		__atomic_load_n(&mm->cpus[cpu / BITS_PER_LONG], __ATOMIC_RELAXED);

	return word >> (cpu % BITS_PER_LONG) & 1;
}

void sim_mm_forget(struct mm_struct *mm)
{
	const unsigned int cpu = octavo_port_pin();

	if (sim_tlb_mm() == mm)
		sim_tlb_set_mm(NULL);
	sim_tlb_drop(mm);
	if (is_active(mm, cpu))
		mm_deactivate(mm, cpu);
	octavo_port_unpin();
}

void sim_mm_use(struct mm_struct *mm)
{
	const unsigned int cpu = octavo_port_pin();
	struct mm_struct *old = sim_tlb_mm();

	if (old != mm) {
		if (old && !sim_tlb_asids())
			sim_mm_forget(old);
		if (mm && !is_active(mm, cpu))
			mm_activate(mm, cpu);
		sim_tlb_set_mm(mm);
	}
	octavo_port_unpin();
}

/* ---- faults ---- */

static __noinline vm_fault_t handle_fault(unsigned long addr, enum sim_access access,
					  enum sim_fault why, u32 turn)
{
	static const u32 flags[] = {
		[SIM_LOAD] = FAULT_FLAG_USER,
		[SIM_STORE] = FAULT_FLAG_USER | FAULT_FLAG_WRITE,
		[SIM_FETCH] = FAULT_FLAG_USER | FAULT_FLAG_INSTRUCTION,
	};
	struct mm_struct *mm = sim_tlb_mm();
	vm_fault_t f;

	if (why == SIM_BUS)
		return VM_FAULT_SIGBUS;
	if (!mm)
		return VM_FAULT_SIGSEGV | VM_FAULT_MAPERR;
	if (turn == FAULTS_MAX)
		octavo_port_panic("mmu: mm_fault() says \"try again\" and nothing comes of it");
	f = mm_fault(mm, addr, flags[access]);
	if (f & VM_FAULT_RETRY)
		octavo_port_panic("mmu: mm_fault() says RETRY to one who can wait");
	return f & VM_FAULT_ERROR ? f & (VM_FAULT_ERROR | VM_FAULT_MAPERR) : 0;
}

/* Translate, faulting as often as it takes. Return: 0 with *@host set, until sim_tlb_end(). */
static inline vm_fault_t begin(unsigned long addr, enum sim_access access, void **host)
{
	for (u32 turn = 0;; turn++) {
		enum sim_fault why = SIM_OK;
		vm_fault_t f;

		*host = sim_tlb_begin(addr, access, &why);
		if (likely(*host))
			return 0;
		f = handle_fault(addr, access, why, turn);
		if (f)
			return f;
	}
}

/* ---- words ---- */

vm_fault_t sim_load64(unsigned long addr, u64 *val)
{
	void *host;
	vm_fault_t f;

	if (!IS_ALIGNED(addr, sizeof(*val)))
		return VM_FAULT_SIGBUS;
	f = begin(addr, SIM_LOAD, &host);
	if (f)
		return f;
	*val = __atomic_load_n((u64 *)host, __ATOMIC_RELAXED);
	sim_tlb_end();
	return 0;
}

vm_fault_t sim_store64(unsigned long addr, u64 val)
{
	void *host;
	vm_fault_t f;

	if (!IS_ALIGNED(addr, sizeof(val)))
		return VM_FAULT_SIGBUS;
	f = begin(addr, SIM_STORE, &host);
	if (f)
		return f;
	__atomic_store_n((u64 *)host, val, __ATOMIC_RELAXED);
	sim_tlb_end();
	return 0;
}

vm_fault_t sim_cas64(unsigned long addr, u64 *old, u64 new)
{
	void *host;
	vm_fault_t f;

	if (!IS_ALIGNED(addr, sizeof(new)))
		return VM_FAULT_SIGBUS;
	f = begin(addr, SIM_STORE, &host);
	if (f)
		return f;
	/* seq_cst: what simulated programs synchronise by */
	__atomic_compare_exchange_n((u64 *)host, old, new, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	sim_tlb_end();
	return 0;
}

vm_fault_t sim_add64(unsigned long addr, u64 add, u64 *old)
{
	void *host;
	vm_fault_t f;
	u64 was;

	if (!IS_ALIGNED(addr, sizeof(add)))
		return VM_FAULT_SIGBUS;
	f = begin(addr, SIM_STORE, &host);
	if (f)
		return f;
	/* seq_cst: as sim_cas64() */
	was = __atomic_fetch_add((u64 *)host, add, __ATOMIC_SEQ_CST);
	sim_tlb_end();
	if (old)
		*old = was;
	return 0;
}

vm_fault_t sim_fetch(unsigned long addr)
{
	void *host;
	const vm_fault_t f = begin(addr, SIM_FETCH, &host);

	if (!f)
		sim_tlb_end();
	return f;
}

/* ---- bytes ---- */

/* Within a page. RAM is the atomic side. */
static void ram_read(char *to, const char *ram, unsigned long len)
{
	for (; len && !IS_ALIGNED((unsigned long)ram, 8); len--)
		*to++ = __atomic_load_n(ram++, __ATOMIC_RELAXED);
	for (; len >= 8; len -= 8, ram += 8, to += 8) {
		const u64 w = __atomic_load_n((const u64 *)(const void *)ram, __ATOMIC_RELAXED);

		memcpy(to, &w, 8);
	}
	for (; len; len--)
		*to++ = __atomic_load_n(ram++, __ATOMIC_RELAXED);
}

static void ram_write(char *ram, const char *from, unsigned long len)
{
	for (; len && !IS_ALIGNED((unsigned long)ram, 8); len--)
		__atomic_store_n(ram++, *from++, __ATOMIC_RELAXED);
	for (; len >= 8; len -= 8, ram += 8, from += 8) {
		u64 w;

		memcpy(&w, from, 8);
		__atomic_store_n((u64 *)(void *)ram, w, __ATOMIC_RELAXED);
	}
	for (; len; len--)
		__atomic_store_n(ram++, *from++, __ATOMIC_RELAXED);
}

static unsigned long left_in_page(unsigned long addr, unsigned long len)
{
	return min(len, PAGE_SIZE - (addr & (PAGE_SIZE - 1)));
}

vm_fault_t sim_load(unsigned long addr, void *buf, unsigned long len)
{
	for (char *to = buf; len;) {
		const unsigned long n = left_in_page(addr, len);
		void *host;
		const vm_fault_t f = begin(addr, SIM_LOAD, &host);

		if (f)
			return f;
		ram_read(to, host, n);
		sim_tlb_end();
		addr += n;
		to += n;
		len -= n;
	}
	return 0;
}

vm_fault_t sim_store(unsigned long addr, const void *buf, unsigned long len)
{
	for (const char *from = buf; len;) {
		const unsigned long n = left_in_page(addr, len);
		void *host;
		const vm_fault_t f = begin(addr, SIM_STORE, &host);

		if (f)
			return f;
		ram_write(host, from, n);
		sim_tlb_end();
		addr += n;
		from += n;
		len -= n;
	}
	return 0;
}
