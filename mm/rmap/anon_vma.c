// SPDX-License-Identifier: MIT
/*
 * anon_vma.c - which VMAs may map the folios that were made for a VMA: families of anon_vmas, and how
 * to get one that nothing of the caller's keeps.
 *
 * 1. An anon_vma is the set of VMAs, of several address spaces, that may map the folios whose mapping it is.
 *    A VMA is in many of them: in its own, which its new folios get, and in those of its forefathers. Fork
 *    makes a new one for the child's VMA, so a folio made after the fork is looked for in the child and
 *    the child's children only (R. van Riel, 2010). A chain is one VMA in one anon_vma. Split, merge and
 *    mremap make another VMA with the same chains.
 *
 * 2. All anon_vmas that come from one VMA by forking are a family, under the lock of the first, the
 *    root. Every chain of a VMA is of one family. A descendant has a reference of the root.
 *
 * 3. An anon_vma whose own VMAs are gone, and which has not more than one child, is given to the next VMA
 *    that is forked and has it in its chains. Otherwise parents that fork and exit in turn would make
 *    chains that grow for ever. With this rule each anon_vma of a chain has a VMA of its own or two
 *    children, but for one. The price: folios of such a child are looked for in cousins too. The root is
 *    its own child, so it is never given away while it has another.
 *
 * 4. Lifetime. The tree's being not empty is one reference, and nothing but a reference keeps the
 *    descriptor. folio_lock_anon_vma_read() has none to start with: the folio's mapping may name an
 *    anon_vma that is free or another family's by the time it is looked at. So the cache is type-stable; the
 *    reference is got by inc-not-zero; and under the lock it is asked again whether the folio is mapped, and by
 *    this mapping. Then some VMA that maps the folio is in the tree: a VMA leaves under the
 *    lock for writing, after its entries are gone from mapcount. That VMA keeps the anon_vma for as long as the
 *    lock is held, and the reference can go.
 *
 *    If the lock is to be had at once, it is had without the reference: what was alive at any time in an RCU section is memory
 *    until the end of it, and its root too. But the lock may be another life's by the time it is held, so it is asked again
 *    whose lock it is. A walk then writes to nothing of the anon_vma but its lock.
 *
 * 5. So the last access of who holds the lock for reading is the unlock itself, which may touch the lock
 *    after a writer that waited for it has got in and freed everything. Therefore the lock is in the stable prefix: it
 *    is never initialised a second time, and an unlock that finds somebody waiting is in an RCU section, which keeps the memory an
 *    anon_vma. A new family may find its lock held or waited for by somebody who will presently find that
 *    he is wrong.
 *
 * What this file does not do: look at page tables, or count mappings.
 */
#include <octavo/errno.h>
#include <octavo/gfp.h>
#include <octavo/range_tree.h>
#include <octavo/slab.h>
#include <octavo/state.h>

#include "rmap_init.h"
#include "rmap_internal.h"

#define ANON_VMA_STABLE ((u32)offsetof(struct anon_vma, parent))
BUILD_BUG_ON(offsetof(struct anon_vma, lock) + sizeof(struct rw_semaphore) > ANON_VMA_STABLE);
BUILD_BUG_ON(sizeof(struct anon_vma) < ANON_VMA_STABLE + 8);

#if OCTAVO_DEBUG
#define RMAP_CACHE_FLAGS SLAB_DEBUG_ALL
#else
#define RMAP_CACHE_FLAGS 0u
#endif

/* ---- caches ---- */

int rmap_caches_init(gfp_t gfp)
{
	const struct kmem_cache_args args = { .stable_prefix = ANON_VMA_STABLE };
	struct space_state *space = &octavo_state.space;

	VM_WARN_ON(!(gfp & __GFP_DIRECT_RECLAIM));
	space->anon_vma = kmem_cache_create("anon_vma", sizeof(struct anon_vma), 0,
					    SLAB_TYPESAFE_BY_RCU | RMAP_CACHE_FLAGS, &args);
	space->anon_vma_chain = kmem_cache_create("anon_vma_chain", sizeof(struct anon_vma_chain),
						  0, RMAP_CACHE_FLAGS, NULL);
	if (space->anon_vma && space->anon_vma_chain)
		return 0;
	rmap_caches_exit();
	return -ENOMEM;
}

void rmap_caches_exit(void)
{
	struct space_state *space = &octavo_state.space;

	kmem_cache_destroy(space->anon_vma_chain);
	kmem_cache_destroy(space->anon_vma);
	space->anon_vma_chain = NULL;
	space->anon_vma = NULL;
}

