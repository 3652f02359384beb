/* SPDX-License-Identifier: MIT */
/*
 * tlb.c - translation buffers and the hardware walker of the simulated machine.
 *
 * A CPU's buffers, and an access through them from the look-up to the last byte, are under the CPU's own lock.
 * A flush takes that lock: when it has it, no access is under way, and when it gives it back there is nothing
 * old to make one through. Nothing of the core runs under it, so whoever flushes, whatever locks of the
 * core are held, waits for a few accesses at most.
 *
 * What is simulated strictly: translations of a level are dropped by a flush of that level or of one
 * below and by no other, and entries that led to tables are remembered until a flush that says
 * freed_tables. Hardware differs, and most drops more; the contract of port.h allows no less.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <octavo/pgtable.h>
#include <octavo/state.h>

#include "sim.h"
#include "tlb.h"

#define ALLOW_WRITE (1u << 0)
#define ALLOW_USER  (1u << 1)
#define ALLOW_EXEC  (1u << 2)
#define ALLOW_ALL   (ALLOW_WRITE | ALLOW_USER | ALLOW_EXEC)
#define IS_DIRTY    (1u << 3)

/* A translation, or an entry that led to a table: of the addresses with that number of their level. */
struct tlb_entry {
	struct mm_struct *mm;
	unsigned long key; /* number << 1 | 1; or one of: */
#define KEY_NONE 0ul
#define KEY_GONE 2ul /* something was here, look further */
	char *host;
	u32 allow;
};

/*
 * Direct mapped by number. In paranoid mode a hash table with open addressing instead, that grows.
 */
struct tlb_buf {
	struct tlb_entry *e;
	u32 size; /* power of two; 0: not made yet */
	u32 used; /* of a hash table: not KEY_NONE */
};

static struct tlb_cpu {
	u32 lock;
	u32 wanted; /* by so many flushes: the CPU lets them go first, as it would an interrupt */
	struct mm_struct *mm; /* whose addresses the CPU uses; changed by itself */
	struct tlb_buf leaf[MAX_LEAF_LEVEL + 1];   /* by level */
	struct tlb_buf table[OCTAVO_TABLE_LEVELS]; /* by level, from 1: where they lead */
	struct sim_mmu_stat stat;
} __cacheline cpus[OCTAVO_NR_CPUS];

static const struct sim_mmu_config usual = { .entries = { 64, 16 }, .tables = 8 };
/* Changed at quiet moments only. */
static struct sim_mmu_config config = { .entries = { 64, 16 }, .tables = 8 };

/* ---- a CPU's lock ---- */

static void cpu_lock(struct tlb_cpu *c)
{
	/*
	 * seq_cst: acquire pairs with cpu_unlock(); and a CPU that has said in mm->cpus that it has
	 * translations reads no entry before that is seen
	 */
	while (__atomic_exchange_n(&c->lock, 1, __ATOMIC_SEQ_CST))
		octavo_port_relax();
}

static void cpu_unlock(struct tlb_cpu *c)
{
	/* release: accesses through translations come before the flush that waits for this */
	__atomic_store_n(&c->lock, 0, __ATOMIC_RELEASE);
}

static struct tlb_cpu *this_cpu(void)
{
	return &cpus[octavo_port_cpu()];
}

/* ---- buffers ---- */

static struct tlb_entry *buf_find(const struct tlb_buf *b, const struct mm_struct *mm,
				  unsigned long number)
{
	const unsigned long key = number << 1 | 1;

	if (!b->size)
		return NULL;
	for (unsigned long i = number;; i++) {
		struct tlb_entry *e = &b->e[i & (b->size - 1)];

		if (e->key == key && e->mm == mm)
			return e;
		if (!config.paranoid || e->key == KEY_NONE)
			return NULL;
	}
}

static void entry_drop(struct tlb_entry *e)
{
	e->key = KEY_GONE;
	e->mm = NULL;
}

static bool entry_live(const struct tlb_entry *e)
{
	return e->key & 1;
}

static void buf_make(struct tlb_buf *b, u32 size)
{
	b->e = calloc(size, sizeof(*b->e));
	if (!b->e)
		abort();
	b->size = size;
	b->used = 0;
}

static void buf_insert(struct tlb_buf *b, const struct tlb_entry *new, u32 size);

