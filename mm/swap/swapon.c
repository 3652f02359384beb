// SPDX-License-Identifier: MIT
/*
 * swapon.c - devices come and go.
 *
 * 1. What a device costs from the beginning: its struct, with the structs of its transfers, and a pointer for each group
 *    of clusters (8 bytes for 64 MiB). The rest comes with use (cluster.c), and stays until the end.
 *
 * 2. Who has a slot in use (an entry, a folio in the cache that it has locked) has the device. Others look at it in RCU
 *    sections; and who sleeps or waits for a lock meanwhile is counted in users (swap_device_get()).
 *
 * 3. The end. closing is set: no new slots. Somebody above reads in all that is used. When nothing is, and those who were inside
 *    before closing are out, nothing can be used again, because only a slot that is used has a way in. Then the device is
 *    unlinked, and freed when nobody can look at it any more.
 */
#include <octavo/errno.h>
#include <octavo/rwsem.h>
#include <octavo/slab.h>
#include <octavo/string.h>

#include "swap_internal.h"

/* ---- holding a device ---- */

struct swap_device *swap_device_get(unsigned int type, bool closing)
{
	struct swap_device *dev;

	rcu_read_lock();
	dev = swap_device_of(type);
	if (dev) {
		/*
		 * seq_cst: with the load, pairs with the store of closing and the load of users at the end: who is
		 * let in is waited for
		 */
		fetch_add_seq_cst(&dev->users, 1u);
		if (!closing && smp_load_seq_cst(&dev->closing)) {
			swap_device_put(dev);
			dev = NULL;
		}
	}
	rcu_read_unlock();
	return dev;
}

void swap_device_put(struct swap_device *dev)
{
	/* release: pairs with the acquire in users_wait() */
	fetch_sub_release(&dev->users, 1u);
}

/* Those who are in without a slot are out. */
static void users_wait(struct swap_device *dev)
{
	synchronize_rcu();
	/* seq_cst: see swap_device_get(). Its acquire pairs with the release in swap_device_put() */
	while (smp_load_seq_cst(&dev->users))
		octavo_port_relax();
}

/* ---- the first device ---- */

static void device_free(struct swap_device *dev)
{
	u32 groups = (u32)DIV_ROUND_UP(dev->nr_clusters, CLUSTER_GROUP);

	for (u32 i = 0; i < dev->fresh; i++)
		swap_words_free(swap_cluster_at(dev, i)->words, CLUSTER_WORD_BYTES);
	for (u32 g = 0; dev->groups && g < groups; g++)
		swap_words_free(dev->groups[g], CLUSTER_GROUP_BYTES);
	kfree(dev->groups);
	kfree(dev);
}

/* Devices that are still there: their users are not any more, or have leaked. */
static void swap_exit(void)
{
	struct swap_state *st = &octavo_state.swap;

	for (unsigned int type = 0; type < MAX_SWAPFILES; type++) {
		struct swap_device *dev = st->dev[type];
		struct swap_stat stat;

		if (!dev)
			continue;
		swap_stat((int)type, &stat);
		if (stat.used)
			pr_err("swap: device %u goes with %lu slots in use", type,
			       (unsigned long)stat.used);
		if (dev->ops->close)
			dev->ops->close(dev);
		st->dev[type] = NULL;
		device_free(dev);
	}
	kfree(st->cpu);
	st->cpu = NULL;
	octavo_state.layer[OCTAVO_LAYER_SWAP] = NULL;
}

static const struct octavo_layer swap_layer = { .exit = swap_exit, .validate = swap_validate };

/* Context: the lock. */
static int swap_init(struct swap_state *st)
{
	struct swap_cpu *cpu;

	if (st->cpu)
		return 0;
	cpu = kzalloc(octavo_state.frame.nr_cpus * sizeof(*cpu), GFP_KERNEL);
	if (!cpu)
		return -ENOMEM;
	/* release: pairs with the acquire in folio_alloc_swap(): they are cleared */
	smp_store_release(&st->cpu, cpu);
	/* release: for octavo_validate(), which is told by somebody that all is quiet */
	smp_store_release(&octavo_state.layer[OCTAVO_LAYER_SWAP], &swap_layer);
	return 0;
}

