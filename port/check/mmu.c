/* SPDX-License-Identifier: MIT */
/*
 * mmu.c - hardware that uses page tables, for scenarios: walks, translation buffers, accessed and dirty bits.
 *
 * Each step is one visible operation:
 *	a walk reads an entry that leads to a table (and may read an old one, as any acquire load);
 *	it reads the leaf, marks it accessed and for a store dirty, and keeps the translation;
 *	the access itself goes through a translation that the CPU has at that moment;
 *	a flush takes translations from CPUs, and makes walks that are under way start again.
 * So between any two of them another CPU may change entries, flush, and use the frame again.
 *
 * A CPU that has a translation when an access begins may use it or (a choice) have evicted it.
 *
 * A flush and the accesses of a CPU synchronise as by a lock of that CPU: accesses that came first happen
 * before what follows the flush, what came before the flush happens before accesses that come later. The
 * flushing CPU waits for no other, and learns nothing of what another one does in the core: as little as
 * port.h promises.
 */
#include <stdio.h>
#include <string.h>

#include <octavo/pgtable.h>
#include <octavo/state.h>

#include "engine.h"

#define NR_TRANSLATIONS 2

struct translation {
	struct mm_struct *mm; /* NULL: unused */
	unsigned long number; /* address >> level_shift(level) */
	unsigned int level;
	pte_t pte; /* as the walk left it */
};

static struct mmu {
	struct translation tlb[NR_TRANSLATIONS];
	u32 next;    /* the one that is replaced next */
	u32 flushes; /* of this CPU: a walk that sees it change starts again */
	/* views: what later accesses know, what those who flush learn */
	stamp_t flushed[VIEW_MAX], accessed[VIEW_MAX];
} mmu[MAXT];
/* After setup(): no views, because it runs alone. */
static struct translation at_start[MAXT][NR_TRANSLATIONS];

void mmu_setup_begins(void)
{
	memset(mmu, 0, sizeof(mmu));
}

void mmu_setup_done(void)
{
	for (u32 i = 0; i < MAXT; i++)
		memcpy(at_start[i], mmu[i].tlb, sizeof(at_start[i]));
}

void mmu_new_run(void)
{
	for (u32 i = 0; i < MAXT; i++) {
		struct mmu *m = &mmu[i];

		memcpy(m->tlb, at_start[i], sizeof(m->tlb));
		m->next = m->flushes = 0;
		memset(m->flushed, 0, (MAXT + E.nr_sid) * sizeof(stamp_t));
		memset(m->accessed, 0, (MAXT + E.nr_sid) * sizeof(stamp_t));
	}
}

/* ---- steps ---- */

/* From here to step_ends() no other thread runs. */
static void step_begins(const struct visible *v)
{
	if (!E.live)
		return;
	settle_pending();
	E.op++;
	preempt_point(v);
	E.one_step = true;
}

static void step_ends(void)
{
	E.one_step = false;
}

static u32 this_cpu(void)
{
	const u32 cpu = octavo_port_cpu();

	if (cpu >= MAXT)
		violation("CPU %u has no MMU", cpu);
	return cpu;
}

/* As the CPU's lock, taken and given back. */
static void learn_of_flushes(struct mmu *m)
{
	if (E.live)
		view_join(E.cur->cur, m->flushed, MAXT + E.nr_sid);
}

static void tell_flushers(struct mmu *m)
{
	if (!E.live)
		return;
	view_join(m->accessed, E.cur->cur, MAXT + E.nr_sid);
	E.cur->cur[E.cur->tid]++;
}

/* ---- translations ---- */

static struct translation *find(struct mmu *m, const struct mm_struct *mm, unsigned long addr)
{
	for (u32 i = 0; i < NR_TRANSLATIONS; i++) {
		struct translation *t = &m->tlb[i];

		if (t->mm == mm && t->number == addr >> level_shift(t->level))
			return t;
	}
	return NULL;
}

