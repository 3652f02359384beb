/* SPDX-License-Identifier: MIT */
/*
 * addr.c - areas: where their addresses come from, how they are found, and where they go.
 *
 * The address space is divided into chunks, each with a tree and a lock. A home, a few CPUs at most, takes addresses from
 * chunks that it has claimed, and goes to others' only when there is none left. In front of the trees each home has pools
 * of areas by size, whose addresses were flushed and stay in the tree: taking one is a list operation under a lock that
 * the home's CPUs alone take. So CPUs meet when they free each other's areas, and otherwise not at all.
 *
 * An area is also in a hash table by its first address, from when it has its place in a tree until it gives it up. Its
 * chains are read under RCU without any lock, so that an address leads to its area in every context. An area in a pool
 * keeps its place in the chain: what a reader stands on never moves elsewhere under it.
 *
 * States: FREE in a pool; BUSY while somebody makes or ends it; LIVE: everybody finds it, and who changes that to BUSY
 * (one only) ends it; LAZY: unmapped, a flush is owed.
 */
#include "kmap.h"

/* The cache aligns whole areas to lines; the type must not, for lists point into them from elsewhere. */
BUILD_BUG_ON(offsetof(struct vm_struct, nr_pages) != 64);
BUILD_BUG_ON(offsetof(struct vm_struct, node) != 128);

struct kmap_home *kmap_this_home(struct kmap *k)
{
	return &k->home[octavo_port_cpu() % k->nr_homes];
}

/* ---- by address ---- */