/* ---- one anon_vma ---- */

/* A family of one, with the reference that its tree will stand for. NULL: no memory. */
static struct anon_vma *anon_vma_alloc(void)
{
	struct anon_vma *av = kmem_cache_alloc(octavo_state.space.anon_vma, GFP_KERNEL);

	if (!av)
		return NULL;
	VM_BUG_ON(READ_ONCE(av->refcount) != 0);
	WRITE_ONCE(av->nr_vmas, 0u);
	WRITE_ONCE(av->root, av);
	av->parent = av;
	av->tree = (struct interval_tree){ NULL };
	av->nr_children = 0;
	av->nr_active = 0;
	/* release: pairs with the acquire in anon_vma_tryget(): its root is seen */
	smp_store_release(&av->refcount, 1u);
	return av;
}

bool anon_vma_tryget(struct anon_vma *anon_vma)
{
	u32 old = READ_ONCE(anon_vma->refcount);

	if (octavo_fault(OCTAVO_FAULT_TRYGET))
		return false;
	do {
		if (old == 0)
			return false;
		/* acquire: pairs with the release in anon_vma_alloc() */
	} while (!try_cmpxchg_acquire(&anon_vma->refcount, &old, old + 1));
	return true;
}

void anon_vma_get(struct anon_vma *anon_vma)
{
	/* relaxed: the caller's own reference orders everything */
	u32 old = fetch_add_relaxed(&anon_vma->refcount, 1u);

	if (unlikely(old == 0 || old == ~0u))
		octavo_panic("anon_vma %p: reference count %u", (void *)anon_vma, old);
}

void put_anon_vma(struct anon_vma *anon_vma)
{
	struct anon_vma *root = READ_ONCE(anon_vma->root);
	/*
	 * acq_rel: release pairs with the acquire of who drops the last reference, and frees; acquire is
	 * that one. anon_vma_tryget() cannot come between: it does nothing to a count of 0.
	 */
	u32 old = fetch_sub_acq_rel(&anon_vma->refcount, 1u);

	if (unlikely(old == 0))
		octavo_panic("anon_vma %p: no reference to put", (void *)anon_vma);
	if (old != 1)
		return;
	if (unlikely(anon_vma->tree.root || READ_ONCE(anon_vma->nr_vmas) || anon_vma->nr_children ||
		     anon_vma->nr_active))
		octavo_panic("anon_vma %p: freed with VMAs or children", (void *)anon_vma);
	kmem_cache_free(octavo_state.space.anon_vma, anon_vma);
	if (root != anon_vma)
		put_anon_vma(root);
}

/* ---- the lock of a family ---- */

void anon_vma_lock_write(struct anon_vma *anon_vma)
{
	down_write(&READ_ONCE(anon_vma->root)->lock);
}

void anon_vma_unlock_write(struct anon_vma *anon_vma)
{
	/* See 5. above. */
	rcu_read_lock();
	up_write(&READ_ONCE(anon_vma->root)->lock);
	rcu_read_unlock();
}

void anon_vma_lock_read(struct anon_vma *anon_vma)
{
	down_read(&READ_ONCE(anon_vma->root)->lock);
}

void anon_vma_unlock_read(struct anon_vma *anon_vma)
{
	struct rw_semaphore *lock = &READ_ONCE(anon_vma->root)->lock;

	if (likely(up_read_unwaited(lock)))
		return;
	/* See 5. above. */
	rcu_read_lock();
	up_read(lock);
	rcu_read_unlock();
}

/* Is a folio mapped, and are its mappings those of @anon_vma? */
static bool folio_mapped_by(const struct folio *folio, const struct anon_vma *anon_vma)
{
	/*
	 * acquire: pairs with the release of mapcount in folio_add_anon_rmap(), which stores the mapping
	 * before it: or what is found is the mapping of an earlier time, and the folio's mappings are of this one
	 */
	return smp_load_acquire(&folio->mapcount) > 0 && READ_ONCE(folio->mapping) == anon_vma;
}

struct anon_vma *folio_get_anon_vma(const struct folio *folio)
{
	struct anon_vma *anon_vma;

	if (!folio_test_anon(folio))
		return NULL;
	rcu_read_lock();
	anon_vma = READ_ONCE(folio->mapping);
	if (anon_vma && (!folio_mapped(folio) || !anon_vma_tryget(anon_vma)))
		anon_vma = NULL;
	rcu_read_unlock();
	return anon_vma;
}