static void drop_range(struct mmu *m, const struct mm_struct *mm, unsigned long start,
		       unsigned long end, unsigned int level)
{
	for (u32 i = 0; i < NR_TRANSLATIONS; i++) {
		struct translation *t = &m->tlb[i];
		const unsigned int shift = level_shift(t->level);

		if (t->mm == mm && t->level >= level && t->number >= start >> shift &&
		    t->number <= (end - 1) >> shift)
			t->mm = NULL;
	}
}

static bool allows(pte_t e, bool write)
{
	return pte_user(e) && (!write || pte_write(e));
}

static void *host_of(const struct translation *t, unsigned long addr)
{
	return (char *)octavo_state.frame.direct_map + (pte_pfn(t->pte) << PAGE_SHIFT) +
	       (addr & (level_size(t->level) - 1));
}

/* ---- walks ---- */

/*
 * Keep a translation. Real CPUs that have two sizes for one address use either, or stop: whoever makes a leaf
 * of what was a table flushes in between.
 */
static void keep(struct mmu *m, const struct translation *new)
{
	for (u32 i = 0; i < NR_TRANSLATIONS; i++) {
		const struct translation *t = &m->tlb[i];
		const unsigned int shift = level_shift(max(t->level, new->level));

		if (t->mm == new->mm && t->level != new->level &&
		    t->number << level_shift(t->level) >> shift ==
			    new->number << level_shift(new->level) >> shift)
			violation("CPU %u has translations of two sizes for one address",
				  this_cpu());
	}
	m->tlb[m->next++ % NR_TRANSLATIONS] = *new;
}

/* One step: an entry above the last level. */
static pte_t read_upper(struct mmu *m, pte_t *p)
{
	const struct visible v = { .loc = E.live ? loc_of(&p->v, sizeof(u64), "mmu|entry") : NULL };
	pte_t e;

	step_begins(&v);
	learn_of_flushes(m);
	e = __pte(check_load(&p->v, sizeof(u64), _A_ACQUIRE, "mmu|table entry"));
	tell_flushers(m);
	step_ends();
	return e;
}

/*
 * One step: the leaf is read, allows the access, is marked, and the CPU has the translation. Not
 * if @flushes is not the CPU's number any more, and if it was a table.
 */
static int take_leaf(struct mmu *m, struct translation *new, pte_t *p, bool write, u32 flushes)
{
	const u64 marks = _PAGE_ACCESSED | (write ? _PAGE_DIRTY : 0);
	const struct visible v = { .loc = E.live ? loc_of(&p->v, sizeof(u64), "mmu|entry") : NULL,
				   .write = true };
	int result = CHECK_MMU_OK;
	u64 e;

	step_begins(&v);
	if (m->flushes != flushes) {
		step_ends();
		return -1;
	}
	learn_of_flushes(m);
	e = check_load(&p->v, sizeof(u64), _A_ACQUIRE, "mmu|leaf");
	do {
		if (!(e & _PAGE_PRESENT))
			result = CHECK_MMU_NOT_PRESENT;
		else if (!allows(__pte(e), write))
			result = CHECK_MMU_PROTECTION;
		else if (new->level && !(e & _PAGE_LEAF))
			result = -1;
		else if ((e & marks) == marks)
			break;
	} while (result == CHECK_MMU_OK &&
		 !check_cmpxchg(&p->v, sizeof(u64), &e, e | marks, false, _A_ACQ_REL, _A_ACQUIRE,
				"mmu|accessed and dirty"));
	if (result == CHECK_MMU_OK) {
		new->pte = __pte((e & marks) == marks ? e : e | marks);
		keep(m, new);
	}
	tell_flushers(m);
	step_ends();
	return result;
}

/* From the top. Return: -1: start again. */
static int walk(struct mmu *m, struct mm_struct *mm, unsigned long addr, bool write)
{
	const u32 flushes = m->flushes;
	pte_t *table = mm->pgd_table;

	for (unsigned int l = PGTABLE_LEVEL_TOP;; l--) {
		pte_t *p = &table[level_index(addr, l)];
		struct translation new = { mm, addr >> level_shift(l), l, __pte(0) };
		pte_t e;

		if (l == 0)
			return take_leaf(m, &new, p, write, flushes);
		e = read_upper(m, p);
		if (m->flushes != flushes)
			return -1;
		if (!(e.v & _PAGE_PRESENT))
			return CHECK_MMU_NOT_PRESENT;
		if (!allows(e, write))
			return CHECK_MMU_PROTECTION;
		if (e.v & _PAGE_LEAF)
			return take_leaf(m, &new, p, write, flushes);
		table = (pte_t *)(void *)((char *)octavo_state.frame.direct_map +
					  (pte_pfn(e) << PAGE_SHIFT));
	}
}