static u32 bucket_of(const struct kmap *k, unsigned long addr)
{
	return (u32)(((addr >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ul) >> (64 - k->hash_bits));
}

static spinlock_t *bucket_lock(struct kmap *k, u32 bucket)
{
	return &k->hash_lock[bucket % KMAP_HASH_LOCKS];
}

static void hash_add(struct kmap *k, struct vm_struct *area)
{
	const u32 b = bucket_of(k, area_start(area));

	spin_lock(bucket_lock(k, b));
	area->hash_next = READ_ONCE(k->hash[b]);
	/* release: pairs with the acquire in kmap_area_at(): the area is initialised */
	smp_store_release(&k->hash[b], area);
	spin_unlock(bucket_lock(k, b));
}

static void hash_del(struct kmap *k, struct vm_struct *area)
{
	const u32 b = bucket_of(k, area_start(area));
	struct vm_struct **link = &k->hash[b];

	spin_lock(bucket_lock(k, b));
	while (READ_ONCE(*link) != area)
		link = &READ_ONCE(*link)->hash_next;
	/* release: as hash_add(): a reader may come to what follows for the first time by this link */
	smp_store_release(link, READ_ONCE(area->hash_next));
	spin_unlock(bucket_lock(k, b));
}

/* The area that starts there, in any state. Context: RCU. */
static struct vm_struct *area_at(struct kmap *k, unsigned long addr)
{
	/* acquire: pairs with the release of hash_add() and hash_del() */
	struct vm_struct *area = smp_load_acquire(&k->hash[bucket_of(k, addr)]);

	for (; area; area = smp_load_acquire(&area->hash_next)) {
		/* nearly always the one that is wanted: both its lines come together, not one after the other */
		prefetchw(&area->nr_pages);
		if (area_start(area) == addr)
			break;
	}
	return area;
}

struct vm_struct *kmap_area_at(struct kmap *k, unsigned long addr)
{
	struct vm_struct *area;

	rcu_read_lock();
	area = area_at(k, addr);
	/* acquire: pairs with the release of kmap_area_publish(): what the area is */
	if (area && smp_load_acquire(&area->state) != VM_STATE_LIVE)
		area = NULL;
	rcu_read_unlock();
	return area;
}

struct vm_struct *kmap_area_claim(struct kmap *k, unsigned long addr, bool block)
{
	struct vm_struct *area;

	rcu_read_lock();
	kmap_entry_ahead(k, addr);
	area = area_at(k, addr);
	/* acquire: as kmap_area_at() */
	if (area && (smp_load_acquire(&area->state) != VM_STATE_LIVE ||
		     (!block && area->flags & VM_MAP_RAM && area->private) ||
		     /* acquire: as above; of two who end an area one is refused here */
		     cmpxchg_acquire(&area->state, (u32)VM_STATE_LIVE, (u32)VM_STATE_BUSY) !=
			     VM_STATE_LIVE))
		area = NULL;
	rcu_read_unlock();
	return area;
}

struct vm_struct *find_vm_area(const void *addr)
{
	struct kmap *k = kmap_if_up();
	struct vm_struct *area = NULL;
	struct kmap_chunk *chunk;
	struct vm_node *n;

	if (!k || !is_vmalloc_addr(addr))
		return NULL;
	chunk = kmap_chunk_of(k, (unsigned long)addr);
	spin_lock(&chunk->lock);
	n = vm_tree_find(&chunk->tree, (unsigned long)addr);
	if (n)
		area = container_of(n, struct vm_struct, node);
	/* acquire: as kmap_area_at() */
	if (area && smp_load_acquire(&area->state) != VM_STATE_LIVE)
		area = NULL;
	spin_unlock(&chunk->lock);
	return area;
}

/* ---- addresses ---- */

static bool chunk_place(struct kmap_chunk *chunk, struct vm_struct *area,
			const struct kmap_want *want)
{
	struct vm_node *next;
	unsigned long at;

	spin_lock(&chunk->lock);
	next = vm_tree_find_gap(&chunk->tree, want->size, want->align, want->color, &at);
	if (next) {
		area->node.start = at;
		area->node.end = at + want->size;
		area->addr = (void *)at;
		area->size = want->size;
		vm_tree_insert(&chunk->tree, &area->node, next);
	}
	spin_unlock(&chunk->lock);
	return next;
}

/* Among the chunks of @owner, which is a home or nobody; those of nobody become @home's. */
static bool place_among(struct kmap *k, struct kmap_home *home, struct vm_struct *area,
			const struct kmap_want *want, u32 owner)
{
	const u32 hint = READ_ONCE(home->chunk);

	for (u32 i = 0; i < OCTAVO_VMALLOC_CHUNKS; i++) {
		const u32 c = (hint + i) % OCTAVO_VMALLOC_CHUNKS;
		struct kmap_chunk *chunk = &k->chunk[c];

		if (READ_ONCE(chunk->home) != owner)
			continue;
		/* relaxed: the chunk is empty and its lock orders the rest; who is second looks further */
		if (owner == KMAP_NO_HOME &&
		    cmpxchg_relaxed(&chunk->home, owner, (u32)(home - k->home)) != owner)
			continue;
		if (chunk_place(chunk, area, want)) {
			WRITE_ONCE(home->chunk, c);
			return true;
		}
		if (owner == KMAP_NO_HOME)
			break;
	}
	return false;
}

static bool place(struct kmap *k, struct kmap_home *home, struct vm_struct *area,
		  const struct kmap_want *want)
{
	const u32 mine = (u32)(home - k->home);

	if (place_among(k, home, area, want, mine) ||
	    place_among(k, home, area, want, KMAP_NO_HOME))
		return true;
	for (u32 other = 0; other < k->nr_homes; other++)
		if (other != mine && place_among(k, home, area, want, other))
			return true;
	return false;
}

/* ---- from and to the pools and trees ---- */

static void area_freed(struct rcu_head *head)
{
	kmem_cache_free(octavo_state.kmap.kmap->areas, container_of(head, struct vm_struct, rcu));
}

/* Out of the chunk and the hash: its addresses are anybody's. */
static void area_dissolve(struct kmap *k, struct vm_struct *area)
{
	struct kmap_chunk *chunk = kmap_chunk_of(k, area_start(area));

	hash_del(k, area);
	spin_lock(&chunk->lock);
	vm_tree_erase(&chunk->tree, &area->node);
	spin_unlock(&chunk->lock);
	call_rcu(&area->rcu, area_freed);
}

static void dissolve_all(struct kmap *k, struct list_head *all)
{
	struct vm_struct *area, *tmp;

	list_for_each_entry_safe (area, tmp, all, list) {
		list_del_init(&area->list);
		area_dissolve(k, area);
	}
}

struct vm_struct *kmap_area_alloc(struct kmap *k, const struct kmap_want *want)
{
	struct kmap_home *home = kmap_this_home(k);
	struct vm_struct *area = kmap_pool_take(home, want);

	if (area)
		return area;
	if (want->size > VMALLOC_CHUNK)
		return NULL;
	area = kmem_cache_alloc(k->areas, GFP_KERNEL);
	if (!area)
		return NULL;
	*area = (struct vm_struct){ .state = VM_STATE_BUSY, .home = (u32)(home - k->home) };
	if (!place(k, home, area, want)) {
		kmap_purge(k);
		kmap_drain_pools(k);
		if (!place(k, home, area, want)) {
			kmem_cache_free(k->areas, area);
			return NULL;
		}
	}
	hash_add(k, area);
	return area;
}

void kmap_areas_free(struct kmap *k, struct list_head *all)
{
	struct vm_struct *area, *tmp;
	struct list_head gone;

	INIT_LIST_HEAD(&gone);
	while (!list_empty(all)) {
		const u32 h = list_first_entry(all, struct vm_struct, list)->home;
		struct kmap_home *home = &k->home[h];

		/* all that one after the other are its own */
		spin_lock(&home->lock);
		list_for_each_entry_safe (area, tmp, all, list) {
			if (area->home != h)
				break;
			list_del_init(&area->list);
			area = kmap_pool_put(home, area);
			if (area)
				list_add(&area->list, &gone);
		}
		spin_unlock(&home->lock);
	}
	dissolve_all(k, &gone);
}

void kmap_drain_pools(struct kmap *k)
{
	struct list_head all;

	INIT_LIST_HEAD(&all);
	for (u32 h = 0; h < k->nr_homes; h++)
		kmap_pools_empty(&k->home[h], &all);
	dissolve_all(k, &all);
}

/* ---- sums ---- */

static void add_to(long *sum, long n)
{
	if (n)
		WRITE_ONCE(*sum, *sum + n);
}

void kmap_sum(struct kmap_home *home, const struct kmap_sums *n)
{
	add_to(&home->sums.areas, n->areas);
	add_to(&home->sums.vmalloc, n->vmalloc);
	add_to(&home->sums.owned, n->owned);
	add_to(&home->sums.mapped, n->mapped);
	add_to(&home->sums.huge, n->huge);
	add_to(&home->sums.runs_bytes, n->runs_bytes);
}

void kmap_count_map(struct kmap *k, struct vm_struct *area, long pages, long huge)
{
	struct kmap_home *home = kmap_home_of(k, area);
	const struct kmap_sums n = { .mapped = pages, .huge = huge };

	spin_lock(&home->lock);
	area->mapped += pages;
	kmap_sum(home, &n);
	spin_unlock(&home->lock);
}

void kmap_area_publish(struct kmap *k, struct vm_struct *area, const struct kmap_sums *here)
{
	struct kmap_home *home = kmap_home_of(k, area);

	area->mapped = here->mapped;
	spin_lock(&home->lock);
	kmap_sum(home, here);
	add_to(&home->sums.areas, 1);
	spin_unlock(&home->lock);
	/* release: pairs with the acquire of every look-up: all of it is set */
	smp_store_release(&area->state, (u32)VM_STATE_LIVE);
}
