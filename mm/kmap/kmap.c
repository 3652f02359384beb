/* SPDX-License-Identifier: MIT */
/*
 * kmap.c - kernel mappings come up when they are first used, and go down with the machine; what there is, listed and
 * checked.
 */
#include <octavo/string.h>

#include "kmap.h"

/* ---- up ---- */

static void set_bound(struct kmap *k, u64 bound, u64 *due, u64 *tell)
{
	*due = max(bound - bound / 8, (u64)1);
	*tell = max(bound / (8 * k->nr_homes), (u64)1);
}

static bool make_hash(struct kmap *k)
{
	const u64 ram = totalram_pages();

	/* a bucket for each two pages of memory: chains are of one area while those are a quarter of a million at most */
	for (u32 bits = (u32)max(4, min(18, ilog2(ram >> 1))); bits >= 4 && !k->hash; bits--) {
		k->hash_bits = bits;
		k->hash = kzalloc(sizeof(*k->hash) << bits, GFP_KERNEL);
	}
	return k->hash;
}

static bool make_parts(struct kmap *k)
{
	k->mm = kzalloc(sizeof(*k->mm), GFP_KERNEL);
	/* whole lines: their states change with every use, on different CPUs */
	k->areas = kmem_cache_create("vm_struct", sizeof(struct vm_struct), 64, 0, NULL);
	k->ram_blocks = kmem_cache_create("vmap_block", sizeof(struct ram_block), 0, 0, NULL);
	return k->mm && k->areas && k->ram_blocks && make_hash(k) && !pgd_init(k->mm, GFP_KERNEL);
}

/* Nothing of it is in use. */
static void unmake(struct kmap *k)
{
	if (k->mm && k->mm->pgd)
		pgd_exit(k->mm);
	kfree(k->hash);
	kmem_cache_destroy(k->ram_blocks);
	kmem_cache_destroy(k->areas);
	kfree(k->mm);
	kfree(k);
}

static void init_home(struct kmap_home *home)
{
	spin_lock_init(&home->lock);
	kmap_pools_init(home);
	INIT_LIST_HEAD(&home->lazy);
	INIT_LIST_HEAD(&home->ready);
	home->lazy_start = ~0ul;
	INIT_LIST_HEAD(&home->blocks);
}

static void kmap_exit(void);
static bool kmap_validate(void);

static const struct octavo_layer kmap_layer = { .exit = kmap_exit, .validate = kmap_validate };

struct kmap *kmap_come_up(void)
{
	struct kmap *k = kzalloc(sizeof(*k), GFP_KERNEL), *other;

	if (!k)
		return NULL;
	if (!make_parts(k)) {
		unmake(k);
		return NULL;
	}
	k->nr_homes = min(octavo_state.frame.nr_cpus, KMAP_HOMES);
	set_bound(k, OCTAVO_VMALLOC_LAZY_AREAS, &k->lazy_due.areas, &k->lazy_tell.areas);
	set_bound(k, OCTAVO_VMALLOC_LAZY, &k->lazy_due.pages, &k->lazy_tell.pages);
	set_bound(k, min(totalram_pages() >> 6, (u64)OCTAVO_VMALLOC_LAZY_FRAMES),
		  &k->lazy_due.frames, &k->lazy_tell.frames);
	init_rwsem(&k->purge_lock);
	for (u32 i = 0; i < KMAP_HASH_LOCKS; i++)
		spin_lock_init(&k->hash_lock[i]);
	for (u32 h = 0; h < k->nr_homes; h++) {
		init_home(&k->home[h]);
		/* apart from each other from the start */
		k->home[h].chunk = h * OCTAVO_VMALLOC_CHUNKS / k->nr_homes;
	}
	for (u32 c = 0; c < OCTAVO_VMALLOC_CHUNKS; c++) {
		const unsigned long start = VMALLOC_START + c * VMALLOC_CHUNK;

		spin_lock_init(&k->chunk[c].lock);
		k->chunk[c].home = KMAP_NO_HOME;
		vm_tree_init(&k->chunk[c].tree, start, start + VMALLOC_CHUNK);
	}
	/*
	 * release: pairs with the acquire in kmap_if_up(): all of it is made; acquire: the same for the other's, if
	 * it was first
	 */
	other = cmpxchg_acq_rel(&octavo_state.kmap.kmap, NULL, k);
	if (other) {
		unmake(k);
		return other;
	}
	/* release: for a port that shares the table: it is made */
	smp_store_release(&octavo_state.kmap.mm, k->mm);
	/* release: as octavo_state says */
	smp_store_release(&octavo_state.layer[OCTAVO_LAYER_KMAP], &kmap_layer);
	return k;
}