/* Without waiting, and without a reference. NULL: the other way will tell. */
static struct anon_vma *lock_anon_vma_at_once(const struct folio *folio)
{
	struct anon_vma *anon_vma, *root, *found = NULL;

	rcu_read_lock();
	anon_vma = READ_ONCE(folio->mapping);
	/* acquire: pairs with the release in anon_vma_alloc(): it is alive here, and its root is seen */
	if (anon_vma && folio_mapped(folio) && smp_load_acquire(&anon_vma->refcount)) {
		/* acquire: pairs with the release in anon_vma_fork() */
		root = smp_load_acquire(&anon_vma->root);
		if (down_read_trylock(&root->lock)) {
			if (likely(folio_mapped_by(folio, anon_vma) &&
				   READ_ONCE(anon_vma->root) == root))
				found = anon_vma;
			else
				up_read(&root->lock);
		}
	}
	rcu_read_unlock();
	return found;
}

struct anon_vma *folio_lock_anon_vma_read(const struct folio *folio)
{
	struct anon_vma *anon_vma;
	bool found = false;

	if (!folio_test_anon(folio))
		return NULL;
	anon_vma = lock_anon_vma_at_once(folio);
	if (likely(anon_vma))
		return anon_vma;
	do {
		anon_vma = folio_get_anon_vma(folio);
		if (!anon_vma)
			return NULL;
		anon_vma_lock_read(anon_vma);
		found = folio_mapped_by(folio, anon_vma);
		if (!found)
			anon_vma_unlock_read(anon_vma);
		/* If it was found, one of its VMAs has another reference: see 4. above. */
		put_anon_vma(anon_vma);
	} while (!found && folio_mapped(folio));
	return found ? anon_vma : NULL;
}

bool folio_maps_only_vma(const struct folio *folio, const struct vm_area_struct *vma)
{
	const struct anon_vma *anon_vma = READ_ONCE(folio->mapping);

	VM_BUG_ON(!folio_mapped(folio) || !anon_vma);
	/* acquire: pairs with the release in chain_unlink(): that VMA's entries and references are gone */
	return smp_load_acquire(&anon_vma->nr_vmas) == 1 && READ_ONCE(vma->anon_vma) != NULL;
}

/* ---- chains; all of this with the family's lock held for writing ---- */

/* Unlinked ones, by same_vma, for when nothing may fail any more. */
static void chains_free(struct list_head *chains)
{
	struct anon_vma_chain *avc, *next;

	list_for_each_entry_safe (avc, next, chains, same_vma) {
		list_del_init(&avc->same_vma);
		kmem_cache_free(octavo_state.space.anon_vma_chain, avc);
	}
}

/* @n of them. Return: -ENOMEM, and the list is empty. */
static int chains_alloc(struct list_head *chains, unsigned long n)
{
	INIT_LIST_HEAD(chains);
	while (n--) {
		struct anon_vma_chain *avc =
			kmem_cache_alloc(octavo_state.space.anon_vma_chain, GFP_KERNEL);

		if (!avc) {
			chains_free(chains);
			return -ENOMEM;
		}
		list_add(&avc->same_vma, chains);
	}
	return 0;
}

static void chain_insert(struct anon_vma_chain *avc)
{
	const struct vm_area_struct *vma = avc->vma;

	avc->interval.start = vma->vm_pgoff;
	avc->interval.last = vma->vm_pgoff + vma_pages(vma) - 1;
	interval_tree_insert(&avc->anon_vma->tree, &avc->interval);
}

/* One of @unused joins @vma and @anon_vma, as the last of the VMA's. */
static void chain_link(struct list_head *unused, struct vm_area_struct *vma,
		       struct anon_vma *anon_vma)
{
	struct anon_vma_chain *avc = list_first_entry(unused, struct anon_vma_chain, same_vma);

	list_del_init(&avc->same_vma);
	avc->vma = vma;
	avc->anon_vma = anon_vma;
	list_add_tail(&avc->same_vma, &vma->anon_vma_chain);
	chain_insert(avc);
	/* relaxed: more VMAs are of no interest to who reads it without the lock: fork is shut out */
	WRITE_ONCE(anon_vma->nr_vmas, anon_vma->nr_vmas + 1);
}

static void chain_unlink(struct anon_vma_chain *avc)
{
	struct anon_vma *anon_vma = avc->anon_vma;

	interval_tree_remove(&anon_vma->tree, &avc->interval);
	/* release: pairs with the acquire in folio_maps_only_vma() */
	smp_store_release(&anon_vma->nr_vmas, anon_vma->nr_vmas - 1);
	if (!anon_vma->tree.root)
		anon_vma->parent->nr_children--;
}

