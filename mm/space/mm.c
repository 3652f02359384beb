// SPDX-License-Identifier: MIT
/*
 * mm.c - address spaces: made, ended, listed; the caches and the zero page, which come up with the first.
 *
 * Two counts. users: who may fault, map, look pages up; the last one empties the address space. count: who has the
 * struct, all users together being one; the last one frees it. So a CPU, a notifier or a reverse-map walk can keep the
 * struct and its top table without keeping memory.
 */
#include <octavo/errno.h>
#include <octavo/gfp.h>
#include <octavo/plain.h>
#include <octavo/slab.h>
#include <octavo/string.h>

#include "../rmap/rmap_init.h"
#include "vma.h"

/* ---- what all address spaces share ---- */

/*
 * Faults read areas without a lock, and notice afterwards that there was none any more. So that nothing plain is ever
 * stored where they look, the allocator keeps away from all but the last field, which they do not read.
 */
#define VMA_STABLE ((u32)offsetof(struct vm_area_struct, vm_private_data))
BUILD_BUG_ON(sizeof(struct vm_area_struct) != VMA_STABLE + 8);

static void space_caches_exit(struct space_state *space)
{
	rmap_caches_exit();
	kmem_cache_destroy(space->range_node);
	kmem_cache_destroy(space->vma);
	kmem_cache_destroy(space->mm);
	space->range_node = NULL;
	space->vma = NULL;
	space->mm = NULL;
}

static int space_caches_init(struct space_state *space)
{
	const struct kmem_cache_args vma_args = { .stable_prefix = VMA_STABLE };

	if (rmap_caches_init(GFP_KERNEL))
		return -ENOMEM;
	space->mm = kmem_cache_create("mm_struct", sizeof(struct mm_struct), 64, 0, NULL);
	space->vma = kmem_cache_create("vm_area_struct", sizeof(struct vm_area_struct), 0,
				       SLAB_TYPESAFE_BY_RCU, &vma_args);
	space->range_node = kmem_cache_create("range_node", sizeof(struct range_node), 64, 0, NULL);
	if (space->mm && space->vma && space->range_node)
		return 0;
	space_caches_exit(space);
	return -ENOMEM;
}

/* One CPU, nothing else running. */
static void space_exit(void)
{
	struct space_state *space = &octavo_state.space;
	unsigned long leaked = 0;
	struct mm_struct *mm;

	list_for_each_entry (mm, &space->mms, all) {
		pr_err("mm %p: never ended: %u users, %u references", (void *)mm,
		       READ_ONCE(mm->users), READ_ONCE(mm->count));
		leaked++;
	}
	if (READ_ONCE(space->committed) && !leaked)
		pr_err("space: %lu pages are still promised", READ_ONCE(space->committed));
	free_frozen_pages(pfn_to_page(space->zero_pfn), 0);
	/* nodes of trees on their way back */
	rcu_barrier();
	/* with objects left they stay, for the layer below to report */
	if (!leaked)
		space_caches_exit(space);
}

/* The same. */
static bool space_validate(void)
{
	struct space_state *space = &octavo_state.space;
	memdesc_t zero = page_memdesc(pfn_to_page(space->zero_pfn));
	u64 committed = 0;
	struct mm_struct *mm;
	bool ok = true;

	if (!memdesc_is_misc(zero) || memdesc_subtype(zero) != MISC_ZEROPAGE ||
	    !memdesc_frozen(zero)) {
		pr_err("space: the zero page is none: word 0x%lx", zero.v);
		ok = false;
	}
	list_for_each_entry (mm, &space->mms, all) {
		ok &= mm_validate(mm);
		committed += mm_committed(mm);
	}
	if (committed != READ_ONCE(space->committed)) {
		pr_err("space: %lu pages are promised, of areas %lu", READ_ONCE(space->committed),
		       committed);
		ok = false;
	}
	return ok;
}

static const struct octavo_layer space_layer = { .exit = space_exit, .validate = space_validate };

/* Context: space.coming_up for writing. */
static int space_init(struct space_state *space)
{
	struct page *zero;

	zero = __alloc_plain_pages(GFP_KERNEL | __GFP_ZERO, 0, NUMA_NO_NODE, MISC_ZEROPAGE, true);
	if (!zero)
		return -ENOMEM;
	if (space_caches_init(space)) {
		free_frozen_pages(zero, 0);
		return -ENOMEM;
	}
	WRITE_ONCE(space->zero_pfn, page_to_pfn(zero));
	space->mm_drop = mmdrop;
	INIT_LIST_HEAD(&space->mms);
	/* release: for octavo_validate(), which is told by somebody that all is quiet */
	smp_store_release(&octavo_state.layer[OCTAVO_LAYER_SPACE], &space_layer);
	/* release: pairs with the acquire in space_up() */
	smp_store_release(&space->ready, 1u);
	return 0;
}

static int space_up(void)
{
	struct space_state *space = &octavo_state.space;
	int err = 0;

	/* acquire: pairs with the release in space_init(): caches and zero page are there */
	if (likely(smp_load_acquire(&space->ready)))
		return 0;
	down_write(&space->coming_up);
	if (!READ_ONCE(space->ready))
		err = space_init(space);
	up_write(&space->coming_up);
	return err;
}