/* ---- accesses ---- */

/*
 * One step: the access, if the CPU still has a translation that serves. Return: false if not.
 */
static bool access_now(struct mmu *m, struct mm_struct *mm, unsigned long addr, u64 *value,
		       bool write)
{
	struct translation *t = find(m, mm, addr);
	struct visible v = { .write = write };
	u64 *host = t ? host_of(t, addr) : NULL;

	if (E.live && host)
		v.loc = loc_of(host, sizeof(*host), "mmu|memory");
	step_begins(&v);
	/* the flush of somebody who ran meanwhile */
	t = find(m, mm, addr);
	if (!t || host != host_of(t, addr)) {
		step_ends();
		return false;
	}
	learn_of_flushes(m);
	if (write)
		check_store(host, sizeof(*host), *value, _A_RELAXED, "mmu|store");
	else
		*value = check_load(host, sizeof(*host), _A_RELAXED, "mmu|load");
	tell_flushers(m);
	step_ends();
	return true;
}

static int user_access(struct mm_struct *mm, unsigned long addr, u64 *value, bool write)
{
	const u32 cpu = this_cpu();
	struct mmu *m = &mmu[cpu];
	struct translation *t;

	if (!(raw_load(&mm->cpus[cpu / BITS_PER_LONG], sizeof(long)) >> (cpu % BITS_PER_LONG) & 1))
		violation("CPU %u uses an address space without mm_activate()", cpu);
	if (addr & 7 || addr >= TASK_SIZE_MAX)
		violation("access to %#lx", addr);
	t = find(m, mm, addr);
	if (t && (!allows(t->pte, write) || (write && !pte_dirty(t->pte)) || check_choose(2))) {
		const bool allowed = allows(t->pte, write);

		/* a translation that forbids is a fault, whatever the entry says by now */
		t->mm = NULL;
		if (!allowed)
			return CHECK_MMU_PROTECTION;
		t = NULL;
	}
	for (;;) {
		int result;

		if (t && access_now(m, mm, addr, value, write))
			return CHECK_MMU_OK;
		result = walk(m, mm, addr, write);
		if (result > CHECK_MMU_OK)
			return result;
		t = find(m, mm, addr);
	}
}

int check_mmu_load(struct mm_struct *mm, unsigned long addr, u64 *value)
{
	return user_access(mm, addr, value, false);
}

int check_mmu_store(struct mm_struct *mm, unsigned long addr, u64 value)
{
	return user_access(mm, addr, &value, true);
}

void check_mmu_forget(struct mm_struct *mm)
{
	drop_range(&mmu[this_cpu()], mm, 0, ~0ul, 0);
}

unsigned int check_mmu_flushes(void)
{
	return mmu[this_cpu()].flushes;
}

/* ---- the port ---- */

void octavo_port_tlb_flush(const struct octavo_tlb_flush *flush, const unsigned long *cpus)
{
	const struct visible v = { .all = true };

	step_begins(&v);
	for (u32 i = 0; i < MAXT; i++) {
		struct mmu *m = &mmu[i];

		if (!(cpus[i / BITS_PER_LONG] >> (i % BITS_PER_LONG) & 1))
			continue;
		drop_range(m, flush->mm, flush->start, flush->end, flush->level);
		m->flushes++;
		if (E.live) {
			view_join(m->flushed, E.cur->cur, MAXT + E.nr_sid);
			view_join(E.cur->cur, m->accessed, MAXT + E.nr_sid);
		}
		if (E.tracing)
			trace_note("flushes CPU %u, %#lx to %#lx", i, flush->start, flush->end);
	}
	if (E.live)
		E.cur->cur[E.cur->tid]++;
	step_ends();
}