/* ---- down ---- */

/* What was never freed is reported, and its memory stays allocated: octavo_shutdown() counts it. */
static unsigned long report_leaks(struct kmap *k)
{
	unsigned long leaks = 0;

	for (u32 c = 0; c < OCTAVO_VMALLOC_CHUNKS; c++) {
		struct vm_tree *t = &k->chunk[c].tree;
		struct vm_node *n, *tmp;

		list_for_each_entry_safe (n, tmp, &t->order, order) {
			struct vm_struct *area = container_of(n, struct vm_struct, node);

			if (n == &t->last || area->state != VM_STATE_LIVE)
				continue;
			pr_err("kernel mappings: %p of %lu bytes, %lu pages, made by %p, was never "
			       "freed",
			       area->addr, area->size, area->nr_pages, area->caller);
			leaks++;
			area->state = VM_STATE_BUSY;
			if (area->flags & VM_MAP_RAM && area->private)
				kmem_cache_free(k->ram_blocks, area->private);
			kmap_end_area(k, area, false);
		}
	}
	return leaks;
}

static void kmap_exit(void)
{
	struct kmap *k = octavo_state.kmap.kmap;
	const unsigned long start = kmap_table_addr(VMALLOC_START);
	struct mmu_gather tlb;

	vmalloc_run_deferred();
	kmap_ram_exit(k);
	report_leaks(k);
	kmap_purge(k);
	kmap_drain_pools(k);
	/* areas are freed by functions that look at the state */
	rcu_barrier();
	tlb_gather_mmu_fullmm(&tlb, k->mm);
	free_pgtables(&tlb, start, start + VMALLOC_SIZE, 0, 0);
	tlb_finish_mmu(&tlb);
	flush_tlb_tables(NULL, VMALLOC_START, VMALLOC_END);
	octavo_state.layer[OCTAVO_LAYER_KMAP] = NULL;
	octavo_state.kmap.mm = NULL;
	octavo_state.kmap.kmap = NULL;
	unmake(k);
}

/* ---- numbers ---- */

void vmalloc_stat(struct vmalloc_stat *st)
{
	struct kmap *k = kmap_if_up();
	struct kmap_lazy lazy;
	long sum[6] = { 0 };

	memset(st, 0, sizeof(*st));
	if (!k)
		return;
	lazy = kmap_lazy_sum(k);
	for (u32 h = 0; h < k->nr_homes; h++) {
		const struct kmap_home *home = &k->home[h];

		sum[0] += READ_ONCE(home->sums.areas);
		sum[1] += READ_ONCE(home->sums.vmalloc);
		sum[2] += READ_ONCE(home->sums.owned);
		sum[3] += READ_ONCE(home->sums.mapped);
		sum[4] += READ_ONCE(home->sums.huge);
		sum[5] += READ_ONCE(home->sums.runs_bytes);
	}
	st->areas = (u64)sum[0];
	st->nr_vmalloc = (u64)sum[1];
	st->nr_owned = (u64)sum[2];
	st->nr_mapped = (u64)sum[3];
	st->huge_entries = (u64)sum[4];
	st->runs_bytes = (u64)sum[5];
	st->array_bytes = st->nr_owned * sizeof(struct page *);
	st->lazy_pages = lazy.pages;
	st->lazy_frames = lazy.frames;
	st->purges = READ_ONCE(k->purges);
	for (struct vm_struct *a = READ_ONCE(k->deferred); a; a = a->next_deferred)
		st->deferred++;
	st->table_bytes = READ_ONCE(k->mm->pgtables_bytes);
}