/* ---- nodes of the trees ---- */

static struct range_node *node_alloc(void *ctx)
{
	return kmem_cache_alloc(octavo_state.space.range_node, GFP_KERNEL);
}

static void node_free(struct range_node *node)
{
	kmem_cache_free(octavo_state.space.range_node, node);
}

static void node_free_func(struct rcu_head *head)
{
	node_free(container_of(head, struct range_node, rcu));
}

static void node_free_rcu(struct range_node *node)
{
	call_rcu(&node->rcu, node_free_func);
}

static const struct range_tree_ops vma_tree_ops = {
	.alloc = node_alloc,
	.free = node_free,
	.free_rcu = node_free_rcu,
};

/* ---- one address space ---- */

static void mm_init_places(struct mm_struct *mm)
{
	unsigned long stack = min(128ul << 20, TASK_SIZE_MAX / 8) & PAGE_MASK;

	mm->task_size = TASK_SIZE_MAX;
	mm->mmap_base = TASK_SIZE_MAX - stack;
	mm->mmap_min_addr = min(64ul << 10, TASK_SIZE_MAX / 128) & PAGE_MASK;
	mm->start_brk = ALIGN(TASK_SIZE_MAX / 4, PAGE_SIZE);
	mm->brk = mm->start_brk;
	mm->limits = (struct mm_limits){ ~0ul, ~0ul, ~0ul, ~0ul };
	mm->max_map_count = 65530;
	mm->folio_orders = 1;
}

/* users and count 1, nothing mapped, in the list. */
static struct mm_struct *mm_new(void)
{
	struct space_state *space = &octavo_state.space;
	struct mm_struct *mm = kmem_cache_alloc(space->mm, GFP_KERNEL | __GFP_ZERO);

	if (!mm)
		return NULL;
	mm->cpu = kzalloc(octavo_state.frame.nr_cpus * sizeof(struct mm_cpu), GFP_KERNEL);
	if (!mm->cpu)
		goto no_cpu;
	if (pgd_init(mm, GFP_KERNEL))
		goto no_pgd;
	range_tree_init(&mm->vmas, &vma_tree_ops, NULL);
	init_rwsem(&mm->mmap_lock);
	spin_lock_init(&mm->lock);
	mm_init_places(mm);
	WRITE_ONCE(mm->count, 1u);
	WRITE_ONCE(mm->users, 1u);
	spin_lock(&space->lock);
	list_add_tail(&mm->all, &space->mms);
	spin_unlock(&space->lock);
	return mm;
no_pgd:
	kfree(mm->cpu);
no_cpu:
	kmem_cache_free(space->mm, mm);
	return NULL;
}

struct mm_struct *mm_alloc(void)
{
	return space_up() ? NULL : mm_new();
}

struct mm_struct *mm_init_copy(struct mm_struct *old)
{
	struct mm_struct *mm = mm_new();

	if (!mm)
		return NULL;
	mmap_write_lock(mm);
	if (READ_ONCE(old->memcg))
		octavo_state.upcalls.reclaim->mm_fork(mm, old);
	mm->task_size = old->task_size;
	mm->mmap_base = old->mmap_base;
	mm->mmap_min_addr = old->mmap_min_addr;
	mm->start_brk = old->start_brk;
	mm->brk = old->brk;
	mm->limits = old->limits;
	mm->max_map_count = old->max_map_count;
	mm->def_flags = old->def_flags & ~VM_LOCKED_MASK;
	WRITE_ONCE(mm->folio_orders, READ_ONCE(old->folio_orders));
	return mm;
}

/* What must be 0 when nothing is mapped. */
static void mm_check_empty(struct mm_struct *mm)
{
	static const char *const names[NR_MM_COUNTERS] = {
		[MM_FILEPAGES] = "file pages",
		[MM_ANONPAGES] = "anonymous pages",
		[MM_SWAPENTS] = "swap entries",
		[MM_SHMEMPAGES] = "shared memory pages",
	};

	for (unsigned int i = 0; i < NR_MM_COUNTERS; i++) {
		unsigned long n = get_mm_counter(mm, i);

		if (n)
			pr_err("mm %p: ends with %ld %s", (void *)mm, (long)n, names[i]);
	}
	if (mm->total_vm || mm->data_vm || mm->exec_vm || mm->stack_vm || mm->locked_vm)
		pr_err("mm %p: ends with %lu pages of areas, data %lu, code %lu, stack %lu, locked "
		       "%lu",
		       (void *)mm, mm->total_vm, mm->data_vm, mm->exec_vm, mm->stack_vm,
		       mm->locked_vm);
	if (mm->map_count)
		pr_err("mm %p: ends with %lu areas", (void *)mm, mm->map_count);
}

