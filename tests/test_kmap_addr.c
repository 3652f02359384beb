/* SPDX-License-Identifier: MIT */
/*
 * test_kmap_addr.c - the tree of addresses against an array of bits, and areas by address in their tens of thousands.
 */
#include "../mm/kmap/kmap.h"
#include "kmap_machine.h"

#define BASE  (16 * PAGE_SIZE)
#define PAGES 200ul

static struct vm_tree tree;
static struct vm_node nodes[PAGES];
static bool used[PAGES];

static u64 seed = 12345;

static unsigned long rnd(unsigned long n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned long)(seed % n);
}

static bool free_at(unsigned long page, unsigned long nr)
{
	if (page + nr > PAGES)
		return false;
	for (unsigned long i = 0; i < nr; i++)
		if (used[page + i])
			return false;
	return true;
}

/* Is there such a place at all? */
static bool model_fits(unsigned long nr, unsigned long align, unsigned long color)
{
	for (unsigned long i = 0; i < PAGES; i++)
		if ((16 + i) % align == color && free_at(i, nr))
			return true;
	return false;
}

static void insert_some(void)
{
	const unsigned long nr = 1 + rnd(12), align = 1ul << rnd(5), color = rnd(align);
	struct vm_node *next, *n = NULL;
	unsigned long at = 0;

	next = vm_tree_find_gap(&tree, nr << PAGE_SHIFT, align << PAGE_SHIFT, color << PAGE_SHIFT,
				&at);
	assert_int_equal(next != NULL, model_fits(nr, align, color));
	if (!next)
		return;
	assert_int_equal((at >> PAGE_SHIFT) % align, color);
	assert_true(free_at((at - BASE) >> PAGE_SHIFT, nr));
	for (unsigned long i = 0; i < PAGES && !n; i++)
		if (!nodes[i].end)
			n = &nodes[i];
	assert_non_null(n);
	n->start = at;
	n->end = at + (nr << PAGE_SHIFT);
	vm_tree_insert(&tree, n, next);
	for (unsigned long i = 0; i < nr; i++)
		used[((at - BASE) >> PAGE_SHIFT) + i] = true;
}

static void erase_some(void)
{
	struct vm_node *n = &nodes[rnd(PAGES)];

	if (!n->end)
		return;
	vm_tree_erase(&tree, n);
	for (unsigned long a = n->start; a < n->end; a += PAGE_SIZE)
		used[(a - BASE) >> PAGE_SHIFT] = false;
	n->end = 0;
}

static void test_tree_against_model(void **state)
{
	vm_tree_init(&tree, BASE, BASE + (PAGES << PAGE_SHIFT));
	for (int i = 0; i < 20000; i++) {
		if (rnd(2))
			insert_some();
		else
			erase_some();
		if (i % 16)
			continue;
		assert_true(vm_tree_validate(&tree));
		for (unsigned long p = 0; p < PAGES; p++) {
			const unsigned long a = BASE + (p << PAGE_SHIFT) + 5;
			const struct vm_node *n = vm_tree_find(&tree, a);

			assert_int_equal(n != NULL, used[p]);
			assert_true(!n || (n->start <= a && a < n->end));
		}
	}
	assert_null(vm_tree_find(&tree, BASE - 1));
	assert_null(vm_tree_find(&tree, BASE + (PAGES << PAGE_SHIFT)));
}

/* A tree that says something wrong is found out. */
static void test_tree_validate_sees(void **state)
{
	memset(nodes, 0, sizeof(nodes));
	memset(used, 0, sizeof(used));
	vm_tree_init(&tree, BASE, BASE + (PAGES << PAGE_SHIFT));
	for (int i = 0; i < 10; i++)
		insert_some();
	assert_true(vm_tree_validate(&tree));
	sim_log_take(NULL);
	tree.root->max_gap += PAGE_SIZE;
	assert_false(vm_tree_validate(&tree));
	tree.root->max_gap -= PAGE_SIZE;
	tree.last.gap -= PAGE_SIZE;
	assert_false(vm_tree_validate(&tree));
	sim_log_take(NULL);
}

