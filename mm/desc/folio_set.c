// SPDX-License-Identifier: MIT
/*
 * folio_set.c - folios that belong together, and whose descriptors therefore lie together: those that are charged to one group.
 *
 * Who wants to look at a group's folios walks the slabs of its caches, however large the machine is. A folio says in its
 * descriptor which set it is of, by a number; the descriptor's slab says to which cache it goes back.
 *
 * Pieces of a folio that is split are of its set, and so is what it is merged into: who has the number has the charge.
 *
 * What it does not do: count pages, or decide who may have some (mm/reclaim).
 */
#include <octavo/errno.h>
#include <octavo/frame.h>
#include <octavo/rcu.h>
#include <octavo/slab.h>

#include "folio_desc.h"
#include "slab_priv.h"

struct folio_set *folio_set_of(const struct folio *folio)
{
	u32 nr = folio_set_nr(folio);

	return nr ? folio_set_find(nr) : NULL;
}

struct folio_set *folio_set_find(u32 nr)
{
	/* acquire: pair with the releases of folio_set_init() */
	struct folio_set **sets = smp_load_acquire(&octavo_state.desc.sets);

	return sets && nr < OCTAVO_FOLIO_SETS ? smp_load_acquire(&sets[nr]) : NULL;
}

struct folio_set *folio_set_next(u32 *nr)
{
	while (++*nr < OCTAVO_FOLIO_SETS) {
		struct folio_set *set = folio_set_find(*nr);

		if (set)
			return set;
	}
	return NULL;
}

/* The table, made by the first set. Return: NULL if there is no memory. */
static struct folio_set **sets_table(void)
{
	/* acquire: as above */
	struct folio_set **sets = smp_load_acquire(&octavo_state.desc.sets), **other;

	if (sets)
		return sets;
	sets = kzalloc(OCTAVO_FOLIO_SETS * sizeof(*sets), GFP_KERNEL);
	if (!sets)
		return NULL;
	/* acq_rel: it is empty; or the other's is */
	other = cmpxchg_acq_rel(&octavo_state.desc.sets, NULL, sets);
	if (!other)
		return sets;
	kfree(sets);
	return other;
}

static void set_caches_destroy(struct folio_set *set)
{
	for (unsigned int class = 0; class < NR_FOLIO_CLASSES; class ++)
		kmem_cache_destroy(set->cache[class]);
}

int folio_set_init(struct folio_set *set)
{
	struct folio_set **sets = sets_table();

	if (!sets)
		return -ENOMEM;
	for (unsigned int class = 0; class < NR_FOLIO_CLASSES; class ++)
		set->cache[class] = NULL;
	for (unsigned int class = 0; class < NR_FOLIO_CLASSES; class ++) {
		set->cache[class] = folio_cache_create((enum folio_class) class);
		if (!set->cache[class]) {
			set_caches_destroy(set);
			return -ENOMEM;
		}
	}
	for (u32 nr = 1; nr < OCTAVO_FOLIO_SETS; nr++) {
		if (READ_ONCE(sets[nr]))
			continue;
		set->nr = nr;
		/* release: pairs with the acquire in folio_set_find() */
		if (!cmpxchg_release(&sets[nr], NULL, set))
			return 0;
	}
	set_caches_destroy(set);
	return -ENOSPC;
}

void folio_set_remove(struct folio_set *set)
{
	struct folio_set **sets = octavo_state.desc.sets;

	VM_BUG_ON(!set->nr || sets[set->nr] != set);
	/* relaxed: who looks it up without having a folio of it has a lock against this */
	WRITE_ONCE(sets[set->nr], NULL);
	set->nr = 0;
}

void folio_set_destroy(struct folio_set *set)
{
	VM_BUG_ON(set->nr);
	set_caches_destroy(set);
}

u64 folio_sets_active(enum folio_class class)
{
	const struct folio_set *set;
	u64 active = 0;
	u32 nr;

	for_each_folio_set (set, nr) {
		struct kmem_cache_stat st;

		kmem_cache_stat(set->cache[class], &st);
		active += st.active;
	}
	return active;
}

void folio_sets_exit(void)
{
	kfree(octavo_state.desc.sets);
	octavo_state.desc.sets = NULL;
}
