/* SPDX-License-Identifier: MIT */
/*
 * map_ram.c - mappings for a short time, out of blocks of addresses.
 *
 * A block is one area. Addresses are taken from it in order and never twice: when all that were taken are unmapped,
 * the block ends as any area does, and its addresses come back after a flush. So mapping and unmapping a
 * few pages takes a lock that this home's CPUs alone take, stores entries, and allocates nothing. What is unmapped in
 * blocks that go on is remembered, for vm_unmap_aliases() to flush.
 */
#include "kmap.h"

#define BLOCK_BYTES ((unsigned long)KMAP_RAM_PAGES << PAGE_SHIFT)

BUILD_BUG_ON(KMAP_RAM_MAX > KMAP_RAM_PAGES);

static void not_dirty(struct ram_block *b)
{
	b->dirty_start = ~0ul;
	b->dirty_end = 0;
}

static struct ram_block *new_block(struct kmap *k)
{
	const struct kmap_want want = { .size = BLOCK_BYTES, .align = BLOCK_BYTES };
	const struct kmap_sums none = { 0 };
	struct ram_block *b = kmem_cache_alloc(k->ram_blocks, GFP_KERNEL);

	if (!b)
		return NULL;
	b->area = kmap_area_alloc(k, &want);
	if (!b->area) {
		kmem_cache_free(k->ram_blocks, b);
		return NULL;
	}
	kmap_area_setup(b->area, VM_MAP_RAM | VM_NO_GUARD, __builtin_return_address(0));
	b->area->private = b;
	b->home = b->area->home;
	b->used = 0;
	b->gone = 0;
	not_dirty(b);
	INIT_LIST_HEAD(&b->list);
	kmap_area_publish(k, b->area, &none);
	return b;
}

/* Nothing of it is mapped, and nobody will take addresses from it. */
static void end_block(struct kmap *k, struct ram_block *b)
{
	struct vm_struct *area = b->area;

	if (kmap_area_claim(k, area_start(area), true) != area)
		octavo_panic("vm_map_ram: block %p is not live", area->addr);
	kmem_cache_free(k->ram_blocks, b);
	kmap_end_area(k, area, true);
}

/*
 * It is to end. Until its area waits for a flush, which others who unmapped something in it must not miss, its home says
 * that one is owed. Context: the home's lock.
 */
static void leave_home(struct kmap_home *home, struct ram_block *b)
{
	home->lazy_start = min(home->lazy_start, b->dirty_start);
	home->lazy_end = max(home->lazy_end, b->dirty_end);
	list_del_init(&b->list);
}

/* Entries came or went. Context: the home's lock. */
static void count_entries(struct kmap_home *home, struct ram_block *b, long n)
{
	const struct kmap_sums change = { .mapped = n };

	b->area->mapped += n;
	kmap_sum(home, &change);
}

/* Addresses that will have entries. Context: the home's lock. Return: 0: no room. */
static unsigned long take(struct kmap_home *home, struct ram_block *b, u32 count)
{
	unsigned long addr;

	if (!b || KMAP_RAM_PAGES - b->used < count)
		return 0;
	addr = area_start(b->area) + ((unsigned long)b->used << PAGE_SHIFT);
	b->used += count;
	count_entries(home, b, (long)count);
	return addr;
}

/* Context: the home's lock. A block that is not current any more ends with its last mapping. */
static struct ram_block *replace_current(struct kmap_home *home, struct ram_block *new)
{
	struct ram_block *old = home->current_block;

	home->current_block = new;
	if (new)
		list_add_tail(&new->list, &home->blocks);
	if (!old || old->gone != old->used)
		return NULL;
	leave_home(home, old);
	return old;
}

/* *@from: the block that they are of. Return: 0: no memory. */
static unsigned long get_addresses(struct kmap *k, u32 count, struct ram_block **from)
{
	struct kmap_home *home = kmap_this_home(k);
	struct ram_block *new, *old;
	unsigned long addr;

	spin_lock(&home->lock);
	*from = home->current_block;
	addr = take(home, *from, count);
	spin_unlock(&home->lock);
	if (addr)
		return addr;
	new = new_block(k);
	if (!new)
		return 0;
	*from = new;
	home = &k->home[new->home];
	spin_lock(&home->lock);
	addr = take(home, new, count);
	old = replace_current(home, new);
	spin_unlock(&home->lock);
	if (old)
		end_block(k, old);
	return addr;
}