/* Many areas: each found by its address and by one inside it, none that is not there; balanced at the end. */
static void test_many_areas(void **state)
{
	const unsigned long want = OCTAVO_TREE_ORDER > 6 ? 30000 : 200;
	struct page *page;
	void **p = calloc(want, sizeof(*p));
	unsigned long n = 0;

	assert_non_null(p);
	kmap_boot();
	page = alloc_page(GFP_KERNEL);
	for (unsigned long i = 0; i < want; i++) {
		struct page *pages[3] = { page, page, page };

		sim_set_cpu((unsigned int)(i % 4));
		p[i] = vmap(pages, 1 + (unsigned int)(i % 3), 0, PAGE_KERNEL);
		n += p[i] != NULL;
	}
	assert_int_equal(kmap_stat().areas, n);
	assert_true(octavo_validate());
	for (unsigned long i = 0; i < want; i++) {
		if (!p[i])
			continue;
		assert_ptr_equal(find_vm_area(p[i])->addr, p[i]);
		assert_ptr_equal(find_vm_area((char *)p[i] + 100)->addr, p[i]);
		if (i % 2)
			vunmap(p[i]);
	}
	sim_set_cpu(0);
	assert_int_equal(kmap_stat().areas, n - n / 2);
	for (unsigned long i = 0; i < want; i += 2)
		vunmap(p[i]);
	put_page(page);
	free(p);
	kmap_end();
}

/* The same size again and again takes neither memory nor a place in a tree. */
static void test_pool_is_used(void **state)
{
	struct kmem_cache_stat a, b;
	struct page *page;
	void *first, *p;

	kmap_boot();
	page = alloc_page(GFP_KERNEL);
	first = vmap(&page, 1, 0, PAGE_KERNEL);
	vunmap(first);
	vm_unmap_aliases();
	kmem_cache_stat(octavo_state.kmap.kmap->areas, &a);
	for (int i = 0; i < 100; i++) {
		p = vmap(&page, 1, 0, PAGE_KERNEL);
		assert_ptr_equal(p, first);
		vunmap(p);
		vm_unmap_aliases();
	}
	kmem_cache_stat(octavo_state.kmap.kmap->areas, &b);
	assert_int_equal(a.active, b.active);
	put_page(page);
	kmap_end();
}

/* Those of a power of two share a pool: each gets one of its own size, or none. */
static void test_pool_of_large_ones(void **state)
{
	/* with the guard the smallest ones that share, and the largest */
	const unsigned long small = KMAP_POOL_EXACT, large = 2 * KMAP_POOL_EXACT - 2;
	struct page *page;
	struct page *pages[2 * KMAP_POOL_EXACT];
	struct vm_struct *area;
	void *first, *p, *q;

	kmap_boot();
	page = alloc_page(GFP_KERNEL);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = page;
	first = vmap(pages, small, 0, PAGE_KERNEL);
	vunmap(first);
	vm_unmap_aliases();
	p = vmap(pages, large, 0, PAGE_KERNEL);
	area = find_vm_area(p);
	assert_non_null(area);
	assert_int_equal(area->size, (large + 1) << PAGE_SHIFT);
	assert_ptr_not_equal(p, first);
	q = vmap(pages, small, 0, PAGE_KERNEL);
	assert_ptr_equal(q, first);
	assert_true(octavo_validate());
	vunmap(p);
	vunmap(q);
	vm_unmap_aliases();
	assert_ptr_equal(vmap(pages, large, 0, PAGE_KERNEL), p);
	vunmap(p);
	put_page(page);
	kmap_end();
}