/* Room for one more: without what is gone, and larger if that is not enough. */
static void buf_grow(struct tlb_buf *b)
{
	struct tlb_buf old = *b;
	u32 live = 0;

	for (u32 i = 0; i < old.size; i++)
		live += entry_live(&old.e[i]);
	buf_make(b, 2 * (live + 1) > old.size ? 2 * old.size : old.size);
	for (u32 i = 0; i < old.size; i++)
		if (entry_live(&old.e[i]))
			buf_insert(b, &old.e[i], 0);
	free(old.e);
}

static void buf_insert(struct tlb_buf *b, const struct tlb_entry *new, u32 size)
{
	unsigned long i = new->key >> 1;
	struct tlb_entry *e = buf_find(b, new->mm, i);

	if (e) {
		*e = *new;
		return;
	}
	if (!b->size)
		buf_make(b, size);
	if (config.paranoid) {
		if (4 * (b->used + 1) > 3 * b->size)
			buf_grow(b);
		while (b->e[i & (b->size - 1)].key != KEY_NONE)
			i++;
		b->used++;
	}
	b->e[i & (b->size - 1)] = *new;
}

/* Drops what an address space has of some numbers. Return: how many. */
static u32 buf_drop(struct tlb_buf *b, const struct mm_struct *mm, unsigned long first,
		    unsigned long last)
{
	u32 n = 0;

	if (last - first < 8) {
		for (; first <= last; first++) {
			struct tlb_entry *e = buf_find(b, mm, first);

			if (e) {
				entry_drop(e);
				n++;
			}
		}
		return n;
	}
	for (u32 i = 0; i < b->size; i++) {
		struct tlb_entry *e = &b->e[i];

		if (entry_live(e) && e->mm == mm && e->key >> 1 >= first && e->key >> 1 <= last) {
			entry_drop(e);
			n++;
		}
	}
	return n;
}

static void cpu_free_buffers(struct tlb_cpu *c)
{
	for (u32 l = 0; l < ARRAY_SIZE(c->leaf); l++)
		free(c->leaf[l].e);
	for (u32 l = 0; l < ARRAY_SIZE(c->table); l++)
		free(c->table[l].e);
	memset(c->leaf, 0, sizeof(c->leaf));
	memset(c->table, 0, sizeof(c->table));
}

/* ---- the walker ---- */

static u32 allowed_by(pte_t e)
{
	return (pte_write(e) ? ALLOW_WRITE : 0) | (pte_user(e) ? ALLOW_USER : 0) |
	       (pte_exec(e) ? ALLOW_EXEC : 0);
}

/* @mm: NULL: the kernel itself, whose entries need not be for users. */
static bool allows(u32 allow, const struct mm_struct *mm, enum sim_access access)
{
	const u32 needed = (mm ? ALLOW_USER : 0) | (access == SIM_STORE	  ? ALLOW_WRITE
						    : access == SIM_FETCH ? ALLOW_EXEC
									  : 0);

	return (allow & needed) == needed;
}

/* What an entry of @level leads to, in the host. NULL: no such memory. */
static char *entry_host(pte_t e, u64 bytes)
{
	const u64 phys = (u64)pte_pfn(e) << PAGE_SHIFT;

	if (!IS_ALIGNED(phys, bytes))
		octavo_port_panic("page table: reserved bits are set");
	if (phys + bytes > sim_ram_bytes())
		return NULL;
	return (char *)octavo_state.frame.direct_map + phys;
}

static pte_t load_entry(const pte_t *p)
{
	/* acquire: pairs with the release that stored it: the table or memory is initialised */
	return __pte(__atomic_load_n(&p->v, __ATOMIC_ACQUIRE));
}

