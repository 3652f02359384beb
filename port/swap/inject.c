/* SPDX-License-Identifier: MIT */
/*
 * inject.c - a swap device that fails on purpose, late, and out of order; another one does the work.
 *
 * Each transfer is a copy of the caller's, so that what the device below says of it comes here first. What is to happen to it is
 * decided when it arrives, from the seed and the number of transfers before it. A transfer that is held
 * begins when there are more than `hold` of them (any one, not the first), when somebody polls, or after its delay.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "swapdev_priv.h"

enum inject_what {
	INJECT_NOTHING,
	INJECT_BEFORE, /* the device below never hears of it */
	INJECT_HALF,   /* it is over for the first half of its slots */
	INJECT_AFTER,  /* it is over, but who asked is told otherwise */
	NR_INJECT,
};

/* A transfer that is under way below. */
struct injected {
	struct swap_io io;
	struct swap_io *outer;
	struct inject *dev;
	enum inject_what what;
	int err;
	struct injected *next;
};

struct inject {
	struct swapdev sd;
	struct swapdev *inner;
	int error;
	u32 hold, delay_us;
	u32 rate[2]; /* by swap_op; relaxed */
	pthread_mutex_t lock;
	u64 seed, nth;	       /* under the lock, as all below */
	struct injected *held; /* newest first */
	u32 nr_held;
	bool stop;
	pthread_cond_t wake; /* for the thread */
	struct swapdev_thread thread;
	pthread_t tid;
	struct swapdev_inject_stat stat;
};

static struct inject *inject_of(struct swapdev *sd)
{
	return container_of(sd, struct inject, sd);
}

static u64 inject_random(struct inject *d)
{
	d->seed ^= d->seed << 13;
	d->seed ^= d->seed >> 7;
	d->seed ^= d->seed << 17;
	return d->seed * 2685821657736338717ul >> 16;
}

/* ---- what happens to it; with the lock ---- */

static void inject_decide(struct inject *d, struct injected *x)
{
	u64 r = inject_random(d), how = inject_random(d);
	bool fails = r % 1000000 < READ_ONCE(d->rate[x->io.op]);

	d->stat.transfers++;
	x->err = fails && x->io.op == SWAP_WRITE && how % 4 == 0 ? -ENOSPC : d->error;
	if (d->nth && --d->nth == 0) {
		fails = true;
		x->err = d->error;
	}
	if (!fails)
		return;
	d->stat.failed++;
	x->what = INJECT_BEFORE + (how >> 8) % (NR_INJECT - 1);
}

static struct injected *inject_unhold(struct inject *d, u32 i)
{
	struct injected **p = &d->held, *x;

	while (i--)
		p = &(*p)->next;
	x = *p;
	*p = x->next;
	d->nr_held--;
	return x;
}

/* ---- beginning and ending; without ---- */

static void inject_end(struct injected *x, int err)
{
	struct swap_io *outer = x->outer;

	free(x);
	swap_io_done(outer, err);
}

/* The device below is done with it. */
static void inject_done(struct swap_io *io, int err)
{
	struct injected *x = io->arg;

	inject_end(x, x->what == INJECT_NOTHING ? err : x->err);
}

static void inject_begin(struct injected *x)
{
	if (x->what == INJECT_HALF)
		x->io.nr /= 2;
	if (x->what == INJECT_BEFORE || !x->io.nr)
		inject_end(x, x->err);
	else
		swapdev_submit(x->dev->inner, &x->io);
}

static void inject_submit(struct swapdev *sd, struct swap_io *io)
{
	struct inject *d = inject_of(sd);
	struct injected *x = malloc(sizeof(*x));

	if (!x) {
		swap_io_done(io, -EIO);
		return;
	}
	*x = (struct injected){ .io = *io, .outer = io, .dev = d };
	x->io.done = inject_done;
	x->io.arg = x;
	pthread_mutex_lock(&d->lock);
	inject_decide(d, x);
	if (d->hold) {
		d->stat.held++;
		x->next = d->held;
		d->held = x;
		d->nr_held++;
		x = d->nr_held > d->hold ? inject_unhold(d, (u32)(inject_random(d) % d->nr_held))
					 : NULL;
		pthread_cond_signal(&d->wake);
	}
	pthread_mutex_unlock(&d->lock);
	if (x)
		inject_begin(x);
}

/* One that is held. Return: there was one. */
static bool inject_release(struct inject *d)
{
	struct injected *x = NULL;

	pthread_mutex_lock(&d->lock);
	if (d->nr_held)
		x = inject_unhold(d, (u32)(inject_random(d) % d->nr_held));
	pthread_mutex_unlock(&d->lock);
	if (x)
		inject_begin(x);
	return x;
}

