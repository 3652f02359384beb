/* SPDX-License-Identifier: MIT */
/*
 * test_anon_vma.c - families of anon_vmas: who is in which, for how long, and how a folio finds it.
 */
#include "rmap_machine.h"

static struct mm_struct *mm[4];

static void boot(void)
{
	hand_boot();
	for (unsigned int i = 0; i < ARRAY_SIZE(mm); i++)
		mm[i] = table_mm();
}

static void shutdown(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(mm); i++)
		table_mm_end(mm[i]);
	hand_shutdown();
}

static unsigned long chain_len(const struct vm_area_struct *vma)
{
	const struct anon_vma_chain *avc;
	unsigned long n = 0;

	list_for_each_entry (avc, &vma->anon_vma_chain, same_vma)
		n++;
	return n;
}

/* Is @vma among those of @anon_vma that have page @index? */
static bool reaches(const struct anon_vma *anon_vma, const struct vm_area_struct *vma,
		    unsigned long index)
{
	struct interval_node *node;

	for (node = interval_tree_first(&anon_vma->tree, index, index); node;
	     node = interval_tree_next(node, index, index))
		if (container_of(node, struct anon_vma_chain, interval)->vma == vma)
			return true;
	return false;
}

/* An anonymous folio that @vma maps at its page @index. */
static struct folio *map_folio(struct vm_area_struct *vma, unsigned long index)
{
	struct folio *folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);

	assert_non_null(folio);
	folio_add_new_anon_rmap(folio_subrange(folio, 0, 1), vma,
				vma->vm_start + ((index - vma->vm_pgoff) << PAGE_SHIFT), 0);
	return folio;
}

static void unmap_folio(struct folio *folio, struct vm_area_struct *vma)
{
	folio_remove_rmap(folio_subrange(folio, 0, 1), vma, 0);
}

static void test_prepare(void **state)
{
	struct vm_area_struct *a;

	boot();
	a = hand_vma(mm[0], 100, 10);
	assert_int_equal(anon_vma_prepare(a), 0);
	assert_non_null(a->anon_vma);
	assert_int_equal(a->anon_vma->nr_vmas, 1);
	assert_ptr_equal(a->anon_vma->root, a->anon_vma);
	assert_true(reaches(a->anon_vma, a, 100) && reaches(a->anon_vma, a, 109));
	assert_false(reaches(a->anon_vma, a, 99) || reaches(a->anon_vma, a, 110));
	/* A second time there is nothing to do, also for who did not see the first. */
	assert_int_equal(__anon_vma_prepare(a), 0);
	assert_int_equal(chain_len(a), 1);
	hand_vma_free(a);
	shutdown();
}

/* What the child makes is looked for in the child and its children, never in the parent. */
static void test_a_childs_folio_is_not_looked_for_in_the_parent(void **state)
{
	struct vm_area_struct *p, *c, *g;
	struct folio *old, *new;

	boot();
	p = hand_vma(mm[0], 100, 10);
	assert_int_equal(anon_vma_prepare(p), 0);
	old = map_folio(p, 101);
	c = hand_vma_dup(p, mm[1]);
	assert_int_equal(anon_vma_fork(c, p), 0);
	assert_ptr_not_equal(c->anon_vma, p->anon_vma);
	assert_ptr_equal(c->anon_vma->root, p->anon_vma);
	assert_int_equal(chain_len(c), 2);
	new = map_folio(c, 102);
	assert_false(reaches(new->mapping, p, 102));
	assert_true(reaches(new->mapping, c, 102));
	assert_true(reaches(old->mapping, p, 101) && reaches(old->mapping, c, 101));
	assert_true(folio_maps_only_vma(new, c));
	assert_false(folio_maps_only_vma(old, p));

	g = hand_vma_dup(c, mm[2]);
	assert_int_equal(anon_vma_fork(g, c), 0);
	assert_int_equal(chain_len(g), 3);
	assert_true(reaches(new->mapping, g, 102) && reaches(old->mapping, g, 101));
	assert_false(folio_maps_only_vma(new, c));
	assert_ptr_equal(g->anon_vma->root, p->anon_vma);
	/* The generation between goes: its folios are still the grandchild's too. */
	unmap_folio(new, c);
	hand_vma_free(c);
	assert_true(reaches(new->mapping, g, 102));
	/* The first goes: the root stays for its lock. */
	unmap_folio(old, p);
	hand_vma_free(p);
	assert_true(reaches(old->mapping, g, 101));
	anon_vma_lock_write(g->anon_vma);
	anon_vma_unlock_write(g->anon_vma);
	hand_vma_free(g);
	folio_put(old);
	folio_put(new);
	shutdown();
}

