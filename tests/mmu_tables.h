/* SPDX-License-Identifier: MIT */
/*
 * mmu_tables.h - page tables made by hand for the simulated MMU, and a core that a test can program: for test_mmu.c and
 * test_mmu_smp.c.
 */
#ifndef OCTAVO_MMU_TABLES_H
#define OCTAVO_MMU_TABLES_H

#include "test.h"

#include <octavo/pgtable.h>
#include <octavo/tlb.h>

#include "mmu.h"

#define CPUS  4
#define LARGE level_order(1)
/* Not the first of any table; the last-level table of it is used up to the end. */
#define ADDR (level_size(2) + 2 * level_size(1))

/* ---- tables by hand ---- */

static struct mm_struct mm, other;
static struct ptdesc *tables[64];
static u32 nr_tables;
static u64 default_table; /* the bits of entries that lead to tables */

static inline struct ptdesc *new_table(void)
{
	struct ptdesc *pt = pagetable_alloc(GFP_KERNEL, 0);

	assert_non_null(pt);
	assert_true(nr_tables < ARRAY_SIZE(tables));
	return tables[nr_tables++] = pt;
}

static inline void new_mm(struct mm_struct *m)
{
	memset(m, 0, sizeof(*m));
	m->pgd_table = ptdesc_address(new_table());
}

static inline void store_entry(pte_t *p, u64 v)
{
	/* release: the memory that it leads to is initialised */
	__atomic_store_n(&p->v, v, __ATOMIC_RELEASE);
}

/* The entry of @level, tables made on the way. */
static inline pte_t *entry(struct mm_struct *m, unsigned long addr, unsigned int level)
{
	pte_t *table = m->pgd_table;

	for (unsigned int l = PGTABLE_LEVEL_TOP; l > level; l--) {
		pte_t *p = &table[level_index(addr, l)];

		if (pte_none(*p))
			store_entry(p, (u64)ptdesc_pfn(new_table()) << PAGE_SHIFT | default_table);
		table = pfn_to_virt(pte_pfn(*p));
	}
	return &table[level_index(addr, level)];
}

static inline void map(unsigned long addr, unsigned int level, unsigned long pfn, u64 bits)
{
	store_entry(entry(&mm, addr, level),
		    (u64)pfn << PAGE_SHIFT | bits | (level ? _PAGE_LEAF : 0));
}

#define RW (_PAGE_PRESENT | _PAGE_USER | _PAGE_RW)
#define RO (_PAGE_PRESENT | _PAGE_USER)

static inline void start(void)
{
	boot_small(OCTAVO_TREE_ORDER > 6 ? 64 : 1, CPUS);
	nr_tables = 0;
	default_table = _PAGE_TABLE;
	new_mm(&mm);
	new_mm(&other);
	sim_set_cpu(0);
	sim_mmu_switch(&mm);
}

static inline void stop(void)
{
	for (u32 i = 0; i < nr_tables; i++)
		pagetable_free(tables[i]);
	shutdown_clean();
}

/* A run of frames whose words say what they are: byte i of page p is p. */
static inline unsigned long frames(unsigned int order)
{
	long pfn = frame_alloc(GFP_KERNEL, order, NUMA_NO_NODE);

	assert_true(pfn >= 0);
	for (unsigned long i = 0; i < 1ul << order; i++)
		memset(pfn_to_virt((unsigned long)pfn + i), (int)i + 1, PAGE_SIZE);
	return (unsigned long)pfn;
}

static inline u64 word_of(unsigned long pfn)
{
	return *(u64 *)pfn_to_virt(pfn);
}

static inline void flush(struct mm_struct *m, unsigned long from, unsigned long to,
			 unsigned int level, bool freed, unsigned long set)
{
	const struct octavo_tlb_flush f = { m, from, to, level, freed };
	const unsigned long cpus[DIV_ROUND_UP(OCTAVO_NR_CPUS, BITS_PER_LONG)] = { set };

	octavo_port_tlb_flush(&f, cpus);
}

static inline void flush_page(unsigned long addr)
{
	flush(&mm, addr, addr + PAGE_SIZE, 0, false, ~0ul >> (BITS_PER_LONG - CPUS));
}

static inline u64 load(unsigned long addr)
{
	u64 v = ~0ull;

	assert_int_equal(sim_mmu_try(addr, SIM_LOAD, &v), SIM_OK);
	return v;
}

static inline enum sim_fault try(unsigned long addr, enum sim_access access)
{
	u64 v = 0;

	return sim_mmu_try(addr, access, &v);
}

static inline struct sim_mmu_stat stat(void)
{
	struct sim_mmu_stat st;

	sim_mmu_stat(&st);
	return st;
}

static inline void say_nothing(enum octavo_log_level level, const char *line)
{
}

/* Has a CPU what it should not have? */
static inline bool stale(void)
{
	bool ok;

	sim_log_take(NULL);
	sim_log_to(say_nothing);
	ok = sim_mmu_check(&mm);
	sim_log_to(NULL);
	assert_int_equal(ok, sim_log_take(NULL) == 0);
	return !ok;
}

/* ---- the core's part, which a test can program ---- */

/* Where a fault finds what to map; 0: an error. */
static unsigned long fault_pfn[16];
static u32 faults, fault_flags, activated, deactivated;
static u32 fault_answer;

vm_fault_t mm_fault(struct mm_struct *m, unsigned long addr, u32 flags)
{
	const unsigned long i = (addr - ADDR) >> PAGE_SHIFT;

	faults++;
	fault_flags = flags;
	if (fault_answer)
		return fault_answer;
	if (m != &mm || i >= ARRAY_SIZE(fault_pfn) || !fault_pfn[i])
		return VM_FAULT_SIGSEGV | VM_FAULT_MAPERR | VM_FAULT_MAJOR;
	map(ADDR + i * PAGE_SIZE, 0, fault_pfn[i], flags & FAULT_FLAG_WRITE ? RW : RO);
	return VM_FAULT_MAJOR;
}

void mm_activate(struct mm_struct *m, unsigned int cpu)
{
	__atomic_fetch_or(&m->cpus[0], 1ul << cpu, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&activated, 1, __ATOMIC_RELAXED);
}

void mm_deactivate(struct mm_struct *m, unsigned int cpu)
{
	__atomic_fetch_and(&m->cpus[0], ~(1ul << cpu), __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&deactivated, 1, __ATOMIC_RELAXED);
}

static inline void fake_core(void)
{
	memset(fault_pfn, 0, sizeof(fault_pfn));
	faults = fault_flags = fault_answer = activated = deactivated = 0;
	sim_mmu_switch(NULL);
}

#endif /* OCTAVO_MMU_TABLES_H */