/* What is to lie at a multiple of something gets one that does, out of the pool too. */
static void test_pool_aligned(void **state)
{
	const unsigned long leaf = level_size(PGTABLE_LEVEL_PMD);
	struct page *page, *pages[PTRS_PER_TABLE];
	void *first, *p, *q;

	kmap_boot();
	page = alloc_page(GFP_KERNEL);
	for (unsigned int i = 0; i < LEAF_PAGES; i++)
		pages[i] = page;
	first = vmap(&page, 1, 0, PAGE_KERNEL);
	p = vmap(pages, LEAF_PAGES, VM_NO_HUGE_VMAP, PAGE_KERNEL);
	assert_false(IS_ALIGNED((unsigned long)p, leaf));
	vunmap(p);
	vm_unmap_aliases();
	q = vmalloc(leaf);
	assert_true(IS_ALIGNED((unsigned long)q, leaf));
	vfree(q);
	vm_unmap_aliases();
	assert_ptr_equal(vmalloc(leaf), q);
	vfree(q);
	vunmap(first);
	put_page(page);
	kmap_end();
}

static void *map_some(struct page *page, unsigned int nr)
{
	struct page *pages[] = { page, page, page };
	void *p = vmap(pages, nr, 0, PAGE_KERNEL);

	assert_non_null(p);
	return p;
}

/* Two areas of two pages, and back. Return: which they were, in either order. */
static unsigned long use_two(struct page *page)
{
	void *a = map_some(page, 2), *b = map_some(page, 2);
	const unsigned long which = (unsigned long)find_vm_area(a) ^ (unsigned long)find_vm_area(b);

	vunmap(a);
	vunmap(b);
	return which;
}

/* Pools full of what nobody wants any more make room, and not by what is in use. */
static void test_pool_gives_way(void **state)
{
	static void *dead[KMAP_POOL_MAX - 2];
	unsigned long two, a, b;
	struct page *page;
	struct kmap_home *home;
	void *p;
	u32 missed;

	kmap_boot();
	page = alloc_page(GFP_KERNEL);
	for (unsigned int i = 0; i < ARRAY_SIZE(dead); i++)
		dead[i] = map_some(page, 3);
	two = use_two(page);
	for (unsigned int i = 0; i < ARRAY_SIZE(dead); i++)
		vunmap(dead[i]);
	vm_unmap_aliases();
	home = &octavo_state.kmap.kmap->home[0];
	assert_int_equal(home->nr_pool, KMAP_POOL_MAX);
	for (unsigned int i = 0; i < 3 * KMAP_POOL_MISSES; i++) {
		p = map_some(page, 1);
		/* which are back in their pool first */
		assert_int_equal(use_two(page), two);
		vunmap(p);
		vm_unmap_aliases();
	}
	missed = home->missed;
	p = map_some(page, 1);
	a = (unsigned long)find_vm_area(p);
	vunmap(p);
	vm_unmap_aliases();
	p = map_some(page, 1);
	b = (unsigned long)find_vm_area(p);
	vunmap(p);
	assert_int_equal(a, b);
	assert_int_equal(home->missed, missed);
	assert_int_equal(home->nr_pool, KMAP_POOL_MAX - 1);
	put_page(page);
	kmap_end();
}

/* CPUs of different homes take addresses of different chunks. */
static void test_homes_are_apart(void **state)
{
	struct page *page;
	void *a, *b;

	kmap_boot();
	page = alloc_page(GFP_KERNEL);
	a = vmap(&page, 1, 0, PAGE_KERNEL);
	sim_set_cpu(1);
	b = vmap(&page, 1, 0, PAGE_KERNEL);
	assert_true(((unsigned long)a - VMALLOC_START) / VMALLOC_CHUNK !=
		    ((unsigned long)b - VMALLOC_START) / VMALLOC_CHUNK);
	/* freed by another: back to where it came from */
	vunmap(a);
	vm_unmap_aliases();
	sim_set_cpu(0);
	assert_ptr_equal(vmap(&page, 1, 0, PAGE_KERNEL), a);
	vunmap(a);
	vunmap(b);
	put_page(page);
	kmap_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tree_against_model), TEST(test_tree_validate_sees),
		TEST(test_many_areas),	       TEST(test_pool_is_used),
		TEST(test_pool_of_large_ones), TEST(test_pool_aligned),
		TEST(test_pool_gives_way),     TEST(test_homes_are_apart),
	};

	sim_log_quiet(true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