/* ---- on ---- */

/* More than others get: who adds a device when memory is short makes room for all. */
#define GFP_SWAPON (GFP_KERNEL | __GFP_HIGH)

static struct swap_device *device_make(const struct swap_device_ops *ops, void *priv,
				       unsigned long nr_slots, int prio, u32 flags)
{
	struct swap_device *dev = kzalloc(sizeof(*dev), GFP_SWAPON);

	if (!dev)
		return NULL;
	dev->ops = ops;
	dev->priv = priv;
	dev->nr_slots = nr_slots;
	dev->nr_clusters = (u32)DIV_ROUND_UP(nr_slots, CLUSTER_SLOTS);
	dev->prio = prio;
	dev->flags = flags;
	dev->free_xfers = ~0ul >> (64 - SWAP_XFERS);
	for (unsigned int i = 0; i < CLUSTER_LISTS; i++)
		INIT_LIST_HEAD(&dev->lists[i]);
	dev->groups = kzalloc(DIV_ROUND_UP(dev->nr_clusters, CLUSTER_GROUP) * sizeof(*dev->groups),
			      GFP_SWAPON);
	if (dev->groups && !cluster_first(dev))
		return dev;
	device_free(dev);
	return NULL;
}

/* A number for it; -EPERM: there is none. Context: the lock. */
static int device_number(const struct swap_state *st)
{
	for (int type = 0; type < MAX_SWAPFILES; type++)
		if (!st->dev[type])
			return type;
	return -EPERM;
}

/* Clusters are counted in 32 bits. */
#define MAX_SLOTS (1ul << (31 + CLUSTER_ORDER))

int swapon(const struct swap_device_ops *ops, void *priv, unsigned long nr_slots, int prio,
	   u32 flags)
{
	struct swap_state *st = &octavo_state.swap;
	struct swap_device *dev;
	int type;

	if (!ops || !ops->submit || nr_slots < 2 || nr_slots > MAX_SLOTS || flags & ~SWAP_FLAG_SYNC)
		return -EINVAL;
	dev = device_make(ops, priv, nr_slots, prio, flags);
	if (!dev)
		return -ENOMEM;
	down_write(&st->lock);
	type = swap_init(st);
	if (!type)
		type = device_number(st);
	if (type >= 0) {
		dev->type = (unsigned int)type;
		/* release: pairs with the acquire in swap_device_of(): it is set up */
		smp_store_release(&st->dev[type], dev);
	}
	up_write(&st->lock);
	if (type < 0)
		device_free(dev);
	return type;
}

void *swap_device_priv(const struct swap_device *dev)
{
	return dev->priv;
}

unsigned int swap_device_type(const struct swap_device *dev)
{
	return dev->type;
}

u32 swap_device_flags(const struct swap_device *dev)
{
	return dev->flags;
}

bool swap_entry_sync(swp_entry_t entry)
{
	struct swap_device *dev;
	bool sync;

	rcu_read_lock();
	dev = is_swap_slot(entry) ? swap_device_of(swp_type(entry)) : NULL;
	sync = dev && dev->flags & SWAP_FLAG_SYNC;
	rcu_read_unlock();
	return sync;
}

/* So few that those which CPUs have for themselves may be all that have room. */
#define FEW_CLUSTERS 16u

/* Less than an eighth is free, as far as can be told by a few loads. */
static bool slots_short(const struct swap_device *dev)
{
	const u32 roomy = (1u << CLUSTER_ORDERS) - 1;
	u64 used = 0;

	if (READ_ONCE(dev->closing))
		return true;
	if (READ_ONCE(dev->fresh) < dev->nr_clusters || READ_ONCE(dev->mask) & roomy)
		return false;
	if (dev->nr_clusters > FEW_CLUSTERS)
		return true;
	for (u32 i = 0; i < dev->nr_clusters; i++) {
		/* of one that has just come into use this CPU may know no more than that */
		const struct swap_cluster *c = swap_cluster_at(dev, i);

		used += c ? READ_ONCE(c->used) : 0;
	}
	return used > dev->nr_slots / 8 * 7;
}