static struct ram_block *block_at(struct kmap *k, unsigned long addr)
{
	struct vm_struct *area = kmap_area_at(k, ALIGN_DOWN(addr, BLOCK_BYTES));

	return area && area->flags & VM_MAP_RAM ? area->private : NULL;
}

/* Addresses of a block that have no entries any more. */
static void put_addresses(struct kmap *k, struct ram_block *b, unsigned long addr, u32 count)
{
	struct kmap_home *home = &k->home[b->home];
	bool end;

	spin_lock(&home->lock);
	b->gone += count;
	count_entries(home, b, -(long)count);
	b->dirty_start = min(b->dirty_start, addr);
	b->dirty_end = max(b->dirty_end, addr + ((unsigned long)count << PAGE_SHIFT));
	end = b->gone == b->used && (b != home->current_block || b->used == KMAP_RAM_PAGES);
	if (end) {
		leave_home(home, b);
		if (b == home->current_block)
			home->current_block = NULL;
	}
	spin_unlock(&home->lock);
	if (end)
		end_block(k, b);
}

void *vm_map_ram(struct page **pages, unsigned int count, int node)
{
	struct kmapper m = { .prot = PAGE_KERNEL };
	struct kmap_source src;
	struct ram_block *b;
	unsigned long addr;
	void *large;

	if (count > KMAP_RAM_MAX)
		return vmap_pages(pages, count, VM_MAP_RAM, PAGE_KERNEL, &large) ? NULL : large;
	kmap_source_pages(&src, pages, count);
	if (!count || kmap_check_source(&src, false, NULL))
		return NULL;
	m.k = kmap_get();
	if (!m.k)
		return NULL;
	addr = get_addresses(m.k, count, &b);
	if (!addr)
		return NULL;
	m.addr = addr;
	if (kmap_map_source(&m, &src)) {
		kmap_unmap(m.k, addr, m.addr, &m.huge);
		put_addresses(m.k, b, addr, count);
		return NULL;
	}
	return (void *)addr;
}

void vm_unmap_ram(const void *mem, unsigned int count)
{
	const unsigned long addr = (unsigned long)mem;
	const unsigned long end = addr + ((unsigned long)count << PAGE_SHIFT);
	struct kmap *k = kmap_if_up();
	const bool inside = k && is_vmalloc_addr(mem) && IS_ALIGNED(addr, PAGE_SIZE);
	struct ram_block *b = inside ? block_at(k, addr) : NULL;
	unsigned long huge = 0;

	if (!b) {
		struct vm_struct *area = k ? kmap_area_at(k, addr) : NULL;

		if (area && area->flags & VM_MAP_RAM &&
		    vm_area_bytes(area) == (unsigned long)count << PAGE_SHIFT)
			vfree(mem);
		else
			pr_warn("vm_unmap_ram: %p is not a mapping of %u pages", mem, count);
		return;
	}
	if (!count || end > area_end(b->area) || kmap_count_mapped(k, addr, end, &huge) != count) {
		pr_warn("vm_unmap_ram: %p is not a mapping of %u pages", mem, count);
		return;
	}
	kmap_unmap(k, addr, end, &huge);
	put_addresses(k, b, addr, count);
}

void kmap_ram_dirty(struct kmap_home *home, unsigned long *start, unsigned long *end)
{
	struct ram_block *b;

	list_for_each_entry (b, &home->blocks, list) {
		*start = min(*start, b->dirty_start);
		*end = max(*end, b->dirty_end);
		not_dirty(b);
	}
}

void kmap_ram_exit(struct kmap *k)
{
	for (u32 h = 0; h < k->nr_homes; h++) {
		struct kmap_home *home = &k->home[h];
		struct ram_block *b, *tmp;

		b = replace_current(home, NULL);
		if (b)
			end_block(k, b);
		/* what is mapped still is a leak, and its block is freed with its area */
		list_for_each_entry_safe (b, tmp, &home->blocks, list)
			leave_home(home, b);
	}
}