static unsigned long chain_length(const struct vm_area_struct *vma)
{
	const struct anon_vma_chain *avc;
	unsigned long n = 0;

	list_for_each_entry (avc, &vma->anon_vma_chain, same_vma)
		n++;
	return n;
}

/* ---- VMAs come and go ---- */

/* What may differ between areas that could be one if their protection were the same. */
#define FLAGS_OF_ONE_AREA (VM_ACCESS_FLAGS | VM_SOFTDIRTY)

/*
 * The anon_vma of a neighbour that could become one area with @vma. With one of its own each, the two could not be
 * merged again after mprotect() has made two of one. Not if the neighbour has more than one chain: @vma is
 * in none of the others. NULL: there is none. Context: mmap_lock, which keeps what is found.
 */
static struct anon_vma *neighbour_anon_vma(const struct vm_area_struct *vma, bool before)
{
	const struct vm_area_struct *other;
	struct anon_vma *anon_vma;

	rcu_read_lock();
	other = range_tree_find(&vma->vm_mm->vmas, before ? vma->vm_start - 1 : vma->vm_end);
	rcu_read_unlock();
	if (!other || (READ_ONCE(other->vm_flags) ^ READ_ONCE(vma->vm_flags)) & ~FLAGS_OF_ONE_AREA)
		return NULL;
	if (other->vm_file != vma->vm_file || other->vm_ops != vma->vm_ops ||
	    other->vm_private_data != vma->vm_private_data ||
	    other->vm_pgoff - (other->vm_start >> PAGE_SHIFT) !=
		    vma->vm_pgoff - (vma->vm_start >> PAGE_SHIFT))
		return NULL;
	/* acquire: pairs with the release in __anon_vma_prepare(), which comes after the chain */
	anon_vma = smp_load_acquire(&other->anon_vma);
	return anon_vma && chain_length(other) == 1 ? anon_vma : NULL;
}

/* A reference of an anon_vma for @vma. NULL: no memory. */
static struct anon_vma *anon_vma_for(const struct vm_area_struct *vma)
{
	struct anon_vma *anon_vma = neighbour_anon_vma(vma, true);

	if (!anon_vma)
		anon_vma = neighbour_anon_vma(vma, false);
	if (!anon_vma)
		return anon_vma_alloc();
	anon_vma_get(anon_vma);
	return anon_vma;
}

int __anon_vma_prepare(struct vm_area_struct *vma)
{
	struct mm_struct *mm = vma->vm_mm;
	struct list_head unused;
	struct anon_vma *anon_vma;

	if (chains_alloc(&unused, 1))
		return -ENOMEM;
	anon_vma = anon_vma_for(vma);
	if (!anon_vma) {
		chains_free(&unused);
		return -ENOMEM;
	}
	/* Others may be here for the same VMA, with mmap_lock for reading as we. */
	anon_vma_lock_write(anon_vma);
	spin_lock(&mm->lock);
	if (!READ_ONCE(vma->anon_vma)) {
		/* The tree is one reference, and a family's first is its own child. */
		if (!anon_vma->tree.root) {
			anon_vma_get(anon_vma);
			anon_vma->nr_children = 1;
		}
		chain_link(&unused, vma, anon_vma);
		anon_vma->nr_active++;
		/* release: pairs with the acquire in anon_vma_prepare() and neighbour_anon_vma() */
		smp_store_release(&vma->anon_vma, anon_vma);
	}
	spin_unlock(&mm->lock);
	anon_vma_unlock_write(anon_vma);
	put_anon_vma(anon_vma);
	chains_free(&unused);
	return 0;
}

/* @dst joins all of @src's, with chains from @unused. */
static void chains_copy(struct list_head *unused, struct vm_area_struct *dst,
			const struct vm_area_struct *src)
{
	const struct anon_vma_chain *avc;

	list_for_each_entry (avc, &src->anon_vma_chain, same_vma)
		chain_link(unused, dst, avc->anon_vma);
}