u64 vmalloc_nr_pages(void)
{
	struct kmap *k = kmap_if_up();
	long sum = 0;

	for (u32 h = 0; k && h < k->nr_homes; h++)
		sum += READ_ONCE(k->home[h].sums.vmalloc);
	return (u64)sum;
}

/* ---- listing ---- */

/* Context: the chunk's lock. Return: false: @fn has had enough. */
static bool list_chunk(struct vm_tree *t, bool (*fn)(const struct vmalloc_info *info, void *arg),
		       void *arg)
{
	struct vm_node *n;

	list_for_each_entry (n, &t->order, order) {
		struct vm_struct *area = container_of(n, struct vm_struct, node);
		struct vmalloc_info info;

		/* acquire: pairs with kmap_area_publish() */
		if (n == &t->last || smp_load_acquire(&area->state) != VM_STATE_LIVE)
			continue;
		info.addr = (const void *)n->start;
		info.size = area->size;
		info.flags = READ_ONCE(area->flags);
		info.nr_pages = READ_ONCE(area->nr_pages);
		info.caller = READ_ONCE(area->caller);
		if (!fn(&info, arg))
			return false;
	}
	return true;
}

void vmalloc_for_each(bool (*fn)(const struct vmalloc_info *info, void *arg), void *arg)
{
	struct kmap *k = kmap_if_up();
	bool more = true;

	for (u32 c = 0; k && more && c < OCTAVO_VMALLOC_CHUNKS; c++) {
		spin_lock(&k->chunk[c].lock);
		more = list_chunk(&k->chunk[c].tree, fn, arg);
		spin_unlock(&k->chunk[c].lock);
	}
}

static bool dump_area(const struct vmalloc_info *info, void *unused)
{
	pr_dump("%p-%p %8lu by %p pages=%lu%s%s%s%s%s%s%s%s", info->addr,
		(const void *)((unsigned long)info->addr + info->size), info->size, info->caller,
		info->nr_pages, info->flags & VM_ALLOC ? " vmalloc" : "",
		info->flags & VM_MAP ? " vmap" : "", info->flags & VM_IOREMAP ? " ioremap" : "",
		info->flags & VM_USERMAP ? " user" : "", info->flags & VM_SPARSE ? " sparse" : "",
		info->flags & VM_MAP_RAM ? " ram" : "",
		info->flags & VM_MAP_PUT_PAGES ? " put" : "",
		info->flags & VM_FLUSH_RESET_PERMS ? " reset" : "");
	return true;
}

void vmalloc_dump(void)
{
	struct vmalloc_stat st;

	vmalloc_stat(&st);
	pr_dump("kernel mappings: %lu areas, %lu pages of vmalloc, %lu mapped, %lu to be flushed",
		(unsigned long)st.areas, (unsigned long)st.nr_vmalloc, (unsigned long)st.nr_mapped,
		(unsigned long)st.lazy_pages);
	vmalloc_for_each(dump_area, NULL);
}

/* ---- validation ---- */

struct kmap_check {
	struct kmap *k;
	struct kmap_sums sums;
	struct kmap_lazy lazy;
	bool ok;
};

#define wrong(c, fmt, ...)                                    \
	do {                                                  \
		pr_err("kernel mappings: " fmt, __VA_ARGS__); \
		(c)->ok = false;                              \
	} while (0)

/* Entries say what the runs say, page by page. */
static void check_runs(struct kmap_check *c, const struct vm_struct *area)
{
	unsigned long addr = area_start(area), pfn, nr, pages = 0;
	struct vm_run_iter it;

	vm_run_iter(&it, &area->runs);
	while (vm_run_next(&it, &pfn, &nr))
		for (unsigned long i = 0; i < nr; i++, pages++, addr += PAGE_SIZE)
			if (vmalloc_to_pfn((void *)addr) != pfn + i)
				wrong(c, "0x%lx maps pfn 0x%lx, the area has 0x%lx", addr,
				      vmalloc_to_pfn((void *)addr), pfn + i);
	if (pages != area->nr_pages)
		wrong(c, "%p has runs of %lu pages, counts %lu", area->addr, pages, area->nr_pages);
	c->sums.runs_bytes += (long)vm_runs_bytes(&area->runs);
}