static void inject_poll(struct swapdev *sd)
{
	struct inject *d = inject_of(sd);

	/* who polls waits for one: begin one, at random, and then let the device below get on */
	inject_release(d);
	swapdev_poll(d->inner);
}

static void inject_discard(struct swapdev *sd, unsigned long slot, u32 nr)
{
	swapdev_discard(inject_of(sd)->inner, slot, nr);
}

static void *inject_thread(void *arg)
{
	struct inject *d = arg;
	const struct timespec delay = { d->delay_us / 1000000, d->delay_us % 1000000 * 1000l };

	d->thread.enter(d->thread.arg);
	pthread_mutex_lock(&d->lock);
	while (!d->stop) {
		if (!d->nr_held) {
			pthread_cond_wait(&d->wake, &d->lock);
			continue;
		}
		pthread_mutex_unlock(&d->lock);
		nanosleep(&delay, NULL);
		while (inject_release(d))
			;
		pthread_mutex_lock(&d->lock);
	}
	pthread_mutex_unlock(&d->lock);
	if (d->thread.leave)
		d->thread.leave(d->thread.arg);
	return NULL;
}

static void inject_free(struct swapdev *sd)
{
	struct inject *d = inject_of(sd);

	pthread_mutex_lock(&d->lock);
	BUG_ON(d->nr_held);
	d->stop = true;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->lock);
	if (d->thread.enter)
		pthread_join(d->tid, NULL);
	pthread_cond_destroy(&d->wake);
	pthread_mutex_destroy(&d->lock);
	/* release: pairs with the acquire of who has it next */
	smp_store_release(&d->inner->on, 0u);
	free(d);
}

/* Transfers that are held need somebody who polls; without any, as the device below. */
static const struct swapdev_ops inject_ops = {
	.submit = inject_submit,
	.poll = inject_poll,
	.discard = inject_discard,
	.free = inject_free,
};

static const struct swapdev_ops inject_unpolled_ops = {
	.submit = inject_submit,
	.discard = inject_discard,
	.free = inject_free,
};

int swapdev_inject_create(const struct swapdev_inject_args *args, struct swapdev **sd)
{
	struct inject *d;

	if (!args->inner || args->error > 0 || args->read_errors > 1000000 ||
	    args->write_errors > 1000000) {
		pr_err("swap device that fails: %s",
		       !args->inner	 ? "no device below it"
		       : args->error > 0 ? "an error is a negative number"
					 : "a rate of more than a million in a million");
		return -EINVAL;
	}
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	/* acquire: pairs with the release in on_close(), zback_close() and inject_free() */
	if (cmpxchg_acquire(&args->inner->on, 0u, 1u)) {
		pr_err("swap device that fails: the device below is in use");
		free(d);
		return -EBUSY;
	}
	d->sd.ops = args->inner->ops->poll || args->hold ? &inject_ops : &inject_unpolled_ops;
	d->sd.nr_slots = args->inner->nr_slots;
	d->sd.flags = args->hold ? 0 : args->inner->flags;
	d->inner = args->inner;
	d->seed = args->seed ? args->seed : 1;
	d->rate[SWAP_READ] = args->read_errors;
	d->rate[SWAP_WRITE] = args->write_errors;
	d->nth = args->nth;
	d->error = args->error ? args->error : -EIO;
	d->hold = args->hold;
	d->delay_us = args->delay_us;
	d->thread = args->thread;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->wake, NULL);
	if (d->thread.enter && pthread_create(&d->tid, NULL, inject_thread, d)) {
		d->thread.enter = NULL;
		inject_free(&d->sd);
		return -ENOMEM;
	}
	*sd = &d->sd;
	return 0;
}

/* ---- while it runs ---- */

void swapdev_inject_nth(struct swapdev *sd, u64 nth)
{
	struct inject *d = inject_of(sd);

	pthread_mutex_lock(&d->lock);
	d->nth = nth;
	pthread_mutex_unlock(&d->lock);
}

void swapdev_inject_rates(struct swapdev *sd, u32 read_errors, u32 write_errors)
{
	struct inject *d = inject_of(sd);

	WRITE_ONCE(d->rate[SWAP_READ], read_errors);
	WRITE_ONCE(d->rate[SWAP_WRITE], write_errors);
}

void swapdev_inject_stat(struct swapdev *sd, struct swapdev_inject_stat *st)
{
	struct inject *d = inject_of(sd);

	pthread_mutex_lock(&d->lock);
	*st = d->stat;
	pthread_mutex_unlock(&d->lock);
}