int anon_vma_clone(struct vm_area_struct *dst, struct vm_area_struct *src)
{
	struct anon_vma *anon_vma = READ_ONCE(src->anon_vma);
	struct list_head unused;

	VM_BUG_ON(!list_empty(&dst->anon_vma_chain) || dst->vm_mm != src->vm_mm);
	/* Also if it was copied with the rest: without chains it is in none. */
	WRITE_ONCE(dst->anon_vma, NULL);
	if (!anon_vma)
		return 0;
	if (chains_alloc(&unused, chain_length(src)))
		return -ENOMEM;
	anon_vma_lock_write(anon_vma);
	chains_copy(&unused, dst, src);
	anon_vma->nr_active++;
	WRITE_ONCE(dst->anon_vma, anon_vma);
	anon_vma_unlock_write(anon_vma);
	return 0;
}

/* See 3. above. NULL: none of @vma's may be given to another VMA. */
static struct anon_vma *reusable_anon_vma(const struct vm_area_struct *vma)
{
	const struct anon_vma_chain *avc;

	list_for_each_entry (avc, &vma->anon_vma_chain, same_vma)
		if (avc->anon_vma->nr_active == 0 && avc->anon_vma->nr_children < 2)
			return avc->anon_vma;
	return NULL;
}

/* @vma gets @anon_vma, new, as its own: a child of @parent, of whose family the lock is held. */
static void anon_vma_adopt(struct list_head *unused, struct vm_area_struct *vma,
			   struct anon_vma *anon_vma, struct anon_vma *parent)
{
	/*
	 * Whose lock is ours is known to nobody yet, and will be through the folios' mappings. But release: pairs with the
	 * acquire in lock_anon_vma_at_once(), whose folio may name what this was before.
	 */
	smp_store_release(&anon_vma->root, READ_ONCE(parent->root));
	anon_vma->parent = parent;
	anon_vma_get(anon_vma->root);
	parent->nr_children++;
	chain_link(unused, vma, anon_vma);
}

int anon_vma_fork(struct vm_area_struct *dst, struct vm_area_struct *src)
{
	struct anon_vma *parent = READ_ONCE(src->anon_vma), *fresh, *own;
	struct list_head unused;

	VM_BUG_ON(!list_empty(&dst->anon_vma_chain) || dst->anon_vma);
	if (!parent)
		return 0;
	/* All that can fail, before anything changes; what turns out not to be needed goes back. */
	if (chains_alloc(&unused, chain_length(src) + 1))
		return -ENOMEM;
	fresh = anon_vma_alloc();
	if (!fresh) {
		chains_free(&unused);
		return -ENOMEM;
	}
	anon_vma_lock_write(parent);
	chains_copy(&unused, dst, src);
	own = reusable_anon_vma(src);
	if (!own) {
		own = fresh;
		fresh = NULL;
		anon_vma_adopt(&unused, dst, own, parent);
	}
	own->nr_active++;
	WRITE_ONCE(dst->anon_vma, own);
	anon_vma_unlock_write(parent);
	if (fresh)
		put_anon_vma(fresh);
	chains_free(&unused);
	return 0;
}

void unlink_anon_vmas(struct vm_area_struct *vma)
{
	struct anon_vma *own = READ_ONCE(vma->anon_vma), *root;
	struct anon_vma_chain *avc;

	if (!own) {
		VM_BUG_ON(!list_empty(&vma->anon_vma_chain));
		return;
	}
	root = READ_ONCE(own->root);
	anon_vma_lock_write(root);
	list_for_each_entry (avc, &vma->anon_vma_chain, same_vma) {
		VM_BUG_ON(READ_ONCE(avc->anon_vma->root) != root);
		chain_unlink(avc);
		/* For after the lock: the reference that the tree stood for. */
		if (avc->anon_vma->tree.root)
			avc->anon_vma = NULL;
	}
	own->nr_active--;
	WRITE_ONCE(vma->anon_vma, NULL);
	anon_vma_unlock_write(root);
	list_for_each_entry (avc, &vma->anon_vma_chain, same_vma)
		if (avc->anon_vma)
			put_anon_vma(avc->anon_vma);
	chains_free(&vma->anon_vma_chain);
}

void anon_vma_interval_tree_pre_update_vma(struct vm_area_struct *vma)
{
	struct anon_vma_chain *avc;

	list_for_each_entry (avc, &vma->anon_vma_chain, same_vma) {
		VM_BUG_ON(!rwsem_is_write_locked(&READ_ONCE(avc->anon_vma->root)->lock));
		interval_tree_remove(&avc->anon_vma->tree, &avc->interval);
	}
}

void anon_vma_interval_tree_post_update_vma(struct vm_area_struct *vma)
{
	struct anon_vma_chain *avc;

	list_for_each_entry (avc, &vma->anon_vma_chain, same_vma)
		chain_insert(avc);
}