/* A split: both halves are in, and each where it is. */
static void test_clone_and_update(void **state)
{
	struct vm_area_struct *a, *b;

	boot();
	a = hand_vma(mm[0], 100, 10);
	assert_int_equal(anon_vma_clone(hand_vma_dup(a, mm[0]), a),
			 0); /* nothing to join: leaks a struct */
	assert_int_equal(anon_vma_prepare(a), 0);
	b = hand_vma_dup(a, mm[0]);
	assert_int_equal(anon_vma_clone(b, a), 0);
	assert_ptr_equal(b->anon_vma, a->anon_vma);
	anon_vma_lock_write(a->anon_vma);
	anon_vma_interval_tree_pre_update_vma(a);
	anon_vma_interval_tree_pre_update_vma(b);
	assert_null(a->anon_vma->tree.root);
	a->vm_end = 104 << PAGE_SHIFT;
	b->vm_start = 104 << PAGE_SHIFT;
	b->vm_pgoff = 104;
	anon_vma_interval_tree_post_update_vma(a);
	anon_vma_interval_tree_post_update_vma(b);
	anon_vma_unlock_write(a->anon_vma);
	for (unsigned long i = 99; i <= 110; i++) {
		assert_int_equal(reaches(a->anon_vma, a, i), i >= 100 && i < 104);
		assert_int_equal(reaches(a->anon_vma, b, i), i >= 104 && i < 110);
	}
	assert_int_equal(a->anon_vma->nr_vmas, 2);
	hand_vma_free(a);
	assert_int_equal(b->anon_vma->nr_vmas, 1);
	hand_vma_free(b);
	shutdown();
}

/* Forks and exits in turn, for ever: chains stay short. */
static void test_chains_are_bounded(void **state)
{
	unsigned long longest = 0;
	struct vm_area_struct *vma;

	boot();
	vma = hand_vma(mm[0], 100, 10);
	assert_int_equal(anon_vma_prepare(vma), 0);
	for (unsigned int i = 1; i <= 1000; i++) {
		struct vm_area_struct *child = hand_vma_dup(vma, mm[i % 4]);

		assert_int_equal(anon_vma_fork(child, vma), 0);
		hand_vma_free(vma);
		vma = child;
		longest = max(longest, chain_len(vma));
		assert_true(reaches(vma->anon_vma, vma, 105));
	}
	assert_in_range(longest, 2, 4);
	hand_vma_free(vma);
	shutdown();
}

/* The same with a second child at each turn, which stays: one anon_vma each, and no chain without bound. */
static void test_chains_grow_with_the_living_only(void **state)
{
	struct vm_area_struct *vma, *stay[100];

	boot();
	vma = hand_vma(mm[1], 100, 10);
	assert_int_equal(anon_vma_prepare(vma), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(stay); i++) {
		struct vm_area_struct *child = hand_vma_dup(vma, mm[i % 2]);

		stay[i] = hand_vma_dup(vma, mm[2]);
		assert_int_equal(anon_vma_fork(stay[i], vma), 0);
		assert_int_equal(anon_vma_fork(child, vma), 0);
		hand_vma_free(vma);
		vma = child;
		assert_true(chain_len(vma) <= i + 3);
		assert_int_equal(vma->anon_vma->nr_active, 1);
	}
	/* In an order of their own. */
	for (unsigned int i = 0; i < ARRAY_SIZE(stay); i++)
		hand_vma_free(stay[i * 37 % ARRAY_SIZE(stay)]);
	assert_int_equal(vma->anon_vma->nr_children, 0);
	hand_vma_free(vma);
	shutdown();
}

#if OCTAVO_FAULTS
/* Every allocation fails once: nothing has changed then. */
static void test_failures_change_nothing(void **state)
{
	struct vm_area_struct *p, *c;
	unsigned int failed = 0;

	boot();
	p = hand_vma(mm[0], 100, 10);
	for_each_fault(k, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_SLAB | OCTAVO_FAULT_FRAME, hit)
	{
		int err = anon_vma_prepare(p);

		hit = octavo_fault_disarm();
		if (err) {
			assert_int_equal(err, -ENOMEM);
			assert_true(hit && !p->anon_vma && list_empty(&p->anon_vma_chain));
			failed++;
		} else {
			unlink_anon_vmas(p);
		}
	}
	assert_int_equal(anon_vma_prepare(p), 0);
	for (unsigned int fork = 0; fork < 2; fork++) {
		for_each_fault(k, OCTAVO_FAULT_AFTER, OCTAVO_FAULT_SLAB | OCTAVO_FAULT_FRAME, hit)
		{
			int err;

			c = hand_vma_dup(p, fork ? mm[1] : mm[0]);
			err = fork ? anon_vma_fork(c, p) : anon_vma_clone(c, p);
			hit = octavo_fault_disarm();
			if (err) {
				assert_int_equal(err, -ENOMEM);
				assert_true(hit && list_empty(&c->anon_vma_chain));
				assert_int_equal(p->anon_vma->nr_vmas, 1);
				assert_int_equal(p->anon_vma->nr_children, 1);
				assert_int_equal(p->anon_vma->nr_active, 1);
				assert_int_equal(p->anon_vma->refcount, 1);
				failed++;
				c->vm_mm = NULL;
			} else {
				hand_vma_free(c);
			}
		}
	}
	/* A chain; an anon_vma; again both, in a fork two chains; a clone one. */
	assert_true(failed >= 2 + 3 + 1);
	hand_vma_free(p);
	shutdown();
}

#endif

