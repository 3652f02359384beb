/* SPDX-License-Identifier: MIT */
/*
 * swapdev.c - what all devices have: the way from the swap core to them, and waiting for one transfer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "swapdev_priv.h"

void *swapdev_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void swapdev_unmap(void *p, size_t bytes)
{
	if (p)
		munmap(p, bytes);
}

static void swapdev_check(const struct swapdev *sd, unsigned long slot, u32 nr)
{
	if (unlikely(!nr || slot >= sd->nr_slots || nr > sd->nr_slots - slot))
		octavo_panic("swap device of %lu slots: none is %lu + %u", sd->nr_slots, slot, nr);
}

void swapdev_submit(struct swapdev *sd, struct swap_io *io)
{
	swapdev_check(sd, io->slot, io->nr);
	BUG_ON(io->nr > SWAPDEV_MAX_RUN || (unsigned long)io->addr % PAGE_SIZE);
	sd->ops->submit(sd, io);
}

void swapdev_poll(struct swapdev *sd)
{
	if (sd->ops->poll)
		sd->ops->poll(sd);
}

void swapdev_discard(struct swapdev *sd, unsigned long slot, u32 nr)
{
	swapdev_check(sd, slot, nr);
	sd->ops->discard(sd, slot, nr);
}

/* ---- one transfer ---- */

struct waited {
	u32 over;
	int err;
};

static void waited_done(struct swap_io *io, int err)
{
	struct waited *w = io->arg;

	w->err = err;
	/* release: pairs with the acquire in swapdev_transfer(): err and the pages are seen */
	smp_store_release(&w->over, 1u);
	/* by its address only: who waits may be gone */
	octavo_port_unpark(&w->over, true);
}

int swapdev_transfer(struct swapdev *sd, enum swap_op op, unsigned long slot, u32 nr, void *addr)
{
	struct waited w = { 0, 0 };
	struct swap_io io = {
		.op = op, .slot = slot, .nr = nr, .addr = addr, .done = waited_done, .arg = &w
	};

	swapdev_submit(sd, &io);
	/* acquire: pairs with the release in waited_done() */
	while (!smp_load_acquire(&w.over)) {
		if (sd->ops->poll)
			sd->ops->poll(sd);
		else
			octavo_port_park(&w.over, 0);
	}
	return w.err;
}

/* ---- in use by the swap core ---- */

static void on_submit(struct swap_device *dev, struct swap_io *io)
{
	swapdev_submit(swap_device_priv(dev), io);
}

static void on_poll(struct swap_device *dev)
{
	swapdev_poll(swap_device_priv(dev));
}

static void on_discard(struct swap_device *dev, unsigned long slot, u32 nr)
{
	swapdev_discard(swap_device_priv(dev), slot, nr);
}

static void on_close(struct swap_device *dev)
{
	struct swapdev *sd = swap_device_priv(dev);

	/* release: pairs with the acquire in swapdev_on() and swapdev_destroy(): the core is done with it */
	smp_store_release(&sd->on, 0u);
}

static const struct swap_device_ops polled_ops = {
	.submit = on_submit,
	.poll = on_poll,
	.discard = on_discard,
	.close = on_close,
};

static const struct swap_device_ops unpolled_ops = {
	.submit = on_submit,
	.discard = on_discard,
	.close = on_close,
};

int swapdev_on(struct swapdev *sd, int prio)
{
	int type;

	/* acquire: pairs with the release in on_close() */
	if (cmpxchg_acquire(&sd->on, 0u, 1u))
		return -EBUSY;
	type = swapon(sd->ops->poll ? &polled_ops : &unpolled_ops, sd, sd->nr_slots, prio,
		      sd->flags);
	if (type < 0)
		smp_store_release(&sd->on, 0u);
	return type;
}

void swapdev_destroy(struct swapdev *sd)
{
	if (!sd)
		return;
	/* acquire: pairs with the release in on_close() */
	if (smp_load_acquire(&sd->on))
		octavo_panic("swapdev_destroy: the device is in use");
	sd->ops->free(sd);
}