bool swap_slots_short(swp_entry_t entry)
{
	struct swap_device *dev;
	bool is_short;

	rcu_read_lock();
	dev = is_swap_slot(entry) ? swap_device_of(swp_type(entry)) : NULL;
	is_short = dev && slots_short(dev);
	rcu_read_unlock();
	return is_short;
}

/* ---- off ---- */

/* Context: the lock. */
static struct swap_device *device_at(int type)
{
	return type < 0 || type >= MAX_SWAPFILES ? NULL : octavo_state.swap.dev[type];
}

int swap_device_close_begin(int type)
{
	struct swap_state *st = &octavo_state.swap;
	struct swap_device *dev;
	int err = 0;

	down_write(&st->lock);
	dev = device_at(type);
	if (!dev)
		err = -EINVAL;
	else if (READ_ONCE(dev->closing))
		err = -EBUSY;
	else
		/* seq_cst: see swap_device_get() */
		smp_store_seq_cst(&dev->closing, 1u);
	up_write(&st->lock);
	return err;
}

void swap_device_close_abort(int type)
{
	struct swap_state *st = &octavo_state.swap;
	struct swap_device *dev;

	down_write(&st->lock);
	dev = device_at(type);
	VM_BUG_ON(!dev || !READ_ONCE(dev->closing));
	if (dev)
		WRITE_ONCE(dev->closing, 0u);
	up_write(&st->lock);
}

/* Slots in use; and whoever had a cluster's lock has given it back. */
static u64 used_now(struct swap_device *dev)
{
	u64 used = 0;

	for (u32 i = 0; i < dev->fresh; i++) {
		struct swap_cluster *c = swap_cluster_at(dev, i);

		spin_lock(&c->lock);
		used += c->used;
		spin_unlock(&c->lock);
	}
	return used;
}

int swap_device_close_end(int type)
{
	struct swap_state *st = &octavo_state.swap;
	struct swap_device *dev;

	down_write(&st->lock);
	dev = device_at(type);
	if (!dev || !READ_ONCE(dev->closing)) {
		up_write(&st->lock);
		return -EINVAL;
	}
	users_wait(dev);
	if (used_now(dev)) {
		up_write(&st->lock);
		return -EBUSY;
	}
	WRITE_ONCE(st->dev[type], NULL);
	up_write(&st->lock);
	/* who may have found it before */
	users_wait(dev);
	used_now(dev);
	while (!xfers_idle(dev))
		octavo_port_relax();
	if (dev->ops->close)
		dev->ops->close(dev);
	device_free(dev);
	return 0;
}

unsigned long swap_next_used(int type, unsigned long slot)
{
	struct swap_device *dev = type < 0 ? NULL : swap_device_get((unsigned int)type, true);
	unsigned long found = ~0ul;
	u32 nr = (u32)(slot / CLUSTER_SLOTS);

	/* clusters are used in the order of their numbers for the first time */
	while (dev && found == ~0ul && slot < dev->nr_slots) {
		struct swap_cluster *c = swap_cluster_at(dev, nr);
		/* acquire: pairs with the release in cluster_fresh() */
		u64 *words = c ? smp_load_acquire(&c->words) : NULL;

		if (!words)
			break;
		for (; slot < (nr + 1ul) * CLUSTER_SLOTS && READ_ONCE(c->used); slot++) {
			if (slot_used(READ_ONCE(words[slot % CLUSTER_SLOTS]))) {
				found = slot;
				break;
			}
		}
		if (found == ~0ul)
			slot = ++nr * (unsigned long)CLUSTER_SLOTS;
	}
	if (dev)
		swap_device_put(dev);
	return found;
}