/* Context: the last reference is gone. */
static void mm_free(struct mm_struct *mm)
{
	struct space_state *space = &octavo_state.space;

	if (READ_ONCE(mm->users))
		octavo_panic("mm %p: the last reference is gone, %u users are not", (void *)mm,
			     READ_ONCE(mm->users));
	spin_lock(&space->lock);
	list_del_init(&mm->all);
	spin_unlock(&space->lock);
	mmu_notifier_subscriptions_destroy(mm);
	if (mm->memcg)
		octavo_state.upcalls.reclaim->mm_free(mm);
	pgd_exit(mm);
	kfree(mm->cpu);
	kmem_cache_free(space->mm, mm);
}

unsigned long mm_folio_alloc_bulk(struct mm_struct *mm, gfp_t gfp, unsigned long n,
				  struct folio **folios)
{
	unsigned long got = 0;

	if (likely(!READ_ONCE(mm->memcg)))
		return folio_alloc_bulk(gfp, FOLIO_ANON, n, folios);
	while (got < n && (folios[got] = mm_folio_alloc(mm, gfp, 0)))
		got++;
	return got;
}

void mmgrab(struct mm_struct *mm)
{
	/* relaxed: the caller's own reference orders everything */
	u32 old = fetch_add_relaxed(&mm->count, 1u);

	if (unlikely(old == 0 || old == ~0u))
		octavo_panic("mmgrab: mm %p has %u references", (void *)mm, old);
}

void mmdrop(struct mm_struct *mm)
{
	/* acq_rel: release pairs with the acquire of who drops the last one and frees; acquire is that one */
	u32 old = fetch_sub_acq_rel(&mm->count, 1u);

	if (unlikely(old == 0))
		octavo_panic("mmdrop: mm %p has no references", (void *)mm);
	if (old == 1)
		mm_free(mm);
}

/* Inc-not-zero: who has dropped the last reference takes it out of the list a moment later. Context: space.lock. */
static bool mmgrab_not_zero(struct mm_struct *mm)
{
	u32 old = READ_ONCE(mm->count);

	do {
		if (old == 0)
			return false;
		/* relaxed: the list's lock has ordered its making, and who uses it takes its mmap_lock */
	} while (!try_cmpxchg_relaxed(&mm->count, &old, old + 1));
	return true;
}

struct mm_struct *mm_next(struct mm_struct *mm)
{
	struct space_state *space = &octavo_state.space;
	struct mm_struct *next = NULL;
	struct list_head *at;

	/* acquire: pairs with the release of who made the list */
	if (!smp_load_acquire(&space->ready))
		return NULL;
	spin_lock(&space->lock);
	for (at = mm ? mm->all.next : space->mms.next; at != &space->mms && !next; at = at->next) {
		struct mm_struct *candidate = list_entry(at, struct mm_struct, all);

		if (mmgrab_not_zero(candidate))
			next = candidate;
	}
	spin_unlock(&space->lock);
	if (mm)
		mmdrop(mm);
	return next;
}

void mmget(struct mm_struct *mm)
{
	/* relaxed: the caller is a user */
	u32 old = fetch_add_relaxed(&mm->users, 1u);

	if (unlikely(old == 0 || old == ~0u))
		octavo_panic("mmget: mm %p has %u users", (void *)mm, old);
}

bool mmget_not_zero(struct mm_struct *mm)
{
	u32 old = READ_ONCE(mm->users);

	if (octavo_fault(OCTAVO_FAULT_TRYGET))
		return false;
	do {
		if (old == 0)
			return false;
		/* acquire: what other users did before they left is seen */
	} while (!try_cmpxchg_acquire(&mm->users, &old, old + 1));
	return true;
}

void mmput(struct mm_struct *mm)
{
	/* acq_rel: release pairs with the acquire of the last user; acquire is the last user's */
	u32 old = fetch_sub_acq_rel(&mm->users, 1u);

	if (unlikely(old == 0))
		octavo_panic("mmput: mm %p has no users", (void *)mm);
	if (old != 1)
		return;
	exit_mmap(mm);
	mm_check_empty(mm);
	mmdrop(mm);
}

/* ---- sums ---- */

unsigned long get_mm_counter(const struct mm_struct *mm, enum mm_counter member)
{
	long sum = 0;

	for (u32 cpu = 0; cpu < octavo_state.frame.nr_cpus; cpu++)
		sum += READ_ONCE(mm->cpu[cpu].count[member]);
	/* while others count, a page may be counted down before it was seen counted up */
	return sum < 0 ? 0 : (unsigned long)sum;
}

unsigned long get_mm_rss(const struct mm_struct *mm)
{
	const struct mm_cpu *c = mm->cpu, *end = c + octavo_state.frame.nr_cpus;
	long rss = 0;

	for (; c < end; c++)
		rss += READ_ONCE(c->count[MM_FILEPAGES]) + READ_ONCE(c->count[MM_ANONPAGES]) +
		       READ_ONCE(c->count[MM_SHMEMPAGES]);
	/* as in get_mm_counter() */
	return rss < 0 ? 0 : (unsigned long)rss;
}

void update_hiwater_rss(struct mm_struct *mm)
{
	unsigned long rss = get_mm_rss(mm);

	/* relaxed: of two who store, either has seen about the same */
	if (READ_ONCE(mm->hiwater_rss) < rss)
		WRITE_ONCE(mm->hiwater_rss, rss);
}