static void test_a_folio_finds_its_anon_vma(void **state)
{
	struct vm_area_struct *a;
	struct folio *folio, *file;

	boot();
	a = hand_vma(mm[0], 100, 10);
	assert_int_equal(anon_vma_prepare(a), 0);
	folio = map_folio(a, 103);
	assert_ptr_equal(folio_lock_anon_vma_read(folio), a->anon_vma);
	assert_true(rwsem_is_locked(&a->anon_vma->lock));
	assert_int_equal(a->anon_vma->refcount, 1);
	anon_vma_unlock_read(a->anon_vma);
	assert_false(rwsem_is_locked(&a->anon_vma->lock));
	/* Not mapped: NULL, whatever mapping still says. */
	unmap_folio(folio, a);
	assert_non_null(folio->mapping);
	assert_null(folio_lock_anon_vma_read(folio));
	hand_vma_free(a);
	assert_null(folio_lock_anon_vma_read(folio));
	file = folio_alloc(GFP_KERNEL, 0, FOLIO_FILE);
	assert_null(folio_lock_anon_vma_read(file));
	folio_put(file);
	folio_put(folio);
	shutdown();
}

static void test_tryget(void **state)
{
	struct vm_area_struct *a;
	struct anon_vma *anon_vma;

	boot();
	a = hand_vma(mm[0], 100, 10);
	assert_int_equal(anon_vma_prepare(a), 0);
	anon_vma = a->anon_vma;
	assert_true(anon_vma_tryget(anon_vma));
	hand_vma_free(a);
	/* Without VMAs, but there. */
	assert_null(anon_vma->tree.root);
	anon_vma_lock_read(anon_vma);
	anon_vma_unlock_read(anon_vma);
	put_anon_vma(anon_vma);
	/* Free, and still of its type. */
	rcu_read_lock();
	assert_false(anon_vma_tryget(anon_vma));
	rcu_read_unlock();
	shutdown();
}

static void put_once_more(void *arg)
{
	put_anon_vma(arg);
}

static void test_put_of_none_is_fatal(void **state)
{
	struct vm_area_struct *a;
	struct anon_vma *anon_vma;

	boot();
	a = hand_vma(mm[0], 100, 10);
	assert_int_equal(anon_vma_prepare(a), 0);
	anon_vma = a->anon_vma;
	hand_vma_free(a);
	expect_panic(put_once_more, anon_vma, "no reference");

	boot();
	a = hand_vma(mm[0], 100, 10);
	assert_int_equal(anon_vma_prepare(a), 0);
	expect_panic(put_once_more, a->anon_vma, "with VMAs");
}

/* ---- several CPUs ---- */

#define SMP_ROUNDS 2000

static struct {
	struct vm_area_struct *parent;
	struct folio *folio;
	u32 stop, found;
} smp;

/* CPU 0 forks and unmaps, maps and exits; the others ask a folio where it is. */
static void smp_run(unsigned int cpu, void *arg)
{
	sim_set_cpu(cpu);
	if (cpu == 0) {
		for (unsigned int i = 0; i < SMP_ROUNDS; i++) {
			struct vm_area_struct *vma = hand_vma(mm[0], 100, 10);
			struct vm_area_struct *child = hand_vma_dup(vma, mm[1]);

			assert_int_equal(anon_vma_prepare(vma), 0);
			assert_true(folio_trylock(smp.folio));
			folio_add_anon_rmap(folio_subrange(smp.folio, 0, 1), vma, vma->vm_start, 0,
					    RMAP_EXCLUSIVE);
			folio_unlock(smp.folio);
			assert_int_equal(anon_vma_fork(child, vma), 0);
			hand_vma_free(child);
			unmap_folio(smp.folio, vma);
			hand_vma_free(vma);
		}
		WRITE_ONCE(smp.stop, 1u);
		return;
	}
	while (!READ_ONCE(smp.stop)) {
		struct anon_vma *anon_vma = folio_lock_anon_vma_read(smp.folio);

		if (!anon_vma)
			continue;
		/* It cannot be unmapped and its VMA leave while we look. */
		assert_ptr_equal(READ_ONCE(anon_vma->root), anon_vma);
		assert_non_null(interval_tree_first(&anon_vma->tree, 100, 100));
		anon_vma_unlock_read(anon_vma);
		fetch_add_relaxed(&smp.found, 1u);
	}
}

static void test_smp_lookup_against_exit(void **state)
{
	boot();
	memset(&smp, 0, sizeof(smp));
	smp.folio = folio_alloc(GFP_KERNEL, 0, FOLIO_ANON);
	sim_run(3, false, smp_run, NULL);
	folio_put(smp.folio);
	shutdown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_prepare),
		TEST(test_a_childs_folio_is_not_looked_for_in_the_parent),
		TEST(test_clone_and_update),
		TEST(test_chains_are_bounded),
		TEST(test_chains_grow_with_the_living_only),
#if OCTAVO_FAULTS
		TEST(test_failures_change_nothing),
#endif
		TEST(test_a_folio_finds_its_anon_vma),
		TEST(test_tryget),
		TEST(test_put_of_none_is_fatal),
		TEST(test_smp_lookup_against_exit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