/* As the hardware does: @bits are in the entry, which is still the one that was read, or not at all. */
static bool mark_entry(pte_t *p, pte_t *e, u64 bits)
{
	u64 old = e->v;

	if ((old & bits) == bits)
		return true;
	/* acq_rel: as load_entry(); and whoever finds the bit finds what the access was ordered after */
	if (!__atomic_compare_exchange_n(&p->v, &old, old | bits, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return false;
	e->v = old | bits;
	return true;
}

struct walk {
	struct mm_struct *mm;
	unsigned long addr;
	unsigned int level; /* of the entry to be read next */
	pte_t *table;	    /* its table */
	u32 allow;	    /* by the levels above */
};

static pte_t *top_table(const struct mm_struct *mm)
{
	/* acquire: pairs with the release that stored it: the table is there */
	return mm ? mm->pgd_table
		  : __atomic_load_n(&octavo_state.kmap.mm, __ATOMIC_ACQUIRE)->pgd_table;
}

static void walk_begin(struct walk *w, struct mm_struct *mm, unsigned long addr)
{
	*w = (struct walk){ .mm = mm,
			    .addr = addr,
			    .level = PGTABLE_LEVEL_TOP,
			    .table = top_table(mm),
			    .allow = ALLOW_ALL };
}

/* Begin as far down as the CPU remembers. */
static void walk_begin_remembered(struct walk *w, const struct tlb_cpu *c, struct mm_struct *mm,
				  unsigned long addr)
{
	walk_begin(w, mm, addr);
	for (unsigned int l = 1; l < OCTAVO_TABLE_LEVELS; l++) {
		const struct tlb_entry *e = buf_find(&c->table[l], mm, addr >> level_shift(l));

		if (e) {
			w->level = l - 1;
			w->table = (pte_t *)(void *)e->host;
			w->allow = e->allow;
			return;
		}
	}
}

/* Go down by @e, which leads to a table. */
static bool walk_down(struct walk *w, pte_t e)
{
	w->table = (pte_t *)(void *)entry_host(e, PAGE_SIZE);
	w->allow &= allowed_by(e);
	w->level--;
	return w->table;
}

static bool is_leaf(pte_t e, unsigned int level)
{
	if (level && e.v & _PAGE_LEAF && level > MAX_LEAF_LEVEL)
		octavo_port_panic("page table: a leaf at a level that cannot have one");
	return level == 0 || e.v & _PAGE_LEAF;
}

/*
 * Find the leaf for an access and mark it. Context: the CPU's lock. Return: SIM_OK with @new filled and
 * kept in the buffer of *@level.
 */
static enum sim_fault walk(struct tlb_cpu *c, struct mm_struct *mm, unsigned long addr,
			   enum sim_access access, struct tlb_entry *new, unsigned int *level)
{
	const u64 bits = _PAGE_ACCESSED | (access == SIM_STORE ? _PAGE_DIRTY : 0);
	struct walk w;

	c->stat.walks++;
	walk_begin_remembered(&w, c, mm, addr);
	for (;;) {
		pte_t *p = &w.table[level_index(addr, w.level)];
		pte_t e = load_entry(p);

		/* PROT_NONE has the bit clear too */
		if (!(e.v & _PAGE_PRESENT))
			return SIM_NOT_PRESENT;
		if (is_leaf(e, w.level)) {
			w.allow &= allowed_by(e);
			if (!allows(w.allow, mm, access))
				return SIM_PROTECTION;
			new->host = entry_host(e, level_size(w.level));
			if (!new->host)
				return SIM_BUS;
			if (!mark_entry(p, &e, bits)) {
				/* not the entry whose permissions were looked at */
				walk_begin_remembered(&w, c, mm, addr);
				continue;
			}
			new->allow = w.allow | (pte_dirty(e) ? IS_DIRTY : 0);
			break;
		}
		if (!mark_entry(p, &e, _PAGE_ACCESSED))
			continue;
		if (!walk_down(&w, e))
			return SIM_BUS;
		*new = (struct tlb_entry){ .mm = mm,
					   .key = addr >> level_shift(w.level + 1) << 1 | 1,
					   .host = (char *)w.table,
					   .allow = w.allow };
		buf_insert(&c->table[w.level + 1], new, config.tables);
	}
	*level = w.level;
	new->mm = mm;
	new->key = addr >> level_shift(w.level) << 1 | 1;
	buf_insert(&c->leaf[w.level], new, config.entries[w.level]);
	return SIM_OK;
}

/* What a walk would find, without a trace. Return: whether there is a leaf. */
static bool look(struct mm_struct *mm, unsigned long addr, struct tlb_entry *found,
		 unsigned int *level)
{
	struct walk w;

	walk_begin(&w, mm, addr);
	for (;;) {
		pte_t e = load_entry(&w.table[level_index(addr, w.level)]);

		if (!(e.v & _PAGE_PRESENT))
			return false;
		if (is_leaf(e, w.level)) {
			*found = (struct tlb_entry){ .host = entry_host(e, level_size(w.level)) };
			found->allow = (w.allow & allowed_by(e)) | (pte_dirty(e) ? IS_DIRTY : 0);
			*level = w.level;
			return found->host;
		}
		if (!walk_down(&w, e))
			return false;
	}
}

/* The CPU forgets what it has of one address. */
static void forget_addr(struct tlb_cpu *c, const struct mm_struct *mm, unsigned long addr)
{
	for (unsigned int l = 0; l < OCTAVO_TABLE_LEVELS; l++) {
		const unsigned long number = addr >> level_shift(l);

		if (l < ARRAY_SIZE(c->leaf))
			buf_drop(&c->leaf[l], mm, number, number);
		buf_drop(&c->table[l], mm, number, number);
	}
}

static __noinline enum sim_fault access_fault(struct tlb_cpu *c, struct mm_struct *mm,
					      unsigned long addr, enum sim_access access,
					      enum sim_fault why)
{
	struct tlb_entry now;
	unsigned int level;

	c->stat.faults++;
	forget_addr(c, mm, addr);
	if (why != SIM_BUS && look(mm, addr, &now, &level) && allows(now.allow, mm, access))
		c->stat.spurious++;
	return why;
}

static __noinline char *translate_slow(struct tlb_cpu *c, struct mm_struct *mm, unsigned long addr,
				       enum sim_access access, enum sim_fault *fault)
{
	struct tlb_entry new;
	unsigned int level;

	*fault = walk(c, mm, addr, access, &new, &level);
	if (*fault != SIM_OK) {
		access_fault(c, mm, addr, access, *fault);
		return NULL;
	}
	return new.host + (addr & (level_size(level) - 1));
}

static char *translate(struct tlb_cpu *c, struct mm_struct *mm, unsigned long addr,
		       enum sim_access access, enum sim_fault *fault)
{
	for (unsigned int l = 0; l < ARRAY_SIZE(c->leaf); l++) {
		struct tlb_entry *e = buf_find(&c->leaf[l], mm, addr >> level_shift(l));

		if (!e)
			continue;
		if (!allows(e->allow, mm, access)) {
			*fault = access_fault(c, mm, addr, access, SIM_PROTECTION);
			return NULL;
		}
		if (access == SIM_STORE && !(e->allow & IS_DIRTY)) {
			c->stat.dirtied++;
			entry_drop(e);
			break;
		}
		c->stat.hits++;
		return e->host + (addr & (level_size(l) - 1));
	}
	return translate_slow(c, mm, addr, access, fault);
}

void *sim_tlb_begin(unsigned long addr, enum sim_access access, enum sim_fault *fault)
{
	struct tlb_cpu *c = this_cpu();
	char *host;

	/* relaxed: a hint */
	while (__atomic_load_n(&c->wanted, __ATOMIC_RELAXED))
		octavo_port_relax();
	cpu_lock(c);
	if (!c->mm || addr >= TASK_SIZE_MAX) {
		*fault = SIM_NOT_PRESENT;
		host = NULL;
	} else {
		host = translate(c, c->mm, addr, access, fault);
	}
	if (!host)
		cpu_unlock(c);
	return host;
}

enum sim_fault sim_mmu_ktry(unsigned long addr, enum sim_access access, u64 *val)
{
	struct tlb_cpu *c = this_cpu();
	enum sim_fault fault = SIM_NOT_PRESENT;
	u64 *host = NULL;

	/* the upper half, and what there are tables for */
	if (addr >> (VA_BITS - 1) != ~0ul >> (VA_BITS - 1) ||
	    !__atomic_load_n(&octavo_state.kmap.mm, __ATOMIC_ACQUIRE))
		return SIM_NOT_PRESENT;
	cpu_lock(c);
	host = (u64 *)(void *)translate(c, NULL, addr, access, &fault);
	if (host && access == SIM_LOAD)
		*val = __atomic_load_n(host, __ATOMIC_RELAXED);
	else if (host && access == SIM_STORE)
		__atomic_store_n(host, *val, __ATOMIC_RELAXED);
	cpu_unlock(c);
	return host ? SIM_OK : fault;
}

void sim_tlb_end(void)
{
	cpu_unlock(this_cpu());
}

enum sim_fault sim_mmu_try(unsigned long addr, enum sim_access access, u64 *val)
{
	enum sim_fault fault = SIM_OK;
	u64 *host = sim_tlb_begin(addr, access, &fault);

	if (!host)
		return fault;
	if (access == SIM_LOAD)
		*val = __atomic_load_n(host, __ATOMIC_RELAXED);
	else if (access == SIM_STORE)
		__atomic_store_n(host, *val, __ATOMIC_RELAXED);
	sim_tlb_end();
	return SIM_OK;
}

/* ---- flushes: tier 1 of the port ---- */

static void flush_cpu(struct tlb_cpu *c, const struct octavo_tlb_flush *f)
{
	__atomic_fetch_add(&c->wanted, 1, __ATOMIC_RELAXED);
	cpu_lock(c);
	__atomic_fetch_sub(&c->wanted, 1, __ATOMIC_RELAXED);
	c->stat.flushes++;
	for (unsigned int l = f->level; l < ARRAY_SIZE(c->leaf); l++)
		c->stat.flush_hits += buf_drop(&c->leaf[l], f->mm, f->start >> level_shift(l),
					       (f->end - 1) >> level_shift(l));
	for (unsigned int l = 1; f->freed_tables && l < ARRAY_SIZE(c->table); l++)
		buf_drop(&c->table[l], f->mm, f->start >> level_shift(l),
			 (f->end - 1) >> level_shift(l));
	cpu_unlock(c);
}

void octavo_port_tlb_flush(const struct octavo_tlb_flush *flush, const unsigned long *set)
{
	if (flush->start >= flush->end)
		return;
	for (u32 i = 0; i < OCTAVO_NR_CPUS; i++)
		if (set[i / BITS_PER_LONG] >> (i % BITS_PER_LONG) & 1)
			flush_cpu(&cpus[i], flush);
}

/* ---- which address space ---- */

struct mm_struct *sim_tlb_mm(void)
{
	return this_cpu()->mm;
}

void sim_tlb_set_mm(struct mm_struct *mm)
{
	struct tlb_cpu *c = this_cpu();

	cpu_lock(c);
	c->mm = mm;
	cpu_unlock(c);
}

void sim_tlb_drop(struct mm_struct *mm)
{
	struct tlb_cpu *c = this_cpu();

	cpu_lock(c);
	for (u32 l = 0; l < ARRAY_SIZE(c->leaf); l++)
		buf_drop(&c->leaf[l], mm, 0, ~0ul);
	for (u32 l = 0; l < ARRAY_SIZE(c->table); l++)
		buf_drop(&c->table[l], mm, 0, ~0ul);
	cpu_unlock(c);
}

bool sim_tlb_asids(void)
{
	return config.asids;
}

void sim_mmu_switch(struct mm_struct *mm)
{
	struct mm_struct *old = sim_tlb_mm();

	if (old == mm)
		return;
	if (old && !config.asids)
		sim_tlb_drop(old);
	sim_tlb_set_mm(mm);
}

/* ---- configuration, checks, numbers ---- */

void sim_mmu_configure(const struct sim_mmu_config *cfg)
{
	config = cfg ? *cfg : usual;
	for (u32 l = 0; l < ARRAY_SIZE(config.entries); l++) {
		if (!config.entries[l])
			config.entries[l] = usual.entries[l];
		if (!is_power_of_2(config.entries[l]) || config.entries[l] > SIM_TLB_MAX)
			octavo_port_panic("sim_mmu_configure: not a power of two, or too many");
	}
	if (!config.tables)
		config.tables = usual.tables;
	if (!is_power_of_2(config.tables) || config.tables > SIM_TLB_MAX)
		octavo_port_panic("sim_mmu_configure: not a power of two, or too many");
	for (u32 i = 0; i < OCTAVO_NR_CPUS; i++)
		cpu_free_buffers(&cpus[i]);
}

void sim_mmu_paranoid(bool on)
{
	struct sim_mmu_config cfg = config;

	cfg.paranoid = on;
	sim_mmu_configure(&cfg);
}

void sim_mmu_reset(void)
{
	for (u32 i = 0; i < OCTAVO_NR_CPUS; i++) {
		cpu_free_buffers(&cpus[i]);
		memset(&cpus[i], 0, sizeof(cpus[i]));
	}
	config = usual;
}

static bool complain(u32 cpu, unsigned int level, unsigned long addr, const char *what)
{
	char line[128];

	snprintf(line, sizeof(line), "mmu: CPU %u, level %u, address %#lx: %s", cpu, level, addr,
		 what);
	octavo_port_log(OCTAVO_LOG_ERR, line);
	return false;
}

static bool check_leaf(u32 cpu, unsigned int l, const struct tlb_entry *e)
{
	const unsigned long addr = e->key >> 1 << level_shift(l);
	struct tlb_entry now;
	unsigned int level;

	if (!look(e->mm, addr, &now, &level))
		return complain(cpu, l, addr, "translation of what is not there");
	if (level != l)
		return complain(cpu, l, addr, "translation of another size than the entry");
	if (now.host != e->host)
		return complain(cpu, l, addr, "translation to another frame");
	if (e->allow & ~now.allow & ALLOW_ALL)
		return complain(cpu, l, addr, "translation allows more than the entry");
	if (e->allow & ~now.allow & IS_DIRTY)
		return complain(cpu, l, addr, "translation is dirty, the entry is clean");
	return true;
}

static bool check_table(u32 cpu, unsigned int l, const struct tlb_entry *e)
{
	const unsigned long addr = e->key >> 1 << level_shift(l);
	struct walk w;

	walk_begin(&w, e->mm, addr);
	while (w.level >= l) {
		pte_t entry = load_entry(&w.table[level_index(addr, w.level)]);

		if (!(entry.v & _PAGE_PRESENT) || is_leaf(entry, w.level) || !walk_down(&w, entry))
			return complain(cpu, l, addr, "remembers a table that is not there");
	}
	if ((char *)w.table != e->host)
		return complain(cpu, l, addr, "remembers another table");
	if (e->allow & ~w.allow)
		return complain(cpu, l, addr, "remembered table allows more than the entry");
	return true;
}

static bool check_buf(u32 cpu, unsigned int l, const struct tlb_buf *b, const struct mm_struct *mm,
		      bool (*check)(u32, unsigned int, const struct tlb_entry *), u32 *nr)
{
	bool ok = true;

	for (u32 i = 0; i < b->size; i++) {
		if (!entry_live(&b->e[i]) || b->e[i].mm != mm)
			continue;
		ok &= check(cpu, l, &b->e[i]);
		(*nr)++;
	}
	return ok;
}

bool sim_mmu_check(struct mm_struct *mm)
{
	bool ok = true;

	for (u32 i = 0; i < OCTAVO_NR_CPUS; i++) {
		struct tlb_cpu *c = &cpus[i];
		u32 nr = 0;

		cpu_lock(c);
		for (u32 l = 0; l < ARRAY_SIZE(c->leaf); l++)
			ok &= check_buf(i, l, &c->leaf[l], mm, check_leaf, &nr);
		for (u32 l = 0; l < ARRAY_SIZE(c->table); l++)
			ok &= check_buf(i, l, &c->table[l], mm, check_table, &nr);
		if (nr && mm && c->mm != mm && !config.asids)
			ok = complain(i, 0, 0, "translations of an address space that it left");
		cpu_unlock(c);
	}
	return ok;
}

void sim_mmu_stat(struct sim_mmu_stat *st)
{
	memset(st, 0, sizeof(*st));
	for (u32 i = 0; i < OCTAVO_NR_CPUS; i++) {
		struct tlb_cpu *c = &cpus[i];
		const u64 *from = (const u64 *)&c->stat;
		u64 *to = (u64 *)st;

		cpu_lock(c);
		for (u32 k = 0; k < sizeof(*st) / sizeof(*to); k++)
			to[k] += from[k];
		cpu_unlock(c);
	}
}

u32 sim_mmu_nr(const struct mm_struct *mm)
{
	struct tlb_cpu *c = this_cpu();
	u32 n = 0;

	cpu_lock(c);
	for (u32 l = 0; l < ARRAY_SIZE(c->leaf); l++)
		for (u32 i = 0; i < c->leaf[l].size; i++)
			n += entry_live(&c->leaf[l].e[i]) && c->leaf[l].e[i].mm == mm;
	cpu_unlock(c);
	return n;
}