static void check_area(struct kmap_check *c, struct vm_struct *area)
{
	unsigned long huge = 0, guard = 0;
	const unsigned long end = area_end(area);
	const unsigned long mapped = kmap_count_mapped(c->k, area_start(area), end, &huge);

	if (area_start(area) != area->node.start || end != area->node.end)
		wrong(c, "%p is not where its tree has it", area->addr);
	switch (area->state) {
	case VM_STATE_LIVE:
		c->sums.areas++;
		c->sums.owned += (long)area->nr_pages;
		c->sums.vmalloc += area->flags & VM_ALLOC ? (long)area->nr_pages : 0;
		check_runs(c, area);
		if (kmap_guard(area->flags) &&
		    kmap_count_mapped(c->k, end - PAGE_SIZE, end, &guard))
			wrong(c, "%p: something is mapped at its guard page", area->addr);
		if ((long)mapped != area->mapped)
			wrong(c, "%p: %lu pages mapped, counted %ld", area->addr, mapped,
			      area->mapped);
		break;
	case VM_STATE_LAZY:
		c->lazy.areas++;
		c->lazy.pages += area->size >> PAGE_SHIFT;
		c->lazy.frames += area->nr_pages;
		break;
	case VM_STATE_FREE:
		break;
	default:
		wrong(c, "0x%lx is in state %u", area_start(area), area->state);
	}
	if (area->state != VM_STATE_LIVE && mapped)
		wrong(c, "0x%lx: %lu pages mapped, and nobody's", area_start(area), mapped);
	if (area->state == VM_STATE_LIVE && kmap_area_at(c->k, area_start(area)) != area)
		wrong(c, "%p is not found by its address", area->addr);
	c->sums.mapped += (long)mapped;
	c->sums.huge += (long)huge;
}

static void check_sums(struct kmap_check *c)
{
	const struct kmap_lazy lazy = kmap_lazy_sum(c->k);
	struct vmalloc_stat st;

	vmalloc_stat(&st);
	if ((long)st.areas != c->sums.areas || (long)st.nr_vmalloc != c->sums.vmalloc ||
	    (long)st.nr_owned != c->sums.owned || (long)st.nr_mapped != c->sums.mapped ||
	    (long)st.huge_entries != c->sums.huge || (long)st.runs_bytes != c->sums.runs_bytes)
		wrong(c,
		      "counted %ld areas, %ld pages of vmalloc, %ld owned, %ld mapped, %ld large "
		      "entries, %ld bytes of runs",
		      (long)st.areas, (long)st.nr_vmalloc, (long)st.nr_owned, (long)st.nr_mapped,
		      (long)st.huge_entries, (long)st.runs_bytes);
	if (lazy.areas != c->lazy.areas || lazy.pages != c->lazy.pages ||
	    lazy.frames != c->lazy.frames)
		wrong(c,
		      "%lu areas, %lu pages and %lu frames wait for a flush, counted %lu, %lu and "
		      "%lu",
		      (unsigned long)lazy.areas, (unsigned long)lazy.pages,
		      (unsigned long)lazy.frames, (unsigned long)c->lazy.areas,
		      (unsigned long)c->lazy.pages, (unsigned long)c->lazy.frames);
}

static bool kmap_validate(void)
{
	struct kmap_check c = { .k = octavo_state.kmap.kmap, .ok = true };

	vmalloc_run_deferred();
	for (u32 i = 0; i < OCTAVO_VMALLOC_CHUNKS; i++) {
		struct vm_tree *t = &c.k->chunk[i].tree;
		struct vm_node *n;

		c.ok &= vm_tree_validate(t);
		list_for_each_entry (n, &t->order, order)
			if (n != &t->last)
				check_area(&c, container_of(n, struct vm_struct, node));
	}
	check_sums(&c);
	c.ok &= pgtable_validate_kernel(c.k->mm);
	return c.ok;
}
